"""Settings: who beats whom, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ConfigError
from agentnb.settings import DEFAULT_MODEL, MODES, VARIABLES, Settings

VALUES = {
    "store": "s",
    "model": "anthropic:x",
    "cheap_model": "local:",
    "phases": "answer=local:",
    "cassette": "c.jsonl",
    "mode": "live",
    "secrets": "a,b",
    "otel": "content",
}


def test_without_anything_set_the_defaults_hold() -> None:
    """A local model, a folder beside the notebook, and a mode that works with and without a model."""
    assert Settings.of({}) == Settings(".agentnb", DEFAULT_MODEL, "", "", "", "auto")
    assert DEFAULT_MODEL.startswith("local:")


@pytest.mark.parametrize("name", VARIABLES)
def test_the_environment_beats_the_default_and_the_user_beats_both(name: str) -> None:
    """Each setting by itself, and no other is touched."""
    other = {"mode": "replay", "otel": "on"}.get(name, "other")
    environ = {VARIABLES[name]: other}
    assert getattr(Settings.of(environ), name) == other
    assert Settings.of(environ, **{name: VALUES[name]}) == Settings.of({}, **{name: VALUES[name]})
    assert Settings.of(environ).with_(**{name: VALUES[name]}) == Settings.of({}, **{name: VALUES[name]})


@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.sampled_from([None, ""])))
def test_nothing_given_is_not_set(unset: dict[str, str | None]) -> None:
    """None and "" leave what was there, from the user and from the environment."""
    environ = {VARIABLES[name]: value for name, value in VALUES.items()}
    assert Settings.of(environ, **unset) == Settings.of(environ) == Settings.of(environ).with_(**unset)
    assert Settings.of(dict.fromkeys(VARIABLES.values(), "")) == Settings()


@given(st.text(min_size=1).filter(lambda text: text not in MODES))
def test_an_unknown_mode_is_refused_with_the_known_ones(mode: str) -> None:
    """From wherever it comes."""
    with pytest.raises(ConfigError, match=r"is not one of auto, live, replay, record, new .AGENTNB_MODE"):
        Settings.of({"AGENTNB_MODE": mode})
    with pytest.raises(ConfigError, match="is not one of"):
        Settings.of({}, mode=mode)
    with pytest.raises(ConfigError, match="is not one of"):
        Settings().with_(mode=mode)


def test_what_is_not_a_setting_is_left_alone() -> None:
    """`with_` takes a cell's arguments as they are and picks its own."""
    assert Settings().with_(task="x", usd="3", model="openai:y") == Settings(model="openai:y")


def test_every_setting_has_its_variable() -> None:
    """And nothing else has one."""
    assert set(VARIABLES) == set(Settings.__slots__)
