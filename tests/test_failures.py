"""What the exceptions of tools mean, from whatever library, and however odd."""

from __future__ import annotations

import errno
import io
import json
import pickle
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import Message
from http.client import IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import errors
from agentnb.errors import (
    AgentError,
    FailureClass,
    Fatal,
    InvalidData,
    ModelError,
    NotJSON,
    Permission,
    RateLimited,
    StaleData,
    ToolFailure,
    ToolTimeout,
    Transient,
)
from agentnb.failures import Acted, Failure, classify, next_step, of_status, retry_after_s

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
TRANSIENT, RATE, STALE, PERMISSION, INVALID, FATAL = FailureClass

KINDS = {
    Transient: TRANSIENT,
    RateLimited: RATE,
    StaleData: STALE,
    Permission: PERMISSION,
    InvalidData: INVALID,
    Fatal: FATAL,
}


class Response:
    """An HTTP response as most libraries have one; false where it is an error, as that of requests is."""

    def __init__(self, status: int, headers: Any = None) -> None:
        self.status_code = status
        self.headers = headers or {}

    def __bool__(self) -> bool:
        return self.status_code < 400


class HTTPError(Exception):
    """An error with a response."""

    def __init__(self, status: int, headers: Any = None, text: str = "") -> None:
        super().__init__(text)
        self.response = Response(status, headers)


def stranger(name: str, module: str, base: type[BaseException] = Exception, **more: Any) -> type[BaseException]:
    """An exception class of a library that is not installed."""
    return type(name, (base,), {"__module__": module, **more})


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """`error from cause`."""
    error.__cause__ = cause
    return error


def during(error: BaseException, handled: BaseException) -> BaseException:
    """`error`, raised while `handled` was being handled."""
    error.__context__ = handled
    return error


def verdict(error: BaseException, **more: Any) -> tuple[FailureClass, Acted]:
    """The class and whether it acted."""
    found = classify(error, now=NOW, **more)
    return found.failure, found.acted


# ------------------------------------------------------------------------------------------- the tool's own word


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_kinds(kind: type[Transient]) -> None:
    """Each is a ToolFailure of its class, with or without a message, and says that the call did not act."""
    assert issubclass(kind, ToolFailure)
    assert (str(kind()), str(kind("why"))) == ("", "why")
    assert (kind().failure, kind().retry_after_s) == (KINDS[kind], None)
    assert classify(kind("why")) == Failure(KINDS[kind], "no", None)
    assert kind.__name__ in errors.__all__


def test_every_class_of_failure_has_its_kind() -> None:
    assert set(KINDS.values()) == set(FailureClass)


@pytest.mark.parametrize("error", [RateLimited("slow down", 7), Transient("x", retry_after_s=7), StaleData("x")])
def test_the_public_kinds_can_be_pickled(error: ToolFailure) -> None:
    """A tool may run in another process."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_tool_failure_says_its_own_class() -> None:
    """Whatever a mapping, a status or the text says."""
    error = ToolFailure("rate limit", FailureClass.STALE_DATA, retry_after_s=3)
    error.status_code = 500  # type: ignore[attr-defined]
    assert classify(error, {ToolFailure: "fatal", 500: "fatal", "rate": "fatal"}) == Failure(STALE, "no", 3)


def test_a_timeout_may_have_acted() -> None:
    assert classify(ToolTimeout("it took longer than 3 s")) == Failure(TRANSIENT, "unknown")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(7, 7.0), (-1, 0.0), (float("nan"), None), (float("inf"), None), ("8", 8.0), ("soon", None), (10**400, None)],
)
def test_odd_waits_of_a_tool(asked: Any, expected: float | None) -> None:
    """A wait is a finite number of seconds that is not negative, or none."""
    assert classify(RateLimited("x", asked)).retry_after_s == expected


def test_a_tool_failure_without_a_class() -> None:
    """A subclass that forgot to call its base's __init__ is fatal, as a ToolFailure is by default."""

    class Forgetful(ToolFailure):
        def __init__(self) -> None:
            pass

    assert classify(Forgetful()) == Failure(FATAL, "no")


