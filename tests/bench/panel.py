"""What it costs to watch a run whose model takes 100 ms a call, and how much of its record stays in a notebook.

The panel is told of a real run's records on a clock that stands still meanwhile, so that its processor time is all its
own; what it shows goes through ipykernel's publisher, up to the socket.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from tests.bench.measuring import Job, Options, Row, Target, fresh, median_of

__all__ = ["TARGETS", "rows"]

_SIZES = (10, 100, 1000, 10_000)
_CALL_S = 0.1
"""Seconds of each model call; a step has one."""
_TIMES = 20
"""How often a record is rendered."""

TARGETS = (
    Target("the panel, % of a run with 100 ms model calls, under 2", "% of run", 2, lambda row: row["who"] == "panel"),
    Target("an update over one of the run of 100, at most 1.5", "over 100", 1.5, lambda row: row["who"] == "panel"),
    Target("HTML of 100 steps, ms, under 20", "wall ms", 20, lambda row: _is_record(row, 100)),
    Target("a record of 1000 steps in a notebook, kB, at most 100", "kB", 100, lambda row: _is_record(row, 1000)),
)


def _is_record(row: Row, steps: int) -> bool:
    return (row["who"], row["steps"]) == ("record", steps)


def rows(options: Options) -> list[Row]:
    """A line for the panel and one for the record of each number of steps."""
    jobs = [Job("panel", (who, str(n))) for who in ("panel", "record") for n in options.sizes(*_SIZES)]
    fresh(jobs[0])  # files are read and compiled before anything is measured
    return _compared(median_of(jobs, options.repeats))


def _compared(found: Sequence[Row]) -> list[Row]:
    """Each update over one of a run of a hundred steps."""
    base = next(row["wall ms"] for row in found if (row["who"], row["steps"]) == ("panel", 100))
    return [
        {**row, "over 100": row["wall ms"] / base if row["who"] == "panel" and row["steps"] >= 100 else None}
        for row in found
    ]


def _records(steps: int) -> list[Any]:
    from tests.bench.zero import begin
    from tests.parts import MemoryStore

    return list(begin(MemoryStore(), steps))


def _panel(steps: int) -> Row:
    """Milliseconds of one update, and the part of the run's time that all of them take."""
    from agentnb.notebook import panel as module

    records, now, shown = _records(steps), [0.0], _published()
    setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], strftime=time.strftime))  # noqa: B010 - for mypy
    panel = module.InPlace(records[:1])
    wall, cpu = time.perf_counter(), time.process_time()
    for record in records[1:]:
        if record.event.kind in ("model_replied", "run_finished"):
            panel.refresh()  # the pump's, after a tenth of a second in which nothing came
            now[0] += _CALL_S
        panel.add(record)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "who": "panel",
        "steps": steps,
        "wall ms": wall * 1e3 / len(shown),
        "cpu ms": cpu * 1e3 / len(shown),
        "updates a s": len(shown) / now[0],
        "% of run": 100 * cpu / now[0],
    }


def _published() -> list[int]:
    """A shell that displays as a kernel does, and the sizes of the messages that it sends."""
    from ipykernel.zmqshell import ZMQDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from jupyter_client.session import Session

    sent: list[int] = []
    socket = SimpleNamespace(send_multipart=lambda parts, **_: sent.append(sum(map(len, parts))))
    shell: Any = InteractiveShell.instance(display_pub_class=ZMQDisplayPublisher)
    shell.display_pub.session, shell.display_pub.pub_socket = Session(key=b"k"), socket
    return sent


def _record(steps: int) -> Row:
    """Milliseconds of a record's HTML, and what a notebook's file becomes longer by."""
    import nbformat

    from agentnb.render import as_html, as_text
    from agentnb.summary import summarise

    summary = summarise(_records(steps))
    as_html(summary)  # the style sheet is read once
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(_TIMES):
        html = as_html(summary)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    bundle = {"text/plain": as_text(summary), "text/html": html}
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("display_data", bundle)])
    size = len(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode())
    return {
        "who": "record",
        "steps": steps,
        "wall ms": wall * 1e3 / _TIMES,
        "cpu ms": cpu * 1e3 / _TIMES,
        "kB": size / 1000,
    }


def measure(who: str, steps: str) -> Row:
    """One panel or record, in this process."""
    return {"panel": _panel, "record": _record}[who](int(steps))


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
