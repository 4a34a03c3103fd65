"""One tool call, from arguments to outcome: what is refused, what fails, what hangs and what is left in doubt."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentnb import Agent, Budget, ScriptedModel, Step, calls
from agentnb.calls import call_tool, classify, run_here
from agentnb.errors import FailureClass, Interrupted, NotJSON, ToolFailure, ToolTimeout
from agentnb.events import Event, PlanMade, RunStarted, RunSuspended, StepJudged, ToolClaimed, ToolRefused, ToolReturned
from agentnb.log import INLINE, RunLog
from agentnb.plan import numbered
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import LARGEST_RESULT, Tool, tool
from tests.parts import MemoryStore, add, answer, plan, step, verdict


def reads(function: Callable[..., Any], **options: Any) -> Tool:
    """A tool that reads, made of `function`."""
    return tool(effect="read", **options)(function)


def log_of(tools: list[Tool], *steps: Step, store: Any = None, budget: Budget | None = None) -> RunLog:
    """A run of which `steps` are the plan."""
    log = RunLog(store or MemoryStore(), "r1-test")
    facts = {made.name: made.facts for made in tools}
    log.append(
        RunStarted(
            run=log.run, task="t", model="m", cheap_model="m", tools=facts, budget=budget or Budget(), approve="auto"
        )
    )
    log.append(PlanMade(version=1, keep=0, steps=numbered(steps), reason="", by="user"))
    return log


def called(log: RunLog, made: Tool, run: Any = run_here) -> list[Event]:
    """The events of the present step's call, taken in."""
    present = log.state.step
    assert present is not None
    events = []
    for event in call_tool(log, made, present, run):
        log.append(event)
        events.append(event)
    return events


def outcome(made: Tool, run: Any = run_here, **args: Any) -> ToolReturned:
    """How one call of `made` ends, recorded and read back."""
    log = log_of([made], Step(tool=made.name, args=args))
    returned = called(log, made, run)[-1]
    assert isinstance(returned, ToolReturned)
    log.flush()
    assert list(log.store.read(log.run))[-1].event == returned
    return returned


def test_a_call_is_claimed_before_it_is_made_and_settled_after() -> None:
    """The claim has the arguments and a key of run and step; the result follows."""
    log = log_of([add], Step(tool="add", args={"a": "1", "b": 2}))
    claimed, returned = called(log, add)
    assert isinstance(claimed, ToolClaimed)
    assert isinstance(returned, ToolReturned)
    assert (claimed.key, log.value(claimed.args)) == ("r1-test/s1", {"a": "1", "b": 2})
    assert (returned.status, returned.result and log.value(returned.result)) == ("ok", 3)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"a": 1}, "argument 'b' is missing"),
        ({"a": 1, "b": "many"}, "argument 'b': Input should be a valid integer"),
        ({"a": 1, "b": 2, "c": 3}, "there is no argument 'c'"),
        ({"a": "$s1", "b": 2}, "$s1 refers to a step that has not been carried out"),
        ({"a": 1, "b": float("nan")}, "has no JSON form"),
    ],
)
def test_what_is_refused_never_reaches_the_function(args: dict[str, Any], said: str) -> None:
    """No claim is recorded, and the problem is a sentence."""
    ran: list[int] = []

    def add(a: int, b: int) -> int:  # noqa: ARG001 - it must not run
        """Add."""
        ran.append(1)
        return 0

    made = reads(add)
    events = called(log_of([made], Step(tool="add", args=args)), made)
    assert [type(event) for event in events] == [ToolRefused]
    assert said in events[0].problems[0]  # type: ignore[union-attr]
    assert ran == []


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


