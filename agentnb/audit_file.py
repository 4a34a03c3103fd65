"""An audit log as a file: JSON Lines for programs, CSV for people's spreadsheets; the same chain in both.

    {"audit":{"agentnb":"audit","run":"r3-heron",…},"before":"","hash":"…","n":0}
    {"at":"2026-11-26T15:47:01.204331Z","before":"…","hash":"…","n":1,"tool":"refund",…}
    {"audit":{"end":2},"before":"…","hash":"…","n":2}

Each line is the canonical JSON of an entry of a chain, see `hash_chain.py`; a row of CSV holds the same entry, so the
same hashes, on one line each. A cell that a spreadsheet would take for a formula begins with an apostrophe, which is no
part of it. How lines end is no part of an entry either, since none breaks a line within: git and editors change that.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentnb.compliance import COMPLIANCE, COMPLIANCE_TEXTS
from agentnb.errors import ConfigError
from agentnb.hash_chain import Entry, chained, entry_of
from agentnb.plan import JSON
from agentnb.technical import TECHNICAL, TEXTS
from agentnb.values import canonical
from agentnb.whole_file import whole_file

__all__ = ["COLUMNS", "LogFile", "read_entries", "write_entries"]

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {"technical": TECHNICAL, "compliance": COMPLIANCE}
"""The columns of each view."""

_TEXTS: Final = frozenset({*TEXTS, *COMPLIANCE_TEXTS, "before", "hash"})
"""Columns that hold a text; the others hold JSON, an empty cell null. A name means the same in both views."""

_BREAKS: Final = frozenset("\r\n")

_FORMULA: Final = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
"""What a cell that is taken for a formula may begin with, and the apostrophe that keeps it from that."""


def write_entries(file: Path, view: str, about: Mapping[str, JSON], bodies: Iterable[Mapping[str, JSON]]) -> str:
    """Write a chain of `bodies`, one after the other, all of it or nothing; returns its head.

    Args:
        file: is replaced once all is written; CSV where its name ends so, else JSON Lines.
        view: "technical" or "compliance".
        about: what the first entry says.
        bodies: records of that view's columns.

    Raises:
        ConfigError: it cannot be written.
    """
    head, as_csv = "", _is_csv(file)
    with whole_file(file, f"audit.{'csv' if as_csv else 'jsonl'}") as out:
        if as_csv:
            out.write(_row(_csv_columns(view)).encode("utf-8-sig"))  # a spreadsheet takes it for UTF-8 by that mark
        for entry in chained(_with_ends(view, about, bodies)):
            text = _row(_cells(entry, view)) if as_csv else f"{canonical(entry)}\n"
            out.write(text.encode())
            head = str(entry["hash"])
    return head


def _with_ends(
    view: str, about: Mapping[str, JSON], bodies: Iterable[Mapping[str, JSON]]
) -> Iterator[Mapping[str, JSON]]:
    yield {"audit": {"agentnb": "audit", "version": 1, "view": view, **about}}
    n = 0
    for n, body in enumerate(bodies, start=1):  # noqa: B007 - counted
        yield body
    yield {"audit": {"end": n + 1}}


@dataclass(frozen=True, slots=True)
class LogFile:
    """An audit log as it is found in a file.

    Attributes:
        about: what the first entry says, {} where it cannot be read.
        entries: all of them.
        first: the line of the first one.
        headed: False of CSV whose first line does not name the columns.
    """

    about: Mapping[str, JSON]
    entries: Sequence[Entry]
    first: int
    headed: bool


def read_entries(file: Path) -> LogFile:
    """What is found in a file.

    Raises:
        ConfigError: it cannot be read, or is no audit log.
    """
    as_csv, headed = _is_csv(file), True
    try:
        with file.open(encoding="utf-8-sig" if as_csv else "utf-8", errors="surrogateescape", newline="") as lines:
            if as_csv:
                rows = _ended(lines, "\r\n")
                names, headed = _named(next(rows, ""))
                found = list(_from_csv(rows, names))
            else:
                found = list(_from_json(_ended(lines, "\n")))
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{str(file)!r} cannot be read: {why}") from error
    if all(entry.n < 0 for entry, _ in found):
        raise ConfigError(f"{str(file)!r} is no audit log: `%agent audit RUN --export FILE` writes one")
    about = next((about for entry, about in found if entry.n == 0 and about), {})
    return LogFile(about, [entry for entry, _ in found], 2 if as_csv else 1, headed)


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _ended(lines: Iterable[str], end: str) -> Iterator[str]:
    """The lines, each that ends as some system's lines do with `end`, as it was written; what is cut off stays so."""
    return (line.rstrip("\r\n") + end if line.endswith("\n") else line for line in lines)


def _from_json(lines: Iterable[str]) -> Iterator[tuple[Entry, Mapping[str, JSON]]]:
    for place, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            exact = f"{canonical(value)}\n" == line  # or an edit that means the same would go unnoticed
        except (ValueError, RecursionError):
            value, exact = None, False
        yield entry_of(place, value, exact=exact), _about(value)


def _about(value: Any) -> Mapping[str, JSON]:
    about = value.get("audit") if isinstance(value, dict) else None
    return about if isinstance(about, dict) else {}


# ---------------------------------------------------------------------------------------------------- CSV


def _csv_columns(view: str) -> list[str]:
    return ["n", *COLUMNS[view], "audit", "before", "hash"]


def _row(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)  # lines end as RFC 4180 has it
    return out.getvalue()


def _cells(entry: Mapping[str, JSON], view: str) -> list[str]:
    return [_cell(name, entry.get(name)) for name in _csv_columns(view)]


def _cell(name: str, value: JSON) -> str:
    """A value as a spreadsheet may have it, on one line: a text that breaks lines is written as JSON has it."""
    text = "" if value is None else str(value) if name in _TEXTS else canonical(value)
    if name in _TEXTS and ({*text} & _BREAKS or text.startswith('"')):
        text = canonical(text)
    return f"'{text}" if {text[:1], text.lstrip()[:1]} & _FORMULA else text


def _value(name: str, cell: str) -> JSON:
    text = cell.removeprefix("'")
    if name in _TEXTS and not text.startswith('"'):
        return text
    return json.loads(text) if text else None


def _named(line: str) -> tuple[list[str], bool]:
    """The columns that the first line names; those that it has as many of, where it names none."""
    known = [_csv_columns(view) for view in COLUMNS]
    many = line.count(",") + 1
    exact = next((names for names in known if line == _row(names)), None)
    return exact or min(known, key=lambda names: abs(len(names) - many)), exact is not None


def _from_csv(lines: Iterable[str], names: list[str]) -> Iterator[tuple[Entry, Mapping[str, JSON]]]:
    for place, line in enumerate(lines, start=1):
        try:
            value = _entry(names, next(csv.reader([line], strict=True), []))
            exact = line == _row(_cell(name, value.get(name)) for name in names)
        except (csv.Error, ValueError, RecursionError):
            value, exact = {}, False
        yield entry_of(place, value, exact=exact), _about(value)


def _entry(names: list[str], cells: list[str]) -> dict[str, JSON]:
    """The entry of a row; ValueError where it is none."""
    value = {name: _value(name, cell) for name, cell in zip(names, cells, strict=True)}
    if value.get("audit") is None:
        value.pop("audit", None)
        return value
    return {name: item for name, item in value.items() if name in ("n", "audit", "before", "hash")}
