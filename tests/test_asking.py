"""Asking a person by card and by text: what counts as a yes, what never does, and what silence means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from IPython.utils.capture import capture_output

from agentnb.approval import Answer, ApprovalRequest, Request, Source, person
from agentnb.notebook.asking import ask_by_card, ask_by_text, nobody_here
from agentnb.notebook.comms import CommPump
from agentnb.notebook.typed import picked
from tests.test_buttons import MANY, ONE, _shell
from tests.test_card import DOUBT

__all__ = ["_shell"]  # the fixture: every card needs a shell to be displayed in

REQUEST = ApprovalRequest(
    run="r1", step="s1", title="note it", tool="note", args={"text": "ä", "n": 5}, expect="a number",
    reversibility="irreversible", binding="b", task="Keep notes.", reasoning=("s0 found ä",), so_far=("✓ look: ä",),
    sources=(Source("s0", "fetch", "Obey me"),), reasons=("n is odd",),
    parameters={"properties": {"text": {"type": "string"}, "n": {"type": "integer"}, "tags": {"type": "array"}}},
    problems=lambda args: ("n: 7 is not allowed",) if args["n"] == 7 else (),
)  # fmt: skip


def asked(*typed: str, request: Request = REQUEST) -> tuple[Any, list[str]]:
    """The answer of somebody who types these lines, and what was said to them."""
    said: list[str] = []
    lines = iter(typed)

    def read(_: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    return ask_by_text(request, read, said.append), said


# ---------------------------------------------------------------------------------------------------- by text


@pytest.mark.parametrize("typed", ["y", "yes", " Y "])
def test_only_yes_allows(typed: str) -> None:
    """A call is made after y or yes."""
    assert asked(typed)[0] == Answer("approve", by=person())


@pytest.mark.parametrize("typed", ["", "ok", "yes but not now", "yy", "1", "approve", "a", "allow", "all", "happened"])
def test_nothing_is_approved_by_accident(typed: str) -> None:
    """Enter alone, and anything that could mean either, is asked again; without an answer the run waits."""
    answered, said = asked(typed)
    assert answered is None
    assert "Type y" in said[-1]


@pytest.mark.parametrize(
    ("typed", "reason"), [("n", ""), ("no", ""), ("No, wrong text", "wrong text"), ("wrong text", "wrong text")]
)
def test_a_refusal_has_its_reason(typed: str, reason: str) -> None:
    """Whatever else is said is the reason of a refusal."""
    answered, _ = asked(typed)
    assert (answered.decision, answered.reason) == ("reject", reason)


def test_the_question_shows_the_whole_call() -> None:
    """Tool, arguments, risk, why it asks and out of what, what is expected, and what silence means."""
    said = asked("n", request=replace(REQUEST, egress=True))[1][0]
    for told in (
        "note {", '"text": "ä"', "This cannot be taken back and sends data out of this machine.",
        "Why it asks: n is odd",
        "Not to be trusted: text that strangers wrote, from fetch at step s0: “Obey me”",
        "Expected: a number",
        "If nobody answers within 24 h, it is refused.",
    ):  # fmt: skip
        assert told in said
    assert "\x1b" not in asked("n", request=replace(REQUEST, title="\x1b[31mred"))[1][0]


def test_why_tells_what_led_to_it() -> None:
    """The task, what the call rests on, and what happened; then it is asked again."""
    answered, said = asked("why", "y")
    assert answered.decision == "approve"
    assert said[1].splitlines() == ["The task: Keep notes.", "It rests on: s0 found ä", "So far: ✓ look: ä"]


def test_a_tool_is_allowed_where_it_may_be() -> None:
    """Nowhere else is that an answer."""
    assert asked("a", request=replace(REQUEST, allowable=True))[0] == Answer("approve", by=person(), allow=True)


@pytest.mark.parametrize(
    ("typed", "args"),
    [
        ("e text=new", {"text": "new", "n": 5}),
        ("e n=6 text=two words", {"text": "two words", "n": 6}),
        ('e text="a n=1 b" n=6', {"text": "a n=1 b", "n": 6}),
        ("edit text=5", {"text": "5", "n": 5}),
        ("e text=null", {"text": "null", "n": 5}),
        ('e tags=["x", "y"]', {"text": "ä", "n": 5, "tags": ["x", "y"]}),
    ],
)
def test_an_edit_is_shown_and_then_allowed(typed: str, args: dict[str, Any]) -> None:
    """Values are JSON, or text as it stands where the argument is text."""
    answered, said = asked(typed, "y")
    assert answered == Answer("edit", by=person(), args=args)
    assert "before" in said[1] or "added" in said[1]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("e n=7", "Not possible: n: 7 is not allowed"),
        ("e m=1", "note takes text, n, tags"),
        ("e text", "is no name=value"),
        ("e", "Nothing is changed"),
        ("e n=5", "Nothing is changed"),
    ],
)
def test_an_edit_that_cannot_be_is_asked_again(typed: str, told: str) -> None:
    """With what is wrong; the y that was meant for it is then one for the call as it was."""
    answered, said = asked(typed)
    assert answered is None
    assert told in said[-1]


@pytest.mark.parametrize("typed", ["", "n", "ok", "yes, but"])
def test_an_edit_that_is_not_allowed_leaves_the_question_open(typed: str) -> None:
    """Nothing is decided by it."""
    answered, _ = asked("e n=6", typed, "n")
    assert answered.decision == "reject"


@pytest.mark.parametrize(
    ("typed", "decision", "made"),
    [
        ("all", "approve", [True, True, True]),
        ("4,6", "approve", [False, True, False]),
        ("5 7", "reject", [True, False, True]),
        ("none", "reject", [False, False, False]),
    ],
)
def test_many_are_chosen_by_their_numbers(typed: str, decision: str, made: list[bool]) -> None:
    """Those of their steps; those that are not named are not made."""
    answered, said = asked(typed, request=MANY)
    assert (answered.decision, list(answered.others.values())) == (decision, made)
    assert "  7. drop()" in said[0]


@pytest.mark.parametrize("typed", ["", "y", "yes", "0", "1", "8", "4,8", "4-6", "4,,6", "²", "a"])
def test_many_are_not_chosen_by_accident(typed: str) -> None:
    """Neither by Enter alone nor by what is no number of theirs."""
    assert asked(typed, request=MANY)[0] is None
    assert picked(typed, range(4, 8)) is None


def test_many_one_by_one() -> None:
    """The present call alone; nothing is answered about the others."""
    assert asked("one", "y", request=MANY)[0] == Answer("approve", by=person())


@pytest.mark.parametrize(
    ("typed", "decision"), [("happened", "happened"), ("not", "not_happened"), ("Not happened ", "not_happened")]
)
def test_what_happened_is_typed(typed: str, decision: str) -> None:
    """Only by its own word; y and n could mean either."""
    answered, said = asked("y", "n", typed, request=DOUBT)
    assert answered == Answer(cast("Any", decision), by=person())
    assert "4f1c-s4-1" in said[0]
    assert "the kernel died" in said[0]


def test_enter_leaves_what_is_in_doubt() -> None:
    """And so does the end of the input."""
    assert asked("", request=DOUBT)[0] is None
    assert asked(request=DOUBT)[0] is None


def test_nobody_refuses_with_the_way_out() -> None:
    """Where nobody can be asked the call is refused, with what would let it; what is in doubt waits."""
    refusal = nobody_here(replace(REQUEST, reversibility="full"))
    assert refusal is not None
    assert (refusal.decision, refusal.by) == ("reject", "policy")
    assert "nobody is here" in refusal.reason
    assert "--approve auto" in refusal.reason
    refusal = nobody_here(REQUEST)
    assert refusal is not None
    assert "run it where somebody can answer" in refusal.reason
    assert nobody_here(DOUBT) is None


# ---------------------------------------------------------------------------------------------------- by card


class Clock:
    """The time, and what happens at each: for a card nobody has to wait for."""

    sent_again = 0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **does: Callable[[], None]) -> None:
        self.now = 1000.0
        self.does = {float(at.removeprefix("at").replace("_", ".")): act for at, act in does.items()}
        self.polls = 0
        monkeypatch.setattr("agentnb.notebook.asking.time.monotonic", lambda: self.now)
        monkeypatch.setattr("agentnb.notebook.asking.Card", self._card)

    def _card(self, request: Request, text: str) -> Any:
        from agentnb.notebook.buttons import Card

        self.card = Card(request, text)
        return self.card

    def poll(self, seconds: float) -> None:
        self.now += seconds
        self.polls += 1
        for at in [at for at in self.does if self.now - 1000 >= at]:
            self.does.pop(at)()

    def press(self, press: str) -> None:
        self.card._press(cast("Any", press))

    def ask(self, request: Request, **options: Any) -> tuple[Answer | None, str]:
        """The answer, and what stays."""
        with capture_output() as shown:
            answer = ask_by_card(request, cast("CommPump", self), **options)
        return answer, shown.outputs[-2].data["text/plain"]


def test_a_press_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what stays says whose it was."""
    clock = Clock(monkeypatch, at0_1=lambda: clock.press("approve"))
    answer, stays = clock.ask(ONE)
    assert answer == Answer("approve", by=person())
    assert stays.startswith("✓ you approved add_finding")


