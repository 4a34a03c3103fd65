"""Searching all runs: what is found, where, in which order, and how it is shown."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.utils.capture import capture_output

from agentnb import Agent, ScriptedModel, Step
from agentnb.errors import ConfigError
from agentnb.notebook.fetching import Counting
from agentnb.notebook.host import Host
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.cells import Cells, adding, notebook_in
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, broken, note, plan, step, table, verdict

HOSTILE = "<script>alert(1)</script> & <b>kite</b> \ue001\x1b[31m\u202e"


def ran(store: Any, task: str, said: str = "done", steps: list[Step] | None = None, **how: Any) -> Run:
    options = {name: how.pop(name) for name in ("clock", "secrets") if name in how}
    agent = Agent(ScriptedModel([answer(said)] * 2), tools=[add, note, broken], store=store, assess=False, **options)
    return agent.run(task, plan=steps or [], **how)


def finder(store: Any, **options: Any) -> Agent:
    return Agent(ScriptedModel([]), store=store, **options)


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as found:
        yield found


# ---------------------------------------------------------------------------------------------------- what is found


def test_a_run_is_found_where_it_has_every_term(store: DiskStore) -> None:
    """Wherever each stands; shown with the record that has most of them, and how many others have one."""
    first = ran(store, "count the Herons", "count: three herons, a kite")
    second = ran(store, "count the kites", "two kites")
    ran(store, "count the herons", "none")
    (hit,) = finder(store).search("heron* kite count")
    assert (hit.run, hit.what, hit.step, hit.seq, hit.more) == (first.id, "answer", "", hit.seq, 1)
    assert [hit.text[begin:end] for begin, end in hit.marks] == ["count", "herons", "kite"]
    assert first.events[hit.seq].event.kind == "run_finished"
    assert first.events[hit.seq].at == hit.at
    assert (hit.task, hit.status, hit.usd) == ("count the Herons", "completed", 0)
    assert [hit.run for hit in finder(store).search('"count the kites"')] == [second.id]


def test_who_makes_the_index_is_told_how_far_it_is() -> None:
    """By whichever of the two asks first; where nothing is new there is nothing to tell."""
    store = MemoryStore()
    for n in range(3):
        ran(store, f"heron {n}")
    told: list[tuple[int, int]] = []
    agent = finder(store)
    assert len(agent.search("heron", progress=lambda *far: told.append(far))) == 3
    assert told == [(3, 3)]
    assert len(agent.runs(progress=lambda *far: told.append(far))) == 3
    assert told == [(3, 3)]
    assert len(finder(store).runs(status="completed", progress=lambda *far: told.append(far))) == 3
    assert told == [(3, 3), (3, 3)]


def test_the_newest_first_or_those_with_rare_words(store: DiskStore) -> None:
    """And as many as are wanted."""
    runs = [ran(store, task).id for task in ("heron heron heron", "count birds", "heron and other birds of the lake")]
    found = finder(store).search("heron")
    assert [hit.run for hit in found] == [runs[2], runs[0]]
    assert [hit.run for hit in finder(store).search("heron", order="best")] == [runs[0], runs[2]]
    assert (len(found), found.more, found[0].run) == (2, False, runs[2])
    one = finder(store).search("heron", limit=1)
    assert (len(one), one.more, one.as_text().splitlines()[0]) == (1, True, 'The newest 1 run with "heron"')


def test_conditions(store: DiskStore, fake_clock: FakeClock) -> None:
    """Each by itself, and all together; a status is of the tool's calls where a tool is named."""
    clock = fake_clock.clock()
    plain = ran(store, "heron", clock=clock, tags={"task_type": "birds", "who": "ada"}).id
    fake_clock.now += 7200
    fails = ran(store, "heron", steps=[Step(tool="broken")], clock=clock).id
    waits = ran(store, "heron", steps=[Step(tool="note", args={"text": "x"})], clock=clock).id
    agent = finder(store, clock=clock)

    def found(**which: Any) -> list[str]:
        return [hit.run for hit in agent.search("heron", **which)]

    assert found(status="completed") == [plain]
    assert found(status="waiting") == found(tool="note") == [waits]
    assert found(status=["completed", "stopped"]) == [fails, plain]
    assert found(tool="broken") == found(tool="broken", status="failed") == [fails]
    assert found(tool="broken", status="completed") == found(status="failed") == []
    assert found(task_type="birds") == found(tags={"who": "ada"}) == [plain]
    assert found(task_type="") == [waits, fails]
    assert found(since="1h") == [waits, fails]
    assert found(until="1h") == [plain]
    assert found(min_usd=0.01) == []
    assert found(max_usd=0.01, model="scripted", task_type="birds", until="now") == [plain]
    assert found(model="nobody") == []


