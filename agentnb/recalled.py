"""The prompts of a run, made again: they are functions of its records, so no record holds one.

What was made again is what was asked where its key is the one that the record holds, and only then is it shown. It is
another where a tool or a model is another by now, where a tool that kept failing was left out, or where the text was
laid out otherwise by an older release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agentnb.cassette import behind
from agentnb.errors import AgentError
from agentnb.events import ModelAsked, ModelCached, Record
from agentnb.log import RunLog
from agentnb.memory import tool_specs
from agentnb.models.base import Model, ModelRequest
from agentnb.prompting import prompt_of, request_of
from agentnb.state import NEW
from agentnb.tools import Tool
from agentnb.transitions import apply

__all__ = ["recalled"]


def recalled(
    log: RunLog, records: Iterable[Record], tools: Mapping[str, Tool], models: Iterable[Model]
) -> Iterator[tuple[int, ModelRequest]]:
    """(record, request) of each model call whose request can be made again, in order.

    Args:
        log: the run, to read values and to take out secrets.
        records: of the run, from the first on.
        tools: those of its agent, by name.
        models: those of its agent.
    """
    state, known = NEW, {model.ref: model for model in models}
    for record in records:
        asked = record.event
        if isinstance(asked, (ModelAsked, ModelCached)) and asked.model in known:
            request = _again(log.past(state), asked, tools, known[asked.model])
            if request is not None:
                yield record.seq, request
        state = apply(state, record)


def _again(
    log: RunLog, asked: ModelAsked | ModelCached, tools: Mapping[str, Tool], model: Model
) -> ModelRequest | None:
    """The request, or None where it cannot be made as it was."""
    own = {name: tools[name] for name in log.state.head.tools if name in tools}
    if len(own) < len(log.state.head.tools) - len(log.state.without):
        return None
    real = behind(model)
    try:
        request = request_of(
            asked.phase,
            prompt_of(asked.phase, log, tool_specs(own), own),
            log.redact,
            model=asked.model,
            thinking_tokens=getattr(real, "thinking_tokens", 0),
            endpoint=getattr(real, "endpoint", ""),
        )
    except AgentError:  # a value that it shows is not in the store any more
        return None
    return request if request.key() == asked.key else None
