"""The progress of fetching a model's weights, wherever it is watched."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import TYPE_CHECKING, Any, Final, Self

from IPython.display import display

from agentnb.notebook.host import Host

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["Fetching"]

_PAUSE_S: Final = 0.2


class Fetching:
    """A progress bar in a notebook, a line in a terminal, silent in a headless run; a context manager.

    Args:
        host: the front end.
        name: what is fetched.
    """

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name
        self._handle: DisplayHandle | None = None
        self._next = 0.0

    def __call__(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Take note that `done_bytes` of `total_bytes` are there."""
        now = time.monotonic()
        if now < self._next and done_bytes < total_bytes:
            return
        self._next = now + _PAUSE_S
        text = f"{self._name}: {done_bytes // 1_000_000} of {total_bytes // 1_000_000} MB, {label}"
        if self._host.updates_in_place:
            self._draw(text, done_bytes, total_bytes)
        elif self._host.audience == "tty":
            sys.stdout.write(f"\r\x1b[K{text}")
            sys.stdout.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._host.audience == "tty" and self._next:
            sys.stdout.write("\r\x1b[K")

    def _draw(self, text: str, done: int, total: int) -> None:
        label = escape(text)
        bar = f'<label>{label} <progress value="{done}" max="{total}">{label}</progress></label>'
        bundle: dict[str, Any] = {"text/plain": text, "text/html": bar}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
