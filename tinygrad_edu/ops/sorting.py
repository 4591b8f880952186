"""Order: sorting, and what can be read off a sorted array: its largest elements, its median, where
a value belongs, which values there are and how often.

A permutation has no slope, so a gradient goes back the way the elements came. NaN is larger than
every number, as in NumPy; 0.0 and -0.0 are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import conversion, dtypes, tensors
from ..arguments import Axis, normalize_axes, normalize_axis, whole
from ..backends import Array
from ..dispatch import apply, unary
from ..dtypes import DType
from ..errors import ArgumentError, DtypeError, OutOfRangeError, ShapeError
from ..op import Aval, Op, promoted
from ..references import example
from ..tensors import Tensor, TensorLike
from .elementwise import where
from .logic import isnan
from .movement import concat, moveaxis, reshape
from .reduction import as_float

__all__ = [
    "argsort",
    "bincount",
    "median",
    "quantile",
    "searchsorted",
    "sort",
    "top_k",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class Argsort(Op):
    """Where the elements of x are, along an axis, in ascending order: indices, as int32.

    `descending` turns the order around; equals keep theirs either way (always, with `stable` or
    without). NaN counts as the largest number. Raises ArgumentError for an axis that is not there.

    >>> argsort([3, 1, 2, 1]), argsort([3, 1, 2, 1], descending=True)
    (Tensor([1, 3, 2, 0], dtype=int32), Tensor([0, 2, 1, 3], dtype=int32))
    """

    axes = ("axis",)
    arity = 1
    no_gradient = "an index has no slope"
    references = {
        "tensorflow": lambda tf, x, axis, descending: tf.argsort(
            x, axis, "DESCENDING" if descending else "ASCENDING", stable=True
        ),
        "torch": lambda torch, x, axis, descending: torch.argsort(
            x, dim=axis, descending=descending, stable=True
        ),
        "jax": "numpy.argsort",
    }
    examples = (
        example((5,), axis=-1, descending=False),
        example((5,), axis=0, descending=True),
        example((3, 4), axis=0, descending=True),
        example((2, 3, 2), axis=1, descending=False),
        example((0, 3), axis=-1, descending=True),
        example((3, 0), axis=-1, descending=True),
    )

    def __call__(
        self,
        x: TensorLike,
        /,
        *,
        axis: int = -1,
        descending: bool = False,
        stable: bool = True,
    ) -> Tensor:
        x = conversion.as_tensor(x)
        axis = normalize_axis(self.name, axis, x._data.ndim)
        return apply(self, x, axis=axis, descending=bool(descending))

    def forward(self, xp: Any, x: Array, *, axis: int, descending: bool) -> Array:
        if dtypes.is_half(x.dtype):
            x = x.astype(dtypes.float32)  # NumPy does not put a bfloat16 NaN last
        # Turned around twice, so that equals come out as they went in.
        turned = (*(slice(None),) * axis, slice(None, None, -1))
        stable = {"kind": "stable"} if xp is np else {}  # CuPy and JAX always are
        order = xp.argsort(x[turned] if descending else x, axis=axis, **stable)
        if descending:
            order = x.shape[axis] - 1 - order[turned]
        return order.astype(dtypes.int32)

    def infer(self, x: Aval, *, axis: int, descending: bool) -> Aval:
        return Aval(x.shape, dtypes.int32)


argsort = Argsort()


def sort(
    x: TensorLike, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The elements of x along an axis in ascending order, or `descending`.

    NaN counts as the largest number. Equals keep their order either way, so 0.0 and -0.0 come out
    as they went in, and each has the gradient of the place it went to. Raises ArgumentError for an
    axis that is not there.

    >>> sort([3.0, 1.0, 2.0]), sort([3, 1, 2], descending=True)
    (Tensor([1., 2., 3.], dtype=float32), Tensor([3, 2, 1], dtype=int32))
    """
    x = conversion.as_tensor(x)
    axis = normalize_axis("sort", axis, x.ndim)
    return take_places(x, argsort(x, axis=axis, descending=descending), axis, True)


class TopK(NamedTuple):
    """What `top_k` finds."""

    values: Tensor
    indices: Tensor


def top_k(x: TensorLike, /, k: int, *, sorted: bool = True) -> TopK:
    """The k largest elements along the last axis, the largest first, and where they are (int32).

    Of equals those in front come first, as in TensorFlow and JAX; NaN counts as the largest number.
    The gradient goes to the elements that were chosen. With or without `sorted` they come in
    order. Raises ArgumentError where there are fewer than k.

    >>> top_k([3.0, 1.0, 4.0, 1.0, 5.0], 2).values
    Tensor([5., 4.], dtype=float32)
    """
    x = conversion.as_tensor(x)
    if not x.ndim:
        raise ShapeError("top_k: a 0-d array has no axis to choose from")
    size = x.shape[-1]
    k = whole("top_k", "k", k, 0)
    if k > size:
        raise ArgumentError(f"top_k: k is {k}, and the last axis has {size} elements")
    indices = unary(_largest, x, {"k": k})
    return TopK(take_places(x, indices, x.ndim - 1, True), indices)


