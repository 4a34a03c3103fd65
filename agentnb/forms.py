"""The forms that replies must have, as JSON Schemas in which every text and list has a length.

The lengths are for small local models: a grammar holds them to the form, and nothing else stops them. Number bounds are
not held by grammars, so confidences are words. Schemas are cached and shared: never change one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from agentnb.models.base import Form

__all__ = [
    "ANSWER_SCHEMA",
    "CRITIQUE_SCHEMA",
    "SUMMARY_SCHEMA",
    "Schema",
    "ToolSpec",
    "bounded",
    "closed_object",
    "plan_schema",
    "text",
]

Schema = dict[str, Any]

_ARGUMENT_CHARS, _ARGUMENT_ITEMS = 600, 20
_REFERENCE: Schema = {"type": "string", "pattern": r"^\$[^\"\\\n]{1,240}$"}
LEVEL: Schema = {"type": "string", "enum": ["low", "medium", "high"]}


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it.

    Attributes:
        parameters: JSON Schema of the arguments object; never changed after it was given here.
        effect: "read", "write" or "destructive".
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)  # compared, but not hashed: a mapping has no hash
    effect: str = "read"


def closed_object(properties: Schema, optional: Sequence[str] = ()) -> Form:
    """An object with these properties and no others; all are required but the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return Form(type="object", properties=properties, required=required, additionalProperties=False)


def text(limit: int) -> Schema:
    """A text of at most `limit` characters."""
    return {"type": "string", "maxLength": limit}


def bounded(schema: object, tool: ToolSpec, defs: Schema) -> Any:
    """The schema with a length on every text and list, its `$defs` moved to `defs` under names of the tool's own."""
    if isinstance(schema, list):
        return [bounded(item, tool, defs) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(schema.get("$ref"), str):
        name = re.sub(r"\W", "_", f"{tool.name}_{schema['$ref'].rsplit('/', 1)[-1]}")
        if name not in defs:
            defs[name] = {}  # before it is filled: a definition may refer to itself
            known = tool.parameters.get("$defs", {}).get(schema["$ref"].rsplit("/", 1)[-1], {})
            defs[name] = bounded(known, tool, defs)
        return {"$ref": f"#/$defs/{name}"}
    skipped = ("title", "default", "examples", "$defs", "description")
    out = {key: bounded(value, tool, defs) for key, value in schema.items() if key not in skipped}
    if out.get("type") == "string" and "enum" not in out and "const" not in out:
        out["maxLength"] = min(out.get("maxLength", _ARGUMENT_CHARS), _ARGUMENT_CHARS)
    if out.get("type") == "array":
        out["maxItems"] = min(out.get("maxItems", _ARGUMENT_ITEMS), _ARGUMENT_ITEMS)
    return out


def _argument(schema: Mapping[str, Any], tool: ToolSpec, defs: Schema) -> Schema:
    """What a plan may say for an argument: a value, a reference, or that it is left open."""
    value: Schema = bounded(schema, tool, defs)
    plain = value.get("type") == "string" and not {"enum", "const", "pattern", "format", "minLength"} & value.keys()
    return value if plain or not value else {"anyOf": [value, _REFERENCE]}


@lru_cache(maxsize=64)
def plan_schema(tools: tuple[ToolSpec, ...], max_steps: int, min_steps: int) -> Schema:
    """A plan: what the task asks for, and steps that each call one of `tools`."""
    defs: Schema = {}
    kinds = []
    for tool in tools:
        properties = tool.parameters.get("properties", {})
        optional = [name for name in properties if name not in tool.parameters.get("required", ())]
        args = closed_object({name: _argument(schema, tool, defs) for name, schema in properties.items()}, optional)
        step = {
            "title": text(140),
            "tool": {"type": "string", "const": tool.name},
            "args": args,
            "expect": text(160),
            "depends_on": {"type": "array", "items": {"type": "string", "pattern": "^s[0-9]{1,3}$"}, "maxItems": 8},
            "confidence": LEVEL,
            "assumes": {"type": "array", "items": text(160), "maxItems": 3},
        }
        kinds.append(closed_object(step, ["assumes"]))
    most, least = (max_steps, min_steps) if kinds else (0, 0)
    steps = {"type": "array", "items": {"anyOf": kinds} if kinds else {}, "minItems": least, "maxItems": most}
    parts = {"type": "array", "items": text(120), "maxItems": 6}
    schema = closed_object({"parts": parts, "steps": steps})
    if defs:
        schema["$defs"] = defs
    return schema


CRITIQUE_SCHEMA = closed_object(
    {
        "finding": text(300),
        "reason": text(240),
        "verdict": {"type": "string", "enum": ["continue", "retry", "revise", "escalate"]},
        "confidence": LEVEL,
    }
)
_FROM: Schema = {"type": "array", "items": {"type": "string", "pattern": "^s[0-9]{1,6}$"}, "maxItems": 6}
_NOTES = closed_object({"text": text(200), "from": _FROM})
SUMMARY_SCHEMA = closed_object(
    {
        "facts": {"type": "array", "items": _NOTES, "maxItems": 16},
        "assumptions": {"type": "array", "items": _NOTES, "maxItems": 4},
        "questions": {"type": "array", "items": _NOTES, "maxItems": 4},
        "contradictions": {"type": "array", "items": _NOTES, "maxItems": 4},
    }
)
ANSWER_SCHEMA = closed_object(
    {
        "facts": {"type": "array", "items": text(240), "maxItems": 12},
        "unknowns": {"type": "array", "items": text(200), "maxItems": 6},
        "answer": text(1800),
        "confidence": LEVEL,
    }
)
