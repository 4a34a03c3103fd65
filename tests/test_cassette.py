"""Cassettes: what was recorded is replayed to the byte, and a file that is not what it says is never used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, ScriptedModel
from agentnb.budget import Usage
from agentnb.cassette import Cassette, Recording, Replaying
from agentnb.errors import CassetteError, CassetteMiss, FailureClass, ModelError
from agentnb.events import Event, Record, RunStarted, ToolClaimed
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.openai import OpenAIModel
from agentnb.render import as_text
from agentnb.splice import prune
from agentnb.tape import Tape, short
from tests.conftest import FakeClock
from tests.parts import MemoryStore, add, answer, bind, plan, step, table, verdict

SCHEMA = {"type": "object", "properties": {"größe": {"type": "string"}}, "required": ["größe"]}
REQUEST = ModelRequest("local:x", "plan", "the rules", "What is it?", SCHEMA)
REPLY = ModelReply('{"größe": "1\u2028 2"}', Usage(10, 5, 3, 2), "end", "x-1.0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tape.jsonl"


def recorded(path: Path, *pairs: tuple[ModelRequest, ModelReply]) -> Cassette:
    """A cassette with these calls, written."""
    cassette = Cassette(path)
    for request, reply in pairs or [(REQUEST, REPLY)]:
        cassette.add(request, reply)
    return cassette


def test_what_was_recorded_is_what_is_replayed(path: Path) -> None:
    """Text, tokens, stop and the provider's name of the model, and the seconds that it counts for."""
    recorded(path)
    assert Cassette(path).reply(REQUEST) == replace(REPLY, seconds=0.105)
    assert (len(Cassette(path)), Cassette(path).models) == (1, ["local:x"])


TEXTS = st.text() | st.text(alphabet="\u2028\u2029\x85\x0b\x0c\x1c\r\n\0 a")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(TEXTS, TEXTS, TEXTS, st.none() | st.dictionaries(TEXTS, TEXTS, max_size=2)), min_size=1, max_size=4
    )
)
def test_any_texts_are_recorded_replayed_and_saved_to_the_same_bytes(tmp_path: Path, calls: list[Any]) -> None:
    """Line separators of every kind in prompts, schemas and replies; loading and saving changes no byte."""
    path = tmp_path / "any.jsonl"
    path.unlink(missing_ok=True)
    pairs = [
        (ModelRequest("m", "answer", system, prompt, schema), ModelReply(text, Usage(1, 1)))
        for system, prompt, text, schema in calls
    ]
    recorded(path, *pairs)
    before = path.read_bytes()
    again = Cassette(path)
    replies: dict[str, list[str]] = {}
    for request, reply in pairs:
        replies.setdefault(request.key(), []).append(reply.text)
        assert again.reply(request).text == replies[request.key()][-1]
    again.save()
    assert path.read_bytes() == before


def test_each_text_is_there_once_and_the_file_can_be_reviewed(path: Path) -> None:
    """Two calls with one system text: one line for it, in plain letters."""
    recorded(path, (REQUEST, REPLY), (replace(REQUEST, prompt="And now?"), REPLY))
    text = path.read_text(encoding="utf-8")
    assert text.count("the rules") == 1
    assert text.count("größe") == 4
    assert text.count("What is it?") == 1
    first, *_, last = text.splitlines()
    assert first == '{"agentnb_cassette": 2}'
    assert last.startswith('{"end": {"calls": 2, "sum": "')


