"""Asks and tells people through functions of the user's, whatever those do."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from agentnb.approval import Answer, ApprovalRequest, Approver, Notify, QuestionRequest, Request
from agentnb.errors import Interrupted
from agentnb.log import RunLog
from agentnb.runner import finished

__all__ = ["Asker", "is_sound"]

_LOG: Final = logging.getLogger(__name__)


class Asker:
    """The approver and the `notify=` of one run.

    Args:
        log: the run.
        approver: who is asked.
        notify: told when something waits, before anybody is asked; None for nobody.
    """

    def __init__(self, log: RunLog, approver: Approver, notify: Notify | None) -> None:
        self._log = log
        self.approver = approver
        self._notify = notify

    def tell(self, request: ApprovalRequest | QuestionRequest) -> None:
        """Let `notify=` know that something waits; where it fails, the question is asked all the same."""
        if self._notify is None:
            return
        try:
            _waited_for(self._notify(request))
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException:  # noqa: BLE001 - a user's code, that may even exit
            self._warn("notify=", request)

    def answer(self, request: Request) -> object:
        """What the approver gives, whatever that is; it may raise anything."""
        return _waited_for(self.approver(request))

    def ask(self, request: Request, is_one: Callable[[Answer], bool]) -> Answer | None:
        """What the approver says, where that is an answer to this; None of anything else, and where it fails."""
        try:
            answer = self.answer(request)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException:  # noqa: BLE001 - a user's code; the run rests, and says how to answer
            self._warn("the approver", request)
            return None
        return answer if isinstance(answer, Answer) and is_sound(answer) and is_one(answer) else None

    def _warn(self, what: str, request: Request) -> None:
        """Log what was raised just now, with where; as text, for a logger would write down what it quotes."""
        text = self._log.redact(traceback.format_exc())
        _LOG.error("%s failed for %s %s\n%s", what, request.run, request.step, text)


def _waited_for(given: object) -> object:
    """`given`, or what comes of it where the function was async."""
    return finished(given) if inspect.isawaitable(given) else given


def is_sound(answer: Answer) -> bool:
    """True where every part is of its type: what is recorded has to be readable again."""
    said = isinstance(answer.by, str) and isinstance(answer.reason, str) and isinstance(answer.allow, bool)
    return said and isinstance(answer.args, (Mapping, type(None))) and isinstance(answer.others, Mapping)
