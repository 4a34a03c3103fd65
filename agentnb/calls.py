"""One tool call, from its arguments to its recorded outcome: resolve, validate, claim, call in time, settle."""

from __future__ import annotations

import copy
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentnb.approval import binding
from agentnb.budget import OverBudget
from agentnb.checks import is_empty
from agentnb.decide import kept_back
from agentnb.errors import FailureClass, Interrupted, NotJSON, ToolFailure, ToolTimeout
from agentnb.events import Event, GateRaised, Kept, RunSuspended, ToolClaimed, ToolRefused, ToolReturned
from agentnb.guards import GuardedCall, rulings
from agentnb.log import RunLog
from agentnb.plan import JSON, Step, UnmetReference, resolve
from agentnb.tools import InvalidArguments, Tool, as_json

__all__ = ["Runner", "call_tool", "prepare", "run_here"]

LONGEST_MESSAGE = 500
SHORTEST_WRITE_S = 10.0
"""Seconds that must be left before a write is begun, or its `timeout_s` where that is less."""
_LONGEST_S = 1e8  # three years: timers refuse more
_AGAIN_S = 5.0
"""Seconds after which a tool that swallowed its timeout is interrupted again, and so on."""


class Runner(Protocol):
    """Where a tool's function runs, and how it is given up."""

    def __call__(self, function: Callable[[], Any], timeout_s: float) -> Any:
        """What `function` returns or raises.

        Raises:
            ToolTimeout: it took longer than `timeout_s` seconds.
            KeyboardInterrupt, Interrupted: a person stopped it.
        """


def run_here(function: Callable[[], Any], timeout_s: float) -> Any:
    """Run on this thread where a timer signal can interrupt it (the main thread, on POSIX), else on one of its own.

    On a thread of its own a call that takes too long is abandoned: it may go on, and what it returns is dropped.
    """
    timeout_s = min(timeout_s, _LONGEST_S)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _with_timer(function, timeout_s)
    return _abandonable(function, timeout_s)


