"""The `%agent` commands that find runs: a table of them, sorted and chosen, and a search in what they say."""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import closing
from dataclasses import replace
from typing import Literal

from agentnb.chosen import Chosen, Which, chosen, ordered
from agentnb.errors import ConfigError
from agentnb.index import Index
from agentnb.listing import Listing
from agentnb.measures import measured
from agentnb.notebook.arguments import in_store
from agentnb.notebook.desk import Desk
from agentnb.notebook.drawing import show_figure
from agentnb.notebook.fetching import Counting
from agentnb.notebook.host import host_of
from agentnb.notebook.listing import show
from agentnb.query import Query
from agentnb.runs import picked, table
from agentnb.search import search as searched

__all__ = ["dashboard", "runs", "search"]


def runs(desk: Desk, args: Namespace) -> None:
    """Show the runs that are meant as a table."""
    try:
        store = desk.store(args)
    except ConfigError as error:
        show(Listing("No runs", (), (), str(error)))
        return
    now, which, order = time.time(), _chosen(args), ordered(args.sort)
    if which == Chosen() and order == "started":  # nothing that the index is needed for
        found = store.runs()[::-1]
    else:
        with Counting(host_of(desk.shell)) as progress, closing(Index(store)) as index:
            found = picked(index, which, order, progress)
    show(table(store, found, now=now, shown=args.limit, bare=desk.replaying, flag=in_store(args)))


def dashboard(desk: Desk, args: Namespace) -> None:
    """Draw how the runs that are meant go."""
    which = _chosen(args)
    with Counting(host_of(desk.shell)) as progress, closing(Index(desk.store(args))) as index:
        index.catch_up(progress)
        metrics = measured(index, which, time.time())
    from agentnb.notebook.figures import dashboard as drawn

    show_figure(drawn(metrics, bare=desk.replaying))


def search(desk: Desk, args: Namespace) -> None:
    """Show which runs say something, and where."""
    words = " ".join(f'"{word}"' if " " in word else word for word in args.words)
    query, which, store = Query.of(words) if words else None, _chosen(args), desk.store(args)
    with Counting(host_of(desk.shell)) as progress, closing(Index(store)) as index:
        order: Literal["best", "newest"] = "best" if args.best else "newest"
        found = searched(index, query, which, limit=args.limit, order=order, progress=progress)
    show(replace(found, bare=desk.replaying, flag=in_store(args)))


def _chosen(args: Namespace) -> Chosen:
    """Which runs the line means."""
    which: Which = {}
    for name in ("status", "tool", "model", "task_type", "since", "until", "min_usd", "max_usd"):
        if (value := getattr(args, name)) is not None:
            which[name] = value
    if args.tag:
        which["tags"] = dict(args.tag)
    return chosen(which, time.time())
