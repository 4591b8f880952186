"""Layers that make one number of each window, or of each channel. Names, arguments and formulas are
Keras's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..errors import ShapeError
from ..tensors import Tensor
from . import arguments
from .base import InputSpec, Layer

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
]


class _Pooling(Layer):
    """Base of pooling in windows along `axes` axes. States `pool`, an operation."""

    axes: ClassVar[int]
    pool: ClassVar[Any]

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        name = type(self).__name__
        self.pool_size = arguments.sizes(name, "pool_size", pool_size, self.axes)
        given = self.pool_size if strides is None else strides
        self.strides = arguments.sizes(name, "strides", given, self.axes)
        self.padding = arguments.one_of(name, "padding", padding, ("valid", "same"))
        self.data_format = arguments.data_format(name, data_format)
        self.input_spec = InputSpec(ndim=self.axes + 2)

    def call(self, inputs: Tensor) -> Tensor:
        pool = type(self).pool
        try:
            return pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)
        except ShapeError as error:
            raise arguments.renamed(type(self).__name__, error) from None


class MaxPooling1D(_Pooling):
    """The largest of each window of steps: (batch, steps, channels) to (batch, windows, channels),
    or with channels first. Windows follow each other unless `strides` says otherwise."""

    axes, pool = 1, ops.max_pool


class MaxPooling2D(_Pooling):
    """The largest of each window of an image, in each channel.

    >>> MaxPooling2D()([[[[1.0], [3.0]], [[2.0], [0.0]]]]).tolist()
    [[[[3.0]]]]
    """

    axes, pool = 2, ops.max_pool


class AveragePooling1D(_Pooling):
    """The mean of each window of steps, without padding."""

    axes, pool = 1, ops.average_pool


class AveragePooling2D(_Pooling):
    """The mean of each window of an image, without padding, in each channel."""

    axes, pool = 2, ops.average_pool


class _GlobalPooling(Layer):
    """Base of pooling of all that a channel has. States `reduce`, an operation."""

    axes: ClassVar[int]
    reduce: ClassVar[Any]

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.data_format = arguments.data_format(type(self).__name__, data_format)
        self.keepdims = keepdims
        self.input_spec = InputSpec(ndim=self.axes + 2)
        first = 1 if self.data_format == "channels_last" else 2
        self._along = tuple(range(first, first + self.axes))

    def call(self, inputs: Tensor) -> Tensor:
        return type(self).reduce(inputs, axis=self._along, keepdims=self.keepdims)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest of all steps: (batch, steps, channels) to (batch, channels)."""

    axes, reduce = 1, ops.max


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest of all pixels: (batch, rows, columns, channels) to (batch, channels)."""

    axes, reduce = 2, ops.max


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of all steps, (batch, steps, channels) to (batch, channels), or of those that `mask`
    (batch, steps) shows. NaN where it shows none, as in Keras."""

    axes, reduce = 1, ops.mean
    supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().call(inputs)
        channel = -1 if self.data_format == "channels_last" else 1
        shown = ops.astype(ops.expand_dims(mask, channel), inputs.dtype)
        total = ops.sum(inputs * shown, axis=self._along, keepdims=self.keepdims)
        return total / ops.sum(shown, axis=self._along, keepdims=self.keepdims)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """There are no steps any more."""


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of all pixels: (batch, rows, columns, channels) to (batch, channels)."""

    axes, reduce = 2, ops.mean


# Keras's shorter names.
AvgPool1D, AvgPool2D = AveragePooling1D, AveragePooling2D
GlobalAvgPool1D, GlobalAvgPool2D = GlobalAveragePooling1D, GlobalAveragePooling2D
GlobalMaxPool1D, GlobalMaxPool2D = GlobalMaxPooling1D, GlobalMaxPooling2D
MaxPool1D, MaxPool2D = MaxPooling1D, MaxPooling2D
