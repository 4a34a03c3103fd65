"""Two runs side by side, in text and HTML."""

from __future__ import annotations

import pytest

from agentnb.agent import Agent
from agentnb.approval import Answer
from agentnb.compare import compare
from agentnb.errors import ConfigError, RunNotFound
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from agentnb.tools import tool
from tests.parts import add, answer, bind, broken


def added(store: DiskStore, *sums: tuple[int, int], text: str = "done") -> Run:
    agent = Agent(ScriptedModel([answer(text)]), tools=[add, broken], store=store)
    steps = [Step(tool="add", args={"a": a, "b": b}, check={"non_empty": True}) for a, b in sums]  # type: ignore[arg-type]
    return agent.run("add", plan=steps)


def test_steps_outcomes_and_costs_stand_side_by_side(store: DiskStore) -> None:
    """What is alike is said to be; what one run lacks is a dash."""
    one, two = added(store, (1, 2), (3, 4)), added(store, (1, 2), (3, 5), (0, 1), text="other")
    found = one.diff(two)
    assert found.changed == ("s2", "s3")
    assert found.shared == 0
    assert found.names == (one.id, two.id)
    facts = {pair.what: (str(pair.left), str(pair.right)) for pair in found.facts}
    assert facts["answer"] == ("done", "other")
    assert facts["tool calls"] == ("2", "3")
    text = repr(found)
    assert "✓ add(a=3, b=4) → 7" in text
    assert "✓ add(a=3, b=5) → 8" in text
    assert "the same" in text
    assert text.splitlines()[0] == "Two runs side by side: 2 of 3 steps differ"


def test_a_fork_says_what_was_carried_out_once_for_both_whichever_comes_first(store: DiskStore) -> None:
    """Shared steps cost the first run only."""
    one = added(store, (1, 2), (3, 4))
    one.keeper = Agent(ScriptedModel([answer()]), tools=[add], store=store)
    two = one.fork("s2", args={"b": 6})
    for found in (one.diff(two), two.diff(one)):
        assert found.shared == 1
        assert found.changed == ("s2",)
        assert "1 of 2 steps differs; the first was carried out once, for both" in found.as_text()


def test_a_bare_comparison_has_neither_ids_nor_times(store: DiskStore) -> None:
    """So that a notebook's replay shows the same to the byte."""
    one, two = added(store, (1, 2)), added(store, (1, 3))
    found = compare(one.events, two.events, bare=True)
    assert found.names == ("this run", "the other run")
    assert one.id not in repr(found)
    assert "working time" not in repr(found)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x>', "\u202ecod"])
def test_hostile_text_is_escaped(store: DiskStore, hostile: str) -> None:
    """Whatever a model or a tool wrote."""
    html = added(store, (1, 2), text=hostile).diff(added(store, (1, 2)))._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert '<th scope="col"' in html


def test_a_run_without_a_plan_and_one_that_failed(store: DiskStore) -> None:
    """There is always something to show."""
    bare = Agent(ScriptedModel([answer()]), store=store).run("x")
    failed = Agent(ScriptedModel([answer()]), tools=[broken], store=store).run("x", plan=[Step(tool="broken")])
    text = repr(bare.diff(failed))
    assert "✗ broken(why=" in text
    assert "■ stopped" in text


def test_calls_are_shown_as_they_were_made(store: DiskStore) -> None:
    """What a reference came to, what a model filled in, what a person edited: and not what the plan says."""

    @tool(effect="write", reversibility="full")
    def send(text: str) -> str:
        """Send it.

        Args:
            text: what.
        """
        return f"sent {len(text) > 0}"

    def run(edit: Answer, wording: str) -> Run:
        model = ScriptedModel([bind(text=wording), answer()])
        agent = Agent(model, tools=[add, send], store=store, approver=lambda r: edit if r.step == "s2" else yes)
        return agent.run("x", plan=steps)

    yes = Answer("approve", "ada")
    steps = [
        Step(tool="add", args={"a": 1, "b": 2}, check={"non_empty": True}),  # type: ignore[arg-type]
        Step(tool="send", args={"text": "as planned"}),
        Step(tool="send", args={"text": "$?a few words"}),
        Step(tool="add", args={"a": "$s1", "b": 1}, check={"non_empty": True}),  # type: ignore[arg-type]
    ]
    one = run(yes, "hello")
    two = run(Answer("edit", "ada", args={"text": "edited"}), "goodbye")
    found = one.diff(two)
    assert found.changed == ("s2", "s3")
    said = {pair.what: (pair.left.call, pair.right.call) for pair in found.steps}
    assert said["s2"] == ('send(text="as planned")', 'send(text="edited")')
    assert said["s3"] == ('send(text="hello")', 'send(text="goodbye")')
    assert said["s4"] == ("add(a=3, b=1)", "add(a=3, b=1)")


@pytest.mark.parametrize("length", [100, 2000])
def test_long_arguments_that_differ_out_of_sight_are_not_the_same(store: DiskStore, length: int) -> None:
    """Of a long text only the beginning, or its length, is shown."""

    @tool(effect="read")
    def look(text: str) -> int:
        """Look.

        Args:
            text: for what.
        """
        return 1 if text else 0

    def run(text: str) -> Run:
        return Agent(ScriptedModel([answer()]), tools=[look], store=store).run(
            "x",
            plan=[Step(tool="look", args={"text": text}, check={"non_empty": True})],  # type: ignore[arg-type]
        )

    one = run("x" * length + "a")
    assert one.diff(run("x" * length + "b")).changed == ("s1",)
    assert one.diff(run("x" * length + "a")).changed == ()


def test_the_other_run_can_be_named_by_its_id(store: DiskStore) -> None:
    """Or by the beginning of it, as in the magic; what is no run is one clear error."""
    one, two = added(store, (1, 2)), added(store, (1, 3))
    assert one.diff(two.id).changed == one.diff("r2").changed == ("s1",)
    with pytest.raises(RunNotFound, match="no run 'nope'"):
        one.diff("nope")
    with pytest.raises(ConfigError, match="other=5 is no run: give"):
        one.diff(5)  # type: ignore[arg-type]
