"""The trace of a run: all that it did, as a tree and as rows, with what went in and what came out.

Nothing in it is written for it: spans are a fold of the records, values are those that the records refer to, and
prompts are made again from the same functions that made them, and shown where they are the same to the byte.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, get_args, overload

from agentnb.displayed import Displayed
from agentnb.errors import AgentError, ConfigError
from agentnb.events import Kept
from agentnb.plan import JSON
from agentnb.preview import dump
from agentnb.span import WRONG, Span
from agentnb.trace_lines import HTML_LINES, TEXT_LINES, Line, kept, tree_html, tree_text
from agentnb.wording import count, without_runs

__all__ = ["Backend", "Source", "Trace", "joined"]

Backend = Literal["pandas", "polars", "pyarrow"]
"""Kinds of data frames."""


class Source(Protocol):
    """Where a trace has its texts from."""

    def value(self, run: str, kept: Kept) -> JSON:
        """The value that a record refers to; DamagedRecord where it cannot be read."""

    def prompt(self, run: str, seq: int) -> str | None:
        """What a model was asked in that record, exactly; None where that cannot be made again here."""


@dataclass(frozen=True, repr=False)
class Trace(Sequence[Span], Displayed):
    """All that a run did, a parent before its parts; index and iterate it.

    Attributes:
        run: the run's id.
        spans: those of the run, and of the runs inside it at the place of the call that each of them was.
        source: where values and prompts come from.
        bare: True where no ids and times are shown, because a replay shows it.
    """

    run: str
    spans: tuple[Span, ...]
    source: Source = field(repr=False)
    bare: bool = False

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    @overload
    def __getitem__(self, which: int) -> Span: ...
    @overload
    def __getitem__(self, which: slice | str) -> Trace: ...
    def __getitem__(self, which: int | slice | str) -> Span | Trace:
        """A span by its place; the trace of one step by its id, `trace["s3"]`.

        Raises:
            KeyError: the run has done nothing for such a step.
        """
        if isinstance(which, int):
            return self.spans[which]
        if isinstance(which, slice):
            return replace(self, spans=self.spans[which])
        found = tuple(span for span in self.spans if span.step == which or self._inside(span, which))
        if not found:
            steps = ", ".join(dict.fromkeys(span.step for span in self.spans if span.step)) or "none"
            raise KeyError(f"{self.run} has done nothing for a step {which!r}: it has {steps}")
        return replace(self, spans=found)

    def _inside(self, span: Span, step: str) -> bool:
        """True of a part of a run that was called in `step`."""
        while (outer := self.parent(span)) is not None:
            if outer.run == self.run and outer.step == step:
                return True
            span = outer
        return False

    # --- the tree -----------------------------------------------------------------------------------------------------

    @cached_property
    def _places(self) -> Mapping[tuple[str, int], Span]:
        found = {(span.run, span.id): span for span in self.spans}
        return found | {(span.child, 0): span for span in self.spans if span.child}

    @cached_property
    def _parts(self) -> Mapping[tuple[str, int], list[Span]]:
        found: dict[tuple[str, int], list[Span]] = {}
        for span in self.spans:
            if (parent := self.parent(span)) is not None:
                found.setdefault((parent.run, parent.id), []).append(span)
        return found

    def parent(self, span: Span) -> Span | None:
        """What `span` is a part of; None of the run itself, and of what is not in this trace."""
        return None if span.parent is None else self._places.get((span.run, span.parent))

    def parts(self, span: Span) -> Sequence[Span]:
        """What `span` consists of, in order."""
        return self._parts.get((span.run, span.id), ())

    def depth(self, span: Span) -> int:
        """How many spans it is inside of."""
        depth = 0
        while (outer := self.parent(span)) is not None:
            depth, span = depth + 1, outer
        return depth

    @property
    def root(self) -> Span | None:
        """The run as a span; None in a part of a trace."""
        return next((span for span in self.spans if span.parent is None), None)

    # --- texts --------------------------------------------------------------------------------------------------------

    def input(self, span: Span) -> str | None:
        """What went in: a prompt as it was sent, a call's arguments as JSON; None where it cannot be had here."""
        if span.op == "chat":
            return self.source.prompt(span.run, span.seq)
        return self._text(span, span.args)

    def output(self, span: Span) -> str | None:
        """What came out: a reply, a call's result as JSON, what somebody said; None where there is nothing."""
        return self._text(span, span.result) if span.result is not None else span.text or None

    def _text(self, span: Span, kept: Kept | None) -> str | None:
        if kept is None:
            return None
        try:
            value = self.source.value(span.run, kept)
        except AgentError:
            return None
        return value if isinstance(value, str) and span.op == "chat" else dump(value)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """One dict a span, of plain values: what `to_frame` holds, by the same names."""
        return [self._row(span) for span in self.spans]

    def _row(self, span: Span) -> dict[str, Any]:
        parent = self.parent(span)
        seconds = None if span.open else span.seconds
        same = without_runs if self.bare else str
        return {
            "run": None if self.bare else span.run,
            "span": span.id,
            "parent": parent.id if parent else None,
            "record": span.seq,
            "op": span.op,
            "name": span.name,
            "step": span.step or None,
            "at": _moment(span.at),
            "start_s": span.start,
            "seconds": seconds,
            "status": span.status,
            "phase": span.phase or None,
            "attempt": span.attempt,
            "model": span.model or None,
            "tool": span.tool or None,
            "input_tokens": span.input_tokens,
            "output_tokens": span.output_tokens,
            "cached_tokens": span.cached_tokens,
            "usd": span.usd,
            "saved_usd": span.saved_usd,
            "from_cache": span.cached,
            "shared": span.shared,
            "failure": span.failure or None,
            "by": span.by or None,
            "key": None if self.bare and span.op != "chat" else span.key or None,  # a tool's holds the run's id
            "input": self.input(span),
            "output": self.output(span) if span.result is not None else same(span.text) or None,
            "text": same(span.text) or None,
        }

    def to_frame(self, backend: Backend = "pandas") -> Any:
        """The rows as a data frame.

        Args:
            backend: which kind; its package has to be installed.

        Returns:
            One row a span: `at` in UTC, `start_s` on the run's clock, `seconds` empty while a span goes on, money in US
            dollars, `input` and `output` as text. A run inside this one has a row with its tokens and dollars in all,
            and rows for its calls: add up those of `op == "chat"`.

        Raises:
            ConfigError: no such backend, or its package is not installed.
        """
        if backend not in get_args(Backend):
            raise ConfigError(f"no backend {backend!r}: there are {', '.join(get_args(Backend))}")
        import narwhals as nw

        rows = self.rows()
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        try:
            return nw.from_dict(columns, backend=backend).to_native()
        except ImportError as error:
            raise ConfigError(
                f"{backend} is not installed: `pip install {backend}`, or take another backend"
            ) from error

    # --- moments ------------------------------------------------------------------------------------------------------

    def between(self, start: float, end: float) -> Trace:
        """What went on then, with all that it is a part of.

        Args:
            start: seconds since 1970, UTC.
            end: the same; what begins then is not in it any more.

        Raises:
            ConfigError: a replay has no times.
        """
        self._need_clock()
        found = [span for span in self.spans if span.at < end and (span.open or span.at + span.seconds >= start)]
        return replace(self, spans=tuple(found))

    def on_clock(self, at: float) -> Trace:
        """What went on when the run's clock stood at so many seconds, with all that it is a part of.

        Raises:
            ConfigError: a replay has no times.
        """
        self._need_clock()
        found = [span for span in self.spans if span.start <= at and (span.end is None or span.end >= at)]
        return replace(self, spans=tuple(found))

    def _need_clock(self) -> None:
        if self.bare:
            raise ConfigError("what a replay shows has no clock: look at the run in the store in which it happened")

    # --- views --------------------------------------------------------------------------------------------------------

    def as_text(self) -> str:
        """The tree in lines; of a long one the beginning, the end and what went wrong."""
        return tree_text(self._title(), self._lines(TEXT_LINES), bare=self.bare)

    def as_html(self) -> str:
        """The same as a table, in which what went in and what came out can be unfolded; all of it escaped."""
        return tree_html(self._title(), self._lines(HTML_LINES), self._unfolded, bare=self.bare)

    def _title(self) -> str:
        of = "" if self.bare else f" of {self.run}"
        return f"Trace{of}: {count(len(self.spans), 'span')}"

    def _unfolded(self, span: Span) -> tuple[str, str]:
        return self.input(span) or "", self.output(span) or ""

    def _lines(self, most: int) -> list[Line | int]:
        """What is shown: a line, or how many are left out there."""
        depths = self._depths
        wrong = [span.status in WRONG for span in self.spans]
        found: list[Line | int] = []
        for place in kept(wrong, most):
            if place < 0:
                found.append(-place)
            else:
                span = self.spans[place]
                usd, tokens = self._totals[span.run, span.id]
                found.append(Line(depths[place], span, usd, tokens))
        return found

    @cached_property
    def _depths(self) -> list[int]:
        """Of each span; a parent stands before its parts."""
        found: dict[tuple[str, int], int] = {}
        for span in self.spans:
            outer = self.parent(span)
            found[span.run, span.id] = found[outer.run, outer.id] + 1 if outer else 0
        return list(found.values())

    @cached_property
    def _totals(self) -> Mapping[tuple[str, int], tuple[float, int]]:
        """Dollars and tokens of each span with all its parts, as the run was charged with them.

        A run inside another has its own sum already; what a fork shares, the run paid for that it was forked from.
        """
        found: dict[tuple[str, int], tuple[float, int]] = {}
        for span in reversed(self.spans):
            unpaid = span.cached or span.shared
            usd, tokens = span.usd, 0 if unpaid else span.input_tokens + span.output_tokens
            if not span.child:
                for part in self.parts(span):
                    more = found[part.run, part.id]
                    usd, tokens = usd + more[0], tokens + more[1]
            found[span.run, span.id] = usd, tokens
        return found


def _moment(at: float) -> dt.datetime | None:
    """Seconds since 1970 in UTC; None of none, and where no calendar has it: a run in a file may have any number."""
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC) if at else None
    except (ValueError, OverflowError, OSError):
        return None


def joined(spans: Sequence[Span], inside: Mapping[str, Sequence[Span]]) -> tuple[Span, ...]:
    """The spans of a run in the order of their tree, with those of the runs inside it at their calls.

    Args:
        spans: its own, in the order in which they began.
        inside: those of each run inside it, joined already, by its id; their clocks begin where the call did.
    """
    parts: dict[int | None, list[Span]] = {}
    for span in spans:
        parts.setdefault(span.parent, []).append(span)

    def walk(span: Span) -> Iterator[Span]:
        yield span
        for part in parts.get(span.id, ()):
            yield from walk(part)
        for part in inside.get(span.child, ()) if span.child else ():
            if part.parent is not None:  # its root is the call itself
                end = None if part.end is None else part.end + span.start
                moved = replace(part, start=part.start + span.start, end=end)
                yield replace(moved, shared=True, usd=0.0, saved_usd=0.0) if span.shared else moved

    return tuple(span for root in parts.get(None, ()) for span in walk(root))
