"""JSON Schemas in the small dialect that providers can enforce, and answers back from it.

What a provider enforces while it generates is less than JSON Schema. `strict_schema` says what it can in that
dialect, and `restored` turns an answer that matches the strict schema into one that matches the original, but for the
bounds that the strict one had to drop (`maxLength`, `maxItems`, `pattern`, ...): those are told to the model in the
description, and checked by whoever validates the answer.

    original                            strict
    a property that may be missing      required, and may be null (OpenAI); as it is (Anthropic, which admits 24 of them
                                        in a request but only 16 unions)
    an open object with properties      closed
    an object without any, a map,       a text that holds JSON: neither provider can enforce an object whose names it
    or any value at all                 does not know
    type: [a, b]                        anyOf
    const or enum without type          with its type
    minItems: 2 or more                 minItems: 1
    any other bound                     part of the description
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["restored", "restored_text", "strict_schema"]

Schema = Mapping[str, Any]

_UNDERSTOOD = frozenset({
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "description", "enum", "items", "oneOf",
    "properties", "required", "title", "type", "default",
})  # fmt: skip
"""What is carried over or is no bound; every other keyword moves to the description."""

_NULL: Schema = {"type": "null"}


def strict_schema(schema: Schema, *, nullable_optionals: bool) -> dict[str, Any]:
    """The strict form of `schema`: every object closed, every type named, no bound that a provider refuses.

    Args:
        schema: as in the table above; a reference is `#/$defs/NAME`.
        nullable_optionals: True to require every property and let the optional ones be null; False to leave them out
            of `required`.
    """
    defs = schema.get("$defs", {})
    strict = _Strict(defs, nullable_optionals=nullable_optionals)
    out = strict.of(schema)
    if defs:
        out["$defs"] = {name: strict.of(inner) for name, inner in defs.items()}
    return out


def restored(value: Any, schema: Schema) -> Any:
    """`value`, which matches `strict_schema(schema)`, as a value that matches `schema` but for the dropped bounds.

    Nulls of optional properties that may not be null are left out, and JSON kept as text is read. What does not match
    is returned as it is, for the validator to name.
    """
    return _restored(value, schema, schema.get("$defs", {}))


def restored_text(text: str, schema: Schema) -> str:
    """`restored` for JSON text; text that is no JSON (cut off, a refusal) comes back unchanged."""
    try:
        value = json.loads(text)
        back = restored(value, schema)
    except (ValueError, RecursionError):
        return text
    return text if back == value else json.dumps(back, ensure_ascii=False)


class _Strict:
    """The transformation, with what it needs to know on every level."""

    def __init__(self, defs: Schema, *, nullable_optionals: bool) -> None:
        self._defs = defs
        self._nullable = nullable_optionals

    def of(self, schema: Schema) -> dict[str, Any]:
        """The strict form of one schema; `$defs` are the caller's matter."""
        if "$ref" in schema:
            return {"$ref": schema["$ref"]}  # with nothing beside it: OpenAI refuses siblings of a reference
        if _is_free(schema):
            return {"type": "string", "description": _described(schema, "JSON, written as a text", _free_form(schema))}
        branches = _branches(schema)
        if branches is not None:
            said = _said(schema, dropped=())
            return {**said, "anyOf": [self.of(branch) for branch in branches]}
        kind = _type(schema)
        out: dict[str, Any] = {"type": kind, **{key: schema[key] for key in ("const", "enum") if key in schema}}
        dropped = [f"{key}: {schema[key]}" for key in sorted(schema.keys() - _UNDERSTOOD)]
        if kind == "object":
            out |= self._object(schema)
        elif kind == "array":
            out["items"] = self.of(_items(schema))
            if schema.get("minItems", 0) > 0:
                out["minItems"] = 1  # Anthropic admits 0 and 1
        return {**_said(schema, dropped), **out}

    def _object(self, schema: Schema) -> dict[str, Any]:
        properties: Schema = schema.get("properties", {})
        required = schema.get("required", ())
        out = {name: self.of(inner) for name, inner in properties.items()}
        if self._nullable:
            for name in properties.keys() - set(required):
                if not _admits(properties[name], None, self._defs) or _is_free(properties[name]):
                    out[name] = _or_null(out[name])
        names = list(properties) if self._nullable else [name for name in properties if name in required]
        return {"properties": out, "required": names, "additionalProperties": False}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], dict(_NULL)]}
    return {"anyOf": [schema, dict(_NULL)]}


def _said(schema: Schema, dropped: Sequence[str]) -> dict[str, Any]:
    text = _described(schema, *dropped)
    return {"description": text} if text else {}


def _described(schema: Schema, *more: str) -> str:
    own = schema.get("description", "")
    extra = f"({'; '.join(part for part in more if part)})" if any(more) else ""
    return " ".join(part for part in (own, extra) if part)


