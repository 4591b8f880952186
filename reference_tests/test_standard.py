"""The names, signatures and dtype rules of the array API standard, as its strict implementation has
them. (Values are compared with the frameworks, operation by operation.)"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.op import Op

strict.set_array_api_strict_flags(api_version="2024.12")

# Part of the standard that we leave out, as docs/design.md says.
LEFT_OUT = {
    *("complex64", "complex128", "conj", "imag", "real"),
    *("fft", "Device"),
}
# Its own: settings, and what came with later editions.
NOT_OF_THE_EDITION = {
    *("ArrayAPIStrictFlags", "ArrayAPIStrictFlags", "__version__", "broadcast_shapes", "isin"),
    *("get_array_api_strict_flags", "reset_array_api_strict_flags", "set_array_api_strict_flags"),
}
DTYPES = ("bool", "int8", "int32", "int64", "uint8", "uint32", "float32", "float64")


def standard_names() -> Iterator[str]:
    for name in sorted({*strict.__all__} - LEFT_OUT - NOT_OF_THE_EDITION):
        yield name
    for name in strict.linalg.__all__:
        yield f"linalg.{name}"


def found(namespace: Any, name: str) -> Any:
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


NAMES = list(standard_names())
FUNCTIONS = [n for n in NAMES if inspect.isfunction(found(strict, n))]


@pytest.mark.parametrize("name", NAMES)
def test_everything_in_the_standard_is_there(name: str) -> None:
    ours = found(edu.tensor(1.0).__array_namespace__(api_version="2024.12"), name)
    assert callable(ours) == callable(found(strict, name)) or isinstance(ours, np.dtype)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_the_standard_says(name: str) -> None:
    theirs, ours = found(strict, name), found(ops, name)
    mine = inspect.signature(ours.__call__ if isinstance(ours, Op) else ours).parameters
    positional = [p for p in mine.values() if p.kind is not p.KEYWORD_ONLY]
    for i, wanted in enumerate(inspect.signature(theirs).parameters.values()):
        if wanted.kind is wanted.KEYWORD_ONLY:
            assert wanted.name in mine
            got = mine[wanted.name]
        else:
            got = positional[min(i, len(positional) - 1)]
            assert got.kind is wanted.kind or got.kind is got.POSITIONAL_OR_KEYWORD
        if isinstance(wanted.default, (bool, int, float, str, type(None))):
            assert got.default == wanted.default


@pytest.mark.parametrize("name", ["e", "inf", "nan", "newaxis", "pi"])
def test_constants(name: str) -> None:
    np.testing.assert_equal(getattr(ops, name), getattr(strict, name))


@pytest.mark.parametrize("name", DTYPES)
def test_kinds_of_dtypes(name: str) -> None:
    ours, theirs = getattr(ops, name), getattr(strict, name)
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "numeric")
    for kind in (*kinds, "real floating", "complex floating", ("bool", "integral")):
        assert ops.isdtype(ours, kind) == strict.isdtype(theirs, kind)
    for other in DTYPES:
        assert ops.isdtype(ours, getattr(ops, other)) == (name == other)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_limits_of_floats(name: str) -> None:
    ours, theirs = ops.finfo(getattr(ops, name)), strict.finfo(getattr(strict, name))
    for what in ("bits", "eps", "max", "min", "smallest_normal"):
        assert getattr(ours, what) == getattr(theirs, what)


@pytest.mark.parametrize("name", ["int8", "int32", "int64", "uint8", "uint32"])
def test_limits_of_integers(name: str) -> None:
    ours, theirs = ops.iinfo(getattr(ops, name)), strict.iinfo(getattr(strict, name))
    assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_promotion_where_the_standard_says_what_it_is() -> None:
    compared = 0
    for a, b in itertools.product(DTYPES, DTYPES):
        try:
            theirs = strict.result_type(getattr(strict, a), getattr(strict, b))
        except TypeError:
            continue  # kinds that it leaves open
        compared += 1
        ours = ops.result_type(getattr(ops, a), getattr(ops, b))
        assert getattr(strict, ours.name) == theirs
        to = strict.can_cast(getattr(strict, a), getattr(strict, b))
        assert ops.can_cast(getattr(ops, a), getattr(ops, b)) == to
    assert compared == 30  # bool, the integers among themselves, the floats among themselves


def test_what_the_namespace_says_of_itself() -> None:
    info = edu.tensor(1.0).__array_namespace__().__array_namespace_info__()
    assert info.capabilities().keys() == strict.__array_namespace_info__().capabilities().keys()
    assert info.default_device() in info.devices()
    assert set(info.default_dtypes()) == set(strict.__array_namespace_info__().default_dtypes())
    theirs = strict.__array_namespace_info__().dtypes(kind="integral")
    assert set(info.dtypes(kind="integral")) == set(theirs)
