"""In which lane of a timeline a span is drawn, and how: what it is, and whether it failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from agentnb.cost import PHASES
from agentnb.palette import Ink
from agentnb.span import WRONG, Span

__all__ = ["WORK", "Look", "lane_of", "lanes_of", "look_of"]

WORK: Final = frozenset({"chat", "execute_tool", "backoff"})
"""What spans are of in which something is done, and not only waited for."""

_GROUPS: Final = frozenset({"plan", "step", "summarise", "answer"})
_MOST_TOOLS: Final = 12

_STEPS, _PERSON, _RETRY, _REST, _DECISIONS, _OTHERS = (
    "steps",
    "a person",
    "before a retry",
    "at rest",
    "decisions",
    "other tools",
)


class Look(NamedTuple):
    """How a bar is drawn.

    Attributes:
        name: what the bars that look like this are: "model calls".
        ink: their colour.
        hatch: their pattern, or "".
        soft: True of pale ones.
    """

    name: str
    ink: Ink
    hatch: str = ""
    soft: bool = False


_SHARED: Final = {"wait": _PERSON, "backoff": _RETRY, "rest": _REST}
"""Lanes that the runs inside a run have in common with it."""

_LOOKS: Final[Mapping[str, Look]] = {
    "chat": Look("model calls", "blue"),
    "execute_tool": Look("tool calls", "green"),
    "invoke_agent": Look("runs of other agents", "teal", soft=True),
    "wait": Look("waiting for a person", "purple", soft=True),
    "backoff": Look("waiting before a retry", "orange"),
    "rest": Look("at rest", "grey", soft=True),
    "decision": Look("decisions", "text"),
}
_STEP: Final = Look("steps", "grey", soft=True)


def look_of(span: Span) -> Look:
    """How it is drawn: red and hatched where it failed, pale while it goes on."""
    look = _LOOKS.get(span.op, _STEP)
    if span.status in WRONG:
        return Look(f"failed {look.name}", "red", "/", look.soft)
    return Look(f"{look.name} that go on", look.ink, look.hatch, soft=True) if span.open else look


def lane_of(span: Span, root: str, agents: Mapping[str, str], tools: frozenset[str]) -> str:
    """The name of its lane, "" where it is not drawn.

    Args:
        span: what to draw.
        root: the id of the run that is shown.
        agents: the names of the agents whose runs are inside it, by their ids.
        tools: those that have a lane of their own.
    """
    inside = "" if span.run == root else f"{agents.get(span.run, 'agent')}: "
    if span.op in _SHARED:
        return _SHARED[span.op]
    match span.op:
        case "chat":
            return f"{inside}model" if inside else f"model: {span.phase}"
        case "execute_tool":
            return f"{inside}tools" if inside else span.tool if span.tool in tools else _OTHERS
        case "invoke_agent":
            return "" if span.parent is None else f"agent {span.name}"
        case "decision":
            return _DECISIONS if not inside or span.status in WRONG else ""
        case _:
            return "" if inside else _STEPS


def lanes_of(spans: Iterable[Span]) -> dict[str, list[Span]]:
    """The spans by lane, from the top: steps, models by phase, tools, agents, a person, pauses, decisions."""
    spans = list(spans)
    root = next((span.run for span in spans if span.parent is None), "")
    agents = {span.child: span.name for span in spans if span.child}
    tools = _tools(spans, root)
    found: dict[str, list[Span]] = {}
    for span in spans:
        if lane := lane_of(span, root, agents, frozenset(tools)):
            found.setdefault(lane, []).append(span)
    first = [_STEPS, *(f"model: {phase}" for phase in PHASES), *tools]
    last = [_OTHERS, _PERSON, _RETRY, _REST, _DECISIONS]
    inside = [lane for lane in found if lane not in first and lane not in last]
    return {lane: found[lane] for lane in (*first, *inside, *last) if lane in found}


def _tools(spans: Iterable[Span], root: str) -> list[str]:
    """The tools of the run itself, as they came; where they are many, those that were called most."""
    many: dict[str, int] = {}
    for span in spans:
        if span.op == "execute_tool" and span.run == root and span.tool:
            many[span.tool] = many.get(span.tool, 0) + 1
    most = sorted(many, key=many.__getitem__, reverse=True)[:_MOST_TOOLS]
    return [tool for tool in many if tool in most]
