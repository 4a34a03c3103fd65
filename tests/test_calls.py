"""One tool call, from arguments to outcome: what is refused, what fails, what hangs and what is left in doubt."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from agentnb import Agent, Budget, ScriptedModel, Step, runner
from agentnb.approval import Answer, DoubtRequest, Request
from agentnb.breaker import Breaker
from agentnb.calls import LONGEST_WAIT_S, call_tool
from agentnb.errors import (
    ConfigError,
    FailureClass,
    Fatal,
    Interrupted,
    InvalidData,
    NotJSON,
    Permission,
    RateLimited,
    StaleData,
    ToolFailure,
    ToolTimeout,
    Transient,
)
from agentnb.events import (
    CallInDoubt,
    Event,
    PlanMade,
    RunStarted,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolReturned,
)
from agentnb.failures import classify
from agentnb.log import INLINE, RunLog
from agentnb.plan import numbered
from agentnb.policy import Policy
from agentnb.runner import run_here
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from agentnb.values import LARGEST_RESULT
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
            run=log.run,
            task="t",
            model="m",
            cheap_model="m",
            tools=facts,
            budget=budget or Budget(),
            policy=Policy(approve="auto"),
        )
    )
    log.append(PlanMade(version=1, keep=0, steps=numbered(steps), reason="", by="user"))
    return log


def called(log: RunLog, made: Tool, run: Any = run_here, sleep: Any = lambda _: None) -> list[Event]:
    """The events of the present step's call, taken in."""
    present = log.state.step
    assert present is not None
    events = []
    for event in call_tool(log, made, present, run, sleep):
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
    assert (claimed.key, log.value(claimed.args)) == ("r1-test/s1", {"a": 1, "b": 2})
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
    (ToolFailure("broken"), FailureClass.INVALID_DATA, "broken"),
    (PermissionError(13, "denied"), FailureClass.PERMISSION, "PermissionError: [Errno 13] denied"),
    (ConnectionResetError("reset"), FailureClass.TRANSIENT, "ConnectionResetError: reset"),
    (TimeoutError("late"), FailureClass.TRANSIENT, "TimeoutError: late"),
    (KeyError("carrier"), FailureClass.INVALID_DATA, "KeyError: 'carrier'"),
    (ValueError("bad"), FailureClass.INVALID_DATA, "ValueError: bad"),
    (ZeroDivisionError("zero"), FailureClass.INVALID_DATA, "ZeroDivisionError: zero"),
    (FileNotFoundError(2, "none", "x"), FailureClass.INVALID_DATA, "FileNotFoundError: [Errno 2] none: 'x'"),
    (NotJSON("a lock"), FailureClass.INVALID_DATA, "a lock"),
    (RuntimeError(), FailureClass.INVALID_DATA, "RuntimeError"),
    (MemoryError("full"), FailureClass.FATAL, "MemoryError: full"),
    (SystemExit(3), FailureClass.FATAL, "SystemExit: 3"),
    (GeneratorExit(), FailureClass.FATAL, "GeneratorExit"),
    (StopIteration(1), FailureClass.INVALID_DATA, "StopIteration: 1"),
    (
        BaseExceptionGroup("two", [ValueError("x"), SystemExit()]),
        FailureClass.FATAL,
        "BaseExceptionGroup: two (2 sub-exceptions)",
    ),
    (Silent(), FailureClass.INVALID_DATA, "Silent: (no message: RuntimeError)"),
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

    returned = outcome(reads(fail), runner._abandonable if thread else run_here)
    assert (returned.status, returned.failure, returned.message) == ("failed", failure, message)
    assert classify(error).failure is failure


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
    for run in (run_here, runner._abandonable):
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
    returned = outcome(reads(spinning, timeout_s=0.1), run_here if where == "main" else runner._abandonable)
    done = "interrupted" if where == "main" else "abandoned"
    assert (returned.failure, returned.message) == (FailureClass.TRANSIENT, f"it took longer than 0.1 s and was {done}")


