"""Nothing happens twice, nothing is lost: whole runs against a service, killed at any moment and gone on with.

Three processes: this one; the service, whose ledger says what happened; and the one that drives the run, which dies and
is started again until the run ends. Where only a person can know whether a call happened, the test is that person, and
looks into the service's ledger.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from agentnb.resume import InDoubt
from agentnb.state import NEW, RunState, Stage, Status
from agentnb.store.disk import DiskStore
from agentnb.transitions import fold
from tests.parts import step
from tests.service_driver import Hive, Job, Kind, Report, has_happened, hive
from tests.tool_service import Desk, Service, serving

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
WAYS: Final = tuple(kind for kind in KINDS if kind != "both")
"""All that differ where nothing fails for good."""
LIVES: Final = 40
"""Processes after which a run has had its chance."""
COMMITS: Final = 10
"""Of a run with two writes: begun; planning; each write asked about and claimed; answering; ended."""
SHORT_S: Final = 0.25
_DESKS: Final = itertools.count(1)


def files(*titles: str) -> tuple[dict[str, Any], ...]:
    """A plan that files these tickets, in this order."""
    return tuple(step("file_ticket", text=title) for title in titles)


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder in memory, where there is one: a process that is killed leaves there what it would leave on a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:  # noqa: S108
        yield Path(folder)


@pytest.fixture(scope="module")
def service(ground: Path) -> Iterator[Service]:
    with serving(ground) as service:
        yield service


@pytest.fixture(scope="module")
def drivers() -> Iterator[Hive]:
    with hive() as drivers:
        yield drivers


@dataclass(frozen=True)
class Town:
    """A desk of the service, a store, and whoever drives runs between the two."""

    service: Service
    drivers: Hive
    folder: Path

    def job(
        self, kind: Kind, *plans: tuple[dict[str, Any], ...], faults: dict[int, str] | None = None, **options: Any
    ) -> tuple[Desk, Job]:
        """A desk of its own, and the job of filing at it what `plans` say."""
        desk = self.service.desk(f"d{next(_DESKS)}", keys=kind in ("key", "both"), faults=faults)
        return desk, Job(str(self.folder / "store"), desk.url, kind, plans, **options)

    def runs(self) -> list[tuple[str, RunState]]:
        """The runs of the store, folded from their records."""
        store = DiskStore(self.folder / "store")
        try:
            return [(run, fold(store.read(run), NEW)) for run in store.runs()]
        finally:
            store.close()

    def state(self) -> RunState:
        """The only run of the store."""
        [(_, state)] = self.runs()
        return state

    def looked(self, desk: Desk, run: str = "") -> InDoubt | None:
        """What an honest person finds about the call that is in doubt; None where none is."""
        states = [state for name, state in self.runs() if run in ("", name)]
        if not states or states[-1].claim is None:
            return None
        return "done" if has_happened(states[-1], desk.filed()) else "not_done"

    def carried_on(self, desk: Desk, job: Job) -> Report:
        """How the run ended, in as many processes as it takes; where it rests in doubt, an honest person has looked."""
        for _ in range(LIVES):
            report = self.drivers.live(job)
            job = replace(job, dies="", in_doubt=None, fresh=False)
            if report is None:
                continue
            assert not report.error, report.error
            if report.stop_reason != "in_doubt":
                return report
            assert job.kind in ("plain", "key", "both"), report.detail
            job = replace(job, run=report.run, in_doubt=self.looked(desk, report.run))
        raise AssertionError(f"it did not end in {LIVES} processes")


@pytest.fixture
def town(service: Service, drivers: Hive, ground: Path) -> Town:
    return Town(service, drivers, Path(tempfile.mkdtemp(dir=ground)))


def require_exactly(desk: Desk, state: RunState, *titles: str) -> None:
    """Each write that was meant is in the ledger once and in order, and the journal says so too."""
    assert desk.titles() == list(titles)
    assert (state.status, state.stage, state.claim, state.left) == (Status.COMPLETED, Stage.DONE, None, ())
    done = [outcome for outcome in state.outcomes if outcome.call and outcome.status == "ok"]
    assert len(done) == len(titles)
    for ticket, outcome in zip(desk.filed(), done, strict=True):  # a person who says "done" has no result to give
        assert outcome.result is not None
        assert outcome.result.text == "null" or f'"id":{ticket["id"]}' in str(outcome.result.text).replace(" ", "")


# --- killed at a place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, COMMITS + 1))
@pytest.mark.parametrize("kind", WAYS)
def test_killed_at_a_commit_of_the_journal(town: Town, kind: Kind, at: int, late: bool) -> None:  # noqa: FBT001
    """Whichever prefix of the journal is left, the rest of the plan follows from it, and nothing of it twice."""
    desk, job = town.job(kind, files("first", "second"))
    assert town.drivers.live(replace(job, dies="commit", at=at, late=late)) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


def test_a_run_that_nothing_befalls_makes_the_commits_at_which_the_others_die(town: Town) -> None:
    """Were there more, they would not be covered."""
    desk, job = town.job("plain", files("first", "second"))
    assert town.carried_on(desk, job).commits == COMMITS
    require_exactly(desk, town.state(), "first", "second")


FAULTS: Final = ("work", "503", "drop_before", "drop_after", "late", "hang")
PLACES: Final = (("", 0), ("sent", 1), ("answered", 1), ("sent", 2))


@pytest.mark.parametrize(("dies", "at"), PLACES, ids=[f"{place}{at or 'nowhere'}" for place, at in PLACES])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", WAYS)
def test_a_fault_of_the_service_and_a_death_in_the_call(town: Town, kind: Kind, fault: str, dies: str, at: int) -> None:
    """Whatever the service does with the first request, and wherever in a call the process dies."""
    late = {"late": {"timeout_s": SHORT_S}, "hang": {"socket_s": SHORT_S}}
    desk, job = town.job(kind, files("first", "second"), faults={1: fault}, **late.get(fault, {}))
    first = town.drivers.live(replace(job, dies=dies, at=at))
    rests = kind == "plain" and fault not in ("work", "503") and (dies, at) != ("sent", 1)
    assert (first.stop_reason if first else "killed") == ("in_doubt" if rests else "killed" if dies else "complete")
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


@pytest.mark.parametrize("dies", ["commit", "sending", "sent", "answered"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_again_and_again(town: Town, kind: Kind, dies: str) -> None:
    """Each process dies at its second commit, or in its first call; what each leaves behind is still enough."""
    at_commit = dies == "commit"
    desk, job = town.job(kind, files("first", "second", "third"))
    for _ in range(6 if at_commit else 2):  # a call that did not happen in three tries has failed
        said = town.looked(desk) if kind == "plain" else None
        dying = replace(job, dies=dies, at=2 if at_commit else 1, late=at_commit, in_doubt=said)
        assert town.drivers.live(dying) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second", "third")


def test_killed_while_it_looks_whether_a_call_happened(town: Town) -> None:
    """Asking the service settles nothing until the answer is kept, and is asked again."""
    desk, job = town.job("reconcile", files("first", "second"), faults={1: "drop_after", 2: "drop_before"})
    for at in (1, 1, 2):
        assert town.drivers.live(replace(job, dies="looking", at=at)) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


def test_a_write_that_takes_effect_after_its_caller_has_died(town: Town) -> None:
    """With keys, nobody needs to know whether the first request is still under way."""
    desk, job = town.job("key", files("first", "second"), faults={1: "slow"})
    assert town.drivers.live(replace(job, dies="sent")) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


# --- what fails and passes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_service_turns_away_is_tried_again_after_a_while(town: Town, kind: Kind) -> None:
    """503 and 429 have not acted, and as long is waited as the service asks for; nobody is asked about it."""
    desk, job = town.job(kind, files("first"), faults={1: "503", 2: "429"})
    report = town.drivers.live(job)
    assert report is not None
    assert (report.status, len(report.waits), report.waits[1] >= 7) == ("completed", 2, True)
    assert 0 < report.waits[0] < 2
    require_exactly(desk, town.state(), "first")


def test_without_any_way_to_know_the_run_rests_and_says_so(town: Town) -> None:
    """Nothing is sent again before a person has looked, however often the run is gone on with."""
    desk, job = town.job("plain", files("first", "second"), faults={1: "drop_after"})
    for _ in range(3):
        report = town.drivers.live(job)
        assert report is not None
        assert (report.status, report.stop_reason) == ("suspended", "in_doubt")
    assert desk.faults() == ["drop_after"]
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", ["sending", "sent", "answered"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_write_meant_twice_happens_twice(town: Town, kind: Kind, dies: str, at: int) -> None:
    """Two steps with the same arguments are two writes, whichever of them is in doubt."""
    desk, job = town.job(kind, files("same", "same"))
    assert town.drivers.live(replace(job, dies=dies, at=at)) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "same", "same")


@pytest.mark.parametrize("dies", ["sending", "sent", "answered"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_is_fed_by_a_read(town: Town, kind: Kind, dies: str) -> None:
    """What was read before the death is what is written after it."""
    steps = (step("order", number=17), step("file_ticket", text="$s1.title"), *files("last"))
    desk, job = town.job(kind, steps)
    assert town.drivers.live(replace(job, dies=dies)) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "order 17", "last")


@pytest.mark.parametrize("dies", ["", "sending", "sent", "answered"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_that_fails_is_planned_anew(town: Town, kind: Kind, dies: str) -> None:
    """What was refused is not in the ledger; what was done before the revision is not done again."""
    desk, job = town.job(kind, files("first", "bad"), files("good", "last"))
    if dies:
        assert town.drivers.live(replace(job, dies=dies, at=2)) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "good", "last")
    assert town.state().revisions == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_that_is_turned_away_each_time_is_planned_anew(town: Town, kind: Kind) -> None:
    """It never happened, so the new plan's call of the same is the first."""
    desk, job = town.job(kind, files("first"), files("first"), faults={1: "503", 2: "503", 3: "429"})
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first")


