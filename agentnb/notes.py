"""What is said of a step, of a decision and of a proposed action: one line each, from the records alone.

A record holds a short value as its text and a long one only by its handle; of those their length is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from agentnb.events import (
    ActionSettled,
    ApprovalAnswered,
    ApprovalAsked,
    AskedCall,
    AssessmentMade,
    DoubtResolved,
    Kept,
    QuestionAnswered,
    Statement,
    ToolRefused,
    ToolReturned,
)
from agentnb.plan import JSON, Step
from agentnb.state import Queued

__all__ = [
    "ActionStatus",
    "action_said",
    "action_status",
    "answer_said",
    "brief_args",
    "brief_result",
    "decision",
    "doubt_said",
    "edited",
    "first_line",
    "gave",
    "name_of",
    "named",
    "refused",
    "returned",
    "settled",
    "statements",
    "turned_down",
    "verdict",
]

ActionStatus = Literal["waits", "in_doubt", "done", "dropped"]

_BRIEF: Final = 60
"""Characters of one value."""


def first_line(text: str) -> str:
    """The first line of `text`, in at most 120 characters."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 120 else f"{line[:119]}…"  # noqa: PLR2004 - one line of a notebook


def named(items: Sequence[str]) -> str:
    """Several names in a sentence: "s1, s2 and s3"."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def name_of(step: Step) -> str:
    """What a step is for, and the tool that it calls: "Thank Ada (send_mail)"."""
    return f"{step.title} ({step.tool})" if step.title and step.title != step.tool else step.tool


# ---------------------------------------------------------------------------------------------------- values


def brief_args(kept: Kept) -> str:
    """Arguments as they would stand in a call, each cut to a few words."""
    args = _object(kept)
    if args is None:
        return _length(kept.size)
    return ", ".join(f"{_in_sight(name)}={_cut(_text(value))}" for name, value in args.items())


def edited(before: Kept, after: Kept) -> str:
    """What an edit changes: "amount 250 → 40, cc added "ada""; "" where nothing is different.

    Args:
        before: the arguments that were asked about, as the tool would have got them.
        after: those that were allowed, in a plan's writing: a leading "$" is doubled in it.
    """
    old, new = _object(before), _object(after)
    if old is None or new is None:
        return f"{_length(before.size)} → {_length(after.size)}"
    new = {name: _unescaped(value) for name, value in new.items()}
    names = [*old, *(name for name in new if name not in old)]
    return ", ".join(filter(None, (_change(name, old, new) for name in names)))


def _change(name: str, old: Mapping[str, JSON], new: Mapping[str, JSON]) -> str:
    was, is_ = (_text(args[name]) if name in args else "" for args in (old, new))
    if was == is_:
        return ""
    told = [text if len(text) <= _BRIEF else _length(len(text)) for text in (was, is_)]
    if was and is_:
        return f"{_in_sight(name)} {told[0]} → {told[1]}"
    return f"{_in_sight(name)} {'taken out' if was else 'added'} {told[0] or told[1]}"


def _object(kept: Kept) -> dict[str, JSON] | None:
    """The arguments, where the record itself holds them."""
    value = _parsed(kept)
    return value if isinstance(value, dict) else None


def _parsed(kept: Kept) -> JSON:
    """The value, where the record itself holds one."""
    try:
        value: JSON = json.loads(kept.text or "null")
    except (ValueError, RecursionError):
        return None
    return value


def _unescaped(value: JSON) -> JSON:
    if isinstance(value, str):
        return value[1:] if value.startswith("$$") else value
    if isinstance(value, dict):
        return {name: _unescaped(item) for name, item in value.items()}
    return [_unescaped(item) for item in value] if isinstance(value, list) else value


def _text(value: JSON) -> str:
    return _in_sight(json.dumps(value, ensure_ascii=False))


def _in_sight(text: str) -> str:
    """`text` with every character that is not drawn as JSON writes it: an argument must not hide one."""
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 1]}…"


def _length(characters: int) -> str:
    return f"({characters:,} characters)".replace(",", " ")


# ---------------------------------------------------------------------------------------------------- calls


def returned(event: ToolReturned, tries: int) -> str:
    """How a call ended, where that is worth a word."""
    if event.status == "failed":
        return f"after {tries} tries: {first_line(event.message)}" if tries > 1 else first_line(event.message)
    found = "nothing found" if event.status == "empty" else first_line(event.message)
    return ", ".join(filter(None, (found, f"at try {tries}" if tries > 1 else "")))


def refused(event: ToolRefused) -> str:
    """Why a call never reached its function."""
    why = "; ".join(event.problems)
    if event.by == "breaker":  # for how long is past when it is read
        return first_line(f"not called, it keeps failing: {why.partition('; it is not called')[0].partition(': ')[2]}")
    lead = {"guard": "a guard says no", "read": "not called"}.get(event.by, "cannot be called so")
    return first_line(f"{lead}: {why}")


def doubt_said(event: DoubtResolved, by: str) -> str:
    """What was found out about a call whose outcome was not known."""
    what = "it happened" if event.happened else "it did not happen"
    who = "looked up by the tool" if event.by == "reconcile" else "as you say" if by == "you" else f"as {by} says"
    return ": ".join(filter(None, (f"{what}, {who}", first_line(event.reason))))


# ---------------------------------------------------------------------------------------------------- decisions


def decision(event: ApprovalAnswered, asked: ApprovalAsked | None, by: str) -> str:
    """Who decided what about which call."""
    if event.silent:
        came = "it was let go" if event.decision == "approve" else "it was not made"
        return f"nobody answered about {event.step} in time: {came}"
    verb = {"approve": "approved", "edit": "edited and approved", "reject": "rejected"}[event.decision]
    said = f"{by} {verb} {_together(event, asked.others if asked else ())}"
    if event.allow and asked:
        said += f", and {asked.tool} for the rest of this run"
    changes = edited(asked.args, event.args) if event.decision == "edit" and asked and event.args else ""
    return ": ".join(filter(None, (said, changes, event.reason)))


def statements(event: AssessmentMade) -> tuple[str, ...]:
    """What an assessment says, one line each: how it stands, what it is, and what it rests on."""
    groups = (("established", event.established), ("assumed", event.assumed), ("unknown", event.unknown))
    return tuple(_statement(standing, said) for standing, found in groups for said in found)


def _statement(standing: str, said: Statement) -> str:
    why = f"called established, but {said.demoted}" if said.demoted else ", ".join(said.sources)
    critical = ", critical" if said.critical and standing != "established" else ""
    return f"{standing}{critical}: {said.text}" + (f" ({why})" if why else "")


def answer_said(event: QuestionAnswered, missing: str, by: str) -> str:
    """What a person has said to what an assessment found missing.

    Args:
        event: the answer.
        missing: what was asked.
        by: who answered.
    """
    match event.decision:
        case "answer":
            return f"{by} answered before {event.step}, asked about “{missing}”: {event.text}"
        case "go_on":
            return f"{by} went on with {event.step} without knowing “{missing}”"
        case _:
            return ": ".join(filter(None, (f"{by} stopped at {event.step}, asked about “{missing}”", event.text)))


def verdict(event: ApprovalAnswered, by: str) -> str:
    """The decision about the one call, in a few words: "approved by you"."""
    if event.silent:
        return "nobody answered in time"
    return f"{ {'approve': 'approved', 'edit': 'edited and approved', 'reject': 'rejected'}[event.decision] } by {by}"


def turned_down(event: ApprovalAnswered, by: str, *, left_out: bool) -> str:
    """Why a call was not made, of one that nobody let; `left_out` where others of its plan were selected instead."""
    if left_out:
        return first_line(": ".join(dict.fromkeys(("not selected", event.reason or "not selected"))))
    return "nobody answered in time" if event.silent else first_line(f"rejected by {by}: {event.reason}".rstrip(": "))


def _together(event: ApprovalAnswered, others: Sequence[AskedCall]) -> str:
    """The call that was asked about with those that were decided alike, and those that were decided otherwise."""
    alike = event.decision != "reject"
    same, not_so = ([o.step for o in others if event.others.get(o.binding) is said] for said in (alike, not alike))
    return named([event.step, *same]) + (f", but not {named(not_so)}" if not_so else "")


# ---------------------------------------------------------------------------------------------------- the queue


def action_status(item: Queued) -> ActionStatus:
    """Where a proposed action stands."""
    if item.settled is not None:
        return "done" if item.settled.status == "done" else "dropped"
    return "in_doubt" if item.claimed else "waits"


def action_said(item: Queued, by: str, tried: str) -> str:
    """What there is to say of a proposed action.

    Args:
        item: of the queue.
        by: who settled it, or began it.
        tried: how the last try to carry it out failed, "" where there was none.
    """
    if item.settled is not None:
        return settled(item.settled, by)
    if item.claimed:
        doubt = item.doubt or "how it ended is not known"
        return f"begun by {by}, and perhaps carried out: {first_line(doubt)}"
    return ": ".join(filter(None, ("waits for you", "; ".join(filter(None, (tried, *item.action.reasons))))))


def settled(event: ActionSettled, by: str) -> str:
    """What came of a try to carry out an action, or to drop it."""
    said = {"done": "carried out by", "dropped": "dropped by", "failed": "not carried out by"}
    lead = f"{said[event.status]} {by}" if event.status in said else f"begun by {by}, and perhaps carried out"
    words = first_line(event.message)
    if by == "you" and words.startswith(theirs := f"{event.by} says"):
        words = f"you say{words.removeprefix(theirs)}"
    return ": ".join(filter(None, (lead, words)))


def gave(event: ActionSettled) -> str:
    """What a carried-out action gave, in a few words; "" where it gave nothing."""
    return brief_result(event.result)


def brief_result(kept: Kept | None) -> str:
    """What a call gave, in a few words; "" where it gave nothing."""
    if kept is None or kept.text == "null":
        return ""
    value = _parsed(kept)
    if value is None:
        return _length(kept.size)
    return _cut(_in_sight(value) if isinstance(value, str) else _text(value))
