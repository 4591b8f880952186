"""Optimizers: what they do by their formulas, what they remember, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import optimizers, schedules
from tinygrad_edu.errors import ArgumentError, DtypeError, GradientError, ShapeError

NAMES = ["SGD", "RMSprop", "Adam", "AdamW", "Adamax", "Nadam", "Adagrad", "Adadelta", "Lion"]


def _weights(dtype: str = "float32") -> list[edu.Variable]:
    return [
        edu.Variable(np.array([[1.0, -2.0], [3.0, 0.5]], dtype), name="kernel"),
        edu.Variable(np.array([0.25, -0.75], dtype), name="bias"),
    ]


def _gradients(dtype: str = "float32") -> list[edu.Tensor]:
    return [edu.tensor(0.5 * w.numpy() + 1.0) for w in _weights(dtype)]


def _state(optimizer: optimizers.Optimizer, weights: list[edu.Variable]) -> dict[str, Any]:
    held = {str(i): w.numpy().tolist() for i, w in enumerate(weights)}
    return held | {name: v.numpy().tolist() for name, v in optimizer.weight_paths().items()}


# Formulas: how far a weight has gone after n steps whose gradient is g.


def _nadam(g: float, n: int, rate: float = 0.001, beta: float = 0.9, eps: float = 1e-7) -> float:
    u = [beta * (1 - 0.5 * 0.96**t) for t in range(1, n + 2)]
    gone = 0.0
    for t in range(1, n + 1):
        m, product = (1 - beta**t) * g, math.prod(u[:t])
        ahead = u[t] * m / (1 - product * u[t]) + (1 - u[t - 1]) * g / (1 - product)
        gone += rate * ahead / (abs(g) + eps)
    return gone


def _adadelta(g: float, n: int, rho: float = 0.95, eps: float = 1e-7) -> float:
    squares = steps = gone = 0.0
    for _ in range(n):
        squares = rho * squares + (1 - rho) * g * g
        step = math.sqrt(steps + eps) / math.sqrt(squares + eps) * g
        steps = rho * steps + (1 - rho) * step * step
        gone += 0.001 * step
    return gone


FORMULAS: list[tuple[str, dict[str, Any], Callable[[float, int], float]]] = [
    ("SGD", {}, lambda g, n: 0.01 * n * g),
    (
        "SGD",
        {"momentum": 0.5},
        lambda g, n: 0.01 * g * sum((1 - 0.5**t) / 0.5 for t in range(1, n + 1)),
    ),
    (
        "SGD",
        {"momentum": 0.5, "nesterov": True},
        lambda g, n: 0.01 * g * sum((1 - 0.5 ** (t + 1)) / 0.5 for t in range(1, n + 1)),
    ),
    (
        "RMSprop",
        {},
        lambda g, n: sum(
            0.001 * g / math.sqrt((1 - 0.9**t) * g * g + 1e-7) for t in range(1, n + 1)
        ),
    ),
    (
        "RMSprop",  # the variance of what is always the same: that of starting at 0
        {"centered": True},
        lambda g, n: sum(
            0.001 * g / math.sqrt((1 - 0.9**t) * g * g * 0.9**t + 1e-7) for t in range(1, n + 1)
        ),
    ),
    (
        "Adam",
        {},
        lambda g, n: sum(
            0.001 * g / (abs(g) + 1e-7 / math.sqrt(1 - 0.999**t)) for t in range(1, n + 1)
        ),
    ),
    ("Adamax", {}, lambda g, n: 0.001 * n * g / (abs(g) + 1e-7)),
    ("Nadam", {}, _nadam),
    (
        "Adagrad",
        {},
        lambda g, n: sum(0.001 * g / math.sqrt(0.1 + t * g * g + 1e-7) for t in range(1, n + 1)),
    ),
    ("Adadelta", {}, _adadelta),
    ("Lion", {}, lambda g, n: 0.001 * n * math.copysign(1, g)),
]


@pytest.mark.parametrize(
    ("name", "settings", "gone"), FORMULAS, ids=lambda x: None if callable(x) else str(x)
)
def test_steps_along_one_gradient_add_up_as_the_formula_says(
    name: str, settings: dict[str, Any], gone: Callable[[float, int], float]
) -> None:
    start, slopes = np.array([1.0, -2.0, 0.5]), [0.7, -1.3, 0.02]
    w = edu.Variable(start)
    optimizer = getattr(optimizers, name)(**settings)
    for n in range(1, 6):
        optimizer.apply([np.array(slopes)], [w])
        expected = start - [gone(g, n) for g in slopes]
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-11)


def test_what_adams_relatives_keep_of_gradients_that_differ() -> None:
    amsgrad = optimizers.Adam(0.125, beta_1=0.5, beta_2=0.5, amsgrad=True)
    adamax = optimizers.Adamax(0.125, beta_1=0.5, beta_2=0.5)
    lion = optimizers.Lion(0.125, beta_1=0.75, beta_2=0.25)
    for optimizer, slots, place in (
        (amsgrad, {"momentum": [0.5], "velocity": [1.0], "velocity_hat": [2.0]}, None),
        (adamax, {"momentum": [0.5], "norm": [1.0]}, None),
        # Along 2, where 1.5 was kept of it; then along 0.75 * 1.5 - 0.25 * 2, still the same way.
        (lion, {"momentum": [0.25 * 1.5 - 0.75 * 2.0]}, -0.25),
    ):
        w = edu.Variable([0.0], name="w")
        optimizer.apply([[2.0]], [w])
        optimizer.apply([[-2.0 if optimizer is lion else 0.0]], [w])
        paths = optimizer.weight_paths()
        assert {slot: paths[f"w/{slot}"].tolist() for slot in slots} == slots
        assert place is None or w.item() == place


def test_adamw_lets_weights_decay_apart_from_the_gradient() -> None:
    w = edu.Variable(np.array([4.0]))
    optimizers.AdamW(0.125, weight_decay=0.5).apply([np.array([2.0])], [w])
    step = 0.125 * 2.0 / (2.0 + 1e-7 / math.sqrt(0.001))
    assert w.item() == pytest.approx(4.0 * (1 - 0.125 * 0.5) - step, rel=1e-12)


# Everywhere


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_step_does_what_an_eager_one_does(name: str, device: str) -> None:
    ours, theirs = _weights(), _weights()
    eager, compiled = (getattr(optimizers, name)(0.1, clipnorm=1.0, use_ema=True) for _ in range(2))
    step = edu.jit(lambda gradients: compiled.apply(gradients, theirs))
    for _ in range(3):
        eager.apply(_gradients(), ours)
        step(_gradients())
    assert step.cache_info().misses == 1
    assert list(eager.weight_paths()) == list(compiled.weight_paths())
    pairs = zip(ours + eager.variables, theirs + compiled.variables, strict=True)
    for x, y in pairs:
        assert (x.device, x.dtype) == (y.device, y.dtype)
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_weights_and_slots_keep_their_dtype(name: str, dtype: str) -> None:
    w = edu.Variable(edu.ones((3,), dtype="float32").astype(dtype))
    optimizer = getattr(optimizers, name)(0.125, weight_decay=0.5, global_clipnorm=4.0)
    before = np.asarray(w.numpy(), float)
    edu.jit(lambda g: optimizer.apply([g], [w]))(edu.ones((3,)).astype(dtype))
    slots = [v for path, v in optimizer.weight_paths().items() if path.startswith("variable/")]
    assert {v.dtype.name for v in (w, *slots)} == {dtype}
    assert (np.asarray(w.numpy(), float) < before).all()


def test_weights_of_several_dtypes_each_take_the_step_of_theirs() -> None:
    weights = [edu.Variable(np.ones(2, dtype)) for dtype in ("float32", "float64", "float16")]
    optimizers.Nadam(0.001).apply([np.full(2, 0.5, w.dtype) for w in weights], weights)
    for weight, precision in zip(weights, (1e-7, 1e-15, 1e-3), strict=True):
        np.testing.assert_allclose(weight.numpy(), 1 - _nadam(0.5, 1), rtol=precision)


def test_a_step_is_not_recorded() -> None:
    seen = []

    class Watched(optimizers.Optimizer):
        def update(self, gradient: Any, weight: Any, slots: Any, factors: Any) -> Any:
            changed = weight - gradient
            seen.append(changed.requires_grad)
            return (changed,)

    w = edu.Variable([1.0, 2.0], requires_grad=True)
    with edu.GradientTape(persistent=True) as tape:
        loss = (w * w).sum()
        Watched(0.5).apply([edu.tensor([1.0, 1.0])], [w])
        after = (w * 3.0).sum()
    assert seen == [False]
    assert tape.gradient(loss, w).tolist() == [2.0, 4.0]
    assert tape.gradient(after, w).tolist() == [3.0, 3.0]


def test_an_optimizer_of_ones_own_states_slots_and_update() -> None:
    class Sum(optimizers.Optimizer):
        def slots(self) -> dict[str, float]:
            return {"total": 1.0}

        def update(self, gradient: Any, weight: Any, slots: Any, factors: Any) -> Any:
            (rate,), (total,) = factors, slots
            return weight - rate * total, total + gradient

    w, optimizer = edu.Variable([0.0], name="w"), Sum(0.5)
    for _ in range(3):
        optimizer.apply([[2.0]], [w])
    assert w.tolist() == [-0.5 * (1 + 3 + 5)]
    assert optimizer.weight_paths()["w/total"].tolist() == [7.0]
    assert optimizer.get_config()["learning_rate"] == 0.5


# The learning rate


def test_a_rate_is_set_without_compiling_again() -> None:
    w, optimizer = edu.Variable([0.0]), optimizers.SGD(0.5)
    step = edu.jit(lambda g: optimizer.apply([g], [w]))
    places = []
    for rate in (0.5, 0.25, edu.tensor(2.0), np.float32(1.0)):
        optimizer.learning_rate = rate
        step(edu.tensor([1.0]))
        places.append(w.item())
    assert places == [-0.5, -0.75, -2.75, -3.75]
    optimizer.learning_rate.assign(0.0)
    step(edu.tensor([1.0]))
    assert w.item() == -3.75
    assert step.cache_info().misses == 1


def test_a_rate_is_the_number_that_was_given() -> None:
    optimizer = optimizers.Adam(0.001)
    assert float(optimizer.learning_rate) == 0.001
    optimizer.learning_rate = 0.3
    assert optimizer.get_config()["learning_rate"] == 0.3


def test_a_rate_may_be_set_inside_of_a_compiled_step() -> None:
    w, optimizer = edu.Variable([0.0]), optimizers.SGD(0.5)

    @edu.jit
    def step(rate: edu.Tensor) -> None:
        optimizer.learning_rate = rate
        optimizer.apply([edu.tensor([1.0])], [w])

    step(edu.tensor(2.0))
    step(edu.tensor(3.0))
    assert (w.item(), float(optimizer.learning_rate)) == (-5.0, 3.0)


def test_a_function_of_the_step_is_a_schedule_too() -> None:
    w, optimizer = edu.Variable(np.zeros(1)), optimizers.SGD(lambda step: 0.1)
    optimizer.apply([np.ones(1)], [w])
    assert w.item() == -0.1


def test_a_schedule_is_asked_for_each_step() -> None:
    w = edu.Variable([0.0])
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 10.0, 100.0]))
    step = edu.jit(lambda g: optimizer.apply([g], [w]))
    places = []
    for _ in range(3):
        step(edu.tensor([1.0]))
        places.append(w.item())
    assert places == [-1.0, -11.0, -111.0]
    assert float(optimizer.learning_rate) == 100.0
    assert step.cache_info().misses == 1
    with pytest.raises(ArgumentError, match="SGD: its learning rate is PiecewiseConstantDecay"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = lambda step: 0.5 * step
    assert float(optimizer.learning_rate) == 1.5


# What is remembered


def test_slots_are_named_after_weights_and_what_they_are() -> None:
    optimizer = optimizers.Adam(amsgrad=True, use_ema=True)
    optimizer.build(_weights())
    kernel = ["kernel/momentum", "kernel/velocity", "kernel/velocity_hat", "kernel/average"]
    bias = [name.replace("kernel", "bias") for name in kernel]
    paths = optimizer.weight_paths()
    assert list(paths) == ["iterations", "learning_rate", *kernel, *bias]
    assert [v.name for v in optimizer.variables] == list(paths)
    assert not any(v.trainable for v in optimizer.variables)


def test_names_of_a_mapping_come_first_and_equal_ones_are_told_apart() -> None:
    one, two, three = (edu.Variable([1.0], name="kernel") for _ in range(3))
    optimizer = optimizers.Lion()
    optimizer.build({"encoder/kernel": one, "decoder/kernel": two})
    assert list(optimizer.weight_paths())[2:] == [
        "encoder/kernel/momentum",
        "decoder/kernel/momentum",
    ]
    other = optimizers.Lion()
    other.build([one, edu.Variable([1.0], name="kernel_1"), two, three, edu.Variable([1.0])])
    assert [path.partition("/")[0] for path in list(other.weight_paths())[2:]] == [
        "kernel",
        "kernel_1",
        "kernel_2",
        "kernel_3",
        "variable",
    ]


def test_everything_is_remembered_where_the_weights_are() -> None:
    inner = optimizers.Nadam(0.5)
    for optimizer in (inner, optimizers.LossScaleOptimizer(optimizers.SGD(0.5, momentum=0.5))):
        w = edu.Variable([1.0], device="xla")
        optimizer.build([w])
        edu.jit(lambda g, o=optimizer, w=w: o.apply([g], [w]))(edu.tensor([1.0], device="xla"))
        assert {v.device.name for v in optimizer.variables} == {"xla"}
        assert w.item() < 1.0
    assert float(inner.learning_rate) == 0.5


def test_slots_follow_the_shape_of_a_scalar_and_of_nothing() -> None:
    weights = [edu.Variable(2.0), edu.Variable(np.zeros((0, 3), "float32"))]
    optimizers.Adam(0.5, global_clipnorm=1.0).apply([0.25, np.zeros((0, 3), "float32")], weights)
    assert weights[0].item() == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_on_from_where_the_first_is(again: Callable[[Any], Any]) -> None:
    weights, optimizer = _weights(), optimizers.Adam(0.1)
    optimizer.apply(_gradients(), weights)
    copies, other = again((weights, optimizer))
    other.apply(_gradients(), copies)
    assert int(optimizer.iterations) == 1
    optimizer.apply(_gradients(), weights)
    assert _state(other, copies) == _state(optimizer, weights)


# What else a step does


def test_clipping_takes_what_is_too_long_to_its_length() -> None:
    gradients = [np.array([3.0, 4.0]), np.array([0.0, 12.0])]

    def taken(**settings: Any) -> list[list[float]]:
        weights = [edu.Variable(np.zeros(2)) for _ in gradients]
        optimizers.SGD(1.0, **settings).apply(gradients, weights)
        return [(-w.numpy()).round(12).tolist() for w in weights]

    assert taken(clipnorm=10.0) == [[3.0, 4.0], [0.0, 10.0]]
    assert taken(global_clipnorm=6.5) == [[1.5, 2.0], [0.0, 6.0]]
    assert taken(global_clipnorm=13.0) == [[3.0, 4.0], [0.0, 12.0]]
    assert taken(clipvalue=3.5) == [[3.0, 3.5], [0.0, 3.5]]
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        assert taken(**{name: np.inf}) == [[3.0, 4.0], [0.0, 12.0]]


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_clipping_hides_nothing_that_is_not_finite(clip: str) -> None:
    w = edu.Variable([0.0, 0.0])
    with np.errstate(all="ignore"):
        optimizers.SGD(1.0, **{clip: 1.0}).apply([[np.inf, 1.0]], [w])
    assert np.isnan(w.numpy()).all()


def test_no_gradient_at_all_is_not_divided_by() -> None:
    w = edu.Variable([1.0, 2.0])
    with np.errstate(all="raise"):
        optimizers.SGD(1.0, global_clipnorm=1.0).apply([[0.0, 0.0]], [w])
    assert w.tolist() == [1.0, 2.0]


def test_some_weights_are_left_out_of_the_decay() -> None:
    kernel, bias, scale = (edu.Variable([1.0], name=n) for n in ("dense/kernel", "dense/bias", "s"))
    optimizer = optimizers.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([scale], ["bias"])
    optimizer.apply([[0.0]] * 3, [kernel, bias, scale])
    assert [w.item() for w in (kernel, bias, scale)] == [0.75, 1.0, 1.0]
    with pytest.raises(ArgumentError, match="comes before the first step"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_averages_start_at_the_weight_and_replace_it_in_the_end() -> None:
    w = edu.Variable([0.0], name="w")
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    averages = []
    for _ in range(3):
        optimizer.apply([[-1.0]], [w])
        averages.append(optimizer.weight_paths()["w/average"].item())
    assert averages == [1.0, 1.5, 2.25]
    assert w.item() == 3.0
    optimizer.finalize_variable_values([w])
    assert w.item() == 2.25


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_become_their_averages_every_few_steps(compiled: bool) -> None:
    w = edu.Variable([0.0])
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    step: Any = lambda g: optimizer.apply([g], [w])
    run = edu.jit(step) if compiled else step
    places = []
    for _ in range(4):
        run(edu.tensor([-1.0]))
        places.append(w.item())
    # The averages are 1, (1 + 2) / 2, (1.5 + 2.5) / 2 and (2 + 3.5) / 2.
    assert places == [1.0, 1.5, 2.5, 2.75]


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_averaged_before_a_step(compiled: bool) -> None:
    w = edu.Variable([0.0])
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=3, clipvalue=2.0)
    step: Any = lambda g: optimizer.apply([g], [w])
    run = edu.jit(step) if compiled else step
    places, counts = [], []
    for gradient in (-1.0, -2.0, -6.0, -3.0, 0.0, 0.0):
        run(edu.tensor([gradient]))
        places.append(w.item())
        counts.append(int(optimizer.iterations))
    assert places == [0.0, 0.0, 2.0, 2.0, 2.0, 3.0]
    assert counts == [0, 0, 1, 1, 1, 2]


def test_constraints_come_last() -> None:
    w = edu.Variable([1.0, 1.0])
    w.constraint = edu.constraints.NonNeg()
    edu.jit(lambda g: optimizers.SGD(1.0).apply([g], [w]))(edu.tensor([3.0, 0.5]))
    assert w.tolist() == [0.0, 0.5]


def test_a_scaled_loss_takes_the_same_step() -> None:
    w = edu.Variable([3.0])
    optimizer = optimizers.SGD(0.5, loss_scale_factor=1024.0)
    with edu.GradientTape() as tape:
        loss = optimizer.scale_loss((w * w).sum())
    assert loss.item() == 9216.0
    optimizer.apply(tape.gradient(loss, [w]), [w])
    assert w.item() == 0.0


# What is refused, and leaves everything as it was

REFUSED: list[tuple[Callable[[list[Any], list[Any]], Any], type[Exception], str]] = [
    (lambda g, w: ([None, None], w), GradientError, r"none of the variables has .*kernel, bias"),
    (lambda g, w: ([g[0], g[0]], w), ShapeError, r"gradient of bias has shape \(2, 2\), and bias"),
    (lambda g, w: ([g[0], g[1].astype("float64")], w), DtypeError, "gradient of bias is float64"),
    (lambda g, w: (g[:1], w), ArgumentError, "1 gradients do not fit 2 variables"),
    (lambda g, w: (g, [w[0], w[0]]), ArgumentError, "a Variable is there twice"),
    (lambda g, w: (g, [w[0], 3.0]), DtypeError, r"variables\[1\] is no Variable, but 3.0"),
]


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(
    built: bool, change: Any, error: type[Exception], message: str
) -> None:
    weights, optimizer = _weights(), optimizers.Adam(0.1)
    if built:
        optimizer.apply(_gradients(), weights)
    before = _state(optimizer, weights)
    for run in (optimizer, optimizers.LossScaleOptimizer(optimizer)):
        with pytest.raises(error, match=message):
            run.apply(*change(_gradients(), weights))
    assert (optimizer.built, _state(optimizer, weights)) == (built, before)


def test_a_weight_that_was_not_there_is_refused_by_name() -> None:
    optimizer = optimizers.Adam()
    weights = _weights()
    optimizer.apply(_gradients(), weights)
    before = _state(optimizer, weights)
    with pytest.raises(ArgumentError, match="built without new; it knows kernel, bias"):
        optimizer.apply([*_gradients(), [1.0]], [*weights, edu.Variable([1.0], name="new")])
    assert _state(optimizer, weights) == before


def test_weights_without_a_gradient_stay_with_a_warning() -> None:
    weights, optimizer = _weights(), optimizers.Adam(0.5)
    before = weights[1].tolist()
    with pytest.warns(UserWarning, match="Adam: no gradient for bias: left as they are"):
        optimizer.apply_gradients(zip([_gradients()[0], None], weights, strict=True))
    assert weights[1].tolist() == before
    assert weights[0].tolist() != _weights()[0].tolist()


def test_variables_are_known_from_the_first_step_on() -> None:
    weights, optimizer = _weights(), optimizers.SGD(1.0)
    with pytest.raises(ArgumentError, match="SGD: was not built"):
        optimizer.apply(_gradients())
    assert (
        optimizer.apply_gradients(zip(_gradients(), weights, strict=True)) is optimizer.iterations
    )
    optimizer.apply(_gradients())
    assert int(optimizer.iterations) == 2
    optimizer.apply(_gradients()[1:], weights[1:])
    expected = [w - n * g for w, g, n in zip(_weights(), _gradients(), (2, 3), strict=True)]
    assert [w.tolist() for w in weights] == [w.tolist() for w in expected]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: optimizers.SGD("fast"),
            ArgumentError,
            "SGD: learning_rate is a number from 0 on, not 'fast'",
        ),
        (
            lambda: optimizers.SGD(True),
            ArgumentError,
            "SGD: learning_rate is a number from 0 on, not True",
        ),
        (lambda: optimizers.SGD(-0.1), ArgumentError, "SGD: learning_rate is a .* on, not -0.1"),
        (lambda: optimizers.SGD(np.nan), ArgumentError, "learning_rate is a .* on, not nan"),
        (
            lambda: setattr(optimizers.SGD(), "learning_rate", -1),
            ArgumentError,
            "SGD: learning_rate is a number from 0 on, not -1",
        ),
        (
            lambda: optimizers.SGD(momentum=2),
            ArgumentError,
            r"SGD: momentum is a number in \[0, 1\], not 2",
        ),
        (
            lambda: optimizers.Adam(beta_1=-0.1),
            ArgumentError,
            r"Adam: beta_1 is a number in \[0, 1\), not -0.1",
        ),
        (lambda: optimizers.Adam(beta_1=1), ArgumentError, r"beta_1 is .* \[0, 1\), not 1"),
        (lambda: optimizers.AdamW(beta_2=1.0), ArgumentError, r"AdamW: beta_2 is .* not 1.0"),
        (lambda: optimizers.Nadam(beta_2=1.0), ArgumentError, r"Nadam: beta_2 is .* not 1.0"),
        (lambda: optimizers.Adamax(beta_1=1.0), ArgumentError, r"Adamax: beta_1 is .* not 1.0"),
        (
            lambda: optimizers.AdamW(weight_decay=None),
            ArgumentError,
            "AdamW: weight_decay is a number from 0 on, not None",
        ),
        (
            lambda: optimizers.SGD(clipnorm=0.0),
            ArgumentError,
            "SGD: clipnorm is a number above 0, not 0.0",
        ),
        (lambda: optimizers.SGD(weight_decay=-1.0), ArgumentError, "weight_decay is .* not -1.0"),
        (
            lambda: optimizers.RMSprop(epsilon=-1e-7),
            ArgumentError,
            "RMSprop: epsilon is a number from 0 on, not -1e-07",
        ),
        (
            lambda: optimizers.Adagrad(initial_accumulator_value=-0.1),
            ArgumentError,
            "Adagrad: initial_accumulator_value is a number from 0 on, not -0.1",
        ),
        (
            lambda: optimizers.LossScaleOptimizer("sgd", initial_scale=0),
            ArgumentError,
            "LossScaleOptimizer: initial_scale is a number above 0, not 0",
        ),
        (
            lambda: optimizers.LossScaleOptimizer("sgd", dynamic_growth_steps=0),
            ArgumentError,
            "LossScaleOptimizer: dynamic_growth_steps is an integer from 1 on, not 0",
        ),
        (
            lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0),
            ArgumentError,
            "clipnorm and clipvalue exclude each other",
        ),
        (
            lambda: optimizers.SGD(loss_scale_factor=0),
            ArgumentError,
            "loss_scale_factor is .* above 0, not 0",
        ),
        (lambda: optimizers.SGD(weight_decay="x"), ArgumentError, "weight_decay is .* on, not 'x'"),
        (lambda: optimizers.SGD(ema_momentum=1.5), ArgumentError, "ema_momentum is .* not 1.5"),
        (
            lambda: optimizers.SGD(gradient_accumulation_steps=1),
            ArgumentError,
            "gradient_accumulation_steps is an integer from 2 on, not 1",
        ),
        (
            lambda: optimizers.SGD(ema_overwrite_frequency=0.5),
            ArgumentError,
            "ema_overwrite_frequency is an integer from 1 on, not 0.5",
        ),
        (lambda: optimizers.SGD(clipnrom=1.0), TypeError, "clipnrom"),
        (
            lambda: optimizers.LossScaleOptimizer(optimizers.LossScaleOptimizer("sgd")),
            ArgumentError,
            "scales the loss already",
        ),
        (lambda: optimizers.LossScaleOptimizer("sdg"), ArgumentError, "did you mean 'sgd'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


# Loss scaling


def test_gradients_that_float16_would_lose_arrive(device: str) -> None:
    x = edu.tensor(2.0**-14, "float16")

    def trained(optimizer: optimizers.Optimizer) -> float:
        w = edu.Variable(0.0)

        @edu.jit
        def step() -> None:
            with edu.GradientTape() as tape:
                loss = optimizer.scale_loss(w.astype("float16") * x * x)
            optimizer.apply(tape.gradient(loss, [w]), [w])

        step()
        return w.item()

    # float16 ends at 2**-24.
    assert trained(optimizers.SGD(1.0)) == 0.0
    assert trained(optimizers.LossScaleOptimizer(optimizers.SGD(1.0))) == -(2.0**-28)


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_that_are_not_finite_are_left_out_and_halve_the_scale(compiled: bool) -> None:
    w = edu.Variable([0.0], name="w")
    optimizer = optimizers.LossScaleOptimizer(
        optimizers.SGD(1.0, momentum=0.5), initial_scale=8.0, dynamic_growth_steps=2
    )
    step: Any = lambda g: optimizer.apply([g], [w])
    run = edu.jit(step) if compiled else step
    seen = []
    for gradient in (-8.0, np.inf, -4.0, -4.0, np.nan, -4.0):
        run(edu.tensor([gradient]))
        seen.append((w.item(), float(optimizer.dynamic_scale), int(optimizer.iterations)))
    assert seen == [
        (1.0, 8.0, 1),
        (1.0, 4.0, 1),
        (2.5, 4.0, 2),
        (4.25, 8.0, 3),
        (4.25, 4.0, 3),
        (6.125, 4.0, 4),
    ]


def test_a_scale_never_goes_where_it_could_not_come_back_from() -> None:
    w = edu.Variable([0.0])
    optimizer = optimizers.LossScaleOptimizer("sgd", dynamic_growth_steps=1)
    step = edu.jit(lambda g: optimizer.apply([g], [w]))
    for gradient, limit in ((np.nan, 2.0**-100), (0.0, 2.0**100)):
        for _ in range(250):
            step(edu.tensor([gradient]))
        assert float(optimizer.dynamic_scale) == limit


def test_loss_scaling_shows_the_inner_optimizers_state() -> None:
    weights, inner = _weights(), optimizers.Adam(0.5, use_ema=True)
    outer = optimizers.LossScaleOptimizer(inner)
    outer.exclude_from_weight_decay(var_names=["bias"])
    assert not outer.built
    outer.build(weights)
    assert outer.built
    paths = ["step_counter", "dynamic_scale", *inner.weight_paths()]
    assert list(outer.weight_paths()) == paths
    outer.learning_rate = 0.25
    assert float(inner.learning_rate) == 0.25
    assert outer.apply_gradients(zip(_gradients(), weights, strict=True)) is inner.iterations
    outer.finalize_variable_values()
    assert weights[0].tolist() == inner.weight_paths()["kernel/average"].tolist()


# The compiled program


def test_adam_is_twelve_passes_over_a_weight() -> None:
    w = edu.Variable(np.ones((8, 4), "float32"))
    optimizer = optimizers.Adam()
    step = edu.jit(lambda g: optimizer.apply([g], [w]))
    graph = step.trace(edu.ones((8, 4)))
    # `assigned` stands for reading what was assigned, and computes nothing.
    passes = [
        e for e in graph.equations if e.outputs[0].shape == (8, 4) and e.op.name != "assigned"
    ]
    assert len(passes) == 12
