"""What a run cost as time went on, as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnb.agent import Agent
from agentnb.budget import Budget, Usage
from agentnb.cost_curve import cost_curve
from agentnb.curve import curve, thinned
from agentnb.errors import ConfigError
from agentnb.models.scripted import ScriptedModel
from agentnb.picture import Area, Line, Panel, Picture, Rule
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.figures import heights, layers
from tests.parts import add, answer, plan, step, verdict
from tests.test_cost import Priced


def dollars(usage: Usage) -> float:
    return (3 * usage.input_tokens + 15 * usage.output_tokens) / 1e6


def ran(store: DiskStore, *, priced: bool = True, budget: Budget | None = None) -> Run:
    """A run of two steps: a plan, two verdicts, an answer."""
    steps = [step("add", a=1, b=2), step("add", a=3, b=4)]
    lines = [plan(*steps), verdict(finding="it is 3"), verdict(finding="it is 7"), answer()]
    model = ScriptedModel(lines, price=dollars if priced else None)
    budget = budget or Budget(usd=0.2, model_calls=9)
    return Agent(model, tools=[add], store=store, budget=budget).run("add")


def panels(picture: Picture) -> tuple[Panel, Panel]:
    first, second = picture
    return first, second


def test_the_phases_together_are_what_the_run_spent(store: DiskStore) -> None:
    """The upper edge of the last of them, and the line above them, end at the run's own sum."""
    run = ran(store)
    found = cost_curve(curve(run.events), run=run.id)
    assert [area.name for area in layers(found, Area)] == ["plan", "critique", "answer", "reserved"]
    assert heights(found, "answer")[-1] == pytest.approx(run.spent.usd)
    spent = next(layer for layer in layers(found, Line) if layer.name == "spent")
    assert spent.y[-1] == pytest.approx(run.spent.usd)
    assert list(spent.y) == sorted(spent.y)
    assert found.title == f"Cost of {run.id} by phase"


def test_what_was_reserved_lies_above_what_was_spent_and_never_above_the_cap(store: DiskStore) -> None:
    """While a call is under way its worst case is held."""
    run = ran(store, budget=Budget(usd=0.08))
    found = cost_curve(curve(run.events))
    band = next(area for area in layers(found, Area) if area.name == "reserved")
    assert any(high > low for low, high in zip(band.low, band.high, strict=True))
    assert max(band.high) <= 0.08 + 1e-9
    assert band.hatch


def test_a_cap_that_is_near_is_a_line_and_one_that_is_far_is_told(store: DiskStore) -> None:
    """A curve against a cap a hundred times as high would lie flat."""
    near, far = (cost_curve(curve(ran(store, budget=Budget(usd=usd)).events)) for usd in (0.06, 50))
    assert "the cap: $0.06" in [rule.label for rule in layers(near, Rule)]
    assert panels(far)[0].title == "Dollars · the cap of $50.00 lies far above"


def test_every_cap_that_is_set_has_its_line_in_percent(store: DiskStore) -> None:
    """One scale for dollars, tokens, calls, steps and seconds."""
    run = ran(store)
    _, caps = panels(cost_curve(curve(run.events)))
    lines = {layer.name: layer for layer in caps.layers if isinstance(layer, Line)}
    assert list(lines) == ["Dollars", "Tokens", "Model calls", "Steps", "Working time"]
    assert lines["Steps"].y[-1] == pytest.approx(100 * 2 / 25)
    assert lines["Model calls"].label == "model calls 44 %"


def test_tokens_take_the_place_of_dollars_where_nothing_cost_any(store: DiskStore) -> None:
    """A local model's curve of dollars would be a line at nothing."""
    run = ran(store, priced=False, budget=Budget())
    found = cost_curve(curve(run.events))
    assert panels(found)[0].title.startswith("Tokens")
    assert heights(found, "answer")[-1] == run.spent.tokens


def test_it_can_run_along_the_steps(store: DiskStore) -> None:
    """And nothing else."""
    points = curve(ran(store).events)
    assert panels(cost_curve(points, against="steps"))[1].x.title == "finished steps"
    with pytest.raises(ConfigError, match="against='hours': there are time, steps"):
        cost_curve(points, against="hours")  # type: ignore[arg-type]


def test_what_the_prompt_cache_saved_is_a_line_of_its_own(tmp_path: Path) -> None:
    """What it would have cost without."""
    lines = [plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer()]
    agent = Agent(Priced("strong", lines), tools=[add], store=tmp_path)
    run, second = agent.run("add"), agent.run("add")
    found = cost_curve(curve(second.events))
    line = next(layer for layer in layers(found, Line) if layer.name == "without savings")
    assert line.dashed
    assert line.y[-1] == pytest.approx(run.spent.usd)
    assert line.label.endswith("saved")


def test_a_bare_curve_is_the_same_in_every_replay(store: DiskStore) -> None:
    """No clock but that of model calls, no cap on time."""
    run = ran(store)
    found = cost_curve(curve(run.events, bare=True), bare=True)
    assert "working" not in found.text
    assert "Working time" not in [line.name for line in layers(found, Line)]


def test_a_run_that_has_hardly_begun_has_a_figure_too(store: DiskStore) -> None:
    """After none of its records, after each of the first, and after all."""
    records = ran(store).events
    for upto in range(len(records) + 1):
        assert cost_curve(curve(records[:upto])).text


def test_few_points_tell_the_same_end_and_the_same_peaks(store: DiskStore) -> None:
    """What was reserved at most in a stretch is not lost with the point."""
    points = curve(ran(store).events)
    few = thinned(points, 4)
    assert few[0] == points[0]
    assert few[-1] == points[-1]
    assert max(p.held.usd for p in few) == max(p.held.usd for p in points)
    assert len(few) <= 6
