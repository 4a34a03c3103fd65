"""The index: derived from the journal, kept up by whoever asks, and made again where it is of no use."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, Check, ScriptedModel, Step
from agentnb.entry import Kind
from agentnb.errors import StoreError
from agentnb.events import INTENTS
from agentnb.follow import Follower
from agentnb.index import Index
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.parts import MemoryStore, add, answer, broken, note, plan, step, table, verdict

CALLS = "call JOIN kind ON kind.id = kind"
ROWS = {
    "run": "SELECT * FROM run ORDER BY id",
    "call": f"SELECT of, seq, seconds, {', '.join(Kind._fields)} FROM {CALLS} ORDER BY of, seq",
    "line": "SELECT * FROM line ORDER BY of, phase, model",
    "rate": "SELECT * FROM rate ORDER BY of, model",
}


def adding(store: Any, task: str = "add", **how: Any) -> Run:
    lines = [
        plan(step("add", a=1, b=2), step("table", rows=40)),
        verdict(finding="it is 3"),
        verdict(),
        answer("the sum"),
    ]
    return Agent(ScriptedModel(lines), tools=[add, table, note], store=store).run(task, **how)


def asking(store: Any, task: str = "note it") -> Run:
    lines = [plan(step("note", text="kingfisher")), answer("noted")]
    return Agent(ScriptedModel(lines), tools=[note], store=store, assess=False).run(task)


def told(index: Index) -> dict[str, Any]:
    """Everything that it holds, however it came in."""
    found: dict[str, Any] = {table: index.rows(query) for table, query in ROWS.items()}
    return found | {"parts": {of: index.parts(of) for (of, *_) in found["run"]}}


def runs_with(index: Index, word: str) -> list[str]:
    index.catch_up()
    query = "SELECT run FROM run WHERE id IN (SELECT rowid >> 20 FROM words WHERE words MATCH ?) ORDER BY id"
    return [run for (run,) in index.rows(query, (f'"{word}"',))]


def anew(store: DiskStore) -> dict[str, Any]:
    """What an index holds that is made now."""

    class Elsewhere:
        folder = None
        place, since, read, blob = store.place, store.since, store.read, store.blob

    index: Index = Index(Elsewhere())  # type: ignore[arg-type]  # all that an index asks a store for
    index.catch_up()
    return told(index)


# ---------------------------------------------------------------------------------------------------- what is in it


def test_a_row_is_what_the_fold_says(store: DiskStore) -> None:
    """Status, amounts, steps and what waits, of runs that have ended and of one that waits."""
    done, waits = adding(store, tags={"task_type": "sums"}), asking(store)
    index = Index(store)
    index.catch_up()
    query = "SELECT run, status, usd, tokens, steps, planned, task_type, asked, waits, waits_since FROM run ORDER BY id"
    first, second = index.rows(query)
    assert first == (done.id, "completed", 0.0, done.spent.tokens, 2, 2, "sums", 0, "", None)
    at = next(record.at for record in waits.events if record.event.kind == "approval_asked")
    assert second == (waits.id, "awaiting_approval", 0.0, waits.spent.tokens, 0, 1, "", 1, "approval s1 note", at)
    assert index.rows("SELECT phase, calls FROM line WHERE of = 1") == [
        (line.phase, line.used.calls) for line in sorted(done.cost.lines, key=lambda line: line.phase)
    ]


def test_calls_have_their_ends_and_times(store: DiskStore) -> None:
    """Model calls and tool calls, a failure, and what a limit held back; times as they are recorded."""
    agent = Agent(
        ScriptedModel([answer(), answer()]), tools=[add, broken], store=store, budget=Budget(tool_calls=1, tokens=9000)
    )
    agent.run("x", plan=[Step(tool="broken"), Step(tool="add", args={"a": 1, "b": 2})])
    run = agent.run("x", plan=[Step(tool="add", args={"a": n, "b": 2}, check=Check(non_empty=True)) for n in range(2)])
    index = Index(store)
    index.catch_up()
    rows = index.rows(f"SELECT op, phase, tool, status, failure FROM {CALLS} WHERE op != 'chat' ORDER BY of, seq")
    assert rows == [
        ("execute_tool", "", "broken", "failed", "invalid_data"),
        ("execute_tool", "", "add", "ok", ""),
        ("execute_tool", "", "add", "limit", ""),
    ]
    took = [r.event.seconds for r in run.events if r.event.kind in ("model_replied", "tool_returned")]
    assert [
        s for (s,) in index.rows("SELECT seconds FROM call WHERE of = 2 AND seconds IS NOT NULL ORDER BY seq")
    ] == took


def test_a_fork_tells_only_its_own(store: DiskStore) -> None:
    """What both share was called, paid for and said by the first one; the task is both's."""
    first = adding(store, "sum up")
    lines = [verdict(), answer("another kingfisher")]
    fork = Agent(ScriptedModel(lines), tools=[add, table, note], store=store).fork(first.id, at="s2")
    index = Index(store)
    assert runs_with(index, "kingfisher") == [fork.id]
    assert runs_with(index, "sum") == [first.id, fork.id]
    assert [part.kind for part in index.parts(2)][:2] == ["run_started", "tool_claimed"]
    ops = index.rows(f"SELECT count(*) FROM {CALLS} WHERE of = 2 AND op = 'execute_tool'")
    assert (ops, index.rows("SELECT sum(calls) FROM line WHERE of = 2")) == ([(1,)], [(2,)])


