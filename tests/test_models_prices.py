"""Prices come from the table that genai-prices ships, and are unknown rather than guessed."""

from __future__ import annotations

import sys
import time

import pytest

from agentnb.budget import Usage, worst_cost_usd
from agentnb.errors import MissingPackage
from agentnb.models.prices import price_of


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def cost(ref: str, usage: Usage) -> float:
    price = price_of(ref)
    assert price is not None
    return price(usage)


def test_list_price() -> None:
    """3 dollars for a million tokens in and 15 for a million out, the list price of Claude Sonnet 4.5."""
    assert cost("anthropic:claude-sonnet-4-5", Usage(1000, 100)) == pytest.approx(0.003 + 0.0015)


def test_cached_tokens_are_counted_once() -> None:
    """Cached tokens are part of the input: reading is cheaper than plain input, writing dearer."""
    plain = cost("anthropic:claude-sonnet-4-5", Usage(1000))
    assert cost("anthropic:claude-sonnet-4-5", Usage(1000, cache_read_tokens=1000)) == pytest.approx(plain * 0.1)
    assert cost("anthropic:claude-sonnet-4-5", Usage(1000, cache_write_tokens=1000)) == pytest.approx(plain * 1.25)
    assert cost("openai:gpt-5.1", Usage(1000, cache_read_tokens=1000)) < cost("openai:gpt-5.1", Usage(1000))


def test_worst_case_bounds_every_way_of_caching() -> None:
    """Whatever part of the input the provider caches, the reserved amount covers it."""
    for ref in ("anthropic:claude-sonnet-4-5", "openai:gpt-5.1", "openai:gpt-4o"):
        price = price_of(ref)
        assert price is not None
        worst = worst_cost_usd(price, Usage(1000, 100))
        for read, written in [(0, 0), (1000, 0), (0, 1000), (400, 600), (400, 0)]:
            assert price(Usage(1000, 100, read, written)) <= worst


@pytest.mark.parametrize("ref", ["local", "local:", "local:qwen2.5-coder-1.5b", "scripted", "scripted:demo"])
def test_what_runs_here_costs_nothing(ref: str) -> None:
    """A local or scripted model has a price, and it is zero."""
    assert cost(ref, Usage(10**6, 10**6)) == 0


@pytest.mark.parametrize("ref", ["openai:never-heard-of", "openai:", "openai", "mistral:large", ""])
def test_unknown_prices(ref: str) -> None:
    """A model that the table does not have has no price, rather than that of a similar one."""
    assert price_of(ref) is None


@pytest.mark.parametrize(
    "address", ["http://localhost:11434/v1", "https://openrouter.ai/api/v1", "https://eu.api.openai.com/v1"]
)
def test_other_servers_have_no_list_price(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a model says nothing about what somebody else's server charges, by argument or by environment."""
    assert price_of("openai:gpt-5.1", address) is None
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert price_of("openai:gpt-5.1") is None
    assert price_of("openai:gpt-5.1", "https://api.openai.com/v1") is not None


def test_a_price_is_found_again_in_microseconds() -> None:
    """Pricing the same usage again takes well under 50 µs, lookup included (2 µs measured)."""
    usage = Usage(1000, 100)
    cost("openai:gpt-5.1", usage)
    start = time.perf_counter()
    for _ in range(1000):
        cost("openai:gpt-5.1", usage)
    assert (time.perf_counter() - start) / 1000 < 50e-6


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the table the message has the command that installs it, rather than a price that looks unknown."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(MissingPackage, match="pip install genai-prices"):
        price_of("openai:not-asked-for-before")
