"""The form of a cassette's file: JSON Lines, read with every line checked, written the same whoever recorded it when.

    {"agentnb_cassette": 2}
    {"text": "5f2c…", "is": "…"}        a prompt, a part of one, or a schema: once, under its hash
    {"call": {"phase": "plan", "key": "9a41…", "system": "5f2c…", …, "reply": {…}, "sum": "77b0…"}}
    {"end": {"calls": 12, "sum": "e3b1…"}}

Texts stand in the order of their hashes, calls in that of their phases and keys, so that neither the order in which
threads asked nor an earlier content shows, and two branches' changes seldom meet in one place. No time is in it.

A cassette comes with a repository, so it is hostile input: JSON only, sizes bounded, and everything computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentnb.budget import Phase, Usage
from agentnb.errors import CassetteError
from agentnb.models.base import ModelReply, ModelRequest

__all__ = ["HOW", "Call", "Tape", "alone", "problems_of", "read", "short", "write"]

FORMAT: Final = 2
HOW: Final = (
    "record it with a model at hand: run the notebook with AGENTNB_MODE=record (or %config AgentMagics.mode), or with"
    " AGENTNB_MODE=new, which asks only for what is missing"
)
_LARGEST_FILE: Final = 64 << 20
_DIGITS: Final = 16
"""Of a hash in hex: enough that no two texts of a cassette share one, and short enough for a line."""
_PHASES: Final = get_args(Phase)
_INPUT_PER_S, _OUTPUT_PER_S = 2000, 50
_WRITING: Final = threading.Lock()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Reply(_Strict):
    """What was answered."""

    text: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    terms: list[str] = []
    uncounted: bool = False
    stop: Literal["end", "length", "refusal"]
    model: str


class Call(_Strict):
    """A request, its texts by their hashes, and its reply."""

    phase: Phase
    key: str
    model: str
    system: str
    context: list[str] = []
    prompt: str
    schema_: str | None = Field(alias="schema")
    max_output_tokens: int
    temperature: float | None
    endpoint: str = ""
    reply: Reply
    sum: str = ""

    @property
    def texts(self) -> set[str]:
        """The hashes of the texts that it refers to."""
        return {self.system, *self.context, self.prompt, *filter(None, (self.schema_,))}

    @property
    def checksum(self) -> str:
        """What `sum` has to be."""
        said = self.model_dump(by_alias=True, exclude={"sum"}, exclude_defaults=True)  # a field that is added leaves it
        return _hash(json.dumps(said, ensure_ascii=False, sort_keys=True))

    @property
    def line(self) -> dict[str, Any]:
        """The call as it is written."""
        return {"call": self.model_dump(by_alias=True, exclude_defaults=True)}

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands among others; those with one key stay in the order in which they were answered."""
        return _PHASES.index(self.phase), self.key

    @property
    def answered(self) -> ModelReply:
        """The reply, and how long it is taken to have taken: see `nominal_s`."""
        held = self.reply
        counted = held.model_dump(include={field.name for field in fields(Usage)})
        usage = Usage(**counted | {"terms": tuple(held.terms)})
        return ModelReply(held.text, usage, held.stop, held.model, seconds=nominal_s(usage))


def nominal_s(usage: Usage) -> float:
    """Seconds that a call of this size counts for, where it is recorded and where it is replayed.

    A budget of working seconds has to stop a replay where it stopped the recording, and a time that was measured would
    make every recording another file. So neither is measured: 2000 tokens in and 50 out count for a second each.
    """
    return round(usage.input_tokens / _INPUT_PER_S + usage.output_tokens / _OUTPUT_PER_S, 3)


def short(key: str) -> str:
    """A request's key as a cassette has it."""
    return key[:_DIGITS]


