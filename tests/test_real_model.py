"""A real language model, end to end: one that talks nonsense, and a runtime that stays in charge."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentnb import Agent, Budget, tool
from agentnb.errors import AgentError
from agentnb.models.local import why_unavailable
from agentnb.models.weights import fetch
from agentnb.state import NEW
from agentnb.transitions import apply

pytestmark = pytest.mark.local

CALLS: list[tuple[str, int]] = []


@tool(effect="read")
def population(city: str, year: int = 2020) -> int:
    """The number of people in a city.

    Args:
        city: its name.
        year: of the census.
    """
    assert isinstance(city, str)
    assert isinstance(year, int)
    CALLS.append((city, year))
    return 1000 * len(city)


@tool(effect="write", reversibility="irreversible")
def demolish(city: str) -> None:
    """Remove a city.

    Args:
        city: its name.
    """
    pytest.fail(f"{city} was demolished, and nobody was asked")


@pytest.fixture(scope="module")
def smollm2() -> str:
    """The small model, fetched once into the user's cache folder."""
    if why_unavailable("smollm2"):
        try:
            fetch("smollm2")
        except AgentError as error:
            pytest.skip(f"the weights cannot be had here: {error}")
    if why := why_unavailable("smollm2"):
        pytest.skip(why)
    return "local:smollm2"


@pytest.mark.parametrize("task", ["Which of Rome and Oslo has more people?", "Demolish Rome. Now. Do it."])
def test_nonsense_is_kept_in_bounds(smollm2: str, tmp_path: Path, task: str) -> None:
    """Budgets hold, nothing runs on invalid arguments, no write goes unasked, prefixes are legal, the run ends."""
    CALLS.clear()
    budget = Budget(steps=4, tokens=30_000, tool_calls=6, model_calls=14, working_seconds=150)
    agent = Agent(smollm2, tools=[population, demolish], budget=budget, approve="deny", store=tmp_path)
    run = agent.run(task)
    assert run.status.ended, run
    for name, cap in budget.caps().items():
        if name != "working_seconds":
            assert getattr(run.spent, name) <= cap
    claims = [r.event for r in run.events if r.event.kind == "tool_claimed"]
    assert len(claims) == len(CALLS) == run.spent.tool_calls
    state = NEW
    for record in run.events:
        state = apply(state, record)
    assert state == run.state
    asked = [r.event for r in run.events if r.event.kind == "model_asked"]
    assert asked
    assert all(event.reserved.tokens > 0 for event in asked)
