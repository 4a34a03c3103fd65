"""Requests: a key is made of all that decides the answer, and stays what it is from release to release."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.base import KEY_FORMAT, Form, ModelRequest

TEXT = st.text(st.characters(codec=None), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda part: st.dictionaries(TEXT, part), max_leaves=8
)
SCHEMA = st.none() | st.dictionaries(TEXT, JSON, max_size=4)


@given(st.tuples(TEXT, TEXT, TEXT, TEXT), st.lists(TEXT, max_size=3), SCHEMA, st.none() | st.floats(0, 2))
def test_a_key_is_that_of_the_standard_librarys_json_with_its_names_in_order(
    texts: tuple[str, str, str, str], context: list[str], schema: Any, heat: float | None
) -> None:
    """However its text is put together, and whether or not the schema is one that is shared: cassettes depend on it."""
    model, system, prompt, endpoint = texts
    said = {
        "format": KEY_FORMAT, "model": model, "phase": "plan", "system": system, "prompt": prompt, "schema": schema,
        "max_output_tokens": 70, "temperature": heat,
        **({"context": context} if context else {}), **({"endpoint": endpoint} if endpoint else {}),
    }  # fmt: skip
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    for form in (schema, None if schema is None else Form(schema)):
        request = ModelRequest(model, "plan", system, prompt, form, 70, heat, tuple(context), endpoint)
        assert (request.canonical(), request.key()) == (text, key)
