"""The same four questions in their simplest form, for a model whose replies could not be used as they were asked for.

Few tools, a small flat form, one example; and what was wrong with the last reply. What is left out of the form has its
default where the reply is read, so the replies are read as all others are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from agentnb.forms import Schema, ToolSpec, bounded, closed_object, text
from agentnb.preview import dump
from agentnb.prompt_text import (
    NOTHING,
    Known,
    StepView,
    as_line,
    call_text,
    cut,
    describe,
    hint,
    join,
    newest,
    noted_text,
    problems_text,
    settled,
    step_text,
)
from agentnb.prompts import Prompt

__all__ = [
    "fitting",
    "simple_answer_prompt",
    "simple_bind_prompt",
    "simple_critique_prompt",
    "simple_plan_prompt",
    "with_problems",
]

MOST_STEPS: Final = 3
MOST_TOOLS: Final = 4
_SHORTEST_WORD: Final = 3
_TOOL_BYTES, _TASK_BYTES = 700, 2400
_SYSTEM: Final = "Reply with one JSON object and nothing else: no words before it, none after it."
_PLAN: Final = """\
Plan the next steps for the task below: one to {most}, each the call of one tool above, with complete values. The \
steps are numbered from s{first} on. "$s1" as a value stands for the result of step s1.
"""
_CRITIQUE: Final = """\
Does the result tell what the step's title asks for? continue: yes, or it tells that there is none. retry: no, other \
arguments are needed. revise: no, another tool is needed. escalate: only a person can go on.
"""
_REFERENCE: Final[Schema] = {"type": "string", "maxLength": 240}


def with_problems(prompt: Prompt, problems: Sequence[str]) -> Prompt:
    """The same prompt, with what was wrong with the last reply at its end; as it is where nothing was."""
    if not problems:
        return prompt
    user = join([prompt.user, problems_text(problems)])
    return replace(prompt, user=user)


def simple_plan_prompt(
    task: str,
    tools: Sequence[ToolSpec],
    named: Collection[str],
    done: Sequence[StepView],
    *,
    earlier: int = 0,
    reason: str = "",
    problems: Sequence[str] = (),
    known: Known = NOTHING,
    max_steps: int = MOST_STEPS,
) -> Prompt:
    """The next one to three steps, of the tools that fit best: a longer task is planned on from there.

    Args:
        task: what the user asked for.
        tools: all that a step may call.
        named: tools that the plan so far calls.
        done: the last finished steps.
        earlier: how many were finished before these.
        reason: why the plan has to change.
        problems: what was wrong with the last reply.
        known: what the run knows beside the finished steps.
        max_steps: that the budget leaves.
    """
    few = fitting(f"{task} {reason}", tools, named)
    most = max(1, min(MOST_STEPS, max_steps))
    first = earlier + len(done) + 1
    parts = [
        "\n".join(describe(tool, _TOOL_BYTES) for tool in few),
        noted_text(known),
        newest(done, earlier, known),
        _PLAN.format(most=most, first=first),
        _example(few[0], optional=bool(done)) if few else "",
        f"What was wrong with the plan so far: {as_line(reason, 300)}" if reason else "",
        problems_text(problems),
        f"Task: {cut(task.strip(), _TASK_BYTES)}",
    ]
    return Prompt(
        _SYSTEM,
        join(parts),
        _plan_schema(tuple(few), most, 0 if done else 1),
        300 + 200 * most,
        (*known.context, *settled(done, known)),
    )


def fitting(wanted: str, tools: Sequence[ToolSpec], named: Collection[str] = ()) -> list[ToolSpec]:
    """The tools that share most words with what is wanted, in their own order; those that are `named` come first.

    >>> read, mail = ToolSpec("read_table", "Read rows.", {}), ToolSpec("mail", "Send a mail.", {})
    >>> [tool.name for tool in fitting("read it", [mail, mail, mail, mail, read])]  # four at most
    ['mail', 'mail', 'mail', 'read_table']
    """
    if len(tools) <= MOST_TOOLS:
        return list(tools)
    words = _words(wanted)
    ranked = sorted(
        tools,
        key=lambda tool: (
            tool.name in named,
            2 * len(words & _words(tool.name)) + len(words & _words(tool.description)),
        ),
        reverse=True,
    )
    return sorted(ranked[:MOST_TOOLS], key=tools.index)


def _words(said: str) -> frozenset[str]:
    """The words of a text, small and without a plural's s."""
    found = re.findall(r"[^\W_]+", said.lower())
    return frozenset(word.removesuffix("s") for word in found if len(word) >= _SHORTEST_WORD)


def _example(tool: ToolSpec, *, optional: bool) -> str:
    """A reply of the form, with a tool that there is: its values are placeholders, for a small model copies them."""
    needed = tool.parameters.get("required", list(tool.parameters.get("properties", {})))
    properties = tool.parameters.get("properties", {})
    args = {name: _PLACEHOLDERS.get(str(properties.get(name, {}).get("type")), "…") for name in list(needed)[:6]}
    nothing = ' {"steps": []} where nothing remains to be done.' if optional else ""
    return f"For example: {dump({'steps': [{'tool': tool.name, 'args': args}]})}{nothing}"


