"""A call that may be made, but for a person's leave: its arguments resolved and validated, its guards asked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from agentnb.errors import NotJSON
from agentnb.events import EarlierResult, Kept, RunSuspended, ToolRefused
from agentnb.guards import GuardedCall, rulings
from agentnb.ledger import last_entry, once_key, step_key
from agentnb.log import RunLog
from agentnb.plan import JSON, Step, UnmetReference, resolve
from agentnb.redact import stands_for
from agentnb.state import RunState
from agentnb.step_changes import call_mark
from agentnb.tools import InvalidArguments, Tool
from agentnb.values import as_json, in_order, json_text

__all__ = [
    "LONGEST_MESSAGE",
    "Prepared",
    "entry_of",
    "key_of",
    "prepare",
    "prepare_later",
    "problems_with",
    "ruled",
    "secret_in",
]

LONGEST_MESSAGE: Final = 500
_PLAIN: Final = frozenset({str, int, float, bool})
_FIXED: Final = _PLAIN | {type(None), date, datetime, time, timedelta, Decimal, UUID}
"""What nobody can alter."""
_LARGE: Final = 2**63


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that may be made, but for a person's leave.

    Attributes:
        given: every reference and every filled opening in its place.
        args: the same call as it is always written, see `_written`; this is shown, approved and claimed.
        kept: that as records hold it.
        kwargs: what the function takes.
        ask: why guards want a person's leave.
    """

    given: dict[str, JSON]
    args: dict[str, JSON]
    kept: Kept
    kwargs: dict[str, Any]
    ask: tuple[str, ...]


def prepare(log: RunLog, tool: Tool, step: Step) -> Prepared | ToolRefused:
    """The present step's call with its arguments, or why it may not be made: they are wrong, or a guard denies it."""
    state = log.state
    if state.claim is not None:  # what was begun is what is made again, to the letter
        return _checked(log, tool, step, log.value(state.claim.args), state.claim.args)
    return prepare_later(log, tool, step, log.value(state.bound) if state.bound else step.args)


def prepare_later(
    log: RunLog, tool: Tool, step: Step, given: Mapping[str, JSON] | None = None
) -> Prepared | ToolRefused:
    """The call of a step that need not be the present one, as far as its arguments are known.

    Args:
        log: the run.
        tool: the step's.
        step: of the plan.
        given: its arguments with what a model or a person filled in; those of the plan if left out.
    """
    try:
        args: dict[str, JSON] = resolve(dict(step.args if given is None else given), log.result_of)
        if not _sure(args):
            in_order(args)
    except (UnmetReference, NotJSON) as error:
        return ToolRefused(step=step.id, problems=(str(error),))
    return _checked(log, tool, step, args)


def _checked(
    log: RunLog, tool: Tool, step: Step, given: dict[str, JSON], claimed: Kept | None = None
) -> Prepared | ToolRefused:
    try:
        # A tool may alter what it is given; earlier results stay.
        kwargs = tool.validated(given if _sure(given) else copy.deepcopy(given))
        args = _written(tool, given, kwargs) if claimed is None else given
    except InvalidArguments as error:
        return ToolRefused(step=step.id, problems=error.problems)
    except NotJSON as error:
        return ToolRefused(step=step.id, problems=(str(error),))
    denied, ask = ruled(log.state, tool, given, kwargs)
    if denied:
        return ToolRefused(step=step.id, problems=denied, by="guard")
    kept = claimed or log.keep(args)
    may_hold = kept.text is None or "[redacted:" in kept.text  # a short one that holds none is seen at a glance
    if not claimed and may_hold and (secret := secret_in(log, args)):
        return ToolRefused(step=step.id, problems=(secret,))
    if (mark := call_mark(tool.name, kept)) in log.state.acted_before:
        fork = log.state.fork if log.state.fork and mark in log.state.fork.acted else None
        who = f"{fork.origin}, from which this run was forked," if fork else "this run"
        before = "" if fork else ", before its plan was revised"
        ask = (*ask, f"{who} has made or proposed exactly this call already{before}")
    return Prepared(given, args, kept, kwargs, ask)


