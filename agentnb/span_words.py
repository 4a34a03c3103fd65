"""What is told of a span where somebody points at it: what went in, what came out, what it took, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from agentnb.events import Kept
from agentnb.markdown import line
from agentnb.notes import brief_args
from agentnb.span import Span
from agentnb.wording import count, money, number, seconds, without_runs

__all__ = ["told_of", "told_together", "totals"]

_KINDS: Final = 4
"""How many kinds of spans are named of a block."""


def told_of(span: Span, most: int, *, bare: bool = False) -> str:
    """A span in a few lines, the first its name.

    Args:
        span: what to tell.
        most: characters of what went in, of what came out, and of why.
        bare: True tells no duration but those of model calls, and no id of a run.
    """
    said = filter(None, (line(_name(span), 80), _state(span, bare=bare), *_values(span, most), _amounts(span)))
    return "\n".join(map(without_runs, said) if bare else said)


def told_together(spans: Sequence[Span], *, bare: bool = False) -> str:
    """Several spans in a few lines: how many of what, and what they took in all."""
    kinds = Counter(line(_kind(span), 40) for span in spans).most_common(_KINDS + 1)
    more = len(spans) - sum(many for _, many in kinds[:_KINDS])
    named = [f"{number(many)} × {name}" for name, many in kinds[:_KINDS]]
    first, last = spans[0].step, spans[-1].step
    where = f", {first} to {last}" if first and last and first != last else f", {first}" if first else ""
    said = [f"{number(len(spans))} together{where}", *named, f"{number(more)} others" if more else "", totals(spans)]
    if bare:
        return "\n".join(filter(None, said))
    return "\n".join(filter(None, [*said, f"{seconds(sum(span.seconds for span in spans))} in all"]))


def totals(spans: Sequence[Span]) -> str:
    """Tokens and dollars of several spans, "" where they used none."""
    sent, got = sum(span.input_tokens for span in spans), sum(span.output_tokens for span in spans)
    usd = sum(span.usd for span in spans)
    return ", ".join(filter(None, (count(sent + got, "token") if sent + got else "", money(usd) if usd else "")))


def _kind(span: Span) -> str:
    return {"chat": span.phase, "execute_tool": span.tool or span.name}.get(span.op, span.name)


def _name(span: Span) -> str:
    match span.op:
        case "chat":
            return f"{span.step} {span.phase} · {span.model}".strip()
        case "execute_tool":
            return f"{span.step} {span.tool or span.name}".strip()
        case "wait":
            return f"{span.step} {span.name}: {span.tool}".strip(" :")
        case "decision":
            return f"{span.step} {span.name}".strip()
        case _:
            return span.name


def _state(span: Span, *, bare: bool) -> str:
    """Status, class of failure, tries and duration."""
    status = "goes on" if span.open else "done" if span.status == "ok" else span.status.replace("_", " ")
    failed = line(f"{status}: {span.failure.replace('_', ' ')}" if span.failure else status, 80)
    again = f"try {span.attempt}" if span.attempt > 1 else ""
    timed = span.op != "decision" and not span.open and not span.cached and (span.op == "chat" or not bare)
    took = seconds(span.seconds) if timed else ""
    cached = "out of the prompt cache" if span.cached else ""
    by = f"by {line(span.by, 40)}" if span.by else ""
    shared = "shared with the run it was forked from" if span.shared else ""
    said = "" if span.op == "decision" and status == "done" else failed
    return " · ".join(filter(None, (said, by, again, took, cached, shared)))


def _values(span: Span, most: int) -> Iterator[str]:
    if span.args:
        yield line(f"in: {brief_args(span.args)}", most)
    if span.result:
        yield line(f"out: {_held(span.result)}", most)
    if span.text and span.text not in span.name:  # a step's name ends with its title
        yield line(span.text, most)


def _held(kept: Kept) -> str:
    """A value as JSON, a text as it is."""
    if kept.text is None:
        return f"{number(kept.size)} characters"
    return str(json.loads(kept.text)) if kept.text.startswith('"') else kept.text


def _amounts(span: Span) -> str:
    """Tokens in and out, those that the provider had cached, and dollars."""
    if not (span.input_tokens or span.output_tokens or span.usd or span.saved_usd):
        return ""
    cached = f" ({number(span.cached_tokens)} cached)" if span.cached_tokens else ""
    tokens = f"{number(span.input_tokens)}{cached} → {number(span.output_tokens)} tokens"
    saved = f"saved {money(span.saved_usd)}" if span.saved_usd else ""
    return " · ".join(filter(None, (tokens, money(span.usd) if span.usd else "", saved)))
