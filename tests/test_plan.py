"""References, open arguments and escapes: what code resolves, and what it leaves to a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ConfigError
from agentnb.plan import Plan, Step, UnmetReference, is_open, numbered, open_args, references, resolve
from agentnb.planner import plan_problems
from agentnb.tools import Tool
from tests.parts import add, note

TOOLS: dict[str, Tool] = {"add": add, "note": note}
RESULT = {"rows": [{"carrier": "UA", "n": 3}, {"carrier": "DL"}], "größe": 7, "0": "zero", "none": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
HOSTILE = st.text(alphabet="$?s123.[]0 ²٣ a\n_") | st.text()


def result_of(step: str) -> Any:
    if step != "s1":
        raise UnmetReference(f"${step} refers to a step that has not been carried out")
    return RESULT


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("$s1", RESULT),
        ("$s1.rows[0].carrier", "UA"),
        ("$s1.rows.0.n", 3),
        ("$s1.größe", 7),
        ("$s1.0", "zero"),
        ("$s1.none", None),
    ],
)
def test_a_reference_is_replaced_by_exactly_what_it_names(reference: str, value: Any) -> None:
    """Whole results, paths, indexes in both spellings and names of any script give the value with its type."""
    assert resolve({"x": [reference]}, result_of) == {"x": [value]}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("$s1.row", r"\$s1 is an object with rows, größe, 0, none, and has no row"),
        ("$s1.rows[2]", r"\$s1.rows is a list of 2, and has no item 2"),
        ("$s1.rows.²", r"is a list of 2, and has no ²"),
        ("$s1.rows.carrier", r"is a list of 2, and has no carrier"),
        ("$s1.none.x", r"\$s1.none is null, and has no x"),
        ("$s1.größe.x", r"is a int, and has no x"),
        ("$s1.rows[" + "9" * 5000 + "]", r"has no item 999"),
        ("$s1.rows." + "9" * 5000, r"has no 999"),
        ("$s7", r"\$s7 refers to a step that has not been carried out"),
    ],
)
def test_a_path_that_is_not_there_says_what_is(reference: str, said: str) -> None:
    """A wrong name, a place past the end or a digit that is no number: UnmetReference, with what is there instead."""
    with pytest.raises(UnmetReference, match=said):
        resolve(reference, result_of)


@pytest.mark.parametrize(
    "text", ["$s1", "$s1.rows[0]", "$?", "$? the SQL", "$", "$$", "$x", "$s0", "$s1 and $s2", "$$s1"]
)
def test_one_more_dollar_makes_any_text_that_starts_with_one_literal(text: str) -> None:
    """`$` in front is an escape: neither open nor a reference, and gone when resolved."""
    escaped = {"x": f"${text}"}
    assert (open_args(escaped), references(escaped)) == ({}, frozenset())
    assert resolve(escaped, result_of) == {"x": text}


@given(JSON)
def test_json_without_a_dollar_goes_through_as_it_is(value: Any) -> None:
    """Nothing but references is replaced, at any depth."""
    if "$" not in repr(value):
        assert resolve(value, result_of) == value
        assert references(value) == frozenset()


@given(HOSTILE)
def test_any_text_is_literal_open_or_a_reference(text: str) -> None:
    """No text crashes: it stays, is left to a model, becomes a result or is unmet; open texts are never resolved."""
    try:
        found = resolve(text, result_of)
    except UnmetReference:
        assert not is_open(text)
        assert references(text)
    else:
        if is_open(text):
            assert found == text


@given(st.lists(st.lists(HOSTILE, max_size=2), max_size=5), st.integers(0, 3))
def test_numbering_is_by_place_and_takes_in_references(args: list[list[str]], after: int) -> None:
    """Ids follow each other, references are among what a step depends on, and numbering twice changes nothing."""
    steps = numbered([Step(tool="t", args={"x": a}) for a in args], after=after)
    assert [s.id for s in steps] == [f"s{after + n}" for n in range(1, len(args) + 1)]
    assert all(references(s.args) <= set(s.depends_on) for s in steps)
    assert numbered(steps, after=after) == steps


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$?", True),
        ("$? the SQL", True),
        ("SELECT $s1[0]", True),
        ("$s1 x", True),
        ("$s1[-1]", True),
        ("$s1\n", True),
        ("$s1", False),
        ("$$? x", False),
        ("$s0", False),
        ("$5", False),
        ("Report: $? in a sentence", True),
        ("$s1_bucket", False),
        (" ?$", False),
        (5, False),
    ],
)
def test_open_is_what_code_cannot_resolve(value: Any, expected: bool) -> None:  # noqa: FBT001 - a table
    """A hint, or a reference inside other text; a whole reference, an escape and a plain dollar are not."""
    assert is_open(value) is expected
    assert bool(open_args({"x": [value]})) is expected


def test_a_tuple_in_a_users_plan_is_resolved_like_the_list_that_it_becomes() -> None:
    """What is kept as JSON and what the tool gets are the same."""
    assert resolve({"x": ("$s1.größe", ("$s1.0",))}, result_of) == {"x": [7, ["zero"]]}


def test_an_open_argument_is_told_with_its_text() -> None:
    """Hints and texts with references inside, at any depth, under their argument's name; whole references are not."""
    assert open_args({"a": "$? the SQL", "b": {"c": ["x $s1"]}, "d": "$s1"}) == {"a": "$? the SQL", "b": "x $s1"}


def test_a_plan_keeps_its_finished_steps_when_revised() -> None:
    """The first `keep` steps are the same objects in the next version."""
    first = Plan(numbered([Step(tool="a"), Step(tool="b")]))
    second = first.revised(1, numbered([Step(tool="c")], after=1), version=2, reason="r", by="model")
    assert second.steps[0] is first.steps[0]
    assert [(s.id, s.tool) for s in second.steps] == [("s1", "a"), ("s2", "c")]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), object(), b"x", "\ud800", {"x": {1, 2}}, 10**5000],
    ids=["nan", "inf", "object", "bytes", "surrogate", "set", "huge"],
)
def test_arguments_that_no_journal_could_give_back_are_found_before_anything_runs(value: Any) -> None:
    """What is not JSON is a problem of the plan, in a sentence."""
    problems = plan_problems(numbered([Step(tool="note", args={"text": value})]), TOOLS)
    assert len(problems) == 1
    assert problems[0].startswith("s1 note: its arguments cannot be kept as JSON: ")


@pytest.mark.parametrize("depth", [150, 180, 186, 190, 195, 199, 300])
def test_arguments_are_refused_or_can_be_read_back_however_deep(depth: int) -> None:
    """There is no depth at which a plan is accepted, recorded and then not readable any more."""
    from agentnb.codec import decode, encode
    from agentnb.events import PlanMade, Record

    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    steps = numbered([Step(tool="note", args={"text": value})])
    if any("cannot be kept" in problem for problem in plan_problems(steps, TOOLS)):
        assert depth > 180
    else:
        record = Record(0, 1.0, 1.0, PlanMade(version=1, keep=0, steps=steps, reason="", by="user"))
        assert list(decode(encode([record]))) == [record]


def test_a_users_mistake_in_a_step_names_the_field() -> None:
    """Unknown fields of a step are refused, for a typing error would otherwise go unnoticed."""
    from agentnb import Agent, ScriptedModel
    from tests.parts import MemoryStore

    agent = Agent(ScriptedModel([]), tools=[add], store=MemoryStore())
    with pytest.raises(ConfigError, match="chek"):
        agent.begin("x", plan=[{"tool": "add", "args": {}, "chek": {}}])
