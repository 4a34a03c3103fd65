"""Pictures as Plotly figures: what a notebook keeps of them, and what it shows."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from IPython.core.formatters import DisplayFormatter

from agentnb.agent import Agent
from agentnb.models.scripted import ScriptedModel
from agentnb.notebook.figure import Figure, figure
from agentnb.notebook.figures import timeline
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.figures import HOSTILE, numbers, parsed, told
from tests.parts import add, answer, plan, step, verdict
from tests.test_svg import everything

MIME = "application/vnd.plotly.v1+json"


@pytest.fixture(autouse=True)
def in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer that Plotly takes in Jupyter."""
    monkeypatch.setattr(pio.renderers, "default", "plotly_mimetype")


def bundle(found: Figure) -> dict[str, Any]:
    """What IPython sends to the front end."""
    data, _ = DisplayFormatter().format(found)  # type: ignore[no-untyped-call]
    return dict(data)


def size(found: Figure) -> int:
    """Bytes of a notebook that has shown it."""
    output = nbformat.v4.new_output("display_data", data=bundle(found))
    cell = nbformat.v4.new_code_cell("run.timeline()", outputs=[output])
    return len(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode())


def texts(node: object) -> list[str]:
    """Every string in it, however deep."""
    if isinstance(node, str):
        return [node]
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [text for item in inside for text in texts(item)]


def test_a_notebook_gets_the_figure_with_svg_and_text_beside_it() -> None:
    """So that something is seen on GitHub, in exported pages and in a terminal."""
    found = bundle(timeline(told(3)))
    assert set(found) == {MIME, "image/svg+xml", "text/plain"}
    assert parsed(found["image/svg+xml"]).tag.endswith("svg")
    assert found["text/plain"].startswith("Timeline of r7-abc\n")
    json.dumps(found)


def test_nothing_of_plotly_takes_the_place_of_the_bundle() -> None:
    """IPython asks for `_ipython_display_` first, and Plotly's shows its own MIME type alone."""
    found = timeline(told(1))
    assert isinstance(found, go.Figure)
    assert not callable(found._ipython_display_)
    assert repr(found) == found.text


def test_a_figure_can_be_changed_copied_and_written_as_any_other() -> None:
    """It is a Plotly figure."""
    found = timeline(told(2))
    found.update_layout(height=300)
    assert copy.deepcopy(found).layout.height == 300
    assert "Plotly.newPlot" in found.to_html(include_plotlyjs=False)
    assert go.Figure(found).to_dict() == found.to_dict()


def test_a_thousand_spans_take_less_than_300_kb_of_a_notebook() -> None:
    """Everything that is told by pointing at them included."""
    spans = told(240)
    assert len(spans) > 1000
    assert size(timeline(spans)) < 300_000


def test_ten_thousand_spans_take_no_more() -> None:
    """They are drawn as few."""
    assert size(timeline(told(2400))) < 300_000


def test_bars_that_look_alike_are_one_trace_with_typed_arrays() -> None:
    """A trace for each span would take ten times the bytes, and the browser's patience."""
    spans = told(30)
    drawn = bundle(timeline(spans))[MIME]["data"]
    assert len(drawn) < 12
    model = next(trace for trace in drawn if trace["name"] == "model calls")
    calls = [span for span in spans if span.op == "chat"]
    assert sorted(numbers(model["base"])) == pytest.approx([span.start for span in calls])
    assert len(model["customdata"]) == len(calls)


def test_hostile_text_is_text_in_every_part() -> None:
    """No tag but ours, no formula for MathJax, no template."""
    found = bundle(figure(everything(HOSTILE)))
    for text in texts(found[MIME]):
        assert "<script" not in text
        assert "x^2$" not in text
        assert "\x1b" not in text
    assert all("%{x}" not in trace.get("hovertemplate", "") for trace in found[MIME]["data"])


def test_a_theme_that_is_known_is_taken() -> None:
    """From the argument, or from the user's own Plotly template; else colours for both."""
    plain, dark, light = (timeline(told(1), dark=choice).layout.font.color for choice in (None, True, False))
    assert len({plain, dark, light}) == 3


def test_a_dark_template_of_the_users_makes_figures_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pio.templates.default = "plotly_dark"`, as they have set it for their own."""
    dark = timeline(told(1), dark=True).layout.font.color
    monkeypatch.setattr(pio.templates, "default", "plotly_dark")
    assert timeline(told(1)).layout.font.color == dark


def ran(store: DiskStore) -> Run:
    lines = [plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer()]
    return Agent(ScriptedModel(lines), tools=[add], store=store).run("add")


def test_a_run_has_its_figures_as_methods(store: DiskStore) -> None:
    """They show what its records tell."""
    run = ran(store)
    assert "add" in run.timeline().text
    assert "s1" in run.timeline(step="s1").svg
    assert "critique" in run.cost_curve(against="steps", dark=True).text


def test_figures_of_a_run_are_the_same_each_time(store: DiskStore) -> None:
    """No random id, no clock of the moment."""
    run = ran(store)
    for draw in (run.timeline, run.cost_curve):
        assert json.dumps(bundle(draw())) == json.dumps(bundle(draw()))


def test_two_replays_of_a_run_show_the_same_to_the_byte(tmp_path: Path) -> None:
    """No id, no clock: a notebook's outputs are compared exactly."""
    lines = [plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer()]
    tape = tmp_path / "tape.jsonl"
    Agent(ScriptedModel(lines), tools=[add], store=tmp_path / "first", cassette=tape, mode="record").run("add")
    shown = []
    for name in ("second", "third"):
        agent = Agent(ScriptedModel([]), tools=[add], store=tmp_path / name, cassette=tape, mode="replay")
        run = agent.run("add")
        figures = (run.timeline(), run.cost_curve(), run.graph(), run.beside(run))
        shown.append([bundle(found) for found in figures])
        assert run.id not in json.dumps(shown)
    assert json.dumps(shown[0]) == json.dumps(shown[1])


def test_plotly_is_imported_where_a_figure_is_asked_for() -> None:
    """Nobody waits for it who draws nothing."""
    code = "import sys, agentnb.agent, agentnb.run; sys.exit('plotly' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
