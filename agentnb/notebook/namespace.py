"""Names that a user types, and the objects of the notebook that they stand for."""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from agentnb.errors import ConfigError

if TYPE_CHECKING:
    from agentnb.alerts import Alert, Threshold
    from agentnb.models.base import Model
    from agentnb.policy import Policy
    from agentnb.redact import Redactor
    from agentnb.tools import Tool

__all__ = [
    "Names",
    "alerts_named",
    "alerts_of_run",
    "function_named",
    "model_named",
    "model_of_run",
    "models_in",
    "params_named",
    "phases_named",
    "plan_named",
    "policy_named",
    "redactor_here",
    "require_free",
    "secrets_named",
    "tools_in",
    "tools_named",
    "tools_of_run",
]

Names = Mapping[str, Any]
_FEW: Final = 100
"""Items of a list of the notebook that are looked at: it may hold anything."""


def tools_in(names: Names) -> dict[str, Tool]:
    """The tools of the notebook by their variable, private ones left out; imports nothing."""
    module = sys.modules.get("agentnb.tools")
    if module is None:
        return {}
    return {name: value for name, value in names.items() if isinstance(value, module.Tool) and not name.startswith("_")}


def tools_named(text: str, names: Names) -> list[Tool | Callable[..., Any]]:
    """The tools of a comma-separated list of variables; plain functions count.

    Raises:
        ConfigError: a name that is not there, or is not a function.
    """
    return [_tool(name, names) for name in filter(None, map(str.strip, text.split(",")))]


def tools_of_run(wanted: Iterable[str], names: Names, *, all_of_them: bool = True) -> list[Tool | Callable[..., Any]]:
    """The tools that a run began with, by the names that models call them.

    Args:
        wanted: their names.
        names: the notebook's variables.
        all_of_them: False leaves out those that are not there.

    Raises:
        ConfigError: some are not there, and should be; names all of them.
    """
    from agentnb.plan import READ_RESULT

    by_name = {tool.name: tool for tool in tools_in(names).values()}
    found: dict[str, Any] = {name: by_name.get(name) or names.get(name) for name in wanted}
    if found.get(READ_RESULT, True) is None:  # the run's own, which is in no notebook
        del found[READ_RESULT]
    missing = ", ".join(name for name, value in found.items() if not _callable(value))
    if missing and all_of_them:
        raise ConfigError(f"the run uses {missing}, not defined in this notebook: run the cells that define it first")
    return [value for value in found.values() if _callable(value)]


def require_free(name: str | None, names: Names) -> None:
    """Returns where a Run may be bound to `name`: where nothing is, or another Run, or plain data.

    Raises:
        ConfigError: it holds something that later cells work with.
    """
    if name and (kind := _working_part(names.get(name, getattr(builtins, name, None)))):
        raise ConfigError(f"the Run would replace the {kind} {name!r}: give another name, such as {name}_run")


def models_in(names: Names) -> list[str]:
    """The variables that hold a model."""
    return [name for name, value in names.items() if _is_model(value) and not name.startswith("_")]


def model_named(text: str, names: Names) -> str | Model:
    """The model object, or the reference, in the variable `text`; any other text is a reference itself.

    Raises:
        ConfigError: it is neither, and very like the name of a model object.
    """
    from agentnb.models.resolve import PROVIDERS

    value: Any = names.get(text)
    if isinstance(value, str) or _is_model(value):
        return cast("str | Model", value)
    here = models_in(names)
    if text.isidentifier() and text not in PROVIDERS and (meant := _nearest(text, here)):
        raise ConfigError(f"no model {text!r}{meant}: the model objects here are {', '.join(here)}")
    return text


def model_of_run(ref: str, names: Names) -> str | Model:
    """The model that a run began with: an object of the notebook that goes by `ref`, else `ref`."""
    return next((value for value in reversed(list(names.values())) if _is_model(value) and value.ref == ref), ref)


def phases_named(phases: Mapping[Any, str], names: Names) -> dict[Any, str | Model]:
    """The models of single phases, each as `model_named` finds it."""
    return {phase: model_named(text, names) for phase, text in phases.items()}


def alerts_named(texts: Iterable[str], names: Names) -> list[Alert]:
    """The alerts that these words stand for: "usd=0.10", "failure_rate>0.2/7d", or a variable with an Alert or several.

    Raises:
        ConfigError: a word that is neither.
    """
    from agentnb.alerts import Alert, Measure, measured

    found: list[Alert] = []
    for text in texts:
        if not text.isidentifier() or (text in get_args(Measure) and text not in names):
            found.append(measured(text))
            continue
        value = _defined(text, names, "--alert")
        several = list(value) if isinstance(value, (list, tuple)) else [value]
        if wrong := [one for one in several if not isinstance(one, Alert)]:
            raise ConfigError(f"--alert {text} holds a {type(wrong[0]).__name__}: give an Alert, or usd=0.10")
        found += several
    return found


def alerts_of_run(thresholds: tuple[Threshold, ...], names: Names) -> list[Alert]:
    """The alerts that a run began with: those of the notebook that are the same, with their callbacks.

    Of several that are alike, the last one with a callback.
    """
    from agentnb.alerts import Alert, alerts_of

    listed = (value[:_FEW] if isinstance(value, (list, tuple)) else [value] for value in list(names.values()))
    there = [alert for some in listed for alert in some if isinstance(alert, Alert)]
    here = {alert: alert for alert in sorted(there, key=lambda alert: alert.callback is not None)}  # the last one stays
    held = [alert for alert in here.values() if set(alert.thresholds) <= set(thresholds)]
    rest = {*thresholds}.difference(*(alert.thresholds for alert in held))
    return [*held, *alerts_of(tuple(found for found in thresholds if found in rest))]


