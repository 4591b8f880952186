"""What kernels of several families share: steps over their own temporaries, without a copy."""

from __future__ import annotations

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


def top(xp: Any, x: Array, axis: tuple[int, ...]) -> Array:
    """The largest along axes, which stay in place."""
    if xp is np:
        return _maximum(x, axis, None, None, True)
    return xp.max(x, axis=axis, keepdims=True)


def total(xp: Any, x: Array, axis: tuple[int, ...]) -> Array:
    """The sum along axes, which stay in place."""
    if xp is np:
        return _add(x, axis, None, None, True)
    return xp.sum(x, axis=axis, keepdims=True)


def in_float32(xp: Any, forward: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel that computes halves in float32."""
    wide = dtypes.float32

    def compute(x: Array, *others: Array, **params: Any) -> Array:
        dtype = x.dtype
        if dtype.itemsize > 2:
            return forward(xp, x, *others, **params)
        others = tuple([y.astype(wide) if hasattr(y, "astype") else y for y in others])
        return forward(xp, x.astype(wide), *others, **params).astype(dtype)

    return compute
