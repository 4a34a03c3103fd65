"""From what a user writes for a run to its id."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from agentnb.errors import RunNotFound
from agentnb.store.base import Store

__all__ = ["run_named"]

_LISTED: Final = 5
"""Ids that an error names."""


def run_named(store: Store, text: str) -> str:
    """The id of the run that `text` begins: "r7" is r7-kestrel, and not r70-tern.

    Raises:
        RunNotFound: no run, or more than one, begins so.
    """
    runs = store.runs()
    exact = [run for run in runs if text in (run, run.partition("-")[0])]
    found = exact or [run for run in runs if run.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        more = f", and {len(found) - _LISTED} older ones" if len(found) > _LISTED else ""
        raise RunNotFound(f"{len(found)} runs begin with {text!r}: say which of {', '.join(found[-_LISTED:])}{more}")
    near = get_close_matches(text, runs, n=1)
    raise RunNotFound(
        f"no run {text!r} in {store.place}: {f'did you mean {near[0]}?' if near else '`%agent runs` lists them'}"
    )
