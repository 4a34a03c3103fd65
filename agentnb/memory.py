"""What a prompt may know of a run: its memory, its plan and its last steps, bounded, and never a raw result.

Between two summaries the memory stays as it is to the byte, so that the prompts of some ten steps begin alike.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from agentnb.events import Item, Kept
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.plan import Step
from agentnb.preview import preview_of
from agentnb.prompt_text import Known, Status, StepView, as_line
from agentnb.reading import is_reading
from agentnb.state import TOLD_STEPS, Outcome, RunState
from agentnb.tools import Tool

__all__ = [
    "BYTES_A_TOKEN",
    "done_steps",
    "fitting",
    "item_line",
    "known",
    "memory_text",
    "present_step",
    "room_for_memory",
    "spec_of",
    "tool_specs",
]

BYTES_A_TOKEN: Final = 3
"""What a token stands for in text of words, numbers and JSON, or less: four and more in plain English."""
_RECENT_BYTES, _PLAN_BYTES = 6000, 1200
"""What the last steps and the plan may take of a prompt; the memory has the rest."""
_NOTED_BYTES: Final = 1800
_PLAN_STEPS: Final = 20
_LINE_BYTES: Final = 700

_HEADS: Final[Mapping[tuple[str, str], str]] = {
    ("fact", "person"): "A person said",
    ("decision", "person"): "A person decided",
    ("contradiction", ""): "Contradictions: both cannot hold, and which one does is not known",
    ("question", ""): "Open questions",
    ("assumption", ""): "Assumed, not known",
    ("decision", ""): "Decided",
    ("fact", "tool"): "Facts, as results say",
    ("fact", ""): "Claimed by a model that read the results",
}
"""The parts of a memory in their order, which is also that of what is kept when room is short."""


def tool_specs(tools: Mapping[str, Tool]) -> tuple[ToolSpec, ...]:
    """The tools as a model sees them; `read_result` is told of only where a result is cut."""
    return tuple(spec_of(t) for t in tools.values() if not is_reading(t))


def spec_of(tool: Tool) -> ToolSpec:
    """A tool as a model sees it."""
    return ToolSpec(tool.name, tool.description, tool.parameters, tool.effect)


def known(log: RunLog) -> Known:
    """What the prompts of a run say of it, but for the last steps: plan and memory, and what was noted since."""
    state = log.state
    plan = _plan_text(state) if state.memory.upto else ""
    memory = memory_text(state.memory.items, state.memory.upto, state.memory.hidden)
    noted = [item_line(item) for item in fitting(state.noted, _NOTED_BYTES)]
    return Known(context=tuple(filter(None, (plan, memory))), noted=tuple(noted))


def room_for_memory(state: RunState) -> int:
    """Bytes that the items of a summary may have together: what the plan and the last steps leave, at least a third.

    Without that third a small memory would hold nothing at all, for the last steps may take all of its bound.
    """
    whole = state.head.memory.tokens * BYTES_A_TOKEN
    return max(whole - _RECENT_BYTES - _PLAN_BYTES, whole // 3)


def memory_text(items: Sequence[Item], upto: int, hidden: int = 0) -> str:
    """The memory as a prompt holds it, by parts; "" where nothing is remembered."""
    if not upto:
        return ""
    parts = [f"Finished steps s1 to s{upto}, in short" + (f" ({hidden} older items are left out)" if hidden else "")]
    for place, head in _HEADS.items():
        if lines := [item_line(item) for item in items if _place(item) == place]:
            parts.append("\n".join([f"{head}:", *lines]))
    return "\n".join(parts)


@functools.lru_cache(maxsize=256)
def item_line(item: Item) -> str:
    """One item with where it came from: its text is quoted, for it may be a stranger's.

    Kept: most of a memory is the same from prompt to prompt, and from one summary to the next.

    >>> item_line(Item(kind="fact", text="7 shops", by="tool", sources=("s3",)))
    '| s3: 7 shops'
    """
    sources = f"{', '.join(item.sources[:6])}: " if item.sources else ""
    flag = "CRITICAL: " if item.critical else ""
    return f"| {as_line(sources + flag + item.text, _LINE_BYTES)}"


def fitting(items: Iterable[Item], room: int) -> list[Item]:
    """Those that fit into `room` bytes, in their order: a person's words first, then by parts, the newest first."""
    order = {place: n for n, place in enumerate(_HEADS)}
    given = list(items)
    kept = []
    for n in sorted(range(len(given)), key=lambda n: (order[_place(given[n])], not given[n].critical, -n)):
        size = len(item_line(given[n]).encode()) + 1
        if size <= room:
            kept.append(n)
            room -= size
    return [given[n] for n in sorted(kept)]


def _place(item: Item) -> tuple[str, str]:
    exact = (item.kind, item.by)
    return exact if exact in _HEADS else (item.kind, "")


def _plan_text(state: RunState) -> str:
    """The steps from the memory's end on, by their titles: the same text until the plan or the memory changes."""
    plan, upto = state.plan, state.memory.upto
    if plan is None:
        return ""
    steps = plan.steps[upto : upto + _PLAN_STEPS]
    lines = [as_line(f"{step.id}: {step.title or step.tool}", 120) for step in steps]
    more = len(plan.steps) - upto - len(steps)
    text = "\n".join([f"Plan, version {plan.version}", *lines, *([f"and {more} more steps"] if more > 0 else [])])
    return text[:_PLAN_BYTES] if steps else ""


def done_steps(log: RunLog, most: int = TOLD_STEPS) -> tuple[list[StepView], int]:
    """The finished steps that the memory does not cover, the last `most`, and how many came before them."""
    state = log.state
    if state.plan is None:
        return [], 0
    outcomes = state.outcomes.last(min(most, len(state.outcomes) - state.memory.upto))
    earlier = len(state.outcomes) - len(outcomes)
    steps = state.plan.steps[earlier : len(state.outcomes)]
    return [_done(log, step, outcome) for step, outcome in zip(steps, outcomes, strict=True)], earlier


def _done(log: RunLog, step: Step, outcome: Outcome) -> StepView:
    settled = log.state.carried_out(step.id) if outcome.status == "proposed" else None
    came: tuple[Status, Kept | None, str] = (outcome.status, outcome.gist or outcome.result, outcome.message)
    came = ("ok", settled.result, "a person has carried it out") if settled else came
    shown, status = _shown(log, *came[1:]), _status(log, step, came[0])
    return StepView(step.id, step.title, step.tool, step.args, step.expect, status, shown, outcome.finding)


def present_step(log: RunLog, step: Step) -> StepView:
    """The step under way, with its result where it has one."""
    got, bound = log.state.returned, log.state.bound
    args = log.value(bound) if bound else step.args
    status = _status(log, step, got.status if got else "pending")
    shown = _shown(log, got.gist or got.result, got.message) if got else ""
    return StepView(step.id, step.title, step.tool, args, step.expect, status, shown)


def _status(log: RunLog, step: Step, status: Status) -> Status:
    """`status`; a dry run's calls that act are told apart from those that were made."""
    simulated = status == "ok" and log.state.head.dry and log.state.head.tools[step.tool].acts
    return "simulated" if simulated else status


def _shown(log: RunLog, result: Kept | None, message: str) -> str:
    return log.derived(result, preview_of) if result else message
