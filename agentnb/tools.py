"""Tools: plain typed functions whose schema comes from their signature and docstring."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import math
import threading
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import PydanticSerializationError, from_json, to_json

from agentnb.errors import ConfigError, NotJSON, ToolDefinitionError
from agentnb.events import ToolFacts
from agentnb.guards import Guard
from agentnb.plan import JSON

__all__ = ["InvalidArguments", "Tool", "as_json", "tool", "toolbox"]

Effect = Literal["read", "write"]
Reversibility = Literal["full", "partial", "irreversible"]


class InvalidArguments(ConfigError):
    """Arguments that a tool does not take; the function was not called.

    Attributes:
        problems: one sentence for each argument that is wrong.
    """

    def __init__(self, name: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{name}: {'; '.join(problems)}")
        self.problems = problems


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function that an agent may call; made by `tool`, and called like the function itself.

    Attributes:
        name: the function's name.
        description: its docstring without the arguments.
        function: what is called; sync or async.
        arguments: pydantic model that validates and coerces the arguments.
        parameters: JSON Schema of the arguments, an object.
        effect: "read" leaves the world as it is; "write" changes it and is asked about first.
        reversibility: of a write, whether it can be taken back: "full", "partial" or "irreversible".
        timeout_s: seconds after which a call is given up.
        guards: preconditions, checked before anybody is asked and again right before a call; see `guards.py`.
    """

    name: str
    description: str
    function: Callable[..., Any]
    arguments: type[BaseModel] = field(repr=False)
    parameters: Mapping[str, JSON] = field(repr=False)
    effect: Effect = "write"
    reversibility: Reversibility = "irreversible"
    timeout_s: float = 60.0
    guards: tuple[Guard, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool."""
        return self.function(*args, **kwargs)

    @property
    def facts(self) -> ToolFacts:
        """What the policy needs to know of it."""
        text = json.dumps(self.parameters, sort_keys=True)
        return ToolFacts(self.effect, self.reversibility, hashlib.sha256(text.encode()).hexdigest()[:16])

    def validated(self, args: Mapping[str, JSON]) -> dict[str, Any]:
        """The keyword arguments that the function takes, coerced to its types.

        Raises:
            InvalidArguments: unknown, missing or wrong arguments, each named.
        """
        try:
            model = self.arguments.model_validate(dict(args))
        except ValidationError as error:
            raise InvalidArguments(self.name, tuple(_said(self, item) for item in error.errors())) from None
        except Exception as error:  # a validator of the tool's own types may raise anything
            raise InvalidArguments(
                self.name, (f"its arguments were refused: {type(error).__name__}: {error}",)
            ) from error
        return {info.alias or name: getattr(model, name) for name, info in type(model).model_fields.items()}

    def run(self, kwargs: Mapping[str, Any]) -> Any:
        """Call the function with validated arguments; a coroutine is run to its end, inside any running loop."""
        value = self.function(**kwargs)
        return _finish(value) if inspect.isawaitable(value) else value


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    effect: Effect = ...,
    reversibility: Reversibility = ...,
    timeout_s: float = ...,
    guards: Sequence[Guard] = ...,
    name: str = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect = "write",
    reversibility: Reversibility = "irreversible",
    timeout_s: float = 60.0,
    guards: Sequence[Guard] = (),
    name: str = "",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function.

    What is not declared is taken for the worst: a write that cannot be taken back.

    Args:
        function: the function, sync or async; every argument has a type, and a docstring says what it does. Argument
            descriptions are taken from the docstring's `Args:` section (Google, NumPy or reST style).
        effect: "read" or "write".
        reversibility: of a write: "full", "partial" or "irreversible".
        timeout_s: seconds after which a call is given up.
        guards: preconditions in code, such as `max_value("amount", 100)`; see `guards.py`.
        name: what models call it by; the function's name if left out.

    Raises:
        ToolDefinitionError: an argument without a type, a type with no JSON Schema, no docstring, `*args`.

    >>> @tool(effect="read")
    ... def area(width: float, height: float) -> float:
    ...     '''The area of a rectangle.
    ...
    ...     Args:
    ...         width: metres.
    ...         height: metres.
    ...     '''
    ...     return width * height
    >>> area.parameters["properties"]["width"]["description"], area(2, 3)
    ('metres.', 6)
    """
    if function is not None:
        return _made(function, effect, reversibility, timeout_s, guards, name)
    return lambda f: _made(f, effect, reversibility, timeout_s, guards, name)


def toolbox(tools: typing.Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name; plain functions become tools that write and cannot be taken back.

    Raises:
        ToolDefinitionError: two tools of one name, or something that is not a function.
    """
    box: dict[str, Tool] = {}
    for item in tools:
        made = item if isinstance(item, Tool) else tool()(item)
        if made.name in box:
            raise ToolDefinitionError(f"two tools are called {made.name!r}: give one of them another `name=`")
        box[made.name] = made
    return box


def _made(
    function: Callable[..., Any],
    effect: Effect,
    reversibility: Reversibility,
    timeout_s: float,
    guards: Sequence[Guard],
    name: str,
) -> Tool:
    name = name or getattr(function, "__name__", "")
    if not callable(function) or isinstance(function, type) or not name.isidentifier():
        raise ToolDefinitionError(f"{function!r} is not a function with a name: decorate a `def` with @tool")
    if effect not in typing.get_args(Effect):
        raise ToolDefinitionError(f"{name}: effect={effect!r} is not one of {', '.join(typing.get_args(Effect))}")
    if reversibility not in typing.get_args(Reversibility):
        raise ToolDefinitionError(f"{name}: reversibility={reversibility!r} is not one of full, partial, irreversible")
    if not (isinstance(timeout_s, (int, float)) and 0 < timeout_s < math.inf):
        raise ToolDefinitionError(f"{name}: timeout_s={timeout_s!r} must be a number of seconds above 0")
    if odd := [guard for guard in guards if not callable(guard)]:
        raise ToolDefinitionError(f"{name}: the guard {odd[0]!r} is not a function: give e.g. max_value('amount', 100)")
    try:
        doc = docstring_parser.parse(inspect.getdoc(function) or "")
    except docstring_parser.ParseError as error:
        raise ToolDefinitionError(f"{name}: its docstring cannot be read: {error}") from error
    if not doc.short_description:
        raise ToolDefinitionError(f"{name} has no docstring: say in one line what it does, models choose by it")
    arguments, schema = _arguments(function, name, {p.arg_name: p.description or "" for p in doc.params})
    about = " ".join(filter(None, (doc.short_description, doc.long_description)))
    return Tool(name, about, function, arguments, schema, effect, reversibility, float(timeout_s), tuple(guards))


def _arguments(
    function: Callable[..., Any], name: str, described: Mapping[str, str]
) -> tuple[type[BaseModel], dict[str, JSON]]:
    """The model that validates the function's arguments, and its JSON Schema."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except NameError as error:
        raise ToolDefinitionError(f"{name}: a type cannot be found: {error}") from error
    except Exception as error:  # annotations may be texts, and texts may be anything; builtins have no signature
        raise ToolDefinitionError(f"{name}: its signature cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for place, arg in enumerate(signature.parameters.values()):
        if arg.kind in (arg.VAR_POSITIONAL, arg.VAR_KEYWORD, arg.POSITIONAL_ONLY):
            raise ToolDefinitionError(f"{name}: {arg} has no name that a model could give: use named arguments only")
        if arg.name not in hints:
            raise ToolDefinitionError(f"{name}: argument {arg.name!r} has no type: write e.g. `{arg.name}: str`")
        default = ... if arg.default is arg.empty else arg.default
        # The field has a name of ours: an argument may be called `schema`, `copy` or `model_config`, a field may not.
        about = Field(default, alias=arg.name, description=described.get(arg.name) or None)
        fields[f"arg{place}"] = (hints[arg.name], about)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default that is not JSON stays out of the schema, and that is all
            model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
            schema = model.model_json_schema()
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise ToolDefinitionError(f"{name}: its arguments have no JSON Schema: {str(error).splitlines()[0]}") from error
    return model, {k: v for k, v in schema.items() if k not in ("title", "description")}


def _said(made: Tool, item: Mapping[str, Any]) -> str:
    """One validation error as a sentence that a model can act on."""
    where = ".".join(str(part) for part in item["loc"])
    given = repr(item.get("input"))
    outer = "; it takes " + (", ".join(made.parameters["properties"]) or "no arguments")
    takes = outer if len(item["loc"]) == 1 else ""  # what an object inside an argument takes, its schema says
    match item["type"]:
        case "extra_forbidden":
            return f"there is no argument {where!r}{takes}"
        case "missing":
            return f"argument {where!r} is missing{takes}"
        case _:
            return f"argument {where!r}: {item['msg']}, got {given[:80]}{'…' if len(given) > 80 else ''}"  # noqa: PLR2004


def _finish(value: Any) -> Any:
    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    # A loop runs on this thread already, as in a notebook: the coroutine gets a thread and a loop of its own.
    box: dict[str, Any] = {}

    def target() -> None:
        try:
            box["value"] = asyncio.run(wait())
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            box["error"] = error

    thread = threading.Thread(target=target, name="agentnb-async-tool", daemon=True)
    thread.start()
    while thread.is_alive():  # not one long join: an interrupt has to get through
        thread.join(0.05)
    if "error" in box:
        raise box["error"]
    return box["value"]


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
    try:
        text = to_json(_plain(value), fallback=_fallback, inf_nan_mode="null")
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
