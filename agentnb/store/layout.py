"""The form in which rows are kept, its version, and the functions that bring an older store up to it.

    1  text as it is
    2  a seal in front of every row, chained in a run's journal (seal.py); checkpoints; the last commits in `heads`

The version is SQLite's `user_version`. Every step is one transaction: a process that dies in it leaves the old layout.
What is inside the records has a version of its own, `events.FORMAT`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

from agentnb.errors import DamagedRecord, StoreError
from agentnb.store.seal import looks_sealed, sealed, seals

__all__ = ["ADD", "BOOKKEEPING", "LAYOUT", "Rows", "brought_up", "read_only", "require_readable", "version_of"]

LAYOUT: Final = 2
ADD: Final = (
    "INSERT OR IGNORE INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size, mode,"
    " filename, value) VALUES (?, 1, ?, NULL, ?, 0, NULL, 0, 1, NULL, ?)"
)
"""What `Cache.add` does, in one statement where it takes three: 17 µs of a step's 400."""
BOOKKEEPING: Final = (
    *(f"DROP TRIGGER IF EXISTS Settings_{what}" for what in ("count_insert", "count_delete")),
    *(f"DROP TRIGGER IF EXISTS Settings_{what}" for what in ("size_insert", "size_update", "size_delete")),
    "DROP INDEX IF EXISTS Cache_expire_time",
)
"""What diskcache keeps for caches that evict, see `DiskStore._bring_up`."""


class Rows(Protocol):
    """The database."""

    def __call__(self, query: str, values: Sequence[Any] = (), /) -> list[tuple[Any, ...]]:
        """The rows of a query."""


def read_only(database: Path) -> sqlite3.Connection:
    """A connection that writes nothing, and makes no file beside the database.

    Only through SQLite: whoever opens and closes the file by other means takes away the locks that this process has on
    it, and another process may then throw away the log that is being written to.
    """
    alone = "" if database.with_name(f"{database.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{database.as_uri()}?mode=ro{alone}", uri=True, isolation_level=None)


def version_of(database: Path) -> int:
    """The layout of a store, asked before anything may write to it; 0 where there is none, or it cannot be read."""
    try:
        if not database.is_file():
            return 0
        with closing(read_only(database)) as raw:
            [(version,)] = raw.execute("PRAGMA user_version")
    except (sqlite3.Error, OSError, ValueError):
        return 0
    return int(version)


def require_readable(version: int, place: str) -> None:
    """Raise StoreError of a store that a newer release wrote."""
    if version > LAYOUT:
        raise StoreError(
            f"the store {place} has layout {version}, and this agentnb reads up to {LAYOUT}: install a newer one."
            " Nothing in it was changed"
        )


def brought_up(rows: Rows) -> None:
    """Bring the store to LAYOUT, within the caller's transaction: one numbered function a version."""
    [(version,)] = rows("PRAGMA user_version")
    if not version and not rows("SELECT 1 FROM Cache LIMIT 1"):
        version = LAYOUT  # it is new
    for older in range(version or 1, LAYOUT):
        _MIGRATIONS[older](rows)
    rows(f"PRAGMA user_version = {LAYOUT}")


def _seal_rows(rows: Rows) -> None:
    """1 → 2: seal what is there. Values kept aside have their hash as their name and need no seal."""
    before: dict[str, str] = {}
    for key, text in rows("SELECT key, value FROM Cache WHERE key < 'b/' OR key >= 'b0' ORDER BY key"):
        if not isinstance(text, str) or looks_sealed(text):
            raise DamagedRecord(f"what is kept under {key} has not the form of layout 1: nothing was changed")
        run = key.split("/")[1] if key.startswith("j/") else ""
        link = before.get(run, "") if run else ""
        rows("UPDATE Cache SET value = ? WHERE key = ?", (sealed(key, text, link), key))
        before[run] = seals(key, text, link)


_MIGRATIONS: Final[Mapping[int, Callable[[Rows], None]]] = {1: _seal_rows}
