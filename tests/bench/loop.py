"""What the loop itself costs, model and tool at zero latency, every commit synced, beside LangGraph and bare SQLite.

LangGraph's step is one model call, one tool call and one record; ours has the plan, the claim, the budget and the
critic's prompt in it too.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.measuring import Job, Options, Row, Target, Timer, fresh, median_of, places, resident_mb, size_of

__all__ = ["TARGETS", "rows"]

_SIZES = (10, 100, 1000)
_OURS_ALONE = (10_000,)
"""LangGraph would need 150 GB for them."""


def _ours(row: Row) -> bool:
    return (row["who"], row["where"]) == ("agentnb", "disk")


def _theirs(who: str, steps: int) -> Callable[[Row], bool]:
    return lambda row: (row["who"], row["where"], row["steps"]) == (who, "disk", steps)


TARGETS = (
    Target("median step, ms, at most 0.6", "wall ms", 0.6, _ours),
    Target("of it processor time, ms, at most 0.4", "cpu ms", 0.4, _ours),
    Target("last tenth over first, at most 1.2", "last/first", 1.2, _ours),
    Target("fsyncs a step, at most 3", "commits", 3, lambda row: _ours(row) and row["steps"] > 10),
    Target("store a step, kB, at most 8", "kB", 8, lambda row: _ours(row) and row["steps"] > 10),
    Target("memory over the run of 10 steps, MB, at most 20", "more MB", 20, _ours),
    Target("LangGraph, sync, at 1000 steps: at least 20 times", "wall ×", 20, _theirs("LangGraph", 1000), least=True),
    Target("its delta mode at 10: at least twice", "wall ×", 2, _theirs("LangGraph, delta", 10), least=True),
    Target("its delta mode at 1000: at least twice", "wall ×", 2, _theirs("LangGraph, delta", 1000), least=True),
    Target(
        "bare SQLite, same bytes and commits: at least a third of ours",
        "wall ×",
        1 / 3,
        lambda row: row["who"].startswith("bare") and row["where"] == "disk",
        least=True,
    ),
)


def rows(options: Options) -> list[Row]:
    """A line for each runtime, place and number of steps."""
    with places() as where:
        jobs = [
            Job("loop", (who, place, str(n), str(folder)))
            for place, folder in where.items()
            for n in options.sizes(*_SIZES, *_OURS_ALONE)
            for who in _DRIVERS
            if n in _SIZES or who == "agentnb"
        ]
        fresh(jobs[0])  # files are read and compiled before anything is measured
        found = median_of(jobs, options.repeats)
    return _compared(found)


def _compared(found: Sequence[Row]) -> list[Row]:
    """Each row with its times over ours, and the memory that it took over the shortest run of its kind."""
    ours = {(row["where"], row["steps"]): row for row in found if row["who"] == "agentnb"}
    least: dict[tuple[str, str], float] = {}
    grown = []
    for row in found:
        memory: float | None = row["MB"]
        base = least.setdefault((row["who"], row["where"]), memory or 0.0)
        more = memory - base if memory is not None and row["steps"] > _SIZES[0] else None
        mine = ours[row["where"], row["steps"]]
        ratios = {f"{kind} ×": row[f"{kind} ms"] / mine[f"{kind} ms"] for kind in ("wall", "cpu")}
        grown.append({**{name: value for name, value in row.items() if name != "MB"}, "more MB": more, **ratios})
    return grown


def _agentnb(folder: Path, steps: int, timer: Timer, ref: str = "scripted") -> int:
    from tests.bench.zero import begin, counted

    session = begin(folder, steps, ref)
    with counted(session.log.store) as commits:
        for record in session:
            if record.event.kind == "tool_claimed":
                timer.lap()
    return len(commits)


def _agentnb_cached(folder: Path, steps: int, timer: Timer) -> int:
    return _agentnb(folder, steps, timer, "zero:model")


def _langgraph(folder: Path, steps: int, timer: Timer, *, delta: bool = False) -> int:
    from tests.bench.peer_langgraph import opened, run

    connection = opened(folder)
    run(connection, steps, timer.lap, delta=delta)
    return connection.commits


def _langgraph_delta(folder: Path, steps: int, timer: Timer) -> int:
    return _langgraph(folder, steps, timer, delta=True)


def _sqlite(folder: Path, steps: int, timer: Timer) -> int:
    from tests.bench.zero import written

    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE kept (key TEXT PRIMARY KEY, value TEXT)"
    )
    commits = 0
    for key, text, blobs in written(steps):
        if "tool_claimed" in text:
            timer.lap()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO kept VALUES (?, ?)", (key, text))
        connection.executemany("INSERT INTO kept VALUES (?, ?)", blobs.items())
        connection.execute("COMMIT")
        commits += 1
    connection.close()
    return commits


_DRIVERS: dict[str, Callable[[Path, int, Timer], int]] = {
    "agentnb": _agentnb,
    "agentnb, replies cached": _agentnb_cached,
    "LangGraph": _langgraph,
    "LangGraph, delta": _langgraph_delta,
    "bare sqlite3, same bytes": _sqlite,
}


def measure(who: str, place: str, steps: str, folder: str) -> Row:
    """One run, in this process."""
    n, timer = int(steps), Timer()
    with tempfile.TemporaryDirectory(dir=folder) as own, tempfile.TemporaryDirectory(dir=folder) as empty:
        commits = _DRIVERS[who](Path(own), n, timer)
        memory, used = resident_mb(), size_of(Path(own))
        _DRIVERS[who](Path(empty), 1, Timer())
        before = size_of(Path(empty))
    costs = timer.row()
    kept: Row = {"commits": commits / n, "kB": (used - before) / max(n - 1, 1) / 1000}
    kept["MB"] = None if who.startswith("bare") else memory  # that one holds all that it will write
    return {"who": who, "where": place, "steps": n, **costs, **kept}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
