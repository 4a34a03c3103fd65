"""Two runs on one scale, as a picture."""

from __future__ import annotations

import pytest

from agentnb.agent import Agent
from agentnb.beside import Side, beside
from agentnb.errors import ConfigError
from agentnb.models.scripted import ScriptedModel
from agentnb.picture import Bars, Line
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.figures import Told, layers
from tests.parts import add, answer, plan, step, verdict
from tests.test_cost import dear


def ran(store: DiskStore, steps: int) -> Run:
    calls = [step("add", a=n, b=2) for n in range(steps)]
    lines = [plan(*calls), *[verdict(finding=f"it is {n + 2}") for n in range(steps)], answer()]
    return Agent(ScriptedModel(lines, price=dear), tools=[add], store=store).run("add")


def test_both_have_their_lanes_on_one_axis_and_a_line_of_what_they_cost(store: DiskStore) -> None:
    """The lines end at what each spent, and are told apart by more than their colours."""
    one, other = ran(store, 1), ran(store, 3)
    found = one.beside(other)
    assert one.id in found.text
    assert other.id in found.text
    sides = [Side(run.id, run.trace, []) for run in (one, other)]
    axes = {(panel.x.low, panel.x.high) for panel in beside(*sides)}
    assert len(axes) == 1
    scaled = [trace for trace in found.to_dict()["data"] if trace["type"] == "scatter" and trace["mode"] == "lines"]
    assert [trace["line"].get("dash", "solid") for trace in scaled] == ["solid", "dash"]


def test_an_id_is_no_run(store: DiskStore) -> None:
    """It says what takes ids."""
    with pytest.raises(ConfigError, match="'r7' is no run: give a Run"):
        ran(store, 1).beside("r7")  # type: ignore[arg-type]


def test_a_pause_of_one_in_which_the_other_worked_is_not_drawn_short() -> None:
    """One axis for both: only where neither does anything."""
    waits, works = Told(), Told("r8-def")
    waits.add("wait", "approval", 500.0, step="s1", tool="query")
    waits.step("s1")
    works.add("execute_tool", "query", 500.0, tool="query")
    found = beside(Side("a", waits.ended(), []), Side("b", works.ended(), []))
    assert all(panel.x.ticks is None for panel in found)
    wait = next(layer for layer in layers(found, Bars) if layer.ink == "purple")
    assert wait.right[0] - wait.left[0] > 8  # minutes


def test_runs_that_have_hardly_begun_have_a_figure_too() -> None:
    """Two of which nothing is known."""
    found = beside(Side("a", [], []), Side("b", [], []))
    assert found.text
    assert [list(line.y) for line in layers(found, Line)] == [[], []]
