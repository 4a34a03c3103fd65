"""What the `%agent` commands work with: the notebook's store, and a run of it with an agent as it began with."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentnb.cassette import Cassette, Replaying
from agentnb.checkpoint import load
from agentnb.errors import ConfigError
from agentnb.family import agents_in, top
from agentnb.named import run_named
from agentnb.notebook.arguments import in_store
from agentnb.notebook.cell import CellAgent
from agentnb.notebook.namespace import (
    alerts_of_run,
    model_named,
    model_of_run,
    phases_named,
    redactor_here,
    require_free,
    secrets_named,
    tools_in,
    tools_of_run,
)
from agentnb.notebook.telling import telemetry_of
from agentnb.redact import Redactor
from agentnb.run import Run
from agentnb.settings import Settings
from agentnb.store.disk import DiskStore
from agentnb.wiring import Wiring

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Desk", "full_id", "go_on", "reopened"]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the commands work with.

    Attributes:
        shell: for its namespace.
        settings: what holds where a flag says nothing.
        bound: the variable of each run of this kernel, by the run's id.
        idle_s: seconds without a press after which a question is left and the run rests.
    """

    shell: InteractiveShell
    settings: Settings
    bound: dict[str, str]
    idle_s: float = 1800.0

    @property
    def names(self) -> dict[str, Any]:
        """The notebook's variables."""
        names: dict[str, Any] = self.shell.user_ns
        return names

    def redact(self) -> Redactor:
        """What takes out of a text what is secret here now."""
        return redactor_here(self.settings.secrets, self.names, os.environ)

    @property
    def replaying(self) -> bool:
        """True where models answer from a cassette: what is shown then leaves out ids, ages and times."""
        tape = Cassette(self.settings.cassette) if self.settings.cassette else None
        return tape is not None and isinstance(Wiring(tape, self.settings.mode).wired(self.settings.model), Replaying)

    def store(self, args: Namespace) -> DiskStore:
        """The store that the line or the settings name; never made by asking for it.

        Raises:
            ConfigError: nothing was kept there yet.
        """
        place = Path(args.store or self.settings.store).expanduser()
        if not place.exists():
            raise ConfigError(
                f"there is no store at {place.absolute()}: a %%agent cell makes one, `--store DIR` names another"
            )
        return DiskStore(place)


def full_id(store: DiskStore, text: str, names: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The id of the run that `text` begins, see `run_named`, or that a variable of that name holds.

    Raises:
        RunNotFound: no run, or more than one, begins so.
    """
    if isinstance(held := names.get(text), Run):
        return held.id
    return run_named(store, text)


def reopened(desk: Desk, args: Namespace, *, accept_changes: bool = False, outermost: bool = False) -> Run:
    """The run with an agent as it began with: models and tools by their names, from this notebook.

    Args:
        desk: where they are looked for.
        args: the run, and perhaps other models, as typed.
        accept_changes: leave out tools that are not here.
        outermost: of a run inside another, the one that has to be gone on with for it to go on.

    Raises:
        ConfigError: something that it began with is not here.
    """
    store = desk.store(args)
    run = full_id(store, args.run, desk.names)
    run = top(store, run) if outermost else run
    head = load(store, run)[0].head
    names = {**_inside(desk.names), **desk.names} if head.parent else desk.names
    model, cheap_model = (getattr(args, role, None) or "" for role in ("model", "cheap_model"))
    other = phases_named(dict(getattr(args, "phase", None) or ()), desk.names)
    agent = CellAgent(
        desk.shell,
        model=model_named(model, desk.names) if model else model_of_run(head.model, desk.names),
        cheap_model=model_named(cheap_model or model, desk.names)
        if cheap_model or model
        else model_of_run(head.cheap_model, desk.names),
        phases={**{p: model_of_run(ref, desk.names) for p, ref in head.phases.items()}, **other},
        escalate=head.escalate,
        alerts=alerts_of_run(head.alerts, desk.names),
        tools=tools_of_run(head.tools, names, all_of_them=not accept_changes),
        budget=head.budget,
        approve=head.policy,
        assess=head.assess or False,
        stops=head.stops,
        store=store.place,
        cassette=desk.settings.cassette or None,
        mode=desk.settings.mode,
        secrets=secrets_named(desk.settings.secrets, desk.names, os.environ),
        telemetry=telemetry_of(desk.settings),
        idle_s=desk.idle_s,
        typed_store=in_store(args),
    )
    return Run(agent, run)


def _inside(names: Mapping[str, Any]) -> dict[str, Any]:
    """The tools of the notebook's agents, by name."""
    tools = {tool.name: tool for tool in tools_in(names).values()}
    return {name: made for agent in agents_in(tools) for name, made in agent.delegate.tools.items()}


def go_on(desk: Desk, args: Namespace, run: Run, work: Callable[[], Run]) -> None:
    """Do `work`, and bind the run to the name on the line, or else to that of its first cell in this kernel."""
    name = getattr(args, "name", None) or desk.bound.get(run.id)
    require_free(name, desk.names)
    try:
        work()
    finally:
        if name:
            desk.bound[run.id] = name
            desk.names[name] = Run(run.keeper, run.id)  # with nothing remembered of how it was before
