"""Reading what a model replied: JSON of a pydantic model, or the list of what is wrong with it."""

from __future__ import annotations

import functools
import json
from typing import Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from agentnb.models.base import ModelReply

__all__ = ["BadReply", "read_reply"]

M = TypeVar("M", bound=BaseModel)
_SHOWN = 6
_FINITE = json.JSONEncoder(allow_nan=False)


class BadReply(Exception):
    """A reply that does not hold what was asked for.

    Attributes:
        problems: one sentence for each thing that is wrong, for the model to read.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_reply(form: type[M], reply: ModelReply) -> M:
    """The reply as `form`; a code fence or a sentence around the JSON is forgiven, anything else is not.

    Raises:
        BadReply: it was refused, cut off, is no JSON, or not of that form.
    """
    if reply.stop == "refusal":
        raise BadReply("the model declined to answer")
    if reply.stop == "length":
        raise BadReply(f"the reply was cut off after {reply.usage.output_tokens} tokens: be shorter")
    start, end = reply.text.find("{"), reply.text.rfind("}")
    if start < 0 or end < start:
        raise BadReply(f"the reply is not a JSON object but: {reply.text[:120]!r}")
    try:
        found = form.model_validate_json(reply.text[start : end + 1])
        if not _only_texts(form):
            _FINITE.encode(found.model_dump())  # the parser lets NaN and 1e999 pass, a journal cannot keep them
    except ValidationError as error:
        raise BadReply(*[_said(item["loc"], item["msg"]) for item in error.errors()[:_SHOWN]]) from None
    except ValueError:
        raise BadReply("a number in the reply is not finite: NaN and Infinity are no JSON") from None
    return found


@functools.cache
def _only_texts(form: type[BaseModel]) -> bool:
    """True of a form in which there is no place for a number."""
    kinds = [info.annotation for info in form.model_fields.values()]
    return all(kind is str or (get_origin(kind) is Literal and {*map(type, get_args(kind))} == {str}) for kind in kinds)


def _said(where: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, where)) or 'the reply'}: {message}"
