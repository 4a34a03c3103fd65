"""What a caller of the Python API sees: whole runs on a real store, with a scripted model."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from agentnb import Agent, Budget, Check, ScriptedModel, Step, tool
from agentnb.approval import Answer, ApprovalRequest
from agentnb.errors import (
    ConfigError,
    FailureClass,
    ModelError,
    RunConflict,
    RunHeld,
    RunNotFound,
    ToolFailure,
    UnknownModel,
    UnknownPrice,
)
from agentnb.events import RunSuspended
from agentnb.models.base import ModelRequest
from agentnb.models.openai import OpenAIModel
from agentnb.models.scripted import UnexpectedCall
from agentnb.plan import Plan
from agentnb.state import Status
from agentnb.store.base import NO_ROWS
from agentnb.store.disk import DiskStore
from tests import parts
from tests.parts import NOTES, add, answer, bind, broken, note, plan, step, table, verdict


def run(store: DiskStore, *lines: Any, task: str = "do it", **options: Any) -> Any:
    """A run to its end, with a script that must be used up."""
    how = {k: options.pop(k) for k in ("plan", "tags") if k in options}
    with ScriptedModel(lines) as model:
        return Agent(model, store=store, **{"tools": [add, table, broken, note], **options}).run(task, **how)


@pytest.fixture(autouse=True)
def no_notes() -> None:
    NOTES.clear()


def test_a_run_plans_calls_criticises_and_answers(store: DiskStore) -> None:
    """The whole loop: references are resolved by code, and the critic is asked once a step."""
    it = run(
        store,
        plan(step("add", a=1, b=2), step("add", a="$s1", b=4)),
        verdict(finding="1 + 2 = 3"),
        verdict(),
        answer("7"),
    )
    assert (it.status, it.output, it.stop_reason) == (Status.COMPLETED, "7", "complete")
    assert [it.result("s1"), it.result("s2")] == [3, 7]
    assert it.state.outcomes[0].finding == "1 + 2 = 3"
    assert (it.spent.steps, it.spent.tool_calls, it.spent.model_calls) == (2, 2, 4)


def test_an_open_argument_is_filled_by_a_model_that_sees_its_mistakes(store: DiskStore) -> None:
    """Arguments that do not validate never reach the function; the model is shown what was wrong."""
    with ScriptedModel(
        [plan(step("add", a=1, b="$? a number")), bind(b="many"), bind(c=1), bind(b=5), verdict(), answer()]
    ) as model:
        it = Agent(model, tools=[add], store=store).run("add")
    assert it.result("s1") == 6
    assert "argument 'b': Input should be a valid integer" in model.requests[2].prompt
    assert "'b' is still open" in model.requests[3].prompt


def test_a_path_into_a_result_is_resolved_by_code(store: DiskStore) -> None:
    """`$s1[2].square` goes to the tool as the number it is."""
    it = run(store, plan(step("table"), step("add", a="$s1[2].square", b=1)), verdict(), verdict(), answer())
    assert it.result("s2") == 5


def test_a_reference_to_what_is_not_there_is_a_revision_that_says_what_is(store: DiskStore) -> None:
    """The tool is not called; the planner reads what the result has instead."""
    with ScriptedModel(
        [
            plan(step("table"), step("add", a="$s1[0].cube", b=1)),
            verdict(),
            plan(step("add", a=1, b=1)),
            verdict(),
            answer(),
        ]
    ) as model:
        it = Agent(model, tools=[add, table], store=store).run("x")
    assert "$s1[0] is an object with n, square, and has no cube" in model.requests[2].prompt
    assert [o.status for o in it.state.outcomes] == ["ok", "failed", "ok"]


def test_a_plan_that_cannot_be_carried_out_is_sent_back_with_the_list(store: DiskStore) -> None:
    """Unknown tools, unknown arguments, wrong types and references forward are found before anything runs."""
    bad = plan(step("subtract", a=1), step("add", a="x", c=2), step("add", a="$s9", b=1))
    with ScriptedModel([bad, plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        Agent(model, tools=[add], store=store).run("x")
    told = model.requests[1].prompt
    for said in ("no tool 'subtract'", "argument 'a'", "no argument 'c'"):
        assert said in told


@pytest.mark.parametrize(
    "reply", ["Sure! Here is the plan: first…", '{"steps": [{"tool": "add", ', "[]", "{}", '{"steps": 3}']
)
def test_malformed_plans_wait_for_a_person_after_four_replies(store: DiskStore, reply: str) -> None:
    """Prose, cut-off JSON and the wrong form: with the error shown, then simplified, and then it is a person's turn."""
    it = run(store, *[("plan", reply)] * 4)
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "malformed_output")
    assert "no usable plan in 4 replies" in it.detail


def test_a_critic_that_talks_nonsense_is_not_believed(store: DiskStore) -> None:
    """Nobody goes on with a result on the word of an invalid verdict."""
    it = run(store, plan(step("add", a=1, b=2)), *[("critique", "yes")] * 4)
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "malformed_output")
    assert it.detail.startswith("no usable verdict on s1 add in 4 replies: the reply is not a JSON object")


