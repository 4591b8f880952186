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

_SPREADS = (
    call((3,), axis=0, correction=0, keepdims=True),
    call((2, 3), axis=(-1,), correction=1, keepdims=False),
    call((2, 1, 3), axis=(0, -1), correction=0, keepdims=True),
    call((2, 3), axis=None, correction=1, keepdims=False),
)


def _all(x: Any, axis: Any) -> Any:
    return tuple(range(x.ndim)) if axis is None else axis


def _tensorflow_variance(tf: Any, x: Any, axis: Any, correction: int, keepdims: bool) -> Any:
    """TensorFlow's variance knows no correction."""
    found = tf.math.reduce_variance(x, axis, keepdims)
    count = int(tf.size(x)) // max(int(tf.size(found)), 1)
    return found * (count / (count - correction))


COMPOSITES: dict[str, Row] = {
    "logsumexp": Row(
        lambda x, axis, keepdims: ops.logsumexp(x, axis=axis, keepdims=keepdims),
        {
            "tensorflow": "reduce_logsumexp",
            "torch": lambda torch, x, axis, keepdims: torch.logsumexp(x, _all(x, axis), keepdims),
            "jax": "nn.logsumexp",
        },
        _AXES,
    ),
    "std": Row(
        lambda x, **params: ops.std(x, **params),
        {
            "tensorflow": lambda tf, *x, **params: tf.sqrt(_tensorflow_variance(tf, *x, **params)),
            "torch": lambda torch, x, axis, correction, keepdims: torch.std(
                x, axis, correction=correction, keepdim=keepdims
            ),
            "jax": "numpy.std",
        },
        _SPREADS,
    ),
    "var": Row(
        lambda x, **params: ops.var(x, **params),
        {
            "tensorflow": _tensorflow_variance,
            "torch": lambda torch, x, axis, correction, keepdims: torch.var(
                x, axis, correction=correction, keepdim=keepdims
            ),
            "jax": "numpy.var",
        },
        _SPREADS,
    ),
}
