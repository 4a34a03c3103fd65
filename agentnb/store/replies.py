"""The prompt cache on this machine's disk: bounded, it may forget, and it is never the only copy of anything."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agentnb.errors import DamagedRecord
from agentnb.store.text_cache import clear_errors, open_cache

__all__ = ["DiskReplyCache"]

_BYTES: Final = 1 << 30


class DiskReplyCache:
    """Model replies in a bounded cache beside the journal: the ones stored longest ago go first."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder).expanduser().absolute()
        # Least recently stored, not used: the latter makes every hit a write, at ten times the cost.
        self._cache = open_cache(
            self._folder, "prompts", size_limit=_BYTES, eviction_policy="least-recently-stored", synchronous=1
        )

    def get(self, key: str) -> str | None:
        """The JSON text kept under `key`, or None; a damaged entry is as good as none."""
        with clear_errors(self._folder):
            try:
                text: str | None = self._cache.get(key)
            except DamagedRecord:
                return None
        return text

    def put(self, key: str, text: str) -> None:
        """Keep `text` under `key`."""
        with clear_errors(self._folder):
            self._cache.set(key, text)
