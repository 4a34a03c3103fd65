"""What of a deed can be told to anybody: a type that cannot hold raw data.

No field of `Plain` can hold a text that a model, a tool, an argument or an error has written: it takes ids and names by
their form, words out of fixed lists, numbers and times. Nor does it hold hashes of such texts: a short value can be
guessed from its hash.

One text is let through as it is: what a tool's `describe` says of its call. Whoever wrote the tool vouches for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, get_args

from agentnb.budget import LIMITS
from agentnb.deeds import Deed, How, Status
from agentnb.errors import FailureClass
from agentnb.events import Kept
from agentnb.plan import JSON
from agentnb.policy import Effect, Reversibility

__all__ = ["Plain", "Vouched", "plain"]

_RUN: Final = re.compile(r"r[1-9][0-9]{0,8}-[a-z]{1,20}")
_STEP: Final = re.compile(r"s[1-9][0-9]{0,8}")
_PERSON: Final = re.compile(r"[\w .@'+-]{1,64}")
_LONGEST_NAME: Final = 64
_PARSED: Final = 1_000_000
"""Characters of a value whose form is looked at."""
_KINDS: Final = ("a text", "a number", "a truth value", "nothing", "a list", "an object", "a long value")


class Vouched(str):
    """A sentence that a tool's author answers for."""

    __slots__ = ()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and (not value or (value.isidentifier() and len(value) <= _LONGEST_NAME))


def _like(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and (not value or pattern.fullmatch(value) is not None)


def _one_of(words: Iterable[str]) -> Callable[[object], bool]:
    known = frozenset(words)
    return lambda value: isinstance(value, str) and (not value or str(value) in known)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float, bool))


def _each(*parts: Callable[[object], bool]) -> Callable[[object], bool]:
    def all_of_them(value: object) -> bool:
        return isinstance(value, tuple) and all(
            len(item) == len(parts) and all(part(x) for part, x in zip(parts, item, strict=True))
            for item in (item if isinstance(item, tuple) else (item,) for item in value)
        )

    return all_of_them


_HOLDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "run": _like(_RUN),
    "parent": _like(_RUN),
    "parent_step": _like(_STEP),
    "step": _like(_STEP),
    "tool": _is_name,
    "effect": _one_of(get_args(Effect)),
    "reversibility": _one_of(get_args(Reversibility)),
    "egress": _is_number,
    "untrusted": _is_number,
    "delegates": _is_number,
    "by_hand": _is_number,
    "again": _is_number,
    "status": _one_of(Status),
    "plan_version": _is_number,
    "plan_by": _one_of(("model", "user", "rule")),
    "args": _each(_is_name, _one_of(_KINDS)),
    "rests_on": _each(_like(_STEP), _is_name),
    "how": _one_of(How),
    "by": _like(_PERSON),
    "decided_at": _is_number,
    "reasons": _is_number,
    "tries": _is_number,
    "seconds": _is_number,
    "failure": _one_of(FailureClass),
    "refused_by": _one_of(("arguments", "guard", "breaker", "read")),
    "doubts": _each(_is_number, _like(_PERSON)),
    "gave": _one_of(_KINDS),
    "many": _is_number,
    "runs": _each(_like(_RUN)),
    "inside": _one_of((*LIMITS, "completed", "stopped", "failed", "cancelled")),
    "at": _is_number,
    "records": _each(_is_number),
    "described": lambda value: isinstance(value, Vouched),
}
"""What each field may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What of a deed can be told to anybody; no field holds a raw text, see `_HOLDS`.

    Attributes:
        run, parent, parent_step, step: ids; "" where there is none, or it has not the form of one.
        tool: its name; "" where it is not one that the run knows.
        effect, reversibility, egress, untrusted, delegates: as the tool declares them.
        by_hand, again, status: as of a `Deed`.
        plan_version, plan_by: the plan, and who made it.
        args: the arguments' names, each with the kind of its value; () where no call was made.
        rests_on: steps with their tools.
        how, by, decided_at: on whose authority, and when.
        reasons: why a person had to be asked, counted.
        tries: how often it was called.
        seconds: that the last time took.
        failure, refused_by: what kept it from succeeding.
        doubts: whether it had happened, and who found out; None while nobody has.
        gave, many: the kind of its result, and how many items or fields it has.
        runs: other runs that it concerns: those that it was, or the one whose result it gave back.
        inside: of a run that it was, how that ended: its status, or the cap that stopped it; "" of any other.
        at: when it began.
        records: those that say all this.
        described: what the tool's `describe` says.

    Raises:
        ValueError: a field holds something else.
    """

    run: str
    parent: str
    parent_step: str
    step: str
    tool: str
    effect: str
    reversibility: str
    egress: bool
    untrusted: bool
    delegates: bool
    by_hand: bool
    again: bool
    status: Status
    plan_version: int
    plan_by: str
    args: tuple[tuple[str, str], ...]
    rests_on: tuple[tuple[str, str], ...]
    how: How
    by: str
    decided_at: float | None
    reasons: int
    tries: int
    seconds: float | None
    failure: str
    refused_by: str
    doubts: tuple[tuple[bool | None, str], ...]
    gave: str
    many: int | None
    runs: tuple[str, ...]
    inside: str
    at: float
    records: tuple[int, ...]
    described: Vouched

    def __post_init__(self) -> None:
        for field in fields(self):
            if not _HOLDS[field.name](getattr(self, field.name)):
                raise ValueError(f"{field.name} of a compliance entry cannot hold what it was given")