def test_calls_of_one_thread_share_a_helper_until_one_is_given_up() -> None:
    """Nothing of a call is there in the next one; the helper ends with the thread, or with the call given up."""
    said: ContextVar[str] = ContextVar("said", default="nothing")
    helpers: list[threading.Thread] = []

    def call() -> str:
        helpers.append(threading.current_thread())
        before = said.get()
        said.set("something")
        return before

    def calls() -> None:
        assert [runner._abandonable(call, 9) for _ in range(3)] == ["nothing"] * 3
        with pytest.raises(ToolTimeout):
            runner._abandonable(lambda: time.sleep(0.3), 0.01)
        assert [runner._abandonable(call, 9) for _ in range(2)] == ["nothing"] * 2

    thread = threading.Thread(target=calls)
    thread.start()
    thread.join()
    assert [helpers.index(helper) for helper in helpers] == [0, 0, 0, 3, 3]
    for helper in helpers:
        helper.join(9)
        assert not helper.is_alive()


def test_a_tool_that_swallows_its_timeout_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """`except Exception: pass` in a loop does not hold up the run for ever."""
    monkeypatch.setattr(runner, "_AGAIN_S", 0.05)
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


@pytest.mark.parametrize("away", [False, True], ids=["main thread", "another thread"])
def test_what_a_tool_returns_after_its_timeout_is_dropped(away: bool) -> None:  # noqa: FBT001 - a table
    """A write that catches whatever comes has not said, by returning, that all of it was done."""

    @tool(effect="write", reversibility="full", timeout_s=0.05)
    def hasty() -> str:
        """Send it."""
        try:
            spinning()
        except Exception:  # noqa: BLE001 - the case
            return "could not be reached"
        return "sent"

    found: list[Any] = []
    if away:
        thread = threading.Thread(target=lambda: found.append(went(hasty, lines=[])))
        thread.start()
        thread.join()
    else:
        found.append(went(hasty, lines=[]))
    assert (found[0].status, found[0].stop_reason) == (Status.SUSPENDED, "in_doubt")
    assert "it took longer than 0.05 s" in found[0].detail


def test_a_generator_that_fails_as_it_is_read_is_in_doubt() -> None:
    """Its work is done while it is read: what it raises then is what the call raised, whatever its type."""

    @tool(effect="write", reversibility="full")
    def several() -> Iterator[int]:
        """Send several."""
        yield 1
        raise ValueError("the second was refused")

    it = went(several, lines=[])
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "in_doubt")
    assert "ValueError: the second was refused" in it.detail


def test_a_generator_that_never_ends_is_given_up() -> None:
    """The result is read within the call's time, and on the tool's thread."""
    threads: set[str] = set()
    over = threading.Event()

    def endless() -> Iterator[int]:
        """Count."""
        while not over.is_set():
            threads.add(threading.current_thread().name)
            time.sleep(0.01)
            yield 1

    assert outcome(reads(endless, timeout_s=0.1)).failure is FailureClass.TRANSIENT
    threads.clear()
    assert outcome(reads(endless, timeout_s=0.1), runner._abandonable).failure is FailureClass.TRANSIENT
    over.set()
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
    assert isinstance(rests, CallInDoubt)
    assert (rests.message, log.state.claim) == ("it took longer than 0.1 s and was interrupted", claimed)


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
    assert RunLog.reopened(store, log.run).result_of("s1") == log.result_of("s1")


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


# ---------------------------------------------------------------------------------------------------- what passes


def ending(*ends: Any, **options: Any) -> tuple[Tool, list[str]]:
    """A tool that ends as `ends` say, in turn, the last one for good; and the keys that it was called under."""
    left, keys = list(ends), []
    options = {"effect": "write", "reversibility": "full", "idempotent": False, **options}

    def send(text: str = "", idempotency_key: str = "") -> Any:
        """Send.

        Args:
            text: what.
        """
        keys.append(f"{text}{idempotency_key}")
        end = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(end, BaseException):
            raise end
        return end

    return tool(**options)(send), keys


ANSWER = (answer(),)


