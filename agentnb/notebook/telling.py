"""Who is told what the notebook's runs do, beside the journal: OpenTelemetry, where a setting says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnb.settings import Settings

if TYPE_CHECKING:
    from agentnb.otel import Telemetry

__all__ = ["telemetry_of", "who_listens"]


def telemetry_of(settings: Settings) -> Telemetry | None:
    """What tells OpenTelemetry of the runs; None, and nothing imported, where it is off."""
    if settings.otel == "off":
        return None
    from agentnb.otel import Telemetry

    return Telemetry(content=True if settings.otel == "content" else None)


def who_listens(settings: Settings) -> str:
    """What is told, and whether anybody is there to hear it."""
    if settings.otel == "off":
        return "off"
    from agentnb.otel import nobody_listens

    if nobody_listens():
        return f"{settings.otel}, but no tracer provider is set, so nothing is sent: see OpenTelemetry in the README"
    return f"{settings.otel}, to the tracer provider that is set"
