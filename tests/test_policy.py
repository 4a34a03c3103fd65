"""Who has to be asked: every setting against every kind of tool, and what silence means."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from agentnb.errors import ConfigError
from agentnb.policy import APPROVE, Policy, ToolFacts, confidence

EFFECTS: Any = ("read", "write", "destructive")
REVERSIBLE: Any = ("full", "partial", "irreversible")
LEVELS: Any = ("low", "medium", "high")
KINDS = [
    ToolFacts(effect, reversible, "s", egress=egress)
    for effect, reversible, egress in itertools.product(EFFECTS, REVERSIBLE, (False, True))
]


@pytest.mark.parametrize("facts", KINDS, ids=str)
@pytest.mark.parametrize("approve", APPROVE)
@pytest.mark.parametrize("sure", LEVELS)
def test_who_is_asked(facts: ToolFacts, approve: Any, sure: Any) -> None:
    """Nobody before what leaves the world as it is; somebody before all that cannot be taken back, whatever is set."""
    asks = Policy(approve=approve, threshold="medium").asks("t", facts, sure)
    acts = facts.effect != "read" or facts.egress
    assert facts.acts is acts
    if not acts:
        assert not asks
    elif facts.reversibility == "irreversible" or approve in ("ask", "deny"):
        assert asks
    elif approve == "auto":
        assert not asks
    else:
        assert asks is (sure == "low")


@pytest.mark.parametrize(("least", "sure"), [*itertools.product(LEVELS, LEVELS)])
def test_a_threshold_of_a_tool_counts_for_it_alone(least: Any, sure: Any) -> None:
    """In place of the general one, upwards and downwards."""
    facts = ToolFacts("write", "full", "s")
    needs = LEVELS.index(sure) < LEVELS.index(least)
    for general in LEVELS:
        policy = confidence(general, mail=least)
        assert policy.asks("mail", facts, sure) is needs
        assert policy.asks("other", facts, sure) is (LEVELS.index(sure) < LEVELS.index(general))


@pytest.mark.parametrize("facts", KINDS, ids=str)
@pytest.mark.parametrize("must_ask", [False, True])
def test_silence_is_leave_only_for_what_can_be_taken_back_fully(facts: ToolFacts, must_ask: bool) -> None:  # noqa: FBT001 - a table
    """And only where that is set, and nothing wants a person."""
    policy = Policy(auto_approve_after_s=5, answer_within_s=70)
    lets = facts.reversibility == "full" and not must_ask
    assert policy.silence(facts, must_ask=must_ask) == (("approve", 5) if lets else ("reject", 70))
    assert Policy().silence(facts, must_ask=must_ask) == ("reject", 86_400.0)


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("ask", Policy()),
        ("deny", Policy(approve="deny")),
        ("auto", Policy(approve="auto")),
        ("confidence", Policy(approve="confidence")),
        ("confidence:medium", Policy(approve="confidence", threshold="medium")),
        (Policy(valid_s=3), Policy(valid_s=3)),
    ],
)
def test_policies_by_name(given: Any, policy: Policy) -> None:
    """The names that a magic or a setting has."""
    assert Policy.of(given) == policy
    hash(policy)  # it is part of a state that is


@pytest.mark.parametrize(
    "given",
    ["", "yes", "Ask", "ask:high", "auto:low", "confidence:", "confidence:very", "confidence:high:low", None, 1],
)
def test_what_is_no_policy_is_named(given: Any) -> None:
    """A misspelt one never means more than was wanted."""
    with pytest.raises(ConfigError, match=r"approve=|threshold"):
        Policy.of(given)


@pytest.mark.parametrize(
    "options",
    [
        {"approve": "always"},
        {"threshold": "certain"},
        {"thresholds": {"mail": "0.9"}},
        {"answer_within_s": 0},
        {"answer_within_s": None},
        {"answer_within_s": float("inf")},
        {"auto_approve_after_s": -1},
        {"auto_approve_after_s": "soon"},
        {"valid_s": float("nan")},
        {"valid_s": 0},
    ],
    ids=str,
)
def test_wrong_values_are_refused(options: dict[str, Any]) -> None:
    """With the name and the value."""
    with pytest.raises(ConfigError):
        Policy(**options)


@pytest.mark.parametrize(
    ("facts", "repeatable"),
    [
        (ToolFacts("read", "full", "s"), True),
        (ToolFacts("read", "full", "s", egress=True), False),
        (ToolFacts("write", "full", "s"), False),
        (ToolFacts("write", "irreversible", "s", idempotent=True), True),
    ],
)
def test_only_what_acts_once_or_not_at_all_is_repeated(facts: ToolFacts, repeatable: bool) -> None:  # noqa: FBT001 - a table
    """What is asked about a call whose outcome is not known."""
    assert facts.repeatable is repeatable
