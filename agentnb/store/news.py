"""Which runs of a store have new records: a mark at the row that was committed last, and the rows after it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from agentnb.store.base import News
from agentnb.store.layout import Rows
from agentnb.store.seal import LENGTH

__all__ = ["since"]

_ALL: Final = "SELECT key FROM Cache WHERE key >= 'j/' AND key < 'j0' AND rowid <= ?"
# the plus signs keep SQLite from going through all keys of the journal instead of the few new rows
_NEW: Final = "SELECT key FROM Cache WHERE rowid > ? AND rowid <= ? AND +key >= 'j/' AND +key < 'j0'"
_COMMIT: Final = re.compile(r"j/(.+)/(\d{10})")


def since(rows: Rows, mark: str, removals: int) -> News:
    """What was committed after `mark`, which an earlier call gave; all, where it is not of these rows.

    Rows are numbered as they are committed, so those after the mark's are the new ones. A number may be given again
    once rows were taken away, or the folder was put back from a copy: both show in the mark.

    Args:
        rows: the database.
        mark: where to begin; "" for the beginning.
        removals: how often something was taken away.
    """
    newest = rows("SELECT rowid FROM Cache ORDER BY rowid DESC LIMIT 1")
    last = int(newest[0][0]) if newest else 0
    seen, now = _number(mark), _mark(rows, removals, last)
    if mark == now:
        return News(mark, {}, "more")
    there = "" if seen is None else _mark(rows, removals, seen)
    if seen is not None and mark == there:
        return News(now, _runs(rows(_NEW, (seen, last))), "more")
    keys = rows(_ALL, (last,))
    same_row = seen is not None and mark.split(" ")[1:] == there.split(" ")[1:]
    return News(now, _runs(keys), "fewer" if same_row else "other")


def _mark(rows: Rows, removals: int, row: int) -> str:
    """How often something was taken away, the number of a row, and what tells that row from others."""
    found = rows("SELECT key, substr(value, 1, ?) FROM Cache WHERE rowid = ?", (LENGTH, row))
    return f"{removals} {row} {hashlib.sha256(repr(found).encode()).hexdigest()[:16]}"


def _number(mark: str) -> int | None:
    """The row of a mark, 0 where there was none; None of what is no mark."""
    parts = mark.split(" ")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None  # noqa: PLR2004 - see `_mark`


def _runs(keys: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    """Of each run the first record of its newest commit."""
    runs: dict[str, int] = {}
    for (key,) in keys:
        if found := _COMMIT.fullmatch(str(key)):  # somebody may have put other rows there
            runs[found[1]] = max(int(found[2]), runs.get(found[1], 0))
    return runs
