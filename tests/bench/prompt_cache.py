"""A hit in the prompt cache on a prompt of 10 kB, its key included, beside LangChain's SQLiteCache and bare SQLite."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from agentnb import ModelReply, ModelRequest, Usage
from tests.bench.measuring import Job, Options, Row, Target, Timer, median_of, places

__all__ = ["TARGETS", "rows"]

HITS = 3000
_OTHERS = 100
"""Entries beside the one that is asked for."""

TARGETS = (
    Target("hit in the cache, ms, under 0.06", "wall ms", 0.06, lambda row: row["who"] == "agentnb, cache"),
    Target("hit through the whole chain, ms, under 0.2", "wall ms", 0.2, lambda row: row["who"] == "agentnb, chain"),
)

_REPLY = ModelReply('{"answer": "' + "word " * 80 + '", "confidence": "high"}', Usage(2500, 100), model="zero")


def rows(options: Options) -> list[Row]:
    """A line for each cache; LangChain's only where it is installed."""
    there = [who for who in _HITS if who != "LangChain SQLiteCache" or importlib.util.find_spec("langchain_community")]
    with places() as where:
        return median_of([Job("prompt_cache", (who, str(where["disk"]))) for who in there], options.repeats)


def _request(n: int) -> ModelRequest:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    rules = "State only what the task or a result says. " * 60
    return ModelRequest("zero:model", "answer", rules, f"{n} " + "| a row of data, 1234.5\n" * 320, schema)


def _in_cache(folder: Path) -> Callable[[], str]:
    from agentnb.models.chain import reply_from_text, reply_text
    from agentnb.store.replies import DiskReplyCache

    cache = DiskReplyCache(folder)
    for n in range(_OTHERS):
        cache.put(_request(n).key(), reply_text(_REPLY))

    def hit() -> str:
        text = cache.get(_request(7).key())
        return reply_from_text(text or "").text

    return hit


def _through_chain(folder: Path) -> Callable[[], str]:
    """The chain as a run builds it; its events are appended, as the loop does, and with the next commit durable."""
    from agentnb.models.chain import Question, cached, chain, metered, reply_text, retrying
    from agentnb.models.prices import price_of
    from agentnb.store.replies import DiskReplyCache
    from tests.bench.zero import ZeroModel, begin

    session = begin(folder, 1)
    log, cache, price = session.log, DiskReplyCache(folder), price_of("scripted")
    if price is None:
        raise AssertionError("scripted models cost nothing")
    for n in range(_OTHERS):
        cache.put(_request(n).key(), reply_text(_REPLY))
    layers = [cached(log, cache, price), retrying(log, lambda _: None), metered(log, price)]
    ask = chain(ZeroModel("zero:model"), layers)

    def hit() -> str:
        request = _request(7)
        events = ask(Question(request, request.key()))
        while True:
            try:
                log.append(next(events))
            except StopIteration as stopped:
                reply: ModelReply = stopped.value
                return reply.text

    return hit


def _langchain(folder: Path) -> Callable[[], str]:
    from langchain_community.cache import SQLiteCache  # type: ignore[import-not-found,unused-ignore]
    from langchain_core.outputs import Generation  # type: ignore[import-not-found,unused-ignore]

    cache = SQLiteCache(str(folder / "langchain.db"))
    setting = json.dumps({"model": "zero:model", "temperature": 0})
    for n in range(_OTHERS):
        cache.update(_request(n).system + _request(n).prompt, setting, [Generation(text=_REPLY.text)])

    def hit() -> str:
        request = _request(7)
        found = cache.lookup(request.system + request.prompt, setting)
        text: str = found[0].text
        return text

    return hit


def _bare(folder: Path) -> Callable[[], str]:
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, value TEXT)")
    for n in range(_OTHERS):
        connection.execute("INSERT INTO kept VALUES (?, ?)", (_bare_key(_request(n)), _REPLY.text))

    def hit() -> str:
        found = connection.execute("SELECT value FROM kept WHERE key = ?", (_bare_key(_request(7)),)).fetchone()
        text: str = found[0]
        return text

    return hit


def _bare_key(request: ModelRequest) -> str:
    return hashlib.sha256((request.system + request.prompt).encode()).hexdigest()


_HITS: dict[str, Callable[[Path], Callable[[], str]]] = {
    "agentnb, cache": _in_cache,
    "agentnb, chain": _through_chain,
    "LangChain SQLiteCache": _langchain,
    "bare sqlite3": _bare,
}


def measure(who: str, folder: str) -> Row:
    """Hits one after the other, in this process."""
    timer = Timer()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        hit = _HITS[who](Path(own))
        for _ in range(HITS):
            if hit() != _REPLY.text:
                raise AssertionError(f"{who} gave back something else")
            timer.lap()
    return {"who": who, "hits": HITS, **timer.row()}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
