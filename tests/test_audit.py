"""The audit log tells each call twice: raw for engineers, and in sentences that hold no raw data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import Agent, Answer, Budget, ModelReply, ScriptedModel, Step, Tool, Usage, deny, tool, verify_audit
from agentnb.account import deeds
from agentnb.audit import Audit
from agentnb.audit_file import COLUMNS
from agentnb.budget import LIMITS
from agentnb.bundle import export_run, import_run
from agentnb.calls import NOT_DESCRIBED
from agentnb.compliance import COMPLIANCE, compliance
from agentnb.deeds import Deed, Doubt, How, Leave, Status, Try
from agentnb.errors import ConfigError, DamagedRecord, FailureClass, RunNotFound, ToolDefinitionError, ToolFailure
from agentnb.events import ActionClaimed, Kept, ToolClaimed
from agentnb.guards import GuardedCall, Ruling, ask
from agentnb.otel import Telemetry
from agentnb.plain import _HOLDS, Plain, Vouched, plain
from agentnb.policy import Policy
from agentnb.run import Run
from agentnb.store.disk import DiskStore
from agentnb.technical import TECHNICAL
from tests.audited import STEPS, busy
from tests.cells import Cells, notebook_in
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, note, plan, step, verdict
from tests.stores.make import Steady

SURE: Any = {"non_empty": True}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with one of nearly everything, in a store on disk."""
    store = DiskStore(tmp_path_factory.mktemp("audited") / "store")
    yield busy(store)
    store.close()


def steady(*tools: Any, store: Any = None, **options: Any) -> Agent:
    """An agent whose model says the same whatever it is asked."""
    options = {"assess": False, "sleep": lambda _: None, **options}
    return Agent(Steady(), tools=list(tools), store=store or MemoryStore(), **options)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_each_call_has_an_entry_in_the_order_in_which_they_ended(run: Run) -> None:
    """Those of a run inside it before the call that it was; what was carried out by hand has one of its own."""
    told = [(deed.step, deed.tool, str(deed.status)) for deed in run.audit.deeds]
    assert told == [
        ("s1", "search", "ok"),
        ("s2", "stock", "ok"),
        ("s3", "refund", "ok"),
        ("s1", "add", "ok"),
        ("s4", "adder", "ok"),
        ("s5", "drop", "proposed"),
        ("s6", "refund", "rejected"),
        ("s5", "drop", "ok"),
    ]
    assert len(run.audit) == len(run.audit.technical) == len(list(run.audit)) == 8
    child = run.children[0]
    assert [d.parent for d in run.audit.deeds if d.run == child.id] == [run.id]
    assert run.audit.technical[4]["children"] == [child.id]


def test_the_compliance_view_is_made_of_sentences(run: Run) -> None:
    """What, why, what was read, what changed, who let it, and the outcome."""
    paid = run.audit.compliance[2]
    assert {name: paid[name] for name in ("what", "described", "why", "read", "changed", "authorised", "outcome")} == {
        "what": "refund was called, with ticket (a text) and amount (a number)",
        "described": "refund of 40 EUR",
        "why": "Step s3 of version 1 of the plan, which the user made",
        "read": "The result of s1 (search)",
        "changed": "Something that can be taken back in part; its arguments were sent out of this machine",
        "authorised": "ada approved exactly this call",
        "outcome": "It gave an object of 1 field",
    }
    assert [entry["outcome"] for entry in run.audit] == [
        "It gave a list of 3 items",
        "It gave a number, after 3 tries",
        "It gave an object of 1 field",
        "It gave a number",
        "It gave an object of 5 fields",
        "It waits for a person",
        "It was not made",
        "It gave a number",
    ]
    changed = [entry["changed"] for entry in run.audit]
    assert changed[0] == "Nothing: it only reads"
    assert changed[5:] == ["Nothing: no call was made"] * 2 + ["Something that cannot be taken back"]
    assert [entry["authorised"] for entry in run.audit][5:] == [
        "Nobody: it came to no call", "ada refused it", "grace carried it out",
    ]  # fmt: skip


