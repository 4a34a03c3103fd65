"""Records as lines of JSON, and back: the form in which stores keep them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from agentnb.errors import DamagedRecord, NotJSON
from agentnb.events import FORMAT, Event, Kept, Record, RunStarted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["blobs_in", "decode", "encode", "head_of", "values_of", "written"]


_BLOB: Final = re.compile(r'"blob": ?"([0-9a-f]{64})"')


@functools.cache
def _codec() -> TypeAdapter[Any]:
    from pydantic import ConfigDict, Field, TypeAdapter

    line = Annotated[Event, Field(discriminator="kind")]
    return TypeAdapter(list[tuple[int, float, float, line]], config=ConfigDict(allow_inf_nan=False))


def encode(records: Sequence[Record]) -> str:
    """`records` as one line of JSON: `[[seq, at, t, {"kind": …}], …]`.

    Raises:
        NotJSON: a value in them has no JSON form.
    """
    rows = [(r.seq, r.at, r.t, r.event) for r in records]
    try:
        return written(_codec(), rows)
    except (TypeError, ValueError) as error:
        raise NotJSON(f"{' and '.join(r.event.kind for r in records)} cannot be recorded: {error}") from error


def written(codec: TypeAdapter[Any], value: object) -> str:
    """`value` as JSON; half of a surrogate pair, as a browser may send it, as a question mark.

    Raises:
        TypeError, ValueError: it has no JSON form.
    """
    try:
        return codec.dump_json(value).decode()
    except ValueError:  # whatever else it was fails again
        text = json.dumps(codec.dump_python(value, mode="json"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "replace").decode()


def decode(text: str) -> Iterable[Record]:
    """The records of one line that `encode` wrote.

    Raises:
        DamagedRecord: it is not JSON, or not of a kind and form that this release knows.
    """
    try:
        records = [Record(*row) for row in _codec().validate_json(text)]
    except ValueError as error:
        raise DamagedRecord(f"a record of {len(text)} characters cannot be read: {_first_problem(error)}") from error
    for record in records:
        if isinstance(record.event, RunStarted) and record.event.format > FORMAT:
            raise DamagedRecord(
                f"{record.event.run} was recorded in format {record.event.format}, and this agentnb reads up to"
                f" {FORMAT}: install a newer one"
            )
    return records


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


def _first_problem(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)[:300]
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}"[:400]
