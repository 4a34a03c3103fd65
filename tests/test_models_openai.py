"""OpenAIModel through the real SDK, over real HTTP on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agentnb.budget import Usage
from agentnb.errors import FailureClass, Interrupted, MissingKey, MissingPackage, ModelError, NetworkForbidden
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.base import ModelRequest, input_bound
from agentnb.models.openai import OpenAIModel, _arguments, is_openai
from tests.loopback import Play, Server, answering, event, failing, playing, streaming

KEY = "test-key-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "note": {"type": "string"}, "more": {"type": "object"}},
    "required": ["city"],
    "additionalProperties": False,
}
COUNTS: dict[str, Any] = {
    "prompt_tokens": 120,
    "completion_tokens": 42,
    "total_tokens": 162,
    "prompt_tokens_details": {"cached_tokens": 64},
}
DONE = event("[DONE]")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AGENTNB_NO_NETWORK"):
        monkeypatch.delenv(name, raising=False)


def model(server: Server, name: str = "gpt-test") -> OpenAIModel:
    return OpenAIModel(name, api_key=KEY, base_url=f"{server.url}/v1")


def request(*, cancelled: Callable[[], bool] = lambda: False, **changes: Any) -> ModelRequest:
    plain: dict[str, Any] = {"model": "openai:gpt-test", "phase": "answer", "system": "Be brief.", "timeout_s": 20.0}
    return ModelRequest(**{**plain, "prompt": "Where?", **changes}, cancelled=cancelled)


def chunk(*choices: dict[str, Any], usage: dict[str, Any] | None = None) -> bytes:
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-test-1", "choices": list(choices)}
    return event({**body, "usage": usage})


def said(text: str | None = None, *, finish: str | None = None, **delta: Any) -> bytes:
    return chunk({"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish})


def ended(finish: str = "stop", usage: dict[str, Any] | None = COUNTS) -> bytes:
    return said(finish=finish) + (chunk(usage=usage) if usage else b"") + DONE


def failure(play: Play, **changes: Any) -> ModelError:
    """The error of a call that is answered by `play`, and that was made exactly once."""
    with playing(play) as server:
        with pytest.raises(ModelError) as raised:
            model(server).ask(request(**changes))
        assert len(server.requests) == 1
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert str(raised.value).startswith("openai:gpt-test: ")
    return raised.value


def test_structured_answer() -> None:
    """The strict schema is sent, and the answer comes back in terms of the original one, each token counted once."""
    parts = (said('{"city": "Oslo", '), said('"note": null, "more": "{\\"a\\": 1}"}'), ended())
    with playing(streaming(*parts)) as server:
        reply = model(server).ask(request(schema=SCHEMA, max_output_tokens=77))
    assert json.loads(reply.text) == {"city": "Oslo", "more": {"a": 1}}
    assert (reply.stop, reply.model, reply.cached) == ("end", "gpt-test-1", False)
    assert reply.usage == Usage(input_tokens=120, output_tokens=42, cache_read_tokens=64)
    sent = server.requests[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent.body["stream_options"] == {"include_usage": True}
    strict = sent.body["response_format"]["json_schema"]
    assert strict["strict"] is True
    assert strict["schema"]["required"] == ["city", "note", "more"]


def test_cache_writes_are_counted() -> None:
    """Tokens that the provider wrote to its cache are part of the input, and known as such."""
    details = {"cached_tokens": 10, "cache_write_tokens": 90}
    with playing(streaming(said("x"), ended(usage=COUNTS | {"prompt_tokens_details": details}))) as server:
        assert model(server).ask(request()).usage == Usage(120, 42, 10, 90)


def test_reasoning_and_the_tier_are_taken_over() -> None:
    """Thinking is part of the output, and the tier that served the call decides its price."""
    usage = COUNTS | {"completion_tokens_details": {"reasoning_tokens": 40}}
    for tier, terms in [("flex", ("flex",)), ("priority", ("priority",)), ("default", ()), (None, ())]:
        last = event({**json.loads(chunk(usage=usage).decode().removeprefix("data: ")), "service_tier": tier})
        with playing(streaming(said("x", finish="stop"), last, DONE)) as server:
            got = model(server).ask(request()).usage
        assert got == Usage(120, 42, 64, reasoning_tokens=40, terms=terms)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": None}, None),
        ({"completion_tokens": -1}, None),
        ({"prompt_tokens_details": {"cached_tokens": 500}}, Usage(120, 42, 120)),
        ({"prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 100}}, Usage(120, 42, 100, 20)),
        ({"prompt_tokens_details": None}, Usage(120, 42)),
    ],
)
def test_counts_that_cannot_be_true(counts: dict[str, Any], usage: Usage | None) -> None:
    """A part is never more than its whole, and what is no count is charged at the bound."""
    with playing(streaming(said("x"), ended(usage=COUNTS | counts))) as server:
        got = model(server).ask(request()).usage
    assert got == (usage or Usage(input_bound(request()), 1024, uncounted=True))


def test_only_openai_itself_is_told_how_to_cache_and_at_which_price() -> None:
    """The key is that of the beginning, schema and system, so that it changes with neither prompt nor context."""
    own = [
        _arguments("gpt-test", request(**changes), "https://api.openai.com/v1")
        for changes in ({}, {"prompt": "Who?", "context": ("plan",)}, {"system": "Be long."}, {"schema": SCHEMA})
    ]
    assert {one["service_tier"] for one in own} == {"default"}
    keys = [one["prompt_cache_key"] for one in own]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    for address in ("https://mine.openai.azure.com/openai/v1", "http://127.0.0.1:8080/v1"):
        assert not _arguments("gpt-test", request(), address).keys() & {"service_tier", "prompt_cache_key"}


def test_what_lasts_is_sent_first() -> None:
    """Context stands before the prompt, in order: the provider's own cache goes by the beginning."""
    (message,) = _arguments("gpt-test", request(system="", context=("plan", "memory")), "")["messages"]
    assert message["content"] == "plan\n\nmemory\n\nWhere?"


