"""The policy walked through its states: whatever a model, a tool or a person does, the run stays legal and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.alerts import Threshold
from agentnb.budget import Budget, Spent, Usage
from agentnb.cost import Cost
from agentnb.decide import (
    Action,
    AskPerson,
    AskQuestion,
    Assess,
    BindArgs,
    CallTool,
    Critique,
    HandOver,
    MakePlan,
    Note,
    Propose,
    SettleDoubt,
    Simulate,
    Summarise,
    Warn,
    WriteAnswer,
    decide,
    finished_by_model,
    kept_back,
)
from agentnb.errors import FailureClass, IllegalTransition
from agentnb.events import (
    ActionProposed,
    AlertFailed,
    AlertRaised,
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalExpired,
    ArgsBound,
    AskedCall,
    AssessmentMade,
    CallInDoubt,
    CallSimulated,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    Kept,
    LimitReached,
    MemorySummarised,
    ModelAsked,
    ModelCached,
    ModelEscalated,
    ModelFailed,
    ModelReplied,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    Record,
    ReplyRejected,
    RunFinished,
    RunResumed,
    RunStarted,
    RunSuspended,
    Statement,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.plan import Step, numbered, references
from agentnb.policy import Assess as Rule
from agentnb.policy import Policy, ToolFacts
from agentnb.state import NEW, RunState, Status
from agentnb.stops import NO_STOPS, Stops
from agentnb.tiers import model_of
from agentnb.trail import Trail
from agentnb.transitions import LEGAL, apply, fold

TOOLS = {
    "look": ToolFacts("read", "full", "a"),
    "mail": ToolFacts("read", "full", "b", untrusted=True),
    "fetch": ToolFacts("read", "irreversible", "c", egress=True),
    "note": ToolFacts("write", "full", "d"),
    "send": ToolFacts("write", "irreversible", "e"),
    "pay": ToolFacts("write", "partial", "f", idempotent=True),
    "file": ToolFacts("write", "partial", "g", reconcile=True),
    "wipe": ToolFacts("destructive", "irreversible", "h"),
}
RULES = [None, Rule(), Rule(every=2), Rule(every=None), Rule(before_acting=False)]
VALID_S = 8.0
"""Seconds for which an approval holds in these runs: a few records."""
ALERTS = (Threshold("usd", 0.25), Threshold("tokens", 200, "triage"), Threshold("working_seconds", 2, "", 3))
WHY = st.sampled_from(["", "no such column", "x" * 50])


class Walk:
    """A run whose models, tools and people do whatever hypothesis draws."""

    def __init__(self, draw: st.DrawFn, state_of_tools: dict[str, ToolFacts]) -> None:
        self.draw = draw
        self.calm = draw(st.integers(0, 3)) > 0
        """True where little goes wrong, so that the run gets far."""
        self.records: list[Record] = []
        self.state: RunState = NEW
        approve: Any = draw(st.sampled_from(["ask", "deny", "auto", "auto", "confidence"]))
        budget = Budget(
            steps=draw(st.integers(1, 12)) if not self.calm else 30,
            tool_calls=draw(st.one_of(st.none(), st.integers(1, 12))) if not self.calm else None,
            tokens=5_000,
            working_seconds=60,
        )
        self.add(
            RunStarted(
                run="r1",
                task="t",
                model="m",
                cheap_model=draw(st.sampled_from(["m", "c"])),
                escalate=draw(st.booleans()),
                alerts=draw(st.sampled_from([(), ALERTS])),
                tools=state_of_tools,
                budget=budget,
                policy=Policy(approve=approve, answer_within_s=5, valid_s=VALID_S),
                stops=draw(st.sampled_from([NO_STOPS, Stops(), Stops(no_progress=2)])),
                dry=draw(st.integers(0, 9)) == 0,
                assess=draw(
                    st.sampled_from([None, Rule(), Rule(every=2), Rule(every=None), Rule(before_acting=False)])
                ),
            )
        )

    def add(self, event: Event) -> None:
        seconds = self.draw(st.floats(0, 2))
        record = Record(len(self.records), 1e9, self.state.t + seconds, event)
        self.state = apply(self.state, record)
        self.records.append(record)

    def ask_model(self, phase: Any) -> bool:
        """True where a reply came."""
        kinds = ["reply", "reply", "reply", "cached", "failed", "limit"]
        kind = self.draw(st.sampled_from(["reply"] * 20 + kinds if self.calm else kinds))
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
        model = self.state.head.model if self.state.escalated else model_of(self.state.head, phase)
        self.add(ModelAsked(phase=phase, model=model, key="k", attempt=1, reserved=reserved, step=step))
        if self.draw(st.integers(0, 99 if self.calm else 9)) == 0:  # the process dies here, or a person stops it
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

    def perform(self, action: Action) -> None:  # noqa: PLR0912 - a table, one case an action
        match action:
            case Note(event):
                self.add(event)
            case Warn(event):
                self.add(event)
                if self.draw(st.integers(0, 3)) == 0:
                    self.add(AlertFailed(message="ValueError: x"))
            case MakePlan():
                if self.ask_model("plan"):
                    self.plan()
            case BindArgs():
                if self.ask_model("bind"):
                    self.bind()
            case Assess():
                if self.ask_model("assess"):
                    self.assess()
            case AskQuestion():
                self.question()
            case AskPerson():
                self.person()
            case CallTool():
                self.call()
            case SettleDoubt():
                self.settle()
            case Propose():
                self.propose()
            case Simulate():
                self.add(CallSimulated(step=self.step.id, tool=self.step.tool, args=self.args, result=Kept(1, "1")))
            case Critique():
                if self.ask_model("critique"):
                    self.judge()
            case Summarise(by):
                self.summarise(by)
            case WriteAnswer():
                if self.ask_model("answer"):
                    self.answer()
            case HandOver(status, reason, detail):
                self.add(RunFinished(status=status, reason=reason, detail=detail, by="rule"))

    def bad_reply(self, phase: Any) -> bool:
        if self.draw(st.integers(0, 30 if self.calm else 3)) == 0:
            step = self.state.step.id if self.state.step else ""
            self.add(ReplyRejected(phase=phase, problems=("wrong",), step=step))
            return True
        return False

    def plan(self) -> None:
        if self.bad_reply("plan"):
            return
        keep = len(self.state.outcomes)
        tools = self.draw(st.lists(st.sampled_from(list(TOOLS)), max_size=4))
        if self.draw(st.booleans()):  # what strangers wrote comes first, and something acts after it
            tools = ["mail", self.draw(st.sampled_from(["note", "pay", "file"])), *tools[:2]]
        some: Any = [{}, {"a": "$? fill"}, {"a": 1}, {"a": "$s1"}]
        sure: Any = st.sampled_from(["low", "medium", "high"])
        steps = numbered(
            [
                Step(
                    tool=t,
                    args=self.draw(st.sampled_from(some[: 4 if n + keep else 3])),
                    confidence=self.draw(sure),
                    depends_on=("s1",) if n + keep and self.draw(st.integers(0, 4)) == 0 else (),
                )
                for n, t in enumerate(tools)
            ],
            after=keep,
        )
        version = self.state.plan.version + 1 if self.state.plan else 1
        by: Any = self.draw(st.sampled_from(["model", "user"])) if version == 1 else "model"
        self.add(PlanMade(version=version, keep=keep, steps=steps, reason="r", by=by))

    def bind(self) -> None:
        if not self.bad_reply("bind"):
            self.add(ArgsBound(step=self.step.id, args=Kept(7, '{"a":1}')))

    def summarise(self, by: Any) -> None:
        """The cheap model does it, or code."""
        if by == "rule" or (self.ask_model("summarise") and not self.bad_reply("summarise")):
            self.add(MemorySummarised(upto=len(self.state.outcomes), items=(), by=by))

    def assess(self) -> None:
        """A model finds something missing, or nothing."""
        if self.bad_reply("assess"):
            return
        said = (Statement(text="who it is for", critical=True, argument="a"), Statement(text="the day"))
        gaps = said[:1] if self.draw(st.integers(0, 2)) == 0 else ()
        self.add(AssessmentMade(step=self.step.id, call=self.state.present_call, unknown=said, gaps=gaps))

    def question(self) -> None:
        """It is asked, once; somebody answers, here or while it rests, or nobody does yet."""
        if self.state.question is None:
            asked = QuestionAsked(step=self.step.id, tool=self.step.tool, args=self.args, gaps=self.state.gaps)
            self.add(asked)
        rests = self.draw(st.integers(0, 2)) == 0
        if rests:
            self.add(RunSuspended(reason="question"))
        if not rests or self.draw(st.booleans()):
            said: Any = self.draw(st.sampled_from(["answer", "go_on", "go_on", "stop"]))
            self.add(QuestionAnswered(step=self.step.id, decision=said, by="ada", text="Ada"))
        if rests:
            self.add(RunResumed(process=5))

    @property
    def step(self) -> Step:
        assert self.state.step is not None
        return self.state.step

    def plan_of(self, step: str) -> Step:
        """The step of that id in the last plan."""
        assert self.state.plan is not None
        return self.state.plan.steps[int(step[1:]) - 1]

    @property
    def args(self) -> Kept:
        """Of the present step's call."""
        return self.state.bound or Kept(2, str(self.step.args))

    def binding(self, tool: str, args: Kept) -> str:
        return f"{tool} {args.text}"

    def person(self) -> None:
        """The gate: refused, known from another run, decided earlier, or asked."""
        other = self.draw(st.integers(0, 9))
        if other == 0:
            by: Any = self.draw(st.sampled_from(["arguments", "guard", "breaker"]))
            self.add(ToolRefused(step=self.step.id, problems=("wrong",), by=by))
            return
        if other == 1:
            self.add(EarlierResult(step=self.step.id, key="k", run="r0", at_step="s1", result=Kept(1, "1")))
            return
        what = self.binding(self.step.tool, self.args)
        known = [g for g in self.state.grants if g.binding == what and (not g.granted or g.until > self.state.t + 2)]
        if known:
            decision: Any = "approve" if known[0].granted else "reject"
            self.add(ApprovalAnswered(step=self.step.id, decision=decision, by="ada", binding=what, earlier=True))
            return
        if self.state.approval is None or self.state.approval.binding != what:
            self.ask(what)
        self.answered()

    def ask(self, what: str) -> None:
        later = [step for step in self.state.left[1:] if TOOLS[step.tool].acts and "a" not in step.args]
        others = tuple(
            AskedCall(step.id, step.tool, Kept(2, str(step.args)), self.binding(step.tool, Kept(2, str(step.args))))
            for step in later[: self.draw(st.integers(0, 2))]
        )
        silence: Any = "approve" if TOOLS[self.step.tool].reversibility == "full" else "reject"
        self.add(
            ApprovalAsked(
                step=self.step.id, tool=self.step.tool, args=self.args, binding=what, others=others,
                expires=self.state.t + 5, on_silence=silence,
            )
        )  # fmt: skip

    def answered(self) -> None:
        asked = self.state.approval
        assert asked is not None
        if self.draw(st.integers(0, 4)) == 0:
            self.add(RunSuspended(reason="approval"))
            if self.draw(st.booleans()):
                self.answer_person(asked)
            self.add(RunResumed(process=3))
        else:
            self.answer_person(asked)

    def answer_person(self, asked: ApprovalAsked) -> None:
        """In time, or silence; a person who is late is refused, and the policy speaks."""
        others = {call.binding: self.draw(st.booleans()) for call in asked.others}
        said: Any = self.draw(st.sampled_from(["approve", "approve", "edit", "reject"]))
        late = asked.expires is not None and self.state.t + 2 > asked.expires
        if late:
            self.add(ApprovalAnswered(step=asked.step, decision=asked.on_silence, by="policy", silent=True))
            return
        rest: dict[str, Any] = {"step": asked.step, "decision": said, "by": "ada", "reason": self.draw(WHY)}
        if said == "edit":
            args = Kept(2, "{'a': 7}")
            rest |= {"args": args, "binding": self.binding(asked.tool, args)}
        elif said == "approve":
            rest["allow"] = TOOLS[asked.tool].reversibility != "irreversible" and self.draw(st.booleans())
        self.add(ApprovalAnswered(others=others, **rest))

    def call(self) -> None:
        """The call: begun again where it was, else guarded and claimed; then whatever happens to it."""
        if self.state.claim is None:
            other = self.draw(st.integers(0, 9))
            if other == 0:
                self.add(GateRaised(step=self.step.id, reasons=("amount is 250, at most 100 is allowed",)))
                return
            if self.state.approved and self.state.t + 2 > self.state.approved_until:
                self.add(ApprovalExpired(step=self.step.id))
                return
            if other == 1:
                self.add(ToolRefused(step=self.step.id, problems=("wrong",)))
                return
        step, claim = self.step, self.state.claim
        args = claim.args if claim else self.args
        what = self.binding(step.tool, args)
        self.add(ToolClaimed(step=step.id, attempt=1, tool=step.tool, args=args, key=f"r1/{step.id}", binding=what))
        match self.draw(st.sampled_from([*["ends"] * (9 if self.calm else 3), "again", "doubt", "dies"])):
            case "ends":
                self.add(self.returned(step))
            case "again":
                self.add(
                    ToolRetried(step=step.id, failure=FailureClass.TRANSIENT, message="503", seconds=1, wait_s=0.5)
                )
            case "doubt":
                self.add(CallInDoubt(step=step.id, message="it took longer than 60 s", seconds=1))
            case _:
                self.rest(withdrawn=self.draw(st.booleans()))

    def settle(self) -> None:
        """The tool, or a person, finds out; or nobody does yet."""
        if self.draw(st.integers(0, 3)) == 0:
            self.add(RunSuspended(reason="in_doubt"))
            self.add(RunResumed(process=4))
            return
        happened = self.draw(st.booleans())
        self.add(
            DoubtResolved(step=self.step.id, happened=happened, by="ada", result=Kept(1, "1") if happened else None)
        )

    def propose(self) -> None:
        self.add(ActionProposed(step=self.step.id, tool=self.step.tool, args=self.args))

    def returned(self, step: Step) -> ToolReturned:
        status: Any = self.draw(st.sampled_from([*["ok"] * (9 if self.calm else 2), "empty", "failed"]))
        failure = self.draw(st.sampled_from(list(FailureClass))) if status == "failed" else None
        result = None if failure else Kept(1, "1")
        return ToolReturned(step=step.id, status=status, seconds=1, result=result, failure=failure, message="m")

    def judge(self) -> None:
        if not self.bad_reply("critique"):
            ruling: Any = self.draw(st.sampled_from([*["continue"] * (9 if self.calm else 2), "escalate"]))
            self.add(StepJudged(step=self.step.id, verdict=ruling, by="critic", reason="r", finding="f"))

    def answer(self) -> None:
        if not self.bad_reply("answer"):
            self.add(finished_by_model(self.state, "answer", "high", ()))


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    """A run driven until it rests for good, or for 400 decisions."""
    walk = Walk(draw, TOOLS if draw(st.integers(0, 9)) else {})
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
@given(walks())
def test_the_strong_model_is_asked_once_in_the_place_of_a_cheaper_one(walk: Walk) -> None:
    """Only where that is wanted, after the last try of another model, and never a second time in a row."""
    state = NEW
    for record in walk.records:
        before, state = state, apply(state, record)
        if isinstance(record.event, ModelEscalated):
            head = before.head
            assert (head.escalate, before.escalated, before.rejected >= 3) == (True, False, True)
            assert (record.event.was, record.event.model) == (head.cheap_model, head.model) != (head.model, head.model)
            assert state.escalated
        if isinstance(record.event, StepJudged) and record.event.reason.startswith("no valid verdict"):
            assert before.escalated or not before.head.escalate or before.head.cheap_model == before.head.model


