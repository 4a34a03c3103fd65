"""The progress of what takes a while, fetching weights or reading many runs, wherever it is watched."""

from __future__ import annotations

import sys
import time
from html import escape
from typing import TYPE_CHECKING, Any, Final, Self

from IPython.display import display

from agentnb.notebook.host import Host

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["Counting", "Fetching"]

_PAUSE_S: Final = 0.2


class Progress:
    """A progress bar in a notebook, a line in a terminal, silent in a headless run; a context manager.

    Args:
        host: the front end.
        after_s: seconds for which nothing is shown.
    """

    def __init__(self, host: Host, after_s: float = 0.0) -> None:
        self._host = host
        self._handle: DisplayHandle | None = None
        self._next = time.monotonic() + after_s
        self._drawn = False

    def show(self, text: str, done: float, total: float) -> None:
        """Say `text`, and how much of the total is done; not more often than can be read."""
        now = time.monotonic()
        if now < self._next and (done < total or not self._drawn):
            return
        self._next, self._drawn = now + _PAUSE_S, True
        if self._host.updates_in_place:
            self._draw(text, done, total)
        elif self._host.audience == "tty":
            sys.stdout.write(f"\r\x1b[K{text}")
            sys.stdout.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._host.audience == "tty" and self._drawn:
            sys.stdout.write("\r\x1b[K")

    def _draw(self, text: str, done: float, total: float) -> None:
        label = escape(text)
        bar = f'<label>{label} <progress value="{done}" max="{total}">{label}</progress></label>'
        bundle: dict[str, Any] = {"text/plain": text, "text/html": bar}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class Fetching(Progress):
    """The progress of fetching a model's weights.

    Args:
        host: the front end.
        name: what is fetched.
    """

    def __init__(self, host: Host, name: str) -> None:
        super().__init__(host)
        self._name = name

    def __call__(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Take note that `done_bytes` of `total_bytes` are there."""
        text = f"{self._name}: {done_bytes // 1_000_000} of {total_bytes // 1_000_000} MB, {label}"
        self.show(text, done_bytes, total_bytes)


class Counting(Progress):
    """The progress of what goes through many things: shown only where that takes longer than a second, then gone.

    Args:
        host: the front end.
        what: they are: "runs".
    """

    def __init__(self, host: Host, what: str = "runs") -> None:
        super().__init__(host, after_s=1.0)
        self._what = what

    def __call__(self, done: int, total: int) -> None:
        """Take note that so many are done."""
        self.show(f"{done:,} of {total:,} {self._what}".replace(",", " "), done, total)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)
