"""The models of a run, by what they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentnb.budget import Phase
from agentnb.models.base import Model
from agentnb.tiers import STRONG

__all__ = ["Lineup"]


@dataclass(frozen=True, slots=True)
class Lineup:
    """The models of a run, each once.

    Attributes:
        model: the strong one, which plans and answers unless `phases` says otherwise.
        cheap_model: does the rest.
        phases: what single phases have instead.
    """

    model: Model
    cheap_model: Model
    phases: Mapping[Phase, Model] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Model]:
        """Every model once, the strong one first."""
        found = (self.model, self.cheap_model, *self.phases.values())
        return iter({id(model): model for model in found}.values())

    def of(self, phase: Phase) -> Model:
        """Who is asked in `phase`."""
        return self.phases.get(phase) or (self.model if phase in STRONG else self.cheap_model)

    @property
    def names(self) -> dict[str, Any]:
        """The models by name, as records hold them."""
        named = {phase: model.ref for phase, model in self.phases.items()}
        return {"model": self.model.ref, "cheap_model": self.cheap_model.ref, "phases": named}
