"""The `%agent` commands that show what a run did and why: they call nothing, so tools and models may be missing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from agentnb.checkpoint import load
from agentnb.errors import AgentError, ConfigError
from agentnb.log import Clock
from agentnb.models.base import Model
from agentnb.models.resolve import resolve
from agentnb.notebook.desk import Desk, full_id
from agentnb.notebook.listing import show
from agentnb.notebook.namespace import model_of_run, tools_in
from agentnb.reading import with_reading
from agentnb.redact import Redactor
from agentnb.seen import Seen
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool

__all__ = ["seen", "trace", "why"]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A notebook's store, to look at: a `Reader`."""

    store: DiskStore
    redact: Redactor
    replaying: bool
    tools: Mapping[str, Tool]
    models: Iterable[Model]
    clock: Clock = field(default_factory=Clock)


def seen(desk: Desk, args: Namespace) -> Seen:
    """The run of a line, with what is here of its tools and models.

    Raises:
        RunNotFound: no such run.
    """
    store = desk.store(args)
    run = full_id(store, args.run, desk.names)
    state, _ = load(store, run)
    head = state.head
    models = []
    for ref in dict.fromkeys((head.model, head.cheap_model, *head.phases.values())):
        with suppress(AgentError):
            models.append(resolve(model_of_run(ref, desk.names)))
    tools = with_reading({tool.name: tool for tool in tools_in(desk.names).values()})
    return Seen(Shelf(store, desk.redact(), desk.settings.mode == "replay", tools, models), run, state)


def trace(desk: Desk, args: Namespace) -> None:
    """All that a run did, or what it did for one step."""
    run = seen(desk, args)
    found = run.at(args.at) if args.at else run.trace
    if not args.step:
        show(found)
        return
    try:
        show(found[args.step])
    except KeyError as error:
        raise ConfigError(error.args[0]) from None


def why(desk: Desk, args: Namespace) -> None:
    """What led to a step, or to the answer."""
    show(seen(desk, args).why(args.step or "answer"))
