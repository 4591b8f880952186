"""What is read off a sorted array, and its counterparts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.references import integers

from ..calls import call
from .row import Row

_SORTED = (
    call((5,), axis=-1, descending=False),
    call((5,), axis=0, descending=True),
    call((4, 3), axis=0, descending=True),
    call((2, 5, 1), axis=1, descending=False),
    call((0, 3), axis=-1, descending=False),
)
_LARGEST = (call((5,), k=2), call((2, 4), k=4), call((3, 1, 4), k=1), call((2, 3), k=0))
_MIDDLES = (
    call((), axis=None, keepdims=False),
    call((5,), axis=0, keepdims=True),
    call((2, 4), axis=-1, keepdims=False),
    call((2, 3, 4), axis=(0, 2), keepdims=True),
    call((2, 3, 2), axis=(0, 1), keepdims=False),
    call((2, 3), axis=None, keepdims=False),
)
_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")
_SHARES = (
    *(call((5,), q=0.3, axis=0, method=method, keepdims=False) for method in _METHODS),
    *(call((4,), q=0.5, axis=0, method=method, keepdims=False) for method in _METHODS),
    call((2, 5), q=(0.0, 0.2, 1.0), axis=-1, method="linear", keepdims=True),
    call((2, 3, 2), q=0.9, axis=(0, 2), method="linear", keepdims=False),
    call((2, 3, 2), q=0.5, axis=(0, 1), method="linear", keepdims=False),
    call((2, 3), q=(0.25,), axis=None, method="linear", keepdims=False),
)
_WHOLE = (call((6,)), call((2, 3)), call((0,)), call(()))
_PLACES = (0, 2, 2, 1, 0, 5)


def _torch_quantile(torch: Any, x: Any, q: Any, axis: Any, method: str, keepdims: bool) -> Any:
    """PyTorch's takes one axis, or all."""
    named = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = sorted([a % x.ndim for a in named])
    rest = [i for i in range(x.ndim) if i not in axes]
    rows = x.permute([*rest, *axes]).reshape([*[x.shape[i] for i in rest], -1])
    shares = torch.tensor(q, dtype=x.dtype)
    found = torch.quantile(rows, shares, -1, interpolation=method)
    shape = [1 if i in axes else s for i, s in enumerate(x.shape) if keepdims or i not in axes]
    return found.reshape([*shares.shape, *shape])


def _joined(parts: Any, join: Any) -> Any:
    """Several arrays of integers as one row."""
    return join([part.reshape(-1) for part in parts])


def _torch_unique(torch: Any, x: Any) -> Any:
    values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
    return values, inverse.int(), counts.int()


COMPOSITES: dict[str, Row] = {
    "bincount": Row(
        lambda weights, minlength: ops.bincount(_PLACES, weights=weights, minlength=minlength),
        {
            "tensorflow": lambda tf, weights, minlength: tf.math.unsorted_segment_sum(
                weights, _PLACES, max(minlength, 6)
            ),
            "torch": lambda torch, weights, minlength: weights.new_zeros(
                max(minlength, 6)
            ).index_add(0, torch.tensor(_PLACES), weights),
            "jax": lambda jax, weights, minlength: jax.numpy.bincount(
                np.array(_PLACES), weights, minlength=minlength, length=max(minlength, 6)
            ),
        },
        (call((6,), minlength=0), call((6,), minlength=8)),
    ),
    "bincount_counts": Row(
        lambda x, minlength: ops.bincount(x, minlength=minlength),
        {
            "tensorflow": lambda tf, x, minlength: tf.math.bincount(
                tf.cast(x, "int32"), minlength=minlength
            ),
            "torch": lambda torch, x, minlength: torch.bincount(x, minlength=minlength),
            "jax": lambda jax, x, minlength: jax.numpy.bincount(x, minlength=minlength),
        },
        (call((6,), minlength=0), call((0,), minlength=3), call((5,), minlength=8)),
        integers(0, 6),
    ),
    "median": Row(
        lambda x, axis, keepdims: ops.median(x, axis=axis, keepdims=keepdims),
        {
            "torch": lambda torch, x, axis, keepdims: _torch_quantile(
                torch, x, 0.5, axis, "linear", keepdims
            ),
            "jax": "numpy.median",
        },
        _MIDDLES,
    ),
    "quantile": Row(
        lambda x, q, **params: ops.quantile(x, q, **params),
        {
            "torch": _torch_quantile,
            "jax": lambda jax, x, q, **params: jax.numpy.quantile(x, np.array(q), **params),
        },
        _SHARES,
    ),
    "sort": Row(
        lambda x, axis, descending: ops.sort(x, axis=axis, descending=descending),
        {
            "tensorflow": lambda tf, x, axis, descending: tf.sort(
                x, axis, "DESCENDING" if descending else "ASCENDING"
            ),
            "torch": lambda torch, x, axis, descending: (
                torch.sort(x, dim=axis, descending=descending, stable=True).values
            ),
            "jax": "numpy.sort",
        },
        _SORTED,
    ),
    "top_k": Row(
        lambda x, k: ops.top_k(x, k).values,
        {
            "tensorflow": lambda tf, x, k: tf.math.top_k(x, k).values,
            "torch": lambda torch, x, k: torch.topk(x, k).values,
            "jax": lambda jax, x, k: jax.lax.top_k(x, k)[0],
        },
        _LARGEST,
    ),
    "top_k_indices": Row(
        lambda x, k: ops.top_k(x, k).indices,
        {
            "tensorflow": lambda tf, x, k: tf.math.top_k(x, k).indices,
            "jax": lambda jax, x, k: jax.lax.top_k(x, k)[1],
        },
        _LARGEST,
    ),
    "unique_all": Row(
        lambda x: _joined([part.astype("int32") for part in ops.unique_all(x)], ops.concat),
        {
            "jax": lambda jax, x: _joined(
                [part.astype("int32") for part in jax.numpy.unique_all(x)], jax.numpy.concatenate
            )
        },
        _WHOLE,
        integers(-2, 3),
    ),
    "unique_counts": Row(
        lambda x: _joined([part.astype("int32") for part in ops.unique_counts(x)], ops.concat),
        {
            "torch": lambda torch, x: _joined(
                [part.int() for part in _torch_unique(torch, x)[::2]], torch.cat
            ),
            "jax": lambda jax, x: _joined(
                [part.astype("int32") for part in jax.numpy.unique_counts(x)],
                jax.numpy.concatenate,
            ),
        },
        _WHOLE,
        integers(-2, 3),
    ),
    "unique_inverse": Row(
        lambda x: ops.unique_inverse(x).inverse_indices,
        {
            "torch": lambda torch, x: _torch_unique(torch, x)[1],
            "jax": lambda jax, x: jax.numpy.unique_inverse(x).inverse_indices,
        },
        _WHOLE,
        integers(-2, 3),
    ),
    "unique_values": Row(
        ops.unique_values,
        {
            "torch": lambda torch, x: torch.unique(x),
            "jax": lambda jax, x: jax.numpy.unique_values(x),
        },
        _WHOLE,
        integers(-2, 3),
    ),
}
