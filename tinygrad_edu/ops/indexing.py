"""Reading and replacing parts of a Tensor.

An index is split in two: a template of what is known beforehand (integers, slices, ellipsis,
newaxis), and the integer arrays, which are operands like any other. Booleans become the integer
arrays of where they hold.

Beyond the end of an axis. What can be told without waiting for a device is an OutOfRangeError:
integers and NumPy arrays always, and every index on device numpy. Of an integer Tensor on another
device reads give NaN (of integers the minimum, of unsigned ones the maximum, of booleans False),
and writes are dropped; gradients there are 0. Negative indices count from the end everywhere.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from .. import backends, batching, conversion, dtypes
from ..arguments import Shape, broadcast_shapes, normalize_axis, whole
from ..backends import Array, Device
from ..dispatch import apply, unary
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, DtypeError, Error, OutOfRangeError, ShapeError
from ..op import Aval, Op
from ..references import Example, example
from ..tensors import Tensor, TensorLike
from .creation import arange, ones_like, zeros_like
from .elementwise import astype, where
from .logic import equal, greater
from .movement import expand_dims, reshape

__all__ = [
    "argwhere",
    "getitem",
    "getitem_transpose",
    "nonzero",
    "one_hot",
    "put_along_axis",
    "scatter",
    "scatter_update",
    "scatters",
    "take",
    "take_along_axis",
]

Template = tuple[Any, ...]


class _Operand:
    """The place in a template of an integer array."""

    def __repr__(self) -> str:
        return "array"


ARRAY = _Operand()


def split_index(shape: Shape, device: Device, index: Any) -> tuple[Template, list[Any]]:
    """The template and the integer arrays of an index into something of a shape, on a device.
    Raises ArgumentError or DtypeError for what cannot be one, OutOfRangeError for an integer beyond
    the end of its axis."""
    if index.__class__ is Tensor and index._data.dtype.kind in "iu" and shape and shape[0]:
        return (ARRAY,), [index]  # a look-up in a table: the rest would find this too
    given = index if isinstance(index, tuple) else (index,)
    if _is_basic(given, shape):
        return given, []
    parts = [_part(p) for p in given]
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
            is_array = isinstance(part, (np.ndarray, Tensor))
            if isinstance(part, int) or (is_array and _is_checked(part, shape[axis], device)):
                _check_range(part, axis, shape)
            template.append(ARRAY if is_array else part)
            arrays += [part] if is_array else []
        axis += len(shape) - used if part is Ellipsis else _axes_used(part)
    return tuple(template), arrays


def _is_basic(parts: tuple[Any, ...], shape: Shape) -> bool:
    """Whether an index is Python integers that are in range, slices of them, one ellipsis, and
    newaxis: nothing to convert, and no array."""
    axis, ndim, open_end = 0, len(shape), False
    for i, part in enumerate(parts):
        kind = part.__class__
        if part is None:
            continue
        if part is Ellipsis and not open_end:
            open_end = True
            axis = ndim - sum([p is not None for p in parts[i + 1 :]])
            if axis < 0:
                return False
            continue
        if axis >= ndim:
            return False
        if kind is int:
            if not -shape[axis] <= part < shape[axis]:
                return False
        elif kind is not slice or part.step == 0 or not _is_plain(part):
            return False
        axis += 1
    return True


_PLAIN = {int, type(None)}


def _is_plain(part: slice) -> bool:
    return {part.start.__class__, part.stop.__class__, part.step.__class__} <= _PLAIN


def _part(part: Any) -> Any:
    """A part of an index as None, Ellipsis, a slice, an int, or an array of ints or booleans."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        start, stop, step = map(_whole, (part.start, part.stop, part.step))
        if step == 0:
            raise ArgumentError("indexing: the step of a slice must not be 0")
        return slice(start, stop, step)
    if isinstance(part, int) and not isinstance(part, bool):
        return part  # of a class of its own too: a size that is known only when data comes
    value: Any = conversion.named("indexing", conversion.unwrap, part)
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
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
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


