"""Group commit: threads share a sync, and none of them gets, or loses, what is another's."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb.budget import Budget
from agentnb.errors import KeyTaken, RunConflict, StoreError
from agentnb.events import RunResumed, RunStarted
from agentnb.log import RunLog
from agentnb.store.disk import DiskStore
from agentnb.store.group import GroupCommit, _Entry
from tests.test_store import rec, started

WAIT_S: Final = 30.0
"""Longer than anything here takes: a thread that still waits then waits for ever."""


class Database(sqlite3.Connection):
    """One that does what a test says before, or after, each statement."""

    before: Callable[[str], object] = staticmethod(lambda _: None)
    after: Callable[[str], object] = staticmethod(lambda _: None)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.before(sql)
        done = super().execute(sql, *values)
        self.after(sql)
        return done


class Table:
    """Rows that are written through a group, by as many threads as there are."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "table.sqlite"
        self.local = threading.local()
        self.group = GroupCommit(self.connection, lambda: self.confirm())  # noqa: PLW0108 - tests replace it
        self.confirm: Callable[[], None] = lambda: None
        self.commits: list[str] = []
        with closing(sqlite3.connect(self.path)) as made:
            made.executescript("PRAGMA journal_mode=WAL; CREATE TABLE kept (key TEXT PRIMARY KEY)")

    def connection(self) -> Database:
        if not hasattr(self.local, "database"):
            self.local.database = sqlite3.connect(
                self.path, isolation_level=None, factory=Database, check_same_thread=False
            )
            self.local.database.after = lambda sql: self.commits.append(sql) if sql == "COMMIT" else None
        database: Database = self.local.database
        return database

    def add(self, key: str) -> str:
        def work(database: sqlite3.Connection) -> str:
            try:
                database.execute("INSERT INTO kept VALUES (?)", (key,))
            except sqlite3.IntegrityError:
                raise KeyTaken(key) from None
            return f"added {key}"

        return self.group.run(work)

    def keys(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as database:
            return {key for (key,) in database.execute("SELECT key FROM kept")}


@pytest.fixture
def shared(tmp_path: Path) -> Table:
    return Table(tmp_path)


class Threads:
    """What came of each piece of work, by its name: what it returned or raised."""

    def __init__(self) -> None:
        self.came: dict[str, Any] = {}
        self.running: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self.came[name] = work()
            except BaseException as error:  # noqa: BLE001 - what came of it
                self.came[name] = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.running.append(thread)

    def end(self) -> dict[str, Any]:
        """The outcomes; nobody waits for ever."""
        for thread in self.running:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        return self.came


@contextmanager
def writing(table: Table, threads: Threads) -> Iterator[None]:
    """A commit is under way: whoever comes meanwhile shares the next one."""
    begun, go_on = threading.Event(), threading.Event()

    def work(_: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)

    threads.start("first", lambda: table.group.run(work))
    assert begun.wait(WAIT_S)
    yield
    go_on.set()


def joined(table: Table, many: int) -> None:
    """Wait until so many entries are in the batch that can be joined."""
    until = time.monotonic() + WAIT_S
    while len(table.group._joinable.entries) < many:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_whoever_comes_during_a_commit_shares_the_next_one(shared: Table) -> None:
    """Eight threads, two commits; each gets what its own work returned."""
    threads = Threads()
    with writing(shared, threads):
        for n in range(8):
            threads.start(f"k{n}", lambda n=n: shared.add(f"k{n}"))  # type: ignore[misc]
        joined(shared, 8)
    came = threads.end()
    assert {name: came[name] for name in came if name != "first"} == {f"k{n}": f"added k{n}" for n in range(8)}
    assert shared.keys() == {f"k{n}" for n in range(8)}
    assert len(shared.commits) == 2


def test_an_error_is_its_own_threads_and_takes_back_only_its_own_work(shared: Table) -> None:
    """Of three that want one key two fail, and whatever the fourth did before it failed is gone."""

    def fails(database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO kept VALUES ('half')")
        raise StoreError("no")

    threads = Threads()
    with writing(shared, threads):
        for n in range(3):
            threads.start(f"same{n}", lambda: shared.add("same"))
        threads.start("fails", lambda: shared.group.run(fails))
        threads.start("fine", lambda: shared.add("fine"))
        joined(shared, 5)
    came = threads.end()
    assert sorted(type(came[f"same{n}"]).__name__ for n in range(3)) == ["KeyTaken", "KeyTaken", "str"]
    assert (str(came["fails"]), came["fine"]) == ("no", "added fine")
    assert shared.keys() == {"same", "fine"}


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_a_transaction_that_fails_fails_for_everybody_in_it(shared: Table, statement: str) -> None:
    """Nothing of it is kept, and what comes afterwards is."""
    full = threading.Event()

    def fail(sql: str) -> None:
        if full.is_set() and sql == statement:
            raise sqlite3.OperationalError("database or disk is full")

    def add(key: str) -> str:
        shared.connection().before = fail
        return shared.add(key)

    threads = Threads()
    with writing(shared, threads):
        for n in range(4):
            threads.start(f"k{n}", lambda n=n: add(f"k{n}"))  # type: ignore[misc]
        joined(shared, 4)
        full.set()
    came = threads.end()
    assert [str(came[f"k{n}"]) for n in range(4)] == ["database or disk is full"] * 4
    assert shared.keys() == set()
    full.clear()
    assert add("k0") == "added k0"


def test_what_is_found_after_a_commit_is_told_to_everybody_in_it(shared: Table) -> None:
    """Such as that the database was taken away."""

    def gone() -> None:
        raise StoreError("gone")

    threads = Threads()
    with writing(shared, threads):
        for n in range(3):
            threads.start(f"k{n}", lambda n=n: shared.add(f"k{n}"))  # type: ignore[misc]
        joined(shared, 3)
        shared.confirm = gone
    assert [str(came) for came in threads.end().values()] == ["gone"] * 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize(
    ("when", "statement"),
    [
        *(
            (when, statement)
            for when in ("before", "after")
            for statement in ("BEGIN IMMEDIATE", "SAVEPOINT entry", "INSERT", "RELEASE entry")
        ),
        ("before", "COMMIT"),
        ("confirm", "COMMIT"),  # right after it: see `_commit` for why nothing is in between
    ],
)
def test_an_interrupt_of_the_leader_is_its_own(
    shared: Table, statement: str, when: str, error: type[BaseException]
) -> None:
    """Wherever it comes: the others are committed by another leader, and the interrupted one knows where it stands."""
    struck = threading.Event()
    known: dict[str, bool] = {}

    def strike(sql: str) -> None:
        if sql.startswith(statement) and not struck.is_set():
            struck.set()
            raise error

    def fails(_: sqlite3.Connection) -> None:
        raise StoreError("no")  # so that each is done in a savepoint

    def add(key: str) -> str:
        if when != "confirm":
            setattr(shared.connection(), when, strike)
        try:
            return shared.add(key) if key in wanted else str(shared.group.run(fails))
        except error:
            known[key] = shared.keys() >= {key}
            raise

    wanted, threads = {f"k{n}" for n in range(6)}, Threads()
    names = {*wanted, *(["fails"] if "entry" in statement else [])}
    with writing(shared, threads):
        for name in sorted(names):
            threads.start(name, lambda name=name: add(name))  # type: ignore[misc]
        joined(shared, len(names))
        if when == "confirm":
            shared.confirm = lambda: strike("COMMIT") if shared.keys() else None
    came = threads.end()
    assert struck.is_set()
    [interrupted] = [name for name, what in came.items() if isinstance(what, error)]
    assert interrupted == "fails" or str(came.get("fails", "no")) == "no"
    others = wanted - {interrupted}
    assert {came[name] for name in others} == {f"added {name}" for name in others}
    assert shared.keys() == others | {name for name, there in known.items() if there}


def test_what_failed_in_a_try_that_was_interrupted_does_not_outlast_it(shared: Table) -> None:
    """A key was taken by one who is interrupted before it is committed: the next try gives it to another, and says so.

    Beside them somebody's work fails each time, so that each is done in a savepoint.
    """
    threads, struck = Threads(), threading.Event()

    def strike(sql: str) -> None:
        if sql == "COMMIT":
            struck.set()
            raise KeyboardInterrupt

    def leads() -> str:
        shared.connection().before = strike
        return shared.add("key")

    def fails(_: sqlite3.Connection) -> None:
        raise StoreError("no")

    with writing(shared, threads):
        for place, (name, work) in enumerate(
            {"leader": leads, "fails": lambda: shared.group.run(fails), "other": lambda: shared.add("key")}.items()
        ):
            threads.start(name, work)
            joined(shared, place + 1)
    came = threads.end()
    assert struck.is_set()
    assert isinstance(came["leader"], KeyboardInterrupt)
    assert (str(came["fails"]), came["other"], shared.keys()) == ("no", "added key", {"key"})


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """KeyboardInterrupt on this thread, in so many seconds and perhaps within.

    And once more a second later: one that comes while the garbage collector calls somebody back, as hypothesis has it,
    is lost.
    """

    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a timer signal is what interrupts here")
def test_a_follower_that_is_interrupted_withdraws(shared: Table) -> None:
    """It waits for nobody's work but that which may hold its own, and nothing of it is done later."""
    threads = Threads()
    with writing(shared, threads), pytest.raises(KeyboardInterrupt), interrupted_after(0.05):
        shared.add("mine")
    assert threads.end()["first"] is None
    assert shared.keys() == set()
    assert shared.add("mine") == "added mine"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a timer signal is what interrupts here")
def test_a_follower_that_is_interrupted_while_it_is_carried_out_waits_until_that_is_known(shared: Table) -> None:
    """Its leader has begun the transaction: the interrupt is raised after the commit, and not before."""
    threads, begun = Threads(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        time.sleep(0.3)

    first = shared.group
    batch = first._joinable
    batch.lock.acquire()  # the leader, before it leads: whoever joins its batch waits

    def lead() -> None:
        with first._door:
            batch.entries.insert(0, _Entry(slow))
        try:
            first._lead(batch)
        finally:
            batch.lock.release()

    def when_joined() -> None:
        joined(shared, 1)
        lead()

    threads.start("leader", when_joined)
    with interrupted_after(0.15), pytest.raises(KeyboardInterrupt):
        shared.add("mine")
    assert begun.is_set()
    assert shared.keys() == {"mine"}
    assert threads.end() == {"leader": None}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a timer signal is what interrupts here")
def test_interrupts_at_any_moment_lose_nothing(store: DiskStore) -> None:
    """A log among those of three busy threads, interrupted at 300 moments: what it believes is what is there."""
    rng, stop, threads = random.Random(7), threading.Event(), Threads()

    def busy() -> int:
        log = begun(store)
        while not stop.is_set():
            log.append(RunResumed(process=1))
        return log.state.seq

    for n in range(3):
        threads.start(f"busy{n}", busy)
    log, strikes = begun(store), 0
    for _ in range(300):
        try:
            with interrupted_after(rng.uniform(1e-5, 3e-3)):
                while True:
                    log.append(RunResumed(process=2))
        except KeyboardInterrupt:
            strikes += 1
            log.flush()
            assert [record.seq for record in store.read(log.run)] == list(range(log.state.seq + 1))
    stop.set()
    ends = threads.end()
    assert strikes == 300
    assert sorted(store.last(run).seq for run in store.runs() if run != log.run) == sorted(ends.values())


def begun(store: DiskStore) -> RunLog:
    log = RunLog(store, store.new_run_id())
    log.append(RunStarted(run=log.run, task="t", model="m", cheap_model="m", tools={}, budget=Budget()))
    return log


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(["mine", "a", "b", "again"]), max_size=4), min_size=1, max_size=6))
def test_many_threads_get_what_each_would_get_alone(
    tmp_path_factory: pytest.TempPathFactory, plans: list[list[str]]
) -> None:
    """Appends, claims of two keys that all of them want, and appends to a run that another has gone on with."""
    store = DiskStore(tmp_path_factory.mktemp("group"))
    shared, threads, won, lost = started(store), Threads(), list[str](), list[tuple[str, type]]()

    def follow(plan: list[str]) -> tuple[str, int]:
        run, seq = started(store), 1
        for what in plan:
            try:
                if what == "again":
                    store.append(shared, [rec(1)], {})
                else:
                    store.append(run, [rec(seq)], {}, {} if what == "mine" else {what: '"x"'})
                    seq += 1
                if what != "mine":
                    won.append(what)
            except (KeyTaken, RunConflict) as error:
                lost.append((what, type(error)))
        return run, seq

    for n, plan in enumerate(plans):
        threads.start(str(n), lambda plan=plan: follow(plan))  # type: ignore[misc]
    for run, seq in threads.end().values():
        assert list(store.read(run)) == [rec(n) for n in range(seq)]
    assert set(lost) <= {("again", RunConflict), ("a", KeyTaken), ("b", KeyTaken)}
    assert sorted(won) == sorted({what for plan in plans for what in plan} - {"mine"})
    store.close()


