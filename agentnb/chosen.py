"""Some of a store's runs: which, in words that a person types, and the same as a condition on the index."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, TypedDict, get_args

from agentnb.errors import ConfigError
from agentnb.state import Status
from agentnb.when import When, stretch

__all__ = ["ORDERS", "STATUSES", "Chosen", "Order", "Which", "chosen", "ordered"]

_OF_CALLS: Final = ("empty", "malformed", "refused", "limit", "in_doubt", "lost")
STATUSES: Final = (*(str(status) for status in Status), "waiting", "unreadable", *_OF_CALLS)
"""What a run, or a call in it, can be; "waiting" for a person, "unreadable" of a run that is damaged."""

Order = Literal["started", "ended", "usd", "tokens", "seconds", "steps", "retries", "waiting"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
"""What runs are sorted by: the last one first, or the most; "waiting" by how long a person has let them wait."""


class Which(TypedDict, total=False):
    """Which runs; all that is given has to hold.

    Attributes:
        status: of the run, or one of several; with `tool` of the run or of a call of that tool. "empty", "malformed",
            "refused", "limit", "in_doubt" and "lost" are said of calls; see STATUSES.
        tool: one that it called, asked about, or was held back from calling.
        model: one that it asked.
        task_type: its tag `task_type`; "" for runs without.
        tags: its other tags.
        since: it was under way at that time, or later; a time as of `agentnb.when`.
        until: it was under way before the end of that time.
        min_usd: it cost at least so many US dollars.
        max_usd: it cost at most so many.
    """

    status: str | Iterable[str]
    tool: str
    model: str
    task_type: str
    tags: Mapping[str, str]
    since: When
    until: When
    min_usd: float
    max_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which runs, with times in seconds since 1970; see `Which`.

    Attributes:
        runs: their ids; None for all that the rest holds of.
    """

    runs: tuple[str, ...] | None = None
    status: tuple[str, ...] = ()
    tool: str = ""
    model: str = ""
    task_type: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    min_usd: float | None = None
    max_usd: float | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition on the rows of `run`, and its values in order."""
        parts: list[tuple[str, list[Any]]] = [("1", [])]
        if self.runs is not None:
            parts.append(("run IN (SELECT value FROM json_each(?))", [json.dumps(self.runs)]))
        if self.status:
            parts.append(self._of_status())
        elif self.tool:
            parts.append((_calls(_CALLED), [self.tool]))
        if self.model:
            parts.append(("id IN (SELECT of FROM line WHERE model = ?)", [self.model]))
        if self.task_type is not None:
            parts.append(("task_type = ?", [self.task_type]))
        for key, value in self.tags.items():
            parts.append(("EXISTS (SELECT 1 FROM json_each(tags) WHERE key = ? AND value = ?)", [key, value]))
        bounds = (
            ("at >= ?", self.since),
            ("started < ?", self.until),
            ("usd >= ?", self.min_usd),
            ("usd <= ?", self.max_usd),
        )
        parts += [(text, [value]) for text, value in bounds if value is not None]
        return " AND ".join(text for text, _ in parts), [value for _, values in parts for value in values]

    def _of_status(self) -> tuple[str, list[Any]]:
        """Of a tool's call, where a tool is named, else of the run; what only calls can be is of any call."""
        marks = ", ".join("?" * len(self.status))
        own = f"status IN ({marks})" + (" OR waits_since IS NOT NULL" if "waiting" in self.status else "")
        if self.tool:
            so = _calls(f"{_CALLED} AND status IN ({marks})")
            return f"({so} OR (({own}) AND {_calls(_CALLED)}))", [self.tool, *self.status, *self.status, self.tool]
        calls = [status for status in self.status if status in _OF_CALLS]
        marks = ", ".join("?" * len(calls))
        so = _calls(f"op != 'wait' AND status IN ({marks})")
        return f"({own} OR {so})" if calls else f"({own})", [*self.status, *calls]


_CALLED: Final = "tool = ?"


def _calls(so: str) -> str:
    """The condition on a run that one of its calls is `so`."""
    return f"id IN (SELECT of FROM call WHERE kind IN (SELECT id FROM kind WHERE {so}))"


def chosen(which: Which, now: float) -> Chosen:
    """`which`, with its times as seconds.

    Args:
        which: as a person gives it.
        now: seconds since 1970.

    Raises:
        ConfigError: a status that there is none of, a time that cannot be read, an amount that is no number, or a word
            that is none of `Which`.
    """
    if unknown := which.keys() - Which.__annotations__.keys():
        raise ConfigError(f"runs are not chosen by {min(unknown)!r}: there are {', '.join(Which.__annotations__)}")
    given = which.get("status", ())
    status = (given,) if isinstance(given, str) else tuple(given)
    for name in status:
        if name not in STATUSES:
            near = get_close_matches(name, STATUSES, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(STATUSES)}"
            raise ConfigError(f"nothing has the status {name!r}: {meant}")
    for name in ("min_usd", "max_usd"):
        value = which.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
        if value is not None and not number:
            raise ConfigError(f"{name}={value!r} is no number of US dollars: give e.g. 0.10")
    since, until = which.get("since"), which.get("until")
    return Chosen(
        status=status,
        tool=which.get("tool", ""),
        model=which.get("model", ""),
        task_type=which.get("task_type"),
        tags=dict(which.get("tags", {})),
        since=None if since is None else stretch(since, now)[0],
        until=None if until is None else _end(*stretch(until, now)),
        min_usd=which.get("min_usd"),
        max_usd=which.get("max_usd"),
    )


def ordered(by: str) -> Order:
    """`by`, where runs can be sorted by that.

    Raises:
        ConfigError: they cannot.
    """
    for order in ORDERS:
        if order == by:
            return order
    raise ConfigError(f"runs are not sorted by {by!r}: there are {', '.join(ORDERS)}")


def _end(start: float, end: float) -> float:
    """The first moment after; of one that does not last, just after it."""
    return end if end > start else start + 1e-6
