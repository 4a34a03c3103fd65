"""What an assessment changes, and a person's answer to what it found missing: both enter the memory."""

from __future__ import annotations

from typing import Literal

from agentnb.errors import IllegalTransition
from agentnb.events import AssessmentMade, Item, QuestionAnswered, QuestionAsked, Statement
from agentnb.plan import open_args
from agentnb.state import RunState, Stage, Status
from agentnb.step_changes import CLEAN, UNTRIED, Changes, current, require

__all__ = ["answered", "asked", "assessed", "missing_of", "persons_words", "words_of"]

_ASKED = " (asked about “"
"""Between what a person says and what was asked: the answer comes first, for a prompt may cut it short."""
_WITHOUT = "go on without knowing: "
"""Before what a person does without: those are an assessment's words."""


def assessed(state: RunState, e: AssessmentMade) -> Changes:
    """What is assumed and what is not known takes the place of what the assessment before had said of that.

    What the plan's steps assume stays: it is the planner's.
    """
    current(state, e.step, e)
    require(state.head.assess is not None, "this run makes no assessments", e)
    require(e.call == state.present_call, "it was made for another call", e)
    require(set(e.gaps) <= {*e.assumed, *e.unknown}, "a gap is something that it says", e)
    planned = {(step.id, text) for step in state.plan.steps for text in step.assumes} if state.plan else set()
    kept = tuple(
        item
        for item in state.noted
        if item.kind not in ("assumption", "question") or item.by == "person" or (*item.sources, item.text) in planned
    )
    open_now = (*(_item("assumption", s, e.by) for s in e.assumed), *(_item("question", s, e.by) for s in e.unknown))
    return {
        "noted": (*kept, *open_now),
        "assessed": e.call,
        "assessed_after": len(state.outcomes),
        "gaps": e.gaps,
        "question": None,
        **UNTRIED,
    }


def asked(state: RunState, e: QuestionAsked) -> Changes:
    """A person is being asked."""
    current(state, e.step, e)
    require(bool(state.gaps) and e.gaps == state.gaps, "that is not what the newest assessment found missing", e)
    return {"question": e, "question_at": state.seq + 1}


def answered(state: RunState, e: QuestionAnswered) -> Changes:
    """An answer is a person's word, and what is left of the plan is made anew with it; else the call goes on as it is.

    In a plan of the user's the plan stays, and a model fills the call's open arguments once more.
    """
    step = current(state, e.step, e)
    if state.question is None or not state.gaps:
        raise IllegalTransition(f"{e.kind}: nothing waits for an answer")
    require(e.decision != "answer" or bool(e.text.strip()), "an answer says something", e)
    missing = words_of(state.gaps)
    rest: Changes = {
        "status": Status.SUSPENDED if state.suspended else Status.IN_PROGRESS,
        "gaps": (),
        "question": None,
    }
    if e.decision == "go_on":
        decided = Item(kind="decision", text=f"{_WITHOUT}{missing}", by="person", critical=True)
        return rest | {
            "noted": (*state.noted, decided),
            "unanswered": (*state.unanswered, *map(missing_of, state.gaps)),
        }
    if e.decision == "stop":
        return {**CLEAN, **rest, "stage": Stage.ANSWER, "stop": "unanswered", "why": f"stopped at: {missing}"}
    gone = {s.text for s in state.gaps}
    kept = tuple(item for item in state.noted if item.text not in gone or item.by == "person")
    about = ", ".join(dict.fromkeys(gap.argument or gap.text for gap in state.gaps))  # not the value that was guessed
    said = f"a person says: {e.text.strip()}{_ASKED}{about}”)"
    word = Item(kind="fact", text=said, by="person", sources=("person",))
    rest |= {"noted": (*kept, word), "assessed": ""}
    if state.plan is not None and state.plan.by == "model":
        return {**CLEAN, **rest, "stage": Stage.PLAN, "why": said, "answered": True}
    require(bool(open_args(step.args)), "nothing in the call is open to an answer", e)
    of_args = tuple((gap.argument, e.text.strip()) for gap in state.gaps if gap.argument)
    return rest | {"bound": None, "by_model": False, "said": (*state.said, *of_args)}


def persons_words(state: RunState) -> tuple[str, ...]:
    """What people have said in the run, without what they were asked: a question vouches for nothing in it."""
    items = (item for item in (*state.memory.items, *state.noted) if item.by == "person")
    return tuple(item.text.partition(_ASKED)[0] for item in items if not item.text.startswith(_WITHOUT))


def words_of(gaps: tuple[Statement, ...]) -> str:
    """What is missing, in one line."""
    return "; ".join(map(missing_of, gaps))


def missing_of(gap: Statement) -> str:
    """What is missing, with the argument that rests on it."""
    return f"{gap.argument}: {gap.text}" if gap.argument else gap.text


def _item(kind: Literal["assumption", "question"], said: Statement, by: Literal["model", "code"]) -> Item:
    steps = tuple(source for source in said.sources if source not in ("task", "person"))
    return Item(kind=kind, text=said.text, by=by, sources=steps, critical=said.critical)
