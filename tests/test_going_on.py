"""The `%agent` commands that decide what a run asks, and carry out what waits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb import Answer, ScriptedModel, tool
from agentnb.approval import ApprovalRequest, Request
from agentnb.notebook.cell_error import CellError
from agentnb.policy import confidence
from agentnb.recovery import MOST_REPLIES
from agentnb.run import Run
from agentnb.state import Status
from tests.cells import Cells, notebook_in
from tests.parts import NOTES, answer, plan, step, verdict

GONE: list[str] = []


@tool(effect="destructive")
def wipe(table: str) -> int:
    """Empty a table.

    Args:
        table: which.
    """
    GONE.append(table)
    return 7


def later(_: object) -> None:
    """Nobody has answered yet."""


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    GONE.clear()
    with notebook_in(tmp_path, monkeypatch) as opened:
        opened.names |= {"wipe": wipe, "later": later}
        yield opened


def waiting(cells: Cells, *lines: Any) -> Run:
    """A run that rests at its first question, bound to `r`."""
    cells.names["m"] = ScriptedModel([*lines])
    cells.error("r --model m --tools note,wipe --approver later", "Note it.")
    run: Run = cells.names["r"]
    return run


def test_pending_lists_what_waits_in_all_runs(cells: Cells) -> None:
    """Calls that are asked about and destructive actions, numbered as the other commands take them."""
    assert "Nothing waits" in str(cells.line_error("pending")) or "no store" in str(cells.line_error("pending"))
    waiting(cells, plan(step("wipe", table="old"), step("note", text="a"), step("note", text="b")), answer())
    shown = cells.line("pending")
    assert 'note(text="a")' in shown
    assert 'note(text="b")' in shown
    assert 'wipe(table="old")' in shown
    assert cells.line("pending r").count("note(") == 2
    cells.line("approve r 2 3")
    assert cells.names["r"].status is Status.COMPLETED
    assert "note(" not in cells.line("pending")
    cells.line("discard r")
    assert "Nothing waits" in cells.line("pending")


def test_some_of_several_calls_are_approved_by_their_numbers(cells: Cells) -> None:
    """Of the others a person is asked when they come."""
    run = waiting(cells, plan(*(step("note", text=text) for text in "abc")), answer())
    with pytest.raises(CellError, match="waits for your decision"):
        run.approve(1, 3)
    assert (NOTES, cells.names["r"].status) == (["a"], Status.AWAITING_APPROVAL)
    assert [item.args["text"] for item in run.pending] == ["b"]
    cells.line("approve r")
    assert NOTES == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("line", "what", "todo"),
    [
        ("approve r 5", "no 5 is asked about", "1"),
        ("approve r 1 what?", "'what?' is no number", "%agent pending"),
        ("edit r text=1 nonsense", "'nonsense' changes no argument", "name=value"),
        ("edit r text=a", "the edit changes nothing of note", "approve it as it is"),
        ("edit r txt=x", "there is no argument 'txt'", "text"),
        ("execute r", "no action of", "%agent pending"),
        ("execute r 4", "no action of", "%agent pending"),
        ("execute r --done --not-done", "exclude each other", "look"),
        ("discard r 2", "no action of", "%agent pending"),
    ],
)
def test_a_decision_that_cannot_be_is_two_lines(cells: Cells, line: str, what: str, todo: str) -> None:
    """What happened and what to do; nothing was decided."""
    waiting(cells, plan(step("note", text="a")), answer())
    shown = " ".join(cells.line_error(line))
    assert what in shown
    assert todo in shown
    assert (cells.names["r"].status, NOTES) == (Status.AWAITING_APPROVAL, [])


def test_an_edit_is_called_as_edited(cells: Cells) -> None:
    """JSON where it is some, else the text itself; what it was and what it became stays in the record."""
    waiting(cells, plan(step("note", text="wrong")), answer())
    shown = cells.line('edit r "text=right & proper"')
    assert NOTES == ["right & proper"]
    assert "wrong" in shown
    assert "right & proper" in shown


def test_a_destructive_action_is_carried_out_by_hand_once(cells: Cells) -> None:
    """The loop only proposes it; the run completes without it; the second time there is nothing to do."""
    cells.names["m"] = ScriptedModel([plan(step("wipe", table="old")), answer("Proposed.")])
    cells.cell("r --model m --tools wipe --approve auto", "Wipe it.")
    assert (cells.names["r"].status, GONE) == (Status.COMPLETED, [])
    assert "%agent pending" in cells.text
    cells.line("execute r 1")
    assert GONE == ["old"]
    assert "no action of" in cells.line_error("execute r 1")[0]


def test_a_validator_decides_in_place_of_a_person(cells: Cells) -> None:
    """True carries an action out, anything else leaves it."""
    cells.names["m"] = ScriptedModel([plan(step("wipe", table="old"), step("wipe", table="new")), answer()])
    cells.names["checked"] = lambda action: action.args["table"] == "old"
    cells.cell("r --model m --tools wipe", "Wipe both.")
    cells.line("execute r --validator checked")
    assert GONE == ["old"]
    assert [item.args["table"] for item in cells.names["r"].pending] == ["new"]


def test_a_dry_run_does_nothing_and_its_execution_exactly_that(cells: Cells) -> None:
    """Reads are real, writes are shown; `execute` asks once and does them."""
    asked: list[ApprovalRequest] = []

    def yes(request: ApprovalRequest) -> Answer:
        asked.append(request)
        return Answer("approve", by="ada", others={call.binding: True for call in request.others})

    cells.names |= {"yes": yes}
    cells.names["m"] = ScriptedModel([plan(step("note", text="a"), step("note", text="b")), answer("Would note.")])
    cells.cell("r --model m --tools note --dry-run", "Note both.")
    assert (NOTES, cells.names["r"].status) == ([], Status.COMPLETED)
    assert "Dry run" in cells.text
    assert "%agent execute" in cells.text
    run = cells.names["r"]
    run.keeper._in_place = yes
    done = run.execute()
    assert (NOTES, done.status, len(asked), len(asked[0].others)) == (["a", "b"], Status.COMPLETED, 1, 1)


def test_a_policy_of_the_notebook(cells: Cells) -> None:
    """--approve takes a Policy by its name, and names those that there are."""
    cells.names["mine"] = confidence("medium", note="high")
    cells.names["m"] = ScriptedModel([plan(step("note", text="a")), answer()])
    cells.cell("r --model m --tools note --approve mine", "Note it.")
    assert NOTES == ["a"]
    assert "mine" in " ".join(cells.error("r --model m --tools note --approve mines"))


def test_an_approver_that_is_no_function_is_refused(cells: Cells) -> None:
    """Before anything starts."""
    cells.names |= {"m": ScriptedModel([]), "five": 5}
    assert "five is a int: give a function" in ": ".join(cells.error("r --model m --approver five"))
    assert "no such variable" in ": ".join(cells.error("r --model m --notify nobody"))


def test_notify_hears_what_waits(cells: Cells) -> None:
    """Before anybody is asked, with the request."""
    heard: list[str] = []
    cells.names |= {"bell": lambda request: heard.append(request.tool)}
    cells.names["m"] = ScriptedModel([plan(step("note", text="a"))])
    cells.error("r --model m --tools note --approver later --notify bell", "Note it.")
    assert heard == ["note"]


ELSEWHERE = """
import sys
from agentnb import Agent
run = next(run for run in Agent(store=sys.argv[1]).runs())
{line}
print(run.id)
"""


def elsewhere(store: str, line: str) -> subprocess.CompletedProcess[str]:
    """`line`, in another process that has neither the tools nor the model."""
    code = ELSEWHERE.format(line=line)
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code, store]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=here)


def test_another_process_answers_a_run_that_is_being_driven(cells: Cells) -> None:
    """The cell goes on waiting here; the answer is left in the store, and this kernel takes it in."""
    from agentnb.mailbox import posted

    def polls(request: Request) -> Answer | None:
        run: Run = cells.names["agent"].runs()[0]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if found := posted(run.keeper.store, request.run, run.state.asked_at):
                return found
            time.sleep(0.05)
        return None

    from agentnb import Agent

    cells.names["agent"] = agent = Agent(
        ScriptedModel([plan(step("note", text="a")), answer()]),
        tools=[cells.names["note"]],
        store=".agentnb",
        approver=polls,
    )
    driving = threading.Thread(target=agent.run, args=("Note it.",))
    driving.start()
    deadline = time.monotonic() + 30
    while not (agent.runs() and agent.runs()[0].state.approval) and time.monotonic() < deadline:
        time.sleep(0.05)
    told = elsewhere(".agentnb", 'run.approve(by="ada, elsewhere")')
    driving.join(30)
    assert told.returncode == 0, told.stderr
    assert NOTES == ["a"]
    assert "ada, elsewhere" in repr(agent.runs()[0])


def test_another_process_answers_a_run_that_rests(cells: Cells) -> None:
    """Without its tools it cannot go on there: the decision is recorded, and this kernel goes on with it."""
    waiting(cells, plan(step("note", text="a")), answer())
    told = elsewhere(".agentnb", 'run.approve(by="ada")')
    assert "the decision is recorded" in told.stderr
    assert NOTES == []
    cells.line("resume r")
    assert NOTES == ["a"]


# --- forks and comparisons --------------------------------------------------------------------------------------------


@tool(effect="read")
def look(n: int) -> int:
    """Look something up.

    Args:
        n: what.
    """
    return n * 10


def looked(cells: Cells) -> Run:
    """A run of two steps, bound to `r`."""
    cells.names |= {"look": look, "m": ScriptedModel([*two_looks(), answer("one")])}
    cells.cell("r --model m --tools look", "Look.")
    run: Run = cells.names["r"]
    return run


def two_looks() -> list[Any]:
    return [plan(step("look", n=1), step("look", n=2)), verdict(), verdict()]


def test_a_fork_is_shown_bound_and_compared(cells: Cells) -> None:
    """With another argument, which is read by the tool's schema; the first step is not made again."""
    it = looked(cells)
    cells.names["m"] = ScriptedModel([verdict(), answer("two")])
    shown = cells.line("fork r --at s2 n=5 --name f")
    assert f"forked from {it.id} at s2" in shown
    fork = cells.names["f"]
    assert (fork.result("s1"), fork.result("s2"), fork.output) == (10, 50, "two")
    compared = cells.line("diff r f")
    assert "look(n=2) → 20" in compared
    assert "look(n=5) → 50" in compared
    assert "the first was carried out once, for both" in compared
    assert "side by side" in cells.line(f"diff {it.id} {fork.id}")


