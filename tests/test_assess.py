"""Assessments: what a call rests on, checked by code; a critical gap waits for a person, whose word goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Answer, Assess, Run, ScriptedModel, Step, tool
from agentnb.approval import QuestionRequest, Request
from agentnb.assess import Said, checked
from agentnb.budget import Budget
from agentnb.errors import ConfigError, DamagedRecord
from agentnb.events import (
    AssessmentMade,
    Item,
    Kept,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    Record,
    ReplyRejected,
    RunStarted,
    Statement,
    ToolClaimed,
)
from agentnb.grounds import found_nowhere, grounds_of
from agentnb.plan import numbered
from agentnb.policy import ToolFacts
from agentnb.state import NEW, Outcome, RunState, Status
from agentnb.trail import Trail
from agentnb.transitions import fold
from tests.parts import answer, bind, note, plan, step, table, verdict

SENT: list[tuple[str, str]] = []


@tool(effect="write", reversibility="partial")
def send(to: str, text: str) -> str:
    """Send a message.

    Args:
        to: its address.
        text: what it says.
    """
    SENT.append((to, text))
    return "sent"


@tool(effect="destructive")
def wipe(what: str) -> None:
    """Delete something.

    Args:
        what: its name.
    """


GUESS = step("send", "Tell the boss", to="boss@example.com", text="It is done.")
KNOWN = step("send", "Tell Ada", to="ada@example.com", text="It is done.")


def says(argument: str = "to", status: str = "assumed", *, critical: bool = True, **more: Any) -> tuple[str, Any]:
    """An assessment with one statement."""
    said = {"argument": argument, "text": "who the boss is", "sources": [], "status": status, "critical": critical}
    return "assess", {"statements": [said | more]}


@pytest.fixture(autouse=True)
def _nothing_sent() -> None:
    SENT.clear()


Make = Callable[..., Agent]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An agent of a script, on the store of this test."""

    def made(*lines: Any, **options: Any) -> Agent:
        chosen: dict[str, Any] = {"tools": [table, note, send, wipe], "approve": "auto", "store": tmp_path} | options
        return Agent(ScriptedModel(lines), **chosen)

    return made


def script_of(agent: Agent) -> ScriptedModel:
    assert isinstance(agent.lineup.model, ScriptedModel)
    return agent.lineup.model


def kinds(run: Run) -> list[str]:
    return [record.event.kind for record in run.events]


def of_kind(run: Run, kind: type) -> list[Any]:
    return [record.event for record in run.events if isinstance(record.event, kind)]


TASK = "Tell my boss that it is done."

# ---------------------------------------------------------------------------------------------------- asking


def test_a_critical_gap_waits_for_a_person(make: Make) -> None:
    """The call is not made; the run rests, says what is missing, and lists it among what waits."""
    run = make(plan(GUESS), says()).run(TASK)
    assert run.status is Status.AWAITING_ANSWER
    assert run.stop_reason == "question"
    assert SENT == []
    (asked,) = of_kind(run, QuestionAsked)
    assert [(gap.argument, gap.text) for gap in asked.gaps] == [("to", "who the boss is")]
    (waits,) = run.pending
    assert (waits.number, waits.kind, waits.tool, waits.args["to"]) == (1, "question", "send", "boss@example.com")
    assert waits.reasons == ("to: who the boss is",)
    assert run.state.noted == (Item(kind="assumption", text="who the boss is", by="model", critical=True),)


def test_an_answer_changes_the_plan_and_enters_the_memory(make: Make) -> None:
    """The planner is told, the revision is none of its own, and a person's word is a source."""
    first = make(plan(GUESS), says()).run(TASK)
    better = step("send", "Tell the boss", to="grace@example.com", text="It is done.")
    said = says(status="established", sources=["person"], text="the boss is grace@example.com")
    again = make(plan(better), said, answer())
    run = Run(again, first.id)  # a fresh object on the same store: another process
    run.answer("My boss is grace@example.com.", by="ada")
    assert run.status is Status.COMPLETED
    assert SENT == [("grace@example.com", "It is done.")]
    asked = script_of(again).requests[0]
    assert asked.phase == "plan"
    assert "grace@example.com" in asked.user
    assert run.state.revisions == 0
    assert run.plan is not None
    assert run.plan.version == 2
    word = next(item for item in run.state.noted if item.by == "person")
    assert word.kind == "fact"
    assert word.text == "a person says: My boss is grace@example.com. (asked about “to”)"
    (_, later) = of_kind(run, AssessmentMade)
    assert later.established[0].sources == ("person",)
    assert "ada answered before s1, asked about “to: who the boss is”: My boss is grace@example.com." in repr(run)


