"""The model calls of a run as text and reply schema: plan, bind, critique, summarise, answer.

Every function here is pure: the same inputs give the same prompt, byte for byte, so that caches and cassettes hold.

A prompt has three parts, the most lasting first, so that a provider (or a local server) that caches prefixes reads
them once: `system` depends on the task and its tools alone and is the same for every call of a run; `context` is the
plan and the memory, the same for some ten steps, and the steps since, which are only ever added to; `user` is what
changes.
All are bounded, however long the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentnb.forms import (
    ANSWER_SCHEMA,
    CRITIQUE_SCHEMA,
    SUMMARY_SCHEMA,
    Schema,
    ToolSpec,
    bounded,
    closed_object,
    plan_schema,
    text,
)
from agentnb.prompt_text import (
    NOTHING,
    PREVIEW_BYTES,
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
    system_text,
    without_text,
)

__all__ = [
    "Prompt",
    "answer_prompt",
    "bind_prompt",
    "critique_prompt",
    "plan_prompt",
    "summary_prompt",
]

_HINTS_BYTES, _TASK_AGAIN_BYTES, _LISTED = 1800, 300, 12
_REASON_BYTES = 300


_PLAN = """\
Plan the task: the fewest steps (at most {max_steps}) that find out everything that the task asks. Each step calls \
one tool.
- parts: first list what the task asks for, one question or action each. Every part is served by a step; one step may \
serve several parts; no two steps ask for the same.
- Steps run in order and are numbered {first}, {second}, … in the order that you write them.
- The final answer is written for you from the results, which are compared and combined there: that is not a step. \
Do not look up what the task already tells.
- A step that stores, sends or changes something is there only if the task asks for it, and comes after the steps \
that it reports on.
- Write each argument in one of three ways:
  1. its value, complete and ready to run, if you know it now. Do this whenever you can. Add no conditions that the \
task does not ask for.
  2. "$s1", or a part of it such as "$s1.rows[0].name", with nothing else in the string: the code puts that result of \
an earlier step there.
  3. a string that begins with "$?", then what to write, from which steps. Every text that tells, names or uses \
results is written like this, because the results are not there yet.
- title: what the step finds out. expect: what a good result looks like (no numbers). depends_on: the earlier steps \
whose results it uses, or [].

Example, for other tools and another task ("Which shop has the most returns, who runs it? Mail me the answer."):
{{"parts": ["the shop with the most returns", "who runs that shop", "mail the answer"], "steps": [{{"title": "Find \
the shop with the most returns", "tool": "rank", "args": {{"table": "returns", "by": "shop", "top": 1}}, "expect": \
"one shop and its number of returns", "depends_on": [], "confidence": "high"}}, {{"title": "Find who runs that shop", \
"tool": "lookup", "args": {{"table": "managers", "shop": "$s1.rows[0].shop"}}, "expect": "one name", "depends_on": \
["s1"], "confidence": "high"}}, {{"title": "Mail the answer", "tool": "mail", "args": {{"subject": "Shop with the \
most returns", "body": "$? one sentence with the shop and its number of returns from s1 and the manager from s2"}}, \
"expect": "the mail is sent", "depends_on": ["s1", "s2"], "confidence": "high"}}]}}
"""

_BIND = """\
Now comes the step below. Fill in the arguments marked "to fill", so that the call does what the step's title says. \
Give complete, final values, with the real names and numbers of the results above: no placeholders. Where a text has \
[from s1], put what the result of s1 says there. What is asked to be filled in was worded before the results were \
known: where they disagree, the results are right.
"""

_CRITIQUE = """\
Check the result of the step below.
- finding: one sentence with the facts learned, names and numbers copied from the result. Empty if there are none.
- reason: does the result tell what the title asks for? One sentence.
- verdict:
  continue: the result tells what the title asks for, even if it is surprising, or differs from what was expected. \
"no results" tells that there are none: continue, unless an argument is plainly wrong.
  retry: the call was wrong or failed, and the same tool with other arguments could give the result.
  revise: this tool can't give it, or the result shows that the plan is wrong: other steps are needed.
  escalate: only a person can go on: a permission, a decision, or information is missing.
