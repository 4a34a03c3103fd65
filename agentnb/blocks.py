"""What a figure has no room to draw apart, drawn as one: neighbours that would lie in one column of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from agentnb.span import Span

__all__ = ["Block", "blocks_of", "fitted"]

K = TypeVar("K")


@dataclass(slots=True)
class Block:
    """Spans that are drawn as one bar, from `left` to `right` on the axis."""

    left: float
    right: float
    spans: list[Span] = field(default_factory=list)


def blocks_of(bits: Iterable[tuple[float, float, Span]], room: float) -> list[Block]:
    """Neighbours put together where they lie within `room` of the axis; a longer span stays alone.

    Args:
        bits: (left, right, span) of each, in the order of their beginnings.
        room: 0 puts nothing together.
    """
    found: list[Block] = []
    for left, right, span in bits:
        if room and found and right - found[-1].left <= room:
            found[-1].right = max(found[-1].right, right)
            found[-1].spans.append(span)
        else:
            found.append(Block(left, right, [span]))
    return found


def fitted(bits: Mapping[K, Sequence[tuple[float, float, Span]]], length: float, most: int) -> dict[K, list[Block]]:
    """The blocks of each group, few enough to draw: `most` in all, or as few as there can be.

    Args:
        bits: as of `blocks_of`, by group: what looks different is never put together.
        length: of the axis.
        most: how many blocks there may be.
    """
    room = 0.0
    while True:
        found = {key: blocks_of(group, room) for key, group in bits.items()}
        if sum(map(len, found.values())) <= most or room >= length:
            return found
        room = room * 2 or length / most
