"""The terms on which an agent's runs are carried out: what is recorded with each of them, whoever begins it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentnb.alerts import Alert, thresholds_in
from agentnb.events import RunStarted
from agentnb.policy import Assess, MemoryPolicy, Policy, ToolFacts
from agentnb.stops import Stops

__all__ = ["Terms", "started"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run is held to beside its budget, each as of `Agent`.

    Attributes:
        policy: who is asked before a call that acts.
        assess: when it assesses what it rests on; None for never.
        memory: how much its prompts say of what it has found.
        stops: when it is stopped for going round in circles.
        escalate: whether the strong model is asked in place of one whose replies cannot be used.
        alerts: what is warned of, and whom to tell.
    """

    policy: Policy
    assess: Assess | None
    memory: MemoryPolicy
    stops: Stops
    escalate: bool
    alerts: tuple[Alert, ...]

    @property
    def in_force(self) -> dict[str, Any]:
        """As fields of a record; without the memory, for a fork goes on with what it has."""
        return {
            "policy": self.policy,
            "assess": self.assess,
            "stops": self.stops,
            "escalate": self.escalate,
            "alerts": thresholds_in(self.alerts),
        }


def started(
    run: str, task: str, terms: Terms, models: Mapping[str, Any], tools: Mapping[str, ToolFacts], **rest: Any
) -> RunStarted:
    """The first record of a run that begins here and now.

    Args:
        run: its id.
        task: what is wanted, in words.
        terms: what it is held to.
        models: their names, by the fields of the record.
        tools: what is known of them, by name.
        rest: other fields of the record.
    """
    return RunStarted(
        run=run,
        task=task.strip().encode("utf-8", "replace").decode(),
        **models,
        tools=tools,
        memory=terms.memory,
        uid=secrets.token_hex(6),
        process=os.getpid(),
        **(terms.in_force | rest),
    )
