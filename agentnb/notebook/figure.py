"""A picture as a Plotly figure that is also seen where no script runs.

It holds few traces, whatever there is to draw: bars that look alike are one trace, their places typed arrays, which
take a third of the bytes that lists of numbers take in a saved notebook.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

import plotly.graph_objects as go
import plotly.io as pio

from agentnb.markdown import clean
from agentnb.palette import DARK, EITHER, LIGHT, Theme
from agentnb.picture import (
    WIDTH,
    Area,
    Arrows,
    Bars,
    Boxes,
    Line,
    Marks,
    Panel,
    Picture,
    Place,
    Rule,
    end_labels,
    placed,
)
from agentnb.svg import svg

__all__ = ["Figure", "figure"]

_FONT: Final = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_SIGNS: Final = {"diamond": "diamond", "circle": "circle", "cross": "x", "square": "square", "tick": "line-ns"}
Drawing = Bars | Line | Area | Marks | Boxes | Arrows
"""What becomes traces."""
_MATHS: Final = "&#36;"
"""A dollar sign that no MathJax takes for the beginning of a formula."""


class Figure(go.Figure):
    """A Plotly figure, with the same as SVG and as text beside it.

    Whatever is changed in it afterwards, the SVG and the text stay what they were.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._beside: dict[str, str] = {}
        super().__init__(*args, **options)

    def beside(self, drawing: str, text: str) -> Figure:
        """This figure, with that SVG and that text to be shown beside it."""
        self._beside = {"text/plain": text, "image/svg+xml": drawing}
        return self

    _ipython_display_ = None
    _repr_html_ = None
    """Plotly's own would show its own MIME type alone, and add a page that loads its script from elsewhere; without
    them a notebook takes the bundle below, with whatever the user's renderer puts into it."""

    def _repr_mimebundle_(self, *args: Any, **options: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(*args, **options)
        return self._beside | bundle

    @property
    def svg(self) -> str:
        """The figure as an SVG element."""
        return self._beside.get("image/svg+xml", "")

    @property
    def text(self) -> str:
        """The figure in words: a short table."""
        return self._beside.get("text/plain", "")

    def __repr__(self) -> str:
        return self.text or super().__repr__()


def figure(picture: Picture, *, dark: bool | None = None) -> Figure:
    """The picture as a figure.

    Args:
        picture: what to draw.
        dark: whether the page is dark; None takes Plotly's default template where that is a dark one, and else colours
            that can be read on light and dark pages.
    """
    theme = _theme(dark=dark)
    places, height = placed(picture)
    drawing = _Drawing(theme, places, picture.width, height)
    for number, place in enumerate(places, start=1):
        drawing.add(place, "" if number == 1 else str(number))
    made = Figure(data=drawing.traces, layout=drawing.layout(picture))
    said = clean("\n".join(filter(None, (picture.title, picture.said, picture.text))))
    return made.beside(svg(picture, None if theme is EITHER else theme), said)


def _theme(*, dark: bool | None) -> Theme:
    """The colours to draw in: as asked for, or as the user's own template says, `pio.templates.default`."""
    if dark is None:
        return DARK if "dark" in (pio.templates.default or "") else EITHER
    return DARK if dark else LIGHT


class _Drawing:
    """The traces and the layout, as they come together."""

    def __init__(self, theme: Theme, places: Sequence[Place], width: float, height: float) -> None:
        self.theme, self.width, self.height = theme, width, height
        self.traces: list[dict[str, Any]] = []
        self.axes: dict[str, Any] = {}
        self.shapes: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self._left, self._top = places[0].left, places[0].top
        self._right = max(place.left + place.width for place in places)
        self._bottom = max(place.top + place.height for place in places)
        self._scales: dict[tuple[float, ...], str] = {}
        """The first panel with each scale: who zooms into one zooms into those below it too."""

    def add(self, place: Place, axis: str) -> None:
        """Draw one panel on the axes of that number."""
        panel = place.panel
        scale = (panel.x.low, panel.x.high, place.left, place.width)
        follows = self._scales.setdefault(scale, axis)
        moves = {"matches": f"x{follows}"} if follows != axis else {}
        self.axes[f"xaxis{axis}"] = self._axis(panel, place, axis, upright=False) | moves
        self.axes[f"yaxis{axis}"] = self._axis(panel, place, axis, upright=True)
        if panel.title:
            self._note(axis, f"<b>{_html(panel.title)}</b>", 0, 1, xanchor="left", yanchor="bottom", ref=" domain")
        for layer in panel.layers:
            if isinstance(layer, Rule):
                self._rule(layer, axis)
                continue
            for trace in self._layer(layer, axis):
                where = {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "showlegend": False}
                self.traces.append(trace | where | {"name": _html(layer.name)})
        for label in end_labels(place):
            self._note(
                axis, f"<b>{_html(label.text)}</b>", label.x, label.y, xanchor="left", xshift=4,
                yshift=round(place.y(label.y) - label.top, 1), font={"color": self.theme[label.ink]},
            )  # fmt: skip

    def layout(self, picture: Picture) -> dict[str, Any]:
        """What is around the traces; call it when every panel is drawn."""
        text = {"color": self.theme["text"], "family": _FONT, "size": 12}
        title = f"<b>{_html(picture.title)}</b><br><span style='font-size:12px'>{_html(picture.said)}</span>"
        margin = {"l": self._left, "r": self.width - self._right, "t": self._top,
                  "b": self.height - self._bottom, "autoexpand": False}  # fmt: skip
        return {
            "template": "none", "font": text, "height": self.height, "margin": margin,
            "width": self.width if self.width > WIDTH else None,
            "title": {"text": title, "x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top",
                      "pad": {"l": 10, "t": 12}, "font": {"size": 16}},
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "barmode": "overlay",
            "hoverlabel": {"align": "left", "namelength": 0, "font": {"family": _FONT, "size": 12, "color": "#ffffff"},
                           "bgcolor": "#2b2b2b", "bordercolor": "#777777"},
            "hovermode": "closest", "dragmode": "zoom", "uniformtext": {"minsize": 9, "mode": "hide"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": self.theme["grey"], "activecolor": self.theme["blue"],
                        "remove": ["select2d", "lasso2d", "autoScale2d"]},
            "shapes": self.shapes, "annotations": self.notes, **self.axes,
        }  # fmt: skip

    def _axis(self, panel: Panel, place: Place, number: str, *, upright: bool) -> dict[str, Any]:
        axis = panel.y if upright else panel.x
        ends = [axis.high, axis.low] if axis.down else [axis.low, axis.high]
        found: dict[str, Any] = {
            "range": ends, "zeroline": False, "showgrid": axis.grid, "gridcolor": self.theme["faint"],
            "linecolor": self.theme["faint"], "showline": not upright, "automargin": False, "ticks": "outside",
            "ticklen": 6 if upright else 3, "tickangle": 0, "tickcolor": "rgba(0,0,0,0)",
            "anchor": f"{'x' if upright else 'y'}{number}", "visible": panel.frame,
            "title": {"text": _html(axis.title), "font": {"size": 12}, "standoff": 6},
            "tickprefix": _html(axis.prefix), "ticksuffix": _html(axis.suffix),
            "domain": self._domain(place, upright=upright), "fixedrange": upright,
        }  # fmt: skip
        if axis.ticks is not None:
            found |= {"tickvals": [at for at, _ in axis.ticks], "ticktext": [_html(label) for _, label in axis.ticks]}
        return found

    def _domain(self, place: Place, *, upright: bool) -> list[float]:
        """Which part of the room inside the margins the panel takes."""
        if upright:
            room = self._bottom - self._top
            bottom = 1 - (place.top + place.height - self._top) / room
            return [max(0.0, round(bottom, 5)), min(1.0, round(bottom + place.height / room, 5))]
        room = self._right - self._left
        start = (place.left - self._left) / room
        return [max(0.0, round(start, 5)), min(1.0, round(start + place.width / room, 5))]

    def _note(self, axis: str, text: str, x: float, y: float, *, ref: str = "", **more: Any) -> None:
        self.notes.append(
            {"text": text, "x": x, "y": y, "xref": f"x{axis}{ref}", "yref": f"y{axis}{ref}", "showarrow": False} | more
        )

    def _layer(self, layer: Drawing, axis: str) -> Iterator[dict[str, Any]]:
        match layer:
            case Bars():
                yield self._bars(layer)
            case Line():
                shape = {"color": self.theme[layer.ink], "width": 2.5 if layer.thick else 1.6}
                shape |= {"dash": "dash"} if layer.dashed else {}
                yield {"type": "scatter", "mode": "lines", "line": shape,
                       "x": _typed(layer.x), "y": _typed(layer.y), **_hover(layer.hover)}  # fmt: skip
            case Area():
                yield self._area(layer)
            case Marks():
                yield self._marks(layer)
            case Boxes():
                yield from self._boxes(layer, axis)
            case Arrows():
                yield from self._arrows(layer)

    def _bars(self, bars: Bars) -> dict[str, Any]:
        wide = [right - left for left, right in zip(bars.left, bars.right, strict=True)]
        marker: dict[str, Any] = {"color": self.theme[bars.ink], "line": {"width": 0}}
        if bars.hatch:
            marker["pattern"] = {"shape": bars.hatch, "size": 6, "solidity": 0.15 if bars.soft else 0.45,
                                 "fgcolor": marker["color"], "bgcolor": _pale(marker["color"])}  # fmt: skip
        elif bars.soft:
            marker["color"] = _pale(marker["color"])
        words = {"text": [_html(word) for word in bars.words], "textposition": "inside", "textangle": 0,
                 "insidetextanchor": "middle", "insidetextfont": {"color": self.theme["text"]}}  # fmt: skip
        return {"type": "bar", "orientation": "h", "base": _typed(bars.left), "x": _typed(wide),
                "y": _typed(bars.row), "width": bars.height, "marker": marker, **(words if bars.words else {}),
                **_hover(bars.hover)}  # fmt: skip

    def _area(self, area: Area) -> dict[str, Any]:
        colour = self.theme[area.ink]
        pale = area.soft or area.hatch
        fill: dict[str, Any] = {"fill": "toself", "fillcolor": _pale(colour) if pale else colour}
        if area.hatch:
            fill["fillpattern"] = {"shape": area.hatch, "size": 6, "solidity": 0.4, "fgcolor": colour,
                                   "bgcolor": "rgba(0,0,0,0)"}  # fmt: skip
        return {"type": "scatter", "mode": "lines", "line": {"width": 0},
                "x": _typed([*area.x, *reversed(area.x)]), "y": _typed([*area.low, *reversed(area.high)]),
                "hoverinfo": "skip", **fill}  # fmt: skip

    def _marks(self, marks: Marks) -> dict[str, Any]:
        found = {"type": "scatter", "x": _typed(marks.x), "y": _typed(marks.y), "cliponaxis": False,
                 **_hover(marks.hover)}  # fmt: skip
        if marks.words:
            found |= {"text": [_html(word) for word in marks.words], "textposition": "middle right"}
        if not marks.sign:
            return found | {"mode": "text"}
        sign: dict[str, Any] = {"symbol": _SIGNS[marks.sign], "size": 8, "color": self.theme[marks.ink]}
        if marks.sign == "tick":
            sign |= {"size": 14, "line": {"width": 2, "color": self.theme[marks.ink]}}
        return found | {"mode": "markers+text" if marks.words else "markers", "marker": sign}

    def _rule(self, rule: Rule, axis: str) -> None:
        along, across = ("y", "x") if rule.upright else ("x", "y")
        line = {"color": self.theme[rule.ink], "width": 1, "dash": "dot"}
        self.shapes.append(
            {"type": "line", "line": line, f"{along}ref": f"{along}{axis} domain", f"{along}0": 0, f"{along}1": 1,
             f"{across}ref": f"{across}{axis}", f"{across}0": rule.at, f"{across}1": rule.at}
        )  # fmt: skip
        where = {f"{along}ref": f"{along}{axis} domain", f"{across}ref": f"{across}{axis}"}
        at = {along: 1 if rule.upright else 0.004, across: rule.at}
        text = {"text": _html(rule.label), "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
        self.notes.append(text | where | at)

    def _boxes(self, boxes: Boxes, axis: str) -> Iterator[dict[str, Any]]:
        colour, wide, high = self.theme[boxes.ink], boxes.width / 2, boxes.height / 2
        line = {"color": colour, "width": 1.2, "dash": "dash" if boxes.dashed else "solid"}
        for x, y in zip(boxes.x, boxes.y, strict=True):
            self.shapes.append(
                {"type": "rect", "xref": f"x{axis}", "yref": f"y{axis}", "x0": x - wide, "x1": x + wide, "y0": y - high,
                 "y1": y + high, "line": line, "fillcolor": _pale(colour), "layer": "below"}
            )  # fmt: skip
        words = [f"<b>{_html(first)}</b>" + (f"<br>{_html(second)}" if second else "") for first, second in boxes.words]
        yield {"type": "scatter", "mode": "text", "x": _typed(boxes.x), "y": _typed(boxes.y),
               "text": words, "textposition": "middle center", **_hover(boxes.hover)}  # fmt: skip

    def _arrows(self, arrows: Arrows) -> Iterator[dict[str, Any]]:
        points: list[tuple[float, float]] = []
        for path in arrows.paths:
            for start, end in zip(path[::2], path[1::2], strict=True):
                points += _bent(start, end, down=arrows.down)
            points.append((float("nan"), float("nan")))
        line = {"color": self.theme[arrows.ink], "width": 1.4, "dash": "dash" if arrows.dashed else "solid"}
        yield {"type": "scatter", "mode": "lines", "x": _typed([x for x, _ in points]),
               "y": _typed([y for _, y in points]), "line": line, "hoverinfo": "skip"}  # fmt: skip
        heads = {"symbol": "arrow", "angle": 180 if arrows.down else 90, "size": 9, "color": self.theme[arrows.ink]}
        ends = [path[-1] for path in arrows.paths]
        yield {"type": "scatter", "mode": "markers", "x": _typed([x for x, _ in ends]),
               "y": _typed([y for _, y in ends]), "marker": heads, "hoverinfo": "skip"}  # fmt: skip


_BEND: Final = 12
"""Pieces of a bent line."""


def _bent(start: tuple[float, float], end: tuple[float, float], *, down: bool) -> list[tuple[float, float]]:
    """Points of a curve that leaves and arrives along the way of its arrow."""
    (x0, y0), (x1, y1) = start, end
    found = []
    for n in range(_BEND + 1):
        t = n / _BEND
        along, across = 1.5 * t * (1 - t) + t**3, 3 * t * t - 2 * t**3
        x, y = (across, along) if down else (along, across)
        found.append((x0 + (x1 - x0) * x, y0 + (y1 - y0) * y))
    return found


def _typed(values: Sequence[float]) -> dict[str, str]:
    """Numbers as Plotly writes typed arrays; 64 bits, for half a second in a day is lost in 32."""
    data = array("d", values)
    return {"dtype": "f8", "bdata": base64.b64encode(data.tobytes()).decode("ascii")}


def _hover(told: Sequence[str]) -> dict[str, Any]:
    if not told:
        return {"hoverinfo": "skip"}
    return {"customdata": [_html(text, bold=True) for text in told], "hovertemplate": "%{customdata}<extra></extra>"}


def _html(text: str, *, bold: bool = False) -> str:
    """`text` in the few tags that Plotly knows, its own characters all harmless."""
    first, *rest = escape(clean(text), quote=False).replace("$", _MATHS).split("\n")
    return "<br>".join([f"<b>{first}</b>" if bold else first, *rest])


def _pale(colour: str) -> str:
    """A colour of INKS, let through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"
