"""Carrying out what `decide` decided: the only place with effects. It yields events, an intent before its effect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Literal, TypeVar

from agentnb.alerts import Alert, Raised
from agentnb.answer import answer_of, handed_over
from agentnb.assess import assessment_of
from agentnb.budget import OverBudget, Phase, Spent, Usage
from agentnb.calls import call_tool, in_words, read_again, simulate
from agentnb.critic import verdict_by_check, verdict_of
from agentnb.decide import (
    Action,
    AskPerson,
    AskQuestion,
    Assess,
    BindArgs,
    CallTool,
    Critique,
    HandOver,
    MakePlan,
    Note,
    Propose,
    ReadAgain,
    SettleDoubt,
    Simulate,
    Summarise,
    Warn,
    WriteAnswer,
    limit_reached,
)
from agentnb.delegate import AgentTool, ChildRests, Inside, Spawn, delegated
from agentnb.errors import IllegalTransition, ModelError
from agentnb.events import ActionProposed, AlertFailed, AlertRaised, Event, ReplyRejected, RunSuspended, ToolRefused
from agentnb.executor import args_of
from agentnb.gate import Gate
from agentnb.log import RunLog
from agentnb.memory import tool_specs
from agentnb.models.base import ModelReply
from agentnb.models.chain import Question, Voice
from agentnb.plan import Step
from agentnb.planner import plan_of
from agentnb.prepared import prepare
from agentnb.prompting import present, prompt_of, request_of
from agentnb.prompts import Prompt
from agentnb.question import Inquiry
from agentnb.recovery import REPLY_SHOWN, layer_of
from agentnb.runner import Runner
from agentnb.summariser import by_rule, summary_of
from agentnb.tools import Tool
from agentnb.watch import passed

__all__ = ["Performer"]

E = TypeVar("E")
_ALERTS: Final = logging.getLogger("agentnb.alerts")
_ALERTS.addHandler(logging.NullHandler())  # who wants them in a log says where to; a cell shows them in its output
_BYTES_A_TOKEN = 8
"""Of a prompt, at most: as a rule it is half as many, so that what is counted so is never more than what is used."""


class Performer:
    """Everything that a run acts with.

    Args:
        log: the run.
        tools: by name.
        voices: who answers in each phase.
        strong: who is asked in place of one whose replies cannot be used.
        alerts: whom to tell where a threshold is passed.
        gate: asks before a gated call.
        inquiry: asks what an assessment found missing.
        runner: where tools run.
        sleep: how to wait, in seconds.
        cancelled: True gives up a model call.
        spawn: drives the runs of other agents that calls of this one are.
    """

    def __init__(
        self,
        log: RunLog,
        tools: Mapping[str, Tool],
        *,
        voices: Mapping[Phase, Voice],
        strong: Voice,
        alerts: Sequence[Alert],
        gate: Gate,
        inquiry: Inquiry,
        runner: Runner,
        sleep: Callable[[float], None],
        cancelled: Callable[[], bool],
        spawn: Spawn,
    ) -> None:
        self._log = log
        self._tools = tools
        self._specs = tool_specs(tools)
        self._voices = voices
        self._strong = strong
        self._alerts = alerts
        self._gate = gate
        self._inquiry = inquiry
        self._runner = runner
        self._sleep = sleep
        self._cancelled = cancelled
        self._spawn = spawn

    def __call__(self, action: Action) -> Generator[Event, None, None]:
        """What happens as `action` is carried out."""
        before = self._log.state.status
        try:
            yield from self._events(action)
            if not before.ended and self._log.state.status.ended:
                for alert in passed(self._log.store, self._log.state, self._log.clock.wall()):
                    yield from self._warn(alert)
        except OverBudget as error:
            phase = "answer" if isinstance(action, WriteAnswer) else self._log.state.stage
            yield limit_reached(error.refusal, phase)
        except ChildRests as child:
            yield child.event
        except ModelError as error:
            yield RunSuspended(reason="model_failed", detail=str(error))

    def _events(self, action: Action) -> Iterator[Event]:  # noqa: C901, PLR0912 - a table, one case an action
        match action:
            case Note(event):
                yield event
            case MakePlan():
                yield from self._make_plan()
            case BindArgs():
                yield from self._bind_args(self._step)
            case Assess():
                yield from self._assess(self._step)
            case AskQuestion():
                yield from self._inquiry.ask(self._step)
            case AskPerson():
                yield from self._gate.ask(self._step)
            case ReadAgain():
                yield from self._read_again()
            case CallTool():
                yield from self._call(self._step)
            case SettleDoubt():
                yield from self._gate.settle(self._step, self._runner)
            case Propose():
                yield self._propose(self._step)
            case Simulate():
                yield simulate(self._log, self._tools[self._step.tool], self._step, self._runner)
            case Critique():
                yield from self._critique(self._step)
            case Summarise(by):
                yield from self._summarise(by)
            case WriteAnswer():
                yield from self._write_answer()
            case HandOver() as end:
                yield handed_over(self._log, end)
            case Warn(event):
                yield from self._warn(event)

    @property
    def _step(self) -> Step:
        return present(self._log)

    def _prompt(self, phase: Phase) -> Prompt:
        return prompt_of(phase, self._log, self._specs, self._tools)

    def _ask(
        self, phase: Phase, prompt: Prompt, step: str = "", *, last_word: bool = False
    ) -> Generator[Event, None, ModelReply]:
        voice, again = self._voice(phase), self._log.state.retried
        request = request_of(
            phase, prompt, self._log.redact, model=voice.ref, thinking_tokens=voice.thinking_tokens,
            endpoint=voice.endpoint, cancelled=self._cancelled,
        )  # fmt: skip
        return (yield from voice.ask(Question(request, request.key(), step, last_word, again=again)))

    def _voice(self, phase: Phase) -> Voice:
        return self._strong if self._log.state.escalated else self._voices[phase]

    def _read(self, event: E, reply: ModelReply) -> E | ReplyRejected:
        """What was read in a reply; where it cannot be used, with all that a person has to know of it."""
        if not isinstance(event, ReplyRejected):
            return event
        layer = 1 if event.phase == "assess" else layer_of(self._log.state.rejected)  # it has no simpler form
        said = reply.text[:REPLY_SHOWN]
        return replace(event, layer=layer, model=self._voice(event.phase).ref, reply=said)

    def _warn(self, event: AlertRaised) -> Iterator[Event]:
        """The alert, and once it is on disk a line in the log and the callbacks of those who wait for it."""
        yield event
        raised = Raised(self._log.run, event.threshold, event.value, event.runs)
        _ALERTS.warning("%s", self._log.redact(str(raised)))
        for alert in self._alerts:
            if alert.callback is not None and event.threshold in alert.thresholds:
                try:
                    alert.callback(raised)
                except Exception as error:  # noqa: BLE001 - it is not ours, and a warning must not stop what it is about
                    yield AlertFailed(message=in_words(error, self._log.redact))

    def _make_plan(self) -> Iterator[Event]:
        prompt = self._prompt("plan")
        reply = yield from self._ask("plan", prompt)
        yield self._read(plan_of(self._log, self._tools, reply, self._least(prompt)), reply)

    def _least(self, prompt: Prompt) -> Spent:
        """What a call of the critic uses at least: it reads the part that all prompts share, and says a word."""
        tokens = len(prompt.system.encode("utf-8", "replace")) // _BYTES_A_TOKEN
        price = self._voices["critique"].price
        usd = price(Usage(tokens, 1, cache_read_tokens=tokens)) if price else 0.0
        return Spent(usd=usd, input_tokens=tokens, output_tokens=1, model_calls=1)

    def _bind_args(self, step: Step) -> Iterator[Event]:
        reply = yield from self._ask("bind", self._prompt("bind"), step.id)
        yield self._read(args_of(self._log, self._tools[step.tool], step, reply), reply)

    def _assess(self, step: Step) -> Iterator[Event]:
        tool = self._tools[step.tool]
        reply = yield from self._ask("assess", self._prompt("assess"), step.id)
        yield self._read(assessment_of(self._log, tool, step, reply), reply)

    def _call(self, step: Step) -> Iterator[Event]:
        log, tool = self._log, self._tools[step.tool]
        inside = Inside(log, step, self._spawn)
        instead = partial(delegated, log, tool, step, self._spawn) if isinstance(tool, AgentTool) else None
        yield from call_tool(log, tool, step, inside.runner(self._runner), self._sleep, instead)

    def _read_again(self) -> Iterator[Event]:
        read = self._log.state.unread
        if read is None:
            raise IllegalTransition("there is no read to be made again")
        yield from read_again(self._log, self._tools[read.tool], read, self._runner)

    def _propose(self, step: Step) -> ActionProposed | ToolRefused:
        call = prepare(self._log, self._tools[step.tool], step)
        if isinstance(call, ToolRefused):
            return call
        reasons = (*call.ask, *filter(None, (step.ask,)), *self._log.state.taint)
        return ActionProposed(step=step.id, tool=step.tool, args=call.kept, reasons=reasons)

    def _critique(self, step: Step) -> Iterator[Event]:
        if verdict := verdict_by_check(self._log, step):
            yield verdict
            return
        reply = yield from self._ask("critique", self._prompt("critique"), step.id)
        yield self._read(verdict_of(self._log, step, reply), reply)

    def _summarise(self, by: Literal["model", "rule"]) -> Iterator[Event]:
        """By code where the model cannot be asked: a summary is worth neither the run's end nor its rest."""
        if by == "rule":
            yield by_rule(self._log)
            return
        try:
            reply = yield from self._ask("summarise", self._prompt("summarise"))
        except (OverBudget, ModelError):
            yield by_rule(self._log)
        else:
            yield self._read(summary_of(self._log, reply), reply)

    def _write_answer(self) -> Iterator[Event]:
        reply = yield from self._ask("answer", self._prompt("answer"), last_word=True)
        yield self._read(answer_of(self._log, reply), reply)
