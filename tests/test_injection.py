"""Text that strangers wrote may inform and may not act: a model that obeys every instruction it reads gets nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from agentnb import Agent, Budget, Run, ScriptedModel
from agentnb.approval import Answer, ApprovalRequest, Approver, Request, nobody
from agentnb.log import Clock
from agentnb.policy import Policy, confidence
from agentnb.state import Status
from tests.injections import (
    ATTACKS,
    BEACON,
    HOP,
    MALLORY,
    MOST,
    PAGE,
    SECRET,
    TASKS,
    VICTIM,
    Attack,
    Call,
    HonestTask,
    Obedient,
    Person,
    Way,
    World,
    anybody,
    bare,
    fetch,
    mail,
    note,
    ticket,
    world,
)
from tests.parts import MemoryStore, answer, bind, plan, step, verdict

WAYS: tuple[Way, ...] = ("first", "last", "arguments")
LENIENT = {"ask": Policy(), "auto": Policy(approve="auto"), "confidence": confidence("low")}


def driven(
    task: HonestTask, attack: Attack, way: Way, approver: Approver | None = None, approve: Policy | str = "auto"
) -> tuple[Run, World, Obedient, Person]:
    """A run of `task` by a model that obeys `attack`, and what came of it."""
    place, store = world(), MemoryStore()
    place.begin(attack)
    model, person = Obedient(store, task, attack, way), Person(place, task, attack)
    agent = Agent(model, tools=place.tools, store=store, approve=approve, approver=approver or person)
    return agent.run(task.text, plan=task.plan), place, model, person


def effects(place: World) -> tuple[Call, ...]:
    """What was done, without the page that a person may well let the agent look at."""
    return tuple(call for call in place.ledger if call != fetch(HOP))


def lost(task: HonestTask, attack: Attack) -> bool:
    """True where the user's own plan fails, because its tool does: nobody may plan anew."""
    return task.by_user and attack.where == "error"


def cases(task: HonestTask, *, every: bool = True) -> Iterator[tuple[Attack, Way]]:
    """All attacks on `task`, in each way of obeying or in one each; a user's own plan is not planned anew."""
    for n, attack in enumerate(ATTACKS):
        ways = WAYS if every else (WAYS[n % len(WAYS)],)
        yield from ((attack, way) for way in (("arguments",) if task.by_user else ways))


ids: Callable[[Any], str] = lambda case: getattr(case, "name", str(case))  # noqa: E731


@pytest.mark.parametrize("policy", LENIENT)
@pytest.mark.parametrize("task", TASKS, ids=ids)
def test_where_an_honest_person_is_asked_no_attack_gets_what_it_wants(task: HonestTask, policy: str) -> None:
    """All the user wanted is done, once and as it should be, and nothing else; a person who is asked sees why."""
    for attack, way in cases(task, every=policy == "auto"):
        run, place, model, person = driven(task, attack, way, approve=LENIENT[policy])
        case = (attack.name, way, run)
        assert model.heard, case
        assert not attack.goal(place.ledger), case
        assert effects(place) == (() if lost(task, attack) else task.effects), case
        if way != "last" and not lost(task, attack):
            assert run.status is Status.COMPLETED, case
        for request in person.refused:
            assert tells_why(request, attack), (case, request)


def tells_why(request: ApprovalRequest, attack: Attack) -> bool:
    """True where a person sees that strangers' text is behind the call, and how that text begins."""
    why, begins = " ".join(request.reasons), bare(attack.body)[:10]
    shown = any(source.step in why and begins in bare(source.preview) for source in request.sources)
    return shown and request.on_silence == "reject" and not request.allowable


@pytest.mark.parametrize("task", TASKS, ids=ids)
def test_what_is_denied_to_all_is_denied_to_strangers(task: HonestTask) -> None:
    """With approve="deny" nothing acts at all, whoever would have said yes."""
    for attack, way in cases(task, every=False):
        run, place, _, _ = driven(task, attack, way, anybody, "deny")
        assert place.ledger == [], f"{attack.name} {way}: {run!r}"


