"""Events in words: the name of each kind, and what there is to say of it on one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentnb.approval import who
from agentnb.assess_changes import words_of
from agentnb.budget import Budget, amount
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    AlertFailed,
    AlertRaised,
    ApprovalAnswered,
    ApprovalAsked,
    ArgsBound,
    AssessmentMade,
    BudgetExtended,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    Kept,
    LimitReached,
    LoopNoticed,
    MemorySummarised,
    ModelAsked,
    ModelCached,
    ModelEscalated,
    ModelFailed,
    ModelReplied,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    ReadRepeated,
    ReplyRejected,
    RunFinished,
    RunForked,
    RunImported,
    RunResumed,
    RunRetried,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)

__all__ = ["retold"]


def retold(event: Event) -> tuple[str, str]:
    """The event's kind in words, and its content on one line."""
    content = _CONTENT.get(type(event), lambda _: "")(event)
    return event.kind.replace("_", " "), " ".join(content.split())


def _short(kept: Kept | None) -> str:
    if kept is None:
        return ""
    return kept.text if kept.text is not None else f"({kept.size:,} characters)"


def _caps(budget: Budget) -> str:
    return ", ".join(amount(name, cap) for name, cap in budget.caps().items())


def _started(e: RunStarted) -> str:
    whose = f"{e.agent} in {e.parent} {e.parent_step}: " if e.parent else ""
    return f"{whose}{'dry run: ' if e.dry else ''}{f'executes {e.executes}: ' if e.executes else ''}{e.task}"


def _resumed(e: RunResumed) -> str:
    changes = [*e.tools, *filter(None, (e.model, e.cheap_model, *e.phases.values()))]
    parts = [f"with another {', '.join(changes)}"] * bool(changes) + [f"without {', '.join(e.without)}"] * bool(
        e.without
    )
    return "; ".join((f"by process {e.process}" if e.process else "only to be ended", *parts))


def _asked(e: ApprovalAsked) -> str:
    others = f", with {', '.join(other.step for other in e.others)}" if e.others else ""
    return f"{e.step} {e.tool} {_short(e.args)}{others}"


def _answered(e: ApprovalAnswered) -> str:
    of = {True: "yes", False: "no"}
    parts = (
        f"{e.step} {e.decision} by {who(e.by)}",
        f"with {_short(e.args)}" if e.args else "",
        "for the rest of the run" if e.allow else "",
        f"others: {', '.join(of[said] for said in e.others.values())}" if e.others else "",
        "asked about earlier" if e.earlier else "",
        "nobody answered in time" if e.silent else "",
        e.reason,
    )
    return "; ".join(filter(None, parts))


def _resolved(e: DoubtResolved) -> str:
    what = "it happened" if e.happened else "it did not happen"
    return f"{e.step} {what}, by {who(e.by)} {_short(e.result)} {e.reason}"


def _gated(reasons: tuple[str, ...]) -> str:
    return f", asks you: {'; '.join(reasons)}" if reasons else ""


_CONTENT: Final[Mapping[type, Callable[[Any], str]]] = {
    RunStarted: _started,
    RunResumed: _resumed,
    RunRetried: lambda e: f"by {who(e.by)}: {e.hint}" if e.hint else f"by {who(e.by)}",
    RunImported: lambda _: "what it was allowed elsewhere is no leave here",
    RunForked: lambda e: f"from {e.origin} at {e.at}{', with other steps' if e.steps is not None else ''}",
    RunSuspended: lambda e: f"{e.reason} {e.detail}",
    RunFinished: lambda e: f"{e.status}: {e.reason} {e.detail}",
    PlanMade: lambda e: f"version {e.version}: " + ", ".join(f"{step.id} {step.tool}" for step in e.steps),
    BudgetExtended: lambda e: _caps(e.budget),
    LimitReached: lambda e: f"{amount(e.limit, e.cap)}, at {e.phase}",
    ModelAsked: lambda e: f"{e.model} to {e.phase} {e.step}",
    ModelCached: lambda e: f"{e.phase} {e.step}, nothing was asked",
    ModelReplied: lambda e: f"{e.usage.input_tokens} + {e.usage.output_tokens} tokens: {_short(e.text)}",
    ModelFailed: lambda e: e.message,
    MemorySummarised: lambda e: f"{e.upto} steps in {len(e.items)} lines, by {e.by}",
    ReplyRejected: lambda e: f"{f'{e.phase} {e.step}'.rstrip()}, layer {e.layer}: {'; '.join(e.problems)}",
    ArgsBound: lambda e: f"{e.step} {_short(e.args)}",
    AssessmentMade: lambda e: (
        f"{e.step} {len(e.established)} established, {len(e.assumed)} assumed, {len(e.unknown)} unknown"
        f"{', by code' if e.by == 'code' else ''}{f', missing: {words_of(e.gaps)}' if e.gaps else ''}"
    ),
    QuestionAsked: lambda e: f"{e.step} {e.tool} {_short(e.args)}: {words_of(e.gaps)}",
    QuestionAnswered: lambda e: f"{e.step} {e.decision.replace('_', ' ')} by {who(e.by)}: {e.text}".rstrip(": "),
    GateRaised: lambda e: f"{e.step} {'; '.join(e.reasons)}",
    ApprovalAsked: _asked,
    ApprovalAnswered: _answered,
    ToolClaimed: lambda e: f"{e.step} {e.tool} {_short(e.args)}{f', try {e.attempt}' if e.attempt > 1 else ''}",
    ToolReturned: lambda e: f"{e.step} {e.status} {_short(e.result)} {e.message}",
    ToolRetried: lambda e: f"{e.step} {e.failure}, again in {e.wait_s:.2g} s: {e.message}",
    ToolRefused: lambda e: f"{e.step} by {e.by}: {'; '.join(e.problems)}",
    ReadRepeated: lambda e: f"{e.step} {e.problem or 'gave what it gave'} {_short(e.result) if e.problem else ''}",
    ChildStarted: lambda e: f"{e.step} {e.agent} as {e.child}, with {_caps(e.budget)}",
    ChildSettled: lambda e: f"{e.step} {e.child} {e.status}: {e.reason}, {amount('tokens', e.spent.tokens)}",
    CallInDoubt: lambda e: f"{e.step} {e.message}",
    DoubtResolved: _resolved,
    EarlierResult: lambda e: f"{e.step} {e.key}: done by {e.run} {e.at_step} {_short(e.result)}",
    CallSimulated: lambda e: f"{e.step} {e.tool} {_short(e.args)} gives {_short(e.result)}{_gated(e.gate)}",
    ActionProposed: lambda e: f"{e.step} {e.tool} {_short(e.args)}{_gated(e.reasons)}",
    ActionClaimed: lambda e: f"{e.step} by {who(e.by)}",
    ActionSettled: lambda e: f"{e.step} {e.status} by {who(e.by)} {_short(e.result)} {e.message}",
    ModelEscalated: lambda e: f"{e.step} {e.phase}: {e.model} is asked in place of {e.was}",
    AlertRaised: lambda e: e.threshold.in_words(e.value, e.runs),
    AlertFailed: lambda e: f"its callback failed: {e.message}",
    LoopNoticed: lambda e: f"{e.said} ({e.then.replace('_', ' ')})",
    StepJudged: lambda e: f"{e.step} {e.verdict}, by {e.by}: {e.reason}",
}
"""What is said of each kind; of one that is not here, its name says all."""
