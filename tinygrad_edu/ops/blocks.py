"""NumPy computes one operation at a time; here several of them go over an array block by block, so
that what lies between them stays in the processor's cache. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends import Array

BLOCK = 1 << 15
"""Elements a block: a few arrays of so many float32 fit the second-level cache, memory for them
comes without asking the system, and NumPy's cost for a call is small beside the work."""


def in_blocks(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`compute`, an elementwise function of NumPy arrays (and numbers), block by block where the
    arrays are large. It gives each element what it would give it in one go.

    >>> large = np.linspace(0, 1, 100_000)
    >>> bool((in_blocks(lambda x, y: x * y + 1)(large, 2.0) == large * 2 + 1).all())
    True
    """

    def blocked(*operands: Any) -> np.ndarray:
        shape = None
        for x in operands:
            if isinstance(x, np.ndarray) and x.ndim:
                if shape is None:
                    shape, size = x.shape, x.size
                if size <= BLOCK or x.shape != shape:
                    return compute(*operands)
        if shape is None:
            return compute(*operands)
        flat = [x.reshape(-1) if isinstance(x, np.ndarray) and x.ndim else x for x in operands]
        first = compute(*_part(flat, 0))
        found = np.empty(size, first.dtype)
        found[:BLOCK] = first
        for start in range(BLOCK, size, BLOCK):
            found[start : start + BLOCK] = compute(*_part(flat, start))
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
    if xp is np and x.size > 2000:
        return np.clip(x, -np.inf, top)
    return xp.minimum(x, top)
