"""The same job on LangGraph: model node → tool node → record node, N times, a checkpoint after every node.

Messages and findings are lists that grow by what is appended to them. With `delta` they are kept as LangGraph's
`DeltaChannel`, which stores what was appended and not, at every checkpoint, the whole list.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, ToolMessage  # type: ignore[import-not-found,unused-ignore]
from langgraph.channels import DeltaChannel  # type: ignore[import-not-found,unused-ignore]
from langgraph.checkpoint.sqlite import SqliteSaver  # type: ignore[import-not-found,unused-ignore]
from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found,unused-ignore]

__all__ = ["Counting", "opened", "run", "thread"]


class Counting(sqlite3.Connection):
    """A connection that counts the commits that had something to commit."""

    commits = 0

    def commit(self) -> None:
        """As ever."""
        self.commits += self.in_transaction
        super().commit()


class Whole(TypedDict):
    """The state, kept whole at every checkpoint."""

    messages: Annotated[list[Any], operator.add]
    findings: Annotated[list[str], operator.add]
    n: int


def _appended(state: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Delta(TypedDict):
    """The state, kept by what was appended."""

    messages: Annotated[list[Any], DeltaChannel(_appended)]
    findings: Annotated[list[str], DeltaChannel(_appended)]
    n: int


def _model(state: Any) -> dict[str, Any]:
    n = state["n"]
    return {"messages": [AIMessage("", tool_calls=[{"name": "look", "args": {"n": n}, "id": f"c{n}"}])]}


def _tool(state: Any) -> dict[str, Any]:
    n = state["n"]
    return {"messages": [ToolMessage('{"n": %d, "text": "%s"}' % (n, "x" * 980), tool_call_id=f"c{n}")]}  # noqa: UP031


def _graph(saver: Any, steps: int, record: Callable[[Any], dict[str, Any]], *, delta: bool) -> Any:
    graph = StateGraph(Delta if delta else Whole)
    graph.add_node("model", _model)
    graph.add_node("tool", _tool)
    graph.add_node("record", record)
    graph.add_edge(START, "model")
    graph.add_edge("model", "tool")
    graph.add_edge("tool", "record")
    graph.add_conditional_edges("record", lambda state: "model" if state["n"] < steps else END)
    return graph.compile(checkpointer=saver)


def opened(folder: Path) -> Counting:
    """The database of checkpoints, with full sync as SqliteSaver leaves it: a commit returns after its fsync."""
    connection = sqlite3.connect(folder / "checkpoints.sqlite", check_same_thread=False, factory=Counting)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def run(connection: Counting, steps: int, lap: Callable[[], None], *, delta: bool) -> None:
    """Carry out `steps` steps, and call `lap` at the end of each."""

    def record(state: Any) -> dict[str, Any]:
        lap()
        return {"findings": ["the number is right"], "n": state["n"] + 1}

    graph = _graph(SqliteSaver(connection), steps, record, delta=delta)
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": 3 * steps + 10}
    graph.invoke({"messages": [], "findings": [], "n": 0}, config, durability="sync")


def thread(connection: Counting, *, delta: bool) -> int:
    """How many messages the thread holds, read as a resume reads it."""
    graph = _graph(SqliteSaver(connection), 0, lambda _: {}, delta=delta)
    return len(graph.get_state({"configurable": {"thread_id": "1"}}).values["messages"])
