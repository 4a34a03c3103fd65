"""Pictures as SVG: well-formed, small, and the same each time."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.palette import DARK, EITHER, INKS, LIGHT, PHASE_INKS
from agentnb.picture import (
    Area,
    Arrows,
    Axis,
    Bars,
    Boxes,
    Layer,
    Line,
    Marks,
    Panel,
    Picture,
    Rule,
    end_labels,
    placed,
)
from agentnb.scale import ticks_of
from agentnb.svg import svg
from agentnb.timeline import timeline
from tests.figures import HOSTILE, parsed, told

NAMESPACE = "{http://www.w3.org/2000/svg}"


def everything(text: str) -> Picture:
    """A picture with each kind of layer, `text` wherever there can be one."""
    layers: tuple[Layer, ...] = (
        Bars(name=text, ink="blue", left=[0], right=[9], row=[0], hatch="/", soft=True, words=[text], hover=[text]),
        Line(name=text, ink="green", x=[0, 5, 10], y=[0, 1, 2], dashed=True, label=text, hover=[text] * 3),
        Area(name=text, ink="orange", x=[0, 5, 10], low=[0, 0, 0], high=[1, 2, 3], hatch="/", label=text),
        *(Marks(name=text, ink="red", x=[1], y=[1], sign=sign, words=[text], hover=[text])
          for sign in ("diamond", "circle", "square", "cross", "tick", "")),
        Rule(at=2, label=text), Rule(at=3, label=text, upright=True),
        Boxes(name=text, ink="teal", x=[3], y=[3], width=2, height=1, words=[(text, text)], dashed=True, hover=[text]),
        Arrows(name=text, ink="grey", paths=[[(0, 0), (5, 5)], [(0, 0), (2, 2), (3, 2), (5, 5)]]),
    )  # fmt: skip
    x = Axis(low=0, high=10, title=text, prefix="$", suffix=text)
    panel = Panel(x=x, y=Axis(low=-1, high=10, title=text, ticks=((1, text),)), layers=layers, title=text)
    return Picture(title=text, said=text, rows=((panel, panel), (panel,)), text=text)


@given(st.text())
def test_whatever_text_is_in_a_picture_its_drawing_is_well_formed(text: str) -> None:
    """And the text is text: no element comes out of it."""
    plain, drawn = parsed(svg(everything("plain"))), parsed(svg(everything(text)))
    assert {node.tag for node in drawn.iter()} <= {node.tag for node in plain.iter()}


def test_hostile_text_draws_nothing() -> None:
    """No element, no attribute, no control character, no reversed reading order."""
    drawing = svg(everything(HOSTILE))
    assert f"{NAMESPACE}script" not in {node.tag for node in parsed(drawing).iter()}
    assert "\x1b" not in drawing
    assert "\u202e" not in drawing


def test_a_drawing_is_an_image_with_a_title_and_a_description() -> None:
    """For a screen reader: what it shows, and the same as a table."""
    picture = timeline(told(3))
    root = parsed(svg(picture))
    assert root.get("role") == "img"
    assert [node.tag for node in root][:2] == [f"{NAMESPACE}title", f"{NAMESPACE}desc"]
    assert root[0].text == picture.title
    assert picture.text in (root[1].text or "")


def test_a_thousand_spans_take_less_than_60_kb() -> None:
    """A notebook keeps the drawing beside the figure."""
    assert len(svg(timeline(told(230))).encode()) < 60_000


def test_a_drawing_is_the_same_each_time_and_has_no_id_but_those_of_patterns() -> None:
    """So that two of them can stand on one page, and a replay gives what is recorded."""
    picture = everything("x")
    assert svg(picture) == svg(picture)
    assert set(re.findall(r'\bid="([^"]+)"', svg(picture))) == {"agentnb-hatch-blue", "agentnb-hatch-orange"}


def test_words_take_the_colour_of_the_page_where_its_theme_is_not_known() -> None:
    """A theme that is known gives its own."""
    assert 'fill="currentColor"' in svg(everything("x"))
    assert f'fill="{DARK["text"]}"' in svg(everything("x"), DARK)


def test_numbers_stand_where_they_belong() -> None:
    """The axis' ends are the field's edges; a list runs downwards."""
    (place, *_), _ = placed(everything("x"))
    assert place.x(0) == place.left
    assert place.x(10) == place.left + place.width
    assert place.y(10) == place.top
    assert place.y(-1) == place.top + place.height


@given(st.lists(st.integers(0, 10), min_size=1, max_size=9))
def test_labels_at_the_ends_of_lines_never_lie_on_each_other(ends: list[int]) -> None:
    """They are moved apart, in the order of their lines."""
    lines = tuple(Line(name="a", ink="blue", x=[0, 1], y=[0, end], label=f"{n}") for n, end in enumerate(ends))
    axis = Axis(low=0, high=10)
    (place,), _ = placed(
        Picture(title="", said="", text="", rows=((Panel(x=axis, y=axis, layers=lines, height=200),),))
    )
    labels = end_labels(place)
    tops = [label.top for label in labels]
    assert all(below - above >= 15 - 1e-6 for above, below in pairwise(tops))
    assert [label.y for label in labels] == sorted(ends, reverse=True)


@given(st.floats(1e-6, 1e7), st.integers(1, 12))
def test_ticks_are_few_round_and_within_the_axis(high: float, most: int) -> None:
    """At most one more than asked for."""
    ticks = [value for value, _ in ticks_of(Axis(low=0, high=high), most)]
    assert 1 <= len(ticks) <= most + 1
    assert all(0 <= value <= high * (1 + 1e-6) for value in ticks)


def _light(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_light(one), _light(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#FFFFFF", "#111111"])
def test_every_colour_stands_out_on_light_and_on_dark(page: str) -> None:
    """3 : 1 for what is drawn; for words over 4 : 1, and 4.5 : 1 where the theme is known."""
    assert all(_contrast(colour, page) >= 3 for colour in INKS.values())
    assert _contrast(EITHER["text"], page) > 4.15
    assert _contrast((LIGHT if page == "#FFFFFF" else DARK)["text"], page) > 4.5


def _lab(linear: list[float]) -> list[float]:
    """CIE L*a*b*, D65, of linear RGB."""
    rows = ((0.4124, 0.3576, 0.1805, 0.9505), (0.2126, 0.7152, 0.0722, 1.0), (0.0193, 0.1192, 0.9505, 1.089))
    x, y, z = (max(0.0, sum(a * b for a, b in zip(row, linear, strict=False)) / row[3]) for row in rows)
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
"""How colours are seen, as Machado, Oliveira and Fernandes (2009) simulate it, in linear RGB."""


@pytest.mark.parametrize("eye", SEEN)
def test_any_two_colours_are_told_apart_by_every_eye(eye: str) -> None:
    """By a ΔE of 11 or more."""
    seen = []
    for colour in INKS.values():
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        got = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in SEEN[eye]]
        seen.append(_lab([min(1.0, max(0.0, part)) for part in got]))
    apart = min(
        sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        for n, one in enumerate(seen)
        for other in seen[:n]
    )
    assert apart >= 11
    assert set(PHASE_INKS.values()) <= set(INKS)
