"""Plans that cannot be carried out: each flaw is found by code before anything runs, and sent back with the list."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Budget, ScriptedModel, tool
from agentnb.budget import Spent
from agentnb.errors import ConfigError
from agentnb.events import PlanMade, ReplyRejected
from agentnb.feasible import needs_problems, over_budget, path_problems
from agentnb.plan import Check, Step, numbered, resting_on
from agentnb.render import as_html, as_text
from agentnb.run import Run
from agentnb.state import NEW, Status
from agentnb.tools import Tool, toolbox
from tests.parts import MemoryStore, add, answer, note, plan, step, table, verdict


@dataclass
class Shop:
    """A shop."""

    name: str
    manager: dict[str, str]


@tool(effect="read")
def shops() -> list[Shop]:
    """All shops."""
    return [Shop("north", {"name": "Ada"})]


@tool(effect="read")
def best(of: str = "sales") -> tuple[str, float] | None:
    """The best shop and its number.

    Args:
        of: what.
    """
    return of, 1.0


@tool(effect="read")
def anything() -> Any:
    """Anything."""
    return {}


@tool(effect="read")
def say(what: Any) -> str:
    """Say it.

    Args:
        what: it.
    """
    return str(what)


TOOLS = toolbox([add, table, shops, best, anything, say, note])


def sent_back(*steps: dict[str, Any], **options: Any) -> tuple[str, ...]:
    """What the planner is told of that plan; () where it is carried out."""
    lines = [plan(*steps), *[plan(step("add", a=1, b=1))], verdict(), answer()]
    model = ScriptedModel(lines)
    it = Agent(model, tools=TOOLS.values(), store=MemoryStore(), **options).run("x", dry_run=True)
    found = [e for e in (r.event for r in it.events) if isinstance(e, ReplyRejected)]
    assert all(problem[:200] in model.requests[1].prompt for one in found for problem in one.problems[:6])
    return found[0].problems if found else ()


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step("subtract", a=1)], "s1: there is no tool 'subtract'"),
        ([step("add", a=1, c=2)], "s1 add: "),
        ([step("add", a="$s2", b=1), step("add", a=1, b=1)], "s1 needs s2, which is not an earlier step"),
        ([step("add", a="$s1", b=1)], "s1 needs s1, which is itself"),
        ([{**step("add", a=1, b=1), "depends_on": ["s7"]}], "s1 needs s7, which no step gives"),
        (
            [{**step("add", a=1, b=1), "depends_on": ["s2"]}, {**step("add", a=1, b=1), "depends_on": ["s1"]}],
            "s1 needs s2, which is not an earlier step and needs this one: a cycle",
        ),
        ([step("shops"), step("say", what="$s1.name")], "$s1.name cannot be: $s1 is a list, and has no name"),
        ([step("shops"), step("say", what="$s1[0].owner")], "$s1[0] is an object with name, manager, and has no owner"),
        ([step("add", a=1, b=1), step("say", what="$s1.sum")], "$s1.sum cannot be: $s1 is a number, and has no parts"),
        ([step("best"), step("say", what="$s1[2]")], "$s1 is a list of 2, and has no item 2"),
        ([step("best"), step("say", what="$s1[0].x")], "$s1[0] is a text, and has no parts"),
    ],
)
def test_a_plan_with_a_flaw_is_sent_back_with_it(steps: list[dict[str, Any]], said: str) -> None:
    """Unknown tools and arguments, references that nothing meets, cycles, parts that cannot be there."""
    assert any(said in problem for problem in sent_back(*steps)), sent_back(*steps)


@pytest.mark.parametrize(
    "what",
    ["$s1", "$s1[0]", "$s1[0].name", "$s1[7].manager.name", "$s1[0].manager.whatever", "$? about $s1.owner", "$$s1.x"],
)
def test_what_may_be_there_is_not_refused(what: str) -> None:
    """A longer list, a mapping's keys, an open argument, a literal: code cannot know."""
    steps = numbered([Step(tool="shops"), Step(tool="say", args={"what": what})])
    assert path_problems(steps, TOOLS) == []


