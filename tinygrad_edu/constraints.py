"""Constraints: what weights are made to be after each update. Names and defaults are Keras's.

A constraint is called with a weight and gives the weight as it is to be. `axis` says along which
axes a norm is taken: 0 for the weights into each unit of a Dense layer, (0, 1, 2) for those into
each filter of a two-dimensional convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import ops, registry
from .arguments import not_negative, number, share
from .conversion import as_tensor
from .errors import undefined
from .tensors import Tensor, TensorLike

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "get"]

Axis = int | Sequence[int]

_SMALL = 1e-7
"""Added to norms that are divided by; Keras's `epsilon()`."""


class Constraint(registry.Configured):
    """A base for constraints: write `__call__(weight)`. Any function of a weight is one too."""

    def __call__(self, weight: TensorLike) -> Tensor:
        """The weight as it is to be, of the same shape and dtype."""
        raise undefined(self, "__call__(self, weight)")


def get(given: Any) -> Any:
    """The constraint that a name, a class, an instance or a function stands for; None for None.

    >>> get("non_neg")
    NonNeg()
    """
    return None if given is None else registry.lookup("constraint", given, _TABLE)


class NonNeg(Constraint):
    """No weight is below 0.

    >>> NonNeg()([1.0, -2.0])
    Tensor([1., 0.], dtype=float32)
    """

    def __call__(self, weight: TensorLike) -> Tensor:
        return ops.maximum(weight, 0.0)


class UnitNorm(Constraint):
    """Norms are 1.

    >>> UnitNorm()([3.0, 4.0])
    Tensor([0.6, 0.8], dtype=float32)
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, weight: TensorLike) -> Tensor:
        return as_tensor(weight) / (_norms(weight, self.axis) + _SMALL)


class MaxNorm(Constraint):
    """Norms are at most `max_value`."""

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value = not_negative("MaxNorm", "max_value", max_value)
        self.axis = axis

    def __call__(self, weight: TensorLike) -> Tensor:
        norms = _norms(weight, self.axis)
        return as_tensor(weight) * (ops.minimum(norms, self.max_value) / (norms + _SMALL))


class MinMaxNorm(Constraint):
    """Norms come into the range from `min_value` to `max_value`: all of the way, or the share
    `rate` of it."""

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0
    ) -> None:
        self.min_value = least = not_negative("MinMaxNorm", "min_value", min_value)
        most = f"a number from min_value, {least:g}, on"
        self.max_value = number("MinMaxNorm", "max_value", max_value, most, lambda x: x >= least)
        self.rate = share("MinMaxNorm", "rate", rate)
        self.axis = axis

    def __call__(self, weight: TensorLike) -> Tensor:
        norms = _norms(weight, self.axis)
        inside = ops.clip(norms, self.min_value, self.max_value)
        wanted = inside * self.rate + norms * (1.0 - self.rate)
        return as_tensor(weight) * (wanted / (norms + _SMALL))


def _norms(weight: TensorLike, axis: Axis) -> Tensor:
    along = axis if isinstance(axis, int) else tuple(axis)
    return ops.sqrt(ops.sum(ops.square(weight), axis=along, keepdims=True))


_TABLE = registry.named(MaxNorm, MinMaxNorm, NonNeg, UnitNorm)
