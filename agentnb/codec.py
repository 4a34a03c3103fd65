"""Records as lines of JSON, and back: the form in which stores keep them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import GenericAlias
from typing import Any, Final, get_args

from pydantic_core import ValidationError, from_json

from agentnb.errors import DamagedRecord, NotJSON
from agentnb.events import FORMAT, Event, Kept, Record, RunStarted
from agentnb.shapes import Shape

__all__ = ["blobs_in", "decode", "encode", "head_of", "values_of"]


_TOGETHER: Final = 4
"""Records of a commit, at most, whose kinds are a shape of its own: a run writes some ten such combinations."""
_BLOB: Final = re.compile(r'"blob": ?"([0-9a-f]{64})"')


@functools.cache
def _shape(kind: str) -> Shape:
    """Of records of one kind of event: they are made as they occur, for all of them together take 10 ms."""
    if kind not in _KINDS:
        raise ValueError(f"there is no kind of event {kind!r:.40}")
    return Shape(_row(kind), finite=True)


def _row(kind: str) -> GenericAlias:
    return GenericAlias(tuple, (int, float, float, _KINDS[kind]))


@functools.lru_cache(maxsize=256)
def _commit(*kinds: str) -> Shape:
    """Of the records of a commit: what it takes to begin and to end is paid once for all of them."""
    return Shape(GenericAlias(tuple, tuple(map(_row, kinds))), finite=True)


_KINDS: Final[Mapping[object, type[Any]]] = {fields(kind)[0].default: kind for kind in get_args(Event)}
"""The kinds of events by their names; `kind` is the first field of each."""


def encode(records: Sequence[Record]) -> str:
    """`records` as one line of JSON: `[[seq, at, t, {"kind": …}], …]`.

    Raises:
        NotJSON: a value in them has no JSON form, or could not be read again: it is of another type than its field.
    """
    if 0 < len(records) <= _TOGETHER and (text := _at_once(records)):
        return text
    try:
        return f"[{','.join([_shape(record.event.kind).text(record) for record in records])}]"
    except (TypeError, ValueError) as error:
        kinds = " and ".join(r.event.kind for r in records)
        raise NotJSON(f"{kinds} cannot be recorded: {_first_problem(error)}") from error


def _at_once(records: Sequence[Record]) -> str:
    """The same of a few records, or "" where something is the matter: each by itself says, or is written, as it is."""
    try:
        return _commit(*[record.event.kind for record in records]).exact(tuple(records))
    except (TypeError, ValueError, LookupError):
        return ""


def decode(text: str) -> Iterable[Record]:
    """The records of one line that `encode` wrote.

    Raises:
        DamagedRecord: it is not JSON, or not of a kind and form that this release knows.
    """
    try:
        records = _records(from_json(text, allow_inf_nan=False))
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedRecord(f"a record of {len(text)} characters cannot be read: {_first_problem(error)}") from error
    for record in records:
        if isinstance(record.event, RunStarted) and record.event.format > FORMAT:
            raise DamagedRecord(
                f"{record.event.run} was recorded in format {record.event.format}, and this agentnb reads up to"
                f" {FORMAT}: install a newer one"
            )
    return records


def _records(rows: Any) -> list[Record]:
    """The records of what `encode` wrote, parsed.

    Raises:
        ValueError, TypeError, LookupError: it is something else.
    """
    if not isinstance(rows, list):
        raise TypeError("it is no list")
    return [Record(*_shape(row[3]["kind"]).read(row)) for row in rows]


def values_of(records: Iterable[Record]) -> frozenset[str]:
    """The SHA-256 of every value kept aside that the records refer to."""
    return frozenset(name for record in records for name in _kept_in(record.event))


def _kept_in(value: object) -> Iterator[str]:
    if isinstance(value, Kept):
        yield from filter(None, [value.blob])
    elif is_dataclass(value):
        for field in fields(value):
            yield from _kept_in(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _kept_in(item)


def blobs_in(text: str) -> frozenset[str]:
    """Every SHA-256 that a text of `encode`, or of a row beside it, may refer to; perhaps more, and never less."""
    return frozenset(_BLOB.findall(text))


def head_of(record: Record) -> RunStarted:
    """The event of a run's first record.

    Raises:
        DamagedRecord: it is another: no run writes one so.
    """
    if not isinstance(record.event, RunStarted):
        raise DamagedRecord(f"the first record is {record.event.kind} and not run_started: somebody else wrote it")
    return record.event


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:300]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"[:400]
