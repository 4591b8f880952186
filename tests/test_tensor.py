"""Tensor: how one is made, what cannot be done to it, and what can be got out of it."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import errors

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.pow, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
BITS = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


# Making


def test_tensor_copies_what_it_is_made_of(device: str) -> None:
    array = np.arange(3.0)
    x, of_view = edu.tensor(array), edu.tensor(array[::-1])
    array[:] = 9
    assert x.tolist() == [0, 1, 2]
    assert of_view.tolist() == [2, 1, 0]


def test_tensor_takes_numbers_lists_arrays_tensors_and_variables() -> None:
    pair = [1.0, 2.0]
    for data in (pair, tuple(pair), np.array(pair), edu.tensor(pair), edu.Variable(pair),
                 [edu.tensor(1.0), np.float32(2.0)]):  # fmt: skip
        assert edu.tensor(data).tolist() == pair
    assert edu.tensor(3).shape == ()
    assert edu.tensor([[1, 2, 3]] * 2).shape == (2, 3)


def test_tensor_of_a_tensor_starts_without_its_past() -> None:
    x = edu.tensor(2.0, requires_grad=True)
    y = edu.tensor(x * x)
    assert (y.item(), y.requires_grad) == (4.0, False)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: edu.zeros((2, 3)), np.zeros((2, 3), "float32")),
        (lambda: edu.ones(2, dtype="int8"), np.ones(2, "int8")),
        (lambda: edu.full((), 7), np.array(7, "int32")),
        (lambda: edu.full(2, 1.5), np.full(2, 1.5, "float32")),
        (lambda: edu.full((2, 0), True), np.zeros((2, 0), "bool")),
        (lambda: edu.arange(4), np.array([0, 1, 2, 3], "int32")),
        (lambda: edu.arange(5, 1, -2), np.array([5, 3], "int32")),
        (lambda: edu.arange(0, 1, 0.25), np.array([0, 0.25, 0.5, 0.75], "float32")),
        (lambda: edu.arange(3, dtype="float64"), np.array([0, 1, 2], "float64")),
        (lambda: edu.arange(3, 3), np.array([], "int32")),
        (lambda: edu.linspace(0, 1, 3), np.array([0, 0.5, 1], "float32")),
        (lambda: edu.linspace(0, 1, 2, endpoint=False), np.array([0, 0.5], "float32")),
        (lambda: edu.linspace(1, 0, 1), np.array([1], "float32")),
        (lambda: edu.eye(2), np.array([[1, 0], [0, 1]], "float32")),
        (lambda: edu.eye(2, 3, k=1), np.array([[0, 1, 0], [0, 0, 1]], "float32")),
        (lambda: edu.zeros_like(edu.arange(2)), np.zeros(2, "int32")),
        (lambda: edu.ones_like(np.zeros((1, 2))), np.ones((1, 2), "float64")),
        (lambda: edu.ones_like([1, 2], dtype="float16"), np.ones(2, "float16")),
        (lambda: edu.full_like(edu.Variable([1.0, 2.0]), 3), np.full(2, 3, "float32")),
    ],
)
def test_constructors(made: Callable[[], edu.Tensor], expected: np.ndarray) -> None:
    x = made()
    assert_array_equal(x.numpy(), expected)
    assert (x.shape, x.dtype) == (expected.shape, expected.dtype)


def test_full_takes_a_numpy_scalar_and_a_scalar_tensor() -> None:
    assert edu.full(2, np.float64(2)).tolist() == [2, 2]
    assert edu.full(2, edu.tensor(3.0)).tolist() == [3, 3]


def test_the_end_of_a_long_range_is_where_it_should_be() -> None:
    x = edu.arange(0, 20_000_000, 9_999_999.5)
    assert x.tolist() == [0, np.float32(9_999_999.5), np.float32(19_999_999)]


def test_its_size_is_told_in_many_ways(device: str) -> None:
    x = edu.zeros((4, 1, 3), dtype="float64")
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((4, 1, 3), 3, 12, "float64", 4)
    assert type(x.shape) is tuple
    assert x.device == device


# Never changing


def test_item_assignment_says_what_to_do_instead() -> None:
    x = edu.ones(3)
    with pytest.raises(TypeError, match=r"does not support item assignment.*x\.at\[index\]\.set"):
        x[0] = 2.0
    with pytest.raises(errors.ImmutableError, match="Variable"):
        x[0] += 2.0
    assert x.tolist() == [1, 1, 1]


def test_augmented_assignment_makes_another_tensor() -> None:
    x = before = edu.ones(2)
    x += 1
    x *= 3
    assert (x.tolist(), before.tolist()) == ([6, 6], [1, 1])


def test_numpy_gives_a_read_only_view(device: str) -> None:
    x = edu.tensor([1.0, 2.0])
    array = x.numpy()
    assert np.shares_memory(array, x.numpy())
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 9


def test_a_copy_for_numpy_can_be_changed() -> None:
    x = edu.tensor([1.0, 2.0])
    array = np.array(x)
    array[0] = 9
    assert x.tolist() == [1, 2]


def test_a_view_of_a_tensor_is_another_tensor_of_the_same_memory() -> None:
    x = edu.tensor(np.arange(6.0))
    assert np.shares_memory(x.reshape(2, 3).T[0].numpy(), x.numpy())


def test_attributes_cannot_be_made_up() -> None:
    with pytest.raises(AttributeError):
        edu.ones(2).anything = 3  # type: ignore[attr-defined]


# Operators


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_operators_are_numpys_from_both_sides_for_every_kind_of_operand(
    op: Callable[[Any, Any], Any],
) -> None:
    a, b = np.array([[1.5], [2.5], [4.0]]), np.array([1.0, 2.5])
    x = edu.tensor(a)
    for other in (
        b,
        edu.tensor(b),
        edu.Variable(b),
        b.tolist(),
        2.5,
        2,
        np.float32(2),
        np.array(2),
    ):
        raw = np.asarray(other)
        for result, expected in ((op(x, other), op(a, raw)), (op(other, x), op(raw, a))):
            assert type(result) is edu.Tensor
            assert_allclose(result.numpy(), expected, rtol=1e-7)
            assert result.dtype == expected.dtype


@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.__name__)
def test_operators_of_variables_are_those_of_their_tensors(op: Callable[[Any, Any], Any]) -> None:
    a, b = [1.0, 4.0], [2.0, 1.0]
    expected = op(np.array(a), np.array(b)).tolist()
    assert op(edu.Variable(a), edu.Variable(b)).tolist() == expected
    assert op(edu.Variable(a), np.array(b)).tolist() == expected
    assert op(np.array(a), edu.Variable(b)).tolist() == expected


@pytest.mark.parametrize("op", BITS, ids=lambda op: op.__name__)
def test_bits_are_numpys(op: Callable[[Any, Any], Any]) -> None:
    a, b = np.array([12, -5], "int32"), np.array([3, 2], "int32")
    x = edu.tensor(a)
    for result, expected in ((op(x, b), op(a, b)), (op(b, edu.abs(x)), op(b, abs(a))),
                             (op(x, 2), op(a, 2)), (op(2, edu.abs(x)), op(2, abs(a)))):  # fmt: skip
        assert type(result) is edu.Tensor
        assert_array_equal(result.numpy(), expected)
    assert (~x).tolist() == [-13, 4]


def test_logic_of_booleans() -> None:
    p, q = edu.tensor([True, True, False]), np.array([True, False, False])
    assert (p & q).tolist() == [True, False, False]
    assert (q | p).tolist() == [True, True, False]
    assert (p ^ q).tolist() == [False, True, False]
    assert (~p).tolist() == [False, False, True]


def test_unary_operators() -> None:
    x = edu.tensor([-1.0, 2.0])
    assert ((-x).tolist(), (+x).tolist(), abs(x).tolist()) == ([1, -2], [-1, 2], [1, 2])


def test_matmul_is_numpys_for_every_rank(device: str) -> None:
    rng = np.random.default_rng(0)
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)),
              ((3,), (5, 3, 2)), ((5, 1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3))]  # fmt: skip
    for left, right in shapes:
        a, b = rng.normal(size=left), rng.normal(size=right)
        assert_allclose((edu.tensor(a) @ edu.tensor(b)).numpy(), a @ b, rtol=1e-12)
        assert type(a @ edu.tensor(b)) is edu.Tensor
        assert type(edu.tensor(a) @ b) is edu.Tensor


def test_comparing_with_what_is_no_number_is_plain_inequality() -> None:
    x = edu.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "text") is False
    assert x not in ({}, object(), "text")


def test_tensors_and_variables_can_be_keys_by_identity() -> None:
    x, y, v = edu.ones(2), edu.ones(2), edu.Variable(1.0)
    table = {x: "x", y: "y", v: "v"}
    assert (table[x], table[y], table[v]) == ("x", "y", "v")


def test_methods_are_numpys() -> None:
    a = np.random.default_rng(1).normal(size=(2, 3, 4))
    x = edu.tensor(a)
    for name in ("sum", "prod", "mean", "var", "std", "max", "min", "argmax", "argmin"):
        for axis in (None, 0, -1):
            expected = getattr(a, name)(axis)
            assert_allclose(getattr(x, name)(axis).numpy(), expected, rtol=1e-12)
            kept = getattr(a, name)(axis, keepdims=True)
            assert_allclose(getattr(x, name)(axis, keepdims=True).numpy(), kept, rtol=1e-12)
    assert_allclose(x.sum((0, 2)).numpy(), a.sum((0, 2)))
    assert x.var(correction=1).item() == pytest.approx(a.var(ddof=1))
    assert ((x > 9).any().item(), (x < 9).all().item()) == (False, True)


def test_movement_methods_are_numpys() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    x = edu.tensor(a)
    for result, expected in (
        (x.reshape(6, 4), a.reshape(6, 4)), (x.reshape((4, -1)), a.reshape(4, -1)),
        (x.reshape(-1), a.reshape(-1)), (x.T, a.T), (x.mT, a.mT), (x.transpose(), a.transpose()),
        (x.transpose(1, 0, 2), a.transpose(1, 0, 2)),
        (x.transpose((2, 0, -2)), a.transpose(2, 0, 1)),
        (x[:1].squeeze(), a[:1].squeeze()), (x[:1].squeeze(0), a[:1].squeeze(0)),
    ):  # fmt: skip
        assert_array_equal(result.numpy(), expected)


def test_astype_converts() -> None:
    x = edu.tensor([-1.7, 0.0, 2.7])
    assert x.astype("int32").tolist() == [-1, 0, 2]
    assert x.astype(bool).tolist() == [True, False, True]
    assert x.astype("float32") is x


# Indexing

CUBE = np.arange(24.0).reshape(2, 3, 4)
INDICES: list[Any] = [
    0, -1, (1, 2, 3), ..., None, (0, None), (None, ..., None), (...,), (), slice(None, None, -1),
    slice(5, 1), slice(-100, 100), (slice(None), slice(0, 2), slice(3, None, -2)), (..., 0),
    (0, ..., 1), (slice(None, None, 2), ..., [0, -1]), (slice(np.int64(1), None),), np.int8(1),
    [0, 1, 1], [[0, 1], [1, 0]], ([0, 1], [2, 0]), (slice(None), [2, 0]), (..., [1, 1, 1]),
    (slice(None), [2, 0], [1, 1]), ([0, 1], slice(None), [1, 3]), ([0], 0, slice(None)),
    (0, slice(None), [0, 1]), (0, [0, 1], None), (None, [0, 1]), ([0, 1], None, [1, 2]),
    (slice(None), None, [1, 2], [3, 0]), (np.array([[0], [1]]), np.array([[0, 1, 2]])), range(2),
    np.array(1), np.array([], int), [], np.array([1, 0], np.uint8), np.array([-1, 0], np.int8),
    CUBE > 5, CUBE > 99, CUBE[:, :, 0] > 5, (0, CUBE[0] > 2), CUBE[:, 0, 0] > 3,
    (CUBE[:, 0, 0] > -1, 0), (slice(None), np.array([True, False, True])), [True, False],
    (slice(None), [True, False, True], [0, 1]), [[True, False, True], [False, True, False]],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_numpys(index: Any) -> None:
    x, expected = edu.tensor(CUBE), CUBE[index]
    assert_array_equal(x[index].numpy(), expected)
    assert x[index].shape == expected.shape


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_the_gradient_of_indexing_adds_up_where_a_place_was_read_again(index: Any) -> None:
    weights = np.random.default_rng(2).normal(size=CUBE[index].shape)
    expected = np.zeros(CUBE.shape)
    np.add.at(expected, index, weights)
    gradient = edu.grad(lambda x: (x[index] * weights).sum())(CUBE)
    assert_allclose(gradient.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "index",
    [0, (..., 0), [0, 1, 1], ([0, 1], slice(None), [1, 3]), CUBE > 5, (None, [0, 1])],
    ids=str,
)
def test_indexing_on_xla_is_that_on_numpy(index: Any) -> None:
    x = edu.tensor(CUBE, device="xla")
    assert_array_equal(x[index].numpy(), CUBE[index])
    expected = np.zeros(CUBE.shape)
    np.add.at(expected, index, 1.0)
    assert_array_equal(edu.grad(lambda x: x[index].sum())(x).numpy(), expected)


def test_tensors_and_variables_are_indices_too() -> None:
    x = edu.tensor([10.0, 20.0, 30.0])
    assert x[edu.tensor([2, 0])].tolist() == [30, 10]
    assert x[edu.tensor(1)].item() == 20
    assert x[edu.Variable(1)].item() == 20
    assert x[x > 15].tolist() == [20, 30]
    assert x[edu.tensor(1) :].tolist() == [20, 30]


def test_the_gradient_of_indexing_can_be_differentiated_again() -> None:
    def cubes(x: edu.Tensor) -> edu.Tensor:
        return (x[[0, 0, 2]] ** 3).sum()

    second = edu.grad(lambda x: edu.grad(cubes)(x).sum())
    assert second(np.array([1.0, 2.0, 3.0])).tolist() == [12, 0, 18]


@pytest.mark.parametrize(
    "index", [2, -3, (0, 3), [0, 2], (0, 0, 0, 0), (..., ...), (0, [1, -4])], ids=str
)
def test_an_index_out_of_range_is_an_index_error_that_says_where(index: Any) -> None:
    with pytest.raises(errors.OutOfRangeError, match=r"\(2, 3, 4\)") as caught:
        edu.tensor(CUBE)[index]
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(
    "index",
    [[True, False, True], (0, [True, False]), np.ones((2, 3, 5), bool), [[True, False]]],
    ids=str,
)
def test_a_mask_of_another_shape_is_refused(index: Any) -> None:
    with pytest.raises(IndexError):
        edu.tensor(CUBE)[index]
    with pytest.raises(errors.Error):
        edu.tensor(CUBE)[index]


@pytest.mark.parametrize(
    "index", [1.0, "a", [0.5], slice(0, 1.5), slice(None, None, 0), 1j], ids=str
)
def test_what_cannot_be_an_index_is_refused(index: Any) -> None:
    with pytest.raises(errors.Error):
        edu.tensor(CUBE)[index]


@pytest.mark.parametrize("index", [True, np.False_, np.array(True), (0, True), (True, 0)], ids=str)
def test_a_single_boolean_is_refused_although_numpy_takes_it(index: Any) -> None:
    # NumPy adds an axis of size 1 or 0. Who writes x[x.sum() > 0] hardly ever means that.
    with pytest.raises(errors.ArgumentError, match=r"single boolean.*x\[None\]"):
        edu.tensor(CUBE)[index]


# Changed copies

UFUNCS: dict[str, Any] = {
    "add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum
}  # fmt: skip


def changed(how: str, x: np.ndarray, index: Any, values: Any) -> np.ndarray:
    out = x.copy()
    if how == "set":
        out[index] = values
    else:
        UFUNCS[how].at(out, index, values)
    return out


ONCE: list[Any] = [0, (1, 2), (..., 1), slice(None, None, 2), [0, 2], CUBE[0] > 5]
AGAIN: list[Any] = [[0, 0, 2], ([0, 0], [1, 1])]


@pytest.mark.parametrize("index", ONCE + AGAIN, ids=str)
@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_at_gives_a_changed_copy_and_its_gradients(how: str, index: Any, slope: Any) -> None:
    rng = np.random.default_rng(3)
    x, weights = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    values = rng.normal(size=x[index].shape)
    overwrites = how == "set" and any(index is a for a in AGAIN)
    if overwrites:
        values[0] = values[1]  # else it would be anybody's guess which one stays

    def total(x: edu.Tensor, values: edu.Tensor) -> edu.Tensor:
        return (getattr(x.at[index], how)(values) * weights).sum()

    result = getattr(edu.tensor(x).at[index], how)(values)
    assert_allclose(result.numpy(), changed(how, x, index, values), rtol=1e-12)

    of_x, of_values = edu.grad(total, (0, 1))(x, values)
    expected = slope(lambda x: float((changed(how, x, index, values) * weights).sum()), x)
    assert_allclose(of_x.numpy(), expected, atol=1e-8)
    if not overwrites:  # the slope of a value that is overwritten depends on who comes last
        expected = slope(lambda v: float((changed(how, x, index, v) * weights).sum()), values)
        assert_allclose(of_values.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("how", ["set", *UFUNCS])
def test_at_on_xla_is_that_on_numpy(how: str) -> None:
    x, index, values = np.array([1.0, -2.0, 3.0]), [2, 0], np.array([5.0, 2.0])
    result = getattr(edu.tensor(x, device="xla").at[index], how)(values)
    assert result.device == "xla"
    assert_allclose(result.numpy(), changed(how, x, index, values))


def test_at_leaves_the_original_alone_and_broadcasts_values() -> None:
    x = edu.zeros((2, 3))
    assert x.at[:, 1].set(5).tolist() == [[0, 5, 0], [0, 5, 0]]
    assert x.at[0].add([1, 2, 3]).tolist() == [[1, 2, 3], [0, 0, 0]]
    assert x.at[...].max(edu.Variable(2.0)).tolist() == [[2, 2, 2], [2, 2, 2]]
    assert x.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_at_keeps_the_dtype() -> None:
    assert edu.ones(2).at[0].add(np.float64(1)).dtype == "float32"
    assert edu.ones(2, dtype="int8").at[0].set(3).dtype == "int8"


def test_the_gradient_of_at_can_be_differentiated_again() -> None:
    def cubes(x: edu.Tensor) -> edu.Tensor:
        return (x.at[[0, 0]].add(x[1:]) ** 3).sum()

    # x = (a, b, c) becomes (a + b + c, b, c): the second derivatives of the cubes' sum
    # along (1, 1, 1) are 6 s * 3 for a, and that plus 6 b and 6 c for the others.
    second = edu.grad(lambda x: edu.grad(cubes)(x).sum())
    assert second(np.array([1.0, 2.0, 3.0])).tolist() == [108, 120, 126]


# Printing, and out to Python


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (lambda: edu.tensor(6.0), "Tensor(6., dtype=float32)"),
        (lambda: edu.tensor([1, 2]), "Tensor([1, 2], dtype=int32)"),
        (lambda: edu.zeros((0, 2)), "Tensor([], shape=(0, 2), dtype=float32)"),
        (lambda: edu.tensor([True]), "Tensor([ True], dtype=bool)"),
        (lambda: edu.tensor(0.5, "float64", requires_grad=True),
         "Tensor(0.5, dtype=float64, requires_grad=True)"),
        (lambda: edu.tensor([[1.0, 2.0], [3.0, 4.0]]),
         "Tensor([[1., 2.],\n        [3., 4.]], dtype=float32)"),
        (lambda: edu.tensor(1.0, device="xla"), "Tensor(1., dtype=float32, device='xla')"),
        (lambda: edu.Variable([1.0], name="W"), "Variable([1.], dtype=float32, name='W')"),
        (lambda: edu.Variable(1.0, trainable=False),
         "Variable(1., dtype=float32, trainable=False)"),
    ],
)  # fmt: skip
def test_printing_shows_values_and_dtype(x: Callable[[], Any], text: str) -> None:
    assert repr(x()) == str(x()) == f"{x()}" == text


def test_a_large_tensor_prints_briefly_with_its_shape() -> None:
    text = repr(edu.zeros((1000, 1000)))
    assert "shape=(1000, 1000)" in text
    assert len(text) < 500


def test_a_scalar_formats_like_a_number(device: str) -> None:
    loss = edu.tensor(0.02504)
    assert f"{loss:.4f}" == "0.0250"
    assert f"{edu.Variable(1234.5):,.1f}" == "1,234.5"
    assert f"{edu.tensor(7):03d}" == "007"
    assert "%.2f" % edu.tensor(0.5) == "0.50"  # noqa: UP031


def test_conversions_to_python(device: str) -> None:
    assert (float(edu.tensor(2.5)), int(edu.tensor(2.5)), bool(edu.tensor([[0.0]]))) == (
        2.5,
        2,
        False,
    )
    assert type(edu.tensor(3).item()) is int
    assert type(edu.tensor(3.0).item()) is float
    assert type(edu.tensor(True).item()) is bool
    assert math.sqrt(edu.tensor(4.0)) == 2
    assert edu.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert float(edu.Variable([2.0])) == 2


def test_a_whole_scalar_is_an_index() -> None:
    assert [10, 20, 30][edu.tensor(1)] == 20
    assert list(range(edu.tensor(3))) == [0, 1, 2]
    with pytest.raises(TypeError, match=r"float32.*cannot be an index"):
        [10, 20][edu.tensor(1.0)]
    with pytest.raises(TypeError, match=r"\(1,\)"):
        [10, 20][edu.tensor([1])]


def test_iteration_gives_tensors_on_the_tape() -> None:
    x = edu.tensor([1.0, 2.0, 3.0], requires_grad=True)
    first, second, third = x
    (first * second * third).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [6, 3, 2]
    assert [row.shape for row in edu.zeros((2, 3))] == [(3,), (3,)]


@pytest.mark.parametrize("of", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_of_a_tensor(of: Callable[[Any], Any], device: str) -> None:
    x = edu.tensor([[1.5, 2.5]], "float64", requires_grad=True)
    y = of(x)
    assert (y.tolist(), y.dtype, y.device, y.requires_grad) == (
        [[1.5, 2.5]],
        "float64",
        device,
        True,
    )
    (y * 2).sum().backward()
    assert y.grad.tolist() == [[2, 2]]


def test_a_pickle_holds_values_and_not_the_past() -> None:
    x = edu.tensor(np.ones(1000), requires_grad=True)
    y = x
    for _ in range(100):
        y = y + x
    assert len(pickle.dumps(y)) < 9000
    assert not pickle.loads(pickle.dumps(y)).requires_grad


def test_empty_tensors_work(device: str) -> None:
    x = edu.zeros((0, 3))
    assert ((x + 1).shape, x.sum().item(), x.sum(axis=0).tolist()) == ((0, 3), 0, [0, 0, 0])
    assert (x @ edu.ones((3, 2))).shape == (0, 2)
    assert edu.grad(lambda x: (x * x).sum())(x).shape == (0, 3)


def test_a_tensor_of_tensors_and_numbers_has_the_dtype_of_the_tensors() -> None:
    x = edu.tensor([0.5, 2.0], requires_grad=True)

    def made(x: Any) -> edu.Tensor:
        return edu.tensor([[x[0], 1], [2.5, x[1]]])

    for found in (made(x), edu.jit(made)(x), edu.vmap(made)(edu.stack([x]))[0]):
        assert (found.tolist(), found.dtype) == ([[0.5, 1], [2.5, 2]], "float32")
    assert not made(x).requires_grad  # it is a copy
    assert edu.tensor([edu.tensor(1), 2], "float64").dtype == "float64"
    assert edu.tensor([edu.ones(2, device="xla")]).device == "xla"
