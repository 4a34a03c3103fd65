"""Canaries: a secret is planted in every input, and then looked for in every file, output, error, log and request."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentnb import Agent, Alert, Answer, ApprovalRequest, ScriptedModel, tool
from agentnb.alerts import Raised
from agentnb.approval import Request
from agentnb.bundle import export_run
from agentnb.cassette import Cassette, Recording
from agentnb.errors import AgentError, CassetteMiss, ConfigError, FailureClass, ModelError, ToolFailure
from agentnb.guards import GuardedCall, Ruling, ask
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.openai import OpenAIModel
from agentnb.redact import Redactor
from agentnb.render import as_html, as_text
from agentnb.run import Run
from agentnb.store.base import Store
from agentnb.tools import Tool
from tests.cells import Cells, notebook_in
from tests.loopback import failing, playing
from tests.parts import MemoryStore, add, answer, bind, plan, step, verdict

PLACES = (
    "task", "tag", "tag_name", "result", "deep", "key_name", "exception", "cause", "plan_title", "approach", "finding",
    "bound", "answer", "unknown", "reason", "notify", "approver", "guard", "env", "api", "provider", "tape", "model",
    "file", "title", "edit", "default",
)  # fmt: skip
CANARIES = {name: f"Canary-{name}-7f3a9c{len(name)}" for name in PLACES}
C = CANARIES


def leaks(text: str) -> list[str]:
    """The places whose canary stands in `text`, or enough of it to know it by."""
    return [name for name, value in CANARIES.items() if value in text or value[:-2] in text or value[1:] in text]


def leaks_below(folder: Path) -> list[str]:
    """The same of every file, SQLite's and its write-ahead log included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return sorted({f"{name} in {path.name}" for path in files for name in leaks(_read(path))})


def _read(path: Path) -> str:
    """What is in a file; nothing in one that SQLite has taken away meanwhile, whose content is in the database."""
    with suppress(FileNotFoundError):
        return path.read_bytes().decode("latin-1")
    return ""


def shown(run: Run) -> str:
    """All that can be seen of a run."""
    seen: list[Any] = [run, run.events, run.state, run.output, run.detail, run.plan, run.pending, run.keeper, vars(run)]
    seen += [run.keeper.redact, run.summary, as_text(run.summary), as_html(run.summary), run.diff(run)]
    return "\n".join(f"{item!r} {item!s}" for item in seen)


@tool(effect="read")
def leaky() -> list[Any]:
    """Find something."""
    deep = json.dumps({"a": [C["deep"]]})
    return [{"row": f"<{C['result']}>", C["key_name"]: 1}, deep] + [{"n": n} for n in range(100)]


@tool(effect="read")
def small() -> str:
    """Find something short."""
    return f"it is {C['result']}"


@tool(effect="read")
def failing_one() -> int:
    """Fail."""
    raise ToolFailure(f"{'x' * 480}{C['exception']}", FailureClass.INVALID_DATA) from ValueError(C["cause"])


def whoever_asks(call: GuardedCall) -> Ruling:
    """A guard that quotes what it knows."""
    return ask(f"{call.tool} because {C['guard']}")


@tool(effect="write", reversibility="full", guards=[whoever_asks])
def write_down(text: str) -> str:
    """Write something down.

    Args:
        text: it.
    """
    return f"written: {text} {C['result']}"


LINES = [
    plan(step("leaky", C["plan_title"]), step("small"), step("write_down", text="$? something")),
    verdict(finding=f"found {C['finding']}"),
    verdict(finding="short"),
    bind(text=f"say {C['bound']}"),
    ("answer", {"answer": f"It is {C['answer']}.", "unknowns": [C["unknown"]], "confidence": "high"}),
]


def approver(request: Request) -> Answer:
    assert leaks(repr(request)) == []
    return Answer("approve", "ada", f"since {C['reason']}")


def notify(request: ApprovalRequest) -> None:
    raise RuntimeError(f"{request.step} {C['notify']}") from ValueError(C["notify"])


def agent(store: Path | Store, model: Any, **more: Any) -> Agent:
    options: dict[str, Any] = {"tools": [leaky, small, failing_one, write_down], "approver": approver, "notify": notify}
    return Agent(model, store=store, secrets=CANARIES, **{**options, **more})


