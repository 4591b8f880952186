"""Layers that bring raw numbers to the size that networks like. Names, arguments and formulas are
Keras's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..arguments import Axis, normalize_axes
from ..conversion import as_tensor
from ..errors import ArgumentError, ShapeError
from ..tensors import Tensor
from . import arguments
from .base import InputSpec, Layer, Shape

__all__ = ["Normalization", "Rescaling"]


class Rescaling(Layer):
    """inputs * scale + offset.

    >>> Rescaling(1 / 255)(np.array([[0, 255]]))
    Tensor([[0., 1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.scale = scale
        self.offset = offset

    def call(self, inputs: Tensor) -> Tensor:
        scale, offset = (as_tensor(x, like=inputs) for x in (self.scale, self.offset))
        inputs = ops.astype(inputs, self.compute_dtype)
        return inputs * ops.astype(scale, inputs.dtype) + ops.astype(offset, inputs.dtype)


class Normalization(Layer):
    """(inputs - mean) / standard deviation, of each feature along `axis` (None: of all together).

    The two are given, as `mean` and `variance`, or found in data by `adapt`; until then they are 0
    and 1. With `invert`, inputs * standard deviation + mean. A standard deviation of 0 counts as
    1e-7.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[1.0], [3.0]]))
    >>> layer(np.array([[5.0]]))
    Tensor([[3.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        axis: Axis = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if (mean is None) != (variance is None):
            raise ArgumentError("Normalization: mean and variance are both given, or neither is")
        if variance is not None and not np.all(np.asarray(variance) >= 0):
            raise ArgumentError(f"Normalization: variance is from 0 on, not {variance!r}")
        self.axis = (
            () if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        )
        self.invert = invert
        self._given = None if mean is None else (np.asarray(mean), np.asarray(variance))

    def build(self, input_shape: Shape) -> None:
        self._axes = normalize_axes("Normalization", self.axis, len(input_shape))
        if 0 in self._axes:
            raise ArgumentError("Normalization: axis 0 counts the examples; features have another")
        shape = [arguments.known_size("Normalization", input_shape, a) for a in self._axes]
        # What statistics broadcast over.
        self._kept = [
            1 if n is None or a not in self._axes else n for a, n in enumerate(input_shape)
        ]
        self.input_spec = InputSpec(
            ndim=len(input_shape), axes=dict(zip(self._axes, shape, strict=True))
        )
        if self._given is not None:
            self._statistics: Any = [np.broadcast_to(x, shape) for x in self._given]
            return
        settings: dict[str, Any] = {"shape": shape, "trainable": False}
        self.adapt_mean = self.add_weight(name="mean", initializer="zeros", **settings)
        self.adapt_variance = self.add_weight(name="variance", initializer="ones", **settings)
        # Of no use here: Keras has it among the weights.
        self.count = self.add_weight(
            name="count", initializer="zeros", dtype="int64", trainable=False
        )
        self._statistics = self.adapt_mean, self.adapt_variance

    def adapt(self, data: Any) -> None:
        """Find mean and variance in data: an array, whose first axis counts the examples, or an
        iterable of such arrays.

        Raises ArgumentError where there is no data, and where mean and variance were given.
        """
        if self._given is not None:
            raise ArgumentError("Normalization: mean and variance were given, and are not adapted")
        at_once = isinstance(data, (list, tuple)) or hasattr(data, "__array__")
        count, mean, square = 0, np.zeros(()), np.zeros(())  # `square` sums (x - mean)**2
        for batch in [data] if at_once else data:
            x = np.asarray(batch, np.float64)
            if not self.built:
                self.build((None, *x.shape[1:]))
            if problem := self.input_spec.problem(x.shape):
                raise ShapeError(f"Normalization: adapt: {problem}")
            others = tuple([a for a in range(x.ndim) if a not in self._axes])
            new = math.prod([x.shape[a] for a in others])
            if not new:
                continue
            change = x.mean(others) - mean
            mean = mean + change * new / (count + new)
            square = square + x.var(others) * new + change**2 * count * new / (count + new)
            count += new
        if not count:
            raise ArgumentError("Normalization: there is nothing to adapt to in the data")
        self.adapt_mean.assign(mean.astype(self.dtype))
        self.adapt_variance.assign((square / count).astype(self.dtype))

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.astype(inputs, self.compute_dtype)
        mean, variance = [ops.astype(x, inputs.dtype) for x in (self.mean, self.variance)]
        deviation = ops.maximum(ops.sqrt(variance), 1e-7)
        return mean + inputs * deviation if self.invert else (inputs - mean) / deviation

    @property
    def mean(self) -> Tensor:
        """The mean of each feature, in a shape that broadcasts to inputs."""
        return ops.reshape(self._statistics[0], self._kept)

    @property
    def variance(self) -> Tensor:
        """The variance of each feature, in a shape that broadcasts to inputs."""
        return ops.reshape(self._statistics[1], self._kept)
