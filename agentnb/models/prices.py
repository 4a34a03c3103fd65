"""What a call costs, at the provider's list price: from the table that genai-prices ships, without any network.

The table knows what is read from and written to caches, tiers above a context length (the whole call is dearer then),
and the prices of batches and service tiers, which go by the terms that came back with the usage.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from agentnb.budget import Price, Usage, nothing
from agentnb.errors import MissingPackage
from agentnb.models.network import host_of

if TYPE_CHECKING:
    from genai_prices import Usage as ProviderUsage

__all__ = ["price_of"]

_LISTED = {
    "anthropic": ("api.anthropic.com", "ANTHROPIC_BASE_URL"),
    "openai": ("api.openai.com", "OPENAI_BASE_URL"),
}
"""For each provider with a list price: the one host that charges it, and what moves calls elsewhere."""

_CONTEXT = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"speed": "fast", "service_tier": "fast"},
}
"""What genai-prices calls the terms that a provider sends back."""

_US_ONLY = 1.1
"""Anthropic's factor on all prices of a call that was kept in the United States; the table does not have it."""


def price_of(ref: str, base_url: str | None = None) -> Price | None:
    """The list price of the model `ref` in US dollars, or None where nobody knows it.

    "local:..." and "scripted" cost nothing. A server other than the provider's own has no known price, whatever the
    name of the model: it may be a machine under the desk or a reseller. Nor has a regional host, which charges more.

    Args:
        ref: as the user wrote it.
        base_url: where the model is called; None for where the environment says, or else the provider's own host.

    Raises:
        MissingPackage: genai-prices is not installed.
    """
    provider, _, name = ref.partition(":")
    if provider in ("local", "scripted"):
        return nothing
    if provider not in _LISTED or not name:
        return None
    host, variable = _LISTED[provider]
    address = base_url or os.environ.get(variable)
    if address and host_of(address) != host:
        return None
    return _listed(provider, name)


@lru_cache(maxsize=64)
def _listed(provider: str, name: str) -> Price | None:
    """The price function of a model; the same one each time, so that its own cache lives as long as the process."""
    try:
        from genai_prices import calc_price
    except ImportError as error:
        raise MissingPackage("prices come from genai-prices: run `pip install genai-prices`") from error

    # 2 µs for a usage seen before against 90 µs: a budget prices the same worst case several times over.
    @lru_cache(maxsize=1024)
    def price(usage: Usage) -> float:
        context = {key: value for term in usage.terms for key, value in _CONTEXT.get(term, {}).items()}
        listed = calc_price(_as_theirs(usage), name, provider_id=provider, price_context=context or None)
        return float(listed.total_price) * (_US_ONLY if provider == "anthropic" and "us" in usage.terms else 1)

    try:
        price(Usage())
    except LookupError:
        return None
    return price


def _as_theirs(usage: Usage) -> ProviderUsage:
    """`usage` as genai-prices counts: like ours, its `input_tokens` include what the cache gave and took."""
    from genai_prices import Usage as ProviderUsage

    return ProviderUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