@pytest.mark.parametrize("mode", ["live", "record"])
def test_no_input_reaches_any_file_output_log_or_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: Any
) -> None:
    """Task, tags, results, findings, arguments, answers, reasons: in store, cache, cassette and exported run."""
    model = ScriptedModel(LINES, ref="fake:model")
    tape = tmp_path / "tape.jsonl" if mode == "record" else None
    it = agent(tmp_path / "store", model, mode=mode, cassette=tape)
    tags = {"a": C["tag"], C["tag_name"]: "b"}
    with caplog.at_level(logging.DEBUG):
        run = it.run(f"Use {C['task']} for {json.dumps(C['task'])}", tags=tags)
    assert "It is [redacted:answer]." in run.output
    found: Any = run.result("s1")
    assert found[0] == {"row": "<[redacted:result]>", "[redacted:key_name]": 1}
    export_run(it.store, run.id, tmp_path / "run.jsonl")
    assert leaks_below(tmp_path) == []
    assert leaks(shown(run)) == []
    assert "notify= failed" in caplog.text
    assert leaks(caplog.text) == []
    assert leaks(repr(model.requests)) == []
    assert "[redacted:task]" in repr(model.requests)


def test_a_second_run_is_answered_by_the_cache_and_a_third_by_the_cassette(tmp_path: Path) -> None:
    """A redacted prompt has the same key each time, whatever the values are there."""
    agent(tmp_path / "s", ScriptedModel(LINES, ref="fake:model")).run(f"Use {C['task']}")
    cached = agent(tmp_path / "s", ScriptedModel([], ref="fake:model")).run(f"Use {C['task']}")
    assert cached.output == "It is [redacted:answer]."
    tape = tmp_path / "tape.jsonl"
    agent(tmp_path / "s", ScriptedModel(LINES, ref="fake:m"), mode="record", cassette=tape).run(f"Use {C['task']}")
    elsewhere = Agent(
        ScriptedModel([], ref="fake:m"), tools=[leaky, small, failing_one, write_down], approver=approver,
        mode="replay", store=tmp_path / "t", cassette=tape, secrets={**CANARIES, "task": "quite-another-value-8"},
    )  # fmt: skip
    assert elsewhere.run("Use quite-another-value-8").output == "It is [redacted:answer]."


def test_what_an_exception_says_is_clean_also_where_it_is_cut(tmp_path: Path) -> None:
    """Messages are cut at 500 characters, and this one in the middle of a secret."""
    run = agent(tmp_path / "s", ScriptedModel([answer("No.")])).run("x", plan=[{"tool": "failing_one", "args": {}}])
    failed = next(record.event for record in run.events if record.event.kind == "tool_returned")
    assert failed.message.startswith("xxxx")
    assert "Canary" not in repr(run.events)
    assert "[redacted" in failed.message
    assert leaks_below(tmp_path) == []


def test_a_run_that_is_helped_keeps_secrets_as_well(tmp_path: Path) -> None:
    """What a person says, and what tools and models say after it, on the log that `retry` opens."""
    bad = ("plan", "no JSON at all")
    it = agent(tmp_path / "s", ScriptedModel([bad] * 4)).run(f"Use {C['task']}")
    assert it.stop_reason == "malformed_output"
    model = ScriptedModel([plan(step("small")), verdict(finding=C["finding"]), answer(C["answer"])])
    helped = agent(tmp_path / "s", model).retry(it.id, f"the key is {C['reason']}", by="ada")
    assert helped.output == "[redacted:answer]"
    assert leaks(shown(helped)) == []
    assert leaks(repr(model.requests)) == []
    assert leaks_below(tmp_path) == []


def test_what_an_alert_says_is_clean_also_where_it_is_cut(tmp_path: Path) -> None:
    """A message of its callback, cut in the middle of a secret."""

    def tell(_: Raised) -> None:
        raise ValueError(f"{'x' * 474}{C['notify']}")

    run = agent(tmp_path / "s", ScriptedModel([answer("No.")]), alerts=[Alert(tokens=1, callback=tell)]).run(
        "x", plan=[]
    )
    failed = next(record.event for record in run.events if record.event.kind == "alert_failed")
    assert failed.message.startswith("ValueError: xxxx")
    assert "Canary" not in repr(run.events)


def test_an_address_with_a_key_in_it_is_recorded_without(tmp_path: Path) -> None:
    """Some gateways take the key as a part of the path."""
    tape = tmp_path / "tape.jsonl"
    request = ModelRequest("openai:x", "plan", "a", "b", endpoint=f"https://gateway.test/{C['api']}/v1")
    model = ScriptedModel([("plan", "{}")], ref="openai:x")
    Recording(model, Cassette(tape), lambda: Redactor(CANARIES)).ask(request)
    assert leaks(tape.read_text(encoding="utf-8")) == []


