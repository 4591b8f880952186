"""Sums of small arrays as products for BLAS."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu

SHAPES: list[tuple[int, ...]] = [(1,), (7,), (128, 10), (5, 1), (4, 3, 6), (2, 3, 4, 5)]
AXES = [
    (shape, axis)
    for shape in SHAPES
    for count in range(1, len(shape) + 1)
    for axis in itertools.combinations(range(len(shape)), count)
]


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize(("shape", "axis"), AXES, ids=str)
def test_sums_along_any_axes(name: str, shape: tuple[int, ...], axis: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    for keepdims in (False, True):

        def function(x: Any, keepdims: bool = keepdims) -> Any:
            found = getattr(edu.ops, name)(edu.sin(x), axis=axis, keepdims=keepdims)
            return found, found * 2.0

        wanted = getattr(np, name)(np.sin(x), axis=axis, keepdims=keepdims)
        found, twice = edu.jit(function)(x)
        assert found.shape == wanted.shape
        assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-14)
        assert_allclose(twice.numpy(), 2 * wanted, rtol=1e-12, atol=1e-14)


def text(function: Any, *arguments: np.ndarray) -> str:
    return str(edu.jit(function).lower(*arguments).as_text("python"))


def test_rows_and_columns_of_small_arrays_are_summed_by_a_product() -> None:
    x = np.ones((128, 64), "float32")
    for function in (
        lambda x: edu.sum(edu.exp(x), axis=0),
        lambda x: edu.mean(edu.exp(x), axis=1),
        lambda x: edu.sum(edu.exp(x) * edu.sin(x)),
        lambda x: edu.mean(edu.square(x)),
    ):
        assert ".dot(" in text(function, x)
        assert "reduce" not in text(function, x)


def test_others_are_sums() -> None:
    large, whole = np.ones((128, 65), "float32"), np.ones((8, 8), "int32")
    for function, x in (
        (lambda x: edu.sum(edu.exp(x), axis=0), large),
        (lambda x: edu.sum(x * 3, axis=0), whole),
        (lambda x: edu.sum(edu.exp(x), axis=1), np.ones((4, 3, 5), "float32")),
    ):
        assert ".dot(" not in text(function, x)


def test_infinite_elements_stay_in_their_rows() -> None:
    x = np.array([[1.0, np.inf, 2.0], [np.nan, 3.0, 4.0], [5.0, 6.0, -np.inf]])
    for axis in (0, 1):
        found = edu.jit(lambda x, axis=axis: edu.sum(x * 2.0, axis=axis), static_argnames="axis")(x)
        assert_array_equal(found.numpy(), (x * 2.0).sum(axis))