def test_the_technical_view_is_raw(run: Run) -> None:
    """Arguments, results or their size and hash, keys, tries, failures, approvals, records."""
    found, retried, paid = run.audit.technical[:3]
    assert json.loads(found["args"]) == {"query": "late parcels", "limit": 3}
    assert (found["result"], found["result_size"] > 600, len(found["result_sha256"])) == ("", True, 64)
    assert run.keeper.store.blob(found["result_sha256"]).startswith('["late parcels 17"')
    assert [(one["attempt"], one["failure"], one["message"]) for one in retried["tries"]] == [
        (1, "transient", "warehouse parcel timed out"), (2, "transient", "warehouse parcel timed out"), (3, "", ""),
    ]  # fmt: skip
    claims = {r.seq: r.event for r in run.events if isinstance(r.event, ToolClaimed)}
    claim = claims[paid["records"][0]]
    assert (paid["key"], paid["binding"], paid["title"]) == (claim.key, claim.binding, "pay back")
    assert (paid["authorised_by"], paid["authority"], paid["authority_reason"]) == ("ada", "approved", "by phone")
    assert all(list(entry) == list(TECHNICAL) for entry in run.audit.technical)
    assert all(list(entry) == list(COMPLIANCE) for entry in run.audit.compliance)


def test_every_beginning_of_a_run_is_told(run: Run) -> None:
    """Whatever instant its process died at: each claim once, and what has not ended as open, or in doubt."""
    for of in (run.events, list(run.keeper.store.read(run.children[0].id))):
        for many in range(1, len(of) + 1):
            told = list(deeds(of[:many]))
            tries = sorted(one.record for deed in told for one in deed.tries)
            claims = [r.seq for r in of[:many] if isinstance(r.event, (ToolClaimed, ActionClaimed))]
            assert tries == claims
            assert len([deed for deed in told if deed.status in (Status.OPEN, Status.IN_DOUBT)]) <= 2


@tool(effect="write", reversibility="full")
def post(text: str) -> str:
    """Post a text; the connection drops after it was sent.

    Args:
        text: what.
    """
    raise ConnectionResetError(f"lost after {text}")


@pytest.mark.parametrize(
    ("found", "outcome", "status"),
    [
        ("done", "It gave nothing; it was in doubt, and {by} found that it had happened", "ok"),
        (None, "It is in doubt; whether it acted was not known", "in_doubt"),
    ],
)
def test_a_doubt_and_how_it_was_resolved(found: Any, outcome: str, status: str) -> None:
    """Are a part of the call's entry."""
    one = steady(post, approve="auto").run("post", plan=[Step(tool="post", args={"text": "x"}, check=SURE)])
    if found:
        one.resume(in_doubt=found)
    (entry,), (raw,) = one.audit.compliance, one.audit.technical
    by = raw["doubts"][0]["by"]
    assert (entry["outcome"], raw["status"]) == (outcome.format(by=by), status)
    assert "lost after x" in raw["doubts"][0]["message"]
    changed = "Something that can be taken back" if found else "Not known: whether it acted is in doubt"
    assert entry["changed"] == changed
    assert entry["authorised"] == "The policy lets it be done without a person"


def test_a_call_that_had_not_happened_and_is_made_again_is_one_entry() -> None:
    """With both tries, and the doubt between them."""
    tries: list[int] = []

    @tool(effect="write", reversibility="full")
    def once(text: str) -> str:
        """Act the second time.

        Args:
            text: what.
        """
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionResetError("lost")
        return text

    one = steady(once, approve="auto").run("x", plan=[Step(tool="once", args={"text": "x"}, check=SURE)])
    one.resume(in_doubt="not_done")
    (entry,) = one.audit.compliance
    said = r"It gave a text of 1 character, after 2 tries; it was in doubt, and .* found that it had not happened"
    assert re.fullmatch(said, str(entry["outcome"]))


