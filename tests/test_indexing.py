"""Indexing against NumPy's: what is read, what is replaced, and gradients against the sum that a
loop over every place would make; and what lies beyond the end of an axis, on each device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import ArgumentError, DtypeError, OutOfRangeError, ShapeError
from tinygrad_edu.ops import indexing

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def basic(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index of integers, slices, ellipsis and newaxis."""
    shape = draw(SHAPES)
    return shape, draw(npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))


KINDS = ["array", "array", "array", "narrow", "int", "slice", "list", "mask"]


@st.composite
def mixed(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index of all that there is: integer arrays that broadcast, masks, slices,
    integers, newaxis, ellipsis."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    common = draw(npst.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    parts: list[Any] = []
    for size in shape[: draw(st.integers(1, len(shape)))]:
        if draw(st.integers(0, 5)) == 0:
            parts.append(None)
        numbers = st.integers(-size, size - 1)
        kind = draw(st.sampled_from(KINDS))
        if kind == "mask":
            # As many hits as the other arrays broadcast with: one.
            mask = np.zeros(size, bool)
            mask[draw(st.integers(0, size - 1))] = True
            parts.append(mask)
        elif kind == "int":
            parts.append(draw(numbers))
        elif kind == "slice":
            parts.append(draw(st.slices(size)))
        elif kind == "list":
            parts.append([draw(numbers)])
        else:
            own = common if kind == "array" else (1,) * draw(st.integers(0, 1)) + common[-1:]
            dtype = draw(st.sampled_from(["int8", "int32", "int64"]))
            parts.append(draw(npst.arrays(dtype, own, elements=numbers)))
    if draw(st.booleans()) and len(parts) == len([p for p in parts if p is not None]):
        parts.append(...)
    return shape, tuple(parts)


def array_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)


