"""Imports point one way: a room may import from the rooms above it, never from those below.

To add a module, put its name into a row of LAYERS. That is all; the failures say the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "agentnb"

LAYERS = """
    errors
    budget when whole_file
    alerts cost
    plan trail policy redact stops shapes
    failures retry breaker values recovery
    checks events
    codec state settings terms
    step_changes tiers
    assess_changes
    remembered stop_changes
    transitions
    decide
    slices
    store.base
    store.seal store.network
    store.heads store.layout store.lock store.text_cache store.group
    store.news
    ledger checkpoint named
    anchors
    store.disk store.replies log
    bundle store.housekeeping store.checkup store.evidence
    models.base
    models.lineup
    models.schema models.failures models.network models.streaming models.prices models.sources models.weights
        models.counts models.cache models.scripted models.anthropic models.openai models.local models.chain
        models.resolve
    preview guards runner gist
    observed
    tools
    reading
    approval
    forms
    grounds
    mailbox prompt_text replies
    prompts
    memory prepared feasible
    simpler
    calls
    delegate asker
    gate
    pending malformed query said span retelling
    moments
    spans
    entry
    index metrics chosen
    measures follow
    watch
    planner executor critic answer summariser assess question
    prompting
    perform
    loop
    tape
    cassette splice
    dryrun by_hand recalled
    actions
    markdown
    standing notes listing displayed
    course
    steps
    summary
    wording
    outline bill status_line
    render
    compare trace_lines informed
    trace why
    traced
    deeds hash_chain
    account technical plain
    compliance
    audit_file audit_card
    verified
    audit
    palette
    picture
    scale
    blocks curve dashboard lanes layered stretch svg span_words
    timeline cost_curve graph
    beside
    notebook.figure
    notebook.figures
    drawn
    session
    wiring family
    fork resume seen
    run
    runs search
    agent
    spending
    semconv ids
    texts instruments
    tracing
    calibration otel
    notebook.hiding notebook.cell_error notebook.comms notebook.card notebook.host notebook.expand notebook.listing
        notebook.asking notebook.changes notebook.outcome notebook.fields notebook.buttons notebook.typed
        notebook.namespace notebook.stopping
        notebook.arguments notebook.panel notebook.pump notebook.cell notebook.completion notebook.doctor
        notebook.fetching notebook.finding notebook.desk notebook.going_on notebook.keeping notebook.viewing
        notebook.auditing
        notebook.drawing notebook.taping notebook.telling
        notebook.commands notebook.magics
"""
"""One row a line, top to bottom; a deeper indented line goes on with the row above it. Not all of them exist yet."""

SIDEWAYS = {
    "models.*": {"models.*"},
    "notebook.*": {"notebook.*"},
}
"""Who may import from its own row, and what. Cycles are forbidden all the same."""

ONLY_IN = {
    "diskcache": {"store.text_cache"},
    "docstring_parser": {"tools"},
    "filelock": {"store.lock", "tape"},
    "genai_prices": {"models.prices"},
    "jsonschema": {"checks"},
    "narwhals": {"trace"},
    "psutil": {"store.network"},
    "mistune": {"markdown"},
    "rfc8785": {"values"},
    "tenacity": {"models.chain"},
    "IPython": {"notebook.*"},
    "ipykernel": {"notebook.*"},
    "ipywidgets": {"notebook.*"},
    "plotly": {"notebook.*"},
    "anthropic": {"models.*"},
    "openai": {"models.*"},
    "xllamacpp": {"models.*"},
    "opentelemetry": {"instruments", "tracing", "otel"},
}
"""Distributions that few may import, at top level or in a function."""

NEVER_AT_THE_TOP = {"anthropic", "openai", "xllamacpp"}
"""Those that take up to seconds to import: in the function that needs them, or under TYPE_CHECKING."""

ROOT = "__init__"
"""The package's own __init__: it names what is public, lazily, and may import from every room."""

