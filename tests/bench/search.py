"""The index over many runs of 20 to 42 events: what an event costs to take in, what a search and the metrics take.

The records are those of real runs, with other words in them. Beside it the same texts in a plain table that is scanned
with LIKE, and in a file that `grep` reads.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from agentnb import Agent, ModelReply, ModelRequest, Usage
from agentnb.chosen import Which, chosen
from agentnb.entry import Part
from agentnb.events import Kept, Record, RunFinished, RunStarted, StepJudged, ToolReturned
from agentnb.index import Index
from agentnb.measures import measured
from agentnb.notebook.figures import dashboard
from agentnb.query import Query
from agentnb.search import search
from agentnb.store.base import News, Store
from tests.bench.measuring import RESULTS, Job, Options, Row, Target, fresh, size_of
from tests.parts import MemoryStore, add, answer, broken, note, plan, step, table, verdict

__all__ = ["TARGETS", "rows"]

_RUNS = 100_000
_WORDS = 20_000
_NOW = 1_790_000_000.0
_EVERY_S = 60.0

TARGETS = (
    Target("taking in an event, µs, at most 200", "µs an event", 200, lambda row: row["what"] == "take in"),
    Target(
        "a search over 100 000 runs, ms, at most 1000", "wall ms", 1000,
        lambda row: str(row["what"]).startswith("search") and row["who"] == "agentnb",
    ),
    Target("metrics of 10 000 runs, ms, under 1000", "wall ms", 1000, lambda r: r["what"] == "metrics of 10 000 runs"),
    Target(
        "the dashboard over 10 000 runs, ms, at most 1000", "wall ms", 1000,
        lambda row: row["what"] == "dashboard of 10 000 runs",
    ),
)  # fmt: skip


def rows(options: Options) -> list[Row]:
    """A line for each question and who answers it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs = _RUNS if options.most >= 10_000 else 2000
    with tempfile.TemporaryDirectory(prefix="agentnb-bench-", dir=RESULTS) as folder:
        return cast("list[Row]", fresh(Job("search", (folder, str(runs))))["rows"])


class Made:
    """A store of runs that are made up as they are read: what the index asks of one, and nothing else."""

    place = "made up"

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder = folder
        self._runs = runs
        self._kinds = [list(_driven(*lines)) for lines in _KINDS]
        luck = random.Random(7)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(luck.choices(letters, k=luck.randint(3, 9))) for _ in range(_WORDS)]
        self._words[:3] = ["report", "ticket", "customer"]  # in nearly every run
        self._words[2000] = "refund"
        self._odds = [1 / (place + 3) for place in range(_WORDS)]

    def since(self, mark: str) -> News:
        """All of them, and then none."""
        news = {} if mark else {f"r{n + 1}-owl": 15 for n in range(self._runs)}
        return News("all", news, "more" if mark else "other")

    def read(self, run: str, after: int = -1) -> Iterator[Record]:
        """The records of a run, the same each time."""
        number = int(run[1:].partition("-")[0])
        luck = random.Random(number)
        texts = iter(" ".join(luck.choices(self._words, self._odds, k=60 * 12)).split(" "))

        def said(many: int) -> str:
            return " ".join(next(texts) for _ in range(many))

        for record in self._kinds[number % len(self._kinds)][after + 1 :]:
            event: Any = record.event
            match event:
                case RunStarted():
                    event = replace(event, run=run, task=said(12), tags={"task_type": f"kind {number % 7}"})
                case ToolReturned() if event.result:
                    event = replace(event, result=_kept(said(40)))
                case StepJudged():
                    event = replace(event, finding=said(12))
                case RunFinished():
                    event = replace(event, output=said(60))
                case _:
                    pass
            yield Record(record.seq, _NOW - (self._runs - number) * _EVERY_S + record.t, record.t, event)

    def blob(self, digest: str) -> str:
        """None is kept aside."""
        raise LookupError(digest)


def _kept(text: str) -> Kept:
    return Kept(len(text) + 2, json.dumps(text))


class _Model:
    """Plans these steps, is content with all of them, and answers."""

    ref = "scripted"

    def __init__(self, steps: Sequence[dict[str, Any]]) -> None:
        self._says = dict([plan(*steps), verdict(finding="it is 3"), answer()])

    def ask(self, request: ModelRequest) -> ModelReply:
        """What is said in the request's phase."""
        return ModelReply(json.dumps(self._says[request.phase]), Usage(500, 50))


def _driven(steps: Sequence[dict[str, Any]], policy: str) -> list[Record]:
    """The records of one real run."""
    tools = [add, table, note, broken]
    agent = Agent(_Model(steps), tools=tools, approve=policy, assess=False, stops=None, store=MemoryStore())
    return agent.run("do it").events


