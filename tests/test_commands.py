"""The `%agent` commands: what each shows, what it goes on with, and what is said when it is wrong."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output
from ipywidgets import Widget

from agentnb import Agent, tool
from agentnb.cassette import Cassette
from agentnb.errors import FailureClass, ModelError
from agentnb.notebook.arguments import COMMANDS
from agentnb.notebook.commands import _COMMANDS
from agentnb.notebook.doctor import diagnosis
from agentnb.notebook.fetching import Fetching
from agentnb.notebook.host import Audience, Host
from agentnb.settings import Settings
from agentnb.state import Status
from tests.cells import Cells, adding, notebook_in, scripted
from tests.parts import NOTES, add, answer, note, plan, step, verdict


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


def test_bare_agent_lists_the_commands(cells: Cells) -> None:
    """`%agent` alone is a short help with every command."""
    shown = cells.line("")
    assert all(f"%agent {name}" in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("line", "what", "todo"),
    [
        ("shwo r1", "no command %agent shwo", "%agent show"),
        ("zzz", "no command %agent zzz", "runs, show"),
        ("show", "RUN is missing", "%agent show RUN"),
        ("show r9", "no run 'r9'", "%agent runs"),
        ("show 1 2", "one word too many", "%agent show RUN"),
        ("resume r1 --don", "no flag --don", "--done"),
        ("resume r1 --done --not-done", "exclude each other", "look"),
        ("resume r1", "it is completed", "%agent show r1"),
        ("extend r1", "which cap", "--tokens"),
        ("extend r1 --tokens lots", "--tokens", "1000"),
        ("extend r1 --tokens 5", "did not stop at a limit", "nothing to go on with"),
        ("approve r1", "waits for a decision", "completed"),
        ("reject r1", "why", "reject r1 REASON"),
        ("reject --strore x r1 no", "no flag --strore", "--store"),
        ("cancel", "RUN is missing", "%agent cancel RUN [WHY]"),
        ("fork", "agentnb: RUN is missing", "%agent fork RUN [--at s3]"),
        ("diff", "RUN and OTHER are missing", "%agent diff RUN OTHER"),
        ("fork r1 a=9", "answer has no arguments", "--at s1"),
        ("show r1 --at s1", "no flag --at", "did you mean --all?"),
        ("gc --older-than -5", "older_than_days=-5.0 (--older-than) is below 0", "days of 0 or more"),
        ("gc --max-mb -1", "(--max-mb) is below 0", "megabytes"),
        ("export r1 .", "is a folder", "name a file, such as 'r1-"),
        ("import null.jsonl", "null.jsonl is no run that agentnb exported", "a line of it is no object"),
        ("cancel r1", "completed", "%agent"),
        ("runs -n x", "not a whole number of runs", "-n"),
        ("cassette", "no cassette is named", "FILE"),
        ("cassette gone.jsonl", "gone.jsonl", "record"),
        ("cassette damaged.jsonl", "damaged.jsonl, line 1", "Restore"),
        ("models fetsh", "fetsh", "did you mean fetch"),
        ("models fetch", "which weights", "smollm2"),
        ("models fetch nosuch", "no local model called 'nosuch'", "smollm2"),
        ("tools nope", "no tool 'nope'", "add, table, note"),
    ],
)
def test_a_bad_command_is_two_lines(cells: Cells, line: str, what: str, todo: str) -> None:
    """Each mistake gets what happened and what to do."""
    Path("damaged.jsonl").write_text("[]")
    null = {"agentnb": "run", "version": 1, "records": 1, "whole": True, "sha256": sha256(b"null\n").hexdigest()}
    Path("null.jsonl").write_text(f"{json.dumps(null)}\nnull\n")
    cells.names["m"] = adding()
    cells.cell("--model m --tools add", "Add.")
    shown = " ".join(cells.line_error(line))
    assert what in shown
    assert todo in shown


def test_runs_show_and_replay_read_what_is_kept(cells: Cells) -> None:
    """They call nothing: the model has no line left, and the tool is gone."""
    assert "No runs" in cells.line("runs")
    cells.names["m"] = adding("It is 3.")
    cells.cell("--model m --tools add", "What is 1 + 2?")
    del cells.names["add"]
    assert "completed" in cells.line("runs")
    assert "It is 3." in cells.line("show r1")
    told = cells.line("replay r1")
    assert "tool claimed" in told
    assert "It is 3." in told


def test_a_run_can_be_named_by_its_beginning(cells: Cells) -> None:
    """r1 is r1-… and never r10-…; what fits more than one run is refused with those that it fits."""
    cells.names["m"] = scripted(*[answer(f"answer {n}.") for n in range(1, 11)])
    for n in range(10):
        cells.cell("--model m", f"task {n}")
    assert "answer 1." in cells.line("show r1")
    assert "answer 10." in cells.line("show r10")
    what, todo = cells.line_error("show r")
    assert "10 runs begin with 'r'" in what
    assert todo.endswith(", and 5 older ones")


def test_a_person_decides_later(cells: Cells) -> None:
    """A run that waits for a decision goes on with `%agent approve`, and one that was refused with the reason."""
    model = scripted(plan(step("note", text="a")), answer("noted"))
    Agent(model, tools=[note]).run("Note it.")
    cells.names["m"] = model
    cells.line("approve r1 result")
    assert cells.names["result"].output == "noted"
    assert NOTES == ["a"]

    refused = scripted(plan(step("note", text="b")), plan(), answer("not noted"))
    Agent(refused, tools=[note]).run("Note it.")
    cells.names["m"] = refused
    cells.line("reject r2 it is wrong")
    assert "it is wrong" in cells.line("show r2")
    assert NOTES == ["a"]


@pytest.mark.parametrize("line", ["--store .agentnb r1", "r1", "r1 --store=.agentnb"])
def test_a_reason_is_taken_as_it_stands(cells: Cells, line: str) -> None:
    """Apostrophes, dashes and quotation marks of WHY mean nothing; flags come before it."""
    refused = scripted(plan(step("note", text="b")), plan(), answer("not noted"))
    Agent(refused, tools=[note]).run("Note it.")
    cells.names["m"] = refused
    cells.line(f"reject {line} don't do \"that --ever")
    assert "don't do \"that --ever" in cells.line("show r1")


def test_a_run_is_cancelled(cells: Cells) -> None:
    """It ends where it is, with the reason; neither its tools nor its model are needed, and its variable shows it."""
    cells.names["m"] = scripted(plan(step("add", a=1, b=2)), ModelError("down", FailureClass.PERMISSION, unbilled=True))
    cells.error("r --model m --tools add")
    del cells.names["m"], cells.names["add"]
    assert "it's enough" in cells.line("cancel r1 it's enough")
    assert cells.names["r"].status is Status.CANCELLED
    assert "is cancelled already" in cells.line_error("cancel r1")[0]
    assert "cancelled" in cells.line("runs")


def test_a_run_is_not_bound_over_a_tool(cells: Cells) -> None:
    """Neither the name on the line nor that of the first cell replaces what later cells work with."""
    cells.names["m"] = scripted(plan(step("add", a=1, b=2)), ModelError("down", FailureClass.PERMISSION, unbilled=True))
    cells.error("r --model m --tools add")
    assert "the tool 'add'" in cells.line_error("resume r1 add")[0]
    cells.names["r"] = add
    assert "the tool 'r'" in cells.line_error("resume r1")[0]


def test_a_run_that_was_left_behind_is_told_from_one_under_way(cells: Cells) -> None:
    """By the lock, which is gone with whoever drove it; and the line says how to go on."""
    session = Agent(adding(), tools=[add]).begin("Add.")
    run = session.log.run
    assert re.search(rf"{run}  in progress  \d+ s  0 of 0", cells.line("runs"))
    assert "resume" not in cells.line("pending")
    del session
    gc.collect()
    assert f"interrupted: %agent resume {run}  " in cells.line("runs")
    assert f"interrupted: %agent resume {run} --store .agentnb  " in cells.line("runs --store .agentnb")
    assert f"wait for no answer: {run}; %agent resume RUN" in cells.line("pending")
    cells.names["m"] = adding("It is 3.")
    cells.line(f"resume {run}")
    assert "resume" not in cells.line("runs") + cells.line("pending")


def test_what_rests_is_listed_with_the_line_that_goes_on(cells: Cells) -> None:
    """Stopped, asking, and decided: each has its own."""

    @tool(effect="read")
    def slow() -> int:
        """Read it, until somebody stops it."""
        raise KeyboardInterrupt

    cells.names |= {"slow": slow, "m": scripted(plan(step("slow")))}
    cells.error("--model m --tools slow", "Look.")
    Agent(scripted(plan(step("note", text="b"))), tools=[note]).run("Note it.")
    shown = cells.line("runs")
    assert "suspended: stopped by you: %agent resume r1-" in shown
    assert "awaiting approval: waits for your decision: %agent pending r2-" in shown
    note_here = cells.names.pop("note")
    cells.line("approve r2")
    assert "suspended: decided: %agent resume r2-" in cells.line("runs")
    cells.names["note"] = note_here
    assert "wait for no answer: r2-" in cells.line("pending")


@pytest.mark.parametrize("line", ["--help", "-h"])
def test_help_can_be_asked_for_as_elsewhere(cells: Cells, line: str) -> None:
    """`%agent --help` is `%agent`."""
    assert cells.line(line) == cells.line("")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(cells: Cells, command: str) -> None:
    """`%agent COMMAND --help` shows its arguments, and does nothing."""
    shown = cells.line(f"{command} --help")
    assert f"%agent {command}" in shown
    assert COMMANDS[command].help in shown


def test_resuming_without_its_tools_names_them(cells: Cells) -> None:
    """What the run began with and this notebook does not have is named."""
    model = scripted(plan(step("note", text="a")))
    Agent(model, tools=[note, add]).run("Note it.")
    cells.names["m"] = model
    del cells.names["note"]
    assert "note, not defined in this notebook" in " ".join(cells.line_error("resume r1"))


def test_tools_are_listed_with_effect_and_schema(cells: Cells) -> None:
    """Name, effect, arguments with their types, and the whole schema of one."""
    shown = cells.line("tools")
    assert "a: integer, b: integer" in shown
    assert "write, full" in shown
    assert json.loads(cells.line("tools add"))["properties"]["a"]["description"] == "the first."


def test_the_doctor_never_shows_a_value(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which keys are set is said, their values never; looking makes no store."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    shown = cells.line("doctor")
    assert "sk-secret" not in json.dumps(cells.bundles)
    assert "ANTHROPIC_API_KEY" in shown
    assert "can be written" in shown
    assert not Path(".agentnb").exists()


@pytest.mark.parametrize(
    ("audience", "asked", "said"), [("none", None, "no"), ("widgets", None, "not known"), ("widgets", object(), "yes")]
)
def test_the_doctor_says_whether_a_widget_can_be_clicked(
    monkeypatch: pytest.MonkeyPatch, audience: Audience, asked: object, said: str
) -> None:
    """A front end that has asked the kernel for its widgets draws them."""
    monkeypatch.setattr(Widget, "_control_comm", asked)
    rows = dict(diagnosis(Host("a notebook", audience), Settings(), {}))
    assert rows["can a widget be clicked"].partition(";")[0] == said


def test_models_say_whether_they_can_be_used(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every provider is listed, with the reason where it cannot be called."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown = cells.line("models")
    assert "local:smollm2" in shown
    assert "OPENAI_API_KEY is not set" in shown


def test_a_cassette_is_verified(cells: Cells) -> None:
    """How many calls of which model it holds; a changed reply's request is found out."""
    cells.names["m"] = adding()
    cells.set("mode = 'record'")
    cells.cell("--model m --tools add --cassette c.jsonl", "Add.")
    shown = cells.line("cassette c.jsonl")
    assert "scripted" in shown
    assert str(len(Cassette("c.jsonl"))) in shown