def _free_form(schema: Schema) -> str:
    """What the model has to know of a free-form value, since no schema will hold it to it."""
    if _type(schema, default="") != "object":
        return ""
    values = schema.get("additionalProperties", True)
    of_what = f" whose values match {json.dumps(values)}" if isinstance(values, Mapping) and values else ""
    return f"an object{of_what}"


def _is_free(schema: Schema) -> bool:
    """True where neither provider could enforce the schema: any value, or an object of unknown names."""
    if schema.keys() & {"$ref", "anyOf", "oneOf", "const", "enum"} or isinstance(schema.get("type"), list):
        return False
    kind = _type(schema, default="")
    return not kind or (kind == "object" and not schema.get("properties") and not _is_closed(schema))


def _is_closed(schema: Schema) -> bool:
    return schema.get("additionalProperties", True) is False


def _items(schema: Schema) -> Schema:
    items = schema.get("items", {})
    return items if isinstance(items, Mapping) else {}


def _branches(schema: Schema) -> list[Schema] | None:
    """The alternatives that a schema is made of, each complete in itself, or None where it is a single one."""
    union = schema.get("anyOf") or schema.get("oneOf")
    if union:
        return list(union)
    kinds = schema.get("type")
    rest = {key: value for key, value in schema.items() if key not in ("type", "description", "$defs")}
    if isinstance(kinds, list):
        if "const" in schema or "enum" in schema:
            return _branches({**rest, "enum": [v for v in _values(schema) if any(_is_a(v, k) for k in kinds)]})
        return [{**(rest if kind != "null" else {}), "type": kind} for kind in kinds]
    if kinds is None and (values := _values(schema)):
        by_kind: dict[str, list[Any]] = {}
        for value in values:
            by_kind.setdefault(_kind_of(value), []).append(value)
        return [{"type": kind, "enum": some} for kind, some in by_kind.items()] if len(by_kind) > 1 else None
    return None


def _values(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _type(schema: Schema, default: str = "string") -> str:
    """The one type of a schema, told from its other keywords where it is not named."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    if values := _values(schema):
        return _kind_of(values[0])
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema else default


def _kind_of(value: Any) -> str:
    kinds = ("null", "boolean", "integer", "number", "string", "array", "object")
    return next((kind for kind in kinds if _is_a(value, kind)), "string")


def _is_a(value: Any, kind: str) -> bool:
    """True where `value` is of the JSON type `kind`; a boolean is no number, and 1.0 is an integer."""
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    types: dict[str, tuple[type, ...]] = {"number": (int, float), "string": (str,), "array": (list,), "object": (dict,)}
    return isinstance(value, types.get(kind, ()))


def _resolved(schema: Schema, defs: Schema) -> Schema:
    while "$ref" in schema:
        schema = defs[schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _admits(schema: Schema, value: Any, defs: Schema) -> bool:
    """True where `value` matches `schema` but for the dropped bounds."""
    schema = _resolved(schema, defs)
    branches = _branches(schema)
    if branches is not None:
        return any(_admits(branch, value, defs) for branch in branches)
    if (values := _values(schema)) and not any(_is_a(value, _kind_of(v)) and v == value for v in values):
        return False
    kind = _type(schema, default="")
    if kind and not _is_a(value, kind):
        return False
    if kind == "object":
        return _admits_object(schema, value, defs)
    if kind == "array":
        enough = bool(value) or schema.get("minItems", 0) == 0
        return enough and all(_admits(_items(schema), item, defs) for item in value)
    return True


def _admits_object(schema: Schema, value: Mapping[str, Any], defs: Schema) -> bool:
    properties: Schema = schema.get("properties", {})
    if not all(name in value for name in schema.get("required", ())):
        return False
    rest = schema.get("additionalProperties", True)
    for name, inner in value.items():
        expected = properties.get(name, rest)
        if expected is False or (isinstance(expected, Mapping) and not _admits(expected, inner, defs)):
            return False
    return True


def _restored(value: Any, schema: Schema, defs: Schema) -> Any:
    schema = _resolved(schema, defs)
    if _is_free(schema):
        return _read(value, schema, defs)
    branches = _branches(schema)
    if branches is not None:
        candidates = ((branch, _restored(value, branch, defs)) for branch in branches)
        return next((back for branch, back in candidates if _admits(branch, back, defs)), value)
    if isinstance(value, list) and _type(schema) == "array":
        return [_restored(item, _items(schema), defs) for item in value]
    if not isinstance(value, dict):
        return value
    properties: Schema = schema.get("properties", {})
    required = schema.get("required", ())
    out = {}
    for name, inner in value.items():
        expected = properties.get(name, {"type": "null"})
        if inner is None and name in properties and name not in required and not _admits(expected, None, defs):
            continue  # the only way in which a strict answer can leave an optional property out
        out[name] = _restored(inner, expected, defs)
    return out


def _read(value: Any, schema: Schema, defs: Schema) -> Any:
    """The JSON in a text, where it is JSON that the free-form schema admits; else the text itself."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            read = json.loads(value)
            return read if _admits(schema, read, defs) else value
    return value
