"""Guards: what code does not allow is not done, and what it is not sure of is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import BaseModel

from agentnb import Agent, Answer, ScriptedModel, Step, ask, at_most, deny, matching, max_value, min_value, one_of, tool
from agentnb.approval import Request
from agentnb.errors import ConfigError, ToolDefinitionError
from agentnb.guards import ALLOW, Guard, GuardedCall, Ruling, rulings
from agentnb.run import Run
from agentnb.state import RunState, Status
from agentnb.store.disk import DiskStore
from tests.parts import MemoryStore, answer, plan, step, verdict

PAID: list[float] = []


@pytest.fixture(autouse=True)
def nothing_paid() -> None:
    PAID.clear()


def paying(*guards: Guard, effect: Any = "write", **options: Any) -> Any:
    """A tool that pays, under these guards."""

    @tool(effect=effect, reversibility="full", guards=guards, **options)
    def pay(amount: float, to: str = "ada") -> str:
        """Pay somebody.

        Args:
            amount: euros.
            to: whom.
        """
        PAID.append(amount)
        return f"{to} has got {amount}"

    return pay


def said(guard: Guard, **args: Any) -> Ruling | None:
    return guard(GuardedCall("pay", args, RunState()))


@pytest.mark.parametrize(
    ("guard", "allowed", "denied", "words"),
    [
        (max_value("amount", 100), {"amount": 100}, {"amount": 100.5}, "amount is 100.5, at most 100 is allowed"),
        (
            max_value("amount", 1_234_567.5),
            {"amount": 1_234_567.5},
            {"amount": 1_234_567.75},
            "amount is 1234567.75, at most 1234567.5 is allowed",
        ),
        (min_value("amount", 1), {"amount": 1}, {"amount": 0}, "amount is 0, at least 1 is allowed"),
        (one_of("to", "ada", "bob"), {"to": "bob"}, {"to": "eve"}, "to is 'eve', it may be 'ada', 'bob'"),
        (matching("to", r"\w+@us"), {"to": "ada@us"}, {"to": "ada@us.evil"}, "it must match"),
    ],
    ids=["max", "large", "min", "one_of", "matching"],
)
def test_ready_made_guards_say_what_is_allowed(guard: Guard, allowed: Any, denied: Any, words: str) -> None:
    """Each lets the one pass and denies the other with the numbers; an argument that is not there denies too."""
    assert said(guard, **allowed) == ALLOW
    ruling = said(guard, **denied)
    assert ruling is not None
    assert ruling.decision == "deny"
    assert words in ruling.reason
    assert "no argument" in (said(guard, other=1) or ALLOW).reason


def test_a_guard_that_cannot_say_denies() -> None:
    """One that raises, or gives something else than a Ruling, is no leave."""

    def broken(_: GuardedCall) -> Ruling:
        raise KeyError("limit")

    odd: Any = lambda _: True  # noqa: E731
    guards = [broken, odd, lambda _: None, lambda _: ask("look")]
    denied, asked = rulings(guards, lambda: GuardedCall("pay", {}, RunState()))
    assert [reason.split(":")[0] for reason in denied] == [
        "the guard broken failed",
        "the guard <lambda> gave True, which is no Ruling",
    ]
    assert asked == ("look",)


class Speechless(Exception):
    """What has neither a text nor a form to be shown in."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_whatever_a_guard_raises_or_gives_denies() -> None:
    """Also what cannot even be told: a run does not end with the exception of an exception."""

    def fails(_: GuardedCall) -> Ruling:
        raise Speechless

    odd: Any = lambda _: Speechless()  # noqa: E731
    vague: Any = lambda _: deny(Speechless())  # type: ignore[arg-type]  # noqa: E731
    denied, asked = rulings([fails, odd, vague], lambda: GuardedCall("pay", {}, RunState()))
    assert denied[0] == "the guard fails failed: Speechless: (no message: RuntimeError)"
    assert [why.partition(" failed: ")[2] for why in denied[1:]] == ["RuntimeError: no text"] * 2
    assert asked == ()