CONSTANTS_OF_ROOT = {"__version__"}
"""What any room may import from it; it stands there before anything else is imported."""


@dataclass(frozen=True)
class Import:
    """One imported module: `target` is a room for our own, else the top-level name of a distribution."""

    source: str
    target: str
    line: int
    ours: bool
    runs_at_import: bool

    def __str__(self) -> str:
        return f"agentnb/{self.source.replace('.', '/')}.py:{self.line} imports {self.target}"


def rows() -> list[list[str]]:
    """LAYERS as a list of rows of rooms."""
    found: list[list[str]] = []
    for line in filter(str.strip, LAYERS.splitlines()):
        if line.startswith(" " * 5):
            found[-1].extend(line.split())
        else:
            found.append(line.split())
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its room's name: `loop`, `store.disk`, `__init__`, `store.__init__`."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def rooms() -> list[str]:
    """The modules that LAYERS speaks of: all but the __init__ files."""
    return [name for name in modules() if name.rpartition(".")[2] != ROOT]


def matches(room: str, patterns: set[str]) -> bool:
    """True where `room` is one of `patterns`, or lies in one that ends in `.*`."""
    return room in patterns or f"{room.partition('.')[0]}.*" in patterns


def resolve(dotted: str, names: list[str]) -> set[str]:
    """The rooms that `from dotted import names` reaches, `dotted` being `agentnb` or something in it."""
    package = dotted.removeprefix("agentnb").removeprefix(".")
    if f"{package}.{ROOT}".removeprefix(".") not in modules():
        return {package}
    inside = {f"{package}.{name}".removeprefix(".") for name in names}
    found = {name if name in modules() else f"{package}.{ROOT}".removeprefix(".") for name in inside}
    return found or {f"{package}.{ROOT}".removeprefix(".")}


