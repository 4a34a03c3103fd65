"""Asking a person: whether a call may be made, what it rests on, or whether one happened whose outcome is not known.

An approver is one function: it gets a request and gives an `Answer`, or None where nobody has answered, and the run
then waits. One that raises, or gives something else, denies.
"""

from __future__ import annotations

import functools
import getpass
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agentnb.events import Kept, Statement
from agentnb.plan import JSON
from agentnb.values import canonical, digest

__all__ = [
    "Answer",
    "ApprovalRequest",
    "Approver",
    "DoubtRequest",
    "Notify",
    "OtherCall",
    "QuestionRequest",
    "Request",
    "Source",
    "binding",
    "nobody",
    "person",
    "who",
]


@dataclass(frozen=True, slots=True)
class Source:
    """Untrusted text that a call may come out of.

    Attributes:
        step: the step that brought it.
        tool: the tool that it came from.
        preview: its beginning.
    """

    step: str
    tool: str
    preview: str


@dataclass(frozen=True, slots=True)
class OtherCall:
    """Another call of the plan that needs leave and is known already: it can be decided in the same breath.

    Attributes:
        binding: hash of exactly this call.
        reasons: why it needs a person, beyond the policy.
        effect: "read" (that sends data out) or "write".
        egress: the arguments leave this machine.
    """

    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    expect: str
    reversibility: str
    binding: str
    reasons: tuple[str, ...] = ()
    effect: str = "write"
    egress: bool = False


def _fits(args: Mapping[str, JSON]) -> tuple[str, ...]:  # noqa: ARG001 - stands in for a tool's own check
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """Exactly what a person is asked to allow.

    Attributes:
        run: the run's id.
        step: the step's id.
        title: what the step is for.
        tool: the tool's name.
        args: all arguments, as the tool will get them.
        expect: what the planner expects of it.
        reversibility: whether it can be taken back: "full", "partial", "irreversible".
        binding: hash of run, tool and arguments: an answer holds for this and nothing else, once.
        effect: "read" (that sends data out) or "write".
        egress: the arguments leave this machine.
        task: what the run is for.
        confidence: of the planner, in this step: "low", "medium", "high".
        reasoning: what led to the call: findings of the steps that it rests on.
        so_far: the steps that the run has carried out, one line each, the last ones.
        reasons: why it is asked whatever the policy says: guards, untrusted text.
        sources: the untrusted text that the call may come out of.
        on_silence: what happens if nobody answers.
        within_s: seconds after which nobody's answer is that.
        parameters: JSON Schema of the arguments object, for editing them.
        problems: why the tool or its guards would refuse other arguments, one sentence each; () where they would not.
        others: further calls of the plan that need leave and are known; see `Answer.others`.
        allowable: True where "allow this tool for the rest of this run" may be answered.
        replans: True where a planner is told of a rejection and may plan anew; else that ends the run.
        agent: the name as which another run called this one, which runs inside it; "" of a run of its own.
        parent: the id of that run.
        parent_step: its step.
    """

    run: str
    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    expect: str
    reversibility: str
    binding: str
    effect: str = "write"
    egress: bool = False
    task: str = ""
    confidence: str = "medium"
    reasoning: tuple[str, ...] = ()
    so_far: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    on_silence: Literal["approve", "reject"] = "reject"
    within_s: float = 86_400.0
    parameters: Mapping[str, JSON] = field(default_factory=dict, repr=False)
    problems: Callable[[Mapping[str, JSON]], tuple[str, ...]] = field(default=_fits, repr=False, compare=False)
    others: tuple[OtherCall, ...] = ()
    allowable: bool = False
    replans: bool = False
    agent: str = ""
    parent: str = ""
    parent_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtRequest:
    """A call was begun and its outcome is not known: a person is asked to look.

    Attributes:
        run: the run's id.
        step: the step's id.
        title: what the step is for.
        tool: the tool's name.
        args: the arguments that it was called with.
        key: the key that it was called under, by which the other side may know it.
        known: what is known: when it was begun, how it ended.
        reversibility: whether it can be taken back.
        agent, parent, parent_step: as of an ApprovalRequest.
    """

    run: str
    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    key: str
    known: tuple[str, ...]
    reversibility: str
    agent: str = ""
    parent: str = ""
    parent_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRequest:
    """A call that comes next rests on something critical that nobody has said: a person is asked what it is.

    Attributes:
        run: the run's id.
        step: the step's id.
        title: what the step is for.
        tool: the tool's name.
        args: the arguments that it would be called with.
        gaps: what is missing, and the argument that rests on it.
        reversibility: whether the call can be taken back.
        effect: "read", "write" or "destructive".
        egress: the arguments leave this machine.
        task: what the run is for.
        so_far: the steps that the run has carried out, one line each, the last ones.
        replans: True where a planner is told the answer and makes the rest of its plan anew; else a model fills in the
            call's open arguments once more.
        agent, parent, parent_step: as of an ApprovalRequest.
    """

    run: str
    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    gaps: tuple[Statement, ...]
    reversibility: str
    effect: str = "write"
    egress: bool = False
    task: str = ""
    so_far: tuple[str, ...] = ()
    replans: bool = False
    agent: str = ""
    parent: str = ""
    parent_step: str = ""


Request = ApprovalRequest | DoubtRequest | QuestionRequest
Notify = Callable[[ApprovalRequest | QuestionRequest], object]
"""Told that something waits for a person; what it returns is dropped, and what it raises is logged. It may be async."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, and whose it is.

    Attributes:
        decision: of an ApprovalRequest "approve", "edit" or "reject"; of a DoubtRequest "happened" or "not_happened";
            of a QuestionRequest "answer", "go_on" or "stop".
        by: who decided.
        reason: why; the planner is told why a call was rejected. With "answer": the answer itself.
        args: with "edit": the arguments to call with instead, all of them.
        allow: with "approve": True allows this tool for the rest of this run; not where it cannot be taken back.
        others: of each other call of the request, by its binding, whether it may be made; one that is left out is
            asked about when it comes.
    """

    decision: Literal["approve", "edit", "reject", "happened", "not_happened", "answer", "go_on", "stop"]
    by: str
    reason: str = ""
    args: Mapping[str, JSON] | None = None
    allow: bool = False
    others: Mapping[str, bool] = field(default_factory=dict)


class Approver(Protocol):
    """Somebody, or something, that decides."""

    def __call__(self, request: Request, /) -> Answer | Awaitable[Answer | None] | None:
        """The decision, or None where nobody has answered: the run is suspended and waits. It may be async."""


def nobody(request: Request) -> Answer | None:  # noqa: ARG001 - an Approver
    """Where nobody can be asked: the run waits for `Run.approve()` or `Run.answer()`, or their `%agent` commands."""
    return None


def person() -> str:
    """The name of whoever sits here, for the record of a decision."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "a person"


def who(by: str) -> str:
    """How whoever decided is called here: "you", where that is whoever sits here, else by name."""
    return "you" if by == person() else by


def binding(run: str, tool: str, args: Kept) -> str:
    """SHA-256 over exactly what is called, as canonical JSON (RFC 8785), so that other programs can recompute it.

    The step is no part of it: what was approved in a card of many stays approved, once, when the plan is revised.
    """
    return _hash(run, tool, args.blob or args.text)


@functools.lru_cache(maxsize=64)
def _hash(*said: str | None) -> str:
    """Remembered: a call is bound when it is asked about, when leave is looked at, and when it is claimed."""
    return digest(canonical([*said]))
