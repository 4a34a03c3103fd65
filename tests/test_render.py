"""A run's card and its plain text: harmless, small, the same each time, and right in their numbers."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.budget import Spent
from agentnb.cost import Saved, Saving
from agentnb.course import ActionLine, EffectLine
from agentnb.markdown import LONGEST_PARSED, clean, to_html
from agentnb.render import as_html, as_text, style_sheet
from agentnb.state import Status
from agentnb.steps import Marks, StepLine
from agentnb.summary import Gauge, PhaseCost, Summary
from agentnb.wording import MARKS, count, level, money, seconds

STEPS = (
    StepLine("s1", "Look at the tables", "schema()", "done", seconds=0.02),
    StepLine("s2", "Count delays", "query(sql)", "done", "16 rows", "EV and F9 are the latest.", 0.31, 0.004),
    StepLine("s3", "Compare seasons", "query(sql)", "running", "retry 1 of 3: timed out", "", 2.13, 0.006),
    StepLine("s4", "File a finding", "add_finding(text)", "todo", "asks you first"),
)
GAUGES = (
    Gauge("usd", 0.031, 0.012, 0.5),
    Gauge("tokens", 9412, 4000, 50_000),
    Gauge("working_seconds", 14.2, 0, 120.0),
)
RUNNING = Summary(
    run="r7-kestrel",
    status=Status.IN_PROGRESS,
    task="Which carriers are late?",
    models=("anthropic:claude-sonnet-4-5",),
    reason="",
    detail="",
    output="",
    confidence="",
    unknowns=(),
    steps=STEPS,
    gauges=GAUGES,
    phases=(PhaseCost("plan", 1, 2310, 0.021), PhaseCost("answer", 1, 7102, 0.01)),
    revisions=(),
    decisions=(),
    spent=Spent(usd=0.031, input_tokens=9000, output_tokens=412, seconds=63.0, working_seconds=14.2),
    saved=Saved(Saving(0.019, 3000)),
    now="step 3 of 4: calling query",
    next="%agent resume r7-kestrel",
)
COMPLETED = replace(
    RUNNING,
    status=Status.COMPLETED,
    now="",
    next="",
    output="**Late in summer:** UA, EV and F9.",
    confidence="high",
    unknowns=("Why AS has so few flights",),
    revisions=("there is no column season",),
    decisions=("you approved s4",),
    steps=tuple(replace(step, mark="done") for step in STEPS),
)
EFFECTS = (
    EffectLine("s2", "note", 'text="EV and F9"'),
    EffectLine("s4", "send_mail", 'to="ada", body="(9 412 characters)"', ("the policy asks", "amount is 250")),
)
ACTIONS = (
    ActionLine(0, "s1", "drop", 'table="a"', "done", "carried out by ada"),
    ActionLine(0, "s2", "drop", 'table="b"', "dropped", "dropped by bob: still needed"),
    ActionLine(1, "s3", "drop", 'table="c"', "waits", "waits for you"),
    ActionLine(2, "s5", "drop", 'table="d"', "in_doubt", "begun by ada, and perhaps carried out: no answer"),
)
DRY = replace(COMPLETED, dry=True, effects=EFFECTS, next="%agent execute r7-kestrel", actions=ACTIONS)

FULL = replace(
    DRY,
    reason="x",
    detail="x",
    now="x",
    executes="x",
    forked="x",
    agent="x",
    parent="x",
    show="x",
    closer="x",
    inside="x",
    alerts=("x",),
    statements=("x",),
    malformed=("x",),
    tried=("x",),
    undone=("x",),
    since=("x",),
    children=(("s1", replace(COMPLETED, agent="research", parent="r7 at s1")),),
    steps=tuple(replace(step, finding="x", assumes="x") for step in (*COMPLETED.steps, STEPS[2])),
)
"""Something in every field, so that none can be forgotten."""

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></article><img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)> ' onmouseover='x",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \x00 \x08",
    "\u202egpj.exe \u2066\u200f\U000e0041 \ud800",
    "w" * 10_000,
    "[x](javascript:alert(1)) [y](data:text/html,z) ![z](https://a.example/?secret)",
    "<https://a.example/\"onclick='x'> <javascript:alert(1)> [d](//evil.example) &lt;b&gt; &#60;i&#62;",
    '[a](vbscript:x "t\\" onload=1") [c][b]\n\n[b]: javascript:x',
    "| <b> | x |\n|:-:|--:|\n| </td><script> | `</code><b>` |",
    '```"><script>\n</code></pre><script>x\n```\n\n# <h1 id=x>',
    "one\r\ntwo\u2028three\tfour\n\n\n\n%agent approve --x or <b>",
)

TAGS = {
    *(
        "style",
        "article",
        "header",
        "footer",
        "div",
        "p",
        "span",
        "b",
        "small",
        "code",
        "pre",
        "strong",
        "em",
        "a",
        "br",
        "hr",
    ),
    *("ol", "ul", "li", "dl", "dt", "dd", "details", "summary", "label", "progress", "h4", "h5", "h6", "blockquote"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    "class",
    "role",
    "aria-label",
    "dir",
    "scope",
    "style",
    "max",
    "value",
    "aria-hidden",
    "href",
    "target",
    "rel",
    "start",
}
VOID = {"br", "hr"}


class Page(HTMLParser):
    """The tags, attributes and text of an output; it fails where one is not closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] != "style":
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def check_html(html: str) -> Page:
    """Holds for every card, whatever went in."""
    page = Page(html)
    assert set(page.tags) <= TAGS
    assert page.tags.count("style") == page.tags.count("article") == 1
    for name, value in page.attributes:
        assert name in ATTRIBUTES
        assert name != "href" or re.match(r"https?://[^\s\"'<>]+$", value, re.IGNORECASE)
        assert name != "style" or re.fullmatch(
            r"--r:\d+%|text-align:(center|right)|border-top:1px solid var\(--line\)", value
        )
        assert name != "start" or value.isdecimal()
    assert html.encode()
    check_letters(html)
    return page


