"""Layers whose windows slide over steps or images: convolutions, and padding, cropping and
upsampling, which go with them. Names, arguments and formulas are Keras's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..arguments import whole
from ..errors import ArgumentError, ShapeError, undefined
from ..tensors import Tensor
from ..variable import Variable
from . import activations, arguments
from .base import InputSpec, Layer, Shape

__all__ = [
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping1D",
    "Cropping2D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
]


class _Convolution(Layer):
    """Base of layers with windows that slide along `axes` axes, a bias and an activation.

    States `convolve`, and in `build` its weights, with `_built` at the end.
    """

    axes: ClassVar[int]
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def __init__(self, given: Mapping[str, Any], /, **settings: Any) -> None:
        """`given` are the arguments of the layer, by name."""
        super().__init__(activity_regularizer=given["activity_regularizer"], **settings)
        name, axes = type(self).__name__, self.axes
        self.kernel_size = arguments.sizes(name, "kernel_size", given["kernel_size"], axes)
        self.strides = arguments.sizes(name, "strides", given["strides"], axes)
        self.padding = arguments.one_of(name, "padding", given["padding"], self.paddings)
        self.data_format = arguments.data_format(name, given["data_format"])
        self.dilation_rate = arguments.sizes(name, "dilation_rate", given["dilation_rate"], axes)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{name}: strides {self.strides} and dilation_rate {self.dilation_rate} are not "
                "both above 1"
            )
        self.activation = arguments.found(name, "activation", activations.get, given["activation"])
        self.use_bias = bool(given["use_bias"])
        self._bias = arguments.weight(name, "bias", given)
        self.bias: Variable | None = None
        self.input_spec = InputSpec(ndim=self.axes + 2)

    def _channels(self, input_shape: Shape) -> int:
        return arguments.known_size(type(self).__name__, input_shape, self._channel_axis)

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def _built(self, channels: int, outputs: int) -> None:
        """The bias, and what inputs are to have from now on."""
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(outputs,), **self._bias)
        self.input_spec = InputSpec(ndim=self.axes + 2, axes={self._channel_axis: channels})

    def call(self, inputs: Tensor) -> Any:
        try:
            found = self.convolve(inputs)
        except ShapeError as error:
            raise arguments.renamed(type(self).__name__, error) from None
        if self.bias is not None:
            first = self.data_format == "channels_first"
            found = found + (_across(self.bias, self.axes) if first else self.bias)
        return self.activation(found)

    def convolve(self, inputs: Tensor) -> Tensor:
        """The result, before the bias."""
        raise undefined(self, "convolve(self, inputs)")


def _across(x: Any, axes: int) -> Tensor:
    """One number a channel, for channels that are followed by so many axes."""
    return ops.reshape(x, (x.shape[0],) + (1,) * axes)


class _Conv(_Convolution):
    """Base of Conv1D and Conv2D."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        name = type(self).__name__
        self.filters = whole(name, "filters", filters, 1)
        self.groups = whole(name, "groups", groups, 1)
        if self.filters % self.groups:
            raise ArgumentError(f"{name}: {groups} groups do not divide {filters} filters")
        self._kernel = arguments.weight(name, "kernel", locals())

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__}: {self.groups} groups do not divide the {channels} "
                f"channels of inputs of shape {tuple(input_shape)}"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, **self._kernel)
        self._built(channels, self.filters)

    def convolve(self, inputs: Tensor) -> Tensor:
        return ops.conv(
            inputs, self.kernel, self.strides, self.padding, self.data_format, self.dilation_rate,
            self.groups,
        )  # fmt: skip


class Conv1D(_Conv):
    """activation(windows of steps * kernel + bias): (batch, steps, channels) to (batch, new steps,
    filters), or with channels first.

    Weights: kernel (kernel_size, channels / groups, filters), bias (filters). `padding` is "valid",
    "same" or "causal". Raises ArgumentError for settings that cannot be, ShapeError for inputs of
    another rank, or other channels than the first.
    """

    axes = 1
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """activation(windows of an image * kernel + bias): (batch, rows, columns, channels) to (batch,
    new rows, new columns, filters), or with channels first.

    Weights: kernel (*kernel_size, channels / groups, filters), bias (filters). Raises
    ArgumentError for settings that cannot be, ShapeError for inputs of another rank, or other
    channels than the first.

    >>> Conv2D(8, 3, padding="same", activation="relu")(np.ones((2, 5, 4, 3))).shape
    (2, 5, 4, 8)
    """

    axes = 2


