"""The cell's thread and the worker: who waits for whom, and what an interrupt leaves at each moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from agentnb import Agent, ScriptedModel, tool
from agentnb.events import (
    Event,
    ModelAsked,
    ModelReplied,
    PlanMade,
    Record,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolReturned,
)
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.scripted import harmless
from agentnb.notebook.panel import Panel
from agentnb.notebook.pump import Pump, ask_in_cell, run_in_cell
from agentnb.session import Session
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.parts import NOTES, answer, note, plan, step, verdict

LONG_S = 20


class Presses(Panel):
    """A panel on which somebody presses ■ at one moment: when an event of a kind is seen, or when it is refreshed."""

    def __init__(self, at: type | None = None, when: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._at, self._when = at, when

    def add(self, record: Record) -> None:
        if self._at and isinstance(record.event, self._at):
            raise KeyboardInterrupt

    def refresh(self, *, urgent: bool = False) -> None:
        if not urgent and self._when():
            raise KeyboardInterrupt


class ByPhase:
    """A model that always plans one note and is content with it; it does not mind being asked again."""

    ref = "by-phase"

    def ask(self, request: ModelRequest) -> ModelReply:
        replies = dict([plan(step("note", text="a")), answer()])
        line = harmless(request) if request.phase == "assess" else replies[request.phase]
        return ScriptedModel([(request.phase, line)], ref=self.ref).ask(request)


def agent_of(store: DiskStore, *lines: Any, model: Any = None, approve: Any = "auto") -> Agent:
    NOTES.clear()
    it = model or ScriptedModel(lines)
    return Agent(it, store=store, tools=[note], approve=approve, runner=run_in_cell, approver=ask_in_cell)


def stopped(session: Session, panel: Panel) -> None:
    with pytest.raises(KeyboardInterrupt):
        Pump(session, panel, "none").drive()
    assert session.state.status is Status.SUSPENDED


def last(store: DiskStore, session: Session) -> Event:
    return store.last(session.log.run).event


def test_a_call_that_was_announced_and_not_made_is_withdrawn(store: DiskStore) -> None:
    """■ before the tool is reached leaves no doubt: resuming makes the call, once."""
    agent = agent_of(store, plan(step("note", text="a")), answer())
    session = agent.begin("Note.")
    stopped(session, Presses(at=ToolClaimed))
    assert NOTES == []
    assert last(store, session) == RunSuspended(reason="interrupted", withdrawn=True)
    assert agent.resume(session.log.run).status is Status.COMPLETED
    assert NOTES == ["a"]


def test_a_tool_that_has_returned_is_not_in_doubt(store: DiskStore) -> None:
    """■ between a tool's return and its record waits for the record."""
    agent = agent_of(store, model=ByPhase())
    session = agent.begin("Note.")
    with pytest.raises(KeyboardInterrupt):
        Pump(session, Presses(when=lambda: bool(NOTES)), "none").drive()
    assert agent.resume(session.log.run).status is Status.COMPLETED
    assert NOTES == ["a"]


def test_an_old_claim_in_doubt_stays_in_doubt(store: DiskStore) -> None:
    """A write that an earlier process began is never taken for one that was not made."""

    class Killed(BaseException):
        """The end of a process."""

    @tool(effect="write", reversibility="full")
    def note(text: str) -> int:
        """Keep a note."""
        raise KeyboardInterrupt(text)

    agent = agent_of(store, plan(step("note", text="a")), answer())
    agent.tools["note"] = note
    session = agent.begin("Note.")
    stopped(session, Presses())
    again = agent.reopen(session.log.run)
    with pytest.raises(KeyboardInterrupt):
        Pump(again, Presses(when=lambda: True), "none").drive()
    assert again.state.claim is not None


@pytest.mark.parametrize("at", [ModelAsked, ModelReplied, PlanMade, ToolClaimed, ToolReturned, StepJudged])
def test_an_interrupt_at_any_record_can_be_resumed(store: DiskStore, at: type) -> None:
    """Whatever the worker was about to do, the run goes on, and the tool has acted once."""
    agent = agent_of(store, model=ByPhase())
    session = agent.begin("Note.")
    with pytest.raises(KeyboardInterrupt):
        Pump(session, Presses(at=at), "none").drive()
    assert agent.resume(session.log.run).status is Status.COMPLETED
    assert NOTES == ["a"]


