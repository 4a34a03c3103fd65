"""The state of a run: a fold of its records, and the table of transitions that it admits.

`apply(state, record)` is the only way a state comes about; the same records give the same state, today and after a
restart. What a state does not admit raises `IllegalTransition`, whatever a model said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import Any, Final, Literal, NamedTuple

from agentnb.budget import Budget, Spent
from agentnb.errors import DamagedRecord, FailureClass, IllegalTransition
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ArgsBound,
    BudgetExtended,
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
    ToolRefused,
    ToolReturned,
)
from agentnb.plan import Plan, Step
from agentnb.trail import Trail

__all__ = ["LEGAL", "NEW", "Outcome", "RunState", "Stage", "Status", "apply", "fold"]

NOTHING = Spent()


class Status(StrEnum):
    """What a caller sees."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    AWAITING_APPROVAL = "awaiting_approval"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """At a limit, or because the critic escalated: a result, with what is done and what is left."""

    @property
    def ended(self) -> bool:
        """True where the run does not go on by itself or by a resume."""
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.STOPPED)


class Stage(StrEnum):
    """What comes next, if anything does."""

    NEW = "new"
    PLAN = "plan"
    STEP = "step"
    CALL = "call"
    JUDGE = "judge"
    ANSWER = "answer"
    DONE = "done"


_MODEL = frozenset({ModelAsked, ModelReplied, ModelFailed, ModelCached, ReplyRejected})
_GATE = frozenset({GateRaised, ApprovalAsked, ApprovalAnswered})
_ANY = frozenset({LimitReached, RunSuspended, RunResumed, RunFinished, BudgetExtended})

LEGAL: Mapping[Stage, frozenset[type]] = {
    Stage.NEW: frozenset({RunStarted}),
    Stage.PLAN: _MODEL | _ANY | {PlanMade},
    Stage.STEP: _MODEL
    | _ANY
    | {ArgsBound, GateRaised, ApprovalAsked, ApprovalAnswered, ToolClaimed, ToolRefused, StepJudged},
    Stage.CALL: _ANY - {LimitReached} | {ToolReturned, ToolClaimed, ToolRefused},
    Stage.JUDGE: _MODEL | _ANY | {StepJudged},
    Stage.ANSWER: _MODEL | _ANY,
    Stage.DONE: frozenset({BudgetExtended}),
}
"""Which kinds of event each stage admits. What else has to hold is asked for in the handlers below."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended; never altered afterwards.

    Attributes:
        status: "ok", "empty" (it ran and there was nothing) or "failed" (it did not do what it should).
        result: the result, where there is one.
        finding: one sentence that the critic learned from it.
        message: why it failed.
    """

    step: str
    status: Literal["ok", "empty", "failed"]
    result: Kept | None = None
    finding: str = ""
    message: str = ""


class RunState(NamedTuple):
    """Everything that is known about a run after its records so far.

    A named tuple: a changed copy costs 2 µs, and 8 as a frozen dataclass; there is one for each record.
    """

    status: Status = Status.PENDING
    stage: Stage = Stage.NEW
    started: RunStarted | None = None
    budget: Budget = Budget()
    plan: Plan | None = None
    outcomes: Trail[Outcome] = Trail()
    revisions: int = 0
    attempt: int = 1
    rejected: int = 0
    """Replies rejected in a row in the present phase."""
    problems: tuple[str, ...] = ()
    """What was wrong with the last try, for the next one to see."""
    refused: bool = False
    """True where the last try never reached the tool: its arguments were wrong."""
    why: str = ""
    """Why the plan is being revised."""
    bound: Kept | None = None
    raised: tuple[str, ...] = ()
    """Why guards want a person's leave for the present step."""
    approval: ApprovalAsked | None = None
    approved: str = ""
    """Binding of the approved call, used once."""
    inflight: ModelAsked | None = None
    claim: ToolClaimed | None = None
    returned: ToolReturned | None = None
    limit: LimitReached | None = None
    no_answer: LimitReached | None = None
    """The limit that leaves no room for the final answer either."""
    reopen: Stage = Stage.DONE
    """The stage that a limit cut short."""
    stop: str = ""
    """Why the run is being brought to its end, "" where it is not or the plan is done."""
    suspended: RunSuspended | None = None
    finished: RunFinished | None = None
    spent: Spent = NOTHING
    reserved: Spent = NOTHING
    saved_usd: float = 0.0
    saved_tokens: int = 0
    t: float = 0.0
    seq: int = -1

    @property
    def head(self) -> RunStarted:
        """The first record's event.

        Raises:
            IllegalTransition: nothing has happened yet.
        """
        if self.started is None:
            raise IllegalTransition("a run's first record must be run_started")
        return self.started

    @property
    def step(self) -> Step | None:
        """The step that comes next or is under way, or None where the plan is done or there is none."""
        if self.plan is None or len(self.outcomes) >= len(self.plan.steps):
            return None
        return self.plan.steps[len(self.outcomes)]

    @property
    def left(self) -> tuple[Step, ...]:
        """The steps that have no outcome."""
        return self.plan.steps[len(self.outcomes) :] if self.plan else ()

    @property
    def gated(self) -> bool:
        """True where the present step needs a person's leave.

        A guard says so, or it acts and the policy does not let it; what acts and cannot be taken back always needs it.
        """
        if self.step is None:
            return False
        if self.raised:
            return True
        facts = self.head.tools[self.step.tool]
        return facts.effect == "write" and (self.head.approve != "auto" or facts.reversibility == "irreversible")

    def used(self) -> Spent:
        """Spent and reserved together, with the run's clock: what a budget is held against."""
        return self.spent.plus(self.reserved, self.t)


