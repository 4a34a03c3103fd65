"""The steps of a plan as a person sees them: the state of each in a word, and of a long plan those worth showing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from agentnb.course import Course
from agentnb.notes import named
from agentnb.plan import Step
from agentnb.state import Outcome, RunState, Stage, Status

__all__ = ["LIVE_STEPS", "OPEN", "Mark", "Marks", "StepLine", "around", "assumed_by", "mark_at", "telling"]

Mark = Literal["done", "simulated", "empty", "failed", "skipped", "proposed", "dropped", "running", "waiting", "todo"]
Marks = Counter[Mark]
"""How many steps there are in each state."""

OPEN: tuple[Mark, ...] = ("running", "waiting", "todo")
"""The states of a step that has not come to its end."""

LIVE_STEPS = 12
"""Steps seen of a run under way: so the panel stays in sight, and costs the same to draw however long the run is."""


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of the plan.

    Attributes:
        call: the tool with its argument names, "query(sql)".
        mark: its state.
        note: what is worth a few words: "16 rows", "retry 2 of 3: no such column", "asks you first".
        finding: what the critic learned from it.
        seconds: in model and tool calls, or None where times are not shown.
        usd: of its model calls.
        assumes: what it takes for true, or on which step's assumption it rests; "" as a rule.
    """

    id: str
    title: str
    call: str
    mark: Mark
    note: str = ""
    finding: str = ""
    seconds: float | None = None
    usd: float = 0.0
    assumes: str = ""


def mark_at(state: RunState, course: Course, place: int) -> Mark:
    """The state of the step at this place of the plan, counted from 0."""
    if place < len(state.outcomes):
        return _ended(course, state.outcomes[place])
    doubt = state.suspended is not None and state.suspended.reason == "in_doubt"
    waits = state.status in (Status.AWAITING_APPROVAL, Status.AWAITING_ANSWER) or doubt
    if place > len(state.outcomes) or not (waits or state.status is Status.IN_PROGRESS):
        return "todo"
    if waits or state.question or (state.approval and not state.approved):
        return "waiting"
    return "running" if state.stage in (Stage.STEP, Stage.CALL, Stage.JUDGE) else "todo"


def _ended(course: Course, outcome: Outcome) -> Mark:
    step = outcome.step
    if step in course.faulted:
        return "failed"
    if outcome.status == "ok":
        return "simulated" if course.simulated(step) else "done"
    if outcome.status == "proposed":
        return {"done": "done", "dropped": "dropped"}.get(course.settled(step), "proposed")  # type: ignore[return-value]  # words of the type
    return "skipped" if outcome.skipped else outcome.status


def assumed_by(step: Step, resting: Mapping[str, Sequence[str]]) -> str:
    """What the step takes for true, and on whose assumptions it rests."""
    others = [name for name in resting.get(step.id, ()) if name != step.id]
    on = f"rests on what {named(others)} assume{'s' if len(others) == 1 else ''}" if others else ""
    return "; ".join(filter(None, (f"assumes: {', '.join(step.assumes)}" if step.assumes else "", on)))


# ---------------------------------------------------------------------------------------------------- long plans


def around(present: int, total: int, most: int) -> range:
    """The places of at most `most` of `total` steps, of which the present one has a third before it.

    >>> around(500, 1000, 12)
    range(496, 508)
    """
    start = max(0, min(present - most // 3, total - most))
    return range(start, min(total, start + most))


def telling(marks: Sequence[Mark], most: int) -> list[int]:
    """The places of at most `most` steps that tell of a run that has ended: those that failed, the first and the last.

    Those that nobody came to say nothing; where very many failed, a third of the places is left for the others.

    >>> telling(["done"] * 5 + ["failed"] + ["done"] * 14 + ["todo"] * 9, 6)
    [0, 1, 2, 5, 18, 19]
    """
    if len(marks) <= most:
        return list(range(len(marks)))
    failed = (place for place, mark in enumerate(marks) if mark == "failed")
    chosen = set(islice(failed, most - most // 3))
    reached = next((n for n in range(len(marks), 0, -1) if marks[n - 1] != "todo"), 0)
    others = (place for place in _from_both_ends(reached or len(marks)) if place not in chosen)
    chosen.update(islice(others, most - len(chosen)))
    return sorted(chosen)


def _from_both_ends(total: int) -> Iterator[int]:
    """0, the last, 1, the one before the last, and so on."""
    for n in range(total):
        yield total - 1 - n // 2 if n % 2 else n // 2