class _Transpose(_Convolution):
    """Base of Conv1DTranspose and Conv2DTranspose."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        name = type(self).__name__
        self.filters = whole(name, "filters", filters, 1)
        self.output_padding = (
            None
            if output_padding is None
            else arguments.sizes(name, "output_padding", output_padding, self.axes, 0)
        )
        more = self.output_padding or (0,)
        if any(size >= step for size, step in zip(more, self.strides, strict=False)):
            raise ArgumentError(
                f"{name}: output_padding is less than strides, {self.strides}, along each axis, "
                f"not {self.output_padding}"
            )
        self._kernel = arguments.weight(name, "kernel", locals())

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, self.filters, channels)
        self.kernel = self.add_weight(name="kernel", shape=shape, **self._kernel)
        self._built(channels, self.filters)

    def convolve(self, inputs: Tensor) -> Tensor:
        return ops.conv_transpose(
            inputs, self.kernel, self.strides, self.padding, self.output_padding,
            self.data_format, self.dilation_rate,
        )  # fmt: skip


class Conv1DTranspose(_Transpose):
    """The transpose of Conv1D, which makes steps more: each goes out to a window, times the kernel,
    and all add up.

    Weights: kernel (kernel_size, filters, channels), bias (filters). Raises as Conv1D does.
    """

    axes = 1


class Conv2DTranspose(_Transpose):
    """The transpose of Conv2D, which makes images larger: each pixel goes out to a window, times
    the kernel, and all add up.

    Weights: kernel (*kernel_size, filters, channels), bias (filters). Raises as Conv2D does.

    >>> Conv2DTranspose(3, 2, strides=2)(np.ones((1, 4, 4, 8))).shape
    (1, 8, 8, 3)
    """

    axes = 2


class _Depthwise(_Convolution):
    """Base of DepthwiseConv1D and DepthwiseConv2D."""

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        name = type(self).__name__
        self.depth_multiplier = whole(name, "depth_multiplier", depth_multiplier, 1)
        self._kernel = arguments.weight(name, "depthwise", locals())

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self.add_weight(name="kernel", shape=shape, **self._kernel)
        self._built(channels, channels * self.depth_multiplier)

    def convolve(self, inputs: Tensor) -> Tensor:
        return ops.depthwise_conv(
            inputs, self.kernel, self.strides, self.padding, self.data_format, self.dilation_rate
        )


class DepthwiseConv1D(_Depthwise):
    """Conv1D of each channel by itself: `depth_multiplier` outputs for each.

    Weights: kernel (kernel_size, channels, depth_multiplier), bias (channels * depth_multiplier).
    Raises as Conv1D does.
    """

    axes = 1


class DepthwiseConv2D(_Depthwise):
    """Conv2D of each channel by itself: `depth_multiplier` outputs for each.

    Weights: kernel (*kernel_size, channels, depth_multiplier), bias (channels * depth_multiplier).
    Raises as Conv2D does.
    """

    axes = 2


class _Separable(_Convolution):
    """Base of SeparableConv1D and SeparableConv2D."""

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        name = type(self).__name__
        self.filters = whole(name, "filters", filters, 1)
        self.depth_multiplier = whole(name, "depth_multiplier", depth_multiplier, 1)
        self._depthwise = arguments.weight(name, "depthwise", locals())
        self._pointwise = arguments.weight(name, "pointwise", locals())

    def build(self, input_shape: Shape) -> None:
        channels = self._channels(input_shape)
        between = channels * self.depth_multiplier
        apart = (*self.kernel_size, channels, self.depth_multiplier)
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel", shape=apart, **self._depthwise
        )
        mixed = (*(1,) * self.axes, between, self.filters)
        self.pointwise_kernel = self.add_weight(
            name="pointwise_kernel", shape=mixed, **self._pointwise
        )
        self._built(channels, self.filters)

    def convolve(self, inputs: Tensor) -> Tensor:
        return ops.separable_conv(
            inputs, self.depthwise_kernel, self.pointwise_kernel, self.strides, self.padding,
            self.data_format, self.dilation_rate,
        )  # fmt: skip


class SeparableConv1D(_Separable):
    """DepthwiseConv1D, then channels mixed at each step by itself.

    Weights: depthwise_kernel (kernel_size, channels, depth_multiplier), pointwise_kernel (1,
    channels * depth_multiplier, filters), bias (filters). Raises as Conv1D does.
    """

    axes = 1


class SeparableConv2D(_Separable):
    """DepthwiseConv2D, then channels mixed at each pixel by itself.

    Weights: depthwise_kernel (*kernel_size, channels, depth_multiplier), pointwise_kernel (1, 1,
    channels * depth_multiplier, filters), bias (filters). Raises as Conv2D does.
    """

    axes = 2


# Margins


class _Margins(Layer):
    """Base of what adds or takes away margins: a pair of widths for each axis."""

    axes: ClassVar[int]

    def __init__(self, argument: str, given: Any, data_format: str | None, **settings: Any) -> None:
        super().__init__(**settings)
        name = type(self).__name__
        self.data_format = arguments.data_format(name, data_format)
        self._widths = _pairs(name, argument, given, self.axes)
        self.input_spec = InputSpec(ndim=self.axes + 2)

    def _all_axes(self) -> list[tuple[int, int]]:
        """The widths for batch and channels too."""
        none = (0, 0)
        if self.data_format == "channels_first":
            return [none, none, *self._widths]
        return [none, *self._widths, none]


def _pairs(name: str, argument: str, given: Any, axes: int) -> list[tuple[int, int]]:
    """A pair for each axis, of one number, of one for each axis, or of a pair for each."""
    if axes == 1 and isinstance(given, (tuple, list)):
        given = [given]  # the pair of the only axis
    if not isinstance(given, (tuple, list)):
        given = (given,) * axes
    if len(given) != axes:
        raise ArgumentError(
            f"{name}: {argument} is an integer, or one or a pair for each of {axes} axes, not "
            f"{given!r}"
        )
    found = [arguments.sizes(name, argument, each, 2, 0) for each in given]
    return [(low, high) for low, high in found]


class ZeroPadding1D(_Margins):
    """Zeros before and after the steps of (batch, steps, channels): an integer, or a pair."""

    axes = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **settings: Any) -> None:
        super().__init__("padding", padding, data_format, **settings)
        self.padding = self._widths[0]

    def call(self, inputs: Tensor) -> Tensor:
        return ops.pad(inputs, self._all_axes())


class ZeroPadding2D(_Margins):
    """Zeros around images, (batch, rows, columns, channels): an integer, one for rows and one for
    columns, or a pair for each.

    >>> ZeroPadding2D(((0, 1), (2, 2)))(np.ones((1, 3, 3, 1))).shape
    (1, 4, 7, 1)
    """

    axes = 2

    def __init__(self, padding: Any = 1, data_format: str | None = None, **settings: Any) -> None:
        super().__init__("padding", padding, data_format, **settings)
        self.padding = tuple(self._widths)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.pad(inputs, self._all_axes())


class _Cropping(_Margins):
    def call(self, inputs: Tensor) -> Tensor:
        margins = self._all_axes()
        kept = [n - low - high for n, (low, high) in zip(inputs.shape, margins, strict=True)]
        if min(kept[1:]) < 1:
            raise ShapeError(
                f"{type(self).__name__}: cropping {tuple(self._widths)} leaves nothing of inputs "
                f"of shape {inputs.shape}"
            )
        starts = [low for low, _ in margins]
        return inputs[tuple([slice(a, a + n) for a, n in zip(starts, kept, strict=True)])]


class Cropping1D(_Cropping):
    """Without so many of the first and last steps of (batch, steps, channels)."""

    axes = 1

    def __init__(self, cropping: Any = (1, 1), **settings: Any) -> None:
        super().__init__("cropping", cropping, None, **settings)
        self.cropping = self._widths[0]


class Cropping2D(_Cropping):
    """Images, (batch, rows, columns, channels), without their margins: an integer, one for rows and
    one for columns, or a pair for each."""

    axes = 2

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **settings: Any
    ) -> None:
        super().__init__("cropping", cropping, data_format, **settings)
        self.cropping = tuple(self._widths)


# More pixels


class UpSampling1D(Layer):
    """Each step of (batch, steps, channels) `size` times."""

    def __init__(self, size: int = 2, **settings: Any) -> None:
        super().__init__(**settings)
        self.size = whole("UpSampling1D", "size", size, 1)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs: Tensor) -> Tensor:
        return _repeated(inputs, 1, self.size)


class UpSampling2D(Layer):
    """Images, (batch, rows, columns, channels), so many times larger: pixels repeated ("nearest"),
    or drawn from their neighbours ("bilinear", "bicubic").

    >>> UpSampling2D(2, interpolation="bilinear")([[[[0.0], [1.0]]]])[0, 0, :, 0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        name = "UpSampling2D"
        self.size = arguments.sizes(name, "size", size, 2)
        self.data_format = arguments.data_format(name, data_format)
        known = ("nearest", "bilinear", "bicubic")
        self.interpolation = arguments.one_of(name, "interpolation", interpolation, known)
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> Tensor:
        first = 2 if self.data_format == "channels_first" else 1
        for axis, times in enumerate(self.size, first):
            if self.interpolation == "nearest":
                inputs = _repeated(inputs, axis, times)
            elif times > 1:
                weights = _interpolation(self.interpolation, inputs.shape[axis], times)
                along = ops.matmul(ops.moveaxis(inputs, axis, -1), weights.astype(inputs.dtype))
                inputs = ops.moveaxis(along, -1, axis)
        return inputs


def _repeated(x: Tensor, axis: int, times: int) -> Tensor:
    """Each element along an axis so many times."""
    shape = x.shape
    many = (*shape[: axis + 1], times, *shape[axis + 1 :])
    wide = ops.broadcast_to(ops.expand_dims(x, axis + 1), many)
    return ops.reshape(wide, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))


def _interpolation(how: str, size: int, times: int) -> np.ndarray:
    """How much each of `size` pixels counts in each of size * times: a column for each of these.

    Pixels are as wide as they are apart. "bicubic" is R. Keys's kernel, of a = -1/2 (Cubic
    convolution interpolation for digital image processing, 1981).
    """
    centers = (np.arange(size * times) + 0.5) / times - 0.5
    apart = np.abs(np.arange(size)[:, None] - centers)
    if how == "bilinear":
        weights = np.maximum(1 - apart, 0)
    else:
        near = (1.5 * apart - 2.5) * apart**2 + 1
        far = ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
        weights = np.where(apart < 1, near, np.where(apart < 2, far, 0))
    return weights / weights.sum(axis=0)
