"""Large values made small enough for a prompt: the shape stays, what is cut is counted."""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import Any

from agentnb.plan import JSON

__all__ = ["cut_text", "dump", "preview", "preview_of", "trim"]


def preview(value: object, limit: int = 600) -> str:
    """The value as JSON of at most `limit` characters: its shape kept, long texts and lists cut, with a count.

    A text stays plain text. Values that are not JSON are shown as `str` gives them.

    >>> preview({"rows": [[n] for n in range(14)]}, 60)
    '{"rows": [[0], [1], [2], [3], [4], [5], "… 8 more rows"]}'
    """
    if isinstance(value, str):
        return cut_text(value, limit)
    text = dump(value)
    return text if len(text) <= limit else _trimmed(json.loads(text), limit)


def preview_of(value: JSON, size: int, limit: int = 600) -> str:
    """The same of what is JSON already, and is as long as `size` characters where nothing is left out of it."""
    return preview(value, limit) if size <= limit or isinstance(value, str) else _trimmed(value, limit)


def _trimmed(value: JSON, limit: int) -> str:
    """JSON that is longer than `limit` characters, in so many."""
    longest = _longest_table(value, limit)
    for width, chars in ((30, limit), (30, limit * 2 // 3), (30, limit // 4), (30, 40), (8, 40), (3, 12)):
        whole = dump(trim(value, longest, width, chars))
        if len(whole) <= limit:
            return whole
        rows = bisect_left(range(longest), 1, key=lambda n: len(dump(trim(value, n, width, chars))) > limit) - 1
        if rows > 1:
            return dump(trim(value, rows, width, chars))
    return cut_text(dump(value), limit)


def _longest_table(value: object, most: int) -> int:
    """The length of the longest list of lists or objects in the value, at most `most`."""
    if isinstance(value, dict):
        return max((_longest_table(item, most) for item in value.values()), default=0)
    if isinstance(value, list) and value:
        own = len(value) if isinstance(value[0], list | dict) else 0
        return min(most, max(own, *(_longest_table(item, most) for item in value[:most])))
    return 0


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)  # json.dumps would make one at every call


def dump(value: object) -> str:
    """The value as one line of JSON."""
    return _ENCODER.encode(value)


def trim(value: Any, rows: int, width: int, chars: int) -> Any:
    """The value with at most `rows` items in a list of lists or objects, `width` in others, and `chars` in a text."""
    if isinstance(value, str):
        return cut_text(value, chars)
    if isinstance(value, dict):
        shown = {cut_text(key, 60): trim(value[key], rows, width, chars) for key in list(value)[:width]}
        return shown | ({"…": f"{len(value) - width} more keys"} if len(value) > width else {})
    if isinstance(value, list):
        table = bool(value) and isinstance(value[0], list | dict)
        kept = rows if table else width
        shown_items = [trim(item, rows, width, chars) for item in value[:kept]]
        more = [f"… {len(value) - kept} more {'rows' if table else 'items'}"] if len(value) > kept else []
        return shown_items + more
    return value


def cut_text(text: str, limit: int) -> str:
    """The text in at most `limit` characters, and how many were left out."""
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(f"… {len(text)} more characters"))
    return f"{text[:kept]}… {len(text) - kept} more characters"