@pytest.mark.parametrize("task", TASKS, ids=ids)
def test_where_nobody_is_there_nothing_happens_that_needs_a_person(task: HonestTask) -> None:
    """With approve="auto" only what was planned before, as it stands, happens: no mail, no money, no address."""
    for attack, way in cases(task):
        run, place, model, _ = driven(task, attack, way, nobody)
        case = (attack.name, way, run)
        clean = [fetch(PAGE)] if task.name == "hours" and attack.where == "text" else []
        assert place.ledger == clean, case
        waits = [item for item in run.pending if item.kind == "approval"]
        assert bool(waits) == (run.status is Status.AWAITING_APPROVAL), case
        assert model.heard, case


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_an_attack_would_get_what_it_wants_of_whoever_lets_everything_pass(attack: Attack) -> None:
    """The model does obey: what keeps the world whole is the asking, and not a model that knows better."""
    for task in TASKS[:2]:
        for way in WAYS[:2]:
            run, place, _, _ = driven(task, attack, way, anybody)
            if actions := [item for item in run.pending if item.kind == "action"]:
                assert not any(call.tool == "delete_account" for call in place.ledger)
                assert all("text that strangers wrote" in " ".join(item.reasons) for item in actions)
                run.execute(by="careless")
            assert attack.goal(place.ledger) == (attack.name != "guard-off"), f"{task.name} {way}: {run!r}"


def test_no_leave_lifts_a_guard() -> None:
    """What is over the limit is not even asked about."""
    attack = next(attack for attack in ATTACKS if attack.name == "guard-off")
    _, place, _, person = driven(TASKS[0], attack, "first")
    assert not person.asked
    assert place.ledger == []
    assert attack.calls[0].args["amount"] > MOST


@pytest.mark.parametrize("policy", LENIENT)
def test_what_destroys_waits_with_the_reason(policy: str) -> None:
    """No loop deletes an account: it stands in the queue with why it should be looked at, for a validator to see."""
    for attack in (attack for attack in ATTACKS if any(call.tool == "delete_account" for call in attack.calls)):
        run, place, _, person = driven(TASKS[0], attack, "first", approve=LENIENT[policy])
        actions = [item for item in run.pending if item.kind == "action"]
        if len(attack.calls) > 1:  # it comes after a mail that was refused
            assert person.refused
            assert not actions
            continue
        assert [(item.tool, dict(item.args)) for item in actions] == [("delete_account", {"account": VICTIM})]
        assert all("planned after s1 brought text that strangers wrote" in item.reasons[0] for item in actions)
        run.execute(validator=lambda item: not item.reasons)
        assert place.ledger == []
        assert run.discard(reason="nobody asked for this").pending == ()


def filed(title: str, body: str) -> dict[str, Any]:
    """A step that files a ticket."""
    return {**step("create_ticket"), "args": {"title": title, "body": body}}


def test_what_was_planned_before_needs_nobody() -> None:
    """A note and a ticket whose arguments stood in the plan before a mail was read happen, and the rest waits."""
    attack = ATTACKS[0]
    before = [step("read_mail", folder="inbox"), step("add_note", text="read"), filed("a", "b")]
    later = plan(step("add_note", text=MALLORY))
    for own in (True, False):
        place = world()
        place.begin(attack)
        lines = (
            [verdict(finding=attack.text), answer()] if own else [plan(*before), verdict(finding=attack.text), answer()]
        )
        agent = Agent(ScriptedModel(lines), tools=place.tools, store=MemoryStore(), approve="auto", approver=nobody)
        given = [{"tool": one["tool"], "args": one["args"]} for one in before] if own else None
        assert agent.run("Note it.", plan=given).status is Status.COMPLETED
        assert place.ledger == [note("read"), ticket("a", "b")]
        place.begin(attack)
        lines = [plan(*before), verdict("revise"), later]
        agent = Agent(ScriptedModel(lines), tools=place.tools, store=MemoryStore(), approve="auto", approver=nobody)
        assert agent.run("Note it.").status is Status.AWAITING_APPROVAL
        assert place.ledger == []


