"""What is seen of a run while it is driven, and the record that stays."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from IPython.display import display

from agentnb.budget import Spent
from agentnb.events import Record
from agentnb.notebook.host import Host
from agentnb.notebook.stopping import StopButton
from agentnb.render import as_html, as_text
from agentnb.state import Status
from agentnb.status_line import status_line
from agentnb.summary import Gauge, Summary, Tally

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["Panel", "panel_for", "placed", "show_summary"]

_PER_SECOND: Final = 10
"""Updates at most: one costs 0.3 ms, more than ten commits."""
_PAUSE_S: Final = 0.2
"""Seconds between two updates that could as well wait."""
_TICK_S: Final = 1.0
"""Seconds between two updates while nothing happens but that time passes."""
_PATIENCE_S: Final = 2.0
"""Seconds that something may take before it is said how long it has been taking."""
_CLOCKS: Final = ("seconds", "working_seconds")
"""The caps that are used up by waiting."""


class Panel:
    """Shows only the final record: for front ends that nobody watches, and the base of those that somebody does.

    Every method is called on the thread that runs the cell.

    Args:
        history: what is kept of the run already.
        bare: see `Summary`.
        store: the `--store` that was typed, see `placed`.
        inside: says what the run inside the present step is doing, "" where there is none.
    """

    watched = False
    """True where somebody sees what `_draw` draws."""

    def __init__(
        self,
        history: Iterable[Record] = (),
        *,
        bare: bool = False,
        store: str = "",
        inside: Callable[[], str] = lambda: "",
    ) -> None:
        self.store = store
        self._inside = inside
        self._seen_inside = ""
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
        self._look_inside(now)
        too_soon = bool(drawn) and not urgent and now - drawn[-1] < _PAUSE_S
        too_often = len(drawn) == _PER_SECOND and now - drawn[0] < 1
        ticks = self.watched and bool(drawn) and now - drawn[-1] >= _TICK_S
        if (self._stale or ticks) and not too_soon and not too_often:
            self._stale = False
            drawn.append(now)
            summary = replace(self._tally.glance(), inside=self._seen_inside)
            summary = _aged(placed(summary, self.store), now - self._since)
            self._draw(_dated(summary) if urgent else summary)

    def _look_inside(self, now: float) -> None:
        """What the run inside has begun is new too."""
        inside = self._inside() if self.watched else ""
        if inside != self._seen_inside:
            self._seen_inside, self._stale, self._since = inside, True, now

    def offer_stop(self, stop: Callable[[], None]) -> None:
        """Let whoever watches press a button that calls `stop`, from now until the record stands there."""

    def step_aside(self) -> None:
        """Make room for what a tool prints, or for a question."""

    def show_anew(self) -> None:
        """Nothing that was shown is there any more: show all of it with the next refresh."""

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
    _button: StopButton | None = None

    def offer_stop(self, stop: Callable[[], None]) -> None:
        """Below the display; what is replayed ends by itself, before anybody could press."""
        if not self._tally.bare:
            self._button = StopButton(stop)

    def show_anew(self) -> None:
        """As another display, with its button."""
        self._handle, self._stale = None, True

    def finish(self, summary: Summary) -> None:
        """Take the button away, and replace the progress by the record that stays."""
        if self._button is not None:
            self._button.remove()
        self._draw(summary)

    def _draw(self, summary: Summary) -> None:
        if self._handle is not None:
            self._handle.update(_bundle(summary), raw=True)
            return
        self._handle = display(_bundle(summary), raw=True, display_id=True)
        if self._button is not None and summary.status is Status.IN_PROGRESS:
            self._button.show()


class StatusLine(Panel):
    """Shows one line at the bottom of a terminal, and at the end the whole record."""

    watched = True
    _length = 0

    def step_aside(self) -> None:
        """Take the line away; it comes back with the next refresh."""
        sys.stdout.write(f"\r{' ' * self._length}\r")
        sys.stdout.flush()
        self._length = 0
        self._stale = True

    def _draw(self, summary: Summary) -> None:
        width = shutil.get_terminal_size().columns - 1  # a full line would go on in the next
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        encoding = sys.stdout.encoding or "utf-8"  # of an old terminal that may not know the bar
        said = status_line(summary, width, colour=not plain).encode(encoding, "replace").decode(encoding)
        sys.stdout.write(f"\r{' ' * min(self._length, width)}\r{said}")
        sys.stdout.flush()
        self._length = width


def _aged(summary: Summary, seconds: float) -> Summary:
    """The summary of a run whose present action has been under way for so many seconds."""
    if summary.bare or not summary.now or seconds < _PATIENCE_S:
        return summary
    said = f", for {seconds:.0f} s"
    inside = f"{summary.inside}{said}" if summary.inside else ""  # it is what takes so long
    return replace(
        summary,
        now=summary.now if inside else f"{summary.now}{said}",
        inside=inside,
        spent=_passed(summary.spent, seconds),
        gauges=tuple(_ticking(gauge, 0 if inside else seconds) for gauge in summary.gauges),
        steps=tuple(
            replace(step, seconds=(step.seconds or 0) + seconds) if step.mark == "running" else step
            for step in summary.steps
        ),
    )


def _ticking(gauge: Gauge, seconds: float) -> Gauge:
    """The gauge after so many seconds; what a run inside takes is reserved for it already."""
    return replace(gauge, used=gauge.used + seconds) if gauge.limit in _CLOCKS else gauge


def _passed(spent: Spent, seconds: float) -> Spent:
    return replace(spent, seconds=spent.seconds + seconds, working_seconds=spent.working_seconds + seconds)


def _dated(summary: Summary) -> Summary:
    """The summary with the time of day at which its present action was begun: it may be the last for a long while."""
    if summary.bare or not summary.now:
        return summary
    return replace(summary, now=f"{summary.now}, since {time.strftime('%H:%M:%S')}")


def placed(summary: Summary, store: str) -> Summary:
    """The summary whose lines to type name the store that was typed, " --store other"; as it is, where none was."""
    if not store:
        return summary

    def there(typed: str) -> str:
        return re.sub(r"%agent \w+ [^\s,]+", lambda line: line[0] + store, typed)

    return replace(summary, next=there(summary.next), show=there(summary.show), closer=there(summary.closer))


def panel_for(
    host: Host, history: Iterable[Record], *, bare: bool, store: str = "", inside: Callable[[], str] = lambda: ""
) -> Panel:
    """The panel that fits the front end; in a headless run nothing but the final record is ever displayed.

    Args:
        host: the front end.
        history: see `Panel`, as the others.
        bare: see `Summary`.
        store: see `Panel`.
        inside: see `Panel`.
    """
    line = host.audience == "tty" and sys.stdout.isatty()
    kind = InPlace if host.updates_in_place else StatusLine if line else Panel
    return kind(history, bare=bare, store=store, inside=inside)


def show_summary(summary: Summary, store: str = "", *, every: bool = False) -> None:
    """Display a run's record.

    Args:
        summary: what there is to show.
        store: the `--store` that was typed, see `placed`.
        every: True shows each step of a long plan.
    """
    display(_bundle(placed(summary, store), every=every), raw=True)


def _bundle(summary: Summary, *, every: bool = False) -> dict[str, Any]:
    return {"text/plain": as_text(summary, every=every), "text/html": as_html(summary, every=every)}
