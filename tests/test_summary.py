"""What a person is shown: the same numbers as the state, marks and notes of each step, and the next line to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, Check, ScriptedModel, Step, tool
from agentnb.approval import Answer, ApprovalRequest, person
from agentnb.budget import Spent, Usage
from agentnb.errors import ConfigError, FailureClass, ModelError, ToolFailure
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    AskedCall,
    Event,
    Kept,
    ModelAsked,
    ModelFailed,
    ModelReplied,
    Record,
    RunResumed,
    RunStarted,
    RunSuspended,
)
from agentnb.guards import at_most, max_value
from agentnb.log import Clock
from agentnb.notes import brief_args, decision, edited
from agentnb.plan import UnmetReference
from agentnb.policy import Policy
from agentnb.render import as_text
from agentnb.run import Run
from agentnb.state import Status
from agentnb.summary import Summary, Tally, summarise
from agentnb.transitions import fold
from agentnb.wording import cost
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, bind, broken, note, plan, step, table, verdict


def run(*lines: Any, **options: Any) -> Any:
    how = {"plan": options.pop("plan")} if "plan" in options else {}
    with ScriptedModel(lines, price=options.pop("price", None)) as model:
        return Agent(model, **{"tools": [add, table, broken, note], "store": MemoryStore(), **options}).run(
            "the task", **how
        )


def records(*events: Event) -> list[Record]:
    start = RunStarted(run="r1", task="t", model="m", cheap_model="c", tools={}, budget=Budget(usd=1))
    return [Record(seq, 0, seq / 10, event) for seq, event in enumerate([start, *events])]


def asked(phase: Any, usd: float = 0.5) -> ModelAsked:
    reserved = Spent(usd=usd, input_tokens=100, output_tokens=50, model_calls=1)
    return ModelAsked(phase=phase, model="m", key="k", attempt=1, reserved=reserved)


REPLIED = ModelReplied(text=Kept(2, "{}"), usage=Usage(10, 5), usd=0.25, seconds=2, stop="end", model="m")
MOVES: dict[str, tuple[Event, ...]] = {
    "reply": (REPLIED,),
    "billed": (ModelFailed(failure=FailureClass.TRANSIENT, message="x", seconds=1, unbilled=False),),
    "unbilled": (ModelFailed(failure=FailureClass.TRANSIENT, message="x", seconds=1, unbilled=True),),
    "crash": (RunResumed(process=1),),
    "stopped": (RunSuspended(reason="interrupted"), RunResumed(process=2)),
    "withdrawn": (RunSuspended(reason="closed", withdrawn=True), RunResumed(process=2)),
}


UNCOUNTED = replace(REPLIED, usage=Usage(100, 50, uncounted=True), usd=0.5)


@pytest.mark.parametrize(
    ("ends", "least", "most", "said"),
    [
        ([REPLIED, REPLIED], 0.5, 0.5, "$0.500"),
        ([REPLIED, UNCOUNTED], 0.25, 0.75, "at least $0.250, at most $0.750"),
        ([REPLIED, *MOVES["billed"]], 0.25, 0.75, "at least $0.250, at most $0.750"),
        ([REPLIED, *MOVES["unbilled"]], 0.25, 0.25, "$0.250"),
        ([REPLIED, *MOVES["crash"]], 0.25, 0.75, "at least $0.250, at most $0.750"),
    ],
)
def test_what_nobody_counted_is_charged_and_told_apart(ends: list[Event], least: float, most: float, said: str) -> None:
    """Caps are held against the most that it can have cost; a person sees what the providers have counted, too."""
    summary = summarise(records(*[event for end in ends for event in (asked("plan"), end)]))
    assert (summary.spent.least_usd, summary.spent.usd) == (least, most)
    assert cost(summary) == said
    assert summary.spent.least_tokens == 15 * len([end for end in ends if end is REPLIED])


def test_a_model_without_a_price_makes_the_cost_a_lower_bound() -> None:
    """What a server of unknown price charges is not shown as nothing, once other calls have cost something."""
    elsewhere = replace(asked("plan"), model="openai:gpt-test")
    journal = records(asked("plan"), REPLIED, elsewhere, replace(REPLIED, usd=0.0))
    assert cost(summarise(journal)) == "at least $0.250"
    here = replace(elsewhere, model="local:smollm2")
    assert cost(summarise(records(asked("plan"), REPLIED, here, replace(REPLIED, usd=0.0)))) == "$0.250"


@settings(max_examples=200)
@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=12))
def test_the_costs_by_phase_add_up_to_what_was_spent(moves: list[str]) -> None:
    """However each call ends, crashes and withdrawals included, no token or cent is missing from the table."""
    journal = records(*[event for move in moves for event in (asked("plan"), *MOVES[move])])
    summary = summarise(journal)
    assert summary.spent == fold(journal).used()
    assert sum(phase.tokens for phase in summary.phases) == summary.spent.tokens
    assert sum(phase.usd for phase in summary.phases) == pytest.approx(summary.spent.usd)
    assert sum(phase.calls for phase in summary.phases) == summary.spent.model_calls


def test_a_summary_is_the_fold_of_the_records_at_every_place() -> None:
    """Taken in one by one, the state is that of the records so far, and a summary can be made after each."""
    it = run(plan(step("add", a=1, b="$? two")), bind(b=2), verdict(finding="it is 3"), answer("3"))
    tally = Tally()
    for place, record in enumerate(it.events, start=1):
        tally.add(record)
        assert tally.state == fold(it.events[:place])
        assert tally.summary() == summarise(it.events[:place])
    assert tally.summary() == it.summary


def test_a_finished_run_shows_answer_steps_and_costs() -> None:
    """Everything in its place."""
    it = run(
        plan(step("add", "Add them", a=1, b=2), step("table", rows=0)),
        verdict(finding="it is 3"),
        verdict(),
        answer("**3**"),
        price=lambda usage: usage.output_tokens / 1000,
    )
    shown = it.summary
    assert (shown.status, shown.output, shown.confidence, shown.reason, shown.next, shown.now) == (
        Status.COMPLETED, "**3**", "high", "", "", "",
    )  # fmt: skip
    first, second = shown.steps
    assert (first.title, first.call, first.mark, first.finding, first.note) == (
        "Add them",
        "add(a, b)",
        "done",
        "it is 3",
        "",
    )
    assert (second.mark, second.note) == ("empty", "nothing found")
    assert [phase.phase for phase in shown.phases] == ["plan", "critique", "answer"]
    assert sum(phase.usd for phase in shown.phases) == pytest.approx(it.spent.usd)
    assert sum(line.usd for line in shown.steps) == pytest.approx(shown.phases[1].usd)
    assert shown.models == ("scripted",)


def test_a_run_is_shown_in_both_forms() -> None:
    """What a notebook displays of it is one reading of its records, as text and as HTML."""
    it = run(plan(), answer())
    assert it._repr_mimebundle_() == {"text/plain": repr(it), "text/html": it._repr_html_()}


def test_gauges_show_each_cap_that_is_set() -> None:
    """Used, reserved and cap, in the order of the budget; a bare summary has no clock in it."""
    it = run(
        plan(step("add", a=1, b=2)),
        verdict(),
        answer(),
        budget=Budget(usd=1, model_calls=9, seconds=60),
        price=lambda _: 0.1,
    )
    gauges = {gauge.limit: gauge for gauge in it.summary.gauges}
    assert list(gauges) == ["usd", "tokens", "model_calls", "steps", "seconds", "working_seconds"]
    assert (gauges["usd"].used, gauges["usd"].cap) == (pytest.approx(0.3), 1)
    assert (gauges["model_calls"].used, gauges["steps"].used, gauges["tokens"].used) == (3, 1, it.spent.tokens)
    bare = summarise(it.events, bare=True)
    assert [gauge.limit for gauge in bare.gauges] == ["usd", "tokens", "model_calls", "steps"]
    assert [line.seconds for line in bare.steps] == [None]
    journal = records(asked("plan"))
    reserved = {gauge.limit: gauge.reserved for gauge in summarise(journal).gauges}
    assert (reserved["usd"], reserved["tokens"]) == (0.5, 150)


def test_a_failed_step_says_why_in_one_line() -> None:
    """The first line of a long message, cut to a line of a notebook."""
    again = plan(step("broken", why="no such column\nTraceback…"))
    it = run(again, plan(step("broken", why="x" * 500)), plan(step("add", a=1, b=1)), verdict(), answer())
    shown = it.summary
    assert [line.mark for line in shown.steps] == ["failed", "failed", "done"]
    assert shown.steps[0].note == "no such column"
    assert (len(shown.steps[1].note), shown.steps[1].note[-1]) == (120, "…")
    assert len(shown.revisions) == 2


def test_a_retried_step_says_how_often() -> None:
    """While it is tried again the note has the number and the reason."""
    lines = [
        plan(step("broken", why="$? what")),
        bind(why="a"),
        bind(why="b"),
        bind(why="c"),
        *[plan(step("add", a=1, b=1))],
        verdict(),
        answer(),
    ]
    it = run(*lines)
    notes = []
    tally = Tally()
    for record in it.events:
        tally.add(record)
        if record.event.kind == "step_judged" and record.event.verdict == "retry":
            notes.append(tally.summary().steps[0].note)
    assert notes == ["retry 1 of 2: a", "retry 2 of 2: b"]


def test_who_decided_is_shown() -> None:
    """With the reason, where there is one."""
    it = run(
        plan(step("note", text="x")),
        plan(step("add", a=1, b=1)),
        verdict(),
        answer(),
        approver=lambda _: Answer("reject", "ada", "not on a Friday"),
    )
    assert it.summary.decisions == ("ada rejected s1: not on a Friday",)
    it = run(plan(step("note", text="x")), answer(), approver=lambda _: Answer("approve", "ada"))
    assert it.summary.decisions == ("ada approved s1",)


def test_what_waits_for_a_person_says_what_to_type() -> None:
    """The step is marked, and both lines are there."""
    shown = run(plan(step("note", text="x"))).summary
    assert (shown.status, shown.steps[0].mark, shown.reason) == (
        Status.AWAITING_APPROVAL,
        "waiting",
        "waits for your decision",
    )
    assert shown.next == (
        "%agent approve r1-test   or   %agent edit r1-test ARG=VALUE   or   %agent reject r1-test WHY"
    )


def test_what_stopped_says_why_and_how_to_go_on() -> None:
    """A limit, a provider that is down, a check that failed: each has its reason and its next line."""
    limited = run(*[plan(*[step("add", a=1, b=1)] * 2)] * 2, verdict(), answer("half"), budget=Budget(steps=1)).summary
    assert limited.reason == "reached its limit of 1 step"
    assert limited.detail == ""  # the budget of 1 step is used up: which is the same
    assert limited.next == "%agent extend r1-test --steps 1"
    assert [line.mark for line in limited.steps] == ["done", "todo"]
    down = run(ModelError("down", FailureClass.PERMISSION)).summary
    assert (down.reason, down.detail, down.next) == ("the model could not be reached", "down", "%agent resume r1-test")
    wrong = run(
        answer("?"), plan=[Step(tool="add", args={"a": 1, "b": 1}, check=Check(expression="result == 3"))]
    ).summary
    assert (wrong.reason, wrong.next) == ("needs a person", "%agent fork r1-test --at s1")
    garbled = run(*[("plan", "prose")] * 4).summary
    assert garbled.reason == "the model's replies could not be used"
    assert garbled.next == "%agent retry r1-test HINT   or   %agent cancel r1-test"


def test_what_it_does_now_follows_the_run() -> None:
    """One short sentence for each moment, none at the end."""
    it = run(plan(step("add", a=1, b=2), step("table")), verdict(), verdict(), answer())
    tally = Tally()
    said = []
    for record in it.events:
        tally.add(record)
        said.append(tally.summary().now)
    assert list(dict.fromkeys(said)) == [
        "planning",
        "step 1 of 2: preparing add",
        "step 1 of 2: calling add",
        "step 1 of 2: checking the result",
        "step 2 of 2: preparing table",
        "step 2 of 2: calling table",
        "step 2 of 2: checking the result",
        "writing the answer",
        "",
    ]


# ------------------------------------------------------------------------------------- calls that do not just succeed


@tool(effect="write", reversibility="full")
def pay(to: str, amount: int, memo: str = "") -> str:
    """Pay somebody.

    Args:
        to: who.
        amount: euros.
        memo: why; "lost" loses the connection.
    """
    if memo == "lost":
        raise TimeoutError("no answer in 5 s")
    return f"paid {amount} to {to}"


@tool(effect="destructive")
def drop(table: str) -> str:
    """Drop a table.

    Args:
        table: its name; "held" cannot be dropped.
    """
    if table == "held":
        raise ToolFailure("it is held", FailureClass.STALE_DATA)
    if table == "far":
        raise TimeoutError("no answer")
    return "dropped"


def seen(it: Any, *, bare: bool = False) -> Iterator[Summary]:
    """The summary after each record."""
    tally = Tally(bare=bare)
    for record in it.events:
        tally.add(record)
        yield tally.summary()


def notes_of(it: Any, place: int = 0, *, bare: bool = False) -> list[str]:
    """What was said of a step, each once, in order."""
    said = [shown.steps[place].note for shown in seen(it, bare=bare) if len(shown.steps) > place]
    return [note for note in dict.fromkeys(said) if note]


def failing(*messages: str, tries: int = 3) -> Any:
    """A tool whose first calls fail in a way that passes."""
    left = list(messages)

    @tool(effect="read", tries=tries)
    def flaky() -> str:
        """Sometimes there."""
        if left:
            raise ToolFailure(left.pop(0), FailureClass.TRANSIENT)
        return "fine"

    return flaky


def test_a_call_that_is_made_again_says_so() -> None:
    """Which try it is, in how long, and why; afterwards at which one it worked. Waits are no part of a replay."""
    lines = [plan(step("flaky")), verdict(), answer()]
    it = run(*lines, tools=[failing("503\nat edge", "504")], sleep=lambda _: None)
    said = notes_of(it)
    assert [note.partition(" in ")[0] for note in said] == ["try 2", "try 2: 503", "try 3", "try 3: 504", "at try 3"]
    assert [note.rpartition(" s: ")[2] for note in said if " in " in note] == ["503", "504"]
    assert notes_of(it, bare=True) == ["try 2: 503", "try 3: 504", "at try 3"]
    assert "waiting to call flaky again" in {shown.now.partition(": ")[2] for shown in seen(it)}


def test_a_call_that_failed_each_time_says_how_often() -> None:
    """With the last message, and without the advice that is the planner's."""
    it = run(plan(step("flaky")), plan(step("add", a=1, b=1)), verdict(), answer(), tools=[failing(*"123"), add],
             sleep=lambda _: None)  # fmt: skip
    assert (it.summary.steps[0].mark, it.summary.steps[0].note) == ("failed", "after 3 tries: 3")


