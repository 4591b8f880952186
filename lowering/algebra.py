"""Algebra on graphs: rules that replace one equation by a simpler one.

Two passes: `algebra`, whose rules give the same bits, and `reductions`, whose rules add up in
another order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tinygrad_edu import custom, dtypes, ops, tracing
from tinygrad_edu.graph import Equation, Graph, Value, inferred
from tinygrad_edu.op import Op
from tinygrad_edu.ops.activations import gate

from .rewriting import Rule, Sweep, instead, is_real, rewritten, same


def algebra(graph: Graph) -> Graph:
    """With simpler equations where those give the same bits: without neutral elements, double
    negations, casts and moves that undo each other; broadcast as late as possible.

    x + 0.0 is no such case: it makes 0.0 of -0.0. But x - 0.0, x * 1 and x / 1 are x. The bits of
    NaN are not told apart.
    """
    return rewritten(graph, _EXACT, _ELEMENTWISE)


def _neutral(right: str, left: str = "") -> Rule:
    """A rule for x op n where n is the number `right`, and for n op x where it is `left`."""

    def rule(sweep: Sweep, made: Equation) -> Value | None:
        x, y = made.inputs
        if right and _is(sweep.number(y), right):
            return same(made, x)
        if left and _is(sweep.number(x), left):
            return same(made, y)
        return None

    return rule


def _plus_zero(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """The integer 0 is neutral to integers; of floats it makes 0.0 of -0.0."""
    return None if dtypes.is_float(made.outputs[0].dtype) else _neutral("0", "0")(sweep, made)


def _is(number: float | None, wanted: str) -> bool:
    """Whether a number is the wanted one, of which 0 is no float, and 0.0 and -0.0 are two."""
    if number is None or isinstance(number, bool):
        return False
    if wanted == "1":
        return number == 1
    return repr(number) == wanted


def _plus_negative(sweep: Sweep, made: Equation) -> Equation | None:
    """x + -y is x - y, and x - -y is x + y."""
    x, y = made.inputs
    other = ops.subtract if made.op is ops.add else ops.add
    if (inner := sweep.maker(y, ops.negative)) is not None:
        return instead(made, other, x, inner.inputs[0])
    if made.op is ops.add and (inner := sweep.maker(x, ops.negative)) is not None:
        return instead(made, other, y, inner.inputs[0])
    return None


def _times_negative(sweep: Sweep, made: Equation) -> Equation | None:
    """-x * -y is x * y, -x * 2 is x * -2, and x * -1 is -x; so with divide."""
    x, y = [sweep.maker(operand, ops.negative) for operand in made.inputs]
    a, b = made.inputs
    if x is not None and y is not None:
        return instead(made, made.op, x.inputs[0], y.inputs[0])
    if x is not None and not isinstance(b, Value):
        return instead(made, made.op, x.inputs[0], _minus(b, made))
    if y is not None and not isinstance(a, Value):
        return instead(made, made.op, _minus(a, made), y.inputs[0])
    if not isinstance(b, Value) and b == -1:
        return instead(made, ops.negative, a)
    if not isinstance(a, Value) and a == -1 and made.op is ops.multiply:
        return instead(made, ops.negative, b)
    return None


def _squared(sweep: Sweep, made: Equation) -> Equation | None:
    """x * x is square(x)."""
    x, y = made.inputs
    if x is not y or not isinstance(x, Value) or x.dtype == dtypes.bool_:
        return None
    return instead(made, ops.square, x)


def _over_power_of_two(sweep: Sweep, made: Equation) -> Equation | None:
    """x / 4 is x * 0.25."""
    x, y = made.inputs
    if isinstance(y, Value) or not isinstance(x, Value) or not y or not math.isfinite(y):
        return None
    if x.dtype != made.outputs[0].dtype:
        return None
    exact = math.frexp(y)[0] in (0.5, -0.5) and 2**-14 <= abs(y) <= 2**14  # also of halves
    return instead(made, ops.multiply, x, 1 / y) if exact else None


def _simple_power(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """x ** 2 is square(x), x ** 0.5 sqrt(x) and so on, as `power` itself computes them."""
    x, exponent = made.inputs[0], sweep.number(made.inputs[1])
    if exponent is None or not isinstance(x, Value) or x.dtype.itemsize < 4:
        return None
    if exponent == 1:
        return same(made, x)
    if exponent == 2:
        return instead(made, ops.square, x)
    op = _POWERS.get(exponent)
    return instead(made, op, x) if op is not None and dtypes.is_float(x.dtype) else None


_POWERS = {0.5: ops.sqrt, -0.5: ops.rsqrt, -1.0: ops.reciprocal}


def _negated(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """--x is x, and -(x * 2) is x * -2."""
    (x,) = made.inputs
    if (inner := sweep.maker(x, ops.negative)) is not None:
        return same(made, inner.inputs[0])
    for op in (ops.multiply, ops.divide):
        if (inner := sweep.maker(x, op)) is not None:
            a, b = inner.inputs
            if not isinstance(b, Value):
                return instead(made, op, a, _minus(b, made))
            if not isinstance(a, Value):
                return instead(made, op, _minus(a, made), b)
    return None


def _minus(number: float, made: Equation) -> float:
    """-number, which among floats is -0.0 for an integer 0 too."""
    return -float(number) if not number and dtypes.is_float(made.outputs[0].dtype) else -number


def _even(sweep: Sweep, made: Equation) -> Equation | None:
    """square(-x) is square(x), and abs(-x) is abs(x) where numbers have signs."""
    inner = sweep.maker(made.inputs[0], ops.negative)
    if inner is None or (made.op is ops.abs and dtypes.kind(made.outputs[0].dtype) == "u"):
        return None
    return instead(made, made.op, inner.inputs[0])


def _nothing(sweep: Sweep, made: Equation) -> Value | None:
    """What gives its operand back."""
    return same(made, made.inputs[0])


def _first_ones(sweep: Sweep, made: Equation) -> Value | None:
    """What gives its first operands back."""
    sweep.now.update(zip(made.outputs, made.values, strict=False))
    return same(made, made.inputs[0])


def _cast_of_cast(sweep: Sweep, made: Equation) -> Equation | None:
    """A cast to a dtype that holds every number, and then to another, is one cast."""
    inner = sweep.maker(made.inputs[0], ops.astype)
    if inner is None:
        return None
    (x,) = inner.values
    if not _holds(inner.outputs[0].dtype, x.dtype):
        return None
    return instead(made, ops.astype, x, dtype=made.outputs[0].dtype)


def _holds(wide: dtypes.DType, narrow: dtypes.DType) -> bool:
    """Whether a dtype holds all numbers of another."""
    kinds = dtypes.kind(wide), dtypes.kind(narrow)
    if kinds[0] == kinds[1]:
        return wide == narrow or wide.itemsize > narrow.itemsize
    return kinds[1] == "b"


def _reshaped(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """A reshape of a reshape is one."""
    (x,) = made.values
    inner = sweep.maker(x, ops.reshape)
    if inner is None:
        return None
    (first,) = inner.values
    if not sweep.has_one_use(x) and first.aval != made.outputs[0].aval:
        return None  # the first may be a copy, of which the second is a view
    return instead(made, ops.reshape, first, shape=made.outputs[0].shape)


def _permuted(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """An order of the order of axes is one; that in which they are is nothing."""
    (x,) = made.values
    axes = made.params["axes"]
    if axes == tuple(range(x.ndim)):
        return x
    inner = sweep.maker(x, ops.permute_dims)
    if inner is None:
        return None
    before = inner.params["axes"]
    return instead(made, ops.permute_dims, inner.inputs[0], axes=tuple([before[a] for a in axes]))


def _of_one_number(sweep: Sweep, made: Equation) -> Equation | None:
    """A number that was broadcast and then moved was broadcast to another shape."""
    inner = sweep.maker(made.inputs[0], ops.broadcast_to)
    if inner is None or inner.values[0].shape:
        return None
    return instead(made, ops.broadcast_to, inner.inputs[0], shape=made.outputs[0].shape)


def _broadcast_again(sweep: Sweep, made: Equation) -> Equation | None:
    """A broadcast of a broadcast is one; axes of size 1 in front come by themselves."""
    (x,) = made.values
    inner = sweep.maker(x, ops.broadcast_to)
    if inner is None:
        inner = sweep.maker(x, ops.reshape)
        if inner is None or inner.values[0].ndim > made.outputs[0].ndim:
            return None
        if _without_ones(x.shape) != _without_ones(inner.values[0].shape):
            return None
    return instead(made, ops.broadcast_to, inner.inputs[0], shape=made.outputs[0].shape)


def _without_ones(shape: Sequence[int]) -> Sequence[int]:
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def _of_narrow(sweep: Sweep, made: Equation) -> Equation | None:
    """What was broadcast before an elementwise operation is so by it, or else after it."""
    found = [sweep.maker(x, ops.broadcast_to) for x in made.inputs]
    if not any(found):
        return None
    inputs = [
        x if inner is None else inner.inputs[0] for x, inner in zip(made.inputs, found, strict=True)
    ]
    shape = made.outputs[0].shape
    if inferred(made.op, inputs, made.params)[0].shape == shape:
        return replace(made, inputs=tuple(inputs))
    narrow = sweep.make(made, made.op, *inputs, **made.params)
    return instead(made, ops.broadcast_to, narrow, shape=shape)


def _of_one_element(sweep: Sweep, made: Equation) -> Equation | None:
    """A reduction along axes of size 1 is a reshape."""
    (x,) = made.values
    if any([x.shape[a] != 1 for a in made.params["axis"]]):
        return None
    return instead(made, ops.reshape, x, shape=made.outputs[0].shape)


def _chosen(sweep: Sweep, made: Equation) -> Equation | Value | None:
    """where(c, x, x) is x, where(not c, x, y) is where(c, y, x)."""
    condition, x, y = made.inputs
    if x is y and isinstance(x, Value):
        shape = made.outputs[0].shape
        return same(made, x) or instead(made, ops.broadcast_to, x, shape=shape)
    inner = sweep.maker(condition, ops.logical_not)
    if inner is None or inner.values[0].dtype != dtypes.bool_:
        return None
    return instead(made, ops.where, inner.inputs[0], y, x)


def _of_result(sweep: Sweep, made: Equation) -> Equation | None:
    """gate(g, x) is gate(g, relu(x)): where nothing else takes x, it is done with after relu."""
    g, x = made.inputs
    users = sweep.users(x)
    found = [user.outputs[0] for user in users if user.op is ops.relu]
    if (
        not found
        or found[0] not in sweep.makers
        or any([u.op not in (ops.relu, gate) for u in users])
    ):
        return None
    return instead(made, gate, g, found[0])


_ELEMENTWISE: Sequence[Rule] = (_of_narrow,)

_EXACT: Mapping[Op, Sequence[Rule]] = {
    ops.add: (_neutral("-0.0", "-0.0"), _plus_zero, _plus_negative, _of_narrow),
    ops.subtract: (_neutral("0.0"), _neutral("0"), _plus_negative, _of_narrow),
    ops.multiply: (_neutral("1", "1"), _times_negative, _squared, _of_narrow),
    ops.divide: (_neutral("1"), _times_negative, _over_power_of_two, _of_narrow),
    ops.power: (_simple_power, _of_narrow),
    ops.negative: (_negated, _of_narrow),
    ops.square: (_even, _of_narrow),
    ops.abs: (_even, _of_narrow),
    gate: (_of_result, _of_narrow),
    ops.identity: (_nothing,),
    ops.stop_gradient: (_nothing,),
    tracing.assigned: (_nothing,),
    custom.custom: (_first_ones,),
    ops.astype: (_nothing, _cast_of_cast),
    ops.reshape: (_nothing, _of_one_number, _reshaped),
    ops.permute_dims: (_of_one_number, _permuted),
    ops.broadcast_to: (_nothing, _broadcast_again),
    ops.where: (_chosen, _of_narrow),
    ops.prod: (_of_one_element,),
    ops.max: (_of_one_element,),
    ops.min: (_of_one_element,),
}


# In another order


def reductions(graph: Graph) -> Graph:
    """With sums that have less to add, or more to do in one go: of what was broadcast, of sums, of
    single elements; with products of matrices in the order in which nothing is left to transpose;
    and means that are scaled as scaled sums."""
    return rewritten(graph, _REORDERED)


def _sum_of_sum(sweep: Sweep, made: Equation) -> Equation | None:
    """A sum of a sum is one."""
    (x,) = made.values
    inner = sweep.maker(x, ops.sum)
    if inner is None or not is_real(x) or not sweep.has_one_use(x):
        return None
    if inner.params["keepdims"] != made.params["keepdims"]:
        return None
    (whole,) = inner.values
    left = list(range(whole.ndim))
    if not inner.params["keepdims"]:
        left = [a for a in left if a not in inner.params["axis"]]
    axes = {*inner.params["axis"], *[left[a] for a in made.params["axis"]]}
    return instead(made, ops.sum, whole, **{**made.params, "axis": tuple(sorted(axes))})


def _sum_of_broadcast(sweep: Sweep, made: Equation) -> Equation | None:
    """A sum (or mean) of what was broadcast is so many times a smaller sum."""
    (x,) = made.values
    inner = sweep.maker(x, ops.broadcast_to)
    if inner is None or not is_real(x) or not x.size:
        return None
    (narrow,) = inner.values
    shape = (*(1,) * (x.ndim - narrow.ndim), *narrow.shape)
    axes = made.params["axis"]
    times = math.prod([x.shape[a] for a in axes if shape[a] == 1]) if made.op is ops.sum else 1
    if shape != narrow.shape:
        narrow = sweep.make(made, ops.reshape, narrow, shape=shape)
    found = sweep.make(made, made.op, narrow, **made.params)
    if times != 1:
        found = sweep.make(made, ops.multiply, float(times), found)
    return instead(made, ops.broadcast_to, found, shape=made.outputs[0].shape)


def _scaled_mean(sweep: Sweep, made: Equation) -> Equation | None:
    """A number times a mean is another number times the sum."""
    number, x = made.inputs if isinstance(made.inputs[1], Value) else made.inputs[::-1]
    inner = sweep.maker(x, ops.mean)
    if inner is None or isinstance(number, Value) or not sweep.has_one_use(inner.outputs[0]):
        return None
    (whole,) = inner.values
    if not is_real(whole) or not whole.size:
        return None
    total = sweep.make(inner, ops.sum, whole, **inner.params)
    return instead(made, ops.multiply, number / (whole.size // total.size), total)


def _transposed_product(sweep: Sweep, made: Equation) -> Equation | None:
    """(x.T @ y).T is y.T @ x: the result comes in order, and transposes cost a product nothing."""
    (x,) = made.values
    inner = sweep.maker(x, ops.matmul)
    if inner is None or not is_real(x) or not sweep.has_one_use(x) or not _swaps(made):
        return None
    a, b = inner.values
    if a.ndim < 2 or b.ndim < 2:
        return None
    found = [(y, sweep.maker(y, ops.permute_dims)) for y in (b, a)]
    if not any([maker is not None and _swaps(maker) for _, maker in found]):
        return None
    turned = [
        maker.inputs[0]
        if maker is not None and _swaps(maker)
        else sweep.make(made, ops.permute_dims, y, axes=_swapped(y.ndim))
        for y, maker in found
    ]
    return instead(made, ops.matmul, *turned)


def _swapped(ndim: int) -> tuple[int, ...]:
    """The order of axes that exchanges the last two."""
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def _swaps(made: Equation) -> bool:
    """Whether an equation exchanges the last two axes."""
    ndim = made.outputs[0].ndim
    return ndim > 1 and tuple(made.params["axes"]) == _swapped(ndim)


_REORDERED: Mapping[Op, Sequence[Rule]] = {
    ops.sum: (_of_one_element, _sum_of_broadcast, _sum_of_sum),
    ops.mean: (_of_one_element, _sum_of_broadcast),
    ops.multiply: (_scaled_mean,),
    ops.permute_dims: (_transposed_product,),
}
