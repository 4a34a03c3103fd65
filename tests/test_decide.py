"""The policy walked through its states: whatever a model, a tool or a person does, the run stays legal and ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.budget import Budget, Spent, Usage
from agentnb.decide import (
    Action,
    AskPerson,
    BindArgs,
    CallTool,
    Critique,
    HandOver,
    MakePlan,
    Note,
    WriteAnswer,
    decide,
    finished_by_model,
    kept_back,
)
from agentnb.errors import FailureClass, IllegalTransition
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ArgsBound,
    Event,
    GateRaised,
    Kept,
    LimitReached,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    PlanMade,
    Record,
    ReplyRejected,
    RunFinished,
    RunResumed,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolFacts,
    ToolRefused,
    ToolReturned,
)
from agentnb.plan import Step, numbered
from agentnb.state import LEGAL, NEW, RunState, Stage, Status, apply, fold
from agentnb.trail import Trail

TOOLS = {
    "look": ToolFacts("read", "full", "a"),
    "note": ToolFacts("write", "full", "b"),
    "send": ToolFacts("write", "irreversible", "c"),
}
WHY = st.sampled_from(["", "no such column", "x" * 50])


class Walk:
    """A run whose models, tools and people do whatever hypothesis draws."""

    def __init__(self, draw: st.DrawFn, state_of_tools: dict[str, ToolFacts]) -> None:
        self.draw = draw
        self.records: list[Record] = []
        self.state: RunState = NEW
        approve: Any = draw(st.sampled_from(["ask", "deny", "auto"]))
        budget = Budget(
            steps=draw(st.integers(1, 12)),
            tool_calls=draw(st.one_of(st.none(), st.integers(1, 12))),
            tokens=5_000,
            working_seconds=60,
        )
        self.add(
            RunStarted(
                run="r1", task="t", model="m", cheap_model="m", tools=state_of_tools, budget=budget, approve=approve
            )
        )

    def add(self, event: Event) -> None:
        seconds = self.draw(st.floats(0, 2))
        record = Record(len(self.records), 1e9, self.state.t + seconds, event)
        self.state = apply(self.state, record)
        self.records.append(record)

    def ask_model(self, phase: Any) -> bool:
        """True where a reply came."""
        kind = self.draw(st.sampled_from(["reply", "reply", "reply", "cached", "failed", "limit"]))
        step = self.state.step.id if self.state.step and phase in ("bind", "critique") else ""
        if kind == "cached":
            self.add(
                ModelCached(
                    phase=phase, model="m", key="k", text=Kept(2, "{}"), usage=Usage(10, 5), saved_usd=0.1, step=step
                )
            )
            return True
        if kind == "limit":
            self.add(LimitReached(limit="tokens", needed=9, left=1, cap=10, phase=phase))
            return False
        reserved = Spent(usd=0.5, input_tokens=100, output_tokens=50, model_calls=1)
        self.add(ModelAsked(phase=phase, model="m", key="k", attempt=1, reserved=reserved, step=step))
        if self.draw(st.integers(0, 9)) == 0:  # the process dies here, or a person stops it
            self.rest(withdrawn=self.draw(st.booleans()))
            return False
        if kind == "failed":
            self.add(
                ModelFailed(failure=FailureClass.TRANSIENT, message="x", seconds=1, unbilled=self.draw(st.booleans()))
            )
            self.add(RunSuspended(reason="model_failed", detail="x"))
            return False
        self.add(ModelReplied(text=Kept(2, "{}"), usage=Usage(90, 40), usd=0.1, seconds=1, stop="end", model="m"))
        return True

    def rest(self, *, withdrawn: bool = False) -> None:
        if self.draw(st.booleans()):
            self.add(RunSuspended(reason="closed", withdrawn=withdrawn))
        self.add(RunResumed(process=2))  # with no suspension before it: a crash

    def perform(self, action: Action) -> None:
        match action:
            case Note(event):
                self.add(event)
            case MakePlan():
                if self.ask_model("plan"):
                    self.plan()
            case BindArgs():
                if self.ask_model("bind"):
                    self.bind()
            case AskPerson():
                self.person()
            case CallTool():
                self.call()
            case Critique():
                if self.ask_model("critique"):
                    self.judge()
            case WriteAnswer():
                if self.ask_model("answer"):
                    self.answer()
            case HandOver(status, reason, detail):
                self.add(RunFinished(status=status, reason=reason, detail=detail, by="rule"))

    def bad_reply(self, phase: Any) -> bool:
        if self.draw(st.integers(0, 3)) == 0:
            step = self.state.step.id if self.state.step else ""
            self.add(ReplyRejected(phase=phase, problems=("wrong",), step=step))
            return True
        return False

    def plan(self) -> None:
        if self.bad_reply("plan"):
            return
        keep = len(self.state.outcomes)
        tools = self.draw(st.lists(st.sampled_from(list(TOOLS)), max_size=4))
        args: list[dict[str, Any]] = [self.draw(st.sampled_from([{}, {"a": "$? fill"}, {"a": 1}])) for _ in tools]
        steps = numbered([Step(tool=t, args=a) for t, a in zip(tools, args, strict=True)], after=keep)
        version = self.state.plan.version + 1 if self.state.plan else 1
        by: Any = self.draw(st.sampled_from(["model", "user"])) if version == 1 else "model"
        self.add(PlanMade(version=version, keep=keep, steps=steps, reason="r", by=by))

    def bind(self) -> None:
        if not self.bad_reply("bind"):
            self.add(ArgsBound(step=self.step.id, args=Kept(7, '{"a":1}')))

    @property
    def step(self) -> Step:
        assert self.state.step is not None
        return self.state.step

    def person(self) -> None:
        if self.draw(st.integers(0, 5)) == 0:
            self.add(ToolRefused(step=self.step.id, problems=("wrong",)))
            return
        self.add(ApprovalAsked(step=self.step.id, tool=self.step.tool, args=Kept(2, "{}"), binding="b"))
        said: Any = self.draw(st.sampled_from(["approve", "approve", "reject", "later"]))
        if said == "later":
            self.add(RunSuspended(reason="approval"))
            if self.draw(st.booleans()):
                self.add(ApprovalAnswered(step=self.step.id, decision="approve", by="ada"))
            self.add(RunResumed(process=3))
        else:
            self.add(ApprovalAnswered(step=self.step.id, decision=said, by="ada", reason=self.draw(WHY)))

    def call(self) -> None:
        if self.state.claim is None and not self.state.approved and self.draw(st.integers(0, 5)) == 0:
            self.add(GateRaised(step=self.step.id, reasons=("amount is 250, at most 100 is allowed",)))
            return
        if self.state.claim is None and self.draw(st.integers(0, 5)) == 0:
            self.add(ToolRefused(step=self.step.id, problems=("wrong",)))
            return
        step = self.step
        self.add(
            ToolClaimed(step=step.id, attempt=1, tool=step.tool, args=Kept(2, "{}"), key=f"r1/{step.id}", binding="b")
        )
        if self.draw(st.integers(0, 5)) == 0:
            self.rest(withdrawn=self.draw(st.booleans()))
            if self.state.stage is Stage.CALL and TOOLS[step.tool].effect == "write":
                self.doubt(step)
            return
        self.add(self.returned(step))

    def doubt(self, step: Step) -> None:
        action = decide(self.state)
        if not (isinstance(action, Note) and isinstance(action.event, RunSuspended)):
            assert isinstance(action, Note)  # a limit
            return
        self.add(action.event)
        if self.draw(st.booleans()):
            self.add(self.returned(step))
        else:
            self.add(RunSuspended(reason="in_doubt", withdrawn=True))
        self.add(RunResumed(process=4))

    def returned(self, step: Step) -> ToolReturned:
        status: Any = self.draw(st.sampled_from(["ok", "ok", "empty", "failed"]))
        failure = self.draw(st.sampled_from(list(FailureClass))) if status == "failed" else None
        result = None if failure else Kept(1, "1")
        return ToolReturned(step=step.id, status=status, seconds=1, result=result, failure=failure, message="m")

    def judge(self) -> None:
        if not self.bad_reply("critique"):
            ruling: Any = self.draw(st.sampled_from(["continue", "continue", "escalate"]))
            self.add(StepJudged(step=self.step.id, verdict=ruling, by="critic", reason="r", finding="f"))

    def answer(self) -> None:
        if not self.bad_reply("answer"):
            self.add(finished_by_model(self.state, "answer", "high", ()))


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    """A run driven until it rests for good, or for 400 decisions."""
    walk = Walk(draw, TOOLS if draw(st.booleans()) else {})
    for _ in range(400):
        if (action := decide(walk.state)) is not None:
            walk.perform(action)
        elif walk.state.status.ended:
            break
        else:
            walk.add(RunResumed(process=9))
    return walk


@settings(max_examples=300, deadline=None)
@given(walks())
def test_every_walk_ends_and_every_prefix_is_legal(walk: Walk) -> None:
    """No transition is illegal, the loop ends, and each prefix of the journal folds to a state that can decide."""
    assert walk.state.status.ended, f"still {walk.state.status} in {walk.state.stage} after 400 decisions"
    assert decide(walk.state) is None
    state = NEW
    for record in walk.records:
        before, state = state, apply(state, record)
        assert type(record.event) in LEGAL[before.stage]
        assert state.spent.tokens >= 0
        assert state.spent.tool_calls >= 0
        assert list(before.outcomes) == list(state.outcomes)[: len(before.outcomes)]  # finished steps are never altered
        decide(state)
    assert fold(walk.records) == walk.state


@settings(max_examples=200, deadline=None)
@given(walks(), st.data())
def test_any_event_is_taken_in_or_refused_by_name(walk: Walk, data: st.DataObject) -> None:
    """An event at a place where it does not belong raises IllegalTransition and nothing else."""
    place = data.draw(st.integers(0, len(walk.records)))
    state = fold(walk.records[:place])
    stray = data.draw(st.sampled_from(walk.records)).event
    try:
        after = apply(state, Record(state.seq + 1, 0, state.t, stray))
    except IllegalTransition:
        return
    assert after.seq == place


@settings(max_examples=200, deadline=None)
@given(walks())
def test_no_write_is_claimed_without_leave(walk: Walk) -> None:
    """Before each claim of a gated call stands an approval of that step that no other claim used."""
    if not walk.records:
        return
    approve, leave, raised = walk.state.head.approve, set(), set()
    for record in walk.records:
        match record.event:
            case GateRaised(step=step):
                raised.add(step)
            case ApprovalAnswered(decision="approve", step=step):
                leave.add(step)
            case ToolClaimed(step=step, tool=name):
                facts = TOOLS[name]
                free = facts.effect == "read" or (approve == "auto" and facts.reversibility != "irreversible")
                assert (free and step not in raised) or step in leave
            case StepJudged(step=step):
                leave.discard(step)
                raised.discard(step)


def test_a_record_out_of_place_is_refused() -> None:
    """A gap in the numbers is never folded over."""
    start = RunStarted(run="r", task="t", model="m", cheap_model="m", tools={}, budget=Budget(), approve="ask")
    with pytest.raises(IllegalTransition, match="record 1 cannot follow record -1"):
        apply(NEW, Record(1, 0, 0, start))


def test_completed_needs_every_step() -> None:
    """A run with steps left is not completed, whoever says so."""
    start = RunStarted(run="r", task="t", model="m", cheap_model="m", tools=TOOLS, budget=Budget(), approve="ask")
    made = PlanMade(version=1, keep=0, steps=numbered([Step(tool="look")]), reason="", by="user")
    state = fold([Record(0, 0, 0, start), Record(1, 0, 0, made)])
    with pytest.raises(IllegalTransition, match="1 steps are left"):
        apply(state, Record(2, 0, 0, RunFinished(status="completed", reason="complete")))


def test_the_slice_for_the_answer_is_never_more_than_the_budget() -> None:
    """What is kept back leaves most of each cap to the work."""
    for budget in (Budget(), Budget(usd=0.01, tokens=100, model_calls=3, seconds=1), Budget(tokens=10**9)):
        for name, held in kept_back(budget).items():
            assert 0 <= held <= 0.4 * budget.caps()[name]


def test_a_trail_shares_what_it_can_and_copies_what_it_must() -> None:
    """Two branches from one version do not see each other's items."""
    one = Trail([1, 2])
    left, right = one.with_last(3), one.with_last(4)
    assert (list(one), list(left), list(right)) == ([1, 2], [1, 2, 3], [1, 2, 4])
    assert (left.last(2), len(right), left == Trail([1, 2, 3]), left == right) == ([2, 3], 3, True, False)
    with pytest.raises(IndexError):
        one[2]


def test_an_ended_status_decides_nothing() -> None:
    """Only a run in progress has a next action."""
    for status in Status:
        if status is not Status.IN_PROGRESS:
            assert decide(NEW._replace(status=status)) is None
