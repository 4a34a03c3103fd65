"""A run that dies anywhere and is gone on with comes to what it would have come to: outcome, effects and bill.

Every record is durable when it is seen, so the store as it is at that moment is what a process leaves that dies there;
the world is what its tools have done by then. Both are copied at each record, and inside each call right after it has
acted; each copy is gone on with by fresh objects.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb.agent import Agent
from agentnb.approval import Answer, DoubtRequest, QuestionRequest, Request
from agentnb.budget import Budget, Usage
from agentnb.errors import InvalidData, Transient
from agentnb.guards import GuardedCall, Ruling, deny
from agentnb.log import Clock
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.scripted import harmless
from agentnb.run import Run
from agentnb.state import NEW, RunState
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from agentnb.transitions import fold
from tests.parts import MemoryStore, answer, bind, plan, step, verdict

PRICE: Final = {"input": 3e-6, "output": 15e-6}


@dataclass
class World:
    """What tools have done, and where somebody takes notice of it."""

    sent: list[str] = field(default_factory=list)
    tries: dict[int, int] = field(default_factory=dict)
    acted: Callable[[], object] = lambda: None

    def copy(self) -> World:
        return World([*self.sent], dict(self.tries))


def tools(world: World) -> list[Tool]:
    """A tool of every kind."""

    def send(text: str) -> str:
        """Send a text.

        Args:
            text: what.
        """
        world.sent.append(text)
        world.acted()
        return f"sent {text}"

    def no_spam(call: GuardedCall) -> Ruling | None:
        return deny("spam is not sent") if "spam" in call.args["text"] else None

    @tool(effect="read")
    def look(n: int) -> list[int]:
        """Look it up.

        Args:
            n: what.
        """
        world.acted()
        return [n] * (n % 3)

    @tool(effect="read", tries=3)
    def flaky(n: int) -> int:
        """Look it up where it fails at first.

        Args:
            n: what.
        """
        world.tries[n] = world.tries.get(n, 0) + 1
        if world.tries[n] == 1:
            raise Transient("not now")
        return n

    @tool(effect="read")
    def broken(n: int) -> int:
        """Fail.

        Args:
            n: what.
        """
        raise InvalidData(f"there is no {n}")

    @tool(effect="destructive")
    def wipe(text: str) -> None:
        """Wipe it.

        Args:
            text: what.
        """
        world.sent.append(f"WIPED {text}")

    made = tool(effect="write", reversibility="full", name="send", guards=[no_spam])(send)
    once = tool(effect="write", reversibility="full", name="once", once_per=("text",))(send)
    sure = tool(effect="write", reversibility="irreversible", name="sure", idempotent=False)(send)
    return [look, flaky, broken, wipe, made, once, sure]


class Model:
    """Says what the run's state asks for, and the same whenever it is asked again."""

    ref = "scripted"

    def __init__(self, store: Any, steps: list[dict[str, Any]]) -> None:
        self.store, self.steps = store, steps

    def price(self, usage: Usage) -> float:
        """In dollars."""
        return usage.input_tokens * PRICE["input"] + usage.output_tokens * PRICE["output"]

    def ask(self, request: ModelRequest) -> ModelReply:
        """A plan, a revision of it, arguments, a verdict or the answer."""
        [run] = self.store.runs()
        state = fold(self.store.read(run), NEW)
        match request.phase:
            case "plan":
                said = plan(*(self.steps if state.plan is None else [step("look", n=1)]))
            case "bind":
                said = bind(n=4)
            case "critique":
                said = verdict()
            case "assess":
                said = "assess", harmless(request)
            case _:
                said = answer(f"{len(state.outcomes)} steps")
        return ModelReply(json.dumps(said[1]), Usage(100, 20))


def person(world: World) -> Callable[[Request], Answer | None]:
    """Somebody who decides by the text, and looks where a call is in doubt."""

    def decides(request: Request) -> Answer | None:
        text = str(request.args.get("text"))
        if isinstance(request, DoubtRequest):
            return Answer("happened" if text in world.sent else "not_happened", "ada")
        if isinstance(request, QuestionRequest):
            return None
        if text.startswith("no"):
            return Answer("reject", "ada", "not this one")
        if text.startswith("edit"):
            return Answer("edit", "ada", args={"text": f"x{text}"})
        others = {other.binding: not str(other.args.get("text")).startswith("no") for other in request.others}
        return Answer("approve", "ada", others=others)

    return decides


@dataclass(frozen=True)
class Ended:
    """What a run came to."""

    status: str
    reason: str
    output: str
    outcomes: tuple[tuple[str, str, Any], ...]
    pending: int
    sent: tuple[str, ...]
    bill: tuple[float, int, int, int]


