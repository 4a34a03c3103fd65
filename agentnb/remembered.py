"""What records add to a run's working memory besides outcomes: decisions, a person's words, contradictions."""

from __future__ import annotations

from typing import Final

from agentnb.events import (
    ActionSettled,
    ApprovalAnswered,
    DoubtResolved,
    Event,
    Item,
    MemorySummarised,
    PlanMade,
    RunRetried,
)
from agentnb.state import Memory, Outcome, RunState, Stage
from agentnb.step_changes import UNTRIED, Changes, require
from agentnb.stops import mark_of

__all__ = ["LONGEST_ITEM", "noted", "read_again", "summarised"]

LONGEST_ITEM: Final = 600
"""Characters of one item."""
_LOOKED_BACK: Final = 24
"""Calls among which the same one is looked for, so that a step costs the same however long its run is."""


def summarised(state: RunState, e: MemorySummarised) -> Changes:
    """The memory was made small: what it covers is no longer told in full."""
    require(e.upto == len(state.outcomes), f"it covers {e.upto} of {len(state.outcomes)} finished steps", e)
    require(state.stage in (Stage.PLAN, Stage.STEP) and state.claim is None, "a call is under way", e)
    return {"memory": Memory(e.upto, e.items, e.hidden), "noted": (), **UNTRIED}


def noted(event: Event) -> tuple[Item, ...]:  # noqa: PLR0911 - a table, one case a kind
    """What `event` gives to remember. A person is not named: prompts are replayed elsewhere."""
    match event:
        case PlanMade(version=version, by="model", reason=reason) if version > 1:
            return (_item("decision", f"the plan was revised (version {version}): {reason}", "model"),)
        case ApprovalAnswered(decision="edit", silent=False, step=step, reason=reason):
            said = f"a person changed the arguments of {step}" + (f": {reason}" if reason else "")
            return (_item("decision", said, "person", step),)
        case ApprovalAnswered(decision="reject", silent=False, by=by, step=step, reason=reason) if by != "policy":
            said = f"a person rejected the call of {step}" + (f": {reason}" if reason else "")
            return (_item("decision", said, "person", step),)
        case DoubtResolved(step=step, happened=happened, by=by) if by != "reconcile":
            return (_item("fact", f"a person says that the call of {step} {_did(happened)}", "person", step),)
        case RunRetried(hint=said) if said:
            return (_item("fact", f"a person says: {said}", "person"),)
        case ActionSettled(status="done" | "dropped" as status, step=step):
            what = "carried out" if status == "done" else "dropped"
            return (_item("decision", f"the action that {step} proposed was {what} by a person", "person", step),)
        case _:
            return ()


def read_again(state: RunState, outcome: Outcome) -> Changes:
    """What a finished call that read adds: itself, and where the same call gave something else before, that it did."""
    if state.reads and outcome.call and outcome.made and not state.head.dry:
        return {"reads": ()}  # what was read before something was changed may well be otherwise after it
    result = outcome.result
    if not state.read or outcome.status not in ("ok", "empty") or result is None:
        return {}
    gave = mark_of(result.blob or result.text or "")
    read = state.read
    changes: Changes = {"reads": (*state.reads[-_LOOKED_BACK:], (read, outcome.step, gave))}
    before = next((item for item in reversed(state.reads) if item[0] == read), None)
    if before and before[2] != gave:
        said = f"the same call gave one result in {before[1]} and another in {outcome.step}"
        changes["noted"] = (*state.noted, _item("contradiction", said, "code", before[1], outcome.step))
    return changes


def _did(happened: bool) -> str:  # noqa: FBT001 - a word for a truth value
    return "happened" if happened else "did not happen"


def _item(kind: str, text: str, by: str, *sources: str) -> Item:
    return Item(kind=kind, text=text[:LONGEST_ITEM], by=by, sources=sources)  # type: ignore[arg-type]  # words of the two
