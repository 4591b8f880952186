"""From data to Tensors: what a user gives (numbers, nested lists, arrays, Variables) as a Tensor,
as an operand, as an array that a Tensor can hold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from . import backends, dtypes, lines, traces
from .backends import Device
from .dtypes import DType, DTypeLike
from .errors import DeviceError, DtypeError, ShapeError
from .tensors import Operators, Tensor, TensorLike, wrap

R = TypeVar("R")


def tensor(
    data: TensorLike,
    dtype: DTypeLike = None,
    device: str | Device | None = None,
    *,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor with a copy of `data`: numbers, nested lists of them, arrays, other Tensors.

    Python numbers become float32, int32 or bool; an array keeps its dtype, unless `dtype` is given.
    It lives on `device`, or where `data` lives, or on the current device.

    Raises DtypeError for what is not numeric, or does not fit the dtype; ShapeError for ragged
    lists.

    >>> tensor([[1, 2], [3, 4]])
    Tensor([[1, 2],
            [3, 4]], dtype=int32)
    >>> tensor(0.5, "float64", requires_grad=True)
    Tensor(0.5, dtype=float64, requires_grad=True)
    """
    if data.__class__ is Tensor and dtype is None and device is None and not data._device.level:
        here = data._device
        copied = here.from_numpy(here.to_numpy(data._data))
        return _leaf(wrap(Tensor, copied, here, None), requires_grad)
    where = backends.find(device) if device is not None else None
    if _holds_tensors(data) and not isinstance(data, Operators):
        data = ops.stop_gradient(_stacked(data, dtype))
    if isinstance(data, Operators):
        given = data.value
        where = where or given._device
        if where.level:  # stands for many values, or for any: it never changes, so it is a copy
            if dtype is not None:
                given = ops.astype(given, dtypes.as_dtype(dtype))
            return _leaf(wrap(Tensor, given._data, where, None), requires_grad)
        array = given._device.to_numpy(given._data)
        array = array if dtype is None else cast(array, dtypes.as_dtype(dtype))
    else:
        array = to_array(data, None if dtype is None else dtypes.as_dtype(dtype))
    where = where or backends.current()
    return _leaf(wrap(Tensor, where.from_numpy(array), where, None), requires_grad)


def _leaf(made: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        made = traces.brought(walk.differentiable(made, "requires_grad"))
        made._record = leaf = tape.Leaf(tape.EVERY)
        if traces.being_made and (trace := traces.current()) is not None:
            trace.begin(leaf)
    return made


def as_tensor(x: Any, dtype: DType | None = None, like: Operators | None = None) -> Tensor:
    """x as a Tensor, itself if it is one: of `dtype`, and of the class and device of `like`."""
    if x.__class__ is Tensor and dtype is None:
        return x
    if isinstance(x, Operators):
        found = x.value
    elif _holds_tensors(x):
        found = _stacked(x, dtype)
    else:
        where = backends.current() if like is None else like.device
        kind = type(like) if isinstance(like, Tensor) else Tensor
        try:
            array = to_array(x, dtype)
        except (DtypeError, ShapeError) as error:
            if sys._getframe(1).f_code is named.__code__:
                raise
            raise type(error)(f"{lines.called()}: {error}") from None
        found = wrap(kind, where.from_numpy(array), where, None)
    return found if dtype is None or found.dtype == dtype else ops.astype(found, dtype)


def as_tensors(*xs: Any) -> list[Tensor]:
    """Several values as Tensors, those that are none yet on the device of those that are."""
    found = [x.value if isinstance(x, Operators) else x for x in xs]
    given = [x for x in found if isinstance(x, Tensor)]
    like = given[0] if given else None
    return [x if isinstance(x, Tensor) else as_tensor(x, like=like) for x in found]


def borrowed(array: np.ndarray, dtype: DTypeLike = None) -> Tensor:
    """An array on the current device for a short while, without a copy where that is safe: nobody
    may change it meanwhile."""
    here = backends.current()
    if dtype is not None or array.__class__ is not np.ndarray or not dtypes.is_own(array.dtype):
        array = to_array(array, None if dtype is None else dtypes.as_dtype(dtype))
    return wrap(Tensor, here.adopt(array), here, None)


def fitting(value: Any, held: Tensor, where: str) -> Tensor:
    """A value that is to go into `held`, as a Tensor of its dtype and on its device.

    Raises DtypeError, for the method `where`, if that would lose something: a float for integers,
    a wider float for a narrower one. DeviceError if it is on another device.
    """
    dtype = held._data.dtype
    if isinstance(value, Operators):
        given = value if isinstance(value, Tensor) else value.value
        if given._device.level < held._device.level:
            given = held._device.lift(given)
        if given._device is not held._device and not given._device.level:
            raise DeviceError(
                f"{where}: what it goes into is on device {held.device.name!r} and the value on "
                f"{given.device.name!r}: use value.to({held.device.name!r})"
            )
        if given._data.dtype is dtype:
            return given
        value, own, together = given, given.dtype, dtypes.promote(dtype, given.dtype)
    elif is_weak(value):
        named(where, to_array, value, dtypes.float64)  # which refuses what is no number
        number = _PYTHONS.get(np.asarray(value).dtype.kind, int)  # or objects, for their size
        own, together = dtypes.of_python(number()), dtypes.promote_weak(dtype, number)
    else:
        own = named(where, to_array, value).dtype
        together = dtypes.promote(dtype, own)
        if isinstance(value, np.generic):
            together = dtypes.promote_weak(dtype, _PYTHONS[dtypes.kind(own)])
    if together != dtype:
        raise DtypeError(
            f"{where}: a value of dtype {own} does not fit in dtype {dtype}: convert it with "
            f".astype({dtype.name!r})"
        )
    return named(where, as_tensor, value, dtype, held)


_PYTHONS: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}
"""Python's numbers of the kinds of dtypes."""