class Story:
    """One plan, carried out."""

    def __init__(self, steps: list[dict[str, Any]], budget: Budget) -> None:
        self.steps, self.budget = steps, budget

    def agent(self, store: Any, world: World) -> Agent:
        ticks = iter(range(10**9))
        return Agent(
            Model(store, self.steps),
            tools=tools(world),
            store=store,
            approver=person(world),
            budget=self.budget,
            sleep=lambda _: None,
            clock=Clock(wall=lambda: 1.8e9, monotonic=lambda: next(ticks) * 1e-6),
        )

    def ended(self, agent: Agent, run: str, world: World) -> Ended:
        it = Run(agent, run)
        results = []
        for outcome in it.state.outcomes:
            value = None if outcome.result is None else it.result(outcome.step)
            results.append((outcome.step, outcome.status, value))
        spent = it.spent
        bill = (round(spent.usd, 12), spent.input_tokens, spent.output_tokens, spent.model_calls)
        return Ended(
            str(it.status), it.stop_reason, it.output, tuple(results), len(it.pending), tuple(world.sent), bill
        )


TEXTS = st.sampled_from(["a", "b", "c", "no d", "edit e", "spam"])
STEPS = st.one_of(
    st.builds(lambda n: step("look", n=n), st.integers(0, 5)),
    st.builds(lambda: step("look", n="$? any number")),
    st.builds(lambda n: step("flaky", n=n), st.integers(0, 2)),
    st.builds(lambda n: step("broken", n=n), st.integers(0, 2)),
    st.builds(lambda name, text: step(name, text=text), st.sampled_from(["send", "send", "once", "sure"]), TEXTS),
    st.builds(lambda text: step("wipe", text=text), TEXTS),
)
BUDGETS = st.sampled_from([Budget(tokens=10**7, usd=100), Budget(tokens=10**7, steps=3)])
"""No cap on calls: one that was begun and is made again counts twice, as every try does."""


def distinct(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`steps`, each text its own, so that whoever looks into the world can tell whose it is."""
    return [
        {**one, "args": {k: f"{v} {n}" if k == "text" else v for k, v in one["args"].items()}}
        for n, one in enumerate(steps)
    ]


def told(story: Story, store: Any, copied: Callable[[], Any]) -> tuple[Ended, list[tuple[Any, World]]]:
    """The run, and a copy of its store and its world at every moment at which its process could die."""
    world = World()
    moments: list[tuple[Any, World]] = []
    world.acted = lambda: moments.append((copied(), world.copy()))
    agent = story.agent(store, world)
    session = agent.begin("do it")
    moments.extend((copied(), world.copy()) for _ in session)
    return story.ended(agent, session.log.run, world), moments


def require_the_same(story: Story, whole: Ended, store: Any, world: World) -> None:
    """Gone on with from here, by fresh objects, it comes to the same."""
    [run] = store.runs()
    before: RunState = fold(store.read(run), NEW)
    agent = story.agent(store, world)
    if not before.status.ended:
        agent.resume(run)
    ended = story.ended(agent, run, world)
    inflight = before.inflight
    usd, put, out, calls = whole.bill
    if inflight is not None:  # it may have been billed and its reply is lost: it stays charged as it was reserved
        held = inflight.reserved
        usd, put, out, calls = usd + held.usd, put + held.input_tokens, out + held.output_tokens, calls + 1
    assert ended.sent == whole.sent
    assert ended.outcomes == _as_known(whole.outcomes, before, ended.outcomes)
    assert (ended.status, ended.reason, ended.output, ended.pending) == (
        whole.status, whole.reason, whole.output, whole.pending,
    )  # fmt: skip
    assert ended.bill[0] == pytest.approx(usd)
    assert ended.bill[1:] == (put, out, calls)


def _as_known(whole: tuple[Any, ...], before: RunState, now: tuple[Any, ...]) -> tuple[Any, ...]:
    """`whole`, but that a call which a person knows to have happened has no result to give."""
    if before.claim is None:
        return whole
    place = len(before.outcomes)
    expected = whole[place]
    settled = (expected[0], "ok", None)
    return (*whole[:place], settled, *whole[place + 1 :]) if now[place] == settled else whole


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(STEPS, min_size=1, max_size=5).map(distinct), BUDGETS)
def test_it_may_die_after_any_record_and_in_any_call(steps: list[dict[str, Any]], budget: Budget) -> None:
    """Random plans with failures, refusals, edits, batches, keys, queues and limits."""
    story, store = Story(steps, budget), MemoryStore()
    whole, moments = told(story, store, store.copy)
    assert len(moments) >= len(list(store.read(store.runs()[0])))
    for left, world in moments:
        require_the_same(story, whole, left, world)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_in_a_store_on_the_disk(tmp_path: Path, seed: int) -> None:
    """Reopened from what is in the folder, with checkpoints and without."""
    kinds = [
        [step("send", text="a"), step("flaky", n=1), step("once", text="b"), step("look", n=4)],
        [step("broken", n=1), step("send", text="edit c"), step("look", n="$? any number")],
        [step("sure", text="a"), step("sure", text="b"), step("wipe", text="c"), step("send", text="no d")],
    ]
    story = Story(distinct(kinds[seed]), Budget(tokens=10**7))
    folder, copies = tmp_path / "store", iter(range(10**6))
    store = DiskStore(folder)

    def copied() -> Path:
        place = tmp_path / f"copy{next(copies)}"
        shutil.copytree(folder, place)
        shutil.rmtree(place / "locks")
        return place

    whole, moments = told(story, store, copied)
    for left, world in moments:
        again = DiskStore(left)
        require_the_same(story, whole, again, world)
        again.close()
