"""The gate before a call that acts: what a person is asked, and what follows from the answer.

Nothing passes without leave that is bound to exactly this call, unused and not expired; `transitions.py` refuses the
claim otherwise, whatever happens here.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from agentnb.approval import (
    Answer,
    ApprovalRequest,
    DoubtRequest,
    OtherCall,
    Source,
    binding,
)
from agentnb.asker import Asker, is_sound
from agentnb.calls import STILL_RUNS, in_words, look_whether_it_happened
from agentnb.decide import can_revise
from agentnb.errors import Interrupted
from agentnb.events import (
    ApprovalAnswered,
    ApprovalAsked,
    AskedCall,
    DoubtResolved,
    Event,
    GateRaised,
    RunSuspended,
    ToolRefused,
)
from agentnb.log import RunLog
from agentnb.mailbox import posted
from agentnb.plan import JSON, Step, literal, open_args, references
from agentnb.prepared import Prepared, entry_of, prepare, prepare_later, problems_with, secret_in
from agentnb.preview import preview
from agentnb.runner import Runner, ended
from agentnb.state import RunState
from agentnb.tools import Tool

__all__ = ["Gate", "inside", "so_far"]

_TOGETHER: Final = 20
"""Calls that are asked about together, at most."""
_AHEAD: Final = 40
"""Steps of the plan that are looked through for them."""
_SOURCE: Final = 1500
"""Characters of untrusted text that a person is shown: an instruction may hide behind a harmless beginning."""
_SO_FAR: Final = 12
"""Steps so far that a person is shown: the last ones."""
_RECORDED_S: Final = 0.05
"""Seconds that it may take until an answer has its place in the records."""


class Gate:
    """Asks about the calls of one run.

    Args:
        log: the run.
        tools: by name.
        asker: asks and tells people.
    """

    def __init__(self, log: RunLog, tools: Mapping[str, Tool], asker: Asker) -> None:
        self._log = log
        self._tools = tools
        self._asker = asker
        self._offered: set[tuple[int, str]] = set()
        """Steps, with their plan's version, that were asked about with an earlier one: what was left open of them is
        asked when they come, and not with every question in between."""

    def ask(self, step: Step) -> Iterator[Event]:
        """Whether the present step's call may be made: what is asked, and what is answered."""
        log, tool = self._log, self._tools[step.tool]
        call = prepare(log, tool, step)
        if isinstance(call, ToolRefused):
            yield call
            return
        if not isinstance(known := entry_of(log, tool, step, call), int):
            yield known
            return
        if set(call.ask) - set(log.state.raised):
            yield GateRaised(step=step.id, reasons=call.ask)
        what = binding(log.run, tool.name, call.kept)
        if earlier := self._decided_earlier(step, call, what):
            yield earlier
            return
        request, asked = self._request(step, tool, call, what), log.state.approval
        fresh = asked is None or asked.binding != what or asked.on_silence != request.on_silence
        if asked is None or fresh:
            yield self._question(step, tool, call, request)
        else:  # the question stands since before, for what was asked then, and its time is running
            shown = {other.binding for other in asked.others}
            others = tuple(other for other in request.others if other.binding in shown)
            left = request.within_s if asked.expires is None else max(0.0, asked.expires - log.now())
            request = replace(request, others=others, within_s=left)
        yield from self._answers(step, tool, request, fresh=fresh)

    def _decided_earlier(self, step: Step, call: Prepared, what: str) -> ApprovalAnswered | None:
        """What was said of this call when an earlier one was asked about, if that still holds.

        A yes holds for what was shown: not where a guard or untrusted text has come up with more since.
        """
        now, reasons = self._log.now(), {*call.ask, *self._log.state.taint}
        for grant in self._log.state.grants:
            holds = grant.until >= now and reasons <= set(grant.reasons)
            if grant.binding == what and (holds or not grant.granted):
                decision: Any = "approve" if grant.granted else "reject"
                reason = "" if grant.granted else "not selected"
                return ApprovalAnswered(
                    step=step.id, decision=decision, by=grant.by, reason=reason, binding=what, earlier=True
                )
        return None

    def _question(self, step: Step, tool: Tool, call: Prepared, request: ApprovalRequest) -> ApprovalAsked:
        log = self._log
        others = tuple(AskedCall(o.step, o.tool, log.keep(dict(o.args)), o.binding, o.reasons) for o in request.others)
        return ApprovalAsked(
            step=step.id,
            tool=tool.name,
            args=call.kept,
            binding=request.binding,
            others=others,
            expires=log.now() + request.within_s,
            on_silence=request.on_silence,
        )

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answers(self, step: Step, tool: Tool, request: ApprovalRequest, *, fresh: bool) -> Iterator[Event]:
        log, asked = self._log, self._log.state.approval
        if asked is None:
            raise AssertionError("the question is recorded")
        if log.state.head.policy.approve == "deny":
            reason = "approve=deny refuses all that needs approval"
            yield ApprovalAnswered(step=step.id, decision="reject", by="policy", reason=reason)
            return
        answer = None if fresh else posted(log.store, log.run, log.state.asked_at)  # nobody knows of it before
        if answer is None and not self._late():
            self._asker.tell(request)
            answer = self._asked(request) or posted(log.store, log.run, log.state.asked_at)
        late = self._late() and (answer is None or asked.on_silence == "reject")  # where silence is a yes, words count
        if late and answer is not None and answer.decision == "edit":
            reason = "the call was changed, but only when the time for an answer was up"
            yield ApprovalAnswered(step=step.id, decision="reject", by=answer.by, reason=reason)
        elif late and (answer is None or answer.decision != "reject"):
            yield self._silence(step, asked.on_silence)
        elif answer is None:
            yield RunSuspended(reason="approval", detail=f"{step.id} {tool.name} waits for a person")
        else:
            yield self._event(step, request, answer)

    def _late(self) -> bool:
        """True where the time for an answer is up, or will be before one is recorded."""
        asked = self._log.state.approval
        return asked is not None and asked.expires is not None and self._log.now() > asked.expires - _RECORDED_S

    def _silence(self, step: Step, meaning: Literal["approve", "reject"]) -> ApprovalAnswered:
        policy = self._log.state.head.policy
        within_s = policy.auto_approve_after_s if meaning == "approve" else policy.answer_within_s
        reason = f"nobody answered within {within_s:g} s"
        return ApprovalAnswered(step=step.id, decision=meaning, by="policy", reason=reason, silent=True)

    def _asked(self, request: ApprovalRequest) -> Answer | None:
        """What the approver says; one that fails denies."""
        try:
            answer = self._asker.answer(request)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:  # noqa: BLE001 - a user's code, and whatever it raises means the same
            return Answer("reject", "policy", f"the approver failed: {in_words(error, self._log.redact)}")
        if answer is None or (isinstance(answer, Answer) and is_sound(answer)):
            return answer
        said = self._log.redact(repr(answer))[:400]
        return Answer("reject", "policy", f"the approver gave {said}, which is no Answer")

    def _event(self, step: Step, request: ApprovalRequest, answer: Answer) -> ApprovalAnswered:
        """`answer` as a record, held to what was asked."""
        known = {other.binding for other in request.others}
        others = {what: bool(said) for what, said in answer.others.items() if what in known}
        silent = answer.by == "policy" and answer.decision == request.on_silence == "approve"
        if answer.decision == "reject":
            return ApprovalAnswered(
                step=step.id, decision="reject", by=answer.by, reason=answer.reason, others=others, silent=silent
            )
        if answer.decision == "approve":
            allow = answer.allow and request.allowable
            return ApprovalAnswered(
                step=step.id, decision="approve", by=answer.by, reason=answer.reason, allow=allow, others=others,
                silent=silent,
            )  # fmt: skip
        if answer.decision == "edit" and answer.args is not None:
            return self._edited(step, request, replace(answer, others=others), answer.args)
        reason = f"the approver answered {answer.decision!r}, which is no answer to this"
        return ApprovalAnswered(step=step.id, decision="reject", by="policy", reason=reason)

    def _edited(
        self, step: Step, request: ApprovalRequest, answer: Answer, args: Mapping[str, JSON]
    ) -> ApprovalAnswered:
        log = self._log
        why = secret_in(log, args)
        call = None if why else prepare_later(log, self._tools[request.tool], step, literal(dict(args)))
        if call is None or isinstance(call, ToolRefused):
            reason = f"the edited arguments cannot be used: {'; '.join(call.problems) if call else why}"
            return ApprovalAnswered(step=step.id, decision="reject", by=answer.by, reason=reason)
        return ApprovalAnswered(
            step=step.id,
            decision="edit",
            by=answer.by,
            reason=answer.reason,
            args=log.keep(literal(call.args)),
            binding=binding(log.run, request.tool, call.kept),
            others=answer.others,
        )

    # --- questions ----------------------------------------------------------------------------------------------------

    def _request(self, step: Step, tool: Tool, call: Prepared, what: str) -> ApprovalRequest:
        log, state = self._log, self._log.state
        taint = state.taint
        reasons = tuple(dict.fromkeys((*state.raised, *call.ask, *filter(None, (step.ask,)), *taint)))
        must_ask = bool(reasons)
        silence, within_s = state.head.policy.silence(tool.facts, must_ask=must_ask)
        return ApprovalRequest(
            run=log.run,
            step=step.id,
            title=step.title,
            tool=tool.name,
            args=copy.deepcopy(call.args),  # earlier results may lie in it, and an approver may alter what it gets
            expect=step.expect,
            reversibility=tool.reversibility,
            binding=what,
            effect=tool.effect,
            egress=tool.egress,
            task=state.head.task,
            confidence=step.confidence,
            reasoning=_reasoning(state, step),
            so_far=so_far(state),
            reasons=reasons,
            sources=self._sources() if taint or state.head.executes else (),  # whose reasons are those of the dry run
            on_silence=silence,
            within_s=within_s,
            parameters=tool.parameters,
            problems=lambda args: problems_with(log.state, tool, args),
            others=self._others(),
            allowable=tool.reversibility != "irreversible" and not must_ask,
            replans=can_revise(state),
            **inside(state),
        )

    def _sources(self) -> tuple[Source, ...]:
        log, found = self._log, []
        for place in (int(name[1:]) - 1 for name in log.state.sources):
            outcome = log.state.outcomes[place] if place < len(log.state.outcomes) else None
            if outcome is None or log.state.plan is None:
                continue
            shown = preview(log.value(outcome.result), _SOURCE) if outcome.result else outcome.message
            found.append(Source(outcome.step, log.state.plan.steps[place].tool, shown))
        return tuple(found)

    def _others(self) -> tuple[OtherCall, ...]:
        """The next calls of the plan that need leave, whose arguments are known, and of which nothing was said yet."""
        state, done = self._log.state, len(self._log.state.outcomes)
        decided = Counter(grant.binding for grant in state.grants)
        found: list[OtherCall] = []
        ahead = state.plan.steps[done + 1 : done + 1 + _AHEAD] if state.plan else ()
        version = state.plan.version if state.plan else 0
        for place, step in enumerate(ahead, start=done + 1):
            if len(found) >= _TOGETHER - 1:
                break
            if (version, step.id) in self._offered or (other := self._other(step, place)) is None:
                continue
            self._offered.add((version, step.id))
            if decided[other.binding]:
                decided[other.binding] -= 1
            elif all(other.binding != known.binding for known in found):  # one yes is leave for one call
                found.append(other)
        return tuple(found)

    def _other(self, step: Step, place: int) -> OtherCall | None:
        """The call of a later step, or None where nobody has to be asked, or what it would be is not known yet."""
        log, state, tool = self._log, self._log.state, self._tools.get(step.tool)
        if tool is None or tool.effect == "destructive" or not self._is_known(step):
            return None
        if state.head.dry and tool.facts.acts:  # it is only simulated
            return None
        told = tool.facts.delegates or not tool.facts.acts
        taint = () if told else state.tainted(step, place, by_model=False)
        if not (tool.guards or step.ask or taint or state.asked_about(step)):
            return None
        call = prepare_later(log, tool, step)
        if isinstance(call, ToolRefused) or not isinstance(entry_of(log, tool, step, call), int):
            return None
        reasons = (*call.ask, *filter(None, (step.ask,)), *taint)
        if not reasons and not state.asked_about(step):
            return None
        what = binding(log.run, tool.name, call.kept)
        about = (step.id, step.title, tool.name, call.args, step.expect, tool.reversibility)
        return OtherCall(*about, binding=what, reasons=reasons, effect=tool.effect, egress=tool.egress)

    def _is_known(self, step: Step) -> bool:
        """True where each argument is a literal, or refers to a step that is finished."""
        done = len(self._log.state.outcomes)
        return not open_args(step.args) and all(int(ref[1:]) <= done for ref in references(step.args))

    # --- calls in doubt -----------------------------------------------------------------------------------------------

    def settle(self, step: Step, runner: Runner) -> Iterator[Event]:
        """Whether the claimed call happened: as the tool finds out, else as a person does; else the run rests."""
        log, tool, claim = self._log, self._tools[step.tool], self._log.state.claim
        if claim is None:
            raise AssertionError("stage CALL has a claim")
        found = look_whether_it_happened(log, tool, step, runner)
        if not isinstance(found, str):
            yield found
            return
        doubt = log.state.doubt or "it was begun, and the process ended before it said how it went"
        request = DoubtRequest(
            run=log.run,
            step=step.id,
            title=step.title,
            tool=tool.name,
            args=log.value(claim.args),
            key=claim.key,
            known=tuple(filter(None, (doubt, found))),
            reversibility=tool.reversibility,
            **inside(log.state),
        )
        answer = self._asker.ask(request, _is_about_doubt)
        early = answer is not None and answer.decision == "not_happened" and not ended(claim.key, 0)
        if answer is None or early:
            detail = f"{step.id} {tool.name}: {doubt}; {STILL_RUNS if early else 'whether it acted is not known'}"
            yield RunSuspended(reason="in_doubt", detail=detail[:1000])
        else:
            happened = answer.decision == "happened"
            result = log.keep(None) if happened else None
            yield DoubtResolved(step=step.id, happened=happened, by=answer.by, reason=answer.reason, result=result)


