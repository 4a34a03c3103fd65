"""Two runs on one scale, as a picture: their timelines below each other, and below them what both cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentnb.curve import Point, thinned
from agentnb.markdown import line
from agentnb.palette import Ink
from agentnb.picture import Axis, Line, Panel, Picture, stepped
from agentnb.span import Span
from agentnb.stretch import Stretch
from agentnb.timeline import lanes_table, paced, timeline_panel
from agentnb.wording import money, number

__all__ = ["Side", "beside"]

_POINTS = 400
_LABELS = 150.0
"""Pixels for the words at the right end."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs.

    Attributes:
        name: what it is called.
        spans: its trace.
        points: what it had spent at each moment.
    """

    name: str
    spans: Sequence[Span]
    points: Sequence[Point]

    @property
    def end(self) -> float:
        """Its last moment, in seconds on its own clock."""
        return max((span.start if span.end is None else span.end for span in self.spans), default=0.0)


def beside(one: Side, other: Side, *, bare: bool = False) -> Picture:
    """The two runs, each on its own clock from 0 on, on one axis of time.

    Args:
        one: a run.
        other: another.
        bare: True shows neither ids nor times that one replay has otherwise than the next.
    """
    sides = (one, other)
    stretch = paced([side.spans for side in sides], 0.0, max(side.end for side in sides))
    drawn = [timeline_panel(side.spans, stretch, side.end, bare=bare, title=line(side.name, 60)) for side in sides]
    panels = [replace(panel, x=replace(panel.x, title=""), right=_LABELS) for panel, _ in drawn]
    said = "; ".join(f"{line(side.name, 30)}: {told}" for side, (_, told) in zip(sides, drawn, strict=True))
    text = "\n\n".join(f"{line(side.name, 60)}\n{lanes_table(side.spans, bare=bare)}" for side in sides)
    rows = (*((panel,) for panel in panels), (_costs(sides, stretch),))
    return Picture(title="Two runs on one scale", said=said, rows=rows, text=text)


def _costs(sides: Sequence[Side], stretch: Stretch) -> Panel:
    """What each had spent, as a line."""
    priced = any(side.points and side.points[-1].spent.usd for side in sides)
    inks: tuple[Ink, Ink] = ("blue", "orange")
    layers = []
    for side, ink, dashed in zip(sides, inks, (False, True), strict=True):
        points = thinned(side.points, _POINTS)
        spent = [point.spent.usd if priced else float(point.spent.tokens) for point in points]
        last_place = [stretch.places[-1]] if points else []  # it stays at what it came to
        x, y = stepped([*(stretch.at(point.t) for point in points), *last_place], [*spent, *spent[-1:]])
        last = money(spent[-1]) if priced and spent else number(spent[-1]) if spent else ""
        label = f"{line(side.name, 14)} {last}"
        layers.append(Line(name=side.name, ink=ink, x=x, y=y, dashed=dashed, thick=True, label=label))
    high = max((max(layer.y, default=0.0) for layer in layers), default=0.0) or 1.0
    y_axis = Axis(low=0, high=high * 1.12, prefix="$" if priced else "")
    title = "Dollars spent" if priced else "Tokens, in and out"
    return Panel(x=stretch.axis(), y=y_axis, layers=tuple(layers), title=title, height=150, right=_LABELS)
