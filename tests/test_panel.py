"""Which front end it is, who can answer there, and what is shown meanwhile."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentnb import Agent, ScriptedModel
from agentnb.budget import Budget
from agentnb.errors import FailureClass
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    ApprovalAnswered,
    ApprovalAsked,
    AskedCall,
    CallInDoubt,
    CallSimulated,
    DoubtResolved,
    EarlierResult,
    Event,
    Kept,
    RunResumed,
    RunStarted,
    ToolRefused,
    ToolRetried,
)
from agentnb.notebook.host import Host, host_of
from agentnb.notebook.panel import InPlace, Panel, StatusLine, panel_for
from agentnb.retelling import retold
from agentnb.status_line import status_line
from agentnb.summary import Summary
from tests.cells import Cells, adding, notebook_in
from tests.parts import add


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


def request(**content: Any) -> Any:
    """A shell in a kernel that was sent an execute request."""
    parent = {"content": {"allow_stdin": content.get("allow_stdin", False)}, "metadata": content.get("metadata", {})}
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: parent), user_ns=content.get("names", {}))


@pytest.mark.parametrize(
    ("shell", "audience", "front_end"),
    [
        (None, "none", "plain Python"),
        (request(), "none", "headless"),
        (request(allow_stdin=True), "stdin", "console"),
        (request(allow_stdin=True, metadata={"cellId": "x"}), "widgets", "JupyterLab"),
        (
            request(allow_stdin=True, metadata={"cellId": "x"}, names={"__vsc_ipynb_file__": "/a/b.ipynb"}),
            "widgets",
            "VS Code",
        ),
        (SimpleNamespace(user_ns={}), "none", "IPython"),
    ],
)
def test_who_is_there(shell: Any, audience: str, front_end: str) -> None:
    """The front end is told by the request that the kernel is answering."""
    found = host_of(shell)
    assert found.audience == audience
    assert front_end in found.front_end


def test_the_notebook_where_it_can_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """VS Code tells by a variable, a Jupyter server by the session's name."""
    assert str(host_of(request(names={"__vsc_ipynb_file__": "/a/b.ipynb"})).notebook) == "/a/b.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "/c/d.ipynb")
    assert str(host_of(request()).notebook) == "/c/d.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "console-1")
    assert host_of(request()).notebook is None


def test_each_front_end_has_its_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a watched notebook is updated in place; only a terminal has a status line."""
    assert type(panel_for(Host("lab", "widgets"), [], bare=False)) is InPlace
    assert type(panel_for(Host("nbclient", "none"), [], bare=False)) is Panel
    assert type(panel_for(Host("console", "stdin"), [], bare=False)) is Panel
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert type(panel_for(Host("terminal", "tty"), [], bare=False)) is StatusLine


def test_updates_are_few(cells: Cells) -> None:
    """A panel that is told of a thousand records draws at most ten times a second."""
    cells.names["m"] = adding()
    cells.cell("r --model m --tools add", "Add.")
    first, *_ = cells.names["r"].events
    drawn: list[Summary] = []

    class Counting(Panel):
        def _draw(self, summary: Summary) -> None:
            drawn.append(summary)

    panel = Counting([first])
    for _ in range(1000):
        panel._stale = True
        panel.refresh(urgent=True)
    assert 1 <= len(drawn) <= 10


def test_time_is_seen_to_pass_while_a_model_thinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no new record the display is drawn again each second, and says for how long; a replay never does.

    The gauges of time go on with it.
    """
    now = [100.0]
    monkeypatch.setattr("agentnb.notebook.panel.time.monotonic", lambda: now[0])
    session = Agent(ScriptedModel([]), tools=[add], store=tmp_path).begin("x")

    class Drawn(InPlace):
        def _draw(self, summary: Summary) -> None:
            seen.append((summary.now, round(summary.spent.working_seconds)))
            used = {gauge.limit: round(gauge.used) for gauge in summary.gauges}
            assert used.get("working_seconds", 0) == seen[-1][1]

    for bare, expected in ((False, [("planning", 0), ("planning, for 24 s", 24)]), (True, [("planning", 0)] * 2)):
        seen: list[tuple[str, int]] = []
        panel = Drawn(session.begun, bare=bare)
        panel.refresh()
        panel.refresh()
        now[0] += 24
        panel.refresh()
        assert seen == expected


def test_before_what_may_take_long_the_time_of_day_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool on the cell's thread lets nothing be drawn until it returns; a replay shows no time."""
    monkeypatch.setattr("agentnb.notebook.panel.time.strftime", lambda _: "14:31:11")
    session = Agent(ScriptedModel([]), tools=[add], store=tmp_path).begin("x")
    for bare, expected in ((False, "planning, since 14:31:11"), (True, "planning")):
        seen: list[str] = []

        class Drawn(InPlace):
            def _draw(self, summary: Summary) -> None:
                seen.append(summary.now)  # noqa: B023 - of this round

        Drawn(session.begun, bare=bare).refresh(urgent=True)
        assert seen == [expected]


def test_a_dry_run_is_one_on_its_line(cells: Cells) -> None:
    """The status line of a terminal says so."""
    cells.names["m"] = adding()
    cells.cell("r --model m --tools add --dry-run", "Add.")
    assert " · dry run: " in status_line(cells.names["r"].summary, 120)