def test_without_words_the_call_is_shown_that_is_meant(store: DiskStore) -> None:
    """Where a status is given, what came of it."""
    ran(store, "heron")
    run = ran(store, "kite", steps=[Step(tool="broken")])
    (hit,) = finder(store).search(tool="broken", status="failed")
    assert (hit.run, hit.step, hit.what, hit.text) == (run.id, "s1", "result", "no such column: depdelay")
    (call,) = finder(store).search(tool="broken")
    assert (call.what, call.text) == ("call", 'broken · {"why":"no such column: depdelay"}')
    assert [hit.text for hit in finder(store).search(status="completed")] == ["heron"]


def test_what_was_done_at_a_time(store: DiskStore, fake_clock: FakeClock) -> None:
    """The first record of that time; of a run that was under way in between, the last one before."""
    asks = [Step(tool="note", args={"text": "x"})]
    run = ran(store, "kite", steps=asks, clock=fake_clock.clock())
    agent = finder(store, clock=fake_clock.clock())
    fake_clock.now += 3600
    run.reject("not now", by="ada")
    fake_clock.now += 3600
    (answered,) = agent.search(since="61m", until="now")
    assert (answered.what, answered.text) == ("answered", "reject · ada · not now")
    (rests,) = agent.search(since="100m", until="90m")
    assert rests.what == "run suspended"
    assert not agent.search(since="30m")


@pytest.mark.parametrize(
    ("text", "which", "why"),
    [
        ("", {}, "say what to search for"),
        ("***", {}, "there is no word in '***'"),
        ("x", {"status": "compleeted"}, "nothing has the status 'compleeted': did you mean completed?"),
        ("x", {"since": "some day"}, "'some day' is no time"),
        ("x", {"min_usd": "much"}, "min_usd='much' is no number of US dollars"),
        ("x", {"colour": "red"}, "runs are not chosen by 'colour': there are status, tool"),
        ("x", {"limit": 0}, "limit=0 is no number of runs"),
        ("x", {"order": "worst"}, "a search is not ordered by 'worst'"),
    ],
)
def test_what_cannot_be_searched_for(text: str, which: dict[str, Any], why: str) -> None:
    """Says why, and what there is."""
    with pytest.raises(ConfigError) as caught:
        finder(MemoryStore()).search(text, **which)
    assert why in str(caught.value)


@given(st.text(max_size=12), st.text(max_size=12))
def test_whatever_is_typed_is_searched_for(typed: str, there: str) -> None:
    """Quotes, stars and words of other searches are no syntax: an answer, or an error of ours."""
    store = MemoryStore()
    try:
        ran(store, there)
        found = finder(store).search(typed)
    except ConfigError:
        return
    assert all(hit.marks for hit in found)


def test_a_secret_is_not_found(store: DiskStore) -> None:
    """The journal does not hold it, and so the index does not."""
    ran(store, "the password is hunter2hunter2", secrets={"PASSWORD": "hunter2hunter2"})
    assert not finder(store).search("hunter2hunter2")
    assert len(finder(store).search("password redacted")) == 1
    assert b"hunter2" not in b"".join(file.read_bytes() for file in store.folder.glob("index.sqlite*"))


def test_a_long_text_is_cut_around_the_match(store: DiskStore) -> None:
    """On one line, with the match in it; what is far behind the beginning of a value is not searched."""
    ran(store, f"{'many words ' * 30}\n\nheron{' and more' * 30}", f"{'x ' * 1000}kite")
    (hit,) = finder(store).search("heron")
    assert hit.text.startswith("…")
    assert hit.text.endswith("…")
    assert len(hit.text) <= 162
    assert [hit.text[begin:end] for begin, end in hit.marks] == ["heron"]
    assert not finder(store).search("kite")


def test_other_scripts(store: DiskStore) -> None:
    """A part of a sentence without spaces; with and without accents."""
    ran(store, "東京都に住んでいます", "Das Café schließt")
    for text in ("京都", "住んで", "cafe", "CAFÉ", "schliesst", "schließt"):
        assert len(finder(store).search(text)) == 1, text
    assert not finder(store).search("都京")


