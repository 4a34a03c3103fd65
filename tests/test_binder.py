"""Binder builds from exact versions, and its scripts are ones that it can run."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
BINDER = ROOT / "binder"


def lines() -> list[str]:
    """The lines of requirements.txt that say something."""
    text = (BINDER / "requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def pins() -> dict[str, str]:
    """Version by canonical name."""
    parsed = [Requirement(line) for line in lines() if line != "."]
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in parsed}


def test_runtime_is_named() -> None:
    """Without it Binder takes a Python that is too old, whatever pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = (BINDER / "runtime.txt").read_text(encoding="utf-8").strip()
    version = runtime.removeprefix("python-")
    assert re.fullmatch(r"3\.\d+", version)
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version)


def test_the_repository_itself_is_installed() -> None:
    """The dot, once."""
    assert lines().count(".") == 1


def test_every_pin_is_exact() -> None:
    """The image of next year is the image of today."""
    for line in lines():
        if line != ".":
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line


def test_pins_cover_and_satisfy_what_we_depend_on() -> None:
    """A dependency that is added or raised has to be locked again: tools/lock_binder.sh."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = pins()
    for text in project["dependencies"]:
        needed = Requirement(text)
        assert needed.specifier.contains(pinned[canonicalize_name(needed.name)]), text
    assert "ipykernel" in pinned


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_run(name: str) -> None:
    """Executable, and nothing that bash cannot parse."""
    script = BINDER / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)  # noqa: S607 - whichever bash there is


def test_start_hands_over() -> None:
    """What Binder starts runs by replay."""
    command = [str(BINDER / "start"), "sh", "-c", "echo $AGENTNB_MODE"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "replay\n"
