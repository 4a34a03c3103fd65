"""How a record changes a run's state, and the table of transitions that it admits.

`apply(state, record)` is the only way a state comes about; the same records give the same state, today and after a
restart. What a state does not admit raises `IllegalTransition`, whatever a model said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from agentnb import assess_changes, step_changes, stop_changes
from agentnb.budget import Spent
from agentnb.cost import Line, Used, charged, settled
from agentnb.errors import DamagedRecord, IllegalTransition
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    AlertFailed,
    AlertRaised,
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalExpired,
    ArgsBound,
    AssessmentMade,
    BudgetExtended,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    GateRaised,
    LimitReached,
    LoopNoticed,
    MemorySummarised,
    ModelAsked,
    ModelCached,
    ModelEscalated,
    ModelFailed,
    ModelReplied,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    ReadRepeated,
    Record,
    ReplyRejected,
    RunFinished,
    RunForked,
    RunImported,
    RunResumed,
    RunRetried,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.failures import next_step
from agentnb.plan import Plan, Step
from agentnb.remembered import noted, read_again, summarised
from agentnb.state import NEW, NOTHING, Outcome, RunState, Stage, Status
from agentnb.step_changes import CLEAN, UNTRIED, Changes, current, require
from agentnb.stop_changes import assumed
from agentnb.stops import Seen
from agentnb.trail import Trail

__all__ = ["LEGAL", "apply", "fold"]

_MODEL = frozenset({ModelAsked, ModelReplied, ModelFailed, ModelCached, ReplyRejected, ModelEscalated})


_GATE = frozenset({GateRaised, ApprovalAsked, ApprovalAnswered, ApprovalExpired})


_QUESTION = frozenset({AssessmentMade, QuestionAsked, QuestionAnswered})


_ALERTS = frozenset({AlertRaised, AlertFailed})


_ANY = _ALERTS | {LimitReached, RunSuspended, RunResumed, RunRetried, RunFinished, BudgetExtended, RunImported}


_QUEUE = frozenset({ActionClaimed, ActionSettled})


LEGAL: Mapping[Stage, frozenset[type]] = {
    Stage.NEW: frozenset({RunStarted}),
    Stage.PLAN: _MODEL | _ANY | _QUEUE | {MemorySummarised, LoopNoticed, PlanMade, RunForked},
    Stage.STEP: _MODEL
    | _ANY
    | _GATE
    | _QUEUE
    | _QUESTION
    | {MemorySummarised, LoopNoticed, RunForked}
    | {
        ArgsBound,
        ReadRepeated,
        ToolClaimed,
        ToolRefused,
        EarlierResult,
        CallSimulated,
        ActionProposed,
        StepJudged,
    },
    Stage.CALL: _ANY
    | _QUEUE
    | {ToolReturned, ToolClaimed, ToolRefused, ToolRetried, CallInDoubt, DoubtResolved, GateRaised, ApprovalExpired}
    | {ChildStarted, ChildSettled},
    Stage.JUDGE: _MODEL | _ANY | _QUEUE | {StepJudged},
    Stage.ANSWER: _MODEL | _ANY | _QUEUE | {RunForked},
    Stage.DONE: _ALERTS | _QUEUE | {BudgetExtended, RunRetried, DoubtResolved, RunImported},
}
"""Which kinds of event each stage admits. What else has to hold is asked for in the handlers below."""


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
    require(state.suspended is None or isinstance(event, _WHILE_SUSPENDED), "the run is suspended", event)
    if type(event) in _TIMED:  # leave is held to the time of its record
        state = state.changed({"t": max(state.t, record.t)})
    changes = _APPLY[type(event)](state, event)
    if items := noted(event):
        changes["noted"] = (*changes.get("noted", state.noted), *items)
    return state.changed({**changes, "seq": record.seq, "at": record.at, "t": max(state.t, record.t)})


def _start(_: RunState, e: RunStarted) -> Changes:
    begun: Changes = {"status": Status.IN_PROGRESS, "stage": Stage.PLAN, "started": e, "outcomes": Trail()}
    return {**begun, "budget": e.budget, "planned_clean": 0 if e.tainted else None}


def _asked(state: RunState, e: ModelAsked) -> Changes:
    require(state.inflight is None, "another model call is in flight", e)
    return {"inflight": e, "reserved": e.reserved}


def _replied(state: RunState, e: ModelReplied) -> Changes:
    require(state.inflight is not None, "no model call is in flight", e)
    used = Spent(
        usd=e.usd,
        input_tokens=e.usage.input_tokens,
        output_tokens=e.usage.output_tokens,
        model_calls=1,
        working_seconds=e.seconds,
    )
    got = settled(state.inflight.model, e.usage, e.usd, e.uncached_usd, e.strong_usd) if state.inflight else Used()
    spent = state.spent + (used.uncounted() if e.usage.uncounted else used)
    return {"inflight": None, "reserved": NOTHING, "spent": spent, "costs": _costs(state, got)}


def _model_failed(state: RunState, e: ModelFailed) -> Changes:
    require(state.inflight is not None, "no model call is in flight", e)
    used = Spent(model_calls=1) if e.unbilled else state.reserved.uncounted()
    spent = state.spent + used + Spent(working_seconds=e.seconds)
    return {"inflight": None, "reserved": NOTHING, "spent": spent, "costs": _costs(state, _lost(used))}


def _costs(state: RunState, used: Used) -> tuple[Line, ...]:
    """What the call in flight has used, added to what its phase has used of its model."""
    asked = state.inflight
    return charged(state.costs, asked.phase, asked.model, used) if asked else state.costs


def _lost(used: Spent) -> Used:
    """What is charged for a call without a reply."""
    return Used(used.model_calls, used.input_tokens, used.output_tokens, used.usd)


def _cached(state: RunState, e: ModelCached) -> Changes:
    require(state.inflight is None, "another model call is in flight", e)
    tokens = e.usage.input_tokens + e.usage.output_tokens
    return {"costs": charged(state.costs, e.phase, e.model, Used(hits=1, hit_tokens=tokens, hit_usd=e.saved_usd))}


def _escalated(state: RunState, e: ModelEscalated) -> Changes:
    require(state.inflight is None, "a model call is in flight", e)
    require(state.rejected > 0, "no reply was rejected", e)
    require(not state.escalated, "the strong model was asked already", e)
    return {"escalated": True, "rejected": state.rejected - 1}  # it has one try


def _alert_raised(state: RunState, e: AlertRaised) -> Changes:
    require(all(was.threshold != e.threshold for was in state.alerts), "it was raised already", e)
    return {"alerts": (*state.alerts, e)}


def _alert_failed(state: RunState, e: AlertFailed) -> Changes:
    require(bool(state.alerts), "no alert was raised", e)
    return {}


def _planned(state: RunState, e: PlanMade) -> Changes:
    plan = state.plan or Plan(())
    require(state.inflight is None, "a model call is in flight", e)
    require(e.version == (state.plan.version + 1 if state.plan else 1), f"version {e.version} is out of order", e)
    require(e.keep == len(state.outcomes), f"keeps {e.keep} of {len(state.outcomes)} finished steps", e)
    ids = [step.id for step in e.steps]
    require(ids == [f"s{e.keep + n}" for n in range(1, len(ids) + 1)], f"ids {ids} are not by place", e)
    revised = plan.revised(e.keep, e.steps, version=e.version, reason=e.reason, by=e.by)
    changes = {"plan": revised, "why": "", "noted": assumed(state, e), **_next_step(more=bool(e.steps))}
    if state.plan is not None:
        own = 0 if state.answered else 1  # a revision that a person's answer calls for is not the planner's
        changes |= {
            "revisions": state.revisions + own,
            "answered": False,
            "acted_before": state.acted_before | _acted(state),
        }
    if state.planned_clean is not None:
        changes["planned_clean"] = min(state.planned_clean, e.keep)
    return changes


def _forked(state: RunState, e: RunForked) -> Changes:
    """Another run's beginning becomes this one's: its steps are done here too, and nothing else of it is."""
    require(state.inflight is None, "a model call is in flight", e)
    require(state.claim is None, "a call is claimed", e)
    head = replace(
        state.head, model=e.model, cheap_model=e.cheap_model, phases=e.phases, escalate=e.escalate, tools=e.tools,
        policy=e.policy, tags=e.tags, budget=e.budget, alerts=e.alerts, assess=e.assess, stops=e.stops,
    )  # fmt: skip
    left: Changes = {
        **CLEAN, "spent": NOTHING, "reserved": NOTHING, "costs": (), "alerts": (), "queue": (), "grants": (),
        "allowed": frozenset(), "revisions": 0, "why": "", "suspended": None, "answered": False, "seen": Seen(),
        "held": NOTHING,
    }  # fmt: skip
    changes: Changes = {"started": head, "fork": e, "budget": e.budget, "status": Status.IN_PROGRESS, **left}
    shared = tuple(replace(c, spent=NOTHING) if c.spent is None else c for c in state.children)
    changes["children"] = shared  # by reference: they are the other run's, and settled there
    acted = state.acted_before | frozenset(e.acted)
    if e.steps is not None:
        keep, plan = len(state.outcomes), state.plan or Plan((), 0)
        reason = f"changed at {e.at}" if state.plan else "given by the user"
        changes["plan"] = plan.revised(keep, e.steps, version=plan.version + 1, reason=reason, by=e.by)
        changes["stage"] = Stage.STEP if e.steps else Stage.ANSWER
        acted |= _acted(state)
        if state.planned_clean is not None:
            changes["planned_clean"] = min(state.planned_clean, keep)
    return changes | {"acted_before": acted}


def _imported(state: RunState, e: RunImported) -> Changes:
    """It came from elsewhere: who is asked here, and what was allowed here, is another matter."""
    head = replace(state.head, policy=e.policy)
    leave: Changes = {"grants": (), "allowed": frozenset(), "approval": None, "approved": "", "approved_until": 0.0}
    return {"started": head, "budget": e.budget, "imported": True, **leave}


def _acted(state: RunState) -> frozenset[str]:
    """What the finished steps have called that acts."""
    return frozenset(o.call for o in state.outcomes if o.call and o.status != "failed")


def _next_step(*, more: bool) -> Changes:
    """Ready for the step after the last finished one, or for the answer where there is no more."""
    return {**CLEAN, "stage": Stage.STEP if more else Stage.ANSWER}


def _outcome(state: RunState, step: Step, got: ToolReturned, finding: str) -> Outcome:
    advised = got.failure is not None and state.refused != "person"  # whose reason says what may be done next
    said = f"{got.message} ({next_step(got.failure)})" if got.failure and advised else got.message
    return Outcome(
        step.id,
        got.status,
        got.result,
        finding,
        said,
        tainted=state.present_tainted,
        call=state.call,
        earlier=state.earlier,
        skipped=state.refused == "selection",
        gist=got.gist,
    )


def _judged(state: RunState, e: StepJudged) -> Changes:
    step = current(state, e.step, e)
    if e.verdict == "retry":
        return {**CLEAN, "stage": Stage.STEP, "attempt": state.attempt + 1, "problems": (e.reason,)}
    got = state.returned or ToolReturned(step=e.step, status="failed", seconds=0, message=e.reason)
    outcome = _outcome(state, step, got, e.finding)
    outcomes = state.outcomes.with_last(outcome)
    changes = _next_step(more=state.plan is not None and len(outcomes) < len(state.plan.steps))
    changes |= {"outcomes": outcomes, "spent": state.spent + _ONE_STEP}
    changes |= read_again(state, outcome)
    if e.verdict == "revise":
        changes |= {"stage": Stage.PLAN, "why": e.reason}
    elif e.verdict == "escalate":
        changes |= {"stage": Stage.ANSWER, "stop": "escalated", "why": e.reason}
    if state.plan is not None and state.plan.by == "model":  # nobody else chose a call anew
        changes["seen"] = stop_changes.seen_with(state, e, got)
    return changes


def _limited(state: RunState, e: LimitReached) -> Changes:
    require(state.inflight is None, "a model call is in flight", e)
    require(state.no_answer is None, "the run has no answer to be cut short any more", e)
    short: Changes = {"no_answer": e} if e.phase == "answer" else {}
    if state.limit is not None:
        return short
    stop = state.stop or e.limit
    require(state.stage is not Stage.CALL or state.cleared, "a call is not settled", e)
    rest: Changes = {"limit": e, "reopen": state.stage, "stage": Stage.ANSWER, "stop": stop}
    if state.claim is not None:  # it did not act, and is asked about anew once there is room for it
        rest |= {**CLEAN, "bound": state.bound, "by_model": state.by_model, "raised": state.raised}
        rest["reopen"] = Stage.STEP
    return {**rest, **short, **UNTRIED}


def _extended(state: RunState, e: BudgetExtended) -> Changes:
    if state.stage is not Stage.DONE:
        return {"budget": e.budget}
    limit = state.limit
    if limit is None or state.status is not Status.STOPPED:
        raise IllegalTransition("budget_extended: the run did not stop at a limit")
    stop = "" if state.stop == limit.limit else state.stop
    again = {"status": Status.IN_PROGRESS, "stage": state.reopen, "stop": stop, "limit": None, "no_answer": None}
    return {"budget": e.budget, "finished": None, **UNTRIED, **again}


def _suspended(state: RunState, e: RunSuspended) -> Changes:
    waits = {"approval": Status.AWAITING_APPROVAL, "question": Status.AWAITING_ANSWER}
    status = waits.get(e.reason, Status.SUSPENDED)
    worked = state.spent + Spent(working_seconds=e.seconds)
    rest: Changes = {"status": status, "suspended": e, "spent": worked}
    if not e.withdrawn:
        return rest
    if state.claim and not state.unbegun:  # what has been begun stays claimed, whoever closes the run after it
        return rest
    if state.claim:
        again = {"attempt": state.attempt, "bound": state.bound, "by_model": state.by_model, "raised": state.raised}
        return {**rest, **CLEAN, **again, "stage": Stage.STEP, "spent": worked + Spent(tool_calls=-1)}
    return {**rest, "inflight": None, "reserved": NOTHING}


def _resumed(state: RunState, e: RunResumed) -> Changes:
    require(state.claim is None or state.claim.tool not in e.tools, "the claimed call is one of another tool", e)
    # A call in flight when the last process ended may have been answered, and billed: it stays charged. Nobody bills
    # for a model on this machine.
    here = state.inflight is not None and state.inflight.model.startswith("local:")
    lost = Spent(model_calls=1) if here else state.reserved.uncounted()
    unsure = state.unsure or (state.claim is not None and not state.cleared)
    fresh: Changes = {"inflight": None, "reserved": NOTHING, "unsure": unsure, "given_up": False, "reread": ()}
    if state.suspended and state.suspended.reason == "malformed_output" and state.claim is None:  # else a child's
        fresh |= {"rejected": 0, "retried": True}
    fresh |= {"spent": state.spent + lost, "costs": _costs(state, _lost(lost))}
    return {"status": Status.IN_PROGRESS, "suspended": None, **fresh, **_accepted(state, e)}


def _accepted(state: RunState, e: RunResumed) -> Changes:
    """What a person has accepted: other models, and other tools, for which nothing that was allowed before holds."""
    was = state.head
    model, cheap_model = e.model or was.model, e.cheap_model or was.cheap_model
    head = replace(was, model=model, cheap_model=cheap_model, phases={**was.phases, **e.phases})
    changes: Changes = {"started": head, "without": (state.without | {*e.without}) - {*e.tools}}
    if not e.tools:
        return changes
    started = replace(head, tools={**head.tools, **e.tools})
    changes |= {"started": started, "grants": (), "allowed": state.allowed - {*e.tools}}
    if state.stage is Stage.STEP and state.step and state.step.tool in e.tools:
        changes |= {**CLEAN, "attempt": state.attempt, "bound": state.bound, "by_model": state.by_model}
        changes["assessed"] = ""  # with the other tool it is another call, and what was asked about it is asked again
    return changes


def _finished(state: RunState, e: RunFinished) -> Changes:
    require(state.inflight is None, "a model call is in flight", e)
    require(e.status != "completed" or state.step is None, f"{len(state.left)} steps are left", e)
    require(e.status == "cancelled" or state.stage is not Stage.CALL, "a call is not settled", e)
    return {"status": Status(e.status), "stage": Stage.DONE, "finished": e, "suspended": None, **UNTRIED}


_TIMED = frozenset({ToolClaimed, ApprovalAnswered, DoubtResolved})


_ONE_STEP = Spent(steps=1)


_WHILE_SUSPENDED = (
    RunResumed, RunRetried, ApprovalAnswered, QuestionAnswered, BudgetExtended, DoubtResolved, RunSuspended,
    ActionClaimed, ActionSettled, RunImported,
)  # fmt: skip
"""What a person, or the next process, may add to a run that rests."""


_APPLY: Mapping[type, Callable[[RunState, Any], Changes]] = {
    RunStarted: _start,
    ModelAsked: _asked,
    ModelReplied: _replied,
    ModelFailed: _model_failed,
    ModelCached: _cached,
    ReplyRejected: stop_changes.rejected,
    ModelEscalated: _escalated,
    AlertRaised: _alert_raised,
    AlertFailed: _alert_failed,
    PlanMade: _planned,
    ArgsBound: step_changes.bound,
    AssessmentMade: assess_changes.assessed,
    QuestionAsked: assess_changes.asked,
    QuestionAnswered: assess_changes.answered,
    GateRaised: step_changes.gate_raised,
    ApprovalAsked: step_changes.approval_asked,
    ApprovalAnswered: step_changes.approval_answered,
    ApprovalExpired: step_changes.approval_expired,
    ToolClaimed: step_changes.claimed,
    ToolReturned: step_changes.returned,
    ChildStarted: step_changes.child_started,
    ChildSettled: step_changes.child_settled,
    ToolRetried: step_changes.retried,
    ToolRefused: step_changes.refused,
    MemorySummarised: summarised,
    ReadRepeated: step_changes.read_repeated,
    CallInDoubt: step_changes.in_doubt,
    DoubtResolved: step_changes.doubt_resolved,
    EarlierResult: step_changes.earlier,
    CallSimulated: step_changes.simulated,
    ActionProposed: step_changes.proposed,
    ActionClaimed: step_changes.action_claimed,
    ActionSettled: step_changes.action_settled,
    StepJudged: _judged,
    LoopNoticed: stop_changes.circled,
    LimitReached: _limited,
    BudgetExtended: _extended,
    RunSuspended: _suspended,
    RunResumed: _resumed,
    RunRetried: stop_changes.retried,
    RunForked: _forked,
    RunImported: _imported,
    RunFinished: _finished,
}