def test_a_request_asked_again_gets_the_next_answer_and_the_last_one_for_ever(path: Path) -> None:
    """In the order in which they were recorded, per request."""
    other = replace(REQUEST, prompt="else")
    texts = ["a", "b", "c"]
    recorded(path, *[(request, replace(REPLY, text=text)) for text in texts for request in (REQUEST, other)])
    cassette = Cassette(path)
    assert [cassette.reply(REQUEST).text for _ in range(5)] == ["a", "b", "c", "c", "c"]
    assert cassette.reply(other).text == "a"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "What is that?"}, "at character 8, where 'What is it?' was recorded and 'What is that?' is asked"),
        ({"system": "the new rules"}, "system at character 4, where 'the rules' was recorded"),
        ({"model": "local:y"}, "model at character 6, where 'local:x' was recorded and 'local:y' is asked"),
        ({"max_output_tokens": 1000}, "tokens at character 2, where '1024' was recorded and '1000' is asked"),
        ({"temperature": None}, "temperature at character 0, where '0.0' was recorded and 'None' is asked"),
        ({"schema": None}, "schema at character 0"),
        ({"prompt": "What is it: no"}, "where 'What is it?' was recorded and 'What is it:\u00a0no' is asked"),
        ({"prompt": "What is it? More"}, "prompt at character 11, where 'What is it?' was recorded"),
    ],
)
def test_a_request_that_was_never_asked_says_where_it_differs_from_the_nearest(
    path: Path, change: dict[str, Any], said: str
) -> None:
    """And how to record it."""
    far = replace(REQUEST, prompt="something quite different", model="other", system="else")
    recorded(path, (far, REPLY), (REQUEST, REPLY))
    with pytest.raises(CassetteMiss) as caught:
        Cassette(path).reply(replace(REQUEST, **change))
    assert said in str(caught.value)
    assert "AGENTNB_MODE=record" in str(caught.value)


def test_a_phase_that_was_never_asked_says_so(path: Path) -> None:
    """Nothing is near a plan in a cassette of plans only where an answer is asked; an empty one has nothing at all."""
    recorded(path)
    with pytest.raises(
        CassetteMiss, match="no reply to this answer request of local:x, and none to any answer request"
    ):
        Cassette(path).reply(replace(REQUEST, phase="answer"))
    with pytest.raises(CassetteMiss, match="none to any plan request"):
        Cassette(path.with_name("none.jsonl")).reply(REQUEST)


def test_what_does_not_decide_the_answer_is_no_part_of_the_key(path: Path) -> None:
    """A timeout, and the order of a schema's keys, find the same reply."""
    recorded(path)
    turned = dict(reversed(SCHEMA.items()))
    assert Cassette(path).reply(replace(REQUEST, timeout_s=1, schema=turned)).text == REPLY.text


CONTEXT = replace(REQUEST, context=("the plan", "the memory of it"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (replace(CONTEXT, context=("the plan", "the memory of that")), "differs in context[1] at character 14, where "),
        (replace(CONTEXT, context=("the plan",)), "was recorded with context[1], 'the memory of it'"),
        (replace(CONTEXT, context=(*CONTEXT.context, "more")), "was recorded without context[2], 'more'"),
        (replace(CONTEXT, context=()), "was recorded with context[0], 'the plan' (and in context[1])"),
        (replace(CONTEXT, context=("a plan", "the memory of it"), prompt="What?"), "(and in prompt)"),
    ],
)
def test_a_miss_says_which_part_of_the_context_differs(path: Path, asked: ModelRequest, said: str) -> None:
    """Each part by its place, and how many other parts differ; the request that is named is in the file."""
    far = replace(CONTEXT, context=("something else", "altogether"), prompt="another")
    recorded(path, (far, REPLY), (CONTEXT, REPLY))
    with pytest.raises(CassetteMiss) as caught:
        Cassette(path).reply(asked)
    assert said in str(caught.value)
    assert f"the nearest recorded one, {CONTEXT.key()[:16]}, " in str(caught.value)
    assert CONTEXT.key()[:16] in path.read_text(encoding="utf-8")


