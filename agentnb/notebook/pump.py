"""A run on a thread of its own, and the cell's thread that serves it.

    worker thread                          the cell's thread
    drive the run, call models   ──records──>  show them
    wait                         ──a tool───>  call it, as if in a cell: SQLite, matplotlib, prints
    wait                         ──a question──>  ask the person

The worker never prints, displays or calls a tool. It waits for the cell's thread and never the other way round, so an
interrupt lands in the pump or in a tool and ends the cell at once, whatever the worker is doing: the run is suspended
over its head, only then the worker is let go, and what it still does is dropped by the run's log.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from agentnb.approval import Answer, ApprovalRequest, Approver, QuestionRequest, Request
from agentnb.errors import Interrupted
from agentnb.events import Record, RunSuspended
from agentnb.mailbox import posted
from agentnb.notebook.asking import ask_by_card, ask_by_text, nobody_here
from agentnb.notebook.comms import CommPump
from agentnb.notebook.host import Audience
from agentnb.notebook.panel import Panel
from agentnb.question import rest_at_question
from agentnb.runner import run_here
from agentnb.session import Session
from agentnb.state import RunState

__all__ = ["Pump", "ask_in_cell", "run_in_cell"]

_LOG: Final = logging.getLogger(__name__)
_BEAT_S: Final = 0.1
"""Seconds between two looks at the display while nothing happens."""
_GRACE_S: Final = 0.3
"""Seconds that an interrupted cell waits for its worker: to note what a tool has just returned, and to end."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The worker's last word."""

    error: BaseException | None = None


class _Job:
    """Something that the worker wants done on the cell's thread."""

    def __init__(self, work: Callable[[], Any], *, calls_tool: bool) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self.calls_tool = calls_tool
        self.done = threading.Event()

    def carry_out(self) -> None:
        """Do it. What it raises goes to the worker; an interrupt goes to the cell, and the worker goes on waiting."""
        try:
            self._value = self._work()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a tool may raise anything, and all of it is the worker's
            if not (self.calls_tool or isinstance(error, Exception)):
                raise  # the kernel is told to end while somebody is asked
            self._error = error
        self.done.set()

    def give_up(self) -> None:
        """Let the worker go, with an interrupt."""
        self._error = Interrupted("the cell has ended")
        self.done.set()

    def result(self) -> Any:
        """What came of it; waits for it."""
        self.done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class _Worker(threading.Thread):
    """The thread that drives the run. Daemonic: one that hangs in a provider's call does not keep the kernel alive."""

    def __init__(self, pump: Pump, session: Session) -> None:
        super().__init__(name=f"agentnb-{session.log.run}", daemon=True)
        self.pump = pump
        self._session = session

    def run(self) -> None:
        """Drive it to its end, and say how it ended."""
        error: BaseException | None = None
        try:
            for record in self._session:
                self.pump.post(record)
        except Interrupted:
            pass
        except BaseException as raised:  # noqa: BLE001 - raised again in the cell
            error = raised
        self.pump.post(_Ended(error))


