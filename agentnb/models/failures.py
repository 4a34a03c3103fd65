"""What went wrong in a provider call, as one classified `ModelError`, whichever SDK raised what.

The SDKs raise their own errors for some failures and let those of httpx2 or `json` through for others: an error event
inside a stream is an `APIStatusError` of status 200, a stream that is cut is a raw `httpx2.RemoteProtocolError`, a line
that is no JSON is a raw `JSONDecodeError`. Everything here is pure: it reads the exception and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from agentnb.errors import FailureClass, ModelError
from agentnb.failures import QUOTA, of_status, retry_after_s

__all__ = ["Fault", "classify", "failure_of", "fault_of", "redacted", "retry_after_s"]

_OVERLOADED = 529
_LONGEST_DETAIL = 300

_BY_CODE = {
    "authentication_error": FailureClass.PERMISSION,
    "invalid_api_key": FailureClass.PERMISSION,
    "permission_error": FailureClass.PERMISSION,
    "invalid_request_error": FailureClass.INVALID_DATA,
    "not_found_error": FailureClass.INVALID_DATA,
    "request_too_large": FailureClass.INVALID_DATA,
    "context_length_exceeded": FailureClass.INVALID_DATA,
    "rate_limit_error": FailureClass.RATE_LIMITED,
    "rate_limit_exceeded": FailureClass.RATE_LIMITED,
}
"""For an error event inside a stream, whose status is 200 or unknown; a code not listed is transient."""

_ADVICE = {
    FailureClass.TRANSIENT: "try again in a moment",
    FailureClass.RATE_LIMITED: "wait, or ask the provider for a higher limit",
    FailureClass.PERMISSION: "check the key, and that its account may use this model and has credit",
    FailureClass.INVALID_DATA: "the same request would fail again: change the model, the base_url or the request",
    FailureClass.FATAL: "report it, with this message, as a bug of agentnb",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What an exception says, without the SDK's types.

    Attributes:
        status: the HTTP status, or None where there was no response.
        codes: the machine-readable words of the provider's error body: `code` and `type`, as far as given.
        detail: the provider's own sentence, on one line and cut to 300 characters; "" where there is none.
        headers: those of the response, in lower case.
    """

    status: int | None = None
    codes: frozenset[str] = frozenset()
    detail: str = ""
    headers: Mapping[str, str] | None = None


def failure_of(error: Exception, *, ref: str, started: bool, secret: str = "") -> ModelError:
    """`error` as a classified `ModelError`, whose message names `ref` and never contains `secret`.

    Args:
        error: what the SDK, or the HTTP library under it, raised.
        ref: the model that was asked.
        started: True where the answer was under way already, so that the provider may charge for it.
        secret: the API key, to be struck out wherever a provider quotes it.
    """
    if isinstance(error, ModelError):
        return error
    known = _without_response(error, ref, started=started)
    if known is not None:
        return known
    fault = fault_of(error, secret)
    if fault.status is None and not fault.codes and not fault.detail:
        text = f"{ref}: unexpected {type(error).__name__}: {_one_line(str(error), secret)}"
        return ModelError(f"{text}; {_ADVICE[FailureClass.FATAL]}", FailureClass.FATAL)
    failure = classify(fault)
    wait = retry_after_s(fault.headers or {}, datetime.now(UTC))
    when = f" (no sooner than in {wait:g} s)" if wait else ""
    return ModelError(
        f"{ref}: {_what_happened(fault, secret)}; {_ADVICE[failure]}{when}",
        failure,
        retry_after_s=wait,
        unbilled=not started and _turned_away(fault.status),
    )


def classify(fault: Fault) -> FailureClass:
    """What kind of failure a response is, by the provider's code and then by its status."""
    if fault.codes & QUOTA or "credit balance is too low" in fault.detail:
        return FailureClass.PERMISSION
    status = fault.status
    if status is None or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return next((_BY_CODE[code] for code in sorted(fault.codes & _BY_CODE.keys())), FailureClass.TRANSIENT)
    failure, _ = of_status(status)
    # A question rests on nothing that could be read again: a provider's conflict (409) passes.
    return FailureClass.TRANSIENT if failure is FailureClass.STALE_DATA else failure


