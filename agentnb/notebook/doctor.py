"""What is installed, set and reachable here: the first thing to look at when something does not work."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from agentnb import __version__
from agentnb.errors import AgentError
from agentnb.models.resolve import available
from agentnb.notebook.host import Host
from agentnb.notebook.telling import who_listens
from agentnb.redact import secrets_in
from agentnb.settings import VARIABLES, Settings
from agentnb.tiers import phases_in

__all__ = ["diagnosis", "why_not"]

_PACKAGES = (
    "ipython", "ipykernel", "ipywidgets", "pydantic", "diskcache", "anthropic", "openai", "genai-prices", "xllamacpp",
    "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http",
)  # fmt: skip
_VARIABLES = (
    "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL",
    *VARIABLES.values(), "AGENTNB_MODELS", "AGENTNB_NO_NETWORK",
)  # fmt: skip


def diagnosis(host: Host, settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(what, how it is) of everything that a run here depends on; never the value of a variable."""
    models = dict.fromkeys(filter(None, (settings.model, settings.cheap_model, *phases_in(settings.phases).values())))
    return [
        ("agentnb", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _installed(name)) for name in _PACKAGES),
        *((name, "is set" if environ.get(name) else "is not set") for name in _VARIABLES),
        ("front end", host.front_end),
        ("who can answer", host.who_answers),
        ("can a widget be clicked", _clickable(host)),
        ("notebook", str(host.notebook) if host.notebook else "not known"),
        ("mode", settings.mode),
        *((f"model {name}", why_not(name)) for name in models),
        ("cassette", _file(settings.cassette)),
        ("telemetry", who_listens(settings)),
        ("hidden as secrets", ", ".join(secrets_in(environ)) or "none is in the environment"),
        ("store", _store(Path(settings.store).expanduser().absolute())),
    ]


def why_not(ref: str) -> str:
    """Either "yes", or why the model `ref` cannot be called now."""
    try:
        return available(ref) or "yes"
    except AgentError as error:
        return str(error)


def _clickable(host: Host) -> str:
    """Whether the kernel hears a click while a cell runs, and whether the front end draws what is to be clicked.

    The second is known only of a front end that has asked for the widgets that there are.
    """
    if host.audience != "widgets":
        return "no"
    if not host.clickable:
        return "no; this kernel does not hear a click while a cell runs, and questions are asked by text"
    asked = getattr(getattr(sys.modules.get("ipywidgets"), "Widget", None), "_control_comm", None) is not None
    return "yes" if asked else "not known; the kernel hears it, and %agent approve answers without one"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _file(name: str) -> str:
    if not name:
        return "none is set"
    path = Path(name).expanduser().absolute()
    return str(path) if path.is_file() else f"{path}, not there yet"


def _store(path: Path) -> str:
    """Asks the system and touches nothing: looking must not make a store."""
    if path.exists() and not path.is_dir():
        return f"{path} is a file: give a folder"
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    writable = "can be written" if os.access(there, os.W_OK | os.X_OK) else "CANNOT be written"
    return f"{writable}: {path}" if path.exists() else f"not there yet, {writable}: {path}"
