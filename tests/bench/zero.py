"""A run in which everything but the loop costs nothing: a model that answers at once, a tool with 1 kB of result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentnb import Agent, Budget, ModelReply, ModelRequest, Step, Usage, tool
from agentnb.observed import Observer
from agentnb.session import Session
from agentnb.store.base import NO_ROWS, Store

__all__ = ["ZeroModel", "begin", "counted", "look"]

_VERDICT = '{"verdict":"continue","reason":"fine","confidence":"high","finding":"the number is right"}'
_ANSWER = '{"answer":"x"}'


class ZeroModel:
    """Answers at once.

    Args:
        ref: the prompt cache leaves "scripted" models alone, and keeps the replies of any other.
    """

    def __init__(self, ref: str = "scripted") -> None:
        self.ref = ref

    def ask(self, request: ModelRequest) -> ModelReply:
        """A verdict, or the answer."""
        return ModelReply(_ANSWER if request.phase == "answer" else _VERDICT, Usage(100, 20))


@tool(effect="read")
def look(n: int) -> dict[str, Any]:
    """Look something up.

    Args:
        n: which.
    """
    return {"n": n, "text": "x" * 980}


def begin(store: Store | Path, steps: int, ref: str = "scripted", telemetry: Observer | None = None) -> Session:
    """A run of `steps` steps, each with a tool call and a critic's call, under a budget that never stops it."""
    budget = Budget(steps=10**9, tokens=10**12, working_seconds=10.0**9)
    agent = Agent(ZeroModel(ref), tools=[look], store=store, budget=budget, telemetry=telemetry)
    plan = [Step(tool="look", args={"n": n}, title=f"look at {n}", expect="an object") for n in range(steps)]
    return agent.begin("look at all", plan=plan)


@contextmanager
def counted(store: Any) -> Iterator[list[int]]:
    """A list that grows by one for each commit of `store` meanwhile: every append is one transaction, and one fsync."""
    commits: list[int] = []
    append = store.append

    def counting(run: str, records: Any, blobs: Any, rows: Any = NO_ROWS) -> None:
        append(run, records, blobs, rows)
        commits.append(len(records))

    store.append = counting
    try:
        yield commits
    finally:
        del store.append


def written(steps: int) -> Iterable[tuple[str, str, dict[str, str]]]:
    """What such a run gives its store: for each commit its key, its records as JSON, and the other rows with them."""
    from agentnb.codec import encode
    from tests.parts import MemoryStore

    class Noting(MemoryStore):
        def append(self, run: str, records: Any, blobs: Any, rows: Any = NO_ROWS) -> None:
            super().append(run, records, blobs, rows)
            noted.append((f"j/{run}/{records[0].seq:010d}", encode(records), {**blobs, **rows}))

    noted: list[tuple[str, str, dict[str, str]]] = []
    begin(Noting(), steps).finish()
    return noted