def went(made: Tool, *, lines: Any = ANSWER, then: Any = (), **options: Any) -> Any:
    """A run under auto whose plan is one call of `made`, and `then` more."""
    with ScriptedModel(lines) as model:
        options = {"store": MemoryStore(), "approve": "auto", "sleep": lambda _: None, **options}
        return Agent(model, tools=[made, add], **options).run("x", plan=[step(made.name), *then])


def kinds(it: Any) -> list[str]:
    """What became of its calls, in order."""
    told = ("tool_claimed", "tool_retried", "call_in_doubt", "doubt_resolved", "tool_returned", "run_suspended")
    return [r.event.kind for r in it.events if r.event.kind in told]


@pytest.mark.parametrize(
    "error", [Transient("503"), RateLimited("slow down", 7), BrokenPipeError("declared")], ids=repr
)
def test_what_passes_and_did_not_act_is_tried_again_under_its_key(error: Exception) -> None:
    """As often as the tool says; the wait is at least what was asked for, and goes through `sleep=`."""
    waits: list[float] = []
    declared: Any = {BrokenPipeError: "transient"}
    made, keys = ending(error, error, "sent", failures=declared)
    it = went(made, sleep=waits.append)
    assert (it.result("s1"), len(keys), len(set(keys)), len(waits)) == ("sent", 3, 1, 2)
    if isinstance(error, RateLimited):
        assert min(waits) >= 7
    made, keys = ending(error, tries=2, failures=declared)
    it = went(made)
    assert (len(keys), it.status, it.stop_reason) == (2, Status.STOPPED, "escalated")
    assert it.state.outcomes[0].status == "failed"


def slow_write(done: list[str], takes_s: float, **options: Any) -> Tool:
    """A write that is given up long before it acts, and whose `reconcile` finds what was done."""

    @tool(effect="write", reversibility="full", reconcile=lambda: done[-1] if done else None, **options)
    def pay() -> str:
        """Pay."""
        time.sleep(takes_s)
        done.append("paid")
        return "paid"

    return pay


def test_reconcile_is_asked_once_a_call_that_was_given_up_has_ended() -> None:
    """Before that it would find nothing, and the call would act twice."""
    done: list[str] = []
    it = went(slow_write(done, 0.4, timeout_s=0.3), runner=runner._abandonable)
    assert (it.status, done, it.result("s1")) == (Status.COMPLETED, ["paid"], "paid")
    assert kinds(it) == ["tool_claimed", "call_in_doubt", "doubt_resolved"]


def test_a_call_that_still_runs_may_be_found_to_have_happened_and_not_the_opposite(store: DiskStore) -> None:
    """Neither by reconcile nor by a person: it stays in doubt, and once it has ended it is looked up."""
    done: list[str] = []
    says = Answer("not_happened", "ada")
    made = slow_write(done, 0.8, timeout_s=0.1)
    it = went(made, runner=runner._abandonable, store=store, lines=(), approver=lambda _: says)
    assert (it.status, it.stop_reason, done, "still runs here" in it.detail) == (
        Status.SUSPENDED, "in_doubt", [], True,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="still runs here"):
        it.resume(in_doubt="not_done")
    time.sleep(0.8)
    it = Agent(ScriptedModel([answer()]), tools=[made, add], store=store).resume(it.id)
    assert (it.status, done) == (Status.COMPLETED, ["paid"])
    made = slow_write(["found early"], 0.4, timeout_s=0.1)
    it = went(made, runner=runner._abandonable)
    assert (it.status, it.result("s1")) == (Status.COMPLETED, "found early")


