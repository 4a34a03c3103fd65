"""Going on with a run: what of that with which it began is missing here or is another by now, and what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agentnb.approval import person
from agentnb.budget import Phase
from agentnb.calls import STILL_RUNS
from agentnb.cost import PHASES
from agentnb.errors import ConfigError
from agentnb.events import DoubtResolved, RunResumed
from agentnb.log import RunLog
from agentnb.models.lineup import Lineup
from agentnb.policy import ToolFacts
from agentnb.runner import ended
from agentnb.standing import waits_for
from agentnb.state import RunState
from agentnb.tiers import model_of
from agentnb.tools import Tool

__all__ = ["Differences", "InDoubt", "differences", "how_changed", "settled"]

InDoubt = Literal["done", "not_done"]
"""What a person found out about a call whose outcome was not known."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What is not as the run knows it.

    Attributes:
        missing: tools that are not here, by name.
        needed: those of them that a step still to be carried out calls, each with its step.
        changed: tools whose arguments, effect or reversibility have changed, as they are now.
        model: the one that is here, where the run began with another; else "".
        cheap_model: the same.
        phases: the same for the models of single phases.
        said: all of it, one sentence each.
    """

    missing: tuple[str, ...] = ()
    needed: Mapping[str, str] | None = None
    changed: Mapping[str, ToolFacts] | None = None
    model: str = ""
    cheap_model: str = ""
    phases: Mapping[Phase, str] | None = None
    said: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.said)

    def resumed(self, state: RunState, process: int) -> RunResumed:
        """The record that takes them over.

        Raises:
            ConfigError: a tool is missing that a step calls, or one has changed whose call is not settled.
        """
        run = state.head.run
        for name, step in (self.needed or {}).items():
            raise ConfigError(f"{run} cannot go on without the tool {name!r}: {step} calls it. Define it again")
        if state.claim is not None and state.claim.tool in (self.changed or {}):
            raise ConfigError(
                f"{run} cannot go on with another {state.claim.tool!r}: {state.claim.step} has begun a call of the one"
                " that was. Restore it, or settle that call first with in_doubt= (--done, --not-done)"
            )
        return RunResumed(
            process=process,
            tools=dict(self.changed or {}),
            without=self.missing,
            model=self.model,
            cheap_model=self.cheap_model,
            phases=dict(self.phases or {}),
        )


def differences(state: RunState, tools: Mapping[str, Tool], models: Lineup | None = None) -> Differences:
    """What is here, against what the run knows.

    Args:
        state: of the run.
        tools: those that are here, by name.
        models: those that are here; None where no model has a part in what comes.
    """
    head = state.head
    needed = {step.tool: step.id for step in reversed(state.left) if step.tool not in tools}
    missing = tuple(name for name in head.tools if name not in tools and (name not in state.without or name in needed))
    changed = {n: tools[n].facts for n, facts in head.tools.items() if n in tools and tools[n].facts != facts}
    said = [
        *(f"the tool {name!r} is not here" for name in missing),
        *(f"the tool {name!r} has changed: {how_changed(head.tools[name], now)}" for name, now in changed.items()),
    ]
    if models is None or head.executes:
        return Differences(missing, needed, changed, said=tuple(said))
    mine, its = models.names, {"model": head.model, "cheap_model": head.cheap_model}
    others = {role: mine[role] if mine[role] != its[role] else "" for role in its}
    said += [f"it began with {role}={its[role]!r}, and here it is {now!r}" for role, now in others.items() if now]
    named = [phase for phase in PHASES if phase in head.phases or phase in models.phases]
    phases = {p: models.of(p).ref for p in named if models.of(p).ref != model_of(head, p)}
    said += [
        f"its {phase} began with {model_of(head, phase)!r}, and here it is {now!r}" for phase, now in phases.items()
    ]
    return Differences(missing, needed, changed, phases=phases, said=tuple(said), **others)


def how_changed(before: ToolFacts, now: ToolFacts) -> str:
    """What of a tool is another, in words."""
    parts = [
        f"{name} was {getattr(before, name)!r} and is {getattr(now, name)!r}"
        for name in ToolFacts.__slots__
        if name != "schema" and getattr(before, name) != getattr(now, name)
    ]
    return ", ".join([*(["its arguments are others"] if before.schema != now.schema else []), *parts])


def settled(log: RunLog, in_doubt: InDoubt | None) -> tuple[DoubtResolved, ...]:
    """What a person says of a call whose outcome is not known, as an event; () where nothing is to be said.

    Raises:
        ConfigError: it says neither that it happened nor that it did not; no call is in doubt; or the call still runs
            here.
    """
    if in_doubt not in (None, "done", "not_done"):
        raise ConfigError(f"in_doubt={in_doubt!r} is neither 'done' nor 'not_done'")
    claim = log.state.claim
    if in_doubt is None:
        return ()
    if other := waits_for(log.state):
        raise ConfigError(
            f"{log.run} waits for a call of {other}, and has none of its own in doubt: say it there, with"
            f" `%agent resume {other} --done` or `--not-done`, and then resume {log.run}"
        )
    if claim is None or log.state.cleared:
        raise ConfigError(
            f"no call of {log.run} is in doubt: leave out in_doubt= (--done, --not-done), which say if one happened"
        )
    happened = in_doubt == "done"
    if not happened and not ended(claim.key, 0):
        raise ConfigError(f"{claim.step} {claim.tool} of {log.run}: {STILL_RUNS}")
    result = log.keep(None) if happened else None
    return (DoubtResolved(step=claim.step, happened=happened, by=person(), result=result),)
