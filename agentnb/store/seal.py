"""Seals: what a row must hash to, so that a flipped bit, or a row put in another's place, is noticed and not believed.

SQLite checks the form of its pages and not what is in them. A seal covers the row's key, its text and, in a run's
journal, the seal of the commit before it: so none can be altered, taken out of the middle or moved.
"""

from __future__ import annotations

import hashlib

from agentnb.errors import DamagedRecord

__all__ = ["LENGTH", "looks_sealed", "opened", "seal_of", "sealed", "seals"]

LENGTH = 32
"""Hex digits of a seal: half a SHA-256."""


def sealed(key: str, text: str, before: str = "") -> str:
    """`text` as it is kept under `key`, its seal in front of it.

    Args:
        key: of the row.
        text: JSON.
        before: the seal of the commit before it, where it is one of a chain.
    """
    return f"{seals(key, text, before)} {text}"


def seals(key: str, text: str, before: str = "") -> str:
    """The seal of such a row."""
    return hashlib.sha256(f"{before}\n{key}\n{text}".encode()).hexdigest()[:LENGTH]


def seal_of(kept: object) -> str:
    """The seal that a kept row carries, believed as it is; "" of what is no such row."""
    return kept[:LENGTH] if isinstance(kept, str) else ""


def looks_sealed(kept: object) -> bool:
    """True of a text that begins as a kept row does."""
    start = kept[: LENGTH + 1] if isinstance(kept, str) else ""
    return len(start) > LENGTH and start[-1] == " " and all(digit in "0123456789abcdef" for digit in start[:-1])


def opened(key: str, kept: object, before: str = "") -> str:
    """The text of a kept row.

    Raises:
        DamagedRecord: it is not what was kept there.
    """
    if not isinstance(kept, str):
        raise DamagedRecord(f"what is kept under {key} is not text; somebody else wrote it, and it is not read")
    text = kept[LENGTH + 1 :]
    if kept[:LENGTH] != seals(key, text, before):
        raise DamagedRecord(f"what is kept under {key} is not what was written there: nothing of it is used")
    return text
