"""A figure as plain values: panels with axes, and what is drawn in them.

A view says with these what there is to see, and knows nothing of how it is drawn: `svg.py` draws a picture as SVG, and
`notebook/figure.py` as a Plotly figure. Positions are numbers on the axes; sizes are pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agentnb.palette import Ink

__all__ = [
    "WIDTH",
    "Area",
    "Arrows",
    "Axis",
    "Bars",
    "Boxes",
    "EndLabel",
    "Layer",
    "Line",
    "Marks",
    "Panel",
    "Picture",
    "Place",
    "Rule",
    "end_labels",
    "placed",
    "stepped",
]  # fmt: skip

WIDTH = 900
"""Pixels, of what has no other width."""
_LONGEST = 34
"""Letters of a label that there is room for."""
_TOP, _HEAD, _GAP, _RIGHT, _LETTER = 56, 24, 30, 16, 6.7
"""Pixels: above the panels, for a panel's title, between panels, at the right end, and of a letter of a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What one direction of a panel stands for.

    Attributes:
        low: the value at its beginning: left, or at the bottom.
        high: that at its end.
        title: what it measures, with the unit; "" where the labels say it.
        ticks: (value, label) of each mark; None leaves it to whoever draws to find round numbers.
        prefix: before each round number: "$".
        suffix: after it: " %".
        down: True where it runs from top to bottom, as a list does.
        grid: True draws a line across at each tick.
    """

    low: float
    high: float
    title: str = ""
    ticks: tuple[tuple[float, str], ...] | None = None
    prefix: str = ""
    suffix: str = ""
    down: bool = False
    grid: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Horizontal bars, all alike but for their places.

    Attributes:
        name: what they are, for a reader of the figure.
        ink: their colour.
        left: where each begins.
        right: where it ends.
        row: the middle of each, on the y axis.
        height: of each, on the y axis.
        hatch: a pattern over the colour, or "": "/" of what failed, "." of what rests.
        soft: True draws them pale, to stand behind others.
        words: what stands in each where it has room.
        hover: what is told of each; its first line is its name.
    """

    name: str
    ink: Ink
    left: Sequence[float]
    right: Sequence[float]
    row: Sequence[float]
    height: float = 0.62
    hatch: str = ""
    soft: bool = False
    words: Sequence[str] = ()
    hover: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points; `label` stands at its end."""

    name: str
    ink: Ink
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    thick: bool = False
    label: str = ""
    hover: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What lies between two lines; `label` stands at its right end, in the middle of it."""

    name: str
    ink: Ink
    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    soft: bool = False
    hatch: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Signs at points."""

    name: str
    ink: Ink
    x: Sequence[float]
    y: Sequence[float]
    sign: str = "diamond"
    """"diamond", "circle", "square", "cross" or "tick"; "" where only the words stand."""
    words: Sequence[str] = ()
    """What stands at the right of each."""
    hover: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A line across the whole panel at one value of an axis, with what it means."""

    at: float
    label: str
    ink: Ink = "text"
    upright: bool = False
    """True of a value of the x axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Boxes with words in them, around points."""

    name: str
    ink: Ink
    x: Sequence[float]
    y: Sequence[float]
    width: float
    height: float
    words: Sequence[tuple[str, str]]
    """Of each: what it is, and a second line, smaller."""
    dashed: bool = False
    hover: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrows:
    """Arrows along points: a curve first and last, and a straight piece between two curves.

    Attributes:
        paths: the points of each, (x, y), an even number.
        down: True of arrows that leave and arrive upright, False of those that run to the right.
    """

    name: str
    ink: Ink
    paths: Sequence[Sequence[tuple[float, float]]]
    down: bool = False
    dashed: bool = False


