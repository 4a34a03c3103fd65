"""A run's spans and events in the words of OpenTelemetry: names and attributes, and not one call of it.

What has a name in the conventions for generative AI (`gen_ai.…`) has that; the rest stands below `agentnb.`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from agentnb.events import (
    AlertRaised,
    ApprovalAnswered,
    ApprovalAsked,
    BudgetExtended,
    CallInDoubt,
    DoubtResolved,
    Event,
    LimitReached,
    LoopNoticed,
    ModelAsked,
    ModelReplied,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    Record,
    RunFinished,
    RunStarted,
    RunSuspended,
    StepJudged,
)
from agentnb.span import Span

__all__ = [
    "EVENTS",
    "Attributes",
    "began",
    "ended",
    "facts_of",
    "failed",
    "message",
    "name_of",
    "provider_and_model",
    "span_id",
    "tokens_of",
    "trace_id",
]

Attributes = dict[str, str | bool | int | float | tuple[str, ...]]

EVENTS: Final = (ApprovalAsked, ApprovalAnswered, QuestionAsked, QuestionAnswered, CallInDoubt, DoubtResolved)
"""Kinds that begin or end a span, and are worth an event all the same."""

_NAMED: Final = ("invoke_agent", "plan", "chat", "execute_tool")
"""Spans that the conventions know; the others are ours."""
_FINISHES: Final = {"ok": "stop", "length": "length", "refusal": "content_filter"}
_BAD: Final = ("failed", "lost", "in_doubt")
"""Ways for a span to end that are errors. A limit, a refusal and a person's no are not: they are what was asked for."""


# --------------------------------------------------------------------------------------------------------------- ids


def trace_id(head: RunStarted) -> int:
    """The trace of a run: the same in every process that ever drives it, and of no other run."""
    return int.from_bytes(_digest(head)[:16]) or 1


def span_id(head: RunStarted, *place: object) -> int:
    """The id of what stands at `place` in a run: the same whoever reads its records."""
    return int.from_bytes(_digest(head, *place)[:8]) or 1


def _digest(head: RunStarted, *place: object) -> bytes:
    return hashlib.sha256(json.dumps(["agentnb", head.run, head.uid, *map(str, place)]).encode()).digest()


# ------------------------------------------------------------------------------------------------------------- spans


def provider_and_model(ref: str) -> tuple[str, str]:
    """("anthropic", "claude-sonnet-4-5") of "anthropic:claude-sonnet-4-5"; a name without a provider is both."""
    provider, _, model = ref.partition(":")
    return provider, model or provider


def name_of(span: Span, head: RunStarted, tool: str) -> str:
    """The span's name, "chat claude-sonnet-4-5": what it is of, and of how few there are."""
    match span.op:
        case "chat":
            return f"chat {provider_and_model(span.model)[1]}"
        case "execute_tool":
            return f"execute_tool {tool}"
        case "invoke_agent" | "plan":
            return f"{span.op} {head.agent}".strip()
        case "step" | "wait" | "rest":
            return f"{span.op} {span.name}"
        case _:
            return span.op


def began(span: Span, head: RunStarted, event: Event, tool: str) -> Attributes:
    """What is known of a span when it begins.

    Args:
        span: it.
        head: of its run.
        event: that it began with.
        tool: of a tool call: the tool.
    """
    said: Attributes = {"gen_ai.conversation.id": head.run, "agentnb.seq": span.seq}
    if span.op in _NAMED:
        said["gen_ai.operation.name"] = span.op
    if head.agent:
        said["gen_ai.agent.name"] = head.agent
    for name, text in (("step", span.step), ("phase", span.phase), ("by", span.by)):
        if text:
            said[f"agentnb.{name}"] = text
    match span.op:
        case "invoke_agent":
            return said | _asks(head.model) | {"agentnb.run.uid": head.uid, "agentnb.dry_run": head.dry}
        case "chat":
            most = event.reserved.output_tokens if isinstance(event, ModelAsked) else 0
            limits: Attributes = {"gen_ai.request.max_tokens": most} if most else {}
            return said | _asks(span.model) | limits | _tried(span)
        case "execute_tool":
            call = f"{head.run}/{span.seq}"
            named = {"gen_ai.tool.name": tool, "gen_ai.tool.type": "function", "gen_ai.tool.call.id": call}
            return said | named | _tried(span)
        case _:
            return said


