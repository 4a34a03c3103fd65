"""The buttons below a card, and what is pressed on them: made of widgets, and gone once the card is decided.

Everything but the presses happens on the cell's thread; those may come on another, and only join a queue. What a front
end shows as disabled is checked again here: nothing is approved by a button that could not be pressed.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from IPython.display import display

from agentnb.approval import Answer, ApprovalRequest, DoubtRequest, QuestionRequest, Request, person
from agentnb.markdown import line
from agentnb.notebook.card import call_html, calls_of, card_html, edit_html, hint_html, shared_reasons
from agentnb.notebook.changes import changed
from agentnb.notebook.fields import Form
from agentnb.notebook.hiding import hidden
from agentnb.notebook.outcome import Outcome
from agentnb.plan import JSON

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["Card", "problems_of"]

View = Literal["choice", "why", "edit", "many"]
Press = Literal[
    "approve", "allow", "edit", "edited", "why", "reject", "back",  # before a call
    "all", "selected", "single",  # before several
    "happened", "not_happened", "leave",  # after one whose outcome is not known
    "answer", "go_on", "stop",  # what one rests on
    "typed", "ticked", "noted",  # in a field, a check box, the reason: not yet an answer
]  # fmt: skip


class Card:
    """A card on display, and what is pressed on it.

    Args:
        request: what waits for a person.
        text: the same for front ends without HTML.
    """

    def __init__(self, request: Request, text: str) -> None:
        self._request = request
        self._text = text
        self._presses: queue.SimpleQueue[Press] = queue.SimpleQueue()
        self._row = _row_of(request, self._press)
        self._displays: list[DisplayHandle] = []
        self.touched = time.monotonic()
        """When a person last did something with it, on `time.monotonic`."""
        self.left = False
        """True once a person has said that the question is to wait."""

    def show(self) -> None:
        """Display it, with nothing in focus: Enter alone does nothing."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._row.box.model_id}
        ways = "approve RUN"
        if isinstance(self._request, DoubtRequest):
            ways = "resume RUN --done or --not-done"
        elif isinstance(self._request, QuestionRequest):
            ways = "answer RUN TEXT or %agent go-on RUN"
        no_buttons = f"If there are no buttons here: ■, then %agent {ways}; after a restart: %agent resume RUN"
        no_buttons = no_buttons.replace("RUN", self._request.run)
        buttons = {"text/plain": no_buttons, "application/vnd.jupyter.widget-view+json": view}
        for bundle in (self._asked(), buttons):
            self._displays.append(display(bundle, raw=True, display_id=True))

    def decision(self, settle: Callable[[], None]) -> Answer | None:
        """What was decided, once it was; until then whatever else was pressed is followed.

        Args:
            settle: takes in what was typed before a press and comes after it.
        """
        while not self._presses.empty():
            if answer := self._follow(self._presses.get(), settle):
                return answer
        return None

    def replace(self, outcome: Outcome) -> None:
        """What stays in place of the card; the buttons go."""
        stays = {"text/plain": hidden(outcome.text()), "text/html": hidden(outcome.html())}
        for handle, bundle in zip(self._displays, (stays, {"text/plain": ""}), strict=False):
            handle.update(bundle, raw=True)
        for widget in (self._row.box, *_inside(self._row.box)):
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:
                    part.close()

    def _asked(self) -> dict[str, str]:
        many = isinstance(self._row, _Leave) and self._row.many
        return {"text/plain": self._text, "text/html": card_html(self._request, many=many)}

    def _press(self, press: Press) -> None:
        self.touched = time.monotonic()
        self._presses.put(press)

    def _follow(self, press: Press, settle: Callable[[], None]) -> Answer | None:
        if press == "leave":
            self.left = True
        if press in ("happened", "not_happened"):
            return Answer(press, by=person())
        if isinstance(self._row, _Question):
            if press == "answer":
                settle()
            return self._row.follow(press)
        if not isinstance(self._row, _Leave):
            return None
        if press in ("edited", "selected", "reject"):
            settle()
            if press != "reject" and not self._presses.empty():
                return None  # it changed while it was pressed: what is approved has been read
        if press == "single":
            self._row.many = False
            self._displays[0].update(self._asked(), raw=True)
        return self._row.follow(press)


class _Row:
    """Rows of widgets of which one is seen at a time, and below them what to do where they are dead."""

    def __init__(self, request: Request, views: Mapping[View, Any], first: View) -> None:
        from ipywidgets import HTML, VBox

        self._views = views
        hint = HTML(hint_html(request))
        hint.add_class("hint")
        self.box = VBox([*views.values(), hint])
        for name in ("agentnb", "buttons"):
            self.box.add_class(name)
        self.show(first)

    def show(self, view: View) -> None:
        """Show this one; the others are there and hidden, because what is not drawn yet takes no focus."""
        for name, box in self._views.items():
            box.layout.display = "" if name == view else "none"


