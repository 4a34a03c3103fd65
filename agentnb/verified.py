"""Whether an audit log, in the store or in a file, is what was written; and if not, what of it is not."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentnb.audit_file import COLUMNS, read_entries
from agentnb.displayed import Displayed
from agentnb.errors import ConfigError, RunNotFound
from agentnb.hash_chain import Broken, judged
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.store.base import Store
from agentnb.store.evidence import Evidence, examine
from agentnb.wording import count

__all__ = ["Verified", "head_given", "verify_audit", "verify_run"]

_SHOWN: Final = 100
_HEAD: Final = re.compile(r"[0-9a-f]{64}")
_WHAT: Final = {"changed": "changed", "removed": "removed", "inserted": "put there", "moved": "moved"}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is not as it was written.

    Attributes:
        where: "record 12", "line 5", "anchors", "head".
        what: "changed", "removed", "inserted" or "moved".
        said: how that shows.
    """

    where: str
    what: str
    said: str


@dataclass(frozen=True, slots=True, repr=False)
class Verified(Displayed):
    """What a check has found; a notebook shows it.

    Attributes:
        name: of what was checked.
        head: the hash that stands for all of it, "" where it has none. Keep it where nobody can change it.
        wrong: what is not as it was written; () where all is.
        notes: what was looked at, and how far the check goes.
        compared: True where it has the head that was given.
        bare: True leaves out of what is shown what differs from one replay to the next.
    """

    name: str
    head: str
    wrong: tuple[Wrong, ...]
    notes: tuple[str, ...] = ()
    compared: bool = False
    bare: bool = False

    @property
    def sound(self) -> bool:
        """True where nothing is wrong."""
        return not self.wrong

    def as_text(self) -> str:
        """A table of what is wrong, and the head."""
        return self._listing().as_text()

    def as_html(self) -> str:
        """The same as HTML; everything in it is escaped."""
        return self._listing().as_html()

    def _listing(self) -> Listing:
        head = f"Its head is {self.head}" if self.head else "It has no head yet"
        head = "It has the head that was given" if self.compared else "" if self.bare else head
        notes = ". ".join(filter(None, (*self.notes, head)))
        if self.sound:
            return Listing(f"✓ {self.name} is what was written", (), (), notes)
        rows = [(f"✗ {one.where}", _WHAT.get(one.what, one.what), one.said) for one in self.wrong[:_SHOWN]]
        more = len(self.wrong) - _SHOWN
        rows += [(f"and {more} more", "", "")] if more > 0 else []
        return Listing(f"✗ {self.name} is not what was written", ("where", "was", "how that shows"), rows, notes)


def head_given(text: str) -> str:
    """The head that somebody has typed, as a head is written.

    Raises:
        ConfigError: it is none, so that to compare with it would say nothing.
    """
    head = text.strip().lower()
    if not _HEAD.fullmatch(head):
        raise ConfigError(f"{line(text, 80)!r} is no head: give all 64 digits (0-9, a-f) that were shown with the log")
    return head


def verify_audit(file: Path | str, *, head: str = "") -> Verified:
    """Whether an exported audit log is what was written: which entries were changed, removed, inserted or moved.

    Whoever writes the whole file anew leaves one that is sound, and has another head: so give the one that was shown
    when it was exported. See `hash_chain.py` for what such a chain can show, and what not.

    Args:
        file: what `Run.audit.export` or `%agent audit RUN --export FILE` wrote.
        head: the head that it had; not compared if left out.

    Raises:
        ConfigError: the file cannot be read, or is no audit log; or `head` is none.
    """
    head = head and head_given(head)
    found = read_entries(Path(file).expanduser())
    broken, same = judged(found.entries, head)
    ends = [entry for entry in found.entries if entry.end and entry.sound]
    wrong = [] if same else [Wrong("head", "changed", "it is not the one that was given")]
    wrong += [] if found.headed else [Wrong("row 1", "changed", "it does not name the columns")]
    wrong += [_wrong(one, found.first) for one in broken]
    many = max(0, len(found.entries) - 2)  # without its beginning and its end
    view = str(found.about.get("view", ""))
    said = f"{many} {'entry' if many == 1 else 'entries'}{f', {view} view' if view in COLUMNS else ''}"
    compared = "" if head else "It was compared with no head: one who wrote all of it anew would not be found"
    notes = tuple(filter(None, (said, compared)))
    return Verified(Path(file).name, ends[-1].hash if ends else "", tuple(wrong), notes, compared=bool(head) and same)


def _wrong(one: Broken, first: int) -> Wrong:
    unit = "line" if first == 1 else "row"
    place = one.place + first - 1
    name = {0: "the beginning"}.get(one.n, f"entry {one.n}")
    if one.what == "removed":
        what = name if one.n == one.last else f"entries {one.n} to {one.last}"
        return Wrong(f"{unit} {place}", one.what, f"here was {what}")
    said = {
        "changed": f"{name} is not what was written",
        "inserted": "no entry of the chain follows it",
        "moved": f"{name} does not belong here",
    }[one.what]
    return Wrong(f"{unit} {place}", one.what, said)


def verify_run(store: Store, run: str, *, head: str = "", bare: bool = False) -> Verified:
    """Whether the records of a run, and of those inside it, are those that were written, see `evidence.py`.

    Args:
        store: where it is kept, on this machine's disk.
        run: its id.
        head: one that the run had at some time; not compared if left out.
        bare: see `Verified`.

    Raises:
        RunNotFound: no such run, and no trace of one.
        ConfigError: the store is none on disk, or cannot be read at all; or `head` is none.
    """
    head = head and head_given(head)
    if store.folder is None:
        raise ConfigError("only a store on this machine's disk can be verified: `run.audit.export` writes a chain")
    try:
        found = list(_examined(store.folder, run, {run}))
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{store.place} cannot be read: {error}. `%agent doctor --store` says what can") from error
    first = found[0]
    if not first.records and not first.heads and not first.flaws:
        raise RunNotFound(f"no run {run!r} in {store.place}: `%agent runs` lists them")
    same = not head or head in first.heads
    wrong = [] if same else [Wrong("head", "changed", "the run has never had the head that was given")]
    for one in found:
        inside = "" if one is first else "inside it: " if bare else f"{one.run} "
        wrong += [Wrong(f"{inside}{flaw.where}", flaw.what, flaw.said) for flaw in one.flaws]
    notes, now = tuple(_how_far(first, len(found) - 1)), first.heads[-1] if first.heads else ""
    name = "the run" if bare else run
    return Verified(name, now, tuple(wrong), notes, compared=bool(head) and same, bare=bare)


def _examined(folder: Path, run: str, seen: set[str]) -> Iterator[Evidence]:
    """What was found of a run, and of those inside it."""
    found = examine(folder, run)
    yield found
    for child in found.children:
        if child not in seen:
            seen.add(child)
            yield from (one for one in _examined(folder, child, seen) if one.records or one.heads)


def _how_far(found: Evidence, inside: int) -> Iterator[str]:
    yield count(found.records, "record") + (f", and {count(inside, 'run')} inside" if inside else "")
    if found.anchored < 0:
        yield "None is anchored: it has not come to rest since this release, and the chain of its seals is all there is"
    elif found.anchored < found.records - 1:
        yield f"Anchored up to record {found.anchored}; what follows has the chain of its seals alone"
    if -1 < found.noted < found.records - 1:
        yield f"The note of its end knows record {found.noted}: after a power cut that is so, else more was put there"
