"""Recorded interactions, read out of a source distribution without unpacking it."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

__all__ = ["Interaction", "interactions"]

_PROVIDERS: dict[str, Literal["anthropic", "openai"]] = {
    "https://api.anthropic.com/v1/messages": "anthropic",
    "https://api.openai.com/v1/chat/completions": "openai",
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


@dataclass(frozen=True)
class Interaction:
    """One request to a provider, and the bytes that it answered.

    Attributes:
        file: the cassette, by its path in the distribution.
        asked: the request's JSON, {} where the cassette keeps none.
        raw: the response's body as it came, still compressed where it was.
    """

    file: str
    provider: Literal["anthropic", "openai"]
    asked: dict[str, Any]
    status: int
    raw: bytes

    @property
    def compressed(self) -> bool:
        """True where the body came gzipped."""
        return self.raw.startswith(b"\x1f\x8b")

    @property
    def body(self) -> bytes:
        """The body in plain."""
        return gzip.decompress(self.raw) if self.compressed else self.raw

    @property
    def streamed(self) -> bool:
        """True where the body is a stream of events."""
        return self.status == 200 and self.body.lstrip()[:1] in (b"e", b"d", b":")


def interactions(archive: Path) -> Iterator[Interaction]:
    """Every interaction with one of the two providers in `archive`; the same bytes twice in it count once."""
    seen = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            if "cassette" not in member.name or not member.name.endswith((".yaml", ".yml", ".yaml.gz", ".json")):
                continue
            file = tar.extractfile(member)
            data = file.read() if file else b""
            for one in _in_cassette(member.name, gzip.decompress(data) if member.name.endswith(".gz") else data):
                digest = hashlib.sha256(f"{one.provider} {one.status} ".encode() + one.body).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield one


def _in_cassette(name: str, text: bytes) -> Iterator[Interaction]:
    """What a cassette of vcrpy holds; in one of langchain's, requests and responses stand apart."""
    cassette = yaml.load(text, _LOADER)  # noqa: S506 - both are safe loaders; JSON is YAML
    if not isinstance(cassette, dict):
        return
    pairs = cassette.get("interactions")
    if pairs is None:
        pairs = [
            {"request": request, "response": response}
            for request, response in zip(cassette.get("requests", ()), cassette.get("responses", ()), strict=True)
        ]
    for pair in pairs if isinstance(pairs, list) else ():
        request, response = pair["request"], pair["response"]
        provider = _PROVIDERS.get(request.get("uri", "").partition("?")[0])
        if provider:
            raw = response["body"]["string"]
            raw = raw.encode() if isinstance(raw, str) else raw
            yield Interaction(name, provider, _json(request.get("body")), response["status"]["code"], raw)


def _json(body: Any) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return asked if isinstance(asked, dict) else {}
