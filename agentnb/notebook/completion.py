"""What Tab offers on `%%agent` and `%agent` lines: flags, their values, tools and models of the notebook, run ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agentnb.chosen import ORDERS, STATUSES
from agentnb.cost import PHASES
from agentnb.notebook.arguments import APPROVE, CAPS, CELL_FLAGS, COMMANDS, UNLIMITED
from agentnb.notebook.namespace import Names, models_in, tools_in

__all__ = ["Event", "complete"]

_MODELS = ("local:qwen2.5-coder-1.5b", "local:smollm2", "anthropic:", "openai:")
_ABOUT_RUNS = (
    "answer", "approve", "audit", "cancel", "discard", "edit", "execute", "extend", "go-on", "pending", "reject",
    "replay", "resume", "retry", "show",
)  # fmt: skip
_CHOICES = {
    "--tool": (),
    "--status": STATUSES,
    "--sort": ORDERS,
    "--since": ("today", "yesterday", "1h", "7d"),
    "--until": ("today", "yesterday"),
}
_DELIMITERS = ",:="


class Event(Protocol):
    """What IPython tells a completer.

    Attributes:
        command: the line's first word.
        text_until_cursor: the line up to the cursor.
    """

    command: str
    text_until_cursor: str


def complete(event: Event, names: Names, model: str, store: Path) -> list[str]:
    """What may stand where the cursor is; only what begins as the word there, from its last delimiter on.

    Args:
        event: from IPython.
        names: the notebook's variables.
        model: the model that is set.
        store: the folder of the runs; it is not made.
    """
    *before, word = f"{event.text_until_cursor} ".split(" ")[:-1] or [""]
    before = [b for b in before if b]
    previous = before[-1] if before else ""
    if event.command == "%%agent":
        found = _of_cell(previous, word, names, model)
    else:
        found = _of_command(before[1:], previous, lambda: _runs(store), names)
    return _from_last_delimiter(word, found)


def _of_cell(previous: str, word: str, names: Names, model: str) -> Sequence[str]:  # noqa: PLR0911 - a table of flags
    if previous in ("--model", "--cheap-model"):
        return [*dict.fromkeys((model, *_MODELS)), *models_in(names)]
    if previous == "--phase":
        return [f"{phase}={name}" for phase in PHASES for name in (model, *_MODELS, *models_in(names))]
    if previous == "--tools":
        before = word.rpartition(",")[0]
        return [f"{before},{name}" if before else name for name in tools_in(names) if name not in before.split(",")]
    if previous == "--approve":
        return APPROVE
    if previous == "--assess":
        return ["off"]
    if previous in ("--plan", "--params"):
        kinds = (list, tuple) if previous == "--plan" else (dict,)
        return [name for name, value in names.items() if isinstance(value, kinds) and not name.startswith("_")]
    if previous.removeprefix("--").replace("-", "_") in CAPS:
        return [UNLIMITED]
    return CELL_FLAGS


def _of_command(words: Sequence[str], previous: str, runs: Callable[[], list[str]], names: Names) -> Sequence[str]:
    if not words:
        return list(COMMANDS)
    command = words[0]
    if command not in COMMANDS:
        return []
    if previous == command:
        places: dict[str, Sequence[str]] = {
            "models": ["fetch"],
            "tools": list(tools_in(names)),
            "cassette": ["verify", "prune", "merge"],
        }
        return runs() if command in _ABOUT_RUNS else [*places.get(command, ()), *COMMANDS[command].flags]
    if command in ("runs", "search") and previous in _CHOICES:
        return _CHOICES[previous] or list(tools_in(names))
    if previous == "fetch":
        return [name.removeprefix("local:") for name in _MODELS if name.startswith("local:")]
    return COMMANDS[command].flags


def _runs(store: Path) -> list[str]:
    if not store.is_dir():
        return []
    from agentnb.store.disk import DiskStore  # only who completes a run's id pays for the store

    return DiskStore(store).runs()[::-1]


def _from_last_delimiter(word: str, found: Sequence[str]) -> list[str]:
    """IPython replaces the text after the last delimiter: what is offered has to begin there."""
    start = max(word.rfind(d) for d in _DELIMITERS) + 1
    return [text[start:] for text in found if text.startswith(word)]
