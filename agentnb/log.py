"""The open run: its state, what is not durable yet, and its clock. The only place that appends."""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from agentnb.anchors import anchor_row
from agentnb.checkpoint import START, Mark, checkpoint, is_due, load
from agentnb.codec import encode
from agentnb.errors import DamagedRecord, Interrupted, KeyTaken, RunConflict, StoreError
from agentnb.events import DURABLE_AT_ONCE, BudgetExtended, Event, Kept, Record, RunSuspended
from agentnb.ledger import rows_of
from agentnb.plan import JSON, UnmetReference
from agentnb.redact import NOTHING_NAMED, Redactor
from agentnb.state import NEW, RunState, Status
from agentnb.store.base import NO_ROWS, Store
from agentnb.transitions import apply, fold
from agentnb.values import digest, json_text

__all__ = ["Clock", "RunLog"]

INLINE: Final = 400
"""Characters of JSON up to which a value stays in its record; longer ones are kept aside, once, under their hash."""
_REMEMBERED: Final = 16
_LOG: Final = logging.getLogger(__name__)
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


class _Open(NamedTuple):
    """All that changes as a run goes on, in one value: an interrupt, at whatever line, finds it before or after.

    Attributes:
        state: after all records.
        mark: what the checkpoints hold.
        waiting: the records that are not durable yet.
        rows: those that become durable with them.
    """

    state: RunState
    mark: Mark
    waiting: tuple[Record, ...] = ()
    rows: Mapping[str, str] = NO_ROWS


def _taken_in(now: _Open, events: Sequence[Event], recorded: Callable[[RunState, Event], Record]) -> _Open:
    """`now`, with `events` waiting."""
    state, waiting, rows = now.state, now.waiting, now.rows
    for event in events:
        record = recorded(state, event)
        waiting = (*waiting, record)
        if fresh := rows_of(state, event):
            rows = {**rows, **fresh}
        state = apply(state, record)
    return _Open(state, now.mark, waiting, rows)


def _checkpoint(run: str, now: _Open) -> tuple[dict[str, str], Mark]:
    """The row of a checkpoint where one is due; none where it cannot be made, for it only saves time."""
    if not is_due(now.state, now.mark):
        return {}, now.mark
    try:
        return checkpoint(run, now.state, now.mark)
    except Exception:  # noqa: BLE001 - whatever it is, the records themselves are kept
        _LOG.exception("no checkpoint of %s could be made", run)
        return {}, replace(now.mark, seq=now.state.seq)


