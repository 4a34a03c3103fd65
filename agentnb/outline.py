"""A plan in words, and a long one in parts: the steps worth showing, and between them what is said of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agentnb.steps import OPEN, Mark, Marks, StepLine, around, telling
from agentnb.summary import Summary
from agentnb.wording import count, marks_of, number

__all__ = ["KEPT_STEPS", "is_cut", "parts", "plan_title"]

KEPT_STEPS = 60
"""Steps shown of a run that has ended: so that its record stays small."""

_WORDS: dict[Mark, str] = {"failed": "failed", "skipped": "not selected", "dropped": "dropped", "todo": "left"}
"""The states that are told of a plan as a whole."""


def plan_title(s: Summary) -> str:
    """The plan in numbers: "Plan: 5 steps, 1 failed"."""
    marks = marks_of(s)
    said = (f"{number(marks[mark])} {word}" for mark, word in _WORDS.items() if marks[mark])
    return "Plan: " + ", ".join((count(marks.total(), "step"), *said))


def is_cut(s: Summary, most: int) -> bool:
    """True where `parts` leaves out steps."""
    return marks_of(s).total() > min(most, len(s.steps))


def parts(s: Summary, most: int) -> list[StepLine | str]:
    """At most `most` steps: of a run that has ended those that tell most, else those around the present one.

    Where steps are left out, it is said in their place how many, and how many of them failed.
    """
    steps, found, end = s.steps, list[StepLine | str](), 0
    if s.status.ended:
        places: Sequence[int] = telling([step.mark for step in steps], most)
    else:
        places = around(next((n for n, step in enumerate(steps) if step.mark in OPEN), len(steps)), len(steps), most)
    for place in places:
        if gap := Counter(step.mark for step in steps[end:place]) + (Marks() if end else s.before):
            found.append(_left_out(gap, before=not (end or s.status.ended)))
        found.append(steps[place])
        end = place + 1
    if gap := Counter(step.mark for step in steps[end:]) + s.after:
        found.append(_left_out(gap))
    return found


def _left_out(marks: Marks, *, before: bool = False) -> str:
    """What is said of steps that are not shown: "412 steps before, 3 failed"."""
    many = marks.total()
    said = f"{count(many, 'step')} before" if before else f"{number(many)} more {'step' if many == 1 else 'steps'}"
    return said + (f", {number(marks['failed'])} failed" if marks["failed"] else "")
