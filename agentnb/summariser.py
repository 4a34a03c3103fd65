"""The summariser: makes a long run's memory small, by the cheap model where it can and by code where it has to.

A model's notes never replace what a person said or what contradicts itself, and what they rest on is held against the
run by code: a note with no finished step behind it is a claim of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from agentnb.events import Item, MemorySummarised, ReplyRejected
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, fitting, known, memory_text, room_for_memory
from agentnb.models.base import ModelReply
from agentnb.prompt_text import StepView, cut
from agentnb.prompts import Prompt, summary_prompt
from agentnb.remembered import LONGEST_ITEM
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import with_problems

__all__ = ["by_rule", "memory_now", "summary_of", "summary_question"]

_LEAST_LINE: Final = 200
"""Bytes that code leaves of a finished step, however many there are."""
_AROUND: Final = 40
"""Bytes of an item beside its text: its sources, its quotation, its share of the heads."""


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore")

    text: str
    sources: list[str] = Field(default=[], alias="from")


class Notes(BaseModel):
    """What is to be remembered, as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    facts: list[_Note]
    assumptions: list[_Note] = []
    questions: list[_Note] = []
    contradictions: list[_Note] = []


def summary_question(log: RunLog, specs: Sequence[ToolSpec]) -> Prompt:
    """What the cheap model is asked: its notes of the memory and of the steps since."""
    done, earlier = done_steps(log)
    prompt = summary_prompt(log.state.head.task, specs, done, earlier=earlier, known=known(log))
    return with_problems(prompt, log.state.problems)


def summary_of(log: RunLog, reply: ModelReply) -> MemorySummarised | ReplyRejected:
    """The memory with the model's notes in place of what they sum up, or what is wrong with the reply."""
    try:
        said = read_reply(Notes, reply)
    except BadReply as bad:
        return ReplyRejected(phase="summarise", problems=bad.problems)
    notes = list(_items(log, said))
    if not notes:
        return ReplyRejected(phase="summarise", problems=("nothing is to be remembered: write the facts down",))
    return _summary(log, [*_never_summed_up(log, notes), *notes], by="model")


def by_rule(log: RunLog) -> MemorySummarised:
    """The memory with a line for each step, as its result says: the more steps, the shorter each line."""
    done, _ = done_steps(log, most=len(log.state.outcomes))
    items = [*log.state.memory.items, *log.state.noted, *map(_line, done)]
    room = max(_LEAST_LINE, room_for_memory(log.state) // max(len(items), 1) - _AROUND)
    return _summary(log, [_shortened(item, room) for item in items], by="rule")


def memory_now(log: RunLog) -> str:
    """The memory as it would be if it were made small now, by code; as text."""
    now = by_rule(log)
    return memory_text(now.items, now.upto, now.hidden)


def _shortened(item: Item, room: int) -> Item:
    """A tool's fact in at most `room` bytes; what a person or a model has put into words stays whole."""
    if item.by != "tool" or (text := cut(item.text, room)) == item.text:
        return item
    return Item(kind=item.kind, text=text, by=item.by, sources=item.sources, critical=item.critical)


def _summary(log: RunLog, items: Sequence[Item], *, by: Any) -> MemorySummarised:
    state = log.state
    kept = fitting(items, room_for_memory(state))
    hidden = state.memory.hidden + len(items) - len(kept)
    return MemorySummarised(upto=len(state.outcomes), items=tuple(kept), hidden=hidden, by=by)


def _never_summed_up(log: RunLog, notes: Sequence[Item]) -> list[Item]:
    """What stays as it is: a person's words, and contradictions that `notes` do not tell of the same steps anew."""
    state = log.state
    told = {note.sources for note in notes if note.kind == "contradiction"}
    items = (*state.memory.items, *state.noted)
    return [i for i in items if i.by in ("person", "code") or (i.kind == "contradiction" and i.sources not in told)]


def _items(log: RunLog, said: Notes) -> Iterator[Item]:
    finished = {f"s{n}" for n in range(1, len(log.state.outcomes) + 1)}
    for kind in ("fact", "assumption", "question", "contradiction"):
        for note in getattr(said, f"{kind}s"):
            if text := " ".join(note.text.split())[:LONGEST_ITEM]:
                sources = tuple(dict.fromkeys(name for name in note.sources if name in finished))
                yield Item(kind=kind, text=text, by="model", sources=sources)


def _line(view: StepView) -> Item:
    """A finished step in one line: what its result says, or that it has none."""
    said = {"ok": "", "simulated": "simulated: ", "empty": "no results", "failed": "FAILED: ", "proposed": "proposed: "}
    gist = "" if view.status == "empty" else view.preview
    text = f"{view.title or view.tool}: {said.get(view.status, '')}{gist}"
    return Item(kind="fact", text=" ".join(text.split())[:LONGEST_ITEM], by="tool", sources=(view.id,))
