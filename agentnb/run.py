"""What a caller holds of a run: what is seen of it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol, Unpack

from agentnb.actions import Validator, carry_out, drop, meant, require_at_rest
from agentnb.approval import Answer, binding, person
from agentnb.by_hand import Given
from agentnb.checkpoint import load
from agentnb.errors import ConfigError, OnlyRecorded
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetExtended,
    Event,
    ToolRefused,
)
from agentnb.family import begun, cancelled, innermost, tools_of, top
from agentnb.fork import Changed
from agentnb.log import RunLog
from agentnb.mailbox import post, posted
from agentnb.pending import Pending, asked_now, number_of, pending_of
from agentnb.plan import JSON, UnmetReference, literal
from agentnb.prepared import prepare_later, secret_in
from agentnb.question import event_of
from agentnb.resume import InDoubt, how_changed
from agentnb.runner import Runner
from agentnb.seen import Reader, Seen
from agentnb.state import RunState, Status
from agentnb.store.base import Hold
from agentnb.tools import Tool

__all__ = ["Keeper", "Run"]


class Keeper(Reader, Protocol):
    """Whoever can go on with a run: an Agent."""

    def require_able(self, state: RunState, *, accept_changes: bool = False) -> None:
        """Raise ConfigError where the run cannot be gone on with: a tool or model is missing, or has changed."""

    @property
    def runner(self) -> Runner:
        """Where tools run."""

    def held(self, run: str) -> Hold:
        """The run, for this caller alone; RunHeld where somebody else drives it."""

    def resume(self, run: str, *, in_doubt: InDoubt | None = None, accept_changes: bool = False) -> Run:
        """Go on with a run."""

    def retry(
        self, run: str, hint: str = "", *, by: str = "", accept_changes: bool = False, **given: Unpack[Given]
    ) -> Run:
        """Go on with a run that waits for help."""

    def fork(self, run: str, at: str | int | None = None, **changed: Unpack[Changed]) -> Run:
        """A new run that shares the beginning of `run`."""

    def execute(self, run: str) -> Run:
        """Do exactly what a dry run has shown."""


class Run(Seen):
    """A run, to look at and to go on with.

    Attributes:
        id: its id in the store.
        keeper: who goes on with it: the Agent that made or found it.
    """

    keeper: Keeper

    def __init__(self, keeper: Keeper, run: str, state: RunState | None = None) -> None:
        super().__init__(keeper, run, state)
        self._shown = _asked_in(state)
        self._listed: frozenset[int] | None = None
        """The actions that `pending` has shown here; what is said without numbers is said of them."""
        self._results: RunLog | None = None

    @property
    def state(self) -> RunState:
        """The fold of its records."""
        if self._state is None:
            self._shown = _asked_in(super().state)
        return super().state

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What waits for a person: calls that are asked about, and destructive actions that were proposed.

        Of a run that waits for one inside it, first what that one asks.
        """
        log, inner = self._log(), innermost(self.keeper.store, self.id, self.keeper.clock, self.keeper.redact)
        self._shown = _asked_in(inner.state)
        asked = () if inner.run == self.id else tuple(p for p in pending_of(inner) if p.kind != "action")
        waits = (*asked, *pending_of(log))
        self._listed = frozenset(p.number for p in waits if p.kind == "action")
        return waits

    @property
    def children(self) -> tuple[Run, ...]:
        """The runs of other agents that its calls were, oldest first; a fork's are those that it shares, too."""
        return tuple(Run(self.keeper, run) for run in begun(self.keeper.store, self.state))

    def result(self, step: str) -> JSON:
        """The result of a finished step, by its id ("s1").

        Raises:
            UnmetReference: it is not finished, or has no result.
        """
        if self._results is not None:  # kept: to read the whole run for each result takes the square of its steps
            with suppress(UnmetReference):
                return self._results.result_of(step)
        self._results = self._log()  # it may have gone on since
        return self._results.result_of(step)

    def fork(self, at: str | int | None = None, **changed: Unpack[Changed]) -> Run:
        """A new run that shares this one's beginning, `fork(at="s3", args={…})`; see `Agent.fork`."""
        return self.keeper.fork(self.id, at, **changed)

    def resume(self, *, in_doubt: InDoubt | None = None, accept_changes: bool = False) -> Run:
        """Go on, see `Agent.resume`; this Run shows what came of it."""
        self._state = None  # read anew, also where going on ends with an error
        return self._driven(self.keeper.resume(self.id, in_doubt=in_doubt, accept_changes=accept_changes))

    def _driven(self, outermost: Run) -> Run:
        """This run, as it is now that the outermost run around it has gone on."""
        self._state = outermost.state if outermost.id == self.id else load(self.keeper.store, self.id)[0]
        self._shown = _asked_in(self._state)
        return self

    def retry(self, hint: str = "", *, by: str = "", accept_changes: bool = False, **given: Unpack[Given]) -> Run:
        """Help a run whose replies could not be used, or that went round in circles, and go on; see `Agent.retry`."""
        self._state = None  # read anew, also where going on ends with an error
        return self._driven(self.keeper.retry(self.id, hint, by=by, accept_changes=accept_changes, **given))

    def extend(self, *, accept_changes: bool = False, **more: float) -> Run:
        """Raise caps, `extend(tokens=10_000)`, and go on where a limit stopped the run.

        Args:
            accept_changes: as of `resume`: True goes on with tools and models that are others by now.
            more: by how much each cap is raised, by its name in `Budget`.

        Raises:
            ConfigError: no such cap, one that did not stop the run, or the run did not stop at a limit; or a tool or
                model is missing, or has changed and that is not accepted. Nothing was recorded.
            RunHeld: another kernel or process drives it; nothing was recorded.
        """
        hold = self.keeper.held(self.id)  # a record of ours between its driver's would end the driver
        try:
            self._extend(more, accept_changes=accept_changes)
        finally:
            hold.release(ended=False)
        return self.resume(accept_changes=accept_changes)

    def _extend(self, more: Mapping[str, float], *, accept_changes: bool) -> None:
        log = self._log()
        if parent := log.state.head.parent:
            raise ConfigError(f"{self.id} spends a slice of the budget of {parent}: extend that, or fork this one")
        state, limits = log.state, {e.limit for e in (log.state.limit, log.state.no_answer) if e}
        if state.status.ended and (not limits or state.status is not Status.STOPPED):
            raise ConfigError(
                f"{self.id} did not stop at a limit but is {state.status}: there is nothing to go on with"
            )
        if not more or (limits and not limits & set(more)):
            needed = " and ".join(sorted(limits)) or "a cap"
            raise ConfigError(f"say by how much to extend {needed}, e.g. extend({next(iter(limits), 'tokens')}=…)")
        budget = state.budget.extended(**more)
        self.keeper.require_able(state, accept_changes=accept_changes)
        log.append(BudgetExtended(budget=budget))

    def approve(self, *which: int, by: str = "") -> Run:
        """Allow the call that is asked about, and go on.

        Args:
            which: numbers of `pending`, where several calls are asked about together; that of the step that comes
                next has to be one of them, and is the only one if they are left out. Of the others a person is asked
                when they come.
            by: who allows it; whoever is logged in, if left out.

        Raises:
            ConfigError: nothing is asked, or it has been answered.
        """
        return self._decide(lambda _, asked: Answer("approve", by or person(), others=_others(asked, which, said=True)))

    def reject(self, reason: str, *which: int, by: str = "") -> Run:
        """Refuse the call that is asked about, and go on: the planner is told why; else as `approve`."""
        return self._decide(
            lambda _, asked: Answer("reject", by or person(), reason, others=_others(asked, which, said=False))
        )

    def edit(self, args: Mapping[str, JSON], *, by: str = "", reason: str = "") -> Run:
        """Allow the call that is asked about with these arguments changed, and go on.

        Args:
            args: those that change, by name.
            by: who allows it.
            reason: kept with the decision.

        Raises:
            ConfigError: nothing is asked, or the tool or a guard does not take the arguments; says why.
        """
        return self._decide(lambda log, asked: self._edited(log, asked, args, by or person(), reason))

    def answer(self, text: str, *, by: str = "") -> Run:
        """Answer what the call that comes next rests on, and go on: the rest of the plan is made anew with it.

        Args:
            text: the answer, in words; it enters the memory as a person's.
            by: who says so; whoever is logged in, if left out.

        Raises:
            ConfigError: nothing is asked, it has been answered, or the answer is empty.
        """
        if not _sound(Answer("answer", by or person(), text)).reason.strip():
            raise ConfigError(f"the answer to {self.id} is empty: say what it asks, or go on without with `go_on()`")
        return self._respond(Answer("answer", by or person(), text))

    def go_on(self, *, by: str = "") -> Run:
        """Make the call that comes next without the answer that is asked for; the result says that it rests on that.

        Raises:
            ConfigError: nothing is asked, or it has been answered.
        """
        return self._respond(Answer("go_on", by or person()))

    def stop(self, reason: str = "", *, by: str = "") -> Run:
        """End the run at what it asks: with an answer from what was found, and the stop reason "unanswered".

        Raises:
            ConfigError: nothing is asked, or it has been answered.
        """
        return self._respond(Answer("stop", by or person(), reason))

    def execute(
        self, *which: int, by: str = "", validator: Validator | None = None, in_doubt: InDoubt | None = None
    ) -> Run:
        """Carry out what waits: of a dry run, exactly what it has shown; else destructive actions that were proposed.

        Args:
            which: numbers of `pending`. If left out, the actions that `pending` has shown here; where it has shown
                nothing, the only one that waits.
            by: who does it; whoever is logged in, if left out.
            validator: decides about each action in place of a person: a function of a `Pending` that gives True or
                False.
            in_doubt: of an action whose outcome is not known: "done" or "not_done", as somebody has found out.

        Returns:
            This run; of a dry run the run that carried it out, in which nothing was done if a read has changed.

        Raises:
            ConfigError: nothing waits, or others than were shown and no number says which, or a guard forbids it now.
        """
        if self.state.head.dry:
            if which or validator or in_doubt:
                raise ConfigError(
                    f"{self.id} was a dry run, which is executed as a whole, and asks about each call: leave out the"
                    f" {'numbers' if which else 'validator' if validator else 'in_doubt='}"
                )
            return self.keeper.execute(self.id)
        _require_text("by", by)
        if validator is not None and not callable(validator):
            raise ConfigError(f"validator={validator!r} is no function of a Pending that gives True or False")
        if in_doubt not in (None, "done", "not_done"):
            raise ConfigError(f"in_doubt={in_doubt!r} is neither 'done' nor 'not_done'")
        name = by or (getattr(validator, "__name__", "a validator") if validator else person())
        hold = self.keeper.held(self.id)  # who drove it meanwhile would take the place of what comes of the action
        try:
            return self._carry_out(which, name, validator, in_doubt)
        finally:
            hold.release(ended=False)

    def _carry_out(self, which: Sequence[int], by: str, validator: Validator | None, in_doubt: InDoubt | None) -> Run:
        each, doubtful = validator is not None, in_doubt is not None  # a validator is shown each one as it comes
        for action in meant(self._log(), which, shown=self._listed, each=each, doubtful=doubtful):
            log = self._unchanged(action)
            tool = self.tools_of(self.id).get(action.tool)
            if tool is None:
                raise ConfigError(f"{self.id} uses the tool {action.tool!r}, which is not here: define it again")
            if tool.facts != log.state.head.tools[action.tool]:
                raise ConfigError(f"the tool {action.tool!r} is not the one that {self.id} proposed: restore it")
            if validator is None or validator(action) is True:
                hand = validator is None
                carry_out(log, tool, action, self.keeper.runner, by=by, by_hand=hand, in_doubt=in_doubt)
            self._state = log.state
        return self

    def discard(self, *which: int, reason: str = "", by: str = "") -> Run:
        """Take proposed actions out of the queue without carrying them out. Arguments and errors as `execute`."""
        _require_text("by", by)
        _require_text("reason", reason)
        hold = self.keeper.held(self.id)
        try:
            for action in meant(self._log(), which, shown=self._listed):
                log = self._unchanged(action)
                drop(log, action, by=by or person(), reason=reason)
                self._state = log.state
        finally:
            hold.release(ended=False)
        return self

    def _unchanged(self, action: Pending) -> RunLog:
        """The run as it is now, in which `action` waits as it was listed: what is appended to it may rest on that."""
        log = self._log()
        require_at_rest(log)
        now = [item for item in pending_of(log) if item.kind == "action" and item.step == action.step]
        if not now or now[0].in_doubt != action.in_doubt:
            raise ConfigError(f"{action.step} of {self.id} was begun or settled elsewhere: `%agent pending` shows it")
        return log

    def cancel(self, reason: str = "") -> Run:
        """End the run for good; what it found so far stays.

        Raises:
            ConfigError: it has ended already.
        """
        log = self._log()
        if log.state.status.ended:
            raise ConfigError(f"{self.id} is {log.state.status} already")
        detail = f"{person()} cancelled it{f': {reason}' if reason else ''}"
        cancelled(log, detail)
        self._state = log.state
        return self

    def _decide(self, answer_to: Callable[[RunLog, ApprovalAsked], Answer]) -> Run:
        """Answer what is asked; where the run is being driven, leave the answer for whoever drives it."""
        log = innermost(self.keeper.store, self.id, self.keeper.clock, self.keeper.redact)
        state, asked = log.state, log.state.approval
        if asked is None or not asked_now(state):
            way = f"a question does; `%agent answer {self.id} TEXT`, or `answer(…)`" if state.asks else ""
            raise ConfigError(f"nothing in {self.id} waits for a decision: {way or f'it is {state.status}'}")
        if self._shown not in ("", asked.binding):
            raise ConfigError(
                f"{log.run} asks about another call by now, {asked.step} {asked.tool}: look at `pending`, then decide"
            )
        answer = log.redact.value(_sound(answer_to(log, asked)))  # it may be left in the store for who drives the run
        if answer.decision != "reject":
            self._require_as_asked(log.state, asked)
        late = asked.expires is not None and log.now() > asked.expires
        if late and answer.decision != "reject":
            raise ConfigError(
                f"{asked.step} of {log.run} waited until its time was up, and nobody's answer means {asked.on_silence}:"
                f" `%agent resume {self.id}` goes on with that"
            )
        return self._settle(log, state.asked_at, asked.step, answer, lambda: self._recorded(log, asked, answer))

    def _respond(self, answer: Answer) -> Run:
        """Answer what a call rests on; where the run is being driven, leave the answer for whoever drives it."""
        log = innermost(self.keeper.store, self.id, self.keeper.clock, self.keeper.redact)
        asked = log.state.asks
        if asked is None:
            decides = log.state.approval is not None and asked_now(log.state)
            way = f"a call does; `%agent approve {self.id}`, or `approve()`" if decides else ""
            raise ConfigError(f"nothing in {self.id} waits for an answer: {way or f'it is {log.state.status}'}")
        if self._shown not in ("", _asked_in(log.state)):
            raise ConfigError(f"{log.run} asks something else by now, before {asked.step}: look at `pending` first")
        answer = log.redact.value(_sound(answer))
        return self._settle(log, log.state.question_at, asked.step, answer, lambda: event_of(asked.step, answer))

    def _settle(self, log: RunLog, place: int, step: str, answer: Answer, event: Callable[[], Event]) -> Run:
        """`answer` to the question in record `place`: left for who drives the run, else recorded, and the run goes on.

        One may have been left for a driver that ended before it looked.
        """
        state, store = log.state, self.keeper.store
        driven = state.status is Status.IN_PROGRESS
        taken = not post(store, log.run, place, answer) if driven else posted(store, log.run, place) is not None
        if taken:
            raise ConfigError(f"{step} of {log.run} has been answered already: `%agent resume {self.id}`")
        if driven:
            return self
        hold = self.keeper.held(log.run)  # who carries out an action of it meanwhile has to have its place
        try:
            log.append(event())
            log.flush()
        finally:
            hold.release(ended=False)
        try:
            self.keeper.require_able(load(store, top(store, self.id))[0])
        except ConfigError as error:
            raise OnlyRecorded(f"the decision is recorded, and {self.id} rests: {error}") from error
        return self.resume()

    def _require_as_asked(self, state: RunState, asked: ApprovalAsked) -> None:
        """Raise ConfigError where the tool is another here than was asked about, for which a yes would not hold."""
        tool, then = self.tools_of(state.head.run).get(asked.tool), state.head.tools[asked.tool]
        if tool is not None and tool.facts != then:
            how = how_changed(then, tool.facts)
            raise ConfigError(
                f"{asked.tool} is not the tool that {self.id} asks about in {asked.step}, {how}:"
                f" restore it, or `%agent resume {self.id} --accept-changes` asks anew, about it as it is now"
            )

    def _recorded(self, log: RunLog, asked: ApprovalAsked, answer: Answer) -> ApprovalAnswered:
        rest: dict[str, Any] = {"step": asked.step, "by": answer.by, "reason": answer.reason}
        if answer.decision == "edit" and answer.args is not None:
            args = dict(answer.args)
            exact = binding(log.run, asked.tool, log.keep(args))
            return ApprovalAnswered(decision="edit", args=log.keep(literal(args)), binding=exact, **rest)
        decision: Literal["approve", "reject"] = "approve" if answer.decision == "approve" else "reject"
        return ApprovalAnswered(decision=decision, others=dict(answer.others), **rest)

    def tools_of(self, run: str) -> Mapping[str, Tool]:
        """Those that `run` calls, by name: of a run inside this one, or around it, its agent's."""
        return tools_of(self.keeper.store, run, self.keeper.tools)

    def _edited(self, log: RunLog, asked: ApprovalAsked, args: Mapping[str, JSON], by: str, reason: str) -> Answer:
        if not isinstance(args, Mapping):
            raise ConfigError(f"args={args!r} is no dict: give what changes by its name, edit({{'amount': 40}})")
        tool, step = self.tools_of(log.run).get(asked.tool), log.state.step
        if tool is None or step is None:
            raise ConfigError(f"{log.run} uses the tool {asked.tool!r}, which is not here: define it again")
        changed = {**log.value(asked.args), **args}
        if why := secret_in(log, changed):  # first: what is said of a wrong one quotes its beginning
            raise ConfigError(f"{asked.tool} cannot be called so: {why}")
        call = prepare_later(log, tool, step, literal(changed))
        if isinstance(call, ToolRefused):
            raise ConfigError(f"{asked.tool} cannot be called so: {'; '.join(call.problems)}")
        if call.kept == asked.args:
            raise ConfigError(f"the edit changes nothing of {asked.tool}: approve it as it is, or say what to change")
        return Answer("edit", by, reason, args=call.args)


