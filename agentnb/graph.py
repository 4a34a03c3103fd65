"""What informed what in a run, as a picture: boxes in columns, arrows from what led to what followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentnb.informed import KNOWN, Edge, Informed, Node
from agentnb.layered import Layout, layered, without_implied
from agentnb.markdown import line
from agentnb.palette import Ink
from agentnb.picture import Arrows, Axis, Boxes, Layer, Panel, Picture
from agentnb.wording import count, number

__all__ = ["graph"]

_MOST: Final = 36
"""Boxes; where there are more, steps that stand between the same others are one, and if need be those in a row too."""
_WIDE: Final = 900.0
_COLUMN: Final = 128.0
"""Pixels at least."""
_ROW: Final = 58.0
_WIDEST: Final = 260.0
"""Pixels of a box at most."""
_LETTER: Final = 6.5
_BOLD: Final = 7.5
"""Pixels of a letter, on average."""
_BOX: Final = (0.8, 0.74)
"""Of a column and of a row."""
_FLAT: Final = 0.62
"""Of a row, where arrows run between the rows."""
_TOLD: Final = 200
_UNDONE: Final = frozenset({"failed", "in_doubt", "todo"})

_INKS: Final[dict[str, Ink]] = {
    "task": "grey",
    "plan": "blue",
    "step": "green",
    "person": "purple",
    "run": "teal",
    "answer": "orange",
}


@dataclass(frozen=True, slots=True)
class _Look:
    name: str
    ink: Ink
    dashed: bool


def graph(found: Informed, *, run: str = "", what: str = "") -> Picture:
    """What informed what.

    Args:
        found: of a run, or what led to a part of it.
        run: its id; "" shows none.
        what: the part that it led to, for the title.
    """
    shown = _together(found)
    edges = _drawn(shown)
    layout = layered([node.id for node in shown.nodes], [(edge.source, edge.target) for edge in edges])
    down = layout.layers * _COLUMN > _WIDE and layout.across * _COLUMN <= _WIDE
    columns, rows = (layout.across, layout.layers) if down else (layout.layers, layout.across)
    width = max(_WIDE, columns * _COLUMN)
    box = min(width / columns * _BOX[0], _WIDEST) / (width / columns), _FLAT if down else _BOX[1]
    drawn = _Drawn(shown, layout, box, width / columns * box[0], down=down)
    panel = Panel(
        x=Axis(low=-0.5, high=columns - 0.5),
        y=Axis(low=-0.5, high=rows - 0.5, down=True),
        layers=(*drawn.arrows(edges), *drawn.boxes()),
        height=rows * (_ROW + 14 if down else _ROW),
        frame=False,
    )
    of = f" of {line(run, 60)}" if run else ""
    title = f"What led to {line(what, 40)}{of}" if what else f"What informed what{of}"
    known = sum(edge.why == KNOWN for edge in shown.edges) - sum(edge.why == KNOWN for edge in edges)
    left = f"{count(known, 'arrow')} from a step to what a model filled in later not drawn" if known else ""
    one = "some steps drawn as one" if shown is not found else ""
    said = " · ".join(filter(None, (_said(found), one, left)))
    return Picture(title=title, said=said, rows=((panel,),), text=_table(found), width=width)


def _together(found: Informed) -> Informed:
    """The graph with steps that went well drawn as one, as far as it has too many."""
    held = {node.id: [node] for node in found.nodes}
    for grouped in (_alike, _in_a_row):
        if len(found.nodes) > _MOST:
            groups = grouped(found)
            held = {group[0].id: [one for node in group for one in held[node.id]] for group in groups}
            found = _merged(found, groups, held)
    return found


def _alike(found: Informed) -> list[list[Node]]:
    """Steps that stand between the same others."""
    groups: dict[object, list[Node]] = {}
    ends = _ends(found.edges)
    for node in found.nodes:
        key = (node.status, ends.get(node.id)) if _goes_well(node) else node.id
        groups.setdefault(key, []).append(node)
    return list(groups.values())


def _in_a_row(found: Informed) -> list[list[Node]]:
    """Steps that follow each other, but for the last ones."""
    groups: list[list[Node]] = []
    last = {node.id for node in found.nodes[-_MOST // 2 :]}
    for node in found.nodes:
        if groups and _goes_well(node) and _goes_well(groups[-1][-1]) and node.id not in last:
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _goes_well(node: Node) -> bool:
    return node.kind == "step" and node.status not in _UNDONE


def _merged(found: Informed, groups: Sequence[Sequence[Node]], held: Mapping[str, Sequence[Node]]) -> Informed:
    """The graph with each group as one node, which says what is held in it."""
    names = {node.id: group[0].id for group in groups for node in group}
    nodes = tuple(_one(held[group[0].id]) for group in groups)
    edges: dict[tuple[str, str], Edge] = {}
    for edge in found.edges:
        ends = names[edge.source], names[edge.target]
        if ends[0] != ends[1]:
            edges.setdefault(ends, Edge(*ends, edge.why))
    return Informed(nodes, tuple(edges.values()))


def _ends(edges: Iterable[Edge]) -> Mapping[str, tuple[frozenset[str], frozenset[str]]]:
    """Of each node: what leads to it, and what it leads to."""
    into: dict[str, set[str]] = {}
    out: dict[str, set[str]] = {}
    for edge in edges:
        into.setdefault(edge.target, set()).add(edge.source)
        out.setdefault(edge.source, set()).add(edge.target)
    return {node: (frozenset(into.get(node, ())), frozenset(out.get(node, ()))) for node in {*into, *out}}


def _one(group: Sequence[Node]) -> Node:
    if len(group) == 1:
        return group[0]
    return replace(group[0], title=f"{group[0].id} … {group[-1].id}", said=count(len(group), "step"))


def _drawn(found: Informed) -> list[Edge]:
    """The edges that are drawn: of those that a longer way implies only one that says more than that.

    One from a task or a plan says no more, nor one without a word, nor that a model knew of all steps before.
    """
    kept = without_implied((edge.source, edge.target) for edge in found.edges)
    telling = {node.id for node in found.nodes if node.kind in ("step", "person", "run")}
    return [
        edge
        for edge in found.edges
        if (edge.source, edge.target) in kept or (edge.why not in ("", KNOWN) and edge.source in telling)
    ]


def _look(node: Node) -> _Look:
    if node.status in ("failed", "in_doubt"):
        return _Look("failed", "red", dashed=True)
    if node.status == "todo":
        return _Look("not carried out", "grey", dashed=True)
    return _Look(node.kind, _INKS[node.kind], dashed=False)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A graph with its places.

    Attributes:
        found: the graph.
        layout: where its nodes are.
        box: width and height of a box, in columns and rows.
        wide: its width in pixels.
        down: True where the layers lie below each other, False where they stand side by side.
    """

    found: Informed
    layout: Layout
    box: tuple[float, float]
    wide: float
    down: bool

    def _at(self, spot: tuple[int, float], along: float = 0.0) -> tuple[float, float]:
        """A place, or one so many boxes further along the way of the arrows."""
        layer, across = spot
        further = layer + along * self.box[1 if self.down else 0]
        return (across, further) if self.down else (further, across)

    def boxes(self) -> list[Layer]:
        """One layer for each look."""
        groups: dict[_Look, list[Node]] = {}
        for node in self.found.nodes:
            groups.setdefault(_look(node), []).append(node)
        bold, plain = int((self.wide - 14) / _BOLD), int((self.wide - 14) / _LETTER)
        return [
            Boxes(
                name=look.name,
                ink=look.ink,
                x=[self._at(self.layout.nodes[node.id])[0] for node in nodes],
                y=[self._at(self.layout.nodes[node.id])[1] for node in nodes],
                width=self.box[0],
                height=self.box[1],
                words=[(line(_title(node), bold), line(node.said, plain)) for node in nodes],
                dashed=look.dashed,
                hover=[_told(node, self.found) for node in nodes],
            )
            for look, nodes in groups.items()
        ]

    def arrows(self, edges: Sequence[Edge]) -> list[Layer]:
        """One layer for each look: from the far side of what informed, past what lies between, to what was informed."""
        groups: dict[_Look, list[list[tuple[float, float]]]] = {}
        for edge in edges:
            path = [self._at(self.layout.nodes[edge.source], 0.5)]
            for spot in self.layout.passes[edge.source, edge.target]:
                path += [self._at(spot, -0.5), self._at(spot, 0.5)]
            path.append(self._at(self.layout.nodes[edge.target], -0.5))
            groups.setdefault(self._way(edge), []).append(path)
        return [
            Arrows(name=look.name, ink=look.ink, paths=paths, down=self.down, dashed=look.dashed)
            for look, paths in groups.items()
        ]

    def _way(self, edge: Edge) -> _Look:
        """How an arrow looks."""
        source, target = self.found[edge.source].kind, self.found[edge.target].kind
        if source == "person":
            return _Look("a person", "purple", dashed=False)
        if (source, target) == ("step", "plan"):
            return _Look("made a new plan necessary", "red", dashed=True)
        return _Look("informs", "grey", dashed=False)


