"""What a recorded response says, read from its bytes with no SDK: what our adapters must make of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agentnb.budget import Usage
from agentnb.errors import FailureClass
from tests.traffic.recorded import Interaction

__all__ = ["Said", "events", "said"]

_FAILURES = {
    400: FailureClass.INVALID_DATA,
    401: FailureClass.PERMISSION,
    403: FailureClass.PERMISSION,
    404: FailureClass.INVALID_DATA,
    429: FailureClass.RATE_LIMITED,
    500: FailureClass.TRANSIENT,
    529: FailureClass.TRANSIENT,
}


@dataclass(frozen=True)
class Said:
    """A response in our terms.

    Attributes:
        usage: None where the response holds no counts.
        calls: names of the tools that it wants called.
        failure: what an error is; the rest is empty then.
    """

    text: str = ""
    usage: Usage | None = None
    stop: str = ""
    model: str = ""
    calls: tuple[str, ...] = ()
    failure: FailureClass | None = None


def said(one: Interaction) -> Said:
    """What `one` says."""
    if one.status != 200:
        return Said(failure=_FAILURES[one.status])
    if one.provider == "anthropic":
        return _message(_joined(one) if one.streamed else json.loads(one.body))
    return _chunks(events(one.body)) if one.streamed else _completion(json.loads(one.body))


def events(body: bytes) -> list[dict[str, Any]]:
    """The data of each event of a stream, in order, without [DONE]."""
    lines = [line[5:].strip() for line in body.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _joined(one: Interaction) -> dict[str, Any]:
    """The message that a stream of Anthropic's amounts to."""
    message: dict[str, Any] = {}
    for event in events(one.body):
        match event["type"]:
            case "message_start":
                message = event["message"] | {"content": []}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
            case "content_block_delta" if event["delta"]["type"] == "text_delta":
                message["content"][event["index"]]["text"] += event["delta"]["text"]
            case "message_delta":
                message |= {"stop_reason": event["delta"]["stop_reason"]}
                message["usage"] |= {k: v for k, v in event["usage"].items() if v is not None}
    return message


def _message(message: dict[str, Any]) -> Said:
    counts = message["usage"]
    read, written = counts.get("cache_read_input_tokens") or 0, counts.get("cache_creation_input_tokens") or 0
    usage = Usage(
        counts["input_tokens"] + read + written,
        counts["output_tokens"],
        read,
        written,
        (counts.get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0),
        (counts.get("output_tokens_details") or {}).get("thinking_tokens", 0),
        tuple(x for x in (counts.get("service_tier"), counts.get("inference_geo")) if x in ("batch", "priority", "us")),
    )
    stop = {"max_tokens": "length", "refusal": "refusal"}.get(message["stop_reason"], "end")
    blocks = message["content"]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = tuple(block["name"] for block in blocks if block["type"] == "tool_use")
    return Said(text, usage, stop, message["model"], calls)


def _completion(body: dict[str, Any]) -> Said:
    choice = body["choices"][0]
    message = choice["message"]
    calls = [call["function"]["name"] for call in message.get("tool_calls") or ()]
    calls += [message["function_call"]["name"]] if message.get("function_call") else []
    refusal = message.get("refusal")
    return Said(
        refusal or message.get("content") or "",
        _counts(body.get("usage"), body.get("service_tier")),
        "refusal" if refusal else _stop(choice["finish_reason"]),
        body["model"],
        tuple(calls),
    )


def _chunks(chunks: list[dict[str, Any]]) -> Said:
    mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == 0]
    deltas = [choice["delta"] for choice in mine]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or () if call.get("function", {}).get("name")]
    refusal = "".join(delta.get("refusal") or "" for delta in deltas)
    finish = next(choice["finish_reason"] for choice in mine if choice.get("finish_reason"))
    usage = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None)
    return Said(
        refusal or "".join(delta.get("content") or "" for delta in deltas),
        _counts(usage, chunks[0].get("service_tier")),
        "refusal" if refusal else _stop(finish),
        chunks[0]["model"],
        tuple(call["function"]["name"] for call in calls),
    )


def _stop(finish: str) -> str:
    return {"length": "length", "content_filter": "refusal"}.get(finish, "end")


def _counts(counts: dict[str, Any] | None, tier: str | None) -> Usage | None:
    if counts is None:
        return None
    return Usage(
        counts["prompt_tokens"],
        counts["completion_tokens"],
        (counts.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        reasoning_tokens=(counts.get("completion_tokens_details") or {}).get("reasoning_tokens", 0),
        terms=(tier,) if tier in ("flex", "priority") else (),
    )
