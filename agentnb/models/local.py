"""A model that runs in this process, on this machine's processor: no key, no server, nothing leaves the machine.

llama.cpp comes as the package xllamacpp, and `agentnb.models.weights` fetches weights for it. One generation runs at a
time in a process: two would only slow each other down. At most two models are kept in memory.

The same request always gets the same text. llama.cpp's own prompt cache would break that: it takes up a prompt wherever
the last one happened to differ, so sums are added in another order (measured with the default model: 16 of 22 repeated
requests answered differently, with no cache none). But with no cache a step reads its whole system prompt again, at 60
tokens a second. So the system prompt is read alone first, and every request goes on from exactly its end: none of 90
repeated requests differed (16 of the default model, 74 of SmolLM2), and the system prompt is read once a run. Each part
of a request's context is read by itself after it in the same way, and read anew only when it or one before it changes.
"""

from __future__ import annotations

import atexit
import os
import secrets
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from agentnb.budget import Usage
from agentnb.errors import AgentError, ConfigError, FailureClass, Interrupted, MissingPackage, ModelError
from agentnb.models.base import ModelReply, ModelRequest, Stop
from agentnb.models.sources import megabytes
from agentnb.models.weights import DEFAULT, is_path, lookup, place, present

__all__ = ["LocalModel", "why_unavailable"]

_KEPT = 2
"""Models kept in memory: one to work with and another to compare it with; a third may not fit a small machine."""
_POLL_S = 0.05
"""How long a stop button may go unnoticed by the caller."""
_BATCH = 256
"""Prompt tokens between two looks at the button: about 4 s of the default model; 128 read slower, 512 no faster."""
_GOODBYE_S = 15.0
"""How long the interpreter waits at its end for a generation: several batches on a loaded machine."""
_SEED = 1
_ALL = sys.maxsize
"""Tokens: all that there are."""

_Body = dict[str, Any]


def why_unavailable(name: str = "") -> str | None:
    """None where the model could be asked now, or else the reason why not, on one line; loads nothing.

    Raises:
        UnknownModel: neither a known name nor the path of a .gguf file.
    """
    if find_spec("xllamacpp") is None:
        return 'the package xllamacpp is not installed: run `pip install "agentnb-jupyter[local]"`'
    name = name or DEFAULT
    if present(name):
        return None
    if is_path(name):
        return f"there is no file {place(name)}"
    weights = lookup(name)
    return (
        f"the weights of {weights.name} ({megabytes(weights.size)}, {weights.license}) are not on this machine yet: run"
        f" `python -m agentnb.models.weights {weights.name}`"
    )


class LocalModel:
    """A model in this process, loaded when it is first asked.

    Args:
        name: a known model or the path of a .gguf file; left out, the default model.

    Raises:
        UnknownModel: neither of the two.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name or DEFAULT
        self._path = place(self._name)
        self.ref = f"local:{self._name if is_path(self._name) else lookup(self._name).name}"

    def ask(self, request: ModelRequest) -> ModelReply:
        """The model's answer to `request`, always the same one; waits while another request is being answered.

        AGENTNB_LOCAL_CTX (tokens of prompt and answer together, 8192) and AGENTNB_LOCAL_THREADS (1: on shared cores two
        threads wait for each other, up to 15 times longer than one takes) hold for models loaded after they are set.

        Raises:
            ModelError: the request takes too long, is too long, or has a schema that llama.cpp cannot enforce.
            MissingPackage: xllamacpp is not installed.
            ConfigError: the weights are not there, or cannot be loaded.
            Interrupted: `request.cancelled` said so; noticed within 0.1 s. The next request may have to wait a few
                seconds for the batch of tokens that was being worked on.
        """
        reason = why_unavailable(self._name)
        if reason is not None:
            raise (MissingPackage if find_spec("xllamacpp") is None else ConfigError)(f"{self.ref}: {reason}")
        settings = _Settings(self._path, _whole("AGENTNB_LOCAL_CTX", 8192), _whole("AGENTNB_LOCAL_THREADS", 1))
        answer = _in_background(lambda call: _generate(settings, request, call), request, self.ref)
        if answer.error is not None:
            raise _refused(answer.error, self.ref, settings)
        return ModelReply(answer.text, answer.usage, answer.stop, model=self._path.name)


def _whole(variable: str, default: int) -> int:
    """The whole number in an environment variable, or `default` where it is not set.

    Raises:
        ConfigError: it holds something else, or less than 1.
    """
    text = os.environ.get(variable, "").strip() or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{variable}={text!r} is no whole number above 0: try {variable}={default}")
    return int(text)


def _refused(error: _Body, ref: str, settings: _Settings) -> ModelError:
    """What llama.cpp gave instead of an answer, classified; it says so before it generates anything."""
    if error.get("type") == "exceed_context_size_error":
        room = error.get("n_ctx", settings.context)
        more = f", or set AGENTNB_LOCAL_CTX above {room} and restart" if room == settings.context else ""
        return ModelError(
            f"{ref}: the prompt has {error.get('n_prompt_tokens', 'too many')} tokens and there is room for {room},"
            f" the answer included: shorten it{more}",
            FailureClass.INVALID_DATA,
            unbilled=True,
        )
    wrong = error.get("code") == 400  # noqa: PLR2004 - HTTP's number, which llama.cpp uses here too
    failure = FailureClass.INVALID_DATA if wrong else FailureClass.FATAL
    return ModelError(f"{ref}: llama.cpp refused the request: {error.get('message', error)}", failure, unbilled=True)


# --- one call, in a thread of its own ---------------------------------------------------------------------------------


@dataclass
class _Call:
    """One generation. Whoever waits for it may abandon it; it then ends at the next batch or token."""

    work: Callable[[_Call], _Answer]
    abandoned: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    answer: _Answer | None = None
    failure: BaseException | None = None

    def run(self) -> None:
        """Does the work once it is this call's turn, and keeps what came of it."""
        try:
            with _TURN:
                if not self.abandoned.is_set():
                    self.answer = self.work(self)
        except BaseException as failure:  # noqa: BLE001 - raised again in the thread that waits
            self.failure = failure
        finally:
            _RUNNING.discard(self)
            self.finished.set()

    def __hash__(self) -> int:
        return id(self)


