"""The trace of a run: a tree and rows, from its records alone."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings

from agentnb.agent import Agent
from agentnb.errors import ConfigError, FailureClass, ToolFailure
from agentnb.models.scripted import ScriptedModel
from agentnb.notebook.viewing import Shelf
from agentnb.plan import Step
from agentnb.redact import Redactor
from agentnb.run import Run
from agentnb.seen import Seen
from agentnb.spans import Spans, spans_of
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from agentnb.trace_lines import kept
from agentnb.wording import money, number
from tests.conftest import FakeClock
from tests.parts import add, answer, bind, note, plan, step, table, verdict
from tests.test_decide import Walk, walks
from tests.test_family import three_deep


@settings(max_examples=150, deadline=None)
@given(walks())
def test_the_spans_of_any_run_are_a_tree_whose_bill_is_the_runs(walk: Walk) -> None:
    """A parent begins before its parts and spans do not end before they begin; dollars are those of the state."""
    spans = spans_of(walk.records)
    assert [span.id for span in spans] == list(range(len(spans)))
    for span in spans[1:]:
        assert span.parent is not None
        assert span.parent < span.id
        assert span.end is None or span.end >= span.start
        assert spans[span.parent].start <= span.start
    assert all(span.end is not None for span in spans if span.op in ("plan", "step", "summarise", "answer"))
    usd = sum(span.usd for span in spans if span.op in ("chat", "invoke_agent") and span.model + span.child)
    assert usd - spans[0].usd == pytest.approx(walk.state.spent.usd, abs=1e-9)
    assert spans[0].status == walk.state.status.value


@settings(max_examples=60, deadline=None)
@given(walks())
def test_spans_can_be_taken_in_one_record_at_a_time(walk: Walk) -> None:
    """After each record they are those of the records so far, so that whoever follows a run needs no second reading."""
    taken = Spans()
    for n, record in enumerate(walk.records, start=1):
        taken.add(record)
        if n % 7 == 0:
            assert tuple(taken.all) == spans_of(walk.records[:n])


def flaky(times: int) -> Tool:
    """A tool that fails so often before it works."""
    failed: list[int] = []

    @tool(effect="read")
    def fetch(x: int) -> int:
        """Fetch.

        Args:
            x: what.
        """
        if len(failed) < times:
            failed.append(x)
            raise ToolFailure("busy", FailureClass.TRANSIENT)
        return x

    return fetch


@pytest.fixture
def run(store: DiskStore, fake_clock: FakeClock) -> Run:
    """A run with a retry, an approval and a bound argument."""
    model = ScriptedModel(
        [plan(step("fetch", x=1), step("note", text="$? what was fetched")), verdict(), bind(text="one"), answer()]
    )
    agent = Agent(model, tools=[flaky(1), note], store=store, clock=fake_clock.clock(), sleep=fake_clock.sleep)
    return agent.run("fetch it and keep a note").approve(by="ada")


def test_each_try_each_question_and_each_decision_is_told(run: Run) -> None:
    """In the order in which they were, inside the step that they belong to."""
    trace = run.trace
    assert trace.root is not None
    said = [(span.op, span.name, span.status) for span in trace["s1"]]
    assert said[:4] == [
        ("step", "s1 fetch", "ok"),
        ("execute_tool", "fetch", "failed"),
        ("backoff", "backoff", "ok"),
        ("execute_tool", "fetch", "ok"),
    ]
    wait = next(span for span in trace if span.op == "wait")
    assert (wait.name, wait.status, wait.by, wait.step) == ("approval", "approve", "ada", "s2")
    failed = next(span for span in trace if span.status == "failed")
    assert (failed.failure, failed.text, failed.attempt) == ("transient", "busy", 1)
    assert [span.op for span in trace.parts(trace.root)] == ["plan", "step", "step", "rest", "answer", "decision"]


def test_prompts_are_made_again_to_the_byte(run: Run) -> None:
    """No record holds them: what the trace shows is what the model was sent."""
    sent = run.keeper.lineup.model.requests  # type: ignore[attr-defined]
    chats = [span for span in run.trace if span.op == "chat" and span.phase != "assess"]  # which is not scripted
    assert len(chats) == len(sent) > 3
    assert [run.trace.input(span) for span in chats] == [f"{request.system}\n\n{request.user}" for request in sent]
    assert json.loads(run.trace.output(chats[0]) or "")["steps"][0]["tool"] == "fetch"


def test_a_prompt_that_would_be_another_now_is_not_shown(run: Run, store: DiskStore) -> None:
    """Another tool, another model: what was asked cannot be had, and nothing is made up."""
    other = Agent(ScriptedModel([]), tools=[table], store=store)
    chats = [span for span in Run(other, run.id).trace if span.op == "chat"]
    assert [Run(other, run.id).trace.input(span) for span in chats] == [None] * len(chats)
    calls = [span for span in Run(other, run.id).trace if span.op == "execute_tool"]
    assert Run(other, run.id).trace.input(calls[0]) == '{"x": 1}'


def test_rows_make_a_frame(run: Run) -> None:
    """One row a span, with units in the names."""
    frame = run.trace.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == len(run.trace)
    tools = frame[frame.op == "execute_tool"]
    assert list(tools.tool) == ["fetch", "fetch", "note"]
    assert list(tools.output)[:2] == ["busy", "1"]
    assert str(frame["at"].dt.tz) == "UTC"
    with pytest.raises(ConfigError, match="no backend 'excel'"):
        run.trace.to_frame("excel")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="polars is not installed"):
        run.trace.to_frame("polars")


def test_the_tree_is_read_as_text_and_as_html(run: Run) -> None:
    """What went wrong is named in words, and marked by more than a colour."""
    text = repr(run.trace)
    assert "✗ fetch(x=1)" in text
    assert "failed: busy" in text
    assert "waits for a person: approval" in text
    html = run.trace._repr_html_()
    assert 'aria-label="failed"' in html
    assert "<script" not in html
    assert "characters before …" in html, "the end of a prompt can be unfolded"


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "\u202ecod", "\x1b[2Jcod"])
def test_hostile_text_is_escaped(store: DiskStore, hostile: str) -> None:
    """From a task, a title, an argument, a result."""
    agent = Agent(ScriptedModel([answer(hostile)]), tools=[note], store=store, approve="auto")
    run = agent.run(hostile, plan=[Step(tool="note", args={"text": hostile}, title=hostile)])
    html = run.trace._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert not {*"\x1b\u202e"} & {*html, *repr(run.trace)}


def test_a_long_run_is_told_in_short(store: DiskStore) -> None:
    """Its beginning, its end and what went wrong; how much is left out is said."""
    agent = Agent(ScriptedModel([answer()]), tools=[add], store=store)
    steps = [Step(tool="add", args={"a": n, "b": 1}, check={"non_empty": True}) for n in range(20)]  # type: ignore[arg-type]
    trace = agent.run("add", plan=steps).trace
    assert len(trace) > 60
    assert len(repr(trace).splitlines()) <= 63
    assert "more spans" in repr(trace)


def test_a_fork_is_not_charged_with_what_it_shares(store: DiskStore) -> None:
    """Neither with its model calls, nor with those of runs inside it: the sums are those of the run."""
    run = three_deep(store)
    fork = run.fork("s2")
    for one in (run, fork):
        trace = one.trace
        found = sum(row["usd"] for row in trace.rows() if row["op"] == "chat")
        assert found == pytest.approx(one.spent.usd)
        total = repr(trace).splitlines()[2]
        assert number(one.spent.tokens) in total
        assert money(one.spent.usd) in total
    assert fork.spent.usd < run.spent.usd / 2


def test_a_replay_shows_no_id_of_another_run(store: DiskStore) -> None:
    """Of the run that it was forked from, or that it is inside of: each replay has another."""
    run = three_deep(store)
    shelf = Shelf(store, Redactor(), replaying=True, tools={}, models=[])
    for one in (run.fork("s2"), *run.children):
        seen = Seen(shelf, one.id)
        shown = [repr(seen.trace), seen.trace.as_html(), repr(seen.why("s1")), seen.informed.mermaid]
        shown += [seen.timeline().svg, str(seen.timeline()), str(seen.graph().to_dict()), str(seen.trace.rows())]
        for text in shown:
            assert re.search(r"\br\d+-[a-z]+\b", text) is None


def test_what_is_left_out_is_counted() -> None:
    """And what went wrong is kept as long as there is room."""
    wrong = [n in (50, 51, 70) for n in range(100)]
    found = kept(wrong, 30)
    assert found[:10] == list(range(10))
    assert found[-10:] == list(range(90, 100))
    assert found[10:-10] == [-40, 50, 51, -18, 70, -19]
    assert kept(wrong, 100) == list(range(100))


def test_a_moment_of_the_run_shows_what_went_on(run: Run) -> None:
    """What was under way then, with all that it is a part of."""
    wait = next(span for span in run.trace if span.op == "wait")
    found = run.trace.between(wait.at, wait.at + 0.001)
    assert wait in list(found)
    assert [span.op for span in found][:1] == ["invoke_agent"]
    assert not run.trace.between(0, 1)


def test_a_time_of_the_day_is_that_of_the_run(run: Run) -> None:
    """Whenever it is looked at; the minute is taken whole, and what is outside says from when to when it went."""
    began = dt.datetime.fromtimestamp(1_000_000)  # noqa: DTZ006 - as a person types it
    assert len(run.at(f"{began:%H:%M}")) == len(run.trace)
    assert len(run.at(f"{began:%Y-%m-%d %H:%M}")) == len(run.trace)
    assert run.at(began)[0].op == "invoke_agent"
    with pytest.raises(ConfigError, match=r"nothing went on in r\d+-\w+ at 1971-01-01: it was at work from 1970-01-"):
        run.at("1971-01-01")


def test_a_number_is_seconds_on_the_clock_of_the_run(run: Run) -> None:
    """As in its timeline; what is outside, and what is no time at all, is said to be so."""
    wait = next(span for span in run.trace if span.op == "wait")
    assert run.at(0)[0].op == run.at(0.0)[0].op == "invoke_agent"
    assert wait in list(run.at(wait.start))
    for outside in (-1, 1e9, float("nan")):
        with pytest.raises(ConfigError, match=r"nothing went on in r\d+-\w+ at .* seconds: its clock went from 0 to "):
            run.at(outside)
    nothing: Any
    for nothing in (None, b"15:47", []):
        with pytest.raises(ConfigError, match="is no time: give a date like"):
            run.at(nothing)


def test_the_runs_inside_a_run_stand_where_they_were_called(store: DiskStore) -> None:
    """Their clocks go on from the call, and dollars are counted once."""
    inner = Agent(ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer("three")]), tools=[add], store=store)
    model = ScriptedModel([plan(step("adder", task="add 1 and 2")), verdict(), answer()])
    outer = Agent(model, tools=[inner.as_tool("adder", "Adds numbers.")], store=store)
    trace = outer.run("add them").trace
    child = next(span for span in trace if span.child)
    parts = list(trace.parts(child))
    assert [span.op for span in parts] == ["plan", "step", "answer", "decision"]
    assert all(span.run == child.child and span.start >= child.start for span in parts)
    assert trace.depth(parts[0]) == trace.depth(child) + 1
    assert [span.op for span in trace["s1"]].count("step") == 2
    assert "adder" in repr(trace)


def test_a_step_that_is_not_there_is_named_with_those_that_are(run: Run) -> None:
    """As a mapping would."""
    with pytest.raises(KeyError, match="s9"):
        run.trace["s9"]
