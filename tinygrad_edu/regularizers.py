"""Regularizers: what is added to the loss for the size of weights. Names and defaults are Keras's.

A regularizer is called with a weight and gives a scalar Tensor, in the weight's dtype.
"""

from __future__ import annotations

import math
from typing import Any

from . import ops, registry
from .arguments import number
from .conversion import as_tensor
from .errors import ArgumentError, ShapeError, undefined
from .tensors import Tensor, TensorLike

__all__ = ["L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer", "get"]


class Regularizer(registry.Configured):
    """A base for regularizers: write `__call__(weight)`. Any function of a weight is one too."""

    def __call__(self, weight: TensorLike) -> Tensor:
        """What is added to the loss, a scalar."""
        raise undefined(self, "__call__(self, weight)")


def get(given: Any) -> Any:
    """The regularizer that a name, a class, an instance or a function stands for; None for None.

    >>> get("l2")
    L2(l2=0.01)
    """
    return None if given is None else registry.lookup("regularizer", given, _TABLE)


class L1(Regularizer):
    """`l1` times the sum of the absolute values.

    >>> L1(0.5)([1.0, -2.0])
    Tensor(1.5, dtype=float32)
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor(self, "l1", l1)

    def __call__(self, weight: TensorLike) -> Tensor:
        return ops.sum(ops.abs(weight)) * self.l1


class L2(Regularizer):
    """`l2` times the sum of the squares.

    >>> L2(0.5)([1.0, -2.0])
    Tensor(2.5, dtype=float32)
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor(self, "l2", l2)

    def __call__(self, weight: TensorLike) -> Tensor:
        return ops.sum(ops.square(weight)) * self.l2


class L1L2(Regularizer):
    """`l1` times the sum of the absolute values and `l2` times that of the squares; None is 0."""

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = 0.0 if l1 is None else _factor(self, "l1", l1)
        self.l2 = 0.0 if l2 is None else _factor(self, "l2", l2)

    def __call__(self, weight: TensorLike) -> Tensor:
        given = as_tensor(weight)
        total = ops.zeros((), dtype=given.dtype, device=given.device)
        if self.l1:
            total = total + L1(self.l1)(given)
        if self.l2:
            total = total + L2(self.l2)(given)
        return total


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean absolute cosine between two rows ("rows") or columns ("columns") of a
    matrix: 0 if they are orthogonal."""

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _factor(self, "factor", factor)
        if mode not in ("rows", "columns"):
            raise ArgumentError(
                f"OrthogonalRegularizer: mode is {mode!r}; it is 'rows' or 'columns'"
            )
        self.mode = mode

    def __call__(self, weight: TensorLike) -> Tensor:
        matrix = as_tensor(weight)
        if matrix.ndim != 2:
            raise ShapeError(
                f"OrthogonalRegularizer: a weight of shape {matrix.shape} is no matrix"
            )
        rows = matrix if self.mode == "rows" else matrix.T
        count = rows.shape[0]
        if count < 2:
            raise ShapeError(
                f"OrthogonalRegularizer: shape {matrix.shape} has {count} {self.mode}; it takes two"
            )
        squares = ops.sum(ops.square(rows), axis=1, keepdims=True)
        units = rows * ops.rsqrt(ops.maximum(squares, _SMALL))
        cosines = ops.abs(units @ units.T) * (1.0 - ops.eye(count, dtype=matrix.dtype))
        return ops.sum(cosines) * (self.factor / (count * (count - 1)))


_SMALL = 1e-12
"""The square of the least length that a row is divided by."""


def _factor(regularizer: Regularizer, name: str, given: Any) -> float:
    what, title = "a finite number from 0 on", type(regularizer).__name__
    return number(title, name, given, what, lambda x: 0 <= x < math.inf)


_TABLE = registry.named(L1, L1L2, L2, OrthogonalRegularizer)