def test_prose() -> None:
    """Without a schema no format is asked for, and the text comes back untouched."""
    with playing(streaming(said("Os"), said("lo"), ended())) as server:
        assert model(server).ask(request(system="")).text == "Oslo"
    assert "response_format" not in server.requests[0].body
    assert [m["role"] for m in server.requests[0].body["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("gpt-4o", True),
        ("gpt-4.1-mini", True),
        ("gpt-oss-20b", True),
        ("olmo-2", True),
        ("qwen/qwen3", True),
        ("gpt-5", False),
        ("gpt-5.1-mini", False),
        ("o3", False),
        ("o4-mini", False),
        ("openai/gpt-5.1", False),
    ],
)
def test_temperature_only_where_it_is_taken(name: str, sent: bool) -> None:  # noqa: FBT001
    """Reasoning models refuse a temperature; every other one gets it."""
    with playing(streaming(said("x"), ended())) as server:
        model(server, name).ask(request(temperature=0.0))
        model(server, name).ask(request(temperature=None))
    assert [("temperature" in one.body) for one in server.requests] == [sent, False]


@pytest.mark.parametrize(
    ("address", "official"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://mine.openai.azure.com/openai/v1", True),
        ("https://openrouter.ai/api/v1", False),
        ("http://localhost:11434/v1", False),
        ("https://openai.com.evil.example/v1", False),
    ],
)
def test_name_of_the_output_limit(address: str, official: bool) -> None:  # noqa: FBT001
    """OpenAI wants max_completion_tokens, which compatible servers may not know; those get max_tokens."""
    assert is_openai(address) is official
    arguments = _arguments("gpt-test", request(max_output_tokens=77), address)
    assert arguments["max_completion_tokens" if official else "max_tokens"] == 77
    assert len(arguments.keys() & {"max_completion_tokens", "max_tokens"}) == 1


@pytest.mark.parametrize(
    ("finish", "stop"), [("stop", "end"), ("length", "length"), ("content_filter", "refusal"), ("eos", "end")]
)
def test_finish_reasons(finish: str, stop: str) -> None:
    """Each finish reason becomes one of three; a text cut off in the middle comes back as it is."""
    with playing(streaming(said('{"city": "Os'), ended(finish))) as server:
        reply = model(server).ask(request(schema=SCHEMA))
    assert (reply.stop, reply.text) == (stop, '{"city": "Os')


def test_refusal() -> None:
    """A refusal is a reply with its own stop, and its words are the text."""
    with playing(streaming(said(refusal="I would "), said(refusal="rather not"), ended())) as server:
        reply = model(server).ask(request(schema=SCHEMA))
    assert (reply.stop, reply.text) == ("refusal", "I would rather not")


@pytest.mark.parametrize("last", [ended(usage=None), said(finish="stop")], ids=["with DONE", "without"])
def test_missing_counts_are_charged_at_the_bound(last: bytes) -> None:
    """A server that counts nothing does not make the call free; nor does it fail a complete answer."""
    with playing(streaming(said("x"), last)) as server:
        assert model(server).ask(request()).usage == Usage(input_bound(request()), 1024, uncounted=True)


