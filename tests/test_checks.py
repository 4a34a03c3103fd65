"""Checks: right expressions are evaluated, hostile ones are refused, and none of them hangs."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.checks import check_problem, evaluate, failed_check, is_empty
from agentnb.plan import Check
from agentnb.values import as_json, digest, json_text

ROWS = {"rows": [{"n": 4}, {"n": 5}], "name": "EWR", "mean": 1.5, "none": None}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("len(result['rows']) >= 2 and result['rows'][0]['n'] > 3", True),
        ("result['rows'][-1]['n'] * 2 - 1", 9),
        ("1 < result['mean'] <= 2", True),
        ("not result['none'] is None", False),
        ("result['none'] is not None or 'W' in result['name']", True),
        ("'x' not in result", True),
        ("sum([1, 2.5]) / 2", 1.75),
        ("round(result['mean'] * 100 / 7, 2)", 21.43),
        ("7 // 2 + 7 % 4 + abs(-3)", 9),
        ("sorted([3, 1, 2])[0] == min((3, 1, 2))", True),
        ("set([1, 1]) == set([1])", True),
        ("all([True, any([0, 1])]) != bool(0)", True),
        ("max(int('3'), float('4.5'))", 4.5),
        ("str(result['mean'])", "1.5"),
    ],
)
def test_expressions_mean_what_they_mean_in_python(expression: str, value: Any) -> None:
    """Comparison, arithmetic, indexing and the listed functions give Python's own result."""
    assert evaluate(expression, ROWS) == value


@pytest.mark.parametrize(
    "expression",
    [
        "result.__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "exec('1')",
        "result.keys()",
        "lambda: 1",
        "(lambda: 1)()",
        "[x for x in result]",
        "{x for x in result}",
        "(x for x in result)",
        "{'a': 1}",
        "f'{result}'",
        "b'x'",
        "...",
        "1j",
        "9 ** 9 ** 9",
        "1 << 10 ** 9",
        "~1",
        "1 & 1",
        "[1] @ [2]",
        "(x := 1)",
        "1 if result else 2",
        "len(*result)",
        "sorted(result, reverse=True)",
        "max(result, key=len)",
        "sum([[1]], [])",
        "range(10 ** 9)",
        "list(range(1000000000))",
        "result[1:2]",
        "results",
        "None()",
        "str.format",
        "await result",
        "yield",
        "x = 1",
        "import os",
        "",
        "  ",
        "\0",
        "\ud800",
        "1 +",
        "(" * 400,
        "a" * 501,
    ],
)
def test_hostile_expressions_are_a_failed_check(expression: str) -> None:
    """No attribute, no other name, no call of anything unlisted: each is one sentence, and nothing runs."""
    why = failed_check(Check(expression=expression), ROWS)
    assert why is not None
    assert "cannot be evaluated on the result" in why


@pytest.mark.parametrize(
    "expression",
    [
        "round(1, -999999999)",
        "round(1.5, 999999999)",
        "'ab' * 1000000000",
        "[1] * 1000000000",
        "result['name'] + result['name']",
        "[1] + [2]",
        "'%999999999d' % 1",
        "int('9' * 9)",
        "10 ** 1000000000",
        "1 / 0",
        "int('9999999999999999999', 99)",
        "result['nope']",
        "result['rows'][9]",
        "result['none'] > 1",
        "set([[1]])",
        "len(5)",
        "int(1e999)",
    ],
)
def test_what_would_grow_without_bound_or_fail_is_a_failed_check(expression: str) -> None:
    """Huge numbers, repeated texts and errors at evaluation end at once, with the reason."""
    why = failed_check(Check(expression=expression), ROWS)
    assert why is not None
    assert "cannot be evaluated on the result" in why


@pytest.mark.parametrize(
    "expression", ["-" * 498 + "1", "not " * 124 + "1", "[" * 190 + "]" * 190, "(" * 190 + "1" + ")" * 190]
)
def test_deep_nesting_is_evaluated_or_refused(expression: str) -> None:
    """Five hundred characters of nesting overflow nothing."""
    why = failed_check(Check(expression=expression), 1)
    assert why is None or "cannot be evaluated" in why or "is not true" in why


