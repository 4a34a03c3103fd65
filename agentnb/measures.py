"""Metrics from the index: sums by SQL, so that those of ten thousand runs take a fraction of a second."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from agentnb.budget import LIMITS
from agentnb.chosen import Chosen
from agentnb.cost import PHASES, Used
from agentnb.entry import USED
from agentnb.index import Index
from agentnb.metrics import CallMetrics, CostMetrics, Metrics, ModelMetrics, Waiting

__all__ = ["measured", "quantile"]

_MEDIAN: Final = 0.5
_P95: Final = 0.95
_FATE: Final[Mapping[str, str]] = {
    "ok": "ok", "empty": "ok", "done": "ok", "simulated": "ok", "proposed": "ok", "withdrawn": "refused",
    "failed": "failed", "malformed": "failed", "length": "failed", "refusal": "failed",
    "refused": "refused", "dropped": "refused", "limit": "limits",
}  # fmt: skip
"""The field of `CallMetrics` that counts each status; any other one is of a call whose end is not known."""


class _Run(NamedTuple):
    """What is summed up of a run."""

    run: str
    parent: str
    status: str
    reason: str
    ended: int
    usd: float
    tokens: int
    seconds: float | None
    asked: int
    task_type: str
    started: float
    waits: str
    waits_since: float | None


class _Count(NamedTuple):
    """Calls that have the same in common."""

    op: str
    phase: str
    tool: str
    model: str
    status: str
    slow: int
    again: int
    cached: int
    many: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """The index, asked about some of its runs."""

    index: Index
    which: Chosen

    def __call__(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, in which `chosen` are the numbers of the runs."""
        where, values = self.which.where()
        return self.index.rows(f"WITH chosen AS MATERIALIZED (SELECT id FROM run WHERE {where}) {query}", values)

    def runs(self) -> list[_Run]:
        """The runs, oldest first."""
        where, values = self.which.where()
        names = ", ".join(_Run._fields)
        return [
            _Run(*row) for row in self.index.rows(f"SELECT {names} FROM run WHERE {where} ORDER BY started, id", values)
        ]


def measured(index: Index, which: Chosen, now: float) -> Metrics:
    """How the runs that `which` picks go; the index is asked as it is.

    Args:
        index: of the store.
        which: the runs.
        now: seconds since 1970, to tell how long things have waited.
    """
    ask = _Asked(index, which)
    runs = ask.runs()
    own = [run for run in runs if not run.parent]
    ended = [run for run in own if run.ended]
    calls = [_Count(*row) for row in ask(_CALLS)]
    took = _Times.of(ask(_SECONDS))
    used = {row[0]: Used(*row[1:]) for row in ask(_LINES)}
    whole = sum(used.values(), Used())
    waits = [row[0] for row in ask(_WAITS)]
    return Metrics(
        runs=len(own),
        ended=len(ended),
        statuses=dict(Counter(run.status for run in own)),
        reasons=dict(Counter(run.reason for run in ended if run.status in ("stopped", "failed"))),
        completed=sum(run.status == "completed" for run in ended),
        failed=sum(run.status == "failed" for run in ended),
        limited=sum(run.reason in LIMITS for run in ended),
        timeouts=sum(run.reason in ("seconds", "working_seconds") for run in ended),
        usd=math.fsum(run.usd for run in own),
        tokens=sum(run.tokens for run in own),
        p50_usd=quantile(sorted(run.usd for run in ended), _MEDIAN),
        p95_usd=quantile(sorted(run.usd for run in ended), _P95),
        p50_seconds=quantile(sorted(run.seconds for run in ended if run.seconds is not None), _MEDIAN),
        p95_seconds=quantile(sorted(run.seconds for run in ended if run.seconds is not None), _P95),
        retries=sum(count.many for count in calls if count.again),
        calls=sum(count.many for count in calls if count.op != "wait"),
        asked=len({run.parent or run.run for run in runs if run.asked}),
        p50_wait_seconds=quantile(waits, _MEDIAN),
        waiting=_waiting(runs, now),
        phases=_phases(calls, took),
        tools=_tools(calls, took),
        models=_models(calls, took, used, ask(_RATES)),
        task_types=_task_types(own, _before(index, which, now)),
        replies=whole.hits + sum(count.many for count in calls if _replied(count)),
        cached=whole.hits,
        input_tokens=whole.input_tokens,
        provider_cached_tokens=whole.read_tokens,
        saved=whole.saved,
        since=which.since,
        until=which.until,
    )


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """The nearest rank: the least of `ordered` that so large a part of them does not pass; None where there are none.

    >>> quantile([1, 2, 3, 4], 0.5)
    2
    """
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


# --- calls ------------------------------------------------------------------------------------------------------------

_CALLS: Final = (
    "SELECT op, phase, tool, model, status, slow, attempt > 1, cached, count(*) FROM call"
    " WHERE of IN chosen GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
)
_SECONDS: Final = (
    "SELECT phase, tool, model, seconds FROM call WHERE of IN chosen AND op != 'wait' AND seconds IS NOT NULL"
    " ORDER BY seconds"
)
_WAITS: Final = (
    "SELECT seconds FROM call WHERE of IN chosen AND op = 'wait' AND status NOT IN ('open', 'lost')"
    " AND seconds IS NOT NULL ORDER BY seconds"
)
_LINES: Final = (
    f"SELECT model, {', '.join(f'sum({name})' for name in USED)} FROM line WHERE of IN chosen GROUP BY model"
)
_RATES: Final = "SELECT model, sum(asked), sum(same + simpler) FROM rate WHERE of IN chosen GROUP BY model"


