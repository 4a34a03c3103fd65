"""How far leave reaches: a yes has its hour, guards look at every try, and nobody decides about what was not shown."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Answer, Budget, Policy, ScriptedModel, Transient, tool
from agentnb.errors import ConfigError, RunHeld
from agentnb.guards import GuardedCall, Ruling, ask, deny
from agentnb.log import Clock
from agentnb.plan import UnmetReference
from agentnb.runner import ended
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool
from tests.conftest import FakeClock
from tests.parts import NOTES, MemoryStore, add, answer, note, plan, step, verdict

DAYS_S = 3 * 86_400.0


@pytest.fixture(autouse=True)
def _no_notes() -> None:
    NOTES.clear()


def flaky(*guards: Any, made: list[str]) -> Tool:
    """A tool that cannot be taken back, and is out of order the first time."""

    @tool(effect="write", reversibility="irreversible", guards=guards)
    def send(text: str) -> None:
        """Send it.

        Args:
            text: what.
        """
        made.append(text)
        if len(made) == 1:
            raise Transient("the line is busy")

    return send


def test_a_yes_does_not_outlive_its_hour_in_a_wait(fake_clock: FakeClock) -> None:
    """Approved, tried once, stopped in the wait for the second try and resumed days later: it is asked about anew."""
    made: list[str] = []
    asked: list[str] = []

    def person(request: Any) -> Answer | None:
        asked.append(request.step)
        return Answer("approve", "ada") if len(asked) == 1 else None

    def stopped(_: float) -> None:
        raise KeyboardInterrupt

    store, clock = MemoryStore(), fake_clock.clock()
    options: dict[str, Any] = {"tools": [flaky(made=made)], "store": store, "approver": person, "clock": clock}
    options["budget"] = Budget(working_seconds=None)
    with pytest.raises(KeyboardInterrupt):
        Agent(ScriptedModel([plan(step("send", text="x"))]), sleep=stopped, **options).run("Send it.")
    fake_clock.sleep(DAYS_S)
    run = Agent(ScriptedModel([answer()]), **options).runs()[0].resume()
    assert (run.status, made, asked) == (Status.AWAITING_APPROVAL, ["x"], ["s1", "s1"])


@pytest.mark.parametrize("says", [deny, ask])
def test_guards_look_at_every_try(says: Callable[[str], Ruling]) -> None:
    """What was allowed at the first try and is not at the second is not made again."""
    made: list[str] = []

    def closed(_: GuardedCall) -> Ruling | None:
        return says("the till is closed") if made else None

    agent = Agent(
        ScriptedModel([plan(step("send", text="x")), plan(), answer()]),
        tools=[flaky(closed, made=made)],
        store=MemoryStore(),
        approver=lambda request: None if "the till is closed" in request.reasons else Answer("approve", "ada"),
        sleep=lambda _: None,
    )
    run = agent.run("Send it.")
    assert made == ["x"]
    assert run.status is (Status.COMPLETED if says is deny else Status.AWAITING_APPROVAL)


def test_nobody_extends_a_run_under_its_driver() -> None:
    """The second is told who drives it; nothing is recorded, and the driver goes on."""
    store = MemoryStore()
    told: list[str] = []

    @tool(effect="read")
    def look() -> int:
        """Look, while somebody wants to extend the run."""
        with pytest.raises(RunHeld) as held:
            Agent(ScriptedModel([]), tools=[look], store=store).runs()[0].extend(steps=5)
        told.append(str(held.value))
        return 1

    run = Agent(ScriptedModel([plan(step("look")), verdict(), answer()]), tools=[look], store=store).run("Look.")
    assert run.status is Status.COMPLETED
    assert "is being driven by process" in told[0]
    assert "budget_extended" not in [record.event.kind for record in run.events]


def test_a_coroutine_whose_time_is_up_does_not_act_later(store: DiskStore) -> None:
    """In a notebook, where a loop runs already, it has a thread of its own: it is cancelled there."""
    acted: list[int] = []

    @tool(effect="write", reversibility="full", timeout_s=0.2)
    async def send() -> None:
        """Send it, slowly."""
        await asyncio.sleep(0.6)
        acted.append(1)

    async def cell() -> Any:
        model = ScriptedModel([plan(step("send"))])
        return Agent(model, tools=[send], store=store, approve="auto").run("Send it.")

    run = asyncio.run(cell())
    time.sleep(0.8)
    assert (run.stop_reason, acted) == ("in_doubt", [])


def test_a_coroutine_given_up_before_its_thread_has_begun_never_acts(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that is busy: whoever comes late finds that nobody waits any more."""
    acted: list[int] = []
    run_at_once = threading.Thread.run

    def run_late(thread: threading.Thread) -> None:
        if thread.name == "agentnb-async-tool":
            time.sleep(0.3)
        run_at_once(thread)

    monkeypatch.setattr(threading.Thread, "run", run_late)

    @tool(effect="write", reversibility="full", timeout_s=0.1)
    async def send() -> None:
        """Send it."""
        acted.append(1)

    async def cell() -> Any:
        model = ScriptedModel([plan(step("send"))])
        return Agent(model, tools=[send], store=store, approve="auto").run("Send it.")

    run = asyncio.run(cell())
    assert ended(run.state.claim.key, within_s=10)
    assert (run.stop_reason, acted) == ("in_doubt", [])


def test_what_is_decided_is_what_was_shown(store: DiskStore) -> None:
    """I look at one call; a colleague answers it, and another one waits: my yes is not for that."""
    agent = Agent(
        ScriptedModel([plan(step("note", text="small")), plan(step("note", text="large")), answer()]),
        tools=[note],
        store=store,
    )
    mine = agent.run("Note it.")
    assert [item.args["text"] for item in mine.pending] == ["small"]
    theirs = agent.runs()[0]
    theirs.reject("not that")
    with pytest.raises(ConfigError, match="asks about another call by now"):
        mine.approve()
    assert NOTES == []
    assert [item.args["text"] for item in mine.pending] == ["large"]
    mine.approve()
    assert NOTES == ["large"]


