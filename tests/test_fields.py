"""The form for editing arguments: what nobody touches comes back as it was, and what is typed is what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.notebook.changes import same
from agentnb.notebook.fields import Form, Unreadable, fields_of, parse_json

ODD = st.sampled_from(
    ["", "a\u202eb", "a\tb", "x\r\ny", "\x00", "\ud800", "ä", "x" * 200, "two\nlines", "null", "5", "\u200d"]
)
TEXTS = st.text(max_size=30) | ODD
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=5), of, max_size=3), max_leaves=6
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": st.integers(-9, 9), "maximum": st.integers(-9, 9) | st.floats(-9, 9),
        "exclusiveMinimum": st.integers(-9, 9), "exclusiveMaximum": st.integers(-9, 9),
    },
)  # fmt: skip
TYPES: st.SearchStrategy[Any] = st.sampled_from(
    ["boolean", "integer", "number", "string", "null", "array", "object", ["string", "null"], 5, None]
)
SCHEMAS = st.one_of(
    st.builds(lambda of, more: {"type": of, **more}, TYPES, BOUNDS),
    st.builds(lambda of: {"enum": of}, st.lists(SCALARS, max_size=4)),
    st.sampled_from([
        {}, True, {"$ref": "#/$defs/Color"}, {"$ref": "#/$defs/None"},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": "string", "default": "x", "description": "<b>what</b>"},
    ]),
)  # fmt: skip
COLOR = {"Color": {"enum": ["red", "green"], "type": "string"}}


def form(value: Any, schema: Any, *, required: bool = True) -> tuple[Form, Any]:
    """The form of one argument, and its widget."""
    whole = {"properties": {"a": schema}, "required": ["a"] if required else [], "$defs": COLOR}
    made = Form({"a": value}, whole)
    return made, made._fields[0][1]


@settings(max_examples=150, deadline=None)
@given(
    args=st.dictionaries(st.text(min_size=1, max_size=6), VALUES, max_size=4),
    schemas=st.lists(SCHEMAS, min_size=6, max_size=6),
    fits=st.booleans(),
)
def test_what_is_not_edited_comes_back_as_it_was(args: dict[str, Any], schemas: list[Any], *, fits: bool) -> None:
    """For any schema, also one that the value does not fit: the same arguments, with the same types, in their order."""
    names = [*args, "more"]
    known = dict(zip(names, schemas, strict=False))
    if fits:
        known |= {name: {"enum": [value, "other"]} for name, value in args.items()}
    made = Form(args, {"properties": known, "required": names, "$defs": COLOR})
    read, wrong = made.read()
    assert wrong == ()
    assert list(read) == list(args)
    assert all(read[name] is value for name, value in args.items())


@settings(max_examples=150, deadline=None)
@given(value=VALUES, other=VALUES)
def test_any_json_can_be_typed(value: Any, other: Any) -> None:
    """An argument without a field of its own becomes whatever JSON is typed."""
    made, widget = form(value, {})
    widget.value = json.dumps(other)
    read, wrong = made.read()
    assert wrong == ()
    assert same(read["a"], other)


@pytest.mark.parametrize(
    ("schema", "value", "widget"),
    [
        ({"type": "boolean"}, True, "Checkbox"),
        ({"type": "boolean"}, 1, "Textarea"),
        ({"enum": ["UA", "DL"]}, "DL", "Dropdown"),
        ({"enum": [1, "1", None]}, None, "Dropdown"),
        ({"enum": [1]}, True, "Textarea"),
        ({"$ref": "#/$defs/Color"}, "red", "Dropdown"),
        ({"type": "integer"}, 5, "Text"),
        ({"type": "integer", "minimum": 0, "exclusiveMaximum": 10}, 9, "Text"),
        ({"type": "integer", "maximum": 3}, 9, "Text"),
        ({"type": "integer"}, 2**60, "Text"),
        ({"type": "number"}, 0.25, "Text"),
        ({"type": "number"}, 5, "Text"),
        ({"type": "string"}, "short", "Text"),
        ({"type": "string"}, "two\nlines", "Textarea"),
        ({"type": "string"}, "long " * 40, "Textarea"),
        ({"type": "array"}, [1], "Textarea"),
        ({"type": "object"}, {"a": 1}, "Textarea"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, "Textarea"),
        ({"type": "string"}, None, "Textarea"),
    ],
)
def test_each_kind_has_its_field(schema: Any, value: Any, widget: str) -> None:
    """By the schema, where the value fits it; JSON for everything else."""
    assert type(form(value, schema)[1]).__name__ == widget


@pytest.mark.parametrize(
    ("schema", "value", "typed", "expected"),
    [
        ({"type": "boolean"}, True, False, False),
        ({"enum": ["UA", None, 1]}, "UA", 1, None),
        ({"enum": ["UA", None, 1]}, "UA", 2, 1),
        ({"type": "integer"}, 5, " 10 ", 10),
        ({"type": "integer"}, 5, str(2**60 + 1), 2**60 + 1),
        ({"type": "integer", "maximum": 10}, 5, "11", 11),
        ({"type": "number"}, 5, "6", 6),
        ({"type": "number"}, 5, "6.5", 6.5),
        ({"type": "number"}, 5.0, "6", 6.0),
        ({"type": "number"}, 5.0, "1e3", 1000.0),
        ({"type": "string"}, "a", "", ""),
        ({"type": "string"}, "a", "null", "null"),
        ({"anyOf": []}, "a", "null", None),
        ({"anyOf": []}, None, '"a"', "a"),
        ({"type": "array"}, [1], "[1, 2]", [1, 2]),
    ],
)
def test_what_is_typed_is_what_is_read(schema: Any, value: Any, typed: Any, expected: Any) -> None:
    """In the type of the argument."""
    made, widget = form(value, schema)
    widget.value = typed
    read, wrong = made.read()
    assert wrong == ()
    assert same(read["a"], expected)


@pytest.mark.parametrize("typed", ["[1, 2", "NaN", "1e999", "-Infinity", "", "[" * 10_000, "'a'"])
def test_what_is_no_json_is_said(typed: str) -> None:
    """With the argument's name; it counts as not edited until it is put right."""
    made, widget = form([1], {"type": "array"})
    widget.value = typed
    read, (wrong,) = made.read()
    assert read == {"a": [1]}
    assert wrong.startswith("a: this is no JSON")
    with pytest.raises(Unreadable):
        parse_json(typed)