def check_text(text: str) -> None:
    """Holds for every plain text, whatever went in."""
    assert max(map(columns, text.split("\n"))) < 100
    assert text == text.rstrip()
    check_letters(text)


def columns(row: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in row)


def check_letters(text: str) -> None:
    bad = {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs")} - set("\n\u200c\u200d")
    assert not bad


def with_text(value: Any, text: str) -> Any:
    """`value` with `text` for every free text in it, however deep."""
    if is_dataclass(value) and not isinstance(value, type):
        free = [field.name for field in fields(value) if field.name not in ("status", "mark", "limit")]
        return replace(value, **{name: with_text(getattr(value, name), text) for name in free})
    if isinstance(value, tuple):
        return tuple(with_text(item, text) for item in value)
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text[:24]) for text in HOSTILE])
def test_hostile_text_stays_text(text: str, status: Status) -> None:
    """No field can add an element, an attribute, a URL to fetch, a control character or a long line."""
    summary = replace(with_text(FULL, text), status=status)
    page = check_html(as_html(summary))
    assert not {"script", "img", "svg"} & set(page.tags)
    check_text(as_text(summary))


FREE = st.text(max_size=60) | st.sampled_from(HOSTILE)
AMOUNT = st.floats(0, 1e9)


def summaries() -> st.SearchStrategy[Summary]:
    """Any summary at all, also those that no run has."""
    mark = st.sampled_from(list(MARKS))
    step = st.builds(StepLine, FREE, FREE, FREE, mark, FREE, FREE, st.none() | AMOUNT, AMOUNT, FREE)
    marks: st.SearchStrategy[Marks] = st.dictionaries(mark, st.integers(1, 10**6), max_size=3).map(Counter)
    steps = st.lists(step, max_size=4) | step.map(lambda one: [one] * 70)
    limits = st.sampled_from(["usd", "tokens", "steps", "seconds", "working_seconds"])
    gauge = st.builds(Gauge, limits, AMOUNT, AMOUNT, st.floats(0.001, 1e9))
    effect = st.builds(EffectLine, FREE, FREE, FREE, st.lists(FREE, max_size=2).map(tuple))
    phase = st.builds(
        PhaseCost, FREE, st.integers(0, 999), st.integers(0, 10**9), AMOUNT, st.none() | AMOUNT, st.tuples(FREE)
    )
    saving = st.builds(Saving, AMOUNT | AMOUNT.map(float.__neg__), st.integers(0, 10**6))
    queued = st.sampled_from(["waits", "in_doubt", "done", "dropped"])
    action = st.builds(ActionLine, st.integers(0, 99), FREE, FREE, FREE, queued, FREE)
    return st.builds(
        Summary, run=FREE, status=st.sampled_from(Status), task=FREE, models=st.tuples(FREE), reason=FREE, detail=FREE,
        output=st.text(alphabet="*_`#|->[]()! \n\"'<&1aé漢\x1b\u202e", max_size=200) | FREE, confidence=FREE,
        unknowns=st.tuples(FREE), steps=steps.map(tuple), gauges=st.lists(gauge, max_size=3).map(tuple),
        phases=st.tuples(phase, phase), saved=st.builds(Saved, saving, saving, saving),
        revisions=st.tuples(FREE), decisions=st.tuples(FREE), alerts=st.lists(FREE, max_size=2).map(tuple),
        spent=st.builds(Spent, usd=AMOUNT, input_tokens=st.integers(0, 10**9), seconds=AMOUNT, working_seconds=AMOUNT),
        now=FREE, next=FREE, bare=st.booleans(), dry=st.booleans(), executes=FREE,
        effects=(st.lists(effect, max_size=3) | effect.map(lambda one: [one] * 40)).map(tuple),
        actions=(st.lists(action, max_size=3) | action.map(lambda one: [one] * 40)).map(tuple),
        statements=st.tuples(FREE), malformed=st.tuples(FREE), tried=st.tuples(FREE), undone=st.tuples(FREE),
        since=st.tuples(FREE), forked=FREE, agent=FREE, parent=FREE, unpriced=st.booleans(),
        children=st.tuples(FREE, st.builds(replace, st.just(COMPLETED), agent=FREE, run=FREE)).map(lambda one: (one,)),
        show=FREE, closer=FREE, inside=FREE, before=marks, after=marks,
    )  # fmt: skip


