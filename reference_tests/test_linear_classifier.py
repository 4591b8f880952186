"""The linear classifier, trained from the same weights by TensorFlow, PyTorch, JAX, NumPy with the
gradient worked out by hand, and tinygrad_edu in its three styles on two devices.

Each program is written as a user of that framework would write it. All must tell the same story:
the loss at each of 40 steps, and the weights at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_edu as edu

from .frameworks import FRAMEWORKS

tf, torch, jax = (FRAMEWORKS[name].module for name in ("tensorflow", "torch", "jax"))

STEPS = 40
RATE = 0.1

# How far float32 may be from the same program in float64, in units of its precision. A loss is the
# sum of n = 2,000 squares: its rounding errors add up like a random walk, to about sqrt(n) = 45. A
# gradient is such a sum too, of terms of both signs divided by n; a tenth of it goes into weights
# that are below 1, and gradient descent, a contraction, forgets the errors of earlier steps.
LOSS_UNITS = 45  # relative
WEIGHT_UNITS = 1  # absolute
FLOAT64_TOLERANCE = 1e-12


class Data(NamedTuple):
    points: np.ndarray  # (2000, 2)
    labels: np.ndarray  # (2000, 1)
    W: np.ndarray  # (2, 1), to start from
    b: np.ndarray  # (1,)


class Run(NamedTuple):
    losses: list[float]
    W: np.ndarray
    b: np.ndarray


@cache
def data(dtype: str) -> Data:
    """The two clouds of points and the weights; in float64 the same numbers as in float32."""
    generator = np.random.default_rng(0)
    covariance = [[1, 0.5], [0.5, 1]]
    negative = generator.multivariate_normal([0, 3], covariance, 1000)
    positive = generator.multivariate_normal([3, 0], covariance, 1000)
    points = np.concatenate([negative, positive])
    labels = np.repeat([[0.0], [1.0]], 1000, axis=0)
    W = generator.uniform(size=(2, 1))
    return Data(*(a.astype("float32").astype(dtype) for a in (points, labels, W, np.zeros(1))))


def in_numpy(given: Data) -> Run:
    points, labels, W, b = given
    losses = []
    for _ in range(STEPS):
        error = points @ W + b - labels
        losses.append(float(np.mean(error * error)))
        slope = error * (2 / len(points))
        W = W - RATE * (points.T @ slope)
        b = b - RATE * slope.sum(axis=0)
    return Run(losses, W, b)


def in_tensorflow(given: Data) -> Run:
    points, labels = tf.constant(given.points), tf.constant(given.labels)
    W, b = tf.Variable(given.W), tf.Variable(given.b)
    losses = []
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            predictions = tf.matmul(points, W) + b
            loss = tf.reduce_mean(tf.square(predictions - labels))
        grad_W, grad_b = tape.gradient(loss, [W, b])
        W.assign_sub(RATE * grad_W)
        b.assign_sub(RATE * grad_b)
        losses.append(float(loss))
    return Run(losses, W.numpy(), b.numpy())


def in_torch(given: Data) -> Run:
    points, labels = torch.tensor(given.points), torch.tensor(given.labels)
    W, b = torch.tensor(given.W, requires_grad=True), torch.tensor(given.b, requires_grad=True)
    losses = []
    for _ in range(STEPS):
        loss = torch.mean(torch.square(points @ W + b - labels))
        W.grad = b.grad = None
        loss.backward()
        with torch.no_grad():
            W -= RATE * W.grad
            b -= RATE * b.grad
        losses.append(loss.item())
    return Run(losses, W.detach().numpy(), b.detach().numpy())


def in_jax(given: Data) -> Run:
    def loss_of(parameters: Any, points: Any, labels: Any) -> Any:
        W, b = parameters
        return jax.numpy.mean(jax.numpy.square(points @ W + b - labels))

    with jax.enable_x64(True):
        points, labels, W, b = map(jax.numpy.array, given)
        losses = []
        for _ in range(STEPS):
            loss, (grad_W, grad_b) = jax.value_and_grad(loss_of)((W, b), points, labels)
            W, b = W - RATE * grad_W, b - RATE * grad_b
            losses.append(float(loss))
        return Run(losses, np.array(W), np.array(b))


def in_tape_style(given: Data) -> Run:
    points, labels = edu.tensor(given.points), edu.tensor(given.labels)
    W, b = edu.Variable(given.W), edu.Variable(given.b)
    losses = []
    for _ in range(STEPS):
        with edu.GradientTape() as tape:
            predictions = points @ W + b
            loss = edu.ops.mean(edu.ops.square(predictions - labels))
        grad_W, grad_b = tape.gradient(loss, [W, b])
        W.assign_sub(RATE * grad_W)
        b.assign_sub(RATE * grad_b)
        losses.append(float(loss))
    return Run(losses, W.numpy(), b.numpy())


def in_backward_style(given: Data) -> Run:
    points, labels = edu.tensor(given.points), edu.tensor(given.labels)
    W = edu.tensor(given.W, requires_grad=True)
    b = edu.tensor(given.b, requires_grad=True)
    losses = []
    for _ in range(STEPS):
        loss = edu.ops.mean_squared_error(labels, points @ W + b)
        loss.backward()
        assert W.grad is not None
        assert b.grad is not None
        with edu.no_grad():
            new_W, new_b = W - RATE * W.grad, b - RATE * b.grad
        W, b = edu.tensor(new_W, requires_grad=True), edu.tensor(new_b, requires_grad=True)
        losses.append(loss.item())
    return Run(losses, W.numpy(), b.numpy())


def in_functional_style(given: Data) -> Run:
    points, labels = edu.tensor(given.points), edu.tensor(given.labels)

    def loss_of(parameters: dict[str, edu.Tensor]) -> edu.Tensor:
        return ((points @ parameters["W"] + parameters["b"] - labels) ** 2).mean()

    parameters = {"W": edu.tensor(given.W), "b": edu.tensor(given.b)}
    losses = []
    for _ in range(STEPS):
        loss, gradients = edu.value_and_grad(loss_of)(parameters)
        parameters = {name: parameters[name] - RATE * gradients[name] for name in parameters}
        losses.append(float(loss))
    return Run(losses, parameters["W"].numpy(), parameters["b"].numpy())


THEIRS = {"numpy": in_numpy, "tensorflow": in_tensorflow, "torch": in_torch, "jax": in_jax}
OURS = {"tape": in_tape_style, "backward": in_backward_style, "functional": in_functional_style}
PROGRAMS: list[Any] = [pytest.param(program, "numpy", id=name) for name, program in THEIRS.items()]
PROGRAMS += [
    pytest.param(program, device, id=f"{name}-on-{device}")
    for name, program in OURS.items()
    for device in ("numpy", "xla")
]


@cache
def trained(program: Callable[[Data], Run], device: str, dtype: str) -> Run:
    with edu.device(device):
        return program(data(dtype))


@pytest.mark.parametrize(("program", "device"), PROGRAMS)
def test_float64_agrees_to_1e_12(program: Callable[[Data], Run], device: str) -> None:
    expected, found = in_numpy(data("float64")), trained(program, device, "float64")
    assert found.W.dtype == found.b.dtype == "float64"
    np.testing.assert_allclose(found.losses, expected.losses, rtol=0, atol=FLOAT64_TOLERANCE)
    np.testing.assert_allclose(found.W, expected.W, rtol=0, atol=FLOAT64_TOLERANCE)
    np.testing.assert_allclose(found.b, expected.b, rtol=0, atol=FLOAT64_TOLERANCE)


@pytest.mark.parametrize(("program", "device"), PROGRAMS)
def test_float32_agrees_to_rounding(program: Callable[[Data], Run], device: str) -> None:
    expected, found = in_numpy(data("float64")), trained(program, device, "float32")
    assert found.W.dtype == found.b.dtype == "float32"
    unit = float(np.finfo("float32").eps)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=LOSS_UNITS * unit, atol=0)
    np.testing.assert_allclose(found.W, expected.W, rtol=0, atol=WEIGHT_UNITS * unit)
    np.testing.assert_allclose(found.b, expected.b, rtol=0, atol=WEIGHT_UNITS * unit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_our_three_styles_give_the_same_bits(dtype: str) -> None:
    for device in ("numpy", "xla"):
        runs = [trained(program, device, dtype) for program in OURS.values()]
        for run in runs[1:]:
            assert run.losses == runs[0].losses
            np.testing.assert_array_equal(run.W, runs[0].W)


def test_the_loss_falls_at_every_step_and_ends_near_a_fortieth() -> None:
    losses = trained(in_tape_style, "numpy", "float32").losses
    assert losses[-1] == pytest.approx(0.025, abs=0.005)  # which W was drawn matters that much
    assert losses == sorted(losses, reverse=True)
