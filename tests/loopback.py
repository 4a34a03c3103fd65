"""A server on 127.0.0.1 that plays prepared bytes, so that real SDKs can be tested against every kind of failure."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Play", "Recorded", "Reply", "Server", "answering", "event", "failing", "playing", "streaming"]

Play = tuple[bytes | float, ...]
"""One response: bytes to send and seconds to wait, in order; then the connection is closed."""

Reply = Callable[["Recorded"], Play]
"""What makes a response of the request, for a server that has to know what was asked."""


@dataclass(frozen=True)
class Recorded:
    """A request as it arrived; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """What the tests see of the running server."""

    url: str
    requests: list[Recorded] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set once a client has closed its side while a response was being played."""


def answering(body: bytes | str, *, status: int = 200, kind: str = "application/json", **headers: str) -> Play:
    """A complete response; `retry_after="3"` becomes the header `retry-after: 3`."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(data)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return (("\r\n".join(lines) + "\r\n\r\n").encode() + data,)


def failing(status: int, error: dict[str, Any] | None = None, **headers: str) -> Play:
    """An error response of the shape that both providers send."""
    body = {"type": "error", "error": error or {"type": "api_error", "message": "it did not work"}}
    return answering(json.dumps(body), status=status, **headers)


def event(data: Any, name: str = "") -> bytes:
    """One server-sent event; `data` is JSON, or text that is sent as it is."""
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def streaming(*parts: bytes | float, cut: bool = False) -> Play:
    """A chunked stream of events, with seconds to wait between them; `cut` leaves out its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [part if isinstance(part, float) else b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return (head, *chunks) if cut else (head, *chunks, b"0\r\n\r\n")


class _Loopback(ThreadingHTTPServer):
    daemon_threads = False  # so that `server_close` waits for them, and no test ends before its server

    def __init__(self, plays: tuple[Play | Reply, ...]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plays = plays
        self.turn = itertools.count()
        self.closing = threading.Event()
        self.seen = Server(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Loopback

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        recorded = Recorded(self.path, headers, json.loads(raw or b"{}"))
        self.server.seen.requests.append(recorded)
        self.close_connection = True
        play = self.server.plays[min(next(self.server.turn), len(self.server.plays) - 1)]
        with suppress(OSError):
            for part in play(recorded) if callable(play) else play:
                if isinstance(part, bytes):
                    self.wfile.write(part)
                else:
                    self._wait(part)

    def _wait(self, seconds: float) -> None:
        """Until the time is over, the client has hung up or the test has ended."""
        self.connection.settimeout(0.02)
        for _ in range(round(seconds / 0.02)):
            if self.server.closing.is_set():
                return
            with suppress(TimeoutError):
                if self.connection.recv(1) == b"":
                    self.server.seen.hung_up.set()
                    return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


@contextmanager
def playing(*plays: Play | Reply) -> Iterator[Server]:
    """A server that answers the n-th request with the n-th play; the last one is repeated."""
    server = _Loopback(plays)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.seen
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
