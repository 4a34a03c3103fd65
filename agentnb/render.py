"""A run's summary for people: a card of HTML, and plain text for terminals and for the diff of a saved notebook.

Whatever comes from a model, a tool or a user passes `line` or `clean` and is escaped; the answer passes `to_html`.
Equal summaries give equal output: there are no ids, no clocks, no counters here.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from agentnb.listing import aligned
from agentnb.markdown import clean, line, to_html
from agentnb.state import Status
from agentnb.summary import Gauge, StepLine, Summary
from agentnb.wording import (
    GAUGES,
    KEPT_STEPS,
    LISTED,
    LIVE_STEPS,
    MARKS,
    TOTAL,
    actions_title,
    asks,
    call,
    child_title,
    cost,
    cost_table,
    count,
    effects_title,
    facts,
    headline,
    held,
    level,
    lists,
    mark_of,
    money,
    plan_title,
    priced,
    saved_said,
    seconds,
    shown,
    told,
    window,
)

__all__ = ["as_html", "as_text", "number_rows", "style_sheet", "typed_as_code"]

COLUMNS = 96
_ABOVE = ' style="border-top:1px solid var(--line)"'
"""Of a total: few cards have one, and the style sheet travels in each."""


# ---------------------------------------------------------------------------------------------------- HTML


def as_html(summary: Summary) -> str:
    """`summary` as a card: its style sheet and one element; no script, no ids, nothing fetched."""
    s = shown(summary)
    body = _record(s) if s.status.ended else _panel(s)
    kind = headline(s)[2]
    # The last two classes keep MathJax from setting what stands between two dollar amounts as a formula.
    card = f'<article class="agentnb {kind} mathjax_ignore tex2jax_ignore">{_header(s)}{body}{_footer(s)}</article>'
    return f"<style>{style_sheet()}</style>{card}"


@cache
def style_sheet() -> str:
    """agentnb.css, without what only people read."""
    css = files("agentnb").joinpath("agentnb.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r" ?([{};,>+]) ?|(?<=:) ", lambda match: match[1] or "", css).strip()


def _text(text: str, most: int = 200) -> str:
    return escape(line(text, most))


def _header(s: Summary) -> str:
    icon, word, _, why = headline(s)
    few = [escape(fact) for fact in facts(s)]
    if not s.now:  # short ones, that wrap as a whole
        few = [fact.replace(" ", "\xa0") for fact in few]
    said = "\xa0· ".join([escape(why)] * bool(why) + few)
    live = ' role="status"' if s.status is Status.IN_PROGRESS else ""
    run = f" <code>{escape(s.run)}</code>" if s.run else ""
    return f"<header><b>{icon} {word}</b> <span{live}>{said}</span>{run}</header>"


def _panel(s: Summary) -> str:
    return _detail(s) + _told(s) + _steps(s, LIVE_STEPS) + _tables(s) + _gauges(s) + _folded_lists(s)


def _record(s: Summary) -> str:
    plan = _fold(plan_title(s), _steps(s, KEPT_STEPS)) if s.steps else ""
    return _detail(s) + _told(s) + _answer(s) + _tables(s) + plan + _folded_lists(s) + _phases(s)


def _detail(s: Summary) -> str:
    return f"<p>{escape(s.detail)}</p>" if s.detail else ""


def _told(s: Summary) -> str:
    """What the records say was not done, or was done since: before the answer, which may say otherwise."""
    rows = "".join(
        f'<dt class="{kind}">{title}</dt>' + "".join(f"<dd>{escape(said)}</dd>" for said in found)
        for title, kind, found in told(s)
    )
    return f'<dl class="told">{rows}</dl>' if rows else ""


def _answer(s: Summary) -> str:
    inner = to_html(s.output)
    rows = f"<dt>Confidence</dt><dd>{escape(s.confidence)}</dd>" if s.confidence else ""
    if s.unknowns:
        rows += "<dt>Not known</dt>" + "".join(f"<dd>{_text(unknown, 400)}</dd>" for unknown in s.unknowns)
    inner += f"<dl>{rows}</dl>" if rows else ""
    return f'<div class="answer" dir="auto">{inner}</div>' if inner else ""


def _steps(s: Summary, most: int) -> str:
    if not s.steps:
        return ""
    before, steps, after = window(s.steps, most)
    rows = [_step(step, inside(s, step.id), dollars=priced(s)) for step in steps]
    rows[:0] = [f'<li class="todo"><b>⋮</b> <span>{before}</span></li>'] if before else []
    rows += [f'<li class="todo"><b>⋮</b> <span>{after}</span></li>'] if after else []
    return f'<ol class="steps">{"".join(rows)}</ol>'


def inside(s: Summary, step: str) -> list[Summary]:
    """The runs of agents that were called in that step."""
    return [child for at, child in s.children if at == step]


def _step(step: StepLine, children: Sequence[Summary], *, dollars: bool) -> str:
    icon, word, kind = MARKS[step.mark]
    note = f" <small>·\xa0{_text(step.note)}</small>" if step.note else ""
    said_of = (_text(step.assumes), _text(step.finding, 400))
    finding = "".join(f"<div>{text}</div>" for text in said_of if text)
    finding += "".join(f"<div>{_fold(child_title(child), _steps(child, LIVE_STEPS))}</div>" for child in children)
    numbers = "".join(f" <span>{escape(cell)}</span>" for cell in _numbers(step, dollars=dollars))
    said = f"{_text(step.title)} <code>{_text(step.call)}</code>{note}"
    marked = "" if kind == "ok" else f' class="{kind}"'
    return f'<li{marked}><b role="img" aria-label="{word}">{icon}</b> <span>{said}</span>{numbers}{finding}</li>'


def _numbers(step: StepLine, *, dollars: bool) -> list[str]:
    spent = [money(step.usd)] if dollars and step.mark != "todo" else []
    return spent if step.seconds is None else [seconds(step.seconds), *spent]


def _gauges(s: Summary) -> str:
    return f'<div class="gauges">{" ".join(map(_gauge, s.gauges))}</div>' if s.gauges else ""


def _gauge(gauge: Gauge) -> str:
    used, both = (
        round(100 * min(1.0, max(0.0, part / gauge.cap))) for part in (gauge.used, gauge.used + gauge.reserved)
    )
    more = f' title="{escape(held(gauge))}" style="--r:{both}%"' if gauge.reserved else ""
    name = GAUGES.get(gauge.limit) or _text(gauge.limit)
    bar = f'<progress max="100" value="{used}"{more}></progress>'
    return f"<label><small>{name}</small> <span>{escape(level(gauge))}</span> {bar}</label>"


def _fold(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _folded_lists(s: Summary) -> str:
    return "".join(
        _fold(title, f"<ul>{''.join(f'<li>{escape(x)}</li>' for x in found)}</ul>") for title, found in lists(s)
    )


def _tables(s: Summary) -> str:
    """What waits for a person's hand, and what a dry run would have done."""
    found = []
    if s.actions:
        rows = [(mark_of(a), call(a), line(a.said, 400)) for a in s.actions]
        found.append((actions_title(s), ("No.", "Call", "What became of it"), rows))
    if s.effects:
        rows = [(line(e.step, 20), call(e), asks(e)) for e in s.effects]
        found.append((effects_title(s), ("Step", "Call", "Asks you because"), rows))
    if s.status is Status.IN_PROGRESS:  # so that the panel keeps its height
        return "".join(_fold(title, _calls("", heads, rows)) for title, heads, rows in found)
    return "".join(f"<div>{_calls(title, heads, rows)}</div>" for title, heads, rows in found)


