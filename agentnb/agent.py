"""Agents: models, tools, a budget and a store, put together."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agentnb.approval import Approver, nobody, person
from agentnb.budget import Budget
from agentnb.calls import STILL_RUNS
from agentnb.cassette import Cassette, Recording, Replaying, behind
from agentnb.codec import head_of
from agentnb.dryrun import execution_plan
from agentnb.errors import ConfigError, ModelUnavailable, RunHeld
from agentnb.events import DoubtResolved, Event, PlanMade, Record, RunResumed, RunStarted
from agentnb.gate import Notify
from agentnb.log import Clock, RunLog
from agentnb.models.base import Model
from agentnb.models.resolve import available, resolve
from agentnb.plan import JSON, Plan, Step, numbered
from agentnb.planner import plan_problems
from agentnb.policy import Policy
from agentnb.prompts import LONGEST_TASK
from agentnb.run import InDoubt, Run
from agentnb.runner import Runner, ended, run_here
from agentnb.session import Means, Session, price_for
from agentnb.settings import DEFAULT_MODEL, Mode
from agentnb.state import RunState
from agentnb.store.base import Hold, ReplyCache, Store
from agentnb.tools import Tool, toolbox

__all__ = ["Agent"]


class Agent:
    """Models, tools, a budget and a store, put together; it carries out tasks and holds no state of its own.

    Args:
        model: plans and writes the answer: "anthropic:NAME", "openai:NAME", "local:NAME", or a model object.
        cheap_model: fills open arguments and criticises; the same as `model` if left out.
        tools: functions made with `@tool`; plain functions count as writes that cannot be taken back.
        budget: hard caps for each run; 25 steps, 50 000 tokens and 120 working seconds if left out.
        approve: what happens before a call that acts: "ask" a person, "deny", "auto" (which still asks before what
            cannot be taken back), "confidence" (asks where the planner is not sure enough), or a `Policy`, which also
            says what silence means and how long an approval holds.
        store: where runs are kept: a folder, or a store object.
        cassette: file of recorded model calls, see `mode`.
        mode: "auto", "live", "replay" or "record", see `Settings`.
        fresh: True asks models anew instead of taking replies from the prompt cache.
        approver: who is asked; nobody, if left out: the run then waits for `Run.approve`. One that raises denies.
        notify: told when something waits for a person, before anybody is asked: a function of an `ApprovalRequest`.
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
        approve: Policy | str = "ask",
        store: Store | Path | str = ".agentnb",
        cassette: Cassette | Path | str | None = None,
        mode: Mode = "auto",
        fresh: bool = False,
        approver: Approver = nobody,
        notify: Notify | None = None,
        runner: Runner = run_here,
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigError(f"budget={budget!r} is not a Budget: give e.g. Budget(tokens=20_000)")
        self.tools = toolbox(tools)
        self.budget = budget or Budget()
        self.policy = Policy.of(approve)
        if unknown := sorted(self.policy.thresholds.keys() - self.tools.keys()):
            there = ", ".join(self.tools) or "none"
            raise ConfigError(f"there is a threshold for {unknown[0]!r}, which is no tool: there are {there}")
        self.fresh = fresh
        self.approver = approver
        self.notify = notify
        self.runner = runner
        self.sleep = sleep
        self.cassette = cassette if isinstance(cassette, Cassette) else Cassette(cassette) if cassette else None
        self.mode: Mode = mode
        self.model = self._wired(model)
        self.cheap_model = self.model if cheap_model in (None, "", model) else self._wired(cheap_model)
        self.clock = clock or (Clock(monotonic=lambda: 0.0, stopped=True) if self.replaying else Clock())
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
        dry_run: bool = False,
    ) -> Run:
        """Carry out `task` and return what came of it; limits, refusals and failures are results, not exceptions.

        Args:
            task: what is wanted, in words.
            plan: steps to carry out as they are; models fill only arguments that start with "$?".
            tags: kept with the run, such as {"task_type": "triage"}.
            dry_run: True reads for real and only simulates what acts; `Run.effects` lists that, `Run.execute` does it.

        Raises:
            ConfigError: the task, the plan, a model or the budget cannot be used; nothing was recorded.
            KeyboardInterrupt: a person stopped it; it is suspended and can be resumed.
        """
        return self._finished(self.begin(task, plan=plan, tags=tags, dry_run=dry_run))

    def stream(
        self,
        task: str,
        *,
        plan: Plan | Sequence[Step | Mapping[str, JSON]] | None = None,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Generator[Record, None, None]:
        """Carry out `task`, one durable record at a time; arguments and errors as `run`.

        Nothing happens before the first record is asked for. Closing it suspends the run.
        """
        yield from self.begin(task, plan=plan, tags=tags, dry_run=dry_run).drive()

    def resume(self, run: str, *, in_doubt: InDoubt | None = None) -> Run:
        """Go on with a run at the exact call where it rests; what was done is not done again.

        Args:
            run: its id.
            in_doubt: what a person found out about a call whose outcome was not known: "done" takes it as having
                happened, "not_done" makes it again.

        Raises:
            RunNotFound: no such run.
            RunHeld: another kernel or process drives it.
            ConfigError: a tool or model that the run began with is missing or has changed.
        """
        return self._finished(self.reopen(run, in_doubt=in_doubt))

    def begin(
        self,
        task: str,
        *,
        plan: Plan | Sequence[Step | Mapping[str, JSON]] | None = None,
        tags: Mapping[str, str] | None = None,
        dry_run: bool = False,
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
        for model in (self.model, self.cheap_model):
            price_for(model, self.budget.usd)
        return self._begun(task, given, dict(tags or {}), dry=dry_run)

    def execute(self, run: str) -> Run:
        """Do exactly what a dry run has shown, as a run of its own with no model in it.

        First every read is made again, and has to give what it gave; then the calls are made, once a person has let
        them, and the reads have given the same after that too.

        Args:
            run: the id of the dry run.

        Raises:
            RunNotFound: no such run.
            ConfigError: it was no dry run, or did not complete, or a tool is missing or has changed.
        """
        return self._finished(self.begin_execution(run))

    def begin_execution(self, run: str) -> Session:
        """The run that does what a dry run has shown, not yet driven; arguments and errors as `execute`."""
        records = list(self.store.read(run))
        log = RunLog(self.store, run, records, clock=self.clock)
        again = [name for name in self.store.runs() if head_of(self.store.first(name)).executes == run]
        told = f"{run} was executed before, by {', '.join(again)}" if again else ""
        steps = [
            replace(step, ask="; ".join(filter(None, (told, step.ask)))) if step.ask else step
            for step in execution_plan(log, records)
        ]
        self._require_tools(log.state)
        head = log.state.head
        return self._begun(head.task, tuple(steps), dict(head.tags), executes=run)

    def _begun(
        self,
        task: str,
        given: tuple[Step, ...] | None,
        tags: Mapping[str, str],
        *,
        dry: bool = False,
        executes: str = "",
    ) -> Session:
        log = RunLog(self.store, self.store.new_run_id(), clock=self.clock)
        start = RunStarted(
            run=log.run,
            task=task.strip().encode("utf-8", "replace").decode(),
            model=self.model.ref,
            cheap_model=self.cheap_model.ref,
            tools={name: made.facts for name, made in self.tools.items()},
            budget=self.budget,
            policy=self.policy,
            tags=tags,
            dry=dry,
            executes=executes,
            uid=secrets.token_hex(6),
            process=os.getpid(),
        )
        first = (
            () if given is None else (PlanMade(version=1, keep=0, steps=given, reason="given by the user", by="user"),)
        )
        hold = self.store.hold(log.run)
        try:
            return Session(log, self._means, hold, log.append(start, *first))
        except BaseException:
            hold.release(ended=False)
            raise

    def reopen(self, run: str, *, in_doubt: InDoubt | None = None) -> Session:
        """A run that is there already, ready to be driven; arguments and errors as `resume`."""
        hold = self.held(run)
        try:
            log = RunLog(self.store, run, self.store.read(run), clock=self.clock)
            if log.state.status.ended:  # of a call that was cancelled over, it can still be said whether it happened
                return Session(log, self._means, hold, log.append(*_settled(log, in_doubt)) + log.flush())
            self.require_able(log.state)
            settled = _settled(log, in_doubt)
            return Session(log, self._means, hold, log.append(*settled, RunResumed(process=os.getpid())))
        except BaseException:
            hold.release(ended=False)
            raise

    def held(self, run: str) -> Hold:
        """The run, for this agent alone.

        Raises:
            RunHeld: somebody else drives it; says who, and since when.
        """
        self.store.first(run)  # a run that is not there is no lock's business
        try:
            return self.store.hold(run)
        except RunHeld:
            since = [r for r in self.store.read(run) if isinstance(r.event, RunStarted | RunResumed)][-1]
            who, when = since.event, time.strftime("%H:%M:%S on %d %B", time.localtime(since.at))
            process = who.process if isinstance(who, RunStarted | RunResumed) else 0
            raise RunHeld(
                f"{run} is being driven by process {process} since {when}: wait until it rests, or stop it there"
            ) from None

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
            return Recording(found, self.cassette)
        absent = self.mode == "auto" and len(self.cassette) and isinstance(model, str) and available(found.ref)
        return Replaying(found.ref, self.cassette) if self.mode == "replay" or absent else found

    def _require_callable(self) -> None:
        for model in {id(m): m for m in (self.model, self.cheap_model)}.values():
            if not isinstance(model, Replaying) and (why := available(behind(model))):
                hint = "" if model.ref.startswith("local") else '; model="local:" needs no key'
                raise ModelUnavailable(f"{model.ref} cannot be called: {why}{hint}")

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

    def require_able(self, state: RunState) -> None:
        """Raise ConfigError where a run cannot be gone on with: something it began with is missing or has changed."""
        self._require_tools(state)
        head = state.head
        if head.executes:  # no model has a part in that
            return
        for mine, its in ((self.model.ref, head.model), (self.cheap_model.ref, head.cheap_model)):
            if mine != its:
                raise ConfigError(f"{head.run} began with the model {its}, not {mine}: resume it with model={its!r}")
        self._require_callable()

    def _require_tools(self, state: RunState) -> None:
        head = state.head
        for name, facts in head.tools.items():
            if name not in self.tools:
                raise ConfigError(f"{head.run} uses the tool {name!r}, which is not here: define it again, then resume")
            if self.tools[name].facts != facts:
                raise ConfigError(
                    f"the tool {name!r} is not the one that {head.run} began with (its arguments, effect or"
                    " reversibility have changed): restore it, or start a new run"
                )

    @property
    def _means(self) -> Means:
        return Means(
            model=self.model,
            cheap_model=self.cheap_model,
            tools=self.tools,
            approver=self.approver,
            notify=self.notify,
            runner=self.runner,
            sleep=self.sleep,
            replies=None if self.replaying or isinstance(self.model, Recording) else self.replies,
            fresh=self.fresh,
        )

    def _finished(self, session: Session) -> Run:
        session.finish()
        return Run(self, session.log.run, session.state)


def _stores(store: Store | Path | str) -> tuple[Store, ReplyCache | None]:
    if not isinstance(store, (str, Path)):
        return store, None
    from agentnb.store.disk import DiskReplyCache, DiskStore

    return DiskStore(store), DiskReplyCache(store)


def _settled(log: RunLog, in_doubt: InDoubt | None) -> tuple[Event, ...]:
    """What a person says of a call whose outcome is not known, as an event; () where nothing is to be said."""
    if in_doubt not in (None, "done", "not_done"):
        raise ConfigError(f"in_doubt={in_doubt!r} is neither 'done' nor 'not_done'")
    claim = log.state.claim
    if claim is None or in_doubt is None or log.state.cleared:
        return ()
    happened = in_doubt == "done"
    if not happened and not ended(claim.key, 0):
        raise ConfigError(f"{claim.step} {claim.tool} of {log.run}: {STILL_RUNS}")
    result = log.keep(None) if happened else None
    return (DoubtResolved(step=claim.step, happened=happened, by=person(), result=result),)
