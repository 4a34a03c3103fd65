"""OpenTelemetry: a run's spans and metrics as a collector gets them, over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry's SDK is in the extra `otel`")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from agentnb import Agent, Budget, ModelReply, ModelRequest, ScriptedModel, Step, Telemetry, Usage, tool
from agentnb.errors import ConfigError
from agentnb.ids import Ids
from agentnb.models.scripted import harmless
from agentnb.otel import CONTENT, nobody_listens
from agentnb.settings import Settings
from agentnb.store.disk import DiskStore
from tests.cells import notebook_in, scripted
from tests.conftest import FakeClock
from tests.loopback import playing, streaming
from tests.otlp import Received, Sender, Spanned, collector, sending
from tests.parts import NOTES, MemoryStore, add, answer, broken, note, plan, step, verdict
from tests.test_models_anthropic import begun, ended, said
from tests.test_models_openai import ended as done
from tests.test_models_openai import said as told

INTERNAL, CLIENT = 1, 3


class Cents:
    """A price of 1 cent a call."""

    def __call__(self, _: Usage) -> float:
        return 0.01


class Phases:
    """A model that answers each phase in one way, as often as it is asked."""

    ref = "made-up:model"
    price = staticmethod(lambda _: 0.0)

    def __init__(self, *steps: dict[str, Any]) -> None:
        self._said = dict([plan(*steps), verdict(finding="a finding"), answer("Done.")])

    def ask(self, request: ModelRequest) -> ModelReply:
        reply = harmless(request) if request.phase == "assess" else self._said[request.phase]
        return ModelReply(json.dumps(reply), Usage(100, 10, cache_read_tokens=40), model="model-1")


@pytest.fixture
def received() -> Iterator[Received]:
    with collector() as opened:
        yield opened


@pytest.fixture
def sender(received: Received) -> Iterator[Sender]:
    with sending(received.url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    NOTES.clear()
    monkeypatch.delenv(CONTENT, raising=False)


def telling(sender: Sender, **options: Any) -> Telemetry:
    return Telemetry(sender.spans, sender.metrics, **options)


def kept_in_memory() -> tuple[TracerProvider, InMemorySpanExporter]:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def below_each_other(spans: list[Spanned]) -> None:
    """Each span once, all of one trace, and each but one below another that is there and holds it."""
    ids = [span.id for span in spans]
    assert len(set(ids)) == len(ids)
    assert len({span.trace for span in spans}) == 1
    [top] = [span for span in spans if not span.parent]
    assert top.name.startswith("invoke_agent")
    assert {span.parent for span in spans} - {""} <= set(ids)
    for span in spans:
        assert span.start <= span.end


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_a_run_is_a_tree_in_the_words_of_the_conventions(
    received: Received, sender: Sender, store: DiskStore, fake_clock: FakeClock
) -> None:
    """Names, parents, kinds, attributes and the times of the records."""

    def slow(_: ModelRequest) -> ModelReply:
        fake_clock.sleep(2.0)
        return ModelReply(json.dumps(plan(step("add", a=1, b=2))[1]), Usage(900, 50, 700, 100, reasoning_tokens=7))

    model = ScriptedModel([("plan", slow), verdict(), answer()], ref="anthropic:claude-test", price=Cents())
    agent = Agent(model, tools=[add], store=store, clock=fake_clock.clock(), telemetry=telling(sender))
    run = agent.run("add")
    sender.flush()
    below_each_other(received.spans)
    root = received.named("invoke_agent")
    assert received.children(root) == ["plan", "step s1 add", "answer"]
    assert received.children(received.named("plan")) == ["chat claude-test"]
    assert sorted(received.children(received.named("step s1 add"))) == ["chat claude-test", "execute_tool add"]
    [chat] = [s for s in received.spans if s.parent == received.named("plan").id]
    assert (chat.kind, chat.start, chat.end) == (CLIENT, 1_000_000.0, 1_000_002.0)
    assert (
        chat.attributes.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "claude-test",
            "gen_ai.response.model": "claude-test",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.conversation.id": run.id,
            "gen_ai.usage.input_tokens": 900,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.cache_read.input_tokens": 700,
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 7,
            "agentnb.phase": "plan",
            "agentnb.attempt": 1,
            "agentnb.cost.usd": 0.01,
        }.items()
    )
    assert chat.attributes["gen_ai.request.max_tokens"] > 0
    call = received.named("execute_tool add")
    assert (call.kind, call.error) == (INTERNAL, False)
    assert (
        call.attributes.items()
        >= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.type": "function",
            "agentnb.step": "s1",
            "agentnb.status": "ok",
        }.items()
    )
    [claimed] = [record for record in run.events if record.event.kind == "tool_claimed"]
    assert call.attributes["gen_ai.tool.call.id"] == f"{run.id}/{claimed.seq}"
    assert (
        root.attributes.items()
        >= {
            "gen_ai.operation.name": "invoke_agent",
            "agentnb.run.uid": run.state.head.uid,
            "agentnb.status": "completed",
            "agentnb.stop_reason": "complete",
        }.items()
    )
    assert (root.start, root.end, root.kind) == (1_000_000.0, 1_000_002.0, INTERNAL)


def test_metrics(received: Received, sender: Sender, store: DiskStore) -> None:
    """Tokens and seconds in the buckets of the conventions; dollars, and runs by what became of them."""
    model = ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer()], ref="openai:gpt-test", price=Cents())
    run = Agent(model, tools=[add], store=store, telemetry=telling(sender)).run("add")
    sender.flush()
    tokens = {point.attributes[-1].value.string_value: point for point in received.metrics["gen_ai.client.token.usage"]}
    assert {kind: point.sum for kind, point in tokens.items()} == {
        "input": run.spent.input_tokens,
        "output": run.spent.output_tokens,
    }
    assert list(tokens["input"].explicit_bounds) == [4**n for n in range(14)]
    [seconds] = received.metrics["gen_ai.client.operation.duration"]
    assert seconds.count == 3
    assert list(seconds.explicit_bounds) == pytest.approx([0.01 * 2**n for n in range(14)])
    assert sum(point.as_double for point in received.metrics["agentnb.cost.usd"]) == pytest.approx(run.spent.usd)
    [runs] = received.metrics["agentnb.runs"]
    said = {pair.key: pair.value.string_value for pair in runs.attributes}
    assert (runs.as_int, said) == (1, {"agentnb.run.status": "completed", "agentnb.stop_reason": "complete"})


def test_failures_are_errors_and_retries_lie_beside_each_other(
    received: Received, sender: Sender, store: DiskStore
) -> None:
    """`error.type` is the class of failure, also in the metrics; a model that is asked again has a span a try."""
    from agentnb.errors import FailureClass, ModelError

    again = ModelError("try again", FailureClass.TRANSIENT)
    model = ScriptedModel([again, plan(step("broken")), plan(), answer()])
    agent = Agent(model, tools=[broken], store=store, sleep=lambda _: None, telemetry=telling(sender))
    agent.run("fail")
    sender.flush()
    first, wait, second = (
        span
        for span in sorted(received.spans, key=lambda span: (span.start, span.end))
        if span.parent == min((s for s in received.spans if s.name == "plan"), key=lambda s: s.start).id
    )
    assert (first.error, first.attributes["error.type"], wait.name) == (True, "transient", "backoff")
    assert (second.error, second.attributes["agentnb.attempt"]) == (False, 2)
    call = received.named("execute_tool broken")
    assert (call.error, call.attributes["error.type"]) == (True, "invalid_data")
    points = received.metrics["gen_ai.client.operation.duration"]
    bad = [p for p in points if any(pair.key == "error.type" for pair in p.attributes)]
    assert [point.count for point in bad] == [1]


def test_what_happens_at_one_moment_is_an_event(received: Received, sender: Sender, store: DiskStore) -> None:
    """The plan and what was decided: on what they happened in, with numbers and without words."""
    model = Phases(step("note", text="hello"), step("add", a=1, b=2))
    agent = Agent(model, tools=[note, add], store=store, telemetry=telling(sender), approve="deny")
    agent.run("note")
    sender.flush()
    events = {name: facts for span in reversed(received.spans) for name, _, facts in span.events}
    assert events["agentnb.plan_made"].items() >= {"agentnb.version": 1, "agentnb.steps": 2}.items()
    assert (
        events["agentnb.approval_answered"].items()
        >= {
            "agentnb.decision": "reject",
            "agentnb.by": "policy",
            "agentnb.step": "s1",
        }.items()
    )


def test_a_limit_is_an_event_and_no_error(received: Received, sender: Sender, store: DiskStore) -> None:
    """With what was needed and what was left."""
    model = Phases(step("add", a=1, b=2), step("add", a=3, b=4))
    run = Agent(model, tools=[add], store=store, budget=Budget(steps=1), telemetry=telling(sender)).run("add")
    sender.flush()
    root = received.named("invoke_agent")
    assert (run.stop_reason, root.attributes["agentnb.stop_reason"], root.error) == ("steps", "steps", False)
    [limit] = [facts for span in received.spans for name, _, facts in span.events if name == "agentnb.limit_reached"]
    assert limit.items() >= {"agentnb.limit": "steps", "agentnb.left": 0.0, "agentnb.cap": 1.0}.items()


CANARY = "canary-7f3a"


@pytest.mark.parametrize("content", [False, True])
def test_what_was_said_is_sent_only_where_that_is_wanted(
    received: Received, sender: Sender, store: DiskStore, *, content: bool
) -> None:
    """Task, arguments, results, reasons, plan and answer: with content all of it, without nothing; secrets never."""
    secret = "hunter2-hunter2"  # noqa: S105 - a canary

    @tool(effect="read")
    def look(what: str) -> str:
        """Look.

        Args:
            what: at what.
        """
        return f"result {CANARY} {what} {secret}"

    model = ScriptedModel(
        [
            plan(step("look", title=f"title {CANARY}", what=f"args {CANARY}")),
            verdict(finding=f"finding {CANARY}", reason=f"reason {CANARY}"),
            answer(f"answer {CANARY} {secret}"),
        ]
    )
    agent = Agent(
        model,
        tools=[look],
        store=store,
        secrets={"pw": secret},
        telemetry=telling(sender, content=content),
    )
    agent.run(f"task {CANARY}", tags={"task_type": CANARY})
    sender.flush()
    sent = received.raw.decode("utf-8", "replace")
    assert secret not in sent
    assert (CANARY in sent) is content
    if content:
        call, root = received.named("execute_tool look"), received.named("invoke_agent")
        assert json.loads(call.attributes["gen_ai.tool.call.arguments"]) == {"what": f"args {CANARY}"}
        assert call.attributes["gen_ai.tool.call.result"] == json.dumps(f"result {CANARY} args {CANARY} [redacted:pw]")
        [message] = json.loads(root.attributes["gen_ai.output.messages"])
        assert message["parts"] == [{"type": "text", "content": f"answer {CANARY} [redacted:pw]"}]
        assert f"task {CANARY}" in root.attributes["gen_ai.input.messages"]


@pytest.mark.parametrize(("said", "wanted"), [("", False), ("true", True), ("SPAN_ONLY", True), ("NO_CONTENT", False)])
def test_content_by_the_variable_that_all_know(monkeypatch: pytest.MonkeyPatch, said: str, *, wanted: bool) -> None:
    """What is given beats the environment."""
    monkeypatch.setenv(CONTENT, said)
    assert Telemetry().content is wanted
    assert Telemetry(content=not wanted).content is not wanted


# --- where spans hang -------------------------------------------------------------------------------------------------


def test_a_run_hangs_below_what_goes_on_and_the_tools_own_spans_below_the_call(store: DiskStore) -> None:
    """Also where the tool runs on a thread of its own."""
    provider, exporter = kept_in_memory()
    mine = provider.get_tracer("mine")

    @tool(effect="read", timeout_s=5)
    def traced() -> int:
        """Trace."""
        with mine.start_as_current_span("inside"):
            return 1

    model = ScriptedModel([plan(step("traced")), verdict(), answer()])
    agent = Agent(model, tools=[traced], store=store, telemetry=Telemetry(provider))
    with mine.start_as_current_span("outside"), ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, agent.run, "trace").result()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    parents = {name: span.parent.span_id if span.parent else 0 for name, span in spans.items()}
    assert parents["inside"] == spans["execute_tool traced"].context.span_id
    assert parents["invoke_agent"] == spans["outside"].context.span_id
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_an_agent_as_a_tool_hangs_below_its_call(received: Received, sender: Sender, store: DiskStore) -> None:
    """Two runs, one trace; the name of the inner agent is on all that it does."""
    helper = Agent(Phases(step("add", a=1, b=2)), tools=[add]).as_tool("helper", "Adds.")
    Agent(Phases(step("helper", task="add")), tools=[helper], store=store, telemetry=telling(sender)).run("add")
    sender.flush()
    below_each_other(received.spans)
    assert received.children(received.named("execute_tool helper")) == ["invoke_agent helper"]
    inner = received.named("invoke_agent helper")
    assert received.children(inner) == ["plan helper", "step s1 add", "answer"]
    assert received.named("execute_tool add").attributes["gen_ai.agent.name"] == "helper"
    assert (
        inner.attributes["gen_ai.conversation.id"]
        != received.named("invoke_agent").attributes["gen_ai.conversation.id"]
    )


def test_agents_that_a_tool_calls_on_threads_hang_below_its_call(
    received: Received, sender: Sender, store: DiskStore
) -> None:
    """Each with its own spans below itself, however the threads lie."""
    helper = Agent(Phases(step("add", a=1, b=2)), tools=[add]).as_tool("helper", "Adds.")

    @tool(effect="read")
    def several() -> int:
        """Ask three."""
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(copy_context().run, lambda: helper(task=f"task {n}")) for n in range(3)]  # noqa: B023
            return len([each.result() for each in asked])

    most = Budget(tokens=None)
    agent = Agent(Phases(step("several")), tools=[several, helper], store=store, telemetry=telling(sender), budget=most)
    agent.run("ask")
    sender.flush()
    below_each_other(received.spans)
    inner = [span for span in received.spans if span.name == "invoke_agent helper"]
    assert {span.parent for span in inner} == {received.named("execute_tool several").id}
    assert [received.children(span) for span in inner] == [["plan helper", "step s1 add", "answer"]] * 3


# --- resumed, forked --------------------------------------------------------------------------------------------------


def test_an_approval_in_another_process_goes_on_in_the_same_trace(store: DiskStore) -> None:
    """The time at rest is a span with the answer in it; the second call of the agent lies below the first."""
    first, then = kept_in_memory(), kept_in_memory()
    model = Phases(step("note", text="hello"))
    with first[0].get_tracer("mine").start_as_current_span("outside"):
        run = Agent(model, tools=[note], store=store, telemetry=Telemetry(first[0])).run("note")
    agent = Agent(model, tools=[note], store=store, telemetry=Telemetry(then[0]))
    [found] = agent.runs()
    assert run.pending
    found.approve(by="ana")
    spans = [*first[1].get_finished_spans(), *then[1].get_finished_spans()]
    assert len({span.context.trace_id for span in spans}) == 1
    ids = {span.context.span_id: span.name for span in spans}
    assert len(ids) == len(spans)
    hangs = {span.name: ids[span.parent.span_id] for span in then[1].get_finished_spans() if span.parent}
    assert hangs["rest approval"] == hangs["invoke_agent"] == "invoke_agent"
    assert hangs["execute_tool note"] == "step s1 note"
    [rest] = [span for span in spans if span.name == "rest approval"]
    [event] = rest.events
    assert event.name == "agentnb.approval_answered"
    assert (event.attributes or {})["agentnb.by"] == "ana"


def test_an_agent_inside_that_waits_goes_on_below_the_call_that_goes_on(store: DiskStore) -> None:
    """Both rest, both are resumed: the inner one again inside the call that it is."""
    first, then = kept_in_memory(), kept_in_memory()
    helper = Agent(Phases(step("note", text="hello")), tools=[note]).as_tool("helper", "Notes.")
    model = Phases(step("helper", task="note"))
    run = Agent(model, tools=[helper], store=store, telemetry=Telemetry(first[0])).run("note")
    assert run.pending
    found = Agent(model, tools=[helper], store=store, telemetry=Telemetry(then[0])).runs()[-1]
    assert found.pending
    assert found.approve().output == "Done."
    spans = [*first[1].get_finished_spans(), *then[1].get_finished_spans()]
    named = {span.context.span_id: span.name for span in spans}
    assert len(named) == len(spans)
    later = {span.name: span for span in then[1].get_finished_spans()}
    above = later["invoke_agent helper"].parent
    assert above == later["execute_tool helper"].context
    assert [named[s.parent.span_id] for s in (later["step s1 note"], later["execute_tool note"]) if s.parent] == [
        "invoke_agent helper",
        "step s1 note",
    ]


def test_a_run_that_is_cancelled_at_rest_is_told_as_such(received: Received, sender: Sender, store: DiskStore) -> None:
    """No error, and one run that has ended."""
    agent = Agent(Phases(step("note", text="hello")), tools=[note], store=store, telemetry=telling(sender))
    agent.run("note").cancel("not today")
    sender.flush()
    last = max((span for span in received.spans if span.name == "invoke_agent"), key=lambda span: span.start)
    assert (last.attributes["agentnb.status"], last.error) == ("cancelled", False)
    [runs] = received.metrics["agentnb.runs"]
    assert {pair.value.string_value for pair in runs.attributes} == {"cancelled"}


def test_an_action_that_a_person_carries_out_has_its_span(received: Received, sender: Sender, store: DiskStore) -> None:
    """When the run is over: below its first span, with the tool's name and who it was."""

    @tool(effect="destructive")
    def drop(what: str) -> str:
        """Drop it.

        Args:
            what: that.
        """
        return f"dropped {what}"

    agent = Agent(Phases(step("drop", what="it")), tools=[drop], store=store, telemetry=telling(sender))
    run = agent.run("drop it")
    run.execute(by="ana")
    sender.flush()
    below_each_other(received.spans)
    call, root = received.named("execute_tool drop"), received.named("invoke_agent")
    assert (call.parent, call.attributes["agentnb.by"], call.error) == (root.id, "ana", False)
    assert call.start >= root.end
    events = [name for span in received.spans for name, _, _ in span.events]
    assert "agentnb.action_proposed" in events


