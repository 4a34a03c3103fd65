"""The compliance view of a deed: what was done, why, what it rests on, what changed, who let it, and the outcome.

Its sentences are made of a `Plain`, which cannot hold raw data, and of words that stand here; of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agentnb.deeds import How, Status
from agentnb.plain import Plain
from agentnb.plan import JSON
from agentnb.technical import moment_text
from agentnb.wording import GAUGES, count

__all__ = ["COMPLIANCE", "COMPLIANCE_TEXTS", "authorised", "changed", "compliance", "outcome", "read", "what", "why"]

COMPLIANCE: Final = (
    "at", "run", "inside", "inside_step", "step", "tool", "what", "described", "why", "read", "changed", "authorised",
    "authorised_at", "outcome", "seconds", "runs", "records",
)  # fmt: skip
"""The columns, in order."""


COMPLIANCE_TEXTS: Final = tuple(name for name in COMPLIANCE if name not in ("seconds", "runs", "records"))
"""Those that hold a text; the others hold JSON."""

_MADE: Final = frozenset({Status.OK, Status.EMPTY, Status.FAILED, Status.IN_DOUBT, Status.OPEN, Status.WITHDRAWN})

_DONE: Final[Mapping[Status, str]] = {
    Status.SIMULATED: "A call of {tool} was simulated",
    Status.REFUSED: "A call of {tool} was stopped",
    Status.REJECTED: "A call of {tool} was refused",
    Status.EARLIER: "{tool} was not called, for an earlier run had made the same call",
    Status.PROPOSED: "A call of {tool} was proposed, and waits for a person",
    Status.DROPPED: "A proposed call of {tool} was taken out of the queue",
}

_BY: Final = {"model": "a model", "user": "the user", "rule": "code", "": "somebody"}

_TAKEN_BACK: Final = {
    "full": "Something that can be taken back",
    "partial": "Something that can be taken back in part",
    "irreversible": "Something that cannot be taken back",
    "": "Something, and whether it can be taken back is not known",
}

_FAILED: Final[Mapping[str, str]] = {
    "transient": "it could not be reached",
    "rate_limited": "it was asked too often",
    "stale_data": "what it rested on had changed",
    "permission": "it was not permitted",
    "invalid_data": "the data was not what it takes",
    "fatal": "it cannot work as it is",
    "": "it gave an error",
}

_INSIDE: Final[Mapping[str, str]] = {
    **{cap: f"the run inside it came to its cap on {name.lower()}" for cap, name in GAUGES.items()},
    "completed": "the run inside it gave no answer",
    "stopped": "the run inside it was stopped",
    "failed": "the run inside it failed",
    "cancelled": "the run inside it was cancelled",
    "": "no run could be begun inside it",
}

_STOPPED: Final = {
    "arguments": "its arguments are not what the tool takes",
    "guard": "a guard forbids it",
    "breaker": "the tool kept failing",
    "read": "what it rests on had changed",
    "": "it could not be made",
}


def compliance(p: Plain) -> dict[str, JSON]:
    """`p` as a record of COMPLIANCE."""
    return {
        "at": moment_text(p.at),
        "run": p.run,
        "inside": p.parent,
        "inside_step": p.parent_step,
        "step": p.step,
        "tool": p.tool,
        "what": what(p),
        "described": str(p.described),
        "why": why(p),
        "read": read(p),
        "changed": changed(p),
        "authorised": authorised(p),
        "authorised_at": "" if p.decided_at is None else moment_text(p.decided_at),
        "outcome": outcome(p),
        "seconds": p.seconds,
        "runs": list(p.runs),
        "records": list(p.records),
    }


def what(p: Plain) -> str:
    """What was done."""
    tool = p.tool or "a tool"
    if p.status not in _MADE and not p.tries:
        said = _DONE[p.status].format(tool=tool)
    elif p.again:
        said = f"{tool} was called once more, to see whether what was read still holds"
    elif p.by_hand:
        said = f"{tool} was carried out by hand"
    else:
        said = f"The agent {tool} was given a task" if p.delegates else f"{tool} was called"
    args = _listed([f"{name or 'an argument'} ({kind})" for name, kind in p.args])
    said = said if p.tool else said[0].upper() + said[1:]  # the name of a tool stays as it is
    return f"{said}, with {args}" if args else said


def why(p: Plain) -> str:
    """What it was a part of."""
    inside = " of a run inside another" if p.parent else ""
    if not p.plan_version:
        return f"Step {p.step}{inside}"
    return f"Step {p.step} of version {p.plan_version} of the plan{inside}, which {_BY[p.plan_by]} made"


def read(p: Plain) -> str:
    """What it rests on, and what it brought."""
    steps = _listed([f"{step} ({tool})" if tool else step for step, tool in p.rests_on])
    strange = "; what it gives is text that strangers wrote" if p.untrusted and p.tries else ""
    return (f"The result{'s' if len(p.rests_on) > 1 else ''} of {steps}" if steps else "No earlier step") + strange


def changed(p: Plain) -> str:  # noqa: PLR0911 - a table
    """What is another than before."""
    sent = "; its arguments were sent out of this machine" if p.egress and p.tries else ""
    acts = p.effect != "read" or p.egress
    if p.status is Status.SIMULATED:
        return "Nothing: it was only simulated"
    if not p.tries:
        return "Nothing: no call was made"
    if p.delegates and p.status is Status.FAILED and not p.inside:
        return "Nothing: no run was begun"
    if p.delegates:
        return "What the run inside it has done, which has entries of its own"
    if not acts:
        return "Nothing: it only reads"
    if p.status is Status.IN_DOUBT:
        return "Not known: whether it acted is in doubt"
    if p.status is Status.OPEN:
        return "Not known yet: it has not ended"
    if p.status not in (Status.OK, Status.EMPTY):
        return f"Nothing: it did not act{sent}"
    return f"{_TAKEN_BACK[p.reversibility]}{sent}" if p.effect != "read" else f"Nothing here{sent}"


def authorised(p: Plain) -> str:
    """Who let it, or did not."""
    by = "the policy" if p.by == "policy" else p.by or "a person"
    meant = "no" if p.status is Status.REJECTED else "yes"
    ended = "took it out of the queue" if p.status is Status.DROPPED else "carried it out"
    said = {
        How.UNASKED: "Nobody has to be asked before a call that only reads",
        How.POLICY: "The policy lets it be done without a person",
        How.APPROVED: f"{by} approved exactly this call",
        How.EDITED: f"{by} changed the arguments, and approved exactly that",
        How.EARLIER: f"{by} approved it together with an earlier call",
        How.TOOL_ALLOWED: f"{by} allowed this tool for the rest of the run",
        How.SILENCE: f"Nobody answered in time, which the policy takes for a {meant}",
        How.INSIDE: "Each call of the run inside it is decided by itself",
        How.BY_HAND: f"{by} {ended}",
        How.REJECTED: f"{by} refused it",
        How.NONE: "Nobody: it came to no call",
    }[p.how]
    more = f"; {count(p.reasons, 'reason')} beyond the policy called for a person" if p.reasons else ""
    return (said if said.startswith(p.by or " ") else said[0].upper() + said[1:]) + more


def outcome(p: Plain) -> str:
    """What came of it."""
    said = _came(p)
    if p.tries > 1:
        said += f", after {p.tries} tries"
    for happened, by in p.doubts:
        found = "the tool itself" if by == "reconcile" else by or "somebody"
        if happened is None:
            said += "; whether it acted was not known"
        else:
            said += f"; it was in doubt, and {found} found that it had{'' if happened else ' not'} happened"
    return said


def _came(p: Plain) -> str:  # noqa: PLR0911 - a table
    match p.status:
        case Status.OK | Status.SIMULATED:
            many = "" if p.many is None else f" of {count(p.many, _UNITS[p.gave])}"
            gave = "would have given" if p.status is Status.SIMULATED else "gave"
            short = f"; {_INSIDE[p.inside]}" if p.inside not in ("", "completed") else ""
            return f"It {gave} {p.gave or 'no result that is kept'}{many}{short}"
        case Status.EMPTY:
            return "It found nothing"
        case Status.FAILED:
            return f"It failed: {_INSIDE[p.inside] if p.delegates else _FAILED[p.failure]}"
        case Status.REFUSED:
            return f"It was not made{' again' if p.tries else ''}: {_STOPPED[p.refused_by]}"
        case Status.IN_DOUBT:
            return "It is in doubt"
        case Status.EARLIER:
            return "The earlier result was given back"
        case _:
            return _ENDS[p.status]


_ENDS: Final[Mapping[Status, str]] = {
    Status.OPEN: "It has not ended",
    Status.WITHDRAWN: "It was withdrawn before it acted",
    Status.REJECTED: "It was not made",
    Status.PROPOSED: "It waits for a person",
    Status.DROPPED: "It will not be made",
}

_UNITS: Final = {"a list": "item", "an object": "field", "a text": "character", "a long value": "character"}


def _listed(parts: Sequence[str]) -> str:
    """The parts in one sentence: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
