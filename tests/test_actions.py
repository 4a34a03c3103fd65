"""Destructive actions: only ever proposed by the loop, and carried out by hand, once, with the truth about doubt."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from agentnb import Agent, ScriptedModel, tool
from agentnb.actions import carry_out
from agentnb.approval import Answer
from agentnb.errors import ConfigError, RunConflict, RunHeld, ToolFailure
from agentnb.guards import GuardedCall, Ruling, ask, deny, max_value
from agentnb.ledger import open_actions
from agentnb.log import RunLog
from agentnb.pending import Pending
from agentnb.policy import Policy
from agentnb.run import Run
from agentnb.runner import _abandonable, run_here
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import Tool
from tests.parts import MemoryStore, add, answer, note, plan, step, verdict

GONE: list[str] = []
YES = Answer("approve", "ada", allow=True)


@pytest.fixture(autouse=True)
def nothing_gone() -> None:
    GONE.clear()


@tool(effect="destructive")
def drop(table: str) -> int:
    """Drop a table.

    Args:
        table: which.
    """
    GONE.append(table)
    return len(GONE)


def dropping(*ends: Any, **options: Any) -> Tool:
    """A destructive tool that acts, and then ends as `ends` say, in turn, the last one for good."""
    left = list(ends)

    @tool(effect="destructive", name="drop", **options)
    def other(table: str) -> Any:
        """Drop a table.

        Args:
            table: which.
        """
        GONE.append(table)
        end = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(end, BaseException):
            raise end
        return end

    return other


def proposed(*tables: str, made: Tool = drop, store: Any = None, **options: Any) -> Run:
    """A run that has proposed to drop `tables` and is completed."""
    with ScriptedModel([plan(*[step("drop", table=table) for table in tables]), answer("proposed")]) as model:
        it = Agent(model, tools=[made, add], store=store or MemoryStore(), **options).run("x")
    assert (it.status, GONE) == (Status.COMPLETED, [])
    return it


@pytest.mark.parametrize(
    "policy",
    [
        "ask",
        "deny",
        "auto",
        "confidence:low",
        Policy(approve="auto", auto_approve_after_s=0.001),
        Policy(threshold="low"),
    ],
    ids=str,
)
def test_no_policy_lets_the_loop_destroy(policy: Any) -> None:
    """It is put into the queue, whoever would have approved it."""
    it = proposed("a", approve=policy, approver=lambda _: YES)
    assert [item.status for item in it.state.outcomes] == ["proposed"]
    assert [str(item) for item in it.pending] == ['1. action s1: drop(table="a")']


def test_actions_are_carried_out_by_hand_once(store: DiskStore) -> None:
    """All that were shown, or those that are named; what is done is not listed any more."""
    it = proposed("a", "b", "c", store=store)
    assert len(open_actions(store)) == 3
    it.execute(2, by="ada")
    assert (GONE, [item.args["table"] for item in it.pending]) == (["b"], ["a", "c"])
    it.execute()
    assert (GONE, it.pending, open_actions(store)) == (["b", "a", "c"], (), [])
    with pytest.raises(ConfigError, match=r"no action of .* waits"):
        it.execute()
    settled = [item.settled for item in it.state.queue]
    assert [s.status for s in settled if s] == ["done"] * 3
    assert [s.by for s in settled if s][1] == "ada"
    assert it.status is Status.COMPLETED


def test_a_number_means_the_same_action_whatever_else_is_settled(store: DiskStore) -> None:
    """By this Run or elsewhere: it is that of the action's step, and is never another one's."""
    it = proposed("a", "b", "c", store=store)
    assert [item.number for item in it.pending] == [1, 2, 3]
    it.execute(1)
    it.execute(2)
    assert (GONE, [item.number for item in it.pending]) == (["a", "b"], [3])
    GONE.clear()
    it = proposed("a", "b", store=store)
    Run(it.keeper, it.id).discard(1, reason="keep it")
    with pytest.raises(ConfigError, match=r"no action 1 waits in .*: there are 2"):
        it.execute(1)
    assert GONE == []


def test_without_numbers_nothing_is_carried_out_that_was_not_shown(store: DiskStore) -> None:
    """What waits meanwhile, or was never listed by this Run, is told instead; one alone needs no number."""
    steps = [step("drop", table="a"), step("note", text="x"), step("drop", table="b")]
    it = Agent(ScriptedModel([plan(*steps), answer()]), tools=[drop, note], store=store).run("x")
    assert [str(item) for item in it.pending] == ['2. approval s2: note(text="x")', '1. action s1: drop(table="a")']
    elsewhere = Run(it.keeper, it.id)
    elsewhere.approve()
    for way in (it.execute, it.discard, Run(it.keeper, it.id).execute, Run(it.keeper, it.id).discard):
        with pytest.raises(
            ConfigError, match=r'is meant is not said: .* 1\. action s1: .*; 3\. action s3: drop\(table="b"\)'
        ):
            way()
    assert GONE == []
    elsewhere.execute(3)
    Run(it.keeper, it.id).execute()
    assert GONE == ["b", "a"]
    with pytest.raises(ConfigError, match=r"no action of .* waits"):
        it.execute(in_doubt="done")


def test_what_was_found_out_is_said_of_what_is_in_doubt() -> None:
    """Where nothing is, that is an error, and nothing is done."""
    it = proposed("a", "b")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"no action of .* is in doubt"):
            it.execute(in_doubt="not_done")
        assert len(it.pending) == 2
    assert GONE == []


def test_an_unknown_number_does_nothing() -> None:
    """Nor do the known ones beside it."""
    it = proposed("a", "b")
    with pytest.raises(ConfigError, match="no action 3 waits"):
        it.execute(1, 3)
    assert GONE == []


def test_discarded_actions_are_never_carried_out(store: DiskStore) -> None:
    """With the reason; the others stay."""
    it = proposed("a", "b", store=store)
    it.discard(1, reason="still needed", by="ada")
    assert [(s.status, s.message) for s in [it.state.queue[0].settled] if s] == [("dropped", "still needed")]
    it.execute()
    assert (GONE, it.pending, open_actions(store)) == (["b"], (), [])
    with pytest.raises(ConfigError, match="no action"):
        it.discard()


def test_a_validator_decides_in_place_of_a_person() -> None:
    """Only True carries out; what a guard wants a person for, it cannot do."""
    seen: list[Pending] = []

    def only_a(item: Pending) -> Any:
        seen.append(item)
        return item.args["table"] == "a" or "yes"

    it = proposed("a", "b")
    it.execute(validator=only_a)
    assert (GONE, len(it.pending), len(seen)) == (["a"], 1, 2)
    assert it.state.queue[0].settled is not None
    assert it.state.queue[0].settled.by == "only_a"
    asks = dropping(1, guards=[lambda _: ask("look twice")])
    GONE.clear()
    it = proposed("c", made=asks)
    assert it.pending[0].reasons == ("look twice",)
    with pytest.raises(ConfigError, match="may not be carried out: look twice"):
        it.execute(validator=lambda _: True)
    assert GONE == []
    it.execute()
    assert GONE == ["c"]


def test_a_validator_cannot_let_what_strangers_text_has_a_part_in() -> None:
    """It is a person's business, as it is in the loop."""

    @tool(effect="read", untrusted=True)
    def page() -> str:
        """What a stranger wrote."""
        return "users"

    with ScriptedModel([plan(step("page"), step("drop", table="$s1")), verdict(), answer()]) as model:
        it = Agent(model, tools=[drop, page], store=MemoryStore()).run("x")
    with pytest.raises(ConfigError, match="may not be carried out: its arguments come out of s1"):
        it.execute(validator=lambda _: True)
    assert GONE == []
    it.execute(2)
    assert GONE == ["users"]