def edited(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def lines(edit: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "\n".join(edit(text.removesuffix("\n").split("\n"))) + "\n"


def call_with(**change: Any) -> Callable[[str], str]:
    def edit(rows: list[str]) -> list[str]:
        call = json.loads(rows[4])
        call["call"].update(change)
        return [*rows[:4], json.dumps(call), *rows[5:]]

    return lines(edit)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edited("What is it?", "What was it?"), ": a text does not have the hash that it is kept under: it was edited"),
        (edited("the rules", "the rulez"), ": a text does not have the hash that it is kept under: it was edited"),
        (edited("1\u2028 2", "1\u2028 3"), "line 5: a call does not have the checksum that it was written with"),
        (edited('"input_tokens": 10', '"input_tokens": 11'), "line 5: a call does not have the checksum"),
        (edited('"agentnb_cassette": 2', '"agentnb_cassette": 3'), "line 1: not a cassette of format 2 or older"),
        (edited('{"agentnb_cassette": 2}\n', ""), "line 1: not a cassette of format 2 or older"),
        (lambda text: "x" + text, "line 1: no JSON from its character 1 on"),
        (lambda text: "<<<<<<< HEAD\n" + text, "line 1"),
        (lambda text: text[:-20] + "\n", "line 6: "),
        (lambda text: text + "\n", "line 7: no JSON from its character 1 on"),
        (lambda text: text + "[]\n", "line 7: something comes after the end"),
        (lines(lambda rows: rows[:-1]), "line 5: the line that ends a cassette does not come: it was cut off"),
        (lines(lambda rows: [*rows[:4], rows[5]]), "line 5: 1 calls were written, and 0 are there"),
        (lines(lambda rows: [*rows[:5], rows[4], rows[5]]), "line 7: 1 calls were written, and 2 are there"),
        (
            lines(lambda rows: [rows[0], rows[2], rows[1], *rows[3:]]),
            "line 6: the lines are not those that were written",
        ),
        (edited('"call": {', '"call":  {'), "line 6: the lines are not those that were written"),
        (lambda text: text.replace('{"end"', '[]\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', '3\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', '"text"\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', 'null\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', '{"text": "a", "is": 5}\n{"end"'), "line 6: neither a text nor a call"),
        (
            lambda text: text.replace('{"end"', '{"text": ["a"], "is": "x"}\n{"end"'),
            "line 6: neither a text nor a call",
        ),
        (lambda text: text.replace('{"end"', '{"call": []}\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', '{"call": {}, "more": 1}\n{"end"'), "line 6: neither a text nor a call"),
        (lambda text: text.replace('{"end"', '{"call": {}}\n{"end"'), "line 6: a call's phase: Field required"),
        (lambda text: text.replace('{"end"', "[" * 200_000 + '\n{"end"'), "line 6: "),
        (lambda text: text.replace('{"end"', '{"a":' * 100_000 + '\n{"end"'), "line 6: "),
        (lambda text: text.replace('{"end"', "9" * 5000 + '\n{"end"'), "line 6: "),
        (
            lines(lambda rows: [rows[0], rows[4], *rows[1:4], rows[5]]),
            "line 2: a call refers to a text that no earlier line holds: ",
        ),
        (
            lines(lambda rows: [rows[0], rows[1], *rows[3:]]),
            "line 4: a call refers to a text that no earlier line holds: ",
        ),
        (call_with(phase="think"), "line 5: a call's phase: Input should be 'plan', 'bind', 'critique', "),
        (call_with(phase="answer"), "line 5: a call does not have the key that it is kept under: it was edited"),
        (call_with(max_output_tokens="1024"), "line 5: a call's max_output_tokens: Input should be a valid integer"),
        (call_with(key=5), "line 5: a call's key: Input should be a valid string"),
        (call_with(prompt="\ud800"), "line 5: "),
        (call_with(reply={"text": "x"}), "line 5: a call's reply.input_tokens: Field required"),
        (call_with(extra=1), "line 5: a call's extra: Extra inputs are not permitted"),
        (
            call_with(schema="0123456789abcdef"),
            "line 5: a call refers to a text that no earlier line holds: 0123456789abcdef",
        ),
    ],
)
def test_a_damaged_cassette_is_an_error_with_its_line(path: Path, damage: Callable[[str], str], said: str) -> None:
    """Edited, cut off, merged, reordered, of wrong types or endless nesting: CassetteError, one line, what to do."""
    recorded(path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CassetteError) as caught:
        Cassette(path)
    assert said in str(caught.value)
    assert "Restore the file, or record it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_changes_no_key(path: Path, data: st.DataObject) -> None:
    """Random bytes over a cassette: it does not load, or whatever it replays stands under its own request's key."""
    if not path.exists():
        recorded(path)
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good)))
    junk = data.draw(st.binary(max_size=6))
    bad = path.with_name("bad.jsonl")
    bad.write_bytes(good[:at] + junk + good[at + data.draw(st.integers(0, 6)) :])
    try:
        cassette = Cassette(bad)
    except CassetteError:
        return
    for key, calls in cassette._tape.calls.items():
        assert all(cassette._tape.request_of(call).key().startswith(key) for call in calls)
        assert all(call.sum == call.checksum for call in calls)


