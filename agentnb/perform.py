"""Carrying out what `decide` decided: the only place with effects. It yields events, an intent before its effect."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping

from agentnb.answer import answer_of, answer_question, handed_over
from agentnb.approval import Answer, ApprovalRequest, Approver, binding
from agentnb.budget import OverBudget
from agentnb.calls import Runner, call_tool, prepare
from agentnb.critic import critique_question, verdict_by_check, verdict_of
from agentnb.decide import (
    Action,
    AskPerson,
    BindArgs,
    CallTool,
    Critique,
    HandOver,
    MakePlan,
    Note,
    WriteAnswer,
    limit_reached,
)
from agentnb.errors import IllegalTransition, ModelError
from agentnb.events import ApprovalAnswered, ApprovalAsked, Event, GateRaised, Phase, RunSuspended, ToolRefused
from agentnb.executor import args_of, bind_question
from agentnb.log import RunLog
from agentnb.memory import tool_specs
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.chain import Question, Voice
from agentnb.plan import Step
from agentnb.planner import plan_of, plan_question
from agentnb.prompts import Prompt
from agentnb.tools import Tool

__all__ = ["Performer"]


class Performer:
    """Everything that a run acts with.

    Args:
        log: the run.
        tools: by name.
        strong: plans and answers.
        cheap: fills open arguments and criticises.
        approver: asked before a gated call.
        runner: where tools run.
        cancelled: True gives up a model call.
    """

    def __init__(
        self,
        log: RunLog,
        tools: Mapping[str, Tool],
        *,
        strong: Voice,
        cheap: Voice,
        approver: Approver,
        runner: Runner,
        cancelled: Callable[[], bool],
    ) -> None:
        self._log = log
        self._tools = tools
        self._specs = tool_specs(tools)
        self._strong = strong
        self._cheap = cheap
        self._approver = approver
        self._runner = runner
        self._cancelled = cancelled

    def __call__(self, action: Action) -> Generator[Event, None, None]:
        """What happens as `action` is carried out."""
        try:
            yield from self._events(action)
        except OverBudget as error:
            phase = "answer" if isinstance(action, WriteAnswer) else self._log.state.stage
            yield limit_reached(error.refusal, phase)
        except ModelError as error:
            yield RunSuspended(reason="model_failed", detail=str(error))

    def _events(self, action: Action) -> Iterator[Event]:
        match action:
            case Note(event):
                yield event
            case MakePlan():
                yield from self._make_plan()
            case BindArgs():
                yield from self._bind_args(self._step)
            case AskPerson():
                yield from self._ask_person(self._step)
            case CallTool():
                step = self._step
                yield from call_tool(self._log, self._tools[step.tool], step, self._runner)
            case Critique():
                yield from self._critique(self._step)
            case WriteAnswer():
                yield from self._write_answer()
            case HandOver() as end:
                yield handed_over(self._log, end)

    @property
    def _step(self) -> Step:
        step = self._log.state.step
        if step is None:
            raise IllegalTransition("there is no step to carry out")
        return step

    def _ask(
        self, voice: Voice, phase: Phase, prompt: Prompt, step: str = "", *, last_word: bool = False
    ) -> Generator[Event, None, ModelReply]:
        request = ModelRequest(
            model=voice.ref,
            phase=phase,
            system=prompt.system,
            prompt=prompt.user,
            schema=prompt.schema,
            max_output_tokens=prompt.max_output_tokens + voice.thinking_tokens,
            endpoint=voice.endpoint,
            cancelled=self._cancelled,
        )
        return (yield from voice.ask(Question(request, request.key(), step, last_word)))

    def _make_plan(self) -> Iterator[Event]:
        reply = yield from self._ask(self._strong, "plan", plan_question(self._log, self._specs))
        yield plan_of(self._log, self._tools, reply)

    def _bind_args(self, step: Step) -> Iterator[Event]:
        reply = yield from self._ask(self._cheap, "bind", bind_question(self._log, self._specs, step), step.id)
        yield args_of(self._log, self._tools[step.tool], step, reply)

    def _critique(self, step: Step) -> Iterator[Event]:
        if verdict := verdict_by_check(self._log, step):
            yield verdict
            return
        reply = yield from self._ask(self._cheap, "critique", critique_question(self._log, self._specs, step), step.id)
        yield verdict_of(self._log, step, reply)

    def _write_answer(self) -> Iterator[Event]:
        prompt = answer_question(self._log, self._specs)
        reply = yield from self._ask(self._strong, "answer", prompt, last_word=True)
        yield answer_of(self._log, reply)

    def _ask_person(self, step: Step) -> Iterator[Event]:
        log, tool = self._log, self._tools[step.tool]
        call = prepare(log, tool, step)
        if isinstance(call, ToolRefused):
            yield call
            return
        if set(call.ask) - set(log.state.raised):
            yield GateRaised(step=step.id, reasons=call.ask)
        bound_to = binding(log.run, step.id, tool.name, call.kept)
        yield ApprovalAsked(step=step.id, tool=tool.name, args=call.kept, binding=bound_to)
        if log.state.head.approve == "deny":
            yield ApprovalAnswered(
                step=step.id, decision="reject", by="policy", reason="approve=deny refuses all that needs leave"
            )
            return
        answer: object = self._approver(
            ApprovalRequest(
                run=log.run,
                step=step.id,
                title=step.title,
                tool=tool.name,
                args=call.args,
                expect=step.expect,
                reversibility=tool.reversibility,
                binding=bound_to,
                reasons=call.ask,
            )
        )
        if not isinstance(answer, Answer | None):
            answer = Answer("reject", "policy", f"the approver gave {answer!r}, which is no Answer")
        if answer is None:
            yield RunSuspended(reason="approval", detail=f"{step.id} {tool.name} waits for a person")
        else:
            yield ApprovalAnswered(step=step.id, decision=answer.decision, by=answer.by, reason=answer.reason)
