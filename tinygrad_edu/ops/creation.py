"""Tensors from nothing: filled ones, ranges, the identity matrix.

Each takes a `dtype` (float32 unless said otherwise) and a `device` (the current one).
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backends, conversion, dtypes, ops, tensors
from ..arguments import whole
from ..backends import Device
from ..dtypes import DTypeLike
from ..errors import ArgumentError, DeviceError, DtypeError
from ..tensors import Tensor, TensorLike

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tri",
    "zeros",
    "zeros_like",
]

Size = int | Sequence[int]
Place = str | Device | None


def full(
    shape: Size,
    fill_value: bool | int | float,
    *,
    dtype: DTypeLike = None,
    device: Place = None,
) -> Tensor:
    """A Tensor whose elements are all `fill_value`, by default of that number's dtype. Gradients
    flow to a Tensor.

    >>> full((2, 2), 7)
    Tensor([[7, 7],
            [7, 7]], dtype=int32)
    """
    if isinstance(fill_value, tensors.Operators):
        return ops.broadcast_to(asarray(fill_value, dtype=dtype, device=device), shape)
    dtype = conversion.to_array(fill_value).dtype if dtype is None else dtype
    return _filled("full", shape, fill_value, dtype, device)


def zeros(shape: Size, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """A Tensor of zeros.

    >>> zeros(3)
    Tensor([0., 0., 0.], dtype=float32)
    """
    return _filled("zeros", shape, 0, float if dtype is None else dtype, device)


def ones(shape: Size, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """A Tensor of ones.

    >>> ones((1, 2), dtype="int32")
    Tensor([[1, 1]], dtype=int32)
    """
    return _filled("ones", shape, 1, float if dtype is None else dtype, device)


def _filled(name: str, shape: Size, value: Any, dtype: DTypeLike, device: Place) -> Tensor:
    dtype = dtypes.as_dtype(dtype)
    if dtype.kind in "iu" and not np.isfinite(value).all():
        raise DtypeError(f"{name}: {value} does not fit in {dtype}")
    try:
        made = np.full(shape, value, dtype)
    except OverflowError as error:
        raise DtypeError(f"{name}: {error}") from None
    except (ValueError, TypeError) as error:
        if isinstance(error, DtypeError):
            raise
        raise ArgumentError(
            f"{name}: {shape!r} is not a shape; it is an integer, or a tuple of them, none negative"
        ) from None
    return _from(made, device)


def empty(shape: Size, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """A Tensor whose elements do not matter. Tensors never change, so they are zeros.

    >>> empty(2)
    Tensor([0., 0.], dtype=float32)
    """
    return _filled("empty", shape, 0, float if dtype is None else dtype, device)


def full_like(
    x: TensorLike,
    /,
    fill_value: bool | int | float,
    *,
    dtype: DTypeLike = None,
    device: Place = None,
) -> Tensor:
    """A Tensor filled with one number, of the shape, dtype and device of x unless others are given.
    Gradients flow to a Tensor.

    >>> full_like(np.zeros(2), 0.5)
    Tensor([0.5, 0.5], dtype=float64)
    """
    x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
    wanted = x._data.dtype if dtype is None else dtype
    place = x._device if device is None else device
    if isinstance(fill_value, tensors.Operators):
        return full(x.shape, fill_value, dtype=wanted, device=place)
    made = _filled("full_like", tuple(x._data.shape), fill_value, wanted, place)
    return made if x.__class__ is Tensor else tensors.wrap(type(x), made._data, made._device, None)


def empty_like(x: TensorLike, /, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """A Tensor of the shape, dtype and device of x, unless others are given, whose elements do not
    matter: zeros.

    >>> empty_like(np.ones(2)).shape
    (2,)
    """
    return full_like(x, 0, dtype=dtype, device=device)


def zeros_like(x: TensorLike, /, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """Zeros of the shape, dtype and device of x, unless others are given.

    >>> zeros_like(np.ones(2), dtype="int32")
    Tensor([0, 0], dtype=int32)
    """
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: TensorLike, /, *, dtype: DTypeLike = None, device: Place = None) -> Tensor:
    """Ones of the shape, dtype and device of x, unless others are given.

    >>> ones_like(np.zeros(2), dtype="int32")
    Tensor([1, 1], dtype=int32)
    """
    return full_like(x, 1, dtype=dtype, device=device)


def asarray(
    obj: TensorLike,
    /,
    *,
    dtype: DTypeLike = None,
    device: Place = None,
    copy: bool | None = None,
) -> Tensor:
    """`obj` as a Tensor, itself where it is one of this dtype and on this device; gradients flow
    through what has to be converted.

    With `copy` a Tensor of its own; `copy=False` raises ArgumentError where one would be needed,
    which is for everything but Tensors: an array may change, and a Tensor never does.

    >>> asarray([1, 2], dtype="float32")
    Tensor([1., 2.], dtype=float32)
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    place = None if device is None else backends.find(device)
    given = obj.value if isinstance(obj, tensors.Operators) else None
    if given is None:
        if copy is False:
            raise ArgumentError(
                f"asarray: a {type(obj).__name__} cannot become a Tensor without a copy"
            )
        with backends.device(place or backends.current()):
            found = conversion.as_tensor(obj, wanted)
        return found if place is None else movement.to_device(found, place)
    found = given if place is None else movement.to_device(given, place)
    if wanted is not None and found.dtype != wanted:
        found = elementwise.astype(found, wanted)
    if found is given:
        return elementwise.identity(given) if copy else given
    if copy is False:
        raise ArgumentError(
            f"asarray: a {given.dtype} Tensor on device {given.device.name!r} cannot be had in "
            "another dtype, or on another device, without a copy"
        )
    return found


