"""What runs cost: by phase and model, what was saved in each way, alerts, and tables over many runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import Agent, Alert, Budget, ScriptedModel, costs
from agentnb.alerts import Raised, Threshold, alerts_of, measured
from agentnb.budget import Spent, Usage
from agentnb.bundle import export_run, import_run
from agentnb.checkpoint import load
from agentnb.cost import PHASES, Cost, Line, Saved, Saving, Used, charged, settled, uncached
from agentnb.errors import ConfigError, FailureClass, ModelError
from agentnb.events import AlertFailed, ModelEscalated, Record, RunStarted
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.policy import Policy
from agentnb.render import as_html, as_text
from agentnb.run import Run
from agentnb.spending import Receipt, aggregated
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.summary import summarise
from agentnb.tiers import model_of
from tests.parts import MemoryStore, add, answer, bind, note, plan, step, table, verdict
from tests.test_family import three_deep


def dear(usage: Usage) -> float:
    """Cached input at a tenth, what is written to the cache at a quarter more."""
    cached = usage.cache_read_tokens * 0.9 - usage.cache_write_tokens * 0.25
    return (usage.input_tokens - cached) * 3e-6 + usage.output_tokens * 15e-6


def low(usage: Usage) -> float:
    return usage.input_tokens * 1e-6 + usage.output_tokens * 5e-6


class Priced:
    """A model with a price that says what the script says, with so much of its input from the provider's cache."""

    def __init__(
        self,
        ref: str,
        lines: Iterable[Any],
        price: Callable[[Usage], float] | None = dear,
        read: float = 0,
        wrote: float = 0,
    ) -> None:
        self.ref = ref
        self.price = price
        self._script = ScriptedModel(lines)
        self._read, self._wrote = read, wrote

    def ask(self, request: ModelRequest) -> ModelReply:
        reply = self._script.ask(request)
        n = reply.usage.input_tokens
        usage = Usage(n, reply.usage.output_tokens, int(n * self._read), int(n * self._wrote))
        return ModelReply(reply.text, usage, model=self.ref)


PLANNED = [plan(step("add", a=1, b="$? two")), answer("3")]
REST = [bind(b=2), verdict(finding="it is 3")]


def tiered(store: Any, *, strong: Any = PLANNED, cheap: Any = REST, **options: Any) -> Run:
    how = {"tags": options.pop("tags")} if "tags" in options else {}
    models: dict[str, Any] = {"model": Priced("strong", strong), "cheap_model": Priced("cheap", cheap, low)} | options
    return Agent(models.pop("model"), tools=[add, table, note], store=store, **models).run("add", **how)


# ---------------------------------------------------------------------------------------------------- sums

USED = st.builds(
    Used, *[st.integers(0, 9)] * 3, st.floats(0, 1), st.integers(0, 1), st.integers(0, 9), st.floats(-1, 1),
    st.integers(0, 9), st.floats(-1, 1), st.integers(0, 9), st.integers(0, 9), st.floats(0, 1),
)  # fmt: skip
LINES = st.lists(st.tuples(st.sampled_from(PHASES), st.sampled_from("abc"), USED), max_size=20)


@given(LINES)
def test_whatever_is_charged_is_there_once_by_phase_and_by_model(found: list[tuple[Any, str, Used]]) -> None:
    """One line for each phase and model; every amount adds up in each view."""
    lines: tuple[Line, ...] = ()
    for phase, model, used in found:
        lines = charged(lines, phase, model, used)
    cost = Cost(lines)
    assert len({(line.phase, line.model) for line in lines}) == len(lines)
    for parts in (cost.by_phase, cost.by_model):
        assert sum(part.tokens for part in parts.values()) == sum(used.tokens for _, _, used in found)
        assert math.fsum(part.usd for part in parts.values()) == pytest.approx(math.fsum(u.usd for _, _, u in found))
    assert cost.saved.cache.tokens == sum(used.hit_tokens for _, _, used in found)
    assert cost.would_be_usd == pytest.approx(cost.usd + cost.saved.tiers.usd)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.data())
def test_what_is_saved_is_told_apart(tokens: int, out: int, data: st.DataObject) -> None:
    """By the provider's cache and by tiers: together they are the way from what it would have been to what it was."""
    read = data.draw(st.integers(0, tokens))
    usage = Usage(tokens, out, read, data.draw(st.integers(0, tokens - read)))
    used = settled("m", usage, low(usage), uncached(dear, usage), dear(usage))
    assert used.saved.tiers == Saving(dear(usage) - low(usage), tokens + out)
    assert used.saved.provider.tokens == read
    own = settled("m", usage, dear(usage), uncached(dear, usage))
    assert own.saved.provider.usd == pytest.approx(read * 2.7e-6 - usage.cache_write_tokens * 0.75e-6)
    assert own.saved.tiers == Saving()