def _asks(ref: str) -> Attributes:
    provider, model = provider_and_model(ref)
    return {"gen_ai.provider.name": provider, "gen_ai.request.model": model}


def _tried(span: Span) -> Attributes:
    """Which try it is, and of what: a key may hold what a call is about, so it goes out as a hash."""
    hashed = hashlib.sha256(span.key.encode()).hexdigest()[:16]
    return {"agentnb.attempt": span.attempt, **({"agentnb.key_hash": hashed} if span.key else {})}


def ended(span: Span, event: Event, status: str) -> Attributes:
    """What is known of a span when it ends with `status`; `event` is that with which it did."""
    said: Attributes = {"agentnb.status": status}
    if failed(status):
        said["error.type"] = span.failure or status
    if span.by:
        said["agentnb.by"] = span.by
    match event:
        case ModelReplied() if span.op == "chat":
            said["gen_ai.response.finish_reasons"] = (_FINISHES.get(status, status),)
            said["gen_ai.response.model"] = event.model or provider_and_model(span.model)[1]
            said |= {f"gen_ai.usage.{kind}": count for kind, count in tokens_of(event).items()}
        case RunFinished() | RunSuspended() if span.op == "invoke_agent":
            said["agentnb.stop_reason"] = event.reason
            if status == "failed":
                said["error.type"] = event.reason
    if span.cached:
        said |= {"agentnb.cached": True, "agentnb.saved_usd": span.saved_usd}
    elif span.op == "chat":
        said["agentnb.cost.usd"] = span.usd
    return said


def tokens_of(event: ModelReplied) -> dict[str, int]:
    """What was used, by the last part of the attribute's name; what is a part of another only where there is some."""
    usage = event.usage
    parts = {
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_creation.input_tokens": usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
    }
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    return counts | {kind: count for kind, count in parts.items() if count}


def failed(status: str) -> bool:
    """True of a status that is an error."""
    return status in _BAD


def message(role: str, text: str, **more: str) -> str:
    """One message of a conversation, as the conventions want it in an attribute: JSON."""
    said = {"role": role, "parts": [{"type": "text", "content": text}], **more}
    return json.dumps([said], ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------------ events


def facts_of(record: Record) -> Attributes:  # noqa: C901 - a table, one case a kind
    """What an event says in numbers, names and fixed words: nothing that a model or a tool has written, nor a person.

    Who decided is told by the name that the run knows.
    """
    event = record.event
    found: Mapping[str, Any]
    match event:
        case PlanMade():
            found = {"version": event.version, "steps": event.keep + len(event.steps), "kept": event.keep}
        case LimitReached():
            found = {"limit": event.limit, "needed": event.needed, "left": event.left, "cap": event.cap}
        case BudgetExtended():
            found = {f"cap.{name}": cap for name, cap in event.budget.caps().items()}
        case LoopNoticed():
            found = {"what": event.what, "then": event.then}
        case AlertRaised():
            rule = event.threshold
            found = {"measure": rule.measure, "above": rule.above, "below": rule.below, "value": event.value}
            found |= {"tool": rule.tool, "model": rule.model}
        case ApprovalAsked():
            found = {"tool": event.tool, "others": len(event.others), "on_silence": event.on_silence}
        case ApprovalAnswered():
            found = {"decision": event.decision, "allow": event.allow, "silent": event.silent}
        case QuestionAsked():
            found = {"tool": event.tool, "gaps": len(event.gaps)}
        case QuestionAnswered():
            found = {"decision": event.decision}
        case StepJudged():
            found = {"verdict": event.verdict, "confidence": event.confidence}
        case DoubtResolved():
            found = {"happened": event.happened}
        case _:
            found = {}
    shared = {name: getattr(event, name, "") for name in ("step", "by", "phase", "tool")}
    return {"agentnb.seq": record.seq} | {
        f"agentnb.{name}": value for name, value in {**shared, **found}.items() if value not in ("", None)
    }
