"""Where the cell runs: which front end, whether anybody is there to answer, and how."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentnb.notebook.comms import CommPump

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["Audience", "Host", "host_of"]

Audience = Literal["widgets", "stdin", "tty", "none"]
"""Who can answer: in a notebook, below the cell; in a console's input; at a terminal; nobody."""

_ANSWERS: Mapping[Audience, str] = {
    "widgets": "somebody, below the cell",
    "stdin": "somebody, by typing",
    "tty": "somebody, at this terminal",
    "none": "nobody",
}


@dataclass(frozen=True, slots=True)
class Host:
    """The front end of one cell.

    Attributes:
        front_end: its name, for people.
        audience: who can answer there.
        notebook: the notebook's file, where that can be known.
        clickable: False where this kernel lets nobody click while a cell runs.
    """

    front_end: str
    audience: Audience
    notebook: Path | None = None
    clickable: bool = True

    @property
    def updates_in_place(self) -> bool:
        """True where a display can be replaced by its id: a console shows the first version and never a later one."""
        return self.audience == "widgets"

    @property
    def who_answers(self) -> str:
        """Who can answer there, in words."""
        return _ANSWERS[self.audience]


def host_of(shell: InteractiveShell | None) -> Host:
    """The host of the cell that `shell` is running now. Ask on the thread that runs the cell, in every cell anew."""
    if shell is None:
        return Host("plain Python", "none")
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        terminal = sys.stdin is not None and sys.stdin.isatty()
        return Host("terminal IPython" if terminal else "IPython without a terminal", "tty" if terminal else "none")
    request = kernel.get_parent("shell")
    notebook = _notebook(shell.user_ns)
    if not (request.get("content") or {}).get("allow_stdin"):
        return Host("a headless run (nbclient, papermill, nbval, …)", "none", notebook)
    if "cellId" not in (request.get("metadata") or {}):
        return Host("a console", "stdin", notebook)
    vs_code = "__vsc_ipynb_file__" in shell.user_ns or "VSCODE_PID" in os.environ
    return Host("VS Code" if vs_code else "JupyterLab or Notebook", "widgets", notebook, CommPump(kernel).usable)


def _notebook(names: Mapping[str, Any]) -> Path | None:
    """VS Code tells by a variable, a Jupyter server by the session's name, which is a path only for notebooks."""
    named = names.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return Path(named) if str(named).endswith(".ipynb") else None
