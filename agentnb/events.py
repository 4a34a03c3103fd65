"""Everything that can happen to a run, each an immutable record; their order is the only truth there is.

An *intent* (something is about to be asked, claimed or done) is durable before its effect starts; an *outcome* is
durable before the next intent's effect starts. `Event` is the union of all kinds; `Record` is an event with its place
and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentnb.alerts import Threshold
from agentnb.budget import Budget, Phase, Spent, Usage
from agentnb.errors import FailureClass
from agentnb.plan import Step
from agentnb.policy import Assess, Level, MemoryPolicy, Policy, ToolFacts
from agentnb.stops import NO_STOPS, Stops, What

__all__ = [
    "FORMAT",
    "INTENTS",
    "ActionClaimed",
    "ActionProposed",
    "ActionSettled",
    "AlertFailed",
    "AlertRaised",
    "ApprovalAnswered",
    "ApprovalAsked",
    "ApprovalExpired",
    "ArgsBound",
    "AskedCall",
    "AssessmentMade",
    "BudgetExtended",
    "CallInDoubt",
    "CallSimulated",
    "ChildSettled",
    "ChildStarted",
    "DoubtResolved",
    "EarlierResult",
    "Event",
    "GateRaised",
    "Item",
    "Kept",
    "LimitReached",
    "LoopNoticed",
    "MemorySummarised",
    "ModelAsked",
    "ModelCached",
    "ModelEscalated",
    "ModelFailed",
    "ModelReplied",
    "PlanMade",
    "QuestionAnswered",
    "QuestionAsked",
    "ReadRepeated",
    "Record",
    "ReplyRejected",
    "RunFinished",
    "RunForked",
    "RunImported",
    "RunResumed",
    "RunRetried",
    "RunStarted",
    "RunSuspended",
    "Statement",
    "StepJudged",
    "ToolClaimed",
    "ToolRefused",
    "ToolRetried",
    "ToolReturned",
]

FORMAT = 1
"""Of the records in a store; raised when a kind changes its meaning."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that the working memory holds, and where it came from.

    Attributes:
        kind: "fact", "decision", "question" (open), "assumption" (taken as true, and not known to be), or
            "contradiction" (two facts that cannot both hold).
        text: it, in a sentence.
        by: "tool" (a result says so), "model" (a model claims it), "person" (somebody said so) or "code".
        sources: ids of the steps whose results it rests on.
        critical: of a question or an assumption: an action would be wrong if it turned out otherwise.
    """

    kind: Literal["fact", "decision", "question", "assumption", "contradiction"]
    text: str
    by: Literal["tool", "model", "person", "code"]
    sources: tuple[str, ...] = ()
    critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that an assessment says.

    Attributes:
        text: it, in a sentence.
        sources: what it rests on: ids of finished steps, "task", or "person" for what a person has said in the run.
        critical: the coming call would be wrong if it turned out otherwise.
        argument: of the coming call, which rests on it; "" for none.
        demoted: why it is not established, where the model had called it so; "" where it had not.
    """

    text: str
    sources: tuple[str, ...] = ()
    critical: bool = False
    argument: str = ""
    demoted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run exists. First record of every run."""

    kind: Literal["run_started"] = "run_started"
    run: str
    task: str
    model: str
    cheap_model: str
    phases: Mapping[Phase, str] = field(default_factory=dict)
    """The models of phases that have another than `model` (plan, answer) or `cheap_model` (the rest)."""
    escalate: bool = False
    """True where `model` is asked once in place of one whose replies cannot be used."""
    tools: Mapping[str, ToolFacts]
    budget: Budget
    policy: Policy = field(default_factory=Policy)
    memory: MemoryPolicy = field(default_factory=MemoryPolicy)
    stops: Stops = NO_STOPS
    """When it is stopped for going round in circles."""
    tags: Mapping[str, str] = field(default_factory=dict)
    alerts: tuple[Threshold, ...] = ()
    """Of what a person is warned."""
    dry: bool = False
    """True where calls that act are only simulated."""
    executes: str = ""
    """The dry run whose effects this one performs."""
    assess: Assess | None = None
    """When it assesses what it rests on; None for never."""
    uid: str = ""
    """What tells this run from those of the same id in other stores."""
    born: str = ""
    """Of a run that was imported: its id where it began, under which the keys of its calls go on."""
    parent: str = ""
    """The run of which a call is this one; "" of a run of its own."""
    parent_step: str = ""
    agent: str = ""
    """The name of the tool as which the parent knows this agent."""
    depth: int = 0
    """How many runs it is inside of."""
    tainted: bool = False
    """True where its task comes out of text that strangers wrote."""
    process: int = 0
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
    uncached_usd: float | None = None
    """What it would have cost without the provider's cache; None where nobody knows the price."""
    strong_usd: float | None = None
    """What the same tokens cost on the strong model; None where nobody knows, or it is that one."""


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
    layer: int = 1
    """Of the request that it answers: 1 as it is asked always, 2 simplified; see `recovery`."""
    model: str = ""
    """Which model's it was."""
    reply: str = ""
    """The beginning of what it said, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEscalated:
    """The replies of a cheaper model could not be used: the next request of the phase goes to the strong one, once."""

    kind: Literal["model_escalated"] = "model_escalated"
    phase: Phase
    was: str
    model: str
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised:
    """The run, or the last runs of its kind on average, have come to more than somebody wants to be told of."""

    kind: Literal["alert_raised"] = "alert_raised"
    threshold: Threshold
    value: float
    runs: int = 1
    """Of how many runs `value` is the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFailed:
    """The callback of the alert that was raised last has failed; nothing follows from that."""

    kind: Literal["alert_failed"] = "alert_failed"
    message: str


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
class AssessmentMade:
    """What the run rests on before the coming call, as a model says it and code has checked it."""

    kind: Literal["assessment_made"] = "assessment_made"
    step: str
    call: str
    """The call that it was made for, see `RunState.present_call`."""
    established: tuple[Statement, ...] = ()
    assumed: tuple[Statement, ...] = ()
    unknown: tuple[Statement, ...] = ()
    gaps: tuple[Statement, ...] = ()
    """Those of the last two that a person is asked about before the call is made."""
    by: Literal["model", "code"] = "model"
    """"code": the model's replies could not be used, and only what code finds is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked:
    """Intent: a person is about to be asked what a call rests on that nobody has said and nothing has shown."""

    kind: Literal["question_asked"] = "question_asked"
    step: str
    tool: str
    args: Kept
    gaps: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswered:
    """A person has answered, goes on without an answer, or stops the run at it."""

    kind: Literal["question_answered"] = "question_answered"
    step: str
    decision: Literal["answer", "go_on", "stop"]
    by: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRaised:
    """A guard wants a person's leave for a call, whatever the policy says."""

    kind: Literal["gate_raised"] = "gate_raised"
    step: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedCall:
    """Another call of the plan that is asked about in the same breath."""

    step: str
    tool: str
    args: Kept
    binding: str
    reasons: tuple[str, ...] = ()
    """Why it needs a person, beyond the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """Intent: a person is about to be asked whether exactly this call may be made, and perhaps further ones."""

    kind: Literal["approval_asked"] = "approval_asked"
    step: str
    tool: str
    args: Kept
    binding: str
    others: tuple[AskedCall, ...] = ()
    expires: float | None = None
    """Seconds on the run's clock, after which `on_silence` holds."""
    on_silence: Literal["approve", "reject"] = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """Somebody, or the policy, decided."""

    kind: Literal["approval_answered"] = "approval_answered"
    step: str
    decision: Literal["approve", "edit", "reject"]
    by: str
    reason: str = ""
    args: Kept | None = None
    """Of an edit: what is called instead, with every argument in its place."""
    binding: str = ""
    """Of the call that may be made, where it is not the one that was asked about: edited, or decided earlier."""
    allow: bool = False
    """True where the tool may be called for the rest of the run."""
    others: Mapping[str, bool] = field(default_factory=dict)
    """Whether each other call that was asked about may be made, by its binding."""
    earlier: bool = False
    """True where it was decided together with an earlier call: nobody is asked again."""
    silent: bool = False
    """True where nobody answered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalExpired:
    """An approval was not used in its time: a person is asked anew."""

    kind: Literal["approval_expired"] = "approval_expired"
    step: str


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
    entry: int = 0
    """Of a key that holds for all runs: the number of this claim among the key's entries in the ledger."""
    described: str = ""
    """What the tool's `describe` says that it does, for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReturned:
    """The call ended: with a result, with nothing found, failed, or put before a person instead of being made."""

    kind: Literal["tool_returned"] = "tool_returned"
    step: str
    status: Literal["ok", "empty", "failed", "proposed"]
    seconds: float
    result: Kept | None = None
    failure: FailureClass | None = None
    message: str = ""
    gist: Kept | None = None
    """What prompts show of the result, where the tool says what of it matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRetried:
    """A call failed in a way that passes, and did not act, or acts once for its key: it is made again under it."""

    kind: Literal["tool_retried"] = "tool_retried"
    step: str
    failure: FailureClass
    message: str
    seconds: float
    wait_s: float
    acted: Literal["no", "unknown"] = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRefused:
    """A call that never reached its function: wrong arguments, a guard's no, or a tool that keeps failing."""

    kind: Literal["tool_refused"] = "tool_refused"
    step: str
    problems: tuple[str, ...]
    by: Literal["arguments", "guard", "breaker", "read"] = "arguments"
    """"read": what an execution rests on is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRepeated:
    """An execution has made one of its reads once more: its question was answered, and its first call is to be made."""

    kind: Literal["read_repeated"] = "read_repeated"
    step: str
    seconds: float
    result: Kept | None = None
    problem: str = ""
    """Why it does not hold any more, "" where it gave what it gave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted:
    """Intent: another agent's run is about to begin inside the claimed call, and what it may spend is reserved."""

    kind: Literal["child_started"] = "child_started"
    step: str
    agent: str
    """The name of the tool as which the agent is known here."""
    key: str
    """Of the call that the child is: whoever goes on with the call under it goes on with this child."""
    child: str
    budget: Budget
    held: Spent
    """The most that it can come to, of each amount that this run has a cap on."""
    tainted: bool = False
    """True where its task comes out of text that strangers wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettled:
    """A child has ended, and what was reserved for it is settled to what it spent."""

    kind: Literal["child_settled"] = "child_settled"
    step: str
    child: str
    status: Literal["completed", "failed", "cancelled", "stopped"]
    reason: str
    spent: Spent
    tainted: bool = False
    """True where it has read text that strangers wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallInDoubt:
    """A call that acts was begun, and whether it did is not known: it timed out, or its connection dropped."""

    kind: Literal["call_in_doubt"] = "call_in_doubt"
    step: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtResolved:
    """Somebody, or the tool's own `reconcile`, has looked whether the call happened."""

    kind: Literal["doubt_resolved"] = "doubt_resolved"
    step: str
    happened: bool
    by: str
    reason: str = ""
    result: Kept | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResult:
    """What the step would do was done before, under a key that holds for all runs: its result is given back."""

    kind: Literal["earlier_result"] = "earlier_result"
    step: str
    key: str
    run: str
    at_step: str
    result: Kept | None = None
    tainted: bool = False
    """True where that run had it from text that strangers wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSimulated:
    """In a dry run: what a call that acts would have done."""

    kind: Literal["call_simulated"] = "call_simulated"
    step: str
    tool: str
    args: Kept
    result: Kept
    gate: tuple[str, ...] = ()
    """Why a person would be asked before it; () where nobody would."""
    described: str = ""
    """What the tool's `describe` says that it does, for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionProposed:
    """A destructive call is put into the run's queue: only a person, or a validator by name, carries it out."""

    kind: Literal["action_proposed"] = "action_proposed"
    step: str
    tool: str
    args: Kept
    reasons: tuple[str, ...] = ()
    """What whoever carries it out should know: what guards ask, and where its arguments come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionClaimed:
    """Intent: a proposed action is about to be carried out, outside the loop."""

    kind: Literal["action_claimed"] = "action_claimed"
    step: str
    key: str
    by: str
    described: str = ""
    """What the tool's `describe` says that it does, for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettled:
    """What came of a proposed action: carried out, failed without having acted, in doubt, or dropped."""

    kind: Literal["action_settled"] = "action_settled"
    step: str
    status: Literal["done", "failed", "in_doubt", "dropped"]
    by: str
    message: str = ""
    seconds: float = 0.0
    result: Kept | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJudged:
    """What follows from a step's result, and who says so."""

    kind: Literal["step_judged"] = "step_judged"
    step: str
    verdict: Literal["continue", "retry", "revise", "escalate"]
    by: Literal["rule", "check", "critic", "person"]
    reason: str = ""
    confidence: Level = "medium"
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySummarised:
    """The memory up to here, made small: it takes the place of the finished steps in every prompt that follows."""

    kind: Literal["memory_summarised"] = "memory_summarised"
    upto: int
    """How many finished steps it covers."""
    items: tuple[Item, ...]
    hidden: int = 0
    """How many older items were left out for want of room, in all."""
    by: Literal["model", "rule"] = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopNoticed:
    """The run goes round in circles, or brings nothing new: the planner is told, and the next time it is stopped."""

    kind: Literal["loop_noticed"] = "loop_noticed"
    what: What
    step: str
    """The finished step at which it was noticed."""
    said: str
    then: Literal["go_on", "revise", "stop"]
    """What follows: "go_on" where nothing can be planned anew."""


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
    reason: Literal[
        "interrupted", "closed", "approval", "question", "in_doubt", "model_failed", "malformed_output", "error"
    ]
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
    """0 where nobody drives it: it is taken up only to be ended."""
    tools: Mapping[str, ToolFacts] = field(default_factory=dict)
    """Tools that a person accepts as they are now, though the run began with others of these names."""
    without: tuple[str, ...] = ()
    """Tools that it goes on without."""
    model: str = ""
    """The same for the model; "" where it is the one that the run knows."""
    cheap_model: str = ""
    phases: Mapping[Phase, str] = field(default_factory=dict)
    """The same for the models of single phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRetried:
    """A person has it tried again: replies that could not be used, or a run that was stopped in a circle."""

    kind: Literal["run_retried"] = "run_retried"
    by: str
    hint: str = ""
    """What they say to it, for the model to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunForked:
    """The records before this one are another run's; from here on it is a run of its own, which pays for itself.

    What that run had paid for, was allowed or had in its queue stays with it. Its clock stands at 0 in those records.
    """

    kind: Literal["run_forked"] = "run_forked"
    origin: str
    at: str
    """Where they part: "plan", "s3" or "answer"."""
    seq: int
    """The last record that both have."""
    kept: int
    """How many finished steps both have."""
    model: str
    cheap_model: str
    phases: Mapping[Phase, str] = field(default_factory=dict)
    escalate: bool = False
    alerts: tuple[Threshold, ...] = ()
    tools: Mapping[str, ToolFacts]
    budget: Budget
    policy: Policy
    tags: Mapping[str, str]
    stops: Stops = NO_STOPS
    steps: tuple[Step, ...] | None = None
    """What comes instead of the steps that were left; None leaves them as they are."""
    by: Literal["model", "user"] = "user"
    """Whose plan it is then: the planner may revise its own."""
    assess: Assess | None = None
    acted: tuple[str, ...] = ()
    """What the other run has called since, or may have: not made again unasked. See `call_mark`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImported:
    """The records before this one came in a file. What they say was allowed, or may be spent, holds nothing here."""

    kind: Literal["run_imported"] = "run_imported"
    policy: Policy
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The end, and why: last record, but for alerts, unless the budget is extended."""

    kind: Literal["run_finished"] = "run_finished"
    status: Literal["completed", "failed", "cancelled", "stopped"]
    reason: str
    detail: str = ""
    output: str = ""
    confidence: Level | None = None
    unknowns: tuple[str, ...] = ()
    by: Literal["model", "rule", "person"] = "model"


