"""Cassettes: the model calls of a notebook in one reviewable text file, from which anybody reruns it with no key.

What the file looks like is said in `tape.py`.
"""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentnb.errors import CassetteError, CassetteMiss, ModelUnavailable
from agentnb.models.base import Model, ModelReply, ModelRequest
from agentnb.redact import Redactor
from agentnb.tape import HOW, Call, Tape, alone, nominal_s, read, short, write

__all__ = ["Cassette", "Recording", "Replaying", "asked_here", "behind", "may_answer_alone"]

_ASKED: Final[dict[Path, set[str]]] = {}
"""The keys that this process has asked of each file: in a kernel, what its notebook still uses."""
_COMPARED: Final = 2000
"""Characters at the end of a prompt by which the nearest one is found."""
_NAMED: Final = 3


class Cassette:
    """Recorded model calls by the key of their request.

    Args:
        path: the file; read if it exists.

    Raises:
        CassetteError: it is damaged, too large, or of a newer format; says which line.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._taken: dict[str, int] = defaultdict(int)
        self._recorded: set[str] = set()
        self._tape = read(self.path) if self._there() else Tape()
        self._asked = _ASKED.setdefault(_place(self.path), set())

    def __len__(self) -> int:
        return sum(map(len, self._tape.calls.values()))

    def __contains__(self, request: ModelRequest) -> bool:
        return bool(self._tape.calls.get(short(request.key())))

    @property
    def models(self) -> list[str]:
        """The models that it was recorded from."""
        return sorted({call.model for calls in self._tape.calls.values() for call in calls})

    def reply(self, request: ModelRequest) -> ModelReply:
        """What was answered to `request`; the same request asked again gets the next answer, and the last one for ever.

        Raises:
            CassetteMiss: it was never asked; says which recorded request is nearest and where they differ.
        """
        key = short(request.key())
        calls = self._tape.calls.get(key)
        if not calls:
            said = f"the cassette {self.path.name} has no reply to this {request.phase} request"
            raise CassetteMiss(f"{self.lacks(request)}: {HOW}", said)
        self._asked.add(key)
        place = min(self._taken[key], len(calls) - 1)
        self._taken[key] += 1
        return calls[place].answered

    def add(self, request: ModelRequest, reply: ModelReply) -> None:
        """Take in a call and write the file, whole and atomically; what an earlier recording answered to it goes."""
        with alone(self.path):
            call = self._tape.call_of(request, reply)
            self._take_in_others()
            if call.key not in self._recorded:
                self._tape.calls[call.key] = []
                self._recorded.add(call.key)
            self._tape.calls[call.key].append(call)
            self._asked.add(call.key)
            write(self.path, self._tape)

    def save(self) -> None:
        """Write the file in the present format, whole and atomically; texts that no call uses are left out."""
        write(self.path, self._tape)

    def lacks(self, request: ModelRequest) -> str:
        """That `request` was never asked, in words: which recorded one is nearest, and in what they differ."""
        held = f"{self.path} has no reply to this {request.phase} request of {request.model}"
        recorded = [calls[0] for calls in self._tape.calls.values() if calls[0].phase == request.phase]
        if not recorded:
            return f"{held}, and none to any {request.phase} request"
        wanted = _parts(request)
        nearest = max(recorded, key=lambda call: _likeness(self._parts_of(call), wanted))
        return f"{held}; the nearest recorded one, {nearest.key}, {_difference(self._parts_of(nearest), wanted)}"

    def _parts_of(self, call: Call) -> dict[str, str]:
        return _parts(self._tape.request_of(call))

    def _there(self) -> bool:
        try:
            return self.path.exists()
        except (OSError, ValueError) as error:  # a name too long, or with a NUL in it
            raise CassetteError(f"{str(self.path)[:200]!r} cannot be a cassette: {error}") from error

    def _take_in_others(self) -> None:
        """Begin from the file as it is now, but for what was recorded here.

        Two kernels, or two cells at once, may record into it, and what has been taken out of it stays out.
        """
        if self._there():
            now, mine = read(self.path), self._tape.calls
            self._tape.texts |= now.texts
            self._tape.calls = {**now.calls, **{key: mine[key] for key in self._recorded}}


def _place(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of links: it could not be read either
        return path


def asked_here(path: Path) -> frozenset[str]:
    """The keys of the calls that this process has replayed from, or recorded into, the file."""
    return frozenset(_ASKED.get(_place(path), ()))


def _parts(request: ModelRequest) -> dict[str, str]:
    """What decides the answer, part by part, in the order in which a difference tells most."""
    schema = json.dumps(request.schema, ensure_ascii=False, sort_keys=True)
    context = {f"context[{place}]": text for place, text in enumerate(request.context)}
    return {
        "model": request.model,
        "endpoint": request.endpoint,
        "system": request.system,
        **context,
        "prompt": request.prompt,
        "schema": schema,
        "max_output_tokens": str(request.max_output_tokens),
        "temperature": str(request.temperature),
    }


def _likeness(recorded: Mapping[str, str], wanted: Mapping[str, str]) -> float:
    """How like they are: 1 for each part that is the same, and what is alike of the others that are texts."""
    total = 0.0
    for name in recorded.keys() | wanted.keys():
        a, b = recorded.get(name, ""), wanted.get(name, "")
        texts = name == "prompt" or name.startswith("context")
        if a == b:
            total += 1
        elif texts:
            total += difflib.SequenceMatcher(None, a[-_COMPARED:], b[-_COMPARED:]).quick_ratio()
    return total


def _difference(recorded: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    names = [name for name in {**wanted, **recorded} if recorded.get(name) != wanted.get(name)]
    if not names:
        return "differs in nothing that is shown"
    first, *more = names
    a, b = recorded.get(first), wanted.get(first)
    also = f" (and in {', '.join(more[:_NAMED])}{' …' if len(more) > _NAMED else ''})" if more else ""
    if a is None or b is None:
        only = "was recorded with" if b is None else "was recorded without"
        return f"{only} {first}, {(a or b or '')[:60]!r}{also}"
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    near = slice(max(0, at - 20), at + 40)
    was, now = (" ".join(text[near].split()) for text in (a, b))  # as one line, with no escapes in it
    # what to do follows the first colon and space of an error's text, so the texts that it tells have none
    was, now = (repr(text).replace(": ", ":\u00a0") for text in (was, now))
    return f"differs in {first} at character {at}, where {was} was recorded and {now} is asked{also}"


class Replaying:
    """A model that answers from a cassette and from nothing else.

    Args:
        model: the model that was recorded. It is never asked; what it is decides what is asked for.
        cassette: where from.
        redact: gives what takes secrets out of texts: they were not recorded, so they are not asked for.
    """

    def __init__(self, model: Model, cassette: Cassette, redact: Callable[[], Redactor] = Redactor.here) -> None:
        self.ref = model.ref
        self.inner = model
        self._cassette = cassette
        self._redact = redact

    def ask(self, request: ModelRequest) -> ModelReply:
        """The recorded reply; raises CassetteMiss."""
        return self._cassette.reply(request.mapped(self._redact()))


class Recording:
    """A model whose replies go into a cassette, without secrets.

    Args:
        model: the model that answers.
        cassette: where to.
        redact: gives what takes secrets out of texts.
        only_new: True answers from the cassette what it has, and asks the model only for the rest.
    """

    def __init__(
        self,
        model: Model,
        cassette: Cassette,
        redact: Callable[[], Redactor] = Redactor.here,
        *,
        only_new: bool = False,
    ) -> None:
        self.ref = model.ref
        self.inner = model
        self.only_new = only_new
        self._cassette = cassette
        self._redact = redact

    def ask(self, request: ModelRequest) -> ModelReply:
        """The reply as it is recorded, with the time that it counts for where it is replayed.

        Raises:
            CassetteMiss: the cassette lacks it, and the model cannot be asked.
        """
        redact = self._redact()
        request = request.mapped(redact)
        if self.only_new and request in self._cassette:
            return self._cassette.reply(request)
        try:
            reply = self.inner.ask(request)
        except ModelUnavailable as error:
            if not self.only_new:
                raise
            raise CassetteMiss(f"{self._cassette.lacks(request)}: and the model cannot be asked, {error}") from error
        reply = replace(reply, text=redact(reply.text), seconds=nominal_s(reply.usage))
        self._cassette.add(request, reply)
        return reply


def behind(model: Model) -> Model:
    """The model that `model` records or replays, or itself: whose price, key, server and thinking count."""
    return model.inner if isinstance(model, (Recording, Replaying)) else model


def may_answer_alone(model: Model) -> bool:
    """True where a cassette may have every reply, so that the model behind it need not be there."""
    return isinstance(model, Replaying) or (isinstance(model, Recording) and model.only_new)
