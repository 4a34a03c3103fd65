"""Where a run stands, in words: why it ended or rests, what it is doing now, and what to type next."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from agentnb.budget import LIMITS, amount
from agentnb.decide import KEPT_MOST
from agentnb.events import LimitReached
from agentnb.state import RunState, Stage, Status
from agentnb.stops import REASONS

__all__ = [
    "closer",
    "inside",
    "is_decided",
    "now",
    "reason",
    "waits",
    "waits_for",
    "way_on",
    "ways_to_answer",
    "ways_to_decide",
]

_REASONS = {
    "cancelled": "ended by a person",
    "imported": "it was imported unfinished",
    "escalated": "needs a person",
    "loop": "it made the same call again and again",
    "cycle": "it went round in circles",
    "diminishing_returns": "it found nothing new any more",
    "malformed_output": "the model's replies could not be used",
    "interrupted": "stopped by you",
    "closed": "left by its caller",
    "approval": "waits for your decision",
    "question": "waits for your answer",
    "unanswered": "stopped at a question",
    "in_doubt": "a call's outcome is not known",
    "model_failed": "the model could not be reached",
    "error": "an error stopped it",
}


def is_decided(state: RunState) -> bool:
    """True where a run still rests at a question that has been answered: it could not go on here, or not yet."""
    rests = state.suspended if state.status is Status.SUSPENDED else None
    return rests is not None and rests.reason in ("approval", "question")


def waits(state: RunState) -> bool:
    """True where a run rests at what only a person can say: an answer, or whether a call may be made, or was."""
    doubt = state.suspended is not None and state.suspended.reason == "in_doubt"
    return doubt or state.status in (Status.AWAITING_APPROVAL, Status.AWAITING_ANSWER)


def reason(state: RunState) -> str:
    """Why the run ended or rests, in a few words; "" where it completed or goes on."""
    if state.suspended:
        return _REASONS[state.suspended.reason]
    if state.finished is None or state.finished.reason == "complete":
        return ""
    why, limit = state.finished.reason, state.limit
    if why in _REASONS or why not in LIMITS:
        return _REASONS.get(why, why)
    cap = limit.cap if limit and limit.limit == why else state.budget.caps().get(why, 0)
    return f"reached its limit of {amount(why, cap)}"


def now(state: RunState) -> str:
    """What the run is doing; "" where it is not being driven."""
    if state.status is not Status.IN_PROGRESS:
        return ""
    total, done, step = len(state.plan.steps) if state.plan else 0, len(state.outcomes), state.step
    where = f"step {done + 1} of {total}" if step else ""
    doing = {
        Stage.PLAN: "planning" if state.plan is None else "revising the plan",
        Stage.STEP: f"{where}: {_before_the_call(state)} {step.tool}" if step else "",
        Stage.CALL: f"{where}: {_calling(state, step.tool)}" if step else "",
        Stage.JUDGE: f"{where}: checking the result" if step else "",
        Stage.ANSWER: "writing the answer",
    }
    return doing.get(state.stage, "")


def _before_the_call(state: RunState) -> str:
    if state.inflight and state.inflight.phase == "assess":
        return "assessing"
    asks = (state.approval is not None and not state.approved) or state.question is not None
    return "asking you about" if asks else "preparing"


def _calling(state: RunState, tool: str) -> str:
    if state.cleared:
        return f"waiting to call {tool} again"
    return f"finding out whether {tool} acted" if state.doubt else f"calling {tool}"


def way_on(state: RunState, effects: int) -> str:
    """What to do next, as a line to type; "" where there is nothing to do.

    Args:
        state: of the run.
        effects: how many calls a dry run would have made.
    """
    run, status = state.head.run, state.status
    if status is Status.AWAITING_APPROVAL:
        return _decide(state)
    if status is Status.AWAITING_ANSWER:
        return "   or   ".join(ways_to_answer(run))
    if state.suspended or status is Status.IN_PROGRESS:
        return _from_rest(state)
    if state.stop in REASONS.values() and status is Status.STOPPED:
        return f"%agent retry {run} HINT"
    if state.limit and status is Status.STOPPED:
        flags = {limit.limit: _more(limit, len(state.left)) for limit in (state.limit, state.no_answer) if limit}
        return f"%agent extend {run} " + " ".join(f"--{name.replace('_', '-')} {more}" for name, more in flags.items())
    return _after_the_end(state, effects)


def closer(state: RunState) -> str:
    """What looks closer at a run that has ended, or goes another way from its last step, as lines to type; else ""."""
    if not state.status.ended:
        return ""
    run, last = state.head.run, state.outcomes.last(1)
    fork = [f"%agent fork {run} --at {last[0].step}"] if last and not (state.head.executes or state.head.parent) else []
    return "   or   ".join((f"%agent trace {run}", *fork))


def inside(states: Sequence[RunState]) -> str:
    """What runs inside of one another are doing, the outermost first; "" where there are none."""
    return " › ".join(f"{state.head.agent}: {now(state)}" for state in states)


def _from_rest(state: RunState) -> str:
    run, why = state.head.run, state.suspended.reason if state.suspended else ""
    if why == "in_doubt":
        return _look(state)
    ways = f"%agent retry {run} HINT   or   %agent cancel {run}"
    return ways if why == "malformed_output" else f"%agent resume {run}"


def _after_the_end(state: RunState, effects: int) -> str:
    run = state.head.run
    if state.may_have_acted:  # cancelled over it: until somebody says, it is kept, and no run takes its key
        return _look(state)
    if state.head.dry and state.status is Status.COMPLETED and effects:
        return f"%agent execute {run}"
    ways = [f"%agent fork {run} --at {state.outcomes.last(1)[0].step}"] if _can_be_forked(state) else []
    if state.stop == "unanswered" and state.step:
        ways.append(f"%agent fork {run} --at {state.step.id}")
    if any(item.settled is None for item in state.queue):
        ways.append(f"%agent pending {run}, then %agent execute {run} N   or   %agent discard {run} N")
    return "   or   ".join(ways)


def _can_be_forked(state: RunState) -> bool:
    """True where a step has stopped the run, and a new one can begin with it; an execution has no other way to go."""
    return state.stop == "escalated" and bool(len(state.outcomes)) and not state.head.executes


def _decide(state: RunState) -> str:
    asked = state.approval
    steps = (asked.step, *(call.step for call in asked.others)) if asked else ()
    return "   or   ".join(ways_to_decide(state.head.run, steps))


def ways_to_decide(run: str, steps: Sequence[str]) -> tuple[str, ...]:
    """The lines that answer what a run asks about the calls of these steps."""
    numbers = "".join(f" {step.removeprefix('s')}" for step in steps) if len(steps) > 1 else ""
    return f"%agent approve {run}{numbers}", f"%agent edit {run} ARG=VALUE", f"%agent reject {run} WHY"


def ways_to_answer(run: str) -> tuple[str, ...]:
    """The lines that answer what a call of a run rests on."""
    return f"%agent answer {run} TEXT", f"%agent go-on {run}", f"%agent cancel {run}"


def _look(state: RunState) -> str:
    """What to do about a call whose outcome is not known: where another run began it, that run comes first."""
    run, other = state.head.run, waits_for(state)
    if state.claim is not None:
        return f"look whether it happened, then %agent resume {run} --done   or   --not-done"
    if not other:
        return f"settle the other run first, then %agent resume {run}"
    first = f"look whether it happened, then %agent resume {other} --done   or   --not-done"
    return f"{first}, then %agent resume {run}"


def waits_for(state: RunState) -> str:
    """The other run whose call, under a key that holds for all runs, is in doubt and stops this one; or ""."""
    detail = state.suspended.detail if state.suspended and state.claim is None else ""
    found = re.search(r"%agent resume (\S+) --done", detail)
    return found[1] if found else ""


def _more(limit: LimitReached, steps_left: int) -> str:
    """How much to extend a cap by: what was short, with the part of it that is kept back, or half the cap again.

    Of steps and of tool calls as many as there are steps left: each makes at most one of the one, and one of the other
    where nothing has to be tried again.
    """
    short = max(0.0, limit.needed - limit.left)
    if limit.limit in ("steps", "tool_calls"):
        return str(max(1, steps_left))
    if limit.limit.endswith("calls"):
        return str(math.ceil(max(short, limit.cap / 2)))
    more = max(short / (1 - KEPT_MOST), limit.cap / 2)
    return str(math.ceil(more)) if limit.limit.endswith("tokens") else f"{more * 1.01:.3g}"
