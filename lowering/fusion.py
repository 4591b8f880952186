"""What a lowering decides before it writes a program, whatever the device: in which order equations
run, which value lives in which buffer, which state is updated in place.

Knows graphs and no device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tinygrad_edu.dtypes import DType
from tinygrad_edu.graph import Equation, Graph, Value

VIEWS = frozenset({"reshape", "permute_dims", "broadcast_to", "identity", "stop_gradient"})
"""Operations whose result may be a view of their operand's memory."""


@dataclass(frozen=True)
class Schedule:
    """The order of the equations, and the state that is written where it lies.

    `in_place` has, for values that are new state, the input whose memory they are written into:
    nothing reads that input any more, and nothing that runs afterwards can fail.
    """

    equations: list[Equation]
    in_place: Mapping[Value, Value]


def schedule(
    graph: Graph, updates: Mapping[int, int], can_write: Callable[[Equation], bool]
) -> Schedule:
    """An order in which state is written last. `updates` has the input that an output takes the
    place of; `can_write` says of an equation whether it can put its result where it is told to,
    and cannot fail."""
    makers = {y: made for made in graph.equations for y in made.outputs}
    writers: dict[Value, Value] = {}
    for i, place in updates.items():
        new = graph.outputs[i]
        if isinstance(new, Value) and new in makers and can_write(makers[new]):
            writers.setdefault(new, graph.inputs[place])
    late = _behind(graph, writers)
    order = [made for made in graph.equations if made not in late]
    order += [made for made in graph.equations if made in late]
    if not all(can_write(made) or made.op.name in VIEWS for made in late):
        return Schedule(list(graph.equations), {})
    lives = last_uses(order, ())
    position = {made: i for i, made in enumerate(order)}
    origins = aliases(graph)
    reads = dict[Value, int]()
    for value, last in lives.items():
        origin = origins.get(value, value)
        reads[origin] = max(reads.get(origin, -1), last)
    results = {origins.get(x, x) for x in graph.outputs if isinstance(x, Value)}
    fine = {
        new: old
        for new, old in writers.items()
        if reads.get(old, -1) <= position[makers[new]] and old not in results
    }
    return Schedule(order, fine)


def _behind(graph: Graph, values: Iterable[Value]) -> set[Equation]:
    """The equations that make these values, and all that depend on them."""
    found: set[Value] = set(values)
    late: set[Equation] = set()
    for made in graph.equations:
        if not found.isdisjoint(made.outputs) or not found.isdisjoint(made.values):
            late.add(made)
            found.update(made.outputs)
    return late


def aliases(graph: Graph) -> dict[Value, Value]:
    """For each value that may be a view, the value whose memory it shows."""
    found: dict[Value, Value] = {}
    for made in graph.equations:
        if made.op.name in VIEWS and made.values:
            origin = made.values[0]
            found[made.outputs[0]] = found.get(origin, origin)
    return found


def last_uses(equations: Sequence[Equation], kept: Iterable[Value]) -> dict[Value, int]:
    """The position of the last equation that reads each value; beyond the end for those `kept`."""
    found = {x: i for i, made in enumerate(equations) for x in made.values}
    found.update(dict.fromkeys(kept, len(equations)))
    return found


@dataclass
class Buffers:
    """Memory for values that nobody outside sees: `slots` are sizes in bytes, `places` has the slot
    of each value."""

    slots: list[int] = field(default_factory=list)
    places: dict[Value, int] = field(default_factory=dict)


def assign_buffers(
    equations: Sequence[Equation],
    buffered: Callable[[Value], bool],
    last: Mapping[Value, int],
    origins: Mapping[Value, Value],
) -> Buffers:
    """Linear scan: a value takes the memory of one that is done with, the tightest that is free.

    An elementwise operation may write over an operand of its own shape and dtype, if that is the
    last use. `last` counts uses through views as uses of what they show.
    """
    found = Buffers()
    free: list[int] = []
    ends: dict[int, list[Value]] = {}
    until = dict[Value, int]()
    for value, end in last.items():
        origin = origins.get(value, value)
        until[origin] = max(until.get(origin, -1), end)

    def release(value: Value) -> None:
        free.append(found.places[value])

    for i, made in enumerate(equations):
        dying = ends.pop(i, [])
        over = [
            x
            for x in dying
            if made.op.elementwise
            and len(made.outputs) == 1
            and x in made.inputs
            and x.aval == made.outputs[0].aval
        ]
        for value in over:
            release(value)
        for value in made.outputs:
            if buffered(value):
                _place(found, free, value)
                end = until.get(value, i)
                ends.setdefault(max(end, i + 1) if end == i else end, []).append(value)
        for value in dying:
            if value not in over:
                release(value)
    return found


def _place(found: Buffers, free: list[int], value: Value) -> None:
    """Put a value into a free slot, the smallest that is large enough; or widen the largest; or
    open one."""
    size = value.nbytes
    fitting = [slot for slot in free if found.slots[slot] >= size]
    if fitting:
        slot = min(fitting, key=lambda s: found.slots[s])
    elif free:
        slot = max(free, key=lambda s: found.slots[s])
        found.slots[slot] = size
    else:
        slot = len(found.slots)
        found.slots.append(size)
    if slot in free:
        free.remove(slot)
    found.places[value] = slot


def is_small(values: Iterable[Value], limit: int) -> bool:
    """Whether none of these has more elements than a limit."""
    return all(value.size <= limit for value in values)


_ = DType