def test_what_was_refused_simulated_and_given_back() -> None:
    """By whom, and that nothing was done."""

    def deny_long(call: GuardedCall) -> Ruling | None:
        return deny("it is too long") if len(call.args["text"]) > 5 else None

    @tool(effect="write", reversibility="full", once_per=("text",), guards=[deny_long])
    def file_it(text: str) -> str:
        """File it.

        Args:
            text: what.
        """
        return text

    store = MemoryStore()

    def told(text: str, *, dry: bool = False) -> dict[str, Any]:
        agent = steady(file_it, store=store, approve="auto")
        steps = [Step(tool="file_it", args={"text": text}, check=SURE)]
        return agent.run("x", plan=steps, dry_run=dry).audit.compliance[0]

    simulated, done, again, refused = told("a", dry=True), told("a"), told("a"), told("too long")
    assert [entry["what"] for entry in (simulated, done, again, refused)] == [
        "A call of file_it was simulated, with text (a text)",
        "file_it was called, with text (a text)",
        "file_it was not called, for an earlier run had made the same call",
        "A call of file_it was stopped",
    ]
    assert refused["outcome"] == "It was not made: a guard forbids it"
    assert again["runs"] == [done["run"]]
    assert {entry["changed"] for entry in (again, refused)} == {"Nothing: no call was made"}


def test_a_fork_says_whose_its_beginning_is(run: Run, tmp_path: Path) -> None:
    """And an imported run that it came in a file."""
    here = DiskStore(tmp_path / "here")
    first = steady(add, store=here).run(
        "x", plan=[Step(tool="add", args={"a": n, "b": 1}, check=SURE) for n in range(2)]
    )
    fork = first.fork(at="s2", args={"a": 7})
    assert [deed.origin for deed in fork.audit.deeds] == [first.id, ""]
    assert len(first.audit) == 2
    assert fork.audit.verify().sound
    here.close()
    export_run(run.keeper.store, run.id, tmp_path / "run.jsonl")
    store = DiskStore(tmp_path / "other")
    there = import_run(store, tmp_path / "run.jsonl", Policy(), Budget())
    log = Audit(store, there)
    assert {deed.origin for deed in log.deeds if deed.run == there} == {"file"}
    assert [deed.status for deed in log.deeds] == [deed.status for deed in run.audit.deeds]
    assert log.verify().sound
    assert log.verify(head=log.head).compared
    store.close()


# --- no raw data ------------------------------------------------------------------------------------------------------

NAMES = (
    "task", "tag", "title", "expect", "arg", "other", "result", "guard", "reason", "error", "bound", "finding", "said",
    "wrong_name", "wrong_value", "answer", "unknown", "drop_reason", "child_task", "replan", "gap", "doubt",
)  # fmt: skip
CANARIES = {name: f"Canary_{name}_7f3a" for name in NAMES}
"""Each could be the name of an argument, by its form."""
C = CANARIES


def whoever_asks(call: GuardedCall) -> Ruling:
    """A guard that quotes what it knows."""
    return ask(f"{call.tool} because {C['guard']}")


@tool(effect="write", reversibility="full", guards=[whoever_asks])
def send(text: str, to: str = "x") -> dict[str, str]:
    """Send a text.

    Args:
        text: what.
        to: whom.
    """
    return {C["result"]: f"{text} for {to}"}


@tool(effect="read")
def failing(text: str) -> str:
    """Fail.

    Args:
        text: what.
    """
    raise ToolFailure(f"{C['error']} {text}", FailureClass.INVALID_DATA)


@tool(effect="write", reversibility="full")
def doubtful(text: str) -> str:
    """Lose the connection.

    Args:
        text: what.
    """
    raise ConnectionResetError(f"{C['doubt']} {text}")


@tool(effect="destructive")
def wipe(text: str) -> str:
    """Wipe it.

    Args:
        text: what.
    """
    return text


def planted(*steps: Step, **options: Any) -> Run:
    """A run of these steps, in whose every other input a canary stands."""
    tools = options.pop("tools", [send, failing, doubtful, wipe])
    agent = Agent(
        Talkative(), tools=tools, store=MemoryStore(), assess=False,
        approver=lambda _: Answer("approve", "ada", C["reason"]), **options,
    )  # fmt: skip
    return agent.run(f"Do {C['task']}", plan=list(steps), tags={"a": C["tag"]})


class Talkative:
    """Says a canary, whatever it is asked."""

    ref = "scripted"

    def ask(self, request: Any) -> ModelReply:
        said = {
            "answer": {"answer": C["answer"], "unknowns": [C["unknown"]], "confidence": "high"},
            "bind": {"args": {"text": C["bound"]}},
        }
        plan_of_one = plan({**step("send", C["title"], text=C["arg"]), "expect": C["expect"]})[1]
        other = plan_of_one if request.phase == "plan" else verdict(finding=C["finding"], reason=C["said"])[1]
        return ModelReply(json.dumps(said.get(request.phase, other)), Usage(10, 10))


