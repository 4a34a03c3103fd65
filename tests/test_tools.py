"""Tools: their schema, what reaches the function, and what comes back as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import decimal
import enum
import functools
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from agentnb.errors import NotJSON, ToolDefinitionError
from agentnb.guards import max_value
from agentnb.tools import InvalidArguments, Tool, tool, toolbox
from agentnb.values import LARGEST_RESULT, as_json
from tests.parts import add

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    """Where."""

    city: str
    zip: int = Field(ge=0, description="postal code")


class Order(BaseModel):
    """What is ordered."""

    place: Place
    tags: list[str] = []


@dataclass
class Window:
    """From when to when."""

    start: dt.date
    days: int = 7


def everything(  # noqa: PLR0917 - one of every kind
    order: Order,
    color: Color,
    mode: Literal["fast", "slow"],
    window: Window,
    amount: int | float,  # noqa: PYI041 - the case
    limit: int | None = None,
    since: dt.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    share: Annotated[float, Field(gt=0, le=1)] = 0.5,
    names: tuple[str, ...] = (),
    options: dict[str, bool] | None = None,
) -> str:
    """Take one argument of every kind.

    Args:
        order: what to order.
        color: which color.
        mode: how.
        window: when.
        amount: how much.
        limit: at most.
        since: from when on.
        share: of the whole.
        names: of people.
        options: switches.
    """
    return repr((order, color, mode, window, amount, limit, since, share, names, options))


GIVEN = {
    "order": {"place": {"city": "Bern", "zip": "3000"}},
    "color": "blue",
    "mode": "slow",
    "window": {"start": "2013-01-01"},
    "amount": "2.5",
}


def test_every_kind_of_argument_has_its_schema_and_its_type() -> None:
    """Nested models, enums, literals, dataclasses, dates, unions and defaults: described, validated and coerced."""
    made = tool(everything)
    jsonschema.Draft202012Validator.check_schema(dict(made.parameters))
    properties = made.parameters["properties"]
    assert made.parameters["required"] == ["order", "color", "mode", "window", "amount"]
    assert made.parameters["additionalProperties"] is False
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert properties["limit"]["description"] == "at most."
    assert properties["share"]["exclusiveMinimum"] == 0
    assert made.parameters["$defs"]["Place"]["properties"]["zip"]["description"] == "postal code"
    args = made.validated(GIVEN)
    assert args["order"].place == Place(city="Bern", zip=3000)
    assert args["color"] is Color.BLUE
    assert args["window"] == Window(dt.date(2013, 1, 1), 7)
    assert (args["amount"], args["limit"], args["names"], args["share"]) == (2.5, None, (), 0.5)
    assert made.run(args) == everything(**args)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "there is no argument 'colour'; it takes order, color, mode"),
        ({"color": None}, "argument 'color': Input should be 'red' or 'blue', got None"),
        ({"color": "green"}, "argument 'color': Input should be 'red' or 'blue', got 'green'"),
        ({"mode": "medium"}, "argument 'mode': Input should be 'fast' or 'slow', got 'medium'"),
        ({"order": {"place": {"city": "x"}}}, "argument 'order.place.zip' is missing"),
        ({"order": {"place": {"city": "x", "zip": -1}}}, "argument 'order.place.zip': Input should be greater than or"),
        ({"order": "Bern"}, "argument 'order': Input should be a valid dictionary or instance of Order, got 'Bern'"),
        ({"share": 2}, "argument 'share': Input should be less than or equal to 1, got 2"),
        ({"since": "yesterday"}, "argument 'since': Input should be a valid datetime"),
        ({"names": "x" * 500}, f"got '{'x' * 79}…"),
        ({"limit": 2.5}, "argument 'limit': Input should be a valid integer"),
    ],
)
def test_a_wrong_argument_is_a_sentence_and_never_reaches_the_function(change: dict[str, Any], said: str) -> None:
    """Each problem names the argument, what it should be and what was given."""
    with pytest.raises(InvalidArguments) as caught:
        tool(everything).validated({**GIVEN, **change})
    assert any(said in problem for problem in caught.value.problems), caught.value.problems
    assert all(len(problem) < 300 for problem in caught.value.problems)


def test_all_problems_are_told_at_once() -> None:
    """Missing, unknown and wrong ones together."""
    with pytest.raises(InvalidArguments) as caught:
        add.validated({"a": "many", "c": 1})
    assert set(caught.value.problems) == {
        "argument 'a': Input should be a valid integer, unable to parse string as an integer, got 'many'",
        "argument 'b' is missing; it takes a, b",
        "there is no argument 'c'; it takes a, b",
    }


@pytest.mark.parametrize(("given", "value"), [("3", 3), (3.0, 3), (True, 1), ("-3", -3)])
def test_what_clearly_means_a_number_is_one(given: Any, value: int) -> None:
    """Models write numbers as texts; the function gets a number."""
    args = add.validated({"a": given, "b": 0})
    assert (args["a"], type(args["a"])) == (value, int)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", ""]) | st.text(), JSON, max_size=4))
def test_any_arguments_are_typed_or_refused(args: dict[str, Any]) -> None:
    """Whatever a model sends, the function gets exactly its arguments or nothing is called."""
    with contextlib.suppress(InvalidArguments):
        assert {name: type(value) for name, value in add.validated(args).items()} == {"a": int, "b": int}


STYLES = {
    "google": """Run a query.

    Only reads.

    Args:
        q (str): the query
            in SQL.
        n: how many rows.

    Returns:
        The rows.
    """,
    "numpy": """Run a query.

    Only reads.

    Parameters
    ----------
    q : str
        the query
        in SQL.
    n : int, optional
        how many rows.

    Returns
    -------
    list
        The rows.
    """,
    "rest": """Run a query.

    Only reads.

    :param str q: the query
        in SQL.
    :param n: how many rows.
    :returns: The rows.
    """,
}


@pytest.mark.parametrize("style", STYLES)
def test_descriptions_come_from_the_docstring_in_any_style(style: str) -> None:
    """Google, NumPy and reST: the same description of the tool and of each argument."""

    def query(q: str, n: int = 10) -> list[int]:
        return [n, len(q)]

    query.__doc__ = STYLES[style]
    made = tool(query)
    properties = made.parameters["properties"]
    assert made.description == "Run a query. Only reads."
    assert " ".join(properties["q"]["description"].split()) == "the query in SQL."
    assert (properties["n"]["description"], properties["n"]["default"]) == ("how many rows.", 10)


@pytest.mark.parametrize(
    "name",
    [
        "schema",
        "json",
        "copy",
        "model_config",
        "model_fields",
        "model_dump",
        "model_extra",
        "_x",
        "dict",
        "arg0",
        "name",
        "self",
        "größe",
    ],
)
def test_an_argument_may_have_any_name(name: str) -> None:
    """Names that pydantic uses itself make no difference: no warning, the schema has them, the function gets them."""
    scope: dict[str, Any] = {}
    exec(f"def f(other: int, {name}: str = 'x') -> str:\n  'Do it.'\n  return {name}", scope)  # noqa: S102 - names in a loop
    made = tool(scope["f"])
    assert list(made.parameters["properties"]) == ["other", name]
    assert made.run(made.validated({"other": 1, name: "v"})) == "v"
    assert made.run(made.validated({"other": 1})) == "x"
    with pytest.raises(
        InvalidArguments, match=f"there is no argument 'arg1'; it takes other, {name}|no argument 'nope'"
    ):
        made.validated({"other": 1, "arg1" if name != "arg0" else "nope": "v"})


def untyped(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - the case
    """Do it."""
    return x


def undocumented(x: int) -> int:
    return x


def starred(*args: int) -> None:
    """Do it."""


def keywords(**args: int) -> None:
    """Do it."""


def positional(x: int, /) -> None:
    """Do it."""


def unknown_type(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821 - the case
    """Do it."""


def broken_type(x: "1 +") -> None:  # type: ignore[valid-type]  # noqa: F722 - the case
    """Do it."""


def missing_attribute(x: threading.Nowhere) -> None:  # type: ignore[name-defined]
    """Do it."""


def callback(x: Callable[[], int]) -> None:
    """Do it."""


def frame(x: pd.DataFrame) -> None:
    """Do it."""


def method_without_self(self, x: int) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the case
    """Do it."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, "argument 'x' has no type: write e.g. `x: str`"),
        (undocumented, "undocumented has no docstring: say in one line what it does"),
        (starred, r"\*args.* has no name that a model could give"),
        (keywords, r"\*\*args.* has no name that a model could give"),
        (positional, "has no name that a model could give"),
        (unknown_type, "a type cannot be found: name 'Nowhere' is not defined"),
        (broken_type, "its signature cannot be read"),
        (missing_attribute, "its signature cannot be read"),
        (callback, "its arguments have no JSON Schema"),
        (frame, "its arguments have no JSON Schema"),
        (method_without_self, "argument 'self' has no type"),
        (lambda x: x, "is not a function with a name"),
        (functools.partial(undocumented, 1), "is not a function with a name"),
        (max, "its signature cannot be read|no docstring"),
        (int, "is not a function with a name"),
        (3, "is not a function with a name"),
        ("add", "is not a function with a name"),
        (None, "is not a function with a name"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_what_cannot_be_a_tool_is_refused_with_what_to_do(function: Any, said: str) -> None:
    """ToolDefinitionError at definition, never a surprise at the first call."""
    with pytest.raises(ToolDefinitionError, match=said):
        toolbox([function])


@pytest.mark.parametrize("given", [None, add, 3])
def test_tools_come_in_a_list(given: Any) -> None:
    """One by itself is told apart from many."""
    with pytest.raises(ToolDefinitionError, match=r"is no list: put what is meant into brackets"):
        toolbox(given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"effect": "reads"}, "effect='reads' is not one of read, write"),
        ({"reversibility": "no"}, "reversibility='no' is not one of full, partial, irreversible"),
        ({"timeout_s": 0}, "must be a number of seconds above 0"),
        ({"timeout_s": float("nan")}, "must be a number of seconds above 0"),
        ({"timeout_s": float("inf")}, "must be a number of seconds above 0"),
        ({"timeout_s": "60"}, "must be a number of seconds above 0"),
        ({"name": "two words"}, "name='two words' is no name of a tool"),
        ({"tries": 0}, "tries=0 must be a whole number, 1 or more"),
        ({"tries": 1.5}, "tries=1.5 must be a whole number"),
        ({"guards": ["max_value"]}, "the guard 'max_value' is not a function"),
        ({"once_per": ["id"]}, "once_per names 'id', and its arguments are n"),
        ({"once_per": "n", "effect": "destructive"}, "once_per= is for tools that the loop calls"),
        ({"reconcile": "look"}, "reconcile='look' is not a function"),
        ({"reconcile": lambda order: order}, "reconcile= takes 'order', which is none of idempotency_key, n"),
        ({"simulate": lambda n, m: n + m}, "simulate= takes 'm'"),
        ({"refresh": 3}, "refresh=3 is not a function"),
        ({"failures": {KeyError: "sometimes"}}, "'sometimes' in failures= is not one of transient"),
        ({"failures": [409]}, r"failures=\[409\] is no dict"),
        ({"failures": {4.5: "transient"}}, "4.5 in failures= is no exception class, status code or text"),
        ({"timeout_s": True}, "must be a number of seconds above 0"),
        ({"tries": True}, "tries=True must be a whole number"),
        ({"untrusted": "no"}, "look: untrusted='no' is neither True nor False"),
        ({"egress": 1}, "egress=1 is neither True nor False"),
        ({"idempotent": "never"}, "idempotent='never' is neither True nor False"),
        ({"guards": max_value("n", 1)}, "look: guards=<function .* is no list"),
        ({"guards": None}, "guards=None is no list"),
        ({"once_per": 3}, "once_per=3 is no list"),
        ({"reconcile": lambda *args: args}, r"reconcile= takes \*args, and gets its arguments by name"),
        ({"refresh": lambda n, /: n}, "refresh= takes n, and gets its arguments by name"),
        ({"name": 7}, "name=7 is no name of a tool"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], said: str) -> None:
    """Each with what is allowed."""

    def look(n: int = 1) -> int:
        """Look."""
        return n

    with pytest.raises(ToolDefinitionError, match=said):
        tool(**options)(look)