def _is_checked(part: Any, size: int, device: Device) -> bool:
    """Whether to look into an integer array now: not where NumPy will do so in any case, nor where
    that would wait for a device. Of an axis of size 0, nothing is in range."""
    if size == 0:
        return part.size > 0
    return isinstance(part, np.ndarray) and device is not backends.numpy


def _check_range(part: Any, axis: int, shape: Shape) -> None:
    size = shape[axis]
    if isinstance(part, Tensor):
        part = part.numpy() if part._device is backends.numpy else np.zeros(part.shape, int)
    if isinstance(part, np.ndarray) and not part.size:
        return
    for value in (part,) if isinstance(part, int) else (part.min(), part.max()):
        if not -size <= value < size:
            raise OutOfRangeError(
                f"indexing: {value} is out of range for axis {axis} of shape {tuple(shape)}"
            )


def _merge(template: Template, arrays: Sequence[Array]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple([next(rest) if part is ARRAY else part for part in template])


def _axes_of_arrays(template: Template, ndim: int) -> list[int]:
    """The axis that each integer array of a template is for."""
    used = ndim - sum([part is not None and part is not Ellipsis for part in template])
    found, axis = [], 0
    for part in template:
        found += [axis] if part is ARRAY else []
        axis += used if part is Ellipsis else part is not None
    return found


def _stand_together(template: Template) -> bool:
    """Whether nothing stands between the integer arrays, among which integers count where there is
    an array: their dimensions of the part are then in their place, otherwise in front."""
    numbers = [i for i, part in enumerate(template) if part is ARRAY or isinstance(part, int)]
    return ARRAY not in template or numbers[-1] - numbers[0] + 1 == len(numbers)


class Indexed(Op, abstract=True):
    """Base of the operations that take a template and, as their last operands, integer arrays."""

    data = 1
    """How many operands come before the integer arrays; all in the dtype of the first."""

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType]:
        indices = [_index_dtype(dtypes.as_dtype(each)) for each in given[self.data :]]
        return [given[0]] * self.data + indices

    def explain(self, error: Exception, operands: Sequence[Any], params: dict[str, Any]) -> Error:
        if isinstance(error, Error):
            return error
        if isinstance(error, IndexError):  # NumPy's, which has looked at each index anyway
            shape = params.get("shape", operands[0].shape)
            axes = _axes_of_arrays(params["index"], len(shape))
            try:
                for axis, array in zip(axes, operands[self.data :], strict=True):
                    _check_range(array, axis, shape)
            except Error as ours:
                return ours
        return super().explain(error, operands, params)


def _index_dtype(dtype: DType) -> DType:
    """What an index is computed in: narrow integers could not hold the size of the axis."""
    return dtypes.int32 if dtype.itemsize < 4 else dtypes.int64 if dtype.kind == "u" else dtype


_PART = (slice(None, None, 2), ...)
_ROWS = (np.array([0, 2, 2]),)
_CORNERS = (np.array([[0], [-1]]), np.array([1, 0]))
_MASK = (np.array([True, False, True]),)
_NOTHING = (np.zeros(0, np.int32),)


