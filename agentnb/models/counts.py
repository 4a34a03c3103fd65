"""What a provider says it used, read with care: a count that cannot be true is none."""

from __future__ import annotations

from collections.abc import Mapping

from agentnb.budget import Usage
from agentnb.models.base import ModelRequest, input_bound

__all__ = ["at_most", "count", "field", "usage_of"]


def field(source: object, *path: str) -> object:
    """What stands at `path` below `source`, attribute or key, or None where nothing does.

    The SDKs do not validate: what a server leaves out is no attribute at all, and what they do not know is a dict.
    """
    for name in path:
        source = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    return source


def count(source: object, *path: str) -> int | None:
    """The number of tokens at `path` below `source`, or None where there is none: no whole number, or below 0."""
    value = field(source, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage_of(  # a usage has so many parts
    total_input: int,
    output: int,
    *,
    read: int | None = None,
    written: int | None = None,
    written_1h: int | None = None,
    reasoning: int | None = None,
    terms: tuple[str, ...] = (),
) -> Usage:
    """The usage with each part held within its whole: a server that counts wrongly must not stop a run at its price."""
    cached = min(read or 0, total_input)
    kept = min(written or 0, total_input - cached)
    return Usage(
        total_input,
        output,
        cached,
        kept,
        cache_write_1h_tokens=min(written_1h or 0, kept),
        reasoning_tokens=min(reasoning or 0, output),
        terms=terms,
    )


def at_most(request: ModelRequest) -> Usage:
    """The most that `request` can have used, for a server that sent no count: a call is never taken to be free."""
    return Usage(input_bound(request), request.max_output_tokens, uncounted=True)
