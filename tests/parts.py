"""Sample tools and replies for tests of the loop."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentnb.errors import FailureClass, KeyTaken, RunConflict, RunHeld, ToolFailure
from agentnb.events import Record
from agentnb.store.base import NO_ROWS, News
from agentnb.tools import tool


@tool(effect="read")
def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: the first.
        b: the second.
    """
    return a + b


@tool(effect="read")
def table(rows: int = 3) -> list[dict[str, int]]:
    """A table with as many rows as asked for.

    Args:
        rows: how many.
    """
    return [{"n": n, "square": n * n} for n in range(rows)]


@tool(effect="read")
def broken(why: str = "no such column: depdelay") -> str:
    """Always fails.

    Args:
        why: what it says.
    """
    raise ToolFailure(why, FailureClass.INVALID_DATA)


@tool(effect="write", reversibility="full")
def note(text: str) -> int:
    """Keep a note.

    Args:
        text: the note.
    """
    NOTES.append(text)
    return len(NOTES)


NOTES: list[str] = []


def step(name: str, title: str = "", **args: Any) -> dict[str, Any]:
    """A step as a model writes it."""
    return {
        "tool": name,
        "args": args,
        "title": title or name,
        "expect": "a result",
        "confidence": "high",
        "depends_on": [],
    }


def plan(*steps: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The planner's reply."""
    return "plan", {"approach": "as planned", "steps": list(steps)}


def verdict(ruling: str = "continue", finding: str = "", reason: str = "as expected") -> tuple[str, dict[str, Any]]:
    """The critic's reply."""
    return "critique", {"finding": finding, "reason": reason, "verdict": ruling, "confidence": "high"}


def bind(**args: Any) -> tuple[str, dict[str, Any]]:
    """The binder's reply."""
    return "bind", {"args": args}


def answer(text: str = "Done.") -> tuple[str, dict[str, Any]]:
    """The final reply."""
    return "answer", {"answer": text, "unknowns": [], "confidence": "high"}


class MemoryHold:
    """A run that is driven, by its name in a set."""

    def __init__(self, held: set[str], run: str) -> None:
        self._held, self._run = held, run
        held.add(run)

    def release(self, *, ended: bool) -> None:  # noqa: ARG002 - a Hold
        self._held.discard(self._run)

    def __del__(self) -> None:
        self._held.discard(self._run)


class MemoryStore:
    """A store that forgets at exit: for tests of ten thousand runs, where the disk is not what is tested."""

    place = "memory"

    def __init__(self) -> None:
        self._runs: dict[str, list[Record]] = {}
        self._blobs: dict[str, str] = {}
        self._rows: dict[str, str] = {}
        self._held: set[str] = set()

    def copy(self) -> MemoryStore:
        """What a process leaves that dies now: records never change, and nobody drives the run any more."""
        left = MemoryStore()
        left._runs = {run: [*records] for run, records in self._runs.items()}
        left._blobs, left._rows = {**self._blobs}, {**self._rows}
        return left

    def new_run_id(self) -> str:
        return f"r{len(self._runs) + 1}-test"

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        kept = self._runs.setdefault(run, [])
        if records[0].seq != len(kept):
            raise RunConflict(run)
        if rows.keys() & self._rows.keys():
            raise KeyTaken(run)
        kept.extend(records)
        self._rows.update(rows)
        self._blobs.update(blobs)

    def read(self, run: str, after: int = -1) -> list[Record]:
        return self._runs[run][after + 1 :]

    def first(self, run: str) -> Record:
        return self._runs[run][0]

    def last(self, run: str) -> Record:
        return self._runs[run][-1]

    def seals(self, run: str, start: int = 0) -> tuple[tuple[int, str], ...]:  # noqa: ARG002 - a Store
        return ()

    def blob(self, digest: str) -> str:
        return self._blobs[digest]

    def hold(self, run: str) -> MemoryHold:
        if run in self._held:
            raise RunHeld(run)
        return MemoryHold(self._held, run)

    def add_row(self, key: str, text: str) -> bool:
        fresh = key not in self._rows
        self._rows.setdefault(key, text)
        return fresh

    def rows(self, prefix: str) -> list[tuple[str, str]]:
        return sorted((key, text) for key, text in self._rows.items() if key.startswith(prefix))

    def last_row(self, prefix: str) -> tuple[str, str] | None:
        return next(reversed(self.rows(prefix)), None)

    def row(self, key: str) -> str | None:
        return self._rows.get(key)

    def runs(self) -> list[str]:
        return list(self._runs)

    folder = None

    def is_driven(self, run: str) -> bool:
        return run in self._held

    def since(self, mark: str) -> News:
        counts = {run: len(records) for run, records in self._runs.items()}
        before: dict[str, int] = json.loads(mark or "{}")
        news = {run: n - 1 for run, n in counts.items() if n != before.get(run)}
        return News(json.dumps(counts), news, "more" if before.keys() <= counts.keys() else "other")