_TURN = threading.Lock()
"""Held by the one call that may touch llama.cpp and `_LOADED`."""
_RUNNING: set[_Call] = set()


def _in_background(work: Callable[[_Call], _Answer], request: ModelRequest, ref: str) -> _Answer:
    """What `work` returns, from a thread of its own: llama.cpp cannot be interrupted while it reads a batch.

    Raises:
        ModelError: it took longer than `request.timeout_s`.
        Interrupted: `request.cancelled` said so.
    """
    call = _Call(work)
    _RUNNING.add(call)
    deadline = time.monotonic() + request.timeout_s
    threading.Thread(target=call.run, name=f"agentnb {ref}", daemon=True).start()
    stopped: AgentError | None = None
    try:
        while stopped is None and not call.finished.wait(_POLL_S):
            if request.cancelled():
                stopped = Interrupted(f"{ref}: stopped while it was answering")
            elif time.monotonic() > deadline:
                stopped = ModelError(
                    f"{ref} took longer than {request.timeout_s:g} s", FailureClass.TRANSIENT, unbilled=True
                )
    finally:
        call.abandoned.set()  # on KeyboardInterrupt too; a call that has finished does not mind
    if stopped is not None:
        raise stopped
    if call.failure is not None:
        raise call.failure
    if call.answer is None:  # the interpreter is leaving
        raise Interrupted(f"{ref}: stopped before it began")
    return call.answer


@atexit.register
def _leave() -> None:
    """Ends all calls: a thread that came back from llama.cpp into an interpreter that is gone would abort it."""
    for call in list(_RUNNING):
        call.abandoned.set()
    if _TURN.acquire(timeout=_GOODBYE_S):
        _LOADED.clear()
        _TURN.release()


# --- llama.cpp --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """All that decides what is loaded."""

    path: Path
    context: int
    threads: int


@dataclass
class _Loaded:
    """A model in memory; `held` are the parts (system prompt, then context) that it has read, each by itself."""

    server: Any
    held: tuple[str, ...] = ()


_LOADED: OrderedDict[_Settings, _Loaded] = OrderedDict()
"""The models in memory, the one used last at the end."""


@dataclass
class _Answer:
    """What has come so far; `error` is what llama.cpp gave instead."""

    pieces: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    stop: Stop = "end"
    error: _Body | None = None

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)

    def take(self, chunk: _Body) -> None:
        """Takes in one chunk of the stream; those that only tell progress change nothing."""
        self.error = chunk.get("error", self.error)
        for choice in chunk.get("choices") or ():
            self.pieces.append(choice.get("delta", {}).get("content") or "")
            self.stop = "length" if choice.get("finish_reason") == "length" else self.stop
        if usage := chunk.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            self.usage = Usage(usage["prompt_tokens"], usage["completion_tokens"], cache_read_tokens=cached)


def _generate(settings: _Settings, request: ModelRequest, call: _Call) -> _Answer:
    """The answer to `request`; whoever calls this has the turn."""
    loaded = _load(settings)
    # An empty prompt would be wholly in memory, and end on a token that was read in another batch.
    known = _read_ahead(loaded, request, call) if request.prompt else None
    if call.abandoned.is_set():
        return _Answer()
    if known is None:
        loaded.held = ()
    answer = _stream(loaded.server, _body(request, cache=known is not None), call)
    if known is not None:  # what was read ahead just now was read for this request, and is kept for the next
        usage = answer.usage
        read = min(known, usage.cache_read_tokens)
        answer.usage = replace(usage, cache_read_tokens=read, cache_write_tokens=usage.cache_read_tokens - read)
    return answer