Event = (
    RunStarted
    | ModelAsked
    | ModelReplied
    | ModelFailed
    | ModelCached
    | ReplyRejected
    | ModelEscalated
    | AlertRaised
    | AlertFailed
    | PlanMade
    | ArgsBound
    | AssessmentMade
    | QuestionAsked
    | QuestionAnswered
    | GateRaised
    | ApprovalAsked
    | ApprovalAnswered
    | ApprovalExpired
    | ToolClaimed
    | ToolReturned
    | ToolRetried
    | ToolRefused
    | ReadRepeated
    | ChildStarted
    | ChildSettled
    | CallInDoubt
    | DoubtResolved
    | EarlierResult
    | CallSimulated
    | ActionProposed
    | ActionClaimed
    | ActionSettled
    | StepJudged
    | MemorySummarised
    | LoopNoticed
    | LimitReached
    | BudgetExtended
    | RunSuspended
    | RunResumed
    | RunRetried
    | RunForked
    | RunImported
    | RunFinished
)

INTENTS = (ModelAsked, ToolClaimed, ChildStarted, ApprovalAsked, QuestionAsked, ActionClaimed)
"""Kinds that must be durable before what they announce starts."""

DURABLE_AT_ONCE = frozenset({
    *INTENTS, ToolRetried, ChildSettled, CallInDoubt, ActionSettled, AlertRaised,
    RunStarted, RunSuspended, RunResumed, RunRetried, RunForked, RunImported, RunFinished, BudgetExtended,
})  # fmt: skip


class Record(NamedTuple):
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
