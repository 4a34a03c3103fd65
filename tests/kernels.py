"""Kernels of the releases of ipykernel that `tools/kernels.py` installs: how a test gets one, and is rid of it."""

from __future__ import annotations

import contextlib
import json
import os
from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.test_kernel import Kernel
from tools.kernels import RELEASES, place, why_not


class ShortLived(Kernel):
    """A kernel that leaves no process behind, even where it does not come up."""

    def __init__(self, folder: Path) -> None:
        try:
            super().__init__(folder)
        except BaseException:
            self.manager.shutdown_kernel(now=True)
            raise

    def close(self) -> None:
        """End it, whatever becomes of the sockets."""
        try:
            super().close()
        finally:
            self.manager.shutdown_kernel(now=True)


@contextmanager
def kernel_of(release: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShortLived]:
    """A kernel of this release; skips where it is not installed, and fails in CI."""
    if reason := why_not(release):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    choose(place(release), folder, monkeypatch)
    with contextlib.closing(ShortLived(folder)) as kernel:
        version, pid = literal_eval(kernel.value("__import__('ipykernel').__version__, __import__('os').getpid()"))
        assert RELEASES[release].specifier.contains(version)
        yield kernel
    assert is_gone(pid)


def choose(packages: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `python3` is this Python with the packages before all else that it imports from."""
    spec = {
        "argv": ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": packages.name,
        "language": "python",
        "env": {"PYTHONPATH": f"{packages}{os.pathsep}${{PYTHONPATH}}"},
    }
    file = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))


def is_gone(pid: int) -> bool:
    """True where there is no such process, not even one that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
