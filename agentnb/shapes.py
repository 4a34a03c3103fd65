"""How values of a type are read and written as JSON, taken from its annotations; pydantic's engine does both.

Of the few sorts of types that records and checkpoints are made of. pydantic's own `TypeAdapter` knows all that there
are, and takes 2 ms to be made for one dataclass: whoever resumes a run needs thirty.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic_core import CoreConfig, CoreSchema, SchemaSerializer, SchemaValidator, core_schema, from_json

__all__ = ["Shape"]


class Shape:
    """A type as it is read and written.

    Args:
        kind: str, int, float, bool, None, Any; a dataclass or an enumeration of texts; a literal, a union, a tuple, a
            list, a frozenset or a mapping of these.
        finite: True refuses NaN and infinity in what is read.

    Raises:
        TypeError: it is of another sort.
    """

    def __init__(self, kind: Any, *, finite: bool = False) -> None:
        self._schema = _schema(kind)
        self._config = CoreConfig(allow_inf_nan=not finite)

    @functools.cached_property
    def _reader(self) -> SchemaValidator:
        return SchemaValidator(self._schema, self._config)

    @functools.cached_property
    def _writer(self) -> SchemaSerializer:
        return SchemaSerializer(self._schema, self._config)

    def read(self, value: object) -> Any:
        """The value that JSON, parsed, stands for.

        Raises:
            pydantic_core.ValidationError: it stands for none.
        """
        return self._reader.validate_python(value)

    def parsed(self, text: str) -> Any:
        """The value that a JSON text stands for, made without the lists and mappings that `read` is given.

        Raises:
            pydantic_core.ValidationError: it is no JSON, or stands for none.
        """
        return self._reader.validate_json(text)

    def text(self, value: object, *, brief: bool = False) -> str:
        """`value` as JSON; half of a surrogate pair, as a browser may send it, as a question mark.

        Args:
            value: of the type.
            brief: True leaves out what a dataclass has by default.

        Raises:
            TypeError, ValueError: it has no JSON form, or none that is read again as such a value.
        """
        try:
            return self.exact(value, brief=brief)
        except ValueError:  # whatever else it was fails again
            plain = self._writer.to_python(value, mode="json", exclude_defaults=brief, warnings=False)
            text = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
            self.read(from_json(text))
            return text

    def exact(self, value: object, *, brief: bool = False) -> str:
        """The same of what needs no question mark.

        Raises:
            TypeError, ValueError: it has no JSON form, is not of the type, or holds half of a surrogate pair.
        """
        return self._writer.to_json(value, exclude_defaults=brief, warnings="error").decode()


_PLAIN: Final[Mapping[Any, CoreSchema]] = {
    Any: core_schema.any_schema(),
    NoneType: core_schema.none_schema(),
    bool: core_schema.bool_schema(),
    int: core_schema.int_schema(),
    float: core_schema.float_schema(),
    str: core_schema.str_schema(),
}


@functools.cache
def _schema(kind: Any) -> CoreSchema:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return core_schema.enum_schema(kind, list(kind), sub_type="str")
    return _of_parts(kind, get_origin(kind), get_args(kind))


def _of_parts(kind: Any, origin: Any, parts: tuple[Any, ...]) -> CoreSchema:  # noqa: PLR0911 - a table, one case a sort
    if origin is Literal:
        return core_schema.literal_schema(list(parts))
    if origin in (Union, UnionType):
        some = [_schema(part) for part in parts if part is not NoneType]
        one = some[0] if len(some) == 1 else core_schema.union_schema([*some])
        return core_schema.nullable_schema(one) if NoneType in parts else one
    if origin is tuple and parts[-1] is ...:
        return core_schema.tuple_schema([_schema(parts[0])], variadic_item_index=0)
    if origin is tuple:
        return core_schema.tuple_schema([_schema(part) for part in parts])
    if origin is list:
        return core_schema.list_schema(_schema(parts[0]))
    if origin is frozenset:
        return core_schema.frozenset_schema(_schema(parts[0]))
    if origin in (dict, Mapping):
        return core_schema.dict_schema(_schema(parts[0]), _schema(parts[1]))
    raise TypeError(f"no shape is known of {kind}")


def _of_dataclass(kind: type[Any]) -> CoreSchema:
    """The schema of a dataclass; of one of pydantic's, which checks whatever it is made of, its own."""
    if own := vars(kind).get("__pydantic_core_schema__"):
        return own  # type: ignore[no-any-return]  # what pydantic has made
    hints = get_type_hints(kind)
    given = [_field(item, hints[item.name]) for item in fields(kind)]
    checks = hasattr(kind, "__post_init__")
    args = core_schema.dataclass_args_schema(kind.__name__, given, collect_init_only=checks)
    names = [item.name for item in fields(kind)]
    return core_schema.dataclass_schema(kind, args, names, post_init=checks, slots="__slots__" in vars(kind))


def _field(item: Field[Any], hint: Any) -> core_schema.DataclassField:
    schema = _schema(hint)
    if item.default is not MISSING:
        schema = core_schema.with_default_schema(schema, default=item.default)
    elif item.default_factory is not MISSING:
        schema = core_schema.with_default_schema(schema, default_factory=item.default_factory)
    return core_schema.dataclass_field(item.name, schema)