def test_no_field_is_forgotten() -> None:
    """Where hostile texts are put in, there is something in each field."""
    empty = [field.name for field in fields(Summary) if getattr(FULL, field.name) in ((), "")]
    assert empty == []


@settings(max_examples=60, deadline=None)
@given(summaries())
def test_any_summary_can_be_shown(summary: Summary) -> None:
    """Both forms exist for every summary, are harmless, and equal for equal summaries."""
    check_html(as_html(summary))
    check_text(as_text(summary))
    check_html(as_html(summary, every=True))
    assert (as_html(summary), as_text(summary)) == (as_html(replace(summary)), as_text(replace(summary)))


STATES = {
    Status.PENDING: "○ Not begun",
    Status.IN_PROGRESS: "● Running",
    Status.AWAITING_APPROVAL: "◇ Needs you",
    Status.AWAITING_ANSWER: "◇ Needs you",
    Status.SUSPENDED: "‖ Suspended",
    Status.COMPLETED: "✓ Completed",
    Status.STOPPED: "■ Stopped",
    Status.CANCELLED: "■ Cancelled",
    Status.FAILED: "✗ Failed",
}


@pytest.mark.parametrize("status", list(Status))
def test_state_and_reason_come_first(status: Status) -> None:
    """An icon and a word, then why, before anything else; never a colour alone."""
    summary = replace(COMPLETED, status=status, reason="a reason", detail="its detail")
    assert as_text(summary).startswith(f"{STATES[status]}: a reason · ")
    text = Page(as_html(summary)).text
    assert text.startswith(f"{STATES[status]} a reason\xa0· ")
    assert "its detail" in text
    assert "its detail" in as_text(summary)


def test_a_record_in_text() -> None:
    """What a terminal and the diff of a saved notebook show of a completed run."""
    assert as_text(COMPLETED) == (
        "✓ Completed · 4 steps · 14 s working, 49 s waiting · $0.031, saved $0.019 · r7-kestrel\n"
        "\n"
        "**Late in summer:** UA, EV and F9.\n"
        "\n"
        "Confidence: high\n"
        "Not known:\n"
        "  - Why AS has so few flights\n"
        "\n"
        "Plan: 4 steps\n"
        "  ✓ Look at the tables · schema() · 0.0 s · $0.000\n"
        "  ✓ Count delays · query(sql) · 16 rows · 0.3 s · $0.004\n"
        "    EV and F9 are the latest.\n"
        "  ✓ Compare seasons · query(sql) · retry 1 of 3: timed out · 2.1 s · $0.006\n"
        "  ✓ File a finding · add_finding(text) · asks you first · $0.000\n"
        "\n"
        "1 revision of the plan:\n"
        "  - there is no column season\n"
        "\n"
        "1 decision:\n"
        "  - you approved s4\n"
        "\n"
        "Cost: plan $0.021, answer $0.010\n"
        "          calls  tokens  dollars\n"
        "  plan        1   2 310   $0.021\n"
        "  answer      1   7 102   $0.010\n"
        "  Used of its budget: $0.031 of $0.50, 9 412 of 50 000 tokens, 14 of 120 working seconds"
    )


