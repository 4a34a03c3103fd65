"""Replies that cannot be used: the same request with what was wrong, then a simplified one, then a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Budget, ModelRequest, ScriptedModel, tool
from agentnb.errors import ConfigError
from agentnb.events import ReplyRejected, RunRetried
from agentnb.forms import ToolSpec
from agentnb.malformed import Rates, malformed_rates
from agentnb.recovery import MOST_REPLIES, layer_of
from agentnb.render import as_html, as_text
from agentnb.run import Run
from agentnb.simpler import MOST_TOOLS, fitting
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.cells import notebook_in, scripted
from tests.parts import MemoryStore, add, answer, bind, plan, step, table, verdict

OPEN = [step("add", a=1, b="$? the second number")]
GIVEN = {"bind": OPEN}
"""A plan of the user's, which no planner may change, where the arguments are what cannot be had."""
PROSE = "Let me think about it <b>first</b>."
BAD = {
    "plan": ([], ("plan", PROSE), [plan(step("add", a=1, b=2)), verdict(), answer()]),
    "bind": ([], ("bind", PROSE), [bind(b=2), verdict(), answer()]),
    "critique": ([plan(step("add", a=1, b=2))], ("critique", PROSE), [verdict(), answer()]),
    "answer": ([plan(step("add", a=1, b=2)), verdict()], ("answer", PROSE), [answer()]),
}
"""Of each phase: the replies before it, one of its that cannot be used, and those from it on that can."""


def agent_of(model: ScriptedModel, store: Any = None, **options: Any) -> Agent:
    return Agent(model, tools=[add, table], store=store or MemoryStore(), **options)


def rejected(it: Run) -> list[tuple[str, int]]:
    return [(e.phase, e.layer) for e in (r.event for r in it.events) if isinstance(e, ReplyRejected)]


def asked(model: ScriptedModel, phase: str) -> list[ModelRequest]:
    return [request for request in model.requests if request.phase == phase]


@pytest.mark.parametrize("phase", BAD)
def test_the_same_request_is_asked_with_what_was_wrong(phase: str) -> None:
    """Layer 1: in the same words, at temperature 0, with the error below them."""
    before, bad, after = BAD[phase]
    with ScriptedModel([*before, bad, *after]) as model:
        it = agent_of(model).run("x", plan=GIVEN.get(phase))
    first, second = asked(model, phase)[:2]
    assert (it.status, rejected(it)) == (Status.COMPLETED, [(phase, 1)])
    assert second.system == first.system
    assert (first.temperature, second.temperature) == (0.0, 0.0)
    assert f"the reply is not a JSON object but: {PROSE!r}" in second.prompt
    assert "not a JSON object" not in first.prompt


@pytest.mark.parametrize("phase", BAD)
def test_then_a_simplified_request_is_asked(phase: str) -> None:
    """Layer 2: a smaller form, an example, and still what was wrong; its reply is as good as any."""
    before, bad, after = BAD[phase]
    with ScriptedModel([*before, bad, bad, *after]) as model:
        it = agent_of(model).run("x", plan=GIVEN.get(phase))
    first, second, third = asked(model, phase)[:3]
    assert (it.status, rejected(it)) == (Status.COMPLETED, [(phase, 1), (phase, 1)])
    assert second.schema == first.schema or phase == "bind"
    assert len(str(third.schema)) < len(str(first.schema))
    assert len(third.system) + len(third.prompt) < len(first.system) + len(first.prompt)
    assert "not a JSON object" in third.prompt


SMALLEST = {
    "plan": {"steps": [{"tool": "add", "args": {"a": 1, "b": 2}}]},
    "bind": {"b": 2},
    "critique": {"reason": "it is there", "verdict": "continue"},
    "answer": {"answer": "3"},
}


@pytest.mark.parametrize("phase", BAD)
def test_the_simplest_reply_of_the_form_is_enough(phase: str) -> None:
    """What the smaller form leaves out has its default."""
    before, bad, after = BAD[phase]
    with ScriptedModel([*before, bad, bad, (phase, SMALLEST[phase]), *after[1:]]) as model:
        it = agent_of(model).run("x", plan=GIVEN.get(phase))
    assert (it.status, it.result("s1")) == (Status.COMPLETED, 3)