def test_guards_are_checked_again_right_before() -> None:
    """What they deny stays in the queue, and is done once they do not."""
    closed: list[bool] = []

    def opening(_: GuardedCall) -> Ruling | None:
        return deny("closed") if closed else None

    it = proposed("a", made=dropping(1, guards=[opening]))
    closed.append(True)
    with pytest.raises(ConfigError, match="may not be carried out: closed"):
        it.execute()
    assert (GONE, len(it.pending), it.pending[0].in_doubt) == ([], 1, "")
    closed.clear()
    it.execute()
    assert GONE == ["a"]


def test_a_denied_proposal_is_not_even_queued() -> None:
    """The planner is told."""

    @tool(effect="destructive", guards=[max_value("rows", 10)])
    def wipe(rows: int) -> None:
        """Wipe.

        Args:
            rows: how many.
        """
        GONE.append(str(rows))

    with ScriptedModel([plan(step("wipe", rows=99)), plan(step("add", a=1, b=1)), verdict(), answer()]) as model:
        it = Agent(model, tools=[wipe, add], store=MemoryStore()).run("x")
    assert "at most 10 is allowed" in model.requests[1].prompt
    assert (it.pending, it.status) == ((), Status.COMPLETED)


def test_what_a_proposal_would_give_is_an_unmet_reference_that_the_planner_reads() -> None:
    """Not a crash: it has no result, for it was not done."""
    lines = [
        plan(step("drop", table="a"), step("add", a="$s1", b=1)),
        plan(step("add", a=1, b=1)),
        verdict(),
        answer(),
    ]
    with ScriptedModel(lines) as model:
        it = Agent(model, tools=[drop, add], store=MemoryStore()).run("x")
    assert "$s1 refers to a step that has no result: it waits in the queue" in model.requests[1].prompt
    assert (it.status, [o.status for o in it.state.outcomes], GONE) == (
        Status.COMPLETED,
        ["proposed", "failed", "ok"],
        [],
    )


