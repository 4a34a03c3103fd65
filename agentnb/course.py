"""The course of a run's steps in words: what the state does not keep, because no decision rests on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agentnb import notes
from agentnb.approval import who
from agentnb.assess_changes import words_of
from agentnb.decide import MAX_ATTEMPTS
from agentnb.events import (
    ActionProposed,
    ActionSettled,
    ApprovalAnswered,
    ApprovalAsked,
    AssessmentMade,
    CallInDoubt,
    CallSimulated,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    Kept,
    LoopNoticed,
    ModelEscalated,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    RunFinished,
    RunForked,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.notes import ActionStatus, first_line
from agentnb.pending import number_of
from agentnb.state import RunState

__all__ = ["ActionLine", "Course", "EffectLine"]


@dataclass(frozen=True, slots=True)
class EffectLine:
    """One call that a dry run would have made.

    Attributes:
        args: its arguments in brief, "to="ada", amount=40".
        asks: why a person would be asked before it; () where nobody would.
    """

    step: str
    tool: str
    args: str
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionLine:
    """One destructive call that was proposed.

    Attributes:
        number: what `execute` and `discard` take for it; 0 where it does not wait any more.
        args: its arguments in brief.
        status: where it stands.
        said: the same in words, with who did it and what whoever decides should know.
    """

    number: int
    step: str
    tool: str
    args: str
    status: ActionStatus
    said: str


@dataclass(slots=True)
class Course:
    """A run's records taken in one by one.

    Attributes:
        bare: see `Summary`.
        notes: a few words on a step, by its id.
        faulted: ids of the steps that were given up.
        revisions: why the plan was changed, one sentence for each time.
        decisions: who decided what about which step.
        verdict: the last decision in a few words.
        assessment: the newest one, or None.
        sent: the arguments that each step's call was made, simulated or proposed with, by its id.
    """

    bare: bool = False
    notes: dict[str, str] = field(default_factory=dict)
    faulted: set[str] = field(default_factory=set)
    revisions: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    verdict: str = ""
    assessment: AssessmentMade | None = None
    sent: dict[str, Kept] = field(default_factory=dict)
    _since: dict[str, tuple[RunFinished | None, str]] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)
    _faults: dict[str, str] = field(default_factory=dict)
    _effects: dict[str, EffectLine] = field(default_factory=dict)
    _actions: dict[str, ActionSettled] = field(default_factory=dict)
    _question: ApprovalAsked | None = None
    _missing: str = ""
    _found_out: dict[str, DoubtResolved] = field(default_factory=dict)

    def add(self, event: Event, state: RunState) -> None:  # noqa: C901 - a table, one case a kind
        """Take in the next event; `state` is that after it."""
        match event:
            case ToolClaimed() | ToolRetried() | ToolReturned() | ToolRefused() | EarlierResult():
                self._called(event)
            case CallInDoubt() | DoubtResolved():
                self._doubted(event, state)
            case CallSimulated() | ActionProposed() | ActionSettled():
                self._put_off(event, state)
            case StepJudged():
                self._judged(event, state)
            case PlanMade(version=version, keep=keep) if version > 1:
                self._replanned(keep, event.reason)
            case RunForked(steps=steps) if steps is not None:
                self._replanned(len(state.outcomes), f"{event.at} was changed, in a fork of {event.origin}")
            case GateRaised() | ModelEscalated() | LoopNoticed():
                self._raised(event)
            case ApprovalAsked():
                self._asked(event, state)
            case ApprovalAnswered():
                self._answered(event, state)
            case AssessmentMade() | QuestionAsked() | QuestionAnswered():
                self._assessed(event)
            case _:
                pass

    def simulated(self, step: str) -> bool:
        """True where the step's call was only simulated."""
        return step in self._effects

    def settled(self, step: str) -> str:
        """How the last try to carry out the step's action, or to drop it, ended: "done", "dropped" and so on."""
        return self._actions[step].status if step in self._actions else ""

    def since(self, state: RunState) -> dict[str, str]:
        """What was done, dropped or found out after the run had ended, by step: of actions and of calls in doubt."""
        found = {step: said for step, (end, said) in self._since.items() if end is state.finished}
        happened = (step for step in state.left if step.id in self._found_out and self._found_out[step.id].happened)
        return found | {step.id: f"{notes.name_of(step)}: {self.notes[step.id]}" for step in happened}

    def why_undone(self, state: RunState) -> dict[str, str]:
        """Of each step that has not done what it should, or was not reached: why, in a few words."""
        since, waiting = self.since(state), {action.step: action.said for action in self.actions(state)}
        found = {
            step.id: waiting.get(step.id) or self.notes.get(step.id) or first_line(outcome.message)
            for step, outcome in state.undone
            if step.id not in since
        }
        return found | {step.id: self._why_left(step.id, state) for step in state.left if step.id not in since}

    def _why_left(self, step: str, state: RunState) -> str:
        """Why a step has no outcome: what was begun is told from what nobody came to."""
        if step in self._found_out:
            return self.notes[step]
        if state.returned is not None and state.returned.step == step:
            return "called, and the result not judged"
        if state.claim is None or state.claim.step != step:
            return "not reached"
        if state.may_have_acted:
            return "begun; whether it acted is not known"
        return "begun; it did not act" if state.cleared else "begun, and not finished"

    def effects(self, state: RunState) -> tuple[EffectLine, ...]:
        """The calls of the finished steps that were simulated: what `execute` would make."""
        if not self._effects:
            return ()
        done = (outcome.step for outcome in state.outcomes if outcome.status != "failed")
        return tuple(self._effects[step] for step in done if step in self._effects)

    def actions(self, state: RunState) -> tuple[ActionLine, ...]:
        """The proposed actions; those that wait have the numbers that `Run.pending` gives them."""
        found = []
        for item in state.queue:
            action, status, last = item.action, notes.action_status(item), self._actions.get(item.action.step)
            by = item.settled.by if item.settled else item.claimed.by if item.claimed else ""
            tried = notes.settled(last, who(last.by)) if last and last.status == "failed" else ""
            said = notes.action_said(item, who(by), tried)
            number = number_of(action.step) if item.settled is None else 0
            args = notes.brief_args(action.args)
            found.append(ActionLine(number, action.step, action.tool, args, status, said))
        return tuple(found)

    # --- what is taken in ---------------------------------------------------------------------------------------------

    def _called(self, event: ToolClaimed | ToolRetried | ToolReturned | ToolRefused | EarlierResult) -> None:
        step = event.step
        match event:
            case ToolClaimed(attempt=attempt):
                self._tries[step], self.sent[step] = attempt, event.args
                if attempt > 1 and step in self._faults:
                    self.notes[step] = f"try {attempt}: {self._faults[step]}"
            case ToolRetried():
                self._faults[step] = first_line(event.message)
                wait = "" if self.bare or not event.wait_s else f" in {event.wait_s:.2g} s"  # waits are in part random
                self.notes[step] = f"try {self._tries.get(step, 1) + 1}{wait}: {self._faults[step]}"
            case ToolReturned():
                self.notes[step] = notes.returned(event, self._tries.get(step, 1))
                self._faulty(step, self.notes[step] if event.status == "failed" else "")
            case ToolRefused():
                self.notes[step] = notes.refused(event)
                self._faulty(step, self.notes[step])
            case EarlierResult():
                self.notes[step] = f"done before, by {event.run} ({event.at_step})"

    def _raised(self, event: GateRaised | ModelEscalated | LoopNoticed) -> None:
        if isinstance(event, LoopNoticed):
            self.notes[event.step] = first_line(event.said)
        elif isinstance(event, GateRaised):
            self.notes[event.step] = f"asks you: {first_line('; '.join(event.reasons))}"
        elif event.step:
            self.notes[event.step] = f"{event.was} gave nothing usable, {event.model} is asked"

    def _doubted(self, event: CallInDoubt | DoubtResolved, state: RunState) -> None:
        step = event.step
        if isinstance(event, CallInDoubt):
            self.notes[step] = f"outcome not known: {first_line(event.message)}"
            return
        if state.status.ended:
            self._found_out[step] = event
        self.notes[step] = notes.doubt_said(event, who(event.by))
        self._faulty(step, "" if event.happened else self.notes[step])
        if event.by != "reconcile":
            happened = "happened" if event.happened else "did not happen"
            said = f"{who(event.by)} found out that the call of {step} {happened}"
            self.decisions.append(": ".join(filter(None, (said, event.reason))))

    def _put_off(self, event: CallSimulated | ActionProposed | ActionSettled, state: RunState) -> None:
        step = event.step
        if not isinstance(event, ActionSettled):
            self.sent[step] = event.args
        match event:
            case CallSimulated():
                self.notes[step] = "simulated"
                self._effects[step] = EffectLine(step, event.tool, notes.brief_args(event.args), event.gate)
            case ActionProposed():
                self.notes[step] = "waits in the queue"
            case ActionSettled():
                self._actions[step] = event
                self.notes[step] = notes.settled(event, who(event.by))
                self._since_the_end(event, state)

    def _since_the_end(self, event: ActionSettled, state: RunState) -> None:
        """Keep what the answer cannot know, because it was written before."""
        self._since.pop(event.step, None)
        if state.finished and event.status != "failed":  # one that failed waits on
            steps = state.plan.steps if state.plan else ()
            name = next(notes.name_of(step) for step in steps if step.id == event.step)
            gave = notes.gave(event)
            said = f"{name}: {self.notes[event.step]}" + (f" → {gave}" if gave else "")
            self._since[event.step] = state.finished, said

    def _judged(self, event: StepJudged, state: RunState) -> None:
        step = event.step
        if event.verdict == "retry":
            self._faults.pop(step, None)
            self.notes[step] = f"retry {state.attempt - 1} of {MAX_ATTEMPTS - 1}: {first_line(event.reason)}"
        elif event.verdict in ("revise", "escalate"):
            self.notes[step] = self._faults.pop(step, "") or first_line(event.reason)
            self.faulted.add(step)
        elif state.outcomes and state.outcomes[len(state.outcomes) - 1].skipped:
            self.notes[step] = self._faults.pop(step, "")

    def _replanned(self, keep: int, reason: str) -> None:
        self.revisions.append(reason)
        for kept in (self.notes, self._effects, self.sent):
            for step in [step for step in kept if int(step[1:]) > keep]:  # of a step that is planned anew
                kept.pop(step)

    def _asked(self, event: ApprovalAsked, state: RunState) -> None:
        self._question, step = event, state.step
        why = first_line("; ".join(filter(None, (*state.raised, step.ask if step else "", *state.taint))))
        self.notes[event.step] = f"asks you: {why}" if why else ""
        for other in event.others:
            self.notes[other.step] = f"asked about together with {event.step}"

    def _answered(self, event: ApprovalAnswered, state: RunState) -> None:
        self.verdict = notes.verdict(event, who(event.by))
        if not event.earlier:  # which was told with the question that it was decided with
            self.decisions.append(notes.decision(event, self._question, who(event.by)))
        self.notes[event.step] = ""
        if event.decision == "reject":
            self._faults[event.step] = notes.turned_down(event, who(event.by), left_out=state.refused == "selection")
        if self._question and not event.earlier:
            for other in self._question.others:
                self.notes[other.step] = _TOGETHER[event.others.get(other.binding)].format(event.step)

    def _assessed(self, event: AssessmentMade | QuestionAsked | QuestionAnswered) -> None:
        match event:
            case AssessmentMade():
                self.assessment = event
            case QuestionAsked():
                self._missing = words_of(event.gaps)
                self.notes[event.step] = f"asks you: {first_line(self._missing)}"
            case QuestionAnswered():
                self.decisions.append(notes.answer_said(event, self._missing, who(event.by)))
                self.verdict = _ANSWERED[event.decision].format(who(event.by))
                self.notes[event.step] = first_line(self.verdict)

    def _faulty(self, step: str, why: str) -> None:
        """Keep why the step's last try failed, for the note of one that is given up; "" where it did not."""
        if why:
            self._faults[step] = why
        else:
            self._faults.pop(step, None)


_ANSWERED: Final = {"answer": "answered by {}", "go_on": "gone on with by {}", "stop": "stopped by {}"}
_TOGETHER: Final = {True: "approved with {}", False: "not approved with {}", None: ""}
"""What is said of a further call that was asked about, by what was said of it."""
