"""What a run cost as time went on, as a picture: by phase, with what was reserved and saved, against each cap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final, Literal, get_args

from agentnb.budget import amount
from agentnb.cost import PHASES
from agentnb.curve import OTHER_AGENTS, Point, thinned
from agentnb.errors import ConfigError
from agentnb.listing import aligned
from agentnb.markdown import line
from agentnb.palette import PHASE_INKS, Ink
from agentnb.picture import Area, Axis, Layer, Line, Panel, Picture, Rule, stepped
from agentnb.scale import unit_of
from agentnb.wording import GAUGES, count, money, number

__all__ = ["Against", "cost_curve", "cost_panels"]

Against = Literal["time", "steps"]
"""What the curves run along."""

_POINTS: Final = 400
_IN_SIGHT: Final = 2.5
"""A cap is drawn among the amounts where it is at most so many times the largest of them: else they would lie flat."""
_ROOM: Final = 1.12
_END: Final = 1.015
_LABELS: Final = 150.0
"""Pixels for the words at the right end."""
_FULL: Final = 100.0
_CAP_INKS: Final[dict[str, Ink]] = {
    "usd": "blue", "tokens": "green", "input_tokens": "teal", "output_tokens": "purple", "model_calls": "orange",
    "steps": "grey", "tool_calls": "red", "seconds": "text", "working_seconds": "text",
}  # fmt: skip


def cost_curve(points: Sequence[Point], *, run: str = "", against: Against = "time", bare: bool = False) -> Picture:
    """The cost of a run: its phases on top of each other in dollars, or in tokens where nothing cost any.

    Args:
        points: as `curve` gives them.
        run: its id; "" shows none.
        against: time, or finished steps.
        bare: True leaves out the caps on time, which one replay reaches otherwise than the next.

    Raises:
        ConfigError: `against` is neither "time" nor "steps".
    """
    if against not in get_args(Against):
        raise ConfigError(f"against={against!r}: there are {', '.join(get_args(Against))}")
    last = points[-1] if points else None
    name = f" of {line(run, 60)}" if run else ""
    title = f"Cost{name} by phase"
    if last is None:
        said = "nothing has happened yet"
        return Picture(title=title, said=said, rows=((_empty(),),), text=said)
    first, second = cost_panels(points, against=against, bare=bare)
    return Picture(title=title, said=_said(last), rows=((first,), (second,)), text=_table(last, bare=bare))


def cost_panels(points: Sequence[Point], *, against: Against = "time", bare: bool = False) -> tuple[Panel, Panel]:
    """Amounts by phase, and the part of each cap that is used."""
    points = thinned(points, _POINTS)
    points = [*points, points[-1]]  # what it came to at last is seen as a short level line
    x, along = _along(points, against)
    amounts = _amounts_panel(points, replace(x, title=""), along)
    return amounts, _caps_panel(points, x, along, bare=bare)


def _along(points: Sequence[Point], against: Against) -> tuple[Axis, list[float]]:
    """The x axis, and where each point lies on it."""
    if against == "steps":
        title, along = "finished steps", [float(point.steps) for point in points]
    else:
        length, unit = unit_of(points[-1].t)
        title, along = f"{unit} since the run began", [point.t / length for point in points]
    high = max(along[-1] * _END, 1e-3)
    return Axis(low=0, high=high, title=title), [*along[:-1], high]


def _amounts_panel(points: Sequence[Point], x: Axis, along: Sequence[float]) -> Panel:
    last = points[-1]
    priced = _priced(last)
    cap = last.caps.get("usd" if priced else "tokens")
    spent = [point.spent.usd if priced else float(point.spent.tokens) for point in points]
    held = [point.held.usd if priced else float(point.held.tokens) for point in points]
    layers: list[Layer] = [*_phases(points, along, priced=priced), *_reserved(along, spent, held, cap)]
    edge = stepped(along, spent)
    layers.append(Line(name="spent", ink="text", x=edge[0], y=edge[1], hover=_hover(*edge, priced=priced)))
    high = max(s + h for s, h in zip(spent, held, strict=True))
    if priced and last.saved_usd > 0:
        dear = stepped(along, [s + point.saved_usd for s, point in zip(spent, points, strict=True)])
        label = f"{money(last.saved_usd)} saved"
        layers.append(Line(name="without savings", ink="text", x=dear[0], y=dear[1], dashed=True, label=label))
        high = max(high, dear[1][-1])
    noted = f"no cap on {'dollars' if priced else 'tokens'}" if cap is None else ""
    if cap is not None and cap <= high * _IN_SIGHT:
        layers.append(Rule(at=cap, label=f"the cap: {_cap(cap, priced=priced)}", ink="red"))
        high = max(high, cap)
    elif cap is not None:
        noted = f"the cap of {_cap(cap, priced=priced)} lies far above"
    title = " · ".join(filter(None, ("Dollars" if priced else "Tokens, in and out", noted)))
    y = Axis(low=0, high=max(high, 1e-6) * _ROOM, prefix="$" if priced else "")
    return Panel(x=x, y=y, layers=tuple(layers), title=title, height=230, right=_LABELS)


def _phases(points: Sequence[Point], along: Sequence[float], *, priced: bool) -> Iterable[Area]:
    """The phases on top of each other, those that cost nothing left out."""
    last = points[-1].usd if priced else points[-1].tokens
    shown = [phase for phase in (*PHASES, OTHER_AGENTS) if last.get(phase)]
    each = [[float((p.usd if priced else p.tokens).get(phase, 0)) for p in points] for phase in shown]
    tops = list(accumulate(each, lambda below, own: [a + b for a, b in zip(below, own, strict=True)]))
    for phase, floor, top in zip(shown, [[0.0] * len(points), *tops], tops, strict=False):
        there, low = stepped(along, floor)
        _, high = stepped(along, top)
        label = f"{phase} {_unit(last[phase], priced=priced)}"
        yield Area(name=phase, ink=PHASE_INKS[phase], x=there, low=low, high=high, label=label)


def _reserved(
    along: Sequence[float], spent: Sequence[float], held: Sequence[float], cap: float | None
) -> Iterable[Area]:
    """What was reserved on top of what was spent; never above the cap, which it was held to."""
    if not any(held):
        return
    most = cap if cap is not None else float("inf")
    top = [max(s, min(s + h, most)) for s, h in zip(spent, held, strict=True)]
    there, low = stepped(along, spent)
    yield Area(name="reserved", ink="grey", x=there, low=low, high=stepped(along, top)[1], hatch="/")


def _caps_panel(points: Sequence[Point], x: Axis, along: Sequence[float], *, bare: bool) -> Panel:
    """How much of each cap was used, in percent of it."""
    last = points[-1]
    layers: list[Layer] = [Rule(at=_FULL, label="the cap", ink="red")]
    for name in last.caps:
        if bare and name.endswith("seconds"):
            continue
        share = [_FULL * getattr(point.spent, name) / point.caps.get(name, last.caps[name]) for point in points]
        there = (along, share) if name.endswith("seconds") else stepped(along, share)
        used = getattr(last.spent, name)
        hover = [f"{GAUGES[name]}\n{value:.0f} % of {amount(name, last.caps[name])}" for value in there[1]]
        label = f"{GAUGES[name].lower()} {_FULL * used / last.caps[name]:.0f} %"
        layers.append(
            Line(name=GAUGES[name], ink=_CAP_INKS[name], x=there[0], y=there[1], label=label, hover=hover,
                 dashed=name == "working_seconds")
        )  # fmt: skip
    high = max([_FULL, *(max(layer.y, default=0) for layer in layers if isinstance(layer, Line))])
    y = Axis(low=0, high=high * _ROOM, suffix=" %")
    return Panel(x=x, y=y, layers=tuple(layers), title="Part of each cap that is used", height=150, right=_LABELS)


def _hover(x: Sequence[float], y: Sequence[float], *, priced: bool) -> list[str]:
    return [f"{_unit(value, priced=priced)} spent" for _, value in zip(x, y, strict=True)]


def _cap(cap: float, *, priced: bool) -> str:
    return amount("usd" if priced else "tokens", cap)


def _priced(point: Point) -> bool:
    """True where dollars tell more than tokens: any were spent or saved."""
    return bool(point.spent.usd or point.saved_usd)


def _unit(value: float, *, priced: bool) -> str:
    return money(value) if priced else number(value)


def _empty() -> Panel:
    return Panel(x=Axis(low=0, high=1), y=Axis(low=0, high=1), layers=(), height=60, frame=False)


def _said(last: Point) -> str:
    """What it comes to, in one line."""
    usd = f"{money(last.spent.usd)} spent" if _priced(last) else ""
    cap = f"of {amount('usd', last.caps['usd'])}" if usd and "usd" in last.caps else ""
    saved = f"{money(last.saved_usd)} saved" if last.saved_usd > 0 else ""
    tokens = count(last.spent.tokens, "token")
    hatched = "hatched: reserved while a call was under way"
    return " · ".join(filter(None, (f"{usd} {cap}".strip(), saved, tokens, hatched)))


def _table(last: Point, *, bare: bool) -> str:
    """What each phase cost, and what is used of each cap."""
    phases = [phase for phase in (*PHASES, OTHER_AGENTS) if last.tokens.get(phase) or last.usd.get(phase)]
    rows = [[phase, number(last.tokens.get(phase, 0)), money(last.usd.get(phase, 0))] for phase in phases]
    caps = [
        [GAUGES[name].lower(), amount(name, getattr(last.spent, name)), amount(name, cap)]
        for name, cap in last.caps.items()
        if not (bare and name.endswith("seconds"))
    ]
    return "\n".join([*aligned([["phase", "tokens", "dollars"], *rows]), "", *aligned([["cap", "used", "of"], *caps])])
