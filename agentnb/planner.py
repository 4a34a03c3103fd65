"""The planner: asks the strong model for a plan, or for a revision, and checks by code that it can be carried out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from agentnb.checks import check_problem
from agentnb.events import PlanMade, ReplyRejected
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, known, spec_of
from agentnb.models.base import ModelReply
from agentnb.plan import JSON, Check, Step, is_open, numbered, references
from agentnb.prompt_text import StepView
from agentnb.prompts import Prompt, plan_prompt
from agentnb.reading import READ_RESULT, is_reading
from agentnb.replies import BadReply, read_reply
from agentnb.tools import InvalidArguments, Tool

__all__ = ["MAX_STEPS", "ProposedPlan", "plan_of", "plan_problems", "plan_question"]

_WITHIN = 8  # how deep in a record a step's arguments lie, and two more; readers give up at 200
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
    return plan_prompt(
        state.head.task,
        specs,
        done=done,
        earlier=earlier,
        reason=state.why,
        problems=state.problems,
        without=[name for name, tool in tools.items() if tool.breaker.refusal()],
        known=known(log),
        reading=_reading(log, tools, done),
        max_steps=MAX_STEPS,
    )


def _reading(log: RunLog, tools: Mapping[str, Tool], done: Sequence[StepView]) -> ToolSpec | None:
    """`read_result`, where the run has it and some result was not shown whole."""
    tool = tools.get(READ_RESULT.name)
    if tool is None or not is_reading(tool) or not (log.state.memory.upto or any(view.cut for view in done)):
        return None
    return spec_of(tool)


def plan_of(log: RunLog, tools: Mapping[str, Tool], reply: ModelReply) -> PlanMade | ReplyRejected:
    """The plan that the reply holds, or what is wrong with it."""
    state = log.state
    keep = len(state.outcomes)
    try:
        proposed = read_reply(ProposedPlan, reply)
    except BadReply as bad:
        return ReplyRejected(phase="plan", problems=bad.problems)
    if any(step.check and _has_pattern(step.check.schema) for step in proposed.steps):
        return ReplyRejected(phase="plan", problems=("a check's schema may hold no pattern: give an expression",))
    finished = [s.id for s in state.plan.steps[:keep]] if state.plan else []
    later = [f"s{keep + place}" for place in range(1, len(proposed.steps) + 1)]
    steps = numbered([_step(s, [*finished, *later]) for s in proposed.steps], after=keep)
    if problems := plan_problems(steps, tools, before=finished):
        return ReplyRejected(phase="plan", problems=tuple(problems))
    version = state.plan.version + 1 if state.plan else 1
    return PlanMade(version=version, keep=keep, steps=steps, reason=state.why, by="model")


def _has_pattern(schema: JSON) -> bool:
    """True where a model's schema has a regular expression in it: some take longer than the universe has."""
    if isinstance(schema, dict):
        return bool({"pattern", "patternProperties"} & schema.keys()) or any(map(_has_pattern, schema.values()))
    return isinstance(schema, list) and any(map(_has_pattern, schema))


def _step(proposed: ProposedStep, ids: Sequence[str]) -> Step:
    needs = tuple(i for i in proposed.depends_on if i in ids)
    return Step(
        tool=proposed.tool,
        args=proposed.args,
        title=proposed.title,
        expect=proposed.expect,
        confidence=proposed.confidence,
        depends_on=needs,
        check=proposed.check,
    )


def plan_problems(steps: Sequence[Step], tools: Mapping[str, Tool], before: Sequence[str] = ()) -> list[str]:
    """What keeps the steps from being carried out, one sentence each; [] where nothing does.

    Args:
        steps: numbered steps.
        tools: by name.
        before: ids of the steps that are finished.
    """
    problems = []
    earlier = set(before)
    for step in steps:
        if step.tool not in tools:
            problems.append(f"{step.id}: there is no tool {step.tool!r}; there are {', '.join(tools) or 'none'}")
        elif why := _not_kept(step.args):
            problems.append(f"{step.id} {step.tool}: its arguments cannot be kept as JSON: {why}")
        else:
            problems += [f"{step.id} {step.tool}: {p}" for p in _args_problems(step, tools[step.tool])]
        if step.check and (why := check_problem(step.check)):
            problems.append(f"{step.id}: {why}")
        for needed in sorted({*step.depends_on, *references(step.args)} - earlier):
            problems.append(f"{step.id} needs {needed}, which is not an earlier step")
        earlier.add(step.id)
    return problems


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
