"""The strict dialect admits only answers that come back valid under the original schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator as Validator

from agentnb.models.schema import restored, restored_text, strict_schema

SCALARS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")}, optional={"maxLength": st.integers(1, 5), "pattern": st.just("^a")}
    ),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number", "boolean", "null"])}),
    st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": st.integers(0, 3)}),
    st.sampled_from([{"const": "tool"}, {"const": 1}, {"const": True}, {"const": None}]),
    st.lists(st.sampled_from(["a", "b", 1, 2.5, True, None]), min_size=1, max_size=4, unique_by=repr).map(
        lambda values: {"enum": values}
    ),
    st.just({"type": ["string", "null"]}),
    st.just({"type": ["integer", "array"], "items": {"type": "string"}}),
    st.sampled_from([{"$ref": "#/$defs/leaf"}, {"$ref": "#/$defs/tree"}]),
)
FREE: st.SearchStrategy[dict[str, Any]] = st.sampled_from([
    {},
    {"description": "anything"},
    {"type": "object"},
    {"type": "object", "additionalProperties": {"type": "integer"}},
])  # fmt: skip
DEFS = {
    "leaf": {"type": "string", "maxLength": 3},
    "tree": {
        "type": "object",
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            "label": {"$ref": "#/$defs/leaf"},
        },
        "required": ["children"],
        "additionalProperties": False,
    },
}


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(st.sampled_from("pqrs"), inner, max_size=4))
    required = [name for name in sorted(properties) if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        objects(inner),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 3), "maxItems": st.integers(3, 4)},
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
    )


def schemas(leaves: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of the subset that is in use, all with the same definitions."""
    return objects(st.recursive(leaves, nested, max_leaves=8)).map(lambda schema: {**schema, "$defs": DEFS})


def instances(schema: dict[str, Any], defs: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """What a model that is held to a strict schema can say."""
    if "$ref" in schema:
        return st.deferred(lambda: instances(defs[schema["$ref"].rpartition("/")[2]], defs, depth + 1))
    if "anyOf" in schema:
        return st.one_of([instances(branch, defs, depth) for branch in schema["anyOf"]])
    kind = schema["type"]
    if kind == "object":
        known = {name: instances(inner, defs, depth) for name, inner in schema["properties"].items()}
        required = {name: known.pop(name) for name in schema["required"]}
        return st.fixed_dictionaries(required, optional=known)
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(instances(schema["items"], defs, depth), min_size=least, max_size=3 if depth < 3 else least)
    return scalars(schema)


def scalars(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Constants, and values that hold no others."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": st.one_of(st.text(max_size=8), st.sampled_from(["1", "null", "[]", '{"a": 1}', '{"a": "x"}'])),
        "integer": st.integers(),
        "number": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return kinds[schema["type"]]


def without_bounds(schema: Any) -> Any:
    """The original schema minus what the strict one drops; of `minItems` only "not empty" stays."""
    if isinstance(schema, list):
        return [without_bounds(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            out[key] = {name: without_bounds(inner) for name, inner in value.items()}
        elif key in ("const", "enum"):
            out[key] = value
        elif key == "minItems":
            out[key] = min(value, 1)
        elif key not in ("maxLength", "pattern", "maxItems", "minimum"):
            out[key] = without_bounds(value)
    return out


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.booleans())
def test_every_strict_answer_is_valid_once_restored(data: st.DataObject, nullable: bool) -> None:  # noqa: FBT001
    """What the strict schema admits is, restored, valid under the original but for the dropped bounds."""
    schema = data.draw(schemas(SCALARS))
    strict = strict_schema(schema, nullable_optionals=nullable)
    value = data.draw(instances(strict, strict["$defs"]))
    Validator(strict).validate(value)
    back = restored(value, schema)
    Validator(without_bounds(schema)).validate(back)
    assert json.loads(restored_text(json.dumps(value), schema)) == back


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), st.booleans())
def test_free_form_values_travel_as_text(data: st.DataObject, nullable: bool) -> None:  # noqa: FBT001
    """The same with values of unknown shape, as long as the model wrote into the text what the description asks for."""
    schema = data.draw(schemas(st.one_of(SCALARS, FREE)))
    strict = strict_schema(schema, nullable_optionals=nullable)
    value = data.draw(instances(strict, strict["$defs"]))
    back = restored(value, schema)
    problems = [error for error in Validator(without_bounds(schema)).iter_errors(back) if not _left_as_text(error)]
    assert not problems


def _left_as_text(error: Any) -> bool:
    """True where a text that was to hold an object holds something else: the one thing that no schema can prevent."""
    if error.context:
        return any(_left_as_text(inner) for inner in error.context)
    return error.validator == "type" and error.validator_value == "object" and isinstance(error.instance, str)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemas(st.one_of(SCALARS, FREE)), st.booleans())