def _require_text(name: str, given: object) -> None:
    """Raise ConfigError where `given` is no text: it is recorded, and has to be read again."""
    if not isinstance(given, str):
        raise ConfigError(f"{name}={given!r} is no text: say it in words")


def _sound(answer: Answer) -> Answer:
    """`answer`, as a caller gave its parts.

    Raises:
        ConfigError: one of them is no text.
    """
    _require_text("by", answer.by)
    _require_text("text" if answer.decision == "answer" else "reason", answer.reason)
    return answer


def _asked_in(state: RunState | None) -> str:
    """What is asked there, as a text of its own; what is decided later is decided about that."""
    if state and state.asks:
        return f"question {state.head.run} {state.question_at}"
    return state.approval.binding if state and state.approval and asked_now(state) else ""


def _others(asked: ApprovalAsked, which: Sequence[int], *, said: bool) -> dict[str, bool]:
    """What the numbers say of the further calls that are asked about, by their bindings."""
    first, others = number_of(asked.step), {number_of(call.step): call.binding for call in asked.others}
    if unknown := [n for n in which if n != first and n not in others]:
        raise ConfigError(f"no {unknown[0]!r} is asked about: there are {', '.join(map(str, (first, *others)))}")
    if which and first not in which:
        raise ConfigError(f"the call of {asked.step} comes first: decide about {first} too")
    return {others[n]: said for n in which if n != first}