def ruled(
    state: RunState, tool: Tool, given: Mapping[str, JSON], kwargs: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why the tool's guards deny the call, and why they ask for a person, see `rulings`.

    Args:
        state: of the run.
        tool: the step's.
        given: the arguments as JSON.
        kwargs: the same as the tool takes them. Guards get others where these could be altered: nothing that a guard
            does is to show in what was approved.
    """

    def call() -> GuardedCall:
        fixed = all(type(value) in _FIXED for value in kwargs.values())
        own = dict(kwargs) if fixed else tool.validated(copy.deepcopy(dict(given)))
        return GuardedCall(tool.name, own, state)

    return rulings(tool.guards, call)


def _sure(args: Mapping[str, JSON]) -> bool:
    """True where every argument is JSON for sure, and cannot be altered: a text, a truth value, a whole number."""
    return all(
        (kind := type(value)) is str or kind is bool or (kind is int and -_LARGE < value < _LARGE)
        for value in args.values()
    )


def secret_in(log: RunLog, args: Mapping[str, JSON]) -> str:
    """Why a call is not made, where an argument is a secret: it is recorded and shown, and models write it; or ""."""
    what = ", ".join(log.redact.named_in(args))
    what = f"the secret {what}" if what else stands_for(args)
    return f"an argument holds {what}, which is never passed on: let the function read it itself" if what else ""


def _written(tool: Tool, given: Mapping[str, JSON], kwargs: Mapping[str, Any]) -> dict[str, JSON]:
    """The one way in which this call is written, whoever spells it how: all arguments, defaults too, as JSON.

    They stand in the order of the signature, coerced to the tool's types, the names inside them in order. An argument
    that JSON loses something of (a secret, a field that is not serialized), or that is another one each time that it is
    validated, is written as it was given.
    """
    if len(given) == len(kwargs) and all(_is_itself(value, given.get(name)) for name, value in kwargs.items()):
        return {name: given[name] for name in kwargs}  # as almost all are; the rest costs 50 µs
    again = tool.validated(copy.deepcopy(dict(given)))  # and not `kwargs`: to write an iterator down uses it up
    said: dict[str, JSON] = {}
    for name, value in kwargs.items():
        if _same(value, again[name]):
            with suppress(NotJSON):
                said[name] = as_json(again[name])
    read = _read_back(tool, given, said)
    exact = {name: in_order(as_json(value)) for name, value in read.items() if _same(value, kwargs[name])}
    rest = {name: in_order(value) for name, value in given.items()}
    return {name: exact.get(name, rest.get(name)) for name in kwargs if name in exact or name in rest}


def _is_itself(value: Any, given: JSON) -> bool:
    """True of a text, a number or a truth value that was given as the tool takes it."""
    return type(value) in _PLAIN and type(given) is type(value) and bool(given == value)


def _read_back(tool: Tool, given: Mapping[str, JSON], said: Mapping[str, JSON]) -> dict[str, Any]:
    """The arguments `said` as the tool takes them, but for those that it does not take."""
    try:
        read = tool.validated(copy.deepcopy({**given, **said}))
    except InvalidArguments:
        if len(said) <= 1:
            return {}
        return {name: one for name in said for one in _read_back(tool, given, {name: said[name]}).values()}
    return {name: read[name] for name in said}


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - a user's type, and whatever it raises means the same
        return False


def problems_with(state: RunState, tool: Tool, args: Mapping[str, JSON]) -> tuple[str, ...]:
    """Why the tool or its guards would refuse exactly these arguments; nothing of them is kept."""
    try:
        json_text(dict(args))
        kwargs = tool.validated(copy.deepcopy(dict(args)))
    except NotJSON as error:
        return (str(error),)
    except InvalidArguments as error:
        return error.problems
    return ruled(state, tool, args, kwargs)[0]


def entry_of(log: RunLog, tool: Tool, step: Step, call: Prepared) -> EarlierResult | RunSuspended | int:
    """The number of the ledger's entry that a claim of the call takes; or what other runs have done under its key.

    It is 0 for a key that is the step's own, or is claimed already. Another run may take the number meanwhile: the
    claim then fails, and it is looked at anew.
    """
    if not tool.once_per or log.state.claim is not None:
        return 0
    found = last_entry(log, key_of(log, tool, step, call))
    if found is None or found.state == "released":
        return found.number + 1 if found else 1
    what = ", ".join(f"{name}={call.args.get(name)!r}" for name in tool.once_per)
    if found.state == "done":
        said = f"{tool.name} for {what}"[:LONGEST_MESSAGE]
        return EarlierResult(
            step=step.id, key=said, run=found.run, at_step=found.step, result=found.result, tainted=found.tainted
        )
    detail = (
        f"{tool.name} for {what} was begun by {found.run} ({found.step}), and its outcome is not known: settle that"
        f" first, with %agent resume {found.run} --done or --not-done"
    )
    return RunSuspended(reason="in_doubt", detail=detail[: 2 * LONGEST_MESSAGE])


def key_of(log: RunLog, tool: Tool, step: Step, call: Prepared) -> str:
    """The key that the call is claimed under."""
    return once_key(tool.name, tool.once_per, call.args) if tool.once_per else step_key(log.state, step.id)
