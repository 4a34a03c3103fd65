"""A question as text, and the answers that people type: for terminals, consoles and front ends without buttons."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal

from agentnb.approval import ApprovalRequest, DoubtRequest, OtherCall, QuestionRequest, Request
from agentnb.assess_changes import missing_of
from agentnb.markdown import line
from agentnb.notebook.card import calls_of, risks, shared_reasons, silence, whose, why_it_matters
from agentnb.notebook.changes import in_sight
from agentnb.notebook.fields import Unreadable, parse_json
from agentnb.plan import JSON
from agentnb.wording import count

__all__ = ["background", "edited_args", "picked", "question", "reply", "ruling", "value_of"]

_LONGEST_ARGS: Final = 4000
_QUOTED: Final = 1500


def question(request: Request) -> str:
    """What is asked, whole: the call, its risk, why it asks, and what silence means."""
    match request:
        case DoubtRequest():
            said = _doubt(request)
        case QuestionRequest():
            said = _missing(request)
        case _:
            said = _leave(request)
    return "\n".join(said)


def _leave(request: ApprovalRequest) -> Iterator[str]:
    inside = f"{whose(request)} wants to call {line(request.tool, 60)}. " if request.agent else ""
    yield f"{inside}{line(request.run, 60)} asks before {line(request.step, 20)}: {line(request.title)}"
    yield f"{line(request.tool, 100)} {_args(request.args)}"
    yield f"This {_risk(request)}."
    why = shared_reasons(request) if request.others else request.reasons
    yield from (f"Why it asks: {line(reason, 400)}" for reason in why)
    for source in request.sources:
        place = f"{line(source.tool, 60)} at step {line(source.step, 20)}"
        yield f"Not to be trusted: text that strangers wrote, from {place}: “{line(source.preview, _QUOTED)}”"
    if request.expect:
        yield f"Expected: {line(request.expect, 400)} (planner's confidence: {line(request.confidence, 20)})"
    yield f"{silence(request)}."
    if request.others:
        yield f"{count(len(request.others) + 1, 'call')} of this plan need your approval:"
        known = shared_reasons(request)
        yield from (_numbered(call, known) for call in calls_of(request))


def _doubt(request: DoubtRequest) -> Iterator[str]:
    place = f"{whose(request)}, in its run {line(request.run, 60)}" if request.agent else line(request.run, 60)
    yield f"{place}: a call was begun at {line(request.step, 20)}, and its outcome is not known."
    yield f"{line(request.tool, 100)} {_args(request.args)}"
    yield f"This {_risk(request)}. Made again, it may happen twice."
    if request.key:
        yield f"Its key: {line(request.key, 100)}"
    yield from (f"Known: {line(known, 400)}" for known in request.known)


def _missing(request: QuestionRequest) -> Iterator[str]:
    step, title = line(request.step, 20), line(request.title)
    place = f"{whose(request)}, in its run {line(request.run, 60)}," if request.agent else line(request.run, 60)
    yield f"{place} needs to know something before {step}: {title}".rstrip(": ")
    yield from (f"Not known: {line(missing_of(gap), 400)}" for gap in request.gaps)
    yield why_it_matters(request)
    yield f"{line(request.tool, 100)} {_args(request.args)}"
    yield f"This {_risk(request)}."


def _numbered(call: ApprovalRequest | OtherCall, known: Collection[str]) -> str:
    """A call with the number of its step, which `%agent approve` takes as well."""
    args = ", ".join(f"{name}={in_sight(json.dumps(value, ensure_ascii=False))}" for name, value in call.args.items())
    number, tool = line(call.step, 20).removeprefix("s"), line(call.tool, 100)
    why = "".join(f" Asks because {line(reason)}." for reason in call.reasons if reason not in known)
    return f"  {number}. {tool}({line(args, 600)}): {line(call.title)}. This {_risk(call)}.{why}"


def background(request: ApprovalRequest) -> str:
    """What the run is for, what the call rests on, and what happened so far."""
    said = [f"The task: {line(request.task, 600)}"] if request.task else []
    said += [f"It rests on: {line(reason, 400)}" for reason in request.reasoning]
    said += [f"So far: {line(step, 400)}" for step in request.so_far]
    return "\n".join(said) or "No more is known."


def _args(args: Mapping[str, JSON]) -> str:
    text = in_sight(json.dumps(dict(args), ensure_ascii=False, indent=2))
    return (
        text
        if len(text) <= _LONGEST_ARGS
        else f"{text[:_LONGEST_ARGS]}\n… {count(len(text) - _LONGEST_ARGS, 'more character')}"
    )


def _risk(request: Request | OtherCall) -> str:
    return " and ".join(words for words, _ in risks(request)) or "cannot be judged"


# ---------------------------------------------------------------------------------------------------- answers


def ruling(typed: str) -> tuple[Literal["approve", "reject"], str] | None:
    """Yes, or no with its reason; None for anything that could mean either."""
    first, _, rest = typed.strip().partition(" ")
    word = first.rstrip(",.:;!").lower()
    if word in ("y", "yes"):
        return None if rest.strip() else ("approve", "")  # "yes, but …" is neither
    if word in ("n", "no"):
        return "reject", rest.strip()
    return ("reject", typed.strip()) if rest.strip() else None


def reply(typed: str) -> tuple[Literal["answer", "go_on", "stop"], str] | None:
    """An answer, "go on" or "stop"; None for an empty line, which says nothing."""
    word = typed.strip().rstrip(".!").lower().replace("-", " ")
    if word == "go on":
        return "go_on", ""
    if word == "stop":
        return "stop", ""
    return ("answer", typed.strip()) if typed.strip() else None


def picked(typed: str, known: Collection[int]) -> frozenset[int] | None:
    """The numbers of "all", "none" or "1,3", of those that are `known`; None for anything else."""
    word = typed.strip().lower().rstrip(".")
    if word in ("all", "none"):
        return frozenset(known if word == "all" else ())
    if not re.fullmatch(r"\d{1,4}(?:\s*[,\s]\s*\d{1,4})*", word, re.ASCII):
        return None
    numbers = frozenset(map(int, re.findall(r"\d+", word)))
    return numbers if numbers <= frozenset(known) else None


def edited_args(typed: str, request: ApprovalRequest) -> dict[str, JSON]:
    """All arguments, with those of "name=value name=value" in place of theirs.

    A value is JSON, or the text itself where the argument is text and where it is no JSON.

    Raises:
        Unreadable: there is no such argument, or none at all.
    """
    known = request.parameters.get("properties")
    names = [*request.args, *(known if isinstance(known, Mapping) else ())]
    one_of = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    found = re.compile(rf'({one_of})\s*=\s*("(?:[^"\\]|\\.)*"|.*?)(?=\s+(?:{one_of})\s*=|\s*$)')
    args, place = dict(request.args), 0
    typed = typed.strip()
    while place < len(typed):
        match = found.match(typed, place)
        if match is None:
            takes = ", ".join(dict.fromkeys(names)) or "no arguments"
            raise Unreadable(f"{typed[place : place + 40]!r} is no name=value: {request.tool} takes {takes}")
        args[match[1]] = value_of(match[2], known.get(match[1]) if isinstance(known, Mapping) else None)
        place = match.end() + len(typed[match.end() :]) - len(typed[match.end() :].lstrip())
    return args


def value_of(text: str, schema: object) -> JSON:
    """What is typed for an argument: JSON, or the text itself where it is none, or where the argument is text."""
    wants_text = isinstance(schema, Mapping) and schema.get("type") == "string"
    try:
        value = parse_json(text)
    except Unreadable:
        return text
    return text if wants_text and not isinstance(value, str) else value
