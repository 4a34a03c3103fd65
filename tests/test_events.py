"""The codec: every kind of event is read back as it was written, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import typing
from collections.abc import Callable
from dataclasses import replace
from types import GenericAlias
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, TypeAdapter

from agentnb.budget import Budget
from agentnb.codec import decode, encode
from agentnb.cost import PHASES
from agentnb.errors import ConfigError, DamagedRecord, FailureClass, NotJSON
from agentnb.events import (
    FORMAT,
    ApprovalAnswered,
    Event,
    Kept,
    PlanMade,
    Record,
    RunForked,
    RunResumed,
    RunStarted,
    ToolReturned,
)
from agentnb.plan import Check, Step
from agentnb.policy import Assess, MemoryPolicy, Policy, ToolFacts
from agentnb.shapes import Shape
from agentnb.stops import Stops

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BUDGETS = st.builds(Budget, usd=st.none() | st.floats(0.001, 1e6), steps=st.none() | st.integers(1, 10**9))
CHECKS = st.builds(
    Check,
    non_empty=st.booleans(),
    schema=st.none() | st.dictionaries(st.text(), JSON, max_size=2),
    expression=st.text(),
)
STEPS = st.builds(
    Step,
    tool=st.text(),
    args=st.dictionaries(st.text(), JSON, max_size=3),
    title=st.text(),
    expect=st.text(),
    confidence=st.sampled_from(["low", "medium", "high"]),
    depends_on=st.lists(st.text(), max_size=2).map(tuple),
    check=st.none() | CHECKS,
    id=st.text(),
)
LEVELS = st.sampled_from(["low", "medium", "high"])
POLICIES = st.builds(
    Policy,
    approve=st.sampled_from(["ask", "deny", "auto", "confidence"]),
    threshold=LEVELS,
    thresholds=st.dictionaries(st.text(), LEVELS, max_size=2),
    answer_within_s=st.floats(0.1, 1e6),
    auto_approve_after_s=st.none() | st.floats(0.1, 1e6),
    valid_s=st.floats(0.1, 1e6),
)
MEMORIES = st.builds(MemoryPolicy, tokens=st.integers(2000, 10**6), every=st.integers(2, 12))
ASSESS = st.builds(Assess, every=st.none() | st.integers(1, 10**6), before_acting=st.booleans())
STOPS = st.builds(
    Stops,
    repeats=st.none() | st.integers(2, 64),
    cycles=st.none() | st.integers(2, 8),
    no_progress=st.none() | st.integers(1, 64),
)
KINDS: tuple[type, ...] = typing.get_args(Event)


@pytest.fixture(scope="module", autouse=True)
def _types() -> None:
    st.register_type_strategy(float, FLOATS)
    st.register_type_strategy(Budget, BUDGETS)
    st.register_type_strategy(Step, STEPS)
    st.register_type_strategy(Policy, POLICIES)
    st.register_type_strategy(Stops, STOPS)
    st.register_type_strategy(MemoryPolicy, MEMORIES)
    st.register_type_strategy(Assess, ASSESS)


OURS = ("kind", "format", "tools", "tags", "others", "phases")
"""Fields that have a strategy below, or no choice."""


@st.composite
def events(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(KINDS))
    hints = typing.get_type_hints(kind)
    own = {name: st.from_type(hint) for name, hint in hints.items() if name not in OURS}
    if kind in (RunStarted, RunForked, RunResumed):
        own["tools"] = st.dictionaries(st.text(), st.from_type(ToolFacts), max_size=2)
        own["phases"] = st.dictionaries(st.sampled_from(PHASES), st.text(), max_size=2)
    if kind in (RunStarted, RunForked):
        own["tags"] = st.dictionaries(st.text(), st.text(), max_size=2)
    if kind is ApprovalAnswered:
        own["others"] = st.dictionaries(st.text(), st.booleans(), max_size=2)
    return draw(st.builds(kind, **own))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**9), FLOATS, FLOATS, events()), min_size=1, max_size=3))
def test_every_kind_is_read_back_as_it_was_written(rows: list[tuple[int, float, float, Any]]) -> None:
    """Encoding and decoding gives equal records, on one line."""
    records = [Record(*row) for row in rows]
    line = encode(records)
    assert "\n" not in line
    assert list(decode(line)) == records


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**9), FLOATS, FLOATS, events()), max_size=5), st.integers(0, 5))
def test_a_commit_is_the_text_of_each_of_its_records(rows: list[tuple[int, float, float, Any]], place: int) -> None:
    """However many are written in one go, and where one of them holds half of a surrogate pair."""
    odd = ToolReturned(step="s1", status="failed", seconds=1e16, message="\ud800")
    records = [Record(*row) for row in [*rows[:place], (7, 1e16, 2.0, odd), *rows[place:]]]
    assert encode(records) == f"[{','.join(encode([record])[1:-1] for record in records)}]"


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (ToolReturned(step=5, status="ok", seconds=1), "3.step: Input should be a valid string"),  # type: ignore[arg-type]
        (replace(ToolReturned(step="s1", status="ok", seconds=1), kind="odd"), "there is no kind of event 'odd'"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("beside", [0, 1, 9])
def test_what_cannot_be_recorded_is_named_whatever_is_beside_it(event: Any, problem: str, beside: int) -> None:
    """The place of the field, in its record, and what is wrong with it."""
    good = Record(1, 1.0, 2.0, RunResumed(process=7))
    with pytest.raises(NotJSON) as caught:
        encode([*[good] * beside, Record(2, 1.0, 2.0, event)])
    assert str(caught.value).endswith(f" cannot be recorded: {problem}")


@settings(max_examples=300, deadline=None)
@given(events(), st.data())
def test_every_kind_is_written_and_read_as_pydantic_would(event: Any, data: st.DataObject) -> None:
    """The same text; and where a field has any other value, the same event or the same refusal."""
    ours, theirs = both(type(event))
    text = ours.text((event,))
    with contextlib.suppress(ValueError):  # half of a surrogate pair, which pydantic does not write
        assert text == theirs.dump_json((event,)).decode()
    [row] = json.loads(text)
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(JSON)
    assert what(ours.read, [row]) == what(theirs.validate_python, [row])
    other = json.dumps([row])
    assert what(ours.parsed, other) == what(theirs.validate_json, other)


def both(kind: type) -> tuple[Shape, TypeAdapter[Any]]:
    """One of ours and one of pydantic's, of the same type."""
    row: Any = GenericAlias(tuple, (kind,))
    return Shape(row, finite=True), TypeAdapter(row, config=ConfigDict(allow_inf_nan=False))


