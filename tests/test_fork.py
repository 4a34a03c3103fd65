"""A fork shares what was done and repeats none of it; what the other run did since is not done again unasked."""

from __future__ import annotations

import os
from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.budget import Budget
from agentnb.errors import ConfigError, RunConflict, RunHeld, RunNotFound, UnknownPrice
from agentnb.events import RunFinished, RunForked, RunResumed, ToolClaimed
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from agentnb.transitions import fold
from tests.parts import add, answer, broken, plan, step, verdict

SURE = {"non_empty": True}


class Office:
    """Tools that act, what they did, and what a person was asked."""

    def __init__(self, store: DiskStore, *replies: Any, **options: Any) -> None:
        self.sent: list[str] = []
        self.asked: list[ApprovalRequest] = []
        self.store, self.replies, self.options = store, replies, {"approve": "auto", **options}

    @property
    def tools(self) -> list[Tool]:
        @tool(effect="write", reversibility="full")
        def send(text: str) -> str:
            """Send a text.

            Args:
                text: what.
            """
            self.sent.append(text)
            return f"sent {text}"

        @tool(effect="write", reversibility="full", once_per=("text",))
        def send_once(text: str) -> str:
            """Send a text, once for ever.

            Args:
                text: what.
            """
            self.sent.append(text)
            return f"sent {text}"

        @tool(effect="destructive")
        def wipe(text: str) -> str:
            """Wipe it.

            Args:
                text: what.
            """
            return text

        return [add, broken, send, send_once, wipe]

    def ada(self, request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        self.asked.append(request)
        return Answer("approve", "ada")

    def agent(self, *replies: Any) -> Agent:
        return Agent(
            ScriptedModel([*(replies or self.replies), *[answer("done")] * 9]),
            tools=self.tools,
            store=self.store,
            approver=self.ada,
            **self.options,
        )

    def run(self, *steps: Step, **options: Any) -> Run:
        return self.agent().run("do it", plan=list(steps), **options)


def look(a: Any, b: Any = 0) -> Step:
    return Step(tool="add", args={"a": a, "b": b}, check=SURE)  # type: ignore[arg-type]


def send(text: str, name: str = "send") -> Step:
    return Step(tool=name, args={"text": text})


@pytest.fixture
def office(store: DiskStore) -> Office:
    return Office(store)


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_finished_steps_are_shared_and_neither_made_nor_paid_for_again(office: Office) -> None:
    """One argument is another from there on, and what rests on it follows."""
    it = office.run(look(1, 2), send("first"), look("$s1", 10), look("$s3", 100))
    before = list(office.store.read(it.id))
    fork = it.fork(at="s3", args={"b": 20})
    assert [fork.result(f"s{n}") for n in (1, 2, 3, 4)] == [3, "sent first", 23, 123]
    assert (office.sent, office.asked) == (["first"], [])
    assert fork.spent.tool_calls == 2
    assert fork.spent.tokens == it.spent.tokens  # an answer each
    assert fork.spent.seconds < 60
    assert (fork.status, it.result("s3")) == (Status.COMPLETED, 13)
    assert list(office.store.read(it.id)) == before
    assert "forked from" in repr(fork)


@pytest.mark.parametrize("at", ["s1", "s2", "s3", "s4", "answer"])
def test_at_each_place_the_fold_is_the_same_and_nothing_before_it_is_repeated(office: Office, at: str) -> None:
    """Nothing is changed, so the fork comes to the same results; what acts after the place is asked about."""
    it = office.run(look(1), send("a"), look("$s1", 1), send("b"))
    fork = it.fork(at)
    assert [o.result for o in fork.state.outcomes] == [o.result for o in it.state.outcomes]
    again = {"s1": ["a", "b"], "s2": ["a", "b"], "s3": ["b"], "s4": ["b"], "answer": []}[at]
    assert office.sent == ["a", "b", *again]
    assert [request.args["text"] for request in office.asked] == again
    said = f"{it.id}, from which this run was forked, has made or proposed exactly this call already"
    assert all(request.reasons == (said,) for request in office.asked)
    assert fold(office.store.read(fork.id)) == fork.state
    assert fork.diff(it).shared == {"answer": 4}.get(at, int(at[-1]) - 1 if at != "answer" else 4)


def test_the_same_write_meant_twice_is_asked_about_only_where_the_other_run_has_made_it(office: Office) -> None:
    """The plan means to send it twice; the run stopped before the second time."""
    office.options["budget"] = Budget(steps=3)
    it = office.run(send("x"), look(1), look(2), send("x"), look(3))
    assert (it.status, office.sent) == (Status.STOPPED, ["x"])
    fork = it.fork(budget=Budget(steps=9))
    assert (fork.status, office.sent, office.asked) == (Status.COMPLETED, ["x", "x"], [])
    assert fork.state.budget.steps == 9


def test_what_is_done_once_for_ever_is_not_done_by_a_fork(office: Office) -> None:
    """The ledger holds for all runs: the earlier result is given back, and nobody is asked."""
    it = office.run(look(1), send("x", "send_once"))
    fork = it.fork("s1")
    assert (office.sent, office.asked, fork.result("s2")) == (["x"], [], "sent x")


def test_what_may_have_acted_in_the_other_run_is_asked_about(store: DiskStore) -> None:
    """A call in doubt counts as made."""
    lost: list[str] = []

    @tool(effect="write", reversibility="full")
    def post(text: str) -> str:
        """Post it.

        Args:
            text: what.
        """
        lost.append(text)
        raise ConnectionResetError if len(lost) == 1 else RuntimeError

    asked: list[Request] = []

    def nobody(request: Request) -> None:
        asked.append(request)

    agent = Agent(ScriptedModel([answer()]), tools=[post], store=store, approve="auto", approver=nobody)
    it = agent.run("x", plan=[Step(tool="post", args={"text": "x"})])
    assert it.stop_reason == "in_doubt"
    fork = it.fork("s1")
    assert fork.status is Status.AWAITING_APPROVAL
    assert lost == ["x"]
    assert isinstance(asked[-1], ApprovalRequest)
    assert "exactly this call" in asked[-1].reasons[0]


def test_what_the_other_run_was_allowed_and_what_waits_in_its_queue_stays_with_it(store: DiskStore) -> None:
    """An allowance was given to that run; its proposals are carried out once, from there."""
    office = Office(store, approve="ask")
    office.ada = lambda request: office.asked.append(request) or Answer("approve", "ada", allow=True)  # type: ignore[method-assign, func-returns-value, arg-type]
    it = office.run(send("a"), Step(tool="wipe", args={"text": "x"}), send("b"), look(1))
    assert len(office.asked) == 1
    fork = it.fork("s3")
    assert len(office.asked) == 2
    assert [item.tool for item in it.pending] == ["wipe"]
    assert fork.pending == ()


# --- what is changed --------------------------------------------------------------------------------------------------


def test_a_plan_of_ones_own_takes_the_place_of_what_was_left(office: Office) -> None:
    """Its steps are numbered on, and may refer to what is shared."""
    it = office.run(look(1, 2), look(5), send("no"))
    fork = it.fork("s2", plan=[{"tool": "add", "args": {"a": "$s1", "b": 1}, "check": SURE}, send("yes")])
    assert [step.id for step in fork.plan.steps] == ["s1", "s2", "s3"] if fork.plan else False
    assert fork.result("s2") == 4
    assert office.sent == ["no", "yes"]
    assert "s2 was changed, in a fork of" in repr(fork)


def test_a_models_plan_that_was_changed_can_still_be_revised(store: DiskStore) -> None:
    """One argument is a person's; the plan stays the planner's."""
    first = plan(step("add", a=1, b=2), step("add", a=3, b=4))
    office = Office(store, first, verdict(), verdict(), answer())
    it = office.agent().run("add")
    again = office.agent(verdict("revise"), plan(step("add", a=9, b=9)), verdict(), answer("new"))
    fork = again.fork(it.id, "s2", args={"a": 30})
    assert (fork.result("s2"), fork.result("s3"), fork.output) == (34, 18, "new")


def test_all_is_planned_anew_or_only_the_answer_written(store: DiskStore) -> None:
    """By another model, which is recorded."""
    office = Office(store, plan(step("add", a=1, b=2)), verdict(), answer("one"))
    it = office.agent().run("add")
    other = ScriptedModel([answer("two")], ref="scripted:other")
    told = it.fork("answer", model=other)
    assert (told.output, told.result("s1"), told.state.head.model) == ("two", 3, "scripted:other")
    anew = office.agent(plan(step("add", a=5, b=5)), verdict(), answer("three")).fork(it.id, "plan")
    assert (anew.result("s1"), anew.output) == (10, "three")
    assert anew.state.head.cheap_model == "scripted"


def test_a_step_that_failed_is_tried_with_other_arguments(store: DiskStore) -> None:
    """The last time that the step was about to begin counts, under whichever version of the plan."""
    office = Office(store, plan(step("broken")), plan(step("add", a=1, b=1)), verdict(), answer())
    it = office.agent().run("try")
    assert [o.status for o in it.state.outcomes] == ["failed", "ok"]
    fork = office.agent(answer("mended")).fork(it.id, "s1", plan=[look(7)])
    assert (fork.result("s1"), fork.output) == (7, "mended")
    assert office.agent(verdict(), answer()).fork(it.id, 2, args={"a": 2}).result("s2") == 3


def test_a_fork_is_forked_and_resumed_like_any_run(office: Office) -> None:
    """In a fresh agent, and with checkpoints or without."""
    office.options["budget"] = Budget(steps=3)
    it = office.run(look(1), look("$s1", 1), look("$s2", 1), look("$s3", 1))
    assert it.stop_reason == "steps"
    fork = it.fork("s2", args={"b": 5}, budget=Budget(steps=1))
    assert (fork.stop_reason, fork.result("s2")) == ("steps", 6)
    same = office.agent().runs()[0]
    assert same.extend(steps=5).result("s4") == 8
    twice = same.fork("s4", args={"b": 0})
    assert (twice.result("s4"), twice.result("s2")) == (7, 6)
    assert isinstance(twice.state.fork, RunForked)
    assert twice.state.fork.origin == same.id


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "changed", "said"),
    [
        ("s9", {}, "cannot be forked at 's9': it can at plan, s1, s2, answer"),
        (7, {}, "cannot be forked at 's7'"),
        ("s2", {"args": {"b": 1}, "plan": []}, "give one of them"),
        ("answer", {"args": {"b": 1}}, "answer has no arguments: name the step"),
        ("s2", {"args": {"c": 1}}, "s2 add: .*'c'"),
        ("s2", {"args": {"b": "$s3"}}, "s2 needs s3, which no step gives"),
        ("s2", {"plan": [{"tool": "fly"}]}, "there is no tool 'fly'"),
        ("s2", {"plan": ["x"]}, "step 1 of the plan is not one: [^:]*$"),
        ("s2", {"plan": "x"}, "plan='x' is no list of steps: give"),
        ("s2", {"args": ["x"]}, r"args=\['x'\] is no mapping: give"),
        ("s2", {"budget": 5}, "budget=5 is not a Budget: give"),
        ("s2", {"budget": {"steps": 2}}, r"budget={'steps': 2} is not a Budget: give"),
        ("s2", {"model": 17}, "17 is no model: models are named"),
        ("s2", {"arg": {"b": 1}}, r"a fork takes no arg=: did you mean args=\?"),
        ("s2", {"bogus": 1}, "a fork takes no bogus=: there are args=, plan=, budget=, model=, cheap_model="),
        (2.5, {}, "cannot be forked at 2.5: it can at plan, s1"),
    ],
)
def test_what_cannot_be_carried_out_is_one_clear_error_and_nothing_is_recorded(
    store: DiskStore, at: Any, changed: Any, said: str
) -> None:
    """It names the places that there are, or all that is wrong."""
    office = Office(store, plan(step("add", a=1, b=2), step("add", a=1, b=3)), verdict(), verdict(), answer())
    it = office.agent().run("x")
    with pytest.raises(ConfigError, match=said):
        it.fork(at, **changed)
    assert store.runs() == [it.id]


