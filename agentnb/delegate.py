"""An agent as a tool: a call is a run of its own, inside the run that makes it and inside a slice of its budget.

The parent's record says which run the call is before that run begins. So whoever goes on with the parent, in whatever
process, goes on with that very child, at its exact call; and what the child may spend is reserved until it is settled.
"""

from __future__ import annotations

import contextvars
import hashlib
import inspect
import json
import string
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Protocol, get_args

from agentnb.approval import Approver
from agentnb.budget import Phase, Refusal
from agentnb.checkpoint import load
from agentnb.errors import ConfigError, FailureClass, Interrupted, RunHeld, ToolDefinitionError
from agentnb.events import ChildSettled, ChildStarted, Event, RunSuspended, ToolClaimed, ToolReturned
from agentnb.log import RunLog
from agentnb.models.base import Model
from agentnb.models.lineup import Lineup
from agentnb.plan import JSON, Step
from agentnb.policy import Reversibility
from agentnb.prepared import LONGEST_MESSAGE, Prepared
from agentnb.runner import Runner
from agentnb.slices import Slice, cut, reservation
from agentnb.state import Child, RunState, Status
from agentnb.terms import Terms
from agentnb.tools import Tool, tool

__all__ = [
    "MAX_DEPTH",
    "AgentTool",
    "ChildRests",
    "Delegate",
    "Inside",
    "Spawn",
    "agent_tool",
    "delegated",
    "settled",
]

MAX_DEPTH: Final = 5
"""Runs inside of runs."""


@dataclass(frozen=True, slots=True)
class Delegate:
    """An agent, as the runs that it is a tool of need it.

    Attributes:
        models: its model, its cheap model and those of single phases, as they were given: looked up where the parent's
            are, so that one cassette holds all of it.
        lineup: the same, where it has a cassette of its own.
        refs: the names of all.
        tools: its tools by name.
        terms: what its runs are held to.
        budget: its slice.
        approver: answers in place of the parent's, or None.
        fresh: True asks models anew.
        secrets: by name, what the runs around it take out of their texts too: what was named to it, and its models'
            keys.
    """

    models: tuple[str | Model, str | Model | None, Mapping[Phase, str | Model]]
    lineup: Lineup | None
    refs: tuple[str, ...]
    tools: Mapping[str, Tool]
    terms: Terms
    budget: Slice
    approver: Approver | None = None
    fresh: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class AgentTool(Tool):
    """An agent that other agents may call; made by `Agent.as_tool`. Its function gives the words of the task.

    Attributes:
        delegate: the agent.
    """

    delegate: Delegate = field(kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        plain, of = self.facts, self.delegate
        inside = [plain.schema, *of.refs, *(f"{name} {made.facts}" for name, made in sorted(of.tools.items()))]
        schema = hashlib.sha256("\n".join(inside).encode()).hexdigest()[:16]  # its models and tools count as arguments
        object.__setattr__(self, "facts", replace(plain, schema=schema, delegates=True))

    def __call__(self, *args: Any, **kwargs: Any) -> JSON:
        """Run the agent inside the call that this is made in, and give what came of it.

        Raises:
            ConfigError: it is made in no call of a run that is known on this thread; nothing was run.
        """
        given = inspect.signature(self.function).bind(*args, **kwargs).arguments
        return self.run(self.validated(given))

    def run(self, kwargs: Mapping[str, Any], key: str = "") -> JSON:  # noqa: ARG002 - it has a key of its own
        """As a call of it, with validated arguments."""
        inside = _INSIDE.get()
        if inside is None:
            raise ConfigError(
                f"{self.name} is an agent, and runs inside of a run, whose budget pays for it: give it to an agent as a"
                " tool, or call it in a tool; a thread of your own is handed the place by"
                " contextvars.copy_context().run(…), asyncio.to_thread does so itself"
            )
        return inside.call(self, kwargs)


def agent_tool(of: Delegate, name: str, description: str, task: str | Callable[..., str]) -> AgentTool:
    """`of` as a tool: it counts as what its own tools do, the worst of them.

    Raises:
        ToolDefinitionError: no name or description, or a task that is neither a text nor a typed function.
        ConfigError: runs would be nested too deep.
    """
    if not description.strip():
        raise ToolDefinitionError(f"{name} has no description: say in one line what it does, models choose by it")
    if (deep := 1 + _height(of.tools)) > MAX_DEPTH:
        raise ConfigError(f"{name} would be {deep} runs inside of one another, and {MAX_DEPTH} are the most")
    facts = [made.facts for made in of.tools.values()]
    acts = [each for each in facts if each.effect != "read"]
    worst: Reversibility = "full"
    for each in acts:
        worst = max(worst, each.reversibility, key=get_args(Reversibility).index)
    made = tool(
        name=name,
        effect="write" if acts else "read",
        reversibility=worst,
        egress=any(each.egress for each in facts),
        untrusted=any(each.untrusted for each in facts),
        idempotent=True,  # under its key it is the same child
        tries=1,
        simulate=_simulated,
    )(_words(name, description, task))
    same = {each.name: getattr(made, each.name) for each in fields(Tool) if each.init}
    return AgentTool(**{**same, "description": " ".join(description.split())}, delegate=of)


def _height(tools: Mapping[str, Tool]) -> int:
    below = [1 + _height(made.delegate.tools) for made in tools.values() if isinstance(made, AgentTool)]
    return max(below, default=0)


def _simulated() -> dict[str, JSON]:
    return {"status": "simulated", "stop_reason": "", "detail": "", "answer": "", "unknowns": []}


def _words(name: str, description: str, task: str | Callable[..., str]) -> Callable[..., str]:
    """A function with a typed signature that gives the task's text."""
    if callable(task):
        if not inspect.getdoc(task):
            task.__doc__ = description
        return task
    try:
        names = list(dict.fromkeys(part for _, part, _, _ in string.Formatter().parse(task) if part is not None))
    except ValueError as error:
        raise ToolDefinitionError(f"{name}: task={task!r} cannot be read: {error}") from error
    if not names or not all(part.isidentifier() for part in names):
        raise ToolDefinitionError(f"{name}: task={task!r} has no argument such as {{task}} for what is wanted")

    def words(**given: str) -> str:
        return task.format(**given)

    words.__doc__ = description
    words.__annotations__ = dict.fromkeys(names, str)
    words.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # inspect reads it
        [inspect.Parameter(part, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str) for part in names]
    )
    return words