def leaks(text: str) -> list[str]:
    return [name for name, canary in CANARIES.items() if canary in text]


def a_step(name: str, **args: Any) -> Step:
    return Step(tool=name, args=args, title=C["title"], expect=C["expect"], ask=C["gap"], assumes=(C["replan"],))


def test_no_canary_reaches_the_compliance_view(tmp_path: Path) -> None:
    """Task, tags, titles, arguments, results, errors, reasons, findings: not its files, its card or its text."""
    inner = Agent(Talkative(), tools=[send], assess=False).as_tool("inner", "Does it.")
    runs = [
        planted(a_step("send", text="$? something"), a_step("send", text=C["arg"]), a_step("wipe", text=C["other"])),
        planted(a_step("failing", text=C["arg"])),
        planted(a_step("doubtful", text=C["arg"])),
        planted(a_step("inner", task=C["child_task"]), tools=[inner]),
        planted(a_step("wipe", text=C["other"])),
    ]
    runs[0].execute(by="grace")
    runs[4].discard(reason=C["drop_reason"], by="grace")
    seen = {str(deed.status) for one in runs for deed in one.audit.deeds}
    assert seen >= {"ok", "failed", "proposed", "dropped", "in_doubt"}
    raw = "".join(json.dumps(one.audit.technical) for one in runs)
    there = {"arg", "bound", "title", "result", "guard", "reason", "error", "other", "doubt", "child_task", "gap"}
    assert there | {"drop_reason"} <= set(leaks(raw))
    for one in runs:
        for name in ("a.jsonl", "a.csv"):
            one.audit.export(tmp_path / name, "compliance")
            assert leaks((tmp_path / name).read_text()) == []
        assert leaks("".join([one.audit.as_html(), one.audit.as_text(), repr(one.audit.compliance)])) == []


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("facts", [None, send.facts])
def test_a_deed_made_of_canaries_tells_none(status: Status, facts: Any) -> None:
    """Nor names that a model has invented, though they have the form of one."""
    args = json.dumps({C["wrong_name"]: C["wrong_value"]})
    deed = Deed(
        run=C["task"], parent=C["task"], parent_step=C["arg"], agent=C["tag"], origin=C["task"], step=C["arg"],
        tool="send" if facts else C["other"], facts=facts, planned=(1, C["said"]), title=C["title"],
        rests_on=((C["arg"], ""),), args=Kept(len(args), text=args) if not facts else None,
        leave=Leave(How.APPROVED, f"{C['said']}!", C["reason"], 3, 1.0), status=status,
        tries=(Try(1, 3, 1.0, 0.1, None, C["error"]),),
        doubts=(Doubt(C["doubt"], 3, happened=True, by=f"{C['said']}!", reason=C["reason"]),),
        result=Kept(4, text=json.dumps(C["result"])), message=C["error"], key=C["arg"], binding=C["arg"],
        refused_by=C["guard"], earlier=(C["task"], C["arg"]), children=(C["child_task"],), reasons=(C["guard"],),
        ended=(C["reason"], C["said"]),
        at=1.0, records=(3,),
    )  # fmt: skip
    for one in (deed, replace(deed, tries=())):
        if one.tries or status not in UNTRIED:
            assert leaks(json.dumps(compliance(plain(one, lambda kept: kept.text or "")))) == []


UNTRIED = {Status.OK, Status.EMPTY, Status.FAILED, Status.IN_DOUBT, Status.OPEN, Status.WITHDRAWN}
"""What was called, and so has tries."""


@given(st.data())
def test_no_field_holds_a_raw_text(data: st.DataObject) -> None:
    """Each takes what has the form of its kind, and refuses everything else."""
    assert {field.name for field in fields(Plain)} == set(_HOLDS)
    name = data.draw(st.sampled_from(sorted(set(_HOLDS) - {"described"})))
    text = data.draw(st.text(min_size=1) | st.sampled_from(["a b", "Canary!", "<b>", "s1 x", "r1-heron x", "ok!"]))
    if name == "by" and re.fullmatch(r"[\w .@'+-]{1,64}", text):
        return
    if name == "tool" and text.isidentifier():
        return
    wrapped: Any = ((text, text),) if name in ("args", "rests_on", "doubts") else (text,)
    value: Any = wrapped if name in ("args", "rests_on", "doubts", "runs", "records") else text
    with pytest.raises(ValueError, match=name):
        replace(PLAIN, **{name: value})