def test_a_call_whose_thread_could_not_begin_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no more threads: a person may then say that it did not happen."""

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def called() -> None:
        pay = slow_write([], 0)
        waits = asyncio.sleep(0)
        monkeypatch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            replace(pay, function=lambda: waits).result({}, "k")
        waits.close()

    asyncio.run(called())
    gc.collect()  # of what hangs on the error
    assert runner.ended("k", 0)


def test_a_coroutine_that_does_not_heed_its_cancellation_still_runs() -> None:
    """Inside a running loop it has a thread of its own, which goes on after the call was given up."""
    done: list[str] = []

    @tool(effect="write", reversibility="full", reconcile=lambda: done[-1] if done else None, timeout_s=0.6)
    async def pay() -> str:
        """Pay."""
        time.sleep(0.8)  # noqa: ASYNC251 - the case
        done.append("paid")
        return "paid"

    async def in_a_loop() -> Any:
        return went(pay)

    it = asyncio.run(in_a_loop())
    assert (it.status, done, it.result("s1")) == (Status.COMPLETED, ["paid"], "paid")


def test_a_budget_that_ends_a_call_does_not_speak_against_the_tool() -> None:
    """What was given up before its own time may have been about to answer: other runs go on calling it."""
    made = reads(spinning, timeout_s=60)
    for _ in range(6):
        agent = Agent(ScriptedModel([answer()]), tools=[made], store=MemoryStore(), budget=Budget(seconds=0.3))
        agent.run("x", plan=[step(made.name)])
    assert made.breaker.state == "closed"
    made = reads(spinning, timeout_s=0.01, tries=5)
    went(made)
    assert made.breaker.state == "open"


def test_a_write_that_meets_a_refused_connection_is_in_doubt() -> None:
    """Before it was refused the same call may have done something: it is not made again by itself."""
    made, keys = ending(ConnectionRefusedError("the webhook"), "again")
    it = went(made, lines=())
    assert (len(keys), it.status, it.stop_reason) == (1, Status.SUSPENDED, "in_doubt")


@pytest.mark.parametrize("way", ["from it", "over it", "after it"])
def test_what_a_write_says_of_its_own_timeout_does_not_make_it_act_twice(way: str) -> None:
    """It was given up half-way, whatever it raises instead, and may have acted."""
    rows: list[int] = []

    @tool(effect="write", reversibility="full", timeout_s=0.05)
    def save() -> None:
        """Save."""
        rows.append(1)
        caught = None
        try:
            time.sleep(1)
        except Exception as error:  # noqa: BLE001 - the case
            caught = error
            if way != "after it":
                raise Transient("hiccup") from (error if way == "from it" else None)
        if caught:
            raise Transient("hiccup")

    it = went(save, lines=())
    assert (rows, it.status, it.stop_reason) == ([1], Status.SUSPENDED, "in_doubt")


@pytest.mark.parametrize(
    "error",
    [Permission("no role"), InvalidData("no such id"), Fatal("no disk"), StaleData("moved"), ToolFailure("no")],
    ids=repr,
)
def test_what_does_not_pass_is_not_tried_again(error: ToolFailure) -> None:
    """Once, and then a person or the planner is told what kind it was."""
    made, keys = ending(error)
    it = went(made, sleep=lambda _: pytest.fail("waited"))
    assert (len(keys), it.stop_reason, it.state.claim) == (1, "escalated", None)
    (returned,) = [r.event for r in it.events if isinstance(r.event, ToolReturned)]
    assert returned.failure is error.failure


def test_a_wait_that_nobody_waits_for_is_a_failed_call() -> None:
    """More than a minute, or more than the run's clock has left."""
    for error, budget in (
        (RateLimited("tomorrow", 86_400), Budget()),
        (RateLimited("later", LONGEST_WAIT_S + 1), Budget()),
        (RateLimited("soon", 30), Budget(seconds=20)),
    ):
        made, keys = ending(error)
        it = went(made, budget=budget, sleep=lambda s: pytest.fail(f"slept {s} s"))
        assert (len(keys), it.status) == (1, Status.STOPPED)


@pytest.mark.parametrize(
    ("failures", "error", "calls"),
    [
        ({KeyError: "transient"}, KeyError("x"), 2),
        ({LookupError: FailureClass.TRANSIENT}, KeyError("x"), 2),
        ({"try later": "transient"}, RuntimeError("please TRY LATER"), 2),
        ({KeyError: "invalid_data"}, KeyError("x"), 1),
    ],
)
def test_what_a_tool_declares_of_its_failures_counts(failures: Any, error: Exception, calls: int) -> None:
    """A write that raised it has not acted, and is never in doubt."""
    made, keys = ending(error, "sent", failures=failures)
    it = went(made)
    assert len(keys) == calls
    assert "call_in_doubt" not in kinds(it)