def _only(field: str, value: Any) -> Any:
    """`value`, or "" where the field may not hold it."""
    return value if _HOLDS[field](value) else ""


def plain(deed: Deed, text_of: Callable[[Kept], str], who: Callable[[str], str] = str) -> Plain:
    """What of `deed` can be told to anybody.

    Args:
        deed: what was done.
        text_of: the JSON text of a value; it is read for its form.
        who: how somebody is called.
    """
    facts, leave, made = deed.facts, deed.leave, bool(deed.tries) or deed.status is Status.SIMULATED
    gave, many = _form(deed.result, text_of)
    checked = made or deed.status in (Status.PROPOSED, Status.DROPPED) or bool(deed.binding)  # by the tool's own schema
    named = checked and facts is not None and not deed.again
    return Plain(
        run=_only("run", deed.run), parent=_only("parent", deed.parent), step=_only("step", deed.step),
        parent_step=_only("parent_step", deed.parent_step), tool=_only("tool", deed.tool if facts else ""),
        effect=facts.effect if facts else "", reversibility=facts.reversibility if facts else "",
        egress=bool(facts and facts.egress), untrusted=bool(facts and facts.untrusted),
        delegates=bool(facts and facts.delegates), by_hand=deed.by_hand, again=deed.again, status=deed.status,
        plan_version=deed.planned[0], plan_by=_only("plan_by", deed.planned[1]),
        args=_arguments(deed.args, text_of) if named else (),
        rests_on=tuple((_only("step", step), _only("tool", tool)) for step, tool in deed.rests_on),
        how=leave.how, by=_only("by", who(leave.by)), decided_at=leave.at if leave.record >= 0 else None,
        reasons=len(deed.reasons), tries=len(deed.tries), seconds=_took(deed),
        failure=str(deed.failure or ""), refused_by=_only("refused_by", deed.refused_by),
        doubts=tuple((doubt.happened, _only("by", who(doubt.by))) for doubt in deed.doubts), gave=gave, many=many,
        runs=tuple(run for run in (*deed.children, deed.earlier[0]) if run and _HOLDS["run"](run)),
        inside=_ended(*deed.ended), at=deed.at, records=deed.records, described=Vouched(deed.described),
    )  # fmt: skip


def _ended(status: str, reason: str) -> str:
    return reason if status == "stopped" and reason in LIMITS else _only("inside", status)


def _took(deed: Deed) -> float | None:
    """Seconds of the last try, in thousandths; None of what has none of its own."""
    took = deed.tries[-1].seconds if deed.tries else None
    return None if took is None or (deed.facts and deed.facts.delegates) else round(took, 3)


def _read(kept: Kept | None, text_of: Callable[[Kept], str]) -> JSON:
    """The value; LookupError where there is none, or it is too long to be looked at."""
    if kept is None or kept.size > _PARSED:
        raise LookupError
    try:
        return json.loads(kept.text if kept.text is not None else text_of(kept))
    except (ValueError, RecursionError) as error:
        raise LookupError from error


def _arguments(kept: Kept | None, text_of: Callable[[Kept], str]) -> tuple[tuple[str, str], ...]:
    """Names that a tool has declared: it takes no others."""
    try:
        args = _read(kept, text_of)
    except LookupError:
        return ()
    return tuple((_only("tool", name), _kind(value)) for name, value in args.items()) if isinstance(args, dict) else ()


def _form(kept: Kept | None, text_of: Callable[[Kept], str]) -> tuple[str, int | None]:
    if kept is None:
        return "", None
    try:
        value = _read(kept, text_of)
    except LookupError:
        return "a long value", kept.size
    return _kind(value), len(value) if isinstance(value, (list, dict, str)) else None


def _kind(value: JSON) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case _:
            return "a list" if isinstance(value, list) else "an object"