def test_what_is_not_sampled_is_not_sampled_later_either() -> None:
    """All of a run or nothing, whichever process goes on with it."""
    store, exporter, traces = MemoryStore(), InMemorySpanExporter(), dict[int, set[str]]()
    for number in range(24):
        for go_on in (False, True):
            provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5)))
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            model = Phases(step("note", text="hello"))
            agent = Agent(model, tools=[note], store=store, telemetry=Telemetry(provider))
            if go_on:
                run = agent.runs()[0]
                assert run.pending
                run.approve()
            else:
                agent.run(f"note {number}")
    for span in exporter.get_finished_spans():
        traces.setdefault(span.context.trace_id, set()).add(span.name)
    assert 0 < len(traces) < 24
    assert all({"plan", "rest approval", "answer"} <= names for names in traces.values())


class Dying(Telemetry):
    """Keeps what a process leaves that dies now, after each commit: its store, and the spans that it has sent."""

    def __init__(self) -> None:
        self.provider, self.exporter = kept_in_memory()
        self.left: list[tuple[MemoryStore, tuple[Any, ...]]] = []
        super().__init__(self.provider)

    def told(self, store: Any, run: str, records: Any) -> None:
        super().told(store, run, records)
        self.left.append((store.copy(), self.exporter.get_finished_spans()))


