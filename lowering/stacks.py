"""Equal chains of elementwise operations on small arrays, as one chain on all of them, side by side
in one array: an optimizer's update of many small weights. A call for each operation then costs what
it cost for each weight.

From graph to graph, whatever the device. What it adds are two operations, `joined` and `parted`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_edu.arguments import Shape
from tinygrad_edu.backends import Array
from tinygrad_edu.graph import Atom, Equation, Graph, Value
from tinygrad_edu.op import Aval, Op

from .passes import key_of


class Joined(Op):
    """All elements of some arrays of one dtype, side by side in a row."""

    no_gradient = "gradients are taken before arrays are laid side by side"

    def forward(self, xp: Any, *arrays: Array) -> Array:
        return xp.concatenate([x.reshape(-1) for x in arrays])

    def infer(self, *arrays: Aval) -> Aval:
        return Aval((sum([math.prod(x.shape) for x in arrays]),), arrays[0].dtype)


class Parted(Op):
    """The arrays that lie side by side in a row."""

    no_gradient = Joined.no_gradient

    def forward(self, xp: Any, row: Array, *, shapes: tuple[Shape, ...]) -> tuple[Array, ...]:
        return tuple([row[a:b].reshape(shape) for shape, a, b in _places(shapes)])

    def infer(self, row: Aval, *, shapes: tuple[Shape, ...]) -> tuple[Aval, ...]:
        return tuple([Aval(shape, row.dtype) for shape in shapes])


joined = Joined()
parted = Parted()


def _places(shapes: Sequence[Shape]) -> Iterator[tuple[Shape, int, int]]:
    """Each shape, and where an array of it begins and ends in the row."""
    ends = list(itertools.accumulate([math.prod(shape) for shape in shapes]))
    return zip(shapes, [0, *ends[:-1]], ends, strict=True)


def stacked(graph: Graph, updates: Mapping[int, int], most: int) -> Graph:
    """The graph with equal chains on arrays of up to `most` elements together as one, where that
    saves calls. `updates` has the input that an output takes the place of."""
    places = {y: updates.get(i) for i, y in enumerate(graph.outputs) if isinstance(y, Value)}
    results = {y: None if i is None else graph.inputs[i] for y, i in places.items()}
    alike: dict[Hashable, list[_Chain]] = {}
    for equations in _chains(graph, most // 4):
        chain = _Chain(equations, results)
        alike.setdefault(chain.key, []).append(chain)
    stacks = [stack for each in alike.values() for stack in _filled(each, most) if _saves(stack)]
    if not stacks:
        return graph
    gone = {made for stack in stacks for chain in stack for made in chain.equations}
    left = [made for made in graph.equations if made not in gone]
    return graph.with_equations(
        [*left, *[made for stack in stacks for made in _as_one(stack, results)]]
    )


def _chains(graph: Graph, most: int) -> list[list[Equation]]:
    """The elementwise equations that nothing but results depends on, those together that are
    connected. They are of one shape, and none depends on another chain."""
    uses, counts = graph.uses(), Counter(graph.outputs)
    last: dict[Value, Equation] = {}
    for made in reversed(graph.equations):
        y = made.outputs[0]
        inner = all([user.outputs[0] in last for user in uses.get(y, ())])
        shared = all([x.shape or len(uses[x]) > 1 for x in made.values])  # no scalar of its own
        if inner and shared and counts[y] < 2 and _fits(made, most):
            last[y] = made
    leader: dict[Equation, Equation] = {}

    def lead(made: Equation) -> Equation:
        while leader[made] is not made:
            leader[made] = made = leader[leader[made]]
        return made

    for made in reversed(last.values()):
        leader[made] = made
        for x in made.values:
            if x in last:
                leader[lead(last[x])] = made
    found: dict[Equation, list[Equation]] = {}
    for made in reversed(last.values()):
        found.setdefault(lead(made), []).append(made)
    return list(found.values())


def _fits(made: Equation, most: int) -> bool:
    """Whether an equation may be computed for several arrays at once: one that takes nothing but
    arrays of its result's shape, and scalars."""
    if not made.op.elementwise or made.op.effect or len(made.outputs) != 1:
        return False
    (y,) = made.outputs
    shapes = {x.shape for x in made.values if x.shape}
    return bool(y.shape) and 0 < y.size <= most and shapes == {y.shape}


