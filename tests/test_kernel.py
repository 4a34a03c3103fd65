"""The magics in real kernels and in a real terminal: interrupts, questions, threads, errors that stop Run All."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pexpect  # type: ignore[import-untyped]
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parent.parent
HANGS_S = 30
"""What takes longer than this hangs; nothing here is a benchmark."""
ENDS_S = 5.0
"""Seconds in which an interrupted cell ends on a loaded machine; alone it takes a tenth of one."""
IN_LAB = {"cellId": "c1"}

pytestmark = pytest.mark.slow

SETUP = """
%load_ext agentnb
import pathlib, sqlite3, threading, time
from agentnb import Agent, FailureClass, ModelError, ScriptedModel, tool
from tests.parts import add, answer, bind, note, plan, step, verdict

def hang(flag="hang"):
    "Says that it was reached, and stays as long as the flag lies there."
    if pathlib.Path(flag).exists():
        pathlib.Path("reached").touch()
        time.sleep(60)

class Model:
    "A scripted model that first does what it is told to."
    ref = "fake"
    def __init__(self, *lines, first=hang):
        self.script, self.first = ScriptedModel(lines, ref="fake"), first
    def ask(self, request):
        self.first()
        return self.script.ask(request)
"""


@dataclass
class Shown:
    """What a cell showed and how it ended."""

    status: str = ""
    text: str = ""
    """What was printed."""
    displays: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    asked: str = ""
    """What an input was asked for with."""
    seconds_after_interrupt: float = 0.0

    @property
    def last(self) -> str:
        """The record that stays, as text."""
        text: str = (self.updates or self.displays)[-1]["text/plain"]
        return text


class Kernel:
    """A kernel of its own, driven over the wire as a front end does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=environment(folder), independent=False)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        assert self.run(SETUP).errors == []

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def run(
        self,
        code: str,
        *,
        metadata: dict[str, Any] | None = None,
        types: list[str] | None = None,
        interrupt: Callable[[], bool] | None = None,
    ) -> Shown:
        """Run a cell to its end.

        Args:
            code: the cell.
            metadata: of the request; JupyterLab's has a cellId.
            types: what somebody types when asked; None: nobody is there.
            interrupt: the cell is interrupted once when this is true.
        """
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": types is not None or bool(metadata), "stop_on_error": True}
        message = self.client.session.msg("execute_request", content, metadata=metadata or {})
        self.client.shell_channel.send(message)
        shown, interrupted = Shown(), 0.0
        deadline = time.monotonic() + HANGS_S
        while not (shown.status and self._idle):
            assert time.monotonic() < deadline, f"hangs: {shown}"
            if interrupt and not interrupted and interrupt():
                interrupted = time.monotonic()
                self.manager.interrupt_kernel()
            self._listen(message["header"]["msg_id"], shown, types)
        shown.seconds_after_interrupt = time.monotonic() - interrupted if interrupted else 0.0
        self._idle = False
        return shown

    _idle = False

    def _listen(self, request: str, shown: Shown, types: list[str] | None) -> None:
        for channel in ("iopub", "shell", "stdin"):
            try:
                message = getattr(self.client, f"get_{channel}_msg")(timeout=0.02)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            content, kind = message["content"], message["msg_type"]
            match kind:
                case "stream":
                    shown.text += content["text"]
                case "display_data":
                    shown.displays.append(content["data"])
                case "update_display_data":
                    shown.updates.append(content["data"])
                case "error":
                    shown.errors.append(content)
                case "execute_reply":
                    shown.status = content["status"]
                case "status":
                    self._idle = content["execution_state"] == "idle"
                case "input_request" if types:
                    shown.asked += content["prompt"]
                    self.client.input(types.pop(0))

    def reached(self) -> bool:
        """True once what hangs was reached."""
        return (self.folder / "reached").exists()

    def hang(self) -> None:
        """From now on what can hang does."""
        (self.folder / "hang").touch()

    def go_on(self) -> None:
        """Nothing hangs any more."""
        (self.folder / "hang").unlink()
        (self.folder / "reached").unlink(missing_ok=True)

    def complete(self, code: str) -> list[str]:
        """What Tab offers at the end of `code`."""
        self.client.complete(code)
        found: list[str] = self.client.get_shell_msg(timeout=HANGS_S)["content"]["matches"]
        return found

    def value(self, expression: str) -> str:
        """The value of an expression in the kernel, printed."""
        shown = self.run(f"print(({expression}))")
        assert shown.errors == []
        return shown.text.strip()


