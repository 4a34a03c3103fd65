"""Why a run did something: the chain of facts and decisions that led to a step, oldest first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from agentnb.displayed import Displayed
from agentnb.errors import ConfigError
from agentnb.informed import Edge, Informed, Node
from agentnb.listing import Listing
from agentnb.markdown import line
from agentnb.wording import number

__all__ = ["Why", "why"]

_MOST = 200
"""Characters of one cell."""

_ALIKE = 8
"""Causes that are named one by one, though they are of the same kind."""


@dataclass(frozen=True, slots=True, repr=False)
class Why(Displayed):
    """What led to a step, a plan or the answer of a run.

    Attributes:
        what: its id.
        graph: all that led to it, and it, with what led from one to another.
        run: the run's id, "" where none is shown.
    """

    what: str
    graph: Informed
    run: str = ""

    @property
    def chain(self) -> tuple[Node, ...]:
        """The facts and decisions, oldest first; the last is what was asked about."""
        last = self.graph[self.what]
        return (*(node for node in self.graph.nodes if node.id != self.what), last)

    def as_text(self) -> str:
        """The chain in lines: each thing with what came of it, and below it what it came from."""
        found = [self._listing().caption]
        for node in self.chain:
            found.append(_wrapped(": ".join(filter(None, self._row(node)[:2])), "  "))
            found += [_wrapped(cause, "      ← ") for cause in self._causes(node)]
        return "\n".join(found)

    def as_html(self) -> str:
        """The same as a table, escaped."""
        return self._listing().as_html()

    def _listing(self) -> Listing:
        of = f" of {self.run}" if self.run else ""
        title = line(self.graph[self.what].title, _MOST)
        return Listing(f"Why {title}{of}", ("what", "came of it", "because of"), [self._row(n) for n in self.chain])

    def _row(self, node: Node) -> tuple[str, str, str]:
        wrong = "✗ " if node.status in ("failed", "in_doubt") else ""
        because = "; ".join(self._causes(node))
        return f"{wrong}{line(node.title, _MOST)}", line(node.said, _MOST), line(because, 2 * _MOST)

    def _causes(self, node: Node) -> Iterator[str]:
        """What informed it; of many that did so in the same way the first and the last."""
        alike: dict[str, list[Edge]] = {}
        for edge in self.graph.sources(node.id):
            alike.setdefault(edge.why, []).append(edge)
        for edge in self.graph.sources(node.id):
            many = len(alike[edge.why])
            if many <= _ALIKE:
                yield self._cause(edge)
            elif edge is alike[edge.why][0]:
                how = edge.why and f" ({edge.why})"
                yield line(f"{edge.source} … {alike[edge.why][-1].source}, {number(many)} in all{how}")

    def _cause(self, edge: Edge) -> str:
        source = self.graph[edge.source]
        name = source.title if source.kind in ("person", "run") else source.id
        return line(
            f"{name} {edge.why}".rstrip() if source.kind == "person" else f"{name}{edge.why and f' ({edge.why})'}"
        )


def _wrapped(text: str, lead: str) -> str:
    """One paragraph after `lead`, on lines of at most 96 columns."""
    return textwrap.fill(text, 96, initial_indent=lead, subsequent_indent=" " * (len(lead) + 2))


def why(graph: Informed, what: str, run: str = "") -> Why:
    """What led to `what`: a step's id, "plan 2" or "answer".

    Args:
        graph: of the run.
        what: its id.
        run: the run's id, for people.

    Raises:
        ConfigError: the run has nothing of that name; says what it has.
    """
    try:
        return Why(what, graph.leading_to(what), run)
    except KeyError as error:
        raise ConfigError(f"{error.args[0]}") from None
