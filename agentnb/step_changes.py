"""What the events of one step's call change: its arguments, the leave for it, its claim and its outcome."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from agentnb.budget import Spent
from agentnb.errors import FailureClass, IllegalTransition
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalExpired,
    ArgsBound,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    Kept,
    ReadRepeated,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.plan import Step
from agentnb.policy import ToolFacts
from agentnb.state import NOTHING, Child, Grant, Queued, RunState, Stage, Status
from agentnb.stops import mark_of

__all__ = [
    "CLEAN",
    "UNTRIED",
    "Changes",
    "action_claimed",
    "action_settled",
    "approval_answered",
    "approval_asked",
    "approval_expired",
    "bound",
    "call_mark",
    "child_settled",
    "child_started",
    "claimed",
    "current",
    "doubt_resolved",
    "earlier",
    "facts_of",
    "gate_raised",
    "in_doubt",
    "proposed",
    "read_repeated",
    "refused",
    "require",
    "retried",
    "returned",
    "simulated",
]

Changes = dict[str, Any]
"""What a handler changes of the state, by field: one copy of the state a record, and not one a change."""


def require(holds: bool, otherwise: str, event: Event) -> None:  # noqa: FBT001 - reads as a sentence where it stands
    """Raise IllegalTransition, with `otherwise`, unless it holds."""
    if not holds:
        raise IllegalTransition(f"{event.kind}: {otherwise}")


UNTRIED: Final[Changes] = {"rejected": 0, "escalated": False, "problems": (), "hint": "", "retried": False}
"""Of a phase in which no model has been asked yet."""


CLEAN: Final[Changes] = {
    **UNTRIED, "attempt": 1, "refused": "", "bound": None, "by_model": False, "gaps": (), "question": None,
    "raised": (), "said": (),
    "approval": None, "approved": "", "reread": (), "claim": None, "cleared": False, "unsure": False, "doubt": "",
    "given_up": False, "call": "", "read": "", "mark": "", "returned": None, "earlier": False, "strange": False,
}  # fmt: skip
"""Of a step that has not been begun."""


def current(state: RunState, step: str, e: Event) -> Step:
    """The present step, which must be the one that the event is about."""
    present = state.step
    if present is None or present.id != step:
        raise IllegalTransition(
            f"{e.kind}: {step} is not the present step ({present.id if present else 'there is none'})"
        )
    require(state.inflight is None, "a model call is in flight", e)
    return present


def bound(state: RunState, e: ArgsBound) -> Changes:
    """A model filled the open arguments."""
    current(state, e.step, e)
    # What the present step's own tool brings after this is nothing that the model can have read.
    return {"bound": e.args, "by_model": state.planned_clean is not None, **UNTRIED}


def gate_raised(state: RunState, e: GateRaised) -> Changes:
    """Guards want a person's leave; what was asked or answered before they said so does not count."""
    current(state, e.step, e)
    if state.claim is not None:
        return {**_given_back(state, e), "raised": e.reasons}
    return {"raised": e.reasons, "approval": None, "approved": ""}


def approval_asked(state: RunState, e: ApprovalAsked) -> Changes:
    """A person is being asked."""
    current(state, e.step, e)
    return {"approval": e, "asked_at": state.seq + 1, "approved": ""}


def approval_answered(state: RunState, e: ApprovalAnswered) -> Changes:
    """Somebody, the policy or silence decided."""
    current(state, e.step, e)
    if e.earlier:
        return _decided_earlier(state, e)
    asked = state.approval
    if asked is None or state.approved:
        raise IllegalTransition(f"{e.kind}: nothing waits for an answer")
    require(not e.silent or e.decision == asked.on_silence, f"silence means {asked.on_silence}", e)
    late = asked.expires is not None and state.t > asked.expires and asked.on_silence == "reject"
    require(e.silent or e.decision == "reject" or not late, "the question has expired", e)
    until = state.t + state.head.policy.valid_s
    known = {call.binding for call in asked.others}
    require(known >= set(e.others), "it decides about calls that were not asked about", e)
    fresh = tuple(
        Grant(call.binding, e.others[call.binding], until, e.by, call.reasons)
        for call in asked.others
        if call.binding in e.others
    )
    changes: Changes = {"status": _awake(state), "grants": state.grants + fresh, "approved_until": until, "reread": ()}
    if e.decision == "reject":
        return changes | _turned_down(state, e)
    if e.allow:
        facts = state.head.tools[asked.tool]
        require(
            facts.reversibility != "irreversible", f"{asked.tool} cannot be taken back: it is asked about each time", e
        )
        changes["allowed"] = state.allowed | {asked.tool}
    if e.decision == "edit":
        require(e.args is not None and bool(e.binding), "an edit has arguments and their binding", e)
        if state.assessed == state.present_call:  # what a person has written into it is not a model's guess
            changes["assessed"] = state._replace(bound=e.args).present_call
        return changes | {"bound": e.args, "approved": e.binding}  # an edit of one argument vouches for no other
    return changes | {"approved": asked.binding}