def test_helpers_get_the_arguments_that_they_name() -> None:
    """By name, coerced, with the key where they want it; all of them where they take all; async ones are waited for."""

    def send(n: int, text: str = "x", idempotency_key: str = "") -> str:
        """Send."""
        return f"{n}{text}{idempotency_key}"

    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    seen: list[dict[str, Any]] = []
    made = tool(reconcile=lambda text, *, idempotency_key, other=5: (text, idempotency_key, other), simulate=later)(
        send
    )
    kwargs = made.validated({"n": "3"})
    assert made.happened(kwargs, "k") == ["x", "k", 5]
    assert (made.simulated(kwargs), made.run(kwargs, "k")) == (4, "3xk")
    assert (made.idempotent, made.takes_key, "idempotency_key" in made.parameters["properties"]) == (True, True, False)
    wrapped = tool(reconcile=lambda *args, **rest: (args, rest))(send)
    assert wrapped.happened({"n": 1, "text": "x"}, "k") == [[], {"n": 1, "text": "x", "idempotency_key": "k"}]
    every = tool(reconcile=lambda **rest: seen.append(rest), refresh=lambda: seen.append({}))(send)
    every.happened(kwargs, "k")
    every.refreshed(kwargs)
    assert seen == [{"n": 3, "text": "x", "idempotency_key": "k"}, {}]
    with pytest.raises(ToolDefinitionError, match="has no reconcile="):
        tool(send).happened(kwargs, "k")


