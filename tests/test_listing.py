"""Tables in text and HTML: what is read, and how it is laid out."""

from __future__ import annotations

from agentnb.listing import Listing

RUNS = Listing(
    "The store is damaged",
    ("run", "records", "is"),
    [("r1", "1 240", "✓ fine"), ("r2", "7", "✗ up to here"), ("✗", "", "5 rows cannot be read")],
    "look",
)


def test_numbers_end_below_each_other_and_texts_begin_so() -> None:
    """A column of nothing but numbers, empty cells aside."""
    assert RUNS.as_text().splitlines() == [
        "The store is damaged",
        "run  records  is",
        "r1     1 240  ✓ fine",
        "r2         7  ✗ up to here",
        "✗             5 rows cannot be read",
        "look",
    ]
    html = RUNS.as_html()
    assert html.count("text-align:right") == 4
    mixed = Listing("x", ("a", "b"), [("n", "1"), ("m", "one")])
    assert "right" not in mixed.as_html()


def test_what_is_wrong_is_seen_and_the_caption_can_be_read() -> None:
    """Crosses have the colour of errors, and nothing else has; Jupyter greys captions by itself."""
    html = RUNS.as_html()
    assert html.count("#e5383b") == 2
    assert "color:inherit" in html.partition("</caption>")[0]


def test_a_table_of_nothing_is_a_sentence() -> None:
    """Escaped, as all that it holds."""
    empty = Listing("No <runs>", (), (), "make one")
    assert (empty.as_text(), empty.as_html()) == ("No <runs>\nmake one", "<p>No &lt;runs&gt;. make one</p>")


def test_letters_that_take_two_columns_are_counted_as_two() -> None:
    """What stands behind them begins in one column of a terminal."""
    one, other = Listing("x", ("a", "b"), [("東京", "y"), ("kyoto", "z")]).as_text().splitlines()[2:]
    assert (one, other) == ("東京   y", "kyoto  z")


def test_nothing_in_a_table_steers_a_terminal_or_turns_the_reading_order() -> None:
    """Whoever makes a table may forget to clean a cell; its title, heads and note may be a stranger's text too."""
    hostile = "a\x1b[2Jb\u202ec\x9b1md\x07"
    made = Listing(hostile, (hostile, hostile), [(hostile, hostile)], hostile)
    for shown in (made.as_text(), made.as_html(), Listing(hostile, (), (), hostile).as_html()):
        assert "abcd" in shown
        assert not {*"\x1b\u202e\x9b\x07"} & {*shown}
