"""What goes, and above all what stays."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.approval import Answer
from agentnb.bundle import export_run
from agentnb.errors import ConfigError, RunNotFound, StoreError
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Check, Step
from agentnb.store.checkup import check
from agentnb.store.disk import DiskStore
from agentnb.store.housekeeping import Garbage, collect, survey
from agentnb.tools import tool
from tests.cells import notebook_in
from tests.parts import add, answer, table
from tests.stores.make import agent, make

SURE: Any = {"non_empty": True}
YEAR_S = 365 * 86_400


def later(store: DiskStore, **rules: Any) -> Garbage:
    """What would go in a year."""
    return survey(store, now=lambda: time.time() + YEAR_S, **rules)


@pytest.fixture
def full(store: DiskStore) -> DiskStore:
    make(Path(store.place))
    return store


def wide(store: DiskStore, rows: int, task: str = "wide") -> str:
    made = Agent(ScriptedModel([answer()]), tools=[table], store=store)
    return made.run(task, plan=[Step(tool="table", args={"rows": rows}, check=SURE)]).id


def test_only_runs_that_have_ended_with_nothing_left_to_do_go(full: DiskStore) -> None:
    """Not one that waits, is in doubt, or has an action in its queue, however old."""
    complete, waits, doubted, limited, proposes = full.runs()
    found = later(full, older_than_days=30)
    assert [goes.run for goes in found.goes] == [complete, limited]
    assert found.stays == {
        "waiting for a person": [waits], "suspended": [doubted], "actions wait in its queue": [proposes],
    }  # fmt: skip
    assert later(full, older_than_days=366).goes == []
    assert later(full).goes == []
    gone = collect(full, lambda: later(full, older_than_days=30))
    assert [goes.run for goes in gone.goes] == [complete, limited]
    assert full.runs() == [waits, doubted, proposes]
    for run in (complete, limited):
        with pytest.raises(RunNotFound):
            full.read(run)
    yes = agent(Path(full.place))
    assert [run.id for run in yes.runs()] == [proposes, doubted, waits]
    assert yes.runs()[1].resume(in_doubt="done").status == "completed"


def test_what_was_done_once_for_ever_stays_done(full: DiskStore) -> None:
    """The ledger outlives the run, its result with it; and no id is given again."""
    complete = full.runs()[0]
    collect(full, lambda: later(full, older_than_days=0))
    again = agent(Path(full.place)).run("again", plan=[Step(tool="file_ticket", args={"title": "first"})])
    assert f"done before, by {complete}" in repr(again)
    assert again.result("s1") == {"filed": "first"}
    assert again.id.startswith("r6-")


def test_a_value_goes_with_the_last_run_that_holds_it(store: DiskStore) -> None:
    """Shared ones stay, and can still be read."""
    old, new = wide(store, 90), wide(store, 90)
    alone = wide(store, 91)
    assert len(store.sizes()) == 2
    everything = later(store, older_than_days=0)
    assert [goes.run for goes in everything.goes] == [old, new, alone]
    assert len(everything.values) == 2
    blobs = dict(store.sizes())
    some = Garbage([goes for goes in everything.goes if goes.run != new], [], 0, {}, everything.size, everything.newest)
    assert collect(store, lambda: some).values == []
    left = later(store, older_than_days=0)
    assert (len(left.goes), len(left.values)) == (1, 2)  # the other's value is held by nothing any more
    assert len(Agent(ScriptedModel([]), tools=[table], store=store).runs()[0].result("s1")) == 90
    collect(store, lambda: left)
    assert (store.sizes(), store.runs(), len(blobs)) == ({}, [], 2)


def test_by_size_the_oldest_go_first_and_no_more_than_needed(store: DiskStore) -> None:
    """Until the rest is small enough; room is given back to the disk."""
    runs = [wide(store, 2000 + n) for n in range(6)]
    each = later(store, older_than_days=0).freed / 6
    limit = 3.5 * each / 1e6
    found = later(store, max_mb=limit)
    assert [goes.run for goes in found.goes] == runs[:3]
    assert found.freed == pytest.approx(3 * each, rel=0.05)
    database = Path(store.place) / "journal" / "cache.db"
    store._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.stat().st_size
    collect(store, lambda: later(store, max_mb=limit))
    assert before - database.stat().st_size > 2 * each
    assert later(store, max_mb=limit).goes == []
    assert [goes.run for goes in later(store, max_mb=0).goes] == runs[3:]


@pytest.mark.parametrize("rules", [{"older_than_days": -1}, {"max_mb": float("nan")}, {"max_mb": float("inf")}])
def test_a_rule_that_is_none_is_refused(store: DiskStore, rules: Any) -> None:
    """Before anything is looked at."""
    with pytest.raises(ConfigError, match=r"is below 0, or no number: give \w+ of 0 or more"):
        survey(store, **rules)


def test_what_came_to_be_needed_meanwhile_stays(store: DiskStore) -> None:
    """A run that began to hold a value after it was found free makes it be found anew."""
    wide(store, 90)
    found: list[Garbage] = []

    def find() -> Garbage:
        garbage = later(store, older_than_days=200)
        if not found:
            wide(store, 90, "needs it too")  # began, and ended, in between
        found.append(garbage)
        return garbage

    gone = collect(store, find)
    assert len(found) == 2
    assert len(gone.goes) == 2
    assert store.runs() == []


def test_a_run_that_somebody_goes_on_with_stays(store: DiskStore) -> None:
    """It is held, and nothing is taken away under its driver."""
    run = wide(store, 90)
    hold = store.hold(run)
    with pytest.raises(StoreError, match="nothing was taken away"):
        collect(store, lambda: later(store, older_than_days=0))
    hold.release(ended=False)
    assert store.runs() == [run]


def test_runs_go_on_while_others_are_taken_away(store: DiskStore) -> None:
    """Nothing that is being written is lost."""
    old = [wide(store, 80 + n) for n in range(10)]
    made: list[str] = []

    def work() -> None:
        made.extend(wide(store, 80 + n, "young") for n in range(10))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        garbage = later(store, older_than_days=0)
        goes = [run.run for run in garbage.goes if run.run in old]
        free = garbage.values if len(goes) == len(garbage.goes) else []
        store.remove(goes, free, garbage.newest)
    thread.join()
    young = [run for run in Agent(ScriptedModel([]), tools=[table, add], store=store).runs() if run.id in made]
    assert len(young) == 10
    assert sorted(len(run.result("s1")) for run in young) == list(range(80, 90))


def test_the_magic_lists_first_and_takes_away_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What and how much, both times."""
    make(tmp_path / ".agentnb")
    with notebook_in(tmp_path, monkeypatch) as cells:
        shown = cells.line("gc --older-than 0")
        assert shown.startswith("Could go: 2 runs and 2 values, ")
        assert "--yes takes them away" in shown
        assert "Stay: 3 runs, " in shown
        waits = next(run.id for run in agent(tmp_path / ".agentnb").runs() if run.id.startswith("r2-"))
        assert f"waiting for a person: {waits}; " in shown
        assert cells.line("gc").startswith("Could go: 0 runs")
        assert cells.line("gc --older-than 0 --yes").startswith("Gone: 2 runs")
        assert cells.line("runs").count("\n") == 5
        assert "records, is in one.jsonl" in cells.line("export r2 one.jsonl")
        assert "It is r6-" in cells.line("import one.jsonl")


