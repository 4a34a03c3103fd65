"""Alerts: what a run, or the last runs on average, should not pass; they warn, and stop nothing.

An amount is that of a run by itself, or the mean of the newest runs; a metric is of the newest runs, or of those within
a stretch of time. A threshold is recorded with the run, so that who looks at it later sees what was seen then. The
callback is not: it belongs to the process that drives the run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from agentnb.budget import Spent, amount
from agentnb.errors import ConfigError
from agentnb.when import length

__all__ = [
    "METRICS",
    "METRICS_NOW",
    "TASK_TYPE",
    "Alert",
    "Measure",
    "Metric",
    "Raised",
    "Threshold",
    "alert",
    "alerts_in",
    "alerts_of",
    "measured",
    "thresholds_in",
]

Measure = Literal["usd", "tokens", "seconds", "working_seconds"]
"""An amount of one run."""
Metric = Literal[
    "success_rate", "failure_rate", "limit_rate", "timeout_rate", "retry_rate", "intervention_rate", "malformed_rate",
    "cache_hit_rate", "provider_cache_rate", "queue_depth", "oldest_wait_s", "p50_usd", "p95_usd", "p50_seconds",
    "p95_seconds", "p50_wait_seconds",
]  # fmt: skip
"""A number about many runs, named as in `Metrics`."""
_MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
METRICS_NOW: Final = ("queue_depth", "oldest_wait_s")
"""Those that say how it stands now, however few runs there are."""
_OF_TOOLS: Final = ("success_rate", "failure_rate", "limit_rate", "timeout_rate", "p50_seconds", "p95_seconds")
_OF_MODELS: Final = ("malformed_rate", "p50_seconds", "p95_seconds")
_TYPED: Final = re.compile(r"(\w+)([<>])([^/]+)(?:/(\d+)([a-z]*))?")
_PERCENT: Final = 100
_RUNS: Final = 100
"""Of how many runs a metric is, where nothing is said."""

TASK_TYPE: Final = "task_type"
"""The tag that says what kind of task a run is."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One amount, or one metric, that should not be passed.

    Attributes:
        measure: of what, named as in `Budget` or in `Metrics`.
        above: the most that it should be; None where only the least is limited.
        task_type: the runs that it is for, by their tag; "" for all.
        last: how many runs it is of, the newest ones; 1 for each run by itself.
        below: the least that it should be.
        within_s: of the runs of so many seconds up to now it is; 0 for the newest ones.
        tool: the metric is of this tool's calls.
        model: the metric is of this model.
    """

    measure: Measure | Metric
    above: float | None
    task_type: str = ""
    last: int = 1
    below: float | None = None
    within_s: float = 0.0
    tool: str = ""
    model: str = ""

    @property
    def of_one(self) -> bool:
        """True where it is for each run by itself."""
        return self.last == 1 and self.measure in _MEASURES

    def concerns(self, tags: Mapping[str, str]) -> bool:
        """True where it is for a run with these tags."""
        return not self.task_type or tags.get(TASK_TYPE) == self.task_type

    def is_passed(self, value: float) -> bool:
        """True where `value` is above or below it."""
        high = self.above is not None and value > self.above
        return high or (self.below is not None and value < self.below)

    def passed_by(self, used: Spent) -> bool:
        """True where a run that has used so much has passed it."""
        return self.is_passed(float(getattr(used, self.measure)))

    def in_words(self, value: float, runs: int, *, bare: bool = False) -> str:
        """That `value` has passed it, in a sentence; `bare` leaves out what one replay has otherwise than the next."""
        if self.measure in METRICS:
            return self._metric_in_words(value, runs, bare=bare)
        limit = f"the {amount(self.measure, self.above or 0)} of the alert"
        limit += f" for {self.task_type}" if self.task_type else ""
        got = amount(self.measure, value)
        if self.last == 1:
            return f"it has come to {got}, above {limit}"
        return f"the last {'runs' if bare else f'{runs} runs'} took {got} each on average, above {limit}"

    def _metric_in_words(self, value: float, runs: int, *, bare: bool) -> str:
        high = self.above is not None and value > self.above
        bound = self.above if high else self.below
        of = "".join(f" of {name}" for name in (self.tool, self.model, self.task_type) if name)
        timed = self.measure.endswith(("seconds", "_s"))
        got = "" if bare and timed else f" is {_metric(self.measure, value)},"
        over = "" if bare else f", over {runs} run{'' if runs == 1 else 's'}"
        name = self.measure.removesuffix("_s").replace("_", " ")
        return (
            f"{name}{of}{got} {'above' if high else 'below'} the {_metric(self.measure, bound or 0)} of the alert{over}"
        )


def _metric(name: str, value: float) -> str:
    """A metric as a person reads it."""
    if _is_share(name):
        return f"{value:.0%}"
    if name.endswith("_usd"):
        return amount("usd", value)
    return f"{value:.3g} s" if name.endswith(("seconds", "_s")) else f"{value:g}"


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
    """Warn where a run has come to more than this: a line in its output, a record, a line in the log, and `callback`.

    Each amount warns by itself, once a run: as soon as it is passed; of a mean or a metric, when a run has ended. For a
    metric `alert` is shorter.

    Args:
        usd: US dollars.
        tokens: sent and received together.
        seconds: on the run's clock, waiting included.
        working_seconds: in model and tool calls.
        task_type: only for runs with this tag `task_type`; "" for all.
        last: the mean of so many of the newest runs that have ended, of that type where one is given, is meant instead
            of the run itself; or the metric of so many.
        metric: a number about many runs, see `METRICS`.
        above: the most that the metric should be.
        below: the least.
        within_s: the metric is of the runs of so many seconds up to now, instead of the newest ones.
        tool: it is of this tool's calls.
        model: it is of this model.
        callback: a function of a `Raised`; what it raises is recorded, and disturbs nothing.

    Raises:
        ConfigError: nothing to warn of, an amount that is no number above 0, or a share above 1.
    """

    usd: float | None = None
    tokens: float | None = None
    seconds: float | None = None
    working_seconds: float | None = None
    task_type: str = ""
    last: int = 1
    metric: Metric | Literal[""] = ""
    above: float | None = None
    below: float | None = None
    within_s: float = 0.0
    tool: str = ""
    model: str = ""
    callback: Callable[[Raised], object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise ConfigError(f"an alert needs an amount: give one of {', '.join(_MEASURES)}, e.g. Alert(usd=0.10)")
        for found in self.thresholds:
            for side, value in (("above", found.above), ("below", found.below)):
                if value is not None and not _says(value, least_0=bool(self.metric)):
                    raise ConfigError(f"an alert {side} {found.measure}={value!r} says nothing: give a number above 0")
        if isinstance(self.last, bool) or not isinstance(self.last, int) or self.last < 1:
            raise ConfigError(f"an alert's last={self.last!r} is no number of runs: give 1 or more")
        if self.metric:
            self._require_metric()
        elif self.above is not None or self.below is not None or self.within_s or self.tool or self.model:
            raise ConfigError("an alert's above, below, within_s, tool and model are of a metric: give metric=")

    def _require_metric(self) -> None:
        names = _OF_TOOLS if self.tool else _OF_MODELS if self.model else METRICS
        if self.metric not in names:
            of = " of a tool" if self.tool else " of a model" if self.model else ""
            raise ConfigError(f"there is no metric{of} {self.metric!r}: there are {', '.join(names)}")
        if self.above is None and self.below is None:
            raise ConfigError(f"an alert on {self.metric} needs a bound: give above= or below=")
        for side, value in (("above", self.above), ("below", self.below)):
            if _is_share(self.metric) and value is not None and value > 1:
                meant = f"give {value / _PERCENT:g} for {value:g} %" if value <= _PERCENT else "give a number up to 1"
                raise ConfigError(
                    f"an alert {side} {self.metric}={value:g} can never tell anything: it is a share of 1, so {meant}"
                )
        if self.last == 1 and not self.within_s and self.metric not in METRICS_NOW:
            raise ConfigError(f"an alert on {self.metric} is of several runs: give last=50, or within_s=")

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Its amounts, and its metric, each by itself."""
        given = ((name, getattr(self, name)) for name in _MEASURES)
        found = [Threshold(name, value, self.task_type, self.last) for name, value in given if value is not None]
        if self.metric:
            of = {"below": self.below, "within_s": self.within_s, "tool": self.tool, "model": self.model}
            found.append(Threshold(self.metric, self.above, self.task_type, self.last, **of))  # type: ignore[arg-type]  # names of its fields
        return tuple(found)


