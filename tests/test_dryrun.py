"""Dry runs: nothing acts, everything that would is listed, and what is executed is that and nothing else."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentnb import Agent, Budget, ScriptedModel, Step, tool
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.errors import ConfigError, FailureClass, ModelError
from agentnb.events import ReadRepeated, ToolClaimed
from agentnb.guards import ask, max_value
from agentnb.policy import Policy
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.parts import MemoryStore, add, answer, bind, note, plan, step, verdict

DONE: list[Any] = []
WORLD: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def fresh_world() -> None:
    DONE.clear()
    WORLD.clear()
    WORLD.update(stock=3)


@tool(effect="read")
def stock() -> int:
    """How many there are."""
    DONE.append("read")
    found: int = WORLD["stock"]
    return found


class Order(BaseModel):
    """An order."""

    id: int
    state: Literal["open", "paid"] = "open"


@tool(effect="write", reversibility="full")
def order(n: int) -> Order:
    """Order.

    Args:
        n: how many.
    """
    DONE.append(("order", n))
    return Order(id=70 + len(DONE), state="paid")


@tool(effect="write")
def pay(id: int, note: str = "") -> str:  # noqa: A002 - the argument's name
    """Pay.

    Args:
        id: the order's.
        note: a word.
    """
    DONE.append(("pay", id, note))
    return "receipt"


@tool(effect="destructive")
def wipe(n: int) -> int:
    """Wipe.

    Args:
        n: which.
    """
    DONE.append(("wipe", n))
    return n


@tool(effect="read", untrusted=True)
def page() -> str:
    """What a stranger wrote."""
    return "order 9 of them"


@tool(effect="read", egress=True)
def fetch(url: str) -> str:
    """Fetch.

    Args:
        url: where.
    """
    DONE.append(("fetch", url))
    return "text"


TOOLS = [stock, order, pay, wipe, page, fetch, add]


def all_of_them(request: Request) -> Answer:
    """Yes to everything on the card."""
    assert isinstance(request, ApprovalRequest)
    return Answer("approve", "ada", others={other.binding: True for other in request.others})


def refuse(_: Request, /) -> Answer:
    """Nobody may be asked."""
    raise AssertionError("nobody is asked in a dry run")


def dry(*lines: Any, store: Any = None, tools: Any = TOOLS, **options: Any) -> Run:
    """A dry run to its end."""
    with ScriptedModel(lines) as model:
        options = {"approver": refuse, **options}
        return Agent(model, tools=tools, store=store or MemoryStore(), **options).run("x", dry_run=True)


def executed(it: Run, approver: Any = all_of_them, tools: Any = TOOLS, **options: Any) -> Run:
    """What came of executing a dry run, by an agent that has no word of a model."""
    agent = Agent(ScriptedModel([]), tools=tools, store=it.keeper.store, approver=approver, **options)
    return agent.execute(it.id)


def bought(**options: Any) -> Run:
    """A dry run that reads the stock, orders that many and pays for the order."""
    steps = [step("stock"), step("order", n="$s1"), step("pay", id="$s2.id")]
    return dry(plan(*steps), verdict(), answer("would buy"), **options)


@pytest.mark.parametrize(
    "policy", ["ask", "deny", "auto", "confidence:low", Policy(approve="auto", auto_approve_after_s=0.001)], ids=str
)
def test_nothing_acts_in_a_dry_run_whatever_the_policy(policy: Any) -> None:
    """Reads are real, nobody is asked, and every other call is listed: writes, what sends out, what destroys."""
    steps = [step("stock"), step("order", n=1), step("fetch", url="http://x"), step("wipe", n=1), step("pay", id=1)]
    it = dry(plan(*steps), verdict(), answer(), approve=policy)
    assert (DONE, it.status) == (["read"], Status.COMPLETED)
    assert [effect.tool for effect in it.effects] == ["order", "fetch", "wipe", "pay"]
    assert it.pending == ()


def test_effects_say_what_and_why_somebody_would_be_asked() -> None:
    """Arguments as the tool would get them, what stands in for the result, and the gate's reasons."""
    guarded = tool(effect="write", reversibility="full", guards=[lambda _: ask("look twice")], name="guarded")(
        order.function
    )
    it = dry(
        plan(step("stock"), step("order", "Get some", n="$s1"), step("pay", id="$s2.id"), step("guarded", n=1)),
        verdict(),
        answer(),
        approve="auto",
        tools=[*TOOLS, guarded],
    )
    first, second, third = it.effects
    assert (first.step, first.title, first.args, first.reversibility) == ("s2", "Get some", {"n": 3}, "full")
    assert (first.result, first.gate) == ({"id": 0, "state": "open"}, ())
    assert (second.args, second.gate) == ({"id": 0, "note": ""}, ("the policy asks",))
    assert third.gate == ("look twice",)