def test_words_of_every_kind_of_record_are_found(store: DiskStore) -> None:
    """The task, a title, an argument, a result that is kept aside, a finding, the answer; and nothing technical."""
    adding(store, "the Kingfisher's sums")
    index = Index(store)
    for word in ("kingfisher", "table", "40", "1521", "expected", "sum"):
        assert runs_with(index, word) == [store.runs()[0]], word
    for word in ("scripted", "tool_claimed", "sha256"):
        assert runs_with(index, word) == [], word


def test_no_phrase_reaches_from_one_record_into_the_next(store: DiskStore) -> None:
    """The task ends with one word, and the plan begins with another."""
    adding(store, "count the herons")
    assert runs_with(Index(store), "herons add") == []
    assert runs_with(Index(store), "the herons") == [store.runs()[0]]


# ---------------------------------------------------------------------------------------------------- keeping up


@cache
def two_runs() -> MemoryStore:
    whole = MemoryStore()
    adding(whole)
    asking(whole).approve()
    return whole


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=40, max_size=40), st.booleans())
def test_taken_in_bit_by_bit_it_is_as_if_taken_in_at_once(looks: list[bool], two: bool) -> None:  # noqa: FBT001 - a case
    """At whatever records somebody looks; by one process, or by one that has seen nothing of the run before."""
    whole, growing = two_runs(), MemoryStore()
    index, looked = Index(growing), 0
    for run in whole.runs():
        for record in whole.read(run):
            growing.append(run, [record], whole._blobs)
            if looks[looked % len(looks)] and isinstance(record.event, INTENTS):
                index.catch_up()
                if two:
                    index._under_way.clear()  # as another process, that has seen nothing of the run yet
            looked += 1
    index.catch_up()
    once = Index(whole)
    once.catch_up()
    assert told(index) == told(once)


