"""Where a moment of a run lies on an axis of time: long pauses, in which nothing was done, are drawn short."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agentnb.picture import Axis
from agentnb.scale import ticks_of, unit_of
from agentnb.wording import clock, seconds

__all__ = ["Stretch", "stretch_of"]

_LONG: Final = 0.25
"""A pause is shortened where it is longer than this part of the time in which something was done, and than _LEAST_S."""
_LEAST_S: Final = 20.0
_DRAWN: Final = 0.11
"""How long it is drawn, as a part of that time."""
_TICKS: Final = 9
_APART: Final = 0.1
"""Between the middles of two labels, as a part of the axis."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run's clock laid out on an axis.

    Attributes:
        moments: seconds on the run's clock at which the pace changes, the beginning and the end among them.
        places: where each of them lies on the axis, in `unit`.
        cuts: (beginning, end) of the pauses that are drawn short, in seconds.
        unit: the length of the axis' unit in seconds, and its name.
    """

    moments: tuple[float, ...]
    places: tuple[float, ...]
    cuts: tuple[tuple[float, float], ...]
    unit: tuple[float, str]

    def at(self, moment: float) -> float:
        """Where a moment lies on the axis; what is outside lies at the nearer end."""
        n = bisect_right(self.moments, moment)
        if n in (0, len(self.moments)):
            return self.places[0 if n == 0 else -1]
        start, end = self.moments[n - 1], self.moments[n]
        return self.places[n - 1] + (moment - start) / (end - start) * (self.places[n] - self.places[n - 1])

    @property
    def length(self) -> float:
        """Of the axis, in `unit`."""
        return self.places[-1] - self.places[0]

    def axis(self) -> Axis:
        """The x axis: round numbers, and how long each shortened pause was."""
        title = f"{self.unit[1]} since the run began"
        if not self.cuts:
            return Axis(low=self.places[0], high=self.places[-1], title=title)
        title = "time since the run began (h:mm:ss); pauses in which nothing was done are drawn short"
        return Axis(low=self.places[0], high=self.places[-1], title=title, ticks=tuple(sorted(self._ticks())))

    def _ticks(self) -> Iterable[tuple[float, str]]:
        for start, end in self.cuts:
            yield (self.at(start) + self.at(end)) / 2, f"⋯ {seconds(end - start)} ⋯"
        taken = [(self.at(start) + self.at(end)) / 2 for start, end in self.cuts]
        for start, end in self._busy():
            long = (self.at(end) - self.at(start)) / self.length * _TICKS
            if long < 1:
                continue
            for value, _ in ticks_of(Axis(low=start / self.unit[0], high=end / self.unit[0]), int(long)):
                place = self.at(value * self.unit[0])
                if all(abs(place - other) > self.length * _APART for other in taken):
                    yield place, clock(value * self.unit[0])

    def _busy(self) -> Iterable[tuple[float, float]]:
        """The stretches between the shortened pauses."""
        edges = [self.moments[0], *(edge for cut in self.cuts for edge in cut), self.moments[-1]]
        return zip(edges[::2], edges[1::2], strict=True)


def stretch_of(worked: Iterable[tuple[float, float]], start: float, end: float) -> Stretch:
    """The clock from `start` to `end`.

    Args:
        worked: (beginning, end) of what was done, in seconds, in any order.
        start: seconds on the run's clock.
        end: likewise; at least `start`.
    """
    quiet, busy = _quiet(sorted(worked), start, end)
    least = max(_LEAST_S, _LONG * busy)
    cuts = tuple((a, b) for a, b in quiet if b - a > least and busy > 0)
    shown = (end - start) - sum(b - a for a, b in cuts)
    drawn = max(_DRAWN * shown, 1e-9)
    unit = unit_of(shown)
    moments, places, at = [start], [start / unit[0] if not cuts else 0.0], start
    for a, b in cuts:
        for moment, long in ((a, a - at), (b, drawn)):
            if moment > moments[-1]:
                moments.append(moment)
                places.append(places[-1] + long / unit[0])
        at = b
    if end > moments[-1]:
        moments.append(end)
        places.append(places[-1] + (end - at) / unit[0])
    if len(moments) == 1:  # nothing has taken any time
        moments.append(start + 1.0)
        places.append(places[-1] + 1.0)
    return Stretch(tuple(moments), tuple(places), cuts, unit)


def _quiet(worked: Sequence[tuple[float, float]], start: float, end: float) -> tuple[list[tuple[float, float]], float]:
    """The pauses between what was done, and for how long something was."""
    quiet, busy, done = [], 0.0, start
    for a, b in [*worked, (end, end)]:
        begin, stop = max(start, min(a, end)), max(start, min(b, end))
        if begin > done:
            quiet.append((done, begin))
        busy += max(0.0, stop - max(begin, done))
        done = max(done, stop)
    return quiet, busy
