"""Asking a person whether a call may be made: by a card with buttons where they work, else by text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, Literal

from agentnb.approval import Answer, ApprovalRequest, person
from agentnb.notebook.card import TAKEN_BACK, Card, decided, left_waiting
from agentnb.notebook.comms import CommPump, uninterrupted
from agentnb.summary import Summary

__all__ = ["ask_by_card", "ask_by_text", "nobody_here"]

_QUESTION = "Make this call?  y / n / why not: "
_LONGEST_ARGS = 4000
_LOOK_S: Final = 0.05
"""Seconds between two looks for a press that came on another thread."""
_TYPED_S: Final = 0.1
"""Seconds in which the last letters of a reason arrive: front ends hold them back while they wait for an answer."""


def nobody_here(request: ApprovalRequest) -> Answer:
    """A refusal, where nobody can be asked: a run without people must neither hang nor act unasked."""
    way = "give --approve auto" if request.reversibility != "irreversible" else "run it where somebody can answer"
    return Answer("reject", by="policy", reason=f"approve=ask, and nobody is here to be asked: {way}")


def ask_by_card(request: ApprovalRequest, comms: CommPump, so_far: Summary) -> Answer:
    """What a person presses on the card, which then says so for good.

    Args:
        request: what is asked.
        comms: lets the buttons work; it is usable and entered.
        so_far: the run as it is now.

    Raises:
        KeyboardInterrupt: ■ was pressed; the card says how to answer later.
    """
    card = Card(request, so_far, _shown(request))
    try:
        card.show()
        answer = _pressed(card, comms)
        with uninterrupted():
            card.replace(decided(request, answer))
    except BaseException:
        with uninterrupted():
            card.replace(left_waiting(request))
        raise
    return answer


def _pressed(card: Card, comms: CommPump) -> Answer:
    while True:
        comms.poll(_LOOK_S)
        match card.decision():
            case "approve":
                return Answer("approve", by=person())
            case "reject":
                comms.poll(_TYPED_S)
                return Answer("reject", by=person(), reason=card.reason.strip())


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
    words, _ = TAKEN_BACK.get(request.reversibility, (request.reversibility, ""))
    lines = [f"{request.run} asks before {request.step}: {request.title}", f"{request.tool} {args}", *request.reasons]
    return "\n".join([*lines, f"This {words}."])
