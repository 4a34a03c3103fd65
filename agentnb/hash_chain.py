"""A chain of hashes over entries, so that one that is changed, removed, inserted or moved is noticed and named.

Each entry is a JSON object with its number, the hash of the entry before it, and its own hash, which covers both:
SHA-256 over the canonical JSON (RFC 8785) of all but itself. The first entry says what it is a chain of, the last one
that it ends; the hash of the last one is the *head* of the chain, and stands for all of it.

**What an unkeyed chain can show, and what not.** Whoever changes an entry and nothing else, or gives it a fitting hash,
or a few of those after it, is found, and the entry is named. Whoever writes all entries after it anew, up to the end,
leaves a chain that is whole: only its head is another one. So the head has to be kept where they cannot write, and
`judged` compares with it; then it is certain that something was changed, and not always which entry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agentnb.plan import JSON
from agentnb.values import canonical, digest

__all__ = ["Broken", "Entry", "chained", "entry_of", "judged"]


def chained(bodies: Iterable[Mapping[str, JSON]]) -> Iterator[dict[str, JSON]]:
    """Each of `bodies` as an entry: with "n", "before" and "hash"."""
    before = ""
    for n, body in enumerate(bodies):
        entry = {**body, "n": n, "before": before}
        before = digest(canonical(entry))
        yield {**entry, "hash": before}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is found.

    Attributes:
        place: where: 1, 2, 3, … in the order in which they are found.
        n: the number that it says, -1 where it says none.
        before: the hash that it says the one before it has.
        hash: of it, as it says.
        sound: its hash is that of what it holds.
        end: it says that the chain ends.
    """

    place: int
    n: int = -1
    before: str = ""
    hash: str = ""
    sound: bool = False
    end: bool = False


def entry_of(place: int, found: object, *, exact: bool = True) -> Entry:
    """What was found there, a JSON value, as an entry; `exact` is False where it is not written as it would be."""
    if not isinstance(found, dict):
        return Entry(place)
    n, before, said = found.get("n"), found.get("before"), found.get("hash")
    if not isinstance(n, int) or isinstance(n, bool) or not isinstance(before, str) or not isinstance(said, str):
        return Entry(place)
    try:
        sound = exact and said == digest(canonical({name: value for name, value in found.items() if name != "hash"}))
    except (ValueError, RecursionError):
        sound = False
    about = found.get("audit")
    return Entry(place, n, before, said, sound, end=isinstance(about, dict) and about.get("end") == n)


@dataclass(frozen=True, slots=True, order=True)
class Broken:
    """One thing that is wrong with a chain.

    Attributes:
        place: where it is found; of an entry that is not there, the place that it would have.
        n: its number, -1 where that is not known.
        last: the last one, where several that follow each other are not there.
        what: what became of it.
    """

    place: int
    n: int
    last: int
    what: Literal["changed", "removed", "inserted", "moved"]


def judged(found: Sequence[Entry], head: str = "") -> tuple[list[Broken], bool]:
    """What is wrong with a chain, in the order of its places; and whether its head is `head`, where one is given."""
    by_hash = defaultdict[str, list[Entry]](list)
    for entry in found:
        if entry.sound:
            by_hash[entry.hash].append(entry)
    ends = [entry for entry in found if entry.sound and entry.end]
    tips = by_hash.get(head) or ends or [e for e in _all(by_hash) if e.n == 0 or _before(e, by_hash)]
    start = max(tips, key=lambda entry: (entry.end, entry.n), default=None)
    same = not head or (start is not None and start.hash == head and start.end)
    genuine = _walked(start, by_hash) if start else {}
    copies = [entry for said in genuine.values() for entry in by_hash[said]]
    kept, moved, doubled = _in_order(copies)
    others = sorted(doubled + [e for e in found if not e.sound or genuine.get(e.n) != e.hash], key=lambda e: e.place)
    last = start.n if start else -1
    broken = [Broken(entry.place, entry.n, entry.n, "moved") for entry in moved]
    broken += _missing(genuine, last, others, kept)
    if start is None or not start.end:
        broken += _unended(last + 1, others, kept, len(found))
    broken += [Broken(entry.place, entry.n, entry.n, "inserted") for entry in others]
    return sorted(broken), same


def _all(by_hash: Mapping[str, list[Entry]]) -> list[Entry]:
    """All of them."""
    return [entry for entries in by_hash.values() for entry in entries]


