"""The scripted model: it says what it was told to, and is loud about everything else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from agentnb import Agent, ScriptedModel
from agentnb.budget import Usage
from agentnb.cost import Saved
from agentnb.errors import FailureClass, ModelError
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.scripted import UnexpectedCall
from tests.parts import MemoryStore, add, answer, plan, step, verdict

REQUEST = ModelRequest("scripted", "plan", "rules", "the end of the prompt", max_output_tokens=5)


class Form(BaseModel):
    a: int


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("as it is", "as it is"),
        ({"a": "ü"}, '{"a": "ü"}'),
        (Form(a=1), '{"a": 1}'),
        (ModelReply("whole", Usage(7, 8), "length"), "whole"),
        (lambda request: request.prompt, "the end of the prompt"),
        (lambda _: {"a": 1}, '{"a": 1}'),
        (("plan", {"a": 1}), '{"a": 1}'),
        (("plan", lambda _: Form(a=2)), '{"a": 2}'),
    ],
)
def test_a_line_may_be_text_json_a_model_a_reply_or_a_function(line: Any, text: str) -> None:
    """Each becomes the reply's text; a pair says what the request has to be for."""
    with ScriptedModel([line]) as model:
        assert model.ask(REQUEST).text == text
    assert model.requests == [REQUEST]


def test_what_it_uses_is_within_what_it_may() -> None:
    """Tokens are estimated from the texts, and never more than the request allows."""
    reply = ScriptedModel(["x" * 1000]).ask(REQUEST)
    assert reply.usage == Usage((len("rules") + len("the end of the prompt")) // 4 + 1, 5)
    assert ScriptedModel([ModelReply("x", Usage(7, 8))]).ask(REQUEST).usage == Usage(7, 8)


def test_an_exception_is_raised() -> None:
    """To play a provider that fails."""
    with pytest.raises(ModelError, match="down"):
        ScriptedModel([ModelError("down", FailureClass.FATAL)]).ask(REQUEST)


def test_a_call_that_is_not_in_the_script_fails_with_its_prompt() -> None:
    """The number of the call, what it is for and the end of what is asked."""
    with pytest.raises(UnexpectedCall, match=r"call 1 \(plan\) is not in the script: the end of the prompt"):
        ScriptedModel([]).ask(REQUEST)


def test_a_call_for_something_else_fails() -> None:
    """The script expected another phase."""
    with pytest.raises(UnexpectedCall, match="call 1 is for plan; the script expects answer"):
        ScriptedModel([("answer", {})]).ask(REQUEST)


def test_a_line_that_was_not_used_fails_at_the_end() -> None:
    """With how many; but not on top of another error."""
    with pytest.raises(UnexpectedCall, match="1 of 2 replies were never asked for"), ScriptedModel(["a", "b"]) as model:
        model.ask(REQUEST)
    with pytest.raises(ZeroDivisionError), ScriptedModel(["a"]):
        raise ZeroDivisionError


def test_a_wrong_script_stops_a_run_instead_of_being_a_result() -> None:
    """A test of an agent fails where its script is wrong, and what was recorded before is there."""
    store = MemoryStore()
    agent = Agent(ScriptedModel([plan(step("add", a=1, b=2))]), tools=[add], store=store)
    with pytest.raises(UnexpectedCall, match="critique"):
        agent.run("x")
    kinds = [record.event.kind for record in agent.runs()[0].events]
    assert kinds[-3:] == ["tool_returned", "model_asked", "run_suspended"]


def test_it_costs_what_a_test_wants_it_to() -> None:
    """Nothing, or by its own price."""
    lines = [plan(step("add", a=1, b=2)), verdict(), answer()]
    free = Agent(ScriptedModel(lines), tools=[add], store=MemoryStore()).run("x")
    dear = Agent(ScriptedModel(lines, price=lambda u: u.output_tokens / 2), tools=[add], store=MemoryStore()).run("x")
    assert (free.spent.usd, dear.spent.usd) == (0.0, dear.spent.output_tokens / 2)
    assert dear.saved == Saved()
