"""What a person is shown of a run, as plain values: one fold of its records, for the live panel and for what stays."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from agentnb.budget import Spent, amount
from agentnb.decide import KEPT_MOST, MAX_ATTEMPTS
from agentnb.events import (
    ApprovalAnswered,
    Event,
    LimitReached,
    ModelAsked,
    ModelCached,
    ModelFailed,
    ModelReplied,
    PlanMade,
    Record,
    RunResumed,
    RunSuspended,
    StepJudged,
    ToolReturned,
)
from agentnb.plan import Step
from agentnb.state import NEW, RunState, Stage, Status, apply

__all__ = ["Gauge", "PhaseCost", "StepLine", "Summary", "Tally", "summarise"]

Mark = Literal["done", "empty", "failed", "running", "waiting", "todo"]


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of the plan.

    Attributes:
        call: the tool with its argument names, "query(sql)".
        mark: its state.
        note: what is worth a few words: "16 rows", "retry 2 of 3: no such column", "asks you first".
        finding: what the critic learned from it.
        seconds: in model and tool calls, or None where times are not shown.
        usd: of its model calls.
    """

    id: str
    title: str
    call: str
    mark: Mark
    note: str = ""
    finding: str = ""
    seconds: float | None = None
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cap: what is used, what is reserved on top, and the cap, in the unit of its name in `Budget`."""

    limit: str
    used: float
    reserved: float
    cap: float


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """What one phase of the run used: plan, bind, critique or answer."""

    phase: str
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as a person sees it.

    Attributes:
        bare: True leaves out what differs from one replay to the next: the id, the store and all times.
        reason: the stop reason in words, "" where it completed or still runs.
        now: what it is doing, while it runs.
        next: what to do next, as a line to type; "" where there is nothing to do.
        revisions: why the plan was changed, one sentence for each time.
        decisions: who decided what about which step.
    """

    run: str
    status: Status
    task: str
    models: tuple[str, ...]
    reason: str
    detail: str
    output: str
    confidence: str
    unknowns: tuple[str, ...]
    steps: tuple[StepLine, ...]
    gauges: tuple[Gauge, ...]
    phases: tuple[PhaseCost, ...]
    revisions: tuple[str, ...]
    decisions: tuple[str, ...]
    spent: Spent
    saved_usd: float
    saved_tokens: int
    now: str
    next: str
    bare: bool = False


@dataclass(slots=True)
class Tally:
    """A run's records taken in one by one; what the state does not keep, because no decision rests on it.

    Attributes:
        bare: see `Summary`.
        state: the fold so far.
    """

    bare: bool = False
    state: RunState = NEW
    _phases: dict[str, PhaseCost] = field(default_factory=dict)
    _usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _notes: dict[str, str] = field(default_factory=dict)
    _faulted: set[str] = field(default_factory=set)
    _revisions: list[str] = field(default_factory=list)
    _decisions: list[str] = field(default_factory=list)
    _asked: ModelAsked | None = None

    def add(self, record: Record) -> None:
        """Take in the next record."""
        self.state = apply(self.state, record)
        self._note(record.event)

    def _note(self, event: Event) -> None:  # noqa: C901 - a table, one case a kind
        match event:
            case ModelAsked():
                self._asked = event
            case ModelReplied(usage=usage) if self._asked:
                self._charge(self._asked, usage.input_tokens + usage.output_tokens, event.usd, event.seconds)
            case ModelFailed() if self._asked:
                held = self._asked.reserved
                self._charge(self._asked, *((0, 0.0) if event.unbilled else (held.tokens, held.usd)), event.seconds)
            case RunSuspended(withdrawn=True):
                self._asked = None  # announced and not sent
            case RunResumed() if self._asked:  # lost with its process: it may have been billed, and stays charged
                held = self._asked.reserved
                self._charge(self._asked, held.tokens, held.usd, 0)
            case ModelCached(phase=phase):
                self._phases.setdefault(phase, PhaseCost(phase))
            case ToolReturned(step=step):
                self._seconds[step] += event.seconds
                self._notes[step] = _size(event)
            case StepJudged(step=step, verdict="retry"):
                self._notes[step] = f"retry {self.state.attempt - 1} of {MAX_ATTEMPTS - 1}: {_first_line(event.reason)}"
            case StepJudged(step=step, verdict="revise" | "escalate"):
                self._notes[step] = _first_line(event.reason)
                self._faulted.add(step)
            case PlanMade(version=version) if version > 1:
                self._revisions.append(event.reason)
            case ApprovalAnswered():
                verb = "approved" if event.decision == "approve" else "rejected"
                self._decisions.append(
                    f"{event.by} {verb} {event.step}" + (f": {event.reason}" if event.reason else "")
                )
            case _:
                pass

    def _charge(self, asked: ModelAsked, tokens: int, usd: float, seconds: float) -> None:
        cost = self._phases.get(asked.phase, PhaseCost(asked.phase))
        self._phases[asked.phase] = replace(cost, calls=cost.calls + 1, tokens=cost.tokens + tokens, usd=cost.usd + usd)
        self._usd[asked.step] += usd
        self._seconds[asked.step] += seconds
        self._asked = None

    def summary(self) -> Summary:
        """What there is to show now."""
        state, head = self.state, self.state.head
        end = state.finished
        phases = (self._phases[name] for name in ("plan", "bind", "critique", "answer") if name in self._phases)
        return Summary(
            run=head.run,
            status=state.status,
            task=head.task,
            models=tuple(dict.fromkeys((head.model, head.cheap_model))),
            reason=_reason(state),
            detail=end.detail if end else state.suspended.detail if state.suspended else "",
            output=end.output if end else "",
            confidence=(end.confidence or "") if end else "",
            unknowns=end.unknowns if end else (),
            steps=tuple(self._line(step, place) for place, step in enumerate(state.plan.steps)) if state.plan else (),
            gauges=_gauges(state, bare=self.bare),
            phases=tuple(phases),
            revisions=tuple(self._revisions),
            decisions=tuple(self._decisions),
            spent=replace(state.spent, seconds=state.t),
            saved_usd=state.saved_usd,
            saved_tokens=state.saved_tokens,
            now=_now(state),
            next=_next(state),
            bare=self.bare,
        )

    def _line(self, step: Step, place: int) -> StepLine:
        state = self.state
        outcome = state.outcomes[place] if place < len(state.outcomes) else None
        present = place == len(state.outcomes)
        mark: Mark = "todo"
        if outcome:
            mark = "done" if outcome.status == "ok" else outcome.status
            mark = "failed" if step.id in self._faulted else mark
        elif present and state.status is Status.IN_PROGRESS and state.approval and not state.approved:
            mark = "waiting"
        elif present and state.status is Status.IN_PROGRESS and state.stage in (Stage.STEP, Stage.CALL, Stage.JUDGE):
            mark = "running"
        elif present and state.status is Status.AWAITING_APPROVAL:
            mark = "waiting"
        return StepLine(
            id=step.id,
            title=step.title or step.tool,
            call=f"{step.tool}({', '.join(step.args)})",
            mark=mark,
            note=self._notes.get(step.id, "") or (outcome.message if outcome else ""),
            finding=outcome.finding if outcome else "",
            seconds=None if self.bare or not (outcome or present) else self._seconds[step.id],
            usd=self._usd[step.id],
        )


