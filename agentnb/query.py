"""What somebody searches for, as words and phrases; and where in a text they stand.

Words are compared without regard to case and accents. A letter of Chinese, Japanese or Korean is a word of its own, so
that a part of a sentence without spaces is found. Whatever is typed is a search: there is no syntax to get wrong, and
nothing of it reaches SQLite but words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentnb.errors import ConfigError

__all__ = ["Query", "Term", "plain"]

_MOST_TERMS: Final = 32
_EAST: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_EAST}]|[^\W_{_EAST}]+")
_AS_WRITTEN: Final = re.compile(rf"[{_EAST}]|(?:[^\W_{_EAST}]|[\u0300-\u036f])+")
"""A word in a text as it stands, accents that are letters of their own included."""
_EASTERN: Final = re.compile(rf"[{_EAST}]")
_PART: Final = re.compile(r'"([^"]*)"?|(\S+)')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that follow each other.

    Attributes:
        words: one or more, as `plain` gives them.
        prefix: True where the last one may go on.
    """

    words: tuple[str, ...]
    prefix: bool = False

    @property
    def match(self) -> str:
        """It in the syntax of FTS5; its words hold nothing but letters and digits."""
        return f'"{" ".join(self.words)}"{" *" if self.prefix else ""}'


@dataclass(frozen=True, slots=True)
class Query:
    """Terms, all of which a run has to have.

    Attributes:
        terms: at least one.
    """

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, text: str) -> Query:
        r"""What `text` searches for: words, "quoted phrases", and beginnings of words with a star.

        >>> Query.of('refund "two words" tick*').terms[1:]
        (Term(words=('two', 'words'), prefix=False), Term(words=('tick',), prefix=True))

        Raises:
            ConfigError: there is no word in it, or there are more than 32 terms.
        """
        found = dict[Term, None]()
        for part in _PART.finditer(text):
            quoted, bare = part.groups()
            words = tuple(_WORD.findall(plain(bare if quoted is None else quoted)))
            if words:
                found[Term(words, quoted is None and bare.endswith("*"))] = None
        if not found:
            raise ConfigError(f"there is no word in {text!r} to search for")
        if len(found) > _MOST_TERMS:
            raise ConfigError(f"a search has at most {_MOST_TERMS} terms, and this has {len(found)}")
        return cls(tuple(found))

    def marks(self, text: str) -> list[tuple[int, int, Term]]:
        """Where its terms stand in `text`: begin, end and which, in order."""
        words = [
            (found.start(), found.end(), word)
            for found in _AS_WRITTEN.finditer(text)
            for word in _WORD.findall(plain(found[0]))
        ]
        folded = [word for _, _, word in words]
        marks = []
        for term in self.terms:
            many = len(term.words)
            for place, word in enumerate(folded):
                if word.startswith(term.words[0]) and _stands(term, folded[place : place + many]):
                    marks.append((words[place][0], words[place + many - 1][1], term))
        return sorted(marks, key=lambda mark: mark[:2])


def _stands(term: Term, words: Sequence[str]) -> bool:
    if len(words) < len(term.words) or tuple(words[:-1]) != term.words[:-1]:
        return False
    return words[-1].startswith(term.words[-1]) if term.prefix else words[-1] == term.words[-1]


def plain(text: str) -> str:
    """`text` as its words are compared: in lower case, without accents, and a space around eastern letters.

    >>> plain("Café 東京")
    'cafe  東  京 '
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return _EASTERN.sub(lambda found: f" {found[0]} ", unicodedata.normalize("NFC", bare))
