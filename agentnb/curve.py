"""What a run had spent at each moment, from its records: by phase, with what was reserved and what was saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentnb.budget import Spent
from agentnb.cost import Cost
from agentnb.events import ModelFailed, ModelReplied, Record
from agentnb.state import NEW, RunState
from agentnb.transitions import apply

__all__ = ["OTHER_AGENTS", "Point", "curve", "thinned"]

OTHER_AGENTS = "agents"
"""The name under which what runs inside a run spent stands among its phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """How a run stood after one of its records.

    Attributes:
        t: seconds on its clock.
        steps: how many steps were finished.
        spent: all that was spent.
        held: what was reserved on top of that: the worst case of what was under way.
        usd: US dollars of each phase, and of the runs inside this one.
        tokens: the same, in tokens.
        saved_usd: what our prompt cache, the provider's and cheaper models had saved.
        caps: the caps of its budget.
    """

    t: float
    steps: int
    spent: Spent
    held: Spent
    usd: Mapping[str, float]
    tokens: Mapping[str, float]
    saved_usd: float
    caps: Mapping[str, float]


def curve(records: Iterable[Record], *, bare: bool = False) -> list[Point]:
    """A point for the beginning, for each change of what is spent, reserved or allowed, and for the end.

    Args:
        records: the run's, oldest first.
        bare: True lets time pass in model calls alone, as long as they are recorded to have taken.
    """
    points: list[Point] = []
    state, now, was, last = NEW, 0.0, None, None
    for record in records:
        state = apply(state, record)
        event = record.event
        worked = event.seconds if isinstance(event, (ModelReplied, ModelFailed)) else 0.0
        now = now + worked if bare else state.t
        last = state.spent, state.reserved, state.held, state.costs, state.budget, len(state.outcomes)
        if last != was:
            points.append(_point(state, now))
            was = last
    if points and now > points[-1].t:
        points.append(_point(state, now))
    return points


def _point(state: RunState, now: float) -> Point:
    cost = Cost(state.costs)
    usd = {phase: used.usd for phase, used in cost.by_phase.items()}
    tokens: dict[str, float] = {phase: used.tokens for phase, used in cost.by_phase.items()}
    if state.children:  # settled as one amount each, and charged to no phase of this run
        usd[OTHER_AGENTS] = max(0.0, state.spent.usd - sum(usd.values()))
        tokens[OTHER_AGENTS] = max(0.0, state.spent.tokens - sum(tokens.values()))
    saved = cost.saved
    return Point(
        t=now,
        steps=len(state.outcomes),
        spent=replace(state.spent, seconds=now),
        held=state.reserved + state.held,
        usd=usd,
        tokens=tokens,
        saved_usd=saved.cache.usd + saved.provider.usd + saved.tiers.usd,
        caps=state.budget.caps(),
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about `most` of the points: of each stretch its last one, with the most that was reserved in it.

    What is spent never falls, so the last point of a stretch tells it; what is reserved comes and goes.
    """
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    found = [points[0]]
    for start in range(1, len(points), size):
        stretch = points[start : start + size]
        top = max(stretch, key=lambda point: (point.held.usd, point.held.tokens))
        found.append(replace(stretch[-1], held=top.held))
    return [*found[:-1], points[-1]]
