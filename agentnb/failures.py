"""What an exception of a tool means: what kind of failure, whether the call may have acted, how long to wait.

The surest witness is asked first: the tool's own word, what the tool declared, the HTTP status, the type, and only then
the text. Everything here is pure, reads the exception and nothing else, and holds whatever that is: its properties and
even its text may raise. Libraries are known by the names of their classes, so that none is imported.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal

from agentnb.errors import FailureClass, ModelError, NotJSON, ToolFailure, ToolTimeout

__all__ = ["QUOTA", "Acted", "Failure", "classify", "next_step", "of_status", "retry_after_s", "timed_out"]

Acted = Literal["no", "unknown"]
"""Whether a call that failed had its effect; that it had is never known from an exception."""

QUOTA = frozenset({"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"})
"""Error codes that say that somebody has to pay first, whatever status they come with (OpenAI sends 429)."""

_BY_STATUS: Mapping[int, tuple[FailureClass, Acted]] = {
    401: (FailureClass.PERMISSION, "no"),
    402: (FailureClass.PERMISSION, "no"),
    403: (FailureClass.PERMISSION, "no"),
    407: (FailureClass.PERMISSION, "no"),
    408: (FailureClass.TRANSIENT, "unknown"),
    409: (FailureClass.STALE_DATA, "no"),
    412: (FailureClass.STALE_DATA, "no"),
    425: (FailureClass.TRANSIENT, "no"),
    428: (FailureClass.STALE_DATA, "no"),
    429: (FailureClass.RATE_LIMITED, "no"),
    499: (FailureClass.TRANSIENT, "unknown"),  # a gateway's word for a client that hung up: the server may work on
    503: (FailureClass.TRANSIENT, "no"),
}

_CANNOT_BE_MENDED = (
    *(NameError, AttributeError, ImportError, SyntaxError, NotImplementedError, AssertionError),
    *(MemoryError, RecursionError),
)
_UNSENT = (ConnectionRefusedError, socket.gaierror)
_BROKEN = (ConnectionError, TimeoutError, EOFError)  # EOFError is how ftplib and multiprocessing report a hang-up
_PASSING_ERRNO = frozenset({errno.EAGAIN, errno.EBUSY, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH})
_STAYS = (ValueError, TypeError, LookupError, ArithmeticError, OSError, NotJSON)

_HTTP_LIBRARIES = frozenset({"aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"})
_UNSENT_NAMES = frozenset(
    {
        *("ClientConnectorError", "ConnectError", "ConnectTimeout", "ConnectTimeoutError"),
        *("NameResolutionError", "NewConnectionError"),
    }
)
"""Of these libraries only: elsewhere such a name may mean anything."""
_SENT_NAMES = frozenset(
    {
        *("ChunkedEncodingError", "ClientPayloadError", "IncompleteRead", "ProtocolError", "ReadError", "ReadTimeout"),
        *("ReadTimeoutError", "RemoteDisconnected", "RemoteProtocolError", "ServerDisconnectedError", "WriteError"),
        *("WriteTimeout", "ConnectionResetError", "BrokenPipeError"),
    }
)
"""Errors that come once a request, or a part of it, has gone out."""
_BROKEN_NAMES = _SENT_NAMES | {
    *("APIConnectionError", "ClientConnectionError", "ConnectionError", "MaxRetryError", "NetworkError"),
    *("PoolTimeout", "Timeout", "TimeoutError", "TimeoutException", "TransportError"),
}

_BY_TEXT = (  # permission before transient: "unauthorized, try again with a key" is not mended by trying again
    (FailureClass.RATE_LIMITED, ("rate limit", "too many requests")),
    (FailureClass.PERMISSION, ("permission denied", "forbidden", "unauthorized", "not authorized")),
    (
        FailureClass.TRANSIENT,
        ("timed out", "temporarily unavailable", "try again", "overloaded", "connection reset"),
    ),
)

_NEXT = {
    FailureClass.TRANSIENT: "The same call may succeed later; nothing about it is known to be wrong.",
    FailureClass.RATE_LIMITED: "The same call may succeed after the wait that was asked for; make fewer calls.",
    FailureClass.STALE_DATA: "What the call rested on has changed: read the data again, then make the call from that.",
    FailureClass.PERMISSION: "A person has to grant the key, role or quota that is missing; no other call gives leave.",
    FailureClass.INVALID_DATA: "The same call will fail again: look at the data, or change the arguments.",
    FailureClass.FATAL: "Nothing in this run can mend it: go on without this tool, or stop and say so.",
}

_LONGEST_TEXT = 10_000
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Failure:
    """What an exception means.

    Attributes:
        failure: what kind of failure it was.
        acted: "no" where the call is known to have changed nothing, else "unknown".
        retry_after_s: seconds that the tool's service asks to wait, never negative, or None.
    """

    failure: FailureClass
    acted: Acted
    retry_after_s: float | None = None


def classify(
    error: BaseException,
    mapping: Mapping[type[BaseException] | int | str, FailureClass | str] = {},
    *,
    now: datetime | None = None,
) -> Failure:
    """What `error`, raised by a tool, means.

    That a call has not acted is believed of three: a ToolFailure, the tool's own word; what `mapping` declares; and a
    status with which the service itself says so (429, 503, most of the 4xx). The type of an exception never says
    so: a connection that was refused tells nothing of what the same call had done before. Nor does anything that comes
    out of a timeout of ours. A tool that makes several requests in one call has to say itself, with a ToolFailure or in
    `mapping`, whether those before the one that failed changed anything.

    Args:
        error: whatever the tool raised.
        mapping: what the tool declares: a class of exceptions (the nearest one counts), an HTTP status or a part of the
            message, in any case; in this order. A failure that is declared has not acted.
        now: the present, with a time zone, which a Retry-After date is counted from; None reads the clock.

    Raises:
        ValueError: the entry of `mapping` that fits names no FailureClass.
    """
    if issubclass(type(error), ToolFailure):
        return _own_word(error)
    status, certain = _status(error)
    before = _chain(error)[1:]
    declared = _declared(error, status, mapping)
    acted: Acted = "no"
    if declared:
        failure = declared
    elif status:
        failure, acted = _by_status(error, status)
        if not certain or any(_named(type(e), _SENT_NAMES) for e in before):
            acted = "unknown"
    else:
        failure, acted = _by_type(error), "unknown"
    if timed_out(error):
        acted = "unknown"
    wait = retry_after_s(_headers(error), now or datetime.now(UTC)) if failure.worth_retrying else None
    return Failure(failure, acted, wait)


def timed_out(error: BaseException) -> bool:
    """True where the call was given up after its time, and `error` is that or was raised over it."""
    return any(issubclass(type(e), ToolTimeout) for e in _chain(error))


def next_step(failure: FailureClass) -> str:
    """One sentence for a planner: what may be done after such a failure."""
    return _NEXT[failure]


def of_status(status: int) -> tuple[FailureClass, Acted]:
    """What an HTTP status says by itself; one that is no error counts as data that are wrong."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # 500 to 504: a gateway may say so while the server works on
        return _BY_STATUS.get(status, (FailureClass.TRANSIENT, "unknown"))
    return _BY_STATUS.get(status, (FailureClass.INVALID_DATA, "no" if status >= HTTPStatus.BAD_REQUEST else "unknown"))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a server asks to wait, never negative, or None where it names no moment that can be read.

    Reads `retry-after-ms` and then `retry-after`, in seconds or as an HTTP date (RFC 9110, section 10.2.3).

    Args:
        headers: with names in lower case.
        now: the present, with a time zone; what a date is counted from.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (seconds := _seconds(headers.get(name))) is not None:
            return seconds * unit
    try:
        then = parsedate_to_datetime(headers["retry-after"])
        return max((then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (KeyError, ValueError, OverflowError):  # the last for a year of twenty digits
        return None


def _seconds(value: Any) -> float | None:
    """`value` as a number of seconds that is finite and not negative, or None where it is none."""
    try:
        seconds = float(value)
    except Exception:  # noqa: BLE001 - a tool's author may have written anything
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _own_word(error: BaseException) -> Failure:
    """A ToolFailure as it speaks of itself; one that lost its class, in a subclass of a tool's own, is fatal."""
    try:
        failure = FailureClass(_get(error, "failure"))
    except Exception:  # noqa: BLE001 - a ValueError; or what the value raises as it is compared and shown
        failure = FailureClass.FATAL
    return Failure(failure, "unknown" if timed_out(error) else "no", _seconds(_get(error, "retry_after_s")))


def _declared(
    error: BaseException, status: int, mapping: Mapping[type[BaseException] | int | str, FailureClass | str]
) -> FailureClass | None:
    """What the tool's own mapping says, or None.

    Raises:
        ValueError: the entry names no FailureClass.
    """
    if not mapping:
        return None
    text = _text(error)
    parts = (key for key in mapping if isinstance(key, str) and key and key.lower() in text)
    keys: tuple[Any, ...] = (*type(error).__mro__, *([status] if status else []), *parts)
    return next((FailureClass(mapping[key]) for key in keys if key in mapping), None)


def _by_status(error: BaseException, status: int) -> tuple[FailureClass, Acted]:
    if status == HTTPStatus.TOO_MANY_REQUESTS and any(code in _text(error) for code in QUOTA):
        return FailureClass.PERMISSION, "no"
    return of_status(status)


def _by_type(error: BaseException) -> FailureClass:
    """By what kind of exception it is, or, where it wraps another, by that one."""
    error = _unwrapped(error)
    kind = type(error)
    if not issubclass(kind, Exception) or issubclass(kind, _CANNOT_BE_MENDED):
        return FailureClass.FATAL
    broken = issubclass(kind, _BROKEN) or _named(kind, _BROKEN_NAMES)
    if broken or _unsent(kind) or _locked(error) or _passing(error):
        return FailureClass.TRANSIENT
    if issubclass(kind, PermissionError):
        return FailureClass.PERMISSION
    if issubclass(kind, ModelError):  # a tool may ask a model
        return _own_word(error).failure
    return FailureClass.INVALID_DATA if issubclass(kind, _STAYS) else _by_text(error)


def _by_text(error: BaseException) -> FailureClass:
    text = _text(error)
    return next((failure for failure, parts in _BY_TEXT if any(p in text for p in parts)), FailureClass.INVALID_DATA)


def _unwrapped(error: BaseException) -> BaseException:
    """The error that stopped the request, where `error` only says that one did."""
    kind = type(error)
    if (_library(kind), kind.__name__) != ("urllib", "URLError"):
        return error
    inner = _get(error, "reason")
    return inner if issubclass(type(inner), Exception) else error


def _chain(error: BaseException) -> list[BaseException]:
    """`error` and what led to it, nearest first: reasons, causes, and what was being handled; at most 16."""
    found = [error]
    for at in found:  # which grows on the way
        for name in ("reason", "__cause__", "__context__"):
            before = _get(at, name)
            known = any(before is e for e in found) or len(found) >= _DEEPEST
            if issubclass(type(before), BaseException) and not known:
                found.append(before)
    return found


def _unsent(kind: type) -> bool:
    """True where no connection was made."""
    ours = (k for k in kind.__mro__ if _library(k) in _HTTP_LIBRARIES)
    return issubclass(kind, _UNSENT) or any(k.__name__ in _UNSENT_NAMES for k in ours)


def _named(kind: type, names: frozenset[str]) -> bool:
    return any(k.__name__ in names for k in kind.__mro__)


def _library(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _locked(error: BaseException) -> bool:
    """True for a database file that another connection is writing to."""
    if not _named(type(error), frozenset({"OperationalError"})):
        return False
    if code := _number(_get(error, "sqlite_errorcode")):  # 5 is SQLITE_BUSY, 6 SQLITE_LOCKED; upper bits say more
        return code & 0xFF in (5, 6)
    text = _text(error)
    return "locked" in text or "busy" in text


def _passing(error: BaseException) -> bool:
    return issubclass(type(error), OSError) and _number(_get(error, "errno")) in _PASSING_ERRNO


def _status(error: BaseException) -> tuple[int, bool]:
    """(the HTTP status of an error, or 0, whether it is one for certain).

    A bare `code` or `status` may be a number of another kind: ClickHouse's 497 is "access denied". It is read for what
    to do next, but is no evidence that a call did not act.
    """
    if not issubclass(type(error), Exception):  # SystemExit has a code too
        return 0, False
    response = _get(error, "response")
    places = ((response, "status_code"), (response, "status"), (error, "status_code"), (error, "status"))
    for owner, name in (*places, (error, "code")):
        status = _number(_get(owner, name))
        if HTTPStatus.BAD_REQUEST <= status < 600:  # noqa: PLR2004 - where the 5xx end
            return status, owner is response or name == "status_code" or bool(_headers(error))
    return 0, False


def _headers(error: BaseException) -> dict[str, str]:
    """The headers of the response that `error` tells of, names in lower case; {} where there are none."""
    owner: Any
    for owner in (_get(error, "response"), error):
        try:
            return {str(name).lower(): str(value) for name, value in owner.headers.items()}
        except Exception:  # noqa: BLE001, S112 - anything may stand in that place, nothing among it
            continue
    return {}


def _get(owner: Any, name: str) -> Any:
    """The attribute, or None where there is none or it cannot be read: properties of some libraries raise."""
    try:
        return getattr(owner, name)
    except Exception:  # noqa: BLE001 - whatever it raises
        return None


def _number(value: Any) -> int:
    """`value` as a plain int, 0 where it is none; isinstance would ask the value itself what it is, which may raise."""
    return int.__int__(value) if issubclass(type(value), int) else 0


def _text(error: BaseException) -> str:
    """The message in lower case, or "" where even that cannot be had."""
    try:
        return str(error)[:_LONGEST_TEXT].lower()
    except Exception:  # noqa: BLE001 - whatever it raises
        return ""
