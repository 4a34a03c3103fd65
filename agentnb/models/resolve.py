"""From the name that a user writes to the model that answers."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec

from agentnb.errors import UnknownModel
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.base import Model
from agentnb.models.network import is_loopback, network_forbidden
from agentnb.models.openai import OpenAIModel

__all__ = ["PROVIDERS", "available", "resolve"]

PROVIDERS = ("anthropic", "local", "openai")
"""Every provider that a reference may begin with."""

_EXAMPLES = 'model="anthropic:claude-sonnet-4-5", model="openai:gpt-5.1" or model="local:"'


def resolve(ref: str | Model) -> Model:
    """The model that `ref` names; a model itself comes back as it is. Nothing is loaded, called or checked yet.

    "local", "local:" and "local:NAME" run on this machine; "anthropic:NAME" and "openai:NAME" call their providers.

    Raises:
        UnknownModel: no such provider, no name after the colon, or it is neither a name nor a model.
    """
    if not isinstance(ref, str):
        if not (hasattr(ref, "ref") and hasattr(ref, "ask")):
            raise UnknownModel(
                f"{ref!r} is no model: models are named {_EXAMPLES}, or are objects with `ref` and `ask`"
            )
        return ref
    provider, name = _split(ref)
    if provider == "anthropic":
        return AnthropicModel(name)
    if provider == "openai":
        return OpenAIModel(name)
    from agentnb.models.local import LocalModel

    return LocalModel(name)


def available(model: str | Model) -> str | None:
    """None where `model` could be called now, or else the reason why not, on one line. Uses no network to find out.

    A model of a class that is not ours is taken to be available.

    Raises:
        UnknownModel: as `resolve`.
    """
    if isinstance(model, str) and _split(model)[0] != "local":
        model = resolve(model)
    if isinstance(model, (AnthropicModel, OpenAIModel)):
        return _why_not(model)
    provider, _, name = (model if isinstance(model, str) else model.ref).partition(":")
    if provider.strip() != "local":
        return None
    from agentnb.models.local import LocalModel, why_unavailable

    return why_unavailable(name.strip()) if isinstance(model, (str, LocalModel)) else None


def _why_not(model: AnthropicModel | OpenAIModel) -> str | None:
    package = "anthropic" if isinstance(model, AnthropicModel) else "openai"
    if find_spec(package) is None:
        return f"the package {package} is not installed: run `pip install {package}`"
    if network_forbidden() and not is_loopback(model.address):
        return "AGENTNB_NO_NETWORK is set"
    return f"{model.lacking} is not set" if model.lacking else None


def _split(ref: str) -> tuple[str, str]:
    """Provider and name of a reference that has both; only "local" needs no name."""
    provider, colon, name = (part.strip() for part in ref.partition(":"))
    if provider == "local" or (provider in PROVIDERS and name):
        return provider, name
    if provider in PROVIDERS:
        what = f"which {provider} model?" if colon else f"{ref!r} is a provider and no model"
        raise UnknownModel(f'{what} Write "{provider}:NAME", as in {_EXAMPLES}')
    raise UnknownModel(f"no model {ref!r}{_nearest(provider, name)}: models are named {_EXAMPLES}")


def _nearest(provider: str, name: str) -> str:
    """A guess at what was meant: a provider misspelt, or a model's name without its provider."""
    by_name = {"claude": "anthropic", "gpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai"}
    if not name:
        for start, owner in by_name.items():
            if provider.lower().startswith(start):
                return f'; did you mean "{owner}:{provider}"?'
    near = get_close_matches(provider.lower(), PROVIDERS, n=1, cutoff=0.7)
    return f'; did you mean "{near[0]}:{name}"?' if near else ""