def test_the_execution_of_a_dry_run_is_not_forked(office: Office) -> None:
    """It does exactly what was shown, or nothing."""
    dry = office.run(look(1), send("x"), dry_run=True)
    done = dry.execute()
    with pytest.raises(ConfigError, match="fork the dry run"):
        done.fork("s1")
    fork = dry.fork("s1")
    assert fork.state.head.dry
    assert office.sent == ["x"]


def test_an_unknown_run_an_unknown_price_and_a_missing_tool(office: Office) -> None:
    """As of any run."""
    it = office.run(look(1), send("x"))
    with pytest.raises(RunNotFound):
        office.agent().fork("r9-heron")
    with pytest.raises(UnknownPrice):
        it.fork("s2", budget=Budget(usd=1), model=ScriptedModel([], ref="someone:else"))
    bare = Agent(ScriptedModel([answer()]), tools=[add], store=office.store)
    with pytest.raises(ConfigError, match="there is no tool 'send'"):
        bare.fork(it.id, "s2")
    assert bare.fork(it.id, "s1", plan=[look(4)]).result("s1") == 4


def test_a_run_that_is_under_way_elsewhere_can_be_forked(office: Office) -> None:
    """A fork only reads."""
    session = office.agent().begin("x", plan=[look(1), look(2), look(3)])
    for record in session:
        if isinstance(record.event, ToolClaimed) and record.event.step == "s2":
            break
    fork = office.agent().runs()[0].fork("s2", args={"b": 5})
    session.suspend()
    assert (fork.result("s1"), fork.result("s2")) == (1, 7)


