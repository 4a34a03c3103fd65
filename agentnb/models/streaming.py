"""What the providers' models share: whom they call, and reading a stream that a person or a deadline can end.

The SDK reads in a thread of its own, because a read that waits for the server cannot be woken to look at anything else:
between two events there may be a minute of silence, and keep-alive comments, which the SDKs swallow, would keep a read
timeout from ever passing. The events themselves are handled in the caller's thread.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from agentnb.errors import AgentError, FailureClass, Interrupted, MissingKey, ModelError
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.failures import failure_of
from agentnb.models.network import require_network

if TYPE_CHECKING:
    import httpx2

__all__ = ["Answer", "ProviderModel", "Stream", "listen"]

_POLL_S = 0.05
"""How long a stop button may go unnoticed: shorter than a person sees, and 20 checks a second cost nothing."""

_GOODBYE_S = 0.5
"""How long to wait for the reading thread once its socket is shut; it needs under a millisecond."""

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_T_contra = TypeVar("_T_contra", contravariant=True)


class Stream(Protocol[_T_co]):
    """What both SDKs' streams have in common."""

    @property
    def response(self) -> httpx2.Response:
        """The HTTP response that is being read."""

    def __iter__(self) -> Iterator[_T_co]:
        """The events, as they arrive."""


class Answer(Protocol[_T_contra]):
    """The events of one stream, put together."""

    def take(self, event: _T_contra, /) -> None:
        """Adds the next event."""

    def reply(self, ref: str, request: ModelRequest) -> ModelReply:
        """The whole answer.

        Raises:
            ModelError: the stream ended, without any error, before the answer did.
        """


@dataclass(frozen=True)
class ProviderModel(ABC, Generic[_T]):
    """A model that a provider, or a server that speaks as one, answers for.

    Args:
        name: as the provider writes it.
        api_key: the key; without it, that of the variable PROVIDER_API_KEY at the time of the call.
        base_url: where to call; without it PROVIDER_BASE_URL, or else the provider itself.

    Attributes:
        provider: what its name begins with.
        host: the provider's own address.
    """

    provider: ClassVar[str]
    host: ClassVar[str]

    name: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)  # may hold a password; `endpoint` is without it

    @property
    def ref(self) -> str:
        """The name by which a user asks for it: "PROVIDER:NAME"."""
        return f"{self.provider}:{self.name}"

    @property
    def address(self) -> str:
        """Where it is called: `base_url`, or else PROVIDER_BASE_URL, or else the provider itself."""
        return self.base_url or os.environ.get(f"{self.provider.upper()}_BASE_URL") or self.host

    @property
    def endpoint(self) -> str:
        """The address, without what may be secret in it; "" where it is the provider's own."""
        try:
            parts = urlsplit(self.address)
        except ValueError:  # a bracket that does not close: nobody will answer there
            return self.address
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
        return "" if shown == self.host else shown

    @property
    def lacking(self) -> str | None:
        """The variable that has to hold a key before this model can be called, or None where nothing is lacking."""
        return None if self._key else self._key_variable

    @property
    def _key(self) -> str:
        return self.api_key or os.environ.get(self._key_variable) or ""

    @property
    def _key_variable(self) -> str:
        return f"{self.provider.upper()}_API_KEY"

    def ask(self, request: ModelRequest) -> ModelReply:
        """The model's answer to `request`.

        Raises:
            NetworkForbidden: AGENTNB_NO_NETWORK is set and the server is not on this machine.
            MissingKey: there is no key, and the server wants one.
            MissingPackage: the provider's SDK is not installed.
            ModelError: the call failed, classified.
            Interrupted: `request.cancelled` said so.
        """
        key, address = self._key, self.address
        require_network(self.ref, address)
        if self.lacking:
            raise MissingKey(f'{self.ref} needs {self.lacking}: set it, or use model="local:", which needs no key')
        sdk = self._sdk()
        answer = self._answer()
        listen(
            lambda: self._stream(sdk, request, key=key, address=address),
            answer.take,
            request=request,
            ref=self.ref,
            secret=key,
        )
        return answer.reply(self.ref, request)

    @abstractmethod
    def _sdk(self) -> ModuleType:
        """The SDK, imported by the first call.

        Raises:
            MissingPackage: it is not installed.
        """

    @abstractmethod
    def _stream(
        self, sdk: ModuleType, request: ModelRequest, *, key: str, address: str
    ) -> AbstractContextManager[Stream[_T]]:
        """The open stream of one call; leaving it closes the connection."""

    @abstractmethod
    def _answer(self) -> Answer[_T]:
        """An answer without any event yet."""


