"""What informed what, as a picture."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent import Agent
from agentnb.graph import graph
from agentnb.informed import KNOWN, Edge, Informed, Node
from agentnb.layered import layered, without_implied
from agentnb.models.scripted import ScriptedModel
from agentnb.picture import Arrows, Boxes, Picture
from agentnb.store.disk import DiskStore
from agentnb.svg import svg
from tests.figures import HOSTILE, layers, parsed
from tests.parts import add, answer, plan, step, verdict

ACYCLIC = st.integers(1, 12).flatmap(
    lambda size: st.lists(
        st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda ends: ends[0] < ends[1]),
        max_size=30,
    ).map(lambda edges: ([f"n{n}" for n in range(size)], [(f"n{a}", f"n{b}") for a, b in edges]))
)


def story(steps: int, *failed: int, chained: bool = False) -> Informed:
    """A task, its plan, so many steps, and the answer that rests on all of them."""
    ids = [f"s{n}" for n in range(1, steps + 1)]
    nodes = [
        Node("task", "task", "task", "Look at all"),
        Node("plan 1", "plan", "plan 1", "by the model"),
        *(Node(name, "step", f"{name} query", "3 rows", "failed" if n in failed else "ok")
          for n, name in enumerate(ids, start=1)),
        Node("answer", "answer", "answer", "Done."),
    ]  # fmt: skip
    edges = [Edge("task", "plan 1", "asks for it"), *(Edge("plan 1", name, "") for name in ids)]
    edges += [Edge(a, b, "gives rows") for a, b in pairwise(ids)] if chained else []
    return Informed(tuple(nodes), (*edges, *(Edge(name, "answer", "") for name in ids)))


def boxes(picture: Picture) -> dict[str, tuple[float, float]]:
    """The middle of each box, by what stands in it."""
    return {
        words[0]: (x, y)
        for layer in layers(picture, Boxes)
        for words, x, y in zip(layer.words, layer.x, layer.y, strict=True)
    }


def test_a_model_that_knew_of_all_steps_draws_no_arrow_from_each() -> None:
    """The last one before implies them; what a result gives is drawn still, and how much is not drawn is said."""
    told = story(12)
    ids = [f"s{n}" for n in range(1, 13)]
    known = [Edge(a, b, KNOWN) for n, b in enumerate(ids) for a in ids[:n]]
    given_too = [replace(e, why=f"gives rows; {KNOWN}") if e.source == "s1" and e.target == "s9" else e for e in known]
    found = graph(Informed(told.nodes, (*told.edges, *given_too)))
    drawn = sum(len(layer.paths) for layer in layers(found, Arrows))
    assert drawn == 1 + 1 + 11 + 1 + 1  # to the plan, to s1, from step to step, s1 to s9, to the answer
    assert found.said == "1 plan · 12 steps · 54 arrows from a step to what a model filled in later not drawn"
    assert "s12 query ← plan 1, s1, s2" in found.text


@given(ACYCLIC)
def test_every_edge_leads_to_a_later_layer_and_no_node_lies_on_another(
    found: tuple[list[str], list[tuple[str, str]]],
) -> None:
    """Whatever the graph; and what passes a layer has a place there that is no node's."""
    nodes, edges = found
    layout = layered(nodes, edges)
    assert list(layout.nodes) == nodes
    for source, target in edges:
        first, last = layout.nodes[source][0], layout.nodes[target][0]
        assert first < last
        assert [layer for layer, _ in layout.passes[source, target]] == list(range(first + 1, last))
    spots = sorted(layout.nodes.values())
    for (layer, place), (next_layer, next_place) in pairwise(spots):
        assert layer != next_layer or next_place - place >= 1 - 1e-6
    passing = [spot for way in layout.passes.values() for spot in way]
    assert all(layer != other or abs(a - b) >= 0.7 - 1e-6 for layer, a in passing for other, b in spots)
    assert min(place for _, place in [*spots, *passing]) >= 0
    assert layered(nodes, edges) == layout