def _walk(store: MemoryStore, telemetry: Telemetry) -> Agent:
    """An agent that calls another one, acts, and reads."""
    helper = Agent(Phases(step("add", a=1, b=2)), tools=[add]).as_tool("helper", "Adds.")
    model = Phases(step("helper", task="add"), step("note", text="hello"), step("add", a=1, b=2))
    return Agent(model, tools=[helper, note, add], store=store, telemetry=telemetry, approve="auto", budget=Budget())


def test_wherever_a_process_dies_the_next_makes_one_tree_of_both() -> None:
    """Each span is there once, below one that is there; what was open is lost, and each call has its costs."""
    dying = Dying()
    assert _walk(MemoryStore(), dying).run("walk").output == "Done."
    assert len(dying.left) > 15
    for at, (store, sent) in enumerate(dying.left):
        provider, exporter = kept_in_memory()
        agent = _walk(store, Telemetry(provider))
        run = agent.runs()[-1]
        if not run.status.ended:
            run = run.resume()
        if not run.status.ended:
            run = run.resume(in_doubt="not_done")
        assert run.output == "Done.", at
        spans = [*sent, *exporter.get_finished_spans()]
        ids = {span.context.span_id for span in spans}
        assert len(ids) == len(spans), at
        assert len({span.context.trace_id for span in spans}) == 1, at
        assert [span.name for span in spans if span.parent is None] == ["invoke_agent"], at
        assert all(span.parent is None or span.parent.span_id in ids for span in spans), at
        asked = sum(1 for name in store.runs() for record in store.read(name) if record.event.kind == "model_asked")
        assert len([span for span in spans if span.name == "chat model"]) == asked, at