def _read_ahead(loaded: _Loaded, request: ModelRequest, call: _Call) -> int | None:
    """How many tokens before the prompt were in memory already; None where nothing can be read ahead.

    Afterwards memory holds those parts, each read by itself, and nothing beyond them that a prompt could go on from.
    The last part that is held already is asked for once more: that costs a few tokens, and drops what lies behind it.
    """
    stages = _stages(request)
    wanted = tuple(part for part, _ in stages)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(loaded.held, wanted, strict=False)))
    loaded.held = ()
    known = _ALL
    for at in range(max(shared - 1, 0), len(stages)):
        read = _stream(loaded.server, _body(stages[at][1], cache=shared > 0 or at > 0), call)
        if read.error is not None or call.abandoned.is_set():
            loaded.held = ()
            return None
        loaded.held = wanted[: at + 1]
        if at == shared:  # the first that is new: what it went on from was there
            known = read.usage.cache_read_tokens
    return known if stages else None


def _stages(request: ModelRequest) -> list[tuple[str, ModelRequest]]:
    """Each part before the prompt with the request that ends after it."""
    alone = replace(request, prompt="", context=(), schema=None, max_output_tokens=1)
    stages = [(request.system, alone)] if request.system else []
    parts = enumerate(request.context, 1)
    return [*stages, *((part, replace(alone, context=request.context[:until])) for until, part in parts)]


def _body(request: ModelRequest, *, cache: bool) -> _Body:
    """`request` in the words of OpenAI's chat completions, which llama.cpp takes."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    body: _Body = {
        "messages": [*system, {"role": "user", "content": request.user}],
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature or 0.0,
        "seed": _SEED,
        "cache_prompt": cache,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # chunks while the prompt is read, so that it can be stopped there too
    }
    if request.schema is not None:
        schema = {"name": "answer", "schema": dict(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _stream(server: Any, body: _Body, call: _Call) -> _Answer:
    """All that llama.cpp answers to `body`, or what came until the call was abandoned."""
    answer = _Answer()

    def take(chunk: _Body) -> bool:
        answer.take(chunk)
        return call.abandoned.is_set()  # True ends the generation

    try:
        whole = server.handle_chat_completions(body, take)
    except (ValueError, RuntimeError) as error:  # a schema that cannot be made a grammar
        return _Answer(error={"code": 400, "message": str(error)})
    if isinstance(whole, dict):
        answer.take(whole)
    return answer


def _load(settings: _Settings) -> _Loaded:
    """The model in memory, with the one that was used longest ago dropped where there are too many.

    Raises:
        ConfigError: llama.cpp cannot load the file.
    """
    if settings in _LOADED:
        _LOADED.move_to_end(settings)
        return _LOADED[settings]
    for other in [known for known in _LOADED if known.path == settings.path]:
        del _LOADED[other]  # never the same weights twice
    while len(_LOADED) >= _KEPT:
        _LOADED.popitem(last=False)
    try:
        _LOADED[settings] = _Loaded(_server(settings))
    except AgentError:
        raise
    except Exception as error:
        raise ConfigError(f"llama.cpp cannot load {settings.path}: {error}") from error
    return _LOADED[settings]


def _server(settings: _Settings) -> Any:
    """llama.cpp with the model loaded, silent."""
    import xllamacpp  # here and not above: it takes a while to import, and only this needs it

    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.n_ctx = settings.context
    params.n_parallel = 1
    params.n_batch = params.n_ubatch = _BATCH
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.n_threads_http = 1
    params.no_extra_bufts = True  # no second copy of the weights, repacked for speed: 1.4 GB in all for the default
    params.cache_ram_mib = 0  # a cache of whole conversations, which never come again
    params.warmup = False
    params.verbosity = -1
    params.api_keys = [secrets.token_hex(16)]  # it opens a port on 127.0.0.1 that nobody else is to use
    return xllamacpp.Server(params)


def _after_fork() -> None:
    """Makes a child process load its own models: llama.cpp's threads stayed with the parent."""
    global _TURN  # noqa: PLW0603 - the parent's lock may be held by a thread that the child does not have
    _TURN = threading.Lock()
    _RUNNING.clear()
    _LEFT_TO_PARENT.extend(_LOADED.values())
    _LOADED.clear()


_LEFT_TO_PARENT: list[_Loaded] = []
"""Never freed: the destructors would wait for those threads for ever. A child made by multiprocessing skips them."""

with suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
