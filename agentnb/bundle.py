"""One run as one file of JSON Lines, to keep, to send, to look at elsewhere.

    {"agentnb": "run", "version": 1, "run": "r3-heron", "records": 41, "whole": true, "sha256": "…"}
    {"records": [[0, 1767225600.0, 0.0, {"kind": "run_started", …}], …]}
    {"value": "[…]"}

The runs inside it follow, each after a line {"run": "r4-lark"}; the version is 2 then. The hash is that of all lines
after the first. A file that came from elsewhere is not trusted: it is JSON and nothing else, every record is checked
and folded, every value must be there, and what it says it did grants no leave here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from agentnb.budget import Budget, Spent, Usage
from agentnb.codec import decode, encode, head_of, values_of
from agentnb.errors import ConfigError, DamagedRecord
from agentnb.events import (
    ChildSettled,
    ChildStarted,
    Event,
    Record,
    RunFinished,
    RunImported,
    RunResumed,
    RunStarted,
    ToolClaimed,
)
from agentnb.ledger import action_row
from agentnb.log import Clock, RunLog
from agentnb.policy import Policy
from agentnb.store.base import Progress, Store
from agentnb.transitions import fold
from agentnb.values import digest
from agentnb.whole_file import whole_file

__all__ = ["export_run", "import_run", "written"]

_VERSION: Final = 1
_WITH_CHILDREN: Final = 2
"""Versions of a file: of one run, and of one with runs inside it."""
_TOGETHER: Final = 100
"""Records of one line."""
_LONGEST: Final = 1 << 30
"""Bytes of a file that is read."""


def export_run(store: Store, run: str, file: Path, progress: Progress | None = None) -> int:
    """Write a run to `file`, with those inside it, all of it or nothing; returns how many records it has.

    Args:
        store: where it is.
        run: its id.
        file: is replaced once all is written.
        progress: told how many of its values were read, and how many it has.

    Raises:
        RunNotFound: no such run.
        DamagedRecord: it cannot be read; `%agent doctor --store --save DIR` saves what can be.
        ConfigError: the file cannot be written.
    """
    runs = _with_children(store, run)
    held = sorted({name for records in runs.values() for name in values_of(records)})
    records, values = runs.pop(run), dict[str, str]()
    for done, name in enumerate(held, start=1):
        values[name] = store.blob(name)
        if progress is not None:
            progress(done, len(held))
    written(file, run, records, values, whole=True, inside=runs)
    return len(records)


def _with_children(store: Store, run: str) -> dict[str, list[Record]]:
    """The records of a run and of all inside it, itself first; those that have begun."""
    there, found = set(store.runs()), {run: list(store.read(run))}
    for record in found[run]:
        if isinstance(record.event, ChildStarted) and record.event.child in there - found.keys():
            found |= _with_children(store, record.event.child)
    return found


def written(
    file: Path,
    run: str,
    records: Sequence[Record],
    values: dict[str, str],
    *,
    whole: bool,
    inside: Mapping[str, Sequence[Record]] = MappingProxyType({}),
) -> None:
    """Write these records and values.

    Args:
        file: is replaced once all is written.
        run: its id.
        records: from the first on.
        values: what they refer to, by its SHA-256.
        whole: False where what came after them is lost.
        inside: the records of the runs inside it, by their ids.

    Raises:
        ConfigError: it cannot be written.
    """
    more = [text for name, of_it in inside.items() for text in (json.dumps({"run": name}), *_lines(of_it))]
    version = _WITH_CHILDREN if inside else _VERSION
    lines = [*_lines(records), *more, *(json.dumps({"value": text}, ensure_ascii=False) for text in values.values())]
    body = "".join(f"{line}\n" for line in lines).encode()
    head = {"agentnb": "run", "version": version, "run": run, "records": len(records), "whole": whole}
    first = json.dumps({**head, "sha256": hashlib.sha256(body).hexdigest()})
    with whole_file(file, f"{run}.jsonl") as out:
        out.write(first.encode() + b"\n" + body)


def _lines(records: Sequence[Record]) -> Iterator[str]:
    for start in range(0, len(records), _TOGETHER):
        yield f'{{"records": {encode(records[start : start + _TOGETHER])}}}'


def import_run(
    store: Store,
    file: Path,
    policy: Policy,
    budget: Budget,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> str:
    """Take the run in `file` into `store` under a new id, which is returned; the keys of its calls stay what they were.

    So are the runs inside it; those of them that have not ended are cancelled.

    Strangers may have written it: whatever in it acts is asked about here, its budget is the one given here, and of
    what it says that was done once for ever the ledger here learns nothing. One whose end is lost, or with a call under
    way, is taken in as cancelled: it can be looked at and forked, and not be gone on with.

    Args:
        store: takes it in.
        file: what `export_run` wrote.
        policy: who is asked here.
        budget: what it may use here, what it has used already included.
        clock: where times come from.
        progress: told how many lines of the file were read and checked, and how many it has.

    Raises:
        ConfigError: the file is not there, is no exported run, or is not what was written; nothing was kept.
        DamagedRecord: its records are not those of a run, or a value is missing.
    """
    whole, runs, values = _read(file, progress)
    ids = {old: store.new_run_id() for old in runs}
    bundle = {old: [r._replace(event=_disarmed(r.event, ids)) for r in records] for old, records in runs.items()}
    states = {old: fold(records) for old, records in bundle.items()}
    for place, (old, records) in reversed(list(enumerate(bundle.items()))):  # nobody sees a parent without its children
        state, run = states[old], ids[old]
        if place and not state.head.parent:
            raise DamagedRecord(f"{file} holds {old}, which runs inside no other")
        waiting = {action_row(run, item.action): item.action.tool for item in state.queue if item.settled is None}
        log = RunLog(store, run, clock)
        log.adopt([records[0]._replace(event=_reborn(records[0], ids)), *records[1:]], values, waiting)
        imported = RunImported(policy=policy, budget=budget)
        if state.status.ended or (whole and state.claim is None and not place):
            log.append(imported)
            continue
        lost = "a call was under way when it was exported" if whole else "its end was lost"
        acted = ", and may have acted" if state.may_have_acted or not whole else ""
        detail = f"{lost}{acted}: look at it, or fork it"
        end = RunFinished(status="cancelled", reason="imported", detail=detail, by="rule")
        log.append(RunResumed(process=0), end, imported)
    return ids[next(iter(runs))]


def _disarmed(event: Event, ids: Mapping[str, str]) -> Event:
    """`event` without what it says of another store's ledger, and with the ids that runs have here.

    Raises:
        DamagedRecord: it counts an amount below 0.
    """
    if any(amount < 0 for amount in _amounts(event)):
        raise DamagedRecord(f"{event.kind} counts less than nothing")
    if isinstance(event, (ChildStarted, ChildSettled)):
        return replace(event, child=ids.get(event.child, ""))
    return replace(event, entry=0) if isinstance(event, ToolClaimed) else event


def _amounts(value: object) -> Iterator[float]:
    """Every number that is spent, reserved or waited for."""
    for field in fields(value) if is_dataclass(value) and not isinstance(value, type) else ():
        item = getattr(value, field.name)
        if isinstance(item, (int, float)):
            yield item
        elif isinstance(item, (Spent, Usage)):
            yield from _amounts(item)


def _reborn(first: Record, ids: Mapping[str, str]) -> RunStarted:
    """The first record's event, under the ids that the run and the one around it have here."""
    head = head_of(first)
    here = replace(head, run=ids[head.run], born=head.born or head.run, parent=ids.get(head.parent, ""))
    return here if here.parent else replace(here, parent_step="", agent="", depth=0)