def test_a_fork_is_a_trace_of_its_own_that_points_to_the_first(
    received: Received, sender: Sender, store: DiskStore
) -> None:
    """What both share was sent once."""
    agent = Agent(
        Phases(step("add", a=1, b=2), step("add", a=3, b=4)), tools=[add], store=store, telemetry=telling(sender)
    )
    run = agent.run("add")
    sender.flush()
    before = len(received.spans)
    run.fork(at="s2")
    sender.flush()
    fork = received.spans[before:]
    below_each_other(fork)
    [root] = [span for span in fork if not span.parent]
    [first] = [span for span in received.spans[:before] if not span.parent]
    assert root.links == (first.id,)
    assert [span.name for span in fork if span.name.startswith("step")] == ["step s2 add"]


# --- what must not happen ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_providers_get_no_trace_and_their_sdks_add_no_span(
    monkeypatch: pytest.MonkeyPatch, store: DiskStore, provider: str
) -> None:
    """With a global provider at work, and the whole run inside a user's span."""
    import anthropic

    from agentnb.models.anthropic import AnthropicModel
    from agentnb.models.openai import OpenAIModel

    traced, exporter = kept_in_memory()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", traced)
    text = json.dumps(answer("Oslo")[1])
    play = streaming(begun(), said(text), ended()) if provider == "anthropic" else streaming(told(text), done())
    with playing(play) as server, traced.get_tracer("mine").start_as_current_span("outside"):
        model: Any = (
            AnthropicModel("claude-test", api_key="k" * 20, base_url=server.url)
            if provider == "anthropic"
            else OpenAIModel("gpt-test", api_key="k" * 20, base_url=f"{server.url}/v1")
        )
        run = Agent(model, store=store, telemetry=Telemetry()).run("where?")
        assert run.output == "Oslo"
        assert not any(name.startswith(("trace", "baggage")) for sent in server.requests for name in sent.headers)
        ours = ["plan", f"chat {model.name}", "answer", "invoke_agent"]
        names = [span.name for span in exporter.get_finished_spans()]
        assert names == ours
        if provider == "anthropic":  # as it is where nobody switches it off: the test sees what it looks for
            plain = anthropic.Anthropic(api_key="k" * 20, base_url=server.url)
            with plain.messages.create(
                model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}], stream=True
            ):
                pass
            plain.close()
            assert "traceparent" in server.requests[-1].headers