class Broken:
    """A model that raises what no model should."""

    ref = "fake:broken"

    def ask(self, request: ModelRequest) -> ModelReply:
        raise RuntimeError(f"model: {C['model']}, {request.phase}") from ValueError(C["cause"])


def test_what_ends_a_run_tells_nothing(tmp_path: Path) -> None:
    """An exception of a model of the user's own, with what it came from, as a traceback shows it."""
    with pytest.raises(AgentError) as caught:
        agent(tmp_path / "s", Broken()).run("x")
    assert "RuntimeError: model: [redacted:model]" in str(caught.value)
    text = "".join(traceback.format_exception(caught.value))
    assert leaks(text) == []
    assert caught.value.__context__ is None
    assert leaks_below(tmp_path) == []


@pytest.mark.parametrize("kind", [OpenAIModel, AnthropicModel])
def test_keys_and_what_a_provider_says_reach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., Any]
) -> None:
    """api_key= and a password in base_url=, quoted back in an error's body; keys of the environment, in a task."""
    monkeypatch.setenv("CANARY_API_KEY", C["env"])
    error = {"type": "invalid_request_error", "message": f"bad key {C['api']}, see {C['provider']} and {C['env']}"}
    with playing(failing(401, error)) as server:
        address = server.url.replace("//", f"//joe:{C['api']}@")
        model = kind("x-test", api_key=C["api"], base_url=address)
        it = Agent(model, store=tmp_path / "s", secrets={"provider": C["provider"]})
        run = it.run(f"Use {C['env']} and {C['api']}")
    assert "HTTP 401" in run.detail
    assert "[redacted:CANARY_API_KEY]" in run.state.head.task
    assert leaks(shown(run)) == []
    assert leaks(repr(model)) == []
    assert leaks(repr(it)) == []
    assert leaks_below(tmp_path) == []
    assert leaks(json.dumps([sent.body for sent in server.requests])) == []


def test_a_cassette_that_holds_a_secret_gives_it_to_nobody(tmp_path: Path) -> None:
    """It was recorded where nobody knew of it: what is replayed is clean, and so is what is said of a miss."""
    tape = tmp_path / "tapes" / "tape.jsonl"
    tape.parent.mkdir()
    lines = [plan(step("add", f"t {C['tape']}", a=1, b=2)), verdict(finding=C["tape"]), answer(C["tape"])]
    Agent(ScriptedModel(lines), tools=[add], store=tmp_path / "u", mode="record", cassette=tape).run("x")
    assert leaks(tape.read_text(encoding="utf-8")) == ["tape"]
    options: dict[str, Any] = {"tools": [add], "mode": "replay", "cassette": tape}
    run = agent(tmp_path / "s", ScriptedModel([]), **options)
    with pytest.raises(CassetteMiss) as caught:  # the finding is a part of the next prompt
        run.run("x")
    assert leaks("".join(traceback.format_exception(caught.value))) == []
    assert leaks_below(tmp_path / "s") == []


def test_secrets_are_given_by_name() -> None:
    """A list of them is refused, and not shown."""
    with pytest.raises(ConfigError, match="secrets= is no mapping: give texts by name") as caught:
        Agent(ScriptedModel([]), secrets=[C["task"]])  # type: ignore[arg-type]  # the mistake
    assert leaks(str(caught.value)) == []


def test_an_argument_is_never_a_secret(tmp_path: Path) -> None:
    """In a plan of one's own, as a default, from a model that saw what stands for one, or in a person's edit."""
    mine = [{"tool": "write_down", "args": {"text": C["edit"]}}]
    with pytest.raises(ConfigError, match="the plan holds the secret edit: let the tool read it itself"):
        agent(tmp_path / "s", ScriptedModel([])).run("x", plan=mine)
    model = ScriptedModel([plan(step("write_down", text="[redacted:task]"))] * 4 + [answer("No.")])
    run = agent(tmp_path / "s", model).run("x")
    refused = next(record.event for record in run.events if record.event.kind == "tool_refused")
    assert "holds [redacted:task], which is never passed on: let the function read it itself" in refused.problems[0]
    waiting = agent(tmp_path / "s", ScriptedModel([]), approver=lambda _: None, notify=None)
    asked = waiting.run("x", plan=[{"tool": "write_down", "args": {"text": "fine"}}])
    with pytest.raises(ConfigError, match="holds the secret edit") as caught:
        asked.edit({"text": f"with {C['edit']}"})
    assert leaks(str(caught.value)) == []
    edit = Answer("edit", "ada", args={"text": "x" * 70 + C["edit"], "more": C["edit"]})
    by_code = agent(tmp_path / "s", ScriptedModel([answer("No.")]), approver=lambda _: edit, notify=None)
    told = by_code.run("x", plan=[{"tool": "write_down", "args": {"text": "fine"}}])
    assert "the edited arguments cannot be used: an argument holds the secret edit" in repr(told.events)
    assert leaks_below(tmp_path) == []