def test_an_async_guard_denies_and_says_so() -> None:
    """Nothing of it has run, so it has allowed nothing."""

    async def later(_: GuardedCall) -> None:
        """Allow."""

    odd: Any = later
    said = "the guard later is async, and nobody waits for it: make it a plain function"
    assert rulings([odd], lambda: GuardedCall("pay", {}, RunState())) == ((said,), ())


class Basket(BaseModel):
    """What is bought."""

    items: list[str]


def test_what_a_guard_does_to_its_arguments_is_not_what_is_called() -> None:
    """What was approved is what the tool gets, and one guard shows the next what there is: an iterator is whole too."""
    got: list[Any] = []

    def meddles(call: GuardedCall) -> None:
        args: Any = call.args
        args["amount"], args["basket"].items[:], args["to"] = 1, ["gold"], ["mallory"]

    def counts(call: GuardedCall) -> Ruling | None:
        return deny("too many") if sum(call.args["rows"]) > 10 else None

    def names(call: GuardedCall) -> Ruling | None:
        return deny("to mallory") if "mallory" in call.args["to"] else None

    @tool(effect="write", reversibility="full", guards=[meddles, counts, counts, names])
    def buy(amount: int, basket: Basket, to: list[str], rows: Iterable[int]) -> int:
        """Buy."""
        got.append((amount, basket.items, to, [*rows]))
        return amount

    shown: list[Any] = []

    def approver(request: Any) -> Answer:
        shown.append(request.args)
        return Answer("approve", "ada")

    def bought(rows: list[int]) -> Run:
        args = {"amount": 50, "basket": {"items": ["tea"]}, "to": ["ada"], "rows": rows}
        agent = Agent(ScriptedModel([answer()]), tools=[buy], store=MemoryStore(), approver=approver)
        return agent.run("buy", plan=[Step(tool="buy", args=args)])

    assert bought([1, 2, 3]).status is Status.COMPLETED
    assert got == [(50, ["tea"], ["ada"], [1, 2, 3])]
    assert shown == [{"amount": 50, "basket": {"items": ["tea"]}, "to": ["ada"], "rows": [1, 2, 3]}]
    assert "too many; too many" in bought([9, 9]).detail
    assert len(got) == 1


def test_what_is_no_guard_is_refused_when_the_tool_is_made() -> None:
    """A number is no guard, and a pattern that is none is said at once."""
    with pytest.raises(ToolDefinitionError, match="the guard 100 is not a function"):
        paying(100)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no regular expression"):
        matching("to", "(")


@pytest.mark.parametrize(
    ("make", "args", "words"),
    [
        (max_value, ("amount", "100"), "max_value compares with a number, and '100' is none"),
        (min_value, ("amount", float("nan")), "and nan is none"),
        (min_value, ("amount", True), "and True is none"),
        (max_value, (100, 5), "100 names no argument to guard"),
        (one_of, ("to",), r"one_of\('to'\) allows nothing"),
        (matching, ("to", None), "the pattern None is no regular expression"),
        (at_most, ("3",), r"at_most\('3'\) is no number of times"),
        (at_most, (-1,), "a whole number, 0 or more"),
    ],
)
def test_a_guard_that_could_never_hold_is_refused_when_it_is_made(make: Any, args: Any, words: str) -> None:
    """What would deny each call, or let each pass, is said at once and not by the first call."""
    with pytest.raises(ConfigError, match=words):
        make(*args)


@pytest.mark.parametrize(
    ("make", "args"),
    [(max_value, ("amount", 1)), (one_of, ("to", "ada")), (matching, ("to", "ada")), (at_most, (1,))],
)
def test_a_guard_asks_or_denies_and_nothing_else(make: Any, args: Any) -> None:
    """`otherwise="allow"` would be no guard."""
    for otherwise in ("allow", "block", None):
        with pytest.raises(ConfigError, match="neither 'ask' nor 'deny'"):
            make(*args, otherwise=otherwise)