def test_arguments_from_earlier_steps_are_in_the_queue_as_they_were() -> None:
    """Values, and no references; the tool gets them, and the function's own result is kept."""
    got: list[int] = []

    @tool(effect="destructive")
    def wipe(n: int) -> str:
        """Wipe.

        Args:
            n: which.
        """
        got.append(n)
        return "gone"

    with ScriptedModel([plan(step("add", a=1, b=2), step("wipe", n="$s1")), verdict(), answer()]) as model:
        it = Agent(model, tools=[wipe, add], store=MemoryStore()).run("x")
    assert it.pending[0].args == {"n": 3}
    it.execute()
    settled = it.state.queue[0].settled
    assert settled is not None
    assert settled.result is not None
    assert (got, settled.result.text) == ([3], '"gone"')


def test_strangers_text_says_so_on_the_action() -> None:
    """Whoever carries it out reads where it came from."""

    @tool(effect="read", untrusted=True)
    def page() -> str:
        """What a stranger wrote."""
        return "users"

    with ScriptedModel([plan(step("page"), step("drop", table="$s1")), verdict(), answer()]) as model:
        it = Agent(model, tools=[drop, page], store=MemoryStore()).run("x")
    assert "holds text that strangers wrote" in it.pending[0].reasons[0]


# ---------------------------------------------------------------------------------------------------- failure and doubt


def test_what_did_not_act_waits_for_the_next_try() -> None:
    """A ToolFailure is a known outcome: it is in the queue as before, and not in doubt."""
    it = proposed("a", made=dropping(ToolFailure("locked"), 1))
    it.execute()
    assert (len(it.pending), it.pending[0].in_doubt) == (1, "")
    it.execute()
    assert (GONE, it.pending) == (["a", "a"], ())


