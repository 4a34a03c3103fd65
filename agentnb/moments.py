"""What happens at one moment of a run and takes no time: each kind of event in a word or two, why, and who says so."""

from __future__ import annotations

from typing import NamedTuple

from agentnb.budget import amount
from agentnb.events import (
    AlertFailed,
    AlertRaised,
    ApprovalExpired,
    ArgsBound,
    AssessmentMade,
    BudgetExtended,
    Event,
    GateRaised,
    LimitReached,
    LoopNoticed,
    MemorySummarised,
    ModelEscalated,
    PlanMade,
    ReplyRejected,
    RunRetried,
    StepJudged,
)

__all__ = ["Moment", "moment_of"]


class Moment(NamedTuple):
    """An event in words.

    Attributes:
        name: what happened: "judged: revise", "reply rejected".
        text: why, or what it comes to.
        status: see `Span`.
        by: who says so, or "".
    """

    name: str
    text: str = ""
    status: str = "ok"
    by: str = ""


def moment_of(event: Event) -> Moment:  # noqa: C901, PLR0911, PLR0912 - a table, one case a kind
    """What `event` says, of those that begin and end nothing."""
    match event:
        case PlanMade():
            steps = f"{event.keep + len(event.steps)} steps"
            return Moment(f"plan {event.version}", "; ".join(filter(None, (steps, event.reason))), by=event.by)
        case StepJudged(verdict=verdict):
            said = "; ".join(filter(None, (event.reason, event.finding)))
            return Moment(f"judged: {verdict}", said, "ok" if verdict == "continue" else "failed", event.by)
        case ReplyRejected():
            return Moment("reply rejected", "; ".join(event.problems), "failed", f"layer {event.layer}")
        case AssessmentMade():
            counts = (("established", event.established), ("assumed", event.assumed), ("unknown", event.unknown))
            said = ", ".join(f"{len(of)} {word}" for word, of in counts)
            gaps = "; ".join(gap.text for gap in event.gaps)
            return Moment("assessed", f"{said}; asks: {gaps}" if gaps else said, by=event.by)
        case GateRaised():
            return Moment("asks for leave", "; ".join(event.reasons))
        case ModelEscalated():
            return Moment("escalated", f"{event.was} gave nothing usable, {event.model} is asked")
        case LoopNoticed():
            return Moment("goes round in circles", event.said, "failed")
        case LimitReached():
            held = f"{event.limit}: {amount(event.limit, event.left)} of {amount(event.limit, event.cap)} left"
            return Moment("limit", f"{held}, {amount(event.limit, event.needed)} needed", "refused")
        case AlertRaised():
            return Moment("alert", event.threshold.in_words(event.value, event.runs), "failed")
        case AlertFailed():
            return Moment("alert failed", event.message, "failed")
        case BudgetExtended():
            caps = ", ".join(f"{name} {amount(name, cap)}" for name, cap in event.budget.caps().items())
            return Moment("budget extended", f"now {caps}")
        case MemorySummarised():
            return Moment("memory summarised", f"{len(event.items)} items for {event.upto} steps", by=event.by)
        case RunRetried():
            return Moment("tried again", event.hint, by=event.by)
        case ArgsBound():
            return Moment("arguments filled in", by="model")
        case ApprovalExpired():
            return Moment("approval expired", "it was not used in its time", "refused")
        case _:
            return Moment(event.kind.replace("_", " "))