NEW = RunState()
"""The state before the first record."""


def fold(records: Iterable[Record], state: RunState = NEW) -> RunState:
    """The state after `records`.

    Raises:
        DamagedRecord: a record that the state before it does not admit. No run writes one, so somebody else did.
    """
    try:
        return reduce(apply, records, state)
    except IllegalTransition as error:
        raise DamagedRecord(f"these records are not those of a run: {error}") from error


def apply(state: RunState, record: Record) -> RunState:
    """The state after one more record.

    Raises:
        IllegalTransition: the state does not admit it, or a record is missing before it.
    """
    event = record.event
    if record.seq != state.seq + 1:
        raise IllegalTransition(f"record {record.seq} cannot follow record {state.seq}")
    if type(event) not in LEGAL[state.stage]:
        raise IllegalTransition(f"{event.kind} is not legal in stage {state.stage}")
    _require(state.suspended is None or isinstance(event, _WHILE_SUSPENDED), "the run is suspended", event)
    changes = _APPLY[type(event)](state, event)
    return state._replace(seq=record.seq, t=max(state.t, record.t), **changes)


Changes = dict[str, Any]
"""What a handler changes of the state, by field: one copy of the state a record, and not one a change."""


def _require(holds: bool, otherwise: str, event: Event) -> None:  # noqa: FBT001 - reads as a sentence where it stands
    if not holds:
        raise IllegalTransition(f"{event.kind}: {otherwise}")


def _start(_: RunState, e: RunStarted) -> Changes:
    return {"status": Status.IN_PROGRESS, "stage": Stage.PLAN, "started": e, "budget": e.budget, "outcomes": Trail()}


def _asked(state: RunState, e: ModelAsked) -> Changes:
    _require(state.inflight is None, "another model call is in flight", e)
    return {"inflight": e, "reserved": e.reserved}


def _replied(state: RunState, e: ModelReplied) -> Changes:
    _require(state.inflight is not None, "no model call is in flight", e)
    used = Spent(
        usd=e.usd,
        input_tokens=e.usage.input_tokens,
        output_tokens=e.usage.output_tokens,
        model_calls=1,
        working_seconds=e.seconds,
    )
    return {"inflight": None, "reserved": NOTHING, "spent": state.spent + used}


def _model_failed(state: RunState, e: ModelFailed) -> Changes:
    _require(state.inflight is not None, "no model call is in flight", e)
    used = Spent(model_calls=1) if e.unbilled else state.reserved
    return {"inflight": None, "reserved": NOTHING, "spent": state.spent + used + Spent(working_seconds=e.seconds)}


def _cached(state: RunState, e: ModelCached) -> Changes:
    _require(state.inflight is None, "another model call is in flight", e)
    tokens = e.usage.input_tokens + e.usage.output_tokens
    return {"saved_usd": state.saved_usd + e.saved_usd, "saved_tokens": state.saved_tokens + tokens}


def _rejected(state: RunState, e: ReplyRejected) -> Changes:
    _require(state.inflight is None, "a model call is in flight", e)
    return {"rejected": state.rejected + 1, "problems": e.problems}


