"""Who has to be asked before a call that acts: what is known of each tool, and what the user wants.

Some things no setting lifts: what cannot be taken back is always asked about, and what destroys is never called by the
loop at all but waits in a queue for a person's hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from agentnb.errors import ConfigError

__all__ = [
    "APPROVE",
    "Approve",
    "Assess",
    "Effect",
    "Level",
    "MemoryPolicy",
    "Policy",
    "Reversibility",
    "ToolFacts",
    "confidence",
]

Approve = Literal["ask", "deny", "auto", "confidence"]
APPROVE: Final[tuple[str, ...]] = get_args(Approve)
Level = Literal["low", "medium", "high"]
Effect = Literal["read", "write", "destructive"]
Reversibility = Literal["full", "partial", "irreversible"]

_LEVELS: Final[tuple[str, ...]] = get_args(Level)
_DAY_S: Final = 86_400.0
_MOST_STEPS: Final = 12  # `state.TOLD_STEPS`, which stands above this
_LEAST_MEMORY: Final = 2000


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What the policy needs to know of a tool.

    Attributes:
        effect: "read" leaves the world as it is, "write" changes it, "destructive" is only ever proposed.
        reversibility: whether what it does can be taken back.
        schema: hash of its argument schema, by which a resumed run sees that the tool has changed.
        egress: its arguments leave this machine: fetching an address can carry data out.
        untrusted: its result is text that strangers wrote.
        idempotent: the same key twice acts once, so a call whose outcome is not known may be made again.
        reconcile: it can be asked whether a call happened.
        delegates: a call is a run of another agent, which asks about each of its own calls that acts.
    """

    effect: Effect
    reversibility: Reversibility
    schema: str
    egress: bool = False
    untrusted: bool = False
    idempotent: bool = False
    reconcile: bool = False
    delegates: bool = False

    @property
    def acts(self) -> bool:
        """True where a call changes something, or sends something out."""
        return self.effect != "read" or self.egress

    @property
    def repeatable(self) -> bool:
        """True where a call whose outcome is not known may simply be made again, under the same key."""
        return self.idempotent or not self.acts


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What happens before a call that acts.

    Attributes:
        approve: "ask" a person, "deny", "auto" (asks only where it has to), or "confidence" (asks where the planner is
            less sure of a step than its threshold).
        threshold: with "confidence": the least confidence that goes on without a person.
        thresholds: the same for single tools, by name.
        answer_within_s: seconds after which silence is a refusal.
        auto_approve_after_s: seconds after which silence is leave, for what can be taken back fully and nothing else;
            None for never.
        valid_s: seconds for which an approval holds.

    Raises:
        ConfigError: a value that is not allowed.
    """

    approve: Approve = "ask"
    threshold: Level = "high"
    thresholds: Mapping[str, Level] = field(default_factory=dict, hash=False)
    answer_within_s: float = _DAY_S
    auto_approve_after_s: float | None = None
    valid_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.approve not in APPROVE:
            raise ConfigError(f"approve={self.approve!r} is not one of {', '.join(APPROVE)}")
        for name, level in {"the threshold": self.threshold, **self.thresholds}.items():
            if level not in _LEVELS:
                raise ConfigError(f"{name} is {level!r}, which is none of {', '.join(_LEVELS)}")
        for name in ("answer_within_s", "auto_approve_after_s", "valid_s"):
            value: Any = getattr(self, name)
            never = value is None and name == "auto_approve_after_s"
            if not never and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise ConfigError(f"{name}={value!r} must be a number of seconds above 0")

    @classmethod
    def of(cls, given: Policy | str) -> Policy:
        """`given`, or the policy of that name: "ask", "deny", "auto", "confidence", "confidence:medium".

        Raises:
            ConfigError: there is none of that name.
        """
        if isinstance(given, Policy):
            return given
        name, colon, level = str(given).partition(":")
        if colon and (name != "confidence" or not level):
            raise ConfigError(f"approve={given!r} is not one of {', '.join(APPROVE)}")
        values: dict[str, Any] = {"approve": name, **({"threshold": level} if level else {})}
        return cls(**values)

    def asks(self, tool: str, facts: ToolFacts, sure: Level) -> bool:
        """True where a call of `tool`, in a step of which the planner is `sure`, needs a person."""
        if not facts.acts:
            return False
        if facts.reversibility == "irreversible" or self.approve in ("ask", "deny"):
            return True
        least = self.thresholds.get(tool, self.threshold)
        return self.approve == "confidence" and _LEVELS.index(sure) < _LEVELS.index(least)

    def silence(self, facts: ToolFacts, *, must_ask: bool) -> tuple[Literal["approve", "reject"], float]:
        """What silence means before a call, and after how many seconds.

        Args:
            facts: of the tool.
            must_ask: a guard or untrusted text wants a person: nobody's silence is one.
        """
        if self.auto_approve_after_s is not None and facts.reversibility == "full" and not must_ask:
            return "approve", self.auto_approve_after_s
        return "reject", self.answer_within_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Assess:
    """When a run assesses what it rests on: what is established, what is assumed, and what is not known.

    Attributes:
        every: finished steps after which it does so again, whatever comes next; None for never.
        before_acting: True before each call that acts: writes, sends data out, or is proposed.

    Raises:
        ConfigError: a value that is not allowed.
    """

    every: int | None = 10
    before_acting: bool = True

    def __post_init__(self) -> None:
        every: Any = self.every
        if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
            raise ConfigError(f"every={every!r} must be a whole number of steps from 1 on, or None for never")

    @classmethod
    def of(cls, given: Assess | bool | None) -> Assess | None:  # noqa: FBT001 - as a user writes it
        """`given`, the usual one for True, None for False.

        Raises:
            ConfigError: it is none of these.
        """
        if given is None or isinstance(given, Assess):
            return given
        if not isinstance(given, bool):
            raise ConfigError(f"assess={given!r} is no Assess: give True, False or e.g. Assess(every=5)")
        return cls() if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """How much a prompt may say of what a run has found so far, however long the run is.

    Attributes:
        tokens: the most that a prompt says of the run: its memory, the plan and the last steps; three bytes of text
            count as one token. At least 2000; below 3600 long last steps may pass it, for a third is the memory's.
        every: finished steps after which the memory is summarised, from 2 to 12: so many a prompt tells one by one. The
            prompts between two of these begin alike, which a provider's cache reads at a tenth of the price.
        by: "model": the cheap model writes the summary of a plan that a model made, and code does where it cannot;
            "rule": code does.

    Raises:
        ConfigError: a number that is too small or too large, or another `by`.
    """

    tokens: int = 4000
    every: int = 10
    by: Literal["model", "rule"] = "model"

    def __post_init__(self) -> None:
        for name, least in (("tokens", _LEAST_MEMORY), ("every", 2)):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"memory: {name}={value!r} must be a whole number, {least} or more")
        if self.every > _MOST_STEPS:
            raise ConfigError(
                f"memory: every={self.every} must be {_MOST_STEPS} or less: prompts tell no more steps one by one"
            )
        if self.by not in ("model", "rule"):
            raise ConfigError(f"memory: by={self.by!r} is neither 'model' nor 'rule'")


def confidence(threshold: Level = "high", **per_tool: Level) -> Policy:
    """A policy that lets steps go on of which the planner is sure enough, and asks a person about all others.

    Confidences are the planner's own words, low, medium or high: numbers would promise a precision that no model has.
    What cannot be taken back is asked about however sure it is.

    >>> confidence("medium", send_mail="high").thresholds
    {'send_mail': 'high'}
    """
    return Policy(approve="confidence", threshold=threshold, thresholds=per_tool)
