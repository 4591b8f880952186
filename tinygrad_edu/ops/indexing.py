"""Reading and replacing parts of a Tensor.

An index is split in two: a template of what is known beforehand (integers, slices, ellipsis,
newaxis), and the integer arrays, which are operands like any other. Booleans become the integer
arrays of where they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from .. import dtypes, tensors
from ..backends import Array
from ..dtypes import DType
from ..errors import ArgumentError, DtypeError, OutOfRangeError
from ..op import Aval, Example, Op, Shape, apply, example
from ..tensors import Tensor, TensorLike
from .creation import ones_like, zeros_like
from .elementwise import astype, where
from .logic import equal, greater

__all__ = [
    "getitem",
    "scatter",
]

Template = tuple[Any, ...]


class _Operand:
    """The place in a template of an integer array."""

    def __repr__(self) -> str:
        return "array"


ARRAY = _Operand()


def split_index(x: Tensor, index: Any) -> tuple[Template, list[Any]]:
    """The template and the integer arrays of an index into x. Raises ArgumentError or DtypeError
    for what cannot be one, OutOfRangeError for an integer beyond the end of its axis."""
    shape = tuple(x._data.shape)
    parts = [_part(p) for p in (index if isinstance(index, tuple) else (index,))]
    used = sum([_axes_used(part) for part in parts])
    ellipses = sum([part is Ellipsis for part in parts])
    if ellipses > 1 or used > len(shape):
        raise OutOfRangeError(f"indexing: {index!r} has too many parts for shape {shape}")
    template: list[Any] = []
    arrays: list[Any] = []
    axis = 0
    for part in parts:
        if isinstance(part, (np.ndarray, Tensor)) and part.dtype == dtypes.bool_:
            found = _places(part.numpy() if isinstance(part, Tensor) else part, axis, shape)
            template += [ARRAY] * len(found)
            arrays += found
        else:
            if isinstance(part, (int, np.ndarray, Tensor)):
                _check_range(part, axis, shape)
            is_array = isinstance(part, (np.ndarray, Tensor))
            template.append(ARRAY if is_array else part)
            arrays += [part] if is_array else []
        axis += len(shape) - used if part is Ellipsis else _axes_used(part)
    return tuple(template), arrays


def _part(part: Any) -> Any:
    """A part of an index as None, Ellipsis, a slice, an int, or an array of ints or booleans."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        start, stop, step = map(_whole, (part.start, part.stop, part.step))
        if step == 0:
            raise ArgumentError("indexing: the step of a slice must not be 0")
        return slice(start, stop, step)
    value: Any = tensors.unwrap(part)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    value = np.asarray(value) if isinstance(value, (bool, float)) else value
    if value.dtype == dtypes.bool_ and not value.ndim:
        raise ArgumentError(
            "indexing: a single boolean is no index; x[None] gives a new axis, x[:0] nothing"
        )
    if dtypes.kind(value.dtype) == "f" and not value.size:
        return np.zeros(value.shape, dtypes.int32)  # an empty list
    if dtypes.kind(value.dtype) == "f":
        raise DtypeError(f"indexing: an index is integers or booleans, not {value.dtype}")
    return value


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        raise DtypeError(f"indexing: a slice takes integers, not {value!r}") from None


