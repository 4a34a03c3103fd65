"""OpenTelemetry: what runs did as spans and metrics, made of their records as these become durable."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanContext, Tracer, TracerProvider, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agentnb import __version__
from agentnb.codec import head_of
from agentnb.events import ActionClaimed, Record, RunForked, RunImported, RunResumed, RunStarted
from agentnb.ids import Ids
from agentnb.instruments import Instruments
from agentnb.store.base import NO_ROWS, Store
from agentnb.texts import Texts
from agentnb.tracing import RunTrace, Surroundings

__all__ = ["CONTENT", "Telemetry", "nobody_listens"]

CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable by which all instrumentations of generative AI are told whether to send what was said."""
_LOG: Final = logging.getLogger(__name__)
_WHERE: Final = TraceContextTextMapPropagator()


def nobody_listens() -> bool:
    """True where no tracer provider has been set up, so that spans go nowhere."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


class Telemetry:
    """Spans and metrics of an agent's runs, for OpenTelemetry: `Agent(…, telemetry=Telemetry())`.

    It makes them of what the journal has just kept, so that the two cannot disagree, and hands them to the providers,
    which send them: use a BatchSpanProcessor, with which no collector keeps a run waiting. Nothing that goes wrong in
    here reaches a run.

    Args:
        tracer_provider: where spans go; the global one, if left out.
        meter_provider: where metrics go; the global one, if left out.
        content: True sends the task, replies, arguments, results and reasons as well, without secrets; False does not;
            None does where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says so.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        content: bool | None = None,
    ) -> None:
        wanted = os.environ.get(CONTENT, "").strip().lower() in ("true", "span_only", "span_and_event")
        self.content = wanted if content is None else content
        self._provider = tracer_provider
        self._instruments = Instruments(meter_provider, __version__)
        self._runs: dict[str, RunTrace] = {}
        # An exporter that reaches nobody says so in the log, which without this is printed below whatever cell is run.
        if not (log := logging.getLogger("opentelemetry")).handlers:
            log.addHandler(logging.NullHandler())

    def keeping(self, run: str, records: Sequence[Record]) -> Mapping[str, str]:
        """Of a run that begins in a span of the user's: which, so that it can go on there from another process."""
        if not _begins(records[0]):
            return NO_ROWS
        found: dict[str, str] = {}
        _WHERE.inject(found)
        return {_row(run): json.dumps(found["traceparent"])} if found else NO_ROWS

    def told(self, store: Store, run: str, records: Sequence[Record]) -> None:
        """Begin and end what the records begin and end."""
        try:
            self._told(store, run, records)
        except Exception:  # noqa: BLE001 - whatever it is, a run does not fail because of it
            _LOG.exception("%s is not traced any further", run)
            self._runs.pop(run, None)

    def calling(self, run: str) -> AbstractContextManager[object]:
        """The call that is being made as the current span, so that what a tool's code traces hangs below it."""
        traced = self._runs.get(run)
        span = traced.calling if traced else None
        if span is None:
            return nullcontext()
        return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def _told(self, store: Store, run: str, records: Sequence[Record]) -> None:
        events = [record.event for record in records]
        if any(isinstance(event, RunImported) for event in events):
            return  # it was driven elsewhere
        traced = self._runs.get(run)
        if traced is None:
            if not any(isinstance(event, RunStarted | RunResumed | ActionClaimed) for event in events):
                return
            first = records[0] if records[0].seq == 0 else store.first(run)
            traced = self._runs[run] = self._opened(store, head_of(first), records[0].seq)
        if records[0].seq > traced.next:  # a commit that was interrupted, and had been made
            records = [record for record in store.read(run) if record.seq >= traced.next]
        forked = next((record.seq for record in records if isinstance(record.event, RunForked)), 0)
        for record in records:
            if record.seq >= traced.next:
                traced.take(record, live=record.seq >= forked)
        if traced.at_rest:
            self._runs.pop(run, None)

    def _opened(self, store: Store, head: RunStarted, upto: int | None = None) -> RunTrace:
        """A run as it was before its record `upto`; as it is, where that is left out."""
        tracer = (self._provider or trace.get_tracer_provider()).get_tracer("agentnb", __version__)
        around = Surroundings(
            tracer=tracer,
            ids=_ids_of(tracer),
            instruments=self._instruments,
            store=store,
            texts=Texts(store) if self.content else None,
            parent=self._call(store, head) if head.parent else _began_in(store, head.run),
            began_in=partial(_began_in, store),
        )
        traced = RunTrace(head, around)
        for earlier in store.read(head.run) if upto != 0 else ():
            if upto is None or earlier.seq < upto:
                traced.take(earlier, live=False)
        return traced

    def _call(self, store: Store, head: RunStarted) -> SpanContext:
        """The call that a run inside another is."""
        outer = self._runs.get(head.parent) or self._opened(store, head_of(store.first(head.parent)))
        return outer.call_of(head.run)


def _begins(record: Record) -> bool:
    return isinstance(record.event, RunStarted) and not record.event.parent


def _row(run: str) -> str:
    return f"o/{run}/parent"


def _began_in(store: Store, run: str) -> SpanContext | None:
    """The user's span in which the run began, or None."""
    text = store.row(_row(run))
    if text is None:
        return None
    found = trace.get_current_span(_WHERE.extract({"traceparent": json.loads(text)})).get_span_context()
    return found if found.is_valid else None


def _ids_of(tracer: Tracer) -> Ids | None:
    """What says the ids of the tracer's spans; None where it is not the SDK's, and takes none."""
    usual = getattr(tracer, "id_generator", None)
    if usual is None or isinstance(usual, Ids):
        return usual
    tracer.id_generator = ids = Ids(usual)  # type: ignore[attr-defined]  # the SDK's tracer has it, the API's does not
    return ids