def test_a_tool_that_does_not_say_what_it_gives_is_trusted() -> None:
    """No annotation, Any, or a type without a schema: whatever path."""

    def bare():  # type: ignore[no-untyped-def] # noqa: ANN202 - that is the case
        """Nothing is said."""

    def odd() -> threading.Thread:
        """A type without a schema."""
        return threading.current_thread()

    tools = {**TOOLS, **toolbox([tool(effect="read")(bare), tool(effect="read")(odd)])}
    for name in ("anything", "bare", "odd"):
        steps = numbered([Step(tool=name), Step(tool="say", args={"what": "$s1.rows[3].x"})])
        assert path_problems(steps, tools) == []


def test_a_finished_steps_result_is_looked_at_too() -> None:
    """A revision may refer to it."""
    done = numbered([Step(tool="shops")])
    steps = numbered([Step(tool="say", args={"what": "$s1[0].owner"})], after=1)
    assert path_problems(steps, TOOLS, done) != []
    assert needs_problems(steps, ["s1"]) == []


def test_a_users_plan_is_held_to_the_same() -> None:
    """Before anything is recorded."""
    store = MemoryStore()
    with pytest.raises(ConfigError, match=r"\$s1\[0\] is an object with name, manager, and has no owner"):
        Agent(ScriptedModel([]), tools=[shops, say], store=store).run(
            "x", plan=[step("shops"), step("say", what="$s1[0].owner")]
        )
    assert store.runs() == []


EDGES = st.lists(st.lists(st.integers(1, 6), max_size=3), min_size=1, max_size=6)


@given(EDGES)
def test_no_plan_that_is_let_has_a_cycle(edges: list[list[int]]) -> None:
    """Whatever steps are said to need: either it is named, or all needs point backward."""
    steps = numbered([Step(tool="add", depends_on=tuple(f"s{n}" for n in needed)) for needed in edges])
    problems = needs_problems(steps, [])
    forward = [(place, n) for place, needed in enumerate(edges, start=1) for n in set(needed) if n >= place]
    assert len(problems) == len(forward)


# ---------------------------------------------------------------------------------------------------- cost

FIVE = [step("add", a=n, b=n) for n in range(5)]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(steps=3), "over budget: the 5 steps take at least 5 steps needed, 3 steps left of 3 steps"),
        (Budget(tool_calls=2), "2 tool calls left of 2 tool calls (tool_calls): plan at most 2 steps"),
        (Budget(model_calls=5), "5 model calls needed, 3 model calls left of 5 model calls"),
    ],
)
def test_a_plan_over_budget_is_sent_back(budget: Budget, said: str) -> None:
    """With the numbers, and what would fit."""
    assert any(said in problem for problem in sent_back(*FIVE, budget=budget))


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(usd=2.0), "$2.50 needed, $1.50 left of $2.00 (usd)"),
        (Budget(tokens=None, input_tokens=5000), "4 500 input tokens needed, 3 400 input tokens left of 5 000"),
        (Budget(tokens=5000), "4 505 tokens needed, 3 398 tokens left of 5 000 tokens (tokens)"),
    ],
)
def test_tokens_and_dollars_are_bounded_from_below(budget: Budget, said: str) -> None:
    """By what the model calls of the steps use at least, beside what is kept back for the answer."""
    steps = numbered([Step(tool="add", args={"a": n, "b": 1}) for n in range(5)])
    state = NEW._replace(budget=budget, spent=Spent(usd=0.1, input_tokens=100, output_tokens=2, model_calls=1))
    least = Spent(usd=0.5, input_tokens=900, output_tokens=1, model_calls=1)
    assert any(said in problem for problem in over_budget(state, steps, TOOLS, least)), over_budget(
        state, steps, TOOLS, least
    )
    checked = [replace(step_, check=Check(non_empty=True)) for step_ in steps]
    assert over_budget(state, checked, TOOLS, least) == [], "no model is asked about these"


def test_a_plan_that_fits_is_not_sent_back() -> None:
    """Exactly as many steps as are left."""
    with ScriptedModel([plan(*FIVE), *[verdict()] * 5, answer()]) as model:
        it = Agent(model, tools=[add], store=MemoryStore(), budget=Budget(steps=5)).run("x")
    assert it.status is Status.COMPLETED


def test_a_planner_that_insists_is_given_what_the_budget_lets() -> None:
    """Sent back once, carried out as far as it goes: a partial answer is worth more than none."""
    lines = [plan(*FIVE), plan(*FIVE), verdict(), verdict(), answer("two")]
    with ScriptedModel(lines) as model:
        it = Agent(model, tools=[add], store=MemoryStore(), budget=Budget(steps=2)).run("x")
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "steps", "two")
    assert "at most 2" in model.requests[0].prompt, "it is told beforehand how many there may be"


