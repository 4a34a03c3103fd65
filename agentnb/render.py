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

from agentnb.bill import TOTAL, cost_table, cost_title, said_below
from agentnb.listing import aligned
from agentnb.markdown import clean, line, to_html
from agentnb.outline import KEPT_STEPS, is_cut, parts, plan_title
from agentnb.state import Status
from agentnb.steps import LIVE_STEPS, StepLine
from agentnb.summary import Gauge, Summary
from agentnb.wording import (
    GAUGES,
    LISTED,
    MARKS,
    actions_title,
    asks,
    call,
    child_title,
    count,
    effects_title,
    facts,
    headline,
    held,
    left,
    level,
    lists,
    mark_of,
    money,
    priced,
    seconds,
    shown,
    told,
)

__all__ = ["as_html", "as_text", "card", "number_rows", "style_sheet", "typed_as_code"]

COLUMNS = 96
_FEW = 8
"""Runs inside a run whose steps are shown."""
_LENGTHS = {False: (200, 400), True: (80, 120)}
"""Characters at most of a step's texts, and of its finding; of a plan that is shown in part they are shorter."""
_ABOVE = ' style="border-top:1px solid var(--line)"'
"""Of a total: few cards have one, and the style sheet travels in each."""


# ---------------------------------------------------------------------------------------------------- HTML


def as_html(summary: Summary, *, every: bool = False) -> str:
    """`summary` as a card: its style sheet and one element; no script, no ids, nothing fetched.

    Args:
        summary: what there is to show.
        every: True shows each step of a long plan, whatever that comes to.
    """
    s = shown(summary)
    body = _record(s, every=every) if s.status.ended else _panel(s, every=every)
    style = "" if s.status.ended else style_sheet("panel")
    return card(f"{_header(s)}{body}{_footer(s)}", kind=headline(s)[2], style=style, label="Agent run")


def card(inner: str, *, kind: str = "", style: str = "", label: str = "") -> str:
    """`inner` as a card: one element with its style sheet, which travels in every saved output.

    Args:
        inner: its HTML, escaped.
        kind: the class that colours it, "ok", "ask" and so on; "" for none.
        style: what only this card has besides the style sheet of all.
        label: what a screen reader calls it; "" for nothing.
    """
    # The last two classes keep MathJax from setting what stands between two dollar amounts as a formula.
    kinds = " ".join(filter(None, ("agentnb", kind, "mathjax_ignore tex2jax_ignore")))
    named = f' aria-label="{label}"' if label else ""
    return f'<style>{style_sheet()}{style}</style><article class="{kinds}"{named}>{inner}</article>'


@cache
def style_sheet(name: str = "agentnb") -> str:
    """The style sheet of this name, without what only people read: of all cards, or what a "panel" has besides."""
    css = files("agentnb").joinpath(f"{name}.css").read_text(encoding="utf-8")
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


def _panel(s: Summary, *, every: bool) -> str:
    return _detail(s) + _told(s) + _steps(s, _most(s, LIVE_STEPS, every=every)) + _tables(s) + _gauges(s) + _folds(s)


def _record(s: Summary, *, every: bool) -> str:
    most = _most(s, KEPT_STEPS, every=every)
    way = f"<p>{typed_as_code(_all_steps(s))}</p>" if is_cut(s, most) else ""
    plan = _fold(plan_title(s), _steps(s, most) + way) if s.steps else ""
    return _detail(s) + _told(s) + _answer(s) + _tables(s) + plan + _folds(s) + _phases(s)


def _most(s: Summary, most: int, *, every: bool) -> int:
    return len(s.steps) if every else most


def _all_steps(s: Summary) -> str:
    """How to see those that are left out, to be typed."""
    return f"Every step: {s.show} --all" if s.show else ""


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
    """The plan as a list. Where steps are left out the next one has its number, for pages that show no style."""
    if not s.steps:
        return ""
    brief, rows, gap = is_cut(s, most), [], False
    for part in parts(s, most):
        if isinstance(part, str):
            rows.append(f'<li class="todo"><b aria-hidden="true">⋮</b> <span>{part}</span></li>')
        else:
            rows.append(_step(s, part, brief=brief, number=gap))
        gap = isinstance(part, str)
    return f'<ol class="steps" role="list">{"".join(rows)}</ol>'


