"""The account of a run: its deeds, as its records tell them, in the order in which they ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from agentnb.deeds import Deed, Doubt, How, Leave, Status, Try
from agentnb.events import (
    ActionClaimed,
    ActionProposed,
    ActionSettled,
    ApprovalAnswered,
    ApprovalExpired,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    GateRaised,
    Kept,
    LimitReached,
    ReadRepeated,
    Record,
    RunFinished,
    RunForked,
    RunSuspended,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)
from agentnb.plan import Step, references
from agentnb.state import NEW, RunState
from agentnb.transitions import fold
from agentnb.values import json_text

__all__ = ["deeds"]

_ID: Final = re.compile(r"s[1-9][0-9]{0,8}")


def deeds(records: Iterable[Record], origin: tuple[str, int] = ("", -1)) -> Iterator[Deed]:
    """The deeds of one run, each as soon as it has ended; those that have not at last.

    Args:
        records: all of the run, from the first on.
        origin: of a fork or an imported run: where its records up to which one come from.

    Raises:
        DamagedRecord: a record that no run writes there.
    """
    telling = _Telling(origin)
    for record in records:
        yield from telling.add(record)
    yield from telling.left()


@dataclass
class _Telling:
    """The records so far.

    Attributes:
        origin: see `deeds`.
        state: the fold.
        claimed: the call under way.
        actions: those that are carried out by hand, by their steps.
        leave: what was decided last, by step.
    """

    origin: tuple[str, int]
    state: RunState = NEW
    claimed: Deed | None = None
    actions: dict[str, Deed] = field(default_factory=dict)
    leave: dict[str, Leave] = field(default_factory=dict)

    def add(self, record: Record) -> Iterator[Deed]:
        """Take in the next record; what has ended with it."""
        before, self.state = self.state, fold((record,), self.state)
        match record.event:
            case ToolClaimed() as e:
                yield from self._claim(before, record, e)
            case ApprovalAnswered() as e:
                yield from self._answered(before, record, e)
            case ToolRefused() | EarlierResult() | CallSimulated() | ActionProposed() | ReadRepeated():
                yield from self._in_place(before, record)
            case ActionClaimed() | ActionSettled() as e:
                yield from self._by_hand(before, record, e)
            case RunForked():
                self.leave.clear()
            case _ if self.claimed is not None:
                yield from self._went_on(self.claimed, record)

    def left(self) -> Iterator[Deed]:
        """What has not ended."""
        for deed in (*filter(None, [self.claimed]), *self.actions.values()):
            doubtful = bool(deed.doubts) and deed.doubts[-1].happened is None
            yield replace(deed, status=Status.IN_DOUBT if doubtful else deed.status)

    def _begun(self, before: RunState, record: Record, step: str) -> Deed:
        """A deed of a step, with what the plan says of it."""
        plan, head = before.plan, before.head
        known = _step(before, step) or Step(tool="", id=step)
        needs = sorted({*known.depends_on, *references(known.args)}, key=lambda name: (len(name), name))
        where, upto = self.origin
        return Deed(
            run=head.run, parent=head.parent, parent_step=head.parent_step, agent=head.agent,
            origin=where if record.seq <= upto else "", step=step, tool=known.tool, facts=head.tools.get(known.tool),
            planned=(plan.version, plan.by) if plan else (0, ""), title=known.title,
            rests_on=tuple((name, found.tool) for name in needs if (found := _step(before, name))),
            reasons=tuple(dict.fromkeys((*before.raised, *filter(None, [known.ask])))),
            at=record.at, records=(record.seq,),
        )  # fmt: skip

    # --- calls --------------------------------------------------------------------------------------------------------

    def _claim(self, before: RunState, record: Record, e: ToolClaimed) -> Iterator[Deed]:
        attempt = Try(e.attempt, record.seq, record.at)
        if self.claimed is not None and self.claimed.key == e.key and before.claim is not None:
            tries = (*self.claimed.tries, attempt)
            self.claimed = self.claimed.with_record(record.seq, tries=tries, status=Status.OPEN)
            return
        if self.claimed is not None:
            yield replace(self.claimed, status=Status.WITHDRAWN)
        self.claimed = replace(
            self._begun(before, record, e.step), args=e.args, key=e.key, binding=e.binding, tries=(attempt,),
            described=e.described, leave=self._let(before, e),
        )  # fmt: skip

    def _let(self, before: RunState, e: ToolClaimed) -> Leave:
        """On whose authority a call is claimed."""
        facts = before.head.tools.get(e.tool)
        if (leave := self.leave.pop(e.step, None)) and before.approved:
            return leave
        if facts is None or not facts.acts:
            return Leave(How.UNASKED)
        if facts.delegates:
            return Leave(How.INSIDE)
        allowed = self.leave.get(f"tool {e.tool}") if e.tool in before.allowed else None
        return allowed or Leave(How.POLICY, "policy")

    def _went_on(self, deed: Deed, record: Record) -> Iterator[Deed]:
        """What a record says of the call under way."""
        match record.event:
            case ToolRetried() as e:
                tries = deed.last_try(seconds=e.seconds, failure=e.failure, message=e.message, wait_s=e.wait_s)
                self.claimed = deed.with_record(record.seq, tries=tries)
            case ToolReturned() as e:
                ended = deed.last_try(seconds=e.seconds, failure=e.failure, message=e.message)
                yield self._end(
                    deed, record, Status(e.status), tries=ended, result=e.result, failure=e.failure, message=e.message
                )
            case CallInDoubt() as e:
                doubts = (*deed.doubts, Doubt(e.message, record.seq))
                self.claimed = deed.with_record(record.seq, doubts=doubts, tries=deed.last_try(seconds=e.seconds))
            case RunSuspended(reason="in_doubt") as e if not deed.doubts or deed.doubts[-1].happened is not None:
                self.claimed = deed.with_record(record.seq, doubts=(*deed.doubts, Doubt(e.detail, record.seq)))
            case RunSuspended(withdrawn=True):
                self.claimed = deed.with_record(record.seq, status=Status.WITHDRAWN)
            case DoubtResolved() as e:
                yield from self._resolved(deed, record, e)
            case ChildStarted() as e:
                self.claimed = deed.with_record(record.seq, children=(*deed.children, e.child))
            case ChildSettled() as e if deed.facts is not None and deed.facts.delegates:
                self.claimed = deed.with_record(record.seq, ended=(e.status, e.reason))
            case GateRaised() | ApprovalExpired() | LimitReached() | RunFinished() if self.state.claim is None:
                yield self._end(deed, record, Status.WITHDRAWN)
            case _:
                pass

    def _resolved(self, deed: Deed, record: Record, e: DoubtResolved) -> Iterator[Deed]:
        """Somebody has found out whether it acted; where it did not, it may be made again."""
        *first, last = deed.doubts or (Doubt("its process ended before it said how it went", deed.tries[-1].record),)
        known = replace(last, happened=e.happened, by=e.by, reason=e.reason, resolved=record.seq)
        deed = replace(deed, doubts=(*first, known))
        if e.happened:
            yield self._end(deed, record, Status.OK, result=e.result)
        elif self.state.claim is None:
            yield self._end(deed, record, Status.WITHDRAWN)
        else:
            self.claimed = deed.with_record(record.seq, status=Status.WITHDRAWN)

    def _end(self, deed: Deed, record: Record, status: Status, **changes: object) -> Deed:
        self.claimed = None
        return deed.with_record(record.seq, status=status, **changes)

    # --- what stands in the place of one ------------------------------------------------------------------------------

    def _answered(self, before: RunState, record: Record, e: ApprovalAnswered) -> Iterator[Deed]:
        how = {"approve": How.APPROVED, "edit": How.EDITED, "reject": How.REJECTED}[e.decision]
        how = How.SILENCE if e.silent else How.EARLIER if e.earlier and how is How.APPROVED else how
        leave = Leave(how, e.by, e.reason, record.seq, record.at)
        if e.decision != "reject":
            self.leave[e.step] = leave
            if e.allow and before.approval:
                self.leave[f"tool {before.approval.tool}"] = replace(leave, how=How.TOOL_ALLOWED)
            return
        asked = before.approval
        deed = self._begun(before, record, e.step)
        yield replace(
            deed, args=asked.args if asked else _planned(before, e.step), status=Status.REJECTED, leave=leave,
            binding=asked.binding if asked else e.binding,
        )  # fmt: skip

    def _in_place(self, before: RunState, record: Record) -> Iterator[Deed]:
        match record.event:
            case ToolRefused() as e if self.claimed is not None:
                yield self._end(self.claimed, record, Status.REFUSED, message="; ".join(e.problems), refused_by=e.by)
            case ToolRefused() as e:
                yield replace(
                    self._begun(before, record, e.step), args=_planned(before, e.step), status=Status.REFUSED,
                    message="; ".join(e.problems), refused_by=e.by,
                )  # fmt: skip
            case EarlierResult() as e:
                yield replace(
                    self._begun(before, record, e.step), args=_planned(before, e.step), status=Status.EARLIER,
                    result=e.result, key=e.key, earlier=(e.run, e.at_step),
                )  # fmt: skip
            case CallSimulated() as e:
                yield replace(
                    self._begun(before, record, e.step), args=e.args, status=Status.SIMULATED, result=e.result,
                    reasons=e.gate, described=e.described,
                )  # fmt: skip
            case ActionProposed() as e:
                yield replace(
                    self._begun(before, record, e.step), args=e.args, status=Status.PROPOSED, reasons=e.reasons
                )
            case ReadRepeated() as e:
                once = Try(1, record.seq, record.at, seconds=e.seconds, message=e.problem)
                yield replace(
                    self._begun(before, record, e.step), again=True, leave=Leave(How.UNASKED), tries=(once,),
                    status=Status.FAILED if e.problem else Status.OK, result=e.result, message=e.problem,
                )  # fmt: skip
            case _:
                raise AssertionError(record.event.kind)

    # --- by hand ------------------------------------------------------------------------------------------------------

    def _by_hand(self, before: RunState, record: Record, e: ActionClaimed | ActionSettled) -> Iterator[Deed]:
        deed = self.actions.pop(e.step, None) or self._action(before, record, e)
        if isinstance(e, ActionClaimed):
            once = Try(1, record.seq, record.at)
            self.actions[e.step] = replace(deed, key=e.key, described=e.described, tries=(once,))
            return
        deed = deed if record.seq in deed.records else deed.with_record(record.seq)
        if deed.tries and e.seconds:
            deed = replace(deed, tries=deed.last_try(seconds=e.seconds))
        if deed.doubts and deed.doubts[-1].happened is None and e.status in ("done", "failed"):
            *first, last = deed.doubts
            known = replace(last, happened=e.status == "done", by=e.by, reason=e.message, resolved=record.seq)
            deed = replace(deed, doubts=(*first, known))
        if e.status == "in_doubt":
            self.actions[e.step] = replace(deed, doubts=(*deed.doubts, Doubt(e.message, record.seq)))
            return
        status = {"done": Status.OK, "failed": Status.FAILED, "dropped": Status.DROPPED}[e.status]
        yield replace(deed, status=status, result=e.result, message=e.message)

    def _action(self, before: RunState, record: Record, e: ActionClaimed | ActionSettled) -> Deed:
        """What was proposed, in somebody's hand."""
        action = next((item.action for item in before.queue if item.action.step == e.step), None)
        made = self._begun(before, record, e.step)
        tool = action.tool if action else made.tool
        return replace(
            made, by_hand=True, tool=tool, facts=before.head.tools.get(tool), args=action.args if action else None,
            leave=Leave(How.BY_HAND, e.by, "", record.seq, record.at), reasons=action.reasons if action else (),
        )  # fmt: skip


def _planned(state: RunState, step: str) -> Kept | None:
    """The arguments that the plan gives a step, or those that a model has filled in."""
    if state.bound is not None and state.step is not None and state.step.id == step:
        return state.bound
    found = _step(state, step)
    text = json_text(dict(found.args)) if found else ""
    return Kept(len(text), text=text) if found else None


def _step(state: RunState, step: str) -> Step | None:
    """The step of that id, which says its place."""
    place = int(step[1:]) - 1 if _ID.fullmatch(step) else -1
    return state.plan.steps[place] if state.plan and 0 <= place < len(state.plan.steps) else None
