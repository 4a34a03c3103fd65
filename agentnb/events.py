"""Everything that can happen to a run, each an immutable record; their order is the only truth there is.

An *intent* (something is about to be asked, claimed or done) is durable before its effect starts; an *outcome* is
durable before the next intent's effect starts. `Event` is the union of all kinds; `Record` is an event with its place
and time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from agentnb.budget import Budget, Spent, Usage
from agentnb.errors import DamagedRecord, FailureClass, NotJSON
from agentnb.plan import Step

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "FORMAT",
    "INTENTS",
    "ApprovalAnswered",
    "ApprovalAsked",
    "ArgsBound",
    "BudgetExtended",
    "Event",
    "GateRaised",
    "Kept",
    "LimitReached",
    "ModelAsked",
    "ModelCached",
    "ModelFailed",
    "ModelReplied",
    "PlanMade",
    "Record",
    "ReplyRejected",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "RunSuspended",
    "StepJudged",
    "ToolClaimed",
    "ToolRefused",
    "ToolReturned",
    "decode",
    "encode",
]

FORMAT = 1
"""Of the records in a store; raised when a kind changes its meaning."""

Phase = Literal["plan", "bind", "critique", "answer"]
Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A JSON value as a record holds it: its text where that is short, else a handle.

    Attributes:
        size: length of the JSON text in characters.
        text: the JSON text, or None where the value is kept aside.
        blob: SHA-256 of the text where it is kept aside, once for every run of the store.
    """

    size: int
    text: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What the policy needs to know of a tool."""

    effect: Literal["read", "write"]
    reversibility: Literal["full", "partial", "irreversible"]
    schema: str
    """Hash of its argument schema, by which a resumed run sees that the tool has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run exists. First record of every run."""

    kind: Literal["run_started"] = "run_started"
    run: str
    task: str
    model: str
    cheap_model: str
    tools: Mapping[str, ToolFacts]
    budget: Budget
    approve: Literal["ask", "deny", "auto"]
    tags: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAsked:
    """Intent: a request is about to reach a provider, and its worst case is reserved."""

    kind: Literal["model_asked"] = "model_asked"
    phase: Phase
    model: str
    key: str
    attempt: int
    reserved: Spent
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReplied:
    """The provider answered; the reservation is settled to what was used."""

    kind: Literal["model_replied"] = "model_replied"
    text: Kept
    usage: Usage
    usd: float
    seconds: float
    stop: Literal["end", "length", "refusal"]
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFailed:
    """The call failed. Unbilled: the reservation is released; otherwise it stays charged."""

    kind: Literal["model_failed"] = "model_failed"
    failure: FailureClass
    message: str
    seconds: float
    unbilled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCached:
    """The prompt cache had the reply: nothing was asked and nothing is charged."""

    kind: Literal["model_cached"] = "model_cached"
    phase: Phase
    model: str
    key: str
    text: Kept
    usage: Usage
    saved_usd: float
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyRejected:
    """A reply did not hold what was asked for; the model is shown the problems when it is asked again."""

    kind: Literal["reply_rejected"] = "reply_rejected"
    phase: Phase
    problems: tuple[str, ...]
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """A plan, or a revision of it: the first `keep` steps stay, the rest are these."""

    kind: Literal["plan_made"] = "plan_made"
    version: int
    keep: int
    steps: tuple[Step, ...]
    reason: str
    by: Literal["model", "user", "rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgsBound:
    """A model filled a step's open arguments."""

    kind: Literal["args_bound"] = "args_bound"
    step: str
    args: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRaised:
    """A guard wants a person's leave for a call, whatever the policy says."""

    kind: Literal["gate_raised"] = "gate_raised"
    step: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """Intent: a person is about to be asked whether exactly this call may be made."""

    kind: Literal["approval_asked"] = "approval_asked"
    step: str
    tool: str
    args: Kept
    binding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """Somebody, or the policy, decided."""

    kind: Literal["approval_answered"] = "approval_answered"
    step: str
    decision: Literal["approve", "reject"]
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolClaimed:
    """Intent: a tool is about to be called, under a key that code derived."""

    kind: Literal["tool_claimed"] = "tool_claimed"
    step: str
    attempt: int
    tool: str
    args: Kept
    key: str
    binding: str = ""
    """Of a gated call: hash of exactly what is called, which must be what was approved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """The call ended: with a result, with nothing found, or failed."""

    kind: Literal["tool_returned"] = "tool_returned"
    step: str
    status: Literal["ok", "empty", "failed"]
    seconds: float
    result: Kept | None = None
    failure: FailureClass | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRefused:
    """A call that never reached its function: arguments that are unknown, missing or of the wrong type."""

    kind: Literal["tool_refused"] = "tool_refused"
    step: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJudged:
    """What follows from a step's result, and who says so."""

    kind: Literal["step_judged"] = "step_judged"
    step: str
    verdict: Literal["continue", "retry", "revise", "escalate"]
    by: Literal["rule", "check", "critic"]
    reason: str = ""
    confidence: Level = "medium"
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A budget does not cover what would come next."""

    kind: Literal["limit_reached"] = "limit_reached"
    limit: str
    needed: float
    left: float
    cap: float
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExtended:
    """A person raised the budget; a run that had stopped at it goes on."""

    kind: Literal["budget_extended"] = "budget_extended"
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSuspended:
    """The run rests and can be resumed."""

    kind: Literal["run_suspended"] = "run_suspended"
    reason: Literal["interrupted", "closed", "approval", "in_doubt", "model_failed", "error"]
    detail: str = ""
    withdrawn: bool = False
    """True where the intent before it was not acted upon."""
    seconds: float = 0.0
    """How long what it cut short had been at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """The run is driven again, by this process. Whatever was in flight stays charged, or is in doubt."""

    kind: Literal["run_resumed"] = "run_resumed"
    process: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The end, and why: last record unless the budget is extended."""

    kind: Literal["run_finished"] = "run_finished"
    status: Literal["completed", "failed", "cancelled", "stopped"]
    reason: str
    detail: str = ""
    output: str = ""
    confidence: Level | None = None
    unknowns: tuple[str, ...] = ()
    by: Literal["model", "rule"] = "model"


Event = (
    RunStarted
    | ModelAsked
    | ModelReplied
    | ModelFailed
    | ModelCached
    | ReplyRejected
    | PlanMade
    | ArgsBound
    | GateRaised
    | ApprovalAsked
    | ApprovalAnswered
    | ToolClaimed
    | ToolReturned
    | ToolRefused
    | StepJudged
    | LimitReached
    | BudgetExtended
    | RunSuspended
    | RunResumed
    | RunFinished
)

INTENTS = (ModelAsked, ToolClaimed, ApprovalAsked)
"""Kinds that must be durable before what they announce starts."""

DURABLE_AT_ONCE = (*INTENTS, RunStarted, RunSuspended, RunResumed, RunFinished, BudgetExtended)


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its place and its times.

    Attributes:
        seq: 0, 1, 2, … within the run, without a gap.
        at: seconds since 1970, UTC, by the machine's clock, which may jump; for people.
        t: seconds of the run's own clock, which never goes back: monotonic while a process drives it, and
            going on by the machine's clock from one process to the next.
        event: what happened.
    """

    seq: int
    at: float
    t: float
    event: Event


