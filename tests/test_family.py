"""Runs inside of runs as people see and keep them: in records, lists, cells and files, and where old runs go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.budget import Budget
from agentnb.bundle import export_run, import_run
from agentnb.errors import ConfigError
from agentnb.family import told
from agentnb.models.scripted import ScriptedModel
from agentnb.policy import Policy
from agentnb.render import as_html, as_text
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.store.housekeeping import collect, survey
from agentnb.tools import tool
from tests.cells import Cells, notebook_in, scripted
from tests.parts import NOTES, add, answer, note, plan, step, verdict


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    NOTES.clear()


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as cells:
        yield cells


def price(usage: Any) -> float:
    return float(usage.input_tokens + usage.output_tokens) * 2.0**-20


def three_deep(store: Any, *, ask: bool = False) -> Run:
    """A run with an agent in it, which has another in it, which adds, or keeps a note."""
    last = step("note", text="<b>x</b>") if ask else step("add", a=1, b=2)
    low = [plan(last), *([] if ask else [verdict(finding="<i>3</i>")]), answer("low")]
    inner = Agent(ScriptedModel(low, price=price), tools=[add, note]).as_tool("inner", "Look it up.", budget=0.9)
    middle_lines = [plan(step("inner", task="look")), verdict(), answer("middle")]
    middle = Agent(ScriptedModel(middle_lines, price=price), tools=[inner])
    outer = [plan(step("middle", task="find out"), step("add", a=1, b=1)), verdict(), verdict(), answer("top")]
    outer += [verdict(), answer("a fork's")]
    tools = [middle.as_tool("middle", "Find out.", budget=0.9), add]
    return Agent(ScriptedModel(outer, price=price), tools=tools, store=store, budget=Budget(tokens=200_000)).run("ask")


def test_the_record_shows_whose_steps_are_whose(store: DiskStore) -> None:
    """In text and in HTML, escaped and folded; each agent's cost is a line of its own."""
    run = three_deep(store)
    [middle] = run.children
    [inner] = middle.children
    text = as_text(run.summary)
    lines = [line for line in text.splitlines() if "↳" in line or " add" in line]
    assert lines[0].startswith(f"    ↳ middle: completed · 1 step · ${middle.spent.usd:.3f}")
    assert lines[1].startswith("        ↳ inner: completed · 1 step")
    assert lines[2].startswith("          ✓ add")
    assert lines[3].startswith("  ✓ add")
    assert f"{middle.spent.model_calls}" in next(row for row in text.splitlines() if row.startswith("  middle"))
    html = as_html(run.summary)
    assert html.count("<details><summary>middle: completed") == 1
    assert "<details><summary>inner: completed" in html
    assert "&lt;i&gt;3&lt;/i&gt;" in html
    assert "<i>3</i>" not in html
    assert f"inner in {middle.id} at s1" in as_text(inner.summary)


def test_a_replayed_record_has_no_ids_of_children_either(store: DiskStore) -> None:
    """Nor times."""
    run = three_deep(store)
    for shown in (as_text(told(store, run.id, bare=True)), as_html(told(store, run.id, bare=True))):
        for name in store.runs():
            assert name not in shown
    assert "inner in OTHER at s1" in as_text(told(store, run.children[0].children[0].id, bare=True))


def test_a_run_goes_into_a_file_with_those_inside_it(store: DiskStore, tmp_path: Path) -> None:
    """And comes out with other ids, and the same account; nothing refers to a run that was there already."""
    run = three_deep(store)
    file = tmp_path / "run.jsonl"
    assert export_run(store, run.id, file) == len(run.events)
    other = DiskStore(tmp_path / "other")
    three_deep(other)
    there = set(other.runs())
    new = import_run(other, file, Policy(), Budget(tokens=10**6))
    taken = Run(Agent(ScriptedModel([]), tools=[add], store=other), new)
    [middle] = taken.children
    [inner] = middle.children
    assert {new, middle.id, inner.id} == set(other.runs()) - there
    assert (middle.state.head.parent, inner.state.head.parent) == (new, middle.id)
    assert taken.spent.tokens == run.spent.tokens
    assert as_text(taken.summary).count("↳") == 2
    alone = tmp_path / "inner.jsonl"
    export_run(store, run.children[0].id, alone)
    one = Run(taken.keeper, import_run(other, alone, Policy(), Budget(tokens=10**6)))
    assert (one.state.head.parent, one.state.head.agent) == ("", "")


def test_what_has_not_ended_in_a_file_is_cancelled(store: DiskStore, tmp_path: Path) -> None:
    """Nobody goes on with half of it."""
    run = three_deep(store, ask=True)
    assert run.status is Status.AWAITING_APPROVAL
    export_run(store, run.id, tmp_path / "run.jsonl")
    other = DiskStore(tmp_path / "other")
    taken = import_run(other, tmp_path / "run.jsonl", Policy(), Budget(tokens=10**6))
    keeper = Agent(ScriptedModel([]), store=other)
    assert [Run(keeper, name).status for name in other.runs()] == [Status.CANCELLED] * 3
    assert Run(keeper, taken).children


@pytest.mark.parametrize("rule", [{"older_than_days": 0}, {"max_mb": 0}])
def test_runs_inside_of_one_another_go_together_or_stay(store: DiskStore, rule: dict[str, Any]) -> None:
    """Also where only one of them still waits."""

    def goes() -> set[str]:
        return {each.run for each in survey(store, now=lambda: 9e9, **rule).goes}

    done = three_deep(store)
    first = set(store.runs())
    assert goes() == first
    waits = three_deep(store, ask=True)
    assert goes() == first
    waits.children[0].children[0].cancel("enough")
    assert goes() == first
    waits.cancel("enough")
    assert goes() == set(store.runs())
    fork = done.fork(at="s2")
    assert fork.children[0].id == done.children[0].id
    collect(store, lambda: survey(store, now=lambda: 9e9, **rule))
    assert store.runs() == []