def fault_of(error: Exception, secret: str = "") -> Fault:
    """What `error` says, without `secret`, read from the attributes that the errors of both SDKs have."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    said = inner if isinstance(inner, Mapping) else {}
    codes = frozenset(word for key in ("code", "type") if isinstance(word := said.get(key), str))
    status = getattr(error, "status_code", None)
    response = getattr(error, "response", None)
    headers = {str(k).lower(): str(v) for k, v in getattr(response, "headers", {}).items()}
    return Fault(status if isinstance(status, int) else None, codes, _detail(inner, secret), headers)


def redacted(text: str, secret: str) -> str:
    """`text` without `secret`, and without anything else that looks like a key of these providers."""
    without = text.replace(secret, "[key]") if secret else text
    return re.sub(r"\bsk-[\w*-]{4,}", "[key]", without)


def _without_response(error: Exception, ref: str, *, started: bool) -> ModelError | None:
    """The failure where no HTTP error came back, or None where one did."""
    import httpx2  # here and not above: importing agentnb must not pay for it

    where = "in the middle of the answer" if started else "before the server answered"
    passes, stays = FailureClass.TRANSIENT, FailureClass.INVALID_DATA
    rules: tuple[tuple[tuple[type[BaseException], ...], FailureClass, bool, str], ...] = (
        # what it was, its class, whether it is known to cost nothing, what to say; the first that fits
        ((UnicodeEncodeError,), stays, True, "the request holds no valid Unicode (a lone surrogate): remove it"),
        ((httpx2.UnsupportedProtocol, httpx2.InvalidURL), stays, True, "the base_url is no web address: correct it"),
        (
            (httpx2.ConnectError, httpx2.ConnectTimeout),
            *(passes, True, "no connection to the server: is it running, and the network up?"),
        ),
        (
            (httpx2.TimeoutException, TimeoutError),
            *(passes, False, "the server was silent for longer than the time limit: try again, or raise timeout_s"),
        ),
        (
            (json.JSONDecodeError, UnicodeDecodeError),
            *(passes, False, "the server sent something that is no JSON: try again in a moment"),
        ),
        (
            (httpx2.TransportError, OSError),
            *(passes, False, f"the connection broke {where}: try again in a moment"),
        ),
    )
    causes = tuple(_causes(error))
    for kinds, failure, unbilled, what in rules:
        if any(isinstance(cause, kinds) for cause in causes):
            return ModelError(f"{ref}: {what}", failure, unbilled=unbilled)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and whatever caused it: both SDKs wrap some errors of httpx2 and let others through."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


def _turned_away(status: int | None) -> bool:
    """True where the server refused before it did any work that it could charge for.

    Not for 408 and 499, which come after waiting; nor for 500 to 504, which a gateway may send while the model runs on.
    """
    if status == _OVERLOADED:
        return True
    return (
        status is not None
        and HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        and (status not in (HTTPStatus.REQUEST_TIMEOUT, 499))
    )


def _what_happened(fault: Fault, secret: str) -> str:
    said = f": {fault.detail}" if fault.detail else ""
    if fault.status is None or HTTPStatus.OK <= fault.status < HTTPStatus.MULTIPLE_CHOICES:
        return f"the server broke off its answer{said}"
    if HTTPStatus.MULTIPLE_CHOICES <= fault.status < HTTPStatus.BAD_REQUEST:
        target = (fault.headers or {}).get("location", "another address")
        return f"HTTP {fault.status}, the server redirects to {_one_line(target, secret)}, which is not followed"
    return f"HTTP {fault.status}{_phrase(fault)}{said}"


def _phrase(fault: Fault) -> str:
    if fault.codes & QUOTA:
        return ", the account has no quota left"
    if fault.status == _OVERLOADED:
        return ", overloaded"
    try:
        return f", {HTTPStatus(fault.status or 0).phrase.lower()}"
    except ValueError:
        return ""


def _detail(body: Any, secret: str) -> str:
    """The provider's own sentence in an error body; of a web page only that it is one."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail")  # the second is how servers built on FastAPI say it
    if not isinstance(body, str):
        return ""
    if body.lstrip()[:1] == "<":
        return "(a web page instead of JSON: a proxy or a wrong base_url?)"
    return _one_line(body, secret)


def _one_line(text: str, secret: str) -> str:
    """`text` for a message; the secret goes first, since a cut through its middle would leave a part unrecognised."""
    line = " ".join(redacted(text, secret).split())
    return line if len(line) <= _LONGEST_DETAIL else line[: _LONGEST_DETAIL - 1] + "…"