def _is_share(metric: str) -> bool:
    return metric.endswith("_rate")


def _says(value: object, *, least_0: bool) -> bool:
    """True of a number above 0; or of 0 itself, where none of something is a bound."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and (0 < float(value) < math.inf or (least_0 and value == 0))  # type: ignore[arg-type]  # it is one


def alert(
    metric: Metric,
    *,
    above: float | None = None,
    below: float | None = None,
    window: str = "",
    last: int = _RUNS,
    tool: str = "",
    model: str = "",
    task_type: str = "",
    callback: Callable[[Raised], object] | None = None,
) -> Alert:
    """The alert on a metric: `alert("failure_rate", above=0.2, window="7d")`; it is looked at as each run ends.

    Args:
        metric: named as in `Metrics`: see `METRICS`.
        above: the most that it should be; a rate is a share, 0.2 for a fifth.
        below: the least.
        window: of the runs of so long up to now, "12h" or "7d"; of the `last` ones, if left out.
        last: of so many of the newest runs.
        tool: of this tool's calls.
        model: of this model.
        task_type: of the runs with this tag, and only as one of them ends.
        callback: told of a `Raised`.

    Raises:
        ConfigError: no such metric, no bound, one that no share can have, or no such length of time.
    """
    within_s = length(window) if window else 0.0
    return Alert(
        metric=metric, above=above, below=below, within_s=within_s, last=1 if window else last, tool=tool, model=model,
        task_type=task_type, callback=callback,
    )  # fmt: skip


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
    """The alert that a text like "usd=0.10", "failure_rate>0.2/7d" or "success_rate<0.9/50" stands for.

    Raises:
        ConfigError: it names no amount and no metric.
    """
    if found := _TYPED.fullmatch(text):
        name, side, value, many, unit = found.groups()
        over: dict[str, Any] = {"window": f"{many}{unit}"} if unit else {"last": int(many)} if many else {}
        if name not in METRICS:
            raise ConfigError(f"{text!r} is no alert: {name!r} is none of {', '.join(METRICS)}")
        bound = "above" if side == ">" else "below"
        return alert(name, **{bound: _number(name, side, value)}, **over)  # type: ignore[arg-type]  # one of METRICS
    name, _, value = text.partition("=")
    if name not in _MEASURES:
        raise ConfigError(
            f"{text!r} is no alert: write NAME=NUMBER, where NAME is one of {', '.join(_MEASURES)}, or a metric like"
            " failure_rate>0.2/7d"
        )
    return Alert(**{name: _number(name, "=", value)})  # type: ignore[arg-type]  # a name of an amount


def _number(name: str, sign: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        example = "0.10" if name.endswith(("usd", "_rate")) else "1000"
        raise ConfigError(f"{value!r} is not a number: write e.g. {name}{sign}{example}") from None


def alerts_of(thresholds: tuple[Threshold, ...]) -> list[Alert]:
    """Alerts without a callback, as a run recorded them."""
    return [_alert_of(it) for it in thresholds]


def _alert_of(it: Threshold) -> Alert:
    if it.measure not in METRICS:
        return Alert(task_type=it.task_type, last=it.last, **{it.measure: it.above})  # type: ignore[arg-type]  # a name of an amount
    most = 1.0 if _is_share(it.measure) else math.inf  # who has recorded a share of 20 is told no more than then
    above, below = (None if bound is None else min(bound, most) for bound in (it.above, it.below))
    return Alert(
        metric=it.measure, above=above, below=below, within_s=it.within_s, tool=it.tool, model=it.model,
        task_type=it.task_type, last=it.last,
    )  # fmt: skip