def test_a_model_cannot_give_a_call_its_key() -> None:
    """Code derives it: an argument of that name is refused like any unknown one."""

    @tool
    def send(text: str, idempotency_key: str) -> str:
        """Send."""
        return text + idempotency_key

    with pytest.raises(InvalidArguments, match="no argument 'idempotency_key'"):
        send.validated({"text": "x", "idempotency_key": "mine"})
    assert send("x", idempotency_key="y") == "xy"  # the function itself, by hand


def test_facts_change_with_all_that_a_run_rests_on() -> None:
    """Arguments, effect, reversibility, egress, trust, and how a call in doubt may be settled; not with the wording."""

    def send(text: str) -> None:
        """Send."""

    base: dict[str, Any] = {"effect": "write", "reversibility": "full"}
    changes: list[dict[str, Any]] = [
        {"effect": "read"}, {"reversibility": "partial"}, {"egress": True}, {"untrusted": True},
        {"idempotent": True}, {"reconcile": lambda: None},
    ]  # fmt: skip
    facts = [tool(**{**base, **change})(send).facts for change in [{}, *changes]]
    assert len(set(facts)) == len(facts)
    assert tool(**base, timeout_s=5, tries=1)(send).facts == facts[0]


def test_a_plain_function_has_one_breaker_in_all_agents() -> None:
    """It is one service, however many agents call it; what cannot be known again has one of its own."""

    def send() -> None:
        """Send."""

    def send_too() -> None:
        """Send too."""

    class Sender:
        """What cannot be hashed."""

        place: str = "here"
        __hash__ = None  # type: ignore[assignment]
        __name__ = "sender"

        def __call__(self) -> None:
            """Send."""

    first, second = toolbox([send, send_too]), toolbox([send])
    assert first["send"].breaker is second["send"].breaker is not first["send_too"].breaker
    odd: Any = Sender()
    assert toolbox([odd])["sender"].breaker is not toolbox([odd])["sender"].breaker


