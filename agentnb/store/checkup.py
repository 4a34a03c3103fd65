"""What can be read of a store, whatever has happened to it: nothing is written, and nothing that is read is believed.

It reads the file as plain SQLite does, around what cannot be read, so that it works where the store cannot be opened.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentnb.codec import decode, head_of, values_of
from agentnb.errors import DamagedRecord
from agentnb.events import Record
from agentnb.state import NEW
from agentnb.store.base import Progress
from agentnb.store.heads import Head, Heads, number_of
from agentnb.store.layout import LAYOUT, read_only
from agentnb.store.network import network_type
from agentnb.store.seal import looks_sealed, opened, seal_of
from agentnb.transitions import fold

__all__ = ["Checked", "Found", "check"]

_PROBLEMS: Final = 20
_STRIDE: Final = 256
_LOST: Final = 20_000
"""Rows that cannot be read and are looked around, before it is given up."""
_NEXT: Final = "SELECT rowid, key, value FROM Cache WHERE rowid > ? ORDER BY rowid LIMIT ?"


@dataclass(frozen=True, slots=True)
class Found:
    """What is left of one run.

    Attributes:
        run: its id.
        records: those that are sound, from the first on.
        values: what they refer to, by its SHA-256.
        problem: what is wrong with the next one, or with a value; "" where nothing is.
        task: what it was for, "" where that is lost.
    """

    run: str
    records: Sequence[Record]
    values: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is left of a store.

    Attributes:
        facts: what was looked at, and how it is: (what, is).
        runs: all of which anything is left, oldest first.
        problems: what is wrong beside them, one sentence each.
        lost: ids of the runs of which nothing is left, oldest first: "r2" where the rest of an id is lost too.
    """

    facts: Sequence[tuple[str, str]]
    runs: Sequence[Found]
    problems: Sequence[str]
    lost: Sequence[str] = ()

    @property
    def sound(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems and not self.lost and not any(found.problem for found in self.runs)


def check(folder: Path, progress: Progress | None = None) -> Checked:
    """Everything of the store in `folder` that can be read.

    Args:
        folder: of the store.
        progress: told how many runs were looked at, and how many there are.

    Raises:
        FileNotFoundError: there is no database in it.
    """
    database = folder / "journal" / "cache.db"
    if not database.is_file():
        raise FileNotFoundError(database)
    notes = Heads(folder / "heads")
    heads, begun = notes.snapshot(), notes.begun()  # before the rows: who drives a run may commit between the two
    problems: list[str] = []
    with closing(read_only(database)) as raw:
        raw.text_factory = lambda text: text.decode("utf-8", "replace")
        with suppress(sqlite3.Error):
            raw.execute("BEGIN")  # one moment for all that is read
        version = _first(raw, "PRAGMA user_version", problems)
        problems += [f"SQLite: {line}" for line in _integrity(raw) if line != "ok"][:_PROBLEMS]
        rows = dict(_rows(raw, problems))
    if version not in (0, LAYOUT):
        problems.append(f"it has layout {version}, and this agentnb reads {LAYOUT}")
    facts = [
        ("folder", str(folder)),
        ("file system", network_type(folder) or "on this machine"),
        ("layout", str(version or 1)),
        ("database", f"{database.stat().st_size:,} bytes".replace(",", " ")),
        ("rows", f"{len(rows):,}".replace(",", " ")),
    ]
    found = list(_runs(rows, heads, progress))
    still = begun & notes.begun()  # without those that were taken away on purpose meanwhile
    return Checked(facts, found, [*problems, *_loose(rows)], _lost(rows, found, still))


def _lost(rows: Mapping[str, object], found: Sequence[Found], begun: frozenset[int]) -> list[str]:
    """The runs that are noted to have begun, and have no record left."""
    lost = []
    for number in sorted(begun - {number_of(one.run) for one in found}):
        name, key = f"r{number}", f"r/{number:09d}"
        with suppress(DamagedRecord):
            name = opened(key, rows[key]) if key in rows else name
        lost.append(name)
    return lost


def _first(raw: sqlite3.Connection, query: str, problems: list[str]) -> object:
    try:
        row = raw.execute(query).fetchone()
    except sqlite3.Error as error:
        problems.append(f"SQLite: {error}")
        return None
    return row[0] if row else None


def _integrity(raw: sqlite3.Connection) -> list[str]:
    try:
        return [str(line) for (line,) in raw.execute("PRAGMA integrity_check(100)")]
    except (sqlite3.Error, ValueError) as error:
        return [str(error)]


def _rows(raw: sqlite3.Connection, problems: list[str]) -> Iterator[tuple[str, object]]:
    """(key, value) of every row that can be read, around those that cannot."""
    after, lost, stride = -1, 0, _STRIDE
    while lost <= _LOST:
        try:
            found = raw.execute(_NEXT, (after, stride)).fetchall()
        except (sqlite3.Error, ValueError):
            if stride == 1:  # that row, or one on the same page
                after, lost = after + 1, lost + 1
            stride = 1
            continue
        if not found:
            break
        last = int(found[-1][0])
        if last <= after:  # a page that was overwritten leads back: read on behind it, or this would never end
            after, lost, stride = after + 1, lost + 1, 1
            continue
        yield from ((str(key), value) for _, key, value in found)
        after, stride = last, min(2 * stride, _STRIDE)
    if lost:
        problems.append(f"{lost:,} rows cannot be read")


def _loose(rows: Mapping[str, object]) -> list[str]:
    """What is wrong with rows that are no run's records: the ledger, answers, values."""
    problems = []
    for key, kept in rows.items():
        if key.startswith(("x/", "r/")) and looks_sealed(kept):
            with suppress(DamagedRecord):
                opened(key, kept)
                continue
            problems.append(f"what is kept under {key} is not what was written there")
        elif key.startswith("b/"):
            text = kept if isinstance(kept, str) else ""
            if hashlib.sha256(text.encode()).hexdigest() != key.removeprefix("b/"):
                problems.append(f"the value {key[2:14]}… is not what was stored")
    return problems[:_PROBLEMS]


def _runs(
    rows: Mapping[str, object], heads: Callable[[str], Head | None], progress: Progress | None
) -> Iterator[Found]:
    keys: dict[str, list[str]] = {}
    for key in sorted(key for key in rows if key.startswith("j/") and key.count("/") == 2):  # noqa: PLR2004 - j/run/seq
        keys.setdefault(key.split("/")[1], []).append(key)
    for done, run in enumerate(sorted(keys, key=lambda name: (len(name.partition("-")[0]), name)), start=1):
        yield _run(run, keys[run], rows, heads(run))
        if progress is not None:
            progress(done, len(keys))


def _run(run: str, keys: Sequence[str], rows: Mapping[str, object], head: Head | None) -> Found:
    """The longest beginning of a run that is sound."""
    records: list[Record] = []
    values: dict[str, str] = {}
    state, before, problem = NEW, "", ""
    for key in keys:
        if key != f"j/{run}/{len(records):010d}":
            problem = f"record {len(records)} is missing"
            break
        try:
            plain = isinstance(rows[key], str) and not looks_sealed(rows[key])  # as in the first layout
            text = str(rows[key]) if plain else opened(key, rows[key], before)
            batch = list(decode(text))
            state = fold(batch, state)
            values |= _values(batch, rows)
        except DamagedRecord as error:
            problem = str(error)
            break
        records += batch
        before = seal_of(rows[key])
    if not problem and head and head.seq >= len(records):
        problem = f"{head.seq + 1:,} records were acknowledged, and {len(records):,} are there"
    return Found(run, records, values, problem, head_of(records[0]).task if records else "")


def _values(records: Sequence[Record], rows: Mapping[str, object]) -> dict[str, str]:
    found = {}
    for name in sorted(values_of(records)):
        kept = rows.get(f"b/{name}")
        if not isinstance(kept, str) or hashlib.sha256(kept.encode()).hexdigest() != name:
            raise DamagedRecord(f"the value {name[:12]}… is {'damaged' if kept else 'missing'}")
        found[name] = kept
    return found
