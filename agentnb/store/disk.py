"""The store on this machine's disk, on diskcache: the only file that imports it.

Two caches in one folder. `journal/` forgets nothing (no eviction, no culling), commits with a full sync, and keeps
every value inside the database: values that diskcache puts into files of their own do not survive a power cut.
`prompts/` is a bounded cache and may forget. Both hold JSON text only; a row of any other form, as somebody could put
there who can write the folder, is refused and never unpickled.

Journal keys: `j/<run>/<seq of first record>` → one commit's records; `b/<sha256>` → a value kept aside; `r/<number>`
→ a run's id; `x/<key>` → a row that is added once: claims of the ledger, answers, pending actions.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import diskcache

from agentnb.codec import decode, encode
from agentnb.errors import DamagedRecord, KeyTaken, RunConflict, RunHeld, RunNotFound, StoreError
from agentnb.events import Record
from agentnb.store.base import NO_ROWS

__all__ = ["DiskReplyCache", "DiskStore"]

_RAW_TEXT: Final = 1  # diskcache's MODE_RAW: the value is in the row as SQLite holds it
_IN_DATABASE: Final = 2**62  # disk_min_file_size: larger values would go to files
_FULL: Final = 2  # PRAGMA synchronous: a commit returns after its fsync
_PAGES: Final = 512  # of 4 kB: runs are appended and read once; diskcache's 32 MB would only fill memory
_WAL_BYTES: Final = 1_200_000  # a little more than the 256 pages after which it is written back
_PROMPTS_BYTES: Final = 1 << 30

_BIRDS: Final = (
    "avocet bittern bunting crane curlew dipper dunlin egret falcon finch gannet godwit grebe harrier heron hoopoe ibis"
    " jackdaw kestrel kite lapwing linnet magpie merlin nuthatch oriole osprey petrel pipit plover puffin quail raven"
    " robin sandpiper shrike siskin skylark stork swift teal tern thrush vireo wagtail warbler wigeon wren"
)


class TextOnly(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type information
    """Keys and values are text, both on the way in and out; anything else is refused, and pickle is never reached."""

    def put(self, key: str) -> tuple[str, bool]:
        """The database key of `key`."""
        if not isinstance(key, str):
            raise TypeError(f"store keys are text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:  # noqa: FBT001 - diskcache's signature
        """The key that a row has."""
        if not raw or not isinstance(key, str):
            raise DamagedRecord("the store holds a key that is not text; somebody else wrote it")
        return key

    def store(self, value: str, read: bool, key: Any = None) -> tuple[int, int, None, str]:  # noqa: ARG002, FBT001 - diskcache's signature
        """The columns (size, mode, file, value) of `value`."""
        if not isinstance(value, str):
            raise TypeError(f"store values are text, not {type(value).__name__}")
        return 0, _RAW_TEXT, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str:  # noqa: ARG002, FBT001 - diskcache's signature
        """The value of a row."""
        if mode != _RAW_TEXT or filename is not None or not isinstance(value, str):
            raise DamagedRecord("the store holds a value that is not text; somebody else wrote it, and it is not read")
        return value


class _RolledBack(Exception):
    """Ends a transaction that is to leave nothing."""


class LockedFile:
    """A locked file, and with it a run.

    No heartbeat: the system frees the lock of a process that is gone, whatever any clock says, and a process that only
    hangs or sleeps keeps it, for it may go on at any moment.

    Raises:
        RunHeld: it is locked already, by another process or in this one.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout  # 30 ms, which nobody who only looks at runs should wait for

        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path = path
        self._lock = FileLock(path, mode=0o600, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise RunHeld(f"{path.stem} is being driven by somebody else: wait until it rests") from error

    def release(self, *, ended: bool) -> None:
        """Unlock it, and take the file away where the run has ended."""
        if not self._lock.is_locked:
            return
        if ended:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                self._path.unlink()
        self._lock.release()


class DiskStore:
    """A journal in a folder, made when first used; mode 0700, with a .gitignore that keeps it out of git.

    Args:
        folder: where; made with its parents where missing.

    Raises:
        StoreError: the folder cannot be made, read or written; the message says why and what to do.
    """

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder).expanduser().absolute()
        self._cache = _open(
            self._folder,
            "journal",
            size_limit=2**62,
            eviction_policy="none",
            cull_limit=0,
            sqlite_wal_autocheckpoint=256,
        )
        self._drop_bookkeeping()
        self._grow_wal()
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def new_run_id(self) -> str:
        """`r<n>-<bird>`: the number is the run's place in this store, the bird makes it easy to say."""
        with self._guard(), self._cache.transact():
            row = self._rows("SELECT key FROM Cache WHERE key >= 'r/' AND key < 'r0' ORDER BY key DESC LIMIT 1", ())
            number = _run_number(row[0][0]) + 1 if row else 1
            run = f"r{number}-{secrets.choice(_BIRDS.split())}"
            self._cache.add(f"r/{number:09d}", run)
        return run

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        """Keep `records`, `blobs` and `rows` in one transaction, synced to the disk before this returns."""
        commit, text = _key(run, records[0].seq), encode(records)
        with self._guard(), self._cache.transact():
            if not self._added(commit, text):
                raise RunConflict(
                    f"{run} already has a record {records[0].seq}: another kernel or process drives it; let one end"
                )
            for digest, value in blobs.items():
                self._added(f"b/{digest}", value)
            for key, value in rows.items():
                if not self._added(f"x/{key}", value):  # raised inside the transaction: nothing of it stays
                    raise KeyTaken(f"{key} is taken")

    def hold(self, run: str) -> LockedFile:
        """The run, held by a lock of the operating system: it is gone with the process, however that ends."""
        with self._guard():
            return LockedFile(self._folder / "locks" / f"{run}.lock")

    def add_row(self, key: str, text: str) -> bool:
        """Keep `text` under `key`, unless something is kept there already."""
        with self._guard(), self._cache.transact():
            return self._added(f"x/{key}", text)

    def rows(self, prefix: str) -> list[tuple[str, str]]:
        """(key, text) of all rows whose key begins with `prefix`."""
        low = f"x/{prefix}"
        with self._guard():
            found = self._rows(f"{_RUN_ROWS} ORDER BY key", (low, low[:-1] + chr(ord(low[-1]) + 1)))
        if any(not isinstance(text, str) for _, text in found):
            raise DamagedRecord(f"a row under {prefix} is not text; somebody else wrote it, and it is not read")
        return [(key.removeprefix("x/"), text) for key, text in found]

    def _added(self, key: str, text: str) -> bool:
        """Within a transaction: True where nothing was kept under `key` before."""
        now = time.time()
        return bool(self._cache._sql(_ADD, (key, now, now, text)).rowcount)  # noqa: SLF001 - see _ADD

    def read(self, run: str) -> Iterator[Record]:
        """All records of a run, in order; checked to be without a gap."""
        with self._guard():
            rows = self._rows(f"{_RUN_ROWS} ORDER BY key", _range(run))
        if not rows:
            raise RunNotFound(f"no run {run!r} in {self.place}: `%agent runs` lists them")
        return self._decoded(run, rows)

    def last(self, run: str) -> Record:
        """The last record of a run."""
        return self._edge(run, "DESC")[-1]

    def first(self, run: str) -> Record:
        """The first record of a run."""
        return self._edge(run, "ASC")[0]

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
            rows = self._rows(
                "SELECT value FROM Cache AS r WHERE key >= 'r/' AND key < 'r0' AND EXISTS"
                " (SELECT 1 FROM Cache AS j WHERE j.key = 'j/' || r.value || '/0000000000') ORDER BY key",
                (),
            )
        return [row[0] for row in rows if isinstance(row[0], str)]

    def close(self) -> None:
        """Close the database of this thread."""
        self._cache.close()

    def _edge(self, run: str, order: str) -> list[Record]:
        with self._guard():
            rows = self._rows(f"{_RUN_ROWS} ORDER BY key {order} LIMIT 1", _range(run))
        if not rows:
            raise RunNotFound(f"no run {run!r} in {self.place}: `%agent runs` lists them")
        return _records(run, *rows[0])

    def _decoded(self, run: str, rows: list[tuple[Any, ...]]) -> Iterator[Record]:
        expected = 0
        for key, text in rows:
            if key != _key(run, expected):
                raise DamagedRecord(f"{run}: record {expected} is missing in {self.place}; nothing after it is used")
            records = _records(run, key, text)
            expected += len(records)
            yield from records

    def _rows(self, query: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        # diskcache has no range scan; its key column is indexed, and one query reads a run instead of one a record.
        rows: list[tuple[Any, ...]] = self._cache._sql(query, values).fetchall()  # noqa: SLF001 - see above
        return rows

    def _drop_bookkeeping(self) -> None:
        """Take away what diskcache keeps for caches that evict: counts of rows and bytes, and an index of expiry times.

        Nothing here expires or is evicted. Without them a commit writes four pages instead of six, a tenth of a
        millisecond of a step's six. Whoever opens the folder with diskcache itself gets them back, and nothing of ours
        reads them.
        """
        with self._guard():
            for statement in _BOOKKEEPING:
                self._cache._sql(statement)  # noqa: SLF001 - see _rows

    def _grow_wal(self) -> None:
        """Give the write-ahead log its full size now: syncing a file that grows costs twice what overwriting it does.

        A transaction larger than the page cache spills into the log; rolled back, it leaves nothing but the room.
        """
        with self._guard():
            self._cache._sql("PRAGMA cache_size = 8")  # noqa: SLF001 - see _rows
            with contextlib.suppress(_RolledBack), self._cache.transact():
                self._cache._sql("INSERT INTO Settings VALUES ('room', zeroblob(?))", (_WAL_BYTES,))  # noqa: SLF001
                raise _RolledBack
            self._cache._sql(f"PRAGMA cache_size = {_PAGES}")  # noqa: SLF001

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        with _clear_errors(self._folder):
            yield


class DiskReplyCache:
    """Model replies in a bounded cache beside the journal: the ones stored longest ago go first."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder).expanduser().absolute()
        # Least recently stored, not used: the latter makes every hit a write, at ten times the cost.
        self._cache = _open(
            self._folder, "prompts", size_limit=_PROMPTS_BYTES, eviction_policy="least-recently-stored", synchronous=1
        )

    def get(self, key: str) -> str | None:
        """The JSON text kept under `key`, or None; a damaged entry is as good as none."""
        with _clear_errors(self._folder):
            try:
                text: str | None = self._cache.get(key)
            except DamagedRecord:
                return None
        return text

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
        with _clear_errors(self._folder):
            self._cache.set(key, text)


_ADD: Final = (
    "INSERT OR IGNORE INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size, mode,"
    " filename, value) VALUES (?, 1, ?, NULL, ?, 0, NULL, 0, 1, NULL, ?)"
)
"""What `Cache.add` does, in one statement where it takes three: 17 µs of a step's 400."""
_BOOKKEEPING: Final = (
    *(f"DROP TRIGGER IF EXISTS Settings_{what}" for what in ("count_insert", "count_delete")),
    *(f"DROP TRIGGER IF EXISTS Settings_{what}" for what in ("size_insert", "size_update", "size_delete")),
    "DROP INDEX IF EXISTS Cache_expire_time",
)
_RUN_ROWS: Final = "SELECT key, value FROM Cache WHERE key >= ? AND key < ?"


def _records(run: str, key: str, text: object) -> list[Record]:
    """One commit's records, which must be numbered as their key says."""
    if not isinstance(text, str):
        raise DamagedRecord(f"{run}: a record is not text; somebody else wrote it, and it is not read")
    records = list(decode(text))
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


def _range(run: str) -> tuple[str, str]:
    return f"j/{run}/", f"j/{run}0"  # "0" is the character after "/"


def _open(folder: Path, name: str, *, synchronous: int = _FULL, **settings: Any) -> Any:
    with _clear_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise StoreError(
                f"the store {folder} is a file: give a folder, e.g. `%config AgentMagics.store = '.agentnb'`"
            )
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if made:
            (folder / ".gitignore").write_text("*\n")
            _sync(folder.parent)
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        cache = diskcache.Cache(
            str(folder / name),
            disk=TextOnly,
            disk_min_file_size=_IN_DATABASE,
            sqlite_synchronous=synchronous,
            sqlite_cache_size=_PAGES,
            sqlite_mmap_size=0,
            sqlite_journal_mode="wal",  # said here, for diskcache would take what the file says
            timeout=10,
            **settings,
        )
        _sync(folder / name)
        return cache


def _sync(folder: Path) -> None:
    """Make the folder's entries durable, where the system lets a folder be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite, diskcache and the system raise into a StoreError that says what is safe."""
    safe = "What was recorded before is safe."
    try:
        yield
    except PermissionError as error:
        raise StoreError(
            f"the store {folder} cannot be written ({error.strerror}): choose another with"
            " `%config AgentMagics.store = '…'` or AGENTNB_STORE"
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"the store {folder} cannot be used: {error}. {safe}") from error
    except diskcache.Timeout as error:
        raise StoreError(f"the store {folder} is locked by another process for over 10 s. {safe}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL or half a surrogate pair in it
        why = getattr(error, "strerror", None) or error
        raise StoreError(f"the store {str(folder)!r} cannot be used: {why}. {safe}") from error
