"""Optimizers and learning rate schedules against Keras's, and against PyTorch's where the formula
is the same one: 20 steps from the same weights, with the same gradients, in float64."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import optimizers, schedules

from .frameworks import FRAMEWORKS

tf, torch = (FRAMEWORKS[name].module for name in ("tensorflow", "torch"))

STEPS = 20
TOLERANCE = 1e-9
SHAPES = ((4, 3), (5,))

Steps = list[list[np.ndarray]]
"""For each step one array for each weight."""

# Keras rounds some of its numbers to float32, whatever its floatx is: these have few digits.
RATE = 0.125
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.875}),
    ("SGD", {"momentum": 0.875, "nesterov": True, "clipnorm": 0.75}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.5, "rho": 0.75}),
    ("RMSprop", {"centered": True, "clipvalue": 0.5}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "epsilon": 0.0625}),
    ("Adam", {"beta_1": 0.875, "beta_2": 0.96875}),
    ("Adam", {"beta_1": 0.75, "beta_2": 0.875, "amsgrad": True, "epsilon": 0.0625}),
    ("Adam", {"beta_1": 0.75, "beta_2": 0.875, "weight_decay": 0.125, "global_clipnorm": 1.5}),
    (
        "Adam",
        {
            "beta_1": 0.75,
            "beta_2": 0.875,
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 4,
        },
    ),
    (
        "SGD",
        {"momentum": 0.5, "gradient_accumulation_steps": 3, "clipnorm": 0.5, "weight_decay": 0.5},
    ),
    ("SGD", {"loss_scale_factor": 128.0, "gradient_accumulation_steps": 2, "use_ema": True}),
    ("AdamW", {"beta_1": 0.75, "beta_2": 0.875, "weight_decay": 0.25}),
    ("Adamax", {"beta_1": 0.75, "beta_2": 0.875}),
    ("Nadam", {"beta_1": 0.75, "beta_2": 0.875}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.875}),
    ("Lion", {"beta_1": 0.75, "beta_2": 0.875}),
    ("Lion", {"beta_1": 0.5, "beta_2": 0.75, "weight_decay": 0.25}),
]


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Keras's learning rates and schedules in float64."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def _start() -> list[np.ndarray]:
    numbers = np.random.default_rng(0)
    return [numbers.normal(size=shape) for shape in SHAPES]


def _gradients() -> Steps:
    """For each step one for each weight, of sizes that clipping tells apart."""
    numbers = np.random.default_rng(1)
    sizes = numbers.uniform(0.01, 2.0, STEPS)
    return [[size * numbers.normal(size=shape) for shape in SHAPES] for size in sizes]


def _steps_of_keras(optimizer: Any) -> Steps:
    weights = [keras.Variable(w, dtype="float64") for w in _start()]
    found = []
    for gradients in _gradients():
        optimizer.apply([tf.constant(g) for g in gradients], weights)
        found.append([w.numpy() for w in weights])
    return found


def _steps_of_ours(optimizer: optimizers.Optimizer, compiled: bool) -> Steps:
    weights = [edu.Variable(w) for w in _start()]

    def step(gradients: list[Any]) -> None:
        optimizer.apply(gradients, weights)

    run = edu.jit(step) if compiled else step
    found = []
    for gradients in _gradients():
        run([edu.tensor(g) for g in gradients])
        found.append([w.numpy() for w in weights])
    return found


def _agree(ours: Steps, theirs: Steps, tolerance: float = TOLERANCE) -> None:
    for mine, expected in zip(ours, theirs, strict=True):
        for x, y in zip(mine, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def _title(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ",".join(f"{name}={given}" for name, given in value.items())


@pytest.mark.parametrize(("name", "settings"), CASES, ids=_title)
def test_steps_are_those_of_keras(name: str, settings: dict[str, Any]) -> None:
    expected = _steps_of_keras(getattr(keras.optimizers, name)(RATE, **settings))
    # Nadam has a 0.96 in it, which Keras rounds to float32.
    tolerance = 2e-8 if name == "Nadam" else TOLERANCE
    for compiled in (False, True):
        ours = _steps_of_ours(getattr(optimizers, name)(RATE, **settings), compiled)
        _agree(ours, expected, tolerance)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_defaults_in_float32_do_what_those_of_keras_do(name: str) -> None:
    start, gradients = _start()[0].astype("float32"), [g[0].astype("float32") for g in _gradients()]
    keras.config.set_floatx("float32")
    theirs, weight = getattr(keras.optimizers, name)(), keras.Variable(start)
    ours, mine = getattr(optimizers, name)(), edu.Variable(start)
    step = edu.jit(lambda gradient: ours.apply([gradient], [mine]))
    for gradient in gradients:
        theirs.apply([tf.constant(gradient)], [weight])
        step(edu.tensor(gradient))
    assert mine.dtype == "float32"
    # Steps are up to 0.01 long, and each is right to some 1e-6 of that.
    np.testing.assert_allclose(mine.numpy(), weight.numpy(), rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_defaults_are_those_of_keras(name: str) -> None:
    ours, theirs = (
        inspect.signature(getattr(module, name)).parameters
        for module in (optimizers, keras.optimizers)
    )
    shared = inspect.signature(optimizers.Optimizer).parameters
    known = {**shared, **ours}
    for argument, parameter in theirs.items():
        if argument != "kwargs":
            assert known[argument].default == parameter.default, argument


TORCH: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.1}, "SGD", {"lr": 0.1}),
    # PyTorch keeps momentum before the rate is applied: the same while the rate stays the same.
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}, "SGD", {"lr": 0.1, "momentum": 0.9}),
    (
        "SGD",
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ),
    ("Adamax", {"epsilon": 0.0}, "Adamax", {"lr": 0.001, "eps": 0.0}),
    (
        "Adam",  # epsilon comes before the correction here, and after it there
        {"learning_rate": 0.1, "epsilon": 0.0},
        "Adam",
        {"lr": 0.1, "eps": 0.0},
    ),
    (
        "AdamW",
        {"learning_rate": 0.1, "weight_decay": 0.3, "epsilon": 0.0},
        "AdamW",
        {"lr": 0.1, "weight_decay": 0.3, "eps": 0.0},
    ),
    (
        "Adagrad",
        {"epsilon": 0.0},
        "Adagrad",
        {"lr": 0.001, "initial_accumulator_value": 0.1, "eps": 0.0},
    ),
    ("RMSprop", {"epsilon": 0.0}, "RMSprop", {"lr": 0.001, "alpha": 0.9, "eps": 0.0}),
    (
        "RMSprop",
        {"epsilon": 0.0, "centered": True, "momentum": 0.3},
        "RMSprop",
        {"lr": 0.001, "alpha": 0.9, "eps": 0.0, "centered": True, "momentum": 0.3},
    ),
    ("Adadelta", {"learning_rate": 1.0}, "Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-7}),
    ("Nadam", {}, "NAdam", {"lr": 0.001, "eps": 1e-7, "momentum_decay": 1.0}),
]


@pytest.mark.parametrize(("name", "settings", "theirs", "given"), TORCH, ids=_title)
def test_steps_are_those_of_pytorch(
    name: str, settings: dict[str, Any], theirs: str, given: dict[str, Any]
) -> None:
    weights = [torch.tensor(w, requires_grad=True) for w in _start()]
    optimizer = getattr(torch.optim, theirs)(weights, **given)
    expected = []
    for gradients in _gradients():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
        expected.append([w.detach().numpy().copy() for w in weights])
    _agree(_steps_of_ours(getattr(optimizers, name)(**settings), compiled=True), expected)


def test_clipping_a_global_norm_is_what_pytorch_does() -> None:
    gradients = _gradients()[0]
    given = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    for weight, gradient in zip(given, gradients, strict=True):
        weight.grad = torch.tensor(gradient)
    norm = float(torch.nn.utils.get_total_norm([w.grad for w in given]))
    torch.nn.utils.clip_grad_norm_(given, norm / 2)
    ours = [edu.Variable(np.zeros(shape)) for shape in SHAPES]
    optimizers.SGD(1.0, global_clipnorm=norm / 2).apply(gradients, ours)
    for weight, expected in zip(ours, given, strict=True):
        # PyTorch divides by the norm plus 1e-6.
        np.testing.assert_allclose(-weight.numpy(), expected.grad.numpy(), rtol=3e-6)


def test_excluded_weights_do_not_decay_just_as_in_keras() -> None:
    weights = [keras.Variable(w, name=n) for w, n in zip(_start(), ("kernel", "bias"), strict=True)]
    theirs = keras.optimizers.SGD(RATE, weight_decay=0.5)
    theirs.exclude_from_weight_decay(var_names=["bias"])
    theirs.apply([tf.constant(g) for g in _gradients()[0]], weights)
    mine = [edu.Variable(w, name=n) for w, n in zip(_start(), ("kernel", "bias"), strict=True)]
    ours = optimizers.SGD(RATE, weight_decay=0.5)
    ours.exclude_from_weight_decay(var_names=["bias"])
    ours.apply(_gradients()[0], mine)
    _agree([[w.numpy() for w in mine]], [[w.numpy() for w in weights]])


def test_loss_scaling_skips_halves_and_doubles_as_in_keras() -> None:
    numbers = np.random.default_rng(2)
    gradients = [1000.0 * numbers.normal(size=SHAPES[0]) for _ in range(12)]
    for bad, value in ((3, np.inf), (4, np.nan), (9, -np.inf)):
        gradients[bad][1, 1] = value
    weight = keras.Variable(_start()[0])
    theirs = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(RATE, momentum=0.5), initial_scale=1024.0, dynamic_growth_steps=2
    )
    expected, scales = [], []
    for gradient in gradients:
        theirs.apply([tf.constant(gradient)], [weight])
        expected.append([weight.numpy()])
        scales.append(float(theirs.dynamic_scale.numpy()))
    for compiled in (False, True):
        mine = edu.Variable(_start()[0])
        ours = optimizers.LossScaleOptimizer(
            optimizers.SGD(momentum=0.5), initial_scale=1024.0, dynamic_growth_steps=2
        )
        ours.learning_rate = RATE

        def step(gradient: Any, ours: Any = ours, mine: Any = mine) -> None:
            ours.apply([gradient], [mine])

        run: Any = edu.jit(step) if compiled else step
        found, own_scales = [], []
        for gradient in gradients:
            run(edu.tensor(gradient))
            found.append([mine.numpy()])
            own_scales.append(float(ours.dynamic_scale))
        _agree(found, expected)
        assert own_scales == scales
        assert int(ours.iterations) == 9


def _in_float64(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that Keras's schedules compute with in float64."""
    if "values" in settings:
        return settings | {"values": [np.float64(value) for value in settings["values"]]}
    return settings | {"initial_learning_rate": np.float64(settings["initial_learning_rate"])}


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.125, "decay_steps": 7, "decay_rate": 0.75}),
    (
        "ExponentialDecay",
        {"initial_learning_rate": 0.125, "decay_steps": 7, "decay_rate": 0.75, "staircase": True},
    ),
    ("InverseTimeDecay", {"initial_learning_rate": 0.125, "decay_steps": 7, "decay_rate": 0.75}),
    (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.125, "decay_steps": 7, "decay_rate": 0.75, "staircase": True},
    ),
    (
        "PolynomialDecay",
        {"initial_learning_rate": 0.125, "decay_steps": 30, "end_learning_rate": 0.0625},
    ),
    (
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.125,
            "decay_steps": 13,
            "end_learning_rate": 0.03125,
            "power": 1.75,
            "cycle": True,
        },
    ),
    ("PiecewiseConstantDecay", {"boundaries": [5, 20, 40], "values": [1.0, 0.5, 0.25, 0.125]}),
    ("CosineDecay", {"initial_learning_rate": 0.125, "decay_steps": 40, "alpha": 0.125}),
    (
        "CosineDecay",
        {
            "initial_learning_rate": 0.015625,
            "decay_steps": 30,
            "alpha": 0.0625,
            "warmup_target": 0.25,
            "warmup_steps": 10,
        },
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.125, "first_decay_steps": 6.5, "alpha": 0.125},
    ),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.125, "first_decay_steps": 6.5, "t_mul": 1.5, "m_mul": 0.75},
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.125, "first_decay_steps": 6, "t_mul": 1.0}),
]


