"""The buttons below a card: what each answers, and that nothing is approved by one that could not be pressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from agentnb.approval import Answer, ApprovalRequest, OtherCall, Request, person
from agentnb.notebook.buttons import Card, _inside
from agentnb.notebook.outcome import left_waiting
from tests.test_card import DOUBT, OTHERS, REQUEST

PARAMETERS: dict[str, Any] = {
    "properties": {
        "carrier": {"type": "string"},
        "text": {"type": "string"},
        "month": {"type": "integer"},
        "tags": {"type": "array"},
    },
    "required": ["carrier", "text", "month", "tags"],
}
ONE = replace(REQUEST, parameters=PARAMETERS)
MANY = replace(ONE, others=OTHERS)


class Pressed:
    """A card on display, pressed by its texts."""

    def __init__(self, request: Request) -> None:
        self.card = Card(request, "as text")
        self.late: list[Callable[[], object]] = []
        """What arrives after a press."""
        with capture_output() as shown:
            self.card.show()
        self.shown = [output.data for output in shown.outputs]

    @property
    def widgets(self) -> list[Any]:
        return list(_inside(self.card._row.box))

    def named(self, text: str, nth: int = 0) -> Any:
        return [widget for widget in self.widgets if getattr(widget, "description", None) == text][nth]

    def seen(self) -> list[str]:
        """The texts of the buttons in sight."""
        (view, _) = [box for box in self.card._row.box.children if box.layout.display != "none"]  # and the hint below
        return [widget.description for widget in _inside(view) if type(widget).__name__ == "Button"]

    def press(self, text: str, nth: int = 0) -> Answer | None:
        self.named(text, nth).click()
        return self.decision()

    def decision(self) -> Answer | None:
        with capture_output() as updated:
            answer = self.card.decision(self._settle)
        self.shown += [output.data for output in updated.outputs]
        return answer

    def _settle(self) -> None:
        while self.late:
            self.late.pop(0)()


@pytest.fixture(autouse=True)
def _shell() -> Iterator[None]:
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    InteractiveShell.instance(config=config)  # `display` writes to the one instance
    yield
    InteractiveShell.clear_instance()


def test_the_choice() -> None:
    """Approve, edit, reject; allowing a tool only where that may be answered. Nothing is pressed beforehand."""
    pressed = Pressed(ONE)
    assert pressed.decision() is None
    assert pressed.seen() == ["Approve", "Edit…", "Reject…"]
    assert pressed.press("Approve") == Answer("approve", by=person())
    pressed = Pressed(replace(ONE, allowable=True))
    assert pressed.seen() == ["Approve", "Edit…", "Allow add_finding for this run", "Reject…"]
    assert pressed.press("Allow add_finding for this run") == Answer("approve", by=person(), allow=True)


def test_what_is_shown_is_html_and_a_row_of_widgets() -> None:
    """With words for front ends that have neither."""
    card, buttons = Pressed(ONE).shown
    assert set(card) == {"text/plain", "text/html"}
    assert "application/vnd.jupyter.widget-view+json" in buttons
    assert "%agent approve r7-kestrel" in buttons["text/plain"]
    assert "after a restart: %agent resume r7-kestrel" in buttons["text/plain"]
    assert "%agent resume r7-kestrel --done or --not-done" in Pressed(DOUBT).shown[1]["text/plain"]


@pytest.mark.parametrize("ends", ["Reject", "Enter"])
def test_a_reason_is_asked_for(ends: str) -> None:
    """Back leads back; what arrives just after the press is part of the reason."""
    pressed = Pressed(ONE)
    assert pressed.press("Reject…") is None
    assert pressed.seen() == ["Reject", "Back"]
    assert pressed.press("Back") is None
    assert pressed.seen()[0] == "Approve"
    pressed.press("Reject…")
    field = pressed.named("Why not?")
    field.value = "n is too sm"
    pressed.late.append(lambda: setattr(field, "value", " n is too small "))
    if ends == "Enter":
        field._handle_custom_msg({"event": "submit"}, [])
    answer = pressed.decision() if ends == "Enter" else pressed.press("Reject")
    assert answer == Answer("reject", by=person(), reason="n is too small")


def test_an_edit_is_approved_as_it_was_read() -> None:
    """All arguments, the changed ones with the rest; the button works only once something has changed."""
    pressed = Pressed(ONE)
    assert pressed.press("Edit…") is None
    assert pressed.seen() == ["Approve as edited", "Back"]
    button = pressed.named("Approve as edited")
    assert button.disabled
    assert pressed.press("Approve as edited") is None
    pressed.named("carrier").value = "DL"
    assert pressed.decision() is None
    assert not button.disabled
    said = next(widget.value for widget in pressed.widgets if type(widget).__name__ == "HTML")
    assert "<del>&quot;UA&quot;</del>" in said
    answer = pressed.press("Approve as edited")
    assert answer == Answer("edit", by=person(), args={**ONE.args, "carrier": "DL"})


def test_what_changes_while_it_is_approved_is_read_first() -> None:
    """A change that arrives after the press is shown, and the press counts for nothing."""
    pressed = Pressed(ONE)
    pressed.press("Edit…")
    field = pressed.named("carrier")
    field.value = "D"
    pressed.late.append(lambda: setattr(field, "value", "DL"))
    assert pressed.press("Approve as edited") is None
    answer = pressed.press("Approve as edited")
    assert answer is not None
    assert answer.args is not None
    assert answer.args["carrier"] == "DL"


@pytest.mark.parametrize("kind", ["problem", "fails", "unreadable"])
def test_what_may_not_be_called_is_not_approved(kind: str) -> None:
    """What the tool or its guards refuse, what they fail at, and what is no JSON: said, and the button is disabled."""

    def problems(args: Any) -> tuple[str, ...]:
        if kind == "fails":
            raise ZeroDivisionError("division by zero")
        return ("tags: 'x' is none",) if args["tags"] == ["x"] else ()

    pressed = Pressed(replace(ONE, problems=problems))
    pressed.press("Edit…")
    pressed.named("tags").value = "[" if kind == "unreadable" else '["x"]'
    assert pressed.press("Approve as edited") is None
    assert pressed.named("Approve as edited").disabled
    said = next(widget.value for widget in pressed.widgets if type(widget).__name__ == "HTML")
    told = {
        "problem": "is none",
        "fails": "cannot be checked: ZeroDivisionError",
        "unreadable": "tags: this is no JSON",
    }
    assert told[kind] in said


@pytest.mark.parametrize("replans", [True, False])
def test_what_becomes_of_a_reason_is_said(replans: bool) -> None:  # noqa: FBT001 - a table
    """A planner is told, or else the run stops."""
    hint = Pressed(replace(ONE, replans=replans)).named("Why not?").placeholder
    assert hint == ("The agent is told, and plans anew" if replans else "Kept with the decision; the run stops here")


def test_what_is_for_good_is_never_the_button_to_press() -> None:
    """To approve all is, where each of them can be taken back, and nothing is ticked."""
    some = tuple(call for call in OTHERS if call.reversibility != "irreversible")
    light, grave = Pressed(replace(ONE, others=some)), Pressed(MANY)
    assert light.named("Approve all 3").button_style == "primary"
    assert {grave.named(text).button_style for text in grave.seen()} == {""}
    tick = next(widget for widget in light.widgets if type(widget).__name__ == "Checkbox")
    tick.value = True
    light.decision()
    assert [light.named(text).button_style for text in light.seen()[:2]] == ["", "primary"]


@pytest.mark.parametrize("typed", ["7.5", "", " ", "x", "1e3", "true", "07"])
def test_what_is_no_number_is_not_approved(typed: str) -> None:
    """It is said, in place of a number that it might stand for, and the button cannot be pressed."""
    pressed = Pressed(ONE)
    pressed.press("Edit…")
    pressed.named("month").value = typed
    assert pressed.press("Approve as edited") is None
    assert pressed.named("Approve as edited").disabled
    said = next(widget.value for widget in pressed.widgets if type(widget).__name__ == "HTML")
    assert "a whole number" in said
    pressed.named("month").value = "7"
    pressed.decision()
    assert pressed.press("Approve as edited") == Answer("edit", by=person(), args={**ONE.args, "month": 7})


def test_many_at_once() -> None:
    """All, or those that are ticked; none is ticked at first, and then nothing is approved by their button."""
    pressed = Pressed(MANY)
    assert pressed.seen() == ["Approve all 4", "Approve selected", "Reject all…", "One by one"]
    assert pressed.named("Approve selected").disabled
    assert pressed.press("Approve selected") is None
    everything = dict.fromkeys(("b2", "b3", "b4"), True)
    assert pressed.press("Approve all 4") == Answer("approve", by=person(), others=everything)


@pytest.mark.parametrize("ticked", [(0, 2), (1,), (0, 1, 2, 3)])
def test_some_of_many(ticked: tuple[int, ...]) -> None:
    """The present call by the decision, all others by their bindings; the button counts them."""
    pressed = Pressed(MANY)
    boxes = [widget for widget in pressed.widgets if type(widget).__name__ == "Checkbox"]
    for place in ticked:
        boxes[place].value = True
    assert pressed.decision() is None
    answer = pressed.press(f"Approve {len(ticked)} of 4")
    others = {call.binding: place in ticked for place, call in enumerate(OTHERS, 1)}
    expected = Answer("approve", person()) if 0 in ticked else Answer("reject", person(), "not selected")
    assert answer == replace(expected, others=others)


def test_a_tick_that_arrives_late_is_counted_first() -> None:
    """The press counts for nothing; the button says the new number."""
    pressed = Pressed(MANY)
    boxes = [widget for widget in pressed.widgets if type(widget).__name__ == "Checkbox"]
    boxes[0].value = True
    pressed.decision()
    pressed.late.append(lambda: setattr(boxes[1], "value", True))
    assert pressed.press("Approve 1 of 4") is None
    assert pressed.press("Approve 2 of 4") is not None


def test_one_call_that_stands_there_twice() -> None:
    """It is approved only where both are ticked."""
    twin = OtherCall("s5", "", "drop", {}, "", "full", "b2")
    pressed = Pressed(replace(ONE, others=(twin, twin)))
    boxes = [widget for widget in pressed.widgets if type(widget).__name__ == "Checkbox"]
    boxes[0].value = boxes[1].value = True
    pressed.decision()
    answer = pressed.press("Approve 2 of 3")
    assert answer == Answer("approve", by=person(), others={"b2": False})


def test_all_are_rejected_with_one_reason() -> None:
    """Back leads to the list again."""
    pressed = Pressed(MANY)
    pressed.press("Reject all…")
    pressed.press("Back")
    assert pressed.seen()[0] == "Approve all 4"
    pressed.press("Reject all…")
    pressed.named("Why not?").value = "not today"
    answer = pressed.press("Reject")
    assert answer == Answer("reject", person(), "not today", others=dict.fromkeys(("b2", "b3", "b4"), False))


def test_one_by_one() -> None:
    """The card becomes that of the present call, and its answer says nothing about the others."""
    pressed = Pressed(MANY)
    assert pressed.press("One by one") is None
    assert pressed.seen()[0] == "Approve"
    assert "4 calls" not in pressed.shown[-1]["text/html"]
    pressed.press("Reject…")
    pressed.press("Back")
    assert pressed.seen()[0] == "Approve"
    assert pressed.press("Approve") == Answer("approve", by=person())


@pytest.mark.parametrize(
    ("text", "decision"), [("It happened", "happened"), ("It did not happen: make it again", "not_happened")]
)
def test_what_happened(text: str, decision: str) -> None:
    """Whoever looked says whether it did."""
    pressed = Pressed(DOUBT)
    assert {pressed.named(button).button_style for button in pressed.seen()} == {""}
    answer = pressed.press(text)
    assert answer is not None
    assert (answer.decision, answer.by) == (decision, person())


def test_what_is_left() -> None:
    """No answer, and the card knows that there is none to wait for."""
    pressed = Pressed(DOUBT)
    assert not pressed.card.left
    assert pressed.press("Leave it") is None
    assert pressed.card.left


def test_every_press_and_every_letter_is_noted() -> None:
    """Whoever is busy with a card is there."""
    pressed = Pressed(MANY)
    tick = next(widget for widget in pressed.widgets if type(widget).__name__ == "Checkbox")
    for widget, value in ((pressed.named("Why not?"), "x"), (pressed.named("carrier"), "x"), (tick, True)):
        pressed.card.touched = 0.0
        widget.value = value
        assert pressed.card.touched > 0
    pressed.card.touched = 0.0
    pressed.named("Reject all…").click()
    assert pressed.card.touched > 0


@pytest.mark.parametrize("request_", [ONE, MANY, DOUBT])
def test_nothing_is_left_of_the_widgets(request_: ApprovalRequest) -> None:
    """What is closed is closed with all its parts; a line stands in place of the card."""
    pressed = Pressed(request_)
    widgets = [pressed.card._row.box, *pressed.widgets]
    with capture_output() as shown:
        pressed.card.replace(left_waiting(request_))
    assert [output.data.get("text/plain") for output in shown.outputs] == [left_waiting(request_).text(), ""]
    parts = [part for w in widgets for part in (w, w.layout, getattr(w, "style", None)) if part is not None]
    assert all(part.comm is None for part in parts)
