"""Which call has acted already: keys that code derives, and the entries that are committed together with the events.

A step's own key is the run's and the step's, so its journal is its ledger: two steps that mean to do the same twice do
it twice, and one step that is retried or resumed does it once. A key of `once_per=` holds for every run of the store;
its entries are rows of their own, numbered, added and never altered: whoever adds a number first has it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agentnb.errors import DamagedRecord
from agentnb.events import (
    ActionProposed,
    ActionSettled,
    ApprovalExpired,
    DoubtResolved,
    Event,
    GateRaised,
    Kept,
    LimitReached,
    RunFinished,
    RunSuspended,
    ToolClaimed,
    ToolRefused,
    ToolReturned,
)
from agentnb.state import RunState
from agentnb.store.base import Store

__all__ = ["Entry", "action_row", "last_entry", "once_key", "open_actions", "rows_of", "step_key"]

State = Literal["claimed", "done", "released"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a key.

    Attributes:
        number: 1, 2, 3, … among the key's entries.
        state: "claimed" (a call is under way, or its outcome is not known), "done", or "released" (it did not act).
        run: whose call.
        step: of that run.
        result: what it gave, where it is done.
        tainted: that is, or comes out of, text that strangers wrote.
    """

    number: int
    state: State
    run: str
    step: str
    result: Kept | None = None
    tainted: bool = False


def step_key(state: RunState, step: str) -> str:
    """The key of a step's call: no other step of any store has it, and the same step has it whenever it is tried."""
    return f"{'.'.join(filter(None, (state.head.born or state.head.run, state.head.uid)))}/{step}"


def once_key(tool: str, fields: Sequence[str], args: Mapping[str, Any]) -> str:
    """The key of a call that is made once for ever, by the arguments that say what it is about.

    Args:
        tool: the tool's name.
        fields: names of those arguments.
        args: all arguments, as JSON.
    """
    meant = json.dumps([args.get(name) for name in fields], sort_keys=True, separators=(",", ":"))
    return f"{tool}/{hashlib.sha256(meant.encode()).hexdigest()[:32]}"


class Rows(Protocol):
    """A store, or a run with what it has not given to its store yet."""

    def last_row(self, prefix: str) -> tuple[str, str] | None:
        """(key, text) of the last row whose key begins with `prefix`."""


def last_entry(rows: Rows, key: str) -> Entry | None:
    """The latest entry of `key`, or None where there is none.

    Raises:
        DamagedRecord: it cannot be read; nothing is called then.
    """
    found = rows.last_row(f"l/{key}/")
    if found is None:
        return None
    place, text = found
    try:
        kept = json.loads(text)
        result = kept.pop("result", None)
        return Entry(number=int(place.rpartition("/")[2]), result=Kept(**result) if result else None, **kept)
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedRecord(f"the ledger's entry {place} cannot be read: {error}") from error


def rows_of(before: RunState, event: Event) -> dict[str, str]:
    """What `event` adds to the ledger and to the list of pending actions, in its own commit."""
    claim = before.claim
    if (claim and claim.entry) or isinstance(event, (ToolClaimed, ActionProposed, ActionSettled)):
        return _rows_of(before, event, claim)
    return {}


def _rows_of(before: RunState, event: Event, claim: ToolClaimed | None) -> dict[str, str]:  # noqa: PLR0911 - a table, one case a kind
    match event:
        case ToolClaimed(entry=number) if number and claim is None:
            return _entry(before, event, number, "claimed")
        case ToolReturned(status=status) if claim and claim.entry:
            return _entry(before, claim, claim.entry + 1, "released" if status == "failed" else "done", event.result)
        case DoubtResolved(happened=True) if claim and claim.entry:
            return _entry(before, claim, claim.entry + 1, "done", event.result)
        case DoubtResolved() if claim and claim.entry and before.status.ended:  # nobody makes it again
            return _entry(before, claim, claim.entry + 1, "released")
        case RunSuspended(withdrawn=True) if claim and claim.entry and before.unbegun:
            return _entry(before, claim, claim.entry + 1, "released")
        case RunFinished() if claim and claim.entry and before.cleared:  # cancelled while it waited to be made again
            return _entry(before, claim, claim.entry + 1, "released")
        case ToolRefused() | LimitReached() | GateRaised() | ApprovalExpired() if claim and claim.entry:
            return _entry(before, claim, claim.entry + 1, "released")
        case ActionProposed():
            return {action_row(before.head.run, event): event.tool}
        case ActionSettled(status="done" | "dropped" as how):
            return {f"{action_row(before.head.run, event)}/settled": how}
        case _:
            return {}


def _entry(state: RunState, claim: ToolClaimed, number: int, how: State, result: Kept | None = None) -> dict[str, str]:
    kept: dict[str, Any] = {"state": how, "run": state.head.run, "step": claim.step}
    if result is not None:
        kept["result"] = {"size": result.size, "text": result.text, "blob": result.blob}
        kept["tainted"] = state.present_tainted
    return {f"l/{claim.key}/{number:06d}": json.dumps(kept)}


def action_row(run: str, action: ActionProposed | ActionSettled) -> str:
    """The key of the row that says that a destructive action waits."""
    return f"p/{run}/{action.step}"


def open_actions(store: Store) -> list[tuple[str, str]]:
    """(run, step) of every proposed action that has not been carried out or dropped."""
    keys = {key for key, _ in store.rows("p/")}
    waiting = (key.split("/") for key in keys if key.count("/") == 2 and f"{key}/settled" not in keys)  # noqa: PLR2004 - p/run/step
    return sorted((run, step) for _, run, step in waiting)
