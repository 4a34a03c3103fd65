"""Tables of a few columns, as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.display import display

__all__ = ["Listing", "show", "show_text"]

_WIDEST = 100


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
        head = "".join(f'<th scope="col" style="text-align:left">{escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{_row(row)}</tr>" for row in self.rows)
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        caption = f'<caption style="text-align:left">{escape(self.caption)}</caption>'
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="agentnb">{table}{note}</div>'


def show(what: Any) -> None:
    """Display a listing, or anything else with `as_text` and `as_html`."""
    display({"text/plain": what.as_text(), "text/html": what.as_html()}, raw=True)


def show_text(text: str) -> None:
    """Display text as it is laid out."""
    display({"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}, raw=True)


def _row(cells: Sequence[str]) -> str:
    first, *rest = (escape(cell) for cell in cells)
    left = 'style="text-align:left"'
    return f'<th scope="row" {left}>{first}</th>' + "".join(f"<td {left}>{cell}</td>" for cell in rest)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
