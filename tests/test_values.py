"""What a tool returns as JSON, and a value such as it might return."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from agentnb.errors import NotJSON
from agentnb.values import as_json, digest, example, json_text

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_any_json_has_one_text_that_reads_back(value: Any) -> None:
    """And the same text, and so the same hash, when what was read is written again."""
    kept = as_json(value)
    text = json_text(kept)
    assert json.loads(text) == kept
    assert json_text(json.loads(text)) == text
    assert digest(json_text(as_json(json.loads(text)))) == digest(text)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), object(), {1, 2}, {"a": object()}, {("a",): 1}],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_text_says_so(value: Any) -> None:
    """A record never holds what no parser reads."""
    with pytest.raises(NotJSON, match="has no JSON form"):
        json_text(value)


def test_a_deep_value_is_refused_and_no_crash() -> None:
    """Whatever Python's own depth is."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotJSON):
        json_text(deep)


def test_half_a_pair_is_a_question_mark() -> None:
    """In texts and keys, and so the text has a hash."""
    text = json_text({"a\ud83d": "b\ude00"})
    assert (text, len(digest(text))) == ('{"a?":"b?"}', 64)


def test_the_order_of_keys_is_kept() -> None:
    """Two objects that differ in it are two texts: what was approved is what is called."""
    assert json_text({"b": 1, "a": 2}) == '{"b":1,"a":2}'


class Part(BaseModel):
    """A part."""

    name: str
    n: int
    tags: list[str]
    share: float | None
    also: bool = False


class Whole(BaseModel):
    """Parts."""

    first: Part
    rest: list[Part] = Field(default_factory=list)
    by: dict[str, Part]
    pair: tuple[int, str] | None = None


@pytest.mark.parametrize(
    "kind", [int, str, bool, float, None, Part, Whole, list[Part], dict[str, int], int | str], ids=str
)
def test_an_example_is_of_its_form(kind: Any) -> None:
    """What stands in for a result would have been one."""
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    jsonschema.validate(example(schema), schema)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, None),
        ({"type": "array"}, []),
        ({"type": "object"}, {}),
        ({"type": ["string", "null"]}, None),
        ({"enum": []}, None),
        ({"anyOf": []}, None),
        ({"$ref": "#/$defs/missing"}, None),
        ({"$ref": 5}, None),
        ({"default": None, "type": "integer"}, None),
        ({"const": 0}, 0),
        ({"examples": ["x"], "type": "integer"}, "x"),
        ({"allOf": [{"type": "integer"}]}, 0),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, None),
    ],
    ids=str,
)
def test_an_odd_schema_has_an_example(schema: dict[str, Any], value: Any) -> None:
    """Never an error and never an endless loop."""
    assert example(schema) == value


def test_a_form_that_holds_itself_many_times_ends_soon() -> None:
    """Six branches at each level are not walked to the bottom."""
    branch = {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}
    schema = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": dict.fromkeys("abcdef", branch)}}}
    assert len(json.dumps(example(schema))) < 100_000