def _is_about_doubt(answer: Answer) -> bool:
    return answer.decision in ("happened", "not_happened")


def inside(state: RunState) -> dict[str, str]:
    """As what, and where, another run called this one."""
    head = state.head
    return {"agent": head.agent, "parent": head.parent, "parent_step": head.parent_step}


def _reasoning(state: RunState, step: Step) -> tuple[str, ...]:
    """Why this step: why the plan was revised, if it was, and the findings of the steps that it rests on."""
    needs = {*step.depends_on, *references(step.args)}
    found = [o for o in state.outcomes.last(_SO_FAR) if o.step in needs and o.finding]
    why = state.plan.reason if state.plan and state.plan.version > 1 else ""
    return (*([f"the plan was revised: {why}"] if why else []), *(f"{o.step}: {o.finding}" for o in found))


def so_far(state: RunState) -> tuple[str, ...]:
    """The last steps that the run has carried out, one line each, as a person is shown them."""
    steps = state.plan.steps if state.plan else ()
    last = state.outcomes.last(_SO_FAR)
    shown = steps[len(state.outcomes) - len(last) : len(state.outcomes)]
    return tuple(
        f"{step.id} {step.title or step.tool}: {outcome.finding or outcome.message or outcome.status}"
        for step, outcome in zip(shown, last, strict=True)
    )
