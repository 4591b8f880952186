"""What a lowering decides before it writes a program, whatever the device: in which order equations
run, which of them share a loop, which value lives in which buffer, which state is updated in place.

Knows graphs and no device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tinygrad_edu import ops
from tinygrad_edu.graph import Equation, Graph, Value

from .stacks import joined, parted

VIEWS = frozenset(
    {ops.reshape, ops.permute_dims, ops.broadcast_to, ops.identity, ops.stop_gradient, parted}
)
"""Operations whose result may be a view of their operand's memory."""

REDUCTIONS = frozenset({ops.sum, ops.mean, ops.prod, ops.max, ops.min})
"""Those that may end a loop: of the parts of an array, they can be taken part by part."""


def aliases(equations: Iterable[Equation]) -> dict[Value, Value]:
    """For each value that may be a view, the value whose memory it shows."""
    found: dict[Value, Value] = {}
    for made in equations:
        if made.op in VIEWS and made.values:
            origin = made.values[0]
            found.update(dict.fromkeys(made.outputs, found.get(origin, origin)))
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
    """An order in which what can fail comes first, and what little lives is used soon. `updates`
    has the input that an output takes the place of; `can_write` says of an equation whether it can
    put its result where it is told to, and cannot fail."""
    makers = {y: made for made in graph.equations for y in made.outputs}
    writers: dict[Value, Value] = {}
    for i, place in updates.items():
        new = graph.outputs[i]
        if isinstance(new, Value) and new in makers and can_write(makers[new]):
            writers.setdefault(new, graph.inputs[place])
    first = _that_can_fail(graph, can_write)
    writers = {new: old for new, old in writers.items() if makers[new] not in first}
    behind = _behind(graph, writers)
    order = [made for made in graph.equations if made not in behind]
    order += [made for made in graph.equations if made in behind]
    position = {made: i for i, made in enumerate(order)}
    origins = aliases(order)
    readers = uses(order, origins)
    results = {origins.get(x, x) for x in graph.outputs if isinstance(x, Value)}
    fine = {
        new: old
        for new, old in writers.items()
        if max(readers.get(old, [-1])) <= position[makers[new]] and old not in results
    }
    before = _writes_after(order, fine)
    sums: dict[Value, list[Equation]] = {}
    for made in order:
        free = made not in first and writers.keys().isdisjoint(made.outputs)
        if free and made.op in REDUCTIONS and made.values:
            sums.setdefault(made.values[0], []).append(made)
    anchors = []
    for made in order:  # what it makes is summed up while it is at hand
        if made in first:
            anchors += [made, *[each for y in made.outputs for each in sums.pop(y, ())]]
    first.update(anchors)
    anchors += _by_work([made for made in order if made not in first], before)
    return Schedule(_close_together(order, anchors, before), fine)


def _that_can_fail(graph: Graph, can_write: Callable[[Equation], bool]) -> set[Equation]:
    """The equations that can fail, and all that they depend on."""
    needed: set[Value] = set()
    found: set[Equation] = set()
    for made in reversed(graph.equations):
        fails = not can_write(made) and made.op not in VIEWS
        if fails or not needed.isdisjoint(made.outputs):
            found.add(made)
            needed.update(made.values)
    return found


def _behind(graph: Graph, values: Iterable[Value]) -> set[Equation]:
    """The equations that make these values, and all that depend on them."""
    found: set[Value] = set(values)
    late: set[Equation] = set()
    for made in graph.equations:
        if not found.isdisjoint(made.outputs) or not found.isdisjoint(made.values):
            late.add(made)
            found.update(made.outputs)
    return late


def _by_work(
    equations: Sequence[Equation], before: Mapping[Equation, Sequence[Equation]]
) -> list[Equation]:
    """The contractions, reductions and so on, and each elementwise equation that ends a chain as
    soon as the last of those it depends on is there: a weight is updated when its gradient is."""
    read = {x for made in equations for x in made.values}
    rank: dict[Value, int] = {}
    found: list[tuple[int, int, Equation]] = []
    for i, made in enumerate(equations):
        cheap = made.op.elementwise or made.op in VIEWS
        depends = [rank.get(x, -1) for x in made.values]
        depends += [rank.get(y, -1) for other in before.get(made, ()) for y in other.outputs]
        own = max(depends, default=-1) if cheap else i
        rank.update(dict.fromkeys(made.outputs, own))
        if not cheap or read.isdisjoint(made.outputs):
            found.append((own, i, made))
    return [made for _, _, made in sorted(found, key=lambda each: each[:2])]


