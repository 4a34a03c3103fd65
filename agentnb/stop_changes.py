"""What events change that tell of a run which gets no further: unusable replies, circles, and a person's help."""

from __future__ import annotations

from dataclasses import replace

from agentnb.errors import IllegalTransition
from agentnb.events import Item, LoopNoticed, PlanMade, ReplyRejected, RunRetried, StepJudged, ToolReturned
from agentnb.recovery import PERSON_SAYS
from agentnb.state import RunState, Stage, Status
from agentnb.step_changes import CLEAN, Changes, require
from agentnb.stops import REASONS, Seen, mark_of

__all__ = ["assumed", "circled", "rejected", "retried", "seen_with"]


def rejected(state: RunState, e: ReplyRejected) -> Changes:
    """A reply cannot be used: the next one is asked for with what was wrong."""
    require(state.inflight is None, "a model call is in flight", e)
    return {"rejected": state.rejected + 1, "problems": _with_hint(state.hint, e.problems)}


def _with_hint(hint: str, problems: tuple[str, ...]) -> tuple[str, ...]:
    """The problems after what a person says to them; what was said before gives way to it."""
    ours = tuple(problem for problem in problems if not problem.startswith(PERSON_SAYS))
    return (f"{PERSON_SAYS}{hint}", *ours) if hint else problems


def assumed(state: RunState, e: PlanMade) -> tuple[Item, ...]:
    """What the memory holds once `e` is the plan: the assumptions of its steps in place of those that it drops."""
    dropped = state.plan.steps[e.keep :] if state.plan and state.noted else ()
    gone = {(step.id, said) for step in dropped for said in step.assumes}
    known = (item for item in state.noted if item.kind != "assumption" or (*item.sources, item.text) not in gone)
    new = (
        Item(kind="assumption", text=said, by="model", sources=(step.id,)) for step in e.steps for said in step.assumes
    )
    return (*known, *new)


def seen_with(state: RunState, e: StepJudged, got: ToolReturned) -> Seen:
    """What is remembered of the finished steps, with the present one.

    Args:
        state: before it is finished.
        e: the verdict.
        got: what came of it; a failure is no fact.
    """
    worked = got.status != "failed"
    facts = [mark_of("result", got.result.blob or got.result.text or "")] if got.result else []
    facts += [mark_of("finding", " ".join(e.finding.lower().split()))] if e.finding else []
    acted = worked and state.facts is not None and state.facts.acts
    level = e.confidence if e.by == "critic" else ""
    return state.seen.taking(state.mark, facts if worked else (), level=level, acted=acted)


def circled(state: RunState, e: LoopNoticed) -> Changes:
    """The planner is told of it; or the run is stopped, and answers with what it has found."""
    require(state.inflight is None, "a model call is in flight", e)
    require(not state.seen.looked, "no step was finished since the last one", e)
    require(not state.stop, "the run is being brought to its end", e)
    changes: Changes = {"seen": state.seen.noticed(e.what)}
    if e.then == "stop":
        changes |= {**CLEAN, "stage": Stage.ANSWER, "stop": REASONS[e.what], "why": e.said}
    elif e.then == "revise":
        changes |= {**CLEAN, "stage": Stage.PLAN, "why": "; ".join(filter(None, (e.said, state.why)))}
    return changes


def retried(state: RunState, e: RunRetried) -> Changes:
    """A person has it tried again, and may have said how."""
    if state.stage is Stage.DONE:
        return _reopened(state, e)
    waits = state.suspended is not None and state.suspended.reason == "malformed_output"
    require(waits, "no reply of this run waits for a person", e)
    return {"hint": e.hint, "problems": _with_hint(e.hint, state.problems)}


def _reopened(state: RunState, e: RunRetried) -> Changes:
    """A run that was stopped in a circle is planned anew, and is told the next time once more before it is stopped."""
    if state.status is not Status.STOPPED or state.stop not in REASONS.values():
        raise IllegalTransition(f"{e.kind}: the run did not stop in a circle")
    why = "; ".join(filter(None, (f"{PERSON_SAYS}{e.hint}" if e.hint else "", state.why)))
    again: Changes = {"status": Status.IN_PROGRESS, "stage": Stage.PLAN, "stop": "", "limit": None, "no_answer": None}
    return {**CLEAN, **again, "finished": None, "why": why, "seen": replace(state.seen, told=(), idle=0)}
