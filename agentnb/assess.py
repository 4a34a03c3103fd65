"""Assessments: what a model says that the coming call rests on, and what of that code finds to hold.

A model sorts what it takes for known into established, assumed and unknown. Code then checks that against the memory:
what is called established must have a source that the run has, and a value in the call must stand in some source. A
person is asked only about a value that code finds nowhere, where the model calls it critical, vouches for it all the
same, or passes it over: what a model says alone is too often wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentnb.assess_changes import persons_words
from agentnb.events import AssessmentMade, ReplyRejected, Statement, ToolRefused
from agentnb.forms import Schema, ToolSpec, closed_object, text
from agentnb.grounds import Ground, found_nowhere, grounds_of, points_at
from agentnb.log import RunLog
from agentnb.memory import done_steps, known
from agentnb.models.base import ModelReply
from agentnb.plan import JSON, Step
from agentnb.prepared import prepare
from agentnb.prompt_text import as_line, call_text, join, newest, noted_text, problems_text, settled, system_text
from agentnb.prompts import Prompt
from agentnb.recovery import MOST_ASSESSMENTS
from agentnb.replies import BadReply, read_reply
from agentnb.state import RunState
from agentnb.tiers import escalation
from agentnb.tools import Tool

__all__ = ["SAID", "Assessment", "Said", "assess_question", "assessment_of", "checked"]

SAID: Final = 6
"""Statements of an assessment at most."""
_ARGS: Final = 12
_LOOKED_THROUGH: Final = 40
"""Results that a value is looked for in: the last ones."""
_VALUE_BYTES: Final = 120
_TEXT: Final = 200
"""Characters of a statement."""

Standing = Literal["established", "assumed", "unknown"]
_STANDINGS: Final[tuple[Standing, ...]] = ("established", "assumed", "unknown")

_RULES: Final = """\
Before the call below is made, say what it rests on: one statement for each argument that matters, at most {most}.
- argument: the argument, or "none".
- text: what the argument takes for true, in one sentence with its values.
- sources: where that is said: "task", "person", or the id of a finished step; [] if nothing says it.
- status: established (a source says so), assumed (no source says so: it was guessed, or is only likely), or unknown \
(nobody has said it, and the call needs it).
- critical: true only if the call would do harm or reach the wrong one, should it be false.

Example, for another task ("Mail Bob the total") and the call mail(to="bob@corp.example", body="The total is 12."):
{{"statements": [{{"argument": "to", "text": "Bob's address is bob@corp.example.", "sources": [], "status": "assumed", \
"critical": true}}, {{"argument": "body", "text": "The total is 12.", "sources": ["s1"], "status": "established", \
"critical": false}}]}}
"""


class Said(BaseModel):
    """A statement as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    text: str
    status: Standing
    sources: list[str] = Field(default_factory=list)
    argument: str = "none"
    critical: bool = False


class Assessment(BaseModel):
    """An assessment as a model writes it."""

    model_config = ConfigDict(extra="ignore")

    statements: list[Said] = Field(min_length=1)


def assess_question(log: RunLog, specs: Sequence[ToolSpec], tool: Tool, step: Step) -> Prompt:
    """What the model is asked about the present step's call.

    Args:
        log: the run.
        specs: all tools, as a model sees them.
        tool: the step's.
        step: the present one.
    """
    state = log.state
    done, earlier = done_steps(log)
    args = _args(log, tool, step)
    missing = found_nowhere(args, tool.parameters, _grounds(log))
    lines = [f"Step {step.id}: {as_line(step.title, 160)}", f"Call: {call_text(step.tool, args, 600)}"]
    lines += [_origin(name, missing.get(name)) for name in list(args)[:_ARGS]]
    memory = known(log)
    parts = [
        newest(done, earlier, memory),
        noted_text(memory),
        _RULES.format(most=SAID),
        "\n".join(lines),
        problems_text(state.problems),
        f"Say what {call_text(step.tool, {}, 100)} in step {step.id} rests on.",
    ]
    ids = [outcome.step for outcome in state.outcomes.last(_LOOKED_THROUGH)]
    system = system_text(state.head.task, tuple(specs))
    return Prompt(system, join(parts), _schema(ids, list(args)), 900, (*memory.context, *settled(done, memory)))


def _origin(name: str, missing: tuple[str, ...] | None) -> str:
    """What code has found out about an argument, in words."""
    if not missing:
        return f"- {as_line(name, 40)}: its values stand in the task or a result"
    shown = as_line(", ".join(missing), _VALUE_BYTES)
    return f"- {as_line(name, 40)}: NOWHERE in the task or a result: {shown}"


def _schema(ids: Sequence[str], args: Sequence[str]) -> Schema:
    sources = {"type": "string", "enum": ["task", "person", *ids]}
    said = {
        "argument": {"type": "string", "enum": [*args[:_ARGS], "none"]},
        "text": text(_TEXT),
        "sources": {"type": "array", "items": sources, "maxItems": 3},
        "status": {"type": "string", "enum": list(_STANDINGS)},
        "critical": {"type": "boolean"},
    }
    items = {"type": "array", "items": closed_object(said), "minItems": 1, "maxItems": SAID}
    return closed_object({"statements": items})


