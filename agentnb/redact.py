"""Secrets: what counts as one, and the text that stands in its place wherever it would be recorded, sent or shown.

    named by the user       Agent(secrets={"CRM": …}), --secrets A,B, %config AgentMagics.secrets
    in the environment      values of variables whose names end like OPENAI_API_KEY, GITHUB_TOKEN or DB_PASSWORD
    given to a model        api_key=
    by their look           keys of well-known services, bearer tokens, private keys, passwords in addresses

Each becomes `[redacted:NAME]`: the same on every machine whatever its value is there, so that a prompt has the same key
wherever it is replayed. Of a value its JSON, URL and base64 forms are found too, and a part that was cut off.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from itertools import count
from operator import attrgetter, is_
from types import NoneType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote, quote_plus

from pydantic_core import SchemaValidator, core_schema

from agentnb.errors import AgentError, ConfigError, message_of

__all__ = ["LEAST", "NOTHING_NAMED", "Redactor", "secrets_in", "stands_for"]

T = TypeVar("T")

LEAST: Final = 8
"""Characters of a secret: a shorter one stands in too many texts by chance, and could be guessed from what is left."""
_SHORTEST: Final = 7
"""Characters of the shortest text that is looked at: a://:b@."""
_PART: Final = 16
"""Characters of the beginning, or the end, of a longer value by which a part of it is known."""
_SHORT_WORD: Final = 16
"""Characters below which a value in the environment that is a plain word, such as postgres, is taken for none."""

_KEY_LIKE: Final = re.compile(
    r"(?:API_?KEY|(?:^|_)KEY|ACCESS_?KEY(?:_ID)?|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|_PASS|_PWD|_PAT)S?$",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)

_STANDS: Final = re.compile(r"\[redacted:[\w.-]+\]", re.ASCII)

_AFRESH: Final = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
"""Where a word begins, in JSON text too, where a line's end is \\n."""

