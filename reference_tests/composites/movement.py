"""Movement that is composed of other operations, and its counterparts."""

from __future__ import annotations

from typing import Any

from tinygrad_edu import ops

from ..calls import call
from .row import Row


def _permuted(x: Any, axes: Any) -> Any:
    return x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes)


COMPOSITES: dict[str, Row] = {
    "expand_dims": Row(
        lambda x, axis: ops.expand_dims(x, axis=axis),
        {
            "tensorflow": "expand_dims",
            "torch": lambda torch, x, axis: x.unsqueeze(axis),
            "jax": "numpy.expand_dims",
        },
        (call((2, 3), axis=1), call((), axis=0), call((2, 0), axis=-1)),
    ),
    "matrix_transpose": Row(
        ops.matrix_transpose,
        {
            "tensorflow": "linalg.matrix_transpose",
            "torch": lambda torch, x: x.mT,
            "jax": "numpy.matrix_transpose",
        },
        (call((2, 3)), call((2, 1, 3)), call((0, 2))),
    ),
    "moveaxis": Row(
        lambda x, source, destination: ops.moveaxis(x, source, destination),
        {
            "tensorflow": "experimental.numpy.moveaxis",
            "torch": "moveaxis",
            "jax": "numpy.moveaxis",
        },
        (
            call((2, 3, 1), source=0, destination=-1),
            call((2, 3, 1), source=(0, 2), destination=(1, 0)),
        ),
    ),
    "squeeze": Row(
        lambda x, axis: ops.squeeze(x, axis=axis),
        {
            "tensorflow": "squeeze",
            "torch": lambda torch, x, axis: x.squeeze() if axis is None else x.squeeze(axis),
            "jax": "numpy.squeeze",
        },
        (
            call((2, 1, 3, 1), axis=None),
            call((2, 1, 3, 1), axis=1),
            call((2, 1, 3, 1), axis=(1, -1)),
        ),
    ),
    "stack": Row(
        lambda *xs, axis: ops.stack(xs, axis=axis),
        {
            "tensorflow": lambda tf, *xs, axis: tf.stack(xs, axis),
            "torch": lambda torch, *xs, axis: torch.stack(xs, axis),
            "jax": lambda jax, *xs, axis: jax.numpy.stack(xs, axis),
        },
        (call((2, 3), (2, 3), axis=0), call((2, 3), (2, 3), (2, 3), axis=-1), call((), (), axis=0)),
    ),
    "swapaxes": Row(
        lambda x, first, second: ops.swapaxes(x, first, second),
        {
            "torch": lambda torch, x, first, second: x.swapaxes(first, second),
            "jax": lambda jax, x, first, second: x.swapaxes(first, second),
        },
        (call((2, 3, 1), first=0, second=-1),),
    ),
    "transpose": Row(
        lambda x, axes: ops.transpose(x, axes),
        {
            "tensorflow": lambda tf, x, axes: tf.transpose(x, axes),
            "torch": lambda torch, x, axes: _permuted(x, axes),
            "jax": lambda jax, x, axes: jax.numpy.transpose(x, axes),
        },
        (call((2, 3, 1), axes=None), call((2, 3, 1), axes=(1, 2, 0)), call((), axes=None)),
    ),
}

NOT_COMPARED = {
    "sum_to": "the transpose of broadcast_to, whose gradient it is",
    "to_device": "moves a Tensor and computes nothing; every test on device xla uses it",
}
