"""The open run: what is kept, what is durable when, and what its clock says."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb import checkpoint
from agentnb.budget import Budget
from agentnb.checkpoint import load
from agentnb.errors import DamagedRecord, IllegalTransition, Interrupted, NotJSON, StoreError
from agentnb.events import Kept, PlanMade, RunResumed, RunStarted, RunSuspended, StepJudged, ToolClaimed, ToolReturned
from agentnb.log import INLINE, Clock, RunLog
from agentnb.plan import Step, UnmetReference, numbered
from agentnb.policy import ToolFacts
from agentnb.store.disk import DiskStore
from agentnb.transitions import fold
from tests.conftest import FakeClock
from tests.parts import MemoryStore

LOOK = ToolFacts("read", "full", "a")


def begun(store: Any, clock: Clock | None = None, *steps: Step) -> RunLog:
    """A log with a run that has started, and a plan where there are steps."""
    log = RunLog(store, store.new_run_id(), clock=clock)
    log.append(RunStarted(run=log.run, task="t", model="m", cheap_model="m", tools={"look": LOOK}, budget=Budget()))
    if steps:
        log.append(PlanMade(version=1, keep=0, steps=numbered(steps), reason="", by="user"))
    return log


def finish_step(log: RunLog, step: str, result: Any, status: Any = "ok", message: str = "") -> None:
    log.append(ToolClaimed(step=step, attempt=1, tool="look", args=log.keep({}), key=f"{log.run}/{step}"))
    kept = None if status == "failed" else log.keep(result)
    log.append(ToolReturned(step=step, status=status, seconds=0, result=kept, message=message))
    log.append(StepJudged(step=step, verdict="continue", by="rule"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(JSON, st.integers(0, 2 * INLINE))
def test_any_json_is_kept_and_given_back(value: Any, padding: int) -> None:
    """Short values in their record, long ones aside under their hash; both come back equal."""
    log = RunLog(MemoryStore(), "r1")
    padded = [value, "x" * padding]
    kept = log.keep(padded)
    assert log.value(kept) == padded
    assert (kept.text is None) == (kept.size > INLINE) == (kept.blob is not None)


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], object(), {1, 2}, b"x", 10**5000],
    ids=["nan", "inf", "object", "set", "bytes", "huge"],
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    """NotJSON, before anything is recorded."""
    with pytest.raises(NotJSON, match="has no JSON form"):
        RunLog(MemoryStore(), "r1").keep(value)


def test_endless_nesting_is_refused() -> None:
    """A list in itself, and one too deep, are NotJSON like the rest."""
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(NotJSON, match="has no JSON form"):
            RunLog(MemoryStore(), "r1").keep(value)
    while deep:  # taken apart by hand: the interpreter would do it by recursion
        deep = deep.pop()


@pytest.mark.parametrize("length", [3, 3 * INLINE])
def test_half_a_surrogate_pair_is_kept_as_a_question_mark(store: DiskStore, length: int) -> None:
    """In a short text and in a long one, on disk and in memory alike."""
    log = begun(store)
    kept = log.keep("a\ud800b" + "x" * length)
    assert log.value(kept) == "a?b" + "x" * length
    log.append(RunSuspended(reason="closed", detail=str(kept)))
    assert RunLog.reopened(store, log.run).value(kept) == "a?b" + "x" * length


def test_nul_in_a_long_text_survives_the_database(store: DiskStore) -> None:
    """SQLite texts may be cut at NUL; JSON escapes it, so nothing is."""
    log = begun(store)
    text = "a\0b" * INLINE
    kept = log.keep(text)
    log.append(RunSuspended(reason="closed"))
    assert RunLog.reopened(store, log.run).value(kept) == text


def test_an_outcome_waits_for_the_next_intent_and_shares_its_commit(store: DiskStore) -> None:
    """A plan is not on disk by itself; with the claim after it, both are, in one row."""
    log = begun(store, None, Step(tool="look"))
    assert len(list(store.read(log.run))) == 1
    durable = log.append(ToolClaimed(step="s1", attempt=1, tool="look", args=log.keep({}), key="k"))
    assert [record.event.kind for record in durable] == ["plan_made", "tool_claimed"]
    assert len(list(store.read(log.run))) == 3
    with sqlite3.connect(Path(store.place) / "journal" / "cache.db") as raw:
        assert raw.execute("SELECT count(*) FROM Cache WHERE key LIKE 'j/%'").fetchone() == (2,)
    raw.close()


def test_a_reopened_log_has_the_same_state(store: DiskStore) -> None:
    """What was appended and flushed folds to the state that was in memory."""
    log = begun(store, None, Step(tool="look"), Step(tool="look"))
    finish_step(log, "s1", {"n": list(range(500))})
    log.flush()
    again = RunLog.reopened(store, log.run)
    assert again.state == log.state
    assert again.result_of("s1") == {"n": list(range(500))}
    assert fold(store.read(log.run)) == log.state


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("s2", "has not been carried out"),
        ("s3", r"\$s3 refers to a step that has no result: no such column"),
        ("s9", "has not been carried out"),
        ("s" + "9" * 5000, "has not been carried out"),
    ],
)
def test_a_result_that_is_not_there_is_unmet(step: str, said: str) -> None:
    """A step to come, one that failed, one that no plan has: each says why."""
    log = begun(MemoryStore(), None, Step(tool="look"))
    finish_step(log, "s1", 1)
    if step == "s3":
        log = begun(MemoryStore(), None, Step(tool="look"), Step(tool="look"), Step(tool="look"), Step(tool="look"))
        finish_step(log, "s1", 1)
        finish_step(log, "s2", 1)
        finish_step(log, "s3", None, "failed", "no such column")
    with pytest.raises(UnmetReference, match=said):
        log.result_of(step)


@pytest.mark.parametrize("text", ["", "{", "nan!", "[" * 100_000, "1" * 5000])
def test_a_kept_value_that_is_no_json_is_a_damaged_record(text: str) -> None:
    """In the record and aside: the run stops with DamagedRecord and does not guess."""
    store = MemoryStore()
    digest = hashlib.sha256(text.encode()).hexdigest()
    first = MemoryStore()
    begun(first)
    store.append("r1-test", first.read("r1-test"), {digest: text})
    log = RunLog(store, "r1-test")
    for kept in (Kept(len(text), text=text), Kept(len(text), blob=digest)):
        with pytest.raises(DamagedRecord, match="not JSON"):
            log.value(kept)


def test_a_store_that_fails_loses_nothing_that_waits(store: DiskStore) -> None:
    """After an error the records still wait, and the next flush writes them all."""
    log = begun(store, None, Step(tool="look"))
    with sqlite3.connect(Path(store.place) / "journal" / "cache.db") as raw:
        raw.execute("CREATE TRIGGER full BEFORE INSERT ON Cache BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StoreError, match="disk is full"):
        log.flush()
    with raw:
        raw.execute("DROP TRIGGER full")
    raw.close()
    assert [record.event.kind for record in log.flush()] == ["plan_made"]
    assert fold(store.read(log.run)) == log.state


def test_after_it_was_taken_away_nothing_is_appended() -> None:
    """A revoked log takes a last event, and refuses every other."""
    log = begun(MemoryStore())
    log.revoke(lambda _: RunSuspended(reason="interrupted"))
    with pytest.raises(Interrupted):
        log.append(RunSuspended(reason="closed"))


def test_an_illegal_event_leaves_the_log_as_it_was() -> None:
    """The state and what waits are untouched."""
    log = begun(MemoryStore())
    before = log.state
    with pytest.raises(IllegalTransition):
        log.append(ToolReturned(step="s1", status="ok", seconds=0))
    assert (log.state, log.flush()) == (before, ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_the_runs_clock_never_goes_back(jumps: list[float]) -> None:
    """Whatever the machine's clock does, records are in order of `t`; a pause between processes counts."""
    clock = FakeClock()
    store = MemoryStore()
    log = begun(store, clock.clock())
    for jump in jumps:
        clock.now += jump
        log = RunLog.reopened(store, log.run, clock.clock())
        log.append(RunSuspended(reason="closed"))
    times = [record.t for record in store.read(log.run)]
    assert times == sorted(times)


