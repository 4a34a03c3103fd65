"""Checkpoints: a run's state after a commit, kept so that whoever resumes it reads the end of its journal only.

A checkpoint is no second truth. It is what the fold gave, made in the same commit as the records that it stands for;
one that cannot be read, or that another release made, is passed over, and the fold begins at the first record.

Each holds the outcomes since the one before, and the plan where that has changed since: so all of them together take a
seventh of the journal, however long the run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, Final, get_type_hints

from agentnb import __version__
from agentnb.errors import DamagedRecord
from agentnb.events import FORMAT
from agentnb.plan import Plan, Step
from agentnb.shapes import Shape
from agentnb.state import NEW, Outcome, RunState
from agentnb.store.base import Store
from agentnb.trail import Trail
from agentnb.transitions import fold
from agentnb.values import json_text

__all__ = ["START", "Mark", "checkpoint", "is_due", "load"]

EVERY: Final = 128
"""Records between two checkpoints: to read and fold as many takes 2 ms, to make one 0.1 ms."""
AT_REST: Final = 64
"""Records since the last one that are worth one where the run rests or ends."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the checkpoints of a run hold so far.

    Attributes:
        seq: the last record that is in one.
        outcomes: how many outcomes are in them.
        version: of the plan that is in one.
        plan_at: the record that that one is named after.
    """

    seq: int = -1
    outcomes: int = 0
    version: int = 0
    plan_at: int = -1


START: Final = Mark()
"""There are none."""


def load(store: Store, run: str) -> tuple[RunState, Mark]:
    """The fold of a run's records, and what its checkpoints hold.

    Raises:
        RunNotFound: there is no such run.
        DamagedRecord: a record that is needed cannot be read, is missing, or is not what was written.
    """
    state, mark = _last(store, run)
    return fold(store.read(run, state.seq), state), mark


def is_due(state: RunState, mark: Mark) -> bool:
    """True where a checkpoint should be made of `state`."""
    rests = state.suspended is not None or state.finished is not None
    return state.seq - mark.seq >= (AT_REST if rests else EVERY)


def checkpoint(run: str, state: RunState, mark: Mark) -> tuple[dict[str, str], Mark]:
    """The row that keeps `state`, and what the checkpoints hold with it."""
    version = state.plan.version if state.plan else 0
    fresh = version != mark.version
    now = Mark(state.seq, len(state.outcomes), version, state.seq if fresh else mark.plan_at)
    values = {name: value for name, value, first in zip(state._fields, state, NEW, strict=True) if value is not first}
    parts = {
        "form": json_text(_form()),
        "values": _object({name: _text(_hints()[name], values[name]) for name in values if name not in _APART}),
        "outcomes": str(now.outcomes),
        "planned": _text(_Planned, _Planned(state.plan if fresh else None, now.plan_at)),
        "part": _text(_Part, _Part(mark.outcomes, state.outcomes.last(now.outcomes - mark.outcomes))),
    }
    return {_key(run, state.seq): _object(parts)}, now


def _last(store: Store, run: str) -> tuple[RunState, Mark]:
    """The state that the last checkpoint keeps, or that of a run that has none."""
    try:
        found = store.last_row(f"c/{run}/")
        if found is None:
            return NEW, START
        kept: _Kept = _shape(_Kept).parsed(found[1])
        if kept.form != _form():
            return NEW, START
        values = {name: _shape(_hints()[name]).read(value) for name, value in kept.values.items()}
        plan, n, plan_at = kept.planned.plan, kept.outcomes, kept.planned.plan_at
        if plan is None and plan_at >= 0:
            plan = _shape(_WithPlan).parsed(store.row(_key(run, plan_at)) or "").planned.plan
    except (DamagedRecord, ValueError, LookupError, TypeError, AttributeError):
        return NEW, START
    state = NEW._replace(**values, plan=plan, outcomes=Trail.lazy(n, lambda: _outcomes(store, run, values["seq"])))
    return state, Mark(state.seq, n, plan.version if plan else 0, plan_at)


def _outcomes(store: Store, run: str, upto: int) -> list[Outcome]:
    """The outcomes of all checkpoints up to that of record `upto`; folded anew where one of them cannot be read."""
    try:
        rows = [text for key, text in store.rows(f"c/{run}/") if key <= _key(run, upto)]
        parts: list[_Part] = [_shape(_WithPart).parsed(text).part for text in rows]
    except (DamagedRecord, ValueError):
        parts = []
    found = [outcome for part in parts for outcome in part.outcomes]
    whole = parts and [part.before for part in parts] == [0, *accumulate(len(part.outcomes) for part in parts)][:-1]
    return found if whole else list(fold(record for record in store.read(run) if record.seq <= upto).outcomes)


def _key(run: str, seq: int) -> str:
    return f"c/{run}/{seq:010d}"


_APART: Final = ("plan", "outcomes")


@functools.cache
def _form() -> str:
    """What has to be the same for a checkpoint to be believed: the release, and the names of all that it holds."""
    names = [*RunState._fields, *(f.name for kind in (Outcome, Plan, Step) for f in fields(kind))]
    return f"{__version__} {FORMAT} {' '.join(names)}"


@dataclass(frozen=True, slots=True)
class _Planned:
    """The plan, where a checkpoint has one, and else which has it."""

    plan: Plan | None
    plan_at: int


@dataclass(frozen=True, slots=True)
class _Part:
    """The outcomes since the checkpoint before, and how many there were."""

    before: int
    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A checkpoint, but for its outcomes.

    Of a row only what is needed is made: many small objects set off the collector, which takes longer than the rest.
    """

    form: str
    values: dict[str, Any]
    outcomes: int
    planned: _Planned


@dataclass(frozen=True, slots=True)
class _WithPlan:
    """Of a checkpoint its plan."""

    planned: _Planned


@dataclass(frozen=True, slots=True)
class _WithPart:
    """Of a checkpoint its outcomes."""

    part: _Part


@functools.cache
def _hints() -> Mapping[str, Any]:
    """The types of what a state holds."""
    return get_type_hints(RunState)


@functools.cache
def _shape(kind: Any) -> Shape:
    """Of one type: only those that a state has anything of are made."""
    return Shape(kind)


def _text(kind: Any, value: object) -> str:
    return _shape(kind).text(value, brief=True)


def _object(parts: Mapping[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"