def test_what_nobody_can_price_is_a_lower_bound() -> None:
    """Counted as nothing, and marked; what runs on this machine costs nothing, and is not."""
    usage = Usage(100, 10)
    assert settled("openai:mystery", usage, 0.0).unpriced == 1
    assert settled("local:small", usage, 0.0).unpriced == 0
    assert settled("test:free", usage, 0.0, 0.0).unpriced == 0
    assert settled("openai:mystery", usage, 0.0, None, 0.5).saved == Saved()  # 0 is no price to compare with


# ---------------------------------------------------------------------------------------------------- tiers


def test_plan_and_answer_go_to_the_strong_model_and_the_rest_to_the_cheap_one() -> None:
    """Each phase has its cost, and what it would have been."""
    run = tiered(MemoryStore())
    assert {(line.phase, line.model) for line in run.cost.lines} == {
        ("plan", "strong"), ("bind", "cheap"), ("critique", "cheap"), ("answer", "strong"),
    }  # fmt: skip
    cheap = run.cost.by_model["cheap"]
    assert cheap.would_be_usd == pytest.approx(3 * cheap.usd)
    assert run.cost.usd == pytest.approx(run.spent.usd)
    assert run.cost.would_be_usd == pytest.approx(run.spent.usd + 2 * cheap.usd)
    assert run.saved.tiers.usd == pytest.approx(2 * cheap.usd)
    assert run.saved.tiers.tokens == cheap.tokens
    assert list(run.cost.by_phase) == ["plan", "bind", "critique", "answer"]


def test_a_phase_can_have_a_model_of_its_own() -> None:
    """Any phase; the run remembers which, and one object is one model."""
    judge = Priced("judge", [verdict()], low)
    strong = Priced("strong", [PLANNED[0]])
    writer = Priced("cheap", [REST[0], PLANNED[1]], low)
    agent = Agent(
        strong, cheap_model=writer, phases={"critique": judge, "answer": writer}, tools=[add], store=MemoryStore()
    )
    run = agent.run("add")
    assert run.status is Status.COMPLETED
    assert run.state.head.phases == {"critique": "judge", "answer": "cheap"}
    assert {line.phase: line.model for line in run.cost.lines} == {
        "plan": "strong", "bind": "cheap", "critique": "judge", "answer": "cheap",
    }  # fmt: skip
    assert len(list(agent.lineup)) == 3


def test_a_phase_that_does_not_exist_is_named() -> None:
    """With the one that was probably meant."""
    with pytest.raises(ConfigError, match=r"there is no phase 'critic': did you mean 'critique'\?"):
        Agent(ScriptedModel([]), phases={"critic": "local:"}, store=MemoryStore())  # type: ignore[dict-item]


def test_a_resume_names_a_phase_that_has_another_model(tmp_path: Path) -> None:
    """It goes on with the model that is here once that is accepted, and remembers it."""
    store = DiskStore(tmp_path)
    down = ModelError("down", FailureClass.FATAL, unbilled=True)
    judge = Priced("judge", [down])
    first = Agent(Priced("m", [plan(step("add", a=1, b=2))]), phases={"critique": judge}, tools=[add], store=store)
    it = first.run("add")
    assert it.status is Status.SUSPENDED
    other = Agent(Priced("m", [answer()]), phases={"critique": Priced("new", [verdict()])}, tools=[add], store=store)
    with pytest.raises(ConfigError, match="its critique began with 'judge', and here it is 'new'"):
        other.resume(it.id)
    done = other.resume(it.id, accept_changes=True)
    assert (done.status, done.state.head.phases) == (Status.COMPLETED, {"critique": "new"})


def test_a_fork_can_give_a_phase_another_model(tmp_path: Path) -> None:
    """And the fork's own costs begin at 0."""
    first = tiered(DiskStore(tmp_path))
    agent = Agent(Priced("strong", [answer()]), cheap_model=Priced("cheap", []), tools=[add], store=DiskStore(tmp_path))
    again = agent.fork(first.id, "answer", phases={"answer": Priced("writer", [answer("three")], low)})
    assert (again.output, again.state.head.phases) == ("three", {"answer": "writer"})
    assert list(again.cost.by_model) == ["writer"]
    assert again.cost.usd == pytest.approx(again.spent.usd)