def test_the_question_vouches_for_nothing(make: Make) -> None:
    """An address that stands in the question, and not in the answer, has still been said by nobody."""
    first = make(plan(GUESS), says(text="that the boss is boss@example.com")).run(TASK)
    run = Run(make(plan(GUESS), says(status="established", sources=["person"])), first.id)
    run.answer("I do not know.")
    assert run.status is Status.AWAITING_ANSWER
    assert of_kind(run, AssessmentMade)[-1].assumed[0].demoted == "nothing says boss@example.com"


def test_going_on_makes_the_call_and_says_that_it_rests_on_that(make: Make) -> None:
    """The step stays as it is, nobody is asked again, and the answer names it among what is not known."""
    first = make(plan(GUESS), says()).run(TASK)
    run = Run(make(answer()), first.id).go_on(by="ada")
    assert run.status is Status.COMPLETED
    assert SENT == [("boss@example.com", "It is done.")]
    assert run.summary.unknowns == ("assumed, as a person went on without knowing: to: who the boss is",)
    assert "ada went on with s1 without knowing “to: who the boss is”" in repr(run)
    decided = [item for item in run.state.noted if item.kind == "decision"]
    assert [(item.by, item.critical) for item in decided] == [("person", True)]


def test_stopping_has_its_own_reason(make: Make) -> None:
    """What was found is answered with, and nothing was sent."""
    lines = plan(step("table"), GUESS), verdict(), says()
    first = make(*lines).run(TASK)
    run = Run(make(answer("Three rows.")), first.id).stop("not now", by="ada")
    assert (run.status, run.stop_reason, run.output) == (Status.STOPPED, "unanswered", "Three rows.")
    assert SENT == []
    assert f"%agent fork {run.id} --at s2" in repr(run)
    assert "ada stopped at s2" in repr(run)


def test_it_survives_the_process(make: Make) -> None:
    """Resumed by another, the same question is asked again, once; a driver that ended before it looked left it."""
    first = make(plan(GUESS), says()).run(TASK)
    asked: list[Request] = []

    def approver(request: Request) -> Answer | None:
        asked.append(request)
        return None

    run = make(answer(), approver=approver).resume(first.id)
    assert run.status is Status.AWAITING_ANSWER
    assert len(of_kind(run, QuestionAsked)) == 1
    (request,) = asked
    assert isinstance(request, QuestionRequest)
    assert request.gaps[0].argument == "to"
    run.go_on()
    with pytest.raises(ConfigError, match=r"nothing in .* waits for an answer: it is completed"):
        run.go_on()


def test_it_can_be_cancelled(make: Make) -> None:
    """As every run that rests."""
    run = make(plan(GUESS), says()).run(TASK)
    assert run.cancel().status is Status.CANCELLED
    assert SENT == []


def test_an_empty_answer_is_none(make: Make) -> None:
    """Neither from Python nor from an approver."""
    run = make(plan(GUESS), says(), approver=lambda _: Answer("answer", "ada", "  ")).run(TASK)
    assert run.status is Status.AWAITING_ANSWER
    with pytest.raises(ConfigError, match="is empty"):
        run.answer(" ")
    with pytest.raises(ConfigError, match=f"waits for a decision: a question does; `%agent answer {run.id} TEXT`"):
        run.approve()


@pytest.mark.parametrize("said", [Answer("approve", "ada"), Answer("reject", "ada", "no"), "yes"])
def test_only_an_answer_to_the_question_is_one(make: Make, said: Any) -> None:
    """An approver made for approvals leaves it open; so does one that fails."""
    assert make(plan(GUESS), says(), approver=lambda _: said).run(TASK).status is Status.AWAITING_ANSWER
    assert SENT == []


def test_an_approver_that_fails_answers_nothing(make: Make) -> None:
    """The run rests, and whoever is told when something waits is told of it."""
    told: list[Any] = []
    agent = make(plan(GUESS), says(), approver=lambda request: request.binding, notify=told.append)
    assert agent.run(TASK).status is Status.AWAITING_ANSWER
    assert [type(request) for request in told] == [QuestionRequest]