def test_a_run_that_was_cancelled_elsewhere_is_forked_while_its_driver_still_waits(office: Office) -> None:
    """Its last call has not come back; whoever has cancelled it is not taken for who drives it."""
    forks: list[Run] = []

    @tool(effect="read")
    def slow() -> int:
        """Be cancelled from elsewhere, and forked there."""
        forks.append(office.agent().runs()[0].cancel("enough").fork("s2", plan=[look(5)]))
        return 1

    agent = Agent(ScriptedModel([]), tools=[add, slow], store=office.store)
    with pytest.raises(RunConflict, match="was cancelled from another kernel or process while it was driven here"):
        agent.run("x", plan=[look(1), Step(tool="slow", check=SURE)])  # type: ignore[arg-type]
    [fork] = forks
    assert (fork.status, fork.result("s1"), fork.result("s2")) == (Status.COMPLETED, 1, 5)
    origin = office.agent().runs()[1]
    ends = [record.event for record in origin.events if isinstance(record.event, (RunResumed, RunFinished))]
    assert [end.kind for end in ends] == ["run_resumed", "run_finished"]
    assert isinstance(ends[0], RunResumed)
    assert ends[0].process == 0


def test_who_drives_a_run_is_told_from_who_has_cancelled_it(office: Office) -> None:
    """The number that is named is that of the process to be waited for."""
    driving = office.agent().begin("x", plan=[look(1)])
    it = office.agent().runs()[0].cancel()
    with pytest.raises(RunHeld, match=f"is being driven by process {os.getpid()} since"):
        office.agent().resume(it.id)
    driving.suspend()
