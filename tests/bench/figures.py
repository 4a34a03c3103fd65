"""What figures take: to be built as a notebook gets them, and of its file; beside Plotly with a trace for each span."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench.measuring import Job, Options, Row, Target, median_of

__all__ = ["TARGETS", "rows"]

_SIZES = (1_000, 10_000)
_PEER = "plotly, a trace a span"
_PEERS = (1_000,)
"""Of the peer, whose time and bytes grow with the spans."""
_WARM = 20
"""Spans drawn before the others, as "first ms": Plotly imports itself when it is first used."""

TARGETS = (
    Target(
        "timeline of 1000 spans, ms, at most 150",
        "wall ms",
        150,
        lambda row: (row["who"], row["spans"]) == ("timeline", 1_000),
    ),
    Target(
        "timeline of 1000 spans in the notebook's file, kB, at most 300",
        "ipynb kB",
        300,
        lambda row: (row["who"], row["spans"]) == ("timeline", 1_000),
    ),
    Target(
        "timeline of 10 000 spans, ms, at most 1000",
        "wall ms",
        1_000,
        lambda row: (row["who"], row["spans"]) == ("timeline", 10_000),
    ),
)


def rows(options: Options) -> list[Row]:
    """A line for each figure and number of spans."""
    jobs = [
        Job("figures", (who, str(n)))
        for n in options.sizes(*_SIZES) or [options.most]
        for who in _KINDS
        if n in _PEERS or who != _PEER
    ]
    return median_of(jobs, options.repeats)


def _timeline(spans: list[Any]) -> Any:
    from agentnb.notebook.figures import timeline

    return timeline(spans)


def _a_trace_a_span(spans: list[Any]) -> Any:
    """The way of most examples: each bar a trace of its own, with its hover text."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for span in spans:
        told = f"{span.step} {span.name}<br>{span.status}<br>{span.args and span.args.text}"
        figure.add_trace(go.Bar(base=[span.start], x=[span.seconds], y=[span.op], orientation="h", hovertext=told))
    return figure


_KINDS: dict[str, Callable[[list[Any]], Any]] = {"timeline": _timeline, _PEER: _a_trace_a_span}


def measure(who: str, count: str) -> Row:
    """Build and encode one figure of so many spans as IPython would."""
    import plotly.io as pio
    from IPython.core.formatters import DisplayFormatter

    from tests.figures import told

    pio.renderers.default = "plotly_mimetype"
    spans = told(-(-int(count) * 7 // 30))[: int(count)]  # seven steps are thirty spans
    shown: Any = DisplayFormatter()

    def built(some: list[Any]) -> dict[str, Any]:
        figure = _KINDS[who](some)
        return dict(figure._repr_mimebundle_() if who == _PEER else shown.format(figure)[0])

    start = time.perf_counter()
    built(spans[:_WARM])
    middle = time.perf_counter()
    bundle = built(spans)
    return {
        "who": who,
        "spans": int(count),
        "wall ms": (time.perf_counter() - middle) * 1000,
        "first ms": (middle - start) * 1000,
        "ipynb kB": _in_a_notebook(bundle) / 1000,
        "svg kB": len(bundle.get("image/svg+xml", "").encode()) / 1000,
    }


def _in_a_notebook(bundle: dict[str, Any]) -> int:
    """Bytes of a notebook that has shown it."""
    import nbformat

    output = nbformat.v4.new_output("display_data", data=bundle)
    cell = nbformat.v4.new_code_cell("run.timeline()", outputs=[output])
    return len(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode())


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
