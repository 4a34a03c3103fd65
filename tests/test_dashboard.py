"""How runs go, as one picture."""

from __future__ import annotations

import pytest

from agentnb.agent import Agent
from agentnb.dashboard import dashboard
from agentnb.errors import RunNotFound
from agentnb.metrics import CallMetrics, CostMetrics, Metrics, ModelMetrics, Waiting
from agentnb.models.scripted import ScriptedModel
from agentnb.picture import Bars, Marks, Panel, Picture
from agentnb.store.disk import DiskStore
from agentnb.svg import svg
from tests.figures import HOSTILE, layers, parsed
from tests.parts import add, answer, plan, step, verdict

SOME = Metrics(
    runs=100, ended=90, statuses={"completed": 80, "failed": 4, "stopped": 6, "suspended": 10}, completed=80, failed=4,
    limited=5, timeouts=2, usd=3.2, tokens=90_000, p50_seconds=20, p95_seconds=90, retries=30, calls=1000, asked=15,
    waiting=(Waiting("r9-abc", "approval s3 mail", 0, 7200), Waiting("r8-abc", "2 actions", 0, 60)),
    phases={"plan": CallMetrics(calls=200, ok=180, failed=12, timeouts=4, limits=6, open=2, retries=3, p50_seconds=1.5,
                                p95_seconds=6.0)},
    tools={"mail": CallMetrics(calls=50, ok=40, refused=10, p50_seconds=0.2, p95_seconds=0.9), "unused": CallMetrics()},
    models={"anthropic:haiku": ModelMetrics(calls=200, replies=200, malformed=8)},
    task_types={"triage": CostMetrics(runs=60, usd=3.0, mean_usd=0.05, p95_usd=0.1, before_runs=30,
                                      before_mean_usd=0.04, drift=0.25),
                "": CostMetrics(runs=40, usd=0.2, mean_usd=0.005)},
    replies=210, cached=21, input_tokens=80_000, provider_cached_tokens=20_000,
)  # fmt: skip


def panel(picture: Picture, title: str) -> Panel:
    return next(found for found in picture if found.title.startswith(title))


def behind(found: Panel) -> list[str]:
    """The words behind the bars of a panel."""
    return [word for layer in found.layers if isinstance(layer, Marks) and not layer.sign for word in layer.words]


def test_how_runs_ended_is_told_in_numbers_and_shares() -> None:
    """Caps apart from failures, and time apart from other caps; what has not ended too."""
    found = panel(dashboard(SOME), "How runs ended")
    rows = dict(zip([name for _, name in found.y.ticks or ()], behind(found), strict=True))
    assert rows == {
        "completed": "80 · 80 %", "failed": "4 · 4.0 %", "stopped by a cap": "5 · 5.0 %",
        "… by one on time": "2 · 2.0 %", "stopped otherwise": "1 · 1.0 %", "suspended": "10 · 10 %",
    }  # fmt: skip


def test_what_went_wrong_with_calls_is_drawn_in_parts_with_a_key() -> None:
    """A time-out counts once; each part has a pattern or a word, and what was never called is left away."""
    found = panel(dashboard(SOME), "Model calls that went wrong")
    parts = {layer.name: layer.right[0] - layer.left[0] for layer in found.layers if isinstance(layer, Bars)}
    assert parts == pytest.approx({"failed": 4.0, "slow": 2.0, "limit": 3.0, "open": 1.0})
    key = [layer.words[0] for layer in found.layers if isinstance(layer, Marks) and layer.sign == "square"]
    assert key == ["failed", "slow", "limit", "open"]
    tools = panel(dashboard(SOME), "Tool calls that went wrong")
    assert [name for _, name in tools.y.ticks or ()] == ["mail"]
    assert behind(tools) == ["80 % well"]


def test_latencies_queue_costs_and_rates_are_told() -> None:
    """Each with its unit, and the drift of costs with what was before."""
    found = dashboard(SOME)
    assert behind(panel(found, "Time of model calls")) == ["1.5 s · 6.0 s"]
    assert behind(panel(found, "Waiting for a person: 2")) == ["2 h 0 min", "60 s"]
    assert behind(panel(found, "Dollars a run")) == ["$0.050 +25 %", "$0.005"]
    rates = panel(found, "How often")
    assert dict(zip([name for _, name in rates.y.ticks or ()], behind(rates), strict=True)) == {
        "a person asked": "15 %", "calls made again": "3.0 %", "replies unusable": "3.8 %", "… of haiku": "4.0 %",
        "prompt cache": "10 %", "provider's cache": "25 %",
    }  # fmt: skip


def test_its_text_holds_the_numbers() -> None:
    """For whoever cannot see it."""
    found = dashboard(SOME)
    assert found.said == (
        "100 runs · 89 % of those that ended completed · half took at most 20 s, 95 of 100 90 s · $3.20 in all"
    )
    rows = {row.split()[0]: row.split() for row in found.text.splitlines() if row}
    assert rows["plan"][:8] == ["plan", "200", "12", "4", "6", "0", "2", "3"]
    assert "triage" in found.text


def test_its_text_and_its_picture_tell_the_same() -> None:
    """Each row of what ended how, of what waits and of how often something happens is in both, with its numbers."""
    found = dashboard(SOME)
    text = [" ".join(row.split()) for row in found.text.splitlines()]
    for title in ("How runs ended", "Waiting for a person", "How often"):
        rows = panel(found, title)
        for (_, name), words in zip(rows.y.ticks or (), behind(rows), strict=True):
            assert f"{name} {words.replace(' · ', ' ')}" in text


def test_a_bare_one_has_no_id_and_no_time() -> None:
    """So that a notebook's replay shows the same to the byte."""
    found = dashboard(SOME, bare=True)
    said = svg(found) + found.text + "".join(t for kind in (Bars, Marks) for x in layers(found, kind) for t in x.hover)
    for time in ("r9-abc", "1.5 s", "2 h", "half took", "Time of"):
        assert time not in said


def test_of_no_runs_there_is_a_figure_too() -> None:
    """It says so."""
    found = dashboard(Metrics())
    assert (found.said, found.text) == ("no runs", "")
    assert "Waiting for a person: nothing" in [panel.title for panel in found]
    parsed(svg(found))


def test_hostile_names_are_drawn_as_text() -> None:
    """Of tools, task types and models."""
    one = CallMetrics(calls=1, failed=1, p50_seconds=1, p95_seconds=2)
    hostile = Metrics(
        runs=1, ended=1, statuses={"completed": 1}, completed=1, tools={HOSTILE: one}, phases={HOSTILE: one}, replies=1,
        task_types={HOSTILE: CostMetrics(runs=1, mean_usd=1.0)}, models={HOSTILE: ModelMetrics(replies=1, malformed=1)},
        waiting=(Waiting(HOSTILE, HOSTILE, 0, 1, HOSTILE),),
    )  # fmt: skip
    assert "script" not in {node.tag.rpartition("}")[2] for node in parsed(svg(dashboard(hostile))).iter()}


def test_runs_of_a_store_have_it_as_a_method_and_two_of_them_can_be_compared(store: DiskStore) -> None:
    """By run, or by id."""
    lines = [plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer()]
    agent = Agent(ScriptedModel([*lines, *lines]), tools=[add], store=store)
    one, other = agent.run("add"), agent.run("add them")
    found = agent.runs().dashboard()
    assert found.text.startswith("How runs go\n2 runs · 100 % of those that ended completed")
    assert other.id in agent.runs().compare(one, other.id).text
    with pytest.raises(RunNotFound):
        agent.runs().compare(one, "r99-none")