def _read(file: Path, progress: Progress | None) -> tuple[bool, dict[str, list[Record]], dict[str, str]]:
    """Whether it is whole, its records and those of the runs inside it by their ids, and values by their SHA-256."""
    try:
        if file.stat().st_size > _LONGEST:
            raise ConfigError(f"{file} has over {_LONGEST:,} bytes: no run is as long")
        first, _, body = file.read_bytes().partition(b"\n")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{str(file)!r} cannot be read: {why}") from error
    try:
        head = json.loads(first)
        version = head["version"] if head["agentnb"] == "run" else 0
        fits = hashlib.sha256(body).hexdigest() == head["sha256"]
        whole, many = bool(head["whole"]), head["records"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f"{file} is no run that agentnb exported") from error
    if version not in (_VERSION, _WITH_CHILDREN):
        most = _WITH_CHILDREN
        raise ConfigError(f"{file} has version {version!r}, and this agentnb reads up to {most}: install a newer one")
    if not fits:
        raise ConfigError(f"{file} is not what was written: it was cut, or altered. Export it again")
    found, values, held = _content(file, body, progress)
    if len(found[""]) != many or not all(found.values()):
        raise DamagedRecord(f"{file} holds {len(found['']):,} records, and says that there are {many}")
    if missing := held - values.keys():
        raise DamagedRecord(f"{file} lacks {len(missing)} of the values that its records refer to")
    runs = {head_of(records[0]).run: records for records in found.values()}
    if len(runs) != len(found):
        raise DamagedRecord(f"{file} holds a run twice")
    return whole, runs, values


def _content(
    file: Path, body: bytes, progress: Progress | None
) -> tuple[dict[str, list[Record]], dict[str, str], set[str]]:
    """The records of each run, those of the first under "", all values, and the names of those that records hold."""
    runs: dict[str, list[Record]] = {"": []}
    values, held = dict[str, str](), set[str]()
    try:
        lines = body.decode().split("\n")[:-1]
        for done, line in enumerate(lines, start=1):
            item = _object(line)
            if "value" in item:
                values[digest(str(item["value"]))] = str(item["value"])
            elif "run" in item:
                runs[str(item["run"])] = []
            else:
                records = list(decode(json.dumps(item["records"])))
                if list(decode(encode(records))) != records:
                    raise DamagedRecord(f"{file} holds what could not be read again")
                held |= values_of(records)
                runs[next(reversed(runs))] += records
            if progress is not None:
                progress(done, len(lines))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{file} is no run that agentnb exported: {error}") from error
    return runs, values, held


def _object(line: str) -> dict[str, Any]:
    """The object of one line; TypeError where it is something else."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise TypeError("a line of it is no object")
    return found