def what(read: Callable[[Any], Any], value: Any) -> Any:
    """What is read, or that nothing is."""
    try:
        return read(value)
    except (ValueError, ConfigError) as error:
        return type(error)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_name_of_its_own(kind: type) -> None:
    """The discriminator is there, unlike all others, and part of what is written."""
    names = [k.kind for k in KINDS]  # type: ignore[attr-defined]
    assert names.count(kind.kind) == 1  # type: ignore[attr-defined]


GOOD = encode([Record(3, 1.0, 2.0, RunResumed(process=7))])


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "{}",
        "[[]]",
        GOOD[:-1],
        GOOD[: len(GOOD) // 2],
        GOOD + GOOD,
        GOOD.replace("run_resumed", "run_exploded"),
        GOOD.replace('"process":7', '"process":"seven"'),
        GOOD.replace('"process":7', '"proces":7'),
        GOOD.replace("[[3", "[[3.5"),
        GOOD.replace("7", "\ud800"),
        GOOD.replace("run_resumed", "\\ud800"),
        "[" * 100_000,
        "1" * 5000,
    ],
)
def test_a_damaged_line_is_refused_in_one_sentence(line: str) -> None:
    """Cut off, doubled, of an unknown kind or with a wrong type: DamagedRecord, short, without the line itself."""
    with pytest.raises(DamagedRecord) as caught:
        list(decode(line))
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=4), st.integers(0, len(GOOD) - 1))
def test_flipped_bytes_are_refused_or_give_records(junk: bytes, at: int) -> None:
    """Whatever bytes replace some of a line: the records or DamagedRecord, nothing else."""
    line = GOOD[:at] + junk.decode("latin-1") + GOOD[at + len(junk) :]
    with contextlib.suppress(DamagedRecord):
        assert all(isinstance(record, Record) for record in decode(line))


def test_a_run_of_a_newer_format_is_not_guessed_at() -> None:
    """The message has both numbers and what to do."""
    start = RunStarted(run="r1", task="t", model="m", cheap_model="m", tools={}, budget=Budget(), format=FORMAT + 1)
    with pytest.raises(DamagedRecord, match=rf"format {FORMAT + 1}.*up to {FORMAT}: install"):
        list(decode(encode([Record(0, 0, 0, start)])))


def test_half_a_surrogate_pair_is_recorded_as_a_question_mark() -> None:
    """A browser may send half an emoji as a reason; the record is written and can be read."""
    event = ApprovalAnswered(step="s1", decision="reject", by="ada", reason="no \ud83d, thanks")
    (read,) = decode(encode([Record(0, 0, 0, event)]))
    assert isinstance(read.event, ApprovalAnswered)
    assert read.event.reason == "no ?, thanks"


def test_nul_and_line_separators_survive() -> None:
    """Control characters and U+2028 in a message come back as they were."""
    text = "a\0b\u2028c\x85d\r\n\x1b[0m"
    event = ToolReturned(step="s1", status="ok", seconds=0, result=Kept(3, json.dumps(text)), message=text)
    (read,) = decode(encode([Record(0, 0, 0, event)]))
    assert read.event == event


def test_what_is_no_json_is_named_by_its_kind() -> None:
    """An object in a plan is NotJSON, and says in which event."""
    steps = (Step(tool="t", args={"x": object()}, id="s1"),)
    with pytest.raises(NotJSON, match="plan_made cannot be recorded"):
        encode([Record(0, 0, 0, PlanMade(version=1, keep=0, steps=steps, reason="", by="user"))])


def test_what_could_not_be_read_again_is_not_written() -> None:
    """A number where a text belongs would damage the run for good; a text where its like belongs is read as that."""
    odd: Any = 7
    with pytest.raises(NotJSON, match=r"approval_answered cannot be recorded: 3\.by: Input should be a valid string"):
        encode([Record(0, 0, 0, ApprovalAnswered(step="s1", decision="approve", by=odd))])
    kind: Any = "transient"
    (read,) = decode(encode([Record(0, 0, 0, ToolReturned(step="s1", status="failed", seconds=0, failure=kind))]))
    assert isinstance(read.event, ToolReturned)
    assert read.event.failure is FailureClass.TRANSIENT
