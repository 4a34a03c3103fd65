"""The executor: mostly code. It asks a model only for arguments that a plan left open, and never skips steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import RootModel

from agentnb.events import ArgsBound, ReplyRejected
from agentnb.forms import ToolSpec
from agentnb.log import RunLog
from agentnb.memory import done_steps, known, present_step
from agentnb.models.base import ModelReply
from agentnb.plan import Step, UnmetReference, is_open, open_args, resolve
from agentnb.prompts import Prompt, bind_prompt
from agentnb.replies import BadReply, read_reply
from agentnb.simpler import simple_bind_prompt
from agentnb.tools import InvalidArguments, Tool

__all__ = ["args_of", "bind_question"]


class _Filled(RootModel[dict[str, Any]]):
    """What the cheap model filled in, by argument; some wrap it in {"args": …}."""


def bind_question(log: RunLog, specs: Sequence[ToolSpec], step: Step) -> Prompt:
    """What the cheap model is asked: the open arguments of `step`, given the results so far."""
    tool = next(spec for spec in specs if spec.name == step.tool)
    done, earlier = done_steps(log)
    state, view = log.state, present_step(log, step)
    wanted = open_args(step.args)
    wanted |= {
        name: f"a person says: {said} (the plan says: {wanted[name]})" for name, said in state.said if name in wanted
    }
    task, problems, knows = state.head.task, state.problems, known(log)
    if state.simplified:
        return simple_bind_prompt(task, tool, view, wanted, done, earlier=earlier, problems=problems, known=knows)
    return bind_prompt(task, specs, tool, view, wanted, done, earlier=earlier, problems=problems, known=knows)


def args_of(log: RunLog, tool: Tool, step: Step, reply: ModelReply) -> ArgsBound | ReplyRejected:
    """The step's arguments with the openings filled, validated; or what is wrong with them."""
    try:
        filled = read_reply(_Filled, reply).root
        values = filled.get("args", filled) if isinstance(filled.get("args"), dict) else filled
        wanted = open_args(step.args)
        if missing := [name for name in wanted if name not in values or is_open(values[name])]:
            problems = tuple(f"argument {name!r} is still open: give its final value" for name in missing)
            return ReplyRejected(phase="bind", step=step.id, problems=problems)
        args = {**step.args, **{name: values[name] for name in wanted}}
        tool.validated(resolve(args, log.result_of))
    except (BadReply, InvalidArguments) as bad:
        return ReplyRejected(phase="bind", step=step.id, problems=bad.problems)
    except UnmetReference as bad:
        return ReplyRejected(phase="bind", step=step.id, problems=(str(bad),))
    return ArgsBound(step=step.id, args=log.keep(args))