# ------------------------------------------------------------------------------------------- what the tool declares


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({LookupError: "stale_data"}, (STALE, "no")),
        ({LookupError: "stale_data", KeyError: FailureClass.FATAL}, (FATAL, "no")),
        ({KeyError: "fatal", LookupError: "stale_data"}, (FATAL, "no")),
        ({"No Such Row": "stale_data"}, (STALE, "no")),
        ({"other": "stale_data", "row": "permission"}, (PERMISSION, "no")),
        ({"row": "permission", Exception: "fatal"}, (FATAL, "no")),
        ({ValueError: "fatal", 404: "fatal", 0: "fatal", "other": "fatal", "": "fatal"}, (INVALID, "unknown")),
        ({}, (INVALID, "unknown")),
    ],
)
def test_what_a_tool_declares(mapping: Any, expected: tuple[FailureClass, Acted]) -> None:
    """The nearest class, then the text; what is not declared is as ever."""
    assert verdict(KeyError("no such row: 7"), mapping=mapping) == expected


def test_a_declared_status() -> None:
    """It comes after the class and before the text, and the wait that the server asks for is kept."""
    error = HTTPError(423, {"Retry-After": "4"}, "locked")
    assert classify(error, {423: "transient", "locked": "fatal"}) == Failure(TRANSIENT, "no", 4)
    assert classify(error, {423: "transient", HTTPError: "stale_data"}) == Failure(STALE, "no", None)


def test_a_declared_system_exit() -> None:
    """Some libraries end the process where a password is wrong."""
    assert verdict(SystemExit("no password"), mapping={SystemExit: "permission"}) == (PERMISSION, "no")


def test_a_mapping_that_names_no_class() -> None:
    with pytest.raises(ValueError, match="transiant"):
        classify(KeyError("x"), {KeyError: "transiant"})


# ------------------------------------------------------------------------------------------- by HTTP status

STATUSES = [
    *((code, PERMISSION, "no") for code in (401, 402, 403, 407)),
    *((code, STALE, "no") for code in (409, 412, 428)),
    *((code, TRANSIENT, "no") for code in (425, 503)),
    *((code, TRANSIENT, "unknown") for code in (408, 499, 500, 501, 502, 504, 507, 529, 599)),
    *((code, INVALID, "no") for code in (400, 404, 405, 410, 413, 415, 422, 423, 451)),
    (429, RATE, "no"),
]


@pytest.mark.parametrize(("status", "failure", "acted"), STATUSES)
def test_statuses(status: int, failure: FailureClass, acted: Acted) -> None:
    """The same, wherever a library keeps it."""
    keeps: list[type[BaseException]] = [
        stranger("E", "lib", status_code=status),
        stranger("E", "lib", status=status, headers={"x": "y"}),
        stranger("E", "lib", code=status, headers={"x": "y"}),
        stranger("E", "lib", ValueError, status_code=status),
    ]
    request = httpx2.Request("GET", "http://h")
    found = [
        *(kind() for kind in keeps),
        HTTPError(status),
        httpx2.HTTPStatusError("x", request=request, response=httpx2.Response(status)),
    ]
    assert {verdict(error) for error in found} == {(failure, acted)}
    assert of_status(status) == (failure, acted)


def test_status_of_requests() -> None:
    """Its response is false where it is an error, and still a response."""
    response = requests.Response()
    response.status_code = 429
    response.headers["RETRY-AFTER"] = "11"
    with pytest.raises(requests.HTTPError) as caught:
        response.raise_for_status()
    assert classify(caught.value) == Failure(RATE, "no", 11)


@contextmanager
def urllib_error(status: int, headers: dict[str, str], body: io.BytesIO | None) -> Iterator[urllib.error.HTTPError]:
    """What urlopen raises."""
    message = Message()
    for name, value in headers.items():
        message[name] = value
    error = urllib.error.HTTPError("http://h", status, "x", message, body)
    try:
        yield error
    finally:
        error.close()


