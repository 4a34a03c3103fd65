"""Lets buttons work while a cell runs: what front ends say to widgets is handled here, on the cell's thread.

A kernel handles its messages one by one, so the click on a button waits until the cell that waits for that click has
ended. While a cell waits in `CommPump.poll`, messages to widgets are handled at once, and all others are held and given
back in their order: the cells of a Run All run afterwards, and an error aborts them, as if nobody had looked.

Whoever runs the very cell again that waits has taken its output away, and the buttons with it. `run_again` says so, and
what had been sent before is aborted, as an error of the cell would do.

ipykernel has no public way to do this. What is private in it is used in this file and nowhere else, each name with its
reason; where one is missing the pump is not usable, and people are asked by text.
"""

from __future__ import annotations

import _thread
import contextlib
import inspect
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

__all__ = ["CommPump", "uninterrupted"]

_LET_THROUGH: Final = frozenset({"comm_open", "comm_msg", "comm_close", "comm_info_request", "kernel_info_request"})
"""Kinds of messages handled at once; the last two are what a page asks that is loaded again."""
_BUSY_S: Final = 1.0
"""Seconds between two announcements that the cell still runs: a page that was loaded meanwhile has not heard it, and a
subshell that handles a click says that the kernel is idle."""

_TOGETHER_S: Final = 0.05
"""Seconds in which the cells arrive that were sent together with one."""
_ABORTS_S: Final = 0.02
"""Seconds between two looks whether the kernel is done with aborting."""


@dataclass(frozen=True, slots=True, eq=False)
class _Message:
    """One message: `frames` as they were on the wire, `given` as the kernel had it. Equal to nothing but itself."""

    frames: list[Any]
    given: Any
    passes: bool
    cell: str | None = None
    """The cell that it is to run, where it is such a request."""


class _Layout(Protocol):
    """Where one line of ipykernel keeps what has arrived for the main shell.

    Attributes:
        stream: the ZMQStream on which it arrives.
        replies: what answers are sent on.
    """

    stream: Any
    replies: Any

    def arrived(self) -> Iterator[tuple[list[Any], Any]]:
        """(frames, as the kernel had it) of each message there is; from now on they are ours."""

    def give_back(self, given: Any) -> None:
        """Let the kernel have it after all."""


class _OneThread:
    """ipykernel 6: the main thread reads the shell's socket into a queue of (number, dispatcher, arguments)."""

    def __init__(self, kernel: Any) -> None:
        self.stream = self.replies = kernel.shell_stream
        self._queue = kernel.msg_queue

    def arrived(self) -> Iterator[tuple[list[Any], Any]]:
        """What the queue holds, once the stream has put into it whatever the socket has."""
        self.stream.flush()
        while not self._queue.empty():
            given = self._queue.get_nowait()
            args = given[2]  # a message is the one argument of its dispatcher; the end of an abort has none
            yield (args[0] if len(args) == 1 and isinstance(args[0], list) else []), given

    def give_back(self, given: Any) -> None:
        """Put it into the queue again: whoever gives back all gives back the order."""
        self._queue.put_nowait(given)


class _TwoThreads:
    """ipykernel 7: a thread reads the shell's socket and sends what is for the main thread over a pair of sockets."""

    def __init__(self, kernel: Any) -> None:
        manager = kernel.shell_channel_thread.manager
        self.stream = manager._shell_channel_to_main.to_stream  # the main thread's end  # noqa: SLF001
        self.replies = manager.get_subshell_to_shell_channel_socket(None)
        self._receive = self.stream._recv_callback  # what the kernel does with a message  # noqa: SLF001
        self._run = self.stream._run_callback  # and how: it is a coroutine in some releases  # noqa: SLF001

    def arrived(self) -> Iterator[tuple[list[Any], Any]]:
        """What the socket holds."""
        while self.stream.socket.poll(0):
            frames = self.stream.socket.recv_multipart(copy=False)
            yield frames, frames

    def give_back(self, given: Any) -> None:
        """Hand it to the kernel, which handles it when the cell's lock is free: first come, first served."""
        self._run(self._receive, given)