def test_a_stray_escape_in_a_text_shows_no_warning() -> None:
    r"""`'\d'` is odd Python and right all the same; warnings are errors in these tests."""
    assert failed_check(Check(expression=r"'\d' not in result"), "x") is None


@given(st.text(alphabet="result[]'()0 1+-*/%<>=.,:andorti_{}\"", max_size=60), st.lists(st.integers()))
def test_any_text_is_a_verdict(text: str, result: list[int]) -> None:
    """Whatever is written as a check, the answer is None or a sentence and never an exception."""
    why = failed_check(Check(expression=text), result)
    assert why is None or text in why


@pytest.mark.parametrize(
    ("value", "empty"),
    [(None, True), ("", True), ([], True), ({}, True), (0, False), (False, False), ([None], False), (" ", False)],
)
def test_empty_is_nothing_found_and_not_zero(value: Any, empty: bool) -> None:  # noqa: FBT001 - a table
    """Null and empty texts, lists and objects are empty; 0, false and a list with a null are results."""
    assert is_empty(value) is empty
    assert (failed_check(Check(non_empty=True), value) is not None) is empty


def test_a_schema_says_where_the_result_differs() -> None:
    """The first violation, with its path."""
    schema = {"type": "array", "items": {"type": "object", "required": ["n"]}}
    assert failed_check(Check(schema=schema), [{"n": 1}]) is None
    assert failed_check(Check(schema=schema), [{"n": 1}, {}]) == "at $[1]: 'n' is a required property"
    ref = {"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}
    assert failed_check(Check(schema=ref), ["x"]) == "at $[0]: 'x' is not of type 'integer'"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"pattern": "("},
        {"multipleOf": 0},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$dynamicRef": "file:///etc/passwd"},
    ],
)
def test_a_schema_that_cannot_be_used_is_a_failed_check(schema: dict[str, Any]) -> None:
    """Invalid, dangling or endless: the sentence says that the schema is to blame."""
    why = failed_check(Check(schema=schema), "x")
    assert why is not None
    assert why.startswith("the check's own schema")


def test_a_schema_fetches_nothing() -> None:
    """A $ref to a server is not followed: no connection arrives there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        assert failed_check(Check(schema={"$ref": f"http://127.0.0.1:{port}/s.json"}), "x")
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("value", [None, "", [], {}, 0, False, "é\u2028\0", {"b": 1, "a": [1.5, None]}, [1, 1.0, True]])
def test_a_hash_holds_a_result_to_what_it_was(value: Any) -> None:
    """To the letter: another order, another type or one more element is another result."""
    check = Check(sha256=digest(json_text(as_json(value))))
    assert failed_check(check, value) is None
    others: list[Any] = [None, "", [], {}, 0, False, 0.0, "é", {"a": [1.5, None], "b": 1}, [1, 1, True], [value]]
    for other in others:
        same = json_text(other) == json_text(value)
        assert failed_check(check, other) == (None if same else "the result is not what it was")


def test_all_that_is_given_must_hold() -> None:
    """A hash that fits does not make up for an expression that does not."""
    check = Check(sha256=digest("3"), expression="result > 3", schema={"type": "integer"}, non_empty=True)
    assert failed_check(check, 3) == "result > 3 is not true of the result"
    with pytest.raises(ValueError, match="a check checks something"):
        Check()


@pytest.mark.parametrize("expression", ["len(result", "1 +", "\0", "(" * 400])
def test_what_is_no_expression_is_found_beforehand(expression: str) -> None:
    """And what is one is not, whatever it would say of a result."""
    why = check_problem(Check(expression=expression))
    assert why is not None
    assert "is no expression" in why
    assert check_problem(Check(expression="result['nope'] > 1")) is None
    assert check_problem(Check(non_empty=True)) is None
