"""What kernels share, where NumPy has a quicker way for some shapes than for others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu.ops.kernels import top, total

SHAPES = [(3, 4), (64, 10), (2000, 3), (16, 32), (40, 33), (20, 1024), (17, 1025), (5, 7, 6), (9,)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_reductions_of_rows_of_any_length(shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    for array in (x, np.asfortranarray(x), x[..., ::-1]):
        for axis in range(array.ndim):
            wanted = array.sum(axis, keepdims=True, dtype="float64")
            found = total(np, array, (axis,))
            assert (found.shape, found.dtype) == (wanted.shape, array.dtype)
            assert_allclose(found, wanted, rtol=0, atol=np.finfo(dtype).eps * 2 * array.shape[axis])
            assert_array_equal(top(np, array, (axis,)), array.max(axis, keepdims=True))


def test_what_is_not_finite_stays_in_its_row() -> None:
    for size in (4, 40):
        x = np.ones((64, size), "float32")
        x[1, 2], x[2, 3], x[3, 0] = np.nan, np.inf, -np.inf
        assert_array_equal(top(np, x, (1,)), x.max(1, keepdims=True))
        assert_array_equal(total(np, x, (1,)), x.sum(1, keepdims=True))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_cross_entropy_of_classes_of_any_integers(dtype: str, compiled: bool) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(6, 5, 10)), rng.normal(size=(6, 5))
    classes = rng.integers(0, 10, (6, 5))

    def loss(x: edu.Tensor, t: edu.Tensor) -> edu.Tensor:
        found = edu.ops.sparse_categorical_crossentropy(t, x, from_logits=True)
        return edu.sum(found * weights)

    both = edu.value_and_grad(loss)
    both = edu.jit(both) if compiled else both
    value, slope = both(edu.tensor(x), edu.tensor(classes.astype(dtype)))
    shares = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    chosen = np.eye(10)[classes]
    assert_allclose(value.item(), -(np.log((shares * chosen).sum(-1)) * weights).sum())
    assert_allclose(slope.numpy(), (shares - chosen) * weights[..., None], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(5000, 1), (3000, 2), (700, 7), (2, 40, 256), (5, 1024), (5, 1025), (3, 4000), (9999,)],
)
def test_running_sums_of_rows_of_any_length(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, *shape)).astype(dtype)
    found, pull_back = edu.vjp(lambda x: edu.cumulative_sum(x, axis=-1), edu.tensor(x))
    (slope,) = pull_back(edu.tensor(g))
    for ours, of, turn in ((found, x, slice(None)), (slope, g, slice(None, None, -1))):
        exact = of[..., turn].cumsum(-1, dtype="longdouble")[..., turn]
        bound = np.abs(of).sum(-1, dtype="float64", keepdims=True) * np.finfo(dtype).eps
        assert ours.dtype == dtype
        assert (np.abs(ours.numpy() - exact) <= bound).all()
    whole = (x * 9).astype("int32")
    assert_array_equal(edu.cumulative_sum(edu.tensor(whole), axis=-1).numpy(), whole.cumsum(-1))


def test_what_is_not_finite_stays_in_its_row_of_running_sums() -> None:
    x = np.ones((64, 100), "float32")
    x[1, 99], x[2, 0], x[3, 5] = np.inf, -np.inf, np.nan
    x[5, 99] = x[6, 0] = 3e38  # their sum would overflow
    with np.errstate(all="raise"):
        found, pull_back = edu.vjp(lambda x: edu.cumulative_sum(x, axis=-1), edu.tensor(x))
        (slope,) = pull_back(edu.tensor(x))
    assert_allclose(found.numpy(), x.cumsum(-1), rtol=1e-6)
    assert_allclose(slope.numpy(), x[:, ::-1].cumsum(-1)[:, ::-1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (8192,), (8193,), (70, 1001), (3, 2), (5, 3, 400, 3)])
def test_sums_are_as_close_as_the_last_digits_allow(shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(4).normal(size=shape).astype(dtype)
    for axis in (None, *range(x.ndim), *[(0, 1)] * (x.ndim > 1)):
        for array in (x, x.T):
            exact = np.sum(array.astype("longdouble"), axis=axis)
            bound = 4 * np.finfo(dtype).eps * np.sum(np.abs(array), axis=axis)
            found = edu.sum(array, axis=axis).numpy()
            assert found.dtype == dtype
            assert found.shape == exact.shape
            assert (np.abs(found - exact) <= bound).all()