class CommPump:
    """Handles messages to widgets while the cell's thread waits, between `with` and its end.

    Args:
        kernel: the kernel whose main thread runs the cell; None where there is none.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._layout = _layout_of(kernel)
        self._held: list[_Message] = []
        self._cell: Any = None
        self.run_again = False
        """True once the cell that waits was sent again."""
        self.makes_room = False
        """True once the cell ends for the one that was sent again: what was sent before that is aborted."""
        self._interrupted = False
        self._announced = 0.0

    @property
    def usable(self) -> bool:
        """True where buttons can be made to work: on the main thread of a kernel whose layout is known."""
        return self._layout is not None

    def __enter__(self) -> Self:
        self._cell = self._kernel.get_parent("shell") if self.usable else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._layout is None:
            return
        with uninterrupted():
            if self.makes_room:
                self._abort_what_came_before(self._layout)
            self._give_back(self._layout, self._held)
            self._held, self._cell = [], None
            # The socket told the loop once that it has something, and we have read it: let the stream look again.
            self._layout.stream.io_loop.add_callback(self._layout.stream.flush)

    def poll(self, seconds: float) -> None:
        """Wait until a message comes, at most so long, and handle those for widgets; an interrupt ends it at once.

        Raises:
            KeyboardInterrupt: somebody pressed ■, or what was handled has called `interrupt`; no message is lost.
        """
        if self._layout is None:
            time.sleep(seconds)
            return
        if time.monotonic() - self._announced > _BUSY_S:
            self._say_busy()
        self._layout.stream.socket.poll(round(seconds * 1000))
        with uninterrupted():
            self._held += [self._message(frames, given) for frames, given in self._layout.arrived()]
        self.run_again = self.run_again or any(self._is_this_cell(message) for message in self._held)
        for message in [message for message in self._held if message.passes]:
            self._held.remove(message)
            self._handle(self._layout, message.frames)
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Do what ■ does, for a handler: at once, or at the end of the `poll` that has called it.

        Between `with` and its end only: a handler on a thread of its own may come too late.
        """
        if self._cell is None:
            return
        if threading.current_thread() is threading.main_thread():
            self._interrupted = True
        elif hasattr(signal, "pthread_kill"):  # wakes a tool that sleeps, too
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()

    def _message(self, frames: list[Any], given: Any) -> _Message:
        """By its header alone: what is deserialized is noted as seen, and would be refused when it is given back."""
        try:
            _, parts = self._kernel.session.feed_identities(frames, copy=False)
            kind = self._kernel.session.unpack(parts[1].bytes)["msg_type"]
            cell = self._kernel.session.unpack(parts[3].bytes).get("cellId") if kind == "execute_request" else None
            return _Message(frames, given, kind in _LET_THROUGH, cell)
        except Exception:  # noqa: BLE001 - whatever it is, the kernel will know better
            return _Message(frames, given, passes=False)

    def _is_this_cell(self, message: _Message) -> bool:
        mine = (self._cell.get("metadata") or {}).get("cellId") if self._cell else None
        return mine is not None and message.cell == mine

    def _give_back(self, layout: _Layout, held: list[_Message]) -> None:
        for message in held:
            layout.give_back(message.given)

    def _abort_what_came_before(self, layout: _Layout) -> None:
        """Have the kernel abort what was sent before the cell was sent again; what is left of `_held` follows then.

        Where a kernel has no such way, all of it runs in order.
        """
        kernel, loop = self._kernel, layout.stream.io_loop
        abort = getattr(kernel, "_abort_queues", None)  # what an error of this cell would call
        if not callable(abort) or not hasattr(kernel, "_aborting"):
            return
        time.sleep(_TOGETHER_S)
        self._held += [self._message(frames, given) for frames, given in layout.arrived()]
        place = next(n for n, message in enumerate(self._held) if self._is_this_cell(message))
        before, after, self._held = self._held[:place], self._held[place:], []

        def follow() -> None:
            if kernel._aborting:  # noqa: SLF001 - nothing public says when it is over
                loop.call_later(_ABORTS_S, follow)
            else:
                self._give_back(layout, after)

        self._give_back(layout, before)
        abort()
        loop.call_later(_ABORTS_S, follow)

    def _handle(self, layout: _Layout, frames: list[Any]) -> None:
        """As the kernel does it, but for the parent: what the handler shows belongs to the cell that runs."""
        kernel = self._kernel
        try:
            idents, parts = kernel.session.feed_identities(frames, copy=False)
            message = kernel.session.deserialize(parts, content=True, copy=False)
        except Exception:
            kernel.log.exception("a message could not be read")
            return
        # The front end sends a widget's next change when it hears that the last one is done with.
        kernel._publish_status("busy", "shell", parent=message)  # noqa: SLF001 - nothing public says it of another message
        try:
            _finish(kernel.shell_handlers[message["header"]["msg_type"]](layout.replies, idents, message))
        except Exception:
            kernel.log.exception("a widget's handler failed")
        finally:
            kernel._publish_status("idle", "shell", parent=message)  # noqa: SLF001
            self._say_busy()

    def _say_busy(self) -> None:
        self._announced = time.monotonic()
        self._kernel._publish_status("busy", "shell", parent=self._cell)  # noqa: SLF001


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """An interrupt waits until the end, and is raised there: for things that take no time.

    Raises:
        KeyboardInterrupt: somebody pressed ■ meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if pressed:
        raise KeyboardInterrupt


def _layout_of(kernel: Any) -> _Layout | None:
    """How this kernel is laid out; None for every other, and on threads of which it has several."""
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return None
    try:
        layout: _Layout = _TwoThreads(kernel) if getattr(kernel, "shell_channel_thread", None) else _OneThread(kernel)
        needed = (kernel.session.unpack, kernel.shell_handlers["comm_msg"], kernel._publish_status, layout.stream.flush)  # noqa: SLF001
    except (AttributeError, KeyError):
        return None
    return layout if all(map(callable, needed)) else None


def _finish(outcome: Any) -> None:
    """Run a coroutine to its end: the handlers of information requests are some, though they wait for nothing."""
    if inspect.iscoroutine(outcome):
        with contextlib.suppress(StopIteration):
            outcome.send(None)
        outcome.close()
