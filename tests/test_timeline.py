"""What a run did when, as a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent import Agent
from agentnb.blocks import fitted
from agentnb.errors import ConfigError
from agentnb.models.scripted import ScriptedModel
from agentnb.picture import Bars, Marks, Picture
from agentnb.span import Span
from agentnb.spans import spans_of
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.stretch import stretch_of
from agentnb.svg import svg
from agentnb.timeline import Window, timeline
from tests.figures import HOSTILE, Told, layers, parsed, told, words
from tests.parts import answer, broken, note, plan, step


def lanes(picture: Picture) -> list[str]:
    return [label for panel in picture for _, label in panel.y.ticks or ()]


def bars(picture: Picture) -> int:
    return sum(len(layer.left) for layer in layers(picture, Bars))


def test_every_kind_of_thing_has_its_lane_from_the_top() -> None:
    """Steps first, then models by phase, tools, a person, pauses, decisions."""
    run = Told()
    run.add("chat", "plan", 2.0, phase="plan")
    run.add("wait", "approval", 5.0, step="s1", tool="query")
    run.step("s1", failed=True)
    run.add("rest", "interrupted", 4.0)
    found = timeline(run.ended())
    assert lanes(found) == [
        "steps", "model: plan", "model: critique", "query", "a person", "before a retry", "at rest", "decisions",
    ]  # fmt: skip


def test_a_run_inside_another_has_lanes_of_its_own() -> None:
    """Its models and its tools, under the name of its agent; its steps are not mixed with those of the run."""
    outer = Told()
    outer.add("invoke_agent", "scout", 3.0, step="s1", child="r8-def")
    inner = Told("r8-def")
    inner.add("chat", "plan", 1.0, phase="plan")
    inner.step("s1")
    found = timeline([*outer.ended(), *inner.ended()[1:]])
    assert lanes(found) == ["agent scout", "scout: model", "scout: tools"]


@pytest.mark.parametrize("status", ["length", "refusal", "lost", "in_doubt"])
def test_a_reply_that_was_cut_off_or_refused_is_one_that_failed(status: str) -> None:
    """As it is in the tree and in the numbers about many runs."""
    run = Told()
    run.add("chat", "plan", 1.0, status, phase="plan")
    assert "1 failed (red, hatched)" in timeline(run.ended()).said


def test_what_failed_is_told_by_more_than_its_colour() -> None:
    """A pattern on bars, a cross as the sign of a decision."""
    run = Told()
    run.step("s1", failed=True)
    run.add("decision", "judged: revise", 0.0, "failed", step="s1", text="nothing found")
    found = timeline(run.ended())
    bad = [layer for layer in layers(found, Bars) if layer.ink == "red"]
    assert [layer.hatch for layer in bad] == ["/"]
    assert bad[0].hover == ["s1 query\nfailed: transient · 0.5 s\n503"]
    assert [layer.sign for layer in layers(found, Marks) if layer.ink == "red"] == ["cross"]
    assert "1 failed (red, hatched)" in found.said


def test_pointing_at_a_call_tells_what_went_in_what_came_out_and_what_it_took() -> None:
    """Arguments, result, tokens, dollars, tries and status."""
    run = Told()
    run.step("s3", failed=True)
    said = words(timeline(run.ended()))
    assert 's3 query\ndone · try 2 · 1.5 s\nin: sql="select 1"\nout: [[1, 2]]' in said
    assert "s3 critique · anthropic:haiku\ndone · 1.0 s" in said
    assert "900 → 60 tokens · $0.002" in said


def test_many_bars_are_drawn_as_few_and_none_is_lost() -> None:
    """Blocks say how many they stand for, the title too, and what failed stays apart."""
    spans = told(2500)
    found = timeline(spans)
    assert bars(found) <= 1500
    together = sum(
        int(text.split(" together")[0].replace(" ", "")) if " together" in text.splitlines()[0] else 1
        for layer in layers(found, Bars)
        for text in layer.hover
    )
    assert together == sum(span.op != "decision" for span in spans) - 1
    assert "bars drawn as" in found.said
    assert any(layer.hatch == "/" for layer in layers(found, Bars))


def test_a_thousand_spans_are_all_drawn() -> None:
    """Nothing is put together that there is room for."""
    spans = told(200)
    found = timeline(spans)
    assert bars(found) == sum(span.op != "decision" for span in spans) - 1
    assert "drawn as" not in found.said


def test_a_part_of_a_run_can_be_looked_at_closer() -> None:
    """By its step, or by two moments on the run's clock."""
    spans = told(40)
    one = timeline(spans, Window(step="s20"))
    assert one.title == "Timeline of r7-abc, step s20"
    assert "s20" in words(one)
    assert "s30" not in words(one)
    some = timeline(spans, Window(start=10, end=20))
    axis = next(iter(some)).x
    assert (axis.low, axis.high) == (10, 20)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        (Window(step="s99"), "no step 's99' in this run: it has s1"),
        (Window(start=9, end=3), "start=9 is after end=3"),
        (Window(start="15:47"), "start='15:47' is no number of seconds since the run began"),  # type: ignore[arg-type]
    ],
)
def test_a_window_that_shows_nothing_is_an_error(window: Window, says: str) -> None:
    """It says what there is."""
    with pytest.raises(ConfigError, match=says):
        timeline(told(1), window)


