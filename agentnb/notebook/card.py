"""The card that asks a person before a call is made: what would be done, as HTML, and below it the buttons.

Only the row of buttons is made of widgets: those of a saved notebook are dead once the kernel is gone, and what was
asked and answered must be readable for ever. After the answer, and after ■, one line of HTML stands where the card was.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal

from IPython.display import display

from agentnb.approval import Answer, ApprovalRequest
from agentnb.markdown import clean, line
from agentnb.plan import JSON
from agentnb.render import style_sheet
from agentnb.summary import StepLine, Summary
from agentnb.wording import MARKS, count

if TYPE_CHECKING:
    from IPython.core.display_functions import DisplayHandle

__all__ = ["TAKEN_BACK", "Card", "Outcome", "card_html", "decided", "left_waiting"]

Press = Literal["approve", "why", "back", "reject"]

TAKEN_BACK: Final = {
    "full": ("can be taken back", "ok"),
    "partial": ("can be taken back in part", "ask"),
    "irreversible": ("cannot be taken back", "bad"),
}
"""Reversibility in words, and its class in the style sheet."""

_LOOK: Final = """
.agentnb.agentnb.asks { border-bottom: 0; border-radius: 10px 10px 0 0; margin-bottom: 0 }
.agentnb.agentnb.buttons { border-top: 0; border-radius: 0 0 10px 10px; margin-top: 0 }
.jp-OutputArea .agentnb.agentnb.buttons { margin-right: 20px }
.agentnb.agentnb.buttons > * { border: 0; padding: 0 12px 10px }
.agentnb.agentnb.buttons button { border-radius: 6px; padding: 0 14px }
.agentnb.asks td b { color: color-mix(in srgb, var(--hue) 70%, currentColor) }
.agentnb.asks .call :is(th, td) { padding: 2px 0; line-height: 1.5; vertical-align: baseline }
.agentnb.asks .call th { min-width: 11em; padding-right: 12px }
.agentnb.asks .call span { white-space: pre-wrap }
"""
"""What only a card needs that waits: the row of buttons, another output, looks like its last line."""
_OPEN: Final = 300
"""Characters of an argument that are shown at once; the rest is a click away."""
_LINE: Final = 80
"""Characters of JSON that stay on one line."""
_ALL: Final = 40_000
"""Characters of all arguments: what is approved is to be seen, and a megabyte is not read anyway."""
_STEPS: Final = 12
"""Steps so far: the last ones."""


# ---------------------------------------------------------------------------------------------------- HTML


def card_html(request: ApprovalRequest, so_far: Summary | None = None) -> str:
    """What is asked, as a card: its style sheet and one element; whatever strangers wrote is escaped.

    Args:
        request: the call that waits.
        so_far: the run as it is now, for what happened before.
    """
    title = escape(line(request.title or request.tool))
    place = f"{escape(line(request.run, 60))} · {escape(line(request.step, 20))}"
    header = f"<header><b>◇ Needs you</b> <span><strong>{title}</strong></span> <code>{place}</code></header>"
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{said}</td></tr>' for name, said in _rows(request))
    table = f'<table class="call" aria-label="What would be done"><tbody>{rows}</tbody></table>'
    body = f"<div>{table}{_before(so_far) if so_far else ''}</div>"
    return f"<style>{_LOOK}</style>{_article('ask asks', header + body)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stays of a question, on one line.

    Attributes:
        icon: with `said`, what stands out.
        kind: its class in the style sheet.
        said: who decided what, in a few words.
        call: about which call.
    """

    icon: str
    kind: str
    said: str
    call: str

    def html(self) -> str:
        """As HTML that needs no widget."""
        head = f"<b>{self.icon} {escape(self.said)}</b> <span>{escape(line(self.call, 700))}</span>"
        return _article(self.kind, f"<header>{head}</header>")

    def text(self) -> str:
        """As text."""
        return f"{self.icon} {self.said} {line(self.call, 700)}"


