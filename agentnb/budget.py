"""Usage, prices and hard budgets: reserve the worst case, then settle to what was really used.

Every function here is pure. What is spent and what is reserved are facts of the run's state; a `Budget` only says how
much there may be of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from operator import attrgetter, itemgetter
from typing import Any, Literal, Protocol

from agentnb.errors import AgentError, ConfigError

__all__ = [
    "LIMITS",
    "Budget",
    "OverBudget",
    "Phase",
    "Price",
    "Refusal",
    "Spent",
    "Usage",
    "affordable_output",
    "amount",
    "nothing",
    "worst_cost_usd",
]

Phase = Literal["plan", "bind", "critique", "assess", "summarise", "answer"]
"""What a model call is for, and what its cost counts as."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, each counted once, whatever the provider's own convention.

    Attributes:
        input_tokens: all input tokens, those read from and written to the provider's cache included.
        output_tokens: all output tokens, reasoning included.
        cache_read_tokens: the part of `input_tokens` that the provider read from its prompt cache.
        cache_write_tokens: the part of `input_tokens` that the provider wrote to its prompt cache.
        cache_write_1h_tokens: the part of `cache_write_tokens` that is kept for an hour, which costs more than the
            usual five minutes.
        reasoning_tokens: the part of `output_tokens` that was spent on thinking, where the provider says so.
        terms: what else the provider says that its price depends on: "batch", "flex", "priority", "fast", or "us" for
            work done in the United States only. None of them, and it is the list price.
        uncounted: True where the provider sent no count: the numbers are then the most that the call can have used.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    terms: tuple[str, ...] = ()
    uncounted: bool = False


class Price(Protocol):
    """What a model's provider charges."""

    def __call__(self, usage: Usage) -> float:
        """The cost of one call in US dollars."""


def nothing(usage: Usage) -> float:  # noqa: ARG001 - a Price
    """What a model costs that is free, or whose price nobody knows: 0 dollars."""
    return 0.0


def worst_cost_usd(price: Price, usage: Usage) -> float:
    """An upper bound in US dollars of a call that uses at most `usage`, however its input is cached.

    Terms that make a call cheaper (batch, flex) are below it. Of those that make it dearer, "us" is within it, since an
    account may be set to it; nothing that we send lets a provider keep a cache for an hour, or bill for speed.
    """
    if price is nothing:
        return 0.0
    sent, got = usage.input_tokens, usage.output_tokens
    return max(
        price(Usage(sent, got, cache_write_tokens=written, terms=terms))
        for written in (0, sent)
        for terms in ((), ("us",))
    )


