"""`read_result`: how a plan reads on in a result of which prompts show only the beginning."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field

from agentnb.log import RunLog
from agentnb.plan import JSON, UnmetReference
from agentnb.plan import READ_RESULT as NAME
from agentnb.preview import dump
from agentnb.tools import Tool, tool

__all__ = ["READ_RESULT", "is_reading", "reading", "with_reading"]

WINDOW: Final = 600
"""Bytes of one reading as JSON: so much a prompt shows whole."""


@tool(effect="read", name=NAME)
def _read_result(handle: str, path: str = "", start: Annotated[int, Field(ge=0)] = 0) -> dict[str, Any]:
    """Read on in an earlier step's result that is shown only in part.

    Args:
        handle: the step, such as "s3".
        path: the part of its result to read, such as "rows" or "items.0.text"; all of it if left out.
        start: the item, or the character of a text, to begin at; "next" of a reading says where to go on.
    """
    raise UnmetReference(f"{handle} {path} {start}: results are read within a run only")


READ_RESULT: Final[Tool] = _read_result


def is_reading(tool: Tool) -> bool:
    """True of `read_result` itself, and not of a user's tool that has its name."""
    return tool.arguments is READ_RESULT.arguments


def with_reading(tools: dict[str, Tool]) -> dict[str, Tool]:
    """`tools` and `read_result`, unless there are none or the name is taken."""
    return {**tools, READ_RESULT.name: READ_RESULT} if tools and READ_RESULT.name not in tools else tools


def reading(log: RunLog) -> Tool:
    """`read_result` for the results of one run."""

    def read_result(handle: str, path: str = "", start: int = 0) -> dict[str, Any]:
        value = _part(log.result_of(handle.removeprefix("$")), path)
        if isinstance(value, dict):
            value = [{"key": key, "value": item} for key, item in value.items()]
        if not isinstance(value, (str, list)):
            return {"value": value}
        return _window("text" if isinstance(value, str) else "items", value, start)

    return replace(READ_RESULT, function=read_result)


def _window(name: str, value: str | list[JSON], start: int) -> dict[str, JSON]:
    """As much of `value` from `start` on as a prompt shows whole, and at least one item, however long that is."""

    def upto(end: int) -> dict[str, JSON]:
        place = {"start": start, "of": len(value), **({"next": end} if end < len(value) else {})}
        return {name: value[start:end], **place}

    def size(end: int) -> int:
        return len(dump(upto(end)).encode("utf-8", "replace"))

    most = min(len(value), start + WINDOW)
    fitting = most if size(most) <= WINDOW else bisect_right(range(start, most), WINDOW, key=size) + start - 1
    return upto(max(fitting, min(start + 1, len(value))))


def _part(value: JSON, path: str) -> JSON:
    """What `path` leads to.

    Raises:
        UnmetReference: it leads nowhere; says where it ends.
    """
    here = "the result"
    for name in filter(None, path.replace("[", ".").replace("]", "").split(".")):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            has = ", ".join(list(value)[:12]) if isinstance(value, dict) else type(value).__name__
            raise UnmetReference(f"{here} has no {name!r}: it is {has}")
        here = f"{here}.{name}"
    return value