def test_two_processes_take_turns(store: DiskStore) -> None:
    """Each record is in once, whoever took it in."""
    one, other = Index(store), Index(store)
    lines = [plan(*[step("add", a=n, b=2) for n in range(4)]), *[verdict()] * 4, answer()]
    for turn, _ in enumerate(Agent(ScriptedModel(lines), tools=[add], store=store).stream("add")):
        (one if turn % 3 else other).catch_up()
    one.catch_up()
    assert told(other) == told(one) == anew(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_asks_with_a_connection_of_its_own(store: DiskStore) -> None:
    """Whoever held the lock when it was forked; and its parent's stays of use."""
    Agent(ScriptedModel([answer()] * 2), store=store).run("one", plan=[])
    index = Index(store)
    index.catch_up()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with index._lock:
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    mine = index._raw
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        signal.alarm(60)
        right = index.rows("SELECT count(*) FROM run") == [(1,)] and index._raw is not mine
        os._exit(0 if right else 1)
    done.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0
    index.catch_up()
    assert index._raw is mine
    assert index.rows("SELECT count(*) FROM run") == [(1,)]


def test_threads_ask_one_index(store: DiskStore) -> None:
    """While runs go on."""
    index, errors = Index(store), list[BaseException]()

    def ask() -> None:
        try:
            for _ in range(20):
                index.catch_up()
                index.rows("SELECT count(*) FROM run")
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(5):
        adding(store, f"add {n}")
    for thread in threads:
        thread.join()
    index.catch_up()
    assert not errors
    assert told(index) == anew(store)


def test_runs_that_were_taken_away_are_gone(store: DiskStore) -> None:
    """With all of their words; the others are as they were."""
    first, second = adding(store, "count herons"), adding(store, "count kites")
    index = Index(store)
    index.catch_up()
    assert store.remove([first.id], [], store.newest())
    assert runs_with(index, "herons") == []
    assert runs_with(index, "kites") == [second.id]
    assert [row[0] for row in index.rows("SELECT run FROM run")] == [second.id]
    assert index.rows("SELECT count(*) FROM words WHERE words MATCH 'herons'") == [(0,)]
    assert index.rows("SELECT count(*) FROM call WHERE of = 1") == [(0,)]
    third = adding(store, "count herons again")
    assert runs_with(index, "herons") == [third.id]


def test_no_byte_of_what_was_taken_away_stays_in_the_file(store: DiskStore) -> None:
    """Neither its text nor a word of it: in no page that is free, and not in the log, though others ask meanwhile."""
    index, other = Index(store), Index(store)
    gone = adding(store, " ".join(f"zwetschge{n}" for n in range(300)))
    for task in ("before", "between", "after"):
        index.catch_up()
        adding(store, task)
    index.catch_up()
    ((piece,),) = index.rows("SELECT parts FROM piece JOIN run ON piece.id >> 20 = run.id WHERE run = ?", (gone.id,))

    def kept() -> bytes:
        return b"".join(file.read_bytes() for file in (store.folder or Path()).glob("index.sqlite*"))

    assert all(text in kept() for text in (b"zwetschge", piece[:64]))
    assert runs_with(other, "zwetschge7") == [gone.id]
    assert store.remove([gone.id], [], store.newest())
    index.catch_up()
    assert not [text for text in (b"zwetschge", b"wetschge", piece[:64]) if text in kept()]
    assert runs_with(other, "between")
    assert not runs_with(other, "zwetschge7")
    index.close()
    other.close()


def test_a_store_put_back_from_a_copy_is_another_one(tmp_path: Path) -> None:
    """Its index may know runs that are not there any more, or fewer records of one."""
    folder = tmp_path / "store"
    store = DiskStore(folder)
    adding(store, "count herons")
    store.close()
    shutil.copytree(folder / "journal", tmp_path / "copy")
    store = DiskStore(folder)
    adding(store, "count kites")
    index = Index(store)
    assert len(runs_with(index, "count")) == 2
    index.close()
    store.close()
    shutil.rmtree(folder / "journal")
    (folder / "heads").unlink()
    shutil.copytree(tmp_path / "copy", folder / "journal")
    store = DiskStore(folder)
    index = Index(store)
    assert runs_with(index, "kites") == []
    swallow = adding(store, "count swallows")
    assert runs_with(index, "count") == [store.runs()[0], swallow.id]
    assert told(index) == anew(store)


# ---------------------------------------------------------------------------------------------------- made again


def garble(file: Path) -> None:
    file.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 100)