@dataclass(frozen=True, slots=True)
class Spent:
    """Amounts of everything that a budget limits: spent, reserved, or both added.

    A call whose provider sent no count, or that failed and may have been billed, is charged with the most that it can
    have used: caps hold whatever the bill says. That part is known as uncounted, so the bill lies between `least_usd`
    and `usd`, and the tokens between `least_tokens` and `tokens`.

    Attributes:
        uncounted_usd: the part of `usd` that no provider has counted.
        uncounted_tokens: the part of `tokens` that no provider has counted.
    """

    usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    steps: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    working_seconds: float = 0.0
    uncounted_usd: float = 0.0
    uncounted_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @property
    def least_usd(self) -> float:
        """What the providers have counted, in US dollars: a lower bound of the bill."""
        return max(0.0, self.usd - self.uncounted_usd)

    @property
    def least_tokens(self) -> int:
        """What the providers have counted, in tokens: a lower bound of what was used."""
        return self.tokens - self.uncounted_tokens

    def uncounted(self) -> Spent:
        """The same amounts, known as counted by nobody: an upper bound."""
        return replace(self, uncounted_usd=self.usd, uncounted_tokens=self.tokens)

    def __add__(self, other: Spent) -> Spent:
        return self.plus(other, self.seconds + other.seconds)

    def plus(self, other: Spent, seconds: float) -> Spent:
        """Both together, with `seconds` on the clock: time passes once, however many amounts are added."""
        return Spent(
            self.usd + other.usd,  # by place: this runs several times a step, and names cost a third more
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.model_calls + other.model_calls,
            self.steps + other.steps,
            self.tool_calls + other.tool_calls,
            seconds,
            self.working_seconds + other.working_seconds,
            self.uncounted_usd + other.uncounted_usd,
            self.uncounted_tokens + other.uncounted_tokens,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that the budget does not cover.

    Attributes:
        limit: the name of the cap, as in `Budget`.
        needed: what the call may use at worst.
        left: what the cap leaves for it.
        cap: the cap itself.
    """

    limit: str
    needed: float
    left: float
    cap: float

    def __str__(self) -> str:
        needed, left, cap = (amount(self.limit, value) for value in (self.needed, max(self.left, 0), self.cap))
        return f"{needed} needed, {left} left of {cap}" if self.left > 0 else f"the budget of {cap} is used up"


class OverBudget(AgentError):
    """The budget does not cover the worst case of a call; it was not made."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


_UNITS = {
    "usd": "dollars",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "tokens": "tokens",
    "model_calls": "model calls",
    "steps": "steps",
    "tool_calls": "tool calls",
    "seconds": "seconds",
    "working_seconds": "working seconds",
}


_WHOLE_SECONDS = 10


def amount(limit: str, value: float) -> str:
    """`value` with its unit, as a person writes it.

    >>> amount("usd", 0.25), amount("tokens", 50000), amount("working_seconds", 1.25)
    ('$0.25', '50 000 tokens', '1.2 working seconds')
    """
    if limit == "usd":
        return f"${value:.4f}".rstrip("0").ljust(len(f"${int(value)}.00"), "0")
    if limit.endswith("seconds"):
        return (
            f"{value:.4g} {_UNITS[limit]}"
            if value >= _WHOLE_SECONDS or value == int(value)
            else f"{value:.1f} {_UNITS[limit]}"
        )
    unit = _UNITS[limit]
    return f"{int(value):,} {unit[:-1] if value == 1 else unit}".replace(",", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Hard caps for one run. A cap that is None does not limit; at least one must.

    Args:
        usd: US dollars at the provider's list price.
        input_tokens: tokens sent, cached ones included.
        output_tokens: tokens received, reasoning included.
        tokens: both together.
        model_calls: calls of any model that reach a provider (a hit in the prompt cache is no call).
        steps: steps of the plan that are carried out.
        tool_calls: calls of any tool, retries included.
        seconds: wall-clock seconds since the run began, waiting and suspension included.
        working_seconds: seconds spent in model and tool calls; waiting for a person or a rate limit is not work.

    Raises:
        ConfigError: a cap is negative, zero, not a number or not finite; or there is none at all.
    """

    usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens: int | None = 50_000
    model_calls: int | None = None
    steps: int | None = 25
    tool_calls: int | None = None
    seconds: float | None = None
    working_seconds: float | None = 120.0

    def __post_init__(self) -> None:
        given = [(name, value) for name in LIMITS if (value := getattr(self, name)) is not None]
        for name, value in given:
            whole = name not in ("usd", "seconds", "working_seconds")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ConfigError(
                    f"budget {name}={value!r} is not a number: give e.g. {name}={'1000' if whole else '0.5'}"
                )
            if whole and value != int(value):
                raise ConfigError(f"budget {name}={value!r} is not a whole number")
            if value <= 0:
                raise ConfigError(
                    f"budget {name}={value:g} allows nothing: give more than 0, or leave it out to not limit it"
                )
        if not given:
            raise ConfigError("a run needs a budget: set at least one of " + ", ".join(LIMITS))

    def caps(self) -> Mapping[str, float]:
        """The caps that are set, by name."""
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    def first_short(self, used: Spent, extra: Spent, keep: Mapping[str, float] | None = None) -> Refusal | None:
        """The first cap that `used` and `extra` together would pass, or None where all hold.

        Args:
            used: spent and reserved so far.
            extra: the worst case of what is about to happen.
            keep: amounts held back from it, by cap (the slice for the final answer).
        """
        cap: float
        for name, cap in filter(itemgetter(1), zip(LIMITS, _amounts(self), strict=True)):  # 0 is no cap
            held = keep.get(name, 0) if keep else 0
            need: float = getattr(extra, name)
            left: float = cap - held - getattr(used, name)
            if need > left and (need > 0 or left < 0):
                return Refusal(name, need, left, cap)
        return None

    def exhausted(self, used: Spent, keep: Mapping[str, float] | None = None) -> Refusal | None:
        """The first time cap that is used up but for `keep`, or None; other caps are held where they are reserved."""
        for name in _TIMES:
            cap: float | None = getattr(self, name)
            held = keep.get(name, 0) if keep else 0
            if cap is not None and getattr(used, name) >= cap - held:
                return Refusal(name, 0, cap - held - getattr(used, name), cap)
        return None

    def seconds_left(self, used: Spent, keep: Mapping[str, float] | None = None) -> float:
        """Seconds that a call may take before a time cap is reached; infinite where none is set."""
        left = math.inf
        for name in _TIMES:
            cap: float | None = getattr(self, name)
            if cap is not None:
                held = keep.get(name, 0) if keep else 0
                left = min(left, cap - held - getattr(used, name))
        return left

    def shortest(self, used: Spent, keep: Mapping[str, float], needed: float) -> Refusal:
        """The time cap that leaves least for something that takes `needed` seconds."""
        left = {name: cap - keep.get(name, 0) - getattr(used, name) for name, cap in self.caps().items()}
        name = min((name for name in _TIMES if name in left), key=left.__getitem__)
        return Refusal(name, needed, left[name], self.caps()[name])

    def extended(self, **more: float) -> Budget:
        """This budget with each named cap raised by so much.

        Raises:
            ConfigError: an unknown name, a cap that is not set, or an amount that is no positive number.
        """
        for name, value in more.items():
            if name not in LIMITS:
                raise ConfigError(f"no budget called {name!r}: there are {', '.join(LIMITS)}")
            if name not in self.caps():
                raise ConfigError(f"{name} is not limited: there is nothing to extend")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigError(f"cannot extend {name} by {value!r}: give a number above 0")
        raised: dict[str, Any] = {
            name: self.caps()[name] + (int(value) if value == int(value) else value) for name, value in more.items()
        }
        return replace(self, **raised)


LIMITS = tuple(f.name for f in fields(Budget))
"""The names of all caps, in the order in which they are checked and shown."""

_amounts = attrgetter(*LIMITS)
_TIMES = ("seconds", "working_seconds")


def affordable_output(
    budget: Budget, used: Spent, keep: Mapping[str, float], price: Price, input_tokens: int, wanted: int
) -> int | Refusal:
    """The most output tokens that a call may be allowed so that no cap can be passed, at most `wanted`.

    Args:
        budget: the caps.
        used: spent and reserved so far.
        keep: amounts held back, by cap.
        price: of the model.
        input_tokens: an upper bound of what is sent.
        wanted: what the caller would allow.

    Returns:
        A number of tokens, at least a quarter of `wanted`: less would only buy an answer that is cut off. Otherwise the
        cap that is short.
    """
    least = max(1, wanted // 4)
    worst = 0.0 if budget.usd is None else worst_cost_usd(price, Usage(input_tokens, least))
    smallest = Spent(usd=worst, input_tokens=input_tokens, output_tokens=least, model_calls=1)
    if short := budget.first_short(used, smallest, keep):
        return short
    room = wanted
    for name, taken in (("output_tokens", 0), ("tokens", input_tokens)):
        cap: int | None = getattr(budget, name)
        if cap is not None:
            room = min(room, int(cap - keep.get(name, 0) - getattr(used, name) - taken))
    if budget.usd is not None:
        left = budget.usd - keep.get("usd", 0) - used.usd
        low, high = least, room  # the price grows with the tokens, though not evenly: tiers; search, don't calculate
        while low < high:
            middle = (low + high + 1) // 2
            fits = worst_cost_usd(price, Usage(input_tokens, middle)) <= left
            low, high = (middle, high) if fits else (low, middle - 1)
        room = low
    return room
