"""The magics in a shell of their own: what can be typed, what comes of it, and what is said when it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb import Run, load_ipython_extension, unload_ipython_extension
from agentnb.budget import LIMITS
from agentnb.errors import FailureClass, ModelError, StoreError
from agentnb.notebook.arguments import CAPS, CELL_FLAGS
from agentnb.notebook.cell_error import CellError
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from tests.cells import Cells, adding, notebook_in, scripted
from tests.parts import answer, plan, step, verdict

ROOT = Path(__file__).parent.parent
HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


# --- a cell -----------------------------------------------------------------------------------------------------------


def test_a_run_is_bound_and_shown(cells: Cells) -> None:
    """The Run is in its variable, and the cell's one output has the answer as text and as HTML."""
    cells.names["m"] = adding("It is 3.")
    cells.cell("result --model m --tools add", "What is 1 + 2?")
    run = cells.names["result"]
    assert isinstance(run, Run)
    assert (run.status, run.output) == (Status.COMPLETED, "It is 3.")
    (bundle,) = cells.bundles
    assert "It is 3." in bundle["text/plain"]
    assert "It is 3." in bundle["text/html"]


def test_without_a_name_nothing_is_bound(cells: Cells) -> None:
    """A cell leaves nothing behind in the namespace that it was not asked for."""
    cells.names["m"] = adding()
    before = set(cells.names)
    cells.cell("--model m --tools add", "What is 1 + 2?")
    assert set(cells.names) == before
    assert "3" in cells.text


def test_values_of_the_notebook_are_put_into_the_task(cells: Cells) -> None:
    """Names come from --params first and then from the notebook; braces of JSON and percent signs stay."""
    cells.names.update(m=scripted(answer()), n=3, who="nobody", given={"who": "Ada"})
    cells.cell("r --model m --params given", 'Give {who} {n} of {"a": 1}, 100 % → {{n}}')
    assert cells.names["r"].state.head.task == 'Give Ada 3 of {"a": 1}, 100 % → {n}'


def test_braces_on_the_line_are_not_evaluated(cells: Cells) -> None:
    """IPython would run `{…}` of the first line as code; this magic keeps it from that."""
    cells.names.update(m=scripted(answer()))
    cells.magic("run_cell", "%%agent r --model m --tag k={1+1}\nSay it.")
    assert cells.names["r"].state.head.tags == {"k": "{1+1}"}


def test_flags_reach_the_run(cells: Cells) -> None:
    """Budget, approval, tags and store are those of the line; `none` lifts a cap that is there by default."""
    cells.names["m"] = scripted(answer())
    cells.cell(
        'r --model m --tokens 9000 --steps none --seconds 2.5 --approve deny --tag a=b --tag "c=d e" --store "my runs"',
        "Say it.",
    )
    head = cells.names["r"].state.head
    assert (head.budget.tokens, head.budget.steps, head.budget.seconds, head.budget.working_seconds) == (
        9000,
        None,
        2.5,
        120,
    )
    assert (head.policy.approve, head.tags) == ("deny", {"a": "b", "c": "d e"})
    assert Path("my runs/.gitignore").exists()


