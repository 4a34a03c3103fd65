"""The quickstart as a person sees it: in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOTS = Path(__file__).parents[2] / "build" / "shots"
NOTEBOOK = "01_quickstart.ipynb"


def open_notebook(page: Page, address: str) -> None:
    """Open it and wait for its kernel."""
    page.goto(f"{address}/{NOTEBOOK}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=60_000)
    await_kernel(page)


def choose(page: Page, menu: str, *items: str) -> None:
    """Click through a menu."""
    page.locator(f".lm-MenuBar-itemLabel:text-is('{menu}')").click()
    for item in items:
        page.locator(f".lm-Menu-itemLabel:text-is('{item}')").click()


def await_kernel(page: Page) -> None:
    """Wait until the notebook can send cells to its kernel: on a loaded machine the toolbar says so too early."""
    page.wait_for_function(
        """() => {
            const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
            const kernel = context?.session?.kernel;
            return context?.isReady && kernel?.connectionStatus === "connected" && /idle|busy/.test(kernel.status);
        }""",
        timeout=60_000,
    )


def run_all(page: Page) -> None:
    """Run All Cells, once: a cell that is sent twice is run twice."""
    choose(page, "Run", "Run All Cells")
    page.locator(".jp-CodeCell .jp-InputPrompt").filter(has_text=re.compile(r"[*\d]")).first.wait_for(timeout=20_000)


@pytest.mark.browser
def test_run_all_shows_the_record_in_light_and_dark(lab: tuple[str, Path], page: Page) -> None:
    """Run All replays every cell; the record is laid out, and what it says is what was recorded."""
    address, folder = lab
    open_notebook(page, address)
    choose(page, "Edit", "Clear Outputs of All Cells")
    run_all(page)
    cards = page.locator(".jp-OutputArea-output .agentnb")
    page.locator(".jp-OutputArea-output .agentnb").nth(2).wait_for(timeout=90_000)
    assert cards.count() == 3
    assert "Completed" in (cards.nth(0).text_content() or "")
    assert "Frontier Airlines" in (cards.nth(0).text_content() or "")
    assert "Stopped" in (cards.nth(1).text_content() or "")
    assert not page.locator("[data-mime-type='application/vnd.jupyter.error']").count()
    SHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("Light", "Dark"):
        choose(page, "Settings", "Theme", f"JupyterLab {theme}")
        page.wait_for_timeout(1_500)
        cards.nth(0).scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"quickstart-{theme.lower()}.png")
        header = cards.nth(0).locator("header").first
        assert header.bounding_box() is not None
        colours = header.evaluate("e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]")
        assert colours[0] != colours[1]
    choose(page, "File", "Save Notebook")
    page.wait_for_timeout(1_000)
    saved = json.loads((folder / NOTEBOOK).read_text())
    plain = [
        o["data"]["text/plain"]
        for c in saved["cells"]
        for o in c.get("outputs", [])
        if "text/html" in o.get("data", {})
    ]
    assert any("Frontier Airlines" in "".join(text) for text in plain)
