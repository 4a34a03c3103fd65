"""The critic: holds a step's result against what was expected; by code where it can, else by a cheap model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agentnb.checks import failed_check
from agentnb.decide import can_retry, can_revise
from agentnb.events import ReplyRejected, StepJudged
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import present_step
from agentnb.models.base import ModelReply
from agentnb.plan import Step
from agentnb.prompts import Prompt, critique_prompt
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import simple_critique_prompt, with_problems

__all__ = ["Verdict", "critique_question", "verdict_by_check", "verdict_of"]

Ruling = Literal["continue", "retry", "revise", "escalate"]


class Verdict(BaseModel):
    """A critic's verdict as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    verdict: Ruling
    reason: str = ""
    confidence: Literal["low", "medium", "high"] = "medium"
    finding: str = ""


def critique_question(log: RunLog, specs: Sequence[ToolSpec], step: Step) -> Prompt:
    """What the critic is asked about the step's result."""
    state, view = log.state, present_step(log, step)
    if state.simplified:
        return simple_critique_prompt(state.head.task, view, state.problems)
    return with_problems(critique_prompt(state.head.task, specs, view), state.problems)


def verdict_by_check(log: RunLog, step: Step) -> StepJudged | None:
    """The verdict where code can give it, or None where the critic has to."""
    if step.check is None:
        return None
    returned = log.state.returned
    result = log.value(returned.result) if returned and returned.result else None
    if why := failed_check(step.check, result):
        return StepJudged(step=step.id, verdict=_possible(log, "retry"), by="check", reason=why, confidence="high")
    return StepJudged(step=step.id, verdict="continue", by="check", reason="the check holds", confidence="high")


def verdict_of(log: RunLog, step: Step, reply: ModelReply) -> StepJudged | ReplyRejected:
    """The critic's verdict, held to what the run can still do; or what is wrong with the reply."""
    try:
        said = read_reply(Verdict, reply)
    except BadReply as bad:
        return ReplyRejected(phase="critique", step=step.id, problems=bad.problems)
    return StepJudged(
        step=step.id,
        verdict=_possible(log, said.verdict),
        by="critic",
        reason=said.reason[:300],
        confidence=said.confidence,
        finding=said.finding[:300],
    )


def _possible(log: RunLog, wanted: Ruling) -> Ruling:
    """What can be done: a retry that changes nothing is a revision, and one that is not to be had goes to a person."""
    if wanted == "retry" and not can_retry(log.state):
        wanted = "revise"
    if wanted == "revise" and not can_revise(log.state):
        wanted = "escalate"
    return wanted