@settings(max_examples=200, deadline=None)
@given(walks())
def test_an_alert_is_raised_once_where_its_threshold_is_passed(walk: Walk) -> None:
    """However the run goes on, rests and ends; of a mean, and of another kind of task, decide says nothing."""
    raised = [record.event.threshold for record in walk.records if isinstance(record.event, AlertRaised)]
    used = walk.state.spent.plus(Spent(), walk.state.t)
    mine = [found for found in walk.state.head.alerts if found.last == 1 and not found.task_type]
    assert sorted(raised, key=str) == sorted((found for found in mine if found.passed_by(used)), key=str)


@settings(max_examples=200, deadline=None)
@given(walks())
def test_what_each_phase_and_model_cost_adds_up_to_what_was_spent(walk: Walk) -> None:
    """At every place: dollars, tokens and calls, by phase as by model."""
    state = NEW
    for record in walk.records:
        state = apply(state, record)
        cost, spent = Cost(state.costs), state.spent
        for parts in ([cost.total], cost.by_phase.values(), cost.by_model.values()):
            assert sum(part.tokens for part in parts) == spent.tokens
            assert sum(part.calls for part in parts) == spent.model_calls
            assert sum(part.usd for part in parts) == pytest.approx(spent.usd)


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


class Books:
    """Who may do what, kept from the user's side: it reads the records and knows nothing of the fold."""

    def __init__(self, head: RunStarted) -> None:
        self.policy = head.policy
        self.dry = head.dry
        self.plan: list[Step] = []
        self.leave: list[tuple[str, float]] = []
        """(binding, until) of each call that may be made once."""
        self.allowed: set[str] = set()
        self.raised: set[str] = set()
        self.asked: ApprovalAsked | None = None
        self.claimed = ""
        self.clean: int | None = None
        """Steps of the plan that were there before strangers' text was."""
        self.tainted: set[str] = set()
        self.by_model = False

    def step(self, name: str) -> Step:
        return self.plan[int(name[1:]) - 1]

    def needs_leave(self, step: Step) -> bool:
        facts = TOOLS[step.tool]
        if not facts.acts:
            return False
        sure = step.confidence == "high" if self.policy.approve == "confidence" else self.policy.approve == "auto"
        free = sure or step.tool in self.allowed
        return facts.reversibility == "irreversible" or not free or step.id in self.raised or self.suspect(step)

    def suspect(self, step: Step) -> bool:
        """True where strangers' text may have a hand in it."""
        if self.clean is None:
            return False
        from_them = "$s1" in step.args.values() and "s1" in self.tainted
        return self.by_model or from_them or int(step.id[1:]) > self.clean

    def claim(self, e: ToolClaimed, t: float) -> None:
        """Check one claim, and use up the leave for it."""
        step = self.step(e.step)
        assert TOOLS[e.tool].effect != "destructive"
        assert not (self.dry and TOOLS[e.tool].acts)
        again, self.claimed = self.claimed == e.step, e.step
        if again or not self.needs_leave(step):  # the same call again: it had leave, and has not acted or acts once
            return
        fits = [one for one in self.leave if one[0] == e.binding and one[1] >= t]
        assert fits, f"{e.step} {e.tool} was called without leave"
        self.leave.remove(fits[0])

    def note(self, event: Event, t: float) -> None:  # noqa: PLR0912 - a table, one case a kind
        match event:
            case PlanMade():
                self.plan = [*self.plan[: event.keep], *event.steps]
                self.clean = None if self.clean is None else min(self.clean, event.keep)
            case ArgsBound():
                self.by_model = self.clean is not None  # of what the model had read by then
            case GateRaised(step=step):
                self.raised.add(step)
            case ApprovalAsked():
                self.asked = event
            case ApprovalAnswered() if not event.earlier and self.asked is not None:
                until = t + self.policy.valid_s
                if event.decision != "reject":
                    self.leave.append((event.binding or self.asked.binding, until))
                    self.allowed |= {self.asked.tool} if event.allow else set()
                self.leave += [(c.binding, until) for c in self.asked.others if event.others.get(c.binding)]
            case ToolClaimed():
                self.claim(event, t)
            case ToolReturned(step=step) | ToolRetried(step=step) | CallInDoubt(step=step) | EarlierResult(step=step):
                if TOOLS[self.step(step).tool].untrusted and self.clean is None:
                    self.clean = len(self.plan)
            case StepJudged(step=step):
                one = self.step(step)
                if event.verdict != "retry" and (TOOLS[one.tool].untrusted or self.suspect(one)):
                    self.tainted.add(step)
                self.begin_step()
            case ToolRefused() | RunSuspended(withdrawn=True):
                self.claimed = ""
            case _:
                pass
        if isinstance(event, ToolRefused):
            self.by_model = False

    def begin_step(self) -> None:
        self.claimed, self.by_model = "", False


