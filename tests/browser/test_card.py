"""The card as a person uses it: in a real JupyterLab, with a mouse and with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.browser.test_quickstart import SHOTS, await_kernel, choose, run_all

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

expect: Callable[..., Any] = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

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

summer = step(
    "add_finding", "File a finding: “UA is late in summer”", carrier="UA", months=[6, 7, 8],
    text="Median delay 18 min in June–August against 4 min in the rest of the year (n = 58 665).",
)
winter = step(
    "add_finding", "File a finding: “EV is late in winter”", carrier="EV", months=[12, 1, 2],
    text="Median delay 11 min in December–February.",
)
m = ScriptedModel([
    plan(step("table", "Count delays by carrier", rows=16), FOUND), verdict(finding="UA is the latest"),
    *(REST),
])
"""
ASKS = "%%agent r --model m --tools table,add_finding\nWhich carriers are late in summer? File a finding for each."
NEXT = "print('the next cell sees', FINDINGS, r.status.value)"
APPROVED, REJECTED = "answer('Filed.'),", "plan(), answer('Not filed.'),"


@pytest.fixture
def asked(lab: tuple[str, Path], page: Page, request: pytest.FixtureRequest) -> Callable[..., Page]:
    """Opens a notebook that finds this and goes on with these replies, runs all of it, and waits for the card."""
    address, folder = lab

    def opened(rest: str, found: str = "summer", *, more: str = "", last: str = NEXT, waits: str = "") -> Page:
        name = f"{request.node.name}.ipynb"
        setup = SETUP.replace("REST", rest).replace("FOUND", found)
        cells = [nbformat.v4.new_code_cell(code) for code in (setup + more, ASKS, last)]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), folder / name)
        page.goto(f"{address}/{name}?reset")  # without the notebooks of the tests before
        ready(page)
        run_all(page)
        button(page, waits or ("Approve all 2" if "," in found else "Approve")).wait_for(timeout=90_000)
        return page

    return opened


def ready(page: Page) -> None:
    """Wait for the notebook and its kernel."""
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    page.locator("#jupyterlab-splash").wait_for(state="detached", timeout=60_000)
    await_kernel(page)


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


def test_a_click_on_approve_makes_the_call(asked: Callable[..., Page]) -> None:
    """Run All goes on after the click; one line stays where the card was."""
    page = asked(APPROVED)
    card, row = page.locator("article.asks"), page.locator(".agentnb.buttons")
    shoot(page, "card")
    above, below = card.bounding_box(), row.bounding_box()
    assert above
    assert below
    assert abs(above["y"] + above["height"] - below["y"]) <= 1  # two outputs that look like one card
    assert (above["x"], above["width"]) == (below["x"], below["width"])
    page.set_viewport_size({"width": 1700, "height": 1000})  # wider than a card becomes
    page.wait_for_timeout(500)
    wide = [part.bounding_box() for part in (card, row)]
    assert len({(box["x"], box["width"]) for box in wide if box}) == 1
    page.set_viewport_size({"width": 1180, "height": 1000})
    button(page, "Approve").click()
    shows(page, "the next cell sees ['UA'] completed")
    shows(page, "you approved add_finding(carrier, text, months) at step s2")
    assert button(page, "Approve").count() == 0
    shoot(page, "card-approved")


def test_a_refusal_by_keyboard_alone(asked: Callable[..., Page]) -> None:
    """Nothing is in focus at first; Tab leads from one button to the next, and the reason's field takes the cursor."""
    page = asked(REJECTED)
    focused = "e => e === document.activeElement"
    assert not button(page, "Approve").evaluate(focused)
    page.keyboard.press("Enter")
    button(page, "Approve").focus()
    for name in ("Edit…", "Allow add_finding for this run", "Reject…"):
        page.keyboard.press("Tab")
        assert button(page, name).evaluate(focused)
    page.keyboard.press("Enter")
    field = page.get_by_label("Why not?")
    field.wait_for(timeout=5_000)
    page.wait_for_timeout(300)
    assert field.evaluate(focused)
    page.keyboard.type("n is too small")
    shoot(page, "card-reason")
    field.focus()
    page.keyboard.press("Enter")
    shows(page, "you rejected add_finding(carrier, text, months) at step s2: n is too small")
    shows(page, "the next cell sees [] completed")


