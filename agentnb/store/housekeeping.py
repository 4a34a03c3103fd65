"""What could go from a store: runs that have ended, by age and by size, and values that only they hold.

A run that rests, waits for a person, is in doubt or has actions in its queue stays, however old it is. Runs inside of
one another go together or stay. The ledger's entries stay: what was done once for ever stays done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentnb.checkpoint import load
from agentnb.errors import ConfigError, RunHeld, StoreError
from agentnb.state import RunState, Status
from agentnb.store.base import Hold, Progress
from agentnb.store.disk import DiskStore
from agentnb.store.text_cache import doctor_line

__all__ = ["Garbage", "Goes", "collect", "survey"]

_DAY_S = 86_400.0
_TRIES = 3
_GOES_ON = {
    Status.PENDING: "not begun",
    Status.IN_PROGRESS: "under way, or cut short",
    Status.AWAITING_APPROVAL: "waiting for a person",
    Status.AWAITING_ANSWER: "waiting for a person's answer",
    Status.SUSPENDED: "suspended",
}
"""How a run stands that has not ended."""


@dataclass(frozen=True, slots=True)
class Goes:
    """A run that could go.

    Attributes:
        run: its id.
        status: how it ended.
        days: since its last record.
        size: bytes that its own rows take.
        task: what it was for.
    """

    run: str
    status: str
    days: float
    size: int
    task: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """What could go from a store.

    Attributes:
        goes: the runs, oldest first.
        values: values kept aside that no other run holds, by their SHA-256.
        freed: bytes of all of it.
        stays: runs that stay, oldest first, by why: "suspended, and can go on", "actions wait in its queue" and so on.
        size: bytes of all rows of the store.
        newest: of the store, when this was found.
    """

    goes: Sequence[Goes]
    values: Sequence[str]
    freed: int
    stays: dict[str, list[str]]
    size: int
    newest: tuple[int, int]


def survey(
    store: DiskStore,
    *,
    older_than_days: float | None = None,
    max_mb: float | None = None,
    now: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> Garbage:
    """What would go by these rules; nothing is changed.

    Args:
        store: of which.
        older_than_days: ended runs whose last record is older go.
        max_mb: of those that are left the oldest ended ones go, until the store holds at most so many megabytes.
        now: the machine's clock.
        progress: told how many runs were looked at, and how many there are.

    Raises:
        ConfigError: a rule that is no number above, or equal to, 0.
    """
    rules = (("older_than_days", "--older-than", "days", older_than_days), ("max_mb", "--max-mb", "megabytes", max_mb))
    for name, flag, unit, value in rules:
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigError(
                f"{name}={value!r} ({flag}) is below 0, or no number: give {unit} of 0 or more, such as 30"
            )
    newest = store.newest()
    own: Counter[str] = Counter()
    holders: dict[str, set[str]] = {}
    for whose, values, size in store.references():
        own[whose] += size
        for name in values:
            holders.setdefault(name, set()).add(whose)
    sizes = store.sizes()
    states, stays = _states(store, progress)
    ended = _ended(states, stays, own, now())
    kin = _kin(states)
    old = {run.run for run in ended if older_than_days is not None and run.days > older_than_days}
    goes = [run for run in ended if kin[run.run] <= old]
    total = sum(own.values()) + sum(sizes.values())
    if max_mb is not None:
        for run in ended:
            if total - _freed(goes, holders, sizes)[1] <= max_mb * 1e6:
                break
            goes += [each for each in ended if each.run in kin[run.run] and each not in goes]
    free, freed = _freed(goes, holders, sizes)
    if left := [run.run for run in ended if run not in goes]:
        stays["ended, and kept by these rules"] = left
    return Garbage(goes, free, freed, stays, total, newest)


def _states(store: DiskStore, progress: Progress | None) -> tuple[dict[str, RunState], dict[str, list[str]]]:
    """The state of each run, and those that cannot be read, by why they stay."""
    states, stays = dict[str, RunState](), dict[str, list[str]]()
    runs = store.runs()
    for done, run in enumerate(runs, start=1):
        try:
            states[run], _ = load(store, run)
        except StoreError:
            stays.setdefault(f"damaged, as {doctor_line(Path(store.place))} says", []).append(run)
        if progress is not None:
            progress(done, len(runs))
    return states, stays


def _kin(states: dict[str, RunState]) -> dict[str, frozenset[str]]:
    """Of each run, all that go with it or not at all: the runs inside it, those around it, and forks that share one."""
    kin = {run: {run} for run in states}
    for run, state in states.items():
        for child in state.children:
            if child.run in kin and kin[child.run] is not kin[run]:
                kin[run] |= kin[child.run]
                kin |= dict.fromkeys(kin[child.run], kin[run])
    return {run: frozenset(all_of_them) for run, all_of_them in kin.items()}


def _ended(states: dict[str, RunState], stays: dict[str, list[str]], own: Counter[str], now: float) -> list[Goes]:
    """The runs that have ended with nothing left to do, oldest first; the others are added to `stays`, by why."""
    executed = {state.head.executes for state in states.values()}
    why = {run: _needed(state, executed=run in executed) for run, state in states.items()}
    found = []
    for run, kin in _kin(states).items():
        state, stay = states[run], why[run] or next(("another run needs it" for one in kin if why[one]), "")
        if stay:
            stays.setdefault(stay, []).append(run)
        else:
            days = max(0.0, now - state.at) / _DAY_S
            found.append(Goes(run, str(state.status), days, own[run], state.head.task))
    return sorted(found, key=lambda goes: -goes.days)


def _needed(state: RunState, *, executed: bool) -> str:
    """Why a run stays whatever its age, or ""."""
    if not state.status.ended:
        return _GOES_ON[state.status]
    if state.head.dry and state.status is Status.COMPLETED and not executed:
        return "a dry run that waits to be executed"
    if state.may_have_acted:
        return "a call is in doubt"
    return "actions wait in its queue" if any(item.settled is None for item in state.queue) else ""


def _freed(goes: Sequence[Goes], holders: dict[str, set[str]], sizes: dict[str, int]) -> tuple[list[str], int]:
    """The values that nothing else holds, those that nothing holds at all included; and the bytes of all."""
    gone = {run.run for run in goes}
    free = [name for name in sizes if holders.get(name, set()) <= gone]
    return free, sum(run.size for run in goes) + sum(sizes[name] for name in free)


def collect(store: DiskStore, find: Callable[[], Garbage]) -> Garbage:
    """Take away what `find` finds, and return it; a run that somebody drives again by then stays.

    Raises:
        StoreError: others keep writing what refers to it; nothing was taken away.
    """
    for _ in range(_TRIES):
        garbage = find()
        holds: list[Hold] = []
        try:
            holds.extend(store.hold(run.run) for run in garbage.goes)
            if store.remove([run.run for run in garbage.goes], garbage.values, garbage.newest):
                return garbage
        except RunHeld:
            continue
        finally:
            for hold in holds:
                hold.release(ended=True)
    raise StoreError(
        "others write to the store, or go on with its runs, all the time: nothing was taken away; try later"
    )
