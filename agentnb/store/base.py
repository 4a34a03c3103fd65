"""What a store promises: an append-only journal of runs, values kept aside by hash, a cache of model replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from agentnb.events import Record

__all__ = ["ReplyCache", "Store"]


class Store(Protocol):
    """Where runs are kept. Every method may be called from any thread."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    def new_run_id(self) -> str:
        """An id that no run of this store has: short, pronounceable, counted."""

    def append(self, run: str, records: Sequence[Record], blobs: Mapping[str, str]) -> None:
        """Keep `records` and the values that they refer to: all of them, durably, or none.

        Args:
            run: the run's id.
            records: one or more, in order, following what the run already has.
            blobs: JSON texts by their SHA-256.

        Raises:
            RunConflict: somebody else has appended a record with the same place.
            StoreError: it could not be written; nothing of it was kept.
        """

    def read(self, run: str) -> Iterable[Record]:
        """All records of a run, in order.

        Raises:
            RunNotFound: there is no such run.
            DamagedRecord: a record cannot be read, or one is missing.
        """

    def last(self, run: str) -> Record:
        """The last record of a run. Raises like `read`."""

    def first(self, run: str) -> Record:
        """The first record of a run. Raises like `read`."""

    def blob(self, digest: str) -> str:
        """The JSON text of that SHA-256.

        Raises:
            DamagedRecord: it is not there, or does not have that hash.
        """

    def runs(self) -> list[str]:
        """Ids of all runs, oldest first."""


class ReplyCache(Protocol):
    """Model replies by the key of their request; it may forget, and is never the only copy."""

    def get(self, key: str) -> str | None:
        """The JSON text kept under `key`, or None."""

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
