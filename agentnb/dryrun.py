"""Dry runs: what a run would do, and the plan that does exactly that.

A dry run reads for real and simulates what acts. Its execution is a run of its own with no model in it: first every
read again, which has to give what it gave; then the calls that were simulated, with the same arguments. Between the
first answer and the first call the reads are made once more, see `RunState.unread`: an answer may come days later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentnb.errors import ConfigError
from agentnb.events import CallSimulated, Kept, PlanMade, Record, ToolClaimed, ToolReturned
from agentnb.log import RunLog
from agentnb.plan import JSON, REFERENCE, Check, Step, is_open, literal, numbered, references
from agentnb.state import TAINTED, Status
from agentnb.values import digest

__all__ = ["Effect", "effects_of", "execution_plan"]

_POLICY = ("the policy asks",)
"""A reason that says nothing: in the execution a person is asked about every effect."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One call that a dry run would have made.

    Attributes:
        step: the step's id.
        title: what the step is for.
        tool: the tool's name.
        args: its arguments.
        reversibility: whether it can be taken back.
        result: what stood in for its result.
        gate: why a person would be asked before it; () where nobody would.
    """

    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    reversibility: str
    result: JSON
    gate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    """What the last try of each finished step was, by the step's id."""

    reads: Mapping[str, tuple[ToolClaimed, ToolReturned]]
    simulated: Mapping[str, CallSimulated]


def _done(log: RunLog, records: Iterable[Record]) -> _Done:
    reads: dict[str, tuple[ToolClaimed, ToolReturned]] = {}
    simulated: dict[str, CallSimulated] = {}
    claim: ToolClaimed | None = None
    for event in (record.event for record in records):
        match event:
            case ToolClaimed():
                claim = event
            case ToolReturned(status="ok" | "empty") if claim is not None and claim.step == event.step:
                reads[event.step] = (claim, event)
            case CallSimulated():
                simulated[event.step] = event
            case PlanMade(keep=keep):  # what came after those steps is planned anew
                gone = [step for step in (*reads, *simulated) if int(step[1:]) > keep]
                for step in gone:
                    reads.pop(step, None)
                    simulated.pop(step, None)
            case _:
                pass
    finished = {outcome.step for outcome in log.state.outcomes if outcome.status != "failed"}
    return _Done(
        {step: pair for step, pair in reads.items() if step in finished},
        {step: event for step, event in simulated.items() if step in finished},
    )


def effects_of(log: RunLog, records: Iterable[Record]) -> tuple[Effect, ...]:
    """What the dry run would have done, in order."""
    steps = {step.id: step for step in log.state.plan.steps} if log.state.plan else {}
    return tuple(
        Effect(
            step=name,
            title=steps[name].title,
            tool=event.tool,
            args=log.value(event.args),
            reversibility=log.state.head.tools[event.tool].reversibility,
            result=log.value(event.result),
            gate=event.gate,
        )
        for name, event in _done(log, records).simulated.items()
    )


def execution_plan(log: RunLog, records: Iterable[Record]) -> tuple[Step, ...]:
    """The steps that do exactly what the dry run would have done: its reads, held to what they gave, then its effects.

    Raises:
        ConfigError: it was no dry run, it did not complete, it would have done nothing, or an agent has a part in it.
    """
    state = log.state
    if state.imported:
        raise ConfigError(
            f"{log.run} was imported: what a stranger's file shows is not executed. Do a dry run of it here"
        )
    if not state.head.dry:
        raise ConfigError(f"{log.run} was no dry run: only what a dry run has shown can be executed")
    if state.status is not Status.COMPLETED:
        raise ConfigError(f"{log.run} is {state.status}: only a dry run that completed can be executed")
    done = _done(log, records)
    if not done.simulated:
        raise ConfigError(f"{log.run} would have done nothing: there is nothing to execute")
    steps = {step.id: step for step in state.plan.steps} if state.plan else {}
    if agent := next((step for step in steps.values() if state.head.tools[step.tool].delegates), None):
        raise ConfigError(
            f"{log.run} calls the agent {agent.tool!r} at {agent.id}, which plans anew each time: it cannot be done"
            " exactly so. Run the task itself, in which each call that acts is asked about"
        )
    reads = [_read(log, steps[name], *pair) for name, pair in done.reads.items()]
    names = {name: f"s{n}" for n, name in enumerate((*done.reads, *done.simulated), start=1)}
    places, made_up, effects = {name: names[name] for name in done.simulated}, _made_up(steps.values(), done), []
    for name, event in done.simulated.items():
        step = steps[name]
        told = [_renamed(why, names, log.run) for why in event.gate if why not in _POLICY]
        told += _rests(step, places, made_up, names)
        ask = "; ".join(told) or f"{log.run} listed it in its dry run"
        effects.append(replace(_effect(log, step, event, places), ask=ask))
    return numbered([*reads, *effects])


