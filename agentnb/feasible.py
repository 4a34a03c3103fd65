"""Whether a plan can be carried out, by code and before any of it runs: what it refers to, and what it costs at least.

What `planner.plan_problems` says of each step's tool and arguments is the other half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentnb.budget import Budget, Refusal, Spent
from agentnb.decide import kept_back
from agentnb.plan import Step, open_args, path_parts, references, whole_references
from agentnb.state import RunState
from agentnb.tools import Tool

__all__ = ["OVER", "is_over", "needs_problems", "over_budget", "path_problems", "steps_left"]

OVER: Final = "over budget: "
"""How each problem begins that is one of cost."""

_DEEPEST: Final = 40  # schemas may refer to themselves
_LISTED: Final = 12


def needs_problems(steps: Sequence[Step], before: Sequence[str]) -> list[str]:
    """Steps that need what no step gives, or what only a later one gives; those that need each other are a cycle.

    Steps run in order, so a plan whose steps only need earlier ones has no cycle.

    Args:
        steps: numbered steps.
        before: ids of the steps that are finished.
    """
    needs = {step.id: {*step.depends_on, *references(step.args)} for step in steps}
    known, problems = set(before), []
    for step in steps:
        for needed in sorted(needs[step.id] - known):
            problems.append(f"{step.id} needs {needed}, {_why_not(step.id, needed, needs)}")  # noqa: PERF401 - `known` grows
        known.add(step.id)
    return problems


def _why_not(step: str, needed: str, needs: Mapping[str, set[str]]) -> str:
    if needed == step:
        return "which is itself"
    if needed not in needs:
        return "which no step gives"
    circle = " and needs this one: a cycle" if step in _all_needed(needed, needs) else ""
    return f"which is not an earlier step{circle}"


def _all_needed(step: str, needs: Mapping[str, set[str]]) -> set[str]:
    """All that `step` needs, and what that needs."""
    found: set[str] = set()
    waiting = [step]
    while waiting:
        more = needs.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


def path_problems(steps: Sequence[Step], tools: Mapping[str, Tool], finished: Sequence[Step] = ()) -> list[str]:
    """References to a part that cannot be in what the step's tool gives, where its return type says what that is.

    Args:
        steps: numbered steps.
        tools: by name.
        finished: steps before them; theirs are looked at too.
    """
    gives = {step.id: tools[step.tool].returns for step in (*finished, *steps) if step.tool in tools}
    return [
        f"{step.id} {step.tool}: ${needed}{path} cannot be: {why}"
        for step in steps
        for needed, path in whole_references(step.args)
        if path and (why := _not_in(gives.get(needed, {}), path, f"${needed}"))
    ]


def _not_in(schema: Mapping[str, Any], path: str, here: str) -> str:
    """Why nothing can be at `path` in a value of this schema, or ""."""
    return _missing(schema, schema.get("$defs", {}), path_parts(path), here, _DEEPEST)


def _missing(schema: Any, defs: Mapping[str, Any], parts: Sequence[str], here: str, deep: int) -> str:
    """The same for the rest of a path; "" also where the schema does not say."""
    if not parts or not isinstance(schema, Mapping) or not schema or not deep:
        return ""
    if options := _options(schema, defs):
        whys = [_missing(option, defs, parts, here, deep - 1) for option in options]
        return whys[0] if all(whys) else ""
    match schema.get("type"):
        case "object":
            return _missing_in_object(schema, defs, parts, here, deep)
        case "array":
            return _missing_in_list(schema, defs, parts, here, deep)
        case str(kind):
            return f"{here} is {_A.get(kind, kind)}, and has no parts"
        case _:
            return ""


def _options(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Sequence[Any]:
    """The schemas of which a value has to match one, where this one only names them."""
    if isinstance(schema.get("$ref"), str):
        return [defs.get(schema["$ref"].rsplit("/", 1)[-1], {})]
    return schema.get("anyOf") or schema.get("oneOf") or ()


def _missing_in_object(
    schema: Mapping[str, Any], defs: Mapping[str, Any], parts: Sequence[str], here: str, deep: int
) -> str:
    name, known = parts[0], schema.get("properties", {})
    if name in known:
        return _missing(known[name], defs, parts[1:], f"{here}.{name}", deep - 1)
    more = schema.get("additionalProperties", not known)
    if more is False:
        listed = ", ".join(list(known)[:_LISTED]) or "nothing in it"
        return f"{here} is an object with {listed}, and has no {name}"
    return _missing(more, defs, parts[1:], f"{here}.{name}", deep - 1)


def _missing_in_list(
    schema: Mapping[str, Any], defs: Mapping[str, Any], parts: Sequence[str], here: str, deep: int
) -> str:
    place = parts[0]
    if not place.isdecimal():
        return f"{here} is a list, and has no {place}: give the number of an item first, as in {here}[0]"
    first = schema.get("prefixItems", [])
    item = first[int(place)] if len(place) < len(str(_FAR)) and int(place) < len(first) else schema.get("items", {})
    most = schema.get("maxItems")
    if isinstance(most, int) and (len(place) > len(str(most)) or int(place) >= most):
        return f"{here} is a list of {most}, and has no item {place}"
    return _missing(item, defs, parts[1:], f"{here}[{place}]", deep - 1)


def steps_left(state: RunState) -> int | None:
    """How many steps, each with a call, the budget leaves; None where it limits neither."""
    budget, used = state.budget, state.used()
    left = [cap - had for cap, had in ((budget.steps, used.steps), (budget.tool_calls, used.tool_calls)) if cap]
    return max(0, min(left)) if left else None


def over_budget(state: RunState, steps: Sequence[Step], tools: Mapping[str, Tool], least: Spent) -> list[str]:
    """The caps that the steps would pass even if each went well at once, one sentence each.

    [] too where the budget does not cover that a planner is asked again, and one step after it.

    Args:
        state: of the run: what is spent, and the caps.
        steps: those that are still to come.
        tools: by name.
        least: what one model call uses at least.
    """
    again = Spent(usd=2 * least.usd, input_tokens=2 * least.input_tokens, output_tokens=2, model_calls=2)
    if state.budget.first_short(state.used(), again, kept_back(state.budget)):
        return []
    known = {step.id: tools[step.tool].facts for step in steps if step.tool in tools}
    acts = {name for name, facts in known.items() if facts.acts and not facts.delegates}
    asked = sum(bool(open_args(s.args)) + (s.check is None and s.id not in acts) for s in steps)
    all_of_it = Spent(
        usd=asked * least.usd,
        input_tokens=asked * least.input_tokens,
        output_tokens=asked * least.output_tokens,
        model_calls=asked * least.model_calls,
        steps=len(steps),
        tool_calls=len(steps),
    )
    short = _short(state.budget, state.used(), all_of_it)
    left = steps_left(state)
    advice = f"plan at most {left} steps" if left is not None and left < len(steps) else "plan fewer steps"
    return [f"{OVER}the {len(steps)} steps take at least {one} ({one.limit}): {advice}" for one in short]


def _short(budget: Budget, used: Spent, extra: Spent) -> list[Refusal]:
    """Every cap that `used` and `extra` together would pass."""
    keep, found = kept_back(budget), []
    for name, cap in budget.caps().items():
        needed: float = getattr(extra, name)
        left: float = cap - keep.get(name, 0) - getattr(used, name)
        if needed > left and needed > 0:
            found.append(Refusal(name, needed, left, cap))
    return found


def is_over(problems: Sequence[str]) -> bool:
    """True where one of the problems is one of cost."""
    return any(problem.startswith(OVER) for problem in problems)


_FAR: Final = 10**6  # no tuple is longer
_A: Final = {
    "string": "a text", "integer": "a number", "number": "a number", "boolean": "true or false", "null": "nothing",
}  # fmt: skip