@pytest.mark.parametrize(
    ("status", "error", "expected", "unbilled"),
    [
        (400, {"code": "context_length_exceeded", "message": "too long"}, FailureClass.INVALID_DATA, True),
        (401, {"code": "invalid_api_key", "message": f"bad key {KEY}"}, FailureClass.PERMISSION, True),
        (403, {"code": None, "message": "no"}, FailureClass.PERMISSION, True),
        (404, {"code": "model_not_found", "message": "no gpt-test"}, FailureClass.INVALID_DATA, True),
        (429, {"code": "rate_limit_exceeded", "message": "slow"}, FailureClass.RATE_LIMITED, True),
        (429, {"code": "insufficient_quota", "message": "pay"}, FailureClass.PERMISSION, True),
        (429, {"type": "insufficient_quota", "message": "pay"}, FailureClass.PERMISSION, True),
        (500, {"message": "oops"}, FailureClass.TRANSIENT, False),
        (503, None, FailureClass.TRANSIENT, False),
        (529, None, FailureClass.TRANSIENT, True),
    ],
)
def test_http_errors(status: int, error: dict[str, Any] | None, expected: FailureClass, unbilled: bool) -> None:  # noqa: FBT001
    """Each status is one request, one class, and says whether it cost anything."""
    got = failure(failing(status, error))
    assert (got.failure, got.unbilled) == (expected, unbilled)
    assert f"HTTP {status}" in str(got)


def test_retry_after() -> None:
    """The wait that the provider asks for is reported, and nobody sleeps in here."""
    before = time.monotonic()
    assert failure(failing(429, retry_after="86400")).retry_after_s == 86400
    assert failure(failing(503, retry_after_ms="250")).retry_after_s == 0.25
    assert failure(failing(429)).retry_after_s is None
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait = failure(failing(429, retry_after=then)).retry_after_s
    assert wait is not None
    assert 50 < wait <= 60
    assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "server_error", "message": "in the middle"}, FailureClass.TRANSIENT),
        ({"code": "rate_limit_exceeded", "message": "in the middle"}, FailureClass.RATE_LIMITED),
        ({"type": "insufficient_quota", "message": "in the middle"}, FailureClass.PERMISSION),
        ({"message": "in the middle"}, FailureClass.TRANSIENT),
        ({"code": 502, "message": "in the middle"}, FailureClass.TRANSIENT),
    ],
)
def test_error_event_in_the_stream(error: dict[str, Any], expected: FailureClass) -> None:
    """An error after the headers is classified by its code, and may cost."""
    got = failure(streaming(said("x"), event({"error": error})))
    assert (got.failure, got.unbilled) == (expected, False)
    assert "in the middle" in str(got)


@pytest.mark.parametrize(
    ("play", "text"),
    [
        (streaming(said("x"), cut=True), "connection broke"),
        (streaming(said("x")), "stream ended before the answer did"),
        (streaming(said("x"), DONE), "stream ended before the answer did"),
        (streaming(chunk(usage=COUNTS), DONE), "no choice at all"),
        (streaming(), "no choice at all"),
        (streaming(said("x"), event('{"choices": [')), "no JSON"),
        ((b"",), "connection broke"),
    ],
    ids=["cut", "early end", "no reason", "empty choices", "nothing", "broken JSON", "no response"],
)
def test_broken_streams_are_transient_and_charged(play: Play, text: str) -> None:
    """Whatever breaks an answer that may be under way is worth another try, and may have cost."""
    got = failure(play)
    assert (got.failure, got.unbilled) == (FailureClass.TRANSIENT, False)
    assert text in str(got)


def test_malformed_chunk_is_classified() -> None:
    """A chunk without its parts is a failure of the call, not an AttributeError."""
    got = failure(streaming(chunk({"index": 0})))
    assert got.failure is FailureClass.FATAL


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
    with playing(streaming(said("x"), ended())) as other:
        got = failure(answering("", status=307, location=f"{other.url}/v1/chat/completions"))
        assert not other.requests
    assert got.failure is FailureClass.INVALID_DATA
    assert "redirects to" in str(got)