class _Times(NamedTuple):
    """How long calls took, in order, by phase, by tool and by model."""

    phase: Mapping[str, list[float]]
    tool: Mapping[str, list[float]]
    model: Mapping[str, list[float]]

    @classmethod
    def of(cls, rows: Iterable[tuple[Any, ...]]) -> _Times:
        found = cls(defaultdict(list), defaultdict(list), defaultdict(list))
        for phase, tool, model, seconds in rows:
            for name, into in ((phase, found.phase), (tool, found.tool), (model, found.model)):
                if name:
                    into[name].append(seconds)
        return found


def _replied(count: _Count) -> bool:
    return count.op == "chat" and not count.cached and count.status in ("ok", "malformed", "length", "refusal")


def _counted(calls: Iterable[_Count], times: Sequence[float]) -> CallMetrics:
    fates = Counter[str]()
    slow = again = 0
    for count in calls:
        fate = "refused" if count.op == "wait" else _FATE.get(count.status, "open")
        fates[fate] += count.many
        slow += count.many * (count.slow and fate == "failed")
        again += count.many * count.again
    return CallMetrics(
        calls=fates.total(), timeouts=slow, retries=again, **fates,
        p50_seconds=quantile(times, _MEDIAN), p95_seconds=quantile(times, _P95),
    )  # fmt: skip


def _phases(calls: Sequence[_Count], took: _Times) -> dict[str, CallMetrics]:
    mine = defaultdict(list)
    for count in calls:
        if count.op == "chat":
            mine[count.phase].append(count)
    return {phase: _counted(mine[phase], took.phase.get(phase, ())) for phase in PHASES if phase in mine}


def _tools(calls: Sequence[_Count], took: _Times) -> dict[str, CallMetrics]:
    """By tool; a call that a person said no to was never made, and only the question tells of it."""
    mine = defaultdict(list)
    for count in calls:
        if count.tool and (count.op == "execute_tool" or (count.op == "wait" and count.status == "reject")):
            mine[count.tool].append(count)
    return {tool: _counted(mine[tool], took.tool.get(tool, ())) for tool in sorted(mine)}


def _models(
    calls: Sequence[_Count], took: _Times, used: Mapping[str, Used], rates: Iterable[tuple[Any, ...]]
) -> dict[str, ModelMetrics]:
    found = {
        model: ModelMetrics(
            cached=it.hits, input_tokens=it.input_tokens, output_tokens=it.output_tokens, usd=it.usd,
            p50_seconds=quantile(took.model.get(model, ()), _MEDIAN),
            p95_seconds=quantile(took.model.get(model, ()), _P95),
        )
        for model, it in used.items()
    }  # fmt: skip
    for count in calls:
        if count.op == "chat" and count.model and not count.cached:
            was = found.get(count.model, ModelMetrics())
            failed = count.many if count.status == "failed" else 0
            found[count.model] = replace(was, calls=was.calls + count.many, failed=was.failed + failed)
    for model, replies, rejected in rates:
        found[model] = replace(found.get(model, ModelMetrics()), replies=replies, malformed=rejected)
    return dict(sorted(found.items()))


# --- runs -------------------------------------------------------------------------------------------------------------


def _waiting(runs: Iterable[_Run], now: float) -> tuple[Waiting, ...]:
    found = [
        Waiting(run.run, run.waits, run.waits_since, max(0.0, now - run.waits_since), run.task_type)
        for run in runs
        if run.waits_since is not None
    ]
    return tuple(sorted(found, key=lambda one: one.since))


def _before(index: Index, which: Chosen, now: float) -> list[_Run] | None:
    """The runs of the stretch of time before; None where no start was given."""
    if which.since is None:
        return None
    length = (now if which.until is None else which.until) - which.since
    earlier = replace(which, since=which.since - length, until=which.since)
    return [run for run in _Asked(index, earlier).runs() if not run.parent and run.started < which.since]


def _task_types(runs: Sequence[_Run], before: Sequence[_Run] | None) -> dict[str, CostMetrics]:
    kinds, earlier = _by_type(runs), _by_type(before or ())
    found = {kind: _cost(kinds[kind], earlier.get(kind, ()) if before is not None else None) for kind in kinds}
    return dict(sorted(found.items(), key=lambda item: (-item[1].usd, item[0])))


def _by_type(runs: Iterable[_Run]) -> dict[str, list[_Run]]:
    kinds = defaultdict(list)
    for run in runs:
        kinds[run.task_type].append(run)
    return kinds


def _cost(runs: Sequence[_Run], before: Sequence[_Run] | None) -> CostMetrics:
    dollars = [run.usd for run in runs]
    old = dollars[: len(dollars) // 2] if before is None else [run.usd for run in before]
    new = dollars[len(dollars) // 2 :] if before is None else dollars
    mean, was = _mean(new), _mean(old)
    return CostMetrics(
        runs=len(runs),
        usd=math.fsum(dollars),
        mean_usd=_mean(dollars),
        p95_usd=quantile(sorted(dollars), _P95),
        before_runs=len(old),
        before_mean_usd=was,
        drift=mean / was - 1 if mean is not None and was else None,
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