def test_line_ends_of_windows_change_nothing(path: Path) -> None:
    """Git may check a file out with CRLF."""
    recorded(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Cassette(path).reply(REQUEST).text == REPLY.text


def test_files_that_are_none(tmp_path: Path) -> None:
    """Too large, not UTF-8 or a folder: CassetteError and not an error of the system."""
    huge = tmp_path / "huge.jsonl"
    with huge.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(CassetteError, match="has 67,108,865 bytes; a cassette has at most 67,108,864"):
        Cassette(huge)
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b"\xff\xfe")
    for path in (latin, tmp_path):
        with pytest.raises(CassetteError, match="cannot be read"):
            Cassette(path)


def test_a_cassette_that_cannot_be_written_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder that is missing is a CassetteError with the path; so is a folder in the file's place."""
    with pytest.raises(CassetteError, match=r"nowhere.tape\.jsonl cannot be written: No such file or directory"):
        recorded(tmp_path / "nowhere" / "tape.jsonl")
    cassette = Cassette(tmp_path / "tape.jsonl")
    (tmp_path / "tape.jsonl").mkdir()
    with pytest.raises(CassetteError, match="cannot be read"):  # first what others wrote is taken in
        cassette.add(REQUEST, REPLY)
    assert [p.name for p in tmp_path.iterdir()] == ["tape.jsonl"]


def test_half_a_surrogate_pair_in_a_reply_is_recorded_as_a_question_mark(path: Path) -> None:
    """What the run sees and what is replayed are the same."""
    model = ScriptedModel(["half \ud83d"])
    live = Recording(model, Cassette(path)).ask(REQUEST)
    assert live.text == Replaying(ScriptedModel([], ref="x"), Cassette(path)).ask(REQUEST).text == "half ?"


def test_a_failed_call_is_not_recorded(path: Path) -> None:
    """The error goes through, and the cassette has no call."""
    model = ScriptedModel([ModelError("down", FailureClass.TRANSIENT)])
    with pytest.raises(ModelError, match="down"):
        Recording(model, Cassette(path)).ask(REQUEST)
    assert not path.exists()


LINES = [
    plan(step("table", rows=40), step("add", a="$s1[3].n", b="$? ten")),
    verdict(finding="a table"),
    bind(b="many"),
    bind(b=10),
    verdict(finding="13\u2028"),
    answer("It is **13**."),
]


def greedy() -> Callable[[ModelRequest], ModelReply]:
    """A model that answers by phase, and uses as many tokens as it may."""
    left = list(LINES)

    def reply(request: ModelRequest) -> ModelReply:
        line = next(line for line in left if line[0] == request.phase)
        if request.phase != "plan":  # which is asked for again where it costs more than there is
            left.remove(line)
        return ModelReply(json.dumps(line[1]), Usage(len(request.prompt) // 2, request.max_output_tokens))

    return reply


def told(record: Record) -> Event:
    """The event, without what tells one run from all others."""
    event = record.event
    if isinstance(event, ToolClaimed):
        return replace(event, key=event.key.partition("/")[2])
    return replace(event, uid="") if isinstance(event, RunStarted) else event


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(), "complete"),
        (Budget(tokens=14_000), "tokens"),
        (Budget(tokens=11_500), "tokens"),
        (Budget(output_tokens=2_600), "output_tokens"),
        (Budget(model_calls=3), "model_calls"),
        (Budget(steps=1), "steps"),
        (Budget(tool_calls=1), "tool_calls"),
    ],
)
def test_a_replayed_run_is_the_recorded_run_whatever_limit_it_reaches(path: Path, budget: Budget, reason: str) -> None:
    """The same events with the same numbers, stopping at the same limit in the same place, and shown the same."""
    clock = FakeClock().clock()
    options: dict[str, Any] = {"tools": [add, table], "cassette": path, "budget": budget, "clock": clock}
    given = LINES[0][1]["steps"] if reason in ("model_calls", "steps", "tool_calls") else None  # else it is not taken
    live = Agent(ScriptedModel([greedy()] * 9), store=MemoryStore(), mode="record", **options).run("Add", plan=given)
    again = Agent(ScriptedModel([]), store=MemoryStore(), mode="replay", **options).run("Add", plan=given)
    assert live.stop_reason == reason
    assert [told(r) for r in again.events] == [told(r) for r in live.events]
    assert (again.status, again.spent, again.state._replace(started=None)) == (
        live.status,
        live.spent,
        live.state._replace(started=None),
    )
    assert as_text(again.summary) == as_text(replace(live.summary, bare=True))


