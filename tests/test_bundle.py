"""A run as one file: written whole, read with distrust, and gone on with as far as that is safe."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb.agent import Agent
from agentnb.approval import Answer, ApprovalRequest, Request
from agentnb.budget import Budget
from agentnb.bundle import export_run, import_run
from agentnb.errors import AgentError, ConfigError, DamagedRecord, RunNotFound
from agentnb.ledger import once_key, open_actions
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.policy import Policy
from agentnb.run import Run
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import tool
from tests.parts import add, answer, note, table, verdict

SURE: Any = {"non_empty": True}


@pytest.fixture
def other(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "other")


def long_result(store: DiskStore) -> Run:
    steps = [Step(tool="table", args={"rows": 90}, check=SURE), Step(tool="add", args={"a": "$s1[2].square", "b": 1})]
    agent = Agent(ScriptedModel([verdict(reason="\u2028"), answer()]), tools=[add, table], store=store)
    return agent.run("look \u2028 up", plan=steps)


def test_a_run_is_the_same_in_another_store(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """Its records, its values, its times; under an id of that store."""
    it = long_result(store)
    file = tmp_path / "deep" / "run.jsonl"
    assert export_run(store, it.id, file) == len(it.events)
    run = import_run(other, file, Policy(), Budget())
    again = Run(Agent(ScriptedModel([]), tools=[add, table], store=other), run)
    assert (again.output, again.result("s1"), again.result("s2")) == (it.output, it.result("s1"), 5)
    assert [r.event for r in again.events[1:-1]] == [r.event for r in it.events[1:]]
    assert [(r.at, r.t) for r in again.events[:-1]] == [(r.at, r.t) for r in it.events]
    assert again.state.head.born == it.id
    assert import_run(other, file, Policy(), Budget()) != run


def test_who_waits_for_a_long_file_is_told_how_much_is_read(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """Line by line, of as many as it has after its first one."""
    export_run(store, long_result(store).id, tmp_path / "run.jsonl")
    told: list[tuple[int, int]] = []
    import_run(other, tmp_path / "run.jsonl", Policy(), Budget(), progress=lambda *far: told.append(far))
    many = (tmp_path / "run.jsonl").read_bytes().count(b"\n") - 1
    assert told == [(n, many) for n in range(1, many + 1)]
    assert many > 1


def test_the_file_is_lines_of_json_that_a_person_can_read(store: DiskStore, tmp_path: Path) -> None:
    """And the same run gives the same file."""
    it = long_result(store)
    for name in ("a", "b"):
        export_run(store, it.id, tmp_path / name)
    lines = (tmp_path / "a").read_text(encoding="utf-8").split("\n")
    head = json.loads(lines[0])
    assert (head["agentnb"], head["run"], head["records"], head["whole"]) == ("run", it.id, len(it.events), True)
    assert all(json.loads(line) for line in lines if line)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a", "b"]


def resealed(file: Path, lines: list[dict[str, Any]], **head: Any) -> None:
    """What somebody may write who knows the form."""
    body = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    first = {"agentnb": "run", "version": 1, "run": "r1-heron", "records": 0, "whole": True, **head}
    many = sum(len(found) for line in lines if isinstance(found := line.get("records", ()), list))
    first = {**first, "records": head.get("records", many), "sha256": hashlib.sha256(body).hexdigest()}
    file.write_bytes(json.dumps(first).encode() + b"\n" + body)


def content(store: DiskStore, run: str, file: Path) -> list[dict[str, Any]]:
    export_run(store, run, file)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[1:] if line]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut", "is not what was written: it was cut, or altered"),
        ("empty", "is no run that agentnb exported"),
        ("text", "is no run that agentnb exported"),
        ("newer", "has version 3, and this agentnb reads up to 2"),
        ("folder", "cannot be read"),
        ("none", "cannot be read"),
        ("fewer", "says that there are 99"),
        ("no value", "lacks 1 of the values"),
        ("order", "not those of a run"),
        ("kind", "cannot be read"),
        ("shape", "cannot be read"),
        ("deep", "is no run that agentnb exported"),
    ],
)
def test_what_is_no_exported_run_is_one_clear_error_and_nothing_is_kept(
    store: DiskStore, other: DiskStore, tmp_path: Path, how: str, said: str
) -> None:
    """Cut, altered, of another form, or made up by somebody who knows the form."""
    it = long_result(store)
    file = tmp_path / "run.jsonl"
    lines = content(store, it.id, file)
    match how:
        case "cut":
            file.write_bytes(file.read_bytes()[:-9])
        case "empty" | "text":
            file.write_bytes(b"" if how == "empty" else b"hello\n[1]\n")
        case "newer":
            resealed(file, lines, version=3)
        case "folder" | "none":
            file.unlink()
            if how == "folder":
                file.mkdir()
        case "fewer":
            resealed(file, lines, records=99)
        case "no value":
            resealed(file, [line for line in lines if "records" in line])
        case "order":
            lines[0]["records"][1]["0" if isinstance(lines[0]["records"][1], dict) else 0] = 7
            resealed(file, lines)
        case "kind":
            lines[0]["records"][1][3]["kind"] = "run_exploded"
            resealed(file, lines)
        case "shape":
            resealed(file, [{"records": 5}, *lines])
        case _:
            body = b"[" * 100_000 + b"\n"
            head = {"agentnb": "run", "version": 1, "run": "x", "records": 1, "whole": True}
            file.write_bytes(json.dumps({**head, "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n" + body)
    with pytest.raises(AgentError, match=said):
        import_run(other, file, Policy(), Budget())
    assert other.runs() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_bit_is_never_taken_in(tmp_path: Path, data: st.DataObject) -> None:
    """Wherever in the file; one in the first line may make it another name, and no more."""
    file = tmp_path / "run.jsonl"
    if not file.exists():
        store = DiskStore(tmp_path / "s")
        export_run(store, long_result(store).id, file)
    raw = bytearray(file.read_bytes())
    bit = data.draw(st.integers(8 * raw.index(b"\n"), 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(raw)
    with pytest.raises(AgentError):
        import_run(DiskStore(tmp_path / "t"), broken, Policy(), Budget())


def test_what_it_says_was_allowed_is_no_leave_here(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """A file whose policy lets everything pass, with a plan of writes, asks about each of them."""
    sent: list[str] = []

    @tool(effect="write", reversibility="full")
    def send(text: str) -> None:
        """Send it.

        Args:
            text: what.
        """
        sent.append(text)

    steps = [Step(tool="add", args={"a": 1, "b": 1}, check=SURE), *(Step(tool="send", args={"text": t}) for t in "ab")]
    agent = Agent(ScriptedModel([]), tools=[add, send], store=store, approve="auto")
    session = agent.begin("send", plan=steps)
    for record in session:
        if record.event.kind == "step_judged":
            break
    session.suspend()
    del session
    run = agent.runs()[0].id
    export_run(store, run, tmp_path / "run.jsonl")
    asked: list[Request] = []

    def ada(request: Request) -> Answer:
        asked.append(request)
        return Answer("approve", "ada")

    here = Agent(ScriptedModel([answer()]), tools=[add, send], store=other, approver=ada, approve="auto")
    name = import_run(other, tmp_path / "run.jsonl", here.terms.policy, here.budget)
    assert here.resume(name).status is Status.COMPLETED
    assert sent == ["a", "b"]
    assert isinstance(asked[0], ApprovalRequest)
    assert "it comes from a run that was imported from a file" in asked[0].reasons


def test_a_question_is_asked_anew_and_an_answer_to_the_old_one_is_none(
    store: DiskStore, other: DiskStore, tmp_path: Path
) -> None:
    """It was bound to the run as it was elsewhere."""
    it = Agent(ScriptedModel([]), tools=[note], store=store).run("x", plan=[Step(tool="note", args={"text": "x"})])
    assert it.status is Status.AWAITING_APPROVAL
    export_run(store, it.id, tmp_path / "run.jsonl")
    here = Agent(ScriptedModel([answer()]), tools=[note], store=other)
    run = Run(here, import_run(other, tmp_path / "run.jsonl", here.terms.policy, here.budget))
    with pytest.raises(ConfigError, match="nothing in"):
        run.approve()
    assert run.resume().status is Status.AWAITING_APPROVAL
    assert run.approve().status is Status.COMPLETED


@pytest.mark.parametrize("how", ["a call under way", "its end lost"])
def test_what_may_have_acted_is_taken_in_as_cancelled(
    store: DiskStore, other: DiskStore, tmp_path: Path, how: str
) -> None:
    """It can be looked at and forked; going on with it could do something twice."""

    @tool(effect="write", reversibility="full")
    def post(text: str) -> None:
        """Post it.

        Args:
            text: what.
        """
        raise ConnectionResetError(text)

    agent = Agent(ScriptedModel([answer()]), tools=[add, post], store=store, approve="auto")
    steps = [Step(tool="add", args={"a": 1, "b": 1}, check=SURE), Step(tool="post", args={"text": "x"})]
    it = agent.run("x", plan=steps)
    file = tmp_path / "run.jsonl"
    lines = content(store, it.id, file)
    if how == "its end lost":
        lines[0]["records"] = lines[0]["records"][:4]
        resealed(file, lines, whole=False)
    here = Agent(ScriptedModel([answer("looked")]), tools=[add, post], store=other)
    run = Run(here, import_run(other, file, here.terms.policy, here.budget))
    assert run.status is Status.CANCELLED
    assert "may have acted: look at it, or fork it" in run.detail
    assert (run.stop_reason, run.summary.reason) == ("imported", "it was imported unfinished")
    assert "ended by a person" not in repr(run)
    if how == "a call under way":
        assert "post: begun; whether it acted is not known" in repr(run)
    fork = run.fork("s1", plan=[Step(tool="add", args={"a": 4, "b": 4}, check=SURE)])
    assert (fork.result("s1"), fork.output) == (8, "looked")


def test_the_keys_of_its_calls_stay_what_they_were(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """The other side knows the run's calls by them."""
    keys: list[str] = []

    @tool(effect="write", reversibility="full", idempotent=True)
    def pay(n: int, idempotency_key: str) -> int:
        """Pay.

        Args:
            n: how much.
        """
        keys.append(idempotency_key)
        return n

    agent = Agent(ScriptedModel([]), tools=[pay], store=store)
    it = agent.run("x", plan=[Step(tool="pay", args={"n": 1})])
    export_run(store, it.id, tmp_path / "run.jsonl")
    here = Agent(ScriptedModel([answer()]), tools=[pay], store=other, approver=lambda _: Answer("approve", "ada"))
    here.resume(import_run(other, tmp_path / "run.jsonl", here.terms.policy, here.budget))
    assert keys[0].startswith(f"{it.id}.{it.state.head.uid}/s1")


