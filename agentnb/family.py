"""Runs and the runs inside them: who is whose, which of them asks, and whose tools they call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from agentnb.checkpoint import load
from agentnb.codec import head_of
from agentnb.delegate import MAX_DEPTH, AgentTool, settled
from agentnb.errors import AgentError
from agentnb.events import Event, RunFinished, RunResumed, ToolReturned
from agentnb.log import Clock, RunLog
from agentnb.redact import NOTHING_NAMED, Redactor
from agentnb.state import RunState
from agentnb.store.base import Store
from agentnb.summary import Summary, Tally
from agentnb.tools import Tool

__all__ = ["agents_in", "begun", "cancelled", "innermost", "told", "tools_of", "top"]


def begun(store: Store, state: RunState) -> tuple[str, ...]:
    """The children in `state` that have a record of their own; one whose process ended in between has none yet."""
    there = set(store.runs()) if state.children else set()
    return tuple(child.run for child in state.children if child.run in there)


def top(store: Store, run: str) -> str:
    """The run that has to be gone on with for `run` to go on: the outermost that still waits for it."""
    while parent := head_of(store.first(run)).parent:
        if parent not in store.runs():
            break
        state, _ = load(store, parent)
        if state.status.ended or all(child.run != run or child.spent is not None for child in state.children):
            break
        run = parent
    return run


def innermost(store: Store, run: str, clock: Clock | None = None, redact: Redactor = NOTHING_NAMED) -> RunLog:
    """The run inside `run`, or inside one of those, that it waits for; itself where it waits for none."""
    log = RunLog.reopened(store, run, clock, redact)
    while (child := log.state.open_child) is not None and child.run in begun(store, log.state):
        inner = RunLog.reopened(store, child.run, clock, redact)
        if inner.state.status.ended:
            break
        log = inner
    return log


def tools_of(store: Store, run: str, tools: Mapping[str, Tool]) -> Mapping[str, Tool]:
    """The tools that `run` calls, where those of the outermost run around it are `tools`; these, if it is none inside.

    A run that was made by a tool's own code calls tools that only that code knows: there are none of it here.
    """
    head = head_of(store.first(run))
    if not head.parent or head.parent not in store.runs():
        return tools
    outer = tools_of(store, head.parent, tools).get(head.agent)
    return outer.delegate.tools if isinstance(outer, AgentTool) else tools


_SHOWN: Final = 40
"""Runs inside a run that its record shows: the first ones."""


def told(store: Store, run: str, *, bare: bool = False, deep: int = MAX_DEPTH) -> Summary:
    """What there is to show of a run, with the runs inside it below their steps.

    Args:
        store: where it is kept.
        run: its id.
        bare: see `Summary`.
        deep: how many runs inside of one another are shown.

    Raises:
        RunNotFound, DamagedRecord: as `store.read`; a run inside it that cannot be read is left out.
    """
    tally = Tally(bare=bare)
    for record in store.read(run):
        tally.add(record)
    found, there = [], begun(store, tally.state) if deep else ()
    summary, waits = tally.summary(), tally.state.open_child if tally.state.suspended else None
    for child in tally.state.children[:_SHOWN]:
        with suppress(AgentError):
            if child.run in there:
                inner = told(store, child.run, bare=bare, deep=deep - 1)
                found.append((child.step, inner))
                summary = replace(summary, tried=inner.tried) if child is waits else summary
    return replace(summary, children=tuple(found))


def agents_in(tools: Mapping[str, Tool]) -> Iterator[AgentTool]:
    """The agents among `tools`, and among theirs."""
    for made in tools.values():
        if isinstance(made, AgentTool):
            yield made
            yield from agents_in(made.delegate.tools)


def cancelled(log: RunLog, detail: str) -> None:
    """End a run for good, and before it those inside it, which would answer to nobody.

    Args:
        log: the run.
        detail: who wants it, and why.
    """
    events: list[Event] = []
    for child in log.state.children:
        if child.spent is None and child.run in begun(log.store, log.state):
            inner = RunLog.reopened(log.store, child.run, log.clock, log.redact)
            if not inner.state.status.ended:
                cancelled(inner, detail)
            events.append(settled(child, inner.state))
    claim = log.state.claim
    if claim and log.state.head.tools[claim.tool].delegates:
        events.append(ToolReturned(step=claim.step, status="failed", seconds=0, message="it was cancelled"))
    end = RunFinished(status="cancelled", reason="cancelled", detail=detail, by="rule")
    log.append(RunResumed(process=0), *events, end)
