"""What the suite knows of an operation beyond its definition: calls for shapes and parameters that
cannot be guessed from a base class, and the words for them in the frameworks.

Everything here waits for a place in the definitions; the less this file holds, the better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from tinygrad_edu.op import Shape


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


_PART = (slice(None, None, 2), ...)
_ROWS = (np.array([0, 2, 2]),)
_BOTH = (np.array([[0], [-1]]), np.array([1, 0]))
_MASK = (np.array([True, False, True]),)

CALLS: dict[str, tuple[Call, ...]] = {
    "astype": (
        call((2, 3), dtype=np.dtype("float64")),
        call((2, 3), dtype=np.dtype("float32")),
        call((), dtype=np.dtype("float16")),
        call((3,), dtype=np.dtype("int32")),
        call((0, 2), dtype=np.dtype("float64")),
    ),
    "broadcast_to": (
        call((), shape=(2, 3)),
        call((2, 1), shape=(4, 2, 3)),
        call((3,), shape=(2, 3)),
        call((1, 1), shape=(2, 3)),
        call((3,), shape=(0, 3)),
        call((1, 2, 1, 1, 2), shape=(1, 2, 3, 1, 2)),
    ),
    "concat": (
        call((2, 3), (1, 3), axis=0),
        call((2, 1), (2, 2), (2, 1), axis=-1),
        call((3,), axis=0),
        call((0, 2), (2, 2), (0, 2), axis=0),
        call((1, 2, 1, 3), (1, 2, 2, 3), axis=2),
    ),
    "getitem": (
        call((3,), index=1),
        call((3, 4), index=(-1, slice(1, 3))),
        call((3, 4), index=(slice(None, None, -2), None, ..., 0)),
        call((2, 3, 2, 2), index=_PART),
        call((3, 2), index=_ROWS),
        call((3, 2), index=_BOTH),
        call((3, 2), index=_MASK),
        call((2, 3, 4), index=(slice(None), np.array([0, 2]), np.array([1, -1]))),
        call((3, 2), index=(np.zeros(0, np.int32),)),
        call((0, 3), index=(slice(None), 1)),
        call((0, 3), index=(slice(None), np.array([0, 2]))),
        call((), index=()),
    ),
    "matmul": (
        call((2, 3), (3, 4)),
        call((3, 2), (2, 3)),
        call((3,), (3,)),
        call((3,), (3, 2)),
        call((2, 3), (3,)),
        call((2, 1, 2, 3), (3, 3, 2)),
        call((3,), (2, 3, 2)),
        call((0, 3), (3, 2)),
        call((2, 0), (0, 3)),
    ),
    "permute_dims": (
        call((2, 3), axes=(1, 0)),
        call((2, 3, 4), axes=(1, 2, 0)),
        call((2, 3, 2), axes=(2, 0, 1)),
        call((), axes=()),
        call((2, 0), axes=(1, 0)),
        call((2, 1, 3, 1, 2), axes=(4, 1, 0, 3, 2)),
    ),
    "reshape": (
        call((2, 3), shape=(-1,)),
        call((2, 6), shape=(3, -1, 2)),
        call((), shape=(1, 1)),
        call((1,), shape=()),
        call((0, 3), shape=(3, 0)),
    ),
}

_SCATTERS = (
    call((3,), (), index=1),
    call((3, 4), (2,), index=(-1, slice(1, 3))),
    call((3, 2), (2, 2), index=_MASK),
    call((2, 3, 2, 2), (), index=_PART),
    call((3, 4), (3, 4), index=(slice(None, None, -1),)),
    call((3, 2), (2, 2), index=_BOTH),
    call((3, 2), (0, 2), index=(np.zeros(0, np.int32),)),
    call((0, 3), (0, 2), index=(slice(None), np.array([0, 2]))),
)
_TWICE = (call((3, 2), (3, 2), index=_ROWS), call((3, 2), (2,), index=_ROWS))

for _how in ("set", "add", "multiply", "min", "max"):
    # Where a place comes twice, "set" does not say which value stays.
    CALLS[f"scatter_{_how}"] = _SCATTERS if _how == "set" else (*_SCATTERS, *_TWICE)

# How to call the operations that do not take arrays in order, then parameters by their names.
FORMS: dict[str, Callable[..., Any]] = {
    "concat": lambda op, *xs, axis: op(xs, axis=axis),
    **{
        f"scatter_{how}": lambda op, x, values, index: op(x, index, values)
        for how in ("set", "add", "multiply", "min", "max")
    },
}

# Points where a gradient has a convention, besides the `away` of the domain and ties.
KINKS: dict[str, tuple[tuple[float, ...], ...]] = {
    "power": ((0, 0), (0, 1), (0, 2), (0, 3), (0, 0.5), (2, 0), (-2, 0), (-2, 2), (-2, 3), (-2, 1)),
    "sqrt": ((0,),),
    "atan2": ((0, 1), (1, 0), (0, -1)),
    "relu": ((0,), (-0.0,)),
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


def _torch_prod(torch: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """One axis at a time: PyTorch takes no more."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for place in sorted((a % x.ndim for a in axes), reverse=True):
        x = torch.prod(x, place, keepdims)
    return x


REFERENCES: dict[str, dict[str, Any]] = {
    "prod": {
        "tensorflow": lambda tf, x, axis, keepdims: tf.reduce_prod(x, axis, keepdims),
        "torch": _torch_prod,
        "jax": lambda jax, x, axis, keepdims: jax.numpy.prod(x, axis=axis, keepdims=keepdims),
    },
    "trunc": {"tensorflow": "experimental.numpy.fix", "torch": "trunc", "jax": "numpy.trunc"},
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