def _close_together(
    equations: Sequence[Equation],
    anchors: Iterable[Equation],
    before: Mapping[Equation, Sequence[Equation]],
) -> list[Equation]:
    """The anchors in order, with what each depends on right before it, so that few values are alive
    at a time; and `before` an equation that writes over state, those that read it."""
    makers = {y: made for made in equations for y in made.outputs}
    found: dict[Equation, None] = {}
    for anchor in anchors:
        waiting = [anchor]
        while waiting:
            made = waiting[-1]
            needed = [makers[x] for x in made.values if x in makers]
            missing = [each for each in (*needed, *before.get(made, ())) if each not in found]
            if missing:
                waiting += missing[::-1]
            else:
                found.setdefault(made)
                waiting.pop()
    return list(found)


def _writes_after(
    equations: Sequence[Equation], in_place: Mapping[Value, Value]
) -> dict[Equation, list[Equation]]:
    """For each equation that writes over state, the others that read it."""
    readers = uses(equations, aliases(equations))
    found: dict[Equation, list[Equation]] = {}
    for made in equations:
        olds = [in_place[y] for y in made.outputs if y in in_place]
        others = [equations[i] for old in olds for i in readers.get(old, ())]
        if others := [each for each in others if each is not made]:
            found[made] = others
    return found


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

    def slices(self, made: Equation, x: Value) -> bool:
        """Whether an equation of the loop takes an operand row by row. One that broadcasts it takes
        it whole, even if another one does not."""
        return x in made.values and is_sliced(x, self.rows, _width(made))

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
    if made.op.by_rows(made.params):
        return True
    if made.op is ops.broadcast_to:
        return made.values[0].ndim == out.ndim
    return made.op is ops.reshape


def is_part(made: Equation, rows: int) -> bool:
    """Whether an equation is a reduction over the first axis, of so many rows."""
    if made.op not in REDUCTIONS or not made.values:
        return False
    x = made.values[0]
    return is_sliced(x, rows) and 0 in made.params["axis"]


def is_sliced(x: Value, rows: int, ndim: int | None = None) -> bool:
    """Whether an operand has these rows, beside results of `ndim` dimensions."""
    return bool(x.shape) and x.shape[0] == rows and (ndim is None or x.ndim == ndim)


def loops(
    plan: Schedule,
    origins: Mapping[Value, Value],
    worth: Callable[[Unit], bool],
    can_write: Callable[[Equation], bool],
    results: Container[Value] = (),
) -> list[Unit]:
    """The equations in units, in an order in which these can run. A unit of several is a loop, if
    it is `worth` it. A view that no equation of a loop needs comes after it, where it costs
    nothing, but for those that are `results`.

    Greedy: an equation joins the open loop if it can; it goes in front of it if it does not depend
    on it, and is not itself the start of one like it; otherwise the loop is closed.
    """
    done: list[Unit] = []
    loop: _Open | None = None
    for made in plan.equations:
        if loop is not None and loop.takes(made):
            loop.add(made)
        elif loop is not None and loop.is_apart_from(made) and not loop.is_small_for(made):
            loop.pass_by(made)
        else:
            done += loop.closed(worth, results) if loop is not None else []
            shape = made.outputs[0].shape
            loop = _Open(shape[0], plan, origins, can_write) if shape else None
            if loop is not None and loop.takes(made) and not is_part(made, loop.unit.rows):
                loop.add(made)
            else:
                loop = None
                done.append(Unit([made]))
    return [*done, *(loop.closed(worth, results) if loop is not None else [])]


