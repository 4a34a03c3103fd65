"""Installs the releases of ipykernel that the tests click in, each into a folder of its own below build/kernels.

    python tools/kernels.py

A folder holds one ipykernel, and of what that requires only what this environment lacks. Put before all else that
Python imports from, it makes of this environment one with that release: in a second and a megabyte, where a virtual
environment takes eight and a hundred. What is there already costs nothing. Never fails: where a release could not be
installed, a file beside its place says why, and the tests on it skip with that; in CI they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "kernels"

RELEASES = {
    "6.31": Requirement("ipykernel==6.31.*"),  # one thread reads what a kernel is sent, into a queue
    "7.0": Requirement("ipykernel==7.0.1"),  # two threads, and a pair of sockets between them
    "7.3": Requirement("ipykernel==7.3.*"),  # each message is handled in a context of its own
    "newest": Requirement("ipykernel>=7.4"),
}
"""What is installed for each name; the newest is mostly the one that this environment has anyway."""
GIVES_UP_S = 120
"""Seconds for one call of an installer."""


class NotInstalled(Exception):
    """A release could not be installed; the message is what the installers said."""


def main() -> None:
    """See to it that each release is there, and say where."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for line in pool.map(_see_to, RELEASES):
            print(f"   {line}", flush=True)


def place(release: str) -> Path:
    """Where its packages lie; another folder for another environment, and whenever agentnb requires something else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = [str(RELEASES[release]), sys.prefix, project["dependencies"], project["optional-dependencies"]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]
    return FOLDER / f"{release}-py{sys.version_info[0]}.{sys.version_info[1]}-{digest}"


def why_not(release: str) -> str:
    """Why there is no such kernel; empty where there is one."""
    if _is_ours(release) or place(release).is_dir():
        return ""
    note = _note(release)
    return note.read_text(encoding="utf-8") if note.exists() else "it is not installed: make test does that"


def lacking(folder: Path) -> list[str]:
    """What the packages in the folder require, and neither it nor this environment has."""
    path = [str(folder), *sys.path]
    lines = {line for found in distributions(path=[str(folder)]) for line in found.requires or ()}
    return sorted(line for line in lines if not _met(Requirement(line), path))


def _see_to(release: str) -> str:
    """A line for people: where it is, or that it is not."""
    title = f"ipykernel {release}"
    if _is_ours(release):
        return f"{title}: {version('ipykernel')}, the tests' own"
    note = _note(release)
    note.unlink(missing_ok=True)
    try:
        if not place(release).is_dir():
            _install(release)
    except (NotInstalled, OSError, subprocess.TimeoutExpired) as error:
        note.write_text(f"{title} could not be installed: {' '.join(str(error).split())[-500:]}", encoding="utf-8")
        return f"{title}: could not be installed, and {note.relative_to(ROOT)} says why; the tests on it are skipped"
    return f"{title}: {place(release).relative_to(ROOT)}"


def _is_ours(release: str) -> bool:
    return RELEASES[release].specifier.contains(version("ipykernel"))


def _note(release: str) -> Path:
    return FOLDER / f"{place(release).name}.failed"


def _install(release: str) -> None:
    """All of it or nothing, also where two do it at once."""
    half = Path(tempfile.mkdtemp(dir=FOLDER))
    added: list[str] = []
    missing = [str(RELEASES[release])]
    try:
        while missing and missing != added:
            _add(half, missing)
            added, missing = missing, lacking(half)
        if not place(release).is_dir():
            half.rename(place(release))
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _add(folder: Path, requirements: list[str]) -> None:
    """Install exactly these; an installer left to itself would bring all that they require, which we have.

    Raises:
        NotInstalled: with what each installer said.
    """
    said = ""
    for installer in _installers():
        command = [*installer, "--quiet", "--no-deps", "--target", str(folder), *requirements]
        done = subprocess.run(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GIVES_UP_S, check=False
        )
        if done.returncode == 0:
            return
        said += done.stderr
    raise NotInstalled(said)


def _installers() -> Iterator[list[str]]:
    """As tools/install.sh: uv where it is on the PATH and UV=no does not forbid it, then pip."""
    uv = shutil.which("uv")
    if uv and os.environ.get("UV") != "no":
        yield [uv, "pip", "install", "--python", sys.executable]
    yield [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--retries", "1"]


def _met(needed: Requirement, path: list[str]) -> bool:
    if needed.marker and not needed.marker.evaluate({"extra": ""}):
        return True
    found = next(iter(distributions(name=needed.name, path=path)), None)
    return found is not None and needed.specifier.contains(found.version, prereleases=True)


if __name__ == "__main__":
    main()
