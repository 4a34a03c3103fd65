"""The spans of one run as OpenTelemetry's, begun and ended as its records become durable.

While somebody drives a run there is one `invoke_agent` span, which ends when the run rests or ends, and everything else
inside it. A resumed run goes on in the same trace, with a further `invoke_agent` below the first. Ids follow from the
run and its records, so that another process finds its way back; each span is exported once. What was open when a
process died is ended by the one that goes on, as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from agentnb.errors import AgentError
from agentnb.events import (
    ModelReplied,
    Record,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    RunSuspended,
)
from agentnb.ids import Ids
from agentnb.instruments import Instruments
from agentnb.semconv import (
    EVENTS,
    Attributes,
    began,
    ended,
    facts_of,
    failed,
    name_of,
    span_id,
    trace_id,
)
from agentnb.span import Span
from agentnb.spans import Spans
from agentnb.store.base import Store
from agentnb.texts import Texts, cut

__all__ = ["RunTrace", "Surroundings"]

_IN_PROCESS: Final = ("local", "scripted")
"""Providers that answer in this process."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the runs of one telemetry share, and where this one hangs.

    Attributes:
        tracer: begins spans.
        ids: says their ids; None where the tracer takes none.
        instruments: count.
        store: holds the run.
        texts: what was said, in full; None where it is not sent.
        parent: what the run hangs below: the call that it is, or what was going on where it began; None for nothing.
        began_in: what was going on where another run of the store began.
    """

    tracer: Tracer
    ids: Ids | None
    instruments: Instruments
    store: Store
    texts: Texts | None
    parent: SpanContext | None
    began_in: Callable[[str], SpanContext | None]


class _Event(NamedTuple):
    name: str
    facts: Attributes
    at: float


class RunTrace:
    """One run's spans.

    Args:
        head: its first record's event.
        around: what it shares with others.
    """

    def __init__(self, head: RunStarted, around: Surroundings) -> None:
        self._head = head
        self._around = around
        self._spans = Spans()
        self._live: dict[int, trace.Span] = {}
        self._top: trace.Span | None = None
        self._stint: int | None = None
        """The record with which whoever drives the run now has begun; None while it rests."""
        self._began = 0.0
        self._last: Record | None = None
        self._meanwhile: list[_Event] = []
        """What happened while it rested."""
        self._rest: int | None = None
        self._root = _root(head, around.parent, around.tracer)
        """The run's first `invoke_agent` span, whoever has told of it."""
        self._trace = self._root.trace_id

    @property
    def next(self) -> int:
        """The place of the record that it has not seen yet."""
        return self._last.seq + 1 if self._last else 0

    @property
    def at_rest(self) -> bool:
        """True where nothing goes on."""
        return self._stint is None and not self._live

    @property
    def calling(self) -> trace.Span | None:
        """The span of the tool that is being called, or else of whatever goes on."""
        tools = [span for place, span in self._live.items() if self._spans.all[place].op == "execute_tool"]
        return tools[-1] if tools else self._top

    def call_of(self, child: str) -> SpanContext:
        """The span of the call that `child`, a run inside this one, is."""
        calls = (self._live.get(span.parent or 0) for span in self._spans.all if span.child == child)
        call = next(filter(None, calls), self._top)
        return call.get_span_context() if call else self._root

    def take(self, record: Record, *, live: bool) -> None:
        """Take in the next record.

        Args:
            record: it.
            live: True where it has just been written; False of what another process, or this one before, has told of.
        """
        event = record.event
        if isinstance(event, RunResumed) and self._stint is not None and live:
            self._died()
        known = len(self._spans.all)
        self._spans.add(record)
        if live:
            self._told(record, known)
        else:
            self._caught_up(record, known)
        self._last = record

    def _caught_up(self, record: Record, known: int) -> None:
        """What of a record that was told of before has to be known to go on."""
        match record.event:
            case RunStarted() | RunResumed():
                self._stint, self._began = record.seq, record.at
                self._meanwhile, self._rest = [], None
            case RunSuspended():
                self._stint = None
                self._rest = next((place for place in range(known, len(self._spans.all))), None)
            case RunFinished():
                self._stint = None
            case _:
                self._note(record, known)

    def _told(self, record: Record, known: int) -> None:
        event = record.event
        match event:
            case RunStarted():
                self._begin_stint(record, 0)
            case RunForked():
                self._meanwhile, self._rest = [], None
                self._begin_stint(record, 0)
            case RunResumed():
                self._begin_stint(record, record.seq)
        for place in range(known, len(self._spans.all)):
            self._born(place, record)
        self._note(record, known)
        for place in [place for place in self._live if self._spans.all[place].end is not None]:
            self._end(place, record)
        if isinstance(event, RunSuspended | RunFinished):
            self._end_stint(record, event.status if isinstance(event, RunFinished) else "suspended")
            if isinstance(event, RunFinished):
                self._around.instruments.run_ended(event)

    # ----------------------------------------------------------------------------------------------------- stints

    def _begin_stint(self, record: Record, stint: int) -> None:
        """Somebody drives the run from here on."""
        self._stint, self._began = stint, record.at
        above = self._below_the_first() if stint and not self._head.parent else self._below(self._around.parent)
        self._top = self._started(0, record, above, links=self._links(record))
        self._end_rest(record)
        for name, facts, at in self._meanwhile:
            self._top.add_event(name, facts, _ns(at))
        self._meanwhile = []
        if stint:
            for place, span in enumerate(self._spans.all):
                if span.end is None and place and self._goes_on(span):
                    self._start(place, record)

    def _goes_on(self, span: Span) -> bool:
        """True of what a run goes on with when it is resumed; a call of a tool is made anew, if at all."""
        if span.op == "execute_tool":
            return any(inner.child and inner.parent == span.id and inner.open for inner in self._spans.all)
        return span.op not in ("chat", "rest", "invoke_agent")

    def _end_stint(self, record: Record, status: str) -> None:
        """Nobody drives it any more: whatever is open ends, the inmost first."""
        for place in sorted(self._live, reverse=True):
            self._end(place, record, status)
        if self._top is not None:
            whole = replace(self._spans.all[0], by="")
            said = ended(whole, record.event, status)
            if self._around.texts and isinstance(record.event, RunFinished):
                said |= self._around.texts.answer(record.event)
            self._close(self._top, whole, said, status, record.at)
        self._top = self._stint = None

    def _died(self) -> None:
        """Whoever drove it was gone without a word: what was open then has ended with the last record there is."""
        last, stint = self._last, self._stint
        if last is None or stint is None:
            return
        if self._top is None:
            self._top = self._started(0, last, self._below_the_first() if stint else self._below(self._around.parent))
            for place, span in enumerate(self._spans.all):
                if span.open and place and span.op not in ("rest", "invoke_agent"):
                    self._start(place, last)
        self._end_stint(last, "lost")

    def _end_rest(self, record: Record) -> None:
        """The time in which nobody drove it, with what happened in it."""
        if self._rest is None:
            return
        span = self._started(self._rest, record, self._below_the_first())
        for name, facts, at in self._meanwhile:
            span.add_event(name, facts, _ns(at))
        span.end(_ns(record.at))
        self._meanwhile, self._rest = [], None

    def _links(self, record: Record) -> list[Link]:
        """What it has to do with beside what it is a part of: what goes on here, and the run it was forked from."""
        links = []
        here = trace.get_current_span().get_span_context()
        if here.is_valid and here.trace_id != self._trace:
            links.append(Link(here))
        if isinstance(record.event, RunForked):
            with suppress(AgentError):
                origin = self._around.store.first(record.event.origin).event
                if isinstance(origin, RunStarted):
                    links.append(Link(_root(origin, self._around.began_in(origin.run))))
        return links

    # ------------------------------------------------------------------------------------------------------ spans

    def _born(self, place: int, record: Record) -> None:
        """A span that was not there before this record."""
        span = self._spans.all[place]
        if span.op == "rest":
            self._rest = place
        elif place and not (span.child or self._is_moment(span)):  # a run inside this one tells of itself
            self._start(place, record)

    def _start(self, place: int, record: Record) -> None:
        self._live[place] = self._started(place, record, self._context_of(place))

    def _started(self, place: int, record: Record, context: Context, links: list[Link] | None = None) -> trace.Span:
        span, around = self._spans.all[place], self._around
        if not place:  # the record with which whoever drives it has begun
            span = replace(span, seq=self._stint or 0)
        tool = self._tool(span)
        said = began(span, self._head, record.event, tool)
        if around.texts:
            said |= around.texts.began(span, self._head)
        inside = span.op != "chat" or span.cached or span.model.partition(":")[0] in _IN_PROCESS
        with self._said(place):
            return around.tracer.start_span(
                name_of(span, self._head, tool),
                context,
                SpanKind.INTERNAL if inside else SpanKind.CLIENT,
                said,
                links,
                _ns(span.at if span.op == "rest" else max(span.at, self._began)),
            )

    @contextmanager
    def _said(self, place: int) -> Iterator[None]:
        if self._around.ids is None:
            yield
            return
        with self._around.ids.said(self._trace, self._id(place)):
            yield

    def _id(self, place: int) -> int:
        """A span's id, which follows from records alone; what goes on in another stint is another span."""
        span = self._spans.all[place]
        return span_id(self._head, self._stint, span.seq, span.op)

    def _context_of(self, place: int) -> Context:
        """Below what a span is: its parent where that goes on, else whoever drives the run."""
        parent = self._live.get(self._spans.all[place].parent or 0, self._top)
        return trace.set_span_in_context(parent) if parent else self._below_the_first()

    def _below_the_first(self) -> Context:
        return self._below(self._root)

    @staticmethod
    def _below(parent: SpanContext | None) -> Context:
        return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context()) if parent else Context()

    def _end(self, place: int, record: Record, status: str = "") -> None:
        """A span ends: as its record says, or with whoever drives the run."""
        span, live = self._spans.all[place], self._live.pop(place)
        status = status if span.open else span.status
        at = record.at if span.open else max(span.at, self._began) + _seconds(span, self._began)
        said = ended(span, record.event, status)
        if self._around.texts:
            said |= self._around.texts.ended(span)
        self._close(live, span, said, status, at)
        if span.op == "chat" and not span.cached:
            reply = record.event if isinstance(record.event, ModelReplied) else None
            self._around.instruments.model_called(span, status, reply)

    def _close(self, live: trace.Span, span: Span, said: Attributes, status: str, at: float) -> None:
        live.set_attributes(said)
        if failed(status):
            why = span.text if self._around.texts and span.op in ("chat", "execute_tool") else ""
            live.set_status(Status(StatusCode.ERROR, cut(why) or None))
        live.end(_ns(at))

    def _tool(self, span: Span) -> str:
        """The tool of a call; of an action that was carried out by hand, that of its proposal."""
        if span.tool or span.op != "execute_tool":
            return span.tool
        return next((s.tool for s in self._spans.all if s.step == span.step and s.tool and s.status == "proposed"), "")

    # ----------------------------------------------------------------------------------------------------- events

    def _note(self, record: Record, known: int) -> None:
        """An event of what happened at one moment, on what it happened in."""
        event = record.event
        moments = [place for place in range(known, len(self._spans.all)) if self._is_moment(self._spans.all[place])]
        if isinstance(event, RunFinished) or not (moments or isinstance(event, EVENTS)):
            return
        facts = facts_of(record)
        if self._around.texts and moments and (text := self._spans.all[moments[0]].text):
            facts["agentnb.text"] = cut(text)
        noted = _Event(f"agentnb.{event.kind}", facts, record.at)
        if self._stint is None:
            self._meanwhile.append(noted)
            return
        parent = self._spans.all[moments[0]].parent if moments else self._group()
        holder = self._live.get(parent or 0, self._top)
        if holder is not None:
            holder.add_event(noted.name, noted.facts, _ns(noted.at))

    @staticmethod
    def _is_moment(span: Span) -> bool:
        return span.op == "decision" or (span.op == "execute_tool" and span.status in ("proposed", "simulated"))

    def _group(self) -> int:
        """What is being done now: the innermost step or phase that goes on."""
        groups = [place for place in self._live if self._spans.all[place].parent == 0]
        return groups[-1] if groups else 0


def _seconds(span: Span, since: float) -> float:
    """How long it took, of which no more than what came after `since` is this stint's."""
    return max(0.0, span.seconds - max(0.0, since - span.at))


def _root(head: RunStarted, parent: SpanContext | None, tracer: Tracer | None = None) -> SpanContext:
    """A run's first span, as one that another process has told of, or this one before.

    It is sampled as what it hangs below, or else as a sampler decides that goes by the trace, as it did then.
    """
    trace = parent.trace_id if parent else trace_id(head)
    flags = parent.trace_flags if parent else TraceFlags(TraceFlags.SAMPLED)
    sampler = None if parent else getattr(tracer, "sampler", None)
    if sampler is not None and not sampler.should_sample(None, trace, "invoke_agent").decision.is_sampled():
        flags = TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(trace, span_id(head, 0, 0, "invoke_agent"), is_remote=True, trace_flags=flags)


def _ns(at: float) -> int:
    return round(at * 1e9)
