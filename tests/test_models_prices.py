"""Prices come from the table that genai-prices ships, and are unknown rather than guessed."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_an_hour_in_the_cache_costs_twice_the_input() -> None:
    """The writes that are kept for an hour are part of all writes, and dearer than those of five minutes."""
    plain = cost("anthropic:claude-sonnet-4-5", Usage(1000))
    mixed = Usage(1000, cache_write_tokens=1000, cache_write_1h_tokens=400)
    assert cost("anthropic:claude-sonnet-4-5", mixed) == pytest.approx(plain * (0.6 * 1.25 + 0.4 * 2))


@pytest.mark.parametrize(
    ("ref", "terms", "factor"),
    [
        ("anthropic:claude-sonnet-4-5", ("batch",), 0.5),
        ("anthropic:claude-opus-4-8", ("fast",), 2),
        ("anthropic:claude-opus-4-8", ("us",), 1.1),
        ("anthropic:claude-opus-4-8", ("batch", "us"), 0.55),
        ("openai:gpt-5.1", ("flex",), 0.5),
        ("openai:gpt-5.1", ("priority",), 2),
        ("openai:gpt-5.1", ("batch",), 0.5),
        ("openai:gpt-5.1", ("never-heard-of",), 1),
    ],
)
def test_terms_change_the_price(ref: str, terms: tuple[str, ...], factor: float) -> None:
    """A batch is half the price, and so on; terms that the table does not know are at the list price."""
    assert cost(ref, Usage(1000, 100, terms=terms)) == pytest.approx(factor * cost(ref, Usage(1000, 100)))


@pytest.mark.parametrize(
    ("ref", "length", "factor_in", "factor_out"),
    [("anthropic:claude-sonnet-4-5", 200_000, 2, 1.5), ("openai:gpt-5.4", 272_000, 2, 1.5)],
)
def test_above_a_length_the_whole_call_is_dearer(ref: str, length: int, factor_in: float, factor_out: float) -> None:
    """One token more than the length, cached ones counted, and every token is charged at the higher price."""
    within, above = cost(ref, Usage(length)), cost(ref, Usage(length + 1))
    assert above == pytest.approx(within * factor_in, rel=1e-4)
    one = cost(ref, Usage(length, 100)) - within
    assert cost(ref, Usage(length + 1, 100)) - above == pytest.approx(one * factor_out)
    read = cost(ref, Usage(length, cache_read_tokens=length))
    assert cost(ref, Usage(length + 1, cache_read_tokens=length)) > factor_in * read


POSSIBLE = ((), ("us",), ("flex",), ("batch",), ("batch", "us"))
"""The terms that a call of ours can come back with: it is sent neither a tier nor a speed that costs more."""


@given(
    st.sampled_from([
        "anthropic:claude-sonnet-4-5", "anthropic:claude-opus-4-8", "anthropic:claude-haiku-4-5",
        "anthropic:claude-3-haiku", "openai:gpt-4o", "openai:gpt-5.1", "openai:gpt-5.4", "openai:gpt-5.6-sol",
    ]),
    st.integers(0, 400_000),
    st.integers(0, 50_000),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.sampled_from(POSSIBLE),
)  # fmt: skip
def test_worst_case_bounds_the_bill(
    ref: str, most_in: int, most_out: int, shares: list[float], terms: tuple[str, ...]
) -> None:
    """Whatever part of what was allowed is used, read, written, thought, or done on other terms: it was reserved."""
    price = price_of(ref)
    assert price is not None
    used, answered, read, written = shares
    sent, said = int(most_in * used), int(most_out * answered)
    cached = int(sent * read)
    kept = int((sent - cached) * written)
    usage = Usage(sent, said, cached, kept, reasoning_tokens=said, terms=terms)
    assert price(usage) <= worst_cost_usd(price, Usage(most_in, most_out)) * (1 + 1e-12)


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