THOUGHT = [plan(step("add", a=1, b=2)), verdict(), answer("3")]


@dataclass(frozen=True)
class Thinking(OpenAIModel):
    """A model that thinks, on a server of one's own, at a price of one's own."""

    script: ScriptedModel = field(default_factory=lambda: ScriptedModel(THOUGHT))

    def price(self, usage: Usage) -> float:
        return usage.output_tokens / 1e6

    def ask(self, request: ModelRequest) -> ModelReply:
        return self.script.ask(request)


@pytest.mark.parametrize("there", ["", "http://127.0.0.1:1/v1"])
def test_a_model_that_thinks_or_is_elsewhere_is_replayed_too(path: Path, there: str) -> None:
    """What is asked for depends on the model: so it does where the model is replayed, and so does what is charged."""
    model = Thinking("gpt-5.1", api_key="k" * 12, base_url=there or None)
    options: dict[str, Any] = {"tools": [add], "cassette": path, "budget": Budget(usd=1.0)}
    live = Agent(model, store=MemoryStore(), mode="record", **options).run("Add them")
    again = Agent(model, store=MemoryStore(), mode="replay", **options).run("Add them")
    assert model.thinking_tokens > 0
    assert (again.status, again.spent.usd) == (live.status, live.spent.usd)
    assert again.output == live.output == "3"


def test_recording_again_replaces_what_was_said_before(path: Path) -> None:
    """A new take of a request puts its replies in place of the old ones, in order; other requests keep theirs."""
    other = replace(REQUEST, prompt="else")
    recorded(path, (REQUEST, REPLY), (REQUEST, REPLY), (other, REPLY))
    again = Cassette(path)
    again.add(REQUEST, replace(REPLY, text="second"))
    again.add(REQUEST, replace(REPLY, text="third"))
    read = Cassette(path)
    assert [read.reply(REQUEST).text for _ in range(3)] == ["second", "third", "third"]
    assert (len(read), read.reply(other).text) == (3, REPLY.text)


def test_two_recorders_of_one_file_keep_each_others_calls(path: Path) -> None:
    """Whoever writes last does not forget what the other has written."""
    one, two = Cassette(path), Cassette(path)
    for n in range(3):
        one.add(replace(REQUEST, prompt=f"one {n}"), REPLY)
        two.add(replace(REQUEST, prompt=f"two {n}", system="other rules"), REPLY)
    assert len(Cassette(path)) == 6


RECORDER = """
import sys
from pathlib import Path
from tests.test_cassette import REPLY, REQUEST, Cassette, replace
cassette = Cassette(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    cassette.add(replace(REQUEST, prompt=f"{sys.argv[2]} {n}"), REPLY)
"""


def test_two_processes_that_record_into_one_file_keep_each_others_calls(path: Path) -> None:
    """At the same moment too: none is lost that was paid for."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RECORDER, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for child in started:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in started:
        child.communicate("go\n")
    assert [child.returncode for child in started] == [0, 0]
    assert len(Cassette(path)) == 40
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_was_taken_out_of_the_file_does_not_come_back(path: Path) -> None:
    """A recorder that has read it before goes by what it holds now."""
    recorded(path, (REQUEST, REPLY), (replace(REQUEST, prompt="else"), REPLY))
    cassette = Cassette(path)
    prune(path, {short(REQUEST.key())}, write_it=True)
    cassette.add(replace(REQUEST, prompt="new"), REPLY)
    held = Cassette(path)
    asked = [replace(REQUEST, prompt=prompt) in held for prompt in (REQUEST.prompt, "new", "else")]
    assert asked == [True, True, False]


def test_texts_that_no_call_uses_are_left_out(path: Path) -> None:
    """A request that is recorded anew, with other rules, takes its old rules along only while a call needs them."""
    cassette = recorded(path)
    cassette._tape.calls.clear()
    cassette.path.unlink()
    cassette.add(replace(REQUEST, system="other rules"), REPLY)
    assert "the rules" not in path.read_text(encoding="utf-8")


def test_two_recordings_with_the_same_replies_are_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in which they were asked, how long the model took, and what the file held before."""
    asked = [replace(REQUEST, prompt=f"number {n}", phase=phase) for n in range(8) for phase in ("plan", "answer")]
    pairs = [(request, replace(REPLY, text=request.prompt)) for request in asked]
    recorded(tmp_path / "a", *pairs)
    recorded(tmp_path / "b", *pairs[::-1])
    recorded(tmp_path / "c", *pairs[:5])
    recorded(tmp_path / "c", *pairs[3:])
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda pair: recorded(tmp_path / "d", pair), pairs))
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


