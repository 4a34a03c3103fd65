"""What a call that acts costs more than one that may simply be made: guards, the question and its answer, the ledger.

Beside it LangGraph's `interrupt` and `Command(resume=…)`, its way to ask before a node goes on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.measuring import Job, Options, Row, Target, Timer, fresh, median_of, places

__all__ = ["TARGETS", "rows"]

_SIZES = (100, 1000)
_PEERS = (100,)
"""Of LangGraph, whose checkpoints grow with the run."""

TARGETS = (
    Target(
        "gate, guards and ledger together, ms a call, at most 0.5",
        "more ms",
        0.5,
        lambda row: (row["who"], row["where"]) == ("asked, 3 guards, once_per", "disk"),
    ),
)


def rows(options: Options) -> list[Row]:
    """A line for each kind of call, place and number of steps."""
    with places() as where:
        jobs = [
            Job("gate", (who, place, str(n), str(folder)))
            for place, folder in where.items()
            for n in options.sizes(*_SIZES)
            for who in _KINDS
            if n in _PEERS or not who.startswith("LangGraph")
        ]
        fresh(jobs[0])  # files are read and compiled before anything is measured
        return _compared(median_of(jobs, options.repeats))


def _compared(found: Sequence[Row]) -> list[Row]:
    """Each row with what it takes over the call that nobody has to be asked about."""
    plain = {(row["where"], row["steps"]): row["wall ms"] for row in found if row["who"] == "a write, let by auto"}
    return [{**row, "more ms": row["wall ms"] - plain[row["where"], row["steps"]]} for row in found]


def _agentnb(*, asked: bool = False, guards: int = 0, once: bool = False) -> Callable[[Path, int, Timer], None]:
    def run(folder: Path, steps: int, timer: Timer) -> None:
        from agentnb import Agent, Answer, Budget, Step, max_value, tool
        from tests.bench.zero import ZeroModel

        @tool(
            effect="write",
            reversibility="full",
            guards=[max_value("n", 10**9)] * guards,
            once_per=("n",) if once else (),
        )
        def send(n: int) -> dict[str, Any]:
            """Send it.

            Args:
                n: which.
            """
            return {"n": n, "text": "x" * 980}

        budget = Budget(steps=10**9, tokens=10**12, working_seconds=10.0**9)
        plan = [Step(tool="send", args={"n": n}, title=f"send {n}") for n in range(steps)]
        agent = Agent(
            ZeroModel(),
            tools=[send],
            store=folder,
            budget=budget,
            approve="ask" if asked else "auto",
            approver=lambda _: Answer("approve", by="ada"),
        )
        for record in agent.begin("send all", plan=plan):
            if record.event.kind == "tool_claimed":
                timer.lap()

    return run


def _langgraph(folder: Path, steps: int, timer: Timer) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found,unused-ignore]
    from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore]
    from langgraph.types import Command, interrupt  # type: ignore[import-not-found,unused-ignore]

    from tests.bench.peer_langgraph import Whole, opened

    def ask(state: Any) -> dict[str, Any]:
        interrupt({"tool": "send", "args": {"n": state["n"]}})
        timer.lap()
        return {"messages": ["x" * 980], "findings": [], "n": state["n"] + 1}

    graph = StateGraph(Whole)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda state: "ask" if state["n"] < steps else END)
    app = graph.compile(checkpointer=SqliteSaver(opened(folder)))
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": 3 * steps + 10}
    app.invoke({"messages": [], "findings": [], "n": 0}, config, durability="sync")
    for _ in range(steps):
        app.invoke(Command(resume=True), config, durability="sync")


_KINDS: dict[str, Callable[[Path, int, Timer], None]] = {
    "a write, let by auto": _agentnb(),
    "3 guards": _agentnb(guards=3),
    "once_per": _agentnb(once=True),
    "asked": _agentnb(asked=True),
    "asked, 3 guards, once_per": _agentnb(asked=True, guards=3, once=True),
    "LangGraph, interrupt and resume": _langgraph,
}


def measure(who: str, place: str, steps: str, folder: str) -> Row:
    """One run, in this process."""
    n, timer = int(steps), Timer()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        _KINDS[who](Path(own), n, timer)
    return {"who": who, "where": place, "steps": n, **timer.row()}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
