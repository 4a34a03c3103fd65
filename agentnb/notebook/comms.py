"""Lets buttons work while a cell runs: what front ends say to widgets is handled here, on the cell's thread.

A kernel handles its messages one by one, so the click on a button waits until the cell that waits for that click has
ended. While a cell waits in `CommPump.poll`, messages to widgets are handled at once, and all others are held and given
back in their order: the cells of a Run All run afterwards, and an error aborts them, as if nobody had looked.

Whoever sends the very cell again that runs has taken its output away, and the buttons with it: a front end shows under
a cell only what the last request for it brings. `sent_again` says so, and from then on what the cell shows goes there.
Where it was left for the next one, what had been held before that is aborted, as an error of the cell would do.

ipykernel has no public way to do this. What is private in it is used in this file and nowhere else, each name with its
reason; where one is missing the pump is not usable, and people are asked by text.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import inspect
import signal
import threading
import time
from collections.abc import Iterator, Mapping
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
    header: Mapping[str, Any] | None = None
    """What it says of itself, where it is such a request."""


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

    def taken(self) -> Iterator[list[Any]]:
        """Frames of each message that the kernel has taken in already, and handles when the cell has ended."""

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

    def taken(self) -> Iterator[list[Any]]:
        """None: what waits is in the queue."""
        return iter(())

    def give_back(self, given: Any) -> None:
        """Put it into the queue again: whoever gives back all gives back the order."""
        self._queue.put_nowait(given)


class _TwoThreads:
    """ipykernel 7: a thread reads the shell's socket and sends what is for the main thread over a pair of sockets."""

    def __init__(self, kernel: Any) -> None:
        manager = kernel.shell_channel_thread.manager
        self.stream = manager._shell_channel_to_main.to_stream  # the main thread's end  # noqa: SLF001 - see the module's docstring
        self.replies = manager.get_subshell_to_shell_channel_socket(None)
        self._receive = self.stream._recv_callback  # what the kernel does with a message  # noqa: SLF001 - see the module's docstring
        self._run = self.stream._run_callback  # and how: it is a coroutine in some releases  # noqa: SLF001 - see the module's docstring

    def arrived(self) -> Iterator[tuple[list[Any], Any]]:
        """What the socket holds."""
        while self.stream.socket.poll(0):
            frames = self.stream.socket.recv_multipart(copy=False)
            yield frames, frames

    def taken(self) -> Iterator[list[Any]]:
        """What came in one burst with the cell: coroutines that wait for its lock have it among their arguments."""
        for task in asyncio.all_tasks():
            coroutine = task.get_coro()
            if inspect.iscoroutine(coroutine):
                known = inspect.getcoroutinelocals(coroutine)
                args = known.get("args")  # of one that has not begun yet
                given = [known.get("msg"), *(args if isinstance(args, tuple) else ())]
                yield from (frames for frames in given if isinstance(frames, list))

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
        self._taken: list[_Message] = []
        """The requests for the cell that the kernel had taken in when it began, by when they were sent."""
        self._cell: Any = None
        self.sent_again = 0
        """How often the cell that runs was sent again so far: each time, what it had shown is gone."""
        self.makes_room = False
        """True once the cell ends for the one that was sent again: what was sent before that is aborted."""
        self._interrupted = False
        self._announced = 0.0

    @property
    def usable(self) -> bool:
        """True where buttons can be made to work: on the main thread of a kernel whose layout is known."""
        return self._layout is not None

    def __enter__(self) -> Self:
        if self._layout is not None:
            self._cell = self._kernel.get_parent("shell")
            with contextlib.suppress(RuntimeError):  # no loop runs: nothing was taken in
                self._taken = self._taken_of_cell(self._layout)
        return self

    def __exit__(self, *_: object) -> None:
        if self._layout is None:
            return
        with uninterrupted():
            if self.makes_room:
                self._abort_what_came_before(self._layout)
            self._give_back(self._layout, self._held)
            self._held, self._taken, self._cell = [], [], None
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
        self._follow_the_cell()
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
            header = self._kernel.session.unpack(parts[1].bytes)
            if header["msg_type"] != "execute_request":
                return _Message(frames, given, header["msg_type"] in _LET_THROUGH)
            cell = self._kernel.session.unpack(parts[3].bytes).get("cellId")
            return _Message(frames, given, passes=False, cell=cell, header=header)
        except Exception:  # noqa: BLE001 - whatever it is, the kernel will know better
            return _Message(frames, given, passes=False)

    def _is_this_cell(self, message: _Message) -> bool:
        mine = (self._cell.get("metadata") or {}).get("cellId") if self._cell else None
        return mine is not None and message.cell == mine

    def _taken_of_cell(self, layout: _Layout) -> list[_Message]:
        mine = self._cell["header"]["msg_id"] if self._cell else None
        found = {
            message.header["msg_id"]: message
            for message in (self._message(frames, frames) for frames in layout.taken())
            if message.header and self._is_this_cell(message) and message.header["msg_id"] != mine
        }
        return sorted(found.values(), key=lambda message: str((message.header or {}).get("date")))

    def _follow_the_cell(self) -> None:
        """Let what is shown from now on be output of the last request for this cell, which is where people see it."""
        again = [*self._taken, *(message for message in self._held if self._is_this_cell(message))]
        if len(again) > self.sent_again:
            self.sent_again = len(again)
            self._kernel.shell.set_parent({"header": again[-1].header})

    def _give_back(self, layout: _Layout, held: list[_Message]) -> None:
        for message in held:
            layout.give_back(message.given)

    def _abort_what_came_before(self, layout: _Layout) -> None:
        """Have the kernel abort what was held before the cell was sent again; what is left of `_held` follows then.

        Where a kernel has no such way, all of it runs in order.
        """
        kernel, loop = self._kernel, layout.stream.io_loop
        abort = getattr(kernel, "_abort_queues", None)  # what an error of this cell would call
        if not callable(abort) or not hasattr(kernel, "_aborting"):
            return
        time.sleep(_TOGETHER_S)
        self._held += [self._message(frames, given) for frames, given in layout.arrived()]
        place = next((n for n, message in enumerate(self._held) if self._is_this_cell(message)), None)
        if place is None:  # the kernel has taken it in already, before all of these
            return
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
            with _answered_as_its_own(kernel, message):
                _finish(kernel.shell_handlers[message["header"]["msg_type"]](layout.replies, idents, message))
        except Exception:
            kernel.log.exception("a widget's handler failed")
        finally:
            kernel._publish_status("idle", "shell", parent=message)  # noqa: SLF001 - see the module's docstring
            self._say_busy()

    def _say_busy(self) -> None:
        self._announced = time.monotonic()
        self._kernel._publish_status("busy", "shell", parent=self._cell)  # noqa: SLF001 - see the module's docstring


@contextlib.contextmanager
def _answered_as_its_own(kernel: Any, message: Mapping[str, Any]) -> Iterator[None]:
    """Where a page asks for one widget's state, what is sent now answers that: it waits for nothing else.

    A widget asks the kernel what it belongs to by `get_parent`, which is public. What a handler prints does not, and
    stays with the cell.
    """
    if message["content"].get("data", {}).get("method") != "request_state":
        yield
        return
    kernel.get_parent = lambda *_, **__: message  # an attribute of its own, before the method
    try:
        yield
    finally:
        del kernel.get_parent


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
        needed = (kernel.session.unpack, kernel.shell_handlers["comm_msg"], kernel._publish_status, layout.stream.flush)  # noqa: SLF001 - see the module's docstring
    except (AttributeError, KeyError):
        return None
    return layout if all(map(callable, needed)) else None


def _finish(outcome: Any) -> None:
    """Run a coroutine to its end: the handlers of information requests are some, though they wait for nothing."""
    if inspect.iscoroutine(outcome):
        with contextlib.suppress(StopIteration):
            outcome.send(None)
        outcome.close()