def _calls(title: str, heads: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> str:
    inner = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><code>{escape(made, quote=False)}</code></td>'
        f"<td>{escape(said)}</td></tr>"
        for name, made, said in rows[:LISTED]
    )
    if len(rows) > LISTED:
        inner += f"<tr><td></td><td>{count(len(rows) - LISTED, 'more call')}</td></tr>"
    return _table(title, heads, inner, ' class="calls"')


def _table(title: str, heads: Sequence[str], rows: str, kind: str = "") -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f"<table{kind}>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _phases(s: Summary) -> str:
    if not s.phases:
        return ""
    heads, found = cost_table(s)
    rows = number_rows(found, total=found[-1][0] == TOTAL)
    said = f"<p>{escape('; '.join(saved_said(s)).capitalize())}</p>" if saved_said(s) else ""
    return _fold(f"Cost: {cost(s)}" if cost(s) else "Cost", _table("", heads, rows, ' class="n"') + said)


def number_rows(rows: Sequence[Sequence[str]], *, total: bool) -> str:
    """Rows of a table of numbers as HTML, escaped; with a line above the last one where it is the total."""
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) for row in rows]
    *made, last = [f'<th scope="row">{escape(row[0])}</th>{of}</tr>' for row, of in zip(rows, cells, strict=True)]
    return "".join([*(f"<tr>{row}" for row in made), f"<tr{_ABOVE}>{last}" if total else f"<tr>{last}"])


def _footer(s: Summary) -> str:
    if not s.next:
        return ""
    lead = "If it is interrupted: " if s.status is Status.IN_PROGRESS else "Next: "
    return f"<footer>{lead}{typed_as_code(s.next)}</footer>"


def typed_as_code(text: str) -> str:
    """`text` as HTML, with what is to be typed in it as code: "look, then %agent resume r7 --done or --not-done"."""
    return re.sub(r"(%\S.*?|--\S+?)(?=,? (?:or|then) |$)", lambda match: f"<code>{match[1]}</code>", escape(text))


# ---------------------------------------------------------------------------------------------------- text