def test_retries_end_with_the_budget_of_calls() -> None:
    """The cap counts every try."""
    made, keys = ending(Transient("503"), tries=10)
    it = went(made, budget=Budget(tool_calls=3))
    assert (len(keys), it.spent.tool_calls) == (3, 3)
    assert it.state.outcomes[0].status == "failed"


def test_stale_data_are_read_again_once_before_the_call_is_made_again() -> None:
    """With the arguments that `refresh=` names; a second time it has failed."""
    seen: list[str] = []
    made, keys = ending(StaleData("moved"), "sent", refresh=lambda text: seen.append(f"read {text}"))
    assert (went(made).result("s1"), len(keys), seen) == ("sent", 2, ["read "])
    seen.clear()
    made, keys = ending(StaleData("moved"), refresh=lambda text: seen.append(f"{text}."))
    it = went(made)
    assert (len(keys), len(seen), it.stop_reason) == (2, 1, "escalated")


def test_a_refresh_that_fails_or_hangs_is_a_failed_call() -> None:
    """The call is not made again on data that nobody has read."""

    def fails() -> None:
        raise ValueError("gone")

    for refresh, said in ((fails, "reading anew failed: ValueError: gone"), (spinning, "it took longer than 0.05 s")):
        made, keys = ending(StaleData("moved"), "sent", refresh=refresh, timeout_s=0.05)
        it = went(made)
        assert (len(keys), it.stop_reason) == (1, "escalated")
        assert said in it.detail


def test_a_tool_that_keeps_failing_is_left_alone_and_tried_when_it_may_work() -> None:
    """The planner reads why it is not called; half open one call goes, and closes it."""
    now = [0.0]
    made, keys = ending(*[Transient("503")] * 3, "sent")
    made = replace(made, breaker=Breaker(failures=3, cooldown_s=30, clock=lambda: now[0]))
    again, other = plan(step("send")), plan(step("add", a=1, b=1))
    with ScriptedModel([again, again, other, verdict(), answer()]) as model:
        agent = Agent(model, tools=[made, add], store=MemoryStore(), approve="auto", sleep=lambda _: None)
        it = agent.run("x")
    assert (len(keys), it.status) == (3, Status.COMPLETED)
    assert "3 calls failed in a row, the last with: 503" in model.requests[2].prompt
    now[0] = 31
    assert went(made).result("s1") == "sent"
    assert (made.breaker.state, len(keys)) == ("closed", 4)


# ---------------------------------------------------------------------------------------------------- in doubt


def test_an_idempotent_call_in_doubt_is_made_again_under_its_key() -> None:
    """Twice, as often as it may be tried, and no person is asked where it then succeeds."""
    made, keys = ending(ConnectionResetError("reset"), TimeoutError("late"), "sent", idempotent=True)
    it = went(made, approver=lambda _: pytest.fail("asked"))
    assert (it.result("s1"), len(keys), len(set(keys))) == ("sent", 3, 1)


def test_an_idempotent_call_that_stays_in_doubt_is_a_persons_business() -> None:
    """After its tries it rests; gone on with, it is tried again, still under its key."""
    made, keys = ending(*[ConnectionResetError("reset")] * 3, "sent", idempotent=True, tries=3)
    store = MemoryStore()
    it = went(made, lines=(), store=store)
    assert (it.stop_reason, len(keys)) == ("in_doubt", 3)
    with ScriptedModel([answer()]) as model:
        it = Agent(model, tools=[made, add], store=store, approve="auto", sleep=lambda _: None).resume(it.id)
    assert (it.result("s1"), len(keys), len(set(keys))) == ("sent", 4, 1)


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TimeoutError("late"), RuntimeError("odd"), SystemExit(1)]
)
def test_reconcile_gives_the_result_of_a_call_that_happened(error: BaseException) -> None:
    """It gets what it names and the key; what it gives is the result, and nothing is made again."""
    asked: list[tuple[str, str]] = []

    def look(text: str, idempotency_key: str) -> dict[str, int]:
        asked.append((text, idempotency_key))
        return {"id": 7}

    made, keys = ending(error, reconcile=look)
    it = went(made, then=[step("add", a="$s1.id", b=1)], lines=[verdict(), answer()])
    assert (it.result("s1"), it.result("s2"), len(keys)) == ({"id": 7}, 8, 1)
    assert asked == [("", keys[0])]


