"""The dtypes of Tensors, and what two of them become together.

Promotion is JAX's lattice: bool, then the integers by width, then floats, where an integer array
never widens a float one. Python numbers are weak: they take an array's dtype, and only move it
from booleans to integers to floats. Knows nothing of Tensors.

Source: https://docs.jax.dev/en/latest/type_promotion.html
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np

from .errors import DtypeError

DType: TypeAlias = np.dtype[Any]
DTypeLike: TypeAlias = Any
"""What names a dtype: "float32", `np.float32`, `np.dtype("float32")`, `float`, `int`, `bool`."""

bool_ = np.dtype("bool")
uint8, uint16, uint32, uint64 = map(np.dtype, ("uint8", "uint16", "uint32", "uint64"))
int8, int16, int32, int64 = map(np.dtype, ("int8", "int16", "int32", "int64"))
float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))

# A Python type means the default of its kind, as in `edu.zeros(3, dtype=float)`.
_PYTHON = {bool: bool_, int: int32, float: float32}
_WIDTHS = {"u": (uint8, uint16, uint32, uint64), "i": (int8, int16, int32, int64)}
_EVERY = (bool_, *_WIDTHS["u"], *_WIDTHS["i"], float16, float32, float64)
# The one object for each dtype. NumPy makes others that are equal to it, which it treats otherwise
# beside Python numbers, and which an `is` would not know.
_KNOWN = {dtype: dtype for dtype in _EVERY}


@cache
def bfloat16() -> DType | None:
    """The bfloat16 dtype, or None where the package `ml_dtypes` (JAX brings it) is missing."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def as_dtype(dtype: DTypeLike) -> DType:
    """The NumPy dtype that `dtype` names.

    Raises DtypeError for anything that a Tensor cannot hold: complex numbers, text, objects.

    >>> as_dtype("float64"), as_dtype(int)
    (dtype('float64'), dtype('int32'))
    """
    if isinstance(dtype, type) and dtype in _PYTHON:
        return _PYTHON[dtype]
    if isinstance(dtype, str) and dtype == "bfloat16":
        found = bfloat16()
        if found is None:
            raise DtypeError("dtype bfloat16 needs the package ml_dtypes: pip install ml_dtypes")
        return found
    try:
        given = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise DtypeError(f"{dtype!r} is not a dtype; use one of {_names()}") from None
    found = _KNOWN.get(given, bfloat16())
    if found != given:
        hint = " (complex numbers are not supported)" if given.kind == "c" else ""
        raise DtypeError(f"a Tensor cannot hold {given}{hint}; use one of {_names()}")
    return found


def is_own(dtype: DType) -> bool:
    """Whether this is the one object for its dtype."""
    return _KNOWN.get(dtype) is dtype


def _names() -> str:
    return ", ".join(sorted(d.name for d in _EVERY)) + ", bfloat16"


def is_float(dtype: DType) -> bool:
    """Whether gradients can flow through this dtype."""
    return dtype.kind == "f" or (dtype.kind == "V" and dtype == bfloat16())


def is_half(dtype: DType) -> bool:
    """Whether sums and products of this dtype accumulate in float32."""
    return is_float(dtype) and dtype.itemsize == 2


def kind(dtype: DType) -> str:
    """'b' for booleans, 'u' and 'i' for integers, 'f' for floats (bfloat16 too)."""
    return "f" if is_float(dtype) else dtype.kind


def of_python(value: bool | int | float) -> DType:
    """The dtype of a Python number where no array decides.

    >>> of_python(3), of_python(3.0), of_python(True)
    (dtype('int32'), dtype('float32'), dtype('bool'))
    """
    return _PYTHON[type(value)]


@cache
def promote(x: DType, y: DType) -> DType:
    """The dtype of an operation between arrays of dtypes `x` and `y`.

    >>> promote(int64, float32), promote(uint8, int8), promote(float16, float64)
    (dtype('float32'), dtype('int16'), dtype('float64'))
    """
    if x == y:
        return x
    kinds = {kind(x), kind(y)}
    if kinds == {"f"}:
        # float16 and bfloat16 have the same size and neither holds the other.
        return float32 if x.itemsize == y.itemsize else max(x, y, key=lambda d: d.itemsize)
    for wins, loses in (("f", "uib"), ("i", "b"), ("u", "b")):
        if wins in kinds and kinds & set(loses) and not (kinds - {wins} - set(loses)):
            return x if kind(x) == wins else y
    if kinds == {"u", "i"}:
        signed, unsigned = (x, y) if x.kind == "i" else (y, x)
        if unsigned == uint64:
            return float32  # no integer holds both; the lattice goes on to the default float
        return max(signed, np.dtype(f"int{16 * unsigned.itemsize}"), key=lambda d: d.itemsize)
    return max(x, y, key=lambda d: d.itemsize)


@cache
def promote_weak(dtype: DType, number: type) -> DType:
    """The dtype of an operation between an array and a Python number: the array's, unless the
    number is of a higher kind (bool, int, float).

    >>> promote_weak(int8, float), promote_weak(float16, float), promote_weak(bool_, int)
    (dtype('float32'), dtype('float16'), dtype('int32'))
    """
    order = {"b": 0, "u": 1, "i": 1, "f": 2}
    ranks = {bool: 0, int: 1, float: 2}
    return _PYTHON[number] if ranks[number] > order[kind(dtype)] else dtype