def test_refusals_are_told_apart() -> None:
    """By a guard, and by a tool that keeps failing; for how long that is left alone is past when it is read."""
    guarded = tool(effect="read", guards=[max_value("amount", 100)])(pay.function)
    it = run(plan(step(guarded.name, to="ada", amount=250)), plan(), answer(), tools=[guarded])
    assert it.summary.steps[0].note.startswith("a guard says no: ")
    assert "100" in it.summary.steps[0].note
    flaky = failing(*"12345", tries=9)
    while not flaky.breaker.refusal():
        flaky.breaker.begin()
        flaky.breaker.failed("503")
    it = run(plan(step("flaky")), plan(), answer(), tools=[flaky])
    assert it.summary.steps[0].note == "not called, it keeps failing: 5 calls failed in a row, the last with: 503"


def test_a_call_in_doubt_says_what_is_known() -> None:
    """And afterwards what somebody has found out, as a decision too."""
    it = run(plan(step("pay", to="ada", amount=1, memo="lost")), tools=[pay], approve="auto")
    shown = it.summary
    assert (shown.steps[0].mark, shown.steps[0].note) == (
        "waiting",
        "outcome not known: TimeoutError: no answer in 5 s",
    )
    assert shown.next == "look whether it happened, then %agent resume r1-test --done   or   --not-done"
    assert "step 1 of 1: finding out whether pay acted" in [shown.now for shown in seen(it)]
    with ScriptedModel([answer()]) as model:
        Agent(model, tools=[pay], store=it.keeper.store, approve="auto").resume(it.id, in_doubt="done")
    after = summarise(it.events)
    assert after.steps[0].note == "it happened, as you say"
    assert after.decisions == ("you found out that the call of s1 happened",)


