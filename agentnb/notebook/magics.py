"""The magics themselves: a thin adapter, so that everything they do can be done from Python too.

Loading imports nothing of the runtime: `%load_ext agentnb` must cost nothing in a notebook that never runs an agent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from traitlets import Enum, Float, Unicode

from agentnb.errors import AgentError
from agentnb.notebook.arguments import APPROVE, cell_arguments, help_of, parsed, wants_help
from agentnb.notebook.cell_error import CellError, in_two_lines
from agentnb.notebook.hiding import hiding
from agentnb.notebook.listing import show_text
from agentnb.settings import MODES, SENT, VARIABLES, Settings

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["AgentMagics", "load", "unload"]


@magics_class
class AgentMagics(Magics):
    """`%%agent` and `%agent`. What is set here holds for the session: a flag beats it, and it beats the environment."""

    store = Unicode("", help="folder in which runs are kept; '' for AGENTNB_STORE, or .agentnb").tag(config=True)
    model = Unicode("", help="plans and answers; '' for AGENTNB_MODEL, or the default local model").tag(config=True)
    cheap_model = Unicode("", help="criticises; '' for AGENTNB_CHEAP_MODEL, or the model").tag(config=True)
    phases = Unicode("", help="'critique=MODEL,answer=MODEL'; '' for AGENTNB_PHASES, or none").tag(config=True)
    cassette = Unicode("", help="file of recorded model calls; '' for AGENTNB_CASSETTE, or none").tag(config=True)
    mode = Enum(["", *MODES], default_value="", help="where replies come from; '' for AGENTNB_MODE, or auto").tag(
        config=True
    )
    secrets = Unicode("", help="variables, as A,B, whose texts are secret; '' for AGENTNB_SECRETS, or none").tag(
        config=True
    )
    otel = Enum(["", *SENT], default_value="", help="what OpenTelemetry is told; '' for AGENTNB_OTEL, or off").tag(
        config=True
    )
    approve = Enum(list(APPROVE), default_value="ask", help="what happens before a call that acts").tag(config=True)

    idle_suspend_s = Float(1800.0, help="seconds without a press after which a card is left and the run rests").tag(
        config=True
    )

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._bound: dict[str, str] = {}

    @property
    def settings(self) -> Settings:
        """What holds now.

        Raises:
            ConfigError: the environment has a value that is not allowed.
        """
        return Settings.of(
            os.environ,
            store=self.store,
            model=self.model,
            cheap_model=self.cheap_model,
            phases=self.phases,
            cassette=self.cassette,
            mode=self.mode,
            secrets=self.secrets,
            otel=self.otel,
        )

    def _redact(self) -> Callable[[str], str]:
        from agentnb.notebook.namespace import redactor_here

        return redactor_here(self.secrets or os.environ.get(VARIABLES["secrets"], ""), self._shell.user_ns, os.environ)

    @no_var_expand
    @cell_magic("agent")  # type: ignore[arg-type]  # IPython types it for a function; it takes a name too
    @cell_arguments
    def run_cell(self, line: str, cell: str) -> None:
        """Carry out the task that the cell's text says: plan it, call tools, check each result, answer.

        `{name}` and `{a.b}` in the text are replaced by values of the notebook; write `{{name}}` for the text {name}.
        The result is shown, and bound to NAME as a Run whatever happens: `.output`, `.status`, `.plan`, `.spent`.
        """
        hint = "`%%agent?` explains every flag, `%agent` lists the commands"
        with hiding(self._redact), _two_lines("run the cell again", hint):
            if wants_help(line):
                show_text(help_of(self.run_cell.parser))
                return
            args = parsed(self.run_cell.parser, line)
            args.approve = args.approve or self.approve
            from agentnb.notebook.cell import carry_out

            carry_out(self._shell, self.settings, args, cell, self._bound, idle_s=self.idle_suspend_s)

    @no_var_expand
    @line_magic("agent")  # type: ignore[arg-type]  # IPython types it for a function; it takes a name too
    def run_line(self, line: str) -> None:
        """Look at runs, go on with them, and see what is here: `%agent` alone lists the commands."""
        name = line.split(maxsplit=1)[0] if line.strip() else "COMMAND"
        hint = f"`%agent {name} --help` explains it, `%agent` lists the commands"
        with hiding(self._redact), _two_lines("type it again", hint):
            from agentnb.notebook.commands import carry_out_command
            from agentnb.notebook.desk import Desk

            carry_out_command(Desk(self._shell, self.settings, self._bound, self.idle_suspend_s), line)

    def complete(self, _: Any, event: Any) -> list[str]:
        """What Tab offers; nothing where something is wrong, for Tab is no place for errors."""
        from agentnb.notebook.completion import complete

        try:
            found = self.settings
            return complete(event, self._shell.user_ns, found.model, Path(found.store).expanduser())
        except Exception:  # noqa: BLE001 - see above
            return []


@contextmanager
def _two_lines(again: str, hint: str) -> Iterator[None]:
    """Every error of ours, and an interrupt, as the two lines that a cell ends with."""
    try:
        yield
    except AgentError as error:
        raise in_two_lines(error, hint) from error
    except KeyboardInterrupt:
        raise CellError("stopped by you", f"{again}, or look at what there is with %agent runs") from None


_LINES = ("%agent", "%%agent")


def _with_body(lines: list[str]) -> list[str]:
    """A `%%agent` cell of one line with an empty one after it.

    IPython does not call the magic of a cell without a body, but raises its own UsageError, which nbval passes.
    """
    alone = len(lines) == 1 and lines[0].split()[:1] == ["%%agent"]
    return [*lines, "\n"] if alone else lines


_with_body.has_side_effects = True  # type: ignore[attr-defined]  # not for IPython's check whether a cell is complete


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion; the same when called again."""
    if "AgentMagics" in shell.magics_manager.registry:
        return
    magics = AgentMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.append(_with_body)
    for line in _LINES:
        shell.set_hook("complete_command", magics.complete, str_key=line)


def unload(shell: InteractiveShell) -> None:
    """Take the magics, their settings and their completion away again; nothing where they are not loaded."""
    magics = shell.magics_manager.registry.pop("AgentMagics", None)
    if magics is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("agent", None)
    shell.configurables.remove(magics)
    shell.input_transformers_cleanup.remove(_with_body)
    for line in _LINES:
        shell.strdispatchers["complete_command"].strs.pop(line, None)
