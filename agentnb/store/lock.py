"""Who drives a run: one process at a time, by a lock of the operating system."""

from __future__ import annotations

import contextlib
from pathlib import Path

from agentnb.errors import RunHeld

__all__ = ["LockedFile", "is_locked"]


class LockedFile:
    """A locked file, and with it a run.

    No heartbeat: the system frees the lock of a process that is gone, whatever any clock says, and a process that only
    hangs or sleeps keeps it, for it may go on at any moment. Should two hold a run all the same (somebody has deleted
    the file), each commit is still a compare-and-set on the run's next record: the second is refused, and it acts on
    nothing that it could not record.

    Raises:
        RunHeld: it is locked already, by another process or in this one.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout  # 30 ms, which nobody who only looks at runs should wait for

        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path = path
        self._lock = FileLock(path, mode=0o600, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise RunHeld(f"{path.stem} is being driven by somebody else: wait until it rests") from error

    def release(self, *, ended: bool) -> None:
        """Unlock it, and take the file away where the run has ended."""
        if not self._lock.is_locked:
            return
        if ended:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                self._path.unlink()
        self._lock.release()


def is_locked(path: Path) -> bool:
    """True where somebody holds the lock, in this process or another; looking makes no file.

    The only way to see it is to take it for some microseconds: who wants it in just these is told that it is held.
    """
    if not path.exists():
        return False
    try:
        LockedFile(path).release(ended=False)
    except RunHeld:
        return True
    return False
