"""What shows that the records of one run are those that were written: seals, anchors and the note of its end.

Each commit is held against the seal that an anchor lists for it, so that the very one that was altered is named, though
somebody has sealed it anew. What came after the newest anchor, or was never anchored, has the chain of seals alone:
where that breaks, the commit that does not fit and the one before it are named together.

**What it cannot show.** Nothing here is keyed: whoever can rewrite the records of a run, its anchors and the note of
its end, all of them alike, leaves nothing to find. The head then is another one; so keep a copy of the head elsewhere.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from agentnb.anchors import LEAD, Anchor, read_anchor
from agentnb.codec import blobs_in, decode
from agentnb.errors import DamagedRecord
from agentnb.events import ChildStarted, Record
from agentnb.store.heads import Head, Heads
from agentnb.store.layout import read_only
from agentnb.store.seal import LENGTH, looks_sealed, opened, seal_of, seals
from agentnb.transitions import fold

__all__ = ["Evidence", "Flaw", "examine"]

What = Literal["changed", "removed", "inserted", "moved"]
_VALUE: Final = "SELECT value FROM Cache WHERE key = ?"
_RANGE: Final = "SELECT key, value FROM Cache WHERE key >= ? AND key < ? ORDER BY key"


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One thing that is not as it was written.

    Attributes:
        first: the record, -1 of what is none: an anchor, or the note of the end.
        last: the last one, where several were kept together.
        what: what became of it.
        said: how that shows, in a sentence.
    """

    first: int
    last: int
    what: What
    said: str

    @property
    def where(self) -> str:
        """The records in words."""
        if self.first < 0:
            return "anchors"
        return f"record {self.first}" if self.first == self.last else f"records {self.first}–{self.last}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found of one run.

    Attributes:
        run: its id.
        records: how many there are, as far as they can be read.
        anchored: the last record that an anchor covers, -1 where none does.
        noted: the last record that the note of the run's end knows, -1 where there is none.
        heads: of each anchor, oldest first.
        children: the runs that began inside it.
        flaws: what is not as it was written; () where all is.
    """

    run: str
    records: int
    anchored: int
    noted: int
    heads: tuple[str, ...]
    children: tuple[str, ...]
    flaws: tuple[Flaw, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """One commit as it is found.

    Attributes:
        text: what is kept, without its seal; "" where that is no text.
        seal: the one that it carries, believed as it is; "" in the first layout.
        records: what it holds, or None where that cannot be read.
    """

    text: str
    seal: str
    records: Sequence[Record] | None

    @classmethod
    def of(cls, kept: object) -> _Row:
        """A row as it is kept, whatever it is."""
        text = kept if isinstance(kept, str) else ""
        text, seal = (text[LENGTH + 1 :], seal_of(text)) if looks_sealed(text) else (text, "")
        try:
            return cls(text, seal, tuple(decode(text)) or None)
        except DamagedRecord:
            return cls(text, seal, None)

    def fits(self, key: str, before: str, seal: str) -> bool:
        """True where this text under `key`, after the commit with the seal `before`, has that seal."""
        return bool(seal) and seals(key, self.text, before) == seal


@dataclass
class _Anchored:
    """What anchors say of a run's commits.

    Attributes:
        seals: by the first record of each commit.
        texts: SHA-256 of the texts of those that an anchor was made in.
        upto: the last record that is covered.
        heads: of the anchors.
    """

    seals: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    upto: int = -1
    heads: list[str] = field(default_factory=list)

    def take(self, anchor: Anchor, *, believed: bool) -> None:
        """Add what one more says; only its head, where it is not to be believed."""
        self.heads.append(anchor.head)
        if believed:
            self.seals |= {seq: seal for seq, seal in anchor.commits.items() if seq not in self.seals}
            self.texts[anchor.last] = anchor.text
            self.upto = anchor.upto

    @property
    def starts(self) -> list[int]:
        """The first records of all commits."""
        return sorted({*self.seals, *self.texts})

    def spans(self) -> Mapping[int, int]:
        """The last record of each commit, by its first."""
        starts = self.starts
        if not starts:
            return {}
        return {seq: after - 1 for seq, after in zip(starts, [*starts[1:], self.upto + 1], strict=True)}


def examine(folder: Path, run: str) -> Evidence:
    """What shows that the records of `run` in the store in `folder` are those that were written; nothing is believed.

    Raises:
        FileNotFoundError: there is no store.
        sqlite3.Error: it cannot be read at all; `%agent doctor --store` says what of it can.
    """
    database = folder / "journal" / "cache.db"
    if not database.is_file():
        raise FileNotFoundError(database)
    note = Heads(folder / "heads").noted(run)  # before the rows: who drives it may commit between the two
    with closing(read_only(database)) as raw:
        raw.text_factory = lambda text: text.decode("utf-8", "replace")
        raw.execute("BEGIN")  # one moment for all that is read
        kept = raw.execute(_RANGE, (f"j/{run}/", f"j/{run}0")).fetchall()
        anchors = raw.execute(_RANGE, (f"x/{LEAD}{run}/", f"x/{LEAD}{run}0")).fetchall()
        rows = {key: _Row.of(value) for key, value in kept}
        flaws = [*_values(raw, rows)]
    anchored, wrong = _read_anchors(run, anchors)
    flaws += wrong
    places, odd = _placed(run, rows)
    flaws += odd
    flaws += _held_against(run, places, anchored)
    many, tail = _followed(run, places, anchored, note)
    flaws += tail or ([] if flaws else [*_follows(places, anchored)])
    events = [record.event for row in rows.values() for record in row.records or ()]
    children = tuple(event.child for event in events if isinstance(event, ChildStarted))
    noted = note.seq if note else -1
    return Evidence(run, many, anchored.upto, noted, tuple(anchored.heads), children, tuple(sorted(set(flaws))))


def _key(run: str, seq: int) -> str:
    return f"j/{run}/{seq:010d}"


def _read_anchors(run: str, rows: Iterable[tuple[str, object]]) -> tuple[_Anchored, list[Flaw]]:
    """What the anchors say, up to the first that is not what was written or does not follow the one before it."""
    found, flaws, before = _Anchored(), list[Flaw](), ""
    for key, kept in rows:
        anchor = _anchor(run, key, kept)
        if anchor is None:
            flaws.append(Flaw(-1, -1, "changed", f"the anchor at record {_number(key)} is not what was written"))
        elif anchor.before != before and not flaws:
            how: What = "changed" if before else "removed"
            said = f"the anchor at record {anchor.upto} does not follow the one before it: that was {how}"
            flaws.append(Flaw(-1, -1, how, said))
        if anchor is not None:
            found.take(anchor, believed=not flaws)
            before = anchor.head
    return found, flaws


def _anchor(run: str, key: str, kept: object) -> Anchor | None:
    """The anchor that is kept there, or None where it is not what was written."""
    try:
        anchor = read_anchor(opened(key, kept))
    except DamagedRecord:
        return None
    return anchor if (anchor.run, key) == (run, f"x/{LEAD}{run}/{anchor.upto:010d}") else None


def _number(key: str) -> str:
    return key.rpartition("/")[2].lstrip("0") or "0"


def _placed(run: str, rows: Mapping[str, _Row]) -> tuple[dict[int, _Row], list[Flaw]]:
    """The rows by the number in their key, and those that have none."""
    places, flaws = {}, []
    for key, row in rows.items():
        digits = key.removeprefix(f"j/{run}/")
        if digits.isascii() and digits.isdigit() and key == _key(run, int(digits)):
            places[int(digits)] = row
        else:
            flaws.append(Flaw(-1, -1, "inserted", f"a row {key[:80]!r} stands among the records, which no run writes"))
    return places, flaws


def _held_against(run: str, places: Mapping[int, _Row], anchored: _Anchored) -> Iterator[Flaw]:
    """The commits that anchors list, each held against what they say of it."""
    spans, before = anchored.spans(), dict(zip(anchored.starts[1:], anchored.starts, strict=False))

    def fits(row: _Row, seq: int) -> bool:
        """True where the row is the commit that began with record `seq`."""
        if seq in anchored.seals:
            return row.fits(_key(run, seq), anchored.seals.get(before.get(seq, -1), ""), anchored.seals[seq])
        return hashlib.sha256(row.text.encode()).hexdigest() == anchored.texts[seq]

    def sealed_so(row: _Row, seq: int) -> bool:
        """True where it carries the seal that it got."""
        earlier = anchored.seals.get(before.get(seq, -1), "")
        return row.seal == anchored.seals[seq] if seq in anchored.seals else row.fits(_key(run, seq), earlier, row.seal)

    there = {seq: places[seq] for seq in spans if seq in places}
    wrong = {seq: row for seq, row in there.items() if not (fits(row, seq) and sealed_so(row, seq))}
    extra = {seq: row for seq, row in places.items() if seq <= anchored.upto and seq not in spans}
    open_ = [seq for seq in spans if seq in wrong or seq not in places]
    moved = {at: seq for at, row in (wrong | extra).items() for seq in open_ if seq != at and fits(row, seq)}
    for at, seq in moved.items():
        yield Flaw(seq, spans[seq], "moved", f"found where record {at} belongs")
    for seq in open_:
        if (seq not in places or seq in moved) and seq not in moved.values():
            yield Flaw(seq, spans[seq], "removed", "listed by an anchor, and not there")
    for seq in wrong.keys() - moved.keys():
        yield from _altered(wrong[seq], seq, spans[seq])
    for seq, row in extra.items():
        if seq not in moved:
            yield Flaw(seq, seq + max(0, len(row.records or ()) - 1), "inserted", "no anchor lists it")


def _altered(row: _Row, first: int, last: int) -> Iterator[Flaw]:
    """What was done to a commit of these records that is not what it was."""
    records = row.records
    if records is None:
        yield Flaw(first, last, "changed", "it cannot be read")
        return
    there, expected = [record.seq for record in records], range(first, last + 1)
    if there == list(expected):
        kinds = ", ".join(record.event.kind for record in records)
        yield Flaw(first, last, "changed", f"not what was written ({kinds})")
        return
    for seq in sorted({*expected} - {*there}):
        yield Flaw(seq, seq, "removed", "taken out of the commit that it was in")
    for seq in sorted({s for s in there if s not in expected or there.count(s) > 1}):
        yield Flaw(seq, seq, "inserted", "put into a commit that it was not in")
    if sorted(there) == list(expected):
        yield Flaw(first, last, "moved", f"found in the order {', '.join(map(str, there))}")


def _followed(run: str, places: Mapping[int, _Row], anchored: _Anchored, note: Head | None) -> tuple[int, list[Flaw]]:
    """How many records there are, and what is wrong with those that no anchor covers: each follows the one before."""
    flaws: list[Flaw] = []
    covered = [seq for seq in anchored.starts if seq in places]
    many, last = anchored.upto + 1, (covered[-1] if covered else -1)
    for seq in sorted(place for place in places if place > anchored.upto):
        row, before = places[seq], places[last].seal if last >= 0 else ""
        end = seq + max(1, len(row.records or ())) - 1
        if seq > many:
            flaws.append(Flaw(many, seq - 1, "removed", "the records go on after it"))
        elif seq < many:
            flaws.append(Flaw(seq, end, "inserted", "a record with that number stands there already"))
        if [r.seq for r in row.records or ()] != list(range(seq, end + 1)):
            flaws.extend(_altered(row, seq, end))
        elif seq == many and row.seal and not row.fits(_key(run, seq), before, row.seal):
            first = last if last > anchored.upto else seq  # anchors speak for what they cover
            said = "it is not what was sealed there" if first == seq else "one of them was changed: they do not follow"
            flaws.append(Flaw(first, end, "changed", said))
        many, last = max(many, end + 1), seq
    flaws.extend(_ended(many, last, places.get(last), note))
    return many, flaws


def _ended(many: int, start: int, last: _Row | None, note: Head | None) -> Iterator[Flaw]:
    """What the note of the last commit says, which stands outside the database."""
    if note and note.seq >= many:
        yield Flaw(many, note.seq, "removed", "acknowledged, and the records end before")
    ends = bool(last and last.records and last.records[-1].seq == many - 1)
    if note and last and ends and note.seq == many - 1 and last.seal and last.seal != note.seal:
        yield Flaw(start, many - 1, "changed", "another than was acknowledged")


def _follows(places: Mapping[int, _Row], anchored: _Anchored) -> Iterator[Flaw]:
    """What of records that are sound one by one is none that a run writes: it does not follow, or has no anchor."""
    records = [record for seq in sorted(places) for record in places[seq].records or ()]
    try:
        state = fold(records)
    except DamagedRecord as error:
        yield Flaw(anchored.upto + 1, len(records) - 1, "inserted", f"no run goes on so: {error}")
        return
    rests = state.suspended is not None or state.finished is not None
    if anchored.heads and rests and anchored.upto < state.seq:
        yield Flaw(-1, -1, "removed", f"the anchor at record {state.seq}, where the run rests, is not there")


def _values(raw: sqlite3.Connection, rows: Mapping[str, _Row]) -> Iterator[Flaw]:
    """The values kept aside that records refer to, each held against its hash."""
    for key, row in rows.items():
        seq = int(digits) if (digits := _number(key)).isdecimal() else -1
        for name in sorted(blobs_in(row.text)):
            found: Sequence[object] | None = raw.execute(_VALUE, (f"b/{name}",)).fetchone()
            text = found[0] if found and isinstance(found[0], str) else ""
            if hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() != name:
                how: What = "changed" if found else "removed"
                yield Flaw(
                    seq,
                    seq + max(1, len(row.records or ())) - 1,
                    how,
                    f"the value {name[:12]}… that it refers to was {how}",
                )
