"""How runs go, as one picture of small panels: how they ended, what waits, what went wrong, how long, how dear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentnb.listing import aligned
from agentnb.markdown import line
from agentnb.metrics import CallMetrics, Metrics
from agentnb.palette import Ink
from agentnb.picture import Axis, Bars, Layer, Marks, Panel, Picture
from agentnb.scale import unit_of
from agentnb.wording import count, money, number, seconds

__all__ = ["dashboard"]

_ROWS: Final = 9
"""Of one panel; what is more is told in its title."""
_ROW: Final = 24.0
_LABELS: Final = 104.0
"""Pixels for the words at the right end."""
_NAME: Final = 18
_FIELD: Final = 190.0
"""Pixels of a field, about."""
_LETTER: Final = 6.5
_FULL: Final = 100.0
_ROOM: Final = 1.05


@dataclass(frozen=True, slots=True)
class _Look:
    name: str
    ink: Ink
    hatch: str = ""


_OK: Final = _Look("went well", "green")
_FAILED: Final = _Look("failed", "red", "/")
_TIMEOUT: Final = _Look("slow", "orange", "/")
_LIMIT: Final = _Look("limit", "purple", "/")
_REFUSED: Final = _Look("refused", "grey", "/")
_OPEN: Final = _Look("open", "teal")
_WRONG: Final = (_FAILED, _TIMEOUT, _LIMIT, _REFUSED, _OPEN)
_AGE: Final = _Look("age", "purple")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a panel: parts of a bar, one after the other, and words behind it."""

    name: str
    parts: Sequence[tuple[_Look, float]]
    words: str
    hover: str


def dashboard(metrics: Metrics, *, bare: bool = False) -> Picture:
    """The dashboard of some runs.

    Args:
        metrics: of the runs.
        bare: True shows neither ids nor times, which one replay has otherwise than the next.
    """
    m = _without_times(metrics) if bare else metrics
    times = (_latency("Time of model calls", m.phases), _latency("Time of tool calls", m.tools))
    rows = (
        (_ended(m), _waiting(m)),
        (_wrong("Model calls that went wrong", m.phases), _wrong("Tool calls that went wrong", m.tools)),
        *(() if bare else (times,)),
        (_costs(m), _rates(m)),
    )
    return Picture(title="How runs go", said=_said(m), rows=rows, text=_table(m))


def _without_times(m: Metrics) -> Metrics:
    """The same, with no id and no time."""

    def still(calls: Mapping[str, CallMetrics]) -> dict[str, CallMetrics]:
        return {name: replace(one, p50_seconds=None, p95_seconds=None) for name, one in calls.items()}

    waiting = tuple(replace(one, run="", since=0.0, age_s=0.0) for one in m.waiting)
    return replace(m, phases=still(m.phases), tools=still(m.tools), waiting=waiting, p50_seconds=None, p95_seconds=None)


def _ends(m: Metrics) -> list[tuple[_Look, str, int]]:
    """How many runs came to what; each run counts once, but that a cap on time is one of the caps."""
    others = {
        name: many for name, many in m.statuses.items() if name not in ("completed", "failed", "stopped") and many
    }
    stopped = m.statuses.get("stopped", 0)
    found = [
        (_OK, "completed", m.completed),
        (_FAILED, "failed", m.failed),
        (_LIMIT, "stopped by a cap", m.limited),
        (_TIMEOUT, "… by one on time", m.timeouts),
        (_REFUSED, "stopped otherwise", max(0, stopped - m.limited)),
        *((_OPEN, name.replace("_", " "), many) for name, many in others.items()),
    ]
    return [(look, name, many) for look, name, many in found if many]


def _ended(m: Metrics) -> Panel:
    rows = [
        _Row(name, [(look, many)], f"{number(many)} · {_percent(many / m.runs)}", f"{name}\n{count(many, 'run')}")
        for look, name, many in _ends(m)
    ]
    return _panel("How runs ended", rows, "runs")


