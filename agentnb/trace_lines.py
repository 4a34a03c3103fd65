"""A tree of spans as lines of text and as a table of HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from agentnb.listing import aligned, columns
from agentnb.markdown import clean, line
from agentnb.notes import brief_args, first_line
from agentnb.preview import cut_text
from agentnb.render import card
from agentnb.span import WRONG, Span
from agentnb.wording import count, money, number, seconds, without_runs

__all__ = ["HTML_LINES", "TEXT_LINES", "Line", "kept", "tree_html", "tree_text"]

TEXT_LINES, HTML_LINES = 60, 120
"""Lines that are shown of a long tree."""

_ICONS: Final = {
    "open": "●", "empty": "–", "simulated": "≈", "proposed": "◇", "suspended": "‖", "stopped": "■", "cancelled": "■",
    "in_doubt": "?", "lost": "?", "withdrawn": "○", "dropped": "✗",
}  # fmt: skip
_GROUPS: Final = frozenset({"invoke_agent", "plan", "step", "summarise", "answer"})
_TEXT: Final = 500
"""Characters of what went in, and of what came out, in the table."""
_NAME: Final = 60
_STYLE: Final = (
    ".agentnb.agentnb .trace{width:100%;table-layout:auto;border-collapse:collapse;margin:0}"
    ".agentnb.agentnb .trace :is(td,th){text-align:right;white-space:nowrap;vertical-align:top;padding:1px 0 1px 14px}"
    ".agentnb.agentnb .trace th:first-child{padding:1px 4px 1px 0;min-width:14px}"
    ".agentnb.agentnb .trace :is(td,th):nth-child(2){text-align:left;white-space:normal;width:100%;padding-left:8px}"
    ".agentnb .trace summary{color:inherit}"
    ".agentnb .trace pre{text-align:left}"
    ".agentnb.agentnb .trace b{font-weight:400}.agentnb.agentnb .trace .group b{font-weight:600}"
    ".agentnb .trace .bad :is(th,b,small){color:color-mix(in srgb,#e5383b 70%,currentColor)}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A span in its tree.

    Attributes:
        depth: how many spans it is inside of.
        span: what is shown.
        usd: of it and all its parts, in US dollars.
        tokens: the same of tokens, in and out.
    """

    depth: int
    span: Span
    usd: float
    tokens: int


def kept(wrong: Sequence[bool], most: int) -> list[int]:
    """Which of so many lines are shown, by their place; a number below 0 stands for so many that are left out.

    The first ones and the last ones, and between them those that went wrong, as far as there is room.
    """
    total = len(wrong)
    if total <= most:
        return list(range(total))
    ends = most // 3
    chosen = {*range(ends), *range(total - ends, total)}
    chosen |= set([place for place in range(ends, total - ends) if wrong[place]][: most - 2 * ends])
    found: list[int] = []
    for place in range(total):
        if place in chosen:
            found.append(place)
        elif found[-1] < 0:
            found[-1] -= 1
        else:
            found.append(-1)
    return found


def _icon(span: Span) -> str:
    if span.op == "decision" and span.status == "ok":
        return "·"
    return "✗" if span.status in WRONG - {"in_doubt", "lost"} else _ICONS.get(span.status, "✓")


def _what(span: Span) -> str:
    """What it was, in a few words."""
    match span.op:
        case "invoke_agent":
            return span.name if span.child else "run"
        case "chat":
            said = f"chat {span.phase}{f', try {span.attempt}' if span.attempt > 1 else ''}"
            return f"{said} · {line(span.model, _NAME)}{' · from the cache' if span.cached else ''}"
        case "execute_tool":
            args = line(brief_args(span.args), _NAME) if span.args else ""
            return f"{line(span.name, _NAME)}({args}){f', try {span.attempt}' if span.attempt > 1 else ''}"
        case "wait":
            return f"waits for a person: {span.name}"
        case "rest":
            return f"rests: {line(span.name, _NAME)}"
        case _:
            return line(span.name, _NAME)


def _why(span: Span) -> str:
    """What is worth saying of it beside its name."""
    if span.op == "invoke_agent" and not span.child:
        return span.status.replace("_", " ")
    if span.op == "step":
        return "" if span.text in ("", span.tool) else line(span.text)
    shown = span.status.replace("_", " ") if span.status not in ("ok", "open") and span.op != "decision" else ""
    by = f"by {line(span.by, 40)}" if span.op == "wait" and span.by else ""
    return ": ".join(filter(None, (shown, by, line(first_line(span.text)))))