class _Open:
    """A loop that equations may join."""

    def __init__(
        self,
        rows: int,
        plan: Schedule,
        origins: Mapping[Value, Value],
        can_write: Callable[[Equation], bool],
    ) -> None:
        self.unit = Unit([], rows)
        self._front: list[Equation] = []  # what may run before it
        self._order: list[Equation] = []  # of both
        self._in_place = plan.in_place
        self._origins = origins
        self._can_write = can_write
        self._own: set[Value] = set()
        self._later: set[Value] = set()  # results of parts, which are there when the loop ends
        self._read: set[Value] = set()  # whose memory it reads
        self._across: set[Value] = set()  # and not row by row
        self._size = 0
        self._can_fail = False

    def add(self, made: Equation) -> None:
        """Take an equation in."""
        rows = self.unit.rows
        self._order.append(made)
        self.unit.equations.append(made)
        for x in made.values:
            origin = self._origins.get(x, x)
            self._read.add(origin)
            if x is not origin or not is_sliced(x, rows, _width(made)):
                self._across.add(origin)
        self._can_fail = self._can_fail or not self._can_write(made)
        self._size = max(self._size, *[x.size for x in (*made.values, *made.outputs)])
        if is_part(made, rows):
            self.unit.parts.append(made)
            self._later.update(made.outputs)
        else:
            self._own.update(made.outputs)

    def pass_by(self, made: Equation) -> None:
        """Have an equation run before the loop."""
        self._order.append(made)
        self._front.append(made)

    def takes(self, made: Equation) -> bool:
        """Whether an equation can share the loop."""
        rows, width = self.unit.rows, _width(made)
        if not by_rows(made, rows) and not is_part(made, rows):
            return False
        if made.op in VIEWS and made.values[0] not in self._own:
            return False  # a view of all of it costs nothing
        for x in made.values:
            origin = self._origins.get(x, x)
            if x in self._later or origin in self._later:
                return False
            # What the loop makes is there row by row.
            if (x in self._own or origin in self._own) and not is_sliced(x, rows, width):
                return False
        for old in [self._in_place[y] for y in made.outputs if y in self._in_place]:
            if self._can_fail or old in self._across:
                return False
            for x in made.values:
                direct = x is old and is_sliced(x, rows, width)
                if self._origins.get(x, x) is old and not direct:
                    return False
        return True  # what is scheduled behind a write cannot fail

    def is_apart_from(self, made: Equation) -> bool:
        """Whether an equation may run before the loop."""
        for x in made.values:
            for memory in (x, self._origins.get(x, x)):
                if memory in self._own or memory in self._later:
                    return False
        olds = [self._in_place[y] for y in made.outputs if y in self._in_place]
        return not olds or (not self._can_fail and self._read.isdisjoint(olds))

    def is_small_for(self, made: Equation) -> bool:
        """Whether an equation had better open a loop of its own."""
        return made.op.elementwise and 8 * made.outputs[0].size > self._size

    def closed(self, worth: Callable[[Unit], bool], results: Container[Value]) -> list[Unit]:
        """The loop after what may run before it; or all equations one by one, in their order."""
        if worth(self.unit):
            equations: list[Equation] = []
            views: list[Equation] = []
            read: set[Value] = set()
            for made in reversed(self.unit.equations):
                (y,) = made.outputs
                if made.op in VIEWS and y not in read and y not in results:
                    views.append(made)
                else:
                    equations.append(made)
                    read.update(made.values)
            equations.reverse()
            last = [made for made in equations if read.isdisjoint(made.outputs)]
            before = _writes_after(equations, self._in_place)
            self.unit.equations = _close_together(equations, last, before)
            after = [Unit([each]) for each in reversed(views)]
            return [*(Unit([each]) for each in self._front), self.unit, *after]
        return [Unit([each]) for each in self._order]


def _width(made: Equation) -> int | None:
    """The dimensions that operands which have the loop's rows must have."""
    return made.outputs[0].ndim if made.op.elementwise else None


# Buffers


@dataclass
class Buffers:
    """Memory for values that nobody outside sees: `slots` are sizes in bytes, `places` has the slot
    of each value, and `starts` the first byte there, of those that begin further behind."""

    slots: list[int] = field(default_factory=list)
    places: dict[Value, int] = field(default_factory=dict)
    starts: dict[Value, int] = field(default_factory=dict)


