"""The exception that ends a cell: two lines and no traceback, yet a real error that stops Run All and fails nbval."""

from __future__ import annotations

from agentnb.errors import AgentError, CassetteError, StoreError
from agentnb.notebook.hiding import hidden

__all__ = ["CellError", "in_two_lines"]


class CellError(Exception):
    """What went wrong in a cell, and what to do about it.

    IPython's own UsageError writes to stderr with no error output, and nbval passes such a cell.

    Args:
        what: what happened, one line.
        todo: what to do, one line.
    """

    def __init__(self, what: str, todo: str) -> None:
        self.what, self.todo = (" ".join(hidden(text).split()) for text in (what, todo))
        super().__init__(f"{self.what}: {self.todo}")

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython and ipykernel show in place of a traceback."""
        return [f"agentnb: {self.what}", self.todo]


def in_two_lines(error: AgentError, hint: str = "`%agent` lists the commands") -> CellError:
    """`error` as a cell shows it; its message says what happened, a colon, and then what to do.

    Args:
        error: what was raised.
        hint: what to do, where the message does not say it, nor the kind of error.

    >>> in_two_lines(AgentError("the task is empty: say in words what is wanted"))._render_traceback_()
    ['agentnb: the task is empty', 'say in words what is wanted']
    """
    what, _, todo = hidden(str(error)).partition(": ")
    return CellError(what, todo or _of_kind(error) or hint)


def _of_kind(error: AgentError) -> str:
    if isinstance(error, StoreError):
        return "`%agent doctor` says where the store is and whether it can be written"
    if isinstance(error, CassetteError):
        return "`%agent cassette FILE` says what is in a cassette"
    return ""
