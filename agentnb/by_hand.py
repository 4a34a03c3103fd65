"""What a person does for a run whose model gave no usable reply: a hint, or the thing itself, checked and as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from agentnb.approval import person
from agentnb.errors import ConfigError
from agentnb.events import ArgsBound, Event, PlanMade, RunFinished, RunRetried, StepJudged
from agentnb.log import RunLog
from agentnb.plan import JSON, Plan, Step, UnmetReference, numbered, open_args, resolve, steps_of
from agentnb.planner import plan_problems
from agentnb.state import RunState, Stage, Status
from agentnb.stops import REASONS
from agentnb.tools import InvalidArguments, Tool

__all__ = ["Given", "retried_by"]

LONGEST_HINT = 500
"""Characters of a hint: it stands in prompts, whole."""

_WANTED = {Stage.PLAN: "plan", Stage.STEP: "args", Stage.JUDGE: "verdict", Stage.ANSWER: "answer"}


class Given(TypedDict, total=False):
    """What a person gives in place of the model's reply; at most one of them, and the one that the run lacks.

    Keys:
        plan: the steps that remain, in which a model may fill what starts with "$?".
        args: the open arguments of the present step, by name.
        verdict: what follows from the present step's result.
        answer: the answer, in Markdown.
    """

    plan: Plan | Sequence[Step | Mapping[str, JSON]]
    args: Mapping[str, JSON]
    verdict: Literal["continue", "revise", "escalate"]
    answer: str


def retried_by(
    log: RunLog, tools: Mapping[str, Tool], hint: str, given: Given, by: str = ""
) -> tuple[RunRetried, tuple[Event, ...]]:
    """That a person has it tried again, and what comes right after the run is resumed: what they gave, or nothing.

    Args:
        log: the run.
        tools: by name.
        hint: what the model is to know, in words.
        given: see `Given`.
        by: who says so; whoever is logged in, if left out.

    Raises:
        ConfigError: nothing waits for it, or what is given is not what the run lacks, or cannot be carried out.
    """
    if odd := [given for given in (hint, by) if not isinstance(given, str)]:
        raise ConfigError(f"{odd[0]!r} is no text: say in words what the model is to know, and who says so")
    state, said = log.state, " ".join(hint.split())
    if len(said) > LONGEST_HINT:
        raise ConfigError(f"the hint has {len(said):,} characters, {LONGEST_HINT:,} are allowed: say the main thing")
    waits = state.suspended is not None and state.suspended.reason == "malformed_output"
    circled = state.status is Status.STOPPED and state.stop in REASONS.values()
    if circled and state.head.parent:
        raise ConfigError(f"{log.run} ended inside {state.head.parent}, which has its result: fork this one instead")
    if not (waits or circled):
        raise ConfigError(f"{log.run} waits for no help but is {state.status}: there is nothing to try again")
    names = [name for name in given if given.get(name) is not None]
    wanted = _WANTED[state.stage if waits else Stage.PLAN]
    if names not in ([], [wanted]):
        raise ConfigError(f"{log.run} lacks its {wanted}: give {wanted}=, or a hint, instead of {' and '.join(names)}")
    return RunRetried(by=by or person(), hint=said), _events(log, tools, given) if names else ()


def _events(log: RunLog, tools: Mapping[str, Tool], given: Given) -> tuple[Event, ...]:
    match given:
        case {"plan": plan}:
            return (_planned(log.state, tools, plan),)
        case {"args": args}:
            return (_bound(log, tools, args),)
        case {"verdict": verdict}:
            return (_judged(log.state, verdict),)
        case {"answer": answer}:
            return (_answered(log.state, answer),)
    raise AssertionError("one of the four is given")


def _present(state: RunState) -> Step:
    if state.step is None:
        raise AssertionError(f"stage {state.stage} has a step")
    return state.step


def _planned(state: RunState, tools: Mapping[str, Tool], plan: Plan | Sequence[Step | Mapping[str, JSON]]) -> PlanMade:
    keep = len(state.outcomes)
    steps = numbered(steps_of(plan), after=keep)
    if problems := plan_problems(steps, tools, before=state.plan.steps[:keep] if state.plan else ()):
        raise ConfigError(f"the plan cannot be carried out: {'; '.join(problems)}")
    version = state.plan.version + 1 if state.plan else 1
    return PlanMade(version=version, keep=keep, steps=steps, reason="given by a person", by="user")


def _bound(log: RunLog, tools: Mapping[str, Tool], args: Mapping[str, JSON]) -> ArgsBound:
    step = _present(log.state)
    wanted = open_args(step.args)
    if odd := sorted({*args} ^ {*wanted}):
        raise ConfigError(
            f"{step.id} {step.tool} lacks {', '.join(wanted)}: give exactly those, {odd[0]!r} does not fit"
        )
    whole = {**step.args, **args}
    try:
        tools[step.tool].validated(resolve(whole, log.result_of))
    except (InvalidArguments, UnmetReference) as error:
        raise ConfigError(f"{step.tool} cannot be called so: {error}") from None
    return ArgsBound(step=step.id, args=log.keep(whole))


def _judged(state: RunState, verdict: str) -> StepJudged:
    match verdict:
        case "continue" | "revise" | "escalate":
            return StepJudged(
                step=_present(state).id, verdict=verdict, by="person", reason="a person has looked", confidence="high"
            )
    raise ConfigError(f"verdict={verdict!r} is none of continue, revise, escalate")


def _answered(state: RunState, answer: str) -> RunFinished:
    if not answer.strip():
        raise ConfigError("the answer is empty: say what was found, or end the run with cancel()")
    left = tuple(f"not carried out: {step.title or step.tool}" for step in state.left)
    return RunFinished(status="completed", reason="complete", output=answer.strip(), unknowns=left, by="person")
