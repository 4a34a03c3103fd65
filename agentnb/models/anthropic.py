"""Claude through Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from agentnb.budget import Usage
from agentnb.errors import FailureClass, MissingPackage, ModelError
from agentnb.models.base import ModelReply, ModelRequest, Stop
from agentnb.models.cache import marks
from agentnb.models.counts import at_most, count, field, usage_of
from agentnb.models.network import http_client
from agentnb.models.schema import restored_text, strict_schema
from agentnb.models.streaming import ProviderModel, Stream

if TYPE_CHECKING:
    from anthropic.types import MessageDeltaUsage, RawMessageStreamEvent
    from anthropic.types import Usage as ProviderUsage

__all__ = ["AnthropicModel"]

_STOPS: dict[str, Stop] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
"""Every other stop reason (end_turn, stop_sequence) is an end: we send no tools that a turn could stop for."""

_Block = dict[str, Any]


@dataclass(frozen=True)
class AnthropicModel(ProviderModel["RawMessageStreamEvent"]):
    """A Claude model: streamed, with the schema enforced by the provider, and its prompt cache used where it pays.

    The SDK never retries, follows no redirect and sends no traces: retries are the run's matter and count against its
    budget. No temperature is sent, as the API of the SDK takes none. Each call has its own HTTP client (15 ms), so a
    model may be shared by threads and holds nothing open between two calls.

    Args:
        name: as Anthropic writes it: "claude-sonnet-4-5".
        api_key: the key; without it, that of the variable ANTHROPIC_API_KEY at the time of the call.
        base_url: where to call; without it ANTHROPIC_BASE_URL, or else Anthropic itself.
    """

    provider: ClassVar[str] = "anthropic"
    host: ClassVar[str] = "https://api.anthropic.com"

    def _sdk(self) -> ModuleType:  # takes 0.8 s to import, which nobody pays who asks another model
        try:
            import anthropic
        except ImportError as error:
            raise MissingPackage("anthropic: models need a package: run `pip install anthropic`") from error
        return anthropic

    def _answer(self) -> _Answer:
        return _Answer()

    @contextmanager
    def _stream(
        self, sdk: ModuleType, request: ModelRequest, *, key: str, address: str
    ) -> Iterator[Stream[RawMessageStreamEvent]]:
        with (
            http_client(address, request.timeout_s) as http,
            sdk.Anthropic(
                api_key=key,
                base_url=address,
                timeout=http.timeout,
                max_retries=0,
                open_telemetry=False,
                http_client=http,
            ) as client,
            client.messages.create(**_arguments(self.name, request), stream=True) as stream,
        ):
            yield stream


def _arguments(name: str, request: ModelRequest) -> dict[str, Any]:
    """What is sent, as the SDK's keyword arguments."""
    blocks = _blocks(name, request)
    arguments: dict[str, Any] = {
        "model": name,
        "max_tokens": request.max_output_tokens,
        "messages": [{"role": "user", "content": blocks[1:] if request.context and request.prompt else request.user}],
    }
    if request.system:
        arguments["system"] = blocks[:1]
    if request.schema is not None:
        schema = strict_schema(request.schema, nullable_optionals=False)
        arguments["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return arguments


def _blocks(name: str, request: ModelRequest) -> list[_Block]:
    """Blocks of text: the system's, one for each part of the context, and the prompt's; marked where caching pays.

    Together they are the same text as `request.user`, and none but the system's is blank, which the API refuses.
    """
    stable = [request.system, *(f"{part}\n\n" for part in request.context if part.strip())]
    marked = marks(name, request.phase, stable)
    blocks: list[_Block] = [{"type": "text", "text": text} for text in stable]
    for place in marked:
        blocks[place]["cache_control"] = {"type": "ephemeral"}
    return [*blocks, {"type": "text", "text": request.prompt}] if request.prompt.strip() else blocks


class _Answer:
    """The events of one stream, put together."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._model = ""
        self._stop: str | None = None
        self._begun: ProviderUsage | None = None
        self._ended: MessageDeltaUsage | None = None

    def take(self, event: RawMessageStreamEvent) -> None:
        """Adds one event; the kinds that say nothing about text, stop or usage are passed over."""
        if event.type == "message_start":
            self._model = event.message.model
            # `getattr`, here and below: the SDK does not validate, so what a server leaves out is no attribute at all.
            self._begun = getattr(event.message, "usage", None)
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            self._parts.append(event.delta.text)
        elif event.type == "message_delta":
            self._stop = event.delta.stop_reason or self._stop
            self._ended = getattr(event, "usage", None) or self._ended

    def reply(self, ref: str, request: ModelRequest) -> ModelReply:
        """The whole answer.

        Raises:
            ModelError: the stream ended, without any error, before the answer did.
        """
        if self._stop is None:
            raise ModelError(
                f"{ref}: the stream ended before the answer did; try again in a moment", FailureClass.TRANSIENT
            )
        text = "".join(self._parts)
        if request.schema is not None:
            text = restored_text(text, request.schema)
        return ModelReply(text, self._usage(request), _STOPS.get(self._stop, "end"), self._model)

    def _usage(self, request: ModelRequest) -> Usage:
        """Ours from theirs, whose `input_tokens` leave out what the cache gave and took.

        The counts at the end are totals and replace those at the beginning, where they are given.
        """
        plain, output = self._count("input_tokens"), self._count("output_tokens")
        if plain is None or output is None:
            return at_most(request)
        read = self._count("cache_read_input_tokens") or 0
        written = self._count("cache_creation_input_tokens") or 0
        return usage_of(
            plain + read + written,
            output,
            read=read,
            written=written,
            written_1h=self._count("cache_creation", "ephemeral_1h_input_tokens"),
            reasoning=self._count("output_tokens_details", "thinking_tokens"),
            terms=_terms(self._begun),
        )

    def _count(self, *path: str) -> int | None:
        late = count(self._ended, *path)
        return count(self._begun, *path) if late is None else late


def _terms(usage: ProviderUsage | None) -> tuple[str, ...]:
    """What the price depends on besides the counts; what is standard is no term."""
    said = (field(usage, name) for name in ("service_tier", "speed", "inference_geo"))
    return tuple(term for term in said if term in ("batch", "priority", "fast", "us") and isinstance(term, str))
