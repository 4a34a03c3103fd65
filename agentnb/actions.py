"""Destructive actions: carried out outside the loop, by a person's hand or by a validator that the user names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Literal

from agentnb.calls import STILL_RUNS, described, in_words
from agentnb.errors import ConfigError, Interrupted, NotJSON
from agentnb.events import ActionClaimed, ActionSettled
from agentnb.failures import classify
from agentnb.ledger import step_key
from agentnb.log import RunLog
from agentnb.pending import Pending, pending_of
from agentnb.plan import JSON
from agentnb.prepared import ruled
from agentnb.runner import Runner, ended
from agentnb.state import Status
from agentnb.tools import InvalidArguments, Tool

__all__ = ["Validator", "carry_out", "drop", "meant", "require_at_rest"]

Validator = Callable[[Pending], bool]
"""Decides about an action in place of a person: True carries it out, anything else leaves it in the queue."""


def meant(
    log: RunLog, which: Sequence[int], *, shown: Collection[int] | None, each: bool = False, doubtful: bool = False
) -> list[Pending]:
    """The actions that a person means: by their numbers, else all, where nothing waits that was not shown.

    Args:
        log: the run.
        which: numbers; () says none.
        shown: the numbers of those that the person was shown. None: nothing was; one that waits alone is meant then.
        each: whoever decides is shown each of them yet.
        doubtful: without numbers, only those are meant whose outcome is not known.

    Raises:
        ConfigError: nothing of the kind waits, or it is not clear which is meant; says what waits.
    """
    require_at_rest(log)
    actions = {item.number: item for item in pending_of(log) if item.kind == "action"}
    if not actions:
        raise ConfigError(f"no action of {log.run} waits: `%agent pending` lists what waits")
    if unknown := [n for n in which if n not in actions]:
        raise ConfigError(f"no action {unknown[0]!r} waits in {log.run}: there are {', '.join(map(str, actions))}")
    if which:
        return [actions[n] for n in dict.fromkeys(which)]
    found = {n: item for n, item in actions.items() if item.in_doubt or not doubtful}
    if not found:
        raise ConfigError(f"no action of {log.run} is in doubt: leave out what was found out about it")
    if each or (len(found) == 1 if shown is None else found.keys() <= set(shown)):
        return list(found.values())
    listed = "; ".join(map(str, found.values()))
    raise ConfigError(f"which action of {log.run} is meant is not said: give the number of one, of {listed}")


def carry_out(
    log: RunLog,
    tool: Tool,
    action: Pending,
    runner: Runner,
    *,
    by: str,
    by_hand: bool = True,
    in_doubt: Literal["done", "not_done"] | None = None,
) -> None:
    """Carry out a proposed action, once, and record what came of it.

    Args:
        log: the run.
        tool: of the action.
        action: what waits.
        runner: where it runs.
        by: who does it.
        by_hand: False for a validator: what guards or untrusted text want a person for, it cannot do.
        in_doubt: of an action whose outcome is not known: what somebody found out about it.

    Raises:
        ConfigError: its arguments or a guard forbid it now, or it is in doubt; it stays in the queue.
        KeyboardInterrupt: it was stopped; it is in doubt.
    """
    args = dict(action.args)
    key = step_key(log.state, action.step)
    if in_doubt is not None and not action.in_doubt:
        raise ConfigError(f"{action.step} {tool.name} is not in doubt: it has not been begun")
    if action.in_doubt and _settled_doubt(log, tool, action, key, runner, by=by, in_doubt=in_doubt):
        return
    try:
        kwargs = tool.validated(copy.deepcopy(args))
    except InvalidArguments as error:
        raise ConfigError(f"{action.step} {tool.name} cannot be carried out: {'; '.join(error.problems)}") from None
    denied, ask = ruled(log.state, tool, args, kwargs)
    needs = tuple(dict.fromkeys((*ask, *action.reasons)))
    if denied or (needs and not by_hand):
        raise ConfigError(f"{action.step} {tool.name} may not be carried out: {'; '.join(denied or needs)}")
    if not any(item.claimed for item in log.state.queue if item.action.step == action.step):
        said = described(log, tool, args, runner)
        log.append(ActionClaimed(step=action.step, key=key, by=by, described=said))
    log.append(_made(log, tool, action, runner, lambda: tool.result(kwargs, key), by))


def _made(
    log: RunLog, tool: Tool, action: Pending, runner: Runner, work: Callable[[], object], by: str
) -> ActionSettled:
    """What came of the call."""
    began = log.clock.monotonic()
    try:
        result = log.keep(runner(work, tool.timeout_s))
    except (KeyboardInterrupt, Interrupted):
        raise  # it stays claimed: in doubt
    except BaseException as error:  # noqa: BLE001 - a tool may raise anything, SystemExit too; all of it is a result
        seconds = log.clock.monotonic() - began
        said = in_words(error, log.redact)
        if isinstance(error, NotJSON):  # it has returned, so it has acted
            said = f"its result is not kept: {error}"
            return ActionSettled(step=action.step, status="done", by=by, message=said, seconds=seconds)
        acted = classify(error, tool.failures).acted == "unknown"
        status: Literal["in_doubt", "failed"] = "in_doubt" if acted else "failed"
        return ActionSettled(step=action.step, status=status, by=by, message=said, seconds=seconds)
    seconds = log.clock.monotonic() - began
    return ActionSettled(step=action.step, status="done", by=by, seconds=seconds, result=result)


def _settled_doubt(
    log: RunLog,
    tool: Tool,
    action: Pending,
    key: str,
    runner: Runner,
    *,
    by: str,
    in_doubt: Literal["done", "not_done"] | None,
) -> bool:
    """True where an action that was in doubt turns out to have been carried out; False where it may be made again."""
    if in_doubt == "done":
        log.append(ActionSettled(step=action.step, status="done", by=by, message=f"{by} says that it was done"))
        return True
    if in_doubt == "not_done" and not ended(key, 0):
        raise ConfigError(f"{action.step} {tool.name}: {STILL_RUNS}")
    if in_doubt == "not_done":  # recorded before it is made again, so that two who say so do not both make it
        log.append(ActionSettled(step=action.step, status="failed", by=by, message=f"{by} says that it was not done"))
        return False
    if tool.idempotent:
        return False
    if tool.reconcile is not None:
        found = _found(log, tool, action, key, runner)
        if found is None:
            said = "reconcile= says that it did not happen"
            log.append(ActionSettled(step=action.step, status="failed", by="reconcile", message=said))
        else:
            log.append(ActionSettled(step=action.step, status="done", by="reconcile", result=log.keep(found)))
        return found is not None
    raise ConfigError(
        f"whether {action.step} {tool.name} was carried out is not known ({action.in_doubt}): look, and say --done or"
        " --not-done (in_doubt= in Python)"
    )


def _found(log: RunLog, tool: Tool, action: Pending, key: str, runner: Runner) -> JSON:
    """What the tool's `reconcile` says; where the action was given up and still runs, its end is waited for first.

    Raises:
        ConfigError: it could not tell; the action is in doubt as before.
    """
    trouble = ""
    try:
        over = ended(key, tool.timeout_s)
        found = runner(lambda: tool.happened(tool.validated(dict(action.args)), key), tool.timeout_s)
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code, and whatever it raises means the same
        trouble = in_words(error, log.redact)
    if trouble:  # raised out here: what the function raised may quote a secret, and would hang on to the error
        raise ConfigError(
            f"whether {action.step} {tool.name} was carried out is not known, and its reconcile function could not"
            f" tell ({trouble}): look, and say --done or --not-done (in_doubt= in Python)"
        )
    if found is None and not over:
        raise ConfigError(f"{action.step} {tool.name}: {STILL_RUNS}")
    return found


def drop(log: RunLog, action: Pending, *, by: str, reason: str) -> None:
    """Take a proposed action out of the queue without carrying it out."""
    log.append(ActionSettled(step=action.step, status="dropped", by=by, message=reason))


def require_at_rest(log: RunLog) -> None:
    """Raise ConfigError while a run is being driven: only its driver may append to its records."""
    if log.state.status is Status.IN_PROGRESS:
        raise ConfigError(f"{log.run} is in progress: wait until it rests, or `%agent resume {log.run}` if it was left")
