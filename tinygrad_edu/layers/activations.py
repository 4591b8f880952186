"""Activations by name, as layers take them: functions of a Tensor, most of them of `edu.ops`. And
as layers. Names, arguments and formulas are Keras's; "gelu" is the exact one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import dtypes, ops, registry
from ..arguments import Axis, normalize_axes, not_negative, number
from ..conversion import as_tensor
from ..tensors import Tensor, TensorLike
from . import arguments
from .base import InputSpec, Layer, Shape

__all__ = [
    "ELU",
    "Activation",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "Softmax",
    "get",
    "linear",
    "rectified",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
]


def get(given: Any) -> Callable[[Any], Any]:
    """The activation that a name, a layer, a class or a function stands for; None is `linear`.

    Raises ArgumentError for an unknown name, with those close to it.

    >>> get("ReLU")([-1.0, 2.0])
    Tensor([0., 2.], dtype=float32)
    >>> get("tahn")
    Traceback (most recent call last):
    tinygrad_edu.errors.ArgumentError: activation: no 'tahn'; did you mean 'tanh'?
    """
    if given is None:
        return linear
    found: Callable[[Any], Any] = registry.lookup("activation", given, _TABLE)
    return found


def linear(x: Any, /) -> Any:
    """x as it is."""
    return x


def rectified(
    x: TensorLike,
    /,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """x from `threshold` up to `max_value`, which is the most; below, (x - threshold) times the
    slope.

    >>> rectified([-2.0, 0.5, 1.5, 9.0], negative_slope=0.1, max_value=6.0, threshold=1.0)
    Tensor([-0.3 , -0.05,  1.5 ,  6.  ], dtype=float32)
    """
    x = as_tensor(x)
    if threshold == 0:
        found = ops.leaky_relu(x, negative_slope) if negative_slope else ops.relu(x)
    else:
        found = ops.where(x > threshold, x, (x - threshold) * negative_slope)
    return found if max_value is None else ops.minimum(found, max_value)


def squareplus(x: TensorLike, /, b: float = 4.0) -> Tensor:
    """(x + sqrt(x * x + b)) / 2: smooth, close to x where it is large, and to 0 where -x is."""
    x = as_tensor(x)
    return (x + ops.sqrt(ops.square(x) + b)) / 2


def sparse_plus(x: TensorLike, /) -> Tensor:
    """0 up to -1, x from 1 on, and (x + 1)**2 / 4 between."""
    x = as_tensor(x)
    return ops.where(x < 1, ops.square(ops.relu(x + 1)) / 4, x)


def sparse_sigmoid(x: TensorLike, /) -> Tensor:
    """0 up to -1, 1 from 1 on, and (x + 1) / 2 between: the slope of `sparse_plus`."""
    return ops.clip((as_tensor(x) + 1) / 2, 0.0, 1.0)


def sparsemax(x: TensorLike, /, axis: int = -1) -> Tensor:
    """The point nearest to x whose numbers are not negative and have the sum 1 along an axis.

    Source: A. Martins, R. Astudillo, From softmax to sparsemax, arXiv:1602.02068.

    >>> sparsemax([0.5, 0.0, -3.0]).tolist()
    [0.75, 0.25, 0.0]
    """
    x = ops.moveaxis(as_tensor(x), axis, -1)
    falling = ops.sort(x, descending=True)
    counts = ops.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    within = falling * counts + 1 > ops.cumulative_sum(falling, axis=-1)
    support = ops.sum(ops.astype(within, x.dtype), axis=-1, keepdims=True)
    above = (ops.sum(ops.where(within, falling, 0.0), axis=-1, keepdims=True) - 1) / support
    return ops.moveaxis(ops.relu(x - above), -1, axis)


_TABLE: dict[str, Any] = {
    "celu": ops.celu,
    "elu": ops.elu,
    "exponential": ops.exp,
    "gelu": partial(ops.gelu, approximate=False),
    "glu": ops.glu,
    "hard_shrink": ops.hard_shrink,
    "hard_sigmoid": ops.hard_sigmoid,
    "hard_silu": ops.hard_silu,
    "hard_swish": ops.hard_swish,
    "hard_tanh": ops.hard_tanh,
    "leaky_relu": ops.leaky_relu,
    "linear": linear,
    "log_sigmoid": ops.log_sigmoid,
    "log_softmax": ops.log_softmax,
    "mish": ops.mish,
    "relu": ops.relu,
    "relu6": ops.relu6,
    "selu": ops.selu,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "soft_shrink": ops.soft_shrink,
    "softmax": ops.softmax,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": sparse_sigmoid,
    "sparsemax": sparsemax,
    "squareplus": squareplus,
    "swish": ops.swish,
    "tanh": ops.tanh,
    "tanh_shrink": ops.tanh_shrink,
}


class Activation(Layer):
    """An activation as a layer: a name, a function, or another layer.

    >>> Activation("relu")([-1.0, 2.0])
    Tensor([0., 2.], dtype=float32)
    """

    supports_masking = True

    def __init__(self, activation: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.activation = arguments.found("Activation", "activation", get, activation)

    def call(self, inputs: Tensor) -> Any:
        return self.activation(inputs)


class ReLU(Layer):
    """inputs from `threshold` up to `max_value`; below, (inputs - threshold) * negative_slope."""

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.max_value = None if max_value is None else not_negative("ReLU", "max_value", max_value)
        self.negative_slope = not_negative("ReLU", "negative_slope", negative_slope)
        self.threshold = not_negative("ReLU", "threshold", threshold)

    def call(self, inputs: Tensor) -> Tensor:
        return rectified(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(Layer):
    """inputs where they are positive, else inputs * negative_slope."""

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **settings: Any) -> None:
        super().__init__(**settings)
        self.negative_slope = not_negative("LeakyReLU", "negative_slope", negative_slope)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.leaky_relu(inputs, self.negative_slope)


class PReLU(Layer):
    """LeakyReLU with a slope that is learned, for each place of an example; one for all along
    `shared_axes`.

    Weight: alpha, of an example's shape, with 1 along the shared axes.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._alpha = arguments.weight("PReLU", "alpha", locals())
        self.shared_axes = (
            [shared_axes] if isinstance(shared_axes, int) else list(shared_axes or ())
        )

    def build(self, input_shape: Shape) -> None:
        shared = normalize_axes("PReLU", self.shared_axes, len(input_shape))
        own = [axis for axis in range(1, len(input_shape)) if axis not in shared]
        sizes = {axis: arguments.known_size("PReLU", input_shape, axis) for axis in own}
        shape = [sizes.get(axis, 1) for axis in range(1, len(input_shape))]
        self.alpha = self.add_weight(name="alpha", shape=shape, **self._alpha)
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.relu(inputs) - self.alpha * ops.relu(-inputs)


class ELU(Layer):
    """inputs where they are positive, else alpha * (exp(inputs) - 1)."""

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.alpha = number("ELU", "alpha", alpha)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.elu(inputs, self.alpha)


class Softmax(Layer):
    """exp(inputs) along an axis, or several, scaled to the sum 1. Where `mask` is False the result
    is 0."""

    supports_masking = True

    def __init__(self, axis: Axis = -1, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return ops.softmax(inputs, self.axis)
        lowest = -3e4 if dtypes.is_half(inputs.dtype) else -1e9
        return ops.where(mask, ops.softmax(ops.where(mask, inputs, lowest), self.axis), 0.0)