def of_another_form(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE about SET value = 'older'")
    raw.close()


def without_a_table(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("DROP TABLE call")
    raw.close()


def with_a_damaged_piece(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE piece SET parts = x'00ff'")
    raw.close()


def cut_short(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    file.write_bytes(file.read_bytes()[:20_000])


@pytest.mark.parametrize(
    "harm", [Path.unlink, garble, of_another_form, without_a_table, with_a_damaged_piece, cut_short]
)
def test_an_index_that_is_of_no_use_is_made_again(store: DiskStore, harm: Callable[[Path], object]) -> None:
    """Whoever asks next gets the right answer."""
    run = adding(store, "count herons")
    index = Index(store)
    index.catch_up()
    before = told(index)
    index.close()
    assert index.file
    harm(index.file)
    again = Index(store)
    again.catch_up()
    assert told(again) == before == anew(store)
    assert runs_with(again, "herons") == [run.id]


def test_it_may_be_deleted_while_it_is_open(store: DiskStore) -> None:
    """Who has it open goes on with what is left of it; another makes a new one."""
    adding(store, "count herons")
    index, other = Index(store), Index(store)
    index.catch_up()
    for file in store.folder.glob("index.sqlite*"):
        file.unlink()
    adding(store, "count herons")
    assert runs_with(index, "herons") == runs_with(other, "herons") == store.runs()


def test_a_locked_index_is_an_error_of_the_store(store: DiskStore) -> None:
    """With what to do."""
    index = Index(store)
    index.catch_up()
    adding(store)
    assert index._raw
    index._raw.execute("PRAGMA busy_timeout = 1")
    with sqlite3.connect(store.folder / "index.sqlite", isolation_level=None) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"the index of .* cannot be used: database is locked"):
            index.catch_up()
        raw.execute("ROLLBACK")
    raw.close()
    index.catch_up()
    assert told(index) == anew(store)


def test_a_run_that_cannot_be_read_hides_no_other(store: DiskStore) -> None:
    """It is there, with what can be read of it, and says why not more."""
    first, second = adding(store, "count herons"), adding(store, "count herons")
    keys = store._rows("SELECT key FROM Cache WHERE key LIKE ? ORDER BY key", (f"j/{first.id}/%",))
    store._rows("UPDATE Cache SET value = value || ' ' WHERE key = ?", keys[2])
    index = Index(store)
    index.catch_up()
    rows = index.rows("SELECT run, status, problem = '' FROM run ORDER BY id")
    assert rows == [(first.id, "unreadable", 0), (second.id, "completed", 1)]
    assert runs_with(index, "herons") == [first.id, second.id]


# ---------------------------------------------------------------------------------------------------- while runs go on


def long_ago(store: DiskStore) -> None:
    """Nobody has taken in anything for years."""
    for file in store.folder.glob("index.sqlite*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))


def joined() -> None:
    """Those that keep the index up are done."""
    for thread in threading.enumerate():
        if thread.name == "agentnb-index":
            thread.join()


def test_an_index_is_kept_up_while_runs_are_driven(store: DiskStore) -> None:
    """By a thread of its own, once there is an index; who never asks pays for none."""
    adding(store)
    assert not (store.folder / "index.sqlite").exists()
    index = Index(store)
    index.catch_up()
    long_ago(store)
    adding(store)
    joined()
    assert index.rows("SELECT count(*) FROM run") == [(2,)]


def test_an_index_is_made_while_a_first_run_takes_its_time(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not where the store has many runs already: that is for who asks."""
    run = adding(store)
    monkeypatch.setattr("agentnb.follow._PAUSE_S", 0.01)
    monkeypatch.setattr("agentnb.follow._BUSY", 1e6)
    old, young = Follower(store, "r201-owl"), Follower(store, run.id)
    old.start()
    old.stop()
    joined()
    assert not (store.folder / "index.sqlite").exists()
    young.start()
    deadline = time.monotonic() + 30
    while not (store.folder / "index.sqlite").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    young.stop()
    joined()
    assert Index(store).rows("SELECT run FROM run") == [(run.id,)]


def test_rows_that_somebody_else_wrote_are_passed_over(store: DiskStore) -> None:
    """Under keys that are no commit's."""
    run = adding(store)
    for key in ("j/x", "j/r9-owl/1"):
        store._rows("INSERT INTO Cache (key, raw, value) VALUES (?, 1, 'x')", (key,))
    index = Index(store)
    index.catch_up()
    assert index.rows("SELECT run, problem FROM run") == [(run.id, "")]


def test_what_goes_wrong_in_keeping_up_is_nobodys_trouble(store: DiskStore, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    adding(store)
    (store.folder / "index.sqlite").mkdir()
    caplog.set_level("INFO", logger="agentnb.follow")
    follower = Follower(store, store.runs()[0])
    long_ago(store)
    follower.start()
    follower.stop()
    joined()
    assert "the index could not be kept up" in caplog.text