NOPE = [("bind", "nope")] * 4


def test_the_strong_model_is_asked_where_the_cheap_one_gives_nothing_usable() -> None:
    """Once, with the full prompt and what was wrong; the next phase begins with the cheap one again."""
    strong = Priced("strong", [PLANNED[0], bind(b=2), answer("3")])
    cheap = Priced("cheap", [*NOPE, verdict()], low)
    run = tiered(MemoryStore(), model=strong, cheap_model=cheap, escalate=True)
    assert run.status is Status.COMPLETED
    [event] = [r.event for r in run.events if isinstance(r.event, ModelEscalated)]
    assert (event.phase, event.step, event.was, event.model) == ("bind", "s1", "cheap", "strong")
    assert run.cost.models_of("bind") == ("cheap", "strong")
    assert run.cost.models_of("critique") == ("cheap",)
    escalated = strong._script.requests[1]
    assert escalated.phase == "bind"
    assert escalated.system == cheap._script.requests[0].system
    assert "JSON" in escalated.user


def test_without_escalation_or_after_it_the_run_goes_the_old_way() -> None:
    """Four tries of the cheap model, then the plan is revised; with escalation one more of the strong one before."""
    revised = plan(step("add", a=1, b=2))
    plain = tiered(MemoryStore(), strong=[PLANNED[0], revised, answer()], cheap=[*NOPE, verdict()])
    assert plain.cost.by_phase["bind"].calls == 4
    assert plain.status is Status.COMPLETED
    both = tiered(
        MemoryStore(), strong=[PLANNED[0], ("bind", "nope"), revised, answer()], cheap=[*NOPE, verdict()], escalate=True
    )
    assert both.cost.by_phase["bind"].calls == 5
    assert (both.status, both.state.revisions) == (Status.COMPLETED, 1)


# ---------------------------------------------------------------------------------------------------- what is saved


def test_the_caches_of_the_provider_and_of_ours_are_told_apart(tmp_path: Path) -> None:
    """The second run is ours alone; writing to the provider's cache more than is read costs, and that is said."""
    lines = [plan(step("add", a=1, b=2)), verdict(), answer("3")]
    wrote = tiered(DiskStore(tmp_path / "a"), model=Priced("strong", lines, read=0.1, wrote=0.9), cheap_model=None)
    assert wrote.saved.provider.usd < 0
    assert "The provider's cache cost $0.00" in as_text(wrote.summary)
    read = tiered(DiskStore(tmp_path / "b"), model=Priced("strong", lines, read=0.5), cheap_model=None)
    total = read.cost.total
    assert total.read_tokens == read.saved.provider.tokens > 0
    assert read.saved.provider.usd == pytest.approx(total.read_tokens * 2.7e-6)
    agent = Agent(Priced("strong", lines), tools=[add], store=tmp_path / "c")
    first, second = agent.run("add"), agent.run("add")
    assert first.saved == Saved()
    assert second.saved.cache.usd == pytest.approx(first.spent.usd)
    assert second.saved == Saved(cache=Saving(second.saved.cache.usd, first.spent.tokens))


def test_an_old_record_without_prices_is_shown_as_it_was() -> None:
    """No column and no saving that nobody knows of."""
    run = tiered(MemoryStore())
    old: list[Record] = []
    for record in run.events:
        names = {"uncached_usd": None, "strong_usd": None} if hasattr(record.event, "strong_usd") else {}
        old.append(_replaced(record, **names))
    shown = summarise(old)
    assert shown.saved == Saved()
    assert "On the strong model" not in as_html(shown)
    assert shown.spent.usd == run.spent.usd


def _replaced(record: Record, **changes: Any) -> Record:
    return record._replace(event=replace(record.event, **changes))


def test_the_table_has_a_column_more_only_where_it_says_something() -> None:
    """What the strong model would have cost, the models, and a total; with one model none of it."""
    run = tiered(MemoryStore())
    text, page = as_text(run.summary), as_html(run.summary)
    assert "on the strong model" in text
    assert "critique · cheap" in text
    assert "by cheaper models" in text
    assert "On the strong model" in page
    assert 'style="border-top' in page
    one = tiered(MemoryStore(), model=Priced("strong", [*PLANNED[:1], *REST, answer()]), cheap_model=None)
    assert "strong model" not in as_text(one.summary)
    assert "total" not in as_text(one.summary)


