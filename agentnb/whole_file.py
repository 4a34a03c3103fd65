"""A file that is written as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from agentnb.errors import ConfigError

__all__ = ["whole_file"]


@contextmanager
def whole_file(file: Path, such_as: str) -> Iterator[IO[bytes]]:
    """What is written to it takes the place of `file`, synced, once the block ends well; its folder is made.

    Args:
        file: where.
        such_as: what a file is called in a folder, for whoever names the folder.

    Raises:
        ConfigError: it cannot be written, or is a folder; `file` is as it was.
    """
    if file.is_dir():
        raise ConfigError(f"{str(file)!r} is a folder: name a file, such as {str(file / such_as)!r}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".agentnb-")
    except (OSError, ValueError) as error:
        raise _unwritten(file, error) from error
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _replaced(name, file)
    except OSError as error:
        raise _unwritten(file, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _replaced(name: str, file: Path) -> None:
    try:
        Path(name).replace(file)
    except ValueError as error:  # a path with a NUL in it
        raise _unwritten(file, error) from error


def _unwritten(file: Path, error: OSError | ValueError) -> ConfigError:
    return ConfigError(f"{str(file)!r} cannot be written: {getattr(error, 'strerror', None) or error}")