# ---------------------------------------------------------------------------------------------------- how it is shown


@pytest.mark.parametrize("at", [1e18, -1e18, 1e300, 253402300800.0])
def test_a_run_of_no_possible_time_hides_no_other(store: DiskStore, fake_clock: FakeClock, at: float) -> None:
    """One that came in a file may have any number there; it is found as well, without a time."""
    fake_clock.now = at
    odd, run = ran(store, "a kite", clock=fake_clock.clock()), ran(store, "a kite")
    found = repr(finder(store).search("kite"))
    assert odd.id in found
    assert run.id in found
    assert {row["at"] for row in odd.trace.rows()} == {None}
    assert len(odd.trace.to_frame()) == len(odd.trace)


def test_a_table_marks_what_matches_and_escapes_the_rest(store: DiskStore) -> None:
    """In HTML, and between « and » in text."""
    run = ran(store, HOSTILE)
    found = finder(store).search("kite")
    page = found._repr_html_()
    assert "<script>" not in page
    assert "&lt;b&gt;<mark>kite</mark>&lt;/b&gt;" in page
    assert "<b>«kite»</b>" in repr(found)
    assert not {*"\x1b\u202e"} & {*page, *repr(found)}
    assert f"{run.id}  " in repr(found)
    assert repr(finder(store).search("zebra")) == 'Nothing found for "zebra"'
    assert "&quot;zebra&quot;" in finder(store).search("zebra").as_html()


def test_a_replay_shows_no_ids_and_no_times(store: DiskStore, tmp_path: Path) -> None:
    """One is to show what the next one shows."""
    run = ran(store, "heron")
    tape = tmp_path / "tape.jsonl"
    Agent(ScriptedModel([answer()]), store=store, cassette=tape, mode="record").run("x", plan=[])
    agent = Agent(ScriptedModel([]), store=store, cassette=tape, mode="replay")
    shown = repr(agent.search("heron"))
    assert shown.splitlines() == ['1 run with "heron"', "where  found    status", "task   «heron»  completed"]
    assert run.id not in repr(agent.runs()) + agent.runs()._repr_html_()
    assert repr(agent.runs()).splitlines()[:2] == ["Runs", "status     steps   tokens  task"]


def test_searching_from_a_line(cells: Cells) -> None:
    """Words, phrases in quotes and flags; the store that was typed is in what to type next."""
    cells.names["m"] = adding()
    cells.cell("r --model m --tools add --tag who=ada", "Add the kite")
    shown = cells.line('search "the kite" --tool add --status completed --since today --tag who=ada -n 3')
    assert shown.splitlines()[0].startswith('1 run with "the kite", completed, a call of add, who=ada, since ')
    assert f"{cells.names['r'].id}  " in shown
    assert shown.splitlines()[-1].startswith("%agent show RUN opens one")
    assert "--store .agentnb opens one" in cells.line("search kite --best --store .agentnb")
    assert "Nothing found" in cells.line("search zebra")
    for line, why in (("search", "say what to search for"), ("search x --status odd", "nothing has the status 'odd'")):
        assert why in " ".join(cells.line_error(line))
    assert "s1 call" in cells.line("search --tool add")


def test_the_table_of_runs_is_chosen_and_sorted(cells: Cells) -> None:
    """By flags; what is sorted and chosen is said by the same words as in Python."""
    for n in range(3):
        cells.names["m"] = adding(str(n))
        cells.cell(f"r{n} --model m --tools add --tag task_type=t{n % 2}", f"Add number {n}")
    tasks = [line.rpartition("  ")[2] for line in cells.line("runs --task-type t0 --sort started").splitlines()[2:-1]]
    assert tasks == ["Add number 2", "Add number 0"]
    assert len(cells.line("runs --limit 1 --since 1h --status completed").splitlines()) == 4
    assert "the first 1 of 3" in cells.line("runs -n 1")
    assert "runs are not sorted by 'price'" in " ".join(cells.line_error("runs --sort price"))
    assert cells.line("runs --min-usd 1") == f"No runs in {Path('.agentnb').absolute()}"


