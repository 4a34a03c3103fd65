"""From a phase to the request that a model gets in it: a function of the run's state and of what its tools are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agentnb.answer import answer_question
from agentnb.assess import assess_question
from agentnb.budget import Phase
from agentnb.critic import critique_question
from agentnb.errors import IllegalTransition
from agentnb.executor import bind_question
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.models.base import ModelRequest, never
from agentnb.plan import Step
from agentnb.planner import plan_question
from agentnb.prompts import Prompt
from agentnb.summariser import summary_question
from agentnb.tools import Tool

__all__ = ["present", "prompt_of", "request_of"]


def present(log: RunLog) -> Step:
    """The step that comes next or is under way.

    Raises:
        IllegalTransition: there is none.
    """
    step = log.state.step
    if step is None:
        raise IllegalTransition("there is no step to carry out")
    return step


def prompt_of(phase: Phase, log: RunLog, specs: Sequence[ToolSpec], tools: Mapping[str, Tool]) -> Prompt:
    """What is asked in `phase` now.

    Args:
        phase: what it is for.
        log: the run.
        specs: its tools, as a model sees them.
        tools: the same by name.
    """
    match phase:
        case "plan":
            return plan_question(log, specs, tools)
        case "bind":
            return bind_question(log, specs, present(log))
        case "assess":
            return assess_question(log, specs, tools[present(log).tool], present(log))
        case "critique":
            return critique_question(log, specs, present(log))
        case "summarise":
            return summary_question(log, specs)
        case "answer":
            return answer_question(log, specs)


def request_of(
    phase: Phase,
    prompt: Prompt,
    redact: Callable[[str], str],
    *,
    model: str,
    thinking_tokens: int,
    endpoint: str,
    cancelled: Callable[[], bool] = never,
) -> ModelRequest:
    """The request that asks `prompt`, without secrets.

    Args:
        phase: what it is for.
        prompt: what is asked.
        redact: takes secrets out of a text.
        model: who is asked, as the user wrote it.
        thinking_tokens: output tokens that it may use before it answers, on top of the answer's own.
        endpoint: the server that is asked, "" for the provider's own.
        cancelled: True gives the call up.
    """
    return ModelRequest(
        model=model,
        phase=phase,
        system=prompt.system,
        context=prompt.context,
        prompt=prompt.user,
        schema=prompt.schema,
        max_output_tokens=prompt.max_output_tokens + thinking_tokens,
        endpoint=endpoint,
        cancelled=cancelled,
    ).mapped(redact)
