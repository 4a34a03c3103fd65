"""`%agent cassette`: what is in a cassette, whether it is sound, what nobody uses of it, and two of them as one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from agentnb.cassette import asked_here
from agentnb.errors import CassetteError, ConfigError
from agentnb.listing import Listing
from agentnb.notebook.desk import Desk
from agentnb.notebook.listing import show
from agentnb.splice import Verified, merge, prune, verify
from agentnb.tape import Call, read

__all__ = ["cassette"]

_LISTED = 50


def cassette(desk: Desk, args: Namespace) -> None:
    """Say what is in a cassette; or verify it, prune it, or merge two."""
    first, *rest = args.words or ("",)
    if first in _ACTIONS:
        _ACTIONS[first](desk, args, rest)
    elif rest:
        raise ConfigError(f"{first!r} is none of {', '.join(_ACTIONS)}: `%agent cassette FILE` says what is in a file")
    else:
        path = _file(desk, args.words)
        read(path)  # raises where it is damaged
        _say(path, verify(path, desk.redact()))


def _verify(desk: Desk, _: Namespace, words: Sequence[str]) -> None:
    path = _file(desk, words)
    found = verify(path, desk.redact())
    _say(path, found)
    if found.problems:
        line, why = found.problems[0]
        more = f", and so are {len(found.problems) - 1} more" if len(found.problems) > 1 else ""
        raise CassetteError(f"{path}, line {line}, is not sound ({why}){more}: restore the file, or record it anew")


def _say(path: Path, found: Verified) -> None:
    rows = [
        ("model calls", str(found.calls)),
        ("texts", str(found.texts)),
        ("recorded from", ", ".join(found.models)),
        ("bytes", f"{path.stat().st_size:,}".replace(",", " ")),
        ("not asked by this kernel", str(len(_unasked(path)))),
        *((f"✗ line {line}", why) for line, why in found.problems[:_LISTED]),
    ]
    verified = "every key, every checksum, the end, and no secret in it" if not found.problems else "✗"
    show(Listing(f"The cassette {path}", ("what", "is"), [*rows, ("verified", verified)]))


def _unasked(path: Path) -> Sequence[Call]:
    """The calls that this kernel has not used; those of a damaged file, or where it has used none, are not known."""
    try:
        return prune(path, asked_here(path), write_it=False).goes
    except CassetteError:
        return ()


def _prune(desk: Desk, args: Namespace, words: Sequence[str]) -> None:
    path = _file(desk, words)
    found = prune(path, asked_here(path), write_it=args.yes)
    rows: list[tuple[str, ...]] = [(c.phase, c.key, c.model, c.reply.text) for c in found.goes[:_LISTED]]
    more = len(found.goes) - _LISTED
    rows += [("", "", "", f"and {more} more")] if more > 0 else []
    title = f"{'Gone' if args.yes else 'Could go'}: {len(found.goes)} calls that this kernel did not ask for;"
    note = "" if args.yes or not rows else "run the whole notebook before; then --yes takes them out"
    show(Listing(f"{title} {found.stays} stay in {path}", ("phase", "key", "model", "reply"), rows, note))


def _merge(desk: Desk, args: Namespace, words: Sequence[str]) -> None:
    if len(words) not in (1, 2):
        raise ConfigError("which cassettes: `%agent cassette merge A B`, with -o C where the result is to go elsewhere")
    if args.ours and args.theirs:
        raise ConfigError("--ours and --theirs exclude each other: give one of them")
    ours, theirs = _file(desk, words[:1]), _file(desk, words[-1:])
    to = Path(args.output).expanduser() if args.output else ours
    prefer: Literal["ours", "theirs"] | None = "ours" if args.ours else "theirs" if args.theirs else None
    many = merge(ours, theirs, to, prefer)
    show(Listing(f"{to} holds the {many} calls of {' and '.join(dict.fromkeys(words))}", (), ()))


def _file(desk: Desk, words: Sequence[str]) -> Path:
    if len(words) > 1:
        raise ConfigError(f"{words[1]!r} is one word too many: name one file")
    file = words[0] if words else desk.settings.cassette
    if not file:
        raise ConfigError("no cassette is named: `%agent cassette FILE`, or `%config AgentMagics.cassette = 'FILE'`")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no cassette {path.absolute()}: AGENTNB_MODE=record records one")
    return path


_ACTIONS: Mapping[str, Callable[[Desk, Namespace, Sequence[str]], None]] = {
    "verify": _verify,
    "prune": _prune,
    "merge": _merge,
}