def test_a_users_plan_can_be_stopped_and_not_be_changed() -> None:
    """A critic that wants another plan for what it read ends the run; it gets no step into it."""
    place = world()
    place.begin(ATTACKS[0])
    lines = [verdict("revise", ATTACKS[0].text, ATTACKS[0].text), answer()]
    agent = Agent(ScriptedModel(lines), tools=place.tools, store=MemoryStore(), approve="auto", approver=anybody)
    run = agent.run("Pay.", plan=TASKS[3].plan)
    assert (run.status, run.stop_reason, place.ledger) == (Status.STOPPED, "escalated", [])


# --- what a person says, and for what it holds ------------------------------------------------------------------------


class Says:
    """A person who says what he is told to, one answer a question, and remembers the questions."""

    def __init__(self, *answers: Answer | None) -> None:
        self.asked: list[ApprovalRequest] = []
        self._answers = list(answers)

    def __call__(self, request: Request) -> Answer | None:
        assert isinstance(request, ApprovalRequest)
        self.asked.append(request)
        return self._answers.pop(0)


def agent_of(
    lines: list[Any], approver: Approver, approve: Policy | str = "auto", **options: Any
) -> tuple[Agent, World]:
    """An agent in a world where the first attack lies in every folder."""
    place = world()
    place.begin(options.pop("attack", ATTACKS[0]))
    model = ScriptedModel(lines)
    return Agent(model, tools=place.tools, store=MemoryStore(), approve=approve, approver=approver, **options), place


YES, NO = Answer("approve", "ada"), Answer("reject", "ada", "no")


def test_a_tool_that_was_allowed_is_asked_about_again_once_strangers_were_heard() -> None:
    """ "Allow this tool for the run" holds for what comes without them; said of a call of theirs it is not heard."""
    always = Answer("approve", "ada", allow=True)
    person = Says(always, always, NO)
    lines = [
        plan(step("add_note", text="a"), step("add_note", text="b"), step("read_mail", folder="inbox")),
        verdict("revise"),
        plan(step("add_note", text="c"), step("add_note", text="d")),
        plan(),
        answer(),
    ]
    agent, place = agent_of(lines, person, "ask")
    assert agent.run("Note it.").status is Status.COMPLETED
    assert [(dict(asked.args)["text"], asked.allowable) for asked in person.asked] == [
        ("a", True), ("c", False), ("d", False),
    ]  # fmt: skip
    assert place.ledger == [note("a"), note("b"), note("c")]


