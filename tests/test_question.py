"""A question what a call rests on, where people see it: the card, its buttons, the typed answer, the commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Run
from agentnb.approval import Answer, ApprovalRequest, QuestionRequest, person
from agentnb.errors import ConfigError
from agentnb.events import QuestionAnswered, Statement
from agentnb.mailbox import posted
from agentnb.notebook.arguments import BadArguments, command_arguments
from agentnb.notebook.asking import ask_by_text, nobody_here
from agentnb.notebook.card import card_html
from agentnb.notebook.outcome import decided, left_waiting
from agentnb.notebook.typed import question, reply
from agentnb.policy import Assess
from agentnb.retelling import retold
from agentnb.state import Status
from tests.cells import Cells, notebook_in, scripted
from tests.parts import NOTES, answer, plan, step
from tests.test_buttons import Pressed, _shell
from tests.test_card import HOSTILE

__all__ = ["_shell"]  # the fixture: every card needs a shell to be displayed in

ASKED = QuestionRequest(
    run="r7-kestrel",
    step="s4",
    title="Tell the boss",
    tool="send_mail",
    args={"to": "boss@example.com", "subject": "Delays", "body": "Frontier is the latest airline."},
    gaps=(Statement(text="Which address your boss has", critical=True, argument="to"),),
    reversibility="irreversible",
    egress=True,
    task="Find the latest airline and tell my boss.",
    so_far=("s1 Find the latest airline: Frontier, 20.2 minutes",),
    replans=True,
)
GUESS = step("note", "Keep the boss's number", text="Call 555-0199.")
GAP = (
    "assess",
    {
        "statements": [
            {"argument": "text", "text": "the number", "sources": [], "status": "unknown", "critical": True},
        ]
    },
)


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


# ---------------------------------------------------------------------------------------------------- the card


def test_the_card_says_what_is_missing_and_why_it_matters() -> None:
    """The gap, the value that nobody has said, the risk, the whole call, and how to answer later."""
    shown = card_html(ASKED)
    for told in (
        "Needs to know", "<code>to</code>: <strong>Which address your boss has</strong>",
        "The call would be made with to=&quot;boss@example.com&quot;, which neither the task nor a result says.",
        "cannot be taken back", "sends data out", "Frontier is the latest airline.",
        "%agent answer r7-kestrel TEXT", "%agent go-on r7-kestrel", "So far",
        "Find the latest airline and tell my boss.",
    ):  # fmt: skip
        assert told in shown
    text = question(ASKED)
    for told in (
        "r7-kestrel needs to know something before s4: Tell the boss",
        "Not known: to: Which address your boss has",
        'made with to="boss@example.com"',
        "This cannot be taken back and sends data out of this machine.",
    ):
        assert told in text


def test_nothing_of_strangers_is_markup() -> None:
    """In the gap, the arguments, the title and the answer."""
    hostile = replace(
        ASKED,
        run=HOSTILE,
        title=HOSTILE,
        args={"to": HOSTILE},
        gaps=(Statement(text=HOSTILE, argument="to"), Statement(text="x", argument=HOSTILE)),
        task=HOSTILE,
        so_far=(HOSTILE,),
    )
    shown = [
        card_html(hostile),
        left_waiting(hostile).html(),
        decided(hostile, Answer("answer", "ada", HOSTILE)).html(),
    ]
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    for html in shown:
        Tags().feed(html)
    assert not {"script", "img"} & set(tags)


def test_the_buttons() -> None:
    """One field, and nothing that answers by accident: Enter in an empty field says nothing."""
    pressed = Pressed(ASKED)
    assert pressed.seen() == ["Answer", "Go on anyway", "Stop the run"]
    assert pressed.named("Answer").disabled
    field = pressed.named("Your answer")
    for typed in ("", "   "):
        field.value = typed
        field._handle_custom_msg({"event": "submit"}, [])
        assert pressed.decision() is None
        pressed.late.append(lambda: setattr(field, "value", "g"))
        assert pressed.press("Answer") is None  # a front end may send a press of a disabled button
        pressed.late.clear()
    field.value = " grace@exam"
    assert not pressed.named("Answer").disabled
    pressed.late.append(lambda: setattr(field, "value", " grace@example.com "))
    assert pressed.press("Answer") == Answer("answer", by=person(), reason="grace@example.com")


@pytest.mark.parametrize(("button", "decision"), [("Go on anyway", "go_on"), ("Stop the run", "stop")])
def test_the_ways_to_do_without(button: str, decision: Any) -> None:
    """What is typed is no part of them."""
    pressed = Pressed(ASKED)
    pressed.named("Your answer").value = "half an ans"
    assert pressed.press(button) == Answer(decision, by=person())


def test_enter_answers_what_is_typed() -> None:
    """As a click does."""
    pressed = Pressed(ASKED)
    field = pressed.named("Your answer")
    field.value = "grace@example.com"
    field._handle_custom_msg({"event": "submit"}, [])
    assert pressed.decision() == Answer("answer", by=person(), reason="grace@example.com")


def test_what_stays_of_it() -> None:
    """One line: who said what, or how to answer it later."""
    call = "send_mail(to, subject, body) at step s4"
    for answered, said in (
        (Answer("answer", "ada", "grace@example.com"), f"✓ you answered {call}: grace@example.com"),
        (Answer("go_on", "ada"), f"✓ you went on without an answer: {call}"),
        (Answer("stop", "ada"), f"■ you stopped the run at {call}"),
    ):
        assert decided(ASKED, answered).text() == said
    later = left_waiting(ASKED).text()
    ways = "%agent answer r7-kestrel TEXT or %agent go-on r7-kestrel or %agent cancel r7-kestrel"
    assert later == f"◇ still waits {call}: {ways}"


# ---------------------------------------------------------------------------------------------------- by text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", None), ("  ", None), ("go on", ("go_on", "")), ("Go-on.", ("go_on", "")), ("stop", ("stop", "")),
        ("grace@example.com", ("answer", "grace@example.com")), ("go on holiday", ("answer", "go on holiday")),
    ],
)  # fmt: skip
def test_what_is_typed(typed: str, said: Any) -> None:
    """Enter alone is nothing, two words are commands, all else is the answer."""
    assert reply(typed) == said


def test_it_is_asked_again_after_an_empty_line() -> None:
    """Until something is typed; without anybody there the run waits, whatever the policy says of approvals."""
    lines, told = iter(["", "grace@example.com"]), list[str]()
    assert ask_by_text(ASKED, lambda _: next(lines), told.append) == Answer("answer", person(), "grace@example.com")
    assert "Type what is asked" in told[-1]
    assert nobody_here(ASKED) is None


# ---------------------------------------------------------------------------------------------------- in a cell


def asked_in(cells: Cells, *more: Any, flags: str = "") -> tuple[str, str]:
    """The two lines of a cell that ends with the question."""
    cells.names["m"] = scripted(plan(GUESS), GAP, *more)
    cells.names["nobody"] = lambda _: None
    return cells.error(f"r --model m --tools note --approve auto --approver nobody {flags}", "Keep my boss's number.")


def test_a_cell_without_anybody_ends_with_the_line_that_goes_on(cells: Cells) -> None:
    """Two lines, no traceback; `%agent pending` lists it."""
    what, todo = asked_in(cells)
    run = cells.names["r"].id
    assert what == f"agentnb: {run} rests: waits for your answer, s1 note(text)"
    assert todo.startswith(f"go on with %agent answer {run} TEXT or %agent go-on {run} or ")
    assert NOTES == []
    listed = cells.line("pending")
    assert "question" in listed
    assert "text: the number" in listed
    assert "answer RUN TEXT · go-on RUN" in listed


def test_an_answer_on_a_line(cells: Cells) -> None:
    """The rest of the line as it stands, apostrophes and all; the run is bound to its name again."""
    asked_in(cells, plan(step("note", text="Call 555-0123.")), answer("Kept."))
    run = cells.names["r"].id
    cells.line(f"answer {run} it's 555-0123")
    done = cells.names["r"]
    assert (done.status, done.output, NOTES) == (Status.COMPLETED, "Kept.", ["Call 555-0123."])
    assert "it's 555-0123" in cells.text
    replayed = cells.line(f"replay {run}")
    for told in ("assessment made", "1 unknown, missing: text: the number", "question asked", "question answered"):
        assert told in replayed


def test_going_on_and_cancelling_on_a_line(cells: Cells) -> None:
    """Each ends the question; an answer with nothing in it, or where nothing is asked, says what to do."""
    asked_in(cells, answer("Kept."))
    run = cells.names["r"].id
    assert "write `%agent answer" in cells.line_error(f"answer {run}")[1]
    cells.line(f"go-on {run}")
    assert NOTES == ["Call 555-0199."]
    assert "assumed, as a person went on without knowing: text: the number" in cells.text
    assert cells.line_error(f"go-on {run}")[0].startswith(f"agentnb: nothing in {run} waits for an answer")
    asked_in(cells, flags="--fresh")
    cells.line(f"cancel {cells.names['r'].id}")
    assert cells.names["r"].status is Status.CANCELLED


def test_where_the_tools_are_not_here_the_answer_is_recorded(cells: Cells) -> None:
    """And the run rests, saying so."""
    asked_in(cells)
    run = cells.names["r"].id
    del cells.names["note"]
    shown = cells.line(f"answer {run} 555-0123")
    assert "is answered by you, rests" in shown
    assert f"%agent resume {run}" in shown


def test_the_flag(cells: Cells) -> None:
    """A number of steps, or off; anything else is refused with an example."""
    cells.names["m"] = scripted(answer())
    cells.cell("r --model m --assess 3", "Say it.")
    assert cells.names["r"].state.head.assess == Assess(every=3)
    cells.names["m"] = scripted(answer())
    cells.cell("r --model m --assess off", "Say it.")
    assert cells.names["r"].state.head.assess is None
    assert cells.error("--model m --assess never") == (
        "agentnb: --assess 'never' is neither off nor a number of steps", "give e.g. --assess 5"
    )  # fmt: skip
    assert "off" in cells.offered("%%agent --assess o")
    assert "go-on" in cells.offered("%agent go")


def test_an_answer_from_another_process_is_left_for_the_driver(cells: Cells) -> None:
    """While a cell asks, an answer given elsewhere is put into the store, once."""
    left: list[Any] = []

    def elsewhere(request: QuestionRequest | ApprovalRequest) -> Answer | None:
        other = Run(Agent(store=".agentnb"), request.run)
        other.go_on(by="ada")
        with pytest.raises(ConfigError, match="answered already"):
            other.answer("555-0123")
        left.append(posted(other.keeper.store, request.run, other.state.question_at))
        return None

    cells.names.update(m=scripted(plan(GUESS), GAP, answer("Kept.")), elsewhere=elsewhere)
    cells.cell("r --model m --tools note --approve auto --approver elsewhere", "Keep my boss's number.")
    assert NOTES == ["Call 555-0199."]
    assert left == [Answer("go_on", "ada")]


def test_events_in_words() -> None:
    """A stop has its reason."""
    assert retold(QuestionAnswered(step="s1", decision="go_on", by="ada")) == ("question answered", "s1 go on by ada")
    with pytest.raises(BadArguments, match="is missing"):
        command_arguments("go-on", "")