PLAIN = Plain(
    run="r1-heron", parent="", parent_step="", step="s1", tool="send", effect="write", reversibility="full",
    egress=False, untrusted=False, delegates=False, by_hand=False, again=False, status=Status.OK, plan_version=1,
    plan_by="user", args=(("text", "a text"),), rests_on=(), how=How.POLICY, by="", decided_at=None, reasons=0, tries=1,
    seconds=None, failure="", refused_by="", doubts=(), gave="", many=None, runs=(), inside="", at=0.0, records=(1,),
    described=Vouched(""),
)  # fmt: skip


@given(
    st.sampled_from(Status), st.sampled_from(How), st.sampled_from(["", "read", "write", "destructive"]),
    st.tuples(st.booleans(), st.booleans()), st.integers(0, 3),
    st.tuples(st.sampled_from(["", *FailureClass]), st.sampled_from(["", "ada", "policy"])),
    st.lists(st.tuples(st.sampled_from([None, True, False]), st.sampled_from(["", "ada", "reconcile"])), max_size=2),
    st.sampled_from(["", *LIMITS, "completed", "stopped", "failed", "cancelled"]),
)  # fmt: skip
def test_every_entry_has_its_sentences(  # noqa: PLR0917 - hypothesis hands each over
    status: Status, how: How, effect: str, flags: tuple[bool, bool], tries: int, who: tuple[str, str],
    doubts: list[Any], inside: str,
) -> None:  # fmt: skip
    """Whatever there is: each column has a word, and begins as a sentence does."""
    (egress, hand), (failure, by) = flags, who
    told = compliance(
        replace(
            PLAIN, status=status, how=how, effect=effect, egress=egress, by_hand=hand, failure=failure, by=by,
            tries=max(tries, int(status in UNTRIED)), doubts=tuple(doubts), delegates=hand and egress, inside=inside,
        )
    )  # fmt: skip
    for name in ("what", "why", "read", "changed", "authorised", "outcome"):
        text = str(told[name])
        assert text
        assert text[0].isupper() or text.startswith(("send", "ada"))
        assert "  " not in text


@pytest.mark.parametrize(
    ("lines", "budget", "said"),
    [
        ([], Budget(tokens=1), "It failed: the run inside it came to its cap on tokens"),
        (
            [plan(step("add", a=1, b=2), step("add", a=3, b=4))] * 2 + [verdict(), answer("three")], Budget(steps=1),
            "It gave an object of 5 fields; the run inside it came to its cap on steps",
        ),
    ],
)  # fmt: skip
def test_the_end_of_a_run_inside_is_told_as_what_it_is(lines: list[Any], budget: Budget, said: str) -> None:
    """A cap of it is no fault of the data that it was given."""
    inner = Agent(ScriptedModel(lines), tools=[add], assess=False).as_tool("inner", "Adds.", budget=budget)
    steps = [Step(tool="inner", args={"task": "add"}, check=SURE)]
    told = steady(inner).run("x", plan=steps).audit.compliance[-1]
    assert told["outcome"] == said
    assert told["changed"] == "What the run inside it has done, which has entries of its own"


def test_a_run_inside_that_could_not_be_begun_is_told_as_none() -> None:
    """There was nothing left for it, and it has changed nothing."""
    inner = Agent(ScriptedModel([]), tools=[add]).as_tool("inner", "Adds.")
    steps = [Step(tool="inner", args={"task": "add"}, check=SURE)]
    told = steady(inner, budget=Budget(steps=1, tokens=50_000)).run("x", plan=steps).audit.compliance[0]
    assert told["outcome"] == "It failed: no run could be begun inside it"
    assert told["changed"] == "Nothing: no run was begun"


# --- describe ---------------------------------------------------------------------------------------------------------


def refunding(describe: Any, **options: Any) -> Tool:
    """A tool that pays, and says what it does as `describe` has it."""

    @tool(effect="write", reversibility="full", describe=describe, **options)
    def refund(amount: float, ticket: str = "t1") -> float:
        """Pay back.

        Args:
            amount: EUR.
            ticket: whose.
        """
        return amount + len(ticket)

    return refund