def test_a_panel_in_text() -> None:
    """What there is of a run under way, with what is reserved."""
    assert as_text(RUNNING) == (
        "● Running · step 3 of 4: calling query · 63 s · $0.031, saved $0.019 · r7-kestrel\n"
        "\n"
        "Plan: 4 steps, 1 left\n"
        "  ✓ Look at the tables · schema() · 0.0 s · $0.000\n"
        "  ✓ Count delays · query(sql) · 16 rows · 0.3 s · $0.004\n"
        "    EV and F9 are the latest.\n"
        "  ● Compare seasons · query(sql) · retry 1 of 3: timed out · 2.1 s · $0.006\n"
        "  ○ File a finding · add_finding(text) · asks you first\n"
        "\n"
        "Dollars: $0.031 of $0.50 ($0.012 reserved, $0.457 left)\n"
        "Tokens: 9 412 of 50 000 (4 000 reserved, 36 588 left)\n"
        "Working time: 14 of 120 s (106 s left)\n"
        "\n"
        "If it is interrupted: %agent resume r7-kestrel"
    )


def test_the_card_of_a_panel() -> None:
    """Plan in the open, a labelled bar for every cap with the reserve behind it, and what to type."""
    html = as_html(RUNNING)
    assert (
        '<li class="run"><b role="img" aria-label="running">●</b> <span>Compare seasons <code>query(sql)</code> '
        "<small>·\xa0retry 1 of 3: timed out</small></span> <span>2.1 s</span> <span>$0.006</span></li>" in html
    )
    assert (
        "<li><label><small>Tokens</small> <span>9 412 of 50 000</span> "
        '<progress max="100" value="19" style="--r:27%"></progress> '
        "<small>4 000 reserved, 36 588 left</small></label></li>"
    ) in html
    assert "<details>" not in html
    assert "<code>%agent resume r7-kestrel</code></footer>" in html


def test_the_card_of_a_record() -> None:
    """The answer in the open, the rest folded, the costs a table with a caption and scopes."""
    html = as_html(COMPLETED)
    assert "<p><strong>Late in summer:</strong> UA, EV and F9.</p>" in html
    assert re.findall("<summary>(.*?)</summary>", html) == [
        "Plan: 4 steps",
        "1 revision of the plan: there is no column season",
        "1 decision: you approved s4",
        "Cost: plan $0.021, answer $0.010",
    ]
    assert '<thead><tr><th scope="col">Phase</th>' in html
    assert '<tr><th scope="row">plan</th><td>1</td><td>2 310</td><td>$0.021</td></tr>' in html
    assert "<progress" not in html


def test_what_to_type_is_code() -> None:
    """And the words around it are not."""
    summary = replace(
        RUNNING,
        status=Status.SUSPENDED,
        next="look whether it happened, then %agent resume r7 --done   or   --not-done",
    )
    typed = "<code>%agent resume r7 --done</code> or <code>--not-done</code>"
    assert f"<footer>Next: look whether it happened, then {typed}</footer>" in as_html(summary)
    summary = replace(DRY, next="%agent pending r7, then %agent execute r7 N   or   %agent discard r7 N")
    typed = "<code>%agent pending r7</code>, then <code>%agent execute r7 N</code> or <code>%agent discard r7 N</code>"
    assert f"<footer>Next: {typed}</footer>" in as_html(summary)
    summary = replace(DRY, next="look, then %agent resume r3 --done   or   --not-done, then %agent resume r7")
    typed = "<code>%agent resume r3 --done</code> or <code>--not-done</code>, then <code>%agent resume r7</code>"
    assert f"<footer>Next: look, then {typed}</footer>" in as_html(summary)


