"""What the values of a call rest on: whether the task, a result or a person has said them, or nobody has.

Code cannot tell whether a value is right, but it can tell one that came from nowhere: an address, an amount or a name
that stands in no text that the run has. It looks for what can be copied, and leaves alone what is worded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from agentnb.plan import JSON
from agentnb.preview import dump

__all__ = ["Ground", "found_nowhere", "grounds_of", "points_at"]

_NUMBER: Final = re.compile(r"(?<![\w.])[-+]?\d+(?:[,\u00a0 ]\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")
_FACT: Final = re.compile(r"[^\s,;()<>\"']*(?:@|://|[\w-]/[\w-])[^\s,;()<>\"']*|\w*[a-zA-Z]\w*[-_:#]?\d[\w-]*|\S*_\S*")
"""What is copied and not worded, besides numbers: addresses, paths, identifiers."""
_WORDS: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_NAME_WORDS: Final = 4
"""Words of a text that is a name and no sentence, at most."""


@dataclass(frozen=True)
class Ground:
    """One text that a call may rest on.

    Attributes:
        source: "task", "person", or the id of the step whose result it is.
        text: it; of a result all that is in it, a line each.
        lengths: of the lists in a result: how many of something there are is a fact of it too.
    """

    source: str
    text: str
    lengths: tuple[int, ...] = ()

    @cached_property
    def folded(self) -> str:
        """The text as it is looked through."""
        return " ".join(self.text.casefold().split())

    @cached_property
    def numbers(self) -> frozenset[float]:
        """The numbers in it, those in words included."""
        found = {_value(number) for number in _NUMBER.findall(self.text)}
        words = {float(n) for n, word in enumerate(_WORDS) if re.search(rf"\b{word}\b", self.folded)}
        return frozenset(found | words | {float(n) for n in self.lengths})

    def says(self, fact: str) -> bool:
        """True where it holds the fact: a number as it is or rounded, any other text as a whole word."""
        if not _NUMBER.fullmatch(fact):
            return re.search(rf"(?<!\w){re.escape(' '.join(fact.casefold().split()))}(?!\w)", self.folded) is not None
        wanted, places = _value(fact), len(fact.partition(".")[2])
        return any(wanted in (known, -known) or round(abs(known), places) == abs(wanted) for known in self.numbers)


def grounds_of(task: str, results: Iterable[tuple[str, JSON]], words: Sequence[str]) -> tuple[Ground, ...]:
    """All that a call may rest on.

    Args:
        task: of the run.
        results: id of each finished step, and its result.
        words: what a person has said in the run.
    """
    found = (Ground(step, "\n".join(_texts(value)), tuple(_lengths(value))) for step, value in results)
    return (Ground("task", task), *found, *(Ground("person", said) for said in words))


def found_nowhere(
    args: Mapping[str, JSON], parameters: Mapping[str, Any], grounds: Sequence[Ground]
) -> dict[str, tuple[str, ...]]:
    """The arguments with something in them that no ground says, and what that is.

    A flag, one of a few values, and what an argument is if left out are choices, and are no facts.

    >>> found_nowhere({"to": "bob@example.com", "text": "Hello"}, {}, grounds_of("Say hello to Bob.", [], []))
    {'to': ('bob@example.com',)}
    """
    known = parameters.get("properties")
    known = known if isinstance(known, Mapping) else {}
    found = {}
    for name, value in args.items():
        schema = known.get(name)
        if isinstance(schema, Mapping) and _is_choice(value, schema):
            continue
        if missing := tuple(dict.fromkeys(f for f in _facts(value) if not _is_said(f, grounds))):
            found[name] = missing
    return found


def points_at(value: JSON, facts: Sequence[str]) -> bool:
    """True where all of `value` is one of `facts`, and points at somebody or something: it is no mere word.

    >>> points_at("bob@example.com", ["bob@example.com"]), points_at("Reminder", ["Reminder"])
    (True, False)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(facts)
    whole = isinstance(value, str) and value.strip() in facts
    return whole and re.search(r"[\d@/_]|\w \w", str(value).strip()) is not None


def _is_choice(value: JSON, schema: Mapping[str, Any]) -> bool:
    usual = "default" in schema and schema["default"] == value
    return usual or any(key in schema for key in ("enum", "const", "$ref"))


def _is_said(fact: str, grounds: Sequence[Ground]) -> bool:
    """True where one of them says it, or all its words are said somewhere: a title is made of what there is."""
    if any(ground.says(fact) for ground in grounds):
        return True
    words = fact.split()
    return len(words) > 1 and all(any(ground.says(word) for ground in grounds) for word in words)


def _facts(value: JSON) -> Iterator[str]:
    """What in `value` can only have been copied from somewhere."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _facts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _facts(item)
    elif isinstance(value, str):
        yield from _facts_in(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield _written(value)


def _written(number: float) -> str:
    """A number in digits alone, however large or small it is."""
    return str(number) if isinstance(number, int) else f"{Decimal(f'{number:.15g}'):f}"


def _facts_in(text: str) -> Iterator[str]:
    """Of names and single words, one or a list of them, each; of a text its numbers, addresses and identifiers."""
    parts = [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
    if parts and all(_is_name(part) for part in parts):
        yield from [text.strip()] if _NUMBER.fullmatch(text.strip()) else parts
        return
    rest = _FACT.sub(" ", text)
    yield from (match.group().strip(".:!?") for match in _FACT.finditer(text))
    yield from _NUMBER.findall(rest)


def _is_name(text: str) -> bool:
    words = text.split()
    return len(words) == 1 or (len(words) <= _NAME_WORDS and all(word[:1].isupper() for word in words))


def _value(number: str) -> float:
    return float(re.sub(r"[,\u00a0 ]", "", number))


def _texts(value: JSON) -> Iterator[str]:
    """All that is in a result, its names too: texts as they are, for JSON glues the n of a line's end to a word."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield value if isinstance(value, str) else dump(value)


def _lengths(value: JSON) -> Iterator[int]:
    if isinstance(value, list):
        yield len(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        if isinstance(item, (list, dict)):
            yield from _lengths(item)