def test_an_approver_may_answer(make: Make) -> None:
    """In the course of the run, with no rest between."""
    better = step("send", "Tell the boss", to="grace@example.com", text="It is done.")
    agent = make(
        plan(GUESS), says(), plan(better), answer(), approver=lambda _: Answer("answer", "ada", "grace@example.com")
    )
    run = agent.run(TASK)
    assert run.status is Status.COMPLETED
    assert "run_suspended" not in kinds(run)
    assert of_kind(run, QuestionAnswered) == [
        QuestionAnswered(step="s1", decision="answer", by="ada", text="grace@example.com")
    ]


def test_a_users_plan_stays_and_its_open_arguments_are_filled_anew(make: Make) -> None:
    """Only the planner changes plans: a model fills the call again, and is told what the person said."""
    own = [Step(tool="send", args={"to": "$? the address of my boss", "text": "It is done."})]
    first = make(bind(to="boss@example.com"), says()).run(TASK, plan=own)
    assert first.status is Status.AWAITING_ANSWER
    again = make(bind(to="grace@example.com"), answer())
    run = Run(again, first.id).answer("grace@example.com")
    assert run.status is Status.COMPLETED
    assert SENT == [("grace@example.com", "It is done.")]
    assert "grace@example.com" in script_of(again).requests[0].user
    assert run.plan is not None
    assert run.plan.version == 1


def test_what_a_person_writes_into_a_call_is_not_asked_about(make: Make) -> None:
    """An edit stands: nobody is asked where an address comes from that they have just typed."""
    args = {"to": "carol@example.com", "text": "It is done."}
    run = make(
        plan(GUESS), says(critical=False), answer(), approve="ask", approver=lambda _: Answer("edit", "ada", args=args)
    ).run(TASK)
    assert run.status is Status.COMPLETED
    assert SENT == [("carol@example.com", "It is done.")]
    assert len(of_kind(run, AssessmentMade)) == 1


def test_a_tool_that_changes_while_a_question_waits_does_not_answer_it(make: Make) -> None:
    """What was asked about the call is asked about the one of the changed tool, and nothing is sent."""
    first = make(plan(GUESS), says()).run(TASK)

    @tool(effect="write", reversibility="full", name="send")
    def changed(to: str, text: str) -> str:
        """Send a message.

        Args:
            to: its address.
            text: what it says.
        """
        return str(send.function(to, text))

    run = make(says(), tools=[table, note, changed, wipe]).resume(first.id, accept_changes=True)
    assert run.status is Status.AWAITING_ANSWER
    assert SENT == []


def test_to_go_on_vouches_for_nothing(make: Make) -> None:
    """Whoever goes on without knowing has not said the address: the next call to it is asked about too."""
    first = make(plan(GUESS, GUESS | {"title": "Tell the boss more"}), says(text="the boss is boss@example.com"))
    run = first.run(TASK)
    again = Run(make(says(status="established", sources=["person"])), run.id).go_on()
    assert again.status is Status.AWAITING_ANSWER
    assert len(SENT) == 1
    assert of_kind(again, AssessmentMade)[-1].assumed[0].sources == ()


def test_an_assessment_leaves_what_the_plan_assumes(make: Make) -> None:
    """It speaks of one call; the assumptions of the plan's steps stay in the memory."""
    steps = step("table") | {"assumes": ["the rows are of this year"]}, KNOWN
    run = make(plan(*steps), verdict(), says(critical=False), answer()).run("Tell ada@example.com that it is done.")
    assert [item.text for item in run.state.noted] == ["the rows are of this year", "who the boss is"]


def test_the_strong_model_has_one_try(make: Make) -> None:
    """After three replies of the cheap one, each of which is counted."""
    bad = ("assess", "no JSON")
    cheap = ScriptedModel([bad, bad, bad], ref="scripted:cheap")
    run = make(plan(GUESS), bad, cheap_model=cheap, escalate=True).run(TASK)
    assert run.status is Status.AWAITING_ANSWER
    assert [e.by for e in of_kind(run, AssessmentMade)] == ["code"]
    rejected = of_kind(run, ReplyRejected)
    assert [(e.layer, e.model, e.reply) for e in rejected] == [(1, "scripted:cheap", "no JSON")] * 3
    assert run.summary.tried == ()


# ---------------------------------------------------------------------------------------------------- when


def test_only_what_is_guessed_is_assessed(make: Make) -> None:
    """A call of the user's own, word for word, is not; nor is a read, nor anything where it is off."""
    own = [Step(tool="send", args={"to": "ada@example.com", "text": "Hi."})]
    assert "assessment_made" not in kinds(make(answer()).run(TASK, plan=own))
    assert "assessment_made" not in kinds(make(plan(step("table")), verdict(), answer()).run(TASK))
    assert "assessment_made" not in kinds(make(plan(GUESS), answer(), assess=False).run(TASK))
    assert "assessment_made" not in kinds(make(plan(GUESS), answer(), assess=Assess(before_acting=False)).run(TASK))