class Pump:
    """Drives one run to its rest or end, once.

    Args:
        session: the run.
        panel: told of every record.
        audience: who can be asked.
        kernel: whose main thread runs the cell; None where there is none.
        idle_s: seconds without a press after which a question is left and the run rests.
        approver: answers in place of the person here; None for the person.
    """

    def __init__(
        self,
        session: Session,
        panel: Panel,
        audience: Audience,
        kernel: Any = None,
        *,
        idle_s: float = 1800.0,
        approver: Approver | None = None,
    ) -> None:
        self._session = session
        self._panel = panel
        self._audience = audience
        self._comms = CommPump(kernel if audience == "widgets" else None)
        self._looked = time.monotonic()
        self._sent_again = 0
        self._idle_s = idle_s
        self._approver = approver
        self._inbox: queue.SimpleQueue[Record | _Job | _Ended] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = True
        self._job: _Job | None = None
        self.left = False
        """True once a question was left, and what stands in its place says how to answer it later."""
        self.run_again = False
        """True once a question was left because its cell is to run again."""
        self._old_claim = self._made_claim = session.state.claim

    def drive(self) -> None:
        """Serve the run until it rests or has ended.

        Raises:
            KeyboardInterrupt: a person stopped it; it is suspended.
            Exception: whatever the worker raised; the run can be resumed.
        """
        worker = _Worker(self, self._session)
        worker.start()
        try:
            with self._comms:
                if self._comms.usable:
                    self._panel.offer_stop(self._comms.interrupt)
                error = self._serve()
        except BaseException as raised:
            self._suspend(stopped=isinstance(raised, KeyboardInterrupt))
            raise
        finally:
            self._close()
            worker.join(_GRACE_S)
        if error is not None:
            raise error

    def post(self, item: Record | _Ended) -> None:
        """Tell the cell's thread; from the worker."""
        self._inbox.put(item)

    def call(self, work: Callable[[], Any], *, calls_tool: bool) -> Any:
        """What `work` returns or raises on the cell's thread; from the worker.

        Raises:
            Interrupted: the cell has ended, or does before it is done.
        """
        job = _Job(work, calls_tool=calls_tool)
        with self._lock:
            if not self._open:
                raise Interrupted("the cell has ended")
            self._job = job
            self._inbox.put(job)
        return job.result()

    def ask(self, request: Request) -> Answer | None:
        """What a person says, or the policy where nobody is there; from the worker."""
        approver = self._approver
        if approver is not None:  # a function of the user's: one that fails denies
            return self.call(lambda: approver(request), calls_tool=False)  # type: ignore[no-any-return]  # it gives what the function gives
        if self._audience == "none":
            return nobody_here(request)
        try:
            return self.call(lambda: self._ask_here(request), calls_tool=False)  # type: ignore[no-any-return]  # it gives what the function gives
        except Interrupted:
            raise
        except Exception:  # noqa: BLE001 - of whatever kind, see below
            # A front end that fails has not answered: a kernel that is shut down takes the sockets away first, and
            # the question has to be there for the next one.
            text = self._session.log.redact(traceback.format_exc())  # a logger would write down what it quotes
            _LOG.error("%s could not be asked about\n%s", request.step, text)
            return None

    def _ask_here(self, request: Request) -> Answer | None:
        """On the cell's thread: by buttons where they can be clicked while it waits."""
        comms = self._comms
        if not comms.usable:
            return ask_by_text(request)
        self.left = True
        answer = ask_by_card(request, comms, idle_s=self._idle_s, elsewhere=lambda: self._from_elsewhere(request))
        self.left = answer is None
        self.run_again = comms.makes_room = self.left and comms.sent_again > 0
        return answer

    def _from_elsewhere(self, request: Request) -> Answer | None:
        """What another process or thread has answered."""
        if not isinstance(request, ApprovalRequest | QuestionRequest):
            return None
        log, asks = self._session.asking, isinstance(request, QuestionRequest)
        return posted(log.store, log.run, log.state.question_at if asks else log.state.asked_at)

    def _serve(self) -> BaseException | None:
        """The worker's last error, or None, once it has ended."""
        while True:
            match self._next():
                case _Ended(error):
                    return error
                case _Job() as job:
                    self._panel.refresh(urgent=True)  # the last chance before a call that may take long
                    self._panel.step_aside()
                    self._made_claim = self._session.state.claim if job.calls_tool else self._made_claim
                    job.carry_out()
                    self._looked = -math.inf  # for what was pressed meanwhile
                case Record() as record:
                    self._panel.add(record)

    def _next(self) -> Record | _Job | _Ended:
        """The next item; the display is refreshed only while none waits, so that what belongs together is seen so."""
        while True:
            self._listen()
            with contextlib.suppress(queue.Empty):
                return self._inbox.get_nowait()
            self._panel.refresh()
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=_BEAT_S)

    def _listen(self) -> None:
        """Handle what was clicked, ten times a second; show all anew where the cell's output was taken away.

        Raises:
            KeyboardInterrupt: the button that stops the run was.
        """
        if self._comms.usable and time.monotonic() - self._looked >= _BEAT_S:
            self._comms.poll(0)
            self._looked = time.monotonic()
        if self._comms.sent_again > self._sent_again and not self.run_again:
            self._sent_again = self._comms.sent_again
            self._panel.show_anew()

    def _suspend(self, *, stopped: bool) -> None:
        """Take the run away from the worker, with the truth about a call that was announced."""
        with _deaf():
            self._await_outcome()
            asking = self._job is not None and not self._job.calls_tool and not self._job.done.is_set()
            left = rest_at_question(self._session.asking.state) if stopped and asking else None  # it still waits
            self._session.suspend(lambda state: left or self._rest(state, stopped=stopped))

    def _rest(self, state: RunState, *, stopped: bool) -> RunSuspended:
        """How the run rests: a call that was announced, and that this thread has not come to, was never made."""
        claim = state.claim
        never_made = claim is not None and claim is not self._made_claim and claim is not self._old_claim
        return RunSuspended(reason="interrupted" if stopped else "closed", withdrawn=never_made)

    def _await_outcome(self) -> None:
        """A tool that has returned has had its effect: give the worker the moment that it needs to record that."""
        deadline = time.monotonic() + _GRACE_S
        while (
            self._job is not None and self._job.calls_tool and self._job.done.is_set() and time.monotonic() < deadline
        ):
            if self._session.state.claim is not self._made_claim:
                return
            time.sleep(0.005)

    def _close(self) -> None:
        with self._lock:
            self._open = False
            if self._job is not None and not self._job.done.is_set():
                self._job.give_up()


def run_in_cell(function: Callable[[], Any], timeout_s: float) -> Any:
    """A Runner: calls a tool on the thread of the cell that drives the run; on this one where there is no such cell."""
    worker = threading.current_thread()
    if isinstance(worker, _Worker):
        return worker.pump.call(lambda: run_here(function, timeout_s), calls_tool=True)
    return run_here(function, timeout_s)


def ask_in_cell(request: Request) -> Answer | None:
    """An Approver: asks where the cell that drives the run is shown; without such a cell the run waits."""
    worker = threading.current_thread()
    return worker.pump.ask(request) if isinstance(worker, _Worker) else None


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """No second interrupt while the first is being recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