# --- doubt that outlives a try ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["key", "both"])
@pytest.mark.parametrize("first", ["drop_after", "late"])
def test_a_try_that_is_turned_away_says_nothing_of_the_one_before(town: Town, kind: Kind, first: str) -> None:
    """The first try may have acted, so the call did not fail because the last one did not."""
    faults = {1: first, 2: "503", 3: "503"}
    short = {"timeout_s": SHORT_S} if first == "late" else {}
    desk, job = town.job(kind, files("first"), files("first"), faults=faults, **short)
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first")


@pytest.mark.parametrize("kind", ["key", "both"])
def test_a_process_that_is_turned_away_knows_nothing_of_the_one_before(town: Town, kind: Kind) -> None:
    """The process that died may have acted, so the call did not fail because the next one's tries did not."""
    desk, job = town.job(kind, files("first"), files("first"), faults={2: "503", 3: "503", 4: "503"})
    assert town.drivers.live(replace(job, dies="sent")) is None
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first")


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_that_forbids_a_call_later_does_not_undo_it(town: Town, kind: Kind) -> None:
    """What was begun while it was allowed may have happened: it is settled, and not planned anew."""
    shut = town.folder / "shut"
    desk, job = town.job(kind, files("first"), files("first"), shut=str(shut))
    assert town.drivers.live(replace(job, dies="sent")) is None
    shut.touch()
    town.drivers.live(job)
    shut.unlink()
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first")


