"""What stands between a question and a provider, as a fold of layers: cache → retry → budget → provider.

An `Ask` is a generator: it yields the events of what it does and returns the reply, so that an intent is durable before
the request leaves. Retries stand outside the budget: every attempt may be billed, so every attempt is reserved for.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import reduce

import tenacity

from agentnb.budget import OverBudget, Price, Refusal, Spent, Usage, affordable_output, nothing, worst_cost_usd
from agentnb.cost import uncached
from agentnb.decide import kept_back
from agentnb.errors import CassetteError, ConfigError, FailureClass, ModelError, StoreError
from agentnb.events import Event, ModelAsked, ModelCached, ModelFailed, ModelReplied
from agentnb.log import RunLog
from agentnb.models.base import Model, ModelReply, ModelRequest, input_bound
from agentnb.retry import wait_s
from agentnb.shapes import Shape
from agentnb.store.base import ReplyCache

__all__ = ["Ask", "Question", "Voice", "cached", "chain", "metered", "provider", "retrying"]

MAX_TRIES = 4
LONGEST_WAIT_S = 60.0
"""Seconds that a rate limit may ask to wait before the run rests instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request with what the layers need to know about it.

    Attributes:
        request: what is asked.
        key: its key.
        step: the step it is asked for, or "".
        last_word: True for the final answer, which alone may use what is kept back for it.
        attempt: 1, 2, … within the retries.
        again: True where it is asked anew even if the prompt cache has a reply, which could not be used.
    """

    request: ModelRequest
    key: str
    step: str = ""
    last_word: bool = False
    attempt: int = 1
    again: bool = False


Ask = Callable[[Question], Generator[Event, None, ModelReply]]


@dataclass(frozen=True, slots=True)
class Voice:
    """A model as a run speaks to it.

    Attributes:
        ref: its name, part of every key.
        ask: its chain.
        price: what it charges, None where nobody knows.
        thinking_tokens: output tokens that it may use before it answers, on top of the answer's own.
        endpoint: the server that is asked, "" for the provider's own; part of every key too.
    """

    ref: str
    ask: Ask
    price: Price | None = None
    thinking_tokens: int = 0
    endpoint: str = ""


Layer = Callable[[Ask], Ask]


def chain(model: Model, layers: Iterable[Layer]) -> Ask:
    """An Ask of `model` with `layers` around it, the outermost first."""
    return reduce(lambda ask, layer: layer(ask), reversed(list(layers)), provider(model))


def provider(model: Model) -> Ask:
    """The bottom: the model itself."""

    def ask(question: Question) -> Generator[Event, None, ModelReply]:
        yield from ()  # no event of its own: the layers above speak for it
        return model.ask(question.request)

    return ask


def metered(log: RunLog, price: Price | None, strong: Price | None = None) -> Layer:
    """The one place where money is spent: reserve the worst case, clamp or refuse, settle to what was used.

    Args:
        log: the run.
        price: of the model; None where nobody knows, and it counts as nothing.
        strong: of the strong model, where this is another one and both prices are known.

    Raises (when asked):
        OverBudget: a cap does not cover the request.
    """

    def layer(ask: Ask) -> Ask:
        def metered_ask(question: Question) -> Generator[Event, None, ModelReply]:
            request, reserved = _reserve(log, price or nothing, question)
            yield ModelAsked(
                phase=request.phase,
                model=request.model,
                key=question.key,
                attempt=question.attempt,
                reserved=reserved,
                step=question.step,
            )
            began = log.clock.monotonic()
            try:
                sent = question if request is question.request else replace(question, request=request)
                reply = _clean((yield from ask(sent)), log)
            except ModelError as error:
                seconds = log.clock.monotonic() - began
                yield ModelFailed(failure=error.failure, message=str(error), seconds=seconds, unbilled=error.unbilled)
                raise
            except (ConfigError, CassetteError) as error:  # nothing was sent
                yield ModelFailed(failure=FailureClass.FATAL, message=str(error), seconds=0, unbilled=True)
                raise
            seconds = log.clock.monotonic() - began if reply.seconds is None else reply.seconds
            yield ModelReplied(
                text=log.keep(reply.text),
                usage=reply.usage,
                usd=_charged(price, reply.usage),
                seconds=seconds,
                stop=reply.stop,
                model=reply.model,
                uncached_usd=uncached(price, reply.usage) if price and not reply.usage.uncounted else None,
                strong_usd=strong(reply.usage) if strong else None,
            )
            return reply

        return metered_ask

    return layer


def _charged(price: Price | None, usage: Usage) -> float:
    """Dollars of a call; the most that they can be where its provider has not counted, 0 where nobody knows a price."""
    if price is None:
        return 0.0
    return worst_cost_usd(price, usage) if usage.uncounted else price(usage)


def _reserve(log: RunLog, price: Price, question: Question) -> tuple[ModelRequest, Spent]:
    """The request as the budget lets it go out, and what is reserved for it."""
    request, state = question.request, log.state
    keep = {} if question.last_word else kept_back(state.budget)
    used = state.used(log.now())
    tokens = input_bound(request)
    room = affordable_output(state.budget, used, keep, price, tokens, request.max_output_tokens)
    if isinstance(room, Refusal):
        raise OverBudget(room)
    seconds = state.budget.seconds_left(used, keep)
    if room < request.max_output_tokens or seconds < request.timeout_s:
        request = replace(request, max_output_tokens=room, timeout_s=min(request.timeout_s, max(seconds, 0.1)))
    worst = Usage(tokens, room)
    return request, Spent(usd=worst_cost_usd(price, worst), input_tokens=tokens, output_tokens=room, model_calls=1)


def retrying(log: RunLog, sleep: Callable[[float], None]) -> Layer:
    """Ask again after failures that pass: exponential backoff with jitter, never sooner than the provider says.

    Where that is more than a minute, or more than the wall-clock budget has left, the run rests instead and says so.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return wait_s(state.attempt_number, error.retry_after_s if isinstance(error, ModelError) else None)

    def stop(state: tenacity.RetryCallState) -> bool:
        cap = log.state.budget.seconds
        longest = LONGEST_WAIT_S if cap is None else min(LONGEST_WAIT_S, cap - log.now())
        return state.attempt_number >= MAX_TRIES or state.upcoming_sleep > longest

    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, ModelError) and e.failure.worth_retrying),
        wait=wait,
        stop=stop,
        sleep=sleep,
        reraise=True,
    )

    def layer(ask: Ask) -> Ask:
        def retrying_ask(question: Question) -> Generator[Event, None, ModelReply]:
            try:  # a first try that succeeds, as most do, needs no loop: tenacity's takes longer than the rest of them
                return (yield from ask(question))
            except ModelError as error:
                first = error
            for attempt in tries:
                with attempt:
                    number = attempt.retry_state.attempt_number
                    if number == 1:
                        raise first
                    return (yield from ask(replace(question, attempt=number)))
            raise AssertionError("tenacity ends with a result or the last error")

        return retrying_ask

    return layer


