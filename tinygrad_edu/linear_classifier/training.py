"""The linear classifier, trained: `points @ W + b` comes close to 0 for one class, 1 for the other.

This is the native engine as a user meets it: two Variables, a tape, and gradient descent. What
comes out are plain NumPy arrays, so that nothing after it needs the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import tinygrad_edu as edu

from ..backends import Device
from ..errors import Error
from .data import Dataset


class DivergenceError(Error, ArithmeticError):
    """The loss ran off to infinity; the message names the step and what to try."""


@dataclass(frozen=True, eq=False)
class Result:
    """A trained classifier. Its predictions above 0.5 mean the second class."""

    weights: NDArray[np.float32]  # (features, 1)
    bias: NDArray[np.float32]  # (1,)
    losses: list[float]  # at each step, before its update
    predictions: NDArray[np.float32]  # (n, 1), with the weights above
    accuracy: float  # the share of the predictions on the right side of 0.5


def train(
    dataset: Dataset,
    *,
    device: str | Device,
    steps: int = 40,
    learning_rate: float = 0.1,
    seed: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Result:
    """Gradient descent on the mean squared error over all points at once.

    `on_step` is called after each step with its number, from 1, and its loss.
    Raises DivergenceError when the loss is no longer finite.
    """
    features = len(dataset.features)
    start = np.random.default_rng(seed).uniform(size=(features, 1)).astype(np.float32)
    losses: list[float] = []
    # Numbers that overflow are reported below, once, and not by NumPy's warnings as well.
    with edu.device(device), np.errstate(over="ignore", invalid="ignore"):
        points, labels = edu.tensor(dataset.points), edu.tensor(dataset.labels)
        W, b = edu.Variable(start), edu.Variable(edu.zeros(1))
        for step in range(1, steps + 1):
            with edu.GradientTape() as tape:
                predictions = edu.matmul(points, W) + b
                loss = edu.ops.mean(edu.ops.square(predictions - labels))
            dW, db = tape.gradient(loss, [W, b])
            W.assign_sub(learning_rate * dW)
            b.assign_sub(learning_rate * db)

            losses.append(float(loss))
            _check_finite(losses[-1], step, learning_rate)
            on_step(step, losses[-1])
        predictions = edu.matmul(points, W) + b
        _check_finite(predictions.numpy(), steps, learning_rate)
    return Result(
        weights=W.numpy(),
        bias=b.numpy(),
        losses=losses,
        predictions=predictions.numpy(),
        accuracy=float(np.mean((predictions.numpy() > 0.5) == (dataset.labels > 0.5))),
    )


def _check_finite(values: float | NDArray[np.float32], step: int, learning_rate: float) -> None:
    if not np.isfinite(values).all():
        raise DivergenceError(
            f"the loss is no longer finite at step {step}: a learning rate of {learning_rate:g} "
            f"is too large here, try {min(learning_rate / 10, 0.1):g}"
        )


def equation(dataset: Dataset, result: Result) -> str:
    """The line (plane, for three features) between the classes, in the units the data came in.

    Such as "0.123 * x - 0.456 * y + 0.789 = 0.5"; the second class is where the left side is more.
    """
    slopes = result.weights[:, 0] / dataset.scale
    constant = result.bias[0] - slopes @ dataset.mean
    terms = [f"{slope:.4g} * {name}" for slope, name in zip(slopes, dataset.features, strict=True)]
    return " + ".join([*terms, f"{constant:.4g}"]).replace(" + -", " - ") + " = 0.5"
