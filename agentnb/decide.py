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

from agentnb.budget import Budget, Phase, Refusal, Spent
from agentnb.errors import FailureClass
from agentnb.events import (
    AlertRaised,
    Event,
    LimitReached,
    LoopNoticed,
    PlanMade,
    RunFinished,
    RunSuspended,
    StepJudged,
)
from agentnb.plan import Step, open_args, references
from agentnb.policy import Level
from agentnb.recovery import MOST_ASSESSMENTS, MOST_REPLIES
from agentnb.state import NOTHING, TOLD_STEPS, RunState, Stage, Status
from agentnb.stops import REASONS, Loop, loop_in
from agentnb.tiers import escalation

__all__ = [
    "Action",
    "AskPerson",
    "AskQuestion",
    "Assess",
    "BindArgs",
    "CallTool",
    "Critique",
    "HandOver",
    "MakePlan",
    "Note",
    "Propose",
    "ReadAgain",
    "SettleDoubt",
    "Simulate",
    "Summarise",
    "Warn",
    "WriteAnswer",
    "decide",
    "kept_back",
]

MAX_SUMMARIES: Final = 2
"""Replies of a summariser that do not hold what was asked for, in a row, before code writes the summary."""
MAX_ATTEMPTS: Final = 3
"""Tries of one step before its plan is revised."""
MAX_REVISIONS: Final = 3
"""Revisions of a plan before a person is told."""
ANSWER_TOKENS: Final = 12_000
"""The most tokens that are held back for the final answer; worst cases count a token a byte, so it is not much."""
KEPT_MOST: Final = 0.3
"""The largest share of any cap that is held back."""
_LEFT_SHOWN: Final = 12
_COMES: Final = {Stage.STEP: Spent(steps=1, tool_calls=1), Stage.CALL: Spent(tool_calls=1)}
"""What a stage uses at least of what is not reserved."""
_SAYS_WHY: Final = ("escalated", "unanswered", *REASONS.values())
_TIMES: Final = {2: "second", 3: "third"}
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
    """Ask a model for the open arguments of the present step."""


@dataclass(frozen=True, slots=True)
class Assess:
    """Ask a model what the present step's call rests on, and check by code what it says."""


@dataclass(frozen=True, slots=True)
class AskQuestion:
    """Ask a person what the assessment has found missing."""


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Ask whether the present step's call may be made."""


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """In an execution whose call is approved and whose first one this is: make a read again, which has to hold."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call the present step's tool."""


@dataclass(frozen=True, slots=True)
class SettleDoubt:
    """Find out whether the claimed call happened: the tool's `reconcile` is asked, or else a person."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Put the present step's destructive call into the queue of pending actions."""


@dataclass(frozen=True, slots=True)
class Simulate:
    """In a dry run: note what the present step's call would do."""


@dataclass(frozen=True, slots=True)
class Critique:
    """Judge the present step's result: by its check where it has one, else by the critic."""


