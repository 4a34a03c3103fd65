"""A circuit breaker: a tool that keeps failing is left alone for a while, and then tried with one call.

    closed ──failures in a row──> open ──cooldown──> half_open ──the probe succeeds──> closed
                                   ^                     │
                                   └──the probe fails────┘

While it is half open one call at a time may go, the probe. Each that fails doubles the cooldown, up to ten minutes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Final, Literal, Self
from weakref import WeakKeyDictionary

from agentnb.errors import ConfigError

__all__ = ["Breaker", "Circuit", "breaker_of"]

# Not pybreaker (1.4.1): its `call` holds a lock for as long as the function runs, so that calls that could
# run side by side go in turn; its `calling` lets go of the lock before the call, and so lets many probes through.

Circuit = Literal["closed", "open", "half_open"]

_LONGEST_COOLDOWN_S = 600.0
_LONGEST_MESSAGE = 200


class Breaker:
    """Whether a tool may be called, by how its last calls went; may be shared between threads.

    Each `begin` that returned True is followed by exactly one of `succeeded`, `failed` and `abandoned`, from whichever
    thread: put `abandoned` where an interrupt comes out too, since a probe that nobody ends is waited for.

    Two breakers are never equal. A copy, a deep one too, is the breaker itself: what it guards is one service, however
    many copies of a tool there are. Pickled, it keeps its settings and begins anew, closed, on `time.monotonic`.

    Args:
        failures: so many counted failures in a row open it.
        cooldown_s: seconds that it then stays open. They double each time that a probe fails, up to ten minutes (or
            `cooldown_s`, where that is longer), and are as before once a probe succeeds.
        clock: seconds from a fixed moment on, never going back.

    Raises:
        ConfigError: `failures` is under 1, or `cooldown_s` no positive finite number.
    """

    def __init__(
        self, *, failures: int = 5, cooldown_s: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if failures < 1:
            raise ConfigError(f"a breaker opens after 1 failure or more, not after {failures}: raise `failures`")
        if not (math.isfinite(cooldown_s) and cooldown_s > 0):
            raise ConfigError(f"cooldown_s is {cooldown_s}: give a positive, finite number of seconds")
        self._failures, self._cooldown_s, self._clock = failures, cooldown_s, clock
        self._lock = Lock()
        self._in_a_row = 0
        self._message = ""
        self._under_way = 0
        self._probing = False
        self._cooling_s = cooldown_s
        self._until: float | None = None  # None: closed; else when it is, or was, open until

    @property
    def state(self) -> Circuit:
        """`closed`: calls may go; `open`: none may; `half_open`: one may, to see whether it works again."""
        with self._lock:
            return self._state()

    def refusal(self) -> str:
        """Why no call may begin now, in one sentence with the numbers, or "" where one may."""
        with self._lock:
            return self._refusal()

    def trouble(self) -> str:
        """What has gone wrong while it is not closed, without the seconds, which no two runs see alike; else ""."""
        with self._lock:
            return "" if self._until is None else self._trouble()

    def begin(self) -> bool:
        """True where a call may go, which is then under way; half open it is the probe, and goes alone."""
        with self._lock:
            if self._refusal():
                return False
            self._under_way += 1
            self._probing = self._until is not None
            return True

    def succeeded(self) -> None:
        """The call did what it should: nothing counts any more, and a probe closes the circuit."""
        with self._lock:
            if self._ended():
                self._in_a_row, self._message = 0, ""
                self._until, self._cooling_s = None, self._cooldown_s

    def failed(self, message: str) -> None:
        """The call failed, and `message` says how: enough such in a row, or a probe alone, open the circuit."""
        with self._lock:
            probe = self._probing
            if not self._ended():
                return
            self._in_a_row += 1
            self._message = _one_line(message)
            if probe:
                self._cooling_s = min(2 * self._cooling_s, max(_LONGEST_COOLDOWN_S, self._cooldown_s))
            if self._in_a_row >= self._failures:  # as it is after a probe: only a success ends the row
                self._until = self._clock() + self._cooling_s

    def abandoned(self) -> None:
        """The call says nothing of the service: it was cancelled, or the caller's own mistake. Another may probe."""
        with self._lock:
            self._ended()

    def _ended(self) -> bool:
        """One call less is under way; True where its outcome counts.

        It does not while the circuit is open: such a call had begun before, and the probe decides.
        """
        counts = self._until is None or self._probing
        self._under_way = max(self._under_way - 1, 0)
        self._probing = False
        return counts

    def _state(self) -> Circuit:
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until else "half_open"

    def _refusal(self) -> str:
        if self._until is None:
            return ""
        left, said = self._until - self._clock(), self._trouble()
        if left > 0:
            return f"{said}; it is not called for another {math.ceil(left)} s"
        # Calls from before it opened are waited for as well: who ends a call does not say which, so that alone the
        # probe may be under way, or the outcome of another could be taken for its own.
        if self._under_way:
            what = "a call that tries whether it works again" if self._probing else "a call that began before"
            return f"{said}; it is not called until {what} has ended"
        return ""

    def _trouble(self) -> str:
        many = "1 call failed" if self._in_a_row == 1 else f"{self._in_a_row} calls failed in a row"
        return f"{many}, the last with: {self._message or '(no message)'}"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], Breaker], tuple[()]]:
        return partial(Breaker, failures=self._failures, cooldown_s=self._cooldown_s), ()


_OF_FUNCTIONS: Final[WeakKeyDictionary[Callable[..., Any], Breaker]] = WeakKeyDictionary()


def breaker_of(function: Callable[..., Any]) -> Breaker:
    """The breaker of a plain function: the same one for as long as there is the function, whoever asks for it.

    A function that was made a tool has the tool's own, which all share that have the tool.
    """
    try:
        return _OF_FUNCTIONS.setdefault(function, Breaker())
    except TypeError:  # what cannot be hashed, or kept by a weak reference, is not known again
        return Breaker()


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