def test_status_of_urllib() -> None:
    """With a body and without."""
    for body in (io.BytesIO(b"x"), None):
        with urllib_error(503, {"Retry-After": "Fri, 20 Nov 2026 12:01:30 GMT"}, body) as error:
            assert classify(error, now=NOW) == Failure(TRANSIENT, "no", 90)


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
@pytest.mark.parametrize("make", [dict, httpx2.Headers, requests.structures.CaseInsensitiveDict])
def test_the_wait_that_the_server_asks_for(name: str, make: Callable[[dict[str, str]], Any]) -> None:
    """In whatever case and in whatever kind of mapping; only where waiting helps."""
    assert classify(HTTPError(429, make({name: "7"}))).retry_after_s == 7
    assert classify(HTTPError(404, make({name: "7"}))).retry_after_s is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Fri, 20 Nov 2026 12:00:10 GMT", 10.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 20 Nov 99999999999999999999 12:00:00 GMT", None),
        ("whenever", None),
        ("-3", 0.0),
        ("inf", None),
    ],
)
def test_forms_of_retry_after(value: str, expected: float | None) -> None:
    """A date of any year and a number of any size are read or passed over."""
    assert retry_after_s({"retry-after": value}, NOW) == expected
    assert classify(HTTPError(429, {"Retry-After": value}), now=NOW).retry_after_s == expected


def test_a_date_without_a_given_present() -> None:
    """It is counted from the clock."""
    assert classify(HTTPError(429, {"Retry-After": "Fri, 20 Nov 2020 12:00:10 GMT"})).retry_after_s == 0


def test_nobody_retries_an_empty_account() -> None:
    """A quota that is used up is a person's matter."""
    assert verdict(HTTPError(429, text="Error code: 429 - {'code': 'insufficient_quota'}")) == (PERMISSION, "no")


@pytest.mark.parametrize(("name", "status"), [("code", 497), ("status", 404), ("code", 429)])
def test_a_number_that_may_be_no_status_is_no_evidence(name: str, status: int) -> None:
    """A bare `code` says what to do next, and not that nothing happened: databases number their errors too."""
    kind = stranger("ServerException", "clickhouse_driver.errors")
    setattr(kind, name, status)
    assert verdict(kind()) == (of_status(status)[0], "unknown")


@pytest.mark.parametrize("value", [True, 200, 399, 600, 1006, -404, "404", 404.0, None, [404]])
def test_what_is_no_error_status(value: object) -> None:
    """A success, a code of another protocol or a text leaves the type to decide."""
    assert verdict(stranger("E", "lib", code=value, status=value, status_code=value)()) == (INVALID, "unknown")


def test_system_exit_has_no_status() -> None:
    assert verdict(SystemExit(404)) == (FATAL, "unknown")


# ------------------------------------------------------------------------------------------- by type


