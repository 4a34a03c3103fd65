"""Numbers about many runs, each against what counting by hand gives; and alerts on them."""

from __future__ import annotations

import logging
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Alert, Budget, Check, ScriptedModel, Step, alert, tool
from agentnb.alerts import METRICS, Raised, Threshold, alerts_of, measured
from agentnb.budget import Usage
from agentnb.codec import decode, encode
from agentnb.errors import ConfigError, FailureClass, ModelError
from agentnb.measures import quantile
from agentnb.metrics import CallMetrics, Metrics, ModelMetrics, share
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.render import as_text
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from agentnb.summary import summarise
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, broken, note, plan, step, table, verdict
from tests.test_family import three_deep

ADDING = Step(tool="add", args={"a": 1, "b": 2}, check=Check(non_empty=True))


def ran(store: Any, lines: list[Any], *, steps: list[Step] | None = None, kind: str = "", **options: Any) -> Run:
    agent = Agent(ScriptedModel(lines), tools=[add, table, note, broken], store=store, assess=False, **options)
    return agent.run("do it", plan=steps, tags={"task_type": kind} if kind else {})


def done(store: Any, **options: Any) -> Run:
    return ran(store, [answer()], steps=[ADDING], **options)


def failed(store: Any, **options: Any) -> Run:
    return ran(store, [answer()], steps=[Step(tool="broken")], **options)


def limited(store: Any, **options: Any) -> Run:
    return ran(store, [answer()], steps=[ADDING, ADDING], budget=Budget(tool_calls=1, tokens=9000), **options)


def waiting(store: Any, **options: Any) -> Run:
    return ran(store, [answer()], steps=[Step(tool="note", args={"text": "x"}, check=Check(non_empty=True))], **options)


def metrics_of(store: Any, **which: Any) -> Metrics:
    return Agent(ScriptedModel([]), store=store).runs(**which).metrics()


# ---------------------------------------------------------------------------------------------------- counts


def test_of_nothing_nothing_is_said() -> None:
    """No 0 that nobody has counted, and no NaN: what cannot be told is None."""
    found = metrics_of(MemoryStore())
    assert found == Metrics()
    rates = [name for name in dir(Metrics) if name.endswith("_rate")]
    assert len(rates) == 9
    assert all(getattr(found, name) is None for name in (*rates, "oldest_wait_s", "p50_usd", "p95_seconds"))


def test_runs_by_how_they_ended(store: DiskStore) -> None:
    """Those inside others not counted; a rate is of those that have ended."""
    for make in (done, done, failed, limited, waiting):
        make(store)
    found = metrics_of(store)
    assert (found.runs, found.ended, found.statuses) == (5, 4, {"completed": 2, "stopped": 2, "awaiting_approval": 1})
    assert found.reasons == {"escalated": 1, "tool_calls": 1}
    assert (found.success_rate, found.limit_rate, found.failure_rate, found.timeout_rate) == (0.5, 0.25, 0, 0)


def test_calls_of_a_tool_by_how_they_ended(store: DiskStore) -> None:
    """Done, failed, held back by a limit, refused by a person."""
    done(store)
    failed(store)
    limited(store)
    waiting(store).reject("not now", by="ada")
    waiting(store).approve(by="ada")
    tools = metrics_of(store).tools
    assert (tools["add"].calls, tools["add"].ok, tools["add"].limits) == (3, 2, 1)
    assert (tools["add"].success_rate, tools["add"].limit_rate) == (2 / 3, 1 / 3)
    assert (tools["broken"].calls, tools["broken"].failed, tools["broken"].failure_rate) == (1, 1, 1)
    assert (tools["note"].calls, tools["note"].ok, tools["note"].refused) == (2, 1, 1)
    assert tools["add"].p50_seconds is not None
    assert tools["add"].p50_seconds <= (tools["add"].p95_seconds or 0)


