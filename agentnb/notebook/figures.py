"""The figures of runs, each a function that returns a Plotly figure; a Run has them as methods."""

from __future__ import annotations

from collections.abc import Iterable

from agentnb.beside import Side
from agentnb.beside import beside as beside_picture
from agentnb.cost_curve import Against
from agentnb.cost_curve import cost_curve as cost_picture
from agentnb.curve import curve
from agentnb.dashboard import dashboard as dashboard_picture
from agentnb.events import Record
from agentnb.graph import graph as graph_picture
from agentnb.informed import Informed
from agentnb.metrics import Metrics
from agentnb.notebook.figure import Figure, figure
from agentnb.span import Span
from agentnb.timeline import Window
from agentnb.timeline import timeline as timeline_picture

__all__ = ["beside", "cost_curve", "dashboard", "graph", "timeline"]


def timeline(
    spans: Iterable[Span], window: Window | None = None, *, bare: bool = False, dark: bool | None = None
) -> Figure:
    """What a run did when.

    Args:
        spans: a trace, or any of its spans.
        window: the part of it that is shown; None shows all.
        bare: True shows neither ids nor times that one replay has otherwise than the next.
        dark: whether the page is dark; None takes colours for both.

    Raises:
        ConfigError: the window ends before it begins, or there is no such step.
    """
    return figure(timeline_picture(spans, window, bare=bare), dark=dark)


def cost_curve(
    records: Iterable[Record], *, run: str = "", against: Against = "time", bare: bool = False, dark: bool | None = None
) -> Figure:
    """What a run had cost at each moment, by phase, with what was reserved and saved, against each cap.

    Args:
        records: the run's, oldest first.
        run: its id; "" shows none.
        against: "time" or "steps".
        bare: as of `timeline`.
        dark: likewise.

    Raises:
        ConfigError: `against` is neither.
        DamagedRecord: the records are not those of a run.
    """
    return figure(cost_picture(curve(records, bare=bare), run=run, against=against, bare=bare), dark=dark)


def graph(found: Informed, *, run: str = "", what: str = "", dark: bool | None = None) -> Figure:
    """What informed what in a run.

    Args:
        found: as `informed` gives it, or what led to a part of it.
        run: its id; "" shows none.
        what: the part that it led to, for the title.
        dark: as of `timeline`.
    """
    return figure(graph_picture(found, run=run, what=what), dark=dark)


def beside(one: Side, other: Side, *, bare: bool = False, dark: bool | None = None) -> Figure:
    """Two runs on one scale: what each did when, and what both cost.

    Args:
        one: a run.
        other: another.
        bare: as of `timeline`.
        dark: likewise.
    """
    return figure(beside_picture(one, other, bare=bare), dark=dark)


def dashboard(metrics: Metrics, *, bare: bool = False, dark: bool | None = None) -> Figure:
    """How runs go: how they ended, what waits, what went wrong where, how long it took, how dear it was.

    Args:
        metrics: of the runs.
        bare: as of `timeline`.
        dark: likewise.
    """
    return figure(dashboard_picture(metrics, bare=bare), dark=dark)