def refused(call: Callable[[], object]) -> BaseException:
    """What `call` raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever
        call()
    return caught.value


@pytest.fixture
def nowhere() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def test_a_refused_connection_says_nothing_of_what_was_done_before(nowhere: str) -> None:
    """As each library really raises it; where nothing is done before, the tool declares it, and has not acted."""
    raised = [
        refused(lambda: urllib.request.urlopen(nowhere)),  # noqa: S310 - this machine
        refused(lambda: requests.post(nowhere, timeout=5)),
        refused(lambda: httpx2.post(nowhere)),
        refused(lambda: urllib3.request("POST", nowhere, retries=False)),
        refused(lambda: socket.create_connection(("127.0.0.1", int(nowhere.split(":")[2].strip("/"))))),
    ]
    assert [verdict(error) for error in raised] == [(TRANSIENT, "unknown")] * len(raised)
    declared: Any = {type(error): "transient" for error in raised}
    assert [verdict(error, mapping=declared) for error in raised] == [(TRANSIENT, "no")] * len(raised)


UNSENT = [
    ConnectionRefusedError(),
    socket.gaierror(-2, "Name or service not known"),
    urllib.error.URLError(socket.gaierror(-2, "x")),
    httpx2.ConnectError("x"),
    httpx2.ConnectTimeout("x"),
    requests.ConnectTimeout("x"),
    stranger("ClientConnectorError", "aiohttp.client_exceptions", OSError)("x"),
    stranger("ClientConnectorDNSError", "aiohttp", stranger("ClientConnectorError", "aiohttp", OSError))("x"),
    stranger("ConnectError", "httpcore")("x"),
    stranger("ConnectError", "httpx")("x"),
]

BROKEN = [
    ConnectionResetError(),
    BrokenPipeError(),
    ConnectionError(),
    TimeoutError(),
    EOFError(),
    RemoteDisconnected("x"),
    IncompleteRead(b"x"),
    httpx2.ReadTimeout("x"),
    httpx2.RemoteProtocolError("x"),
    httpx2.ReadError("x"),
    requests.ReadTimeout("x"),
    requests.ConnectionError("x"),
    requests.exceptions.ChunkedEncodingError("x"),
    urllib3.exceptions.ProtocolError("x"),
    urllib.error.URLError(TimeoutError("timed out")),
    urllib.error.URLError(ConnectionResetError()),
    stranger("ServerDisconnectedError", "aiohttp")("x"),
    stranger("APIConnectionError", "openai")("x"),
    stranger("ConnectTimeoutError", "botocore.exceptions", stranger("ConnectionError", "botocore.exceptions"))("x"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
    sqlite3.OperationalError("database is locked"),
    stranger("OperationalError", "sqlalchemy.exc")("(sqlite3.OperationalError) database table is locked"),
]

STAYS = [
    *(ValueError("x"), TypeError("x"), KeyError("x"), IndexError("x"), ZeroDivisionError("x"), OSError("x")),
    *(FileNotFoundError(2, "x"), NotJSON("x"), RuntimeError("x"), Exception("x"), AgentError("x")),
    *(UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), json.JSONDecodeError("x", "x", 0), StopIteration()),
    *(sqlite3.OperationalError("no such table: x"), sqlite3.IntegrityError("x"), ExceptionGroup("x", [KeyError()])),
    *(urllib.error.URLError("unknown url type: x"), ValueError("rate limit"), KeyError("try again")),
    stranger("ConnectError", "somebody")("x"),
]

MENDED_BY_NOTHING = [
    *(NameError("x"), UnboundLocalError("x"), AttributeError("x"), ModuleNotFoundError("x"), SyntaxError("x")),
    *(NotImplementedError("x"), AssertionError("x"), MemoryError("x"), RecursionError("x"), SystemExit(1)),
    *(KeyboardInterrupt(), GeneratorExit(), BaseException("x"), BaseExceptionGroup("x", [SystemExit()])),
]


def named(error: BaseException) -> str:
    """For the list of tests."""
    return type(error).__name__


@pytest.mark.parametrize("error", UNSENT, ids=named)
def test_no_connection_was_made(error: BaseException) -> None:
    """It passes; but the same call may have done something before."""
    assert verdict(error) == (TRANSIENT, "unknown")


@pytest.mark.parametrize("error", BROKEN, ids=named)
def test_the_connection_broke(error: BaseException) -> None:
    """It may have broken after the request had gone out."""
    assert verdict(error) == (TRANSIENT, "unknown")


@pytest.mark.parametrize("error", STAYS, ids=named)
def test_the_same_call_would_fail_again(error: BaseException) -> None:
    """And may have acted before it did; words in the message of a known type change nothing."""
    assert verdict(error) == (INVALID, "unknown")


@pytest.mark.parametrize("error", MENDED_BY_NOTHING, ids=named)
def test_nothing_in_a_run_mends_it(error: BaseException) -> None:
    assert verdict(error) == (FATAL, "unknown")


def test_files_that_may_not_be_read() -> None:
    assert verdict(PermissionError(13, "x")) == (PERMISSION, "unknown")


@pytest.mark.parametrize("failure", FailureClass)
def test_a_tool_that_asks_a_model(failure: FailureClass) -> None:
    """The model's error is classified already; what the tool did before is not known."""
    assert verdict(ModelError("x", failure)) == (failure, "unknown")


