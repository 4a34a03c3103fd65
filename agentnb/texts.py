"""What the task, models and tools say, as attributes of spans: as the journal holds it, with no secret in it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

from agentnb.errors import AgentError
from agentnb.events import Kept, RunFinished, RunStarted
from agentnb.semconv import Attributes, message
from agentnb.span import Span
from agentnb.store.base import Store

__all__ = ["Texts", "cut"]

_LONGEST: Final = 8000


class Texts:
    """The texts of a run's spans.

    Args:
        store: holds the values that are kept beside their records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def began(self, span: Span, head: RunStarted) -> Attributes:
        """What is known when a span begins: a run's task, a call's arguments. No record holds a prompt."""
        if span.op == "invoke_agent":
            return {"gen_ai.input.messages": message("user", cut(head.task))}
        text = self._text(span.args) if span.op == "execute_tool" else None
        return {} if text is None else {"gen_ai.tool.call.arguments": cut(text)}

    def ended(self, span: Span) -> Attributes:
        """What is known when it ends: a call's result, a model's reply."""
        text = self._text(span.result) if span.op in ("execute_tool", "chat") else None
        if text is None:
            return {}
        if span.op == "execute_tool":
            return {"gen_ai.tool.call.result": cut(text)}
        reason = "stop" if span.status == "ok" else span.status
        return {"gen_ai.output.messages": message("assistant", cut(str(json.loads(text))), finish_reason=reason)}

    @staticmethod
    def answer(event: RunFinished) -> Attributes:
        """The run's answer."""
        return {"gen_ai.output.messages": message("assistant", cut(event.output), finish_reason="stop")}

    def _text(self, kept: Kept | None) -> str | None:
        """A value's JSON; None where there is none, or it is not to be had."""
        if kept is None:
            return None
        with suppress(AgentError):
            return kept.text if kept.text is not None else self._store.blob(kept.blob or "")
        return None


def cut(text: str) -> str:
    """A text as it is sent: whole, or its first 8000 characters and how many there are."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters in all)"
