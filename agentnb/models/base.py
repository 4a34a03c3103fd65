"""What a model is: something that answers one request. Providers, caches and budgets are all built on this."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from agentnb.budget import Phase, Usage

__all__ = ["KEY_FORMAT", "Form", "Model", "ModelReply", "ModelRequest", "Stop", "input_bound", "never"]

KEY_FORMAT = 1
"""Part of every cache key: raised when requests are laid out differently, so that old entries are not found."""

_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode
_PLAIN = json.JSONEncoder()

Stop = Literal["end", "length", "refusal"]


class Form(dict[str, Any]):
    """A JSON Schema that many requests share and nobody changes once it was asked with: its text is made once."""

    @functools.cached_property
    def canonical(self) -> str:
        """As a part of a request's key."""
        return _JSON(self)

    @functools.cached_property
    def size(self) -> int:
        """Bytes of it as JSON."""
        return len(_PLAIN.encode(self))


def _form(schema: Mapping[str, Any]) -> Form:
    """A schema as one that knows its text; one that is none yet is written anew for each request."""
    return schema if isinstance(schema, Form) else Form(schema)


@functools.lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    """A text as JSON, remembered: prompts begin alike for some ten steps."""
    return _JSON(text)


def never() -> bool:
    """False: a request that nobody gives up."""
    return False


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model, complete: nothing else decides the answer.

    Attributes:
        model: the model asked, as the user wrote it: "anthropic:claude-sonnet-4-5", "local:qwen2.5-coder-1.5b".
        phase: what it is for. Not sent, but part of what is recorded.
        system: the part that stays the same for a whole run (rules, tools, task); providers may cache it.
        context: parts between `system` and `prompt` that change seldom within a run, the most lasting first (the plan,
            then the memory); providers may cache each beginning of them.
        prompt: the part that changes.
        schema: JSON Schema (draft 2020-12, an object, every object closed) that the answer must match, or None for
            prose.
        max_output_tokens: a hard limit; a reply that reaches it has stop "length".
        temperature: sampling temperature where the model takes one; adapters of models that take none leave it out.
        endpoint: the server that is asked, where it is not the provider's own: two servers never share a cached reply.
        timeout_s: seconds after which the call is given up. Not part of the key.
        cancelled: asked now and then while the call runs; True gives it up. Not part of the key.
    """

    model: str
    phase: Phase
    system: str
    prompt: str
    schema: Mapping[str, Any] | None = None
    max_output_tokens: int = 1024
    temperature: float | None = 0.0
    context: tuple[str, ...] = ()
    endpoint: str = ""
    timeout_s: float = field(default=120.0, compare=False)
    cancelled: Callable[[], bool] = field(default=never, compare=False, repr=False)

    def canonical(self) -> str:
        """All that decides the answer, as JSON whose names are in order.

        As `json.dumps(…, sort_keys=True)` of the standard library writes it, and not RFC 8785: 10 µs against 390 µs for
        a prompt of 14 kB, and no other program has to recompute it.
        """
        context = {"context": f"[{','.join(map(_quoted, self.context))}]"} if self.context else {}
        parts = {
            **context,
            **({"endpoint": _JSON(self.endpoint)} if self.endpoint else {}),
            "format": _JSON(KEY_FORMAT),
            "max_output_tokens": _JSON(self.max_output_tokens),
            "model": _quoted(self.model),
            "phase": _quoted(self.phase),
            "prompt": _JSON(self.prompt),
            "schema": _JSON(None) if self.schema is None else _form(self.schema).canonical,
            "system": _quoted(self.system),
            "temperature": _JSON(self.temperature),
        }
        return "{" + ",".join([f'"{name}":{text}' for name, text in parts.items()]) + "}"

    @property
    def user(self) -> str:
        """`context` and `prompt` as one text, for who sends one message."""
        return "\n\n".join((*self.context, self.prompt))

    def mapped(self, change: Callable[[str], str]) -> ModelRequest:
        """This request with `change` made to each of its texts, and to the address: a path may hold a key.

        The same object where that changes nothing.
        """
        was = (self.system, self.prompt, self.endpoint, *self.context)
        system, prompt, endpoint, *context = now = tuple(map(change, was))
        if now == was:
            return self
        return replace(self, system=system, prompt=prompt, endpoint=endpoint, context=tuple(context))

    def key(self) -> str:
        """SHA-256 over the canonical request, in hex: what caches and cassettes look up."""
        return hashlib.sha256(self.canonical().encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answered.

    Attributes:
        text: the answer: JSON text where the request had a schema (not yet validated), prose otherwise.
        usage: tokens, in our one convention.
        stop: "end", or "length" where max_output_tokens cut it off, or "refusal" where the model or its provider
            declined.
        model: the model's name as the provider gave it back.
        cached: True where it came from our prompt cache, and cost nothing.
        seconds: how long it took where that is not to be measured: a cassette's reply took what it took when recorded.
    """

    text: str
    usage: Usage
    stop: Stop = "end"
    model: str = ""
    cached: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.text.isascii():  # half of a surrogate pair, which no file can hold, becomes ?
            object.__setattr__(self, "text", self.text.encode("utf-8", "replace").decode())


class Model(Protocol):
    """A language model. One method; everything else (cache, budget, retries) is wrapped around it."""

    @property
    def ref(self) -> str:
        """The name by which a user asks for it, with its provider: "local:smollm2"."""

    def ask(self, request: ModelRequest) -> ModelReply:
        """The model's answer to `request`.

        Raises:
            ModelError: the call failed, classified. Never a raw exception of an SDK.
            ConfigError: it could not be made at all: no key, package missing, network forbidden.
            Interrupted: `request.cancelled` said so.
        """


_PER_CALL_TOKENS = 1024
"""What a provider may add around a prompt: chat template, the wording that enforces a schema, tool preambles."""


def input_bound(request: ModelRequest) -> int:
    """An upper bound of the input tokens of `request`.

    A token of a byte-level BPE vocabulary stands for at least one byte, so the UTF-8 length bounds the count from
    above, with an allowance for what the provider wraps around it. About four times the true count for English; a
    reservation is settled to the true count as soon as the reply is there, so the slack is only ever held for the
    length of one call.
    """
    schema = 0 if request.schema is None else _form(request.schema).size
    return _size(request.system) + _size(request.user) + schema + _PER_CALL_TOKENS


def _size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
