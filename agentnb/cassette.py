"""Cassettes: the model calls of a notebook in one reviewable text file, from which anybody reruns it with no key.

JSON Lines. The first line says what the file is; a `text` line holds a prompt's stable part or a schema once, under its
hash; a `call` line holds a request and what was answered. A cassette comes with a repository, so it is hostile input:
JSON only, sizes bounded, and the key of every call is computed anew from its request.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agentnb.budget import Phase, Usage
from agentnb.errors import CassetteError, CassetteMiss
from agentnb.models.base import Model, ModelReply, ModelRequest

__all__ = ["Cassette", "Recording", "Replaying", "behind"]

FORMAT: Final = 1
_LARGEST_FILE: Final = 64 << 20
_HOW = "record it with a model at hand: set AGENTNB_MODE=record (or %config AgentMagics.mode) and run the notebook"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Reply(_Strict):
    text: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    stop: Literal["end", "length", "refusal"]
    model: str
    seconds: float


class _Call(_Strict):
    phase: Phase
    key: str
    model: str
    system: str
    schema_: str | None
    max_output_tokens: int
    temperature: float | None
    endpoint: str = ""
    context: list[str] = []
    prompt: str
    reply: _Reply

    @property
    def texts(self) -> set[str]:
        """The hashes of the texts that it refers to."""
        return {self.system, *self.context, *filter(None, (self.schema_,))}


class Cassette:
    """Recorded model calls by the key of their request.

    Args:
        path: the file; read if it exists.

    Raises:
        CassetteError: it is damaged, too large, or of a newer format; says which line.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._texts: dict[str, str] = {}
        self._calls: dict[str, list[_Call]] = defaultdict(list)
        self._taken: dict[str, int] = defaultdict(int)
        self._recorded: set[str] = set()
        if self._there():
            self._load()

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    @property
    def models(self) -> list[str]:
        """The models that it was recorded from."""
        return sorted({call.model for calls in self._calls.values() for call in calls})

    def reply(self, request: ModelRequest) -> ModelReply:
        """What was answered to `request`; the same request asked again gets the next answer, and the last one for ever.

        Raises:
            CassetteMiss: it was never asked; says which recorded request is nearest and where they differ.
        """
        calls = self._calls.get(request.key())
        if not calls:
            raise CassetteMiss(self._missing(request))
        place = min(self._taken[calls[0].key], len(calls) - 1)
        self._taken[calls[0].key] += 1
        held = calls[place].reply
        usage = Usage(held.input_tokens, held.output_tokens, held.cache_read_tokens, held.cache_write_tokens)
        return ModelReply(held.text, usage, held.stop, held.model, seconds=held.seconds)

    def add(self, request: ModelRequest, reply: ModelReply, seconds: float) -> None:
        """Take in a call and write the file, whole and atomically."""
        schema = None if request.schema is None else self._shared(json.dumps(request.schema, ensure_ascii=False))
        usage = reply.usage
        call = _Call(
            phase=request.phase,
            key=request.key(),
            model=request.model,
            system=self._shared(request.system),
            schema_=schema,
            max_output_tokens=request.max_output_tokens,
            temperature=request.temperature,
            endpoint=request.endpoint,
            context=[self._shared(text) for text in request.context],
            prompt=request.prompt,
            reply=_Reply(
                text=reply.text,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                stop=reply.stop,
                model=reply.model,
                seconds=round(seconds, 3),
            ),
        )
        self._take_in_others()
        if call.key not in self._recorded:  # what an earlier recording had to say to it
            self._calls[call.key] = []
            self._recorded.add(call.key)
        self._calls[call.key].append(call)
        self.save()

    def save(self) -> None:
        """Write the file beside itself first, then put it in place; texts that no call uses any more are left out."""
        calls = [call for held in self._calls.values() for call in held]
        used = {name for call in calls for name in call.texts}
        lines: list[Mapping[str, Any]] = [{"agentnb_cassette": FORMAT}]
        lines += [{"text": digest, "is": text} for digest, text in self._texts.items() if digest in used]
        lines += [{"call": call.model_dump(exclude_defaults=True)} for call in calls]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            draft.write_bytes(text.encode("utf-8", "replace"))  # bytes: the same file on every system
            draft.replace(self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise CassetteError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def _there(self) -> bool:
        try:
            return self.path.exists()
        except (OSError, ValueError) as error:  # a name too long, or with a NUL in it
            raise CassetteError(f"{str(self.path)[:200]!r} cannot be a cassette: {error}") from error

    def _take_in_others(self) -> None:
        """Keep what another recorder of this file has written since it was read: two kernels, or two cells at once."""
        if not self._there():
            return
        now = Cassette(self.path)
        self._texts |= now._texts
        self._calls |= {key: calls for key, calls in now._calls.items() if key not in self._recorded}

    def _shared(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._texts[digest] = text
        return digest

    def _load(self) -> None:
        size = self.path.stat().st_size
        if size > _LARGEST_FILE:
            raise CassetteError(f"{self.path} has {size:,} bytes; a cassette has at most {_LARGEST_FILE:,}")
        try:
            lines = self.path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # texts may hold U+2028
        except (OSError, UnicodeDecodeError) as error:
            raise CassetteError(f"{self.path} cannot be read: {error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                self._take(json.loads(line), first=number == 1)
            except (ValueError, RecursionError) as error:
                raise CassetteError(
                    f"{self.path}, line {number}: {_why(error)}. Restore the file, or {_HOW}"
                ) from error

    def _take(self, line: Any, *, first: bool) -> None:
        if first:
            if line != {"agentnb_cassette": FORMAT}:
                raise ValueError(f"not a cassette of format {FORMAT}")
            return
        match line:
            case {"text": str(digest), "is": str(text), **more} if not more:
                if self._shared(text) != digest:
                    raise ValueError("a text does not have the hash that it is kept under: it was edited")
            case {"call": dict(said), **more} if not more:
                call = _Call.model_validate(said)
                if lost := call.texts - self._texts.keys():
                    raise ValueError(f"a call refers to a text that no earlier line holds: {', '.join(sorted(lost))}")
                if self._request(call).key() != call.key:
                    raise ValueError("a call does not have the key that it is kept under: it was edited")
                self._calls[call.key].append(call)
            case _:
                raise ValueError("neither a text nor a call")

    def _request(self, call: _Call) -> ModelRequest:
        return ModelRequest(
            model=call.model,
            phase=call.phase,
            system=self._texts[call.system],
            prompt=call.prompt,
            schema=None if call.schema_ is None else json.loads(self._texts[call.schema_]),
            max_output_tokens=call.max_output_tokens,
            temperature=call.temperature,
            endpoint=call.endpoint,
            context=tuple(self._texts[name] for name in call.context),
        )

    def _missing(self, request: ModelRequest) -> str:
        held = f"{self.path} has no reply to this {request.phase} request of {request.model}"
        recorded = [
            self._request(call) for calls in self._calls.values() for call in calls if call.phase == request.phase
        ]
        if not recorded:
            return f"{held}, and none to any {request.phase} request: {_HOW}"
        wanted = request.canonical()
        nearest = max(recorded, key=lambda r: _likeness(r.canonical(), wanted))
        return f"{held}; the nearest recorded one differs in {_difference(nearest.canonical(), wanted)}: {_HOW}"


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"a call's {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _likeness(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> float:
    same = sum(recorded.get(name) == wanted[name] for name in wanted)
    matcher = difflib.SequenceMatcher(None, recorded["prompt"][-2000:], wanted["prompt"][-2000:])
    return float(same + matcher.quick_ratio())


def _difference(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    name = next((n for n in wanted if recorded.get(n) != wanted[n]), "nothing")
    a, b = str(recorded.get(name)), str(wanted.get(name))
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    near = slice(max(0, at - 20), at + 40)
    return f"{name} at character {at}: {a[near]!r} was recorded, {b[near]!r} is asked"


class Replaying:
    """A model that answers from a cassette and from nothing else.

    Args:
        ref: the model that was recorded.
        cassette: where from.
    """

    def __init__(self, ref: str, cassette: Cassette) -> None:
        self.ref = ref
        self._cassette = cassette

    def ask(self, request: ModelRequest) -> ModelReply:
        """The recorded reply; raises CassetteMiss."""
        return self._cassette.reply(request)


def behind(model: Model) -> Model:
    """The model that `model` records, or itself where it records none: whose price, key and server count."""
    return model.inner if isinstance(model, Recording) else model


class Recording:
    """A model whose replies go into a cassette.

    Args:
        model: the model that answers.
        cassette: where to.
        clock: seconds, monotonic.
    """

    def __init__(self, model: Model, cassette: Cassette, clock: Callable[[], float] = time.perf_counter) -> None:
        self.ref = model.ref
        self.inner = model
        self._cassette = cassette
        self._clock = clock

    def ask(self, request: ModelRequest) -> ModelReply:
        """The model's reply, recorded."""
        began = self._clock()
        reply = self.inner.ask(request)
        seconds = self._clock() - began
        self._cassette.add(request, reply, seconds)
        return replace(reply, seconds=round(seconds, 3))