def _waiting(m: Metrics) -> Panel:
    """What waits for a person, and for how long."""
    oldest = m.oldest_wait_s
    title = f"Waiting for a person: {number(m.queue_depth) if m.queue_depth else 'nothing'}"
    length, unit = unit_of(oldest or 0.0)
    rows = [
        _Row(
            line(one.what, _NAME),
            [(_AGE, one.age_s / length)],
            seconds(one.age_s) if oldest else "",
            "\n".join(filter(None, (one.what, one.run, f"for {seconds(one.age_s)}" if oldest else ""))),
        )
        for one in m.waiting
    ]
    return _panel(title, rows, unit if oldest else "")


def _wrong(title: str, calls: Mapping[str, CallMetrics]) -> Panel:
    """Of the calls of each kind, in percent, those that went wrong, by how."""
    found = [(name, one) for name, one in _most(calls) if one.calls]
    rows = [_Row(line(name, _NAME), _parts(one), _well(one), _told(name, one)) for name, one in found]
    return _panel(title, rows, "percent of the calls", suffix=" %", key=True)


def _parts(one: CallMetrics) -> list[tuple[_Look, float]]:
    found = (
        (_FAILED, one.failed - one.timeouts),
        (_TIMEOUT, one.timeouts),
        (_LIMIT, one.limits),
        (_REFUSED, one.refused),
        (_OPEN, one.open),
    )
    return [(look, _FULL * many / one.calls) for look, many in found if many > 0]


def _well(one: CallMetrics) -> str:
    return f"{_percent(one.ok / one.calls)} well"


def _told(name: str, one: CallMetrics) -> str:
    """A kind of call in a few lines."""
    many = {
        "went well": one.ok, "failed": one.failed, "of these too slow": one.timeouts,
        "held back by a limit": one.limits, "refused": one.refused, "open": one.open, "made again": one.retries,
    }  # fmt: skip
    said = (f"{number(n)} {what}" for what, n in many.items() if n)
    return "\n".join((name, count(one.calls, "call"), *said))


def _latency(title: str, calls: Mapping[str, CallMetrics]) -> Panel:
    """From the middle of what calls took to what 95 of 100 took at most."""
    found = [(name, one.p50_seconds, one.p95_seconds) for name, one in _most(calls)]
    known = [(name, half, most) for name, half, most in found if half is not None and most is not None]
    length, unit = unit_of(max((most for _, _, most in known), default=0.0))
    places = [float(n) for n in range(len(known))]
    hover = [f"{name}\n{seconds(half)} half of them\n{seconds(most)} 95 of 100" for name, half, most in known]
    halves, mosts = [half / length for _, half, _ in known], [most / length for _, _, most in known]
    words = [f"{seconds(half)} · {seconds(most)}" for _, half, most in known]
    high = max(mosts, default=1.0) or 1.0
    layers: list[Layer] = [
        Bars(name="from half to 95 of 100", ink="grey", left=halves, right=mosts, row=places, height=0.14),
        Marks(name="half", ink="blue", x=halves, y=places, sign="circle", hover=hover),
        Marks(name="95 of 100", ink="orange", x=mosts, y=places, sign="diamond", hover=hover),
        Marks(name="in words", ink="text", x=[high * _ROOM] * len(known), y=places, sign="", words=words),
    ]
    names = [line(name, _NAME) for name, _, _ in known]
    said = f"{title}: ● p50 · ◆ p95" if known else f"{title}: none yet"
    return _framed(said, names, layers, _axis(high * _ROOM, unit if known else ""))


