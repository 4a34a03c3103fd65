"""What a run's model calls cost, by phase and by model, and what was saved: sums of what its records say.

All amounts were priced when the reply came. A price list that changes later changes no record, and who reads a run
needs no prices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import reduce
from operator import add, attrgetter
from typing import get_args

from agentnb.budget import Phase, Price, Usage

__all__ = ["NOTHING_SAVED", "PHASES", "Cost", "Line", "Saved", "Saving", "Used", "charged", "settled", "uncached"]

PHASES: tuple[Phase, ...] = get_args(Phase)
"""All phases, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Saving:
    """What was saved in one way.

    Attributes:
        usd: US dollars; below 0 where it cost more than it saved.
        tokens: those that it was saved on.
    """

    usd: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved, each way apart.

    Attributes:
        cache: by our prompt cache: replies that nobody was asked for.
        provider: by the provider's cache: what was read from it at the lower price, less the surcharge on what was
            written to it. Below 0 where more was written than read.
        tiers: by asking a cheaper model than the strong one, whose price for the same tokens is known.
    """

    cache: Saving = Saving()
    provider: Saving = Saving()
    tiers: Saving = Saving()


NOTHING_SAVED = Saved()


@dataclass(frozen=True, slots=True)
class Used:
    """What some model calls used; two of them can be added.

    Attributes:
        calls: that reached a provider.
        input_tokens: sent, cached ones included.
        output_tokens: received, reasoning included.
        usd: what was charged; of a call whose end is not known, its worst case.
        unpriced: how many replies came from a model whose price is not known: then `usd` is a lower bound.
        read_tokens: of the input, those that the provider read from its cache.
        provider_usd: what the provider's cache saved, below 0 where it cost more.
        moved_tokens: those of calls that went to another model than the strong one, of which both prices are known.
        tiers_usd: what these would have cost more on the strong one.
        hits: replies from our prompt cache.
        hit_tokens: in and out, of these.
        hit_usd: what they would have cost.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    read_tokens: int = 0
    provider_usd: float = 0.0
    moved_tokens: int = 0
    tiers_usd: float = 0.0
    hits: int = 0
    hit_tokens: int = 0
    hit_usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @property
    def would_be_usd(self) -> float:
        """What the same tokens would have cost on the strong model; `usd` where that is it, or its price unknown."""
        return self.usd + self.tiers_usd

    @property
    def saved(self) -> Saved:
        """What was saved on these calls."""
        return Saved(
            Saving(self.hit_usd, self.hit_tokens),
            Saving(self.provider_usd, self.read_tokens),
            Saving(self.tiers_usd, self.moved_tokens),
        )

    def __add__(self, other: Used) -> Used:
        return Used(*map(add, _amounts(self), _amounts(other)))


_amounts = attrgetter(*(f.name for f in fields(Used)))


@dataclass(frozen=True, slots=True)
class Line:
    """What one phase has used of one model."""

    phase: Phase
    model: str
    used: Used


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run's model calls cost.

    Attributes:
        lines: one for each phase and model that was asked.
    """

    lines: tuple[Line, ...] = ()

    @property
    def total(self) -> Used:
        """All of it."""
        return _sum(line.used for line in self.lines)

    @property
    def by_phase(self) -> dict[str, Used]:
        """By what the calls were for, in the order of a run."""
        found = self._by(lambda line: line.phase)
        return {phase: found[phase] for phase in PHASES if phase in found}

    @property
    def by_model(self) -> dict[str, Used]:
        """By the model that was asked, as the user wrote its name."""
        return self._by(lambda line: line.model)

    @property
    def usd(self) -> float:
        """US dollars in all."""
        return self.total.usd

    @property
    def would_be_usd(self) -> float:
        """What it would have cost with the strong model alone."""
        return self.total.would_be_usd

    @property
    def saved(self) -> Saved:
        """What was saved, each way apart."""
        return self.total.saved

    def models_of(self, phase: str) -> tuple[str, ...]:
        """The models that were asked in `phase`."""
        return tuple(dict.fromkeys(line.model for line in self.lines if line.phase == phase))

    def _by(self, name_of: Callable[[Line], str]) -> dict[str, Used]:
        names = dict.fromkeys(map(name_of, self.lines))
        return {name: _sum(line.used for line in self.lines if name_of(line) == name) for name in names}


def _sum(parts: Iterable[Used]) -> Used:
    return reduce(Used.__add__, parts, Used())


def charged(lines: tuple[Line, ...], phase: Phase, model: str, used: Used) -> tuple[Line, ...]:
    """`lines` with `used` added to that of the phase and the model."""
    for place, line in enumerate(lines):
        if line.phase == phase and line.model == model:
            return (*lines[:place], Line(phase, model, line.used + used), *lines[place + 1 :])
    return (*lines, Line(phase, model, used))


def settled(
    model: str, usage: Usage, usd: float, uncached_usd: float | None = None, strong_usd: float | None = None
) -> Used:
    """What one reply used.

    Args:
        model: that gave it.
        usage: its tokens.
        usd: what it cost.
        uncached_usd: what it would have cost without the provider's cache; None where nobody knows the price.
        strong_usd: the price of the same tokens on the strong model; None where nobody knows, or this is it.
    """
    tokens = usage.input_tokens + usage.output_tokens
    known = bool(usd) or uncached_usd is not None or model.startswith("local:")
    return Used(
        calls=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        usd=usd,
        unpriced=0 if known or not tokens else 1,
        read_tokens=usage.cache_read_tokens,
        provider_usd=0.0 if uncached_usd is None else uncached_usd - usd,
        moved_tokens=tokens if known and strong_usd is not None else 0,
        tiers_usd=strong_usd - usd if known and strong_usd is not None else 0.0,
    )


def uncached(price: Price, usage: Usage) -> float:
    """What `usage` would have cost, in US dollars, had the provider's cache neither read nor written anything."""
    if usage.cache_read_tokens or usage.cache_write_tokens or usage.cache_write_1h_tokens:
        usage = replace(usage, cache_read_tokens=0, cache_write_tokens=0, cache_write_1h_tokens=0)
    return price(usage)
