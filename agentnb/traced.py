"""From a run in a store to its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from agentnb.codec import head_of
from agentnb.delegate import MAX_DEPTH
from agentnb.errors import AgentError
from agentnb.events import Kept
from agentnb.log import RunLog
from agentnb.models.base import Model
from agentnb.plan import JSON
from agentnb.recalled import Asked, asked_in, recalled
from agentnb.span import Span
from agentnb.spans import spans_of
from agentnb.store.base import Store
from agentnb.tools import Tool
from agentnb.trace import Trace, joined

__all__ = ["Texts", "trace_of"]


class Texts:
    """Where the traces of one agent's runs have their texts from: read when they are asked for, and then remembered.

    Args:
        reopened: gives a run of the store, to be read.
        tools_of: gives the tools that a run calls, by name.
        models: all that may have been asked.
    """

    def __init__(
        self,
        reopened: Callable[[str], RunLog],
        tools_of: Callable[[str], Mapping[str, Tool]],
        models: Iterable[Model],
    ) -> None:
        self._reopened = reopened
        self._tools_of = tools_of
        self._models = tuple(models)
        self._logs: dict[str, RunLog] = {}
        self._asked: dict[str, dict[int, Asked]] = {}
        self._tools: dict[str, Mapping[str, Tool]] = {}

    def value(self, run: str, kept: Kept) -> JSON:
        """The value that a record of `run` refers to."""
        return self._log(run).value(kept)

    def prompt(self, run: str, seq: int) -> str | None:
        """What a model was asked in record `seq` of `run`, exactly; None where that cannot be made again."""
        log = self._log(run)
        if run not in self._asked or seq not in self._asked[run]:  # it may have gone on since
            self._asked[run], self._tools[run] = asked_in(log.store.read(run)), self._tools_of(run)
        asked = self._asked[run].get(seq)
        request = recalled(asked, log, self._tools[run], self._models) if asked else None
        return f"{request.system}\n\n{request.user}" if request else None

    def _log(self, run: str) -> RunLog:
        if run not in self._logs:
            self._logs[run] = self._reopened(run)
        return self._logs[run]


def trace_of(store: Store, run: str, texts: Texts, *, bare: bool = False) -> Trace:
    """The trace of `run`, with those of the runs inside it.

    Args:
        store: where it is kept.
        run: its id.
        texts: where values and prompts come from.
        bare: True shows no ids and times, see `Spans`.

    Raises:
        RunNotFound, DamagedRecord: as `store.read`; a run inside it that cannot be read is left out.
    """
    return Trace(run, _spans(store, run, bare=bare, deep=MAX_DEPTH), texts, bare)


def _spans(store: Store, run: str, *, bare: bool, deep: int) -> tuple[Span, ...]:
    own, inside = spans_of(store.read(run), bare=bare), {}
    for child in [span.child for span in own if span.child] if deep else ():
        with suppress(AgentError):
            head_of(store.first(child))
            inside[child] = _spans(store, child, bare=bare, deep=deep - 1)
    return joined(own, inside)
