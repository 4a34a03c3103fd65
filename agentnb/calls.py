"""One tool call, from its arguments to its recorded outcome: resolve, validate, guard, claim, call in time, settle."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from agentnb.approval import binding
from agentnb.budget import OverBudget, Spent
from agentnb.checks import failed_check, is_empty
from agentnb.decide import kept_back
from agentnb.errors import FailureClass, Interrupted, NotJSON, ToolFailure, message_of
from agentnb.events import (
    ApprovalExpired,
    CallInDoubt,
    CallSimulated,
    DoubtResolved,
    Event,
    GateRaised,
    ReadRepeated,
    RunSuspended,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.failures import Failure, classify, timed_out
from agentnb.log import RunLog
from agentnb.plan import JSON, Step, references
from agentnb.prepared import LONGEST_MESSAGE, Prepared, entry_of, key_of, prepare, prepare_later
from agentnb.redact import Redactor
from agentnb.retry import wait_s
from agentnb.runner import Runner, ended
from agentnb.tools import Tool
from agentnb.values import as_json

__all__ = [
    "NOT_DESCRIBED",
    "STILL_RUNS",
    "Instead",
    "call_tool",
    "described",
    "in_words",
    "look_whether_it_happened",
    "read_again",
    "simulate",
]

SHORTEST_WRITE_S = 10.0
"""Seconds that must be left before a write is begun, or its `timeout_s` where that is less."""
STILL_RUNS: Final = "it was given up and still runs here: until it has ended, nobody can say that it does not happen"
NOT_DESCRIBED: Final = "its describe= gave no sentence"
"""What is recorded where that fails: what it raised may quote anything."""
_DESCRIBED_IN_S: Final = 1.0
"""Seconds after which it is given up."""
LONGEST_WAIT_S: Final = 60.0
"""Seconds that are waited for a failure to pass; where a server asks for more, the call has failed."""


Instead = Callable[[ToolClaimed, Prepared], Iterator[Event]]
"""What makes a claimed call in place of the tool's function; it yields the claim itself, unless that stands."""


def call_tool(
    log: RunLog, tool: Tool, step: Step, run: Runner, sleep: Callable[[float], None], instead: Instead | None = None
) -> Iterator[Event]:
    """Make the step's call and yield what happens; what fails in a way that passes is tried again, after a while.

    A call that may have acted and did not say so (one that timed out, or raised something that does not tell) is left
    claimed: it is in doubt.

    Raises:
        OverBudget: too little time is left; the call was not made.
    """
    call, claim = prepare(log, tool, step), log.state.claim
    begun = claim is not None and not log.state.cleared and tool.facts.acts
    said = ""
    if (
        isinstance(call, Prepared) and claim is None
    ):  # before it is asked whether leave still holds: it may take a while
        said = described(log, tool, call.args, run)
    if isinstance(call, ToolRefused) and begun:  # it may have acted before it was refused
        detail = f"{step.id} {tool.name} may have acted, and is not made again: {'; '.join(call.problems)}"
        yield RunSuspended(reason="in_doubt", detail=detail[: 2 * LONGEST_MESSAGE])
    elif isinstance(call, ToolRefused):
        yield call
    elif raised := _unasked(log, tool, step, call):
        yield raised
    elif _expired(log):
        yield ApprovalExpired(step=step.id)
    elif instead is not None:
        yield from instead(_claim(log, tool, step, call, said, 0), call)
    elif not isinstance(entry := entry_of(log, tool, step, call), int):
        yield entry
    elif tool.breaker.refusal():
        yield _kept_from(log, tool, step)
    elif claim is not None and not log.state.cleared and (short := _too_late(log, tool)):
        yield _cut_short(tool, step, short)
    else:
        claimed = _claim(log, tool, step, call, said, entry)
        yield from _Making(log, tool, step, call, run, sleep).events(claimed, _seconds_left(log, tool))


def _unasked(log: RunLog, tool: Tool, step: Step, call: Prepared) -> GateRaised | None:
    """Why a person has to be asked: none was, or one said yes to less than guards say by now, or to another call."""
    state, asks = log.state, call.ask
    if state.approved and state.approved != binding(log.run, tool.name, call.kept):
        # What its arguments come to rests on more than what they are: on the day, say, or on a type that has changed.
        return GateRaised(step=step.id, reasons=(*asks, "its arguments come to something else than was approved"))
    first = state.claim is None
    more = not set(asks) <= set(state.raised) or (first and bool(asks) and not state.approved)
    return GateRaised(step=step.id, reasons=asks) if more and (first or state.cleared) else None


def _expired(log: RunLog) -> bool:
    """True where leave may run out before the claim is recorded: of a call that is made again as well."""
    state, valid_s = log.state, log.state.head.policy.valid_s
    given = bool(state.approved) if state.claim is None else state.cleared and bool(state.claim.binding)
    return given and log.now() > state.approved_until - min(1.0, valid_s / 10)