@pytest.mark.parametrize("typed", ["", "  ", "x", "true", '"5"', "NaN", "1,5", "1 000", "0x10", "[5]", "1e999"])
@pytest.mark.parametrize("schema", ["integer", "number"])
def test_what_is_no_number_is_said(schema: str, typed: str) -> None:
    """What is shown is what is read, or else a problem: nothing is rounded, and nothing snaps back."""
    before = 5 if schema == "integer" else 5.0
    made, widget = form(before, {"type": schema})
    widget.value = typed
    read, wrong = made.read()
    assert read == {"a": before}
    assert f"a {'whole ' * (schema == 'integer')}number" in wrong[0]


def test_a_whole_number_is_one() -> None:
    """7.5 is none, and neither is 7.0."""
    made, widget = form(5, {"type": "integer"})
    for typed in ("7.5", "7.0", "1e3"):
        widget.value = typed
        assert made.read() == ({"a": 5}, (f"a: {typed} is not a whole number",))


def test_what_may_be_left_out_can_be() -> None:
    """An empty field of JSON leaves out what is not required, and gives what was left out; it says what that means."""
    made, widget = form(None, {"anyOf": []}, required=False)
    widget.value = "  "
    assert made.read() == ({}, ())
    made = Form({}, {"properties": {"cc": {"type": "string", "default": "nobody"}}})
    (field, widget), *_ = made._fields
    assert (field.given, widget.value, widget.placeholder) == (False, "", 'Left out; it is then "nobody"')
    assert made.read() == ({}, ())
    widget.value = '"ada"'
    assert made.read() == ({"cc": "ada"}, ())


def test_a_field_has_its_name_and_its_description() -> None:
    """The name is its label, the description its tooltip; neither can hide anything, and neither is markup."""
    _, widget = form("x", {"type": "string", "description": "what\nwas \u202efound"})
    assert (widget.description, widget.tooltip, widget.description_allow_html) == ("a", "what was found", False)


def test_what_cannot_be_seen_is_edited_as_json() -> None:
    """So that a person sees it."""
    _, widget = form("pay\u202e100", {"type": "string"})
    assert widget.value == '"pay\\u202e100"'


def test_a_change_is_told_of() -> None:
    """Every time somebody changes something, and at no other time."""
    told: list[None] = []
    made = Form({"a": "x"}, {"properties": {"a": {"type": "string"}}}, lambda: told.append(None))
    assert told == []
    made._fields[0][1].value = "y"
    assert len(told) == 1


def test_odd_schemas_are_no_obstacle() -> None:
    """Whatever stands in place of a schema, there is a field."""
    for parameters in (
        {},
        {"properties": None},
        {"properties": {"a": None}},
        {"properties": {"a": {"$ref": 5}}, "$defs": 1},
    ):
        assert [field.kind for field in fields_of({"a": 1}, parameters)] == ["json"]
