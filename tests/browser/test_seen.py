"""What people look at, in a real browser: no serious finding of axe-core in light and dark, and whole on paper.

To add a view, put its name and a function that gives its HTML into VIEWS; its pictures go to build/shots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from agentnb.agent import Agent
from agentnb.models.scripted import ScriptedModel
from agentnb.render import as_html
from agentnb.run import Run
from agentnb.runs import Runs
from agentnb.state import Status
from tests.browser.test_quickstart import SHOTS
from tests.parts import MemoryStore, answer, bind, broken, note, plan, step, table, verdict
from tests.test_render import ACTIONS, COMPLETED, DRY, FULL, RUNNING
from tests.test_steps import long_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

Axe: type[Any] = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe

pytestmark = pytest.mark.browser


@cache
def seen() -> tuple[Agent, Run]:
    """An agent, and its run with a failure, a new plan, a bound argument and an approval, and another one beside it."""
    failing = plan(step("broken"), step("note", text="x"))
    better = plan(step("table", "Count", rows=4), step("note", text="$? x"))
    script = [failing, better, verdict(finding="four rows"), bind(text="four"), answer("**Four.**"), answer("none")]
    agent = Agent(ScriptedModel(script), tools=[table, broken, note], store=MemoryStore())
    made = agent.run("Count the rows and note how many", tags={"task_type": "count"}).approve(by="ada")
    agent.run("nothing", plan=[], tags={"task_type": "none"})
    return agent, made


def run() -> Run:
    """The first of the two runs."""
    return seen()[1]


def runs() -> Runs:
    """Both."""
    return seen()[0].runs()


def html(view: Any) -> str:
    """A view as it is put into a cell's output."""
    return str(view._repr_html_())


VIEWS: Mapping[str, Callable[[], str]] = {
    "panel": lambda: as_html(replace(RUNNING, inside="research: step 2 of 4: calling query")),
    "panel-that-asks": lambda: as_html(replace(RUNNING, steps=(replace(RUNNING.steps[2], mark="waiting"),))),
    "panel-of-a-long-run": lambda: as_html(long_run(500, failed=9, reached=300)),
    "record": lambda: as_html(COMPLETED),
    "record-of-all-there-is": lambda: as_html(FULL),
    "record-of-a-dry-run": lambda: as_html(DRY),
    "record-of-a-long-run": lambda: as_html(long_run(500, failed=9)),
    "record-that-failed": lambda: as_html(replace(COMPLETED, status=Status.FAILED, reason="x", undone=("a step",))),
    "record-that-rests": lambda: as_html(
        replace(RUNNING, status=Status.SUSPENDED, reason="stopped by you", now="", actions=ACTIONS)
    ),
    "trace": lambda: html(run().trace),
    "why": lambda: html(run().why()),
    "runs": lambda: html(runs()),
    "search": lambda: html(seen()[0].search("rows")),
    "diff": lambda: html(run().diff(runs()[0])),
    "audit": lambda: html(run().audit),
    "audit-technical": lambda: run().audit.table("technical").as_html(),
    "timeline": lambda: run().timeline().svg,
    "cost-curve": lambda: run().cost_curve().svg,
    "graph": lambda: run().graph().svg,
    "beside": lambda: run().beside(runs()[0]).svg,
    "dashboard": lambda: runs().dashboard().svg,
}
"""Each in the form in which it is put into a cell's output."""

THEMES = {
    "light": "color-scheme: light; background: #fff; color: #1c1c1e; --jp-content-font-color1: rgba(0, 0, 0, .87)",
    "dark": "color-scheme: dark; background: #111; color: #fff; --jp-content-font-color1: rgba(255, 255, 255, 1)",
}
"""As JupyterLab sets them: a page's theme is its own, and not the system's."""


@pytest.fixture
def show(sheet: Page) -> Callable[..., Page]:
    """Puts a view onto a page: on a screen as wide as a notebook, if nothing else is said."""

    def shown(name: str, theme: str = "light", width: int = 900) -> Page:
        sheet.emulate_media(media="screen")
        sheet.set_viewport_size({"width": width, "height": 900})
        body = f'<main style="max-width: 880px; font: 14px/1.5 system-ui"><h1>{name}</h1>{VIEWS[name]()}</main>'
        head = f'<html lang="en" style="{THEMES[theme]}"><title>{name}</title>'
        sheet.set_content(f"<!doctype html>{head}<body>{body}</body></html>")
        return sheet

    return shown


def unfold(page: Page) -> None:
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing_serious(show: Callable[..., Page], name: str, theme: str) -> None:
    """Names, roles, structure and contrast, with all that is folded unfolded."""
    page = show(name, theme)
    unfold(page)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"seen-{name}-{theme}.png", full_page=True)
    found = Axe().run(page).response["violations"]
    serious = [
        (each["id"], each["help"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_is_folded_on_paper(show: Callable[..., Page], name: str) -> None:
    """What a click would open is printed: a PDF has no clicks."""
    page = show(name)
    folded = "[...document.querySelectorAll('details > :not(summary)')]"
    hidden = f"{folded}.filter(one => !one.checkVisibility({{contentVisibilityAuto: true}})).length"
    assert page.evaluate(hidden) == page.evaluate(f"{folded}.length")
    page.emulate_media(media="print")
    page.wait_for_function(f"{hidden} === 0", timeout=5_000)  # it is so once the page is laid out anew


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("name", VIEWS)
def test_it_fits_any_page(show: Callable[..., Page], name: str, width: int) -> None:
    """On a telephone and on a wide screen nothing sticks out."""
    page = show(name, width=width)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
