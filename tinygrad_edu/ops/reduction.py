"""Operations that bring the elements along some axes down to one: sums, products, extremes.

`axis` is None (all axes), an integer or a tuple of integers, negative ones counted from the end;
`keepdims` leaves the reduced axes in place, with size 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, tensors
from ..backends import Array
from ..dtypes import DType
from ..errors import ShapeError
from ..op import (
    Aval,
    Axis,
    Op,
    Shape,
    apply,
    booleans,
    example,
    normalize_axes,
    normalize_axis,
    unary,
)
from ..tensors import Tensor, TensorLike
from .elementwise import astype, exp, log, sqrt, square, stop_gradient, where
from .logic import equal, isfinite
from .movement import concat, moveaxis, reshape, stack

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]


def kept_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape with the reduced axes left in place, with size 1."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def _beside(reduced: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """A reduced value in a shape that broadcasts over the elements that went into it."""
    if axis == tuple(range(len(axis))):  # leading axes come back by broadcasting alone
        return reduced
    return reshape(reduced, kept_shape(x._data.shape, axis))


class Reduction(Op, abstract=True):
    """Base of the reductions.

    States `function`, a name that numpy, cupy and jax.numpy share, and for NumPy the `ufunc` whose
    `reduce` does the same with less in front of it.
    """

    arity = 1
    function: str
    ufunc: str
    accepts_empty = True
    result: DType | None = None
    examples = (
        example(axis=None, keepdims=False),
        example(axis=0, keepdims=True),
        example(axis=(-1,), keepdims=False),
        example(axis=(0, -1), keepdims=True),
    )

    def __call__(self, x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        x = x if isinstance(x, Tensor) else tensors.as_tensor(x)
        ndim = x._data.ndim
        axes = tuple(range(ndim)) if axis is None else normalize_axes(self.name, axis, ndim)
        return unary(self, x, {"axis": axes, "keepdims": keepdims})

    def kernel(self, xp: Any) -> Callable[..., Any]:
        if xp is np:
            reduce = getattr(np, self.ufunc).reduce
            return lambda x, *, axis, keepdims: reduce(x, axis, None, None, keepdims)
        return getattr(xp, self.function)

    def infer(self, x: Aval, *, axis: tuple[int, ...], keepdims: bool) -> Aval:
        if not self.accepts_empty and 0 in [x.shape[a] for a in axis]:
            raise ShapeError(f"{self.name}: nothing to choose from along axis {axis} of {x.shape}")
        kept = kept_shape(x.shape, axis)
        shape = kept if keepdims else tuple(s for i, s in enumerate(kept) if i not in axis)
        return Aval(shape, self.result or x.dtype)


class _Accumulation(Reduction, abstract=True):
    """Sums and products: narrow integers become 32-bit ones first, halves accumulate in float32."""

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        (dtype,) = given
        narrow = dtypes.kind(dtype) in "biu" and dtype.itemsize < 4
        unsigned = dtypes.uint32 if dtype.kind == "u" else dtypes.int32
        return [unsigned if narrow else dtype]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        total = self.total(xp)

        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            if dtype.itemsize > 2:
                return total(x, axis, dtype, None, keepdims)
            return total(x, axis, dtypes.float32, None, keepdims).astype(dtype)

        return compute

    def total(self, xp: Any) -> Callable[..., Any]:
        """The sum or product, as a function of (x, axis, dtype, None, keepdims)."""
        if xp is np:
            return getattr(np, self.ufunc).reduce
        named = getattr(xp, self.function)
        return lambda x, axis, dtype, out, keepdims: named(
            x, axis=axis, dtype=dtype, keepdims=keepdims
        )


def _names(name: str, tensorflow: str, torch: str = "") -> dict[str, Any]:
    """The reference frameworks' names, with their words for `axis` and `keepdims`."""
    return {
        "tensorflow": lambda tf, x, axis, keepdims: getattr(tf, tensorflow)(x, axis, keepdims),
        "torch": lambda t, x, axis, keepdims: getattr(t, torch or name)(x, axis, keepdims),
        "jax": lambda jax, x, axis, keepdims: getattr(jax.numpy, name)(
            x, axis=axis, keepdims=keepdims
        ),
    }