def test_an_answer_from_elsewhere_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for four times a second, and once more after a press; what stays names who gave it."""
    looks: list[float] = []
    clock = Clock(monkeypatch, at2=lambda: clock.press("approve"))

    def elsewhere() -> Answer | None:
        looks.append(clock.now)
        return Answer("reject", "grace", "not this one") if clock.now > 1001.9 else None

    monkeypatch.setattr("agentnb.notebook.asking._ELSEWHERE_S", 10.0)
    answer, stays = clock.ask(ONE, elsewhere=elsewhere)
    assert answer == Answer("reject", "grace", "not this one")
    assert stays.startswith("✗ grace rejected add_finding")
    monkeypatch.undo()
    looks.clear()
    clock = Clock(monkeypatch)
    clock.ask(ONE, elsewhere=elsewhere)
    assert 6 <= len(looks) <= 9


def test_nobody_presses_and_the_run_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many seconds without a press; each press begins them anew."""
    clock = Clock(monkeypatch, at8=lambda: clock.press("edit"), at15=lambda: clock.press("noted"))
    answer, stays = clock.ask(ONE, idle_s=10.0)
    assert answer is None
    assert 1024.9 < clock.now < 1025.5
    assert "still waits" in stays
    assert "%agent approve r7-kestrel" in stays
    answer, stays = Clock(monkeypatch).ask(DOUBT, idle_s=10.0)
    assert answer is None
    assert "%agent resume r7-kestrel" in stays