def test_fewer_commits_than_appends(store: DiskStore) -> None:
    """Sixteen runs in threads: every append returns, all is there, and most shared their sync."""
    commits: list[str] = []
    opened = store._group._connection

    def traced() -> sqlite3.Connection:
        database = opened()
        database.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        return database

    def appends() -> str:
        log = begun(store)
        for n in range(20):
            log.append(RunResumed(process=n))
        return log.run

    store._group._connection = traced
    threads = Threads()
    for n in range(16):
        threads.start(str(n), appends)
    runs = threads.end().values()
    assert all(store.last(run).seq == 20 for run in runs)
    assert 0 < len(commits) < 16 * 22


KILLED = """
import sys, threading
from agentnb.budget import Budget
from agentnb.events import RunResumed, RunStarted
from agentnb.log import RunLog
from agentnb.store.disk import DiskStore

store, begun = DiskStore(sys.argv[1]), threading.Barrier(8)

def work():
    log = RunLog(store, store.new_run_id())
    log.append(RunStarted(run=log.run, task="t", model="m", cheap_model="m", tools={}, budget=Budget()))
    begun.wait()
    for n in range(100_000):
        log.append(RunResumed(process=n))
        sys.stdout.write(f"{log.run} {log.state.seq}\\n")
        sys.stdout.flush()

for _ in range(8):
    threading.Thread(target=work).start()
"""


