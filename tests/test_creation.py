"""Tensors from nothing against NumPy's arrays, and what cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import ArgumentError, DtypeError, Error, ShapeError

X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize("device", ["numpy", "xla"])
@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (lambda: ops.arange(5), np.arange(5, dtype="int32")),
        (lambda: ops.arange(2, 9, 3), np.arange(2, 9, 3, dtype="int32")),
        (lambda: ops.arange(5, 0, -2), np.array([5, 3, 1], "int32")),
        (lambda: ops.arange(5, 0), np.zeros(0, "int32")),
        (lambda: ops.arange(0.0, 1.0, 0.25, dtype="float64"), np.arange(0, 1, 0.25)),
        (
            lambda: ops.arange(np.float32(0), np.float32(1), np.float32(0.25)),
            np.arange(0, 1, 0.25, dtype="float32"),
        ),
        (lambda: ops.asarray([1, 2]), np.array([1, 2], "int32")),
        (lambda: ops.asarray(np.float64(2), dtype="float32"), np.float32(2)),
        (lambda: ops.empty((2, 0)), np.zeros((2, 0), "float32")),
        (lambda: ops.empty_like(X, dtype="int8").shape, (2, 3)),
        (lambda: ops.eye(2), np.eye(2, dtype="float32")),
        (lambda: ops.eye(2, 3, k=1), np.eye(2, 3, 1, "float32")),
        (lambda: ops.eye(3, 2, k=-2, dtype=bool), np.eye(3, 2, -2, bool)),
        (lambda: ops.full((), 2.5), np.float32(2.5)),
        (lambda: ops.full(2, True), np.array([True, True])),
        (lambda: ops.full(2, np.float64(0.1)), np.full(2, 0.1)),
        (lambda: ops.full(2, np.uint8(7)), np.full(2, 7, "uint8")),
        (lambda: ops.full(2, edu.tensor(0.1, "float64")), np.full(2, 0.1)),
        (lambda: ops.full(2, edu.tensor(2.5), dtype="int8"), np.full(2, 2, "int8")),
        (lambda: ops.full_like(X, 7), np.full_like(X, 7)),
        (lambda: ops.full_like(X, 7, dtype="int32"), np.full((2, 3), 7, "int32")),
        (lambda: ops.linspace(0, 1, 7, dtype="float64"), np.linspace(0, 1, 7)),
        (lambda: ops.linspace(3, -1, 5, endpoint=False), np.linspace(3, -1, 5, False, dtype="f")),
        (lambda: ops.linspace(-2, 2, 4, dtype="int32"), np.linspace(-2, 2, 4, dtype="int32")),
        (lambda: ops.linspace(1, 2, 0), np.zeros(0, "float32")),
        (lambda: ops.linspace(1, 2, 1), np.ones(1, "float32")),
        (lambda: ops.ones((2, 1), dtype="uint8"), np.ones((2, 1), "uint8")),
        (lambda: ops.ones_like(X, dtype="float16"), np.ones((2, 3), "float16")),
        (lambda: ops.tri(3, 4, -1), np.tri(3, 4, -1, "float32")),
        (lambda: ops.tri(2, dtype=bool), np.tri(2, dtype=bool)),
        (lambda: ops.zeros(3), np.zeros(3, "float32")),
        (lambda: ops.zeros_like(X), np.zeros((2, 3))),
        (lambda: ops.zeros_like(1), np.int32(0)),
    ],
)
def test_what_is_made_is_numpys(ours: Callable[[], Any], expected: Any, device: str) -> None:
    with edu.device(device):
        found = ours()
    if isinstance(found, edu.Tensor):
        assert found.device == device
        assert found.dtype == expected.dtype
        assert_array_equal(found.numpy(), expected)
    else:
        assert found == expected


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_arange_is_numpys(start: int, stop: int, step: int) -> None:
    assert_array_equal(ops.arange(start, stop, step).numpy(), np.arange(start, stop, step))
    found = ops.arange(start / 4, stop / 4, step / 4, dtype="float64")
    assert_allclose(found.numpy(), np.arange(start / 4, stop / 4, step / 4))


def test_a_long_range_of_floats_ends_where_it_should() -> None:
    found = ops.arange(0.0, 1e6, 0.1)  # counted in float64, then rounded
    assert found.shape == np.arange(0.0, 1e6, 0.1).shape
    assert found.dtype == "float32"


@pytest.mark.parametrize("make", [ops.zeros_like, ops.ones_like, ops.empty_like])
def test_the_likes_keep_or_take_dtype_and_device(make: Any) -> None:
    x = edu.tensor(X, "float32", "xla")
    assert (make(x).dtype, make(x).device, make(x).shape) == ("float32", "xla", (2, 3))
    other = make(x, dtype="int32", device="numpy")
    assert (other.dtype, other.device) == ("int32", "numpy")
    assert ops.full_like(x, edu.tensor(3)).tolist() == [[3] * 3] * 2


@pytest.mark.parametrize("make", [lambda a: ops.full(3, a), lambda a: ops.full_like(X[0], a)])
def test_filling_with_a_tensor_is_followed_traced_and_batched(make: Any) -> None:
    a = edu.tensor(2.0, "float64")
    assert edu.grad(lambda a: (make(a) ** 2).sum())(a).item() == 12
    assert edu.jit(make)(a).tolist() == [2, 2, 2]
    assert edu.vmap(make)(edu.tensor([1.0, 2.0], "float64")).tolist() == [[1] * 3, [2] * 3]
    v = edu.Variable(a)
    assert edu.jit(lambda: make(v))().tolist() == [2, 2, 2]


def test_asarray_gives_a_tensor_itself_and_follows_gradients() -> None:
    x = edu.tensor([1.0, 2.0])
    assert ops.asarray(x) is x
    assert ops.asarray(x, dtype="float32", device="numpy", copy=False) is x
    copied = ops.asarray(x, copy=True)
    assert copied is not x
    assert copied.tolist() == [1, 2]
    found = edu.grad(lambda x: (ops.asarray(x, dtype="float64", device="xla") ** 2).sum())(x)
    assert (found.tolist(), found.dtype, found.device) == ([2, 4], "float32", "numpy")
    stacked = edu.grad(lambda x: (ops.asarray([x, 2 * x], dtype="float64") ** 2).sum())(x)
    assert stacked.tolist() == [10, 20]
    assert ops.asarray(edu.Variable([1.0])).tolist() == [1]


def test_asarray_copies_what_may_change() -> None:
    array = np.ones(2)
    found = ops.asarray(array)
    array[0] = 5
    assert found.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("attempt", "error", "word"),
    [
        (lambda: ops.zeros(-1), ArgumentError, "zeros: -1 is not a shape"),
        (lambda: ops.ones((2, 0.5)), ArgumentError, "ones"),
        (lambda: ops.full((2,), 300, dtype="uint8"), DtypeError, "full"),
        (lambda: ops.full(2, np.nan, dtype="int8"), DtypeError, "full: nan"),
        (lambda: ops.full_like([1], np.inf), DtypeError, "full_like: inf"),
        (lambda: ops.zeros(2, dtype="complex64"), DtypeError, "complex"),
        (lambda: ops.arange(0, 5, 0), ArgumentError, "arange"),
        (lambda: ops.arange(1j), DtypeError, "arange"),
        (lambda: ops.linspace(0, 1, -1), ArgumentError, "linspace: num"),
        (lambda: ops.linspace(0, 1j, 3), DtypeError, "linspace"),
        (lambda: ops.linspace(0, 300, 3, dtype="int8"), DtypeError, "300"),
        (lambda: ops.eye(-1), ArgumentError, "eye"),
        (lambda: ops.eye(2, 2.5), ArgumentError, "eye"),
        (lambda: ops.tri(2.0), ArgumentError, "tri"),
        (lambda: ops.asarray([1.0], copy=False), ArgumentError, "asarray: a list"),
        (lambda: ops.asarray(edu.ones(1), dtype="int32", copy=False), ArgumentError, "asarray"),
        (lambda: ops.asarray([[1], [1, 2]]), ShapeError, "rectangular"),
        (lambda: ops.asarray("text"), DtypeError, "numbers"),
    ],
)
def test_what_cannot_be_made_is_refused(attempt: Any, error: type[Error], word: str) -> None:
    with pytest.raises(error, match=word):
        attempt()
