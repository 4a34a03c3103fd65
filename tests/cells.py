"""A notebook without a front end, for tests of what is typed in cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from agentnb import ScriptedModel, load_ipython_extension, unload_ipython_extension
from agentnb.notebook.cell_error import CellError
from tests.parts import NOTES, add, answer, note, plan, step, table, verdict


class Cells:
    """A notebook without a front end: cells run in a shell of their own, and what they show is kept."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.names: dict[str, Any] = shell.user_ns
        self.bundles: list[dict[str, Any]] = []

    def magic(self, method: str, *args: str) -> Any:
        """Call an untyped method of the shell."""
        return getattr(self.shell, method)(*args)

    def set(self, setting: str) -> None:
        """Run `%config AgentMagics.<setting>`."""
        self.magic("run_line_magic", "config", f"AgentMagics.{setting}")

    def cell(self, line: str, text: str) -> None:
        """Run a `%%agent` cell."""
        self._captured(lambda: self.magic("run_cell_magic", "agent", line, text))

    def line(self, text: str) -> str:
        """Run an `%agent` line; returns what it shows, as text."""
        self._captured(lambda: self.magic("run_line_magic", "agent", text))
        return self.text

    @property
    def text(self) -> str:
        """What the last cell showed as text/plain."""
        return "\n".join(bundle["text/plain"] for bundle in self.bundles)

    def offered(self, line: str) -> list[str]:
        """What Tab offers at the end of `line`."""
        with provisionalcompleter():
            return [found.text for found in self.shell.Completer.completions(line, len(line))]

    def error(self, line: str, text: str = "do it") -> tuple[str, str]:
        """The two lines that a `%%agent` cell ends with."""
        return self._error(lambda: self.cell(line, text))

    def line_error(self, text: str) -> tuple[str, str]:
        """The two lines that an `%agent` line ends with."""
        return self._error(lambda: self.line(text))

    def _error(self, work: Callable[[], object]) -> tuple[str, str]:
        with pytest.raises(CellError) as caught:
            work()
        what, todo = caught.value._render_traceback_()
        assert "\n" not in what + todo
        assert what
        assert todo
        return what, todo

    def _captured(self, work: Callable[[], object]) -> None:
        with capture_output() as shown:
            try:
                work()
            finally:
                self.bundles = [output.data for output in shown.outputs]


@contextmanager
def notebook_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    """A shell with the extension, the tools of `parts`, and an empty store."""
    monkeypatch.chdir(folder)
    for name in ("STORE", "MODEL", "CHEAP_MODEL", "PHASES", "CASSETTE", "MODE"):
        monkeypatch.delenv(f"AGENTNB_{name}", raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.cache_size = 0
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)  # `display` writes to the one instance
    load_ipython_extension(shell)
    shell.user_ns.update(add=add, table=table, note=note)
    NOTES.clear()
    yield Cells(shell)
    unload_ipython_extension(shell)
    InteractiveShell.clear_instance()


def scripted(*lines: Any) -> ScriptedModel:
    """A model for one run of the fixture's tools."""
    return ScriptedModel(lines)


def adding(text: str = "3") -> ScriptedModel:
    """A model that adds once and answers."""
    return scripted(plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer(text))
