"""Values in the text of a cell: what is put in, what stays, and what is said about a name that is not there."""

from __future__ import annotations

import json
import string
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ConfigError
from agentnb.notebook.expand import UndefinedName, expand

NAMES = {"n": 3, "größe": "groß", "row": {"id": 7, "in": {"x": 1}}, "frame": SimpleNamespace(shape=(2, 3))}

identifiers = st.text(string.ascii_letters + "_äπ", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{n} rows", "3 rows"),
        ("{n}{n}", "33"),
        ("{row.id} and {row.in.x}", "7 and 1"),
        ("{frame.shape}", "(2, 3)"),
        ("{größe}", "groß"),
        ("{{n}}", "{n}"),
        ("{{row.id}} is {row.id}", "{row.id} is 7"),
        ('{"n": 1, "list": [{"a": {}}]}', '{"n": 1, "list": [{"a": {}}]}'),
        ("{ n }", "{ n }"),
        ("{}", "{}"),
        ("{0} {1}", "{0} {1}"),
        ("{n!r} {n:>5}", "{n!r} {n:>5}"),
        ("{n", "{n"),
        ("n}", "n}"),
        ("100 % of %s, %(n)s and $n", "100 % of %s, %(n)s and $n"),
        ("“{n}” → ✓ 日本", "“3” → ✓ 日本"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    """Only a bare or dotted name in single braces is replaced."""
    assert expand(text, NAMES) == expected


def test_the_first_namespace_wins() -> None:
    """Parameters are looked up before the notebook's own names."""
    assert expand("{n} {m}", {"n": "param"}, {"n": "notebook", "m": "notebook"}) == "param notebook"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{rwo}", "'row'"),
        ("{row.ids}", "'id'"),
        ("{frame.shap}", "'shape'"),
        ("{nowhere_near}", "{{nowhere_near}}"),
    ],
)
def test_an_undefined_name_is_an_error_with_the_nearest_match(text: str, said: str) -> None:
    """The message has what was probably meant, and how to write the braces themselves."""
    with pytest.raises(UndefinedName, match=r"Write \{\{") as caught:
        expand(text, NAMES)
    assert said in str(caught.value)
    assert isinstance(caught.value, ConfigError)


class Odd:
    """It raises at whoever reads it."""

    @property
    def bad(self) -> int:
        raise ValueError("the file is closed")

    def __str__(self) -> str:
        raise TypeError("it has no text")


@pytest.mark.parametrize(
    ("text", "said"), [("{odd.bad}", "ValueError: the file is closed"), ("{odd}", "TypeError: it has no text")]
)
def test_a_value_that_cannot_be_read_is_an_error_in_words(text: str, said: str) -> None:
    """What a property or `__str__` raises is named, with the way to write the braces themselves."""
    with pytest.raises(ConfigError, match=r"Write \{\{") as caught:
        expand(text, {"odd": Odd()})
    assert said in str(caught.value)


@given(identifiers, st.text())
def test_a_value_is_put_in_once(name: str, value: str) -> None:
    """What a value contains, braces included, is never looked at again."""
    assert expand(f"<{{{name}}}>", {name: value}) == f"<{value}>"


plain = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]))


@given(st.recursive(st.integers() | plain, lambda inner: st.lists(inner) | st.dictionaries(plain, inner)))
def test_json_stays_as_it_is(value: object) -> None:
    """A JSON document in a cell is text: no object of it looks like a name in braces."""
    assert expand(json.dumps(value), {}) == json.dumps(value)


@given(st.text(alphabet=string.ascii_letters + string.digits + " %$\\\n\"':,[]()"))
def test_text_without_braces_stays_as_it_is(text: str) -> None:
    """Percent signs, dollars, backslashes and quotes mean nothing."""
    assert expand(text, {}) == text


@given(identifiers)
def test_doubled_braces_are_the_text_itself(name: str) -> None:
    """There is a way to write every name in braces literally, defined or not."""
    assert expand(f"{{{{{name}}}}}", {}) == f"{{{name}}}"
    assert expand(f"{{{{{name}}}}}", {name: 1}) == f"{{{name}}}"


def test_a_megabyte_is_no_trouble() -> None:
    """A cell full of unclosed braces is read in one pass."""
    assert len(expand("{" * 1_000_000, {})) == 1_000_000
