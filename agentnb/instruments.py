"""What is counted of model calls and runs, as OpenTelemetry's instruments."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter

from agentnb.events import ModelReplied, RunFinished
from agentnb.semconv import failed, provider_and_model, tokens_of
from agentnb.span import Span

__all__ = ["Instruments"]

_TOKENS: Final = tuple(4**power for power in range(14))
_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
"""Upper bounds of the histograms' buckets, as the conventions have them."""


class Instruments:
    """Tokens, seconds and dollars of model calls, and the runs by what became of them.

    Args:
        provider: where they are kept; None for the global one.
        version: ours.
    """

    def __init__(self, provider: MeterProvider | None, version: str) -> None:
        meter = get_meter("agentnb", version, provider)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._usd = meter.create_counter("agentnb.cost.usd", unit="{USD}", description="What model calls were charged.")
        self._runs = meter.create_counter("agentnb.runs", unit="{run}", description="Runs that have ended.")

    def model_called(self, span: Span, status: str, reply: ModelReplied | None) -> None:
        """A model call has ended with `status`: with `reply`, or without one."""
        provider, model = provider_and_model(span.model)
        asked: dict[str, str] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
        }
        if reply is not None:
            asked["gen_ai.response.model"] = reply.model or model
            counts = tokens_of(reply)
            for kind in ("input", "output"):
                if not reply.usage.uncounted:
                    self._tokens.record(counts[f"{kind}_tokens"], {**asked, "gen_ai.token.type": kind})
        bad = {"error.type": span.failure or status} if failed(status) else {}
        if status != "lost":  # nobody knows how long it took
            self._seconds.record(span.seconds, {**asked, **bad})
        if span.usd:
            self._usd.add(span.usd, {**asked, "agentnb.phase": span.phase})

    def run_ended(self, event: RunFinished) -> None:
        """A run has ended; one that goes on later, with more budget, ends once more."""
        self._runs.add(1, {"agentnb.run.status": event.status, "agentnb.stop_reason": event.reason})