def test_config_holds_where_the_line_says_nothing(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag beats %config, which beats the environment."""
    monkeypatch.setenv("AGENTNB_STORE", "of-environment")
    cells.names["m"] = scripted(answer(), answer(), answer())
    cells.cell("--model m", "one")
    cells.set("store = 'of-config'")
    cells.set("approve = 'auto'")
    cells.cell("r --model m", "two")
    cells.cell("--model m --store of-flag", "three")
    assert all(Path(name).is_dir() for name in ("of-environment", "of-config", "of-flag"))
    assert cells.names["r"].state.head.policy.approve == "auto"


def test_a_plan_of_the_user_is_carried_out(cells: Cells) -> None:
    """--plan takes the steps from a variable, and no model is asked for any."""
    cells.names.update(m=scripted(verdict(), answer("5")), steps=[{"tool": "add", "args": {"a": 2, "b": 3}}])
    cells.cell("r --model m --tools add --plan steps", "Add.")
    assert cells.names["r"].result("s1") == 5


def test_a_plain_function_can_be_a_tool(cells: Cells) -> None:
    """A typed function with a docstring needs no decorator; it counts as a write and is not made unasked."""

    def shout(text: str) -> str:
        """Say it loudly."""
        raise AssertionError(text)

    cells.names.update(m=scripted(plan(step("shout", text="x")), answer()), shout=shout)
    cells.cell("r --model m --tools shout", "Shout.")
    assert "nobody is here to be asked" in cells.text


def test_a_limit_is_a_result_and_can_be_extended(cells: Cells) -> None:
    """A run that stops at a cap is bound and shown without an error; `%agent extend` goes on with it."""
    two = plan(step("add", a=1, b=2), step("add", a="$s1", b=4))
    lines = [two, two, verdict(), answer("so far 3")]  # it is told that the second step is over budget, and insists
    cells.names["m"] = scripted(*lines, verdict(), answer("7"))
    cells.cell("r --model m --tools add --steps 1", "Add.")
    assert (cells.names["r"].status, cells.names["r"].stop_reason) == (Status.STOPPED, "steps")
    cells.line("extend r1 --steps 2")
    assert (cells.names["r"].status, cells.names["r"].output) == (Status.COMPLETED, "7")


def test_a_model_that_fails_leaves_the_run_bound_and_resumable(cells: Cells) -> None:
    """The cell ends with two lines, for later cells need the result; what was done is not done again."""
    down = ModelError("the server says no", FailureClass.PERMISSION, unbilled=True)
    cells.names["m"] = scripted(plan(step("add", a=1, b=2)), down, verdict(), answer("3"))
    what, todo = cells.error("r --model m --tools add")
    assert "the server says no" in what
    assert "%agent resume r1" in todo
    assert cells.names["r"].status is Status.SUSPENDED
    cells.line("resume r1")
    assert cells.names["r"].output == "3"
    assert cells.names["r"].spent.tool_calls == 1


def test_an_error_of_the_model_object_itself_keeps_its_traceback(cells: Cells) -> None:
    """What is a bug of somebody's surfaces as what it is, in the cell, and the run is bound."""
    cells.names["m"] = scripted(plan(step("add", a=1, b=2)))
    with pytest.raises(AssertionError, match="is not in the script"):
        cells.cell("r --model m --tools add", "Add.")
    assert cells.names["r"].plan is not None


def test_what_a_replay_shows_is_the_same_each_time(cells: Cells) -> None:
    """Recorded once, a cell shows byte for byte the same from the cassette, with no model."""
    cells.names["m"] = adding()
    cells.set("mode = 'record'")
    cells.cell("r --model m --tools add --cassette c.jsonl", "Add.")
    cells.set("mode = ''")
    cells.names["m"] = scripted()
    shown = []
    for _ in range(2):
        cells.cell("r --model m --tools add --cassette c.jsonl --replay", "Add.")
        shown.append(json.dumps(cells.bundles))
    assert shown[0] == shown[1]
    assert "r2-" not in shown[0]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what", "todo"),
    [
        ("r --modle x", "no flag --modle", "--model"),
        ("r --tool add", "no flag --tool", "--tools"),
        ("r --zzzz", "no flag --zzzz", "--usd"),
        ("r --usd", "--usd needs a value", "usage is"),
        ("r --usd much", "--usd", "0.5"),
        ("r --tokens 1.5", "--tokens", "whole number"),
        ("r --usd 0", "budget usd=0 allows nothing", "more than 0"),
        ("r --steps -1", "budget steps=-1 allows nothing", "more than 0"),
        ("r --seconds nan", "budget seconds=nan is not a number", "give"),
        ("r --tokens none --steps none --working-seconds none", "a run needs a budget", "usd"),
        ("r --approve yes", "--approve", "ask, deny, auto"),
        ("r extra", "'extra' is one word too many", "usage is"),
        ("for", "NAME", "result"),
        ("2r", "NAME", "result"),
        ("r --tag x", "--tag", "key=value"),
        ('r --store "x', "quotation mark", "close it"),
        ("r --model nosuch:model", "nosuch:model", "models are named"),
        ("r --model gpt-5", "gpt-5", "openai:"),
        ("r --model m --tools ad", "no tool 'ad'", "add, table, note"),
        ("r --model m --tools ad", "did you mean 'add'?", "add"),
        ("r --model m --tools m", "m is a ScriptedModel and not a tool", "add"),
        ("r --model m --tools bare", "bare", "type"),
        ("r --model m --params nothere", "--params nothere", "no such variable"),
        ("r --model m --params m", "--params m is a ScriptedModel", "dict"),
        ("r --model m --plan m", "--plan m is a ScriptedModel", "list of steps"),
        ("r --model m --plan bad_plan", "the plan cannot be carried out", "no tool 'nope'"),
        ("r --model m --plan odd", "--plan odd is a Odd", "list of steps"),
        ("--tokns 5", "there is no flag --tokns", "did you mean --tokens?"),
        ("r --tokns=5", "there is no flag --tokns", "did you mean --tokens?"),
        ("r -x 5", "there is no flag -x", "--model"),
        (f"r --tokens 1{'0' * 400}", "is not a whole number of tokens", "--tokens 1000"),
        ("r --usd 1e400", "budget usd=inf is not a number", "give"),
        ("r --tools table, add", "--tools 'table,' ends with a comma", "no space after commas"),
        ("r --model m --tools odd", "odd is a Odd and not a tool", "add"),
        ("r --model odd", "no model 'odd'", "models are named"),
        ("r --model mm", "no model 'mm', did you mean 'm'?", "the model objects here are m"),
        ("r --model m --phase critique=m_", "no model 'm_', did you mean 'm'?", "the model objects here are m"),
        ("r --model m --record --replay --cassette c.jsonl", "--record and --replay exclude each other", "the one"),
        ("r --model m --replay", "replaying needs a cassette", "--cassette"),
        ("r --model m --replay --cassette none.jsonl", "none.jsonl", "record"),
        ("r --model m --cassette damaged.jsonl", "damaged.jsonl, line 1", "Restore"),
        ("r --model m --store a-file", "a-file is a file", "give a folder"),
    ],
)
def test_a_bad_line_is_two_lines(cells: Cells, line: str, what: str, todo: str) -> None:
    """Each mistake gets what happened and what to do, and nothing is asked of a model."""

    class Odd:
        """It raises at whoever looks at it."""

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    def bare(x, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - the mistake
        """No types."""

    Path("a-file").write_text("not a folder")
    Path("damaged.jsonl").write_text('{"agentnb_cassette": 99')
    model = scripted()
    cells.names.update(m=model, bare=bare, bad_plan=[{"tool": "nope"}], odd=Odd())
    first, second = cells.error(line)
    assert what in f"{first} {second}"
    assert todo in f"{first} {second}"
    assert model.requests == []


def test_no_key_says_which_variable(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider without its key is refused before anything is recorded, with the way that needs none."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    what, todo = cells.error("r --model anthropic:claude-sonnet-4-5")
    assert "anthropic:claude-sonnet-4-5" in what
    assert "ANTHROPIC_API_KEY" in todo
    assert "local:" in todo
    assert "r" not in cells.names


@pytest.mark.parametrize(("text", "what"), [("  \n\n", "the task is empty"), ("x" * 1_000_000, "1,000,000 characters")])
def test_an_empty_and_a_huge_cell(cells: Cells, text: str, what: str) -> None:
    """Neither starts a run."""
    cells.names["m"] = scripted()
    assert what in cells.error("r --model m", text)[0]


@pytest.mark.parametrize("body", ["", "\n", "\n  \n\t\n"])
def test_a_cell_with_no_body_at_all_is_an_error_of_ours(cells: Cells, body: str) -> None:
    """IPython's own UsageError for it has no error output, and nbval would pass the cell."""
    cells.names["m"] = scripted()
    result = cells.magic("run_cell", f"%%agent r --model m{body}")
    assert isinstance(result.error_in_exec, CellError)
    assert result.error_in_exec._render_traceback_() == [
        "agentnb: the task is empty",
        "say in words what is wanted",
    ]


def test_a_first_line_alone_is_still_incomplete(cells: Cells) -> None:
    """A terminal goes on reading the cell after `%%agent …` and Enter."""
    assert cells.shell.check_complete("%%agent r --model m\n")[0] == "incomplete"


@pytest.mark.parametrize("name", ["add", "shout", "Path", "json", "m", "print"])
def test_what_later_cells_work_with_is_not_replaced(cells: Cells, name: str) -> None:
    """A Run is not bound over a tool, a function, a class, a module or a model, and nothing is asked of a model."""
    model = adding()
    cells.names.update(m=model, shout=lambda: None, Path=Path, json=json)
    what, todo = cells.error(f"{name} --model m --tools add")
    assert f"{name!r}" in what
    assert f"{name}_run" in todo
    assert model.requests == []


def test_a_name_of_a_run_or_of_data_may_be_used_again(cells: Cells) -> None:
    """A cell that is run twice binds twice."""
    cells.names.update(m=scripted(answer("one"), answer("two")), r=[1, 2])
    cells.cell("r --model m", "One.")
    cells.cell("r --model m", "Two.")
    assert cells.names["r"].output == "two"


@pytest.mark.parametrize("line", ["--help", "-h", "r --model m --help"])
def test_a_cell_shows_its_help(cells: Cells, line: str) -> None:
    """`%%agent --help` is an output, needs no body, and starts nothing."""
    cells.names["m"] = scripted()
    cells._captured(lambda: cells.magic("run_cell", f"%%agent {line}"))
    assert cells.text.startswith("usage:")
    assert all(flag in cells.text for flag in CELL_FLAGS)
    assert "r" not in cells.names


def test_an_undefined_name_in_the_cell(cells: Cells) -> None:
    """The nearest name is given, and nothing starts."""
    cells.names.update(m=scripted(), reports=[1])
    what, todo = cells.error("r --model m", "Triage {report}.")
    assert "{report}" in what
    assert "'reports'" in todo


def test_unicode_and_hostile_text_are_shown_escaped(cells: Cells) -> None:
    """Nothing in a task, a result or an answer becomes HTML of the page."""
    model = scripted(plan(step("add", title=HOSTILE, a=1, b=2)), verdict(finding=HOSTILE), answer(f"“ä” {HOSTILE}"))
    cells.names["m"] = model
    cells.cell("r --model m --tools add", f"Grüße 日本 {HOSTILE}")
    assert "“ä”" in cells.text
    for line in ("runs", "show r1", "replay r1"):
        cells.line(line)
        assert all("<script" not in bundle["text/html"] for bundle in cells.bundles), line


def test_a_read_only_store_says_so(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be written ends the cell with the two ways to choose another."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # tests run as root, whom no mode bits stop
    cells.names["m"] = scripted()
    what, todo = cells.error("r --model m")
    assert "cannot be written" in what
    assert "AGENTNB_STORE" in todo


def test_a_store_that_breaks_on_the_way_is_an_error_in_the_cell(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker cannot write surfaces in the cell; what was recorded before can still be read."""
    keep = DiskStore.append

    def full(self: DiskStore, run: str, records: Any, blobs: Any, rows: Any) -> None:
        if records[-1].seq > 4:
            raise StoreError("the store cannot be used: the disk is full")
        keep(self, run, records, blobs, rows)

    monkeypatch.setattr(DiskStore, "append", full)
    cells.names["m"] = adding()
    assert cells.error("r --model m --tools add")[1] == "the disk is full"
    assert cells.names["r"].plan is not None


# --- help, completion, loading ----------------------------------------------------------------------------------------


def test_help_explains_every_flag(cells: Cells) -> None:
    """`%%agent?` has each flag, and each has a help text."""
    shown = cells.magic("find_cell_magic", "agent").__doc__
    assert all(flag in shown for flag in CELL_FLAGS)
    assert "US dollars" in shown
    assert "commands" in cells.magic("find_line_magic", "agent").__doc__


def test_every_cap_has_a_flag() -> None:
    """The budget and the magic know the same caps, in the same order."""
    assert tuple(CAPS) == LIMITS


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%%agent r --mo", "--model"),
        ("%%agent r --approve ", "deny"),
        ("%%agent r --approve a", "ask"),
        ("%%agent r --tools ", "add"),
        ("%%agent r --tools add,no", "note"),
        ("%%agent r --model ", "local:smollm2"),
        ("%%agent r --model local:smo", "smollm2"),
        ("%%agent r --model m", "m_small"),
        ("%%agent r --tokens ", "none"),
        ("%%agent r --params ", "given"),
        ("%agent re", "replay"),
        ("%agent show ", "r1-"),
        ("%agent resume r1 --", "--not-done"),
        ("%agent models ", "fetch"),
        ("%agent tools ", "table"),
    ],
)
def test_completion(cells: Cells, line: str, offered: str) -> None:
    """Tab offers flags, their values, tools, models and runs, through IPython's own completer."""
    cells.names.update(m=adding(), m_small=scripted(), given={})
    cells.cell("--model m --tools add", "Add.")
    found = cells.offered(line)
    assert any(text.startswith(offered) for text in found), found
    assert len(found) == len(set(found))


def test_completion_is_silent_where_something_is_wrong(cells: Cells) -> None:
    """Tab is no place for errors, and makes no store."""
    cells.offered("%agent show ")
    assert not Path(".agentnb").exists()
    Path(".agentnb").mkdir()
    Path(".agentnb/journal").write_text("not a folder")
    assert not any(text.startswith("r") for text in cells.offered("%agent show r"))


def test_loading_is_idempotent_and_can_be_undone(cells: Cells) -> None:
    """Loaded twice there is one of everything; unloaded there is nothing left, and it can be loaded again."""
    shell = cells.shell
    before = shell.input_transformers_cleanup[:-1]
    load_ipython_extension(shell)
    assert [type(c).__name__ for c in shell.configurables].count("AgentMagics") == 1
    unload_ipython_extension(shell)
    unload_ipython_extension(shell)
    assert cells.magic("find_cell_magic", "agent") is None
    assert cells.magic("find_line_magic", "agent") is None
    assert "%%agent" not in shell.strdispatchers["complete_command"].strs
    assert shell.input_transformers_cleanup == before
    assert "AgentMagics" not in [type(c).__name__ for c in shell.configurables]
    load_ipython_extension(shell)
    assert "%agent" in cells.line("")


def test_loading_imports_nothing_heavy() -> None:
    """`%load_ext agentnb` says nothing and imports no SDK, no pydantic, no plot, widget or database library."""
    code = """
import sys
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
before = set(sys.modules)
shell.run_line_magic("load_ext", "agentnb")
heavy = {"pydantic", "anthropic", "openai", "plotly", "ipywidgets", "diskcache", "httpx2", "tenacity", "genai_prices"}
found = {name.partition(".")[0] for name in set(sys.modules) - before}
assert not found & heavy, found & heavy
assert "agentnb.agent" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