def test_reconcile_that_finds_nothing_lets_it_be_made_again_and_ends_at_last() -> None:
    """As often as the tool may be tried; then it is a failure that is known not to have acted."""
    made, keys = ending(ConnectionError("reset"), "sent", reconcile=lambda: None)
    assert (went(made).result("s1"), len(keys), len(set(keys))) == ("sent", 2, 1)
    made, keys = ending(ConnectionError("reset"), reconcile=lambda: None, tries=3)
    it = went(made)
    assert (len(keys), it.status, it.state.outcomes[0].status) == (3, Status.STOPPED, "failed")
    assert "it did not happen in 3 tries: ConnectionError: reset" in it.detail


@pytest.mark.parametrize("found", [False, 0, "", [], {}, float("nan")], ids=repr)
def test_reconcile_that_gives_what_may_mean_either_leaves_it_to_a_person(found: Any) -> None:
    """A search that finds nothing gives an empty list, which is no word that the call has happened, nor that it has
    not; that what was found is what it gave."""
    made, keys = ending(ConnectionError("reset"), reconcile=lambda: found)
    seen: list[Any] = []
    it = went(made, approver=seen.append, lines=[])
    assert (it.status, it.stop_reason, len(keys)) == (Status.SUSPENDED, "in_doubt", 1)
    assert "which may mean either: let it give None where the call did not happen" in seen[0].known[1]
    assert went(ending(ConnectionError("reset"), reconcile=lambda: True)[0]).result("s1") is True


@pytest.mark.parametrize("how", ["raises", "hangs", "no json"])
def test_reconcile_that_cannot_tell_leaves_it_to_a_person(how: str) -> None:
    """Who reads why it could not, and whose word counts."""

    def look() -> Any:
        if how == "raises":
            raise ValueError("no such page")
        return spinning() if how == "hangs" else object()

    seen: list[DoubtRequest] = []

    def person(request: Request) -> Answer | None:
        assert isinstance(request, DoubtRequest)
        seen.append(request)
        return Answer("happened", "ada", "saw it")

    made, keys = ending(ConnectionError("reset"), reconcile=look, timeout_s=0.05)
    it = went(made, approver=person)
    assert (it.status, it.result("s1"), len(keys)) == (Status.COMPLETED, None, 1)
    assert seen[0].known[0] == "ConnectionError: reset"
    assert "its reconcile function could not tell" in seen[0].known[1]
    assert (seen[0].key, seen[0].tool) == (keys[0], "send")


@pytest.mark.parametrize(
    ("said", "calls", "rests"),
    [
        (Answer("happened", "ada"), 1, False),
        (Answer("not_happened", "ada"), 2, False),
        (Answer("approve", "ada"), 1, True),
        (Answer("happened", None), 1, True),  # type: ignore[arg-type]
        (None, 1, True),
        (True, 1, True),
        (ValueError("odd"), 1, True),
    ],
    ids=repr,
)
def test_only_a_clear_word_settles_a_doubt(said: Any, calls: int, rests: bool) -> None:  # noqa: FBT001 - a table
    """Everything else leaves the call in doubt, and the run rests."""

    def person(_: Request, /) -> Any:
        if isinstance(said, BaseException):
            raise said
        return said

    made, keys = ending(ConnectionError("reset"), "sent")
    store = MemoryStore()
    it = went(made, lines=() if rests else (answer(),), approver=person, store=store)
    assert (len(keys), it.stop_reason) == (calls, "in_doubt" if rests else "complete")


