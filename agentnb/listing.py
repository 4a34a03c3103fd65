"""Tables of a few columns, as text and as HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Listing", "aligned", "columns"]

_WIDEST = 100
_UNBROKEN = 24
_CELL = "text-align:left;vertical-align:top;padding:2px 18px 2px 0"
_HEAD = f"{_CELL};white-space:nowrap"


@dataclass(frozen=True, slots=True)
class Listing:
    """A table.

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
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join(filter(None, [self.caption, *(table if self.rows else ()), self.note]))

    def as_html(self) -> str:
        """A table with caption and scopes; everything in it is escaped."""
        if not self.rows:
            return f"<p>{escape(self.caption)}. {escape(self.note)}</p>"
        head = "".join(f'<th scope="col" style="{_HEAD}">{escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{_row(row)}</tr>" for row in self.rows)
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        caption = f'<caption style="text-align:left;padding:0 0 4px">{escape(self.caption)}</caption>'
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="agentnb"><div>{table}</div>{note}</div>'


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


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f'<th scope="row" style="{_HEAD}">{escape(first)}</th>' + "".join(map(_cell, rest))


def _cell(text: str) -> str:
    short = len(text) <= _UNBROKEN  # ids, states and amounts stay in one piece, sentences wrap
    return f'<td style="{_CELL}{";white-space:nowrap" if short else ""}">{escape(text)}</td>'


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