def _costs(m: Metrics) -> Panel:
    """What one run of each kind of task costs, and what it cost before."""
    kinds = sorted(m.task_types.items(), key=lambda item: -item[1].usd)
    found = [(name, one) for name, one in kinds if one.mean_usd is not None][:_ROWS]
    now = [one.mean_usd or 0.0 for _, one in found]
    before = [(float(n), one.before_mean_usd) for n, (_, one) in enumerate(found) if one.before_mean_usd is not None]
    high = max([*now, *(usd for _, usd in before)], default=0.0) or 1.0
    hover = [
        f"{name or 'no task_type'}\n{count(one.runs, 'run')}, {money(one.usd)} in all\n95 of 100 at most"
        f" {money(one.p95_usd or 0.0)}"
        for name, one in found
    ]
    words = [f"{money(one.mean_usd or 0.0)}{_drift(one.drift)}" for _, one in found]
    places = [float(n) for n in range(len(found))]
    layers: list[Layer] = [
        Bars(name="now", ink="blue", left=[0.0] * len(found), right=now, row=places, hover=hover),
        Marks(name="before", ink="text", x=[usd for _, usd in before], y=[n for n, _ in before], sign="tick"),
        Marks(name="in words", ink="text", x=[high * _ROOM] * len(found), y=places, sign="", words=words),
    ]
    title = "Dollars a run by task type" + (" · ❘ before" if before else "")
    names = [line(name, _NAME) or "(no task_type)" for name, _ in found]
    return _framed(title, names, layers, _axis(high * _ROOM, "dollars a run" if found else ""))


def _drift(drift: float | None) -> str:
    return "" if drift is None else f" {'+' if drift >= 0 else '−'}{abs(drift):.0%}".replace("%", " %")


def _shares(m: Metrics) -> list[tuple[str, float, _Look]]:
    """How often people are needed, calls are made again, replies cannot be used, and caches answer."""
    worst = sorted(m.models.items(), key=lambda item: -(item[1].malformed_rate or 0.0))
    found: list[tuple[str, float | None, _Look]] = [
        ("a person asked", m.intervention_rate, _Look("people", "purple")),
        ("calls made again", m.retry_rate, _Look("retries", "orange")),
        ("replies unusable", m.malformed_rate, _FAILED),
        *[(f"… of {_short(name)}", one.malformed_rate, _FAILED) for name, one in worst if one.malformed][:3],
        ("prompt cache", m.cache_hit_rate, _Look("cache", "green")),
        ("provider's cache", m.provider_cache_rate, _Look("cache", "green")),
    ]
    return [(name, rate, look) for name, rate, look in found if rate is not None]


def _rates(m: Metrics) -> Panel:
    rows = [
        _Row(line(name, _NAME), [(look, rate * _FULL)], _percent(rate), f"{name}\n{_percent(rate)}")
        for name, rate, look in _shares(m)
    ]
    return _panel("How often", rows, "percent", suffix=" %")


def _short(model: str) -> str:
    """A model's name without its provider."""
    return model.partition(":")[2] or model


# --- panels -----------------------------------------------------------------------------------------------------------


def _most(calls: Mapping[str, CallMetrics]) -> list[tuple[str, CallMetrics]]:
    """Those that were called most, in the order in which they come."""
    most = sorted(calls, key=lambda name: -calls[name].calls)[:_ROWS]
    return [(name, one) for name, one in calls.items() if name in most]


def _panel(title: str, rows: Sequence[_Row], unit: str, *, suffix: str = "", key: bool = False) -> Panel:
    """Bars of parts, one below the other, each with its words behind it; a key of the parts above them."""
    rows = rows[:_ROWS]
    high = (max((sum(value for _, value in row.parts) for row in rows), default=0.0) or 1.0) * _ROOM
    bars: dict[_Look, list[tuple[float, float, float, str]]] = {}
    for place, row in enumerate(rows):
        left = 0.0
        for look, value in row.parts:
            bars.setdefault(look, []).append((left, left + value, float(place), row.hover))
            left += value
    layers: list[Layer] = [_bars(look, parts) for look, parts in bars.items()]
    places = [float(place) for place in range(len(rows))]
    words = [row.words for row in rows]
    layers.append(Marks(name="in words", ink="text", x=[high] * len(rows), y=places, sign="", words=words))
    lines = _key([look for look in _WRONG if look in bars] if key else [], high)
    said = title if rows else f"{title}: none yet" if ":" not in title else title
    names = [row.name for row in rows]
    x = _axis(high, unit if rows else "", suffix)
    return _framed(said, names, [*layers, *(mark for one in lines for mark in one)], x, len(lines))


