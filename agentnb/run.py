"""What a caller holds of a run: everything is read from its records, and nothing from anywhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Protocol

from agentnb.approval import person
from agentnb.budget import Spent
from agentnb.errors import ConfigError
from agentnb.events import ApprovalAnswered, ApprovalAsked, BudgetExtended, Record, RunFinished, RunResumed
from agentnb.log import Clock, RunLog
from agentnb.plan import JSON, Plan, Step
from agentnb.render import as_html, as_text
from agentnb.state import NEW, RunState, Status, fold
from agentnb.store.base import Store
from agentnb.summary import Summary, summarise

__all__ = ["InDoubt", "Keeper", "Run"]

InDoubt = Literal["done", "not_done"]
"""What a person found out about a call whose outcome was not known."""


class Keeper(Protocol):
    """Whoever can go on with a run: an Agent."""

    @property
    def store(self) -> Store:
        """Where its records are."""

    @property
    def clock(self) -> Clock:
        """Where times come from."""

    @property
    def replaying(self) -> bool:
        """True where models answer from a cassette."""

    def require_able(self, state: RunState) -> None:
        """Raise ConfigError where the run cannot be gone on with: a tool or model is missing, or has changed."""

    def resume(self, run: str, *, in_doubt: InDoubt | None = None) -> Run:
        """Go on with a run."""


class Run:
    """What is known about a run: everything is read from its records.

    Attributes:
        id: its id in the store.
        keeper: who goes on with it: the Agent that made or found it.
    """

    def __init__(self, keeper: Keeper, run: str, state: RunState | None = None) -> None:
        self.keeper = keeper
        self.id = run
        self._state = state

    @property
    def state(self) -> RunState:
        """The fold of its records."""
        if self._state is None:
            self._state = fold(self.keeper.store.read(self.id), NEW)
        return self._state

    @property
    def status(self) -> Status:
        """pending, in_progress, awaiting_approval, suspended, completed, failed, cancelled or stopped."""
        return self.state.status

    @property
    def stop_reason(self) -> str:
        """Why it ended or rests: "complete", a cap's name, "escalated", "malformed_output", "interrupted" and so on."""
        if self.state.finished:
            return self.state.finished.reason
        return self.state.suspended.reason if self.state.suspended else ""

    @property
    def detail(self) -> str:
        """The stop reason in a sentence, with its numbers."""
        if self.state.finished:
            return self.state.finished.detail
        return self.state.suspended.detail if self.state.suspended else ""

    @property
    def output(self) -> str:
        """The answer, in Markdown; a partial one where the run was cut short, "" where there is none."""
        return self.state.finished.output if self.state.finished else ""

    @property
    def plan(self) -> Plan | None:
        """The present version of the plan."""
        return self.state.plan

    @property
    def left(self) -> tuple[Step, ...]:
        """The steps that were not carried out."""
        return self.state.left

    @property
    def spent(self) -> Spent:
        """What was used, with seconds on the run's own clock."""
        return replace(self.state.spent, seconds=self.state.t)

    @property
    def saved(self) -> dict[str, float]:
        """What the prompt cache saved: {"usd": …, "tokens": …}."""
        return {"usd": self.state.saved_usd, "tokens": self.state.saved_tokens}

    @property
    def pending(self) -> ApprovalAsked | None:
        """The call that waits for a person, or None."""
        return self.state.approval if self.status is Status.AWAITING_APPROVAL else None

    @property
    def events(self) -> list[Record]:
        """All records, oldest first."""
        return list(self.keeper.store.read(self.id))

    def result(self, step: str) -> JSON:
        """The result of a finished step, by its id ("s1").

        Raises:
            UnmetReference: it is not finished, or has no result.
        """
        return self._log().result_of(step)

    def replay(self) -> Iterator[Record]:
        """Its records, one at a time, with no call of anything."""
        return iter(self.keeper.store.read(self.id))

    def resume(self, *, in_doubt: InDoubt | None = None) -> Run:
        """Go on, see `Agent.resume`; this Run shows what came of it."""
        self._state = None  # read anew, also where going on ends with an error
        self._state = self.keeper.resume(self.id, in_doubt=in_doubt).state
        return self

    def extend(self, **more: float) -> Run:
        """Raise caps, `extend(tokens=10_000)`, and go on where a limit stopped the run.

        Raises:
            ConfigError: no such cap, one that did not stop the run, or the run did not stop at a limit.
        """
        log = self._log()
        state, limits = log.state, {e.limit for e in (log.state.limit, log.state.no_answer) if e}
        if state.status.ended and (not limits or state.status is not Status.STOPPED):
            raise ConfigError(
                f"{self.id} did not stop at a limit but is {state.status}: there is nothing to go on with"
            )
        if not more or (limits and not limits & set(more)):
            needed = " and ".join(sorted(limits)) or "a cap"
            raise ConfigError(f"say by how much to extend {needed}, e.g. extend({next(iter(limits), 'tokens')}=…)")
        budget = state.budget.extended(**more)
        self.keeper.require_able(state)
        log.append(BudgetExtended(budget=budget))
        return self.resume()

    def approve(self, by: str = "") -> Run:
        """Allow the call that waits, and go on.

        Raises:
            ConfigError: nothing waits.
        """
        return self._decide("approve", by, "")

    def reject(self, reason: str, by: str = "") -> Run:
        """Refuse the call that waits, and go on: the planner is told why.

        Raises:
            ConfigError: nothing waits.
        """
        return self._decide("reject", by, reason)

    def cancel(self, reason: str = "") -> Run:
        """End the run for good; what it found so far stays.

        Raises:
            ConfigError: it has ended already.
        """
        log = self._log()
        if log.state.status.ended:
            raise ConfigError(f"{self.id} is {log.state.status} already")
        claim = log.state.claim
        unknown = f"; whether {claim.tool} ({claim.step}) acted is not known" if claim else ""
        detail = f"{person()} cancelled it{f': {reason}' if reason else ''}{unknown}"
        end = RunFinished(status="cancelled", reason="cancelled", detail=detail, by="rule")
        log.append(RunResumed(process=os.getpid()), end)
        self._state = log.state
        return self

    def _log(self) -> RunLog:
        return RunLog(self.keeper.store, self.id, self.events, clock=self.keeper.clock)

    def _decide(self, decision: Literal["approve", "reject"], by: str, reason: str) -> Run:
        log = self._log()
        asked = log.state.approval
        if asked is None or log.state.status is not Status.AWAITING_APPROVAL:
            raise ConfigError(f"nothing in {self.id} waits for a decision: it is {log.state.status}")
        log.append(ApprovalAnswered(step=asked.step, decision=decision, by=by or person(), reason=reason))
        log.flush()
        return self.resume()

    @property
    def summary(self) -> Summary:
        """What a person is shown of it, as plain values."""
        return summarise(self.events, bare=self.keeper.replaying)

    def __repr__(self) -> str:
        return as_text(self.summary)

    def _repr_html_(self) -> str:
        return as_html(self.summary)
