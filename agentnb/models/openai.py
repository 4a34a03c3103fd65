"""GPT models through OpenAI's Chat Completions API, and any other server that speaks it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from agentnb.budget import Usage
from agentnb.errors import FailureClass, MissingPackage, ModelError
from agentnb.models.base import ModelReply, ModelRequest, Stop
from agentnb.models.counts import at_most, count, usage_of
from agentnb.models.network import host_of, http_client
from agentnb.models.schema import restored_text, strict_schema
from agentnb.models.streaming import ProviderModel, Stream

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

__all__ = ["OpenAIModel", "is_openai"]

_NO_TEMPERATURE = re.compile(r"(?:.*/)?(?:gpt-[5-9]|o\d)")
"""Models that refuse a temperature: the reasoning ones, with a reseller's prefix or without ("openai/gpt-5.1")."""

_THINKING = 4096
_OWN_HOST = "api.openai.com"
_TERMS = ("flex", "priority", "fast", "batch")
"""Service tiers with a price of their own; "default" is the list price."""

_STOPS: dict[str, Stop] = {"length": "length", "content_filter": "refusal"}
"""Every other finish reason (stop, and whatever a compatible server invents) is an end."""


def is_openai(address: str) -> bool:
    """True where `address` is a server of OpenAI's own, or of Azure, which follows it to the letter.

    Others lag behind: they know `max_tokens` where OpenAI has `max_completion_tokens`, and many want no key.
    """
    host = host_of(address)
    return host == "openai.com" or host.endswith((".openai.com", ".openai.azure.com"))


@dataclass(frozen=True)
class OpenAIModel(ProviderModel["ChatCompletionChunk"]):
    """A GPT model, or one on an OpenAI-compatible server: streamed, with the schema enforced by the server.

    The SDK never retries and follows no redirect: retries are the run's matter and count against its budget. Each call
    has its own HTTP client (15 ms), so a model may be shared by threads and holds nothing open between two calls.

    OpenAI itself is sent `max_completion_tokens`, a compatible server `max_tokens`, which all of them understand. A
    temperature is sent unless the model's name is that of a reasoning model (gpt-5 and later, o1, o3, ...).

    OpenAI caches beginnings of 1024 tokens and more by itself; it is sent a `prompt_cache_key`, so that calls with the
    same beginning reach the same machine. It is also told `service_tier` "default", so that no setting of a project
    makes a call dearer than was reserved for it.

    Args:
        name: as the server writes it: "gpt-5.1".
        api_key: the key; without it, that of the variable OPENAI_API_KEY at the time of the call. A server that is not
            OpenAI's is called without any key where there is none.
        base_url: where to call, with its `/v1`; without it OPENAI_BASE_URL, or else OpenAI itself.
    """

    provider: ClassVar[str] = "openai"
    host: ClassVar[str] = "https://api.openai.com/v1"

    @property
    def lacking(self) -> str | None:
        """OPENAI_API_KEY where OpenAI is called without a key; None where nothing is lacking."""
        return super().lacking if is_openai(self.address) else None

    @property
    def thinking_tokens(self) -> int:
        """Output tokens that it may use before it answers: reasoning counts as output."""
        return _THINKING if _NO_TEMPERATURE.match(self.name) else 0

    def _sdk(self) -> ModuleType:  # takes up to 1.7 s to import, which nobody pays who asks another model
        try:
            import openai
        except ImportError as error:
            raise MissingPackage("openai: models need a package: run `pip install openai`") from error
        return openai

    def _answer(self) -> _Answer:
        return _Answer()

    @contextmanager
    def _stream(
        self, sdk: ModuleType, request: ModelRequest, *, key: str, address: str
    ) -> Iterator[Stream[ChatCompletionChunk]]:
        with (
            http_client(address, request.timeout_s) as http,
            sdk.OpenAI(
                api_key=key or "none",  # the SDK insists on some text; servers without keys ignore it
                base_url=address,
                timeout=http.timeout,
                max_retries=0,
                http_client=http,
            ) as client,
            client.chat.completions.create(**_arguments(self.name, request, address), stream=True) as stream,
        ):
            yield stream


def _arguments(name: str, request: ModelRequest, address: str) -> dict[str, Any]:
    """What is sent, as the SDK's keyword arguments."""
    messages = [{"role": "system", "content": request.system}] if request.system else []
    arguments: dict[str, Any] = {
        "model": name,
        "messages": [*messages, {"role": "user", "content": request.user}],
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if is_openai(address) else "max_tokens": request.max_output_tokens,
    }
    if request.temperature is not None and not _NO_TEMPERATURE.match(name):
        arguments["temperature"] = request.temperature
    if request.schema is not None:
        schema = strict_schema(request.schema, nullable_optionals=True)
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    if host_of(address) == _OWN_HOST:
        arguments |= {"service_tier": "default", "prompt_cache_key": _cache_key(request)}
    return arguments


def _cache_key(request: ModelRequest) -> str:
    """What calls with the same beginning have in common: the schema, which the provider puts first, and the system."""
    beginning = json.dumps([request.schema, request.system], sort_keys=True)
    return f"agentnb-{hashlib.sha256(beginning.encode()).hexdigest()[:32]}"


class _Answer:
    """The chunks of one stream, put together."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._refusal: list[str] = []
        self._model = ""
        self._finish: str | None = None
        self._usage: CompletionUsage | None = None
        self._tier: str | None = None
        self._choices = 0

    def take(self, chunk: ChatCompletionChunk) -> None:
        """Adds one chunk; the last one has the usage and no choice."""
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        self._tier = chunk.service_tier or self._tier
        for choice in chunk.choices or ():
            self._choices += 1
            if choice.index:  # an answer beside the first, which we did not ask for
                continue
            self._parts.append(choice.delta.content or "")
            self._refusal.append(choice.delta.refusal or "")
            self._finish = choice.finish_reason or self._finish

    def reply(self, ref: str, request: ModelRequest) -> ModelReply:
        """The whole answer.

        Raises:
            ModelError: the stream ended, without any error, before the answer did, or held none.
        """
        if self._finish is None:
            what = "the stream ended before the answer did" if self._choices else "the answer holds no choice at all"
            raise ModelError(f"{ref}: {what}; try again in a moment", FailureClass.TRANSIENT)
        usage = _counted(self._usage, self._tier, request)
        if refusal := "".join(self._refusal):
            return ModelReply(refusal, usage, "refusal", self._model)
        text = "".join(self._parts)
        if request.schema is not None:
            text = restored_text(text, request.schema)
        return ModelReply(text, usage, _STOPS.get(self._finish, "end"), self._model)


def _counted(theirs: CompletionUsage | None, tier: str | None, request: ModelRequest) -> Usage:
    """Ours from theirs, whose `prompt_tokens` hold the cached ones too, as ours do."""
    total, output = count(theirs, "prompt_tokens"), count(theirs, "completion_tokens")
    if total is None or output is None:
        return at_most(request)
    return usage_of(
        total,
        output,
        read=count(theirs, "prompt_tokens_details", "cached_tokens"),
        written=count(theirs, "prompt_tokens_details", "cache_write_tokens"),
        reasoning=count(theirs, "completion_tokens_details", "reasoning_tokens"),
        terms=(tier,) if tier in _TERMS else (),
    )