def test_a_denied_call_is_not_made_and_the_planner_reads_why(store: DiskStore) -> None:
    """Nobody is even asked; the plan changes, with the numbers."""
    made = paying(max_value("amount", 100))
    asked: list[Any] = []

    def approver(request: Request) -> Answer:
        asked.append(request)
        return Answer("approve", "ada")

    lines = [plan(step("pay", amount=250)), plan(step("pay", amount=90)), answer()]
    with ScriptedModel(lines) as model:
        it = Agent(model, tools=[made], store=store, approver=approver).run("pay")
    assert "amount is 250, at most 100 is allowed" in model.requests[1].prompt
    assert (PAID, [request.args["amount"] for request in asked], it.status) == ([90.0], [90], Status.COMPLETED)


def test_a_guard_that_asks_needs_a_person_whatever_the_policy_says(store: DiskStore) -> None:
    """Even for what only reads, and under `auto`; the person is told why."""
    made = paying(max_value("amount", 100, otherwise="ask"), effect="read")
    seen: list[Any] = []

    def approver(request: Any) -> Answer:
        seen.append(request)
        return Answer("approve", "ada")

    with ScriptedModel(
        [plan(step("pay", amount=250), step("pay", amount=10)), verdict(), verdict(), answer()]
    ) as model:
        Agent(model, tools=[made], store=store, approve="auto", approver=approver).run("pay")
    assert PAID == [250.0, 10.0]
    assert [request.reasons for request in seen] == [("amount is 250, at most 100 is allowed",)]


def test_a_guard_is_asked_again_right_before_the_call(store: DiskStore) -> None:
    """What has changed while a person thought about it is denied after all."""
    open_now = [True]
    made = paying(lambda _: ALLOW if open_now[0] else deny("the till is closed"))

    def approver(request: Request) -> Answer:
        open_now[0] = not request.tool
        return Answer("approve", "ada")

    with ScriptedModel([plan(step("pay", amount=5)), plan(), answer()]) as model:
        it = Agent(model, tools=[made], store=store, approver=approver).run("pay")
    assert PAID == []
    assert "the till is closed" in it.state.outcomes[0].message


def test_a_run_that_repeats_itself_is_asked_about(store: DiskStore) -> None:
    """`at_most` counts what this run has carried out."""
    made = paying(at_most(2))
    steps = [step("pay", amount=n) for n in (1, 2, 3)]
    with ScriptedModel([plan(*steps)]) as model:
        it = Agent(model, tools=[made], store=store, approve="auto").run("pay")
    assert (it.status, PAID) == (Status.AWAITING_APPROVAL, [1.0, 2.0])
    assert it.state.raised == ("pay was carried out 2 times in this run, 2 are allowed",)


def test_what_was_only_proposed_is_not_counted_and_what_a_person_did_is() -> None:
    """Of two actions one may be carried out; the other is denied then, and not before."""
    made = paying(at_most(1, otherwise="deny"), effect="destructive")
    lines = [plan(step("pay", amount=1), step("pay", amount=2)), answer()]
    it = Agent(ScriptedModel(lines), tools=[made], store=MemoryStore()).run("pay")
    assert [(item.number, item.reasons) for item in it.pending] == [(1, ()), (2, ())]
    it.execute(1)
    with pytest.raises(ConfigError, match="carried out 1 times in this run, 1 are allowed"):
        it.execute(2)
    assert PAID == [1.0]


def test_what_an_earlier_run_did_is_not_counted_in_this_one() -> None:
    """The step got its result, and nothing was carried out; what reads counts."""
    made = paying(at_most(1, otherwise="deny"), once_per=["amount"])
    store = MemoryStore()
    for steps in ([step("pay", amount=1)], [step("pay", amount=1), step("pay", amount=2)]):
        it = Agent(ScriptedModel([plan(*steps), answer()]), tools=[made], store=store, approve="auto").run("pay")
        assert it.status is Status.COMPLETED
    assert PAID == [1.0, 2.0]
    looks = paying(at_most(1), effect="read")
    lines = [plan(step("pay", amount=3), step("pay", amount=4)), verdict()]
    it = Agent(ScriptedModel(lines), tools=[looks], store=store, approve="auto").run("pay")
    assert (it.status, PAID) == (Status.AWAITING_APPROVAL, [1.0, 2.0, 3.0])
