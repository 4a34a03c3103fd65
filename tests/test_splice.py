"""Cassettes by hand: verified, pruned and merged, from Python and as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentnb import Agent, ScriptedModel
from agentnb.budget import Usage
from agentnb.cassette import Cassette, asked_here
from agentnb.errors import CassetteError
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.redact import Redactor
from agentnb.splice import merge, prune, verify
from tests.cells import Cells, adding, notebook_in, scripted
from tests.parts import MemoryStore, add, answer, plan, step, verdict

REQUEST = ModelRequest("local:x", "plan", "the rules", "number 0")
REPLY = ModelReply("done", Usage(10, 5))
REDACT = Redactor({"CRM": "canary-value-1"})


def recorded(path: Path, *numbers: int, text: str = "done") -> Path:
    cassette = Cassette(path)
    for number in numbers:
        cassette.add(replace(REQUEST, prompt=f"number {number}"), replace(REPLY, text=f"{text} {number}"))
    return path


def key(number: int) -> str:
    return replace(REQUEST, prompt=f"number {number}").key()[:16]


def row(path: Path, start: str) -> int:
    """The number of the first line that begins so."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if line.startswith(start))


def test_a_sound_file_has_no_problems(tmp_path: Path) -> None:
    """Its calls, its texts and its models are counted."""
    found = verify(recorded(tmp_path / "a", 1, 2, 3), REDACT)
    assert (found.calls, found.texts, found.models, found.problems) == (3, 4, ("local:x",), ())


def test_every_problem_of_a_file_is_found_with_its_line(tmp_path: Path) -> None:
    """An edited reply, a secret, a line that is none, a text that nothing uses: all at once."""
    path = recorded(tmp_path / "a", 1, 2)
    text = path.read_text(encoding="utf-8").replace("done 1", "done 9").replace('{"end"', 'what?\n{"end"')
    lost = ModelRequest("m", "plan", "", "nobody asks canary-value-1")
    other = Cassette(tmp_path / "b")
    other.add(lost, REPLY)
    stray = next(line for line in (tmp_path / "b").read_text(encoding="utf-8").splitlines() if "nobody" in line)
    path.write_text(text.replace('{"call"', f'{stray}\n{{"call"', 1), encoding="utf-8")
    found = dict.fromkeys(verify(path, REDACT).problems)
    said = [f"{number}: {why}" for number, why in found]
    edited = next(n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if "done 9" in line)
    assert f"{row(path, stray)}: it holds a secret" in said
    assert f"{row(path, stray)}: no call uses this text" in said
    assert any(line.startswith(f"{edited}: a call does not have the checksum") for line in said)
    assert any(line.startswith(f"{row(path, 'what?')}: no JSON from its character 1 on") for line in said)
    last = row(path, '{"end"')
    assert any(line.startswith(f"{last}: the lines are not those") for line in said)


def test_what_nobody_asked_for_is_listed_and_then_taken_out(tmp_path: Path) -> None:
    """With its texts; the rest is as it was, byte for byte."""
    path = recorded(tmp_path / "a", 1, 2, 3)
    before = path.read_bytes()
    found = prune(path, {key(1), key(3)}, write_it=False)
    assert ([call.key for call in found.goes], found.stays, path.read_bytes()) == ([key(2)], 2, before)
    assert prune(path, {key(1), key(3)}, write_it=True) == found
    assert path.read_bytes() == recorded(tmp_path / "b", 1, 3).read_bytes()
    assert not prune(path, {key(1), key(3)}, write_it=True).goes


def test_nothing_is_pruned_where_nothing_was_asked(tmp_path: Path) -> None:
    """Or a kernel that has just begun would empty the file."""
    path = recorded(tmp_path / "a", 1, 2)
    with pytest.raises(CassetteError, match=r"none of the 2 calls in .* was used here.*run the whole notebook"):
        prune(path, (), write_it=True)
    assert len(Cassette(path)) == 2


def test_a_process_knows_what_it_has_asked(tmp_path: Path) -> None:
    """Replayed or recorded, by whatever Cassette of the file; what was only read is not asked."""
    path = recorded(tmp_path / "a", 1)
    Cassette(path)
    other = tmp_path / "b"
    other.write_bytes(path.read_bytes())
    assert [set(asked_here(file)) for file in (path, other)] == [{key(1)}, set()]
    Cassette(tmp_path / "." / "b").reply(replace(REQUEST, prompt="number 1"))
    assert asked_here(other) == {key(1)}


@pytest.mark.parametrize("turned", [False, True])
def test_two_branches_files_are_merged_into_what_one_recording_would_be(tmp_path: Path, *, turned: bool) -> None:
    """What both have is there once; which of them comes first does not matter."""
    one, two = recorded(tmp_path / "a", 1, 2, 3), recorded(tmp_path / "b", 3, 4)
    one, two = (two, one) if turned else (one, two)
    assert merge(one, two, tmp_path / "c") == 4
    assert (tmp_path / "c").read_bytes() == recorded(tmp_path / "d", 1, 2, 3, 4).read_bytes()


