"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ConfigError
from agentnb.when import length, moment, stretch

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=BERLIN).timestamp()
"""A Thursday at noon."""


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "start", "lasts"),
    [
        ("tuesday", at(24), 86_400),
        ("Tue", at(24), 86_400),
        ("thursday", at(26), 86_400),
        ("friday", at(20), 86_400),
        ("today", at(26), 86_400),
        ("yesterday", at(25), 86_400),
        ("yesterday 15:47", at(25, 15, 47), 60),
        ("tuesday 3:47 pm", at(24, 15, 47), 60),
        ("tuesday at 3pm", at(24, 15), 3600),
        ("15:47", at(25, 15, 47), 60),
        ("at 11:59", at(26, 11, 59), 60),
        ("12am", at(26), 3600),
        ("11:59:07", at(26, 11, 59, 7), 1),
        ("2026-11-24", at(24), 86_400),
        ("2026-11-24 15:47", at(24, 15, 47), 60),
        ("2026-11-24 3:47 pm", at(24, 15, 47), 60),
        ("2026-11-24T14:47Z", at(24, 15, 47), 60),
        ("2026-11-24T14:47:09+00:00", at(24, 15, 47, 9), 0),
        ("now", NOW, 0),
        ("2h", NOW - 7200, 0),
        ("90 seconds ago", NOW - 90, 0),
        ("3 days ago", NOW - 3 * 86_400, 0),
        ("an hour ago", NOW - 3600, 0),
        ("1.5h", NOW - 5400, 0),
    ],
)
def test_what_is_typed(text: str, start: float, lasts: float) -> None:
    """A day of the week is the last one, a time of the day that is still to come yesterday's."""
    assert stretch(text, NOW, BERLIN) == (start, start + lasts)


def test_a_day_when_the_clocks_change_has_its_own_length() -> None:
    """The day in autumn on which an hour comes twice."""
    start, end = stretch("2026-10-25", NOW, BERLIN)
    assert end - start == 25 * 3600


@pytest.mark.parametrize(
    "text", ["", "7", "25:00", "13pm", "0am", "someday", "2026-13-01", "99999999d", "7 moons", "su"]
)
def test_what_is_no_time(text: str) -> None:
    """It is said what is."""
    with pytest.raises(ConfigError, match="is no time: give a date like"):
        stretch(text, NOW, BERLIN)


def test_times_of_python() -> None:
    """What has no zone is local; how long ago counts from now."""
    assert moment(datetime(2026, 11, 24, 15), NOW, BERLIN) == at(24, 15)  # noqa: DTZ001 - local
    assert moment(datetime(2026, 11, 24, 14, tzinfo=UTC), NOW, BERLIN) == at(24, 15)
    assert stretch(date(2026, 11, 24), NOW, BERLIN) == (at(24), at(25))
    assert moment(timedelta(hours=2), NOW) == NOW - 7200
    assert moment("2026-11-24", NOW) == datetime(2026, 11, 24).timestamp()  # noqa: DTZ001 - local


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    """And a time does not end before it begins."""
    try:
        start, end = stretch(text, NOW, BERLIN)
    except ConfigError:
        return
    assert start <= end


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("7d", 604_800), ("2 weeks", 1_209_600), ("1.5 h", 5400)])
def test_lengths(text: str, seconds: float) -> None:
    """Of windows."""
    assert length(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "7", "tuesday", "3 days ago", "a day"])
def test_what_is_no_length(text: str) -> None:
    """It is said what is."""
    with pytest.raises(ConfigError, match=r"is no length of time: give e\.g\. 30m"):
        length(text)
