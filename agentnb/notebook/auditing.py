"""`%agent audit`: a run's audit log, shown, exported and verified."""

from __future__ import annotations

import shlex
from argparse import Namespace
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agentnb.audit import Audit, view_named
from agentnb.errors import ConfigError, RunNotFound
from agentnb.listing import Listing
from agentnb.notebook.desk import Desk, full_id
from agentnb.notebook.listing import show
from agentnb.verified import head_given, verify_audit, verify_run

__all__ = ["audit"]


def audit(desk: Desk, args: Namespace) -> None:
    """Show a view of the log, write it to a file, or say whether it is what was written."""
    verifies, is_file = args.verify or args.head is not None, Path(args.run).expanduser().is_file()
    if (verifies or is_file) and (args.export or args.view):
        raise ConfigError("what is verified is the whole of it, whatever the view: leave out --view and --export")
    bare = desk.settings.mode == "replay"
    head = "" if args.head is None else head_given(args.head)
    if is_file:
        show(replace(verify_audit(args.run, head=head), bare=bare))
        return
    if Path(args.run).suffix.lower() in (".csv", ".jsonl"):
        raise ConfigError(f"there is no file {args.run!r}: `%agent audit RUN --export FILE` writes one")
    store, run = desk.store(args), args.run
    if verifies:
        with suppress(RunNotFound):  # of one whose beginning was taken away there may be more
            run = full_id(store, run, desk.names)
        show(verify_run(store, run, head=head, bare=bare))
        return
    log = Audit(store, full_id(store, run, desk.names), bare=bare)
    view = view_named(args.view or "compliance")
    if not args.export:
        show(log.table(view))
        return
    head = log.export(args.export, view)
    way = f"%agent audit {shlex.quote(args.export)} --verify{'' if bare else f' --head {head}'}"
    whose = "the run" if bare else log.run
    show(Listing(f"The {view} view of {whose} is in {args.export}", (), (), f"{way} says whether it still is"))