def test_a_collector_that_never_answers_keeps_no_run_waiting(
    store: DiskStore, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run has ended while the first batch is still under way; nothing is printed."""
    with collector(hangs=True) as received, sending(received.url, at_once=True) as sender:
        agent = Agent(Phases(step("add", a=1, b=2)), tools=[add], store=store, telemetry=telling(sender))
        assert agent.run("add").output == "Done."
        received.asked.wait()
        assert agent.run("add").output == "Done."
        assert not received.let_go.is_set()
        received.let_go.set()
    assert capfd.readouterr() == ("", "")


def test_a_collector_that_is_down_is_not_noticed(store: DiskStore, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing fails and nothing is printed."""
    with collector() as gone:
        pass
    with sending(gone.url, at_once=True) as sender:
        agent = Agent(Phases(step("add", a=1, b=2)), tools=[add], store=store, telemetry=telling(sender))
        assert agent.run("add").output == "Done."
        sender.flush()
    assert capfd.readouterr() == ("", "")


class _Failing(trace.NoOpTracerProvider):
    def get_tracer(self, *_args: Any, **_options: Any) -> Any:
        raise RuntimeError("no tracer today")


@pytest.mark.parametrize("provider", [_Failing, trace.NoOpTracerProvider, trace.ProxyTracerProvider])
def test_a_provider_that_fails_or_does_nothing_does_a_run_no_harm(
    store: DiskStore, provider: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the log, once, and the run goes on."""
    run = Agent(Phases(step("add", a=1, b=2)), tools=[add], store=store, telemetry=Telemetry(provider())).run("add")
    assert run.output == "Done."
    assert len(caplog.records) == (provider is _Failing)


class _Plain(trace.NoOpTracerProvider):
    """Another implementation of the API than OpenTelemetry's own: ids are its own affair."""

    def __init__(self) -> None:
        self.provider, self.exporter = kept_in_memory()

    def get_tracer(self, *args: Any, **options: Any) -> trace.Tracer:
        real = self.provider.get_tracer(*args, **options)

        class Tracer(trace.NoOpTracer):
            def start_span(self, *args: Any, **options: Any) -> trace.Span:
                span: trace.Span = real.start_span(*args, **options)
                return span

        return Tracer()


def test_tracers_that_take_no_ids_make_a_tree_all_the_same(store: DiskStore) -> None:
    """Within a process parents are right whoever gives the ids."""
    plain = _Plain()
    Agent(Phases(step("add", a=1, b=2)), tools=[add], store=store, telemetry=Telemetry(plain)).run("add")
    spans = plain.exporter.get_finished_spans()
    ids = {span.context.span_id: span.name for span in spans}
    hangs = {span.name: ids[span.parent.span_id] for span in spans if span.parent}
    assert (hangs["execute_tool add"], hangs["step s1 add"]) == ("step s1 add", "invoke_agent")


def test_off_imports_nothing(tmp_path: Path) -> None:
    """An agent without telemetry has never heard of OpenTelemetry."""
    code = (
        "import sys; from agentnb import Agent, ScriptedModel;"
        "Agent(ScriptedModel([('answer', {'answer': 'a', 'unknowns': [], 'confidence': 'high'})]),"
        f" store={str(tmp_path)!r}).run('x');"
        "print([n for n in sys.modules if n.startswith(('opentelemetry', 'agentnb.otel', 'agentnb.tracing'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_no_telemetry_is_refused() -> None:
    """With what to give in its place."""
    wrong: Any = True
    with pytest.raises(ConfigError, match=r"telemetry=True is nobody to tell: give agentnb.Telemetry\(\)"):
        Agent(Phases(), telemetry=wrong)


def test_ids_of_other_spans_stay_random() -> None:
    """On the tracer's other threads, and after what was said."""
    ids = Ids(TracerProvider().id_generator)
    with ids.said(5, 6):
        assert (ids.generate_trace_id(), ids.generate_span_id()) == (5, 6)
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.extend([ids.generate_trace_id(), ids.generate_span_id()]))
        other.start()
        other.join()
    assert not {5, 6} & {*seen, ids.generate_trace_id(), ids.generate_span_id()}


# --- in a notebook ----------------------------------------------------------------------------------------------------


def test_a_setting_switches_it_on_for_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`%config AgentMagics.otel`, or AGENTNB_OTEL; the doctor says whether anybody listens."""
    provider, exporter = kept_in_memory()
    with notebook_in(tmp_path, monkeypatch) as cells:
        assert ("telemetry", "off") in [tuple(line.split()) for line in cells.line("doctor").splitlines()]
        cells.names["m"] = scripted(answer("one"), answer("two"), answer("three"))
        cells.cell("--model m", "say one")
        cells.set("otel='on'")
        if nobody_listens():
            assert "no tracer provider is set" in cells.line("doctor")
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        assert "to the tracer provider that is set" in cells.line("doctor")
        cells.cell("--model m", "say two")
        assert [span.name for span in exporter.get_finished_spans()] == [
            "plan",
            "chat scripted",
            "answer",
            "invoke_agent",
        ]
        cells.set("otel='off'")
        cells.cell("--model m", "say three")
        assert len(exporter.get_finished_spans()) == 4


@pytest.mark.parametrize(("said", "means"), [("1", "on"), ("0", "off"), ("content", "content"), ("", "off")])
def test_a_switch_of_the_environment(said: str, means: str) -> None:
    """A 1 is as good as a word."""
    assert Settings.of({"AGENTNB_OTEL": said}).otel == means


def test_what_is_no_such_setting_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"otel 'yes' is not one of off, on, content \(AGENTNB_OTEL"):
        Settings.of({"AGENTNB_OTEL": "yes"})


def test_a_plan_of_a_users_has_no_chat_in_it(received: Received, sender: Sender, store: DiskStore) -> None:
    """The plan is there, as it was given."""
    agent = Agent(Phases(), tools=[add], store=store, telemetry=telling(sender))
    agent.run("add", plan=[Step(tool="add", args={"a": 1, "b": 2})])
    sender.flush()
    assert received.children(received.named("plan")) == []
    assert received.named("plan").events[0][0] == "agentnb.plan_made"


def test_a_dry_run_calls_nothing_and_says_so(received: Received, sender: Sender, store: DiskStore) -> None:
    """What acts is an event, also where it is the first thing of its step."""
    agent = Agent(Phases(), tools=[note], store=store, telemetry=telling(sender), assess=False)
    agent.run("note", plan=[Step(tool="note", args={"text": "hello"})], dry_run=True)
    sender.flush()
    below_each_other(received.spans)
    assert not any(span.name.startswith("execute_tool") for span in received.spans)
    [simulated] = [
        facts for name, _, facts in received.named("step s1 note").events if name == "agentnb.call_simulated"
    ]
    assert simulated["agentnb.tool"] == "note"
    assert received.named("invoke_agent").attributes["agentnb.dry_run"] is True


def test_runs_on_several_threads_do_not_mix(received: Received, sender: Sender, store: DiskStore) -> None:
    """One telemetry, one tracer, eight runs at a time: eight traces, each whole."""
    agent = Agent(Phases(step("add", a=1, b=2)), tools=[add], store=store, telemetry=telling(sender))
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(agent.run, [f"add {n}" for n in range(8)]))
    sender.flush()
    traces: dict[str, list[Spanned]] = {}
    for span in received.spans:
        traces.setdefault(span.trace, []).append(span)
    assert len(traces) == len(runs)
    for spans in traces.values():
        below_each_other(spans)
        assert len({span.attributes["gen_ai.conversation.id"] for span in spans}) == 1
        assert len(spans) == 8


def test_what_a_run_began_in_goes_with_it(store: DiskStore) -> None:
    """The row by which another process finds the user's span is the run's own, and there only where there is one."""
    provider, _ = kept_in_memory()
    agent = Agent(Phases(), store=store, telemetry=Telemetry(provider))
    agent.run("alone")
    assert store.rows("o/") == []
    with provider.get_tracer("mine").start_as_current_span("outside"):
        run = agent.run("inside")
    [(key, _)] = store.rows("o/")
    assert run.id in key
    assert store.remove([run.id], [], store.newest())
    assert store.rows("o/") == []