def as_text(summary: Summary) -> str:
    """`summary` as lines of under 100 columns: state and reason, then answer, plan and cost, then what to do next."""
    s = shown(summary)
    icon, word, _, why = headline(s)
    state = f"{icon} {word}" + (f": {why}" if why else "")
    blocks = [_wrap(" · ".join([state, *facts(s), *([s.run] if s.run else [])])), _wrap(s.detail), _told_text(s)]
    blocks += [_answer_text(s), _plan_text(s)] if s.status.ended else [_plan_text(s), _gauges_text(s)]
    blocks += [_actions_text(s), _effects_text(s), *(_block(title, found) for title, found in lists(s))]
    if s.status.ended:
        blocks.append(_phases_text(s))
    lead = "If it is interrupted" if s.status is Status.IN_PROGRESS else "Next"
    blocks.append(_wrap(f"{lead}: {s.next}", "  ") if s.next else "")
    return "\n\n".join(block for block in blocks if block)


def _wrap(text: str, indent: str = "", first: str = "") -> str:
    """`text`, one paragraph, on lines of at most COLUMNS columns, all but the first after `indent`."""
    wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)  # two columns each: be safe
    width = COLUMNS // 2 if wide else COLUMNS
    kept = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(kept) or first.rstrip()


def _answer_text(s: Summary) -> str:
    lines = clean(s.output).strip().split("\n")
    parts = [
        _wrap(text.strip(), lead, lead) for text in lines for lead in [" " * min(16, len(text) - len(text.lstrip()))]
    ]
    answer = re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip("\n")
    known = _wrap(f"Confidence: {s.confidence}", "  ") if s.confidence else ""
    unknown = _block("Not known", [line(text, 400) for text in s.unknowns]) if s.unknowns else ""
    return "\n\n".join(part for part in (answer, "\n".join(filter(None, (known, unknown)))) if part)


def _told_text(s: Summary) -> str:
    found = told(s)
    return "\n".join(_block(t, x) if len(x) > 1 else _wrap(f"{t}: {x[0]}", "  ") for t, _, x in found)


def _block(title: str, found: list[str]) -> str:
    return "\n".join([f"{title}:", *(_wrap(text, "    ", "  - ") for text in found)])


def _actions_text(s: Summary) -> str:
    if not s.actions:
        return ""
    rows = [_wrap(f"{call(a)} · {line(a.said, 400)}", "     ", f"  {mark_of(a)} ") for a in s.actions[:LISTED]]
    return "\n".join([actions_title(s), *rows, *_more(s.actions)])


def _effects_text(s: Summary) -> str:
    if not s.effects:
        return ""
    rows = [f"{line(e.step, 20)} {call(e)}{f' · asks you: {asks(e)}' if e.asks else ''}" for e in s.effects]
    return "\n".join([effects_title(s), *(_wrap(said, "    ", "  ≈ ") for said in rows[:LISTED]), *_more(rows)])


def _more(rows: Sequence[object]) -> list[str]:
    return [f"  ⋮ {count(len(rows) - LISTED, 'more call')}"] if len(rows) > LISTED else []


def _plan_text(s: Summary) -> str:
    rows = list(_rows_text(s, KEPT_STEPS if s.status.ended else LIVE_STEPS))
    return "\n".join([plan_title(s), *rows]) if rows else ""


def _rows_text(s: Summary, most: int, pad: str = "") -> Iterator[str]:
    """The steps, after `pad`, each with the runs of agents that were called in it."""
    if not s.steps:
        return
    before, steps, after = window(s.steps, most)
    if before:
        yield f"{pad}  ⋮ {before}"
    for step in steps:
        yield from _step_text(step, pad, dollars=priced(s))
        for child in inside(s, step.id):
            yield _wrap(child_title(child), f"{pad}      ", f"{pad}    ↳ ")
            yield from _rows_text(child, LIVE_STEPS, f"{pad}    ")
    if after:
        yield f"{pad}  ⋮ {after}"


def _step_text(step: StepLine, pad: str, *, dollars: bool) -> Iterator[str]:
    icon = MARKS[step.mark][0]
    parts = [line(step.title), line(step.call), line(step.note), *_numbers(step, dollars=dollars)]
    yield _wrap(" · ".join(part for part in parts if part), f"{pad}    ", f"{pad}  {icon} ")
    for said in filter(None, (step.assumes, step.finding)):
        yield _wrap(line(said, 400), f"{pad}    ", f"{pad}    ")


def _gauges_text(s: Summary) -> str:
    rows = [(GAUGES.get(gauge.limit, line(gauge.limit)), level(gauge), held(gauge)) for gauge in s.gauges]
    return "\n".join(f"{name}: {of}" + (f" ({more})" if more else "") for name, of, more in rows)


def _phases_text(s: Summary) -> str:
    if not s.phases:
        return ""
    heads, rows = cost_table(s)
    table = aligned([["", *map(str.lower, heads[1:])], *rows])
    title = f"Cost: {cost(s)}" if cost(s) else "Cost"
    said = _wrap("; ".join(saved_said(s)).capitalize(), "  ", "  ")
    return "\n".join([title, *(f"  {row}" for row in table), *filter(None, [said])])
