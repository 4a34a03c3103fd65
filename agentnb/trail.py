"""An immutable sequence that grows at its end at the same cost whatever its length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Trail"]

T = TypeVar("T")


class _Shared(Generic[T]):
    """What versions of a trail share: items that are here, behind others that are loaded once they are asked for."""

    __slots__ = ("earlier", "here", "load", "loaded")

    def __init__(self, here: list[T], earlier: int = 0, load: Callable[[], list[T]] | None = None) -> None:
        self.here = here
        self.earlier = earlier
        self.load = load
        self.loaded: list[T] | None = None

    def slice(self, start: int, end: int) -> list[T]:
        """The items from `start` to before `end`."""
        if start >= self.earlier or self.load is None:
            return self.here[start - self.earlier : end - self.earlier]
        if self.loaded is None:
            self.loaded = self.load()
        return self.loaded[start:end] + self.here[: max(0, end - self.earlier)]


class Trail(Generic[T]):
    """An immutable sequence whose `with_last` costs the same at any length.

    Versions share one list, each seeing its own first `n` items; only a second branch from an older version copies. A
    tuple would copy at every step: 10 000 steps would be 50 million copies.
    """

    __slots__ = ("_n", "_shared")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._shared = _Shared(list(items))
        self._n = len(self._shared.here)

    @classmethod
    def lazy(cls, n: int, load: Callable[[], list[T]]) -> Trail[T]:
        """A trail of `n` items that `load` gives; it is called once somebody asks for one of them."""
        return cls._of(_Shared([], n, load), n)

    @classmethod
    def _of(cls, shared: _Shared[T], n: int) -> Trail[T]:
        trail: Trail[T] = cls.__new__(cls)
        trail._shared, trail._n = shared, n
        return trail

    def with_last(self, item: T) -> Trail[T]:
        """This trail with `item` at its end."""
        shared = self._shared
        if shared.earlier + len(shared.here) != self._n:
            shared = _Shared(shared.slice(0, self._n))
        shared.here.append(item)
        return self._of(shared, self._n + 1)

    def last(self, n: int) -> list[T]:
        """The last `n` items, or all where there are fewer."""
        return self._shared.slice(max(0, self._n - n), self._n)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, place: int) -> T:
        if not 0 <= place < self._n:
            raise IndexError(place)
        return self._shared.slice(place, place + 1)[0]

    def __iter__(self) -> Iterator[T]:
        return iter(self.last(self._n))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trail) and self._n == other._n and self.last(self._n) == other.last(other._n)

    def __hash__(self) -> int:
        return hash(self._n)

    def __repr__(self) -> str:
        return f"Trail({self.last(self._n)!r})"
