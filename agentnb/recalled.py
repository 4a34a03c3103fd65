"""The prompts of a run, made again: they are functions of its records, so no record holds one.

What was made again is what was asked where its key is the one that the record holds, and only then is it shown. It is
another where a tool or a model is another by now, where a tool that kept failing was left out, or where the text was
laid out otherwise by an older release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentnb.cassette import behind
from agentnb.errors import AgentError
from agentnb.events import ModelAsked, ModelCached, Record
from agentnb.log import RunLog
from agentnb.memory import tool_specs
from agentnb.models.base import Model, ModelRequest
from agentnb.prompting import prompt_of, request_of
from agentnb.state import NEW, RunState
from agentnb.tools import Tool
from agentnb.transitions import apply

__all__ = ["Asked", "asked_in", "recalled"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A model call, and what was known when it was made.

    Attributes:
        state: of the run, right before it.
        event: the call, or the reply that was found in the prompt cache in its place.
    """

    state: RunState
    event: ModelAsked | ModelCached


def asked_in(records: Iterable[Record]) -> dict[int, Asked]:
    """Each model call of a run with these records, by the record that it begins with."""
    state, found = NEW, {}
    for record in records:
        if isinstance(record.event, (ModelAsked, ModelCached)):
            found[record.seq] = Asked(state, record.event)
        state = apply(state, record)
    return found


def recalled(asked: Asked, log: RunLog, tools: Mapping[str, Tool], models: Iterable[Model]) -> ModelRequest | None:
    """The request of a model call, or None where it cannot be made as it was.

    Args:
        asked: the call.
        log: its run, to read values and to take out secrets.
        tools: those of its agent, by name.
        models: those of its agent.
    """
    event, then = asked.event, asked.state
    model = next((model for model in models if model.ref == event.model), None)
    own = {name: tools[name] for name in then.head.tools if name in tools}
    if model is None or len(own) < len(then.head.tools) - len(then.without):
        return None
    real = behind(model)
    try:
        request = request_of(
            event.phase,
            prompt_of(event.phase, log.past(then), tool_specs(own), own),
            log.redact,
            model=event.model,
            thinking_tokens=getattr(real, "thinking_tokens", 0),
            endpoint=getattr(real, "endpoint", ""),
        )
    except AgentError:  # a value that it shows is not in the store any more
        return None
    return request if request.key() == event.key else None
