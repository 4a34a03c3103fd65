"""How a run is put into words: the states, amounts and sentences that the card and the plain text have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agentnb.budget import amount
from agentnb.course import ActionLine, EffectLine
from agentnb.markdown import line
from agentnb.state import Status
from agentnb.steps import OPEN, Mark, Marks
from agentnb.summary import Gauge, Summary

__all__ = [
    "GAUGES",
    "LISTED",
    "MARKS",
    "STATES",
    "actions_title",
    "age",
    "asks",
    "call",
    "child_title",
    "clock",
    "cost",
    "count",
    "dollars",
    "effects_title",
    "ended_steps",
    "facts",
    "headline",
    "held",
    "left",
    "level",
    "lists",
    "mark_of",
    "marks_of",
    "minute",
    "money",
    "number",
    "priced",
    "seconds",
    "shown",
    "tokens",
    "told",
    "used_of",
    "without_runs",
]

STATES = {
    Status.PENDING: ("○", "Not begun", "rest"),
    Status.IN_PROGRESS: ("●", "Running", "run"),
    Status.AWAITING_APPROVAL: ("◇", "Needs you", "ask"),
    Status.AWAITING_ANSWER: ("◇", "Needs you", "ask"),
    Status.SUSPENDED: ("‖", "Suspended", "ask"),  # ⏸ is a coloured picture on some systems and an empty box on others
    Status.COMPLETED: ("✓", "Completed", "ok"),
    Status.STOPPED: ("■", "Stopped", "ask"),
    Status.CANCELLED: ("■", "Cancelled", "rest"),
    Status.FAILED: ("✗", "Failed", "bad"),
}
"""Icon, word, and class in the style sheet."""

MARKS: dict[Mark, tuple[str, str, str]] = {
    "done": ("✓", "done", "ok"),
    "simulated": ("≈", "simulated, nothing was done", "rest"),
    "empty": ("–", "nothing found", "ok"),
    "failed": ("✗", "failed", "bad"),
    "skipped": ("✗", "not selected, not done", "rest"),
    "proposed": ("◇", "put into the queue, not done", "ask"),
    "dropped": ("✗", "dropped, not done", "rest"),
    "running": ("●", "running", "run"),
    "waiting": ("◇", "waits for you", "ask"),
    "todo": ("○", "to do", "todo"),
}

GAUGES = {
    "usd": "Dollars",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "tokens": "Tokens",
    "model_calls": "Model calls",
    "steps": "Steps",
    "tool_calls": "Tool calls",
    "seconds": "Time",
    "working_seconds": "Working time",
}

LISTED = 30
"""Effects and actions shown."""

_NEWEST = 20
"""Decisions shown, and revisions."""

_TOLD = 8
"""Steps that were not done, of which each is named."""

_IDLE_S = 5.0
"""Waiting shorter than this is not worth telling."""


def shown(summary: Summary) -> Summary:
    """`summary` with its short texts on one line each, and where it is bare without the run's id and any time."""
    tidy = replace(
        summary,
        run=line(summary.run, 60),
        reason=line(summary.reason),
        detail=line(summary.detail, 600),
        confidence=line(summary.confidence, 100),
        now=line(summary.now),
        next=line(summary.next, 300),
        show=line(summary.show, 300),
        closer=line(summary.closer, 300),
        inside=line(summary.inside),
        executes=line(summary.executes, 60),
        forked=line(summary.forked, 60),
        agent=line(summary.agent, 60),
        parent=line(summary.parent, 60),
        children=tuple((step, shown(child)) for step, child in summary.children),
    )
    return _replayed(tidy) if summary.bare else tidy


_RUN = re.compile(r"\br[1-9][0-9]*-[a-z]+\b")
"""An id of a run, as a store gives them."""


def without_runs(text: str) -> str:
    """`text` with OTHER in place of each id of a run, which one replay has otherwise than the next."""
    return _RUN.sub("OTHER", text)


_FOR_A_WHILE = re.compile(r" for another [0-9]+ s\b")
"""How long a tool is still left alone."""


