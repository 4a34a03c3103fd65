"""Searching all runs: full text and filters, answered from the index.

A run is found where it has every term, wherever in it each stands; it is shown with the record that has most of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final, Literal, overload

from agentnb.chosen import Chosen
from agentnb.displayed import Displayed
from agentnb.entry import Part
from agentnb.errors import ConfigError
from agentnb.index import PIECES, Index
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.query import Query
from agentnb.store.base import Progress
from agentnb.wording import count, minute, money

__all__ = ["Found", "Hit", "search"]

_WIDE: Final = 160
"""Characters of a snippet."""
_BEFORE: Final = 50
"""Of those, in front of the first match."""
_ON, _OFF = "\ue001", "\ue002"
"""Around a match, until the table is written: letters that no text has."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A run that was found, and where in it.

    Attributes:
        run: its id.
        seq: the record, by its number in the run.
        step: the step that it belongs to, or "".
        what: what the record is: "task", "call", "result", "answer" and so on.
        at: when it was made, in seconds since 1970.
        text: the part of it that matches, on one line.
        marks: where in `text` the terms stand: begin and end of each.
        more: how many further records of the run have a term.
        status: of the run.
        usd: what the run cost, in US dollars.
        task: what it was asked.
    """

    run: str
    seq: int
    step: str
    what: str
    at: float
    text: str
    marks: tuple[tuple[int, int], ...]
    more: int
    status: str
    usd: float
    task: str


@dataclass(frozen=True, slots=True, repr=False)
class Found(Sequence[Hit], Displayed):
    """What a search has found; a notebook shows it as a table.

    Attributes:
        hits: one for each run.
        said: what was searched for, as it was understood.
        more: True where there are more runs than were asked for.
        bare: True shows no ids and no times.
        flag: the store as it is typed on a line, " --store DIR", or "".
    """

    hits: tuple[Hit, ...]
    said: str
    more: bool = False
    bare: bool = False
    flag: str = ""

    @overload
    def __getitem__(self, place: int) -> Hit: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Hit]: ...

    def __getitem__(self, place: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[place]

    def __len__(self) -> int:
        return len(self.hits)

    def as_text(self) -> str:
        """Aligned columns; what matches stands between « and »."""
        return self._table().as_text().replace(_ON, "«").replace(_OFF, "»")

    def as_html(self) -> str:
        """A table; what matches is marked, and everything else escaped."""
        return self._table().as_html().replace(_ON, "<mark>").replace(_OFF, "</mark>")

    def _table(self) -> Listing:
        if not self.hits:
            return Listing(f"Nothing found for {self.said}", (), ())
        heads = ("run", "when", "where", "found", "status", "cost")
        rows = [_cells(hit) for hit in self.hits]
        left_out = {*(("run", "when") if self.bare else ()), *(() if any(row[5] for row in rows) else ("cost",))}
        kept = [name not in left_out for name in heads]
        many = f"The newest {count(len(rows), 'run')}" if self.more else count(len(rows), "run")
        note = (
            "" if self.bare else f"%agent show RUN{self.flag} opens one, %agent trace RUN{self.flag} says what it did"
        )
        return Listing(f"{many} with {self.said}", [*compress(heads, kept)], [[*compress(r, kept)] for r in rows], note)


def search(
    index: Index,
    query: Query | None,
    which: Chosen,
    *,
    limit: int = 20,
    order: Literal["newest", "best"] = "newest",
    progress: Progress | None = None,
) -> Found:
    """The runs that `which` picks and that have all terms of `query`; what is new is taken into the index first.

    Args:
        index: of the store.
        query: what to search for; None for whatever they say.
        which: the runs.
        limit: at most so many.
        order: the newest first, or those in which rare terms are frequent.
        progress: told how far the index is, where it has to be made.

    Raises:
        ConfigError: neither terms nor conditions, no such order, or a limit below 1.
    """
    if query is None and which == Chosen():
        raise ConfigError("say what to search for: words, or conditions such as a tool or a status")
    if order not in ("newest", "best"):
        raise ConfigError(f"a search is not ordered by {order!r}: there are newest, best")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"limit={limit!r} is no number of runs: give 1 or more")
    index.catch_up(progress)
    rows = index.rows(*_statement(query, which, order, limit + 1))
    hits = tuple(_hit(index, row, query, which) for row in rows[:limit])
    return Found(hits, _said(query, which), more=len(rows) > limit)


def _statement(query: Query | None, which: Chosen, order: str, limit: int) -> tuple[str, list[Any]]:
    where, values = which.where()
    terms = [term.match for term in query.terms] if query else []
    where += f" AND id IN (SELECT rowid >> {PIECES} FROM words WHERE words MATCH ?)" * len(terms)
    by, scored = "started DESC, id DESC", ""
    before: list[Any] = []
    if terms and order == "best":
        scored = (
            f" JOIN (SELECT rowid >> {PIECES} AS of, sum(rank) AS score FROM words WHERE words MATCH ? GROUP BY 1)"
            " ON of = id"
        )
        before, by = [" OR ".join(terms)], f"score, {by}"
    query_text = f"SELECT id, run, status, usd, task FROM run{scored} WHERE {where} ORDER BY {by} LIMIT ?"
    return query_text, [*before, *values, *terms, limit]


def _hit(index: Index, row: tuple[Any, ...], query: Query | None, which: Chosen) -> Hit:
    of, run, status, usd, task = row
    parts = index.parts(of)
    best, more = _best(parts, query, which) if query else (_called(index, of, parts, which), 0)
    text, marks = _snippet(best.text, query)
    what = _KINDS.get(best.kind, best.kind.replace("_", " "))
    return Hit(run, best.seq, best.step, what, best.at, text, marks, more, status, usd, task)


_KINDS: Final = {
    "run_started": "task", "plan_made": "plan", "tool_claimed": "call", "tool_returned": "result",
    "step_judged": "judged", "run_finished": "answer", "approval_asked": "asked", "approval_answered": "answered",
}  # fmt: skip
"""Where it stands in a word, where that is plainer than the record's kind."""
_NOWHERE: Final = Part(0, 0.0, "", "unreadable", "")