def test_a_fork_with_another_budget_plan_and_model(cells: Cells) -> None:
    """From the notebook's variables."""
    it = looked(cells)
    cells.names |= {"steps": [step("look", n=7)], "other": ScriptedModel([verdict(), answer()], ref="scripted:other")}
    cells.line("fork r --at s2 --plan steps --model other --steps 4 --tokens none --name f")
    fork = cells.names["f"]
    assert (fork.result("s2"), fork.state.head.model, fork.state.budget.steps) == (70, "scripted:other", 4)
    assert fork.state.budget.tokens is None
    assert it.state.budget.tokens == 50_000


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fork r --at s9", "it can at plan, s1, s2, answer"),
        ("fork r --at s2 nonsense", "changes no argument"),
        ("fork r --at s2 n=many", "s2 look"),
        ("fork r9 --at s2", "no run 'r9'"),
        ("diff r", "OTHER"),
    ],
)
def test_a_fork_that_cannot_be_is_two_lines(cells: Cells, line: str, said: str) -> None:
    """And makes no run."""
    looked(cells)
    assert said in str(cells.line_error(line))
    assert cells.line("runs").count("Look.") == 1


def test_a_resume_takes_what_has_changed_only_where_that_is_accepted(cells: Cells) -> None:
    """A tool that was defined anew, otherwise, and another model."""
    cells.names |= {"look": look}
    waiting(cells, plan(step("note", text="a")))

    @tool(effect="write", reversibility="irreversible", name="note")
    def other(text: str) -> None:
        """Keep a note.

        Args:
            text: the note.
        """
        NOTES.append(text)

    cells.names |= {"note": other, "m2": ScriptedModel([answer("noted")], ref="scripted:m2")}
    said = str(cells.line_error("resume r --model m2"))
    assert "reversibility was 'full' and is 'irreversible'" in said
    assert "began with model='scripted', and here it is 'scripted:m2'" in said
    assert "--accept-changes" in said
    cells.line("resume r --model m2 --accept-changes")  # asked about anew; nobody is here, so the policy says no
    run = cells.names["r"]
    assert run.state.head.model == "scripted:m2"
    assert run.state.head.tools["note"].reversibility == "irreversible"