def _took(span: Span) -> str:
    if span.open:
        return "…"
    return "" if span.op == "decision" else _brief(span.seconds)


def _brief(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else seconds(value)


def _numbers(row: Line, *, dollars: bool) -> list[str]:
    spent = [money(row.usd) if row.usd else ""] if dollars else []
    return [_brief(row.span.start), _took(row.span), number(row.tokens) if row.tokens else "", *spent]


def _heads(lines: Sequence[Line | int]) -> tuple[list[str], bool]:
    dollars = any(isinstance(row, Line) and row.usd for row in lines)
    return ["at", "took", "tokens", *(["cost"] if dollars else [])], dollars


def tree_text(title: str, lines: Sequence[Line | int], *, bare: bool) -> str:
    """The tree, a line a span; `bare` leaves out its times, and ids of runs."""
    heads, dollars = _heads(lines)
    same = without_runs if bare else str
    first = 2 if bare else 0  # of the numbers
    cells = [["", *heads[first:]]]
    for row in lines:
        if isinstance(row, int):
            cells.append([f"  ⋮ {count(row, 'more span')}", *[""] * (len(heads) - first)])
        else:
            cells.append(
                [
                    f"{'  ' * row.depth}{_icon(row.span)} {same(_what(row.span))}",
                    *_numbers(row, dollars=dollars)[first:],
                ]
            )
    table = aligned(cells)
    widest = max(map(columns, table))
    said = ["", *("" if isinstance(row, int) else same(_why(row.span)) for row in lines)]
    return "\n".join(
        [
            title,
            *(f"{made}{' ' * (widest - columns(made))}  {why}".rstrip() for made, why in zip(table, said, strict=True)),
        ]
    )


def tree_html(title: str, lines: Sequence[Line | int], texts: Callable[[Span], tuple[str, str]], *, bare: bool) -> str:
    """The tree as a table of HTML.

    Args:
        title: what it is of.
        lines: what is shown.
        texts: gives what went into a span and what came out.
        bare: True leaves out its times, and ids of runs.
    """
    heads, dollars = _heads(lines)
    same = without_runs if bare else str
    first = 2 if bare else 0
    names = ["", "what", *heads[first:]]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(
        f"<tr><td></td><td>⋮ {count(row, 'more span')}</td></tr>"
        if isinstance(row, int)
        else _row(row, _numbers(row, dollars=dollars)[first:], texts, same)
        for row in lines
    )
    table = f'<table class="trace"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return card(f"<header><b>{escape(title)}</b></header><div>{table}</div>", style=_STYLE)


def _row(
    row: Line, numbers: Sequence[str], texts: Callable[[Span], tuple[str, str]], same: Callable[[str], str]
) -> str:
    span = row.span
    kinds = " ".join(filter(None, ("bad" * (span.status in WRONG), "group" * (span.op in _GROUPS))))
    indent = "\u2003" * row.depth  # a space that no page's style collapses, and that GitHub keeps
    why = f" <small>·\xa0{escape(same(_why(span)))}</small>" if _why(span) else ""
    what = f"{indent}<b>{escape(same(_what(span)))}</b>{why}"
    if span.op in ("chat", "execute_tool"):
        inner = "".join(_folded(*texts(span)))
        what = f"<details><summary>{what}</summary>{inner}</details>" if inner else what
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in numbers)
    label = escape(span.status.replace("_", " "))
    icon = f'<th scope="row"><span role="img" aria-label="{label}">{_icon(span)}</span></th>'
    marked = f' class="{kinds}"' if kinds else ""
    return f"<tr{marked}>{icon}<td>{what}</td>{cells}</tr>"


def _folded(went_in: str, came_out: str) -> Iterator[str]:
    """Of a long prompt its end is shown: all of a run's begin alike."""
    went_in, came_out = clean(went_in), clean(came_out)
    more = len(went_in) - _TEXT
    shown = went_in if more <= 0 else f"{number(more)} characters before …{went_in[more:]}"
    for name, text in (("in", shown), ("out", cut_text(came_out, _TEXT))):
        if text:
            yield f"<small>{name}</small><pre>{escape(text)}</pre>"
