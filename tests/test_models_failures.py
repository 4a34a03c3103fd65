"""What the shared classification makes of statuses, codes, headers and exceptions."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import FailureClass, ModelError, NetworkForbidden
from agentnb.models.failures import Fault, classify, failure_of, redacted, retry_after_s
from agentnb.models.network import is_loopback, require_network

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


class StatusError(Exception):
    """The shape that both SDKs give to an HTTP error."""

    def __init__(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        super().__init__("raw text of the SDK")
        self.status_code = status
        self.body = body
        self.response = httpx2.Response(status, headers=headers)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (307, FailureClass.INVALID_DATA),
        (400, FailureClass.INVALID_DATA),
        (401, FailureClass.PERMISSION),
        (402, FailureClass.PERMISSION),
        (403, FailureClass.PERMISSION),
        (404, FailureClass.INVALID_DATA),
        (408, FailureClass.TRANSIENT),
        (409, FailureClass.TRANSIENT),
        (413, FailureClass.INVALID_DATA),
        (422, FailureClass.INVALID_DATA),
        (429, FailureClass.RATE_LIMITED),
        (499, FailureClass.TRANSIENT),
        (500, FailureClass.TRANSIENT),
        (503, FailureClass.TRANSIENT),
        (529, FailureClass.TRANSIENT),
    ],
)
def test_every_status_has_one_class(status: int, expected: FailureClass) -> None:
    """A status alone decides where the provider gives no code."""
    assert classify(Fault(status)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("overloaded_error", FailureClass.TRANSIENT),
        ("rate_limit_error", FailureClass.RATE_LIMITED),
        ("invalid_request_error", FailureClass.INVALID_DATA),
        ("authentication_error", FailureClass.PERMISSION),
        ("insufficient_quota", FailureClass.PERMISSION),
        ("never_heard_of", FailureClass.TRANSIENT),
    ],
)
def test_error_event_is_classified_by_its_code(code: str, expected: FailureClass) -> None:
    """An error inside a stream has status 200 or none, so its code decides."""
    assert classify(Fault(200, frozenset({code}))) is expected
    assert classify(Fault(None, frozenset({code}))) is expected


@pytest.mark.parametrize("status", [400, 402, 403, 429])
def test_nobody_retries_an_empty_account(status: int) -> None:
    """A quota that is used up is a person's matter, whatever status the provider gives it."""
    error = StatusError(status, {"code": "insufficient_quota", "message": "pay"})
    assert failure_of(error, ref="openai:x", started=False).failure is FailureClass.PERMISSION


def test_low_credit_is_permission() -> None:
    """Anthropic reports an empty account as an invalid request; only its sentence tells."""
    error = StatusError(400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}})
    assert failure_of(error, ref="anthropic:x", started=False).failure is FailureClass.PERMISSION


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:10 -0000"}, 10.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "whenever"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, milliseconds and dates are read; what cannot be read is no wait at all."""
    assert retry_after_s(headers, NOW) == expected


@given(st.text())
def test_retry_after_never_raises(value: str) -> None:
    """Whatever a server sends, the wait is None or a number of seconds that is not negative."""
    wait = retry_after_s({"retry-after": value, "retry-after-ms": value}, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("status", "started", "unbilled"),
    [
        (401, False, True),
        (404, False, True),
        (429, False, True),
        (529, False, True),
        (408, False, False),
        (500, False, False),
        (503, False, False),
        (429, True, False),
    ],
)
def test_what_is_known_to_cost_nothing(status: int, started: bool, unbilled: bool) -> None:  # noqa: FBT001
    """A call is free only where the provider turned it away before any work."""
    assert failure_of(StatusError(status), ref="openai:x", started=started).unbilled is unbilled