def environment(folder: Path) -> dict[str, str]:
    """Ours, with this checkout to import from, and nothing of the user's."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AGENTNB_")}
    return {**ours, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), "NO_COLOR": "1"}


@contextmanager
def kernel_in(folder: Path) -> Iterator[Kernel]:
    kernel = Kernel(folder)
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    with kernel_in(tmp_path) as started:
        yield started


# --- what a cell shows ------------------------------------------------------------------------------------------------

ADDING = "m = Model(plan(step('add', a=1, b=2)), verdict(finding='it is 3'), answer('It is 3.'))"


def test_in_jupyterlab_one_display_is_updated_in_place(kernel: Kernel) -> None:
    """The progress and the record that stays are one output; the Run is bound."""
    kernel.run(ADDING)
    shown = kernel.run("%%agent r --model m --tools add\nWhat is 1 + 2?", metadata=IN_LAB)
    assert shown.errors == []
    panel, button = shown.displays
    assert "text/html" in panel
    assert button["text/plain"] == "■ stops it"
    assert shown.updates[-2] == {"text/plain": ""}
    assert "It is 3." in shown.last
    assert "It is 3." in shown.updates[-1]["text/html"]
    assert kernel.value("r.status") == "completed"


@pytest.mark.parametrize("types", [None, []], ids=["headless", "console"])
def test_elsewhere_only_the_final_record_is_displayed(kernel: Kernel, types: list[str] | None) -> None:
    """Where nobody watches, or displays cannot be replaced, there are no intermediate ones."""
    kernel.run(ADDING)
    shown = kernel.run("%%agent r --model m --tools add\nWhat is 1 + 2?", types=types)
    assert (len(shown.displays), shown.updates) == (1, [])
    assert "It is 3." in shown.last


def test_a_tool_runs_on_the_main_thread_and_what_it_prints_is_shown(kernel: Kernel) -> None:
    """A SQLite connection of the notebook works in a tool, and an async tool does inside the kernel's running loop."""
    kernel.run(
        """
db = sqlite3.connect(":memory:")  # refuses every thread but its own
@tool(effect="read")
def query(sql: str) -> list:
    "Ask the database."
    print("on", threading.current_thread().name)
    return db.execute(sql).fetchall()
@tool(effect="read")
async def later(n: int) -> int:
    "Wait a moment."
    import asyncio
    await asyncio.sleep(0)
    return n
m = Model(plan(step('query', sql='SELECT 42'), step('later', n=7)), verdict(), verdict(), answer('Both.'))
"""
    )
    shown = kernel.run("%%agent r --model m --tools query,later\nAsk.", metadata=IN_LAB)
    assert "on MainThread" in shown.text
    assert kernel.value("r.result('s1'), r.result('s2')") == "([[42]], 7)"


def test_a_tool_that_takes_too_long_is_interrupted_where_it_runs(kernel: Kernel) -> None:
    """Its time-out rings on the main thread; the run goes on with a failed step."""
    kernel.run(
        """
@tool(effect="read", timeout_s=0.3)
def slow() -> int:
    "Takes a minute."
    time.sleep(60)
m = Model(*[plan(step('slow'))] * 4, answer('It was too slow.'))
"""
    )
    shown = kernel.run("%%agent r --model m --tools slow\nWait.")
    assert "longer than 0.3 s" in shown.last


