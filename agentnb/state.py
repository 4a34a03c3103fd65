"""What is known about a run: a fold of its records, made in `transitions.py` and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from agentnb.budget import Budget, Spent
from agentnb.cost import Line
from agentnb.errors import IllegalTransition
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    AlertRaised,
    ApprovalAsked,
    Item,
    Kept,
    LimitReached,
    ModelAsked,
    QuestionAsked,
    RunFinished,
    RunForked,
    RunStarted,
    RunSuspended,
    Statement,
    ToolClaimed,
    ToolReturned,
)
from agentnb.plan import READ_RESULT, Plan, Step, references, resting_on
from agentnb.policy import ToolFacts
from agentnb.recovery import layer_of
from agentnb.stops import Seen
from agentnb.trail import Trail

__all__ = [
    "NEW",
    "TAINTED",
    "TOLD_STEPS",
    "Child",
    "Grant",
    "Memory",
    "Outcome",
    "Queued",
    "RunState",
    "Stage",
    "Status",
]

NOTHING = Spent()

TOLD_STEPS: Final = 12
"""Finished steps that a prompt tells one by one."""

TAINTED = ("it was planned after", "a model that had read such text", "its arguments come out of")
"""How each reason begins that untrusted text gives, see `RunState.tainted`; what it names are steps."""


class Status(StrEnum):
    """What a caller sees."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_ANSWER = "awaiting_answer"
    """An assessment has found something critical that only a person knows."""
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    """At a limit, or because the critic escalated: a result, with what is done and what is left."""

    @property
    def ended(self) -> bool:
        """True where the run does not go on by itself or by a resume."""
        return self in _ENDED


_ENDED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.STOPPED})


class Stage(StrEnum):
    """What comes next, if anything does."""

    NEW = "new"
    PLAN = "plan"
    STEP = "step"
    CALL = "call"
    JUDGE = "judge"
    ANSWER = "answer"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended; never altered afterwards.

    Attributes:
        status: "ok", "empty" (it ran and there was nothing), "failed" (it did not do what it should) or "proposed" (it
            was not done and waits for a person).
        result: the result, where there is one.
        finding: one sentence that the critic learned from it.
        message: why it failed, and what may be done next.
        tainted: the result is, or comes out of, text that strangers wrote.
        call: of a call that acted: what was called, to know the same again; see `call_mark`.
        earlier: the result is an earlier run's, and nothing was called.
        skipped: it failed because a person selected other calls of a user's plan, and not this one.
        gist: what prompts show of the result, where the tool says what of it matters.
    """

    step: str
    status: Literal["ok", "empty", "failed", "proposed"]
    result: Kept | None = None
    finding: str = ""
    message: str = ""
    tainted: bool = False
    call: str = ""
    earlier: bool = False
    skipped: bool = False
    gist: Kept | None = None

    @property
    def made(self) -> bool:
        """True where the step's call was carried out, in this run."""
        return self.status in ("ok", "empty") and not self.earlier


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person said of a call that had not come yet, for one use.

    Attributes:
        binding: hash of exactly that call.
        granted: whether it may be made.
        until: seconds on the run's clock up to which this holds.
        by: who said so.
        reasons: why it needed a person, as they were shown.
    """

    binding: str
    granted: bool
    until: float
    by: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """A destructive call that the agent proposed.

    Attributes:
        action: what was proposed.
        claimed: set while its outcome is not known.
        settled: how it ended, None while it waits.
        doubt: why its outcome is not known, where that could be told.
    """

    action: ActionProposed
    claimed: ActionClaimed | None = None
    settled: ActionSettled | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What prompts know of the steps that they do not show any more.

    Attributes:
        upto: how many finished steps it covers.
        items: what is remembered of them, the most important first.
        hidden: how many items were left out for want of room.
    """

    upto: int = 0
    items: tuple[Item, ...] = ()
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Child:
    """A run of another agent, inside a call of this one.

    Attributes:
        run: its id.
        agent: the name of the tool as which it is known here.
        step: whose call it is, or is made in.
        key: of the call that it is.
        claimed_at: the record with the claim of that step's call.
        held: what is reserved for it until it is settled.
        spent: what it came to; None while that is not known.
    """

    run: str
    agent: str
    step: str
    key: str
    claimed_at: int
    held: Spent
    spent: Spent | None = None


