"""Records as lines of JSON, and back: the form in which stores keep them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic_core import from_json

from agentnb.errors import DamagedRecord, NotJSON
from agentnb.events import FORMAT, Event, Kept, Record, RunStarted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["blobs_in", "decode", "encode", "head_of", "values_of", "written"]


_BLOB: Final = re.compile(r'"blob": ?"([0-9a-f]{64})"')


@functools.cache
def _codec(kind: str) -> TypeAdapter[Any]:
    """Of records of one kind of event: they are built as they occur, for all of them together take 50 ms."""
    from pydantic import ConfigDict, TypeAdapter

    if kind not in _KINDS:
        raise ValueError(f"there is no kind of event {kind!r:.40}")
    row: Any = GenericAlias(tuple, (int, float, float, _KINDS[kind]))
    return TypeAdapter(row, config=ConfigDict(allow_inf_nan=False))


_KINDS: Final[Mapping[object, type[Any]]] = {fields(kind)[0].default: kind for kind in get_args(Event)}
"""The kinds of events by their names; `kind` is the first field of each."""


def encode(records: Sequence[Record]) -> str:
    """`records` as one line of JSON: `[[seq, at, t, {"kind": …}], …]`.

    Raises:
        NotJSON: a value in them has no JSON form, or could not be read again: it is of another type than its field.
    """
    try:
        return f"[{','.join(written(_codec(r.event.kind), (r.seq, r.at, r.t, r.event)) for r in records)}]"
    except (TypeError, ValueError) as error:
        kinds = " and ".join(r.event.kind for r in records)
        raise NotJSON(f"{kinds} cannot be recorded: {_first_problem(error)}") from error


def written(codec: TypeAdapter[Any], value: object) -> str:
    """`value` as JSON; half of a surrogate pair, as a browser may send it, as a question mark.

    Raises:
        TypeError, ValueError: it has no JSON form, or none that is read again as such a value.
    """
    try:
        return codec.dump_json(value, warnings="error").decode()
    except ValueError:  # whatever else it was fails again
        plain = codec.dump_python(value, mode="json", warnings=False)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
        codec.validate_python(from_json(text))
        return text


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
    return [Record(*_codec(row[3]["kind"]).validate_python(row)) for row in rows]


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
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)[:300]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"[:400]