def _claim(log: RunLog, tool: Tool, step: Step, call: Prepared, said: str, entry: int) -> ToolClaimed:
    """The claim of the call; the one that there is, counted on, where it is made again."""
    if log.state.claim is not None:
        return replace(log.state.claim, attempt=log.state.claim.attempt + 1)
    key = key_of(log, tool, step, call)
    what = binding(log.run, tool.name, call.kept) if log.state.gated else ""
    return ToolClaimed(
        step=step.id, attempt=1, tool=tool.name, args=call.kept, key=key, binding=what, entry=entry,
        described=said,
    )  # fmt: skip


def described(log: RunLog, tool: Tool, args: Mapping[str, JSON], run: Runner) -> str:
    """The sentence for the audit log, "" of a tool that has none; NOT_DESCRIBED where its `describe` fails."""
    if tool.describe is None:
        return ""
    try:
        said = run(lambda: tool.described(args), _DESCRIBED_IN_S)
    except (KeyboardInterrupt, Interrupted):
        raise
    except BaseException:  # noqa: BLE001 - a user's code; what it raises may quote anything, and hinders no call
        return NOT_DESCRIBED
    # Secrets go before it is cut: of one that the cut goes through, a part would stay that nobody recognises.
    return " ".join(log.redact(said).split())[:LONGEST_MESSAGE].encode("utf-8", "replace").decode() or NOT_DESCRIBED


@dataclass(frozen=True, slots=True)
class _Failed:
    """A call that raised.

    Attributes:
        kind: what that means.
        said: the exception in words.
    """

    kind: Failure
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Making:
    """One prepared call being made, as often as it takes and may."""

    log: RunLog
    tool: Tool
    step: Step
    call: Prepared
    run: Runner
    sleep: Callable[[float], None]

    def events(self, claim: ToolClaimed, left: float) -> Iterator[Event]:
        """What happens; `left` are the seconds that the budget leaves for the first try."""
        first, refreshed = claim.attempt, False
        while True:
            yield claim
            outcome = self._attempt(claim, left)
            if not isinstance(outcome, _Failed):
                yield outcome
                return
            kind = outcome.kind.failure
            stale = kind is FailureClass.STALE_DATA and not refreshed
            wait = self._wait(outcome, claim.attempt - first + 1, stale=stale)
            if wait is None:
                yield _final(self.log, self.tool, self.step, outcome)
                return
            yield ToolRetried(
                step=self.step.id, failure=kind, message=outcome.said, seconds=outcome.seconds, wait_s=wait,
                acted=outcome.kind.acted,
            )  # fmt: skip
            self.sleep(wait)
            if self.log.state.unsure and (short := _too_late(self.log, self.tool)):
                yield _cut_short(self.tool, self.step, short)
                return
            if stale and (broken := self._refresh()):
                yield _final(self.log, self.tool, self.step, replace(outcome, said=broken, seconds=0))
                return
            if (no := self._forbidden()) is not None:
                yield no if self.log.state.cleared else _final(self.log, self.tool, self.step, outcome)
                return
            refreshed, left = refreshed or stale, _seconds_left(self.log, self.tool)
            claim = replace(claim, attempt=claim.attempt + 1)

    def _attempt(self, claim: ToolClaimed, left: float) -> ToolReturned | _Failed:
        """One call of the function, counted by the breaker."""
        log, tool, step = self.log, self.tool, self.step
        if not tool.breaker.begin():  # another run is probing it since
            return _Failed(Failure(FailureClass.TRANSIENT, "no", None), tool.breaker.refusal() or "it is tried", 0)
        again = claim.attempt > 1  # the last one may have altered what it was given
        kwargs = tool.validated(copy.deepcopy(self.call.args)) if again else self.call.kwargs
        began = log.clock.monotonic()
        try:
            value = self.run(lambda: tool.result(kwargs, claim.key), min(tool.timeout_s, left))
            result = log.keep(value)
            gist = log.keep(tool.gist(value)) if tool.extract is not None else None
        except (KeyboardInterrupt, Interrupted):
            tool.breaker.abandoned()
            raise
        except BaseException as error:  # noqa: BLE001 - a tool may raise anything, SystemExit too; all of it is a result
            cut_short = left < tool.timeout_s and timed_out(error)
            return self._failed(error, log.clock.monotonic() - began, cut_short=cut_short)
        tool.breaker.succeeded()
        seconds = log.clock.monotonic() - began
        status: Literal["ok", "empty"] = "empty" if is_empty(value) else "ok"
        return ToolReturned(step=step.id, status=status, seconds=seconds, result=result, gist=gist)

    def _failed(self, error: BaseException, seconds: float, *, cut_short: bool) -> ToolReturned | _Failed:
        """What is left of a try that raised; `cut_short`: this run's budget gave it up, and not its own time."""
        if isinstance(error, NotJSON) and self.tool.facts.acts:  # it has returned, so it has acted
            self.tool.breaker.succeeded()
            said = f"its result is not kept: {error}"
            return ToolReturned(step=self.step.id, status="ok", seconds=seconds, message=said)
        failed = _Failed(classify(error, self.tool.failures), in_words(error, self.log.redact), seconds)
        if failed.kind.failure.worth_retrying and not cut_short:
            self.tool.breaker.failed(failed.said)
        else:
            self.tool.breaker.abandoned()  # the other side answered, or would have: it is the caller's own affair
        return failed

    def _wait(self, failed: _Failed, made: int, *, stale: bool) -> float | None:
        """Seconds until the call may be made again, or None where it may not."""
        kind, tool, log, state = failed.kind, self.tool, self.log, self.log.state
        safe = kind.acted == "no" or tool.facts.repeatable
        passes = kind.failure.worth_retrying and made < tool.tries
        if not safe or not (passes or (stale and tool.refresh is not None)):
            return None
        wait = 0.0 if stale else wait_s(made, kind.retry_after_s)
        cap = state.budget.seconds
        longest = LONGEST_WAIT_S if cap is None else min(LONGEST_WAIT_S, cap - log.now())
        short = state.budget.first_short(state.used(), Spent(tool_calls=1))
        left = state.budget.seconds_left(state.used(), kept_back(state.budget))
        return None if short or wait > longest or left <= failed.seconds + _least_s(tool) else wait

    def _forbidden(self) -> Event | None:
        """Why the call may not be made again as it is: guards look at each try, and leave has its time."""
        call = prepare(self.log, self.tool, self.step)
        if isinstance(call, ToolRefused):
            return call
        if raised := _unasked(self.log, self.tool, self.step, call):
            return raised
        return ApprovalExpired(step=self.step.id) if _expired(self.log) else None

    def _refresh(self) -> str:
        """Let the tool read again what it rests on; what went wrong with that, or ""."""
        try:
            left = _seconds_left(self.log, self.tool)
            self.run(lambda: self.tool.refreshed(self.call.kwargs), min(self.tool.timeout_s, left))
        except (KeyboardInterrupt, Interrupted, OverBudget):
            raise
        except BaseException as error:  # noqa: BLE001 - as of the tool itself
            return f"reading anew failed: {in_words(error, self.log.redact)}"
        return ""