@pytest.mark.parametrize(("name", "settings"), SCHEDULES, ids=_title)
def test_rates_are_those_of_keras(name: str, settings: dict[str, Any]) -> None:
    steps = np.arange(60.0)
    theirs = getattr(keras.optimizers.schedules, name)(**_in_float64(settings))
    expected = [float(theirs(tf.constant(step))) for step in steps]
    ours = getattr(schedules, name)(**settings)
    compiled = edu.jit(ours)
    for step, rate in zip(steps, expected, strict=True):
        assert float(ours(edu.tensor(step))) == pytest.approx(rate, rel=1e-12)
        assert float(compiled(edu.tensor(step))) == pytest.approx(rate, rel=1e-12)
        assert float(ours(int(step))) == pytest.approx(rate, rel=3e-5)  # in float32


@pytest.mark.parametrize("name", sorted({name for name, _ in SCHEDULES}))
def test_arguments_of_schedules_are_those_of_keras(name: str) -> None:
    theirs = inspect.signature(getattr(keras.optimizers.schedules, name)).parameters.values()
    ours = inspect.signature(getattr(schedules, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_an_optimizer_follows_a_schedule_as_in_keras() -> None:
    settings: dict[str, Any] = {"decay_steps": 3, "decay_rate": 0.5}
    settings["initial_learning_rate"] = RATE
    theirs = keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(**_in_float64(settings))
    )
    expected = _steps_of_keras(theirs)
    for compiled in (False, True):
        ours = optimizers.SGD(schedules.ExponentialDecay(**settings))
        _agree(_steps_of_ours(ours, compiled), expected)
        assert float(ours.learning_rate) == pytest.approx(float(theirs.learning_rate), rel=1e-12)