def test_strict_schemas_hold_nothing_that_a_provider_refuses(schema: dict[str, Any], nullable: bool) -> None:  # noqa: FBT001
    """Every object is closed, every type named, every reference alone, every bound gone; the original is untouched."""
    before = json.dumps(schema)
    strict = strict_schema(schema, nullable_optionals=nullable)
    assert json.dumps(schema) == before
    Validator.check_schema(strict)
    for part in (strict, *strict["$defs"].values()):
        _check_strict(part, nullable=nullable)


def _check_strict(schema: dict[str, Any], *, nullable: bool) -> None:
    assert not schema.keys() & {"maxLength", "pattern", "maxItems", "minimum", "title", "default"}
    if "$ref" in schema:
        assert schema.keys() == {"$ref"}
    elif "anyOf" in schema:
        assert schema.keys() <= {"anyOf", "description"}
    else:
        assert isinstance(schema["type"], str)
    assert schema.get("minItems", 0) in (0, 1)
    if schema.get("type") == "object":
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= schema["properties"].keys()
        assert not nullable or len(schema["required"]) == len(schema["properties"])
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if inner is not None:
            _check_strict(inner, nullable=nullable)


def test_dropped_bounds_are_told() -> None:
    """A bound that cannot be enforced is still said, after the schema's own description."""
    schema = {"type": "string", "description": "A city", "maxLength": 20, "pattern": "^[A-Z]"}
    assert strict_schema(schema, nullable_optionals=True) == {
        "type": "string",
        "description": "A city (maxLength: 20; pattern: ^[A-Z])",
    }


def test_nulls_that_mean_something_stay() -> None:
    """A null is dropped only where the original does not admit it; a property that may be null keeps its null."""
    maybe = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": maybe, "c": {"type": "null"}},
        "required": [],
        "additionalProperties": False,
    }
    assert restored({"a": None, "b": None, "c": None}, schema) == {"b": None, "c": None}
    assert strict_schema(schema, nullable_optionals=True)["properties"]["b"] == maybe


def test_optionals_stay_optional_where_that_is_cheaper() -> None:
    """Anthropic admits optional properties, and counts unions against a lower limit."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    strict = strict_schema(schema, nullable_optionals=False)
    assert strict["properties"]["a"] == {"type": "integer"}
    assert strict["required"] == []


def test_the_branch_decides_what_a_null_means() -> None:
    """In a union the branch that the answer matches says which nulls stand for nothing."""
    branches = [
        {
            "type": "object",
            "properties": {"kind": {"const": kind}, "x": x},
            "required": required,
            "additionalProperties": False,
        }
        for kind, x, required in [("one", {"type": "integer"}, ["kind"]), ("two", {"type": "null"}, ["kind", "x"])]
    ]
    assert restored({"kind": "one", "x": None}, {"anyOf": branches}) == {"kind": "one"}
    assert restored({"kind": "two", "x": None}, {"anyOf": branches}) == {"kind": "two", "x": None}


def test_open_objects() -> None:
    """An open object with properties is closed; a map is told to the model as text, with what its values are."""
    known = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert strict_schema(known, nullable_optionals=True)["additionalProperties"] is False
    numbers = {"type": "object", "additionalProperties": {"type": "integer"}}
    strict = strict_schema(numbers, nullable_optionals=True)
    assert strict["type"] == "string"
    assert '{"type": "integer"}' in strict["description"]
    assert restored('{"a": 1}', numbers) == {"a": 1}
    assert restored('{"a": "x"}', numbers) == '{"a": "x"}'
    assert restored({"a": 1}, numbers) == {"a": 1}


@pytest.mark.parametrize("text", ["", '{"a": ', "I would rather not", "[" * 100_000])
def test_text_that_is_no_json_is_untouched(text: str) -> None:
    """A refusal or an answer that was cut off comes back as it is."""
    assert restored_text(text, {"type": "object", "additionalProperties": False}) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_restoring_never_raises(value: Any) -> None:
    """Servers that ignore the schema may answer anything; the validator, and not an exception, says so."""
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/tree"}},
        "additionalProperties": False,
        "$defs": DEFS,
    }
    restored(value, schema)
    restored({"a": value}, schema)