@pytest.mark.parametrize("what", ["raise SystemExit(3)", "raise ValueError('no')", "return object()"])
def test_whatever_a_tool_does_is_a_result(kernel: Kernel, what: str) -> None:
    """An exit, an error, a value without a JSON form: the step has failed, the kernel lives, the run ends.

    An exit is nothing that another plan could mend, and is surfaced at once.
    """
    kernel.run(
        f"""
@tool(effect="read")
def bad() -> int:
    "Does what it should not."
    {what}
m = Model(plan(step('bad')), *[plan(step('bad'))] * {0 if "Exit" in what else 2}, answer('It did not work.'))
"""
    )
    shown = kernel.run("%%agent r --model m --tools bad\nTry.")
    assert shown.errors == []
    assert kernel.value("r.status.ended") == "True"


def test_completion_over_the_wire(kernel: Kernel) -> None:
    """A front end's complete_request gets flags on the first line of a cell, tools, and commands."""
    kernel.run(ADDING)
    assert "--model" in kernel.complete("%%agent r --mod")
    assert "add" in kernel.complete("%%agent r --tools ad")
    assert "resume" in kernel.complete("%agent resu")


# --- interrupts -------------------------------------------------------------------------------------------------------


def interrupted(kernel: Kernel, cell: str, **how: Any) -> Shown:
    """The cell, interrupted where it hangs; it has to end at once with two lines that say how to go on."""
    shown = kernel.run(cell, interrupt=kernel.reached, **how)
    assert shown.seconds_after_interrupt < ENDS_S
    (error,) = shown.errors
    assert len(error["traceback"]) == 2
    assert "was stopped by you" in error["traceback"][0]
    assert "%agent resume r1-" in error["traceback"][1]
    assert kernel.value("r.status, r.stop_reason") == "(<Status.SUSPENDED: 'suspended'>, 'interrupted')"
    return shown


def test_interrupting_a_model_that_hangs(kernel: Kernel) -> None:
    """The cell ends though the worker is stuck in the call; `%agent resume` goes on, and binds the same name."""
    kernel.run(ADDING)
    kernel.hang()
    interrupted(kernel, "%%agent r --model m --tools add\nWhat is 1 + 2?", metadata=IN_LAB)
    kernel.go_on()
    shown = kernel.run("%agent resume r1", metadata=IN_LAB)
    assert "It is 3." in shown.last
    assert kernel.value("r.status, r.output") == "(<Status.COMPLETED: 'completed'>, 'It is 3.')"


def test_interrupting_a_tool_that_hangs(kernel: Kernel) -> None:
    """A read is made again when the run is resumed."""
    kernel.run(
        """
@tool(effect="read")
def slow() -> int:
    "Takes a minute, sometimes."
    hang()
    return 42
m = Model(plan(step('slow')), verdict(), answer('42'), first=lambda: None)
"""
    )
    kernel.hang()
    interrupted(kernel, "%%agent r --model m --tools slow\nWait.")
    kernel.go_on()
    kernel.run("%agent resume r1")
    assert kernel.value("r.output, r.result('s1')") == "('42', 42)"


def test_interrupting_a_write_leaves_it_in_doubt(kernel: Kernel) -> None:
    """Nobody knows whether it acted: the run rests until a person has looked, and only then goes on."""
    kernel.run(
        """
@tool(effect="write", reversibility="full")
def send(text: str) -> int:
    "Send it."
    print("sending")
    hang()
    return 1
m = Model(plan(step('send', text='x')), answer('Sent.'), first=lambda: None)
"""
    )
    kernel.hang()
    interrupted(kernel, "%%agent r --model m --tools send --approve auto\nSend.")
    kernel.go_on()
    shown = kernel.run("%agent resume r1")
    assert "sending" not in shown.text
    assert "--done" in shown.errors[0]["traceback"][1]
    assert "go on with look" not in shown.errors[0]["traceback"][1]
    shown = kernel.run("%agent resume r1 --done")
    assert "sending" not in shown.text
    assert kernel.value("r.output") == "Sent."


