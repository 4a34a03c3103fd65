"""A tool service in a process of its own: it files tickets, keeps a ledger on disk, and fails when it is told to.

Requests take effect in the order in which their connections were made, whatever their answers wait for. So whoever asks
for the ledger sees everything that was sent before, from processes too that are dead since.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

__all__ = ["Desk", "Service", "serving"]

ROOT: Final = Path(__file__).parents[1]
LONGEST_S: Final = 20.0
"""Seconds after which the service gives up on anything that it waits for."""
WORKS_S: Final = 0.25
"""Seconds after which a request that is "slow" takes effect."""


@dataclass(frozen=True)
class Desk:
    """One test's part of the service: a ledger and a script of faults of its own.

    Attributes:
        url: where its tickets are.
    """

    url: str

    def filed(self) -> list[dict[str, Any]]:
        """The tickets that were filed, in order."""
        tickets: list[dict[str, Any]] = self._asked("tickets")
        return tickets

    def titles(self) -> list[str]:
        """Their titles."""
        return [ticket["title"] for ticket in self.filed()]

    def faults(self) -> list[str]:
        """What was done with each request to file a ticket, in order."""
        played: list[str] = self._asked("played")
        return played

    def tell(self, *, keys: bool, faults: Mapping[int, str] | None = None) -> None:
        """Say whether it knows idempotency keys, and what to do with the n-th request to file a ticket.

        Args:
            keys: True where the same key again gets the first answer, and files nothing.
            faults: by number, from 1: "503" and "429" answer so; "drop_before" and "drop_after" close the
                connection before or after filing; "late" files, and answers when nobody waits any more; "hang" never
                does either; "slow" files after a while, whoever waits. Where nothing is said it files and answers,
                but for a ticket "bad": 422.
        """
        told = {"keys": keys, "faults": {str(number): fault for number, fault in (faults or {}).items()}}
        request = urllib.request.Request(f"{self.url}/script", json.dumps(told).encode(), method="PUT")  # noqa: S310
        with urllib.request.urlopen(request, timeout=LONGEST_S):  # noqa: S310 - http, on this machine
            pass

    def _asked(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/{what}", timeout=LONGEST_S) as reply:  # noqa: S310 - as above
            return json.load(reply)


@dataclass(frozen=True)
class Service:
    """The service as tests see it."""

    url: str

    def desk(self, name: str, *, keys: bool, faults: Mapping[int, str] | None = None) -> Desk:
        """A part of it that nobody has used."""
        desk = Desk(f"{self.url}/{name}")
        desk.tell(keys=keys, faults=faults)
        return desk


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """The service, with its ledgers in `folder`; it ends with the block, or with this process."""
    command = [sys.executable, "-m", "tests.tool_service", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Service(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


# --- in the service's own process -------------------------------------------------------------------------------------


class _Ledger:
    """What one desk has filed: a file that only grows, and what it was told to do."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.Lock()
        self.keys = True
        self.script: dict[str, str] = {}
        self.played: list[str] = []
        self.under_way: dict[str, threading.Event] = {}
        self.tickets: list[dict[str, Any]] = []
        if path.exists():
            self.tickets = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def fault(self) -> str:
        """What to do with the next request."""
        self.played.append(self.script.get(str(len(self.played) + 1), "work"))
        return self.played[-1]

    def file(self, title: str, key: str) -> dict[str, Any]:
        """The ticket, on the disk before this returns; the first one of its key, where keys are known."""
        with self.lock:
            if self.keys and key and (known := self.under(key)):
                return known[0]
            ticket = {"id": len(self.tickets) + 1, "title": title, "key": key}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(ticket) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self.tickets.append(ticket)
            return ticket

    def under(self, key: str) -> list[dict[str, Any]]:
        """What was filed under a key."""
        return [ticket for ticket in self.tickets if ticket["key"] == key]


class _Turn:
    """One request's place among all: it may look and act once those before it have."""

    def __init__(self, before: threading.Event) -> None:
        self._before = before
        self.over = threading.Event()

    def wait(self) -> None:
        self._before.wait(LONGEST_S)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._folder = folder
        self._ledgers: dict[str, _Ledger] = {}
        self._last = threading.Event()
        self._last.set()
        self.turns: dict[Any, _Turn] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        turn = _Turn(self._last)
        self._last = turn.over
        self.turns[request] = turn
        super().process_request(request, client_address)

    def ledger(self, desk: str) -> _Ledger:
        if desk not in self._ledgers:
            self._ledgers[desk] = _Ledger(self._folder / f"{desk}.jsonl")
        return self._ledgers[desk]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    turn: _Turn
    timeout = LONGEST_S

    def handle(self) -> None:
        self.turn = self.server.turns.pop(self.connection)
        self.turn.wait()
        try:
            with suppress(OSError):
                super().handle()
        finally:
            self.turn.over.set()

    def do_PUT(self) -> None:
        told, ledger = json.loads(self._body() or b"{}"), self._ledger()
        ledger.keys, ledger.script = told["keys"], told["faults"]
        self._answer(200, None)

    def do_GET(self) -> None:
        parts, ledger = urlsplit(self.path), self._ledger()
        match parts.path.split("/")[2:]:
            case ["played"]:
                self._answer(200, ledger.played)
            case ["orders", name]:
                self._answer(200, {"title": f"order {name}"})
            case _:
                keys = parse_qs(parts.query).get("key")
                self._answer(200, ledger.under(keys[0]) if keys else ledger.tickets)

    def do_POST(self) -> None:
        body, ledger, key = self._body(), self._ledger(), self.headers.get("Idempotency-Key", "")
        if body is None:  # whoever sent it has died over it
            return
        title, fault = json.loads(body)["title"], ledger.fault()
        if title == "bad":
            fault = "422"
        if fault in ("503", "429", "422"):
            self._answer(int(fault), {"error": "not now"}, **({"Retry-After": "7"} if fault == "429" else {}))
        elif fault in ("drop_before", "hang"):
            self._await_nobody(fault == "hang")
        elif fault == "slow":
            self._file_slowly(ledger, title, key)
        elif ledger.keys and key in ledger.under_way:
            self.turn.over.set()
            ledger.under_way[key].wait(LONGEST_S)
            self._answer(201, ledger.file(title, key))
        else:
            ticket = ledger.file(title, key)
            self._await_nobody(fault == "late")
            if fault != "drop_after":
                self._answer(201, ticket)

    def _file_slowly(self, ledger: _Ledger, title: str, key: str) -> None:
        done = ledger.under_way[key] = threading.Event()
        self.turn.over.set()
        threading.Event().wait(WORKS_S)
        ticket = ledger.file(title, key)
        done.set()
        self._answer(201, ticket)

    def _await_nobody(self, waits: bool) -> None:  # noqa: FBT001 - what the script says
        """Until the caller has hung up, if it is to be waited for; others may go on meanwhile."""
        if waits:
            self.turn.over.set()
            self.connection.settimeout(LONGEST_S)
            self.connection.recv(1)

    def _ledger(self) -> _Ledger:
        return self.server.ledger(self.path.split("/")[1])

    def _body(self) -> bytes | None:
        """The request's body, or None where not all of it came."""
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _answer(self, status: int, value: Any, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


def _main() -> None:
    server = _Server(Path(sys.argv[1]))
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(server.server_port, flush=True)  # noqa: T201 - how the tests learn it
    sys.stdin.read()  # until whoever started it closes it, or dies


if __name__ == "__main__":
    _main()
