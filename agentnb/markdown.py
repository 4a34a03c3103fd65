"""Text of strangers, made harmless: `clean` for all of it, `to_html` for a model's answer in Markdown.

The parser is mistune's; the HTML is ours. A token comes out only as one of the elements named here, and everything
else, raw HTML and images included, as its text. So what is safe does not rest on what a renderer forgets.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mistune import Markdown

__all__ = ["clean", "line", "to_html"]

Token = Mapping[str, Any]

LONGEST_PARSED = 50_000
"""Characters; a longer answer is shown as it came: no parser's worst case may hold up a notebook."""

_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
_NEWLINE = re.compile(r"\r\n?|[\v\f\x85\u2028\u2029]")
_JOINERS = "\u200c\u200d"
"""The invisible characters that stay: Persian and emoji are not written without them."""

_WEB = re.compile(r"https?://[^\s<>\"'`\\]+", re.IGNORECASE)

_TAGS = {
    "paragraph": "p",
    "strong": "strong",
    "emphasis": "em",
    "list_item": "li",
    "block_quote": "blockquote",
    "table": "table",
    "table_body": "tbody",
    "table_row": "tr",
    "codespan": "code",
    "block_html": "p",
}
"""Tokens that become one element around their children."""


def clean(text: str) -> str:
    r"""`text` without anything that steers a terminal or turns the reading order; its line breaks all `\n`.

    Terminal escapes go as a whole, then control and format characters (bidirectional overrides, invisible tags) and
    lone surrogates, which no file could hold.

    >>> clean("\x1b[31mred\x1b[0m\r\n\u202egpj.exe")
    'red\ngpj.exe'
    """
    if text.isascii() and text.isprintable():
        return text
    text = _NEWLINE.sub("\n", _ANSI.sub("", text)).expandtabs(4)
    return "".join(c for c in text if c == "\n" or c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def line(text: str, most: int = 200) -> str:
    r"""`text` cleaned, on one line of at most `most` characters.

    >>> line("one\n two three", 10)
    'one two t…'
    """
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def to_html(text: str) -> str:
    """Markdown as HTML of a few elements: no raw HTML, no images, links to the web only, their address in sight."""
    text = clean(text).strip()
    if len(text) > LONGEST_PARSED:
        return f"<pre>{escape(text)}</pre>"
    return _all(cast("list[Token]", _parser()(text)))


@cache
def _parser() -> Markdown:
    import mistune

    return mistune.create_markdown(renderer=None, plugins=["table"])


def _all(tokens: Iterable[Token]) -> str:
    return "".join(map(_one, tokens))


def _one(token: Token) -> str:
    kind: str = token["type"]
    if kind in _WORDLESS:
        return _WORDLESS[kind]
    inner = _all(token.get("children", ())) or escape(token.get("raw", "").rstrip("\n"))
    if tag := _TAGS.get(kind):
        return f"<{tag}>{inner}</{tag}>"
    return _FURNISHED[kind](inner, token.get("attrs", {})) if kind in _FURNISHED else inner


def _heading(inner: str, attrs: Token) -> str:
    level = min(6, attrs["level"] + 3)  # below the notebook's own, whose outline they would join
    return f"<h{level}>{inner}</h{level}>"


def _list(inner: str, attrs: Token) -> str:
    tag = "ol" if attrs.get("ordered") else "ul"
    start = f' start="{int(attrs["start"])}"' if "start" in attrs else ""
    return f"<{tag}{start}>{inner}</{tag}>"


def _cell(inner: str, attrs: Token) -> str:
    tag, scope = ("th", ' scope="col"') if attrs.get("head") else ("td", "")
    align = attrs.get("align")
    style = f' style="text-align:{align}"' if align in ("center", "right") else ""
    return f"<{tag}{scope}{style}>{inner}</{tag}>"


def _link(inner: str, attrs: Token) -> str:
    """The label, and the address for all to see; what is not of the web cannot be clicked."""
    address = escape(url := str(attrs["url"]))
    if _WEB.fullmatch(url):
        address = f'<a href="{address}" target="_blank" rel="noopener noreferrer">{address}</a>'
    return address if inner in ("", escape(url)) else f"{inner} ({address})"


def _image(inner: str, attrs: Token) -> str:
    """What it is said to show, and its address: fetching it would tell its server, and whatever the address holds."""
    return f"{inner} ({escape(str(attrs['url']))})"


_FURNISHED: Mapping[str, Callable[[str, Token], str]] = {
    "heading": _heading,
    "list": _list,
    "table_cell": _cell,
    "link": _link,
    "image": _image,
    "block_code": lambda inner, _: f"<pre><code>{inner}</code></pre>",
    "table_head": lambda inner, _: f"<thead><tr>{inner}</tr></thead>",
}
"""Tokens that need more than a tag."""

_WORDLESS = {"linebreak": "<br>", "softbreak": "\n", "thematic_break": "<hr>", "blank_line": ""}
