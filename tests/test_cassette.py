"""Cassettes: what was recorded is replayed to the byte, and a file that is not what it says is never used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
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
from agentnb.render import as_text
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
        cassette.add(request, reply, 1.23456)
    return cassette


def test_what_was_recorded_is_what_is_replayed(path: Path) -> None:
    """Text, tokens, stop, the provider's name of the model and the seconds, read back from the file."""
    recorded(path)
    assert Cassette(path).reply(REQUEST) == replace(REPLY, seconds=1.235)
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
    assert text.splitlines()[0] == '{"agentnb_cassette": 1}'


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
        ({"prompt": "What is that?"}, "prompt at character 8: 'What is it?' was recorded, 'What is that?' is asked"),
        ({"system": "the new rules"}, "system at character 4: 'the rules' was recorded, 'the new rules' is asked"),
        ({"model": "local:y"}, "model at character 6: 'local:x' was recorded, 'local:y' is asked"),
        ({"max_output_tokens": 1000}, "max_output_tokens at character 2: '1024' was recorded, '1000' is asked"),
        ({"temperature": None}, "temperature at character 0: '0.0' was recorded, 'None' is asked"),
        ({"schema": None}, "schema at character 0"),
        ({"prompt": "What is it? More"}, "prompt at character 11: 'What is it?' was recorded"),
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