@pytest.mark.parametrize("kind", ["key", "reconcile", "plain"])
def test_a_run_whose_time_is_up_in_the_middle_of_a_call_can_be_gone_on_with(town: Town, kind: Kind) -> None:
    """That there is no time left is a result, not an exception; whether the call happened stays to be settled."""
    desk, job = town.job(kind, files("first"), seconds=60)
    assert town.drivers.live(replace(job, dies="sent")) is None
    job = replace(job, ahead_s=45)  # so that less is left, but for the answer, than a write needs to be begun
    report = town.drivers.live(job)
    assert report is not None
    assert (report.error, report.stop_reason) == ("", "in_doubt")
    said = replace(job, in_doubt=town.looked(desk))
    report = town.drivers.live(said)
    assert report is not None
    assert report.status == "completed"
    require_exactly(desk, town.state(), "first")


@pytest.mark.parametrize("leaves", ["tool_claimed", "tool_retried", "call_in_doubt", "run_resumed"])
@pytest.mark.parametrize("kind", KINDS)
def test_left_by_whoever_reads_its_records(town: Town, kind: Kind, leaves: str) -> None:
    """Closing the stream takes back what was not begun, and nothing else."""
    desk, job = town.job(kind, files("first", "second"), faults={1: "drop_after"})
    if leaves == "run_resumed":
        assert town.drivers.live(replace(job, dies="sent")) is None
    report = town.drivers.live(replace(job, leaves=leaves))
    assert report is not None
    assert not report.error, report.error
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), "first", "second")


# --- once for ever ----------------------------------------------------------------------------------------------------