def test_a_tool_that_tells_a_secret_of_itself_is_refused() -> None:
    """Its signature is told to models."""

    def connect(token: str = C["default"]) -> int:
        """Connect.

        Args:
            token: the key.
        """
        return len(token)

    made = tool(effect="read")(connect)
    assert isinstance(made, Tool)
    with pytest.raises(ConfigError, match="the tool connect has the secret default in its signature") as caught:
        agent(MemoryStore(), ScriptedModel([]), tools=[made]).run("x")
    assert leaks(str(caught.value)) == []


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    monkeypatch.setenv("CANARY_API_KEY", C["env"])
    with notebook_in(tmp_path, monkeypatch) as opened:
        yield opened


def outputs(cells: Cells) -> str:
    """What the last cell or line showed, in every form."""
    return json.dumps(cells.bundles, ensure_ascii=False)


def test_a_notebook_shows_none(cells: Cells, tmp_path: Path) -> None:
    """Cells with values put in, lines that show a run, the doctor, file names, and both lines of an error."""
    names = {name: value for name, value in CANARIES.items() if name != "env"}
    cells.names.update(names, leaky=leaky, small=small, write_down=write_down, failing_one=failing_one)
    cells.names["m"] = ScriptedModel(LINES, ref="fake:m")
    cells.names["yes"] = approver
    cells.set(f"secrets = '{','.join(names)}'")
    flags = "--tools leaky,small,write_down,failing_one --approver yes --cassette tape.jsonl --record"
    cells.cell(f"r --model m {flags} --tag 'a={C['tag']}'", f"Use {{task}}, {C['env']}")
    seen = [outputs(cells)]
    assert "[redacted:answer]" in seen[0]
    for line in (
        "runs", "show r1", "replay r1", "pending", "diff r1 r1", "doctor", "doctor --store", "gc", "tools",
        f"export r1 {C['file']}.jsonl", "cassette tape.jsonl", "cassette verify tape.jsonl",
        "cassette prune tape.jsonl",
    ):  # fmt: skip
        cells.line(line)
        seen.append(outputs(cells))
    for line in (f"show {C['file']}", f"cassette {C['file']}", "edit r1 text={edit}"):
        seen += cells.line_error(line)
    seen += cells.error(f"r --model {C['model']}")
    seen += cells.error("r --model m --params nothere", C["title"])
    assert [name for text in seen for name in leaks(text)] == []
    assert "CANARY_API_KEY" in "".join(seen)
    assert f"{C['file']}.jsonl" in {path.name for path in tmp_path.iterdir()}  # as its user named it
    (tmp_path / f"{C['file']}.jsonl").rename(tmp_path / "exported")
    assert leaks_below(tmp_path) == []


def test_secrets_are_named_by_their_variables(cells: Cells) -> None:
    """On the cell's line too, added to those that are set; one that is not there, or is too short, is an error."""
    cells.names.update(m=ScriptedModel([answer("x")] * 9), pin="123", crm=C["task"])
    assert "there is no such variable" in cells.error("r --model m --secrets nothere")[1]
    what, todo = cells.error("r --model m --secrets pin")
    assert "the secret pin has 3 characters" in what + todo
    cells.names["m"] = ScriptedModel([plan(step("add", a=1, b=2)), verdict(), answer(f"It is {C['task']}.")])
    cells.cell("r --model m --tools add --secrets crm", "Add.")
    assert cells.names["r"].output == "It is [redacted:crm]."


def test_an_error_of_a_provider_is_an_error_that_can_be_raised(tmp_path: Path) -> None:
    """A ModelError keeps its class and its advice."""
    model = ScriptedModel([ModelError(f"down {C['provider']}", FailureClass.PERMISSION)])
    run = agent(tmp_path / "s", model).run("x")
    assert run.detail == "down [redacted:provider]"
    assert leaks_below(tmp_path) == []