def test_a_decision_that_cannot_be_gone_on_with_here_is_no_error(cells: Cells) -> None:
    """It is recorded; what is missing is said, and the run waits for no decision any more."""
    run = waiting(cells, plan(step("note", text="a")), answer())
    note = cells.names.pop("note")
    shown = cells.line("approve r")
    assert "approved by you, rests" in shown
    assert "uses note, not defined in this notebook" in shown
    assert f"%agent resume {run.id}" in shown
    shown = cells.line("show r")
    assert "Suspended: approved by you, rests" in shown
    assert "waits for" not in shown
    assert f"%agent resume {run.id}" in shown
    cells.names["note"] = note
    cells.line("resume r")
    assert NOTES == ["a"]


@pytest.mark.parametrize("flag", ["--done", "--not-done"])
def test_where_nothing_is_in_doubt_nothing_is_to_be_said_of_it(cells: Cells, flag: str) -> None:
    """One clear error, and nothing is decided."""
    waiting(cells, plan(step("note", text="a")), answer())
    what, todo = cells.line_error(f"resume r {flag}")
    assert "is in doubt" in what
    assert "leave out" in todo
    assert (cells.names["r"].status, NOTES) == (Status.AWAITING_APPROVAL, [])


TWO_NOTES = [{"tool": "note", "args": {"text": text}} for text in "ab"]


