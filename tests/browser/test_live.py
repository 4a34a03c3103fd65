"""A run that is watched: in a real JupyterLab, while it goes on, stopped with the mouse, and at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.test_card import button, ready, shoot, shows
from tests.browser.test_quickstart import choose, run_all

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

SETUP = """
%load_ext agentnb
%config AgentMagics.mode = 'live'
import time
from pathlib import Path
from agentnb import Agent, ScriptedModel
from tests.parts import add, answer, plan, step, table, verdict

class Slow:
    "Answers from a script; each reply after as long as a file of this name lies there."
    def __init__(self, name, *lines, until=0):
        self.ref, self.script, self.until = name, ScriptedModel(lines, ref=name), until
        self.price = lambda usage: 3e-6 * usage.input_tokens + 15e-6 * usage.output_tokens
    def ask(self, request):
        while Path(self.ref).exists() and len(self.script.requests) >= self.until:
            time.sleep(0.05)
        return self.script.ask(request)

carriers = "United ExpressJet Frontier Hawaiian Delta Envoy SkyWest".split()
steps = [step("table", f"Count the delays of {carrier}", rows=n) for n, carrier in enumerate(carriers, start=3)]
reports = [verdict(finding=f"{carrier} is late in summer") for carrier in carriers]
Path("hold").touch()
m = Slow("hold", plan(*steps), *reports, answer("**United, ExpressJet and Frontier** are late in summer."), until=4)
"""
WATCHED = "%%agent r --model m --tools table --usd 0.5\nWhich carriers are late in summer?"
NEXT = "print('the next cell sees', r.status.value)"
INSIDE = """
Path("hold-inside").touch()
inner = Slow("hold-inside", plan(step("add", "Add the flights", a=1, b=2)), verdict(finding="3"), answer("3"), until=1)
count = Agent(inner, tools=[add]).as_tool("count", "Counts flights.", task="Count {what}.")
m = Slow("outer", plan(step("table", "Look at the table"), step("count", "Count the flights", what="flights")),
    verdict(finding="it is a table"), verdict(finding="3 flights"), answer("There are 3 flights."))
"""


@pytest.fixture
def watched(lab: tuple[str, Path], page: Page, request: pytest.FixtureRequest) -> Callable[..., Page]:
    """Opens a notebook with a run that holds in its middle, and runs all of it."""
    address, folder = lab

    def opened(*cells: str) -> Page:
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        name = f"{request.node.name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": spec}), folder / name)
        page.goto(f"{address}/{name}?reset")
        ready(page)
        run_all(page)
        button(page, "Stop").wait_for(timeout=90_000)
        return page

    return opened


def saved(page: Page, folder: Path, name: str) -> list[dict[str, object]]:
    """The outputs of the second cell, as they are in the file."""
    choose(page, "File", "Save Notebook")
    page.wait_for_timeout(1_500)
    outputs = json.loads((folder / name).read_text())["cells"][1]["outputs"]
    return [output["data"] for output in outputs if "data" in output]


def test_the_stop_button_suspends_and_the_record_stays(
    watched: Callable[..., Page], lab: tuple[str, Path], request: pytest.FixtureRequest
) -> None:
    """The panel says what goes on, in a cell that is sent again meanwhile too; a click ends the cell; what is saved has
    the record, and no widget.
    """
    page = watched(SETUP, WATCHED, NEXT)
    page.locator(".jp-CodeCell").nth(1).locator(".jp-InputArea").first.click()
    page.keyboard.press("Control+Enter")  # takes away all that it has shown
    page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt").filter(has_text="[*]").wait_for()
    button(page, "Stop").wait_for(timeout=15_000)
    shows(page, "step 4 of 7: checking the result, for")
    card, stop = page.locator("article.agentnb"), button(page, "Stop")
    assert card.locator(".steps li").count() == 7
    assert card.get_by_text("left", exact=False).count() >= 3
    above, below = card.bounding_box(), stop.bounding_box()
    assert above
    assert below
    assert 0 <= below["y"] - above["y"] - above["height"] < 20
    shoot(page, "live")
    stop.click()
    shows(page, "stopped by you")
    shows(page, "was stopped by you after step 3 of 7")
    assert stop.count() == 0
    assert card.count() == 1
    assert not page.locator(".jp-OutputArea-output").filter(has_text="the next cell sees").count()
    shoot(page, "live-stopped")
    data = saved(page, lab[1], f"{request.node.name}.ipynb")
    assert "text/html" in data[0]
    assert "Suspended" in "".join(data[0]["text/html"])  # type: ignore[arg-type]
    assert data[1:] == [{"text/plain": [""]}] or data[1:] == [{"text/plain": []}] or data[1:] == [{"text/plain": ""}]


def test_a_run_inside_is_seen_in_its_step_and_the_record_in_its_place(
    watched: Callable[..., Page], lab: tuple[str, Path]
) -> None:
    """One line says what it does, below the step that called it; at its end the same output is the record."""
    page = watched(SETUP + INSIDE, WATCHED.replace("table", "table,count"), NEXT)
    shows(page, "↳ count: step 1 of 1: checking the result, for")
    shoot(page, "live-inside")
    lab[1].joinpath("hold-inside").unlink()
    shows(page, "the next cell sees completed")
    assert page.locator("article.agentnb").count() == 1
    assert button(page, "Stop").count() == 0
    assert page.locator("article.agentnb summary").filter(has_text="count: completed").count() == 1
    page.locator("article.agentnb summary").filter(has_text="Plan: 2 steps").click()
    shoot(page, "live-completed")
