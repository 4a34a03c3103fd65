"""An audit log as a person sees it: a card with a table, and plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from agentnb.approval import who
from agentnb.compliance import authorised, changed, outcome, read, what, why
from agentnb.deeds import Deed, How, Status
from agentnb.displayed import Displayed
from agentnb.markdown import line
from agentnb.notes import brief_args
from agentnb.plain import Plain
from agentnb.render import COLUMNS, card
from agentnb.technical import moment_text
from agentnb.wording import count, seconds

__all__ = ["SHOWN", "AuditRow", "AuditTable", "compliance_row", "technical_row"]

SHOWN: Final = 60
"""Entries that a table shows; an export has all."""

_IDLE_S: Final = 0.05

_MARKS: Final[Mapping[Status, tuple[str, str, str]]] = {
    Status.OK: ("✓", "done", "ok"),
    Status.EMPTY: ("–", "nothing found", "ok"),
    Status.FAILED: ("✗", "failed", "bad"),
    Status.IN_DOUBT: ("?", "in doubt", "ask"),
    Status.OPEN: ("●", "not ended", "run"),
    Status.WITHDRAWN: ("○", "withdrawn", "rest"),
    Status.SIMULATED: ("≈", "simulated", "rest"),
    Status.REFUSED: ("✗", "stopped", "bad"),
    Status.REJECTED: ("✗", "refused", "ask"),
    Status.EARLIER: ("=", "done earlier", "rest"),
    Status.PROPOSED: ("◇", "proposed", "ask"),
    Status.DROPPED: ("✗", "dropped", "rest"),
}
"""Icon, word, and class in the style sheet."""

_HEADS: Final = {
    "compliance": ("", "Step", "What was done", "What changed", "Who let it", "What came of it"),
    "technical": ("", "Step", "Call", "Key and approval", "Who let it", "What came of it"),
}

_STYLE: Final = (
    ".agentnb.agentnb .audit{width:100%;margin:0;table-layout:auto}"
    ".agentnb.agentnb .audit :is(td,th){padding:6px 14px 6px 0}"
    ".agentnb.agentnb .audit>*>*>:last-child{padding-right:0}.agentnb.agentnb .audit [scope=row]{color:inherit}"
    ".agentnb.agentnb .audit tbody tr{border-top:1px solid var(--line)}.agentnb .audit th{white-space:nowrap}"
    ".agentnb.agentnb .audit small{display:block;color:var(--dim)}"
    ".agentnb .audit b{color:color-mix(in srgb,var(--hue) 70%,currentColor)}.agentnb .wide{overflow-x:auto}"
    ".agentnb .audit td:nth-child(3){min-width:190px}.agentnb .audit td:nth-child(n+4){min-width:110px}"
)
"""What only this card has; the style sheet of all cards travels in every saved output."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry as it is shown.

    Attributes:
        status: what became of it.
        step: whose call it was; after the agent's name, where that was called by another.
        at: when, "15:47:01".
        run: whose it is, where that is not the run around it.
        main: what was done; code in the technical view.
        small: what is said below that.
        cells: the other columns.
        took: how long.
    """

    status: Status
    step: str
    at: str
    run: str
    main: str
    small: tuple[str, ...]
    cells: tuple[str, str, str]
    took: str = ""

    def in_replay(self) -> AuditRow:
        """This one without what another replay has otherwise."""
        return replace(self, at="", took="", run="")


@dataclass(frozen=True, slots=True, repr=False)
class AuditTable(Displayed):
    """A view of an audit log.

    Attributes:
        view: "technical" or "compliance".
        rows: the first entries.
        counts: how many there are, by what became of them.
        run: the run's id, "" where it is not shown.
        head: see `Audit.head`.
    """

    view: str
    rows: Sequence[AuditRow]
    counts: Mapping[Status, int]
    run: str = ""
    head: str = ""

    def as_html(self) -> str:
        """A card; everything in it is escaped."""
        run = f" <code>{escape(self.run)}</code>" if self.run else ""
        header = f"<header><b>Audit log</b> <span>{escape(self._said)}</span>{run}</header>"
        heads = "".join(f'<th scope="col">{name}</th>' for name in self._heads)
        body = "".join(map(self._tr, self.rows))
        table = f'<table class="audit"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        inner = f'<div class="wide">{table}</div>' if self.rows else ""
        notes = "".join(f"<footer>{escape(note)}</footer>" for note in self._notes)
        return card(f"{header}{inner}{notes}", style=_STYLE)

    def as_text(self) -> str:
        """An entry each, of a few lines of under 100 columns."""
        title = f"Audit log{f' of {self.run}' if self.run else ''}: {self._said}"
        heads = _HEADS[self.view][3:]
        return "\n".join([title, *("\n".join(_lines(row, heads)) for row in self.rows), *self._notes])

    @property
    def _keyless(self) -> bool:
        """True of the technical view without keys, as in a replay."""
        return self.view == "technical" and not any(row.cells[0] for row in self.rows)

    @property
    def _heads(self) -> list[str]:
        heads = list(_HEADS[self.view])
        return [*heads[:3], *heads[4:]] if self._keyless else heads

    @property
    def _said(self) -> str:
        many = sum(self.counts.values())
        if not many:
            return "nothing was called"
        parts = [f"{number} {_MARKS[status][1]}" for status, number in self.counts.items()]
        return f"{count(many, 'call')}: {', '.join(parts)}" if len(parts) > 1 or many > 1 else f"1 call, {parts[0][2:]}"

    @property
    def _notes(self) -> list[str]:
        more = sum(self.counts.values()) - len(self.rows)
        all_of_them = f"and {count(more, 'more call')}: `%agent audit {self.run or 'RUN'} --export FILE` writes all"
        head = f"Its head is {self.head}: keep a copy where nobody can change it" if self.head else ""
        return list(filter(None, [all_of_them if more > 0 else "", head]))

    def _tr(self, row: AuditRow) -> str:
        icon, word, kind = _MARKS[row.status]
        main = escape(line(row.main, 400))
        main = f"<code>{main}</code>" if self.view == "technical" else main
        small = "".join(f"<small>{escape(line(text, 300))}</small>" for text in row.small if text)
        where = "".join(f"<small>{escape(text)}</small>" for text in (row.run, row.at) if text)
        cells = "".join(f"<td>{escape(line(text, 400))}</td>" for text in row.cells[int(self._keyless) : 2])
        took = f"<small>{escape(row.took)}</small>" if row.took else ""
        return (
            f'<tr class="{kind}"><td><b role="img" aria-label="{word}">{icon}</b></td>'
            f'<th scope="row">{escape(line(row.step, 40))}{where}</th><td>{main}{small}</td>{cells}'
            f"<td>{escape(line(row.cells[2], 400))}{took}</td></tr>"
        )


def _lines(row: AuditRow, heads: Sequence[str]) -> list[str]:
    first = " · ".join(filter(None, [line(row.step, 40), row.run, row.at, line(row.main, 400)]))
    rest = [line(text, 300) for text in row.small if text]
    rest += [f"{head}: {line(text, 400)}" for head, text in zip(heads, row.cells, strict=True) if text]
    return [
        _wrapped(first, f"  {_MARKS[row.status][0]} ", "    "),
        *(_wrapped(text, "      ", "        ") for text in rest),
    ]


def _wrapped(text: str, first: str, then: str) -> str:
    return "\n".join(textwrap.wrap(text, COLUMNS, initial_indent=first, subsequent_indent=then, break_on_hyphens=False))


def compliance_row(p: Plain) -> AuditRow:
    """An entry of the compliance view."""
    said = what(p)
    main, more = (p.described, said) if p.described else (said, "")
    at = moment_text(p.at)[11:19]
    took = _took(p.seconds)
    cells = (changed(p), authorised(p), outcome(p))
    run = p.run if p.parent else ""
    of_the_plan = why(p).removeprefix(f"Step {p.step} of ")  # it stands beside it
    rests = f"{of_the_plan[:1].upper()}{of_the_plan[1:]}. Rests on: {read(p)[:1].lower()}{read(p)[1:]}"
    return AuditRow(p.status, p.step, at, run, main, (more, rests), cells, took)


def _took(value: float | None) -> str:
    """How long it took, where that is worth telling."""
    return "" if value is None or value < _IDLE_S else seconds(value)


def technical_row(deed: Deed, *, bare: bool = False) -> AuditRow:
    """An entry of the technical view; `bare` without keys, which hold ids."""
    at = moment_text(deed.at)[11:19]
    tries = f"{count(len(deed.tries), 'try').replace('trys', 'tries')}" if deed.tries else ""
    failed = f"{deed.failure}: {deed.message}" if deed.failure else deed.message
    gave = "" if deed.result is None else deed.result.text or f"{deed.result.size:,} characters, {deed.result.blob}"
    took = _took(next((one.seconds for one in reversed(deed.tries) if one.seconds is not None), None))
    leave = deed.leave
    by = who(leave.by) if bare else leave.by
    let = f"{leave.how}{f' by {by}' if leave.by else ''}{f': {leave.reason}' if leave.reason else ''}"
    bound = f"approved as {deed.binding[:16]}…" if deed.binding else ""
    small = (deed.title, deed.described, f"records {', '.join(map(str, deed.records))}")
    cells = (
        "" if bare else " · ".join(filter(None, [deed.key, bound])),
        "" if leave.how is How.NONE else let,
        " · ".join(filter(None, [str(deed.status), tries, failed or gave])),
    )
    call = f"{deed.tool}({brief_args(deed.args) if deed.args else ''})"
    return AuditRow(deed.status, deed.step, at, deed.run if deed.parent else "", call, small, cells, took)
