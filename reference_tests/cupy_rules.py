"""CuPy's rules, on NumPy: what stands in for CuPy where there is no GPU.

An `Array` holds a NumPy array and does not pass for one: NumPy refuses it, and it refuses NumPy's,
as CuPy's arrays do. The module has those functions of CuPy 14.2 that the library calls, with their
parameters; for any other somebody has to look up first whether CuPy has it. It says nothing of how
a GPU rounds.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

import tinygrad_edu as edu
from tinygrad_edu.backends import Kernels

PARAMETERS = {
    "all": "a axis out keepdims",
    "any": "a axis out keepdims",
    "arange": "start stop step dtype",
    "argsort": "a axis kind",
    "array": "obj dtype copy order subok ndmin",
    "asarray": "a dtype order copy",
    "bincount": "x weights minlength",
    "broadcast_to": "array shape",
    "concatenate": "tup axis out dtype casting",
    "cumprod": "a axis dtype out",
    "cumsum": "a axis dtype out",
    "empty": "shape dtype order",
    "expand_dims": "a axis",
    "eye": "N M k dtype order",
    "full": "shape fill_value dtype order",
    "full_like": "a fill_value dtype order subok shape",
    "lib.stride_tricks.as_strided": "x shape strides",
    "linalg.cholesky": "a",
    "linalg.det": "a",
    "linalg.eigh": "a UPLO",
    "linalg.inv": "a",
    "linalg.qr": "a mode",
    "linalg.slogdet": "a",
    "linalg.solve": "a b",
    "linalg.svd": "a full_matrices compute_uv",
    "matmul": "a b out axes axis keepdims casting dtype order",
    "max": "a axis out keepdims",
    "min": "a axis out keepdims",
    "moveaxis": "a source destination",
    "ones": "shape dtype order",
    "prod": "a axis dtype out keepdims",
    "repeat": "a repeats axis",
    "round": "a decimals out",
    "searchsorted": "a v side sorter",
    "squeeze": "a axis",
    "stack": "tup axis out dtype casting",
    "sum": "a axis dtype out keepdims",
    "take_along_axis": "a indices axis",
    "tril": "m k",
    "triu": "m k",
    "where": "condition x y",
    "zeros": "shape dtype order",
    "zeros_like": "a dtype order subok shape",
}
"""Functions that are no ufuncs, with the names of their parameters in order."""

LACKING = {"isnat", "matmul", "matvec", "spacing", "vecdot", "vecmat"}
"""Ufuncs of NumPy that are none of CuPy."""

ATOMIC = {"add", "bitwise_and", "bitwise_or", "bitwise_xor", "maximum", "minimum", "subtract"}
"""Ufuncs of which CuPy has `at`."""
ATOMIC_DTYPES = {"float16", "float32", "float64", "int32", "uint32", "uint64"}

ATTRIBUTES = {"dtype", "flags", "nbytes", "ndim", "shape", "size", "strides"}
METHODS = {
    *("argmax", "argmin", "astype", "clip", "copy", "dot", "max", "min", "prod", "ravel"),
    *("reshape", "sum", "swapaxes", "transpose"),
}


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands in for `cupy.ndarray`."""

    def __init__(self, held: np.ndarray) -> None:
        self._held = held

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return _applied(ufunc, method, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return getattr(CUPY, function.__name__)(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._held, name)
        if name in METHODS:
            return partial(_called, getattr(self._held, name))
        raise AttributeError(f"cupy.ndarray.{name}: look it up, and list it here")

    @property
    def T(self) -> Array:
        return Array(self._held.T)

    def __getitem__(self, index: Any) -> Any:
        return _wrapped(self._held[_bare(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[_bare(index)] = _bare(value)

    def __len__(self) -> int:
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self._held)

    def __int__(self) -> int:
        return int(self._held)

    def __float__(self) -> float:
        return float(self._held)

    def __index__(self) -> int:
        return operator.index(self._held)

    def item(self) -> Any:
        return self._held.item()

    def tolist(self) -> Any:
        return self._held.tolist()

    def get(self) -> np.ndarray:
        return self._held.copy()


def _bare(x: Any) -> Any:
    """What NumPy takes for what CuPy takes; TypeError for a NumPy array."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}")
    if isinstance(x, (tuple, list)):
        return type(x)([_bare(each) for each in x])
    return x._held if isinstance(x, Array) else x


def _wrapped(x: Any) -> Any:
    """What CuPy gives for what NumPy gives: arrays without axes for scalars, plain tuples."""
    if isinstance(x, tuple):
        return tuple(map(_wrapped, x))
    return Array(np.asarray(x)) if isinstance(x, (np.ndarray, np.generic)) else x


def _called(function: Any, *args: Any, **options: Any) -> Any:
    return _wrapped(function(*_bare(args), **{name: _bare(x) for name, x in options.items()}))


def _applied(ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    name = ufunc.__name__
    if name in LACKING:  # an operator, `@`
        return getattr(CUPY, name)(*inputs, **options)
    if method == "at":
        if name not in ATOMIC or inputs[0].dtype.name not in ATOMIC_DTYPES:
            raise TypeError(f"cupy.{name}.at is not for {inputs[0].dtype}")
    elif method != "__call__" or options.keys() - {"casting", "dtype", "out"}:
        raise TypeError(f"cupy.{name}.{method} of {set(options)}: look it up, and list it here")
    return _called(getattr(ufunc, method), *inputs, **options)


class _Ufunc:
    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return _applied(self._ufunc, "__call__", *inputs, **options)

    def at(self, *inputs: Any) -> None:
        _applied(self._ufunc, "at", *inputs)


class _Module:
    """Stands in for `cupy`, or for a module in it."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        place = f"{self.__name__}.{name}".removeprefix("cupy.")
        if place in PARAMETERS:
            return partial(_checked, place)
        if any(known.startswith(f"{place}.") for known in PARAMETERS):
            return _Module(f"{self.__name__}.{name}")
        found = getattr(np, name)
        if isinstance(found, np.ufunc) and name not in LACKING:
            return _Ufunc(found)
        if isinstance(found, type) or not callable(found):  # dtypes and numbers
            return found
        raise AttributeError(f"cupy.{place}: look it up, and list it here")


def _checked(name: str, *args: Any, **options: Any) -> Any:
    """A function of CuPy's that is no ufunc."""
    parameters = PARAMETERS[name].split()
    if len(args) > len(parameters) or options.keys() - set(parameters):
        raise TypeError(f"cupy.{name} takes {parameters}, not {len(args)} and {[*options]}")
    function = operator.attrgetter(name)(np)
    if name in ("array", "asarray"):
        first = args[0]._held if isinstance(args[0], Array) else args[0]
        return _wrapped(function(first, *args[1:], **options))
    if name == "argsort":
        options["kind"] = "stable"
    return _called(function, *args, **options)


CUPY: Any = _Module("cupy")
CUPY.ndarray = Array
CUPY.cuda = SimpleNamespace(get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None))


@contextmanager
def standing_in() -> Iterator[None]:
    """Device "cupy" runs here, by its rules, on NumPy."""
    device = edu.devices()[1]
    places = {"xp": CUPY, "problem": None, "array_type": Array, "wrap": CUPY.asarray}
    with mock.patch.dict(vars(device), {**places, "kernels": Kernels(device)}):
        yield
