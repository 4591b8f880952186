"""The functions of `edu.ops` that are made of other operations: a row each, with their counterparts
in the frameworks and the calls to compare.

Also the functions that are not compared, each with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_edu import ops

from .calls import Call, call

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
_ONE_AXIS = (
    call((3,), axis=-1),
    call((2, 3), axis=0),
    call((2, 1, 3), axis=1),
    call((0, 3), axis=-1),
)


def _all(x: Any, axis: Any) -> Any:
    return tuple(range(x.ndim)) if axis is None else axis


def _permuted(x: Any, axes: Any) -> Any:
    return x.permute(tuple(range(x.ndim))[::-1] if axes is None else axes)


def _tensorflow_variance(tf: Any, x: Any, axis: Any, correction: int, keepdims: bool) -> Any:
    """TensorFlow's variance knows no correction."""
    found = tf.math.reduce_variance(x, axis, keepdims)
    count = int(tf.size(x)) // max(int(tf.size(found)), 1)
    return found * (count / (count - correction))


# Each row: the function with the arrays first, its references, its calls.
Row = tuple[Callable[..., Any], dict[str, Any], tuple[Call, ...]]

COMPOSITES: dict[str, Row] = {
    "expand_dims": (
        lambda x, axis: ops.expand_dims(x, axis=axis),
        {
            "tensorflow": "expand_dims",
            "torch": lambda torch, x, axis: x.unsqueeze(axis),
            "jax": "numpy.expand_dims",
        },
        (call((2, 3), axis=1), call((), axis=0), call((2, 0), axis=-1)),
    ),
    "log_softmax": (
        lambda x, axis: ops.log_softmax(x, axis=axis),
        {"tensorflow": "nn.log_softmax", "torch": "log_softmax", "jax": "nn.log_softmax"},
        _ONE_AXIS,
    ),
    "logsumexp": (
        lambda x, axis, keepdims: ops.logsumexp(x, axis=axis, keepdims=keepdims),
        {
            "tensorflow": "reduce_logsumexp",
            "torch": lambda torch, x, axis, keepdims: torch.logsumexp(x, _all(x, axis), keepdims),
            "jax": "nn.logsumexp",
        },
        _AXES,
    ),
    "matrix_transpose": (
        ops.matrix_transpose,
        {
            "tensorflow": "linalg.matrix_transpose",
            "torch": lambda torch, x: x.mT,
            "jax": "numpy.matrix_transpose",
        },
        (call((2, 3)), call((2, 1, 3)), call((0, 2))),
    ),
    "mean_squared_error": (
        ops.mean_squared_error,
        {
            "tensorflow": lambda tf, x, y: tf.reduce_mean(tf.math.squared_difference(x, y)),
            "torch": "nn.functional.mse_loss",
            "jax": lambda jax, x, y: jax.numpy.mean(jax.numpy.square(x - y)),
        },
        (call((), ()), call((3,), (3,)), call((2, 3), (2, 3))),
    ),
    "moveaxis": (
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
    "relu": (
        ops.relu,
        {"tensorflow": "nn.relu", "torch": "relu", "jax": "nn.relu"},
        (call(()), call((3,)), call((2, 3)), call((0, 2))),
    ),
    "softmax": (
        lambda x, axis: ops.softmax(x, axis=axis),
        {"tensorflow": "nn.softmax", "torch": "softmax", "jax": "nn.softmax"},
        _ONE_AXIS,
    ),
    "squeeze": (
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
    "stack": (
        lambda *xs, axis: ops.stack(xs, axis=axis),
        {
            "tensorflow": lambda tf, *xs, axis: tf.stack(xs, axis),
            "torch": lambda torch, *xs, axis: torch.stack(xs, axis),
            "jax": lambda jax, *xs, axis: jax.numpy.stack(xs, axis),
        },
        (call((2, 3), (2, 3), axis=0), call((2, 3), (2, 3), (2, 3), axis=-1), call((), (), axis=0)),
    ),
    "std": (
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
    "swapaxes": (
        lambda x, first, second: ops.swapaxes(x, first, second),
        {
            "torch": lambda torch, x, first, second: x.swapaxes(first, second),
            "jax": lambda jax, x, first, second: x.swapaxes(first, second),
        },
        (call((2, 3, 1), first=0, second=-1),),
    ),
    "transpose": (
        lambda x, axes: ops.transpose(x, axes),
        {
            "tensorflow": lambda tf, x, axes: tf.transpose(x, axes),
            "torch": lambda torch, x, axes: _permuted(x, axes),
            "jax": lambda jax, x, axes: jax.numpy.transpose(x, axes),
        },
        (call((2, 3, 1), axes=None), call((2, 3, 1), axes=(1, 2, 0)), call((), axes=None)),
    ),
    "var": (
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

# Points where a composite's gradient follows a convention; operations state their own.
COMPOSITE_KINKS: dict[str, tuple[tuple[float, ...], ...]] = {"relu": ((0,), (-0.0,))}

NOT_COMPARED = {
    "sum_to": "the transpose of broadcast_to, whose gradient it is",
    "to_device": "moves a Tensor and computes nothing; every test on device xla uses it",
    **dict.fromkeys(
        (
            "arange",
            "eye",
            "full",
            "full_like",
            "linspace",
            "ones",
            "ones_like",
            "zeros",
            "zeros_like",
        ),
        "makes a Tensor from nothing, so there is no gradient; compared with NumPy",
    ),
}
