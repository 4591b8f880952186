"""How an operation is called: what the suite knows beyond the definitions.

Concat and the scatters do not take arrays in order and then parameters; and what indexing means is
spelled out for the frameworks, which have no NumPy indexing or no gradient for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from tinygrad_edu.arguments import Shape
from tinygrad_edu.ops import concat, sort

from . import matrix_references, window_references


@dataclass(frozen=True, eq=False)
class Call:
    """One call: the shapes of the arrays, and the parameters."""

    shapes: tuple[Shape, ...]
    params: dict[str, Any]

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of arrays alone; the same object each time, so that it compiles once."""
        return _bound(self, function)


@cache
def _bound(called: Call, function: Callable[..., Any]) -> Callable[..., Any]:
    return partial(function, **called.params)


def call(*shapes: Shape, **params: Any) -> Call:
    """`call((2, 3), axis=0)`: an array of shape (2, 3), and a parameter."""
    return Call(shapes, params)


# How to call the operations that do not take arrays in order, then parameters by their names.
FORMS: dict[str, Callable[..., Any]] = {
    **matrix_references.FORMS,
    "concat": lambda op, *xs, axis: op(xs, axis=axis),
    "split_at": lambda op, x, places, axis: concat(op(x, places, axis=axis)[::-1], axis=axis),
    "searchsorted": lambda op, x1, x2, side: op(sort(x1), x2, side=side),
    **{
        f"scatter_{how}": lambda op, x, values, index: op(x, index, values)
        for how in ("set", "add", "multiply", "min", "max")
    },
}


def _places(shape: Any, index: Any) -> np.ndarray:
    """For each element of x[index], where it is among the elements of x in order."""
    return np.arange(math.prod(shape)).reshape(tuple(shape))[index]


def _torch_scatter(how: str) -> Callable[..., Any]:
    def reference(torch: Any, x: Any, values: Any, index: Any) -> Any:
        places = torch.from_numpy(np.array(_places(x.shape, index)))
        values = torch.broadcast_to(values, places.shape).reshape(-1)
        flat, places = x.reshape(-1), places.reshape(-1)
        if how == "sum":
            return flat.index_add(0, places, values).reshape(x.shape)
        if how == "set":
            return flat.index_copy(0, places, values).reshape(x.shape)
        return flat.scatter_reduce(0, places, values, how).reshape(x.shape)

    return reference


def _torch_products(torch: Any, x: Any, values: Any, index: Any) -> Any:
    """Each element times the product of its values: scatter_reduce has no second order here."""
    places = torch.from_numpy(np.array(_places(x.shape, index)))
    values = torch.broadcast_to(values, places.shape)
    found = [old * values[places == i].prod() for i, old in enumerate(x.reshape(-1))]
    return torch.stack(found).reshape(x.shape) if found else x


def _tensorflow_scatter(name: str) -> Callable[..., Any]:
    def reference(tf: Any, x: Any, values: Any, index: Any) -> Any:
        places = _places(x.shape, index)
        values = tf.reshape(tf.broadcast_to(values, places.shape), [-1])
        scatter = getattr(tf, f"tensor_scatter_nd_{name}")
        flat = scatter(tf.reshape(x, [-1]), places.reshape(-1, 1), values)
        return tf.reshape(flat, x.shape)

    return reference


REFERENCES: dict[str, dict[str, Any]] = {
    "split_at": {
        "tensorflow": lambda tf, x, places, axis: tf.concat(
            tf.split(x, np.diff([0, *places, x.shape[axis]]), axis)[::-1], axis
        ),
        "torch": lambda torch, x, places, axis: torch.cat(
            torch.tensor_split(x, places, axis)[::-1], axis
        ),
        "jax": lambda jax, x, places, axis: jax.numpy.concatenate(
            jax.numpy.split(x, places, axis)[::-1], axis
        ),
    },
    "getitem_transpose": {
        "tensorflow": lambda tf, x, index, shape: tf.reshape(
            tf.scatter_nd(
                _places(shape, index).reshape(-1, 1), tf.reshape(x, [-1]), [math.prod(shape)]
            ),
            shape,
        ),
        "torch": lambda torch, x, index, shape: (
            torch.zeros(math.prod(shape), dtype=x.dtype)
            .index_add(
                0, torch.from_numpy(np.array(_places(shape, index)).reshape(-1)), x.reshape(-1)
            )
            .reshape(shape)
        ),
        "jax": lambda jax, x, index, shape: jax.numpy.zeros(shape, x.dtype).at[index].add(x),
    },
    **matrix_references.REFERENCES,
    **window_references.REFERENCES,
    "searchsorted": {
        "tensorflow": lambda tf, x1, x2, side: tf.reshape(
            tf.searchsorted(tf.sort(x1), tf.reshape(x2, [-1]), side), x2.shape
        ),
        "torch": lambda torch, x1, x2, side: torch.searchsorted(
            x1.sort().values, x2.contiguous(), side=side
        ),
        "jax": lambda jax, x1, x2, side: jax.numpy.searchsorted(jax.numpy.sort(x1), x2, side=side),
    },
    "getitem": {
        "tensorflow": lambda tf, x, index: tf.gather(tf.reshape(x, [-1]), _places(x.shape, index)),
        "torch": lambda torch, x, index: x.reshape(-1)[
            torch.from_numpy(np.array(_places(x.shape, index)))
        ],
        "jax": lambda jax, x, index: x[index],
    },
    "scatter_set": {
        "tensorflow": _tensorflow_scatter("update"),
        "torch": _torch_scatter("set"),
        "jax": lambda jax, x, values, index: x.at[index].set(values),
    },
    "scatter_add": {
        "tensorflow": _tensorflow_scatter("add"),
        "torch": _torch_scatter("sum"),
        "jax": lambda jax, x, values, index: x.at[index].add(values),
    },
    "scatter_multiply": {
        "torch": _torch_products,
        "jax": lambda jax, x, values, index: x.at[index].multiply(values),
    },
    "scatter_min": {
        "tensorflow": _tensorflow_scatter("min"),
        "torch": _torch_scatter("amin"),
        "jax": lambda jax, x, values, index: x.at[index].min(values),
    },
    "scatter_max": {
        "tensorflow": _tensorflow_scatter("max"),
        "torch": _torch_scatter("amax"),
        "jax": lambda jax, x, values, index: x.at[index].max(values),
    },
}