def inside(s: Summary, step: str) -> list[Summary]:
    """The runs of agents that were called in that step."""
    return [child for at, child in s.children if at == step]


def _step(s: Summary, step: StepLine, *, brief: bool, number: bool) -> str:
    icon, word, kind = MARKS[step.mark]
    most, longest = _LENGTHS[brief]
    note = f" <small>·\xa0{_text(step.note, most)}</small>" if step.note else ""
    below = [_text(step.assumes, most), _text(step.finding, longest), _inside_now(s, step)]
    below = [f"<div>{text}</div>" for text in below if text]
    below += [_child(s, child) for child in inside(s, step.id)]
    said = f"{_text(step.title, most)} <code>{_text(step.call, most)}</code>{note}"
    numbers = "".join(f" <span>{escape(cell)}</span>" for cell in _numbers(step, dollars=priced(s)))
    kinds = f' class="{kind}"' if kind != "ok" else ""
    kinds += f' value="{step.id[1:]}"' if number and step.id[1:].isdecimal() else ""
    return f'<li{kinds}><b role="img" aria-label="{word}">{icon}</b> <span>{said}</span>{numbers}{"".join(below)}</li>'


def _child(s: Summary, child: Summary) -> str:
    """A run inside this one: of few the steps too, of many one line each."""
    title = child_title(child)
    return _fold(title, _steps(child, LIVE_STEPS)) if len(s.children) <= _FEW else f"<div>{escape(title)}</div>"


def _inside_now(s: Summary, step: StepLine) -> str:
    """What the run inside this step is doing."""
    return f"↳\xa0{escape(s.inside)}" if s.inside and step.mark in ("running", "waiting") else ""


def _numbers(step: StepLine, *, dollars: bool) -> list[str]:
    spent = [money(step.usd)] if dollars and step.mark != "todo" else []
    return spent if step.seconds is None else [seconds(step.seconds), *spent]


def _gauges(s: Summary) -> str:
    return f'<ul class="gauges">{"".join(map(_gauge, s.gauges))}</ul>' if s.gauges else ""


def _gauge(gauge: Gauge) -> str:
    used, both = (
        round(100 * min(1.0, max(0.0, part / gauge.cap))) for part in (gauge.used, gauge.used + gauge.reserved)
    )
    more = f' style="--r:{both}%"' if gauge.reserved else ""
    name = GAUGES.get(gauge.limit) or _text(gauge.limit)
    bar = f'<progress max="100" value="{used}"{more}></progress>'
    rest = f"<small>{escape(', '.join(filter(None, (held(gauge), left(gauge)))))}</small>"
    return f"<li><label><small>{name}</small> <span>{escape(level(gauge))}</span> {bar} {rest}</label></li>"


def _fold(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _folds(s: Summary) -> str:
    return "".join(
        _fold(
            f"{title}: {line(found[0], 80)}" if len(found) == 1 and found[0] else title,
            f"<ul>{''.join(f'<li>{escape(x)}</li>' for x in found)}</ul>",
        )
        for title, found in lists(s)
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
    said = "".join(f"<p>{escape(more)}</p>" for more in said_below(s))
    return _fold(cost_title(s), _table("", heads, rows, ' class="n"') + said)


def number_rows(rows: Sequence[Sequence[str]], *, total: bool) -> str:
    """Rows of a table of numbers as HTML, escaped; with a line above the last one where it is the total."""
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) for row in rows]
    *made, last = [f'<th scope="row">{escape(row[0])}</th>{of}</tr>' for row, of in zip(rows, cells, strict=True)]
    return "".join([*(f"<tr>{row}" for row in made), f"<tr{_ABOVE}>{last}" if total else f"<tr>{last}"])


def _footer(s: Summary) -> str:
    return f"<footer>{typed_as_code(_way_on(s))}</footer>" if _way_on(s) else ""