def test_a_dry_run_says_so_first() -> None:
    """That it is one, and that nothing was done, before anything else; and in the end what it would have done."""
    assert as_text(replace(DRY, actions=())) == (
        "✓ Dry run completed: 2 effects, nothing was done · 4 steps · 14 s working, 49 s waiting ·\n"
        "$0.031, saved $0.019 · r7-kestrel\n"
        "\n"
        "**Late in summer:** UA, EV and F9.\n"
        "\n"
        "Confidence: high\n"
        "Not known:\n"
        "  - Why AS has so few flights\n"
        "\n"
        "Plan: 4 steps\n"
        "  ✓ Look at the tables · schema() · 0.0 s · $0.000\n"
        "  ✓ Count delays · query(sql) · 16 rows · 0.3 s · $0.004\n"
        "    EV and F9 are the latest.\n"
        "  ✓ Compare seasons · query(sql) · retry 1 of 3: timed out · 2.1 s · $0.006\n"
        "  ✓ File a finding · add_finding(text) · asks you first · $0.000\n"
        "\n"
        "What it would have done\n"
        '  ≈ s2 note(text="EV and F9")\n'
        '  ≈ s4 send_mail(to="ada", body="(9 412 characters)") · asks you: the policy asks; amount is 250\n'
        "\n"
        "1 revision of the plan:\n"
        "  - there is no column season\n"
        "\n"
        "1 decision:\n"
        "  - you approved s4\n"
        "\n"
        "Cost: plan $0.021, answer $0.010\n"
        "          calls  tokens  dollars\n"
        "  plan        1   2 310   $0.021\n"
        "  answer      1   7 102   $0.010\n"
        "  Used of its budget: $0.031 of $0.50, 9 412 of 50 000 tokens, 14 of 120 working seconds\n"
        "\n"
        "Next: %agent execute r7-kestrel"
    )
    page = Page(as_html(DRY))
    assert page.text.startswith("✓ Dry run completed 2 effects, nothing was done\xa0· ")
    for status in Status:
        assert as_text(replace(DRY, status=status))[2:].startswith("Dry run")
    stopped = replace(DRY, status=Status.STOPPED, reason="reached its limit of 4 steps", effects=EFFECTS[:1])
    assert "■ Dry run stopped: reached its limit of 4 steps; 1 effect, nothing was done · " in as_text(stopped)


def test_the_table_of_effects() -> None:
    """A caption, scopes, and in each row the call and why a person is asked; folded while the panel is live."""
    html = as_html(DRY)
    assert (
        '<div><table class="calls"><caption>What it would have done</caption><thead><tr><th scope="col">Step</th>'
        '<th scope="col">Call</th><th scope="col">Asks you because</th></tr></thead><tbody>'
        '<tr><th scope="row">s2</th><td><code>note(text="EV and F9")</code></td><td>it would not ask</td></tr>'
    ) in html
    assert "<td>the policy asks; amount is 250</td></tr></tbody></table></div>" in html
    live = as_html(replace(DRY, status=Status.IN_PROGRESS))
    assert '<details><summary>What it would do so far</summary><table class="calls"><thead>' in live


def test_the_queue_is_in_sight() -> None:
    """How many wait stands in the first line; those that do have the number that is typed."""
    text = as_text(replace(DRY, dry=False, effects=()))
    assert text.startswith("✓ Completed · 4 steps · 2 actions wait for you · ")
    assert (
        "Destructive actions: 1 waits for you, 1 in doubt, 1 carried out, 1 dropped\n"
        '  ✓ drop(table="a") · carried out by ada\n'
        '  ✗ drop(table="b") · dropped by bob: still needed\n'
        '  1. drop(table="c") · waits for you\n'
        '  2. drop(table="d") · begun by ada, and perhaps carried out: no answer\n'
    ) in text
    html = as_html(DRY)
    assert "<caption>Destructive actions: 1 waits for you, 1 in doubt, 1 carried out, 1 dropped</caption>" in html
    assert '<tr><th scope="row">1.</th><td><code>drop(table="c")</code></td><td>waits for you</td></tr>' in html


def test_an_execution_names_its_dry_run() -> None:
    """In the first line, while it runs too."""
    assert as_text(replace(COMPLETED, executes="r6-owl")).startswith("✓ Completed · executes r6-owl · 4 steps · ")
    assert as_text(replace(RUNNING, executes="r6-owl")).startswith("● Running · executes r6-owl · step 3 of 4: ")


