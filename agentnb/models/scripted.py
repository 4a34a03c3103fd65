"""A model that says what it was told to: for tests of your own agents, and for examples without any model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from agentnb.budget import Usage
from agentnb.models.base import ModelReply, ModelRequest

__all__ = ["ScriptedModel", "UnexpectedCall", "harmless"]

Line = Any
"""A reply: str, dict, pydantic model, ModelReply, an exception to raise, or a function of the request that gives one of
these; or a pair (phase, reply), which also says what the request has to be for."""


class UnexpectedCall(AssertionError):
    """The script did not foresee the call, or foresaw one that was not made."""


class ScriptedModel:
    """Replies given in order; fails loudly on a call that is not in the script, and at exit on one that was not made.

    Assessments are given by lines that say so: where the next one is no pair ("assess", reply), an assessment has
    nothing to say, and takes no line.

    Args:
        lines: the replies.
        ref: the name it goes by. "scripted", or one like "scripted:cheap", costs nothing, and none of its replies is
            taken from the prompt cache; under another name it is a model like others, whose price is not known.
        price: what a test wants it to charge; see `budget.Price`.

    Attributes:
        requests: what each line so far was given for.

    >>> with ScriptedModel([("answer", {"answer": "42"})]) as model:
    ...     model.ask(ModelRequest("scripted", "answer", "", "What is it?")).text
    '{"answer": "42"}'
    """

    def __init__(
        self, lines: Iterable[Line], *, ref: str = "scripted", price: Callable[[Usage], float] | None = None
    ) -> None:
        self.ref = ref
        self.price = price
        self.requests: list[ModelRequest] = []
        self._lines = list(lines)

    def ask(self, request: ModelRequest) -> ModelReply:
        """The next line of the script."""
        if request.phase == "assess" and not self._assesses_next:
            return _reply(harmless(request), request)
        self.requests.append(request)
        if not self._lines:
            raise UnexpectedCall(
                f"call {len(self.requests)} ({request.phase}) is not in the script: {request.prompt[-300:]}"
            )
        line = self._lines.pop(0)
        if isinstance(line, tuple):
            phase, line = line
            if phase != request.phase:
                raise UnexpectedCall(f"call {len(self.requests)} is for {request.phase}; the script expects {phase}")
        return _reply(line, request)

    @property
    def _assesses_next(self) -> bool:
        line = self._lines[0] if self._lines else None
        return isinstance(line, tuple) and line[0] == "assess"

    def done(self) -> None:
        """Check that every line was used.

        Raises:
            UnexpectedCall: some were not.
        """
        if self._lines:
            raise UnexpectedCall(
                f"{len(self._lines)} of {len(self._lines) + len(self.requests)} replies were never asked for"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.done()


def harmless(request: ModelRequest) -> dict[str, Any]:
    """An assessment that no script speaks of: each argument is assumed, and would do no harm."""
    schema: Any = request.schema or {}
    args = schema["properties"]["statements"]["items"]["properties"]["argument"]["enum"]
    rest = {"text": "not in the script", "sources": [], "status": "assumed", "critical": False}
    return {"statements": [{"argument": name, **rest} for name in args]}


def _reply(line: Line, request: ModelRequest) -> ModelReply:
    if callable(line) and not isinstance(line, BaseModel):
        line = line(request)
    if isinstance(line, BaseException):
        raise line
    if isinstance(line, ModelReply):
        return line
    if isinstance(line, BaseModel):
        line = line.model_dump(mode="json")
    text = line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)
    sent = len(request.system) + len(request.user)
    return ModelReply(
        text, Usage(sent // 4 + 1, min(len(text) // 4 + 1, request.max_output_tokens)), model=request.model
    )