def test_a_crash_between_two_tries_makes_the_call_again_and_asks_nobody() -> None:
    """It is known not to have acted: the next process takes it up, under the same key."""
    store = MemoryStore()
    made, keys = ending(Transient("503"), "sent")

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        went(made, store=store, sleep=stop)
    with ScriptedModel([answer()]) as model:
        agent = Agent(model, tools=[made, add], store=store, approve="auto", approver=lambda _: pytest.fail("asked"))
        it = agent.runs()[0].resume()
    assert (it.result("s1"), len(keys), len(set(keys))) == ("sent", 2, 1)


def test_an_approved_call_that_is_tried_again_needs_no_second_leave() -> None:
    """It is the same call; a person was asked once."""
    asked: list[str] = []

    def person(request: Request) -> Answer:
        asked.append(request.step)
        return Answer("approve", "ada")

    made, keys = ending(Transient("503"), Transient("503"), "sent")
    assert went(made, approve="ask", approver=person).status is Status.COMPLETED
    assert (asked, len(keys)) == (["s1"], 3)


def test_no_time_to_look_is_told_to_a_person_and_is_no_error(fake_clock: Any) -> None:
    """A write used up the run's seconds: it is in doubt, and more time settles it."""

    @tool(effect="write", reversibility="full", timeout_s=15, reconcile=lambda: "found")
    def slow() -> None:
        """Take 15 seconds."""
        fake_clock.sleep(15)
        raise ConnectionError("reset")

    store, budget = MemoryStore(), Budget(working_seconds=20)
    it = went(slow, lines=(), store=store, budget=budget, clock=fake_clock.clock())
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "in_doubt")
    with ScriptedModel([answer()]) as model:
        agent = Agent(model, tools=[slow, add], store=store, approve="auto", clock=fake_clock.clock())
        assert agent.resume(it.id).stop_reason == "in_doubt"
        it = agent.runs()[0].extend(working_seconds=60)
    assert (it.status, it.result("s1")) == (Status.COMPLETED, "found")


@pytest.mark.parametrize("kind", ["read", "idempotent"])
def test_a_call_cut_short_with_the_last_second_ends_the_run_and_does_not_break_it(fake_clock: Any, kind: str) -> None:
    """A read has failed and the limit is a result; a write rests in doubt, for no limit undoes it."""

    def slow() -> int:
        """Be interrupted after 30 s."""
        fake_clock.sleep(30)
        raise KeyboardInterrupt

    made = reads(slow) if kind == "read" else tool(effect="write", reversibility="full", idempotent=True)(slow)
    store, options = MemoryStore(), {"budget": Budget(working_seconds=20), "clock": fake_clock.clock()}
    with pytest.raises(KeyboardInterrupt):
        went(made, lines=(), store=store, **options)
    it = Agent(ScriptedModel([]), tools=[made, add], store=store, approve="auto", **options).runs()[0].resume()
    if kind == "read":
        assert (it.status, it.stop_reason) == (Status.STOPPED, "working_seconds")
    else:
        assert (it.status, it.stop_reason) == (Status.SUSPENDED, "in_doubt")
        assert "there is no time to make it again" in it.detail


def test_a_person_who_says_again_and_again_that_it_did_not_happen_ends_with_the_budget() -> None:
    """An approver that always says so is no endless loop."""
    made, keys = ending(ConnectionError("reset"))
    it = went(made, lines=(), approver=lambda _: Answer("not_happened", "ada"), budget=Budget(tool_calls=4))
    assert (it.status, it.stop_reason, len(keys)) == (Status.STOPPED, "tool_calls", 4)


def test_a_tool_that_alters_its_arguments_is_tried_again_with_those_that_were_approved() -> None:
    """What it was given the second time is what it was given the first time."""
    got: list[list[int]] = []

    @tool(effect="write", reversibility="full")
    def send(numbers: list[int]) -> None:
        """Send.

        Args:
            numbers: what.
        """
        got.append(list(numbers))
        numbers.clear()
        if len(got) < 3:
            raise Transient("503")

    with ScriptedModel([answer()]) as model:
        agent = Agent(model, tools=[send], store=MemoryStore(), approve="auto", sleep=lambda _: None)
        agent.run("x", plan=[step("send", numbers=[1, 2])])
    assert got == [[1, 2]] * 3
