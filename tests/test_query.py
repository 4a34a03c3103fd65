"""What is searched for, and where it stands in a text."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ConfigError
from agentnb.query import Query, Term, plain

WORDS = st.text(st.sampled_from('ab é_-*":().^ANDORNOT東京\u0301ß½\x00\n'), max_size=20)


def terms(text: str) -> list[tuple[tuple[str, ...], bool]]:
    return [(term.words, term.prefix) for term in Query.of(text).terms]


def test_words_phrases_and_beginnings() -> None:
    """Everything else is no syntax: it only separates words."""
    assert terms('refund "two words" tick*') == [(("refund",), False), (("two", "words"), False), (("tick",), True)]
    assert terms("create_ticket NOT -x a:b (c") == [
        (("create", "ticket"), False), (("not",), False), (("x",), False), (("a", "b"), False), (("c",), False),
    ]  # fmt: skip
    assert terms('"never closed') == [(("never", "closed"), False)]
    assert terms("Café cafe") == [(("cafe",), False)]
    assert terms("東京") == [(("東", "京"), False)]


@pytest.mark.parametrize("text", ["", "  ", '""', "-- * ()"])
def test_nothing_to_search_for(text: str) -> None:
    """Said so."""
    with pytest.raises(ConfigError, match="there is no word in"):
        Query.of(text)
    with pytest.raises(ConfigError, match="a search has at most 32 terms, and this has 40"):
        Query.of(" ".join(f"w{n}" for n in range(40)))


@given(WORDS, WORDS)
def test_whatever_is_typed_sqlite_understands_it(typed: str, there: str) -> None:
    """And where SQLite finds a term, it is marked in the text; and nothing is marked where it finds none."""
    try:
        query = Query.of(typed)
    except ConfigError:
        return
    raw = sqlite3.connect(":memory:")
    raw.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='unicode61')")
    raw.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (plain(there),))
    marked = {term for _, _, term in query.marks(there)}
    for term in query.terms:
        found = raw.execute("SELECT count(*) FROM words WHERE words MATCH ?", (term.match,)).fetchone()[0]
        assert bool(found) == (term in marked), (term, plain(there))
    raw.close()


def test_marks_are_in_the_text_as_it_stands() -> None:
    """Accents, case and what stands between the words stay."""
    text = "A Café: create_ticket(refunds)"
    query = Query.of('cafe "create ticket" refund*')
    assert [text[begin:end] for begin, end, _ in query.marks(text)] == ["Café", "create_ticket", "refunds"]
    assert Query((Term(("refund",)),)).marks(text) == []