def test_each_call_that_acts_is_assessed_once(make: Make) -> None:
    """Before it is made, before it is asked about, before it is proposed; a resume does not repeat it."""
    run = make(plan(KNOWN, step("wipe", what="it")), approve="ask").run("Tell ada@example.com; wipe it.")
    assert run.status is Status.AWAITING_APPROVAL
    assert kinds(run).index("assessment_made") < kinds(run).index("approval_asked")
    run = Run(make(answer()), run.id).approve()
    assert [e.step for e in of_kind(run, AssessmentMade)] == ["s1", "s2"]
    assert kinds(run).index("action_proposed") > kinds(run).index("tool_returned")


def test_every_so_many_steps(make: Make) -> None:
    """Reads are assessed every n finished steps, and the newest assessment replaces what the one before left open."""
    first, second = (says("none", "unknown", critical=False, text=f"what {n} is") for n in "ab")
    steps = [step("table", rows=n) for n in (1, 2, 3, 4, 5)]
    lines = [plan(*steps), verdict(), verdict(), first, verdict(), verdict(), second, verdict(), answer()]
    run = make(*lines, assess=Assess(every=2)).run("Look at 1 to 5 rows.")
    assert [e.step for e in of_kind(run, AssessmentMade)] == ["s3", "s5"]
    assert [item.text for item in run.state.noted] == ["what b is"]
    assert "unknown: what b is" in repr(run)


def test_a_dry_run_is_assessed_and_its_execution_is_not(make: Make) -> None:
    """What it shows is done exactly so: what it rests on is asked before it is shown."""
    run = make(plan(GUESS), says()).run(TASK, dry_run=True)
    assert run.status is Status.AWAITING_ANSWER
    run = Run(make(answer()), run.id).go_on()
    done = Run(make(approver=lambda _: Answer("approve", "ada")), run.id).execute()
    assert SENT == [("boss@example.com", "It is done.")]
    assert "assessment_made" not in kinds(done)


def test_old_records_are_not_assessed() -> None:
    """A run that began before there were assessments goes on without."""
    assert RunStarted(run="r", task="t", model="m", cheap_model="m", tools={}, budget=Budget()).assess is None


def test_a_fork_is_assessed_as_its_agent_says(make: Make) -> None:
    """And begins before what was asked, not in it."""
    first = make(plan(GUESS), says()).run(TASK)
    forked = make(answer(), assess=False).fork(first.id, "s1")
    assert forked.status is Status.COMPLETED
    assert SENT == [("boss@example.com", "It is done.")]
    assert make(says()).fork(first.id, "s1").status is Status.AWAITING_ANSWER


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_a_rule_that_means_nothing_is_refused(every: Any) -> None:
    """With the value, and what to give."""
    with pytest.raises(ConfigError, match="whole number of steps"):
        Assess(every=every)
    with pytest.raises(ConfigError, match="give True, False or"):
        Assess.of("always")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- by code


def test_a_model_that_vouches_for_a_guess_is_not_believed(make: Make) -> None:
    """Nor one that passes it over; one that calls it assumed, and harmless, is: that is its judgement to make."""
    for said in (says(status="established", sources=["task"], critical=False), says("text", critical=False)):
        run = make(plan(GUESS), said).run(TASK)
        assert run.status is Status.AWAITING_ANSWER
        assert run.state.gaps[0].argument == "to"
        assert run.state.gaps[0].critical
    assert make(plan(GUESS), says(critical=False), answer()).run(TASK).status is Status.COMPLETED
    word = (
        plan(step("send", to="all", text="Hi.")),
        says(status="established", sources=["task"], critical=False),
        answer(),
    )
    assert make(*word).run("Say hi.").status is Status.COMPLETED  # a mere word points at nobody


def test_a_model_that_cannot_assess_lets_no_guess_pass(make: Make) -> None:
    """After three replies that cannot be used, what nobody has said is asked about; all else goes on."""
    bad = ("assess", "no JSON")
    run = make(plan(GUESS), bad, bad, bad).run(TASK)
    assert run.status is Status.AWAITING_ANSWER
    (made,) = of_kind(run, AssessmentMade)
    assert (made.by, made.gaps[0].argument) == ("code", "to")
    assert make(plan(KNOWN), bad, bad, bad, answer()).run("Tell ada@example.com it is done.").status == "completed"
    read = plan(step("table", rows=7)), bad, bad, bad, verdict(), answer()
    lines = plan(step("table"), step("table", rows=7)), verdict(), *read[1:]
    assert make(*lines, assess=Assess(every=1)).run("Look.").status == "completed"