def summarise(records: Iterable[Record], *, bare: bool = False) -> Summary:
    """What there is to show of a run with these records."""
    tally = Tally(bare=bare)
    for record in records:
        tally.add(record)
    return tally.summary()


def _gauges(state: RunState, *, bare: bool) -> tuple[Gauge, ...]:
    spent = replace(state.spent, seconds=state.t)
    return tuple(
        Gauge(name, getattr(spent, name), getattr(state.reserved, name), cap)
        for name, cap in state.budget.caps().items()
        if not (bare and name.endswith("seconds"))
    )


_REASONS = {
    "cancelled": "ended by a person",
    "escalated": "needs a person",
    "malformed_output": "the model's replies could not be used",
    "interrupted": "stopped by you",
    "closed": "left by its caller",
    "approval": "waits for your decision",
    "in_doubt": "a call's outcome is not known",
    "model_failed": "the model could not be reached",
    "error": "an error ended it",
}


def _reason(state: RunState) -> str:
    if state.suspended:
        return _REASONS[state.suspended.reason]
    if state.finished is None or state.finished.reason == "complete":
        return ""
    reason = state.finished.reason
    return _REASONS.get(reason) or f"reached its limit of {amount(reason, state.budget.caps().get(reason, 0))}"


def _now(state: RunState) -> str:
    if state.status is not Status.IN_PROGRESS:
        return ""
    total, done, step = len(state.plan.steps) if state.plan else 0, len(state.outcomes), state.step
    where = f"step {done + 1} of {total}" if step else ""
    asking = state.approval is not None and not state.approved
    doing = {
        Stage.PLAN: "planning" if state.plan is None else "revising the plan",
        Stage.STEP: f"{where}: {'asking you about' if asking else 'preparing'} {step.tool}" if step else "",
        Stage.CALL: f"{where}: calling {step.tool}" if step else "",
        Stage.JUDGE: f"{where}: checking the result" if step else "",
        Stage.ANSWER: "writing the answer",
    }
    return doing.get(state.stage, "")


def _next(state: RunState) -> str:
    run = state.head.run
    if state.status is Status.AWAITING_APPROVAL:
        return f"%agent approve {run}   or   %agent reject {run} WHY"
    if state.suspended and state.suspended.reason == "in_doubt":
        return f"look whether it happened, then %agent resume {run} --done   or   --not-done"
    if state.suspended or state.status is Status.IN_PROGRESS:
        return f"%agent resume {run}"
    if state.limit and state.status is Status.STOPPED:
        flags = {limit.limit: _more(limit, len(state.left)) for limit in (state.limit, state.no_answer) if limit}
        return f"%agent extend {run} " + " ".join(f"--{name.replace('_', '-')} {more}" for name, more in flags.items())
    return ""


def _more(limit: LimitReached, steps_left: int) -> str:
    """How much to extend a cap by: what was short, with the part of it that is kept back, or half the cap again."""
    short = max(0.0, limit.needed - limit.left)
    if limit.limit == "steps":
        return str(max(1, steps_left))
    if limit.limit.endswith("calls"):
        return str(math.ceil(max(short, limit.cap / 2)))
    more = max(short / (1 - KEPT_MOST), limit.cap / 2)
    return str(math.ceil(more)) if limit.limit.endswith("tokens") else f"{more * 1.01:.3g}"


def _size(event: ToolReturned) -> str:
    if event.status == "failed":
        return _first_line(event.message)
    return "nothing found" if event.status == "empty" else ""


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 120 else f"{line[:119]}…"  # noqa: PLR2004 - one line of a notebook