def _planned(state: RunState, e: PlanMade) -> Changes:
    plan = state.plan or Plan(())
    _require(state.inflight is None, "a model call is in flight", e)
    _require(e.version == (state.plan.version + 1 if state.plan else 1), f"version {e.version} is out of order", e)
    _require(e.keep == len(state.outcomes), f"keeps {e.keep} of {len(state.outcomes)} finished steps", e)
    ids = [step.id for step in e.steps]
    _require(ids == [f"s{e.keep + n}" for n in range(1, len(ids) + 1)], f"ids {ids} are not by place", e)
    revised = plan.revised(e.keep, e.steps, version=e.version, reason=e.reason, by=e.by)
    revisions = state.revisions + (state.plan is not None)
    return {"plan": revised, "revisions": revisions, "why": "", **_next_step(more=bool(e.steps))}


_CLEAN: Final[Changes] = {
    "attempt": 1, "rejected": 0, "problems": (), "refused": False, "bound": None, "raised": (), "approval": None,
    "approved": "", "claim": None, "returned": None,
}  # fmt: skip
"""Of a step that has not been begun."""


def _next_step(*, more: bool) -> Changes:
    """Ready for the step after the last finished one, or for the answer where there is no more."""
    return {**_CLEAN, "stage": Stage.STEP if more else Stage.ANSWER}


def _current(state: RunState, step: str, e: Event) -> Step:
    current = state.step
    if current is None or current.id != step:
        raise IllegalTransition(
            f"{e.kind}: {step} is not the present step ({current.id if current else 'there is none'})"
        )
    _require(state.inflight is None, "a model call is in flight", e)
    return current


def _bound(state: RunState, e: ArgsBound) -> Changes:
    _current(state, e.step, e)
    return {"bound": e.args, "rejected": 0, "problems": ()}


def _gate_raised(state: RunState, e: GateRaised) -> Changes:
    _current(state, e.step, e)
    return {"raised": e.reasons, "approved": ""}


def _approval_asked(state: RunState, e: ApprovalAsked) -> Changes:
    _current(state, e.step, e)
    return {"approval": e, "approved": ""}


def _approval_answered(state: RunState, e: ApprovalAnswered) -> Changes:
    _current(state, e.step, e)
    _require(state.approval is not None and not state.approved, "nothing waits for an answer", e)
    status = Status.SUSPENDED if state.suspended else Status.IN_PROGRESS
    if e.decision == "approve" and state.approval is not None:
        return {"status": status, "approved": state.approval.binding}
    said = f"{e.by} rejected the call" + (f": {e.reason}" if e.reason else "")
    nobody = e.by == "policy" and state.head.approve != "deny"  # a person's no is planned around, an absent one is not
    failure = FailureClass.PERMISSION if nobody else FailureClass.INVALID_DATA
    refused = ToolReturned(step=e.step, status="failed", seconds=0, failure=failure, message=said)
    return {"status": status, "stage": Stage.JUDGE, "approval": None, "returned": refused}


def _claimed(state: RunState, e: ToolClaimed) -> Changes:
    step = _current(state, e.step, e)
    _require(e.tool == step.tool, f"{e.tool} is not the tool of {step.id}", e)
    _require(state.claim is None or state.claim.key == e.key, "another call is claimed", e)
    let = state.claim is not None or (bool(state.approved) and state.approved == e.binding)
    _require(let or not state.gated, "exactly this call was not approved", e)
    spent = state.spent + Spent(tool_calls=1)
    return {"claim": e, "stage": Stage.CALL, "approved": "", "approval": None, "spent": spent}


def _returned(state: RunState, e: ToolReturned) -> Changes:
    _current(state, e.step, e)
    _require(state.claim is not None, "the call was not claimed", e)
    spent = state.spent + Spent(working_seconds=e.seconds)
    return {"returned": e, "claim": None, "stage": Stage.JUDGE, "rejected": 0, "problems": (), "spent": spent}


def _refused(state: RunState, e: ToolRefused) -> Changes:
    _current(state, e.step, e)
    return {**_CLEAN, "stage": Stage.STEP, "attempt": state.attempt + 1, "problems": e.problems, "refused": True}


