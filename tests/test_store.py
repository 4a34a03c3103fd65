"""The store on disk: what was acknowledged is there whatever happens; what somebody else put there is not believed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb.budget import Budget
from agentnb.codec import encode
from agentnb.errors import AgentError, DamagedRecord, Interrupted, KeyTaken, RunConflict, RunNotFound, StoreError
from agentnb.events import Event, PlanMade, Record, RunResumed, RunStarted, RunSuspended
from agentnb.log import RunLog
from agentnb.plan import Step, numbered
from agentnb.store.disk import DiskStore
from agentnb.store.replies import DiskReplyCache
from agentnb.store.seal import seal_of, sealed
from agentnb.transitions import fold
from tests.parts import MemoryStore

START = RunStarted(run="r", task="t", model="m", cheap_model="m", tools={}, budget=Budget())


def rec(seq: int, event: Event | None = None) -> Record:
    return Record(seq, 1.0, float(seq), event or (START if seq == 0 else RunResumed(process=seq)))


def started(store: DiskStore) -> str:
    run = store.new_run_id()
    store.append(run, [rec(0)], {})
    return run


def put(store: DiskStore, sql: str, *values: Any) -> None:
    """What somebody who can write the folder may do."""
    raw = sqlite3.connect(Path(store.place) / "journal" / "cache.db")
    with raw:
        assert raw.execute(sql, values).rowcount != 0
    raw.close()


def blob_of(text: str) -> dict[str, str]:
    return {hashlib.sha256(text.encode()).hexdigest(): text}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------- what it keeps


def test_what_was_appended_is_read_in_order_by_another_store(store: DiskStore) -> None:
    """Several commits, a commit of several records, the first, the last and the values."""
    run = started(store)
    store.append(run, [rec(1), rec(2)], blob_of('"x"'))
    store.append(run, [rec(3)], {})
    other = DiskStore(store.place)
    assert list(other.read(run)) == [rec(0), rec(1), rec(2), rec(3)]
    assert (other.first(run), other.last(run), other.runs()) == (rec(0), rec(3), [run])
    assert other.blob(next(iter(blob_of('"x"')))) == '"x"'
    other.close()


def test_every_commit_is_fully_synced_on_every_thread(store: DiskStore) -> None:
    """synchronous is FULL and the journal a write-ahead log, on the connection that writes, whichever thread it is."""
    found: list[tuple[Any, ...]] = []

    def look() -> None:
        store.append(store.new_run_id(), [rec(0)], {})
        found.append(
            tuple(store._rows(f"PRAGMA {name}", ())[0][0] for name in ("synchronous", "journal_mode", "mmap_size"))
        )
        store.close()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    look()
    assert found == [(2, "wal", 0)] * 4


def test_another_journal_mode_in_the_file_is_not_taken_over(store: DiskStore) -> None:
    """diskcache keeps its settings in the file; what protects a commit is said anew at every opening."""
    put(store, "UPDATE Settings SET value = 'memory' WHERE key = 'sqlite_journal_mode'")
    put(store, "UPDATE Settings SET value = 0 WHERE key = 'sqlite_synchronous'")
    put(store, "UPDATE Settings SET value = 'least-recently-stored' WHERE key = 'eviction_policy'")
    put(store, "UPDATE Settings SET value = 1 WHERE key = 'size_limit'")
    store.close()
    again = DiskStore(store.place)
    pragmas = [again._rows(f"PRAGMA {name}", ())[0][0] for name in ("synchronous", "journal_mode")]
    kept = (again._cache.eviction_policy, again._cache.size_limit, again._cache.cull_limit)
    assert (pragmas, kept) == ([2, "wal"], ("none", 2**62, 0))
    again.close()


def test_opening_it_again_writes_nothing(store: DiskStore) -> None:
    """diskcache alone would write its settings, and what it needs to evict, in thirty commits at every opening."""
    run = started(store)
    store.close()
    database = Path(store.place) / "journal" / "cache.db"
    before = database.read_bytes()
    again = DiskStore(store.place)
    assert list(again.read(run)) == [rec(0)]
    assert again._cache._con.total_changes == 0
    again.close()
    assert database.read_bytes() == before


def test_large_values_stay_inside_the_database(store: DiskStore) -> None:
    """Five megabytes make no file of their own: files of diskcache do not survive a power cut."""
    run = started(store)
    text = json.dumps("x" * 5_000_000)
    store.append(run, [rec(1)], blob_of(text))
    DiskReplyCache(store.place).put("k", text)
    folder = Path(store.place)
    assert {Path(name).name for name in files(folder)} <= {
        ".gitignore", "cache.db", "cache.db-wal", "cache.db-shm", "heads",
    }  # fmt: skip
    assert store.blob(next(iter(blob_of(text)))) == text


def test_a_value_is_kept_once_however_often_it_comes(store: DiskStore) -> None:
    """Twenty runs with the same megabyte take a megabyte."""
    text = json.dumps("x" * 1_000_000)
    for _ in range(20):
        run = started(store)
        store.append(run, [rec(1)], blob_of(text))
    assert store._rows("SELECT count(*), sum(length(value)) FROM Cache WHERE key LIKE 'b/%'", ()) == [(1, len(text))]


def test_the_folder_is_the_users_own_and_git_ignores_it(tmp_path: Path) -> None:
    """0700 down to the databases' folders, whatever the umask; one line keeps it out of git."""
    before = os.umask(0)
    try:
        DiskStore(tmp_path / "a" / "b").close()
        DiskReplyCache(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    folder = tmp_path / "a" / "b"
    for path in (folder, folder / "journal", folder / "prompts"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    if git := shutil.which("git"):
        subprocess.run([git, "init", "-q", tmp_path], check=True)
        status = subprocess.run([git, "-C", tmp_path, "status", "--porcelain"], check=True, capture_output=True)
        assert status.stdout == b""


def test_a_folder_that_was_there_stays_as_it_was(tmp_path: Path) -> None:
    """Its mode and files are the user's."""
    (tmp_path / "mine").mkdir(mode=0o755)
    (tmp_path / "mine" / "file").write_text("x")
    DiskStore(tmp_path / "mine").close()
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    assert not (tmp_path / "mine" / ".gitignore").exists()


def test_nothing_is_ever_evicted(store: DiskStore) -> None:
    """After 20 000 rows and 60 MB, however diskcache culls by default, the first row is there and so are all others."""
    first = started(store)
    with store._cache.transact():  # one commit for all of them: it is not the syncing that is tested
        for n in range(20_000):
            store._cache.add(f"b/{n:064d}", "x")
        for n in range(12):
            store._cache.add(f"b/large{n}", "y" * 5_000_000)
    for _ in range(30):  # culling happens on writing
        started(store)
    assert list(store.read(first)) == [rec(0)]
    assert store._rows("SELECT count(*) FROM Cache WHERE key LIKE 'b/%'", ()) == [(20_012,)]


# --------------------------------------------------------------------------------------------- all or nothing

APPENDER = """
import sys
from agentnb.budget import Budget
from agentnb.events import Record, RunResumed, RunStarted, PlanMade
from agentnb.log import RunLog
from agentnb.store.disk import DiskStore

store = DiskStore(sys.argv[1])
log = RunLog(store, store.new_run_id())
log.append(RunStarted(run=log.run, task="t", model="m", cheap_model="m", tools={}, budget=Budget()))
print(log.run, flush=True)
for n in range(100_000):
    log.keep("x" * 1000 + f"{log.run} {n}")  # a value of its own with every commit
    log.append(RunResumed(process=n))
    print(log.state.seq, flush=True)
"""


def killed_after(folder: Path, acknowledged: int) -> tuple[str, int]:
    """A process that appends as fast as it can, killed; its run and the last record that it was sure of."""
    with subprocess.Popen([sys.executable, "-c", APPENDER, str(folder)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        run = child.stdout.readline().strip()
        for _ in range(acknowledged):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split("\n")
    return run, max([acknowledged, *(int(line) for line in rest[:-1] if line)])


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Killed in the middle of appending, three times: every commit that returned is there, whole, and folds."""
    seqs: dict[str, int] = {}
    for acknowledged in (1, 17, 60):
        run, sure = killed_after(tmp_path / "s", acknowledged)
        store = DiskStore(tmp_path / "s")
        seqs[run] = fold(store.read(run)).seq
        assert sure <= seqs[run] <= sure + 1
        assert store.runs() == list(seqs)
        assert store._rows("SELECT count(*) FROM Cache WHERE key LIKE 'b/%'", ()) == [(sum(seqs.values()),)]
        store.close()
    again = DiskStore(tmp_path / "s")
    RunLog.reopened(again, run).append(RunSuspended(reason="closed"))  # and it can go on
    assert again.last(run).seq == seqs[run] + 1
    again.close()


def test_a_commit_that_fails_leaves_neither_records_nor_values(store: DiskStore) -> None:
    """Where the values cannot be written, the record is not there either."""
    run = started(store)
    put(
        store,
        "CREATE TRIGGER no BEFORE INSERT ON Cache WHEN NEW.key LIKE 'b/%' BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    with pytest.raises(StoreError, match=r"cannot be used: full. What was recorded before is safe\."):
        store.append(run, [rec(1)], {**blob_of("1"), **blob_of("2")})
    assert list(store.read(run)) == [rec(0)]


def test_a_conflicting_commit_leaves_no_values(store: DiskStore) -> None:
    """The loser's values are not kept."""
    run = started(store)
    with pytest.raises(RunConflict, match=f"{run} already has a record 0: another kernel or process drives it"):
        store.append(run, [rec(0)], blob_of("1"))
    with pytest.raises(DamagedRecord, match="is missing"):
        store.blob(next(iter(blob_of("1"))))


RACER = """
import sys
from agentnb.errors import RunConflict
from agentnb.events import RunResumed
from agentnb.log import RunLog
from agentnb.store.disk import DiskStore

store = DiskStore(sys.argv[1])
log = RunLog.reopened(store, sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    log.append(RunResumed(process=int(sys.argv[3])))
    print("won")
except RunConflict:
    print("conflict")
"""


def test_of_two_processes_that_append_to_one_run_exactly_one_wins(store: DiskStore) -> None:
    """The other gets RunConflict, and the journal has the winner's record."""
    run = started(store)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.place, run, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert sorted(said) == ["conflict", "conflict", "won"]
    assert list(store.read(run))[1:] == [Record(1, *_times(store, run), RunResumed(process=said.index("won")))]


def _times(store: DiskStore, run: str) -> tuple[float, float]:
    last = store.last(run)
    return last.at, last.t


def test_threads_may_append_to_their_runs_at_once(store: DiskStore) -> None:
    """Four threads, each with a run of its own and ids made at the same time: all ids differ, nothing is mixed up."""
    runs: list[str] = []

    def work() -> None:
        for _ in range(5):
            run = started(store)
            for seq in range(1, 4):
                store.append(run, [rec(seq)], blob_of(str(seq)))
            runs.append(run)
        store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(runs)) == 20
    assert sorted(store.runs()) == sorted(runs)
    assert all(list(store.read(run)) == [rec(n) for n in range(4)] for run in runs)


ASKER = """
import sys
from agentnb.store.disk import DiskStore

store = DiskStore(sys.argv[1])
for _ in range(10):
    print(store.new_run_id())
"""


def test_run_ids_are_unique_among_processes(tmp_path: Path) -> None:
    """Three processes that ask for ids at once get numbers without a gap and without a double."""
    asking = [
        subprocess.Popen([sys.executable, "-c", ASKER, tmp_path / "s"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ids = [line for one in asking for line in one.communicate(timeout=60)[0].split()]
    assert sorted(int(run[1:].split("-")[0]) for run in ids) == list(range(1, 31))


def test_runs_are_listed_oldest_first_and_only_once_they_have_begun(store: DiskStore) -> None:
    """An id alone is no run; the tenth comes after the ninth."""
    runs = [started(store) for _ in range(11)]
    store.new_run_id()
    assert store.runs() == runs
    assert runs[9].startswith("r10-")


# --------------------------------------------------------------------------------------------- rows


def test_a_row_is_kept_once_and_for_ever(tmp_path: Path) -> None:
    """Whoever comes second is told, another store too; what is kept is what the first one said."""
    one = DiskStore(tmp_path / "s")
    assert one.add_row("a/r1-x/1", "first")
    assert not one.add_row("a/r1-x/1", "second")
    one.close()
    two = DiskStore(tmp_path / "s")
    assert (two.add_row("a/r1-x/1", "third"), two.rows("a/r1-x/1")) == (False, [("a/r1-x/1", "first")])
    two.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_rows_are_found_by_how_their_keys_begin(store: DiskStore, kind: str) -> None:
    """In their order, and none that only looks alike; letters of any script and wildcards are letters."""
    kept = MemoryStore() if kind == "memory" else store
    keys = [
        "l/a/1",
        "l/a/2",
        "l/a/10",
        "l/ab/1",
        "l/a%/1",
        "l/a_/1",
        "l/é/1",
        "l/日/1",
        "l/\U0001f600/1",
        "m/a/1",
        "l/A/1",
    ]
    for key in keys:
        assert kept.add_row(key, f"<{key}>")
    assert [key for key, _ in kept.rows("l/a/")] == ["l/a/1", "l/a/10", "l/a/2"]
    assert dict(kept.rows("l/a/2")) == {"l/a/2": "<l/a/2>"}
    for prefix in ("l/a%/", "l/a_/", "l/é/", "l/日/", "l/\U0001f600/", "l/A/", "m/"):
        assert [key for key, _ in kept.rows(prefix)] == [key for key in keys if key.startswith(prefix)]
    assert kept.rows("x/") == kept.rows("l/b") == []
    assert len(kept.rows("l/")) == len(keys) - 1


def test_a_commit_with_a_row_that_is_taken_leaves_nothing(store: DiskStore) -> None:
    """Neither records nor values nor the other rows: and the same commit goes through with another row."""
    run = started(store)
    assert store.add_row("l/k/1", "theirs")
    with pytest.raises(KeyTaken):
        store.append(run, [rec(1)], blob_of("1"), {"l/j/1": "mine", "l/k/1": "mine"})
    assert (list(store.read(run)), store.rows("l/")) == ([rec(0)], [("l/k/1", "theirs")])
    with pytest.raises(DamagedRecord, match="is missing"):
        store.blob(next(iter(blob_of("1"))))
    store.append(run, [rec(1)], blob_of("1"), {"l/k/2": "mine"})
    assert store.rows("l/k/") == [("l/k/1", "theirs"), ("l/k/2", "mine")]


def test_a_conflicting_commit_leaves_no_rows(store: DiskStore) -> None:
    """Whoever lost the run has claimed nothing."""
    run = started(store)
    with pytest.raises(RunConflict):
        store.append(run, [rec(0)], {}, {"l/k/1": "mine"})
    assert store.rows("l/") == []


def test_rows_are_in_no_list_of_runs_and_no_journal(store: DiskStore) -> None:
    """They are rows of their own."""
    run = started(store)
    store.append(run, [rec(1)], {}, {f"j/{run}/0000000005": "x", "r/000000001": "x"})
    assert (store.runs(), list(store.read(run))) == ([run], [rec(0), rec(1)])


def test_of_eight_threads_one_gets_the_row(store: DiskStore) -> None:
    """Exactly one, however often they try."""
    won: list[int] = []
    gate = threading.Barrier(8)

    def work(n: int) -> None:
        gate.wait()
        won.extend(n for key in range(20) if store.add_row(f"l/{key}", str(n)))
        store.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 20
    assert sorted(text for _, text in store.rows("l/")) == sorted(map(str, won))


def test_a_row_that_is_not_text_is_not_read(store: DiskStore) -> None:
    """Somebody else wrote it."""
    store.add_row("l/k/1", "mine")
    put(store, "UPDATE Cache SET value = ? WHERE key = 'x/l/k/1'", pickle.dumps("theirs"))
    with pytest.raises(DamagedRecord, match="somebody else wrote it"):
        store.rows("l/k/")


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_whoever_lost_a_run_adds_nothing_to_it_any_more(store: DiskStore, lost: int) -> None:
    """The winner commits several records at once; a record of the loser's would lie between them, and damage them."""
    log = RunLog(store, store.new_run_id())
    log.append(START)
    other = RunLog.reopened(store, log.run)
    other.append(*[RunResumed(process=n) for n in range(lost)])
    with pytest.raises(RunConflict):
        log.append(RunResumed(process=9))
    with pytest.raises(Interrupted):
        log.append(RunSuspended(reason="error"))
    assert log.flush() == ()
    other.append(RunSuspended(reason="closed"))
    assert len(list(store.read(log.run))) == lost + 2


# --------------------------------------------------------------------------------------------- hostile content


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


LINE = encode([rec(1)])


PICKLE = object()
"""In the cases below: bytes that make a file when they are unpickled."""


def doctored(store: DiskStore, tmp_path: Path, rows: str, mode: int, filename: str | None, value: Any) -> Path:
    """Alter the rows whose key is like `rows`; returns the file that must not come into being."""
    canary = tmp_path / "canary"
    bad = pickle.dumps(Canary(str(canary)))
    (Path(store.place) / "journal" / "x.val").write_bytes(bad)
    sql = "UPDATE Cache SET mode = ?, filename = ?, value = ? WHERE key LIKE ?"
    put(store, sql, mode, filename, bad if value is PICKLE else value, rows)
    return canary


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "value",
    [
        PICKLE,
        None,
        5,
        LINE.encode(),
        LINE[:-3],
        "[]",
        encode([rec(2)]),
        encode([rec(0)]),
        encode([rec(1), rec(3)]),
    ],
    ids=["pickle", "null", "number", "bytes", "cut", "empty", "later", "earlier", "gap"],
)
def test_a_doctored_record_is_refused_and_never_unpickled(
    store: DiskStore, tmp_path: Path, mode: int, value: Any
) -> None:
    """A pickle, a file, bytes, a number, records that belong elsewhere: DamagedRecord from every way of reading."""
    run = started(store)
    store.append(run, [rec(1)], {})
    if isinstance(value, str):  # by somebody who knows how rows are sealed
        [(before,)] = store._rows("SELECT value FROM Cache WHERE key LIKE 'j/%/0000000000'")
        value = sealed(f"j/{run}/0000000001", value, seal_of(before))
    canary = doctored(store, tmp_path, "j/%/0000000001", mode, "x.val" if mode == 4 else None, value)
    with pytest.raises(DamagedRecord):
        list(store.read(run))
    with pytest.raises(DamagedRecord):
        store.last(run)
    assert store.first(run) == rec(0)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("mode", "filename", "value"),
    [
        (4, None, PICKLE),
        (1, None, PICKLE),
        (2, None, "1"),
        (3, None, "1"),
        (1, "x.val", "1"),
        (4, "x.val", None),
        (1, None, None),
        (1, None, 1),
    ],
)
def test_a_doctored_value_is_refused_and_never_unpickled(
    store: DiskStore, tmp_path: Path, mode: int, filename: str | None, value: Any
) -> None:
    """Whatever its columns say, only text in the row itself is a value."""
    run = started(store)
    store.append(run, [rec(1)], blob_of("1"))
    canary = doctored(store, tmp_path, "b/%", mode, filename, value)
    with pytest.raises(DamagedRecord):
        store.blob(next(iter(blob_of("1"))))
    assert not canary.exists()


def test_a_missing_record_is_a_damaged_run(store: DiskStore) -> None:
    """A row that is gone from the middle or the beginning is not read over."""
    run = started(store)
    for seq in range(1, 4):
        store.append(run, [rec(seq)], {})
    put(store, "DELETE FROM Cache WHERE key = ?", f"j/{run}/0000000002")
    with pytest.raises(DamagedRecord, match=f"{run}: record 2 is missing"):
        list(store.read(run))


def test_an_altered_value_is_not_believed(store: DiskStore) -> None:
    """Its hash is its name."""
    run = started(store)
    store.append(run, [rec(1)], blob_of('"right"'))
    put(store, "UPDATE Cache SET value = ? WHERE key LIKE 'b/%'", '"wrong"')
    with pytest.raises(DamagedRecord, match="is not what was stored"):
        store.blob(next(iter(blob_of('"right"'))))


def test_a_key_that_is_no_number_is_refused(store: DiskStore) -> None:
    """A row under `r/abc` does not make run ids crash."""
    started(store)
    put(store, "UPDATE Cache SET key = 'r/abc' WHERE key LIKE 'r/%'")
    with pytest.raises(DamagedRecord, match="'r/abc'"):
        store.new_run_id()


@pytest.mark.parametrize(
    "run", ["r99-none", "", "r1", "r1-%", "' OR 1=1 --", "j/", "\0", "\ud800", "x" * 100_000, "../../etc"]
)
def test_an_unknown_run_is_not_found_whatever_it_is_called(store: DiskStore, run: str) -> None:
    """RunNotFound, or at worst a StoreError: never another run, never an error of SQLite."""
    started(store)
    for read in (store.read, store.first, store.last):
        with pytest.raises(StoreError):
            read(run)
    if run == "r99-none":
        with pytest.raises(RunNotFound, match="`%agent runs` lists them"):
            store.read(run)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 60), st.binary(min_size=1, max_size=40))
def test_a_damaged_file_is_an_error_of_ours(tmp_path: Path, tenth: int, junk: bytes) -> None:
    """Bytes written over the database: the run is read as it was, or a StoreError says that it cannot be."""
    origin = tmp_path / "origin"
    if not origin.exists():
        made = DiskStore(origin)
        run = started(made)
        for seq in range(1, 5):
            made.append(run, [rec(seq)], blob_of(json.dumps("x" * 3000)))
        made._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())
        made.close()
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(origin, folder)
    database = folder / "journal" / "cache.db"
    data = bytearray(database.read_bytes())
    at = len(data) * tenth // 61
    data[at : at + len(junk)] = junk
    database.write_bytes(data)
    try:
        store = DiskStore(folder)
    except StoreError:
        return
    try:
        for run in store.runs():
            fold(store.read(run))
            store.last(run)
    except AgentError:
        pass
    finally:
        store.close()


# --------------------------------------------------------------------------------------------- places that are none


def places(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    (tmp_path / "file").write_text("mine")
    yield "a file", tmp_path / "file"
    yield "under a file", tmp_path / "file" / "store"
    (tmp_path / "garbage" / "journal").mkdir(parents=True)
    (tmp_path / "garbage" / "journal" / "cache.db").write_bytes(b"not a database " * 1000)
    yield "garbage", tmp_path / "garbage"
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "journal").write_text("mine")
    yield "journal is a file", tmp_path / "taken"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at" / "all")
    yield "dangling", tmp_path / "link"
    yield "in /proc", Path("/proc/agentnb/store")
    yield "long name", tmp_path / ("x" * 300)
    yield "surrogate", tmp_path / "\udcff\ud800"


def test_a_place_that_is_no_place_is_one_clear_error(tmp_path: Path) -> None:
    """A file, a path under one, garbage, a dangling link: StoreError with the path; the user's files are untouched."""
    for name, place in places(tmp_path):
        for kind in (DiskStore, DiskReplyCache):
            if (name, kind) in (("journal is a file", DiskReplyCache), ("garbage", DiskReplyCache)):
                continue  # what is wrong is the other one's
            with pytest.raises(StoreError) as caught:
                kind(place)
            said = str(caught.value)
            assert str(place) in said or repr(str(place)) in said, name
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(StoreError, match="is a file: give a folder"):
        DiskStore(tmp_path / "file")


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write, root included."""
    chattr = shutil.which("chattr")
    folder = tmp_path / "fixed"
    DiskStore(folder).close()
    locked = [folder, folder / "journal", *(folder / "journal").iterdir()]
    done = chattr and subprocess.run([chattr, "+i", *locked], capture_output=True, check=False).returncode == 0
    if not done:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere, and chattr +i does not work on this file system")
        for path in locked:
            path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        yield folder
    finally:
        if done:
            subprocess.run([str(chattr), "-i", *locked], check=True)
        else:
            for path in locked:
                path.chmod(0o700)


def test_a_store_that_cannot_be_written_says_so(immutable: Path) -> None:
    """Opened or first written: a StoreError with the path and what to do, not an error of SQLite."""
    with pytest.raises(StoreError, match=f"the store {immutable} cannot be (written|used)"):
        DiskStore(immutable).new_run_id()
    with pytest.raises(StoreError, match=r"cannot be written .*choose another with"):
        DiskStore(immutable / "below")


def test_a_store_that_becomes_unwritable_keeps_what_it_has(store: DiskStore) -> None:
    """A write that fails is a StoreError, and everything before it can still be read."""
    run = started(store)
    store._rows("PRAGMA query_only = 1", ())
    with pytest.raises(StoreError, match="What was recorded before is safe"):
        store.append(run, [rec(1)], {})
    assert list(store.read(run)) == [rec(0)]
    store._rows("PRAGMA query_only = 0", ())


def test_a_locked_store_is_an_error_after_the_wait(store: DiskStore) -> None:
    """Another process that holds the database does not hang this one for ever; afterwards it goes on."""
    run = started(store)
    raw = sqlite3.connect(Path(store.place) / "journal" / "cache.db", isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    store._rows("PRAGMA busy_timeout = 50", ())
    with pytest.raises(StoreError, match="locked"):
        store.append(run, [rec(1)], {})
    raw.execute("ROLLBACK")
    raw.close()
    store.append(run, [rec(1)], {})
    assert store.last(run) == rec(1)


# --------------------------------------------------------------------------------------------- prompts


def test_the_prompt_cache_gives_back_what_it_has(tmp_path: Path) -> None:
    """By key, replaced by a later put, from another opening too; what it has not is None."""
    cache = DiskReplyCache(tmp_path / "s")
    cache.put("k", "one")
    cache.put("k", "two\0\u2028")
    assert (cache.get("k"), DiskReplyCache(tmp_path / "s").get("k"), cache.get("none")) == (
        "two\0\u2028",
        "two\0\u2028",
        None,
    )


def test_the_prompt_cache_forgets_the_oldest_first(tmp_path: Path) -> None:
    """Beyond its size the entry stored longest ago goes; the journal beside it is not touched."""
    store = DiskStore(tmp_path / "s")
    run = started(store)
    cache = DiskReplyCache(tmp_path / "s")
    cache._cache.reset("size_limit", 300_000)
    for n in range(40):
        cache.put(f"k{n}", "x" * 20_000)
    assert cache.get("k0") is None
    assert cache.get("k39") == "x" * 20_000
    assert list(store.read(run)) == [rec(0)]
    store.close()


def test_a_doctored_reply_is_as_good_as_none(tmp_path: Path) -> None:
    """A pickle in the prompt cache is not unpickled; the model is asked instead."""
    cache = DiskReplyCache(tmp_path / "s")
    cache.put("k", "text")
    raw = sqlite3.connect(tmp_path / "s" / "prompts" / "cache.db")
    with raw:
        raw.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Canary(str(tmp_path / "canary"))),))
    raw.close()
    assert cache.get("k") is None
    assert not (tmp_path / "canary").exists()
    cache.put("k", "again")
    assert cache.get("k") == "again"


def test_only_text_goes_in(store: DiskStore) -> None:
    """An object is refused on the way in, key or value: nothing is ever pickled."""
    for key, value in ((("a", 1), "x"), ("k", object()), ("k", b"x"), (5, "x")):
        with pytest.raises(TypeError, match="are text"):
            store._cache.set(key, value)


def test_a_plan_of_thousands_of_steps_is_kept(store: DiskStore) -> None:
    """A long journal line comes back whole."""
    run = started(store)
    steps = numbered([Step(tool="t", args={"x": n}) for n in range(5000)])
    made = rec(1, PlanMade(version=1, keep=0, steps=steps, reason="", by="user"))
    store.append(run, [made], {})
    assert store.last(run) == made


def test_opening_it_once_more_takes_no_lock_away_from_this_process(store: DiskStore) -> None:
    """Or another process, as it ends, throws away the log that this one writes to: the two then see two stores."""
    run = started(store)
    DiskStore(store.place).close()  # whoever opens and closes the file takes its locks away, unless it is SQLite itself
    code = f"from agentnb.store.disk import DiskStore\ns = DiskStore({store.place!r})\ns.new_run_id()\ns.close()"
    subprocess.run([sys.executable, "-c", code], check=True)
    store.append(run, [rec(1)], {})
    assert list(DiskStore(store.place).read(run)) == [rec(0), rec(1)]
    assert store.new_run_id().startswith("r3-")
