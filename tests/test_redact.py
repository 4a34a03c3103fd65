"""Secrets in texts: found in every form, wherever they stand, and nothing else is taken for one."""

from __future__ import annotations

import base64
import html
import json
import string
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentnb.errors import AgentError, ConfigError, FailureClass, ModelError
from agentnb.redact import NOTHING_NAMED, Redactor, secrets_in, stands_for

VALUE = 'pa"ss/wörd+7\\x'
REDACT = Redactor({"CRM": VALUE, "PIN": "9876543210"})


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        json.dumps({"deep": json.dumps([VALUE])}),
        repr(VALUE),
        f"<b>{html.escape(VALUE)}</b>",
        quote(VALUE, safe=""),
        quote(VALUE),
        quote_plus(VALUE).lower(),
        f"https://x.test/?key={quote_plus(VALUE)}&more=1",
        *(base64.b64encode(b"u" * n + VALUE.encode() + b":z" * m).decode() for n in range(4) for m in range(3)),
        base64.urlsafe_b64encode(f"joe:{VALUE}".encode()).decode(),
    ],
)
def test_a_value_is_found_in_every_form(written: str) -> None:
    """As it is, as JSON, JSON in JSON and Python write it, in HTML, in an address, in base64 at each offset."""
    clean = REDACT(f"before {written} after")
    assert "[redacted:CRM]" in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    for form in (VALUE, json.dumps(VALUE)[1:-1], quote(VALUE, safe=""), base64.b64encode(VALUE.encode()).decode()[:12]):
        assert form not in clean


LONG = "zq0123456789abcdefghijklmnopqrstuvwxyzQX"


@pytest.mark.parametrize("kept", [16, 20, 30, 39])
def test_a_part_that_was_cut_off_is_found(kept: int) -> None:
    """The beginning, the end, and both with dots in between, as pydantic writes a long value."""
    redact = Redactor({"LONG": LONG})
    assert redact(f"<{LONG[:kept]}") == "<[redacted:LONG]"
    assert redact(f"{LONG[-kept:]}>") == "[redacted:LONG]>"
    assert redact(f"{LONG[:kept]}...{LONG[-kept:]}") == "[redacted:LONG]...[redacted:LONG]"


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-ant-api03-abcDEF1234567890xyz.", "key [redacted:api_key]."),
        (r"{\"a\":\"\nsk-proj-1abcDEF2345678901\"}", r"{\"a\":\"\n[redacted:api_key]\"}"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted:aws_key]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[redacted:github_token]"),
        ("glpat-abcdefghij0123456789", "[redacted:gitlab_token]"),
        ("xoxb-123456789012-abcdef", "[redacted:slack_token]"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[redacted:google_key]"),
        ("hf_abcdefghijklmnopqrstuvwxyzABCDEF", "[redacted:hf_token]"),
        ("sk_live_abcdefghijklmnop1234", "[redacted:stripe_key]"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl", "[redacted:jwt]"),
        ("Authorization: Bearer abcdefgh12345678ij", "Authorization: Bearer [redacted:bearer]"),
        ("postgres://joe:pw1@host/db", "postgres://joe:[redacted:password]@host/db"),
        (f"{PEM} tail", "[redacted:private_key] tail"),
        (json.dumps(PEM), '"[redacted:private_key]"'),
        (PEM[:45], "[redacted:private_key]"),
        ("half \ud800 of AKIAIOSFODNN7EXAMPLE", "half ? of [redacted:aws_key]"),
    ],
)
def test_what_looks_like_a_key_is_one(text: str, clean: str) -> None:
    """Well-known services', whoever knows of it or not; a name before it stays."""
    assert NOTHING_NAMED(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "task-2024-01-01-report-final-x",
        "risk-adjusted-returns-2024-q1-final",
        "http://127.0.0.1:8080/a@b",
        "https://example.test:443/x?mail=a@b",
        "SELECT carrier FROM flights WHERE tail = 'N12345'",
        "Bearer of bad news",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "-----BEGIN CERTIFICATE-----",
        "half \ud800",
        "",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    """The very object comes back, so that nobody copies what is clean."""
    assert REDACT(text) is text


@given(
    st.text(alphabet=string.printable + "éß漢\u2028", min_size=8, max_size=60),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_named_value_is_left_in_any_text(value: str, before: str, after: str) -> None:
    """And what is clean is clean when it is looked at again."""
    assume(len(value.strip()) >= 8 and value.strip() not in "[redacted:IT]")
    redact = Redactor({"IT": value})
    clean = redact(before + value + after)
    assert value.strip() not in clean
    assert redact(clean) == clean


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=12,
    )
)
def test_a_clean_value_comes_back_as_it_is(value: Any) -> None:
    """The very object, however deep it is."""
    assert REDACT.value(value) is value


@dataclass(frozen=True, slots=True)
class Inner:
    names: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Outer:
    title: str
    inner: Inner
    tags: dict[str, str] = field(default_factory=dict)


