"""What waits for a person's hand in a run: calls that need leave, and destructive actions that were proposed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agentnb.assess_changes import missing_of
from agentnb.log import RunLog
from agentnb.plan import JSON
from agentnb.state import Queued, RunState, Status

__all__ = ["Pending", "asked_now", "number_of", "pending_of"]


@dataclass(frozen=True, slots=True)
class Pending:
    """One thing that waits.

    Attributes:
        number: that of its step, 7 of "s7": what `approve`, `reject`, `execute` and `discard` take. It stays the same
            for as long as the thing waits, whatever else is settled meanwhile.
        kind: "approval" of a call that the loop would make, a "question" what one rests on, a "doubt" whether one that
            it began has happened, or a destructive "action" that it will not make.
        run: the run's id.
        step: the step's id.
        title: what the step is for.
        tool: the tool's name.
        args: its arguments.
        reasons: what whoever decides should know.
        in_doubt: why it is not known whether the call or the action was carried out; "" where it was not begun.
    """

    number: int
    kind: Literal["approval", "question", "doubt", "action"]
    run: str
    step: str
    title: str
    tool: str
    args: Mapping[str, JSON]
    reasons: tuple[str, ...] = ()
    in_doubt: str = ""

    def __str__(self) -> str:
        args = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.args.items())
        doubt = f" (in doubt: {self.in_doubt})" if self.in_doubt else ""
        return f"{self.number}. {self.kind} {self.step}: {self.tool}({args}){doubt}"


def asked_now(state: RunState) -> bool:
    """True where a person's answer is waited for, by a run that rests or by one that is being driven."""
    waits = state.status is Status.AWAITING_APPROVAL or state.status is Status.IN_PROGRESS
    return waits and state.approval is not None and not state.approved


def number_of(step: str) -> int:
    """What a person calls a thing that waits by: the number of its step, which no other one has."""
    return int(step[1:])


def pending_of(log: RunLog) -> tuple[Pending, ...]:
    """All that waits in the run, the question that is asked now first."""
    state, found = log.state, []
    titles = {step.id: step.title for step in state.plan.steps} if state.plan else {}
    if asked_now(state) and state.approval is not None:
        asked = state.approval
        own = state.step.ask if state.step else ""
        reasons = (*state.raised, *filter(None, (own,)), *state.taint)
        found.append((asked.step, asked.tool, asked.args, reasons))
        found += [(other.step, other.tool, other.args, other.reasons) for other in asked.others]
    calls = [
        Pending(number_of(step), "approval", log.run, step, titles.get(step, ""), tool, log.value(args), why)
        for step, tool, args, why in found
    ]
    calls += _questions(log, titles)
    calls += _doubts(log, titles)  # never beside a question
    return (*calls, *(_action(log, item, titles) for item in state.queue if item.settled is None))


def _questions(log: RunLog, titles: Mapping[str, str]) -> list[Pending]:
    """What a person is asked that the call which comes next rests on."""
    asked = log.state.asks
    if asked is None:
        return []
    number, missing = number_of(asked.step), tuple(missing_of(gap) for gap in asked.gaps)
    args = log.value(asked.args)
    return [Pending(number, "question", log.run, asked.step, titles.get(asked.step, ""), asked.tool, args, missing)]


def _doubts(log: RunLog, titles: Mapping[str, str]) -> list[Pending]:
    """The call of a run that rests or was cancelled, where only somebody who looks can tell whether it happened."""
    state, claim = log.state, log.state.claim
    if claim is None or state.cleared or state.status is Status.IN_PROGRESS:
        return []
    if state.status.ended and not state.may_have_acted:
        return []
    if state.head.tools[claim.tool].repeatable and not state.given_up and not state.status.ended:
        return []  # it is simply made again
    why = state.doubt or "it was begun, and how it ended is not known"
    args = log.value(claim.args)
    number, title = number_of(claim.step), titles.get(claim.step, "")
    return [Pending(number, "doubt", log.run, claim.step, title, claim.tool, args, (), why)]


def _action(log: RunLog, item: Queued, titles: Mapping[str, str]) -> Pending:
    action = item.action
    doubt = (item.doubt or "it was begun, and how it ended is not known") if item.claimed else ""
    number, title = number_of(action.step), titles.get(action.step, "")
    args = log.value(action.args)
    return Pending(number, "action", log.run, action.step, title, action.tool, args, action.reasons, doubt)