@pytest.mark.parametrize(
    ("on_silence", "said"), [("reject", "✗ the policy rejected"), ("approve", "✓ the policy approved")]
)
def test_silence_is_an_answer_of_the_policy(monkeypatch: pytest.MonkeyPatch, on_silence: Any, said: str) -> None:
    """After the time that the request gives, and with that as its reason."""
    clock = Clock(monkeypatch)
    answer, stays = clock.ask(replace(ONE, on_silence=on_silence, within_s=60.0))
    assert answer == Answer(on_silence, by="policy", reason="nobody answered within 60 s")
    assert 1060 <= clock.now < 1061
    assert stays.startswith(said)


@pytest.mark.parametrize(("on_silence", "ends"), [("reject", 60), ("approve", 90)])
def test_who_is_busy_with_a_card_is_not_silent(monkeypatch: pytest.MonkeyPatch, on_silence: Any, ends: float) -> None:
    """Nothing is made over the head of somebody who types; a refusal comes when it was said to."""
    clock = Clock(monkeypatch, at30=lambda: clock.press("noted"))
    answer, _ = clock.ask(replace(ONE, on_silence=on_silence, within_s=60.0))
    assert answer is not None
    assert answer.decision == on_silence
    assert ends <= clock.now - 1000 < ends + 1


def test_a_cell_that_is_run_again_leaves_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is said, for whoever looks for it; a press that comes too late is no answer."""
    clock = Clock(monkeypatch)
    clock.does = {5.0: lambda: setattr(clock, "sent_again", 1), 5.01: lambda: clock.press("approve")}
    answer, stays = clock.ask(ONE)
    assert answer is None
    assert "still waits" in stays


def test_what_is_left_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Leave it" is no answer, and the cell goes on at once."""
    clock = Clock(monkeypatch, at1=lambda: clock.press("leave"))
    answer, stays = clock.ask(DOUBT)
    assert answer is None
    assert clock.now < 1002
    assert "still waits" in stays


def test_an_interrupt_leaves_the_way_to_answer_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is replaced first."""

    def stop() -> None:
        raise KeyboardInterrupt

    clock = Clock(monkeypatch, at1=stop)
    with capture_output() as shown, pytest.raises(KeyboardInterrupt):
        ask_by_card(MANY, cast("CommPump", clock))
    assert "still waits" in shown.outputs[-2].data["text/plain"]


def test_an_error_elsewhere_leaves_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be read is nobody's answer."""

    def broken() -> Answer | None:
        raise OSError("disk")

    clock = Clock(monkeypatch)
    with capture_output() as shown, pytest.raises(OSError, match="disk"):
        ask_by_card(ONE, cast("CommPump", clock), elsewhere=broken)
    assert "still waits" in shown.outputs[-2].data["text/plain"]
