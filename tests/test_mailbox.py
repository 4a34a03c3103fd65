"""Answers from elsewhere: the one who blocks sees it, the second one is told, and an old one is used for nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agentnb import Agent, Budget, ScriptedModel, tool
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.errors import ConfigError, DamagedRecord
from agentnb.events import ApprovalAnswered
from agentnb.mailbox import post, posted
from agentnb.policy import Policy
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.conftest import FakeClock
from tests.parts import NOTES, add, answer, note, plan, step, verdict


@pytest.fixture(autouse=True)
def no_notes() -> None:
    NOTES.clear()


class Waiting:
    """An approver who blocks and looks into the mailbox, as a card does.

    Args:
        store: where the run is kept.
        gives_up_s: seconds after which nobody has answered.
    """

    def __init__(self, store: DiskStore, gives_up_s: float = 20) -> None:
        self.store, self.gives_up_s = store, gives_up_s
        self.asked = threading.Semaphore(0)
        self.requests: list[ApprovalRequest] = []

    def __call__(self, request: Request) -> Answer | None:
        assert isinstance(request, ApprovalRequest)
        self.requests.append(request)
        place = Agent(ScriptedModel([]), store=self.store).runs()[0].state.asked_at
        self.asked.release()
        until = time.monotonic() + self.gives_up_s
        while time.monotonic() < until:
            if found := posted(self.store, request.run, place):
                return found
            time.sleep(0.01)
        return None


class Driven:
    """A run that a thread of its own drives, and that waits for somebody."""

    def __init__(self, store: DiskStore, *lines: Any, tools: Any = (note, add), **options: Any) -> None:
        self.store, self.approver = store, Waiting(store)
        self.model = ScriptedModel(lines)
        self.agent = Agent(self.model, tools=tools, store=store, approver=self.approver, **options)
        self.thread = threading.Thread(target=self._run)
        self.error: BaseException | None = None
        self.thread.start()

    def _run(self) -> None:
        try:
            self.agent.run("x")
        except BaseException as error:  # noqa: BLE001 - shown by `ended`
            self.error = error

    def elsewhere(self) -> Run:
        """The run as another agent sees it, once a person is asked."""
        assert self.approver.asked.acquire(timeout=20)
        return Agent(ScriptedModel([]), tools=[note, add], store=self.store).runs()[0]

    def ended(self) -> Run:
        """The run once its thread has ended."""
        self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.error is None, self.error
        return Agent(ScriptedModel([]), tools=[note, add], store=self.store).runs()[0]


def answers_of(run: Run) -> list[ApprovalAnswered]:
    """What was decided in the run, in order."""
    return [r.event for r in run.events if isinstance(r.event, ApprovalAnswered)]


def test_an_answer_from_another_thread_lets_the_call(store: DiskStore) -> None:
    """The one who drives takes it in; the one who answered did not drive anything."""
    driven = Driven(store, plan(step("note", text="x")), answer())
    other = driven.elsewhere()
    assert other.status is Status.IN_PROGRESS
    other.approve(by="bob")
    it = driven.ended()
    assert (NOTES, it.status, answers_of(it)[0].by) == (["x"], Status.COMPLETED, "bob")


def test_the_second_answer_is_told_so(store: DiskStore) -> None:
    """Whatever it says, and whoever gives it: the first counts."""
    driven = Driven(store, plan(step("note", text="x")), plan(step("add", a=1, b=1)), verdict(), answer())
    other = driven.elsewhere()
    driven.approver.gives_up_s = 0
    other.reject("no", by="bob")
    ways: list[Callable[[], object]] = [other.approve, lambda: other.edit({"text": "y"}), lambda: other.reject("never")]
    for late in ways:
        with pytest.raises(ConfigError, match=r"answered already|nothing in .* waits"):
            late()
    it = driven.ended()
    assert (NOTES, [a.by for a in answers_of(it)]) == ([], ["bob"])


def test_an_edit_from_elsewhere_is_checked_there_and_made_here(store: DiskStore) -> None:
    """With the arguments that it names changed, and literal."""
    driven = Driven(store, plan(step("note", text="x")), answer())
    other = driven.elsewhere()
    with pytest.raises(ConfigError, match="cannot be called so"):
        other.edit({"txt": "y"})
    other.edit({"text": "$s1"}, by="bob")
    it = driven.ended()
    assert (NOTES, it.status, answers_of(it)[0].decision) == (["$s1"], Status.COMPLETED, "edit")


def test_several_calls_are_answered_from_elsewhere_by_their_numbers(store: DiskStore) -> None:
    """Two of three; the third is asked about when it comes."""
    texts = [step("note", text=text) for text in ("a", "b", "c")]
    driven = Driven(store, plan(*texts), answer())
    other = driven.elsewhere()
    assert [item.step for item in other.pending] == ["s1", "s2", "s3"]
    other.approve(1, 3, by="bob")
    other = driven.elsewhere()
    assert [item.step for item in other.pending] == ["s2"]
    other.approve(by="bob")
    assert (driven.ended().status, NOTES) == (Status.COMPLETED, ["a", "b", "c"])


def test_a_mail_for_an_earlier_question_is_used_for_no_later_one(store: DiskStore) -> None:
    """It stays under the number of its question, and the next question waits."""
    driven = Driven(store, plan(step("note", text="a"), step("note", text="a")), answer())
    other = driven.elsewhere()
    place = other.state.asked_at
    other.approve(by="bob")
    other = driven.elsewhere()
    assert other.state.asked_at > place
    assert post(store, other.id, place, Answer("approve", "eve")) is False
    assert posted(store, other.id, other.state.asked_at) is None
    time.sleep(0.1)
    assert NOTES == ["a"]
    other.reject("enough", by="bob")
    driven.thread.join(20)
    assert NOTES == ["a"]


def test_an_answer_left_for_a_driver_that_died_is_taken_in_by_the_next(store: DiskStore) -> None:
    """In time it counts, and nobody is asked again."""

    def dies(_: Request) -> Answer | None:
        Agent(ScriptedModel([]), tools=[note], store=store).runs()[0].approve(by="bob")
        raise KeyboardInterrupt

    model = ScriptedModel([plan(step("note", text="x")), answer()])
    with pytest.raises(KeyboardInterrupt):
        Agent(model, tools=[note], store=store, approver=dies).run("x")
    it = Agent(model, tools=[note], store=store).runs()[0]
    with pytest.raises(ConfigError, match="answered already"):
        it.reject("no")
    it.resume()
    assert (NOTES, it.status, answers_of(it)[0].by) == (["x"], Status.COMPLETED, "bob")


def test_a_yes_that_nobody_took_in_before_its_time_was_up_is_none(store: DiskStore, fake_clock: FakeClock) -> None:
    """The run ends with that, and does not stumble over it again and again."""
    policy = Policy(answer_within_s=60)
    options: dict[str, Any] = {"tools": [note], "store": store, "approve": policy, "clock": fake_clock.clock()}

    def dies(_: Request) -> Answer | None:
        Agent(ScriptedModel([]), **options).runs()[0].approve(by="bob")
        raise KeyboardInterrupt

    model = ScriptedModel([plan(step("note", text="x")), answer()])
    with pytest.raises(KeyboardInterrupt):
        Agent(model, approver=dies, **options).run("x")
    fake_clock.sleep(61)
    it = Agent(model, **options).runs()[0].resume()
    assert (NOTES, it.status, it.stop_reason) == ([], Status.STOPPED, "escalated")
    assert "nobody answered within 60 s" in it.detail


def test_nobody_is_told_yes_where_the_time_is_up(store: DiskStore, fake_clock: FakeClock) -> None:
    """Also of a run that is being driven: the answer would be used for nothing."""
    options: dict[str, Any] = {"tools": [note], "store": store, "clock": fake_clock.clock()}
    said: list[str] = []

    def late(_: Request) -> Answer | None:
        fake_clock.sleep(61)
        try:
            Agent(ScriptedModel([]), **options).runs()[0].approve(by="bob")
        except ConfigError as error:
            said.append(str(error))
        return None

    model = ScriptedModel([plan(step("note", text="x")), answer()])
    it = Agent(model, approver=late, approve=Policy(answer_within_s=60), **options).run("x")
    assert (NOTES, it.status) == ([], Status.STOPPED)
    assert "waited until its time was up" in said[0]


def test_an_answer_from_another_process_lets_the_call(store: DiskStore) -> None:
    """A fresh interpreter, with nothing but the store and the tool by name."""
    driven = Driven(store, plan(step("note", text="x")), answer())
    driven.elsewhere()
    code = f"""
    from agentnb import Agent, ScriptedModel
    from tests.parts import note
    run = Agent(ScriptedModel([]), tools=[note], store={store.place!r}).runs()[0]
    print(run.pending[0])
    run.approve(by="the other process")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == '1. approval s1: note(text="x")', done.stderr
    it = driven.ended()
    assert (NOTES, answers_of(it)[0].by) == (["x"], "the other process")


