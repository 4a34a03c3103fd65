"""The open run: its state, what is not durable yet, and its clock. The only place that appends."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from agentnb.checkpoint import START, Mark, checkpoint, is_due, load
from agentnb.errors import DamagedRecord, Interrupted, KeyTaken, RunConflict, StoreError
from agentnb.events import DURABLE_AT_ONCE, Event, Kept, Record, RunSuspended
from agentnb.ledger import rows_of
from agentnb.plan import JSON, UnmetReference
from agentnb.state import NEW, RunState, Status
from agentnb.store.base import Store
from agentnb.transitions import apply
from agentnb.values import digest, json_text

__all__ = ["Clock", "RunLog"]

INLINE: Final = 400
"""Characters of JSON up to which a value stays in its record; longer ones are kept aside, once, under their hash."""
_REMEMBERED: Final = 16
_DIGITS: Final = 9  # of a step's number; int() itself refuses thousands, with an error of its own


@dataclass(frozen=True, slots=True)
class Clock:
    """Where times come from; tests pass their own.

    Attributes:
        wall: seconds since 1970, may jump.
        monotonic: seconds since some moment, never goes back.
        stopped: True in a replay, where no time passes: what was recorded counts, however slow this machine is.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.perf_counter
    stopped: bool = False


class RunLog:
    """A run that is being driven: append events, read the state that follows from them.

    An outcome waits in memory for the next intent and shares its commit; nothing is done, shown or left between the
    two.

    Args:
        store: where it is kept.
        run: its id.
        clock: where times come from.
        kept: of a run that is there already: its state, and what its checkpoints hold; see `reopened`.
    """

    def __init__(
        self, store: Store, run: str, clock: Clock | None = None, kept: tuple[RunState, Mark] = (NEW, START)
    ) -> None:
        self.store = store
        self.run = run
        self.clock = clock or Clock()
        self.state, self._mark = kept
        self._waiting: list[Record] = []
        self._blobs: dict[str, str] = {}
        self._rows: dict[str, str] = {}
        self._values: OrderedDict[str, JSON] = OrderedDict()
        self._lock = threading.RLock()
        self._revoked = False
        gap = max(0.0, self.clock.wall() - self.state.at) if self.state.seq >= 0 else 0.0
        self._zero = self.clock.monotonic() - self.state.t - gap

    @classmethod
    def reopened(cls, store: Store, run: str, clock: Clock | None = None) -> RunLog:
        """A run that is in the store.

        Raises:
            RunNotFound: there is no such run.
            DamagedRecord: it cannot be read.
        """
        return cls(store, run, clock, load(store, run))

    def now(self) -> float:
        """Seconds on the run's own clock."""
        return max(self.state.t, self.clock.monotonic() - self._zero)

    def append(self, *events: Event) -> tuple[Record, ...]:
        """Take in `events`, in one commit; returns the records that are durable now and were not before.

        Raises:
            IllegalTransition: the state does not admit one of them.
            Interrupted: the run was taken away from this thread, see `revoke`.
            KeyTaken: another run has claimed the same call; `events` are not taken in.
            StoreError: they could not be kept.
        """
        with self._lock:
            if self._revoked:
                raise Interrupted(f"{self.run} was suspended")
            for event in events:
                before = self.state
                record = Record(before.seq + 1, self.clock.wall(), self.now(), event)
                self.state = apply(before, record)
                self._rows |= rows_of(before, event)
                self._waiting.append(record)
            # What the ledger says is read by other runs, and by the next step of this one.
            return self.flush() if self._rows or any(isinstance(event, DURABLE_AT_ONCE) for event in events) else ()

    def adopt(self, records: Iterable[Record], event: Event) -> tuple[Record, ...]:
        """Begin a new run with another one's records, and `event` behind them, in one commit."""
        with self._lock:
            for record in records:
                self.state = apply(self.state, record)
                self._waiting.append(record)
            return self.append(event)

    def claim(self, event: Event) -> tuple[Record, ...]:
        """Append one intent whose key other runs may want too.

        Raises:
            KeyTaken: another run was faster; it is as if `event` had not been appended, and what waited waits on.
        """
        with self._lock:
            before, waiting, blobs, rows = self.state, [*self._waiting], {**self._blobs}, {**self._rows}
            try:
                return self.append(event)
            except KeyTaken:
                self.state, self._waiting, self._blobs, self._rows = before, waiting, blobs, rows
                raise

    def suspend(self, event: RunSuspended) -> tuple[Record, ...]:
        """Append `event`, with the time that went into what it cuts short: that was work too."""
        at_work = (self.state.inflight or self.state.claim) and not event.withdrawn
        return self.append(replace(event, seconds=self.now() - self.state.t) if at_work else event)

    def flush(self) -> tuple[Record, ...]:
        """Make everything durable; returns the records that were not before."""
        with self._lock:
            if not self._waiting:
                return ()
            durable, blobs, rows = self._waiting, self._blobs, self._rows
            self._waiting, self._blobs, self._rows = [], {}, {}
            due = is_due(self.state, self._mark)
            more, mark = checkpoint(self.run, self.state, self._mark) if due else ({}, self._mark)
            try:
                self.store.append(self.run, durable, blobs, rows | more)
            except RunConflict:  # another drives it: nothing more is added, or its records would lie in between
                self._revoked = True
                raise
            except BaseException:
                if not self._has(durable[-1].seq):  # an interrupt may come when the commit is made already
                    self._waiting, self._blobs = durable + self._waiting, blobs | self._blobs
                    self._rows = rows | self._rows
                raise
            self._mark = mark
            return tuple(durable)

    def _has(self, seq: int) -> bool:
        try:
            return self.store.last(self.run).seq >= seq
        except StoreError:
            return False

    def revoke(self, event: RunSuspended) -> tuple[Record, ...]:
        """Append a last event from another thread; whatever the driving thread appends after it is dropped."""
        with self._lock:
            try:
                return self.suspend(event) if self.state.status is Status.IN_PROGRESS else ()  # it may just have ended
            finally:
                self._revoked = True

    def keep(self, value: JSON) -> Kept:
        """`value` as a record holds it; a long one becomes durable with the next commit.

        Raises:
            NotJSON: it has no JSON form; says where.
        """
        text = json_text(value)
        if len(text) <= INLINE:
            return Kept(len(text), text=text)
        name = digest(text)
        self._blobs[name] = text
        self._remember(name, json.loads(text) if "?" in text else value)  # as it is read back, whatever was replaced
        return Kept(len(text), blob=name)

    def value(self, kept: Kept) -> JSON:
        """The value that `kept` stands for.

        Raises:
            DamagedRecord: it is not in the store, or not JSON.
        """
        if kept.text is not None:
            return self._parsed(kept.text)
        name = kept.blob or ""
        if name not in self._values:
            self._remember(name, self._parsed(self.store.blob(name)))
        return self._values[name]

    def _parsed(self, text: str) -> JSON:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedRecord(f"{self.run} holds a value that is not JSON: {error}") from error

    def result_of(self, step: str) -> JSON:
        """The result of a finished step, or of the action that it proposed, once that was carried out.

        Raises:
            UnmetReference: it is not finished, or has no result.
        """
        digits = step[1:]
        known = digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS
        place = int(digits) - 1 if known else len(self.state.outcomes)
        if place < 0 or place >= len(self.state.outcomes):
            raise UnmetReference(f"${step} refers to a step that has not been carried out")
        outcome = self.state.outcomes[place]
        settled = self.state.carried_out(outcome.step) if outcome.status == "proposed" else None
        result = settled.result if settled else outcome.result
        if result is None:
            raise UnmetReference(f"${step} refers to a step that has no result: {outcome.message or outcome.status}")
        return self.value(result)

    def _remember(self, name: str, value: JSON) -> None:
        self._values[name] = value
        while len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)