def test_what_a_call_rests_on_is_answered_by_keyboard_alone(asked: Callable[..., Page]) -> None:
    """Enter in the empty field does nothing; the field and the ways to do without are one Tab apart."""
    said = {"argument": "text", "text": "How many flights that rests on", "status": "unknown", "critical": True}
    page = asked(
        f"('assess', {{'statements': [{said}]}}), plan(winter), answer('Filed.'),",
        more="\n%config AgentMagics.approve = 'auto'",
        waits="Go on anyway",
    )
    shoot(page, "card-question")
    field = page.get_by_label("Your answer")
    assert not button(page, "Answer").is_enabled()
    field.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    page.keyboard.type("It rests on 58 665 flights.")
    expect(button(page, "Answer")).to_be_enabled(timeout=20_000)  # the kernel has heard it
    for name in ("Answer", "Go on anyway", "Stop the run"):
        page.keyboard.press("Tab")
        assert button(page, name).evaluate("e => e === document.activeElement")
    shoot(page, "card-question-typed")
    field.focus()
    page.keyboard.press("Enter")
    shows(page, "you answered add_finding(carrier, text, months) at step s2: It rests on 58 665 flights.")
    shows(page, "the next cell sees ['EV'] completed")
    shoot(page, "card-question-answered")


def test_a_page_that_is_loaded_again_still_has_its_buttons(asked: Callable[..., Page]) -> None:
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


def test_stop_leaves_the_way_to_answer_later(asked: Callable[..., Page]) -> None:
    """■ replaces the card by the line to type, and the next cell is not run."""
    page = asked(APPROVED)
    choose(page, "Kernel", "Interrupt Kernel")
    shows(page, "still waits")
    shows(page, "%agent approve")
    assert button(page, "Approve").count() == 0
    assert not page.locator(".jp-OutputArea-output").filter(has_text="the next cell sees").count()
    shoot(page, "card-stopped")


def test_the_cell_is_run_again_while_it_waits(asked: Callable[..., Page]) -> None:
    """JupyterLab takes its output away, and the buttons with it: it asks anew, and what was left can be looked up."""
    page = asked("plan(step('table', rows=16), summer), verdict(), answer('Filed.'),", last="%agent pending")
    cell = page.locator(".jp-CodeCell").nth(1)
    cell.locator(".jp-InputArea").first.click()
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(2_000)
    cell.get_by_role("button", name="Approve", exact=True).click(timeout=15_000)
    shows(page, "you approved add_finding(carrier, text, months) at step s2")
    assert not page.locator(".jp-OutputArea-output").filter(has_text="What waits for you").count()
    page.locator(".jp-Notebook .jp-CodeCell").last.click()
    page.keyboard.press("Shift+Enter")
    shows(page, "What waits for you")


def test_an_edit_is_shown_and_made(asked: Callable[..., Page]) -> None:
    """Each argument has its field; what is wrong is said and cannot be approved; what was changed stays in sight."""
    page = asked(APPROVED)
    button(page, "Edit…").click()
    carrier, months, approve = (
        page.get_by_label("carrier"),
        page.get_by_label("months"),
        button(page, "Approve as edited"),
    )
    carrier.wait_for(timeout=5_000)
    assert carrier.input_value() == "UA"
    assert months.input_value() == "[6, 7, 8]"
    assert not approve.is_enabled()
    months.fill("[6, 7")
    shows(page, "this is no JSON")
    assert not approve.is_enabled()
    shoot(page, "card-edit-wrong")
    months.fill("[6, 7]")
    carrier.fill("DL")
    page.locator(".agentnb.buttons ins").filter(has_text='"DL"').wait_for(timeout=5_000)
    shoot(page, "card-edit")
    approve.click()
    shows(page, "the next cell sees ['DL'] completed")
    shows(page, "you edited and approved add_finding(carrier, text, months) at step s2")
    record = page.locator("article.agentnb").filter(has_text="you edited and approved")
    assert record.locator("del").all_inner_texts() == ['"UA"', "[6, 7, 8]"]
    assert record.locator("ins").all_inner_texts() == ['"DL"', "[6, 7]"]
    shoot(page, "card-edited")


