"""What the operations compute, at ordinary places and at the edges, and their gradients.

The comparison with TensorFlow, PyTorch and JAX is in `reference_tests`; here stand NumPy, Python's
`math`, finite differences, and what the docstrings promise of kinks.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.op import Elementwise, Op

NAN, INF = math.nan, math.inf


# Each function, what it should compute, and places in its domain away from kinks.
UNARY: list[tuple[str, Callable[[float], float], list[float]]] = [
    ("negative", lambda x: -x, [-2, 0, 3]),
    ("abs", abs, [-2, 3]),
    ("sign", lambda x: math.copysign(1, x), [-2, 3]),
    ("square", lambda x: x * x, [-2, 0, 3]),
    ("sqrt", math.sqrt, [0.25, 4]),
    ("floor", math.floor, [-1.5, 2.5]),
    ("ceil", math.ceil, [-1.5, 2.5]),
    ("trunc", math.trunc, [-1.5, 2.5]),
    ("round", round, [-1.7, 2.4]),
    ("exp", math.exp, [-2, 0, 3]),
    ("expm1", math.expm1, [-2, 1e-10, 3]),
    ("log", math.log, [0.1, 5]),
    ("log1p", math.log1p, [-0.5, 1e-10, 5]),
    ("log2", math.log2, [0.1, 8]),
    ("log10", math.log10, [0.1, 100]),
    ("sigmoid", lambda x: 1 / (1 + math.exp(-x)), [-3, 0, 3]),
    ("sin", math.sin, [-2, 0, 3]),
    ("cos", math.cos, [-2, 0, 3]),
    ("tan", math.tan, [-1, 0, 1]),
    ("asin", math.asin, [-0.5, 0.5]),
    ("acos", math.acos, [-0.5, 0.5]),
    ("atan", math.atan, [-2, 0, 3]),
    ("sinh", math.sinh, [-2, 0, 3]),
    ("cosh", math.cosh, [-2, 0, 3]),
    ("tanh", math.tanh, [-2, 0, 3]),
    ("asinh", math.asinh, [-2, 0, 3]),
    ("acosh", math.acosh, [1.5, 4]),
    ("atanh", math.atanh, [-0.5, 0, 0.5]),
    ("exp2", lambda x: 2.0**x, [-2, 0, 3]),
    ("cbrt", lambda x: x ** (1 / 3), [0.5, 3]),
    ("rsqrt", lambda x: x**-0.5, [0.5, 3]),
    ("reciprocal", lambda x: 1 / x, [-2, 3]),
    ("erf", math.erf, [-7, -3, -1, -0.46, 0, 0.3, 0.47, 2, 5.5]),
    ("erfc", math.erfc, [-7, -3, -1, -0.46, 0, 0.3, 0.47, 2, 5.5]),
    ("lgamma", math.lgamma, [-2.4, 0.1, 0.6, 1, 1.4, 2, 3.5, 7, 20]),
    ("relu", lambda x: max(x, 0.0), [-2, 3]),
    ("identity", lambda x: x, [-2, 3]),
]
BINARY: list[tuple[str, Callable[[float, float], float], list[tuple[float, float]]]] = [
    ("add", lambda x, y: x + y, [(2, -3)]),
    ("subtract", lambda x, y: x - y, [(2, -3)]),
    ("multiply", lambda x, y: x * y, [(2, -3)]),
    ("divide", lambda x, y: x / y, [(2, -3)]),
    ("floor_divide", lambda x, y: x // y, [(7, 2.1), (-7, 2.1)]),
    ("remainder", lambda x, y: x % y, [(7, 2.1), (-7, 2.1), (7, -2.1)]),
    ("power", lambda x, y: x**y, [(2, -3), (0.5, 1.5)]),
    ("maximum", max, [(2, -3), (-3, 2)]),
    ("minimum", min, [(2, -3), (-3, 2)]),
    ("atan2", math.atan2, [(1, 2), (-1, -2), (1, -2)]),
    ("fmod", math.fmod, [(7, 2.1), (-7, 2.1), (7, -2.1)]),
    ("hypot", math.hypot, [(3, 4), (-1, 2)]),
    ("copysign", math.copysign, [(2, -3), (-2, -3)]),
    ("logaddexp", lambda x, y: math.log(math.exp(x) + math.exp(y)), [(2, -3), (0.5, 1)]),
]


@pytest.mark.parametrize(("name", "function", "places"), UNARY, ids=[row[0] for row in UNARY])
def test_unary_functions_and_their_first_and_second_derivatives(
    name: str, function: Callable[[float], float], places: list[float]
) -> None:
    op, x = getattr(ops, name), np.array(places, float)
    slope = edu.grad(lambda x: op(x).sum())
    curvature = edu.grad(lambda x: slope(x).sum())
    assert_allclose(op(x).numpy(), [function(p) for p in places], rtol=1e-13, atol=1e-15)

    step = 1e-5
    up, down = ([function(p + s) for p in places] for s in (step, -step))
    assert_allclose(slope(x).numpy(), np.subtract(up, down) / (2 * step), rtol=1e-6, atol=1e-7)
    difference = (slope(x + step).numpy() - slope(x - step).numpy()) / (2 * step)
    assert_allclose(curvature(x).numpy(), difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "function", "places"), BINARY, ids=[row[0] for row in BINARY])
def test_binary_functions_and_their_derivatives(
    name: str,
    function: Callable[[float, float], float],
    places: list[tuple[float, float]],
    slope: Any,
) -> None:
    op = getattr(ops, name)
    for place in places:
        x, y = np.array(place, float)
        assert op(np.array(x), np.array(y)).item() == pytest.approx(function(x, y), rel=1e-14)
        assert op(edu.tensor(x), float(y)).item() == pytest.approx(function(x, y), rel=1e-14)
        assert op(float(x), edu.tensor(y)).item() == pytest.approx(function(x, y), rel=1e-14)
        expected = slope(lambda p: function(*p), np.array(place))
        found = edu.grad(op, (0, 1))(np.array(x), np.array(y))
        assert [g.item() for g in found] == pytest.approx(expected, rel=1e-6, abs=1e-8)
        # a Python number on either side has a gradient of its own path
        assert edu.grad(lambda x: op(x, float(y)))(np.array(x)).item() == found[0].item()  # noqa: B023
        assert edu.grad(lambda y: op(float(x), y))(np.array(y)).item() == found[1].item()  # noqa: B023


@pytest.mark.parametrize("name", ["exp", "round", "log1p", "sigmoid", "erf", "relu"])
def test_functions_on_xla(name: str) -> None:
    _, function, places = next(row for row in UNARY if row[0] == name)
    result = getattr(ops, name)(edu.tensor(np.array(places, float), device="xla"))
    assert (result.device, result.dtype) == ("xla", "float64")
    assert_allclose(result.numpy(), [function(p) for p in places], rtol=1e-12, atol=1e-15)


def test_every_operation_is_tested_by_somebody() -> None:
    """This file, or one that has its name; a new operation must find its place."""
    elsewhere = {
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf",
        "isfinite", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and",
        "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift",
        "where", "stop_gradient", "clip", "nextafter", "signbit", "digamma", "erfinv",
        "silu", "softplus", "softsign",
    }  # fmt: skip
    tested = {row[0] for row in UNARY} | {row[0] for row in BINARY} | elsewhere
    assert {name for name, op in vars(ops).items() if isinstance(op, Elementwise)} <= tested


def test_every_operation_has_a_docstring_a_name_and_a_repr() -> None:
    for name, op in vars(ops).items():
        if isinstance(op, Op):
            assert vars(ops)[op.name] is op, name  # also under an older name
            assert type(op).__doc__
            assert repr(op) == f"<operation {op.name}>"


# Comparison, logic, where


def test_comparisons_and_tests_of_numbers() -> None:
    x = edu.tensor([NAN, INF, -INF, 0.0])
    assert ops.isnan(x).tolist() == [True, False, False, False]
    assert ops.isinf(x).tolist() == [False, True, True, False]
    assert ops.isfinite(x).tolist() == [False, False, False, True]
    assert ops.equal(x, x).tolist() == [False, True, True, True]
    assert ops.not_equal(x, x).tolist() == [True, False, False, False]
    assert ops.less_equal(x, 0.0).tolist() == [False, False, True, True]
    assert ops.greater_equal(x, 0.0).tolist() == [False, True, False, True]


def test_logic_of_numbers_asks_whether_they_are_zero() -> None:
    x, y = edu.tensor([0.0, 2.0, 0.0, 3.0]), edu.tensor([0, 0, 1, 1])
    assert ops.logical_and(x, y).tolist() == [False, False, False, True]
    assert ops.logical_or(x, y).tolist() == [False, True, True, True]
    assert ops.logical_xor(x, y).tolist() == [False, True, True, False]
    assert ops.logical_not(x).tolist() == [True, False, True, False]


def test_where_chooses_and_broadcasts() -> None:
    condition = np.array([[True], [False]])
    assert ops.where(condition, [1.0, 2.0], -1).tolist() == [[1, 2], [-1, -1]]
    assert ops.where([1, 0], 1, 2).dtype == "int32"
    assert ops.where([1, 0], edu.ones(2, dtype="float16"), 2.5).dtype == "float16"
    of_x, of_y = edu.grad(lambda x, y: ops.where(condition, x, y).sum(), (0, 1))(
        np.ones(3), np.ones((2, 1))
    )
    assert (of_x.tolist(), of_y.tolist()) == ([1, 1, 1], [[0], [3]])


def test_where_keeps_nan_out_of_the_other_branch() -> None:
    def safe_log(x: edu.Tensor) -> edu.Tensor:
        positive = x > 0
        return ops.where(positive, ops.log(ops.where(positive, x, 1.0)), 0.0).sum()

    assert edu.grad(safe_log)(edu.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 0, 0.5]


# Kinks and edges, as the docstrings say


@pytest.mark.parametrize(
    ("function", "at", "expected"),
    [
        (ops.relu, 0.0, 0.0),
        (ops.abs, 0.0, 0.0),
        (ops.sign, 0.0, 0.0),
        (ops.floor, 1.0, 0.0),
        (lambda x: ops.maximum(x, 1.0), 1.0, 0.5),
        (lambda x: ops.minimum(1.0, x), 1.0, 0.5),
        (lambda x: x**0, 0.0, 0.0),
        (lambda x: x**1, 0.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**2.0, -3.0, -6.0),
        (lambda x: x**3, -2.0, 12.0),
        (lambda x: x ** edu.tensor(2.0), 0.0, 0.0),
        (lambda x: x ** edu.tensor(0.0), 0.0, 0.0),
        (lambda x: 0.0**x, 2.0, 0.0),
        (lambda x: ops.sqrt(x) * 0.0, 0.0, 0.0),
        (lambda x: ops.std(x * np.ones(3)), 2.0, 0.0),
        (ops.sqrt, 0.0, INF),
        (ops.log, 0.0, INF),
    ],
)
def test_gradients_at_kinks_and_edges(function: Any, at: float, expected: float) -> None:
    with np.errstate(divide="ignore"):
        assert edu.grad(function)(np.array(at)).item() == expected


def test_ties_share_the_gradient_of_an_extreme() -> None:
    x = np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    assert_allclose(
        edu.grad(lambda x: x.max(axis=1).sum())(x).numpy(), [[0.5, 0, 0.5], [1 / 3] * 3]
    )
    assert_allclose(edu.grad(lambda x: x.min(axis=1).sum())(x).numpy(), [[0, 1, 0], [1 / 3] * 3])
    assert edu.grad(lambda x: x.max())(x).tolist() == [[0.5, 0, 0.5], [0, 0, 0]]


@pytest.mark.parametrize("way", [lambda f: f, edu.jit, edu.vmap])
@pytest.mark.parametrize(("name", "below", "above"), [("minimum", 1.0, 0.0), ("maximum", 0.0, 1.0)])
def test_extremes_with_a_number_on_either_side(
    name: str, below: float, above: float, way: Any
) -> None:
    slope = edu.grad(lambda x, y: getattr(ops, name)(x, 2) + getattr(ops, name)(2, y), (0, 1))
    found = (
        way(slope)(np.array([1.0]), np.array([3.0])) if way is edu.vmap else way(slope)(1.0, 3.0)
    )
    assert [g.item() for g in found] == [below, above]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_no_gradient_flows_through_integers(dtype: str) -> None:
    x = edu.tensor([1.6, 2.6])
    with edu.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x.astype(dtype).astype("float32")
        z = x.astype(dtype) * x
    assert tape.gradient(y, x) is None
    assert_array_equal(tape.gradient(z, x, edu.tensor([7.0, 7.0])), 7 * y)


def test_products_with_zeros_have_the_right_gradient_to_second_order() -> None:
    for row, expected in (([2.0, 3.0, 4.0], [12, 8, 6]), ([2.0, 0.0, 4.0], [0, 8, 0]),
                          ([0.0, 0.0, 4.0], [0, 0, 0]), ([5.0], [1]),
                          ([1.0, 2.0, 3.0, 4.0, 5.0], [120, 60, 40, 30, 24])):  # fmt: skip
        assert edu.grad(ops.prod)(np.array(row)).tolist() == expected
    mixed = edu.grad(lambda x: edu.grad(ops.prod)(x)[0])  # d2/dx0 dxi of x0 x1 x2
    assert mixed(np.array([0.0, 0.0, 4.0])).tolist() == [0, 4, 0]


def test_not_a_number_and_infinity_pass_through_like_in_numpy(device: str) -> None:
    x = np.array([NAN, INF, -INF, -0.0, 1e308])
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("add", "multiply", "maximum", "minimum", "divide"):
            expected = getattr(np, name)(x, x[::-1])
            assert_allclose(getattr(ops, name)(edu.tensor(x), x[::-1]).numpy(), expected)
        assert_allclose(ops.relu(edu.tensor(x)).numpy(), [NAN, INF, 0, 0, 1e308])
        for name in ("max", "min", "sum"):
            assert math.isnan(getattr(ops, name)(edu.tensor(x)).item())
    assert_allclose(ops.sigmoid([-1000.0, 1000.0, -INF, INF]).numpy(), [0, 1, 0, 1])
    assert_allclose(ops.erf([-INF, INF, 30.0]).numpy(), [-1, 1, 1])


def test_numpys_warnings_follow_the_users_errstate() -> None:
    x = edu.tensor([1.0]) * 0.0
    with np.errstate(divide="ignore"):
        assert (1.0 / x).tolist() == [INF]
    with np.errstate(divide="raise"), pytest.raises((FloatingPointError, edu.Error)):
        1.0 / x


# Reductions and composites

A = np.random.default_rng(0).normal(size=(2, 3, 4))
AXES: list[Any] = [None, 0, -1, (0, 2), (-1, 0), (), [1]]


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "logsumexp"])
def test_reductions_are_numpys_along_any_axes(
    name: str, keepdims: bool, axis: Any, slope: Any
) -> None:
    def expected(x: np.ndarray) -> Any:
        along = tuple(axis) if isinstance(axis, list) else axis
        if name == "logsumexp":
            return np.log(np.exp(x).sum(along, keepdims=keepdims))
        return getattr(np, name)(x, axis=along, keepdims=keepdims)

    op = getattr(ops, name)
    found = op(A, axis=axis, keepdims=keepdims)
    assert found.shape == np.shape(expected(A))
    assert_allclose(found.numpy(), expected(A), rtol=1e-12, atol=1e-15)
    weights = np.cos(np.arange(found.size)).reshape(found.shape)
    gradient = edu.grad(lambda x: (op(x, axis=axis, keepdims=keepdims) * weights).sum())(A)
    if not (name == "std" and axis == ()):  # its root has no slope where the variance is 0
        difference = slope(lambda x: float((expected(x) * weights).sum()), A)
        assert_allclose(gradient.numpy(), difference, atol=1e-7)


@pytest.mark.parametrize("name", ["any", "all", "argmax", "argmin"])
def test_reductions_without_gradient_are_numpys(name: str, device: str) -> None:
    x = (A > 0) if name in ("any", "all") else A
    for axis in (None, 0, -1):
        found = getattr(ops, name)(edu.tensor(x), axis=axis)
        assert_array_equal(found.numpy(), getattr(np, name)(x, axis=axis))


def test_the_first_of_equals_is_the_arg() -> None:
    assert (ops.argmax([1, 3, 3]).item(), ops.argmin([2, 1, 1]).item()) == (1, 1)


def test_reductions_of_nothing() -> None:
    nothing = np.zeros((0, 3))
    assert (ops.sum(nothing).item(), ops.prod(nothing).item()) == (0, 1)
    assert (ops.any(nothing).item(), ops.all(nothing).item()) == (False, True)
    for name in ("max", "min", "argmax", "argmin"):
        with pytest.raises(edu.errors.ShapeError, match=rf"{name}.*\(0, 3\)"):
            getattr(ops, name)(nothing)
        assert getattr(ops, name)(nothing, axis=1).shape == (0,)


def test_softmax_and_its_logarithm(device: str, slope: Any) -> None:
    x = A[0]
    powers = np.exp(x)
    for axis in (0, -1, (0, 1)):
        p = powers / powers.sum(axis, keepdims=True)
        assert_allclose(ops.softmax(edu.tensor(x), axis=axis).numpy(), p, rtol=1e-12)
        assert_allclose(ops.log_softmax(edu.tensor(x), axis=axis).numpy(), np.log(p), rtol=1e-12)
    weights = np.arange(12.0).reshape(3, 4)
    by_hand: list[tuple[Any, Any]] = [
        (ops.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        (ops.log_softmax, lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    ]
    for op, reference in by_hand:
        found = edu.grad(lambda x: (op(x) * weights).sum())(edu.tensor(x))  # noqa: B023
        expected = slope(lambda x: float((reference(x) * weights).sum()), x)  # noqa: B023
        assert_allclose(found.numpy(), expected, atol=1e-7)


def test_softmax_does_not_overflow() -> None:
    assert ops.softmax([1000.0, 1000.0]).tolist() == [0.5, 0.5]
    assert ops.softmax([-INF, 0.0]).tolist() == [0, 1]
    assert_allclose(ops.log_softmax(np.array([0.0, -1000.0])).numpy(), [0, -1000])
    assert ops.logsumexp(np.array([-1000.0, -1000.0])).item() == -1000 + math.log(2)
    with np.errstate(divide="ignore"):
        assert ops.logsumexp([-INF, -INF]).item() == -INF
    assert edu.grad(ops.logsumexp)(np.array([1000.0, 1000.0])).tolist() == [0.5, 0.5]


def test_mean_squared_error_wants_equal_shapes() -> None:
    assert ops.mean_squared_error([0.0, 1.0], [0.0, 3.0]).item() == 2
    gradients = edu.grad(ops.mean_squared_error, (0, 1))(np.array([0.0, 1.0]), np.array([0.0, 3.0]))
    assert [g.tolist() for g in gradients] == [[0, -2], [0, 2]]
    with pytest.raises(edu.errors.ShapeError, match=r"\(2, 1\).*\(2,\).*same shape"):
        ops.mean_squared_error(np.ones((2, 1)), np.ones(2))


@pytest.mark.parametrize("correction", [0, 1, 1.5])
def test_var_takes_a_correction(correction: float) -> None:
    x = np.array([1.0, 2.0, 4.0])
    squares = ((x - x.mean()) ** 2).sum()
    assert ops.var(x, correction=correction).item() == pytest.approx(squares / (3 - correction))


# Programs: what each operation does right, several must do together


def last(x: np.ndarray) -> int:
    """The last axis; NumPy would take axis -1 of a scalar, which has none."""
    return range(x.ndim)[-1]


STEPS: list[tuple[Callable[[Any, Any], Any], Callable[[np.ndarray, np.ndarray], Any]]] = [
    (lambda x, y: x + y, lambda x, y: x + y),
    (lambda x, y: y - x, lambda x, y: y - x),
    (lambda x, y: x * y, lambda x, y: x * y),
    (lambda x, y: ops.maximum(x, y), np.maximum),
    (lambda x, y: ops.where(y > 0, x, y), lambda x, y: np.where(y > 0, x, y)),
    (lambda x, y: ops.where(y > 0, 1.0, x), lambda x, y: np.where(y > 0, 1.0, x)),
    (lambda x, y: ops.tanh(x), lambda x, y: np.tanh(x)),
    (lambda x, y: x.sum(), lambda x, y: np.sum(x)),
    (lambda x, y: x.sum(axis=-1, keepdims=True), lambda x, y: x.sum(last(x), keepdims=True)),
    (lambda x, y: x.mean(axis=0), lambda x, y: x.mean(last(x) * 0)),
    (lambda x, y: x.max(axis=-1, keepdims=True), lambda x, y: x.max(last(x), keepdims=True)),
    (lambda x, y: x.T, lambda x, y: x.T),
    (lambda x, y: x[::-1], lambda x, y: x[::-1]),
    (lambda x, y: x[[0, 0]], lambda x, y: x[[0, 0]]),
    (lambda x, y: x.reshape(-1), lambda x, y: x.reshape(-1)),
    (lambda x, y: x[None], lambda x, y: x[None]),
    (
        lambda x, y: ops.broadcast_to(x, (2, *x.shape)),
        lambda x, y: np.broadcast_to(x, (2, *x.shape)),
    ),
    (lambda x, y: ops.concat([x, x]), lambda x, y: np.concatenate([x, x])),
    (lambda x, y: x @ x.mT, lambda x, y: x @ x.swapaxes(-1, -2)),
]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    program=st.lists(st.integers(0, len(STEPS) - 1), min_size=1, max_size=5),
    of_x=st.sampled_from([(), (1,), (3,), (2, 1), (1, 3), (2, 3)]),
    of_y=st.sampled_from([(), (3,), (2, 1), (2, 3)]),
)
def test_random_programs_have_the_gradients_of_finite_differences_to_second_order(
    slope: Any, program: list[int], of_x: tuple[int, ...], of_y: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 1.5, of_x), rng.uniform(-1, 1, of_y)
    weights = np.cos(np.arange(x.size)).reshape(of_x)

    def run(which: int, x: Any, y: Any) -> Any:
        for step in program:
            x = STEPS[step][which](x, y)
        return x

    def numpys(x: np.ndarray, y: np.ndarray) -> float:
        return float(run(1, x, y).sum())

    try:
        expected = run(1, x, y)
    except (ValueError, IndexError):  # this program needs other shapes
        reject()
    assert_allclose(run(0, edu.tensor(x), edu.tensor(y)).numpy(), expected, rtol=1e-10)
    gradients = edu.grad(lambda x, y: run(0, x, y).sum(), (0, 1))
    of_x_found, of_y_found = gradients(x, y)
    assert_allclose(of_x_found.numpy(), slope(lambda x: numpys(x, y), x), rtol=1e-5, atol=1e-6)
    assert_allclose(of_y_found.numpy(), slope(lambda y: numpys(x, y), y), rtol=1e-5, atol=1e-6)
    along = edu.grad(lambda x: (gradients(x, y)[0] * weights).sum())(x)
    expected = slope(lambda x: float((gradients(x, y)[0].numpy() * weights).sum()), x)
    assert_allclose(along.numpy(), expected, rtol=1e-5, atol=1e-5)


# Movement

MOVEMENTS: list[tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = [
    (lambda x: ops.reshape(x, (4, -1)), lambda a: a.reshape(4, -1)),
    (lambda x: ops.reshape(x, 24), lambda a: a.reshape(24)),
    (lambda x: ops.permute_dims(x, (2, 0, 1)), lambda a: a.transpose(2, 0, 1)),
    (lambda x: ops.permute_dims(x, (-1, 0, 1)), lambda a: a.transpose(2, 0, 1)),
    (lambda x: ops.swapaxes(x, 0, -1), lambda a: a.swapaxes(0, -1)),
    (lambda x: ops.moveaxis(x, 0, -1), lambda a: np.moveaxis(a, 0, -1)),
    (lambda x: ops.moveaxis(x, (0, 1), (-1, 0)), lambda a: np.moveaxis(a, (0, 1), (-1, 0))),
    (ops.matrix_transpose, lambda a: a.swapaxes(-1, -2)),
    (lambda x: ops.expand_dims(x, axis=1), lambda a: a[:, None]),
    (lambda x: ops.expand_dims(x, axis=(0, -1)), lambda a: a[None, ..., None]),
    (lambda x: ops.squeeze(ops.reshape(x, (1, 24, 1)), axis=0), lambda a: a.reshape(24, 1)),
    (lambda x: ops.broadcast_to(x, (5, 2, 3, 4)), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
    (lambda x: ops.broadcast_to(x[:, :1], A.shape), lambda a: np.broadcast_to(a[:, :1], A.shape)),
    (lambda x: ops.concat([x, x[:1]], axis=0), lambda a: np.concatenate([a, a[:1]], 0)),
    (lambda x: ops.concat([x, x[:, :2]], axis=-2), lambda a: np.concatenate([a, a[:, :2]], -2)),
    (lambda x: ops.concat([x, x], axis=None), lambda a: np.concatenate([a, a], None)),
    (lambda x: ops.stack([x, x * 2.0], axis=1), lambda a: np.stack([a, a * 2], 1)),
    (lambda x: ops.stack([x, x], axis=-1), lambda a: np.stack([a, a], -1)),
    (lambda x: x[::-1, ::2].T, lambda a: a[::-1, ::2].T),
]


@pytest.mark.parametrize(("ours", "numpys"), MOVEMENTS)
def test_movement_is_numpys_and_its_gradient_moves_back(ours: Any, numpys: Any, slope: Any) -> None:
    expected = numpys(A)
    assert_array_equal(ours(edu.tensor(A)).numpy(), expected)
    weights = np.sin(np.arange(expected.size)).reshape(expected.shape)
    gradient = edu.grad(lambda x: (ours(x) * weights).sum())(A)
    difference = slope(lambda a: float((numpys(a) * weights).sum()), A)
    assert_allclose(gradient.numpy(), difference, atol=1e-8)


def test_concat_takes_other_dtypes_and_raw_arrays() -> None:
    joined = ops.concat([edu.ones(1, dtype="int32"), np.zeros(1, "float16"), [2.5]])
    assert (joined.tolist(), joined.dtype) == ([1, 0, 2.5], "float32")
    v = edu.Variable([1.0, 2.0])
    with edu.GradientTape() as tape:
        y = (ops.concat([np.ones(2), v, v]) * np.arange(6.0)).sum()
    assert tape.gradient(y, v).tolist() == [2 + 4, 3 + 5]


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 2)),
     ((1, 2, 3), (4, 3, 2)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))],
)  # fmt: skip
def test_the_gradient_of_matmul(left: Any, right: Any, slope: Any) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=left), rng.normal(size=right)
    weights = rng.normal(size=(a @ b).shape)
    of_a, of_b = edu.grad(lambda a, b: (a @ b * weights).sum(), (0, 1))(a, b)
    assert_allclose(of_a.numpy(), slope(lambda a: float((a @ b * weights).sum()), a), atol=1e-7)
    assert_allclose(of_b.numpy(), slope(lambda b: float((a @ b * weights).sum()), b), atol=1e-7)


def test_non_contiguous_arrays_are_taken_as_they_are() -> None:
    a = np.arange(24.0).reshape(4, 6)[::-1, ::2]
    assert_array_equal(ops.exp(a.T).numpy(), np.exp(a.T))
    assert_array_equal((edu.tensor(a) @ a.T).numpy(), a @ a.T)
    assert ops.sum(a, axis=0).tolist() == a.sum(0).tolist()


@pytest.mark.parametrize("error", [0.0, 0.5, -1.0, 3.0])
def test_huber_is_a_square_near_0_and_straight_further_out(error: float) -> None:
    curvature = edu.hessian(lambda y: ops.huber([2.0], y))(np.array([2.0 + error]))
    assert curvature.item() == (1.0 if abs(error) <= 1 else 0.0)


@pytest.mark.parametrize(("x", "y"), [(1.5, 1.5), (0.0, -0.0), (-30.0, -30.0), (2.0, 1.0)])
def test_logaddexp_is_curved_where_its_arguments_are_equal_too(x: float, y: float) -> None:
    p = 1 / (1 + math.exp(y - x))
    found = edu.hessian(lambda v: ops.logaddexp(v[0], v[1]))(np.array([x, y]))
    assert found.numpy() == pytest.approx(p * (1 - p) * np.array([[1, -1], [-1, 1]]), rel=1e-14)


@pytest.mark.parametrize("exponent", [2.0, edu.tensor(2.0)])
def test_the_second_derivative_of_a_square_is_2_at_0_too(exponent: Any) -> None:
    assert edu.grad(edu.grad(lambda x: x**exponent))(0.0).item() == 2.0


@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [("float16", 1e-3), ("bfloat16", 8e-3), ("float32", 1e-6), ("float64", 1e-12)],
)
def test_powers_of_two_are_rounded_once(dtype: str, rtol: float, device: str) -> None:
    x = edu.tensor([-7.0, 0.0, 10.0, 15.0], dtype)
    for found in (ops.exp2(x), edu.jit(ops.exp2)(x)):
        assert found.dtype == dtype
        np.testing.assert_allclose(found.tolist(), [2.0**-7, 1, 1024, 32768], rtol=rtol)