Layer = Bars | Line | Area | Marks | Rule | Boxes | Arrows


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A pair of axes, and what is drawn between them, the first at the back.

    Attributes:
        title: what it shows; "" where the picture's says it.
        height: of the field between the axes, in pixels.
        right: pixels kept free at the right end, for labels.
        frame: False leaves the axes away.
    """

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""
    height: float = 200
    right: float = 0
    frame: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure.

    Attributes:
        title: what it shows.
        said: the same in numbers, in one line.
        rows: its panels, side by side in each row.
        text: all of it in words, for whoever cannot see it: a short table.
        width: in pixels.
    """

    title: str
    said: str
    rows: tuple[tuple[Panel, ...], ...]
    text: str
    width: float = WIDTH

    def __iter__(self) -> Iterator[Panel]:
        return (panel for row in self.rows for panel in row)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the field of a panel lies in a picture: pixels from its upper left corner."""

    panel: Panel
    left: float
    top: float
    width: float
    height: float

    def x(self, value: float) -> float:
        """Where a value of the x axis lies."""
        return self.left + _share(self.panel.x, value) * self.width

    def y(self, value: float) -> float:
        """Where a value of the y axis lies."""
        share = _share(self.panel.y, value)
        return self.top + (share if self.panel.y.down else 1 - share) * self.height


def _share(axis: Axis, value: float) -> float:
    return (value - axis.low) / (axis.high - axis.low)


def placed(picture: Picture) -> tuple[list[Place], float]:
    """The panels' places, and the height of the whole, in pixels.

    Panels that stand in one column keep the same room for the labels at their left, so that their fields line up.
    """
    columns = max((len(row) for row in picture.rows), default=1)
    gutters = [max((_gutter(row[n]) for row in picture.rows if n < len(row)), default=0.0) for n in range(columns)]
    places, top = [], float(_TOP)
    for row in picture.rows:
        cell = (picture.width - (len(row) - 1) * _GAP) / len(row)
        head = max(_HEAD if panel.title else 0 for panel in row)
        for n, panel in enumerate(row):
            left = n * (cell + _GAP) + gutters[n]
            wide = cell - gutters[n] - max(panel.right, _RIGHT)
            places.append(Place(panel, left, top + head, wide, panel.height))
        top += head + max(panel.height + _foot(panel) for panel in row) + 10
    return places, top


def _gutter(panel: Panel) -> float:
    """Room for the labels of the y axis."""
    if not panel.frame:
        return 10.0
    if panel.y.ticks is None:
        return 64.0 + (14 if panel.y.title else 0)
    longest = max((len(label) for _, label in panel.y.ticks), default=0)
    return 18 + _LETTER * min(longest, _LONGEST)


def _foot(panel: Panel) -> float:
    """Room for the labels of the x axis, and its title."""
    return (40.0 if panel.x.title else 24.0) if panel.frame else 0.0


def stepped(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points of a line that stays at each value until the next one comes: always the same places for the same `x`.

    >>> stepped([0, 1, 3], [5, 7, 9])
    ([0, 1, 1, 3, 3], [5, 5, 7, 7, 9])
    """
    there, values = [*x[:1]], [*y[:1]]
    for at, was, now in zip(x[1:], y, y[1:], strict=False):
        there += [at, at]
        values += [was, now]
    return there, values


@dataclass(frozen=True, slots=True)
class EndLabel:
    """What stands at the right end of a line or an area.

    Attributes:
        x: of the end, on the axis.
        y: likewise.
        top: where the words stand, in pixels from the picture's upper edge.
    """

    text: str
    ink: Ink
    x: float
    y: float
    top: float


_LINE = 15.0
"""Pixels from one label to the next below it."""


def end_labels(place: Place) -> list[EndLabel]:
    """The labels at the right ends of a panel's lines and areas, moved apart where they would lie on each other."""
    found = []
    for layer in place.panel.layers:
        if isinstance(layer, (Line, Area)) and layer.label and layer.x:
            y = layer.y[-1] if isinstance(layer, Line) else (layer.low[-1] + layer.high[-1]) / 2
            found.append(EndLabel(layer.label, layer.ink, layer.x[-1], y, place.y(y)))
    found.sort(key=lambda label: label.top)
    tops = _apart([label.top for label in found], place.top + 4, place.top + place.height)
    return [replace(label, top=top) for label, top in zip(found, tops, strict=True)]


def _apart(tops: list[float], least: float, most: float) -> list[float]:
    """`tops`, which ascend, each a line or more below the one before it; moved up where the last would leave `most`."""
    for n, top in enumerate(tops):
        tops[n] = max(top, tops[n - 1] + _LINE if n else least)
    for n in reversed(range(len(tops))):
        tops[n] = min(tops[n], tops[n + 1] - _LINE if n + 1 < len(tops) else most)
    return tops
