"""Operations that run along one axis and keep what they have at each step: sums, products and
extremes so far; and differences, which undo a sum.

Without an axis they take an array of one dimension, as the array API has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import conversion, dtypes
from ..arguments import normalize_axis, whole
from ..backends import Array
from ..dispatch import apply, unary
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, DtypeError, ShapeError
from ..op import Aval, Op
from ..references import example
from ..tensors import Tensor, TensorLike
from .creation import full, ones, zeros
from .elementwise import astype
from .movement import concat
from .reduction import accumulator, summand
from .sorting import take_places

__all__ = [
    "cummax",
    "cummin",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
]


def one_axis(name: str, axis: int | None, ndim: int) -> int:
    """The axis to run along: the only one, unless it is named. Raises ArgumentError, for the
    function `name`, where there is none, or several to choose from."""
    if axis is not None:
        return normalize_axis(name, axis, ndim)
    if ndim != 1:
        raise ArgumentError(
            f"{name}: without an axis it takes one dimension; name an axis of these {ndim}"
        )
    return 0


def _part(axis: int, start: int | None, stop: int | None, step: int | None = None) -> Any:
    """An index that takes a slice of this axis, and all of the others."""
    return (*(slice(None),) * axis, slice(start, stop, step))


class _Accumulation(Op, abstract=True):
    """Base of the running sums and products: narrow integers become 32-bit ones first, halves
    accumulate in float32. `neutral` is what they start from."""

    axes = ("axis",)
    arity = 1
    function: str
    ufunc: str
    neutral: int
    examples = (
        example((3,), axis=None),
        example((1,), axis=0, include_initial=True),
        example((2, 3), axis=-1, include_initial=True),
        example((4, 3), axis=0),
        example((2, 1, 5), axis=2),
        example((0, 3), axis=0, include_initial=True),
        example((0, 3), axis=1),
    )

    def __call__(
        self,
        x: TensorLike,
        /,
        *,
        axis: int | None = None,
        dtype: DTypeLike = None,
        include_initial: bool = False,
    ) -> Tensor:
        if dtype is not None:
            x, wanted = summand(self.name, x, dtype)
            found = self(x, axis=axis, include_initial=include_initial)
            return astype(found, wanted)
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
        axis = one_axis(self.name, axis, x._data.ndim)
        found = unary(self, x, {"axis": axis, "reverse": False})
        if not include_initial:
            return found
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        start = full(shape, self.neutral, dtype=found.dtype, device=found.device)
        return concat([start, found], axis=axis)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [accumulator(given[0])]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        def compute(x: Array, *, axis: int, reverse: bool) -> Array:
            turned = _part(axis, None, None, -1)
            wide = dtypes.float32 if x.dtype.itemsize == 2 else x.dtype
            if xp is np and x.size > 4096 and self.ufunc == "add" and axis == x.ndim - 1:
                return _added_up(x, wide, reverse).astype(x.dtype, copy=False)
            given = x[turned] if reverse else x
            if xp is np:
                found = getattr(np, self.ufunc).accumulate(given, axis, wide)
            else:
                found = getattr(xp, self.function)(given, axis=axis, dtype=wide)
            found = found[turned] if reverse else found
            return found.astype(x.dtype, copy=False) if wide is not x.dtype else found

        return compute

    def infer(self, x: Aval, *, axis: int, reverse: bool) -> Aval:
        return Aval(x.shape, accumulator(x.dtype))


def _added_up(x: np.ndarray, dtype: DType, reverse: bool) -> np.ndarray:
    """The running sum along the last axis, in a third of NumPy's time, where each sum waits for the
    last one, and closer: sums of 2, of 4, of 8 neighbours, each of two of half as many.

    Source: W. D. Hillis, G. L. Steele, Data parallel algorithms, Communications of the ACM 29
    (1986), 1170-1183.
    """
    *lead, size = x.shape
    if size > 4 * _GROUP:
        groups = np.zeros((*lead, -(-size // _GROUP), _GROUP), dtype)
        groups.reshape((*lead, -1))[..., :size] = x
        groups = _added_up(groups, dtype, reverse)
        sums, later = groups[..., :-1, -1], groups[..., 1:, :]
        if reverse:
            sums, later = groups[..., 1:, 0], groups[..., :-1, :]
        later += _added_up(sums, dtype, reverse)[..., None]
        return groups.reshape((*lead, -1))[..., :size]
    rows = np.ascontiguousarray(x, dtype).reshape(-1, size)
    found = np.empty(rows.shape, dtype)
    step = min(max(1, _BLOCK // size), len(rows))
    spare = np.empty((step, size), dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # for what is not kept
        for start in range(0, len(rows), step):
            _add_up_rows(rows[start : start + step], found[start : start + step], spare, reverse)
    return found.reshape(x.shape)


_GROUP = 256
_BLOCK = 1 << 18  # elements, a few of which stay in the cache


def _add_up_rows(x: np.ndarray, found: np.ndarray, spare: np.ndarray, reverse: bool) -> None:
    """The running sums of rows, from one array to the other and back, so that they end in `found`.
    All rows are taken for one, and where a sum would reach into another row it is put right."""
    size = x.shape[1]
    passes = max(1, (size - 1).bit_length())
    places = (spare[: len(x)], found) if passes % 2 == 0 else (found, spare[: len(x)])
    for i in range(passes):
        by, new = 1 << i, places[i % 2]
        sums, far, own = slice(by, None), slice(None, -by), slice(None, by)
        if reverse:
            sums, far, own = far, sums, slice(-by, None)
        flat = x.reshape(-1)
        np.add(flat[sums], flat[far], out=new.reshape(-1)[sums])
        new[:, own] = x[:, own]
        x = new


class CumulativeSum(_Accumulation):
    """The sum of the elements along an axis up to each of them.

    `include_initial` puts the sum of none, 0, in front. `dtype` is that of the result; x is
    converted to it first. Without an axis, x has one dimension.

    >>> cumulative_sum([1, 2, 3]), cumulative_sum([1, 2, 3], include_initial=True)
    (Tensor([1, 3, 6], dtype=int32), Tensor([0, 1, 3, 6], dtype=int32))
    """

    function, ufunc, neutral = "cumsum", "add", 0
    gradients = (
        lambda g, _, x, axis, reverse: cumulative_sum.of(g, axis=axis, reverse=not reverse),
    )
    on_arrays = True
    references = {
        "tensorflow": lambda tf, x, axis, include_initial=False: tf.math.cumsum(
            tf.concat([tf.zeros_like(tf.reduce_sum(x, axis, True)), x], axis)
            if include_initial
            else x,
            axis or 0,
        ),
        "torch": lambda torch, x, axis, include_initial=False: torch.cumsum(
            torch.cat([torch.zeros_like(x.sum(axis, True)), x], axis) if include_initial else x,
            axis or 0,
        ),
        "jax": "numpy.cumulative_sum",
    }


cumulative_sum = CumulativeSum()


class CumulativeProd(_Accumulation):
    """The product of the elements along an axis up to each of them.

    `include_initial` puts the product of none, 1, in front. `dtype` is that of the result; x is
    converted to it first. Without an axis, x has one dimension. The gradient is right, to any
    order, where factors are zero.

    >>> cumulative_prod([1, 2, 3], include_initial=True)
    Tensor([1, 1, 2, 6], dtype=int32)
    """

    function, ufunc, neutral = "cumprod", "multiply", 1
    gradients = (lambda g, _, x, axis, reverse: _of_products(g, x, axis),)
    references = {
        "tensorflow": lambda tf, x, axis, include_initial=False: tf.math.cumprod(
            tf.concat([tf.ones_like(tf.reduce_sum(x, axis, True)), x], axis)
            if include_initial
            else x,
            axis or 0,
        ),
        "torch": lambda torch, x, axis, include_initial=False: torch.cumprod(
            torch.cat([torch.ones_like(x.sum(axis, True)), x], axis) if include_initial else x,
            axis or 0,
        ),
        "jax": "numpy.cumulative_prod",
    }


cumulative_prod = CumulativeProd()


def _of_products(g: Tensor, x: Tensor, axis: int) -> Tensor:
    """The gradient of the running product.

    Element i is in every product from i on: its slope is what comes before it, times the sum over
    k from i on of g_k times the factors between i and k. That sum runs backwards: s_i = g_i +
    x_(i+1) s_(i+1). No division, so zeros do no harm.
    """
    size = x.shape[axis]
    if size < 2:
        return g
    one = ones((*x.shape[:axis], 1, *x.shape[axis + 1 :]), dtype=x.dtype, device=x.device)
    before = cumulative_prod(x[_part(axis, None, -1)], axis=axis)
    later = x[_part(axis, 1, None)]
    sums = apply(_recurrence, concat([later, one], axis=axis), g, axis=axis, reverse=True)
    return concat([one, before], axis=axis) * sums


class Recurrence(Op):
    """s_i = b_i + a_i s_(i-1) along an axis, starting from 0; in `reverse`, from the other end.

    Two steps are one step of the same kind, so pairs of neighbours halve the problem. Its gradient
    is a recurrence in the other direction.

    Source: G. E. Blelloch, Prefix Sums and Their Applications, CMU-CS-90-190, 1990, section 1.4.
    """

    axes = ("axis",)

    def forward(self, xp: Any, a: Array, b: Array, *, axis: int, reverse: bool) -> Array:
        step = -1 if reverse else 1
        dtype = b.dtype
        wide = dtypes.float32 if dtype.itemsize == 2 else dtype
        rows = [xp.moveaxis(x.astype(wide, copy=False), axis, 0)[::step] for x in (a, b)]
        found = self._solve(xp, *rows)
        return xp.moveaxis(found[::step], 0, axis).astype(dtype, copy=False)

    def _solve(self, xp: Any, a: Array, b: Array) -> Array:
        size = len(b)
        if size < 2:
            return b
        half = size // 2
        second = slice(1, 2 * half, 2)
        first = slice(0, 2 * half, 2)
        odd = self._solve(xp, a[second] * a[first], b[second] + a[second] * b[first])
        even = xp.concatenate([b[:1], b[2::2] + a[2::2] * odd[: len(b[2::2])]])
        if size % 2:
            odd = xp.concatenate([odd, odd[:1]])  # only to make up a pair
        whole = (2 * len(even), *b.shape[1:])
        return xp.stack([even, odd], axis=1).reshape(whole)[:size]

    def infer(self, a: Aval, b: Aval, *, axis: int, reverse: bool) -> Aval:
        return b

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        a, _ = inputs
        axis, reverse = params["axis"], params["reverse"]
        later = _shifted(a, axis, -1 if not reverse else 1)
        of_b = apply(_recurrence, later, cotangent, axis=axis, reverse=not reverse)
        if not needed[0]:
            return [None, of_b]
        return [of_b * _shifted(out, axis, 1 if not reverse else -1), of_b]


_recurrence = Recurrence()


def _shifted(x: Tensor, axis: int, by: int) -> Tensor:
    """x moved by one place along an axis, up (1) or down (-1), with 0 in the place that is left."""
    zero = zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), dtype=x.dtype, device=x.device)
    if by == 1:
        return concat([zero, x[_part(axis, None, -1)]], axis=axis)
    return concat([x[_part(axis, 1, None)], zero], axis=axis)


class RunningExtreme(Op):
    """Where, along an axis, the largest (`largest`) or smallest element up to each place is: the
    last one in a tie. The first NaN is taken for the extreme, from there on."""

    axes = ("axis",)
    no_gradient = "an index has no slope"

    def forward(self, xp: Any, x: Array, *, axis: int, largest: bool) -> Array:
        reach = _accumulated(xp, "maximum" if largest else "minimum", x, axis)
        size = x.shape[axis]
        places = xp.arange(size, dtype=dtypes.int32).reshape((-1, *(1,) * (x.ndim - axis - 1)))
        holds = x == reach
        last = reach[_part(axis, -1, None)]
        if size and dtypes.is_float(x.dtype) and (xp is not np or (last != last).any()):
            unknown = reach != reach
            before = xp.concatenate(
                [xp.zeros_like(unknown[_part(axis, None, 1)]), unknown[_part(axis, None, -1)]],
                axis=axis,
            )
            holds = holds | (unknown & ~before)
        return _accumulated(xp, "maximum", xp.where(holds, places, np.int32(0)), axis)

    def infer(self, x: Aval, *, axis: int, largest: bool) -> Aval:
        return Aval(x.shape, dtypes.int32)


_running_extreme = RunningExtreme()


def _accumulated(xp: Any, name: str, x: Array, axis: int) -> Array:
    """The ufunc of this name so far along an axis."""
    ufunc = getattr(xp, name)
    if xp is np:
        return np.asarray(ufunc.accumulate(x, axis))
    step = 1
    while step < x.shape[axis]:  # in log2(n) steps: each reaches twice as far back
        later = ufunc(x[_part(axis, step, None)], x[_part(axis, None, -step)])
        x = xp.concatenate([x[_part(axis, None, step)], later], axis=axis)
        step *= 2
    return x


def cummax(x: TensorLike, /, *, axis: int | None = None) -> Tensor:
    """The largest element along an axis up to each place; NaN from the first NaN on.

    Without an axis, x has one dimension. In a tie the gradient goes to the last of the equals so
    far, as in PyTorch (JAX shares it).

    >>> cummax([3, 1, 4, 1, 5])
    Tensor([3, 3, 4, 4, 5], dtype=int32)
    """
    return _run("cummax", x, axis, largest=True)


def cummin(x: TensorLike, /, *, axis: int | None = None) -> Tensor:
    """The smallest element along an axis up to each place; NaN from the first NaN on.

    Without an axis, x has one dimension. In a tie the gradient goes to the last of the equals so
    far, as in PyTorch (JAX shares it).

    >>> cummin([3, 1, 4, 1, 0])
    Tensor([3, 1, 1, 1, 0], dtype=int32)
    """
    return _run("cummin", x, axis, largest=False)


def _run(name: str, given: TensorLike, axis: int | None, largest: bool) -> Tensor:
    x = conversion.as_tensor(given)
    axis = one_axis(name, axis, x.ndim)
    return take_places(x, apply(_running_extreme, x, axis=axis, largest=largest), axis, False)


def diff(
    x: TensorLike,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: TensorLike | None = None,
    append: TensorLike | None = None,
) -> Tensor:
    """The differences between neighbours along an axis, `n` times over.

    `prepend` and `append` are put before and behind x first; they have its shape, except along the
    axis. Raises DtypeError for booleans, which have no difference, ArgumentError for a negative n.

    >>> diff([1, 4, 9, 16]), diff([1, 4, 9, 16], n=2)
    (Tensor([3, 5, 7], dtype=int32), Tensor([2, 2], dtype=int32))
    >>> diff([1, 4], prepend=[0])
    Tensor([1, 3], dtype=int32)
    """
    x = conversion.as_tensor(x)
    axis = normalize_axis("diff", axis, x.ndim)
    n = whole("diff", "n", n, 0)
    if x.dtype == dtypes.bool_:
        raise DtypeError("diff: booleans have no difference; convert them with .astype('int32')")
    parts = [conversion.as_tensor(p, like=x) for p in (prepend, x, append) if p is not None]
    for part in parts:
        shape = (*part.shape[:axis], *x.shape[axis : axis + 1], *part.shape[axis + 1 :])
        if part.ndim != x.ndim or shape != x.shape:
            raise ShapeError(
                f"diff: prepend and append have the shape of x, {x.shape}, except along axis "
                f"{axis}; this has {part.shape}"
            )
    found = concat(parts, axis=axis) if len(parts) > 1 else x
    for _ in range(min(n, found.shape[axis])):
        found = found[_part(axis, 1, None)] - found[_part(axis, None, -1)]
    return found