def said(describe: Any, secrets: Any = None, **args: Any) -> str:
    steps = [Step(tool="refund", args={"amount": 40, **args}, check=SURE)]
    agent = steady(refunding(describe), approve="auto", **({"secrets": secrets} if secrets else {}))
    one = agent.run("x", plan=steps)
    assert one.status == "completed", one
    return str(one.audit.compliance[0]["described"])


def raising(amount: float) -> str:
    """Quotes what it should not."""
    raise ValueError(f"{amount} is secret")


@pytest.mark.parametrize(
    ("describe", "expected"),
    [
        (None, ""),
        ("refund of {amount:.2f} EUR", "refund of 40.00 EUR"),
        (lambda amount, **_: f"refund of {amount} EUR", "refund of 40.0 EUR"),
        (lambda ticket: f"for\n {ticket}", "for t1"),
        (raising, NOT_DESCRIBED),
        (lambda amount: amount, NOT_DESCRIBED),
        (lambda: "", NOT_DESCRIBED),
        ("{amount:d}", NOT_DESCRIBED),
        (lambda: "x" * 9000, "x" * 500),
    ],
)
def test_describe_gives_the_sentence_and_hinders_no_call(describe: Any, expected: str) -> None:
    """A text with the arguments in it, or a function of those that it names; what fails says so, and nothing else."""
    assert said(describe) == expected


def test_what_describe_says_holds_no_secret() -> None:
    """As all that is recorded."""
    assert said("refund of {amount} with hunter22", secrets={"pw": "hunter22"}) == "refund of 40.0 with [redacted:pw]"


def test_describe_may_alter_what_it_is_given() -> None:
    """The call gets its own."""
    got: list[Any] = []

    def clearing(items: list[int]) -> str:
        items.clear()
        return "cleared"

    @tool(effect="write", reversibility="full", describe=clearing)
    def take(items: list[int]) -> int:
        """Take them.

        Args:
            items: what.
        """
        got.append(items)
        return len(items)

    steady(take, approve="auto").run("x", plan=[Step(tool="take", args={"items": [1, 2]}, check=SURE)])
    assert got == [[1, 2]]


def test_leave_that_runs_out_while_a_call_is_described_is_asked_for_anew() -> None:
    """It is looked at after that, and not before."""
    clock, asked = FakeClock(), list[str]()

    def slowly(amount: float) -> str:
        clock.sleep(50 if len(asked) == 1 else 0)
        return f"refund of {amount}"

    def approver(request: Any) -> Answer:
        asked.append(request.step)
        return Answer("approve", "ada")

    steps = [Step(tool="refund", args={"amount": 40}, check=SURE)]
    agent = steady(refunding(slowly), approver=approver, approve=Policy(valid_s=40), clock=clock.clock())
    one = agent.run("x", plan=steps)
    assert (str(one.status), asked) == ("completed", ["s1", "s1"])
    assert one.audit.compliance[0]["described"] == "refund of 40.0"


def test_a_simulated_call_is_described() -> None:
    """As what it would do."""
    steps = [Step(tool="refund", args={"amount": 40}, check=SURE)]
    one = steady(refunding("refund of {amount}")).run("x", plan=steps, dry_run=True)
    assert [entry["described"] for entry in one.audit] == ["refund of 40.0"]


@pytest.mark.parametrize(
    ("describe", "why"),
    [
        ("of {money}", "describe= names 'money', and its arguments are amount, ticket"),
        ("of {amount", "cannot be read"),
        (7, "describe=7 is not a function"),
        (lambda money: money, "describe= takes 'money'"),
    ],
)
def test_a_describe_that_does_not_fit_is_no_definition(describe: Any, why: str) -> None:
    """It is said where the tool is defined."""
    with pytest.raises(ToolDefinitionError, match=re.escape(why)):
        refunding(describe)


# --- what is shown, written and verified ------------------------------------------------------------------------------


