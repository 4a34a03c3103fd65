"""An exported audit log shows which of its lines was changed, removed, inserted or moved, as JSON Lines and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb import verify_audit
from agentnb.audit_file import COLUMNS, write_entries
from agentnb.compliance import COMPLIANCE_TEXTS
from agentnb.errors import ConfigError
from agentnb.technical import TEXTS

HOSTILE = [
    "=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", "'", "''", "'=x", "＝1", " =1", "a\nb", 'say "hi"',
    "a,b", "\x00", "", "é ☃ \u202e", "x" * 3000, "\u2028", "null", "{}",
]  # fmt: skip


def body(view: str, n: int, text: str = "a text") -> dict[str, Any]:
    """A record of that view's columns, all of them full."""
    texts = {*TEXTS, *COMPLIANCE_TEXTS}
    return {name: f"{text} {n}" if name in texts else [n, text, {"x": 1.5}, None] for name in COLUMNS[view]}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[bytes]]:
    """The lines of a file of five entries, by its name."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("a.jsonl", "a.csv"):
        write_entries(folder / name, "technical", {"run": "r1-heron"}, (body("technical", n) for n in range(5)))
    return lambda name: (folder / name).read_bytes().splitlines(keepends=True)


def found(file: Path, lines: list[bytes]) -> list[tuple[str, str]]:
    file.write_bytes(b"".join(lines))
    return [(one.where, one.what) for one in verify_audit(file).wrong]


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.mark.parametrize(("name", "unit"), [("a.jsonl", "line"), ("a.csv", "row")])
class TestOneChange:
    @shared
    @given(st.data())
    def test_a_byte_that_is_changed(
        self, lines: Callable[[str], list[bytes]], tmp_path: Path, name: str, unit: str, data: st.DataObject
    ) -> None:
        """Anywhere in a line, its end included: that very line is named."""
        now = lines(name)
        place = data.draw(st.integers(1 if name.endswith("csv") else 0, len(now) - 1))
        at = data.draw(st.integers(0, len(now[place].rstrip()) - 1))
        other = data.draw(st.sampled_from(b"0aZ {}:.,").filter(lambda byte: byte != now[place][at]))
        now[place] = now[place][:at] + bytes([other]) + now[place][at + 1 :]
        assert found(tmp_path / name, now) == [(f"{unit} {place + 1}", "changed")]

    @shared
    @given(st.data())
    def test_a_line_that_is_removed_inserted_or_moved(
        self, lines: Callable[[str], list[bytes]], tmp_path: Path, name: str, unit: str, data: st.DataObject
    ) -> None:
        """Named by the place where it was, is, or should not be."""
        now, first = lines(name), 1 if name.endswith("csv") else 0
        places = st.integers(first, len(now) - 1)
        one, other = sorted(data.draw(st.lists(places, min_size=2, max_size=2, unique=True)))
        match data.draw(st.sampled_from(["removed", "inserted", "moved"])):
            case "removed":
                del now[one]
                assert found(tmp_path / name, now) == [(f"{unit} {one + 1}", "removed")]
            case "inserted":
                now.insert(one, data.draw(st.sampled_from([b"\r\n", b"{}\n", b"a,b\r\n", now[other]])))
                ((where, what),) = found(tmp_path / name, now)
                assert (what, where) in {("inserted", f"{unit} {n + 1}") for n in (one, one + 1, other + 1)}
            case _:
                now[one], now[other] = now[other], now[one]
                moved = found(tmp_path / name, now)
                assert {what for _, what in moved} == {"moved"}
                assert {where for where, _ in moved} <= {f"{unit} {one + 1}", f"{unit} {other + 1}"}

    def test_a_space_is_a_change(
        self, lines: Callable[[str], list[bytes]], tmp_path: Path, name: str, unit: str
    ) -> None:
        """What means the same is not what was written."""
        now = lines(name)
        now[2] = now[2].replace(b'{"' if unit == "line" else b",", b'{ "' if unit == "line" else b", ", 1)
        assert found(tmp_path / name, now) == [(f"{unit} 3", "changed")]

    def test_what_is_cut_off_is_missed(
        self, lines: Callable[[str], list[bytes]], tmp_path: Path, name: str, unit: str
    ) -> None:
        """The last line says that it is the last."""
        assert found(tmp_path / name, lines(name)[:-1]) == [(f"{unit} {len(lines(name))}", "removed")]
        assert found(tmp_path / name, [*lines(name)[:-1], lines(name)[-1][:-1]])[0][1] == "changed"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_how_lines_end_is_no_content(
    lines: Callable[[str], list[bytes]], tmp_path: Path, name: str, end: bytes
) -> None:
    """Git and editors change it; whatever else is changed there is found still."""
    other = [line.rstrip(b"\r\n") + end for line in lines(name)]
    assert found(tmp_path / name, other) == []
    assert found(tmp_path / name, [*lines(name)[:3], *other[3:]]) == []
    unit = "row" if name.endswith("csv") else "line"
    other[2] = other[2].replace(b"a text 1", b"a text 9", 1).replace(b"a text 0", b"a text 9", 1)
    assert found(tmp_path / name, other) == [(f"{unit} 3", "changed")]


def test_the_head_tells_what_a_forger_has_written_anew(tmp_path: Path) -> None:
    """The file is a sound chain then, and not the one that was exported."""
    head = write_entries(tmp_path / "a.jsonl", "technical", {}, [body("technical", n) for n in range(3)])
    assert verify_audit(tmp_path / "a.jsonl", head=head).sound
    assert verify_audit(str(tmp_path / "a.jsonl"), head=f" {head.upper()}\n").sound
    forged = write_entries(tmp_path / "a.jsonl", "technical", {}, [body("technical", n, "forged") for n in range(3)])
    assert forged != head
    without = verify_audit(tmp_path / "a.jsonl")
    assert without.sound
    assert "compared with no head" in repr(without)
    assert [one.where for one in verify_audit(tmp_path / "a.jsonl", head=head).wrong] == ["head"]


@pytest.mark.parametrize("view", COLUMNS)
@pytest.mark.parametrize("text", HOSTILE)
def test_both_forms_hold_the_same_chain(tmp_path: Path, view: str, text: str) -> None:
    """Whatever stands in the texts; and no cell is one that a spreadsheet takes for a formula."""
    bodies = [{**body(view, 0), name: value} for name in COLUMNS[view] for value in [_with(text, body(view, 0)[name])]]
    heads = [write_entries(tmp_path / name, view, {"run": text}, bodies) for name in ("a.jsonl", "a.csv")]
    assert heads[0] == heads[1]
    for name in ("a.jsonl", "a.csv"):
        assert verify_audit(tmp_path / name, head=heads[0]).sound
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@＝＋－＠") and cell.strip()]
    assert not [cell for cell in cells if cell.startswith(("\t", "\r"))]


def _with(text: str, value: Any) -> Any:
    return text if isinstance(value, str) else [text]


@given(st.lists(st.dictionaries(st.sampled_from(TEXTS), st.text(), max_size=3), max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back(tmp_path: Path, texts: list[dict[str, str]]) -> None:
    """From CSV as from JSON; half of a surrogate pair is in no record."""
    bodies = [body("technical", n) | said for n, said in enumerate(texts)]
    head = write_entries(tmp_path / "a.csv", "technical", {}, bodies)
    assert verify_audit(tmp_path / "a.csv", head=head).sound


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "is no audit log"),
        ("a.csv", "", "is no audit log"),
        ("a.jsonl", "x\ny\n", "is no audit log"),
        ("a.csv", '"', "is no audit log"),
        ("a.csv", "n,hash\n1,2\n", "is no audit log"),
        ("a.jsonl", None, "cannot be read"),
        ("nul\0", None, "cannot be read"),
    ],
)
def test_what_is_no_audit_log_is_said_to_be_none(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    """A file of another kind, or none."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        verify_audit(tmp_path / name)