class Largest(Op):
    """Where the k largest elements of the last axis are: indices, as int32, the largest first."""

    no_gradient = "an index has no slope"

    def forward(self, xp: Any, x: Array, *, k: int) -> Array:
        size = x.shape[-1]
        if xp is not np or size < 1000 or 4 * k > size:
            return argsort.forward(xp, x, axis=x.ndim - 1, descending=True)[..., :k]
        rows = [self._of_row(row, k) for row in x.reshape((-1, size))]
        return np.reshape(np.array(rows, np.int32), (*x.shape[:-1], k))

    @staticmethod
    def _of_row(row: np.ndarray, k: int) -> np.ndarray:
        """Only what is at least as large as the k-th is put in order."""
        wide = row.astype(dtypes.float32) if dtypes.is_half(row.dtype) else row
        least = np.partition(wide, len(wide) - max(k, 1))[-max(k, 1)]
        large = wide != wide if least != least else (wide >= least) | (wide != wide)
        places = np.flatnonzero(large)
        order = argsort.forward(np, wide[places], axis=0, descending=True)
        return places[order[:k]]

    def infer(self, x: Aval, *, k: int) -> Aval:
        return Aval((*x.shape[:-1], k), dtypes.int32)


_largest = Largest()


def take_places(x: Tensor, places: Tensor, axis: int, distinct: bool) -> Tensor:
    """Of each row of x along an axis the elements at these places; `distinct` says that no place
    comes twice in a row, so that the gradient need not add."""
    return apply(_take, x, places, axis=axis, distinct=distinct)


def _index(xp: Any, places: Array, axis: int) -> tuple[Array, ...]:
    """The places along one axis as an index of all axes."""
    grid = [
        xp.arange(size).reshape((-1, *(1,) * (places.ndim - i - 1)))
        for i, size in enumerate(places.shape)
    ]
    grid[axis] = places
    return tuple(grid)


class Take(Op):
    """Of each row along an axis the elements at these places; `take_places` applies it."""

    axes = ("axis",)
    gradients = (
        lambda g, _, x, places, axis, distinct: apply(
            _put, g, places, size=x._data.shape[axis], axis=axis, distinct=distinct
        ),
        None,
    )

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> Any:
        return given

    def forward(self, xp: Any, x: Array, places: Array, *, axis: int, distinct: bool) -> Array:
        return x[_index(xp, places, axis)]

    def infer(self, x: Aval, places: Aval, *, axis: int, distinct: bool) -> Aval:
        return Aval(places.shape, x.dtype)


_take = Take()


