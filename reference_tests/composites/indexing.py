"""Indexing that is composed of other operations, and its counterparts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_edu import ops
from tinygrad_edu.references import integers

from ..calls import call
from .row import Row

_ROWS = np.array([[2, 0], [2, -1]])
_ALONG = np.array([[1, 0, 1], [0, 0, -1]])
_PLACES = np.array([[0, 1], [1, 2], [0, 1]])


def _positive(indices: np.ndarray, size: int) -> np.ndarray:
    """Indices that count from the start: PyTorch and TensorFlow know no others."""
    return np.where(indices < 0, indices + size, indices)


def _torch_indices(torch: Any, indices: np.ndarray, size: int) -> Any:
    return torch.from_numpy(_positive(indices, size))


def _along(indices: Any, x: Any, axis: int) -> Any:
    """For TensorFlow: where each element that is read stands, counted along the axes in order."""
    places = np.indices(indices.shape)
    places[axis] = _positive(indices, x.shape[axis])
    return np.moveaxis(places, 0, -1)


COMPOSITES: dict[str, Row] = {
    "one_hot": Row(
        ops.one_hot,
        {
            "tensorflow": lambda tf, x, num_classes, axis: tf.one_hot(
                x, num_classes, axis=axis if axis == -1 else axis % (len(x.shape) + 1)
            ),
            "torch": lambda torch, x, num_classes, axis: (
                torch.nn.functional.one_hot(x.long(), num_classes).movedim(-1, axis).float()
            ),
            "jax": lambda jax, x, num_classes, axis: jax.nn.one_hot(
                x, num_classes, axis=axis, dtype="float32"
            ),
        },
        (
            call((), num_classes=4, axis=-1),
            call((3,), num_classes=5, axis=0),
            call((2, 3), num_classes=4, axis=1),
            call((0,), num_classes=4, axis=-1),
        ),
        integers(0, 4),
    ),
    "put_along_axis": Row(
        lambda x, values, indices, axis: ops.put_along_axis(x, indices, values, axis=axis),
        {
            "tensorflow": lambda tf, x, values, indices, axis: tf.tensor_scatter_nd_update(
                x, _along(indices, x, axis), values
            ),
            "torch": lambda torch, x, values, indices, axis: x.scatter(
                axis, _torch_indices(torch, indices, x.shape[axis]), values
            ),
            "jax": lambda jax, x, values, indices, axis: jax.numpy.put_along_axis(
                x, indices, values, axis, inplace=False
            ),
        },
        (
            call((2, 3), (2, 1), indices=np.array([[2], [-3]]), axis=1),
            call((3, 2), (2, 2), indices=np.array([[2, 0], [0, 1]]), axis=0),
        ),
    ),
    "scatter": Row(
        lambda values, indices, shape: ops.scatter(indices, values, shape),
        {
            "tensorflow": lambda tf, values, indices, shape: tf.scatter_nd(indices, values, shape),
            "torch": lambda torch, values, indices, shape: torch.zeros(
                shape, dtype=values.dtype
            ).index_put(tuple(torch.from_numpy(indices).movedim(-1, 0)), values, accumulate=True),
            "jax": lambda jax, values, indices, shape: (
                jax.numpy.zeros(shape, values.dtype)
                .at[tuple(np.moveaxis(indices, -1, 0))]
                .add(values)
            ),
        },
        (
            call((3,), indices=_PLACES, shape=(2, 3)),
            call((3, 2), indices=_PLACES[:, :1], shape=(3, 2)),
            call((3, 1, 2), indices=_PLACES[:, None], shape=(2, 3, 2)),
        ),
    ),
    "scatter_update": Row(
        lambda x, updates, indices: ops.scatter_update(x, indices, updates),
        {
            "tensorflow": lambda tf, x, updates, indices: tf.tensor_scatter_nd_update(
                x, indices, updates
            ),
            "torch": lambda torch, x, updates, indices: x.index_put(
                tuple(torch.from_numpy(indices).movedim(-1, 0)), updates
            ),
            "jax": lambda jax, x, updates, indices: x.at[tuple(np.moveaxis(indices, -1, 0))].set(
                updates
            ),
        },
        (
            call((2, 3), (2,), indices=_PLACES[:2]),
            call((3, 2), (2, 2), indices=_PLACES[:2, :1]),
        ),
    ),
    "take": Row(
        lambda x, indices, axis: ops.take(x, indices, axis=axis),
        {
            "tensorflow": lambda tf, x, indices, axis: tf.gather(
                # A reshaped x, for its gradient is an array, and not a list of rows.
                tf.reshape(x, x.shape if axis is not None else [-1]),
                _positive(indices, x.shape[axis] if axis is not None else np.prod(x.shape)),
                axis=axis or 0,
            ),
            "torch": lambda torch, x, indices, axis: (
                torch.take(x, _torch_indices(torch, indices, x.numel()))
                if axis is None
                else x.movedim(axis, 0)[torch.from_numpy(indices)].movedim(
                    tuple(range(indices.ndim)), tuple(range(axis, axis + indices.ndim))
                )
            ),
            "jax": lambda jax, x, indices, axis: jax.numpy.take(x, indices, axis),
        },
        (
            call((3,), indices=np.array([0, 2, 2]), axis=0),
            call((3, 2), indices=_ROWS, axis=0),
            call((2, 3, 2), indices=_ROWS, axis=1),
            call((2, 3), indices=_ROWS, axis=None),
            call((3, 2), indices=np.zeros((0,), int), axis=0),
        ),
    ),
    "take_along_axis": Row(
        lambda x, indices, axis: ops.take_along_axis(x, indices, axis=axis),
        {
            "tensorflow": lambda tf, x, indices, axis: tf.gather_nd(x, _along(indices, x, axis)),
            "torch": lambda torch, x, indices, axis: torch.take_along_dim(
                x, _torch_indices(torch, indices, x.shape[axis]), axis
            ),
            "jax": lambda jax, x, indices, axis: jax.numpy.take_along_axis(x, indices, axis),
        },
        (
            call((2, 3), indices=_ALONG, axis=0),
            call((2, 3), indices=np.array([[2], [-1]]), axis=1),
            call((2, 3, 2), indices=np.ones((2, 4, 2), int), axis=1),
        ),
    ),
}

NOT_COMPARED = {
    "nonzero": "indices, whose number depends on the values; compared with NumPy",
    "argwhere": "indices, whose number depends on the values; compared with NumPy",
}
