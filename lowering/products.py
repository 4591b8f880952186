"""Sums of small arrays of floats as products, which BLAS computes in one pass and in a fraction of
the time that NumPy's sums take: of all products of two arrays; of rows; of columns.

From graph to graph, for a device that has BLAS. They add up in another order.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.arguments import Shape
from tinygrad_edu.conversion import tensor
from tinygrad_edu.graph import Atom, Equation, Graph, Value, inferred
from tinygrad_edu.op import Op
from tinygrad_edu.ops.losses import row_total
from tinygrad_edu.tensors import Tensor

from .fusion import VIEWS
from .passes import dead_code
from .rewriting import Sweep, is_real, rewritten


def with_products(graph: Graph, most: int) -> Graph:
    """The graph with sums and means as products: those of all products of two arrays, or of all
    squares, of less than `most` elements; and those over the first or over the last axes, of less
    than a thirty-second of that, which BLAS does not share out among threads."""
    ones: dict[Value, Tensor] = {}

    def of_products(sweep: Sweep, made: Equation) -> Equation | None:
        (x,) = made.values
        product = sweep.makers.get(x)
        if made.outputs[0].shape or x.size >= most or product is None or not sweep.has_one_use(x):
            return None
        factors = product.values * 2 if product.op is ops.square else product.values
        fits = product.op in (ops.square, ops.multiply) and len(factors) == 2
        if not fits or any([factor.aval != x.aval for factor in factors]):
            return None
        rows = {factor: _reshaped(sweep, made, factor, (x.size,)) for factor in factors}
        return _product(sweep, made, rows[factors[0]], rows[factors[1]])

    def of_axes(sweep: Sweep, made: Equation) -> Equation | None:
        (x,), axis = made.values, made.params["axis"]
        axis = (axis,) if isinstance(axis, int) else axis
        source = sweep.makers.get(x)
        if not axis or not 0 < x.size <= most // 32 or (source and source.op in VIEWS):
            return None
        axes, count = tuple(range(x.ndim)), math.prod([x.shape[i] for i in axis])
        rest = (x.size // count,) if made.outputs[0].shape else ()
        if axis == axes[: len(axis)]:
            one = _ones(ones, count, x.dtype)
            return _product(sweep, made, one, _reshaped(sweep, made, x, (count, *rest)))
        if axis == axes[-len(axis) :]:
            one = _ones(ones, count, x.dtype)
            return _product(sweep, made, _reshaped(sweep, made, x, (*rest, count)), one)
        return None

    def rule(sweep: Sweep, made: Equation) -> Equation | None:
        if not made.values or not is_real(made.values[0]):
            return None
        return of_products(sweep, made) or of_axes(sweep, made)

    found = rewritten(graph, {op: [rule] for op in (ops.sum, ops.mean, row_total)})
    return dead_code(replace(found, constants={**found.constants, **ones}))


def _product(sweep: Sweep, made: Equation, x: Value, y: Value) -> Equation:
    """What makes a sum or a mean, of the factors of the product that is the sum."""
    (out,) = made.outputs
    op: Op = ops.matmul
    inputs: tuple[Atom, ...] = (x, y)
    if made.op is ops.mean:
        count = made.values[0].size // out.size
        op, inputs = ops.divide, (_part(sweep, made, f"{out.name}_sum", op, *inputs), float(count))
    if inferred(op, inputs, {}) == (out.aval,):
        return replace(made, op=op, inputs=inputs, params={})
    flat = _part(sweep, made, f"{out.name}_row", op, *inputs)
    return replace(made, op=ops.reshape, inputs=(flat,), params={"shape": out.shape})


def _reshaped(sweep: Sweep, made: Equation, x: Value, shape: Shape) -> Value:
    return (
        x if x.shape == shape else _part(sweep, made, f"{x.name}_row", ops.reshape, x, shape=shape)
    )


def _part(sweep: Sweep, made: Equation, name: str, op: Op, *inputs: Atom, **params: Any) -> Value:
    """The value of an equation that stands for a part of another."""
    ((shape, dtype),) = inferred(op, inputs, params)
    value = Value(shape, dtype, name)
    sweep.add(replace(made, op=op, inputs=inputs, params=params, outputs=(value,)))
    return value


def _ones(known: dict[Value, Tensor], count: int, dtype: np.dtype[Any]) -> Value:
    """A constant of so many ones, the same wherever it is asked for."""
    for value in known:
        if value.aval == ((count,), dtype):
            return value
    value = Value((count,), dtype, "ones")
    known[value] = tensor(np.ones(count, dtype), device="numpy")
    return value