def test_what_is_not_declared_is_taken_for_the_worst() -> None:
    """A plain function writes and cannot be taken back; two tools of one name are refused."""

    def send(text: str) -> None:
        """Send it."""

    made = toolbox([send])["send"]
    assert (made.effect, made.reversibility) == ("write", "irreversible")
    with pytest.raises(ToolDefinitionError, match="two tools are called 'send'"):
        toolbox([send, tool(name="send")(everything)])


def test_a_default_that_is_no_json_stays_out_of_the_schema_and_warns_nobody() -> None:
    """A sentinel as default is fine: the function gets it."""
    nothing = object()

    def look(x: int = nothing) -> bool:  # type: ignore[assignment]
        """Look."""
        return x is nothing

    made = tool(look)
    assert "default" not in made.parameters["properties"]["x"]
    assert made.run(made.validated({})) is True


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    """What one call appends, the next does not see."""

    def collect(box: list[int] = []) -> list[int]:  # noqa: B006 - the case
        """Collect."""
        box.append(1)
        return box

    made = tool(collect)
    assert [made.run(made.validated({})), made.run(made.validated({}))] == [[1], [1]]


def test_a_validator_that_raises_anything_refuses_the_arguments() -> None:
    """A tool's own types run before the function; what they raise is a problem for the model, not a crash."""

    def read(path: Annotated[str, AfterValidator(lambda p: os.stat(p))]) -> int:  # noqa: ARG001, PLW0108, PTH116 - the case
        """Read."""
        return 1

    with pytest.raises(InvalidArguments, match="read: its arguments were refused: FileNotFoundError"):
        tool(read).validated({"path": "/nowhere/at/all"})