class Terminal(io.StringIO):
    """A terminal that remembers what was written, and is of some encoding."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What it can show."""
        return self._encoding

    @property
    def seen(self) -> str:
        """What its last line shows now."""
        screen: list[str] = []
        for part in self.getvalue().split("\r"):
            screen[: len(part)] = part
        return "".join(screen).rstrip()


@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_has_one_line_that_is_taken_away(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: dict[str, str],
    coloured: bool,  # noqa: FBT001 - a case
) -> None:
    """It is drawn over itself, in colour where that is wanted, and leaves nothing on the screen."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    session = Agent(ScriptedModel([]), tools=[add], store=tmp_path).begin("x")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    panel = StatusLine(session.begun)
    panel.refresh()
    assert ("\x1b[" in terminal.getvalue()) is coloured
    assert re.sub(r"\x1b\[\d+m", "", terminal.seen).startswith("● 0:00 · ")
    panel.step_aside()
    assert terminal.seen == ""


def test_an_old_terminal_shows_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign that its encoding does not know is no error."""
    session = Agent(ScriptedModel([]), tools=[add], store=tmp_path).begin("x")
    terminal = Terminal("ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    StatusLine(session.begun).refresh()
    assert "planning" in terminal.getvalue()
    assert terminal.getvalue().isascii()


def test_the_run_inside_is_seen(tmp_path: Path) -> None:
    """What it does is news, and it is what takes so long."""
    session = Agent(ScriptedModel([]), tools=[add], store=tmp_path).begin("x")
    said = ["research: planning"]
    seen: list[tuple[str, str]] = []

    class Drawn(InPlace):
        def _draw(self, summary: Summary) -> None:
            seen.append((summary.inside, summary.now))

    panel = Drawn(session.begun, inside=lambda: said[0])
    panel.refresh(urgent=True)
    panel.refresh(urgent=True)
    said[0] = "research: step 1 of 2: calling query"
    panel.refresh(urgent=True)
    panel._since -= 7
    panel._stale = True
    panel.refresh()
    assert [inside for inside, _ in seen[:2]] == ["research: planning", "research: step 1 of 2: calling query"]


ARGS = Kept(0, '{"to":"ada"}')


@pytest.mark.parametrize(
    ("event", "kind", "content"),
    [
        (
            RunStarted(run="r2", task="t", model="m", cheap_model="m", tools={}, budget=Budget(), executes="r1-owl"),
            "run started",
            "executes r1-owl: t",
        ),
        (RunResumed(process=7, model="local:x"), "run resumed", "by process 7; with another local:x"),
        (RunResumed(process=0), "run resumed", "only to be ended"),
        (
            RunStarted(run="r1", task="t", model="m", cheap_model="m", tools={}, budget=Budget(), dry=True),
            "run started",
            "dry run: t",
        ),
        (
            ToolRetried(step="s1", failure=FailureClass.TRANSIENT, message="503", seconds=1, wait_s=0.512),
            "tool retried",
            "s1 transient, again in 0.51 s: 503",
        ),
        (ToolRefused(step="s1", problems=("no", "never"), by="guard"), "tool refused", "s1 by guard: no; never"),
        (CallInDoubt(step="s1", message="timed out", seconds=5), "call in doubt", "s1 timed out"),
        (
            DoubtResolved(step="s1", happened=False, by="ada", reason="I looked"),
            "doubt resolved",
            "s1 it did not happen, by ada I looked",
        ),
        (
            EarlierResult(step="s2", key="pay for to='ada'", run="r1-owl", at_step="s1", result=Kept(4, "null")),
            "earlier result",
            "s2 pay for to='ada': done by r1-owl s1 null",
        ),
        (
            CallSimulated(step="s1", tool="pay", args=ARGS, result=Kept(900, blob="h"), gate=("a", "b")),
            "call simulated",
            's1 pay {"to":"ada"} gives (900 characters), asks you: a; b',
        ),
        (ActionProposed(step="s1", tool="drop", args=ARGS), "action proposed", 's1 drop {"to":"ada"}'),
        (ActionClaimed(step="s1", key="k", by="ada"), "action claimed", "s1 by ada"),
        (
            ActionSettled(step="s1", status="failed", by="ada", message="held"),
            "action settled",
            "s1 failed by ada held",
        ),
        (
            ApprovalAsked(step="s1", tool="pay", args=ARGS, binding="b", others=(AskedCall("s3", "pay", ARGS, "c"),)),
            "approval asked",
            's1 pay {"to":"ada"}, with s3',
        ),
        (
            ApprovalAnswered(step="s1", decision="edit", by="ada", args=ARGS, others={"c": False}, reason="why"),
            "approval answered",
            's1 edit by ada; with {"to":"ada"}; others: no; why',
        ),
        (
            ApprovalAnswered(step="s1", decision="approve", by="policy", silent=True, allow=True, earlier=True),
            "approval answered",
            "s1 approve by policy; for the rest of the run; asked about earlier; nobody answered in time",
        ),
    ],
)
def test_events_are_retold(event: Event, kind: str, content: str) -> None:
    """What each kind says, on one line."""
    assert retold(event) == (kind, content)