def decided(request: ApprovalRequest, answer: Answer) -> Outcome:
    """The outcome of a decision.

    >>> request = ApprovalRequest("r1", "s3", "", "note", {"text": "x"}, "", "full", "")
    >>> decided(request, Answer("reject", "ada", "wrong text")).text()
    '✗ you rejected note(text) at step s3: wrong text'
    """
    if answer.decision == "approve":
        return Outcome("✓", "ok", "you approved", _call(request))
    return Outcome("✗", "bad", "you rejected", _call(request) + (f": {answer.reason}" if answer.reason else ""))


def left_waiting(request: ApprovalRequest) -> Outcome:
    """The outcome of a question that was left without an answer."""
    ways = f"%agent approve {request.run} or %agent reject {request.run} WHY"
    return Outcome("◇", "ask", "still waits", f"{_call(request)}: {ways}")


def _article(kind: str, inner: str) -> str:
    card = f'<article class="agentnb {kind} mathjax_ignore tex2jax_ignore">{inner}</article>'
    return f"<style>{style_sheet()}</style>{card}"


def _call(request: ApprovalRequest) -> str:
    call = f"{request.tool}({', '.join(request.args)})"
    return f"{line(call, 120)} at step {request.step}"


def _rows(request: ApprovalRequest) -> Iterator[tuple[str, str]]:
    """(name, value) of each row, both HTML."""
    words, kind = TAKEN_BACK.get(request.reversibility, (request.reversibility, "bad"))
    yield "Action", f'<code>{escape(line(request.tool, 100))}</code> · <b class="{kind}">{escape(line(words))}</b>'
    most = max(_OPEN, _ALL // max(1, len(request.args)))
    for name, value in request.args.items():
        yield escape(line(name, 60)), _value(value, most)
    if request.reasons:
        yield "Why it asks", "<br>".join(escape(line(reason, 400)) for reason in request.reasons)
    if request.expect:
        yield "Expected", escape(line(request.expect, 400))
    later = f"<code>%agent approve {escape(line(request.run, 60))}</code>"
    yield "If you don't answer", f"The cell waits. After ■, {later} makes the call."


def _value(value: JSON, most: int) -> str:
    """Prose as it is read, everything else as JSON, so that "5" and 5 are told apart."""
    prose = isinstance(value, str) and any(letter.isspace() for letter in value.strip())
    text = str(value) if prose else _json(value)
    seen = clean(text)
    spaced = text.replace("\r\n", "\n").expandtabs(4)
    unseen = "" if seen == spaced else ' <b class="bad">with characters that cannot be seen</b>'
    if len(seen) <= _OPEN:
        return (f"<span>{escape(seen)}</span>" if prose else f"<code>{escape(seen)}</code>") + unseen
    cut = f"\n… {count(len(seen) - most, 'more character')}" if len(seen) > most else ""
    size = f"<small>{count(len(seen), 'character')}</small>"
    return (
        f"<details><summary>{escape(line(seen, _OPEN // 2))} {size}</summary>"
        f"<pre>{escape(seen[:most])}{cut}</pre></details>{unseen}"
    )


def _json(value: JSON) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    return flat if len(flat) <= _LINE else json.dumps(value, ensure_ascii=False, indent=2)


def _before(so_far: Summary) -> str:
    """What the run is for and what it has done, folded."""
    done = [step for step in so_far.steps if step.mark in ("done", "empty", "failed")]
    title = "What this is for" + (f" · what happened so far ({count(len(done), 'step')})" if done else "")
    steps = f'<ol class="steps">{"".join(map(_step, done[-_STEPS:]))}</ol>' if done else ""
    return f"<details><summary>{title}</summary><p>{escape(line(so_far.task, 600))}</p>{steps}</details>"


def _step(step: StepLine) -> str:
    icon, word, kind = MARKS[step.mark]
    note = f" <small>· {escape(line(step.note))}</small>" if step.note else ""
    finding = f"<div>{escape(line(step.finding, 400))}</div>" if step.finding else ""
    said = f"{escape(line(step.title))} <code>{escape(line(step.call))}</code>{note}"
    return f'<li class="{kind}"><b role="img" aria-label="{word}">{icon}</b> <span>{said}</span>{finding}</li>'


# ---------------------------------------------------------------------------------------------------- buttons


class Card:
    """A card on display, and what is pressed on it.

    Everything but the presses happens on the cell's thread; those may come on another, and only join a queue.

    Args:
        request: the call that waits.
        so_far: the run as it is now.
        text: the same for front ends without HTML.
    """

    def __init__(self, request: ApprovalRequest, so_far: Summary, text: str) -> None:
        self._presses: queue.SimpleQueue[Press] = queue.SimpleQueue()
        self._asked = {"text/plain": text, "text/html": card_html(request, so_far)}
        self._no_buttons = f"If there are no buttons here: ■, then %agent approve {request.run}"
        self._row = _Row(self._presses.put)
        self._displays: list[DisplayHandle] = []

    def show(self) -> None:
        """Display it, with nothing in focus: Enter alone does nothing."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._row.box.model_id}
        buttons = {"text/plain": self._no_buttons, "application/vnd.jupyter.widget-view+json": view}
        for bundle in (self._asked, buttons):
            self._displays.append(display(bundle, raw=True, display_id=True))

    def decision(self) -> Literal["approve", "reject"] | None:
        """What was decided, once it was; until then whatever else was pressed is followed."""
        while not self._presses.empty():
            match self._presses.get():
                case "approve" | "reject" as decision:
                    return decision
                case press:
                    self._row.ask_reason(asked=press == "why")
        return None

    @property
    def reason(self) -> str:
        """What was typed as the reason."""
        return self._row.reason

    def replace(self, outcome: Outcome) -> None:
        """One line in place of the card; the buttons go."""
        stays = {"text/plain": outcome.text(), "text/html": outcome.html()}
        for handle, bundle in zip(self._displays, (stays, {"text/plain": ""}), strict=False):
            handle.update(bundle, raw=True)
        self._row.close()


class _Row:
    """The buttons: Approve and Reject…, or, in their place, the field for the reason with Confirm and Back."""

    def __init__(self, press: Callable[[Press], None]) -> None:
        from ipywidgets import Button, HBox, Text, VBox

        def button(text: str, press_is: Press, style: str = "") -> Any:
            made = Button(description=text, button_style=style, layout={"width": "auto"})
            made.on_click(lambda _: press(press_is))
            return made

        self._field = Text(placeholder="Why not? The agent is told, and plans anew", layout={"flex": "1 1 auto"})
        self._field.on_msg(lambda _, content, __: press("reject") if content.get("event") == "submit" else None)
        self._choice = HBox([button("Approve", "approve", "primary"), button("Reject…", "why")])
        self._reasons = HBox([self._field, button("Confirm", "reject", "danger"), button("Back", "back")])
        self._reasons.layout.display = "none"  # and not made later: what is not drawn yet takes no focus
        self.box = VBox([self._choice, self._reasons])
        for name in ("agentnb", "buttons"):
            self.box.add_class(name)

    @property
    def reason(self) -> str:
        return str(self._field.value)

    def ask_reason(self, *, asked: bool) -> None:
        """Show the field, with the cursor in it, or the choice again."""
        self._choice.layout.display, self._reasons.layout.display = ("none", "") if asked else ("", "none")
        if asked:
            self._field.focus()

    def close(self) -> None:
        """Take the widgets from the front end, with the layouts and styles that each of them has."""
        for box in (self.box, self._choice, self._reasons):
            for widget in box.children:
                for part in (widget.layout, getattr(widget, "style", None), widget):
                    if part is not None:
                        part.close()
        self.box.layout.close()
        self.box.close()