@pytest.mark.parametrize(
    "play",
    [(30.0,), streaming(said("x"), 30.0), streaming(said("x"), *(b": processing\n\n", 0.1) * 100)],
    ids=["before the answer", "in the middle", "comments only"],
)
def test_silence_ends_at_the_deadline(play: Play) -> None:
    """The time limit is for the whole call, and a server that only keeps the line open does not extend it."""
    before = time.monotonic()
    got = failure(play, timeout_s=0.6)
    assert time.monotonic() - before < 4
    assert (got.failure, got.unbilled) == (FailureClass.TRANSIENT, False)
    assert "timeout_s" in str(got)


@pytest.mark.parametrize("play", [(30.0,), streaming(said("x"), 30.0)], ids=["before", "in the middle"])
def test_stop_button(play: Play) -> None:
    """A person who stops the run waits a fraction of a second, even while the server is silent."""
    pressed = threading.Event()
    with playing(play) as server:
        threading.Timer(0.3, pressed.set).start()
        before = time.monotonic()
        with pytest.raises(Interrupted, match="stopped"):
            model(server).ask(request(cancelled=pressed.is_set))
        assert time.monotonic() - before < 3
        assert len(play) == 1 or server.hung_up.wait(1.0), "the server must learn that nobody listens any more"


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI itself needs a key; a compatible server is called without one, or with that of the variable."""
    with pytest.raises(MissingKey, match=r'openai:gpt-test needs OPENAI_API_KEY.*model="local:"'):
        OpenAIModel("gpt-test").ask(request())
    with playing(streaming(said("x"), ended())) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        assert OpenAIModel("gpt-test").ask(request()).text == "x"
        monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
        OpenAIModel("gpt-test").ask(request())
    assert [one.headers["authorization"] for one in server.requests] == ["Bearer none", "Bearer from-the-environment"]


def test_network_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENTNB_NO_NETWORK forbids OpenAI and permits a server on this machine."""
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    with pytest.raises(NetworkForbidden):
        OpenAIModel("gpt-test", api_key=KEY).ask(request())
    with playing(streaming(said("x"), ended())) as server:
        model(server).ask(request())


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingPackage, match="pip install openai"):
        OpenAIModel("gpt-test", api_key=KEY).ask(request())


def test_key_is_in_no_repr() -> None:
    """A model that is printed in a notebook does not print its key."""
    assert KEY not in repr(OpenAIModel("gpt-test", api_key=KEY))


def test_threads_share_a_model() -> None:
    """One model answers many threads at once, each with its own answer."""
    with playing(*[streaming(said(f"{i}"), 0.02, ended()) for i in range(8)]) as server:
        shared, texts = model(server), []
        threads = [threading.Thread(target=lambda: texts.append(shared.ask(request()).text)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(texts) == [str(i) for i in range(8)]


def test_importing_the_adapters_imports_no_sdk() -> None:
    """Neither SDK, nor the HTTP library, nor the price table is imported before the first call."""
    code = (
        "import sys; import agentnb.models.resolve as r, agentnb.models.prices; r.resolve('openai:x'); "
        "from agentnb.errors import AgentError\n"
        "from agentnb.models.base import ModelRequest\n"
        "for ref in ('openai:x', 'anthropic:x'):\n"
        "    try: r.resolve(ref).ask(ModelRequest(ref, 'plan', '', ''))\n"
        "    except AgentError as error: print(type(error).__name__)\n"
        "print(sorted({'anthropic', 'openai', 'httpx2', 'pydantic', 'genai_prices'} & sys.modules.keys()))"
    )
    environment = {"AGENTNB_NO_NETWORK": "1", "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:3] == ["NetworkForbidden", "NetworkForbidden", "[]"]


@pytest.mark.parametrize("kind", [OpenAIModel, AnthropicModel])
@pytest.mark.parametrize(
    ("base_url", "variable", "endpoint"),
    [
        (None, None, ""),
        ("{own}", None, ""),
        ("{own}/", None, ""),
        (None, "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("{own}", "http://127.0.0.1:8000/v1", ""),
        ("https://me:secret@proxy.example:8443/v1/?key=secret", None, "https://proxy.example:8443/v1"),
        ("http://[::1", None, "http://[::1"),
    ],
)
def test_endpoint(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[OpenAIModel | AnthropicModel],
    base_url: str | None,
    variable: str | None,
    endpoint: str,
) -> None:
    """Two servers never pass for one another; the provider's own has none, and nothing secret is in it."""
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    if variable:
        monkeypatch.setenv(f"{kind.provider.upper()}_BASE_URL", variable)
    assert kind("m", base_url=base_url and base_url.format(own=kind.host)).endpoint == endpoint