class Sum(_Accumulation):
    """The sum along axes. Integers narrower than 32 bits become 32-bit ones."""

    function, ufunc = "sum", "add"
    gradients = (lambda g, out, x, axis, keepdims: _beside(g, x, axis),)
    references = _names("sum", "reduce_sum")


sum = Sum()


class Mean(_Accumulation):
    """The mean along axes; integers become float32. One primitive, for every loss ends in it.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([2., 3.], dtype=float64)
    """

    function, ufunc = "sum", "add"
    gradients = (
        lambda g, out, x, axis, keepdims: _beside(g / _count(x._data, out._data), x, axis),
    )
    references = _names("mean", "reduce_mean")

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [given[0] if dtypes.is_float(given[0]) else dtypes.float32]

    def infer(self, x: Aval, *, axis: tuple[int, ...], keepdims: bool) -> Aval:
        shape, dtype = super().infer(x, axis=axis, keepdims=keepdims)
        return Aval(shape, dtype if dtypes.is_float(dtype) else dtypes.float32)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        total = self.total(xp)

        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            if dtype.itemsize > 2:
                found = total(x, axis, dtype, None, keepdims)
                return found / _count(x, found)
            # A sum of halves may be too large for one where their mean is not.
            found = total(x, axis, dtypes.float32, None, keepdims)
            return (found / _count(x, found)).astype(dtype)

        return compute


mean = Mean()


class Prod(_Accumulation):
    """The product along axes. Its gradient is right, to any order, where factors are zero."""

    function, ufunc = "prod", "multiply"
    gradients = (
        lambda g, out, x, axis, keepdims: _beside(g, x, axis) * product_of_others(x, axis),
    )
    references = {
        **_names("prod", "reduce_prod"),
        "torch": lambda torch, x, axis, keepdims: functools.reduce(  # one axis at a time
            lambda y, a: y.prod(a, keepdim=keepdims),
            normalize_axes("prod", axis, x.ndim)[::-1],
            x,
        ),
    }


prod = Prod()