def _hash(text: str) -> str:
    return short(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


@dataclass
class Tape:
    """What a file holds.

    Attributes:
        texts: by their hashes.
        calls: by their keys, in the order in which they were answered.
        format: of the file that it was read from.
    """

    texts: dict[str, str] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    format: int = FORMAT

    def shared(self, text: str) -> str:
        """The hash of `text`, which is kept under it."""
        digest = _hash(text)
        self.texts[digest] = text
        return digest

    def call_of(self, request: ModelRequest, reply: ModelReply) -> Call:
        """The call, its texts kept."""
        schema = None if request.schema is None else self.shared(json.dumps(request.schema, ensure_ascii=False))
        call = Call(
            phase=request.phase,
            key=short(request.key()),
            model=request.model,
            system=self.shared(request.system),
            context=[self.shared(text) for text in request.context],
            prompt=self.shared(request.prompt),
            schema=schema,
            max_output_tokens=request.max_output_tokens,
            temperature=request.temperature,
            endpoint=request.endpoint,
            reply=Reply(
                text=reply.text,
                stop=reply.stop,
                model=reply.model,
                **asdict(reply.usage) | {"terms": list(reply.usage.terms)},
            ),
        )
        return call.model_copy(update={"sum": call.checksum})

    def request_of(self, call: Call) -> ModelRequest:
        """The request of a call whose texts are here."""
        return ModelRequest(
            model=call.model,
            phase=call.phase,
            system=self.texts[call.system],
            prompt=self.texts[call.prompt],
            schema=None if call.schema_ is None else json.loads(self.texts[call.schema_]),
            max_output_tokens=call.max_output_tokens,
            temperature=call.temperature,
            context=tuple(self.texts[name] for name in call.context),
            endpoint=call.endpoint,
        )

    @property
    def unused(self) -> set[str]:
        """The hashes of texts that no call refers to."""
        return self.texts.keys() - {name for calls in self.calls.values() for call in calls for name in call.texts}

    def lines(self) -> Iterator[str]:
        """The file, a line at a time; texts that no call uses are left out."""
        calls = sorted((call for held in self.calls.values() for call in held), key=lambda call: call.place)
        unused = self.unused
        said: list[Mapping[str, Any]] = [{"agentnb_cassette": FORMAT}]
        said += [{"text": name, "is": text} for name, text in sorted(self.texts.items()) if name not in unused]
        said += [call.line for call in calls]
        whole = hashlib.sha256()
        for line in (_json(item) for item in said):
            whole.update(line.encode() + b"\n")
            yield line
        yield _json({"end": {"calls": len(calls), "sum": short(whole.hexdigest())}})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other threads and processes of this machine from writing the file between its being read and written.

    The lock is no neighbour of the file, which lies in somebody's repository.

    Raises:
        CassetteError: it cannot be locked.
    """
    from filelock import FileLock  # 30 ms, which nobody who only replays should wait for

    lock = Path(tempfile.gettempdir()) / f"agentnb-{_hash(f'{Path.home()} {path.resolve()}')}.lock"
    with _WRITING:
        held = FileLock(lock, mode=0o600)
        try:
            held.acquire(poll_interval=0.01)
        except OSError as error:
            raise CassetteError(f"{path} cannot be locked with {lock}: {error.strerror or error}") from error
        try:
            yield
        finally:
            held.release()


def write(path: Path, tape: Tape) -> None:
    """Write the file beside itself first, then put it in place.

    Raises:
        CassetteError: it cannot be written; what was there is as it was.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes("".join(f"{line}\n" for line in tape.lines()).encode())  # bytes: the same on every system
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CassetteError(f"{path} cannot be written: {error.strerror or error}") from error


def read(path: Path) -> Tape:
    """What the file holds, every line checked.

    Raises:
        CassetteError: it cannot be read, is too large, of a newer format, or damaged; says which line.
    """
    reader = _Reader()
    for number, why in reader.take_all(_lines(path)):
        raise CassetteError(f"{path}, line {number}: {why}. Restore the file, or {HOW}")
    return reader.tape


def problems_of(path: Path) -> tuple[Tape, list[tuple[int, str]]]:
    """What can be read of the file, and what is wrong with it: (line, why) of each line.

    Raises:
        CassetteError: it cannot be read at all.
    """
    reader = _Reader()
    found = list(reader.take_all(_lines(path)))
    return reader.tape, found


def _lines(path: Path) -> list[str]:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise CassetteError(f"{path} has {size:,} bytes; a cassette has at most {_LARGEST_FILE:,}")
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # texts may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise CassetteError(f"{path} cannot be read: {error}") from error


class _Reader:
    """Takes in a file's lines, one after another."""

    def __init__(self) -> None:
        self.tape = Tape()
        self._whole = hashlib.sha256()
        self._many = 0
        self._ended = False

    def take_all(self, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Take in all lines; yields (line, why) of each that cannot be."""
        number = 0
        for number, line in enumerate(lines, start=1):
            try:
                self._take(json.loads(line), first=number == 1)
            except (ValueError, RecursionError) as error:
                yield number, _why(error)
            self._whole.update(line.encode("utf-8", "surrogatepass") + b"\n")
        if self.tape.format > 1 and not self._ended:
            yield number, "the line that ends a cassette does not come: it was cut off"

    def _take(self, line: Any, *, first: bool) -> None:
        if self._ended:
            raise ValueError("something comes after the end")
        match line:
            case {"agentnb_cassette": 1 | 2 as form, **more} if first and not more:
                self.tape.format = form
            case _ if first:
                raise ValueError(f"not a cassette of format {FORMAT} or older")
            case {"text": str(digest), "is": str(text), **more} if not more:
                if _hash(text) != digest:
                    raise ValueError("a text does not have the hash that it is kept under: it was edited")
                self.tape.shared(text)
            case {"call": dict(said), **more} if not more:
                self._take_call(said)
            case {"end": {"calls": int(many), "sum": str(digest), **rest}, **more} if not (more or rest):
                self._ended = True
                if many != self._many:
                    raise ValueError(f"{many} calls were written, and {self._many} are there: lines were lost or added")
                if digest != short(self._whole.hexdigest()):
                    raise ValueError("the lines are not those that were written: some were edited, moved or lost")
            case _:
                raise ValueError("neither a text nor a call")

    def _take_call(self, said: dict[str, Any]) -> None:
        self._many += 1
        call = Call.model_validate(_brought_up(said, self.tape) if self.tape.format == 1 else said)
        if lost := call.texts - self.tape.texts.keys():
            raise ValueError(f"a call refers to a text that no earlier line holds: {', '.join(sorted(lost))}")
        if short(self.tape.request_of(call).key()) != call.key:
            raise ValueError("a call does not have the key that it is kept under: it was edited")
        if self.tape.format == 1:
            call = call.model_copy(update={"sum": call.checksum})
        if call.sum != call.checksum:
            raise ValueError("a call does not have the checksum that it was written with: its reply was edited")
        self.tape.calls.setdefault(call.key, []).append(call)


def _brought_up(said: dict[str, Any], tape: Tape) -> dict[str, Any]:
    """A call of format 1, which held its prompt and a measured time."""
    new = {("schema" if name == "schema_" else name): value for name, value in said.items()}
    if isinstance(prompt := said.get("prompt"), str):
        new["prompt"] = tape.shared(prompt)
    if isinstance(key := said.get("key"), str):
        new["key"] = short(key)
    if isinstance(reply := said.get("reply"), dict):
        new["reply"] = {name: value for name, value in reply.items() if name != "seconds"}
    return new


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"a call's {'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, json.JSONDecodeError):  # its own words name a line 1, for every line is read alone
        return f"no JSON from its character {error.pos + 1} on"
    return str(error)
