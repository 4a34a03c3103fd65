"""The question what a call rests on: how a person is asked, and what follows from the answer.

`transitions.py` refuses the call while it waits, whatever happens here. Only a person answers it: silence is no answer,
and an approver that fails, or says something else, leaves it open.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from agentnb.approval import Answer, QuestionRequest
from agentnb.asker import Asker
from agentnb.assess_changes import words_of
from agentnb.events import Event, QuestionAnswered, QuestionAsked, RunSuspended, ToolRefused
from agentnb.gate import inside, so_far
from agentnb.log import RunLog
from agentnb.mailbox import posted
from agentnb.plan import Step
from agentnb.prepared import prepare
from agentnb.state import RunState
from agentnb.tools import Tool

__all__ = ["DECISIONS", "Inquiry", "event_of", "rest_at_question"]

DECISIONS: Final = ("answer", "go_on", "stop")
_LONGEST_ANSWER: Final = 2000
"""Characters of an answer: it stands in prompts."""


class Inquiry:
    """Asks what the calls of one run rest on.

    Args:
        log: the run.
        tools: by name.
        asker: asks and tells people.
    """

    def __init__(self, log: RunLog, tools: Mapping[str, Tool], asker: Asker) -> None:
        self._log = log
        self._tools = tools
        self._asker = asker

    def ask(self, step: Step) -> Iterator[Event]:
        """What is missing, and what a person says to it; the run rests where nobody has said anything yet."""
        log, tool = self._log, self._tools[step.tool]
        call = prepare(log, tool, step)
        if isinstance(call, ToolRefused):  # a guard has come up with a no since, and nobody has to know any more
            yield call
            return
        fresh = log.state.question is None
        if fresh:
            yield QuestionAsked(step=step.id, tool=tool.name, args=call.kept, gaps=log.state.gaps)
        asked = log.state.question
        if asked is None:
            raise AssertionError("the question is recorded")
        answer = None if fresh else posted(log.store, log.run, log.state.question_at)
        if answer is None:
            request = self._request(step, tool, asked)
            self._asker.tell(request)
            answer = self._asker.ask(request, _is_one) or posted(log.store, log.run, log.state.question_at)
        if answer is None:
            yield RunSuspended(reason="question", detail=_waits_for(asked))
        else:
            yield event_of(step.id, answer)

    def _request(self, step: Step, tool: Tool, asked: QuestionAsked) -> QuestionRequest:
        state = self._log.state
        return QuestionRequest(
            run=self._log.run,
            step=step.id,
            title=step.title,
            tool=tool.name,
            args=copy.deepcopy(self._log.value(asked.args)),  # an approver may alter what it gets
            gaps=asked.gaps,
            reversibility=tool.reversibility,
            effect=tool.effect,
            egress=tool.egress,
            task=state.head.task,
            so_far=so_far(state),
            replans=state.plan is not None and state.plan.by == "model",
            **inside(state),
        )


def _is_one(answer: Answer) -> bool:
    return answer.decision in DECISIONS and (answer.decision != "answer" or bool(answer.reason.strip()))


def event_of(step: str, answer: Answer) -> QuestionAnswered:
    """An answer to the question about `step`, as it is recorded."""
    decision: Literal["answer", "go_on", "stop"] = "stop"
    if answer.decision in ("answer", "go_on"):
        decision = "answer" if answer.decision == "answer" else "go_on"
    text = answer.reason.strip()[:_LONGEST_ANSWER]
    return QuestionAnswered(step=step, decision=decision, by=answer.by, text=text)


def rest_at_question(state: RunState) -> RunSuspended | None:
    """How a run rests that is asking a person something: the question still waits for an answer. None where it is not.

    Either what a call rests on, or whether it may be made.
    """
    if state.asks:
        return RunSuspended(reason="question", detail=_waits_for(state.asks))
    if state.approval is None or state.approved:
        return None
    return RunSuspended(reason="approval", detail=f"{state.approval.step} {state.approval.tool} waits for a person")


def _waits_for(asked: QuestionAsked) -> str:
    """Why a run rests at a question."""
    return f"{asked.step} {asked.tool} rests on what nobody has said: {words_of(asked.gaps)}"[:500]