def test_a_locked_database_as_sqlite_raises_it(tmp_path: Path) -> None:
    """By its code, so that a table with `locked` in its name is not taken for it."""
    first, second = (sqlite3.connect(tmp_path / "x.db", timeout=0) for _ in range(2))
    try:
        first.execute("BEGIN EXCLUSIVE")
        assert verdict(refused(lambda: second.execute("BEGIN EXCLUSIVE"))) == (TRANSIENT, "unknown")
        first.rollback()
        assert verdict(refused(lambda: first.execute("SELECT * FROM locked"))) == (INVALID, "unknown")
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("sent", [httpx2.ReadTimeout("x"), ConnectionResetError(), HTTPError(500), HTTPError(429)])
@pytest.mark.parametrize("link", [caused, during])
def test_a_second_attempt_that_is_refused(link: Callable[..., BaseException], sent: BaseException) -> None:
    """A request made anew in an `except` is refused: the first may have acted."""
    inner = link(ConnectionRefusedError(), sent)
    for error in (inner, link(httpx2.ConnectError("x"), inner), urllib.error.URLError(inner)):
        assert verdict(error) == (TRANSIENT, "unknown")


@pytest.mark.parametrize("sent", [httpx2.ReadTimeout("x"), ConnectionResetError(), requests.ReadTimeout("x")])
@pytest.mark.parametrize("link", [caused, during])
def test_a_second_attempt_that_is_turned_away(link: Callable[..., BaseException], sent: BaseException) -> None:
    """A status says that this request did not act, and nothing of one before it that was lost."""
    assert verdict(link(HTTPError(503), sent)) == (TRANSIENT, "unknown")


@pytest.mark.parametrize("link", [caused, during])
@pytest.mark.parametrize("error", [Transient("hiccup"), ValueError("x"), HTTPError(503)], ids=repr)
def test_what_is_raised_over_a_timeout_says_nothing_of_what_was_done(
    error: Exception, link: Callable[..., BaseException]
) -> None:
    """Neither the tool's own word nor what it declares: it was given up half-way."""
    over = link(error, ToolTimeout("it took longer than 1 s"))
    assert classify(over).acted == classify(over, {ValueError: "transient", 503: "transient"}).acted == "unknown"


def test_a_refusal_that_led_to_another_error() -> None:
    """A request that failed in another way may have acted, whatever was refused before it."""
    for error in (httpx2.ReadTimeout("x"), requests.ConnectionError("x"), ConnectionResetError()):
        assert verdict(during(error, ConnectionRefusedError())) == (TRANSIENT, "unknown")
    assert verdict(caused(RuntimeError("could not do it"), ConnectionRefusedError())) == (INVALID, "unknown")


# ------------------------------------------------------------------------------------------- by text


@pytest.mark.parametrize(
    "kind", [Exception, RuntimeError, stranger("Odd", "lib"), stranger("Odd", "lib", RuntimeError)]
)
@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("Rate limit reached", RATE),
        ("Too Many Requests", RATE),
        ("query timed out", TRANSIENT),
        ("service temporarily unavailable", TRANSIENT),
        ("please try again", TRANSIENT),
        ("server overloaded", TRANSIENT),
        ("Connection reset by peer", TRANSIENT),
        ("Permission denied", PERMISSION),
        ("403 Forbidden", PERMISSION),
        ("Unauthorized: try again with a key", PERMISSION),
        ("not authorized", PERMISSION),
        ("no such table", INVALID),
        ("", INVALID),
    ],
)
def test_text_is_the_last_witness(kind: type[Exception], text: str, failure: FailureClass) -> None:
    """Of types that say nothing; never whether it acted."""
    assert verdict(kind(text)) == (failure, "unknown")


