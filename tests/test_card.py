"""The card as HTML: what a person is told before a call, that nothing of strangers is markup, and what stays."""

from __future__ import annotations

import queue
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from agentnb.approval import Answer, ApprovalRequest
from agentnb.notebook.card import _Row, card_html, decided, left_waiting
from agentnb.summary import StepLine, Summary
from tests.test_render import RUNNING

REQUEST = ApprovalRequest(
    run="r7-kestrel",
    step="s4",
    title="File a finding: “UA is late in summer”",
    tool="add_finding",
    args={"carrier": "UA", "text": "Median delay 18 min.\nElse 4 min.", "month": 6, "tags": ["late"]},
    expect="One new row, id returned",
    reversibility="full",
    binding="b",
    reasons=("amount 120 is more than 100",),
)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202egpj.exe\" onload='x' </article></style>"


class Page(HTMLParser):
    """The elements and the text of some HTML, without its style sheet."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html.rpartition("</style>")[2])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def so_far(**changes: Any) -> Summary:
    steps = (
        StepLine("s1", "Look at the tables", "schema()", "done", finding="16 carriers"),
        StepLine("s2", "Count delays", "query(sql)", "failed", note="no such column"),
        StepLine("s4", "File a finding", "add_finding(carrier)", "waiting"),
    )
    return replace(RUNNING, **{"task": "Who is late?", "steps": steps} | changes)


def test_what_is_asked_stands_first() -> None:
    """The title, then tool and reversibility, each argument, why, what is expected, and what silence means."""
    page = Page(card_html(REQUEST))
    told = [
        "Needs you", "File a finding", "r7-kestrel · s4", "add_finding", "can be taken back",
        "carrier", '"UA"', "text", "Median delay", "month", "6", "tags", "amount 120", "One new row",
        "The cell waits", "%agent approve r7-kestrel",
    ]  # fmt: skip
    places = [page.text.index(word) for word in told]
    assert places == sorted(places)
    assert page.open == []


@pytest.mark.parametrize(
    ("reversibility", "kind", "words"),
    [
        ("full", "ok", "can be taken back"),
        ("partial", "ask", "can be taken back in part"),
        ("irreversible", "bad", "cannot be taken back"),
    ],
)
def test_what_cannot_be_taken_back_is_said_in_words_and_colour(reversibility: str, kind: str, words: str) -> None:
    """Each of the three has its own."""
    assert f'<b class="{kind}">{words}</b>' in card_html(replace(REQUEST, reversibility=reversibility))


def test_text_and_numbers_are_told_apart() -> None:
    """Prose is shown as it is read, its lines kept; "5" and 5 are not the same."""
    html = card_html(replace(REQUEST, args={"a": "5", "b": 5, "c": "", "d": None, "e": "two\nlines"}))
    for shown in ("<code>&quot;5&quot;</code>", "<code>5</code>", "<code>&quot;&quot;</code>", "<code>null</code>"):
        assert shown in html
    assert "<span>two\nlines</span>" in html


def test_nothing_of_strangers_is_markup() -> None:
    """In every field, in the steps so far and in what stays: text, without what steers a terminal or a reader."""
    request = ApprovalRequest(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE, "b": [HOSTILE]}, HOSTILE, HOSTILE, "b", (HOSTILE,)
    )
    steps = tuple(replace(s, title=HOSTILE, call=HOSTILE, note=HOSTILE, finding=HOSTILE) for s in so_far().steps)
    htmls = [
        card_html(request, so_far(steps=steps, task=HOSTILE)),
        decided(request, Answer("reject", HOSTILE, HOSTILE)).html(),
        left_waiting(request).html(),
    ]
    for html in htmls:
        page = Page(html)
        assert page.open == []
        assert not {"script", "img", "style"} & set(page.tags)
        assert page.tags.count("article") == 1
        assert "\u202e" not in html
        assert "\x1b" not in html
    assert "\x1b" not in decided(request, Answer("approve", "x")).text()


@pytest.mark.parametrize("hidden", ["pay\u202e100", "a b\u200bc", "tab\x00 zero"])
def test_what_cannot_be_seen_is_told(hidden: str) -> None:
    """An argument with characters that are not shown says so; tabs and line breaks are nothing of the kind."""
    assert "cannot be seen" in card_html(replace(REQUEST, args={"a": hidden}))
    assert "cannot be seen" not in card_html(replace(REQUEST, args={"a": "tab\tline\r\nlast"}))


def test_sizes() -> None:
    """A card is small, a long argument is folded and there in full, and a megabyte is cut with its size."""
    assert len(card_html(REQUEST, so_far()).rpartition("</style>")[2].encode()) < 4000
    assert len(decided(REQUEST, Answer("approve", "ada")).html().rpartition("</style>")[2].encode()) < 400
    long = "word " * 1000 + "the end"
    html = card_html(replace(REQUEST, args={"a": long}))
    assert "the end</pre></details>" in html
    assert "5 007 characters" in html
    huge = card_html(replace(REQUEST, args={"a": "x" * 1_000_000}))
    assert len(huge) < 60_000
    assert "more characters</pre>" in huge


def test_what_happened_so_far_is_folded() -> None:
    """What the run is for, and the steps that are done, with what was learned; not the one that waits."""
    html = card_html(REQUEST, so_far())
    folded = html.partition("<details>")[2]
    assert "<summary>What this is for · what happened so far (2 steps)</summary>" in folded
    for told in ("Who is late?", "16 carriers", "no such column"):
        assert told in folded
    assert "add_finding(carrier)" not in folded
    assert "happened so far" not in card_html(REQUEST, so_far(steps=()))


def test_what_stays_is_one_line_that_says_who_did_what() -> None:
    """In HTML and in text, without a widget."""
    approved = decided(REQUEST, Answer("approve", "ada"))
    assert approved.text() == "✓ you approved add_finding(carrier, text, month, tags) at step s4"
    assert Page(approved.html()).text == approved.text()
    rejected = decided(REQUEST, Answer("reject", "ada", "n is\ntoo small"))
    assert rejected.text().endswith("at step s4: n is too small")
    assert "%agent approve r7-kestrel or %agent reject r7-kestrel WHY" in left_waiting(REQUEST).text()


def test_the_buttons_put_their_presses_on_a_queue() -> None:
    """Nothing is chosen beforehand; Enter in the field refuses, and what is closed is closed with all its parts."""
    presses: queue.SimpleQueue[Any] = queue.SimpleQueue()
    row = _Row(presses.put)
    approve, reject = row._choice.children
    field, confirm, back = row._reasons.children
    assert presses.empty()
    for button in (reject, back, confirm, approve):
        button.click()
    field._handle_custom_msg({"event": "submit"}, [])
    assert [presses.get() for _ in range(5)] == ["why", "back", "reject", "approve", "reject"]
    row.ask_reason(asked=True)
    assert (row._choice.layout.display, row._reasons.layout.display) == ("none", "")
    row.close()
    assert all(part.comm is None for part in (row.box, field, confirm, approve.style, row._choice.layout))