CASES: list[tuple[BaseException, FailureClass, str]] = [
    (ToolFailure("gone", FailureClass.STALE_DATA), FailureClass.STALE_DATA, "gone"),
    (ToolFailure("gone", "stale_data"), FailureClass.STALE_DATA, "gone"),  # type: ignore[arg-type]
    (ToolFailure("broken"), FailureClass.FATAL, "broken"),
    (PermissionError(13, "denied"), FailureClass.PERMISSION, "PermissionError: [Errno 13] denied"),
    (ConnectionResetError("reset"), FailureClass.TRANSIENT, "ConnectionResetError: reset"),
    (TimeoutError("late"), FailureClass.TRANSIENT, "TimeoutError: late"),
    (KeyError("carrier"), FailureClass.INVALID_DATA, "KeyError: 'carrier'"),
    (ValueError("bad"), FailureClass.INVALID_DATA, "ValueError: bad"),
    (ZeroDivisionError("zero"), FailureClass.INVALID_DATA, "ZeroDivisionError: zero"),
    (FileNotFoundError(2, "none", "x"), FailureClass.INVALID_DATA, "FileNotFoundError: [Errno 2] none: 'x'"),
    (NotJSON("a lock"), FailureClass.INVALID_DATA, "a lock"),
    (RuntimeError(), FailureClass.FATAL, "RuntimeError: "),
    (MemoryError("full"), FailureClass.FATAL, "MemoryError: full"),
    (SystemExit(3), FailureClass.FATAL, "SystemExit: 3"),
    (GeneratorExit(), FailureClass.FATAL, "GeneratorExit: "),
    (StopIteration(1), FailureClass.FATAL, "StopIteration: 1"),
    (
        BaseExceptionGroup("two", [ValueError("x"), SystemExit()]),
        FailureClass.FATAL,
        "BaseExceptionGroup: two (2 sub-exceptions)",
    ),
    (Silent(), FailureClass.FATAL, "Silent: (no message: RuntimeError)"),
    (ValueError("half \ud83d\0"), FailureClass.INVALID_DATA, "ValueError: half ?\0"),
    (ValueError("x" * 5000), FailureClass.INVALID_DATA, "ValueError: " + "x" * 488),
]


