"""START HERE: what happens next, as a pure function of the state.

This is the whole policy of the runtime on one page. It reads no clock, no store and no network, so it can be walked
through every state there is (tests/test_decide.py does). `perform.py` carries out what it decides; `state.py` takes
in what came of it.

    PLAN ──plan──> STEP ──claim──> CALL ──result──> JUDGE ──continue──> STEP … ──no step left──> ANSWER ──> DONE
     ^                ^──────────────retry────────────┤                                            ^
     └────────────────────────revise──────────────────┴──escalate, or a limit anywhere─────────────┘
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from agentnb.budget import Budget, Refusal, Spent
from agentnb.errors import FailureClass
from agentnb.events import Event, Level, LimitReached, PlanMade, RunFinished, RunSuspended, StepJudged
from agentnb.plan import Step, open_args
from agentnb.state import RunState, Stage, Status

__all__ = [
    "Action",
    "AskPerson",
    "BindArgs",
    "CallTool",
    "Critique",
    "HandOver",
    "MakePlan",
    "Note",
    "WriteAnswer",
    "decide",
    "kept_back",
]

MAX_REJECTED: Final = 3
"""Replies that do not hold what was asked for, in a row, before a person is told."""
MAX_ATTEMPTS: Final = 3
"""Tries of one step before its plan is revised."""
MAX_REVISIONS: Final = 3
"""Revisions of a plan before a person is told."""
ANSWER_TOKENS: Final = 12_000
"""The most tokens that are held back for the final answer; worst cases count a token a byte, so it is not much."""
KEPT_MOST: Final = 0.3
"""The largest share of any cap that is held back."""
_LEFT_SHOWN: Final = 12
_KEPT_SHARE: Final = {
    "usd": 0.2,
    "input_tokens": KEPT_MOST,
    "output_tokens": 0.2,
    "tokens": KEPT_MOST,
    "seconds": 0.15,
    "working_seconds": 0.15,
}


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Ask the planner for a plan, or for a revision of it."""


@dataclass(frozen=True, slots=True)
class BindArgs:
    """Ask the cheap model for the open arguments of the present step."""


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Ask whether the present step's call may be made."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call the present step's tool."""


@dataclass(frozen=True, slots=True)
class Critique:
    """Judge the present step's result: by its check where it has one, else by the critic."""


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """Ask the strong model for the final answer, from what there is."""


@dataclass(frozen=True, slots=True)
class Note:
    """Nothing to do but to record what follows."""

    event: Event


@dataclass(frozen=True, slots=True)
class HandOver:
    """End without a model's answer: hand over what was found, as it is.

    Attributes:
        status: "stopped" or "failed".
        reason: why, in one word.
        detail: the same in a sentence.
    """

    status: Literal["stopped", "failed"]
    reason: str
    detail: str


Action = MakePlan | BindArgs | AskPerson | CallTool | Critique | WriteAnswer | HandOver | Note


def decide(state: RunState) -> Action | None:  # noqa: PLR0911 - a table, one line a stage
    """What to do next, or None where the run rests or has ended."""
    if state.status is not Status.IN_PROGRESS:
        return None
    if state.limit is None and (short := _limit(state)):
        return short
    match state.stage:
        case Stage.PLAN:
            return _plan(state)
        case Stage.STEP:
            return _step(state)
        case Stage.CALL:
            return _unsettled(state)
        case Stage.JUDGE:
            return _judge(state)
        case _:
            return _answer(state)


def _limit(state: RunState) -> Note | None:
    """A limit on time, steps or tool calls; tokens and dollars are checked where they are reserved."""
    if state.stage is Stage.CALL:
        return None  # a claimed call is settled first
    next_step = state.stage is Stage.STEP
    extra = Spent(steps=1, tool_calls=1) if next_step else Spent()
    used = state.used()
    short = state.budget.exhausted(used, kept_back(state.budget)) or state.budget.first_short(used, extra)
    return Note(limit_reached(short, state.stage)) if short else None


def limit_reached(short: Refusal, phase: str) -> LimitReached:
    """The event of a budget that does not cover what would come next."""
    return LimitReached(limit=short.limit, needed=short.needed, left=short.left, cap=short.cap, phase=phase)


def _plan(state: RunState) -> Action:
    if state.rejected >= MAX_REJECTED:
        return HandOver("failed", "malformed_output", _with_problems(state, f"no valid plan in {state.rejected} tries"))
    if not state.head.tools and state.plan is None:
        return Note(PlanMade(version=1, keep=0, steps=(), reason="there are no tools", by="rule"))
    return MakePlan()


def _step(state: RunState) -> Action:
    step = _present(state)
    if state.attempt > MAX_ATTEMPTS or state.rejected >= MAX_REJECTED:
        return _revise_or_escalate(state, f"{step.tool} could not be called: {'; '.join(state.problems)}")
    if state.refused and not open_args(step.args):
        return _revise_or_escalate(state, f"{step.tool} was called wrongly: {'; '.join(state.problems)}")
    if open_args(step.args) and state.bound is None:
        return BindArgs()
    if state.gated and not state.approved:
        return AskPerson()
    return CallTool()