def test_long_lists_of_calls_are_cut() -> None:
    """They say how many are not shown."""
    many = replace(DRY, effects=EFFECTS[:1] * 100, actions=ACTIONS[2:3] * 31)
    assert "  ⋮ 70 more calls" in as_text(many)
    assert "  ⋮ 1 more call\n" in as_text(many)
    html = as_html(many)
    assert "<tr><td></td><td>70 more calls</td></tr>" in html
    assert html.count("<code>note(") == 30


def test_a_replay_names_no_run_anywhere() -> None:
    """Neither its own nor another: both have other ids in the next replay; and nothing that counts seconds."""

    def one(run: str, other: str, left: int) -> Summary:
        said = f"done before, by {other} (s2), not by {run}; it is not called for another {left} s"
        return replace(
            DRY,
            bare=True,
            run=run,
            executes=other,
            reason=said,
            detail=said,
            unknowns=(said,),
            revisions=(said,),
            decisions=(said,),
            next=f"%agent resume {other} --done, then %agent resume {run}",
            steps=(replace(STEPS[0], note=said),),
            effects=(EffectLine("s1", "note", said, (said,)),),
            actions=(ActionLine(1, "s1", "drop", said, "waits", said),),
        )

    first, second = one("r7-kestrel", "r3-owl", 28), one("r12-wren", "r11-tern", 2)
    assert as_html(first) == as_html(second)
    assert as_text(first) == as_text(second)
    assert "done before, by OTHER (s2), not by RUN; it is not called for a while" in Page(as_html(first)).text
    assert not re.search("kestrel|owl", as_html(first) + as_text(first))


@pytest.mark.parametrize("status", list(Status))
def test_bare_has_neither_times_nor_id(status: Status) -> None:
    """A replay shows what every replay shows: nbval compares it letter by letter."""
    one = replace(COMPLETED, status=status, bare=True, next="%agent resume r7-kestrel", detail="r7-kestrel ended")
    spent = replace(one.spent, seconds=1.0, working_seconds=0.5)
    gauges = (*GAUGES[:2], Gauge("working_seconds", 0.5, 0, 120.0))
    other = replace(one, run="r8", spent=spent, gauges=gauges, next="%agent resume r8", detail="r8 ended")
    other = replace(other, steps=tuple(replace(step, seconds=9.0) for step in other.steps))
    assert as_html(one) == as_html(other)
    assert as_text(one) == as_text(other)
    assert "%agent resume RUN" in as_text(one)
    assert "kestrel" not in as_html(one) + as_text(one)
    assert not re.search(r"\d\s(s|min|h)\b", Page(as_html(one)).text + as_text(one))


def test_a_free_model_has_no_dollars() -> None:
    """Columns of $0.000 tell nobody anything: tokens, and that it is local."""
    free = replace(
        COMPLETED,
        models=("local:qwen2.5-coder-1.5b",),
        spent=replace(COMPLETED.spent, usd=0.0),
        saved=Saved(Saving(0.0, 3000)),
        gauges=GAUGES[1:],
        phases=(PhaseCost("plan", 1, 9412),),
    )
    text = as_text(free)
    assert "9 412 tokens, local: $0, saved 3 000 tokens" in text.replace("\n", " ")
    assert "$0.0" not in text + as_html(free)
    assert "dollars" not in text


def test_long_plans_are_cut_around_the_present_step() -> None:
    """A panel stays in sight; it says how much is not shown, and how much of that failed."""
    steps = tuple(
        StepLine(f"s{n}", f"Step {n}", "f()", "failed" if n == 2 else "done" if n < 31 else "todo")
        for n in range(1, 61)
    )
    text = as_text(replace(RUNNING, steps=steps))
    assert "⋮ 26 steps before, 1 failed\n  ✓ Step 27" in text
    assert "○ Step 38 · f()\n  ⋮ 22 more steps" in text
    assert Page(as_html(replace(RUNNING, steps=steps, gauges=()))).tags.count("li") == 14
    assert Page(as_html(replace(COMPLETED, steps=steps))).tags.count("li") == 60 + 2  # a revision and a decision


def test_what_was_not_done_stands_before_the_answer() -> None:
    """In text and in HTML, with what has become of it since; many are named up to eight, and counted."""
    told = replace(COMPLETED, undone=("Thank Ada (send_mail): rejected",), since=("drop dropped by you",))
    text, page = as_text(told), Page(as_html(told))
    for shown in (text, page.text):
        places = [shown.index(said) for said in ("Thank Ada (send_mail)", "drop dropped by you", "Late in summer")]
        assert places == sorted(places)
    assert "Not done: Thank Ada (send_mail): rejected\nSince then: drop dropped by you" in text
    many = as_text(replace(told, undone=tuple(f"Step {n} (f): not reached" for n in range(30))))
    assert "  - Step 7 (f): not reached\n  - and 22 more steps" in many