def test_async_tools_run_with_and_without_a_running_loop() -> None:
    """In a cell a loop runs already; on a plain thread there is none. Errors come through both ways."""

    async def fetch(n: int) -> int:
        """Fetch."""
        await asyncio.sleep(0)
        return 10 // n

    made = tool(fetch)

    async def cell(n: int) -> int:
        result: int = made.run({"n": n})
        return result

    assert (made.run({"n": 5}), asyncio.run(cell(5))) == (2, 2)
    with pytest.raises(ZeroDivisionError):
        made.run({"n": 0})
    with pytest.raises(ZeroDivisionError):
        asyncio.run(cell(0))


def test_a_tool_is_still_the_function() -> None:
    """Called directly it does what it did, with no validation."""
    assert isinstance(add, Tool)
    assert add("a", "b") == "ab"


@given(JSON)
def test_json_comes_back_as_it_is(value: Any) -> None:
    """What is JSON already is not changed."""
    assert as_json(value) == value
    assert json.dumps(as_json(value)) == json.dumps(value)


FLIGHTS = pd.DataFrame(
    {
        "carrier": ["UA", "UA", "DL"],
        "month": [1, 2, 1],
        "delay": [1.0, np.nan, 3.0],
        "at": pd.to_datetime(["2013-01-01 05:00", None, "2013-01-03 00:00"]),
        "n": pd.array([1, None, 3], dtype="Int64"),
    }
)


@dataclass
class Mean:
    value: float
    among: set[int]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        ([float("inf"), -float("inf"), 1.5], [None, None, 1.5]),
        (np.float64("nan"), None),
        (np.float32(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),  # noqa: FBT003 - numpy's
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.array(["2013-01-01", "NaT"], dtype="datetime64[ns]"), ["2013-01-01T00:00:00", None]),
        (np.datetime64("2013-01-01", "ns"), "2013-01-01T00:00:00"),
        (np.array([90], dtype="timedelta64[s]").astype("timedelta64[ns]"), ["PT1M30S"]),
        ({np.int64(1): np.array([2])}, {"1": [2]}),
        (pd.Timestamp("2013-01-01"), "2013-01-01T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        ({"last": pd.NaT, "all": (pd.NA, 1)}, {"last": None, "all": [None, 1]}),
        (FLIGHTS["delay"], {"0": 1.0, "1": None, "2": 3.0}),
        (FLIGHTS["at"], {"0": "2013-01-01T05:00:00", "1": None, "2": "2013-01-03T00:00:00"}),
        (FLIGHTS.groupby("carrier")["delay"].mean(), {"DL": 3.0, "UA": 1.0}),
        (
            FLIGHTS[["carrier", "month"]],
            [{"carrier": "UA", "month": 1}, {"carrier": "UA", "month": 2}, {"carrier": "DL", "month": 1}],
        ),
        (
            FLIGHTS[["at", "n"]],
            [{"at": "2013-01-01T05:00:00", "n": 1}, {"at": None, "n": None}, {"at": "2013-01-03T00:00:00", "n": 3}],
        ),
        (FLIGHTS[FLIGHTS.month == 1][["carrier"]], [{"carrier": "UA"}, {"carrier": "DL"}]),
        (FLIGHTS.groupby("carrier")[["month"]].sum(), [{"carrier": "DL", "month": 1}, {"carrier": "UA", "month": 3}]),
        (
            FLIGHTS.groupby(["carrier", "month"])[["delay"]].sum(),
            [
                {"carrier": "DL", "month": 1, "delay": 3.0},
                {"carrier": "UA", "month": 1, "delay": 1.0},
                {"carrier": "UA", "month": 2, "delay": 0.0},
            ],
        ),
        (
            FLIGHTS[["month"]].describe().loc[["count", "max"]],
            [{"index": "count", "month": 3.0}, {"index": "max", "month": 2.0}],
        ),
        (
            FLIGHTS[["carrier"]].set_index("carrier", drop=False),
            [{"carrier": "UA"}, {"carrier": "UA"}, {"carrier": "DL"}],
        ),
        (FLIGHTS.columns[:2], ["carrier", "month"]),
        (pd.DataFrame(), []),
        (pd.DataFrame({"x": []}), []),
        (Mean(float("nan"), {1}), {"value": None, "among": [1]}),
        (Place(city="Bern", zip=1), {"city": "Bern", "zip": 1}),
        (Color.RED, "red"),
        ({10, 9, 1}, [1, 9, 10]),
        ({"b", 1, None}, ["b", 1, None]),
        (frozenset([(2, 1), (1, 2)]), [[1, 2], [2, 1]]),
        (b"text", "text"),
        (bytearray(b"ab"), "ab"),
        (decimal.Decimal("1.50"), "1.50"),
        (dt.date(2013, 1, 1), "2013-01-01"),
        ((n * n for n in range(3)), [0, 1, 4]),
        ((), []),
        ({(1, 2): 3}, {"1,2": 3}),
        ("half \ud83d", "half ?"),
        (["half \ud83d"], ["half ?"]),
        ("a\0b\u2028", "a\0b\u2028"),
        (2**70, 2**70),
    ],
    ids=lambda value: type(value).__name__,  # not its repr: workers must agree on the names
)
def test_results_become_json_with_nothing_lost(value: Any, expected: Any) -> None:
    """numpy, pandas, dataclasses, models, sets, dates and generators; group keys and labels stay, NaN is null."""
    assert as_json(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {"lock": threading.Lock()},
        b"\xff\xfe",
        int,
        lambda: 1,
        ValueError("x"),
        itertools.count,
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        {"bad \ud800": 1},
    ],
    ids=lambda value: type(value).__name__,  # not its repr: workers must agree on the names
)
def test_what_has_no_json_form_says_so(value: Any) -> None:
    """NotJSON with its type and what to return instead; a table that would lose a column is one of them."""
    with pytest.raises(NotJSON, match=r"has no JSON form .*return a dict, list, str, number or model"):
        as_json(value)