def test_what_is_asked_in_a_run_says_nothing_of_another(store: DiskStore) -> None:
    """Two runs that wait at the same record are two questions."""
    options: dict[str, Any] = {"tools": [note], "store": store, "budget": Budget(tokens=None)}
    model = ScriptedModel([plan(step("note", text="a")), plan(step("note", text="b")), answer()])
    first, second = (Agent(model, **options).run("x") for _ in range(2))
    assert first.state.asked_at == second.state.asked_at
    assert post(store, first.id, first.state.asked_at, Answer("approve", "ada"))
    second.resume()
    assert (second.status, NOTES) == (Status.AWAITING_APPROVAL, [])
    first.resume()
    assert NOTES == ["a"]


def test_an_answer_keeps_all_that_it_says(store: DiskStore) -> None:
    """Every field, and nothing twice."""
    said = Answer("edit", "ada", "too loud", {"text": "é\u2028", "n": [1, None]}, allow=True, others={"b": False})
    assert post(store, "r1-x", 7, said)
    assert not post(store, "r1-x", 7, Answer("approve", "eve"))
    assert (posted(store, "r1-x", 7), posted(store, "r1-x", 70), posted(store, "r1", 7)) == (said, None, None)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"decision": "approve"', '{"decision": "approve", "who": "eve"}'])
def test_a_mail_that_cannot_be_read_approves_nothing(store: DiskStore, text: str) -> None:
    """Somebody has written into the store: the run says so, and nothing is called."""
    model = ScriptedModel([plan(step("note", text="x"))])
    it = Agent(model, tools=[note], store=store).run("x")
    store.add_row(f"a/{it.id}/{it.state.asked_at:010d}", text)
    with pytest.raises(DamagedRecord, match="the answer to record"):
        it.resume()
    assert NOTES == []


def test_an_approver_that_answers_while_a_mail_lies_there_is_one_answer(store: DiskStore) -> None:
    """Two answers at once are one decision in the journal, and the call is made once or not at all."""

    @tool(effect="write", reversibility="full")
    def send(text: str) -> None:
        """Send.

        Args:
            text: what.
        """
        NOTES.append(text)

    def both(_: Request) -> Answer | None:
        Agent(ScriptedModel([]), tools=[send], store=store).runs()[0].approve(by="bob")
        return Answer("approve", "ada")

    model = ScriptedModel([plan(step("send", text="x"), step("send", text="x")), answer()])
    it = Agent(model, tools=[send], store=store, approver=both).run("x")
    assert (NOTES, len(answers_of(it))) == (["x", "x"], 2)
