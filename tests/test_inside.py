"""What a run inside another wants of a person, who answers through either; and what of its agent it keeps there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Alert, Budget, Run, ScriptedModel, Stops
from agentnb.alerts import Raised
from agentnb.approval import Answer, QuestionRequest, Request
from agentnb.delegate import AgentTool
from agentnb.errors import ConfigError
from agentnb.events import ToolClaimed
from agentnb.notebook.card import card_html
from agentnb.notebook.typed import question
from agentnb.policy import Assess, MemoryPolicy
from agentnb.recovery import MOST_REPLIES
from agentnb.render import as_html, as_text
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.cells import Cells, notebook_in, scripted
from tests.parts import NOTES, add, answer, note, plan, step, verdict

GUESS = step("note", text="Call 555-0199.")
GAP = ("assess", {"statements": [{"argument": "text", "text": "the number", "status": "unknown", "critical": True}]})
SURE = step("note", text="Call 555-0100.")
PROSE = "Let me <b>think</b> first."
"""No plan, no verdict and no answer."""


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _fresh() -> None:
    NOTES.clear()


def noter(*lines: Any, **options: Any) -> AgentTool:
    """An agent that keeps notes without asking for leave."""
    agent = Agent(scripted(*lines), tools=[note], **{"approve": "auto", **options})
    return agent.as_tool("notes", "Keep notes.")


def guesser(*after: Any, **options: Any) -> AgentTool:
    """One that is about to note a number that nobody has said."""
    return noter(plan(GUESS), GAP, *after, **options)


def boss(inner: AgentTool, store: Any, *lines: Any, **options: Any) -> Agent:
    said = lines or (plan(step(inner.name, task="do it")), verdict(finding="got it"), answer("Done."))
    return Agent(ScriptedModel(said), tools=[inner], store=store, **options)


def again(run: Run) -> Run:
    """As somebody finds it who comes later."""
    return Run(run.keeper, run.id)


# --- what a call rests on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["parent", "child"])
@pytest.mark.parametrize(
    ("said", "after", "kept"),
    [
        ("answer", [plan(SURE), answer("noted")], ["Call 555-0100."]),
        ("go_on", [answer("noted")], ["Call 555-0199."]),
    ],
)
def test_its_question_is_answered_through_either(
    store: DiskStore, whose: str, said: str, after: list[Any], kept: list[str]
) -> None:
    """Both wait, `pending` of the parent says what is not known, and both go on."""
    run = boss(guesser(*after), store).run("ask")
    [child] = run.children
    assert (run.status, child.status) == (Status.AWAITING_ANSWER, Status.AWAITING_ANSWER)
    [waits] = run.pending
    assert (waits.kind, waits.run, waits.step, waits.reasons) == ("question", child.id, "s1", ("text: the number",))
    assert run.summary.next.startswith(f"%agent answer {run.id} TEXT")
    asked = run if whose == "parent" else child
    asked.answer("555-0100") if said == "answer" else asked.go_on()
    assert [again(it).status for it in (run, child)] == [Status.COMPLETED] * 2
    assert kept == NOTES
    with pytest.raises(ConfigError, match="waits for an answer"):
        again(run).go_on()


def test_one_that_is_stopped_at_its_question_has_no_answer(store: DiskStore) -> None:
    """That ends the child, and its parent plans without it."""
    told = [plan(step("notes", task="do it")), plan(), answer("Not done.")]
    run = boss(guesser(), store, *told).run("ask")
    assert run.stop("leave it").status is Status.COMPLETED
    [child] = run.children
    assert (child.status, child.stop_reason) == (Status.STOPPED, "unanswered")
    assert "notes stopped without an answer: stopped at: text: the number" in run.state.outcomes[0].message
    assert (run.output, NOTES) == ("Not done.", [])


def test_an_answer_to_an_earlier_question_is_none_to_this_one(store: DiskStore) -> None:
    """Who looked at what the child asked before decides about that."""
    run = boss(guesser(plan(GUESS), GAP, answer("noted")), store).run("ask")
    stale = Run(run.keeper, run.id)
    assert len(stale.pending) == 1
    run.answer("ask me again")
    with pytest.raises(ConfigError, match="asks something else by now"):
        stale.go_on()


def test_its_question_says_who_asks(store: DiskStore) -> None:
    """On the card and in text; the approver of the run around it is asked."""
    seen: list[Request] = []

    def ada(request: Request) -> Answer:
        seen.append(request)
        return Answer("go_on", "ada")

    run = boss(guesser(answer("noted")), store, approver=ada).run("ask")
    assert run.status is Status.COMPLETED
    [asked] = seen
    assert isinstance(asked, QuestionRequest)
    assert (asked.run, asked.agent, asked.parent, asked.parent_step) == (run.children[0].id, "notes", run.id, "s1")
    assert f"notes (in {run.id}, step s1) wants to call <strong>note</strong>" in card_html(asked)
    assert question(asked).startswith(f"notes (in {run.id}, step s1), in its run {asked.run}, needs to know something")


def test_a_guess_in_its_task_is_asked_about_before_it_begins(store: DiskStore) -> None:
    """To the child its task would be what a person has said."""
    gap = (
        "assess",
        {"statements": [{"argument": "task", "text": "the number", "status": "unknown", "critical": True}]},
    )
    told = [plan(step("notes", task="Note 555-0199")), gap, verdict(), answer("Done.")]
    run = boss(noter(plan(GUESS), answer("noted")), store, *told).run("ask")
    assert (run.status, run.children) == (Status.AWAITING_ANSWER, ())
    assert run.go_on().status is Status.COMPLETED
    assert NOTES == ["Call 555-0199."]


# --- replies that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["parent", "child"])
def test_a_hint_for_its_model_is_given_through_either(store: DiskStore, whose: str) -> None:
    """The record of the parent shows what was tried, and the hint is in what the child asks next."""
    model = ScriptedModel([*[PROSE] * MOST_REPLIES, plan(step("add", a=1, b=2)), verdict(), answer("three")])
    run = boss(Agent(model, tools=[add]).as_tool("research", "Look it up."), store).run("ask")
    [child] = run.children
    assert [(it.status, it.stop_reason) for it in (run, child)] == [(Status.SUSPENDED, "malformed_output")] * 2
    assert run.summary.tried == child.summary.tried != ()
    assert "Let me <b>think</b> first." in as_text(run.summary)
    assert "<b>think</b>" not in as_html(run.summary)
    (run if whose == "parent" else child).retry("it is a sum")
    assert [again(it).status for it in (run, child)] == [Status.COMPLETED] * 2
    assert "it is a sum" in model.requests[MOST_REPLIES].prompt
    assert again(run).summary.tried == ()
    calls = [record for record in run.events if isinstance(record.event, ToolClaimed)]
    assert len(calls) == len(again(run).children) == 1


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ([], {"plan": [step("add", a=1, b=2)]}, [verdict(), answer("three")]),
        ([plan(step("add", a=1, b=2))], {"verdict": "continue"}, [answer("three")]),
        ([plan(step("add", a=1, b=2)), verdict()], {"answer": "three"}, []),
    ],
    ids=["plan", "verdict", "answer"],
)
def test_what_its_model_cannot_say_is_given_by_hand(
    store: DiskStore, before: list[Any], given: Any, after: list[Any]
) -> None:
    """For the tools of the child, which the parent does not have."""
    model = ScriptedModel([*before, *[PROSE] * MOST_REPLIES, *after])
    run = boss(Agent(model, tools=[add]).as_tool("research", "Look it up."), store).run("ask")
    assert run.stop_reason == "malformed_output"
    assert run.retry(**given).status is Status.COMPLETED
    assert run.children[0].output == "three"
    model.done()


def test_one_that_went_round_in_circles_has_ended(store: DiskStore) -> None:
    """Its parent has what it found, and goes on: there is nothing to try again."""
    same = [step("add", a=1, b=2)] * 3
    model = ScriptedModel([plan(*same), verdict(), verdict(), plan(*same), verdict(), answer("three, I think")])
    run = boss(Agent(model, tools=[add]).as_tool("research", "Look it up."), store).run("ask")
    [child] = run.children
    assert (run.status, child.status, child.stop_reason) == (Status.COMPLETED, Status.STOPPED, "loop")
    with pytest.raises(ConfigError, match=f"ended inside {run.id}, which has its result"):
        child.retry("try something else")


# --- what it keeps ----------------------------------------------------------------------------------------------------


def test_it_keeps_how_it_was_made(store: DiskStore) -> None:
    """Not as the run around it was."""
    raised: list[Raised] = []
    inner = noter(
        plan(step("note", text="x")),
        answer("noted"),
        assess=Assess(every=3),
        stops=Stops(repeats=7),
        memory=MemoryPolicy(every=9),
        alerts=[Alert(tokens=1, callback=raised.append)],
        escalate=True,
    )
    run = boss(inner, store, assess=False, stops=None).run("ask")
    [child] = run.children
    mine, head = run.state.head, child.state.head
    assert (mine.assess, mine.stops.repeats, mine.alerts, mine.escalate) == (None, None, (), False)
    assert head.assess == Assess(every=3)
    assert (head.stops.repeats, head.memory.every, head.escalate) == (7, 9, True)
    assert [it.run for it in raised] == [child.id]


def test_its_secrets_are_the_run_s_around_it_too(store: DiskStore, tmp_path: Path) -> None:
    """Neither has them in a record, nor in what a hint says."""
    model = ScriptedModel([*[PROSE] * MOST_REPLIES, plan(), answer("the code is tiger-lily-7")])
    made = Agent(model, tools=[add], secrets={"CODE": "tiger-lily-7"}).as_tool("research", "Look it up.")
    assert "tiger-lily-7" not in repr(made) + repr(made.delegate)
    middle = Agent(
        ScriptedModel([plan(step("research", task="look")), verdict(), answer("tiger-lily-7")]), tools=[made]
    )
    run = boss(middle.as_tool("middle", "Have it looked up."), store, budget=Budget(tokens=10**6)).run("ask")
    assert run.retry("say tiger-lily-7").status is Status.COMPLETED
    value = run.result("s1")
    assert isinstance(value, dict)
    assert value["answer"] == "[redacted:CODE]"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"[redacted:CODE]" in kept
    assert b"tiger-lily-7" not in kept


# --- in a notebook ----------------------------------------------------------------------------------------------------


def with_inner(cells: Cells, inner: AgentTool) -> None:
    cells.names["notes"] = inner
    cells.names["boss"] = scripted(plan(step("notes", task="note it")), verdict(), answer("all done"))
    cells.names["nobody"] = lambda _: None


@pytest.mark.parametrize("whose", [0, 1])
def test_the_line_that_answers_its_question(cells: Cells, whose: int) -> None:
    """By either id; and it is listed once."""
    with_inner(cells, guesser(plan(SURE), answer("noted")))
    what, todo = cells.error("--model boss --tools notes --approver nobody result")
    run = cells.names["result"]
    assert "waits for your answer" in what
    assert f"%agent answer {run.id} TEXT" in todo
    waiting = cells.line("pending")
    assert waiting.count("note(") == 1
    assert "answer RUN TEXT" in waiting
    cells.line(f"answer {(run.id, run.children[0].id)[whose]} it is 555-0100")
    assert NOTES == ["Call 555-0100."]
    assert "all done" in cells.text
    assert "↳ notes: completed" in cells.text


@pytest.mark.parametrize("whose", [0, 1])
def test_the_line_that_gives_its_model_a_hint(cells: Cells, whose: int) -> None:
    """What the model has said is in the cell's output; `%agent retry` takes either id."""
    with_inner(cells, noter(*[PROSE] * MOST_REPLIES, plan(step("note", text="x")), answer("noted")))
    what, todo = cells.error("--model boss --tools notes result")
    run = cells.names["result"]
    assert "could not be used" in what
    assert f"%agent retry {run.id} HINT" in todo
    assert "Let me <b>think</b> first." in cells.text
    cells.line(f"retry {(run.id, run.children[0].id)[whose]} plan one note")
    assert NOTES == ["x"]
    assert "all done" in cells.text


def test_who_leaves_its_question_can_answer_it_later(cells: Cells) -> None:
    """Stopped while it is asked, both wait for the answer."""

    def leave(_: Request) -> Answer:
        raise KeyboardInterrupt

    with_inner(cells, guesser(answer("noted")))
    cells.names["leave"] = leave
    cells.error("--model boss --tools notes --approver leave result")
    run = cells.names["result"]
    assert [it.status for it in (run, *run.children)] == [Status.AWAITING_ANSWER] * 2
    cells.line(f"go-on {run.id}")
    assert NOTES == ["Call 555-0199."]