def _renamed(why: str, names: Mapping[str, str], run: str) -> str:
    """A reason of the dry run, with the steps that it names as the execution calls them; guards' words are theirs."""
    if not why.startswith(TAINTED):
        return why
    return re.sub(r"\bs[1-9][0-9]*\b", lambda found: names.get(found[0], f"{found[0]} of {run}"), why)


def _rests(
    step: Step, places: Mapping[str, str], made_up: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> list[str]:
    """What of a step's arguments rests on nothing but simulations, in words, and in the execution's names."""
    needs, told = {*step.depends_on, *references(step.args)}, []
    written = any(is_open(value) for value in step.args.values() if isinstance(value, str))
    if rests := [names[name] for name in sorted(needs & places.keys()) if written]:
        told.append(f"a model wrote its arguments from what was only simulated in {', '.join(rests)}")
    if read := sorted(needs & made_up.keys()):
        why = ((names[name], ", ".join(names[one] for one in made_up[name])) for name in read)
        sources = "; ".join(f"{name} with what was only simulated in {ones}" for name, ones in why)
        told.append(f"it rests on what was read with made-up arguments: {sources}")
    return told


def _read(log: RunLog, step: Step, claim: ToolClaimed, returned: ToolReturned) -> Step:
    before = returned.result or Kept(4, text="null")
    check = Check(sha256=before.blob or digest(before.text or ""))
    args = literal(log.value(claim.args))
    return Step(tool=step.tool, args=args, title=f"Read again: {step.title or step.tool}", check=check)


def _made_up(steps: Iterable[Step], done: _Done) -> Mapping[str, Sequence[str]]:
    """Reads whose arguments rest on what was only simulated, each with the steps that were.

    What they gave is real, and may be of another thing than the one that the effects will make.
    """
    found: dict[str, list[str]] = {}
    for step in steps:
        needs = {*step.depends_on, *references(step.args)}
        if step.id in done.reads and (rests := sorted(needs & {*done.simulated, *found})):
            found[step.id] = rests
    return found


def _effect(log: RunLog, step: Step, event: CallSimulated, places: Mapping[str, str]) -> Step:
    exact: dict[str, JSON] = log.value(event.args)
    planned = {name: step.args.get(name) for name in exact}
    args = {name: _arg(value, planned[name], places) for name, value in exact.items()}
    return Step(tool=step.tool, args=args, title=step.title, expect=step.expect, confidence=step.confidence)


def _arg(exact: JSON, planned: JSON, places: Mapping[str, str]) -> JSON:
    """What stands for an argument: the value it had, or a reference where that value was only simulated."""
    if isinstance(planned, str) and not planned.startswith("$$"):
        match = REFERENCE.fullmatch(planned)
        return f"${places[match[1]]}{match[2]}" if match and match[1] in places else literal(exact)
    if isinstance(planned, dict) and isinstance(exact, dict):
        return {name: _arg(value, planned.get(name), places) for name, value in exact.items()}
    if isinstance(planned, (list, tuple)) and isinstance(exact, list):
        return [_arg(value, was, places) for value, was in zip(exact, planned, strict=False)]
    return literal(exact)
