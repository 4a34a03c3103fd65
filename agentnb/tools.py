"""Tools: plain typed functions whose schema comes from their signature and docstring."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import json
import math
import re
import string
import typing
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType, NoneType
from typing import Any, Final, overload

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model

from agentnb.breaker import Breaker, breaker_of
from agentnb.errors import ConfigError, FailureClass, InvalidData, ToolDefinitionError, message_of
from agentnb.gist import Extract, extracted, require_extract
from agentnb.guards import Guard
from agentnb.plan import JSON
from agentnb.policy import Effect, Reversibility, ToolFacts
from agentnb.runner import finished, going_on, named, with_named, without_name
from agentnb.values import as_json, example

__all__ = ["KEY", "InvalidArguments", "Tool", "tool", "toolbox"]

KEY: Final = "idempotency_key"
"""The argument in which a tool that has it gets its call's key; models neither see nor fill it."""
Failures = Mapping[type[BaseException] | int | str, FailureClass | str]
_NO_FAILURES: Final[Failures] = MappingProxyType({})


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
        effect: "read" leaves the world as it is; "write" changes it and is asked about first; "destructive" is only
            ever proposed.
        reversibility: whether what it does can be taken back: "full", "partial" or "irreversible".
        egress: it sends its arguments out of this machine, and is asked about like a write.
        untrusted: its result is text that strangers wrote.
        timeout_s: seconds after which a call is given up.
        tries: how often a call is made that fails in a way that passes.
        guards: preconditions, checked before anybody is asked and again right before a call; see `guards.py`.
        once_per: arguments that name what a call is about: with the same values it acts once, ever.
        idempotent: the same key twice acts once.
        takes_key: the function has an argument `idempotency_key`.
        reconcile: finds out whether a call happened; see `tool`.
        refresh: reads again what a call rested on that had changed.
        simulate: what a call would give, without acting.
        extract: what of its result prompts show; see `tool`.
        describe: says what a call does, for the audit log; see `tool`.
        failures: what its exceptions, status codes and messages mean; none of them says that it acted.
        breaker: keeps it from being called while it keeps failing; shared by all runs of this process.
        facts: what the policy needs to know of it.
    """

    name: str
    description: str
    function: Callable[..., Any]
    arguments: type[BaseModel] = field(repr=False)
    parameters: Mapping[str, JSON] = field(repr=False)
    effect: Effect = "write"
    reversibility: Reversibility = "irreversible"
    egress: bool = True
    untrusted: bool = False
    timeout_s: float = 60.0
    tries: int = 3
    guards: tuple[Guard, ...] = ()
    once_per: tuple[str, ...] = ()
    idempotent: bool = False
    takes_key: bool = False
    reconcile: Callable[..., Any] | None = None
    refresh: Callable[..., Any] | None = None
    simulate: Callable[..., Any] | None = None
    extract: Extract = None
    describe: Callable[..., str] | str | None = None
    failures: Failures = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker, repr=False)
    facts: ToolFacts = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = json.dumps(self.parameters, sort_keys=True)
        facts = ToolFacts(
            effect=self.effect,
            reversibility=self.reversibility,
            schema=hashlib.sha256(text.encode()).hexdigest()[:16],
            egress=self.egress,
            untrusted=self.untrusted,
            idempotent=self.idempotent,
            reconcile=self.reconcile is not None,
        )
        object.__setattr__(self, "facts", facts)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool."""
        return self.function(*args, **kwargs)

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
                self.name, (f"its arguments were refused: {type(error).__name__}: {message_of(error)}",)
            ) from error
        return {given: getattr(model, name) for name, given in _names(self.arguments)}

    def run(self, kwargs: Mapping[str, Any], key: str = "") -> Any:
        """Call the function with validated arguments; what is async is run to its end, inside any running loop.

        Args:
            kwargs: as `validated` gave them.
            key: under which the other side may know the call; passed to a function that takes it.
        """
        value = self.function(**kwargs, **({KEY: key} if self.takes_key else {}))
        if inspect.isasyncgen(value):
            value = _read_whole(value)
        return finished(value, key) if inspect.isawaitable(value) else value

    def result(self, kwargs: Mapping[str, Any], key: str) -> JSON:
        """What a call under `key` gives, as JSON; for as long as it takes it is `going_on`. Arguments as of `run`."""
        with going_on(key):  # the conversion is a part of it: a generator acts only as it is read
            return as_json(self.run(kwargs, key))

    def gist(self, result: JSON) -> JSON:
        """What of a result prompts show."""
        return extracted(result, self.extract)

    def happened(self, kwargs: Mapping[str, Any], key: str) -> JSON:
        """What `reconcile` found, as JSON: what the call gave, or None where it did not happen.

        Raises:
            InvalidData: it gave what may mean either, such as False, 0, an empty list or a NaN.
        """
        if self.reconcile is None:
            raise ToolDefinitionError(f"{self.name} has no reconcile=")
        found = with_named(self.reconcile, {**kwargs, KEY: key})
        said = as_json(found)
        if found is not None and not said:
            raise InvalidData(
                f"it gave {json.dumps(said)}, which may mean either: let it give None where the call did not happen,"
                " and True, or what the call gave, where it did"
            )
        return said

    def refreshed(self, kwargs: Mapping[str, Any]) -> None:
        """Let `refresh` read again what the call rests on."""
        if self.refresh is not None:
            with_named(self.refresh, kwargs)

    def described(self, args: Mapping[str, JSON]) -> str:
        """What `describe` says of a call with these arguments, whatever that raises; "" where it says nothing."""
        if self.describe is None:
            return ""
        kwargs = self.validated(copy.deepcopy(dict(args)))  # its own: it may alter them
        if isinstance(self.describe, str):
            return self.describe.format(**kwargs)
        said: object = with_named(self.describe, kwargs)
        return said if isinstance(said, str) else ""

    @property
    def returns(self) -> Mapping[str, JSON]:
        """JSON Schema of what a call gives, {} where the function's return type does not say."""
        return _returned(self.function)

    def simulated(self, kwargs: Mapping[str, Any]) -> Any:
        """What `simulate` says that a call would give; without it, a value of the form that the function returns."""
        if self.simulate is not None:
            return with_named(self.simulate, kwargs)
        try:
            return example(self.returns) if self.returns else None
        except Exception:  # noqa: BLE001 - a schema may be anything
            return None