- confidence: how sure you are of the verdict.
"""

_ANSWER = """\
Write the final answer to the task, from the results above and nothing else.
- facts: first, one line for each step, in order: what its result tells, with the names and numbers; or, for a step \
with no results, what there is none of; or, for one that FAILED, what is unknown.
- unknowns: what the task asks and these facts do not tell, [] if nothing is missing. "None" is known, not missing.
- answer: Markdown for the person who set the task. Begin with the answer itself, in one or two sentences with the \
names and the numbers that matter; then the evidence, briefly. Answer every part of the question. Say plainly what \
could not be found out, and what was stored or changed.
- confidence: how well the facts support the answer.
"""

_SUMMARY = """\
The steps above will not be shown again. Write down what has to be remembered of them, and of the memory if there is \
one, so that the task can be carried on and answered from your notes alone.
- facts: what is known, one fact a line, with the names and numbers copied from the results; from: the steps that say \
so.
- assumptions: what was taken as true and is not known.
- questions: what the task asks and nothing has told yet.
- contradictions: facts that cannot both hold, with both values; from: the steps that say so.
Leave out what the task does not need. [] where there is nothing.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One model call: what is said, the form of the reply, and how long the reply may be.

    Attributes:
        context: what stands between `system` and `user`, see `ModelRequest`.
    """

    system: str
    user: str
    schema: Schema
    max_output_tokens: int
    context: tuple[str, ...] = ()


def plan_prompt(
    task: str,
    tools: Sequence[ToolSpec],
    *,
    done: Sequence[StepView] = (),
    earlier: int = 0,
    reason: str = "",
    problems: Sequence[str] = (),
    without: Sequence[str] = (),
    known: Known = NOTHING,
    reading: ToolSpec | None = None,
    max_steps: int = 8,
) -> Prompt:
    """The call that makes a plan or, given steps that are `done` or a `reason`, the rest of a plan.

    Args:
        task: what the user asked for.
        tools: all that a step may call.
        done: the last finished steps; the reply holds only the steps that come after them.
        earlier: how many were finished before these.
        reason: why the plan has to change.
        problems: what was wrong with the previous reply to this same call.
        without: names of tools that keep failing and are not called for now.
        known: what the run knows beside the finished steps.
        reading: the tool that reads on in results, where one is shown in part.
        max_steps: of the reply.
    """
    first = earlier + len(done) + 1
    rules = _PLAN.format(max_steps=max_steps, first=f"s{first}", second=f"s{first + 1}")
    parts = [newest(done, earlier, known), noted_text(known), rules]
    if done or reason:
        why = as_line(reason, _REASON_BYTES) or "the remaining steps are not known yet"
        parts.append(
            f"The plan is being revised because: {why}\nThe finished steps above stay as they are: "
            f"refer to their results, do not repeat what worked. Write only the steps that remain, from s{first} on; "
            "[] if nothing remains to be done."
        )
    if reading:
        parts.append(f"A result above that is cut can be read on with one more tool:\n{describe(reading, 900)}")
    parts += [
        problems_text(problems),
        without_text(without),
        f"Write the plan for this task: {as_line(task, _TASK_AGAIN_BYTES)}",
    ]
    schema = plan_schema((*tools, *([reading] if reading else [])), max_steps, 0 if done else 1)
    longest = min(4000, 300 + 220 * max_steps)
    return Prompt(
        system_text(task, tuple(tools)), join(parts), schema, longest, (*known.context, *settled(done, known))
    )


def bind_prompt(
    task: str,
    tools: Sequence[ToolSpec],
    tool: ToolSpec,
    step: StepView,
    open_args: Mapping[str, str],
    done: Sequence[StepView],
    *,
    earlier: int = 0,
    problems: Sequence[str] = (),
    known: Known = NOTHING,
) -> Prompt:
    """The call that fills the open arguments of one step.

    Args:
        task: what the user asked for.
        tools: all tools of the run, for the part that its calls share.
        tool: the one that the step calls.
        step: the step, with the arguments that are known.
        open_args: name of each argument to fill, and the hint of the plan (see `plan.open_args`).
        done: the last finished steps.
        earlier: how many were finished before these.
        problems: errors of earlier tries of this step, the tool's own among them.
        known: what the run knows beside the finished steps.
    """
    properties = tool.parameters.get("properties", {})
    fixed = {name: value for name, value in step.args.items() if name not in open_args}
    lines = [f"Step {step.id}: {as_line(step.title, 160)}", f"Tool: {call_text(step.tool, fixed, 300)}"]
    if step.expect:
        lines.append(f"Expected: {as_line(step.expect, 200)}")
    lines.extend(f"To fill: {name}: {as_line(hint(said), 400)}" for name, said in list(open_args.items())[:8])
    defs: Schema = {}
    args = {name: bounded(properties.get(name, {}), tool, defs) for name in open_args}
    # After an error a small model repeats itself, unless it first has to say what it will do differently.
    schema = closed_object(({"change": text(200)} if problems else {}) | {"args": closed_object(args)})
    if defs:
        schema["$defs"] = defs
    change = "- change: what was wrong, and what you write instead. Then the args, changed." if problems else ""
    user = join(
        [
            newest(done, earlier, known),
            _BIND,
            noted_text(known),
            cut("\n".join(lines), _HINTS_BYTES),
            problems_text(problems),
            change,
        ]
    )
    return Prompt(system_text(task, tuple(tools)), user, schema, 800, (*known.context, *settled(done, known)))


def critique_prompt(task: str, tools: Sequence[ToolSpec], step: StepView) -> Prompt:
    """The call that compares the result of one step with what was expected of it."""
    user = f"{_CRITIQUE}\n{step_text(step, 1700, PREVIEW_BYTES)}\n\nCheck this result."
    return Prompt(system_text(task, tuple(tools)), user, CRITIQUE_SCHEMA, 400)


def answer_prompt(
    task: str,
    tools: Sequence[ToolSpec],
    done: Sequence[StepView],
    *,
    earlier: int = 0,
    stopped: str = "",
    left: Sequence[str] = (),
    undone: Sequence[str] = (),
    known: Known = NOTHING,
) -> Prompt:
    """The call that writes the answer from what was found.

    Args:
        task: what the user asked for.
        tools: all tools of the run, for the part that its calls share.
        done: the last finished steps.
        earlier: how many were finished before these.
        stopped: why the run ended before its plan did; the answer is then a partial one.
        left: titles of the steps that were not carried out.
        undone: titles of steps that were to store, send or change something and have not.
        known: what the run knows beside the finished steps.
    """
    parts = [newest(done, earlier, known) or "No step was finished.", noted_text(known), _ANSWER]
    if stopped:
        parts.append(
            f"The run stopped early: {as_line(stopped, _REASON_BYTES)}\n"
            "Say so first, answer what can be answered, and list the rest under unknowns."
        )
    if left:
        listed = "\n".join(f"- {as_line(title, 120)}" for title in left[:_LISTED])
        parts.append(
            f"These steps were NOT carried out: what they would have told is unknown, do not guess it.\n{listed}"
        )
    parts.append(f"Write the answer to this task: {as_line(task, _TASK_AGAIN_BYTES)}")
    if undone:  # last, for small models take what was asked for as done
        listed = "\n".join(f"- {as_line(title, 120)}: this was NOT done." for title in undone[:_LISTED])
        parts.append(f"The answer tells all results above, and says what was not done:\n{listed}")
    return Prompt(
        system_text(task, tuple(tools)), join(parts), ANSWER_SCHEMA, 1200, (*known.context, *settled(done, known))
    )


def summary_prompt(
    task: str, tools: Sequence[ToolSpec], done: Sequence[StepView], *, earlier: int, known: Known
) -> Prompt:
    """The call that makes the memory small: what of it, and of the steps since, has to be remembered.

    Args:
        task: what the user asked for.
        tools: all tools of the run, for the part that its calls share.
        done: the finished steps that the memory does not cover yet.
        earlier: how many were finished before these.
        known: the memory as it is, and what was noted since.
    """
    user = join([newest(done, earlier, known), noted_text(known), _SUMMARY])
    return Prompt(system_text(task, tuple(tools)), user, SUMMARY_SCHEMA, 1200, (*known.context, *settled(done, known)))