@settings(max_examples=600, deadline=None)
@given(walks())
def test_no_gated_call_is_claimed_without_leave_of_its_own(walk: Walk) -> None:
    """Before each first claim of a gated call stands leave for exactly that call, unexpired and used by no other."""
    books = Books(walk.state.head)
    for record in walk.records:
        books.note(record.event, record.t)


@settings(max_examples=600, deadline=None)
@given(walks())
def test_a_call_that_was_not_selected_is_left_out_and_a_no_is_a_no(walk: Walk) -> None:
    """A user's plan goes on without the first and ends with the second; a planner is told of both."""
    by, refused, skipped = "", {}, set()
    for event in (record.event for record in walk.records):
        match event:
            case PlanMade():
                by = event.by
            case ApprovalAnswered(decision="reject"):
                refused[event.step] = event.earlier or any(event.others.values())
            case StepJudged() if event.step in refused:
                selection = refused.pop(event.step)
                skipped |= {event.step} if selection and by == "user" else set()
                if by == "user":
                    assert event.verdict == ("continue" if selection else "escalate")
                else:
                    assert event.verdict in ("revise", "escalate")
            case ToolClaimed() if by == "user":
                explicit = {*walk.plan_of(event.step).depends_on} - references(walk.plan_of(event.step).args)
                assert not explicit & skipped, "it was to come after a step that was left out"
            case _:
                pass
    assert skipped == {outcome.step for outcome in walk.state.outcomes if outcome.skipped}


