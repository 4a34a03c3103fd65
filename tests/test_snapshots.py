"""The HTML of a panel and of a record, as it was last agreed on: what changes in it is seen in a diff.

    AGENTNB_SNAPSHOTS=update python -m pytest tests/test_snapshots.py

writes the files anew; read what that changes before it is committed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agentnb.render import as_html
from agentnb.state import Status
from agentnb.summary import Summary
from tests.test_render import COMPLETED, DRY, RUNNING

FOLDER = Path(__file__).parent / "snapshots"

SEEN: Mapping[str, Callable[[], Summary]] = {
    "panel": lambda: replace(RUNNING, inside="research: step 2 of 4: calling query"),
    "record": lambda: replace(COMPLETED, closer="%agent trace r7-kestrel   or   %agent fork r7-kestrel --at s4"),
    "record-of-a-dry-run": lambda: DRY,
    "record-that-rests": lambda: replace(RUNNING, status=Status.SUSPENDED, reason="stopped by you", now=""),
}


def laid_out(html: str) -> str:
    """`html` without its style sheet, an element a line where that is a block, so that a diff can be read."""
    card = html.partition("</style>")[2]
    block = "article|header|footer|div|p|ol|ul|li|dl|dt|dd|details|summary|table|caption|thead|tbody|tr"
    return re.sub(rf"(?=<(?:{block})\b)|(?<=</article>)", "\n", card).lstrip("\n")


@pytest.mark.parametrize("name", SEEN)
def test_the_html_is_as_agreed(name: str) -> None:
    """To the letter, but for the style sheet."""
    file, html = FOLDER / f"{name}.html", laid_out(as_html(SEEN[name]()))
    if os.environ.get("AGENTNB_SNAPSHOTS") == "update":
        file.write_text(html, encoding="utf-8")
    assert html == file.read_text(encoding="utf-8"), "AGENTNB_SNAPSHOTS=update writes the files anew, if that is meant"