@functools.cache
def _codec() -> TypeAdapter[Any]:
    from pydantic import Field, TypeAdapter

    line = Annotated[Event, Field(discriminator="kind")]
    return TypeAdapter(list[tuple[int, float, float, line]])


def encode(records: Sequence[Record]) -> str:
    """`records` as one line of JSON: `[[seq, at, t, {"kind": …}], …]`.

    Raises:
        NotJSON: a value in them has no JSON form.
    """
    rows = [(r.seq, r.at, r.t, r.event) for r in records]
    try:
        text: str = _codec().dump_json(rows, exclude_defaults=False).decode()
    except ValueError:  # half of a surrogate pair, as a browser may send it; whatever else it was fails again
        try:
            text = json.dumps(_codec().dump_python(rows, mode="json"), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise NotJSON(f"{' and '.join(r.event.kind for r in records)} cannot be recorded: {error}") from error
        text = text.encode("utf-8", "replace").decode()
    return text


def decode(text: str) -> Iterable[Record]:
    """The records of one line that `encode` wrote.

    Raises:
        DamagedRecord: it is not JSON, or not of a kind and form that this release knows.
    """
    try:
        records = [Record(*row) for row in _codec().validate_json(text)]
    except ValueError as error:
        raise DamagedRecord(f"a record of {len(text)} characters cannot be read: {_first_problem(error)}") from error
    for record in records:
        if isinstance(record.event, RunStarted) and record.event.format > FORMAT:
            raise DamagedRecord(
                f"{record.event.run} was recorded in format {record.event.format}, and this agentnb reads up to"
                f" {FORMAT}: install a newer one"
            )
    return records


def _first_problem(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)[:300]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"
