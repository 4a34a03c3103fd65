"""Real traffic of both providers, recorded by other people's test suites, through our adapters.

Every interaction must come out as its bytes say (text, usage, stop, the model's name, or the class of the error), or
have a line in `reasons`. `make test-traffic` fetches the packages and runs this; `make test` leaves it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agentnb.budget import Usage
from agentnb.errors import ModelError
from agentnb.models.anthropic import AnthropicModel
from agentnb.models.base import ModelReply, ModelRequest
from agentnb.models.openai import OpenAIModel
from tests.loopback import playing
from tests.traffic.packages import PACKAGES, Package
from tests.traffic.recorded import Interaction, interactions
from tests.traffic.said import Said, said
from tests.traffic.served import served

pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # models that end soon
WITHOUT_TRAFFIC = {"langchain-openai"}
CALLS = "calls tools: we offer none, so calls are not taken; text, usage and stop agree"
REQUEST = ModelRequest("the model", "critique", "", "the prompt", timeout_s=30)


def reasons(one: Interaction, expected: Said) -> Iterator[str]:
    """Why an interaction is compared only in part, one line for each reason."""
    if expected.calls:
        yield CALLS
    if len(one.asked.get("choices") or ()) > 1 or (one.asked.get("n") or 1) > 1:
        yield "asks for several choices: we ask for one, and the first is compared"


def differences(expected: Said, got: ModelReply | ModelError) -> list[str]:
    """What our adapter made of the response, where that is not what the bytes say."""
    if isinstance(got, ModelError):
        return [] if got.failure is expected.failure else [f"failed: {got}"]
    if expected.failure:
        return [f"answered {got.text!r} to an error"]
    usage = expected.usage or Usage(got.usage.input_tokens, REQUEST.max_output_tokens, uncounted=True)
    pairs = {
        "text": (expected.text, got.text),
        "usage": (usage, got.usage),
        "stop": (expected.stop, got.stop),
        "model": (expected.model, got.model),
    }
    return [f"{name}: {ours!r} is not {theirs!r}" for name, (theirs, ours) in pairs.items() if ours != theirs]


def asked(one: Interaction, url: str) -> ModelReply | ModelError:
    """What our adapter makes of the next response of the server at `url`."""
    name = str(one.asked.get("model", "recorded"))
    model = (
        AnthropicModel(name, api_key="none", base_url=url)
        if one.provider == "anthropic"
        else OpenAIModel(name, api_key="none", base_url=f"{url}/v1")
    )
    try:
        return model.ask(replace(REQUEST, model=model.ref))
    except ModelError as error:
        return error


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_recorded_traffic(package: Package, capsys: pytest.CaptureFixture[str]) -> None:
    """Each interaction agrees with its bytes, but for what is on the list of reasons."""
    if not package.is_there:
        pytest.skip(f"{package.file} is not there: run `make test-traffic`")
    recorded = list(interactions(package.file))
    wrong: list[str] = []
    listed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    agree = 0
    with playing(*(served(one) for one in recorded), ((b""),)) as server:
        for number, one in enumerate(recorded, 1):
            expected, got = said(one), asked(one, server.url)
            assert len(server.requests) == number, "each call is one request"
            kinds[f"{one.provider} {'error' if one.status != 200 else 'stream' if one.streamed else 'whole'}"] += 1
            wrong += [f"{one.file} ({one.provider}): {problem}" for problem in differences(expected, got)]
            why = list(reasons(one, expected))
            listed.update(why)
            agree += not why
    with capsys.disabled():
        title = f"{package.name} {package.version}"
        detail = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        print(f"\n{title:48} {len(recorded):5} interactions, {agree:5} agree, {len(wrong)} do not   ({detail})")
        for reason, count in sorted(listed.items()):
            print(f"{'':48} {count:5} in part: {reason}")
    assert bool(recorded) is (package.name not in WITHOUT_TRAFFIC)
    assert not wrong, "\n".join(wrong[:20])