@pytest.mark.parametrize("thread", [False, True], ids=["here", "on a thread"])
@pytest.mark.parametrize(("error", "failure", "message"), CASES, ids=lambda case: type(case).__name__)
def test_whatever_a_tool_raises_is_a_classified_result(
    error: BaseException,
    failure: FailureClass,
    message: str,
    thread: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Each exception, exits and ones without a text included, is a failed call with its kind, and can be recorded."""

    def fail() -> None:
        """Fail."""
        raise error

    returned = outcome(reads(fail), calls._abandonable if thread else run_here)
    assert (returned.status, returned.failure, returned.message) == ("failed", failure, message)
    assert classify(error) is failure


def test_an_unknown_kind_of_failure_is_a_failure_of_the_tool() -> None:
    """A tool that misspells the class gets a ValueError at its own line, not a crash of the run."""

    def fail() -> None:
        """Fail."""
        raise ToolFailure("x", "sometimes")  # type: ignore[arg-type]

    returned = outcome(reads(fail))
    assert (returned.failure, "sometimes" in returned.message) == (FailureClass.INVALID_DATA, True)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Interrupted])
def test_an_interrupt_is_no_result(stop: type[BaseException]) -> None:
    """A person's stop goes through, on this thread and another; the call stays claimed."""

    def wait() -> None:
        """Wait."""
        raise stop

    made = reads(wait)
    for run in (run_here, calls._abandonable):
        log = log_of([made], Step(tool="wait"))
        with pytest.raises(stop):
            called(log, made, run)
        assert log.state.claim is not None


@pytest.mark.parametrize(
    ("value", "status"),
    [(None, "empty"), ([], "empty"), ({}, "empty"), ("", "empty"), (0, "ok"), (False, "ok"), ([[]], "ok")],
)
def test_nothing_found_is_told_from_a_result(value: Any, status: str) -> None:
    """Empty is null, "", [] or {}; 0 and false are results."""

    def look() -> Any:
        """Look."""
        return value

    assert outcome(reads(look)).status == status


@pytest.mark.parametrize(
    "value",
    [object(), "x" * (LARGEST_RESULT + 1), 10**5000, ["\ud800", b"\xff"]],
    ids=["object", "17 MB", "huge", "bytes"],
)
def test_a_result_that_cannot_be_kept_is_a_failed_call(value: Any) -> None:
    """Not JSON, too long, or a number that no parser reads: failed, with what to do, and the run goes on."""

    def look() -> Any:
        """Look."""
        return value

    returned = outcome(reads(look))
    assert (returned.status, returned.failure) == ("failed", FailureClass.INVALID_DATA)
    assert returned.message


def spinning() -> None:
    """Go on until stopped."""
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_tool_that_hangs_is_given_up(where: str) -> None:
    """On the main thread it is interrupted, on another one abandoned; both are a failure that may pass."""
    returned = outcome(reads(spinning, timeout_s=0.1), run_here if where == "main" else calls._abandonable)
    done = "interrupted" if where == "main" else "abandoned"
    assert (returned.failure, returned.message) == (FailureClass.TRANSIENT, f"it took longer than 0.1 s and was {done}")


def test_a_tool_that_swallows_its_timeout_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`except Exception: pass` in a loop does not hold up the run for ever."""
    monkeypatch.setattr(calls, "_AGAIN_S", 0.05)
    caught: list[Exception] = []

    def stubborn() -> None:
        """Go on for a while."""
        while len(caught) < 3:
            try:
                spinning()
            except Exception as error:  # noqa: BLE001 - the case
                caught.append(error)
        spinning()

    assert outcome(reads(stubborn, timeout_s=0.05)).failure is FailureClass.TRANSIENT
    assert [type(error) for error in caught] == [ToolTimeout] * 3


def test_a_generator_that_never_ends_is_given_up() -> None:
    """The result is read within the call's time, and on the tool's thread."""
    threads: set[str] = set()

    def endless() -> Iterator[int]:
        """Count."""
        while True:
            threads.add(threading.current_thread().name)
            time.sleep(0.01)
            yield 1

    assert outcome(reads(endless, timeout_s=0.1)).failure is FailureClass.TRANSIENT
    threads.clear()
    assert outcome(reads(endless, timeout_s=0.1), calls._abandonable).failure is FailureClass.TRANSIENT
    assert threads == {"agentnb-tool"}


@pytest.mark.parametrize("ending", ["returns", "raises", "times out"])
def test_the_users_alarm_handler_is_put_back(ending: str) -> None:
    """However a call ends, SIGALRM means afterwards what it meant before, and no timer runs."""

    def mine(*_: object) -> None: ...

    def end() -> int:
        if ending == "raises":
            raise ValueError
        if ending == "times out":
            spinning()
        return 1

    before = signal.signal(signal.SIGALRM, mine)
    try:
        try:
            assert run_here(end, 0.05) == 1
        except (ValueError, ToolTimeout):
            assert ending != "returns"
        assert signal.getsignal(signal.SIGALRM) is mine
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("timeout_s", [1e9, 1e12, 1e300])
def test_a_timeout_beyond_all_timers_is_none(timeout_s: float) -> None:
    """A tool that may take for ever is called, on both kinds of thread."""
    assert outcome(reads(add.function, timeout_s=timeout_s), a=1, b=2).status == "ok"
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(run_here(lambda: 3, timeout_s)))
    thread.start()
    thread.join()
    assert results == [3]


def test_a_write_that_times_out_is_in_doubt_and_stays_claimed() -> None:
    """Nobody knows whether it acted: no outcome is made up, the run rests."""
    made = tool(effect="write", reversibility="full", timeout_s=0.1)(spinning)
    log = log_of([made], Step(tool="spinning"))
    claimed, rests = called(log, made)
    assert isinstance(claimed, ToolClaimed)
    assert isinstance(rests, RunSuspended)
    assert (rests.reason, log.state.claim) == ("in_doubt", claimed)
    assert rests.detail == "s1 spinning: it took longer than 0.1 s and was interrupted; whether it acted is not known"


def test_what_a_tool_prints_is_not_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Output goes where output goes, whole, and the result is what was returned."""

    def talk() -> int:
        """Talk."""
        print("x" * 100_000)  # noqa: T201 - the case
        return 5

    log = log_of([made := reads(talk)], Step(tool="talk"))
    returned = called(log, made)[-1]
    assert isinstance(returned, ToolReturned)
    assert returned.result is not None
    assert (log.value(returned.result), len(capsys.readouterr().out)) == (5, 100_001)


@pytest.mark.parametrize("length", [3, INLINE])
def test_a_tool_that_alters_its_arguments_alters_no_earlier_result(store: DiskStore, length: int) -> None:
    """The second tool sorts and empties what it got; the first one's result is what it was, in memory and on disk."""

    def rows() -> list[dict[str, list[int]]]:
        """Give rows."""
        return [{"n": list(range(length))}]

    def spoil(rows: list[Any]) -> int:
        """Spoil them."""
        rows[0]["n"].clear()
        rows.append("spoilt")
        return 1

    made = [reads(rows), reads(spoil)]
    log = log_of(made, Step(tool="rows"), Step(tool="spoil", args={"rows": "$s1"}), store=store)
    for each in made:
        called(log, each)
        assert log.state.step is not None
        log.append(StepJudged(step=log.state.step.id, verdict="continue", by="rule"))
    log.flush()
    assert log.result_of("s1") == [{"n": list(range(length))}]
    assert RunLog(store, log.run, store.read(log.run)).result_of("s1") == log.result_of("s1")


def test_a_tool_gets_no_more_time_than_the_run_has_left() -> None:
    """A tool allowed a minute is given up when the run's second of work is over."""
    made = reads(spinning, timeout_s=60)
    log = log_of([made], Step(tool="spinning"), budget=Budget(working_seconds=0.2))
    returned = called(log, made)[-1]
    assert isinstance(returned, ToolReturned)
    assert returned.message == "it took longer than 0.17 s and was interrupted"


def test_hostile_texts_go_through_a_whole_run(store: DiskStore) -> None:
    """Half pairs, NUL and separators in task, tags, arguments, result, error and reply: it completes and reads back."""
    odd = "a\ud83d\0b\u2028\x85\r\x1b[31m"

    def echo(text: str) -> list[str]:
        """Give it back."""
        return [text, odd]

    def fail() -> None:
        """Fail."""
        raise ValueError(odd)

    lines = [
        plan(step("echo", text="x\0\u2028"), step("fail")),
        verdict(finding="b\u2028\0"),
        plan(step("echo", text=".")),
        verdict(),
        ("answer", f'{{"answer": "{odd[:2]} done", "unknowns": [], "confidence": "high"}}'),
    ]
    with ScriptedModel(lines) as model:
        made = Agent(model, tools=[reads(echo), reads(fail)], store=store)
        it = made.run(odd + "task", tags={"odd": odd})
    assert (it.status, it.output) == (Status.COMPLETED, "a? done")
    assert it.result("s1") == ["x\0\u2028", odd.replace("\ud83d", "?")]
    assert [o.status for o in it.state.outcomes] == ["ok", "failed", "ok"]
    assert made.runs()[0].state.started is not None
    assert repr(made.runs()[0])
    assert made.runs()[0]._repr_html_()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "[" * 196 + "]" * 196, "9" * 5000])
def test_a_model_that_plans_with_what_is_no_json_is_told_so(store: DiskStore, number: str) -> None:
    """It is a rejected reply like any other: the model is shown why, the run goes on, and its journal can be read."""

    def look(x: Any) -> str:
        """Look."""
        return str(x)

    bad = f'{{"steps": [{{"tool": "look", "args": {{"x": {number}}}}}]}}'
    with ScriptedModel([("plan", bad), plan(step("look", x=1)), verdict(), answer("ok")]) as model:
        it = Agent(model, tools=[reads(look)], store=store).run("x")
    assert it.status is Status.COMPLETED
    assert [r.event.kind for r in it.events].count("reply_rejected") == 1
