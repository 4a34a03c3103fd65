"""The index: what is known of all runs of a store in tables, to be searched, sorted and summed up.

It is derived from the journal and never the truth. It may be deleted at any time: whoever asks next makes it again, as
where it is damaged or of another form. Whoever asks has what is new taken in first, so that an answer is never behind.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from agentnb.entry import USED, Entry, Kind, Part, RunRow
from agentnb.errors import AgentError, RunNotFound, StoreError
from agentnb.query import plain
from agentnb.store.base import News, Progress, Store
from agentnb.store.heads import number_of

__all__ = ["PIECES", "Index"]

T = TypeVar("T")

_FORM: Final = f"1 {unicodedata.unidata_version}"
"""Of the tables, and of how words are compared: an index of any other is made anew."""
_BATCH: Final = 200
"""Runs in one transaction."""
_UNDER_WAY: Final = 16
"""Runs that have not ended, whose fold is kept: of them only what is new is read."""
PIECES: Final = 20
"""Bits of the number of a piece within its run; the bits above them are the run."""
_APART: Final = " \ue000 "
"""Between the texts of two records, so that no phrase reaches from one into the next."""

_RUN: Final = RunRow._fields
_KIND: Final = ", ".join(Kind._fields)
_TABLES: Final = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)",
    f"CREATE TABLE run (id INTEGER PRIMARY KEY, run TEXT UNIQUE, {', '.join(_RUN[1:])})",
    f"CREATE TABLE kind (id INTEGER PRIMARY KEY, {_KIND}, UNIQUE ({_KIND}))",
    "CREATE TABLE call (of INTEGER, seq INTEGER, kind INTEGER, seconds, PRIMARY KEY (of, seq)) WITHOUT ROWID",
    f"CREATE TABLE line (of INTEGER, phase, model, {', '.join(USED)}, PRIMARY KEY (of, phase, model)) WITHOUT ROWID",
    "CREATE TABLE rate (of INTEGER, model, asked, same, simpler, person, PRIMARY KEY (of, model)) WITHOUT ROWID",
    "CREATE TABLE piece (id INTEGER PRIMARY KEY, parts BLOB)",
    "CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='unicode61')",
    "CREATE INDEX run_started ON run (started)",
    "CREATE INDEX call_kind ON call (kind)",
    "CREATE INDEX run_waits ON run (waits_since) WHERE waits_since IS NOT NULL",
)


def _insert(table: str, columns: int) -> str:
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"


_INSERT: Final[Mapping[str, str]] = {
    "run": _insert("run", 1 + len(_RUN)),
    "call": _insert("call", 4),
    "line": _insert("line", 3 + len(USED)),
    "rate": _insert("rate", 6),
}


class Index:
    """The index of one store; safe to use from any thread, and after a fork. Made when it is first asked.

    Args:
        store: whose runs. It is kept as `index.sqlite` in the store's folder; in memory where there is none, or where
            it cannot be written.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.file = store.folder / "index.sqlite" if store.folder else None
        self._raw: sqlite3.Connection | None = None
        self._parents: sqlite3.Connection | None = None
        self._under_way: dict[str, Entry] = {}
        self._kinds: dict[Kind, int] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._parents = self._raw  # not closed: that would let go of what the process that was forked holds
        self._raw = None
        self._remember_nothing()

    @property
    def _alone(self) -> AbstractContextManager[object]:
        """What one thread of this process holds; a fork has a lock and a connection of its own."""
        if self._pid != os.getpid():
            self._begin_anew()
        return self._lock

    def catch_up(self, progress: Progress | None = None) -> None:
        """Take in all records that are new.

        Args:
            progress: told how many runs were taken in, and how many there are to take in.

        Raises:
            StoreError: the store cannot be read, or the index is locked by another process for over 10 s.
        """
        with self._alone:
            self._repaired(lambda: self._catch_up(progress))

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query, from what was taken in so far. Raises as `catch_up`."""
        return self._asked(lambda: self._connection.execute(query, values).fetchall())

    def parts(self, of: int) -> list[Part]:
        """What the records of the run with the number `of` say, in their order. Raises as `catch_up`."""
        reach = (of << PIECES, (of + 1) << PIECES)
        return self._asked(
            lambda: [part for _, kept in self._connection.execute(_PIECES_OF, reach) for part in _parts_in(kept)]
        )

    def _asked(self, ask: Callable[[], list[T]]) -> list[T]:
        """What `ask` gives, once more where the index was found damaged and was made again."""

        def again() -> list[T]:
            try:
                return ask()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._throw_away()
                self._catch_up(None)
                return ask()

        with self._alone:
            return self._repaired(again)

    def is_behind(self, seconds: float) -> bool:
        """True where nobody, in whatever process, has taken in anything for so many seconds."""
        files = [self.file, self.file.with_name(f"{self.file.name}-wal")] if self.file else []
        times = [0.0]
        for file in files:
            with suppress(OSError):
                times.append(file.stat().st_mtime)
        return time.time() - max(times) > seconds

    def close(self) -> None:
        """Close the database; it opens again when it is asked."""
        with self._alone:
            if self._raw is not None:
                self._raw.close()
            self._raw = None
            self._remember_nothing()

    def _remember_nothing(self) -> None:
        self._under_way.clear()
        self._kinds.clear()

    # --- the file -----------------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._raw is None:
            self._raw = _opened(self.file if self.file is not None and _writable(self.file) else None)
        return self._raw

    def _throw_away(self) -> None:
        """Begin with an empty index; in memory, where the file cannot be taken away, as one that another holds open."""
        self.close()
        if self.file is not None:
            try:
                for end in ("-wal", "-shm", ""):  # SQLite would put an old log into a new database
                    self.file.with_name(f"{self.file.name}{end}").unlink(missing_ok=True)
            except OSError:
                self._raw = _opened(None)

    def _repaired(self, work: Callable[[], T]) -> T:
        """What `work` returns; the index is made anew once, where it is found damaged."""
        try:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._throw_away()
                return work()
        except sqlite3.Error as error:
            raise StoreError(
                f"the index of {self.store.place} cannot be used: {error}. It holds nothing of its own:"
                f" delete {self.file or 'it'}, and it is made again"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        raw = self._connection
        raw.execute("BEGIN IMMEDIATE")
        try:
            yield raw
            raw.execute("COMMIT")
        except BaseException:
            self._remember_nothing()  # of it was kept
            with suppress(sqlite3.Error):
                raw.execute("ROLLBACK")
            raise

    # --- taking in ----------------------------------------------------------------------------------------------------

    def _catch_up(self, progress: Progress | None) -> None:
        found = self._connection.execute("SELECT value FROM about WHERE name = 'mark'").fetchone()
        mark = found[0] if found else ""
        news = self.store.since(mark)
        if news.mark == mark:
            return
        if news.how == "other" and mark:
            self._throw_away()
        runs = sorted(news.runs.items(), key=lambda item: number_of(item[0]) or 0)
        for start in range(0, len(runs), _BATCH):
            with self._transaction() as raw:
                for run, seq in runs[start : start + _BATCH]:
                    self._take_in(raw, run, seq)
            if progress is not None:
                progress(min(start + _BATCH, len(runs)), len(runs))
        with self._transaction() as raw:
            if news.how == "fewer":
                self._forget(raw, news)
            raw.execute("INSERT OR REPLACE INTO about VALUES ('mark', ?)", (news.mark,))
        if news.how == "fewer":
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log holds pages as they were before

    def _take_in(self, raw: sqlite3.Connection, run: str, seq: int) -> None:
        """The run's records up to `seq` and perhaps further ones, where they are not in already."""
        known = raw.execute("SELECT id, upto FROM run WHERE run = ?", (run,)).fetchone()
        if known is not None and known[1] >= seq:
            return
        entry = self._under_way.pop(run, None) or Entry(run, self._value)
        try:
            for record in self.store.read(run, entry.state.seq):
                entry.add(record)
            row = entry.row()
        except RunNotFound:  # it was taken away meanwhile
            return
        except AgentError as error:
            row = entry.damaged(seq, str(error))
        self._write(raw, entry, row, known or (None, -1))
        if not row.ended and not row.problem:
            self._under_way[run] = entry
            while len(self._under_way) > _UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]

    def _value(self, digest: str) -> str:
        try:
            return self.store.blob(digest)
        except StoreError:  # it is missing, or not what it was: who reads the run is told
            return ""

    def _write(self, raw: sqlite3.Connection, entry: Entry, row: RunRow, known: tuple[int | None, int]) -> None:
        of = raw.execute(_INSERT["run"], (known[0], *row)).lastrowid or 0
        calls = [(of, call.seq, self._kind(raw, call.kind), call.seconds) for call in entry.calls()]
        raw.executemany(_INSERT["call"], calls)
        raw.executemany(_INSERT["line"], ((of, line.phase, line.model, *line.used) for line in entry.lines()))
        raw.executemany(_INSERT["rate"], ((of, *rate) for rate in entry.rates()))
        if parts := [part for part in entry.parts() if part.seq > known[1]]:
            low, high = of << PIECES, (of + 1) << PIECES
            last = raw.execute("SELECT max(id) FROM piece WHERE id >= ? AND id < ?", (low, high)).fetchone()[0]
            piece = low if last is None else last + 1
            kept = zlib.compress(json.dumps(parts, ensure_ascii=False).encode("utf-8", "replace"), 1)
            raw.execute("INSERT INTO piece VALUES (?, ?)", (piece, kept))
            raw.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (piece, _words(_parts_in(kept))))

    def _kind(self, raw: sqlite3.Connection, kind: Kind) -> int:
        """Its number."""
        if kind not in self._kinds:
            marks, so = ", ".join("?" * len(kind)), " AND ".join(f"{name} = ?" for name in kind._fields)
            raw.execute(f"INSERT OR IGNORE INTO kind ({_KIND}) VALUES ({marks})", kind)
            [self._kinds[kind]] = raw.execute(f"SELECT id FROM kind WHERE {so}", kind).fetchone()
        return self._kinds[kind]

    def _forget(self, raw: sqlite3.Connection, news: News) -> None:
        """Take out the runs that are not among the news."""
        for of, run in raw.execute("SELECT id, run FROM run").fetchall():
            if run in news.runs:
                continue
            low, high = of << PIECES, (of + 1) << PIECES
            for piece, kept in raw.execute(_PIECES_OF, (low, high)).fetchall():
                words = _words(_parts_in(kept))
                raw.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (piece, words))
            raw.execute("DELETE FROM piece WHERE id >= ? AND id < ?", (low, high))
            for table in ("call", "line", "rate"):
                raw.execute(f"DELETE FROM {table} WHERE of = ?", (of,))
            raw.execute("DELETE FROM run WHERE id = ?", (of,))
            self._under_way.pop(run, None)
        raw.execute("INSERT INTO words (words) VALUES ('optimize')")  # until then a word of theirs is only marked