# --- in a notebook ----------------------------------------------------------------------------------------------------


def with_notes(cells: Cells, **options: Any) -> None:
    """The notebook gets an agent that keeps notes, and a model that calls it."""
    helper = Agent(scripted(plan(step("note", text="x")), answer("noted")), tools=[note], **options)
    cells.names["helper"] = helper.as_tool("helper", "Keep notes.")
    said = [plan(step("helper", task="note x"), step("add", a=1, b=2)), verdict(), verdict(), answer("all done")]
    cells.names["boss"] = scripted(*said)


def test_an_agent_is_a_tool_of_a_cell(cells: Cells) -> None:
    """Its steps are in the cell's record, and the lists say whose run is whose."""
    with_notes(cells, approve="auto")
    assert "an agent, write, full" in cells.line("tools")
    cells.cell("--model boss --tools helper,add result", "do it")
    assert "↳ helper: completed" in cells.text
    run, child = cells.names["result"].id, cells.names["result"].children[0].id
    listed = cells.line("runs")
    assert f"↳ {child}" in listed
    assert f"(helper in {run} s1) note x" in listed
    assert f"helper in {run} at s1" in cells.line(f"show {child}")
    told_again = cells.line(f"replay {run}")
    assert f"s1 helper as {child}, with 1" in told_again
    assert "child settled" in told_again
    assert "↳ helper" in cells.text


@pytest.mark.parametrize("whose", [0, 1])
def test_a_question_of_a_child_is_answered_by_either_id(cells: Cells, whose: int) -> None:
    """Where nobody could be asked, both wait, and both go on."""
    cells.names["nobody"] = lambda _: None
    with_notes(cells)
    what, todo = cells.error("--model boss --tools helper,add --approver nobody result")
    run = cells.names["result"]
    assert "waits for" in what
    assert f"%agent approve {run.id}" in todo
    waiting = cells.line("pending")
    assert waiting.count("note(") == 1
    cells.line(f"approve {(run.id, run.children[0].id)[whose]}")
    assert NOTES == ["x"]
    assert "all done" in cells.text
    assert "↳ helper: completed" in cells.text


def test_a_child_s_call_is_edited_with_its_own_tool_s_types(cells: Cells) -> None:
    """A text stays a text."""
    cells.names["nobody"] = lambda _: None
    with_notes(cells)
    cells.error("--model boss --tools helper,add --approver nobody result")
    cells.line(f"edit {cells.names['result'].id} text=5")
    assert NOTES == ["5"]


def test_its_slice_cannot_be_extended_from_the_notebook(cells: Cells) -> None:
    """The parent's budget can."""
    cells.names["nobody"] = lambda _: None
    with_notes(cells)
    cells.error("--model boss --tools helper,add --approver nobody result")
    run = cells.names["result"]
    with pytest.raises(ConfigError, match="a slice of the budget"):
        run.children[0].extend(tokens=5)


def test_the_question_says_who_asks(cells: Cells) -> None:
    """On the card and in text, escaped."""
    from agentnb.approval import Answer
    from agentnb.notebook.card import card_html
    from agentnb.notebook.typed import question

    seen: list[Any] = []

    def ada(request: Any) -> Answer:
        seen.append(request)
        return Answer("approve", "ada")

    cells.names["ada"] = ada
    with_notes(cells)
    cells.cell("--model boss --tools helper,add --approver ada result", "do it")
    run = cells.names["result"].id
    assert f"helper (in {run}, step s1) wants to call <strong>note</strong>" in card_html(seen[0])
    assert question(seen[0]).startswith(f"helper (in {run}, step s1) wants to call note. ")


def test_where_nobody_is_there_a_child_s_call_is_refused_and_nothing_hangs(cells: Cells) -> None:
    """The parent is told, as of any result."""
    helper = Agent(scripted(plan(step("note", text="x")), answer("not noted")), tools=[note])
    cells.names["helper"] = helper.as_tool("helper", "Keep notes.")
    cells.names["boss"] = scripted(plan(step("helper", task="note x")), verdict(), answer("nothing was noted"))
    cells.cell("--model boss --tools helper result", "do it")
    run = cells.names["result"]
    assert run.status is Status.COMPLETED
    assert run.result("s1")["status"] == "stopped"
    assert "nobody is here to be asked" in run.result("s1")["detail"]
    assert NOTES == []


def test_who_stops_a_cell_in_a_child_s_call_goes_on_there(cells: Cells) -> None:
    """Both rest, and the call that was cut short is made again in the same child."""
    tries: list[int] = []

    @tool(effect="read")
    def slow(n: int) -> int:
        """Take long.

        Args:
            n: how long.
        """
        tries.append(n)
        if len(tries) == 1:
            raise KeyboardInterrupt
        return n

    helper = Agent(scripted(plan(step("slow", n=7)), verdict(), answer("it took 7")), tools=[slow])
    cells.names["helper"] = helper.as_tool("helper", "Wait.")
    cells.names["boss"] = scripted(plan(step("helper", task="wait")), verdict(), answer("it is over"))
    what, _ = cells.error("--model boss --tools helper result")
    assert "was stopped by you" in what
    run = cells.names["result"]
    [child] = run.children
    assert (run.status, child.status) == (Status.SUSPENDED, Status.SUSPENDED)
    cells.line(f"resume {run.id}")
    assert tries == [7, 7]
    assert "it is over" in cells.text
    assert [each.id for each in cells.names["result"].children] == [child.id]
