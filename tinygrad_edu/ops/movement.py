"""Operations that move elements without computing: reshaping, transposing, broadcasting, joining.

Where the array library can, the result is a view of the same memory; Tensors never change, so
nobody can tell.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backends, batching, conversion, dtypes, tape, tensors
from ..arguments import Shape, broadcast_shapes, normalize_axes, normalize_axis, whole
from ..backends import Array, Device
from ..dispatch import apply, unary
from ..dtypes import DType
from ..errors import ArgumentError, DtypeError, ShapeError
from ..op import Aval, Op
from ..references import example
from ..tensors import Operators, Tensor, TensorLike
from .kernels import summing

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "diag",
    "diagonal",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "pad",
    "pad_constant",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "rot90",
    "split",
    "split_at",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "to_device",
    "trace",
    "transpose",
    "tril",
    "triu",
    "unstack",
]


def _shape(name: str, shape: int | Sequence[int]) -> Shape:
    sizes = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    for size in sizes:
        if size.__class__ is not int:
            if isinstance(size, np.integer):
                return _shape(name, [int(s) if isinstance(s, np.integer) else s for s in sizes])
            if isinstance(size, bool) or not isinstance(size, int):  # a symbolic size is one
                raise ArgumentError(f"{name}: a shape is integers, not {shape!r}")
    return sizes


class Reshape(Op):
    """The same elements, in order, in another shape; one size may be -1, for whatever is left.

    `copy` is there for the array API's sake: Tensors never change, so nobody can tell.
    """

    moves = True
    linear = (0,)
    gradients = (lambda g, _, x, shape: reshape(g, x.shape),)
    references = {"tensorflow": "reshape", "torch": "reshape", "jax": "numpy.reshape"}
    examples = (
        example((2, 3), shape=(-1,)),
        example((2, 6), shape=(3, -1, 2)),
        example((), shape=(1, 1)),
        example((1,), shape=()),
        example((0, 3), shape=(3, 0)),
    )

    def __call__(
        self, x: TensorLike, /, shape: int | Sequence[int], *, copy: bool | None = None
    ) -> Tensor:
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
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

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        return apply(self, inputs[0], shape=(size, *params["shape"]))

    def infer(self, x: Aval, *, shape: Shape) -> Aval:
        return Aval(self._complete(x.shape, shape), x.dtype)


reshape = Reshape()


class PermuteDims(Op):
    """The axes in another order: axis i of the result is axis axes[i] of x."""

    moves = True
    linear = (0,)
    gradients = (lambda g, _, x, axes: permute_dims(g, _inverse(axes)),)
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
        x = conversion.as_tensor(x)
        ndim = x._data.ndim
        given = _wholes("permute_dims", _listed(axes))
        wanted = tuple([a + ndim if a < 0 else a for a in given])
        if sorted(wanted) != list(range(ndim)):
            raise ArgumentError(
                f"permute_dims: axes {tuple(given)} must name each of {ndim} dimensions once"
            )
        return unary(self, x, {"axes": wanted})

    def forward(self, xp: Any, x: Array, *, axes: tuple[int, ...]) -> Array:
        return x.transpose(axes)

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        return apply(self, inputs[0], axes=(0, *[a + 1 for a in params["axes"]]))

    def infer(self, x: Aval, *, axes: tuple[int, ...]) -> Aval:
        return Aval(tuple(x.shape[a] for a in axes), x.dtype)


permute_dims = PermuteDims()


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axes.index(i) for i in range(len(axes)))


class BroadcastTo(Op):
    """x repeated along new axes in front, and along those of size 1, up to a shape."""

    moves = True
    linear = (0,)
    gradients = (lambda g, _, x, shape: sum_to(g, x.shape),)
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
        x, wanted = conversion.as_tensor(x), _shape("broadcast_to", shape)
        return x if wanted == x.shape else unary(self, x, {"shape": wanted})

    def forward(self, xp: Any, x: Array, *, shape: Shape) -> Array:
        if xp is np and x.size == 1:
            # A tenth of the time that NumPy's own broadcast_to takes, where every loss passes.
            found = np.ndarray(shape, x.dtype, np.ascontiguousarray(x), 0, (0,) * len(shape))
            found.flags.writeable = False
            return found
        return xp.broadcast_to(x, shape)

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        shape = params["shape"]
        return apply(self, batching.aligned(inputs[0], len(shape)), shape=(size, *shape))

    def infer(self, x: Aval, *, shape: Shape) -> Aval:
        if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
            raise ShapeError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
        return Aval(shape, x.dtype)


broadcast_to = BroadcastTo()


class Concat(Op):
    """Arrays one after another along an axis."""

    moves = True
    axes = ("axis",)

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
        elif not isinstance(axis, int) or axis < 0:
            ndim = xs[0].ndim if isinstance(xs[0], Operators) else np.ndim(xs[0])
            axis = normalize_axis("concat", axis, ndim)
        return apply(self, *xs, axis=axis)

    def forward(self, xp: Any, *xs: Array, axis: int) -> Array:
        return xp.concatenate(xs, axis=axis)

    def infer(self, *xs: Aval, axis: int) -> Aval:
        shape = xs[0].shape
        axis = normalize_axis("concat", axis, len(shape))
        for x in xs:
            same = (*x.shape[:axis], *x.shape[axis + 1 :]) == (*shape[:axis], *shape[axis + 1 :])
            if len(x.shape) != len(shape) or not same:
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
            part = {"index": (*before, slice(start, stop))}
            found.append(unary(indexing.getitem, cotangent, part) if wanted else None)
            start = stop
        return found


concat = Concat()


class SplitAt(Op):
    """The parts of x between places along an axis: `split` and `unstack` are made of it.

    One operation for all parts, so that their cotangents are put together in one go.
    """

    moves = True
    axes = ("axis",)

    examples = (
        example((3,), places=(1,), axis=0),
        example((2, 4), places=(1, 1, 3), axis=1),
        example((2, 3, 2), places=(), axis=1),
        example((0, 3), places=(2,), axis=1),
    )

    def __call__(
        self, x: TensorLike, /, places: Sequence[int], *, axis: int = 0
    ) -> tuple[Tensor, ...]:
        x = conversion.as_tensor(x)
        axis = normalize_axis("split", axis, x.ndim)
        places = tuple(_wholes("split", _listed(places)))
        found: tuple[Tensor, ...] = apply(self, x, places=places, axis=axis)
        return found

    def forward(
        self, xp: Any, x: Array, *, places: tuple[int, ...], axis: int
    ) -> tuple[Array, ...]:
        before = (slice(None),) * axis
        ends = (0, *places, x.shape[axis])
        return tuple([x[(*before, slice(a, b))] for a, b in itertools.pairwise(ends)])

    def infer(self, x: Aval, *, places: tuple[int, ...], axis: int) -> tuple[Aval, ...]:
        shape = x.shape
        return tuple(
            [
                Aval((*shape[:axis], size, *shape[axis + 1 :]), x.dtype)
                for size in _sizes(shape[axis], places)
            ]
        )

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        return [concat(list(cotangent), axis=params["axis"])]


split_at = SplitAt()


def _sizes(size: int, places: Sequence[int]) -> list[int]:
    """How long the parts are that an axis falls into at these places."""
    return [b - a for a, b in itertools.pairwise((0, *places, size))]


class PadConstant(Op):
    """x with `widths` of a number before and behind each axis: `pad` is made of it."""

    moves = True
    gradients = (
        lambda g, _, x, widths, value: g[
            tuple([slice(a, a + size) for (a, _), size in zip(widths, x.shape, strict=True)])
        ],
    )
    references = {
        "tensorflow": lambda tf, x, widths, value: (
            tf.pad(x, [list(w) for w in widths], constant_values=value)
            if widths
            else tf.identity(x)
        ),
        "torch": lambda torch, x, widths, value: torch.nn.functional.pad(
            x, [size for width in widths[::-1] for size in width], value=value
        ),
        "jax": lambda jax, x, widths, value: jax.numpy.pad(x, widths, constant_values=value),
    }
    examples = (
        example((3,), widths=((1, 2),), value=0.0),
        example((2, 3), widths=((0, 1), (2, 0)), value=-1.5),
        example((2, 0), widths=((1, 1), (1, 0)), value=1.0),
        example((2, 1, 2, 1), widths=((1, 0), (0, 0), (0, 2), (1, 1)), value=0.0),
    )

    def __call__(self, x: TensorLike, /, widths: Sequence[Sequence[int]], value: Any) -> Tensor:
        return unary(self, conversion.as_tensor(x), {"widths": widths, "value": value})

    def forward(self, xp: Any, x: Array, *, widths: Any, value: Any) -> Array:
        if hasattr(x, "at"):  # JAX's arrays, which cannot be changed
            return xp.pad(x, widths, constant_values=value)
        sizes = zip(widths, x.shape, strict=True)
        out = xp.full([a + size + b for (a, b), size in sizes], value, x.dtype)
        out[tuple([slice(a, a + s) for (a, _), s in zip(widths, x.shape, strict=True)])] = x
        return out

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        return apply(self, inputs[0], widths=((0, 0), *params["widths"]), value=params["value"])

    def infer(self, x: Aval, *, widths: Any, value: Any) -> Aval:
        sizes = zip(widths, x.shape, strict=True)
        return Aval(tuple([a + size + b for (a, b), size in sizes]), x.dtype)


pad_constant = PadConstant()


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (tuple, list, range, np.ndarray)) else [given]


def matrix_transpose(x: TensorLike, /) -> Tensor:
    """The last two axes exchanged.

    >>> matrix_transpose(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = conversion.as_tensor(x)
    if x._data.ndim < 2:
        raise ShapeError(f"matrix_transpose: shape {x.shape} has no two axes to exchange")
    return unary(permute_dims, x, swapped(x._data.ndim))


@functools.lru_cache(maxsize=4096)
@functools.cache
def swapped(ndim: int) -> dict[str, Any]:
    """The parameters of `permute_dims` that exchange the last two axes."""
    return {"axes": (*range(ndim - 2), ndim - 1, ndim - 2)}


def transpose(x: TensorLike, /, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in this order; without one, in reverse.

    >>> transpose(np.zeros((2, 3, 4))).shape
    (4, 3, 2)
    """
    x = conversion.as_tensor(x)
    return permute_dims(x, range(x.ndim)[::-1] if axes is None else axes)


def swapaxes(x: TensorLike, /, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    >>> swapaxes(np.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    x = conversion.as_tensor(x)
    first, second = [normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2)]
    axes = list(range(x.ndim))
    axes[first], axes[second] = second, first
    return permute_dims(x, axes)


def moveaxis(x: TensorLike, source: Any, destination: Any, /) -> Tensor:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = conversion.as_tensor(x)
    moved, places = (
        [normalize_axis("moveaxis", a, x.ndim) for a in _listed(given)]
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


def expand_dims(x: TensorLike, /, axis: int | Sequence[int] = 0) -> Tensor:
    """New axes of size 1, at these places of the result.

    >>> expand_dims(np.zeros(3), axis=-1).shape
    (3, 1)
    """
    x = conversion.as_tensor(x)
    given = _listed(axis)
    ndim = x.ndim + len(given)
    places = {normalize_axis("expand_dims", a, ndim) for a in given}
    if len(places) != len(given):
        raise ArgumentError(f"expand_dims: axis {axis!r} names a place twice")
    sizes = iter(x.shape)
    return reshape(x, [1 if i in places else next(sizes) for i in range(ndim)])


def squeeze(x: TensorLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 taken away: those named, or all.

    >>> squeeze(np.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    x = conversion.as_tensor(x)
    if axis is None:
        axis = [i for i, size in enumerate(x.shape) if size == 1]
    places = normalize_axes("squeeze", axis, x.ndim)
    for place in places:
        if x.shape[place] != 1:
            raise ShapeError(f"squeeze: axis {place} of shape {x.shape} does not have size 1")
    return reshape(x, [size for i, size in enumerate(x.shape) if i not in places])


def stack(xs: Sequence[TensorLike], /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape side by side along a new axis.

    >>> stack([np.zeros(3), np.ones(3)], axis=1).shape
    (3, 2)
    """
    if not isinstance(xs, (list, tuple)) or not xs:
        raise ArgumentError("stack: takes a list or tuple of at least one array")
    given = conversion.as_tensors(*xs)
    shapes = [x.shape for x in given]
    if len(set(shapes)) > 1:
        raise ShapeError(f"stack: shapes must be equal, not {' and '.join(map(str, shapes))}")
    axis = normalize_axis("stack", axis, len(shapes[0]) + 1)
    return concat([expand_dims(x, axis=axis) for x in given], axis=axis)


def unstack(x: TensorLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along an axis, which goes away: what `stack` puts together.

    >>> unstack(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    (Tensor([1., 3.], dtype=float64), Tensor([2., 4.], dtype=float64))
    """
    x = conversion.as_tensor(x)
    axis = normalize_axis("unstack", axis, x.ndim)
    if not x.shape[axis]:
        return ()
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    parts = split_at(x, range(1, x.shape[axis]), axis=axis)
    return tuple([reshape(part, shape) for part in parts])


def split(
    x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """The parts of x along an axis: that many of one size, or those that begin and end at these
    places, as in `numpy.split`. Raises ArgumentError where the sections cannot be equal.

    >>> split(np.arange(5), [2])
    (Tensor([0, 1], dtype=int64), Tensor([2, 3, 4], dtype=int64))
    """
    x = conversion.as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    size, given = x.shape[axis], indices_or_sections
    if isinstance(given, (int, np.integer)):
        if given < 1 or size % given:
            raise ArgumentError(
                f"split: {size} elements along axis {axis} of shape {x.shape} do not make {given} "
                "equal parts; a list says where to cut"
            )
        places: Sequence[int] = range(size // given, size, size // given) if size else ()
        places = places if size else (0,) * (given - 1)
    else:
        # A place may lie beyond the end, or count from it; parts that would end before they begin
        # are empty, where they begin.
        ends = [min(max(i + size if i < 0 else i, 0), size) for i in _wholes("split", given)]
        if ends != sorted(ends):
            return _overlapping(x, [0, *ends, size], axis)
        places = ends
    return split_at(x, places, axis=axis)


def _overlapping(x: Tensor, ends: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    """Parts between places that go back and forth."""
    before = (slice(None),) * axis
    return tuple([x[(*before, slice(a, b))] for a, b in itertools.pairwise(ends)])


def _wholes(name: str, values: Any) -> list[int]:
    """Values as Python integers."""
    try:
        return [int(operator.index(value)) for value in values]
    except TypeError:
        raise ArgumentError(f"{name}: takes integers, not {values!r}") from None


def ravel(x: TensorLike, /) -> Tensor:
    """The elements of x in one row.

    >>> ravel(np.array([[1, 2], [3, 4]]))
    Tensor([1, 2, 3, 4], dtype=int64)
    """
    return reshape(x, -1)


def atleast_1d(x: TensorLike, /) -> Tensor:
    """x, a single number as an array of one.

    >>> atleast_1d(5.0)
    Tensor([5.], dtype=float32)
    """
    x = conversion.as_tensor(x)
    return x if x.ndim else reshape(x, (1,))


def atleast_2d(x: TensorLike, /) -> Tensor:
    """x with new axes in front, until there are two.

    >>> atleast_2d([1.0, 2.0])
    Tensor([[1., 2.]], dtype=float32)
    """
    x = conversion.as_tensor(x)
    return x if x.ndim > 1 else reshape(x, (1, x.size))


def atleast_3d(x: TensorLike, /) -> Tensor:
    """x with new axes, until there are three; NumPy puts a row in the middle, and a matrix in
    front.

    >>> atleast_3d(np.zeros(4)).shape, atleast_3d(np.zeros((4, 2))).shape
    ((1, 4, 1), (4, 2, 1))
    """
    x = conversion.as_tensor(x)
    return x if x.ndim > 2 else reshape(x, (*atleast_2d(x).shape, 1))


def broadcast_arrays(*arrays: TensorLike) -> list[Tensor]:
    """Arrays in the one shape that they broadcast to.

    >>> [x.shape for x in broadcast_arrays(np.zeros((2, 1)), np.zeros(3))]
    [(2, 3), (2, 3)]
    """
    given = conversion.as_tensors(*arrays)
    shape = broadcast_shapes("broadcast_arrays", *[x.shape for x in given])
    return [broadcast_to(x, shape) for x in given]


def meshgrid(*arrays: TensorLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinates of a grid: one array for each of the given ones, of the shape of all their sizes.
    With "ij" the i-th array runs along axis i; "xy" exchanges the first two axes.

    >>> meshgrid([1.0, 2.0], [3.0, 4.0, 5.0])[0]
    Tensor([[1., 2.],
            [1., 2.],
            [1., 2.]], dtype=float32)
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}')
    given = conversion.as_tensors(*arrays)
    places = list(range(len(given)))
    if indexing == "xy" and len(given) > 1:
        places[:2] = [1, 0]
    for x in given:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: takes arrays of one dimension, not of shape {x.shape}")
    rows = [
        reshape(x, [-1 if i == place else 1 for i in range(len(given))])
        for x, place in zip(given, places, strict=True)
    ]
    return broadcast_arrays(*rows) if rows else []


def tile(x: TensorLike, repetitions: int | Sequence[int], /) -> Tensor:
    """x as a whole, so many times along each axis; as in NumPy the shorter of the shape and the
    repetitions gets ones in front.

    >>> tile(np.array([1, 2]), (2, 2))
    Tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]], dtype=int64)
    """
    x = conversion.as_tensor(x)
    times = _wholes("tile", _listed(repetitions))
    if min(times, default=0) < 0:
        raise ArgumentError(f"tile: repetitions {repetitions!r} cannot be negative")
    missing = len(times) - x.ndim
    shape, times = (1,) * missing + x.shape, [1] * -missing + times
    pairs = [size for pair in zip(times, shape, strict=True) for size in pair]
    single = [1 if i % 2 == 0 else size for i, size in enumerate(pairs)]
    found = broadcast_to(reshape(x, single), pairs)
    return reshape(found, [n * size for n, size in zip(times, shape, strict=True)])


def repeat(x: TensorLike, repeats: int | TensorLike, /, *, axis: int | None = None) -> Tensor:
    """Each element of x so many times along an axis: as often for all, or an integer for each.
    Without an axis, of x in one row.

    >>> repeat(np.array([1, 2]), 2), repeat(np.array([1, 2]), [3, 1])
    (Tensor([1, 1, 2, 2], dtype=int64), Tensor([1, 1, 1, 2], dtype=int64))
    """
    x = conversion.as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis("repeat", axis, x.ndim)
    times = conversion.as_tensor(repeats).numpy()
    if times.dtype.kind not in "iu" or times.ndim > 1 or np.any(times < 0):
        raise ArgumentError(
            f"repeat: repeats are integers, not negative: one, or a row of them, not {repeats!r}"
        )
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if times.size == 1:
        n = int(times.item())
        wide = broadcast_to(reshape(x, (*before, size, 1, *after)), (*before, size, n, *after))
        return reshape(wide, (*before, size * n, *after))
    if times.size != size:
        raise ShapeError(
            f"repeat: {times.size} repeats do not fit the {size} elements along axis {axis} of "
            f"shape {x.shape}"
        )
    places = np.repeat(np.arange(size, dtype=np.int32), times)
    return x[(slice(None),) * axis + (places,)]


def flip(x: TensorLike, /, *, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements in reverse order along axes; without any, along all.

    >>> flip(np.array([[1, 2], [3, 4]]), axis=1)
    Tensor([[2, 1],
            [4, 3]], dtype=int64)
    """
    x = conversion.as_tensor(x)
    axes = normalize_axes("flip", axis, x.ndim)
    return x[tuple([slice(None, None, -1 if i in axes else None) for i in range(x.ndim)])]


def roll(
    x: TensorLike, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None
) -> Tensor:
    """The elements moved so many places along axes; those that leave at the end come in at the
    start. Without an axis, along x in one row.

    >>> roll(np.arange(5), 2)
    Tensor([3, 4, 0, 1, 2], dtype=int64)
    """
    x = conversion.as_tensor(x)
    if axis is None:
        row = roll(reshape(x, -1), sum(_wholes("roll", _listed(shift))), axis=0)
        return reshape(row, x.shape)
    axes = [normalize_axis("roll", a, x.ndim) for a in _listed(axis)]
    shifts = _wholes("roll", _listed(shift))
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    if not shifts or not axes:
        return x
    count = max(len(shifts), len(axes))
    for a, n in zip(axes * (count // len(axes)), shifts * (count // len(shifts)), strict=True):
        n = n % x.shape[a] if x.shape[a] else 0
        if n:
            x = concat(split_at(x, (x.shape[a] - n,), axis=a)[::-1], axis=a)
    return x


def rot90(x: TensorLike, /, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """x turned by k right angles, from the first of two axes towards the second.

    >>> rot90(np.array([[1, 2], [3, 4]]))
    Tensor([[2, 4],
            [1, 3]], dtype=int64)
    """
    x = conversion.as_tensor(x)
    first, second = _two_axes("rot90", x, axes)
    k = _wholes("rot90", [k])[0] % 4
    if k == 2:
        return flip(x, axis=(first, second))
    if k == 1:
        x = flip(x, axis=second)
    turned = swapaxes(x, first, second) if k else x
    return flip(turned, axis=second) if k == 3 else turned


def _two_axes(name: str, x: Tensor, axes: Sequence[int]) -> list[int]:
    found = [normalize_axis(name, a, x.ndim) for a in _listed(axes)]
    if len(found) != 2 or found[0] == found[1]:
        raise ArgumentError(f"{name}: takes two axes, each once, not {axes!r}")
    return found


_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def pad(x: TensorLike, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """x with elements before and behind each axis, as in `numpy.pad`.

    `pad_width` is a pair (before, behind) for each axis, one pair for all, or one integer.
    `mode` says what is added: "constant" numbers (`constant_values`, in the same forms), the
    "edge", what "reflect" shows in a mirror on the last element, what "symmetric" does in one
    behind it, or what comes from the other end ("wrap").

    >>> pad(np.array([1, 2, 3]), (2, 1)), pad(np.array([1, 2, 3]), 2, "reflect")
    (Tensor([0, 0, 1, 2, 3, 0], dtype=int64), Tensor([3, 2, 1, 2, 3, 2, 1], dtype=int64))
    """
    found = conversion.as_tensor(x)
    if mode not in _MODES:
        raise ArgumentError(f"pad: mode is one of {', '.join(_MODES)}, not {mode!r}")
    widths = [tuple(_wholes("pad", pair)) for pair in _pairs("pad_width", pad_width, found.ndim)]
    if any([size < 0 for width in widths for size in width]):
        raise ArgumentError(f"pad: pad_width {pad_width!r} cannot be negative")
    if mode == "constant":
        return _padded(found, widths, _pairs("constant_values", constant_values, found.ndim))
    how: Any = mode
    for axis, width in enumerate(widths):
        if not any(width):
            continue
        if not found.shape[axis]:
            raise ShapeError(
                f"pad: axis {axis} of shape {found.shape} is empty: nothing for mode {mode!r}"
            )
        places = np.pad(np.arange(found.shape[axis], dtype=np.int32), width, how)
        found = found[(slice(None),) * axis + (places,)]
    return found


def _padded(x: Tensor, widths: list[tuple[int, ...]], values: list[list[Any]]) -> Tensor:
    """x with numbers around it: in one go, or, where they differ, axis by axis."""
    if x.dtype == dtypes.bool_:
        values = [[bool(v) if v in (0, 1) else v for v in pair] for pair in values]
    given = {value for pair in values for value in pair}
    for value in given:
        kind: Any = type(value)
        if dtypes.promote_weak(x.dtype, kind) != x.dtype:
            raise DtypeError(f"pad: constant_values {value!r} do not fit in dtype {x.dtype}")
    if len(given) <= 1:
        return pad_constant(x, tuple(widths), given.pop()) if given else x
    for axis, (width, pair) in enumerate(zip(widths, values, strict=True)):
        for side, value in enumerate(pair):
            sizes = [(0, 0)] * x.ndim
            sizes[axis] = (width[0], 0) if side == 0 else (0, width[1])
            x = pad_constant(x, tuple(sizes), value)
    return x


def _pairs(name: str, given: Any, ndim: int) -> list[list[Any]]:
    """A pair for each axis, of NumPy's forms: n, (n,), (before, behind), ((before, behind),), or
    all of them."""
    array = conversion.to_array(given)
    try:
        found: list[list[Any]] = np.broadcast_to(array, (ndim, 2)).tolist()
    except ValueError:
        raise ArgumentError(
            f"pad: {name} is a pair for each of {ndim} axes, one pair or one number, not {given!r}"
        ) from None
    return found


def tril(x: TensorLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' elements on and below a diagonal (the k-th above the main one); zeros
    above.

    >>> tril(np.ones((2, 3)))
    Tensor([[1., 0., 0.],
            [1., 1., 0.]], dtype=float64)
    """
    return _triangle("tril", x, k, lambda rows, columns, k: np.tri(rows, columns, k, bool))


def triu(x: TensorLike, /, *, k: int = 0) -> Tensor:
    """The last two axes' elements on and above a diagonal (the k-th above the main one); zeros
    below.

    >>> triu(np.ones((2, 3)))
    Tensor([[1., 1., 1.],
            [0., 1., 1.]], dtype=float64)
    """
    return _triangle("triu", x, k, lambda rows, columns, k: ~np.tri(rows, columns, k - 1, bool))


def _triangle(
    name: str, x: TensorLike, k: int, kept: Callable[[int, int, int], np.ndarray]
) -> Tensor:
    x = conversion.as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: takes matrices, of at least two dimensions, not {x.shape}")
    rows, columns = x.shape[-2:]
    within = min(max(whole(name, "k", k), -rows), columns)  # NumPy's is an integer of 64 bits
    zero = False if x.dtype == dtypes.bool_ else 0
    return elementwise.where(kept(rows, columns, within), x, zero)


def diagonal(x: TensorLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements on a diagonal of two axes (the first two, as in NumPy; the offset-th above the
    main one), along a new last axis in their place.

    >>> diagonal(np.array([[1, 2, 3], [4, 5, 6]]), 1)
    Tensor([2, 6], dtype=int64)
    """
    x = conversion.as_tensor(x)
    axes = _two_axes("diagonal", x, (axis1, axis2))
    rest = [i for i in range(x.ndim) if i not in axes]
    rows, columns = [x.shape[a] for a in axes]
    found = x if [*rest, *axes] == list(range(x.ndim)) else permute_dims(x, [*rest, *axes])
    row = reshape(found, (*found.shape[:-2], rows * columns))
    (offset,) = _wholes("diagonal", [offset])
    start = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    # The next element of a diagonal comes one row and one place later.
    stop = start + (count - 1) * (columns + 1) + 1 if count else start
    return row[..., start : stop : columns + 1]


def diag(x: TensorLike, /, k: int = 0) -> Tensor:
    """The k-th diagonal of a matrix; of a row, the matrix with this diagonal and zeros elsewhere.

    >>> diag(np.array([1, 2]), 1)
    Tensor([[0, 1, 0],
            [0, 0, 2],
            [0, 0, 0]], dtype=int64)
    """
    x = conversion.as_tensor(x)
    if x.ndim not in (1, 2):
        raise ShapeError(f"diag: takes a row or a matrix, not shape {x.shape}")
    if x.ndim == 2:
        return diagonal(x, k)
    (k,) = _wholes("diag", [k])
    size = x.shape[0] + abs(k)
    start = k if k >= 0 else -k * size
    places = slice(start, start + x.shape[0] * (size + 1), size + 1)
    row = indexing.getitem_transpose(x, index=(places,), shape=(size * size,))
    return reshape(row, (size, size))


def trace(x: TensorLike, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum along a diagonal of two axes; see `diagonal`.

    >>> trace(np.array([[1.0, 2.0], [3.0, 4.0]]))
    Tensor(5., dtype=float64)
    """
    return reduction.sum(diagonal(x, offset, axis1, axis2), axis=-1)


def sum_to(x: Any, shape: Shape, /) -> Any:
    """A Tensor, or a bare NumPy array, summed over the axes along which `shape` would be broadcast
    to it: the transpose of broadcasting. Itself if it is what would be broadcast.

    >>> sum_to(conversion.tensor([[1.0, 2.0], [3.0, 4.0]]), (2,))
    Tensor([4., 6.], dtype=float32)
    """
    if not isinstance(x, Tensor):
        return _summing_to(x.shape, shape, x.dtype)(x)
    axis = _repeated(x.shape, shape)
    if not axis:
        return x if axis is None else reshape(x, shape)
    found = unary(reduction.sum, x, {"axis": axis, "keepdims": False})
    return found if found.shape == shape else reshape(found, shape)


@functools.lru_cache(maxsize=256)
def _summing_to(shape: Shape, narrow: Shape, dtype: DType) -> Callable[[np.ndarray], Any]:
    """What `sum_to` does to bare arrays of a shape and dtype."""
    axis = _repeated(shape, narrow)
    if axis is None:
        return lambda x: x
    if not axis:
        return lambda x: x.reshape(narrow)
    summed = summing(shape, axis, dtype)
    if len(narrow) == len(shape) - len(axis):
        return summed
    return lambda x: summed(x).reshape(narrow)


@functools.lru_cache(maxsize=4096)
def _repeated(shape: Shape, narrow: Shape) -> tuple[int, ...] | None:
    """The axes on which an array of shape `narrow` is repeated when it is broadcast to `shape`;
    None where it is `shape` that broadcasts to `narrow`."""
    extra = len(shape) - len(narrow)
    if extra <= 0 and all([s in (1, n) for s, n in zip(shape, narrow[-extra:], strict=True)]):
        return None
    repeated = [i + extra for i, s in enumerate(narrow) if s == 1 and shape[i + extra] != 1]
    return (*range(extra), *repeated)


def to_device(x: TensorLike, device: str | Device, /) -> Tensor:
    """x on another device; the gradient moves back. Raises DeviceError if it cannot run here.

    >>> to_device([1.0, 2.0], "numpy")
    Tensor([1., 2.], dtype=float32)
    """
    x, target = conversion.as_tensor(x), backends.find(device)
    if target in (x._device, x._device.base):  # of a batch, and of a trace, on that device
        return x
    return _moved(x, target)


def _moved(x: Tensor, target: Device) -> Tensor:
    data = target.from_numpy(x._device.to_numpy(x._data))
    node = tape.record(_move, (x,), (x._record,), {"device": target.name}, data)
    return tensors.wrap(type(x), data, target, node)


class Move(Op):
    """x on another device; `to_device` applies it."""

    gradients = (lambda g, _, x, device: to_device(g, x.device),)

    def forward(self, xp: Any, x: Array, *, device: str) -> Array:
        raise ArgumentError("move: an operation runs on one device; use x.to(device)")

    def infer(self, x: Aval, *, device: str) -> Aval:
        return x


_move = Move()


# Sums undo broadcasts, and broadcasts undo sums; what is read is put back.
from . import elementwise, indexing, reduction  # noqa: E402
