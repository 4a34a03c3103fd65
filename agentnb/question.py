"""The question what a call rests on: how a person is asked, and what follows from the answer.

`transitions.py` refuses the call while it waits, whatever happens here. Only a person answers it: silence is no answer,
and an approver that fails, or says something else, leaves it open.
"""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from agentnb.approval import Answer, Approver, QuestionRequest
from agentnb.assess_changes import words_of
from agentnb.errors import Interrupted
from agentnb.events import Event, QuestionAnswered, QuestionAsked, RunSuspended, ToolRefused
from agentnb.gate import Notify, inside, is_sound, so_far
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
_LOG: Final = logging.getLogger(__name__)


class Inquiry:
    """Asks what the calls of one run rest on.

    Args:
        log: the run.
        tools: by name.
        approver: who is asked.
        notify: told when something waits, before anybody is asked; None for nobody.
    """

    def __init__(self, log: RunLog, tools: Mapping[str, Tool], approver: Approver, notify: Notify | None) -> None:
        self._log = log
        self._tools = tools
        self._approver = approver
        self._notify = notify

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
            self._tell(request)
            answer = self._asked(request) or posted(log.store, log.run, log.state.question_at)
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

    def _asked(self, request: QuestionRequest) -> Answer | None:
        """What the approver says, where that is an answer to this."""
        try:
            answer: object = self._approver(request)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException:  # noqa: BLE001 - a user's code; the run rests, and says how to answer
            self._warn("the approver", request)
            return None
        return answer if isinstance(answer, Answer) and is_sound(answer) and _is_one(answer) else None

    def _tell(self, request: QuestionRequest) -> None:
        if self._notify is None:
            return
        try:
            self._notify(request)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException:  # noqa: BLE001 - a user's code, that may even exit; the question is asked all the same
            self._warn("notify=", request)

    def _warn(self, what: str, request: QuestionRequest) -> None:
        """Log what was raised just now, as text without secrets."""
        text = self._log.redact(traceback.format_exc())
        _LOG.error("%s failed for %s %s\n%s", what, request.run, request.step, text)


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
