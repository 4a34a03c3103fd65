"""The last commit of each run, noted outside the database: a witness that nothing is missing at a run's end.

A seal shows what was altered, and not that the last commits are gone: SQLite takes a damaged write-ahead log to end
before the damage, and a database that was put back from a copy is whole. Then a call that was claimed would be made
again. So the place and the seal of a run's last commit are noted here, once it is synced; a journal that ends before
its note has lost something.

The note itself is not synced: it outlives the process, and after a power cut it is at most older than the journal.
"""

from __future__ import annotations

import functools
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Head", "Heads", "number_of"]

_BODY: Final = struct.Struct("<Q16sI")  # 1 + seq; seal; CRC-32 of the run's id
_SLOT: Final = struct.Struct("<28sI")  # that; its CRC-32


@dataclass(frozen=True, slots=True)
class Head:
    """Where a run's journal ended when it was last written to.

    Attributes:
        seq: of its last record.
        seal: of its last commit.
    """

    seq: int
    seal: str


def number_of(run: str) -> int | None:
    """The number in a run's id, 12 of "r12-heron"; None of what is no such id."""
    digits = run.partition("-")[0].removeprefix("r")
    return int(digits) if run.startswith("r") and digits.isascii() and digits.isdigit() and len(digits) <= 9 else None  # noqa: PLR2004 - as store keys have


class Heads:
    """A file of 32 bytes a run, by the run's number.

    Args:
        path: of the file; made when first written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle = -1

    def note(self, run: str, head: Head | None) -> None:
        """Note a run's last commit; None forgets the run. What cannot be noted protects less, and harms nothing."""
        number, whose = _place(run)
        if number is None:
            return
        body = _BODY.pack(head.seq + 1, bytes.fromhex(head.seal), whose) if head else bytes(_BODY.size)
        slot = _SLOT.pack(body, zlib.crc32(body))
        with suppress(OSError), self._lock:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
                self._closing = weakref.finalize(self, os.close, self._handle)  # a number does not close itself
            if hasattr(os, "pwrite"):
                os.pwrite(self._handle, slot, number * _SLOT.size)
            else:
                os.lseek(self._handle, number * _SLOT.size, os.SEEK_SET)
                os.write(self._handle, slot)

    def noted(self, run: str) -> Head | None:
        """The run's last commit as it was noted; None where it was not, or the note is damaged."""
        number = number_of(run)
        if number is None:
            return None
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(number * _SLOT.size)
                return _head(file.read(_SLOT.size), run)
        except OSError:
            return None

    def begun(self) -> frozenset[int]:
        """The numbers of all runs whose last commit is noted now, as far as notes are sound."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return frozenset()
        slots = (data[at : at + _SLOT.size] for at in range(0, len(data) - _SLOT.size + 1, _SLOT.size))
        return frozenset(number for number, slot in enumerate(slots) if _sound(slot))

    def snapshot(self) -> Callable[[str], Head | None]:
        """`noted` as all runs are noted now."""
        try:
            data = self._path.read_bytes()
        except OSError:
            data = b""
        return lambda run: _head(data[(n := number_of(run) or 0) * _SLOT.size : (n + 1) * _SLOT.size], run)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._handle >= 0:
                self._closing()
            self._handle = -1


@functools.lru_cache(maxsize=256)
def _place(run: str) -> tuple[int | None, int]:
    """The number of a run, and the CRC-32 of its id."""
    return number_of(run), zlib.crc32(run.encode("utf-8", "replace"))


def _sound(slot: bytes) -> bool:
    """True of a note as it was written, of whatever run."""
    body, crc = _SLOT.unpack(slot)
    return _BODY.unpack(body)[0] > 0 and bool(crc == zlib.crc32(body))


def _head(slot: bytes, run: str) -> Head | None:
    if len(slot) < _SLOT.size:
        return None
    body, _ = _SLOT.unpack(slot)
    after, seal, whose = _BODY.unpack(body)
    mine = _sound(slot) and whose == _place(run)[1]
    return Head(after - 1, seal.hex()) if mine else None