def arange(
    start: int | float,
    /,
    stop: int | float | None = None,
    step: int | float = 1,
    *,
    dtype: DTypeLike = None,
    device: Place = None,
) -> Tensor:
    """Numbers from `start` to `stop` (not included) in steps; from 0 if only one is given. int32
    for integers, float32 where one is a float.

    >>> arange(3), arange(1.0, 2.0, 0.5)
    (Tensor([0, 1, 2], dtype=int32), Tensor([1. , 1.5], dtype=float32))
    """
    if stop is None:
        start, stop = 0, start
    for value in (start, stop, step):
        if not isinstance(value, numbers.Real):
            raise DtypeError(f"arange: takes numbers, not {value!r}")
    if step == 0:
        raise ArgumentError("arange: a step of 0 never arrives")
    if dtype is None:
        whole_steps = all(isinstance(v, numbers.Integral) for v in (start, stop, step))
        dtype = int if whole_steps else float
    # Counted in NumPy's own widest dtype first: float32 would miss the end of long ranges.
    return _from(conversion.cast(np.arange(start, stop, step), dtypes.as_dtype(dtype)), device)


def linspace(
    start: float,
    stop: float,
    /,
    num: int = 50,
    *,
    endpoint: bool = True,
    dtype: DTypeLike = None,
    device: Place = None,
) -> Tensor:
    """`num` numbers from `start` to `stop` at even distances, `stop` the last one if `endpoint`.

    >>> linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num = whole("linspace", "num", num, 0)
    for value in (start, stop):
        if not isinstance(value, numbers.Real):
            raise DtypeError(f"linspace: takes numbers, not {value!r}")
    wanted = dtypes.as_dtype(float if dtype is None else dtype)
    found = np.linspace(start, stop, num, endpoint=endpoint)
    if wanted.kind in "iu":  # NumPy rounds down here
        found = conversion.cast(np.floor(found), dtypes.int64)
    return _from(conversion.cast(found, wanted), device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike = None,
    device: Place = None,
) -> Tensor:
    """Ones on the diagonal (the k-th above the main one), zeros elsewhere.

    >>> eye(2)
    Tensor([[1., 0.],
            [0., 1.]], dtype=float32)
    """
    rows, columns = _sizes("eye", n_rows, n_cols)
    return _from(
        np.eye(rows, columns, k, dtypes.as_dtype(float if dtype is None else dtype)), device
    )


def tri(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: DTypeLike = None,
    *,
    device: Place = None,
) -> Tensor:
    """Ones on and below a diagonal (the k-th above the main one), zeros above, as in NumPy.

    >>> tri(2, 3)
    Tensor([[1., 0., 0.],
            [1., 1., 0.]], dtype=float32)
    """
    rows, columns = _sizes("tri", N, M)
    return _from(
        np.tri(rows, columns, k, dtypes.as_dtype(float if dtype is None else dtype)), device
    )


_CPU, _CUDA = 1, 2  # DLDeviceType in dlpack.h


def from_dlpack(
    x: Any, /, *, device: str | Device | None = None, copy: bool | None = None
) -> Tensor:
    """A Tensor of another library's array, through DLPack: PyTorch's, JAX's, CuPy's, NumPy's.

    It shares the memory where it can (`copy=False`: or raises; `copy=True`: never), so nobody may
    change that array afterwards. What is in the memory of an NVIDIA GPU becomes a Tensor on device
    "cupy", all else one on device "numpy", unless `device` says otherwise.

    Raises DtypeError for dtypes that a Tensor cannot hold, DeviceError for memory of other devices.

    Source: the array API standard, 2024.12, "Data interchange mechanisms".

    >>> from_dlpack(np.array([1.0, 2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    if not hasattr(x, "__dlpack__"):
        raise DtypeError(f"from_dlpack: a {type(x).__name__} has no __dlpack__; use edu.tensor")
    kind = int(x.__dlpack_device__()[0])
    if kind not in (_CPU, _CUDA):
        raise DeviceError(f"from_dlpack: memory of DLPack's device type {kind} is not supported")
    where = backends.find("cupy" if kind == _CUDA else "numpy")
    try:
        array = where.xp.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError) as error:
        raise DtypeError(f"from_dlpack: {error}") from None
    if where is backends.numpy:
        array = conversion.to_array(array)
    found = tensors.wrap(Tensor, array.copy() if copy else array, where, None)
    wanted = where if device is None else backends.find(device)
    if wanted is where:
        return found
    if copy is False:
        raise DeviceError(
            f"from_dlpack: from device {where.name!r} to {wanted.name!r} there is no way without "
            "a copy"
        )
    return _from(where.to_numpy(found._data), wanted)


def _sizes(name: str, rows: Any, columns: Any) -> tuple[int, int]:
    """The size of a matrix; a square one unless both are given."""
    for size in (rows, rows if columns is None else columns):
        whole(name, "a size", size, 0)
    return int(rows), int(rows if columns is None else columns)


def _from(array: np.ndarray, device: Place) -> Tensor:
    """A Tensor of an array that nobody else holds."""
    where = backends.current() if device is None else backends.find(device)
    return tensors.wrap(Tensor, where.adopt(array), where, None)


# These modules need this one when they are imported.
from . import elementwise, movement  # noqa: E402