def test_what_was_done_before_names_the_run() -> None:
    """In a replay, where ids differ, it names none; and a doubt of another run is settled there first."""
    once = tool(effect="write", reversibility="full", once_per=["to"])(pay.function)
    store = MemoryStore()
    for _ in range(2):
        it = run(plan(step("pay", to="ada", amount=1)), answer(), tools=[once], approve="auto", store=store)
    assert it.summary.steps[0].note == "done before, by r1-test (s1)"
    assert "done before, by OTHER (s1)" in as_text(summarise(it.events, bare=True))
    for _ in range(2):
        it = run(plan(step("pay", to="bob", amount=1, memo="lost")), tools=[once], approve="auto", store=store)
    assert it.summary.next == (
        "look whether it happened, then %agent resume r3-test --done   or   --not-done, then %agent resume r4-test"
    )
    text = as_text(summarise(it.events, bare=True))
    assert "%agent resume OTHER --done or --not-done, then %agent resume RUN" in " ".join(text.split())
    assert "-test" not in text


# ---------------------------------------------------------------------------------------------------- decisions

ASKED = ApprovalAsked(
    step="s1",
    tool="pay",
    args=Kept(0, '{"to":"ada","amount":250,"memo":"x"}'),
    binding="b1",
    others=(AskedCall("s2", "pay", Kept(2, "{}"), "b2"), AskedCall("s3", "note", Kept(2, "{}"), "b3")),
)


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ({"decision": "approve"}, "ada approved s1"),
        ({"decision": "reject", "reason": "no"}, "ada rejected s1: no"),
        ({"decision": "approve", "allow": True}, "ada approved s1, and pay for the rest of this run"),
        ({"decision": "approve", "others": {"b2": True, "b3": True}}, "ada approved s1, s2 and s3"),
        ({"decision": "approve", "others": {"b2": False, "b3": True}}, "ada approved s1 and s3, but not s2"),
        ({"decision": "reject", "others": {"b2": False, "b3": True}}, "ada rejected s1 and s2, but not s3"),
        ({"decision": "reject", "silent": True}, "nobody answered about s1 in time: it was not made"),
        ({"decision": "approve", "silent": True}, "nobody answered about s1 in time: it was let go"),
        (
            {"decision": "edit", "args": Kept(0, '{"to":"ada","amount":40,"cc":"$$x"}'), "reason": "cheaper"},
            'ada edited and approved s1: amount 250 → 40, memo taken out "x", cc added "$x": cheaper',
        ),
    ],
)
def test_decisions_in_words(answered: dict[str, Any], expected: str) -> None:
    """Who, what, and what came with it."""
    assert decision(ApprovalAnswered(step="s1", by="ada", **answered), ASKED, "ada") == expected