def statements(node: ast.AST, *, runs: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below `node`, and whether it runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        deferred = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield child, runs
        yield from statements(child, runs=runs and not deferred and not guarded)


def imported_names(source: str, node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """(dotted module, names taken from it) of one node: relative ones made absolute, `import_module` seen through."""
    match node:
        case ast.Import(names=names):
            yield from ((alias.name, []) for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            package = ["agentnb", *source.split(".")][:-level] if level else []
            yield ".".join([*package, *([module] if module else [])]), [alias.name for alias in names]
        case ast.Call(args=[ast.Constant(value=str(name)), *_], func=function):
            if ast.unparse(function).rpartition(".")[2] in {"import_module", "__import__"}:
                yield name, []
        case _:
            pass


@cache
def imports() -> list[Import]:
    """Every import in the package, in functions and under TYPE_CHECKING too: a dependency is one wherever it stands."""
    found: list[Import] = []
    for source, tree in modules().items():
        for node, runs in statements(tree):
            for dotted, names in imported_names(source, node):
                top = dotted.partition(".")[0]
                line = getattr(node, "lineno", 0)
                if top != "agentnb":
                    found.append(Import(source, top, line, ours=False, runs_at_import=runs))
                elif not (dotted == "agentnb" and names and set(names) <= CONSTANTS_OF_ROOT):
                    reached = resolve(dotted, names)
                    found += [Import(source, room, line, ours=True, runs_at_import=runs) for room in sorted(reached)]
    return found


def test_every_module_has_its_row() -> None:
    """A new file is put into the table on purpose, once."""
    listed = [room for row in rows() for room in row]
    assert len(listed) == len(set(listed)), "a room stands in two rows"
    missing = sorted(set(rooms()) - set(listed))
    assert not missing, f"not in LAYERS: {', '.join(missing)}"


def test_imports_point_upwards() -> None:
    """A room imports from the rows above it, and from its own row only where SIDEWAYS says so."""
    height = {room: number for number, row in enumerate(rows()) for room in row}
    wrong = []
    for found in imports():
        if not found.ours or found.source == ROOT:
            continue
        above = height.get(found.target, len(height)) < height.get(found.source, -1)
        beside = height.get(found.target) == height.get(found.source)
        allowed = SIDEWAYS.get(found.source) or SIDEWAYS.get(f"{found.source.partition('.')[0]}.*", set())
        if not above and not (beside and matches(found.target, allowed)):
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)


def test_no_cycles() -> None:
    """Rooms can be read in an order in which each needs only those read before."""
    needs = {room: {found.target for found in imports() if found.ours and found.source == room} for room in rooms()}
    while free := [room for room, needed in needs.items() if not needed & needs.keys()]:
        needs = {room: needed for room, needed in needs.items() if room not in free}
    assert not needs, f"these import each other: {', '.join(sorted(needs))}"


@pytest.mark.parametrize("distribution", sorted(ONLY_IN))
def test_few_import(distribution: str) -> None:
    """What may be exchanged one day, or is heavy, is known to one room or one storey."""
    wrong = [
        text
        for text, found in _of(distribution)
        if not matches(found.source, ONLY_IN[distribution])
        and not (found.source == ROOT and not found.runs_at_import)  # it may name types in its annotations
    ]
    assert not wrong, f"only {', '.join(sorted(ONLY_IN[distribution]))} may:\n" + "\n".join(wrong)


@pytest.mark.parametrize("distribution", sorted(NEVER_AT_THE_TOP))
def test_heavy_ones_are_imported_late(distribution: str) -> None:
    """Nobody pays for a provider's SDK who does not call that provider."""
    wrong = [text for text, found in _of(distribution) if found.runs_at_import]
    assert not wrong, "at the top of a module:\n" + "\n".join(wrong)


def _of(distribution: str) -> list[tuple[str, Import]]:
    return [(str(found), found) for found in imports() if not found.ours and found.target == distribution]


def test_sub_packages_re_export_nothing() -> None:
    """A name has one address: the __init__ of a sub-package holds a docstring and nothing else."""
    wrong = [
        name
        for name, tree in modules().items()
        if name != ROOT and name.endswith(ROOT) and (len(tree.body) != 1 or ast.get_docstring(tree) is None)
    ]
    assert not wrong, f"more than a docstring, or none: {', '.join(wrong)}"


def test_the_root_imports_lazily() -> None:
    """`import agentnb` runs no room's code: names are imported when they are asked for."""
    wrong = [str(found) for found in imports() if found.source == ROOT and found.ours and found.runs_at_import]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("loop", "from agentnb.errors import AgentError", [("agentnb.errors", ["AgentError"])]),
        ("loop", "from agentnb import errors", [("agentnb", ["errors"])]),
        ("store.disk", "from .base import Journal", [("agentnb.store.base", ["Journal"])]),
        ("store.disk", "from ..errors import StoreError", [("agentnb.errors", ["StoreError"])]),
        ("loop", "import_module('agentnb.agent')", [("agentnb.agent", [])]),
        ("loop", "import diskcache.core as d", [("diskcache.core", [])]),
    ],
)
def test_this_test_sees_every_form_of_import(source: str, text: str, expected: list[tuple[str, list[str]]]) -> None:
    """No spelling slips through."""
    nodes = [node for node, _ in statements(ast.parse(text))]
    assert [found for node in nodes for found in imported_names(source, node)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import openai", True),
        ("try:\n    import openai\nexcept ImportError: pass", True),
        ("class A:\n    import openai", True),
        ("def f():\n    import openai", False),
        ("if TYPE_CHECKING:\n    import openai", False),
    ],
)
def test_this_test_knows_what_runs_at_import(text: str, expected: bool) -> None:  # noqa: FBT001 - a parameter of a case
    """Only functions and TYPE_CHECKING blocks defer an import."""
    (runs,) = [runs for node, runs in statements(ast.parse(text)) if isinstance(node, ast.Import)]
    assert runs is expected
