"""What is seen of a run while it is driven, and the record that stays."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from IPython.display import display

from agentnb.budget import amount
from agentnb.events import Record
from agentnb.notebook.host import Host
from agentnb.render import as_html, as_text
from agentnb.summary import Summary, Tally

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["Panel", "panel_for", "placed", "show_summary", "status_line"]

_PER_SECOND: Final = 10
"""Updates at most: one costs 0.3 ms, more than ten commits."""
_PAUSE_S: Final = 0.2
"""Seconds between two updates that could as well wait."""
_TICK_S: Final = 1.0
"""Seconds between two updates while nothing happens but that time passes."""
_PATIENCE_S: Final = 2.0
"""Seconds that something may take before it is said how long it has been taking."""


class Panel:
    """Shows only the final record: for front ends that nobody watches, and the base of those that somebody does.

    Every method is called on the thread that runs the cell.

    Args:
        history: what is kept of the run already.
        bare: see `Summary`.
        store: the `--store` that was typed, see `placed`.
    """

    watched = False
    """True where somebody sees what `_draw` draws."""

    def __init__(self, history: Iterable[Record] = (), *, bare: bool = False, store: str = "") -> None:
        self.store = store
        self._tally = Tally(bare=bare)
        self._stale = False
        self._since = time.monotonic()
        self._drawn: deque[float] = deque(maxlen=_PER_SECOND)
        for record in history:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take in the next record; it is seen with the next refresh."""
        self._tally.add(record)
        self._stale = True
        self._since = time.monotonic()

    @property
    def summary(self) -> Summary:
        """What there is to show now."""
        return placed(self._tally.summary(), self.store)

    def refresh(self, *, urgent: bool = False) -> None:
        """Show what is new, at most ten times a second.

        Args:
            urgent: True where there may be no other chance for a while.
        """
        now, drawn = time.monotonic(), self._drawn
        too_soon = bool(drawn) and not urgent and now - drawn[-1] < _PAUSE_S
        too_often = len(drawn) == _PER_SECOND and now - drawn[0] < 1
        ticks = self.watched and bool(drawn) and now - drawn[-1] >= _TICK_S
        if (self._stale or ticks) and not too_soon and not too_often:
            self._stale = False
            drawn.append(now)
            summary = _aged(self.summary, now - self._since)
            self._draw(_dated(summary) if urgent else summary)

    def step_aside(self) -> None:
        """Make room for what a tool prints, or for a question."""

    def finish(self, summary: Summary) -> None:
        """Replace the progress by the record that stays."""
        self.step_aside()
        show_summary(summary)

    def _draw(self, summary: Summary) -> None:
        pass


class InPlace(Panel):
    """Shows one display and updates it in place: for notebooks that somebody watches."""

    watched = True
    _handle: DisplayHandle | None = None

    def finish(self, summary: Summary) -> None:
        """Replace the progress by the record that stays."""
        self._draw(summary)

    def _draw(self, summary: Summary) -> None:
        if self._handle is None:
            self._handle = display(_bundle(summary), raw=True, display_id=True)
        else:
            self._handle.update(_bundle(summary), raw=True)


class StatusLine(Panel):
    """Shows one line at the bottom of a terminal, and at the end the whole record."""

    watched = True

    def step_aside(self) -> None:
        """Take the line away; it comes back with the next refresh."""
        sys.stdout.write("\r\x1b[K")
        sys.stdout.flush()
        self._stale = True

    def _draw(self, summary: Summary) -> None:
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f"\r\x1b[K{status_line(summary)[:width]}")
        sys.stdout.flush()


def _aged(summary: Summary, seconds: float) -> Summary:
    """The summary of a run whose present action has been under way for so many seconds."""
    if summary.bare or not summary.now or seconds < _PATIENCE_S:
        return summary
    spent = replace(
        summary.spent,
        seconds=summary.spent.seconds + seconds,
        working_seconds=summary.spent.working_seconds + seconds,
    )
    return replace(summary, now=f"{summary.now}, for {seconds:.0f} s", spent=spent)


def _dated(summary: Summary) -> Summary:
    """The summary with the time of day at which its present action was begun: it may be the last for a long while."""
    if summary.bare or not summary.now:
        return summary
    return replace(summary, now=f"{summary.now}, since {time.strftime('%H:%M:%S')}")


def placed(summary: Summary, store: str) -> Summary:
    """The summary whose lines to type name the store that was typed, " --store other"; as it is, where none was."""
    if not store:
        return summary
    return replace(summary, next=re.sub(r"%agent \w+ [^\s,]+", lambda line: line[0] + store, summary.next))


def panel_for(host: Host, history: Iterable[Record], *, bare: bool, store: str = "") -> Panel:
    """The panel that fits the front end; in a headless run nothing but the final record is ever displayed."""
    if host.updates_in_place:
        return InPlace(history, bare=bare, store=store)
    if host.audience == "tty" and sys.stdout.isatty():
        return StatusLine(history, bare=bare, store=store)
    return Panel(history, bare=bare, store=store)


def show_summary(summary: Summary, store: str = "") -> None:
    """Display a run's record; `store` is the `--store` that was typed, see `placed`."""
    display(_bundle(placed(summary, store)), raw=True)


def status_line(summary: Summary) -> str:
    """The run in one line: where it is, and what is used of each cap."""
    used = [f"{amount(g.limit, g.used)} of {amount(g.limit, g.cap)}" for g in summary.gauges]
    run = f"{summary.run} (dry run)" if summary.dry else summary.run
    return "  ·  ".join([run, summary.now or summary.status.value, *used])


def _bundle(summary: Summary) -> dict[str, Any]:
    return {"text/plain": as_text(summary), "text/html": as_html(summary)}
