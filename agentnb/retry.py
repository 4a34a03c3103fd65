"""How long to wait before the same call is made again: of a model and of a tool alike."""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["wait_s"]

_FIRST_S = 0.5
_LONGEST_S = 30.0
_DOUBLINGS = 6  # half a second doubled six times is more than the longest; a power of any attempt could overflow


def wait_s(attempt: int, retry_after_s: float | None, *, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `attempt` has failed: half of 0.5, 1, 2, … 30 s up to the whole of it, at random.

    Never less than `retry_after_s`, which may be longer than 30 s: whether so long is waited is the caller's matter.

    Args:
        attempt: 1, 2, …: the number of the attempt that failed.
        retry_after_s: seconds that the server asks to wait, or None; a NaN counts as None.
        jitter: a number from 0 to 1, so that callers that failed together do not come back together.
    """
    # By hand, since tenacity's strategies take the state of its own loop, and their random numbers cannot be passed in.
    # Half of it is certain: a wait near nothing would spend an attempt on a server that had no time to recover.
    most = min(_FIRST_S * 2.0 ** min(max(attempt - 1, 0), _DOUBLINGS), _LONGEST_S)
    wait = most * (1 + jitter()) / 2
    return wait if retry_after_s is None else max(wait, retry_after_s)  # in this order: a NaN is passed over
