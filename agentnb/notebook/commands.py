"""What the `%agent` commands do, one function each, by the name that is typed."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from agentnb.errors import ConfigError
from agentnb.family import told
from agentnb.listing import Listing
from agentnb.models.weights import KNOWN, fetch, present
from agentnb.notebook import auditing, drawing, finding, going_on, keeping, taping, viewing
from agentnb.notebook.arguments import COMMANDS, command_arguments, help_of, in_store, parser_of, wants_help
from agentnb.notebook.desk import Desk, full_id
from agentnb.notebook.doctor import why_not
from agentnb.notebook.expand import expand
from agentnb.notebook.fetching import Fetching
from agentnb.notebook.host import host_of
from agentnb.notebook.listing import show, show_text
from agentnb.notebook.namespace import tools_in
from agentnb.notebook.panel import show_summary
from agentnb.retelling import retold
from agentnb.tools import Tool

__all__ = ["carry_out_command"]


def carry_out_command(desk: Desk, line: str) -> None:
    """Carry out one `%agent` line; `{name}` in it is put in as in a cell, so that `%agent show {result.id}` works.

    Raises:
        AgentError: there is no such command, or it cannot be carried out.
        CellError: a run that it went on with rests.
    """
    name, _, rest = line.strip().partition(" ")
    name = "help" if name in ("", "--help", "-h") else name
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean `%agent {near[0]}`?" if near else f"there are {', '.join(COMMANDS)}"
        raise ConfigError(f"no command %agent {name}: {meant}")
    if wants_help(rest, name):
        show_text(help_of(parser_of(name)))
        return
    _COMMANDS[name](desk, command_arguments(name, expand(rest, desk.names)))


def _help(_: Desk, __: Namespace) -> None:
    rows = [(f"%agent {name} {command.usage}".rstrip(), command.help) for name, command in COMMANDS.items()]
    cell = ("%%agent [NAME] --flag value …", "carry out the task that the cell's text says")
    show(Listing("agentnb", ("type", "to"), [cell, *rows], "%%agent? explains every flag"))


def _show(desk: Desk, args: Namespace) -> None:
    store = desk.store(args)
    show_summary(told(store, full_id(store, args.run, desk.names)), in_store(args), every=args.all)


def _replay(desk: Desk, args: Namespace) -> None:
    store = desk.store(args)
    run = full_id(store, args.run, desk.names)
    records = list(store.read(run))
    rows = [(str(record.seq), f"{record.t:.2f}", *retold(record.event)) for record in records]
    show(Listing(f"{run}, event by event; nothing is called", ("#", "seconds", "event", "what"), rows))
    show_summary(told(store, run), in_store(args))


def _models(desk: Desk, args: Namespace) -> None:
    if args.action:
        _fetch(desk, args.model)
        return
    rows = [
        (f"local:{known.name}", why_not(f"local:{known.name}"), f"{known.size // 1_000_000} MB, {known.license}")
        for known in KNOWN
    ]
    rows += [(f"{provider}:NAME", why_not(f"{provider}:any"), "") for provider in ("anthropic", "openai")]
    chosen = desk.settings.model
    if chosen not in [row[0] for row in rows]:
        rows.insert(0, (chosen, why_not(chosen), "set as the model"))
    show(
        Listing(
            "Models", ("model", "can be used", ""), rows, "%agent models fetch NAME brings the weights of a local one"
        )
    )


def _fetch(desk: Desk, name: str | None) -> None:
    if not name:
        raise ConfigError(f"which weights: %agent models fetch {' | '.join(known.name for known in KNOWN)}")
    name = name.removeprefix("local:")
    with Fetching(host_of(desk.shell), name) as progress:
        path = "" if present(name) else fetch(name, progress=progress)
    show(Listing(f"local:{name} is {f'at {path}' if path else 'here already'}", (), ()))


def _tools(desk: Desk, args: Namespace) -> None:
    tools = tools_in(desk.names)
    if args.tool:
        if args.tool not in tools:
            raise ConfigError(
                f"no tool {args.tool!r}: the tools here are {', '.join(tools) or 'none, define one with @tool'}"
            )
        tool = tools[args.tool]
        schema = {"name": tool.name, "description": tool.description, **tool.parameters}
        show_text(json.dumps(schema, indent=2, ensure_ascii=False))
        return
    rows = [
        (
            name,
            _effect(tool),
            _arguments(tool.parameters),
            tool.description,
        )
        for name, tool in tools.items()
    ]
    note = (
        "%agent tools NAME shows the schema"
        if rows
        else "Define one: a typed function with a docstring, under @agentnb.tool"
    )
    show(
        Listing(
            "Tools in this notebook" if rows else "No tools in this notebook",
            ("tool", "effect", "arguments", "what"),
            rows,
            note,
        )
    )


def _effect(tool: Tool) -> str:
    """What a call does, in words: "read", "write, irreversible, sends data out"."""
    acts = tool.facts.acts and tool.effect != "destructive"
    parts = (
        "an agent" if tool.facts.delegates else "",
        tool.effect,
        tool.reversibility if acts else "only proposed" if tool.effect == "destructive" else "",
        "sends data out" if tool.egress else "",
        "untrusted" if tool.untrusted else "",
    )
    return ", ".join(filter(None, parts))


def _arguments(parameters: Mapping[str, Any]) -> str:
    required = parameters.get("required", ())
    found = []
    for name, schema in parameters.get("properties", {}).items():
        kind = schema.get("type") or ("one of several" if "anyOf" in schema else "object")
        found.append(f"{name}: {kind}" + ("" if name in required else f" = {json.dumps(schema.get('default'))}"))
    return ", ".join(found) or "none"


_COMMANDS: Mapping[str, Callable[[Desk, Namespace], None]] = {
    "answer": going_on.answer,
    "audit": auditing.audit,
    "approve": going_on.approve,
    "cancel": going_on.cancel,
    "discard": going_on.discard,
    "edit": going_on.edit,
    "execute": going_on.execute,
    "go-on": going_on.go_without,
    "fork": going_on.fork,
    "diff": going_on.diff,
    "pending": going_on.pending,
    "cassette": taping.cassette,
    "cost": keeping.cost,
    "curve": drawing.curve,
    "dashboard": finding.dashboard,
    "doctor": keeping.doctor,
    "export": keeping.export,
    "graph": drawing.graph,
    "gc": keeping.gc,
    "import": keeping.take_in,
    "extend": going_on.extend,
    "help": _help,
    "models": _models,
    "reject": going_on.reject,
    "replay": _replay,
    "resume": going_on.resume,
    "retry": going_on.retry,
    "runs": finding.runs,
    "search": finding.search,
    "show": _show,
    "tools": _tools,
    "timeline": drawing.timeline,
    "trace": viewing.trace,
    "why": viewing.why,
}
