"""Tables of a few columns, as text and as HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

from agentnb.markdown import clean

__all__ = ["Listing", "aligned", "columns"]

_WIDEST = 100
_UNBROKEN = 24
_CELL = "text-align:left;vertical-align:top;padding:2px 18px 2px 0"
_HEAD = f"{_CELL};white-space:nowrap"
_CAPTION = "text-align:left;padding:0 0 4px;color:inherit;font-weight:600"
_BAD = "color:color-mix(in srgb,#e5383b 70%,currentColor)"
_NUMBER = re.compile(r"[<$]{0,2}[\d\u202f ,.]*\d( ?(kB|MB|days|h|min|s))?")


@dataclass(frozen=True, slots=True)
class Listing:
    """A table; whatever it is made of, nothing that is shown of it steers a terminal or turns the reading order.

    Attributes:
        caption: what it lists, one line.
        columns: their headings.
        rows: as many cells as columns in each; the first names the row.
        note: what to do next, one line, or "".
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def as_text(self) -> str:
        """Aligned columns under the caption."""
        lines = [[_one_line(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths, numbers = [max(map(columns, column)) for column in zip(*lines, strict=True)], self._numbers()
        table = [
            "  ".join(
                cell.rjust(width) if place in numbers else cell + " " * (width - columns(cell))
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join(filter(None, [clean(self.caption), *(table if self.rows else ()), clean(self.note)]))

    def as_html(self) -> str:
        """A table with caption and scopes; everything in it is escaped."""
        if not self.rows:
            return f"<p>{_escaped(self.caption)}. {_escaped(self.note)}</p>"
        numbers = self._numbers()
        head = "".join(
            f'<th scope="col" style="{_side(_HEAD, right=place in numbers)}">{_escaped(name)}</th>'
            for place, name in enumerate(self.columns)
        )
        body = "".join(f"<tr>{_row(row, numbers)}</tr>" for row in self.rows)
        note = f"<p>{_escaped(self.note)}</p>" if self.note else ""
        caption = f'<caption style="{_CAPTION}">{_escaped(self.caption)}</caption>'
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="agentnb"><div style="overflow-x:auto">{table}</div>{note}</div>'

    def _numbers(self) -> frozenset[int]:
        """The columns, counted from 0, that hold nothing but numbers; they are read against their right end."""
        held = ((place, [cell for cell in column if cell]) for place, column in enumerate(zip(*self.rows, strict=True)))
        return frozenset(place for place, cells in held if place and cells and all(map(_NUMBER.fullmatch, cells)))


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: Chinese, Japanese and Korean letters take two each."""
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of numbers as lines: the first column to the left, the others to the right."""
    first, *rest = (max(map(columns, column)) for column in zip(*rows, strict=True))
    return [
        "  ".join([name + " " * (first - columns(name)), *map(str.rjust, cells, rest)]).rstrip()
        for name, *cells in rows
    ]


def _row(cells: Sequence[str], numbers: Collection[int]) -> str:
    first, *rest = cells
    named = f'<th scope="row" style="{_HEAD}{_hue(first)}">{_escaped(first)}</th>'
    return named + "".join(_cell(text, right=place in numbers) for place, text in enumerate(rest, start=1))


def _side(style: str, *, right: bool) -> str:
    return style.replace("text-align:left", "text-align:right") if right else style


def _hue(text: str) -> str:
    """The colour of what is wrong, as a further style."""
    return f";{_BAD}" if text.startswith("✗") else ""


def _cell(text: str, *, right: bool) -> str:
    short = len(text) <= _UNBROKEN  # ids, states and amounts stay in one piece, sentences wrap
    style = _side(_CELL, right=right) + (";white-space:nowrap" if short else "") + _hue(text)
    return f'<td style="{style}">{_escaped(text)}</td>'


def _escaped(text: str) -> str:
    return escape(clean(text))


def _one_line(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
