"""What the array API standard has beside operations: constants, dtypes, and questions about them.

Source: the Python array API standard, 2024.12, https://data-apis.org/array-api/2024.12.
"""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

import numpy as np

from .. import backends, dtypes
from ..backends import Device
from ..dtypes import (
    DType,
    DTypeLike,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from ..dtypes import bool_ as bool
from ..errors import ArgumentError, DtypeError
from ..op import promoted
from ..tensors import Operators

__all__ = [
    "__array_api_version__",
    "__array_namespace_info__",
    "bool",
    "can_cast",
    "e",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "inf",
    "int16",
    "int32",
    "int64",
    "int8",
    "isdtype",
    "nan",
    "newaxis",
    "pi",
    "result_type",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
]

__array_api_version__ = "2024.12"

e, inf, nan, pi = math.e, math.inf, math.nan, math.pi
newaxis = None


class FloatInfo(NamedTuple):
    """The limits of a float dtype: its size in bits, the distance from 1 to the next number, the
    largest and the lowest number, and the smallest positive one of full precision."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerInfo(NamedTuple):
    """The limits of an integer dtype: its size in bits, the largest and the lowest number."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: DTypeLike, /) -> FloatInfo:
    """The limits of a float dtype, or of that of a Tensor. Raises DtypeError for any other.

    >>> finfo("float32").eps == 2**-23
    True
    """
    dtype = _dtype(type)
    if not dtypes.is_float(dtype):
        raise DtypeError(f"finfo: takes a float dtype, not {dtype}; iinfo is for integers")
    if dtype == dtypes.bfloat16():
        import ml_dtypes

        found: Any = ml_dtypes.finfo(dtype)
    else:
        found = np.finfo(dtype)
    eps, largest, lowest = float(found.eps), float(found.max), float(found.min)
    return FloatInfo(found.bits, eps, largest, lowest, float(found.smallest_normal), dtype)


def iinfo(type: DTypeLike, /) -> IntegerInfo:
    """The limits of an integer dtype, or of that of a Tensor. Raises DtypeError for any other.

    >>> iinfo(int32).max
    2147483647
    """
    dtype = _dtype(type)
    if dtype.kind not in "iu":
        raise DtypeError(f"iinfo: takes an integer dtype, not {dtype}; finfo is for floats")
    found = np.iinfo(dtype)
    return IntegerInfo(found.bits, found.max, found.min, dtype)


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "",
    "numeric": "iuf",
}


def isdtype(dtype: DTypeLike, kind: DTypeLike | tuple[DTypeLike, ...]) -> builtins.bool:
    """Whether a dtype is `kind`: a dtype, or "bool", "signed integer", "unsigned integer",
    "integral", "real floating", "complex floating" (no dtype here is), "numeric", or a tuple, any
    of whose entries will do.

    >>> isdtype(int8, "integral"), isdtype(int8, ("bool", float32))
    (True, False)
    """
    if isinstance(kind, tuple):
        return any([isdtype(dtype, one) for one in kind])
    own = dtypes.as_dtype(dtype)
    if isinstance(kind, str) and kind != "bool" and kind not in _KINDS and " " in kind:
        raise ArgumentError(f"isdtype: there is no kind {kind!r}; use one of {', '.join(_KINDS)}")
    if isinstance(kind, str) and kind in _KINDS:
        return dtypes.kind(own) in _KINDS[kind]
    return own == dtypes.as_dtype(kind)


def can_cast(from_: Any, to: DTypeLike, /) -> builtins.bool:
    """Whether promotion takes a dtype, or that of a Tensor, to another.

    >>> can_cast(int8, int32), can_cast(float32, int32)
    (True, False)
    """
    wanted = dtypes.as_dtype(to)
    return dtypes.promote(_dtype(from_), wanted) == wanted


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of an operation between these: Tensors, dtypes, Python numbers.

    >>> result_type(int8, 1.0), result_type(int8, uint8)
    (dtype('float32'), dtype('int16'))
    """
    if not arrays_and_dtypes:
        raise ArgumentError("result_type: takes at least one Tensor, dtype or number")
    numbers = (builtins.bool, int, float)
    return promoted([type(x) if isinstance(x, numbers) else _dtype(x) for x in arrays_and_dtypes])


def _dtype(given: Any) -> DType:
    return given.dtype if isinstance(given, (Operators, np.ndarray)) else dtypes.as_dtype(given)


class __array_namespace_info__:  # noqa: N801  its name in the standard
    """What this namespace can do, and on which devices.

    >>> __array_namespace_info__().default_device()
    'numpy'
    """

    def capabilities(self) -> dict[str, Any]:
        """Whether masks index, whether a shape may depend on values, how many dimensions fit."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device that new Tensors are made on."""
        return backends.current().name

    def default_dtypes(self, *, device: str | Device | None = None) -> dict[str, DType | None]:
        """The dtypes of what is made without saying which; no Tensor is complex."""
        found: dict[str, DType | None] = {"real floating": float32, "complex floating": None}
        return {**found, "integral": int32, "indexing": int32}

    def dtypes(self, *, device: str | Device | None = None, kind: Any = None) -> dict[str, DType]:
        """Every dtype of the standard that a Tensor can have, of a kind as `isdtype` takes it."""
        floats = (float32, float64)
        every = (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, *floats)
        return {d.name: d for d in every if kind is None or isdtype(d, kind)}

    def devices(self) -> list[str]:
        """The devices that can run here."""
        return [device.name for device in backends.devices() if device.available]
