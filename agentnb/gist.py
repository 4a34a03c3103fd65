"""What a prompt shows of a tool's result where the tool says what of it matters: `extract=` of `@tool`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from agentnb.errors import ToolDefinitionError
from agentnb.plan import JSON

__all__ = ["Extract", "extracted", "require_extract"]

Extract = tuple[str, ...] | type[BaseModel] | None
"""Paths into a result, such as "total" or "rows[].name"; or a pydantic model that keeps its fields; None keeps all."""

_PATH: Final = re.compile(r"\w+(\[\])?(\.\w+(\[\])?)*|\[\](\.\w+(\[\])?)*")
_MISSING: Final = object()


def require_extract(name: str, extract: Any) -> Extract:
    """`extract` as a tool keeps it.

    Raises:
        ToolDefinitionError: it is neither paths nor a pydantic model.
    """
    if extract is None or (isinstance(extract, type) and issubclass(extract, BaseModel)):
        return extract
    paths = (extract,) if isinstance(extract, str) else tuple(extract)
    for path in paths:
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ToolDefinitionError(
                f"{name}: extract= holds {path!r}, which is no path: write e.g. 'total', 'customer.name' or 'rows[].id'"
            )
    return paths


def extracted(value: JSON, extract: Extract) -> JSON:
    """What of `value` matters; all of it where nothing that is asked for is in it.

    >>> extracted({"total": 2, "rows": [{"id": 1, "html": "<p>"}, {"id": 2, "html": "<p>"}]}, ("total", "rows[].id"))
    {'total': 2, 'rows[].id': [1, 2]}
    """
    if extract is None:
        return value
    if isinstance(extract, tuple):
        found = {path: part for path in extract if (part := _at(value, _parts(path))) is not _MISSING}
        return found or value
    try:
        kept: JSON = extract.model_validate(value).model_dump(mode="json")
    except ValidationError:
        return value
    return kept


def _parts(path: str) -> list[str]:
    return list(_steps(path))


def _steps(path: str) -> Iterator[str]:
    """`rows[].id` as "rows", "[]", "id"."""
    for part in path.split("."):
        name = part.removesuffix("[]")
        if name:
            yield name
        if part.endswith("[]"):
            yield "[]"


def _at(value: JSON, parts: Sequence[str]) -> Any:
    """What the path leads to, or `_MISSING`; of a list, what each item has of it."""
    if not parts:
        return value
    head, *rest = parts
    if head == "[]":
        if not isinstance(value, list):
            return _MISSING
        found = [_at(item, rest) for item in value]
        return [item for item in found if item is not _MISSING]
    return _at(value[head], rest) if isinstance(value, dict) and head in value else _MISSING