def as_ours(index: Any) -> Any:
    """The same index with every other array a Tensor."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(
        edu.tensor(part) if isinstance(part, np.ndarray) and i % 2 == 0 else part
        for i, part in enumerate(parts)
    )


def check_reading(shape: tuple[int, ...], index: Any) -> None:
    x = array_of(shape)
    expected = x[index]
    cotangent = np.cos(array_of(expected.shape[::-1])).T  # not in C order
    dense = np.zeros(shape)
    np.add.at(dense, index, cotangent)
    for ours in (index, as_ours(index)):
        t = edu.tensor(x)
        with edu.GradientTape() as tape:
            tape.watch(t)
            found = t[ours]
        gradient = tape.gradient(found, t, cotangent)
        assert found.shape == expected.shape
        assert_array_equal(found.numpy(), expected)
        assert_allclose(gradient.numpy(), dense, rtol=0, atol=1e-14)


def check_replacing(shape: tuple[int, ...], index: Any) -> None:
    x = array_of(shape)
    part = x[index]
    values = np.sin(array_of(part.shape[::-1])).T + 2
    for how, ufunc in (("add", np.add), ("multiply", np.multiply), ("max", np.maximum)):
        expected = x.copy()
        ufunc.at(expected, index, values)
        found = getattr(edu.tensor(x).at[as_ours(index)], how)(values)
        assert_allclose(found.numpy(), expected, rtol=1e-14)
    expected = x.copy()
    expected[index] = 7.0
    assert_array_equal(edu.tensor(x).at[index].set(7.0).numpy(), expected)


@settings(max_examples=200, deadline=None)
@given(basic())
def test_basic_indices_are_numpys(drawn: Any) -> None:
    check_reading(*drawn)
    check_replacing(*drawn)


@settings(max_examples=400, deadline=None)
@given(mixed())
def test_mixed_indices_are_numpys(drawn: Any) -> None:
    check_reading(*drawn)
    check_replacing(*drawn)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_masks_are_numpys(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    start = data.draw(st.integers(0, len(shape) - 1))
    stop = data.draw(st.integers(start + 1, len(shape)))
    mask = data.draw(npst.arrays(bool, shape[start:stop]))
    index = (slice(None),) * start + (mask,)
    check_reading(shape, index)
    check_replacing(shape, index)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_integer_arrays_of_hypothesis_are_numpys(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    index = data.draw(npst.integer_array_indices(shape))
    check_reading(shape, index)
    check_replacing(shape, index)


@pytest.mark.parametrize(
    "index",
    [
        (np.array([0, 1]), slice(None), np.array([1, 0])),  # apart: their dimensions go in front
        (0, slice(None), np.array([[1], [0]])),
        (slice(None), np.array([0, 1]), None, np.array([1, 1])),
        (..., np.array([0, 0, 1])),
        (np.array([0, 0]), ..., slice(None, None, -1)),
        (slice(1, None), ..., np.array([[0, 1]]), slice(None)),
        (np.array(1), slice(None), 1),
        (np.array([], int),),
        (np.uint8(1), np.array([0, 1], "uint64")),
        ([0, -1], [True, False, True]),
        ([[0, 1], [1, 0]],),
        (np.array([0, 1, 1, -1]), slice(None), slice(None)),
    ],
)
def test_particular_indices_are_numpys(index: Any) -> None:
    check_reading((2, 3, 2), index)
    check_replacing((2, 3, 2), index)


def test_an_index_may_mix_tensors_arrays_numbers_and_variables() -> None:
    x = array_of((3, 4, 2))
    index = (edu.tensor([0, 2]), edu.Variable([1, 3], trainable=False), np.int64(1))
    assert_array_equal(edu.tensor(x)[index].numpy(), x[[0, 2], [1, 3], 1])
    assert_array_equal(edu.tensor(x)[edu.tensor(1)].numpy(), x[1])
    assert_array_equal(edu.tensor(x)[edu.tensor(x) > 20].numpy(), x[x > 20])
    assert_array_equal(edu.tensor(x)[range(2)].numpy(), x[:2])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("width", [1, 2, 3, 64])
def test_the_gradient_of_a_look_up_is_the_sum_over_every_place(dtype: str, width: int) -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(-20, 20, (7, 30))
    values = generator.integers(-8, 8, (7, 30, width)).astype(dtype)  # sums of these are exact
    expected = np.zeros((20, width))
    np.add.at(expected, rows, values.astype(float))
    found = ops.getitem_transpose(values, index=(rows,), shape=(20, width))
    assert found.dtype == dtype
    assert_array_equal(found.numpy(), expected)


def test_sums_of_halves_accumulate_in_float32() -> None:
    rows, ones = np.zeros(4000, int), np.ones(4000, "float16")
    assert ops.scatter(rows[:, None], ones, (2,)).tolist() == [4000, 0]  # float16 stops at 2048
    assert edu.zeros(2, dtype="float16").at[rows].add(ones).tolist() == [4000, 0]


@pytest.mark.parametrize("rows", [2, 300])  # few elements and many go different ways
def test_infinity_and_nan_stay_in_their_column(rows: int) -> None:
    values = np.ones((rows, 2))
    values[0, 0], values[1, 1] = np.inf, np.nan
    found = ops.getitem_transpose(values, index=([0] * rows,), shape=(1, 2))
    assert_array_equal(found.numpy(), [[np.inf, np.nan]])


# Beyond the end


@pytest.mark.parametrize(
    ("index", "what"),
    [
        (3, "3 is out of range for axis 0"),
        (np.array([0, 3]), "3 is out of range for axis 0"),
        (np.array([[-4], [0]]), "-4 is out of range for axis 0"),
        ((slice(None), [0, 2]), "2 is out of range for axis 1"),
        ((..., np.array([-3])), "-3 is out of range for axis 1"),
    ],
)
@pytest.mark.parametrize("device", ["numpy", "xla"])
def test_what_can_be_told_at_once_is_an_error(index: Any, what: str, device: str) -> None:
    x = edu.ones((3, 2), device=device)
    for attempt in (lambda: x[index], lambda: x.at[index].add(1.0), lambda: x.at[index].set(1.0)):
        with pytest.raises(OutOfRangeError, match=what):
            attempt()


def test_a_tensor_on_device_numpy_is_an_error_too() -> None:
    x = edu.ones((3, 2))
    for index in (edu.tensor([0, 3]), (slice(None), edu.tensor([-3])), (0, edu.tensor(2))):
        for attempt in (lambda: x[index], lambda: x.at[index].max(1.0)):  # noqa: B023
            with pytest.raises(OutOfRangeError, match=r"indexing: -?. is out of range for axis"):
                attempt()


def test_an_empty_axis_has_nothing_in_range() -> None:
    for device in ("numpy", "xla"):
        x = edu.ones((0, 2), device=device)
        with pytest.raises(OutOfRangeError, match="axis 0"):
            x[edu.tensor([0], device=device)]
        assert x[edu.tensor([], "int32", device=device)].shape == (0, 2)


@pytest.mark.parametrize(
    ("dtype", "missing"),
    [
        ("float32", np.nan),
        ("float64", np.nan),
        ("float16", np.nan),
        ("int8", -128),
        ("int32", -(2**31)),
        ("uint8", 255),
        ("bool", False),
    ],
)
def test_reads_beyond_the_end_on_a_device_that_is_not_waited_for(dtype: str, missing: Any) -> None:
    x = np.ones((3, 2), dtype)
    rows = np.array([0, 3, -1, -4, 2])
    expected = x[[0, 0, -1, 0, 2]]
    expected[[1, 3]] = missing
    found = edu.tensor(x, device="xla")[edu.tensor(rows, device="xla")]
    assert found.dtype == dtype
    assert_array_equal(found.numpy(), expected)
    assert_array_equal(
        indexing.getitem.forward(_NotNumPy, x, rows, index=(indexing.ARRAY,)), expected
    )


class _NotNumPy:
    """NumPy, as if it were a device's module: what CuPy runs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_NotNumPy = _NotNumPy()  # type: ignore[misc, assignment]


