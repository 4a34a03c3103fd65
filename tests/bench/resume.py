"""Reading a run back in a new process, imports apart: open the store, read its last checkpoint, fold what follows.

Each run was killed in the middle: nobody had time to leave it tidy.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agentnb.events import ToolClaimed
from tests.bench.measuring import Job, Options, Row, Target, fresh, median_of, places

__all__ = ["TARGETS", "rows"]

_SIZES = (1000, 10_000)
_LANGGRAPH_MOST = 1000


def _ours(steps: int) -> Callable[[Row], bool]:
    return lambda row: (row["who"], row["steps"]) == ("agentnb", steps)


TARGETS = (
    Target("resume of 1000 steps, ms, at most 15", "wall ms", 15, _ours(1000)),
    Target("resume of 10 000 steps, ms, at most 150", "wall ms", 150, _ours(10_000)),
)


def rows(options: Options) -> list[Row]:
    """A line for each runtime and number of steps."""
    found = []
    with places() as where:
        for n in options.sizes(*_SIZES) or [options.most]:
            folders = {who: where["disk"] / f"{place}-{n}" for place, who in enumerate(_WRITERS)}
            for who, folder in folders.items():
                if n <= _LANGGRAPH_MOST or not who.startswith("LangGraph"):
                    fresh(Job("resume", ("write", who, str(n), str(folder))))
            written = [(who, folder) for who, folder in folders.items() if folder.exists()]
            jobs = [Job("resume", ("read", who, str(n), str(folder))) for who, folder in written]
            found += median_of(jobs, options.repeats)
    return found


def _write_agentnb(folder: Path, steps: int) -> None:
    from tests.bench.zero import begin

    for record in begin(folder, steps + 1):
        if isinstance(record.event, ToolClaimed) and record.event.step == f"s{steps + 1}":
            print("{}", flush=True)
            os._exit(0)  # all that was acknowledged is there


def _write_bare(folder: Path, steps: int) -> None:
    from tests.bench.zero import written

    connection = sqlite3.connect(folder / "bare.sqlite")
    connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, value TEXT)")
    connection.executemany("INSERT INTO kept VALUES (?, ?)", ((key, text) for key, text, _ in written(steps)))
    connection.commit()
    connection.close()


def _write_langgraph(folder: Path, steps: int, *, delta: bool = False) -> None:
    from tests.bench.peer_langgraph import opened, run

    connection = opened(folder)
    run(connection, steps, lambda: None, delta=delta)
    connection.close()


def _write_delta(folder: Path, steps: int) -> None:
    _write_langgraph(folder, steps, delta=True)


def _read_agentnb(folder: Path) -> Callable[[], tuple[int, Row]]:
    from agentnb import agent  # noqa: F401 - imports are not what is measured
    from agentnb.log import RunLog
    from agentnb.store.disk import DiskStore

    def read() -> tuple[int, Row]:
        lap = _laps()
        store = DiskStore(folder)
        opened = lap()
        state = RunLog.reopened(store, store.runs()[0]).state
        return len(state.outcomes), {"open ms": opened, "read ms": lap(), "records": state.seq + 1}

    return read


def _read_bare(folder: Path) -> Callable[[], tuple[int, Row]]:
    def read() -> tuple[int, Row]:
        lap = _laps()
        connection = sqlite3.connect(folder / "bare.sqlite")
        opened = lap()
        found = [json.loads(text) for (text,) in connection.execute("SELECT value FROM kept ORDER BY key")]
        count = sum(len(records) for records in found)
        return count, {"open ms": opened, "read ms": lap(), "records": count}

    return read


def _read_langgraph(folder: Path, *, delta: bool = False) -> Callable[[], tuple[int, Row]]:
    from tests.bench.peer_langgraph import opened, thread

    def read() -> tuple[int, Row]:
        lap = _laps()
        connection = opened(folder)
        connected = lap()
        messages = thread(connection, delta=delta)
        return messages // 2, {"open ms": connected, "read ms": lap(), "records": messages}

    return read


def _read_delta(folder: Path) -> Callable[[], tuple[int, Row]]:
    return _read_langgraph(folder, delta=True)


def _laps() -> Callable[[], float]:
    """A function that gives the milliseconds since it was last called."""
    last = [time.perf_counter()]

    def lap() -> float:
        last.append(time.perf_counter())
        return (last[-1] - last[-2]) * 1e3

    return lap


_WRITERS: dict[str, Callable[[Path, int], None]] = {
    "agentnb": _write_agentnb,
    "LangGraph": _write_langgraph,
    "LangGraph, delta": _write_delta,
    "bare sqlite3, the rows as JSON": _write_bare,
}
_READERS: dict[str, Callable[[Path], Callable[[], tuple[int, Row]]]] = {
    "agentnb": _read_agentnb,
    "LangGraph": _read_langgraph,
    "LangGraph, delta": _read_delta,
    "bare sqlite3, the rows as JSON": _read_bare,
}


def measure(what: str, who: str, steps: str, folder: str) -> Row:
    """Write a run of so many steps, or read it and say how long that took, in this process."""
    if what == "write":
        Path(folder).mkdir()
        _WRITERS[who](Path(folder), int(steps))
        return {}
    read = _READERS[who](Path(folder))
    wall, cpu = time.perf_counter(), time.process_time()
    there, parts = read()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if there < int(steps):
        raise AssertionError(f"{who}: {there} of {steps} steps were read")
    return {"who": who, "steps": int(steps), "wall ms": wall * 1e3, "cpu ms": cpu * 1e3, **parts}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