@pytest.mark.parametrize("depth", [180, 199, 230, 300, 900, 100_000])
def test_any_nesting_is_converted_or_refused(depth: int) -> None:
    """Never a RecursionError or an error of the parser."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    try:
        assert as_json(value) == value
    except NotJSON:
        assert depth > 180
    while value:
        value = value.pop()


@pytest.mark.parametrize("running", [False, True], ids=["no loop", "inside a loop"])
def test_an_async_generator_is_read_to_its_end(running: bool) -> None:  # noqa: FBT001 - a table
    """It is a list, like any other generator; nothing of it would have been done otherwise."""

    @tool
    async def count(n: int) -> AsyncIterator[int]:
        """Count."""
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def inside() -> Any:
        return count.result({"n": 3}, "k")

    assert (asyncio.run(inside()) if running else count.result({"n": 3}, "k")) == [0, 1, 2]


def test_a_result_in_itself_is_refused() -> None:
    """A circle in lists and dicts is NotJSON."""
    circle: dict[str, Any] = {}
    circle["me"] = [circle]
    with pytest.raises(NotJSON, match="dict has no JSON form"):
        as_json(circle)


@pytest.mark.parametrize(
    "value",
    ["x" * (LARGEST_RESULT + 1), ["x" * 1024] * (LARGEST_RESULT // 1024), 10**4400],
    ids=["text", "list", "number"],
)
def test_too_much_is_refused_with_its_size(value: Any) -> None:
    """Over 16 MiB of JSON, a single text included, and numbers that no parser reads back."""
    with pytest.raises(NotJSON, match=r"bytes of JSON, 16,777,216 are allowed|out of range|limit"):
        as_json(value)


def test_just_below_the_limit_is_allowed() -> None:
    """The limit is a limit, not less."""
    text = "x" * (LARGEST_RESULT - 2)
    assert as_json(text) == text


def test_a_generator_that_raises_is_a_failure_with_its_reason() -> None:
    """What is raised while a result is read is raised as it is, so that it can be told apart."""

    def rows() -> Iterator[int]:
        yield 1
        raise KeyError("no such row")

    with pytest.raises(KeyError, match="no such row"):
        as_json({"rows": rows()})


def test_sets_have_one_order_in_every_process() -> None:
    """Hash seeds differ from process to process; a prompt made from a set must not."""
    code = "from agentnb.values import as_json; print(as_json({'x': [{'UA', 'DL', 'AA', 'B6', 'EV'}]}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