def _way_on(s: Summary) -> str:
    """What to type next, or to look closer; "" where there is nothing."""
    if not s.next:
        return f"Look closer: {s.closer}" if s.closer and s.status.ended else ""
    return f"{'If it is interrupted' if s.status is Status.IN_PROGRESS else 'Next'}: {s.next}"


def typed_as_code(text: str) -> str:
    """`text` as HTML, with what is to be typed in it as code: "look, then %agent resume r7 --done or --not-done"."""
    return re.sub(r"(%\S.*?|--\S+?)(?=,? (?:or|then) |$)", lambda match: f"<code>{match[1]}</code>", escape(text))


# ---------------------------------------------------------------------------------------------------- text


def as_text(summary: Summary, *, every: bool = False) -> str:
    """`summary` as lines of under 100 columns: state and reason, then answer, plan and cost, then what to do next.

    Args:
        summary: what there is to show.
        every: see `as_html`.
    """
    s = shown(summary)
    plan = _plan_text(s, _most(s, KEPT_STEPS if s.status.ended else LIVE_STEPS, every=every))
    icon, word, _, why = headline(s)
    state = f"{icon} {word}" + (f": {why}" if why else "")
    blocks = [_wrap(" · ".join([state, *facts(s), *([s.run] if s.run else [])])), _wrap(s.detail), _told_text(s)]
    blocks += [_answer_text(s), plan] if s.status.ended else [plan, _gauges_text(s)]
    blocks += [_actions_text(s), _effects_text(s), *(_block(title, found) for title, found in lists(s))]
    if s.status.ended:
        blocks.append(_phases_text(s))
    blocks.append(_wrap(_way_on(s), "  ") if _way_on(s) else "")
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


def _plan_text(s: Summary, most: int) -> str:
    rows = list(_rows_text(s, most))
    if is_cut(s, most) and s.status.ended and _all_steps(s):
        rows.append(_wrap(_all_steps(s), "  ", "  "))
    return "\n".join([plan_title(s), *rows]) if rows else ""


def _rows_text(s: Summary, most: int, pad: str = "") -> Iterator[str]:
    """The steps, after `pad`, each with the runs of agents that were called in it."""
    if not s.steps:
        return
    brief = is_cut(s, most)
    for part in parts(s, most):
        if isinstance(part, str):
            yield f"{pad}  ⋮ {part}"
            continue
        yield from _step_text(s, part, pad, brief=brief)
        for child in inside(s, part.id):
            yield _wrap(child_title(child), f"{pad}      ", f"{pad}    ↳ ")
            if len(s.children) <= _FEW:
                yield from _rows_text(child, LIVE_STEPS, f"{pad}    ")


def _step_text(s: Summary, step: StepLine, pad: str, *, brief: bool) -> Iterator[str]:
    icon, (most, longest) = MARKS[step.mark][0], _LENGTHS[brief]
    said = [line(text, most) for text in (step.title, step.call, step.note)]
    whole = " · ".join(filter(None, (*said, *_numbers(step, dollars=priced(s)))))
    yield _wrap(whole, f"{pad}    ", f"{pad}  {icon} ")
    for text in filter(None, (line(step.assumes, most), line(step.finding, longest))):
        yield _wrap(text, f"{pad}    ", f"{pad}    ")
    if now := _inside_now(s, step):
        yield _wrap(now, f"{pad}      ", f"{pad}    ")


def _gauges_text(s: Summary) -> str:
    rows = [(GAUGES.get(gauge.limit, line(gauge.limit)), level(gauge), held(gauge), left(gauge)) for gauge in s.gauges]
    return "\n".join(f"{name}: {of} ({', '.join(filter(None, more))})" for name, of, *more in rows)


def _phases_text(s: Summary) -> str:
    if not s.phases:
        return ""
    heads, rows = cost_table(s)
    table = aligned([["", *map(str.lower, heads[1:])], *rows])
    said = [_wrap(more, "  ", "  ") for more in said_below(s)]
    return "\n".join([_wrap(cost_title(s), "  "), *(f"  {row}" for row in table), *said])