def _before(entry: Entry, by_hash: Mapping[str, list[Entry]]) -> Entry | None:
    """The entry that it says is before it."""
    return next((one for one in by_hash.get(entry.before, ()) if one.n == entry.n - 1), None)


def _walked(start: Entry, by_hash: Mapping[str, list[Entry]]) -> dict[int, str]:
    """The hashes of the entries that belong to the chain that ends with `start`, by their numbers.

    Each says which one is before it. Where that is not to be found it was changed or removed, and the chain is taken up
    again with the last one before it that fits its own hash.
    """
    sound = sorted(_all(by_hash), key=lambda entry: entry.n)
    numbers = [entry.n for entry in sound]
    genuine, at = {start.n: start.hash}, start
    while at.n > 0:
        before = _before(at, by_hash)
        if before is None:
            forged = [entry.before for entry in sound[bisect_left(numbers, at.n - 1) : bisect_left(numbers, at.n)]]
            known = [entry for said in forged for entry in by_hash.get(said, ()) if entry.n == at.n - 2]
            place = bisect_left(numbers, at.n - 1)
            before = known[0] if known else sound[place - 1] if place and sound[place - 1].n >= 0 else None
        if before is None:
            break
        genuine[before.n] = before.hash
        at = before
    return genuine


def _in_order(copies: Iterable[Entry]) -> tuple[dict[int, Entry], list[Entry], list[Entry]]:
    """Of the entries of a chain: those in their place by number, those out of it, and second copies."""
    by_place = sorted(copies, key=lambda entry: entry.place)
    rising, still = _longest_rising(by_place), [entry for entry in by_place if entry.place == entry.n + 1]
    kept = {entry.n: entry for entry in (still if len(still) == len(rising) else rising)}
    rest = [entry for entry in by_place if kept.get(entry.n) is not entry]
    moved: dict[int, Entry] = {}
    doubled = []
    for entry in rest:
        if entry.n in kept or entry.n in moved:
            doubled.append(entry)
        else:
            moved[entry.n] = entry
    return kept, list(moved.values()), doubled


def _longest_rising(entries: Sequence[Entry]) -> list[Entry]:
    """A longest part of them whose numbers rise: what has to be moved to put them in order is the rest."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for place, entry in enumerate(entries):
        at = bisect_left(ends, entry.n)
        ends[at : at + 1] = [entry.n]
        last[at : at + 1] = [place]
        before.append(last[at - 1] if at else -1)
    found, place = [], last[-1] if last else -1
    while place >= 0:
        found.append(entries[place])
        place = before[place]
    return found[::-1]


def _missing(genuine: Iterable[int], last: int, others: list[Entry], kept: Mapping[int, Entry]) -> Iterator[Broken]:
    """What became of the entries that are not there; those of `others` that stand for one are taken out."""
    known, placed = sorted({*genuine, -1, last + 1}), sorted(kept)
    for low, high in pairwise(known):
        if high - low < 2:  # noqa: PLR2004 - they follow each other
            continue
        at = bisect_left(placed, high)
        first = kept[placed[at - 1]].place if at else 0
        then = kept[placed[at]].place if at < len(placed) else max((e.place for e in others), default=0) + 1
        near = [entry for entry in others if first < entry.place < then]
        stands = {entry.n: entry for entry in reversed([*near, *others]) if low < entry.n < high}
        for entry in near:  # one that does not even say which it is
            free = next((n for n in range(low + 1, high) if n not in stands), None)
            if entry not in stands.values() and free is not None:
                stands[free] = entry
        for n, entry in stands.items():
            others.remove(entry)
            yield Broken(entry.place, n, n, "changed")
        edges = [low, *sorted(stands), high]
        for one, other in pairwise(edges):
            if other - one > 1:
                yield Broken(first + 1, one + 1, other - 1, "removed")


def _unended(n: int, others: list[Entry], kept: Mapping[int, Entry], many: int) -> Iterator[Broken]:
    """What became of the end, and of what stands where it was."""
    last = max((entry.place for entry in kept.values()), default=0)
    after = [entry for entry in others if entry.place > last]
    for entry in after:
        others.remove(entry)
        yield Broken(entry.place, n, n, "changed")
    if not after:
        yield Broken(many + 1, n, n, "removed")
