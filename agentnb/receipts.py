"""Receipts: what a run has cost, kept in one row beside its records whenever it comes to rest.

So a table over thousands of runs reads one row of each. A receipt is no second truth: it is what the fold gave, made in
the same commit as the records that it stands for. Of a run that is under way, or whose receipt cannot be read, the
records are read instead.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from agentnb.alerts import Threshold
from agentnb.budget import Spent
from agentnb.checkpoint import load
from agentnb.cost import Cost, Line
from agentnb.errors import DamagedRecord, RunNotFound
from agentnb.events import AlertRaised, BudgetExtended, Record, RunResumed
from agentnb.shapes import Shape
from agentnb.state import RunState, Status
from agentnb.store.base import Store

__all__ = ["Receipt", "means_passed", "receipt_of", "receipt_row", "receipts"]

_FORM: Final = 1
"""Raised when a receipt changes its meaning: an older one is then passed over."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one run has cost.

    Attributes:
        run: its id.
        status: as it rests or has ended.
        at: when that was, in seconds since 1970.
        tags: of the run.
        spent: with seconds on the run's clock.
        lines: by phase and model.
        form: of this row.
    """

    run: str
    status: Status
    at: float
    spent: Spent
    tags: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    form: int = _FORM

    @property
    def cost(self) -> Cost:
        """Its model calls, by phase and by model."""
        return Cost(self.lines)


def receipt_of(run: str, state: RunState) -> Receipt:
    """The receipt of `run`, which is in this state."""
    spent = state.spent.plus(Spent(), state.t)
    return Receipt(run, state.status, state.at, spent, dict(state.head.tags), state.costs)


def receipt_row(run: str, state: RunState, fresh: Iterable[Record]) -> dict[str, str]:
    """The row that goes with the commit of `fresh`, after which `run` is in `state`; {} where none is due.

    One is due where the run rests, and where it is woken: so the last row of a run under way says that it is.
    """
    rests = state.suspended is not None or state.finished is not None
    if not rests and not any(isinstance(record.event, (RunResumed, BudgetExtended)) for record in fresh):
        return {}
    return {f"{_LEAD}{run}/{state.seq:010d}": _text_of(receipt_of(run, state))}


def _text_of(receipt: Receipt) -> str:
    """JSON without what is 0; written by hand, for whoever writes receipts need not be able to read them."""
    lines = [{"phase": line.phase, "model": line.model, "used": _some(asdict(line.used))} for line in receipt.lines]
    return json.dumps({**asdict(replace(receipt, lines=())), "spent": _some(asdict(receipt.spent)), "lines": lines})


def _some(amounts: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in amounts.items() if value}


def receipts(store: Store, progress: Callable[[int, int], object] | None = None) -> Iterator[Receipt]:
    """The receipt of each run that can be read, oldest run first.

    Args:
        store: where the runs are.
        progress: told after each run how many there were, and how many there are in all.
    """
    kept, runs = _kept(store), store.runs()
    for n, run in enumerate(runs, start=1):
        found = kept.get(run)
        if found is None:
            with suppress(DamagedRecord, RunNotFound):  # one that cannot be read, or is gone by now
                found = receipt_of(run, load(store, run)[0])
        if found is not None:
            yield found
        if progress is not None:
            progress(n, len(runs))


def _kept(store: Store) -> dict[str, Receipt]:
    """The last receipt of each run that rests or has ended and has one that can be read."""
    try:
        texts = {key.split("/")[1]: text for key, text in store.rows(_LEAD)}
    except DamagedRecord:  # one of them was altered: the records say it all
        return {}
    found = {}
    for run, text in texts.items():
        with suppress(ValueError):
            receipt: Receipt = _shape().parsed(text)
            if receipt.form == _FORM and receipt.status not in (Status.PENDING, Status.IN_PROGRESS):
                found[run] = receipt
    return found


def means_passed(store: Store, state: RunState) -> Iterator[AlertRaised]:
    """The thresholds on means that the newest runs have passed, this one among them, which has just ended.

    One run is no mean: the first of its kind passes none.
    """
    head = state.head
    wanted = [found for found in head.alerts if found.last > 1 and found.concerns(head.tags)]
    if not wanted:
        return
    told = {raised.threshold for raised in state.alerts}
    ended = sorted((r for r in receipts(store) if r.status.ended), key=lambda r: r.at, reverse=True)
    for threshold in wanted:
        value, runs = _mean(threshold, [r for r in ended if threshold.concerns(r.tags)][: threshold.last])
        if runs > 1 and value > threshold.above and threshold not in told:
            yield AlertRaised(threshold=threshold, value=value, runs=runs)


def _mean(threshold: Threshold, of: list[Receipt]) -> tuple[float, int]:
    values = [float(getattr(receipt.spent, threshold.measure)) for receipt in of]
    return (sum(values) / len(values) if values else 0.0), len(values)


_LEAD: Final = "u/"


@functools.cache
def _shape() -> Shape:
    return Shape(Receipt)
