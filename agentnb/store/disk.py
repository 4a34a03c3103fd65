"""The store on this machine's disk: one database of text rows in a folder, with the prompt cache beside it.

`journal/` forgets nothing by itself (no eviction, no culling), commits with a full sync, and keeps every value inside
the database. Its rows, all but values sealed (seal.py):

    j/<run>/<seq of first record>   one commit's records, sealed in a chain
    b/<sha256>                      a value kept aside, once for every run
    r/<number>                      a run's id; stays when the run goes, so that no number comes again
    g/removals                      how often something was taken away
    x/<key>                         a row that is added once: ledger, answers, pending actions, checkpoints, anchors
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from agentnb.codec import blobs_in, decode, encode
from agentnb.errors import DamagedRecord, KeyTaken, RunConflict, RunNotFound, StoreError
from agentnb.events import Record
from agentnb.store.base import NO_ROWS, News
from agentnb.store.group import GroupCommit
from agentnb.store.heads import Head, Heads
from agentnb.store.layout import ADD, BOOKKEEPING, LAYOUT, brought_up, require_readable, version_of
from agentnb.store.lock import LockedFile, is_locked
from agentnb.store.news import since
from agentnb.store.seal import LENGTH, opened, seal_of, sealed
from agentnb.store.text_cache import PAGES, clear_errors, doctor_line, open_cache

__all__ = ["DiskStore"]

T = TypeVar("T")

_WAL_BYTES: Final = 1_200_000  # a little more than the 256 pages after which it is written back
_TIPS: Final = 256  # runs whose last seal is remembered

_BIRDS: Final = (
    "avocet bittern bunting crane curlew dipper dunlin egret falcon finch gannet godwit grebe harrier heron hoopoe ibis"
    " jackdaw kestrel kite lapwing linnet magpie merlin nuthatch oriole osprey petrel pipit plover puffin quail raven"
    " robin sandpiper shrike siskin skylark stork swift teal tern thrush vireo wagtail warbler wigeon wren"
)


class _RolledBack(Exception):
    """Ends a transaction that is to leave nothing."""


class DiskStore:
    """A journal in a folder, made when first used; mode 0700, with a .gitignore that keeps it out of git.

    Args:
        folder: where; made with its parents where missing.

    Raises:
        StoreError: the folder cannot be made, read or written, is on a network, or holds what a newer release wrote;
            the message says why and what to do.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder).expanduser().absolute()
        require_readable(version_of(self._folder / "journal" / "cache.db"), self.place)
        self._cache = open_cache(
            self._folder,
            "journal",
            size_limit=2**62,
            eviction_policy="none",
            cull_limit=0,
            sqlite_wal_autocheckpoint=256,
        )
        self._group = GroupCommit(lambda: self._cache._con, self._require_in_place)  # noqa: SLF001 - it has no other way
        self._heads = Heads(self._folder / "heads")
        self._tips: OrderedDict[str, Head] = OrderedDict()
        self._grown = False
        with self._guard():
            self._bring_up()
            self._database = str(self._folder / "journal" / "cache.db")
            self._wal = f"{self._database}-wal"
            self._inode = os.stat(self._database).st_ino  # noqa: PTH116 - looked at after every commit

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def folder(self) -> Path:
        """The same, as a path."""
        return self._folder

    def new_run_id(self) -> str:
        """`r<n>-<bird>`: the number is the run's place in this store, the bird makes it easy to say."""

        def add(database: sqlite3.Connection) -> str:
            row = self._rows("SELECT key FROM Cache WHERE key >= 'r/' AND key < 'r0' ORDER BY key DESC LIMIT 1")
            number = _run_number(row[0][0]) + 1 if row else 1
            run = f"r{number}-{secrets.choice(_BIRDS.split())}"
            _add_sealed(database, f"r/{number:09d}", run)
            return run

        return self._committed(add)

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        """Keep `records`, `blobs` and `rows` in one transaction, synced to the disk before this returns."""
        if not self._grown:
            self._grow_wal()
        first = records[0].seq
        commit = _key(run, first)
        kept = sealed(commit, encode(records), self._tip(run, first))
        fresh = {key: sealed(f"x/{key}", text) for key, text in rows.items()}

        def add(database: sqlite3.Connection) -> None:
            if not _add(database, commit, kept):
                raise RunConflict(
                    f"{run} already has a record {first}: another kernel or process drives it; let one end"
                )
            for digest, value in blobs.items():
                _add(database, f"b/{digest}", value)
            for key, value in fresh.items():
                if not _add(database, f"x/{key}", value):  # raised inside the transaction: nothing of it stays
                    raise KeyTaken(f"{key} is taken")

        self._committed(add)
        self._tips[run] = head = Head(records[-1].seq, seal_of(kept))
        while len(self._tips) > _TIPS:
            self._tips.popitem(last=False)
        self._heads.note(run, head)

    def hold(self, run: str) -> LockedFile:
        """The run, held by a lock of the operating system: it is gone with the process, however that ends."""
        with self._guard():
            return LockedFile(self._lock(run))

    def is_driven(self, run: str) -> bool:
        """True where somebody drives the run now; a process that has died does not, however that ended."""
        with self._guard():
            return is_locked(self._lock(run))

    def _lock(self, run: str) -> Path:
        return self._folder / "locks" / f"{run}.lock"

    def add_row(self, key: str, text: str) -> bool:
        """Keep `text` under `key`, unless something is kept there already."""
        return self._committed(lambda database: _add_sealed(database, f"x/{key}", text))

    def rows(self, prefix: str) -> list[tuple[str, str]]:
        """(key, text) of all rows whose key begins with `prefix`."""
        low = f"x/{prefix}"
        with self._guard():
            found = self._rows(f"{_RANGE} ORDER BY key", (low, low[:-1] + chr(ord(low[-1]) + 1)))
        return [(key.removeprefix("x/"), opened(key, kept)) for key, kept in found]

    def last_row(self, prefix: str) -> tuple[str, str] | None:
        """The last of them."""
        low = f"x/{prefix}"
        with self._guard():
            found = self._rows(f"{_RANGE} ORDER BY key DESC LIMIT 1", (low, low[:-1] + chr(ord(low[-1]) + 1)))
        return (found[0][0].removeprefix("x/"), opened(*found[0])) if found else None

    def row(self, key: str) -> str | None:
        """The text kept under `key`, or None."""
        with self._guard():
            found = self._rows("SELECT value FROM Cache WHERE key = ?", (f"x/{key}",))
        return opened(f"x/{key}", found[0][0]) if found else None

    def read(self, run: str, after: int = -1) -> Iterator[Record]:
        """Records of a run, in order: without a gap, sealed in a chain, and all that were acknowledged."""
        with self._guard():
            head = self._heads.noted(run)  # before the rows: its driver may commit between the two
            rows = self._rows(f"{_RANGE} ORDER BY key", _range(run, after + 1))
            before = self._seal_before(run, after + 1)
        if not rows and after < 0 and head is None:
            raise RunNotFound(f"no run {run!r} in {self.place}: `%agent runs` lists them")
        return self._decoded(run, rows, after, before, head)

    def last(self, run: str) -> Record:
        """The last record of a run."""
        with self._guard():
            head = self._heads.noted(run)
            rows = self._rows(f"{_RANGE} ORDER BY key DESC LIMIT 2", _range(run))
        if not rows and head is None:
            raise RunNotFound(f"no run {run!r} in {self.place}: `%agent runs` lists them")
        before = seal_of(rows[1][1]) if len(rows) > 1 else ""
        after = int(rows[0][0].rpartition("/")[2]) - 1 if rows else -1
        return list(self._decoded(run, rows[:1], after, before, head))[-1]

    def first(self, run: str) -> Record:
        """The first record of a run."""
        with self._guard():
            rows = self._rows(f"{_RANGE} ORDER BY key LIMIT 1", _range(run))
        if not rows:
            raise RunNotFound(f"no run {run!r} in {self.place}: `%agent runs` lists them")
        return _records(run, rows[0][0], rows[0][1], "")[0]

    def seals(self, run: str, start: int = 0) -> list[tuple[int, str]]:
        """(first record, seal) of each commit of a run from record `start` on, in order, believed as they are."""
        with self._guard():
            rows = self._rows(_SEALS, (LENGTH, *_range(run, start)))
        return [(int(key.rpartition("/")[2]), seal) for key, seal in rows if key[-1:].isdecimal()]

    def blob(self, digest: str) -> str:
        """The value kept aside under `digest`, checked against it."""
        with self._guard():
            text: str | None = self._cache.get(f"b/{digest}")
        if text is None or hashlib.sha256(text.encode()).hexdigest() != digest:
            raise DamagedRecord(
                f"the value {digest[:12]}… in {self.place} is {'missing' if text is None else 'not what was stored'}"
            )
        return text

    def runs(self) -> list[str]:
        """Ids of all runs that have a record, oldest first."""
        with self._guard():
            rows = self._rows(_BEGUN, (LENGTH + 2,))
        return [opened(key, kept) for key, kept in rows]

    def since(self, mark: str) -> News:
        """Which runs have new records."""
        with self._guard():
            return since(self._rows, mark, self._removals())

    def remove(self, runs: Sequence[str], blobs: Sequence[str], since: tuple[int, int]) -> bool:
        """Take runs away, and values that no other run holds, in one transaction; their ids are never given again.

        Args:
            runs: their ids.
            blobs: the values, by their SHA-256.
            since: the `newest` of the store when it was found that nothing else refers to the values.

        Returns:
            False where something was kept since then that refers to one of them, or somebody else has taken something
            away: nothing is taken away.
        """
        kept = {f"b/{digest}" for digest in blobs}

        def take_away(database: sqlite3.Connection) -> bool:
            times, row = since
            if self._removals() != times:  # and numbers of rows may have been given again
                return False
            later = self._rows("SELECT value FROM Cache WHERE rowid > ? AND key NOT LIKE 'b/%'", (row,))
            if any(f"b/{digest}" in kept for (text,) in later for digest in blobs_in(str(text))):
                return False
            self._rows("DELETE FROM Cache WHERE key = ?", (_REMOVALS,))
            _add(database, _REMOVALS, str(times + 1))
            for run in runs:
                for lead in _OWN:
                    self._rows("DELETE FROM Cache WHERE key >= ? AND key < ?", (f"{lead}{run}/", f"{lead}{run}0"))
            for key in kept:
                self._rows("DELETE FROM Cache WHERE key = ?", (key,))
            return True

        if not self._committed(take_away):
            return False
        for run in runs:
            self._tips.pop(run, None)
            self._heads.note(run, None)
        with self._guard():
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    def newest(self) -> tuple[int, int]:
        """How often something was taken away, and the number of the row that was kept last since then."""

        def look(_: sqlite3.Connection) -> tuple[int, int]:
            [(number,)] = self._rows("SELECT COALESCE(max(rowid), 0) FROM Cache")
            return self._removals(), int(number)

        return self._committed(look)

    def _removals(self) -> int:
        rows = self._rows("SELECT value FROM Cache WHERE key = ?", (_REMOVALS,))
        return int(rows[0][0]) if rows and str(rows[0][0]).isdecimal() else 0

    def references(self) -> Iterator[tuple[str, frozenset[str], int]]:
        """(run, values that it refers to, bytes) of each row but the values; "" where it is no run's own."""
        with self._guard():
            rows = self._rows("SELECT key, value FROM Cache WHERE key < 'b/' OR key >= 'b0'")
        for key, text in rows:
            own = next((key[len(lead) :] for lead in _OWN if key.startswith(lead)), "")
            yield own.partition("/")[0], blobs_in(str(text)), len(str(text).encode())

    def sizes(self) -> dict[str, int]:
        """Bytes of each value kept aside, by its SHA-256."""
        with self._guard():
            rows = self._rows("SELECT key, length(CAST(value AS BLOB)) FROM Cache WHERE key >= 'b/' AND key < 'b0'")
        return {key.removeprefix("b/"): size for key, size in rows}

    def close(self) -> None:
        """Close the database of this thread."""
        self._cache.close()
        self._heads.close()

    # --- writing ----------------------------------------------------------------------------------------------------

    def _tip(self, run: str, seq: int) -> str:
        """The seal of the commit before record `seq`; the one that this process made last, where it did."""
        tip = self._tips.get(run)
        if tip and tip.seq == seq - 1:
            return tip.seal
        with self._guard():
            return self._seal_before(run, seq)

    def _seal_before(self, run: str, seq: int) -> str:
        rows = self._rows(f"{_RANGE} ORDER BY key DESC LIMIT 1", (_range(run)[0], _key(run, seq))) if seq > 0 else ()
        return seal_of(rows[0][1]) if rows else ""

    def _require_in_place(self) -> None:
        """Raise StoreError where the database was taken away meanwhile: the system lets us write on, to nowhere."""
        try:
            there = os.stat(self._database).st_ino == self._inode and bool(os.stat(self._wal))  # noqa: PTH116 - looked at after every commit
        except FileNotFoundError:
            there = False
        if not there:
            raise StoreError(
                f"the store {self._folder} was deleted, or put in another's place, while it was in use: what was just"
                " written is lost with it. Put it back, and restart the kernel"
            )

    # --- reading ----------------------------------------------------------------------------------------------------

    def _decoded(
        self, run: str, rows: Sequence[tuple[Any, ...]], after: int, before: str, head: Head | None
    ) -> Iterator[Record]:
        expected = after + 1
        for key, kept in rows:
            if key != _key(run, expected):
                raise DamagedRecord(f"{run}: record {expected} is missing in {self.place}; nothing after it is used")
            records = _records(run, key, kept, before)
            expected, before = expected + len(records), seal_of(kept)
            if head and head.seq == expected - 1 and head.seal != before:
                raise DamagedRecord(f"{run}: record {head.seq} is another than was acknowledged; {self._save}")
            yield from records
        if head and head.seq >= expected:
            raise DamagedRecord(
                f"{run}: {head.seq + 1:,} records were acknowledged, and {expected:,} are in {self.place}. What is"
                f" missing may have acted, so nothing goes on from here; {self._save}. If the folder was put back"
                f" from a copy on purpose, delete {self._folder / 'heads'}"
            )

    @property
    def _save(self) -> str:
        return f"{doctor_line(self._folder)} says what can be read, and saves it"

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        # diskcache has no range scan; its key column is indexed, and one query reads a run instead of one a record.
        rows: list[tuple[Any, ...]] = self._cache._sql(query, values).fetchall()  # noqa: SLF001 - see above
        return rows

    # --- opening ----------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        """Refuse what a newer release wrote; bring up what an older one did."""
        [(version,)] = self._rows("PRAGMA user_version")
        require_readable(version, self.place)
        if version < LAYOUT:
            with self._cache.transact():
                brought_up(self._rows)
        # Taken away: what diskcache keeps for caches that evict, counts of rows and bytes and an index of expiry times.
        # Nothing here expires. Without them a commit writes four pages instead of six, a tenth of a millisecond of a
        # step's six. Whoever opens the folder with diskcache itself gets them back, and nothing of ours reads them.
        for statement in BOOKKEEPING:
            self._rows(statement)

    def _grow_wal(self) -> None:
        """Give the write-ahead log its full size now: syncing a file that grows costs twice what overwriting it does.

        A transaction larger than the page cache spills into the log; rolled back, it leaves nothing but the room.
        """
        self._grown = True
        with self._guard():
            self._rows("PRAGMA cache_size = 8")
            with contextlib.suppress(_RolledBack), self._cache.transact():
                self._rows("INSERT INTO Settings VALUES ('room', zeroblob(?))", (_WAL_BYTES,))
                raise _RolledBack
            self._rows(f"PRAGMA cache_size = {PAGES}")

    def _guard(self) -> clear_errors:
        return clear_errors(self._folder)

    def _committed(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, which may use `_rows` and `_add`, once it is synced to the disk."""
        with self._guard():
            return self._group.run(work)


_BEGUN: Final = (
    "SELECT key, value FROM Cache AS r WHERE key >= 'r/' AND key < 'r0' AND EXISTS (SELECT 1 FROM Cache AS j"
    " WHERE j.key = 'j/' || substr(r.value, ?) || '/0000000000') ORDER BY key"
)
_REMOVALS: Final = "g/removals"
_OWN: Final = ("j/", "x/c/", "x/a/", "x/o/", "x/p/", "x/u/", "x/h/")
"""What the keys of a run's own rows begin with, before its id; those of the ledger outlive it. An earlier release kept
what a run has cost under `x/u/`."""
_RANGE: Final = "SELECT key, value FROM Cache WHERE key >= ? AND key < ?"
_SEALS: Final = "SELECT key, substr(value, 1, ?) FROM Cache WHERE key >= ? AND key < ? ORDER BY key"


def _add(database: sqlite3.Connection, key: str, value: str) -> bool:
    """Within a transaction: True where nothing was kept under `key` before."""
    now = time.time()
    return bool(database.execute(ADD, (key, now, now, value)).rowcount)


def _add_sealed(database: sqlite3.Connection, key: str, text: str) -> bool:
    """The same of a row that is sealed by itself."""
    return _add(database, key, sealed(key, text))


def _records(run: str, key: str, kept: object, before: str) -> list[Record]:
    """One commit's records, which must be numbered as their key says."""
    records = list(decode(opened(key, kept, before)))
    if not records or any(key != _key(run, r.seq - place) for place, r in enumerate(records)):
        raise DamagedRecord(f"{run}: the records kept under {key} are not those that belong there")
    return records


def _run_number(key: str) -> int:
    digits = key.removeprefix("r/")
    if not (digits.isascii() and digits.isdigit()):
        raise DamagedRecord(f"the store holds a run under {key!r}, which is no number; somebody else wrote it")
    return int(digits)


def _key(run: str, seq: int) -> str:
    return f"j/{run}/{seq:010d}"


def _range(run: str, start: int = 0) -> tuple[str, str]:
    return _key(run, start) if start else f"j/{run}/", f"j/{run}0"  # "0" is the character after "/"
