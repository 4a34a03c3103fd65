"""How the benchmarks measure: fresh processes, repeats in turn, one table, one JSON file with the machine beside it.

A *job* is a module of this folder with a `measure(*words) -> Row`, run in a process of its own, so that memory, caches
and imports of one do not help or hurt the next. A *benchmark* is a function that returns rows made of jobs.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Job", "Options", "Row", "Target", "Timer", "fresh", "machine", "median_of", "places", "size_of", "table"]

Row = dict[str, Any]
"""One line of a table: text, a number, or None where there is nothing to measure."""

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "bench"
ROOM_IN_MEMORY = 6 << 30
"""Bytes that must be free in /dev/shm: LangGraph's checkpoints of 1000 steps are 1.5 GB."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure.

    Attributes:
        repeats: processes for each row; the median is shown, and the least where a column says "best".
        most: steps of the longest run.
    """

    repeats: int = 3
    most: int = 10_000

    def sizes(self, *sizes: int) -> list[int]:
        """Those of `sizes` that are not too long."""
        return [n for n in sizes if n <= self.most]


@dataclass(frozen=True, slots=True)
class Job:
    """Something to measure in a process of its own: `python -m tests.bench.<module> <words>`."""

    module: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What a column of the rows that `which` picks should reach: at most, or at least, so much."""

    says: str
    column: str
    bound: float
    which: Callable[[Row], bool]
    least: bool = False

    def judged(self, rows: Sequence[Row]) -> str:
        """The target, what was measured at worst, and whether that is enough."""
        found = [row[self.column] for row in rows if self.which(row) and row.get(self.column) is not None]
        if not found:
            return f"  ?  {self.says}: not measured"
        worst = min(found) if self.least else max(found)
        enough = worst >= self.bound if self.least else worst <= self.bound
        return f"  {'✓' if enough else '✗'}  {self.says}: {worst:.3g}"


class Timer:
    """Wall and processor seconds from one `lap` to the next.

    A lap costs 0.5 µs and 64 bytes.
    """

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def lap(self) -> None:
        """A lap ends here and the next begins."""
        self._wall.append(time.perf_counter())
        self._cpu.append(time.process_time())

    def row(self) -> Row:
        """Milliseconds a lap, and the last tenth against the first."""
        wall, cpu = _gaps(self._wall), _gaps(self._cpu)
        tenth = len(wall) // 10
        return {
            "wall ms": statistics.median(wall),
            "cpu ms": statistics.median(cpu),
            "cpu mean": statistics.fmean(cpu),
            "last/first": statistics.median(cpu[-tenth:]) / statistics.median(cpu[:tenth]) if tenth > 1 else None,
        }


def _gaps(times: Sequence[float]) -> list[float]:
    return [(after - before) * 1e3 for before, after in itertools.pairwise(times)]


def fresh(job: Job) -> Row:
    """What `job` measures, in a new process.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    command = [sys.executable, "-m", f"tests.bench.{job.module}", *job.words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def median_of(jobs: Sequence[Job], repeats: int) -> list[Row]:
    """For each job the median of its numbers over `repeats` processes; every other round runs the jobs backwards.

    Wall and processor time get a neighbour "best" with the least of them.
    """
    found: dict[Job, list[Row]] = {job: [] for job in jobs}
    for repeat in range(repeats):
        for job in jobs if repeat % 2 == 0 else reversed(jobs):
            found[job].append(fresh(job))
    return [_middle(found[job]) for job in jobs]


def _middle(rows: Sequence[Row]) -> Row:
    out: Row = {}
    for name, first in rows[0].items():
        numbers = [row[name] for row in rows if isinstance(row[name], int | float)]
        out[name] = statistics.median(numbers) if numbers else first
        if numbers and name in ("wall ms", "cpu ms"):
            out[name.replace(" ms", " best")] = min(numbers)
    return out


@contextmanager
def places() -> Iterator[dict[str, Path]]:
    """Folders to write to: on the disk of this checkout, and in memory where there is room for it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made inside it
    roots = {"disk": RESULTS}
    if memory.is_dir() and shutil.disk_usage(memory).free > ROOM_IN_MEMORY:
        roots["memory"] = memory
    made = {name: Path(tempfile.mkdtemp(prefix="agentnb-bench-", dir=root)) for name, root in roots.items()}
    try:
        yield made
    finally:
        for folder in made.values():
            shutil.rmtree(folder, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of the files in `folder`, once the write-ahead logs of its databases are written back and emptied."""
    for database in (*folder.rglob("*.db"), *folder.rglob("*.sqlite")):
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def resident_mb() -> float:
    """The most memory that this process has had, in MB."""
    import resource  # not on Windows, where these benchmarks do not run

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform != "darwin" else most / 1024**2


def machine(folder: Path) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": dict(_versions("diskcache", "pydantic", "ipython", "langgraph", "langgraph-checkpoint-sqlite")),
        "fsync_us": fsync_us(folder),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _versions(*names: str) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"


def fsync_us(folder: Path, times: int = 200) -> dict[str, float]:
    """Microseconds of writing 4 kB to the end of a file in `folder` and syncing it."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - began) * 1e6)
    taken.sort()
    return {"median": round(taken[times // 2]), "p95": round(taken[times * 95 // 100])}


def table(rows: Sequence[Row]) -> str:
    """`rows` as text in columns, as wide as what is in them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    text = [isinstance(rows[0].get(name), str) for name in names]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, text, strict=True)
        ).rstrip()
        for line in cells
    )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def save(name: str, rows: Sequence[Row], about: Mapping[str, Any]) -> Path:
    """Write `rows` to build/bench/<name>.json with the machine beside them; returns the file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}.json"
    text = json.dumps({"name": name, "machine": about, "rows": list(rows)}, indent=1, ensure_ascii=False)
    file.write_text(f"{text}\n", encoding="utf-8")
    return file
