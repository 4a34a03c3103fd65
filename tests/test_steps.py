"""Which steps of a long plan are shown, and that a look at a run under way is the whole of it, in part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Budget, ModelReply, ModelRequest, Usage
from agentnb.course import Course
from agentnb.outline import parts
from agentnb.render import as_html, as_text
from agentnb.state import RunState
from agentnb.steps import LIVE_STEPS, Mark, around, mark_at, telling
from agentnb.summary import Summary, Tally
from agentnb.wording import marks_of
from tests.bench.zero import begin
from tests.parts import MemoryStore, add, answer, broken, plan, step, verdict

MARKS = st.lists(st.sampled_from(get_args(Mark)), max_size=200)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 40))
def test_the_present_step_is_always_among_those_around_it(present: int, total: int, most: int) -> None:
    """As many as there is room for, in one piece."""
    places = around(present, total, most)
    assert len(places) == min(total, most)
    assert present in places or present >= total


@given(MARKS, st.integers(3, 60))
def test_a_record_tells_of_beginning_end_and_failures(marks: list[Mark], most: int) -> None:
    """All of a short plan; of a long one as many as may be, the first of all, and as many failures as leave room."""
    places = telling(marks, most)
    assert places == sorted(set(places))
    reached = [place for place, mark in enumerate(marks) if mark != "todo"] or list(range(len(marks)))
    assert len(places) == min(most, len(marks)) or set(range(reached[-1] + 1)) <= set(places)
    failed = [place for place, mark in enumerate(marks) if mark == "failed"]
    assert set(failed[: most - most // 3]) <= set(places)
    if len(failed) < most - 1 and marks:
        assert {0, reached[-1]} <= set(places) or len(failed) >= most - most // 3


def walk(session: Any) -> Any:
    """At every record: the whole summary, and the glance at it."""
    tally = Tally()
    for record in session:
        tally.add(record)
        yield tally.summary(), tally.glance()


def check(whole: Summary, glance: Summary) -> None:
    assert marks_of(glance) == marks_of(whole)
    assert len(glance.steps) == min(LIVE_STEPS, len(whole.steps))
    start = glance.before.total()
    assert glance.steps == whole.steps[start : start + LIVE_STEPS]
    empty = type(glance.before)()
    assert replace(glance, steps=whole.steps, before=empty, after=empty) == whole
    if not whole.status.ended:
        assert as_text(glance) == as_text(whole)
        assert as_html(glance) == as_html(whole)


def test_a_glance_is_the_summary_in_part() -> None:
    """At every record of a run of forty steps it shows what the whole would show."""
    for whole, glance in walk(begin(MemoryStore(), 40)):
        check(whole, glance)


class Revising:
    """A model whose first plan fails at its end, and whose second is carried out."""

    ref = "scripted"

    def __init__(self) -> None:
        adds = [step("add", a=n, b=n) for n in range(20)]
        self._plans = [plan(*adds[:15], step("broken")), plan(*adds[15:], *[step("add", a=n, b=1) for n in range(9)])]

    def ask(self, request: ModelRequest) -> ModelReply:
        said = dict([verdict(finding="fine"), answer()])
        if request.phase == "plan":
            said |= [self._plans.pop(0) if self._plans else plan()]
        return ModelReply(json.dumps(said.get(request.phase, {"statements": [], "items": []})), Usage(10, 5))


def test_a_glance_counts_anew_where_a_plan_is_changed() -> None:
    """Steps that were counted in one version of the plan are not counted in the next."""
    agent = Agent(Revising(), tools=[add, broken], store=MemoryStore(), budget=Budget(steps=60, tokens=10**7))
    seen = list(walk(agent.begin("x")))
    for whole, glance in seen:
        check(whole, glance)
    assert seen[-1][0].revisions


def test_a_glance_costs_the_same_however_long_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at the steps that it shows, and at those that have ended since the last one."""
    tally, looked, most = Tally(), list[int](), 0

    def noted(state: RunState, course: Course, place: int) -> Mark:
        looked.append(place)
        return mark_at(state, course, place)

    monkeypatch.setattr("agentnb.summary.mark_at", noted)
    for record in begin(MemoryStore(), 300):
        tally.add(record)
        if record.event.kind == "step_judged":
            looked.clear()
            tally.glance()
            most = max(most, len(looked))
    assert most <= LIVE_STEPS + 1


def long_run(steps: int, failed: int = 0, reached: int = 0) -> Summary:
    """The summary of a run of so many steps; of its first `reached` events a glance, where they are given."""
    tally = Tally()
    for record in islice(begin(MemoryStore(), steps), reached or None):
        tally.add(record)
    seen = tally.glance() if reached else tally.summary()
    bad = {f"s{7 * n + 4}" for n in range(failed)}
    lines = (replace(each, mark="failed") if each.id in bad else each for each in seen.steps)
    return replace(seen, steps=tuple(lines))


def test_a_record_of_a_long_run_is_folded() -> None:
    """Head, tail and what failed; what is left out is counted, and it says how all of it is seen."""
    record = long_run(200, failed=5)
    text = as_text(record)
    assert text.count("  ✗ look at") == 5
    assert "✓ look at 0 ·" in text
    assert "✓ look at 199 ·" in text
    assert sum(int(many) for many in re.findall(r"⋮ (\d+) more steps?\n", text)) == 200 - 60
    assert f"Every step: %agent show {record.run} --all" in text
    assert f"<p>Every step: <code>%agent show {record.run} --all</code></p>" in as_html(record)
    every = as_text(record, every=True)
    assert "⋮" not in every
    assert all(f"look at {n} ·" in every for n in range(200))
    assert as_html(record, every=True).count("<li") == 200


def test_a_step_after_a_gap_has_its_number() -> None:
    """A page without styles numbers the list: it must not count what is left out as one."""
    html = as_html(long_run(100))
    assert '⋮</b> <span>40 more steps</span></li><li value="71">' in html


def test_parts_leave_out_nothing_unsaid() -> None:
    """Steps shown and steps that are counted come to all."""
    for steps in (1, 59, 60, 61, 150):
        record = long_run(steps, failed=3)
        said = parts(record, 60)
        shown = [part for part in said if not isinstance(part, str)]
        left = sum(int(part.split()[0]) for part in said if isinstance(part, str))
        assert len(shown) + left == steps


def bytes_in_notebook(summary: Summary) -> int:
    """How much longer a notebook's file becomes by the record."""
    bundle = {"text/plain": as_text(summary), "text/html": as_html(summary)}
    sizes = []
    for outputs in ([], [nbformat.v4.new_output("display_data", bundle)]):
        cell = nbformat.v4.new_code_cell("x", id="x", outputs=outputs)
        sizes.append(len(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()))
    return sizes[1] - sizes[0]


def test_a_record_of_a_thousand_steps_adds_little_to_a_notebook() -> None:
    """30 kB as a rule; at most 100, however much there is to say of each step and however many of them failed."""
    record, text = long_run(1000), "it is late " * 5000
    assert bytes_in_notebook(record) < 30_000
    full = replace(record.steps[0], title=text, call=f"query({text})", note=text, finding=text, assumes=text)
    lines = (replace(full, id=each.id, mark=("failed", "done")[int(each.id[1:]) % 2]) for each in record.steps)
    many = tuple(f"{n}: {text}" for n in range(1000))
    told = replace(record, steps=tuple(lines), decisions=many, revisions=many, undone=many)
    assert bytes_in_notebook(told) < 100_000
