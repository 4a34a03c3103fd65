"""Deeds: what a run did, or was kept from doing, one for each call.

A call that was tried several times is one deed, with its doubt and how that was resolved. What a person carried out by
hand is one of its own, and so is what was proposed, simulated, refused, or given back from an earlier run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from agentnb.errors import FailureClass
from agentnb.events import Kept
from agentnb.policy import ToolFacts

__all__ = ["Deed", "Doubt", "How", "Leave", "Status", "Try"]


class How(StrEnum):
    """On what authority something was done, or not done."""

    UNASKED = "unasked"
    """Nobody has to be asked: it neither changes anything nor sends anything out."""
    POLICY = "policy"
    """The policy lets it, without a person."""
    APPROVED = "approved"
    EDITED = "edited"
    """A person changed the arguments, and allowed that."""
    EARLIER = "earlier"
    """A person decided about it together with an earlier call."""
    TOOL_ALLOWED = "tool_allowed"
    """A person had allowed the tool for the rest of the run."""
    SILENCE = "silence"
    """Nobody answered in time, and the policy says what that means."""
    INSIDE = "inside"
    """A run of another agent, which asks about each of its own calls."""
    BY_HAND = "by_hand"
    """A person, or a validator by name, carried it out or dropped it."""
    REJECTED = "rejected"
    NONE = "none"
    """It came to no call."""


class Status(StrEnum):
    """What became of it."""

    OK = "ok"
    EMPTY = "empty"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    OPEN = "open"
    """It is under way, or its process ended in it."""
    WITHDRAWN = "withdrawn"
    """It had not acted, and was not made again."""
    SIMULATED = "simulated"
    REFUSED = "refused"
    REJECTED = "rejected"
    EARLIER = "earlier"
    PROPOSED = "proposed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Leave:
    """Who let it be done, or kept it from being done.

    Attributes:
        how: on what authority.
        by: who decided; "" where nobody was asked.
        reason: in their words.
        record: with the decision, -1 for none.
        at: when, in seconds since 1970.
    """

    how: How = How.NONE
    by: str = ""
    reason: str = ""
    record: int = -1
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Try:
    """One time that the function was called.

    Attributes:
        attempt: 1, 2, 3, …
        record: with the claim.
        at: when that was, in seconds since 1970.
        seconds: that it took; None where that is not known.
        failure: what kind of failure ended it.
        message: in the words of its exception.
        wait_s: seconds that were waited before the next one.
    """

    attempt: int
    record: int
    at: float
    seconds: float | None = None
    failure: FailureClass | None = None
    message: str = ""
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """A time in which nobody knew whether the call had acted.

    Attributes:
        message: what was known.
        record: from which on.
        happened: what was found out; None while it is in doubt.
        by: who found out: a person, or "reconcile".
        reason: in their words.
        resolved: the record that says so, -1 for none.
    """

    message: str
    record: int
    happened: bool | None = None
    by: str = ""
    reason: str = ""
    resolved: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One call, or what stands in the place of one.

    Attributes:
        run: the run's id.
        parent: the run of which this one is a call, "" for none.
        parent_step: its step.
        agent: the name that the run has there.
        origin: of a fork's beginning: the run that did it; "file" of what came in a file.
        step: whose call it is.
        tool: the tool's name.
        facts: of the tool, as the run knows them; None of a tool that it does not know.
        planned: version of the plan, and who made it: (1, "model").
        title: what the plan calls the step.
        rests_on: the earlier steps that it rests on, each with its tool.
        args: as it was called; of what was refused, as it was planned.
        by_hand: True where it was carried out, or dropped, outside the loop.
        again: True of a read that an execution has made once more.
        leave: who let it be done.
        status: what became of it.
        tries: the times that the function was called.
        doubts: the times in which its outcome was not known.
        result: what it gave.
        failure: what kind of failure ended it.
        message: in words.
        key: under which it was called.
        binding: hash of exactly what was approved.
        refused_by: of what was refused: "arguments", "guard", "breaker" or "read".
        earlier: the run and step whose result was given back.
        children: the runs that it was, or that its code began.
        ended: of a run that it was, how that ended: its status and the reason, ("stopped", "steps").
        described: what the tool's `describe` says that it does.
        reasons: why a person had to be asked, beyond the policy.
        at: when it began, in seconds since 1970.
        records: those that say all this.
    """

    run: str
    parent: str = ""
    parent_step: str = ""
    agent: str = ""
    origin: str = ""
    step: str
    tool: str
    facts: ToolFacts | None = None
    planned: tuple[int, str] = (0, "")
    title: str = ""
    rests_on: tuple[tuple[str, str], ...] = ()
    args: Kept | None = None
    by_hand: bool = False
    again: bool = False
    leave: Leave = Leave()
    status: Status = Status.OPEN
    tries: tuple[Try, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    result: Kept | None = None
    failure: FailureClass | None = None
    message: str = ""
    key: str = ""
    binding: str = ""
    refused_by: str = ""
    earlier: tuple[str, str] = ("", "")
    children: tuple[str, ...] = ()
    ended: tuple[str, str] = ("", "")
    described: str = ""
    reasons: tuple[str, ...] = ()
    at: float
    records: tuple[int, ...]

    def with_record(self, seq: int, **changes: object) -> Deed:
        """This one, and one more record that says of it."""
        return replace(self, records=(*self.records, seq), **changes)  # type: ignore[arg-type]  # as its caller says

    def last_try(self, **changes: object) -> tuple[Try, ...]:
        """Its tries, the last one changed."""
        *first, last = self.tries
        return (*first, replace(last, **changes))  # type: ignore[arg-type]  # as above
