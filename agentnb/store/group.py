"""Group commit: what several threads write at once becomes one transaction, synced once for all of them.

Threads that come while a commit is being made join the next batch. Whoever of them gets the batch's lock first leads:
it carries out everybody's work on its own connection, commits, and lets the lock go, through which the others come by
and take what became of theirs. Where somebody's work fails, all of it is done again, each in a savepoint. A thread that
is alone is at once a leader, of itself.

There is nothing to wait for but locks, each held in a `with`. So whoever is interrupted wakes the others as it leaves,
and the next of them leads again what was not committed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from agentnb.errors import StoreError

__all__ = ["GroupCommit"]

T = TypeVar("T")

_ITS_OWN: Final = (StoreError, sqlite3.Error, ValueError)
"""What work may raise. Anything else is for the thread that carries it out: an interrupt, a timer that rang."""


class _Entry(Generic[T]):
    """One thread's work, and what became of it in the batch, once that is settled."""

    __slots__ = ("error", "result", "withdrawn", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.withdrawn = False
        self.error: BaseException | None = None
        self.result: T


class _Batch:
    """Entries that share a transaction.

    Attributes:
        lock: held by the thread that leads; who gets it finds the batch settled, or is to lead.
        committed: not empty once the transaction is.
        failure: what kept all of it from being kept.
        settled: nothing will change any more.
    """

    __slots__ = ("committed", "entries", "failure", "lock", "settled")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.entries: list[_Entry[Any]] = []
        self.committed: list[object] = []
        self.failure: BaseException | None = None
        self.settled = False


class GroupCommit:
    """Transactions on one database, those of several threads in one.

    Args:
        connection: gives the calling thread's own connection, in autocommit mode.
        confirm: called after each commit; what it raises is raised to everybody whose work was in it.
    """

    def __init__(self, connection: Callable[[], sqlite3.Connection], confirm: Callable[[], None]) -> None:
        self._connection = connection
        self._confirm = confirm
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._door = threading.Lock()  # held for a moment, to join a batch or to close it
        self._turn = threading.Lock()  # held by whoever is writing
        self._joinable = _Batch()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, once it is committed; what it raises, and then nothing of it is kept.

        It is given the database and runs within a transaction, perhaps on another thread, and more than once where that
        is interrupted.

        Raises:
            sqlite3.Error: the transaction could not be begun or committed.
            BaseException: this thread was interrupted. Whether `work` was committed can be looked up: it is not any
                more, if it was not by then.
        """
        if self._pid != os.getpid():  # a fork: the locks are as other threads left them, and those are not here
            self._begin_anew()
        entry, batch = _Entry(work), None
        try:
            with self._door:
                batch = self._joinable
                batch.entries.append(entry)
            with batch.lock:
                if not batch.settled:
                    self._lead(batch)
        except BaseException:
            entry.withdrawn = True
            if batch is not None:
                _wait_for(batch)
            raise
        if error := batch.failure or entry.error:
            raise error
        return entry.result

    def _lead(self, batch: _Batch) -> None:
        with self._turn:
            with self._door:
                if self._joinable is batch:
                    self._joinable = _Batch()
            try:
                if not batch.committed:  # else its leader was interrupted right after that
                    self._commit(batch)
                self._confirm()
            except _ITS_OWN as error:
                batch.failure = error
            batch.settled = True

    def _commit(self, batch: _Batch) -> None:
        entries = [entry for entry in batch.entries if not entry.withdrawn]
        database = self._connection()
        if database.in_transaction:  # whoever was interrupted in it was so again as it rolled it back
            database.rollback()
        try:
            database.execute("BEGIN IMMEDIATE")
            if not _done_at_once(entries, database):
                database.rollback()
                database.execute("BEGIN IMMEDIATE")
                for entry in entries:
                    _carry_out(entry, database)
            # One call, for an interrupt comes between two: the commit is made and noted, or it is neither.
            batch.committed.extend(map(database.execute, ("COMMIT",)))
        except BaseException:
            if database.in_transaction:
                database.rollback()
            raise


def _done_at_once(entries: Sequence[_Entry[Any]], database: sqlite3.Connection) -> bool:
    """Do everybody's work, as a rule in half the statements; False where somebody's fails, and nothing of it counts."""
    try:
        for entry in entries:
            entry.error = None  # of a try that was interrupted
            entry.result = entry.work(database)
    except _ITS_OWN:
        return False
    return True


def _carry_out(entry: _Entry[Any], database: sqlite3.Connection) -> None:
    """Do an entry's work, so that its error is its own, and takes back only what it did."""
    entry.error = None  # of a try that was interrupted
    database.execute("SAVEPOINT entry")
    try:
        entry.result = entry.work(database)
    except _ITS_OWN as error:
        if not database.in_transaction:  # a full disk, say: SQLite has rolled back everything
            raise
        entry.error = error
        database.execute("ROLLBACK TO entry")
    database.execute("RELEASE entry")


def _wait_for(batch: _Batch) -> None:
    """Return once nobody carries out the batch; interrupted again or not."""
    while True:
        try:
            with batch.lock:
                return
        except BaseException:  # noqa: BLE001, S112 - the first interrupt is raised, once the outcome is known
            continue