def named(where: str, convert: Callable[..., R], *args: Any) -> R:
    """What `convert` makes of its arguments; its errors name the method `where`."""
    try:
        return convert(*args)
    except (DtypeError, ShapeError) as error:
        raise type(error)(f"{where}: {error}") from None


def unwrap(x: Any) -> Tensor | np.ndarray | bool | int | float:
    """An operand as what operations work with: a Variable's Tensor, a Python number, an array."""
    if isinstance(x, Operators):
        return x.value
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, bool):
        return x
    if isinstance(x, (int, float)):  # or of classes of their own, as those of enum are
        return x.__index__() if isinstance(x, int) else float(x)
    if x.__class__ in (random.Key, random.Keys):
        raise random.no_number(x)
    return _stacked(x) if _holds_tensors(x) else to_array(x)


def _holds_tensors(data: Any) -> bool:
    """Whether nested lists hold a Tensor, which might be on a tape."""
    if isinstance(data, (list, tuple)):
        return any(map(_holds_tensors, data))
    return isinstance(data, Operators)


def _stacked(data: Any, dtype: DTypeLike = None) -> Tensor:
    """Nested lists that hold Tensors as one Tensor, joined by an operation that is recorded. Its
    numbers are of `dtype`; beside Tensors they would be narrower."""
    parts = []
    for x in data:
        if isinstance(x, (list, tuple)):
            x = _stacked(x, dtype)
        elif dtype is not None and not isinstance(x, Operators):
            x = to_array(x, dtypes.as_dtype(dtype))
        parts.append(x)
    return ops.stack(parts)


def to_array(data: Any, dtype: DType | None = None) -> np.ndarray:
    """Data as a NumPy array of a dtype that a Tensor can hold, without a copy where possible."""
    if data.__class__ is not np.ndarray:
        refuse_masked(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"a Tensor is rectangular: {error}") from None
    if array.dtype == object:
        for x in array.flat:
            if not isinstance(x, (int, float, np.number)):
                raise DtypeError(f"a Tensor holds numbers, not {type(x).__name__}")
    weak = is_weak(data)
    if weak and array.dtype.kind in "Of":
        array = _with_large(data, array, dtype)
    if array.dtype.kind not in "biuf" and array.dtype != dtypes.bfloat16():
        hints = {"c": "complex numbers are not supported", "O": "use .astype('float32') first"}
        hint = f": {hints[array.dtype.kind]}" if array.dtype.kind in hints else ""
        kind = "text" if array.dtype.kind in "SU" else array.dtype
        raise DtypeError(f"a Tensor holds numbers, not {kind}{hint}")
    if dtype is None and weak and array.dtype in _WIDE:
        dtype = _WIDE[array.dtype]
    return cast(array, dtypes.as_dtype(array.dtype) if dtype is None else dtype)


def _with_large(data: Any, array: np.ndarray, dtype: DType | None) -> np.ndarray:
    """Python numbers as an array of what they are, where NumPy made floats or objects of integers
    that no int64 holds."""
    if array.dtype != object and not (np.abs(array) >= 2.0**53).any():
        return array
    numbers = np.array(data, dtype=object)
    if dtype is None:
        has_floats = any(isinstance(x, float) for x in numbers.flat)
        dtype = dtypes.float32 if has_floats else dtypes.int32
    wanted = dtypes.float64 if dtypes.is_float(dtype) else dtype
    for x in numbers.flat:
        try:
            np.array(x, dtype=object).astype(wanted)
        except (OverflowError, ValueError):
            raise _too_large(x, dtype) from None
    return numbers.astype(wanted)


def _too_large(x: int | float, dtype: DType) -> DtypeError:
    if isinstance(x, int) and x.bit_length() > 128:
        what = f"an integer of {x.bit_length()} bits"  # which Python need not be able to print
    else:
        what = str(x)
    return DtypeError(f"{what} does not fit in {dtype}; ask for a wider dtype")


def refuse_masked(data: Any, what: str = "") -> None:
    """Raise DtypeError for a masked array; `what` comes first in it."""
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(data, masked.MaskedArray):
        raise DtypeError(
            f"{what}a Tensor has no mask, and a masked array would lose its own: use "
            "array.filled(value), or array.data if no element is masked"
        )


# What NumPy makes of Python's numbers, and what they are here.
_WIDE = {dtypes.float64: dtypes.float32, dtypes.int64: dtypes.int32, dtypes.uint64: dtypes.int32}


def cast(array: np.ndarray, dtype: DType) -> np.ndarray:
    """An array in another dtype. Raises DtypeError for numbers that an integer cannot hold."""
    if array.dtype is dtype:
        return array
    if array.dtype == dtype:  # another object for the same dtype
        return array.view(dtype)
    if dtype.kind in "iu" and dtypes.is_float(array.dtype) and not np.isfinite(array).all():
        raise DtypeError(f"NaN and infinity do not fit in {dtype}")
    if dtype.kind in "iu" and array.dtype.kind != "b" and array.size:
        limits = np.iinfo(dtype)
        for x in (array.min(), array.max()):
            if not limits.min <= int(x) <= limits.max:
                raise _too_large(x.item(), dtype)
    return array.astype(dtype)


def is_weak(data: Any) -> bool:
    """Whether data has no dtype of its own: Python numbers, and nested lists of nothing else."""
    if isinstance(data, (list, tuple)):
        return all(map(is_weak, data))
    return not hasattr(data, "dtype") and not hasattr(data, "__array__")


# These modules need this one when they are imported.
from . import ops, random, tape, walk  # noqa: E402
