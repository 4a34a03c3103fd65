"""Anthropic's prompt cache as a server bills it: a run pays less with our marks, and its record is that bill."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Budget, Step
from agentnb.budget import Price, Usage
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.prices import price_of
from tests.loopback import Play, Recorded, event, playing, streaming
from tests.parts import add

NAME = "claude-opus-5"
LEAST = 512


@dataclass
class Provider:
    """A server that caches as Anthropic does: the schema first, beginnings at marks, the longest known one is read."""

    known: set[str] = field(default_factory=set)
    bills: list[Usage] = field(default_factory=list)

    def __call__(self, request: Recorded) -> Play:
        """An answer of the form asked for, with the counts of what the cache gave and took."""
        schema = request.body["output_config"]["format"]["schema"]
        content = request.body["messages"][0]["content"]
        blocks = [*request.body["system"], *(content if isinstance(content, list) else [{"text": content}])]
        begin, read, written = json.dumps(schema), 0, 0
        for block in blocks:
            begin += block["text"]
            tokens = len(begin) // 4
            if begin in self.known:
                read, written = tokens, 0
            elif "cache_control" in block and tokens >= LEAST:
                self.known.add(begin)
                written = tokens - read
        assert sum("cache_control" in block for block in blocks) <= 4
        self.bills.append(Usage(len(begin) // 4, 50, read, written))
        counts = {"cache_read_input_tokens": read, "cache_creation_input_tokens": written, "output_tokens": 50}
        return self._said(schema, counts | {"input_tokens": len(begin) // 4 - read - written})

    def _said(self, schema: dict[str, Any], usage: dict[str, int]) -> Play:
        forms = {
            "verdict": {"finding": "it is so", "reason": "as expected", "verdict": "continue", "confidence": "high"},
            "answer": {"facts": [], "unknowns": [], "answer": "done", "confidence": "high"},
        }
        reply = next(form for name, form in forms.items() if name in schema["properties"])
        text = {"type": "text_delta", "text": json.dumps(reply)}
        message = {"id": "m", "type": "message", "role": "assistant", "model": NAME, "content": [], "usage": usage}
        parts: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_delta", "index": 0, "delta": text},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 50}},
        ]
        return streaming(*[event(part, part["type"]) for part in parts])


@dataclass(frozen=True)
class Priced(AnthropicModel):
    """Claude at its list price, wherever it is called."""

    price: Price | None = field(default_factory=lambda: price_of(f"anthropic:{NAME}", "https://api.anthropic.com"))


def test_a_run_pays_less_with_marks_and_its_record_is_the_bill(tmp_path: Path) -> None:
    """Twelve checks share one beginning: it is written once and read eleven times, and each cent is the server's."""
    provider = Provider()
    steps = [Step(tool="add", args={"a": n, "b": n}, expect="a sum") for n in range(12)]
    with playing(provider) as server:
        model = Priced(NAME, api_key="none", base_url=server.url)
        run = Agent(model, tools=[add], budget=Budget(usd=5), store=tmp_path).run("add " * 400, plan=steps)
    price = model.price
    assert price is not None
    assert [usage.cache_write_tokens > 0 for usage in provider.bills] == [True] + [False] * 12
    assert [usage.cache_read_tokens > 0 for usage in provider.bills] == [False] + [True] * 11 + [False]
    assert run.spent.usd == run.spent.least_usd == pytest.approx(sum(map(price, provider.bills)))
    plain = sum(price(Usage(usage.input_tokens, usage.output_tokens)) for usage in provider.bills)
    assert run.spent.usd < 0.8 * plain
    assert run.spent.input_tokens == sum(usage.input_tokens for usage in provider.bills)
