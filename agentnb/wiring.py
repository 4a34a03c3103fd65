"""From a model's name to what answers: the model itself, or a cassette in front of it or in its place."""

from __future__ import annotations

from dataclasses import dataclass

from agentnb.cassette import Cassette, Recording, Replaying, behind
from agentnb.errors import ConfigError, ModelUnavailable
from agentnb.models.base import Model
from agentnb.models.resolve import available, resolve
from agentnb.session import price_for
from agentnb.settings import DEFAULT_MODEL, Mode

__all__ = ["Wiring", "require_affordable", "require_callable"]


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
