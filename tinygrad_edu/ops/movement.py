"""Operations that move elements without computing: reshaping, transposing, broadcasting, joining.

Where the array library can, the result is a view of the same memory; Tensors never change, so
nobody can tell.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backends, tape, tensors
from ..backends import Array, Device
from ..errors import ArgumentError, ShapeError
from ..op import Aval, Op, Shape, apply, broadcast_shapes, example, normalize_axis, unary
from ..tensors import Tensor, TensorLike

__all__ = [
    "broadcast_to",
    "concat",
    "expand_dims",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "reshape",
    "squeeze",
    "stack",
    "sum_to",
    "swapaxes",
    "to_device",
    "transpose",
]


def _shape(name: str, shape: int | Sequence[int]) -> Shape:
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    for size in sizes:
        if size.__class__ is not int:
            if not isinstance(size, np.integer):
                raise ArgumentError(f"{name}: a shape is integers, not {shape!r}")
            return _shape(name, [int(s) for s in sizes])
    return sizes


class Reshape(Op):
    """The same elements, in order, in another shape; one size may be -1, for whatever is left."""

    gradients = (lambda g, out, x, shape: reshape(g, x.shape),)
    references = {"tensorflow": "reshape", "torch": "reshape", "jax": "numpy.reshape"}
    examples = (
        example((2, 3), shape=(-1,)),
        example((2, 6), shape=(3, -1, 2)),
        example((), shape=(1, 1)),
        example((1,), shape=()),
        example((0, 3), shape=(3, 0)),
    )

    def __call__(self, x: TensorLike, /, shape: int | Sequence[int]) -> Tensor:
        x = tensors.as_tensor(x)
        given = tuple(x._data.shape)
        wanted = self._complete(given, _shape("reshape", shape))
        return x if wanted == given else unary(self, x, {"shape": wanted})

    @staticmethod
    def _complete(given: Shape, shape: Shape) -> Shape:
        size = math.prod(given)
        if shape.count(-1) == 1:
            known = -math.prod(shape)
            if known and size % known == 0:
                shape = tuple([size // known if s == -1 else s for s in shape])
        if math.prod(shape) != size or min(shape, default=0) < 0:
            raise ShapeError(f"reshape: {size} elements of shape {given} do not fit {shape}")
        return shape

    def forward(self, xp: Any, x: Array, *, shape: Shape) -> Array:
        return x.reshape(shape)

    def infer(self, x: Aval, *, shape: Shape) -> Aval:
        return Aval(self._complete(x.shape, shape), x.dtype)


reshape = Reshape()


class PermuteDims(Op):
    """The axes in another order: axis i of the result is axis axes[i] of x."""

    gradients = (lambda g, out, x, axes: permute_dims(g, _inverse(axes)),)
    references = {
        "tensorflow": lambda tf, x, axes: tf.transpose(x, axes),
        "torch": lambda torch, x, axes: torch.permute(x, axes),
        "jax": lambda jax, x, axes: jax.numpy.permute_dims(x, axes),
    }
    examples = (
        example((2, 3), axes=(1, 0)),
        example((2, 3, 4), axes=(1, 2, 0)),
        example((2, 3, 2), axes=(2, 0, 1)),
        example((), axes=()),
        example((2, 0), axes=(1, 0)),
        example((2, 1, 3, 1, 2), axes=(4, 1, 0, 3, 2)),
    )

    def __call__(self, x: TensorLike, /, axes: Sequence[int]) -> Tensor:
        x = tensors.as_tensor(x)
        ndim = x._data.ndim
        wanted = tuple([int(a) + ndim if a < 0 else int(a) for a in axes])
        if sorted(wanted) != list(range(ndim)):
            raise ArgumentError(
                f"permute_dims: axes {tuple(axes)} must name each of {ndim} dimensions once"
            )
        return unary(self, x, {"axes": wanted})

    def forward(self, xp: Any, x: Array, *, axes: tuple[int, ...]) -> Array:
        return x.transpose(axes)

    def infer(self, x: Aval, *, axes: tuple[int, ...]) -> Aval:
        return Aval(tuple(x.shape[a] for a in axes), x.dtype)


permute_dims = PermuteDims()


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axes.index(i) for i in range(len(axes)))


class BroadcastTo(Op):
    """x repeated along new axes in front, and along those of size 1, up to a shape."""

    gradients = (lambda g, out, x, shape: sum_to(g, x.shape),)
    references = {
        "tensorflow": "broadcast_to",
        "torch": lambda torch, x, shape: torch.broadcast_to(x, shape),
        "jax": "numpy.broadcast_to",
    }
    examples = (
        example((), shape=(2, 3)),
        example((2, 1), shape=(4, 2, 3)),
        example((3,), shape=(2, 3)),
        example((1, 1), shape=(2, 3)),
        example((3,), shape=(0, 3)),
        example((1, 2, 1, 1, 2), shape=(1, 2, 3, 1, 2)),
    )

    def __call__(self, x: TensorLike, /, shape: int | Sequence[int]) -> Tensor:
        x, wanted = tensors.as_tensor(x), _shape("broadcast_to", shape)
        return x if wanted == x.shape else unary(self, x, {"shape": wanted})

    def forward(self, xp: Any, x: Array, *, shape: Shape) -> Array:
        if xp is np and x.size == 1:
            # A tenth of the time that NumPy's own broadcast_to takes, where every loss passes.
            found = np.ndarray(shape, x.dtype, np.ascontiguousarray(x), 0, (0,) * len(shape))
            found.flags.writeable = False
            return found
        return xp.broadcast_to(x, shape)

    def infer(self, x: Aval, *, shape: Shape) -> Aval:
        if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
            raise ShapeError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
        return Aval(shape, x.dtype)


broadcast_to = BroadcastTo()


class Concat(Op):
    """Arrays one after another along an axis."""

    references = {
        "tensorflow": lambda tf, *xs, axis: tf.concat(xs, axis),
        "torch": lambda torch, *xs, axis: torch.cat(xs, axis),
        "jax": lambda jax, *xs, axis: jax.numpy.concatenate(xs, axis),
    }
    examples = (
        example((2, 3), (1, 3), axis=0),
        example((2, 1), (2, 2), (2, 1), axis=-1),
        example((3,), axis=0),
        example((0, 2), (2, 2), (0, 2), axis=0),
        example((1, 2, 1, 3), (1, 2, 2, 3), axis=2),
    )

    def __call__(self, xs: Sequence[TensorLike], /, *, axis: int | None = 0) -> Tensor:
        if not isinstance(xs, (list, tuple)) or not xs:
            raise ArgumentError("concat: takes a list or tuple of at least one array")
        if axis is None:
            xs, axis = [reshape(x, -1) for x in xs], 0
        return apply(self, *xs, axis=axis)

    def forward(self, xp: Any, *xs: Array, axis: int) -> Array:
        return xp.concatenate(xs, axis=axis)

    def infer(self, *xs: Aval, axis: int) -> Aval:
        shape = xs[0].shape
        axis = normalize_axis("concat", axis, len(shape))
        for x in xs:
            if (*x.shape[:axis], *x.shape[axis + 1 :]) != (*shape[:axis], *shape[axis + 1 :]):
                raise ShapeError(
                    f"concat: shapes {shape} and {x.shape} must agree except along axis {axis}"
                )
        total = sum(x.shape[axis] for x in xs)
        return Aval((*shape[:axis], total, *shape[axis + 1 :]), xs[0].dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        axis = params["axis"] % cotangent.ndim
        before = (slice(None),) * axis
        found, start = [], 0
        for wanted, x in zip(needed, inputs, strict=True):
            stop = start + x.shape[axis]
            found.append(cotangent[(*before, slice(start, stop))] if wanted else None)
            start = stop
        return found


concat = Concat()


def _listed(axis: int | Sequence[int]) -> list[int]:
    return [axis] if isinstance(axis, (int, np.integer)) else list(axis)


def matrix_transpose(x: TensorLike, /) -> Tensor:
    """The last two axes exchanged.

    >>> matrix_transpose(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = tensors.as_tensor(x)
    if x._data.ndim < 2:
        raise ShapeError(f"matrix_transpose: shape {x.shape} has no two axes to exchange")
    return unary(permute_dims, x, swapped(x._data.ndim))


@functools.lru_cache(maxsize=4096)
def swapped(ndim: int) -> dict[str, Any]:
    """The parameters of `permute_dims` that exchange the last two axes."""
    return {"axes": (*range(ndim - 2), ndim - 1, ndim - 2)}


def transpose(x: TensorLike, axes: Sequence[int] | None = None, /) -> Tensor:
    """The axes in this order; without one, in reverse.

    >>> transpose(np.zeros((2, 3, 4))).shape
    (4, 3, 2)
    """
    x = tensors.as_tensor(x)
    return permute_dims(x, range(x.ndim)[::-1] if axes is None else axes)


def swapaxes(x: TensorLike, first: int, second: int, /) -> Tensor:
    """Two axes exchanged."""
    x = tensors.as_tensor(x)
    first, second = (
        normalize_axis("swapaxes", first, x.ndim),
        normalize_axis("swapaxes", second, x.ndim),
    )
    axes = list(range(x.ndim))
    axes[first], axes[second] = second, first
    return permute_dims(x, axes)


def moveaxis(x: TensorLike, source: Any, destination: Any, /) -> Tensor:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = tensors.as_tensor(x)
    moved, places = (
        [
            normalize_axis("moveaxis", a, x.ndim)
            for a in ([given] if isinstance(given, int) else given)
        ]
        for given in (source, destination)
    )
    if len(moved) != len(places) or len(set(moved)) != len(moved) or len(set(places)) != len(moved):
        raise ArgumentError(
            f"moveaxis: {source!r} and {destination!r} must name as many axes, each once"
        )
    axes = [a for a in range(x.ndim) if a not in moved]
    for place, axis in sorted(zip(places, moved, strict=True)):
        axes.insert(place, axis)
    return permute_dims(x, axes)


def expand_dims(x: TensorLike, /, *, axis: int | Sequence[int] = 0) -> Tensor:
    """New axes of size 1, at these places of the result.

    >>> expand_dims(np.zeros(3), axis=-1).shape
    (3, 1)
    """
    x = tensors.as_tensor(x)
    given = _listed(axis)
    ndim = x.ndim + len(given)
    places = {normalize_axis("expand_dims", a, ndim) for a in given}
    if len(places) != len(given):
        raise ArgumentError(f"expand_dims: axis {axis!r} names a place twice")
    sizes = iter(x.shape)
    return reshape(x, [1 if i in places else next(sizes) for i in range(ndim)])


def squeeze(x: TensorLike, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 taken away: those named, or all."""
    x = tensors.as_tensor(x)
    if axis is None:
        axis = [i for i, size in enumerate(x.shape) if size == 1]
    places = {
        normalize_axis("squeeze", a, x.ndim) for a in ([axis] if isinstance(axis, int) else axis)
    }
    for place in places:
        if x.shape[place] != 1:
            raise ShapeError(f"squeeze: axis {place} of shape {x.shape} does not have size 1")
    return reshape(x, [size for i, size in enumerate(x.shape) if i not in places])


def stack(xs: Sequence[TensorLike], /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape side by side along a new axis.

    >>> stack([np.zeros(3), np.ones(3)], axis=1).shape
    (3, 2)
    """
    given = tensors.as_tensors(*xs)
    shapes = [x.shape for x in given]
    if len(set(shapes)) > 1:
        raise ShapeError(f"stack: shapes must be equal, not {' and '.join(map(str, shapes))}")
    return concat([expand_dims(x, axis=axis) for x in given], axis=axis)


def sum_to(x: Tensor, shape: Shape, /) -> Tensor:
    """x summed over the axes along which `shape` would be broadcast to it: the transpose of
    broadcasting."""
    params = _sum_along_broadcast(x._data.shape, shape)
    found = unary(reduction.sum, x, params) if params["axis"] else x
    return found if found._data.shape == shape else reshape(found, shape)


@functools.lru_cache(maxsize=4096)
def _sum_along_broadcast(shape: Shape, narrow: Shape) -> dict[str, Any]:
    """The parameters of the sum along the axes on which an array of shape `narrow` is repeated
    when it is broadcast to `shape`."""
    extra = len(shape) - len(narrow)
    repeated = [i + extra for i, s in enumerate(narrow) if s == 1 and shape[i + extra] != 1]
    return {"axis": (*range(extra), *repeated), "keepdims": False}


def to_device(x: TensorLike, device: str | Device, /) -> Tensor:
    """x on another device; the gradient moves back. Raises DeviceError if it cannot run here."""
    x, target = tensors.as_tensor(x), backends.find(device)
    if x._device is target:
        return x
    return _moved(x, target)


def _moved(x: Tensor, target: Device) -> Tensor:
    data = target.from_numpy(x._device.to_numpy(x._data))
    node = tape.record(_move, (x,), (x._record,), {"device": target.name}, data)
    return tensors.wrap(type(x), data, target, node)


class Move(Op):
    """x on another device; `to_device` applies it."""

    gradients = (lambda g, out, x, device: to_device(g, x.device),)

    def forward(self, xp: Any, x: Array, *, device: str) -> Array:
        raise ArgumentError("move: an operation runs on one device; use x.to(device)")

    def infer(self, x: Aval, *, device: str) -> Aval:
        return x


_move = Move()


from . import reduction  # noqa: E402  sums undo broadcasts, and broadcasts undo sums
