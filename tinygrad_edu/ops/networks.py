"""Functions that networks are made of, made of other operations."""

from __future__ import annotations

from .. import tensors
from ..errors import ShapeError
from ..op import Axis, normalize_axes
from ..tensors import Tensor, TensorLike
from .elementwise import exp, log, square, stop_gradient, where
from .reduction import as_float, max, mean, sum

__all__ = [
    "log_softmax",
    "mean_squared_error",
    "relu",
    "softmax",
]


def relu(x: TensorLike, /) -> Tensor:
    """x where it is positive, else 0. The gradient at 0 is 0, as in all three frameworks.

    >>> relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.], dtype=float32)
    """
    x = tensors.as_tensor(x)
    return where(x <= 0, 0, x)  # this way round, NaN stays NaN


def softmax(x: TensorLike, /, *, axis: Axis = -1) -> Tensor:
    """exp(x) along axes, scaled to the sum 1.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5], dtype=float32)
    """
    x, axes = _shifted("softmax", x, axis)
    powers = exp(x)
    return powers / sum(powers, axis=axes, keepdims=True)


def log_softmax(x: TensorLike, /, *, axis: Axis = -1) -> Tensor:
    """The logarithm of `softmax`, accurate where that is close to 0.

    >>> log_softmax([0.0, -200.0])
    Tensor([   0., -200.], dtype=float32)
    """
    x, axes = _shifted("log_softmax", x, axis)
    return x - log(sum(exp(x), axis=axes, keepdims=True))


def mean_squared_error(y_true: TensorLike, y_pred: TensorLike, /) -> Tensor:
    """The mean of (y_true - y_pred) squared over all elements. The shapes must be equal: here
    broadcasting is nearly always a mistake.

    >>> mean_squared_error([0.0, 1.0], [0.0, 3.0])
    Tensor(2., dtype=float32)
    """
    y_true, y_pred = tensors.as_tensors(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"mean_squared_error: targets of shape {y_true.shape} and predictions of shape "
            f"{y_pred.shape} must have the same shape; use reshape"
        )
    return mean(square(y_true - y_pred))


def _shifted(name: str, x: TensorLike, axis: Axis) -> tuple[Tensor, tuple[int, ...]]:
    """x less its maximum along the axes, so that no power overflows."""
    x = as_float(x)
    axes = normalize_axes(name, axis, x.ndim)
    top = stop_gradient(max(x, axis=axes, keepdims=True))
    return x - top, axes