def assessment_of(log: RunLog, tool: Tool, step: Step, reply: ModelReply) -> AssessmentMade | ReplyRejected:
    """The assessment that the reply holds, checked by code; or what is wrong with the reply.

    After the last reply that may be wrong, the strong model's included, it is code's own: whatever the call holds that
    nothing says is critical where the call acts, and unknown. So a model that cannot assess neither stops a run nor
    lets a guess pass.
    """
    args = _args(log, tool, step)
    missing = found_nowhere(args, tool.parameters, _grounds(log))
    pointing = {name for name, facts in missing.items() if tool.facts.acts and points_at(args[name], facts)}
    try:
        said = read_reply(Assessment, reply).statements[:SAID]
    except BadReply as bad:
        if log.state.rejected + 1 < MOST_ASSESSMENTS or escalation(log.state, "assess"):
            return ReplyRejected(phase="assess", step=step.id, problems=bad.problems)
        return _by_code(log.state, step, missing)
    sorted_out = [checked(log.state, one, missing, pointing) for one in said]
    told = {statement.argument for _, statement in sorted_out}
    passed_over = [name for name in missing if name in pointing - told]
    sorted_out += [("unknown", _passed_over(name, missing[name])) for name in passed_over]
    groups = {name: tuple(s for standing, s in sorted_out if standing == name) for name in _STANDINGS}
    gaps = tuple(s for s in (*groups["assumed"], *groups["unknown"]) if s.critical and s.argument in missing)
    one_each = {gap.argument: gap for gap in reversed(gaps)}
    gaps = tuple(gap for gap in gaps if one_each[gap.argument] is gap)
    return AssessmentMade(
        step=step.id,
        call=log.state.present_call,
        established=groups["established"],
        assumed=groups["assumed"],
        unknown=groups["unknown"],
        gaps=gaps,
    )


def checked(
    state: RunState, said: Said, missing: Mapping[str, Sequence[str]], pointing: Collection[str] = ()
) -> tuple[Standing, Statement]:
    """One statement as code lets it stand: with the sources that there are, and established only with one of them.

    Args:
        state: of the run.
        said: what the model says.
        missing: the call's arguments with something in them that nothing says.
        pointing: those that point at somebody or something nobody has named, in a call that acts: to vouch for one is
            worse than to assume it.
    """
    sources = tuple(dict.fromkeys(source for source in said.sources if _is_source(state, source)))
    argument = "" if said.argument == "none" else said.argument
    why = ""
    if said.status == "established" and not sources:
        why = "no finished step, and nobody, has said it"
    elif said.status == "established" and argument in missing:
        why = f"nothing says {as_line(', '.join(missing[argument]), _VALUE_BYTES)}"
    standing: Standing = "assumed" if why else said.status
    critical = said.critical and (not argument or argument in missing)  # a model cries wolf, and code knows better
    critical = critical or (bool(why) and argument in pointing)
    stated = as_line(said.text, 3 * _TEXT)
    return standing, Statement(text=stated, sources=sources, critical=critical, argument=argument, demoted=why)


def _is_source(state: RunState, name: str) -> bool:
    """True of the task, of a person who has said something, and of a finished step that has a result."""
    if name == "task":
        return True
    if name == "person":
        return bool(persons_words(state))
    return any(o.step == name and o.status in ("ok", "empty") for o in state.outcomes.last(_LOOKED_THROUGH))


def _passed_over(name: str, facts: Sequence[str]) -> Statement:
    said = f"where {as_line(', '.join(facts), _VALUE_BYTES)} comes from: the assessment does not say"
    return Statement(text=said, critical=True, argument=name)


def _by_code(state: RunState, step: Step, missing: Mapping[str, Sequence[str]]) -> AssessmentMade:
    acts = state.head.tools[step.tool].acts
    unknown = tuple(
        Statement(
            text=f"where {as_line(', '.join(facts), _VALUE_BYTES)} comes from: no model could assess it",
            critical=acts,
            argument=name,
        )
        for name, facts in list(missing.items())[:SAID]
    )
    gaps = unknown if acts else ()
    return AssessmentMade(step=step.id, call=state.present_call, unknown=unknown, gaps=gaps, by="code")


def _args(log: RunLog, tool: Tool, step: Step) -> dict[str, JSON]:
    """The call's arguments as the tool will get them; as they are where that is refused, which comes to light later."""
    call = prepare(log, tool, step)
    if isinstance(call, ToolRefused):
        args: dict[str, Any] = log.value(log.state.bound) if log.state.bound else step.args
        return dict(args)
    return call.args


def _grounds(log: RunLog) -> tuple[Ground, ...]:
    state = log.state
    found = [o for o in state.outcomes.last(_LOOKED_THROUGH) if o.status in ("ok", "empty") and o.result]
    results = [(o.step, log.value(o.result)) for o in found if o.result]
    return grounds_of(state.head.task, results, persons_words(state))
