"""The runs of a store: a sequence that is read as far as it is looked at, chosen and sorted, and shown as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Final, Unpack, overload

from agentnb.checkpoint import load
from agentnb.chosen import Chosen, Order, Which, chosen, ordered
from agentnb.displayed import Displayed
from agentnb.errors import AgentError
from agentnb.index import Index
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.measures import measured
from agentnb.metrics import Metrics
from agentnb.named import run_named
from agentnb.run import Keeper, Run
from agentnb.standing import is_decided, reason, waits
from agentnb.state import RunState, Status
from agentnb.store.base import Progress, Store
from agentnb.wording import age, money, number

if TYPE_CHECKING:
    from agentnb.notebook.figure import Figure

__all__ = ["Runs", "picked", "table"]

_SORTED: Final = {"ended": "at DESC", "waiting": "waits_since IS NULL, waits_since"}
_SHOWN: Final = 20


class Runs(Sequence[Run], Displayed):
    """Runs of a store, the newest first; a notebook shows them as a table.

    What is in it is settled when it is first looked at.

    Args:
        keeper: goes on with them.
        index: of the keeper's store.
        which: those that are meant; all, if left out.
        order: how they are sorted.
    """

    def __init__(
        self, keeper: Keeper, index: Index, which: Chosen | None = None, order: Order = "started",
    ) -> None:  # fmt: skip
        self._keeper = keeper
        self._index = index
        self._which = which or Chosen()
        self._order = order
        self._found: Sequence[str] | None = None

    def where(self, **which: Unpack[Which]) -> Runs:
        """Those of them that are so, `where(status="failed", since="tuesday", min_usd=0.1)`; see `Which`.

        Raises:
            ConfigError: a condition that cannot be read.
        """
        more = chosen(which, self._keeper.clock.wall())
        given = {name: getattr(more, name) for name in which}
        if "tags" in given:
            given["tags"] = {**self._which.tags, **more.tags}
        return Runs(self._keeper, self._index, replace(self._which, **given), self._order)

    def sorted(self, by: Order) -> Runs:
        """The same, sorted otherwise: `sorted("usd")` has the dearest first.

        Raises:
            ConfigError: they are not sorted by that.
        """
        return Runs(self._keeper, self._index, self._which, ordered(by))

    def metrics(self) -> Metrics:
        """How they go, in plain numbers: rates, latencies, what waits for a person, costs and their drift."""
        self._index.catch_up()
        return measured(self._index, self._which, self._keeper.clock.wall())

    def dashboard(self, *, dark: bool | None = None) -> Figure:
        """How they go, as a Plotly figure: how they ended, what waits, what went wrong, how long, how dear.

        Args:
            dark: whether the page is dark; None takes colours for both.
        """
        from agentnb.notebook.figures import dashboard

        return dashboard(self.metrics(), bare=self._keeper.replaying, dark=dark)

    def compare(self, one: Run | str, other: Run | str, *, dark: bool | None = None) -> Figure:
        """Two runs on one scale, as a Plotly figure; see `Run.beside`, and `Run.diff` for a table.

        Args:
            one: a run, or a run's id, or the beginning of one: "r7".
            other: another.
            dark: whether the page is dark; None takes colours for both.

        Raises:
            RunNotFound: no such run in this store.
        """
        return self._named(one).beside(self._named(other), dark=dark)

    def _named(self, run: Run | str) -> Run:
        return Run(self._keeper, run_named(self._keeper.store, run)) if isinstance(run, str) else run

    @property
    def ids(self) -> Sequence[str]:
        """Their ids."""
        if self._found is None:
            everything = self._which == Chosen() and self._order == "started"
            store = self._keeper.store
            self._found = store.runs()[::-1] if everything else picked(self._index, self._which, self._order)
        return self._found

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> Runs: ...

    def __getitem__(self, place: int | slice) -> Run | Runs:
        if isinstance(place, int):
            return Run(self._keeper, self.ids[place])
        part = Runs(self._keeper, self._index, replace(self._which, runs=tuple(self.ids[place])), self._order)
        part._found = self.ids[place]
        return part

    def __len__(self) -> int:
        return len(self.ids)

    def listing(self) -> Listing:
        """The table: the first 20 of them."""
        keeper = self._keeper
        return table(keeper.store, self.ids, now=keeper.clock.wall(), bare=keeper.replaying)

    def as_text(self) -> str:
        """The table in aligned columns."""
        return self.listing().as_text()

    def as_html(self) -> str:
        """The same as HTML; everything in it is escaped."""
        return self.listing().as_html()


def picked(index: Index, which: Chosen, order: Order = "started", progress: Progress | None = None) -> list[str]:
    """The ids of the runs that `which` picks, sorted; what is new is taken into the index first.

    Args:
        index: of the store.
        which: the runs.
        order: how they are sorted.
        progress: told how far the index is, where it has to be made.
    """
    index.catch_up(progress)
    where, values = which.where()
    by = _SORTED.get(order, f"{order} DESC")
    return [run for (run,) in index.rows(f"SELECT run FROM run WHERE {where} ORDER BY {by}, id DESC", values)]


# --- the table --------------------------------------------------------------------------------------------------------


def table(
    store: Store, runs: Sequence[str], *, now: float, shown: int = _SHOWN, bare: bool = False, flag: str = ""
) -> Listing:
    """The first `shown` of these runs, with their state, age, steps, cost and task.

    Args:
        store: where they are.
        runs: their ids.
        now: seconds since 1970.
        shown: how many.
        bare: True leaves out what one replay has otherwise than the next: ids, ages, and lines with an id in them.
        flag: the store as it is typed on a line, " --store DIR", or "".
    """
    rows = [_row(store, run, now, flag, bare=bare) for run in runs[: max(0, shown)]]
    heads = ("run", "status", "age", "steps", "cost", "tokens", "task")
    left_out = {*(("run", "age") if bare else ()), *(() if any(row[4] for row in rows) else ("cost",))}
    kept = [name not in left_out for name in heads]
    more = f", the first {number(len(rows))} of {number(len(runs))}" if len(runs) > len(rows) else ""
    where = "" if bare else f" in {store.place}"
    note = "" if bare or not rows else f"%agent show RUN{flag} shows one"
    title = f"{'Runs' if runs else 'No runs'}{where}{more}"
    return Listing(title, [*compress(heads, kept)], [[*compress(row, kept)] for row in rows], note)


def _row(store: Store, run: str, now: float, flag: str, *, bare: bool) -> Sequence[str]:
    try:
        state, _ = load(store, run)
    except AgentError as error:  # one damaged run must not hide the others
        return run, "unreadable", "", "", "", "", str(error)
    head, spent = state.head, state.spent
    name = f"↳ {run}" if head.parent else run
    task = f"({head.agent} in {head.parent} {head.parent_step}) {head.task}" if head.parent else head.task
    status = _brief(state) if bare else _status(state, flag, driven=store.is_driven(run))
    done = f"{len(state.outcomes)} of {len(state.plan.steps) if state.plan else 0}"
    cost = money(spent.usd) if spent.usd else ""
    return name, status, age(now - state.at), done, cost, number(spent.tokens), line(task, 200)


def _brief(state: RunState) -> str:
    return ": ".join(filter(None, (state.status.replace("_", " "), reason(state))))


def _status(state: RunState, flag: str, *, driven: bool) -> str:
    """How the run is, and the line that goes on with one that rests, `flag` for its store included."""
    if state.status.ended or driven:
        return _brief(state)
    way = f"%agent {'pending' if waits(state) else 'resume'} {state.head.run}{flag}"
    if state.status is Status.IN_PROGRESS:  # and whoever drove it is gone
        return f"interrupted: {way}"
    why = "decided" if is_decided(state) else reason(state)
    return f"{state.status.replace('_', ' ')}: {why}: {way}"