def test_a_failed_call_is_revised_and_the_planner_reads_why(store: DiskStore) -> None:
    """A call with fixed arguments is not repeated: the plan changes, with the reason, and finished steps stay."""
    with ScriptedModel([plan(step("broken")), plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        it = Agent(model, tools=[add, broken], store=store).run("x")
    assert "no such column: depdelay" in model.requests[1].prompt
    assert it.plan is not None
    assert (it.plan.version, [s.id for s in it.plan.steps], it.state.revisions) == (2, ["s1", "s2"], 1)
    assert it.plan.reason == "no such column: depdelay"


def test_a_failed_call_with_an_open_argument_is_bound_again(store: DiskStore) -> None:
    """Within a step the executor retries: the model that wrote the argument sees the tool's error."""
    said: list[str] = []

    @tool(effect="read")
    def query(sql: str) -> int:
        """Run SQL.

        Args:
            sql: the query.
        """
        said.append(sql)
        if "bad" in sql:
            raise ValueError("no such column: bad")
        return 1

    with ScriptedModel(
        [plan(step("query", sql="$? the SQL")), bind(sql="bad"), bind(sql="good"), verdict(), answer()]
    ) as model:
        it = Agent(model, tools=[query], store=store).run("x")
    assert it.status is Status.COMPLETED
    assert said == ["bad", "good"]
    assert "no such column: bad" in model.requests[2].prompt


def test_revisions_are_limited(store: DiskStore) -> None:
    """A planner that keeps failing is stopped after three revisions, with what there is."""
    tries = [plan(step("broken", why=f"no such column: {n}")) for n in range(4)]
    it = run(store, *tries, answer("nothing worked"))
    assert (it.status, it.stop_reason, it.state.revisions) == (Status.STOPPED, "escalated", 3)


def test_nothing_found_and_failed_are_told_apart(store: DiskStore) -> None:
    """An empty table is a result; the words in the prompt say so."""
    with ScriptedModel([plan(step("table", rows=0)), verdict(), answer()]) as model:
        it = Agent(model, tools=[table], store=store).run("x")
    assert it.state.outcomes[0].status == "empty"
    assert "no results" in model.requests[1].prompt
    assert "FAILED" not in model.requests[1].prompt.replace('"FAILED"', "")


def test_a_plan_of_the_user_is_carried_out_as_it_is(store: DiskStore) -> None:
    """No planner is asked; only the open argument goes to a model."""
    given = [
        Step(tool="add", args={"a": 1, "b": 2}, check=Check(expression="result == 3")),
        step("add", a="$s1", b="$? ten"),
    ]
    it = run(store, bind(b=10), verdict(), answer(), plan=given)
    assert (it.result("s2"), it.plan.by) == (13, "user")
    assert [r.event.by for r in it.events if r.event.kind == "step_judged"] == ["check", "critic"]


def test_a_failing_check_of_a_users_plan_goes_to_the_person(store: DiskStore) -> None:
    """The planner may not change a user's plan, so the run stops and says why."""
    it = run(
        store,
        answer("1 + 2 was not 4"),
        plan=Plan((Step(tool="add", args={"a": 1, "b": 2}, check=Check(expression="result == 4")),)),
    )
    assert (it.status, it.stop_reason) == (Status.STOPPED, "escalated")
    assert "result == 4 is not true of the result" in it.detail


def test_without_tools_the_model_just_answers(store: DiskStore) -> None:
    """No plan is asked for where nothing can be called."""
    it = run(store, answer("42"), tools=[])
    assert (it.output, it.spent.model_calls) == ("42", 1)


def test_a_write_is_asked_about_and_the_answer_recorded(store: DiskStore) -> None:
    """The approver sees exactly the arguments; approval lets this call through, once."""
    seen: list[ApprovalRequest] = []

    def approver(request: ApprovalRequest) -> Answer:
        seen.append(request)
        return Answer("approve", "ada")

    it = run(store, plan(step("note", text="late in summer")), answer(), approver=approver)
    assert (NOTES, it.status) == (["late in summer"], Status.COMPLETED)
    assert (seen[0].tool, seen[0].args, seen[0].reversibility) == ("note", {"text": "late in summer"}, "full")
    assert next(r.event.by for r in it.events if r.event.kind == "approval_answered") == "ada"


def test_a_rejected_write_is_planned_around(store: DiskStore) -> None:
    """The planner gets the reason, and nothing was written."""
    with ScriptedModel([plan(step("note", text="x")), plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        Agent(model, tools=[add, note], store=store, approver=lambda _: Answer("reject", "ada", "not on a Friday")).run(
            "x"
        )
    assert NOTES == []
    assert "a person rejected the call: not on a Friday" in model.requests[1].prompt


def test_where_nobody_answers_the_run_waits_and_goes_on_later(store: DiskStore) -> None:
    """Approved from elsewhere, the call is made once; the plan is not paid for again."""
    with ScriptedModel([plan(step("note", text="x")), answer("noted")]) as model:
        agent = Agent(model, tools=[note], store=store)
        it = agent.run("x")
        assert [str(item) for item in it.pending] == ['1. approval s1: note(text="x")']
        assert (it.status, NOTES) == (Status.AWAITING_APPROVAL, [])
        it = Agent(model, tools=[note], store=store).runs()[0].approve(by="ada")
    assert (it.status, it.output, NOTES) == (Status.COMPLETED, "noted", ["x"])


def test_deny_refuses_every_write_and_auto_asks_before_what_cannot_be_taken_back(store: DiskStore) -> None:
    """The policy decides at once where it may; irreversible calls always need a person."""

    @tool
    def send(text: str) -> None:
        """Send it.

        Args:
            text: what.
        """
        NOTES.append(text)

    it = run(store, plan(step("note", text="x")), plan(step("add", a=1, b=1)), verdict(), answer(), approve="deny")
    assert (it.status, NOTES) == (Status.COMPLETED, [])
    it = run(store, plan(step("send", text="x")), tools=[send], approve="auto")
    assert (it.status, NOTES) == (Status.AWAITING_APPROVAL, [])
    it = run(store, plan(step("note", text="x")), answer(), approve="auto")
    assert NOTES == ["x"]


def test_a_limit_is_a_result_that_says_how_to_go_on(store: DiskStore) -> None:
    """Two steps are allowed: a planner that insists on three has two, a partial answer, and goes on when extended."""
    steps = [step("add", a=n, b=n) for n in range(3)]
    lines = [plan(*steps), plan(*steps), verdict(), verdict(), answer("two of three"), verdict(), answer("all")]
    with ScriptedModel(lines) as model:
        agent = Agent(model, tools=[add], store=store, budget=Budget(steps=2))
        it = agent.run("x")
        assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "steps", "two of three")
        assert [s.id for s in it.left] == ["s3"]
        assert it.summary.next == f"%agent extend {it.id} --steps 1"
        it.extend(steps=2)
    assert (it.status, it.output, it.spent.steps) == (Status.COMPLETED, "all", 3)


def test_a_limit_too_small_even_for_an_answer_hands_over_what_was_found(store: DiskStore) -> None:
    """No model is asked beyond the cap; the findings are handed over by code."""
    it = run(store, plan(step("add", a=1, b=1)), verdict(finding="it is 2"), budget=Budget(model_calls=2, tokens=None))
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "model_calls", "- add: it is 2")


def test_a_dollar_budget_on_a_model_without_a_price_is_refused_by_name(store: DiskStore) -> None:
    """Nothing is guessed and nothing starts."""
    model = ScriptedModel([], ref="someone:else")
    with pytest.raises(UnknownPrice, match="someone:else"):
        Agent(model, tools=[add], store=store, budget=Budget(usd=1)).run("x")
    assert store.runs() == []


@pytest.mark.parametrize("task", ["", "  \n", "x" * 12_001])
def test_an_empty_or_huge_task_is_an_error_before_anything_starts(store: DiskStore, task: str) -> None:
    """The message has the number of characters."""
    with pytest.raises(ConfigError, match="task"):
        Agent(ScriptedModel([]), store=store).run(task)


def test_a_users_plan_is_checked_before_anything_starts(store: DiskStore) -> None:
    """All problems are in one error."""
    with pytest.raises(ConfigError, match=r"no tool 'subtract'.*argument 'c'"):
        run(store, plan=[step("subtract"), step("add", a=1, b=2, c=3)])
    with pytest.raises(ConfigError, match="tol"):
        run(store, plan=[{"tol": "add"}])


def test_an_unknown_model_is_an_error_with_the_nearest_match(tmp_path: Path) -> None:
    """And nothing is created on disk."""
    with pytest.raises(UnknownModel, match="anthropic"):
        Agent("antropic:claude-sonnet-4-5", store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_model_that_cannot_be_reached_suspends_the_run_and_resume_goes_on(store: DiskStore) -> None:
    """What was paid for is not paid for again: the plan is kept, and the failed call is made anew."""
    down = ModelError("the provider is down", FailureClass.PERMISSION, unbilled=True)
    with ScriptedModel([plan(step("add", a=1, b=1)), down, verdict(), answer()]) as model:
        agent = Agent(model, tools=[add], store=store)
        it = agent.run("x")
        assert (it.status, it.stop_reason, it.detail) == (Status.SUSPENDED, "model_failed", "the provider is down")
        it.resume()
    assert it.status is Status.COMPLETED
    assert [r.phase for r in model.requests] == ["plan", "critique", "critique", "answer"]


def test_passing_failures_are_retried_with_a_growing_wait(store: DiskStore) -> None:
    """Each attempt is reserved for and recorded by itself; the wait is no working time."""
    waits: list[float] = []
    flaky = ModelError("overloaded", FailureClass.TRANSIENT, unbilled=True)
    slow = ModelError("too many", FailureClass.RATE_LIMITED, retry_after_s=7, unbilled=True)
    it = run(store, flaky, slow, answer(), tools=[], sleep=waits.append)
    assert it.status is Status.COMPLETED
    assert waits[1] >= 7
    assert [r.event.attempt for r in it.events if r.event.kind == "model_asked"] == [1, 2, 3]


def test_a_provider_that_asks_to_wait_for_a_day_is_not_waited_for(store: DiskStore) -> None:
    """The run rests and says so."""
    late = ModelError("try tomorrow", FailureClass.RATE_LIMITED, retry_after_s=86_400, unbilled=True)
    it = run(store, late, tools=[], sleep=lambda s: pytest.fail(f"slept {s} s"))
    assert (it.status, it.detail) == (Status.SUSPENDED, "try tomorrow")


def test_closing_a_stream_suspends_and_withdraws_what_was_not_begun(store: DiskStore) -> None:
    """A call that was announced and not made is neither in doubt nor counted, and resume makes it."""
    with ScriptedModel([plan(step("note", text="x")), answer()]) as model:
        agent = Agent(model, tools=[note], store=store, approve="auto")
        stream = agent.stream("x")
        for record in stream:
            if record.event.kind == "tool_claimed":
                break
        stream.close()
        it = agent.runs()[0]
        assert (it.status, NOTES, it.spent.tool_calls) == (Status.SUSPENDED, [], 0)
        it.resume()
    assert (it.status, NOTES) == (Status.COMPLETED, ["x"])


def test_an_interrupt_in_a_read_is_resumed_by_reading_again(store: DiskStore) -> None:
    """The interrupt is raised again; the run is suspended with everything recorded."""
    calls: list[int] = []

    @tool(effect="read")
    def slow() -> int:
        """Interrupted the first time."""
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return 5

    with ScriptedModel([plan(step("slow")), verdict(), answer()]) as model:
        agent = Agent(model, tools=[slow], store=store)
        with pytest.raises(KeyboardInterrupt):
            agent.run("x")
        it = agent.runs()[0]
        assert (it.status, it.stop_reason) == (Status.SUSPENDED, "interrupted")
        it.resume()
    assert (it.result("s1"), len(calls)) == (5, 2)


@pytest.mark.parametrize(("said", "acted"), [("done", 1), ("not_done", 2)])
def test_an_interrupted_write_is_in_doubt_until_a_person_has_looked(store: DiskStore, said: Any, acted: int) -> None:
    """It is never repeated by itself: "done" takes it as having happened, "not_done" makes it again."""
    calls: list[int] = []

    @tool(effect="write", reversibility="full")
    def send() -> int:
        """Interrupted the first time, after it has acted."""
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return 5

    with ScriptedModel([plan(step("send")), answer()]) as model:
        agent = Agent(model, tools=[send], store=store, approve="auto")
        with pytest.raises(KeyboardInterrupt):
            agent.run("x")
        it = agent.runs()[0].resume()
        assert (it.status, it.stop_reason, len(calls)) == (Status.SUSPENDED, "in_doubt", 1)
        it.resume(in_doubt=said)
    assert (it.status, len(calls)) == (Status.COMPLETED, acted)


def test_resume_names_a_tool_that_is_missing_or_has_changed(store: DiskStore) -> None:
    """A run goes on only with what it began with."""
    with ScriptedModel([plan(step("note", text="x"))]) as model:
        it = Agent(model, tools=[note], store=store).run("x")
        with pytest.raises(ConfigError, match="the tool 'note' is not here"):
            Agent(model, tools=[add], store=store).resume(it.id)

        @tool(name="note")
        def other(words: str) -> None:
            """Another note.

            Args:
                words: the note.
            """

        with pytest.raises(ConfigError, match="the tool 'note' has changed: its arguments are others"):
            Agent(model, tools=[other], store=store).resume(it.id)
        with pytest.raises(ConfigError, match="it began with model='scripted'"):
            Agent(ScriptedModel([], ref="scripted:2"), tools=[note], store=store).resume(it.id)
        with pytest.raises(RunNotFound, match="r99"):
            Agent(model, store=store).resume("r99")


def test_resuming_an_ended_run_changes_nothing(store: DiskStore) -> None:
    """It is what it was, to the record."""
    it = run(store, plan(step("add", a=1, b=1)), verdict(), answer())
    before = it.events
    again = Agent(ScriptedModel([]), tools=[add, table, broken, note], store=store).resume(it.id)
    assert (again.status, again.events) == (Status.COMPLETED, before)


def test_two_drivers_of_one_run_cannot_both_append(store: DiskStore) -> None:
    """The second one is told who drives it; where the lock is gone, the store refuses what would be recorded twice."""
    agent = Agent(ScriptedModel([answer(), answer()]), store=store)
    session = agent.begin("x")
    with pytest.raises(RunHeld, match="is being driven by process"):
        agent.reopen(session.log.run)
    session._hold.release(ended=False)
    other = agent.reopen(session.log.run)
    with pytest.raises(RunConflict, match="another kernel or process drives it"):
        list(session)
    other.finish()
    assert other.state.status is Status.COMPLETED


def test_a_run_is_let_go_of_when_it_rests_and_when_nobody_holds_it_any_more(store: DiskStore) -> None:
    """At its end, when a stream is closed, and when a session that was never driven is forgotten."""
    agent = Agent(ScriptedModel([plan(step("add", a=1, b=1)), verdict(), answer()]), tools=[add], store=store)
    stream = agent.stream("x")
    next(stream)
    (run,) = agent.runs()
    with pytest.raises(RunHeld):
        run.resume()
    stream.close()
    session = agent.reopen(run.id)
    del session
    gc.collect()
    assert run.resume().status is Status.COMPLETED
    assert not list((Path(store.place) / "locks").iterdir())


def test_a_run_can_be_taken_away_from_its_thread(store: DiskStore) -> None:
    """Suspended from another thread, what the model still says is dropped and the run is resumable."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(_: object) -> dict[str, Any]:
        asked.set()
        go_on.wait(10)
        return answer("late")[1]

    with ScriptedModel([slow, answer("again")]) as model:
        agent = Agent(model, store=store)
        session = agent.begin("x")
        thread = threading.Thread(target=session.finish)
        thread.start()
        assert asked.wait(10)
        session.suspend(lambda _: RunSuspended(reason="interrupted"))
        go_on.set()
        thread.join(10)
        it = agent.runs()[0]
        assert (it.status, it.output) == (Status.SUSPENDED, "")
        assert it.resume().output == "again"


def test_it_runs_inside_a_running_event_loop_and_on_any_thread(store: DiskStore) -> None:
    """Jupyter's loop runs already when a cell does; async tools work there too."""

    @tool(effect="read")
    async def fetch(n: int) -> int:
        """Wait a little.

        Args:
            n: what comes back.
        """
        await asyncio.sleep(0)
        return n

    async def cell() -> Any:
        return run(store, plan(step("fetch", n=3)), verdict(), answer(), tools=[fetch])

    assert asyncio.run(cell()).result("s1") == 3
    assert run(store, plan(step("fetch", n=4)), verdict(), answer(), tools=[fetch]).result("s1") == 4


def test_replay_makes_no_call(store: DiskStore) -> None:
    """The records come from the store as they were."""
    it = run(store, plan(step("add", a=1, b=1)), verdict(), answer())
    assert list(Agent(ScriptedModel([]), store=store).runs()[0].replay()) == it.events


def test_two_megabytes_of_result_are_kept_aside_once_and_prompts_stay_small(store: DiskStore) -> None:
    """A model sees a preview; the next tool gets all of it."""

    @tool(effect="read")
    def big() -> list[int]:
        """A long list."""
        return list(range(300_000))

    @tool(effect="read")
    def total(numbers: list[int]) -> int:
        """The sum.

        Args:
            numbers: what to add up.
        """
        return sum(numbers)

    with ScriptedModel([plan(step("big"), step("total", numbers="$s1")), verdict(), verdict(), answer()]) as model:
        it = Agent(model, tools=[big, total], store=store).run("x")
    assert it.result("s2") == sum(range(300_000))
    assert max(len(r.prompt) + len(r.system) for r in model.requests) < 20_000


def test_hostile_tools_are_results_and_never_exceptions(store: DiskStore) -> None:
    """Raising anything, exiting, recursing or returning what is not JSON: each is a failed call with a message."""

    def exits() -> None:
        """Exit."""
        raise SystemExit(3)

    def recurses() -> int:
        """Recurse."""
        return recurses()

    def returns_object() -> object:
        """Return an object."""
        return object()

    def returns_lock() -> dict[str, Any]:
        """Return a lock in a dict."""
        return {"lock": threading.Lock()}

    for function in (exits, recurses, returns_object, returns_lock):
        made = tool(effect="read")(function)
        again = plan(step(made.name))
        fatal = function in (exits, recurses)  # no plan mends that; what is only wrong is planned around
        it = run(store, again, *([] if fatal else [again, again]), answer(), tools=[made])
        assert it.stop_reason == ("escalated" if fatal else "loop"), made.name
        assert it.state.outcomes[0].message, made.name


def test_a_users_plan_is_durable_with_the_run_that_it_starts(store: DiskStore) -> None:
    """Left at its very first record, the run goes on with that plan and asks no planner."""
    with ScriptedModel([verdict(), answer()]) as model:
        agent = Agent(model, tools=[add], store=store)
        stream = agent.stream("x", plan=[step("add", a=1, b=2)])
        assert next(stream).event.kind == "run_started"
        stream.close()
        assert agent.runs()[0].resume().result("s1") == 3


def test_a_stream_that_is_never_asked_starts_nothing(store: DiskStore) -> None:
    """The run begins with its first record."""
    Agent(ScriptedModel([]), store=store).stream("x")
    assert store.runs() == []


@pytest.mark.parametrize("error", [ConnectionError("dropped"), ValueError("odd"), SystemExit(1)])
def test_a_write_that_raises_is_in_doubt(store: DiskStore, error: BaseException) -> None:
    """Only a ToolFailure says that nothing happened; after anything else a person has to look."""

    @tool(effect="write", reversibility="full")
    def send() -> None:
        """Act, then fail."""
        NOTES.append("sent")
        raise error

    it = run(store, plan(step("send")), tools=[send], approve="auto")
    assert (it.status, it.stop_reason, NOTES) == (Status.SUSPENDED, "in_doubt", ["sent"])


def test_a_write_that_says_that_it_did_nothing_is_planned_around(store: DiskStore) -> None:
    """A ToolFailure is a known outcome."""

    @tool(effect="write", reversibility="full")
    def send() -> None:
        """Refuse."""
        raise ToolFailure("the outbox is closed")

    it = run(
        store, plan(step("send")), plan(step("add", a=1, b=1)), verdict(), answer(), tools=[send, add], approve="auto"
    )
    assert [o.status for o in it.state.outcomes] == ["failed", "ok"]


def test_a_write_whose_result_is_not_json_has_acted(store: DiskStore) -> None:
    """It returned, so it is done; only its result is not kept."""

    @tool(effect="write", reversibility="full")
    def send() -> object:
        """Act."""
        NOTES.append("sent")
        return object()

    it = run(store, plan(step("send")), answer(), tools=[send], approve="auto")
    assert (it.status, NOTES) == (Status.COMPLETED, ["sent"])


def test_a_read_that_fails_in_passing_is_repeated(store: DiskStore) -> None:
    """With its arguments as they are: the failure was not theirs."""
    tries: list[int] = []

    @tool(effect="read")
    def flaky(n: int) -> int:
        """Fail the first time.

        Args:
            n: what comes back.
        """
        tries.append(n)
        if len(tries) == 1:
            raise ConnectionError("reset")
        return n

    it = run(store, plan(step("flaky", n=4)), verdict(), answer(), tools=[flaky])
    assert (it.result("s1"), tries, it.state.revisions) == (4, [4, 4], 0)


def test_a_resumed_run_has_the_tools_that_it_began_with(store: DiskStore) -> None:
    """One that came later is not offered to it, and a plan that uses it is sent back."""
    down = ModelError("down", FailureClass.PERMISSION, unbilled=True)
    with ScriptedModel([down, plan(step("add", a=1, b=1)), plan(step("table")), verdict(), answer()]) as model:
        it = Agent(model, tools=[table], store=store).run("x")
        it = Agent(model, tools=[table, add], store=store).resume(it.id)
    assert it.plan is not None
    assert (it.status, [s.tool for s in it.plan.steps]) == (Status.COMPLETED, ["table"])


def test_an_extended_run_that_had_escalated_still_says_so(store: DiskStore) -> None:
    """More calls buy its answer; they do not finish its plan."""
    lines = [plan(step("add", a=1, b=1), step("add", a=2, b=2)), verdict("escalate"), answer("half")]
    with ScriptedModel(lines) as model:
        it = Agent(model, tools=[add], store=store, budget=Budget(model_calls=2, tokens=None)).run("x")
        assert it.status is Status.STOPPED
        it.extend(model_calls=5)
    assert (it.status, it.stop_reason, it.output) == (Status.STOPPED, "escalated", "half")


def test_a_dollar_cap_is_held_by_whoever_resumes(store: DiskStore) -> None:
    """The run's budget counts, not the agent's: a model whose price nobody knows does not go on with it."""
    down = ModelError("down", FailureClass.PERMISSION, unbilled=True)
    priced = ScriptedModel([down], ref="other:model", price=lambda _: 0.1)
    it = Agent(priced, store=store, budget=Budget(usd=1)).run("x")
    assert it.status is Status.SUSPENDED
    with pytest.raises(UnknownPrice, match=r"a budget of \$1 cannot be held"):
        Agent(ScriptedModel([], ref="other:model"), store=store).resume(it.id)


def test_a_tool_that_became_a_write_is_not_taken_for_the_read_that_it_was(store: DiskStore) -> None:
    """Its effect is part of what the run began with."""

    def look() -> int:
        """Look."""
        return 1

    down = ModelError("down", FailureClass.PERMISSION, unbilled=True)
    with ScriptedModel([down]) as model:
        it = Agent(model, tools=[tool(effect="read")(look)], store=store).run("x")
        with pytest.raises(ConfigError, match="the tool 'look' has changed: effect was 'read' and is 'write'"):
            Agent(model, tools=[tool(look)], store=store).resume(it.id)


def test_a_wait_longer_than_the_wall_clock_allows_is_not_waited(store: DiskStore) -> None:
    """The run rests instead."""
    late = ModelError("busy", FailureClass.RATE_LIMITED, retry_after_s=4, unbilled=True)
    it = run(store, late, tools=[], budget=Budget(seconds=2), sleep=lambda s: pytest.fail(f"slept {s} s"))
    assert it.status is Status.SUSPENDED


def test_time_that_was_cut_short_is_work_too(store: DiskStore, fake_clock: Any) -> None:
    """An interrupted call counts the seconds that it took."""

    @tool(effect="read")
    def slow() -> int:
        """Be interrupted after 7 s."""
        fake_clock.sleep(7)
        raise KeyboardInterrupt

    with ScriptedModel([plan(step("slow"))]) as model:
        agent = Agent(model, tools=[slow], store=store, clock=fake_clock.clock())
        with pytest.raises(KeyboardInterrupt):
            agent.run("x")
    assert agent.runs()[0].spent.working_seconds == 7


def test_a_call_that_was_not_done_still_counts_as_a_call(store: DiskStore) -> None:
    """A person who says so again and again does not get past the cap."""
    calls: list[int] = []

    @tool(effect="write", reversibility="full")
    def send() -> None:
        """Be interrupted."""
        calls.append(1)
        raise ConnectionError

    with ScriptedModel([plan(step("send"))]) as model:
        agent = Agent(model, tools=[send], store=store, approve="auto", budget=Budget(tool_calls=2))
        it = agent.run("x")
        it.resume(in_doubt="not_done")
        it.resume(in_doubt="not_done")
    assert (it.status, it.stop_reason, len(calls)) == (Status.STOPPED, "tool_calls", 2)
    odd: Any = "yes"
    with pytest.raises(ConfigError, match="neither 'done' nor 'not_done'"):
        Agent(ScriptedModel([plan(step("send"))]), tools=[send], store=store, approve="auto").run("x").resume(
            in_doubt=odd
        )


def test_a_write_is_not_begun_where_it_would_be_cut_short(store: DiskStore, fake_clock: Any) -> None:
    """Ten seconds, or its own timeout, have to be left."""

    def slow(_: object) -> Any:
        fake_clock.sleep(95)
        return plan(step("note", text="x"))[1]

    budget = Budget(working_seconds=120)
    it = run(store, slow, approve="auto", budget=budget, clock=fake_clock.clock())
    assert (it.status, it.stop_reason, NOTES) == (Status.STOPPED, "working_seconds", [])
    assert "10 working seconds needed, 7 working seconds left" in it.detail


def test_a_limit_always_hands_over_what_there_is(store: DiskStore) -> None:
    """Results that no critic has seen too, in code's words where no model can be paid for."""
    it = run(store, plan(step("table"), step("add", a=1, b=1)), budget=Budget(model_calls=1, tokens=None))
    assert "square" in it.output
    assert (it.status, it.stop_reason) == (Status.STOPPED, "model_calls")


def test_extending_says_what_helps(store: DiskStore) -> None:
    """A cap that did not stop the run, or none at all, is refused before anything is lost."""
    agent_lines = [*[plan(step("add", a=1, b=1), step("add", a=2, b=2))] * 2, verdict(), answer("half")]
    with ScriptedModel(agent_lines) as model:
        it = Agent(model, tools=[add], store=store, budget=Budget(steps=1)).run("x")
        for wrong in ({}, {"tokens": 5}):
            with pytest.raises(ConfigError, match="extend steps"):
                it.extend(accept_changes=False, **wrong)
        with pytest.raises(ConfigError, match="the tool 'add' is not here"):
            Agent(model, store=store).runs()[0].extend(steps=1)
    assert (it.status, it.output) == (Status.STOPPED, "half")


def test_the_line_that_extends_a_run_is_enough_to_go_on(store: DiskStore) -> None:
    """What it suggests covers what was short, once."""
    with ScriptedModel([plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        it = Agent(model, tools=[add], store=store, budget=Budget(tokens=1000)).run("x")
        assert it.status is Status.STOPPED
        amount = int(it.summary.next.rpartition("--tokens ")[2].split()[0])
        it.extend(tokens=amount)
        assert any(r.event.kind == "plan_made" for r in it.events)
        while str(it.status) == "stopped":  # a text, for it changes under mypy's nose
            it.extend(tokens=20_000)
    assert str(it.status) == "completed"


def test_a_run_can_be_cancelled_for_good(store: DiskStore) -> None:
    """It ends with the reason, and does not go on."""
    it = run(store, plan(step("note", text="x")))
    it.cancel("changed my mind")
    assert (it.status, NOTES) == (Status.CANCELLED, [])
    assert "changed my mind" in it.detail
    with pytest.raises(ConfigError, match="is cancelled already"):
        it.cancel()


def test_an_approver_that_answers_nonsense_refuses(store: DiskStore) -> None:
    """Only an Answer approves."""
    yes: Any = lambda _: True  # noqa: E731
    it = run(store, plan(step("note", text="x")), answer("it was not noted"), approver=yes)
    assert (it.status, it.stop_reason, NOTES) == (Status.STOPPED, "escalated", [])
    assert "the approver gave True, which is no Answer" in it.detail


def test_a_replay_does_not_depend_on_how_fast_the_machine_is(store: DiskStore, tmp_path: Path) -> None:
    """Only what was recorded counts as time."""

    @tool(effect="read")
    def slow() -> int:
        """Take a moment."""
        time.sleep(0.3)
        return 1

    tape = tmp_path / "tape.jsonl"
    with ScriptedModel([plan(step("slow")), verdict(), answer("one")]) as model:
        live = Agent(model, tools=[slow], store=store, cassette=tape, mode="record").run("x")
    quick = Budget(working_seconds=live.spent.working_seconds - 0.2)
    again = Agent(ScriptedModel([]), tools=[slow], store=store, cassette=tape, mode="replay", budget=quick).run("x")
    assert again.output == "one"


def test_the_sample_parts_are_what_they_say() -> None:
    """Tools stay callable as the functions they were."""
    assert parts.add(1, 2) == 3


def test_a_users_check_that_is_no_expression_is_found_before_anything_starts(store: DiskStore) -> None:
    """A bracket too few costs nothing."""
    given = [Step(tool="table", check=Check(expression="len(result"))]
    with pytest.raises(ConfigError, match=r"its check 'len\(result' is no expression"):
        run(store, plan=given)


def test_an_error_in_the_middle_leaves_the_run_resting_with_the_reason(store: DiskStore) -> None:
    """It is not "in progress" for ever."""
    with pytest.raises(UnexpectedCall):
        Agent(ScriptedModel([]), store=store).run("x")
    it = Agent(ScriptedModel([answer()]), store=store).runs()[0]
    assert (it.status, it.stop_reason) == (Status.SUSPENDED, "error")
    assert "UnexpectedCall" in it.detail
    assert it.resume().status is Status.COMPLETED


def test_an_answer_without_tools_is_not_taken_for_knowledge(store: DiskStore) -> None:
    """Nothing was looked up, and the record says so."""
    it = run(store, answer("100 000"), tools=[])
    end = it.state.finished
    assert end is not None
    assert (end.confidence, end.unknowns) == ("low", ("there were no tools: nothing was looked up",))


def test_recording_does_not_take_replies_from_the_prompt_cache(tmp_path: Path) -> None:
    """What was cached before is asked anew, so that the cassette is whole."""

    class Counting(ScriptedModel):
        pass

    tape = tmp_path / "tape.jsonl"
    for mode in ("live", "record"):
        model = Counting([answer("one")], ref="other:model")
        Agent(model, store=tmp_path / "s", cassette=tape, mode=mode).run("x")
        assert len(model.requests) == 1
    assert tape.exists()


def test_an_abandoned_call_of_a_local_model_is_not_charged(store: DiskStore) -> None:
    """Nobody bills for it; one of a provider stays charged at its worst case."""
    for ref, spent in (("local:x", 0), ("scripted", 1)):

        def stop(_: object) -> Any:
            raise KeyboardInterrupt

        with ScriptedModel([stop, answer()], ref=ref) as model:
            agent = Agent(model, store=store)
            with pytest.raises(KeyboardInterrupt):
                agent.run("x")
            it = agent.runs()[0].resume()
        assert (it.spent.tokens > 2_000) == bool(spent)


def test_an_interrupt_that_comes_with_a_commit_loses_nothing(store: DiskStore) -> None:
    """The commit was made, so its records are not appended a second time, and the interrupt is what is seen."""

    class Late:
        """The store, with somebody pressing ■ right after the third commit."""

        def __init__(self) -> None:
            self.commits = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def append(self, run: str, records: Any, blobs: Any, rows: Any = NO_ROWS) -> None:
            store.append(run, records, blobs, rows)
            self.commits += 1
            if self.commits == 3:
                raise KeyboardInterrupt

    with ScriptedModel([plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        with pytest.raises(KeyboardInterrupt):
            Agent(model, tools=[add], store=Late()).run("x")
        it = Agent(model, tools=[add], store=store).runs()[0]
        assert it.status is Status.SUSPENDED
        it.resume()
    assert (it.status, it.result("s1")) == (Status.COMPLETED, 2)


STRICT: list[bool] = []


def only_rome(name: str) -> str:
    """What a tool's own type says of its argument, once it has become strict."""
    if STRICT and name != "Rome":
        raise ValueError("only Rome")
    return name


def test_a_read_that_is_done_again_may_find_its_arguments_wrong(store: DiskStore) -> None:
    """A tool that has become stricter since the interrupt refuses the call, and the planner is told."""
    STRICT.clear()

    @tool(effect="read")
    def look(city: Annotated[str, AfterValidator(only_rome)]) -> int:
        """Look, and be interrupted the first time.

        Args:
            city: where.
        """
        if not STRICT:
            raise KeyboardInterrupt
        return len(city)

    with ScriptedModel(
        [plan(step("look", city="Oslo")), plan(step("look", city="Rome")), verdict(), answer()]
    ) as model:
        agent = Agent(model, tools=[look], store=store)
        with pytest.raises(KeyboardInterrupt):
            agent.run("x")
        STRICT.append(True)
        it = agent.runs()[0].resume()
    assert (it.status, [o.status for o in it.state.outcomes]) == (Status.COMPLETED, ["failed", "ok"])


def test_two_servers_never_share_a_cached_reply() -> None:
    """The same model's name elsewhere is another request."""
    here = ModelRequest("openai:x", "answer", "s", "p")
    there = replace(here, endpoint="http://127.0.0.1:1/v1")
    assert here.key() != there.key() != replace(there, endpoint="http://127.0.0.1:2/v1").key()
    assert OpenAIModel("x", base_url="http://127.0.0.1:1/v1").endpoint != OpenAIModel("x").endpoint == ""


@pytest.mark.parametrize("tags", [{"task_type": 1}, {1: "a"}, ["task_type"], "task_type"], ids=repr)
def test_tags_are_texts(store: DiskStore, tags: Any) -> None:
    """What else they are is said before anything is recorded: a run that holds a number there could not be read."""
    with pytest.raises(ConfigError, match="are no texts by name"):
        Agent(ScriptedModel([]), tools=[add], store=store).run("add", tags=tags)
    assert store.runs() == []


def test_an_agent_with_a_cassette_records_and_replays_as_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a notebook that makes its runs in Python is recorded and replayed like its cells; no other agent is."""
    tape = tmp_path / "tape.jsonl"
    monkeypatch.setenv("AGENTNB_MODE", "record")
    script = ScriptedModel([answer("recorded")], ref="local:smollm2")
    assert Agent(script, store=tmp_path / "a", cassette=tape).run("x", plan=[]).output == "recorded"
    monkeypatch.setenv("AGENTNB_MODE", "replay")
    again = Agent(ScriptedModel([], ref="local:smollm2"), store=tmp_path / "b", cassette=tape)
    assert again.run("x", plan=[]).output == "recorded"
    assert again.replaying
    assert not Agent(ScriptedModel([answer()]), store=tmp_path / "c").replaying
    asked = Agent(
        ScriptedModel([answer("live")], ref="local:smollm2"), store=tmp_path / "d", cassette=tape, mode="live"
    )
    assert asked.run("x", plan=[]).output == "live"
