"""Running extremes and differences, and their counterparts."""

from __future__ import annotations

from typing import Any

from tinygrad_edu import ops

from ..calls import call
from .row import Row

_ALONG = (
    call((5,), axis=0),
    call((2, 4), axis=-1),
    call((4, 1, 2), axis=0),
    call((0, 3), axis=1),
    call((0, 3), axis=0),
)


_ENDS = ("prepend", "append")


def _torch_diff(torch: Any, x: Any, *ends: Any, **params: Any) -> Any:
    return torch.diff(x, params["n"], params["axis"], **dict(zip(_ENDS, ends, strict=False)))


def _numpy_diff(diff: Any) -> Any:
    return lambda x, *ends, n, axis: diff(x, n=n, axis=axis, **dict(zip(_ENDS, ends, strict=False)))


COMPOSITES: dict[str, Row] = {
    "cummax": Row(
        lambda x, axis: ops.cummax(x, axis=axis),
        {
            "torch": lambda torch, x, axis: torch.cummax(x, axis).values,
            "jax": lambda jax, x, axis: jax.lax.cummax(x, axis % x.ndim),
        },
        _ALONG,
    ),
    "cummin": Row(
        lambda x, axis: ops.cummin(x, axis=axis),
        {
            "torch": lambda torch, x, axis: torch.cummin(x, axis).values,
            "jax": lambda jax, x, axis: jax.lax.cummin(x, axis % x.ndim),
        },
        _ALONG,
    ),
    "diff": Row(
        _numpy_diff(ops.diff),
        {
            "torch": lambda torch, x, *ends, n, axis: _torch_diff(torch, x, *ends, n=n, axis=axis),
            "jax": lambda jax, *xs, **params: _numpy_diff(jax.numpy.diff)(*xs, **params),
        },
        (
            call((4,), n=1, axis=-1),
            call((3, 4), n=2, axis=0),
            call((3, 2), n=0, axis=1),
            call((2, 3), (2, 1), n=1, axis=1),
            call((2, 3), (1, 3), (2, 3), n=2, axis=0),
            call((0, 3), n=1, axis=1),
        ),
    ),
}