@pytest.mark.parametrize("way", [lambda f: f, edu.jit])
def test_of_values_for_one_place_the_one_that_stays_has_the_gradient(way: Any) -> None:
    x = np.array([1.0, 2.0, 3.0])
    f = lambda v: ((x * edu.zeros(3).at[[2, 2, 0]].set(v)) ** 2).sum()
    assert_array_equal(way(edu.grad(f))(edu.tensor(5.0)).numpy(), 2 * (3 * 3 * 5 + 5))
    assert_array_equal(way(edu.grad(f))(edu.tensor([4.0, 5.0, 6.0])).numpy(), [0, 90, 12])
    assert_array_equal(way(edu.vmap(edu.grad(f)))(edu.tensor([5.0, 1.0])).numpy(), [100, 20])


@pytest.mark.parametrize("how", ["set", "add", "multiply", "min", "max"])
def test_writes_beyond_the_end_are_dropped(how: str) -> None:
    x, rows, values = (
        np.array([1.0, 2.0, 3.0]),
        np.array([0, 3, -1, -4]),
        np.array([5.0, 6.0, 7.0, 8.0]),
    )
    expected = getattr(edu.tensor(x).at[[0, -1]], how)(values[[0, 2]]).numpy()
    index = edu.tensor(rows, device="xla")
    found = getattr(edu.tensor(x, device="xla").at[index], how)(edu.tensor(values, device="xla"))
    assert_array_equal(found.numpy(), expected)
    op = ops.scatters[how]
    assert_array_equal(op.forward(_NotNumPy, x, values, rows, index=(indexing.ARRAY,)), expected)


@pytest.mark.parametrize("how", ["read", "set", "add", "multiply", "min", "max"])
def test_gradients_beyond_the_end_are_zero(how: str) -> None:
    index = edu.tensor([0, 3, -4], device="xla")
    x = edu.tensor([1.0, 2.0, 3.0], device="xla")
    values = edu.tensor([5.0, 0.0, 7.0], device="xla")

    def function(x: edu.Tensor, values: edu.Tensor) -> edu.Tensor:
        found = x[index] if how == "read" else getattr(x.at[index], how)(values)
        return ops.where(ops.isnan(found), 0.0, found).sum()

    of_x, of_values = edu.grad(function, (0, 1))(x, values)
    assert np.isfinite(of_x.numpy()).all()
    assert of_values.tolist()[1:] == [0, 0]
    assert of_x.tolist()[1:] == [0 if how == "read" else 1] * 2