def test_sizes() -> None:
    """A record of ten steps is small enough to be saved a hundred times in a notebook, also with a hostile plan."""
    ten = replace(
        COMPLETED, steps=tuple(replace(STEPS[1], id=f"s{n}", title=f"Count delays of carrier {n}") for n in range(10))
    )
    html = as_html(ten)
    assert len(html.encode()) < 6000
    assert len(html.partition("</style>")[2].encode()) < 4000
    undone = ("Thank Ada (send_mail): rejected by you: not on a Friday",)
    assert len(as_html(replace(ten, undone=undone)).encode()) < 6000
    dry = replace(ten, dry=True, effects=EFFECTS, steps=(*ten.steps[:8], *(replace(STEPS[1], mark="simulated"),) * 2))
    assert len(as_html(dry).encode()) < 6000 + 600
    assert len(as_html(replace(dry, actions=ACTIONS)).encode()) < 6000 + 1500
    huge = with_text(replace(DRY, steps=STEPS * 1000, effects=EFFECTS * 500, actions=ACTIONS * 500), "w" * 10_000)
    assert len(as_html(replace(huge, output="")).encode()) < 130_000


def test_nothing_but_the_card_is_styled() -> None:
    """Every rule hangs on the one class, so that it changes nothing else in the notebook."""
    assert as_html(RUNNING).startswith(f"<style>{style_sheet()}{style_sheet('panel')}</style>")
    for style in (style_sheet(), style_sheet("panel")):
        assert style.startswith(".agentnb.agentnb{")
        depths = list(accumulate((letter == "{") - (letter == "}") for letter in style))
        assert depths.index(0, len(".agentnb.agentnb{")) == len(style) - 1
        assert not re.search(r"url\(|@import|[<>]\s*/", style)


def test_rows_carry_words_for_their_icons() -> None:
    """Whoever hears the page hears the state of each step."""
    labels = [value for name, value in Page(as_html(RUNNING)).attributes if name == "aria-label"]
    assert labels == ["Agent run", "done", "done", "running", "to do"]
    unmade = replace(RUNNING, steps=(replace(STEPS[0], mark="simulated"), replace(STEPS[1], mark="proposed")))
    labels = [value for name, value in Page(as_html(unmade)).attributes if name == "aria-label"]
    assert labels[1:] == ["simulated, nothing was done", "put into the queue, not done"]


def test_an_empty_run_has_a_card() -> None:
    """Before there is a plan, and where there never was one."""
    for status in Status:
        empty = replace(
            RUNNING,
            status=status,
            steps=(),
            gauges=(),
            phases=(),
            now="",
            next="",
            spent=Spent(),
            saved=Saved(),
        )
        check_html(as_html(empty))
        assert as_text(empty).startswith(STATES[status])


ADDRESS = "https://a.example/?b=1&amp;c"
RIGHT = ' style="text-align:right"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title", "<h4>Title</h4>"),
        ("a *b* **c** `d<`", "<p>a <em>b</em> <strong>c</strong> <code>d&lt;</code></p>"),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("```py\nx < 1\n```", "<pre><code>x &lt; 1</code></pre>"),
        ("```\n```", "<pre><code></code></pre>"),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
        ("<div>\nx\n</div>", "<p>&lt;div&gt;\nx\n&lt;/div&gt;</p>"),
        ("[x](javascript:alert)", "<p>x (javascript:alert)</p>"),
        ("![x](https://a.example/b.png)", "<p>x (https://a.example/b.png)</p>"),
        (
            "[x](https://a.example/?b=1&c)",
            f'<p>x (<a href="{ADDRESS}" target="_blank" rel="noopener noreferrer">{ADDRESS}</a>)</p>',
        ),
        (
            "|a|b|\n|-|-:|\n|1|2|",
            f'<table><thead><tr><th scope="col">a</th><th scope="col"{RIGHT}>b</th></tr></thead>'  # noqa: ISC004
            f"<tbody><tr><td>1</td><td{RIGHT}>2</td></tr></tbody></table>",
        ),
        ("a  \nb\n\n---", "<p>a<br>b</p><hr>"),
        ("> a", "<blockquote><p>a</p></blockquote>"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    """The subset that an answer may use."""
    assert to_html(text) == expected


def test_a_very_long_answer_is_not_parsed() -> None:
    """No parser's worst case may hold up a notebook."""
    assert to_html("<" * (LONGEST_PARSED + 1)) == f"<pre>{'&lt;' * (LONGEST_PARSED + 1)}</pre>"


def test_clean_keeps_what_people_write() -> None:
    """Accents, CJK, right-to-left letters, joined emoji and line breaks are nobody's attack."""
    for text in ("naïve — 漢字 שלום", "👩\u200d🔬", "می\u200cخواهم", "a\nb"):
        assert clean(text) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.04, "0.0 s"), (2.13, "2.1 s"), (9.96, "10 s"), (119.4, "119 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(value: float, expected: str) -> None:
    """As precise as is of use."""
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "$0.000"), (0.0001, "<$0.001"), (0.0444, "$0.044"), (1.5, "$1.50"), (0.9999, "$1.00")]
)
def test_dollars(value: float, expected: str) -> None:
    """What was paid is never shown as nothing."""
    assert money(value) == expected


