"""Two runs side by side: what each planned, what came of it, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import zip_longest

from agentnb.displayed import Displayed
from agentnb.events import Kept, Record
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.notes import brief_args
from agentnb.plan import Step
from agentnb.preview import dump
from agentnb.render import card
from agentnb.state import Outcome, RunState
from agentnb.summary import Summary, Tally
from agentnb.wording import MARKS, STATES, count, dollars, number, priced, seconds, tokens

__all__ = ["Comparison", "Pair", "Side", "compare"]

_MOST = 300
"""Characters of one cell."""
_SAME = "the same"
_STYLE = (
    ".agentnb.agentnb .pairs{width:100%;table-layout:fixed}"
    ".agentnb .pairs th:first-child{width:8.5em;white-space:nowrap}"
    ".agentnb .pairs .ask{color:color-mix(in srgb,var(--hue) 70%,currentColor)}"
    ".agentnb .pairs tbody+tbody tr:first-child>*{padding-top:12px}"
)
"""What only this card has; the style sheet of all cards travels in every saved output."""


@dataclass(frozen=True, slots=True)
class Side:
    """One thing in one run; "" where it has none of it.

    Attributes:
        text: what there is to say: "completed", "✓", "1 481".
        call: of a step: its call.
        came: of a step: what came of it.
        exact: of a step: its arguments and its result as they are kept, where `call` and `came` show a part of them.
    """

    text: str
    call: str = ""
    came: str = ""
    exact: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.text, self.call, f"→ {self.came}" if self.came else "")))

    def as_html(self) -> str:
        """The same, escaped."""
        text, call, came = map(escape, (self.text, self.call, self.came))
        parts = (text, f"<code>{call}</code>" if call else "", f"→ {came}" if came else "")
        return " ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing in both runs.

    Attributes:
        what: its name: a step's id, or "tokens".
        left: in the first run.
        right: in the other one.
    """

    what: str
    left: Side
    right: Side

    @property
    def same(self) -> bool:
        """True where both are alike."""
        return self.left == self.right


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Displayed):
    """Two runs side by side; a notebook shows it as tables.

    Attributes:
        names: of the two runs.
        shared: how many steps the one took over from the other, and did not carry out itself.
        steps: the call of each step, and what came of it.
        facts: status, cost and answer.
    """

    names: tuple[str, str]
    shared: int
    steps: tuple[Pair, ...]
    facts: tuple[Pair, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Ids of the steps that are not alike."""
        return tuple(pair.what for pair in self.steps if not pair.same)

    def as_text(self) -> str:
        """Two tables, one below the other."""
        said = f"Two runs side by side: {self._said()}"
        tables = (
            Listing(said, ("step", *self.names), [_row(pair) for pair in self.steps]),
            Listing("What came of it", ("", *self.names), [_row(pair) for pair in self.facts]),
        )
        return "\n\n".join(table.as_text() for table in tables)

    def as_html(self) -> str:
        """A card like a run's, what differs marked and what is alike dim; everything in it is escaped."""
        header = f"<header><b>Two runs side by side</b> <span>{escape(self._said())}</span></header>"
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *self.names))
        rows = [f"<tbody>{''.join(map(_tr, pairs))}</tbody>" for pairs in (self.steps, self.facts)]
        table = f'<div><table class="pairs"><thead><tr>{heads}</tr></thead>{"".join(rows)}</table></div>'
        return card(f"{header}{table}", style=_STYLE)

    def _said(self) -> str:
        """How many steps differ, and how many are shared."""
        many = len(self.changed)
        differ = f"{many} of {count(len(self.steps), 'step')} {'differs' if many == 1 else 'differ'}"
        first = "the first was" if self.shared == 1 else f"the first {self.shared} were"
        return f"{differ}; {first} carried out once, for both" if self.shared else differ


def compare(left: Iterable[Record], right: Iterable[Record], *, bare: bool = False) -> Comparison:
    """The two runs side by side.

    Args:
        left: the records of the first.
        right: those of the other.
        bare: True leaves out what differs from one replay to the next: ids and times.
    """
    one, two = _told(left, bare=bare), _told(right, bare=bare)
    names = ("this run", "the other run") if bare else (one.state.head.run, two.state.head.run)
    sides = [_steps(tally) for tally in (one, two)]
    ids = sorted({*sides[0], *sides[1]}, key=lambda name: int(name[1:]))
    steps = tuple(Pair(name, *(side.get(name, Side("")) for side in sides)) for name in ids)
    rows = zip_longest(_facts(one.summary()), _facts(two.summary()))
    facts = tuple(Pair(a[0], Side(a[1]), Side(b[1])) for a, b in rows if a[1] or b[1])
    return Comparison(names, max(_shared(one.state, two.state), _shared(two.state, one.state)), steps, facts)


def _told(records: Iterable[Record], *, bare: bool) -> Tally:
    tally = Tally(bare=bare)
    for record in records:
        tally.add(record)
    return tally


def _shared(origin: RunState, fork: RunState) -> int:
    """How many steps a fork has taken over."""
    return fork.fork.kept if fork.fork and fork.fork.origin == origin.head.run else 0


def _steps(tally: Tally) -> dict[str, Side]:
    plan, state = tally.summary().steps, tally.state
    calls = state.plan.steps if state.plan else ()
    ends = [*state.outcomes, *[None] * len(calls)]
    found = {}
    for step, shown, end in zip(calls, plan, ends, strict=False):
        args = tally.sent.get(step.id) or _planned(step)
        result = end.result if end else None
        exact = " ".join(kept.blob or kept.text or "" for kept in (args, result) if kept)
        call = f"{step.tool}({brief_args(args)})"
        found[step.id] = Side(MARKS[shown.mark][0], line(call, _MOST), line(_came(end), _MOST), exact)
    return found


def _planned(step: Step) -> Kept:
    """The arguments of a call that was not made."""
    text = dump(dict(step.args))
    return Kept(len(text), text=text)


def _came(end: Outcome | None) -> str:
    if end is None:
        return ""
    result = "" if end.result is None else end.result.text or f"{end.result.size:,} characters".replace(",", " ")
    return end.finding or end.message or result or end.status


def _facts(s: Summary) -> Iterator[tuple[str, str]]:
    yield "status", f"{STATES[s.status][0]} {s.status}{f': {s.reason}' if s.reason else ''}"
    yield "models", ", ".join(s.models)
    yield "model calls", number(s.spent.model_calls)
    yield "tool calls", number(s.spent.tool_calls)
    yield "tokens", tokens(s) if s.spent.uncounted_tokens else number(s.spent.tokens)
    yield "dollars", dollars(s) if priced(s) else ""
    yield "working time", "" if s.bare else seconds(s.spent.working_seconds)
    yield "confidence", s.confidence
    yield "answer", line(s.output, _MOST)


def _row(pair: Pair) -> tuple[str, str, str]:
    return pair.what, str(pair.left) or "–", _SAME if pair.same else str(pair.right) or "–"


def _tr(pair: Pair) -> str:
    mark = "" if pair.same else ' <b class="ask">≠</b>'
    head = f'<th scope="row">{escape(pair.what)}{mark}</th>'
    right = _SAME if pair.same else pair.right.as_html() or "–"
    dim = ' class="todo"' if pair.same else ""
    return f"<tr{dim}>{head}<td>{pair.left.as_html() or '–'}</td><td>{right}</td></tr>"