def test_some_of_many_are_approved(asked: Callable[..., Page]) -> None:
    """One card for all that is known; what is ticked is made, what is not is not, and it says which."""
    page = asked("plan(), answer('Filed one.'),", found="summer, winter")
    assert not button(page, "Approve selected").is_enabled()
    boxes = page.locator(".agentnb.buttons input[type=checkbox]")
    boxes.nth(1).check()
    boxes.first.check()
    button(page, "Approve 2 of 2").wait_for(timeout=5_000)
    boxes.nth(1).uncheck()
    button(page, "Approve 1 of 2").wait_for(timeout=5_000)
    shoot(page, "card-many")
    button(page, "Approve 1 of 2").click()
    shows(page, "the next cell sees ['UA'] completed")
    shows(page, "you approved 1 of 2 calls")
    record = page.locator("article.agentnb").filter(has_text="you approved 1 of 2 calls")
    assert record.locator("li b").evaluate_all("all => all.map(b => b.ariaLabel)") == ["approved", "not approved"]
    shoot(page, "card-many-approved")


def test_all_of_many_are_approved(asked: Callable[..., Page]) -> None:
    """With one press, and none of them is asked about again."""
    page = asked("answer('Filed both.'),", found="summer, winter")
    button(page, "Approve all 2").click()
    shows(page, "the next cell sees ['UA', 'EV'] completed")
    shows(page, "you approved 2 of 2 calls")


def test_two_cards_in_a_row(asked: Callable[..., Page]) -> None:
    """One by one: the first is approved, the second refused, and each says so for itself."""
    page = asked("plan(), answer('Filed one.'),", found="summer, winter")
    button(page, "One by one").click()
    button(page, "Approve").click()
    shows(page, "you approved add_finding(carrier, text, months) at step s2")
    button(page, "Reject…").click(timeout=15_000)
    page.get_by_label("Why not?").fill("n is too small")
    button(page, "Reject").click()
    shows(page, "you rejected add_finding(carrier, text, months) at step s3: n is too small")
    shows(page, "the next cell sees ['UA'] completed")


RESTARTED = """
from pathlib import Path
%config AgentMagics.store = 'restarted'
if Path('restarted').exists():  # this kernel comes after the one that asked
    m = ScriptedModel([answer('Filed.')])
"""


def test_after_a_restart_the_card_is_shown_again(asked: Callable[..., Page]) -> None:
    """The kernel goes while the card waits; in the new one `%agent resume` asks again, and the call is made once."""
    page = asked(APPROVED, more=RESTARTED, last="%agent resume r1 r\nprint('filed:', FINDINGS)")
    choose(page, "Kernel", "Restart Kernel…")
    page.locator(".jp-Notebook .jp-CodeCell").first.click()  # and the dialog before it is accepted
    page.wait_for_timeout(3_000)
    ready(page)
    page.locator(".jp-Notebook .jp-CodeCell").first.click()
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-CodeCell .jp-InputPrompt").filter(has_text="[1]").first.wait_for(timeout=90_000)
    page.locator(".jp-Notebook .jp-CodeCell").last.click()
    page.keyboard.press("Shift+Enter")
    again = page.locator(".jp-CodeCell").nth(2).get_by_role("button", name="Approve", exact=True)
    again.click(timeout=30_000)
    shows(page, "filed: ['UA']")
    assert page.locator(".jp-CodeCell").nth(2).get_by_role("button", name="Approve", exact=True).count() == 0
    shoot(page, "card-after-restart")
