"""Spans, pictures and readers of figures for the tests of what is drawn."""

from __future__ import annotations

import base64
import json
from array import array
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from agentnb.events import Kept
from agentnb.picture import Area, Bars, Layer, Line, Marks, Picture
from agentnb.span import Op, Span

HOSTILE = "</text><script>alert(1)</script>\x1b[31m\u202e]]>&\"'`$x^2$<b>\x00\ufffe\n%{x}"
"""Text of strangers that tries everything."""


def kept(value: object) -> Kept:
    text = json.dumps(value)
    return Kept(len(text), text=text)


class Told:
    """Spans of a run, one after the other, on a clock that moves with them."""

    def __init__(self, run: str = "r7-abc") -> None:
        self.run, self.now = run, 0.0
        self.all = [Span(run=run, id=0, seq=0, parent=None, op="invoke_agent", name="run", start=0.0)]

    def add(self, op: Op, name: str, seconds: float = 0.0, status: str = "ok", **rest: Any) -> Span:
        seq = len(self.all)
        span = Span(
            run=self.run, id=seq, seq=seq, parent=0, op=op, name=name, start=self.now, end=self.now + seconds,
            status=status, **rest,
        )  # fmt: skip
        self.now += seconds
        self.all.append(span)
        return span

    def step(self, name: str, *, failed: bool = False) -> None:
        """A step: a call of a tool, which may fail and is made again, and a critique."""
        place, start = len(self.all), self.now
        self.all.append(Span(run=self.run, id=place, seq=place, parent=0, op="step", name=name, step=name, start=start))
        if failed:
            self.add("execute_tool", "query", 0.5, "failed", step=name, tool="query", failure="transient", text="503")
            self.add("backoff", "backoff", 1.0, step=name)
        again = 2 if failed else 1
        self.add(
            "execute_tool", "query", 1.5, step=name, tool="query", attempt=again, args=kept({"sql": "select 1"}),
            result=kept([[1, 2]]),
        )  # fmt: skip
        self.add(
            "chat", "critique", 1.0, step=name, phase="critique", model="anthropic:haiku", input_tokens=900,
            output_tokens=60, usd=0.002, result=kept({"verdict": "continue"}),
        )  # fmt: skip
        self.add("decision", "judged: continue", step=name, by="critic")
        self.all[place] = replace(self.all[place], end=self.now, status="ok")

    def ended(self) -> list[Span]:
        """All of them; the run is over."""
        self.all[0] = replace(self.all[0], end=self.now, status="completed")
        return self.all


def told(steps: int, failing: int = 7) -> list[Span]:
    """A run of so many steps, of which every `failing`-th fails once; four or five spans each."""
    run = Told()
    run.add("chat", "plan", 3.0, phase="plan", model="anthropic:sonnet", input_tokens=2000, output_tokens=300, usd=0.01)
    for n in range(1, steps + 1):
        run.step(f"s{n}", failed=n % failing == 0)
    return run.ended()


def layers(picture: Picture, kind: type[Layer]) -> list[Any]:
    """What of that kind is drawn in the picture."""
    return [layer for panel in picture for layer in panel.layers if isinstance(layer, kind)]


def words(picture: Picture) -> str:
    """Everything that is told by it where somebody points at it."""
    return "\n".join(text for kind in (Bars, Marks, Line) for layer in layers(picture, kind) for text in layer.hover)


def heights(picture: Picture, name: str) -> list[float]:
    """The upper edge of the area of that name."""
    return next(list(area.high) for area in layers(picture, Area) if area.name == name)


def parsed(drawing: str) -> ET.Element:
    """An SVG as an XML parser reads it; fails where it is not well-formed."""
    return ET.fromstring(drawing)  # noqa: S314 - our own


def numbers(typed: dict[str, str]) -> list[float]:
    """What is in one of Plotly's typed arrays."""
    found = array("d")
    found.frombytes(base64.b64decode(typed["bdata"]))
    return list(found)