class RunState(NamedTuple):
    """Everything that is known about a run after its records so far.

    A named tuple: a changed copy costs 2 µs, and 8 as a frozen dataclass; there is one for each record.
    """

    status: Status = Status.PENDING
    stage: Stage = Stage.NEW
    started: RunStarted | None = None
    budget: Budget = Budget()
    plan: Plan | None = None
    outcomes: Trail[Outcome] = Trail()
    memory: Memory = Memory()
    reads: tuple[tuple[str, str, str], ...] = ()
    """The last calls that read: a hash of what was called, the step, a hash of what it gave."""
    noted: tuple[Item, ...] = ()
    """What is to be remembered since then, besides the outcomes: decisions, a person's words, assumptions, open
    questions, contradictions; oldest first."""
    revisions: int = 0
    attempt: int = 1
    rejected: int = 0
    """Replies rejected in a row in the present phase."""
    escalated: bool = False
    """True where the strong model is asked in the present phase, in place of one whose replies were rejected."""
    problems: tuple[str, ...] = ()
    """What was wrong with the last try, for the next one to see."""
    hint: str = ""
    """What a person said to that, until a reply can be used."""
    retried: bool = False
    """True where a person has it tried again: until a reply can be used, none is taken from the prompt cache."""
    refused: str = ""
    """Who refused the last try before it reached the tool: "arguments", "guard", "breaker", "read" or "person";
    "selection" where a person selected other calls of a user's plan."""
    why: str = ""
    """Why the plan is being revised."""
    bound: Kept | None = None
    said: tuple[tuple[str, str], ...] = ()
    """What a person has said of arguments of the present step that a model fills, by their names."""
    by_model: bool = False
    """True where a model that had read untrusted text filled the present step's arguments."""
    assessed: str = ""
    """The call that the newest assessment was made for, see `present_call`."""
    assessed_after: int = 0
    """How many steps were finished then."""
    gaps: tuple[Statement, ...] = ()
    """What it found missing for the present call, while a person has not answered."""
    question: QuestionAsked | None = None
    """That, as a person is asked about it."""
    question_at: int = -1
    """The record with that question."""
    answered: bool = False
    """True where a person's answer calls for a revision of the plan, which is none of the planner's own."""
    unanswered: tuple[str, ...] = ()
    """What a person went on without knowing."""
    raised: tuple[str, ...] = ()
    """Why guards want a person's leave for the present step."""
    approval: ApprovalAsked | None = None
    asked_at: int = -1
    """The record with that question."""
    approved: str = ""
    """Binding of the approved call, used once."""
    approved_until: float = 0.0
    reread: tuple[str, ...] = ()
    """Of an execution: the reads that were made again since the present call was approved, and gave what they gave."""
    grants: tuple[Grant, ...] = ()
    """What was decided about calls that have not come yet."""
    allowed: frozenset[str] = frozenset()
    """Tools that a person allowed for the rest of the run."""
    inflight: ModelAsked | None = None
    claim: ToolClaimed | None = None
    claimed_at: int = -1
    """The record with that claim."""
    cleared: bool = False
    """True where the claimed call is known not to have acted, and is made again."""
    unsure: bool = False
    """True where an earlier try of the claimed call may have acted: that a later one did not says nothing of it."""
    doubt: str = ""
    """What is known of a claimed call whose outcome is not."""
    given_up: bool = False
    """True where this process has made the claimed call as often as it may, and does not know how it ended."""
    call: str = ""
    """Of a claimed call that acts: what is called."""
    read: str = ""
    """Of a claimed call that reads: a hash of what is called."""
    mark: str = ""
    """Of the present step's call and what it gave: the same for the same."""
    seen: Seen = Seen()
    """What is remembered of the finished steps, to notice a run that goes round in circles."""
    returned: ToolReturned | None = None
    earlier: bool = False
    """True where the present step's result is an earlier run's."""
    strange: bool = False
    """True where it is, and tainted there."""
    planned_clean: int | None = None
    """How many steps of the plan were there before untrusted text came into the run; None where none has."""
    sources: tuple[str, ...] = ()
    """The first steps that brought untrusted text."""
    acted_before: frozenset[str] = frozenset()
    """Calls that acted under an earlier version of the plan, or in the run that this one was forked from."""
    imported: bool = False
    """True where it came in a file: strangers may have written its plan."""
    without: frozenset[str] = frozenset()
    """Tools that it goes on without, as a person has accepted."""
    fork: RunForked | None = None
    """Where this run parted from another, if it did."""
    queue: tuple[Queued, ...] = ()
    """Destructive calls that were proposed, oldest first."""
    limit: LimitReached | None = None
    no_answer: LimitReached | None = None
    """The limit that leaves no room for the final answer either."""
    reopen: Stage = Stage.DONE
    """The stage that a limit cut short."""
    stop: str = ""
    """Why the run is being brought to its end, "" where it is not or the plan is done."""
    suspended: RunSuspended | None = None
    finished: RunFinished | None = None
    spent: Spent = NOTHING
    reserved: Spent = NOTHING
    children: tuple[Child, ...] = ()
    """Runs of other agents that calls of this run are, oldest first; in a fork also those that both share."""
    held: Spent = NOTHING
    """What is reserved for those of them that are not settled."""
    costs: tuple[Line, ...] = ()
    """What each phase has used of each model, and what was saved on it."""
    alerts: tuple[AlertRaised, ...] = ()
    """What was warned of, oldest first."""
    t: float = 0.0
    at: float = 0.0
    """By the machine's clock when the last record was made."""
    seq: int = -1

    @property
    def head(self) -> RunStarted:
        """The first record's event.

        Raises:
            IllegalTransition: nothing has happened yet.
        """
        if self.started is None:
            raise IllegalTransition("a run's first record must be run_started")
        return self.started

    @property
    def step(self) -> Step | None:
        """The step that comes next or is under way, or None where the plan is done or there is none."""
        if self.plan is None:
            return None
        done, steps = len(self.outcomes), self.plan.steps
        return steps[done] if done < len(steps) else None

    @property
    def facts(self) -> ToolFacts | None:
        """Of the present step's tool."""
        step = self.step
        return self.head.tools[step.tool] if step else None

    @property
    def unremembered(self) -> bool:
        """True where the memory is to be made small: enough is finished since it was, and nothing is begun.

        Not where all that is left of the plan can be told in full beside it: then only the answer would read it.
        """
        done = len(self.outcomes)
        since, left = done - self.memory.upto, len(self.plan.steps) - done if self.plan else 0
        if since + left <= TOLD_STEPS:
            return False
        return since >= self.head.memory.every and self.stage in (Stage.PLAN, Stage.STEP) and self.attempt == 1

    @property
    def simplified(self) -> bool:
        """True where the next request is to be the simplified one; the strong model gets the full one."""
        return not self.escalated and layer_of(self.rejected) > 1

    @property
    def left(self) -> tuple[Step, ...]:
        """The steps that have no outcome."""
        return self.plan.steps[len(self.outcomes) :] if self.plan else ()

    @property
    def present_call(self) -> str:
        """What tells the call that comes next from every other: plan, step, and what a model filled in."""
        step = self.step
        if self.plan is None or step is None:
            return ""
        filled = (self.bound.blob or self.bound.text or "") if self.bound else ""
        return f"v{self.plan.version} {step.id} {filled}".rstrip()

    @property
    def asks(self) -> QuestionAsked | None:
        """The question that a person's answer is waited for, by a run that rests or by one that is being driven."""
        waits = self.status in (Status.AWAITING_ANSWER, Status.IN_PROGRESS) and self.stage is Stage.STEP
        return self.question if waits else None

    @property
    def resting(self) -> dict[str, tuple[str, ...]]:
        """Of each step that rests on an assumption: the steps that make it, see `resting_on`."""
        return resting_on(self.plan.steps) if self.plan else {}

    @property
    def gated(self) -> bool:
        """True where the present step needs a person's leave.

        A guard or untrusted text says so, or it acts and neither the policy nor a person has let the tool.
        """
        step = self.step
        if step is None:
            return False
        return bool(self.raised or step.ask) or self.asked_about(step) or bool(self.taint)

    def asked_about(self, step: Step) -> bool:
        """True where the policy asks about `step`, whatever guards say."""
        facts = self.head.tools[step.tool]
        if facts.delegates:  # its run asks about each call of its own, and knows more of them
            return False
        let = step.tool in self.allowed and facts.reversibility != "irreversible"
        return not let and self.head.policy.asks(step.tool, facts, step.confidence)

    @property
    def taint(self) -> tuple[str, ...]:
        """Why untrusted text makes the present call a person's business; () where it does not.

        What strangers wrote may inform, and may not act: a call that acts has to come from a plan made before their
        text came in, with arguments that do not come out of it. A run of another agent does not act by itself: it is
        told, and asks.
        """
        step = self.step
        if step is None:
            return ()
        facts = self.head.tools[step.tool]
        if not facts.acts or facts.delegates:
            return ()
        return self.tainted(step, len(self.outcomes), by_model=self.by_model)

    def tainted(self, step: Step, place: int, *, by_model: bool) -> tuple[str, ...]:
        """Why the call of `step`, at `place` in the plan, may come out of untrusted text; () where it does not."""
        why = ["it comes from a run that was imported from a file"] if self.imported else []
        if self.planned_clean is None:
            return tuple(why)
        sources = ", ".join(self.sources) or "its task"
        if place >= self.planned_clean:
            why.append(f"{TAINTED[0]} {sources} brought text that strangers wrote")
        if by_model:
            why.append(f"{TAINTED[1]} ({sources}) wrote its arguments")
        if from_tainted := sorted(name for name in references(step.args) if self._is_tainted(name)):
            why.append(f"{TAINTED[2]} {', '.join(from_tainted)}, which holds text that strangers wrote")
        return tuple(why)

    @property
    def unread(self) -> Step | None:
        """In an execution: the read that comes next to be made again before the first call that acts, or None.

        An answer may come long after the reads, and what they gave has to hold when something is done.
        """
        if not self.head.executes or not self.approved or self.plan is None:
            return None
        if any(outcome.call and outcome.made for outcome in self.outcomes):
            return None
        done = self.plan.steps[: len(self.outcomes)]
        return next((s for s in done if s.check and s.check.sha256 and s.id not in self.reread), None)

    @property
    def present_tainted(self) -> bool:
        """True where the present step's result is, or comes out of, text that strangers wrote."""
        step = self.step
        if step is None:
            return False
        read = self.head.tools[step.tool].untrusted or self.strange
        read = read or (step.tool == READ_RESULT and self.planned_clean is not None)
        return read or bool(self.tainted(step, len(self.outcomes), by_model=self.by_model))

    def _is_tainted(self, step: str) -> bool:
        place = int(step[1:]) - 1 if len(step) < len("s") + 9 else len(self.outcomes)
        return place < len(self.outcomes) and self.outcomes[place].tainted

    @property
    def unbegun(self) -> bool:
        """True where a call was claimed in the very last record, for the first time: it may not have been begun."""
        return self.claim is not None and self.claim.attempt == 1 and self.claimed_at == self.seq

    @property
    def may_have_acted(self) -> ToolClaimed | None:
        """The claimed call of which nobody knows whether it acted; None of one that only reads, or is known not to."""
        claim = self.claim
        if claim is None or not self.head.tools[claim.tool].acts:
            return None
        return claim if self.unsure or not self.cleared else None

    @property
    def undone(self) -> tuple[tuple[Step, Outcome], ...]:
        """The finished steps that have not done what they should: failed, left out, or proposed and not carried out.

        A planner that revises its plan puts another step in place of one that failed; where that has worked, the first
        is none of them. A plan of the user's has no such steps.
        """
        plan = self.plan
        if plan is None:
            return ()
        replaces, found, worked = plan.by == "model" and plan.version > 1, [], set[str]()
        for step, outcome in reversed(list(zip(plan.steps, self.outcomes, strict=False))):
            if outcome.status in ("ok", "empty") or (outcome.status == "proposed" and self.carried_out(step.id)):
                worked.add(step.tool)
            elif not (replaces and step.tool in worked):
                found.append((step, outcome))
        return tuple(reversed(found))

    def carried_out(self, step: str) -> ActionSettled | None:
        """What came of the action that `step` proposed, once it was carried out."""
        settled = next((item.settled for item in self.queue if item.action.step == step), None)
        return settled if settled and settled.status == "done" else None

    def used(self, t: float | None = None) -> Spent:
        """Spent and reserved together, with the run's clock, or with `t`: what a budget is held against."""
        seconds = self.t if t is None else t
        used = self.spent.plus(self.reserved, seconds)
        return used if self.held is NOTHING else used.plus(self.held, seconds)

    def child(self, key: str) -> Child | None:
        """The child that the call under `key` is, or None."""
        return next((child for child in self.children if child.key == key), None)

    @property
    def open_child(self) -> Child | None:
        """The last child that is not settled, or None."""
        return next((child for child in reversed(self.children) if child.spent is None), None)

    def changed(self, changes: Mapping[str, Any]) -> RunState:
        """This state with those fields changed. `_replace` takes thrice as long, and there is one for each record."""
        values = list(self)
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return RunState._make(values)


_PLACES: Final = {name: place for place, name in enumerate(RunState._fields)}

NEW = RunState()
"""The state before the first record."""