def _final(log: RunLog, tool: Tool, step: Step, failed: _Failed) -> Event:
    """What is left of a call that failed for good: whether it may have acted, in any try, matters more than why."""
    if tool.facts.acts and (failed.kind.acted == "unknown" or log.state.unsure):
        return CallInDoubt(step=step.id, message=failed.said, seconds=failed.seconds)
    return ToolReturned(
        step=step.id, status="failed", seconds=failed.seconds, failure=failed.kind.failure, message=failed.said
    )


def _kept_from(log: RunLog, tool: Tool, step: Step) -> Event:
    """The tool has kept failing and is left alone for a while: that is planned around, unless a call is in doubt."""
    if log.state.claim is not None and tool.facts.acts:
        return RunSuspended(reason="in_doubt", detail=f"{step.id} {tool.name}: {tool.breaker.refusal()}")
    why = f"{tool.name} is not called for now: {tool.breaker.trouble()}"
    return ToolRefused(step=step.id, problems=(why,), by="breaker")


def _cut_short(tool: Tool, step: Step, short: str) -> Event:
    """The call was begun before, which no limit undoes, and there is no time to make it again."""
    said = f"it was cut short, and there is no time to make it again: {short}"
    if tool.facts.acts:
        return RunSuspended(reason="in_doubt", detail=f"{step.id} {tool.name}: {said}; whether it acted is not known")
    return ToolReturned(step=step.id, status="failed", seconds=0, failure=FailureClass.TRANSIENT, message=said)


def look_whether_it_happened(log: RunLog, tool: Tool, step: Step, run: Runner) -> Event | str:
    """What the tool's `reconcile` says of the claimed call; a text where nobody can tell: why.

    Of a call that was given up and still runs it can say that it has happened, and not that it has not: its end is
    waited for first, as long as the tool may take.
    """
    claim = log.state.claim
    if claim is None:
        raise AssertionError("stage CALL has a claim")
    if tool.reconcile is None:
        return "" if ended(claim.key, 0) else STILL_RUNS
    try:
        kwargs = tool.validated(log.value(claim.args))
        over = ended(claim.key, min(tool.timeout_s, _seconds_left(log, tool)))
        left = _seconds_left(log, tool)
        found = run(lambda: tool.happened(kwargs, claim.key), min(tool.timeout_s, left))
        result = log.keep(found)
    except (KeyboardInterrupt, Interrupted):
        raise
    except OverBudget as error:
        return f"there was no time to ask its reconcile function: {error}"
    except BaseException as error:  # noqa: BLE001 - a user's code, and whatever it raises means the same
        return f"its reconcile function could not tell: {in_words(error, log.redact)}"
    if found is None and not over:
        return STILL_RUNS
    if found is None and claim.attempt >= tool.tries:
        said = f"it did not happen in {claim.attempt} tries: {log.state.doubt or 'its outcome was not known'}"
        return ToolReturned(step=step.id, status="failed", seconds=0, failure=FailureClass.TRANSIENT, message=said)
    happened = found is not None
    return DoubtResolved(step=step.id, happened=happened, by="reconcile", result=result if happened else None)