def test_two_runs_of_an_agent_record_the_same_file(tmp_path: Path) -> None:
    """From the agent down: with the real clock, in stores of their own."""
    for name in "ab":
        options: dict[str, Any] = {"tools": [add, table], "store": MemoryStore(), "cassette": tmp_path / name}
        Agent(ScriptedModel([greedy()] * 9), mode="record", **options).run("Add them")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def format_1(path: Path) -> None:
    """REQUEST and REPLY as the first format had them."""
    tape = Tape()
    call = tape.call_of(REQUEST, REPLY)
    said = call.line["call"]
    said["schema_"], said["key"], said["prompt"] = said.pop("schema"), REQUEST.key(), REQUEST.prompt
    del said["sum"]
    said["reply"]["seconds"] = 1.235
    texts = [{"text": name, "is": text} for name, text in tape.texts.items() if text != REQUEST.prompt]
    rows = [{"agentnb_cassette": 1}, *texts, {"call": said}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_a_file_of_the_first_format_is_read_and_written_anew(path: Path) -> None:
    """Its prompts stood in the calls, and a time that was measured; saved, it is what is recorded today."""
    format_1(path)
    held = Cassette(path)
    assert held.reply(REQUEST) == replace(REPLY, seconds=0.105)
    held.save()
    before = path.read_bytes()
    path.unlink()
    recorded(path)
    assert path.read_bytes() == before


def test_a_file_of_the_first_format_is_checked_too(path: Path) -> None:
    """By the key of the request, which holds its prompt."""
    format_1(path)
    path.write_text(path.read_text(encoding="utf-8").replace("What is it?", "What was it?"), encoding="utf-8")
    with pytest.raises(CassetteError, match="line 4: a call does not have the key that it is kept under"):
        Cassette(path)


def test_only_what_is_new_is_asked_and_recorded(path: Path) -> None:
    """What the cassette has is replayed, to the letter, and the model is not asked for it."""
    recorded(path)
    other = replace(REQUEST, prompt="And that?")
    model = ScriptedModel([replace(REPLY, text="new")])
    tape = Recording(model, Cassette(path), only_new=True)
    assert [tape.ask(request).text for request in (REQUEST, other, REQUEST)] == [REPLY.text, "new", REPLY.text]
    assert [request.prompt for request in model.requests] == ["And that?"]
    assert Cassette(path).reply(other) == replace(REPLY, text="new", seconds=0.105)
    assert len(Cassette(path)) == 2


def test_a_model_that_is_not_there_is_missed_only_where_something_is_new(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole cassette needs no key in mode "new"; where it lacks a request, both are said."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    lines = [answer("It is done.")]
    model = OpenAIModel("gpt-test")

    real = ScriptedModel([verdict(), *lines], ref=model.ref)
    plan_of_mine = [{"tool": "add", "args": {"a": 1, "b": 2}}]
    options: dict[str, Any] = {"tools": [add], "cassette": path, "store": tmp_path / "s", "clock": FakeClock().clock()}
    Agent(real, mode="record", **options).run("Add", plan=plan_of_mine)
    again = Agent(model, mode="new", **options).run("Add", plan=plan_of_mine)
    assert again.output.startswith("It is done.")
    with pytest.raises(CassetteMiss, match=r"the nearest recorded one.*and the model cannot be asked.*OPENAI_API_KEY"):
        Agent(model, mode="new", **options).run("Add up", plan=plan_of_mine)


def test_everything_that_a_provider_counts_is_kept(tmp_path: Path) -> None:
    """What a reply cost is the same when it is replayed."""
    usage = Usage(900, 80, 500, 300, 200, 60, ("batch", "us"), uncounted=True)
    request = ModelRequest("m", "answer", "rules", "What?")
    Cassette(tmp_path / "tape.jsonl").add(request, ModelReply("x", usage, model="m"))
    assert Cassette(tmp_path / "tape.jsonl").reply(request).usage == usage
