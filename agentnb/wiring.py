"""From a model's name to what answers: the model itself, or a cassette in front of it or in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentnb.budget import Phase
from agentnb.cassette import Cassette, Recording, Replaying, behind
from agentnb.errors import ConfigError, ModelUnavailable
from agentnb.models.base import Model
from agentnb.models.lineup import Lineup
from agentnb.models.resolve import available, resolve
from agentnb.session import price_for
from agentnb.settings import DEFAULT_MODEL, Mode
from agentnb.tiers import require_phases

__all__ = ["Wiring", "require_affordable", "require_callable"]

Named = str | Model
"""A model, or its name."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where replies come from.

    Attributes:
        cassette: of recorded model calls, or None.
        mode: see `Settings`.
    """

    cassette: Cassette | None
    mode: Mode

    def wired(self, model: str | Model | None) -> Model:
        """What answers for `model`; the default model for None.

        Raises:
            ConfigError: there is no such model, or nothing to replay.
        """
        found, cassette = resolve(model or DEFAULT_MODEL), self.cassette
        if cassette is None or self.mode == "live":
            if self.mode in ("replay", "record"):
                raise ConfigError(
                    f"{self.mode}ing needs a cassette: give cassette=, or --cassette FILE, or AGENTNB_CASSETTE"
                )
            return found
        if self.mode == "replay" and not len(cassette):
            raise ConfigError(
                f"there is nothing to replay in {cassette.path}: record it first, with AGENTNB_MODE=record"
            )
        if self.mode == "record":
            return Recording(found, cassette)
        absent = self.mode == "auto" and len(cassette) and isinstance(model, str) and available(found.ref)
        return Replaying(found.ref, cassette) if self.mode == "replay" or absent else found

    def lineup(
        self, model: Named | None, cheap_model: Named | None, phases: Mapping[Phase, Named], was: Lineup | None = None
    ) -> Lineup:
        """The models of a run; one that is named twice is there once.

        Args:
            model: plans and answers; that of `was`, or the default, for None.
            cheap_model: does the rest; for None that of `was` where `model` stays, and else `model`.
            phases: what single phases have instead.
            was: the models of whoever is changed.

        Raises:
            ConfigError: there is no such model or phase, or nothing to replay.
        """
        require_phases(phases)
        made: dict[object, Model] = {key: found for found in was or () for key in (found.ref, id(found))}

        def known(named: Named) -> Model:
            key = named if isinstance(named, str) else id(named)
            return made.get(key) or made.setdefault(key, self.wired(named))

        strong = known(model) if model else was.model if was else known(DEFAULT_MODEL)
        cheap = known(cheap_model) if cheap_model else was.cheap_model if was and not model else strong
        return Lineup(strong, cheap, {phase: known(named) for phase, named in phases.items()})


def require_callable(*models: Model) -> None:
    """Raise ModelUnavailable where one of them cannot be called here."""
    for model in {id(m): m for m in models}.values():
        if not isinstance(model, Replaying) and (why := available(behind(model))):
            hint = "" if model.ref.startswith("local") else '; model="local:" needs no key'
            raise ModelUnavailable(f"{model.ref} cannot be called: {why}{hint}")


def require_affordable(usd: float | None, *models: Model) -> None:
    """Raise ConfigError where one cannot be called here, or dollars are capped and nobody knows what it costs."""
    require_callable(*models)
    for model in models:
        price_for(model, usd)
