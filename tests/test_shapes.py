"""Shapes: values of the sorts of types that records and checkpoints are made of, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic_core import ValidationError

from agentnb.shapes import Shape


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    n: int = 7
    colours: Mapping[Colour, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    inner: tuple[Inner, ...] = ()
    pair: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("it has no name")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Any, {"a": [1, None, "x"]}),
        (int | str | None, None),
        (Literal["a", "b"], "b"),
        (list[float], [1.5, 2.0]),
        (frozenset[str], frozenset({"x"})),
        (dict[str, bool], {"x": True}),
        (Colour, Colour.RED),
        (Outer, Outer("a", (Inner(), Inner(n=8, colours={Colour.RED: 0.5})), (1, "x"))),
    ],
    ids=str,
)
def test_a_value_is_read_back_as_it_was_written(kind: Any, value: object) -> None:
    """Of every sort of type, parsed by whoever reads it or not; in brief too."""
    shape = Shape(kind)
    assert shape.parsed(shape.text(value)) == value
    assert shape.parsed(shape.text(value, brief=True)) == value


def test_in_brief_what_is_as_by_default_is_left_out() -> None:
    """So a plan of a thousand steps is half as long."""
    assert Shape(Outer).text(Outer("a", (Inner(n=8),)), brief=True) == '{"name":"a","inner":[{"n":8}]}'


@pytest.mark.parametrize(
    "text", ["", "{}", '{"name":""}', '{"name":"a","inner":[{"n":"x"}]}', '{"name":"a","pair":[1]}']
)
def test_what_is_not_of_the_type_is_refused(text: str) -> None:
    """A dataclass's own check counts too."""
    with pytest.raises(ValidationError):
        Shape(Outer).parsed(text)


def test_finite_refuses_what_is_no_number() -> None:
    """NaN and infinity have no place in a record; a checkpoint may hold that time is not limited."""
    assert Shape(float).read(float("inf")) == float("inf")
    with pytest.raises(ValidationError):
        Shape(float, finite=True).read(float("inf"))


def test_half_a_surrogate_pair_is_written_as_a_question_mark() -> None:
    """As a browser may send it; no file can hold it."""
    assert Shape(Outer).text(Outer("a\ud800")) == '{"name": "a?", "inner": [], "pair": null}'


def test_a_type_of_another_sort_is_refused() -> None:
    """And not read as anything."""
    with pytest.raises(TypeError, match="no shape is known of <class 'bytes'>"):
        Shape(tuple[bytes, ...])
