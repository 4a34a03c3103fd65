"""From a model's name to what answers: the model itself, or a cassette in front of it or in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agentnb.budget import Phase
from agentnb.cassette import Cassette, Recording, Replaying, behind, may_answer_alone
from agentnb.errors import ConfigError, ModelUnavailable
from agentnb.models.base import Model
from agentnb.models.lineup import Lineup
from agentnb.models.resolve import available, resolve
from agentnb.redact import LEAST, Redactor
from agentnb.session import price_for
from agentnb.settings import DEFAULT_MODEL, Mode
from agentnb.tiers import require_phases

__all__ = ["Wiring", "keys_of", "require_affordable", "require_callable"]

Named = str | Model
"""A model, or its name."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where replies come from.

    Attributes:
        cassette: of recorded model calls, or None.
        mode: see `Settings`.
        redact: gives what takes secrets out of texts, as things stand then.
    """

    cassette: Cassette | None
    mode: Mode
    redact: Callable[[], Redactor] = Redactor.here

    def wired(self, model: str | Model | None) -> Model:
        """What answers for `model`; the default model for None.

        Raises:
            ConfigError: there is no such model, or nothing to replay.
        """
        found, cassette = resolve(model or DEFAULT_MODEL), self.cassette
        if cassette is None or self.mode == "live":
            if self.mode in ("replay", "record", "new"):
                doing = "replaying" if self.mode == "replay" else "recording"
                raise ConfigError(f"{doing} needs a cassette: give cassette=, or --cassette FILE, or AGENTNB_CASSETTE")
            return found
        if self.mode == "replay" and not len(cassette):
            raise ConfigError(
                f"there is nothing to replay in {cassette.path}: record it first, with AGENTNB_MODE=record"
            )
        if self.mode in ("record", "new"):
            return Recording(found, cassette, self.redact, only_new=self.mode == "new")
        absent = self.mode == "auto" and len(cassette) and isinstance(model, str) and available(found.ref)
        return Replaying(found, cassette, self.redact) if self.mode == "replay" or absent else found

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


def keys_of(models: Iterable[Model]) -> dict[str, str]:
    """The keys that were given to models, by the variable that else would hold them."""
    found: dict[str, str] = {}
    for model in models:
        key = getattr(model, "api_key", None)
        if isinstance(key, str) and len(key.strip()) >= LEAST:  # servers without keys are given some word
            name = re.sub(r"\W", "_", f"{model.ref.partition(':')[0].upper()}_API_KEY", flags=re.ASCII)
            found[name if found.get(name, key) == key else f"{name}_2"] = key
    return found


def require_callable(*models: Model) -> None:
    """Raise ModelUnavailable where one of them cannot be called here, and may have to be."""
    for model in {id(m): m for m in models}.values():
        if not may_answer_alone(model) and (why := available(behind(model))):
            hint = "" if model.ref.startswith("local") else '; model="local:" needs no key'
            raise ModelUnavailable(f"{model.ref} cannot be called: {why}{hint}")


def require_affordable(usd: float | None, *models: Model) -> None:
    """Raise ConfigError where one cannot be called here, or dollars are capped and nobody knows what it costs."""
    require_callable(*models)
    for model in models:
        price_for(model, usd)
