"""From what people type to a time: "tuesday", "yesterday 15:47", "3 days ago", "2h", "2026-11-24", "15:47"."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final

from agentnb.errors import ConfigError

__all__ = ["When", "length", "moment", "stretch"]

When = datetime | date | timedelta | str
"""A time, a day, how long ago, or any of these in words."""

_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS: Final = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
}  # fmt: skip
_AGO: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?|an?|one) ?([a-z]+?)s?( ago)?")
_CLOCK: Final = re.compile(r"(?:at )?(\d{1,2})(?::(\d\d)(?::(\d\d))?)? ?(am|pm)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_NOON: Final = 12


def stretch(of: When, now: float, zone: tzinfo | None = None) -> tuple[float, float]:
    """From when to when `of` lasts, in seconds since 1970: a day its 24 hours, a minute its 60 seconds, "2h" no time.

    A day of the week is the last one, today included; a time of the day that is still to come is yesterday's. What has
    no zone is taken as local time.

    Args:
        of: a time; in words a date ("2026-11-24", with a time or without), a day ("tuesday", "today", "yesterday",
            with a time or without), a time of the day ("15:47", "3:47 pm") or how long ago ("30m", "2h", "7d", "3 days
            ago").
        now: seconds since 1970.
        zone: the local time zone; the machine's if left out.

    Raises:
        ConfigError: it is none of these; says what is.
    """
    if isinstance(of, timedelta):
        return now - of.total_seconds(), now - of.total_seconds()
    if isinstance(of, datetime):
        at = (of if of.tzinfo or zone is None else of.replace(tzinfo=zone)).timestamp()
        return at, at
    if isinstance(of, date):
        return _day(of, zone)
    try:
        text = " ".join(of.lower().split()) if isinstance(of, str) else ""  # of a number nobody knows what it counts
        found = _in_words(text, datetime.fromtimestamp(now, zone))
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        raise ConfigError(
            f"{of!r} is no time: give a date like 2026-11-24, a day like tuesday or yesterday, either with a time like"
            " 15:47, or how long ago, like 30m, 2h or 7d"
        )
    return found


def moment(of: When, now: float, zone: tzinfo | None = None) -> float:
    """When `of` begins, see `stretch`.

    >>> moment("1970-01-02T00:00+00:00", 0)
    86400.0
    >>> moment("2h", 10_000)
    2800.0
    """
    return stretch(of, now, zone)[0]


def length(text: str) -> float:
    """How many seconds `text` lasts: "30m", "12h", "7d", "2 weeks".

    Raises:
        ConfigError: it is no length of time.
    """
    found = _AGO.fullmatch(" ".join(text.lower().split()))
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None or found[3] or not found[1][0].isdigit() or not float(found[1]):
        raise ConfigError(f"{text!r} is no length of time: give e.g. 30m, 12h or 7d")
    return float(found[1]) * unit


def _in_words(text: str, now: datetime) -> tuple[float, float] | None:
    if text == "now":
        return now.timestamp(), now.timestamp()
    if ago := _AGO.fullmatch(text):
        unit = _UNITS.get(ago[2])
        if unit is not None:
            many = float(ago[1]) if ago[1][0].isdigit() else 1.0
            then = now.timestamp() - many * unit
            return then, then
    if (named := _named(text, now)) is not None:
        return named
    if not _DATE.match(text):
        return None
    at = datetime.fromisoformat(text.upper())
    at = at if at.tzinfo or now.tzinfo is None else at.replace(tzinfo=now.tzinfo)
    exact = bool(at.second or at.microsecond)
    return at.timestamp(), at.timestamp() + (0 if exact else 60)


def _named(text: str, now: datetime) -> tuple[float, float] | None:
    """A day by its name, a time of the day, or both."""
    first, _, rest = text.partition(" ")
    day = _day_named(first, now.date())
    if day is None:
        clock = _clock(text)
        if clock is None:
            return None
        at = datetime.combine(now.date(), clock[0], now.tzinfo)
        at -= timedelta(days=at > now)
        return at.timestamp(), at.timestamp() + clock[1]
    if not rest:
        return _day(day, now.tzinfo)
    clock = _clock(rest)
    if clock is None:
        return None
    at = datetime.combine(day, clock[0], now.tzinfo)
    return at.timestamp(), at.timestamp() + clock[1]


def _day_named(word: str, today: date) -> date | None:
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    if _DATE.fullmatch(word):
        return date.fromisoformat(word)
    found = [place for place, name in enumerate(_DAYS) if len(word) > 2 and name.startswith(word)]  # noqa: PLR2004 - "tue"
    return today - timedelta(days=(today.weekday() - found[0]) % 7) if found else None


def _clock(text: str) -> tuple[time, float] | None:
    """A time of the day, and how many seconds it lasts; "15" alone is none."""
    found = _CLOCK.fullmatch(text)
    if found is None or not (found[2] or found[4]):
        return None
    hour = int(found[1])
    if found[4]:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + (_NOON if found[4] == "pm" else 0)
    lasts = 1 if found[3] else 60 if found[2] else 3600
    return time(hour, int(found[2] or 0), int(found[3] or 0)), lasts


def _day(day: date, zone: tzinfo | None) -> tuple[float, float]:
    start, end = (datetime.combine(each, time(), zone) for each in (day, day + timedelta(days=1)))
    return start.timestamp(), end.timestamp()
