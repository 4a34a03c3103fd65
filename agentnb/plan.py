"""Plans: steps in order, each one explicit tool call, whose arguments may refer to earlier results.

An argument's value is one of three things:

- a literal, which goes to the tool as it is;
- a reference, a string that is exactly `$s1` or `$s1.rows[0].carrier`: code puts the earlier result there;
- open, a string that starts with `$?`: a model fills it when the step comes, from the results so far.

A string with a reference somewhere inside it (`… WHERE carrier = '$s1[0]'`) is open too: code does not paste results
into the middle of a query. `$$s1` is the literal `$s1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from agentnb.errors import AgentError, ConfigError

__all__ = [
    "JSON",
    "READ_RESULT",
    "Check",
    "Plan",
    "Step",
    "UnmetReference",
    "is_open",
    "literal",
    "open_args",
    "path_parts",
    "references",
    "resolve",
    "resting_on",
    "steps_of",
    "whole_references",
]

JSON = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""

READ_RESULT = "read_result"
"""The tool by which a plan reads on in a result that prompts show in part."""

OPEN = "$?"
"""What marks an argument as open."""

_STRICT = ConfigDict(extra="forbid")
REFERENCE = re.compile(r"\$(s[1-9][0-9]*)\b((?:\.\w+|\[[0-9]+\])*)")
"""A reference: the step that it refers to, and the path into its result."""
_PART = re.compile(r"\.(\w+)|\[([0-9]+)\]")
_INDEX = re.compile(r"[0-9]{1,9}")  # no list is longer, and int() refuses numbers of thousands of digits


class UnmetReference(AgentError):
    """A reference whose path is not in the result that it names."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Check:
    """What code can verify about a step's result, so that no model has to judge it.

    Give at least one; all that are given must hold.

    Attributes:
        non_empty: True: the result must not be null, "", [] or {}.
        schema: a JSON Schema that the result must match.
        expression: a Python expression over `result`, of comparisons, arithmetic and a few functions; see `checks.py`.
        sha256: hash of the result as JSON: it must be what it was.
    """

    non_empty: bool = False
    schema: dict[str, JSON] | None = None
    expression: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.non_empty and self.schema is None and self.expression is None and self.sha256 is None:
            raise ValueError("a check checks something: give non_empty=True, schema=, expression= or sha256=")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Step:
    """One tool call of a plan.

    Attributes:
        tool: the tool's name.
        args: its arguments by name: literals, references or open.
        title: what the step is for, in a few words.
        expect: what the result should look like; the critic compares with it.
        confidence: the planner's, as stated: "low", "medium" or "high".
        depends_on: ids of the steps whose results it needs; references are added by `numbered`.
        check: what code verifies instead of the critic.
        ask: why a person is asked before the call, whatever the policy says; "" leaves it to the policy.
        assumes: what it takes for true that neither the task nor a result says, one sentence each.
        id: "s1", "s2", …: its place in the plan, given by `numbered`.
    """

    tool: str
    args: dict[str, JSON] = field(default_factory=dict)
    title: str = ""
    expect: str = ""
    confidence: Literal["low", "medium", "high"] = "medium"
    depends_on: tuple[str, ...] = ()
    check: Check | None = None
    ask: str = ""
    assumes: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True, config=_STRICT)
class Plan:
    """Steps in the order in which they are carried out.

    Attributes:
        steps: all of them, those of earlier versions that are finished included.
        version: 1 for the first plan; each revision adds one.
        reason: why this version was made.
        by: who made it: "model", "user" or "rule".
    """

    steps: tuple[Step, ...]
    version: int = 1
    reason: str = ""
    by: Literal["model", "user", "rule"] = "user"

    def revised(
        self, keep: int, steps: Sequence[Step], *, version: int, reason: str, by: Literal["model", "user", "rule"]
    ) -> Plan:
        """The next version: the first `keep` steps as they are, then `steps`."""
        return Plan(self.steps[:keep] + tuple(steps), version, reason, by)


def steps_of(plan: Plan | Sequence[Step | Mapping[str, JSON]]) -> list[Step]:
    """The steps of a plan that a user wrote.

    Raises:
        ConfigError: one of them is none; says which and why.
    """
    items = plan.steps if isinstance(plan, Plan) else plan
    if isinstance(items, (str, Mapping)) or not isinstance(items, Sequence):
        raise ConfigError(f"plan={items!r} is no list of steps: give [Step(tool=…, args={{…}}), …], or dicts like it")
    return [_step_of(item, place) for place, item in enumerate(items, start=1)]