def test_every_command_has_its_function() -> None:
    """What the help lists can be typed, and nothing else can."""
    assert set(_COMMANDS) == set(COMMANDS)


def test_a_line_takes_values_of_the_notebook(cells: Cells) -> None:
    """A run is named by the variable that it is bound to."""
    cells.names["m"] = adding("It is 3.")
    cells.cell("result --model m --tools add", "What is 1 + 2?")
    assert "It is 3." in cells.line("show {result.id}")


def test_weights_are_not_fetched_where_the_network_is_forbidden(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is given in two lines, and nothing is written."""
    monkeypatch.setenv("AGENTNB_MODELS", str(Path.cwd() / "weights"))
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    assert "AGENTNB_NO_NETWORK" in " ".join(cells.line_error("models fetch smollm2"))


def test_fetching_is_shown_where_it_is_watched(cells: Cells, capsys: pytest.CaptureFixture[str]) -> None:
    """One display in a notebook, a line in a terminal, nothing in a headless run."""
    expected: dict[Audience, int] = {"widgets": 1, "none": 0}
    for audience, shows in expected.items():
        with capture_output() as shown, Fetching(Host("", audience), "smollm2") as progress:
            progress(1_000_000, 98_000_000, "fetching")
        assert len(shown.outputs) == shows
    with Fetching(Host("", "tty"), "smollm2") as progress:
        progress(1_000_000, 98_000_000, "fetching")
    assert "1 of 98 MB" in capsys.readouterr().out
    assert cells.bundles == []


def test_a_replay_that_lacks_a_reply_says_so_once_and_shortly(cells: Cells) -> None:
    """The card in a few words and with no line that would meet it again; the error says what differs, on one line."""
    cells.set("cassette = 'c.jsonl'")
    cells.set("mode = 'record'")
    cells.names["m"] = scripted(plan(step("add", a=1, b=2)), verdict(finding="it is 3"), answer("3"))
    cells.cell("--model m --tools add", "Add one and two.")
    cells.set("mode = 'replay'")
    what, todo = cells.error("--model m --tools add", "Add two: and\nthree.")
    assert todo.startswith("record it with a model at hand")
    error = f"{what} {todo}"
    assert "Suspended: an error stopped it" in cells.text
    assert "the cassette c.jsonl has no reply to this plan request" in cells.text
    assert not any(part in cells.text for part in ("CassetteMiss", "was recorded", "resume", "RUN"))
    assert "was recorded" in error
    assert "\\n" not in error
