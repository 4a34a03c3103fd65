"""What a tool returns, as JSON; and for dry runs, a value such as it might return."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

import rfc8785
from pydantic_core import PydanticSerializationError, from_json, to_json

from agentnb.errors import NotJSON
from agentnb.plan import JSON

__all__ = ["LARGEST_RESULT", "as_json", "canonical", "digest", "example", "in_order", "json_text"]

LARGEST_RESULT = 16 * 1024 * 1024
"""Bytes of JSON that a tool may return."""


def as_json(value: Any) -> JSON:
    """`value` as JSON; dataclasses, pydantic models, dates, numpy and tables (lists of records) are converted.

    What is not a number or a time (NaN, infinity, NaT, NA) becomes null; sets are sorted.

    Raises:
        NotJSON: it has no JSON form, or is larger than 16 MiB.
    """
    if value is None or isinstance(value, bool):
        return value
    plain = _read(value)
    try:
        text = to_json(plain, fallback=_fallback, inf_nan_mode="null")
        read = from_json(text) if len(text) <= LARGEST_RESULT else None
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise NotJSON(
            f"{type(value).__name__} has no JSON form ({error}): return a dict, list, str, number or model"
        ) from error
    if len(text) > LARGEST_RESULT:
        raise NotJSON(
            f"the result has {len(text):,} bytes of JSON, {LARGEST_RESULT:,} are allowed: return less, or a path to it"
        )
    return read


def _read(value: Any) -> Any:
    """`value` with its generators read: what one of them raises is raised, for then the work was not done."""
    try:
        return _plain(value)
    except RecursionError as error:
        raise NotJSON(f"{type(value).__name__} has no JSON form ({error}): return less that is nested") from error


def in_order(value: JSON) -> JSON:
    """`value` as records hold it, with the names of every object in it in order.

    Raises:
        NotJSON: it has no JSON form; says where.
    """
    text = json_text(value)
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: dict(sorted(pairs, key=itemgetter(0))))
    except RecursionError as error:
        raise NotJSON(f"the value has no JSON form: {error}") from error


def json_text(value: JSON) -> str:
    """`value` as the one text that records hold of it; half of a surrogate pair becomes a question mark.

    Raises:
        NotJSON: it has no JSON form; says where.
    """
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJSON(f"the value has no JSON form: {error}") from error
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def canonical(value: JSON) -> str:
    """`value` as canonical JSON (RFC 8785), so that other programs can recompute a hash over it.

    Raises:
        ValueError: it has none: a number that is no double, or half of a surrogate pair.
    """
    return rfc8785.dumps(value).decode()


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_SIMPLE = frozenset({bool, int, float, type(None)})


def _plain(value: Any) -> Any:  # noqa: PLR0911 - one return a kind of value
    """`value` with what the serializer does not get right put right, in dicts, lists and sets."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: item if type(item) in _SIMPLE else _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, Iterator)):  # a generator is read here: what it raises stays what it is
        return [item if type(item) in _SIMPLE else _plain(item) for item in value]
    if isinstance(value, (set, frozenset)):  # its order changes from process to process, and prompts are replayed
        try:
            return _plain(sorted(value))
        except TypeError:
            return _plain(sorted(value, key=repr))
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas; NaT is a date by its type, and is none
        return None
    return value


def _fallback(value: Any) -> Any:
    if hasattr(value, "columns") and hasattr(value, "to_dicts"):  # polars
        return value.to_dicts()
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        return _records(value)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if (
        isinstance(kind, str) and kind in ("M", "m") and hasattr(value, "astype")
    ):  # as nanoseconds they would be numbers
        value = value.astype(f"{'datetime' if kind == 'M' else 'timedelta'}64[us]")
    for method in ("to_dict", "tolist", "to_list"):  # a Series; numpy arrays and scalars
        if callable(convert := getattr(value, method, None)):
            return _plain(convert())
    raise ValueError(f"{type(value).__module__}.{type(value).__qualname__}")


def _records(table: Any) -> list[dict[str, JSON]]:
    """A pandas table as records. Its index is data where it has a name or is more than numbers, as in `describe()`."""
    if not table.columns.is_unique:
        raise ValueError("two columns have one name")
    named = [name for name in table.index.names if name is not None]
    if fresh := [name for name in named if name not in table.columns]:
        table = table.reset_index(level=fresh)
    elif not named and table.index.dtype.kind not in "iu":
        table = table.reset_index()
    records: list[dict[str, JSON]] = _plain(table.to_dict(orient="records"))
    return records


_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "date": "2000-01-01",
        "date-time": "2000-01-01T00:00:00Z",
        "time": "00:00:00Z",
        "duration": "PT0S",
        "uuid": "00000000-0000-0000-0000-000000000000",
        "email": "simulated@example.org",
        "uri": "https://example.org/simulated",
        "ipv4": "192.0.2.1",
        "binary": "",
    }
)
_EXAMPLES: Mapping[str, JSON] = MappingProxyType(
    {"string": "simulated", "integer": 0, "number": 0.0, "boolean": True, "null": None}
)


def example(schema: Mapping[str, Any]) -> JSON:
    """A small value of a JSON Schema's form: its default or first choice where it has one, lists empty.

    >>> example({"type": "object", "properties": {"id": {"type": "integer"}, "state": {"enum": ["open", "done"]}}})
    {'id': 0, 'state': 'open'}
    """
    return _example(schema, schema.get("$defs", {}), frozenset())


def _example(schema: Mapping[str, Any], defs: Mapping[str, Any], within: frozenset[str]) -> JSON:  # noqa: PLR0911 - a table
    """`within`: the definitions that this is a part of; one that contains itself ends there."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return None if name in within else _example(defs.get(name, {}), defs, within | {name})
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _example(schema[key][0], defs, within)
    kind = schema.get("type")
    if kind == "object":
        return {name: _example(part, defs, within) for name, part in schema.get("properties", {}).items()}
    if kind == "string" and schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    return [] if kind == "array" else _EXAMPLES.get(str(kind))