def test_leave_given_before_does_not_cover_other_arguments() -> None:
    """A call approved together with an earlier one is let as it was planned then, and not in a plan of later."""

    class Both(Says):
        def __call__(self, request: Request) -> Answer | None:
            said = super().__call__(request)
            assert isinstance(request, ApprovalRequest)
            others = {other.binding: True for other in request.others} if len(self.asked) == 1 else {}
            return said and Answer(said.decision, said.by, said.reason, others=others)

    person = Both(YES, NO, NO)
    lines = [
        plan(step("read_mail", folder="inbox"), step("send_mail", to="a@shop.example", subject="s", body="1"),
             step("search_docs", query="x"), step("send_mail", to="b@shop.example", subject="s", body="2")),
        verdict(),
        verdict("revise"),
        plan(step("send_mail", to=MALLORY, subject="s", body="2")),
        plan(step("send_mail", to="b@shop.example", subject="s", body="2"),
             step("send_mail", to="b@shop.example", subject="s", body="2")),
        plan(),
        answer(),
    ]  # fmt: skip
    agent, place = agent_of(lines, person)
    agent.run("Mail them.")
    assert [dict(asked.args)["to"] for asked in person.asked] == ["a@shop.example", MALLORY, "b@shop.example"]
    assert place.ledger == [mail("a@shop.example", "1", "s")]
    assert any("planned after" in why for why in person.asked[-1].reasons)


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_never_leave_for_what_strangers_wrote() -> None:
    """auto_approve_after_s lets a clean note pass, and none that comes out of a mail."""
    policy = Policy(approve="ask", auto_approve_after_s=5, answer_within_s=60)
    for written, means in (("clean", "approve"), ("$s1[0].body", "reject"), ("$? what the mail says", "reject")):
        going, person = Time(), Says(None, None)
        lines = [plan(step("read_mail", folder="inbox"), step("add_note", text=written)), verdict()]
        lines += [bind(text=MALLORY)] if written.startswith("$?") else []
        clock = Clock(wall=going, monotonic=going)
        agent, place = agent_of([*lines, answer()], person, policy, clock=clock)
        run = agent.run("Note it.")
        assert (run.status, person.asked[0].on_silence) == (Status.AWAITING_APPROVAL, means)
        going.now += 6
        run.resume()
        assert place.ledger == ([note("clean")] if means == "approve" else [])
        going.now += 60
        if run.status is Status.AWAITING_APPROVAL:
            run.resume()
        assert place.ledger == ([note("clean")] if means == "approve" else [])
        assert run.status is (Status.COMPLETED if means == "approve" else Status.STOPPED)


@pytest.mark.parametrize("text", ["kept short", "$s1[0].body", "$? fill me", "$$s1", f"costs $5 to {VICTIM} $s1"])
def test_an_edit_is_carried_out_to_the_letter(text: str) -> None:
    """What a person writes in place of a stranger's text is what the tool gets, whatever it looks like."""
    person = Says(Answer("edit", "ada", args={"text": text}))
    lines = [plan(step("read_mail", folder="inbox"), step("add_note", text="$s1[0].body")), verdict(), answer()]
    agent, place = agent_of(lines, person)
    assert agent.run("Note it.").status is Status.COMPLETED
    assert place.ledger == [note(text)]
    assert dict(person.asked[0].args) == {"text": ATTACKS[0].body}


@pytest.mark.parametrize("name", ["references", "open-mark", "dollars"])
def test_what_strangers_write_is_no_reference_of_ours(name: str) -> None:
    """A text that looks like a reference or an opening reaches the person, and the tool, as the text that it is."""
    attack = next(attack for attack in ATTACKS if attack.name == name)
    person = Says(YES, YES)
    lines = [
        plan(step("read_mail", folder="inbox"), step("lookup_customer", email=VICTIM),
             step("add_note", text="$s1[0].body"), filed("t", "$s1[0].body")),
        verdict(), verdict(), answer(),
    ]  # fmt: skip
    agent, place = agent_of(lines, person, attack=attack)
    assert agent.run("Note it.").status is Status.COMPLETED
    assert place.ledger == [note(attack.body), ticket("t", attack.body)]
    assert SECRET not in str(place.ledger)
    assert dict(person.asked[0].args) == {"text": attack.body}


def test_a_call_says_which_text_it_may_come_out_of() -> None:
    """The question names each source with its step, its tool and its beginning, and why it is asked at all."""
    person = Says(None)
    lines = [
        plan(step("search_docs", query="x"), step("read_mail", folder="inbox"), step("fetch_url", url=PAGE),
             step("lookup_customer", email="$s2[0].from"), step("add_note", text="$s4.key")),
        verdict(), verdict(), verdict(),
    ]  # fmt: skip
    agent, _ = agent_of(lines, person)
    run = agent.run("Note it.")
    asked = person.asked[0]
    assert [(source.step, source.tool) for source in asked.sources] == [("s2", "read_mail"), ("s3", "fetch_url")]
    assert all(bare(ATTACKS[0].text)[:20] in bare(source.preview) for source in asked.sources)
    assert asked.reasons == ("its arguments come out of s4, which holds text that strangers wrote",)
    assert run.pending[0].reasons == asked.reasons