def test_what_was_only_simulated_or_proposed_is_no_call(store: DiskStore) -> None:
    """Nothing was called; what a person then has carried out is one, and counts once."""

    @tool(effect="destructive")
    def drop(name: str) -> str:
        """Drop it.

        Args:
            name: which.
        """
        return name

    steps = [Step(tool="note", args={"text": "x"}), Step(tool="drop", args={"name": "y"})]
    agent = Agent(ScriptedModel([answer()] * 3), tools=[note, drop], store=store, assess=False, approve="auto")
    agent.run("do it", plan=steps[:1], dry_run=True)
    assert (metrics_of(store).tools, metrics_of(store).calls) == ({}, 1)
    run = agent.run("do it", plan=steps[1:])
    assert (metrics_of(store).tools, metrics_of(store).calls) == ({}, 2)
    run.execute(by="ada")
    assert (metrics_of(store).tools["drop"].calls, metrics_of(store).tools["drop"].ok) == (1, 1)


def test_replies_of_no_use_are_counted_by_phase_and_by_model(store: DiskStore) -> None:
    """And a reply that is then of use is not."""
    ran(store, [("plan", "no plan at all"), plan(step("add", a=1, b=2)), verdict(), answer()])
    found = metrics_of(store)
    assert (found.phases["plan"].calls, found.phases["plan"].ok, found.phases["plan"].failed) == (2, 1, 1)
    assert list(found.phases) == ["plan", "critique", "answer"]
    model = found.models["scripted"]
    assert (model.calls, model.replies, model.malformed, model.malformed_rate) == (4, 4, 1, 0.25)
    assert found.malformed_rate == 0.25


def test_people_are_counted_by_run(store: DiskStore, fake_clock: FakeClock) -> None:
    """How often they are needed, how long they took, and what waits for them now, the oldest first."""
    agent = Agent(ScriptedModel([answer()] * 9), tools=[note, add], store=store, clock=fake_clock.clock(), assess=False)
    asks = [Step(tool="note", args={"text": "x"}, check=Check(non_empty=True))]
    first, second = (agent.run("note", plan=asks, tags={"task_type": "n"}) for _ in range(2))
    agent.run("add", plan=[ADDING])
    fake_clock.now += 60
    found = agent.runs().metrics()
    assert [(one.run, one.what, one.age_s, one.task_type) for one in found.waiting] == [
        (first.id, "approval s1 note", 60, "n"),
        (second.id, "approval s1 note", 60, "n"),
    ]
    assert (found.queue_depth, found.oldest_wait_s, found.p50_wait_seconds) == (2, 60, None)
    first.approve()
    fake_clock.now += 40
    found = agent.runs().metrics()
    assert (found.queue_depth, found.oldest_wait_s, found.p50_wait_seconds) == (1, 100, 60)
    assert (found.asked, found.runs, found.intervention_rate) == (2, 3, 2 / 3)


def test_a_person_whom_a_run_inside_a_run_needs_is_needed_once(store: DiskStore) -> None:
    """By the run that a user has begun: so the rate is never above 1."""
    run = three_deep(store, ask=True)
    found = metrics_of(store)
    assert [child.state.head.parent for child in run.children] == [run.id]
    assert (found.runs, found.asked, found.intervention_rate) == (1, 1, 1.0)


class Flaky:
    """A model that fails once, in a way that passes, and takes its time."""

    ref = "scripted:flaky"

    def __init__(self, clock: FakeClock, price: Any = None) -> None:
        self._clock, self._calls, self.price = clock, 0, price

    def ask(self, request: ModelRequest) -> ModelReply:
        self._calls += 1
        self._clock.now += 2
        if self._calls == 1:
            raise ModelError("the server was silent for longer than the time limit", FailureClass.TRANSIENT)
        assert request.phase == "answer"
        return ModelReply('{"answer": "x", "unknowns": [], "confidence": "high"}', Usage(100, 10))


def test_tries_and_time_outs(store: DiskStore, fake_clock: FakeClock) -> None:
    """A call that is made again is a retry, and the first one a failure that took too long."""
    agent = Agent(Flaky(fake_clock), tools=[add], store=store, clock=fake_clock.clock(), sleep=lambda _: None)
    agent.run("add", plan=[ADDING])
    found = agent.runs().metrics()
    phase = found.phases["answer"]
    assert (phase.calls, phase.ok, phase.failed, phase.timeouts, phase.retries) == (2, 1, 1, 1, 1)
    assert (found.models["scripted:flaky"].p50_seconds, found.retries, found.calls) == (2, 1, 3)
    assert found.retry_rate == 1 / 3


