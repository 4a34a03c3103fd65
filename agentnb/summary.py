"""What a person is shown of a run, as plain values: one fold of its records, for the live panel and for what stays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentnb import notes, standing
from agentnb.approval import person
from agentnb.budget import Spent, amount
from agentnb.cost import NOTHING_SAVED, Cost, Saved
from agentnb.course import ActionLine, Course, EffectLine
from agentnb.events import (
    ActionSettled,
    CallInDoubt,
    ChildSettled,
    Event,
    Kept,
    ModelAsked,
    ModelFailed,
    ModelReplied,
    PlanMade,
    ReadRepeated,
    Record,
    RunForked,
    RunResumed,
    RunSuspended,
    ToolRetried,
    ToolReturned,
)
from agentnb.malformed import Malformed
from agentnb.notes import first_line, name_of
from agentnb.plan import Plan
from agentnb.state import NEW, RunState, Status
from agentnb.steps import LIVE_STEPS, Marks, StepLine, around, assumed_by, mark_at
from agentnb.transitions import apply

__all__ = ["Gauge", "PhaseCost", "Summary", "Tally", "summarise"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cap: what is used, what is reserved on top, and the cap, in the unit of its name in `Budget`."""

    limit: str
    used: float
    reserved: float
    cap: float


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """What one phase of the run used: plan, bind, critique, assess, summarise or answer; or an agent, in all its runs.

    Attributes:
        strong_usd: what it would have cost on the strong model; None where that is not known, or the same.
        models: which were asked, by name.
    """

    phase: str
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    strong_usd: float | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as a person sees it.

    Attributes:
        bare: True leaves out what differs from one replay to the next: the id, the store and all times.
        models: the strong one first.
        saved: what was saved on its model calls, each way apart.
        alerts: what somebody wanted to be warned of, one sentence each.
        unpriced: True where a model was asked whose price nobody knows: it is in `spent` with its tokens only.
        reason: the stop reason in words, "" where it completed or still runs.
        now: what it is doing, while it runs.
        next: what to do next, as a line to type; "" where there is nothing to do.
        show: what shows its record again, as a line to type.
        closer: of a run that has ended: what looks closer at it, or goes another way from it, as lines to type.
        revisions: why the plan was changed, one sentence for each time.
        decisions: who decided what about which step.
        statements: what the newest assessment says, each with how it stands and what it rests on.
        malformed: how often the replies of a model could not be used, one sentence each; () where all could.
        tried: of a run that waits because of such replies: each of them, and what was wrong with it.
        undone: of a run that has ended: what it did not do, each with why; the answer may be silent about it, or wrong.
        since: what became of proposed actions after the answer was written.
        dry: True where calls that act were only simulated.
        executes: the dry run whose effects this run carries out, or "".
        forked: the run that this one was forked from, and where; or "".
        effects: of a dry run: the calls that it would have made.
        actions: the destructive calls that were proposed, those that wait and those that were carried out or dropped.
        agent: of a run inside another: the name as which that one called it.
        parent: that run, and the step of it.
        children: the runs inside this one, each with its step; only `family.told` knows them, from their own records.
        before: of a long plan that is seen in part: how many steps come before `steps`, by their state.
        after: and how many after them.
        inside: what the run inside the present step is doing, while both are driven; only a panel knows it.
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
    now: str
    next: str
    saved: Saved = NOTHING_SAVED
    alerts: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    dry: bool = False
    executes: str = ""
    forked: str = ""
    effects: tuple[EffectLine, ...] = ()
    actions: tuple[ActionLine, ...] = ()
    unpriced: bool = False
    agent: str = ""
    parent: str = ""
    children: tuple[tuple[str, Summary], ...] = ()
    show: str = ""
    closer: str = ""
    before: Marks = field(default_factory=Marks)
    after: Marks = field(default_factory=Marks)
    inside: str = ""
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
    _agents: dict[str, PhaseCost] = field(default_factory=dict)
    _usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _asked: ModelAsked | None = None
    _malformed: Malformed = field(default_factory=Malformed)
    _course: Course = field(init=False)
    _marks: Marks = field(default_factory=Marks)
    _marked: int = 0
    _resting: tuple[Plan | None, Mapping[str, Sequence[str]]] = (None, {})

    def __post_init__(self) -> None:
        self._course = Course(bare=self.bare)

    def add(self, record: Record) -> None:
        """Take in the next record."""
        self.state = apply(self.state, record)
        self._cost(record.event)
        self._course.add(record.event, self.state)
        self._malformed.add(record.event)
        if isinstance(record.event, PlanMade | RunForked | ActionSettled):
            self._marked = 0  # only these change what has been counted

    @property
    def sent(self) -> Mapping[str, Kept]:
        """The arguments that each step's call was made, simulated or proposed with, by its id."""
        return self._course.sent

    def _cost(self, event: Event) -> None:
        match event:
            case ModelAsked():
                self._asked = event
            case ModelReplied() if self._asked:
                self._charge(self._asked, event.usd, event.seconds)
            case ModelFailed() if self._asked:
                self._charge(self._asked, 0.0 if event.unbilled else self._asked.reserved.usd, event.seconds)
            case RunForked():  # what came before was paid for by another run
                self._agents.clear()
                self._usd.clear()
                self._asked = None
            case RunSuspended(withdrawn=True):
                self._asked = None  # announced and not sent
            case RunResumed() if self._asked:  # lost with its process: it may have been billed, and stays charged
                self._charge(self._asked, self._asked.reserved.usd, 0)
            case ChildSettled():
                self._charge_agent(event)
            case ToolReturned() | ToolRetried() | CallInDoubt() | ReadRepeated():
                self._seconds[event.step] += event.seconds
            case _:
                pass

    def _charge(self, asked: ModelAsked, usd: float, seconds: float) -> None:
        self._usd[asked.step] += usd
        self._seconds[asked.step] += seconds
        self._asked = None

    def _charge_agent(self, event: ChildSettled) -> None:
        name = next(child.agent for child in self.state.children if child.run == event.child)
        was, spent = self._agents.get(name, PhaseCost(name)), event.spent
        calls, tokens = was.calls + spent.model_calls, was.tokens + spent.tokens
        self._agents[name] = PhaseCost(name, calls, tokens, was.usd + spent.usd)
        self._usd[event.step] += spent.usd
        if self.state.claim and self.state.claim.tool == name:  # else it was a part of the call's own time
            self._seconds[event.step] += spent.working_seconds

    def summary(self) -> Summary:
        """What there is to show now."""
        return self._shown(range(self._total))

    def glance(self) -> Summary:
        """The same of a run under way, with the steps around the present one: as cheap at step 1000 as at step 10."""
        places = around(len(self.state.outcomes), self._total, LIVE_STEPS)
        after: Marks = Counter({"todo": self._total - places.stop})
        return replace(self._shown(places), before=self._marks_before(places.start), after=+after)

    @property
    def _total(self) -> int:
        return len(self.state.plan.steps) if self.state.plan else 0

    def _marks_before(self, end: int) -> Marks:
        """The states of the first `end` steps, counted on from those that were counted last."""
        if end < self._marked:
            self._marked = 0
        if not self._marked:
            self._marks.clear()
        self._marks.update(mark_at(self.state, self._course, place) for place in range(self._marked, end))
        self._marked = end
        return Marks(self._marks)

    def _shown(self, places: range) -> Summary:
        """What there is to show, with the steps at these places."""
        state, head = self.state, self.state.head
        end = state.finished
        cost = Cost(state.costs)
        effects = self._course.effects(state)
        return Summary(
            run=head.run,
            status=state.status,
            task=head.task,
            models=tuple(dict.fromkeys((head.model, head.cheap_model, *head.phases.values()))),
            reason=f"{self._course.verdict}, rests" if standing.is_decided(state) else standing.reason(state),
            detail=self._detail(),
            output=end.output if end else "",
            confidence=(end.confidence or "") if end else "",
            unknowns=self._unknowns(),
            malformed=self._malformed.lines(),
            tried=self._malformed.tried_lines() if state.suspended else (),
            undone=self._undone(),
            since=tuple(self._course.since(state).values()),
            steps=self._lines(places),
            gauges=_gauges(state, bare=self.bare),
            phases=(*_phases(cost), *self._agents.values()),
            revisions=tuple(self._course.revisions),
            decisions=tuple(self._course.decisions),
            statements=notes.statements(self._course.assessment) if self._course.assessment else (),
            spent=replace(state.spent, seconds=state.t),
            saved=cost.saved,
            alerts=tuple(e.threshold.in_words(e.value, e.runs, bare=self.bare) for e in state.alerts),
            now=standing.now(state),
            next="" if self.bare and self._failed() else standing.way_on(state, len(effects)),
            show=f"%agent show {head.run}",
            closer=standing.closer(state),
            dry=head.dry,
            executes=head.executes,
            forked=f"{state.fork.origin} at {state.fork.at}" if state.fork else "",
            effects=effects,
            actions=self._course.actions(state),
            unpriced=any(line.used.unpriced for line in state.costs),
            agent=head.agent,
            parent=f"{head.parent} at {head.parent_step}" if head.parent else "",
            bare=self.bare,
        )

    def _failed(self) -> bool:
        """True where an error stopped it: a replay that is gone on with would meet it again."""
        return self.state.suspended is not None and self.state.suspended.reason == "error"

    def _detail(self) -> str:
        """Why in a sentence, where that is not said already: by what was not done, or by the question that waits."""
        state = self.state
        if state.suspended:
            return "" if state.suspended.reason in ("approval", "question") else state.suspended.detail
        said = state.finished.detail if state.finished else ""
        last = state.undone[-1:] if state.stop == "escalated" else ()
        if any(outcome.message.startswith(said) for _, outcome in last) and first_line(said) == said:
            return ""
        if state.limit and said == f"the budget of {amount(state.limit.limit, state.limit.cap)} is used up":
            return ""  # as the reason says
        mine = f"{person()} cancelled it"
        return f"you cancelled it{said.removeprefix(mine)}" if said.startswith(mine) else said

    def _undone(self) -> tuple[str, ...]:
        if not self.state.status.ended or self.state.plan is None:
            return ()
        why = self._course.why_undone(self.state)
        steps = (step for step in self.state.plan.steps if step.id in why)
        return tuple(f"{name_of(step)}: {why[step.id]}" for step in steps)

    def _unknowns(self) -> tuple[str, ...]:
        """What the answer names as not known, without what is said by `undone` and `since`, or is past by now."""
        end, plan = self.state.finished, self.state.plan
        if end is None or plan is None:
            return end.unknowns if end else ()
        told = [f"{step.id} {was}: " for step in plan.steps for was in ("was not done", "failed")]
        left = {f"not carried out: {step.title or step.tool}" for step in self.state.left}
        return tuple(x for x in end.unknowns if x not in left and not x.startswith(tuple(told)))

    def _lines(self, places: range) -> tuple[StepLine, ...]:
        plan, outcomes = self.state.plan, self.state.outcomes
        if plan is None:
            return ()
        if self._resting[0] is not plan:
            self._resting = plan, self.state.resting
        found = []
        for place in places:
            step, outcome = plan.steps[place], outcomes[place] if place < len(outcomes) else None
            line = StepLine(
                id=step.id,
                title=step.title or step.tool,
                call=f"{step.tool}({', '.join(step.args)})",
                mark=mark_at(self.state, self._course, place),
                note=self._course.notes.get(step.id, "") or (outcome.message if outcome else ""),
                finding=outcome.finding if outcome else "",
                assumes=assumed_by(step, self._resting[1]),
                seconds=None if self.bare or not (outcome or step.id in self._seconds) else self._seconds[step.id],
                usd=self._usd[step.id],
            )
            found.append(line)
        return tuple(found)


def summarise(records: Iterable[Record], *, bare: bool = False) -> Summary:
    """What there is to show of a run with these records."""
    tally = Tally(bare=bare)
    for record in records:
        tally.add(record)
    return tally.summary()


def _phases(cost: Cost) -> tuple[PhaseCost, ...]:
    found = []
    for phase, used in cost.by_phase.items():
        strong = used.would_be_usd if used.moved_tokens else None
        found.append(PhaseCost(phase, used.calls, used.tokens, used.usd, strong, cost.models_of(phase)))
    return tuple(found)


def _gauges(state: RunState, *, bare: bool) -> tuple[Gauge, ...]:
    spent, held = replace(state.spent, seconds=state.t), state.reserved + state.held
    return tuple(
        Gauge(name, getattr(spent, name), getattr(held, name), cap)
        for name, cap in state.budget.caps().items()
        if not (bare and name.endswith("seconds"))
    )
