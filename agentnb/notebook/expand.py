"""Values in the text of a cell: `{name}` and `{a.b}` are put in once, and every other brace stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from agentnb.errors import ConfigError

__all__ = ["UndefinedName", "expand"]

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_BRACES = re.compile(rf"\{{\{{(?P<literal>{_NAME})\}}\}}|\{{(?P<name>{_NAME})\}}")


class UndefinedName(ConfigError):
    """A name in braces that stands for nothing; the message has the nearest one that does."""


def expand(text: str, *namespaces: Mapping[str, Any]) -> str:
    """`text` with each `{name}` replaced by the value of that name, as `str` writes it.

    A dotted name goes on into a mapping by key and into anything else by attribute. `{{name}}` is the literal `{name}`.
    What is put in is not looked at again, so braces in a value mean nothing. Braces around anything but a name (JSON,
    sets, LaTeX with a space) stay, and so do percent and dollar signs.

    Args:
        text: the cell.
        namespaces: where names are looked up; the first that has one wins.

    Raises:
        UndefinedName: a name, or a part of a dotted one, that is not there.
        ConfigError: a value that cannot be read, or written as text.

    >>> expand('{n} rows of {{n}}, as {"n": 1}', {"n": 3})
    '3 rows of {n}, as {"n": 1}'
    """

    def put_in(match: re.Match[str]) -> str:
        literal: str | None = match["literal"]
        return f"{{{literal}}}" if literal else _text(match["name"], namespaces)

    return _BRACES.sub(put_in, text)


def _text(path: str, namespaces: Iterable[Mapping[str, Any]]) -> str:
    try:
        return str(_value(path, namespaces))
    except UndefinedName:
        raise
    except Exception as error:  # a property, `__str__` or `__contains__` of somebody's, which may raise anything
        raise ConfigError(
            f"the cell has {{{path}}}, and reading it raises {type(error).__name__}: {error}."
            f" Write {{{{{path}}}}} for the text {{{path}}} itself"
        ) from error


def _value(path: str, namespaces: Iterable[Mapping[str, Any]]) -> Any:
    first, *rest = path.split(".")
    value = _first(path, first, namespaces)
    for place, part in enumerate(rest, start=1):
        owner = ".".join([first, *rest[: place - 1]])
        if isinstance(value, Mapping):
            if part not in value:
                raise _undefined(path, f"{owner} has no key {part!r}", part, map(str, value))
            value = value[part]
        else:
            if not hasattr(value, part):
                raise _undefined(path, f"{owner} has no attribute {part!r}", part, dir(value))
            value = getattr(value, part)
    return value


def _first(path: str, name: str, namespaces: Iterable[Mapping[str, Any]]) -> Any:
    names: list[str] = []
    for namespace in namespaces:
        if name in namespace:
            return namespace[name]
        names += namespace
    raise _undefined(path, f"{name} is not defined", name, names)


def _undefined(path: str, why: str, name: str, known: Iterable[str]) -> UndefinedName:
    near = get_close_matches(name, [k for k in known if not k.startswith("_")], n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return UndefinedName(
        f"the cell has {{{path}}}, and {why}: {meant}Write {{{{{path}}}}} for the text {{{path}}} itself"
    )
