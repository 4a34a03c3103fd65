"""The form in which a person edits the arguments of a call: to each its proper field, by its JSON Schema.

What nobody touches comes back exactly as it was: a field holds the value that it was made of, not what a widget made of
it. What has no field of its own, and what may be null or left out, is edited as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, cast

from agentnb.markdown import line
from agentnb.notebook.changes import in_sight, pretty, same
from agentnb.plan import JSON

__all__ = ["Field", "Form", "Unreadable", "fields_of", "parse_json"]

Kind = Literal["flag", "choice", "integer", "number", "line", "text", "json"]

_LINE: Final = 80
"""Characters of text that one line holds."""
_ROWS: Final = 12
"""Lines of a large field at most."""
_CHOICES: Final = 100
"""Values of an enumeration at most."""


class Unreadable(ValueError):
    """What is typed is no JSON; the message says where."""


@dataclass(frozen=True, slots=True)
class Field:
    """One argument, and how it is edited.

    Attributes:
        name: of the argument.
        kind: of its widget.
        schema: what it may be.
        before: what it is, where `given`.
        given: False where it is left out.
        required: it cannot be left out.
    """

    name: str
    kind: Kind
    schema: Mapping[str, Any]
    before: JSON
    given: bool
    required: bool

    def read(self, held: Any) -> tuple[bool, JSON]:
        """(whether it is given, its value), from what the widget holds once it was touched.

        Raises:
            Unreadable: it holds no JSON, or no number where that is wanted.
        """
        match self.kind:
            case "choice":
                return True, cast("list[JSON]", self.schema["enum"])[held]
            case "integer" | "number":
                return True, self._number(held)
            case "json" if not held.strip() and not self.required:
                return False, None
            case "json":
                return True, parse_json(held)
            case _:
                return True, held

    def _number(self, typed: str) -> JSON:
        """The number that is typed, as it is typed; a field of whole numbers takes no others, and rounds none."""
        whole = self.kind == "integer"
        wanted = "a whole number" if whole else "a number"
        if not typed.strip():
            raise Unreadable(f"nothing is typed, and it is {wanted}")
        try:
            value = parse_json(typed)
            if isinstance(self.before, float) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)  # 6 for 5.0 is 6.0: its kind is not what was changed
        except (Unreadable, OverflowError):
            value = None
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise Unreadable(f"{line(typed, 40)} is not {wanted}")
        return value


def fields_of(args: Mapping[str, JSON], parameters: Mapping[str, Any]) -> tuple[Field, ...]:
    """A field for each argument, and for each that the schema knows and this call leaves out."""
    known = parameters.get("properties")
    known = known if isinstance(known, Mapping) else {}
    required = parameters.get("required") or ()
    found = []
    for name in [*args, *(name for name in known if name not in args)]:
        schema = _resolved(known.get(name), parameters)
        kind = _kind(schema, args[name]) if name in args else "json"
        found.append(Field(name, kind, schema, args.get(name), name in args, name in required or name not in known))
    return tuple(found)


def parse_json(text: str) -> JSON:
    """The value that `text` is.

    Raises:
        Unreadable: it is none; the message says where.
    """
    try:
        value: JSON = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise Unreadable(f"this is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"this is no JSON: {error}") from error
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number there")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _resolved(schema: Any, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema` with what it refers to, one step deep: pydantic keeps each enumeration apart."""
    if not isinstance(schema, Mapping):
        return {}
    place, definitions = str(schema.get("$ref", "")), whole.get("$defs")
    found = definitions.get(place.removeprefix("#/$defs/")) if place and isinstance(definitions, Mapping) else None
    return {**found, **schema} if isinstance(found, Mapping) else schema