class _Doubt(_Row):
    """After a call whose outcome is not known. None of them is the one to press."""

    def __init__(self, request: DoubtRequest, press: Callable[[Press], None]) -> None:
        from ipywidgets import HBox

        choice = [
            _button("It happened", "happened", press),
            _button("It did not happen: make it again", "not_happened", press),
            _button("Leave it", "leave", press),
        ]
        super().__init__(request, {"choice": HBox(choice)}, "choice")


class _Question(_Row):
    """What a call rests on: a field for it, and the ways to do without.

    Enter in an empty field says nothing, and neither does it with what is typed right after it: the last letters of an
    answer may come after its Enter, but its first one has come before.
    """

    def __init__(self, request: QuestionRequest, press: Callable[[Press], None]) -> None:
        from ipywidgets import HBox, Text

        hint = f"What you know: the {'plan is made anew' if request.replans else 'call is made'} with it"
        layout, style = {"flex": "1 1 240px", "width": "auto"}, {"description_width": "auto"}

        def said(answers: Press) -> None:
            if self._field.value.strip():
                press(answers)

        self._field = Text(description="Your answer", placeholder=hint, layout=layout, style=style)
        self._field.on_msg(lambda _, content, __: said("answer") if content.get("event") == "submit" else None)
        self._answer = _button("Answer", "answer", said, "primary")
        ways = [_button("Go on anyway", "go_on", press), _button("Stop the run", "stop", press)]
        self._field.observe(lambda _: self._noted(press), "value")
        self._answer.disabled = True
        super().__init__(request, {"choice": HBox([self._field, self._answer, *ways])}, "choice")

    def _noted(self, press: Callable[[Press], None]) -> None:
        self._answer.disabled = not self._field.value.strip()
        press("noted")

    def follow(self, press: Press) -> Answer | None:
        """What a press decides, or None where it says nothing."""
        said = str(self._field.value).strip()
        if press == "answer" and said:
            return Answer("answer", by=person(), reason=said)
        return Answer(press, by=person()) if press in ("go_on", "stop") else None


class _Leave(_Row):
    """Before a call: the choice, and in its place the field for a reason, the arguments, or the list of all calls.

    The reason's field is made first, for those who look for a field by its kind.
    """

    def __init__(self, request: ApprovalRequest, press: Callable[[Press], None]) -> None:
        from ipywidgets import HBox

        self.many = bool(request.others)
        """True while all calls are asked about, and not only the first."""
        self._request = request
        self._reason = _Reason(press, replans=request.replans)
        self._edit = _Edit(request, press)
        choice = [_button("Approve", "approve", press, "primary"), _button("Edit…", "edit", press)]
        if request.allowable:
            choice.append(_button(f"Allow {line(request.tool, 40)} for this run", "allow", press))
        choice.append(_button("Reject…", "why", press))
        views: dict[View, Any] = {"why": self._reason.box, "choice": HBox(choice), "edit": self._edit.box}
        self._list = _List(request, press) if self.many else None
        if self._list:
            views["many"] = self._list.box
        super().__init__(request, views, "many" if self.many else "choice")

    def follow(self, press: Press) -> Answer | None:
        """What a press decides, or None where it only shows something else."""
        match press:
            case "approve" | "allow":
                return Answer("approve", by=person(), allow=press == "allow")
            case "reject":
                return Answer("reject", by=person(), reason=self._reason.text, others=self._others(set()))
            case "edited" if self._edit.args is not None:
                return Answer("edit", by=person(), args=self._edit.args)
            case "all":
                return self._approved({call.binding for call in calls_of(self._request)})
            case "selected" if self._list and self._list.ticked:
                return self._approved(self._list.ticked)
        self._turn(press)
        return None

    def _turn(self, press: Press) -> None:
        match press:
            case "edited" | "typed":
                self._edit.refresh()
            case "ticked" if self._list:
                self._list.refresh()
            case "back" | "single":
                self.show("many" if self.many else "choice")
            case "why":
                self.show("why")
                self._reason.field.focus()
            case "edit":
                self.show("edit")
                self._edit.form.focus()

    def _approved(self, ticked: set[str]) -> Answer:
        if self._request.binding in ticked:
            return Answer("approve", by=person(), others=self._others(ticked))
        return Answer("reject", by=person(), reason="not selected", others=self._others(ticked))

    def _others(self, ticked: set[str]) -> dict[str, bool]:
        return {call.binding: call.binding in ticked for call in self._request.others} if self.many else {}