def kept(text: str) -> Kept:
    return Kept(len(text), text)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (kept("{}"), kept("{}"), ""),
        (kept('{"a":1}'), kept('{"a":1.0}'), "a 1 → 1.0"),
        (kept('{"a":"%s"}' % ("x" * 90)), kept('{"a":"y"}'), 'a (92 characters) → "y"'),
        (Kept(1234, blob="h"), kept('{"a":1}'), "(1 234 characters) → (7 characters)"),
        (kept('{"a":"x"}'), kept('{"a":"x\\u202e"}'), 'a "x" → "x\\u202e"'),
        (kept('{"a":["$1"]}'), kept('{"a":["$$1"]}'), ""),
        (kept("[1]"), kept("nonsense"), "(3 characters) → (8 characters)"),
    ],
)
def test_an_edit_in_words(before: Kept, after: Kept, expected: str) -> None:
    """Each argument that changes, what cannot be seen in it too; what is long only by its length."""
    assert edited(before, after) == expected


def test_arguments_in_brief() -> None:
    """As in a call; what a record does not hold by its length."""
    assert brief_args(kept('{"to":"ada","n":[1,2]}')) == 'to="ada", n=[1, 2]'
    assert brief_args(Kept(9412, blob="h")) == "(9 412 characters)"
    assert len(brief_args(kept('{"a":"%s"}' % ("x" * 300)))) < 70


