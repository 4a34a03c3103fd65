"""Budgets: caps are never passed, whatever a provider charges within what it was allowed."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Budget, tool
from agentnb.budget import LIMITS, Refusal, Spent, Usage, affordable_output, amount, worst_cost_usd
from agentnb.errors import ConfigError, FailureClass, ModelError
from agentnb.models.base import ModelReply, ModelRequest, input_bound
from agentnb.state import Status
from tests.parts import MemoryStore, answer, plan, step, verdict


def price(usage: Usage) -> float:
    """Dearer above a context length, and for what is written to the provider's cache."""
    tier = 2 if usage.input_tokens > 4000 else 1
    plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    return (
        tier * 1e-6 * (3 * plain + 0.3 * usage.cache_read_tokens + 6 * usage.cache_write_tokens)
        + 15e-6 * usage.output_tokens
    )


class Greedy:
    """A provider that uses as much as it may, caches as it likes, fails at random, and keeps its own books."""

    ref = "scripted:greedy"
    price = staticmethod(price)

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.charged: Counter[str] = Counter()

    def ask(self, request: ModelRequest) -> ModelReply:
        """A reply, right or wrong, or a failure that may have been billed."""
        self.charged["model_calls"] += 1
        most = input_bound(request)
        sent = most if self.rng.random() < 0.5 else self.rng.randint(1, most)
        cached = self.rng.choice([0, sent // 2, sent])
        used = Usage(sent, request.max_output_tokens, *self.rng.choice([(0, 0), (cached, 0), (0, cached), (0, sent)]))
        luck = self.rng.random()
        if luck < 0.1:
            raise ModelError("refused", FailureClass.TRANSIENT, unbilled=True)
        self.charged["input_tokens"] += used.input_tokens
        self.charged["output_tokens"] += used.output_tokens
        self.charged["tokens"] += used.input_tokens + used.output_tokens
        self.charged["usd"] += price(used)  # type: ignore[assignment]
        if luck < 0.2:
            raise ModelError("cut off", FailureClass.TRANSIENT)
        text = "no idea" if luck < 0.3 else json.dumps(self.say(request.phase))
        return ModelReply(text, used, self.rng.choice(["end", "end", "end", "length"]))

    def say(self, phase: str) -> dict[str, Any]:
        """Something of the right form, mostly."""
        if phase == "plan":
            return plan(*[step("look", n=self.rng.choice([1, "$? n"])) for _ in range(self.rng.randint(0, 4))])[1]
        if phase == "bind":
            return {"args": {"n": self.rng.choice([1, "x"])}}
        return (
            verdict(self.rng.choice(["continue", "retry", "revise", "escalate"])) if phase == "critique" else answer()
        )[1]


@tool(effect="read")
def look(n: int) -> int:
    """Look.

    Args:
        n: where.
    """
    return n


def random_budget(rng: random.Random) -> Budget:
    """Caps of all sizes, most of them tight."""
    caps = {
        "usd": rng.choice([None, rng.uniform(0.001, 0.5)]),
        "input_tokens": rng.choice([None, rng.randint(1, 40_000)]),
        "output_tokens": rng.choice([None, rng.randint(1, 8_000)]),
        "tokens": rng.choice([None, rng.randint(1, 60_000)]),
        "model_calls": rng.choice([None, rng.randint(1, 12)]),
        "steps": rng.randint(1, 6),
        "tool_calls": rng.choice([None, rng.randint(1, 6)]),
    }
    return Budget(**caps)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_500_random_runs_never_cost_more_than_any_cap(seed: int) -> None:
    """Twenty times 500 runs: the provider charged no more than any cap, and the run owns up to all of it."""
    rng = random.Random(seed)
    for _ in range(500):
        model, budget = Greedy(rng), random_budget(rng)
        agent = Agent(model, tools=[look], store=MemoryStore(), budget=budget, sleep=lambda _: None)
        run = agent.run("look around")
        for _ in range(3):
            if run.status is Status.SUSPENDED:
                run.resume()
        for name, cap in budget.caps().items():
            assert model.charged[name] <= cap + 1e-12, (name, budget)
            assert getattr(run.spent, name) <= cap + 1e-12 or name == "working_seconds", (name, budget)
        for name in ("usd", "tokens", "model_calls"):
            assert getattr(run.spent, name) >= model.charged[name] - 1e-9
        assert run.state.reserved == Spent()


caps = st.one_of(st.none(), st.integers(1, 10_000))


@given(caps, caps, caps, st.one_of(st.none(), st.floats(1e-6, 1)), st.integers(0, 9000), st.integers(1, 4000))
def test_what_is_affordable_fits_and_one_token_more_does_not(
    tokens: int | None, sent: int | None, received: int | None, usd: float | None, needed: int, wanted: int
) -> None:
    """The clamp is the largest output that no cap forbids."""
    budget = Budget(tokens=tokens, input_tokens=sent, output_tokens=received, usd=usd)
    room = affordable_output(budget, Spent(), {}, price, needed, wanted)
    if isinstance(room, Refusal):
        assert room.needed > room.left
        return

    def fits(output: int) -> bool:
        worst = worst_cost_usd(price, Usage(needed, output))
        return budget.first_short(Spent(), Spent(usd=worst, input_tokens=needed, output_tokens=output)) is None

    assert fits(room)
    assert wanted // 4 <= room <= wanted
    assert room == wanted or not fits(room + 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens": 0}, "tokens=0 allows nothing"),
        ({"usd": -1}, "usd=-1 allows nothing"),
        ({"steps": 2.5}, "steps=2.5 is not a whole number"),
        ({"usd": float("nan")}, "usd=nan is not a number"),
        ({"seconds": float("inf")}, "seconds=inf is not a number"),
        ({"steps": "many"}, "steps='many' is not a number"),
        ({"steps": True}, "steps=True is not a number"),
        ({"steps": None, "tokens": None, "working_seconds": None}, "a run needs a budget"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """Zero, negative, not finite, no number, or no cap at all: each is named."""
    with pytest.raises(ConfigError, match=said):
        Budget(**wrong)


def test_there_is_always_a_budget() -> None:
    """Where nothing is said: 25 steps, 50 000 tokens, 120 working seconds."""
    assert Budget().caps() == {"tokens": 50_000, "steps": 25, "working_seconds": 120.0}


def test_extending_raises_what_is_named_and_nothing_else() -> None:
    """A cap that is not set has nothing to extend; nonsense is refused."""
    more = Budget(usd=1).extended(usd=0.5, steps=3.0)
    assert (more.usd, more.tool_calls, more.steps) == (1.5, None, 28)
    assert isinstance(more.steps, int)
    with pytest.raises(ConfigError, match="tool_calls is not limited"):
        Budget().extended(tool_calls=3)
    with pytest.raises(ConfigError, match="give a number above 0"):
        Budget().extended(tokens="many")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no budget called 'cents'"):
        Budget().extended(cents=5)
    with pytest.raises(ConfigError, match="give a number above 0"):
        Budget().extended(tokens=-5)


def test_time_caps_say_what_is_left() -> None:
    """The shorter of the two counts, less what is kept back."""
    budget = Budget(seconds=10, working_seconds=20)
    assert budget.seconds_left(Spent(seconds=4, working_seconds=15), {"seconds": 1}) == 5
    assert budget.exhausted(Spent(seconds=9), {"seconds": 1}) == Refusal("seconds", 0, 0, 10)
    assert budget.exhausted(Spent(seconds=8)) is None


@pytest.mark.parametrize("limit", LIMITS)
def test_every_amount_has_a_unit(limit: str) -> None:
    """A refusal can be read aloud."""
    assert amount(limit, 1234.5)[0] in "1$"
    assert "needed" in str(Refusal(limit, 2, 1, 3))
    assert "is used up" in str(Refusal(limit, 2, 0, 3))
    assert (amount("steps", 1), amount("steps", 2)) == ("1 step", "2 steps")