@settings(max_examples=150, deadline=None)
@given(mixed())
def test_the_way_of_other_devices_is_numpys_where_all_is_in_range(drawn: Any) -> None:
    # What CuPy runs, here with NumPy's functions.
    shape, index = drawn
    x = array_of(shape)
    template, arrays = indexing.split_index(shape, edu.devices()[0], index)
    if not arrays:
        return
    numpys = [a.numpy() if isinstance(a, edu.Tensor) else np.asarray(a) for a in arrays]
    found = ops.getitem.forward(_NotNumPy, x, *numpys, index=template)
    assert_array_equal(found, x[index])
    values = np.sin(array_of(found.shape))
    expected = x.copy()
    np.add.at(expected, index, values)
    changed = ops.scatters["add"].forward(_NotNumPy, x, values, *numpys, index=template)
    assert_allclose(changed, expected, rtol=1e-14)


@settings(max_examples=25, deadline=None)
@given(mixed())
def test_indices_on_xla_are_numpys(drawn: Any) -> None:
    shape, index = drawn
    x = array_of(shape)
    with edu.device("xla"):
        assert_array_equal(edu.tensor(x)[as_ours(index)].numpy(), x[index])


def test_narrow_indices_reach_the_end_of_a_long_axis_on_xla() -> None:
    x = edu.arange(300, device="xla")
    index = edu.tensor(np.array([-1, 100, -128], "int8"), device="xla")
    assert x[index].tolist() == [299, 100, 172]
    assert x[edu.tensor(np.array([255], "uint8"), device="xla")].tolist() == [255]


# Functions


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_take_and_along_axis_are_numpys(data: st.DataObject) -> None:
    shape = data.draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    numbers = st.integers(-shape[axis], shape[axis] - 1)
    x = array_of(shape)
    rows = data.draw(npst.arrays(np.int64, npst.array_shapes(min_dims=0), elements=numbers))
    assert_array_equal(ops.take(x, rows, axis=axis).numpy(), np.take(x, rows, axis))
    count = data.draw(st.integers(0, 3))
    own = list(shape)
    own[axis] = count
    if data.draw(st.booleans()):  # other sizes broadcast
        own = [1 if i != axis % len(shape) else size for i, size in enumerate(own)]
    along = data.draw(npst.arrays(np.int64, tuple(own), elements=numbers))
    found = ops.take_along_axis(x, along, axis=axis)
    assert_array_equal(found.numpy(), np.take_along_axis(x, along, axis))
    expected = x.copy()
    np.put_along_axis(expected, along, 0.5, axis)
    assert_array_equal(ops.put_along_axis(x, along, 0.5, axis=axis).numpy(), expected)


def test_take_without_an_axis_takes_from_one_row() -> None:
    assert ops.take(np.array([[1, 2], [3, 4]]), [3, -4]).tolist() == [4, 1]
    assert ops.take(np.array([1, 2]), 1).item() == 2
    assert ops.take(np.array([1, 2]), []).shape == (0,)


def test_scatter_adds_and_scatter_update_replaces() -> None:
    places = np.array([[[0, 1], [1, 1]], [[0, 1], [2, 0]]])
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = np.zeros((3, 2))
    np.add.at(expected, tuple(np.moveaxis(places, -1, 0)), values)
    assert_array_equal(ops.scatter(places, values, (3, 2)).numpy(), expected)
    expected = np.ones((3, 2))
    expected[[2, 0]] = [[5, 6], [7, 8]]
    rows = edu.tensor([[2], [0]])
    found = ops.scatter_update(np.ones((3, 2)), rows, np.array([[5.0, 6], [7, 8]]))
    assert_array_equal(found.numpy(), expected)


def test_one_hot_has_no_one_outside_of_the_row() -> None:
    assert ops.one_hot([0, 2, -1, 3], 3).tolist() == [[1, 0, 0], [0, 0, 1], [0] * 3, [0] * 3]
    assert ops.one_hot(np.array([200], "uint8"), 300).numpy().argmax() == 200
    assert ops.one_hot(np.array([-100, 100], "int8"), 300).numpy().sum() == 1
    assert ops.one_hot([[0], [1]], 2, axis=0, dtype="int32").shape == (2, 2, 1)
    assert ops.one_hot(1, 2, dtype=bool).tolist() == [False, True]
    assert ops.one_hot([1], 0).shape == (1, 0)


