"""Asking a person by text: what counts as a yes, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.approval import ApprovalRequest
from agentnb.notebook.asking import ask_by_text, nobody_here


def asked(*typed: str) -> tuple[Any, list[str]]:
    """The answer of somebody who types these lines, and what was said to them."""
    said: list[str] = []
    lines = iter(typed)

    def read(_: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    request = ApprovalRequest("r1", "s1", "note it", "note", {"text": "ä"}, "a number", "irreversible", "b")
    return ask_by_text(request, read, said.append), said


@pytest.mark.parametrize("typed", ["y", "yes", " Y "])
def test_only_yes_allows(typed: str) -> None:
    """A call is made after y or yes."""
    assert asked(typed)[0].decision == "approve"


@pytest.mark.parametrize("typed", ["", "ok", "yes but not now", "yy", "1", "approve"])
def test_nothing_is_approved_by_accident(typed: str) -> None:
    """Enter alone, and anything that could mean either, is asked again; without an answer the run waits."""
    answered, said = asked(typed)
    assert answered is None
    assert "Type y" in said[-1]


@pytest.mark.parametrize(
    ("typed", "reason"), [("n", ""), ("no", ""), ("No, wrong text", "wrong text"), ("wrong text", "wrong text")]
)
def test_a_refusal_has_its_reason(typed: str, reason: str) -> None:
    """Whatever else is said is the reason of a refusal."""
    answered, _ = asked(typed)
    assert (answered.decision, answered.reason) == ("reject", reason)


def test_the_question_shows_the_whole_call() -> None:
    """Tool, arguments and whether it can be taken back."""
    _, said = asked("n")
    assert "note" in said[0]
    assert '"text": "ä"' in said[0]
    assert "cannot be taken back" in said[0]


def test_nobody_refuses_with_the_way_out() -> None:
    """Where nobody can be asked the call is refused, with what would let it."""
    request = ApprovalRequest("r1", "s1", "t", "note", {}, "", "full", "b")
    refusal = nobody_here(request)
    assert (refusal.decision, refusal.by) == ("reject", "policy")
    assert "nobody is here" in refusal.reason
    assert "--approve auto" in refusal.reason
