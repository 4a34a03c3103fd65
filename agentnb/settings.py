"""What a user can set once instead of at every call: one frozen record, one precedence.

A flag or an argument beats `%config AgentMagics`, which beats the environment, which beats the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from agentnb.errors import ConfigError

__all__ = ["DEFAULT_MODEL", "MODES", "SENT", "VARIABLES", "Mode", "Sent", "Settings"]

Mode = Literal["auto", "live", "replay", "record", "new"]
MODES: tuple[str, ...] = get_args(Mode)
Sent = Literal["off", "on", "content"]
SENT: tuple[str, ...] = get_args(Sent)
DEFAULT_MODEL = "local:qwen2.5-coder-1.5b"

VARIABLES: Mapping[str, str] = {
    "store": "AGENTNB_STORE",
    "model": "AGENTNB_MODEL",
    "cheap_model": "AGENTNB_CHEAP_MODEL",
    "phases": "AGENTNB_PHASES",
    "cassette": "AGENTNB_CASSETTE",
    "mode": "AGENTNB_MODE",
    "secrets": "AGENTNB_SECRETS",
    "otel": "AGENTNB_OTEL",
}
"""The environment variable of each setting."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where runs are kept and which models answer, unless a call says otherwise.

    Attributes:
        store: folder of the journal and the prompt cache, relative to the working directory.
        model: plans and answers.
        cheap_model: fills arguments and criticises; "" for the same as `model`.
        phases: other models for single phases, "critique=openai:NAME,answer=local:", or "".
        cassette: file that model calls are recorded to and replayed from, or "".
        mode: "live" asks models; "record" asks them and writes the cassette; "new" answers from the cassette, and asks
            models, and records, only what it lacks; "replay" answers from the cassette alone; "auto" replays where
            there is a cassette and the model cannot be called, and is live otherwise.
        secrets: names, with commas between them, of variables whose texts are secret beside the keys that are known.
        otel: "on" tells OpenTelemetry what runs do, see `Telemetry`; "content" what was said in them as well.
    """

    store: str = ".agentnb"
    model: str = DEFAULT_MODEL
    cheap_model: str = ""
    phases: str = ""
    cassette: str = ""
    mode: Mode = "auto"
    secrets: str = ""
    otel: Sent = "off"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(
                f"mode {self.mode!r} is not one of {', '.join(MODES)} (AGENTNB_MODE, or %config AgentMagics.mode)"
            )
        if self.otel not in SENT:
            raise ConfigError(
                f"otel {self.otel!r} is not one of {', '.join(SENT)} (AGENTNB_OTEL, or %config AgentMagics.otel)"
            )

    @classmethod
    def of(cls, environ: Mapping[str, str], **set_by_user: str | None) -> Settings:
        """The settings that hold: what the user set (None and "" are not set), else the environment, else the defaults.

        Raises:
            ConfigError: a value that is not allowed.
        """
        found = {name: environ[variable] for name, variable in VARIABLES.items() if environ.get(variable)}
        if "otel" in found:  # a switch of the environment is a 1 as often as a word
            found["otel"] = {"1": "on", "0": "off"}.get(found["otel"], found["otel"])
        found |= {name: value for name, value in set_by_user.items() if value}
        return cls(**cast("dict[str, Any]", found))

    def with_(self, **changes: str | None) -> Settings:
        """These settings with what is given and not empty changed."""
        known = {f.name for f in fields(self)}
        return replace(self, **cast("dict[str, Any]", {k: v for k, v in changes.items() if v and k in known}))
