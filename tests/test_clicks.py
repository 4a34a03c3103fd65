"""Clicks on a card while its cell runs, as a front end sends them: over the wire, in kernels of four releases."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernels import ShortLived, choose, is_gone, kernel_of
from tests.test_kernel import ENDS_S, HANGS_S, Kernel, Shown
from tools.kernels import RELEASES

pytestmark = pytest.mark.slow

VIEW = "application/vnd.jupyter.widget-view+json"
NOTE = "%%agent r --model m --tools note\nNote."
CLICK_S = 0.3
"""Seconds in which a click reaches the run."""


class Notebook:
    """A front end that draws no widgets and clicks them all the same."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.widgets: dict[str, dict[str, Any]] = {}
        """State of each widget that there is, by the id of its comm."""
        self.replies: dict[str, dict[str, Any]] = {}
        """By the id of the request."""
        self.states: list[str] = []
        """Busy and idle, as they were told."""
        self.answers: list[tuple[str, str]] = []
        """(request, kind) of each message."""
        self._cells: dict[str, Shown] = {}
        self._cards = 0

    def run_all(self, *cells: str, does: list[Callable[[], None]]) -> list[Shown]:
        """Send all cells at once, as Run All does; `does` has what is done at each card, in their order."""
        sent = [self._execute(cell) for cell in cells]
        deadline = time.monotonic() + HANGS_S
        while not all(request in self.replies for request in sent):
            assert time.monotonic() < deadline, f"hangs: {self._cells}"
            self.listen()
            if self._cards and does:
                self._cards -= 1
                does.pop(0)()
        self.listen()
        for request in sent:
            self._cells[request].status = self.replies[request]["status"]
        return [self._cells[request] for request in sent]

    def click(self, button: str) -> None:
        """Click the button with this text."""
        self._tell(self._widget("description", button), method="custom", content={"event": "click"})

    def type(self, text: str) -> None:
        """Type into the field."""
        field = self._widget("_model_name", "TextModel")
        self._tell(field, method="update", state={"value": text}, buffer_paths=[])

    def set(self, trait: str, is_: str, **state: Any) -> None:
        """Change a widget that is known by one of its traits, as a person does who types or ticks."""
        self._tell(self._widget(trait, is_), method="update", state=state, buffer_paths=[])

    def await_button(self, text: str) -> None:
        """Wait until there is such a button, and it can be pressed."""
        deadline = time.monotonic() + HANGS_S
        while not any(s.get("description") == text and not s.get("disabled") for s in self.widgets.values()):
            assert time.monotonic() < deadline, f"there is no button {text}: {self.widgets}"
            self.listen()

    def shown(self, request: str) -> Shown:
        """What the cell of this request has shown so far."""
        return self._cells[request]

    def send_cell(self, cell: str) -> str:
        """Send one cell and go on; returns the request's id."""
        return self._execute(cell)

    def enter(self) -> None:
        """Press Enter in the field."""
        self._tell(self._widget("_model_name", "TextModel"), method="custom", content={"event": "submit"})

    def send(self, kind: str, **content: Any) -> str:
        """Send a message over the shell's channel; returns its id."""
        message = self.kernel.client.session.msg(kind, content)
        self.kernel.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def wait_for(self, request: str) -> dict[str, Any]:
        """The content of the reply."""
        deadline = time.monotonic() + HANGS_S
        while request not in self.replies:
            assert time.monotonic() < deadline
            self.listen()
        return self.replies[request]

    def listen(self) -> None:
        """Take in what has come."""
        for receive in (self.kernel.client.get_iopub_msg, self.kernel.client.get_shell_msg):
            try:
                while True:
                    message = receive(timeout=0.02)
                    self._take_in(message, message["parent_header"].get("msg_id", ""), message["content"])
            except queue.Empty:
                continue

    def state_of(self, text: str) -> str:
        """Ask for the state of the button with this text, as a page does that has been loaded; returns the request."""
        data = {"method": "request_state"}
        return self.send("comm_msg", comm_id=self._widget("description", text), data=data)

    def _take_in(self, message: dict[str, Any], request: str, content: dict[str, Any]) -> None:
        shown = self._cells.get(request, Shown())
        self.answers.append((request, message["msg_type"]))
        match message["msg_type"]:
            case "comm_open":
                self.widgets[content["comm_id"]] = content["data"]["state"]
            case "comm_msg" if content["data"].get("method") == "update":
                self.widgets.get(content["comm_id"], {}).update(content["data"]["state"])
            case "comm_close":
                del self.widgets[content["comm_id"]]
            case "status":
                self.states.append(content["execution_state"])
            case "stream":
                shown.text += content["text"]
            case "error":
                shown.errors.append(content)
            case "display_data":
                shown.displays.append(content["data"])
                self._cards += VIEW in content["data"] and "no buttons" in content["data"]["text/plain"]
            case "update_display_data":
                shown.updates.append(content["data"])
            case kind if kind.endswith("_reply"):
                self.replies[request] = content

    def _execute(self, cell: str) -> str:
        content = {"code": cell, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": True, "stop_on_error": True}
        message = self.kernel.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.kernel.client.shell_channel.send(message)
        self._cells[message["header"]["msg_id"]] = Shown()
        return str(message["header"]["msg_id"])

    def _widget(self, trait: str, value: str) -> str:
        return next(comm for comm, state in self.widgets.items() if state.get(trait) == value)

    def _tell(self, comm: str, **data: Any) -> None:
        self.send("comm_msg", comm_id=comm, data=data)


@pytest.fixture(params=RELEASES)
def notebook(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    with kernel_of(request.param, tmp_path, monkeypatch) as kernel:
        kernel.run("from tests.parts import NOTES")
        yield Notebook(kernel)


def scripted(notebook: Notebook, *replies: str) -> None:
    notebook.kernel.run(f"m = Model(plan(step('note', title='Keep the note', text='x')), {', '.join(replies)})")


def htmls(shown: Shown) -> str:
    return "".join(bundle.get("text/html", "") for bundle in shown.updates)


def test_a_click_makes_the_call_and_the_next_cells_run_in_order(notebook: Notebook) -> None:
    """Cells that were sent before the click run after it; the card is one line, and its buttons are gone."""
    scripted(notebook, "answer('Noted.')")
    clicked: list[float] = []

    def click() -> None:
        notebook.click("Approve")
        clicked.append(time.monotonic())

    cells = notebook.run_all(NOTE, "seen = [list(NOTES)]; print(r.output)", "print(seen)", does=[click])
    assert [cell.status for cell in cells] == ["ok"] * 3
    assert [cell.text for cell in cells[1:]] == ["Noted.\n", "[['x']]\n"]
    assert "✓ you approved</b> <span>note(text) at step s1" in htmls(cells[0])
    assert notebook.widgets == {}
    assert {"text/plain": ""} in cells[0].updates


def test_a_click_reaches_the_run_soon(notebook: Notebook) -> None:
    """The tool runs within a third of a second; the kernel was busy all the while."""
    notebook.kernel.run(
        "import time\n@tool(effect='write', reversibility='full')\ndef note(text: str) -> float:\n"
        "    'Keep it.'\n    called.append(time.time())\n    return 0.0\ncalled = []"
    )
    scripted(notebook, "answer('Noted.')")
    clicked: list[float] = []

    def click() -> None:
        time.sleep(1)
        notebook.listen()
        assert notebook.states[-1] == "busy"
        clicked.append(time.time())
        notebook.click("Approve")

    notebook.run_all(NOTE, does=[click])
    assert float(notebook.kernel.value("called[0]")) - clicked[0] < CLICK_S


@pytest.mark.parametrize("ends", ["Reject", "Enter"])
def test_a_refusal_with_its_reason_reaches_the_planner(notebook: Notebook, ends: str) -> None:
    """Reject… opens a field, Back closes it again; what is typed at last is what the planner reads."""
    notebook.kernel.run("told = []\ndef anew(request):\n    told.append(request.prompt)\n    return plan()[1]")
    scripted(notebook, "anew", "answer('Not noted.')")

    def refuse() -> None:
        for button in ("Reject…", "Back", "Reject…"):
            notebook.click(button)
        notebook.type("the text is wr")
        notebook.type("the text is wrong & <b>bad</b>")
        notebook.enter() if ends == "Enter" else notebook.click("Reject")

    (cell,) = notebook.run_all(NOTE, does=[refuse])
    assert cell.status == "ok"
    assert "you rejected</b> <span>note(text) at step s1: the text is wrong &amp; &lt;b&gt;bad" in htmls(cell)
    assert notebook.kernel.value("NOTES, 'the text is wrong' in told[0], r.output") == "([], True, 'Not noted.')"


def test_stop_leaves_the_question_and_it_can_be_answered_later(notebook: Notebook) -> None:
    """■ ends the cell at once, aborts those after it, and says how to go on; that works."""
    scripted(notebook, "answer('Noted.')")
    pressed: list[float] = []

    def stop() -> None:
        time.sleep(0.3)
        pressed.append(time.monotonic())
        notebook.kernel.manager.interrupt_kernel()

    cells = notebook.run_all(NOTE, "print('not reached')", does=[stop])
    assert time.monotonic() - pressed[0] < ENDS_S
    assert [cell.status for cell in cells] == ["error", "aborted"]
    run = notebook.kernel.value("r.id")
    texts = [bundle.get("text/plain", "") for bundle in cells[0].updates]
    strip = next(text for text in texts if "still waits" in text)
    ways = f"%agent approve {run} or %agent edit {run} ARG=VALUE or %agent reject {run} WHY"
    assert strip.endswith(f"note(text) at step s1: {ways}")
    assert not any("Next: %agent" in text for text in texts)  # it is said there once
    assert "%agent edit" in cells[0].errors[0]["traceback"][1]
    assert notebook.widgets == {}
    assert notebook.kernel.value("r.status.value, NOTES") == "('awaiting_approval', [])"
    assert notebook.kernel.run(f"%agent approve {run}").errors == []
    assert notebook.kernel.value("r.output, NOTES") == "('Noted.', ['x'])"


def test_the_stop_button_suspends_the_run_as_stop_does(notebook: Notebook) -> None:
    """While a model thinks: the cell ends at once and those after it are aborted, the button goes, and it goes on."""
    scripted(notebook, "answer('Noted.')", "first=hang")
    notebook.kernel.run("pathlib.Path('hang').touch()")
    first, then = notebook.send_cell(NOTE), notebook.send_cell("print('not reached')")
    notebook.await_button("Stop")
    while not notebook.kernel.folder.joinpath("reached").exists():
        notebook.listen()
    pressed = time.monotonic()
    notebook.click("Stop")
    assert notebook.wait_for(first)["status"] == "error"
    assert time.monotonic() - pressed < ENDS_S
    assert notebook.wait_for(then)["status"] == "aborted"
    notebook.listen()
    assert notebook.widgets == {}
    assert {"text/plain": ""} in notebook.shown(first).updates
    assert "stopped by you" in notebook.shown(first).errors[0]["evalue"]
    assert notebook.kernel.value("r.status.value, r.stop_reason, NOTES") == "('suspended', 'interrupted', [])"
    notebook.kernel.run("pathlib.Path('hang').unlink(); m.first = lambda: None")
    resumed = notebook.send_cell("%agent resume r1 r")
    notebook.await_button("Approve")
    notebook.click("Approve")
    assert notebook.wait_for(resumed)["status"] == "ok"
    assert notebook.kernel.value("r.output, NOTES") == "('Noted.', ['x'])"


def test_a_cell_that_is_sent_again_shows_there_what_goes_on(notebook: Notebook) -> None:
    """A front end shows under it only what the last request brings: the record, the button that stops it, the error."""
    scripted(notebook, "answer('Noted.')", "first=hang")
    notebook.kernel.run("pathlib.Path('hang').touch()")
    first, again = notebook.send_cell(NOTE), notebook.send_cell(NOTE)
    deadline = time.monotonic() + HANGS_S
    while not any(VIEW in bundle for bundle in notebook.shown(again).displays):
        assert time.monotonic() < deadline
        notebook.listen()
    assert "text/html" in notebook.shown(again).displays[0]
    notebook.click("Stop")
    assert notebook.wait_for(first)["status"] == "error"
    assert notebook.wait_for(again)["status"] == "aborted"
    notebook.listen()
    assert notebook.widgets == {}
    assert "stopped by you" in notebook.shown(again).errors[0]["evalue"]
    assert "Suspended" in htmls(notebook.shown(again))
    assert notebook.kernel.value("[run.status.value for run in r.keeper.runs()]") == "['suspended']"


def test_the_stop_button_leaves_a_question_as_stop_does(notebook: Notebook) -> None:
    """While a card waits it is there too; the card says how to answer later."""
    scripted(notebook, "answer('Noted.')")
    (cell,) = notebook.run_all(NOTE, does=[lambda: notebook.click("Stop")])
    assert cell.status == "error"
    assert any("still waits" in bundle.get("text/plain", "") for bundle in cell.updates)
    assert notebook.widgets == {}
    assert notebook.kernel.value("r.status.value, NOTES") == "('awaiting_approval', [])"


def test_a_stop_that_is_pressed_while_a_tool_runs_is_heard_when_it_returns(notebook: Notebook) -> None:
    """At the latest: its result is kept, nothing after it is begun, and no call is made twice."""
    notebook.kernel.run(
        "@tool(effect='write', reversibility='full')\ndef note(text: str) -> int:\n    'Keep it.'\n"
        "    NOTES.append(text)\n    time.sleep(2)\n    return len(NOTES)"
    )
    notebook.kernel.run("m = Model(plan(step('note', text='x'), step('note', text='y')), answer('Noted.'))")
    request = notebook.send_cell(NOTE.replace("note\n", "note --approve auto\n"))
    notebook.await_button("Stop")
    time.sleep(0.5)
    notebook.click("Stop")
    assert notebook.wait_for(request)["status"] == "error"
    assert notebook.kernel.value("r.status.value, NOTES") == "('suspended', ['x'])"
    assert notebook.kernel.run(f"%agent resume {notebook.kernel.value('r.id')}").errors == []
    assert notebook.kernel.value("r.status.value, NOTES") == "('completed', ['x', 'y'])"


def test_running_the_cell_again_leaves_its_question_and_runs_it(notebook: Notebook) -> None:
    """Its output is taken away, and the buttons with it. What was sent before is aborted, what comes after runs."""
    scripted(notebook, "answer('Noted.')")  # the second run has the plan of the first from the prompt cache
    sent: list[str] = []

    def again() -> None:
        sent.extend(notebook.send_cell(cell) for cell in (NOTE, "seen = r.status.value; print(seen)"))

    first, between = notebook.run_all(NOTE, "print('not reached')", does=[again])
    assert (first.status, first.errors, between.status) == ("ok", [], "aborted")
    notebook.await_button("Approve")
    notebook.click("Approve")
    replies = [notebook.wait_for(request) for request in sent]
    assert [reply["status"] for reply in replies] == ["ok", "ok"], replies
    assert notebook.kernel.value("NOTES, seen") == "(['x'], 'completed')"
    assert (
        notebook.kernel.value("[run.status.value for run in r.keeper.runs()]") == "['completed', 'awaiting_approval']"
    )


@pytest.mark.parametrize("ends", ["Answer", "Enter"])
def test_what_a_call_rests_on_is_answered_in_the_cell(notebook: Notebook, ends: str) -> None:
    """The field opens with nothing to press; what is typed at last is the answer, and the plan is made with it."""
    said = "{'statements': [{'argument': 'text', 'text': 'the number', 'status': 'unknown', 'critical': True}]}"
    notebook.kernel.run(
        f"m = Model(plan(step('note', text='Call 555-0199.')), ('assess', {said}),"
        " plan(step('note', text='Call 555-0123.')), answer('Noted.'))"
    )

    def reply() -> None:
        notebook.enter()  # in an empty field
        notebook.type("it is <b>555</b>")
        notebook.type("it is <b>555-0123</b>")
        notebook.await_button("Answer")
        notebook.enter() if ends == "Enter" else notebook.click("Answer")

    (cell,) = notebook.run_all(NOTE.replace("note\n", "note --approve auto\n"), does=[reply])
    assert cell.status == "ok", cell.errors
    assert "you answered</b> <span>note(text) at step s1: it is &lt;b&gt;555-0123" in htmls(cell)
    assert notebook.kernel.value("NOTES, r.output") == "(['Call 555-0123.'], 'Noted.')"
    assert notebook.widgets == {}


def test_an_error_after_the_click_aborts_the_next_cells(notebook: Notebook) -> None:
    """What was held while the card waited is aborted like any cell of a Run All, and the kernel goes on after that."""
    notebook.kernel.run("def fails(request):\n    raise ModelError('no', FailureClass.FATAL)")
    scripted(notebook, "fails")
    cells = notebook.run_all(NOTE, "print(1)", "print(2)", does=[lambda: notebook.click("Approve")])
    assert [cell.status for cell in cells] == ["error", "aborted", "aborted"]
    assert notebook.kernel.value("NOTES") == "['x']"


def test_a_page_that_is_loaded_again_can_still_click(notebook: Notebook) -> None:
    """What it asks first is answered while the card waits; a completion waits like a cell and is not lost."""
    scripted(notebook, "answer('Noted.')")
    asked: list[str] = []

    def reload() -> None:
        asked.append(notebook.send("complete_request", code="NOT", cursor_pos=3))
        assert notebook.wait_for(notebook.send("kernel_info_request"))["status"] == "ok"
        comms = notebook.wait_for(notebook.send("comm_info_request", target_name="jupyter.widget"))["comms"]
        assert set(notebook.widgets) <= set(comms)
        assert asked[0] not in notebook.replies
        notebook.click("Approve")

    (cell,) = notebook.run_all(NOTE, does=[reload])
    assert cell.status == "ok"
    assert "NOTES" in notebook.wait_for(asked[0])["matches"]


def test_a_page_that_asks_widget_by_widget_is_answered_so(notebook: Notebook) -> None:
    """As JupyterLab asks where a busy kernel has not told it of all in time: it waits for an answer to that request."""
    scripted(notebook, "answer('Noted.')")
    asked: list[str] = []

    def ask() -> None:
        asked.append(notebook.state_of("Approve"))
        deadline = time.monotonic() + HANGS_S
        while (asked[0], "comm_msg") not in notebook.answers:
            assert time.monotonic() < deadline, notebook.answers[-20:]
            notebook.listen()
        notebook.click("Approve")

    (cell,) = notebook.run_all(NOTE, does=[ask])
    assert cell.status == "ok"


def test_two_cards_in_a_row_and_each_is_answered_once(notebook: Notebook) -> None:
    """A second click on the first card is not the answer to the second."""
    notebook.kernel.run("m = Model(plan(step('note', text='a'), step('note', text='b')), plan(), answer('Half.'))")

    def twice() -> None:
        notebook.click("Approve")
        notebook.click("Approve")

    def reject() -> None:
        notebook.click("Reject…")
        notebook.click("Reject")

    (cell,) = notebook.run_all(NOTE, does=[twice, reject])
    assert cell.status == "ok", cell.errors
    assert "you approved</b> <span>note(text) at step s1" in htmls(cell)
    assert "you rejected</b> <span>note(text) at step s2<" in htmls(cell)
    assert notebook.kernel.value("NOTES") == "['a']"


def test_a_kernel_that_does_not_come_up_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that breaks on start leaves no process behind."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "agentnb.py").write_text(
        "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))\n1 / 0\n"
    )
    choose(packages, tmp_path, monkeypatch)
    with pytest.raises(AssertionError):
        ShortLived(tmp_path)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_an_edited_call_is_made_as_edited(notebook: Notebook) -> None:
    """What is typed reaches the tool, and both versions stay in sight."""
    scripted(notebook, "answer('Noted.')")

    def edit() -> None:
        notebook.click("Edit…")
        notebook.set("description", "text", value="y")
        notebook.await_button("Approve as edited")
        time.sleep(0.3)  # a press right after a change counts for nothing: what is approved is what was read
        notebook.click("Approve as edited")

    (cell,) = notebook.run_all(NOTE, does=[edit])
    assert cell.status == "ok", cell.errors
    assert "you edited and approved" in htmls(cell)
    assert notebook.kernel.value("NOTES, r.status.value") == "(['y'], 'completed')"


def test_some_of_a_batch_are_approved(notebook: Notebook) -> None:
    """One card for both calls; the one that is ticked is made, the other is not, and nobody is asked again."""
    notebook.kernel.run("m = Model(plan(step('note', text='a'), step('note', text='b')), plan(), answer('Half.'))")

    def tick() -> None:
        notebook.set("_model_name", "CheckboxModel", value=True)
        notebook.await_button("Approve 1 of 2")
        time.sleep(0.3)
        notebook.click("Approve 1 of 2")

    (cell,) = notebook.run_all(NOTE, does=[tick])
    assert cell.status == "ok", cell.errors
    assert "you approved 1 of 2 calls" in htmls(cell)
    assert notebook.kernel.value("NOTES, r.status.value") == "(['a'], 'completed')"


def test_a_call_in_doubt_is_shown_and_settled(notebook: Notebook) -> None:
    """A write that timed out: the card says what is known, and what is pressed is believed."""
    notebook.kernel.run(
        "import time\n@tool(effect='write', reversibility='full', timeout_s=0.3)\ndef note(text: str) -> int:\n"
        "    'Keep it.'\n    NOTES.append(text)\n    time.sleep(5)\n    return 1"
    )
    scripted(notebook, "answer('Noted.')")
    (cell,) = notebook.run_all(NOTE, does=[lambda: notebook.click("Approve"), lambda: notebook.click("It happened")])
    assert cell.status == "ok", cell.errors
    assert "it took longer than 0.3 s" in str(cell.displays)
    assert "you said that" in htmls(cell)
    assert notebook.kernel.value("NOTES, r.status.value") == "(['x'], 'completed')"


def test_after_a_killed_kernel_the_card_is_shown_again(notebook: Notebook, request: pytest.FixtureRequest) -> None:
    """SIGKILL while it waits; in a kernel that is new, `%agent resume` asks the same, and the call is made once."""
    scripted(notebook, "answer('Noted.')")
    notebook.send_cell(NOTE)
    notebook.await_button("Approve")
    notebook.kernel.manager.signal_kernel(signal.SIGKILL)
    tmp_path, monkeypatch = request.getfixturevalue("tmp_path"), request.getfixturevalue("monkeypatch")
    with kernel_of(request.node.callspec.params["notebook"], tmp_path, monkeypatch) as kernel:
        again = Notebook(kernel)
        kernel.run("from tests.parts import NOTES\nm = Model(answer('Noted.'))")
        (cell,) = again.run_all("%agent resume r1 r", does=[lambda: again.click("Approve")])
        assert cell.status == "ok", cell.errors
        assert kernel.value("NOTES, r.output") == "(['x'], 'Noted.')"
