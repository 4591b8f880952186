"""Linear algebra that is composed of other operations, and its counterparts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.references import real

from ..calls import call
from ..matrix_references import regular, separate, symmetric
from .row import Row

_UNIT = real(-1, 1)
_NOT_ZERO = real(-3, 3, away=(0,))

_ORDERS: tuple[Any, ...] = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
_MATRICES = tuple(call((2, 3), ord=order, keepdims=order == 1) for order in _ORDERS)


def _tensorflow_norm(tf: Any, x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    if ord == 2:
        return tf.sqrt(tf.reduce_sum(x * x, axis, keepdims))
    return tf.norm(x, ord, axis, keepdims)


COMPOSITES: dict[str, Row] = {
    "eigvalsh": Row(
        lambda x: ops.eigvalsh(symmetric(ops, x)),
        {
            "tensorflow": lambda tf, x: tf.linalg.eigvalsh(symmetric(tf, x)),
            "torch": lambda torch, x: torch.linalg.eigvalsh(symmetric(torch, x)),
            "jax": lambda jax, x: jax.numpy.linalg.eigvalsh(symmetric(jax, x)),
        },
        (call((3, 3)), call((2, 2, 2)), call((1, 1))),
        _UNIT,
    ),
    "matrix_norm": Row(
        lambda x, ord, keepdims: ops.matrix_norm(separate(ops, x), ord=ord, keepdims=keepdims),
        {
            "torch": lambda torch, x, ord, keepdims: torch.linalg.matrix_norm(
                separate(torch, x), ord or "fro", keepdim=keepdims
            ),
            "jax": lambda jax, x, ord, keepdims: jax.numpy.linalg.matrix_norm(
                separate(jax, x), ord=ord or "fro", keepdims=keepdims
            ),
        },
        (*_MATRICES, call((2, 3, 2), ord="fro", keepdims=True), call((1, 1), ord=2, keepdims=True)),
        _UNIT,
    ),
    "matrix_power": Row(
        lambda x, n: ops.matrix_power(regular(ops, x), n),
        {
            "torch": lambda torch, x, n: torch.linalg.matrix_power(regular(torch, x), n),
            "jax": lambda jax, x, n: jax.numpy.linalg.matrix_power(regular(jax, x), n),
        },
        (*[call((2, 2), n=n) for n in (-2, -1, 0, 1, 2, 3)], call((2, 3, 3), n=2)),
        _UNIT,
    ),
    "matrix_rank": Row(
        lambda x: ops.matrix_rank(separate(ops, x)),
        {
            "tensorflow": lambda tf, x: tf.linalg.matrix_rank(separate(tf, x)),
            "torch": lambda torch, x: torch.linalg.matrix_rank(separate(torch, x)),
            "jax": lambda jax, x: jax.numpy.linalg.matrix_rank(separate(jax, x)),
        },
        (call((3, 2)), call((2, 2, 3)), call((1, 1))),
        _UNIT,
    ),
    "norm": Row(
        lambda x, ord, axis, keepdims: ops.norm(x, ord, axis, keepdims),
        {
            "tensorflow": _tensorflow_norm,
            "torch": lambda torch, x, ord, axis, keepdims: torch.linalg.norm(
                x, ord, axis, keepdims
            ),
            "jax": lambda jax, x, ord, axis, keepdims: jax.numpy.linalg.norm(
                x, ord, axis, keepdims
            ),
        },
        (
            call((3,), ord=2, axis=0, keepdims=True),
            call((2, 3), ord=1, axis=-1, keepdims=False),
            call((2, 1, 3), ord=np.inf, axis=-1, keepdims=True),
        ),
        _NOT_ZERO,
    ),
    "svdvals": Row(
        lambda x: ops.svdvals(separate(ops, x)),
        {
            "tensorflow": lambda tf, x: tf.linalg.svd(separate(tf, x), compute_uv=False),
            "torch": lambda torch, x: torch.linalg.svdvals(separate(torch, x)),
            "jax": lambda jax, x: jax.numpy.linalg.svdvals(separate(jax, x)),
        },
        (call((3, 2)), call((2, 2, 3)), call((1, 1))),
        _UNIT,
    ),
}
