"""Forks: a new run that shares another's beginning and goes on from one of its steps, with something changed.

The shared steps are not carried out again, and what they cost is not charged again. What the other run has called
since, the new one does not repeat unasked.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypedDict

from agentnb.budget import Budget, Phase
from agentnb.codec import head_of
from agentnb.errors import ConfigError
from agentnb.events import Record, RunForked, RunStarted
from agentnb.models.base import Model
from agentnb.models.lineup import Lineup
from agentnb.plan import JSON, Plan, Step, numbered, steps_of
from agentnb.planner import plan_problems
from agentnb.state import NEW, RunState, Stage, Status
from agentnb.terms import Terms
from agentnb.tools import Tool
from agentnb.transitions import apply

__all__ = ["Changed", "Cut", "beginning", "cut", "parted", "require_usable"]


class Changed(TypedDict, total=False):
    """What a fork has otherwise than the run that it parts from; what is left out stays as it is.

    Keys:
        args: arguments of its first step that change: literals, references and what is left open, as in a plan.
        plan: all steps from there on.
        budget: its budget, of which nothing is spent yet.
        model: plans and answers from there on.
        cheap_model: does the rest from there on.
        phases: other models for single phases, as of `Agent`.
    """

    args: Mapping[str, JSON] | None
    plan: Plan | Sequence[Step | Mapping[str, JSON]] | None
    budget: Budget | None
    model: str | Model | None
    cheap_model: str | Model | None
    phases: Mapping[Phase, str | Model] | None


def require_usable(changed: Changed) -> None:
    """Raise ConfigError where something in it is nothing that a fork can have otherwise, or is of a wrong type."""
    known = list(Changed.__annotations__)
    for name in changed:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}=?" if near else f"there are {', '.join(f'{it}=' for it in known)}"
            raise ConfigError(f"a fork takes no {name}=: {meant}")
    args, budget = changed.get("args"), changed.get("budget")
    if args is not None and not isinstance(args, Mapping):
        raise ConfigError(f"args={args!r} is no mapping: give the arguments that change by name, {{'limit': 5}}")
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigError(f"budget={budget!r} is not a Budget: give e.g. Budget(steps=20)")


@dataclass(frozen=True, slots=True)
class Cut:
    """A place at which a run can be forked.

    Attributes:
        run: its id.
        at: "plan", "s3" or "answer": what comes next there.
        state: of the run there.
        records: all up to there.
        whole: the run's state at its end.
    """

    run: str
    at: str
    state: RunState
    records: Sequence[Record]
    whole: RunState


def cut(run: str, records: Sequence[Record], at: str | int | None) -> Cut:
    """The last place at which what `at` names was about to begin; the last of all, where it is None.

    Raises:
        ConfigError: there is no such place; names those that there are.
    """
    places: dict[str, tuple[int, RunState]] = {}
    state = NEW
    for n, record in enumerate(records, start=1):
        state = apply(state, record)
        if name := _place(state):
            places.pop(name, None)  # the last one named is the last one reached
            places[name] = (n, state)
    wanted = next(reversed(places), "") if at is None else f"s{at}" if isinstance(at, int) else at
    if wanted not in places:
        raise ConfigError(f"{run} cannot be forked at {wanted!r}: it can at {', '.join(places) or 'no place yet'}")
    if head_of(records[0]).executes:
        raise ConfigError(f"{run} does exactly what a dry run has shown, and a fork would not: fork the dry run")
    taken, there = places[wanted]
    return Cut(run, wanted, there, records[:taken], state)


def _place(state: RunState) -> str:
    """What is about to begin, where nothing of it has begun; "" elsewhere."""
    if state.status is not Status.IN_PROGRESS or state.inflight or state.rejected or state.stop:
        return ""
    match state.stage:
        case Stage.PLAN if state.plan is None:
            return "plan"
        case Stage.STEP if (
            state.step and state.attempt == 1 and not (state.bound or state.raised or state.approval or state.gaps)
        ):
            return state.step.id
        case Stage.ANSWER:
            return "answer"
        case _:
            return ""


def beginning(where: Cut, run: str) -> list[Record]:
    """The shared records as those of the new run `run`: under its name, and with its clock not begun."""
    first = where.records[0]
    head: RunStarted = replace(
        head_of(first), run=run, uid=secrets.token_hex(6), born="", process=os.getpid(),
        parent="", parent_step="", agent="", depth=0,
    )  # fmt: skip
    return [first._replace(t=0.0, event=head), *(record._replace(t=0.0) for record in where.records[1:])]


def parted(
    where: Cut,
    changed: Changed,
    tools: Mapping[str, Tool],
    models: Lineup,
    terms: Terms,
) -> RunForked:
    """The record that makes a run of its own of what is shared.

    Args:
        where: the place.
        changed: what is otherwise from there on.
        tools: those that are here, by name.
        models: who is asked from there on.
        terms: what it is held to from there on.

    Raises:
        ConfigError: it cannot be carried out so; says all that is wrong with it.
    """
    state, head = where.state, where.state.head
    steps = _changed_steps(where, changed.get("args"), changed.get("plan"))
    left = state.left if steps is None else steps
    if problems := plan_problems(left, tools, before=state.plan.steps[: len(state.outcomes)] if state.plan else ()):
        raise ConfigError(f"{where.run} cannot be forked so: {'; '.join(problems)}")
    model_s = changed.get("plan") is None and state.plan is not None and state.plan.by == "model"
    return RunForked(
        origin=where.run,
        at=where.at,
        seq=state.seq,
        kept=len(state.outcomes),
        **models.names,
        **terms.in_force,
        tools={**head.tools, **{name: made.facts for name, made in tools.items()}},
        budget=changed.get("budget") or where.whole.budget,
        tags=head.tags,
        steps=steps,
        by="model" if model_s else "user",
        acted=_since(where),
    )


def _changed_steps(
    where: Cut, args: Mapping[str, JSON] | None, plan: Plan | Sequence[Step | Mapping[str, JSON]] | None
) -> tuple[Step, ...] | None:
    """The steps that come instead of those left, or None where they stay."""
    keep = len(where.state.outcomes)
    if plan is not None and args is not None:
        raise ConfigError("args= changes the next step and plan= replaces it: give one of them")
    if plan is not None:
        return numbered(steps_of(plan), after=keep)
    if args is None:
        return None
    step = where.state.step
    if step is None or where.at != step.id:
        raise ConfigError(
            f"{where.at} has no arguments: name the step whose arguments change, such as at='s1' (--at s1)"
        )
    changed = replace(step, args={**step.args, **args}, depends_on=())
    return numbered([changed, *where.state.left[1:]], after=keep)


def _since(where: Cut) -> tuple[str, ...]:
    """What the other run has called from there on, or may have, by its `call_mark`."""
    whole = where.whole
    later = whole.outcomes.last(len(whole.outcomes) - len(where.state.outcomes))
    calls = [whole.call, *(outcome.call for outcome in later if outcome.status != "failed")]
    return tuple(sorted({*whole.acted_before, *filter(None, calls)}))
