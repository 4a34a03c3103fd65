"""The card as a person uses it: in a real JupyterLab, with a mouse and with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser.test_quickstart import SHOTS, choose, run_all

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

SETUP = """
%load_ext agentnb
%config AgentMagics.mode = 'live'
from agentnb import ScriptedModel, tool
from tests.parts import answer, plan, step, table, verdict

FINDINGS = []

@tool(effect="write", reversibility="partial")
def add_finding(carrier: str, text: str, months: list[int]) -> int:
    "File a finding."
    FINDINGS.append(carrier)
    return len(FINDINGS)

found = step(
    "add_finding", "File a finding: “UA is late in summer”", carrier="UA", months=[6, 7, 8],
    text="Median delay 18 min in June–August against 4 min in the rest of the year (n = 58 665).",
)
m = ScriptedModel([
    plan(step("table", "Count delays by carrier", rows=16), found), verdict(finding="UA is the latest"),
    *(REST),
])
"""
ASKS = "%%agent r --model m --tools table,add_finding\nWhich carriers are late in summer? File a finding for each."
NEXT = "print('the next cell sees', FINDINGS, r.status.value)"
APPROVED, REJECTED = "answer('Filed.'),", "plan(), answer('Not filed.'),"


@pytest.fixture
def asked(lab: tuple[str, Path], page: Page, request: pytest.FixtureRequest) -> Callable[[str], Page]:
    """Opens a notebook that goes on with these replies, runs all of it, and waits for the card."""
    address, folder = lab

    def opened(rest: str) -> Page:
        name = f"{request.node.name}.ipynb"
        cells = [nbformat.v4.new_code_cell(code) for code in (SETUP.replace("REST", rest), ASKS, NEXT)]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), folder / name)
        page.goto(f"{address}/{name}?reset")  # without the notebooks of the tests before
        ready(page)
        run_all(page)
        button(page, "Approve").wait_for(timeout=30_000)
        return page

    return opened


def ready(page: Page) -> None:
    """Wait for the notebook and its kernel."""
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=60_000)
    known = ":is([data-status='idle'], [data-status='busy'])"
    page.locator(f".jp-NotebookPanel-toolbar {known}").first.wait_for(timeout=60_000)


def button(page: Page, name: str) -> Locator:
    """A button of the card."""
    return page.locator(".jp-OutputArea").get_by_role("button", name=name, exact=True)


def shows(page: Page, text: str) -> None:
    """Wait until an output shows it."""
    page.locator(".jp-OutputArea-output").filter(has_text=text).first.wait_for(timeout=15_000)


def shoot(page: Page, name: str) -> None:
    """A picture of the page, in light and dark."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("Dark", "Light"):
        choose(page, "Settings", "Theme", f"JupyterLab {theme}")
        page.wait_for_timeout(1_200)
        page.locator(".jp-OutputArea-output").last.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"{name}-{theme.lower()}.png")


def test_a_click_on_approve_makes_the_call(asked: Callable[[str], Page]) -> None:
    """Run All goes on after the click; one line stays where the card was."""
    page = asked(APPROVED)
    card, row = page.locator("article.asks"), page.locator(".agentnb.buttons")
    shoot(page, "card")
    above, below = card.bounding_box(), row.bounding_box()
    assert above
    assert below
    assert abs(above["y"] + above["height"] - below["y"]) <= 1  # two outputs that look like one card
    assert abs(above["width"] - below["width"]) <= 1
    button(page, "Approve").click()
    shows(page, "the next cell sees ['UA'] completed")
    shows(page, "you approved add_finding(carrier, months, text) at step s2")
    assert button(page, "Approve").count() == 0
    shoot(page, "card-approved")


def test_a_refusal_by_keyboard_alone(asked: Callable[[str], Page]) -> None:
    """Nothing is in focus at first; Tab leads from one button to the next, and the reason's field takes the cursor."""
    page = asked(REJECTED)
    focused = "e => e === document.activeElement"
    assert not button(page, "Approve").evaluate(focused)
    page.keyboard.press("Enter")
    button(page, "Approve").focus()
    page.keyboard.press("Tab")
    assert button(page, "Reject…").evaluate(focused)
    page.keyboard.press("Enter")
    field = page.locator(".agentnb.buttons input")
    field.wait_for(timeout=5_000)
    page.wait_for_timeout(300)
    assert field.evaluate(focused)
    page.keyboard.type("n is too small")
    shoot(page, "card-reason")
    field.focus()
    page.keyboard.press("Enter")
    shows(page, "you rejected add_finding(carrier, months, text) at step s2: n is too small")
    shows(page, "the next cell sees [] completed")


def test_a_page_that_is_loaded_again_still_has_its_buttons(asked: Callable[[str], Page]) -> None:
    """The cell goes on waiting meanwhile, and a click on the new page is heard."""
    page = asked(APPROVED)
    choose(page, "File", "Save Notebook")
    page.wait_for_timeout(1_000)
    page.reload()
    ready(page)
    button(page, "Approve").click(timeout=30_000)
    page.wait_for_timeout(2_000)
    page.locator(".jp-Notebook .jp-CodeCell").last.click()
    page.keyboard.press("Shift+Enter")
    shows(page, "the next cell sees ['UA'] completed")


def test_stop_leaves_the_way_to_answer_later(asked: Callable[[str], Page]) -> None:
    """■ replaces the card by the line to type, and the next cell is not run."""
    page = asked(APPROVED)
    choose(page, "Kernel", "Interrupt Kernel")
    shows(page, "still waits")
    shows(page, "%agent approve")
    assert button(page, "Approve").count() == 0
    assert not page.locator(".jp-OutputArea-output").filter(has_text="the next cell sees").count()
    shoot(page, "card-stopped")
