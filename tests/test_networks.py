"""What networks are made of where it is hard: infinities, ties, rows with nothing to see, halves,
chance. Values and gradients are held against the frameworks in `reference_tests`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import ops
from tinygrad_edu.errors import ArgumentError, OutOfRangeError

INF = math.inf


@pytest.mark.parametrize("function", [ops.relu, ops.gelu, ops.silu, ops.softplus, ops.elu])
def test_far_out_activations_are_their_limits_and_so_are_their_slopes(
    function: Callable[..., Any],
) -> None:
    with np.errstate(all="raise", under="ignore"):
        for x, value, slope in ((INF, INF, 1), (1e30, 1e30, 1), (-1e30, 0, 0), (-INF, 0, 0)):
            expected = -1 if function is ops.elu and x < 0 else value
            assert function(x).item() == pytest.approx(expected, rel=1e-6, abs=1e-30)
            assert edu.grad(function)(x).item() == pytest.approx(slope, abs=1e-30)


def test_exact_gelu_and_its_slope_are_those_of_the_error_function() -> None:
    x = np.linspace(-12, 12, 20_001)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    slope = edu.grad(lambda t: ops.gelu(t, approximate=False).sum())
    for dtype, units in (("float64", 8), ("float32", 4)):
        given, eps = x.astype(dtype), float(np.finfo(dtype).eps)
        scale = eps * np.maximum(1, np.abs(x))
        assert np.all(
            np.abs(ops.gelu(given, approximate=False).numpy() - x * below) < units * scale
        )
        assert np.all(np.abs(slope(given).numpy() - below - x * density) < units * scale)
    tiny = np.array([0.0, 1e-45, -1e-45, 1e-38], "float32")
    assert slope(tiny).tolist() == [0.5] * 4


def test_a_relu_lets_no_infinite_gradient_through_where_it_is_off() -> None:
    with np.errstate(divide="ignore"):
        assert edu.grad(lambda x: ops.sqrt(ops.relu(x)))(-1.0).item() == 0


@pytest.mark.parametrize("large", [1e4, 1e30, INF])
def test_cross_entropies_of_right_and_huge_logits_are_0(large: float) -> None:
    target = np.array([1.0, 0.0], "float32")
    found = ops.binary_crossentropy(target, [large, -large], from_logits=True)
    assert found.tolist() == [0, 0]
    slope = edu.grad(lambda x: ops.binary_crossentropy(target, x, from_logits=True).sum())
    assert slope(np.array([large, -large], "float32")).tolist() == [0, 0]
    logits = np.array([0.0, -large], "float32")
    assert ops.categorical_crossentropy(target, logits, from_logits=True).item() == 0
    one_of = edu.grad(lambda x: ops.categorical_crossentropy(target, x, from_logits=True))
    assert one_of(logits).tolist() == [0, 0]
    named = edu.grad(lambda x: ops.sparse_categorical_crossentropy([0], x, from_logits=True).sum())
    assert named(logits[None]).tolist() == [[0, 0]]


def test_a_class_that_is_not_there_is_refused() -> None:
    for wrong in (3, -1):
        for from_logits in (True, False):
            with pytest.raises(OutOfRangeError, match=rf"class {wrong} is not one of 3"):
                ops.sparse_categorical_crossentropy([wrong], np.ones((1, 3)), from_logits)


@pytest.mark.parametrize("epsilon", [-1e-3, math.nan, None, "small"])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("batch_norm", ()),
        ("batch_normalization", (np.zeros(3), np.ones(3))),
        ("group_norm", (3,)),
        ("layer_norm", ()),
        ("rms_norm", ()),
    ],
)
def test_an_epsilon_is_a_number_from_0_on(name: str, args: Any, epsilon: Any) -> None:
    with pytest.raises(ArgumentError, match=f"{name}: epsilon is a number from 0 on, not "):
        getattr(ops, name)(np.ones((2, 3)), *args, epsilon=epsilon)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.huber([0.0], [1.0], delta=-1.0), "huber: delta is a number above 0, not -1.0"),
        (lambda: ops.huber([0.0], [1.0], delta=None), "huber: delta is a number above 0"),  # type: ignore[arg-type]
        (lambda: edu.losses.huber([0.0], [1.0], -1.0), "huber: delta is a number above 0"),
        (lambda: ops.var([0.0], correction="1"), "var: correction is a number, not '1'"),  # type: ignore[arg-type]
        (lambda: ops.std([0.0], correction=math.nan), "std: correction is a number, not nan"),
        (lambda: ops.matrix_rank(np.eye(2), rtol="1"), "matrix_rank: rtol is a number"),  # type: ignore[arg-type]
        (lambda: ops.pinv(np.eye(2), rtol="1"), "pinv: rtol is a number"),  # type: ignore[arg-type]
    ],
)
def test_a_number_that_does_not_fit_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_a_batch_norm_of_no_features_is_over_all_elements() -> None:
    y, average, variance = ops.batch_norm(np.array([1.0, 3.0]), axis=(), epsilon=0.0)
    assert (y.tolist(), average.item(), variance.item()) == ([-1.0, 1.0], 2.0, 1.0)


def test_what_is_all_alike_normalizes_to_0_without_nan() -> None:
    x = np.full((2, 3), 7.0)
    for function in (ops.layer_norm, lambda t: ops.batch_norm(t)[0]):
        assert function(x).tolist() == [[0, 0, 0]] * 2
        assert np.isfinite(edu.grad(lambda t, f=function: (f(t) ** 2).sum())(x).numpy()).all()
    assert ops.rms_norm(np.zeros(3)).tolist() == [0, 0, 0]
    assert edu.grad(lambda t: ops.cosine_similarity(t, np.ones(3)))(np.zeros(3)).tolist() == [0] * 3


def test_a_query_that_sees_nothing_gets_0_and_gives_no_gradient() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 1, 3))
    mask = np.array([[True, True], [False, False]])

    def total(q: Any) -> Any:
        return ops.dot_product_attention(q, x, x, mask=mask).sum()

    assert ops.dot_product_attention(x, x, x, mask=mask).numpy()[0, 1].tolist() == [[0, 0, 0]]
    slope = edu.grad(total)(x).numpy()
    assert np.isfinite(slope).all()
    assert slope[0, 1].tolist() == [[0, 0, 0]]


def test_dropout_keeps_the_mean_and_drops_the_gradient_too() -> None:
    key = edu.random.key(0)
    x = edu.ones(10_000)
    found = ops.dropout(x, 0.25, key=key).numpy()
    assert set(found.tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert abs(found.mean() - 1) < 0.03
    slope = edu.grad(lambda t: ops.dropout(t, 0.25, key=key).sum())(x)
    np.testing.assert_array_equal(slope.numpy(), found)
    edu.random.seed(1)
    assert ops.dropout(x, 0.5).tolist() != ops.dropout(x, 0.5).tolist()
    assert not ops.dropout(x, 1.0).numpy().any()


HALVES: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "gelu": ops.gelu,
    "exact gelu": lambda x: ops.gelu(x, approximate=False),
    "silu": ops.silu,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "layer_norm": ops.layer_norm,
    "rms_norm": ops.rms_norm,
    "sparse": lambda x: ops.sparse_categorical_crossentropy([1], x, from_logits=True),
    "binary": lambda x: ops.binary_crossentropy(ops.ones_like(x), x, from_logits=True),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", HALVES)
def test_halves_compute_in_float32(name: str, dtype: str) -> None:
    function = HALVES[name]
    values = np.array([[-2.5, -0.5, 0.25, 3.0]], "float32")
    slope = edu.grad(lambda x: (function(x) * function(x)).sum())
    narrow = edu.tensor(values).astype(dtype)
    eps = 1e-3 if dtype == "float16" else 8e-3
    for found, expected in (
        (function(narrow), function(values)),
        (slope(narrow), slope(values)),
    ):
        assert found.dtype == narrow.dtype
        np.testing.assert_allclose(
            found.astype("float32").numpy(), expected.numpy(), rtol=6 * eps, atol=6 * eps
        )


def test_a_sparse_crossentropy_s_gradient_does_not_depend_on_the_order_in_memory() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 4))
    classes = np.array([[1, 2], [0, 3], [1, 1]])
    slope = edu.grad(
        lambda x: ops.sparse_categorical_crossentropy(
            classes, ops.permute_dims(x, (1, 0, 2)), from_logits=True
        ).sum()
    )
    powers = np.exp(logits)
    expected = powers / powers.sum(-1, keepdims=True) - np.eye(4)[classes].transpose(1, 0, 2)
    np.testing.assert_allclose(slope(logits).numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("copies", [1, 3000])  # small arrays and large ones go different ways
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "params"),
    [("gelu", {"approximate": False}), ("gelu", {}), ("silu", {}), ("softplus", {})],
)
def test_far_out_an_activation_is_x_or_0_and_nothing_overflows(
    name: str, params: dict[str, Any], dtype: str, copies: int
) -> None:
    x = np.repeat(np.array([-1e30, -100.0, -20.0, 20.0, 100.0, 1e30], dtype), copies)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found, pull_back = edu.vjp(lambda x: getattr(ops, name)(x, **params), x)
        (slope,) = pull_back(ops.ones_like(found))
    np.testing.assert_allclose(found.numpy(), np.maximum(x, 0), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(slope.numpy(), x > 0, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "function",
    [ops.gelu, lambda x: ops.gelu(x, approximate=False), ops.silu, ops.softplus, ops.softsign],
)
def test_an_activation_within_a_loop_of_a_program_is_the_eager_one(
    function: Callable[..., Any], dtype: str
) -> None:
    def between(x: Any) -> Any:
        return function(x * 2.0) + 1.0

    def slope(x: Any) -> Any:
        found, pull_back = edu.vjp(between, x)
        return pull_back(ops.ones_like(found))[0]

    x = edu.tensor(np.random.default_rng(0).normal(scale=2, size=(1200, 1000)), dtype)
    program = edu.jit(lambda x: (between(x), slope(x)))
    assert "parallel(" in program.lower(x).as_text("python")
    for found, expected in zip(program(x), (between(x), slope(x)), strict=True):
        units = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=units, atol=units)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "function",
    [ops.gelu, lambda x: ops.gelu(x, approximate=False), ops.silu, ops.softplus, ops.softsign],
)
def test_an_activation_of_a_large_array_is_that_of_its_parts(
    function: Callable[..., Any], dtype: str
) -> None:
    x = np.random.default_rng(0).normal(scale=4, size=(1500, 1000)).astype(dtype)
    g = x[::-1].copy()
    found, pull_back = edu.vjp(function, x)
    of_parts = [edu.vjp(function, part) for part in np.split(x, 3)]
    assert np.array_equal(found.numpy(), np.concatenate([y.numpy() for y, _ in of_parts]))
    slopes = [
        pull(edu.tensor(part))[0].numpy()
        for (_, pull), part in zip(of_parts, np.split(g, 3), strict=True)
    ]
    assert np.array_equal(pull_back(edu.tensor(g))[0].numpy(), np.concatenate(slopes))


@pytest.mark.parametrize("shape", [(2, 3), (300, 1000), (3, 100, 1000), (2000, 1, 200)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_a_layer_norm_of_any_size_is_its_formula(shape: tuple[int, ...], offset: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(offset, 1, shape)
    g = rng.normal(size=shape)
    gamma, beta = rng.normal(size=(2, shape[-1]))
    found, pull_back = edu.vjp(
        ops.layer_norm, *(edu.tensor(y, "float32") for y in (x, gamma, beta))
    )
    of_x, of_gamma, of_beta = pull_back(edu.tensor(g, "float32"))
    x, g = x.astype("float32").astype("float64"), g.astype("float32").astype("float64")
    spread = np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    z, scaled = (x - x.mean(-1, keepdims=True)) / spread, g * gamma
    along = scaled.mean(-1, keepdims=True) + z * (scaled * z).mean(-1, keepdims=True)
    others = tuple(range(len(shape) - 1))
    for ours, expected in (
        (found, z * gamma + beta),
        (of_x, (scaled - along) / spread),
        (of_gamma, (g * z).sum(others)),
        (of_beta, g.sum(others)),
    ):
        scale = max(1.0, offset) * float(np.abs(expected).max())
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-6 * scale)


def test_a_compiled_cross_entropy_and_its_gradient_share_their_powers() -> None:
    def loss(logits: Any, classes: Any) -> Any:
        return ops.sparse_categorical_crossentropy(classes, logits, from_logits=True).mean()

    graph = edu.jit(edu.value_and_grad(loss)).trace(np.ones((2, 3)), np.array([0, 2]))
    for step in ("highest", "shifted_powers"):
        assert str(graph).count(f"{step}(") == 1
    assert "exp(" not in str(graph)


@pytest.mark.parametrize("axis", [-1, 0])
def test_a_sparse_crossentropy_has_the_curvature_of_softmax(axis: int) -> None:
    logits = np.array([0.5, -1.0, 2.0])
    p = np.exp(logits) / np.exp(logits).sum()
    loss = edu.hessian(
        lambda x: ops.sparse_categorical_crossentropy(
            np.array([1]), ops.expand_dims(x, axis=-1 - axis), from_logits=True, axis=axis
        ).sum()
    )
    np.testing.assert_allclose(loss(logits).numpy(), np.diag(p) - np.outer(p, p), atol=1e-12)
