"""What a store promises: an append-only journal of runs, values kept aside by hash, a cache of model replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol

from agentnb.events import Record

__all__ = ["NO_ROWS", "Hold", "News", "Progress", "ReplyCache", "Store"]

Progress = Callable[[int, int], object]
"""Told how much is done, and how much there is to do."""

NO_ROWS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class News:
    """What has been kept since a mark.

    Attributes:
        mark: what to give the next time.
        runs: those with new records, and of each the number of a record in its newest commit.
        how: "more": the others are as they were; "fewer": these are all that are left, for some were taken away;
            "other": these are all, and what was known before is of no use, as where the store is another.
    """

    mark: str
    runs: Mapping[str, int]
    how: Literal["more", "fewer", "other"]


class Hold(Protocol):
    """A run that nobody else may drive until it is let go; a process that ends lets go of it."""

    def release(self, *, ended: bool) -> None:
        """Let go of it; the same when called again.

        Args:
            ended: True where nobody will want it again soon.
        """


class Store(Protocol):
    """Where runs are kept. Every method may be called from any thread."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    def new_run_id(self) -> str:
        """An id that no run of this store has: short, pronounceable, counted."""

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        """Keep `records`, the values that they refer to and `rows`: all of them, durably, or none.

        Args:
            run: the run's id.
            records: one or more, in order, following what the run already has.
            blobs: JSON texts by their SHA-256.
            rows: JSON texts by keys that nothing is kept under yet, such as claims in the ledger.

        Raises:
            RunConflict: somebody else has appended a record with the same place.
            KeyTaken: somebody else has kept a row under one of the keys.
            StoreError: it could not be written; nothing of it was kept.
        """

    def read(self, run: str, after: int = -1) -> Iterable[Record]:
        """Records of a run, in order.

        Args:
            run: the run's id.
            after: the last record of a commit: those that follow it are read; all, if left out.

        Raises:
            RunNotFound: there is no such run.
            DamagedRecord: a record cannot be read, is not what was written, or is missing.
        """

    def last(self, run: str) -> Record:
        """The last record of a run. Raises like `read`."""

    def first(self, run: str) -> Record:
        """The first record of a run. Raises like `read`."""

    def seals(self, run: str, start: int = 0) -> Sequence[tuple[int, str]]:
        """(first record, seal) of each commit of a run from record `start` on, in order; none in a store without."""

    def blob(self, digest: str) -> str:
        """The JSON text of that SHA-256.

        Raises:
            DamagedRecord: it is not there, or does not have that hash.
        """

    def hold(self, run: str) -> Hold:
        """The run, for whoever drives it.

        Raises:
            RunHeld: somebody else has it, in this process or another.
        """

    def add_row(self, key: str, text: str) -> bool:
        """Keep `text` under `key`, durably and for ever; False where something is kept there already."""

    def rows(self, prefix: str) -> list[tuple[str, str]]:
        """(key, text) of all rows whose key begins so, in the order of their keys."""

    def last_row(self, prefix: str) -> tuple[str, str] | None:
        """The last of `rows(prefix)`, or None where there is none."""

    def row(self, key: str) -> str | None:
        """The text kept under exactly `key`, or None."""

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""

    def is_driven(self, run: str) -> bool:
        """True where somebody drives the run now."""

    @property
    def folder(self) -> Path | None:
        """Where what is derived from it may be kept beside it; None where it leaves nothing behind."""

    def since(self, mark: str) -> News:
        """Which runs have new records since `mark` was given; all, where it is "" or not of this store as it is."""


class ReplyCache(Protocol):
    """Model replies by the key of their request; it may forget, and is never the only copy."""

    def get(self, key: str) -> str | None:
        """The JSON text kept under `key`, or None."""

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
