"""What a run did, and for how long: spans, in the terms of OpenTelemetry, from its records alone.

A span begins with one record and ends with another: an intent and its outcome. What happens at one moment (a decision,
a limit, a refusal) is a span without length. A record never holds a prompt: see `retold`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    AlertFailed,
    AlertRaised,
    ApprovalAnswered,
    ApprovalAsked,
    BudgetExtended,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    Event,
    LimitReached,
    MemorySummarised,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    ReadRepeated,
    Record,
    RunFinished,
    RunForked,
    RunImported,
    RunResumed,
    RunRetried,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.moments import moment_of
from agentnb.span import Op, Span

__all__ = ["Spans", "spans_of"]

_GROUPS: Final[dict[str, Op]] = {"plan": "plan", "summarise": "summarise", "answer": "answer"}
"""The phases that are no part of a step."""

_Called = ToolClaimed | ToolReturned | ToolRetried | CallInDoubt | DoubtResolved | ReadRepeated

_OF_THE_RUN: Final = (
    RunSuspended, RunResumed, RunForked, RunFinished, RunImported, RunRetried, ActionClaimed, ActionSettled,
    AlertRaised, AlertFailed, BudgetExtended, LimitReached,
)  # fmt: skip
"""Events that begin no step and no phase, whatever they name."""


@dataclass(slots=True)
class Spans:
    """A run's records taken in one by one.

    Attributes:
        bare: True shows no clock: time passes in model calls alone, as long as they are recorded to have taken, so that
            one replay gives what the next one gives.
        all: the spans so far, in the order in which they began.
    """

    bare: bool = False
    all: list[Span] = field(default_factory=list)
    _run: str = ""
    _now: float = 0.0
    _at: float = 0.0
    _group: tuple[str, int] | None = None
    """What the present group is of, and its place in `all`."""
    _leaf: dict[str, int] = field(default_factory=dict)
    """Places of the spans that go on, by what they are of."""
    _plans: int = 0
    _steps: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The tool and the title of each step of the plan."""
    _failed: tuple[int, float, float] | None = None
    """The record, and the two clocks, of a failure after which the same may be tried again."""

    def add(self, record: Record) -> None:
        """Take in the next record."""
        event = record.event
        worked = event.seconds if isinstance(event, (ModelReplied, ModelFailed)) else 0.0
        self._now = self._now + worked if self.bare else record.t
        self._at = 0.0 if self.bare else record.at
        if isinstance(event, RunStarted):
            self._run = event.run
            self._begin(record, "invoke_agent", event.agent or "run", None, model=event.model, text=event.task)
            return
        self._enter(record)
        self._take(record)

    # --- groups -------------------------------------------------------------------------------------------------------

    def _enter(self, record: Record) -> None:
        """Be in the group that the record belongs to: a step, planning, the answer."""
        event = record.event
        if isinstance(event, _OF_THE_RUN):
            return
        step: str = getattr(event, "step", "")
        phase: str = getattr(event, "phase", "")
        name = f"v{self._plans} {step}" if step else _GROUPS.get(phase, "")
        if isinstance(event, PlanMade):
            name = "plan"
        elif isinstance(event, MemorySummarised):
            name = "summarise"
        if not name or (self._group and self._group[0] == name):
            return
        self._leave()
        op = _GROUPS.get(name, "step")
        tool, title = self._steps.get(step, ("", ""))
        said = f"{step} {tool}".rstrip() if step else f"plan {self._plans + 1}" if op == "plan" else op
        self._group = name, self._begin(record, op, said, 0, step=step, tool=tool, text=title)

    def _leave(self) -> None:
        """The present group is over, with the last thing that was done in it."""
        if self._group is not None:
            place = self._group[1]
            status = "ok" if self.all[place].status == "open" else self.all[place].status
            parts = (span.end for span in self.all[place + 1 :] if span.parent == place)
            ended = max((end for end in parts if end is not None), default=self.all[place].start)
            self.all[place] = replace(self.all[place], end=ended, status=status)
        self._group = None

    def _mark(self, status: str) -> None:
        """Say of the present group how it stands."""
        if self._group is not None:
            self.all[self._group[1]] = replace(self.all[self._group[1]], status=status)

    # --- spans --------------------------------------------------------------------------------------------------------

    def _begin(self, record: Record, op: Op, name: str, parent: int | None = -1, **rest: Any) -> int:
        """A new span; inside the present group, where no parent is said. Returns its place."""
        if parent == -1:
            parent = self._group[1] if self._group else 0
        begun = Span(run=self._run, id=len(self.all), parent=parent, seq=record.seq, op=op, name=name)
        self.all.append(replace(begun, at=self._at, start=self._now, **rest))
        return len(self.all) - 1

    def _open(self, role: str, place: int) -> None:
        self._leaf[role] = place

    def _close(self, role: str, status: str, **rest: Any) -> None:
        """The span of that role ends now."""
        place = self._leaf.pop(role, None)
        if place is not None:
            self.all[place] = replace(self.all[place], end=self._now, status=status, **rest)

    def _moment(self, record: Record, name: str, text: str = "", status: str = "ok", **rest: Any) -> None:
        """What happens at one moment."""
        place = self._begin(record, "decision", name, text=text, **rest)
        self.all[place] = replace(self.all[place], end=self._now, status=status)

    def _take(self, record: Record) -> None:
        event = record.event
        match event:
            case ModelAsked() | ModelReplied() | ModelFailed() | ModelCached():
                self._asked(record, event)
            case ToolClaimed() | ToolReturned() | ToolRetried() | CallInDoubt() | DoubtResolved() | ReadRepeated():
                self._called(record, event)
            case ToolRefused() | EarlierResult() | CallSimulated() | ActionProposed():
                self._uncalled(record, event)
            case ApprovalAsked() | ApprovalAnswered() | QuestionAsked() | QuestionAnswered():
                self._put_to_a_person(record, event)
            case ChildStarted() | ChildSettled() | ActionClaimed() | ActionSettled():
                self._outside(record, event)
            case RunSuspended() | RunResumed() | RunForked() | RunFinished():
                self._driven(record, event)
            case _:
                self._decided(record, event)

    def _asked(self, record: Record, event: ModelAsked | ModelReplied | ModelFailed | ModelCached) -> None:
        match event:
            case ModelAsked():
                self._waited(event.attempt, event.step)
                place = self._begin(
                    record, "chat", event.phase, step=event.step, phase=event.phase, attempt=event.attempt,
                    model=event.model, key=event.key, usd=event.reserved.usd,
                )  # fmt: skip
                self._open("chat", place)
            case ModelReplied(usage=usage):
                self._close(
                    "chat", "ok" if event.stop == "end" else event.stop, usd=event.usd, result=event.text,
                    input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
                    cached_tokens=usage.cache_read_tokens,
                )  # fmt: skip
            case ModelFailed():
                rest: dict[str, float] = {"usd": 0.0} if event.unbilled else {}
                self._close("chat", "failed", failure=event.failure.value, text=event.message, **rest)
                self._failed = record.seq, self._now, self._at
            case ModelCached(usage=usage):
                place = self._begin(
                    record, "chat", event.phase, step=event.step, phase=event.phase, model=event.model, key=event.key,
                    cached=True, saved_usd=event.saved_usd, result=event.text, input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                )  # fmt: skip
                self.all[place] = replace(self.all[place], end=self._now, status="ok")

    def _called(self, record: Record, event: _Called) -> None:
        match event:
            case ToolClaimed():
                self._end("tool", "lost")
                self._waited(event.attempt, event.step)
                place = self._begin(
                    record, "execute_tool", event.tool, step=event.step, attempt=event.attempt, tool=event.tool,
                    args=event.args, key=event.key,
                )  # fmt: skip
                self._open("tool", place)
            case ToolReturned():
                failure = event.failure.value if event.failure else ""
                self._close("tool", event.status, result=event.result, failure=failure, text=event.message)
                self._mark(event.status)
            case ToolRetried():
                self._close("tool", "failed", failure=event.failure.value, text=event.message)
                self._failed = record.seq, self._now, self._at
            case CallInDoubt():
                self._close("tool", "in_doubt", text=event.message)
                self._mark("in_doubt")
            case DoubtResolved():
                said = "happened" if event.happened else "did not happen"
                self._end("tool", "in_doubt")
                self._moment(record, said, event.reason, step=event.step, by=event.by, result=event.result)
            case ReadRepeated():
                status = "failed" if event.problem else "ok"
                self._moment(record, "read again", event.problem, status, step=event.step, result=event.result)

    def _uncalled(self, record: Record, event: ToolRefused | EarlierResult | CallSimulated | ActionProposed) -> None:
        """A step whose call was not made here, and why."""
        match event:
            case ToolRefused():
                self._moment(record, "refused", "; ".join(event.problems), "refused", step=event.step, by=event.by)
                self._mark("refused")
            case EarlierResult():
                said = f"done before, by {event.run} ({event.at_step})"
                self._moment(record, "done before", said, step=event.step, key=event.key, result=event.result)
            case CallSimulated() | ActionProposed():
                status = "simulated" if isinstance(event, CallSimulated) else "proposed"
                result = event.result if isinstance(event, CallSimulated) else None
                reasons = event.gate if isinstance(event, CallSimulated) else event.reasons
                place = self._begin(
                    record, "execute_tool", event.tool, step=event.step, tool=event.tool, args=event.args,
                    result=result, text="; ".join(reasons),
                )  # fmt: skip
                self.all[place] = replace(self.all[place], end=self._now, status=status)
                self._mark(status)

    def _put_to_a_person(
        self, record: Record, event: ApprovalAsked | ApprovalAnswered | QuestionAsked | QuestionAnswered
    ) -> None:
        match event:
            case ApprovalAsked():
                self._end("wait", "lost")
                self._open(
                    "wait", self._begin(record, "wait", "approval", step=event.step, tool=event.tool, args=event.args)
                )
            case QuestionAsked():
                said = "; ".join(gap.text for gap in event.gaps)
                self._end("wait", "lost")
                place = self._begin(
                    record, "wait", "question", step=event.step, tool=event.tool, args=event.args, text=said
                )
                self._open("wait", place)
            case ApprovalAnswered(earlier=True):
                self._moment(record, "approval", event.reason, event.decision, step=event.step, by=event.by)
            case ApprovalAnswered():
                self._close("wait", event.decision, by=event.by, text=event.reason)
            case QuestionAnswered():
                self._close("wait", event.decision, by=event.by, text=event.text)

    def _outside(self, record: Record, event: ChildStarted | ChildSettled | ActionClaimed | ActionSettled) -> None:
        """Runs inside this one, and actions that a person carries out when the loop is over."""
        match event:
            case ChildStarted():
                parent = self._leaf.get("tool", -1)
                place = self._begin(record, "invoke_agent", event.agent, parent, step=event.step, child=event.child)
                self._open(event.child, place)
            case ChildSettled(spent=spent):
                self._close(
                    event.child, event.status, text=event.reason, usd=spent.usd, input_tokens=spent.input_tokens,
                    output_tokens=spent.output_tokens,
                )  # fmt: skip
            case ActionClaimed():
                name = f"{event.step} by hand"
                place = self._begin(record, "execute_tool", name, 0, step=event.step, key=event.key, by=event.by)
                self._open(f"action {event.step}", place)
            case ActionSettled():
                if f"action {event.step}" in self._leaf:
                    self._close(f"action {event.step}", event.status, text=event.message, result=event.result)
                else:
                    self._moment(record, event.status, event.message, event.status, step=event.step, by=event.by)

    def _driven(self, record: Record, event: RunSuspended | RunResumed | RunForked | RunFinished) -> None:
        match event:
            case RunSuspended():
                if event.withdrawn:
                    self._end("chat", "withdrawn", usd=0.0)
                self._open("rest", self._begin(record, "rest", event.reason, 0, text=event.detail))
                self._end_root(None, "suspended")
            case RunResumed():
                self._end("rest", "ok")
                self._end("chat", "lost")
                self._end_root(None, "open")
            case RunForked():
                self._leave()
                self.all = [
                    replace(span, shared=True, usd=0.0, saved_usd=0.0) if span.parent is not None else span
                    for span in self.all
                ]
                self._moment(record, "forked", f"from {event.origin} at {event.at}", parent=0)
                self._steps |= {step.id: (step.tool, step.title) for step in event.steps or ()}
            case RunFinished():
                self._leave()
                self._end("rest", "ok")
                self._end_root(self._now, event.status)
                self._moment(record, event.reason, event.detail, event.status, parent=0, by=event.by)

    def _decided(self, record: Record, event: Event) -> None:
        """Everything else happens at one moment."""
        step: str = getattr(event, "step", "")
        name, text, status, by = moment_of(event)
        self._moment(record, name, text, status, step=step, by=by)
        match event:
            case PlanMade(steps=steps):
                self._plans += 1
                self._steps |= {step.id: (step.tool, step.title) for step in steps}
                self._mark("ok")
                self._leave()
            case StepJudged(verdict=verdict):
                if verdict != "continue":
                    self._mark("failed")
            case BudgetExtended():
                self._end_root(None, "open")

    def _waited(self, attempt: int, step: str) -> None:
        """Between a failure and the next try lies a wait."""
        if self._failed is not None and attempt > 1:
            seq, start, at = self._failed
            parent = self._group[1] if self._group else 0
            begun = Span(run=self._run, id=len(self.all), parent=parent, seq=seq, op="backoff", name="backoff")
            self.all.append(replace(begun, step=step, at=at, start=start, end=self._now, status="ok"))
        self._failed = None

    def _end(self, role: str, status: str, **rest: Any) -> None:
        """End the span of that role, if one goes on."""
        if role in self._leaf:
            self._close(role, status, **rest)

    def _end_root(self, end: float | None, status: str) -> None:
        self.all[0] = replace(self.all[0], end=end, status=status)


def spans_of(records: Iterable[Record], *, bare: bool = False) -> tuple[Span, ...]:
    """The spans of a run with these records, in the order in which they began; `bare` as of `Spans`."""
    taken = Spans(bare=bare)
    for record in records:
        taken.add(record)
    return tuple(taken.all)
