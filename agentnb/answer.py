"""The final answer: the strong model's words about what was found, or about what there is when a run is cut short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agentnb.decide import HandOver, finished_by_model, rests_on, stop_in_words
from agentnb.events import ReplyRejected, RunFinished
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, known, present_step
from agentnb.models.base import ModelReply
from agentnb.prompt_text import StepView
from agentnb.prompts import Prompt, answer_prompt
from agentnb.recovery import layer_of
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import simple_answer_prompt, with_problems

__all__ = ["FinalAnswer", "answer_of", "answer_question", "handed_over"]


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
    undone = [view.title or view.tool for view in _missing(log, done) if state.head.tools[view.tool].acts]
    task, problems, knows = state.head.task, state.problems, known(log)
    if layer_of(state.rejected) > 1:
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
    done, _ = done_steps(log)
    missing, tools = _missing(log, done), log.state.head.tools
    told = [f"{view.id} {'was not done' if tools[view.tool].acts else 'failed'}: {view.preview}" for view in missing]
    acts = any(tools[view.tool].acts for view in missing)  # a model may say that it was done, whatever it was told
    sure = "low" if acts else said.confidence
    return finished_by_model(log.state, said.answer.strip(), sure, (*said.unknowns, *told))


def _missing(log: RunLog, done: Sequence[StepView]) -> list[StepView]:
    """Those that have not brought or done what they should; the present one too, where it has failed."""
    undone = {step.id for step, _ in log.state.undone}
    present = log.state.step.id if log.state.step else ""
    return [view for view in done if view.id in undone or (view.id == present and view.status == "failed")]


def handed_over(log: RunLog, action: HandOver) -> RunFinished:
    """The end without a model: what was found, step by step, in code's words."""
    done, _ = _found(log)
    found = [f"- {view.title or view.tool}: {view.finding or view.preview}" for view in done if view.status == "ok"]
    return RunFinished(
        status=action.status,
        reason=action.reason,
        detail=action.detail,
        output="\n".join(found),
        unknowns=rests_on(log.state),
        by="rule",
    )