def test_a_decision_is_told_from_the_run() -> None:
    """An edit with what it changed; of calls that were asked about together, what each waits for."""
    edits: Callable[[ApprovalRequest], Answer] = lambda _: Answer("edit", "ada", args={"to": "ada", "amount": 40})  # noqa: E731
    it = run(plan(step("pay", to="ada", amount=250)), answer(), tools=[pay], approver=edits)
    assert it.summary.decisions == ("ada edited and approved s1: amount 250 → 40",)
    two = plan(step("pay", to="ada", amount=1), step("pay", to="bob", amount=2), step("pay", to="cyn", amount=3))
    it = run(two, tools=[pay])
    assert it.summary.next == (
        "%agent approve r1-test 1 2 3   or   %agent edit r1-test ARG=VALUE   or   %agent reject r1-test WHY"
    )
    assert [line.note for line in it.summary.steps] == ["", *["asked about together with s1"] * 2]
    chosen: Callable[[ApprovalRequest], Answer] = lambda asked: Answer(  # noqa: E731
        "approve", "ada", others={asked.others[0].binding: True, asked.others[1].binding: False}
    )
    it = run(two, plan(), answer(), tools=[pay], approver=chosen)
    assert it.summary.decisions == ("ada approved s1 and s2, but not s3",)
    assert it.summary.steps[2].note == "rejected by ada: not selected"
    assert {"approved with s1"} <= set(notes_of(it, 1))


def test_whoever_is_logged_in_is_you() -> None:
    """In decisions, notes and whatever was done to the run; everybody else has a name."""
    it = run(plan(step("note", text="x")), answer(), approver=lambda _: Answer("approve", person()))
    assert it.summary.decisions == summarise(it.events, bare=True).decisions == ("you approved s1",)
    it = run(plan(step("note", text="x")), plan(), answer(), approver=lambda _: Answer("reject", person(), "no"))
    assert it.summary.steps[0].note == "rejected by you: no"
    it = run(plan(*[step("drop", table=name) for name in ("far", "b", "c")]), answer(), tools=[drop])
    it.execute(1).execute(1, in_doubt="done").discard(2).discard(3, by="ada")
    assert [a.said for a in it.summary.actions] == [
        "carried out by you: you say that it was done", "dropped by you", "dropped by ada",
    ]  # fmt: skip
    it = run(plan(step("note", text="x")))
    assert it.cancel("enough").summary.detail == "you cancelled it: enough"


