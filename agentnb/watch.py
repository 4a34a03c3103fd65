"""What a run that has just ended sets off: thresholds on means and metrics, looked at over the newest runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from agentnb.alerts import METRICS, METRICS_NOW, Threshold
from agentnb.chosen import Chosen
from agentnb.errors import StoreError
from agentnb.events import AlertRaised, RunStarted
from agentnb.index import Index
from agentnb.measures import measured
from agentnb.state import RunState
from agentnb.store.base import Store

__all__ = ["passed"]

_LOG: Final = logging.getLogger(__name__)
_FEWEST: Final = 2
"""Runs of which a mean or a rate says something: the first of its kind passes none."""


def passed(store: Store, state: RunState, now: float) -> Iterator[AlertRaised]:
    """The thresholds over several runs that are passed now, and that nobody was told of in this run.

    None where the index cannot be had, which is logged: a warning is no reason for a run to fail.

    Args:
        store: where the runs are, the one that has just ended among them, to its last record.
        state: of that one.
        now: seconds since 1970.
    """
    head, told = state.head, {raised.threshold for raised in state.alerts}
    wanted = [found for found in head.alerts if not found.of_one and found.concerns(head.tags) and found not in told]
    if not wanted:
        return
    index = Index(store)
    try:
        index.catch_up()
        for threshold in wanted:
            runs = _runs(index, threshold, head, now)
            value = _value(index, threshold, runs, now)
            enough = len(runs) >= _FEWEST or threshold.measure in METRICS_NOW
            if enough and value is not None and threshold.is_passed(value):
                yield AlertRaised(threshold=threshold, value=value, runs=len(runs))
    except StoreError as error:
        _LOG.warning("no alert over several runs could be looked at: %s", error)
    finally:
        index.close()


def _runs(index: Index, threshold: Threshold, head: RunStarted, now: float) -> Sequence[str]:
    """The runs that it is of, the newest first: those that have ended, and stand by themselves as this one does.

    What a run inside another has used is part of what that one has: a mean of both would count it twice. Where this one
    is inside another, it is of the runs of the same agent inside others.
    """
    level = "parent != '' AND agent = :agent" if head.parent else "parent = ''"
    of_type = " AND task_type = :kind" if threshold.task_type else ""
    recent = " AND at >= :start" if threshold.within_s else ""
    many = -1 if threshold.within_s else threshold.last
    query = f"SELECT run FROM run WHERE ended AND {level}{of_type}{recent} ORDER BY at DESC, id DESC LIMIT :many"
    values = {"agent": head.agent, "kind": threshold.task_type, "start": now - threshold.within_s, "many": many}
    return [run for (run,) in index.rows(query, values)]


_WITH_INSIDE: Final = (
    "WITH RECURSIVE found(run) AS (SELECT value FROM json_each(?)"
    " UNION SELECT run.run FROM run JOIN found ON run.parent = found.run) SELECT run FROM found"
)


def _value(index: Index, threshold: Threshold, runs: Sequence[str], now: float) -> float | None:
    """What it has come to; None where that cannot be told."""
    which = Chosen(runs=tuple(runs))
    if threshold.measure not in METRICS:
        where, values = which.where()
        [(mean,)] = index.rows(f"SELECT avg(COALESCE({threshold.measure}, 0)) FROM run WHERE {where}", values)
        return mean if mean is None else float(mean)
    if threshold.measure in METRICS_NOW:  # what waits has not ended
        which = replace(which, runs=None, task_type=threshold.task_type or None)
    else:  # the calls of runs inside them are theirs
        which = replace(which, runs=tuple(run for (run,) in index.rows(_WITH_INSIDE, [json.dumps(runs)])))
    found = measured(index, which, now)
    of_tool, of_model = found.tools.get(threshold.tool), found.models.get(threshold.model)
    value = getattr(of_tool if threshold.tool else of_model if threshold.model else found, threshold.measure, None)
    return None if value is None else float(value)
