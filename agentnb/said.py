"""What of an event is searched: the words of a person, a model or a tool, and nothing technical."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentnb.events import (
    ActionProposed,
    ActionSettled,
    AlertFailed,
    ApprovalAnswered,
    ApprovalAsked,
    AssessmentMade,
    CallInDoubt,
    CallSimulated,
    ChildSettled,
    ChildStarted,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    Kept,
    LoopNoticed,
    ModelFailed,
    PlanMade,
    QuestionAnswered,
    QuestionAsked,
    ReadRepeated,
    ReplyRejected,
    RunFinished,
    RunRetried,
    RunStarted,
    RunSuspended,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolRetried,
    ToolReturned,
)

__all__ = ["said"]

Words = str | Kept | None


def said(event: Event) -> tuple[str | Kept, ...]:
    """The texts and values of `event` in which somebody may search; () of one that says nothing.

    A model's reply is not among them: what was made of it is another event.
    """
    return tuple(word for word in _said(event) if word)


def _said(event: Event) -> Iterable[Words]:  # noqa: C901, PLR0911, PLR0912 - a table, one case a kind
    match event:
        case RunStarted():
            return (event.agent, event.task, *event.tags.values())
        case PlanMade():
            return (*_of_steps(event), event.reason)
        case AssessmentMade():
            return (one.text for one in (*event.established, *event.assumed, *event.unknown))
        case ReplyRejected():
            return (*event.problems, event.reply)
        case ModelFailed() | CallInDoubt() | AlertFailed() | ToolRetried():
            return (event.message,)
        case QuestionAsked():
            return (event.tool, event.args, *(gap.text for gap in event.gaps))
        case QuestionAnswered():
            return (event.decision, event.by, event.text)
        case ApprovalAsked() | ToolClaimed():
            return (event.tool, event.args)
        case ApprovalAnswered():
            return (event.decision, event.by, event.reason, event.args)
        case ActionProposed():
            return (event.tool, event.args, *event.reasons)
        case CallSimulated():
            return (event.tool, event.args, event.result)
        case ToolReturned():
            return (event.message, event.result)
        case ToolRefused():
            return event.problems
        case EarlierResult():
            return (event.run, event.result)
        case DoubtResolved():
            return (event.by, event.reason, event.result)
        case ActionSettled():
            return (event.by, event.message, event.result)
        case _:
            return _remarks(event)


def _remarks(event: Event) -> Iterable[Words]:  # noqa: PLR0911 - see above
    """Of events that say a sentence at most."""
    match event:
        case GateRaised():
            return event.reasons
        case ReadRepeated():
            return (event.problem,)
        case StepJudged():
            return (event.finding, event.reason)
        case LoopNoticed():
            return (event.said,)
        case ChildStarted():
            return (event.agent,)
        case ChildSettled():
            return (event.reason,)
        case RunRetried():
            return (event.by, event.hint)
        case RunSuspended():
            return (event.detail,)
        case RunFinished():
            return (event.output, event.detail, *event.unknowns)
        case _:
            return ()


def _of_steps(event: PlanMade) -> Iterator[str]:
    for step in event.steps:
        yield from (step.title, step.tool, *step.assumes)
