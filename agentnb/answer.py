"""The final answer: the strong model's words about what was found, or about what there is when a run is cut short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from agentnb.decide import HandOver, finished_by_model, rests_on, stop_in_words
from agentnb.events import ReplyRejected, RunFinished
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, known, present_step
from agentnb.models.base import ModelReply
from agentnb.plan import Step
from agentnb.prompt_text import StepView
from agentnb.prompts import Prompt, answer_prompt
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import simple_answer_prompt, with_problems
from agentnb.state import RunState

__all__ = ["FinalAnswer", "answer_of", "answer_question", "handed_over"]


_TOLD: Final = 12
"""Steps that an answer lists as not done."""


class FinalAnswer(BaseModel):
    """An answer as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    answer: str
    confidence: Literal["low", "medium", "high"] = "medium"
    unknowns: list[str] = []


def answer_question(log: RunLog, specs: Sequence[ToolSpec]) -> Prompt:
    """What the strong model is asked at the end."""
    state = log.state
    done, earlier = _found(log)
    shown = {view.id for view in done}
    left = [step.title or step.tool for step in state.left if step.id not in shown]
    stopped = stop_in_words(state)
    undone = [step.title or step.tool for step, _ in _missing(state) if state.head.tools[step.tool].acts]
    task, problems, knows = state.head.task, state.problems, known(log)
    if state.simplified:
        return simple_answer_prompt(
            task, done, earlier=earlier, stopped=stopped, undone=undone, problems=problems, known=knows
        )
    prompt = answer_prompt(task, specs, done, earlier=earlier, stopped=stopped, left=left, undone=undone, known=knows)
    return with_problems(prompt, problems)


def _found(log: RunLog) -> tuple[list[StepView], int]:
    """As `done_steps`, with the result that nobody has judged yet, where a limit came between."""
    done, earlier = done_steps(log)
    if log.state.returned and log.state.step:
        done.append(present_step(log, log.state.step))
    return done, earlier


def answer_of(log: RunLog, reply: ModelReply) -> RunFinished | ReplyRejected:
    """The end of the run with the reply's answer, or what is wrong with the reply."""
    try:
        said = read_reply(FinalAnswer, reply)
        if not said.answer.strip():
            return ReplyRejected(phase="answer", problems=("the answer is empty",))
    except BadReply as bad:
        return ReplyRejected(phase="answer", problems=bad.problems)
    missing, tools = _missing(log.state)[-_TOLD:], log.state.head.tools
    told = [f"{step.id} {'was not done' if tools[step.tool].acts else 'failed'}: {why}" for step, why in missing]
    acts = any(tools[step.tool].acts for step, _ in missing)  # a model may say that it was done, whatever it was told
    sure = "low" if acts else said.confidence
    return finished_by_model(log.state, said.answer.strip(), sure, (*said.unknowns, *told))


def _missing(state: RunState) -> list[tuple[Step, str]]:
    """Steps that have not brought or done what they should, each with why; the present one too, where it has failed."""
    missing = [(step, outcome.message) for step, outcome in state.undone]
    if state.step and state.returned and state.returned.status == "failed":
        missing.append((state.step, state.returned.message))
    return missing


def handed_over(log: RunLog, action: HandOver) -> RunFinished:
    """The end without a model: what was found, step by step, in code's words."""
    done, _ = _found(log)
    found = [f"- {item.text}" for item in log.state.memory.items if item.kind == "fact"]  # of the steps before these
    found += [f"- {view.title or view.tool}: {view.finding or view.preview}" for view in done if view.status == "ok"]
    return RunFinished(
        status=action.status,
        reason=action.reason,
        detail=action.detail,
        output="\n".join(found),
        unknowns=rests_on(log.state),
        by="rule",
    )
