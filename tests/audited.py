"""A run with one of nearly everything that an audit log tells, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentnb import Agent, Answer, Check, Step, Tool, Transient, tool
from agentnb.approval import Request
from agentnb.guards import max_value
from agentnb.run import Run
from tests.parts import add, answer, plan, step, verdict
from tests.stores.make import Steady

__all__ = ["busy", "tools"]


def tools() -> list[Tool]:
    """Tools that read, fail twice, pay, and drop; made anew, so that none remembers what failed elsewhere."""
    tries: list[str] = []

    @tool(effect="read", untrusted=True)
    def search(query: str, limit: int = 3) -> list[str]:
        """Search the mailbox.

        Args:
            query: words.
            limit: how many.
        """
        return [f"{query} 17", f"{query} 18", "x" * 600][:limit]

    @tool(effect="read")
    def stock(item: str) -> int:
        """Say how many are left.

        Args:
            item: of what.
        """
        tries.append(item)
        if len(tries) < 3:
            raise Transient(f"warehouse {item} timed out")
        return 4

    @tool(
        effect="write",
        reversibility="partial",
        egress=True,
        guards=[max_value("amount", 100)],
        describe="refund of {amount} EUR",
    )
    def refund(ticket: str, amount: int) -> dict[str, str]:
        """Pay money back.

        Args:
            ticket: whose.
            amount: EUR.
        """
        return {"paid": f"{amount} for {ticket}"}

    @tool(effect="destructive", describe=lambda table, **_: f"the table {table} is dropped")
    def drop(table: str) -> int:
        """Drop a table.

        Args:
            table: which.
        """
        return len(table)

    return [search, stock, refund, drop]


def approver(request: Request) -> Answer:
    """Says yes to what is small."""
    amount: Any = request.args.get("amount", 0)
    return Answer("approve", "ada", "by phone") if amount <= 50 else Answer("reject", "ada", "too much")


STEPS = [
    Step(tool="search", args={"query": "late parcels"}, title="find them", check=Check(non_empty=True)),
    Step(tool="stock", args={"item": "parcel"}, check=Check(non_empty=True)),
    Step(tool="refund", args={"ticket": "$s1[0]", "amount": 40}, title="pay back", check=Check(non_empty=True)),
    Step(tool="adder", args={"task": "add 1 and 2"}, check=Check(non_empty=True)),
    Step(tool="drop", args={"table": "old"}),
    Step(tool="refund", args={"ticket": "$s1[1]", "amount": 60}),
]


def busy(store: Any, steps: Sequence[Step] = STEPS, **options: Any) -> Run:
    """A run that reads, retries, pays, asks an agent, proposes, is refused; the proposal is carried out by hand."""
    inner = Agent(steady_adder(), tools=[add]).as_tool("adder", "Adds.")
    options = {"tools": [*tools(), inner], "approver": approver, "assess": False, **options}
    agent = Agent(Steady(), store=store, sleep=lambda _: None, **options)
    run = agent.run("Look after the late parcels", plan=list(steps))
    if run.pending:
        run.execute(by="grace")
    return run


def steady_adder() -> Any:
    """A model of an agent that adds once."""
    from agentnb import ScriptedModel

    return ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer("three")])
