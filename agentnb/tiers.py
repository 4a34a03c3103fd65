"""Tiers: which model answers in which phase, and when the strong one is asked in a cheaper one's place. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from agentnb.budget import Phase
from agentnb.cost import PHASES
from agentnb.errors import ConfigError
from agentnb.events import ModelEscalated, RunStarted
from agentnb.state import RunState

__all__ = ["STRONG", "escalation", "model_of", "phases_in", "require_phases"]

STRONG: Final[frozenset[Phase]] = frozenset({"plan", "answer"})
"""What the strong model does unless a phase is given another: errors here are paid for in every later step."""


def model_of(head: RunStarted, phase: Phase) -> str:
    """The model that answers in `phase`, by name."""
    return head.phases.get(phase) or (head.model if phase in STRONG else head.cheap_model)


def escalation(state: RunState, phase: Phase) -> ModelEscalated | None:
    """That the strong model is asked next, once, in place of the one whose replies could not be used; or None.

    Whoever decides that such a reply was the last one asks this before a person is asked.
    """
    head = state.head
    cheap = model_of(head, phase)
    if not head.escalate or state.escalated or cheap == head.model:
        return None
    step = state.step.id if state.step and phase not in STRONG else ""
    return ModelEscalated(phase=phase, step=step, was=cheap, model=head.model)


def require_phases(phases: Mapping[Any, object]) -> None:
    """Returns where every key is a phase.

    Raises:
        ConfigError: one is not; says what was probably meant.
    """
    for name in phases:
        if name not in PHASES:
            near = get_close_matches(str(name), PHASES, n=1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PHASES)}"
            raise ConfigError(f"there is no phase {name!r}: {meant}")


def phases_in(text: str) -> dict[str, str]:
    """The models of single phases in a text like "critique=openai:gpt-5.1-mini,answer=local:".

    Raises:
        ConfigError: a part that names no phase, or no model for it.
    """
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, model = (piece.strip() for piece in part.partition("="))
        require_phases({name: model})
        if not model:
            raise ConfigError(f"{part!r} names no model: write {name}=MODEL")
        found[name] = model
    return found