@pytest.mark.skipif(os.name != "posix", reason="a process is killed")
@pytest.mark.parametrize("lines", [40, 400])
def test_a_process_that_is_killed_loses_nothing_that_any_thread_was_told(tmp_path: Path, lines: int) -> None:
    """Eight threads share commits; whatever was acknowledged is there, and at most one more of each run."""
    sure: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.readlines()
    for line in said:
        if line.endswith("\n") and len(line.split()) == 2:
            sure[line.split()[0]] = max(int(line.split()[1]), sure.get(line.split()[0], 0))
    store = DiskStore(tmp_path)
    for run, seq in sure.items():
        assert seq <= RunLog.reopened(store, run).state.seq <= seq + 1
    assert len(sure) == 8
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_writes_its_own_and_nothing_of_its_parents_threads(shared: Table) -> None:
    """Whatever locks were held, and whatever waited, when it was forked; SQLite itself must have been at rest."""
    group, batch = shared.group, shared.group._joinable
    with group._turn, group._door, batch.lock:  # as other threads may have them
        batch.entries.append(_Entry(lambda _: pytest.fail("the parent's")))
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os._exit(0 if shared.add("child's") == "added child's" else 1)
        batch.entries.clear()
    threads = Threads()
    threads.start("child", lambda: os.waitpid(child, 0)[1])
    try:
        assert threads.end() == {"child": 0}
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert shared.add("parent's") == "added parent's"
    assert shared.keys() == {"child's", "parent's"}