@pytest.mark.parametrize(
    ("gauge", "expected"),
    [
        (Gauge("working_seconds", 200.4, 0, 600.0), "200 of 600 s"),
        (Gauge("seconds", 2.13, 0, 0.5), "2.1 of 0.5 s"),
        (Gauge("seconds", 0, 0, 86_400), "0 of 86 400 s"),
        (Gauge("usd", 0.0312, 0, 1.5), "$0.031 of $1.50"),
        (Gauge("steps", 3, 0, 25), "3 of 25"),
    ],
)
def test_gauges_in_words(gauge: Gauge, expected: str) -> None:
    """Both numbers in one unit."""
    assert level(gauge) == expected


def test_plurals() -> None:
    """One step, two steps, thousands apart."""
    assert [count(n, "step") for n in (0, 1, 2, 9412)] == ["0 steps", "1 step", "2 steps", "9 412 steps"]


def leaves(value: Any) -> Iterator[str]:
    """Every string in a summary."""
    if is_dataclass(value) and not isinstance(value, type):
        value = tuple(getattr(value, field.name) for field in fields(value))
    if isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value


def test_outputs_can_be_saved() -> None:
    """A notebook is JSON in UTF-8; a lone surrogate would lose the whole file."""
    bad = with_text(COMPLETED, "\ud800")
    assert all(
        "\ud800" in text
        for text in leaves(bad)
        if text not in set(Status) | {"done", "usd", "tokens", "working_seconds"}
    )
    assert json.dumps([as_html(bad), as_text(bad)], ensure_ascii=False).encode()


def test_a_run_inside_that_stopped_says_how_far_it_came() -> None:
    """Its line tells the steps that have ended from those that there are, as the record of a whole run does."""
    first, *later = COMPLETED.steps
    half = replace(COMPLETED, status=Status.STOPPED, reason="reached its limit of 1 step", agent="research")
    half = replace(half, steps=(first, *(replace(step, mark="todo") for step in later)))
    told = replace(COMPLETED, children=(("s1", half),))
    assert "↳ research: stopped, reached its limit of 1 step · 1 of 4 steps · " in as_text(told)


def test_of_many_runs_inside_each_is_one_line() -> None:
    """A record stays small, whatever went on inside of it: the steps of few are shown, of many they are looked up."""

    def inside(many: int) -> Summary:
        runs = (("s1", replace(COMPLETED, agent="research", run=f"r{n}-owl")) for n in range(many))
        return replace(COMPLETED, children=tuple(runs))

    few, many = inside(8), inside(40)
    assert as_text(few).count("Compare seasons") == 1 + 8
    assert as_html(few).count("Compare seasons") == 1 + 8
    assert as_text(many).count("↳ research: completed") == as_html(many).count("research: completed") == 40
    assert as_text(many).count("Compare seasons") == as_html(many).count("Compare seasons") == 1
    assert len(as_html(many).encode()) < 10_000


def test_dollars_are_not_set_as_formulas() -> None:
    """JupyterLab and nbconvert let MathJax take what stands between two dollar signs, but for these classes."""
    assert '<article class="agentnb ok mathjax_ignore tex2jax_ignore" ' in as_html(COMPLETED)
