"""Functions that networks are made of, beside the activations: softmax, dropout, embeddings,
attention."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import conversion, dtypes
from ..arguments import Axis, Shape, normalize_axes
from ..backends import Array
from ..dispatch import apply, unary
from ..errors import ArgumentError, DtypeError, ShapeError
from ..op import Aval, Op
from ..references import example
from ..tensors import Tensor, TensorLike
from .contraction import matmul
from .creation import arange
from .elementwise import exp, where
from .indexing import getitem
from .kernels import dots, in_float32, onto, top, total
from .logic import logical_and
from .movement import expand_dims, permute_dims
from .reduction import as_float, sum

__all__ = [
    "dot_product_attention",
    "dropout",
    "embedding",
    "log_softmax",
    "softmax",
]


class _Scaled(Op, abstract=True):
    """Base of softmax and its logarithm: along axes, integers become float32, halves compute in it.

    x may be empty, but not along these axes.
    """

    arity = 1
    accepts_empty = True
    examples = (example(axis=-1), example(axis=0), example(axis=1))

    def __call__(self, x: TensorLike, /, axis: Axis = -1) -> Tensor:
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
        return unary(self, x, {"axis": normalize_axes(self.name, axis, x._data.ndim)})

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[Any]:
        return [given[0] if dtypes.is_float(given[0]) else dtypes.float32]

    def infer(self, x: Aval, *, axis: tuple[int, ...]) -> Aval:
        return Aval(x.shape, x.dtype if dtypes.is_float(x.dtype) else dtypes.float32)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        forward = self.forward
        compute = in_float32(xp, forward)

        def kernel(x: Array, *, axis: tuple[int, ...]) -> Array:
            if not x.size:
                return x
            if x.dtype.itemsize > 2:
                return forward(xp, x, axis=axis)
            return compute(x, axis=axis)

        return kernel


class Softmax(_Scaled):
    """exp(x) along axes, scaled to the sum 1.

    NaN where the largest is infinite, as in all three frameworks; an x of -infinity among finite
    ones gets 0, and no NaN as its gradient.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5], dtype=float32)
    """

    gradients = (lambda g, out, x, axis: softmax_slope.of(g, out, axis=axis),)
    on_arrays = True
    references = {"tensorflow": "nn.softmax", "torch": "softmax", "jax": "nn.softmax"}

    def forward(self, xp: Any, x: Array, *, axis: tuple[int, ...]) -> Array:
        found = onto(xp.exp, x - top(xp, x, axis))
        found /= total(xp, found, axis)
        return found


softmax = Softmax()


class _Slope(Op, abstract=True):
    """Base of what takes a cotangent and an output of softmax, or of its logarithm."""

    linear = (0,)
    axes = ("axis",)

    def infer(self, g: Aval, out: Aval, *, axis: tuple[int, ...]) -> Aval:
        return g

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)


class SoftmaxSlope(_Slope):
    """A cotangent g of p = softmax(x) as that of x: p * (g - sum(g * p))."""

    gradients = (
        lambda h, _, g, p, axis: apply(softmax_slope, h, p, axis=axis),
        lambda h, _, g, p, axis: (
            h * (g - sum(g * p, axis=axis, keepdims=True))
            - g * sum(h * p, axis=axis, keepdims=True)
        ),
    )

    def forward(self, xp: Any, g: Array, p: Array, *, axis: tuple[int, ...]) -> Array:
        found = g - dots(xp, g, p, axis)
        found *= p
        return found


softmax_slope = SoftmaxSlope()


class LogSoftmax(_Scaled):
    """The logarithm of `softmax`, accurate where that is close to 0.

    >>> log_softmax([0.0, -200.0])
    Tensor([   0., -200.], dtype=float32)
    """

    gradients = (lambda g, out, x, axis: log_softmax_slope.of(g, out, axis=axis),)
    on_arrays = True
    references = {"tensorflow": "nn.log_softmax", "torch": "log_softmax", "jax": "nn.log_softmax"}

    def forward(self, xp: Any, x: Array, *, axis: tuple[int, ...]) -> Array:
        found = x - top(xp, x, axis)
        found -= xp.log(total(xp, xp.exp(found), axis))
        return found


log_softmax = LogSoftmax()


class LogSoftmaxSlope(_Slope):
    """A cotangent g of y = log_softmax(x) as that of x: g - exp(y) * sum(g)."""

    gradients = (
        lambda h, _, g, y, axis: h - sum(h * exp(y), axis=axis, keepdims=True),
        lambda h, _, g, y, axis: h * exp(y) * -sum(g, axis=axis, keepdims=True),
    )

    def forward(self, xp: Any, g: Array, y: Array, *, axis: tuple[int, ...]) -> Array:
        found = xp.exp(y)
        found *= -total(xp, g, axis)
        found += g
        return found


log_softmax_slope = LogSoftmaxSlope()


def dropout(x: TensorLike, /, rate: float, *, key: Any = None) -> Tensor:
    """x with each element 0 with probability `rate`, and divided by 1 - rate if it is not, so that
    the mean stays. `key` is a key of `edu.random`; without one, the default generator draws.

    Raises ArgumentError for a rate outside [0, 1].

    Source: N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting,
    Journal of Machine Learning Research 15 (2014), 1929-1958.

    >>> dropout([1.0, 2.0], 0.0)
    Tensor([1., 2.], dtype=float32)
    """
    if not isinstance(rate, numbers.Real) or not 0 <= rate <= 1:
        raise ArgumentError(f"dropout: the rate is a probability, from 0 to 1, not {rate!r}")
    x = as_float(x)
    if rate == 0:
        return x
    if rate == 1:
        return x * 0.0
    from .. import random

    kept = random.bernoulli(key, 1 - rate, x.shape)
    return where(kept, x / (1 - rate), 0.0)


def embedding(indices: TensorLike, table: TensorLike, /) -> Tensor:
    """The rows of a table that integers name: shape (..., d) for indices of shape (...) and a table
    of shape (n, d). A row that is named twice gets both gradients.

    Raises OutOfRangeError for an index that is no row, DtypeError for indices that are not whole.

    >>> embedding([1, 1, 0], [[1.0, 2.0], [3.0, 4.0]])
    Tensor([[3., 4.],
            [3., 4.],
            [1., 2.]], dtype=float32)
    """
    indices, table = conversion.as_tensors(indices, table)
    if dtypes.kind(indices.dtype) not in "iu":
        raise DtypeError(f"embedding: the indices are integers, not {indices.dtype}")
    if not table.ndim:
        raise ShapeError("embedding: a table has rows, and this one no dimension")
    return getitem(table, indices)


def dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    /,
    bias: TensorLike | None = None,
    mask: TensorLike | None = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Tensor:
    """For each query the mean of the values, weighed by softmax(query . key * scale + bias).

    Shapes are (batch, length, heads, dim), the length of the queries may differ from that of the
    keys and values; `bias` and the boolean `mask` (True: may be seen) broadcast to (batch, heads,
    queries, keys). `scale` is 1 / sqrt(dim) unless given; with `is_causal` a query sees no key that
    comes after it. A query that sees no key gets 0, and gives no gradient (not NaN).

    Raises ShapeError for shapes that do not fit, DtypeError for a mask that is not boolean.

    Source: A. Vaswani et al., Attention is all you need, arXiv:1706.03762.

    >>> x = np.array([[[[1.0]], [[3.0]]]])
    >>> dot_product_attention(x * 0, x * 0, x)
    Tensor([[[[2.]],
    <BLANKLINE>
             [[2.]]]], dtype=float64)
    """
    query, key, value = map(as_float, conversion.as_tensors(query, key, value))
    _check_attention(query.shape, key.shape, value.shape)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = matmul(permute_dims(query * scale, (0, 2, 1, 3)), permute_dims(key, (0, 2, 3, 1)))
    if bias is not None:
        scores = _onto_scores("bias", scores, bias, lambda s, b: s + b)
    seen = _seen(scores, mask, is_causal)
    if seen is not None:
        # Low, and finite: of a row of -infinity softmax would be NaN.
        lowest = -3e4 if dtypes.is_half(scores.dtype) else -1e30
        scores = _onto_scores("mask", scores, seen, lambda s, m: where(m, s, lowest))
    weights = softmax(scores)
    if seen is not None:
        weights = where(seen, weights, 0.0)  # also where all of a row is hidden
    return permute_dims(matmul(weights, permute_dims(value, (0, 2, 1, 3))), (0, 2, 1, 3))


def _check_attention(query: Shape, key: Shape, value: Shape) -> None:
    fits = (
        len(query) == len(key) == len(value) == 4
        and query[0] == key[0] == value[0]
        and query[2:] == key[2:]
        and key[1:3] == value[1:3]
    )
    if not fits:
        raise ShapeError(
            f"dot_product_attention: query {query}, key {key} and value {value} must be (batch, "
            "length, heads, dim), of one batch, one number of heads, one dim of queries and keys, "
            "and one length of keys and values"
        )


def _seen(scores: Tensor, mask: TensorLike | None, is_causal: bool) -> Tensor | None:
    """Which keys a query may see, if not all."""
    seen = None
    if mask is not None:
        seen = conversion.as_tensor(mask, like=scores)
        if seen.dtype != dtypes.bool_:
            raise DtypeError(
                f"dot_product_attention: the mask is boolean, not {seen.dtype}; numbers to add to "
                "the scores are the bias"
            )
    if is_causal:
        queries, keys = scores.shape[-2:]
        device = scores.device
        order = expand_dims(arange(queries, device=device), axis=1) >= arange(keys, device=device)
        seen = order if seen is None else logical_and(seen, order)
    return seen


def _onto_scores(
    name: str, scores: Tensor, other: TensorLike, combine: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    other = conversion.as_tensor(other, like=scores)
    try:
        fits = np.broadcast_shapes(scores.shape, other.shape) == scores.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"dot_product_attention: a {name} of shape {other.shape} does not broadcast to the "
            f"scores, (batch, heads, queries, keys), {scores.shape}"
        )
    return combine(scores, other)