def assign_buffers(
    units: Sequence[Unit],
    buffered: Callable[[Value], bool],
    origins: Mapping[Value, Value],
    nbytes: Callable[[Value], int] = lambda value: value.nbytes,
    kept: Iterable[Value] = (),
    over: Callable[[Equation], bool] = lambda made: True,
    parts: Mapping[Value, tuple[Value, int]] = MappingProxyType({}),
) -> Buffers:
    """Linear scan: a value takes the memory of one that is done with, the tightest that is free.

    An elementwise operation may write over an operand of its own shape and dtype that nobody reads
    any more, if it can (`over`). Values `kept` are read at the end. `parts` has values that live in
    the memory of one that comes later, and their first byte there.
    """
    found = Buffers()
    free: list[int] = []
    last: dict[Value, int] = {}
    for i, unit in enumerate(units):
        for x in (*unit.read(), *unit.made()):
            last[origins.get(x, x)] = i
    last.update({origins.get(x, x): len(units) for x in kept})
    ends: dict[int, list[Value]] = {}
    for i, unit in enumerate(units):
        dying = ends.pop(i, [])
        first = [x for x in dying if _is_over(unit, x) and over(unit.equations[0])]
        free.extend([found.places[x] for x in first])
        made = [y for y in unit.made() if buffered(y)]
        for value in made:
            whole, start = parts.get(value, (value, 0))
            if whole not in found.places:
                _place(found, free, whole, nbytes(whole))
                if last[whole] > i:
                    ends.setdefault(last[whole], []).append(whole)
            if whole is not value:
                found.places[value], found.starts[value] = found.places[whole], start
        free.extend([found.places[x] for x in dying if x not in first])
        free.extend([found.places[x] for x in made if last[x] == i and x not in parts])
    return found


def parts_of(
    equations: Sequence[Equation],
    origins: Mapping[Value, Value],
    buffered: Callable[[Value], bool],
) -> dict[Value, tuple[Value, int]]:
    """For values that are only made to be laid side by side with others: what all of them are part
    of, and where they begin in it. Made there, they need not be copied."""
    readers = uses(equations, origins)
    owned = {y for made in equations for y in made.outputs if y not in origins and buffered(y)}
    found: dict[Value, tuple[Value, int]] = {}
    for made in equations:
        if made.op is not joined or made.outputs[0] not in owned:
            continue
        if all([x in owned and len(readers[x]) == 1 for x in made.values]):
            starts = itertools.accumulate([x.nbytes for x in made.values], initial=0)
            places = zip(made.values, starts, strict=False)
            found.update({x: (made.outputs[0], start) for x, start in places})
    return found


def _is_over(unit: Unit, x: Value) -> bool:
    """Whether a unit may write its result where it reads x."""
    (first, *others) = unit.equations
    alone = not others and len(first.outputs) == 1 and first.op.elementwise
    return alone and x in first.inputs and x.aval == first.outputs[0].aval


def _place(found: Buffers, free: list[int], value: Value, size: int) -> None:
    """Put a value into a free slot, the smallest that is large enough, and of these the one that
    was used last, for it is in the cache; or widen the largest; or open one."""
    fitting = [slot for slot in reversed(free) if found.slots[slot] >= size]
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


def share_results(
    units: Sequence[Unit],
    plan: Schedule,
    origins: Mapping[Value, Value],
    passing: Callable[[Value], bool],
    owned: Callable[[Value], bool],
    can_write: Callable[[Equation], bool],
) -> dict[Value, Value]:
    """For values that are `passing`, the result in whose memory they may live, for an elementwise
    operation makes it of them: one with memory of its own, or of old state (`owned`).

    They have its shape and dtype, and nothing else reads them; where the memory holds old state,
    they are made when nobody reads that any more, and nothing can fail.
    """
    order = [made for unit in units for made in unit.equations]
    unit_of = {made: unit for unit in units for made in unit.equations}
    position = {made: i for i, made in enumerate(order)}
    makers = {y: made for made in order for y in made.outputs}
    readers = uses(order, origins)
    failing = [i for i, made in enumerate(order) if made.op not in VIEWS and not can_write(made)]
    found: dict[Value, Value] = {}
    for last in reversed(order):
        (result, *others) = last.outputs
        if others or not owned(result):
            continue
        old, made = plan.in_place.get(result), last
        until = -1 if old is None else max([-1, *readers.get(old, ()), *failing[-1:]])
        while made.op.elementwise:
            unit = unit_of[made]
            before = [
                x
                for x in made.values
                if x in makers
                and (x.aval == result.aval and x not in origins and passing(x))
                and readers[x] == [position[made]]
                and (unit_of[makers[x]] is unit or not (unit.is_loop or unit_of[makers[x]].is_loop))
                and (makers[x].op.elementwise and position[makers[x]] >= until)
                and all([origins.get(z, z) is not old or z is old for z in makers[x].values])
            ]
            if not before:
                break
            found[before[0]] = result
            made = makers[before[0]]
    return found
