"""What a run did when, as a picture: a lane for each kind of thing, bars as long as it took, decisions as marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentnb.blocks import Block, blocks_of, fitted
from agentnb.errors import ConfigError
from agentnb.lanes import WORK, Look, lanes_of, look_of
from agentnb.listing import aligned
from agentnb.markdown import line
from agentnb.picture import Axis, Bars, Layer, Marks, Panel, Picture
from agentnb.span import WRONG, Span
from agentnb.span_words import told_of, told_together, totals
from agentnb.stretch import Stretch, stretch_of
from agentnb.wording import count, money, number, seconds

__all__ = ["Window", "lanes_table", "paced", "timeline", "timeline_panel"]

_BARS: Final = 1500
"""Drawn at most; what is more is put together."""
_MARKS: Final = 60
"""Places of the axis on which decisions are told apart."""
_LEAST: Final = 0.0015
"""What the shortest bar takes of the axis: over a pixel. Pale bars, which touch each other, end so much earlier."""
_CHARACTERS: Final = 80_000
"""Of what is told of all bars together, so that a notebook stays small."""
_LANE: Final = 26.0
"""Pixels."""

Bit = tuple[float, float, Span]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that is shown.

    Attributes:
        start: seconds on the run's clock; None for its beginning.
        end: likewise; None for its end.
        step: the step, by its id, that is shown alone: "s40"; "" for all.
    """

    start: float | None = None
    end: float | None = None
    step: str = ""


def timeline(spans: Iterable[Span], window: Window | None = None, *, bare: bool = False) -> Picture:
    """The timeline of a run.

    Args:
        spans: the run's, and those of the runs inside it.
        window: what of it is shown.
        bare: True shows neither ids nor times that one replay has otherwise than the next.

    Raises:
        ConfigError: the window ends before it begins, or there is no such step.
    """
    spans = list(spans)
    start, end = _bounds(spans, window or Window())
    shown = [span for span in spans if _until(span, end) >= start and span.start <= end]
    panel, said = timeline_panel(shown, paced([shown], start, end), end, bare=bare)
    root = next((span for span in spans if span.parent is None), None)
    name = "" if bare or root is None else f" of {line(root.run, 60)}"
    part = f", step {line((window or Window()).step, 12)}" if window and window.step else ""
    return Picture(title=f"Timeline{name}{part}", said=said, rows=((panel,),), text=lanes_table(shown, bare=bare))


def paced(runs: Iterable[Sequence[Span]], start: float, end: float) -> Stretch:
    """The axis of time for these runs: a pause is drawn short where none of them was doing anything."""
    worked = [(span.start, _until(span, end)) for spans in runs for span in spans if span.op in WORK]
    return stretch_of(worked, start, end)