# --- what is needed after all -----------------------------------------------------------------------------------------


def test_a_fork_that_begins_meanwhile_has_its_values(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its origin is held until the fork holds them too."""
    origin = wide(store, 90)
    fork_agent = Agent(ScriptedModel([answer()]), tools=[table], store=store)
    read = DiskStore.read

    reads: list[str] = []

    def slow(self: DiskStore, run: str, after: int = -1) -> Any:
        found = list(read(self, run, after))
        reads.append(run)
        if len(reads) == 2:  # the state first, then all records
            with pytest.raises(StoreError, match="nothing was taken away"):
                collect(DiskStore(store.place), lambda: later(store, older_than_days=0))
        return iter(found)

    monkeypatch.setattr(DiskStore, "read", slow)
    session = fork_agent.begin_fork(origin, "answer")
    monkeypatch.undo()
    session.finish()
    assert len(fork_agent.runs()[0].result("s1")) == 90


def test_two_that_collect_at_once_take_nothing_that_came_in_between(store: DiskStore) -> None:
    """Numbers of rows are given again once the last ones are gone: what was found before is looked for anew."""
    wide(store, 90)
    stale = later(store, older_than_days=0)
    collect(store, lambda: later(store, older_than_days=0))
    young = wide(store, 90)
    assert not store.remove([], stale.values, stale.newest)
    assert len(Agent(ScriptedModel([]), tools=[table], store=store).runs()[0].result("s1")) == 90
    assert store.runs() == [young]


def test_a_dry_run_waits_to_be_executed(store: DiskStore) -> None:
    """Until it was."""
    made = agent(Path(store.place), approver=lambda _: Answer("approve", "ada"))
    dry = made.run("x", plan=[Step(tool="file_ticket", args={"title": "t"})], dry_run=True)
    assert later(store, older_than_days=0).stays == {"a dry run that waits to be executed": [dry.id]}
    dry.execute()
    assert dry.id in [goes.run for goes in later(store, older_than_days=0).goes]


def test_sizes_are_bytes(store: DiskStore) -> None:
    """Three for a Chinese sign."""

    @tool(effect="read")
    def many() -> str:
        """Many signs."""
        return "字" * 100_000

    Agent(ScriptedModel([answer()]), tools=[many], store=store).run("x", plan=[Step(tool="many", check=SURE)])
    assert later(store, older_than_days=0).freed > 300_000


def test_a_read_that_was_cut_short_keeps_no_run(store: DiskStore) -> None:
    """Only a call that may have acted is looked at by somebody before the run goes."""

    @tool(effect="read")
    def look() -> int:
        """Look, until somebody stops it."""
        raise KeyboardInterrupt

    @tool(effect="write", reversibility="full")
    def post() -> int:
        """Post it, until somebody stops it."""
        raise KeyboardInterrupt

    made = Agent(ScriptedModel([]), tools=[look, post], store=store, approve="auto")
    for name in ("look", "post"):
        with pytest.raises(KeyboardInterrupt):
            made.run(name, plan=[Step(tool=name)])
        made.runs()[0].cancel()
    looked, posted = store.runs()
    found = later(store, older_than_days=0)
    assert ([goes.run for goes in found.goes], found.stays) == ([looked], {"a call is in doubt": [posted]})


def test_a_survey_says_how_far_it_is(store: DiskStore) -> None:
    """As do a check of the store and the export of a run with values kept aside."""
    run = Agent(ScriptedModel([answer()]), tools=[table], store=store).run(
        "t", plan=[Step(tool="table", args={"rows": 90}, check=Check(**SURE))]
    )
    told = list[tuple[int, int]]()
    survey(store, progress=lambda *far: told.append(far))
    check(store.folder, lambda *far: told.append(far))
    export_run(store, run.id, store.folder / "run.jsonl", lambda *far: told.append(far))
    assert told == [(1, 1)] * 3
