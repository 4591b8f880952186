"""What kernels of several families share: steps over their own temporaries, without a copy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import Array

# Their types say that keepdims is given by name, which takes longer.
_maximum: Any = np.maximum.reduce
_add: Any = np.add.reduce


def onto(function: Callable[..., Array], x: Array) -> Array:
    """A function of a kernel's own temporary, written over it where there is an array to write to:
    NumPy's, not one of its scalars, nor JAX's, which do not change."""
    return function(x, x) if isinstance(x, np.ndarray) else function(x)


def into(function: Callable[..., Array], x: Array, out: Any) -> Array:
    """A function of an array, in the memory `out` if there is any."""
    return function(x) if out is None else function(x, out)


def times(x: Array, factor: Array) -> Array:
    """A kernel's own temporary times an array, which may be larger; in the temporary's place where
    that is possible."""
    if isinstance(x, np.ndarray) and (x.shape == factor.shape or not factor.ndim):
        return np.multiply(x, factor, x)
    return x * factor


def top(xp: Any, x: Array, axis: tuple[int, ...]) -> Array:
    """The largest along axes, which stay in place."""
    if xp is not np:
        return xp.max(x, axis=axis, keepdims=True)
    if _of_rows(x, axis) and x.shape[-1] <= _SHORT:
        return _maximum(_turned(x), 0).reshape(*x.shape[:-1], 1)
    return _maximum(x, axis, None, None, True)


def total(xp: Any, x: Array, axis: tuple[int, ...]) -> Array:
    """The sum along axes, which stay in place."""
    if xp is not np:
        return xp.sum(x, axis=axis, keepdims=True)
    rows = axis == (x.ndim - 1,)
    if rows and 0 < x.size <= _EXACT and x.dtype.char in "fd":
        size = x.shape[-1]
        return x.reshape(-1, size).dot(row_of_ones(size, x.dtype)).reshape(*x.shape[:-1], 1)
    if _of_rows(x, axis) and x.shape[-1] <= _SHORT:
        return _add(_turned(x), 0).reshape(*x.shape[:-1], 1)
    if _of_rows(x, axis) and x.shape[-1] <= _EXACT and x.dtype.char in "fd":
        return np.vecdot(x, row_of_ones(x.shape[-1], x.dtype))[..., None]
    return _add(x, axis, None, None, True)


def sum_up(x: np.ndarray, axis: tuple[int, ...], dtype: Any, out: None, keepdims: bool) -> Any:
    """NumPy's sum along axes, in the quickest way."""
    if keepdims or x.dtype is not dtype:
        return _add(x, axis, dtype, out, keepdims)
    return summing(x.shape, axis, dtype)(x)


@functools.lru_cache(maxsize=256)
def summing(
    shape: tuple[int, ...], axis: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[np.ndarray], Any]:
    """What sums arrays of a shape along axes. BLAS adds up small arrays of floats in a third of
    NumPy's time; and columns more exactly, for NumPy adds up each row by row."""
    size = math.prod(shape)
    if dtype.char in "fd":
        if len(axis) == len(shape):
            if 1 < size <= _EXACT:  # of one number NumPy's dot is -0.0 where its sum is 0.0
                ones = row_of_ones(size, dtype)
                return lambda x: ones.dot(x.ravel())
            if size > _EXACT and dtype.char == "f":
                return _sum_of_all
        elif len(shape) == 2 and axis and size <= _EXACT:
            ones = row_of_ones(shape[axis[0]], dtype)
            return (lambda x: x.dot(ones)) if axis[0] else ones.dot
    return lambda x: _add(x, axis, dtype)


def _sum_of_all(x: np.ndarray) -> Any:
    return _sum_of_sums(x.ravel()) if x.flags.c_contiguous else _add(x, None)


def _sum_of_sums(x: np.ndarray) -> Any:
    """The sum of one long row, of which BLAS adds up part after part."""
    ones, whole = row_of_ones(_EXACT, x.dtype), x.size // _EXACT * _EXACT
    parts = np.vecdot(x[:whole].reshape(-1, _EXACT), ones)
    return _add(parts) + x[whole:].dot(ones[: x.size - whole])


_SHORT = 32
"""Elements of a row up to which it pays to turn rows into columns: to begin a row takes NumPy's
reductions as long as a hundred elements."""

_EXACT = 8192
"""Elements of which BLAS's sum is as exact as NumPy's, and made by one thread."""


def _of_rows(x: np.ndarray, axis: tuple[int, ...]) -> bool:
    """Whether what is reduced are the rows, and several of them."""
    return axis == (x.ndim - 1,) and x.size >= 16 * x.shape[-1] > 0


def _turned(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T)


@functools.lru_cache
def row_of_ones(count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """What BLAS adds up rows with."""
    return np.ones(count, dtype)


def dots(xp: Any, x: Array, y: Array, axis: tuple[int, ...]) -> Array:
    """The sum of x * y along axes, which stay in place."""
    if xp is np and axis == (x.ndim - 1,):
        return np.vecdot(x, y)[..., None]  # by BLAS, with no product in memory
    return total(xp, x * y, axis)


_BITS = {2: np.dtype("int16"), 4: np.dtype("int32"), 8: np.dtype("int64")}


def kept(xp: Any, x: Array, mask: Array) -> Array:
    """Floats where a mask holds, else 0, whatever they are: also for infinite ones, and NaN."""
    if xp is not np:
        return xp.where(mask, x, x.dtype.type(0))
    # The bits of x times 0 or 1: a tenth of the time that NumPy's `where` takes.
    bits = _BITS[x.dtype.itemsize]
    return np.multiply(x.view(bits), mask.astype(bits)).view(x.dtype)


def in_float32(xp: Any, forward: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel that computes halves in float32."""
    wide = dtypes.float32

    def compute(x: Array, *others: Array, **params: Any) -> Any:
        dtype = x.dtype
        if dtype.itemsize > 2:
            return forward(xp, x, *others, **params)
        out = params.pop("out", None)
        others = tuple([y.astype(wide) if hasattr(y, "astype") else y for y in others])
        found = forward(xp, x.astype(wide), *others, **params)
        if out is not None:
            out[...] = found
            return out
        if isinstance(found, tuple):
            return tuple([each.astype(dtype) for each in found])
        return found.astype(dtype)

    return compute


def constants(xp: Any, x: Array, *values: float) -> tuple[Any, ...]:
    """Numbers for the steps of a kernel with x. As arrays without axes NumPy takes them in half the
    time."""
    return _arrays(x.dtype, values) if xp is np else values


@functools.lru_cache
def _arrays(dtype: np.dtype[Any], values: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    return tuple([np.array(value, dtype) for value in values])


def alone(y: Any) -> float:
    """The number that y is, or holds if it is an array without axes; of any other array NaN, for
    which no comparison holds."""
    return math.nan if getattr(y, "ndim", 0) else float(y)
