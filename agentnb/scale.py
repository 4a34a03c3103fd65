"""Round numbers for an axis, and the unit that a time is best told in."""

from __future__ import annotations

import math
from typing import Final

from agentnb.picture import Axis

__all__ = ["ticks_of", "unit_of"]

_UNITS: Final = ((7200.0, 3600.0, "hours"), (150.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
"""From how many seconds on, the length of the unit, and its name."""


def unit_of(seconds: float) -> tuple[float, str]:
    """The unit in which so long a time is told: its length in seconds, and its name.

    >>> unit_of(90), unit_of(600)
    ((1.0, 'seconds'), (60.0, 'minutes'))
    """
    return next((length, name) for least, length, name in _UNITS if seconds >= least)


def ticks_of(axis: Axis, most: int) -> list[tuple[float, str]]:
    """The axis' ticks: its own, or at most about `most` at round numbers.

    >>> ticks_of(Axis(low=0, high=0.31, prefix="$"), 4)
    [(0.0, '$0'), (0.1, '$0.1'), (0.2, '$0.2'), (0.3, '$0.3')]
    """
    if axis.ticks is not None:
        return list(axis.ticks)
    step = _step((axis.high - axis.low) / max(1, most))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    values = [round(n * step, 12) for n in range(first, last + 1)]
    return [(value, f"{axis.prefix}{_plain(value, digits)}{axis.suffix}") for value in values]


def _plain(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace(",", " ") if value else "0"


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, … that is not under `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))
