"""Every way in which a provider fails, through a real run: how it is taken, how often it is asked, and what is charged.

The faults that `llmock` has are its own; those that it lacks are played by our loopback server. Each lasts, so that a
failure that passes is asked for as often as a run ever asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Budget
from agentnb.budget import Price, Spent, Usage
from agentnb.errors import FailureClass
from agentnb.events import ModelAsked, ModelFailed, ModelReplied
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.chain import MAX_TRIES
from agentnb.models.openai import OpenAIModel
from agentnb.models.prices import price_of
from agentnb.run import Run
from agentnb.state import Status
from tests.loopback import Play, answering, event, failing, playing, streaming

T, R, P, I = FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.PERMISSION, FailureClass.INVALID_DATA  # noqa: E741
ONCE, ALWAYS = 1, MAX_TRIES


@dataclass(frozen=True)
class PricedAnthropic(AnthropicModel):
    """Claude at its list price, wherever it is called."""

    price: Price | None = field(
        default_factory=lambda: price_of("anthropic:claude-opus-4-8", "https://api.anthropic.com")
    )


@dataclass(frozen=True)
class PricedOpenAI(OpenAIModel):
    """GPT at its list price, wherever it is called."""

    price: Price | None = field(default_factory=lambda: price_of("openai:gpt-4o", "https://api.openai.com/v1"))


KINDS: dict[str, tuple[type[PricedAnthropic | PricedOpenAI], str, str]] = {
    "anthropic": (PricedAnthropic, "claude-opus-4-8", ""),
    "openai": (PricedOpenAI, "gpt-4o", "/v1"),
}
both = pytest.mark.parametrize("provider", sorted(KINDS))


def model_of(provider: str, url: str) -> PricedAnthropic | PricedOpenAI:
    kind, name, path = KINDS[provider]
    return kind(name, api_key="a-key", base_url=f"{url}{path}")


@dataclass
class Course:
    """A run with what was waited in it."""

    run: Run
    waits: list[float]

    def events(self, kind: type[Any]) -> list[Any]:
        return [record.event for record in self.run.events if isinstance(record.event, kind)]


def course(model: AnthropicModel | OpenAIModel, folder: Path, **caps: float) -> Course:
    waits: list[float] = []
    budget = Budget(**{"usd": 5, "tokens": None, **caps})  # type: ignore[arg-type]
    agent = Agent(model, budget=budget, store=folder, sleep=waits.append)
    return Course(agent.run("what is there?"), waits)


def check(it: Course, failure: FailureClass, asked: int, *, billed: bool) -> None:
    """Each attempt failed like that, and all that was reserved for it is either charged or released."""
    attempts, failed = it.events(ModelAsked), it.events(ModelFailed)
    assert [one.failure for one in failed] == [failure] * asked, [one.message for one in failed]
    assert [one.attempt for one in attempts] == list(range(1, asked + 1))
    assert [one.unbilled for one in failed] == [not billed] * asked
    spent = it.run.spent
    assert spent.model_calls == asked
    assert spent.usd == pytest.approx(sum(one.reserved.usd for one in attempts) if billed else 0)
    assert spent.usd <= 5
    assert (spent.least_usd, spent.least_tokens) == (0, 0), "nothing of it was counted by anybody"
    assert it.run.state.reserved == Spent()
    assert asked - 1 <= len(it.waits) <= asked, "a last wait is in vain where it leaves no time"
    assert it.run.status is not Status.COMPLETED


# --- the faults of llmock ---------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("fault", "failure", "asked", "billed"),
    [
        (lambda m: m.fail(429, times=None), R, ALWAYS, False),
        (lambda m: m.rate_limit(times=None, retry_after=2), R, ALWAYS, False),
        (lambda m: m.rate_limit(times=None, retry_after=3600), R, ONCE, False),
        (lambda m: m.fail(429, times=None, code="insufficient_quota"), P, ONCE, False),
        (lambda m: m.context_overflow(times=None), I, ONCE, False),
        (lambda m: m.fail(401, times=None), P, ONCE, False),
        (lambda m: m.fail(403, times=None), P, ONCE, False),
        (lambda m: m.fail(404, times=None), I, ONCE, False),
        (lambda m: m.fail(408, times=None), T, ALWAYS, True),
        (lambda m: m.fail(500, times=None), T, ALWAYS, True),
        (lambda m: m.outage(), T, ALWAYS, True),
        (lambda m: m.fail(529, times=None), T, ALWAYS, False),
        (lambda m: m.disconnect(times=None), T, ALWAYS, True),
        (lambda m: m.truncate(times=None), T, ALWAYS, True),
        (lambda m: m.corrupt(times=None), T, ALWAYS, True),
    ],
    ids=[
        "429", "retry after 2 s", "retry after an hour", "no quota", "too long", "401", "403", "404", "408", "500",
        "503", "529", "cut", "ends early", "broken JSON",
    ],
)  # fmt: skip
def test_faults(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    *,
    provider: str,
    fault: Callable[[Any], object],
    failure: FailureClass,
    asked: int,
    billed: bool,
) -> None:
    """Its class, as many requests as that class is worth, and a bill for what may have been begun."""
    pytest.importorskip("llmock", reason="llmock is not installed: it comes with the extra `test`")
    llmock = request.getfixturevalue("llmock")
    fault(llmock)
    it = course(model_of(provider, llmock.base_url(provider).removesuffix("/v1")), tmp_path)
    check(it, failure, asked, billed=billed)
    assert len(llmock.requests) == asked
    if request.node.callspec.id.startswith(f"retry after 2 s-{provider}"):
        assert all(wait >= 2 for wait in it.waits)


@both
@pytest.mark.parametrize(
    "fault",
    [
        lambda m: m.slow_first_token(3, times=None),
        lambda m: m.stall(seconds=3, times=None),
        lambda m: m.delay(3, times=None),
    ],
    ids=["slow first byte", "stall", "slow answer"],
)
def test_silence(request: pytest.FixtureRequest, tmp_path: Path, provider: str, fault: Callable[[Any], object]) -> None:
    """The time that is left ends the call, and what it may have cost is charged."""
    pytest.importorskip("llmock", reason="llmock is not installed: it comes with the extra `test`")
    llmock = request.getfixturevalue("llmock")
    fault(llmock)
    it = course(model_of(provider, llmock.base_url(provider).removesuffix("/v1")), tmp_path, working_seconds=0.5)
    check(it, T, ONCE, billed=True)


# --- what it lacks ----------------------------------------------------------------------------------------------------

PAGE = "<html><body>bad gateway</body></html>"


@both
@pytest.mark.parametrize(
    ("play", "failure", "asked", "billed"),
    [
        (answering(PAGE, status=502, kind="text/html"), T, ALWAYS, True),
        (answering(PAGE, kind="text/html"), I, ONCE, True),
        (answering(PAGE, status=403, kind="text/html"), P, ONCE, False),
        (answering('{"error": ', status=500), T, ALWAYS, True),
        (answering("", status=307, location="http://127.0.0.1:9/"), I, ONCE, False),
        (failing(413, {"type": "request_too_large", "message": "too large"}), I, ONCE, False),
        (streaming(event({"type": "error", "error": {"type": "api_error", "message": "x"}}, "error")), T, ALWAYS, True),
        (streaming(), T, ALWAYS, True),
        ((b"",), T, ALWAYS, True),
    ],
    ids=["502 page", "200 page", "403 page", "half an error", "redirect", "413", "error event", "empty", "no response"],
)  # fmt: skip
def test_more_faults(
    tmp_path: Path, *, provider: str, play: Play, failure: FailureClass, asked: int, billed: bool
) -> None:
    """The same for pages of proxies, errors inside a stream, and answers that hold nothing."""
    with playing(play) as server:
        check(course(model_of(provider, server.url), tmp_path), failure, asked, billed=billed)
        assert len(server.requests) == asked


@both
def test_nobody_listens(tmp_path: Path, provider: str) -> None:
    """A connection that is refused is tried again, and costs nothing."""
    with playing((b"",)) as server:
        pass
    check(course(model_of(provider, server.url), tmp_path), T, ALWAYS, billed=False)


def anthropic(text: str, stop: str, usage: dict[str, Any]) -> Play:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    parts: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": usage["output_tokens"]}},
    ]
    return streaming(*[event(part, part["type"]) for part in parts])


def openai(text: str, finish: str, usage: dict[str, Any] | None, **delta: Any) -> Play:
    frame: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}
    parts = [{**frame, "choices": [choice]}, {**frame, "choices": [], "usage": usage}]
    return streaming(*[event(part) for part in parts], event("[DONE]"))


A_USAGE = {"input_tokens": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 7}
O_USAGE = {"prompt_tokens": 150, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}}
COUNTED = {"anthropic": Usage(150, 7, 20, 30), "openai": Usage(150, 7, 20)}


@pytest.mark.parametrize(
    ("provider", "play", "stop"),
    [
        ("anthropic", anthropic('{"parts": [', "max_tokens", A_USAGE), "length"),
        ("anthropic", anthropic("I would rather not", "refusal", A_USAGE), "refusal"),
        ("openai", openai('{"parts": [', "length", O_USAGE), "length"),
        ("openai", openai("", "content_filter", O_USAGE), "refusal"),
        ("openai", openai("", "stop", O_USAGE, refusal="I would rather not"), "refusal"),
    ],
    ids=["anthropic length", "anthropic refused", "openai length", "openai content filter", "openai refused"],
)
def test_answers_that_are_none_cost_what_the_provider_counted(
    tmp_path: Path, provider: str, play: Play, stop: str
) -> None:
    """An answer that was cut off or refused is paid for exactly, and asked for again no more often than a bad one."""
    with playing(play) as server:
        it = course(model_of(provider, server.url), tmp_path)
        replies = it.events(ModelReplied)
        assert {reply.stop for reply in replies} == {stop}
        assert {reply.usage for reply in replies} == {COUNTED[provider]}
        assert 1 <= len(replies) == len(server.requests) <= 4
        price = KINDS[provider][0]("m").price
        assert price is not None
        assert it.run.spent.usd == it.run.spent.least_usd == pytest.approx(len(replies) * price(COUNTED[provider]))
        assert it.run.status is not Status.COMPLETED


def test_an_answer_without_any_choice(tmp_path: Path) -> None:
    """Nothing in it to go on from: it is asked for again, and may have cost."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": O_USAGE}
    with playing(streaming(event(chunk), event("[DONE]"))) as server:
        check(course(model_of("openai", server.url), tmp_path), T, ALWAYS, billed=True)
        assert len(server.requests) == ALWAYS


def test_an_answer_without_counts_is_charged_at_the_most(tmp_path: Path) -> None:
    """No cap is passed for want of a count, and the record says that the numbers are nobody's."""
    text = json.dumps({"parts": [], "steps": []})
    with playing(openai(text, "stop", None)) as server:
        it = course(model_of("openai", server.url), tmp_path)
    replies, asked = it.events(ModelReplied), it.events(ModelAsked)
    assert all(reply.usage.uncounted for reply in replies)
    assert [reply.usd for reply in replies] == pytest.approx([one.reserved.usd for one in asked])
    assert it.run.spent.least_usd == pytest.approx(0)
    assert it.run.spent.usd > 0