@pytest.mark.parametrize(("said", "times"), [("done", 1), ("not_done", 2)])
@pytest.mark.parametrize("error", [ConnectionError("reset"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_what_may_have_acted_is_in_doubt_until_somebody_has_looked(
    store: DiskStore, error: BaseException, said: Any, times: int
) -> None:
    """It is never made again by itself, and "done" never makes it."""
    it = proposed("a", made=dropping(error, 1), store=store)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            it.execute()
        it = it.keeper.resume(it.id)
    else:
        it.execute()
    assert it.pending[0].in_doubt
    with pytest.raises(ConfigError, match="is not known"):
        it.execute()
    assert (GONE, len(open_actions(store))) == (["a"], 1)
    it.execute(in_doubt=said)
    assert (len(GONE), it.pending, open_actions(store)) == (times, (), [])


def test_a_timeout_is_in_doubt() -> None:
    """It was begun, and given up."""

    @tool(effect="destructive", name="drop", timeout_s=0.05)
    def slow(table: str) -> None:
        """Drop.

        Args:
            table: which.
        """
        GONE.append(table)
        time.sleep(5)

    it = proposed("a", made=slow)
    it.execute()
    assert (GONE, "longer than 0.05 s" in it.pending[0].in_doubt) == (["a"], True)


def test_saying_done_of_what_was_never_begun_does_not_do_it() -> None:
    """Somebody who did it himself must not have it done a second time."""
    it = proposed("a", "b", made=dropping(ConnectionError(), 1))
    with pytest.raises(ConfigError, match="is not in doubt"):
        it.execute(1, in_doubt="done")
    assert GONE == []
    it.execute(1)
    odd: Any = "yes"
    with pytest.raises(ConfigError, match="neither 'done' nor 'not_done'"):
        it.execute(in_doubt=odd)
    it.execute(in_doubt="done")  # of all that is in doubt, and of nothing else
    assert (GONE, [item.args["table"] for item in it.pending]) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("found", "times", "left"),
    [("found it", 1, 0), (None, 2, 0), (ValueError("no such page"), 1, 1), (KeyError("x"), 1, 1), (False, 1, 1)],
    ids=repr,
)
def test_reconcile_says_whether_it_happened(found: Any, times: int, left: int) -> None:
    """What it found counts; None lets it be made again; one that raises leaves it in doubt, with a clear error."""

    def look(table: str, idempotency_key: str) -> Any:
        assert (table, idempotency_key.endswith("/s1")) == ("a", True)
        if isinstance(found, BaseException):
            raise found
        return found

    it = proposed("a", made=dropping(ConnectionError(), "again", reconcile=look))
    it.execute()
    assert it.pending[0].in_doubt
    if left:
        with pytest.raises(ConfigError, match="could not tell"):
            it.execute()
    else:
        it.execute()
    assert (len(GONE), len(it.pending)) == (times, left)
    if left:
        it.execute(in_doubt="done")
        assert (len(GONE), it.pending) == (1, ())


def test_an_action_that_was_given_up_and_still_runs_is_not_carried_out_again() -> None:
    """Its end is waited for before reconcile is asked, and until then nobody can say that it does not happen."""

    def slow(takes_s: float) -> Tool:
        @tool(effect="destructive", name="drop", reconcile=lambda: GONE[-1] if GONE else None, timeout_s=0.2)
        def other(table: str) -> None:
            """Drop.

            Args:
                table: which.
            """
            time.sleep(takes_s)
            GONE.append(table)

        return other

    it = proposed("a", made=slow(0.3), runner=_abandonable)
    it.execute()
    it.execute()
    assert (GONE, it.pending) == (["a"], ())
    GONE.clear()
    it = proposed("a", made=slow(1), runner=_abandonable)
    it.execute()
    with pytest.raises(ConfigError, match="still runs here"):
        it.execute(in_doubt="not_done")
    with pytest.raises(ConfigError, match="still runs here"):
        it.execute()
    time.sleep(1)
    it.execute()
    assert (GONE, it.pending) == (["a"], ())


def test_a_reconcile_that_hangs_leaves_it_in_doubt() -> None:
    """After the tool's own time."""
    it = proposed("a", made=dropping(ConnectionError(), 1, reconcile=lambda: time.sleep(5), timeout_s=0.05))
    it.execute()
    with pytest.raises(ConfigError, match=r"could not tell \(it took longer than 0.05 s"):
        it.execute()
    assert GONE == ["a"]


def test_an_idempotent_action_is_made_again_under_its_key() -> None:
    """The other side acts once for it."""
    keys: list[str] = []

    @tool(effect="destructive", name="drop")
    def keyed(table: str, idempotency_key: str) -> None:
        """Drop.

        Args:
            table: which.
        """
        keys.append(f"{table} {idempotency_key}")
        if len(keys) == 1:
            raise ConnectionError

    it = proposed("a", made=keyed)
    it.execute()
    it.execute()
    assert (len(keys), len(set(keys)), it.pending) == (2, 1, ())


@pytest.mark.parametrize("reconcile", [None, lambda: None], ids=["said so", "reconcile"])
def test_two_people_who_find_at_once_that_it_was_not_done_make_it_once_more(store: DiskStore, reconcile: Any) -> None:
    """Both have read the same records; the second one gets a conflict before anything is done."""
    made = dropping(ConnectionError(), 1, reconcile=reconcile)
    it = proposed("a", made=made, store=store)
    it.execute()
    said: Any = None if reconcile else "not_done"
    logs = [RunLog.reopened(store, it.id) for _ in range(2)]
    (waiting,) = it.pending
    carry_out(logs[0], made, waiting, run_here, by="ada", in_doubt=said)
    with pytest.raises(RunConflict):
        carry_out(logs[1], made, waiting, run_here, by="bob", in_doubt=said)
    assert (GONE, open_actions(store)) == (["a", "a"], [])


def test_two_that_execute_at_once_do_it_once(store: DiskStore) -> None:
    """Of eight threads one carries it out."""
    proposed("a", store=store)
    gate, errors = threading.Barrier(8), []

    def work() -> None:
        mine = Agent(ScriptedModel([]), tools=[drop, add], store=store).runs()[0]
        gate.wait(10)
        try:
            mine.execute()
        except (RunHeld, ConfigError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (GONE, len(errors)) == (["a"], 7)


def test_a_run_that_is_being_driven_is_left_alone() -> None:
    """Only its driver may append to its records."""
    store = MemoryStore()
    said: list[str] = []

    @tool(effect="read")
    def meddle() -> int:
        """Try to execute from within."""
        mine = Agent(ScriptedModel([]), tools=[drop, meddle], store=store).runs()[0]
        for way in (mine.execute, mine.discard):
            try:
                way()
            except RunHeld:
                said.append("held")
        return 1

    with ScriptedModel([plan(step("drop", table="a"), step("meddle")), verdict(), answer()]) as model:
        it = Agent(model, tools=[drop, meddle], store=store).run("x")
    assert (GONE, len(said), it.status) == ([], 2, Status.COMPLETED)
    assert said == ["held", "held"]


def test_a_run_that_waits_for_an_answer_can_have_its_actions_carried_out(store: DiskStore) -> None:
    """And goes on afterwards as if nothing had been."""
    noted: list[str] = []

    @tool(effect="write", reversibility="full")
    def note(text: str) -> None:
        """Note.

        Args:
            text: what.
        """
        noted.append(text)

    model = ScriptedModel([plan(step("drop", table="a"), step("note", text="x")), answer()])
    it = Agent(model, tools=[drop, note], store=store).run("x")
    assert [item.kind for item in it.pending] == ["approval", "action"]
    with pytest.raises(ConfigError, match="no action 2 waits"):
        it.execute(2)
    it.execute(1)
    assert (GONE, noted, it.status) == (["a"], [], Status.AWAITING_APPROVAL)
    it.approve()
    assert (noted, it.status) == (["x"], Status.COMPLETED)


def test_a_fresh_process_carries_it_out_with_the_tool_by_its_name(store: DiskStore) -> None:
    """From the store and nothing else; here it is settled afterwards."""
    run = proposed("a", store=store).id
    code = f"""
    from agentnb import Agent, ScriptedModel
    from tests.parts import add
    from tests import test_actions as t
    run = Agent(ScriptedModel([]), tools=[t.drop, add], store={store.place!r}).runs()[0].execute(by="later")
    print(t.GONE, run.pending)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "['a'] ()", done.stderr
    again = Agent(ScriptedModel([]), tools=[drop, add], store=store).runs()[0]
    assert (again.id, again.pending) == (run, ())


def test_a_tool_that_is_missing_or_has_changed_carries_nothing_out() -> None:
    """Another function of that name is not what was proposed."""
    store = MemoryStore()
    proposed("a", store=store)

    @tool(effect="destructive", name="drop")
    def other(table: str, cascade: bool = True) -> None:  # noqa: FBT001, FBT002 - the case
        """Drop more.

        Args:
            table: which.
            cascade: with what hangs on it.
        """
        GONE.append(f"{table} {cascade}")

    for tools, said in (([add], "which is not here"), ([other, add], "is not the one")):
        with pytest.raises(ConfigError, match=said):
            Agent(ScriptedModel([]), tools=tools, store=store).runs()[0].execute()
    assert GONE == []


def test_a_result_that_is_not_json_has_acted() -> None:
    """It returned, so it is done; only its result is not kept."""
    it = proposed("a", made=dropping(object()))
    it.execute()
    assert (GONE, it.pending) == (["a"], ())
    assert it.state.queue[0].settled is not None
    assert "its result is not kept" in it.state.queue[0].settled.message


def test_a_discarded_doubt_is_settled() -> None:
    """Whoever looked may drop it."""
    it = proposed("a", made=dropping(ConnectionError()))
    it.execute()
    it.discard(reason="looked: it is gone")
    assert (GONE, it.pending) == (["a"], ())


def test_proposals_of_a_cancelled_run_still_wait() -> None:
    """They are a person's business, whatever became of the run."""
    store = MemoryStore()

    @tool(effect="write", reversibility="full")
    def note() -> None:
        """Note."""

    it = Agent(ScriptedModel([plan(step("drop", table="a"), step("note"))]), tools=[drop, note], store=store).run("x")
    it.cancel()
    it.execute()
    assert (GONE, it.status, it.pending) == (["a"], Status.CANCELLED, ())


def test_what_was_carried_out_while_the_run_rested_counts_from_then_on() -> None:
    """A later step can refer to it, and the answer is written from what it gave and not from that it was proposed."""
    steps = plan(step("drop", "Drop it", table="t"), step("note", text="x"), step("add", a="$s1", b=1))
    store = MemoryStore()
    with ScriptedModel([steps]) as model:
        it = Agent(model, tools=[drop, add, note], store=store, approver=lambda _: None).run("x")
    with ScriptedModel([verdict(), answer("gone")]) as model:
        it = Agent(model, tools=[drop, add, note], store=store).runs()[0]
        it.execute().approve()
    assert (it.status, it.result("s1"), it.result("s3"), it.summary.undone) == (Status.COMPLETED, 1, 2, ())
    assert "NOT" not in model.requests[1].prompt
    assert it.summary.since == ()
