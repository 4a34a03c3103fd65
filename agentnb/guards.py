"""Guards: preconditions of a tool call, in code that no model can argue with.

A guard looks at one call and allows it, asks for a person, or denies it, with the numbers. Guards run before anybody is
asked, and again right before the call; one that raises denies.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from agentnb.errors import ConfigError, Interrupted, message_of
from agentnb.state import RunState

__all__ = [
    "ALLOW",
    "Guard",
    "GuardedCall",
    "Ruling",
    "ask",
    "at_most",
    "deny",
    "matching",
    "max_value",
    "min_value",
    "one_of",
    "rulings",
]


Decision = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a guard says.

    Attributes:
        decision: "allow", "ask" (only with a person's leave) or "deny" (not at all).
        reason: why, with the numbers; the planner reads it, and so does the person.
    """

    decision: Decision
    reason: str = ""


ALLOW = Ruling("allow")


def ask(reason: str) -> Ruling:
    """Only with a person's leave, whatever the policy says."""
    return Ruling("ask", reason)


def deny(reason: str) -> Ruling:
    """Not at all; the planner is told why."""
    return Ruling("deny", reason)


@dataclass(frozen=True, slots=True)
class GuardedCall:
    """A call that is about to be made.

    Attributes:
        tool: the tool's name.
        args: its arguments by name, validated and coerced to the tool's types; a guard's own, whatever it does to them.
        run: the run so far; `run.outcomes` are its finished steps, `run.plan` what it means to do.
    """

    tool: str
    args: Mapping[str, Any]
    run: RunState

    @property
    def done_before(self) -> int:
        """How often this run has carried out the same tool.

        What it proposed counts once a person has done it, and what an earlier run had done before does not.
        """
        steps = self.run.plan.steps if self.run.plan else ()
        made = [step.tool for step, outcome in zip(steps, self.run.outcomes, strict=False) if outcome.made]
        settled = [item.action.tool for item in self.run.queue if item.settled and item.settled.status == "done"]
        return [*made, *settled].count(self.tool)


Guard = Callable[[GuardedCall], Ruling | None]
"""A guard; None allows."""


def rulings(guards: Sequence[Guard], call: Callable[[], GuardedCall]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reasons to deny the call, and the reasons to ask a person; () and () allow it.

    A guard that raises, or gives something else than a Ruling, denies: what cannot be checked is not done.

    Args:
        guards: in their order.
        call: makes the call that a guard is shown, anew for each: one may alter it, or read an iterator in it to its
            end.
    """
    said = [_said(guard, call) for guard in guards]
    denied, asked = (tuple(why for how, why in said if how == decision) for decision in ("deny", "ask"))
    return denied, asked


def _said(guard: Guard, call: Callable[[], GuardedCall]) -> tuple[Decision, str]:
    """What one guard decides, and why."""
    name = getattr(guard, "__name__", type(guard).__name__)
    try:
        ruling: object = guard(call())
        if ruling is None:
            return "allow", ""
        if inspect.iscoroutine(ruling):
            ruling.close()
            return "deny", f"the guard {name} is async, and nobody waits for it: make it a plain function"
        if not isinstance(ruling, Ruling):
            return "deny", f"the guard {name} gave {ruling!r}, which is no Ruling: return allow, ask(…) or deny(…)"
        if ruling.decision not in get_args(Decision):
            return "deny", f"the guard {name} said {ruling.decision!r}: it is allow, ask(…) or deny(…)"
        otherwise = f"the guard {name} {'asks for a person' if ruling.decision == 'ask' else 'denies it'}"
        return ruling.decision, str(ruling.reason or otherwise)
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code, and whatever it raises means the same
        return "deny", f"the guard {name} failed: {type(error).__name__}: {message_of(error)}"


def max_value(arg: str, most: float, *, otherwise: Literal["ask", "deny"] = "deny") -> Guard:
    """A guard that lets `arg` be at most `most`.

    >>> max_value("amount", 100)(GuardedCall("pay", {"amount": 250}, RunState())).reason
    'amount is 250, at most 100 is allowed'

    Raises:
        ConfigError: `most` is no number, or `otherwise` neither "ask" nor "deny"; as all guards of this module do.
    """
    _require_number("max_value", most)
    return _bound(arg, lambda value: value <= most, f"at most {most:.15g} is allowed", otherwise)


def min_value(arg: str, least: float, *, otherwise: Literal["ask", "deny"] = "deny") -> Guard:
    """A guard that lets `arg` be at least `least`."""
    _require_number("min_value", least)
    return _bound(arg, lambda value: value >= least, f"at least {least:.15g} is allowed", otherwise)


def one_of(arg: str, *allowed: object, otherwise: Literal["ask", "deny"] = "deny") -> Guard:
    """A guard that lets `arg` be one of `allowed`."""
    if not allowed:
        raise ConfigError(f"one_of({arg!r}) allows nothing: name the values, one_of({arg!r}, 'a', 'b')")
    listed = ", ".join(map(repr, allowed))
    return _bound(arg, lambda value: value in allowed, f"it may be {listed}", otherwise)


def matching(arg: str, pattern: str, *, otherwise: Literal["ask", "deny"] = "deny") -> Guard:
    """A guard that lets the text `arg` match the regular expression `pattern`, from beginning to end.

    Raises:
        ConfigError: the pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigError(f"the pattern {pattern!r} is no regular expression: {error}") from error
    return _bound(arg, lambda value: compiled.fullmatch(str(value)) is not None, f"it must match {pattern}", otherwise)


def at_most(times: int, *, otherwise: Literal["ask", "deny"] = "ask") -> Guard:
    """A guard that lets a run carry out its tool so many times, and then asks."""
    if isinstance(times, bool) or not isinstance(times, int) or times < 0:
        raise ConfigError(f"at_most({times!r}) is no number of times: give a whole number, 0 or more")
    _require_otherwise(otherwise)

    def at_most_times(call: GuardedCall) -> Ruling:
        if call.done_before < times:
            return ALLOW
        return Ruling(
            otherwise, f"{call.tool} was carried out {call.done_before} times in this run, {times} are allowed"
        )

    return at_most_times


def _bound(arg: str, holds: Callable[[Any], bool], rule: str, otherwise: Literal["ask", "deny"]) -> Guard:
    if not isinstance(arg, str):
        raise ConfigError(f"{arg!r} names no argument to guard: give its name first, such as max_value('amount', 100)")
    _require_otherwise(otherwise)

    def bound(call: GuardedCall) -> Ruling:
        if arg not in call.args:
            return deny(f"{call.tool} has no argument {arg!r} to be guarded")
        value = call.args[arg]
        shown = f"{value:.15g}" if isinstance(value, float) else repr(value)
        return ALLOW if value is None or holds(value) else Ruling(otherwise, f"{arg} is {shown}, {rule}")

    bound.__name__ = f"{arg} ({rule})"
    return bound


def _require_number(name: str, bound: object) -> None:
    if isinstance(bound, bool) or not isinstance(bound, (int, float, Decimal)) or math.isnan(bound):
        raise ConfigError(f"{name} compares with a number, and {bound!r} is none: for anything else write a function")


def _require_otherwise(otherwise: object) -> None:
    """Raise ConfigError unless it denies or asks: any other word would let everything pass, or nothing."""
    if otherwise not in ("ask", "deny"):
        raise ConfigError(f"otherwise={otherwise!r} is neither 'ask' nor 'deny'")
