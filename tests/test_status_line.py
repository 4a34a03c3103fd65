"""The line at the bottom of a terminal: as wide as there is room, and the most important first."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.state import Status
from agentnb.status_line import status_line
from agentnb.summary import Gauge
from tests.test_render import RUNNING, check_letters, columns, summaries


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (120, "● 2/4 |██████████          | 1:03 · $0.031 of $0.50 · calling query › research: planning · r7-kestrel"),
        (95, "● 2/4 |█████     | 1:03 · $0.031 of $0.50 · calling query › research: planning · r7-kestrel"),
        (79, "● 2/4 |█████     | 1:03 · $0.031 of $0.50 · calling query › research: planning"),
        (60, "● 2/4 |█████     | 1:03 · calling query › research: planning"),
        (40, "● 2/4 1:03 · calling query › research: …"),
        (20, "● 2/4 calling query…"),
        (6, "● 2/4"),
        (1, ""),
    ],
)
def test_a_narrow_terminal_shows_less(width: int, expected: str) -> None:
    """State and step always, then what it is doing; run, cost, bar and time go in this order."""
    assert status_line(replace(RUNNING, inside="research: planning"), width).rstrip() == expected


@settings(max_examples=80, deadline=None)
@given(summaries(), st.integers(1, 140))
def test_it_never_wraps(summary: object, width: int) -> None:
    """Whatever is in it, it is one line of at most that many columns, and steers no terminal."""
    said = status_line(summary, width)  # type: ignore[arg-type]
    assert columns(said) <= width
    assert "\n" not in said
    check_letters(said)


def test_colours_take_no_columns() -> None:
    """They are painted around state and bar, and end there."""
    painted = status_line(RUNNING, 79, colour=True)
    assert painted.startswith("\x1b[34m● 2/4\x1b[0m \x1b[34m|█████     |\x1b[0m 1:03 · ")
    assert re.sub(r"\x1b\[\d+m", "", painted) == status_line(RUNNING, 79)


def test_what_is_paid_stands_against_its_cap() -> None:
    """Dollars, else tokens, else what there is."""
    tokens = Gauge("tokens", 9412, 0, 50_000)
    assert "9 412 of 50 000 tokens" in status_line(replace(RUNNING, gauges=(tokens,)), 120)
    assert "$0.031, saved $0.019" in status_line(replace(RUNNING, gauges=()), 120)


def test_before_there_is_a_plan() -> None:
    """No bar: nobody knows how long it will be."""
    assert status_line(replace(RUNNING, steps=(), now="planning"), 79).startswith("● 1:03 · $0.031 of $0.50 · planning")


def test_hours_and_replays() -> None:
    """Long runs count hours; a replay shows no clock."""
    spent = replace(RUNNING.spent, seconds=3725.0)
    assert " 1:02:05 · " in status_line(replace(RUNNING, spent=spent), 120)
    assert "1:02:05" not in status_line(replace(RUNNING, spent=spent, bare=True), 120)


def test_a_run_that_rests_says_why() -> None:
    """In place of what it does."""
    assert " · stopped by you · " in status_line(
        replace(RUNNING, status=Status.SUSPENDED, now="", reason="stopped by you"), 120
    )
