"""Passes: graphs to graphs that mean the same, with less to do.

Each is a pure function of a graph, and goes over the equations once or twice, in order; what it
does not change it keeps, values, names and places. A graph's inputs stay as they are, and so do the
number, the order, the shapes and the dtypes of its outputs.

`dead_code`, `common_subexpressions`, `constants` and `algebra` compute the same numbers in the same
order, and so give the same bits (but where NumPy itself adds up in another order because an array
lies otherwise in memory). Not so `late_factors`, `early_factors` and `reductions`: they use that
multiplication is associative, which of floats it is but for a few units in the last place. They
leave integers alone, which could overflow elsewhere, and halves, whose range is too small for a sum
that is scaled after it was taken. So a number or two that would be finite may not be, where factors
of a very different size meet very large ones.

Gradients are taken before the passes, which drop what only gradients look at (`stop_gradient`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_edu import dtypes, ops
from tinygrad_edu.graph import Atom, Equation, Graph, Rewrite, Value, graphs_of, inferred
from tinygrad_edu.tensors import Tensor, wrap

from .algebra import algebra, reductions
from .factors import early_factors, late_factors
from .rewriting import Sweep

__all__ = [
    "PASSES",
    "algebra",
    "common_subexpressions",
    "constants",
    "dead_code",
    "early_factors",
    "late_factors",
    "optimize",
    "reductions",
    "stages",
]

_ROUNDS = 10
"""So often do the passes come one after another at most; two or three times is what it takes."""


def optimize(graph: Graph) -> Graph:
    """A graph that means the same, after all passes.

    >>> import tinygrad_edu as edu
    >>> graph = edu.jit(lambda x: -(2.0 * (edu.exp(x) + edu.exp(x)) * 3.0)).trace(edu.zeros(3))
    >>> print(optimize(graph))
    graph(x: float32(3)):
      t1: float32(3) = exp(x)
      t3: float32(3) = t1 + t1
      t6: float32(3) = -6.0 * t3
      return t6
    """
    return list(stages(graph))[-1][1]


def stages(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """The graph, and then what each pass that changed something made of it, with the pass's
    name."""
    yield "graph", graph
    inner = _with_inner(graph)
    if inner is not graph:
        graph = inner
        yield "inner graphs", graph
    idle = 0
    for each in PASSES * _ROUNDS:
        found = each(graph)
        idle = idle + 1 if found is graph else 0
        if found is not graph:
            graph = found
            yield each.__name__, graph
        elif idle == len(PASSES):
            return


def _with_inner(graph: Graph) -> Graph:
    """The graph with those among its parameters optimized."""

    def changed(param: Any) -> Any:
        if isinstance(param, tuple):
            return tuple([changed(p) for p in param])
        return optimize(param) if isinstance(param, Graph) else param

    if not any([graphs_of(made) for made in graph.equations]):
        return graph
    return graph.with_equations(
        [
            replace(made, params={name: changed(param) for name, param in made.params.items()})
            if graphs_of(made)
            else made
            for made in graph.equations
        ]
    )


_LARGEST = 1 << 20
"""Bytes that a constant may have which is larger than what it is computed of; up to so many,
constants are compared by their values."""

# What nobody uses, and what is there already


def dead_code(graph: Graph) -> Graph:
    """Without the equations and constants that no output needs; those with an effect stay."""
    needed = {x for x in graph.outputs if isinstance(x, Value)}
    kept = []
    for made in reversed(graph.equations):
        if made.has_effect or not needed.isdisjoint(made.outputs):
            kept.append(made)
            needed.update(made.values)
    constants = {value: held for value, held in graph.constants.items() if value in needed}
    if len(kept) == len(graph.equations) and len(constants) == len(graph.constants):
        return graph
    return graph.with_equations(kept[::-1], constants=constants)


def common_subexpressions(graph: Graph) -> Graph:
    """With one equation where several compute the same."""
    sweep = Sweep(graph)
    seen: dict[Hashable, tuple[Value, ...]] = {}
    for value, held in graph.constants.items():
        if value.nbytes <= _LARGEST and not held.device.level:
            key = (value.aval, held.device.name, held.numpy().tobytes())
            sweep.now[value] = seen.setdefault(key, (value,))[0]
    sweep.now = {value: now for value, now in sweep.now.items() if now is not value}
    for made in graph.equations:
        made = sweep.updated(made)
        if made.has_effect:
            sweep.add(made)
            continue
        inputs = [key_of(x) for x in made.inputs]
        if made.op in _COMMUTATIVE:
            inputs.sort(key=hash)
        found = seen.setdefault((made.op, *inputs, key_of(made.params)), made.outputs)
        if found is made.outputs:
            sweep.add(made)
        else:
            sweep.now.update(zip(made.outputs, found, strict=True))
    return sweep.result()


_COMMUTATIVE = frozenset({ops.add, ops.multiply})


def key_of(x: Any) -> Hashable:
    """Equal for what is the same in a program. To Python 0.0 equals -0.0, and 1 equals True."""
    if isinstance(x, (bool, int, float)):
        return type(x), repr(x)
    if isinstance(x, (tuple, list)):
        return type(x), *[key_of(each) for each in x]
    if isinstance(x, Mapping):
        return tuple([(name, key_of(x[name])) for name in sorted(x)])
    if isinstance(x, slice):
        return slice, key_of(x.start), key_of(x.stop), key_of(x.step)
    try:
        hash(x)
    except TypeError:
        return type(x), id(x)  # the graph holds it, so that no other has this number
    return x


# Constants


def constants(graph: Graph) -> Graph:
    """With what can be known beforehand computed, and constants without axes as numbers."""
    known = dict(graph.constants)
    equations = []
    for made in graph.equations:
        found = None
        if known.keys() >= set(made.values) and _is_worth_knowing(made):
            found = _computed(made, known)
        if found is not None:
            known.update(zip(made.outputs, found, strict=True))
        else:
            equations.append(_with_numbers(made, known))
    if equations == list(graph.equations):
        return graph
    return graph.with_equations(equations, constants=known)


def _is_worth_knowing(made: Equation) -> bool:
    """Whether to hold the outputs costs little, and to compute them does more than to repeat what
    is there."""
    if made.has_effect or graphs_of(made):
        return False
    given = sum([x.nbytes for x in made.values])
    taken = sum([y.nbytes for y in made.outputs])
    return taken <= max(given, 0 if made.op is ops.broadcast_to else _LARGEST)


def _computed(made: Equation, known: Mapping[Value, Tensor]) -> Sequence[Tensor] | None:
    """The outputs of an equation, on the device of its inputs; None where that fails, which is then
    for the program to say."""
    held = [known[x] for x in made.values]
    if not held or any([x.device.level or x.device is not held[0].device for x in held]):
        return None
    device = held[0].device
    arrays = [known[x]._data if isinstance(x, Value) else x for x in made.inputs]
    try:
        with np.errstate(all="ignore"):
            found = device.kernels[made.op](*arrays, **made.params)
    except Exception:
        return None
    outputs = found if isinstance(found, tuple) else (found,)
    return [wrap(Tensor, device.wrap(y), device, None) for y in outputs]


def _with_numbers(made: Equation, known: Mapping[Value, Tensor]) -> Equation:
    """An elementwise operation with Python numbers for those operands that are constants without
    axes, where it takes such numbers as they are, which then have exactly their values."""
    if getattr(made.op, "ufunc", None) is None:  # a forward of its own may want arrays
        return made
    inputs = list(made.inputs)
    for i, x in enumerate(inputs):
        held = known.get(x) if isinstance(x, Value) and not x.shape else None
        if held is None or held.device.level or not dtypes.is_float(held.dtype):
            continue
        number = float(str(held.numpy()[()]))  # the shortest that the dtype rounds to the same
        given = [float if j == i else _dtype_or_type(y) for j, y in enumerate(inputs)]
        if all([isinstance(g, type) for g in given]) or not math.isfinite(number):
            continue
        if made.op.operand_dtypes(given, Tensor)[i] is None:
            trial = [*inputs[:i], number, *inputs[i + 1 :]]
            if inferred(made.op, trial, made.params) == (made.outputs[0].aval,):
                inputs = trial
    return made if inputs == list(made.inputs) else replace(made, inputs=tuple(inputs))


def _dtype_or_type(x: Atom) -> Any:
    return x.dtype if isinstance(x, Value) else type(x)


PASSES: tuple[Rewrite, ...] = (
    dead_code,
    constants,
    algebra,
    common_subexpressions,
    late_factors,
    early_factors,
    reductions,
)
