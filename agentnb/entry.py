"""What the index holds of one run: its records taken in one by one, and the rows that they come to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

from agentnb.alerts import TASK_TYPE
from agentnb.cost import Cost, Used
from agentnb.events import (
    ActionProposed,
    ApprovalAsked,
    CallInDoubt,
    Kept,
    LimitReached,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    QuestionAsked,
    Record,
    ReplyRejected,
    RunForked,
    RunStarted,
    RunSuspended,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.malformed import Malformed
from agentnb.pending import asked_now
from agentnb.said import said
from agentnb.span import Span
from agentnb.spans import Spans
from agentnb.state import NEW, RunState, Stage, Status
from agentnb.transitions import apply

__all__ = ["USED", "CallRow", "Entry", "Kind", "LineRow", "Part", "RunRow"]

_LONGEST: Final = 2000
"""Characters of one text or value that are searched."""
_SLOW: Final = re.compile(r"longer than|time(d|s)?[ -]?out|no complete answer within", re.IGNORECASE)
USED: Final = tuple(f.name for f in fields(Used))
"""The amounts of a `LineRow`."""
_OPS: Final = ("chat", "execute_tool", "wait")
_NEAR: Final = 8
"""Spans at the end, among which a reply's is that was just found to be of no use."""
_PHASES: Final = {Stage.PLAN: "plan", Stage.JUDGE: "critique", Stage.ANSWER: "answer"}
"""The stages at which a limit holds back a model call; at the others it is a tool's."""


class RunRow(NamedTuple):
    """One run in numbers; times in seconds since 1970, None where there is nothing to tell."""

    run: str
    upto: int
    """Its last record."""
    parent: str
    agent: str
    task: str
    task_type: str
    tags: str
    """As a JSON object."""
    model: str
    status: str
    reason: str
    ended: int
    dry: int
    started: float
    at: float
    seconds: float | None
    """On its clock; None where that stood still."""
    working_seconds: float
    usd: float
    tokens: int
    input_tokens: int
    output_tokens: int
    unpriced: int
    steps: int
    planned: int
    retries: int
    asked: int
    """How often a person was asked, or was needed."""
    waits: str
    waits_since: float | None
    problem: str
    """Why it cannot be read; "" where it can."""


class Kind(NamedTuple):
    """What calls have in common: a few dozen of these stand for millions of calls."""

    op: str
    """"chat", "execute_tool" or "wait", as of `Span`."""
    phase: str
    tool: str
    model: str
    status: str
    failure: str
    slow: int
    """1 where it failed because it took too long."""
    again: int
    """1 where it made another one again."""
    cached: int


class CallRow(NamedTuple):
    """One call of a model or a tool, or a wait for a person."""

    seq: int
    kind: Kind
    seconds: float | None
    """How long it took; None where it has not ended, or was not made."""


class LineRow(NamedTuple):
    """What a phase has used of a model: the fields of `cost.Used` in their order."""

    phase: str
    model: str
    used: tuple[float, ...]


class Part(NamedTuple):
    """What one record says, to be searched."""

    seq: int
    at: float
    step: str
    kind: str
    text: str


