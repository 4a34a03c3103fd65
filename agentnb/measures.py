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
from agentnb.entry import USED, Kind
from agentnb.index import Index
from agentnb.metrics import CallMetrics, CostMetrics, Metrics, ModelMetrics, Waiting

__all__ = ["measured", "quantile"]

_MEDIAN: Final = 0.5
_P95: Final = 0.95
_FATE: Final[Mapping[str, str]] = {
    "ok": "ok", "empty": "ok", "done": "ok", "withdrawn": "refused",
    "failed": "failed", "malformed": "failed", "length": "failed", "refusal": "failed",
    "refused": "refused", "dropped": "refused", "limit": "limits",
}  # fmt: skip
"""The field of `CallMetrics` that counts each status; any other one is of a call whose end is not known."""
_NOT_MADE: Final = frozenset({"simulated", "proposed"})
"""What is told in the place of a call; where a person carries it out, there is a call that tells of itself."""


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


@dataclass(frozen=True, slots=True)
class _Calls:
    """The calls of one kind: how many, and how long those took that have ended."""

    kind: Kind
    many: int
    times: Sequence[float]


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
    calls = _calls(ask)
    used = {row[0]: Used(*row[1:]) for row in ask(_LINES)}
    whole = sum(used.values(), Used())
    waits = _ordered(g for g in calls if g.kind.op == "wait" and g.kind.status not in ("open", "lost"))
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
        retries=sum(group.many for group in calls if group.kind.again),
        calls=sum(group.many for group in calls if group.kind.op != "wait"),
        asked=len(_needing(runs) & {run.run for run in own}),
        p50_wait_seconds=quantile(waits, _MEDIAN),
        waiting=_waiting(runs, now),
        phases=_phases(calls),
        tools=_tools(calls),
        models=_models(calls, used, ask(_RATES)),
        task_types=_task_types(own, _before(index, which, now)),
        replies=whole.hits + sum(group.many for group in calls if _replied(group.kind)),
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

_CALLS: Final = "SELECT kind, seconds FROM call WHERE of IN chosen"
_KINDS: Final = f"SELECT id, {', '.join(Kind._fields)} FROM kind"
_LINES: Final = (
    f"SELECT model, {', '.join(f'sum({name})' for name in USED)} FROM line WHERE of IN chosen GROUP BY model"
)
_RATES: Final = "SELECT model, sum(asked), sum(same + simpler) FROM rate WHERE of IN chosen GROUP BY model"


def _calls(ask: _Asked) -> list[_Calls]:
    """The calls, those of one kind together; what was only simulated or proposed is none."""
    found: dict[int, list[float | None]] = defaultdict(list)
    for kind, seconds in ask(_CALLS):
        found[kind].append(seconds)
    return [
        _Calls(Kind(*kind), len(found[of]), [seconds for seconds in found[of] if seconds is not None])
        for of, *kind in ask(_KINDS)
        if of in found and Kind(*kind).status not in _NOT_MADE
    ]


def _ordered(calls: Iterable[_Calls]) -> list[float]:
    """How long they took, in order."""
    return sorted(seconds for group in calls for seconds in group.times)


def _replied(of: Kind) -> bool:
    return of.op == "chat" and not of.cached and of.status in ("ok", "malformed", "length", "refusal")


def _counted(calls: Sequence[_Calls]) -> CallMetrics:
    fates = Counter[str]()
    slow = again = 0
    for group in calls:
        fate = "refused" if group.kind.op == "wait" else _FATE.get(group.kind.status, "open")
        fates[fate] += group.many
        slow += group.many * (group.kind.slow and fate == "failed")
        again += group.many * group.kind.again
    times = _ordered(group for group in calls if group.kind.op != "wait")
    return CallMetrics(
        calls=fates.total(), timeouts=slow, retries=again, **fates,
        p50_seconds=quantile(times, _MEDIAN), p95_seconds=quantile(times, _P95),
    )  # fmt: skip


def _phases(calls: Iterable[_Calls]) -> dict[str, CallMetrics]:
    mine = defaultdict(list)
    for group in calls:
        if group.kind.op == "chat":
            mine[group.kind.phase].append(group)
    return {phase: _counted(mine[phase]) for phase in PHASES if phase in mine}


def _tools(calls: Iterable[_Calls]) -> dict[str, CallMetrics]:
    """By tool; a call that a person said no to was never made, and only the question tells of it."""
    mine = defaultdict(list)
    for group in calls:
        of = group.kind
        if of.tool and (of.op == "execute_tool" or (of.op == "wait" and of.status == "reject")):
            mine[of.tool].append(group)
    return {tool: _counted(mine[tool]) for tool in sorted(mine)}


def _models(
    calls: Iterable[_Calls], used: Mapping[str, Used], rates: Iterable[tuple[Any, ...]]
) -> dict[str, ModelMetrics]:
    asked = defaultdict(list)
    for group in calls:
        if group.kind.op == "chat" and group.kind.model and not group.kind.cached:
            asked[group.kind.model].append(group)
    replies = {model: (many, rejected) for model, many, rejected in rates}
    found = {}
    for model in sorted({*used, *asked, *replies}):
        it, times = used.get(model, Used()), _ordered(asked[model])
        many, rejected = replies.get(model, (0, 0))
        found[model] = ModelMetrics(
            calls=sum(group.many for group in asked[model]),
            failed=sum(group.many for group in asked[model] if group.kind.status == "failed"),
            p50_seconds=quantile(times, _MEDIAN),
            p95_seconds=quantile(times, _P95),
            replies=many,
            malformed=rejected,
            cached=it.hits,
            input_tokens=it.input_tokens,
            output_tokens=it.output_tokens,
            usd=it.usd,
        )
    return found


# --- runs -------------------------------------------------------------------------------------------------------------


def _needing(runs: Sequence[_Run]) -> set[str]:
    """The runs in which a person was asked, or in a run inside them, however deep."""
    parents = {run.run: run.parent for run in runs}
    asked = [run.run for run in runs if run.asked]
    found = set[str]()
    while asked:
        run = asked.pop()
        if run and run not in found:
            found.add(run)
            asked.append(parents.get(run, ""))
    return found


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
