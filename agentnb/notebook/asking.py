"""Asking a person by text whether a call may be made: the one way that works in every front end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from agentnb.approval import Answer, ApprovalRequest, person

__all__ = ["ask_by_text", "nobody_here"]

_QUESTION = "Make this call?  y / n / why not: "
_LONGEST_ARGS = 4000


def nobody_here(request: ApprovalRequest) -> Answer:
    """A refusal, where nobody can be asked: a run without people must neither hang nor act unasked."""
    way = "give --approve auto" if request.reversibility != "irreversible" else "run it where somebody can answer"
    return Answer("reject", by="policy", reason=f"approve=ask, and nobody is here to be asked: {way}")


def ask_by_text(
    request: ApprovalRequest, read: Callable[[str], str] | None = None, say: Callable[[str], None] = print
) -> Answer | None:
    """What a person answers, or None where the question was left without an answer.

    Only "y" or "yes" allows the call. Enter alone, and anything that could mean either, is asked again.

    Args:
        request: what is asked.
        read: reads a line; `input` if left out, which front ends replace by their own.
        say: shows the call.
    """
    say(_shown(request))
    read = read or input
    while True:
        try:
            decision = _decision(read(_QUESTION))
        except (EOFError, NotImplementedError):  # ipykernel's StdinNotImplementedError is one too
            return None
        if decision:
            return Answer(decision[0], by=person(), reason=decision[1])
        say("Type y to allow it, n to refuse it, or the reason for refusing it.")


def _decision(line: str) -> tuple[Literal["approve", "reject"], str] | None:
    first, _, rest = line.strip().partition(" ")
    word = first.rstrip(",.:;!").lower()
    if word in ("y", "yes"):
        return None if rest.strip() else ("approve", "")  # "yes, but …" is neither
    if word in ("n", "no"):
        return "reject", rest.strip()
    return ("reject", line.strip()) if rest.strip() else None


def _shown(request: ApprovalRequest) -> str:
    args = json.dumps(dict(request.args), ensure_ascii=False, indent=2)
    if len(args) > _LONGEST_ARGS:
        args = f"{args[:_LONGEST_ARGS]}\n… {len(args) - _LONGEST_ARGS:,} more characters"
    back = {"full": "can be taken back", "partial": "can be taken back in part", "irreversible": "cannot be taken back"}
    lines = [f"{request.run} asks before {request.step}: {request.title}", f"{request.tool} {args}"]
    return "\n".join([*lines, f"This {back.get(request.reversibility, request.reversibility)}."])
