"""What happens at one moment of a run and takes no time: a name, why, how it stands, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from agentnb.events import (
    AlertFailed,
    AlertRaised,
    ApprovalExpired,
    Event,
    LimitReached,
    LoopNoticed,
    PlanMade,
    ReplyRejected,
    StepJudged,
)
from agentnb.retelling import retold

__all__ = ["Moment", "moment_of"]


class Moment(NamedTuple):
    """An event that begins and ends nothing.

    Attributes:
        name: what happened: "judged: revise", "reply rejected".
        text: why, or what it comes to.
        status: as of `Span`.
        by: who says so, or "".
    """

    name: str
    text: str
    status: str = "ok"
    by: str = ""


def moment_of(event: Event) -> Moment:
    """What `event` says."""
    name, said = retold(event)
    by: str = getattr(event, "by", "")
    match event:
        case StepJudged(verdict=verdict):
            text = "; ".join(filter(None, (event.reason, event.finding)))
            return Moment(f"judged: {verdict}", text, "ok" if verdict == "continue" else "failed", by)
        case PlanMade(version=version):
            many = event.keep + len(event.steps)
            steps = f"{many} step{'' if many == 1 else 's'}"
            return Moment(f"plan {version}", "; ".join(filter(None, (steps, event.reason))), by=by)
        case _:
            return Moment(name, said, _STATUS.get(type(event), "ok"), by)


_STATUS: Final[Mapping[type, str]] = {
    ReplyRejected: "failed", LoopNoticed: "failed", AlertRaised: "failed", AlertFailed: "failed",
    LimitReached: "refused", ApprovalExpired: "refused",
}  # fmt: skip
"""How those stand that are not as they should be."""