_KINDS: Sequence[tuple[Sequence[dict[str, Any]], str]] = (
    ([step("add", a=1, b=2), step("table"), step("add", a=2, b=3)], "auto"),
    ([step("add", a=1, b=2), step("note", text="x"), step("table")], "auto"),
    ([step("table"), step("add", a=1, b=2), step("table", rows=4)], "auto"),
    ([step("table"), step("add", a=1, b=2), step("broken")], "auto"),
    ([step("table"), step("add", a=1, b=2), step("note", text="x")], "ask"),
)
"""What the runs do; one of the last kind waits for a person."""

_SEARCHES: Sequence[tuple[str, str, Which]] = (
    ("a rare word", "refund", {}),
    ("a word of every run", "report", {}),
    ("three common words", "report ticket customer", {}),
    ("a phrase", '"report ticket"', {}),
    ("a beginning", "refu*", {}),
    ("with filters", "ticket", {"tool": "broken", "status": "failed", "since": "2026-08-01"}),
    ("filters alone", "", {"tool": "note", "task_type": "kind 3"}),
)


def measure(folder: str, runs: str) -> Row:
    """Everything, in this process."""
    many = int(runs)
    store = Made(Path(folder), many)
    index = Index(cast("Store", store))
    began, worked = time.perf_counter(), time.process_time()
    index.catch_up()
    took, busy = time.perf_counter() - began, time.process_time() - worked
    events = sum(n + 1 for (n,) in index.rows("SELECT upto FROM run"))
    made = _making(store, min(many, 2000))
    found: list[Row] = [
        {"what": "take in", "who": "agentnb", "runs": many, "wall ms": took * 1e3, "found": events,
         "µs an event": (busy / events - made) * 1e6, "MB": size_of(Path(folder)) / 1e6},
    ]  # fmt: skip
    found += _searches(index, many)
    found += _metrics(index, many)
    found += _peers(index, Path(folder), many)
    return {"rows": found}


def _making(store: Made, runs: int) -> float:
    """Seconds that an event takes to be made up, which are none of the index's."""
    began, events = time.process_time(), 0
    for n in range(runs):
        events += sum(1 for _ in store.read(f"r{n + 1}-owl"))
    return (time.process_time() - began) / events


def _timed(work: Callable[[], Any], times: int = 5) -> tuple[float, Any]:
    """The median of several times, in ms, and what it gave."""
    taken, got = [], None
    for _ in range(times):
        began = time.perf_counter()
        got = work()
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken), got


def _searches(index: Index, many: int) -> Iterator[Row]:
    for name, text, which in _SEARCHES:
        query = Query.of(text) if text else None
        for order in ("newest", "best") if query else ("newest",):
            ms, got = _timed(lambda q=query, w=which, o=order: search(index, q, chosen(w, _NOW), order=o))  # type: ignore[misc]
            yield {"what": f"search: {name}, {order}", "who": "agentnb", "runs": many, "wall ms": ms, "found": len(got)}


def _metrics(index: Index, many: int) -> Iterator[Row]:
    for runs, name in ((10_000, "10 000"), (many, "all")):
        which = chosen({}, _NOW) if runs == many else replace(chosen({}, _NOW), since=_NOW - runs * _EVERY_S)
        ms, got = _timed(lambda w=which: measured(index, w, _NOW), 3)  # type: ignore[misc]
        yield {"what": f"metrics of {name} runs", "who": "agentnb", "runs": got.runs, "wall ms": ms, "found": got.calls}
        more, _ = _timed(lambda m=got: dashboard(m)._repr_mimebundle_(), 3)  # type: ignore[misc]
        drawn = {"what": f"dashboard of {name} runs", "wall ms": ms + more}
        yield {"who": "agentnb", "runs": got.runs, "found": got.calls, **drawn}


def _peers(index: Index, folder: Path, many: int) -> Iterator[Row]:
    """The same texts, a row or a line for each record, looked through from end to end."""
    raw = sqlite3.connect(folder / "peer.sqlite")
    raw.execute("CREATE TABLE said (run INTEGER, text TEXT)")
    lines = folder / "peer.jsonl"
    with lines.open("w", encoding="utf-8") as file:
        for (of,) in index.rows("SELECT id FROM run"):
            parts: list[Part] = index.parts(of)
            raw.executemany("INSERT INTO said VALUES (?, ?)", ((of, part.text) for part in parts))
            file.writelines(f"{json.dumps([of, part.text])}\n" for part in parts)
    raw.commit()
    like = "SELECT DISTINCT run FROM said WHERE text LIKE '%refund%' ORDER BY run DESC LIMIT 20"
    ms, got = _timed(lambda: raw.execute(like).fetchall(), 3)
    yield {"what": "search: a rare word, newest", "who": "LIKE", "runs": many, "wall ms": ms, "found": len(got)}
    grep = shutil.which("grep") or "grep"
    ms, got = _timed(
        lambda: subprocess.run([grep, "-c", "refund", str(lines)], capture_output=True, text=True, check=False), 3
    )
    yield {"what": "search: a rare word, newest", "who": "grep", "runs": many, "wall ms": ms, "found": int(got.stdout)}
    raw.close()


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