def other_note(**facts: Any) -> Any:
    """The tool `note` as a notebook may define it again."""

    @tool(effect="write", name="note", **facts)
    def noted(text: str, by: str = "") -> int:
        """Keep a note.

        Args:
            text: the note.
            by: whose.
        """
        NOTES.append(text + by)
        return len(NOTES)

    return noted


def test_a_run_that_a_limit_stopped_goes_on_with_a_tool_that_has_changed(cells: Cells) -> None:
    """`extend` takes --accept-changes, and `resume` says so: no message sends in a circle."""
    cells.names |= {"m": ScriptedModel([answer(), answer("both")]), "two": TWO_NOTES}
    cells.cell("r --model m --tools note --plan two --approve auto --steps 1", "Note it.")
    cells.names["note"] = other_note(reversibility="full")
    before = len(cells.names["r"].events)
    assert "--accept-changes" in str(cells.line_error("extend r --steps 5"))
    what, todo = cells.line_error("resume r --accept-changes")
    assert "has ended, it is stopped" in what
    assert f"%agent extend {cells.names['r'].id} --steps N --accept-changes" in todo
    assert len(cells.names["r"].events) == before
    cells.line("extend r --steps 5 --accept-changes")
    assert (cells.names["r"].status, NOTES, cells.names["r"].output) == (Status.COMPLETED, ["a", "b"], "both")


def test_what_cannot_be_accepted_raises_no_cap(cells: Cells) -> None:
    """A tool that a step calls and that is not here: nothing is recorded."""
    cells.names |= {"m": ScriptedModel([answer(), answer()]), "two": TWO_NOTES}
    cells.cell("r --model m --tools note --plan two --approve auto --steps 1", "Note it.")
    run, note = cells.names["r"], cells.names.pop("note")
    before = len(run.events)
    assert "cannot go on without the tool 'note'" in str(cells.line_error("extend r --steps 5 --accept-changes"))
    assert len(run.events) == before
    cells.names["note"] = note
    cells.line("extend r --steps 5")
    assert NOTES == ["a", "b"]


