"""The Stop button, where there is no front end: what it calls, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from agentnb import Agent, ScriptedModel
from agentnb.notebook.comms import CommPump
from agentnb.notebook.panel import InPlace
from agentnb.notebook.stopping import StopButton
from tests.cells import Cells, notebook_in
from tests.parts import add

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


def test_a_press_stops_once_and_the_button_says_so(cells: Cells) -> None:
    """It cannot be pressed again; taken away, no widget is left and its output is empty."""
    assert cells
    stops: list[str] = []
    button = StopButton(lambda: stops.append("stopped"))
    with capture_output() as shown:
        button.show()
        pressed = button._button
        pressed.click()
        assert (stops, pressed.disabled, pressed.description) == (["stopped"], True, "Stopping…")
        button.remove()
    assert VIEW in shown.outputs[0].data
    assert shown.outputs[0].data["text/plain"] == "■ stops it"
    assert shown.outputs[-1].data == {"text/plain": ""}
    assert [part.comm for part in (pressed, pressed.layout, pressed.style)] == [None] * 3


def test_what_was_displayed_and_is_gone_is_displayed_anew(cells: Cells) -> None:
    """With the same button, which still does what it did."""
    assert cells
    session = Agent(ScriptedModel([]), tools=[add], store="s").begin("x")
    panel = InPlace(session.begun)
    panel.offer_stop(lambda: None)
    with capture_output() as shown:
        panel.refresh(urgent=True)
        panel.show_anew()
        panel.refresh(urgent=True)
    views = [output.data[VIEW]["model_id"] for output in shown.outputs if VIEW in output.data]
    assert len(views) == 2
    assert len(set(views)) == 1
    assert ["text/html" in output.data for output in shown.outputs] == [True, False] * 2


def test_a_button_that_was_never_shown_is_nothing(cells: Cells) -> None:
    """A run that ends before it is drawn, and one that is replayed, leave no empty output."""
    assert cells
    with capture_output() as shown:
        StopButton(lambda: None).remove()
    assert shown.outputs == []
    session = Agent(ScriptedModel([]), tools=[add], store="s").begin("x")
    for bare, many in ((True, 1), (False, 2)):
        panel = InPlace(session.begun, bare=bare)
        panel.offer_stop(lambda: None)
        with capture_output() as shown:
            panel.refresh()
        assert [VIEW in output.data for output in shown.outputs] == [False, True][:many]


def test_outside_a_cell_nothing_is_interrupted() -> None:
    """A press that comes when the cell has ended is too late, and does no harm."""
    pump = CommPump(None)
    with pump:
        pump.interrupt()
    pump.interrupt()
    pump.poll(0)