# ---------------------------------------------------------------------------------------------------- alerts


def test_an_alert_is_raised_once_with_a_line_a_record_and_a_call() -> None:
    """In flight where the run passes it, and never again, however often it goes on."""
    told: list[Raised] = []
    run = tiered(MemoryStore(), alerts=[Alert(usd=0.0001, callback=told.append), Alert(tokens=10**9)])
    kinds = [record.event.kind for record in run.events]
    assert kinds.count("alert_raised") == 1
    assert kinds.index("alert_raised") < kinds.index("tool_claimed")
    assert [(raised.run, raised.threshold.measure, raised.runs) for raised in told] == [(run.id, "usd", 1)]
    assert "above the $0.0001 of the alert" in str(told[0])
    assert "Alert: it has come to $0.00" in as_text(run.summary)
    assert "above the $0.0001 of the alert" in as_html(run.summary)
    assert run.alerts == tuple(told)
    assert as_text(summarise(run.events, bare=True)).count("Alert:") == 1


def test_the_last_call_can_pass_a_threshold_too() -> None:
    """The answer is written, and the warning comes after the end."""
    run = tiered(MemoryStore(), alerts=[Alert(usd=tiered(MemoryStore()).spent.usd * 0.999)])
    assert [record.event.kind for record in run.events][-2:] == ["run_finished", "alert_raised"]
    assert run.status is Status.COMPLETED


def test_a_callback_that_fails_breaks_nothing() -> None:
    """What it raised is in the record."""

    def fail(raised: Raised) -> None:
        raise ValueError(f"no mail for {raised.run}")

    run = tiered(MemoryStore(), alerts=[Alert(usd=0.0001, callback=fail)])
    [failed] = [r.event for r in run.events if isinstance(r.event, AlertFailed)]
    assert (run.status, failed.message) == (Status.COMPLETED, f"ValueError: no mail for {run.id}")