def listen(
    opening: Callable[[], AbstractContextManager[Stream[_T]]],
    take: Callable[[_T], None],
    *,
    request: ModelRequest,
    ref: str,
    secret: str = "",
) -> None:
    """Returns when the stream has ended by itself and `take` has seen every event of it.

    On any other end the connection is shut before this returns, so that the provider stops generating. Where the server
    has not answered at all yet there is nothing to shut; the reading thread then ends with its own read timeout.

    Args:
        opening: makes the call; entered, read and left in another thread.
        take: handles one event, in this thread.
        request: for its `timeout_s`, which limits the whole call, and its `cancelled`.
        ref: the model's name, for messages.
        secret: the key, which no message may contain.

    Raises:
        Interrupted: `request.cancelled` said so; noticed within 0.1 s.
        ModelError: anything else that went wrong, classified.
    """
    reader = _Reader(opening)
    reader.start()
    failure: ModelError | None = None
    try:
        for event in _events(reader, request, ref):
            take(event)
    except AgentError:
        raise
    except Exception as error:  # noqa: BLE001 - a model never raises what an SDK raised, whatever that is
        failure = failure_of(error, ref=ref, started=reader.started, secret=secret)
    finally:
        reader.hang_up()
    if failure is not None:
        raise failure  # outside `except`: the SDK's own error, in its context, may quote the key


def _events(reader: _Reader[_T], request: ModelRequest, ref: str) -> Iterator[_T]:
    deadline = time.monotonic() + request.timeout_s
    seen = False
    while True:
        if request.cancelled():
            raise Interrupted(f"{ref}: stopped while it was answering; resume the run to ask again")
        if time.monotonic() >= deadline:
            text = f"{ref}: no complete answer within {request.timeout_s:g} s; try again, or raise timeout_s"
            raise ModelError(text, FailureClass.TRANSIENT)
        try:
            item = reader.items.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            if not seen:
                _check_kind(item.content_type, ref)
            return
        seen = True
        yield item.value


def _check_kind(content_type: str, ref: str) -> None:
    """Returns where an empty answer was at least a stream; a web page is no failure that passes."""
    if content_type and not content_type.startswith("text/event-stream"):
        raise ModelError(
            f"{ref}: the server answered with {content_type.partition(';')[0]} instead of a stream of events; "
            "check the base_url, and that the server can stream",
            FailureClass.INVALID_DATA,
        )


@dataclass(frozen=True, slots=True)
class _Event(Generic[_T]):
    value: _T


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None
    content_type: str


class _Reader(threading.Thread, Generic[_T]):
    """A thread that puts the events of one stream into `items`, and one `_End` after them."""

    def __init__(self, opening: Callable[[], AbstractContextManager[Stream[_T]]]) -> None:
        super().__init__(name="agentnb-model-stream", daemon=True)
        self.items: queue.SimpleQueue[_Event[_T] | _End] = queue.SimpleQueue()
        self._opening = opening
        self._response: httpx2.Response | None = None
        self._unwanted = threading.Event()

    @property
    def started(self) -> bool:
        """True once the server has begun to answer."""
        return self._response is not None

    def run(self) -> None:
        """Reads until the stream ends, fails or is no longer wanted."""
        error: Exception | None = None
        try:
            with self._opening() as stream:
                self._response = stream.response
                for event in stream:
                    if self._unwanted.is_set():
                        break
                    self.items.put(_Event(event))
        except Exception as caught:  # noqa: BLE001 - raised again in the thread that listens
            error = caught
        kind = self._response.headers.get("content-type", "") if self._response is not None else ""
        self.items.put(_End(error, kind))

    def hang_up(self) -> None:
        """Guarantees that nothing more is read; a read that is waiting is woken by shutting its socket."""
        if not self.is_alive():
            return
        self._unwanted.set()
        if self._response is None:
            return
        # Not `response.close()`: closing a socket under a thread that reads from it does not wake that thread.
        with suppress(KeyError, AttributeError, OSError):
            self._response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.join(_GOODBYE_S)
