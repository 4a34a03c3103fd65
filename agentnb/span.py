"""A span: one thing that a run did, from one record to another, in the terms of OpenTelemetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agentnb.events import Kept

__all__ = ["WRONG", "Op", "Span"]

Op = Literal[
    "invoke_agent", "plan", "step", "summarise", "answer",
    "chat", "execute_tool", "wait", "backoff", "rest", "decision",
]  # fmt: skip
"""What a span is of. `invoke_agent`, `plan`, `chat` and `execute_tool` are OpenTelemetry's; a `step` holds all that was
done for one step of the plan, `wait` is for a person, `backoff` before a call is made again, `rest` while nobody drove
the run, and a `decision` has no length."""

WRONG: Final = frozenset({"failed", "refused", "reject", "stop", "in_doubt", "lost", "length", "refusal"})
"""Statuses of what did not do what it was to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One thing that a run did.

    Attributes:
        run: whose it is: the run's id, or that of a run inside it.
        id: 0, 1, 2, … within its run, in the order in which they began; the run itself is 0.
        parent: the `id` of the span that it is a part of; None of the run itself.
        seq: the record that began it; a step begins with the same record as its first part.
        op: what it is of.
        name: the same in a word or two: "s2 query", "plan 1", "critique".
        step: the step of the plan that it belongs to, or "".
        at: seconds since 1970, UTC, when it began; 0 where times are not shown.
        start: seconds on the run's clock when it began.
        end: when it ended; None while it goes on.
        status: "ok", "empty", "failed", "proposed", "simulated", "refused", "in_doubt", "lost" (its process ended);
            "length" or "refusal" of a model call that ended so, "withdrawn" of one that was given up before it began;
            what a person decided ("approve", "reject", …), a status of runs, or "open" while it goes on.
        text: why, or what was said, in words: a message, a reason, an answer.
        phase: of a model call.
        attempt: 1, 2, … of a call that is made again.
        model: of a model call: who was asked.
        input_tokens: sent; those that the provider had cached included.
        output_tokens: received, reasoning included.
        cached_tokens: of those sent, those that the provider read from its cache.
        usd: what was charged for it, in US dollars.
        saved_usd: what our prompt cache saved.
        cached: True of a reply out of our prompt cache.
        tool: of a tool call, or of a question about one.
        args: its arguments.
        result: what it gave; of a model call, the reply.
        failure: the class of its failure, or "".
        key: of a model call that of the request, of a tool call its idempotency key.
        by: who decided: a person's name, "policy", "critic", "check" and so on.
        child: of another agent's run inside this one: its id.
        shared: True of what belongs to the run that this one was forked from, and was paid for there.
    """

    run: str
    id: int
    parent: int | None
    seq: int
    op: Op
    name: str
    step: str = ""
    at: float = 0.0
    start: float = 0.0
    end: float | None = None
    status: str = "open"
    text: str = ""
    phase: str = ""
    attempt: int = 1
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0
    saved_usd: float = 0.0
    cached: bool = False
    tool: str = ""
    args: Kept | None = None
    result: Kept | None = None
    failure: str = ""
    key: str = ""
    by: str = ""
    child: str = ""
    shared: bool = False

    @property
    def seconds(self) -> float:
        """How long it took; 0 of what goes on."""
        return 0.0 if self.end is None else max(0.0, self.end - self.start)

    @property
    def open(self) -> bool:
        """True while it goes on."""
        return self.end is None