def test_cost_by_kind_of_task_and_how_it_drifts(store: DiskStore, fake_clock: FakeClock) -> None:
    """Against the stretch of time before; where no start is given, the newer half against the older."""

    def one(usd: float) -> None:
        model = Flaky(fake_clock, lambda _: usd)
        model._calls = 1
        agent = Agent(model, tools=[add], store=store, clock=fake_clock.clock(), budget=Budget(usd=9, tokens=90_000))
        agent.run("add", plan=[ADDING], tags={"task_type": "t"})
        fake_clock.now += 3600

    for usd in (0.1, 0.1, 0.3, 0.1):
        one(usd)
    agent = Agent(ScriptedModel([]), store=store, clock=fake_clock.clock())
    half = agent.runs().metrics().task_types["t"]
    assert (half.runs, half.before_runs) == (4, 2)
    assert [half.usd, half.before_mean_usd, half.drift] == pytest.approx([0.6, 0.1, 1.0])
    window = agent.runs(since="2h").metrics().task_types["t"]
    assert (window.runs, window.before_runs) == (1, 2)
    assert window.drift == pytest.approx(-0.5)
    assert metrics_of(MemoryStore()).task_types == {}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_the_nearest_rank(values: list[float], part: float) -> None:
    """At least so many are not above it, and fewer are below."""
    found = quantile(sorted(values), part)
    assert found is not None
    assert sum(value <= found for value in values) >= part * len(values)
    assert sum(value < found for value in values) < part * len(values)
    assert quantile([], part) is None


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_share_of_nothing_is_none(part: int, whole: int) -> None:
    """And no division by it."""
    assert share(part, whole) == (part / whole if whole else None)


def test_every_metric_is_there() -> None:
    """What an alert can name, `Metrics` has; of tools and models as well."""
    have = {*dir(Metrics), *(f.name for f in fields(Metrics))}
    assert set(METRICS) <= have
    for kind, name in ((CallMetrics, "timeout_rate"), (ModelMetrics, "malformed_rate")):
        assert hasattr(kind, name)
    assert not any(isinstance(value, float) and math.isnan(value) for value in vars(Metrics).values())


# ---------------------------------------------------------------------------------------------------- alerts


def test_an_alert_on_a_metric_warns_as_a_run_ends(store: DiskStore, caplog: pytest.LogCaptureFixture) -> None:
    """In the output, in the record, in the log, and by callback; not of a single run."""
    told = list[Raised]()
    rule = alert("success_rate", below=0.9, last=10, callback=told.append)
    runs = [make(store, alerts=[rule]) for make in (failed, done, done, failed)]
    assert [len(run.alerts) for run in runs] == [0, 1, 1, 1]
    assert [raised.value for raised in told] == [1 / 2, 2 / 3, 1 / 2]
    said = "success rate is 50%, below the 90% of the alert, over 4 runs"
    assert said in as_text(runs[3].summary)
    assert str(told[-1]) == f"{runs[3].id}: {said}"
    assert "success rate is 50%, below the 90% of the alert" in as_text(summarise(runs[3].events, bare=True))
    assert [record.name for record in caplog.records if "success rate" in record.message] == ["agentnb.alerts"] * 3
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_an_alert_on_one_tool_one_kind_of_task_or_a_window(store: DiskStore, fake_clock: FakeClock) -> None:
    """Others do not count; and what is older than the window does not."""
    rules = [
        alert("failure_rate", above=0, tool="broken", last=5),
        alert("limit_rate", above=0.5, task_type="t", window="1h"),
    ]
    how: dict[str, Any] = {"alerts": rules, "clock": fake_clock.clock()}
    limited(store, kind="t", **how)
    limited(store, kind="u", **how)
    assert not done(store, kind="u", **how).alerts
    assert [raised.threshold.measure for raised in limited(store, kind="t", **how).alerts] == ["limit_rate"]
    fake_clock.now += 7200
    assert not limited(store, kind="t", **how).alerts
    assert [raised.threshold.tool for raised in failed(store, **how).alerts] == ["broken"]