@pytest.mark.usefixtures("cells")
def test_progress_is_shown_after_a_second_and_then_gone(capsys: pytest.CaptureFixture[str]) -> None:
    """As text at a terminal, as a bar in a notebook, and not at all where nobody looks."""
    with Counting(Host("a terminal", "tty")) as quick:
        quick(1, 2)
        quick(2, 2)
    assert not capsys.readouterr().out
    with Counting(Host("a terminal", "tty"), "values") as slow:
        slow._next = 0.0
        slow(1, 2000)
    assert capsys.readouterr().out == "\r\x1b[K1 of 2 000 values\r\x1b[K"
    with capture_output() as shown, Counting(Host("JupyterLab", "widgets")) as bar:
        bar._next = 0.0
        bar(1, 2000)
    first, last = (output.data for output in shown.outputs)
    assert first["text/html"] == (
        '<label>1 of 2 000 runs <progress value="1" max="2000">1 of 2 000 runs</progress></label>'
    )
    assert last == {"text/plain": ""}


def test_what_was_taken_away_is_found_no_more(cells: Cells) -> None:
    """As soon as it is gone, and not only once somebody searches."""
    cells.names["m"] = adding()
    cells.cell("r --model m --tools add", "Add the kite")
    assert "1 run with" in cells.line("search kite")
    cells.line("gc --older-than 0 --yes")
    with sqlite3.connect(".agentnb/index.sqlite") as raw:
        assert raw.execute("SELECT count(*) FROM words WHERE words MATCH 'kite'").fetchone() == (0,)
    raw.close()


def test_tab_offers_what_there_is(cells: Cells) -> None:
    """Flags, statuses, orders, tools and times."""
    assert "search" in cells.offered("%agent sea")
    assert "--min-usd" in cells.offered("%agent search --min")
    assert "completed" in cells.offered("%agent runs --status comp")
    assert "usd" in cells.offered("%agent runs --sort us")
    assert "add" in cells.offered("%agent search --tool ad")
    assert "yesterday" in cells.offered("%agent search x --since yes")


# ---------------------------------------------------------------------------------------------------- runs


def test_runs_are_a_sequence(store: DiskStore) -> None:
    """Newest first; what is in it is settled when it is first looked at."""
    ids = [ran(store, f"heron {n}").id for n in range(3)]
    runs = finder(store).runs()
    assert ([run.id for run in runs], len(runs), runs[-1].id) == (ids[::-1], 3, ids[0])
    assert [run.id for run in runs[1:]] == ids[1::-1]
    assert "heron 0" not in repr(runs[:2])
    assert runs[1:].metrics().runs == 2
    ran(store, "later")
    assert (len(runs), len(finder(store).runs())) == (3, 4)
    assert not finder(MemoryStore()).runs()


def test_runs_are_chosen_and_sorted(store: DiskStore) -> None:
    """Conditions add up, and the last one of a kind holds."""
    steps = [plan(step("table", rows=3), step("add", a=1, b=2)), verdict(), verdict(), answer()]
    long = Agent(ScriptedModel(steps), tools=[table, add], store=store).run("long", tags={"a": "1", "b": "2"})
    short = ran(store, "short", tags={"a": "1"})
    runs = finder(store).runs(tags={"a": "1"})
    assert [run.id for run in runs.sorted("steps")] == [long.id, short.id]
    assert [run.id for run in runs.sorted("tokens")] == [long.id, short.id]
    assert [run.id for run in runs.where(tags={"b": "2"})] == [long.id]
    assert [run.id for run in runs.where(status="failed").where(status="completed")] == [short.id, long.id]
    assert [run.id for run in runs.sorted("ended").where(since="1h")] == [short.id, long.id]
    with pytest.raises(ConfigError, match="runs are not sorted by 'price'"):
        runs.sorted("price")  # type: ignore[arg-type]


def test_a_table_of_many_runs_names_the_first(store: DiskStore) -> None:
    """And says how many there are; a damaged one hides no other."""
    ids = [ran(store, HOSTILE).id for _ in range(21)]
    store._rows("UPDATE Cache SET value = value || ' ' WHERE key LIKE ?", (f"j/{ids[-1]}/%",))
    shown = finder(store).runs()
    assert repr(shown).splitlines()[0] == f"Runs in {store.place}, the first 20 of 21"
    assert re.search(rf"{ids[-1]} +unreadable", repr(shown))
    assert "<script>" not in shown._repr_html_()
    assert [run.id for run in finder(store).runs(status="unreadable")] == [ids[-1]]
