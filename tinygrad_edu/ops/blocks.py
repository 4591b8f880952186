"""NumPy computes one operation at a time; here several of them go over an array block by block, so
that what lies between them stays in the processor's cache. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends import Array

BLOCK = 1 << 20
"""Elements a block: a few arrays of so many float32 fit the last cache, their memory comes without
asking the system, and NumPy's cost for a call is nothing beside the work."""

# Arrays of some megabytes, freed, go back to the system, and taking them again page by page costs
# three times what most operations do. The C library of Linux keeps them once it has seen one of up
# to 32 MiB come and go. (Memory that nobody writes to is not really taken.)
np.empty((1 << 25) - (1 << 16), np.uint8)


def in_blocks(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`compute`, an elementwise function of NumPy arrays (and numbers), block by block where the
    arrays are large. It gives each element what it would give it in one go.

    >>> large = np.linspace(0, 1, 3_000_000)
    >>> bool((in_blocks(lambda x, y: x * y + 1)(large, 2.0) == large * 2 + 1).all())
    True
    """

    def put(found: np.ndarray, *operands: Any) -> None:
        found[:] = compute(*operands)

    return _in_blocks(compute, put)


def in_blocks_of_out(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """As `in_blocks`, for a function that takes `out`, memory for its result."""

    def put(found: np.ndarray, *operands: Any) -> None:
        compute(*operands, out=found)

    return _in_blocks(compute, put)


def _in_blocks(
    compute: Callable[..., np.ndarray], put: Callable[..., None]
) -> Callable[..., np.ndarray]:
    def blocked(*operands: Any) -> np.ndarray:
        for x in operands:
            if x.__class__ is np.ndarray and x.size > BLOCK:
                break
        else:
            return compute(*operands)
        shape, size = x.shape, x.size
        if any([np.ndim(y) and y.shape != shape for y in operands]):
            return compute(*operands)
        flat = [x.reshape(-1) if isinstance(x, np.ndarray) and x.ndim else x for x in operands]
        first = compute(*_part(flat, 0))
        found = np.empty(size, first.dtype)
        found[:BLOCK] = first
        for start in range(BLOCK, size, BLOCK):
            put(found[start : start + BLOCK], *_part(flat, start))
        return found.reshape(shape)

    return blocked


def _part(operands: list[Any], start: int) -> list[Any]:
    """The block from `start` on of each array; numbers, and arrays without axes, as they are."""
    return [
        x[start : start + BLOCK] if isinstance(x, np.ndarray) and x.ndim else x for x in operands
    ]


def at_most(xp: Any, x: Array, top: float) -> Array:
    """The smaller of x and a number. NumPy's minimum with a number is four times as slow as its
    clip, but for small arrays."""
    return x.clip(-np.inf, top) if xp is np and x.size > 2000 else xp.minimum(x, top)


def at_least(xp: Any, x: Array, bottom: float, out: Any = None) -> Array:
    """The larger of x and a number; see `at_most`. `out` is memory for it, an array of NumPy's."""
    if xp is not np:
        return xp.maximum(x, bottom)
    return x.clip(bottom, np.inf, out=out) if x.size > 2000 else np.maximum(x, bottom, out=out)


def not_below(xp: Any, x: Array, bottom: float) -> Array:
    """As `at_least`, but x itself where none of it is smaller, which NumPy can tell in less time
    than it takes to copy."""
    if xp is not np or x.size <= 2000:
        return xp.maximum(x, bottom)
    return x if x.min() >= bottom else x.clip(bottom, np.inf)


def not_above(xp: Any, x: Array, top: float) -> Array:
    """As `at_most`, but x itself where none of it is larger."""
    if xp is not np or x.size <= 2000:
        return xp.minimum(x, top)
    return x if x.max() <= top else x.clip(-np.inf, top)
