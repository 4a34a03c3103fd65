"""Agents and runs: the wiring, and what a caller holds.

`Agent` puts models, tools, a budget and a store together; `Session` drives one run; `Run` is what is known about it,
read from the store and from nowhere else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from agentnb.approval import Approver, nobody
from agentnb.budget import Budget, Price, Spent, Usage
from agentnb.calls import Runner, run_here
from agentnb.cassette import Cassette, Recording, Replaying
from agentnb.errors import ConfigError, Interrupted, ModelUnavailable, UnknownPrice
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    BudgetExtended,
    Event,
    PlanMade,
    Record,
    RunResumed,
    RunStarted,
    RunSuspended,
    ToolReturned,
)
from agentnb.log import Clock, RunLog
from agentnb.loop import drive
from agentnb.models.base import Model
from agentnb.models.chain import Layer, Voice, cached, chain, metered, retrying
from agentnb.models.prices import price_of
from agentnb.models.resolve import available, resolve
from agentnb.perform import Performer
from agentnb.plan import JSON, Plan, Step, numbered
from agentnb.planner import plan_problems
from agentnb.prompts import LONGEST_TASK
from agentnb.render import as_html, as_text
from agentnb.settings import DEFAULT_MODEL, Mode
from agentnb.state import NEW, RunState, Status, fold
from agentnb.store.base import ReplyCache, Store
from agentnb.summary import Summary, summarise
from agentnb.tools import Tool, toolbox

__all__ = ["Agent", "Run", "Session"]

Approve = Literal["ask", "deny", "auto"]
InDoubt = Literal["done", "not_done"]


class Agent:
    """Models, tools, a budget and a store, put together; it carries out tasks and holds no state of its own.

    Args:
        model: plans and writes the answer: "anthropic:NAME", "openai:NAME", "local:NAME", or a model object.
        cheap_model: fills open arguments and criticises; the same as `model` if left out.
        tools: functions made with `@tool`; plain functions count as writes that cannot be taken back.
        budget: hard caps for each run; 25 steps, 50 000 tokens and 120 working seconds if left out.
        approve: what happens before a call that writes: "ask" a person, "deny", or "auto" (which still asks before what
            cannot be taken back).
        store: where runs are kept: a folder, or a store object.
        cassette: file of recorded model calls, see `mode`.
        mode: "auto", "live", "replay" or "record", see `Settings`.
        fresh: True asks models anew instead of taking replies from the prompt cache.
        approver: who is asked; nobody, if left out: the run then waits for `Run.approve`.
        runner: where tools run; on this thread if left out.
        clock: where times come from.
        sleep: how to wait for a rate limit, in seconds; a stop ends the wait early if it is left out.

    Raises:
        ConfigError: a model, a tool or a setting that cannot be used.
        StoreError: the store cannot be opened.
    """

    def __init__(
        self,
        model: str | Model = DEFAULT_MODEL,
        *,
        cheap_model: str | Model | None = None,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        budget: Budget | None = None,
        approve: Approve = "ask",
        store: Store | Path | str = ".agentnb",
        cassette: Cassette | Path | str | None = None,
        mode: Mode = "auto",
        fresh: bool = False,
        approver: Approver = nobody,
        runner: Runner = run_here,
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        if approve not in ("ask", "deny", "auto"):
            raise ConfigError(f"approve={approve!r} is not one of ask, deny, auto")
        self.tools = toolbox(tools)
        self.budget = budget or Budget()
        self.approve = approve
        self.fresh = fresh
        self.approver = approver
        self.runner = runner
        self.clock = clock or Clock()
        self.sleep = sleep
        self.cassette = cassette if isinstance(cassette, Cassette) else Cassette(cassette) if cassette else None
        self.mode: Mode = mode
        self.model = self._wired(model)
        self.cheap_model = self.model if cheap_model in (None, "", model) else self._wired(cheap_model)
        self.store, self.replies = _stores(store)

    @property
    def replaying(self) -> bool:
        """True where models answer from a cassette: what a run shows then leaves out ids and times."""
        return isinstance(self.model, Replaying)

    def run(
        self,
        task: str,
        *,
        plan: Plan | Sequence[Step | Mapping[str, JSON]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """Carry out `task` and return what came of it; limits, refusals and failures are results, not exceptions.

        Args:
            task: what is wanted, in words.
            plan: steps to carry out as they are; models fill only arguments that start with "$?".
            tags: kept with the run, such as {"task_type": "triage"}.

        Raises:
            ConfigError: the task, the plan, a model or the budget cannot be used; nothing was recorded.
            KeyboardInterrupt: a person stopped it; it is suspended and can be resumed.
        """
        return self.begin(task, plan=plan, tags=tags).finish()

    def stream(
        self,
        task: str,
        *,
        plan: Plan | Sequence[Step | Mapping[str, JSON]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Generator[Record, None, None]:
        """Carry out `task`, one durable record at a time; arguments and errors as `run`. Closing it suspends it."""
        return self.begin(task, plan=plan, tags=tags).drive()

    def resume(self, run: str, *, in_doubt: InDoubt | None = None) -> Run:
        """Go on with a run at the exact call where it rests; what was done is not done again.

        Args:
            run: its id.
            in_doubt: what a person found out about a call whose outcome was not known: "done" takes it as having
                happened, "not_done" makes it again.

        Raises:
            RunNotFound: no such run.
            ConfigError: a tool or model that the run began with is missing or has changed.
        """
        return self.reopen(run, in_doubt=in_doubt).finish()

    def begin(
        self,
        task: str,
        *,
        plan: Plan | Sequence[Step | Mapping[str, JSON]] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Session:
        """A new run, recorded and not yet driven; arguments and errors as `run`."""
        if not isinstance(task, str) or not task.strip():
            raise ConfigError("the task is empty: say in words what is wanted")
        if len(task) > LONGEST_TASK:
            raise ConfigError(
                f"the task has {len(task):,} characters, {LONGEST_TASK:,} are allowed: let a tool read long data"
            )
        given = None if plan is None else self._checked(plan)
        self._require_callable()
        prices = self._prices()
        log = RunLog(self.store, self.store.new_run_id(), clock=self.clock)
        log.append(
            RunStarted(
                run=log.run,
                task=task.strip().encode("utf-8", "replace").decode(),
                model=self.model.ref,
                cheap_model=self.cheap_model.ref,
                tools={name: made.facts for name, made in self.tools.items()},
                budget=self.budget,
                approve=self.approve,
                tags=dict(tags or {}),
            )
        )
        if given is not None:
            log.append(PlanMade(version=1, keep=0, steps=given, reason="given by the user", by="user"))
        return Session(self, log, prices)

    def reopen(self, run: str, *, in_doubt: InDoubt | None = None) -> Session:
        """A run that is there already, ready to be driven; arguments and errors as `resume`."""
        log = RunLog(self.store, run, self.store.read(run), clock=self.clock)
        state = log.state
        if not state.status.ended:
            self._require_same(state)
            self._require_callable()
            _settle_doubt(log, in_doubt)
            log.append(RunResumed(process=os.getpid()))
        return Session(self, log, self._prices())

    def runs(self) -> list[Run]:
        """All runs of the store, newest first."""
        return [Run(self, run) for run in reversed(self.store.runs())]

    def _wired(self, model: str | Model | None) -> Model:
        found = resolve(model or DEFAULT_MODEL)
        if self.cassette is None or self.mode == "live":
            if self.mode in ("replay", "record"):
                raise ConfigError(
                    f"{self.mode}ing needs a cassette: give cassette=, or --cassette FILE, or AGENTNB_CASSETTE"
                )
            return found
        if self.mode == "replay" and not len(self.cassette):
            raise ConfigError(
                f"there is nothing to replay in {self.cassette.path}: record it first, with AGENTNB_MODE=record"
            )
        if self.mode == "record":
            return Recording(found, self.cassette, self.clock.monotonic)
        absent = self.mode == "auto" and len(self.cassette) and isinstance(model, str) and available(found.ref)
        return Replaying(found.ref, self.cassette) if self.mode == "replay" or absent else found

    def _require_callable(self) -> None:
        for model in {id(m): m for m in (self.model, self.cheap_model)}.values():
            reachable = isinstance(model, Replaying) or model.ref.partition(":")[0] not in (
                "anthropic",
                "openai",
                "local",
            )
            if not reachable and (why := available(getattr(model, "inner", model))):
                hint = "" if model.ref.startswith("local") else '; model="local:" needs no key'
                raise ModelUnavailable(f"{model.ref} cannot be called: {why}{hint}")

    def _prices(self) -> dict[str, Price]:
        prices: dict[str, Price] = {}
        for model in (self.model, self.cheap_model):
            price = _price(model)
            if price is None and self.budget.usd is not None:
                raise UnknownPrice(
                    f"the price of {model.ref} is not known, so a budget of ${self.budget.usd:g} cannot be held:"
                    " limit tokens instead"
                )
            prices[model.ref] = price or _unpriced
        return prices

    def _checked(self, plan: Plan | Sequence[Step | Mapping[str, JSON]]) -> tuple[Step, ...]:
        items = plan.steps if isinstance(plan, Plan) else plan
        try:
            steps = numbered([TypeAdapter(Step).validate_python(item) for item in items])
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"a step of the plan is not one: {said}") from None
        if problems := plan_problems(steps, self.tools):
            raise ConfigError(f"the plan cannot be carried out: {'; '.join(problems)}")
        return steps

    def _require_same(self, state: RunState) -> None:
        head = state.head
        for name, facts in head.tools.items():
            if name not in self.tools:
                raise ConfigError(f"{head.run} uses the tool {name!r}, which is not here: define it again, then resume")
            if self.tools[name].facts.schema != facts.schema:
                raise ConfigError(
                    f"the arguments of {name!r} are not those that {head.run} began with:"
                    " restore them, or start a new run"
                )
        for mine, its in ((self.model.ref, head.model), (self.cheap_model.ref, head.cheap_model)):
            if mine != its:
                raise ConfigError(f"{head.run} began with the model {its}, not {mine}: resume it with model={its!r}")


class Session:
    """One run being driven by this process: iterate it, or `finish` it; `suspend` it from any thread."""

    def __init__(self, agent: Agent, log: RunLog, prices: Mapping[str, Price]) -> None:
        self.agent = agent
        self.log = log
        self._stop = threading.Event()
        self._perform = Performer(
            log,
            agent.tools,
            strong=self._voice(agent.model, prices),
            cheap=self._voice(agent.cheap_model, prices),
            approver=agent.approver,
            runner=agent.runner,
            cancelled=self._stop.is_set,
        )

    @property
    def state(self) -> RunState:
        """What is known now; read it from any thread."""
        return self.log.state

    def __iter__(self) -> Iterator[Record]:
        return self.drive()

    def drive(self) -> Generator[Record, None, None]:
        """Carry the run on, one durable record at a time; closing it suspends the run."""
        return drive(self.log, self._perform)

    def finish(self) -> Run:
        """Drive the run until it rests or ends, and return it."""
        try:
            for _ in self:
                pass
        except Interrupted:
            pass  # suspended from another thread: a result like any other
        return Run(self.agent, self.log.run, self.log.state)

    def suspend(self, event: Event | None = None) -> None:
        """Give up what is under way, now or at the next step.

        Args:
            event: recorded at once, and the run taken away from its thread, whatever that is waiting for.
        """
        self._stop.set()
        if event is not None and self.state.status is Status.IN_PROGRESS:
            self.log.revoke(event)

    def _voice(self, model: Model, prices: Mapping[str, Price]) -> Voice:
        price = prices[model.ref]
        layers: list[Layer] = [retrying(self.agent.sleep or self._sleep), metered(self.log, price)]
        if self.agent.replies is not None and self.agent.cassette is None and not model.ref.startswith("scripted"):
            layers.insert(0, cached(self.log, self.agent.replies, price, fresh=self.agent.fresh))
        thinking: int = getattr(getattr(model, "inner", model), "thinking_tokens", 0)
        return Voice(model.ref, chain(model, layers), thinking)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted("stopped while waiting for a rate limit")


class Run:
    """What is known about a run: everything is read from its records.

    Attributes:
        id: its id in the store.
    """

    def __init__(self, agent: Agent, run: str, state: RunState | None = None) -> None:
        self._agent = agent
        self.id = run
        self._state = state

    @property
    def state(self) -> RunState:
        """The fold of its records."""
        if self._state is None:
            self._state = fold(self._agent.store.read(self.id), NEW)
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
        return list(self._agent.store.read(self.id))

    def result(self, step: str) -> JSON:
        """The result of a finished step, by its id ("s1").

        Raises:
            UnmetReference: it is not finished, or has no result.
        """
        return RunLog(self._agent.store, self.id, self.events).result_of(step)

    def replay(self) -> Iterator[Record]:
        """Its records, one at a time, with no call of anything."""
        return iter(self._agent.store.read(self.id))

    def resume(self, *, in_doubt: InDoubt | None = None) -> Run:
        """Go on, see `Agent.resume`; this Run shows what came of it."""
        self._state = None  # read anew, also where going on ends with an error
        self._state = self._agent.resume(self.id, in_doubt=in_doubt).state
        return self

    def extend(self, **more: float) -> Run:
        """Raise caps, `extend(tokens=10_000)`, and go on where a limit stopped the run.

        Raises:
            ConfigError: no such cap, or the run did not stop at a limit.
        """
        log = RunLog(self._agent.store, self.id, self.events, clock=self._agent.clock)
        if log.state.status.ended and (log.state.limit is None or log.state.status is not Status.STOPPED):
            raise ConfigError(
                f"{self.id} did not stop at a limit but is {log.state.status}: there is nothing to go on with"
            )
        log.append(BudgetExtended(budget=log.state.budget.extended(**more)))
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

    def _decide(self, decision: Literal["approve", "reject"], by: str, reason: str) -> Run:
        log = RunLog(self._agent.store, self.id, self.events, clock=self._agent.clock)
        if log.state.approval is None or log.state.status is not Status.AWAITING_APPROVAL:
            raise ConfigError(f"nothing in {self.id} waits for a decision: it is {log.state.status}")
        log.append(ApprovalAnswered(step=log.state.approval.step, decision=decision, by=by or _person(), reason=reason))
        log.flush()
        return self.resume()

    @property
    def summary(self) -> Summary:
        """What a person is shown of it, as plain values."""
        return summarise(self.events, bare=self._agent.replaying)

    def __repr__(self) -> str:
        return as_text(self.summary)

    def _repr_html_(self) -> str:
        return as_html(self.summary)


def _stores(store: Store | Path | str) -> tuple[Store, ReplyCache | None]:
    if not isinstance(store, (str, Path)):
        return store, None
    from agentnb.store.disk import DiskReplyCache, DiskStore

    return DiskStore(store), DiskReplyCache(store)


def _price(model: Model) -> Price | None:
    real = getattr(model, "inner", model)
    own: Price | None = getattr(real, "price", None)
    return own or price_of(model.ref, getattr(real, "base_url", None))


def _unpriced(usage: Usage) -> float:  # noqa: ARG001 - a Price
    return 0.0


def _person() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "a person"


def _settle_doubt(log: RunLog, in_doubt: InDoubt | None) -> None:
    """Take in what a person says of a call whose outcome is not known."""
    claim = log.state.claim
    if claim is None:
        return
    if log.state.head.tools[claim.tool].effect == "read":
        return
    if in_doubt == "done":
        log.append(
            ToolReturned(
                step=claim.step, status="ok", seconds=0, result=log.keep(None), message="a person says that it was done"
            )
        )
    elif in_doubt == "not_done":
        log.append(RunSuspended(reason="in_doubt", detail="a person says that it was not done", withdrawn=True))
