"""A call before it is made: one way to write it, however it was spelled, and all arguments as the tool gets them."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from agentnb import Agent, ScriptedModel, Step, tool
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.budget import Budget
from agentnb.events import PlanMade, RunStarted
from agentnb.log import RunLog
from agentnb.plan import numbered
from agentnb.prepared import Prepared, prepare
from agentnb.state import Status
from agentnb.tools import Tool
from tests.parts import MemoryStore, answer, plan, step, verdict


class Color(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    """What is ordered, with a number of its own."""

    item: str
    number: uuid.UUID = Field(default_factory=uuid.uuid4)


class Payee(BaseModel):
    """Somebody, with what is not to be written down."""

    name: str
    iban: str = Field(exclude=True)


def prepared(function: Callable[..., Any], **args: Any) -> Prepared:
    """The call of `function` with `args`, as a run prepares it."""
    made = tool(effect="write", reversibility="full")(function)
    log = RunLog(MemoryStore(), "r1-test")
    start = RunStarted(
        run="r1-test", task="x", model="m", cheap_model="m", tools={made.name: made.facts}, budget=Budget()
    )
    steps = numbered([Step(tool=made.name, args=args)])
    log.append(start, PlanMade(version=1, keep=0, steps=steps, reason="", by="user"))
    found = prepare(log, made, steps[0])
    assert isinstance(found, Prepared), found
    return found


def label(row: int, kind: str = "bug", share: float = 1, tags: frozenset[str] = frozenset(), at: Any = None) -> None:
    """Label a row."""


SPELLINGS: list[dict[str, Any]] = [
    {"row": 1},
    {"row": "1"},
    {"kind": "bug", "row": 1},
    {"row": 1.0, "share": "1.0", "kind": "bug", "at": None, "tags": []},
]


@pytest.mark.parametrize("args", SPELLINGS, ids=str)
def test_a_call_is_written_in_one_way_however_it_is_spelled(args: dict[str, Any]) -> None:
    """By the order of its arguments, by texts for numbers, and by defaults that are left out: it is the same call."""
    call = prepared(label, **args)
    assert call.kept.text == '{"row":1,"kind":"bug","share":1.0,"tags":[],"at":null}'
    assert call.kwargs == {"row": 1, "kind": "bug", "share": 1.0, "tags": frozenset(), "at": None}


def test_what_is_inside_an_argument_has_an_order_too() -> None:
    """Sets and the names of objects; the order of a list is its own."""
    both = [prepared(label, row=1, tags=tags, at=at).kept for tags, at in (
        (["b", "a", "b"], {"x": [2, 1], "a": {"d": 1, "c": 2}}),
        (["a", "b"], {"a": {"c": 2, "d": 1}, "x": [2, 1]}),
    )]  # fmt: skip
    assert both[0] == both[1]
    assert prepared(label, row=1, at=[1, 2]).kept != prepared(label, row=1, at=[2, 1]).kept


def take(
    day: dt.date, price: Decimal, color: Color = Color.RED, pair: tuple[int, str] = (1, "a"), many: Any = (1, 2)
) -> None:
    """Take many types."""


def test_what_is_written_is_read_back_as_the_same_call() -> None:
    """By a resumed run, and by whoever edits it: written again it is the same to the letter."""
    first = prepared(take, day="2024-02-03", price="1.10", color="blue")
    assert first.args == {"day": "2024-02-03", "price": "1.10", "color": "blue", "pair": [1, "a"]}
    again = prepared(take, **first.args)
    assert (again.kept, again.kwargs) == (first.kept, first.kwargs)


def lossy(
    key: SecretStr,
    to: Payee,
    order: Order,
    rows: Iterable[int],
    blob: object = object(),
    n: int = 7,
) -> None:
    """Take what JSON loses something of."""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_json_would_lose_is_written_as_it_was_given() -> None:
    """A secret, a field that is not serialized, what is another one each time, and what is used up by reading it."""
    payee = {"name": "Li", "iban": "DE1"}
    given: dict[str, Any] = {"rows": ["1", 2], "key": "k", "to": payee, "order": {"item": "pen"}}
    first, second = prepared(lossy, **given), prepared(lossy, **given)
    assert first.args == {"key": "k", "to": payee, "order": {"item": "pen"}, "rows": ["1", 2], "n": 7}
    assert first.kept == second.kept
    assert list(first.kwargs["rows"]) == [1, 2]


def asked_for(made: Any, **args: Any) -> tuple[Any, list[ApprovalRequest], Agent]:
    """A run of one step that somebody approves, what was asked, and the agent."""
    cards: list[ApprovalRequest] = []

    def approver(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        cards.append(request)
        return Answer("approve", "ada")

    agent = Agent(ScriptedModel([answer()]), tools=[made], store=MemoryStore(), approver=approver)
    return agent.run("x", plan=[step(made.name, **args)]), cards, agent


def test_a_person_is_shown_every_argument_as_the_tool_gets_it() -> None:
    """Defaults that nobody wrote too: they may be the amount that is paid."""
    got: list[Any] = []

    @tool(effect="write")
    def pay(to: str, amount: float = 1000) -> None:
        """Pay."""
        got.append({"to": to, "amount": amount})

    _, cards, _ = asked_for(pay, to="bob")
    assert [dict(card.args) for card in cards] == got == [{"to": "bob", "amount": 1000}]


def test_a_value_that_is_another_one_each_time_can_be_approved() -> None:
    """The leave is for what is written, and that stays the same."""
    got: list[Order] = []

    @tool(effect="write")
    def order(what: Order) -> None:
        """Order."""
        got.append(what)

    it, cards, _ = asked_for(order, what={"item": "pen"})
    assert (it.status, len(cards), [one.item for one in got]) == (Status.COMPLETED, 1, ["pen"])


def test_leave_for_what_an_argument_came_to_is_none_for_what_it_comes_to_now() -> None:
    """A type that reads the clock, or has changed since: a person is asked anew, and told why."""
    day, got = ["Monday"], []
    relative = Annotated[str, BeforeValidator(lambda text: day[0] if text == "today" else text)]

    def book(on: str) -> None:
        """Book."""
        got.append(on)
        assert day

    book.__annotations__["on"] = relative
    made: Tool = tool(effect="write")(book)
    agent = Agent(ScriptedModel([answer()]), tools=[made], store=MemoryStore())
    it = agent.run("x", plan=[step("book", on="today")])
    day[0] = "Tuesday"
    it.approve()
    (item,) = it.pending
    assert (got, dict(item.args)) == ([], {"on": "Tuesday"})
    assert item.reasons == ("its arguments come to something else than was approved",)
    assert (it.approve().status, got) == (Status.COMPLETED, ["Tuesday"])


@pytest.mark.parametrize("again", [{"row": 1, "kind": "bug"}, {"kind": "bug", "row": 1}, {"row": "1"}], ids=str)
def test_a_plan_that_is_revised_does_not_act_twice_by_spelling_a_call_otherwise(again: dict[str, Any]) -> None:
    """It is the call that was made already, and a person is asked about that."""
    done: list[Any] = []

    @tool(effect="write", reversibility="full", name="label")
    def labels(row: int, kind: str = "bug") -> None:
        """Label a row."""
        done.append((row, kind))

    @tool(effect="read")
    def look() -> list[int]:
        """Look."""
        return []

    lines = [plan(step("label", row=1), step("look")), verdict("revise"), plan(step("label", **again))]
    it = Agent(ScriptedModel(lines), tools=[labels, look], store=MemoryStore(), approve="auto").run("x")
    assert (done, it.status) == ([(1, "bug")], Status.AWAITING_APPROVAL)
    assert "exactly this call already" in it.pending[0].reasons[0]


def test_an_edit_is_of_the_call_and_not_of_its_spelling() -> None:
    """A number as a text is no change; what is changed is held as the tool gets it."""
    got: list[int] = []

    @tool(effect="write")
    def order(n: int, by: str = "ada") -> None:
        """Order."""
        got.append(n)
        assert by == "ada"

    agent = Agent(ScriptedModel([answer()]), tools=[order], store=MemoryStore())
    it = agent.run("x", plan=[step("order", n="3")])
    with pytest.raises(Exception, match="the edit changes nothing of order"):
        it.edit({"n": "3"})
    assert (it.edit({"n": "4"}).status, got) == (Status.COMPLETED, [4])
    edits: Any = lambda _: Answer("edit", "ada", args={"n": "5"})  # noqa: E731
    agent = Agent(ScriptedModel([answer()]), tools=[order], store=MemoryStore(), approver=edits)
    assert (agent.run("x", plan=[step("order", n=3)]).status, got) == (Status.COMPLETED, [4, 5])
