"""A checkpoint and what follows it give the state that the whole journal gives; one in doubt is passed over."""

from __future__ import annotations

import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agentnb import checkpoint as module
from agentnb.agent import Agent
from agentnb.budget import Budget
from agentnb.checkpoint import START, Mark, checkpoint, is_due, load
from agentnb.log import RunLog
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.run import Run
from agentnb.state import NEW
from agentnb.store.disk import DiskStore
from agentnb.transitions import apply, fold
from tests.parts import MemoryStore, add, answer
from tests.test_decide import Walk, walks


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(walks())
def test_at_any_place_of_any_run_it_gives_the_state_back(walk: Walk) -> None:
    """A checkpoint after every seventh record, and a resume after every record."""
    store, state, mark = MemoryStore(), NEW, START
    for record in walk.records:
        state = apply(state, record)
        rows: dict[str, str] = {}
        if record.seq % 7 == 6:
            rows, mark = checkpoint("r1", state, mark)
        store.append("r1", [record], {}, rows)
        again, kept = load(store, "r1")
        assert (again, kept) == (state, mark)
        assert list(again.outcomes) == list(state.outcomes)


def test_a_run_makes_them_as_it_goes_and_where_it_rests(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for every record, not for short runs, and always in the commit of the records that they stand for."""
    monkeypatch.setattr(module, "EVERY", 20)
    monkeypatch.setattr(module, "AT_REST", 10)
    it = long_run(store, 12)
    kept = [int(key.rpartition("/")[2]) for key, _ in store.rows(f"c/{it.id}/")]
    assert kept[-1] == store.last(it.id).seq
    assert all(20 <= later - earlier <= 25 for earlier, later in pairwise(kept[:-1]))
    assert load(store, it.id)[0] == fold(store.read(it.id))
    assert not store.rows(f"c/{long_run(store, 1).id}/")


def long_run(store: DiskStore, steps: int) -> Run:
    agent = Agent(ScriptedModel([answer()]), tools=[add], store=store, budget=Budget(steps=None, tokens=10**6))
    plan = [Step(tool="add", args={"a": n, "b": n}, check={"expression": "result >= 0"}) for n in range(steps)]  # type: ignore[arg-type]
    return agent.run("add", plan=plan)


@pytest.fixture
def kept(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(module, "EVERY", 12)
    return long_run(store, 12)


def alter(store: DiskStore, sql: str, *values: Any) -> None:
    with sqlite3.connect(Path(store.place) / "journal" / "cache.db") as raw:
        assert raw.execute(sql, values).rowcount > 0
    raw.close()


@pytest.mark.parametrize("which", ["first", "middle", "last"])
@pytest.mark.parametrize("how", ["flipped", "gone", "no JSON"])
def test_a_damaged_one_is_passed_over(store: DiskStore, kept: Run, which: str, how: str) -> None:
    """The state is folded from the records instead: nothing is guessed, and nothing is lost."""
    keys = [f"x/{key}" for key, _ in store.rows(f"c/{kept.id}/")]
    key = keys[{"first": 0, "middle": len(keys) // 2, "last": -1}[which]]
    if how == "gone":
        alter(store, "DELETE FROM Cache WHERE key = ?", key)
    else:
        value = "{" if how == "no JSON" else "0" * 32 + json.dumps({})
        alter(store, "UPDATE Cache SET value = ? WHERE key = ?", value, key)
    whole = fold(store.read(kept.id))
    state, _ = load(store, kept.id)
    assert state == whole
    assert list(state.outcomes) == list(whole.outcomes)
    assert Agent(ScriptedModel([]), tools=[add], store=store).resume(kept.id).output == kept.output


def test_one_of_another_release_is_passed_over(store: DiskStore, kept: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state may have other fields there: what is not surely the same is folded anew."""
    before = load(store, kept.id)
    assert before[1] != START
    monkeypatch.setattr(module, "_form", lambda: "9.9.9")
    assert load(store, kept.id) == (before[0], START)


def test_outcomes_are_read_when_somebody_asks_for_them(
    store: DiskStore, kept: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume of ten thousand steps does not wait for ten thousand outcomes."""
    state, _ = load(store, kept.id)
    asked: list[str] = []

    def rows(_: DiskStore, prefix: str) -> list[tuple[str, str]]:
        asked.append(prefix)
        return []

    monkeypatch.setattr(DiskStore, "rows", rows)
    assert len(state.outcomes) == 12
    assert state.step is None
    assert not asked
    assert state.outcomes[3].step == "s4"
    assert asked == [f"c/{kept.id}/"]


def test_a_reopened_run_goes_on_making_them(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds the outcomes since the one before, also where another process made that."""
    monkeypatch.setattr(module, "EVERY", 12)
    agent = Agent(ScriptedModel([answer()]), tools=[add], store=store, budget=Budget(steps=4))
    plan = [Step(tool="add", args={"a": n, "b": n}, check={"non_empty": True}) for n in range(9)]  # type: ignore[arg-type]
    it = agent.run("add", plan=plan)
    first = RunLog.reopened(store, it.id)._open.mark
    assert first != START
    Agent(ScriptedModel([answer()]), tools=[add], store=DiskStore(store.place)).runs()[0].extend(steps=20)
    state, last = load(store, it.id)
    assert state.outcomes == fold(store.read(it.id)).outcomes
    assert last.outcomes > first.outcomes


def test_when_one_is_due() -> None:
    """At rest sooner than under way."""
    assert not is_due(NEW._replace(seq=module.EVERY - 2), START)
    assert is_due(NEW._replace(seq=module.EVERY - 1), START)
    assert not is_due(NEW._replace(seq=module.EVERY + 9), Mark(seq=20))