@pytest.mark.parametrize("phase", BAD)
def test_then_a_person_is_asked_and_a_hint_goes_on_from_a_fresh_object(phase: str, tmp_path: Path) -> None:
    """Layer 3: the run rests with all that was tried; another process goes on, and the model reads the hint."""
    before, bad, after = BAD[phase]
    with ScriptedModel([*before, *[bad] * MOST_REPLIES]) as model:
        it = agent_of(model, DiskStore(tmp_path)).run("x", plan=GIVEN.get(phase))
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "malformed_output")
    assert rejected(it) == [(phase, 1), (phase, 1), (phase, 2), (phase, 2)]
    assert f"in {MOST_REPLIES} replies: the reply is not a JSON object" in it.detail
    with ScriptedModel([bad, *after]) as model:
        again = agent_of(model, DiskStore(tmp_path)).runs()[0].retry("use  JSON", by="ada")
    assert "- a person says: use JSON" in model.requests[0].prompt
    assert "- a person says: use JSON" in model.requests[1].prompt, "it is kept until a reply can be used"
    assert all("- a person says" not in request.prompt for request in model.requests[2:])
    assert (again.status, again.state.hint, again.state.retried) == (Status.COMPLETED, "", False)
    assert [item.text for item in again.state.noted if item.by == "person"] == ["a person says: use JSON"]
    assert [e.by for e in (r.event for r in again.events) if isinstance(e, RunRetried)] == ["ada"]


@pytest.mark.parametrize("phase", BAD)
def test_a_hint_is_told_whole(phase: str) -> None:
    """As long as it may be, in whatever letters: the critic's prompt holds it nowhere else."""
    before, bad, after = BAD[phase]
    said = "Я" * 240 + " x " + "字" * 250
    with ScriptedModel([*before, *[bad] * MOST_REPLIES, *after]) as model:
        agent_of(model).run("x", plan=GIVEN.get(phase)).retry(said)
    assert f"- a person says: {said}" in model.requests[len(before) + MOST_REPLIES].prompt


def test_what_was_tried_is_shown_and_escaped() -> None:
    """In text and as HTML: each reply, what was wrong with it, the rates, and what to type; gone once it goes on."""
    before, bad, after = BAD["critique"]
    with ScriptedModel([*before, *[bad] * MOST_REPLIES, *after]) as model:
        agent = agent_of(model)
        it = agent.run("x")
        text, html = as_text(it.summary), as_html(it.summary)
        it.retry()
    for shown in ("4 replies in a row that could not be used", "as asked always", "simplified", "%agent retry"):
        assert shown in text
        assert shown in html
    assert "4. critique s1, simplified: 'Let me think about it <b>first</b>.'" in " ".join(text.split())
    assert "<b>first" not in html
    assert "scripted: 4 of 5 replies could not be used (80%); 2 of them to a simplified request" in " ".join(
        text.split()
    )
    assert it.summary.tried == ()
    assert it.summary.malformed == (
        "scripted: 4 of 7 replies could not be used (57%); 2 of them to a simplified request; a person was asked once",
    )


def test_a_run_whose_replies_can_be_used_says_nothing_of_them() -> None:
    """No list, no rate."""
    with ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer()]) as model:
        it = agent_of(model).run("x")
    assert it.summary.malformed == ()
    assert "could not be used" not in as_text(it.summary)


def test_rates_are_counted_by_model_over_many_runs() -> None:
    """The strong one plans badly, the cheap one judges badly; runs come one after the other."""
    records = []
    for _ in range(2):
        strong = ScriptedModel([("plan", PROSE), plan(step("add", a=1, b=2)), answer()], ref="scripted-strong")
        cheap = ScriptedModel([*[("critique", PROSE)] * 3, verdict()], ref="scripted-cheap")
        it = Agent(strong, cheap_model=cheap, tools=[add], store=MemoryStore()).run("x")
        records += it.events
    rates = malformed_rates(records)
    assert rates == {"scripted-strong": Rates(6, 2), "scripted-cheap": Rates(8, 4, 2)}
    assert rates["scripted-cheap"].rejected == 6


