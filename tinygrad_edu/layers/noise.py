"""Layers that draw random numbers while training, so that a model does not rely on single inputs.
Names, arguments and formulas are Keras's; the numbers are those of `edu.random`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops, random
from ..arguments import fraction, not_negative
from ..errors import ShapeError, undefined
from ..tensors import Tensor
from ..variable import Variable
from . import arguments
from .base import InputSpec, Layer, RandomState

__all__ = [
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
]


class _Noise(Layer):
    """Base of layers that draw while training, and otherwise give what they are given.

    They draw from the default generator of `edu.random`; with a `seed`, from a key of their own,
    which is among the weights, so that training goes on as it would have. States `noisy`.
    """

    supports_masking = True

    def __init__(self, seed: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.seed = seed
        self._seed_state: Variable | None = None
        if seed is not None:
            self._seed_state = RandomState(random.words(random.key(seed)))

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        return self.noisy(inputs) if training else inputs

    def noisy(self, inputs: Tensor) -> Tensor:
        """What training sees."""
        raise undefined(self, "noisy(self, inputs)")

    def key(self) -> Any:
        """What to draw with: None stands for the default generator."""
        if self._seed_state is None:
            return None
        following, drawn = random.split(self._seed_state)
        self._seed_state.assign(following)
        return drawn


class Dropout(_Noise):
    """In training, each element 0 with probability `rate`, and divided by 1 - rate if it is not.

    `noise_shape` (None: as the inputs) has 1 along axes whose elements are dropped together.
    Raises ArgumentError for a rate outside [0, 1).

    >>> Dropout(0.5)([[1.0, 1.0, 1.0]])
    Tensor([[1., 1., 1.]], dtype=float32)
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(seed, **settings)
        self.rate = fraction(type(self).__name__, "rate", rate)
        self.noise_shape = noise_shape

    def noisy(self, inputs: Tensor) -> Tensor:
        if self.rate == 0:
            return inputs
        kept = random.bernoulli(self.key(), 1 - self.rate, self._together(inputs.shape))
        return ops.where(kept, inputs / (1 - self.rate), 0.0)

    def _together(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is drawn for inputs of this shape."""
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != len(shape):
            raise ShapeError(
                f"{type(self).__name__}: noise_shape {tuple(self.noise_shape)} has not the "
                f"{len(shape)} axes of inputs of shape {shape}"
            )
        return tuple([m if n is None else n for n, m in zip(self.noise_shape, shape, strict=True)])


class SpatialDropout1D(Dropout):
    """Dropout of whole channels of (batch, steps, channels)."""

    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(rate, (None, 1, None), seed, name=name, dtype=dtype)
        self.input_spec = InputSpec(ndim=3)


class SpatialDropout2D(Dropout):
    """Dropout of whole channels of (batch, rows, columns, channels)."""

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.data_format = arguments.data_format("SpatialDropout2D", data_format)
        last = self.data_format == "channels_last"
        shape = (None, 1, 1, None) if last else (None, None, 1, 1)
        super().__init__(rate, shape, seed, name=name, dtype=dtype)
        self.input_spec = InputSpec(ndim=4)


class GaussianNoise(_Noise):
    """In training, inputs + stddev * normally distributed numbers."""

    def __init__(self, stddev: float, seed: int | None = None, **settings: Any) -> None:
        super().__init__(seed, **settings)
        self.stddev = not_negative("GaussianNoise", "stddev", stddev)

    def noisy(self, inputs: Tensor) -> Tensor:
        return inputs + random.normal(self.key(), inputs.shape, inputs.dtype) * self.stddev


class GaussianDropout(_Noise):
    """In training, inputs * normally distributed numbers of mean 1 and variance rate / (1 - rate),
    the mean and the variance that Dropout multiplies by."""

    def __init__(self, rate: float, seed: int | None = None, **settings: Any) -> None:
        super().__init__(seed, **settings)
        self.rate = fraction("GaussianDropout", "rate", rate)

    def noisy(self, inputs: Tensor) -> Tensor:
        stddev = math.sqrt(self.rate / (1 - self.rate))
        return inputs * (random.normal(self.key(), inputs.shape, inputs.dtype) * stddev + 1)


class AlphaDropout(Dropout):
    """Dropout for `selu`: what is dropped becomes the lowest value that selu has, and the result is
    scaled and moved so that mean 0 and variance 1 stay.

    Source: G. Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.
    """

    def noisy(self, inputs: Tensor) -> Tensor:
        if self.rate == 0:
            return inputs
        lowest = -1.0507009873554805 * 1.6732632423543772
        scale = ((1 - self.rate) * (1 + self.rate * lowest**2)) ** -0.5
        kept = random.bernoulli(self.key(), 1 - self.rate, self._together(inputs.shape))
        return ops.where(kept, inputs, lowest) * scale - scale * lowest * self.rate
