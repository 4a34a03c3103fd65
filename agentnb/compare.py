"""Two runs side by side: what each planned, what came of it, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from agentnb.events import Kept, Record
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.notes import brief_args
from agentnb.plan import Step
from agentnb.preview import dump
from agentnb.state import Outcome, RunState
from agentnb.summary import Summary, Tally
from agentnb.wording import MARKS, STATES, money, number, priced, seconds

__all__ = ["Comparison", "Pair", "compare"]

_MOST = 300
"""Characters of one cell."""
_SAME = "the same"


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing in both runs; "" where a run has none of it.

    Attributes:
        what: its name: a step's id, or "tokens".
        left: in the first run.
        right: in the other one.
    """

    what: str
    left: str
    right: str

    @property
    def same(self) -> bool:
        """True where both are alike."""
        return self.left == self.right


@dataclass(frozen=True, slots=True)
class Comparison:
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
        return "\n\n".join(table.as_text() for table in self._tables())

    def as_html(self) -> str:
        """The same in HTML; everything in it is escaped."""
        return "".join(table.as_html() for table in self._tables())

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()

    def _tables(self) -> Iterator[Listing]:
        first = "the first was" if self.shared == 1 else f"the first {self.shared} were"
        taken = f"; {first} carried out once, for both" if self.shared else ""
        yield Listing(f"Steps{taken}", ("step", *self.names), [_row(pair) for pair in self.steps])
        yield Listing("What came of it", ("", *self.names), [_row(pair) for pair in self.facts])


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
    steps = tuple(Pair(name, sides[0].get(name, ""), sides[1].get(name, "")) for name in ids)
    rows = zip_longest(_facts(one.summary()), _facts(two.summary()))
    facts = tuple(Pair(a[0], a[1], b[1]) for a, b in rows if a[1] or b[1])
    return Comparison(names, max(_shared(one.state, two.state), _shared(two.state, one.state)), steps, facts)


def _told(records: Iterable[Record], *, bare: bool) -> Tally:
    tally = Tally(bare=bare)
    for record in records:
        tally.add(record)
    return tally


def _shared(origin: RunState, fork: RunState) -> int:
    """How many steps a fork has taken over."""
    return fork.fork.kept if fork.fork and fork.fork.origin == origin.head.run else 0


def _steps(tally: Tally) -> dict[str, str]:
    plan, state = tally.summary().steps, tally.state
    calls = state.plan.steps if state.plan else ()
    ends = [*state.outcomes, *[None] * len(calls)]
    return {
        step.id: line(f"{MARKS[shown.mark][0]} {_call(step)}{_came(end)}", _MOST)
        for step, shown, end in zip(calls, plan, ends, strict=False)
    }


def _call(step: Step) -> str:
    text = dump(dict(step.args))
    return f"{step.tool}({brief_args(Kept(len(text), text=text))})"


def _came(end: Outcome | None) -> str:
    if end is None:
        return ""
    result = "" if end.result is None else end.result.text or f"{end.result.size:,} characters".replace(",", " ")
    return f" → {end.finding or end.message or result or end.status}"


def _facts(s: Summary) -> Iterator[tuple[str, str]]:
    yield "status", f"{STATES[s.status][0]} {s.status}{f': {s.reason}' if s.reason else ''}"
    yield "models", ", ".join(s.models)
    yield "model calls", number(s.spent.model_calls)
    yield "tool calls", number(s.spent.tool_calls)
    yield "tokens", number(s.spent.tokens)
    yield "dollars", money(s.spent.usd) if priced(s) else ""
    yield "working time", "" if s.bare else seconds(s.spent.working_seconds)
    yield "confidence", s.confidence
    yield "answer", line(s.output, _MOST)


def _row(pair: Pair) -> tuple[str, str, str]:
    right = (_SAME if pair.left else "") if pair.same else pair.right or "–"
    return pair.what, pair.left or "–", right