def cached(log: RunLog, cache: ReplyCache, price: Price, *, fresh: bool = False) -> Layer:
    """Answer from the prompt cache; whole answers go into it, refusals, cut-off ones and errors do not.

    Args:
        log: the run.
        cache: where replies are kept.
        price: what a hit saves.
        fresh: True asks anew, and replaces what the cache holds.
    """

    def layer(ask: Ask) -> Ask:
        def cached_ask(question: Question) -> Generator[Event, None, ModelReply]:
            reply = None if fresh or question.again else _remembered(cache, question.key, log)
            if reply is not None:
                request = question.request
                yield ModelCached(
                    phase=request.phase,
                    model=request.model,
                    key=question.key,
                    text=log.keep(reply.text),
                    usage=reply.usage,
                    saved_usd=price(reply.usage),
                    step=question.step,
                )
                return reply
            reply = yield from ask(question)
            if reply.stop == "end":
                with suppress(StoreError):  # the reply is paid for and in the journal; a cache may fail
                    cache.put(question.key, reply_text(reply))
            return reply

        return cached_ask

    return layer


def _clean(reply: ModelReply, log: RunLog) -> ModelReply:
    """`reply` without secrets, as it is parsed, recorded and cached."""
    text = log.redact(reply.text)
    return reply if text is reply.text else replace(reply, text=text)


def _remembered(cache: ReplyCache, key: str, log: RunLog) -> ModelReply | None:
    try:
        text = cache.get(key)
        return None if text is None else _clean(reply_from_text(text), log)
    except (ValueError, StoreError):  # of another release, or damaged: an entry that cannot be read is none
        return None


def reply_text(reply: ModelReply) -> str:
    """`reply` as the JSON text that caches and cassettes keep."""
    return json.dumps(asdict(replace(reply, cached=False)), ensure_ascii=False)


def reply_from_text(text: str) -> ModelReply:
    """The reply that `reply_text` wrote, marked as cached.

    Raises:
        ValueError: it is something else.
    """
    reply: ModelReply = _shape().parsed(text)
    return replace(reply, cached=True)


@functools.cache
def _shape() -> Shape:
    return Shape(ModelReply)
