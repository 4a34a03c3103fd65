"""The breaker opens after so many failures in a row, and lets one probe through at a time."""

from __future__ import annotations

import copy
import math
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.breaker import Breaker, Circuit
from agentnb.errors import ConfigError


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, failures: int = 2, cooldown_s: float = 30.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(failures=failures, cooldown_s=cooldown_s, clock=clock)
    for number in range(failures):
        assert breaker.begin()
        breaker.failed(f"no answer {number + 1}")
    return breaker


def state_of(breaker: Breaker) -> Circuit:
    """As a function, for mypy does not expect a property to change."""
    return breaker.state


def test_a_new_one_lets_calls_go() -> None:
    breaker = Breaker()
    assert (breaker.state, breaker.refusal()) == ("closed", "")
    assert all(breaker.begin() for _ in range(100))


def test_opens_after_five_failures_by_default() -> None:
    """For thirty seconds, and says so with the numbers."""
    clock = Clock()
    breaker = Breaker(clock=clock)
    for _ in range(5):
        assert breaker.begin()
        breaker.failed("HTTP 503,\nno backend")
    clock.now += 7.5
    assert breaker.state == "open"
    assert not breaker.begin()
    assert (
        breaker.refusal()
        == "5 calls failed in a row, the last with: HTTP 503, no backend; it is not called for another 23 s"
    )


def test_half_open_after_the_cooldown() -> None:
    """One call goes; beside it none."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 29.999
    assert (state_of(breaker), breaker.begin()) == ("open", False)
    assert breaker.refusal().endswith("for another 1 s")
    clock.now += 0.001
    assert (state_of(breaker), breaker.refusal()) == ("half_open", "")
    assert (breaker.begin(), breaker.begin()) == (True, False)
    assert breaker.refusal().endswith("it is not called until a call that tries whether it works again has ended")


def test_a_good_probe_closes_it() -> None:
    """And all is forgotten: it takes as many failures as at first to open it, for as long as at first."""
    clock = Clock()
    breaker = opened(clock)
    for good in (False, True):
        clock.now += 600
        assert breaker.begin()
        breaker.succeeded() if good else breaker.failed("again")
    assert state_of(breaker) == "closed"
    breaker.failed("once")
    assert state_of(breaker) == "closed"
    breaker.failed("twice")
    assert breaker.refusal() == "2 calls failed in a row, the last with: twice; it is not called for another 30 s"


def test_each_bad_probe_doubles_the_cooldown() -> None:
    """Up to ten minutes."""
    clock = Clock()
    breaker = opened(clock, cooldown_s=100)
    for seconds in (100, 200, 400, 600, 600):
        assert breaker.refusal().endswith(f"for another {seconds} s")
        clock.now += seconds
        assert breaker.begin()
        breaker.failed("still not")
    assert breaker.refusal().startswith("7 calls failed in a row, the last with: still not;")


def test_a_cooldown_longer_than_ten_minutes_is_kept() -> None:
    clock = Clock()
    breaker = opened(clock, cooldown_s=3600)
    clock.now += 3600
    assert breaker.begin()
    breaker.failed("no")
    assert breaker.refusal().endswith("for another 3600 s")


def test_an_abandoned_probe_frees_its_place() -> None:
    """The circuit stays half open, and the next call is the probe."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    assert breaker.begin()
    breaker.abandoned()
    assert (state_of(breaker), breaker.begin()) == ("half_open", True)


def test_abandoned_calls_do_not_count() -> None:
    """They neither add to the failures in a row nor end the row."""
    breaker = Breaker(failures=2, clock=Clock())
    breaker.failed("one")
    breaker.abandoned()
    assert state_of(breaker) == "closed"
    breaker.failed("two")
    assert state_of(breaker) == "open"


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "abandoned"])
def test_a_call_from_before_is_not_taken_for_the_probe(outcome: str) -> None:
    """What a slow call comes to after the circuit has opened changes nothing, and the probe waits for it."""
    clock = Clock()
    breaker = Breaker(failures=1, clock=clock)
    assert (breaker.begin(), breaker.begin()) == (True, True)
    breaker.failed("down")
    clock.now += 30
    assert not breaker.begin()
    assert breaker.refusal().endswith("it is not called until a call that began before has ended")
    breaker.failed("late") if outcome == "failed" else getattr(breaker, outcome)()
    assert (breaker.state, breaker.begin()) == ("half_open", True)


def test_a_long_message_is_cut() -> None:
    breaker = Breaker(failures=1)
    breaker.failed("x" * 5000)
    assert len(breaker.refusal()) < 300
    assert breaker.refusal().startswith("1 call failed, the last with: xxx")


def test_no_message_at_all() -> None:
    breaker = Breaker(failures=1)
    breaker.failed(" ")
    assert "(no message)" in breaker.refusal()


@pytest.mark.parametrize("failures", [0, -1])
def test_a_row_of_none_is_refused(failures: int) -> None:
    with pytest.raises(ConfigError, match=f"not after {failures}"):
        Breaker(failures=failures)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_cooldown_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="cooldown_s is"):
        Breaker(cooldown_s=seconds)


@dataclass(frozen=True)
class Holder:
    """A frozen dataclass with a breaker in it, as a Tool is."""

    name: str
    breaker: Breaker = field(default_factory=Breaker)


