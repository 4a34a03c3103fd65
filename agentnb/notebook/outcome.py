"""What stays of a question once it is answered, or left: one line, and below it what was changed or chosen."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from agentnb.approval import Answer, ApprovalRequest, DoubtRequest, OtherCall, QuestionRequest, Request
from agentnb.markdown import clean, line
from agentnb.notebook.changes import changed, changes_html, changes_text
from agentnb.render import card, typed_as_code
from agentnb.standing import ways_to_answer, ways_to_decide

__all__ = ["Outcome", "decided", "left_waiting"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stays of a question, on one line, and below it whatever a line cannot hold.

    Attributes:
        icon: with `said`, what stands out.
        kind: its class in the style sheet.
        said: who decided what, in a few words.
        call: about which call.
        todo: what to do next, with lines to type, or "".
        more: further lines, as text.
        more_html: the same as HTML.
    """

    icon: str
    kind: str
    said: str
    call: str
    more: str = ""
    more_html: str = ""
    todo: str = ""

    def html(self) -> str:
        """As HTML that needs no widget."""
        typed = typed_as_code(line(self.todo, 400)).replace("<code>", '<code style="white-space:nowrap">')
        todo = f": {typed}" if self.todo else ""
        head = f"<b>{self.icon} {escape(line(self.said, 100))}</b> <span>{escape(line(self.call, 700))}{todo}</span>"
        return card(f"<header>{head}</header>{self.more_html}", kind=self.kind)

    def text(self) -> str:
        """As text."""
        todo = f": {line(self.todo, 400)}" if self.todo else ""
        first = f"{self.icon} {line(self.said, 100)} {line(self.call, 700)}".rstrip() + todo
        return "\n".join([first, *(f"    {clean(more)}" for more in self.more.splitlines())])


def decided(request: Request, answer: Answer, who: str = "you") -> Outcome:  # noqa: PLR0911 - a table
    """The outcome of a decision.

    Args:
        request: what was asked.
        answer: what was decided.
        who: by whom; "you" is whoever pressed.

    >>> request = ApprovalRequest(
    ...     run="r1", step="s3", title="", tool="note", args={"text": "x"}, expect="", reversibility="full", binding=""
    ... )
    >>> decided(request, Answer("reject", "ada", "wrong text")).text()
    '✗ you rejected note(text) at step s3: wrong text'
    """
    call = _call(request)
    why = f": {answer.reason}" if answer.reason else ""
    match answer.decision:
        case "happened":
            return Outcome("✓", "ok", f"{who} said that it happened:", call + why)
        case "not_happened":
            return Outcome("✓", "ok", f"{who} said that it did not happen:", f"{call} is made again{why}")
        case "answer":
            return Outcome("✓", "ok", f"{who} answered", f"{call}{why}")
        case "go_on":
            return Outcome("✓", "ask", f"{who} went on without an answer:", call)
        case "stop":
            return Outcome("■", "rest", f"{who} stopped the run at", f"{call}{why}")
        case _ if isinstance(request, ApprovalRequest) and answer.others:
            return _many(request, answer, who)
        case "edit" if answer.args is not None:
            changes = changed(request.args, answer.args)
            more = (changes_text(changes), f"<div>{changes_html(changes)}</div>")
            return Outcome("✓", "ok", f"{who} edited and approved", call + why, *more)
        case "reject":
            return Outcome("✗", "bad", f"{who} rejected", call + why)
        case _:
            allowed = f", and {request.tool} for the rest of this run" if answer.allow else ""
            return Outcome("✓", "ok", f"{who} approved", call + allowed + why)


def left_waiting(request: Request) -> Outcome:
    """The outcome of a question that was left without an answer."""
    if isinstance(request, DoubtRequest):
        ways = f"look whether it happened, then %agent resume {request.run} --done or --not-done"
    elif isinstance(request, QuestionRequest):
        ways = " or ".join(ways_to_answer(request.run))
    else:
        steps = [request.step, *(call.step for call in request.others)]
        ways = " or ".join(ways_to_decide(request.run, steps))
    return Outcome("◇", "ask", "still waits", _call(request), todo=ways)


def _many(request: ApprovalRequest, answer: Answer, who: str) -> Outcome:
    """Of each call whether it may be made."""
    made: list[tuple[ApprovalRequest | OtherCall, bool | None]] = [(request, answer.decision != "reject")]
    made += [(call, answer.others.get(call.binding)) for call in request.others]
    marks = {
        True: ("✓", "ok", "approved"),
        False: ("✗", "bad", "not approved"),
        None: ("◇", "ask", "still to be asked"),
    }
    lines = [(*marks[may], _titled(call) + (" · still to be asked" if may is None else "")) for call, may in made]
    yes = sum(bool(may) for _, may in made)
    items = "".join(
        f'<li class="{kind}"><b role="img" aria-label="{word}">{icon}</b> <span>{escape(said)}</span></li>'
        for icon, kind, word, said in lines
    )
    said = f"{who} approved {yes} of {len(made)} calls" if yes else f"{who} rejected all {len(made)} calls"
    why = answer.reason if not yes else ""
    more = "\n".join(f"{icon} {said}" for icon, _, _, said in lines)
    return Outcome("✓" if yes else "✗", "ok" if yes else "bad", said, why, more, f'<ol class="steps">{items}</ol>')


def _titled(call: ApprovalRequest | OtherCall) -> str:
    return f"{_call(call)}: {line(call.title)}" if call.title else _call(call)


def _call(call: Request | OtherCall) -> str:
    names = ", ".join(call.args)
    return f"{line(f'{call.tool}({names})', 120)} at step {line(call.step, 20)}"