@pytest.mark.parametrize(
    "line", ['{"n":1e400}', '{"n":NaN}', "[" * 100_000, '{"n":12345678901234567890123}', '{"n":"\\ud800"}']
)
def test_a_hostile_line_is_one_that_was_changed(tmp_path: Path, line: str) -> None:
    """And no reason to fail."""
    file = tmp_path / "a.jsonl"
    write_entries(file, "technical", {}, [body("technical", n) for n in range(2)])
    lines = file.read_text().splitlines(keepends=True)
    lines[1] = f"{line}\n"
    assert found(file, [text.encode() for text in lines]) == [("line 2", "changed")]


def test_the_names_of_the_columns_are_no_entry_and_are_held_all_the_same(
    lines: Callable[[str], list[bytes]], tmp_path: Path
) -> None:
    """Who changes them changes what the cells are taken for."""
    now = lines("a.csv")
    assert found(tmp_path / "a.csv", [now[0].replace(b"tool", b"fool"), *now[1:]]) == [("row 1", "changed")]


def test_a_folder_takes_no_log(tmp_path: Path) -> None:
    """The error says what to name."""
    with pytest.raises(ConfigError, match=r"name a file, such as .*audit\.jsonl"):
        write_entries(tmp_path, "technical", {}, [])


def test_a_line_is_canonical_json(tmp_path: Path) -> None:
    """Other programs can recompute its hash."""
    write_entries(tmp_path / "a.jsonl", "compliance", {"run": "r1"}, [body("compliance", 1)])
    first = (tmp_path / "a.jsonl").read_text().splitlines()[0]
    said = json.loads(first)
    assert first == json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert said["audit"] == {"agentnb": "audit", "version": 1, "view": "compliance", "run": "r1"}
