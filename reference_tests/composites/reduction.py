"""Reductions that are composed of other operations, and their counterparts."""

from __future__ import annotations

from typing import Any

from tinygrad_edu import ops

from ..calls import call
from .row import Row

_AXES = (
    call((), axis=None, keepdims=False),
    call((3,), axis=0, keepdims=True),
    call((2, 3), axis=(-1,), keepdims=False),
    call((2, 1, 3), axis=(0, -1), keepdims=True),
    call((2, 3), axis=None, keepdims=False),
)


def _reduced(function: Any) -> Any:
    """The function with `axis` and `keepdims` by name, as the frameworks' calls have them."""
    return lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims)


COMPOSITES: dict[str, Row] = {
    "count_nonzero": Row(
        _reduced(ops.count_nonzero),
        {
            "tensorflow": "math.count_nonzero",
            "torch": lambda torch, x, axis, keepdims: (x != 0).sum(axis, keepdims),
            "jax": "numpy.count_nonzero",
        },
        _AXES,
    ),
    "nanmax": Row(_reduced(ops.nanmax), {"jax": "numpy.nanmax"}, _AXES),
    "nanmean": Row(
        _reduced(ops.nanmean),
        {
            "torch": lambda torch, x, axis, keepdims: torch.nanmean(x, axis, keepdims),
            "jax": "numpy.nanmean",
        },
        _AXES,
    ),
    "nanmin": Row(_reduced(ops.nanmin), {"jax": "numpy.nanmin"}, _AXES),
    "nansum": Row(
        _reduced(ops.nansum),
        {
            "torch": lambda torch, x, axis, keepdims: torch.nansum(x, axis, keepdims),
            "jax": "numpy.nansum",
        },
        _AXES,
    ),
}
