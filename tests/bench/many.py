"""Many runs at once, in threads on one store: durable steps a second in all, none lost.

Beside it as many threads that append the same bytes to one bare SQLite database, a commit each time.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.measuring import Job, Options, Row, Target, fresh, median_of, places

__all__ = ["TARGETS", "rows"]

_RUNS = (1, 8, 64)
_STEPS = 6400
"""Of all runs together: a hundred of each where there are most, so that what begins and ends a run counts little."""

TARGETS = (
    Target(
        "64 runs in threads, steps a second in all, at least 1000 (shown as ms a step, at most 1)",
        "wall ms",
        1.0,
        lambda row: (row["who"], row["where"], row["runs"]) == ("agentnb", "disk", 64),
    ),
)


def rows(options: Options) -> list[Row]:
    """A line for each place and number of runs."""
    with places() as where:
        jobs = [
            Job("many", (who, place, str(n), str(folder)))
            for place, folder in where.items()
            for n in _RUNS
            for who in _DRIVERS
        ]
        fresh(jobs[0])  # files are read and compiled before anything is measured
        return median_of(jobs, options.repeats)


def _agentnb(folder: Path, runs: int, steps: int) -> tuple[Callable[[], None], Callable[[], None]]:
    from agentnb.checkpoint import load
    from agentnb.store.disk import DiskStore
    from tests.bench.zero import begin

    store = DiskStore(folder)
    begin(DiskStore(folder / "warm"), 2).finish()  # what is made once in a process is made

    def check() -> None:
        for run in store.runs():
            whole = [record.seq for record in store.read(run)] == list(range(store.last(run).seq + 1))
            if not whole or len(load(store, run)[0].outcomes) != steps:
                raise AssertionError(f"{run} has lost something")

    return lambda: _in_threads(runs, lambda _: begin(store, steps).finish()), check


def _bare(folder: Path, runs: int, steps: int) -> tuple[Callable[[], None], Callable[[], None]]:
    from tests.bench.zero import written

    commits = list(written(steps))
    database = folder / "bare.sqlite"
    made = sqlite3.connect(database)
    made.executescript("PRAGMA journal_mode=WAL; CREATE TABLE kept (key TEXT PRIMARY KEY, value TEXT)")
    made.close()

    def append(run: int) -> None:
        connection = sqlite3.connect(database, isolation_level=None, timeout=60)
        connection.execute("PRAGMA synchronous=FULL")
        for key, text, blobs in commits:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO kept VALUES (?, ?)", (f"{run}{key}", text))
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", blobs.items())
            connection.execute("COMMIT")
        connection.close()

    return lambda: _in_threads(runs, append), lambda: None


def _in_threads(runs: int, work: Callable[[int], object]) -> None:
    failed: list[BaseException] = []

    def one(run: int) -> None:
        try:
            work(run)
        except BaseException as error:  # noqa: BLE001 - raised again below, where it is seen
            failed.append(error)

    threads = [threading.Thread(target=one, args=(run,)) for run in range(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


_DRIVERS: dict[str, Callable[[Path, int, int], tuple[Callable[[], None], Callable[[], None]]]] = {
    "agentnb": _agentnb,
    "bare sqlite3, same bytes": _bare,
}


def measure(who: str, place: str, runs: str, folder: str) -> Row:
    """So many runs, in this process."""
    n = int(runs)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        drive, check = _DRIVERS[who](Path(own), n, _STEPS // n)
        wall, cpu = time.perf_counter(), time.process_time()
        drive()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        check()
    return {
        "who": who, "where": place, "runs": n, "wall ms": wall * 1e3 / _STEPS, "cpu ms": cpu * 1e3 / _STEPS,
        "steps/s": _STEPS / wall,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
