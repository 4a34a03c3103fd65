"""The part of a run's budget that a run inside it may use: cut from what is left, and reserved whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentnb.budget import LIMITS, Budget, Refusal, Spent
from agentnb.decide import kept_back
from agentnb.errors import ConfigError
from agentnb.state import RunState

__all__ = ["Slice", "checked", "cut", "reservation"]

Slice = Budget | float
"""Of each cap of the parent: at most so much, or that share of what is left when the child begins."""


def checked(given: Slice) -> Slice:
    """`given`, if it is a budget or a share.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, Budget):
        return given
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= 1:
        raise ConfigError(
            f"budget={given!r} is neither a Budget nor a share of what is left: give e.g. 0.5, or Budget(tokens=10_000)"
        )
    return float(given)


def cut(state: RunState, now: float, given: Slice) -> Budget | Refusal:
    """What a child that begins now may use, or the cap that leaves nothing for it.

    It has every cap of the parent, at no more than what is left there: what is kept back for the parent's answer is
    not, nor is the step that the call belongs to, nor what other children hold.

    Args:
        state: of the parent, in whose claimed call the child begins.
        now: seconds on the parent's clock.
        given: how large it may be.
    """
    keep, budget = kept_back(state.budget), state.budget
    used = state.used() + Spent(steps=1, seconds=now - state.t, working_seconds=now - state.t)
    caps: dict[str, Any] = dict(given.caps()) if isinstance(given, Budget) else {}
    for name, cap in budget.caps().items():
        left = cap - keep.get(name, 0) - getattr(used, name)
        part = min(left, caps.get(name, left)) if isinstance(given, Budget) else left * given
        whole = name not in ("usd", "seconds", "working_seconds")
        caps[name] = max(int(part), min(1, int(left))) if whole else part
        if caps[name] <= 0:
            return Refusal(name, 1.0 if whole else 0.0, left, cap)
    found = Budget(**{name: caps.get(name) for name in LIMITS if name not in _KINDS}, **_kinds(caps))
    return budget.first_short(used, reservation(found), keep) or found


_KINDS = ("input_tokens", "output_tokens")


def _kinds(caps: Mapping[str, Any]) -> dict[str, Any]:
    """The caps on input and on output: together no more than that on both, or more would be held than can be used."""
    put, out, both = (caps.get(name) for name in (*_KINDS, "tokens"))
    if both is not None:
        put, out = (None if cap is None else min(cap, both) for cap in (put, out))
    if put is None or out is None or both is None or put + out <= both:
        return {"input_tokens": put, "output_tokens": out}
    fewer = max(1, both * put // (put + out))
    return {"input_tokens": fewer, "output_tokens": max(1, both - fewer)}


def reservation(budget: Budget) -> Spent:
    """The most that a run with `budget` can come to, of what it caps; its time passes in the parent's anyway."""
    caps = budget.caps()
    both, put, out = (int(caps.get(name, 0)) for name in ("tokens", *_KINDS))
    if "input_tokens" not in caps:
        put = max(0, both - out)
    if "output_tokens" not in caps:
        out = max(0, both - put)
    rest = {name: caps[name] for name in ("usd", "working_seconds") if name in caps}
    counts = {name: int(caps[name]) for name in ("model_calls", "steps", "tool_calls") if name in caps}
    return replace(Spent(**rest, **counts), input_tokens=put, output_tokens=out)  # type: ignore[arg-type]  # names of amounts