@settings(max_examples=400, deadline=None)
@given(walks())
def test_no_call_is_made_over_a_gap(walk: Walk) -> None:
    """What acts is assessed first, what is missing is asked first, and only a person's word lets the call go on.

    An answer is followed by a plan that keeps what is done, or by other arguments, and is no revision of the planner's.
    """
    head, assessed, waits, acts = walk.state.head, "", False, {name: facts.acts for name, facts in TOOLS.items()}
    by, told = "", False
    revisions = sum(isinstance(record.event, PlanMade) and record.event.version > 1 for record in walk.records)
    for event in (record.event for record in walk.records):
        match event:
            case PlanMade():
                by, told = event.by, False
            case AssessmentMade():
                assessed, waits = event.step, bool(event.gaps)
                assert head.assess is not None
            case QuestionAsked():
                assert waits
            case QuestionAnswered():
                assert waits
                waits = False
                told = event.decision == "answer" and by == "model"
                revisions -= told
                assessed = "" if event.decision == "answer" else assessed
            case ToolClaimed() | CallSimulated() | ActionProposed():
                assert not waits
                assert not told, "the planner was to revise its plan first"
                if head.assess and head.assess.before_acting and acts[event.tool] and by == "model":
                    assert assessed == event.step, f"{event.step} acts, and was not assessed"
            case _:
                pass
    assert walk.state.revisions <= max(0, revisions) + 1  # an answer whose plan never came


