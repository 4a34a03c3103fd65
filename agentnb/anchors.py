"""Anchors: what a run's records hash to, kept in one row wherever it comes to rest.

Seals chain the commits of a run, and show that one of them is not what it was. They do not show which, where somebody
has changed a row and sealed it anew: the next one is then the first that does not fit. An anchor lists the seals, so
that each commit is judged by itself, and covers the anchor before it: so the newest one stands for all of the run, and
its hash, the run's *head*, is what a person can keep elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from agentnb.codec import encode
from agentnb.errors import DamagedRecord
from agentnb.events import Record
from agentnb.state import RunState
from agentnb.store.base import Store
from agentnb.values import canonical, digest

__all__ = ["LEAD", "Anchor", "anchor_row", "head_of_run", "read_anchor"]

LEAD: Final = "h/"
"""What the keys of anchors begin with."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a run's records were when it came to rest.

    Attributes:
        run: its id.
        upto: the last record that it covers.
        last: the first record of the commit that it was made in.
        text: SHA-256 of that commit's text.
        seals: those of the commits before it, since the one that the last anchor was made in: "0:9f2c… 3:77aa…".
        before: the head of that anchor, "" of the first.
    """

    run: str
    upto: int
    last: int
    text: str
    seals: str
    before: str = ""

    @property
    def head(self) -> str:
        """SHA-256 of it as canonical JSON (RFC 8785)."""
        return digest(canonical(asdict(self)))

    @property
    def commits(self) -> Mapping[int, str]:
        """The seals, each by the first record of its commit."""
        return {int(seq): seal for seq, _, seal in (item.partition(":") for item in self.seals.split())}


def anchor_row(store: Store, run: str, state: RunState, fresh: Sequence[Record]) -> dict[str, str]:
    """The row that goes with the commit of `fresh`, after which `run` is in `state`; {} where it does not rest.

    It costs two queries and some microseconds a commit, once for each time that the run comes to rest.
    """
    if state.suspended is None and state.finished is None:
        return {}
    before = _newest(store, run)
    seals = store.seals(run, before.last if before else 0)
    listed = " ".join(f"{seq}:{seal}" for seq, seal in seals)
    head = before.head if before else ""
    anchor = Anchor(run, state.seq, fresh[0].seq, digest(encode(fresh)), listed, head)
    return {f"{LEAD}{run}/{state.seq:010d}": json.dumps(asdict(anchor))}


def head_of_run(store: Store, run: str) -> str:
    """The hash that stands for all records of a run, up to where it rested last; "" where it never did."""
    newest = _newest(store, run)
    return newest.head if newest else ""


def _newest(store: Store, run: str) -> Anchor | None:
    try:
        found = store.last_row(f"{LEAD}{run}/")
        return read_anchor(found[1]) if found else None
    except DamagedRecord:  # an audit names it; the next one begins anew, with all commits
        return None


def read_anchor(text: str) -> Anchor:
    """The anchor that a row holds.

    Raises:
        DamagedRecord: it is none.
    """
    try:
        anchor = Anchor(**json.loads(text))
        canonical([anchor.head, *map(int, anchor.commits), anchor.upto + anchor.last])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedRecord(f"an anchor cannot be read: {error}") from error
    return anchor