def test_interrupting_a_wait_for_a_rate_limit(kernel: Kernel) -> None:
    """A minute that a provider asks to wait is not waited for by somebody who has stopped the run."""
    kernel.run(
        """
def limited():
    if pathlib.Path("hang").exists():
        pathlib.Path("reached").touch()
        raise ModelError("slow down", FailureClass.RATE_LIMITED, retry_after_s=50, unbilled=True)
m = Model(answer('Done.'), first=limited)
"""
    )
    kernel.hang()
    interrupted(kernel, "%%agent r --model m\nSay it.")
    kernel.go_on()
    kernel.run("%agent resume r1")
    assert kernel.value("r.output") == "Done."


@pytest.mark.parametrize(
    ("way", "replies", "output"),
    [
        ("resume r1", "answer('Noted.')", "Noted."),
        ("approve r1", "answer('Noted.')", "Noted."),
        ("reject r1 don't", "plan(), answer('Left.')", "Left."),
    ],
)
def test_interrupting_a_question(kernel: Kernel, way: str, replies: str, output: str) -> None:
    """Nothing was approved, nothing was done; a person may decide later, or be asked again when it is resumed."""
    kernel.run(f"m = Model(plan(step('note', text='x')), {replies})")
    began = time.monotonic()
    shown = kernel.run(
        "%%agent r --model m --tools note\nNote.", types=[], interrupt=lambda: time.monotonic() - began > 2
    )
    assert shown.seconds_after_interrupt < ENDS_S
    what, todo = shown.errors[0]["traceback"]
    assert "was stopped by you" in what
    assert todo.startswith("go on with %agent approve r1-")
    assert kernel.value("r.status") == "awaiting_approval"
    kernel.run(f"%agent {way}", types=["y"])
    assert kernel.value("r.output") == output


def test_a_run_goes_on_in_a_new_kernel(tmp_path: Path) -> None:
    """What was done is not done again, and the result is bound to the name that is given."""
    lines = "plan(step('add', a=1, b=2), step('slow')), verdict(), verdict(), answer('Done.')"
    slow = '@tool(effect="read")\ndef slow() -> int:\n    "Takes long."\n    hang()\n    return 42\n'
    with kernel_in(tmp_path) as first:
        first.run(f"{slow}m = Model({lines}, first=lambda: None)")
        first.hang()
        interrupted(first, "%%agent r --model m --tools add,slow\nWait.")
    with kernel_in(tmp_path) as second:
        second.go_on()
        missing = second.run("%agent resume r1")
        assert "slow" in " ".join(missing.errors[0]["traceback"])
        second.run(f"{slow}m = Model(verdict(), answer('Done.'), first=lambda: None)")
        assert second.run("%agent resume r1 result").errors == []
        assert second.value("result.output, result.spent.steps") == "('Done.', 2)"


def test_a_second_kernel_is_told_who_drives_and_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    """Two lines say which process, and since when; killed in the middle of a cell, it leaves a call that had acted."""
    code = """
@tool(effect="write", reversibility="full")
def send(text: str) -> int:
    "Send it."
    with open("world", "a") as world:
        world.write(text + "\\n")
    hang()
    return 1
m = Model(plan(step('send', text='once'), step('add', a=1, b=2)), first=lambda: None)
m2 = Model(verdict(), answer('Sent.'), first=lambda: None)
"""
    with kernel_in(tmp_path) as first, kernel_in(tmp_path) as second:
        pid = int(first.value("__import__('os').getpid()"))
        first.run(code)
        second.run(f"{code}m = m2")
        first.hang()
        first.client.execute("%%agent r --model m --tools send,add --approve auto\nSend.")
        deadline = time.monotonic() + HANGS_S
        while not first.reached():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        told = second.run("%agent resume r1").errors[0]["traceback"]
        assert len(told) == 2
        assert re.search(rf"r1-\w+ is being driven by process {pid} since \d\d:\d\d:\d\d on ", told[0])
        assert "wait until it rests" in told[1]
        os.kill(pid, signal.SIGKILL)
        first.manager.provisioner.process.wait(HANGS_S)  # type: ignore[union-attr]  # a local kernel has one
        second.go_on()
        doubt = second.run("%agent resume r1").errors[0]["traceback"]
        assert "--done" in doubt[1]
        assert second.run("%agent resume r1 result --done").errors == []
        assert second.value("result.output, result.result('s2')") == "('Sent.', 3)"
        assert (tmp_path / "world").read_text() == "once\n"


