"""Answers from elsewhere: another process, kernel or thread may answer what a run is asking right now.

Whoever drives a run is the only one who appends to its journal, so an answer from elsewhere is left in the store under
the number of the question, once and for good, and the driver takes it in.
"""

from __future__ import annotations

import json
from typing import Any

from agentnb.approval import Answer
from agentnb.errors import DamagedRecord
from agentnb.store.base import Store

__all__ = ["post", "posted"]


def post(store: Store, run: str, asked_at: int, answer: Answer) -> bool:
    """Leave `answer` to the question in record `asked_at` of `run`; False where somebody has answered it already."""
    kept: dict[str, Any] = {
        "decision": answer.decision,
        "by": answer.by,
        "reason": answer.reason,
        "args": None if answer.args is None else dict(answer.args),
        "allow": answer.allow,
        "others": dict(answer.others),
    }
    return store.add_row(_key(run, asked_at), json.dumps(kept))


def posted(store: Store, run: str, asked_at: int) -> Answer | None:
    """The answer that was left to the question in record `asked_at` of `run`, or None.

    Raises:
        DamagedRecord: it cannot be read.
    """
    text = store.row(_key(run, asked_at))
    if text is None:
        return None
    try:
        return Answer(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise DamagedRecord(f"the answer to record {asked_at} of {run} cannot be read: {error}") from error


def _key(run: str, asked_at: int) -> str:
    return f"a/{run}/{asked_at:010d}"