@given(ACYCLIC)
def test_what_is_left_out_is_implied_by_what_stays(found: tuple[list[str], list[tuple[str, str]]]) -> None:
    """From each node the same others are reached."""
    nodes, edges = found

    def reached(kept: set[tuple[str, str]]) -> set[tuple[str, str]]:
        ways = set(kept)
        for middle in nodes:
            ways |= {(a, d) for a, b in ways if b == middle for c, d in ways if c == middle}
        return ways

    assert reached(without_implied(edges)) == reached(set(edges))


def test_a_run_is_drawn_from_its_task_to_its_answer(store: DiskStore) -> None:
    """Boxes for task, plan, steps and answer, each to the right of what it came from."""
    lines = [plan(step("add", a=1, b=2), step("add", a="$s1", b=1)), verdict(), verdict(), answer("It is 4.")]
    run = Agent(ScriptedModel(lines), tools=[add], store=store).run("add them")
    found = boxes(graph(run.informed, run=run.id))
    assert list(found) == ["task", "plan 1", "s1 add", "s2 add", "answer"]
    assert [x for x, _ in found.values()] == sorted({x for x, _ in found.values()})
    assert run.graph().text.startswith("What informed what")
    assert "answer" not in boxes(graph(run.informed.leading_to("s1"), what="s1"))
    assert "What led to s1" in run.graph("s1").text


def test_a_long_chain_runs_down_and_many_steps_stand_side_by_side() -> None:
    """Either way it is as wide as a cell."""
    chain, many = graph(story(14, chained=True)), graph(story(14))
    assert chain.width == many.width == 900
    assert layers(chain, Arrows)[0].down
    assert not layers(many, Arrows)[0].down


def test_of_a_thousand_steps_those_that_stand_alike_are_one_box() -> None:
    """What failed keeps its own."""
    found = graph(story(1000, 300))
    assert set(boxes(found)) == {"task", "plan 1", "s1 … s1000", "answer", "✗ s300 query"}
    assert "some steps drawn as one" in found.said
    assert ("s1 … s1000", "999 steps") in [words for layer in layers(found, Boxes) for words in layer.words]


def test_of_a_chain_of_a_thousand_the_beginning_is_one_box() -> None:
    """And the last ones are seen."""
    found = graph(story(1000, 990, chained=True))
    assert len(boxes(found)) < 40
    assert "✗ s990 query" in boxes(found)


def test_what_failed_and_what_was_not_done_is_told_by_more_than_its_colour() -> None:
    """Dashes, and a sign before the words."""
    failed = next(layer for layer in layers(graph(story(2, 1)), Boxes) if layer.ink == "red")
    assert failed.dashed
    assert failed.words[0][0] == "✗ s1 query"


def test_pointing_at_a_box_tells_because_of_what() -> None:
    """With the reason of each."""
    hover = {layer.hover[0].splitlines()[0]: layer.hover for layer in layers(graph(story(2, chained=True)), Boxes)}
    assert hover["s1 query"][1] == "s2 query\n3 rows\n← plan 1\n← s1 gives rows"


def test_a_run_that_has_hardly_begun_has_a_figure_too() -> None:
    """Nothing, a task, a task and a plan."""
    whole = story(2)
    for many in range(3):
        part = Informed(whole.nodes[:many], tuple(e for e in whole.edges[:1] if many > 1))
        assert parsed(svg(graph(part))).tag.endswith("svg")
        assert graph(part).text


def test_hostile_names_are_drawn_as_text() -> None:
    """On one line, in their box."""
    found = graph(
        Informed(
            (Node("s1", "step", HOSTILE, HOSTILE), Node(HOSTILE, "answer", HOSTILE)), (Edge("s1", HOSTILE, HOSTILE),)
        )
    )
    assert "script" not in {node.tag.rpartition("}")[2] for node in parsed(svg(found)).iter()}