def test_a_night_of_waiting_does_not_flatten_the_rest() -> None:
    """A long pause is drawn short, and its axis says how long it was."""
    run = Told()
    run.step("s1")
    run.add("wait", "approval", 30_000, step="s2", tool="query")
    run.step("s2")
    found = timeline(run.ended())
    axis = next(iter(found)).x
    assert "⋯ 8 h 20 min ⋯" in [label for _, label in axis.ticks or ()]
    wait = next(layer for layer in layers(found, Bars) if layer.ink == "purple")
    assert wait.right[0] - wait.left[0] < 0.2 * (axis.high - axis.low)
    assert wait.words == ["8 h 20 min"]


def test_what_goes_on_reaches_to_the_end_and_is_pale() -> None:
    """A run under way has bars without an end."""
    run = Told()
    run.step("s1")
    run.all.append(Span(run="r7-abc", id=99, seq=99, parent=0, op="chat", name="critique", phase="critique", start=1.0))
    found = timeline(run.all)
    goes_on = next(layer for layer in layers(found, Bars) if layer.name == "model calls that go on")
    assert goes_on.soft
    assert goes_on.right[0] == pytest.approx(run.now, rel=0.01)
    assert "goes on" in goes_on.hover[0]


@pytest.mark.parametrize("spans", [[], told(0)[:1], told(0)])
def test_a_run_that_has_hardly_begun_has_a_figure_too(spans: list[Span]) -> None:
    """Nothing, the run alone, one call."""
    found = timeline(spans)
    assert found.text
    assert all(panel.x.high > panel.x.low for panel in found)


def test_a_run_has_a_figure_after_each_of_its_records(store: DiskStore) -> None:
    """Whatever goes on, waits, failed or was refused then."""
    lines = [plan(step("broken"), step("note", text="x")), plan(step("note", text="x")), answer()]
    agent = Agent(ScriptedModel(lines), tools=[broken, note], store=store)
    run = agent.run("note")
    assert run.status is Status.AWAITING_APPROVAL
    run.approve()
    for upto in range(len(run.events) + 1):
        for bare in (False, True):
            assert parsed(svg(timeline(spans_of(run.events[:upto], bare=bare), bare=bare))).tag.endswith("svg")


def test_a_bare_timeline_has_no_id_and_no_time_but_those_of_models() -> None:
    """So that a notebook's replay shows the same to the byte."""
    run = Told()
    run.step("s1", failed=True)
    found = timeline(run.ended(), bare=True)
    assert "r7-abc" not in found.title + found.text + found.said
    assert "in all" not in found.text
    assert "1.5 s" not in words(found)
    assert "1.0 s" in words(found)


def test_hostile_text_stays_on_its_lines() -> None:
    """Nothing that steers a terminal, and no line more than there should be."""
    run = Told()
    run.add("execute_tool", HOSTILE, 1.0, tool=HOSTILE, text=HOSTILE, failure=HOSTILE, status="failed")
    found = timeline(run.ended())
    said = found.text + words(found) + "".join(lanes(found))
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert len(words(found).splitlines()) == 2


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e4)), max_size=30), st.floats(0, 1e5), st.floats(1e-3, 1e5))
def test_time_never_runs_backwards_on_the_axis(worked: list[tuple[float, float]], start: float, length: float) -> None:
    """Whatever was done when: later lies further right, and the ends of the run are the ends of the axis."""
    stretch = stretch_of([(at, at + long) for at, long in worked], start, start + length)
    moments = sorted([start, start + length, *(start + length * n / 7 for n in range(8)), *stretch.moments])
    places = [stretch.at(moment) for moment in moments]
    assert places == sorted(places)
    axis = stretch.axis()
    assert (places[0], places[-1]) == (axis.low, axis.high)
    assert all(axis.low <= at <= axis.high for at, _ in axis.ticks or ())


@given(st.lists(st.floats(0, 100), max_size=200), st.integers(2, 50))
def test_blocks_hold_every_span_once(starts: list[float], most: int) -> None:
    """However few there may be."""
    span = told(0)[0]
    bits = [(at, at + 0.5, replace(span, seq=n)) for n, at in enumerate(sorted(starts))]
    found = fitted({"all": bits}, 100.5, most)["all"]
    assert [part.seq for block in found for part in block.spans] == list(range(len(starts)))
    assert len(found) <= max(most, 1)
