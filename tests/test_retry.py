"""How long to wait: longer each time, never sooner than asked, and never all at once."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.retry import wait_s


@pytest.mark.parametrize(
    ("attempt", "most"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10**9, 30)]
)
def test_waits_double_up_to_thirty_seconds(attempt: int, most: float) -> None:
    """The jitter takes up to half of it off."""
    assert wait_s(attempt, None, jitter=lambda: 1) == most
    assert wait_s(attempt, None, jitter=lambda: 0) == most / 2


@given(st.integers(), st.floats(0, 1))
def test_the_wait_is_always_a_moment(attempt: int, luck: float) -> None:
    """Whatever the number of the attempt, it is from a quarter of a second to thirty."""
    assert 0.25 <= wait_s(attempt, None, jitter=lambda: luck) <= 30


@given(st.integers(1, 100), st.floats(), st.floats(0, 1))
def test_never_less_than_asked(attempt: int, asked: float, luck: float) -> None:
    """What the server asks for is kept to, and is exact where it is the longer; odd numbers change nothing."""
    own = wait_s(attempt, None, jitter=lambda: luck)
    wait = wait_s(attempt, asked, jitter=lambda: luck)
    assert wait == (own if math.isnan(asked) or asked < own else asked)


def test_callers_do_not_come_back_together() -> None:
    """By default no two waits are alike."""
    assert len({wait_s(3, None) for _ in range(50)}) > 40