def _replayed(s: Summary) -> Summary:
    """`s` without what one replay has otherwise than the next."""

    def same(text: str) -> str:
        text = text.replace(s.run, "RUN") if s.run else text  # as `%agent` calls it in its help: its commands need one
        return _FOR_A_WHILE.sub(" for a while", without_runs(text))

    return replace(
        s,
        run="",
        executes=same(s.executes),
        forked=same(s.forked),
        parent=same(s.parent),
        reason=same(s.reason),
        detail=same(s.detail),
        next=same(s.next),
        show=same(s.show),
        closer=same(s.closer),
        unknowns=tuple(map(same, s.unknowns)),
        undone=tuple(map(same, s.undone)),
        since=tuple(map(same, s.since)),
        alerts=tuple(map(same, s.alerts)),
        revisions=tuple(map(same, s.revisions)),
        decisions=tuple(map(same, s.decisions)),
        statements=tuple(map(same, s.statements)),
        tried=tuple(map(same, s.tried)),
        steps=tuple(replace(step, note=same(step.note), seconds=None) for step in s.steps),
        effects=tuple(replace(e, args=same(e.args), asks=tuple(map(same, e.asks))) for e in s.effects),
        actions=tuple(replace(a, args=same(a.args), said=same(a.said)) for a in s.actions),
        gauges=tuple(gauge for gauge in s.gauges if not gauge.limit.endswith("seconds")),
    )


def headline(s: Summary) -> tuple[str, str, str, str]:
    """What the first line begins with: icon, state in a word or two, class in the style sheet, and why."""
    # a run that asks somebody now goes on by itself once it is answered, so its status is still in_progress
    waits = s.status is Status.IN_PROGRESS and any(step.mark == "waiting" for step in s.steps)
    icon, word, kind = STATES[Status.AWAITING_APPROVAL if waits else s.status]
    if not s.dry:
        return icon, word, kind, s.reason
    came = f"{count(len(s.effects), 'effect')}, nothing was done" if s.status.ended else ""
    state = "Dry run" if s.status is Status.IN_PROGRESS else f"Dry run {word.lower()}"
    return icon, state, kind, "; ".join(filter(None, (s.reason, came)))


def facts(s: Summary) -> list[str]:
    """What the first line says after state and reason, each a few words."""
    whence = f"executes {s.executes}" if s.executes else f"forked from {s.forked}" if s.forked else ""
    whence = f"{s.agent} in {s.parent}" if s.parent else whence
    if s.status is Status.IN_PROGRESS:
        waits = any(step.mark == "waiting" for step in s.steps)  # while somebody is asked nothing is drawn anew
        return [fact for fact in (whence, s.now, "" if s.bare or waits else seconds(s.spent.seconds), cost(s)) if fact]
    waiting = sum(action.status in ("waits", "in_doubt") for action in s.actions)
    queue = f"{count(waiting, 'action')} {'waits' if waiting == 1 else 'wait'} for you" if waiting else ""
    return [fact for fact in (whence, _steps(s), queue, _times(s), cost(s)) if fact]


def child_title(s: Summary) -> str:
    """A run inside another on one line: as what it was called, how it is, and what it came to."""
    _, word, _, why = headline(s)
    state = f"{s.agent or 'an agent'}: {word.lower()}" + (f", {why}" if why else "")
    return " · ".join(filter(None, (state, _steps(s), cost(s), s.run)))


def _steps(s: Summary) -> str:
    """How many steps there are, and how many of them have come to their end; "" where there are none."""
    ended, every = ended_steps(s), marks_of(s).total()
    if not s.steps:
        return ""
    return count(every, "step") if ended == every else f"{number(ended)} of {count(every, 'step')}"


def marks_of(s: Summary) -> Marks:
    """How many steps there are in each state, those that are not shown among them."""
    return Marks(step.mark for step in s.steps) + s.before + s.after


def ended_steps(s: Summary) -> int:
    """How many steps have come to their end, whatever it was."""
    return sum(many for mark, many in marks_of(s).items() if mark not in OPEN)


