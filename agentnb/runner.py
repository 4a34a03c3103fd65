"""Where a tool's function runs, how it is given up after its time, and whether it goes on all the same."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from agentnb.errors import Interrupted, ToolTimeout
from agentnb.failures import timed_out

__all__ = ["Runner", "ended", "finished", "going_on", "named", "run_here", "with_named", "without_name"]

_LONGEST_S = 1e8  # three years: timers refuse more
_AGAIN_S = 5.0
"""Seconds after which a tool that swallowed its timeout is interrupted again, and so on."""


_GOING_ON: Final[dict[int, str]] = {}
"""Keys of the calls whose work has not ended. Of this process, as its threads are: whoever gave one up, it goes on."""


_OWN: Final = threading.local()
"""The helper of each thread, see `_Helper`."""
_Outcome = tuple[Any, BaseException | None]


class Runner(Protocol):
    """Where a tool's function runs, and how it is given up."""

    def __call__(self, function: Callable[[], Any], timeout_s: float) -> Any:
        """What `function` returns or raises.

        Raises:
            ToolTimeout: it took longer than `timeout_s` seconds.
            KeyboardInterrupt, Interrupted: a person stopped it.
        """


class going_on:  # noqa: N801 - reads as what it does, and costs a fifth of a generator, once a call
    """Lets `ended` know of the work inside, on whichever thread it is, and given up or not."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        _GOING_ON[id(self)] = self._key

    def __exit__(self, *_: object) -> None:
        _GOING_ON.pop(id(self), None)

    __del__ = __exit__  # of what was handed to a thread that never began, or interrupted as it ended


def ended(key: str, within_s: float) -> bool:
    """True once no call under `key` goes on in this process; False where one still does after `within_s` seconds."""
    until = time.monotonic() + within_s
    while key in list(_GOING_ON.values()):
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def run_here(function: Callable[[], Any], timeout_s: float) -> Any:
    """Run on this thread where a timer signal can interrupt it (the main thread, on POSIX), else on one of its own.

    On a thread of its own a call that takes too long is abandoned: it may go on, and what it returns is dropped.
    """
    timeout_s = min(timeout_s, _LONGEST_S)
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _with_timer(function, timeout_s)
    return _abandonable(function, timeout_s)


def _with_timer(function: Callable[[], Any], timeout_s: float) -> Any:
    rung: list[ToolTimeout] = []

    def ring(*_: object) -> None:
        rung.append(ToolTimeout(f"it took longer than {timeout_s:g} s and was interrupted"))
        raise rung[-1]

    before, began = signal.signal(signal.SIGALRM, ring), time.monotonic()
    around = (0.0, 0.0)  # of a call in whose code an agent makes this one
    try:
        try:
            around = signal.setitimer(signal.ITIMER_REAL, timeout_s, _AGAIN_S)
            value = function()
        except Exception as error:
            # Whatever a function makes of its timeout, that it was given up half-way is what counts.
            if rung and not timed_out(error) and not isinstance(error, Interrupted):
                raise rung[0] from error
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if rung:  # what comes late is dropped, as it is on another thread: it may be what is left of half the work
            raise rung[0]
        return value
    finally:  # once more, for it may ring at the very moment in which it is being stopped
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if around[0]:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, around[0] - (time.monotonic() - began)), around[1])


def _abandonable(function: Callable[[], Any], timeout_s: float) -> Any:
    helper, _OWN.helper = getattr(_OWN, "helper", None), None  # whatever comes between here and the end, it is given up
    if helper is None or not helper.thread.is_alive():
        helper = _Helper()
    value, error = helper.does(function, timeout_s)
    _OWN.helper = helper
    if error is not None:
        raise error
    return value


class _Helper:
    """A thread that carries out calls, one after another, for the thread that made it: a new one each time is slow.

    Nobody is left to give it more once that thread has ended, or has given it up: then it ends as well.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        queues = (self._calls, self._outcomes)  # and not `self`, which is to vanish
        self.thread = threading.Thread(target=_serve, args=queues, name="agentnb-tool", daemon=True)
        self.thread.start()

    def __del__(self) -> None:
        self._calls.put(None)

    def does(self, function: Callable[[], Any], timeout_s: float) -> _Outcome:
        """What `function` returns, and what it raises. Whoever gets a ToolTimeout leaves the helper alone."""
        self._calls.put(function)
        try:
            return self._outcomes.get(timeout=timeout_s)
        except Empty:
            raise ToolTimeout(f"it took longer than {timeout_s:g} s and was abandoned") from None