def _kind(schema: Mapping[str, Any], value: JSON) -> Kind:  # noqa: PLR0911 - one return a kind
    """What the schema and the present value both allow; JSON for everything else."""
    options, type_ = schema.get("enum"), schema.get("type")
    if isinstance(options, list):
        return "choice" if len(options) <= _CHOICES and any(same(value, option) for option in options) else "json"
    if type_ == "boolean" and isinstance(value, bool):
        return "flag"
    if isinstance(value, bool):
        return "json"
    if type_ == "integer" and isinstance(value, int):
        return "integer"
    if type_ == "number" and isinstance(value, (int, float)):
        return "number"
    if type_ == "string" and isinstance(value, str) and in_sight(value) == value:  # in JSON every character is seen
        return "line" if len(value) <= _LINE and "\n" not in value else "text"
    return "json"


# ---------------------------------------------------------------------------------------------------- widgets


class Form:
    """The fields on display.

    Args:
        args: the arguments as they are.
        parameters: JSON Schema of the arguments object.
        touched: called whenever a person changes something, on whatever thread hears of it.
    """

    def __init__(
        self, args: Mapping[str, JSON], parameters: Mapping[str, Any], touched: Callable[[], object] = lambda: None
    ) -> None:
        from ipywidgets import VBox

        self._fields = [(field, _widget(field)) for field in fields_of(args, parameters)]
        self._first = [widget.value for _, widget in self._fields]
        self.box = VBox([widget for _, widget in self._fields])
        self.box.add_class("fields")
        for _, widget in self._fields:
            widget.observe(lambda _: touched(), "value")

    def read(self) -> tuple[dict[str, JSON], tuple[str, ...]]:
        """All arguments as they are now, and what of them cannot be read; those are left as they were."""
        args: dict[str, JSON] = {}
        wrong: list[str] = []
        for (field, widget), first in zip(self._fields, self._first, strict=True):
            given, value = field.given, field.before
            try:
                if widget.value != first:
                    given, value = field.read(widget.value)
            except Unreadable as error:
                wrong.append(f"{field.name}: {error}")
            if given:
                args[field.name] = field.before if field.given and same(value, field.before) else value
        return args, tuple(wrong)

    def focus(self) -> None:
        """Put the cursor into the first field."""
        for _, widget in self._fields[:1]:
            widget.focus()


def _widget(field: Field) -> Any:
    """The widget, with its name as its label and its description as its tooltip."""
    import ipywidgets as widgets

    said = line(str(field.schema.get("description", "")), 400) or line(field.name, 60)
    common: dict[str, Any] = {"description": line(field.name, 60), "tooltip": said}
    common |= {"style": {"description_width": "155px"}, "layout": {"width": "100%"}}
    text = str(field.before)
    match field.kind:
        case "flag":
            return widgets.Checkbox(value=field.before, **common)
        case "choice":
            options: list[JSON] = field.schema["enum"]
            labels = [(line(x if isinstance(x, str) else pretty(x)), place) for place, x in enumerate(options)]
            chosen = next(place for place, x in enumerate(options) if same(x, field.before))
            return widgets.Dropdown(options=labels, value=chosen, **common | {"layout": {"width": "24em"}})
        case "integer" | "number":  # as text: a field of numbers makes 7 of 7.5, and shows 7.5
            return widgets.Text(value=pretty(field.before), **common | {"layout": {"width": "24em"}})
        case "line":
            return widgets.Text(value=text, **common)
        case "text":
            return widgets.Textarea(value=text, rows=max(2, _rows(text)), **common)
        case _:
            held = pretty(field.before) if field.given else ""
            made = widgets.Textarea(value=held, rows=_rows(held), placeholder=_hint(field), **common)
            made.add_class("json")
            return made


def _rows(text: str) -> int:
    """As many lines as the text takes."""
    return min(_ROWS, max(1, sum(1 + len(part) // 90 for part in text.split("\n"))))


def _hint(field: Field) -> str:
    """What an empty field of JSON means."""
    if field.required:
        return 'JSON: null, 5, true, "text", [1, 2], {…}'
    usual = f"; it is then {line(pretty(field.schema['default']), 60)}" if "default" in field.schema else ""
    return f"Left out{usual}"