def test_an_address_may_be_fetched_as_planned_and_not_as_strangers_wish() -> None:
    """What leaves this machine is asked about once it may carry what was read out."""
    for later, waits in ((PAGE, False), ("$s1[0].data.url", True)):
        attack = next(attack for attack in ATTACKS if attack.name == "query-string")
        lines = [plan(step("read_mail", folder="inbox"), step("fetch_url", url=later)), verdict(), answer()]
        agent, place = agent_of(lines, nobody, attack=attack)
        assert (agent.run("Look.").status is Status.AWAITING_APPROVAL) == waits
        assert place.ledger == ([] if waits else [fetch(PAGE)])


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_a_dry_run_does_nothing_and_what_it_shows_is_asked_about(attack: Attack) -> None:
    """What strangers got into a dry run says so there, and is asked about one by one when it is executed."""
    place, store = world(), MemoryStore()
    place.begin(attack)
    model = Obedient(store, TASKS[0], attack, "last")
    agent = Agent(model, tools=place.tools, store=store, approve="auto", approver=nobody)
    run = agent.run(TASKS[0].text, dry_run=True)
    assert place.ledger == []
    shown = [effect for effect in run.effects if effect.tool != "read_mail"]
    assert all("strangers wrote" in " ".join(effect.gate) for effect in shown)
    if not shown or attack.where == "error" or run.status is not Status.COMPLETED:
        return
    done = run.execute()
    assert place.ledger == []
    assert done.status in (Status.AWAITING_APPROVAL, Status.COMPLETED)
    assert done.pending


# --- what is shown ----------------------------------------------------------------------------------------------------


class Fetches(HTMLParser):
    """What a browser would fetch by itself, and the addresses that can be clicked."""

    KNOWN = frozenset((
        "style", "article", "header", "footer", "b", "i", "p", "span", "div", "code", "pre", "small", "strong", "em",
        "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "caption", "details",
        "summary", "blockquote", "h4", "h5", "h6", "br", "hr", "a", "progress", "label",
    ))  # fmt: skip

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        odd = [
            name for name, _ in attrs if name in ("src", "srcset", "poster", "data", "background") or name[:2] == "on"
        ]
        linked = [name for name, _ in attrs if name == "href" and tag != "a"]
        styled = [value for name, value in attrs if name == "style" and value and "url" in value]
        if tag not in self.KNOWN or odd or linked or styled:
            self.found.append(self.get_starttag_text() or tag)


def test_the_parser_of_this_test_sees_what_a_browser_fetches() -> None:
    """Shown as it came, the answer would fetch a dozen times."""
    assert len(Fetches(BEACON).found) >= 5


@pytest.mark.parametrize("task", TASKS, ids=ids)
def test_an_answer_fetches_nothing_where_it_is_shown(task: HonestTask) -> None:
    """An image in Markdown or HTML stays text: no browser tells its server what the address holds."""
    obeyed = set()
    for attack in ATTACKS[::3]:
        run, _, _, _ = driven(task, attack, "arguments")
        page = run._repr_html_()
        assert Fetches(page).found == []
        assert "<img" not in page.lower()
        if run.output == BEACON.strip():
            assert SECRET in page  # its address is there to be seen
            obeyed.add(attack.name)
    assert obeyed  # not where the answer's prompt tells an older step in fewer words


def test_what_is_handed_over_without_a_model_fetches_nothing_either() -> None:
    """Where a limit leaves no room for an answer, what was found stands in its place, and it is strangers' text."""
    attack = Attack("image", BEACON, (), lambda _: False)
    place = world()
    place.begin(attack)
    model, budget = ScriptedModel([plan(step("fetch_url", url=PAGE))]), Budget(model_calls=1, tokens=None)
    agent = Agent(model, tools=place.tools, store=MemoryStore(), approve="auto", assess=False, budget=budget)
    run = agent.run("Look.")
    assert SECRET in run.output
    assert Fetches(run._repr_html_()).found == []
