"""One run being driven by this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from agentnb.alerts import Alert
from agentnb.approval import Approver, Notify
from agentnb.asker import Asker
from agentnb.budget import Price, nothing
from agentnb.cassette import behind
from agentnb.cost import PHASES
from agentnb.delegate import AgentTool
from agentnb.errors import ConfigError, Interrupted, UnknownPrice
from agentnb.events import ChildStarted, Record, RunResumed, RunStarted, RunSuspended
from agentnb.follow import Follower
from agentnb.gate import Gate
from agentnb.log import RunLog
from agentnb.loop import drive
from agentnb.models.base import Model
from agentnb.models.chain import Layer, Voice, cached, chain, metered, retrying
from agentnb.models.lineup import Lineup
from agentnb.models.prices import price_of
from agentnb.observed import Observer, watched
from agentnb.perform import Performer
from agentnb.question import Inquiry, rest_at_question
from agentnb.reading import READ_RESULT, is_reading, reading
from agentnb.runner import Runner
from agentnb.state import RunState, Status
from agentnb.store.base import Hold, ReplyCache
from agentnb.terms import started
from agentnb.tools import Tool

__all__ = ["Means", "Session"]


@dataclass(frozen=True, slots=True)
class Means:
    """What a run acts with.

    Attributes:
        models: who is asked in each phase.
        tools: by name; those that the run did not begin with are left out.
        approver: who is asked before a gated call.
        notify: told when something waits for a person, or None.
        runner: where tools run.
        sleep: how to wait, or None for a wait that a stop ends early.
        replies: the prompt cache, or None for none.
        fresh: True asks anew and replaces what the cache holds.
        inside: the models of an agent inside the run: recorded, or from a cassette, as the run's own.
        alerts: whom to tell where a threshold is passed.
        observer: in whose surroundings tools run, or None.
    """

    models: Lineup
    tools: Mapping[str, Tool]
    approver: Approver
    notify: Notify | None
    runner: Runner
    sleep: Callable[[float], None] | None
    replies: ReplyCache | None
    fresh: bool
    inside: Callable[[AgentTool], Lineup]
    alerts: Sequence[Alert] = ()
    observer: Observer | None = None

    def of(self, agent: AgentTool) -> Means:
        """What a run of `agent` inside the run acts with: its own models and tools, and the people who are here."""
        own = agent.delegate
        asked = own.approver or self.approver
        models = self.inside(agent)
        return replace(self, models=models, tools=own.tools, approver=asked, fresh=own.fresh, alerts=own.terms.alerts)


class Session:
    """One run being driven by this process: iterate it, or `finish` it; `suspend` it from any thread.

    Args:
        log: the run.
        means: what it acts with.
        hold: keeps everybody else from driving the run, until it rests.
        begun: records that are durable already and are yielded first.

    Raises:
        UnknownPrice: its budget limits dollars, and nobody knows what a model costs.
        ConfigError: what a tool says of itself holds a secret.
    """

    def __init__(self, log: RunLog, means: Means, hold: Hold, begun: tuple[Record, ...] = ()) -> None:
        self.log = log
        self._hold = hold
        self._means = means
        self.begun = begun
        self._stop = threading.Event()
        self._inner: tuple[Session, ...] = ()
        tools = {name: means.tools[name] for name in log.state.head.tools if name in means.tools}
        if READ_RESULT.name in tools and is_reading(tools[READ_RESULT.name]):
            tools[READ_RESULT.name] = reading(log)
        _require_discreet(log, tools)
        asker = Asker(log, means.approver, means.notify)
        voices = {id(model): self._voice(model) for model in means.models}
        self._perform = Performer(
            log,
            tools,
            voices={phase: voices[id(means.models.of(phase))] for phase in PHASES},
            strong=voices[id(means.models.model)],
            alerts=means.alerts,
            gate=Gate(log, tools, asker),
            inquiry=Inquiry(log, tools, asker),
            runner=watched(means.runner, means.observer, log.run),
            sleep=means.sleep or self._sleep,
            cancelled=self._stop.is_set,
            spawn=self._spawn,
        )

    @property
    def state(self) -> RunState:
        """What is known now; read it from any thread."""
        return self.log.state

    @property
    def inside(self) -> tuple[RunState, ...]:
        """The run inside this one that is being driven, the one inside that, and so on; read it from any thread."""
        inner = self._driven
        return (inner.state, *inner.inside) if inner else ()

    @property
    def asking(self) -> RunLog:
        """The run whose person is asked now: this one, or one inside it that is being driven."""
        inner = self._driven
        return inner.asking if inner else self.log

    @property
    def _driven(self) -> Session | None:
        return next((each for each in self._inner if each.state.status is Status.IN_PROGRESS), None)

    def __iter__(self) -> Iterator[Record]:
        return self.drive()

    def drive(self) -> Generator[Record, None, None]:
        """Carry the run on, one durable record at a time; closing it suspends the run.

        Raises:
            Exception: whatever ended it, with no secret in what it says.
        """
        told: BaseException | None = None
        follower = Follower(self.log.store, self.log.run)
        if not self.state.head.parent:  # what is inside it is followed with it
            follower.start()
        try:
            yield from drive(self.log, self._perform, self.begun)
        except Exception as error:
            told = self.log.redact.error(error)
            if told is error:
                raise
        finally:
            self._release()
            follower.stop()
        if told is not None:
            raise told  # out here: what it stands for would hang on to it

    def _release(self) -> None:
        self._hold.release(ended=self.state.status.ended)

    def finish(self) -> None:
        """Drive the run until it rests or ends; taken away by another thread, it rests too."""
        with suppress(Interrupted):
            for _ in self:
                pass

    def suspend(self, how: Callable[[RunState], RunSuspended] | None = None) -> None:
        """Give up what is under way, now or at the next step.

        Args:
            how: gives what is recorded at once, and the run is taken away from its thread, whatever that is waiting
                for. It gets the state after which nothing else comes.
        """
        self._stop.set()
        for inner in self._inner:
            inner.suspend(how and partial(_rest, how))
        if how is not None and self.state.status is Status.IN_PROGRESS:
            self.log.revoke(how)
            self._release()  # its thread appends nothing any more, wherever it hangs

    def _spawn(self, agent: AgentTool, child: str, task: str, begins: ChildStarted | None) -> Session:
        """A run of `agent` inside this one: as `delegate.Spawn`."""
        store, clock, redact, means = self.log.store, self.log.clock, self.log.redact, self._means.of(agent)
        hold = store.hold(child)
        try:
            log = RunLog(store, child, clock, redact=redact) if begins else RunLog.reopened(store, child, clock, redact)
            begun = log.append(
                self._beginning(agent, task, begins, means) if begins else RunResumed(process=os.getpid())
            )
            inner = Session(log, means, hold, begun)
        except BaseException:
            hold.release(ended=False)
            raise
        self._inner = (*(each for each in self._inner if each.state.status is Status.IN_PROGRESS), inner)
        return inner

    def _beginning(self, agent: AgentTool, task: str, begins: ChildStarted, means: Means) -> RunStarted:
        head, own = self.state.head, agent.delegate
        return started(
            begins.child,
            task,
            own.terms,
            means.models.names,
            {name: made.facts for name, made in own.tools.items()},
            budget=begins.budget,
            tags=head.tags,
            dry=head.dry,
            parent=head.run,
            parent_step=begins.step,
            agent=agent.name,
            depth=head.depth + 1,
            tainted=begins.tainted,
        )

    def _voice(self, model: Model) -> Voice:
        price, strong = price_for(model, self.log.state.budget.usd), self._means.models.model
        better = price_for(strong, None) if price and model.ref != strong.ref else None
        layers: list[Layer] = [retrying(self.log, self._means.sleep or self._sleep), metered(self.log, price, better)]
        if self._means.replies is not None and not model.ref.startswith("scripted"):
            layers.insert(0, cached(self.log, self._means.replies, price or nothing, fresh=self._means.fresh))
        real = behind(model)
        thinking: int = getattr(real, "thinking_tokens", 0)
        endpoint: str = getattr(real, "endpoint", "")
        return Voice(model.ref, chain(model, layers), price, thinking, endpoint)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted("stopped while waiting to try again")


def _require_discreet(log: RunLog, tools: Mapping[str, Tool]) -> None:
    """Raise ConfigError where what a tool says of itself holds a secret: models are told it, and it is recorded."""
    for name, made in tools.items():
        if found := log.redact.named_in(made.parameters, made.description):
            raise ConfigError(
                f"the tool {name} has the secret {', '.join(found)} in its signature or docstring, which models are"
                " told: let the function read it itself"
            )


def _rest(how: Callable[[RunState], RunSuspended], state: RunState) -> RunSuspended:
    """How a run inside another rests as that one does: a question that it was asking still waits for an answer."""
    return rest_at_question(state) or replace(how(state), withdrawn=False)


def price_for(model: Model, usd: float | None) -> Price | None:
    """What `model` costs, or None where nobody knows and no dollars are limited.

    Raises:
        UnknownPrice: nobody knows, and `usd` is to be held.
    """
    real = behind(model)
    price: Price | None = getattr(real, "price", None) or price_of(model.ref, getattr(real, "base_url", None))
    if price is None and usd is not None:
        raise UnknownPrice(
            f"the price of {model.ref} is not known, so a budget of ${usd:g} cannot be held: limit tokens instead"
        )
    return price