def _best(parts: Sequence[Part], query: Query, which: Chosen) -> tuple[Part, int]:
    """The part with most of the terms, within the time that is looked at where there is one; and how many others."""
    scores = [(len({term for _, _, term in query.marks(part.text)}), part) for part in parts]
    some = [(score, part) for score, part in scores if score]
    best = max(some, key=lambda item: (_within(item[1], which), item[0], -item[1].seq), default=(0, _NOWHERE))
    return best[1], max(0, len(some) - 1)


def _within(part: Part, which: Chosen) -> bool:
    early = which.since is not None and part.at < which.since
    return not early and (which.until is None or part.at < which.until)


def _called(index: Index, of: int, parts: Sequence[Part], which: Chosen) -> Part:
    """What the conditions are about: a tool's call, what was done at that time, else the task."""
    place = 0
    if which.tool:
        query = "SELECT seq, status FROM call JOIN kind ON kind.id = kind WHERE of = ? AND tool = ? ORDER BY seq"
        rows = index.rows(query, (of, which.tool))
        so = [seq for seq, status in rows if status in which.status]
        place = min(so or [seq for seq, _ in rows], default=0)
    later = [part for part in parts if part.seq >= place]
    if which.tool and which.status and len(later) > 1 and later[1].step == later[0].step != "":
        return later[1]  # what came of the call says more than what was called
    if which.tool or (which.since is None and which.until is None):
        return next(iter(later), _NOWHERE)
    before = [part for part in parts if which.until is None or part.at < which.until]
    return next((part for part in before if _within(part, which)), next(reversed(before), _NOWHERE))


def _snippet(text: str, query: Query | None) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The part of `text` around its first match, on one line, and where the terms stand in it."""
    whole = " ".join(text.translate({ord(_ON): None, ord(_OFF): None}).split())
    marks = query.marks(whole) if query else []
    start = max(0, marks[0][0] - _BEFORE) if marks else 0
    end = start + _WIDE
    ahead, behind = "…" * (start > 0), "…" * (end < len(whole))
    shift, reach = len(ahead) - start, 0
    kept = []
    for begin, stop, _ in marks:
        if begin >= max(start, reach) and stop <= end:  # of two that overlap, the first
            kept.append((begin + shift, stop + shift))
            reach = stop
    return f"{ahead}{whole[start:end]}{behind}", tuple(kept)


def _cells(hit: Hit) -> list[str]:
    when = minute(hit.at) if hit.at else ""
    text, done = "", 0
    for begin, end in hit.marks:
        text += f"{hit.text[done:begin]}{_ON}{hit.text[begin:end]}{_OFF}"
        done = end
    more = f" (and {hit.more} more)" if hit.more else ""
    where = " ".join(filter(None, (hit.step, hit.what)))
    cost = money(hit.usd) if hit.usd else ""
    return [hit.run, when, where, f"{text}{hit.text[done:]}{more}", hit.status.replace("_", " "), cost]


def _said(query: Query | None, which: Chosen) -> str:
    """What was searched for, in words."""
    words = [f'"{" ".join(term.words)}{"*" * term.prefix}"' for term in query.terms] if query else []
    given = [
        *which.status,
        *filter(None, (which.tool and f"a call of {which.tool}", which.model and f"a call of {which.model}")),
        *([f"task_type {which.task_type or 'missing'}"] if which.task_type is not None else []),
        *(f"{key}={value}" for key, value in which.tags.items()),
        *(f"since {minute(at)}" for at in (which.since,) if at is not None),
        *(f"until {minute(at)}" for at in (which.until,) if at is not None),
        *(f"at least {money(usd)}" for usd in (which.min_usd,) if usd is not None),
        *(f"at most {money(usd)}" for usd in (which.max_usd,) if usd is not None),
    ]
    return line(", ".join([*words, *given]), 200)
