"""Tiers, alerts and costs as they are typed in cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb import Alert, ScriptedModel
from agentnb.alerts import Raised
from agentnb.errors import FailureClass, ModelError
from agentnb.state import Status
from tests.cells import Cells, adding, notebook_in, scripted
from tests.parts import answer, plan, step, verdict


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as found:
        yield found


DOWN = ModelError("down", FailureClass.FATAL, unbilled=True)


def priced(*lines: Any, ref: str = "scripted") -> ScriptedModel:
    return ScriptedModel(lines, ref=ref, price=lambda usage: usage.output_tokens / 1000)


def test_a_phase_has_another_model_by_flag_and_by_setting(cells: Cells) -> None:
    """The flag beats the setting, phase by phase."""
    cells.names.update(
        m=scripted(plan(step("add", a=1, b=2)), answer("3")), judge=ScriptedModel([verdict()], ref="judge"),
        other=ScriptedModel([], ref="other"),
    )  # fmt: skip
    cells.set("phases = 'critique=other,bind=other'")
    cells.cell("r --model m --tools add --phase critique=judge --escalate", "add")
    head = cells.names["r"].state.head
    assert (head.phases, head.escalate) == ({"critique": "judge", "bind": "other"}, True)
    assert cells.names["r"].status is Status.COMPLETED


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--phase critic=local:", "did you mean critique?"),
        ("--phase critique", "write PHASE=MODEL"),
        ("--alert dollars=1", "is no alert write NAME=NUMBER"),
        ("--alert usd=much", "'much' is not a number"),
        ("--alert usd", "write e.g. usd=0.10"),
        ("--alert warnings", "there is no such variable"),
        ("--alert number", "holds a int give an Alert"),
    ],
)
def test_what_cannot_be_read_is_said(cells: Cells, line: str, why: str) -> None:
    """Before anything is asked."""
    cells.names.update(m=scripted(), number=5)
    assert why in " ".join(cells.error(f"--model m {line}"))


def test_an_alert_is_a_line_in_the_output(cells: Cells) -> None:
    """In text and HTML; what is in a variable is called back."""
    told: list[Raised] = []
    lines = plan(step("add", a=1, b=2)), verdict(), answer("3")
    cells.names.update(m=priced(*lines), warn=[Alert(tokens=10, callback=told.append)])
    cells.cell("r --model m --tools add --alert usd=0.0001 --alert warn --tag task_type=triage", "add")
    assert "above the $0.0001 of the alert" in cells.text
    assert "above the $0.0001 of the alert" in cells.bundles[-1]["text/html"]
    assert [raised.threshold.measure for raised in told] == ["tokens"]
    assert cells.names["r"].state.head.tags == {"task_type": "triage"}
    assert "alert raised" in cells.line("replay r")


def test_a_resumed_run_keeps_its_phases_and_alerts(cells: Cells) -> None:
    """By the names of the notebook it is typed in; its callback is that of the same alert there."""
    told: list[Raised] = []
    cells.names.update(
        m=scripted(plan(step("add", a=1, b=2)), DOWN, verdict()), writer=ScriptedModel([answer("noted")], ref="writer"),
        alike=Alert(tokens=10**6), warn=Alert(tokens=10**6, callback=told.append),
    )  # fmt: skip
    cells.error("r --model m --tools add --phase answer=writer --alert warn --alert usd=5")
    cells.line("resume r")
    run = cells.names["r"]
    assert (run.output, run.status) == ("noted", Status.COMPLETED)
    assert [alert.callback is not None for alert in run.keeper.terms.alerts] == [True, False]
    assert run.state.head.phases == {"answer": "writer"}


def test_costs_in_a_table(cells: Cells) -> None:
    """By kind of task unless something else is asked for, escaped, without ids and clocks."""
    lines = plan(step("add", a=1, b=2)), verdict(), answer("3")
    for kind in ("triage", "triage", "<b>"):
        cells.names["m"] = priced(*lines)
        cells.cell(f"r --model m --tools add --tag task_type={kind}", "add")
    text = cells.line("cost")
    assert text.splitlines()[0] == "Cost of 3 runs by task_type"
    assert text.splitlines()[2].split()[:2] == ["triage", "2"]
    assert "&lt;b&gt;" in cells.bundles[-1]["text/html"]
    assert "<b>&lt;" not in cells.bundles[-1]["text/html"]
    assert cells.names["r"].id not in text
    assert cells.line("cost") == text
    assert "critique" in cells.line("cost --by phase --since 1h")
    assert "scripted" in cells.line("cost --by model")
    assert cells.line("cost --since 2999-01-01") == "No runs to count"
    assert "no run has a tag 'typo'" in " ".join(cells.line_error("cost --by typo"))
    assert "is no time" in " ".join(cells.line_error("cost --since someday"))


def test_costs_of_no_store(cells: Cells) -> None:
    """An error that says how one comes about."""
    assert "there is no store at" in " ".join(cells.line_error("cost"))


def test_tab_offers_phases_with_models(cells: Cells) -> None:
    """From the last delimiter on, as IPython wants it."""
    cells.names["judge"] = adding()
    assert "judge" in cells.offered("%%agent --phase critique=ju")
    assert "--alert" in cells.offered("%%agent --al")
    assert "cost" in cells.offered("%agent co")
