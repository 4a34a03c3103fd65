"""Reading replies: JSON in a fence or a sentence is read, all else is told back to the model in sentences."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from agentnb.budget import Usage
from agentnb.models.base import ModelReply, Stop
from agentnb.replies import BadReply, read_reply


class Verdict(BaseModel):
    verdict: Literal["continue", "retry"]
    reason: str = ""
    score: float = 0.0
    more: dict[str, Any] = {}


def read(text: str, stop: Stop = "end") -> Verdict:
    return read_reply(Verdict, ModelReply(text, Usage(10, 7), stop))


GOOD = '{"verdict": "retry", "reason": "a {brace} and \\"}\\""}'


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}\n```",
        "Here it is: {}",
        "\ufeff{}\n\n",
        "<think>hm</think>{}",
        "{} I hope this helps.",
    ],
)
def test_a_fence_or_a_sentence_around_the_json_is_forgiven(around: str) -> None:
    """Small models cannot help it."""
    assert read(around.replace("{}", GOOD)).reason == 'a {brace} and "}"'


@given(st.sampled_from(["continue", "retry"]), st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_whatever_a_model_writes_as_json_is_read(verdict: str, reason: str, more: dict[str, str]) -> None:
    """Any text in any field, in either escaping."""
    for ascii_only in (True, False):
        found = read(json.dumps({"verdict": verdict, "reason": reason, "more": more}, ensure_ascii=ascii_only))
        assert (found.verdict, found.reason, found.more) == (verdict, reason, more)


@given(st.text() | st.text(alphabet='{}[]":,\\ verdictony0\ud800'))
def test_any_reply_is_read_or_refused_in_words(text: str) -> None:
    """Prose, halves of JSON, lone surrogates: BadReply with at least one problem, and nothing else."""
    problems: tuple[str, ...] = ("none",)
    try:
        read(text)
    except BadReply as bad:
        problems = bad.problems
    assert all(problem.strip() for problem in problems)
    assert 1 <= len(problems) <= 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the reply is not a JSON object but: ''"),
        ("I think so.", "the reply is not a JSON object but: 'I think so.'"),
        ("x" * 10_000, "the reply is not a JSON object but: '" + "x" * 120 + "'"),
        ("[]", "the reply is not a JSON object but: '[]'"),
        ("}{", "the reply is not a JSON object"),
        ('{"verdict": "retry"', "the reply is not a JSON object"),
        ('{"verdict": "retry", }', "the reply: Invalid JSON"),
        ("{'verdict': 'retry'}", "the reply: Invalid JSON"),
        ('{"a": {1}} {"verdict": "retry"}', "the reply: Invalid JSON"),
        ("{}", "verdict: Field required"),
        ('{"verdict": "maybe"}', "verdict: Input should be 'continue' or 'retry'"),
        ('{"verdict": "retry", "reason": 5}', "reason: Input should be a valid string"),
        ('{"verdict": "retry", "score": NaN}', "a number in the reply is not finite"),
        ('{"verdict": "retry", "more": {"x": [1e999]}}', "a number in the reply is not finite"),
        ('{"verdict": "retry", "more": {"x": -Infinity}}', "a number in the reply is not finite"),
        ('{"verdict": "retry", "reason": "\\ud800"}', "Invalid JSON"),
        ('{"verdict": "retry", "reason": "\0"}', "Invalid JSON: control character"),
        ("{" * 100_000 + "}" * 100_000, "Invalid JSON"),
        ('{"more": ' * 5_000 + "1" + "}" * 5_000, "Invalid JSON: recursion limit exceeded"),
        ('{"verdict": "retry", "score": ' + "9" * 5000 + "}", "Invalid JSON"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    """In a sentence that the model can act on, with a bounded piece of what it wrote."""
    with pytest.raises(BadReply) as caught:
        read(text)
    assert said in caught.value.problems[0]
    assert len(caught.value.problems[0]) < 300


def test_a_refusal_and_a_cut_are_said_as_such() -> None:
    """Even where the text is whole: the provider's word holds."""
    with pytest.raises(BadReply, match="the model declined to answer"):
        read(GOOD, "refusal")
    with pytest.raises(BadReply, match="cut off after 7 tokens: be shorter"):
        read(GOOD, "length")


def test_no_more_than_six_problems_are_told() -> None:
    """A reply that is wrong everywhere does not fill the next prompt."""

    class Many(BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    with pytest.raises(BadReply) as caught:
        read_reply(Many, ModelReply("{}", Usage()))
    assert len(caught.value.problems) == 6