def plan_named(name: str | None, names: Names) -> Any:
    """The steps in the variable `name`, or None where no name is given.

    Raises:
        ConfigError: there is no such variable, or it holds no steps.
    """
    if not name:
        return None
    value = _defined(name, names, "--plan")
    wrong = ConfigError(f"--plan {name} is a {type(value).__name__}: give a list of steps or a Plan")
    if isinstance(value, (str, bytes, Mapping)):
        raise wrong
    try:
        return value if hasattr(value, "steps") else list(value)
    except Exception as error:  # no iterable, or one of somebody's that breaks
        raise wrong from error


def params_named(name: str | None, names: Names) -> Mapping[str, Any]:
    """The mapping in the variable `name`, {} where no name is given.

    Raises:
        ConfigError: there is no such variable, or it is not a mapping.
    """
    if not name:
        return {}
    value = _defined(name, names, "--params")
    if not isinstance(value, Mapping):
        raise ConfigError(f"--params {name} is a {type(value).__name__}: give a dict of names and values")
    return value


def policy_named(text: str, names: Names) -> str | Policy:
    """The Policy in the variable `text`, or the name of one.

    Raises:
        ConfigError: it is neither.
    """
    from agentnb.policy import APPROVE, Policy

    value = names.get(text)
    if isinstance(value, Policy):
        return value
    if text.partition(":")[0] in APPROVE:
        return text
    known = [name for name, held in names.items() if isinstance(held, Policy)]
    raise ConfigError(f"--approve {text}: there are {', '.join([*APPROVE, *known])}, or a variable with a Policy")


def function_named(name: str | None, names: Names, flag: str) -> Callable[..., Any] | None:
    """The function in the variable `name`, or None where no name is given.

    Raises:
        ConfigError: there is no such variable, or it cannot be called.
    """
    if not name:
        return None
    value = _defined(name, names, flag)
    if not callable(value):
        raise ConfigError(f"{flag} {name} is a {type(value).__name__}: give a function")
    return value  # type: ignore[no-any-return]  # a notebook's names hold anything


def _tool(name: str, names: Names) -> Tool | Callable[..., Any]:
    value: Any = names.get(name)
    if _callable(value):
        return value  # type: ignore[no-any-return]  # a notebook's names hold anything
    known = list(tools_in(names))
    said = f"the tools here are {', '.join(known)}" if known else "there are none here: define one with @tool"
    if name in names:
        raise ConfigError(f"{name} is a {type(value).__name__} and not a tool: {said}")
    functions = [n for n, v in names.items() if inspect.isfunction(v) and not n.startswith("_")]
    raise ConfigError(f"no tool {name!r}{_nearest(name, [*known, *functions])}: {said}")


def _callable(value: object) -> bool:
    return inspect.isroutine(value) or any(value is tool for tool in tools_in({"it": value}).values())


def _working_part(value: object) -> str:
    """What `value` is in one word, "" where it is data."""
    kinds = {
        "class": isinstance(value, type),
        "module": isinstance(value, ModuleType),
        "model": _is_model(value),
        "tool": bool(tools_in({"it": value})),
        "function": callable(value),
    }
    return next((kind for kind, is_one in kinds.items() if is_one), "")


def _is_model(value: object) -> bool:
    try:
        named = isinstance(getattr(value, "ref", None), str)
        return named and callable(getattr(value, "ask", None)) and not isinstance(value, type)
    except Exception:  # noqa: BLE001 - any variable of the notebook is looked at, and may raise anything at it
        return False


def secrets_named(text: str, names: Names, environ: Mapping[str, str]) -> dict[str, str]:
    """The texts of a comma-separated list of variables, of the notebook or else of the environment.

    Raises:
        ConfigError: a name that is not there, or is no text; never quotes one.
    """
    found = {}
    for name in filter(None, map(str.strip, text.split(","))):
        value = _secret(name, names, environ)
        if value is None:
            raise ConfigError(
                f"--secrets {name}: there is no such variable, here or in the environment; define it first"
            )
        found[name] = value
    return found


def _secret(name: str, names: Names, environ: Mapping[str, str]) -> Any:
    value = names.get(name, environ.get(name))
    reveal = getattr(type(value), "get_secret_value", None)  # pydantic's SecretStr
    return reveal(value) if reveal else value


def redactor_here(text: str, names: Names, environ: Mapping[str, str]) -> Redactor:
    """What takes secrets out of what a line shows: those of `text` that are there, and the environment's."""
    from agentnb.redact import LEAST, Redactor

    found = {name: _secret(name, names, environ) for name in filter(None, map(str.strip, text.split(",")))}
    return Redactor.here({name: v for name, v in found.items() if isinstance(v, str) and len(v.strip()) >= LEAST})


def _defined(name: str, names: Names, flag: str) -> Any:
    if name in names:
        return names[name]
    meant = _nearest(name, [n for n in names if not n.startswith("_")])
    raise ConfigError(f"{flag} {name}: there is no such variable{meant or ', define it first'}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
