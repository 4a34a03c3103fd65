"""The layers around a model: what is charged, what is cached, what is asked again and in which order."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, ScriptedModel
from agentnb.budget import OverBudget, Price, Usage
from agentnb.cost import Cost, Saving
from agentnb.errors import FailureClass, Interrupted, ModelError
from agentnb.events import (
    Event,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    RunResumed,
    RunStarted,
    RunSuspended,
)
from agentnb.log import RunLog
from agentnb.models.base import ModelReply, ModelRequest, input_bound
from agentnb.models.chain import (
    MAX_TRIES,
    Question,
    cached,
    chain,
    metered,
    provider,
    reply_from_text,
    reply_text,
    retrying,
)
from agentnb.state import Status
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, plan, step, verdict


class MemoryReplies:
    """A prompt cache that forgets at exit."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self.held.get(key)

    def put(self, key: str, text: str) -> None:
        self.held[key] = text


def cent_a_token(usage: Usage) -> float:
    return (usage.input_tokens + usage.output_tokens) / 100


REQUEST = ModelRequest("m", "answer", "rules", "What?", None, max_output_tokens=100)


class Bench:
    """A run and a chain around a script, driven by hand."""

    def __init__(
        self,
        *lines: Any,
        budget: Budget | None = None,
        price: Price = cent_a_token,
        replies: MemoryReplies | None = None,
        fresh: bool = False,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.model = ScriptedModel(lines)
        self.waits: list[float] = []
        self.log = RunLog(MemoryStore(), "r1-test", clock=self.clock.clock())
        self.log.append(
            RunStarted(
                run="r1-test",
                task="t",
                model="m",
                cheap_model="m",
                tools={},
                budget=budget or Budget(tokens=10**9),
            )
        )
        layers = [retrying(self.log, self.waits.append), metered(self.log, price)]
        if replies is not None:
            layers.insert(0, cached(self.log, replies, price, fresh=fresh))
        self.chain = chain(self.model, layers)
        self.events: list[Event] = []

    def ask(self, request: ModelRequest = REQUEST, *, last_word: bool = True) -> ModelReply:
        asking = self.chain(Question(request, request.key(), last_word=last_word))
        while True:
            try:
                event = next(asking)
            except StopIteration as done:
                reply: ModelReply = done.value
                return reply
            self.events.append(event)
            self.log.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def test_a_call_is_reserved_for_and_settled_to_what_was_used() -> None:
    """The worst case before, the true use after; nothing stays reserved."""
    bench = Bench(ModelReply("hi", Usage(10, 5)))
    bench.ask()
    asked, replied = bench.events
    assert isinstance(asked, ModelAsked)
    assert isinstance(replied, ModelReplied)
    assert (asked.reserved.input_tokens, asked.reserved.output_tokens) == (input_bound(REQUEST), 100)
    assert asked.reserved.usd == cent_a_token(Usage(input_bound(REQUEST), 100))
    assert (replied.usd, bench.log.state.spent.usd, bench.log.state.reserved.tokens) == (0.15, 0.15, 0)


def test_a_hit_costs_nothing_and_counts_as_saved() -> None:
    """No call, no token and no dollar; what it would have cost is told."""
    replies = MemoryReplies()
    Bench(ModelReply("hi", Usage(10, 5)), replies=replies).ask()
    bench = Bench(replies=replies)
    reply = bench.ask()
    state = bench.log.state
    assert (reply.text, reply.cached, bench.kinds) == ("hi", True, ["model_cached"])
    assert (state.spent.model_calls, state.spent.tokens, state.spent.usd) == (0, 0, 0.0)
    assert Cost(state.costs).saved.cache == Saving(0.15, 15)


def test_a_hit_needs_no_budget() -> None:
    """What costs nothing is allowed where nothing is left."""
    replies = MemoryReplies()
    Bench(ModelReply("hi", Usage(10, 5)), replies=replies).ask()
    bench = Bench(budget=Budget(tokens=1), replies=replies)
    assert bench.ask().text == "hi"


@pytest.mark.parametrize(
    "line",
    [
        ModelReply("no", Usage(1, 1), "refusal"),
        ModelReply("cut", Usage(1, 1), "length"),
        ModelError("x", FailureClass.FATAL),
    ],
)
def test_refusals_cut_off_replies_and_errors_are_not_cached(line: Any) -> None:
    """Only whole answers are kept."""
    replies = MemoryReplies()
    try:
        Bench(line, replies=replies).ask()
    except ModelError:
        assert isinstance(line, ModelError)
    assert replies.held == {}


def test_fresh_asks_anew_and_replaces() -> None:
    """The old entry is not read, and the new one is what the next run gets."""
    replies = MemoryReplies()
    Bench("old", replies=replies).ask()
    assert Bench("new", replies=replies, fresh=True).ask().text == "new"
    assert Bench(replies=replies).ask().text == "new"


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        "{}",
        '{"text": 5}',
        '{"text": "x", "usage": 3}',
        '{"text": "x", "usage": {}, "stop": "?"}',
        "[" * 10_000,
    ],
)
def test_an_entry_that_cannot_be_read_is_none(entry: str) -> None:
    """Damaged, or of another release: the model is asked, and the entry replaced."""
    replies = MemoryReplies()
    replies.put(REQUEST.key(), entry)
    assert Bench("fresh", replies=replies).ask().text == "fresh"
    assert reply_from_text(replies.held[REQUEST.key()]).text == "fresh"