def _axes_used(part: Any) -> int:
    """How many axes of x a part of an index stands for."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if getattr(part, "dtype", None) == dtypes.bool_ else 1


def _places(mask: np.ndarray, axis: int, shape: Shape) -> list[np.ndarray]:
    """Where a mask holds, as integer arrays, one an axis."""
    if mask.shape != shape[axis : axis + mask.ndim]:
        raise OutOfRangeError(
            f"indexing: a mask of shape {mask.shape} does not fit shape {shape} from axis {axis} on"
        )
    return [places.astype(dtypes.int32) for places in np.nonzero(mask)]


def _check_range(part: Any, axis: int, shape: Shape) -> None:
    size = shape[axis]
    if isinstance(part, Tensor):
        part = part.numpy()
    if isinstance(part, np.ndarray):
        outside = part[(part < -size) | (part >= size)]
        if not outside.size:
            return
        part = outside.flat[0]
    if not -size <= part < size:
        raise OutOfRangeError(
            f"indexing: {part} is out of range for axis {axis} of shape {tuple(shape)}"
        )


def _merge(template: Template, arrays: Sequence[Array]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple(next(rest) if part is ARRAY else part for part in template)


def _template_dtypes(given: Sequence[Any], values: int) -> list[DType]:
    """x and the values in the dtype of x, indices as they are."""
    return [given[0]] * values + [dtypes.int32 if d == dtypes.bool_ else d for d in given[values:]]


_PART = (slice(None, None, 2), ...)
_ROWS = (np.array([0, 2, 2]),)
_CORNERS = (np.array([[0], [-1]]), np.array([1, 0]))
_MASK = (np.array([True, False, True]),)
_NOTHING = (np.zeros(0, np.int32),)


class Getitem(Op):
    """The part of x that an index names, as in NumPy."""

    examples = (
        example((3,), index=1),
        example((3, 4), index=(-1, slice(1, 3))),
        example((3, 4), index=(slice(None, None, -2), None, ..., 0)),
        example((2, 3, 2, 2), index=_PART),
        example((3, 2), index=_ROWS),
        example((3, 2), index=_CORNERS),
        example((3, 2), index=_MASK),
        example((2, 3, 4), index=(slice(None), np.array([0, 2]), np.array([1, -1]))),
        example((3, 2), index=_NOTHING),
        example((0, 3), index=(slice(None), 1)),
        example((0, 3), index=(slice(None), np.array([0, 2]))),
        example((), index=()),
    )

    def __call__(self, x: TensorLike, /, index: Any) -> Tensor:
        x = tensors.as_tensor(x)
        template, arrays = split_index(x, index)
        return apply(self, x, *arrays, index=template)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType]:
        return _template_dtypes(given, 1)

    def forward(self, xp: Any, x: Array, *arrays: Array, index: Template) -> Array:
        return x[_merge(index, arrays)]

    def infer(self, x: Aval, *arrays: Aval, index: Template) -> Aval:
        # The shape of an index's result is NumPy's to say: ask it, with arrays that hold nothing.
        nothing = np.empty((), np.int8)
        places = [np.broadcast_to(np.zeros_like(nothing), a.shape) for a in arrays]
        found = np.broadcast_to(nothing, x.shape)[_merge(index, places)]
        return Aval(found.shape, x.dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        x, *arrays = inputs
        zeros = zeros_like(x)
        found = apply(scatter["add"], zeros, cotangent, *arrays, index=params["index"])
        return [found, *[None] * len(arrays)]


class Scatter(Op, abstract=True):
    """Base of the replacements: a copy of x in which values went to the places an index names."""

    how: Literal["set", "add", "multiply", "min", "max"]
    examples: ClassVar[tuple[Example, ...]] = (
        example((3,), (), index=1),
        example((3, 4), (2,), index=(-1, slice(1, 3))),
        example((3, 2), (2, 2), index=_MASK),
        example((2, 3, 2, 2), (), index=_PART),
        example((3, 4), (3, 4), index=(slice(None, None, -1),)),
        example((3, 2), (2, 2), index=_CORNERS),
        example((3, 2), (0, 2), index=_NOTHING),
        example((0, 3), (0, 2), index=(slice(None), np.array([0, 2]))),
        example((3, 2), (3, 2), index=_ROWS),
        example((3, 2), (2,), index=_ROWS),
    )

    def __call__(self, x: TensorLike, index: Any, values: TensorLike, /) -> Tensor:
        x = tensors.as_tensor(x)
        template, arrays = split_index(x, index)
        values = tensors.fitting(values, x, f"at[...].{self.how}")
        return apply(self, x, values, *arrays, index=template)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType]:
        return _template_dtypes(given, 2)

    def forward(self, xp: Any, x: Array, values: Array, *arrays: Array, index: Template) -> Array:
        place = _merge(index, arrays)
        if hasattr(x, "at"):  # JAX's arrays, which cannot be changed either
            return getattr(x.at[place], self.how)(values)
        out = x.copy()
        if self.how == "set":
            out[place] = values
        elif not arrays:  # no place comes twice
            part = out[place]
            out[place] = getattr(xp, _UFUNCS[self.how])(part, values)
        else:
            getattr(xp, _UFUNCS[self.how]).at(out, place, values)
        return out

    def infer(self, x: Aval, values: Aval, *arrays: Aval, index: Template) -> Aval:
        part = getitem.infer(x, *arrays, index=index)
        try:
            fits = np.broadcast_shapes(values.shape, part.shape) == part.shape
        except ValueError:
            fits = False
        if not fits:
            raise ArgumentError(
                f"at[...].{self.how}: values of shape {values.shape} do not fit the part, of shape "
                f"{part.shape}"
            )
        return x

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        x, values, *arrays = inputs
        index = params["index"]

        def read(of: Tensor) -> Tensor:
            return apply(getitem, of, *arrays, index=index)

        def write(how: str, into: Tensor, what: Any) -> Tensor:
            what = tensors.as_tensor(what, dtype=into.dtype, like=into)
            return apply(scatter[how], into, what, *arrays, index=index)

        of_x, of_values = self.parts(cotangent, out, x, values, read, write)
        return [
            of_x() if needed[0] else None,
            of_values() if needed[1] else None,
            *[None] * len(arrays),
        ]

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any
    ) -> Any:
        """The cotangents of x and of the values, each as a function of nothing."""
        raise NotImplementedError  # each replacement states its own


_UFUNCS = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}


class ScatterSet(Scatter):
    """x with values in place of a part. Where a place comes twice, one of its values stays."""

    how = "set"
    examples = Scatter.examples[:-2]  # where a place comes twice, nobody says which value stays

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any
    ) -> Any:
        return lambda: write("set", g, 0), lambda: read(g)


class ScatterAdd(Scatter):
    """x with values added to a part; a place that comes twice gets both."""

    how = "add"

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any
    ) -> Any:
        return lambda: g, lambda: read(g)


class ScatterMultiply(Scatter):
    """x with a part multiplied by values; a place that comes twice is multiplied by both."""

    how = "multiply"

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any
    ) -> Any:
        def of_values() -> Tensor:
            # The product of the other values at each place, without dividing by a zero.
            zero = astype(equal(values, 0), x.dtype)
            safe = where(equal(values, 0), 1.0, values)
            product = read(write("multiply", ones_like(x), safe)) / safe
            another_zero = greater(read(write("add", zeros_like(x), zero)), zero)
            return read(g * x) * where(another_zero, 0.0, product)

        return lambda: g * write("multiply", ones_like(x), values), of_values


class _ScatterExtreme(Scatter, abstract=True):
    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any
    ) -> Any:
        # Everyone who equals the result has a share of its gradient, all the same.
        held = astype(equal(x, out), x.dtype)
        chosen = astype(equal(values, read(out)), x.dtype)
        share = g / write("add", held, chosen)
        return lambda: held * share, lambda: chosen * read(share)


class ScatterMin(_ScatterExtreme):
    """x with the smaller of it and values in a part. Ties share the gradient."""

    how = "min"


class ScatterMax(_ScatterExtreme):
    """x with the larger of it and values in a part. Ties share the gradient."""

    how = "max"


getitem = Getitem()
scatter: dict[str, Scatter] = {
    op.how: op for op in (ScatterSet(), ScatterAdd(), ScatterMultiply(), ScatterMin(), ScatterMax())
}