def _serve(calls: SimpleQueue[Callable[[], Any] | None], outcomes: SimpleQueue[_Outcome]) -> None:
    while _served(calls, outcomes):
        pass


def _served(calls: SimpleQueue[Callable[[], Any] | None], outcomes: SimpleQueue[_Outcome]) -> bool:
    """Carry out one call; of its own, so that nothing of it is held while the next one is waited for."""
    function = calls.get()
    if function is None:
        return False
    try:
        outcomes.put((Context().run(function), None))
    except BaseException as error:  # noqa: BLE001 - handed to the caller
        outcomes.put((None, error))
    return True


def _args_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Its arguments; [] where that cannot be told."""
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return []


def named(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments that can be given by name; [] where that cannot be told."""
    return [arg for arg in _args_of(function) if arg.kind in (arg.POSITIONAL_OR_KEYWORD, arg.KEYWORD_ONLY)]


def without_name(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments that get nothing from `with_named`: those before a `/`, and `*args` where no `**kwargs` is."""
    args, every = _args_of(function), _takes_every(function)
    return [a for a in args if a.kind is a.POSITIONAL_ONLY or (a.kind is a.VAR_POSITIONAL and not every)]


def _takes_every(function: Callable[..., Any]) -> bool:
    """True where it has a `**kwargs`."""
    return any(arg.kind is arg.VAR_KEYWORD for arg in _args_of(function))


def with_named(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Call `function` with those of `values` that it names."""
    names, every = {arg.name for arg in named(function)}, _takes_every(function)
    value = function(**{name: value for name, value in values.items() if every or name in names})
    return finished(value) if inspect.isawaitable(value) else value


def finished(value: Any, key: str = "") -> Any:
    """What an awaitable gives, run to its end on this thread, or on another where a loop runs here already.

    Given up there, it is cancelled, and `going_on` under `key` until that is done.
    """

    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    # A loop runs on this thread already, as in a notebook: the awaitable gets a thread and a loop of its own.
    return _Apart(value).result(key)


class _Apart:
    """An awaitable in a thread and a loop of its own."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._given_up = False
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outcome: _Outcome = (None, None)

    def result(self, key: str) -> Any:
        """What it gives; whatever is raised here meanwhile gives it up."""
        mark, known = ExitStack(), contextvars.copy_context()
        thread = threading.Thread(
            target=known.run, args=(self._carry_out, mark), name="agentnb-async-tool", daemon=True
        )
        mark.enter_context(going_on(key))  # here, and not there: it may be given up before its thread has begun
        try:
            thread.start()
            while thread.is_alive():  # not one long join: an interrupt has to get through
                thread.join(0.05)
        except BaseException:  # its time is up, or a person stopped it: nothing of it may act later, behind their back
            self._give_up()
            raise
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def _carry_out(self, mark: ExitStack) -> None:
        try:
            with mark:
                self._outcome = asyncio.run(self._awaited()), None
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            self._outcome = None, error

    async def _awaited(self) -> Any:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._given_up:  # who gives up says so first and then looks for the loop: one of the two sees the other
            if inspect.iscoroutine(self._value):
                self._value.close()
            raise asyncio.CancelledError
        return await self._value

    def _give_up(self) -> None:
        self._given_up = True
        with suppress(RuntimeError):  # the loop may just have closed
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)
