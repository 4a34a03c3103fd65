"""What the `%agent` commands show."""

from __future__ import annotations

from html import escape
from typing import Protocol

from IPython.display import display

from agentnb.notebook.hiding import hidden

__all__ = ["show", "show_text"]


class Shown(Protocol):
    """A view in both forms."""

    def as_text(self) -> str:
        """For terminals."""

    def as_html(self) -> str:
        """For notebooks."""


def show(what: Shown) -> None:
    """Display a listing, or anything else in both forms."""
    display({"text/plain": hidden(what.as_text()), "text/html": hidden(what.as_html())}, raw=True)


def show_text(text: str) -> None:
    """Display text as it is laid out."""
    text = hidden(text)
    display({"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}, raw=True)