def test_records_mappings_lists_and_numbers_are_cleaned() -> None:
    """Names of fields stay; a number that is a secret becomes a text; what has none in it stays the very object."""
    clean = Inner(("x",))
    dirty = Outer(f"a {VALUE}", Inner((VALUE, "b"), 3), {VALUE: "k", "n": VALUE})
    found = REDACT.value([dirty, clean, 9876543210, True, {"pin": 9876543210}])
    tags = {"[redacted:CRM]": "k", "n": "[redacted:CRM]"}
    assert found[0] == Outer("a [redacted:CRM]", Inner(("[redacted:CRM]", "b"), 3), tags)
    assert found[1] is clean
    assert found[2:] == ["[redacted:PIN]", True, {"pin": "[redacted:PIN]"}]


def test_the_same_text_stands_for_other_values_elsewhere() -> None:
    """So that a prompt has the same key on every machine."""
    texts = {Redactor({"CRM": value})(f"use {value}!") for value in ("first-value", "second-value-that-is-longer")}
    assert texts == {"use [redacted:CRM]!"}


ENVIRON = {
    "OPENAI_API_KEY": "sk-openai-value-0",
    "GITHUB_TOKEN": "abcdefgh1",
    "DB_PASSWORD": "postgres",  # a plain word
    "PGPASSWORD": "correct4horse",
    "TOKENIZERS_PARALLELISM": "false-and-long-1",
    "MAX_TOKENS": "4096",  # short
    "AWS_TOKEN_FILE": "/run/secrets/token",
    "OLDPWD": "/home/somebody/x1",
    "PATH": "/usr/bin:/bin-and-1",
    "aws_secret_access_key": "lower-case-1",
}


def test_which_variables_hold_keys() -> None:
    """By the end of their names; what is short, or a word that may stand in any text, is taken for none."""
    assert set(secrets_in(ENVIRON)) == {"OPENAI_API_KEY", "GITHUB_TOKEN", "PGPASSWORD", "aws_secret_access_key"}


def test_what_is_named_comes_before_the_environment() -> None:
    """A value that both have goes by the name that the user gave."""
    redact = Redactor.here({"MINE": "abcdefgh1", "PGPASSWORD": "another-one"}, environ=ENVIRON)
    assert redact("abcdefgh1, correct4horse") == "[redacted:MINE], [redacted:PGPASSWORD]"
    assert redact("another-one") == "[redacted:PGPASSWORD]"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"PIN": "1234567"}, "the secret PIN has 7 characters, and at least 8 are needed"),
        ({"PIN": "  1234567  "}, "the secret PIN has 7 characters"),
        ({"PIN": 12345678}, "the secret PIN is a int: give its text"),
        ({"a b": "12345678"}, "a secret's name is letters, digits"),
        ({"": "12345678"}, "a secret's name is letters, digits"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_quoted(named: Any, said: str) -> None:
    """With what is wrong, and never with the value."""
    with pytest.raises(ConfigError) as caught:
        Redactor(named)
    assert said in str(caught.value)
    assert "1234567" not in str(caught.value)


def test_names_are_told_and_values_are_not() -> None:
    """Its repr, and which secrets stand in something."""
    assert repr(REDACT) == "Redactor(CRM, PIN)"
    assert REDACT.named_in({"a": [f"x{VALUE}"]}, "9876543210", "sk-ant-api03-abcDEF1234567890xyz") == ["CRM", "PIN"]
    assert REDACT.named_in({"a": ["x"]}) == []


def test_what_stands_for_a_secret() -> None:
    """A text that is a placeholder and nothing else."""
    assert stands_for({"a": ["x", " [redacted:CRM] "]}) == " [redacted:CRM] "
    assert stands_for({"a": "the key [redacted:CRM] was found"}) == ""


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """`error` as it is caught."""
    with pytest.raises(type(error)) as caught:
        raise error from cause
    return caught.value


def test_an_error_that_tells_is_cleaned_with_all_that_led_to_it() -> None:
    """Our own keep their kind and what they carry; others become an AgentError; clean ones stay the very object."""
    clean = raised(ValueError("x"))
    assert REDACT.error(clean) is clean
    ours = REDACT.error(raised(ModelError(f"no {VALUE}", FailureClass.FATAL), ValueError(VALUE)))
    assert (str(ours), ours.__cause__, ours.__context__) == ("no [redacted:CRM]", None, None)
    assert isinstance(ours, ModelError)
    assert ours.failure is FailureClass.FATAL
    other = REDACT.error(raised(KeyError(VALUE)))
    assert type(other) is AgentError
    assert str(other) == "KeyError: '[redacted:CRM]'"
    noted = raised(ConfigError("fine"), ValueError(VALUE))
    noted.add_note(f"was {VALUE}")
    told = REDACT.error(noted)
    assert (str(told), told.__cause__, getattr(told, "__notes__", [])) == ("fine", None, [])


def test_two_keys_that_are_secret_stay_two() -> None:
    """Of a table by keys no row is lost, whatever stands in their place."""
    table = {f"ghp_{'a' * 30}": 1, f"ghp_{'b' * 30}": 2, "[redacted:github_token]": 3, "x": 4}
    clean = NOTHING_NAMED.value(table)
    assert list(clean.values()) == [1, 2, 3, 4]
    assert NOTHING_NAMED.value(clean) is clean
    assert "ghp_" not in repr(clean)


def test_a_number_is_a_secret_however_it_is_kept() -> None:
    """A column with a gap in it is one of floats."""
    assert REDACT.value([9876543210.0, -9876543210, 0.5, float("inf")]) == [
        "[redacted:PIN]",
        "[redacted:PIN]",
        0.5,
        float("inf"),
    ]
