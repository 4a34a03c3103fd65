"""The planner: asks the strong model for a plan, or for a revision, and checks by code that it can be carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from agentnb.budget import Spent
from agentnb.checks import check_problem
from agentnb.events import PlanMade, ReplyRejected
from agentnb.feasible import is_over, needs_problems, over_budget, path_problems, steps_left
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, known, spec_of
from agentnb.models.base import ModelReply
from agentnb.plan import JSON, Check, Step, is_open, numbered, references
from agentnb.prompt_text import StepView
from agentnb.prompts import Prompt, plan_prompt
from agentnb.reading import READ_RESULT, is_reading
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import simple_plan_prompt
from agentnb.state import NOTHING
from agentnb.tools import InvalidArguments, Tool

__all__ = ["MAX_STEPS", "ProposedPlan", "plan_of", "plan_problems", "plan_question"]

_WITHIN = 8  # how deep in a record a step's arguments lie, and two more; readers give up at 200
_ASSUMED, _MOST_ASSUMED = 160, 3  # characters of an assumption, and how many a step may make
MAX_STEPS = 8
"""Steps that a model may plan at once; a longer task is revised as it goes."""


class ProposedStep(BaseModel):
    """A step as a model writes it; code gives it its id."""

    model_config = ConfigDict(extra="ignore")

    tool: str
    args: dict[str, Any]
    title: str = ""
    expect: str = ""
    confidence: Literal["low", "medium", "high"] = "medium"
    depends_on: list[str] = []
    check: Check | None = None
    assumes: list[str] = []


class ProposedPlan(BaseModel):
    """A plan as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    steps: list[ProposedStep]


def plan_question(log: RunLog, specs: Sequence[ToolSpec], tools: Mapping[str, Tool]) -> Prompt:
    """What the planner is asked now: a first plan, or the steps that follow the finished ones.

    Args:
        log: the run.
        specs: all tools, as a model sees them.
        tools: the same by name: those that keep failing are not to be planned with.
    """
    state = log.state
    done, earlier = done_steps(log)
    left = steps_left(state)
    most = MAX_STEPS if left is None else max(1, min(MAX_STEPS, left))
    without = [name for name, tool in tools.items() if tool.breaker.refusal()]
    if state.simplified:
        named = {step.tool for step in state.plan.steps} if state.plan else set()
        usable = [spec for spec in specs if spec.name not in without] or specs
        return simple_plan_prompt(
            state.head.task, usable, named, done, earlier=earlier, reason=state.why, problems=state.problems,
            known=known(log), max_steps=most,
        )  # fmt: skip
    return plan_prompt(
        state.head.task,
        specs,
        done=done,
        earlier=earlier,
        reason=state.why,
        problems=state.problems,
        without=without,
        known=known(log),
        reading=_reading(log, tools, done),
        max_steps=most,
    )


def _reading(log: RunLog, tools: Mapping[str, Tool], done: Sequence[StepView]) -> ToolSpec | None:
    """`read_result`, where the run has it and some result was not shown whole."""
    tool = tools.get(READ_RESULT.name)
    if tool is None or not is_reading(tool) or not (log.state.memory.upto or any(view.cut for view in done)):
        return None
    return spec_of(tool)


def plan_of(
    log: RunLog, tools: Mapping[str, Tool], reply: ModelReply, least: Spent = NOTHING
) -> PlanMade | ReplyRejected:
    """The plan that the reply holds, or what is wrong with it.

    A plan that is nothing but over budget is sent back once. Where the next one is too, it is carried out as far as
    the budget goes: the caps hold in any case, and a partial answer is worth more than none.

    Args:
        log: the run.
        tools: by name.
        reply: the planner's.
        least: what one model call uses at least.
    """
    state = log.state
    keep = len(state.outcomes)
    try:
        proposed = read_reply(ProposedPlan, reply)
    except BadReply as bad:
        return ReplyRejected(phase="plan", problems=bad.problems)
    if any(step.check and _has_pattern(step.check.schema) for step in proposed.steps):
        return ReplyRejected(phase="plan", problems=("a check's schema may hold no pattern: give an expression",))
    steps = numbered([_step(s) for s in proposed.steps], after=keep)
    problems = plan_problems(steps, tools, before=state.plan.steps[:keep] if state.plan else ())
    if problems or not is_over(state.problems):
        problems += over_budget(state, steps, tools, least)
    if problems:
        return ReplyRejected(phase="plan", problems=tuple(problems))
    version = state.plan.version + 1 if state.plan else 1
    return PlanMade(version=version, keep=keep, steps=steps, reason=state.why, by="model")


def _has_pattern(schema: JSON) -> bool:
    """True where a model's schema has a regular expression in it: some take longer than the universe has."""
    if isinstance(schema, dict):
        return bool({"pattern", "patternProperties"} & schema.keys()) or any(map(_has_pattern, schema.values()))
    return isinstance(schema, list) and any(map(_has_pattern, schema))


def _step(proposed: ProposedStep) -> Step:
    return Step(
        tool=proposed.tool,
        args=proposed.args,
        title=proposed.title,
        expect=proposed.expect,
        confidence=proposed.confidence,
        depends_on=tuple(proposed.depends_on),
        check=proposed.check,
        assumes=tuple(text[:_ASSUMED] for said in proposed.assumes[:_MOST_ASSUMED] if (text := " ".join(said.split()))),
    )


def plan_problems(steps: Sequence[Step], tools: Mapping[str, Tool], before: Sequence[Step] = ()) -> list[str]:
    """What keeps the steps from being carried out, one sentence each; [] where nothing does.

    Args:
        steps: numbered steps.
        tools: by name.
        before: the steps that are finished.
    """
    problems = []
    for step in steps:
        if step.tool not in tools:
            problems.append(f"{step.id}: there is no tool {step.tool!r}; there are {', '.join(tools) or 'none'}")
        elif why := _not_kept(step.args):
            problems.append(f"{step.id} {step.tool}: its arguments cannot be kept as JSON: {why}")
        else:
            problems += [f"{step.id} {step.tool}: {p}" for p in _args_problems(step, tools[step.tool])]
        if step.check and (why := check_problem(step.check)):
            problems.append(f"{step.id}: {why}")
    problems += needs_problems(steps, [step.id for step in before])
    return problems + path_problems(steps, tools, before)


def _not_kept(args: Mapping[str, JSON]) -> str | None:
    """Why a journal could not give `args` back, or None: written down they have to be readable again."""
    try:
        from_json(f"{'[' * _WITHIN}{json.dumps(args, allow_nan=False)}{']' * _WITHIN}")
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    return None


def _args_problems(step: Step, tool: Tool) -> list[str]:
    """What the tool's schema already says against the arguments; what is not known yet is left out of it."""
    unknown = {name for name, value in step.args.items() if _known_later(value)}
    try:
        tool.validated({name: value for name, value in step.args.items() if name not in unknown})
    except InvalidArguments as error:
        missing = {f"argument {name!r} is missing" for name in unknown}
        return [p for p in error.problems if p.split(";")[0] not in missing]
    return []


def _known_later(value: JSON) -> bool:
    if isinstance(value, dict):
        return any(_known_later(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_known_later(item) for item in value)
    return isinstance(value, str) and (is_open(value) or bool(references(value)))