class Getitem(Indexed):
    """The part of x that an index names, as in NumPy; beyond the end as this file says on top.

    `missing` is what stands for elements beyond the end, where they are no error.
    """

    moves = True
    on_arrays = True
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
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
        template, arrays = split_index(x._data.shape, x._device, index)
        if not arrays:
            return unary(self, x, {"index": template})
        return apply(self, x, *arrays, index=template)

    def forward(
        self, xp: Any, x: Array, *arrays: Array, index: Template, missing: float | None = None
    ) -> Array:
        if not arrays:
            return x[index]
        if xp is np:
            if len(index) == 1 and x.flags.c_contiguous:  # twice as fast as x[array]
                return x.take(arrays[0], 0)
            return x[_merge(index, arrays)]
        missing = _missing(x.dtype) if missing is None else missing
        if hasattr(x, "at"):  # JAX's
            return x.at[_merge(index, arrays)].get(mode="fill", fill_value=missing)
        inside, near = _inside(xp, x.shape, arrays, index)
        return xp.where(inside, x[_merge(index, near)], xp.asarray(missing, x.dtype))

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        found = _batched(size, inputs[1:], mapped, params["index"])
        if found is None:
            return super().batch(size, inputs, mapped, params)
        arrays, index = found
        return apply(self, inputs[0], *arrays, **{**params, "index": index})

    def infer(self, x: Aval, *arrays: Aval, index: Template, missing: float | None = None) -> Aval:
        # The shape of an index's result is NumPy's to say: ask it, with arrays that hold nothing.
        nothing = np.empty((), np.int8)
        places = [np.broadcast_to(np.zeros_like(nothing), a.shape) for a in arrays]
        try:
            found = np.broadcast_to(nothing, x.shape)[_merge(index, places)]
        except IndexError as error:
            raise ShapeError(f"indexing: {error}") from None
        return Aval(found.shape, x.dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        x, *arrays = inputs
        index = params["index"]
        found = getitem_transpose.of(cotangent, *arrays, index=index, shape=x.shape)
        return [found, *[None] * len(arrays)]


getitem = Getitem()


def _batched(
    size: int, arrays: Sequence[Tensor], mapped: Sequence[bool], index: Template
) -> tuple[list[Any], Template] | None:
    """The integer arrays and the template that do for all examples what these do for one; None
    where the examples would not come to lie along the first axis. `mapped` speaks of what is
    indexed first, then of the arrays."""
    if not _stand_together(index):
        return None
    if not any(mapped[1:]):
        return list(arrays), (slice(None), *index)
    if index[0] is not ARRAY:
        return None
    ndim = max([a.ndim - m for a, m in zip(arrays, mapped[1:], strict=True)])
    rows: list[Any] = [
        batching.aligned(a, ndim) if m else a for a, m in zip(arrays, mapped[1:], strict=True)
    ]
    if not mapped[0]:
        return rows, index
    return [np.arange(size).reshape(-1, *(1,) * ndim), *rows], (ARRAY, *index)


class GetitemTranspose(Indexed):
    """Zeros of a shape, to which values are added in the part that an index names; a place that
    comes twice gets both. The transpose of `getitem`, whose gradient it is."""

    linear = (0,)
    examples = (
        example((3,), index=(slice(None, None, -2),), shape=(5,)),
        example((), index=(1,), shape=(3,)),
        example((2, 2, 2), index=_PART, shape=(3, 2, 2)),
        example((3, 2), index=_ROWS, shape=(4, 2)),
        example((2, 2, 3), index=(_CORNERS[0], slice(None), _CORNERS[1]), shape=(3, 3, 2)),
        example((0, 2), index=(slice(0, 0),), shape=(3, 2)),
    )

    def __call__(self, values: TensorLike, /, *, index: Any, shape: Shape) -> Tensor:
        values = conversion.as_tensor(values)
        template, arrays = split_index(shape, values._device, index)
        return apply(self, values, *arrays, index=template, shape=shape)

    def forward(
        self, xp: Any, values: Array, *arrays: Array, index: Template, shape: Shape
    ) -> Array:
        if not arrays and not hasattr(values, "at"):
            out = xp.zeros(shape, values.dtype)
            out[index] = values
            return out
        dtype = values.dtype
        if dtypes.is_half(dtype):
            values = values.astype(dtypes.float32)
        found = _changed(xp, "add", xp.zeros(shape, values.dtype), values, arrays, index)
        return found if found.dtype == dtype else found.astype(dtype)

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        found = _batched(size, inputs[1:], (True, *mapped[1:]), params["index"])
        if found is None or not mapped[0]:
            return super().batch(size, inputs, mapped, params)
        arrays, index = found
        return apply(self, inputs[0], *arrays, index=index, shape=(size, *params["shape"]))

    def infer(self, values: Aval, *arrays: Aval, index: Template, shape: Shape) -> Aval:
        part = getitem.infer(Aval(shape, values.dtype), *arrays, index=index)
        if part.shape != values.shape:
            raise ShapeError(
                f"getitem_transpose: values of shape {values.shape} are not a part of shape "
                f"{part.shape}"
            )
        return Aval(shape, values.dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        arrays = inputs[1:]
        found = apply(getitem, cotangent, *arrays, index=params["index"], missing=0)
        return [found, *[None] * len(arrays)]


getitem_transpose = GetitemTranspose()


class Scatter(Indexed, abstract=True):
    """Base of the replacements: a copy of x in which values went to the places an index names."""

    data = 2
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
        x = conversion.as_tensor(x)
        template, arrays = split_index(x._data.shape, x._device, index)
        values = conversion.fitting(values, x, f"at[...].{self.how}")
        return apply(self, x, values, *arrays, index=template)

    def forward(self, xp: Any, x: Array, values: Array, *arrays: Array, index: Template) -> Array:
        if self.how in ("add", "multiply") and dtypes.is_half(x.dtype):
            wide, more = x.astype(dtypes.float32), values.astype(dtypes.float32)
            return _changed(xp, self.how, wide, more, arrays, index).astype(x.dtype)
        out = x if hasattr(x, "at") else x.copy()
        return _changed(xp, self.how, out, values, arrays, index)

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
            return apply(getitem, of, *arrays, index=index, missing=0)

        def write(how: str, into: Tensor, what: Any) -> Tensor:
            what = conversion.as_tensor(what, dtype=into.dtype, like=into)
            return apply(scatters[how], into, what, *arrays, index=index)

        of_x, of_values = self.parts(cotangent, out, x, values, read, write, not arrays)
        return [
            of_x() if needed[0] else None,
            of_values() if needed[1] else None,
            *[None] * len(arrays),
        ]

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any, once: bool
    ) -> Any:
        """The cotangents of x and of the values, each as a function of nothing. `once`: no place
        comes twice."""
        raise NotImplementedError  # each replacement states its own


_UFUNCS = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}


