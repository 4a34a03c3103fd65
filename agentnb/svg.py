"""A picture as SVG: what is seen where no script runs, on GitHub, in exported pages and in print.

Words take the colour of the page that the drawing stands in; a drawing that is a page or an image of its own has a grey
that can be read on light and dark. No id and no number in it changes from one drawing of a picture to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from agentnb.markdown import clean
from agentnb.palette import EITHER, INKS, Ink, Theme
from agentnb.picture import (
    WIDTH,
    Area,
    Arrows,
    Bars,
    Boxes,
    Layer,
    Line,
    Marks,
    Picture,
    Place,
    Rule,
    end_labels,
    placed,
)
from agentnb.scale import ticks_of

__all__ = ["svg"]

_FONT: Final = 'font-family="system-ui,\'Segoe UI\',Roboto,Helvetica,Arial,sans-serif" font-size="12"'
_STYLE: Final = (
    ".agentnb-figure{color:var(--jp-content-font-color1,inherit)}"
    f".agentnb-figure:root{{color:{EITHER['text']}}}"
    ".agentnb-figure:root text{opacity:1}"  # on its own it has no words to make paler
)
_TICK_EVERY: Final = 70
"""Pixels from one tick to the next, at least; upright half of it."""
_NO_XML: Final = dict.fromkeys(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF))
"""Code points that are no characters, and that no XML may hold."""
_SIGNS: Final = {
    "diamond": "M{x} {y}m0-5l5 5-5 5-5-5z",
    "circle": "M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M{x} {y}m-5-5h10v10h-10z",
    "cross": "M{x} {y}m-5-3l2-2 3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3z",
    "tick": "M{x} {y}m-1-7h2v14h-2z",
}


def svg(picture: Picture, theme: Theme | None = None) -> str:
    """The picture as an SVG element, well-formed; every text in it is escaped.

    Args:
        picture: what to draw.
        theme: colours for a page that is known to be light or dark; None takes the words' colour from the page.
    """
    places, height = placed(picture)
    colours = theme or EITHER | {"text": "currentColor"}
    fits = "max-width:100%;height:auto" if picture.width <= WIDTH else ""  # a wide one is scrolled, not made small
    size = f'width="{_n(picture.width)}" height="{_n(height)}" viewBox="0 0 {_n(picture.width)} {_n(height)}"'
    body = "\n".join("".join(_panel(place, colours)) for place in places)
    told = _text(f"{picture.said}\n{picture.text}", lines=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="agentnb-figure" role="img" {size} {_FONT}'
        f' fill="{colours["text"]}" style="{fits}">\n'
        f"<title>{_text(picture.title)}</title><desc>{told}</desc>\n"
        f"<style>{_STYLE}</style>{_hatches(picture)}\n"
        f'<text x="10" y="22" font-size="16" font-weight="600">{_text(picture.title)}</text>'
        f'<text x="10" y="42" opacity=".75">{_text(picture.said)}</text>\n{body}\n</svg>'
    )


def _panel(place: Place, theme: Theme) -> Iterator[str]:
    panel = place.panel
    if panel.title:
        left = place.left if panel.frame else 10.0
        yield f'<text x="{_n(left)}" y="{_n(place.top - 10)}" font-weight="600">{_text(panel.title)}</text>'
    if panel.frame:
        yield from _axes(place, theme)
    for layer in panel.layers:
        yield from _layer(layer, place, theme)
    for label in end_labels(place):
        yield (
            f'<text x="{_n(place.x(label.x) + 6)}" y="{_n(label.top + 4)}" font-weight="600"'
            f' fill="{theme[label.ink]}">{_text(label.text)}</text>'
        )


def _axes(place: Place, theme: Theme) -> Iterator[str]:
    x, y = place.panel.x, place.panel.y
    right, bottom = place.left + place.width, place.top + place.height
    lines = [f"M{_n(place.left)} {_n(bottom)}H{_n(right)}"]
    across = ticks_of(x, max(3, int(place.width / _TICK_EVERY)))
    if x.grid:
        lines += [f"M{_n(place.x(value))} {_n(place.top)}V{_n(bottom)}" for value, _ in across]
    up = ticks_of(y, max(3, int(place.height / _TICK_EVERY * 2)))
    if y.grid:
        lines += [f"M{_n(place.left)} {_n(place.y(value))}H{_n(right)}" for value, _ in up]
    yield f'<path d="{"".join(lines)}" stroke="{theme["faint"]}" fill="none"/>'
    yield '<g text-anchor="middle">'
    yield from (f'<text x="{_n(place.x(v))}" y="{_n(bottom + 16)}">{_text(label)}</text>' for v, label in across)
    if x.title:
        middle = place.left + place.width / 2
        yield f'<text x="{_n(middle)}" y="{_n(bottom + 33)}" opacity=".75">{_text(x.title)}</text>'
    if y.title:
        turned = f"{_n(max(12.0, place.left - 60))} {_n(place.top + place.height / 2)}"
        yield f'<text transform="translate({turned})rotate(-90)" opacity=".75">{_text(y.title)}</text>'
    yield '</g><g text-anchor="end">'
    yield from (f'<text x="{_n(place.left - 8)}" y="{_n(place.y(v) + 4)}">{_text(label)}</text>' for v, label in up)
    yield "</g>"


def _layer(layer: Layer, place: Place, theme: Theme) -> Iterator[str]:
    match layer:
        case Bars():
            yield from _bars(layer, place, theme)
        case Line():
            points = "L".join(f"{_n(place.x(x))} {_n(place.y(y))}" for x, y in zip(layer.x, layer.y, strict=True))
            dash = ' stroke-dasharray="5 4"' if layer.dashed else ""
            wide = "2.5" if layer.thick else "1.6"
            yield f'<path d="M{points}" fill="none" stroke="{theme[layer.ink]}" stroke-width="{wide}"{dash}/>'
        case Area():
            there = [(place.x(x), place.y(y)) for x, y in zip(layer.x, layer.low, strict=True)]
            back = [(place.x(x), place.y(y)) for x, y in zip(layer.x, layer.high, strict=True)]
            path = "L".join(f"{_n(x)} {_n(y)}" for x, y in [*there, *reversed(back)])
            yield f'<path d="M{path}z" {_fill(layer, theme)}/>'
            if layer.hatch:
                yield f'<path d="M{path}z" fill="url(#{_hatch(layer.ink)})"/>'
        case Marks():
            yield from _marks(layer, place, theme)
        case Rule():
            yield from _rule(layer, place, theme)
        case Boxes():
            yield from _boxes(layer, place, theme)
        case Arrows():
            yield from _arrows(layer, place, theme)


def _bars(bars: Bars, place: Place, theme: Theme) -> Iterator[str]:
    high = abs(place.y(bars.height) - place.y(0))
    path = []
    for left, right, row in zip(bars.left, bars.right, bars.row, strict=True):
        start = place.x(left)
        wide = max(0.6, place.x(right) - start)
        path.append(f"M{_n(start)} {_n(place.y(row) - high / 2)}h{_n(wide)}v{_n(high)}h-{_n(wide)}z")
    shape = "".join(path)
    yield f'<path d="{shape}" {_fill(bars, theme)}/>'
    if bars.hatch:
        faint = ' opacity=".4"' if bars.soft else ""  # words stand in front of it
        yield f'<path d="{shape}" fill="url(#{_hatch(bars.ink)})"{faint}/>'
    for word, left, right, row in zip(bars.words, bars.left, bars.right, bars.row, strict=False):
        if word and place.x(right) - place.x(left) > len(word) * 6 + 6:
            middle = place.x((left + right) / 2)
            yield f'<text x="{_n(middle)}" y="{_n(place.y(row) + 4)}" text-anchor="middle">{_text(word)}</text>'


def _marks(marks: Marks, place: Place, theme: Theme) -> Iterator[str]:
    spots = [(place.x(x), place.y(y)) for x, y in zip(marks.x, marks.y, strict=True)]
    if marks.sign:
        shape = "".join(_SIGNS[marks.sign].format(x=_n(x), y=_n(y)) for x, y in spots)
        yield f'<path d="{shape}" fill="{theme[marks.ink]}"/>'
    for word, (x, y) in zip(marks.words, spots, strict=False):
        yield f'<text x="{_n(x + 8)}" y="{_n(y + 4)}">{_text(word)}</text>'


def _rule(rule: Rule, place: Place, theme: Theme) -> Iterator[str]:
    right = place.left + place.width
    if rule.upright:
        x = _n(place.x(rule.at))
        path, words = f"M{x} {_n(place.top)}v{_n(place.height)}", f'x="{x}" y="{_n(place.top - 3)}"'
    else:
        y = place.y(rule.at)
        path, words = f"M{_n(place.left)} {_n(y)}H{_n(right)}", f'x="{_n(place.left + 6)}" y="{_n(y - 5)}"'
    yield f'<path d="{path}" stroke="{theme[rule.ink]}" stroke-dasharray="2 3"/>'
    yield f"<text {words}>{_text(rule.label)}</text>"


def _boxes(boxes: Boxes, place: Place, theme: Theme) -> Iterator[str]:
    wide, high = (
        abs(place.x(boxes.width) - place.x(0)),
        abs(place.y(boxes.height) - place.y(0)),
    )
    dash = ' stroke-dasharray="4 3"' if boxes.dashed else ""
    for x, y, (first, second) in zip(boxes.x, boxes.y, boxes.words, strict=True):
        left, top = place.x(x) - wide / 2, place.y(y) - high / 2
        yield (
            f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(wide)}" height="{_n(high)}" rx="6"'
            f' fill="{theme[boxes.ink]}" fill-opacity=".12" stroke="{theme[boxes.ink]}"{dash}/>'
            f'<text x="{_n(left + 8)}" y="{_n(place.y(y) + (-3 if second else 4))}" font-weight="600">'
            f"{_text(first)}</text>"
        )
        if second:
            below = f'x="{_n(left + 8)}" y="{_n(place.y(y) + 13)}"'
            yield f'<text {below} opacity=".75">{_text(second)}</text>'


def _arrows(arrows: Arrows, place: Place, theme: Theme) -> Iterator[str]:
    lines, heads = [], []
    for path in arrows.paths:
        points = [(place.x(x), place.y(y)) for x, y in path]
        x, y = points[-1]
        points[-1] = (x, y - 6) if arrows.down else (x - 6, y)
        lines.append(f"M{_n(points[0][0])} {_n(points[0][1])}")
        for n in range(0, len(points), 2):
            lines.append(f"L{_n(points[n][0])} {_n(points[n][1])}")
            lines.append(_bent(points[n], points[n + 1], down=arrows.down))
        heads.append(f"M{_n(x)} {_n(y)}{'l-4-7h8z' if arrows.down else 'l-7-4v8z'}")
    dash = ' stroke-dasharray="4 3"' if arrows.dashed else ""
    yield f'<path d="{"".join(lines)}" fill="none" stroke="{theme[arrows.ink]}" stroke-width="1.4"{dash}/>'
    yield f'<path d="{"".join(heads)}" fill="{theme[arrows.ink]}"/>'


def _bent(start: tuple[float, float], end: tuple[float, float], *, down: bool) -> str:
    """A curve that leaves and arrives along the way of its arrow."""
    (a, b), (c, d) = start, end
    handles = (a, (b + d) / 2, c, (b + d) / 2) if down else ((a + c) / 2, b, (a + c) / 2, d)
    return f"C{' '.join(map(_n, (*handles, c, d)))}"


def _fill(layer: Bars | Area, theme: Theme) -> str:
    return f'fill="{theme[layer.ink]}"' + (' fill-opacity=".16"' if layer.soft or layer.hatch else "")


def _hatch(ink: Ink) -> str:
    return f"agentnb-hatch-{ink}"


def _hatches(picture: Picture) -> str:
    """The patterns that are used, each by its colour: two drawings on one page mean the same by a name."""
    layers = (layer for panel in picture for layer in panel.layers)
    inks = sorted({layer.ink for layer in layers if isinstance(layer, (Bars, Area)) and layer.hatch})
    patterns = "".join(
        f'<pattern id="{_hatch(ink)}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<path d="M-1 7L7-1M-1 1L1-1M5 7L7 5" stroke="{INKS[ink]}" stroke-width="1.8"/></pattern>'
        for ink in inks
    )
    return f"<defs>{patterns}</defs>" if patterns else ""


def _text(text: str, *, lines: bool = False) -> str:
    said = clean(text).translate(_NO_XML)
    return escape(said if lines else said.replace("\n", " "), quote=True)


def _n(value: float) -> str:
    """A number of pixels with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
