"""What is shipped: the wheel, the public names, the docstrings, the changelog."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

import agentnb

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agentnb"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """agentnb/store/disk.py as `agentnb.store.disk`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_version() -> None:
    """One version, in one place, of three numbers."""
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", agentnb.__version__)


def test_changelog_has_the_version() -> None:
    """Nobody releases what the changelog does not tell of."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(agentnb.__version__)}\]", text, re.MULTILINE)


def test_wheel_has_every_file(wheel: Path) -> None:
    """Every module, py.typed and every stylesheet is in the wheel, and nothing that is not the package."""
    shipped = set(zipfile.ZipFile(wheel).namelist())
    ours = [path for pattern in ("*.py", "py.typed", "*.css") for path in PACKAGE.rglob(pattern)]
    assert {path.relative_to(ROOT).as_posix() for path in ours} <= shipped
    assert "agentnb/py.typed" in shipped
    strangers = {name for name in shipped if not name.startswith(("agentnb/", "agentnb_jupyter-"))}
    assert not strangers


def test_wheel_metadata(wheel: Path) -> None:
    """Name, version, licence and lower Python bound are what we say they are."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == "agentnb-jupyter"
    assert metadata["Version"] == agentnb.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


def test_every_dependency_has_a_lower_bound() -> None:
    """An old version that was never tried is not accepted silently."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    loose = [name for group in groups for name in group if ">=" not in name and "agentnb-jupyter" not in name]
    assert not loose


@pytest.mark.parametrize("name", agentnb.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    """What __all__ promises is there."""
    assert getattr(agentnb, name) is not None


def test_public_names_are_complete() -> None:
    """What __init__ takes from the rooms it makes public, sorted, each once; dir() shows them."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    top = [inner for node in tree.body for inner in (node.body if isinstance(node, ast.If) else [node])]
    taken = {
        alias.asname or alias.name
        for node in top
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agentnb.")
        for alias in node.names
    }
    public = {name for name in taken if not name.startswith("_")}
    assert public <= set(agentnb.__all__)
    assert len(set(agentnb.__all__)) == len(agentnb.__all__)
    assert set(agentnb.__all__) <= set(dir(agentnb))


@pytest.mark.parametrize("module", [dotted(path) for path in SOURCES])
def test_modules_keep_what_their_all_promises(module: str) -> None:
    """Every module can be imported by itself, and each name of its __all__ is in it."""
    found = importlib.import_module(module)
    assert [name for name in getattr(found, "__all__", ()) if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", [dotted(path) for path in SOURCES])
def test_examples_in_docstrings_are_true(module: str) -> None:
    """Every `>>>` shows what it says."""
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("path", SOURCES, ids=dotted)
def test_public_things_have_docstrings(path: Path) -> None:
    """Modules, and the classes, functions and methods in them that others may use: those in __all__, or else all."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    promised = getattr(importlib.import_module(dotted(path)), "__all__", None)
    bare = [
        name
        for name, node in public(tree)
        if ast.get_docstring(node) is None and (promised is None or name.partition(".")[0] in promised)
    ]
    assert ast.get_docstring(tree)
    assert not bare


def public(
    tree: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """(name, node) of every class, function and method whose name does not begin with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if any("overload" in ast.unparse(d) or ".setter" in ast.unparse(d) for d in node.decorator_list):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")
