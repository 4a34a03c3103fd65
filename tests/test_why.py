"""What informed what, and why a run did what it did."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.agent import Agent
from agentnb.errors import ConfigError
from agentnb.informed import Edge, Informed, Node, informed
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Check, Step
from agentnb.store.disk import DiskStore
from tests.parts import add, answer, bind, broken, note, plan, step, verdict
from tests.test_decide import Walk, walks

ONE = Step(tool="add", args={"a": 1, "b": 1})


def test_the_chain_of_a_step_names_what_it_rests_on(store: DiskStore) -> None:
    """Task, plan, the result that it refers to, and who approved it; nothing that came after."""
    planned = plan(step("add", a=1, b=2), step("add", a="$s1", b=4), step("note", text="$? the sum"))
    said = [verdict(finding="3 it is"), verdict(), bind(text="seven"), answer("noted")]
    model = ScriptedModel([planned, *said])
    run = Agent(model, tools=[add, note], store=store).run("add and note").approve(by="ada")
    found = run.why("s3")
    assert [node.id for node in found.chain][:2] == ["task", "plan 1"]
    assert found.chain[-1].id == "s3"
    text = repr(found)
    assert "was known to the model that filled in arguments" in text
    assert "approves it" in text
    assert "3 it is" in text
    assert "answer" not in text
    second = {(edge.source, edge.why) for edge in run.why("s2").graph.sources("s2")}
    assert second == {("plan 1", ""), ("s1", "gives a")}
    assert run.why().chain[-1].said == "noted"


def test_of_many_causes_of_one_kind_the_first_and_the_last_are_named(store: DiskStore) -> None:
    """What is told of a long run stays as long as the run: each step whose arguments are filled in knew all before."""
    steps = [Step(tool="add", args={"a": n, "b": "$? one"}, check=Check(non_empty=True)) for n in range(12)]
    lines = [*[bind(a=n, b=1) for n in range(12)], answer()]
    text = repr(Agent(ScriptedModel(lines), tools=[add], store=store, assess=False).run("add", plan=steps).why())
    known = "(was known to the model that filled in arguments)"
    assert f"← s1 … s11, 11 in all {known}" in text
    assert f"← s8 {known}" in text
    assert f"← s9 {known}" not in text


def test_a_new_plan_names_the_step_that_made_it_necessary(store: DiskStore) -> None:
    """And what it takes the place of."""
    model = ScriptedModel([plan(step("broken")), plan(step("add", a=1, b=1)), verdict(), answer()])
    run = Agent(model, tools=[add, broken], store=store).run("add")
    graph = run.informed
    causes = {edge.source: edge.why for edge in graph.sources("plan 2")}
    assert causes["s1"].startswith("made it necessary")
    assert causes["plan 1"] == "takes its place"
    assert graph["s1"].status == "failed"
    assert "✗ s1 broken" in repr(run.why("s2"))


def test_a_fork_names_the_run_that_it_came_from(store: DiskStore) -> None:
    """Its first steps were that run's."""
    agent = Agent(ScriptedModel([answer(), answer()]), tools=[add], store=store)
    steps = [Step(tool="add", args={"a": n, "b": 1}, check={"non_empty": True}) for n in (1, 2)]  # type: ignore[arg-type]
    one = agent.run("add", plan=steps)
    two = one.fork("s2", args={"b": 6})
    chain = {node.id: node.title for node in two.why("s2").chain}
    assert chain["fork"] == one.id
    root = f"{two.spent.tokens:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    assert f"  {root}  completed" in repr(two.trace).splitlines()[2]


def test_what_is_not_there_is_named_with_what_is(store: DiskStore) -> None:
    """One clear error."""
    run = Agent(ScriptedModel([verdict(), answer()]), tools=[add], store=store).run("x", plan=[ONE])
    with pytest.raises(ConfigError, match="nothing is called 's7': there are task, plan 1, s1, answer"):
        run.why("s7")
    waits = Agent(ScriptedModel([plan(step("note", text="x"))]), tools=[note], store=store).run("x")
    with pytest.raises(ConfigError, match="there is no answer: there are task, plan 1, s1"):
        waits.why()


@settings(max_examples=150, deadline=None)
@given(walks())
def test_nothing_is_informed_by_what_came_after_it(walk: Walk) -> None:
    """Whatever happens in a run, the graph has no cycle, and each edge two ends."""
    graph = informed(walk.records)
    names = [node.id for node in graph.nodes]
    assert len(set(names)) == len(names)
    for edge in graph.edges:
        assert {edge.source, edge.target} <= set(names)
    for node in graph.nodes:
        before = {n.id for n in graph.leading_to(node.id).nodes} - {node.id}
        assert all(node.id not in {n.id for n in graph.leading_to(name).nodes} for name in before)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_out_of_a_mermaid_label(title: str, why: str) -> None:
    """Quotes, brackets, arrows and line ends stand there by their numbers."""
    graph = Informed((Node("s1", "step", title, why), Node("s2", "step", why)), (Edge("s1", "s2", why),))
    lines = graph.mermaid.splitlines()
    assert len(lines) == 4 - (0 if lines[-1].count("-->") else 1)
    shape = r'  n\d\["(?:[\w ,.:;#-]|<br>)*"\]|  n0 -->(\|"(?:[\w ,.:;#-])*"\|)? n1'
    assert all(re.fullmatch(shape, line) for line in lines[1:])


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x>', "\u202ecod"])
def test_hostile_text_is_escaped(store: DiskStore, hostile: str) -> None:
    """From a task, a title and an answer."""
    agent = Agent(ScriptedModel([verdict(), answer(hostile)]), tools=[add], store=store)
    run = agent.run(hostile, plan=[Step(tool="add", args={"a": 1, "b": 1}, title=hostile)])
    html = run.why()._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html
