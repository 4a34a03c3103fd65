"""The loop: decide, perform, append, until nothing is left to decide."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress

from agentnb.decide import Action, decide
from agentnb.errors import AgentError, CassetteMiss, Interrupted, KeyTaken
from agentnb.events import Event, Record, RunSuspended, ToolClaimed
from agentnb.log import RunLog
from agentnb.question import rest_at_question
from agentnb.state import Status

__all__ = ["Perform", "drive"]

Perform = Callable[[Action], Generator[Event, None, None]]


def drive(log: RunLog, perform: Perform, begun: Sequence[Record] = ()) -> Generator[Record, None, None]:
    """Carry a run on and yield each record once it is durable: an intent before its effect, an outcome before the next.

    Closing the iterator suspends the run, and withdraws what was announced and not begun. An interrupt suspends it
    too, and is raised again.

    Args:
        log: the run.
        perform: carries out an action.
        begun: records that are durable already, and are yielded first.
    """
    try:
        yield from begun
        while (action := decide(log.state)) is not None:
            with closing(perform(action)) as events:
                for event in events:
                    if not _shared(event):
                        yield from log.append(event)
                        continue
                    try:
                        yield from log.claim(event)
                    except KeyTaken:  # another run was faster: decide anew, knowing that
                        break
        yield from log.flush()
    except GeneratorExit:
        _suspend(log, RunSuspended(reason="closed", withdrawn=True))
        raise
    except (KeyboardInterrupt, Interrupted):
        _suspend(log, RunSuspended(reason="interrupted"))
        raise
    except BaseException as error:
        with suppress(AgentError):  # what the last effect gave is kept, whatever went wrong after it
            log.flush()
            # whoever drives it is told the rest: what stays of a replay is read beside that
            said = error.brief if isinstance(error, CassetteMiss) else f"{type(error).__name__}: {error}"
            _suspend(log, RunSuspended(reason="error", detail=log.redact(said)[:500]))
        raise


def _shared(event: Event) -> bool:
    """True of a claim whose key other runs may want too."""
    return isinstance(event, ToolClaimed) and bool(event.entry)


def _suspend(log: RunLog, event: RunSuspended) -> None:
    if log.state.status is not Status.IN_PROGRESS:
        return
    asks = None if event.withdrawn else rest_at_question(log.state)
    log.suspend(asks or event)