def _with_timer(function: Callable[[], Any], timeout_s: float) -> Any:
    def ring(*_: object) -> None:
        raise ToolTimeout(f"it took longer than {timeout_s:g} s and was interrupted")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, timeout_s, _AGAIN_S)
            return function()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # once more, for it may ring at the very moment in which it is being stopped
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _abandonable(function: Callable[[], Any], timeout_s: float) -> Any:
    box: dict[str, Any] = {}

    def target() -> None:
        try:
            box["value"] = function()
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            box["error"] = error

    thread = threading.Thread(target=target, name="agentnb-tool", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise ToolTimeout(f"it took longer than {timeout_s:g} s and was abandoned")
    if "error" in box:
        raise box["error"]
    return box["value"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that may be made, but for a person's leave.

    Attributes:
        args: every reference and every filled opening in its place.
        kept: the same as records hold it.
        kwargs: what the function takes.
        ask: why guards want a person's leave.
    """

    args: dict[str, JSON]
    kept: Kept
    kwargs: dict[str, Any]
    ask: tuple[str, ...]


def prepare(log: RunLog, tool: Tool, step: Step) -> Prepared | ToolRefused:
    """The step's call with its arguments, or why it may not be made: they are wrong, or a guard denies it."""
    given: Mapping[str, JSON] = log.value(log.state.bound) if log.state.bound else step.args
    try:
        args: dict[str, JSON] = resolve(dict(given), log.result_of)
        kept = log.keep(args)
        kwargs = tool.validated(copy.deepcopy(args))  # a tool may alter what it is given; earlier results stay
    except (UnmetReference, NotJSON) as error:
        return ToolRefused(step=step.id, problems=(str(error),))
    except InvalidArguments as error:
        return ToolRefused(step=step.id, problems=error.problems)
    denied, ask = rulings(tool.guards, GuardedCall(tool.name, kwargs, log.state))
    return ToolRefused(step=step.id, problems=denied) if denied else Prepared(args, kept, kwargs, ask)


def call_tool(log: RunLog, tool: Tool, step: Step, run: Runner) -> Iterator[Event]:
    """Make the step's call and yield what happens.

    A call that may have had its effect and did not say so (a write that timed out, or raised anything but a
    ToolFailure) is left claimed: it is in doubt, and the run rests until a person has looked.

    Raises:
        OverBudget: too little time is left; the call was not made.
    """
    call = prepare(log, tool, step)
    if isinstance(call, ToolRefused):
        yield call
        return
    if call.ask and not log.state.approved and log.state.claim is None:
        yield GateRaised(step=step.id, reasons=call.ask)
        return
    left = _seconds_left(log, tool)
    key = f"{log.run}/{step.id}"
    what = binding(log.run, step.id, tool.name, call.kept) if log.state.gated else ""
    yield ToolClaimed(step=step.id, attempt=log.state.attempt, tool=tool.name, args=call.kept, key=key, binding=what)
    began = log.clock.monotonic()
    try:
        # The conversion belongs to the call: a generator runs only as it is read, and may never end.
        value = run(lambda: as_json(tool.run(call.kwargs)), min(tool.timeout_s, left))
        result = log.keep(value)
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:  # noqa: BLE001 - a tool may raise anything, SystemExit too; all of it is a result
        yield _outcome(tool, step, error, log.clock.monotonic() - began)
        return
    seconds = log.clock.monotonic() - began
    yield ToolReturned(step=step.id, status="empty" if is_empty(value) else "ok", seconds=seconds, result=result)


def _seconds_left(log: RunLog, tool: Tool) -> float:
    """Seconds that the budget leaves for a call; a write is not begun where it could be cut short half-way.

    Raises:
        OverBudget: there are not enough.
    """
    if log.clock.stopped:
        return math.inf
    budget, used, keep = log.state.budget, log.state.used(), kept_back(log.state.budget)
    left = budget.seconds_left(used, keep)
    needed = min(tool.timeout_s, SHORTEST_WRITE_S) if tool.effect == "write" else 0
    if left <= needed:
        raise OverBudget(budget.shortest(used, keep, needed))
    return left


def _outcome(tool: Tool, step: Step, error: BaseException, seconds: float) -> Event:
    """What an exception means: only a ToolFailure says that a write did not act; after any other it may have."""
    failed = _failure(step, error, seconds)
    if tool.effect == "read" or (isinstance(error, ToolFailure) and not isinstance(error, ToolTimeout)):
        return failed
    if isinstance(error, NotJSON):  # it has returned, so it has acted
        return ToolReturned(step=step.id, status="ok", seconds=seconds, message=f"its result is not kept: {error}")
    doubt = f"{step.id} {tool.name}: {failed.message}; whether it acted is not known"
    return RunSuspended(reason="in_doubt", detail=doubt, seconds=seconds)


def _failure(step: Step, error: BaseException, seconds: float) -> ToolReturned:
    try:
        text = str(error)
    except Exception as worse:  # noqa: BLE001 - a tool's exception may not even have a text
        text = f"(no message: {type(worse).__name__})"
    said = text if isinstance(error, (ToolFailure, NotJSON)) else f"{type(error).__name__}: {text}"
    clean = said[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()
    return ToolReturned(step=step.id, status="failed", seconds=seconds, failure=classify(error), message=clean)


def classify(error: BaseException) -> FailureClass:
    """What kind of failure an exception of a tool is, by its type."""
    match error:
        case ToolFailure():
            return error.failure
        case PermissionError():
            return FailureClass.PERMISSION
        case TimeoutError() | ConnectionError():
            return FailureClass.TRANSIENT
        case NotJSON() | ValueError() | TypeError() | LookupError() | ArithmeticError() | OSError():
            return FailureClass.INVALID_DATA
        case _:
            return FailureClass.FATAL