def _judged(state: RunState, e: StepJudged) -> Changes:
    _current(state, e.step, e)
    if e.verdict == "retry":
        return {**_CLEAN, "stage": Stage.STEP, "attempt": state.attempt + 1, "problems": (e.reason,)}
    got = state.returned or ToolReturned(step=e.step, status="failed", seconds=0, message=e.reason)
    outcomes = state.outcomes.with_last(Outcome(e.step, got.status, got.result, e.finding, got.message))
    changes = _next_step(more=state.plan is not None and len(outcomes) < len(state.plan.steps))
    changes |= {"outcomes": outcomes, "spent": state.spent + Spent(steps=1)}
    if e.verdict == "revise":
        changes |= {"stage": Stage.PLAN, "why": e.reason}
    elif e.verdict == "escalate":
        changes |= {"stage": Stage.ANSWER, "stop": "escalated", "why": e.reason}
    return changes


def _limited(state: RunState, e: LimitReached) -> Changes:
    _require(state.inflight is None, "a model call is in flight", e)
    _require(state.no_answer is None, "the run has no answer to be cut short any more", e)
    short: Changes = {"no_answer": e} if e.phase == "answer" else {}
    if state.limit is not None:
        return short
    stop = state.stop or e.limit
    rest: Changes = {"limit": e, "reopen": state.stage, "stage": Stage.ANSWER, "stop": stop}
    return {**rest, **short, "rejected": 0, "problems": ()}


def _extended(state: RunState, e: BudgetExtended) -> Changes:
    if state.stage is not Stage.DONE:
        return {"budget": e.budget}
    limit = state.limit
    if limit is None or state.status is not Status.STOPPED:
        raise IllegalTransition("budget_extended: the run did not stop at a limit")
    stop = "" if state.stop == limit.limit else state.stop
    again = {"status": Status.IN_PROGRESS, "stage": state.reopen, "stop": stop, "limit": None, "no_answer": None}
    return {"budget": e.budget, "finished": None, "rejected": 0, "problems": (), **again}


def _suspended(state: RunState, e: RunSuspended) -> Changes:
    status = Status.AWAITING_APPROVAL if e.reason == "approval" else Status.SUSPENDED
    worked = state.spent + Spent(working_seconds=e.seconds)
    rest: Changes = {"status": status, "suspended": e, "spent": worked}
    if not e.withdrawn:
        return rest
    if state.claim:
        made = int(e.reason == "in_doubt")  # a person says that it did not happen; otherwise it was never begun
        spent = worked + Spent(tool_calls=made - 1)
        return {**rest, **_CLEAN, "attempt": state.attempt, "bound": state.bound, "stage": Stage.STEP, "spent": spent}
    return {**rest, "inflight": None, "reserved": NOTHING}


def _resumed(state: RunState, _: RunResumed) -> Changes:
    # A call in flight when the last process ended may have been answered, and billed: it stays charged. Nobody bills
    # for a model on this machine.
    here = state.inflight is not None and state.inflight.model.startswith("local:")
    spent = state.spent + (Spent(model_calls=1) if here else state.reserved)
    return {"status": Status.IN_PROGRESS, "suspended": None, "inflight": None, "reserved": NOTHING, "spent": spent}


def _finished(state: RunState, e: RunFinished) -> Changes:
    _require(state.inflight is None, "a model call is in flight", e)
    _require(e.status != "completed" or state.step is None, f"{len(state.left)} steps are left", e)
    _require(e.status == "cancelled" or state.stage is not Stage.CALL, "a call is not settled", e)
    return {"status": Status(e.status), "stage": Stage.DONE, "finished": e, "suspended": None}


_WHILE_SUSPENDED = (RunResumed, ApprovalAnswered, BudgetExtended, ToolReturned, RunSuspended)
"""What a person, or the next process, may add to a run that rests."""

_APPLY: Mapping[type, Callable[[RunState, Any], Changes]] = {
    RunStarted: _start,
    ModelAsked: _asked,
    ModelReplied: _replied,
    ModelFailed: _model_failed,
    ModelCached: _cached,
    ReplyRejected: _rejected,
    PlanMade: _planned,
    ArgsBound: _bound,
    GateRaised: _gate_raised,
    ApprovalAsked: _approval_asked,
    ApprovalAnswered: _approval_answered,
    ToolClaimed: _claimed,
    ToolReturned: _returned,
    ToolRefused: _refused,
    StepJudged: _judged,
    LimitReached: _limited,
    BudgetExtended: _extended,
    RunSuspended: _suspended,
    RunResumed: _resumed,
    RunFinished: _finished,
}