def test_a_mean_is_of_whole_runs(store: DiskStore, fake_clock: FakeClock) -> None:
    """What runs inside them took is in it once; nor does one inside another count as a second run."""
    rules = [Alert(tokens=1, last=5), alert("failure_rate", above=0, tool="broken", last=5)]
    how: dict[str, Any] = {"alerts": rules, "clock": fake_clock.clock(), "approve": "auto"}

    def run() -> Run:
        lines = [plan(step("broken")), plan(), answer()]
        inner = Agent(ScriptedModel(lines), tools=[broken], assess=False).as_tool("inner", "Fails.")
        agent = Agent(ScriptedModel([answer()]), tools=[inner], store=store, assess=False, **how)
        return agent.run("fail", plan=[Step(tool="inner", args={"task": "fail"}, check=Check(non_empty=True))])

    first, second = run(), run()
    assert (len(first.children), first.alerts) == (1, ())
    tokens, rate = second.alerts
    assert (tokens.runs, tokens.value) == (2, (first.spent.tokens + second.spent.tokens) / 2)
    assert (rate.runs, rate.value) == (2, 1.0)


def test_an_alert_on_the_queue_needs_no_second_run(store: DiskStore) -> None:
    """It says how it stands now; what waits has not ended."""
    waiting(store)
    assert [
        str(raised).partition(": ")[2] for raised in done(store, alerts=[alert("queue_depth", above=0)]).alerts
    ] == ["queue depth is 1, above the 0 of the alert, over 1 run"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: alert("success_rate"), "needs a bound: give above= or below="),
        (lambda: alert(cast("Any", "sucess_rate"), above=1), "there is no metric 'sucess_rate'"),
        (lambda: alert("queue_depth", above=1, tool="add"), "there is no metric of a tool 'queue_depth'"),
        (lambda: alert("success_rate", above=1, model="m"), "there is no metric of a model"),
        (lambda: alert("success_rate", above=-1), "says nothing: give a number above 0"),
        (lambda: alert("success_rate", above=1, window="soon"), "is no length of time"),
        (lambda: alert("failure_rate", above=20), "is a share of 1, so give 0.2 for 20 %"),
        (lambda: alert("success_rate", below=90, tool="add"), "is a share of 1, so give 0.9 for 90 %"),
        (lambda: Alert(metric="cache_hit_rate", above=300, last=5), "is a share of 1, so give a number up to 1"),
        (lambda: measured("failure_rate>20/7d"), "is a share of 1, so give 0.2 for 20 %"),
        (lambda: Alert(metric="success_rate", below=0.9), "is of several runs: give last=50"),
        (lambda: alert("success_rate", below=0.9, last=1), "is of several runs"),
        (lambda: Alert(usd=1, above=2), "are of a metric: give metric="),
        (lambda: measured("successrate>1"), "'successrate' is none of success_rate"),
        (lambda: measured("success_rate>much"), "is not a number: write e.g. success_rate>0.10"),
    ],
)  # fmt: skip
def test_an_alert_on_no_metric_is_refused(make: Any, why: str) -> None:
    """With what to give."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert why in str(caught.value)


def test_alerts_on_metrics_in_a_few_characters() -> None:
    """As they are typed, and as a run has recorded them."""
    assert measured("failure_rate>0.2/7d") == alert("failure_rate", above=0.2, window="7d")
    assert measured("success_rate<0.9/50") == alert("success_rate", below=0.9, last=50)
    assert measured("p95_seconds>30") == alert("p95_seconds", above=30)
    rules = [alert("failure_rate", above=0.2, tool="add", window="2h"), Alert(usd=1, tokens=5, last=3)]
    recorded = tuple(threshold for rule in rules for threshold in rule.thresholds)
    assert tuple(t for rule in alerts_of(recorded) for t in rule.thresholds) == recorded
    (never,) = alerts_of((Threshold("failure_rate", 20.0, last=5),))  # which a run may have recorded once
    assert (never.above, never.below) == (1.0, None)


def test_a_threshold_of_before_there_were_metrics(tmp_path: Path) -> None:
    """Is read as it was meant."""
    store = DiskStore(tmp_path)
    run = done(store, alerts=[Alert(usd=0.5)])
    new, text = ',"below":null,"within_s":0.0,"tool":"","model":""', encode(run.events[:1])
    assert f'[{{"measure":"usd","above":0.5,"task_type":"","last":1{new}}}]' in text
    (record,) = decode(text.replace(new, ""))
    assert record.event.alerts == (Threshold("usd", 0.5),)  # type: ignore[union-attr]