@dataclass(frozen=True, slots=True)
class Summarise:
    """Make the memory small.

    Attributes:
        by: "model": the cheap model writes it; "rule": code does.
    """

    by: Literal["model", "rule"]


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """Ask a model for the final answer, from what there is."""


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell whoever wants to know that the run has passed a threshold."""

    event: AlertRaised


@dataclass(frozen=True, slots=True)
class Note:
    """Nothing to do but to record what follows."""

    event: Event


@dataclass(frozen=True, slots=True)
class HandOver:
    """End without a model's answer: hand over what was found, as it is.

    Attributes:
        status: "completed", "stopped" or "failed".
        reason: why, in one word.
        detail: the same in a sentence.
    """

    status: Literal["completed", "stopped", "failed"]
    reason: str
    detail: str


Action = (
    MakePlan
    | BindArgs
    | Assess
    | AskQuestion
    | AskPerson
    | ReadAgain
    | CallTool
    | SettleDoubt
    | Propose
    | Simulate
    | Critique
    | Summarise
    | WriteAnswer
    | HandOver
    | Warn
    | Note
)


def decide(state: RunState) -> Action | None:  # noqa: PLR0911 - a table, one line a stage
    """What to do next, or None where the run rests or has ended."""
    if state.started and state.head.alerts and (due := _alert(state)):
        return Warn(due)
    if state.status is not Status.IN_PROGRESS:
        return None
    if state.limit is None and (short := _limit(state)):
        return short
    if state.unremembered:
        return _summarise(state)
    if not state.seen.looked and not state.stop and (circle := _circle(state)):
        return circle
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
    if state.stage is Stage.CALL and not state.cleared:
        return None  # a claimed call is settled first
    used = state.used()
    short = state.budget.exhausted(used, kept_back(state.budget))
    short = short or state.budget.first_short(used, _COMES.get(state.stage, NOTHING))
    return Note(limit_reached(short, state.stage)) if short else None


def _alert(state: RunState) -> AlertRaised | None:
    """The first threshold that the run itself has passed and nobody was told of; also where its last call passed it."""
    if not (state.status is Status.IN_PROGRESS or state.status.ended):
        return None
    used, told = state.spent.plus(NOTHING, state.t), {raised.threshold for raised in state.alerts}
    mine = (found for found in state.head.alerts if found.of_one and found.concerns(state.head.tags))
    due = next((found for found in mine if found not in told and found.passed_by(used)), None)
    return AlertRaised(threshold=due, value=float(getattr(used, due.measure))) if due else None


def _stronger(state: RunState, phase: Phase) -> Note | None:
    """Where no reply of a cheaper model could be used: that the strong one is asked, once, before anybody gives up."""
    better = escalation(state, phase)
    return Note(better) if better else None


def _circle(state: RunState) -> Note | None:
    """What is noticed of the last finished step: the run goes round in circles, or finds nothing new."""
    loop = loop_in(state.head.stops, state.seen) if state.stage in (Stage.PLAN, Stage.STEP) else None
    if loop is None or state.plan is None:
        return None
    step = state.plan.steps[len(state.outcomes) - 1]
    revises = state.stage is Stage.PLAN or can_revise(state)
    then: Literal["go_on", "revise", "stop"] = "stop" if loop.again else "revise" if revises else "go_on"
    return Note(LoopNoticed(what=loop.what, step=step.id, said=_circle_said(loop, step), then=then))


def _circle_said(loop: Loop, step: Step) -> str:
    """What the planner is told, or the reader of a partial answer."""
    match loop.what:
        case "same_call":
            said = (
                f"{step.id} made the same call of {step.tool} for the {_TIMES.get(loop.count, f'{loop.count}th')} time"
            )
            said += ", with the same result"
        case "cycle":
            said = (
                f"the last {2 * loop.count} steps, up to {step.id}, are {loop.count} calls made twice in turn, with the"
            )
            said += " same results"
        case _:
            said = f"the last {loop.count} steps, up to {step.id}, brought no new fact"
    return said if loop.again else f"{said}: plan other calls, or none if what is known is enough"


def limit_reached(short: Refusal, phase: str) -> LimitReached:
    """The event of a budget that does not cover what would come next."""
    return LimitReached(limit=short.limit, needed=short.needed, left=short.left, cap=short.cap, phase=phase)


def _summarise(state: RunState) -> Summarise:
    """A model sums up what a model has planned; code does it for others, and where no valid summary is to be had.

    A run from before there was a memory may have more steps than a prompt tells: those only code can sum up.
    """
    rule = state.head.memory
    by_model = rule.by == "model" and not state.head.executes and state.plan and state.plan.by == "model"
    by_model = by_model and len(state.outcomes) - state.memory.upto <= TOLD_STEPS
    return Summarise("model" if by_model and state.rejected < MAX_SUMMARIES else "rule")


def _plan(state: RunState) -> Action:
    if state.rejected >= MOST_REPLIES:
        return _stronger(state, "plan") or _to_a_person(state, "plan")
    if not state.head.tools and state.plan is None:
        return Note(PlanMade(version=1, keep=0, steps=(), reason="there are no tools", by="rule"))
    return MakePlan()


def _step(state: RunState) -> Action:  # noqa: C901, PLR0911 - a table, one line a case
    step = _present(state)
    if state.rejected >= MOST_REPLIES:  # a planner may write them itself, or do without: then nobody has to wait
        if stronger := _stronger(state, "bind"):
            return stronger
        wanted = f"arguments of {step.id} {step.tool}"
        why = _unusable(state, wanted)
        return _revise_or_escalate(state, why) if can_revise(state) else _to_a_person(state, wanted)
    if state.attempt > MAX_ATTEMPTS:
        return _revise_or_escalate(state, f"{step.tool} could not be called: {'; '.join(state.problems)}")
    if state.refused and (state.refused != "arguments" or not open_args(step.args)):
        how = {"guard": "may not be made so", "breaker": "is not made now", "read": "is not made"}
        return _revise_or_escalate(
            state, f"the call of {step.tool} {how.get(state.refused, 'was wrong')}: {'; '.join(state.problems)}"
        )
    if skipped := _skipped_below(state, step):
        why = f"it rests on {', '.join(skipped)}, not selected by a person"
        return Note(StepJudged(step=step.id, verdict="escalate", by="rule", reason=why))
    if open_args(step.args) and state.bound is None:
        return BindArgs()
    if state.gaps:
        return AskQuestion()
    if _assessment_is_due(state, step):
        return (_stronger(state, "assess") if state.rejected >= MOST_ASSESSMENTS else None) or Assess()
    facts = state.head.tools[step.tool]
    if state.head.dry and facts.acts:
        return Simulate()
    if facts.effect == "destructive":
        return Propose()
    if state.gated and not state.approved:
        return AskPerson()
    return ReadAgain() if state.unread else CallTool()


def _assessment_is_due(state: RunState, step: Step) -> bool:
    """True before a call that acts, and every so many steps, unless this very call was assessed already.

    Where a user wrote all of the call nothing is guessed, and in an execution all was assessed in its dry run.
    """
    rule, plan = state.head.assess, state.plan
    if rule is None or plan is None or state.head.executes or state.assessed == state.present_call:
        return False
    if plan.by == "user" and not open_args(step.args):
        return False
    acts = rule.before_acting and state.head.tools[step.tool].acts
    return acts or (rule.every is not None and len(state.outcomes) - state.assessed_after >= rule.every)


def _skipped_below(state: RunState, step: Step) -> list[str]:
    """Steps that `step` is said to come after, and that a person left out.

    What it refers to is another matter: a reference to such a step is unmet, and a text about it can be written.
    """
    after = set(step.depends_on) - references(step.args)
    return [outcome.step for outcome in state.outcomes if outcome.step in after and outcome.skipped] if after else []


def _unsettled(state: RunState) -> Action:
    """A call is claimed and has no outcome: it is made again where that is safe, else somebody has to look."""
    facts = state.head.tools[_present(state).tool]
    return CallTool() if state.cleared or (facts.repeatable and not state.given_up) else SettleDoubt()


def _judge(state: RunState) -> Action:
    step, got = _present(state), state.returned
    if got is None:
        raise AssertionError("stage JUDGE has a result")
    if got.status == "failed":
        return _after_failure(state, step, got.failure or FailureClass.FATAL, got.message)
    if got.status == "proposed":
        return Note(StepJudged(step=step.id, verdict="continue", by="rule", reason="it waits for a person"))
    facts = state.head.tools[step.tool]
    if facts.acts and not facts.delegates and step.check is None:
        # It was approved as it is and cannot be tried again: there is nothing for a critic to decide.
        said = "the call was simulated" if state.head.dry else "the call was carried out"
        return Note(StepJudged(step=step.id, verdict="continue", by="rule", reason=said))
    if state.rejected >= MOST_REPLIES:
        return _stronger(state, "critique") or _to_a_person(state, f"verdict on {step.id} {step.tool}")
    return Critique()


def _after_failure(state: RunState, step: Step, failure: FailureClass, message: str) -> Action:
    """What follows from a failure that did not pass: only new arguments, a new plan or a person can help.

    What passes by itself was tried again already, within the call. A call that a person did not select, among others
    of a user's plan, is left out, and the plan goes on.
    """
    if state.refused == "selection":
        return Note(StepJudged(step=step.id, verdict="continue", by="rule", reason=message))
    acts = state.head.tools[step.tool].acts
    final = failure in (FailureClass.PERMISSION, FailureClass.FATAL) or state.refused == "person"  # a no is a no
    mendable = bool(open_args(step.args)) and not final
    if mendable and not acts and state.attempt < MAX_ATTEMPTS:
        return Note(StepJudged(step=step.id, verdict="retry", by="rule", reason=message))
    if failure in (FailureClass.PERMISSION, FailureClass.FATAL):  # no other plan gives leave, or mends what is broken
        return Note(StepJudged(step=step.id, verdict="escalate", by="rule", reason=message))
    return _revise_or_escalate(state, message)


def can_retry(state: RunState) -> bool:
    """True where trying the present step again may give something else: it reads, and a model fills its arguments."""
    step = _present(state)
    return state.attempt < MAX_ATTEMPTS and not state.head.tools[step.tool].acts and bool(open_args(step.args))


def can_revise(state: RunState) -> bool:
    """True where the planner may change the plan: it made it, and has not done so too often."""
    return state.plan is not None and state.plan.by == "model" and state.revisions < MAX_REVISIONS


def _revise_or_escalate(state: RunState, reason: str) -> Note:
    verdict = "revise" if can_revise(state) else "escalate"
    return Note(StepJudged(step=_present(state).id, verdict=verdict, by="rule", reason=reason))  # type: ignore[arg-type]  # one of the two words


def _answer(state: RunState) -> Action:
    if state.head.executes:  # what was to be said, the dry run has said
        left_out = ", ".join(outcome.step for outcome in state.outcomes if outcome.skipped)
        done = f"what {state.head.executes} had shown was carried out"
        said = _in_execution(state) or done + (f", but not {left_out}: not selected" if left_out else "")
        return HandOver("stopped" if state.stop else "completed", state.stop or "complete", said)
    cut_short = state.no_answer is not None or (state.limit is not None and state.budget.exhausted(state.used()))
    if cut_short or (state.stop and not len(state.outcomes) and state.returned is None):
        return HandOver("stopped", state.stop, stop_in_words(state))
    if state.rejected < MOST_REPLIES:
        return WriteAnswer()
    if stronger := _stronger(state, "answer"):
        return stronger
    if state.stop:
        why = _unusable(state, "answer")
        return HandOver("stopped", state.stop, "; ".join(filter(None, (stop_in_words(state), why))))
    return _to_a_person(state, "answer")


def _to_a_person(state: RunState, wanted: str) -> Note:
    """The last layer: a person says how to go on, or does by hand what the model could not."""
    return Note(RunSuspended(reason="malformed_output", detail=_unusable(state, wanted)))


def _unusable(state: RunState, wanted: str) -> str:
    why = f"no usable {wanted} in {state.rejected} replies"
    return f"{why}: {'; '.join(state.problems)}"[:1000] if state.problems else why


def _in_execution(state: RunState) -> str:
    """Why an execution ends before its plan is done, and which step it was, or ""."""
    if state.stop != "escalated" or state.plan is None:
        return stop_in_words(state)
    step = state.plan.steps[len(state.outcomes) - 1]
    acted = any(outcome.call and outcome.status != "failed" for outcome in state.outcomes)
    return f"{step.id} {step.title or step.tool}: {state.why}" + ("" if acted else "; nothing was done")


def stop_in_words(state: RunState) -> str:
    """Why the run is brought to its end before its plan is done, or ""."""
    if not state.stop:
        return ""
    limits = [limit for limit in (state.limit, state.no_answer) if limit]
    said = [str(Refusal(limit.limit, limit.needed, limit.left, limit.cap)) for limit in limits]
    if state.stop in _SAYS_WHY:
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
        confidence="low" if left or state.stop in _SAYS_WHY else confidence,
        unknowns=(*unknowns, *rests_on(state), *left),
    )


def rests_on(state: RunState) -> tuple[str, ...]:
    """What a person went on without knowing, each as an unknown of the answer."""
    return tuple(f"assumed, as a person went on without knowing: {missing}" for missing in state.unanswered)


def _present(state: RunState) -> Step:
    step = state.step
    if step is None:
        raise AssertionError(f"stage {state.stage} has a step")
    return step


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
