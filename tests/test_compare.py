"""Two runs side by side, in text and HTML."""

from __future__ import annotations

import pytest

from agentnb.agent import Agent
from agentnb.compare import compare
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from tests.parts import add, answer, broken


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
    assert "✗ broken() → " in text
    assert "■ stopped" in text
