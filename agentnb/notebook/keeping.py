"""The `%agent` commands about what is kept: whether it is sound, what could go, and a run as one file."""

from __future__ import annotations

import os
import shlex
import sqlite3
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agentnb.budget import Budget
from agentnb.bundle import export_run, import_run, written
from agentnb.errors import ConfigError
from agentnb.index import Index
from agentnb.listing import Listing
from agentnb.notebook.arguments import in_store
from agentnb.notebook.desk import Desk, full_id
from agentnb.notebook.doctor import diagnosis
from agentnb.notebook.fetching import Counting
from agentnb.notebook.host import host_of
from agentnb.notebook.listing import show
from agentnb.notes import named
from agentnb.policy import Policy
from agentnb.spending import costs
from agentnb.store.checkup import Checked, Found, check
from agentnb.store.housekeeping import Garbage, collect, survey
from agentnb.wording import count

__all__ = ["cost", "doctor", "export", "gc", "take_in"]

_LISTED = 50
_NAMED = 3
"""Runs that are named in a sentence."""


def doctor(desk: Desk, args: Namespace) -> None:
    """Say what is installed and reachable; or whether all that is kept can be read, and save what can be."""
    if args.store is None and not args.save:
        show(Listing("agentnb here", ("what", "is"), diagnosis(host_of(desk.shell), desk.settings, os.environ)))
        return
    folder = Path(args.store or desk.settings.store).expanduser().absolute()
    try:
        with Counting(host_of(desk.shell)) as progress:
            checked = check(folder, progress)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"there is no store at {folder}: `--store DIR` names another") from error
    saved = 0
    if args.save:
        with Counting(host_of(desk.shell), "files") as progress:
            saved = _saved(checked, Path(args.save).expanduser(), progress)
    rows = [(name, "", how) for name, how in checked.facts]
    rows += [(found.run, f"{len(found.records):,}".replace(",", " "), _how(found)) for found in checked.runs]
    rows += [(run, "0", "✗ nothing of it is left") for run in checked.lost]
    rows += [("✗", "", problem) for problem in checked.problems]
    state = "is sound" if checked.sound else "is damaged"
    note = f"{saved} runs were written to {args.save}: %agent import FILE takes one in" if args.save else ""
    if not checked.sound and not args.save:
        place = shlex.quote(args.store or str(folder))
        note = f"%agent doctor --store {place} --save DIR writes what can be read to files"
    lost = f"Of {named(checked.lost)} nothing is left" if checked.lost else ""
    show(Listing(f"The store {state}", ("what", "records", "is"), rows, ". ".join(filter(None, (lost, note)))))


def _how(found: Found) -> str:
    sound = f"✗ up to here; {found.problem}" if found.problem else "✓"
    return f"{sound} {found.task}" if not found.problem else sound


def _saved(checked: Checked, folder: Path, progress: Counting) -> int:
    """Write what is sound of each run; returns of how many there is something."""
    kept = [found for found in checked.runs if found.records]
    for done, found in enumerate(kept, start=1):
        file = folder / f"{found.run}.jsonl"
        written(file, found.run, found.records, dict(found.values), whole=not found.problem)
        progress(done, len(kept))
    return len(kept)


def cost(desk: Desk, args: Namespace) -> None:
    """Show what the runs have cost."""
    store = desk.store(args)
    with Counting(host_of(desk.shell)) as progress:
        found = costs(store, by=args.by, since=args.since, progress=progress)
    show(found)


def export(desk: Desk, args: Namespace) -> None:
    """Write a run to one file."""
    store = desk.store(args)
    run, file = full_id(store, args.run, desk.names), Path(args.file).expanduser()
    with Counting(host_of(desk.shell), "values") as progress:
        many = export_run(store, run, file, progress)
    show(Listing(f"{run}, {many} records, is in {file}: %agent import {args.file} takes it in elsewhere", (), ()))


def take_in(desk: Desk, args: Namespace) -> None:
    """Take in a run that was exported."""
    from agentnb.store.disk import DiskStore

    file = Path(args.file).expanduser()
    if not file.is_file():  # or a store would be made for nothing
        raise ConfigError(f"there is no file {file}: `%agent export RUN FILE` writes one")
    store = DiskStore(Path(args.store or desk.settings.store).expanduser())
    with Counting(host_of(desk.shell), "lines") as progress:
        run = import_run(store, file, Policy(), Budget(), progress=progress)
    show(Listing(f"It is {run} here: %agent show {run}{in_store(args)}; whatever in it acts is asked about", (), ()))


def gc(desk: Desk, args: Namespace) -> None:
    """Say what could go; take it away where that is wanted."""
    store = desk.store(args)

    with Counting(host_of(desk.shell)) as progress:

        def find() -> Garbage:
            return survey(store, older_than_days=args.older_than, max_mb=args.max_mb, progress=progress)

        garbage = collect(store, find) if args.yes else find()
        with closing(Index(store)) as index:
            if args.yes and index.file is not None and index.file.exists():  # what is gone is to be found no more
                index.catch_up(progress)
    rows = [(goes.run, goes.status, f"{goes.days:.0f} days", _size(goes.size), goes.task) for goes in garbage.goes]
    more = len(rows) - _LISTED
    rows = [*rows[:_LISTED], *([(f"and {more} more", "", "", "", "")] if more > 0 else [])]
    what = f"{len(garbage.goes)} runs and {len(garbage.values)} values, {_size(garbage.freed)} of {_size(garbage.size)}"
    kept = "; ".join(f"{why}: {_some(runs)}" for why, runs in garbage.stays.items())
    many = sum(map(len, garbage.stays.values()))
    title = f"{'Gone' if args.yes else 'Could go'}: {what}. Stay: {count(many, 'run')}"
    note = "" if args.yes else "--yes takes them away" if rows else "%agent gc --older-than DAYS, --max-mb N choose"
    show(Listing(", ".join(filter(None, (title, kept))), ("run", "status", "age", "size", "task"), rows, note))


def _some(runs: Sequence[str]) -> str:
    """The newest of them by name."""
    more = len(runs) - _NAMED
    return ", ".join(runs[-_NAMED:]) + (f" and {more} more" if more > 0 else "")


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"  # noqa: PLR2004 - a tenth of a megabyte
