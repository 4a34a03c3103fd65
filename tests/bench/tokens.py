"""Input tokens of a long task: what our prompts come to, beside a history that is sent again at every step.

No model and no clock: every request that a run makes is counted, four bytes of text a token on both sides, its schema
included. *With caching* weighs them as Anthropic bills them: a beginning that was sent before costs a tenth, one that
is marked to be kept a quarter more. The history's side is the best that it can be: one call a step, nothing sent twice
within it, all of it marked.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from agentnb import Agent, Budget, ModelReply, ModelRequest, Step, Usage, tool
from tests.bench.measuring import Job, Options, Row, Target, median_of
from tests.parts import MemoryStore

__all__ = ["TARGETS", "rows"]

_SIZES = (10, 20, 50, 100, 1000, 10_000)
_BYTES_A_TOKEN = 4
_RESULT = 500
"""Tokens of a tool's result."""
_READ, _WRITTEN, _LEAST = 0.1, 1.25, 1024
"""Anthropic's prices of cached input, of that of other input, and the shortest beginning that is cached."""


def _target(name: str, column: str, most: float, **where: Any) -> Target:
    return Target(name, column, most, lambda row: all(row[key] == value for key, value in where.items()))


TARGETS = (
    _target("50 steps: at most a quarter of the history's tokens", "of history", 0.25, steps=50, calls="critic"),
    _target("50 steps, each bound by a model too: the same", "of history", 0.25, steps=50, calls="bind, critic"),
    _target("100 steps: at most a seventh", "of history", 1 / 7, steps=100, calls="critic"),
    _target("100 steps, each bound by a model too: the same", "of history", 1 / 7, steps=100, calls="bind, critic"),
    _target("50 steps with caching: at most 0.65 of the history's", "cached, of history", 0.65, steps=50),
    _target(
        "10 000 steps: the longest prompt as long as at 20 steps, within a tenth",
        "longest, of 20 steps",
        1.1,
        steps=10_000,
    ),
    _target("10 000 steps: building a prompt, ms, under 2", "wall ms", 2.0, steps=10_000),
)


def rows(options: Options) -> list[Row]:
    """A line for each length and kind of step."""
    jobs = [Job("tokens", (str(n), calls)) for calls in ("critic", "bind, critic") for n in options.sizes(*_SIZES)]
    found = median_of(jobs, 1)
    for row in found:
        short = next(r for r in found if r["steps"] == 20 and r["calls"] == row["calls"])
        row["longest, of 20 steps"] = row["longest"] / short["longest"]
    return found


class _Counting:
    """Answers at once, and adds up what it is sent."""

    ref = "scripted"

    def __init__(self) -> None:
        self.sent = self.longest = 0
        self.weighed = 0.0
        self._kept: set[tuple[str, ...]] = set()

    def ask(self, request: ModelRequest) -> ModelReply:
        """A filled argument, a verdict, or the answer."""
        schema = json.dumps(request.schema)
        size = _tokens(schema, request.system, request.user)
        self.sent += size
        self.longest = max(self.longest, size)
        self.weighed += self._weight(schema, request)
        replies: dict[str, Any] = {
            "bind": {"args": {"question": "how many were late"}},
            "critique": {"finding": "the number is 1234", "reason": "as expected", "verdict": "continue"},
            "answer": {"answer": "done"},
        }
        return ModelReply(json.dumps({"confidence": "high", **replies[request.phase]}), Usage(1, 1))

    def _weight(self, schema: str, request: ModelRequest) -> float:
        """As it is billed: each beginning that ends at a marked part was written before, or is written now."""
        weight, begin = 0.0, [schema]
        for part in (request.system, *request.context):
            begin.append(part)
            size, whole = _tokens(part) + (_tokens(schema) if part is request.system else 0), tuple(begin)
            if whole in self._kept:
                weight += size * _READ
            elif _tokens(*whole) >= _LEAST:
                self._kept.add(whole)
                weight += size * _WRITTEN
            else:
                weight += size
        return weight + _tokens(request.prompt)


@tool(effect="read")
def ask_table(question: str) -> dict[str, Any]:
    """Ask the table of flights a question, and get the rows that answer it.

    Args:
        question: in words.
    """
    number = sum(map(ord, question))
    return {"rows": [{"flight": f"BA{(number * n) % 9973:04d}", "delay": (number + n) % 90} for n in range(53)]}


def _tokens(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts) // _BYTES_A_TOKEN


def measure(steps: str, calls: str) -> Row:
    """One run of so many steps."""
    n, model = int(steps), _Counting()
    budget = Budget(steps=10**9, tokens=10**12, working_seconds=10.0**9)
    agent = Agent(model, tools=[ask_table], store=MemoryStore(), budget=budget, assess=False)
    said = "$? the question of this step, {}" if "bind" in calls else "how many of the flights of day {} were late"
    plan = [
        Step(tool="ask_table", args={"question": said.format(k)}, title=f"Count day {k}'s late flights", expect="rows")
        for k in range(n)
    ]
    began = time.perf_counter()
    agent.run("Find out on which days most flights were late, and by how much.", plan=plan)
    wall = (time.perf_counter() - began) * 1e3
    history, weighed = _history(n)
    per_call = n * (2 if "bind" in calls else 1) + 1
    return {
        "steps": n, "calls": calls, "tokens": model.sent, "history": history, "of history": model.sent / history,
        "cached": round(model.weighed), "cached, of history": model.weighed / weighed, "longest": model.longest,
        "wall ms": wall / per_call,
    }  # fmt: skip


def _history(steps: int) -> tuple[int, float]:
    """What one call a step comes to that is sent the rules, the tools, the task and all that was before."""
    fixed, turn = 800, _RESULT + 150
    """Tokens: of the system text and the tools; of a result and the call that asked for it."""
    sizes = [fixed + turn * n for n in range(steps + 1)]
    weighed = sum(_READ * before + _WRITTEN * (size - before) for before, size in zip([0, *sizes], sizes, strict=False))
    return sum(sizes), weighed


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
