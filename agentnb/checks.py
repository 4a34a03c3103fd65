"""Checks that code can do on a step's result: not empty, a JSON Schema, or a small expression.

Expressions may come from a model, so they are not `eval`'d: a fixed set of syntax is walked by hand, sizes are bounded,
and nothing in it can reach an attribute, a name but `result`, or a function that is not listed.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from agentnb.plan import JSON, Check
from agentnb.values import digest, json_text

__all__ = ["check_problem", "failed_check", "is_empty"]

_LONGEST = 500
_DIGITS = 300  # a float has no more, and round(1, -10**9) would calculate 10**10**9


def _round(number: Any, digits: Any = None) -> Any:
    if digits is not None and not -_DIGITS <= digits <= _DIGITS:
        raise ValueError(f"round takes at most {_DIGITS} digits")
    return round(number, digits)


def _sum(numbers: Any) -> Any:
    return sum(numbers)  # no start value: sum(lists, []) copies them over and over


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs, "all": all, "any": any, "bool": bool, "float": float, "int": int, "len": len, "max": max, "min": min,
    "round": _round, "set": set, "sorted": sorted, "str": str, "sum": _sum,
}  # fmt: skip
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # no power and no shift: both make huge numbers; all others are allowed on numbers only, see _binary
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def is_empty(value: JSON) -> bool:
    """True for null, "", [] and {}; not for 0 or false."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def failed_check(check: Check, result: JSON) -> str | None:
    """Why `result` does not pass `check`, in one sentence, or None where it does."""
    if check.non_empty and is_empty(result):
        return f"the result is empty ({result!r})"
    if check.sha256 is not None and digest(json_text(result)) != check.sha256:
        return "the result is not what it was"
    if check.schema is not None and (why := _schema_violation(check.schema, result)):
        return why
    if check.expression is not None:
        try:
            if not evaluate(check.expression, result):
                return f"{check.expression} is not true of the result"
        except (ArithmeticError, LookupError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            return f"{check.expression} cannot be evaluated on the result: {type(error).__name__}: {error}"
    return None


def check_problem(check: Check) -> str | None:
    """Why `check` could never be evaluated, in one sentence, or None."""
    if check.expression is not None:
        try:
            ast.parse(check.expression, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"its check {check.expression[:80]!r} is no expression: {error}"
    return None


def evaluate(expression: str, result: JSON) -> Any:
    """The value of `expression`, in which the name `result` stands for the result.

    Raises:
        SyntaxError: not an expression, longer than 500 characters, or with syntax that is not allowed.

    >>> evaluate("len(result['rows']) >= 2 and result['rows'][0] > 3", {"rows": [4, 5]})
    True
    """
    if len(expression) > _LONGEST:
        raise SyntaxError(f"the expression has {len(expression)} characters, {_LONGEST} are allowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is the author's business, and no line on the user's screen
        tree = ast.parse(expression, mode="eval")
    return _value(tree.body, result)


def _value(node: ast.expr, result: JSON) -> Any:  # noqa: C901, PLR0911 - one return a kind of syntax reads best
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Name(id="result"):
            return result
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, result) for item in items]
        case ast.Subscript(value=box, slice=index):
            return _value(box, result)[_value(index, result)]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, result) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_value(part, result) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _value(part, result)
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_value(part, result)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _value(left, result), _value(right, result))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            values = [_value(part, result) for part in (left, *rights)]
            return all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*[_value(arg, result) for arg in args])
    raise SyntaxError(
        f"{ast.unparse(node)!r} is not allowed in a check: compare, calculate, index, or call {', '.join(_FUNCTIONS)}"
    )


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    if type(op) not in _BINARY:
        raise SyntaxError(f"{type(op).__name__} is not allowed in a check")
    if not all(isinstance(side, (int, float)) for side in (left, right)):  # texts and lists would grow without bound
        raise TypeError(f"{type(op).__name__} takes numbers only")
    return _BINARY[type(op)](left, right)


def _schema_violation(schema: Mapping[str, JSON], result: JSON) -> str | None:
    import jsonschema
    import referencing

    # With a registry of its own, for the default one fetches what a $ref names from the network.
    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    try:
        validator.check_schema(schema)
        first = next(iter(validator.iter_errors(result)), None)
    except jsonschema.SchemaError as error:
        return f"the check's own schema is not valid: {error.message}"
    except (referencing.exceptions.Unresolvable, re.error, RecursionError, ArithmeticError) as error:
        return f"the check's own schema cannot be used: {error}"
    return f"at {first.json_path}: {first.message[:300]}" if first else None