def once(town: Town, kind: Kind, **options: Any) -> tuple[Desk, Job]:
    """Runs that each file the same ticket, which is to be filed once for ever."""
    return town.job(kind, files("welcome"), once=True, fresh=True, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_once_is_not_done_by_the_next_run(town: Town, kind: Kind) -> None:
    """The second run gets the first one's result."""
    desk, job = once(town, kind)
    for _ in range(2):
        assert town.carried_on(desk, job).status == "completed"
    assert desk.titles() == ["welcome"]
    first, second = (state for _, state in town.runs())
    assert first.outcomes[0].result == second.outcomes[0].result != None  # noqa: E711 - a chain reads best


@pytest.mark.parametrize("dies", ["sending", "sent", "answered"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_another_run_has_begun_waits_for_it(town: Town, kind: Kind, dies: str) -> None:
    """The second run never acts while the first one's call is in doubt, whatever a person says there."""
    desk, job = once(town, kind)
    assert town.drivers.live(replace(job, dies=dies)) is None
    before = desk.faults()
    report = town.drivers.live(job)
    assert report is not None
    waits = replace(job, fresh=False, run=report.run)
    for said in ("done", "not_done"):
        told = town.drivers.live(replace(waits, in_doubt=said))  # which is not this run's to say
        assert told is not None
        assert "of its own in doubt: say it there" in told.error
    for there in (report, town.drivers.live(waits)):
        assert there is not None
        assert (there.status, there.stop_reason) == ("suspended", "in_doubt")
    assert desk.faults() == before
    first, second = (run for run, _ in town.runs())
    for run in (first, second):
        assert town.carried_on(desk, replace(job, fresh=False, run=run)).status == "completed"
    assert desk.titles() == ["welcome"]


@pytest.mark.parametrize("again", range(2))
@pytest.mark.parametrize("waits_at", ["", "sending"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_at_the_same_moment_do_it_once(town: Town, kind: Kind, waits_at: str, again: int) -> None:
    """One of them has it; the other gets its result, or rests until it is known."""
    del again
    go = town.folder / "go"
    desk, job = once(town, kind, waits_at=waits_at, go=str(go))
    pids = [town.drivers.start(job) for _ in range(2)]
    time.sleep(0.15 if waits_at else 0)
    go.touch()
    reports = [report for pid in pids if (report := town.drivers.end(pid))]
    assert all(not report.error for report in reports), reports
    assert "completed" in {report.status for report in reports}
    assert {report.stop_reason for report in reports} <= {"complete", "in_doubt"}
    assert desk.titles() == ["welcome"]
    for run, state in town.runs():
        if state.status is not Status.COMPLETED:
            assert town.carried_on(desk, replace(job, fresh=False, run=run)).status == "completed"
    assert desk.titles() == ["welcome"]


@pytest.mark.parametrize("kind", ["key", "both", "reconcile"])
def test_a_run_that_a_living_process_drives_is_not_gone_on_with_by_another(town: Town, kind: Kind) -> None:
    """While the first is about to send its request, the second must not find that it did not happen, and send it."""
    go = town.folder / "go"
    desk, job = town.job(kind, files("first"), waits_at="sending", go=str(go))
    slow = town.drivers.start(job)
    deadline = time.monotonic() + 10
    while not (town.folder / "store").exists() or not any(state.claim for _, state in town.runs()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    town.drivers.live(replace(job, waits_at=""))
    go.touch()
    town.drivers.end(slow)
    assert desk.titles() == ["first"]


# --- at any moment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_killed_at_any_moment(town: Town, seed: int) -> None:
    """Six writes, some of which the service fails, and deaths from outside at whichever moments the seed picks."""
    chance = random.Random(seed)
    titles = [f"ticket {n // 2}" for n in range(6)]
    faults = {n: chance.choice(["503", "drop_before", "drop_after", "429"]) for n in range(2, 30, 3)}
    kind = KINDS[seed % len(KINDS)]
    desk, job = town.job(kind, files(*titles), faults=faults)
    deaths = []
    for _ in range(chance.randint(1, 3)):
        pid = town.drivers.start(job)
        deaths.append(chance.uniform(0, 0.2))
        time.sleep(deaths[-1])
        os.kill(pid, signal.SIGKILL)
        town.drivers.end(pid)
    print(f"seed {seed}: {kind}, killed after", *(f"{seconds:.3f} s" for seconds in deaths))  # noqa: T201
    assert town.carried_on(desk, job).status == "completed"
    require_exactly(desk, town.state(), *titles)