@given(
    st.builds(
        ModelReply,
        text=st.text(),
        usage=st.builds(Usage, *[st.integers(0, 10**9)] * 4),
        stop=st.sampled_from(["end", "length", "refusal"]),
        model=st.text(),
        seconds=st.none() | st.floats(0, 1e6),
    )
)
def test_a_reply_is_read_back_as_it_was_written(reply: ModelReply) -> None:
    """All of it, and marked as cached."""
    again = reply_from_text(reply_text(reply))
    assert again.cached
    assert reply_text(again) == reply_text(reply)
    assert (again.text, again.usage, again.seconds) == (reply.text, reply.usage, reply.seconds)


PASSING = ModelError("overloaded", FailureClass.TRANSIENT, unbilled=True)
BILLED = ModelError("broke off", FailureClass.TRANSIENT)


def test_every_attempt_is_reserved_for_and_recorded_by_itself() -> None:
    """Two failures and a reply: three intents in order, two waits, and the billed failure stays charged."""
    bench = Bench(PASSING, BILLED, ModelReply("hi", Usage(10, 5)))
    bench.ask()
    assert bench.kinds == ["model_asked", "model_failed"] * 2 + ["model_asked", "model_replied"]
    asked = [event for event in bench.events if isinstance(event, ModelAsked)]
    assert [event.attempt for event in asked] == [1, 2, 3]
    assert len(bench.waits) == 2
    assert bench.log.state.spent.model_calls == 3
    assert bench.log.state.spent.tokens == asked[1].reserved.tokens + 15


def test_a_retry_that_the_budget_does_not_cover_is_refused() -> None:
    """The first attempt stays charged; the second is not sent."""
    bench = Bench(BILLED, "never", budget=Budget(tokens=1500))
    with pytest.raises(OverBudget):
        bench.ask()
    assert bench.kinds == ["model_asked", "model_failed"]
    assert len(bench.model.requests) == 1
    assert bench.log.state.spent.tokens <= 1500


def test_passing_failures_are_tried_four_times_and_then_raised() -> None:
    """The last error comes out, each attempt recorded."""
    bench = Bench(*[PASSING] * MAX_TRIES)
    with pytest.raises(ModelError, match="overloaded"):
        bench.ask()
    assert (len(bench.model.requests), len(bench.waits)) == (MAX_TRIES, MAX_TRIES - 1)


@pytest.mark.parametrize("failure", [f for f in FailureClass if not f.worth_retrying])
def test_other_failures_are_not_tried_again(failure: FailureClass) -> None:
    """A missing key or a wrong request is no better a second later."""
    bench = Bench(ModelError("no", failure))
    with pytest.raises(ModelError):
        bench.ask()
    assert (bench.waits, len(bench.model.requests)) == ([], 1)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(7.0, 7, 20), (60.0, 60, 60), (0.0, 0, 20), (-5.0, 0, 20), (float("nan"), 0, 20), (None, 0, 20)],
)
def test_the_wait_is_never_shorter_than_asked(asked: float | None, least: float, most: float) -> None:
    """A provider's wait is kept to, whatever odd number it sends."""
    bench = Bench(ModelError("slow down", FailureClass.RATE_LIMITED, retry_after_s=asked, unbilled=True), "hi")
    bench.ask()
    assert least <= bench.waits[0] <= most


