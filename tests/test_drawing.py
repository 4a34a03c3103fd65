"""Figures as they are asked for in cells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import plotly.io as pio
import pytest

from agentnb import tool
from tests.cells import Cells, notebook_in, scripted
from tests.parts import add, answer, plan, step, verdict
from tests.test_figure import MIME


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    monkeypatch.setattr(pio.renderers, "default", "plotly_mimetype")
    with notebook_in(tmp_path, monkeypatch) as found:
        found.names.update(m=scripted(plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer("3")), add=add)
        found.cell("r --model m --tools add", "add")
        yield found


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("timeline {r.id}", "Timeline of r1"),
        ("timeline {r.id} s1", ", step s1"),
        ("graph {r.id}", "What informed what of r1"),
        ("graph {r.id} s1", "What led to s1 of r1"),
        ("curve {r.id}", "Cost of r1"),
        ("curve {r.id} --steps", "Cost of r1"),
        ("dashboard --status completed", "How runs go\n1 run"),
    ],
)
def test_a_line_draws_a_run(cells: Cells, line: str, says: str) -> None:
    """As a figure, as SVG and as text; what it draws is what the method draws."""
    assert says in cells.line(line)
    (bundle,) = cells.bundles
    assert set(bundle) == {MIME, "image/svg+xml", "text/plain"}


@pytest.mark.parametrize(
    ("line", "says"), [("timeline {r.id} s9", "no step 's9'"), ("graph {r.id} s9", "nothing is called 's9'")]
)
def test_a_step_that_is_not_there_is_told_in_two_lines(cells: Cells, line: str, says: str) -> None:
    """With those that there are."""
    assert says in " ".join(cells.line_error(line))


def test_no_secret_that_is_known_by_now_is_drawn(cells: Cells) -> None:
    """Also one that was none when the run was recorded."""

    @tool(effect="read")
    def look(what: str) -> str:
        """Look.

        Args:
            what: at what.
        """
        return f"seen {what}"

    script = scripted(plan(step("look", what="canary-4f9a7c21e0")), verdict(finding="seen"), answer("done"))
    cells.names.update(n=script, look=look)
    cells.cell("q --model n --tools look", "look")
    cells.line("timeline {q.id}")
    assert "canary-4f9a7c21e0" in json.dumps(cells.bundles)
    cells.names["pin"] = "canary-4f9a7c21e0"
    cells.set("secrets = 'pin'")
    for command in ("timeline", "graph", "curve"):
        cells.line(f"{command} {{q.id}}")
        assert "canary-4f9a7c21e0" not in json.dumps(cells.bundles)