class Driven(Protocol):
    """A child that is being driven here."""

    @property
    def state(self) -> RunState:
        """What is known of it now."""

    def finish(self) -> None:
        """Drive it until it rests or ends."""


class Spawn(Protocol):
    """Whoever drives the parent: makes a child of it, or goes on with one."""

    def __call__(self, agent: AgentTool, child: str, task: str, begins: ChildStarted | None) -> Driven:
        """The child, ready to be driven; `begins` is None of one that has begun before.

        Raises:
            RunHeld: somebody else drives it.
            ConfigError: its models cannot be called here.
        """


class ChildRests(Interrupted):
    """A child that was called by a tool's own code rests, and so the parent does.

    Attributes:
        event: how.
    """

    def __init__(self, event: RunSuspended) -> None:
        super().__init__(event.detail)
        self.event = event


# ---------------------------------------------------------------------------------------------------- a step's own call


def delegated(
    log: RunLog, agent: AgentTool, step: Step, spawn: Spawn, claim: ToolClaimed, call: Prepared
) -> Iterator[Event]:
    """The step's call, as a run of `agent`; the same child whenever it is gone on with."""
    key = f"{claim.key}/{log.state.attempt}"
    child = log.state.child(key)
    begins: ChildStarted | None = None
    if child is None:
        yield claim
        event = _started(log, log.state, agent, step, key)
        yield event
        if isinstance(event, ToolReturned):
            return
        child, begins = log.state.child(key), event
    if child is None:
        raise AssertionError("the child is recorded")
    got = _driven(log, agent, child, agent.function(**call.kwargs), spawn, begins)
    if isinstance(got, RunSuspended):
        yield got
        return
    if child.spent is None:
        yield settled(child, got)
    yield _returned(log, step, agent, got)


def _started(log: RunLog, state: RunState, agent: AgentTool, step: Step, key: str) -> ChildStarted | ToolReturned:
    """The record of a child that begins now, or what the call gives where none may."""
    if state.head.depth >= MAX_DEPTH:
        why = f"{agent.name} would be {state.head.depth + 1} runs inside of one another, and {MAX_DEPTH} are the most"
        return _refused(step, why)
    budget = cut(state, log.now(), agent.delegate.budget)
    if isinstance(budget, Refusal):
        return _refused(step, f"{agent.name} was not run, for its slice of the budget would be empty: {budget}")
    return ChildStarted(
        step=step.id,
        agent=agent.name,
        key=key,
        child=log.store.new_run_id(),
        budget=budget,
        held=reservation(budget),
        tainted=bool(state.tainted(step, len(state.outcomes), by_model=state.by_model)),
    )


def _refused(step: Step, why: str) -> ToolReturned:
    return ToolReturned(step=step.id, status="failed", seconds=0, failure=FailureClass.INVALID_DATA, message=why)


def _driven(
    log: RunLog, agent: AgentTool, child: Child, task: str, spawn: Spawn, begins: ChildStarted | None
) -> RunState | RunSuspended:
    """The child's state at its end, or how the parent has to rest with it."""
    try:
        if begins is None and child.run in log.store.runs():
            known, _ = load(log.store, child.run)
            if known.status.ended:
                return known
            driven = spawn(agent, child.run, task, None)
        else:
            driven = spawn(agent, child.run, task, begins or _again(log, child))
    except RunHeld as error:
        return RunSuspended(reason="error", detail=str(error))
    except ConfigError as error:
        return RunSuspended(
            reason="model_failed", detail=f"{child.agent} cannot be run: {error}"[: 2 * LONGEST_MESSAGE]
        )
    driven.finish()
    state = driven.state
    if state.status.ended:
        return state
    rests = state.suspended or RunSuspended(reason="interrupted")
    detail = f"{child.agent} ({child.run}) rests: {rests.detail or rests.reason}"
    return RunSuspended(reason=rests.reason, detail=detail[: 2 * LONGEST_MESSAGE])


