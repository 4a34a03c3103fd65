"""What telling OpenTelemetry costs the loop: a step of it is three spans and an event. Beside it such spans alone."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.measuring import Job, Options, Row, Target, Timer, fresh, median_of, places

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from agentnb.session import Session

__all__ = ["TARGETS", "rows"]

_SIZES = (100, 1000)
_OFF, _ON, _BARE = "off", "on, in batches", "the SDK's spans alone"

TARGETS = (
    Target("a step more, ms of processor time, at most 0.6", "more ms", 0.6, lambda row: row["who"] == _ON),
    Target("last tenth over first, at most 1.2", "last/first", 1.2, lambda row: row["who"] == _ON),
)


def rows(options: Options) -> list[Row]:
    """A line for each way to be told, place and number of steps."""
    with places() as where:
        jobs = [
            Job("telemetry", (who, place, str(n), str(folder)))
            for place, folder in where.items()
            for n in options.sizes(*_SIZES)
            for who in _DRIVERS
        ]
        fresh(jobs[0])  # files are read and compiled before anything is measured
        return _compared(median_of(jobs, options.repeats))


def _compared(found: Sequence[Row]) -> list[Row]:
    """Each row with what it takes over a run that tells nobody."""
    off = {(row["where"], row["steps"]): row["cpu ms"] for row in found if row["who"] == _OFF}
    more = {_OFF: None, _BARE: None}
    return [{**row, "more ms": more.get(row["who"], row["cpu ms"] - off[row["where"], row["steps"]])} for row in found]


def _provider() -> TracerProvider:
    """As a user sets it up, with a collector that takes no time."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

    class Nowhere:
        def export(self, _: object) -> object:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    nowhere: Any = Nowhere()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(nowhere))
    return provider


def _off(folder: Path, steps: int, timer: Timer) -> None:
    from tests.bench.zero import begin

    _driven(begin(folder, steps), timer)


def _on(folder: Path, steps: int, timer: Timer) -> None:
    from agentnb import Telemetry
    from tests.bench.zero import begin

    _driven(begin(folder, steps, telemetry=Telemetry(_provider())), timer)


def _nobody(folder: Path, steps: int, timer: Timer) -> None:
    from agentnb import Telemetry
    from tests.bench.zero import begin

    _driven(begin(folder, steps, telemetry=Telemetry()), timer)


def _driven(session: Session, timer: Timer) -> None:
    for record in session:
        if record.event.kind == "tool_claimed":
            timer.lap()


def _bare(_: Path, steps: int, timer: Timer) -> None:
    from opentelemetry.trace import set_span_in_context

    tracer = _provider().get_tracer("bare")
    facts = {f"agentnb.fact.{n}": "some text" for n in range(10)}
    for _step in range(steps):
        timer.lap()
        outer = tracer.start_span("step s1", attributes=facts)
        inside = set_span_in_context(outer)
        for name in ("execute_tool look", "chat scripted"):
            span = tracer.start_span(name, inside, attributes=facts)
            span.set_attributes(facts)
            span.end()
        outer.add_event("agentnb.step_judged", facts)
        outer.end()


_DRIVERS: dict[str, Callable[[Path, int, Timer], None]] = {
    _OFF: _off,
    "on, nobody listens": _nobody,
    _ON: _on,
    _BARE: _bare,
}


def measure(who: str, place: str, steps: str, folder: str) -> Row:
    """One run, in this process."""
    timer = Timer()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        _DRIVERS[who](Path(own), int(steps), timer)
    return {"who": who, "where": place, "steps": int(steps), **timer.row()}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