def _times(s: Summary) -> str:
    if s.bare or not s.spent.seconds:
        return ""
    idle = s.spent.seconds - s.spent.working_seconds
    if idle < _IDLE_S:
        return seconds(s.spent.seconds)
    return f"{seconds(s.spent.working_seconds)} working, {seconds(idle)} waiting"


def cost(s: Summary) -> str:
    """Dollars where there are any, else tokens: an unknown price is not shown as none, nor a guess as a bill."""
    used = dollars(s) if priced(s) else tokens(s)
    if used and not priced(s) and s.models and all(model.partition(":")[0] == "local" for model in s.models):
        used += ", local: $0"
    cache = s.saved.cache
    saved = money(cache.usd) if cache.usd else count(cache.tokens, "token") if cache.tokens else ""
    return ", ".join(part for part in (used, saved and f"saved {saved}") if part)


def priced(s: Summary) -> bool:
    """True where dollars were spent, saved or limited; a free model's columns of zeros tell nobody anything."""
    return bool(s.spent.usd or s.saved.cache.usd or s.saved.tiers.usd) or any(
        gauge.limit == "usd" for gauge in s.gauges
    )


def dollars(s: Summary) -> str:
    """What the run cost; as a lower bound where a provider sent no count, or nobody knows the price of a model."""
    least, most = money(s.spent.least_usd), money(s.spent.usd)
    if s.unpriced:
        return f"at least {least}"
    return f"at least {least}, at most {most}" if s.spent.uncounted_usd else most


def tokens(s: Summary) -> str:
    """The tokens that the run used, "" where none were; as a lower bound where a provider sent no count."""
    if not s.spent.tokens:
        return ""
    most = count(s.spent.tokens, "token")
    return f"at least {number(s.spent.least_tokens)}, at most {most}" if s.spent.uncounted_tokens else most


def money(value: float) -> str:
    """Dollars as a person reads them: "$0.044", "$1.50", "<$0.001"."""
    if 0 < value < 0.0005:  # noqa: PLR2004 - would round to $0.000, and it was not free
        return "<$0.001"
    return f"${value:,.3f}" if value < 0.9995 else f"${value:,.2f}"  # noqa: PLR2004 - would round to $1.000


def seconds(value: float) -> str:
    """A duration as a person reads it: "2.1 s", "48 s", "3 min 20 s", "2 h 5 min"."""
    if value < 9.95:  # noqa: PLR2004 - from here on tenths are noise
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min".replace(",", " ")  # noqa: PLR2004 - an hour's minutes


