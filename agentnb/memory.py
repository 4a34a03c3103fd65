"""What a prompt may know of a run: its last steps with bounded previews, never raw results."""

from __future__ import annotations

from collections.abc import Mapping

from agentnb.events import Kept
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.plan import Step
from agentnb.preview import preview
from agentnb.prompts import Status, StepView
from agentnb.state import Outcome
from agentnb.tools import Tool

__all__ = ["done_steps", "present_step", "tool_specs"]

LAST_STEPS = 12
"""Finished steps that a prompt is built from; it says how many there were before them."""


def tool_specs(tools: Mapping[str, Tool]) -> tuple[ToolSpec, ...]:
    """The tools as a model sees them."""
    return tuple(ToolSpec(t.name, t.description, t.parameters, t.effect) for t in tools.values())


def done_steps(log: RunLog) -> tuple[list[StepView], int]:
    """The last finished steps, oldest first, and how many were finished before them."""
    state = log.state
    if state.plan is None:
        return [], 0
    outcomes = state.outcomes.last(LAST_STEPS)
    earlier = len(state.outcomes) - len(outcomes)
    steps = state.plan.steps[earlier : len(state.outcomes)]
    return [_done(log, step, outcome) for step, outcome in zip(steps, outcomes, strict=True)], earlier


def _done(log: RunLog, step: Step, outcome: Outcome) -> StepView:
    settled = log.state.carried_out(step.id) if outcome.status == "proposed" else None
    came: tuple[Status, Kept | None, str] = (outcome.status, outcome.result, outcome.message)
    came = ("ok", settled.result, "a person has carried it out") if settled else came
    shown, status = _shown(log, *came[1:]), _status(log, step, came[0])
    return StepView(step.id, step.title, step.tool, step.args, step.expect, status, shown, outcome.finding)


def present_step(log: RunLog, step: Step) -> StepView:
    """The step under way, with its result where it has one."""
    got, bound = log.state.returned, log.state.bound
    args = log.value(bound) if bound else step.args
    status = _status(log, step, got.status if got else "pending")
    shown = _shown(log, got.result, got.message) if got else ""
    return StepView(step.id, step.title, step.tool, args, step.expect, status, shown)


def _status(log: RunLog, step: Step, status: Status) -> Status:
    """`status`; a dry run's calls that act are told apart from those that were made."""
    simulated = status == "ok" and log.state.head.dry and log.state.head.tools[step.tool].acts
    return "simulated" if simulated else status


def _shown(log: RunLog, result: Kept | None, message: str) -> str:
    return preview(log.value(result)) if result else message