@settings(max_examples=300, deadline=None)
@given(walks(), st.data())
def test_leave_that_is_taken_away_is_missed(walk: Walk, data: st.DataObject) -> None:
    """Without the answer that let it, or with it made late, another's, or used before, the claim is refused."""
    used = [r for r in walk.records if isinstance(r.event, ToolClaimed) and r.event.binding]
    states = [(r.seq, fold(walk.records[: r.seq])) for r in used]
    gated = [place for place, state in states if state.approved and state.gated]
    if not gated:
        return
    place = data.draw(st.sampled_from(gated))
    before, claim = fold(walk.records[:place]), walk.records[place]
    assert isinstance(claim.event, ToolClaimed)
    other = Record(place, claim.at, claim.t, replace(claim.event, binding="another"))
    late = Record(place, claim.at, before.approved_until + 1, claim.event)
    stripped = before._replace(approved="")
    for state, record in ((before, other), (before, late), (stripped, claim)):
        with pytest.raises(IllegalTransition):
            apply(state, record)
    after = apply(before, claim)
    assert after.approved == ""  # it was used


def test_a_record_out_of_place_is_refused() -> None:
    """A gap in the numbers is never folded over."""
    start = RunStarted(run="r", task="t", model="m", cheap_model="m", tools={}, budget=Budget())
    with pytest.raises(IllegalTransition, match="record 1 cannot follow record -1"):
        apply(NEW, Record(1, 0, 0, start))


def test_completed_needs_every_step() -> None:
    """A run with steps left is not completed, whoever says so."""
    start = RunStarted(run="r", task="t", model="m", cheap_model="m", tools=TOOLS, budget=Budget())
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
