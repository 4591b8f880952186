"""Initializers against the distributions that they state; regularizers, constraints and schedules
against their formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tinygrad_edu as edu
from tinygrad_edu import constraints, initializers, regularizers, schedules
from tinygrad_edu.errors import ArgumentError, DtypeError, ShapeError

SHAPE = (200, 300)
CUT = math.sqrt(stats.truncnorm(-2, 2).var())  # the deviation of what is cut off at 2


def _normal(mean: float, stddev: float) -> Any:
    return stats.norm(mean, stddev)


def _uniform(low: float, high: float) -> Any:
    return stats.uniform(low, high - low)


def _truncated(mean: float, deviation_before: float) -> Any:
    return stats.truncnorm(-2, 2, mean, deviation_before)


def _limit(variance: float) -> float:
    """A uniform distribution from -limit to limit has variance limit**2 / 3."""
    return math.sqrt(3 * variance)


# An initializer, and how its numbers are distributed for the shape (200, 300).
STATED: list[tuple[Any, Any]] = [
    ("random_normal", _normal(0, 0.05)),
    (initializers.RandomNormal(1.0, 2.0), _normal(1, 2)),
    ("random_uniform", _uniform(-0.05, 0.05)),
    (initializers.RandomUniform(1.0, 4.0), _uniform(1, 4)),
    ("truncated_normal", _truncated(0, 0.05)),
    (initializers.TruncatedNormal(1.0, 2.0), _truncated(1, 2)),
    ("glorot_normal", _truncated(0, math.sqrt(2 / 500) / CUT)),
    ("glorot_uniform", _uniform(-_limit(2 / 500), _limit(2 / 500))),
    ("he_normal", _truncated(0, math.sqrt(2 / 200) / CUT)),
    ("he_uniform", _uniform(-_limit(2 / 200), _limit(2 / 200))),
    ("lecun_normal", _truncated(0, math.sqrt(1 / 200) / CUT)),
    ("lecun_uniform", _uniform(-_limit(1 / 200), _limit(1 / 200))),
    ("variance_scaling", _truncated(0, math.sqrt(1 / 200) / CUT)),
    (
        initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
        _normal(0, math.sqrt(3 / 300)),
    ),
    (initializers.VarianceScaling(mode="fan_out", distribution="uniform"), _uniform(-0.1, 0.1)),
]


@pytest.mark.parametrize(
    ("given", "stated"), STATED, ids=lambda x: None if " at 0x" in str(x) else str(x)
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_distributed_as_stated(given: Any, stated: Any, dtype: str) -> None:
    edu.random.seed(1)
    drawn = initializers.get(given)(SHAPE, dtype)
    assert (drawn.shape, drawn.dtype) == (SHAPE, dtype)
    numbers = drawn.numpy().ravel().astype(float)
    low, high = stated.support()
    assert low - 1e-6 <= numbers.min()
    assert numbers.max() <= high + 1e-6
    # Five standard errors of a mean and of a standard deviation.
    near = 5 * stated.std() / math.sqrt(numbers.size)
    assert numbers.mean() == pytest.approx(stated.mean(), abs=near)
    assert numbers.std() == pytest.approx(stated.std(), abs=near)
    assert stats.kstest(numbers, stated.cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_from_float32(dtype: str) -> None:
    wide, half = (initializers.HeNormal(seed=4)((50, 40), d).numpy() for d in ("float32", dtype))
    assert half.dtype.name == dtype
    np.testing.assert_array_equal(half, wide.astype(half.dtype))


def test_constants() -> None:
    assert initializers.get("zeros")((2, 3), "int32").numpy().tolist() == [[0] * 3] * 2
    assert initializers.get("one")((2,), "float64").numpy().tolist() == [1.0, 1.0]
    assert initializers.Constant([1.0, 2.0])((3, 2)).tolist() == [[1.0, 2.0]] * 3
    assert initializers.Identity(2.0)((3, 2)).tolist() == [[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (3, 4, 5, 20), (2, 3, 100)])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_orthogonal_rows_or_columns_are_orthonormal(shape: tuple[int, ...], gain: float) -> None:
    matrix = initializers.Orthogonal(gain, seed=0)(shape, "float64").numpy()
    assert matrix.shape == shape
    flat = matrix.reshape(-1, shape[-1])
    products = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
    np.testing.assert_allclose(products, gain**2 * np.eye(len(products)), atol=1e-12)


def test_orthogonal_matrices_are_spread_evenly() -> None:
    # The first column of an evenly drawn orthogonal matrix is an evenly drawn unit vector: in three
    # dimensions each of its coordinates is uniform on (-1, 1) (Archimedes). Without the signs of R
    # the diagonal would be on one side.
    edu.random.seed(2)
    draw = initializers.Orthogonal()
    drawn = np.array([draw((3, 3), "float64").numpy() for _ in range(1000)])
    for place in ((0, 0), (1, 0), (1, 1), (2, 2)):
        assert stats.kstest(drawn[:, *place], stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (5, 5)), ((2, 3), (2, 3)), ((5, 5, 3, 7), (75, 175))],
)
def test_units_before_and_after(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert initializers.fans(shape) == expected


def test_axes_say_what_counts_as_units() -> None:
    drawn = initializers.HeUniform(seed=0, input_axes=[1, 2], output_axes=[0])((9, 30, 40)).numpy()
    limit = _limit(2 / 1200)
    assert np.abs(drawn).max() == pytest.approx(limit, rel=1e-3)
    assert np.abs(drawn).max() <= limit


def test_a_seed_gives_the_same_numbers_each_time_and_none_gives_others() -> None:
    seeded = initializers.GlorotUniform(seed=3)
    assert seeded((4, 5)).tolist() == seeded((4, 5)).tolist()
    assert seeded((4, 5)).tolist() != initializers.GlorotUniform(seed=4)((4, 5)).tolist()
    free = initializers.GlorotUniform()
    assert free((4, 5)).tolist() != free((4, 5)).tolist()
    edu.random.seed(5)
    first = free((4, 5)).tolist()
    edu.random.seed(5)
    assert free((4, 5)).tolist() == first


@pytest.mark.parametrize("name", sorted(set(initializers._TABLE) - {"stft", "stft_initializer"}))
def test_initializers_work_in_jit_and_on_each_device(name: str, device: str) -> None:
    made = initializers.get(name)
    if hasattr(made, "seed"):
        made = type(made)(seed=7)
    compiled = edu.jit(lambda: made((4, 3)))()
    assert compiled.device == device
    np.testing.assert_allclose(compiled.numpy(), made((4, 3)).numpy(), rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: initializers.Identity()((2, 3, 4)), ShapeError, "Identity: makes a matrix"),
        (lambda: initializers.Orthogonal()((3,)), ShapeError, "Orthogonal: makes a matrix"),
        (lambda: initializers.Zeros()((2, -1)), ShapeError, "Zeros: .* is not a shape"),
        (lambda: initializers.HeNormal()((2, None)), ShapeError, "HeNormal: .* is not a shape"),
        (lambda: initializers.HeNormal()((2, 3), "int32"), DtypeError, "HeNormal: draws floats"),
        (lambda: initializers.HeNormal(seed="x"), ArgumentError, "HeNormal: seed is 'x'"),
        (lambda: initializers.Constant([1.0, 2.0])((3,)), ShapeError, "Constant: value of shape"),
        (lambda: initializers.VarianceScaling(0.0), ArgumentError, "scale is .* above 0, not 0.0"),
        (
            lambda: initializers.RandomNormal(stddev=-1),
            ArgumentError,
            "RandomNormal: stddev is a number from 0 on, not -1",
        ),
        (lambda: initializers.TruncatedNormal(0, "x"), ArgumentError, "stddev is .* not 'x'"),
        (
            lambda: initializers.RandomUniform(1.0, -1.0),
            ArgumentError,
            "RandomUniform: maxval is a number from minval, 1, on, not -1.0",
        ),
        (lambda: initializers.Orthogonal("x"), ArgumentError, "gain is a number, not 'x'"),
        (lambda: initializers.VarianceScaling(mode="in"), ArgumentError, "mode is 'in'; it is"),
        (lambda: initializers.STFT()((8, 2, 5)), ShapeError, r"STFT: shape \(8, 2, 5\) is not"),
        (lambda: initializers.STFT()((9, 1, 5)), ShapeError, "frames of up to 8, not of 9"),
        (lambda: initializers.STFT(window="han")((8, 1, 5)), ArgumentError, "window is 'han'"),
        (lambda: initializers.Initializer()((2,)), NotImplementedError, "has no __call__"),
        (lambda: regularizers.L2(-1.0), ArgumentError, "L2: l2 is a finite number .* not -1.0"),
        (lambda: constraints.MaxNorm(-1), ArgumentError, "MaxNorm: max_value is .* 0 on, not -1"),
        (
            lambda: constraints.MinMaxNorm(2.0, 1.0),
            ArgumentError,
            "MinMaxNorm: max_value is a number from min_value, 2, on, not 1.0",
        ),
        (
            lambda: constraints.MinMaxNorm(rate=1.5),
            ArgumentError,
            r"MinMaxNorm: rate is a number in \[0, 1\], not 1.5",
        ),
        (lambda: regularizers.OrthogonalRegularizer(mode="row"), ArgumentError, "mode is 'row'"),
        (lambda: regularizers.OrthogonalRegularizer()([1.0]), ShapeError, "is no matrix"),
        (lambda: regularizers.OrthogonalRegularizer()([[1.0]]), ShapeError, "it takes two"),
        (
            lambda: schedules.ExponentialDecay(0.1, 0, 0.5),
            ArgumentError,
            "steps is .* above 0, not 0",
        ),
        (lambda: schedules.ExponentialDecay(-0.1, 9, 0.5), ArgumentError, "rate is .* not -0.1"),
        (
            lambda: schedules.ExponentialDecay(0.1, 9, -0.5),
            ArgumentError,
            "ExponentialDecay: decay_rate is a number from 0 on, not -0.5",
        ),
        (lambda: schedules.InverseTimeDecay(0.1, 9, -1), ArgumentError, "decay_rate is .* not -1"),
        (lambda: schedules.PolynomialDecay(0.1, 9, -1.0), ArgumentError, "end_learning_rate is"),
        (lambda: schedules.PolynomialDecay(0.1, 9, power=-1), ArgumentError, "power is .* not -1"),
        (
            lambda: schedules.PiecewiseConstantDecay([1], [1.0, -1.0]),
            ArgumentError,
            "PiecewiseConstantDecay: a value is a number from 0 on, not -1.0",
        ),
        (
            lambda: schedules.CosineDecay(0.1, 9, warmup_target=0.2, warmup_steps=-3),
            ArgumentError,
            "CosineDecay: warmup_steps is a number from 0 on, not -3",
        ),
        (lambda: schedules.CosineDecay(0.1, 9, alpha=-1), ArgumentError, "alpha is .* not -1"),
        (lambda: schedules.PiecewiseConstantDecay([1], [1.0]), ArgumentError, "1 boundaries and 1"),
        (
            lambda: schedules.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0]),
            ArgumentError,
            "each is above the one before",
        ),
        (
            lambda: schedules.CosineDecay(0.1, 10, warmup_steps=5),
            ArgumentError,
            "without warmup_target",
        ),
        (
            lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5),
            ArgumentError,
            "t_mul is .* not 0.5",
        ),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, m_mul=-1), ArgumentError, "m_mul is .* -1"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run()


# Regularizers and constraints


def test_regularizers_have_gradients_and_keep_the_dtype() -> None:
    weight = edu.tensor(np.array([[1.0, -2.0], [0.5, 3.0]]))
    loss = edu.value_and_grad(lambda w: regularizers.L1L2(0.5, 0.25)(w))
    value, gradient = loss(weight)
    assert value.dtype == "float64"
    assert value.item() == 0.5 * 6.5 + 0.25 * 14.25
    np.testing.assert_allclose(
        gradient.numpy(), 0.5 * np.sign(weight.numpy()) + 0.5 * weight.numpy(), rtol=1e-15
    )


def test_orthogonal_rows_cost_nothing_and_equal_ones_all() -> None:
    cost = regularizers.OrthogonalRegularizer(0.5)
    assert cost([[1.0, 1.0], [1.0, -1.0]]).item() == pytest.approx(0.0, abs=1e-7)
    assert cost([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]).item() == pytest.approx(0.5)
    columns = regularizers.OrthogonalRegularizer(0.5, "columns")
    assert columns([[1.0, 1.0], [2.0, 2.0]]).item() == pytest.approx(0.5)
    gradient = edu.grad(cost)(edu.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert np.isfinite(gradient.numpy()).all()


def test_constraints_bring_norms_where_they_are_to_be() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 4, 5)) * np.linspace(0.01, 3, 5)

    def norms(made: Any) -> np.ndarray:
        return np.linalg.norm(made(weight).numpy().reshape(24, 5), axis=0)

    before, both = np.linalg.norm(weight.reshape(24, 5), axis=0), (0, 1)
    near: Any = {"rtol": 1e-5}
    np.testing.assert_allclose(norms(constraints.UnitNorm(both)), 1.0, **near)
    np.testing.assert_allclose(
        norms(constraints.MaxNorm(1.5, both)), np.minimum(before, 1.5), **near
    )
    np.testing.assert_allclose(
        norms(constraints.MinMaxNorm(0.5, 1.5, 0.25, both)),
        0.75 * before + 0.25 * before.clip(0.5, 1.5),
        **near,
    )
    assert constraints.NonNeg()([-1.0, 0.0, 2.0]).tolist() == [0.0, 0.0, 2.0]


# Schedules


@pytest.mark.parametrize("growth", [2.0, 3.0])
def test_restarts_come_at_the_very_step(growth: float) -> None:
    schedule = schedules.CosineDecayRestarts(1.0, 5, t_mul=growth, m_mul=0.5)
    starts = [round(5 * (growth**turn - 1) / (growth - 1)) for turn in range(7)]
    for turn, step in enumerate(starts):
        for given in (step, edu.tensor(float(step), "float64")):
            assert schedule(given).item() == pytest.approx(0.5**turn, rel=1e-5)
            assert turn == 0 or schedule(given - 1).item() < 0.5 ** (turn - 1) * 0.1


def test_rates_have_the_dtype_of_the_step_and_compile_once() -> None:
    schedule = schedules.CosineDecay(0.0, 20, warmup_target=1.0, warmup_steps=10)
    assert schedule(edu.tensor(3)).dtype == "float32"
    assert schedule(edu.tensor(3.0, "float64")).dtype == "float64"
    compiled = edu.jit(schedule)
    rates = [compiled(edu.tensor(step)).item() for step in (0, 5, 10, 20, 30, 99)]
    np.testing.assert_allclose(rates, [0.0, 0.5, 1.0, 0.5, 0.0, 0.0], atol=1e-7)
    assert compiled.cache_info().misses == 1


def test_a_schedule_of_ones_own_needs_one_method() -> None:
    class Step(schedules.LearningRateSchedule):
        def __init__(self, rate: float) -> None:
            self.rate = rate

        def at(self, step: edu.Tensor) -> edu.Tensor:
            return edu.where(step < 2.0, self.rate, 0.0)

    assert [Step(0.5)(step).item() for step in (1, 2)] == [0.5, 0.0]
    assert Step(0.5).get_config() == {"rate": 0.5}
