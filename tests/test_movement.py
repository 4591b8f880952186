"""Movement against NumPy's functions of the same names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import errors, ops

X = np.arange(24.0).reshape(2, 3, 4)


def test_values_may_be_given_in_numpys_forms() -> None:
    assert ops.reshape(X, (4, 6), copy=True).shape == (4, 6)
    assert ops.squeeze(X[:1], 0).shape == (3, 4)
    assert ops.expand_dims(X, axis=(0, -1)).shape == (1, 2, 3, 4, 1)
    assert ops.transpose(X, axes=(2, 0, 1)).shape == (4, 2, 3)
    assert ops.swapaxes(X, axis1=0, axis2=np.int64(2)).shape == (4, 3, 2)
    assert ops.moveaxis(X, np.int64(0), -1).shape == (3, 4, 2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_pad_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3))
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    pair = st.tuples(st.integers(0, 5), st.integers(0, 5))
    every = st.tuples(*[pair] * len(shape))
    width: Any = data.draw(st.one_of(st.integers(0, 5), pair, st.tuples(pair), every))
    assert_array_equal(ops.pad(x, width, mode).numpy(), np.pad(x, width, mode))  # type: ignore[call-overload]


@pytest.mark.parametrize("values", [7, (7,), (7, 8), ((7, 8),), ((5, 6), (7, 8), (9, 10))])
def test_pad_takes_constants_in_numpys_forms(values: Any) -> None:
    width = ((1, 2), (0, 1), (2, 0))
    expected = np.pad(X, width, constant_values=values)
    assert_array_equal(ops.pad(X, width, constant_values=values).numpy(), expected)


def test_booleans_stay_booleans_where_zeros_are_put_among_them() -> None:
    mask = np.array([[True, True, False], [True, False, True]])
    for found, wanted in [
        (ops.tril(mask), np.tril(mask)),
        (ops.triu(mask, k=1), np.triu(mask, 1)),
        (ops.pad(mask, 1), np.pad(mask, 1)),
        (ops.pad(mask, 1, constant_values=1), np.pad(mask, 1, constant_values=1)),
    ]:
        assert found.dtype == bool
        assert_array_equal(found.numpy(), wanted)


def test_a_triangle_may_begin_far_outside() -> None:
    assert_array_equal(ops.tril(X, k=10**30).numpy(), X)
    assert_array_equal(ops.triu(X, k=10**30).numpy(), 0 * X)


def test_roll_along_no_axis_moves_nothing() -> None:
    assert_array_equal(ops.roll(X, 1, axis=()).numpy(), np.roll(X, 1, ()))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: ops.tril(X, k="1"), "tril: k is an integer, not '1'"),
        (lambda: ops.triu(X, k=1.5), "triu: k is an integer, not 1.5"),
        (lambda: ops.rot90(X, 1, 1), "rot90: takes two axes, each once, not 1"),
        (lambda: ops.concat([X[0, 0], 1.0]), r"concat: shapes \(4,\) and \(\) must agree"),
    ],
)
def test_what_movements_cannot_take_is_named(function: Any, message: str) -> None:
    with pytest.raises(errors.Error, match=message):
        function()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_split_roll_repeat_and_tile_are_numpys(data: st.DataObject) -> None:
    axis = data.draw(st.integers(-3, 2))
    size = X.shape[axis]
    cuts = data.draw(st.lists(st.integers(-6, 6), max_size=4))
    for ours, theirs in zip(ops.split(X, cuts, axis), np.split(X, cuts, axis), strict=True):
        assert_array_equal(ours.numpy(), theirs)
    shift = data.draw(st.integers(-9, 9))
    assert_array_equal(ops.roll(X, shift, axis=axis).numpy(), np.roll(X, shift, axis))
    assert_array_equal(ops.roll(X, shift).numpy(), np.roll(X, shift))
    both = ops.roll(X, (shift, 1), axis=(axis, 0))
    assert_array_equal(both.numpy(), np.roll(X, (shift, 1), (axis, 0)))
    assert_array_equal(ops.roll(X, 2, axis=(0, 2)).numpy(), np.roll(X, 2, (0, 2)))
    times = data.draw(
        st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), min_size=size, max_size=size))
    )
    assert_array_equal(ops.repeat(X, times, axis=axis).numpy(), np.repeat(X, times, axis))
    repetitions = data.draw(st.lists(st.integers(0, 3), max_size=4))
    assert_array_equal(ops.tile(X, repetitions).numpy(), np.tile(X, repetitions))


@given(st.integers(-5, 5), st.permutations(range(3)))
def test_diagonals_are_numpys(k: int, axes: list[int]) -> None:
    first, second, _ = axes
    for x in (X, X[:, :0]):
        expected = np.diagonal(x, k, first, second)
        assert_array_equal(ops.diagonal(x, k, first, second).numpy(), expected)
        assert_array_equal(ops.trace(x, k, first, second).numpy(), np.trace(x, k, first, second))
        assert_array_equal(ops.tril(x, k=k).numpy(), np.tril(x, k))
        assert_array_equal(ops.triu(x, k=k).numpy(), np.triu(x, k))
    for row in (X[0, 0], X[0], X[0, 0, :0]):
        assert_array_equal(ops.diag(row, k).numpy(), np.diag(row, k))
    assert_array_equal(ops.rot90(X, k, (first, second)).numpy(), np.rot90(X, k, (first, second)))
    assert_array_equal(ops.flip(X, axis=(first, second)).numpy(), np.flip(X, (first, second)))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_meshgrid_is_numpys(count: int, indexing: Any) -> None:
    rows = [np.arange(2.0), np.arange(3), np.array(7.0)][:count]
    found, expected = ops.meshgrid(*rows, indexing=indexing), np.meshgrid(*rows, indexing=indexing)
    for ours, theirs in zip(found, expected, strict=True):
        assert_array_equal(ours.numpy(), theirs)


def test_stack_and_unstack_are_inverse() -> None:
    for axis in range(-3, 3):
        parts = ops.unstack(X, axis=axis)
        assert_array_equal(ops.stack(parts, axis=axis).numpy(), X)
    assert ops.unstack(X[:0]) == ()


def test_what_is_not_used_of_a_split_has_gradient_zero() -> None:
    found = edu.grad(lambda x: (ops.split(x, 3)[1] ** 2).sum())(np.arange(6.0))
    assert found.tolist() == [0, 0, 4, 6, 0, 0]
    found = edu.grad(lambda x: ops.unstack(x)[1] * ops.unstack(x)[0])(np.array([2.0, 3.0, 4.0]))
    assert found.tolist() == [3, 2, 0]


def test_integers_and_booleans_move_too() -> None:
    x = np.array([[1, 2], [3, 4]], "uint8")
    for found in (ops.pad(x, 1), ops.tril(x), ops.roll(x, 1), ops.tile(x, 2), ops.diag(x)):
        assert found.dtype == "uint8"
    assert ops.triu(x > 1).tolist() == [[False, True], [False, True]]
    assert ops.pad(x > 0, (1, 0), constant_values=True).tolist() == [[True] * 3] * 3