def _unsettled(state: RunState) -> Action:
    """Only seen after a resume: a call was claimed and its outcome is not known. What only reads is done again."""
    step = _present(state)
    if state.head.tools[step.tool].effect == "read":
        return CallTool()
    return Note(
        RunSuspended(reason="in_doubt", detail=f"{step.id} {step.tool} was started and its outcome is not known")
    )


def _judge(state: RunState) -> Action:
    step, got = _present(state), state.returned
    if got is None:
        raise AssertionError("stage JUDGE has a result")
    if got.status == "failed":
        return _after_failure(state, step, got.failure or FailureClass.FATAL, got.message)
    if state.head.tools[step.tool].effect == "write" and step.check is None:
        # It was approved as it is and cannot be tried again: there is nothing for a critic to decide.
        return Note(StepJudged(step=step.id, verdict="continue", by="rule", reason="the call was carried out"))
    if state.rejected >= MAX_REJECTED:
        why = f"no valid verdict on {step.id} in {state.rejected} tries"
        return Note(StepJudged(step=step.id, verdict="escalate", by="rule", reason=why))
    return Critique()


def _after_failure(state: RunState, step: Step, failure: FailureClass, message: str) -> Action:
    """Try again where that can help: a model that wrote the arguments sees the error, a passing failure may pass."""
    reads = state.head.tools[step.tool].effect == "read"
    mendable = bool(open_args(step.args)) and failure is not FailureClass.PERMISSION
    if reads and state.attempt < MAX_ATTEMPTS and (mendable or failure.worth_retrying):
        return Note(StepJudged(step=step.id, verdict="retry", by="rule", reason=message))
    if failure is FailureClass.PERMISSION:  # no other plan gives leave: a person has to
        return Note(StepJudged(step=step.id, verdict="escalate", by="rule", reason=message))
    return _revise_or_escalate(state, message)


def can_retry(state: RunState) -> bool:
    """True where trying the present step again may give something else: it reads, and a model fills its arguments."""
    step = _present(state)
    return state.attempt < MAX_ATTEMPTS and state.head.tools[step.tool].effect == "read" and bool(open_args(step.args))


def can_revise(state: RunState) -> bool:
    """True where the planner may change the plan: it made it, and has not done so too often."""
    return state.plan is not None and state.plan.by == "model" and state.revisions < MAX_REVISIONS


def _revise_or_escalate(state: RunState, reason: str) -> Note:
    verdict = "revise" if can_revise(state) else "escalate"
    return Note(StepJudged(step=_present(state).id, verdict=verdict, by="rule", reason=reason))  # type: ignore[arg-type]


def _answer(state: RunState) -> Action:
    cut_short = state.no_answer is not None or (state.limit is not None and state.budget.exhausted(state.used()))
    if cut_short or (state.stop and not len(state.outcomes) and state.returned is None):
        return HandOver("stopped", state.stop, stop_in_words(state))
    if state.rejected >= MAX_REJECTED:
        why = _with_problems(state, f"no valid answer in {state.rejected} tries")
        return HandOver("stopped", state.stop, why) if state.stop else HandOver("failed", "malformed_output", why)
    return WriteAnswer()


def _with_problems(state: RunState, why: str) -> str:
    return f"{why}: {'; '.join(state.problems)}" if state.problems else why


def stop_in_words(state: RunState) -> str:
    """Why the run is brought to its end before its plan is done, or ""."""
    if not state.stop:
        return ""
    limits = [limit for limit in (state.limit, state.no_answer) if limit]
    said = [str(Refusal(limit.limit, limit.needed, limit.left, limit.cap)) for limit in limits]
    if state.stop == "escalated":
        said.insert(0, state.why)
    return "; for the answer, ".join(dict.fromkeys(said))


def finished_by_model(state: RunState, answer: str, confidence: Level, unknowns: tuple[str, ...]) -> RunFinished:
    """The end with a model's answer: complete where the plan is done, else a partial one."""
    complete = not state.stop
    left = tuple(f"not carried out: {step.title or step.tool}" for step in state.left[:_LEFT_SHOWN])
    if not state.head.tools:
        left = ("there were no tools: nothing was looked up",)
    return RunFinished(
        status="completed" if complete else "stopped",
        reason="complete" if complete else state.stop,
        detail=stop_in_words(state),
        output=answer,
        confidence="low" if left else confidence,
        unknowns=(*unknowns, *left),
    )


def _present(state: RunState) -> Step:
    if state.step is None:
        raise AssertionError(f"stage {state.stage} has a step")
    return state.step


@functools.lru_cache(maxsize=64)
def kept_back(budget: Budget) -> Mapping[str, float]:
    """What of each cap only the final answer may use, so that a limit never yields nothing."""
    shares = {name: cap * _KEPT_SHARE.get(name, 0) for name, cap in budget.caps().items()}
    for name in ("tokens", "input_tokens"):
        if name in shares:
            shares[name] = min(shares[name], ANSWER_TOKENS)
    if budget.model_calls and budget.model_calls > 2:  # noqa: PLR2004 - plan, at least one step, answer
        shares["model_calls"] = 1
    return MappingProxyType(shares)
