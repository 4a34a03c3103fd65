"""What of a run's beginnings is missing or another by now is named, and whoever resumes it decides."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.errors import ConfigError
from agentnb.events import RunResumed
from agentnb.models.lineup import Lineup
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.reading import with_reading
from agentnb.resume import differences
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool, tool
from tests.parts import add, answer, note, verdict

SENT: list[str] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    SENT.clear()


def sending(**options: Any) -> Tool:
    @tool(effect="write", **{"reversibility": "full", **options})
    def send(text: str, to: str = "all") -> str:
        """Send it.

        Args:
            text: what.
            to: whom.
        """
        SENT.append(text)
        return to

    return send


def resting(store: DiskStore, *tools: Tool, steps: int = 2) -> Run:
    """A run that waits for a person before its first step."""
    plan = [Step(tool="send", args={"text": str(n)}) for n in range(steps)]
    return Agent(ScriptedModel([]), tools=[sending(), *tools], store=store).run("send", plan=plan)


def test_all_that_is_not_as_it_was_is_named_at_once(store: DiskStore) -> None:
    """Tools that are missing, tools that have changed and how, and both models."""
    it = resting(store, add, note)
    other = Agent(
        ScriptedModel([], ref="scripted:new"),
        tools=[sending(reversibility="irreversible", egress=True), note],
        store=store,
    )
    with pytest.raises(ConfigError) as caught:
        other.resume(it.id)
    said = str(caught.value)
    for part in (
        "the tool 'add' is not here",
        "the tool 'send' has changed: reversibility was 'full' and is 'irreversible', egress was False and is True",
        "it began with model='scripted', and here it is 'scripted:new'",
        "it began with cheap_model='scripted', and here it is 'scripted:new'",
        "accept_changes=True (--accept-changes)",
    ):
        assert part in said
    assert [record.event.kind for record in it.events][-1] == "run_suspended"


def test_what_is_accepted_is_recorded_and_holds_from_there_on(store: DiskStore) -> None:
    """Another model, another tool: a later resume needs no leave for them, and the old ones are the others then."""
    it = resting(store, add)
    agent = Agent(
        ScriptedModel([answer("sent")], ref="scripted:new"),
        tools=[sending(reversibility="irreversible")],
        store=store,
        approver=lambda request: Answer("approve", "ada") if request.step == "s1" else None,
    )
    assert agent.resume(it.id, accept_changes=True).status is Status.AWAITING_APPROVAL
    assert SENT == ["0"]
    events = [record.event for record in agent.runs()[0].events if isinstance(record.event, RunResumed)]
    assert (events[0].model, list(events[0].tools)) == ("scripted:new", ["send"])
    agent.approver = lambda _: Answer("approve", "ada")
    assert agent.resume(it.id).output == "sent"
    assert SENT == ["0", "1"]


def test_a_question_about_a_tool_that_has_changed_is_asked_anew(store: DiskStore) -> None:
    """A yes was for what was shown: the old tool's."""
    yes = Agent(
        ScriptedModel([]),
        tools=[sending()],
        store=store,
        approver=lambda r: Answer("approve", "ada", others={o.binding: True for o in getattr(r, "others", ())}),
    )
    session = yes.begin("send", plan=[Step(tool="send", args={"text": str(n)}) for n in range(3)])
    for record in session:
        if record.event.kind == "approval_answered":
            break
    session.suspend()
    del session
    asked: list[str] = []

    def ada(request: Request) -> Answer:
        assert isinstance(request, ApprovalRequest)
        asked.append(request.step)
        return Answer("approve", "ada")

    run = yes.runs()[0]
    again = Agent(ScriptedModel([answer()]), tools=[sending(untrusted=True)], store=store, approver=ada)
    assert again.resume(run.id, accept_changes=True).status is Status.COMPLETED
    assert asked[0] == "s1"
    assert SENT == ["0", "1", "2"]


def test_a_tool_that_a_step_still_calls_cannot_be_missing(store: DiskStore) -> None:
    """It is named with the step; one that nothing calls any more may be."""
    it = resting(store, add)
    with pytest.raises(ConfigError, match="cannot go on without the tool 'send': s1 calls it"):
        Agent(ScriptedModel([]), tools=[add], store=store).resume(it.id, accept_changes=True)
    agent = Agent(
        ScriptedModel([answer()]), tools=[sending()], store=store, approver=lambda _: Answer("approve", "ada")
    )
    assert agent.resume(it.id, accept_changes=True).status is Status.COMPLETED


def test_a_call_that_may_have_acted_is_settled_before_its_tool_changes(store: DiskStore) -> None:
    """The new tool may count as repeatable, and the old one's call was not."""
    lost: list[str] = []

    def post(text: str) -> str:
        """Post it.

        Args:
            text: what.
        """
        lost.append(text)
        raise ConnectionResetError

    first = tool(effect="write", reversibility="full")(post)
    it = Agent(ScriptedModel([]), tools=[first], store=store, approve="auto").run(
        "x", plan=[Step(tool="post", args={"text": "x"})]
    )
    again = Agent(ScriptedModel([verdict(), answer()]), tools=[tool(effect="read")(post)], store=store)
    with pytest.raises(ConfigError, match=r"s1 has begun a call of the one that was\. Restore it, or settle"):
        again.resume(it.id, accept_changes=True)
    assert again.resume(it.id, accept_changes=True, in_doubt="done").status is Status.COMPLETED
    assert lost == ["x"]


def test_what_is_as_it_was_is_no_difference(store: DiskStore) -> None:
    """More tools than the run had are none either."""
    it = resting(store)
    tools = with_reading({made.name: made for made in (sending(), add)})
    same, other = ScriptedModel([]), ScriptedModel([], ref="other")
    assert not differences(it.state, tools, Lineup(same, same))
    assert not differences(it.state, tools, Lineup(same, same, {"critique": same}))
    assert differences(it.state, tools, Lineup(same, other)).said == (
        "it began with cheap_model='scripted', and here it is 'other'",
    )


def test_a_yes_to_a_tool_that_is_another_here_is_not_taken(store: DiskStore) -> None:
    """It would hold for nothing: the question is asked anew once the change is accepted. A no holds for both."""
    it = resting(store, steps=1)
    agent = Agent(
        ScriptedModel([answer()]), tools=[sending(reversibility="irreversible")], store=store, approver=lambda _: None
    )
    run = agent.runs()[0]
    said = r"send is not the tool that .* asks about in s1, reversibility was 'full' and is 'irreversible': .*--accept"
    with pytest.raises(ConfigError, match=said):
        run.approve()
    with pytest.raises(ConfigError, match=said):
        run.edit({"text": "other"})
    assert len(run.events) == len(it.events)
    assert run.resume(accept_changes=True).status is Status.AWAITING_APPROVAL
    assert run.approve().status is Status.COMPLETED
    assert [line for line in run.summary.decisions if "approved s1" in line] == ["you approved s1"]