def test_two_answers_to_one_request_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    """Nothing is written before somebody says whose holds."""
    one, two = recorded(tmp_path / "a", 1, 2), recorded(tmp_path / "b", 2, 3, text="other")
    with pytest.raises(CassetteError, match=f"other replies to the same request, plan {key(2)}: say whose hold"):
        merge(one, two, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    asked = replace(REQUEST, prompt="number 2")
    for prefer, text in (("ours", "done 2"), ("theirs", "other 2")):
        assert merge(one, two, tmp_path / "c", prefer) == 3  # type: ignore[arg-type]  # a loop's variable is any str
        assert Cassette(tmp_path / "c").reply(asked).text == text


# --- as it is typed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


def test_record_new_asks_only_for_what_has_changed(cells: Cells) -> None:
    """The same cell costs nothing, a changed one its own calls; prune then takes out what nobody asks any more."""
    cells.names["m"] = adding()
    cells.cell("--model m --tools add --cassette c.jsonl --record", "Add.")
    before = Path("c.jsonl").read_bytes()
    cells.names["m"] = again = scripted()
    cells.cell("r --model m --tools add --cassette c.jsonl --record=new", "Add.")
    assert (again.requests, Path("c.jsonl").read_bytes()) == ([], before)
    cells.names["m"] = adding("4")
    cells.cell("r --model m --tools add --cassette c.jsonl --record=new", "Add up.")
    assert cells.names["r"].output == "4"
    assert len(Cassette("c.jsonl")) > 3
    assert "Could go: 0 calls" in cells.line("cassette prune c.jsonl")


def test_what_is_typed_is_done(cells: Cells, tmp_path: Path) -> None:
    """Described, verified, pruned and merged."""
    options = {"tools": [add], "cassette": tmp_path / "b.jsonl"}
    recorded(tmp_path / "a.jsonl", 1, 2)
    (tmp_path / "c.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes())
    lines = [plan(step("add", a=1, b=2)), verdict(), answer("3")]
    Agent(ScriptedModel(lines), store=MemoryStore(), mode="record", **options).run("x")  # type: ignore[arg-type]
    assert "every key, every checksum, the end, and no secret in it" in cells.line("cassette verify a.jsonl")
    assert "✗" not in cells.text
    assert "c.jsonl holds the 5 calls of a.jsonl and b.jsonl" in cells.line("cassette merge a.jsonl b.jsonl -o c.jsonl")
    Cassette("c.jsonl").reply(replace(REQUEST, prompt="number 1"))
    shown = cells.line("cassette prune c.jsonl")
    assert "Could go: 4 calls that this kernel did not ask for; 1 stay in c.jsonl" in shown
    assert key(2) in shown
    assert len(Cassette("c.jsonl")) == 5
    assert "Gone: 4 calls" in cells.line("cassette prune c.jsonl --yes")
    assert len(Cassette("c.jsonl")) == 1


def damaged(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("done 1", "done 9"), encoding="utf-8")


def older(path: Path) -> None:
    path.write_text('{"agentnb_cassette": 1}\n', encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "change", "what", "todo"),
    [
        ("cassette verify a.jsonl", damaged, "a.jsonl, line", "restore"),
        ("cassette verify a.jsonl", older, "line 1, is not sound (format 1 has no checksums", "merge"),
        ("cassette prune a.jsonl", older, "", ""),
        ("cassette merge", None, "which cassettes", "merge A B"),
        ("cassette merge a.jsonl a.jsonl a.jsonl", None, "which cassettes", "merge A B"),
        ("cassette merge a.jsonl --ours --theirs", None, "exclude each other", "one of them"),
        ("cassette merge a.jsonl gone.jsonl", None, "there is no cassette", "AGENTNB_MODE=record"),
        ("cassette prne a.jsonl", None, "'prne' is none of verify, prune, merge", "%agent cassette FILE"),
        ("cassette verify a.jsonl b.jsonl", None, "one word too many", "one file"),
        ("cassette prune", None, "no cassette is named", "FILE"),
    ],
)
def test_what_cannot_be_done_is_two_lines(
    cells: Cells, line: str, change: Callable[[Path], None] | None, what: str, todo: str
) -> None:
    """What is wrong, and what to do; an empty file of the first format has nothing to prune."""
    recorded(Path("a.jsonl"), 1)
    if change is not None:
        change(Path("a.jsonl"))
    if not what:
        assert "Could go: 0 calls" in cells.line(line)
        return
    said = " ".join(cells.line_error(line))
    assert what in said
    assert todo in said


def test_a_file_alone_is_brought_to_the_present_format(cells: Cells) -> None:
    """`merge A` writes it anew."""
    Path("a.jsonl").write_text('{"agentnb_cassette": 1}\n', encoding="utf-8")
    cells.line("cassette merge a.jsonl")
    assert json.loads(Path("a.jsonl").read_text(encoding="utf-8").splitlines()[0]) == {"agentnb_cassette": 2}
    cells.line("cassette verify a.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--record new", "--record new could mean the variable new write --record=new"),
        ("--record=some", "'some' is not one of all, new"),
        ("--record=new", "recording needs a cassette"),
    ],
)
def test_record_takes_its_value_after_an_equals_sign(cells: Cells, line: str, said: str) -> None:
    """What stands after a space may be the name that the run is bound to."""
    assert said in " ".join(cells.error(line))
