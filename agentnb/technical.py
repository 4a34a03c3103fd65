"""The technical view of a deed: all that the records say of it, raw, as one flat record for engineers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from agentnb.deeds import Deed, Doubt, Try
from agentnb.events import Kept
from agentnb.plan import JSON
from agentnb.values import digest

__all__ = ["TECHNICAL", "TEXTS", "moment_text", "technical"]

_LONGEST: Final = 100_000
"""Characters of arguments that are told; of longer ones size and hash are."""

TEXTS: Final = (
    "at", "run", "parent", "parent_step", "agent", "origin", "step", "title", "plan_by", "tool", "effect",
    "reversibility", "status", "described", "args", "args_sha256", "result", "result_sha256", "failure", "message",
    "refused_by", "earlier_run", "earlier_step", "key", "binding", "authority", "authorised_by", "authorised_at",
    "authority_reason",
)  # fmt: skip
"""The columns that hold a text; the others hold JSON."""

TECHNICAL: Final = (
    "at", "run", "parent", "parent_step", "agent", "origin", "step", "title", "plan_version", "plan_by", "rests_on",
    "tool", "effect", "reversibility", "egress", "by_hand", "again", "status", "described",
    "args", "args_size", "args_sha256", "result", "result_size", "result_sha256", "failure", "message", "refused_by",
    "earlier_run", "earlier_step", "key", "binding", "authority", "authorised_by", "authorised_at", "authority_record",
    "authority_reason", "reasons", "tries", "doubts", "children", "records",
)  # fmt: skip
"""The columns, in order."""


def technical(deed: Deed, text_of: Callable[[Kept], str]) -> dict[str, JSON]:
    """`deed` as a record of TECHNICAL: times in UTC, arguments and results as JSON texts with their size and hash.

    Args:
        deed: what was done.
        text_of: the JSON text of a value that is kept aside.
    """
    facts, leave = deed.facts, deed.leave
    args, result = _value("args", deed.args, text_of), _value("result", deed.result, None)
    return {
        "at": moment_text(deed.at),
        "run": deed.run,
        "parent": deed.parent,
        "parent_step": deed.parent_step,
        "agent": deed.agent,
        "origin": deed.origin,
        "step": deed.step,
        "title": deed.title,
        "plan_version": deed.planned[0],
        "plan_by": deed.planned[1],
        "rests_on": [name for name, _ in deed.rests_on],
        "tool": deed.tool,
        "effect": facts.effect if facts else "",
        "reversibility": facts.reversibility if facts else "",
        "egress": facts.egress if facts else None,
        "by_hand": deed.by_hand,
        "again": deed.again,
        "status": str(deed.status),
        "described": deed.described,
        **args,
        **result,
        "failure": str(deed.failure or ""),
        "message": deed.message,
        "refused_by": deed.refused_by,
        "earlier_run": deed.earlier[0],
        "earlier_step": deed.earlier[1],
        "key": deed.key,
        "binding": deed.binding,
        "authority": str(leave.how),
        "authorised_by": leave.by,
        "authorised_at": moment_text(leave.at) if leave.record >= 0 else "",
        "authority_record": leave.record if leave.record >= 0 else None,
        "authority_reason": leave.reason,
        "reasons": list(deed.reasons),
        "tries": [_try(one) for one in deed.tries],
        "doubts": [_doubt(one) for one in deed.doubts],
        "children": list(deed.children),
        "records": list(deed.records),
    }


def moment_text(at: float) -> str:
    """Seconds since 1970 as a time in UTC, "" where no calendar has it.

    >>> moment_text(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    except (ValueError, OverflowError, OSError):
        return ""


def _value(name: str, kept: Kept | None, text_of: Callable[[Kept], str] | None) -> Mapping[str, JSON]:
    """Text, size and hash of a value; a long result is told by its hash, which it is kept under."""
    if kept is None:
        return {name: "", f"{name}_size": None, f"{name}_sha256": ""}
    text = kept.text if kept.text is not None else ""
    if kept.text is None and text_of is not None and kept.size <= _LONGEST:
        text = text_of(kept)
    sha256 = kept.blob or digest(text)
    return {name: text if len(text) <= _LONGEST else "", f"{name}_size": kept.size, f"{name}_sha256": sha256}


def _try(one: Try) -> dict[str, JSON]:
    return {
        "attempt": one.attempt, "record": one.record, "at": moment_text(one.at), "seconds": one.seconds,
        "failure": str(one.failure or ""), "message": one.message, "wait_s": one.wait_s,
    }  # fmt: skip


def _doubt(one: Doubt) -> dict[str, JSON]:
    return {
        "message": one.message, "record": one.record, "happened": one.happened, "by": one.by, "reason": one.reason,
        "resolved": one.resolved if one.resolved >= 0 else None,
    }  # fmt: skip