# ---------------------------------------------------------------------------------------------------- not done


def no(asked: ApprovalRequest) -> Answer:
    """Only what is done for ada, and no reason that is not hers."""
    return Answer("reject" if asked.args["to"] != "ada" else "approve", person(), f"{asked.args['to']} asked us not to")


def test_what_was_not_done_is_said_by_code() -> None:
    """Whatever the answer says; and no second time among what is not known, nor as the reason why it stopped."""
    steps = [Step(tool="pay", args={"to": to, "amount": 1}, title=f"Pay {to}") for to in ("ada", "bob", "cyd")]
    it = run(answer("All three were paid."), plan=steps, tools=[pay], approver=no)
    shown = it.summary
    assert shown.undone == ("Pay bob (pay): rejected by you: bob asked us not to", "Pay cyd (pay): not reached")
    assert (shown.output, shown.detail, shown.unknowns) == ("All three were paid.", "", ())
    kept = it.state.finished.unknowns
    assert [unknown.partition(":")[0] for unknown in kept] == ["s2 was not done", "not carried out"]
    text = as_text(shown)
    assert text.index("Not done:\n  - Pay bob (pay): rejected by you") < text.index("All three were paid.")


def test_what_was_not_selected_is_told_as_such() -> None:
    """It is no failure, and it is not hidden by a later step that was done with the same tool."""
    steps = [Step(tool="pay", args={"to": to, "amount": 1}) for to in ("ada", "bob", "cyd")]

    def only(asked: Any) -> Answer:
        return Answer("approve", "ada", others={other.binding: other.args["to"] != "bob" for other in asked.others})

    with ScriptedModel([answer()]) as model:
        it = Agent(model, tools=[pay], store=MemoryStore(), approver=only).run("x", plan=steps)
    assert "pay: this was NOT done." in model.requests[0].prompt
    shown = it.summary
    assert shown.undone == ("pay: not selected",)
    assert [(line.mark, line.note) for line in shown.steps] == [("done", ""), ("skipped", "not selected"), ("done", "")]
    assert "Plan: 3 steps, 1 not selected" in as_text(shown)
    assert shown.status is Status.COMPLETED


def test_what_the_planner_has_replaced_is_done() -> None:
    """A step that failed, where a later one with the same tool has worked; where none has, it is not."""
    it = run(plan(step("note", "Note x", text="x")), plan(step("note", text="y")), answer(), approver=OnceNo())
    assert (it.summary.undone, it.summary.steps[0].mark) == ((), "failed")
    it = run(plan(step("broken", "Look")), plan(step("add", a=1, b=1)), verdict(), answer())
    assert it.summary.undone == ("Look (broken): no such column: depdelay",)


class OnceNo:
    """No, and from then on yes."""

    def __init__(self) -> None:
        self.said = False

    def __call__(self, _: Any) -> Answer:
        before, self.said = self.said, True
        return Answer("approve" if before else "reject", "ada", "" if before else "not x")


def test_what_became_of_actions_since_is_said_above_the_answer() -> None:
    """Carried out with what it gave, dropped, in doubt: nothing says of these any more that they wait."""
    tables = ("a", "b", "held", "far", "d")
    it = run(plan(*[step("drop", f"Drop {name}", table=name) for name in tables]), answer("Proposed."), tools=[drop])
    assert it.summary.undone[0] == "Drop a (drop): waits for you"
    assert (len(it.summary.undone), it.summary.unknowns, it.summary.since) == (5, (), ())
    it.execute(1, 3, 4).discard(2, reason="still needed")
    shown = it.summary
    assert shown.since == (
        "Drop a (drop): carried out by you → dropped",
        "Drop far (drop): begun by you, and perhaps carried out: TimeoutError: no answer",
        "Drop b (drop): dropped by you: still needed",
    )
    assert shown.undone == (
        "Drop held (drop): waits for you: not carried out by you: it is held",
        "Drop d (drop): waits for you",
    )
    text = as_text(shown)
    assert text.index("Since then:\n  - Drop a (drop): carried out") < text.index("Proposed.")
    assert it.result("s1") == "dropped"
    with pytest.raises(UnmetReference, match="no result") as raised:
        it.result("s5")
    assert raised.value.__context__ is None


