"""A recorded response as a server sends it to our adapters, which always ask for a stream.

A stream and an error go out byte for byte as they were recorded. A body that was not streamed is sent as the events
that the provider documents for the same answer: the same fields, with each text in two halves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.loopback import Play, answering, event
from tests.traffic.recorded import Interaction

__all__ = ["served"]


def served(one: Interaction) -> Play:
    """The response that the loopback server gives."""
    if one.status != 200:
        encoding = {"content_encoding": "gzip"} if one.compressed else {}
        return answering(one.raw, status=one.status, **encoding)
    if one.streamed:
        return answering(one.body, kind="text/event-stream; charset=utf-8")
    body = json.loads(one.body)
    parts = _anthropic(body) if one.provider == "anthropic" else _openai(body)
    return answering(b"".join(parts), kind="text/event-stream; charset=utf-8")


def _anthropic(message: dict[str, Any]) -> Iterator[bytes]:
    start = message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
    yield _named("message_start", message=start)
    for index, block in enumerate(message["content"]):
        texts = {"text": "text_delta", "thinking": "thinking_delta"}
        kind = block["type"]
        blank: dict[str, Any] = {kind: ""} if kind in texts else {"input": {}} if "input" in block else {}
        yield _named("content_block_start", index=index, content_block=block | blank)
        if kind in texts:
            for half in _halves(block[kind]):
                yield _named("content_block_delta", index=index, delta={"type": texts[kind], kind: half})
        elif "input" in block:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield _named("content_block_delta", index=index, delta=delta)
        yield _named("content_block_stop", index=index)
    end = {"stop_reason": message["stop_reason"], "stop_sequence": message.get("stop_sequence")}
    late = {name: count for name, count in message["usage"].items() if name.endswith(("_tokens", "_details"))}
    yield _named("message_delta", delta=end, usage=late)
    yield _named("message_stop")


def _named(kind: str, **rest: Any) -> bytes:
    return event({"type": kind, **rest}, kind)


def _openai(body: dict[str, Any]) -> Iterator[bytes]:
    frame = {**body, "object": "chat.completion.chunk", "choices": [], "usage": None}
    for choice in body["choices"]:
        message = choice["message"]
        first, second = _halves(message.get("content") or "")
        calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls") or ())]
        rest: dict[str, Any] = {**message, "content": second, **({"tool_calls": calls} if calls else {})}
        begin: dict[str, Any] = {"role": "assistant", "content": first}
        for delta in (begin, rest):
            yield event({**frame, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]})
        last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        yield event({**frame, "choices": [last]})
    yield event({**frame, "usage": body.get("usage")})
    yield event("[DONE]")


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]
