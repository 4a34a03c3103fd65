"""Alerts: amounts that a run, or the last runs of its kind on average, should not pass; they warn, and stop nothing.

A threshold is recorded with the run, so that who looks at it later sees what was seen then. The callback is not: it
belongs to the process that drives the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from agentnb.budget import Spent, amount
from agentnb.errors import ConfigError

__all__ = [
    "TASK_TYPE",
    "Alert",
    "Measure",
    "Raised",
    "Threshold",
    "alerts_in",
    "alerts_of",
    "measured",
    "thresholds_in",
]

Measure = Literal["usd", "tokens", "seconds", "working_seconds"]
_MEASURES: Final[tuple[Measure, ...]] = ("usd", "tokens", "seconds", "working_seconds")

TASK_TYPE: Final = "task_type"
"""The tag that says what kind of task a run is."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One amount that should not be passed.

    Attributes:
        measure: of what, named as in `Budget`.
        above: the amount.
        task_type: the runs that it is for, by their tag; "" for all.
        last: how many runs it is the mean of, the newest ones; 1 for each run by itself.
    """

    measure: Measure
    above: float
    task_type: str = ""
    last: int = 1

    def concerns(self, tags: Mapping[str, str]) -> bool:
        """True where it is for a run with these tags."""
        return not self.task_type or tags.get(TASK_TYPE) == self.task_type

    def passed_by(self, used: Spent) -> bool:
        """True where a run that has used so much has passed it."""
        return float(getattr(used, self.measure)) > self.above

    def in_words(self, value: float, runs: int, *, bare: bool = False) -> str:
        """That `value` is above it, in a sentence; `bare` leaves out how many runs there were."""
        limit = f"the {amount(self.measure, self.above)} of the alert"
        limit += f" for {self.task_type}" if self.task_type else ""
        got = amount(self.measure, value)
        if self.last == 1:
            return f"it has come to {got}, above {limit}"
        return f"the last {'runs' if bare else f'{runs} runs'} took {got} each on average, above {limit}"


@dataclass(frozen=True, slots=True)
class Raised:
    """What an alert's callback is told; as text it is a sentence.

    Attributes:
        run: the id of the run that has passed the threshold.
        threshold: which one.
        value: what it has come to, in the unit of the measure.
        runs: of how many runs that is the mean.
    """

    run: str
    threshold: Threshold
    value: float
    runs: int = 1

    def __str__(self) -> str:
        return f"{self.run}: {self.threshold.in_words(self.value, self.runs)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Warn where a run has come to more than this: a line in its output, a record, and a call of `callback`.

    Each amount warns by itself, once a run: as soon as it is passed; of a mean, when the run has ended.

    Args:
        usd: US dollars.
        tokens: sent and received together.
        seconds: on the run's clock, waiting included.
        working_seconds: in model and tool calls.
        task_type: only for runs with this tag `task_type`; "" for all.
        last: the mean of so many of the newest runs that have ended, of that type where one is given, is meant instead
            of the run itself.
        callback: a function of a `Raised`; what it raises is recorded, and disturbs nothing.

    Raises:
        ConfigError: no amount, or one that is no number above 0.
    """

    usd: float | None = None
    tokens: float | None = None
    seconds: float | None = None
    working_seconds: float | None = None
    task_type: str = ""
    last: int = 1
    callback: Callable[[Raised], object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise ConfigError(f"an alert needs an amount: give one of {', '.join(_MEASURES)}, e.g. Alert(usd=0.10)")
        for found in self.thresholds:
            value = found.above
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigError(f"an alert above {found.measure}={value!r} says nothing: give a number above 0")
        if isinstance(self.last, bool) or not isinstance(self.last, int) or self.last < 1:
            raise ConfigError(f"an alert's last={self.last!r} is no number of runs: give 1 or more")

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Its amounts, each by itself."""
        given = ((name, getattr(self, name)) for name in _MEASURES)
        return tuple(Threshold(name, value, self.task_type, self.last) for name, value in given if value is not None)


def alerts_in(given: Iterable[object]) -> tuple[Alert, ...]:
    """`given`, each of which has to be an Alert.

    Raises:
        ConfigError: one is not.
    """
    found = []
    for one in given:
        if not isinstance(one, Alert):
            raise ConfigError(f"{one!r} is no Alert: give e.g. Alert(usd=0.10)")
        found.append(one)
    return tuple(found)


def thresholds_in(alerts: Iterable[Alert]) -> tuple[Threshold, ...]:
    """The amounts of all of them, as a run records them."""
    return tuple(threshold for alert in alerts for threshold in alert.thresholds)


def measured(text: str) -> Alert:
    """The alert that a text like "usd=0.10" stands for.

    Raises:
        ConfigError: it names no amount.
    """
    name, _, value = text.partition("=")
    if name not in _MEASURES:
        raise ConfigError(f"{text!r} is no alert: write NAME=NUMBER, where NAME is one of {', '.join(_MEASURES)}")
    try:
        return Alert(**{name: float(value)})  # type: ignore[arg-type]  # a name of an amount
    except ValueError:
        raise ConfigError(
            f"{value!r} is not a number: write e.g. {name}={'0.10' if name == 'usd' else '1000'}"
        ) from None


def alerts_of(thresholds: tuple[Threshold, ...]) -> list[Alert]:
    """Alerts without a callback, as a run recorded them."""
    return [
        Alert(task_type=it.task_type, last=it.last, **{it.measure: it.above})  # type: ignore[arg-type]  # a name of an amount
        for it in thresholds
    ]