def test_a_decision_that_could_not_be_gone_on_with_is_no_question_any_more() -> None:
    """Who decided what, and how to go on."""
    it = run(plan(step("note", text="x")))
    with pytest.raises(ConfigError):
        Run(Agent(store=it.keeper.store), it.id).approve()
    shown = summarise(it.events)
    assert (shown.reason, shown.detail, shown.next) == ("approved by you, rests", "", f"%agent resume {it.id}")


def test_a_waiting_step_says_why_it_asks() -> None:
    """What a guard wants a person for."""
    guarded = tool(effect="write", reversibility="full", guards=[at_most(1, otherwise="ask")])(pay.function)
    it = run(plan(step("pay", to="a", amount=1), step("pay", to="b", amount=1)), tools=[guarded], approve="auto")
    assert it.summary.steps[1].mark == "waiting"
    assert it.summary.steps[1].note.startswith("asks you: ")


# ----------------------------------------------------------------------------------------------- dry runs and the queue


def dry(*lines: Any, **options: Any) -> Any:
    with ScriptedModel(lines) as model:
        agent = Agent(model, tools=[add, note, pay, drop], store=MemoryStore(), **options)
        return agent.run("the task", dry_run=True)


def test_a_dry_run_lists_what_it_would_do() -> None:
    """The same calls as `Run.effects`, each with why a person would be asked."""
    it = dry(
        plan(step("add", a=1, b=2), step("pay", to="ada", amount=3), step("drop", table="t")),
        verdict(),
        answer("It would pay."),
        approve="auto",
    )
    shown = it.summary
    assert [(e.step, e.tool, e.args, e.asks) for e in shown.effects] == [
        ("s2", "pay", 'to="ada", amount=3, memo=""', ()),
        ("s3", "drop", 'table="t"', ("it is destructive: a person carries it out",)),
    ]
    assert [(e.step, e.tool, e.asks) for e in shown.effects] == [(e.step, e.tool, e.gate) for e in it.effects]
    assert [line.mark for line in shown.steps] == ["done", "simulated", "simulated"]
    assert (shown.dry, shown.next) == (True, "%agent execute r1-test")
    assert dry(plan(step("add", a=1, b=2)), verdict(), answer()).summary.next == ""


def test_a_plan_that_changes_takes_its_effects_along() -> None:
    """What would have been done under a plan that was given up is not listed."""
    it = dry(
        plan(step("pay", to="ada", amount=1), step("add", a=1, b=1)),
        verdict("revise"),
        plan(step("pay", to="bob", amount=2)),
        answer(),
    )  # fmt: skip
    assert [e.args for e in it.summary.effects] == ['to="ada", amount=1, memo=""', 'to="bob", amount=2, memo=""']
    assert [e.step for e in it.effects] == [e.step for e in it.summary.effects] == ["s1", "s3"]


def test_an_execution_says_what_it_executes() -> None:
    """And asks about each effect."""
    it = dry(plan(step("pay", to="ada", amount=3)), answer(), approve="auto")
    done = it.execute()
    shown = done.summary
    assert (shown.executes, shown.dry, shown.steps[0].note) == (
        it.id,
        False,
        f"asks you: {it.id} listed it in its dry run",
    )
    assert "executes OTHER" in as_text(summarise(done.events, bare=True))


def test_the_queue_says_what_waits_and_what_became_of_it() -> None:
    """Numbered as `Run.pending` numbers it; what failed without having acted waits on, and says so."""
    tables = ("a", "b", "held", "far", "d")
    it = run(plan(*[step("drop", table=name) for name in tables]), answer(), tools=[drop])
    shown = it.summary
    assert [(a.number, a.status, a.said) for a in shown.actions] == [(n, "waits", "waits for you") for n in range(1, 6)]
    assert {line.mark for line in shown.steps} == {"proposed"}
    assert shown.next == "%agent pending r1-test, then %agent execute r1-test N   or   %agent discard r1-test N"
    it.execute(1, 3, 4, by="ada").discard(2, reason="still needed", by="bob")
    shown = summarise(it.events)
    assert [(a.number, a.step, a.args, a.said) for a in shown.actions] == [
        (0, "s1", 'table="a"', "carried out by ada"),
        (0, "s2", 'table="b"', "dropped by bob: still needed"),
        (3, "s3", 'table="held"', "waits for you: not carried out by ada: it is held"),
        (4, "s4", 'table="far"', "begun by ada, and perhaps carried out: TimeoutError: no answer"),
        (5, "s5", 'table="d"', "waits for you"),
    ]
    assert [a.number for a in shown.actions if a.number] == [item.number for item in it.pending]
    assert [line.mark for line in shown.steps] == ["done", "dropped", *["proposed"] * 3]


