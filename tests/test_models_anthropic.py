"""AnthropicModel through the real SDK, over real HTTP on this machine."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from opentelemetry import trace

from agentnb.budget import Usage
from agentnb.errors import FailureClass, Interrupted, MissingKey, MissingPackage, ModelError, NetworkForbidden
from agentnb.models.anthropic import AnthropicModel, _blocks
from agentnb.models.base import ModelRequest, input_bound
from tests.loopback import Play, Server, answering, event, failing, playing, streaming

KEY = "test-key-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "note": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
COUNTS: dict[str, Any] = {
    "input_tokens": 100,
    "cache_read_input_tokens": 30,
    "cache_creation_input_tokens": 7,
    "output_tokens": 1,
}
ENDED: dict[str, Any] = {"output_tokens": 42}


class Tracing(trace.NoOpTracerProvider):
    """What OpenTelemetry is where somebody has switched it on: every span has an id that headers would carry."""

    def get_tracer(self, *_args: Any, **_options: Any) -> trace.Tracer:
        class Tracer(trace.NoOpTracer):
            def start_span(self, *_args: Any, **_options: Any) -> trace.Span:
                return trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False, trace_flags=trace.TraceFlags(1)))

        return Tracer()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "AGENTNB_NO_NETWORK"):
        monkeypatch.delenv(name, raising=False)


def model(server: Server) -> AnthropicModel:
    return AnthropicModel("claude-test", api_key=KEY, base_url=server.url)


def request(*, cancelled: Callable[[], bool] = lambda: False, **changes: Any) -> ModelRequest:
    plain: dict[str, Any] = {
        "model": "anthropic:claude-test",
        "phase": "answer",
        "system": "Be brief.",
        "timeout_s": 5.0,
    }
    return ModelRequest(**{**plain, "prompt": "Where?", **changes}, cancelled=cancelled)


def named(kind: str, **rest: Any) -> bytes:
    return event({"type": kind, **rest}, kind)


def begun(usage: dict[str, Any] | None = COUNTS) -> bytes:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-test-1", "content": []}
    return named("message_start", message=message | ({"usage": usage} if usage else {}))


def said(text: str) -> bytes:
    return named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def ended(stop: str | None = "end_turn", usage: dict[str, Any] | None = ENDED) -> bytes:
    delta = named("message_delta", delta={"stop_reason": stop}, **({"usage": usage} if usage else {}))
    return delta + named("message_stop")


def failure(play: Play, **changes: Any) -> ModelError:
    """The error of a call that is answered by `play`, and that was made exactly once."""
    with playing(play) as server:
        with pytest.raises(ModelError) as raised:
            model(server).ask(request(**changes))
        assert len(server.requests) == 1
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert str(raised.value).startswith("anthropic:claude-test: ")
    return raised.value


def test_structured_answer() -> None:
    """The schema is enforced by the provider, the answer comes back whole, and each token is counted once."""
    with playing(streaming(begun(), named("ping"), said('{"city": '), said('"Oslo"}'), ended())) as server:
        reply = model(server).ask(request(schema=SCHEMA, max_output_tokens=77))
    assert json.loads(reply.text) == {"city": "Oslo"}
    assert (reply.stop, reply.model, reply.cached) == ("end", "claude-test-1", False)
    assert reply.usage == Usage(input_tokens=137, output_tokens=42, cache_read_tokens=30, cache_write_tokens=7)
    sent = server.requests[0]
    assert sent.path == "/v1/messages"
    assert KEY in sent.headers["authorization"]
    assert sent.body["max_tokens"] == 77
    assert sent.body["stream"] is True
    assert sent.body["messages"] == [{"role": "user", "content": "Where?"}]
    schema = sent.body["output_config"]["format"]["schema"]
    assert sent.body["output_config"]["format"]["type"] == "json_schema"
    assert schema["required"] == ["city"]
    assert "maxLength" not in schema["properties"]["city"]


def test_nothing_is_sent_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No temperature, which newest models refuse; no trace header where traces are on; no schema for prose."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", Tracing())
    with playing(streaming(begun(), said("Oslo"), ended())) as server:
        assert model(server).ask(request(temperature=0.7)).text == "Oslo"
    sent = server.requests[0]
    assert not sent.body.keys() & {"temperature", "output_config"}
    assert "traceparent" not in sent.headers


LONG = "x" * 4096


def marked(name: str = "claude-test", **changes: Any) -> list[str]:
    """The first letters of the blocks that are marked to be cached, in the order in which they are sent."""
    with playing(streaming(begun(), ended())) as server:
        replace(model(server), name=name).ask(request(**{"phase": "critique", "prompt": "Where?", **changes}))
    body = server.requests[0].body
    content = body["messages"][0]["content"]
    blocks = [*body.get("system", ()), *(content if isinstance(content, list) else ())]
    assert all(block["text"].strip() for block in blocks)
    return [block["text"][0] for block in blocks if block.get("cache_control") == {"type": "ephemeral"}]


@pytest.mark.parametrize(("system", "cached"), [("x" * 4095, []), (LONG, ["x"]), ("é" * 2048, ["é"])])
def test_only_a_long_beginning_is_cached(system: str, cached: list[str]) -> None:
    """The mark is set from 1024 tokens on, reckoned as four bytes each."""
    assert marked(system=system) == cached


def test_parts_of_the_context_are_marked_once_the_beginning_is_long_enough() -> None:
    """The parts are blocks of their own, so that one that changes does not spoil what stands before it.

    Of many the first three and the last have a mark: what is added to the end goes on from the last.
    """
    assert marked(system="s" * 4000, context=("a" * 96, "b", "c")) == ["a", "b", "c"]
    assert marked(system="s" * 4096, context=("a", "b", "c", "d", "e")) == ["s", "a", "b", "e"]
    assert marked(system="s" * 4096, context=("", " ", "b")) == ["s", "b"]
    blocks = _blocks("claude-test", request(context=("plan", "memory")))
    assert "".join(block["text"] for block in blocks[1:]) == request(context=("plan", "memory")).user
    assert marked(system="s", context=("a", "b")) == []


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-opus-4-8", 1024),
        ("claude-opus-4-7", 2048),
        ("claude-3-haiku-20240307", 2048),
        ("claude-opus-4-5", 4096),
        ("claude-haiku-4-5", 4096),
        ("claude-opus-5", 512),
    ],
)
@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # the SDK knows when each of them ends
def test_each_model_has_a_least_length(name: str, least: int) -> None:
    """What the provider would not cache is not marked."""
    assert marked(name, system="s" * (4 * least)) == ["s"]
    assert marked(name, system="s" * (4 * least - 1)) == []


@pytest.mark.parametrize("phase", ["plan", "summarise", "answer"])
def test_what_is_asked_seldom_is_not_cached(phase: str) -> None:
    """Nothing would read it: its schema, which the provider puts before everything else, is that of no other call."""
    assert marked(system=LONG, context=(LONG,), phase=phase) == []


def test_no_system_text_no_block() -> None:
    """An empty system text, which the API refuses, is left out."""
    with playing(streaming(begun(), ended())) as server:
        model(server).ask(request(system=""))
    assert "system" not in server.requests[0].body


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "end"),
        ("stop_sequence", "end"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
    ],
)
def test_stop_reasons(reason: str, stop: str) -> None:
    """Each stop reason becomes one of three; a text cut off in the middle comes back as it is."""
    with playing(streaming(begun(), said('{"city": "Os'), ended(reason))) as server:
        reply = model(server).ask(request(schema=SCHEMA))
    assert reply.stop == stop
    assert reply.text == '{"city": "Os'


def test_missing_counts_are_charged_at_the_bound() -> None:
    """A gateway that leaves out the usage does not make the call free."""
    with playing(streaming(begun(None), said("x"), ended(usage=None))) as server:
        reply = model(server).ask(request())
    assert reply.usage == Usage(input_bound(request()), 1024, uncounted=True)


def test_late_counts_replace_early_ones() -> None:
    """The counts at the end of the stream are totals, so they are not added to the first."""
    late = {"input_tokens": 110, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 5, "output_tokens": 9}
    with playing(streaming(begun(), ended(usage=late))) as server:
        assert model(server).ask(request()).usage == Usage(115, 9, 0, 5)


def test_all_that_decides_the_price_is_taken_over() -> None:
    """Writes that are kept for an hour, thinking, and the terms: each has a price, or is shown."""
    more = {
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5},
        "service_tier": "batch",
        "inference_geo": "us",
        "speed": "standard",
    }
    late = ENDED | {"output_tokens_details": {"thinking_tokens": 40}}
    with playing(streaming(begun(COUNTS | more), ended(usage=late))) as server:
        usage = model(server).ask(request()).usage
    assert usage == Usage(137, 42, 30, 7, 5, 40, ("batch", "us"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": None},
        {"input_tokens": -5},
        {"input_tokens": "many"},
        {"output_tokens": 1.5},
    ],
)
def test_counts_that_cannot_be_true_are_none(wrong: dict[str, Any]) -> None:
    """A gateway that counts less than nothing does not give money back."""
    with playing(streaming(begun(COUNTS | wrong), ended(usage=None))) as server:
        assert model(server).ask(request()).usage == Usage(input_bound(request()), 1024, uncounted=True)


@pytest.mark.parametrize(
    ("status", "error", "expected", "unbilled"),
    [
        (400, {"type": "invalid_request_error", "message": "too long"}, FailureClass.INVALID_DATA, True),
        (400, {"type": "invalid_request_error", "message": "credit balance is too low"}, FailureClass.PERMISSION, True),
        (401, {"type": "authentication_error", "message": f"bad key {KEY}"}, FailureClass.PERMISSION, True),
        (404, {"type": "not_found_error", "message": "model: claude-test"}, FailureClass.INVALID_DATA, True),
        (429, {"type": "rate_limit_error", "message": "slow"}, FailureClass.RATE_LIMITED, True),
        (500, {"type": "api_error", "message": "oops"}, FailureClass.TRANSIENT, False),
        (503, None, FailureClass.TRANSIENT, False),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, FailureClass.TRANSIENT, True),
    ],
)
def test_http_errors(status: int, error: dict[str, Any] | None, expected: FailureClass, unbilled: bool) -> None:  # noqa: FBT001
    """Each status is one request, one class, and says whether it cost anything."""
    got = failure(failing(status, error))
    assert (got.failure, got.unbilled) == (expected, unbilled)
    assert f"HTTP {status}" in str(got)


def test_retry_after() -> None:
    """The wait that the provider asks for is reported, and nobody sleeps in here."""
    limited = {"type": "rate_limit_error", "message": "slow"}
    before = time.monotonic()
    assert failure(failing(429, limited, retry_after="86400")).retry_after_s == 86400
    assert failure(failing(429, limited, retry_after_ms="250")).retry_after_s == 0.25
    assert failure(failing(429, limited)).retry_after_s is None
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait = failure(failing(429, limited, retry_after=then)).retry_after_s
    assert wait is not None
    assert 50 < wait <= 60
    assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("overloaded_error", FailureClass.TRANSIENT),
        ("rate_limit_error", FailureClass.RATE_LIMITED),
        ("invalid_request_error", FailureClass.INVALID_DATA),
    ],
)
def test_error_event_in_the_stream(code: str, expected: FailureClass) -> None:
    """An error after the headers, which the SDK gives status 200, is classified by its code and may cost."""
    broken = named("error", error={"type": code, "message": "in the middle"})
    got = failure(streaming(begun(), said("x"), broken))
    assert (got.failure, got.unbilled) == (expected, False)
    assert "in the middle" in str(got)


@pytest.mark.parametrize(
    ("play", "text"),
    [
        (streaming(begun(), said("x"), cut=True), "connection broke"),
        (streaming(begun(), said("x")), "stream ended before the answer did"),
        (streaming(begun(), said("x"), ended(None)), "stream ended before the answer did"),
        (streaming(), "stream ended before the answer did"),
        (streaming(begun(), event('{"type": "content_blo', "content_block_delta")), "no JSON"),
        ((b"",), "connection broke"),
    ],
    ids=["cut", "early end", "no reason", "nothing", "broken JSON", "no response"],
)
def test_broken_streams_are_transient_and_charged(play: Play, text: str) -> None:
    """Whatever breaks an answer that may be under way is worth another try, and may have cost."""
    got = failure(play)
    assert (got.failure, got.unbilled) == (FailureClass.TRANSIENT, False)
    assert text in str(got)


def test_malformed_event_is_classified() -> None:
    """An event without its parts is a failure of the call, not an AttributeError."""
    got = failure(streaming(named("message_start")))
    assert got.failure is FailureClass.FATAL
    assert "unexpected AttributeError" in str(got)


def test_web_pages() -> None:
    """A page of a proxy is named as such: with an error status it may pass, with status 200 it will not."""
    page = "<html><body>hello</body></html>"
    got = failure(answering(page, status=502, kind="text/html"))
    assert got.failure is FailureClass.TRANSIENT
    assert "web page" in str(got)
    got = failure(answering(page, kind="text/html; charset=utf-8"))
    assert got.failure is FailureClass.INVALID_DATA
    assert "answered with text/html" in str(got)


def test_redirect_is_not_followed() -> None:
    """The key is never taken to another address."""
    with playing(streaming(begun(), ended())) as other:
        got = failure(answering("", status=307, location=f"{other.url}/v1/messages"))
        assert not other.requests
    assert got.failure is FailureClass.INVALID_DATA
    assert "redirects to" in str(got)


@pytest.mark.parametrize(
    "play",
    [(30.0,), streaming(begun(), said("x"), 30.0), streaming(begun(), *(b": still here\n\n", 0.1) * 100)],
    ids=["before the answer", "in the middle", "comments only"],
)
def test_silence_ends_at_the_deadline(play: Play) -> None:
    """The time limit is for the whole call, and a server that only keeps the line open does not extend it."""
    before = time.monotonic()
    got = failure(play, timeout_s=0.6)
    assert time.monotonic() - before < 4
    assert (got.failure, got.unbilled) == (FailureClass.TRANSIENT, False)
    assert "timeout_s" in str(got)


def test_no_server() -> None:
    """A connection that is refused costs nothing and may work later."""
    with playing(streaming()) as server:
        pass
    with pytest.raises(ModelError, match="no connection") as raised:
        model(server).ask(request())
    assert raised.value.failure is FailureClass.TRANSIENT
    assert raised.value.unbilled


@pytest.mark.parametrize("play", [(30.0,), streaming(begun(), said("x"), 30.0)], ids=["before", "in the middle"])
def test_stop_button(play: Play) -> None:
    """A person who stops the run waits a fraction of a second, even while the server is silent."""
    pressed = threading.Event()
    with playing(play) as server:
        threading.Timer(0.3, pressed.set).start()
        before = time.monotonic()
        with pytest.raises(Interrupted, match="stopped"):
            model(server).ask(request(cancelled=pressed.is_set))
        assert time.monotonic() - before < 3
        assert len(play) == 1 or server.hung_up.wait(1.0), "the provider must learn that nobody listens any more"


def test_stop_button_while_it_talks() -> None:
    """Cancelling is noticed between two events as well, not only in silence."""
    calls = iter(range(100))
    with playing(streaming(begun(), *[said("x")] * 50, 5.0)) as server, pytest.raises(Interrupted):
        model(server).ask(request(cancelled=lambda: next(calls) > 5))


def test_lone_surrogate() -> None:
    """Text that cannot be sent is the request's fault, and nothing was sent."""
    with playing(streaming(begun(), ended())) as server:
        with pytest.raises(ModelError, match="Unicode") as raised:
            model(server).ask(request(prompt="\ud800"))
        assert not server.requests
    assert (raised.value.failure, raised.value.unbilled) == (FailureClass.INVALID_DATA, True)


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the message names the variable and the way out; with the variable the key is read at the call."""
    with playing(streaming(begun(), ended())) as server:
        keyless = AnthropicModel("claude-test", base_url=server.url)
        with pytest.raises(MissingKey, match=r'anthropic:claude-test needs ANTHROPIC_API_KEY.*model="local:"'):
            keyless.ask(request())
        monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")
        keyless.ask(request())
    assert server.requests[0].headers["authorization"].endswith("from-the-environment")


def test_network_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENTNB_NO_NETWORK forbids Anthropic and permits a server on this machine."""
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    with pytest.raises(NetworkForbidden):
        AnthropicModel("claude-test", api_key=KEY).ask(request())
    with playing(streaming(begun(), ended())) as server:
        model(server).ask(request())


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to this machine stays on it, whatever proxy is set."""
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    with playing(streaming(begun(), ended())) as server:
        model(server).ask(request())
    assert len(server.requests) == 1


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(MissingPackage, match="pip install anthropic"):
        AnthropicModel("claude-test", api_key=KEY).ask(request())


def test_key_is_in_no_repr() -> None:
    """A model that is printed in a notebook does not print its key."""
    assert KEY not in repr(AnthropicModel("claude-test", api_key=KEY))
