"""What passes are made of: one way through the equations of a graph, in order, with what each value
has become; and rules for single equations, tried on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias

from tinygrad_edu import dtypes
from tinygrad_edu.graph import Atom, Equation, Graph, Value, inferred
from tinygrad_edu.op import Op


class Sweep:
    """One way through the equations of a graph, in order. `now` has what a value was replaced by,
    `makers` the equations of the new graph by what they make."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.now: dict[Value, Value] = {}
        self.equations: list[Equation] = []
        self.makers: dict[Value, Equation] = {}

    def read(self, x: Atom) -> Atom:
        return self.now.get(x, x) if isinstance(x, Value) else x

    def updated(self, made: Equation) -> Equation:
        """An equation with its inputs as they are now."""
        now = self.now
        if not now or not any([x in now for x in made.inputs]):
            return made
        return replace(made, inputs=tuple([self.read(x) for x in made.inputs]))

    def add(self, made: Equation) -> None:
        self.equations.append(made)
        for value in made.outputs:
            self.makers[value] = made

    def make(self, like: Equation, op: Op, *inputs: Atom, **params: Any) -> Value:
        """The value of a new equation, which stands for a part of another."""
        ((shape, dtype),) = inferred(op, inputs, params)
        value = Value(shape, dtype, like.outputs[0].name)
        self.add(replace(like, op=op, inputs=inputs, params=params, outputs=(value,)))
        return value

    def maker(self, x: Atom, op: Op) -> Equation | None:
        """The equation that makes an operand, if it is of this operation."""
        made = self.makers.get(x) if isinstance(x, Value) else None
        return made if made is not None and made.op is op else None

    def has_one_use(self, x: Value) -> bool:
        """Whether one equation takes a value, and takes it once."""
        return x not in self._results and len(self._uses.get(x, "1")) == 1

    def users(self, x: Atom) -> Sequence[Equation]:
        """The equations of the old graph that take an operand."""
        return self._uses.get(x, ()) if isinstance(x, Value) else ()

    @cached_property
    def _results(self) -> set[Atom]:
        return set(self.graph.outputs)

    @cached_property
    def _uses(self) -> dict[Value, list[Equation]]:
        return self.graph.uses()

    def number(self, x: Atom) -> float | None:
        """The number that an operand is known to be."""
        if not isinstance(x, Value):
            return x
        held = self.graph.constants.get(x) if x.size == 1 else None
        return None if held is None or held.device.level else held.item()

    def result(self) -> Graph:
        """The new graph, or the same one if nothing is different."""
        old = self.graph
        if not self.now and self.equations == list(old.equations):
            return old
        return old.with_equations(self.equations, [self.read(x) for x in old.outputs])


Rule: TypeAlias = Callable[[Sweep, Equation], "Equation | Value | None"]
"""What an equation may be replaced by: a simpler one for the same value, or a value there is."""


def rewritten(
    graph: Graph, rules: Mapping[Op, Sequence[Rule]], elementwise: Sequence[Rule] = ()
) -> Graph:
    """A graph after the rules for its operations were tried, in order, or those for `elementwise`
    operations that have none of their own."""
    sweep = Sweep(graph)
    for made in graph.equations:
        found: Equation | Value | None = sweep.updated(made)
        while isinstance(found, Equation):
            made, found = found, None
            general = elementwise if made.op.elementwise and not made.op.effect else ()
            for rule in rules.get(made.op, general):
                found = rule(sweep, made)
                if found is not None:
                    break
        if found is None:
            sweep.add(made)
        else:
            sweep.now[made.outputs[0]] = found
    return sweep.result()


def instead(made: Equation, op: Op, *inputs: Atom, **params: Any) -> Equation | None:
    """An equation for the same value; None if that would not be of its shape and dtype."""
    if inferred(op, inputs, params) != (made.outputs[0].aval,):
        return None
    return replace(made, op=op, inputs=inputs, params=params)


def same(made: Equation, x: Atom) -> Value | None:
    """A value, if it can stand for what an equation makes."""
    return x if isinstance(x, Value) and x.aval == made.outputs[0].aval else None


def is_real(x: Atom) -> bool:
    """Whether products and sums may be taken in another order: of float32 and float64."""
    return isinstance(x, Value) and x.dtype in (dtypes.float32, dtypes.float64)
