"""The card that asks a person, as HTML: before a call or several, what one rests on, or after one that is in doubt.

It is plain HTML, without script and without widgets: those of a saved notebook are dead once the kernel is gone, and
what was asked must be readable for ever. The buttons are another output, right below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from agentnb.approval import ApprovalRequest, DoubtRequest, OtherCall, QuestionRequest, Request, Source
from agentnb.events import Statement
from agentnb.markdown import line
from agentnb.notebook.changes import Change, changes_html, in_sight, pretty
from agentnb.plan import JSON
from agentnb.render import card
from agentnb.standing import ways_to_answer, ways_to_decide
from agentnb.wording import count, seconds

__all__ = [
    "brief",
    "call_html",
    "calls_of",
    "card_html",
    "edit_html",
    "hint_html",
    "risks",
    "shared_reasons",
    "silence",
    "span",
    "whose",
    "why_it_matters",
]

_TAKEN_BACK: Final = {
    "full": ("can be taken back", "ok"),
    "partial": ("can be taken back in part", "ask"),
    "irreversible": ("cannot be taken back", "bad"),
}
"""Reversibility in words, and its class in the style sheet."""

_OPEN: Final = 300
"""Characters of an argument that are shown at once; the rest is a click away."""
_ALL: Final = 40_000
"""Characters of all arguments: what is approved is to be seen, and a megabyte is not read anyway."""
_QUOTED: Final = 280
_QUOTED_WHOLE: Final = 1500
"""Characters of untrusted text that are quoted."""
_LISTED: Final = 12
"""Steps and findings at most: the last ones."""


def card_html(request: Request, *, many: bool = False) -> str:
    """What is asked, as a card: its style sheet and one element; whatever strangers wrote is escaped.

    Args:
        request: what waits for a person.
        many: True where its other calls are asked about too; each of them is shown beside its check box.
    """
    if isinstance(request, DoubtRequest):
        kind, lead, rows, folded = "bad", ("?", "Outcome not known"), _doubt_rows(request), ""
    elif isinstance(request, QuestionRequest):
        kind, lead, rows, folded = "ask", ("◇", "Needs to know"), _question_rows(request), _folded(request)
    else:
        kind, lead, folded = "ask", ("◇", "Needs you"), _folded(request)
        rows = _batch_rows(request) if many else _rows(request)
    object_ = (
        f"<strong>{count(len(request.others) + 1, 'call')}</strong> of this plan need your approval"
        if isinstance(request, ApprovalRequest) and many
        else f"<strong>{escape(line(request.tool, 60))}</strong> {escape(brief(request.args))}"
    )
    place = f"<code>{escape(line(request.run, 60))} · {escape(line(request.step, 20))}</code>"
    inside = whose(request)
    object_ = f"{escape(inside)} wants to call {object_}" if inside else object_
    header = f"<header><b>{lead[0]} {lead[1]}</b> <span>{object_}</span> {place}</header>"
    body = f"<div>{_table(rows, 'What is asked')}{folded}</div>"
    return f"<style>{_look()}</style>{card(header + body, kind=kind + ' asks')}"


@cache
def _look() -> str:
    """card.css, without what only people read."""
    css = files("agentnb.notebook").joinpath("card.css").read_text(encoding="utf-8")
    return " ".join(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL).split())


def whose(request: Request) -> str:
    """Of an agent inside another run: its name, and where that has called it; else ""."""
    if not request.agent:
        return ""
    return f"{line(request.agent, 60)} (in {line(request.parent, 60)}, step {line(request.parent_step, 20)})"


def calls_of(request: ApprovalRequest) -> tuple[ApprovalRequest | OtherCall, ...]:
    """All that it asks about: the present call, and the others."""
    return request, *request.others


def shared_reasons(request: ApprovalRequest) -> tuple[str, ...]:
    """Why all the calls that it asks about need a person: said once, and not with each."""
    return tuple(reason for reason in request.reasons if all(reason in call.reasons for call in request.others))


def call_html(call: ApprovalRequest | OtherCall, known: Collection[str] = ()) -> str:
    """One call of several: what it is for, its risk in words, and its arguments a click away.

    Args:
        call: the call.
        known: reasons that are said of all of them.
    """
    title = f"<strong>{escape(line(call.title))}</strong> · " if call.title and call.title != call.tool else ""
    own = [reason for reason in call.reasons if reason not in known]
    why = "".join(f"<div>Why it asks: {escape(line(reason, 400))}</div>" for reason in own)
    table = _table(_arguments(call.args), call.tool)
    args = f"<details><summary>{escape(brief(call.args, 68)) or 'no arguments'}</summary>{table}</details>"
    return f'<div class="mathjax_ignore tex2jax_ignore">{title}{_risk_html(call)}{why}{args}</div>'


def edit_html(changes: tuple[Change, ...], problems: tuple[str, ...]) -> str:
    """What an edit comes to so far: its changes, and why it could not be made."""
    said = changes_html(changes) or ("" if problems else "<p>Nothing is changed yet.</p>")
    items = "".join(f"<li>{escape(line(problem, 400))}</li>" for problem in problems)
    wrong = f'<div class="bad"><b class="mark">Not possible</b><ul>{items}</ul></div>' if items else ""
    return f'<div role="status" class="mathjax_ignore tex2jax_ignore">{said}{wrong}</div>'


def risks(request: Request | OtherCall) -> tuple[tuple[str, str], ...]:
    """(words, class in the style sheet) of each risk, the plainest first."""
    egress = not isinstance(request, DoubtRequest) and request.egress
    reads = not isinstance(request, DoubtRequest) and request.effect == "read"  # nothing that could be taken back
    found = [] if reads else [_TAKEN_BACK.get(request.reversibility, (line(request.reversibility), "bad"))]
    return (*found, *([("sends data out of this machine", "bad")] if egress else []))


def silence(request: ApprovalRequest) -> str:
    """What happens if nobody answers, and when: "If nobody answers within 24 h, it is refused"."""
    return f"If nobody answers within {span(request.within_s)}, it is {_SILENT[request.on_silence]}"


_SILENT: Final = {"approve": "made", "reject": "refused"}


def span(value: float) -> str:
    """A duration in as few words as it takes: "24 h", "10 min", "90 s"."""
    return seconds(value).removesuffix(" 0 s").removesuffix(" 0 min").replace(".0 s", " s")


def brief(args: Mapping[str, JSON], most: int = 100) -> str:
    """The arguments on part of a line, the first ones in full: 'carrier="UA", months=[6, 7, 8]'."""
    return line(", ".join(f"{line(name, 40)}={line(pretty(value), 48)}" for name, value in args.items()), most)


# ---------------------------------------------------------------------------------------------------- rows


Row = tuple[str, str]
"""Name and value, both HTML."""


def _table(rows: Iterator[Row], label: str) -> str:
    found = "".join(f'<tr><th scope="row">{name}</th><td>{said}</td></tr>' for name, said in rows)
    return f'<table class="call" aria-label="{escape(line(label, 60))}"><tbody>{found}</tbody></table>'


def _rows(request: ApprovalRequest) -> Iterator[Row]:
    if request.title and request.title != request.tool:
        yield "Purpose", f"<strong>{escape(line(request.title))}</strong>"
    yield "Risk", _risk_html(request)
    yield from _arguments(request.args)
    yield from _reasons(request)
    if request.expect:
        sure = f" <small>· planner’s confidence: {escape(line(request.confidence, 20))}</small>"
        yield "Expected", escape(line(request.expect, 400)) + sure
    yield "If you don’t answer", _silence_html(request)


def _batch_rows(request: ApprovalRequest) -> Iterator[Row]:
    yield from _reasons(replace(request, reasons=shared_reasons(request)))
    yield "If you don’t answer", _silence_html(request)


def _doubt_rows(request: DoubtRequest) -> Iterator[Row]:
    yield "What is asked", "<strong>A call was begun and its outcome is not known.</strong> Did it happen? Please look."
    if request.title and request.title != request.tool:
        yield "Purpose", escape(line(request.title))
    yield "Risk", f"{_risk_html(request)} <small>· made again, it may happen twice</small>"
    yield from _arguments(request.args)
    if request.key:
        yield "Its key", f"<code>{escape(line(request.key, 100))}</code>"
    if request.known:
        yield "What is known", "<br>".join(escape(line(known, 400)) for known in request.known)


def _question_rows(request: QuestionRequest) -> Iterator[Row]:
    yield "Not known", "<br>".join(_gap(gap) for gap in request.gaps)
    yield "Why it matters", escape(why_it_matters(request))
    if request.title and request.title != request.tool:
        yield "Purpose", escape(line(request.title))
    yield "Risk", _risk_html(request)
    yield from _arguments(request.args)
    ways = " or ".join(f'<code class="way">{escape(line(way, 90))}</code>' for way in ways_to_answer(request.run)[:2])
    yield "If you don’t answer", f"It waits. Press ■ to answer later: {ways}"


def _gap(gap: Statement) -> str:
    name = f"<code>{escape(line(gap.argument, 60))}</code>: " if gap.argument else ""
    return f"{name}<strong>{escape(line(gap.text, 400))}</strong>"


def why_it_matters(request: QuestionRequest) -> str:
    """What the call would be made with that nobody has said: 'The call would be made with to="boss@example.com", …'."""
    values = {gap.argument: request.args[gap.argument] for gap in request.gaps if gap.argument in request.args}
    return f"The call would be made with {brief(values)}, which neither the task nor a result says."


def _folded(request: ApprovalRequest | QuestionRequest) -> str:
    """Why the agent wants it, what the run is for and what it has done: a click away."""
    done = "".join(f"<li>{escape(line(step, 400))}</li>" for step in request.so_far[-_LISTED:])
    reasoning = request.reasoning if isinstance(request, ApprovalRequest) else ()
    why = "".join(f"<li>{escape(line(reason, 400))}</li>" for reason in reasoning[-_LISTED:])
    if not (request.task or done or why):
        return ""
    names = [*(["Why the agent wants this"] if why else ["What this is for"])]
    names += [f"what happened so far ({count(len(request.so_far), 'step')})"] if done else []
    inner = f"<p>{escape(line(request.task, 600))}</p>" if request.task else ""
    inner += f"<p><small>It rests on</small></p><ul>{why}</ul>" if why else ""
    inner += f"<p><small>So far</small></p><ul>{done}</ul>" if done else ""
    return f"<details><summary>{' · '.join(names)}</summary>{inner}</details>"


def _reasons(request: ApprovalRequest) -> Iterator[Row]:
    if request.reasons:
        yield "Why it asks", "<br>".join(escape(line(reason, 400)) for reason in request.reasons)
    if request.sources:
        yield "Text of strangers", "".join(map(_quoted, request.sources))


def _quoted(source: Source) -> str:
    """Marked as what it is: a reader must not take a stranger's words for the agent's or ours."""
    place = f"<code>{escape(line(source.tool, 60))}</code> at step {escape(line(source.step, 20))}"
    said = f"<q>{escape(line(source.preview, _QUOTED))}</q>"
    whole = line(source.preview, _QUOTED_WHOLE)
    if len(whole) > _QUOTED:
        said += f"<details><summary>{count(len(whole), 'character')}</summary><q>{escape(whole)}</q></details>"
    return f'<div class="bad"><b>Not to be trusted:</b> {place} brought this in<blockquote>{said}</blockquote></div>'


def _risk_html(call: Request | OtherCall) -> str:
    return " · ".join(f'<b class="{kind} risk">{escape(words)}</b>' for words, kind in risks(call))


def _silence_html(request: ApprovalRequest) -> str:
    way, *_ = ways_to_decide(request.run, (request.step, *(call.step for call in request.others)))
    later = f'<code class="way">{escape(line(way, 200))}</code>'
    comes = f"It is {_SILENT[request.on_silence]} after {span(request.within_s)}."
    comes = f'<b class="ask">{comes}</b>' if request.on_silence == "approve" else comes
    return f"{comes} Press ■ to answer later: {later}"


def _arguments(args: Mapping[str, JSON]) -> Iterator[Row]:
    most = max(_OPEN, _ALL // max(1, len(args)))
    for name, value in args.items():
        yield f"<code>{escape(line(name, 60))}</code>", _value(value, most)


def _value(value: JSON, most: int) -> str:
    """A text as it is read, in quotation marks, everything else as JSON: so that "5" and 5 are told apart."""
    is_text = isinstance(value, str)
    text = str(value).replace("\r\n", "\n").expandtabs(4) if is_text else json.dumps(value, ensure_ascii=False)
    seen = in_sight(text) if is_text else pretty(value)
    unseen = "" if in_sight(text) == text else ' <b class="bad">with characters that cannot be seen</b>'
    mark, tag = ('"', "span") if is_text else ("", "code")
    if len(seen) <= _OPEN:
        return f"<{tag}>{escape(f'{mark}{seen}{mark}')}</{tag}>{unseen}"
    cut = f"\n… {count(len(seen) - most, 'more character')}" if len(seen) > most else mark
    size = f"<small>{count(len(seen), 'character')}</small>"
    begins, whole = escape(f"{mark}{line(seen, _OPEN // 2)}"), escape(f"{mark}{seen[:most]}{cut}")
    return f"<details><summary>{begins} {size}</summary><{tag}>{whole}</{tag}></details>{unseen}"


def hint_html(request: Request) -> str:
    """What to do where buttons are drawn and nobody is there to hear of a press."""
    way = f"<code>%agent resume {escape(line(request.run, 60))}</code>"
    said = f"If the buttons do nothing (the kernel was restarted): {way}"
    return f'<footer class="mathjax_ignore tex2jax_ignore">{said}</footer>'