def test_a_card_is_escaped_and_small(run: Run) -> None:
    """Whatever a title, an argument or a reason holds."""
    evil = '<script>alert("x")</script>'
    steps = [Step(tool="add", args={"a": 1, "b": 2}, title=evil, check=SURE)]
    one = steady(add).run("x", plan=steps)
    assert evil not in one.audit.table("technical").as_html()
    html = run.audit.as_html()
    assert "<script" not in html
    assert html.count("<tr") == 9
    assert len(html) < 12_000
    assert 'aria-label="proposed"' in html
    assert run.id in repr(run.audit)
    assert run.audit._repr_html_() == html


def test_a_long_log_is_cut() -> None:
    """And says how all of it is had."""
    steps = [Step(tool="add", args={"a": n, "b": 1}, check=SURE) for n in range(70)]
    one = steady(add, budget=Budget(steps=100)).run("x", plan=steps)
    assert "and 10 more calls" in one.audit.as_text()
    assert "70 calls" in one.audit.as_text()
    assert len(one.audit.as_html()) < 40_000


def test_a_run_without_a_call_has_an_empty_log() -> None:
    """And says so."""
    one = steady(add).run("x", plan=[Step(tool="add", args={"a": "$?", "b": 1})])
    assert "nothing was called" in repr(one.audit)
    assert "<table" not in one.audit.as_html()


def test_a_replay_shows_no_ids_names_or_times(run: Run, tmp_path: Path) -> None:
    """Two runs of the same show the same."""
    store = DiskStore(tmp_path / "store")
    other = busy(store, STEPS)
    for view in ("technical", "compliance"):
        one, two = (Audit(it.keeper.store, it.id, bare=True).table(view) for it in (run, other))
        assert one.as_html() == two.as_html()
        assert one.as_text() == two.as_text()
        assert run.id not in one.as_html()
    store.close()


@pytest.mark.parametrize("view", COLUMNS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "A.CSV"])
def test_an_export_is_verified_and_the_same_again(run: Run, tmp_path: Path, view: Any, name: str) -> None:
    """With its head; the file says which records it tells."""
    head = run.audit.export(tmp_path / name, view)
    assert verify_audit(tmp_path / name, head=head).sound
    assert run.audit.export(str(tmp_path / f"b{name}"), view) == head
    assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()
    assert run.audit.head in (tmp_path / name).read_text()


def test_in_a_replay_a_check_shows_the_same(run: Run, tmp_path: Path) -> None:
    """No head and no id; what is wrong is named by its record."""
    store = DiskStore(tmp_path / "store")
    other = busy(store)
    shown = [Audit(it.keeper.store, it.id, bare=True).verify().as_text() for it in (run, other)]
    assert shown[0] == shown[1]
    head = run.audit.export(tmp_path / "a.csv")
    assert "head that was given" in verify_audit(tmp_path / "a.csv", head=head).as_text()
    assert head not in verify_audit(tmp_path / "a.csv", head=head).as_text()
    store.close()


def test_a_view_that_there_is_not(run: Run, tmp_path: Path) -> None:
    """Is an error that names those that there are, and leaves no file."""
    with pytest.raises(ConfigError, match="technical and compliance"):
        run.audit.export(tmp_path / "a.csv", "raw")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_edited_record_is_named_and_stops_the_log(tmp_path: Path) -> None:
    """`verify` says which it is; the log itself is not told any more."""
    store = DiskStore(tmp_path / "store")
    one = busy(store)
    head = one.audit.head
    assert one.audit.verify(head=head).sound
    asked = next(r for r in one.events if r.event.kind == "approval_answered")
    [(key, text)] = store._rows("SELECT key, value FROM Cache WHERE value LIKE '%by phone%' AND key LIKE 'j/%'")
    store._rows("UPDATE Cache SET value = ? WHERE key = ?", (text.replace('"ada"', '"eve"'), key))
    found = Run(one.keeper, one.id).audit.verify(head=head)
    assert not found.sound
    assert [wrong.what for wrong in found.wrong] == ["changed"]
    first, _, last = found.wrong[0].where.removeprefix("records ").removeprefix("record ").partition("–")
    assert int(first) <= asked.seq <= int(last or first)
    assert "approval_answered" in found.wrong[0].said
    with pytest.raises(DamagedRecord):
        _ = Audit(store, one.id).deeds
    assert "✗" in repr(found)
    assert "✗" in found._repr_html_()
    store.close()