def _key(looks: Sequence[_Look], high: float) -> list[list[Marks]]:
    """What the parts of the bars are, in as many lines above them as it takes, the lowest first."""
    lines: list[list[Marks]] = []
    at = _FIELD
    for look in looks:
        long = _LETTER * len(look.name) + 24
        if at + long > _FIELD + 40:  # the last words may reach into the room behind the bars
            lines.append([])
            at = 4.0
        y = [-float(len(lines))]
        lines[-1].append(Marks(name="key", ink=look.ink, x=[high * at / _FIELD], y=y, sign="square", words=[look.name]))
        at += long
    return lines


def _bars(look: _Look, parts: Iterable[tuple[float, float, float, str]]) -> Bars:
    left, right, row, hover = zip(*parts, strict=True)
    return Bars(name=look.name, ink=look.ink, hatch=look.hatch, left=left, right=right, row=row, hover=hover)


def _axis(high: float, unit: str, suffix: str = "") -> Axis:
    """The x axis from 0 on; one without a unit has no numbers."""
    return Axis(low=0.0, high=high, title=unit, suffix=suffix, ticks=None if unit else ())


def _framed(title: str, names: Sequence[str], layers: Sequence[Layer], x: Axis, above: int = 0) -> Panel:
    """A panel with a row for each name, and so many above them for a key."""
    rows = max(len(names), 2)
    first = -0.6 - above
    y = Axis(low=first, high=rows - 0.4, down=True, grid=False, ticks=tuple(enumerate(names)))
    height = _ROW * (rows - 0.4 - first)
    return Panel(x=x, y=y, layers=tuple(layers), title=title, height=height, right=_LABELS)


def _percent(part: float) -> str:
    """A share in percent; one that is not quite all or nothing is never rounded to that."""
    value = part * _FULL
    return f"{value:.1f} %" if 0 < value < 10 or 99 < value < _FULL else f"{value:.0f} %"  # noqa: PLR2004 - digits


# --- words ------------------------------------------------------------------------------------------------------------


def _said(m: Metrics) -> str:
    """All of it in one line."""
    if not m.runs:
        return "no runs"
    parts = (
        count(m.runs, "run"),
        f"{_percent(m.success_rate)} of those that ended completed" if m.success_rate is not None else "",
        f"half took at most {seconds(m.p50_seconds)}, 95 of 100 {seconds(m.p95_seconds)}"
        if m.p50_seconds is not None and m.p95_seconds is not None
        else "",
        f"{money(m.usd)} in all" if m.usd else count(m.tokens, "token"),
    )
    return " · ".join(filter(None, parts))


def _table(m: Metrics) -> str:
    """The numbers of all panels."""
    ends = [[name, number(many), _percent(many / m.runs)] for _, name, many in _ends(m)]
    waiting = [[line(one.what, 28), seconds(one.age_s) if m.oldest_wait_s else ""] for one in m.waiting[:_ROWS]]
    calls = [
        [line(name, 28), *map(number, (one.calls, one.failed, one.timeouts, one.limits, one.refused, one.open,
         one.retries)), _time(one.p50_seconds), _time(one.p95_seconds)]
        for name, one in (*m.phases.items(), *_most(m.tools))
    ]  # fmt: skip
    heads = ["calls", "all", "failed", "slow", "limits", "refused", "open", "again", "p50", "p95"]
    shares = [[line(name, 28), _percent(rate)] for name, rate, _ in _shares(m)]
    costs = [
        [line(name, 28) or "(no task_type)", number(one.runs), money(one.mean_usd or 0.0), _drift(one.drift).strip()]
        for name, one in m.task_types.items()
    ]
    tables = (
        [["runs", "how many", "of all"], *ends] if ends else [],
        [[f"waiting: {number(m.queue_depth)}", "for"], *waiting] if waiting else [],
        [["how often", "of them"], *shares] if shares else [],
        [heads, *calls] if calls else [],
        [["task type", "runs", "dollars a run", "drift"], *costs] if costs else [],
    )
    return "\n\n".join("\n".join(aligned(table)) for table in tables if table)


def _time(value: float | None) -> str:
    return "" if value is None else seconds(value)
