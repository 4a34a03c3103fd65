"""Asking a person whether a call may be made: what is asked, who answers, and what silence means."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import rfc8785

from agentnb.events import Kept
from agentnb.plan import JSON

__all__ = ["Answer", "ApprovalRequest", "Approver", "binding", "nobody", "person"]


@dataclass(frozen=True, slots=True)
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
        reasons: why guards want a person's leave, where they do.
        binding: hash of run, step, tool and arguments: an answer holds for this and nothing else.
    """

    run: str
    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    expect: str
    reversibility: str
    binding: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, and whose it is."""

    decision: Literal["approve", "reject"]
    by: str
    reason: str = ""


class Approver(Protocol):
    """Somebody, or something, that decides."""

    def __call__(self, request: ApprovalRequest) -> Answer | None:
        """The decision, or None where nobody has answered: the run is suspended and waits."""


def nobody(request: ApprovalRequest) -> Answer | None:  # noqa: ARG001 - an Approver
    """Where nobody can be asked: the run waits for `Run.approve()` or `%agent approve`."""
    return None


def person() -> str:
    """The name of whoever sits here, for the record of a decision."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "a person"


def binding(run: str, step: str, tool: str, args: Kept) -> str:
    """SHA-256 over exactly what is called, as canonical JSON (RFC 8785), so that other programs can recompute it."""
    return hashlib.sha256(rfc8785.dumps([run, step, tool, args.blob or args.text])).hexdigest()