def _parts_in(kept: bytes) -> list[Part]:
    """The parts of a piece; sqlite3.DatabaseError where it is damaged, which SQLite does not notice itself."""
    try:
        return [Part(*part) for part in json.loads(zlib.decompress(kept))]
    except (zlib.error, ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(_ANOTHER) from error


def _words(parts: Sequence[Part]) -> str:
    return _APART.join(plain(part.text) for part in parts)


def _opened(file: Path | None) -> sqlite3.Connection:
    """A connection to an index of this form; sqlite3.DatabaseError where it is damaged or of another."""
    raw = sqlite3.connect(file or ":memory:", timeout=10, isolation_level=None, check_same_thread=False)
    try:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the newest rows, which are taken in again
        raw.execute("PRAGMA cache_size = -16000")
        raw.execute("PRAGMA secure_delete = ON")  # what gc takes away is to be in no free page; it costs nothing here
        if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
            raw.execute("BEGIN IMMEDIATE")
            if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():  # nobody was faster
                for table in _TABLES:
                    raw.execute(table)
                raw.execute("INSERT INTO about VALUES ('form', ?)", (_FORM,))
            raw.execute("COMMIT")
        form = raw.execute("SELECT value FROM about WHERE name = 'form'").fetchone()
    except BaseException:
        raw.close()
        raise
    if form != (_FORM,):
        raw.close()
        raise sqlite3.DatabaseError(_ANOTHER)
    return raw


def _writable(file: Path) -> bool:
    return os.access(file if file.exists() else file.parent, os.W_OK)


_ANOTHER: Final = "it is of another form"
_PIECES_OF: Final = "SELECT id, parts FROM piece WHERE id >= ? AND id < ? ORDER BY id"


def _damaged(error: sqlite3.Error) -> bool:
    """True where the file cannot be read for what it holds; not where it is locked, or cannot be written."""
    name = getattr(error, "sqlite_errorname", "") or ""
    no_such = name == "SQLITE_ERROR" and str(error).startswith("no such")
    return str(error) == _ANOTHER or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or no_such