# ---------------------------------------------------------------------------------------------------- by hand


def waiting(phase: str, *then: Any) -> tuple[Run, ScriptedModel]:
    """A run that waits for a person in that phase, and its model with what it says after that."""
    before, bad, _ = BAD[phase]
    model = ScriptedModel([*before, *[bad] * MOST_REPLIES, *then])
    return agent_of(model).run("x", plan=GIVEN.get(phase)), model


def test_arguments_that_cannot_be_had_are_planned_around() -> None:
    """Where a planner may change its plan nobody has to wait; it is told what was wrong."""
    lines = [plan(*OPEN), *[("bind", PROSE)] * MOST_REPLIES, plan(step("add", a=1, b=2)), verdict(), answer()]
    with ScriptedModel(lines) as model:
        it = agent_of(model).run("x")
    assert (it.status, it.state.revisions) == (Status.COMPLETED, 1)
    assert "no usable arguments of s1 add in 4 replies" in asked(model, "plan")[1].prompt


def test_a_plan_by_hand() -> None:
    """It is carried out as a user's plan is, checked before anything is recorded."""
    it, model = waiting("plan", verdict(), answer("5"))
    with pytest.raises(ConfigError, match="there is no tool 'sub'"):
        it.retry(plan=[{"tool": "sub", "args": {}}])
    assert it.status is Status.SUSPENDED
    it.retry("I do it", plan=[{"tool": "add", "args": {"a": 2, "b": 3}}])
    model.done()
    assert (it.status, it.result("s1"), it.plan and it.plan.by) == (Status.COMPLETED, 5, "user")


def test_arguments_by_hand() -> None:
    """Exactly those that are open, of the right type."""
    it, model = waiting("bind", verdict(), answer())
    with pytest.raises(ConfigError, match="s1 add lacks b: give exactly those, 'a' does not fit"):
        it.retry(args={"a": 3, "b": 1})
    with pytest.raises(ConfigError, match="add cannot be called so"):
        it.retry(args={"b": "many"})
    it.retry(args={"b": 41})
    model.done()
    assert (it.status, it.result("s1")) == (Status.COMPLETED, 42)


def test_a_verdict_by_hand() -> None:
    """The critic is not asked again about that step."""
    it, model = waiting("critique", answer())
    with pytest.raises(ConfigError, match="verdict='good' is none of"):
        it.retry(verdict="good")  # type: ignore[arg-type]
    it.retry(verdict="continue")
    model.done()
    assert it.status is Status.COMPLETED


def test_an_answer_by_hand() -> None:
    """It is the run's answer."""
    it, model = waiting("answer")
    with pytest.raises(ConfigError, match="the answer is empty"):
        it.retry(answer=" ")
    it.retry(answer="It is 3.")
    model.done()
    assert (it.status, it.output) == (Status.COMPLETED, "It is 3.")
    assert it.state.finished is not None
    assert it.state.finished.by == "person"


def test_what_does_not_help_is_refused_and_nothing_is_recorded() -> None:
    """Another thing than what it lacks, a hint without end, a run that waits for nothing."""
    it, _ = waiting("plan")
    before = len(it.events)
    with pytest.raises(ConfigError, match="lacks its plan: give plan=, or a hint, instead of answer"):
        it.retry(answer="3")
    with pytest.raises(ConfigError, match=r"the hint has 2,000 characters, 500 are allowed"):
        it.retry("x" * 2000)
    assert len(it.events) == before
    it.cancel()
    with pytest.raises(ConfigError, match="waits for no help but is cancelled"):
        it.retry()


