"""Events in words: the name of each kind, and what there is to say of it on one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentnb.budget import amount
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    ArgsBound,
    Event,
    GateRaised,
    Kept,
    LimitReached,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    PlanMade,
    ReplyRejected,
    RunFinished,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolRefused,
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


_CONTENT: Final[Mapping[type, Callable[[Any], str]]] = {
    RunStarted: lambda e: e.task,
    RunSuspended: lambda e: f"{e.reason} {e.detail}",
    RunFinished: lambda e: f"{e.status}: {e.reason} {e.detail}",
    PlanMade: lambda e: f"version {e.version}: " + ", ".join(f"{step.id} {step.tool}" for step in e.steps),
    LimitReached: lambda e: f"{amount(e.limit, e.cap)}, at {e.phase}",
    ModelAsked: lambda e: f"{e.model} to {e.phase} {e.step}",
    ModelCached: lambda e: f"{e.phase} {e.step}, nothing was asked",
    ModelReplied: lambda e: f"{e.usage.input_tokens} + {e.usage.output_tokens} tokens: {_short(e.text)}",
    ModelFailed: lambda e: e.message,
    ReplyRejected: lambda e: f"{e.phase} {e.step}: {'; '.join(e.problems)}",
    ArgsBound: lambda e: f"{e.step} {_short(e.args)}",
    GateRaised: lambda e: f"{e.step} {'; '.join(e.reasons)}",
    ApprovalAsked: lambda e: f"{e.step} {e.tool} {_short(e.args)}",
    ApprovalAnswered: lambda e: f"{e.step} {e.decision} by {e.by} {e.reason}",
    ToolClaimed: lambda e: f"{e.step} {e.tool} {_short(e.args)}",
    ToolReturned: lambda e: f"{e.step} {e.status} {_short(e.result)} {e.message}",
    ToolRefused: lambda e: f"{e.step} {'; '.join(e.problems)}",
    StepJudged: lambda e: f"{e.step} {e.verdict}, by {e.by}: {e.reason}",
}
"""What is said of each kind; of one that is not here, its name says all."""