def test_a_tool_that_has_changed_is_not_approved_unseen(cells: Cells) -> None:
    """What was asked about is not what would be called: two lines say how, and the line that they give works."""
    run = waiting(cells, plan(step("note", text="a")), answer())
    cells.names["note"] = other_note(reversibility="irreversible", egress=True)
    what, todo = cells.line_error("approve r")
    assert "note is not the tool that" in what
    assert "egress was False and is True" in what
    command = f"resume {run.id} --accept-changes"
    assert f"%agent {command}" in todo
    cells.names["m"] = ScriptedModel([answer()])
    cells.line(command)  # asked anew; nobody is here, so the policy says no
    assert (cells.names["r"].state.head.tools["note"].egress, NOTES) == (True, [])


def test_a_decision_that_rests_on_another_change_says_how_to_go_on(cells: Cells) -> None:
    """In sentences that wrap, and with the line that works: the yes is kept."""
    run = waiting(cells, plan(step("note", text="a")), answer())
    cells.names["m"] = ScriptedModel([answer("noted")])
    cells.names["wipe"] = tool(effect="destructive", egress=not wipe.egress)(wipe.function)
    shown = cells.line("approve r")
    assert "the tool 'wipe' has changed: egress was" in shown
    assert shown.count("rests") == 1
    assert "<pre>" not in cells.bundles[-1]["text/html"]
    assert shown.endswith(f"Then: %agent resume {run.id} --accept-changes")
    cells.line(f"resume {run.id} --accept-changes")
    assert (NOTES, cells.names["r"].output) == (["a"], "noted")


def test_lines_to_type_name_the_store_that_was_typed(cells: Cells) -> None:
    """In cards, errors and tables: to follow one finds the run."""
    cells.names["m"] = ScriptedModel([plan(step("note", text="a")), plan(), answer("left")])
    _, todo = cells.error("r --model m --tools note --approver later --store 'the other'", "Note it.")
    run = cells.names["r"].id
    assert f"%agent approve {run} --store 'the other'" in todo
    assert f"%agent reject {run} --store 'the other' WHY" in cells.text
    assert f"%agent pending {run} --store 'the other'" in cells.line("runs --store 'the other'")
    assert f"%agent approve {run} --store 'the other'" in cells.line(f"show {run} --store 'the other'")
    cells.line(f"reject {run} --store 'the other' it's too much")
    assert "it's too much" in cells.text
    assert f"%agent show {run} --store 'the other'" in cells.line_error(f"resume {run} --store 'the other'")[1]


def test_a_call_that_was_cancelled_over_is_listed_and_settled_without_its_tool(cells: Cells) -> None:
    """Nothing is called any more: only what somebody has found out is recorded, and shown."""

    @tool(effect="write", reversibility="full")
    def slow() -> int:
        """Write it, until somebody stops it."""
        raise KeyboardInterrupt

    cells.names |= {"slow": slow, "m": ScriptedModel([plan(step("slow"))])}
    cells.error("r --model m --tools slow --approve auto", "Write it.")
    run = cells.names["r"].id
    del cells.names["slow"], cells.names["m"]
    assert "slow: begun; whether it acted is not known" in cells.line(f"cancel {run}")
    assert f"{run} 1" in cells.line("pending")
    shown = cells.line(f"resume {run} --not-done")
    assert "slow: it did not happen, as you say" in shown
    assert "not known" not in shown
    assert "Nothing waits" in cells.line("pending")
    assert "has ended, it is cancelled" in cells.line_error(f"resume {run} --done")[0]


def test_a_run_that_waits_for_a_hint_goes_on_with_a_tool_that_has_changed(cells: Cells) -> None:
    """`retry` takes the flag before the hint, which stands as it is typed."""
    cells.names["m"] = ScriptedModel([("plan", "no JSON")] * MOST_REPLIES)
    cells.error("r --model m --tools note --approve auto", "Note it.")
    cells.names |= {
        "note": other_note(reversibility="full"),
        "m": ScriptedModel([plan(step("note", text="a")), answer("noted")]),
    }
    assert "--accept-changes" in str(cells.line_error("retry r don't think"))
    cells.line("retry r --accept-changes don't think")
    assert (cells.names["r"].output, NOTES) == ("noted", ["a"])
    assert "a person says: don't think" in [item.text for item in cells.names["r"].state.noted]