class _Chain:
    """Connected equations: the arrays that they take from elsewhere (`leaves`), and a `key` that is
    equal for chains which compute the same of theirs."""

    def __init__(self, equations: list[Equation], results: Mapping[Value, Value | None]) -> None:
        self.equations = equations
        self.size = equations[0].outputs[0].size
        own = {made.outputs[0]: i for i, made in enumerate(equations)}
        leaves: dict[Value, int] = {}
        key: list[Hashable] = []
        for made in equations:
            operands: list[Hashable] = []
            for x in made.inputs:
                if not isinstance(x, Value) or not x.shape:
                    operands.append(key_of(x))  # the same for all
                elif x in own:
                    operands.append(("own", own[x]))
                else:
                    operands.append(("leaf", leaves.setdefault(x, len(leaves)), x.dtype))
            (y,) = made.outputs
            place: Hashable = "inside"
            if y in results:
                old = results[y]
                place = "new" if old is None else leaves.get(old, "new")
            key.append((made.op, *operands, key_of(made.params), y.dtype, place))
        self.leaves = list(leaves)
        self.key = tuple(key)
        places = [results[made.outputs[0]] for made in equations if made.outputs[0] in results]
        state = [old for old in places if old in leaves]
        self.others = len(leaves) - len(state), len(places) - len(state)


def _filled(chains: Sequence[_Chain], most: int) -> Iterator[list[_Chain]]:
    """Chains one after another, in stacks of up to `most` elements."""
    stack: list[_Chain] = []
    size = 0
    for chain in chains:
        size += chain.size
        if stack and size > most:
            yield stack
            stack, size = [], chain.size
        stack.append(chain)
    yield stack


def _saves(stack: Sequence[_Chain]) -> bool:
    """Whether fewer calls are worth more than what it takes to lay leaves that are no state side by
    side, and to take results that are none apart."""
    leaves, results = stack[0].others
    count = len(stack)
    return (count - 1) * len(stack[0].equations) > leaves * (count + 4) // 2 + results * 2 * count


def _as_one(stack: Sequence[_Chain], results: Mapping[Value, Any]) -> Iterator[Equation]:
    """The chain on all arrays side by side."""
    first = stack[0]
    size = sum([chain.size for chain in stack])
    now: dict[Atom, Value] = {}
    for leaves in zip(*[chain.leaves for chain in stack], strict=True):
        now[leaves[0]] = Value((size,), leaves[0].dtype, f"all_{leaves[0].name}")
        yield Equation(joined, leaves, {}, (now[leaves[0]],), first.equations[0].place)
    for made, *others in zip(*[chain.equations for chain in stack], strict=True):
        (y,) = made.outputs
        now[y] = Value((size,), y.dtype, f"all_{y.name}")
        inputs = tuple([now.get(x, x) if isinstance(x, Value) else x for x in made.inputs])
        yield replace(made, inputs=inputs, outputs=(now[y],))
        if y in results:
            parts = tuple([each.outputs[0] for each in (made, *others)])
            shapes = tuple([part.shape for part in parts])
            yield Equation(parted, (now[y],), {"shapes": shapes}, parts, made.place)


# State


@dataclass(frozen=True)
class Row:
    """State that is kept side by side: `parts` are what the graph had as inputs, `old` is all of
    them, and `new` what takes its place."""

    parts: tuple[Value, ...]
    old: Value
    new: Value


@dataclass(frozen=True)
class Rows:
    """A graph that takes and gives some of its state in rows: `rows` are these, and `renewed` has,
    for what the graph gave in the place of a part, that part."""

    graph: Graph
    updates: Mapping[int, int]
    rows: Sequence[Row]
    renewed: Mapping[Value, Value]


def in_rows(graph: Graph, updates: Mapping[int, int]) -> Rows:
    """The graph without `joined` and `parted` of state: as inputs and outputs it has the whole
    rows, of which it takes the parts."""
    position = {y: i for i, y in enumerate(graph.outputs)}
    whole = {made.inputs: made for made in graph.equations if made.op is joined}
    rows: list[Row] = []
    gone: set[Equation] = set()
    renewed: dict[Value, Value] = {}
    for made in graph.equations:
        if made.op is not parted:
            continue
        places = [updates.get(position[y]) for y in made.outputs]
        parts = tuple([graph.inputs[i] for i in places if i is not None])
        if parts in whole and len(parts) == len(places) and position.keys().isdisjoint(parts):
            rows.append(Row(parts, whole[parts].outputs[0], made.values[0]))
            gone |= {made, whole[parts]}
            renewed |= dict(zip(made.outputs, parts, strict=True))
    if not rows:
        return Rows(graph, updates, rows, renewed)
    taken = [
        Equation(parted, (row.old,), {"shapes": tuple([x.shape for x in row.parts])}, row.parts)
        for row in rows
    ]
    held = set(renewed.values())
    inputs = [*[x for x in graph.inputs if x not in held], *[row.old for row in rows]]
    kept = [i for i, y in enumerate(graph.outputs) if y not in renewed]
    outputs = [*[graph.outputs[i] for i in kept], *[row.new for row in rows]]
    olds = [graph.inputs[updates[i]] if i in updates else None for i in kept]
    olds += [row.old for row in rows]
    number = {x: i for i, x in enumerate(inputs)}
    return Rows(
        graph.with_equations(
            [*taken, *[made for made in graph.equations if made not in gone]],
            outputs,
            inputs=tuple(inputs),
        ),
        {i: number[old] for i, old in enumerate(olds) if old is not None},
        rows,
        renewed,
    )