class _Reason:
    """The field for the reason, with Reject and Back."""

    def __init__(self, press: Callable[[Press], None], *, replans: bool) -> None:
        from ipywidgets import HBox, Text

        layout, style = {"flex": "1 1 240px", "width": "auto"}, {"description_width": "auto"}
        hint = "The agent is told, and plans anew" if replans else "Kept with the decision; the run stops here"
        self.field = Text(description="Why not?", placeholder=hint, layout=layout, style=style)
        self.field.on_msg(lambda _, content, __: press("reject") if content.get("event") == "submit" else None)
        self.field.observe(lambda _: press("noted"), "value")
        self.box = HBox([self.field, _button("Reject", "reject", press, "danger"), _button("Back", "back", press)])

    @property
    def text(self) -> str:
        """What was typed."""
        return str(self.field.value).strip()


class _Edit:
    """The arguments, each in its field, what is changed of them, and whether that may be."""

    def __init__(self, request: ApprovalRequest, press: Callable[[Press], None]) -> None:
        from ipywidgets import HTML, HBox, VBox

        self._request = request
        self.form = Form(request.args, request.parameters, lambda: press("typed"))
        self.args: dict[str, JSON] | None = None
        """All arguments as edited, where they are different and may be approved."""
        self._said = HTML()
        self._approve = _button("Approve as edited", "edited", press, "primary")
        self.box = VBox([self.form.box, self._said, HBox([self._approve, _button("Back", "back", press)])])
        self.refresh()

    def refresh(self) -> None:
        """Say what has become of the arguments."""
        args, wrong = self.form.read()
        changes = changed(self._request.args, args)
        problems = wrong or (problems_of(self._request, args) if changes else ())
        self.args = args if changes and not problems else None
        self._said.value = edit_html(changes, problems)
        self._approve.disabled = self.args is None


class _List:
    """All calls that wait, each with a check box; none of them is ticked at first."""

    def __init__(self, request: ApprovalRequest, press: Callable[[Press], None]) -> None:
        from ipywidgets import HTML, Checkbox, HBox, VBox

        self._bindings = [call.binding for call in calls_of(request)]
        self._lightly = all(call.reversibility in ("full", "partial") for call in calls_of(request))
        """True where to approve all is the button to press: none of them is for good."""
        self._boxes: list[Any] = []
        rows, known = [], shared_reasons(request)
        for call in calls_of(request):
            label, width = line(call.tool, 60), {"width": "147px", "flex": "0 0 auto"}
            box = Checkbox(description=label, indent=False, tooltip=line(call.title) or label, layout=width)
            box.observe(lambda _: press("ticked"), "value")
            rows.append(HBox([box, HTML(call_html(call, known), layout={"flex": "1 1 auto", "width": "auto"})]))
            rows[-1].add_class("call-row")
            self._boxes.append(box)
        calls = VBox(rows)
        calls.add_class("calls")
        self._selected = _button("Approve selected", "selected", press)
        self._every = _button(f"Approve all {len(rows)}", "all", press)
        others = [_button("Reject all…", "why", press), _button("One by one", "single", press)]
        self.box = VBox([calls, HBox([self._every, self._selected, *others])])
        self.refresh()

    @property
    def ticked(self) -> set[str]:
        """The bindings of the calls that are ticked; one that stands there twice has to be ticked twice."""
        pairs = list(zip(self._bindings, self._boxes, strict=True))
        return {one for one, _ in pairs if all(box.value for other, box in pairs if other == one)}

    def refresh(self) -> None:
        """Say how many are ticked."""
        ticked = sum(box.value for box in self._boxes)
        self._selected.disabled = not self.ticked
        self._selected.button_style = "primary" if ticked else ""
        self._every.button_style = "primary" if self._lightly and not ticked else ""
        self._selected.description = f"Approve {ticked} of {len(self._boxes)}" if ticked else "Approve selected"


def problems_of(request: ApprovalRequest, args: Mapping[str, JSON]) -> tuple[str, ...]:
    """Why these arguments could not be approved; a check that fails is a reason too."""
    try:
        return tuple(request.problems(args))
    except Exception as error:  # noqa: BLE001 - a tool's own checks may raise anything
        return (f"they cannot be checked: {type(error).__name__}: {error}",)


def _row_of(request: Request, press: Callable[[Press], None]) -> _Row:
    match request:
        case DoubtRequest():
            return _Doubt(request, press)
        case QuestionRequest():
            return _Question(request, press)
        case _:
            return _Leave(request, press)


def _button(text: str, press_is: Press, press: Callable[[Press], None], style: str = "") -> Any:
    from ipywidgets import Button

    made = Button(description=text, button_style=style, layout={"width": "auto"})
    made.on_click(lambda _: press(press_is))
    return made


def _inside(box: Any) -> Iterator[Any]:
    for widget in getattr(box, "children", ()):
        yield from (widget, *_inside(widget))