def test_an_assessment_that_says_nothing_is_none(make: Make) -> None:
    """A provider that holds no schema may let it through: it is asked twice more, and then code says what it finds."""
    nothing: tuple[str, Any] = ("assess", {"statements": []})
    run = make(plan(GUESS), nothing, nothing, nothing).run(TASK)
    assert run.status is Status.AWAITING_ANSWER
    assert not SENT
    assert [type(record.event).__name__ for record in run.events].count("ReplyRejected") == 2


def test_what_is_critical_and_was_said_is_not_asked(make: Make) -> None:
    """A model that cries wolf: the task names the address, and a result the number."""
    lines = (
        plan(step("table"), step("send", to="ada@example.com", text="4 is the largest.")),
        verdict(),
        says(),
        answer(),
    )
    assert make(*lines).run("Tell ada@example.com the largest square.").status is Status.COMPLETED
    more = {"argument": "to", "text": "it is hers", "sources": ["task"], "status": "established", "critical": False}
    none = says("none")[1]["statements"][0]  # nor what no argument rests on
    other = plan(KNOWN), ("assess", {"statements": [none, more]}), answer()
    assert make(*other).run("Tell ada@example.com.").status is Status.COMPLETED
    calm = plan(GUESS), says(critical=False), answer()
    assert make(*calm).run(TASK).status is Status.COMPLETED


STATES = {"ok": True, "empty": True, "failed": False, "proposed": False}


def state_of(statuses: list[str], *, person: bool) -> RunState:
    outcomes: Any = Trail([Outcome(f"s{n}", status) for n, status in enumerate(statuses, 1)])  # type: ignore[arg-type]
    word = (Item(kind="fact", text="x", by="person"),) if person else ()
    return NEW._replace(outcomes=outcomes, noted=word)


@given(
    statuses=st.lists(st.sampled_from(list(STATES)), max_size=4),
    sources=st.lists(st.sampled_from(["task", "person", "s1", "s2", "s3", "s9", "the web", ""]), max_size=4),
    status=st.sampled_from(["established", "assumed", "unknown"]),
    argument=st.sampled_from(["a", "b", "none"]),
    person=st.booleans(),
)
def test_what_is_established_has_a_source(
    statuses: list[str], sources: list[str], status: str, argument: str, *, person: bool
) -> None:
    """Whatever a model says: established needs a source that the run has, and an argument that something says."""
    said = Said(text="x", status=status, sources=sources, argument=argument)  # type: ignore[arg-type]
    state = state_of(statuses, person=person)
    standing, made = checked(state, said, {"a": ("5",)})
    real = {"task", *(["person"] if person else [])}
    real |= {f"s{n}" for n, one in enumerate(statuses, 1) if STATES[one]}
    assert set(made.sources) == set(sources) & real
    if status != "established":
        assert (standing, made.demoted) == (status, "")
    elif not set(sources) & real or argument == "a":
        assert standing == "assumed"
        assert made.demoted
    else:
        assert standing == "established"


GROUNDS = grounds_of(
    "Pay three invoices of 1,250.50 dollars to AC-77, and tell Grace Hopper at grace@corp.example.",
    [
        (
            "s1",
            [{"airline": "Frontier Airlines Inc.", "mean": 20.2155, "n": 685}, {"airline": "Mesa", "mean": 19, "n": 5}],
        )
    ],
    ["The meeting is on 2026-11-26 in room B12."],
)