def _again(log: RunLog, child: Child) -> ChildStarted:
    """The record that announced it, of a child that its process never came to begin."""
    found = (r.event for r in log.store.read(log.run) if isinstance(r.event, ChildStarted))
    return next(event for event in found if event.child == child.run)


def settled(child: Child, state: RunState) -> ChildSettled:
    """What an ended child comes to: its bill, with what runs inside it may still come to."""
    end = state.finished
    if end is None:
        raise AssertionError("an ended run has an end")
    bill = replace(state.spent + state.held, seconds=0.0)
    strange = state.planned_clean is not None
    return ChildSettled(
        step=child.step, child=child.run, status=end.status, reason=end.reason, spent=bill, tainted=strange
    )


def outcome_of(state: RunState) -> dict[str, JSON]:
    """What an ended child is to its parent, as JSON; no id, for models read it and cassettes hold what they read."""
    end = state.finished
    return {
        "status": str(state.status),
        "stop_reason": end.reason if end else "",
        "detail": end.detail if end else "",
        "answer": end.output if end else "",
        "unknowns": list(end.unknowns) if end else [],
    }


def _returned(log: RunLog, step: Step, agent: AgentTool, state: RunState) -> ToolReturned:
    """A child that has an answer has a result, whole or not; one that has none has failed, and says why."""
    value = outcome_of(state)
    result = log.keep(value)
    if value["answer"] and state.status in (Status.COMPLETED, Status.STOPPED):
        return ToolReturned(step=step.id, status="ok", seconds=0, result=result)
    why = f"{agent.name} {state.status} without an answer: {value['detail'] or value['stop_reason']}"[:LONGEST_MESSAGE]
    failure = FailureClass.INVALID_DATA
    return ToolReturned(step=step.id, status="failed", seconds=0, result=result, failure=failure, message=why)


# ----------------------------------------------------------------------------------------------- calls in a tool's code


class Inside:
    """One try of a call, in whose code agents may be called, on any thread that knows of it.

    Args:
        log: the run.
        step: whose call it is.
        spawn: drives a child.
    """

    def __init__(self, log: RunLog, step: Step, spawn: Spawn) -> None:
        self._log = log
        self._step = step
        self._spawn = spawn
        self._lock = threading.Lock()
        self._calls = Counter[str]()

    def runner(self, run: Runner) -> Runner:
        """`run`, with this known to what it runs."""

        def known(function: Callable[[], Any], timeout_s: float) -> Any:
            def work() -> Any:
                token = _INSIDE.set(self)
                try:
                    return function()
                finally:
                    _INSIDE.reset(token)

            return run(work, timeout_s)

        return known

    def call(self, agent: AgentTool, kwargs: Mapping[str, Any]) -> JSON:
        """What a run of `agent` comes to; the same child again, where the call around it is made again.

        Raises:
            ChildRests: it waits for a person, or for a model that cannot be reached; the run around it rests too.
        """
        task = agent.function(**kwargs)
        key = self._key(agent, task)
        known = self._log.state.child(key)
        begins: list[ChildStarted | ToolReturned] = []
        if known is None:
            self._log.aside(lambda state: self._begun(begins, state, agent, key))
            if isinstance(short := begins[0], ToolReturned):
                return {**_simulated(), "status": "failed", "stop_reason": "refused", "detail": short.message}
        child = known or self._log.state.child(key)
        if child is None:
            raise AssertionError("the child is recorded")
        first = begins[0] if begins and isinstance(begins[0], ChildStarted) else None
        got = _driven(self._log, agent, child, task, self._spawn, first)
        if isinstance(got, RunSuspended):
            raise ChildRests(got)
        if child.spent is None:
            self._log.aside(lambda _: settled(child, got))
        return outcome_of(got)

    def _begun(
        self, begins: list[ChildStarted | ToolReturned], state: RunState, agent: AgentTool, key: str
    ) -> ChildStarted | None:
        begins.append(event := _started(self._log, state, agent, self._step, key))
        return event if isinstance(event, ChildStarted) else None

    def _key(self, agent: AgentTool, task: str) -> str:
        """The n-th call of this agent with this task; which of equal ones is the n-th makes no difference."""
        claim, what = self._log.state.claim, json.dumps([agent.name, task])
        with self._lock:
            self._calls[what] += 1
            number = self._calls[what]
        place = f"{claim.key if claim else self._step.id}/{self._log.state.attempt}"
        return f"{place}/{agent.name}/{hashlib.sha256(what.encode()).hexdigest()[:16]}/{number}"


_INSIDE: Final[contextvars.ContextVar[Inside | None]] = contextvars.ContextVar("agentnb_inside", default=None)
