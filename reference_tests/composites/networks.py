"""Functions that networks are made of, and their counterparts."""

from __future__ import annotations

from tinygrad_edu import ops

from ..calls import call
from .row import Row

_ONE_AXIS = (
    call((3,), axis=-1),
    call((2, 3), axis=0),
    call((2, 1, 3), axis=1),
    call((0, 3), axis=-1),
)


COMPOSITES: dict[str, Row] = {
    "log_softmax": Row(
        lambda x, axis: ops.log_softmax(x, axis=axis),
        {"tensorflow": "nn.log_softmax", "torch": "log_softmax", "jax": "nn.log_softmax"},
        _ONE_AXIS,
    ),
    "mean_squared_error": Row(
        ops.mean_squared_error,
        {
            "tensorflow": lambda tf, x, y: tf.reduce_mean(tf.math.squared_difference(x, y)),
            "torch": "nn.functional.mse_loss",
            "jax": lambda jax, x, y: jax.numpy.mean(jax.numpy.square(x - y)),
        },
        (call((), ()), call((3,), (3,)), call((2, 3), (2, 3))),
    ),
    "relu": Row(
        ops.relu,
        {"tensorflow": "nn.relu", "torch": "relu", "jax": "nn.relu"},
        (call(()), call((3,)), call((2, 3)), call((0, 2))),
        kinks=((0,), (-0.0,)),
    ),
    "softmax": Row(
        lambda x, axis: ops.softmax(x, axis=axis),
        {"tensorflow": "nn.softmax", "torch": "softmax", "jax": "nn.softmax"},
        _ONE_AXIS,
    ),
}
