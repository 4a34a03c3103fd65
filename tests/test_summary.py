"""What a person is shown: the same numbers as the state, marks and notes of each step, and the next line to type."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, Check, ScriptedModel, Step
from agentnb.approval import Answer
from agentnb.budget import Spent, Usage
from agentnb.errors import FailureClass, ModelError
from agentnb.events import (
    Event,
    Kept,
    ModelAsked,
    ModelFailed,
    ModelReplied,
    Record,
    RunResumed,
    RunStarted,
    RunSuspended,
)
from agentnb.state import Status, fold
from agentnb.summary import Tally, summarise
from tests.parts import MemoryStore, add, answer, bind, broken, note, plan, step, table, verdict


def run(*lines: Any, **options: Any) -> Any:
    how = {"plan": options.pop("plan")} if "plan" in options else {}
    with ScriptedModel(lines, price=options.pop("price", None)) as model:
        return Agent(model, **{"tools": [add, table, broken, note], "store": MemoryStore(), **options}).run(
            "the task", **how
        )


def records(*events: Event) -> list[Record]:
    start = RunStarted(run="r1", task="t", model="m", cheap_model="c", tools={}, budget=Budget(usd=1), approve="ask")
    return [Record(seq, 0, seq / 10, event) for seq, event in enumerate([start, *events])]


def asked(phase: Any, usd: float = 0.5) -> ModelAsked:
    reserved = Spent(usd=usd, input_tokens=100, output_tokens=50, model_calls=1)
    return ModelAsked(phase=phase, model="m", key="k", attempt=1, reserved=reserved)


REPLIED = ModelReplied(text=Kept(2, "{}"), usage=Usage(10, 5), usd=0.25, seconds=2, stop="end", model="m")
MOVES: dict[str, tuple[Event, ...]] = {
    "reply": (REPLIED,),
    "billed": (ModelFailed(failure=FailureClass.TRANSIENT, message="x", seconds=1, unbilled=False),),
    "unbilled": (ModelFailed(failure=FailureClass.TRANSIENT, message="x", seconds=1, unbilled=True),),
    "crash": (RunResumed(process=1),),
    "stopped": (RunSuspended(reason="interrupted"), RunResumed(process=2)),
    "withdrawn": (RunSuspended(reason="closed", withdrawn=True), RunResumed(process=2)),
}


@settings(max_examples=200)
@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=12))
def test_the_costs_by_phase_add_up_to_what_was_spent(moves: list[str]) -> None:
    """However each call ends, crashes and withdrawals included, no token or cent is missing from the table."""
    journal = records(*[event for move in moves for event in (asked("plan"), *MOVES[move])])
    summary = summarise(journal)
    assert summary.spent == fold(journal).used()
    assert sum(phase.tokens for phase in summary.phases) == summary.spent.tokens
    assert sum(phase.usd for phase in summary.phases) == pytest.approx(summary.spent.usd)
    assert sum(phase.calls for phase in summary.phases) == summary.spent.model_calls


def test_a_summary_is_the_fold_of_the_records_at_every_place() -> None:
    """Taken in one by one, the state is that of the records so far, and a summary can be made after each."""
    it = run(plan(step("add", a=1, b="$? two")), bind(b=2), verdict(finding="it is 3"), answer("3"))
    tally = Tally()
    for place, record in enumerate(it.events, start=1):
        tally.add(record)
        assert tally.state == fold(it.events[:place])
        assert tally.summary() == summarise(it.events[:place])
    assert tally.summary() == it.summary


def test_a_finished_run_shows_answer_steps_and_costs() -> None:
    """Everything in its place."""
    it = run(
        plan(step("add", "Add them", a=1, b=2), step("table", rows=0)),
        verdict(finding="it is 3"),
        verdict(),
        answer("**3**"),
        price=lambda usage: usage.output_tokens / 1000,
    )
    shown = it.summary
    assert (shown.status, shown.output, shown.confidence, shown.reason, shown.next, shown.now) == (
        Status.COMPLETED, "**3**", "high", "", "", "",
    )  # fmt: skip
    first, second = shown.steps
    assert (first.title, first.call, first.mark, first.finding, first.note) == (
        "Add them",
        "add(a, b)",
        "done",
        "it is 3",
        "",
    )
    assert (second.mark, second.note) == ("empty", "nothing found")
    assert [phase.phase for phase in shown.phases] == ["plan", "critique", "answer"]
    assert sum(phase.usd for phase in shown.phases) == pytest.approx(it.spent.usd)
    assert sum(line.usd for line in shown.steps) == pytest.approx(shown.phases[1].usd)
    assert shown.models == ("scripted",)


def test_gauges_show_each_cap_that_is_set() -> None:
    """Used, reserved and cap, in the order of the budget; a bare summary has no clock in it."""
    it = run(
        plan(step("add", a=1, b=2)),
        verdict(),
        answer(),
        budget=Budget(usd=1, model_calls=9, seconds=60),
        price=lambda _: 0.1,
    )
    gauges = {gauge.limit: gauge for gauge in it.summary.gauges}
    assert list(gauges) == ["usd", "tokens", "model_calls", "steps", "seconds", "working_seconds"]
    assert (gauges["usd"].used, gauges["usd"].cap) == (pytest.approx(0.3), 1)
    assert (gauges["model_calls"].used, gauges["steps"].used, gauges["tokens"].used) == (3, 1, it.spent.tokens)
    bare = summarise(it.events, bare=True)
    assert [gauge.limit for gauge in bare.gauges] == ["usd", "tokens", "model_calls", "steps"]
    assert [line.seconds for line in bare.steps] == [None]
    journal = records(asked("plan"))
    reserved = {gauge.limit: gauge.reserved for gauge in summarise(journal).gauges}
    assert (reserved["usd"], reserved["tokens"]) == (0.5, 150)


def test_a_failed_step_says_why_in_one_line() -> None:
    """The first line of a long message, cut to a line of a notebook."""
    again = plan(step("broken", why="no such column\nTraceback…"))
    it = run(again, plan(step("broken", why="x" * 500)), plan(step("add", a=1, b=1)), verdict(), answer())
    shown = it.summary
    assert [line.mark for line in shown.steps] == ["failed", "failed", "done"]
    assert shown.steps[0].note == "no such column"
    assert (len(shown.steps[1].note), shown.steps[1].note[-1]) == (120, "…")
    assert len(shown.revisions) == 2


def test_a_retried_step_says_how_often() -> None:
    """While it is tried again the note has the number and the reason."""
    lines = [
        plan(step("broken", why="$? what")),
        bind(why="a"),
        bind(why="b"),
        bind(why="c"),
        *[plan(step("add", a=1, b=1))],
        verdict(),
        answer(),
    ]
    it = run(*lines)
    notes = []
    tally = Tally()
    for record in it.events:
        tally.add(record)
        if record.event.kind == "step_judged" and record.event.verdict == "retry":
            notes.append(tally.summary().steps[0].note)
    assert notes == ["retry 1 of 2: a", "retry 2 of 2: b"]


def test_who_decided_is_shown() -> None:
    """With the reason, where there is one."""
    it = run(
        plan(step("note", text="x")),
        plan(step("add", a=1, b=1)),
        verdict(),
        answer(),
        approver=lambda _: Answer("reject", "ada", "not on a Friday"),
    )
    assert it.summary.decisions == ("ada rejected s1: not on a Friday",)
    it = run(plan(step("note", text="x")), answer(), approver=lambda _: Answer("approve", "ada"))
    assert it.summary.decisions == ("ada approved s1",)


def test_what_waits_for_a_person_says_what_to_type() -> None:
    """The step is marked, and both lines are there."""
    shown = run(plan(step("note", text="x"))).summary
    assert (shown.status, shown.steps[0].mark, shown.reason) == (
        Status.AWAITING_APPROVAL,
        "waiting",
        "waits for your decision",
    )
    assert shown.next == "%agent approve r1-test   or   %agent reject r1-test WHY"


def test_what_stopped_says_why_and_how_to_go_on() -> None:
    """A limit, a provider that is down, a check that failed: each has its reason and its next line."""
    limited = run(plan(*[step("add", a=1, b=1)] * 2), verdict(), answer("half"), budget=Budget(steps=1)).summary
    assert limited.reason == "reached its limit of 1 step"
    assert limited.next == "%agent extend r1-test --steps 1"
    assert [line.mark for line in limited.steps] == ["done", "todo"]
    down = run(ModelError("down", FailureClass.PERMISSION)).summary
    assert (down.reason, down.detail, down.next) == ("the model could not be reached", "down", "%agent resume r1-test")
    wrong = run(
        answer("?"), plan=[Step(tool="add", args={"a": 1, "b": 1}, check=Check(expression="result == 3"))]
    ).summary
    assert (wrong.reason, wrong.next) == ("needs a person", "")
    garbled = run(*[("plan", "prose")] * 3).summary
    assert garbled.reason == "the model's replies could not be used"


def test_what_it_does_now_follows_the_run() -> None:
    """One short sentence for each moment, none at the end."""
    it = run(plan(step("add", a=1, b=2), step("table")), verdict(), verdict(), answer())
    tally = Tally()
    said = []
    for record in it.events:
        tally.add(record)
        said.append(tally.summary().now)
    assert list(dict.fromkeys(said)) == [
        "planning",
        "step 1 of 2: preparing add",
        "step 1 of 2: calling add",
        "step 1 of 2: checking the result",
        "step 2 of 2: preparing table",
        "step 2 of 2: calling table",
        "step 2 of 2: checking the result",
        "writing the answer",
        "",
    ]
