"""`make bench`: the benchmarks print their tables. A slow machine fails nothing: only missing numbers do."""

from __future__ import annotations

import os
import sys

import pytest

from tests.bench.__main__ import BENCHMARKS, QUICK, run
from tests.bench.measuring import Options

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="memory is measured as POSIX tells it"),
]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_gives_numbers(name: str) -> None:
    """Every row has a positive time. AGENTNB_BENCH=quick measures short runs only."""
    if name in ("loop", "gate", "resume"):
        pytest.importorskip("langgraph.checkpoint.sqlite", reason="LangGraph is in the extra `bench`")
    if name == "telemetry":
        pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry's SDK is in the extra `otel`")
    rows = run(name, QUICK if os.environ.get("AGENTNB_BENCH") == "quick" else Options())
    assert rows
    assert all(row["wall ms"] > 0 for row in rows)