@pytest.mark.parametrize(
    "value",
    [
        "grace@corp.example", "AC-77", "ac-77", 1250.5, 3, 20.2, 685, 2, True, None, "", "Grace Hopper", "2026-11-26",
        "Frontier Airlines Inc.", "Dear Grace, the mean delay of Frontier is 20.22 minutes, of 685 flights. Regards",
        "The meeting is in B12, and there were 2 rows.", ["AC-77", {"n": 685}], "a short summary of what was found",
        "Frontier, Mesa", "Mesa Invoices", "AC-77, AC-77",
    ],
)  # fmt: skip
def test_what_was_said_is_found(value: Any) -> None:
    """As it was written, in other capitals, rounded, as a word, or counted; and what is only worded is no fact."""
    assert found_nowhere({"a": value}, {}, GROUNDS) == {}


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        ("boss@corp.example", ("boss@corp.example",)), ("AC-7", ("AC-7",)), (500, ("500",)), (20.9, ("20.9",)),
        ("Alan Turing", ("Alan Turing",)), ("The meeting is in B13 at 10 o'clock.", ("B13", "10")),
        ("Write to root@evil.example or see https://evil.example/x.", ("root@evil.example", "https://evil.example/x")),
        ({"to": [7, "AC-77"]}, ("7",)), ("Mesa, Delta", ("Delta",)),
    ],
)  # fmt: skip
def test_what_nobody_said_is_named(value: Any, missing: tuple[str, ...]) -> None:
    """Addresses, numbers, names and identifiers that stand nowhere."""
    assert found_nowhere({"a": value}, {}, GROUNDS) == {"a": missing}


LONG = grounds_of(
    "Delete 1700000000000 and keep 0.0000001.", [("s1", "name,mail\nbob@example.com,7\n"), ("s2", {"x": 1e-9})], []
)


@pytest.mark.parametrize("value", [1700000000000, 1.7e12, 1e-7, 1e-9, "bob@example.com"])
def test_numbers_of_any_size_and_the_words_of_any_line_are_found(value: Any) -> None:
    """However they are written, and wherever in a text they stand."""
    assert found_nowhere({"a": value}, {}, LONG) == {}
    assert found_nowhere({"a": 10**400}, {}, LONG) == {"a": (str(10**400),)}


def test_a_choice_is_no_fact() -> None:
    """One of a few values, and what an argument is anyway, are not looked for."""
    schema = {"properties": {"a": {"enum": ["bug", "feature"]}, "b": {"type": "integer", "default": 30}}}
    assert found_nowhere({"a": "bug", "b": 30}, schema, GROUNDS) == {}
    assert found_nowhere({"a": "bug", "b": 31}, schema, GROUNDS) == {"b": ("31",)}


# ---------------------------------------------------------------------------------------------------- shown


def test_what_is_shown_is_escaped(make: Make) -> None:
    """A model's words, and a person's, are text wherever they stand."""
    evil = "<img src=x onerror=alert(1)>"
    first = make(plan(GUESS), says(text=evil)).run(TASK)
    assert "<img" not in first._repr_html_()
    run = Run(make(plan(KNOWN), answer()), first.id).answer(evil, by=evil)
    html = run._repr_html_()
    assert "<img" not in html
    assert "&lt;img src=x" in html
    assert evil in repr(run).replace("\n    ", " ")


def test_the_record_before_an_answer_says_what_to_type(make: Make) -> None:
    """In text and in HTML."""
    run = make(plan(GUESS), says()).run(TASK)
    for shown in (repr(run), run._repr_html_()):
        assert "Needs you" in shown
        assert f"%agent answer {run.id} TEXT" in shown
        assert f"%agent go-on {run.id}" in shown
        assert "asks you: to: who the boss is" in shown
    assert "assess" in repr(Run(make(answer()), run.id).go_on())  # its cost has a row of its own


def test_the_fold_refuses_what_does_not_belong() -> None:
    """No call while a question waits; no assessment of another call, and none where there are to be none."""
    start = RunStarted(
        run="r", task="t", model="m", cheap_model="m", tools={"t": ToolFacts("read", "full", "x")}, budget=Budget(),
        assess=Assess(),
    )  # fmt: skip
    made = PlanMade(version=1, keep=0, steps=numbered([Step(tool="t")]), reason="", by="model")
    gap = Statement(text="x", critical=True, argument="a")
    said = AssessmentMade(step="s1", call="v1 s1", unknown=(gap,), gaps=(gap,))
    claim = ToolClaimed(step="s1", attempt=1, tool="t", args=Kept(2, "{}"), key="k")
    other = AssessmentMade(step="s1", call="v2 s1")
    asked = QuestionAsked(step="s1", tool="t", args=Kept(2, "{}"), gaps=())
    for events, why in (
        ((said, claim), "a person has to be asked first"),
        ((other,), "made for another call"),
        ((asked,), "found missing"),
        ((said, QuestionAnswered(step="s1", decision="go_on", by="ada")), "nothing waits for an answer"),
        ((AssessmentMade(step="s1", call="v1 s1", gaps=(gap,)),), "something that it says"),
    ):
        records = [Record(n, 0, 0, event) for n, event in enumerate((start, made, *events))]
        with pytest.raises(DamagedRecord, match=why):
            fold(records)