def test_interrupting_twice_does_no_harm(kernel: Kernel) -> None:
    """An impatient second press is not lost in the middle of recording the first."""
    kernel.run(ADDING)
    kernel.hang()
    presses: list[float] = []

    def press() -> bool:
        if kernel.reached() and not presses:
            presses.append(time.monotonic())
            kernel.manager.interrupt_kernel()
        return bool(presses)

    shown = kernel.run("%%agent r --model m --tools add\nWhat?", interrupt=press)
    assert shown.status == "error"
    kernel.go_on()
    kernel.run("%agent resume r1")
    assert kernel.value("r.output") == "It is 3."


# --- questions --------------------------------------------------------------------------------------------------------


def noting(kernel: Kernel, *replies: str) -> None:
    kernel.run(f"m = Model(plan(step('note', text='x')), {', '.join(replies)})")


def test_a_person_at_a_console_is_asked_by_text(kernel: Kernel) -> None:
    """The whole call is shown; Enter alone is asked again, y makes it."""
    noting(kernel, "answer('Noted.')")
    shown = kernel.run("%%agent r --model m --tools note\nNote.", types=["", "y"])
    assert '"text": "x"' in shown.text
    assert "Type y to allow it" in shown.text
    assert kernel.value("r.output") == "Noted."


def test_a_kernel_of_another_build_asks_by_text_in_a_notebook_too(kernel: Kernel) -> None:
    """Where a click would not be heard while the cell runs, nobody is shown a button."""
    kernel.run("del get_ipython().kernel.shell_handlers['comm_msg']")
    noting(kernel, "answer('Noted.')")
    shown = kernel.run("%%agent r --model m --tools note\nNote.", metadata=IN_LAB, types=["y"])
    assert "Make this call?" in shown.asked
    assert kernel.value("r.output") == "Noted."
    assert "no; this kernel" in kernel.run("%agent doctor", metadata=IN_LAB).last


def test_a_refusal_reaches_the_planner(kernel: Kernel) -> None:
    """What is typed instead of y is the reason."""
    noting(kernel, "plan()", "answer('Not noted.')")
    shown = kernel.run("%%agent r --model m --tools note\nNote.", types=["the text is wrong"])
    assert "the text is wrong" in shown.last
    assert kernel.value("r.output") == "Not noted."


def test_headless_nobody_is_asked_and_nothing_hangs(kernel: Kernel) -> None:
    """Where nobody can answer, a write is refused with the reason."""
    noting(kernel, "answer('Not noted.')")
    shown = kernel.run("%%agent r --model m --tools note\nNote.")
    assert "nobody is here to be asked" in shown.last
    assert kernel.value("r.output") == "Not noted."


def test_a_run_of_a_cell_goes_on_from_python_in_the_same_way(kernel: Kernel) -> None:
    """`r.approve()` in a later cell drives the run in that cell: the tool runs on its main thread."""
    noting(kernel, "answer('Noted.')")
    kernel.run("from agentnb.notebook.cell import CellAgent\nAgent(m, tools=[note]).run('Note it.')")
    kernel.run("r = CellAgent(get_ipython(), model=m, tools=[note]).runs()[0]")
    shown = kernel.run("r.approve()", metadata=IN_LAB)
    assert shown.errors == []
    assert kernel.value("r.output") == "Noted."


# --- Run All ----------------------------------------------------------------------------------------------------------