def read_again(log: RunLog, tool: Tool, read: Step, run: Runner) -> Iterator[Event]:
    """Make a read of an execution once more; where it does not give what it gave, the present call is not made.

    Raises:
        OverBudget: too little time is left.
    """
    call, present = prepare_later(log, tool, read), log.state.step
    if present is None or read.check is None:
        raise AssertionError("a call of an execution waits for its reads, which have checks")
    began, result = log.clock.monotonic(), None
    try:
        if isinstance(call, ToolRefused):
            problem = "; ".join(call.problems)
        else:
            kwargs, key = call.kwargs, f"{key_of(log, tool, read, call)}/again"
            value = run(lambda: tool.result(kwargs, key), min(tool.timeout_s, _seconds_left(log, tool)))
            result = log.keep(value)
            problem = failed_check(read.check, log.value(result)) or ""  # as the first reading was kept
    except (KeyboardInterrupt, Interrupted, OverBudget):
        raise
    except BaseException as error:  # noqa: BLE001 - as of any call
        problem = f"it could not be read again: {in_words(error, log.redact)}"
    yield ReadRepeated(step=read.id, seconds=log.clock.monotonic() - began, result=result, problem=problem)
    if problem:
        why = f"{read.id} {read.title or read.tool}: {problem}"
        yield ToolRefused(step=present.id, problems=(why,), by="read")


def simulate(log: RunLog, tool: Tool, step: Step, run: Runner) -> Event:
    """In a dry run: what the present step's call would do, and who would be asked before it."""
    call = prepare(log, tool, step)
    if isinstance(call, ToolRefused):
        return call
    try:
        value = run(lambda: as_json(tool.simulated(call.kwargs)), min(tool.timeout_s, _seconds_left(log, tool)))
        result = log.keep(value)
    except (KeyboardInterrupt, Interrupted, OverBudget):
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code, and whatever it raises means the same
        return ToolRefused(step=step.id, problems=(f"its simulation failed: {in_words(error, log.redact)}",))
    state = log.state
    policy = ("the policy asks",) if state.asked_about(step) else ()
    if tool.effect == "destructive":
        policy = ("it is destructive: a person carries it out",)
    gate = (*policy, *call.ask, *state.taint)
    # Where a part of an argument was only simulated, its place has to be found again in what the plan says: see dryrun.
    args = {name: call.given[name] if _refers(step.args.get(name)) else value for name, value in call.args.items()}
    return CallSimulated(
        step=step.id, tool=tool.name, args=log.keep(args), result=result, gate=gate,
        described=described(log, tool, call.args, run),
    )  # fmt: skip


def _refers(planned: JSON) -> bool:
    """True of a list or an object that refers to results of earlier steps."""
    return not isinstance(planned, str) and bool(references(planned))


def _least_s(tool: Tool) -> float:
    return min(tool.timeout_s, SHORTEST_WRITE_S) if tool.facts.acts else 0


def _seconds_left(log: RunLog, tool: Tool) -> float:
    """Seconds that the budget leaves for a call; a write is not begun where it could be cut short half-way.

    Raises:
        OverBudget: there are not enough.
    """
    if log.clock.stopped:
        return math.inf
    budget, used, keep = log.state.budget, log.state.used(), kept_back(log.state.budget)
    left = budget.seconds_left(used, keep)
    needed = _least_s(tool)
    if left <= needed:
        raise OverBudget(budget.shortest(used, keep, needed))
    return left


def _too_late(log: RunLog, tool: Tool) -> str:
    """Why there is no time for a call, or ""."""
    try:
        _seconds_left(log, tool)
    except OverBudget as error:
        return str(error)
    return ""


def in_words(error: BaseException, redact: Redactor) -> str:
    """What an exception says, short enough for a record and with its type where it is not one of ours.

    Secrets go first: of one that the cut goes through, a part would stay that nobody recognises.
    """
    text = message_of(error)
    said = (
        text if isinstance(error, (ToolFailure, NotJSON)) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    )
    return redact(said)[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()