def _missing(dtype: DType) -> Any:
    """What is read beyond the end of an axis, where that is no error."""
    kind = dtypes.kind(dtype)
    if kind in "iu":
        return np.iinfo(dtype).min if kind == "i" else np.iinfo(dtype).max
    return np.nan if kind == "f" else False


def _changed(
    xp: Any, how: str, out: Array, values: Array, arrays: Sequence[Array], index: Template
) -> Array:
    """An array that nobody else holds, in C order, after values have gone to a part of it."""
    place = _merge(index, arrays)
    if hasattr(out, "at"):  # JAX's arrays, which cannot be changed: this copies
        return getattr(out.at[place], how)(values, mode="drop" if arrays else None)
    if not arrays:  # no place comes twice
        out[place] = values if how == "set" else getattr(xp, _UFUNCS[how])(out[place], values)
    elif xp is not np:
        return _changed_inside(xp, how, out, values, arrays, index)
    elif how == "set":
        out[place] = values
    else:
        _accumulate(getattr(np, _UFUNCS[how]), out, place, values)
    return out


_PAIRS: dict[DType, Any] = {dtypes.float32: np.complex64, dtypes.float64: np.complex128}


def _accumulate(ufunc: np.ufunc, out: np.ndarray, place: tuple[Any, ...], values: Array) -> None:
    """`ufunc.at(out, place, values)`: the same additions in the same order, up to 8 times as fast.

    NumPy has a quick loop for one flat array of indices. Of a whole row, which is the usual case,
    it adds two floats at a time if they are taken for a complex number.
    """
    used, starts = _starts(out.shape, place)
    row = math.prod(out.shape[used:])
    if starts.size * row < _FEW:
        return ufunc.at(out, place, values)
    into = out.reshape(-1)
    part = (*starts.shape, *out.shape[used:])
    if values.shape != part:
        values = np.broadcast_to(values, part)
    values = np.ascontiguousarray(values).reshape(-1)
    pair = _PAIRS.get(out.dtype)
    if ufunc is np.add and row % 2 == 0 and pair is not None:
        into, values, row = into.view(pair), values.view(pair), row // 2
    starts = starts.reshape(-1)
    if row != 1:
        starts = (starts[:, None] * row + np.arange(row)).reshape(-1)
    ufunc.at(into, starts, values)


_FEW = 200
"""Elements that NumPy adds up one by one before the quick loop would have begun."""


