"""Whatever is altered in a row shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import DamagedRecord
from agentnb.store.seal import opened, seal_of, sealed

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, TEXT, TEXT)
def test_what_was_sealed_opens(key: str, text: str, before: str) -> None:
    """Any text, under any key, after any commit."""
    assert opened(key, sealed(key, text, before), before) == text


@given(TEXT, TEXT.filter(bool), TEXT, st.data())
def test_one_flipped_bit_shows(key: str, text: str, before: str, data: st.DataObject) -> None:
    """In the text, in its seal, in its key, or in the commit before it."""
    kept = sealed(key, text, before).encode()
    bit = data.draw(st.integers(0, 8 * len(kept) - 1).filter(lambda n: n // 8 != 32))  # the blank says nothing
    flipped = bytearray(kept)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedRecord):
        opened(key, flipped.decode("utf-8", "replace"), before)
    with pytest.raises(DamagedRecord):
        opened(f"{key}1", kept.decode(), before)
    with pytest.raises(DamagedRecord):
        opened(key, kept.decode(), f"{before}1")


@pytest.mark.parametrize("kept", [None, 5, b"x", 1.5, ""])
def test_what_is_no_text_is_no_row(kept: object) -> None:
    """And is never unpickled, or guessed at."""
    with pytest.raises(DamagedRecord):
        opened("j/r1-x/0000000000", kept)
    assert seal_of(kept) == ""
