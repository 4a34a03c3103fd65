"""A run that writes lines into a file, in a process of its own: python -m tests.worker STORE LINES [STEPS]

It begins the run, or goes on with the store's last one, and prints one line of JSON: how it stands, or what went wrong.
The file with the lines is the world: what is in it has happened, whatever the store says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agentnb.agent import Agent
from agentnb.budget import Budget, Usage
from agentnb.errors import AgentError
from agentnb.models.base import ModelReply
from agentnb.plan import Check, Step
from agentnb.resume import InDoubt
from agentnb.store.disk import DiskStore
from agentnb.tools import tool

__all__ = ["carried_on", "lines", "work"]


_ANSWER: Final = '{"answer":"done","unknowns":[],"confidence":"high"}'
_VERDICT: Final = '{"verdict":"continue","reason":"","confidence":"high","finding":""}'


class Steady:
    """Says that it is fine, and in the end that it is done."""

    ref = "scripted"

    def ask(self, request: Any) -> ModelReply:
        """The answer, or a verdict."""
        said = _ANSWER if request.phase == "answer" else _VERDICT
        return ModelReply(said, Usage(9, 9))


def lines(world: Path) -> list[str]:
    """What has happened."""
    return world.read_text().splitlines() if world.exists() else []


def work(store: DiskStore, world: Path, steps: int, *, before: Callable[[int], object] = lambda _: None) -> Any:
    """Begin the run, or go on with it; where its last call is in doubt, somebody has looked into the file.

    Args:
        store: where it is kept.
        world: the file.
        steps: how many lines.
        before: called with each line's number, before it is written.
    """

    @tool(effect="write", reversibility="partial")
    def write_line(n: int) -> dict[str, Any]:
        """Write a line.

        Args:
            n: which.
        """
        before(n)
        handle = os.open(world, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"EFFECT {n}\n".encode())
        os.close(handle)
        return {"n": n, "text": "x" * 500}

    @tool(effect="read")
    def look(n: int) -> int:
        """Look.

        Args:
            n: at what.
        """
        return n + 1

    budget = Budget(steps=None, tokens=10**9, working_seconds=10**6)
    agent = Agent(Steady(), tools=[write_line, look], store=store, approve="auto", budget=budget)
    if not agent.runs():
        looked = Check(non_empty=True)
        pairs = [
            (Step(tool="write_line", args={"n": n}), Step(tool="look", args={"n": n}, check=looked))
            for n in range(0, 2 * steps, 2)
        ]
        return agent.run("write", plan=[step for pair in pairs for step in pair])
    run = agent.runs()[0]
    claim = run.state.claim
    said: InDoubt | None = None
    if claim and claim.tool == "write_line":
        said = "done" if f"EFFECT {json.loads(claim.args.text or '{}')['n']}" in lines(world) else "not_done"
    return run.resume(in_doubt=said)


def carried_on(folder: Path, world: Path, steps: int) -> Any:
    """The run, gone on with in as many openings of the store as it takes."""
    for _ in range(5):
        store = DiskStore(folder)
        try:
            run = work(store, world, steps)
            if run.status.ended:
                return run
        finally:
            store.close()
    raise AssertionError(f"{run.status}: {run.detail}")


def main() -> None:
    """Do what the command line says."""
    folder, world, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    try:
        run = work(DiskStore(folder), world, steps)
        print(json.dumps({"status": str(run.status), "detail": run.detail}), flush=True)  # noqa: T201 - the report
    except AgentError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)  # noqa: T201 - the report
    os._exit(0)  # nothing is tidied up: whoever comes next finds what is there


if __name__ == "__main__":
    main()
