"""What a lowering decides before it writes a program, whatever the device: in which order equations
run, which of them share a loop, which value lives in which buffer, which state is updated in place.

Knows graphs and no device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_edu.graph import Equation, Graph, Value

VIEWS = frozenset({"reshape", "permute_dims", "broadcast_to", "identity", "stop_gradient"})
"""Operations whose result may be a view of their operand's memory."""

REDUCTIONS = frozenset({"sum", "mean", "prod", "max", "min"})
"""Those that may end a loop: of the parts of an array, they can be taken part by part."""


def aliases(equations: Iterable[Equation]) -> dict[Value, Value]:
    """For each value that may be a view, the value whose memory it shows."""
    found: dict[Value, Value] = {}
    for made in equations:
        if made.op.name in VIEWS and made.values:
            origin = made.values[0]
            found[made.outputs[0]] = found.get(origin, origin)
    return found


def uses(equations: Sequence[Equation], origins: Mapping[Value, Value]) -> dict[Value, list[int]]:
    """The positions of the equations that read each value's memory, through views too."""
    found: dict[Value, list[int]] = {}
    for i, made in enumerate(equations):
        for x in made.values:
            found.setdefault(origins.get(x, x), []).append(i)
    return found


# Order


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
    if not all(can_write(made) or made.op.name in VIEWS for made in late):
        return Schedule(list(graph.equations), {})
    order = [made for made in graph.equations if made not in late]
    order += [made for made in graph.equations if made in late]
    position = {made: i for i, made in enumerate(order)}
    origins = aliases(order)
    readers = uses(order, origins)
    results = {origins.get(x, x) for x in graph.outputs if isinstance(x, Value)}
    fine = {
        new: old
        for new, old in writers.items()
        if max(readers.get(old, [-1])) <= position[makers[new]] and old not in results
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


# Loops


@dataclass
class Unit:
    """Equations that run together: one, or several that share a loop over `rows`, the first axis
    of all that they make. `parts` are the reductions over that axis, which end the loop."""

    equations: list[Equation]
    rows: int = 0
    parts: list[Equation] = field(default_factory=list)

    @property
    def is_loop(self) -> bool:
        return self.rows > 0

    def made(self) -> list[Value]:
        return [y for each in self.equations for y in each.outputs]

    def read(self) -> list[Value]:
        """What comes from outside."""
        own = set(self.made())
        found = {x: None for each in self.equations for x in each.values if x not in own}
        return list(found)


def by_rows(made: Equation, rows: int) -> bool:
    """Whether an equation can be computed for some rows (places along the first axis) from the
    same rows of its operands, and from what is the same for all."""
    if len(made.outputs) != 1 or not made.values:
        return False
    out = made.outputs[0]
    if not out.shape or out.shape[0] != rows:
        return False
    if made.op.elementwise:
        return True
    if not all(is_sliced(x, rows) for x in made.values):
        return False
    if made.op.axes:  # all that it does is along these
        return all(_is_behind(made.params[name]) for name in made.op.axes)
    if made.op.name == "broadcast_to":
        return made.values[0].ndim == out.ndim
    return made.op.name == "reshape"


def _is_behind(axis: Any) -> bool:
    """Whether axes leave out the first."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    return all(isinstance(a, int) and a > 0 for a in axes)


def is_part(made: Equation, rows: int) -> bool:
    """Whether an equation is a reduction over the first axis, of so many rows."""
    if made.op.name not in REDUCTIONS or not made.values:
        return False
    x = made.values[0]
    return is_sliced(x, rows) and 0 in made.params["axis"]


def is_sliced(x: Value, rows: int, ndim: int | None = None) -> bool:
    """Whether an operand has these rows, beside results of `ndim` dimensions."""
    return bool(x.shape) and x.shape[0] == rows and (ndim is None or x.ndim == ndim)


def loops(
    plan: Schedule, origins: Mapping[Value, Value], worth: Callable[[Unit], bool]
) -> list[Unit]:
    """The equations in units, in an order in which these can run. A unit of several is a loop, if
    it is `worth` it.

    Greedy: an equation joins the open loop if it can; it goes in front of it if it does not depend
    on it; otherwise the loop is closed.
    """
    done: list[Unit] = []
    front: list[Unit] = []
    loop: Unit | None = None
    inside: set[Value] = set()
    after: set[Value] = set()  # results of the open loop's parts, which are there when it ends

    def close() -> None:
        nonlocal loop
        done.extend(front)
        front.clear()
        if loop is not None:
            if worth(loop):
                done.append(loop)
            else:
                done.extend([Unit([each]) for each in loop.equations])
        loop = None
        inside.clear()
        after.clear()

    for made in plan.equations:
        if (
            loop is not None
            and not (after & set(made.values))
            and _joins(made, loop, plan, origins)
        ):
            loop.equations.append(made)
            if is_part(made, loop.rows):
                loop.parts.append(made)
                after.update(made.outputs)
            else:
                inside.update(made.outputs)
            continue
        depends = any(origins.get(x, x) in inside or x in inside or x in after for x in made.values)
        disturbs = any(
            plan.in_place.get(y) in _memory(loop, origins) for y in made.outputs if loop is not None
        )
        if loop is not None and not depends and not disturbs:
            front.append(Unit([made]))
            continue
        close()
        out = made.outputs[0]
        if made.op.name not in VIEWS and out.shape and by_rows(made, out.shape[0]):
            loop = Unit([made], out.shape[0])
            inside.update(made.outputs)
        else:
            done.append(Unit([made]))
    close()
    return done


def _joins(made: Equation, loop: Unit, plan: Schedule, origins: Mapping[Value, Value]) -> bool:
    """Whether an equation can share a loop."""
    rows = loop.rows
    if not by_rows(made, rows) and not is_part(made, rows):
        return False
    own = set(loop.made())
    # What the loop makes is there row by row: an operand that is needed whole must be there before.
    ndim = made.outputs[0].ndim if made.op.elementwise else None
    for x in made.values:
        if (x in own or origins.get(x, x) in own) and not is_sliced(x, rows, ndim):
            return False
    if made.op.name in VIEWS and made.values[0] not in own:
        return False  # a view of all is there at no cost
    # Rows that are written where they lie must not be read as other rows.
    for each in (*loop.equations, made):
        for y in (*loop.made(), *made.outputs):
            old = plan.in_place.get(y)
            if old is None:
                continue
            width = each.outputs[0].ndim if each.op.elementwise else None
            for x in each.values:
                if origins.get(x, x) is old and (x is not old or not is_sliced(x, rows, width)):
                    return False
    return True


def _memory(loop: Unit | None, origins: Mapping[Value, Value]) -> set[Value]:
    """Whose memory a loop reads."""
    return set() if loop is None else {origins.get(x, x) for x in loop.read()}


# Buffers


@dataclass
class Buffers:
    """Memory for values that nobody outside sees: `slots` are sizes in bytes, `places` has the slot
    of each value."""

    slots: list[int] = field(default_factory=list)
    places: dict[Value, int] = field(default_factory=dict)


def assign_buffers(
    units: Sequence[Unit],
    buffered: Callable[[Value], bool],
    origins: Mapping[Value, Value],
    nbytes: Callable[[Value], int] = lambda value: value.nbytes,
) -> Buffers:
    """Linear scan: a value takes the memory of one that is done with, the tightest that is free.

    An elementwise operation may write over an operand of its own shape and dtype that nobody reads
    any more.
    """
    found = Buffers()
    free: list[int] = []
    last: dict[Value, int] = {}
    for i, unit in enumerate(units):
        for x in (*unit.read(), *unit.made()):
            last[origins.get(x, x)] = i
    ends: dict[int, list[Value]] = {}
    for i, unit in enumerate(units):
        dying = ends.pop(i, [])
        over = [x for x in dying if _is_over(unit, x)]
        free.extend([found.places[x] for x in over])
        made = [y for y in unit.made() if buffered(y)]
        for value in made:
            _place(found, free, value, nbytes(value))
            if last[value] > i:
                ends.setdefault(last[value], []).append(value)
        free.extend([found.places[x] for x in dying if x not in over])
        free.extend([found.places[x] for x in made if last[x] == i])
    return found


def _is_over(unit: Unit, x: Value) -> bool:
    """Whether a unit may write its result where it reads x."""
    (first, *others) = unit.equations
    alone = not others and len(first.outputs) == 1 and first.op.elementwise
    return alone and x in first.inputs and x.aval == first.outputs[0].aval


def _place(found: Buffers, free: list[int], value: Value, size: int) -> None:
    """Put a value into a free slot, the smallest that is large enough; or widen the largest; or
    open one."""
    fitting = [slot for slot in free if found.slots[slot] >= size]
    if fitting:
        slot = min(fitting, key=found.slots.__getitem__)
    elif free:
        slot = max(free, key=found.slots.__getitem__)
        found.slots[slot] = size
    else:
        slot = len(found.slots)
        found.slots.append(size)
    if slot in free:
        free.remove(slot)
    found.places[value] = slot