def timeline_panel(
    spans: Sequence[Span], stretch: Stretch, end: float, *, bare: bool = False, title: str = ""
) -> tuple[Panel, str]:
    """The lanes of these spans, and what they come to in one line.

    Args:
        spans: what is drawn.
        stretch: the axis of time.
        end: when what goes on is cut off, in seconds.
        bare: as of `timeline`.
        title: above the lanes.
    """
    lanes = lanes_of(spans)
    bits, marks = _bits(lanes, stretch, end)
    blocks = fitted(bits, stretch.length, _BARS)
    signs = {key: blocks_of(group, stretch.length / _MARKS) for key, group in marks.items()}
    told = sum(map(len, blocks.values())) + sum(map(len, signs.values()))
    most = max(24, min(120, _CHARACTERS // max(1, told) // 2))
    layers = [*_bars(blocks, stretch.length * _LEAST, most, bare=bare), *_marks(signs, most, bare=bare)]
    names = tuple((float(row), line(lane, 28)) for row, lane in enumerate(lanes))
    down = Axis(low=-0.5, high=max(len(lanes), 1) - 0.5, ticks=names, down=True, grid=False)
    panel = Panel(x=stretch.axis(), y=down, layers=tuple(layers), height=_LANE * max(len(lanes), 2), title=title)
    return panel, _said(spans, sum(map(len, bits.values())), sum(map(len, blocks.values())), bare=bare)


def _bounds(spans: Sequence[Span], window: Window) -> tuple[float, float]:
    """The first and the last moment that is shown, in seconds on the run's clock."""
    for name, at in (("start", window.start), ("end", window.end)):
        if not isinstance(at, int | float | None):
            raise ConfigError(f"{name}={at!r} is no number of seconds since the run began: give e.g. {name}=90")
    among = [span for span in spans if span.step == window.step] if window.step else spans
    if window.step and not among:
        steps = dict.fromkeys(span.step for span in spans if span.step)
        raise ConfigError(f"no step {window.step!r} in this run: it has {', '.join(steps) or 'none yet'}")
    first = min((span.start for span in among), default=0.0)
    last = max((span.start if span.end is None else span.end for span in among), default=0.0)
    start = first if window.start is None else window.start
    end = last if window.end is None else window.end
    if start > end:
        raise ConfigError(f"start={start:g} is after end={end:g}: the run goes from {first:g} to {last:g} seconds")
    return start, end


def _until(span: Span, end: float) -> float:
    """When it ended; what goes on goes on to the end of the picture."""
    return max(span.start, end) if span.end is None else span.end


def _bits(
    lanes: Mapping[str, Sequence[Span]], stretch: Stretch, end: float
) -> tuple[dict[tuple[int, Look], list[Bit]], dict[tuple[int, Look], list[Bit]]]:
    """Bars and marks, each with its place on the axis, by row and look."""
    bars: dict[tuple[int, Look], list[Bit]] = {}
    marks: dict[tuple[int, Look], list[Bit]] = {}
    for row, spans in enumerate(lanes.values()):
        for span in spans:
            among = marks if span.op == "decision" else bars
            bit = stretch.at(span.start), stretch.at(_until(span, end)), span
            among.setdefault((row, look_of(span)), []).append(bit)
    return bars, marks


def _bars(blocks: Mapping[tuple[int, Look], list[Block]], least: float, most: int, *, bare: bool) -> list[Layer]:
    """One layer for each look, those of failures on top."""
    found: dict[Look, list[tuple[int, Block]]] = {}
    for (row, look), group in blocks.items():
        found.setdefault(look, []).extend((row, block) for block in group)
    return [
        Bars(
            name=look.name,
            ink=look.ink,
            left=[block.left for _, block in placed],
            right=[max(block.right - (least if look.soft else 0), block.left + least) for _, block in placed],
            row=[float(row) for row, _ in placed],
            height=0.84 if look.soft else 0.62,
            hatch=look.hatch,
            soft=look.soft,
            words=[_word(block.spans, bare=bare) for _, block in placed] if look.soft else (),
            hover=[_told(block.spans, most, bare=bare) for _, block in placed],
        )
        for look, placed in sorted(found.items(), key=lambda item: (item[0].ink == "red", not item[0].soft))
    ]


def _marks(signs: Mapping[tuple[int, Look], list[Block]], most: int, *, bare: bool) -> list[Layer]:
    return [
        Marks(
            name=look.name,
            ink=look.ink,
            x=[block.left for block in group],
            y=[float(row)] * len(group),
            sign="cross" if look.ink == "red" else "diamond",
            hover=[_told(block.spans, most, bare=bare) for block in group],
        )
        for (row, look), group in sorted(signs.items(), key=lambda item: item[0][1].ink == "red")
    ]


def _word(spans: Sequence[Span], *, bare: bool) -> str:
    """What stands in a pale bar: a step's id, or how long was waited."""
    first, last = spans[0], spans[-1]
    if first.op in ("wait", "rest"):
        return "" if bare or first.open else seconds(sum(span.seconds for span in spans))
    one, other = (span.step or span.name for span in (first, last))
    return line(one if len(spans) == 1 else f"{one}–{other}", 24)


def _told(spans: Sequence[Span], most: int, *, bare: bool) -> str:
    return told_of(spans[0], most, bare=bare) if len(spans) == 1 else told_together(spans, bare=bare)


def _said(spans: Sequence[Span], bits: int, blocks: int, *, bare: bool) -> str:
    """What it comes to, in one line."""
    calls = [span for span in spans if span.op == "chat" and not span.cached]
    tools = [span for span in spans if span.op == "execute_tool"]
    failed = sum(span.status in WRONG for span in (*calls, *tools))
    waits = sum(span.seconds for span in spans if span.op in ("wait", "rest"))
    usd = sum(span.usd for span in calls)
    parts = (
        count(len(calls), "model call"),
        count(len(tools), "tool call"),
        f"{number(failed)} failed (red, hatched)" if failed else "",
        "" if bare or waits < 1 else f"{seconds(waits)} at rest or waiting for a person",
        money(usd) if usd else "",
        f"{number(bits)} bars drawn as {number(blocks)}: start=, end= or step= looks closer" if blocks < bits else "",
    )
    return " · ".join(filter(None, parts)) if spans else "nothing has happened yet"


def lanes_table(spans: Sequence[Span], *, bare: bool) -> str:
    """How often each thing was done, how often it failed, what it took and cost."""
    heads = ["what", "how often", "failed", *([] if bare else ["in all"]), "used"]
    rows = [
        [
            line(lane, 28),
            number(len(among)),
            number(sum(span.status in WRONG for span in among)),
            *([] if bare else [seconds(sum(span.seconds for span in among))]),
            totals(among),
        ]
        for lane, among in lanes_of(spans).items()
    ]
    return "\n".join(aligned([heads, *rows])) if rows else "nothing has happened yet"