@pytest.mark.parametrize("asked", [60.1, 86_400.0, float("inf")])
def test_a_wait_of_more_than_a_minute_is_not_waited(asked: float) -> None:
    """The error is raised at once."""
    bench = Bench(ModelError("tomorrow", FailureClass.RATE_LIMITED, retry_after_s=asked))
    with pytest.raises(ModelError, match="tomorrow"):
        bench.ask()
    assert bench.waits == []


def test_usage_beyond_the_reservation_is_recorded_honestly() -> None:
    """A provider that breaks its own limit is charged for what it says, and the next call is refused."""
    bench = Bench(ModelReply("hi", Usage(50_000, 9_000)), "never", budget=Budget(tokens=20_000))
    bench.ask()
    assert bench.log.state.spent.tokens == 59_000
    with pytest.raises(OverBudget) as caught:
        bench.ask()
    assert (caught.value.refusal.limit, caught.value.refusal.left) == ("tokens", -39_000)
    assert len(bench.model.requests) == 1


def test_the_request_goes_out_clamped_to_what_is_left() -> None:
    """Output tokens and time are what the budget still covers; the key is that of the question."""
    bound = input_bound(REQUEST)
    bench = Bench("hi", budget=Budget(tokens=bound + 60, working_seconds=7))
    bench.ask()
    (sent,) = bench.model.requests
    assert (sent.max_output_tokens, sent.timeout_s) == (60, 7.0)
    assert isinstance(bench.events[0], ModelAsked)
    assert bench.events[0].key == REQUEST.key()


def test_the_slice_of_the_answer_is_out_of_reach_of_other_questions() -> None:
    """The same request is refused to a step and granted to the last word."""
    with pytest.raises(OverBudget):
        Bench("hi", budget=Budget(tokens=1400)).ask(last_word=False)
    assert Bench("hi", budget=Budget(tokens=1400)).ask(last_word=True).text == "hi"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["reply", "passing", "billed", "fatal"]), min_size=1, max_size=30),
    st.integers(1_000, 12_000),
    st.floats(0.5, 100),
)
def test_no_sequence_of_replies_and_failures_passes_a_cap(ends: list[str], tokens: int, usd: float) -> None:
    """A provider that uses all it may and fails as drawn: what it could charge stays within both caps."""
    charged = 0

    def line(end: str) -> Callable[[ModelRequest], Any]:
        def reply(request: ModelRequest) -> Any:
            nonlocal charged
            used = input_bound(request) + request.max_output_tokens
            charged += used if end in ("reply", "billed") else 0
            failures = {
                "passing": PASSING,
                "billed": BILLED,
                "fatal": ModelError("x", FailureClass.FATAL, unbilled=True),
            }
            return failures.get(end) or ModelReply("x", Usage(input_bound(request), request.max_output_tokens))

        return reply

    bench = Bench(*[line(end) for end in ends * MAX_TRIES], budget=Budget(tokens=tokens, usd=usd))
    for _ in ends:
        with contextlib.suppress(ModelError, OverBudget):
            bench.ask()
    assert charged == bench.log.state.spent.tokens <= tokens
    assert bench.log.state.spent.usd <= usd + 1e-9


def test_closing_in_the_middle_asks_nobody() -> None:
    """A chain that is closed after its intent does not call the model, and does not try again."""
    bench = Bench("never")
    asking = bench.chain(Question(REQUEST, REQUEST.key(), last_word=True))
    assert isinstance(next(asking), ModelAsked)
    asking.close()
    assert (bench.model.requests, bench.waits) == ([], [])


def test_a_stop_while_waiting_ends_the_wait(tmp_path: Any) -> None:
    """`suspend` wakes a run that waits for a rate limit, and it can be resumed."""
    asked = threading.Event()

    def slow(_: ModelRequest) -> ModelError:
        asked.set()
        return ModelError("slow down", FailureClass.RATE_LIMITED, retry_after_s=59, unbilled=True)

    with ScriptedModel([slow, answer("late")]) as model:
        agent = Agent(model, store=tmp_path / "s")
        session = agent.begin("x")
        thread = threading.Thread(target=session.finish)
        thread.start()
        assert asked.wait(10)
        session.suspend()
        thread.join(30)
        assert not thread.is_alive()
        it = agent.runs()[0]
        assert (it.status, it.stop_reason) == (Status.SUSPENDED, "interrupted")
        assert it.resume().output == "late"