def clock(value: float) -> str:
    """A duration as a clock shows it, which keeps its width: "0:14", "1:05", "2:31:10".

    >>> clock(9070), clock(65.5)
    ('2:31:10', '1:05')
    """
    minutes, rest = divmod(int(value), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"  # noqa: PLR2004 - as above


def minute(at: float) -> str:
    """A moment, in seconds since 1970, as local time to the minute: "2026-11-26 15:47"; "" where no calendar has it.

    A run that came in a file may have any number there.
    """
    try:
        return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"  # noqa: DTZ006 - local time is meant
    except (ValueError, OverflowError, OSError):
        return ""


def age(value: float) -> str:
    """How long ago something was, as a person reads it: "12 s", "5 min", "3 h", "12 days"."""
    for unit, many in (("s", 1), ("min", 60), ("h", 3600)):
        if value < many * (24 if unit == "h" else 60) * 2:
            return f"{max(0, int(value // many))} {unit}"
    return f"{number(value // 86_400)} days"


def number(value: float) -> str:
    """A whole number, its thousands apart: "9 412"."""
    return f"{round(value):,}".replace(",", " ")


def count(n: int, noun: str) -> str:
    """That many of something: "1 step", "5 steps"."""
    return f"{number(n)} {noun}" if n == 1 else f"{number(n)} {noun}s"


def level(gauge: Gauge) -> str:
    """A gauge in words: "9 412 of 50 000"."""
    if gauge.limit == "usd":
        return f"{money(gauge.used)} of {amount('usd', gauge.cap)}"
    if gauge.limit.endswith("seconds"):
        return f"{_brief(gauge.used)} of {_brief(gauge.cap)} s"
    return f"{number(gauge.used)} of {number(gauge.cap)}"


def used_of(gauge: Gauge) -> str:
    """The same with its unit: "9 412 of 50 000 tokens"."""
    used = _brief(gauge.used) if gauge.limit.endswith("seconds") else number(gauge.used)
    return f"{money(gauge.used) if gauge.limit == 'usd' else used} of {amount(gauge.limit, gauge.cap)}"


def _brief(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 and value != int(value) else number(value)  # noqa: PLR2004 - as in `seconds`


def held(gauge: Gauge) -> str:
    """What is reserved on top, in words; "" where nothing is."""
    if not gauge.reserved:
        return ""
    return f"{_of(gauge, gauge.reserved)} reserved"


def left(gauge: Gauge) -> str:
    """What is neither used nor reserved, in words: "36 588 left"."""
    return f"{_of(gauge, max(0.0, gauge.cap - gauge.used - gauge.reserved))} left"


def _of(gauge: Gauge, value: float) -> str:
    if gauge.limit == "usd":
        return money(value)
    return f"{_brief(value)} s" if gauge.limit.endswith("seconds") else number(value)


def lists(s: Summary) -> list[tuple[str, list[str]]]:
    """The lists that a record ends with, each with its title; of long ones the newest."""
    each = (
        ("revision of the plan", "revisions of the plan", s.revisions),
        ("decision", "decisions", s.decisions),
        ("statement of its last assessment", "statements of its last assessment", s.statements),
        ("reply in a row that could not be used", "replies in a row that could not be used", s.tried[-_TOLD:]),
        (
            "model with replies that could not be used",
            "models with replies that could not be used",
            s.malformed[:_TOLD],
        ),
    )
    return [(f"{number(len(of))} {one if len(of) == 1 else many}", _newest(of)) for one, many, of in each if of]


def _newest(said: Sequence[str]) -> list[str]:
    """The last of them, each on one line, and before them how many there were; of many each is cut shorter."""
    earlier = len(said) - _NEWEST
    if earlier <= 0:
        return [line(x, 400) for x in said]
    return [f"({number(earlier)} earlier)", *(line(x, 160) for x in said[-_NEWEST:])]


def told(s: Summary) -> list[tuple[str, str, list[str]]]:
    """What a person has to know before the answer is read, in titled lists: (title, class, lines)."""
    more = [f"and {count(len(s.undone) - _TOLD, 'more step')}"] if len(s.undone) > _TOLD else []
    undone = ("Not done", "bad", [*(line(x, 240) for x in s.undone[:_TOLD]), *more])
    since = ("Since then", "ask", [line(x, 240) for x in s.since[:LISTED]])
    alerts = ("Alert", "ask", [line(x, 240) for x in s.alerts[:LISTED]])
    return [found for found in (undone, since, alerts) if found[2]]


def call(of: EffectLine | ActionLine) -> str:
    """A call with its arguments in brief: "send_mail(to="ada", amount=40)"."""
    return line(f"{of.tool}({of.args})", 240)


def mark_of(action: ActionLine) -> str:
    """What stands before a proposed action: its number while it waits, else a mark."""
    return f"{action.number}." if action.number else "✓" if action.status == "done" else "✗"


def asks(effect: EffectLine) -> str:
    """Why a person would be asked before it."""
    return line("; ".join(effect.asks), 400) if effect.asks else "it would not ask"


def effects_title(s: Summary) -> str:
    """What the list of effects is."""
    return "What it would have done" if s.status.ended else "What it would do so far"


def actions_title(s: Summary) -> str:
    """The queue in numbers: "Destructive actions: 1 waits for you, 1 carried out"."""
    many = {name: sum(action.status == name for action in s.actions) for name in _QUEUED}
    return "Destructive actions: " + ", ".join(f"{n} {_QUEUED[name][n != 1]}" for name, n in many.items() if n)


_QUEUED = {
    "waits": ("waits for you", "wait for you"),
    "in_doubt": ("in doubt", "in doubt"),
    "done": ("carried out", "carried out"),
    "dropped": ("dropped", "dropped"),
}