class Put(Op):
    """The transpose of `Take`: rows of zeros to which the elements are added at their places."""

    linear = (0,)
    axes = ("axis",)
    gradients = (
        lambda g, _, x, places, size, axis, distinct: take_places(g, places, axis, distinct),
        None,
    )

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> Any:
        return given

    def forward(
        self, xp: Any, x: Array, places: Array, *, size: int, axis: int, distinct: bool
    ) -> Array:
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        index = _index(xp, places, axis)
        if xp.__name__ == "jax.numpy":
            return xp.zeros(shape, x.dtype).at[index].add(x)
        if distinct:
            found = xp.zeros(shape, x.dtype)
            found[index] = x
            return found
        if 0 in x.shape:
            return xp.zeros(shape, x.dtype)
        # Counting with weights is the fastest sum by place; it adds in float64.
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        flat = sum((i * s for i, s in zip(index, strides, strict=True)), start=0)
        found = xp.bincount(flat.ravel(), x.ravel(), math.prod(shape))
        return found.astype(x.dtype).reshape(shape)

    def infer(self, x: Aval, places: Aval, *, size: int, axis: int, distinct: bool) -> Aval:
        return Aval((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


_put = Put()


Method = Literal["linear", "lower", "higher", "midpoint", "nearest"]


def median(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle element along axes in ascending order; of an even number, the mean of the middle
    two. NaN where there is one; integers become float32.

    The gradient goes to the element, or half to each of the two, that a stable sort puts in the
    middle, as in JAX (PyTorch's median is the lower of the two). Raises ShapeError for nothing.

    >>> median([5.0, 1.0, 3.0]), median([5.0, 1.0, 3.0, 2.0])
    (Tensor(3., dtype=float32), Tensor(2.5, dtype=float32))
    """
    return _quantile("median", x, 0.5, axis, "linear", keepdims)


def quantile(
    x: TensorLike,
    q: float | Sequence[float] | np.ndarray,
    /,
    *,
    axis: Axis = None,
    method: Method = "linear",
    keepdims: bool = False,
) -> Tensor:
    """The values along axes below which a share q of the elements lies.

    `q`, between 0 and 1, is a number, or several, whose shape then comes first in the result's. At
    place q (n - 1) of the n sorted elements, counted from 0, `method` says what is between two:
    "linear" goes from one to the other, "lower" and "higher" take one, "midpoint" their mean,
    "nearest" the nearer (the one with the even place where they are equally near), as in NumPy.
    NaN where there is one; integers become float32.

    The gradient goes to the elements that a stable sort puts there, as in JAX; q has none. Raises
    ArgumentError for another q or method, ShapeError for nothing.

    Source: R. J. Hyndman, Y. Fan, Sample Quantiles in Statistical Packages, The American
    Statistician 50 (4), 1996, definition 7.

    >>> quantile([0.0, 10.0, 20.0], 0.25)
    Tensor(5., dtype=float32)
    >>> quantile([0.0, 10.0, 20.0], [0.0, 0.9], method="nearest")
    Tensor([ 0., 20.], dtype=float32)
    """
    return _quantile("quantile", x, q, axis, method, keepdims)


def _quantile(
    name: str, given: TensorLike, q: Any, axis: Axis, method: str, keepdims: bool
) -> Tensor:
    x = as_float(given)
    axes = normalize_axes(name, axis, x.ndim)
    size = math.prod([x.shape[a] for a in axes])
    if not size:
        raise ShapeError(f"{name}: nothing to choose from along axis {axes} of {x.shape}")
    shares = conversion.to_array(q, dtypes.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ArgumentError(f"{name}: q is between 0 and 1, not {q!r}")
    if method not in _BETWEEN:
        raise ArgumentError(f"{name}: method is one of {', '.join(_BETWEEN)}, not {method!r}")
    rest = [i for i in range(x.ndim) if i not in axes]
    front = moveaxis(x, rest, range(len(rest)))
    rows = sort(reshape(front, (*[x.shape[i] for i in rest], size)))
    unknown = isnan(rows[..., -1])  # NaN comes last
    found = []
    for share in shares.ravel():
        place = float(share) * (size - 1)
        low = min(int(place), size - 1)
        weight = _BETWEEN[method](place - low, low)
        value = rows[..., low]
        if weight == 1:
            value = rows[..., low + 1]
        elif weight:
            # Not low + weight * (high - low): between equal infinities that would be NaN.
            value = value * (1 - weight) + rows[..., low + 1] * weight
        found.append(where(unknown, math.nan, value))
    kept = tuple([1 if i in axes else s for i, s in enumerate(x.shape)])
    shape = kept if keepdims else tuple([x.shape[i] for i in rest])
    return reshape(concat([reshape(f, (1, *shape)) for f in found]), (*shares.shape, *shape))


# How much of the higher of two neighbours there is at a place between them, given how far that is
# from the lower one, and the lower one's own place.
_BETWEEN: dict[str, Any] = {
    "linear": lambda beyond, low: beyond,
    "lower": lambda beyond, low: 0,
    "higher": lambda beyond, low: math.ceil(beyond),
    "midpoint": lambda beyond, low: 0.5 * math.ceil(beyond),
    "nearest": lambda beyond, low: int(beyond > 0.5 or (beyond == 0.5 and low % 2 == 1)),
}


class Searchsorted(Op):
    """Where the elements of x2 belong in x1, an ascending row, so that it stays in order: indices,
    as int32.

    Before the equals with side "left", behind them with "right". `sorter` is what `argsort` gives
    for an x1 that is not in order. Raises ShapeError unless x1 has one dimension, ArgumentError for
    another side.

    >>> searchsorted([1.0, 2.0, 2.0, 3.0], [2.0, 9.0])
    Tensor([1, 4], dtype=int32)
    >>> searchsorted([1.0, 2.0, 2.0, 3.0], 2.0, side="right")
    Tensor(3, dtype=int32)
    """

    no_gradient = "an index has no slope"
    references = {
        "tensorflow": lambda tf, x1, x2, side: tf.reshape(
            tf.searchsorted(x1, tf.reshape(x2, [-1]), side), x2.shape
        ),
        "torch": lambda torch, x1, x2, side: torch.searchsorted(x1, x2, side=side),
        "jax": "numpy.searchsorted",
    }
    examples = (
        example((5,), (3,), side="left"),
        example((5,), (2, 3), side="right"),
        example((4,), (), side="left"),
        example((0,), (2,), side="right"),
        example((3,), (0, 2), side="left"),
    )

    def __call__(
        self,
        x1: TensorLike,
        x2: TensorLike,
        /,
        *,
        side: Literal["left", "right"] = "left",
        sorter: TensorLike | None = None,
    ) -> Tensor:
        if side not in ("left", "right"):
            raise ArgumentError(f"searchsorted: side is 'left' or 'right', not {side!r}")
        if sorter is not None:
            x1 = conversion.as_tensor(x1)[conversion.as_tensor(sorter)]
        return apply(self, x1, x2, side=side)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [promoted(given, kind)] * 2

    def forward(self, xp: Any, x1: Array, x2: Array, *, side: str) -> Array:
        if x1.ndim != 1:
            self.infer(x1, x2, side=side)
        if dtypes.is_half(x1.dtype):
            x1, x2 = x1.astype(dtypes.float32), x2.astype(dtypes.float32)
        return xp.asarray(xp.searchsorted(x1, x2, side=side)).astype(dtypes.int32)

    def infer(self, x1: Aval, x2: Aval, *, side: str) -> Aval:
        if len(x1.shape) != 1:
            raise ShapeError(f"searchsorted: x1 is one ascending row, not of shape {x1.shape}")
        return Aval(x2.shape, dtypes.int32)


searchsorted = Searchsorted()


class UniqueAll(NamedTuple):
    """What `unique_all` finds."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` finds."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` finds."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: TensorLike, /) -> UniqueAll:
    """The different values of x in ascending order; where each is first, among all elements in
    order; for each element of x which value it has; and how often each occurs (int32).

    NaN differs from NaN; 0.0 and -0.0 are equal. It has no gradient. Its shape depends on data, so
    it cannot be compiled.

    >>> unique_all([3, 1, 3]).inverse_indices
    Tensor([1, 0, 1], dtype=int32)
    """
    x = conversion.as_tensor(x)
    array = x._device.to_numpy(x._data)
    found = np.unique(
        array, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    values, indices, inverse, counts = found
    parts = (values, indices, inverse.reshape(array.shape), counts)
    dtypes_ = (x.dtype, *(dtypes.int32,) * 3)
    return UniqueAll(
        *[
            tensors.wrap(type(x), x._device.from_numpy(part.astype(dtype)), x._device, None)
            for part, dtype in zip(parts, dtypes_, strict=True)
        ]
    )


def unique_counts(x: TensorLike, /) -> UniqueCounts:
    """The different values of x in ascending order, and how often each occurs; see `unique_all`.

    >>> unique_counts([3, 1, 3])
    UniqueCounts(values=Tensor([1, 3], dtype=int32), counts=Tensor([1, 2], dtype=int32))
    """
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: TensorLike, /) -> UniqueInverse:
    """The different values of x in ascending order, and for each element of x which of them it is:
    `values[inverse_indices]` is x. See `unique_all`.

    >>> unique_inverse([3, 1, 3]).inverse_indices
    Tensor([1, 0, 1], dtype=int32)
    """
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: TensorLike, /) -> Tensor:
    """The different values of x in ascending order; see `unique_all`.

    >>> unique_values([3, 1, 3])
    Tensor([1, 3], dtype=int32)
    """
    return unique_all(x).values


def bincount(x: TensorLike, /, weights: TensorLike | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, ... occurs in a row of integers, up to the largest, and at least
    `minlength` of them; with `weights`, the sum of the weights of those places.

    Counts are int32, sums have the dtype of the weights. The gradient of a sum goes to each of its
    weights; x has none. The shape depends on data, so it cannot be compiled. Raises DtypeError
    unless x is of integers, ShapeError unless it is one row and the weights fit, OutOfRangeError
    for a negative one.

    >>> bincount([1, 0, 1]), bincount([1, 0, 1], weights=[0.5, 1.0, 2.0], minlength=3)
    (Tensor([1, 2], dtype=int32), Tensor([1. , 2.5, 0. ], dtype=float32))
    """
    x, *rest = conversion.as_tensors(*([x] if weights is None else [x, weights]))
    if dtypes.kind(x.dtype) not in "iu" and x.size:
        raise DtypeError(f"bincount: x holds integers, not {x.dtype}")
    if x.ndim != 1:
        raise ShapeError(f"bincount: x is one row, not of shape {x.shape}")
    minlength = whole("bincount", "minlength", minlength, 0)
    places = x._device.to_numpy(x._data)
    if places.size and places.min() < 0:
        raise OutOfRangeError(f"bincount: x counts from 0, and holds {places.min()}")
    length = max(minlength, int(places.max()) + 1 if places.size else 0)
    if not rest:
        counts = np.bincount(places.astype(np.int64), minlength=length).astype(np.int32)
        return tensors.wrap(type(x), x._device.from_numpy(counts), x._device, None)
    (given,) = rest
    if given.shape != x.shape:
        raise ShapeError(f"bincount: weights of shape {given.shape} do not fit x, {x.shape}")
    return apply(_put, given, x.astype("int32"), size=length, axis=0, distinct=False)