@functools.lru_cache(maxsize=256)
def _names(arguments: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """Each argument's name in the model, and the function's own name of it."""
    return tuple((name, info.alias or name) for name, info in arguments.model_fields.items())


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    effect: Effect | None = ...,
    reversibility: Reversibility = ...,
    egress: bool | None = ...,
    untrusted: bool = ...,
    timeout_s: float = ...,
    tries: int = ...,
    guards: Sequence[Guard] = ...,
    once_per: Sequence[str] = ...,
    idempotent: bool | None = ...,
    reconcile: Callable[..., Any] | None = ...,
    refresh: Callable[..., Any] | None = ...,
    simulate: Callable[..., Any] | None = ...,
    extract: str | Iterable[str] | type[BaseModel] | None = ...,
    describe: Callable[..., str] | str | None = ...,
    failures: Failures = ...,
    name: str = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect | None = None,
    reversibility: Reversibility = "irreversible",
    egress: bool | None = None,
    untrusted: bool = False,
    timeout_s: float = 60.0,
    tries: int = 3,
    guards: Sequence[Guard] = (),
    once_per: Sequence[str] = (),
    idempotent: bool | None = None,
    reconcile: Callable[..., Any] | None = None,
    refresh: Callable[..., Any] | None = None,
    simulate: Callable[..., Any] | None = None,
    extract: str | Iterable[str] | type[BaseModel] | None = None,
    describe: Callable[..., str] | str | None = None,
    failures: Failures = _NO_FAILURES,
    name: str = "",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function.

    What is not declared is taken for the worst: a write that cannot be taken back and sends data out.

    Args:
        function: the function, sync or async; every argument has a type, and a docstring says what it does. Argument
            descriptions are taken from the docstring's `Args:` section (Google, NumPy or reST style).
        effect: "read" leaves the world as it is, "write" changes it, "destructive" is never called by the loop but
            proposed: a person carries it out, see `Run.pending`.
        reversibility: whether what it does can be taken back: "full", "partial" or "irreversible".
        egress: True where a call sends its arguments out (fetching an address can carry data away): asked about like a
            write. True if no effect is declared, else False.
        untrusted: True where its result is text that strangers wrote: web pages, mails, tickets. From then on, calls
            that act need a person, unless a plan that was made before contains them as they are.
        timeout_s: seconds after which a call is given up.
        tries: how often a call is made that fails in a way that passes, and did not act.
        guards: preconditions in code, such as `max_value("amount", 100)`; see `guards.py`.
        once_per: names of the arguments that say what a call is about, ("source_id", "kind"): with the same values the
            tool acts once, in all runs and kernels, and later calls get the earlier result. "1" and 1 are the same
            value of an int.
        idempotent: True where the other side acts once for one key; a function with an argument `idempotency_key` gets
            the key of its call in it, and counts as such.
        reconcile: a function of the same arguments (those that it names, and `idempotency_key`), asked after a call
            whose outcome is not known: what the call gave if it happened (True where that is nothing), None if it did
            not. None counts once nothing of the call runs in this process any more. What is empty otherwise (False, 0,
            a list without entries) may mean either, and a person is asked.
        refresh: a function of the same arguments (those that it names), called once after StaleData, before the call
            is made again.
        simulate: a function of the same arguments (those that it names) for dry runs; if left out, a value of the form
            that the function returns stands in.
        extract: what of its result matters to a model: paths such as ("total", "rows[].name"), or a pydantic model that
            keeps its fields. Prompts show that instead of the result, which stays whole for `$s1` and `read_result`.
        describe: what a call does in a sentence, for the audit log: a text such as "refund of {amount} EUR", or a
            function of the same arguments (those that it names). It is recorded before the call is made. It is the
            one text with values that the compliance view shows, so it says what may be seen there. One that fails
            hinders no call.
        failures: what an exception type, a status code or a text in a message means, such as
            {requests.ConnectTimeout: "transient", 409: "stale_data"}; only for failures after which it has not acted.
            Of what is not declared here only a status (429, 503, most of the 4xx) and a ToolFailure such as Transient
            say so: after any other exception a call that acts is in doubt, and is not made again by itself.
        name: what models call it by; the function's name if left out.

    Raises:
        ToolDefinitionError: an argument without a type, a type with no JSON Schema, no docstring, `*args`, or an option
            that is not allowed.

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
    options: dict[str, Any] = {
        "effect": "write" if effect is None else effect,
        "reversibility": reversibility,
        "egress": effect is None if egress is None else egress,
        "untrusted": untrusted,
        "timeout_s": timeout_s,
        "tries": tries,
        "guards": guards,
        "once_per": (once_per,) if isinstance(once_per, str) else once_per,
        "idempotent": idempotent,
        "reconcile": reconcile,
        "refresh": refresh,
        "simulate": simulate,
        "extract": require_extract(name or getattr(function, "__name__", "a tool"), extract),
        "describe": describe,
        "failures": failures,
    }
    if function is not None:
        return _made(function, name, options)
    return lambda f: _made(f, name, options)


async def _read_whole(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def toolbox(tools: typing.Iterable[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name; plain functions become tools that write and cannot be taken back.

    Raises:
        ToolDefinitionError: two tools of one name, or something that is not a function, or no list of them.
    """
    box: dict[str, Tool] = {}
    for item in _listed("tools", tools):
        made = item if isinstance(item, Tool) else replace(tool()(item), breaker=breaker_of(item))
        if made.name in box:
            raise ToolDefinitionError(f"two tools are called {made.name!r}: give one of them another `name=`")
        box[made.name] = made
    return box


@functools.lru_cache(maxsize=256)
def _returned(function: Callable[..., Any]) -> Mapping[str, JSON]:
    try:
        returns = typing.get_type_hints(function, include_extras=True).get("return", Any)
        return TypeAdapter(returns).json_schema(mode="serialization")
    except Exception:  # noqa: BLE001 - an annotation may be anything, and then nothing is known of the result
        return {}


def _made(function: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Tool:
    if name and not (isinstance(name, str) and name.isidentifier()):
        raise ToolDefinitionError(f"name={name!r} is no name of a tool: write one of letters, digits and _")
    name = name or getattr(function, "__name__", "")
    named_so = isinstance(name, str) and name.isidentifier()
    if not callable(function) or isinstance(function, type) or not named_so:
        raise ToolDefinitionError(f"{function!r} is not a function with a name: decorate a `def` with @tool")
    options = {**options, **{what: _listed(f"{name}: {what}", options[what]) for what in ("guards", "once_per")}}
    _check_options(name, options)
    try:
        doc = docstring_parser.parse(inspect.getdoc(function) or "")
    except docstring_parser.ParseError as error:
        raise ToolDefinitionError(f"{name}: its docstring cannot be read: {error}") from error
    if not doc.short_description:
        raise ToolDefinitionError(f"{name} has no docstring: say in one line what it does, models choose by it")
    arguments, schema, takes_key = _arguments(function, name, {p.arg_name: p.description or "" for p in doc.params})
    known = list(schema["properties"])
    if unknown := [field for field in options["once_per"] if field not in known]:
        raise ToolDefinitionError(f"{name}: once_per names {unknown[0]!r}, and its arguments are {', '.join(known)}")
    for what in ("reconcile", "refresh", "simulate"):
        _check_helper(name, what, options[what], {*known, KEY})
    _check_description(name, options["describe"], known)
    about = " ".join(filter(None, (doc.short_description, doc.long_description)))
    idempotent = takes_key if options["idempotent"] is None else options["idempotent"]
    rest = {**options, "idempotent": idempotent, "takes_key": takes_key, "timeout_s": float(options["timeout_s"])}
    return Tool(name, about, function, arguments, schema, **rest)


def _listed(what: str, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, Iterable):
        raise ToolDefinitionError(f"{what}={given!r} is no list: put what is meant into brackets, […]")
    return tuple(given)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    for what, allowed in (("effect", Effect), ("reversibility", Reversibility)):
        if options[what] not in typing.get_args(allowed):
            listed = ", ".join(typing.get_args(allowed))
            raise ToolDefinitionError(f"{name}: {what}={options[what]!r} is not one of {listed}")
    for flag in ("egress", "untrusted", "idempotent"):
        if not isinstance(options[flag], (bool, NoneType)):
            raise ToolDefinitionError(f"{name}: {flag}={options[flag]!r} is neither True nor False")
    timeout_s, tries = options["timeout_s"], options["tries"]
    if isinstance(timeout_s, bool) or not (isinstance(timeout_s, (int, float)) and 0 < timeout_s < math.inf):
        raise ToolDefinitionError(f"{name}: timeout_s={timeout_s!r} must be a number of seconds above 0")
    if isinstance(tries, bool) or not (isinstance(tries, int) and tries >= 1):
        raise ToolDefinitionError(f"{name}: tries={tries!r} must be a whole number, 1 or more")
    if odd := [guard for guard in options["guards"] if not callable(guard)]:
        raise ToolDefinitionError(f"{name}: the guard {odd[0]!r} is not a function: give e.g. max_value('amount', 100)")
    if options["once_per"] and options["effect"] == "destructive":
        raise ToolDefinitionError(
            f"{name}: once_per= is for tools that the loop calls, and destructive ones it does not"
        )
    _check_failures(name, options["failures"])


def _check_failures(name: str, failures: Any) -> None:
    if not isinstance(failures, Mapping):
        raise ToolDefinitionError(f"{name}: failures={failures!r} is no dict: give e.g. {{409: 'stale_data'}}")
    for sign, kind in failures.items():
        exception = isinstance(sign, type) and issubclass(sign, BaseException)
        if not exception and not isinstance(sign, (int, str)):
            raise ToolDefinitionError(f"{name}: {sign!r} in failures= is no exception class, status code or text")
        if kind not in list(FailureClass):
            raise ToolDefinitionError(f"{name}: {kind!r} in failures= is not one of {', '.join(FailureClass)}")


def _check_helper(name: str, what: str, helper: Any, known: set[str]) -> None:
    if helper is None:
        return
    if not callable(helper):
        raise ToolDefinitionError(f"{name}: {what}={helper!r} is not a function")
    if unnamed := without_name(helper):
        raise ToolDefinitionError(f"{name}: {what}= takes {unnamed[0]}, and gets its arguments by name: name them")
    unknown = [arg.name for arg in named(helper) if arg.name not in known and arg.default is arg.empty]
    if unknown:
        raise ToolDefinitionError(f"{name}: {what}= takes {unknown[0]!r}, which is none of {', '.join(sorted(known))}")


def _check_description(name: str, describe: Any, known: Sequence[str]) -> None:
    if not isinstance(describe, str):
        _check_helper(name, "describe", describe, set(known))
        return
    try:
        parts = [part for _, part, _, _ in string.Formatter().parse(describe) if part is not None]
    except ValueError as error:
        raise ToolDefinitionError(f"{name}: describe={describe!r} cannot be read: {error}") from error
    if unknown := [part for part in parts if re.split(r"[.[]", part)[0] not in known]:
        raise ToolDefinitionError(
            f"{name}: describe= names {unknown[0]!r}, and its arguments are {', '.join(known) or 'none'}"
        )


def _arguments(
    function: Callable[..., Any], name: str, described: Mapping[str, str]
) -> tuple[type[BaseModel], dict[str, JSON], bool]:
    """The model that validates the function's arguments, its JSON Schema, and whether it takes its call's key."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except NameError as error:
        raise ToolDefinitionError(f"{name}: a type cannot be found: {error}") from error
    except Exception as error:  # annotations may be texts, and texts may be anything; builtins have no signature
        raise ToolDefinitionError(f"{name}: its signature cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    taken = [arg for arg in signature.parameters.values() if arg.name != KEY]
    for place, arg in enumerate(taken):
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
    schema = {k: v for k, v in schema.items() if k not in ("title", "description")}
    return model, {"properties": {}, **schema}, len(taken) < len(signature.parameters)


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
            return f"argument {where!r}: {item['msg']}, got {given[:80]}{'…' if len(given) > 80 else ''}"  # noqa: PLR2004 - as much as is shown
