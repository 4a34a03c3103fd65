"""The audit log of a run: each call in a technical view, raw, and in one for compliance that holds no raw data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from agentnb.account import deeds
from agentnb.anchors import head_of_run
from agentnb.approval import who
from agentnb.audit_card import SHOWN, AuditRow, AuditTable, compliance_row, technical_row
from agentnb.audit_file import write_entries
from agentnb.checkpoint import load
from agentnb.codec import head_of
from agentnb.compliance import compliance
from agentnb.deeds import Deed
from agentnb.displayed import Displayed
from agentnb.errors import ConfigError, DamagedRecord
from agentnb.events import Kept, RunImported
from agentnb.plain import plain
from agentnb.plan import JSON
from agentnb.store.base import Store
from agentnb.technical import technical
from agentnb.verified import Verified, verify_run

__all__ = ["Audit", "View", "view_named"]

View = Literal["technical", "compliance"]


def view_named(name: str) -> View:
    """The view of that name.

    Raises:
        ConfigError: there is none.
    """
    views: tuple[View, ...] = ("technical", "compliance")
    for view in views:
        if name == view:
            return view
    raise ConfigError(f"there is no view {name!r} of an audit log: there are technical and compliance")


@dataclass(frozen=True, repr=False)
class Audit(Displayed):
    """What a run did, and what it was kept from doing: an entry for each call, those of runs inside it included.

    Iterate it for the entries of the compliance view; a notebook shows that one.

    Attributes:
        store: where the run is kept.
        run: its id.
        bare: True leaves out of what is shown what differs from one replay to the next: ids, names and times.
    """

    store: Store
    run: str
    bare: bool = False

    @cached_property
    def deeds(self) -> tuple[Deed, ...]:
        """What was done, in the order in which it ended; what has not ended at last.

        Raises:
            DamagedRecord: a record is not what was written: `verify` says which.
        """
        return tuple(self._deeds())

    @property
    def technical(self) -> list[dict[str, JSON]]:
        """Each entry raw: arguments, result or its size and hash, key, tries, failures, leave, times, records."""
        return list(self.entries("technical"))

    @property
    def compliance(self) -> list[dict[str, JSON]]:
        """Each entry in sentences without raw data: what, why, what was read, what changed, who let it, the outcome."""
        return list(self.entries("compliance"))

    def entries(self, view: View) -> Iterator[dict[str, JSON]]:
        """The entries of a view, one at a time; its columns are `audit_file.COLUMNS`."""
        tell = self._technical if view_named(view) == "technical" else self._compliance
        return map(tell, self._deeds())

    def __iter__(self) -> Iterator[dict[str, JSON]]:
        return self.entries("compliance")

    def __len__(self) -> int:
        return len(self.deeds)

    @property
    def head(self) -> str:
        """The hash that stands for all records of the run up to where it rested last; "" where it never did.

        Whoever can write to the store can write it anew, with another head. So keep a copy elsewhere, and give it to
        `verify`.
        """
        return head_of_run(self.store, self.run)

    def verify(self, *, head: str = "") -> Verified:
        """Whether the records of the run are those that were written, and if not, which are not; see `verify_run`."""
        return verify_run(self.store, self.run, head=head, bare=self.bare)

    def export(self, file: Path | str, view: View = "technical") -> str:
        """Write a view to `file`, chained by hashes; returns the chain's head, for `agentnb.verify_audit`.

        The same records give the same file. A run that is under way has entries that change yet.

        Args:
            file: is replaced once all is written; CSV where its name ends so, else JSON Lines.
            view: "technical" or "compliance"; the latter holds no raw data, but for what a tool's `describe` says.

        Raises:
            ConfigError: it cannot be written, or there is no such view.
            DamagedRecord: a record is not what was written: `verify` says which.
        """
        last = self.store.last(self.run)
        about: Mapping[str, JSON] = {"run": self.run, "records": last.seq + 1, "anchor": self.head}
        return write_entries(Path(file).expanduser(), view, about, self.entries(view))

    def table(self, view: View = "compliance") -> AuditTable:
        """A view as a table: the first entries of it, as a notebook shows them."""
        technical = view_named(view) == "technical"
        rows = [self._row(deed, technical=technical) for deed in self.deeds[:SHOWN]]
        counts = Counter(deed.status for deed in self.deeds)
        return AuditTable(view, rows, counts, "" if self.bare else self.run, "" if self.bare else self.head)

    def as_text(self) -> str:
        """The compliance view as text."""
        return self.table().as_text()

    def as_html(self) -> str:
        """The same as a card; everything in it is escaped."""
        return self.table().as_html()

    def _row(self, deed: Deed, *, technical: bool) -> AuditRow:
        if technical:
            row = technical_row(deed, bare=self.bare)
        else:
            row = compliance_row(plain(deed, self._text, who if self.bare else str))
        return row.in_replay() if self.bare else row

    def _technical(self, deed: Deed) -> dict[str, JSON]:
        return technical(deed, self._text)

    def _compliance(self, deed: Deed) -> dict[str, JSON]:
        return compliance(plain(deed, self._text))

    def _text(self, kept: Kept) -> str:
        """The JSON text of a value; "" of one that is not what was kept, which its hash says."""
        with suppress(DamagedRecord):
            return kept.text if kept.text is not None else self.store.blob(kept.blob or "")
        return ""

    def _deeds(self) -> Iterator[Deed]:
        yield from _deeds(self.store, self.run, frozenset(self.store.runs()))


def _deeds(store: Store, run: str, there: frozenset[str]) -> Iterator[Deed]:
    """The deeds of a run, each after those of the runs that it was or began."""
    told = {run}
    for deed in deeds(store.read(run), _origin(store, run)):
        for child in deed.children:
            if child in there - told and head_of(store.first(child)).parent == run:  # a fork's beginning has another's
                told.add(child)
                yield from _deeds(store, child, there)
        yield deed


def _origin(store: Store, run: str) -> tuple[str, int]:
    """Where the beginning of a run comes from: another run, or a file, up to which record."""
    state, _ = load(store, run)
    if state.fork is not None:
        return state.fork.origin, state.fork.seq
    if state.imported:
        return "file", next((r.seq for r in store.read(run) if isinstance(r.event, RunImported)), -1)
    return "", -1