def test_what_comes_of_an_action_keeps_its_place(store: DiskStore) -> None:
    """While it is carried out nobody else goes on with the run: its outcome would be lost."""
    told: list[str] = []

    @tool(effect="destructive")
    def wipe() -> int:
        """Wipe it, while somebody approves the run's question."""
        with pytest.raises(RunHeld) as held:
            Agent(ScriptedModel([answer()]), tools=[wipe, note], store=store).runs()[0].approve()
        told.append(str(held.value))
        return 7

    agent = Agent(
        ScriptedModel([plan(step("wipe"), step("note", text="x")), answer()]), tools=[wipe, note], store=store
    )
    run = agent.run("Wipe it, and note that.")
    run.execute()
    assert told
    assert [item.kind for item in run.pending] == ["approval"]
    assert run.approve().status is Status.COMPLETED


def test_a_dry_run_is_executed_whole_or_not_at_all(store: DiskStore) -> None:
    """Numbers and validators are for actions that wait; they are not dropped silently."""
    agent = Agent(ScriptedModel([plan(step("note", text="x")), answer()]), tools=[note], store=store)
    run = agent.run("Note it.", dry_run=True)
    for wrong in ({"which": 1}, {"validator": lambda _: True}, {"in_doubt": "done"}):
        which = [wrong.pop("which")] if "which" in wrong else []
        with pytest.raises(ConfigError, match="executed as a whole"):
            run.execute(*which, **wrong)  # type: ignore[arg-type]
    assert NOTES == []


def test_a_call_in_doubt_is_among_what_waits(store: DiskStore) -> None:
    """With what is known of it, also after a resume that changed nothing."""

    @tool(effect="write", reversibility="full")
    def send() -> None:
        """Lose the connection."""
        raise ConnectionResetError("gone")

    agent = Agent(ScriptedModel([plan(step("send"))]), tools=[send], store=store, approve="auto")
    run = agent.run("Send it.")
    for _ in range(2):
        (item,) = run.pending
        assert (item.kind, item.step, item.in_doubt) == ("doubt", "s1", "ConnectionResetError: gone")
        run.resume()


def test_many_results_are_read_in_one_pass(store: DiskStore) -> None:
    """And a step that there is not is an unmet reference, whatever it is called."""
    steps = [step("add", a=n, b=1) for n in range(8)]
    lines: list[Any] = [plan(*steps), *[verdict()] * 8, answer()]
    run = Agent(ScriptedModel(lines), tools=[add], store=store).run("Add.")
    assert [run.result(f"s{n + 1}") for n in range(8)] == [n + 1 for n in range(8)]
    for odd in ("bogus", "s0", "s99", "", "s-1", "s²"):
        with pytest.raises(UnmetReference):
            run.result(odd)


def test_a_guard_or_a_bell_that_exits_ends_no_run(store: DiskStore) -> None:
    """It is a user's code that failed: the guard denies, and the bell is not heard."""

    def exits(_: object) -> Any:
        raise SystemExit(1)

    @tool(effect="write", reversibility="full", guards=[exits])
    def send() -> None:
        """Send it."""

    run = Agent(ScriptedModel([plan(step("send")), plan(), answer()]), tools=[send], store=store).run("Send it.")
    assert run.status is Status.COMPLETED
    agent = Agent(ScriptedModel([plan(step("note", text="x"))]), tools=[note], store=store, notify=exits)
    assert agent.run("Note it.").status is Status.AWAITING_APPROVAL


def test_letters_that_are_typed_and_taken_back_are_not_kept(store: DiskStore) -> None:
    """The edit form asks at each of them whether it would do; only what is approved goes into the store."""

    def types(request: Any) -> Answer:
        for n in range(30):
            assert request.problems({"text": f"{n} " * 500}) == ()
        return Answer("approve", "ada")

    agent = Agent(ScriptedModel([plan(step("note", text="x")), answer()]), tools=[note], store=store, approver=types)
    size = Path(store.place, "journal", "cache.db").stat().st_size
    run = agent.run("Note it.")
    assert run.status is Status.COMPLETED
    assert not list(store._rows("SELECT key FROM Cache WHERE key >= 'b/' AND key < 'b0'", ()))
    assert Path(store.place, "journal", "cache.db").stat().st_size - size < 100_000


def test_where_silence_is_a_yes_a_late_word_still_counts(fake_clock: FakeClock) -> None:
    """Somebody was busy with the card: a no is a no."""

    def late(_: object) -> Answer:
        fake_clock.sleep(60)
        return Answer("reject", "ada", "not so")

    agent = Agent(
        ScriptedModel([plan(step("note", text="x")), plan(), answer()]),
        tools=[note],
        store=MemoryStore(),
        approve=Policy(auto_approve_after_s=30),
        approver=late,
        clock=Clock(wall=fake_clock.clock().wall, monotonic=fake_clock.clock().monotonic),
    )
    assert agent.run("Note it.").status is Status.COMPLETED
    assert NOTES == []


def test_the_driver_is_free_again_for_another_thread(store: DiskStore) -> None:
    """Held by the thread that drives it, and let go of at its end."""
    agent = Agent(ScriptedModel([plan(step("note", text="x")), answer()]), tools=[note], store=store)
    run = agent.run("Note it.")
    done: list[Status] = []
    thread = threading.Thread(target=lambda: done.append(run.approve().status))
    thread.start()
    thread.join(20)
    assert done == [Status.COMPLETED]