def test_a_resume_tries_again_too_and_asks_the_model_anew(tmp_path: Path) -> None:
    """Not the prompt cache, which has the replies that could not be used; once one can be used, it is asked again."""
    store = DiskStore(tmp_path)
    before, bad, after = BAD["critique"]

    def model(*lines: Any) -> ScriptedModel:
        return ScriptedModel(lines, ref="other:model", price=lambda _: 0.0)

    with model(*before, *[bad] * (MOST_REPLIES - 1)) as first:  # the same question again gets the same reply
        it = Agent(first, tools=[add], store=tmp_path).run("x")
    with model(*after) as second:
        again = Agent(second, tools=[add], store=tmp_path).resume(it.id)
    assert (again.status, again.spent.model_calls) == (Status.COMPLETED, 1 + (MOST_REPLIES - 1) + 2)
    assert store.runs() == [it.id]


def test_a_stopped_run_without_a_usable_answer_hands_over_what_there_is() -> None:
    """A limit has brought it to its end: nobody is asked to mend its partial answer."""
    lines = [*[plan(step("add", a=1, b=1), step("table"))] * 2, verdict(finding="it is 2"), *[("answer", PROSE)] * 4]
    with ScriptedModel(lines) as model:
        it = agent_of(model, budget=Budget(steps=1)).run("x")
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "steps", "- add: it is 2")
    assert "no usable answer in 4 replies" in it.detail


def test_the_line_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell ends with what happened and what to type; `%agent retry RUN HINT` takes the hint as it stands."""
    with notebook_in(tmp_path, monkeypatch) as cells:
        cells.names["model"] = model = scripted(
            *[("plan", PROSE)] * MOST_REPLIES, plan(step("add", a=1, b=2)), verdict(), answer("3")
        )
        what, todo = cells.error("it --model model --tools add")
        run = cells.names["it"].id
        assert what.startswith(
            f"agentnb: {run} rests: the model's replies could not be used, no usable plan in 4 replies"
        )
        assert todo == f"go on with %agent retry {run} HINT or %agent cancel {run}"
        cells.line(f"retry {run} don't write prose: it isn't JSON")
        assert "a person says: don't write prose: it isn't JSON" in model.requests[-3].prompt
        assert (cells.names["it"].status, cells.names["it"].output) == (Status.COMPLETED, "3")
        assert "run retried" in cells.line(f"replay {run}")


# ---------------------------------------------------------------------------------------------------- the parts


def test_layers() -> None:
    """Two replies to each request."""
    assert [layer_of(rejected) for rejected in range(MOST_REPLIES)] == [1, 1, 2, 2]


@given(st.lists(st.sampled_from(["read", "mail", "rank", "store"]), min_size=1, max_size=12), st.text(max_size=60))
def test_few_tools_and_among_them_those_that_are_named(names: list[str], wanted: str) -> None:
    """At most four, in their own order, the named ones first."""
    tools = [ToolSpec(f"{name}_{n}", f"{name} things", {}) for n, name in enumerate(names)]
    named = {tools[-1].name}
    few = fitting(wanted, tools, named)
    assert len(few) == min(len(tools), MOST_TOOLS)
    assert [tools.index(one) for one in few] == sorted(tools.index(one) for one in few)
    assert tools[-1] in few


def test_the_simplified_plan_has_the_tools_that_fit_the_task() -> None:
    """Of many tools those whose name or description shares words with the task."""

    def made(name: str) -> Any:
        def act(x: int) -> int:
            return x

        act.__doc__ = f"Work with {name} data.\n\nArgs:\n    x: a number."
        return tool(effect="read", name=f"get_{name}")(act)

    names = ["apples", "pears", "plums", "figs", "dates", "limes"]
    lines = [*[("plan", PROSE)] * 2, plan(step("get_limes", x=1)), verdict(), answer()]
    with ScriptedModel(lines) as model:
        Agent(model, tools=[made(name) for name in names], store=MemoryStore()).run("How many limes are there?")
    first, _, third = asked(model, "plan")
    assert all(f"get_{name}(" in first.system for name in names)
    assert "get_limes(" in third.prompt
    assert sum(f"get_{name}(" in third.prompt for name in names) == MOST_TOOLS