@pytest.mark.parametrize(
    ("error", "failure", "unbilled"),
    [
        (httpx2.ConnectError("x"), FailureClass.TRANSIENT, True),
        (httpx2.ConnectTimeout("x"), FailureClass.TRANSIENT, True),
        (httpx2.ReadTimeout("x"), FailureClass.TRANSIENT, False),
        (httpx2.RemoteProtocolError("x"), FailureClass.TRANSIENT, False),
        (ConnectionResetError(), FailureClass.TRANSIENT, False),
        (json.JSONDecodeError("x", "", 0), FailureClass.TRANSIENT, False),
        (httpx2.UnsupportedProtocol("x"), FailureClass.INVALID_DATA, True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"), FailureClass.INVALID_DATA, True),
        (KeyError("x"), FailureClass.FATAL, False),
    ],
)
def test_exceptions_without_a_response(error: Exception, failure: FailureClass, unbilled: bool) -> None:  # noqa: FBT001
    """Whatever the libraries under the SDKs raise is classified, alone or as the cause of an SDK's error."""
    wrapped = RuntimeError("Connection error.")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        got = failure_of(raised, ref="openai:x", started=False)
        assert (got.failure, got.unbilled) == (failure, unbilled)
        assert str(got).startswith("openai:x: ")


def test_model_error_passes_through() -> None:
    """What is classified already is not classified again."""
    error = ModelError("text", FailureClass.STALE_DATA)
    assert failure_of(error, ref="openai:x", started=True) is error


def test_message_is_one_short_line_without_the_key() -> None:
    """A provider that quotes the key, at length and over many lines, does not get it into the message."""
    body = {"error": {"message": "Incorrect key my-secret or sk-proj-abc***xyz.\n\n" + "blah " * 1000}}
    error = failure_of(StatusError(401, body), ref="openai:x", started=False, secret="my-secret")  # noqa: S106
    assert "my-secret" not in str(error)
    assert "sk-proj" not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 500
    assert "HTTP 401" in str(error)
    assert "check the key" in str(error)


def test_a_key_across_the_cut_is_struck_out_whole() -> None:
    """A message is shortened only once the key is out of it, so that no half of a key is left at its end."""
    body = {"error": {"message": "x" * 290 + "my-secret-key" + "y" * 50}}
    error = failure_of(StatusError(400, body), ref="openai:x", started=False, secret="my-secret-key")  # noqa: S106
    assert "my-" not in str(error)


@pytest.mark.parametrize(
    "body", [{"error": "why"}, {"error": {"message": "why"}}, {"message": "why"}, {"detail": "why"}, "why"]
)
def test_sentences_of_all_kinds_of_servers(body: object) -> None:
    """Each server has its own place for the sentence that says why; all of them are read."""
    assert "HTTP 400, bad request: why; " in str(failure_of(StatusError(400, body), ref="openai:x", started=False))


@pytest.mark.parametrize("body", [None, [], {}, {"error": None}, {"error": {"message": 7, "code": [1]}}, b"why", 7])
def test_bodies_that_say_nothing(body: object) -> None:
    """An error body of any other shape leaves the status to speak for itself."""
    assert "HTTP 500, internal server error; " in str(failure_of(StatusError(500, body), ref="x:y", started=False))


def test_web_page_is_not_quoted() -> None:
    """An HTML error page is named as one, not printed."""
    error = failure_of(StatusError(502, "<!DOCTYPE html><html>…"), ref="openai:x", started=False)
    assert "web page" in str(error)
    assert "DOCTYPE" not in str(error)


@given(st.text(min_size=8), st.text(), st.text())
def test_redaction_is_complete(secret: str, before: str, after: str) -> None:
    """No text comes out of `redacted` with the secret whole in it, unless the secret is part of the replacement."""
    assert secret not in redacted(before + secret + after, secret) or secret in before + "[key]" + after


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/v1", True),
        ("http://LOCALHOST", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80", True),
        ("https://api.openai.com/v1", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1@evil.example/", False),
        ("http://0.0.0.0", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_only_loopback_is_this_machine(url: str, expected: bool) -> None:  # noqa: FBT001
    """The host is decided by the parsed address, not by how the text begins."""
    assert is_loopback(url) is expected


def test_network_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENTNB_NO_NETWORK=1 admits this machine only; 0 and nothing admit everything."""
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "0")
    require_network("openai:x", "https://api.openai.com/v1")
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    require_network("openai:x", "http://127.0.0.1:8080/v1")
    with pytest.raises(NetworkForbidden, match=r"openai:x would call 'api\.openai\.com'"):
        require_network("openai:x", "https://api.openai.com/v1")