def test_a_run_that_is_not_there_and_a_place_that_cannot_be_written(store: DiskStore, tmp_path: Path) -> None:
    """Each says so."""
    with pytest.raises(RunNotFound):
        export_run(store, "r9-heron", tmp_path / "x")
    it = long_result(store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        export_run(store, it.id, tmp_path / "file" / "x")
    store._rows("DELETE FROM Cache WHERE key LIKE 'b/%'")
    with pytest.raises(DamagedRecord):
        export_run(store, it.id, tmp_path / "x")


# --- what strangers may try -------------------------------------------------------------------------------------------


@tool(effect="write", reversibility="full", once_per=("to",))
def pay(to: str) -> str:
    """Pay somebody.

    Args:
        to: whom.
    """
    PAID.append(to)
    return f"paid {to}"


PAID: list[str] = []


@pytest.mark.parametrize("how", ["suppress", "double"])
def test_a_file_says_nothing_to_the_ledger(store: DiskStore, other: DiskStore, tmp_path: Path, how: str) -> None:
    """Neither that something was done which was not, nor that something was not done which was."""
    PAID.clear()
    yes = {"approve": "auto", "approver": lambda _: Answer("approve", "ada")}
    victim = Agent(ScriptedModel([answer()] * 9), tools=[add, pay], store=other, **yes)  # type: ignore[arg-type]
    if how == "double":
        victim.run("pay", plan=[Step(tool="pay", args={"to": "bob"})])
    session = Agent(ScriptedModel([]), tools=[add, pay], store=store).begin(
        "x", plan=[Step(tool="add", args={"a": 1, "b": 1}, check=SURE)]
    )
    driven = session.drive()
    assert any(record.event.kind == "tool_claimed" for record in driven)  # and there it stays
    lines = content(store, session.log.run, tmp_path / "run.jsonl")
    for record in lines[0]["records"]:
        if record[3]["kind"] == "tool_claimed":
            record[3] |= {"key": once_key("pay", ("to",), {"to": "bob"}), "entry": 2 if how == "double" else 1}
    resealed(tmp_path / "run.jsonl", lines)
    run = import_run(other, tmp_path / "run.jsonl", victim.terms.policy, victim.budget)
    assert Run(victim, run).status is Status.CANCELLED
    victim.run("pay", plan=[Step(tool="pay", args={"to": "bob"})])
    assert PAID == ["bob"]


def test_its_budget_and_what_it_says_to_have_spent_hold_nothing_here(
    store: DiskStore, other: DiskStore, tmp_path: Path
) -> None:
    """A run may come with a budget of a billion and a debt to itself."""
    it = Agent(ScriptedModel([]), tools=[note], store=store).run("x", plan=[Step(tool="note", args={"text": "x"})])
    lines = content(store, it.id, tmp_path / "run.jsonl")
    lines[0]["records"][0][3]["budget"] = {"usd": 1e9, "steps": None, "tokens": None, "working_seconds": None}
    resealed(tmp_path / "run.jsonl", lines)
    mine = Budget(tokens=100, steps=3)
    run = import_run(other, tmp_path / "run.jsonl", Policy(), mine)
    assert Run(Agent(ScriptedModel([]), store=other), run).state.budget == mine
    asked = {"kind": "model_asked", "phase": "plan", "model": "m", "key": "", "attempt": 1, "reserved": {"usd": -5.0}}
    lines[0]["records"].insert(1, [1, 1.0, 0.0, asked])
    resealed(tmp_path / "debt.jsonl", lines)
    with pytest.raises(DamagedRecord, match="counts less than nothing"):
        import_run(other, tmp_path / "debt.jsonl", Policy(), mine)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_could_not_be_read_again_is_not_taken_in(
    store: DiskStore, other: DiskStore, tmp_path: Path, number: str
) -> None:
    """No number of JSON, but of Python's."""
    it = long_result(store)
    lines = content(store, it.id, tmp_path / "run.jsonl")
    lines[0]["records"][1][1] = float(number.replace("Infinity", "inf"))
    resealed(tmp_path / "run.jsonl", lines)
    with pytest.raises(AgentError):
        import_run(other, tmp_path / "run.jsonl", Policy(), Budget())
    assert other.runs() == []


def test_a_dry_run_of_a_file_is_not_executed(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """It may hide what it would do behind what it shows."""
    it = Agent(ScriptedModel([answer()]), tools=[note], store=store, approve="auto").run(
        "x", plan=[Step(tool="note", args={"text": "x"})], dry_run=True
    )
    export_run(store, it.id, tmp_path / "run.jsonl")
    here = Agent(ScriptedModel([]), tools=[note], store=other)
    run = Run(here, import_run(other, tmp_path / "run.jsonl", here.terms.policy, here.budget))
    with pytest.raises(ConfigError, match="was imported: what a stranger's file shows is not executed"):
        run.execute()


def test_actions_that_wait_in_it_are_listed_here(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """They are carried out by hand, if at all."""

    @tool(effect="destructive")
    def wipe(table: str) -> None:
        """Wipe it.

        Args:
            table: which.
        """

    it = Agent(ScriptedModel([answer()]), tools=[wipe], store=store).run(
        "x", plan=[Step(tool="wipe", args={"table": "t"})]
    )
    export_run(store, it.id, tmp_path / "run.jsonl")
    run = import_run(other, tmp_path / "run.jsonl", Policy(), Budget())
    assert open_actions(other) == [(run, "s1")]


def test_an_argument_called_blob_is_no_value_kept_aside(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """What a plan says is not what a record refers to."""

    @tool(effect="read")
    def fetch(blob: str) -> str:
        """Fetch it.

        Args:
            blob: which.
        """
        return blob

    it = Agent(ScriptedModel([answer()]), tools=[fetch], store=store).run(
        "x", plan=[Step(tool="fetch", args={"blob": "ab" * 32}, check=SURE)], tags={"blob": "cd" * 32}
    )
    export_run(store, it.id, tmp_path / "run.jsonl")
    assert import_run(other, tmp_path / "run.jsonl", Policy(), Budget())


@pytest.mark.parametrize(
    ("name", "said"), [("folder", r"is a folder: name a file, such as .*folder/r1-"), ("nul\0", "cannot be written")]
)
def test_a_place_that_is_none_leaves_nothing_behind(store: DiskStore, tmp_path: Path, name: str, said: str) -> None:
    """Neither a half file, nor a copy of the run."""
    it = long_result(store)
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=said):
        export_run(store, it.id, tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_read_under_way_is_not_said_to_have_acted(store: DiskStore, other: DiskStore, tmp_path: Path) -> None:
    """It is taken in as cancelled all the same: what a file says of a call is not believed."""

    @tool(effect="read")
    def look() -> int:
        """Look, until somebody stops it."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Agent(ScriptedModel([]), tools=[look], store=store).run("x", plan=[Step(tool="look")])
    export_run(store, store.runs()[0], tmp_path / "run.jsonl")
    here = Agent(ScriptedModel([]), tools=[look], store=other)
    run = Run(here, import_run(other, tmp_path / "run.jsonl", here.terms.policy, here.budget))
    assert (run.status, run.detail) == (
        Status.CANCELLED, "a call was under way when it was exported: look at it, or fork it",
    )  # fmt: skip
    assert run.summary.undone == ("look: begun, and not finished",)