@settings(max_examples=50, deadline=None)
@given(npst.arrays(np.int32, npst.array_shapes(min_dims=1, min_side=0), elements=st.integers(0, 1)))
def test_nonzero_and_argwhere_are_numpys(x: np.ndarray) -> None:
    found = ops.nonzero(x)
    assert len(found) == x.ndim
    for ours, theirs in zip(found, np.nonzero(x), strict=True):
        assert ours.dtype == "int32"
        assert_array_equal(ours.numpy(), theirs)
    assert_array_equal(ops.argwhere(edu.tensor(x)).numpy(), np.argwhere(x))


@pytest.mark.parametrize(
    ("attempt", "error", "word"),
    [
        (lambda x: ops.take(x, [0.5], axis=0), DtypeError, "take: indices are integers"),
        (lambda x: ops.take(x, [True, False], axis=0), DtypeError, "take: indices are integers"),
        (lambda x: ops.take(x, [0], axis=2), ArgumentError, "take: axis 2"),
        (lambda x: ops.take(x, [6]), OutOfRangeError, "6 is out of range"),
        (lambda x: ops.take_along_axis(x, [0]), ShapeError, "take_along_axis.*dimensions"),
        (lambda x: ops.take_along_axis(x, np.zeros((4, 1), int)), ShapeError, "take_along_axis"),
        (lambda x: ops.put_along_axis(x, [[0]], edu.ones(5)), ArgumentError, "values"),
        (lambda x: ops.scatter([[0, 0, 0]], [1.0], (3, 2)), ShapeError, "scatter: indices"),
        (lambda x: ops.scatter([[0]], [1.0], (3, 2)), ShapeError, "scatter: values"),
        (lambda x: ops.scatter([[3]], [1.0], (3,)), OutOfRangeError, "3 is out of range"),
        (lambda x: ops.scatter_update(x, 1, 1.0), ShapeError, "scatter_update: indices"),
        (lambda x: ops.one_hot(x, 3), DtypeError, "one_hot: takes integers"),
        (lambda x: ops.one_hot([1], 2.0), ArgumentError, "one_hot: num_classes"),
        (lambda x: ops.one_hot([1], -1), ArgumentError, "one_hot: num_classes"),
        (lambda x: ops.one_hot([1], 2, axis=3), ArgumentError, "one_hot: axis 3"),
        (lambda x: ops.nonzero(1.0), ShapeError, "nonzero"),
        (lambda x: x[0, 0, 0], OutOfRangeError, "too many parts"),
        (lambda x: x[..., ...], OutOfRangeError, "too many parts"),
        (lambda x: x[::0], ArgumentError, "step"),
        (lambda x: x[True], ArgumentError, "boolean"),
        (lambda x: x[[[0], [1]], [0, 1, 2], None, [0]], OutOfRangeError, "too many parts"),
        (lambda x: x[[0, 1, 0], [0, 1]], ShapeError, "indexing: shape mismatch"),
    ],
)
def test_what_does_not_fit_is_refused(attempt: Any, error: Any, word: str) -> None:
    with pytest.raises(error, match=word):
        attempt(edu.ones((2, 3)))


# Many examples at once


X, ROWS = np.arange(24.0).reshape(4, 2, 3), np.array([[0, 1], [1, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize("mapped", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, i: x[i],
        lambda x, i: x[:, i],
        lambda x, i: x[i, 1:],
        lambda x, i: x[i, None, i],
        lambda x, i: x[i[:, None], i],
        lambda x, i: x[1, i],
        lambda x, i: x[..., ::-1] * i.sum(),
        lambda x, i: ops.take_along_axis(x, i[:, None], axis=1),
    ],
)
def test_under_vmap_indices_are_those_of_each_example(function: Any, mapped: Any) -> None:
    x, i = [edu.tensor(a if m == 0 else a[0]) for a, m in zip((X, ROWS), mapped, strict=True)]
    xs, rows = [
        [a[k] if m == 0 else a for k in range(4)] for a, m in zip((x, i), mapped, strict=True)
    ]
    slope = edu.grad(lambda x, i: (function(x, i) ** 2).sum())
    for f in (function, slope):
        expected = np.stack([f(a, b).numpy() for a, b in zip(xs, rows, strict=True)])
        assert_array_equal(edu.vmap(f, in_axes=mapped)(x, i).numpy(), expected)
