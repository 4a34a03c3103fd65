"""What the runs of a store have cost, by kind of task, model, phase, status or any tag."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import compress
from pathlib import Path
from typing import Final

from agentnb.alerts import TASK_TYPE
from agentnb.bill import TOTAL
from agentnb.cost import Cost, Line, Saved, Saving, Used
from agentnb.displayed import Displayed
from agentnb.entry import USED
from agentnb.errors import ConfigError
from agentnb.index import Index
from agentnb.listing import aligned
from agentnb.markdown import line
from agentnb.measures import quantile
from agentnb.render import card, number_rows
from agentnb.store.base import Progress, Store
from agentnb.store.disk import DiskStore
from agentnb.when import When, moment
from agentnb.wording import count, money, number

__all__ = ["CostRow", "Receipt", "Spending", "aggregated", "costs"]

_P95: Final = 0.95
_NAME: Final = 32
_GROUPINGS: Final = ("model", "phase", "status", TASK_TYPE)
"""What costs can be grouped by, whatever tags there are."""
_LISTED: Final = 12
_HEADS: Final = ("Runs", "Dollars", "Mean", "p95", "Tokens")
_STYLE: Final = (
    ".agentnb.agentnb .spent{width:100%;table-layout:auto}.agentnb .spent th:first-child{min-width:90px}"
    ".agentnb.agentnb .spent>*>*>:last-child{padding-right:0}.agentnb .wide{overflow-x:auto}"
)
"""What only this card has; the style sheet of all cards travels in every saved output."""
_WAYS: Final = ("Saved by cache", "Saved by provider", "Saved by tiers")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one run has cost.

    Attributes:
        run: its id.
        status: as it is.
        tags: of the run.
        lines: by phase and model, those of the runs inside it among them.
    """

    run: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()

    @property
    def cost(self) -> Cost:
        """Its model calls, by phase and by model."""
        return Cost(self.lines)


@dataclass(frozen=True, slots=True)
class CostRow:
    """What some runs have cost, or the parts of them that one model or phase has.

    Attributes:
        name: what they have in common; "" of those that lack the tag.
        runs: how many there are.
        used: what they used in all, and what was saved.
        mean_usd: US dollars of one on average.
        p95_usd: what 95 of 100 of them cost at most, in US dollars: the nearest rank.
    """

    name: str
    runs: int
    used: Used
    mean_usd: float
    p95_usd: float

    @property
    def usd(self) -> float:
        """US dollars of all of them."""
        return self.used.usd

    @property
    def tokens(self) -> int:
        """Tokens of all of them, in and out."""
        return self.used.tokens

    @property
    def saved(self) -> Saved:
        """What was saved, each way apart."""
        return self.used.saved

    @property
    def lower_bound(self) -> bool:
        """True where a model was asked whose price is not known: then the dollars are a lower bound."""
        return self.used.unpriced > 0