class RunLog:
    """A run that is being driven: append events, read the state that follows from them.

    An outcome waits in memory for the next intent and shares its commit; nothing is done, shown or left between the
    two.

    Args:
        store: where it is kept.
        run: its id.
        clock: where times come from.
        kept: of a run that is there already: its state, and what its checkpoints hold; see `reopened`.
        redact: takes secrets out of all that is appended and kept, before anything else sees it.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        clock: Clock | None = None,
        kept: tuple[RunState, Mark] = (NEW, START),
        redact: Redactor = NOTHING_NAMED,
    ) -> None:
        self.store = store
        self.run = run
        self.clock = clock or Clock()
        self.redact = redact
        self._open = _Open(*kept)
        self._blobs: dict[str, str] = {}
        self._values: OrderedDict[str, JSON] = OrderedDict()
        self._derived: OrderedDict[tuple[str, Callable[[JSON, int], str]], str] = OrderedDict()
        self._lock = threading.RLock()
        self._revoked = False
        self._untold: tuple[Record, ...] = ()
        self._tried = -1
        gap = max(0.0, self.clock.wall() - self.state.at) if self.state.seq >= 0 else 0.0
        self._zero = self.clock.monotonic() - self.state.t - gap

    @classmethod
    def reopened(cls, store: Store, run: str, clock: Clock | None = None, redact: Redactor = NOTHING_NAMED) -> RunLog:
        """A run that is in the store.

        Raises:
            RunNotFound: there is no such run.
            DamagedRecord: it cannot be read.
        """
        return cls(store, run, clock, load(store, run), redact)

    def past(self, state: RunState) -> RunLog:
        """This run as it was in `state`, to be read and not appended to; it shares the values that are remembered."""
        was = copy.copy(self)
        was._open, was._revoked = _Open(state, START), True  # noqa: SLF001 - it is of this class
        return was

    @property
    def state(self) -> RunState:
        """What is known, with what is not durable yet; read it from any thread."""
        return self._open.state

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
            clean = [self.redact.value(event) for event in events]
            self._open = _taken_in(self._open, clean, self._record)
            return () if DURABLE_AT_ONCE.isdisjoint(map(type, events)) else self.flush()

    def _record(self, state: RunState, event: Event) -> Record:
        """The next record; a run that has ended waits for nothing, so its clock stands until it goes on."""
        stands = state.status.ended and not isinstance(event, BudgetExtended)
        t = state.t if stands else max(state.t, self.clock.monotonic() - self._zero)
        return Record(state.seq + 1, self.clock.wall(), t, event)

    def adopt(
        self, records: Iterable[Record], values: Mapping[str, str] = NO_ROWS, rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        """Begin a new run with another one's records; they become durable with what is appended, or flushed, next.

        Args:
            records: all of them, in order.
            values: what they refer to and the store may lack, by its SHA-256.
            rows: kept with them.
        """
        with self._lock:
            self._blobs |= values
            taken = tuple(records)
            state = fold(taken, self.state)
            self._open = self._open._replace(state=state, waiting=taken, rows={**self._open.rows, **rows})

    def claim(self, event: Event) -> tuple[Record, ...]:
        """Append one intent whose key other runs may want too.

        Raises:
            KeyTaken: another run was faster. Then, and whatever else is raised before it is kept, it is as if `event`
                had not been appended, and what waited waits on.
        """
        with self._lock:
            before = self._open
            try:
                return self.append(event)
            except BaseException as error:
                # What waited is not to fail with it when it is kept next; an interrupt may come when all is kept.
                if self._open.waiting and not self._holds(self._open.waiting):
                    self._open = before
                if isinstance(error, KeyTaken):
                    self._require_own(before.rows)
                raise

    def _require_own(self, rows: Mapping[str, str]) -> None:
        """Raise RunConflict where one of `rows`, which only this run may add, is there already."""
        if taken := [key for key in rows if self.store.row(key) is not None]:
            self._revoked = True
            raise RunConflict(
                f"{taken[0]} was added meanwhile: another kernel or process drives {self.run}; let one end"
            )

    def last_row(self, prefix: str) -> tuple[str, str] | None:
        """(key, text) of the last row whose key begins with `prefix`, of the store and of what waits to be kept."""
        waiting = [item for item in self._open.rows.items() if item[0].startswith(prefix)]
        return max(waiting) if waiting else self.store.last_row(prefix)

    def suspend(self, event: RunSuspended) -> tuple[Record, ...]:
        """Append `event`, with the time that went into what it cuts short: that was work too."""
        at_work = (self.state.inflight or self.state.claim) and not event.withdrawn
        return self.append(replace(event, seconds=self.now() - self.state.t) if at_work else event)

    def aside(self, make: Callable[[RunState], Event | None]) -> None:
        """Append what `make` gives, durably, from a thread that a call of the run has begun; None appends nothing.

        Nothing comes between what `make` reads in the state and its event. Who drives the run is told with what it
        appends, or flushes, next.

        Raises:
            As `append`.
        """
        with self._lock:
            if self._revoked:
                raise Interrupted(f"{self.run} was suspended")
            if (event := make(self.state)) is not None:
                self._open = _taken_in(self._open, (self.redact.value(event),), self._record)
                self._untold += self._flushed()

    def flush(self) -> tuple[Record, ...]:
        """Make everything durable; returns the records that were not before."""
        with self._lock:
            told = (*self._untold, *self._flushed())
            self._untold = ()
            return told

    def _flushed(self) -> tuple[Record, ...]:
        with self._lock:
            now, blobs = self._open, {**self._blobs}
            if not now.waiting:
                return ()
            more, mark = _checkpoint(self.run, now)
            more |= anchor_row(self.store, self.run, now.state, now.waiting)
            again, self._tried = self._tried == now.waiting[-1].seq, now.waiting[-1].seq
            try:
                self.store.append(self.run, now.waiting, blobs, {**now.rows, **more})
            except RunConflict as conflict:
                # An interrupt may have come when the commit was made already. Else another drives the run: nothing more
                # is added, or its records would lie in between.
                self._revoked = not (again and self._holds(now.waiting))
                if self._revoked:
                    self._open = now._replace(waiting=(), rows=NO_ROWS)
                    raise self._overtaken(conflict) from conflict
            except BaseException:
                if self._holds(now.waiting):
                    self._made_durable(now, blobs, mark)
                raise
            self._made_durable(now, blobs, mark)
            return now.waiting

    def _overtaken(self, conflict: RunConflict) -> RunConflict:
        """What to say of a conflict: that the run was cancelled, where that is what somebody else has appended."""
        with suppress(StoreError):
            there, _ = load(self.store, self.run)
            if there.status is Status.CANCELLED:
                return RunConflict(
                    f"{self.run} was cancelled from another kernel or process while it was driven here, and what came"
                    f" of its last call is not kept: `%agent show {self.run}` shows it"
                )
        return conflict

    def _made_durable(self, was: _Open, blobs: Mapping[str, str], mark: Mark) -> None:
        self._open = _Open(was.state, mark)
        self._blobs = {name: text for name, text in self._blobs.items() if name not in blobs}

    def _holds(self, records: Sequence[Record]) -> bool:
        """True where the store has exactly these records at their place."""
        try:
            there = list(self.store.read(self.run, records[0].seq - 1))[: len(records)]
            return encode(there) == encode(records)
        except StoreError:
            return False

    def revoke(self, how: Callable[[RunState], RunSuspended]) -> tuple[Record, ...]:
        """Append a last event from another thread; whatever the driving thread appends after it is dropped.

        Nothing comes between the state that `how` reads and its event.
        """
        with self._lock:
            try:
                running = self.state.status is Status.IN_PROGRESS  # it may just have ended
                return self.suspend(how(self.state)) if running else ()
            finally:
                self._revoked = True

    def keep(self, value: JSON) -> Kept:
        """`value`, without secrets, as a record holds it; a long one becomes durable with the next commit.

        Raises:
            NotJSON: it has no JSON form; says where.
        """
        text = json_text(value)
        if self.redact(text) is not text:
            value = self.redact.value(value)
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

    def derived(self, kept: Kept, make: Callable[[JSON, int], str]) -> str:
        """The text that `make`, a pure function, makes of a kept value and its size as JSON in characters.

        It is made once, as long as it is remembered.
        """
        if kept.blob is None:
            return make(self.value(kept), kept.size)
        place = (kept.blob, make)
        if place not in self._derived:
            self._derived[place] = make(self.value(kept), kept.size)
            while len(self._derived) > _REMEMBERED:
                self._derived.popitem(last=False)
        return self._derived[place]

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
