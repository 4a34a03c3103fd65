"""Stops: a run in a circle is told once and then stopped, exactly at the policy's numbers; one that learns never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Budget, ScriptedModel, Stops, tool
from agentnb.errors import ConfigError
from agentnb.events import LoopNoticed
from agentnb.run import Run
from agentnb.state import Status
from agentnb.stops import NO_STOPS, REMEMBERED, Loop, Seen, loop_in
from tests.cells import notebook_in
from tests.parts import NOTES, MemoryStore, add, answer, broken, note, plan, step, table, verdict

CALLS = st.lists(st.sampled_from("abcd"), max_size=40)


def walked(
    stops: Stops, calls: str | list[str], *, facts: list[str] | None = None
) -> tuple[list[tuple[int, str]], str]:
    """(place, what) of each thing that the planner is told, up to the one that stops the run, which is given apart."""
    seen, told = Seen(), list[tuple[int, str]]()
    for place, call in enumerate(calls):
        seen = seen.taking(call, [facts[place]] if facts else [call])
        if loop := loop_in(stops, seen):
            if loop.again:
                return told, f"{loop.what} at {place}"
            told.append((place, loop.what))
            seen = seen.noticed(loop.what)
            assert loop_in(stops, seen) is None  # nothing is said twice of one step
    return told, ""


@pytest.mark.parametrize(
    ("calls", "told", "stopped"),
    [
        ("a", [], ""),
        ("abcd", [], ""),
        ("aa", [(1, "same_call")], ""),
        ("aaa", [(1, "same_call")], "same_call at 2"),
        ("aba", [(2, "same_call")], ""),
        ("abab", [(2, "same_call")], "cycle at 3"),
        ("abcabc", [(3, "same_call")], "same_call at 4"),
        ("abacadb", [(2, "same_call")], "same_call at 4"),
    ],
)
def test_the_same_call_is_told_once_and_then_stops(calls: str, told: list[tuple[int, str]], stopped: str) -> None:
    """Whichever call of the run it repeats; a circle that it closes is called one."""
    assert walked(Stops(), calls) == (told, stopped)


@pytest.mark.parametrize(
    ("calls", "told", "stopped"),
    [
        ("abab", [(3, "cycle")], ""),
        ("ababa", [(3, "cycle")], "cycle at 4"),
        ("abcabc", [(5, "cycle")], ""),
        ("abcabca", [(5, "cycle")], "cycle at 6"),
        ("aabaab", [(5, "cycle")], ""),
        ("aaaaaaa", [], ""),
        ("abcdabcdabcd", [], ""),
        ("abcbabcd", [], ""),
    ],
)
def test_circles_alone(calls: str, told: list[tuple[int, str]], stopped: str) -> None:
    """With the other rules off: two or three calls in turn, gone round twice."""
    assert walked(Stops(repeats=None, no_progress=None), calls) == (told, stopped)


@given(CALLS, st.integers(2, 5))
def test_repeats_are_counted_exactly(calls: list[str], repeats: int) -> None:
    """Told at the first call that was made so often with the same result, stopped at the next one of them."""
    due = [n for n, call in enumerate(calls) if calls[: n + 1].count(call) >= repeats]
    told, stopped = walked(Stops(repeats=repeats, cycles=None, no_progress=None), calls)
    assert told == [(n, "same_call") for n in due[:1]]
    assert stopped == (f"same_call at {due[1]}" if len(due) > 1 else "")


@given(CALLS, st.integers(2, 4))
def test_circles_are_found_exactly(calls: list[str], longest: int) -> None:
    """At each place where the last calls are a circle gone round twice, and at no other."""

    def closes(place: int) -> bool:
        here = calls[: place + 1]
        sizes = [size for size in range(2, longest + 1) if len(here) >= 2 * size]
        return any(here[-size:] == here[-2 * size : -size] and len({*here[-size:]}) > 1 for size in sizes)

    due = [n for n in range(len(calls)) if closes(n)]
    told, stopped = walked(Stops(repeats=None, cycles=longest, no_progress=None), calls)
    assert told == [(n, "cycle") for n in due[:1]]
    assert stopped == (f"cycle at {due[1]}" if len(due) > 1 else "")


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6))
def test_steps_without_a_new_fact_are_counted_exactly(new: list[bool], most: int) -> None:
    """Told after so many in a row, stopped after as many more in a row, whatever the calls were."""
    facts = ["old", *(f"new {n}" if fresh else "old" for n, fresh in enumerate(new))]
    calls = [str(n) for n in range(len(facts))]
    told, stopped = walked(Stops(repeats=None, cycles=None, no_progress=most), calls, facts=facts)
    idle, places = 0, list[int]()
    for place, fresh in enumerate(new, start=1):
        idle = 0 if fresh else idle + 1
        if idle == most:
            places, idle = [*places, place], 0
    assert told == [(n, "no_progress") for n in places[:1]]
    assert stopped == (f"no_progress at {places[1]}" if len(places) > 1 else "")


@given(st.lists(st.sampled_from(["fact", "acted", "level"]), max_size=200))
def test_a_run_that_gets_on_is_never_stopped(how: list[str]) -> None:
    """New facts, calls that act, and a critic who becomes surer or less sure are all progress."""
    seen, level = Seen().taking("first", ["nothing"], level="high"), "high"
    for place, kind in enumerate(how):
        level = {"low": "high", "high": "low"}[level] if kind == "level" else level
        facts = [f"fact {place}"] if kind == "fact" else ["nothing"]
        seen = seen.taking(f"call {place}", facts, level=level, acted=kind == "acted")
        assert loop_in(Stops(no_progress=1), seen) is None


@given(st.integers(0, 400))
def test_what_is_remembered_stays_small(steps: int) -> None:
    """However long the run; and what the planner was told is forgotten after many steps without a notice."""
    seen = Seen().taking("x").noticed("same_call")
    for n in range(steps):
        seen = seen.taking(f"call {n}", [f"result {n}", f"finding {n}"])
    assert len(seen.calls) <= REMEMBERED
    assert len(seen.facts) <= 2 * REMEMBERED
    assert bool(seen.told) is (steps <= REMEMBERED)


def test_a_step_that_made_no_call_repeats_none() -> None:
    """What a person refused was not called: an earlier call is not taken for it."""
    seen = Seen().taking("a").taking("")
    assert loop_in(Stops(), seen) is None
    assert loop_in(Stops(), seen.taking("a")) == Loop("same_call", 2, again=False)


@pytest.mark.parametrize(
    "wrong", [{"repeats": 1}, {"cycles": 9}, {"no_progress": 0}, {"repeats": True}, {"cycles": 2.5}]
)
def test_numbers_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """With the range, and how to switch the rule off."""
    with pytest.raises(ConfigError, match=f"stops {next(iter(wrong))}=.* from .* None for never"):
        Stops(**wrong)


def test_rules_as_text() -> None:
    """As a flag has them; an odd one is named."""
    assert Stops.of("repeats=3, cycles=none,no-progress=8") == Stops(repeats=3, cycles=None, no_progress=8)
    assert Stops.of("none") == NO_STOPS
    with pytest.raises(ConfigError, match="'loops=3' names no rule"):
        Stops.of("loops=3")


# ---------------------------------------------------------------------------------------------------- runs


def run(*lines: Any, given: Any = None, **options: Any) -> Run:
    with ScriptedModel(lines) as model:
        agent = Agent(model, tools=[add, table, broken, note], store=MemoryStore(), **options)
        return agent.run("the task", plan=given)


def noticed(it: Run) -> list[tuple[str, str, str]]:
    return [(e.step, e.what, e.then) for e in (r.event for r in it.events) if isinstance(e, LoopNoticed)]


def test_a_planner_that_repeats_itself_is_told_why_and_then_stopped() -> None:
    """The nudge is a revision with its reason; the stop hands over a partial answer with its own reason."""
    failing = plan(step("broken"))
    with ScriptedModel([failing, failing, failing, answer("nothing worked")]) as model:
        it = Agent(model, tools=[broken], store=MemoryStore()).run("x")
    assert "s2 made the same call of broken for the second time, with the same result" in model.requests[2].prompt
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "loop", "nothing worked")
    assert noticed(it) == [("s2", "same_call", "revise"), ("s3", "same_call", "stop")]
    assert it.detail == "s3 made the same call of broken for the third time, with the same result"
    assert it.summary.reason == "it made the same call again and again"


def test_a_call_that_worked_counts_too() -> None:
    """The rest of the plan is planned anew; nothing is said where nothing is left."""
    it = run(plan(step("add", a=1, b=2), step("add", a=1, b=2), step("table")), verdict(), verdict(),
             plan(step("table")), verdict(), answer())  # fmt: skip
    assert (it.status, noticed(it)) == (Status.COMPLETED, [("s2", "same_call", "revise")])
    ended = run(plan(step("add", a=1, b=2), step("add", a=1, b=2)), verdict(), verdict(), answer())
    assert (ended.status, noticed(ended)) == (Status.COMPLETED, [])


def test_a_circle_has_its_own_reason() -> None:
    """Two calls in turn; the answer is written from what there is."""
    two = [step("add", a=1, b=2), step("table")]
    it = run(plan(*two, *two, *two), *[verdict()] * 4, plan(*two), verdict(), answer("half"), stops=Stops(repeats=None))
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "cycle", "half")
    assert noticed(it) == [("s4", "cycle", "revise"), ("s5", "cycle", "stop")]


def test_nothing_new_for_some_steps_is_diminishing_returns() -> None:
    """Other calls, the same empty table: told after three such steps, stopped after three more."""

    @tool(effect="read")
    def search(word: str) -> list[str]:
        """Search.

        Args:
            word: for what.
        """
        return [word][1:]

    found = [step("search", word=f"w{n}") for n in range(8)]
    lines = [plan(*found), *[verdict()] * 4, plan(*found[4:]), *[verdict()] * 3, answer("nothing")]
    with ScriptedModel(lines) as model:
        it = Agent(model, tools=[search], store=MemoryStore(), stops=Stops(no_progress=3)).run("x")
    assert (it.status, it.stop_reason) == (Status.STOPPED, "diminishing_returns")
    assert noticed(it) == [("s4", "no_progress", "revise"), ("s7", "no_progress", "stop")]
    assert it.detail == "the last 3 steps, up to s7, brought no new fact"


def test_findings_and_calls_that_act_are_progress() -> None:
    """What the critic learned anew counts, and so does each call that changed something."""
    same = [step("table", rows=0)] * 3
    it = run(plan(*same), *[verdict(finding=f"{n}") for n in range(3)], answer(),
             stops=Stops(repeats=None, cycles=None, no_progress=1))  # fmt: skip
    assert it.status is Status.COMPLETED
    NOTES.clear()
    acting = run(plan(*[step("note", text=f"{n}") for n in range(4)]), answer(),
                 stops=Stops(no_progress=1), approve="auto")  # fmt: skip
    assert acting.status is Status.COMPLETED


def test_a_plan_of_the_users_may_repeat_itself() -> None:
    """Nobody but the planner chooses a call anew."""
    it = run(*[verdict()] * 5, answer(), given=[step("add", a=1, b=2)] * 5)
    assert (it.status, noticed(it)) == (Status.COMPLETED, [])


@pytest.mark.parametrize("off", [None, Stops(repeats=None, cycles=None, no_progress=None)])
def test_each_rule_can_be_switched_off(off: Stops | None) -> None:
    """Then only the budget and the number of revisions end it."""
    it = run(*[plan(step("broken"))] * 4, answer(), stops=off)
    assert (it.stop_reason, noticed(it)) == ("escalated", [])


def test_a_person_lets_a_stopped_run_go_on_with_a_hint() -> None:
    """It is planned anew with their word, told once more before it is stopped, and what was done stays."""
    store, failing = MemoryStore(), plan(step("broken"))
    lines = [failing, failing, failing, answer("no"), plan(step("add", a=1, b=1)), verdict(), answer("2")]
    with ScriptedModel(lines) as model:
        agent = Agent(model, tools=[add, broken], store=store)
        it = agent.run("x")
        assert it.summary.next == f"%agent retry {it.id} HINT"
        it.retry("use add")
    assert "a person says: use add" in model.requests[4].prompt
    assert (it.status, it.output, len(it.state.outcomes)) == (Status.COMPLETED, "2", 4)
    assert [item.text for item in it.state.noted if item.by == "person"] == ["a person says: use add"]
    with pytest.raises(ConfigError, match="waits for no help but is completed"):
        it.retry("again")


def test_it_is_planned_anew_also_where_a_limit_cut_its_answer_short() -> None:
    """More room gives the answer of the run that was stopped; a hint after that goes to the planner all the same."""
    failing = plan(step("broken"), step("table"))
    lines = [failing, failing, failing, ("answer", "prose"), answer("nothing worked")]
    with ScriptedModel([*lines, plan(step("add", a=1, b=1)), verdict(), answer("2")]) as model:
        agent = Agent(model, tools=[add, table, broken], store=MemoryStore(), budget=Budget(model_calls=4))
        it = agent.run("x")
        assert (it.stop_reason, it.state.no_answer is not None) == ("loop", True)
        it.extend(model_calls=10)
        assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "loop", "nothing worked")
        it.retry("use add")
    assert (it.status, it.output) == (Status.COMPLETED, "2")


def test_a_fork_begins_with_a_clean_slate() -> None:
    """What went round in circles is another run's matter; the rules are those of the agent that forks."""
    failing = plan(step("broken"))
    with ScriptedModel([failing, failing, failing, answer("no"), plan(step("table")), verdict(), answer("3")]) as model:
        agent = Agent(model, tools=[broken, table], store=MemoryStore())
        it = agent.run("x")
        other = Agent(model, tools=[broken, table], store=agent.store, stops=Stops(repeats=3)).fork(it.id, "s3")
    assert (other.status, other.state.head.stops) == (Status.COMPLETED, Stops(repeats=3))
    assert [e.step for e in (r.event for r in other.events) if isinstance(e, LoopNoticed)] == ["s2"]  # the shared one


def test_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--stops` of a cell is what the run begins with."""
    with notebook_in(tmp_path, monkeypatch) as cells:
        cells.names["model"] = ScriptedModel([*[plan(step("broken"))] * 4, answer()])
        cells.names["broken"] = broken
        cells.cell("it --model model --tools broken --stops none", "do it")
        assert cells.names["it"].state.head.stops == NO_STOPS
        assert "'loops=3' names no rule" in "".join(cells.error("it --model model --stops loops=3"))
        assert "--stops repeats=0 is no whole number" in cells.error("it --model model --stops repeats=0")[0]
