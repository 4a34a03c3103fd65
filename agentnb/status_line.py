"""A run under way in one line of a terminal: how far it is, what it has taken so far, and what it is doing."""

from __future__ import annotations

import re

from agentnb.listing import columns
from agentnb.summary import Summary
from agentnb.wording import clock, cost, ended_steps, headline, marks_of, shown, used_of

__all__ = ["status_line"]

_BAR = 20
"""Columns of the bar where there is room, without its ends; half of them where there is little."""
_SHORTEST = 24
"""Columns for what the run is doing, before other parts are left out for it."""
_LEFT_OUT = ("run", "paid", "bar", "time")
"""The parts that go where the terminal is narrow, in this order."""
_STEP = re.compile(r"^step \d+ of \d+: ")
"""What is said of the place in the plan: here it stands before the bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HUES = {"run": 34, "ask": 33, "ok": 32, "bad": 31}
"""Colours of the states, as terminals number them."""


def status_line(summary: Summary, width: int, *, colour: bool = False) -> str:
    """The run in at most `width` columns: "● 2/5 |████      | 0:14 · $0.031 of $0.50 · calling query · r7-owl".

    Args:
        summary: what there is to show.
        width: columns of the terminal.
        colour: True paints the state and the bar, by sequences that take no columns.
    """
    s = shown(summary)
    icon, word, kind, why = headline(s)
    doing = " › ".join(filter(None, (_STEP.sub("", s.now) or why or word.lower(), s.inside)))
    doing = f"dry run: {doing}" if s.dry else doing
    total, ended = marks_of(s).total(), ended_steps(s)
    parts = {
        "state": f"{icon} {ended}/{total}" if total else icon,
        "bar": _bar(ended / total, _BAR // 2) if total else "",
        "time": "" if s.bare else clock(s.spent.seconds),
        "paid": _paid(s),
        "run": s.run,
    }
    for name in _LEFT_OUT:
        if width - _taken(parts) < min(_SHORTEST, columns(doing)):
            parts[name] = ""
    if parts["bar"] and width - _taken(parts) >= columns(doing) + _BAR - _BAR // 2:
        parts["bar"] = _bar(ended / total, _BAR)
    said = _fit(doing, width - _taken(parts))
    hue = f"\x1b[{_HUES[kind]}m" if colour and kind in _HUES else ""
    drawn = [f"{hue}{part}\x1b[0m" if hue else part for part in (_fit(parts["state"], width), parts["bar"]) if part]
    rest = " · ".join(filter(None, (parts["time"], parts["paid"], said, parts["run"])))
    return " ".join(filter(None, (*drawn, rest)))


def _taken(parts: dict[str, str]) -> int:
    """Columns that these take with what stands between them, and before what the run is doing."""
    apart = {"state": 1, "bar": 1}
    return sum(columns(part) + apart.get(name, 3) for name, part in parts.items() if part)


def _bar(part: float, size: int) -> str:
    """A bar of `size` columns between its ends, drawn to an eighth of a column."""
    whole, rest = divmod(round(part * size * 8), 8)
    return f"|{('█' * whole + _EIGHTHS[rest].strip()).ljust(size)}|"


def _paid(s: Summary) -> str:
    """Dollars against their cap, else tokens against theirs, else what there is."""
    caps = {gauge.limit: gauge for gauge in s.gauges}
    gauge = caps.get("usd") or caps.get("tokens")
    return used_of(gauge) if gauge else cost(s)


def _fit(text: str, width: int) -> str:
    """`text` in at most so many columns; "" where there is no room for any of it."""
    if columns(text) <= width:
        return text
    while text and columns(text) >= width:
        text = text[:-1]
    return f"{text}…" if text else ""