def _step_of(item: Step | Mapping[str, JSON], place: int) -> Step:
    try:
        return TypeAdapter(Step).validate_python(item)
    except ValidationError as error:
        said = "; ".join(
            f"{e['msg']} ({'.'.join(map(str, e['loc']))})" if e["loc"] else e["msg"] for e in error.errors()
        )
        raise ConfigError(f"step {place} of the plan is not one: {said}") from None


def numbered(steps: Sequence[Step], *, after: int = 0) -> tuple[Step, ...]:
    """`steps` with their ids by place, counted on from `after`, and their references among what they depend on."""
    return tuple(
        replace(step, id=f"s{after + place}", depends_on=tuple(sorted({*step.depends_on, *references(step.args)})))
        for place, step in enumerate(steps, start=1)
    )


def is_open(value: JSON) -> bool:
    """True where a model has to fill `value`: it has a `$?`, or a reference inside other text."""
    if not isinstance(value, str) or value.startswith("$$"):
        return False
    return OPEN in value or (REFERENCE.search(value) is not None and REFERENCE.fullmatch(value) is None)


def open_args(args: Mapping[str, JSON]) -> dict[str, str]:
    """The arguments that a model has to fill, each with what the plan says of it."""
    found = {}
    for name, value in args.items():
        for text in _strings(value):
            if is_open(text):
                found[name] = text
                break
    return found


def references(value: JSON) -> frozenset[str]:
    """Ids of all steps that `value` refers to, open hints included."""
    return frozenset(
        m.group(1) for text in _strings(value) if not text.startswith("$$") for m in REFERENCE.finditer(text)
    )


def whole_references(value: JSON) -> list[tuple[str, str]]:
    """The step and the path of every text in `value` that is a reference and nothing else.

    >>> whole_references({"id": "$s1.rows[0].id", "text": "$? about $s2"})
    [('s1', '.rows[0].id')]
    """
    found = (REFERENCE.fullmatch(text) for text in _strings(value) if not text.startswith("$$"))
    return [(match.group(1), match.group(2)) for match in found if match]


def path_parts(path: str) -> list[str]:
    """The parts of a reference's path, names and places.

    >>> path_parts(".rows[0].id")
    ['rows', '0', 'id']
    """
    return [name or place for name, place in _PART.findall(path)]


def resting_on(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Of each step that rests on an assumption: the steps that make one, itself or those that it needs, in order."""
    found: dict[str, tuple[str, ...]] = {}
    if not any(step.assumes for step in steps):  # as a rule: and a long plan is looked at often
        return found
    for step in steps:
        needed = {*step.depends_on, *references(step.args)}
        rests = {made for name in needed for made in found.get(name, ())} | ({step.id} if step.assumes else set())
        if rests:
            found[step.id] = tuple(sorted(rests, key=lambda name: (len(name), name)))
    return found


def resolve(value: JSON, result_of: Callable[[str], JSON]) -> JSON:
    """`value` with every reference replaced by what it refers to.

    Args:
        value: arguments, nested as they are.
        result_of: the result of a finished step, by its id; raises UnmetReference where there is none.

    Raises:
        UnmetReference: the path is not in the result; says what is there instead.
    """
    if isinstance(value, str):
        if value.startswith("$$"):
            return value[1:]
        match = REFERENCE.fullmatch(value)
        return _follow(match.group(1), match.group(2), result_of(match.group(1))) if match else value
    if isinstance(value, dict):
        return {name: resolve(item, result_of) for name, item in value.items()}
    if isinstance(value, (list, tuple)):  # a tuple in a user's plan is a list as soon as it is JSON
        return [resolve(item, result_of) for item in value]
    return value


def literal(value: JSON) -> JSON:
    """`value` written so that `resolve` gives it back as it is, whatever its texts begin with."""
    if isinstance(value, str):
        return f"${value}" if value.startswith("$") else value
    if isinstance(value, dict):
        return {name: literal(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    return value


def _strings(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif value is None or isinstance(value, (int, float)):
        return  # before it is asked whether it is a mapping, which takes ten times as long
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _follow(step: str, path: str, value: JSON) -> JSON:
    here = f"${step}"
    for name, bracketed in _PART.findall(path):
        index = bracketed or name  # `.0` means `[0]`: models write both
        if name and isinstance(value, dict) and name in value:
            value, here = value[name], f"{here}.{name}"
        elif isinstance(value, list) and _INDEX.fullmatch(index) and int(index) < len(value):
            value, here = value[int(index)], f"{here}[{index}]"
        else:
            raise UnmetReference(f"${step}{path}: {here} is {_shape(value)}, and has no {name or f'item {index}'}")
    return value


def _shape(value: JSON) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(list(value)[:12]) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}" if value is not None else "null"