def product_of_others(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """For each element the product of the others along these axes, without dividing by it.

    Pairs up neighbours: an element's others are its neighbour, times the others of their pair.
    """
    rest = [i for i in range(x.ndim) if i not in axis]
    front = moveaxis(x, rest, range(len(rest)))
    factors = math.prod([x.shape[i] for i in axis])
    row = reshape(front, (*[x.shape[i] for i in rest], factors))
    found = reshape(_product_of_others_in_row(row), front.shape)
    return moveaxis(found, range(len(rest)), rest)


def _product_of_others_in_row(row: Tensor) -> Tensor:
    size = row.shape[-1]
    if size <= 1:
        return row * 0.0 + 1.0
    if size % 2:
        last = row[..., -1:]
        others = _product_of_others_in_row(row[..., :-1])
        product = others[..., :1] * row[..., :1]
        return concat([others * last, product], axis=-1)
    left, right = row[..., 0::2], row[..., 1::2]
    of_pairs = _product_of_others_in_row(left * right)
    return reshape(stack([of_pairs * right, of_pairs * left], axis=-1), row.shape)


def _of_extreme(g: Tensor, out: Tensor, x: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    chosen = astype(equal(x, _beside(out, x, axis)), x.dtype)
    return chosen * _beside(g / reshape(sum(chosen, axis=axis), g.shape), x, axis)


class Max(Reduction):
    """The largest element along axes; NaN where there is one. Ties share the gradient."""

    function, ufunc, accepts_empty = "max", "maximum", False
    gradients = (_of_extreme,)
    references = _names("max", "reduce_max", "amax")


max = Max()


class Min(Reduction):
    """The smallest element along axes; NaN where there is one. Ties share the gradient."""

    function, ufunc, accepts_empty = "min", "minimum", False
    gradients = (_of_extreme,)
    references = _names("min", "reduce_min", "amin")


min = Min()


class AnyTrue(Reduction):
    """Whether any element along axes is true (not zero)."""

    name = "any"
    function, ufunc, result = "any", "logical_or", dtypes.bool_
    no_gradient = "logic has no slope"
    references = _names("any", "reduce_any")
    domain = booleans


any = AnyTrue()


class AllTrue(Reduction):
    """Whether all elements along axes are true (not zero)."""

    name = "all"
    function, ufunc, result = "all", "logical_and", dtypes.bool_
    no_gradient = "logic has no slope"
    references = _names("all", "reduce_all")
    domain = booleans


all = AllTrue()


class Argmax(Op):
    """Where the largest element is: its index (int32) along one axis, the first one in a tie;
    without an axis, its index among all elements in order."""

    no_gradient = "an index has no slope"
    function = "argmax"
    accepts_empty = False
    references = {
        "tensorflow": lambda tf, x, axis, keepdims: tf.argmax(x, axis),
        "torch": lambda torch, x, axis, keepdims: torch.argmax(x, axis),
        "jax": lambda jax, x, axis, keepdims: jax.numpy.argmax(x, axis),
    }
    examples = (example(axis=0, keepdims=False), example(axis=-1, keepdims=False))

    def __call__(
        self, x: TensorLike, /, *, axis: int | None = None, keepdims: bool = False
    ) -> Tensor:
        x = tensors.as_tensor(x)
        if axis is not None:
            axis = normalize_axis(self.name, axis, x.ndim)
        return apply(self, x, axis=axis, keepdims=keepdims)

    def forward(self, xp: Any, x: Array, *, axis: int | None, keepdims: bool) -> Array:
        return getattr(xp, self.function)(x, axis=axis, keepdims=keepdims).astype(dtypes.int32)

    def infer(self, x: Aval, *, axis: int | None, keepdims: bool) -> Aval:
        axes = normalize_axes(self.name, axis, len(x.shape))
        if 0 in [x.shape[a] for a in axes]:
            raise ShapeError(f"{self.name}: nothing to choose from along axis {axes} of {x.shape}")
        kept = kept_shape(x.shape, axes)
        shape = kept if keepdims else tuple(s for i, s in enumerate(kept) if i not in axes)
        return Aval(shape, dtypes.int32)


argmax = Argmax()


class Argmin(Argmax):
    """Where the smallest element is; see `argmax`."""

    function = "argmin"
    references = {
        "tensorflow": lambda tf, x, axis, keepdims: tf.argmin(x, axis),
        "torch": lambda torch, x, axis, keepdims: torch.argmin(x, axis),
        "jax": lambda jax, x, axis, keepdims: jax.numpy.argmin(x, axis),
    }


argmin = Argmin()


def var(
    x: TensorLike, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The mean square distance from the mean along axes, divided by their number less `correction`.

    >>> var(np.array([1.0, 3.0])), var(np.array([1.0, 3.0]), correction=1)
    (Tensor(1., dtype=float64), Tensor(2., dtype=float64))
    """
    x = as_float(x)
    dtype = x.dtype
    wide = astype(x, dtypes.float32) if dtypes.is_half(dtype) else x
    axes = normalize_axes("var", axis, x.ndim)
    squares = square(wide - mean(wide, axis=axes, keepdims=True))
    total = sum(squares, axis=axes, keepdims=keepdims)
    return astype(total / (_count(x._data, total._data) - correction), dtype)


def std(
    x: TensorLike, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """The square root of `var`. Where it is 0, so is its gradient.

    >>> std(np.array([1.0, 3.0]))
    Tensor(1., dtype=float64)
    """
    variance = var(x, axis=axis, correction=correction, keepdims=keepdims)
    flat = equal(variance, 0)
    # At 0 the root is infinitely steep; what it is given there instead has no slope.
    return where(flat, 0.0, sqrt(where(flat, 1.0, variance)))


def logsumexp(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) along axes, without overflow.

    >>> logsumexp(np.array([1000.0, 1000.0]))
    Tensor(1000.69314718, dtype=float64)
    """
    x = as_float(x)
    axes = normalize_axes("logsumexp", axis, x.ndim)
    top = stop_gradient(max(x, axis=axes, keepdims=True))
    top = where(isfinite(top), top, 0.0)
    found = log(sum(exp(x - top), axis=axes, keepdims=True)) + top
    return (
        found if keepdims else reshape(found, [s for i, s in enumerate(x.shape) if i not in axes])
    )


def as_float(x: TensorLike) -> Tensor:
    """x as a Tensor of a float dtype: integers and booleans become float32."""
    x = tensors.as_tensor(x)
    return x if dtypes.is_float(x.dtype) else astype(x, dtypes.float32)


def _count(x: Array, reduced: Array) -> float:
    """How many elements of x went into each of `reduced`."""
    return float(x.size / (reduced.size or 1))