def test_actions_are_numbered_by_their_steps_beside_calls_that_are_asked_about() -> None:
    """As in `Run.pending`."""
    it = run(
        plan(step("drop", table="t"), step("pay", to="a", amount=1), step("pay", to="b", amount=2)), tools=[drop, pay]
    )
    assert [a.number for a in it.summary.actions] == [1]
    assert [item.number for item in it.pending if item.kind == "action"] == [1]


def test_silence_is_told() -> None:
    """Who did not answer, and what that meant."""
    policy = Policy(auto_approve_after_s=0.01)
    silent = Answer("approve", "policy", "nobody answered within 1 s")
    it = run(plan(step("note", text="x")), answer(), approve=policy, approver=lambda _: silent)
    assert it.summary.decisions == ("nobody answered about s1 in time: it was let go",)


@tool(effect="write", reversibility="full")
def slow_write(text: str) -> str:
    """Write it, until somebody stops it.

    Args:
        text: what.
    """
    raise KeyboardInterrupt(text)


@tool(effect="read")
def slow_read(n: int) -> int:
    """Read it, until somebody stops it.

    Args:
        n: what.
    """
    raise KeyboardInterrupt(n)


def cut_short(name: str, store: Any = None, **options: Any) -> Run:
    """A run of two steps that was stopped in the call of the first, and then cancelled."""
    agent = Agent(
        ScriptedModel([]), tools=[slow_write, slow_read], store=store or MemoryStore(), approve="auto", **options
    )
    args = {"text": "x"} if name == "slow_write" else {"n": 1}
    with pytest.raises(KeyboardInterrupt):
        agent.run("x", plan=[{"tool": name, "args": args}, {"tool": "slow_read", "args": {"n": 2}}])
    return agent.runs()[0].cancel()


def test_a_call_that_was_begun_is_not_said_to_be_unreached() -> None:
    """Of a write nobody knows whether it acted, and that is said once; a read cannot have."""
    wrote, read = cut_short("slow_write"), cut_short("slow_read")
    assert wrote.summary.undone == ("slow_write: begun; whether it acted is not known", "slow_read: not reached")
    assert repr(wrote).count("not known") == 1
    assert f"%agent resume {wrote.id} --done" in wrote.summary.next
    assert [item.kind for item in wrote.pending] == ["doubt"]
    assert read.summary.undone == ("slow_read: begun, and not finished", "slow_read: not reached")
    assert "known" not in repr(read)
    assert (read.summary.next, read.pending) == ("", ())


def test_a_call_whose_result_a_limit_left_unjudged_is_said_to_be_made(fake_clock: FakeClock) -> None:
    """The time was up between the call and its check: the result is handed over, so the step was reached."""

    @tool(effect="read")
    def slow(n: int) -> int:
        """Take three seconds."""
        fake_clock.sleep(3)
        return n

    steps = [Step(tool="slow", args={"n": n}, check=Check(non_empty=True)) for n in (7, 8)]
    it = run(plan=steps, tools=[slow], budget=Budget(seconds=2), clock=fake_clock.clock())
    assert it.summary.undone == ("slow: called, and the result not judged", "slow: not reached")
    assert it.output == "- slow: 7"


def test_what_goes_on_past_a_limit_of_calls_is_enough_for_the_steps_that_are_left() -> None:
    """As many calls as steps; and a step that nobody began has taken no time, not even none of it."""
    it = run(
        answer(),
        plan=[Step(tool="add", args={"a": n, "b": 1}, check=Check(non_empty=True)) for n in range(5)],
        budget=Budget(tool_calls=1),
    )
    assert it.summary.next == f"%agent extend {it.id} --tool-calls 4"
    assert [line.seconds is None for line in it.summary.steps] == [False, True, True, True, True]


def test_what_is_found_out_after_the_end_is_said_and_the_clock_stands() -> None:
    """The sentence that it is not known goes; the run that has ended waits for nothing."""
    clock = Clock(wall=(now := Ticks()), monotonic=now)
    for said, undone, since in (
        ("done", ("slow_read: not reached",), ("slow_write: it happened, as you say",)),
        ("not_done", ("slow_write: it did not happen, as you say", "slow_read: not reached"), ()),
    ):
        it = cut_short("slow_write", clock=clock)
        before = it.spent.seconds
        now.at += 600
        it.resume(in_doubt=said)  # type: ignore[arg-type]
        assert (it.summary.undone, it.summary.since, it.summary.next) == (undone, since, "")
        assert it.spent.seconds == before
        assert "not known" not in repr(it)


@dataclass
class Ticks:
    """A clock that stands until it is moved."""

    at: float = 1000.0

    def __call__(self) -> float:
        return self.at
