"""The README and CONTRIBUTING are held against the code: what they name is there, and what is there is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agentnb
from agentnb.notebook.arguments import CELL_FLAGS, COMMANDS
from agentnb.settings import VARIABLES, Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = sorted(p.relative_to(ROOT / "agentnb").with_suffix("") for p in (ROOT / "agentnb").rglob("[a-z]*.py"))


def section(title: str) -> str:
    """The text below a heading of the README."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_readme_has_every_flag_and_no_other() -> None:
    """The table of flags is the magic's."""
    table = [line.split(" | ")[0] for line in section("The magics").splitlines() if line.startswith("| `--")]
    assert set(re.findall(r"--[a-z-]+", " ".join(table))) == set(CELL_FLAGS)


def test_the_readme_has_every_command_and_no_other() -> None:
    """The line of `%agent` commands is the magic's."""
    line = next(line for line in section("The magics").splitlines() if line.startswith("`%agent "))
    assert {part.split()[0] for part in line.strip("`").removeprefix("%agent ").split(" | ")} == set(COMMANDS)


@pytest.mark.parametrize("name", VARIABLES)
def test_the_readme_has_every_setting(name: str) -> None:
    """Each with its variable and its default."""
    assert f"`{name}`" in section("Settings")
    assert VARIABLES[name] in section("Settings")
    assert str(getattr(Settings(), name)) in section("Settings")


def test_the_readme_imports_what_is_public() -> None:
    """Every name that its examples import from agentnb is one of `__all__`."""
    names = re.findall(r"from agentnb import ([\w, ]+)", README)
    assert names
    for name in ", ".join(names).split(", "):
        assert name in agentnb.__all__


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_has_a_place_in_the_house(path: Path) -> None:
    """CONTRIBUTING's table names each module."""
    assert f"`{path.name}`" in CONTRIBUTING or f"`{path.as_posix()}`" in CONTRIBUTING


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_files_that_are_pointed_to_exist(text: str) -> None:
    """Relative links and `agentnb/…` paths lead somewhere."""
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", text)
    paths = re.findall(r"`((?:agentnb|tests|notebooks|tools|binder)/[\w/.]*)`", text)
    for target in {*links, *paths}:
        assert (ROOT / target).exists(), target
