"""What an edit changes in the arguments of a call: found, and told in HTML and in text.

Nothing that changes stays unseen: characters that are not drawn are told by their number, and what is left out of a
long text is what both have in common.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from typing import Final

from agentnb.markdown import line
from agentnb.plan import JSON
from agentnb.wording import count

__all__ = ["Change", "Hunk", "changed", "changes_html", "changes_text", "in_sight", "pretty", "same"]

_LINE: Final = 80
"""Characters of JSON, or of a text, that stay on one line."""
_AROUND: Final = 6
"""Words and spaces shown on either side of what changes in a long text."""
_MOST: Final = 1500
"""Characters of one change: what is longer is told by its length."""
_COMPARED: Final = 1_000_000
"""Words before times words after, up to which they are compared one by one."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that are not drawn."""
_JOINED: Final = re.compile(r"(?<=[^\x00-\x7f])[\u200c\u200d]")
"""Persian and emoji are written with these; after a Latin letter they only hide."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place that changes: what stands before it, what goes, what comes, what stands after it."""

    lead: str
    before: str
    after: str
    tail: str


@dataclass(frozen=True, slots=True)
class Change:
    """One argument that changes, place by place."""

    name: str
    hunks: tuple[Hunk, ...]


def same(one: JSON, other: JSON) -> bool:
    """True where both are the same JSON value; 1, 1.0, true and "1" are four values."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def in_sight(text: str) -> str:
    r"""`text` with what cannot be seen in it as JSON writes it.

    >>> in_sight("pay\u202e100")
    'pay\\u202e100'
    """
    if text.isascii() and text.isprintable():
        return text
    joined = {found.start() for found in _JOINED.finditer(text)}
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in _UNSEEN or place in joined else json.dumps(c)[1:-1]
        for place, c in enumerate(text)
    )


def pretty(value: JSON) -> str:
    """JSON as people read it: on one line where it is short, and with nothing in it that cannot be seen."""
    flat = json.dumps(value, ensure_ascii=False)
    return in_sight(flat if len(flat) <= _LINE else json.dumps(value, ensure_ascii=False, indent=2))


def changed(before: Mapping[str, JSON], after: Mapping[str, JSON]) -> tuple[Change, ...]:
    """What is different in `after`, in the order of the arguments."""
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        Change(name, tuple(_hunks(name, before, after)))
        for name in names
        if not (name in before and name in after and same(before[name], after[name]))
    )


def _hunks(name: str, before: Mapping[str, JSON], after: Mapping[str, JSON]) -> Iterator[Hunk]:
    old, new = before.get(name), after.get(name)
    places: list[Hunk] = []
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > _LINE:
        places = list(_places(in_sight(old), in_sight(new)))
    # There are none where one text has a character that is not drawn and the other its number. In JSON they differ.
    yield from places or [Hunk("", pretty(old) if name in before else "", pretty(new) if name in after else "", "")]


def _places(old: str, new: str) -> Iterator[Hunk]:
    """Each place in a long text, in whole words."""
    a, b = ([word for word in re.split(r"(\s)", text) if word] for text in (old, new))
    found: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(a), 0, len(b))]
    if len(a) * len(b) <= _COMPARED:
        found = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for kind, a1, a2, b1, b2 in found:
        if kind != "equal":
            lead = "…" * (a1 > _AROUND) + "".join(a[max(0, a1 - _AROUND) : a1])
            tail = "".join(a[a2 : a2 + _AROUND]) + "…" * (a2 + _AROUND < len(a))
            yield Hunk(lead, "".join(a[a1:a2]), "".join(b[b1:b2]), tail)


def changes_html(changes: tuple[Change, ...]) -> str:
    """A list of what goes and what comes, in words and in the marks of an edited text; "" where nothing changes."""
    items = "".join(
        f"<li><code>{escape(line(c.name, 60))}</code> {'; '.join(map(_hunk, c.hunks))}</li>" for c in changes
    )
    return f'<ul class="changes" aria-label="What is changed">{items}</ul>' if items else ""


def _hunk(hunk: Hunk) -> str:
    goes = f"<small>before</small> <del>{escape(_cut(hunk.before))}</del>" if hunk.before else ""
    comes = f"<small>after</small> <ins>{escape(_cut(hunk.after))}</ins>" if hunk.after else ""
    said = " ".join(filter(None, (goes, comes))) if goes and comes else _one(goes, comes)
    return f"{escape(line(hunk.lead))} {said} {escape(line(hunk.tail))}".strip()


def _one(goes: str, comes: str) -> str:
    return goes.replace("<small>before", "<small>taken out", 1) + comes.replace("<small>after", "<small>added", 1)


def changes_text(changes: tuple[Change, ...]) -> str:
    """The same as lines: "carrier: before "UA", after "DL""."""
    return "\n".join(f"{line(c.name, 60)}: {'; '.join(map(_said, c.hunks))}" for c in changes)


def _said(hunk: Hunk) -> str:
    if hunk.before and hunk.after:
        said = f"before {_cut(hunk.before)}, after {_cut(hunk.after)}"
    else:
        said = f"taken out {_cut(hunk.before)}" if hunk.before else f"added {_cut(hunk.after)}"
    return f"{line(hunk.lead)} [{said}] {line(hunk.tail)}".strip() if hunk.lead or hunk.tail else said


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}… {count(len(text) - _MOST, 'more character')}"