@lru_cache(maxsize=64)
def _plan_schema(tools: tuple[ToolSpec, ...], max_steps: int, min_steps: int) -> Schema:
    defs: Schema = {}
    kinds: list[Schema] = [
        closed_object({"tool": {"type": "string", "const": tool.name}, "args": _args(tool, defs)}) for tool in tools
    ]
    items: Schema = {"anyOf": kinds} if len(kinds) > 1 else (kinds or [{}])[0]
    most, least = (max_steps, min_steps) if kinds else (0, 0)
    schema = closed_object({"steps": {"type": "array", "items": items, "minItems": least, "maxItems": most}})
    return schema | ({"$defs": defs} if defs else {})


def _args(tool: ToolSpec, defs: Schema) -> Schema:
    """The arguments that the tool needs, and no others: each is a value, or a reference."""
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = [name for name in properties if name in tool.parameters.get("required", ())]
    values = {name: bounded(properties[name], tool, defs) for name in required}
    return closed_object({name: _or_reference(value) for name, value in values.items()})


def _or_reference(value: Schema) -> Schema:
    return value if value.get("type") == "string" and "enum" not in value else {"anyOf": [value, _REFERENCE]}


def simple_bind_prompt(
    task: str,
    tool: ToolSpec,
    step: StepView,
    open_args: Mapping[str, str],
    done: Sequence[StepView],
    *,
    earlier: int = 0,
    problems: Sequence[str] = (),
    known: Known = NOTHING,
) -> Prompt:
    """The open arguments of one step and nothing around them, of its tool alone.

    Args:
        task: what the user asked for.
        tool: the one that the step calls.
        step: with the arguments that are known.
        open_args: name of each argument to fill, and the hint of the plan.
        done: the last finished steps.
        earlier: how many were finished before these.
        problems: what was wrong with the last reply.
        known: what the run knows beside the finished steps.
    """
    properties = tool.parameters.get("properties", {})
    defs: Schema = {}
    values = {name: bounded(properties.get(name, {}), tool, defs) for name in open_args}
    fixed = {name: value for name, value in step.args.items() if name not in open_args}
    example = {name: _PLACEHOLDERS.get(str(value.get("type")), "…") for name, value in values.items()}
    parts = [
        describe(tool, _TOOL_BYTES),
        noted_text(known),
        newest(done, earlier, known),
        f"Task: {cut(task.strip(), _TASK_BYTES)}",
        f"Write the missing arguments of this call: {call_text(tool.name, fixed, 300)}",
        "\n".join(f"- {name}: {as_line(hint(said), 400)}" for name, said in list(open_args.items())[:8]),
        problems_text(problems),
        f"Reply in this form, with complete values: {dump(example)}",
    ]
    return Prompt(
        _SYSTEM,
        join(parts),
        closed_object(values) | ({"$defs": defs} if defs else {}),
        800,
        (*known.context, *settled(done, known)),
    )


def simple_critique_prompt(task: str, step: StepView, problems: Sequence[str] = ()) -> Prompt:
    """The verdict and one reason. Arguments as of `prompts.critique_prompt`, and what was wrong with the last reply."""
    parts = [
        f"Task: {cut(task.strip(), _TASK_BYTES)}",
        step_text(step, 1400, 600),
        _CRITIQUE,
        problems_text(problems),
        'For example: {"reason": "the result has the number that was asked for", "verdict": "continue"}',
    ]
    verdicts = {"type": "string", "enum": ["continue", "retry", "revise", "escalate"]}
    return Prompt(_SYSTEM, join(parts), closed_object({"reason": text(160), "verdict": verdicts}), 200)


def simple_answer_prompt(
    task: str,
    done: Sequence[StepView],
    *,
    earlier: int = 0,
    stopped: str = "",
    undone: Sequence[str] = (),
    problems: Sequence[str] = (),
    known: Known = NOTHING,
) -> Prompt:
    """The answer alone.

    Args:
        task: what the user asked for.
        done: the last finished steps.
        earlier: how many were finished before these.
        stopped: why the run ended before its plan did.
        undone: titles of steps that were to store, send or change something and have not.
        problems: what was wrong with the last reply.
        known: what the run knows beside the finished steps.
    """
    not_done = "\n".join(f"- {as_line(title, 120)}: this was NOT done." for title in undone[:8])
    parts = [
        noted_text(known),
        newest(done, earlier, known) or "No step was finished.",
        f"The run stopped early, so the answer is a partial one: {as_line(stopped, 300)}" if stopped else "",
        f"The answer says what was not done:\n{not_done}" if not_done else "",
        problems_text(problems),
        "Answer the task in a few sentences, from the results above and nothing else.",
        f"Task: {cut(task.strip(), _TASK_BYTES)}",
        'Reply in this form: {"answer": "…"}',
    ]
    return Prompt(
        _SYSTEM, join(parts), closed_object({"answer": text(1200)}), 700, (*known.context, *settled(done, known))
    )


_PLACEHOLDERS: Final[Mapping[str, Any]] = {
    "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {},
}  # fmt: skip
