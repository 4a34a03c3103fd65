"""diskcache, held to text and to clear errors: the only file that imports it.

By default diskcache pickles, evicts at 1 GiB, syncs a commit only now and then and keeps large values in files of their
own, which do not survive a power cut. Here a row of any other form than text, as somebody could put there who can write
the folder, is refused and never unpickled.
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import diskcache

from agentnb.errors import DamagedRecord, StoreError
from agentnb.store.network import network_type

__all__ = ["PAGES", "TextOnly", "clear_errors", "doctor_line", "open_cache"]

PAGES: Final = 512
"""Of 4 kB, kept in memory: runs are appended and read once; diskcache's 32 MB would only fill memory."""
_RAW_TEXT: Final = 1  # diskcache's MODE_RAW: the value is in the row as SQLite holds it
_IN_DATABASE: Final = 2**62  # disk_min_file_size: larger values would go to files
_FULL: Final = 2  # PRAGMA synchronous: a commit returns after its fsync
_SAFE: Final = "What was recorded before is safe."
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class TextOnly(diskcache.Disk):  # type: ignore[misc]  # diskcache has no type information
    """Keys and values are text, both on the way in and out; anything else is refused, and pickle is never reached."""

    def put(self, key: str) -> tuple[str, bool]:
        """The database key of `key`."""
        if not isinstance(key, str):
            raise TypeError(f"store keys are text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: bool) -> str:  # noqa: FBT001 - diskcache's signature
        """The key that a row has."""
        if not raw or not isinstance(key, str):
            raise DamagedRecord("the store holds a key that is not text; somebody else wrote it")
        return key

    def store(self, value: str, read: bool, key: Any = None) -> tuple[int, int, None, str]:  # noqa: ARG002, FBT001 - diskcache's signature
        """The columns (size, mode, file, value) of `value`."""
        if not isinstance(value, str):
            raise TypeError(f"store values are text, not {type(value).__name__}")
        return 0, _RAW_TEXT, None, value

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str:  # noqa: ARG002, FBT001 - diskcache's signature
        """The value of a row."""
        if mode != _RAW_TEXT or filename is not None or not isinstance(value, str):
            raise DamagedRecord("the store holds a value that is not text; somebody else wrote it, and it is not read")
        return value


class _Quiet(diskcache.Cache):  # type: ignore[misc]  # diskcache has no type information
    """A cache that writes nothing as it is opened, where its file says already what it would write.

    diskcache writes each of its settings twice, and what it needs to evict even where nothing ever is: thirty commits,
    each of them synced.
    """

    @property
    def _sql_retry(self) -> Callable[..., Any]:
        execute: Callable[..., Any] = super()._sql_retry

        def where_needed(statement: str, *values: Any) -> Any:
            if statement.startswith(_TO_EVICT) and self.eviction_policy == "none":
                return None
            return execute(_WHERE_NEEDED.get(statement, statement), *values)

        return where_needed


_TO_EVICT: Final = ("CREATE TRIGGER IF NOT EXISTS Settings_", "CREATE INDEX IF NOT EXISTS Cache_expire_time")
_WHERE_NEEDED: Final[Mapping[str, str]] = {
    "INSERT OR REPLACE INTO Settings VALUES (?, ?)": (
        "INSERT INTO Settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        " WHERE value IS NOT excluded.value"
    ),
    "UPDATE Settings SET value = ? WHERE key = ?": "UPDATE Settings SET value = ?1 WHERE key = ?2 AND value IS NOT ?1",
}
"""Statements of diskcache's, and what does the same but writes only what changes."""


def open_cache(folder: Path, name: str, *, synchronous: int = _FULL, **settings: Any) -> Any:
    """The cache `name` of the store in `folder`, both made where they are missing; mode 0700, kept out of git.

    Args:
        folder: of the store.
        name: of the cache's own folder in it.
        synchronous: as SQLite's; 2 returns from a commit after its fsync.
        settings: diskcache's.

    Raises:
        StoreError: it cannot be opened; says why and what to do.
    """
    with clear_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise StoreError(
                f"the store {folder} is a file: give a folder, e.g. `%config AgentMagics.store = '.agentnb'`"
            )
        if kind := network_type(folder):
            raise StoreError(
                f"the store {folder} is on a network file system ({kind}), where SQLite's locks do not hold: choose a"
                " folder on a disk of this machine with `%config AgentMagics.store = '…'` or AGENTNB_STORE"
            )
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # another process may be as fast
            (folder / ".gitignore").write_text("*\n")
            _sync(folder.parent)
        made = not (folder / name).exists()
        (folder / name).mkdir(mode=0o700, exist_ok=True)
        _require_writable(folder / name)  # SQLite would open it to be read, and whoever opens it next gets the same
        cache = _Quiet(
            str(folder / name),
            disk=TextOnly,
            disk_min_file_size=_IN_DATABASE,
            sqlite_synchronous=synchronous,
            sqlite_cache_size=PAGES,
            sqlite_mmap_size=0,
            sqlite_journal_mode="wal",  # said here, for diskcache would take what the file says
            timeout=10,
            **settings,
        )
        _sync(folder / name)
        if made:
            _sync(folder)
        return cache


def _require_writable(folder: Path) -> None:
    for path in (folder, *folder.glob("cache.db*")):
        if not os.access(path, os.W_OK) and path.exists():  # whoever closes it last takes its log away
            raise PermissionError(errno.EACCES, "it can only be read", str(path))


def _sync(folder: Path) -> None:
    """Make the folder's entries durable, where the system lets a folder be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class clear_errors:  # noqa: N801 - reads as what it does, and costs a tenth of a generator, twice a step
    """Turn what SQLite, diskcache and the system raise inside into a StoreError that says what is safe."""

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and (said := _in_words(error, self._folder)):
            raise StoreError(said) from error


def _in_words(error: BaseException, folder: Path) -> str:
    """What a StoreError says of `error`, or "" where it is none of the store's."""
    if isinstance(error, PermissionError):
        return (
            f"the store {folder} cannot be written ({error.strerror}): choose another with"
            " `%config AgentMagics.store = '…'` or AGENTNB_STORE"
        )
    if isinstance(error, diskcache.Timeout) or (isinstance(error, sqlite3.Error) and _name(error) == "SQLITE_BUSY"):
        return f"the store {folder} is locked by another process for over 10 s. {_SAFE}"
    if isinstance(error, sqlite3.DatabaseError):
        return f"the store {folder} cannot be used: {error}. {_todo(error, folder)}"
    if isinstance(error, (OSError, ValueError)):  # ValueError: a path with a NUL or half a surrogate pair in it
        why = getattr(error, "strerror", None) or error
        return f"the store {str(folder)!r} cannot be used: {why}. {_SAFE}"
    return ""


def _todo(error: sqlite3.DatabaseError, folder: Path) -> str:
    """What is safe and what to do about it, where SQLite says enough."""
    what = _name(error)
    if what in _DAMAGED:
        return f"{doctor_line(folder)} says what can be read, and saves it"
    if what == "SQLITE_FULL":
        return f"{_SAFE} Make room on the disk (`%agent gc` says what could go), then `%agent resume RUN`"
    if what.startswith("SQLITE_IOERR"):
        return "The disk reports errors: copy the folder to another one, and go on there"
    return _SAFE


def doctor_line(folder: Path) -> str:
    """The line that checks the store in `folder`."""
    return f"`%agent doctor --store {shlex.quote(str(folder))}`"


def _name(error: sqlite3.Error) -> str:
    """SQLite's own name of it, "" where Python does not say."""
    return getattr(error, "sqlite_errorname", "") or ""
