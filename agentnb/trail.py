"""An immutable sequence that grows at its end at the same cost whatever its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Trail"]

T = TypeVar("T")


class Trail(Generic[T]):
    """An immutable sequence whose `with_last` costs the same at any length.

    Versions share one list, each seeing its own first `n` items; only a second branch from an older version copies. A
    tuple would copy at every step: 10 000 steps would be 50 million copies.
    """

    __slots__ = ("_items", "_n")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)
        self._n = len(self._items)

    def with_last(self, item: T) -> Trail[T]:
        """This trail with `item` at its end."""
        items = self._items if len(self._items) == self._n else self._items[: self._n]
        items.append(item)
        longer: Trail[T] = Trail.__new__(Trail)
        longer._items, longer._n = items, self._n + 1
        return longer

    def last(self, n: int) -> list[T]:
        """The last `n` items, or all where there are fewer."""
        return self._items[max(0, self._n - n) : self._n]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, place: int) -> T:
        if not 0 <= place < self._n:
            raise IndexError(place)
        return self._items[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items[: self._n])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trail) and self._n == other._n and self.last(self._n) == other.last(other._n)

    def __hash__(self) -> int:
        return hash(self._n)

    def __repr__(self) -> str:
        return f"Trail({self.last(self._n)!r})"