def approval_expired(state: RunState, e: ApprovalExpired) -> Changes:
    """An approval was not used in its time."""
    current(state, e.step, e)
    # Leave was needed and given: it is needed still, even where an edit has taken away what called for it.
    raised = state.raised or ("what was approved was not used in time",)
    if state.claim is not None:
        return {**_given_back(state, e), "raised": raised}
    require(bool(state.approved), "nothing is approved", e)
    return {"approval": None, "approved": "", "raised": raised}


def _given_back(state: RunState, e: Event) -> Changes:
    """A claimed call that has not acted needs leave anew before it is made again: back to before the claim."""
    require(state.cleared, "whether the call that is claimed has acted is not known", e)
    same = {"attempt": state.attempt, "bound": state.bound, "by_model": state.by_model}
    return {**CLEAN, **same, "stage": Stage.STEP}


def _decided_earlier(state: RunState, e: ApprovalAnswered) -> Changes:
    """One use of what a person said of this call when an earlier one was asked about."""
    granted = e.decision == "approve"
    said = [n for n, grant in enumerate(state.grants) if grant.binding == e.binding and grant.granted == granted]
    if not said:
        raise IllegalTransition(f"{e.kind}: nothing of the kind was decided about this call earlier")
    place = max(said, key=lambda n: state.grants[n].until)  # others may have expired
    grant = state.grants[place]
    rest: Changes = {"grants": state.grants[:place] + state.grants[place + 1 :]}
    if e.decision == "approve":
        return rest | {"approved": e.binding, "approved_until": grant.until, "reread": ()}
    return rest | _turned_down(state, e)


def _awake(state: RunState) -> Status:
    return Status.SUSPENDED if state.suspended else Status.IN_PROGRESS


def _turned_down(state: RunState, e: ApprovalAnswered) -> Changes:
    """A person's no is planned around; where nobody was there to be asked, no other plan helps.

    Whoever selects some calls of a plan of the user's leaves out the others, and does not stop the run.
    """
    if (e.earlier or any(e.others.values())) and state.plan is not None and state.plan.by == "user":
        said = ": ".join(dict.fromkeys(filter(None, (_NOT_SELECTED, e.reason))))
        left_out = ToolReturned(step=e.step, status="failed", seconds=0, message=said)
        return {"stage": Stage.JUDGE, "approval": None, "returned": left_out, "refused": "selection"}
    who = "the policy" if e.by == "policy" else "a person"  # not by name: prompts say it, and are replayed elsewhere
    said = f"{who} rejected the call" + (f": {e.reason}" if e.reason else "")
    nobody = e.silent or (e.by == "policy" and state.head.policy.approve != "deny")
    failure = FailureClass.PERMISSION if nobody else FailureClass.INVALID_DATA
    refused = ToolReturned(step=e.step, status="failed", seconds=0, failure=failure, message=said)
    return {"stage": Stage.JUDGE, "approval": None, "returned": refused, "refused": "person"}


def claimed(state: RunState, e: ToolClaimed) -> Changes:
    """A call is about to be made: the one place where leave is used up."""
    step = current(state, e.step, e)
    require(not state.gaps, "a person has to be asked first", e)
    require(e.tool == step.tool, f"{e.tool} is not the tool of {step.id}", e)
    require(state.claim is None or state.claim.key == e.key, "another call is claimed", e)
    require(not state.head.dry or not facts_of(state, step).acts, "a dry run does not act", e)
    require(facts_of(state, step).effect != "destructive", "destructive calls are only proposed", e)
    again = state.claim is not None and (state.cleared or facts_of(state, step).repeatable)
    require(state.claim is None or again, "whether the call that is claimed has acted is not known", e)
    require(
        not again or state.claim is None or state.claim.args == e.args, "it is another call than the claimed one", e
    )
    let = again or (bool(state.approved) and state.approved == e.binding and state.t <= state.approved_until)
    require(let or not state.gated, "exactly this call was not approved", e)
    mark = call_mark(e.tool, e.args)
    marked = {"call": mark, "read": ""} if facts_of(state, step).acts else {"call": "", "read": mark_of(mark)}
    spent = state.spent + _ONE_CALL
    fresh: Changes = {"approved": "", "approval": None, "cleared": False, "doubt": "", "given_up": False}
    return {"claim": e, "claimed_at": state.seq + 1, "stage": Stage.CALL, "spent": spent, **marked, **fresh}