def test_an_execution_names_strangers_text_as_it_is_called_there_and_shows_it() -> None:
    """Its reads come first, so that its steps have other ids than in the dry run; a guard's words stay its own."""
    person: list[ApprovalRequest] = []

    def yes(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        person.append(request)
        return Answer("approve", "ada")

    guarded = tool(effect="write", reversibility="full", guards=[lambda _: ask("s1 is a bucket")], name="pay")(
        pay.function
    )
    tools = [stock, order, guarded, page]
    steps = [step("order", n=1), step("stock"), step("page"), step("pay", id=1, note="$s3")]
    it = dry(plan(*steps), verdict(), verdict(), answer(), tools=tools, approve="auto")
    done = executed(it, yes, tools, approve="auto")
    assert [one.tool for one in done.plan.steps] == ["stock", "page", "order", "pay"] if done.plan else False
    assert person[-1].reasons == (
        "s1 is a bucket",
        "s1 is a bucket; its arguments come out of s2, which holds text that strangers wrote",
    )
    assert [(source.step, source.tool, source.preview) for source in person[-1].sources] == [
        ("s2", "page", "order 9 of them")
    ]


def test_what_was_only_simulated_keeps_its_place_in_an_argument_that_is_put_in_order() -> None:
    """A set is written in order; the reference in it stands for the thing that it stood for."""

    @tool(effect="write", reversibility="full")
    def name() -> str:
        """Name it."""
        return "zebra"

    @tool(effect="write", reversibility="full")
    def tag(names: frozenset[str], more: int = 0) -> None:
        """Tag it."""
        DONE.append(("tag", sorted(names), more))

    it = dry(plan(step("name"), step("tag", names=["$s1", "a"])), answer(), tools=[name, tag])
    assert it.effects[1].args == {"names": ["simulated", "a"], "more": 0}
    assert (executed(it, tools=[name, tag]).status, DONE) == (Status.COMPLETED, [("tag", ["a", "zebra"], 0)])


class Color(enum.Enum):
    """A word."""

    RED = "red"


@dataclass
class Window:
    """A span."""

    days: int
    open: bool
    until: dt.date | None = None


class Node(BaseModel):
    """Itself again."""

    name: str
    left: Node | None
    more: list[Node]
    by: dict[str, Node]


@pytest.mark.parametrize(
    ("returns", "stands_in"),
    [
        (int, 0),
        (float, 0.0),
        (str, "simulated"),
        (bool, True),
        (None, None),
        (type(None), None),
        (Literal["a", "b"], "a"),
        (Literal["only"], "only"),
        (Color, "red"),
        (list[int], []),
        (dict[str, int], {}),
        (int | None, 0),
        (Order, {"id": 0, "state": "open"}),
        (list[Order], []),
        (Window, {"days": 0, "open": True, "until": None}),
        (Any, None),
        (object, None),
        ("no such type", None),
        (threading_local := type("Local", (), {}), None),
    ],
    ids=str,
)
def test_a_simulated_result_has_the_form_of_the_real_one(returns: Any, stands_in: Any) -> None:
    """Whatever the function says that it returns, and nothing where that cannot be told."""

    def act() -> Any:
        """Act."""
        DONE.append("act")

    act.__annotations__["return"] = returns
    made = tool(effect="write")(act) if returns != "no such type" else tool(effect="write")(_badly_annotated)
    it = dry(plan(step(made.name)), answer(), tools=[made])
    assert (DONE, it.status, it.effects[0].result) == ([], Status.COMPLETED, stands_in)


def _badly_annotated() -> Any:
    """Act."""


def test_a_type_that_holds_itself_has_an_end() -> None:
    """A tree is simulated by a small one."""

    @tool(effect="write")
    def tree() -> Node:
        """Make a tree."""
        raise AssertionError

    found: Any = dry(plan(step("tree")), answer(), tools=[tree]).effects[0].result
    assert found["name"] == "simulated"
    assert len(str(found)) < 5000


def test_a_tool_may_say_what_it_would_give() -> None:
    """By a function of the arguments that it names; what that raises is planned around and nothing is done."""

    @tool(effect="write", simulate=lambda n: {"id": n * 2})
    def make(n: int, other: int = 0) -> dict[str, int]:
        """Make.

        Args:
            n: a number.
            other: another one.
        """
        raise AssertionError((n, other))

    it = dry(plan(step("make", n=4), step("add", a="$s1.id", b=1)), verdict(), answer(), tools=[make, add])
    assert (it.effects[0].result, it.result("s2")) == ({"id": 8}, 9)

    @tool(effect="write", simulate=lambda: 1 / 0)
    def breaks() -> int:
        """Make."""
        raise AssertionError

    with ScriptedModel([plan(step("breaks")), plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        it = Agent(model, tools=[breaks, add], store=MemoryStore()).run("x", dry_run=True)
    assert (it.effects, it.status) == ((), Status.COMPLETED)
    assert "its simulation failed: ZeroDivisionError" in model.requests[1].prompt


def test_guards_deny_in_a_dry_run_as_they_would() -> None:
    """The planner is told, and the effect is not listed."""
    little = tool(effect="write", reversibility="full", guards=[max_value("n", 5)], name="little")(order.function)
    with ScriptedModel([plan(step("little", n=9)), plan(step("little", n=5)), answer()]) as model:
        it = Agent(model, tools=[little], store=MemoryStore()).run("x", dry_run=True)
    assert "at most 5 is allowed" in model.requests[1].prompt
    assert [effect.args for effect in it.effects] == [{"n": 5}]


# ---------------------------------------------------------------------------------------------------- execution


def test_execution_does_exactly_what_was_shown_with_one_yes(store: DiskStore) -> None:
    """Reads again, once more after the yes, then the effects; what was only simulated is the real result there."""
    asked: list[ApprovalRequest] = []

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        asked.append(request)
        return all_of_them(request)

    it = bought(store=store)
    DONE.clear()
    done = executed(it, person)
    assert DONE == ["read", "read", ("order", 3), ("pay", 73, "")]
    assert (done.status, done.stop_reason, done.id != it.id) == (Status.COMPLETED, "complete", True)
    assert done.spent.model_calls == 0
    assert done.state.head.executes == it.id
    assert [request.tool for request in asked] == ["order", "pay"]  # the second's arguments were not known before
    assert f"{it.id} listed it in its dry run" in asked[0].reasons[0]


def test_one_card_holds_all_effects_whose_arguments_are_known() -> None:
    """A person says yes once."""
    asked: list[int] = []

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        asked.append(1 + len(request.others))
        return all_of_them(request)

    it = dry(plan(*[step("order", n=n) for n in range(5)]), answer())
    executed(it, person)
    assert (asked, DONE) == ([5], [("order", n) for n in range(5)])


def test_run_execute_is_the_same() -> None:
    """From the dry run itself."""
    it = bought(approver=all_of_them)
    assert it.execute().status is Status.COMPLETED
    assert DONE[-1] == ("pay", 74, "")


@pytest.mark.parametrize("how", ["changed", "gone", "failing"])
def test_nothing_is_done_where_a_read_has_changed(how: str) -> None:
    """Not even the effects that do not rest on it; the run says which step it was."""

    @tool(effect="read")
    def other() -> int:
        """Look."""
        if WORLD.get("other") == "failing":
            raise ValueError("no such table")
        found: int = WORLD.get("other", 1)
        return found

    tools = [*TOOLS, other]
    it = dry(plan(step("stock"), step("other"), step("order", n=1)), verdict(), verdict(), answer(), tools=tools)
    DONE.clear()
    WORLD["other"] = {"changed": 2, "gone": None, "failing": "failing"}[how]
    done = executed(it, tools=tools)
    assert (DONE, done.status, done.stop_reason) == (["read"], Status.STOPPED, "escalated")
    assert [o.step for o in done.state.outcomes] == ["s1", "s2"]
    assert ("is not what it was" if how != "failing" else "no such table") in done.detail
    assert "s2" in f"{done.summary}{done.detail}"


@pytest.mark.parametrize("how", ["changed", "failing"])
@pytest.mark.parametrize("where", ["while the card is up", "while the run rests"])
def test_nothing_is_done_where_a_read_changes_before_the_answer(how: str, where: str) -> None:
    """It is made again once somebody has said yes, right before the first call that acts; the run says which it was."""

    @tool(effect="read")
    def other() -> int:
        """Look."""
        if WORLD.get("other") == "failing":
            raise ValueError("no such table")
        found: int = WORLD.get("other", 1)
        return found

    def person(request: Request) -> Answer | None:
        WORLD["other"] = {"changed": 2, "failing": "failing"}[how]
        return all_of_them(request) if where == "while the card is up" else None

    tools = [*TOOLS, other]
    steps = [step("stock"), step("other"), step("order", n=1), step("order", n=2)]
    it = dry(plan(*steps), verdict(), verdict(), answer(), tools=tools)
    DONE.clear()
    done = executed(it, person, tools)
    if where == "while the run rests":
        assert (done.status, DONE) == (Status.AWAITING_APPROVAL, ["read"])
        done = done.approve(3, 4)
    assert (DONE, done.status, done.stop_reason) == (["read", "read"], Status.STOPPED, "escalated")
    assert ("is not what it was" if how == "changed" else "no such table") in done.detail
    assert "s2 Read again: other" in done.detail
    assert "nothing was done" in done.detail
    again = [r.event for r in done.events if isinstance(r.event, ReadRepeated)]
    assert [(event.step, bool(event.problem)) for event in again] == [("s1", False), ("s2", True)]


def test_reads_are_made_again_for_the_first_call_and_no_later_one() -> None:
    """What the first one does may well change what was read; and they count as calls of tools."""
    steps = [step("stock"), step("order", n=1), step("order", n=2)]
    it = dry(plan(*steps), verdict(), answer())
    DONE.clear()

    def person(_: Request) -> Answer:
        WORLD["stock"] = 3 if not DONE[2:] else 0
        return Answer("approve", "ada")

    done = executed(it, person)
    assert (done.status, DONE) == (Status.COMPLETED, ["read", "read", ("order", 1), ("order", 2)])
    assert done.spent.tool_calls == 4


def test_an_execution_left_after_it_read_again_reads_once_more() -> None:
    """Whoever resumes it does so at another time, with the yes that was given."""
    it = dry(plan(step("stock"), step("order", n=1)), verdict(), answer())
    agent = Agent(ScriptedModel([]), tools=TOOLS, store=it.keeper.store, approver=all_of_them)
    session = agent.begin_execution(it.id)
    for record in (records := session.drive()):
        if isinstance(record.event, ToolClaimed) and record.event.tool == "order":
            records.close()
            break
    WORLD["stock"] = 0
    done = agent.resume(session.log.run)
    assert (done.status, "is not what it was" in done.detail) == (Status.STOPPED, True)
    assert [what for what in DONE if what != "read"] == []


def test_a_large_read_is_held_to_what_it_gave(store: DiskStore) -> None:
    """By its hash, thousands of rows too."""
    rows = [{"n": n, "text": "é"} for n in range(500)]

    @tool(effect="read")
    def table() -> list[dict[str, Any]]:
        """Rows."""
        return rows

    it = dry(plan(step("table"), step("order", n=1)), verdict(), answer(), tools=[*TOOLS, table], store=store)
    assert executed(it, tools=[*TOOLS, table]).status is Status.COMPLETED
    DONE.clear()
    rows[499]["n"] = -1
    done = executed(it, tools=[*TOOLS, table])
    assert (DONE, done.status) == ([], Status.STOPPED)


def test_refused_effects_are_not_done() -> None:
    """The execution has no planner: what a person refuses ends it."""
    done = executed(bought(), lambda _: Answer("reject", "ada", "too dear"))
    assert (DONE[1:], done.status) == (["read"], Status.STOPPED)
    assert "too dear" in done.detail
    assert executed(bought(), approve="deny").status is Status.STOPPED
    assert [what for what in DONE if what != "read"] == []


@pytest.mark.parametrize(
    "policy", ["auto", "confidence:low", Policy(approve="auto", auto_approve_after_s=0.01)], ids=str
)
def test_every_effect_of_an_execution_is_asked_about(policy: Any) -> None:
    """Under any policy; where nobody answers it waits."""
    done = executed(bought(), lambda _: None, approve=policy)
    assert (done.status, DONE) == (Status.AWAITING_APPROVAL, ["read", "read"])


def test_arguments_that_look_like_references_are_what_they_were() -> None:
    """Texts of earlier results, and of the plan, are never resolved a second time."""

    @tool(effect="read")
    def evil() -> str:
        """A text."""
        return "$s1"

    lines = [plan(step("evil"), step("pay", id=1, note="$s1"), step("pay", id=2, note="$$s2.id")), verdict(), answer()]
    it = dry(*lines, tools=[*TOOLS, evil])
    assert [effect.args["note"] for effect in it.effects] == ["$s1", "$s2.id"]
    executed(it, tools=[*TOOLS, evil])
    assert DONE == [("pay", 1, "$s1"), ("pay", 2, "$s2.id")]


def test_references_deep_in_arguments_are_replaced(any_kind: Callable[[Any], Any]) -> None:
    """In lists, tuples and objects, as the user's plan had them."""

    @tool(effect="write", reversibility="full")
    def ship(orders: list[dict[str, int]]) -> None:
        """Ship.

        Args:
            orders: which.
        """
        DONE.append(orders)

    given = [Step(tool="order", args={"n": 1}), Step(tool="ship", args={"orders": any_kind({"id": "$s1.id"})})]
    with ScriptedModel([answer()]) as model:
        it = Agent(model, tools=[*TOOLS, ship], store=MemoryStore()).run("x", plan=given, dry_run=True)
    assert it.effects[1].args == {"orders": [{"id": 0}]}
    executed(it, tools=[*TOOLS, ship])
    assert DONE == [("order", 1), [{"id": 71}]]


@pytest.fixture(params=[lambda x: [x], lambda x: (x,)], ids=["list", "tuple"])
def any_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_what_a_model_wrote_from_a_simulated_result_says_so() -> None:
    """A person reads it before the call is made with words that rest on nothing."""
    reasons: list[str] = []

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        reasons.extend([*request.reasons, *(why for other in request.others for why in other.reasons)])
        return all_of_them(request)

    lines = [plan(step("order", n=1), step("pay", id=1, note="$? a word on $s1")), bind(note="order 0"), answer()]
    executed(dry(*lines), person)
    assert DONE == [("order", 1), ("pay", 1, "order 0")]
    assert any("only simulated in s1" in why for why in reasons)


def test_strangers_text_still_says_so_on_the_card() -> None:
    """What a page talked the planner into is marked in the execution too, where no planner is."""
    reasons: dict[str, tuple[str, ...]] = {}

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        reasons[request.tool] = request.reasons
        reasons.update({other.tool: other.reasons for other in request.others})
        return all_of_them(request)

    it = dry(plan(step("page"), step("pay", id=1, note="$s1")), verdict(), answer())
    assert any("strangers wrote" in why for why in it.effects[0].gate)
    executed(it, person)
    assert any("strangers wrote" in why for why in reasons["pay"])


def test_executing_twice_asks_again_and_once_per_holds() -> None:
    """The second execution is a run of its own; what is done once for ever is not done again."""

    @tool(effect="write", reversibility="full", once_per=("id",))
    def book(id: str) -> str:  # noqa: A002 - the argument's name
        """Book.

        Args:
            id: what.
        """
        DONE.append(("book", id))
        return "booked"

    asked: list[str] = []

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        asked.append(request.tool)
        return Answer("approve", "ada")

    tools = [*TOOLS, book]
    it = dry(plan(step("book", id="a"), step("order", n=1)), answer(), tools=tools)
    first, second = executed(it, person, tools), executed(it, person, tools)
    assert DONE == [("book", "a"), ("order", 1), ("order", 1)]
    assert asked == ["book", "order", "order"]
    assert first.id != second.id
    assert (second.result("s1"), second.status) == ("booked", Status.COMPLETED)


def test_destructive_effects_are_proposed_and_not_done() -> None:
    """In the execution they join its queue, and a person carries them out."""
    done = executed(dry(plan(step("wipe", n=4), step("order", n=1)), answer()))
    assert (DONE, done.status) == ([("order", 1)], Status.COMPLETED)
    assert [str(item) for item in done.pending] == ["1. action s1: wipe(n=4)"]
    done.execute()
    assert DONE[-1] == ("wipe", 4)


def test_a_tool_that_is_missing_or_has_changed_is_an_error_and_nothing_starts() -> None:
    """No run is made."""
    it = bought()

    @tool(effect="write", reversibility="full", name="order")
    def other(n: int, cascade: bool = False) -> Order:  # noqa: FBT001, FBT002 - the case
        """Order.

        Args:
            n: how many.
            cascade: and more.
        """
        raise AssertionError((n, cascade))

    rest = [made for made in TOOLS if made.name != "order"]
    for tools in (rest, [*rest, other]):
        with pytest.raises(ConfigError, match="tool 'order'"):
            executed(it, tools=tools)
    assert len(it.keeper.store.runs()) == 1


def test_only_a_completed_dry_run_that_would_do_something_is_executed() -> None:
    """A real run, a stopped one, one that only reads: each is refused by name."""
    for it, said in (
        (dry(plan(step("stock")), verdict(), answer()), "would have done nothing"),
        (dry(plan(step("order", n=1), step("stock")), verdict("escalate"), answer()), "is stopped"),
    ):
        with pytest.raises(ConfigError, match=said):
            executed(it)
    with ScriptedModel([plan(step("stock")), verdict(), answer()]) as model:
        real = Agent(model, tools=TOOLS, store=MemoryStore()).run("x")
    with pytest.raises(ConfigError, match="was no dry run"):
        real.keeper.resume(real.id) and executed(real)
    assert [what for what in DONE if what != "read"] == []


def test_an_execution_that_was_left_half_way_goes_on_where_it_was() -> None:
    """What was done is not done again, and nobody needs a model for it."""
    it = dry(plan(step("stock"), step("order", n=1), step("order", n=2), step("order", n=3)), verdict(), answer())
    DONE.clear()

    def leaves(request: Request) -> Answer | None:
        assert isinstance(request, ApprovalRequest)
        return Answer("approve", "ada") if request.args["n"] == 1 else None

    done = executed(it, leaves)
    assert (done.status, DONE) == (Status.AWAITING_APPROVAL, ["read", "read", ("order", 1)])
    again = Agent(ScriptedModel([]), tools=TOOLS, store=it.keeper.store, approver=all_of_them).resume(done.id)
    assert (again.status, DONE) == (Status.COMPLETED, ["read", "read", ("order", 1), ("order", 2), ("order", 3)])


def test_an_execution_interrupted_in_a_write_is_in_doubt() -> None:
    """As in any other run."""
    ends: list[BaseException] = [KeyboardInterrupt()]

    @tool(effect="write", reversibility="full")
    def send(n: int) -> None:
        """Send.

        Args:
            n: a number.
        """
        DONE.append(n)
        if ends:
            raise ends.pop()

    it = dry(plan(step("send", n=1), step("send", n=2)), answer(), tools=[send])
    with pytest.raises(KeyboardInterrupt):
        executed(it, tools=[send])
    agent = Agent(ScriptedModel([]), tools=[send], store=it.keeper.store, approver=all_of_them)
    left = agent.runs()[0]
    assert left.state.head.executes == it.id
    left.resume()
    assert (left.stop_reason, DONE) == ("in_doubt", [1])
    left.resume(in_doubt="done")
    assert (left.status, DONE) == (Status.COMPLETED, [1, 2])


def test_a_dry_run_that_rests_goes_on_dry() -> None:
    """Suspended and resumed it still does nothing."""
    down = ModelError("down", FailureClass.PERMISSION, unbilled=True)
    model = ScriptedModel([plan(step("stock"), step("order", n=1)), down, verdict(), answer()])
    it = Agent(model, tools=TOOLS, store=MemoryStore(), approve="auto").run("x", dry_run=True)
    assert it.status is Status.SUSPENDED
    it.resume()
    assert (it.status, DONE, len(it.effects)) == (Status.COMPLETED, ["read"], 1)


def test_revised_plans_list_only_what_is_left_of_them() -> None:
    """What was simulated stays listed once; a failed step and what never came are not."""

    @tool(effect="read")
    def fails() -> None:
        """Fail."""
        raise ValueError("no")

    lines = [
        plan(step("order", n=1), step("fails"), step("order", n=2)),
        plan(step("order", n=3)),
        answer(),
    ]
    it = dry(*lines, tools=[*TOOLS, fails])
    assert [effect.args["n"] for effect in it.effects] == [1, 3]
    executed(it, tools=[*TOOLS, fails])
    assert DONE == [("order", 1), ("order", 3)]


def test_the_real_result_may_lack_what_the_simulated_one_had() -> None:
    """The later effect is not made with anything made up: the execution stops and says why."""

    @tool(effect="write", reversibility="full", simulate=lambda: {"id": 1})
    def make() -> dict[str, int]:
        """Make."""
        DONE.append("make")
        return {}

    it = dry(plan(step("make"), step("pay", id="$s1.id")), answer(), tools=[*TOOLS, make])
    done = executed(it, tools=[*TOOLS, make])
    assert (DONE, done.status) == (["make"], Status.STOPPED)
    assert "has no id" in done.detail


def test_a_long_dry_run_is_executed_within_its_budget() -> None:
    """A limit stops it between two effects, and it goes on there."""
    given = [Step(tool="order", args={"n": n}) for n in range(6)]
    with ScriptedModel([answer()]) as model:
        it = Agent(model, tools=TOOLS, store=MemoryStore()).run("x", plan=given, dry_run=True)
    done = executed(it, budget=Budget(steps=4))
    assert (done.status, done.stop_reason, len(DONE)) == (Status.STOPPED, "steps", 4)
    done.extend(steps=2)
    assert (str(done.status), DONE) == ("completed", [("order", n) for n in range(6)])


def test_what_was_read_with_a_simulated_id_says_so() -> None:
    """It may be somebody else's: a person reads that before the effect that rests on it."""

    @tool(effect="read")
    def look(id: int) -> str:  # noqa: A002 - the argument's name
        """Look.

        Args:
            id: at what.
        """
        return f"thing {id}"

    reasons: dict[str, tuple[str, ...]] = {}

    def person(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        reasons[request.tool] = request.reasons
        return Answer("approve", "ada")

    tools = [*TOOLS, look]
    steps = [step("order", n=1), step("look", id="$s1.id"), step("pay", id=1, note="$s2")]
    executed(dry(plan(*steps), verdict(), answer(), tools=tools), person, tools)
    assert DONE == [("order", 1), ("pay", 1, "thing 0")]
    assert "read with made-up arguments: s1 with what was only simulated in s2" in reasons["pay"][0]
    assert "made-up" not in reasons["order"][0]


def test_a_destructive_effect_keeps_its_reasons_in_the_queue() -> None:
    """Whoever carries it out reads that strangers' text had a hand in it."""
    it = dry(plan(step("page"), step("wipes", text="$s1")), verdict(), answer(), tools=[page, wipes])
    (waiting,) = executed(it, tools=[page, wipes]).pending
    assert any("strangers wrote" in why for why in waiting.reasons)


@tool(effect="destructive")
def wipes(text: str) -> None:
    """Wipe.

    Args:
        text: what.
    """
    DONE.append(text)


def test_who_executes_it_again_is_told(store: DiskStore) -> None:
    """Each execution acts anew, so the question says that there was one before."""
    asked: list[tuple[str, ...]] = []

    def yes(request: Any) -> Answer:
        asked.append(request.reasons)
        return Answer("approve", "ada")

    agent = Agent(ScriptedModel([plan(step("note", text="x")), answer()]), tools=[note], store=store, approver=yes)
    run = agent.run("Note it.", dry_run=True)
    first = run.execute()
    run.execute()
    assert "was executed before" not in asked[0][0]
    assert asked[1][0].startswith(f"{run.id} was executed before, by {first.id}")