def test_where_asking_again_is_not_covered_it_is_not_sent_back() -> None:
    """Else the planner would use up what the steps need."""
    with ScriptedModel([plan(step("table"), step("add", a=1, b=1))]) as model:
        it = Agent(model, tools=[add, table], store=MemoryStore(), budget=Budget(model_calls=1, tokens=None)).run("x")
    assert it.stop_reason == "model_calls"


# ---------------------------------------------------------------------------------------------------- assumptions


def assuming(*said: str, **args: Any) -> dict[str, Any]:
    return {**step("add", **args), "assumes": list(said)}


def run(*lines: Any) -> Run:
    with ScriptedModel(lines) as model:
        return Agent(model, tools=[add, table], store=MemoryStore()).run("x")


def test_a_step_that_rests_on_an_assumption_is_marked_and_its_dependants_with_it() -> None:
    """In the state, in the memory, and in what a person reads, escaped."""
    it = run(
        plan(assuming("the year is <2024>", a=1, b=1), step("add", a="$s1", b=1), step("add", a="$s2", b=1),
             step("table")),
        *[verdict()] * 4, answer(),
    )  # fmt: skip
    assert it.state.resting == {"s1": ("s1",), "s2": ("s1",), "s3": ("s1",)}
    assert [(i.kind, i.text, i.by, i.sources) for i in it.state.noted] == [
        ("assumption", "the year is <2024>", "model", ("s1",))
    ]
    assert [line.assumes for line in it.summary.steps] == [
        "assumes: the year is <2024>", "rests on what s1 assumes", "rests on what s1 assumes", "",
    ]  # fmt: skip
    assert "assumes: the year is <2024>" in as_text(it.summary)
    assert "assumes: the year is &lt;2024&gt;" in as_html(it.summary)


def test_a_revision_takes_the_assumptions_of_dropped_steps_along() -> None:
    """Those of steps that stay stay; a person's and others' items are left alone."""
    it = run(
        plan(assuming("kept", a=1, b=1), assuming("told", a=2, b=1), assuming("dropped", a=3, b=1)),
        verdict(), verdict("revise"), plan(assuming("new", a=4, b=1)), verdict(), answer(),
    )  # fmt: skip
    assert [item.text for item in it.state.noted if item.kind == "assumption"] == ["kept", "told", "new"]


def test_a_plan_without_assumptions_is_as_it_was() -> None:
    """The field is optional, and last in the form."""
    it = run(plan(step("add", a=1, b=1)), verdict(), answer())
    (made,) = [r.event for r in it.events if isinstance(r.event, PlanMade)]
    assert made.steps[0].assumes == ()
    with ScriptedModel([plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        Agent(model, tools=[add], store=MemoryStore()).run("x")
    schema: Any = model.requests[0].schema
    form = schema["properties"]["steps"]["items"]["anyOf"][0]
    assert list(form["properties"])[-1] == "assumes"
    assert "assumes" not in form["required"]


@given(EDGES, st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_dependant_of_a_marked_step_is_marked(edges: list[list[int]], assumes: list[bool]) -> None:
    """By reference or by depends_on, at any distance; and a step that needs no marked one is not."""
    steps = numbered(
        [
            Step(
                tool="add",
                args={"a": f"$s{min(needed)}"} if needed and min(needed) < place else {},
                depends_on=tuple(f"s{n}" for n in needed if n < place),
                assumes=("it is so",) if assumes[place - 1] else (),
            )
            for place, needed in enumerate(edges, start=1)
        ]
    )
    marked = resting_on(steps)
    for step_, alone in zip(steps, assumes, strict=False):
        on = {source for needed in step_.depends_on for source in marked.get(needed, ())}
        assert set(marked.get(step_.id, ())) == on | ({step_.id} if alone else set())
        assert (step_.id in marked) is (alone or any(needed in marked for needed in step_.depends_on))


def test_what_returns_is_known_once() -> None:
    """The schema of a return type is made once for a function."""
    made: Tool = TOOLS["shops"]
    assert made.returns is made.returns
    assert made.returns["type"] == "array"