def test_a_head_that_the_run_never_had(run: Run) -> None:
    """Says that something was written anew, or that it is another run's."""
    assert [wrong.where for wrong in run.audit.verify(head="0" * 64).wrong] == ["head"]


@pytest.mark.parametrize("head", ["abc", " ", "0" * 63, "0" * 65, "g" * 64, "\u0660" * 64])
def test_a_head_that_is_none_is_an_error_and_no_verdict(run: Run, tmp_path: Path, head: str) -> None:
    """What was typed wrong says nothing about what was written."""
    run.audit.export(tmp_path / "a.csv")
    with pytest.raises(ConfigError, match="is no head: give all 64"):
        run.audit.verify(head=head)
    with pytest.raises(ConfigError, match="is no head: give all 64"):
        verify_audit(tmp_path / "a.csv", head=head)


def test_a_run_that_an_observer_is_told_of_is_verified_as_any_other(store: DiskStore) -> None:
    """Its store is the same, with somebody told of each commit."""
    run = busy(store, telemetry=Telemetry())
    assert run.audit.verify().sound


def test_what_cannot_be_verified(run: Run) -> None:
    """A run that is not there, and a store that is none on disk."""
    with pytest.raises(RunNotFound):
        Audit(run.keeper.store, "r9-heron").verify()
    with pytest.raises(ConfigError, match="only a store on this machine's disk"):
        Audit(MemoryStore(), "r1-test").verify()


def test_a_run_that_is_taken_away_leaves_no_anchor(tmp_path: Path) -> None:
    """They are rows of its own."""
    store = DiskStore(tmp_path / "store")
    one = steady(note, store=store).run("x", plan=[Step(tool="note", args={"text": "x"})])
    assert store.rows(f"h/{one.id}/")
    assert store.remove([one.id], [], store.newest())
    assert not store.rows(f"h/{one.id}/")
    store.close()


# --- typed in cells ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    with notebook_in(tmp_path, monkeypatch) as found:
        yield found


def adding(cells: Cells) -> Run:
    cells.names["m"] = ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer("3")])
    cells.cell("r --model m --tools add", "add")
    found: Run = cells.names["r"]
    return found


def test_the_line_shows_exports_and_verifies(cells: Cells) -> None:
    """The compliance view if none is named; a file is verified by its name."""
    one = adding(cells)
    assert "add was called, with a (a number) and b (a number)" in cells.line("audit r1")
    assert "text/html" in cells.bundles[0]
    assert "add(a=1, b=2)" in cells.line("audit r --view technical")
    said = cells.line("audit r1 --view technical --export log.csv")
    assert "%agent audit log.csv --verify --head" in said
    assert "✓ log.csv is what was written" in cells.line(re.search(r"%agent (audit .* --head \w+)", said)[1])  # type: ignore[index]
    assert f"✓ {one.id} is what was written" in cells.line("audit r1 --verify")
    assert one.audit.head in cells.text
    assert f"✓ {one.id}" in cells.line(f"audit r1 --head {one.audit.head}")
    log = Path("log.csv")
    log.write_text(log.read_text(encoding="utf-8-sig").replace("add", "sub", 1), encoding="utf-8-sig")
    assert "✗ row 3" in cells.line("audit log.csv")


def test_a_run_whose_beginning_was_taken_away_can_be_verified(cells: Cells) -> None:
    """Nothing else knows it any more."""
    one = adding(cells)
    one.keeper.store._rows("DELETE FROM Cache WHERE key LIKE 'j/%/0000000000'")  # type: ignore[attr-defined]
    assert "✗ records 0" in cells.line(f"audit {one.id} --verify") or "✗ record 0" in cells.text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("audit", "RUN is missing"),
        ("audit r9", "no run"),
        ("audit r1 --view raw", "'raw' is not one of technical, compliance"),
        ("audit r1 --verify --export x.csv", "leave out --view and --export"),
        ("audit r9 --verify", "no run"),
        ("audit r1 --export .", "is a folder"),
        ("audit log.csv", "there is no file 'log.csv'"),
        ("audit r1 --head abc", "'abc' is no head"),
        ('audit r1 --head ""', "'' is no head"),
    ],
)
def test_what_the_line_cannot_do(cells: Cells, line: str, why: str) -> None:
    """Is said in one line, with what to do in the other."""
    adding(cells)
    assert why in " ".join(cells.line_error(line))