@dataclass(slots=True)
class Entry:
    """A run, as far as its records were taken in.

    Attributes:
        run: its id.
        value: gives the JSON text of a value kept aside.
        state: the fold of its records.
    """

    run: str
    value: Callable[[str], str]
    state: RunState = NEW
    _spans: Spans = field(default_factory=Spans)
    _malformed: Malformed = field(default_factory=Malformed)
    _parts: list[Part] = field(default_factory=list)
    _extra: list[CallRow] = field(default_factory=list)
    """Calls that no span tells of: refused, or held back by a limit."""
    _intent: dict[str, int] = field(default_factory=dict)
    """The record that began the call under way, by what it is of."""
    _took: dict[int, float] = field(default_factory=dict)
    """How long each call took, by the record that began it."""
    _open: set[int] = field(default_factory=set)
    """Places of spans that went on, or have changed since, when they were looked at last."""
    _unusable: set[int] = field(default_factory=set)
    """Model calls, by the record that began each, whose reply could not be used."""
    _seen: int = 0
    _asked: int = 0
    _since: dict[str, float] = field(default_factory=dict)
    """Since when something waits, by what."""
    _started: float = 0.0

    def add(self, record: Record) -> None:
        """Take in the next record."""
        event = record.event
        if isinstance(event, (ToolRefused, LimitReached)):  # in the state before it: whose call it was
            self._extra.append(self._held_back(record, event))
        self.state = apply(self.state, record)
        self._spans.add(record)
        self._malformed.add(event)
        self._count(record)
        if texts := said(event):
            text = " · ".join(self._text(one) for one in texts)
            self._parts.append(Part(record.seq, record.at, getattr(event, "step", ""), event.kind, text))

    def _count(self, record: Record) -> None:  # noqa: C901 - a table, one case a kind
        event = record.event
        match event:
            case ModelAsked() | ModelCached():
                self._intent["chat"] = record.seq
            case ReplyRejected():
                self._unusable.add(self._intent.get("chat", -1))
                self._open |= self._places(self._intent.get("chat", -1))
            case ToolClaimed():
                self._intent["tool"] = record.seq
            case ModelReplied() | ModelFailed():
                self._took[self._intent.get("chat", -1)] = event.seconds
            case ToolReturned() | ToolRetried() | CallInDoubt():
                self._took[self._intent.get("tool", -1)] = event.seconds
            case ApprovalAsked() | QuestionAsked():
                self._asked += 1
                self._since["asked"] = record.at
            case RunSuspended():
                self._asked += event.reason in ("in_doubt", "malformed_output")
                self._since["rests"] = record.at
            case ActionProposed():
                self._asked += 1
                self._since[event.step] = record.at
            case RunStarted():
                self._started = record.at
            case RunForked():  # what came before is another run's, and is told there; but for the task
                del self._parts[1:]
                self._extra.clear()
                self._took.clear()
                self._asked, self._started = 0, record.at
            case _:
                pass

    def _text(self, of: str | Kept) -> str:
        text = of if isinstance(of, str) else of.text if of.text is not None else self.value(of.blob or "")
        return text[:_LONGEST]

    def _held_back(self, record: Record, event: ToolRefused | LimitReached) -> CallRow:
        stage, tool = self.state.stage, self.state.step.tool if self.state.step else ""
        if isinstance(event, ToolRefused):
            return _none_made(record.seq, "execute_tool", "refused", tool=tool)
        if phase := _PHASES.get(stage):
            return _none_made(record.seq, "chat", "limit", phase=phase)
        return _none_made(record.seq, "execute_tool", "limit", tool=tool)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """What its records say that were taken in since this was asked last."""
        parts, self._parts = self._parts, []
        return parts

    def calls(self) -> Iterator[CallRow]:
        """The calls that were not told yet, or have changed since they were."""
        extra, self._extra = self._extra, []
        yield from extra
        places = sorted({*self._open, *range(self._seen, len(self._spans.all))})
        self._seen = len(self._spans.all)
        self._open = {place for place in places if self._spans.all[place].open}
        for place in places:
            span = self._spans.all[place]
            if span.op in _OPS and not span.shared:
                yield self._call(span)

    def _places(self, seq: int) -> set[int]:
        """Where the span is that record `seq` began: among the last ones, if it is there."""
        spans = self._spans.all
        return {place for place in range(max(0, len(spans) - _NEAR), len(spans)) if spans[place].seq == seq}

    def _call(self, span: Span) -> CallRow:
        seconds = self._took.get(span.seq)
        if span.op == "wait":
            seconds = None if span.open else span.seconds
        by_hand = next((item.action.tool for item in self.state.queue if item.action.step == span.step), "")
        status = "malformed" if span.seq in self._unusable else span.status
        slow = span.status == "failed" and bool(_SLOW.search(span.text))
        kind = Kind(
            span.op, span.phase, span.tool or by_hand, span.model, status, span.failure, int(slow),
            int(span.attempt > 1), int(span.cached),
        )  # fmt: skip
        return CallRow(span.seq, kind, seconds)

    def lines(self) -> list[LineRow]:
        """What each phase has used of each model."""
        return [
            LineRow(line.phase, line.model, tuple(getattr(line.used, name) for name in USED))
            for line in self.state.costs
        ]

    def rates(self) -> list[tuple[str, int, int, int, int]]:
        """(model, replies, of those rejected, those to a simplified request, times a person was asked)."""
        return [(name, it.asked, it.same, it.simpler, it.person) for name, it in self._malformed.rates.items()]

    def row(self) -> RunRow:
        """The run as it is now."""
        state, spent, head = self.state, self.state.spent, self.state.head
        retries = sum(span.attempt > 1 and not span.shared for span in self._spans.all if span.op in _OPS)
        end = state.finished.reason if state.finished else state.suspended.reason if state.suspended else ""
        waits, since = self._waits()
        return RunRow(
            self.run, state.seq, head.parent, head.agent, head.task[:_LONGEST], head.tags.get(TASK_TYPE, ""),
            json.dumps(dict(head.tags), ensure_ascii=False), head.model, str(state.status), end,
            int(state.status.ended), int(head.dry), self._started, state.at, state.t or None, spent.working_seconds,
            spent.usd, spent.tokens, spent.input_tokens, spent.output_tokens, Cost(state.costs).total.unpriced,
            len(state.outcomes), len(state.plan.steps) if state.plan else 0, retries, self._asked, waits, since, "",
        )  # fmt: skip

    def damaged(self, upto: int, problem: str) -> RunRow:
        """The run, of which not all can be read."""
        if self.state.started is not None:
            return self.row()._replace(
                upto=upto, status="unreadable", ended=0, waits="", waits_since=None, problem=problem
            )
        return RunRow(
            self.run, upto, "", "", "", "", "{}", "", "unreadable", "", 0, 0, 0.0, 0.0, None, 0.0, 0.0, 0, 0, 0, 0, 0,
            0, 0, 0, "", None, problem,
        )  # fmt: skip

    def _waits(self) -> tuple[str, float | None]:
        """What waits for a person now, in a few words, and since when; ("", None) where nothing does."""
        state = self.state
        if asked_now(state) and state.approval is not None:
            return f"approval {state.approval.step} {state.approval.tool}", self._since.get("asked")
        if state.asks is not None:
            return f"question {state.asks.step} {state.asks.tool}", self._since.get("asked")
        rests = state.suspended
        if rests is not None and rests.reason in ("in_doubt", "malformed_output"):
            return rests.reason.replace("_", " "), self._since.get("rests")
        left = [item.action for item in state.queue if item.settled is None]
        if left and state.status is not Status.CANCELLED:
            what = f"action {left[0].step} {left[0].tool}" if len(left) == 1 else f"{len(left)} actions"
            return what, self._since.get(left[0].step)
        return "", None


def _none_made(seq: int, op: str, status: str, *, phase: str = "", tool: str = "") -> CallRow:
    return CallRow(seq, Kind(op, phase, tool, "", status, "", 0, 0, 0), None)
