"""Agents: models, tools, a budget and a store, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

from agentnb.alerts import Alert, alerts_in
from agentnb.approval import Approver, Notify, nobody
from agentnb.budget import Budget, Phase
from agentnb.by_hand import Given, retried_by
from agentnb.cassette import Cassette, Recording, Replaying, behind
from agentnb.checkpoint import load
from agentnb.chosen import Which, chosen
from agentnb.codec import head_of
from agentnb.delegate import AgentTool, Delegate, agent_tool
from agentnb.dryrun import execution_plan
from agentnb.errors import ConfigError, DamagedRecord, RunHeld
from agentnb.events import Event, PlanMade, Record, RunResumed, RunRetried, RunStarted
from agentnb.family import agents_in, innermost, tools_of, top
from agentnb.fork import Changed, beginning, cut, parted, require_usable
from agentnb.index import Index
from agentnb.log import Clock, RunLog
from agentnb.models.base import Model
from agentnb.models.lineup import Lineup
from agentnb.observed import Observer, observed
from agentnb.plan import JSON, Plan, Step, numbered, steps_of
from agentnb.planner import plan_problems
from agentnb.policy import Assess, MemoryPolicy, Policy
from agentnb.prompt_text import LONGEST_TASK
from agentnb.query import Query
from agentnb.reading import with_reading
from agentnb.redact import Redactor
from agentnb.resume import InDoubt, differences, settled
from agentnb.run import Run
from agentnb.runner import Runner, run_here
from agentnb.runs import Runs
from agentnb.search import Found, search
from agentnb.session import Means, Session
from agentnb.settings import DEFAULT_MODEL, Mode, Settings
from agentnb.slices import Slice, checked
from agentnb.state import RunState
from agentnb.stops import DEFAULT_STOPS, NO_STOPS, Stops
from agentnb.store.base import Hold, Progress, ReplyCache, Store
from agentnb.terms import Terms, started
from agentnb.tools import Tool, toolbox
from agentnb.wiring import Wiring, keys_of, require_affordable, require_callable

__all__ = ["Agent"]


class Agent:
    """Models, tools, a budget and a store, put together; it carries out tasks and holds no state of its own.

    Args:
        model: the strong one, plans and writes the answer: "anthropic:NAME", "openai:NAME", "local:NAME", or an object.
        cheap_model: does the rest, fills open arguments and criticises; the same as `model` if left out.
        phases: other models for single phases, {"critique": "openai:NAME"}: plan, bind, critique, assess, summarise,
            answer.
        escalate: True asks `model` once in place of a cheaper one whose replies cannot be used, before a person.
        tools: functions made with `@tool`; plain functions count as writes that cannot be taken back.
        budget: hard caps for each run; 25 steps, 50 000 tokens and 120 working seconds if left out.
        approve: what happens before a call that acts: "ask" a person, "deny", "auto" (which still asks before what
            cannot be taken back), "confidence" (asks where the planner is not sure enough), or a `Policy`, which also
            says what silence means and how long an approval holds.
        assess: when a run assesses what it rests on, and asks a person about what is critical and nobody has said: an
            `Assess`, True for every 10 steps and before each call that acts, False for never.
        memory: how much prompts say of what was found so far, and when it is summarised, see `MemoryPolicy`.
        stops: when a run is stopped that goes round in circles or finds nothing new; None for never.
        store: where runs are kept: a folder, or a store object.
        cassette: file of recorded model calls, see `mode`.
        mode: "auto", "live", "replay", "record" or "new", see `Settings`; with a cassette, "auto" is what the variable
            AGENTNB_MODE says.
        fresh: True asks models anew instead of taking replies from the prompt cache.
        secrets: texts by name that are never recorded, sent to a model or shown: `[redacted:NAME]` stands in their
            place. Keys in the environment and those given to models need not be named.
        approver: who is asked, a function, sync or async; nobody, if left out: the run then waits for `Run.approve`.
            One that raises denies.
        notify: told when something waits for a person, before anybody is asked: a function of an `ApprovalRequest`.
        alerts: what to warn of, in the output and by a callback, see `Alert`.
        telemetry: told what runs do as it becomes durable: a `Telemetry`, or None for nobody.
        runner: where tools run; on this thread if left out.
        clock: where times come from.
        sleep: how to wait for a rate limit, in seconds; a stop ends the wait early if it is left out.

    Raises:
        ConfigError: a model, a tool or a setting that cannot be used.
        StoreError: the store cannot be opened.
    """

    def __init__(  # noqa: PLR0913 - all but the first by name, each something that a user sets
        self,
        model: str | Model = DEFAULT_MODEL,
        *,
        cheap_model: str | Model | None = None,
        phases: Mapping[Phase, str | Model] | None = None,
        escalate: bool = False,
        tools: Iterable[Tool | Callable[..., Any]] = (),
        budget: Budget | None = None,
        approve: Policy | str = "ask",
        assess: Assess | bool = True,
        memory: MemoryPolicy | None = None,
        stops: Stops | None = DEFAULT_STOPS,
        store: Store | Path | str = ".agentnb",
        cassette: Cassette | Path | str | None = None,
        mode: Mode = "auto",
        fresh: bool = False,
        secrets: Mapping[str, str] | None = None,
        approver: Approver = nobody,
        notify: Notify | None = None,
        alerts: Iterable[Alert] = (),
        telemetry: Observer | None = None,
        runner: Runner = run_here,
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        for what, function in (("approver", approver), ("notify", notify or nobody)):
            if not callable(function):
                raise ConfigError(f"{what}={function!r} is no function: give one of an ApprovalRequest")
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigError(f"budget={budget!r} is not a Budget: give e.g. Budget(tokens=20_000)")
        self.tools = with_reading(toolbox(tools))
        self.budget = budget or Budget()
        rules = stops or NO_STOPS
        if not isinstance(rules, Stops):
            raise ConfigError(f"stops={stops!r} is not a Stops: give e.g. Stops(repeats=3, no_progress=None), or None")
        self.terms = Terms(
            policy=Policy.of(approve),
            assess=Assess.of(assess),
            memory=memory or MemoryPolicy(),
            stops=rules,
            escalate=escalate,
            alerts=alerts_in(alerts),
        )
        if unknown := sorted(self.terms.policy.thresholds.keys() - self.tools.keys()):
            there = ", ".join(self.tools) or "none"
            raise ConfigError(f"there is a threshold for {unknown[0]!r}, which is no tool: there are {there}")
        self.fresh = fresh
        self.approver = approver
        self.notify = notify
        self.runner = runner
        self.sleep = sleep
        self.telemetry = telemetry
        if not isinstance(secrets, Mapping | None):
            raise ConfigError('secrets= is no mapping: give texts by name, e.g. {"crm": text}')
        self._named = dict(secrets or {})
        Redactor(self._named)  # raises where one cannot be used
        tape = cassette if isinstance(cassette, Cassette) else Cassette(cassette) if cassette else None
        if tape is not None and mode == "auto":
            mode = Settings.of(os.environ).mode
        self._wiring = Wiring(tape, mode, lambda: self.redact)
        self.lineup = self._wiring.lineup(model, cheap_model, phases or {})
        self._given = (model, cheap_model, phases or {})
        self.clock = clock or (Clock(monotonic=lambda: 0.0, stopped=True) if self.replaying else Clock())
        kept, self.replies = _stores(store)
        self.store = observed(kept, telemetry)
        self._index = Index(self.store)

    @property
    def replaying(self) -> bool:
        """True where models answer from a cassette: what a run shows then leaves out ids and times."""
        return isinstance(self.lineup.model, Replaying)

    @property
    def redact(self) -> Redactor:
        """Takes out of a text what is secret now: what was named, the models' keys, and keys in the environment."""
        return self._redactor(*self.lineup)

    def _redactor(self, *models: Model) -> Redactor:
        inside = (agent.delegate.secrets for agent in agents_in(self.tools))
        return Redactor.here(self._named, keys_of(map(behind, models)), *inside)

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
        return self.drive(self.begin(task, plan=plan, tags=tags, dry_run=dry_run))

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

    def resume(self, run: str, *, in_doubt: InDoubt | None = None, accept_changes: bool = False) -> Run:
        """Go on with a run at the exact call where it rests; what was done is not done again.

        Args:
            run: its id.
            in_doubt: what a person found out about a call whose outcome was not known: "done" takes it as having
                happened, "not_done" makes it again.
            accept_changes: True goes on with this agent's models and tools where the run began with others, and
                records that; what a tool that has changed was allowed before is asked about anew.

        Raises:
            RunNotFound: no such run.
            RunHeld: another kernel or process drives it.
            ConfigError: a tool or model that the run began with is missing or has changed; names all of them.
            DamagedRecord: what is kept of it is damaged, or its end is missing: nothing goes on from a guess.
        """
        return self.drive(self.reopen(run, in_doubt=in_doubt, accept_changes=accept_changes))

    def retry(
        self, run: str, hint: str = "", *, by: str = "", accept_changes: bool = False, **given: Unpack[Given]
    ) -> Run:
        """Go on with a run whose model gave no usable reply, or that was stopped for going round in circles.

        Where it is a run inside another that waits, the hint is for that one, and the outermost goes on.

        Args:
            run: its id.
            hint: what the model is to know; it reads it as a person's word.
            by: who says so; whoever is logged in, if left out.
            accept_changes: as of `resume`.
            given: in place of the model's reply, see `Given`: plan, args, verdict or answer.

        Returns:
            The run that goes on, the outermost.

        Raises:
            RunNotFound: no such run.
            RunHeld: another kernel or process drives it.
            ConfigError: nothing of it waits for help, or what is given cannot be used; nothing was recorded.
        """
        run = top(self.store, run)
        hold = self.held(run)
        try:
            log = RunLog.reopened(self.store, run, self.clock, self.redact)
            waits = innermost(self.store, run, self.clock, log.redact)
            said, then = retried_by(waits, tools_of(self.store, waits.run, self.tools), hint, given, by)
            self.require_able(log.state, accept_changes=accept_changes)
            resumed = self._accepting(log.state) if accept_changes else RunResumed(process=os.getpid())
        except BaseException:
            hold.release(ended=False)
            raise
        return self.drive(self._driving(log, lambda: self._tried_again(log, waits, (said, then), resumed), hold))

    def _tried_again(
        self, log: RunLog, waits: RunLog, said: tuple[RunRetried, Sequence[Event]], resumed: RunResumed
    ) -> tuple[Record, ...]:
        retried, then = said
        if waits.run == log.run:
            return log.append(retried, resumed, *then)
        hold = self.held(waits.run)
        try:
            waits.append(retried, RunResumed(process=os.getpid()), *then)
            waits.flush()
        finally:
            hold.release(ended=waits.state.status.ended)
        return log.append(resumed)

    def fork(self, run: str, at: str | int | None = None, **changed: Unpack[Changed]) -> Run:
        """A new run that shares the beginning of `run` and goes on from one of its steps, with something changed.

        The shared steps are not carried out, nor paid for, again. What `run` has called since then, the new one does
        not repeat unasked. `run` stays as it is.

        Args:
            run: the id of a run, in whatever state.
            at: what comes next in the new run: "s3" or 3, "plan" (all is planned anew), "answer"; None for the last
                place there is.
            changed: what is otherwise from there on, see `Changed`: args, plan, budget, model, cheap_model, phases.
                Tools and policy are those of this agent.

        Raises:
            RunNotFound: no such run.
            ConfigError: it has no such place, or cannot be carried out so; nothing was recorded.
        """
        return self.drive(self.begin_fork(run, at, **changed))

    def as_tool(
        self,
        name: str,
        description: str,
        *,
        budget: Slice = 0.5,
        task: str | Callable[..., str] = "{task}",
    ) -> AgentTool:
        """This agent as a tool of another: each call is a run of its own, in the store of the run that makes it.

        It counts as what this agent's tools do, the worst of them. Its policy asks about each of its own calls that
        acts, under the run around it, so that the call itself is not asked about; its approver, if it has one, goes
        before that of the run around it. It has no budget of its own but a slice of that run's.

        The result is {"status", "stop_reason", "detail", "answer", "unknowns"}. A limit, a failure or a refusal in
        there is a result as well. Where it waits for a person, so does the run around it, and either can be answered:
        `approve`, `answer`, `retry`. When it assesses, stops and warns is its own; its secrets are the run's around it
        as well.

        Args:
            name: what models call it by.
            description: what it can do, in a line: models choose by it.
            budget: its slice of each cap: a share of what is left when it begins, or a `Budget` of which it gets no
                more than is left.
            task: the words of its task with the arguments that they are made of, "Summarise {path}", each a text; or a
                function with typed arguments that gives the words.

        Raises:
            ConfigError: a slice that allows nothing, or more than 5 runs inside of one another.
            ToolDefinitionError: no such tool can be made.
        """
        mine = Delegate(
            models=self._given,
            lineup=self.lineup if self._wiring.cassette else None,
            refs=tuple(model.ref for model in self.lineup),
            tools=dict(self.tools),
            terms=self.terms,
            budget=checked(budget),
            approver=None if self.approver is nobody else self.approver,
            fresh=self.fresh,
            secrets={**keys_of(map(behind, self.lineup)), **self._named},
        )
        return agent_tool(mine, name, description, task)

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
        given, kept = None if plan is None else self._checked(plan), tags or {}
        if not isinstance(kept, Mapping) or not all(isinstance(text, str) for tag in kept.items() for text in tag):
            raise ConfigError(f"tags={tags!r} are no texts by name: give e.g. {{'task_type': 'triage'}}")
        self._require_affordable(self.budget.usd, *self.lineup)
        return self._begun(task, given, dict(kept), dry=dry_run)

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
        return self.drive(self.begin_execution(run))

    def begin_execution(self, run: str) -> Session:
        """The run that does what a dry run has shown, not yet driven; arguments and errors as `execute`."""
        records = list(self.store.read(run))
        log = RunLog.reopened(self.store, run, self.clock, self.redact)
        again = [name for name in self.store.runs() if _executed(self.store, name) == run]
        told = f"{run} was executed before, by {', '.join(again)}" if again else ""
        steps = [
            replace(step, ask="; ".join(filter(None, (told, step.ask)))) if step.ask else step
            for step in execution_plan(log, records)
        ]
        head = log.state.head
        if found := differences(log.state, self.tools):  # no model has a part in it
            raise ConfigError(f"{run} cannot be executed: {'; '.join(found.said)}. Restore that, and execute it then")
        return self._begun(head.task, tuple(steps), dict(head.tags), executes=run)

    def begin_fork(self, run: str, at: str | int | None = None, **changed: Unpack[Changed]) -> Session:
        """The new run, recorded and not yet driven; arguments and errors as `fork`."""
        require_usable(changed)
        phases = changed.get("phases")
        lineup = self._wiring.lineup(
            changed.get("model"),
            changed.get("cheap_model"),
            self.lineup.phases if phases is None else phases,
            self.lineup,
        )
        kept = None
        if load(self.store, run)[0].status.ended:
            with suppress(RunHeld):  # by one who drove it when it was cancelled elsewhere: nothing of it is taken away
                kept = self.held(run)  # or its values could be taken away before they are held here too
        try:
            return self._forked(run, at, changed, lineup)
        finally:
            if kept is not None:
                kept.release(ended=True)

    def _forked(self, run: str, at: str | int | None, changed: Changed, lineup: Lineup) -> Session:
        where = cut(run, list(self.store.read(run)), at)
        event = parted(where, changed, self.tools, lineup, self.terms)
        self._require_affordable(event.budget.usd, *lineup)
        log = RunLog(self.store, self.store.new_run_id(), self.clock, redact=self._redactor(*lineup))
        means = replace(self._means, models=lineup)

        def begin() -> tuple[Record, ...]:
            log.adopt(beginning(where, log.run))
            return log.append(event)

        return self._driving(log, begin, means=means)

    def _begun(
        self,
        task: str,
        given: tuple[Step, ...] | None,
        tags: Mapping[str, str],
        *,
        dry: bool = False,
        executes: str = "",
    ) -> Session:
        log = RunLog(self.store, self.store.new_run_id(), self.clock, redact=self.redact)
        rest: dict[str, Any] = {"budget": self.budget, "tags": tags, "dry": dry, "executes": executes}
        if executes:  # all was assessed in its dry run
            rest["assess"] = None
        facts = {name: made.facts for name, made in self.tools.items()}
        start = started(log.run, task, self.terms, self.lineup.names, facts, **rest)
        first = (
            () if given is None else (PlanMade(version=1, keep=0, steps=given, reason="given by the user", by="user"),)
        )
        return self._driving(log, lambda: log.append(start, *first))

    def _require_affordable(self, usd: float | None, *models: Model) -> None:
        """As `wiring.require_affordable`, of the agents among the tools as well."""
        require_affordable(usd, *models)
        for inner in agents_in(self.tools):
            own, of = inner.delegate.budget, self._means.of(inner)
            cap = usd if usd is not None or not isinstance(own, Budget) else own.usd
            require_affordable(cap, *of.models)

    def _driving(
        self,
        log: RunLog,
        begin: Callable[[], tuple[Record, ...]],
        hold: Hold | None = None,
        means: Means | None = None,
    ) -> Session:
        """`log`, held and begun; let go of again where that fails."""
        mine = hold or self.store.hold(log.run)
        try:
            return Session(log, means or self._means, mine, begin())
        except BaseException:
            mine.release(ended=False)
            raise

    def reopen(self, run: str, *, in_doubt: InDoubt | None = None, accept_changes: bool = False) -> Session:
        """A run that is there already, ready to be driven; arguments and errors as `resume`.

        Of a run inside another the outermost is meant: it goes on there.
        """
        run = top(self.store, run)
        hold = self.held(run)
        try:
            log = RunLog.reopened(self.store, run, self.clock, self.redact)
        except BaseException:
            hold.release(ended=False)
            raise
        return self._driving(log, lambda: self._gone_on(log, in_doubt, accept_changes=accept_changes), hold)

    def _gone_on(self, log: RunLog, in_doubt: InDoubt | None, *, accept_changes: bool) -> tuple[Record, ...]:
        inner = innermost(self.store, log.run, self.clock, log.redact)
        if inner.run != log.run:  # it is that one's call that is in doubt
            inner.append(*settled(inner, in_doubt))
            inner.flush()
            in_doubt = None
        said = settled(log, in_doubt)
        if log.state.status.ended:  # of a call that was cancelled over, it can still be said whether it happened
            return log.append(*said) + log.flush()
        if not accept_changes:
            self.require_able(log.state)
            return log.append(*said, RunResumed(process=os.getpid()))
        return log.append(*said) + log.append(self._accepting(log.state))

    def held(self, run: str) -> Hold:
        """The run, for this agent alone.

        Raises:
            RunHeld: somebody else drives it; says who, and since when.
        """
        self.store.first(run)  # a run that is not there is no lock's business
        try:
            return self.store.hold(run)
        except RunHeld:
            process, at = 0, 0.0
            for record in self.store.read(run):
                if isinstance(record.event, RunStarted | RunResumed) and record.event.process:
                    process, at = record.event.process, record.at
            when = time.strftime("%H:%M:%S on %d %B", time.localtime(at))
            raise RunHeld(
                f"{run} is being driven by process {process} since {when}: wait until it rests, or stop it there"
            ) from None

    def runs(self, *, progress: Progress | None = None, **which: Unpack[Which]) -> Runs:
        """The runs of the store, newest first: a sequence to look at, choose from (`where`), sort and sum up.

        Args:
            progress: told how many runs were taken into the index, and how many there are to take in; that is done at
                once then, else when they are first looked at.
            which: those that are meant, as of `Runs.where`; all, if left out.

        Raises:
            ConfigError: a condition that cannot be read.
        """
        meant = chosen(which, self.clock.wall())
        if progress is not None:
            self._index.catch_up(progress)
        return Runs(self, self._index, meant)

    def search(
        self,
        text: str = "",
        *,
        limit: int = 20,
        order: Literal["newest", "best"] = "newest",
        progress: Progress | None = None,
        **which: Unpack[Which],
    ) -> Found:
        """The runs that have all of `text` in what they were asked, did, found and answered, each with where it stands.

        Args:
            text: words, "quoted phrases" and beginnings, "tick*"; case and accents do not matter. "" for whatever they
                say: then the record is shown that the conditions are about.
            limit: at most so many runs.
            order: the newest first, or "best": those in which rare words are frequent.
            progress: told how many runs were taken into the index, and how many there are to take in.
            which: which runs are meant, `tool="create_ticket", status="failed", since="tuesday", min_usd=0.1`, as of
                `Runs.where`.

        Raises:
            ConfigError: there is nothing to search for, or a condition cannot be read.
        """
        query = Query.of(text) if text.strip() else None
        meant = chosen(which, self.clock.wall())
        found = search(self._index, query, meant, limit=limit, order=order, progress=progress)
        return replace(found, bare=self.replaying)

    def _checked(self, plan: Plan | Sequence[Step | Mapping[str, JSON]]) -> tuple[Step, ...]:
        steps = numbered(steps_of(plan))
        if found := self.redact.named_in(*(step.args for step in steps)):
            raise ConfigError(f"the plan holds the secret {', '.join(found)}: let the tool read it itself")
        if problems := plan_problems(steps, self.tools):
            raise ConfigError(f"the plan cannot be carried out: {'; '.join(problems)}")
        return steps

    def _accepting(self, state: RunState) -> RunResumed:
        """The record that takes over what is another here than the run began with; ConfigError where none can."""
        if not state.head.executes:
            require_affordable(state.budget.usd, *self.lineup)
        return differences(state, self.tools, self.lineup).resumed(state, os.getpid())

    def require_able(self, state: RunState, *, accept_changes: bool = False) -> None:
        """Raise ConfigError where a run cannot be gone on with: something it began with is missing or has changed.

        Args:
            state: of the run.
            accept_changes: True where what has changed is accepted, as far as that can be.
        """
        if accept_changes:
            self._accepting(state)
            return
        if found := differences(state, self.tools, self.lineup):
            raise ConfigError(
                f"{state.head.run} cannot go on as it is: {'; '.join(found.said)}. Restore that, or accept it with"
                " accept_changes=True (--accept-changes), or fork the run"
            )
        if not state.head.executes:  # no model has a part in that
            require_callable(*self.lineup)

    @property
    def _means(self) -> Means:
        return Means(
            models=self.lineup,
            tools=self.tools,
            approver=self.approver,
            notify=self.notify,
            runner=self.runner,
            sleep=self.sleep,
            replies=None if self.replaying or isinstance(self.lineup.model, Recording) else self.replies,
            fresh=self.fresh,
            alerts=self.terms.alerts,
            inside=self._inside,
            observer=self.telemetry,
        )

    @property
    def models(self) -> tuple[Model, ...]:
        """All that may be asked, those of the agents among the tools included."""
        inside = (model for agent in agents_in(self.tools) for model in self._lineup_of(agent))
        return (*self.lineup, *inside)

    def _inside(self, agent: AgentTool) -> Lineup:
        found = self._lineup_of(agent)
        require_callable(*found)
        return found

    def _lineup_of(self, agent: AgentTool) -> Lineup:
        """The models of an agent among the tools; one with a cassette of its own keeps to that."""
        own = agent.delegate
        return own.lineup or self._wiring.lineup(*own.models)

    def drive(self, session: Session) -> Run:
        """Carry a run on until it rests or ends."""
        session.finish()
        return Run(self, session.log.run, session.state)


def _executed(store: Store, run: str) -> str:
    """The dry run that a run has carried out, or "": also of one that cannot be read."""
    try:
        return head_of(store.first(run)).executes
    except DamagedRecord:
        return ""


def _stores(store: Store | Path | str) -> tuple[Store, ReplyCache | None]:
    if not isinstance(store, (str, Path)):
        return store, None
    from agentnb.store.disk import DiskStore
    from agentnb.store.replies import DiskReplyCache

    return DiskStore(store), DiskReplyCache(store)
