"""The button below a run under way that does what ■ does: one widget, there only while it can be pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import display

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["StopButton"]


class StopButton:
    """A button that calls `stop` once; whoever reads a saved notebook finds nothing of it.

    Args:
        stop: what it does; it may be called on any thread.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._button: Any = None
        self._handle: DisplayHandle | None = None

    def show(self) -> None:
        """Display it; the same button where it was displayed before, and that is gone."""
        if self._button is None:
            self._button = self._made()
        view = {"version_major": 2, "version_minor": 0, "model_id": self._button.model_id}
        bundle = {"text/plain": "■ stops it", "application/vnd.jupyter.widget-view+json": view}
        self._handle = display(bundle, raw=True, display_id=True)

    def remove(self) -> None:
        """Take it away."""
        if self._handle is None:
            return
        self._handle.update({"text/plain": ""}, raw=True)
        for part in (self._button.layout, self._button.style, self._button):
            part.close()

    def _made(self) -> Any:
        from ipywidgets import Button

        said = "Suspend the run, as ■ does; a tool that is being called in the kernel may have to return first"
        made = Button(description="Stop", tooltip=said, layout={"width": "auto"})
        for name in ("agentnb", "stop"):
            made.add_class(name)
        made.on_click(lambda _: self._pressed())
        return made

    def _pressed(self) -> None:
        self._button.disabled, self._button.description = True, "Stopping…"
        self._stop()
