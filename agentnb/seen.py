"""What can be seen of a run: everything is read from its records, and nothing from anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from agentnb.alerts import Raised
from agentnb.audit import Audit
from agentnb.budget import Spent
from agentnb.checkpoint import load
from agentnb.compare import Comparison, compare
from agentnb.cost import Cost, Saved
from agentnb.drawn import Drawn
from agentnb.dryrun import Effect, effects_of
from agentnb.errors import ConfigError
from agentnb.events import Record
from agentnb.family import told, tools_of
from agentnb.informed import Informed, informed
from agentnb.log import Clock, RunLog
from agentnb.models.base import Model
from agentnb.named import run_named
from agentnb.plan import Plan, Step
from agentnb.redact import Redactor
from agentnb.render import as_html, as_text
from agentnb.state import RunState, Status
from agentnb.store.base import Store
from agentnb.summariser import memory_now
from agentnb.summary import Summary
from agentnb.tools import Tool
from agentnb.trace import Trace
from agentnb.traced import Texts, trace_of
from agentnb.when import When, stretch
from agentnb.why import Why, why

__all__ = ["Reader", "Seen"]


class Reader(Protocol):
    """Whoever has runs to look at: an Agent."""

    @property
    def store(self) -> Store:
        """Where their records are."""

    @property
    def clock(self) -> Clock:
        """Where times come from."""

    @property
    def redact(self) -> Redactor:
        """Takes out of a text what is secret here now."""

    @property
    def replaying(self) -> bool:
        """True where models answer from a cassette."""

    @property
    def tools(self) -> Mapping[str, Tool]:
        """By name."""

    @property
    def models(self) -> Iterable[Model]:
        """All that may have been asked."""


class Seen(Drawn):
    """What is known about a run.

    Attributes:
        id: its id in the store.
        keeper: who has it: the Agent that made or found it.
    """

    def __init__(self, keeper: Reader, run: str, state: RunState | None = None) -> None:
        self.keeper = keeper
        self.id = run
        self._state = state

    @property
    def state(self) -> RunState:
        """The fold of its records."""
        if self._state is None:
            self._state, _ = load(self.keeper.store, self.id)
        return self._state

    @property
    def status(self) -> Status:
        """Of `Status`: in_progress, awaiting_approval, awaiting_answer, suspended, completed, stopped and so on."""
        return self.state.status

    @property
    def memory(self) -> str:
        """What its prompts would know of it now: facts, decisions and a person's words, each with its step."""
        return memory_now(self._log())

    @property
    def stop_reason(self) -> str:
        """Why it ended or rests: "complete", a cap's name, "escalated", "loop", "malformed_output" and so on."""
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
    def cost(self) -> Cost:
        """What its model calls cost, by phase and by model, and what they would have cost on the strong model alone."""
        return Cost(self.state.costs)

    @property
    def saved(self) -> Saved:
        """What was saved: by our prompt cache, by the provider's cache and by tiers, each apart."""
        return self.cost.saved

    @property
    def alerts(self) -> tuple[Raised, ...]:
        """What was warned of, oldest first."""
        return tuple(Raised(self.id, e.threshold, e.value, e.runs) for e in self.state.alerts)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Of a dry run: every call that it would have made; see `execute`."""
        return effects_of(self._log(), self.events)

    @property
    def bare(self) -> bool:
        """True where models answer from a cassette: then no ids, clocks and durations are shown."""
        return self.keeper.replaying

    @property
    def events(self) -> list[Record]:
        """All records, oldest first."""
        return list(self.keeper.store.read(self.id))

    def replay(self) -> Iterator[Record]:
        """Its records, one at a time, with no call of anything."""
        return iter(self.keeper.store.read(self.id))

    def diff(self, other: Seen | str) -> Comparison:
        """This run and another one side by side: their steps, what came of them, and what they cost.

        Args:
            other: a run, or a run's id, or the beginning of one: "r7".

        Raises:
            RunNotFound: no such run in this store.
            ConfigError: it is neither a Run nor an id.
        """
        if isinstance(other, str):
            other = Seen(self.keeper, run_named(self.keeper.store, other))
        if not isinstance(other, Seen):
            raise ConfigError(f"other={other!r} is no run: give a Run, or a run's id")
        return compare(self.events, other.events, bare=self.keeper.replaying)

    @property
    def trace(self) -> Trace:
        """All that it did, and the runs inside it: a tree to look at, and rows for a data frame."""
        return trace_of(self.keeper.store, self.id, self._texts, bare=self.keeper.replaying)

    @property
    def audit(self) -> Audit:
        """What it did, and was kept from doing: each call raw, and in sentences without raw data; see `Audit`."""
        return Audit(self.keeper.store, self.id, bare=self.keeper.replaying)

    def at(self, when: When | float) -> Trace:
        """What went on at a moment of the run, with all that it is a part of.

        Args:
            when: "15:47", "tuesday 3:47 pm", "2026-11-24 15:47:12" or a datetime: local time where it has no zone. A
                minute or an hour is taken as a whole. A number is seconds on the run's clock, as in its timeline.

        Raises:
            ConfigError: it is no time, nothing went on then, or a replay shows the run, which has no clock.
        """
        trace = self.trace
        if isinstance(when, (int, float)):
            if not (found := trace.on_clock(when)):
                raise ConfigError(
                    f"nothing went on in {self.id} at {when:g} seconds: its clock went from 0 to {self.state.t:.1f}"
                )
            return found
        first, last = self.state.at - self.state.t, self.state.at
        start, end = stretch(when, last)
        found = trace.between(start, max(end, start + 1))
        if not found:
            began, ended = (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) for at in (first, last))
            raise ConfigError(f"nothing went on in {self.id} at {when}: it was at work from {began} to {ended}")
        return found

    @property
    def informed(self) -> Informed:
        """What informed what: task, plans, steps, people and the answer."""
        return informed(self.replay(), bare=self.bare)

    def why(self, what: str = "answer") -> Why:
        """The chain of facts and decisions that led to a step, `why("s3")`, to a plan, "plan 2", or to the answer.

        Raises:
            ConfigError: the run has nothing of that name; says what it has.
        """
        return why(self.informed, what, "" if self.keeper.replaying else self.id)

    @cached_property
    def _texts(self) -> Texts:
        def tools(run: str) -> Mapping[str, Tool]:
            return tools_of(self.keeper.store, run, self.keeper.tools)

        return Texts(self._reopened, tools, self.keeper.models)

    @property
    def summary(self) -> Summary:
        """What a person is shown of it, as plain values."""
        return told(self.keeper.store, self.id, bare=self.keeper.replaying)

    def __repr__(self) -> str:
        return as_text(self.summary)

    def _repr_html_(self) -> str:
        return as_html(self.summary)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython's signature
        """Both forms of one reading: IPython asks for those that it wants, and takes out the others itself."""
        summary = self.summary
        return {"text/plain": as_text(summary), "text/html": as_html(summary)}

    def _reopened(self, run: str) -> RunLog:
        return RunLog.reopened(self.keeper.store, run, self.keeper.clock, self.keeper.redact)

    def _log(self) -> RunLog:
        return self._reopened(self.id)