_LOOKS: Final[tuple[tuple[str, str, str, str], ...]] = (
    # name, what has to stand before it, how it begins, how it goes on; the secret is the part in parentheses, if any
    ("api_key", _AFRESH, "sk-", r"[A-Za-z_-]*[0-9][A-Za-z0-9_-]{16,}"),
    ("aws_key", _AFRESH, "AKIA|ASIA", r"[A-Z0-9]{16}"),
    ("github_token", _AFRESH, "ghp_|gho_|ghu_|ghs_|ghr_|github_pat_", r"[A-Za-z0-9_]{20,}"),
    ("gitlab_token", _AFRESH, "glpat-", r"[A-Za-z0-9_-]{16,}"),
    ("google_key", _AFRESH, "AIza", r"[A-Za-z0-9_-]{30,}"),
    ("hf_token", _AFRESH, "hf_", r"[A-Za-z0-9]{30,}"),
    ("slack_token", _AFRESH, "xox", r"[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("stripe_key", _AFRESH, "sk_live_|sk_test_|rk_live_|rk_test_", r"[A-Za-z0-9]{16,}"),
    ("jwt", _AFRESH, "eyJ", r"[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("bearer", "(?<=[Bb])", "earer ", r"[ \t]*([A-Za-z0-9._~+/=-]{16,})"),
    ("private_key", "", "-----BEGIN ", r"[A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)"),
    ("password", "(?<=[a-z])", "://", r"[^\s/:@\"'\[]*:([^\s/@\"'\[]+)@"),
)
_EXACT: Final = tuple(
    (name, sign, re.compile(before + sign + rest)) for name, before, signs, rest in _LOOKS for sign in signs.split("|")
)

_BASE64: Final = "A-Za-z0-9+/_="


def secrets_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The values of variables that hold a key by their names; what is short, or a plain word, is taken for none."""
    found = {}
    for name in sorted(environ):
        value = environ[name].strip()
        if _KEY_LIKE.search(name) and len(value) >= LEAST and not (value.isalpha() and len(value) < _SHORT_WORD):
            found[_as_name(name)] = value
    return found


def _as_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:64]


class Redactor:
    """Replaces secrets in texts, and in whatever holds texts. Called with a text, it gives the text without them.

    Looking costs 0.2 µs, and 0.1 µs for each thousand characters (2 µs with thirty secrets): all that is looked
    for is one expression of the engine that pydantic brings. Python's own takes 20 µs, one search after another 10.

    Args:
        secrets: values by name, in one mapping or several: of a value that two have, the first one's name stands.

    Raises:
        ConfigError: a name or a value that cannot be used; never quotes the value.
    """

    __slots__ = ("_forms", "_hit", "_numbers", "_values")

    def __init__(self, *secrets: Mapping[str, str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in (item for some in secrets for item in some.items()):
            _require_usable(name, value)
            self._values.setdefault(_whole(value.strip()), name)
        self._numbers = {value: name for value, name in self._values.items() if value.isdecimal()}
        self._forms = _forms_of(tuple(self._values.items()))
        self._hit = _search_for(tuple(self._forms))

    @classmethod
    def here(cls, *named: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Redactor:
        """What is secret in this process now: what is named first, then what the environment holds."""
        return cls(*named, secrets_in(environ))

    def __repr__(self) -> str:
        return f"Redactor({', '.join(sorted(set(self._values.values()))) or 'by look alone'})"

    def __call__(self, text: str) -> str:
        """`text` with `[redacted:NAME]` in place of every secret; the same object where there is none."""
        if not self._hit(text):
            if text.isascii() or _is_whole(text) or not self._hit(whole := _whole(text)):
                return text
            text = whole  # half of a surrogate pair, which the search does not read past
        return _replaced(text, self._spans(text))

    def value(self, value: T) -> T:
        """`value` without secrets, however deep in lists, mappings and records; the same object where there is none.

        A number that is a secret becomes a text.
        """
        return self._cleaned(value)  # type: ignore[no-any-return]  # what comes in goes out

    def named_in(self, *values: object) -> list[str]:
        """The names of the secrets whose values stand in `values`; those that only look like one do not count."""
        found = (text for value in values for text in _texts(value) if self._hit(text))
        return sorted({name for text in found for form, (name, _) in self._forms.items() if form in text})

    def error(self, error: BaseException) -> BaseException:
        """`error`, or what can be raised in its place, with no secret in what it and what led to it say.

        Of our own errors the kind stays; another becomes an AgentError. What led to it is dropped where it tells.
        """
        if all(self(said) == said for said in _said_by(error)):
            return error
        if not isinstance(error, AgentError):
            return AgentError(self(f"{type(error).__name__}: {message_of(error)}"))
        error.args = self.value(error.args)
        error.__cause__ = error.__context__ = None
        vars(error).pop("__notes__", None)
        return error

    def _cleaned(self, value: Any) -> Any:  # noqa: PLR0911 - one return a kind of value, the most frequent first
        kind: Any = type(value)
        if kind is str:
            return value if len(value) < _SHORTEST or (value.isascii() and not self._hit(value)) else self(value)
        if (fields := _texts_of(kind)) is not None:
            return self._of_record(value, fields)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._of_number(value) if self._numbers else value
        if kind is list or kind is tuple:
            changed = [self._cleaned(item) for item in value]
            return value if all(map(is_, changed, value)) else kind(changed)
        if kind is dict:
            return self._of_mapping(value)
        return self._of_mapping(value) if isinstance(value, Mapping) else value

    def _of_number(self, value: float) -> float | str:
        """A table makes 7.0 of 7 where a value is missing: that is the same number."""
        name = self._numbers.get(str(abs(int(value)))) if math.isfinite(value) and value == int(value) else None
        return f"[redacted:{name}]" if name else value

    def _of_record(self, value: Any, fields: _Fields) -> Any:
        changed = {}
        for name in fields.others if self._is_clean(fields.texts(value)) else fields.all:
            old = getattr(value, name)
            if old and (new := self._cleaned(old)) is not old:
                changed[name] = new
        return replace(value, **changed) if changed else value

    def _is_clean(self, texts: Iterable[str | None]) -> bool:
        """True where none of them holds a secret: as a rule, and one look says so."""
        try:
            together = "\n".join(filter(None, texts))
        except TypeError:  # one of them is no text, whatever its record says
            return False
        return together.isascii() and not self._hit(together)

    def _of_mapping(self, value: Mapping[Any, Any]) -> Mapping[Any, Any]:
        changed, same = dict[Any, Any](), True
        for key, item in value.items():
            new_key, new = self._cleaned(key), self._cleaned(item)
            same = same and new_key is key and new is item
            if new_key is not key:
                new_key = _free(new_key, changed.keys() | value.keys())
            changed[new_key] = new
        return value if same else changed

    def _spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, name) of every secret in `text`; they may overlap."""
        for form, (name, grown) in self._forms.items():
            at = text.find(form)
            while at >= 0:
                start, end = grown(text, at, at + len(form))
                yield start, end, name
                at = text.find(form, at + 1)
        for name, sign, look in _EXACT:
            at = text.find(sign)
            while at >= 0:
                if found := look.match(text, at):
                    start, end = found.span(found.lastindex or 0)
                    yield start, end, name
                at = text.find(sign, max(at + 1, found.end() if found else 0))


def _require_usable(name: str, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError("a secret's name is letters, digits, '_', '.' and '-', as in secrets={'CRM_KEY': …}")
    if not isinstance(value, str):
        raise ConfigError(f"the secret {name} is a {type(value).__name__}: give its text")
    if len(value.strip()) < LEAST:
        raise ConfigError(
            f"the secret {name} has {len(value.strip())} characters, and at least {LEAST} are needed: a shorter one"
            " stands in many texts by chance. Take a longer one, or keep it away from the run"
        )


def _whole(text: str) -> str:
    """`text` as it is recorded: half of a surrogate pair is a question mark."""
    return text.encode("utf-8", "replace").decode()


def _is_whole(text: str) -> bool:
    """True where `_whole` gives the same text; in a third of its time."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Grown = Callable[[str, int, int], tuple[int, int]]
"""From where a form was found to all of it that is there."""


@functools.lru_cache(maxsize=8)
def _forms_of(values: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, Grown]]:
    """What is looked for, with the name that it is replaced by."""
    forms: dict[str, tuple[str, Grown]] = {}
    for value, name in values:
        for written in _ways(value):
            forms.setdefault(written, (name, _as_found))
            if len(written) > _PART:
                forms.setdefault(written[:_PART], (name, functools.partial(_beginning, written)))
                forms.setdefault(written[-_PART:], (name, functools.partial(_ending, written)))
        for core in _base64_of(value):
            forms.setdefault(core, (name, _in_base64))
    return forms


def _ways(value: str) -> Iterator[str]:
    """`value` as it is, in JSON, in JSON in JSON, as Python shows it, in HTML and in an address."""
    yield value
    for plain in (True, False):
        once = json.dumps(value, ensure_ascii=plain)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=plain)[1:-1]
    yield repr(value)[1:-1]
    yield html.escape(value)
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _base64_of(value: str) -> Iterator[str]:
    """What stays the same of `value` in base64, whatever stands before and after it: one text for each offset."""
    data = value.encode()
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        core = coded[-(-offset * 8 // 6) :][: (len(data) * 8 - (-offset * 8) % 6) // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _as_found(_: str, start: int, end: int) -> tuple[int, int]:
    return start, end


def _beginning(value: str, text: str, start: int, end: int) -> tuple[int, int]:
    """All of the beginning of `value` that stands at `start`."""
    return start, max(end, start + _alike(value, text[start : start + len(value)]))


def _ending(value: str, text: str, start: int, end: int) -> tuple[int, int]:
    """All of the end of `value` that stands before `end`."""
    there = text[max(0, end - len(value)) : end]
    return min(start, end - _alike(value[::-1], there[::-1])), end


def _alike(one: str, other: str) -> int:
    """How many characters they begin with are the same."""
    each = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in each if a != b), min(len(one), len(other)))


def _in_base64(text: str, start: int, end: int) -> tuple[int, int]:
    """With what belongs to the same base64: its ends hold bits of the secret too."""
    before = re.search(rf"[{_BASE64}-]*\Z", text[max(0, start - 4) : start])
    after = re.match(rf"[{_BASE64}-]{{0,4}}", text[end:])
    return start - len(before[0] if before else ""), end + len(after[0] if after else "")


@functools.lru_cache(maxsize=8)
def _search_for(forms: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a text may hold one of `forms`, or something that looks like a secret; perhaps more, and never less."""
    known = set(forms)
    found = (form for form in forms if len(form) <= _PART or form[:_PART] not in known)  # else its beginning is enough
    exact = ("".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in form) for form in found)
    looks = (f"(?:{signs}){rest}" for _, _, signs, rest in _LOOKS)
    pattern = "|".join((*exact, *looks))
    schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True)
    return SchemaValidator(schema).isinstance_python


def _replaced(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """`text` with each span replaced; of those that overlap, the one that begins first, and is longest, names it."""
    parts, at = list[str](), 0
    for start, end, name in sorted(spans, key=lambda span: (span[0], -span[1], span[2])):
        if start >= at:
            parts += [text[at:start], f"[redacted:{name}]"]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _free(name: str, taken: Collection[Any]) -> str:
    """`name`, or with the first number that makes another of it: of two keys that are secret neither takes an item."""
    return next(free for n in count(1) if (free := name if n == 1 else f"{name} {n}") not in taken)


def _texts(value: object) -> Iterator[str]:
    """Every text in lists, mappings and numbers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, int):
        yield str(value)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of a record in which a text may stand.

    Attributes:
        all: their names.
        others: of those that are more than a text.
        texts: gives those that are a text, or None.
    """

    all: tuple[str, ...]
    others: tuple[str, ...]
    texts: Callable[[Any], Iterable[str | None]]


@functools.cache
def _texts_of(kind: type) -> _Fields | None:
    """Where in a record a text may stand; None of what is no record."""
    if not is_dataclass(kind):
        return None
    hints = get_type_hints(kind)
    names = tuple(field.name for field in fields(kind) if field.init and _may_hold_text(hints[field.name]))
    texts = [name for name in names if hints[name] in (str, str | None)]
    others = tuple(name for name in names if name not in texts)
    read = attrgetter(texts[0], *texts) if texts else lambda _: ()  # one twice: of a single one it gives no tuple
    return _Fields(names, others, read)


_TEXTLESS: Final = (int, float, bool, NoneType)


def _may_hold_text(hint: Any) -> bool:
    if hint in _TEXTLESS or get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return False
    if is_dataclass(hint):
        return bool(_texts_of(hint))  # type: ignore[arg-type]  # a hint is no instance
    parts = get_args(hint)
    return not parts or any(_may_hold_text(part) for part in parts if part is not Ellipsis)


def _said_by(error: BaseException | None) -> Iterator[str]:
    """What an error and all that led to it say."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        at = waiting.pop()
        if at is None or id(at) in seen:
            continue
        seen.add(id(at))
        yield message_of(at)
        yield from filter(None, map(str, getattr(at, "__notes__", ())))
        yield from _texts(at.args)
        waiting += [at.__cause__, at.__context__, *getattr(at, "exceptions", ())]


NOTHING_NAMED: Final = Redactor()
"""Finds what looks like a secret, and knows none."""


def stands_for(*values: object) -> str:
    """The first text in `values` that stands for a secret and is nothing else, or ""."""
    return next((text for value in values for text in _texts(value) if _STANDS.fullmatch(text.strip())), "")