def _starts(shape: Shape, place: tuple[Any, ...]) -> tuple[int, np.ndarray]:
    """How many axes an index uses, counting none at the end that it takes whole, and where along
    all of them together its places are."""
    if len(place) == 1 and place[0].__class__ is np.ndarray:
        return 1, place[0].astype(np.intp, copy=False)
    parts, whole = list(place), 0
    while parts and (parts[-1] is Ellipsis or _is_whole(parts[-1])):
        whole += parts.pop() is not Ellipsis
    used = sum([part is not None for part in parts])
    if any([part is Ellipsis for part in parts]):  # what comes after it counts from the end
        used = len(shape) - whole
    shape = shape[:used]
    return used, np.arange(math.prod(shape)).reshape(shape)[tuple(parts)]


def _is_whole(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _inside(
    xp: Any, shape: Shape, arrays: Sequence[Array], index: Template
) -> tuple[Array, list[Array]]:
    """Which elements of the part that an index names are there, in a shape that broadcasts to the
    part's, and the integer arrays with 0 for whatever is beyond the end."""
    sizes = [shape[axis] for axis in _axes_of_arrays(index, len(shape))]
    each = [(a >= -size) & (a < size) for a, size in zip(arrays, sizes, strict=True)]
    near = [xp.where(ok, a, 0) for ok, a in zip(each, arrays, strict=True)]
    inside = functools.reduce(xp.logical_and, each)
    # Dimensions of the part that come after those of the integer arrays. NumPy puts these in the
    # place of the arrays, or in front where something stands between the arrays.
    numbers = [i for i, part in enumerate(index) if part is ARRAY or isinstance(part, int)]
    together = _stand_together(index)
    behind = index[numbers[-1] + 1 :] if together else index
    taken = sum([part is not None and part is not Ellipsis for part in index])
    after = sum([part is None or isinstance(part, slice) for part in behind])
    if not together or Ellipsis not in index[: numbers[0]]:
        after += len(shape) - taken
    return inside.reshape((*inside.shape, *(1,) * after)), near


def _changed_inside(
    xp: Any, how: str, out: Array, values: Array, arrays: Sequence[Array], index: Template
) -> Array:
    """`_changed` for a device that does not look at indices: what goes beyond the end goes to one
    more element, which is then dropped."""
    shape, size = out.shape, out.size
    inside, near = _inside(xp, shape, arrays, index)
    places = xp.where(inside, xp.arange(size).reshape(shape)[_merge(index, near)], size)
    longer = xp.concatenate([out.reshape(-1), xp.zeros(1, out.dtype)])
    places, values = places.reshape(-1), xp.broadcast_to(values, places.shape).reshape(-1)
    if how == "set":
        longer[places] = values
    elif how != "multiply" and out.dtype in _ATOMIC:
        getattr(xp, _UFUNCS[how]).at(longer, places, values)
    else:
        _in_rounds(xp, getattr(xp, _UFUNCS[how]), longer, places, values)
    return longer[:-1].reshape(shape)


_ATOMIC = {np.dtype(name) for name in ("int32", "uint32", "uint64", "float32", "float64")}
"""What a GPU adds up, or takes the larger or smaller of, where several of its threads do so."""


def _in_rounds(xp: Any, ufunc: Any, out: Array, places: Array, values: Array) -> None:
    """`ufunc.at(out, places, values)`: first one value for each place, then another."""
    order = xp.argsort(places)
    places, values = places[order], values[order]
    number = xp.arange(places.size) - xp.searchsorted(places, places)
    for i in range(int(number.max()) + 1 if places.size else 0):
        now = number == i
        out[places[now]] = ufunc(out[places[now]], values[now])


class ScatterSet(Scatter):
    """x with values in place of a part. Where a place comes twice, one of its values stays, and has
    the gradient."""

    how = "set"
    examples = Scatter.examples[:-2]  # where a place comes twice, nobody says which value stays

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any, once: bool
    ) -> Any:
        def of_values() -> Tensor:
            part = read(g)
            if once:
                return part
            number = reshape(arange(part.size, device=g.device), part.shape)
            stays = equal(read(write("set", zeros_like(x, dtype=dtypes.int32), number)), number)
            return where(stays, part, 0.0)

        return lambda: write("set", g, 0), of_values


