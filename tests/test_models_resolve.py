"""From a name to a model, without touching the network."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest

from agentnb.errors import UnknownModel
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.openai import OpenAIModel
from agentnb.models.resolve import available, resolve


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "AGENTNB_NO_NETWORK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("anthropic:claude-sonnet-4-5", AnthropicModel("claude-sonnet-4-5")),
        (" openai : gpt-5.1 ", OpenAIModel("gpt-5.1")),
        ("openai:ft:gpt-4o:acme::7", OpenAIModel("ft:gpt-4o:acme::7")),
    ],
)
def test_providers(ref: str, expected: AnthropicModel | OpenAIModel) -> None:
    """What stands before the first colon is the provider, and all the rest the name."""
    assert resolve(ref) == expected


def test_a_model_is_its_own_reference() -> None:
    """Wherever a name is taken a model is taken too, and comes back as it is."""
    model = OpenAIModel("gpt-5.1", base_url="http://localhost:8080/v1")
    assert resolve(model) is model


def test_references_are_stable() -> None:
    """A model's `ref` resolves to an equal model."""
    for ref in ("anthropic:claude-sonnet-4-5", "openai:gpt-5.1"):
        assert resolve(ref).ref == ref


@pytest.mark.parametrize("ref", ["local", "local:"])
def test_local_needs_no_name(ref: str) -> None:
    """ "local" alone is the default local model."""
    assert resolve(ref).ref.startswith("local:")


@pytest.mark.parametrize(
    ("ref", "guess"),
    [
        ("antropic:claude-sonnet-4-5", '"anthropic:claude-sonnet-4-5"'),
        ("OpenAI:gpt-5.1", '"openai:gpt-5.1"'),
        ("claude-sonnet-4-5", '"anthropic:claude-sonnet-4-5"'),
        ("gpt-5.1", '"openai:gpt-5.1"'),
        ("locl", '"local:"'),
        ("openai", "openai:NAME"),
        ("anthropic:", "anthropic:NAME"),
        ("zzz:x", 'model="local:"'),
        ("", 'model="local:"'),
    ],
)
def test_unknown_models_say_what_there_is(ref: str, guess: str) -> None:
    """A name that cannot be meant is answered with the nearest one that can, and with an example of each provider."""
    for ask in (resolve, available):
        with pytest.raises(UnknownModel) as raised:
            ask(ref)
        assert guess in str(raised.value)
        assert "anthropic:claude-sonnet-4-5" in str(raised.value)


def test_available_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is one line: the variable, the switch or the package; and nothing is called to find out."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert available("anthropic:x") == "ANTHROPIC_API_KEY is not set"
    assert available("openai:x") == "OPENAI_API_KEY is not set"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert available("openai:x") is None
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    assert available("openai:x") == "AGENTNB_NO_NETWORK is set"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8080/v1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert available("openai:x") is None
    monkeypatch.setattr("agentnb.models.resolve.find_spec", lambda _: None)
    assert available("openai:x") == "the package openai is not installed: run `pip install openai`"


def test_available_asks_the_model_itself() -> None:
    """A model that was given its key, or a server that needs none, lacks no variable; a stranger's model is trusted."""
    assert available(OpenAIModel("x")) == "OPENAI_API_KEY is not set"
    assert available(OpenAIModel("x", api_key="k")) is None
    assert available(OpenAIModel("x", base_url="http://localhost:8080/v1")) is None
    assert available(AnthropicModel("x", base_url="http://localhost:8080")) == "ANTHROPIC_API_KEY is not set"

    class Stranger:
        ref = "theirs:x"

        def ask(self, _request: ModelRequest) -> ModelReply:
            raise AssertionError

    assert available(Stranger()) is None


def test_available_asks_the_local_model() -> None:
    """Whether weights are there is the local model's matter: None, or a reason on one line."""
    reason = available("local:")
    assert reason is None or (reason and "\n" not in reason)
