"""What is shown and said while a line or a cell is carried out, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["Redact", "hidden", "hiding", "in_force"]

Redact = Callable[[str], str]


def _nothing(text: str) -> str:
    return text


_IN_FORCE: Final[ContextVar[Callable[[], Redact]]] = ContextVar("agentnb_hiding", default=lambda: _nothing)


@contextmanager
def hiding(redact: Callable[[], Redact]) -> Iterator[None]:
    """Take secrets out of all that is shown here; `redact` gives what does that, and is called once it is needed."""
    token = _IN_FORCE.set(redact)
    try:
        yield
    finally:
        _IN_FORCE.reset(token)


def hidden(text: str) -> str:
    """`text` without what is secret here."""
    return in_force()(text)


def in_force() -> Redact:
    """What takes out of a text what is secret here; for many texts, since it looks through the notebook to be made."""
    return _IN_FORCE.get()()
