"""Makes the store that later releases must open, with whatever agentnb is installed: python -m tests.stores.make N

Run it once for each layout, when that layout is new, and keep what it writes: `layout-N.zip`. The runs in it stand for
what people leave behind: one that is complete, one that waits for a person, one in doubt, one at a limit, one with a
destructive action in its queue. `tests/test_layout.py` opens every file of this folder.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from agentnb import Agent, Answer, Budget, ModelReply, Step, Tool, Usage, tool

__all__ = ["agent", "make", "tools"]

_REPLIES = {"answer": '{"answer":"done","unknowns":[],"confidence":"high"}'}
_VERDICT = '{"verdict":"continue","reason":"fine","confidence":"high","finding":"as expected"}'


class Steady:
    """Says the same whatever it is asked."""

    ref = "scripted"

    def ask(self, request: Any) -> ModelReply:
        """The answer, or a verdict."""
        return ModelReply(_REPLIES.get(request.phase, _VERDICT), Usage(100, 20))


def tools() -> list[Tool]:
    """The tools of all runs, made anew: none of them remembers what failed elsewhere."""

    @tool(effect="read")
    def look(n: int) -> dict[str, Any]:
        """Look something up.

        Args:
            n: which.
        """
        return {"n": n, "text": "x" * 980}

    @tool(effect="write", reversibility="full", once_per=("title",))
    def file_ticket(title: str) -> dict[str, str]:
        """File a ticket.

        Args:
            title: what it says.
        """
        return {"filed": title}

    @tool(effect="write", reversibility="partial")
    def post(text: str) -> str:
        """Post a text; the connection drops after it was sent.

        Args:
            text: what it says.
        """
        raise ConnectionResetError(text)

    @tool(effect="destructive")
    def wipe(table: str) -> str:
        """Empty a table.

        Args:
            table: its name.
        """
        return f"{table} is empty"

    return [look, file_ticket, post, wipe]


def agent(store: Path, **options: Any) -> Agent:
    """An agent that can go on with each of these runs."""
    return Agent(Steady(), tools=tools(), store=store, **options)


def make(folder: Path) -> None:
    """Fill a store."""
    yes = {"approver": lambda _: Answer("approve", by="ada")}
    looks = [Step(tool="look", args={"n": n}, expect="an object") for n in range(3)]
    agent(folder, **yes).run("complete", plan=[*looks, Step(tool="file_ticket", args={"title": "first"})])
    agent(folder).run("waits for a person", plan=[*looks[:1], Step(tool="file_ticket", args={"title": "second"})])
    agent(folder, **yes).run("in doubt", plan=[Step(tool="post", args={"text": "sent?"})])
    agent(folder, budget=Budget(steps=2)).run("at a limit", plan=looks)
    agent(folder).run("proposes", plan=[Step(tool="wipe", args={"table": "letters"})])


def main() -> None:
    """Write layout-N.zip beside this file."""
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "store"
        make(made)
        for database in made.rglob("*.db"):
            with sqlite3.connect(database) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        shutil.rmtree(made / "prompts")
        shutil.rmtree(made / "locks")
        print(shutil.make_archive(str(Path(__file__).parent / f"layout-{sys.argv[1]}"), "zip", made))  # noqa: T201


if __name__ == "__main__":
    main()
