"""Asking a person: by a card with buttons where they work, else by text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from agentnb.approval import Answer, ApprovalRequest, DoubtRequest, QuestionRequest, Request, person, who
from agentnb.notebook.buttons import Card, problems_of
from agentnb.notebook.card import calls_of, span
from agentnb.notebook.changes import changed, changes_text
from agentnb.notebook.comms import CommPump, uninterrupted
from agentnb.notebook.fields import Unreadable
from agentnb.notebook.outcome import decided, left_waiting
from agentnb.notebook.typed import background, edited_args, picked, question, reply, ruling
from agentnb.pending import number_of
from agentnb.plan import JSON

__all__ = ["ask_by_card", "ask_by_text", "nobody_here"]

_LOOK_S: Final = 0.05
"""Seconds between two looks for a press that came on another thread."""
_ELSEWHERE_S: Final = 0.25
"""Seconds between two looks for an answer that was given elsewhere."""
_TYPED_S: Final = 0.1
"""Seconds in which the last letters of a reason arrive: front ends hold them back while they wait for an answer."""

Read = Callable[[str], str]
Say = Callable[[str], None]


def nobody_here(request: Request) -> Answer | None:
    """A refusal, where nobody can be asked: a run without people must neither hang nor act unasked.

    None of what may have happened, or of what a call rests on: nobody can know that without looking, or for others, and
    the run waits for somebody who does.
    """
    if not isinstance(request, ApprovalRequest):
        return None
    way = "give --approve auto" if request.reversibility != "irreversible" else "run it where somebody can answer"
    return Answer("reject", by="policy", reason=f"approve=ask, and nobody is here to be asked: {way}")


# ---------------------------------------------------------------------------------------------------- by a card


def ask_by_card(
    request: Request,
    comms: CommPump,
    *,
    idle_s: float = 1800.0,
    elsewhere: Callable[[], Answer | None] = lambda: None,
) -> Answer | None:
    """What a person presses on the card, or says elsewhere; the card then says so for good.

    Silence is an answer of the policy's after `request.within_s`. Where silence means leave, it is silence only while
    nobody is busy with the card.

    Args:
        request: what is asked.
        comms: lets the buttons work; it is usable and entered.
        idle_s: seconds without a press after which it is None: the run rests, and the card says how to answer later.
        elsewhere: an answer given in another process or thread, once there is one; it goes before a press.

    Raises:
        KeyboardInterrupt: ■ was pressed; the card says how to answer later.
    """
    card = Card(request, question(request))
    try:
        card.show()
        answer, whose = _answered(card, request, comms, idle_s, elsewhere)
        with uninterrupted():
            card.replace(decided(request, answer, whose) if answer else left_waiting(request))
    except BaseException:
        with uninterrupted():
            card.replace(left_waiting(request))
        raise
    return answer


def _answered(
    card: Card, request: Request, comms: CommPump, idle_s: float, elsewhere: Callable[[], Answer | None]
) -> tuple[Answer | None, str]:
    """The answer, or None, and in what words to tell whose it is."""
    begun, looked = time.monotonic(), -math.inf
    while True:
        comms.poll(_LOOK_S)
        if comms.sent_again:  # its output is taken away, and with it the card
            return None, ""
        pressed = card.decision(lambda: comms.poll(_TYPED_S))
        now = time.monotonic()
        if pressed or card.left or now - looked >= _ELSEWHERE_S:
            looked = now
            if answer := elsewhere():
                return answer, who(answer.by)
        if pressed or card.left:
            return pressed, "you"
        if answer := _silence(request, now - begun, now - max(begun, card.touched)):
            return answer, "the policy"
        if now - max(begun, card.touched) >= idle_s:
            return None, ""


def _silence(request: Request, asked_s: float, quiet_s: float) -> Answer | None:
    """What the policy answers once a question has stood for so long, and been quiet for so long."""
    if not isinstance(request, ApprovalRequest):
        return None
    waited = quiet_s if request.on_silence == "approve" else asked_s
    if waited < request.within_s:
        return None
    return Answer(request.on_silence, by="policy", reason=f"nobody answered within {span(request.within_s)}")


# ---------------------------------------------------------------------------------------------------- by text


def ask_by_text(request: Request, read: Read | None = None, say: Say = print) -> Answer | None:
    """What a person answers, or None where the question was left without an answer.

    Only what cannot mean anything else allows a call. Enter alone never does, and is asked again.

    Args:
        request: what is asked.
        read: reads a line; `input` if left out, which front ends replace by their own.
        say: shows the call.
    """
    say(question(request))
    read = read or input
    try:
        if isinstance(request, DoubtRequest):
            return _looked(read, say)
        if isinstance(request, QuestionRequest):
            return _replied(read, say)
        return _chosen(request, read, say) if request.others else _ruled(request, read, say)
    except (EOFError, NotImplementedError):  # ipykernel's StdinNotImplementedError is one too
        return None


def _looked(read: Read, say: Say) -> Answer | None:
    while True:
        match read("Did it happen?  happened / not / Enter leaves it: ").strip().lower():
            case "":
                return None
            case "happened":
                return Answer("happened", by=person())
            case "not" | "not happened":
                return Answer("not_happened", by=person())
        say("Type happened if it did, not if it did not and is to be made again, or nothing to leave it.")


def _replied(read: Read, say: Say) -> Answer | None:
    while True:
        if said := reply(read("Your answer, or: go on / stop: ")):
            return Answer(said[0], by=person(), reason=said[1])
        say("Type what is asked, go on to make the call as it is, or stop to end the run here.")


def _ruled(request: ApprovalRequest, read: Read, say: Say) -> Answer | None:
    ways = "y / n / why not / why / e name=value" + (" / a" if request.allowable else "")
    while True:
        typed = read(f"Make this call?  {ways}: ").strip()
        if typed.lower() == "why":
            say(background(request))
        elif typed.lower() in ("a", "allow") and request.allowable:
            return Answer("approve", by=person(), allow=True)
        elif typed.partition(" ")[0].lower() in ("e", "edit"):
            if answer := _edited(request, typed.partition(" ")[2], read, say):
                return answer
        elif decision := ruling(typed):
            return Answer(decision[0], by=person(), reason=decision[1])
        else:
            always = f", a to allow {request.tool} for the rest of this run" if request.allowable else ""
            say(
                "Type y to allow it, n to refuse it, or the reason for refusing it; why for what led to it, "
                f"e name=value to change an argument{always}."
            )


def _edited(request: ApprovalRequest, typed: str, read: Read, say: Say) -> Answer | None:
    """The edited call, once it was shown and allowed; None leaves the question open."""
    try:
        args: dict[str, JSON] = edited_args(typed, request)
    except Unreadable as error:
        say(f"Not possible: {error}")
        return None
    changes = changed(request.args, args)
    if not changes:
        say("Nothing is changed by that.")
        return None
    say(changes_text(changes))
    if problems := problems_of(request, args):
        say("\n".join(f"Not possible: {problem}" for problem in problems))
        return None
    decision = ruling(read("Make the call as edited?  y / n: "))
    return Answer("edit", by=person(), args=args) if decision and decision[0] == "approve" else None


def _chosen(request: ApprovalRequest, read: Read, say: Say) -> Answer | None:
    """Several calls at once, or one by one after all."""
    calls = {number_of(call.step): call.binding for call in calls_of(request)}
    first, last = min(calls), max(calls)
    while True:
        typed = read(f"Which may be made?  all / {first},{last} / none / one (by one) of {len(calls)}: ").strip()
        if typed.lower() in ("one", "one by one"):
            return _ruled(request, read, say)
        if (numbers := picked(typed, calls)) is not None:
            others = {one: n in numbers for n, one in calls.items() if one != request.binding}
            if number_of(request.step) in numbers:
                return Answer("approve", by=person(), others=others)
            return Answer("reject", by=person(), reason="not selected" if numbers else "", others=others)
        listed = ", ".join(map(str, calls))
        say(f"Type all, the numbers of those that may be made ({listed}), none, or one to decide one by one.")
