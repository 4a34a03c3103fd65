"""Which beginnings of a request are marked for a provider's prompt cache, where the provider wants marks.

Only Anthropic does. What is marked costs 1.25 times its price when it is written and 0.1 times when it is read within
five minutes: a mark costs a quarter where no second call shares it, and pays from the second call on (1.35 against 2).

A call shares what another one wrote only if their reply schemas are the same, because the provider puts the schema
before everything else. So what is asked for once a run or once in many steps (a plan, a summary, the answer) is not
marked: nothing would read it in time. All that is asked once a step is marked, as far as the beginning is long enough
for the model; the provider ignores shorter ones.

There are four marks. Parts are added at the end, and the provider finds what was written for a beginning with fewer of
them: so the last part has one. The first three have the others, for when something changes behind them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentnb.budget import Phase

__all__ = ["MOST_MARKS", "least_tokens", "marks"]

MOST_MARKS = 4
"""Anthropic takes no more in one request."""

_SELDOM: frozenset[Phase] = frozenset({"plan", "summarise", "answer"})
_BYTES_PER_TOKEN = 4

_LEAST_TOKENS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"opus-4-[56]|haiku-4-5"), 4096),
    (re.compile(r"opus-4-7|3-haiku|3-5-haiku|haiku-3"), 2048),
    (re.compile(r"(?:opus|fable|mythos)-5"), 512),
)
_LEAST_OF_OTHERS = 1024


def least_tokens(name: str) -> int:
    """The fewest tokens that the Claude model `name` caches.

    >>> [least_tokens(name) for name in ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-5", "claude-3-haiku")]
    [1024, 4096, 512, 2048]
    """
    return next((least for pattern, least in _LEAST_TOKENS if pattern.search(name)), _LEAST_OF_OTHERS)


def marks(name: str, phase: Phase, parts: Sequence[str]) -> frozenset[int]:
    """The places in `parts` after which a cache mark pays, at most four: the first three and the last.

    Args:
        name: of the Claude model.
        phase: what the call is for.
        parts: what is sent, in order and without the part that is new in every call.
    """
    if phase in _SELDOM:
        return frozenset()
    least, so_far, found = least_tokens(name) * _BYTES_PER_TOKEN, 0, []
    for place, part in enumerate(parts):
        so_far += len(part.encode("utf-8", "surrogatepass"))
        if part and so_far >= least:
            found.append(place)
    return frozenset((*found[: MOST_MARKS - 1], *found[-1:]))