def edited(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def lines(edit: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "\n".join(edit(text.removesuffix("\n").split("\n"))) + "\n"


def call_with(**change: Any) -> Callable[[str], str]:
    def edit(rows: list[str]) -> list[str]:
        call = json.loads(rows[-1])
        call["call"].update(change)
        return [*rows[:-1], json.dumps(call)]

    return lines(edit)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            edited("What is it?", "What was it?"),
            "line 4: a call does not have the key that it is kept under: it was edited",
        ),
        (
            edited("the rules", "the rulez"),
            "line 3: a text does not have the hash that it is kept under: it was edited",
        ),
        (edited('"agentnb_cassette": 1', '"agentnb_cassette": 2'), "line 1: not a cassette of format 1"),
        (edited('{"agentnb_cassette": 1}\n', ""), "line 1: not a cassette of format 1"),
        (lambda text: "x" + text, "line 1: Expecting value"),
        (lambda text: "<<<<<<< HEAD\n" + text, "line 1"),
        (lambda text: text[:-20] + "\n", "line 4: "),
        (lambda text: text + "\n", "line 5: Expecting value"),
        (lambda text: text + "[]\n", "line 5: neither a text nor a call"),
        (lambda text: text + "3\n", "line 5: neither a text nor a call"),
        (lambda text: text + '"text"\n', "line 5: neither a text nor a call"),
        (lambda text: text + "null\n", "line 5: neither a text nor a call"),
        (lambda text: text + '{"text": "a", "is": 5}\n', "line 5: neither a text nor a call"),
        (lambda text: text + '{"text": ["a"], "is": "x"}\n', "line 5: neither a text nor a call"),
        (lambda text: text + '{"call": []}\n', "line 5: neither a text nor a call"),
        (lambda text: text + '{"call": {}, "more": 1}\n', "line 5: neither a text nor a call"),
        (lambda text: text + '{"call": {}}\n', "line 5: a call's phase: Field required"),
        (lambda text: text + "[" * 200_000 + "\n", "line 5: "),
        (lambda text: text + '{"a":' * 100_000 + "\n", "line 5: "),
        (lambda text: text + "9" * 5000 + "\n", "line 5: "),
        (
            lines(lambda rows: [rows[0], rows[3], rows[1], rows[2]]),
            "line 2: a call refers to a text that no earlier line holds: ",
        ),
        (
            lines(lambda rows: [rows[0], rows[1], rows[3]]),
            "line 3: a call refers to a text that no earlier line holds: ",
        ),
        (call_with(phase="think"), "line 4: a call's phase: Input should be 'plan', 'bind', 'critique', "),
        (call_with(max_output_tokens="1024"), "line 4: a call's max_output_tokens: Input should be a valid integer"),
        (call_with(key=5), "line 4: a call's key: Input should be a valid string"),
        (call_with(prompt="\ud800"), "line 4: "),
        (call_with(reply={"text": "x"}), "line 4: a call's reply.input_tokens: Field required"),
        (call_with(extra=1), "line 4: a call's extra: Extra inputs are not permitted"),
        (
            call_with(schema_="0123456789abcdef"),
            "line 4: a call refers to a text that no earlier line holds: 0123456789abcdef",
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
    for key, calls in cassette._calls.items():
        assert all(cassette._request(call).key() == key for call in calls)


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
        cassette.add(REQUEST, REPLY, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["tape.jsonl"]


def test_half_a_surrogate_pair_in_a_reply_is_recorded_as_a_question_mark(path: Path) -> None:
    """What the run sees and what is replayed are the same."""
    clock = FakeClock()
    model = ScriptedModel(["half \ud83d"])
    live = Recording(model, Cassette(path), clock).ask(REQUEST)
    assert live.text == Replaying("x", Cassette(path)).ask(REQUEST).text == "half ?"


def test_a_failed_call_is_not_recorded(path: Path) -> None:
    """The error goes through, and the cassette has no call."""
    model = ScriptedModel([ModelError("down", FailureClass.TRANSIENT)])
    with pytest.raises(ModelError, match="down"):
        Recording(model, Cassette(path), FakeClock()).ask(REQUEST)
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
        (Budget(model_calls=4), "model_calls"),
        (Budget(steps=1), "steps"),
        (Budget(tool_calls=1), "tool_calls"),
    ],
)
def test_a_replayed_run_is_the_recorded_run_whatever_limit_it_reaches(path: Path, budget: Budget, reason: str) -> None:
    """The same events with the same numbers, stopping at the same limit in the same place, and shown the same."""
    clock = FakeClock().clock()
    options: dict[str, Any] = {"tools": [add, table], "cassette": path, "budget": budget, "clock": clock}
    live = Agent(ScriptedModel([greedy()] * 9), store=MemoryStore(), mode="record", **options).run("Add them")
    again = Agent(ScriptedModel([]), store=MemoryStore(), mode="replay", **options).run("Add them")
    assert live.stop_reason == reason
    assert [told(r) for r in again.events] == [told(r) for r in live.events]
    assert (again.status, again.spent, again.state._replace(started=None)) == (
        live.status,
        live.spent,
        live.state._replace(started=None),
    )
    assert as_text(again.summary) == as_text(replace(live.summary, bare=True))


def test_recording_again_replaces_what_was_said_before(path: Path) -> None:
    """A new take of a request puts its replies in place of the old ones, in order; other requests keep theirs."""
    other = replace(REQUEST, prompt="else")
    recorded(path, (REQUEST, REPLY), (REQUEST, REPLY), (other, REPLY))
    again = Cassette(path)
    again.add(REQUEST, replace(REPLY, text="second"), 1)
    again.add(REQUEST, replace(REPLY, text="third"), 1)
    read = Cassette(path)
    assert [read.reply(REQUEST).text for _ in range(3)] == ["second", "third", "third"]
    assert (len(read), read.reply(other).text) == (3, REPLY.text)


def test_two_recorders_of_one_file_keep_each_others_calls(path: Path) -> None:
    """Whoever writes last does not forget what the other has written."""
    one, two = Cassette(path), Cassette(path)
    for n in range(3):
        one.add(replace(REQUEST, prompt=f"one {n}"), REPLY, 1)
        two.add(replace(REQUEST, prompt=f"two {n}", system="other rules"), REPLY, 1)
    assert len(Cassette(path)) == 6


def test_texts_that_no_call_uses_are_left_out(path: Path) -> None:
    """A request that is recorded anew, with other rules, takes its old rules along only while a call needs them."""
    cassette = recorded(path)
    cassette._calls.clear()
    cassette.path.unlink()
    cassette.add(replace(REQUEST, system="other rules"), REPLY, 1)
    assert "the rules" not in path.read_text(encoding="utf-8")