class ScatterAdd(Scatter):
    """x with values added to a part; a place that comes twice gets both."""

    how = "add"

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any, once: bool
    ) -> Any:
        return lambda: g, lambda: read(g)


class ScatterMultiply(Scatter):
    """x with a part multiplied by values; a place that comes twice is multiplied by both."""

    how = "multiply"

    def parts(
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any, once: bool
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
        self, g: Tensor, out: Tensor, x: Tensor, values: Tensor, read: Any, write: Any, once: bool
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


scatters: dict[str, Scatter] = {
    op.how: op for op in (ScatterSet(), ScatterAdd(), ScatterMultiply(), ScatterMin(), ScatterMax())
}


def take(x: TensorLike, indices: TensorLike, /, *, axis: int | None = None) -> Tensor:
    """The elements of x at integer indices along an axis; without one, of x in one row.

    The gradient adds up where an index comes twice. An index beyond the end: see `getitem`.

    >>> take(np.array([10.0, 20.0, 30.0]), [2, 0, 0])
    Tensor([30., 10., 10.], dtype=float64)
    """
    x = conversion.as_tensor(x)
    found = _integers("take", indices)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return getitem(x, (slice(None),) * normalize_axis("take", axis, x.ndim) + (found,))


def take_along_axis(x: TensorLike, indices: TensorLike, /, *, axis: int = -1) -> Tensor:
    """For each place of `indices` the element of x that they name along an axis, at that place
    along the others. Both have as many dimensions; other sizes than the axis's broadcast.

    >>> take_along_axis(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]]))
    Tensor([[2.],
            [3.]], dtype=float64)
    """
    x = conversion.as_tensor(x)
    return getitem(x, _along_axis("take_along_axis", x, indices, axis))


def put_along_axis(
    x: TensorLike, indices: TensorLike, values: TensorLike, /, *, axis: int = -1
) -> Tensor:
    """A copy of x in which values have gone to the places that `take_along_axis` would read. Where
    a place comes twice, one of its values stays.

    >>> put_along_axis(np.array([[1, 2], [3, 4]]), np.array([[1], [0]]), 9)
    Tensor([[1, 9],
            [9, 4]], dtype=int64)
    """
    x = conversion.as_tensor(x)
    return scatters["set"](x, _along_axis("put_along_axis", x, indices, axis), values)


def _along_axis(name: str, x: Tensor, indices: TensorLike, axis: int) -> tuple[Any, ...]:
    """The index that reads along one axis what `indices` say, and every place of the others."""
    found, axis = _integers(name, indices), normalize_axis(name, axis, x.ndim)
    if found.ndim != x.ndim:
        raise ShapeError(
            f"{name}: indices of shape {tuple(found.shape)} must have as many dimensions as x, of "
            f"shape {x.shape}"
        )
    others = [tuple(s[:axis] + s[axis + 1 :]) for s in (x.shape, found.shape)]
    broadcast_shapes(name, *others)
    places: list[Any] = [
        np.arange(size, dtype=np.int32).reshape(-1, *(1,) * (x.ndim - 1 - i))
        for i, size in enumerate(x.shape)
    ]
    places[axis] = found
    return tuple(places)


def _integers(name: str, indices: TensorLike) -> Any:
    """Indices as a Tensor or a NumPy array of integers."""
    found = conversion.unwrap(indices)
    found = found if isinstance(found, (Tensor, np.ndarray)) else np.asarray(found)
    if dtypes.kind(found.dtype) not in "iu":
        if not found.size and isinstance(found, np.ndarray):
            return np.zeros(found.shape, dtypes.int32)  # an empty list
        raise DtypeError(f"{name}: indices are integers, not {found.dtype}")
    return found


def scatter(indices: TensorLike, values: TensorLike, shape: Sequence[int]) -> Tensor:
    """Zeros of a shape, to which values are added at the places that indices name along their last
    axis, as in `keras.ops.scatter`; a place that comes twice gets both.

    `indices` of shape (..., k) name k axes; `values` have the shape (..., *shape[k:]).

    >>> scatter([[0], [2], [2]], [1.0, 2.0, 3.0], (4,))
    Tensor([1., 0., 5., 0.], dtype=float32)
    """
    values, shape = conversion.as_tensor(values), tuple(shape)
    parts, expected = _columns("scatter", indices, shape)
    if values.shape != expected:
        raise ShapeError(
            f"scatter: values of shape {values.shape} must have shape {expected}, for these "
            f"indices and shape {shape}"
        )
    return getitem_transpose(values, index=parts, shape=shape)


def scatter_update(inputs: TensorLike, indices: TensorLike, updates: TensorLike) -> Tensor:
    """A copy of `inputs` in which updates have gone to the places that indices name along their
    last axis, as in `keras.ops.scatter_update`; see `scatter` for the shapes. Where a place comes
    twice, one of its values stays.

    >>> scatter_update(np.zeros(4), [[0], [2]], [1.0, 2.0])
    Tensor([1., 0., 2., 0.], dtype=float64)
    """
    inputs = conversion.as_tensor(inputs)
    return scatters["set"](inputs, _columns("scatter_update", indices, inputs.shape)[0], updates)


def _columns(name: str, indices: TensorLike, shape: Shape) -> tuple[tuple[Any, ...], Shape]:
    """Indices of places as an index, an array for each axis; and the shape of what it names."""
    found = _integers(name, indices)
    count = found.shape[-1] if found.ndim else 0
    if not 1 <= count <= len(shape):
        raise ShapeError(
            f"{name}: indices of shape {tuple(found.shape)} must name, along their last axis, from "
            f"1 to {len(shape)} axes of shape {shape}"
        )
    parts = tuple([found[..., i] for i in range(count)])
    return parts, (*tuple(found.shape)[:-1], *shape[count:])


def one_hot(x: TensorLike, num_classes: int, axis: int = -1, dtype: DTypeLike = None) -> Tensor:
    """For each integer of x a row, along a new axis, that is 1 at this place and 0 elsewhere
    (float32 unless `dtype` says otherwise); 0 everywhere for an integer outside of the row.

    >>> one_hot([2, 0], 3)
    Tensor([[0., 0., 1.],
            [1., 0., 0.]], dtype=float32)
    """
    x = conversion.as_tensor(x)
    if dtypes.kind(x.dtype) not in "iu":
        raise DtypeError(f"one_hot: takes integers, not {x.dtype}")
    num_classes = whole("one_hot", "num_classes", num_classes, 0)
    axis = normalize_axis("one_hot", axis, x.ndim + 1)
    wide = astype(x, _index_dtype(x.dtype))
    classes = np.arange(num_classes).astype(wide.dtype).reshape(-1, *(1,) * (x.ndim - axis))
    found = equal(expand_dims(wide, axis=axis), classes)
    return astype(found, dtypes.as_dtype(float if dtype is None else dtype))


def nonzero(x: TensorLike, /) -> tuple[Tensor, ...]:
    """Where x is not zero: for each axis the indices (int32), in order, of those elements.

    How many there are depends on the values, so this runs eagerly only. Raises ShapeError for a
    single number, which has no axis.

    >>> nonzero(np.array([[0, 1], [2, 0]]))
    (Tensor([0, 1], dtype=int32), Tensor([1, 0], dtype=int32))
    """
    x = conversion.as_tensor(x)
    if not x.ndim:
        raise ShapeError("nonzero: a 0-d Tensor has no axis; take reshape(x, -1) of it")
    return tuple([_int32(places, x) for places in np.nonzero(x.numpy())])


def argwhere(x: TensorLike, /) -> Tensor:
    """Where x is not zero: a row of indices (int32) for each of those elements. Eagerly only, as
    `nonzero`.

    >>> argwhere(np.array([[0, 1], [2, 0]]))
    Tensor([[0, 1],
            [1, 0]], dtype=int32)
    """
    x = conversion.as_tensor(x)
    return _int32(np.argwhere(x.numpy()), x)


def _int32(places: np.ndarray, like: Tensor) -> Tensor:
    return conversion.as_tensor(places, dtypes.int32, like)
