"""Whoever is told what a run did, once that is on the disk: it sees what the journal holds, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from agentnb.errors import ConfigError
from agentnb.events import Record
from agentnb.runner import Runner
from agentnb.store.base import NO_ROWS, Store

__all__ = ["Observer", "observed", "watched"]


class Observer(Protocol):
    """Told of each commit of an agent's runs, and of the runs inside them. No method raises, or waits for anything."""

    def keeping(self, run: str, records: Sequence[Record]) -> Mapping[str, str]:
        """Rows to be kept with `records`, which are about to be committed: JSON texts by their keys."""

    def told(self, store: Store, run: str, records: Sequence[Record]) -> None:
        """Take in `records` of `run`, which `store` has just made durable."""

    def calling(self, run: str) -> AbstractContextManager[object]:
        """What a tool's code runs in, on the thread that it runs on."""


class _Observed:
    """A store that tells an observer of each commit, after it was made; everything else is the store's own."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        self._store.append(run, records, blobs, {**rows, **self._observer.keeping(run, records)})
        self._observer.told(self._store, run, records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def observed(store: Store, observer: Observer | None) -> Store:
    """`store`, with `observer` told of each commit; the store itself where there is none.

    Raises:
        ConfigError: `observer` is no Observer.
    """
    if observer is not None and not callable(getattr(observer, "told", None)):
        raise ConfigError(f"telemetry={observer!r} is nobody to tell: give agentnb.Telemetry(), or leave it out")
    return store if observer is None else cast("Store", _Observed(store, observer))


def watched(runner: Runner, observer: Observer | None, run: str) -> Runner:
    """`runner`, with what it runs for `run` in the observer's surroundings, on whichever thread that is."""
    if observer is None:
        return runner

    def around(function: Callable[[], Any], timeout_s: float) -> Any:
        def work() -> Any:
            with observer.calling(run):
                return function()

        return runner(work, timeout_s)

    return around
