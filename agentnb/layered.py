"""Where the nodes of a graph without cycles are drawn: in layers, so that every edge runs from a layer to a later one.

The way is Sugiyama's, in its simplest form: a node's layer is the longest way to it; an edge that passes a layer gets a
place there, as a narrow node would; then each layer is put into the order of its neighbours' middles, back and forth,
which leaves few crossings, and each node moves as near to the middle of its neighbours as order and room leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Layout", "layered", "without_implied"]

_SWEEPS: Final = 8
_NARROW: Final = 0.4
"""The room that a passing edge takes across; a node takes 1."""

Edge = tuple[str, str]
Spot = tuple[int, float]
"""A layer, and a place across it."""
_Pass = tuple[str, str, int]
_Item = str | _Pass


@dataclass(frozen=True, slots=True)
class Layout:
    """Places in layers.

    Attributes:
        nodes: of each node its layer, and its place across: from 0 on, any two of a layer at least 1 apart.
        passes: of each edge its places in the layers that it passes, in order.
    """

    nodes: Mapping[str, Spot]
    passes: Mapping[Edge, Sequence[Spot]]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return 1 + max((layer for layer, _ in self.nodes.values()), default=0)

    @property
    def across(self) -> float:
        """How wide the widest of them is, in nodes."""
        spots = [*self.nodes.values(), *(spot for way in self.passes.values() for spot in way)]
        return 1 + max((place for _, place in spots), default=0.0)


def layered(nodes: Sequence[str], edges: Iterable[Edge]) -> Layout:
    """The places of `nodes` and of the edges between them.

    Args:
        nodes: their names, in the order that they keep where nothing else decides.
        edges: (from, to), without cycles.
    """
    edges = [edge for edge in dict.fromkeys(edges) if set(edge) <= set(nodes)]
    layer = _layers(nodes, edges)
    ways = {edge: [(*edge, n) for n in range(layer[edge[0]] + 1, layer[edge[1]])] for edge in edges}
    rows: dict[int, list[_Item]] = {}
    for node in nodes:
        rows.setdefault(layer[node], []).append(node)
    for way in ways.values():
        for item in way:
            rows[item[2]].append(item)
    place = _settled(rows, ways)
    least = min(place.values(), default=0.0)
    return Layout(
        {node: (layer[node], place[node] - least) for node in nodes},
        {edge: [(item[2], place[item] - least) for item in way] for edge, way in ways.items()},
    )


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest way to each node; what nothing leads to stands just before the first that it leads to."""
    sources: dict[str, list[str]] = {node: [] for node in nodes}
    targets: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        sources[target].append(source)
        targets[source].append(target)
    layer: dict[str, int] = {}
    waiting = {node: len(sources[node]) for node in nodes}
    ready = [node for node in nodes if not waiting[node]]
    for node in ready:  # grows while it is read
        layer[node] = max((layer[source] + 1 for source in sources[node]), default=0)
        for target in targets[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    for node in nodes:
        if not sources[node] and targets[node]:
            layer[node] = max(0, min(layer[target] for target in targets[node]) - 1)
    return layer


def _settled(rows: Mapping[int, list[_Item]], ways: Mapping[Edge, Sequence[_Pass]]) -> dict[_Item, float]:
    """The place across of each node and each passing edge."""
    before: dict[_Item, list[_Item]] = {}
    after: dict[_Item, list[_Item]] = {}
    for (source, target), way in ways.items():
        chain: list[_Item] = [source, *way, target]
        for one, next_ in pairwise(chain):
            after.setdefault(one, []).append(next_)
            before.setdefault(next_, []).append(one)
    place = {item: float(n) for among in rows.values() for n, item in enumerate(among)}
    order = sorted(rows)
    for sweep in range(_SWEEPS):
        near, way_ = (before, order) if sweep % 2 == 0 else (after, order[::-1])
        for number in way_:
            _settle(rows[number], near, place)
    return place


def _settle(among: list[_Item], near: Mapping[_Item, Sequence[_Item]], place: dict[_Item, float]) -> None:
    """Put a layer in the order of its neighbours' middles, and each item as near to that as there is room."""
    wanted = {item: _middle([place[other] for other in near.get(item, ())], place[item]) for item in among}
    among.sort(key=wanted.__getitem__)
    gaps = [(_size(one) + _size(other)) / 2 for one, other in pairwise(among)]
    down = [wanted[item] for item in among]
    up = list(down)
    for n, gap in enumerate(gaps, start=1):
        down[n] = max(down[n], down[n - 1] + gap)
    for n in range(len(gaps) - 1, -1, -1):
        up[n] = min(up[n], up[n + 1] - gaps[n])
    for item, low, high in zip(among, down, up, strict=True):
        place[item] = (low + high) / 2  # pushed down and pulled up alike, it stays around the middle


def _middle(places: Sequence[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def _size(item: _Item) -> float:
    return 1.0 if isinstance(item, str) else _NARROW


def without_implied(edges: Iterable[Edge]) -> set[Edge]:
    """The edges but those that a longer way implies: what led to a step led to all that followed from it.

    >>> sorted(without_implied([("a", "b"), ("b", "c"), ("a", "c")]))
    [('a', 'b'), ('b', 'c')]
    """
    edges = list(edges)
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
        targets.setdefault(target, [])
    beyond = {
        node: set().union(*(_reached(target, targets) - {target} for target in targets[node])) for node in targets
    }
    return {(source, target) for source, target in edges if target not in beyond[source]}


def _reached(node: str, targets: Mapping[str, Sequence[str]]) -> set[str]:
    """The node, and all that it leads to."""
    found, open_ = {node}, [node]
    while open_:
        fresh = [target for target in targets[open_.pop()] if target not in found]
        found.update(fresh)
        open_ += fresh
    return found