@dataclass(frozen=True, slots=True, repr=False)
class Spending(Displayed):
    """Rows of costs; a notebook shows them as a table. Iterate it for the rows.

    Attributes:
        by: what they are grouped by.
        rows: the dearest first.
        total: all runs, each once.
    """

    by: str
    rows: tuple[CostRow, ...]
    total: CostRow

    def __iter__(self) -> Iterator[CostRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def as_text(self) -> str:
        """Aligned columns, and what the marks in them mean."""
        if not self.rows:
            return self._title
        heads, rows = self._table()
        return "\n".join([self._title, *aligned([heads, *rows]), *self._notes])

    def as_html(self) -> str:
        """A card with a table; everything in it is escaped."""
        if not self.rows:
            return f"<p>{escape(self._title)}</p>"
        heads, rows = self._table()
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
        body = number_rows(rows, total=len(self.rows) > 1)
        table = f'<table class="n spent"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        notes = "".join(f"<footer>{escape(note)}</footer>" for note in self._notes)
        title = f"<header><b>{escape(self._title)}</b></header>"
        return card(f'{title}<div class="wide">{table}</div>{notes}', style=_STYLE)

    @property
    def _title(self) -> str:
        if not self.rows:
            return "No runs to count"
        return f"Cost of {count(self.total.runs, 'run')} by {line(self.by, _NAME)}"

    @property
    def _notes(self) -> list[str]:
        return ["≥ a model's price is not known: at least so much"] if self.total.lower_bound else []

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells; a way to save of which nothing came is left out."""
        whole = [*self.rows, *([self.total] if len(self.rows) > 1 else [])]
        ways = [[_saving(saving.usd) for saving in _ways(row.saved)] for row in whole]
        some = [any(row[place] for row in ways) for place in range(3)]
        cells = [
            [_name(row, self), number(row.runs), *_dollars(row), number(row.tokens), *compress(saved, some)]
            for row, saved in zip(whole, ways, strict=True)
        ]
        return [line(self.by, _NAME), *_HEADS, *compress(_WAYS, some)], cells


def costs(
    store: Store | Path | str = ".agentnb",
    *,
    by: str = TASK_TYPE,
    since: When | None = None,
    progress: Progress | None = None,
) -> Spending:
    """What the runs of `store` have cost.

    Args:
        store: a store, or its folder.
        by: "model", "phase", "status", or the key of a tag, such as "task_type".
        since: only runs whose last record is not older than this moment, day or time ago, see `agentnb.when`.
        progress: told how many runs were taken into the index, and how many there are to take in.

    Raises:
        ConfigError: there is no store there, `since` cannot be read, or no run has such a tag.
    """
    if isinstance(store, (str, Path)):
        if not Path(store).expanduser().exists():
            raise ConfigError(
                f"there is no store at {Path(store).expanduser().absolute()}: an Agent's first run makes one"
            )
        store = DiskStore(store)
    start = -math.inf if since is None else moment(since, time.time())
    index = Index(store)
    try:
        index.catch_up(progress)
        _require_grouping(index, by)
        return aggregated(_receipts(index, start), by)
    finally:
        index.close()


def _require_grouping(index: Index, by: str) -> None:
    """See that costs can be grouped by that; of no runs at all, by anything.

    Raises:
        ConfigError: it is a tag that no run has; says what there is.
    """
    tags = [key for (key,) in index.rows("SELECT DISTINCT key FROM run, json_each(tags) ORDER BY key")]
    known = list(dict.fromkeys((*_GROUPINGS, *tags)))
    if by in known or not index.rows("SELECT 1 FROM run LIMIT 1"):
        return
    more = ["…"] if len(known) > _LISTED else []
    there = ", ".join([*(line(name, _NAME) for name in known[:_LISTED]), *more])
    raise ConfigError(f"no run has a tag {line(str(by), _NAME)!r}: what costs can be grouped by is {there}")


def _receipts(index: Index, start: float) -> Iterator[Receipt]:
    """Of each run that can be read and whose last record is not older than `start`, oldest run first.

    What a run inside another has used is told with the outermost one: that is the run which somebody has begun.
    """
    lines = defaultdict(list)
    for of, phase, model, *used in index.rows(f"SELECT of, phase, model, {', '.join(USED)} FROM line"):
        lines[of].append(Line(phase, model, Used(*used)))
    rows = index.rows("SELECT id, run, parent, status, tags, at FROM run WHERE problem = '' ORDER BY id")
    parents = {run: parent for _, run, parent, *_ in rows}
    within = defaultdict[str, list[Line]](list)
    for of, run, *_ in rows:
        within[_outermost(run, parents)] += lines[of]
    for _, run, _, status, tags, at in rows:
        if run in within and at >= start:
            yield Receipt(run, status, json.loads(tags), tuple(within[run]))


def _outermost(run: str, parents: Mapping[str, str]) -> str:
    """The run that it is inside of, as far as they are there; records of strangers may go round in a circle."""
    seen = {run}
    while (parent := parents[run]) in parents and parent not in seen:
        run = parent
        seen.add(run)
    return run


def aggregated(found: Iterable[Receipt], by: str) -> Spending:
    """`found` in rows."""
    groups: dict[str, list[Used]] = defaultdict(list)
    whole = []
    for receipt in found:
        whole.append(receipt.cost.total)
        for name, used in _parts(receipt, by).items():
            groups[name].append(used)
    rows = (_row(name, parts) for name, parts in groups.items())
    return Spending(by, tuple(sorted(rows, key=lambda row: (-row.usd, -row.tokens, row.name))), _row("", whole))


def _parts(receipt: Receipt, by: str) -> Mapping[str, Used]:
    """The run, or what each model or phase has of it."""
    match by:
        case "model":
            return receipt.cost.by_model
        case "phase":
            return receipt.cost.by_phase
        case "status":
            return {receipt.status: receipt.cost.total}
        case _:
            return {receipt.tags.get(by, ""): receipt.cost.total}


def _row(name: str, parts: Sequence[Used]) -> CostRow:
    dollars = sorted(part.usd for part in parts)
    mean = math.fsum(dollars) / len(dollars) if dollars else 0.0
    return CostRow(name, len(parts), sum(parts, Used()), mean, quantile(dollars, _P95) or 0.0)


def _ways(saved: Saved) -> tuple[Saving, ...]:
    return saved.cache, saved.provider, saved.tiers


def _saving(usd: float) -> str:
    return f"−{money(-usd)}" if usd < 0 else money(usd) if usd else ""


def _name(row: CostRow, of: Spending) -> str:
    if row is of.total:
        return TOTAL
    return line(row.name, _NAME) or f"(no {line(of.by, 20)})"


def _dollars(row: CostRow) -> list[str]:
    least = "≥ " if row.lower_bound else ""
    return [f"{least}{money(usd)}" for usd in (row.usd, row.mean_usd, row.p95_usd)]