def notebook(*cells: str) -> Any:
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, id=f"c{place}") for place, cell in enumerate(cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def executed(folder: Path, *cells: str) -> Any:
    """The notebook with its outputs; CellExecutionError where a cell ended with an error."""
    made = notebook(SETUP, *cells)
    client = NotebookClient(made, timeout=HANGS_S, resources={"metadata": {"path": str(folder)}})
    try:
        client.execute(env=environment(folder))
    finally:
        folder.joinpath("executed.ipynb").write_text(nbformat.writes(made))
    return made


def test_an_error_stops_run_all_and_is_an_error_output(tmp_path: Path) -> None:
    """The cell has an `error` output of two lines, and the cells after it are not run."""
    with pytest.raises(CellExecutionError, match="no flag --modle"):
        executed(tmp_path, "%%agent r --modle m\nDo it.", "print('not reached')")
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    (output,) = cells[1].outputs
    assert output.output_type == "error"
    assert output.traceback == ["agentnb: there is no flag --modle", "did you mean --model?"]
    assert cells[2].outputs == []


def test_a_notebook_runs_headless_and_later_cells_use_the_result(tmp_path: Path) -> None:
    """One display_data with text and HTML is all that the cell leaves."""
    made = executed(tmp_path, ADDING, "%%agent r --model m --tools add\nWhat is 1 + 2?", "print(r.output)")
    (output,) = made.cells[2].outputs
    assert output.output_type == "display_data"
    assert {"text/plain", "text/html"} == set(output.data)
    assert made.cells[3].outputs[0].text == "It is 3.\n"


@pytest.mark.parametrize("cell", ["%%agent r --modle m\nDo it.", "%%agent r --model m"], ids=["flag", "no body"])
def test_nbval_fails_a_cell_that_ends_with_an_error(tmp_path: Path, cell: str) -> None:
    """IPython's UsageError would pass here."""
    path = tmp_path / "bad.ipynb"
    path.write_text(nbformat.writes(notebook("%load_ext agentnb", cell)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run(
        [*command, str(path)], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout


# --- a terminal -------------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    command = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    child = pexpect.spawn(
        sys.executable, command, cwd=str(tmp_path), env=environment(tmp_path), encoding="utf-8", timeout=HANGS_S
    )
    child.expect(r"In \[1\]: ")
    (tmp_path / "setup.ipy").write_text(SETUP)
    typed(child, "%run setup.ipy")
    typed(child, "sh = get_ipython()")
    yield child
    child.close(force=True)


def typed(child: pexpect.spawn[str], line: str, expect: str = r"In \[\d+\]: ") -> str:
    """What the terminal shows after `line`, up to what is expected."""
    child.sendline(line)
    child.expect(expect)
    return child.before or ""


def test_a_terminal_asks_shows_text_and_can_be_interrupted(terminal: pexpect.spawn[str], tmp_path: Path) -> None:
    """Plain text, one status line, a question at the prompt, and Ctrl-C that leaves the run resumable."""
    typed(terminal, "m = Model(plan(step('note', text='x')), answer('Noted.'))")
    typed(terminal, "sh.run_cell_magic('agent', 'r --model m --tools note', 'Note.')", "Make this call.*: ")
    shown = typed(terminal, "y")
    assert "Noted." in shown
    assert "<div" not in shown

    (tmp_path / "hang").touch()
    typed(terminal, ADDING)
    terminal.sendline("sh.run_cell_magic('agent', 'r --model m --tools add', 'Add.')")
    deadline = time.monotonic() + HANGS_S
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.expect("planning")
    terminal.sendintr()
    terminal.expect("go on with %agent resume r2")
    terminal.expect(r"In \[\d+\]: ")
    (tmp_path / "hang").unlink()
    assert "It is 3." in typed(terminal, "%agent resume r2")
    assert "It is 3." in typed(terminal, "print(r.output)")


def test_ipython_without_a_terminal_never_asks(tmp_path: Path) -> None:
    """`ipython -c` in a pipe shows the record and refuses what it cannot ask about."""
    code = (
        "m = Model(plan(step('note', text='x')), answer('Not noted.'))\n"
        "get_ipython().run_cell_magic('agent', 'r --model m --tools note', 'Note.')\n"
    )
    (tmp_path / "script.ipy").write_text(SETUP + code)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "script.ipy"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Not noted." in done.stdout
    assert "\x1b[K" not in done.stdout
