"""When a run that goes on brings nothing more: the same call again, calls in a circle, or no new fact for some steps.

All here is pure, and takes the same space however long the run is: of each finished step there is a mark of its call
with what that gave, and of those only the last ones are remembered. What counts are calls that a planner chose: the
tries within one call, the steps of a user's own plan and executions of a dry run do not.

The first time, the planner is told (a *nudge*); the next time of the same sort the run is stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from agentnb.errors import ConfigError

__all__ = ["DEFAULT_STOPS", "NO_STOPS", "REASONS", "Loop", "Seen", "Stops", "What", "loop_in", "mark_of"]

What = Literal["same_call", "cycle", "no_progress"]
"""What can be noticed."""

REASONS: Final[Mapping[What, str]] = {"same_call": "loop", "cycle": "cycle", "no_progress": "diminishing_returns"}
"""The stop reason of each."""

REMEMBERED: Final = 64
"""Calls, and facts, that are remembered; after as many steps without a further notice the planner is told anew."""

_SHORTEST: Final = {"repeats": 2, "cycles": 2, "no_progress": 1}
_LONGEST_CYCLE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """When a run is stopped although its budget would let it go on. None switches a rule off.

    Attributes:
        repeats: how many times the same call with the same arguments and the same result is one too many.
        cycles: calls in the longest circle that is looked for: 3 finds A B A B and A B C A B C.
        no_progress: steps in a row without a new fact and with no change in the critic's confidence. A fact is a
            result, or a finding of the critic, that was not there before; a call that acted is progress whatever it
            gave.

    Raises:
        ConfigError: a number that is too small, or no whole number.
    """

    repeats: int | None = 2
    cycles: int | None = 3
    no_progress: int | None = 5

    def __post_init__(self) -> None:
        for name, least in _SHORTEST.items():
            value = getattr(self, name)
            most = _LONGEST_CYCLE if name == "cycles" else REMEMBERED
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(
                    f"stops {name}={value!r} is no whole number from {least} to {most}: give one, or None for never"
                )

    @classmethod
    def of(cls, text: str) -> Stops:
        """The rules that a text names, "repeats=3,cycles=none"; the others are as by default. "none" is none at all.

        Raises:
            ConfigError: a name or a value that there is not.
        """
        if text.strip().lower() == "none":
            return NO_STOPS
        found: dict[str, int | None] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            name = name.strip().replace("-", "_")
            if name not in _SHORTEST or not (value.strip().isdecimal() or value.strip().lower() == "none"):
                raise ConfigError(f"{part!r} names no rule: write e.g. repeats=3,cycles=none,no-progress=8")
            found[name] = None if value.strip().lower() == "none" else int(value)
        return cls(**found)

    def __str__(self) -> str:
        return ", ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


DEFAULT_STOPS: Final = Stops()
NO_STOPS: Final = Stops(repeats=None, cycles=None, no_progress=None)
"""Nothing is noticed: also of runs that were recorded before there was anything of the kind."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of the finished steps.

    Attributes:
        calls: marks of the last calls with their results, oldest first.
        facts: marks of the last results and findings.
        last: the last step's mark, "" where it made no call.
        idle: steps in a row that brought nothing new.
        level: how sure the critic was last.
        told: what the planner has been told of.
        calm: steps since then.
        looked: True where the last step has been noticed already.
    """

    calls: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    last: str = ""
    idle: int = 0
    level: str = ""
    told: tuple[What, ...] = ()
    calm: int = 0
    looked: bool = True

    def taking(self, call: str, facts: Sequence[str] = (), *, level: str = "", acted: bool = False) -> Seen:
        """With one more finished step.

        Args:
            call: its mark, see `mark_of`; "" where it made no call.
            facts: marks of what it brought: its result, and the critic's finding.
            level: how sure the critic was of its verdict; "" where another judged.
            acted: it changed something.
        """
        new = tuple(fact for fact in dict.fromkeys(facts) if fact not in self.facts)
        moved = bool(level and self.level) and level != self.level
        calm = self.calm + 1
        return Seen(
            calls=(*self.calls, call)[-REMEMBERED:] if call else self.calls,
            facts=(*self.facts, *new)[-2 * REMEMBERED :],
            last=call,
            idle=0 if new or moved or acted else self.idle + 1,
            level=level or self.level,
            told=self.told if calm <= REMEMBERED else (),
            calm=calm,
            looked=False,
        )

    def noticed(self, what: What) -> Seen:
        """With the planner told of that; from here on steps without progress are counted anew."""
        told = tuple(dict.fromkeys((*self.told, what)))
        return replace(self, told=told, calm=0, idle=0 if what == "no_progress" else self.idle, looked=True)


@dataclass(frozen=True, slots=True)
class Loop:
    """What was noticed.

    Attributes:
        what: which rule it is.
        count: how many times the call was made, how many calls the circle has, or steps without progress.
        again: True where the planner was told of it, or of something of its sort, before.
    """

    what: What
    count: int
    again: bool


def loop_in(stops: Stops, seen: Seen) -> Loop | None:
    """What is to be said of the last finished step; None where nothing is, or it was said already."""
    if seen.looked:
        return None
    repeated = "same_call" in seen.told or "cycle" in seen.told
    if seen.last:
        if stops.cycles and (calls := _circle(seen.calls, stops.cycles)):
            return Loop("cycle", calls, repeated)
        times = seen.calls.count(seen.last) if stops.repeats else 0
        if stops.repeats and times >= stops.repeats:
            return Loop("same_call", times, repeated)
    if stops.no_progress and seen.idle >= stops.no_progress:
        return Loop("no_progress", seen.idle, "no_progress" in seen.told)
    return None


def _circle(calls: Sequence[str], longest: int) -> int:
    """How many calls there are in the circle that `calls` ends with, gone round twice; 0 where it ends with none."""
    for size in range(2, longest + 1):
        tail = calls[-size:]
        if len(calls) >= 2 * size and calls[-2 * size : -size] == tail and len(set(tail)) > 1:
            return size
    return 0


def mark_of(*parts: str) -> str:
    """A short text that is the same for the same parts, and another for others."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]
