"""Ids of spans that are said beforehand: those that follow from a run's records, whichever process makes the span."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Generator", "Ids"]


class Generator(Protocol):
    """Where OpenTelemetry's SDK takes the ids of new spans from."""

    def generate_trace_id(self) -> int:
        """An id of 128 bits, not 0."""

    def generate_span_id(self) -> int:
        """An id of 64 bits, not 0."""


class Ids:
    """Ids that are said beforehand, and the usual ones where none are: a generator for OpenTelemetry's SDK."""

    def __init__(self, usual: Generator) -> None:
        self._usual = usual
        self._said = threading.local()

    @contextmanager
    def said(self, trace: int, span: int) -> Iterator[None]:
        """The next span that this thread starts is `span`, and of `trace` where it has no parent."""
        self._said.ids = trace, span
        try:
            yield
        finally:
            self._said.ids = None

    def generate_trace_id(self) -> int:
        """The trace that was said."""
        ids: tuple[int, int] | None = getattr(self._said, "ids", None)
        return ids[0] if ids else self._usual.generate_trace_id()

    def generate_span_id(self) -> int:
        """The span that was said."""
        ids: tuple[int, int] | None = getattr(self._said, "ids", None)
        return ids[1] if ids else self._usual.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """True: a hash is as good, for whoever samples by it."""
        return True
