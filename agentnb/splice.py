"""What is done to a cassette's file by hand: verify it, take out what nobody uses, put two branches' together."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentnb.errors import CassetteError
from agentnb.redact import Redactor
from agentnb.tape import Call, Tape, alone, problems_of, read, write

__all__ = ["Pruned", "Verified", "merge", "prune", "verify"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a file.

    Attributes:
        calls: how many calls can be read.
        texts: how many texts.
        models: that it was recorded from.
        problems: (line, what is wrong) of all that is.
    """

    calls: int
    texts: int
    models: tuple[str, ...]
    problems: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What goes from a file, or could.

    Attributes:
        goes: the calls.
        stays: how many stay.
    """

    goes: tuple[Call, ...]
    stays: int


def verify(path: Path, redact: Redactor) -> Verified:
    """Check every line of a file: form, hashes, keys, checksums, its end, secrets, and texts that no call uses.

    Raises:
        CassetteError: it cannot be read at all.
    """
    tape, found = problems_of(path)
    found += [] if tape.format > 1 else [(1, "format 1 has no checksums: %agent cassette merge FILE writes it anew")]
    lines = path.read_text(encoding="utf-8").split("\n")
    found += [(number, "it holds a secret") for number, line in enumerate(lines, start=1) if redact(line) != line]
    unused = [f'{{"text": "{name}"' for name in tape.unused]
    found += [(n, "no call uses this text") for n, line in enumerate(lines, start=1) if line.startswith(tuple(unused))]
    calls = list(_all(tape))
    models = tuple(sorted({call.model for call in calls}))
    return Verified(len(calls), len(tape.texts), models, tuple(sorted(found)))


def prune(path: Path, used: Collection[str], *, write_it: bool) -> Pruned:
    """The calls whose keys are not in `used`; they are taken out where `write_it` says so.

    Raises:
        CassetteError: the file is damaged, or none of its calls is used: then nobody has run the notebook yet.
    """
    with alone(path) if write_it else nullcontext():
        tape = read(path)
        goes = tuple(call for call in _all(tape) if call.key not in used)
        stays = len(list(_all(tape))) - len(goes)
        if goes and not stays:
            raise CassetteError(
                f"none of the {len(goes)} calls in {path} was used here, so nobody can say which are not needed: run"
                " the whole notebook in this kernel first, then prune"
            )
        if write_it and goes:
            kept = {key: calls for key, calls in tape.calls.items() if key in used}
            write(path, Tape(tape.texts, kept))
    return Pruned(goes, stays)


def merge(ours: Path, theirs: Path, to: Path, prefer: Literal["ours", "theirs"] | None = None) -> int:
    """Write the calls of both files to `to`; returns how many it has then.

    Args:
        ours: a file; alone with itself, it is brought to the present format.
        theirs: another.
        to: is replaced; may be one of them.
        prefer: whose replies hold where both have other ones to the same request.

    Raises:
        CassetteError: one is damaged, or they disagree and `prefer` does not say whose replies hold; names them.
    """
    with alone(to):
        return _merged(ours, theirs, to, prefer)


def _merged(ours: Path, theirs: Path, to: Path, prefer: Literal["ours", "theirs"] | None) -> int:
    mine, other = read(ours), read(theirs)
    both = [key for key in mine.calls if key in other.calls and _replies(mine, key) != _replies(other, key)]
    if both and prefer is None:
        named = ", ".join(f"{mine.calls[key][0].phase} {key}" for key in sorted(both)[:5])
        more = f" and {len(both) - 5} more" if len(both) > 5 else ""  # noqa: PLR2004 - as many as are named
        same = "the same request" if len(both) == 1 else f"the same {len(both)} requests"
        raise CassetteError(
            f"{ours} and {theirs} have other replies to {same}, {named}{more}: say whose hold, --ours or --theirs"
        )
    texts = {**mine.texts, **other.texts}
    calls = {**other.calls, **mine.calls} if prefer != "theirs" else {**mine.calls, **other.calls}
    write(to, Tape(texts, calls))
    return sum(map(len, calls.values()))


def _all(tape: Tape) -> Iterator[Call]:
    return (call for calls in tape.calls.values() for call in calls)


def _replies(tape: Tape, key: str) -> list[str]:
    return [call.sum for call in tape.calls[key]]
