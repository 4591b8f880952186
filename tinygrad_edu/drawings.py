"""A model or a graph as a picture: boxes in ranks, from the inputs down, and arrows between them.

Drawn with matplotlib, the extra `plot`, which is all that has to be installed. The layout is that
of K. Sugiyama et al., "Methods for visual understanding of hierarchical system structures" (1981):
ranks by the longest way, order within a rank by the mean of the neighbours, and then places.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ArgumentError, ExtraMissingError

# In inches.
_CHARACTER, _LINE, _PAD, _GAP, _RISE = 0.078, 0.17, 0.12, 0.3, 0.42
_INK = "#555555"
_COLORS = {"input": "#dcefdc", "layer": "#dbe7f6", "model": "#f8e6cf", "operation": "#eeeeee"}


class Node(NamedTuple):
    """What becomes a box: its name, lines of text, a role (of which it has its color: "input",
    "layer", "model" or "operation"), and the names of those that arrows come from."""

    name: str
    lines: Sequence[str]
    role: str
    sources: Sequence[str]


class _Box:
    """A node on the picture, or (without one) a place where a long arrow passes a rank."""

    def __init__(self, rank: int, node: Node | None = None) -> None:
        self.rank = rank
        self.node = node
        lines = node.lines if node is not None else ()
        longest = max(map(len, lines), default=0)
        self.width = longest * _CHARACTER + 2 * _PAD if node else 0.05
        self.height = len(lines) * _LINE + 2 * _PAD * 0.7 if node else 0.0
        self.x = self.y = 0.0
        self.above: list[_Box] = []
        self.below: list[_Box] = []


def draw(nodes: Sequence[Node], path: Any) -> None:
    """Write a picture of nodes, each after those it comes from, into a file; its ending says what
    kind: svg, png, pdf."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ExtraMissingError(
            "draw: pictures are drawn with matplotlib: pip install 'tinygrad_edu[plot]'"
        ) from None
    file = Path(path)
    if file.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise ArgumentError(f"draw: {file.name!r} has to end in .svg, .png or .pdf")
    if not nodes:
        raise ArgumentError("draw: there is nothing to draw")
    boxes = _boxes(nodes)
    ranks = _ranks(boxes)
    _place(ranks)
    left = min(box.x - box.width / 2 for box in boxes) - 0.15
    right = max(box.x + box.width / 2 for box in boxes) + 0.15
    bottom = min(box.y - box.height for box in boxes) - 0.15
    figure = Figure(figsize=(right - left, 0.15 - bottom))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, 0.15))
    axes.axis("off")
    for box in boxes:
        if box.node is not None:
            _draw_box(axes, box)
            for start in box.above:
                _draw_arrow(axes, start, box)
    # The same file for the same model: no date, no random names.
    with _steady():
        kept = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=200, metadata=kept)


def _steady() -> Any:
    from matplotlib import rc_context

    return rc_context({"svg.hashsalt": "tinygrad_edu", "svg.fonttype": "none"})


def _boxes(nodes: Sequence[Node]) -> list[_Box]:
    """A box for each node, and for each rank that an arrow passes, with their neighbours."""
    users: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        for source in node.sources:
            users[source].append(node.name)
    ranks: dict[str, int] = {}
    for i, node in enumerate(nodes):
        alone = not node.sources and not users[node.name]
        ranks[node.name] = i if alone else 1 + max([ranks[s] for s in node.sources], default=-1)
    for node in nodes:  # an input stands right above what uses it first
        if not node.sources and users[node.name]:
            ranks[node.name] = min(ranks[user] for user in users[node.name]) - 1
    found: dict[str, _Box] = {}
    passed: list[_Box] = []
    for node in nodes:
        box = found[node.name] = _Box(ranks[node.name], node)
        for source in node.sources:
            last = found[source]
            for rank in range(last.rank + 1, box.rank):
                between = _Box(rank)
                _join(last, between)
                passed.append(between)
                last = between
            _join(last, box)
    return [*found.values(), *passed]


def _join(above: _Box, below: _Box) -> None:
    above.below.append(below)
    below.above.append(above)


