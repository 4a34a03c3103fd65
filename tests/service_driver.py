"""Runs in processes that may die at any moment: one that has imported everything forks a child for each life of a run.

It reads a line of JSON for each command, and answers with one. A child's job says what to do, and where to die.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from agentnb.agent import Agent
from agentnb.approval import Answer, Approver, DoubtRequest, Request
from agentnb.budget import Budget
from agentnb.events import Record
from agentnb.guards import Ruling, deny
from agentnb.log import Clock
from agentnb.models.base import ModelRequest
from agentnb.models.scripted import ScriptedModel
from agentnb.resume import InDoubt
from agentnb.run import Run
from agentnb.session import Session
from agentnb.state import NEW, RunState
from agentnb.store.base import NO_ROWS
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from agentnb.transitions import fold
from tests.parts import answer, plan, verdict

__all__ = ["Hive", "Job", "Kind", "Report", "has_happened", "hive"]

ROOT: Final = Path(__file__).parents[1]
LONGEST_S: Final = 30.0
"""Seconds that a child may live."""

Kind = Literal["key", "reconcile", "both", "plain", "asked"]
"""How what is in doubt is settled: by the same key again, by asking the service, by either, or by a person: who resumes
the run, or is asked as its approver."""


@dataclass(frozen=True)
class Job:
    """What one process is to do with a run.

    Attributes:
        folder: of the store; its last run is gone on with.
        url: of the service's desk.
        kind: of its tool.
        plans: steps, of the first plan and of each revision.
        once: its tool acts once per text.
        fresh: begin a new run, whatever the store holds.
        run: the run to go on with, where it is not the last one.
        in_doubt: what a person has found out.
        dies: "commit", "sending", "sent", "answered" or "looking": where it kills itself; "" for nowhere.
        at: the how-manieth of these it is.
        late: of a commit: after it, not before.
        waits_at: a place, as in `dies`, at which it waits until the file `go` is there.
        go: that file.
        timeout_s: of the tool.
        socket_s: timeout of its connection.
        shut: a file; while it is there, a guard denies every call.
        leaves: the kind of record at which whoever reads the run's records leaves; "" for none.
        ahead_s: seconds by which this machine's clock has gone on.
        seconds: cap on the run's wall-clock time; 0 for none.
    """

    folder: str
    url: str
    kind: Kind = "key"
    plans: tuple[tuple[dict[str, Any], ...], ...] = ()
    once: bool = False
    fresh: bool = False
    run: str = ""
    in_doubt: InDoubt | None = None
    dies: str = ""
    at: int = 1
    late: bool = False
    waits_at: str = ""
    go: str = ""
    timeout_s: float = LONGEST_S
    socket_s: float = LONGEST_S
    shut: str = ""
    leaves: str = ""
    ahead_s: float = 0
    seconds: float = 0


@dataclass(frozen=True)
class Report:
    """How a run stood when its process ended of itself.

    Attributes:
        error: of a process that an exception ended, its traceback.
        commits: how many it made.
        waits: seconds that it was to wait before calls were made again.
    """

    run: str = ""
    status: str = ""
    stop_reason: str = ""
    detail: str = ""
    error: str = ""
    commits: int = 0
    waits: list[float] = field(default_factory=list)


def has_happened(state: RunState, filed: Sequence[Mapping[str, Any]]) -> bool:
    """What an honest person finds who counts: whether more is filed than the run knows to have done."""
    return len(filed) > sum(bool(outcome.call) and outcome.status == "ok" for outcome in state.outcomes)


# --- in the test's process --------------------------------------------------------------------------------------------


class Hive:
    """The process that forks, as tests see it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, job: Job) -> int:
        """The id of a process that does `job`; it stays taken until `end`."""
        pid: int = self._told({"start": asdict(job)})["pid"]
        return pid

    def end(self, pid: int) -> Report | None:
        """What a process reported before it ended; None where it was killed."""
        told = self._told({"wait": pid})
        assert told["status"] in (0, -signal.SIGKILL), told
        return Report(**told["report"]) if told["status"] == 0 else None

    def live(self, job: Job) -> Report | None:
        """What came of `job`; None where its process was killed."""
        return self.end(self.start(job))

    def _told(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def hive() -> Iterator[Hive]:
    """A process that forks others; it ends with the block or with this process, and they with it."""
    command = [sys.executable, "-m", "tests.service_driver"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Hive(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # it kills its children then, and only then ends
            process.wait(LONGEST_S)


# --- in a child -------------------------------------------------------------------------------------------------------


class _Fate:
    """Where a process dies, or waits, by its job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._passed: dict[str, int] = {}

    def passes(self, place: str, *, late: bool = False) -> None:
        job = self._job
        if not late:
            self._passed[place] = self._passed.get(place, 0) + 1
        if place == job.waits_at:
            while not Path(job.go).exists():
                time.sleep(0.002)
        if place == job.dies and self._passed[place] == job.at and late == job.late:
            os.kill(os.getpid(), signal.SIGKILL)


class _Journal(DiskStore):
    """The store, where the process may die before or after each commit."""

    def __init__(self, folder: str, fate: _Fate) -> None:
        super().__init__(folder)
        self._fate = fate
        self.commits = 0
        self.run = ""

    def append(
        self, run: str, records: Sequence[Record], blobs: Mapping[str, str], rows: Mapping[str, str] = NO_ROWS
    ) -> None:
        self.commits, self.run = self.commits + 1, run
        self._fate.passes("commit")
        super().append(run, records, blobs, rows)
        self._fate.passes("commit", late=True)


class _Client:
    """What the tools call the service with."""

    def __init__(self, job: Job, fate: _Fate) -> None:
        self._job = job
        self._fate = fate
        reading = http.client.HTTPConnection.getresponse

        def getresponse(connection: Any) -> http.client.HTTPResponse:
            if connection._method == "POST":  # the request has gone out, and nothing of its answer was read
                fate.passes("sent")
            return reading(connection)

        http.client.HTTPConnection.getresponse = getresponse  # type: ignore[assignment, method-assign]

    def file(self, title: str, key: str) -> dict[str, Any]:
        self._fate.passes("sending")
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
        data = json.dumps({"title": title}).encode()
        filed: dict[str, Any] = self._made(urllib.request.Request(f"{self._job.url}/tickets", data, headers))  # noqa: S310
        self._fate.passes("answered")
        return filed

    def under(self, key: str) -> dict[str, Any] | None:
        self._fate.passes("looking")
        found: list[dict[str, Any]] = self._made(urllib.request.Request(f"{self._job.url}/tickets?key={quote(key)}"))  # noqa: S310
        return found[0] if found else None

    def filed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._made(urllib.request.Request(f"{self._job.url}/tickets"))  # noqa: S310
        return found

    def order(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self._made(urllib.request.Request(f"{self._job.url}/orders/{number}"))  # noqa: S310
        return found

    def _made(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=self._job.socket_s) as reply:  # noqa: S310 - on this machine
            return json.load(reply)


def _tools(job: Job, client: _Client) -> list[Tool]:
    """A tool that reads, and the one that files tickets, of the job's kind."""

    @tool(effect="read")
    def order(number: int) -> dict[str, Any]:
        """What a customer ordered.

        Args:
            number: of the order.
        """
        return client.order(number)

    def by_key(text: str, idempotency_key: str) -> dict[str, Any]:
        """File a ticket.

        Args:
            text: what it says.
        """
        return client.file(text, idempotency_key)

    def without_key(text: str) -> dict[str, Any]:
        """File a ticket.

        Args:
            text: what it says.
        """
        return client.file(text, "")

    def look(idempotency_key: str) -> dict[str, Any] | None:
        return client.under(idempotency_key)

    def open_hours(_: Any) -> Ruling | None:
        return deny("the desk is shut") if Path(job.shut).exists() else None

    keyless = job.kind in ("plain", "asked")
    made = tool(
        effect="write",
        timeout_s=job.timeout_s,
        guards=[open_hours] if job.shut else [],
        idempotent=job.kind in ("key", "both"),
        reconcile=look if job.kind in ("reconcile", "both") else None,
        once_per=("text",) if job.once else (),
        name="file_ticket",
    )
    return [order, made(without_key if keyless else by_key)]


def _state(store: DiskStore, run: str) -> RunState:
    return fold(store.read(run), NEW)


def _says(job: Job, store: _Journal) -> Callable[[ModelRequest], Any]:
    """The model: whichever plan is due, and nothing to find fault with."""

    def says(request: ModelRequest) -> Any:
        match request.phase:
            case "plan":
                state = _state(store, store.run)
                return plan(*job.plans[state.revisions + 1 if state.plan else 0])[1]
            case "critique":
                return verdict()[1]
            case _:
                return answer()[1]

    return says


def _approver(job: Job, store: _Journal, client: _Client) -> Approver:
    """A person who lets every call be made, and looks where one is in doubt."""

    def ada(request: Request) -> Answer | None:
        if not isinstance(request, DoubtRequest):
            return Answer("approve", "ada")
        if job.kind != "asked":
            return None
        happened = has_happened(_state(store, request.run), client.filed())
        return Answer("happened" if happened else "not_happened", "ada", "she looked into the ledger")

    return ada


def _done(job: Job) -> Report:
    fate = _Fate(job)
    store = _Journal(job.folder, fate)
    client, waits = _Client(job, fate), list[float]()
    agent = Agent(
        ScriptedModel([_says(job, store)] * 100),
        tools=_tools(job, client),
        budget=Budget(tokens=100_000_000, steps=100, working_seconds=600, seconds=job.seconds or None),
        store=store,
        approver=_approver(job, store, client),
        sleep=waits.append,
        clock=Clock(wall=lambda: time.time() + job.ahead_s),
    )
    runs = [] if job.fresh else store.runs()
    run = job.run or (runs[-1] if runs else "")
    try:
        session = agent.reopen(run, in_doubt=job.in_doubt) if run else agent.begin("file the tickets")
        _driven(session, job.leaves)
        it = Run(agent, session.log.run, session.state)
    except Exception:  # noqa: BLE001 - the test says what of it
        return Report(run=store.run, error=traceback.format_exc(), commits=store.commits)
    return Report(it.id, str(it.status), it.stop_reason, it.detail, commits=store.commits, waits=waits)


def _driven(session: Session, leaves: str) -> None:
    """Drive the run until it rests or ends, or until a record comes at which it is left."""
    with closing(session.drive()) as records:
        for record in records:
            if record.event.kind == leaves:
                return


def _child(job: dict[str, Any], out: int) -> None:
    """All of a child's life; it never returns."""
    status = 1
    try:
        plans = tuple(tuple(steps) for steps in job.pop("plans"))
        os.write(out, json.dumps(asdict(_done(Job(**job, plans=plans)))).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is must not reach the parent's frames
        traceback.print_exc()
    finally:
        os._exit(status)


# --- in the process that forks ----------------------------------------------------------------------------------------


def _main() -> None:
    children: dict[int, int] = {}
    try:
        for line in sys.stdin:
            command = json.loads(line)
            told = _started(children, command["start"]) if "start" in command else _ended(children, command["wait"])
            print(json.dumps(told), flush=True)  # noqa: T201 - the answer
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _started(children: dict[int, int], job: dict[str, Any]) -> dict[str, Any]:
    assert threading.active_count() == 1, "a fork copies one thread only"
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(job, write)
    os.close(write)
    children[pid] = read
    return {"pid": pid}


def _ended(children: dict[int, int], pid: int) -> dict[str, Any]:
    """How a child ended; one that does not is killed, and that is no status that a test takes for one."""
    out = children[pid]
    hung = not select.select([out], [], [], LONGEST_S)[0]
    if hung:
        os.kill(pid, signal.SIGKILL)
    text = b"" if hung else b"".join(iter(lambda: os.read(out, 65_536), b""))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(out)
    del children[pid]
    return {"status": "hung" if hung else status, "report": json.loads(text) if text and status == 0 else {}}


if __name__ == "__main__":
    _main()