def facts_of(state: RunState, step: Step) -> ToolFacts:
    """What the policy needs to know of the step's tool."""
    return state.head.tools[step.tool]


def call_mark(tool: str, args: Kept) -> str:
    """What is called, as a text that only the same call has."""
    return f"{tool} {args.blob or args.text}"


def returned(state: RunState, e: ToolReturned) -> Changes:
    """The call has an outcome."""
    current(state, e.step, e)
    if state.claim is None:
        raise IllegalTransition(f"{e.kind}: the call was not claimed")
    return {**_judgeable(state, e), "mark": _mark(state.claim, e), "spent": _worked(state, e.seconds)}


def _mark(called: ToolClaimed | CallSimulated, got: ToolReturned) -> str:
    """What tells the same call with the same outcome again."""
    gave = (got.result.blob or got.result.text or "") if got.result else got.message
    return mark_of(call_mark(called.tool, called.args), got.status, gave)


def _worked(state: RunState, seconds: float) -> Spent:
    """What is spent, with a try of the claimed call that took so long: what its children worked is charged already."""
    within = sum(c.spent.working_seconds for c in state.children if c.spent and c.claimed_at == state.claimed_at)
    return state.spent + Spent(working_seconds=max(0.0, seconds - within))


def child_started(state: RunState, e: ChildStarted) -> Changes:
    """Another agent's run is about to begin inside the claimed call."""
    current(state, e.step, e)
    require(state.claim is not None, "no call is claimed", e)
    require(state.child(e.key) is None, f"{e.key} has a child", e)
    short = state.budget.first_short(state.used(), e.held)
    require(short is None, f"the budget does not cover it: {short}", e)
    fresh = Child(e.child, e.agent, e.step, e.key, state.claimed_at, e.held)
    return _with_children((*state.children, fresh))


def child_settled(state: RunState, e: ChildSettled) -> Changes:
    """A child has ended: what it spent is spent here."""
    current(state, e.step, e)
    waits = [c.run for c in state.children if c.spent is None]
    require(e.child in waits, f"{e.child} is no child that is not settled", e)
    told = tuple(replace(c, spent=e.spent) if c.run == e.child else c for c in state.children)
    read: Changes = {"strange": state.strange or e.tainted, **_taken_in(state, e.step, strange=e.tainted)}
    return {**_with_children(told), **read, "spent": state.spent + e.spent}


def _with_children(children: tuple[Child, ...]) -> Changes:
    """Added up anew each time: to add and to take away again would leave a rest of rounding."""
    waiting = [child.held for child in children if child.spent is None]
    return {"children": children, "held": sum(waiting[1:], waiting[0]) if waiting else NOTHING}


def _judgeable(state: RunState, e: ToolReturned) -> Changes:
    settled: Changes = {"claim": None, "cleared": False, "unsure": False, "doubt": "", "given_up": False}
    rest: Changes = {**settled, "stage": Stage.JUDGE, **UNTRIED}
    return {"returned": e, **rest, **_taken_in(state, e.step)}


def _taken_in(state: RunState, step: str, *, strange: bool = False) -> Changes:
    """From here on the run has read what strangers wrote, if the present step's tool brings such text."""
    facts = state.facts
    if facts is None or not (facts.untrusted or strange) or step in state.sources or len(state.sources) >= _SOURCES:
        return {}
    known = len(state.plan.steps) if state.plan else 0
    clean = known if state.planned_clean is None else state.planned_clean
    return {"planned_clean": clean, "sources": (*state.sources, step)}


def retried(state: RunState, e: ToolRetried) -> Changes:
    """The call failed, and is made again; it is cleared unless this try, or one before it, may have acted."""
    step = current(state, e.step, e)
    require(state.claim is not None, "the call was not claimed", e)
    spent = _worked(state, e.seconds)
    unsure = facts_of(state, step).acts and (state.unsure or e.acted == "unknown")
    return {"cleared": not unsure, "unsure": unsure, "spent": spent, **_taken_in(state, e.step)}


def read_repeated(state: RunState, e: ReadRepeated) -> Changes:
    """An execution has made one of its reads again."""
    require(state.unread is not None and state.unread.id == e.step, "that read is not to be made again", e)
    spent = state.spent + Spent(tool_calls=1, working_seconds=e.seconds)
    return {"reread": state.reread if e.problem else (*state.reread, e.step), "spent": spent}


def in_doubt(state: RunState, e: CallInDoubt) -> Changes:
    """Whether the call acted is not known."""
    current(state, e.step, e)
    require(state.claim is not None, "the call was not claimed", e)
    spent = _worked(state, e.seconds)
    return {"doubt": e.message, "given_up": True, "cleared": False, "spent": spent, **_taken_in(state, e.step)}


