"""What tests of jit have in common: compiled functions held against eager ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_edu as edu


def same(found: Any, wanted: Any) -> None:
    """Two nested structures hold the same numbers, of the same dtypes, to rounding."""
    these, structure = edu.tree.flatten(found)
    those, other = edu.tree.flatten(wanted)
    assert structure == other
    for x, y in zip(these, those, strict=True):
        assert type(x) is type(y)
        if not isinstance(y, edu.Tensor):
            assert x == y
            continue
        assert (x.dtype, x.shape, x.device) == (y.dtype, y.shape, y.device)
        np.testing.assert_allclose(
            x.numpy().astype("float64"), y.numpy().astype("float64"), rtol=1e-5, atol=1e-6
        )


def as_eager(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a jitted function gives, first traced and then found, held against the function."""
    jitted = edu.jit(function)
    wanted = function(*args, **kwargs)
    for _ in range(3):
        same(jitted(*args, **kwargs), wanted)
    assert jitted.cache_info()[:2] == (2, 1)
    return wanted