def test_records_say_when_by_both_clocks() -> None:
    """Wall time for people, the run's own seconds from 0."""
    clock = FakeClock()
    store = MemoryStore()
    log = begun(store, clock.clock())
    clock.now += 2.5
    log.append(RunSuspended(reason="closed"))
    assert [(r.at, r.t) for r in store.read(log.run)] == [(1_000_000.0, 0.0), (1_000_002.5, 2.5)]
    assert json.loads(log.keep(1).text or "") == 1


# --- what an interrupt, or a bad value, may not break -----------------------------------------------------------------


def start() -> RunStarted:
    return RunStarted(run="r1-test", task="t", model="m", cheap_model="m", tools={}, budget=Budget())


def test_an_interrupt_at_any_line_leaves_a_journal_that_can_be_read_and_gone_on_with() -> None:
    """Whichever line of `append`, `claim` or `flush` it comes at: nothing is missing, and nothing is there twice."""
    parts = (RunLog.append, RunLog.flush, RunLog._flushed, RunLog.claim, RunLog._made_durable)
    code = {part.__code__ for part in parts}
    line = 0
    while True:
        line += 1
        store = MemoryStore()
        log = RunLog(store, "r1-test")
        log.append(start())
        seen = 0

        def interrupt(frame: Any, event: str, _: Any, at: int = line) -> Any:
            nonlocal seen
            if frame.f_code not in code:
                return None
            if event == "line":
                seen += 1
                if seen == at:
                    raise KeyboardInterrupt
            return interrupt

        sys.settrace(interrupt)
        try:
            log.append(RunSuspended(reason="error"))
            log.append(RunResumed(process=1), RunSuspended(reason="closed"))
            log.append(RunResumed(process=2))
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        log.flush()
        if log.state.suspended is None:
            log.append(RunSuspended(reason="interrupted"))
        assert load(store, "r1-test")[0] == log.state
        assert [record.seq for record in store.read("r1-test")] == list(range(log.state.seq + 1))
        if seen < line:
            break
    assert line > 50


def test_a_checkpoint_that_cannot_be_made_stops_nothing(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a surrogate pair is kept as a question mark, as in the records; whatever else, the records are kept."""
    monkeypatch.setattr(checkpoint, "EVERY", 1)
    log = RunLog(store, store.new_run_id())
    log.append(replace(start(), task="caf\udce9"))
    assert load(store, log.run)[1].seq == 0
    assert load(store, log.run)[0].head.task == "caf?"
    monkeypatch.setattr("agentnb.log.checkpoint", lambda *_: 1 / 0)
    log.append(RunSuspended(reason="error"))
    assert load(store, log.run)[0].suspended is not None
