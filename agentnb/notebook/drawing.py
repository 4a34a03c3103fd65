"""The `%agent` commands that draw a run: its figures, without what is secret here."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb.notebook.desk import Desk
from agentnb.notebook.hiding import Redact, in_force
from agentnb.notebook.viewing import seen

if TYPE_CHECKING:
    from agentnb.notebook.figure import Figure

__all__ = ["curve", "graph", "show_figure", "timeline"]


def show_figure(figure: Figure) -> None:
    """Display a figure, with its SVG and its text beside it."""
    display(_hidden(figure._repr_mimebundle_(), in_force()), raw=True)


def _hidden(node: Any, redact: Redact) -> Any:
    """`node` with every text in it as it may be shown; typed arrays hold numbers, and a change would break them."""
    match node:
        case str():
            return redact(node)
        case dict():
            return {name: item if name == "bdata" else _hidden(item, redact) for name, item in node.items()}
        case list() | tuple():
            return [_hidden(item, redact) for item in node]
        case _:
            return node


def timeline(desk: Desk, args: Namespace) -> None:
    """What a run did when, or for one step."""
    show_figure(seen(desk, args).timeline(step=args.step or ""))


def graph(desk: Desk, args: Namespace) -> None:
    """What informed what, or what led to one step."""
    show_figure(seen(desk, args).graph(args.step or ""))


def curve(desk: Desk, args: Namespace) -> None:
    """What a run cost as time went on."""
    show_figure(seen(desk, args).cost_curve(against="steps" if args.steps else "time"))
