"""Tensors among NumPy arrays, NumPy functions and Matplotlib; memory that nobody else changes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops

mpl.use("Agg")
from matplotlib import pyplot as plt

A = np.array([[1.0, 4.0, 2.0], [3.0, 0.5, 2.5]])


# NumPy's functions of a Tensor

OURS: list[Callable[[Any], Any]] = [
    np.sin, np.exp, np.sqrt, np.abs, np.negative, np.square, np.tanh, np.log1p, np.floor,
    lambda x: np.add(x, A), lambda x: np.multiply(A, x), lambda x: np.power(x, 2),
    lambda x: np.maximum(x, 2.0), lambda x: np.arctan2(x, A), lambda x: np.matmul(x, A.T),
    np.sum, np.mean, np.max, np.prod, np.var, np.std, lambda x: np.sum(x, axis=0),
    lambda x: np.mean(x, axis=1, keepdims=True), lambda x: np.sum(x, 0), lambda x: np.mean(x, -1),
    lambda x: np.reshape(x, (3, 2)), np.transpose, lambda x: np.transpose(x, (1, 0)),
    lambda x: np.swapaxes(x, 0, 1), lambda x: np.moveaxis(x, 0, 1), lambda x: np.squeeze(x[:1]),
    lambda x: np.expand_dims(x, 0), lambda x: np.expand_dims(x, axis=-1),
    lambda x: np.broadcast_to(x, (4, 2, 3)), lambda x: np.concatenate([x, A]),
    lambda x: np.concatenate([x, x], axis=1), lambda x: np.concatenate([x, x], 1),
    lambda x: np.stack([A, x]), lambda x: np.where(A > 2, x, 0.0),
    np.median, lambda x: np.cumsum(x, axis=1), lambda x: np.cumprod(x, 0), np.linalg.norm,
    lambda x: np.einsum("ij,ij->i", x, x), lambda x: np.clip(x, 1.0, 3.0), lambda x: np.dot(x, A.T),
    lambda x: np.sort(x, axis=0), lambda x: np.flip(x), lambda x: np.roll(x, 1), np.ravel,
    lambda x: np.tile(x, 2), lambda x: np.linalg.det(np.matmul(x, A.T)),
]  # fmt: skip


@pytest.mark.parametrize("function", OURS)
@pytest.mark.parametrize("make", [edu.tensor, edu.Variable])
def test_numpy_functions_that_we_have_too_are_recorded(function: Any, make: Any) -> None:
    x = make(A, requires_grad=True)
    result = function(x)
    assert type(result) is edu.Tensor
    assert_allclose(result.numpy(), function(A), rtol=1e-12)
    result.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "function",
    [np.argmax, lambda x: np.argmin(x, axis=0), np.isfinite, lambda x: np.greater(x, 2.0),
     lambda x: np.any(x > 3), lambda x: np.all(x > 3, axis=1), np.zeros_like, np.ones_like,
     lambda x: np.full_like(x, 7)],
)  # fmt: skip
def test_numpy_functions_without_gradient_give_tensors_too(function: Any) -> None:
    result = function(edu.tensor(A))
    assert type(result) is edu.Tensor
    assert_array_equal(result.numpy(), function(A))


@pytest.mark.parametrize(
    "function",
    [np.unique, lambda x: np.percentile(x, 30), np.ptp, np.shape, np.ndim, np.size,
     np.add.reduce, lambda x: np.multiply.outer(x, x), lambda x: np.save(io.BytesIO(), x),
     lambda x: np.sum(x, axis=0, where=A > 2), lambda x: np.histogram(x, bins=3)[0],
     lambda x: np.atleast_3d(x, x), np.where, np.cumsum, lambda x: np.sort(x, axis=None),
     lambda x: np.linspace(x.min(), x.max(), 5), lambda x: np.diff(x, prepend=0),
     lambda x: np.stack(x, axis=1), lambda x: np.meshgrid(x, x)[1],
     lambda x: np.nan_to_num(x * [np.nan, 1, np.inf], True, 5.0, 7.0)],
)  # fmt: skip
def test_other_numpy_functions_give_what_they_give_for_an_array(function: Any, device: str) -> None:
    found, expected = function(edu.tensor(A)), function(A)
    assert type(found) is type(expected)
    for one, other in zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_a_numpy_function_that_would_lose_a_gradient_is_refused(dtype: str) -> None:
    x = edu.tensor(A, dtype, requires_grad=True)
    with pytest.raises(edu.errors.GradientError, match=r"np\.ptp.*numpy\(\)"):
        np.ptp(x)  # a NumPy scalar
    x = edu.tensor(A, requires_grad=True)
    for function in (lambda: np.percentile(x, 30), lambda: np.add.reduce(x)):
        with pytest.raises(edu.errors.GradientError, match=r"np\..*numpy\(\)"):
            function()
    assert np.shape(x) == (2, 3)
    np.testing.assert_allclose(x, A)
    with edu.no_grad():
        assert np.percentile(x, 30) == np.percentile(A, 30)
    v = edu.Variable(A)
    assert np.ptp(v) == np.ptp(A)
    with edu.GradientTape(), pytest.raises(edu.errors.GradientError):
        np.ptp(v)


# The array API, and DLPack


@pytest.mark.parametrize("module", [edu, edu.ops])
def test_an_older_name_of_numpys_is_told_ours(module: Any) -> None:
    with pytest.raises(AttributeError, match="'concatenate': here it is 'concat'"):
        module.concatenate  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        module.nonsense  # noqa: B018


def test_the_array_namespace() -> None:
    x = edu.ones(2)
    assert x.__array_namespace__() is ops
    assert x.__array_namespace__(api_version="2024.12") is ops
    with pytest.raises(edu.errors.ArgumentError, match="2031"):
        x.__array_namespace__(api_version="2031.12")


def test_dlpack_shares_memory_with_numpy_both_ways() -> None:
    x = edu.tensor(A)
    assert np.shares_memory(np.from_dlpack(x), x.numpy())
    own = A.copy()
    y = edu.from_dlpack(own)
    assert np.shares_memory(own, y.numpy())
    assert y.dtype == "float64"
    assert not np.shares_memory(own, edu.from_dlpack(own, copy=True).numpy())
    assert edu.from_dlpack(own, device="xla").device == "xla"


def test_dlpack_of_a_broadcast_view_is_a_copy() -> None:
    x = ops.broadcast_to(edu.tensor(2.0), (3,))
    assert np.from_dlpack(x).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: edu.from_dlpack([1.0]), edu.errors.DtypeError),
        (lambda: edu.from_dlpack(np.ones(2, complex)), edu.errors.DtypeError),
        (lambda: edu.from_dlpack(np.ones(2), device="xla", copy=False), edu.errors.DeviceError),
        (lambda: edu.from_dlpack(np.ones(2), device="abacus"), edu.errors.DeviceError),
    ],
)
def test_dlpack_refuses(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_methods_take_what_functions_take_by_name_also_by_position() -> None:
    x = edu.tensor(A)
    assert_array_equal(x.sum(0), A.sum(0))
    assert_array_equal(x.mean(-1, keepdims=True), A.mean(-1, keepdims=True))
    assert_array_equal(x.argmax(1), A.argmax(1))
    assert_array_equal(x.clip(1.0, 3.0), A.clip(1.0, 3.0))
    assert_array_equal(x.cumsum(0), A.cumsum(0))
    assert x.detach().requires_grad is False
    with pytest.raises(edu.errors.ArgumentError, match="at most"):
        x.sum(0, True, 3, 4, 5)


def test_an_error_of_ours_is_not_hidden_by_a_numpy_function() -> None:
    with pytest.raises(edu.errors.ShapeError, match="concat"):
        np.concatenate([edu.ones((2, 2)), edu.ones((3, 3))])
    with pytest.raises(edu.errors.ArgumentError, match=r"cumulative_sum: .* name an axis"):
        np.cumsum(edu.tensor(A, requires_grad=True))


def test_a_ufunc_can_write_into_an_array() -> None:
    out = np.zeros(3)
    result = np.multiply(edu.tensor([1.0, 2.0, 3.0]), 2, out=out)
    assert result is out
    assert out.tolist() == [2, 4, 6]
    out += edu.tensor([1.0, 1.0, 1.0])
    assert type(out) is np.ndarray
    assert out.tolist() == [3, 5, 7]


def test_an_array_takes_tensors_by_item_assignment() -> None:
    history = np.zeros(3)
    history[0] = edu.tensor(1.5)
    history[1:] = edu.tensor([2.5, 3.5])
    assert history.tolist() == [1.5, 2.5, 3.5]


def test_asarray_is_a_view_and_array_is_a_copy() -> None:
    x = edu.tensor(A)
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype="float32").dtype == "float32"
    assert np.asarray(edu.Variable(A)).tolist() == A.tolist()
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype="float32", copy=False)


def test_lists_of_scalars_become_arrays() -> None:
    losses = [edu.tensor(float(i)) for i in range(3)]
    assert np.array(losses).tolist() == [0, 1, 2]
    assert np.mean([float(loss) for loss in losses]) == 1


@pytest.mark.parametrize("make", [edu.tensor, edu.Variable])
def test_matplotlib_draws_tensors(make: Any, device: str) -> None:
    x, y, image = make([0.0, 1.0, 2.0]), make([1.0, 4.0, 2.0]), make(A)
    figure, axes = plt.subplots()
    (line,) = axes.plot(x, y, "--")
    assert_array_equal(line.get_xdata(), [0, 1, 2])
    assert_array_equal(line.get_ydata(), [1, 4, 2])
    points = axes.scatter(x, y, c=y, s=make([10.0, 20.0, 30.0]))
    assert_array_equal(points.get_offsets(), [[0, 1], [1, 4], [2, 2]])
    counts, _, _ = axes.hist(y, bins=3)
    assert_array_equal(counts, [1, 1, 1])
    bars = axes.bar(x, y)
    assert [bar.get_height() for bar in bars] == [1, 4, 2]
    assert_array_equal(axes.imshow(image).get_array(), A)
    axes.fill_between(x, y, x)
    axes.axhline(make(1.5))
    axes.set_title(f"loss {make(0.5):.2f}")
    figure.savefig(io.BytesIO())
    plt.close(figure)


# Both sides of every operator


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda a, x: a * x, [2, 3]), (lambda a, x: x * a, [2, 3]), (lambda a, x: a + x, [1, 1]),
        (lambda a, x: a - x, [-1, -1]), (lambda a, x: x / a, [1 / 2, 1 / 3]),
        (lambda a, x: a / x, [-2, -3]), (lambda a, x: np.float64(2) * x, [2, 2]),
        (lambda a, x: x * np.float32(2), [2, 2]), (lambda a, x: a @ x, [2, 3]),
        (lambda a, x: x @ a, [2, 3]), (lambda a, x: x ** a, [2, 3]),
        (lambda a, x: np.array(3) - x, [-1, -1]),
        (lambda a, x: a.tolist() * x, [2, 3]), (lambda a, x: (a > 2) * x, [0, 1]),
    ],
)  # fmt: skip
def test_arrays_and_tensors_mix_from_either_side_and_are_recorded(
    expression: Any, expected: list[float], device: str
) -> None:
    x = edu.tensor([1.0, 1.0])
    with edu.GradientTape() as tape:
        tape.watch(x)
        y = expression(np.array([2.0, 3.0]), x)
    assert type(y) is edu.Tensor
    assert y.device == device
    assert_allclose(tape.gradient(y, x).numpy(), expected, rtol=1e-6)


# An array that is changed after it was used

EXPRESSIONS: list[Callable[[Any, np.ndarray], Any]] = [
    lambda x, a: x * a, lambda x, a: a * x, lambda x, a: a / x, lambda x, a: x @ a,
    lambda x, a: a @ x, lambda x, a: x ** a, lambda x, a: ops.maximum(x, a),
    lambda x, a: ops.where(a > 2, x, x * 3.0), lambda x, a: x[a.astype(int) % 2],
    lambda x, a: x[a > 2], lambda x, a: x.at[0].multiply(a[0]),
    lambda x, a: x.at[:].multiply(a), lambda x, a: x.at[a.astype(int) % 2].multiply(x),
    lambda x, a: np.multiply(a[::-1], x), lambda x, a: ops.identity(a) * x,
    lambda x, a: edu.stop_gradient(a) * x, lambda x, a: ops.reshape(a, (2, 1)) * x,
    lambda x, a: ops.concat([a, x]) * ops.concat([x, a]), lambda x, a: ops.mean_squared_error(a, x),
    lambda x, a: ops.broadcast_to(a, (3, 2)) * x, lambda x, a: ops.permute_dims(a, (0,)) * x,
    lambda x, a: ops.getitem(a, slice(None)) * x, lambda x, a: ops.astype(a, "float64") * x,
    lambda x, a: edu.tensor(a) * x, lambda x, a: edu.Variable(a) * x,
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_changing_an_array_later_changes_neither_value_nor_gradient(
    expression: Any, device: str
) -> None:
    def run(change: bool) -> tuple[np.ndarray, np.ndarray]:
        x, a = edu.tensor([1.5, 2.5], "float64"), np.array([2.0, 3.0])
        with edu.GradientTape() as tape:
            tape.watch(x)
            y = expression(x, a)
            if change:
                a[:] = 99
        return y.numpy(), tape.gradient(y, x).numpy()

    for changed, kept in zip(run(True), run(False), strict=True):
        assert_array_equal(changed, kept)


def test_an_index_an_argument_of_grad_and_a_cotangent_are_copied_too(device: str) -> None:
    a = np.array([2.0, 3.0])
    x = edu.tensor(a, requires_grad=True)
    y = x * x
    y.backward(a)
    a[:] = 99
    assert x.grad is not None
    assert x.grad.tolist() == [8, 18]

    b = np.array([2.0, 3.0])
    value, gradient = edu.value_and_grad(lambda x: (x * x).sum())(b)
    identity = edu.grad(lambda x: (x * edu.stop_gradient(x)).sum())(b)
    b[:] = 99
    assert (value.item(), gradient.tolist(), identity.tolist()) == (13, [4, 6], [2, 3])


def test_xla_does_not_read_an_array_after_the_call() -> None:
    a = np.ones(1_000_000, np.float32)
    x = edu.full(a.shape, 2.0, device="xla")
    y = x * a
    a[:] = 0
    assert y.numpy().min() == 2


def test_a_users_operation_that_returns_its_argument_does_not_share_the_array() -> None:
    class Same(edu.Op):
        """The same memory."""

        gradients = (lambda g, out, x: g,)

        def forward(self, xp: Any, x: Any) -> Any:
            return x[:1]

        def infer(self, x: Any) -> Any:
            return x

    a = np.array([2.0, 3.0])
    y = Same()(a)
    a[:] = 99
    assert y.tolist() == [2]