# ------------------------------------------------------------------------------------------- what may be done next


@pytest.mark.parametrize("failure", FailureClass)
def test_next_step(failure: FailureClass) -> None:
    """One line each, no two alike."""
    assert next_step(failure).endswith(".")
    assert "\n" not in next_step(failure)
    assert len({next_step(other) for other in FailureClass}) == len(FailureClass)


# ------------------------------------------------------------------------------------------- the odd ones


class Hostile(Exception):
    """Nothing of it can be read."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


def test_an_exception_of_which_nothing_can_be_read() -> None:
    """Its type is all there is."""
    assert classify(Hostile()) == Failure(INVALID, "unknown")
    assert classify(Hostile(), {"x": "fatal", 404: "fatal", Hostile: "stale_data"}) == Failure(STALE, "no")
    kind = stranger("Both", "lib", ToolFailure, __getattribute__=Hostile.__getattribute__, __str__=Hostile.__str__)
    assert classify(kind("x")) == Failure(FATAL, "no")


def test_a_response_of_which_nothing_can_be_read() -> None:
    error = HTTPError(429)
    error.response = Hostile()  # type: ignore[assignment]
    assert verdict(error) == (INVALID, "unknown")
    error.response = Response(429, Hostile())
    assert classify(error) == Failure(RATE, "no", None)


def test_errors_that_caused_each_other() -> None:
    """A ring of causes has an end."""
    one, other = httpx2.ConnectError("x"), httpx2.ConnectError("y")
    one.__cause__, other.__cause__ = other, one
    one.__context__ = one.__cause__
    assert verdict(one) == (TRANSIENT, "unknown")
    error = urllib.error.URLError("x")
    error.reason = error
    assert verdict(error) == (INVALID, "unknown")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(300, 620),
    st.floats(),
    st.text(),
    st.builds(Hostile),
    st.builds(ConnectionRefusedError),
    st.dictionaries(st.sampled_from(["Retry-After", "retry-after-ms"]), st.text() | st.floats().map(str)),
    st.builds(Response, st.integers(390, 610)),
)
NAMES = st.sampled_from(
    [
        *("response", "status_code", "status", "code", "headers", "reason", "errno", "sqlite_errorcode"),
        *("failure", "retry_after_s", "args"),
    ]
)
BASES = st.sampled_from(
    [Exception, ValueError, RuntimeError, OSError, ConnectionRefusedError, ToolFailure, ToolTimeout, SystemExit]
)
NAMED = st.sampled_from(["ConnectError", "URLError", "ConnectionError", "OperationalError", "MaxRetryError", "Odd"])


@settings(max_examples=500)
@given(BASES, NAMED, st.sampled_from(["httpx", "requests", "urllib", "odd"]), st.dictionaries(NAMES, VALUES), st.text())
def test_whatever_an_exception_holds(
    base: type[BaseException], name: str, module: str, attributes: dict[str, Any], text: str
) -> None:
    """It is classified without an error; the wait is None or a number of seconds; and text never says what acted."""
    kind = stranger(name, module, base, **attributes)
    error, silent = kind(text), kind("")
    for one in (error, silent):
        with suppress(ValueError, TypeError):  # more than its base lets be set
            one.__context__ = attributes.get("reason")
    found = classify(error, {"declared": "fatal"} if "declared" not in text.lower() else {})
    assert isinstance(found.failure, FailureClass)
    assert found.retry_after_s is None or 0 <= found.retry_after_s < float("inf")
    assert found.acted == classify(silent).acted


@given(st.integers())
def test_every_status_has_a_class(status: int) -> None:
    """Even those that are none."""
    failure, acted = of_status(status)
    assert failure in FailureClass
    assert acted in ("no", "unknown")