def test_an_abandoned_worker_changes_nothing(store: DiskStore) -> None:
    """A model that answers after its cell has ended is not heard: no record, no tool call."""
    reached, answered = threading.Event(), threading.Event()
    script = ScriptedModel([plan(step("note", text="a"))], ref="slow")

    class Slow:
        """A model that answers when it is told to, whoever has stopped waiting for it."""

        ref = "slow"

        def ask(self, request: ModelRequest) -> ModelReply:
            reached.set()
            assert answered.wait(LONG_S)
            return script.ask(request)

    agent = agent_of(store, model=Slow())
    session = agent.begin("Note.")
    stopped(session, Presses(when=reached.is_set))
    before = list(store.read(session.log.run))
    (worker,) = [thread for thread in threading.enumerate() if thread.name == f"agentnb-{session.log.run}"]
    answered.set()
    worker.join(LONG_S)
    assert not worker.is_alive()
    assert list(store.read(session.log.run)) == before
    assert NOTES == []


def test_a_broken_panel_does_not_leave_the_run_behind(store: DiskStore) -> None:
    """Whatever goes wrong on the cell's thread, the run is suspended and the worker let go."""

    class Broken(Panel):
        def add(self, record: Record) -> None:
            raise RuntimeError(record.event.kind)

    session = agent_of(store, plan(step("note", text="a"))).begin("Note.")
    with pytest.raises(RuntimeError):
        Pump(session, Broken(), "none").drive()
    assert session.state.status is Status.SUSPENDED
    assert session.state.suspended
    assert session.state.suspended.reason == "closed"


def test_a_question_left_without_an_answer_still_waits_for_one(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """■ at the question suspends the run as one that waits for approval, and approving it later goes on."""

    def pressed(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", pressed)
    agent = agent_of(store, plan(step("note", text="a")), answer(), approve="ask")
    session = agent.begin("Note.")
    with pytest.raises(KeyboardInterrupt):
        Pump(session, Presses(), "stdin").drive()
    assert last(store, session) == RunSuspended(reason="approval", detail="s1 note waits for a person")
    (run,) = agent.runs()
    assert run.status is Status.AWAITING_APPROVAL
    assert run.approve().status is Status.COMPLETED
    assert NOTES == ["a"]


def test_a_front_end_that_fails_has_not_answered(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that is shut down takes its sockets away first: the question waits for the next one, undecided."""

    def gone(_: str) -> str:
        raise OSError("the socket is closed")

    monkeypatch.setattr("builtins.input", gone)
    agent = agent_of(store, plan(step("note", text="a")), answer(), approve="ask")
    session = agent.begin("Note.")
    Pump(session, Presses(), "stdin").drive()
    assert session.state.status is Status.AWAITING_APPROVAL
    (run,) = agent.runs()
    assert run.approve().status is Status.COMPLETED
    assert NOTES == ["a"]


def test_an_approver_of_the_users_that_fails_denies(store: DiskStore) -> None:
    """It is code that was to decide, and nobody else is asked in its place."""

    def broken(_: object) -> Any:
        raise OSError("the directory of approvers is down")

    agent = agent_of(store, plan(step("note", text="a")), answer(), approve="ask")
    session = agent.begin("Note.")
    Pump(session, Presses(), "stdin", approver=broken).drive()
    assert NOTES == []
    assert "directory of approvers" in session.state.outcomes[0].message


def test_tools_run_on_the_thread_that_drives(store: DiskStore) -> None:
    """And models on another."""
    threads: dict[str, str] = {}

    @tool(effect="read")
    def where() -> str:
        """Where it runs."""
        threads["tool"] = threading.current_thread().name
        return threads["tool"]

    def line(_: ModelRequest) -> Any:
        threads["model"] = threading.current_thread().name
        return plan(step("where"))[1]

    agent = agent_of(store, line, verdict(), answer())
    agent.tools["where"] = where
    session = agent.begin("Where?")
    Pump(session, Presses(), "none").drive()
    assert threads["tool"] == threading.current_thread().name
    assert threads["model"] == f"agentnb-{session.log.run}"


def test_without_a_cell_tools_run_here_and_nobody_is_asked(store: DiskStore) -> None:
    """The runner and the approver of a cell's agent work in plain Python too: a write waits for `Run.approve`."""
    run = agent_of(store, plan(step("note", text="a")), answer(), approve="ask").run("Note.")
    assert run.status is Status.AWAITING_APPROVAL
    assert run.approve().status is Status.COMPLETED
    assert NOTES == ["a"]