def test_an_interrupted_call_stays_charged_until_it_is_settled() -> None:
    """Nobody knows whether it was billed: resumed, the reservation is spent."""

    def stop(_: ModelRequest) -> Any:
        raise Interrupted("stopped")

    bench = Bench(stop)
    with pytest.raises(Interrupted):
        bench.ask()
    held = bench.log.state.reserved
    assert held.tokens > 0
    bench.log.append(RunSuspended(reason="interrupted"))
    bench.log.append(RunResumed(process=1))
    assert (bench.log.state.spent.tokens, bench.log.state.reserved.tokens) == (held.tokens, 0)


def test_seconds_are_measured_or_taken_from_the_reply() -> None:
    """A live call takes what the clock says, a recorded one what it took when recorded."""
    clock = FakeClock()

    def slow(_: ModelRequest) -> str:
        clock.now += 3
        return "hi"

    bench = Bench(slow, ModelReply("hi", Usage(1, 1), seconds=0.25), clock=clock)
    bench.ask()
    bench.ask()
    assert [event.seconds for event in bench.events if isinstance(event, ModelReplied)] == [3.0, 0.25]


def test_half_a_surrogate_pair_in_a_reply_is_recorded_and_cached() -> None:
    """Long enough to be kept aside, and short; both are a question mark everywhere."""
    for text in ("\ud83d", "\ud83d" * 5000):
        replies = MemoryReplies()
        bench = Bench(text, replies=replies)
        clean = "?" * len(text)
        assert bench.ask().text == clean
        (replied,) = [event for event in bench.events if isinstance(event, ModelReplied)]
        assert bench.log.value(replied.text) == clean
        assert Bench(replies=replies).ask().text == clean
        json.dumps(replies.held).encode()


def test_layers_wrap_from_the_outside_in() -> None:
    """The first one named is entered first and left last."""
    order: list[str] = []

    def layer(name: str) -> Any:
        def wrap(ask: Any) -> Any:
            def asked(question: Question) -> Generator[Event, None, ModelReply]:
                order.append(f"into {name}")
                reply: ModelReply = yield from ask(question)
                order.append(f"out of {name}")
                return reply

            return asked

        return wrap

    asking = chain(ScriptedModel(["hi"]), [layer("a"), layer("b")])(Question(REQUEST, "k"))
    assert list(asking) == []
    assert order == ["into a", "into b", "out of b", "out of a"]
    assert list(provider(ScriptedModel(["hi"]))(Question(REQUEST, "k"))) == []


def test_a_second_run_of_the_same_task_is_free(tmp_path: Any) -> None:
    """Through the whole agent: nothing is asked, nothing spent, the same answer, and the savings are shown."""
    lines = [plan(step("add", a=1, b=2)), verdict(), answer("3")]
    with ScriptedModel(lines, ref="test:model") as model:
        agent = Agent(model, tools=[add], store=tmp_path / "s")
        first, second = agent.run("add"), agent.run("add")
    assert (second.output, second.spent.model_calls, second.spent.tokens) == ("3", 0, 0)
    assert second.saved.cache.tokens == first.spent.tokens
    assert [r.event.kind for r in second.events].count("model_cached") == 3


def test_events_say_which_model_and_phase() -> None:
    """Each intent has what a person, and a price list, need to know."""
    replies = MemoryReplies()
    bench = Bench("hi", replies=replies)
    bench.ask()
    again = Bench(replies=replies)
    again.ask()
    for event in (bench.events[0], again.events[0]):
        assert isinstance(event, (ModelAsked, ModelCached))
        assert (event.phase, event.model, event.key) == ("answer", "m", REQUEST.key())
    failed = Bench(ModelError("no", FailureClass.FATAL, unbilled=True))
    with pytest.raises(ModelError):
        failed.ask()
    assert isinstance(failed.events[1], ModelFailed)
    assert (failed.events[1].failure, failed.events[1].unbilled) == (FailureClass.FATAL, True)