def _title(node: Node) -> str:
    sign = {"failed": "✗ ", "in_doubt": "? ", "todo": "○ "}.get(node.status, "")
    return f"{sign}{node.title}"


def _told(node: Node, found: Informed) -> str:
    """A node in a few lines: what it is, what came of it, and because of what."""
    causes = [line(f"← {edge.source} {edge.why}".rstrip(), _TOLD) for edge in found.sources(node.id)]
    more = [f"← {number(len(causes) - 5)} others"] if len(causes) > 6 else []  # noqa: PLR2004 - lines of a hover
    return "\n".join(filter(None, (_title(node), line(node.said, _TOLD), *(causes[:5] if more else causes), *more)))


def _said(found: Informed) -> str:
    """How much there is, in one line."""
    many = {kind: sum(node.kind == kind for node in found.nodes) for kind in ("plan", "step", "person", "run")}
    failed = sum(node.status in ("failed", "in_doubt") for node in found.nodes)
    parts = (
        count(many["plan"], "plan"),
        count(many["step"], "step"),
        f"{number(failed)} failed (red, dashed)" if failed else "",
        f"{count(many['person'], 'word')} of a person" if many["person"] else "",
        count(many["run"], "other run") if many["run"] else "",
    )
    return " · ".join(filter(None, parts)) if found.nodes else "nothing has happened yet"


def _table(found: Informed) -> str:
    """Each node on a line, with what led to it; of many the last ones."""
    rows = [
        f"{line(_title(node), 60)}{' ← ' if found.sources(node.id) else ''}"
        + ", ".join(line(edge.source, 24) for edge in found.sources(node.id)[:8])
        for node in found.nodes[-_MOST:]
    ]
    more = len(found.nodes) - len(rows)
    return "\n".join([*([f"{number(more)} before"] if more else []), *rows]) or "nothing has happened yet"