def test_a_callback_may_raise_what_has_no_text() -> None:
    """Nor does that break anything."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(_: Raised) -> None:
        raise Mute

    run = tiered(MemoryStore(), alerts=[Alert(usd=0.0001, callback=fail)])
    assert run.status is Status.COMPLETED
    assert [type(r.event) for r in run.events].count(AlertFailed) == 1


def test_an_alert_for_a_kind_of_task_leaves_the_others_alone() -> None:
    """By the tag task_type."""
    alerts = [Alert(usd=0.0001, task_type="triage")]
    assert tiered(MemoryStore(), alerts=alerts, tags={"task_type": "triage"}).alerts
    assert not tiered(MemoryStore(), alerts=alerts, tags={"task_type": "other"}).alerts
    assert not tiered(MemoryStore(), alerts=alerts).alerts


def test_a_mean_is_of_the_newest_runs_of_its_kind() -> None:
    """Evaluated as a run ends; one run is no mean, and another kind of task does not count."""
    store, told = MemoryStore(), list[Raised]()
    once = tiered(MemoryStore()).spent.tokens
    alert = Alert(tokens=once * 1.2, task_type="t", last=2, callback=told.append)
    big = [plan(*[step("add", a=n, b=2) for n in range(6)]), answer()]
    runs = [
        tiered(store, alerts=[alert], tags={"task_type": "t"}),
        tiered(store, strong=big, cheap=[verdict()] * 6, alerts=[alert], tags={"task_type": "u"}),
        tiered(store, alerts=[alert], tags={"task_type": "t"}),
        tiered(store, strong=big, cheap=[verdict()] * 6, alerts=[alert], tags={"task_type": "t"}),
    ]
    assert [len(run.alerts) for run in runs] == [0, 0, 0, 1]
    assert told[0].value == (runs[2].spent.tokens + runs[3].spent.tokens) / 2
    assert "the last 2 runs took" in as_text(runs[3].summary)
    assert "the last runs took" in as_text(summarise(runs[3].events, bare=True))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "an alert needs an amount"),
        ({"usd": 0}, "above usd=0 says nothing"),
        ({"tokens": float("nan")}, "says nothing"),
        ({"usd": True}, "says nothing"),
        ({"usd": 1, "last": 0}, "last=0 is no number of runs"),
    ],
)
def test_an_alert_that_says_nothing_is_refused(wrong: dict[str, Any], why: str) -> None:
    """With what to give."""
    with pytest.raises(ConfigError, match=why):
        Alert(**wrong)
    with pytest.raises(ConfigError, match=r"0\.1 is no Alert: give e\.g\. Alert\(usd=0\.10\)"):
        Agent(ScriptedModel([]), alerts=[0.1], store=MemoryStore())  # type: ignore[list-item]


def test_alerts_in_a_few_characters() -> None:
    """As they are typed; and as a run has recorded them."""
    assert measured("usd=0.10") == Alert(usd=0.10)
    for text in ("dollars=1", "usd=much", "usd="):
        with pytest.raises(ConfigError, match=r"is no alert|is not a number"):
            measured(text)
    alert = Alert(usd=1, tokens=5, task_type="t", last=3)
    assert alerts_of(alert.thresholds) == [
        Alert(usd=1, task_type="t", last=3), Alert(tokens=5, task_type="t", last=3),
    ]  # fmt: skip


def test_a_threshold_that_is_met_exactly_is_not_passed() -> None:
    """Above means above."""
    assert not Threshold("tokens", 10).passed_by(Spent(input_tokens=10))
    assert Threshold("tokens", 10).passed_by(Spent(input_tokens=10, output_tokens=1))


# ---------------------------------------------------------------------------------------------------- many runs


def test_a_table_is_what_the_folds_give(tmp_path: Path) -> None:
    """Of runs that rest, have ended or are under way, and of one that was taken in from a file."""
    store, other = DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b")
    agent = Agent(Priced("m", [plan(step("note", text="x")), answer()]), tools=[note], store=store)
    waits = agent.run("note it", tags={"task_type": "t"})

    def by_hand(of: DiskStore) -> float:
        return math.fsum(Cost(load(of, run)[0].costs).usd for run in of.runs())

    assert costs(store).total.usd == pytest.approx(by_hand(store)) != 0
    waits.approve()
    driven = agent.begin("another")
    tiered(store)
    assert costs(store).total.usd == pytest.approx(by_hand(store))
    assert {row.name: row.runs for row in costs(store, by="status")} == {"completed": 2, "in_progress": 1}
    driven.suspend()
    export_run(store, waits.id, tmp_path / "run.jsonl")
    import_run(other, tmp_path / "run.jsonl", Policy(), Budget())
    assert costs(other).total.usd == pytest.approx(Cost(waits.state.costs).usd)
    assert store.remove([waits.id], [], store.newest())
    assert costs(store).total.usd == pytest.approx(by_hand(store))


def test_a_run_costs_what_those_inside_it_cost(tmp_path: Path) -> None:
    """They are no further runs: else a mean would be of parts."""
    store = DiskStore(tmp_path / "a")
    run = three_deep(store)
    found = costs(store, by="status")
    assert (found.total.runs, found.total.tokens) == (1, run.spent.tokens)
    assert found.total.mean_usd == pytest.approx(run.spent.usd)
    assert found.total.p95_usd == pytest.approx(run.spent.usd)
    assert sum(row.usd for row in costs(store, by="phase")) == pytest.approx(run.spent.usd)


TAG = st.sampled_from(["", "triage", "bill", "<b>&"])
RECEIPTS = st.lists(
    st.builds(
        Receipt, st.just("r1-owl"), st.sampled_from(Status).map(str),
        TAG.map(lambda tag: {"task_type": tag} if tag else {}),
        LINES.map(lambda found: tuple(Line(*one) for one in {(p, m): (p, m, u) for p, m, u in found}.values())),
    ),
    max_size=12,
)  # fmt: skip


@settings(deadline=None)
@given(RECEIPTS)
def test_a_table_is_what_counting_by_hand_gives(found: list[Receipt]) -> None:
    """By tag, status, model and phase: runs, sums, means and the 95th percentile."""
    for by in ("task_type", "status", "model", "phase"):
        hand: dict[str, list[Used]] = defaultdict(list)
        for receipt in found:
            match by:
                case "task_type":
                    hand[receipt.tags.get("task_type", "")].append(receipt.cost.total)
                case "status":
                    hand[receipt.status].append(receipt.cost.total)
                case _:
                    for name in {getattr(line, by) for line in receipt.lines}:
                        mine = [line.used for line in receipt.lines if getattr(line, by) == name]
                        hand[name].append(sum(mine, Used()))
        table = aggregated(found, by)
        assert {row.name for row in table} == set(hand)
        for row in table:
            dollars = sorted(used.usd for used in hand[row.name])
            assert row.runs == len(dollars)
            assert row.usd == pytest.approx(math.fsum(dollars))
            assert row.mean_usd == pytest.approx(math.fsum(dollars) / len(dollars))
            assert sum(usd <= row.p95_usd for usd in dollars) >= 0.95 * len(dollars)
            assert sum(usd < row.p95_usd for usd in dollars) < 0.95 * len(dollars)
            assert row.tokens == sum(used.tokens for used in hand[row.name])
            assert row.lower_bound == any(used.unpriced for used in hand[row.name])
        assert table.total.runs == len(found)
        assert sum(row.usd for row in table) == pytest.approx(table.total.usd)
        assert [row.usd for row in table] == sorted((row.usd for row in table), reverse=True)


def test_a_table_is_escaped_bounded_and_the_same_each_time() -> None:
    """Tags come from users: nothing of them is HTML, and nothing that differs from one replay to the next is shown."""
    store = MemoryStore()
    for kind in ("<script>alert(1)</script>", "x" * 500, "triage"):
        tiered(store, tags={"task_type": kind})
    found = costs(store)
    page, text = found.as_html(), found.as_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert max(map(len, text.splitlines())) < 140
    assert (page, text) == (costs(store)._repr_html_(), repr(costs(store)))
    assert not any(run in page + text for run in store.runs())
    assert text.splitlines()[0] == "Cost of 3 runs by task_type"
    assert text.splitlines()[-1].startswith("total")


def test_what_no_run_has_is_no_grouping() -> None:
    """The error lists what is one, the tags of older runs among them; of no runs at all any is."""
    store = MemoryStore()
    assert repr(costs(store, by="typo")) == "No runs to count"
    tiered(store, tags={"customer": "a", "<b>\n": "x"})
    assert [row.name for row in costs(store, by="customer")] == ["a"]
    assert not costs(store, by="customer", since="2999-01-01").rows
    with pytest.raises(ConfigError) as told:
        costs(store, by="typo")
    said = "no run has a tag 'typo': what costs can be grouped by is model, phase, status, task_type, <b>, customer"
    assert str(told.value) == said


def test_what_is_missing_or_unknown_is_said() -> None:
    """Runs without the tag, dollars that are a lower bound, savings below 0, and no runs at all."""
    lines = [plan(step("add", a=1, b=2)), verdict(), answer("3")]
    store = MemoryStore()
    tiered(store, model=Priced("openai:mystery", lines, None), cheap_model=None)
    tiered(store, model=Priced("strong", lines, wrote=1), cheap_model=None, tags={"task_type": "t"})
    text = costs(store).as_text()
    assert "(no task_type)" in text
    assert "≥ $0.000" in text
    assert "−$0.00" in text
    assert text.endswith("≥ a model's price is not known: at least so much")
    assert "≥" in costs(store).as_html()
    assert repr(costs(MemoryStore())) == "No runs to count"
    assert costs(MemoryStore()).as_html() == "<p>No runs to count</p>"


def test_only_runs_since_a_moment(tmp_path: Path) -> None:
    """A date, a time, a length of time ago; and progress over all of them."""
    store, seen = DiskStore(tmp_path), list[tuple[int, int]]()
    tiered(store)
    assert len(costs(tmp_path, since="1h", progress=lambda n, of: seen.append((n, of)))) == 1
    assert len(costs(tmp_path, since=datetime.now(UTC) + timedelta(hours=1))) == 0
    assert seen == [(1, 1)]
    with pytest.raises(ConfigError, match="there is no store at"):
        costs(tmp_path / "none")


def test_a_head_of_before_there_were_tiers() -> None:
    """No phases, no escalation, no alerts: the two models do what they did."""
    old = RunStarted(run="r1", task="t", model="m", cheap_model="c", tools={}, budget=Budget())
    assert [model_of(old, phase) for phase in PHASES] == ["m", "c", "c", "c", "c", "m"]
    assert (old.escalate, old.alerts) == (False, ())


def test_what_the_providers_cache_saved_is_reckoned_on_the_same_terms() -> None:
    """A batch without the cache is a batch: its half price is not taken for a loss by caching."""

    def price(usage: Usage) -> float:
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        halved = 0.5 if "batch" in usage.terms else 1
        return halved * (plain + 0.1 * usage.cache_read_tokens + 2 * usage.cache_write_1h_tokens)

    usage = Usage(1000, 0, 400, 100, cache_write_1h_tokens=100, terms=("batch",))
    assert uncached(price, usage) == 500