def _ranks(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """The boxes of each rank, ordered so that few arrows cross."""
    ranks: list[list[_Box]] = [[] for _ in range(1 + max(box.rank for box in boxes))]
    for box in boxes:
        ranks[box.rank].append(box)
    for turn in range(12):
        for rank in ranks if turn % 2 == 0 else reversed(ranks):
            places = {box: i for each in ranks for i, box in enumerate(each)}
            key = {
                box: _mean([places[b] for b in (box.below if turn % 2 else box.above)], places[box])
                for box in rank
            }
            rank.sort(key=lambda box: key[box])
    return ranks


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _place(ranks: Sequence[list[_Box]]) -> None:
    """Where the boxes are: as close to their neighbours as their rank lets them."""
    y = 0.0
    for rank in ranks:
        for box in rank:
            box.y = y
            if box.node is None:  # an arrow goes straight down past the boxes beside it
                box.height = max([each.height for each in rank])
        y -= max([box.height for box in rank], default=0.0) + _RISE
        _spread(rank, [0.0] * len(rank))
    for turn in range(40):
        for rank in ranks if turn % 2 == 0 else reversed(ranks):
            near = [box.above if turn % 2 == 0 else box.below for box in rank]
            both = [
                [*box.above, *box.below] if turn >= 20 else n
                for box, n in zip(rank, near, strict=True)
            ]
            wanted = [_mean([b.x for b in n], box.x) for box, n in zip(rank, both, strict=True)]
            _spread(rank, wanted)


def _spread(rank: Sequence[_Box], wanted: Sequence[float]) -> None:
    """Boxes side by side, where they are wanted as far as they do not overlap: half way between
    what pushing them to the right and to the left gives."""
    rights, lefts = list(wanted), list(wanted)
    apart = [(a.width + b.width) / 2 + _GAP for a, b in itertools.pairwise(rank)]
    for i, gap in enumerate(apart):
        rights[i + 1] = max(rights[i + 1], rights[i] + gap)
    for i, gap in reversed(list(enumerate(apart))):
        lefts[i] = min(lefts[i], lefts[i + 1] - gap)
    for box, right, left in zip(rank, rights, lefts, strict=True):
        box.x = (right + left) / 2


def _draw_box(axes: Any, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    assert box.node is not None
    axes.add_patch(
        FancyBboxPatch(
            (box.x - box.width / 2, box.y - box.height),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=_COLORS[box.node.role],
            edgecolor=_INK,
            linewidth=1.6 if not box.below else 0.8,
            zorder=2,
        )
    )
    for i, line in enumerate(box.node.lines):
        axes.text(
            box.x,
            box.y - _PAD * 0.7 - (i + 0.5) * _LINE,
            line,
            ha="center",
            va="center",
            fontsize=9,
            family="sans-serif",
            weight="bold" if i == 0 else "normal",
            color="#000000" if i == 0 else "#555555",
            zorder=3,
        )


def _draw_arrow(axes: Any, start: _Box, end: _Box) -> None:
    """An arrow to a box from above, through the ranks between."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Line

    chain = [end, start]
    while chain[-1].node is None:
        chain.append(chain[-1].above[0])
    chain.reverse()
    tip = end.x, end.y
    head = [tip, (tip[0] - 0.035, tip[1] + 0.09), (tip[0] + 0.035, tip[1] + 0.09)]
    axes.add_patch(Polygon(head, facecolor=_INK, edgecolor="none", zorder=1))
    vertices, codes = [(chain[0].x, chain[0].y - chain[0].height)], [Line.MOVETO]
    for box in chain[1:]:
        (x0, y0), (x1, y1) = vertices[-1], (box.x, box.y + (0.09 if box is end else 0))
        middle = (y0 + y1) / 2
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Line.CURVE4] * 3
        if box is not end:
            vertices.append((box.x, box.y - box.height))
            codes.append(Line.LINETO)
    axes.add_patch(
        PathPatch(Line(vertices, codes), edgecolor=_INK, linewidth=0.9, fill=False, zorder=1)
    )