def test_in_a_frozen_dataclass() -> None:
    """It compares by identity, and copies of what holds it hold the same one: they call the same service."""
    one, other = Holder("a"), Holder("a")
    assert one != other
    assert hash(one) != hash(other)
    assert copy.deepcopy(one) == one == copy.copy(one)
    assert copy.copy(one.breaker) is one.breaker is asdict(one)["breaker"]


def test_pickled_it_begins_anew() -> None:
    """With its settings; another process has another clock, and other calls."""
    breaker = Breaker(failures=1, cooldown_s=7, clock=lambda: 0.0)
    breaker.failed("no")
    again: Breaker = pickle.loads(pickle.dumps(breaker))  # noqa: S301 - our own
    assert state_of(again) == "closed"
    again.failed("no")
    assert again.refusal().endswith("for another 7 s")


def test_cheap_to_build() -> None:
    """Every tool may have one: ten thousand take less than a second."""
    began = time.perf_counter()
    for _ in range(10_000):
        Breaker()
    assert time.perf_counter() - began < 1


class Model:
    """What the breaker is to do, in plain words: calls know when they began, which the breaker itself is not told."""

    def __init__(self, limit: int, cooldown: float) -> None:
        self.limit, self.cooldown, self.first = limit, cooldown, cooldown
        self.until: float | None = None
        self.row = 0
        self.calls: dict[int, str] = {}  # by caller, the state in which its call began

    def state(self, now: float) -> str:
        """As `Breaker.state`."""
        return "closed" if self.until is None else "open" if now < self.until else "half_open"

    def may(self, now: float) -> bool:
        """Whether a call may begin."""
        return self.state(now) == "closed" or (self.state(now) == "half_open" and not self.calls)

    def end(self, caller: int, how: str, now: float) -> None:
        """The caller's call comes to its end."""
        began, state = self.calls.pop(caller), self.state(now)
        if (began == "closed" and state != "closed") or how == "abandoned":
            return
        if how == "succeeded":
            self.row, self.until, self.cooldown = 0, None, self.first
            return
        self.row += 1
        if began == "half_open":
            self.cooldown = min(2 * self.cooldown, 600)
        if began == "half_open" or self.row >= self.limit:
            self.until = now + self.cooldown


ENDS = ("succeeded", "failed", "abandoned")
STEPS = st.one_of(
    st.tuples(st.integers(0, 3), st.sampled_from(["begin", "begin", "failed", *ENDS])),
    st.tuples(st.just("time"), st.sampled_from([1.0, 9.0, 10.0, 25.0, 700.0])),
)


@given(st.integers(1, 4), st.lists(STEPS, max_size=80))
def test_whatever_happens(limit: int, steps: list[tuple[int | str, str | float]]) -> None:
    """Several callers at once: never two probes, open after exactly so many failures in a row, as the model says."""
    clock = Clock()
    breaker, model = Breaker(failures=limit, cooldown_s=10, clock=clock), Model(limit, 10)
    for who, what in steps:
        if who == "time":
            clock.now += float(what)
        elif what == "begin" and who not in model.calls:
            expected, state = model.may(clock.now), model.state(clock.now)
            assert (breaker.refusal() == "") is expected
            assert breaker.begin() is expected
            if expected:
                model.calls[int(who)] = state
        elif what in ENDS and who in model.calls:
            breaker.failed("no") if what == "failed" else getattr(breaker, str(what))()
            model.end(int(who), str(what), clock.now)
        probes = [began for began in model.calls.values() if began == "half_open"]
        assert len(probes) <= 1
        assert not probes or len(model.calls) == 1
        assert breaker.state == model.state(clock.now)


@given(st.integers(1, 10), st.lists(st.sampled_from(ENDS), max_size=40))
def test_one_call_after_the_other(limit: int, ends: list[str]) -> None:
    """It is open exactly where the last so many that count have all failed."""
    breaker = Breaker(failures=limit, clock=Clock())
    counted: list[str] = []
    for end in ends:
        if not breaker.begin():
            break
        breaker.failed("no") if end == "failed" else getattr(breaker, end)()
        counted += [end] if end != "abandoned" else []
        assert (breaker.state == "open") is (counted[-limit:] == ["failed"] * limit)


def test_many_threads_and_one_probe() -> None:
    """Of sixteen that ask at the same moment one goes, each time anew."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 30
    barrier = Barrier(16)

    def ask(_: int) -> bool:
        barrier.wait()
        return breaker.begin()

    with ThreadPoolExecutor(16) as pool:
        for _ in range(50):
            assert sum(pool.map(ask, range(16))) == 1
            breaker.abandoned()


def test_no_failure_is_lost_between_threads() -> None:
    """Eight threads with a thousand failures each: it opens with the very last and not before."""
    breaker = Breaker(failures=8000)

    def fail(number: int) -> None:
        for _ in range(1000 if number else 999):
            assert breaker.begin()
            breaker.failed("no")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(8)))
    assert state_of(breaker) == "closed"
    breaker.failed("no")
    assert state_of(breaker) == "open"


def test_calls_run_side_by_side() -> None:
    """The breaker holds nothing while a call runs: four that wait for each other all get through."""
    breaker, barrier = Breaker(), Barrier(4, timeout=10)

    def call(_: int) -> bool:
        went = breaker.begin()
        barrier.wait()
        breaker.succeeded()
        return went

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(4)))
