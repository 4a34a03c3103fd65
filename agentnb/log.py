"""The open run: its state, what is not durable yet, and its clock. The only place that appends."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from agentnb.errors import DamagedRecord, Interrupted, NotJSON, StoreError
from agentnb.events import DURABLE_AT_ONCE, Event, Kept, Record, RunSuspended
from agentnb.plan import JSON, UnmetReference
from agentnb.state import NEW, RunState, apply, fold
from agentnb.store.base import Store

__all__ = ["Clock", "RunLog"]

INLINE: Final = 400
"""Characters of JSON up to which a value stays in its record; longer ones are kept aside, once, under their hash."""
_REMEMBERED: Final = 16
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
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
        records: what is kept of it already.
        clock: where times come from.
    """

    def __init__(self, store: Store, run: str, records: Iterable[Record] = (), clock: Clock | None = None) -> None:
        self.store = store
        self.run = run
        self.clock = clock or Clock()
        history = list(records)
        self.state: RunState = fold(history, NEW)
        self._waiting: list[Record] = []
        self._blobs: dict[str, str] = {}
        self._values: OrderedDict[str, JSON] = OrderedDict()
        self._lock = threading.RLock()
        self._revoked = False
        gap = max(0.0, self.clock.wall() - history[-1].at) if history else 0.0
        self._zero = self.clock.monotonic() - self.state.t - gap

    def now(self) -> float:
        """Seconds on the run's own clock."""
        return max(self.state.t, self.clock.monotonic() - self._zero)

    def append(self, *events: Event) -> tuple[Record, ...]:
        """Take in `events`, in one commit; returns the records that are durable now and were not before.

        Raises:
            IllegalTransition: the state does not admit one of them.
            Interrupted: the run was taken away from this thread, see `revoke`.
            StoreError: they could not be kept.
        """
        with self._lock:
            if self._revoked:
                raise Interrupted(f"{self.run} was suspended")
            for event in events:
                record = Record(self.state.seq + 1, self.clock.wall(), self.now(), event)
                self.state = apply(self.state, record)
                self._waiting.append(record)
            return self.flush() if any(isinstance(event, DURABLE_AT_ONCE) for event in events) else ()

    def suspend(self, event: RunSuspended) -> tuple[Record, ...]:
        """Append `event`, with the time that went into what it cuts short: that was work too."""
        at_work = (self.state.inflight or self.state.claim) and not event.withdrawn
        return self.append(replace(event, seconds=self.now() - self.state.t) if at_work else event)

    def flush(self) -> tuple[Record, ...]:
        """Make everything durable; returns the records that were not before."""
        with self._lock:
            if not self._waiting:
                return ()
            durable, blobs = self._waiting, self._blobs
            self._waiting, self._blobs = [], {}
            try:
                self.store.append(self.run, durable, blobs)
            except BaseException:
                if not self._has(durable[-1].seq):  # an interrupt may come when the commit is made already
                    self._waiting, self._blobs = durable + self._waiting, blobs | self._blobs
                raise
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
                return self.suspend(event)
            finally:
                self._revoked = True

    def keep(self, value: JSON) -> Kept:
        """`value` as a record holds it; a long one becomes durable with the next commit.

        Raises:
            NotJSON: it has no JSON form; says where.
        """
        try:
            text = _ENCODER.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise NotJSON(f"the value has no JSON form: {error}") from error
        whole = text if text.isascii() else text.encode("utf-8", "replace").decode()  # half a surrogate pair becomes ?
        return self.keep_text(whole, value if whole == text else None)

    def keep_text(self, text: str, value: JSON = None) -> Kept:
        """JSON `text` as a record holds it."""
        if len(text) <= INLINE:
            return Kept(len(text), text=text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._blobs[digest] = text
        self._remember(digest, value if value is not None else json.loads(text))
        return Kept(len(text), blob=digest)

    def value(self, kept: Kept) -> JSON:
        """The value that `kept` stands for.

        Raises:
            DamagedRecord: it is not in the store, or not JSON.
        """
        if kept.text is not None:
            return self._parsed(kept.text)
        digest = kept.blob or ""
        if digest not in self._values:
            self._remember(digest, self._parsed(self.store.blob(digest)))
        return self._values[digest]

    def _parsed(self, text: str) -> JSON:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedRecord(f"{self.run} holds a value that is not JSON: {error}") from error

    def result_of(self, step: str) -> JSON:
        """The result of a finished step.

        Raises:
            UnmetReference: it is not finished, or has no result.
        """
        digits = step[1:]
        place = int(digits) - 1 if len(digits) <= _DIGITS else len(self.state.outcomes)
        if place >= len(self.state.outcomes):
            raise UnmetReference(f"${step} refers to a step that has not been carried out")
        outcome = self.state.outcomes[place]
        if outcome.result is None:
            raise UnmetReference(f"${step} refers to a step that has no result: {outcome.message or outcome.status}")
        return self.value(outcome.result)

    def _remember(self, digest: str, value: JSON) -> None:
        self._values[digest] = value
        while len(self._values) > _REMEMBERED:
            self._values.popitem(last=False)