def doubt_resolved(state: RunState, e: DoubtResolved) -> Changes:
    """Somebody has looked."""
    current(state, e.step, e)
    require(state.claim is not None, "no call is in doubt", e)
    if (
        state.stage is Stage.DONE
    ):  # the run was cancelled over it: what is known settles the ledger, and nothing follows
        return {"claim": None, "cleared": False, "unsure": False, "doubt": "", "given_up": False}
    if not e.happened:
        # A person who says so has it made again: that is leave, as any other, and holds as long.
        until = state.approved_until if e.by == "reconcile" else state.t + state.head.policy.valid_s
        return {"status": _awake(state), "cleared": True, "unsure": False, "doubt": "", "approved_until": until}
    said = f"{e.by} says that it was done" + (f": {e.reason}" if e.reason else "")
    back = ToolReturned(step=e.step, status="ok", seconds=0, result=e.result, message=said)
    return {"status": _awake(state), **_judgeable(state, back)}


def earlier(state: RunState, e: EarlierResult) -> Changes:
    """Another run has done it before."""
    current(state, e.step, e)
    require(state.claim is None, "the call is claimed", e)
    said = f"it was done before, by {e.run} at {e.at_step}: {e.key}"
    back = ToolReturned(step=e.step, status="ok", seconds=0, result=e.result, message=said)
    read = _taken_in(state, e.step, strange=e.tainted)
    taken: Changes = {"earlier": True, "strange": e.tainted, "approval": None, "approved": ""}
    return {**_judgeable(state, back), **read, **taken}


def simulated(state: RunState, e: CallSimulated) -> Changes:
    """A dry run notes what would be done."""
    current(state, e.step, e)
    require(state.head.dry, "this is no dry run", e)
    require(not state.gaps, "a person has to be asked first", e)
    back = ToolReturned(step=e.step, status="ok", seconds=0, result=e.result, message="simulated: nothing was done")
    spent = state.spent + _ONE_CALL
    return {**_judgeable(state, back), "call": call_mark(e.tool, e.args), "mark": _mark(e, back), "spent": spent}


def proposed(state: RunState, e: ActionProposed) -> Changes:
    """A destructive call joins the queue."""
    step = current(state, e.step, e)
    require(facts_of(state, step).effect == "destructive", f"{step.tool} is not destructive", e)
    require(not state.gaps, "a person has to be asked first", e)
    said = "it waits in the queue of pending actions for a person"
    back = ToolReturned(step=e.step, status="proposed", seconds=0, message=said)
    return {**_judgeable(state, back), "call": call_mark(e.tool, e.args), "queue": (*state.queue, Queued(e))}


def action_claimed(state: RunState, e: ActionClaimed) -> Changes:
    """A proposed action is about to be carried out."""
    return {"queue": _requeued(state, e, claimed=e)}


def action_settled(state: RunState, e: ActionSettled) -> Changes:
    """A proposed action was carried out, failed, or was dropped."""
    if e.status == "in_doubt":
        return {"queue": _requeued(state, e, doubt=e.message)}
    waits = e.status == "failed"  # it did not act, and may be tried again
    return {"queue": _requeued(state, e, claimed=None, doubt="", settled=None if waits else e)}


def _requeued(state: RunState, e: ActionClaimed | ActionSettled, **changes: Any) -> tuple[Queued, ...]:
    place = next((n for n, item in enumerate(state.queue) if item.action.step == e.step), None)
    if place is None or state.queue[place].settled is not None:
        raise IllegalTransition(f"{e.kind}: no action of {e.step} waits in the queue")
    item = state.queue[place]
    require(isinstance(e, ActionSettled) or item.claimed is None, "the action is claimed already", e)
    require(isinstance(e, ActionClaimed) or bool(item.claimed) or e.status == "dropped", "it was not claimed", e)
    return (*state.queue[:place], replace(item, **changes), *state.queue[place + 1 :])


def refused(state: RunState, e: ToolRefused) -> Changes:
    """The call never reached its function; what a breaker says quotes the tool's last failure, of whichever run."""
    current(state, e.step, e)
    read = _taken_in(state, e.step) if e.by == "breaker" else {}
    again = {"attempt": state.attempt + 1, "problems": e.problems, "refused": e.by}
    return {**CLEAN, **read, "stage": Stage.STEP, **again}


_ONE_CALL: Final = Spent(tool_calls=1)
_NOT_SELECTED: Final = "not selected"
_SOURCES: Final = 8
"""Steps with untrusted text that are named."""
