"""Operations on windows that slide over an array: convolutions, pooling, patches.

A convolution is a sum of products input * kernel * output's cotangent, linear in each of the three.
So there are three primitives: `conv`, `conv_transpose` and `conv_kernel` each take two of them and
give the third, and each one's gradients are the other two, to any order. Windows for pooling and
for patches slide along one axis at a time: what is largest in a box is largest along its sides.

Channels are last here; channels first is a view of the same, axes permuted. NumPy and CuPy lay the
inputs of a block of windows side by side and multiply matrices; JAX has a convolution of its own.
"""

from __future__ import annotations

import importlib
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from .. import dtypes, tensors
from ..backends import Array
from ..dtypes import DType
from ..errors import ArgumentError, ShapeError
from ..op import Aval, Op, Shape, apply, broadcast_shapes, example, normalize_axis, real, unary
from ..tensors import Tensor, TensorLike
from . import reduction
from .elementwise import astype
from .movement import expand_dims, moveaxis, permute_dims, reshape
from .reduction import as_float

__all__ = [
    "average_pool",
    "conv",
    "conv_kernel",
    "conv_transpose",
    "depthwise_conv",
    "fold",
    "max_pool",
    "overlap_add",
    "separable_conv",
    "sliding_windows",
    "unfold",
    "window_max",
]

Sizes = int | Sequence[int]
Pair = tuple[int, int]
Padding = str | Sequence[Sequence[int]]
DataFormat = Literal["channels_last", "channels_first"]


class _Convolution(Op, abstract=True):
    """Base of the three sides of a convolution.

    `strides`, `padding` (a pair each; a negative number crops) and `dilation` have a part for each
    axis between batch and channels. The padding is exact: the last window ends where the padded
    input does. So the sizes of any two of input, window and output give those of the third.
    """

    domain = real(-1, 1)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> Sequence[DType | None]:
        common = super().operand_dtypes(given, kind)
        return [d if d is None or dtypes.is_float(d) else dtypes.float32 for d in common]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        if xp.__name__ == "jax.numpy":
            compute, module = self.on_jax, importlib.import_module("jax.lax")
        else:
            compute, module = self.on_arrays, xp
        wide = dtypes.float32

        def kernel(a: Array, b: Array, **geometry: Any) -> Array:
            dtype = a.dtype
            if dtype.itemsize == 2:  # halves accumulate in float32
                return compute(module, a.astype(wide), b.astype(wide), **geometry).astype(dtype)
            return compute(module, a, b, **geometry)

        return kernel

    def on_arrays(self, *arrays: Any, **geometry: Any) -> Array:
        """The result: of numpy or cupy, and two of its arrays."""
        raise NotImplementedError  # each of the three states its own

    def on_jax(self, *arrays: Any, **geometry: Any) -> Array:
        """The result: of jax.lax, and two arrays of JAX."""
        raise NotImplementedError  # each of the three states its own

    def infer(self, a: Aval, b: Aval, **geometry: Any) -> Aval:
        return Aval(self.shape(a.shape, b.shape, **geometry), a.dtype)

    def shape(self, *shapes: Any, **geometry: Any) -> Shape:
        """The shape of the result."""
        raise NotImplementedError  # each of the three states its own


def _flops(y: Aval, kernel: Aval) -> int:
    """A product and a sum for each result of a convolution and each number that it is made of."""
    return 2 * math.prod(y.shape) * math.prod(kernel.shape[:-1])


class Conv(_Convolution):
    """Each output is the sum, over a window, of the inputs under it times the kernel.

    `inputs` has shape (batch, *sizes, channels), or (batch, channels, *sizes) where `data_format`
    is "channels_first"; `kernel` (*window, channels / groups, outputs). The kernel is not flipped.
    `padding` is "valid" (none), "same" (as many outputs as inputs / strides, rounded up; an odd
    zero goes behind), "causal" (all of it in front, so that no output sees what comes after it),
    or a pair for each axis. Each of the `groups` of outputs sees only its own group of channels.
    Integers become float32.

    Raises ShapeError where ranks, channels or sizes do not fit, ArgumentError for a setting that
    cannot be.

    >>> conv([[[1.0], [2.0], [4.0]]], [[[-1.0]], [[1.0]]])
    Tensor([[[1.],
             [2.]]], dtype=float32)

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.
    """

    linear = (0, 1)
    arity = 2
    gradients = (
        lambda g, out, x, kernel, **geometry: apply(conv_transpose, g, kernel, **geometry),
        lambda g, out, x, kernel, **geometry: apply(conv_kernel, x, g, **geometry),
    )
    examples = (
        example((2, 5, 4, 2), (3, 2, 2, 3), padding="same"),
        example((1, 5, 4, 2), (3, 2, 2, 2), strides=(2, 1), padding=((1, 2), (0, 1))),
        example((1, 4, 5, 4), (2, 2, 2, 6), strides=2, groups=2),
        example((1, 2, 5, 4), (2, 3, 2, 2), padding="same", data_format="channels_first"),
        example((1, 6, 5, 1), (2, 3, 1, 2), strides=2, dilation_rate=(1, 2), padding="same"),
        example((2, 4, 3, 2), (3, 2, 1, 4), groups=2, padding="same"),
        example((2, 4, 3, 3), (1, 1, 3, 2)),
        example((2, 5, 2), (3, 2, 3)),
        example((1, 6, 2), (2, 2, 2), padding="causal", dilation_rate=2),
        example((1, 8, 1), (2, 1, 2), strides=3),
        example((1, 3, 4, 3, 2), (2, 2, 2, 2, 2), strides=(1, 2, 1), padding="same"),
        example((0, 4, 3, 2), (2, 2, 2, 3)),
    )

    def __call__(
        self,
        inputs: TensorLike,
        kernel: TensorLike,
        strides: Sizes = 1,
        padding: Padding = "valid",
        data_format: DataFormat = "channels_last",
        dilation_rate: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        return _conv("conv", inputs, kernel, strides, padding, data_format, dilation_rate, groups)

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        return _flops(outputs[0], inputs[1])

    def shape(
        self, x: Shape, kernel: Shape, /, *, strides: Any, padding: Any, dilation: Any, groups: int
    ) -> Shape:
        _check_channels(self.name, x, kernel, groups)
        spans = _spans(kernel[:-2], dilation)
        sizes = zip(x[1:-1], spans, strides, padding, strict=True)
        counts = [(size + lo + hi - span) // step + 1 for size, span, step, (lo, hi) in sizes]
        if min(counts) < 1:
            raise ShapeError(f"{self.name}: no window of {kernel[:-2]} fits inputs of shape {x}")
        return (x[0], *counts, kernel[-1])

    def on_arrays(
        self, xp: Any, x: Array, kernel: Array, /, *, groups: int, **geometry: Any
    ) -> Array:
        *window, of_each, outputs = kernel.shape
        apart = of_each == 1 < groups
        if apart:  # a depthwise one has nothing to sum but the window
            x, kernel = _repeated(xp, x, outputs // groups), kernel[..., 0, :]
        windows = _windows(xp, x, window, **geometry)
        out = xp.empty((*windows.shape[: -1 - len(window)], outputs), x.dtype)
        if apart:
            for place in _blocks(xp, out.shape, outputs):
                total = out[place]
                total[...] = 0
                for tap in _taps(window):
                    total += _under(windows[place], tap) * kernel[tap]
            return out
        weights = _by_group(kernel, groups)
        for place in _blocks(xp, out.shape, math.prod(window) * x.shape[-1]):
            part = out[place]
            products = xp.matmul(_rows(windows[place], len(window) + 1, groups), weights)
            part[...] = products.swapaxes(0, 1).reshape(part.shape)
        return out

    def on_jax(
        self, lax: Any, x: Array, kernel: Array, /, *, strides: Any, padding: Any, dilation: Any,
        groups: int,
    ) -> Array:  # fmt: skip
        return lax.conv_general_dilated(
            x, kernel, strides, padding, None, dilation, _axes_last(lax, x.ndim), groups
        )


class ConvTranspose(_Convolution):
    """The transpose of `conv`: each input goes out to a window, times the kernel, and all add up.

    What a convolution's gradient is with respect to its inputs. `inputs` has shape (batch, *sizes,
    channels), or channels first; `kernel` (*window, outputs, channels). Without an
    `output_padding`, "same" gives sizes * strides, and "valid" what the windows cover, at least
    sizes * strides. With one, "valid" gives (sizes - 1) * strides + window + output_padding, and
    "same" (sizes - 1) * strides + window % 2 + output_padding, as in Keras. A pair for each axis
    is cut off at both ends, and `output_padding` put back, as in PyTorch.

    Raises ShapeError where ranks, channels or sizes do not fit, ArgumentError for a setting that
    cannot be.

    >>> conv_transpose([[[1.0], [2.0]]], [[[1.0]], [[10.0]]])
    Tensor([[[ 1.],
             [12.],
             [20.]]], dtype=float32)

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.
    """

    linear = (0, 1)
    arity = 2
    gradients = (
        lambda t, out, g, kernel, **geometry: apply(conv, t, kernel, **geometry),
        lambda t, out, g, kernel, **geometry: apply(conv_kernel, t, g, **geometry),
    )
    examples = (
        example((2, 3, 4, 2), (3, 2, 3, 2), padding="same"),
        example((1, 3, 2, 2), (3, 2, 3, 2), strides=2, padding="same"),
        example((1, 3, 2, 2), (2, 3, 1, 2), strides=(3, 2)),
        example((1, 3, 2, 2), (2, 3, 2, 2), strides=2, output_padding=1),
        example((1, 3, 3, 1), (3, 4, 2, 1), strides=2, padding="same", output_padding=(1, 0)),
        example((1, 3, 3, 1), (3, 3, 2, 1), strides=2, padding=((1, 1), (0, 2)), output_padding=1),
        example((1, 2, 3, 3), (2, 2, 1, 2), strides=2, data_format="channels_first"),
        example((1, 3, 3, 2), (2, 2, 1, 2), strides=2, dilation_rate=2, padding="same"),
        example((1, 3, 2, 4), (2, 2, 2, 4), strides=2, groups=2),
        example((1, 3, 2, 4), (2, 2, 1, 4), strides=2, groups=2),
        example((1, 3, 2, 4), (2, 2, 2, 4), groups=2),
        example((2, 4, 2), (3, 3, 2), strides=2),
        example((1, 2, 2, 3, 1), (2, 2, 3, 2, 1), strides=(1, 2, 1), padding="same"),
        example((0, 3, 2), (2, 1, 2)),
    )

    def __call__(
        self,
        inputs: TensorLike,
        kernel: TensorLike,
        strides: Sizes = 1,
        padding: Padding = "valid",
        output_padding: Sizes | None = None,
        data_format: DataFormat = "channels_last",
        dilation_rate: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        first = _is_first(self.name, data_format)
        x, kernel = _channels_last(tensors.as_tensor(inputs), first), tensors.as_tensor(kernel)
        axes = _spatial(self.name, x.shape, kernel.shape)
        geometry = _transposed_geometry(
            x.shape[1:-1],
            kernel.shape[:-2],
            _each(self.name, "strides", strides, axes),
            _padding_word(self.name, padding, axes),
            None
            if output_padding is None
            else _each(self.name, "output_padding", output_padding, axes, 0),
            _each(self.name, "dilation_rate", dilation_rate, axes),
            _one(self.name, "groups", groups),
        )
        self.shape(x.shape, kernel.shape, **geometry)
        return _channels_back(apply(self, x, kernel, **geometry), first)

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        return _flops(inputs[0], inputs[1])

    def shape(
        self, g: Shape, kernel: Shape, /, *, strides: Any, padding: Any, dilation: Any, groups: int
    ) -> Shape:
        _check_channels(self.name, g, kernel, groups, transposed=True)
        spans = _spans(kernel[:-2], dilation)
        counts = zip(g[1:-1], spans, strides, padding, strict=True)
        sizes = [(count - 1) * step + span - lo - hi for count, span, step, (lo, hi) in counts]
        if min(sizes) < 1:
            raise ShapeError(
                f"{self.name}: the padding {padding} leaves nothing of inputs of shape {g} and "
                f"windows of {kernel[:-2]}"
            )
        return (g[0], *sizes, kernel[-2] * groups)

    def on_arrays(
        self, xp: Any, g: Array, kernel: Array, /, *, strides: Any, padding: Any, dilation: Any,
        groups: int,
    ) -> Array:  # fmt: skip
        *window, of_each, outputs = kernel.shape
        spans, apart = _spans(window, dilation), of_each == 1 < groups
        finite = xp is not np or np.isfinite(kernel).all()  # no GPU waits for the answer
        if max(strides) == 1 and not apart and finite:
            # A convolution with the kernel turned round: no sums scattered over memory. Its padding
            # would make NaN of an infinite kernel.
            ends = zip(spans, padding, strict=True)
            turned = tuple([(span - 1 - lo, span - 1 - hi) for span, (lo, hi) in ends])
            return conv.on_arrays(
                xp, g, _turned(xp, kernel, groups), strides=strides, padding=turned,
                dilation=dilation, groups=groups,
            )  # fmt: skip
        counts = zip(g.shape[1:-1], strides, spans, strict=True)
        sizes = [(count - 1) * step + span for count, step, span in counts]
        out = xp.zeros((g.shape[0], *sizes, of_each * groups), g.dtype)
        windows = _strided(xp, out, window, strides, dilation)  # of the result, to be added to
        weights = _by_group(kernel, groups).swapaxes(1, 2)
        for place in _blocks(xp, g.shape, outputs if apart else math.prod(window) * out.shape[-1]):
            if apart:
                products = (g[place] * kernel[(*tap, 0)] for tap in _taps(window))
                parts = (p.reshape(-1, groups, outputs // groups).sum(axis=-1) for p in products)
            else:
                rows = _rows(g[place], 1, groups)
                products = xp.matmul(rows, weights).reshape(groups, rows.shape[1], -1, of_each)
                parts = products.transpose(2, 1, 0, 3)
            for tap, values in zip(_taps(window), parts, strict=True):
                under = _under(windows[place], tap)
                under += values.reshape(under.shape)
        return _padded(xp, out, [(-lo, -hi) for lo, hi in ((0, 0), *padding, (0, 0))])

    def on_jax(
        self, lax: Any, g: Array, kernel: Array, /, *, strides: Any, padding: Any, dilation: Any,
        groups: int,
    ) -> Array:  # fmt: skip
        ends = zip(_spans(kernel.shape[:-2], dilation), padding, strict=True)
        turned = [(span - 1 - lo, span - 1 - hi) for span, (lo, hi) in ends]
        xp = importlib.import_module("jax.numpy")
        return lax.conv_general_dilated(
            g, _turned(xp, kernel, groups), (1,) * len(strides), turned, strides, dilation,
            _axes_last(lax, g.ndim), groups,
        )  # fmt: skip


class ConvKernel(_Convolution):
    """What a convolution's gradient is with respect to its kernel.

    Each number of a kernel of this `window` is the sum of the inputs that it meets times the
    `outputs` that they go into; `outputs` is of the shape of what `conv` gives, and the rest are
    `conv`'s arguments.

    >>> conv_kernel([[[1.0], [2.0], [4.0]]], [[[1.0], [1.0]]], 2)
    Tensor([[[3.]],
    <BLANKLINE>
            [[6.]]], dtype=float32)
    """

    linear = (0, 1)
    arity = 2
    gradients = (
        lambda t, out, x, g, **geometry: apply(conv_transpose, g, t, **geometry),
        lambda t, out, x, g, **geometry: apply(conv, x, t, **geometry),
    )
    examples = (
        example((2, 4, 3, 2), (2, 4, 3, 3), window=(3, 2), padding="same"),
        example((1, 6, 5, 2), (1, 2, 2, 1), window=(2, 3), strides=(3, 2)),
        example((2, 4, 3, 4), (2, 3, 2, 2), window=2, groups=2),
        example((2, 4, 3, 2), (2, 3, 2, 4), window=2, groups=2),
        example(
            (1, 2, 5, 4), (1, 3, 3, 2), window=2, dilation_rate=2, data_format="channels_first"
        ),
        example((2, 5, 2), (2, 3, 3), window=3),
        example((1, 3, 3, 2, 1), (1, 2, 2, 1, 2), window=2),
        example((0, 4, 2), (0, 3, 1), window=2),
    )

    def __call__(
        self,
        inputs: TensorLike,
        outputs: TensorLike,
        window: Sizes,
        strides: Sizes = 1,
        padding: Padding = "valid",
        data_format: DataFormat = "channels_last",
        dilation_rate: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        first = _is_first(self.name, data_format)
        x = _channels_last(tensors.as_tensor(inputs), first)
        g = _channels_last(tensors.as_tensor(outputs), first)
        axes = _spatial(self.name, x.shape, g.shape)
        groups = _one(self.name, "groups", groups)
        window = _each(self.name, "window", window, axes)
        if x.shape[-1] % groups or g.shape[-1] % groups:
            raise ShapeError(
                f"{self.name}: {groups} groups do not divide {x.shape[-1]} channels of the inputs "
                f"and {g.shape[-1]} of the outputs"
            )
        kernel = (*window, x.shape[-1] // groups, g.shape[-1])
        geometry = _checked(
            self.name, x.shape, kernel, strides, padding, dilation_rate, groups, axes
        )
        expected = conv.shape(x.shape, kernel, **geometry)
        if g.shape != expected:
            raise ShapeError(
                f"{self.name}: a convolution of these inputs gives outputs of shape {expected}, "
                f"not {g.shape} (channels last)"
            )
        return apply(self, x, g, **geometry)

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        return _flops(inputs[1], outputs[0])

    def shape(
        self, x: Shape, g: Shape, /, *, strides: Any, padding: Any, dilation: Any, groups: int
    ) -> Shape:
        counts = zip(x[1:-1], g[1:-1], strides, padding, dilation, strict=True)
        window = [
            (size + lo + hi - (count - 1) * step - 1) // apart + 1
            for size, count, step, (lo, hi), apart in counts
        ]
        return (*window, x[-1] // groups, g[-1])

    def on_arrays(self, xp: Any, x: Array, g: Array, /, *, groups: int, **geometry: Any) -> Array:
        *window, of_each, outputs = shape = self.shape(x.shape, g.shape, groups=groups, **geometry)
        apart = of_each == 1 < groups
        if apart:
            x = _repeated(xp, x, outputs // groups)
        windows = _windows(xp, x, window, **geometry)
        if apart:
            out = xp.zeros(shape, x.dtype)
            for place in _blocks(xp, g.shape, outputs):
                for tap in _taps(window):
                    products = _under(windows[place], tap) * g[place]
                    out[(*tap, 0)] += products.reshape(-1, outputs).sum(axis=0)
            return out
        taps = math.prod(window)
        total = xp.zeros((groups, taps * of_each, outputs // groups), x.dtype)
        for place in _blocks(xp, g.shape, taps * x.shape[-1]):
            patches = _rows(windows[place], len(window) + 1, groups)
            total += xp.matmul(patches.swapaxes(1, 2), _rows(g[place], 1, groups))
        return total.swapaxes(0, 1).reshape(shape)

    def on_jax(
        self, lax: Any, x: Array, g: Array, /, *, strides: Any, padding: Any, dilation: Any,
        groups: int,
    ) -> Array:  # fmt: skip
        # Channels in the place of the batch, and the batch in that of the channels to sum over.
        batch, last, middle = 0, x.ndim - 1, tuple(range(1, x.ndim - 1))
        out = tuple(range(x.ndim - 2))
        axes = lax.ConvDimensionNumbers(
            (last, batch, *middle), (last, batch, *middle), (x.ndim - 2, last, *out)
        )
        return lax.conv_general_dilated(
            x, g, dilation, padding, None, strides, axes, 1, batch_group_count=groups
        )


conv = Conv()
conv_transpose = ConvTranspose()
conv_kernel = ConvKernel()


def depthwise_conv(
    inputs: TensorLike,
    kernel: TensorLike,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
) -> Tensor:
    """A convolution of each channel by itself, with a `kernel` of shape (*window, channels,
    multiplier): `multiplier` outputs for each channel, next to each other. Otherwise as `conv`.

    >>> depthwise_conv([[[1.0, 2.0], [3.0, 4.0]]], [[[1.0], [10.0]]])
    Tensor([[[ 1., 20.],
             [ 3., 40.]]], dtype=float32)
    """
    name = "depthwise_conv"
    kernel = tensors.as_tensor(kernel)
    if kernel.ndim < 3:
        raise ShapeError(
            f"{name}: a kernel has shape (*window, channels, multiplier), not {kernel.shape}"
        )
    *window, channels, multiplier = kernel.shape
    kernel = reshape(kernel, (*window, 1, channels * multiplier))
    return _conv(name, inputs, kernel, strides, padding, data_format, dilation_rate, channels)


def separable_conv(
    inputs: TensorLike,
    depthwise_kernel: TensorLike,
    pointwise_kernel: TensorLike,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
) -> Tensor:
    """`depthwise_conv`, then a `conv` of a window of 1 that mixes the channels: its kernel has
    shape (1, ..., channels * multiplier, outputs).

    >>> separable_conv([[[1.0, 2.0], [3.0, 4.0]]], [[[1.0], [10.0]]], [[[1.0], [1.0]]])
    Tensor([[[21.],
             [43.]]], dtype=float32)
    """
    apart = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    pointwise_kernel = tensors.as_tensor(pointwise_kernel)
    if set(pointwise_kernel.shape[:-2]) - {1}:
        raise ShapeError(
            "separable_conv: the pointwise kernel has a window of 1 along every axis, not shape "
            f"{pointwise_kernel.shape}"
        )
    return _conv("separable_conv", apart, pointwise_kernel, 1, "valid", data_format, 1, 1)


def _conv(
    name: str, inputs: Any, kernel: Any, strides: Any, padding: Any, data_format: Any,
    dilation: Any, groups: Any,
) -> Tensor:  # fmt: skip
    first = _is_first(name, data_format)
    x, kernel = _channels_last(tensors.as_tensor(inputs), first), tensors.as_tensor(kernel)
    axes = _spatial(name, x.shape, kernel.shape)
    geometry = _checked(name, x.shape, kernel.shape, strides, padding, dilation, groups, axes)
    return _channels_back(apply(conv, x, kernel, **geometry), first)


# The settings of a convolution, as every kernel takes them.


def _checked(
    name: str, x: Shape, kernel: Shape, strides: Any, padding: Any, dilation: Any, groups: Any,
    axes: int,
) -> dict[str, Any]:  # fmt: skip
    groups = _one(name, "groups", groups)
    _check_channels(name, x, kernel, groups)
    dilation = _each(name, "dilation_rate", dilation, axes)
    strides = _each(name, "strides", strides, axes)
    padding = _padding_word(name, padding, axes)
    return {
        "strides": strides,
        "padding": _pads(name, x[1:-1], _spans(kernel[:-2], dilation), strides, padding),
        "dilation": dilation,
        "groups": groups,
    }


@lru_cache(maxsize=4096)
def _pads(
    name: str, sizes: Shape, spans: Shape, strides: Shape, padding: str | tuple[Pair, ...]
) -> tuple[Pair, ...]:
    """The padding as pairs, so that the last window ends where the padded input does. Raises
    ShapeError where there is no window at all."""
    found = []
    for axis, (size, span, step) in enumerate(zip(sizes, spans, strides, strict=True)):
        if isinstance(padding, tuple):
            low, high = padding[axis]
        elif padding == "same":
            total = max((-(-size // step) - 1) * step + span - size, 0)
            low, high = total // 2, total - total // 2
        elif padding == "causal":
            low, high = span - 1, 0
        else:
            low, high = 0, 0
        rest = size + low + high - span
        if rest < 0 or size < 1:
            raise ShapeError(
                f"{name}: a window that spans {span} does not fit {size} inputs with a padding of "
                f"{(low, high)}, along axis {axis} of sizes {sizes}"
            )
        found.append((low, high - rest % step))
    return tuple(found)


@lru_cache(maxsize=4096)
def _transposed_geometry(
    counts: Shape,
    window: Shape,
    strides: Shape,
    padding: str | tuple[Pair, ...],
    output_padding: Shape | None,
    dilation: Shape,
    groups: int,
) -> dict[str, Any]:
    """The settings of the convolution that goes from what `conv_transpose` gives to its inputs."""
    pads = []
    for axis, (span, step) in enumerate(zip(_spans(window, dilation), strides, strict=True)):
        more = None if output_padding is None else output_padding[axis]
        if isinstance(padding, tuple):
            low, high = padding[axis]
            pads.append((low, high - (more or 0)))
            continue
        # By how much windows at every stride, from the first count to the last, cover too much.
        if padding == "valid":
            total = min(span - step, 0) if more is None else -more
        else:
            total = span - step if more is None else span - span % 2 - more
        low = max(total // 2, 0)
        pads.append((low, total - low))
    return {"strides": strides, "padding": tuple(pads), "dilation": dilation, "groups": groups}


def _spans(window: Sequence[int], dilation: Sequence[int]) -> Shape:
    """How far windows reach along each axis, gaps included."""
    return tuple([(size - 1) * apart + 1 for size, apart in zip(window, dilation, strict=True)])


def _spatial(name: str, x: Shape, kernel: Shape) -> int:
    """How many axes a window slides along."""
    if len(x) < 3 or len(kernel) != len(x):
        raise ShapeError(
            f"{name}: takes a batch of inputs with channels, and as many axes of both: 3 for one "
            f"dimension, 4 for two, 5 for three; not shapes {x} and {kernel}"
        )
    return len(x) - 2


def _check_channels(
    name: str, x: Shape, kernel: Shape, groups: int, transposed: bool = False
) -> None:
    channels, of_each, outputs = x[-1], kernel[-2], kernel[-1]
    if transposed and channels != outputs:
        raise ShapeError(
            f"{name}: inputs with {channels} channels need a kernel of shape (*window, outputs, "
            f"{channels}), not {kernel}"
        )
    if not transposed and channels != of_each * groups:
        raise ShapeError(
            f"{name}: inputs with {channels} channels in {groups} group{'s' * (groups != 1)} do "
            f"not fit a kernel of shape {kernel}, which takes {of_each} channels a group"
        )
    if outputs % groups:
        raise ShapeError(f"{name}: {groups} groups do not divide {outputs} channels of {kernel}")
    if 0 in kernel[:-2]:
        raise ShapeError(f"{name}: the window of a kernel of shape {kernel} is empty")


def _one(name: str, what: str, value: Any, least: int = 1) -> int:
    try:
        if isinstance(value, bool) or (found := operator.index(value)) < least:
            raise TypeError
    except TypeError:
        raise ArgumentError(
            f"{name}: {what} must be an integer of at least {least}, not {value!r}"
        ) from None
    return found


def _each(name: str, what: str, value: Any, axes: int, least: int = 1) -> Shape:
    """One integer for each axis; a single one stands for all."""
    if not isinstance(value, (tuple, list)):
        return (_one(name, what, value, least),) * axes
    if len(value) != axes:
        raise ArgumentError(
            f"{name}: {what} must be one integer, or one for each of {axes} axes, not {value!r}"
        )
    return tuple([_one(name, what, v, least) for v in value])


def _padding_word(name: str, padding: Any, axes: int) -> str | tuple[Pair, ...]:
    """A word of padding, or a pair for each axis."""
    words = ("valid", "same") if name == "conv_transpose" else ("valid", "same", "causal")
    if isinstance(padding, str):
        if padding not in words:
            raise ArgumentError(f"{name}: padding must be {_choices(padding, words)}")
        return padding
    try:
        pairs = tuple([(operator.index(low), operator.index(high)) for low, high in padding])
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != axes:
        raise ArgumentError(
            f"{name}: padding must be one of {words}, or a pair of integers for each of {axes} "
            f"axes, not {padding!r}"
        )
    if min(itertools.chain(*pairs)) < 0:
        raise ArgumentError(f"{name}: a padding cannot be negative, as in {padding!r}")
    return pairs


def _choices(given: Any, words: Sequence[str]) -> str:
    close = get_close_matches(str(given).lower(), words, n=1)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    return f"{' or '.join(map(repr, words))}, not {given!r}{hint}"


def _is_first(name: str, data_format: Any) -> bool:
    if data_format == "channels_last":
        return False
    if data_format != "channels_first":
        words = ("channels_last", "channels_first")
        raise ArgumentError(f"{name}: data_format must be {_choices(data_format, words)}")
    return True


def _channels_last(x: Tensor, first: bool) -> Tensor:
    return moveaxis(x, 1, -1) if first and x.ndim > 2 else x


def _channels_back(x: Tensor, first: bool) -> Tensor:
    return moveaxis(x, -1, 1) if first else x


# What the kernels are made of.


def _axes_last(lax: Any, ndim: int) -> Any:
    """Channels last, as JAX is told: (batch, channels, ...), (outputs, channels, ...)."""
    middle = tuple(range(1, ndim - 1))
    window = tuple(range(ndim - 2))
    arrays = (0, ndim - 1, *middle)
    return lax.ConvDimensionNumbers(arrays, (ndim - 1, ndim - 2, *window), arrays)


def _turned(xp: Any, kernel: Array, groups: int) -> Array:
    """The kernel of the convolution that goes back: flipped, inputs and outputs exchanged."""
    *window, of_each, outputs = kernel.shape
    flipped = kernel[(slice(None, None, -1),) * len(window)]
    apart = flipped.reshape(*window, of_each, groups, outputs // groups)
    apart = xp.moveaxis(apart, -1, len(window))  # (*window, outputs of each, channels, group)
    return apart.swapaxes(-1, -2).reshape(*window, outputs // groups, groups * of_each)


def _by_group(kernel: Array, groups: int) -> Array:
    """The kernel as a matrix for each group: (groups, window and channels, outputs)."""
    *window, of_each, outputs = kernel.shape
    rows = math.prod(window) * of_each
    return kernel.reshape(rows, groups, outputs // groups).swapaxes(0, 1)


def _repeated(xp: Any, x: Array, times: int) -> Array:
    return x if times == 1 else xp.repeat(x, times, axis=-1)


def _windows(
    xp: Any, x: Array, window: Sequence[int], *, strides: Any, padding: Any, dilation: Any
) -> Array:
    """A view of the padded x: (batch, *counts, *window, channels)."""
    return _strided(xp, _padded(xp, x, ((0, 0), *padding, (0, 0))), window, strides, dilation)


def _strided(
    xp: Any, x: Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> Array:
    sizes = zip(x.shape[1:-1], _spans(window, dilation), strides, strict=True)
    counts = [(size - span) // step + 1 for size, span, step in sizes]
    batch, *middle, channels = x.strides
    steps = map(operator.mul, middle, strides)
    gaps = map(operator.mul, middle, dilation)
    return xp.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *counts, *window, x.shape[-1]),
        (batch, *steps, *gaps, channels),
    )


def _padded(xp: Any, x: Array, padding: Sequence[Pair], value: float = 0) -> Array:
    """x with `value` in front and behind, along each axis; a negative number crops."""
    if min(itertools.chain(*padding)) < 0:
        ends = zip(padding, x.shape, strict=True)
        x = x[tuple([slice(max(-lo, 0), size + min(hi, 0)) for (lo, hi), size in ends])]
    more = [(max(lo, 0), max(hi, 0)) for lo, hi in padding]
    if not any(map(any, more)):
        return x
    if xp.__name__ == "jax.numpy":
        return xp.pad(x, more, constant_values=value)
    places = list(zip(more, x.shape, strict=True))
    out = xp.full([lo + size + hi for (lo, hi), size in places], value, x.dtype)
    out[tuple([slice(lo, lo + size) for (lo, _), size in places])] = x
    return out


def _blocks(xp: Any, counts: Shape, numbers: int) -> Iterator[tuple[slice, slice]]:
    """The places of outputs, by batch and first axis, whose windows hold about so many numbers
    altogether: as many as the cache of a processor, or some hundred megabytes of a GPU."""
    limit = 2**18 if xp is np else 2**26
    batch, rows, *rest, _ = counts
    row = max(math.prod(rest) * numbers, 1)
    images = max(limit // (row * rows), 1)
    at_once = rows if images > 1 else min(max(limit // row, 1), rows)
    for image in range(0, batch, images):
        for start in range(0, rows, at_once):
            yield slice(image, image + images), slice(start, start + at_once)


def _rows(part: Array, inner: int, groups: int) -> Array:
    """For each group a matrix: a row for each place, the `inner` last axes one after another."""
    channels = part.shape[-1]
    if groups == 1:
        return part.reshape(1, math.prod(part.shape[:-inner]), -1)
    apart = part.reshape(*part.shape[:-1], groups, channels // groups)
    apart = apart.transpose(apart.ndim - 2, *range(apart.ndim - 2), apart.ndim - 1)
    return apart.reshape(groups, math.prod(part.shape[:-inner]), -1)


def _taps(window: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, window))


def _under(windows: Array, tap: tuple[int, ...]) -> Array:
    """What lies under one place of every window."""
    return windows[(slice(None),) * (len(tap) + 1) + tap]


class SlidingWindows(Op):
    """Every window of `size` numbers along an axis, side by side along a new last axis.

    x[..., i * step + j * dilation, ...] is at [..., i, ..., j]. `padding` zeros go in front and
    behind first. On NumPy and CuPy a view, where nothing is padded. The transpose of
    `overlap_add`.

    >>> sliding_windows([1, 2, 3, 4], 2, step=2).tolist()
    [[1, 2], [3, 4]]
    """

    moves = True
    axes = ("axis",)

    gradients = (
        lambda g, out, x, axis, **slide: unary(
            overlap_add, g, {"length": x.shape[axis], "axis": axis, **slide}
        ),
    )
    examples = (
        example((5,), size=2, axis=0),
        example((2, 7, 3), size=2, axis=1, step=2, padding=(1, 1)),
        example((2, 6), size=3, axis=-1, dilation=2, padding=(0, 1)),
        example((3, 2, 4), size=2, axis=0, step=3),
        example((0, 4), size=2, axis=1),
    )

    def __call__(
        self,
        x: TensorLike,
        /,
        size: int,
        *,
        axis: int = -1,
        step: int = 1,
        dilation: int = 1,
        padding: Pair = (0, 0),
    ) -> Tensor:
        x = tensors.as_tensor(x)
        axis = normalize_axis(self.name, axis, x.ndim)
        slide = _slide(self.name, x.shape[axis], size, step, dilation, padding)
        return unary(self, x, {"axis": axis, **slide})

    def forward(
        self, xp: Any, x: Array, *, axis: int, size: int, step: int, dilation: int, padding: Pair
    ) -> Array:
        x = _padded(xp, x, _along(axis, x.ndim, padding))
        count = (x.shape[axis] - (size - 1) * dilation - 1) // step + 1
        if xp.__name__ == "jax.numpy":
            places = np.arange(count)[:, None] * step + np.arange(size) * dilation
            return xp.moveaxis(xp.take(x, places, axis=axis), axis + 1, -1)
        shape, strides = list(x.shape), list(x.strides)
        shape[axis], strides[axis] = count, strides[axis] * step
        return xp.lib.stride_tricks.as_strided(
            x, (*shape, size), (*strides, x.strides[axis] * dilation)
        )

    def infer(
        self, x: Aval, *, axis: int, size: int, step: int, dilation: int, padding: Pair
    ) -> Aval:
        shape = list(x.shape)
        shape[axis] = (shape[axis] + sum(padding) - (size - 1) * dilation - 1) // step + 1
        return Aval((*shape, size), x.dtype)


class OverlapAdd(Op):
    """The windows along the last axis laid over an axis of `length` numbers, and added up there.

    What is at [..., i, ..., j] is added to place i * step + j * dilation of `axis`, less the
    padding in front; what falls on the padding is left out. The transpose of `sliding_windows`.

    >>> overlap_add([[1.0, 2.0], [3.0, 4.0]], 3)
    Tensor([1., 5., 4.], dtype=float32)
    """

    linear = (0,)
    axes = ("axis",)

    gradients = (lambda g, out, x, length, **slide: unary(sliding_windows, g, slide),)
    examples = (
        example((4, 2), length=5, axis=0),
        example((2, 4, 3, 2), length=7, axis=1, step=2, padding=(1, 1)),
        example((2, 3, 3), length=6, axis=-1, dilation=2, padding=(0, 1)),
        example((2, 2, 3, 2), length=6, axis=0, step=3),
        example((0, 3, 2), length=4, axis=1),
    )

    def __call__(
        self,
        windows: TensorLike,
        /,
        length: int,
        *,
        axis: int = -1,
        step: int = 1,
        dilation: int = 1,
        padding: Pair = (0, 0),
    ) -> Tensor:
        x = tensors.as_tensor(windows)
        if x.ndim < 2:
            raise ShapeError(f"{self.name}: takes windows along a last axis, not shape {x.shape}")
        axis = normalize_axis(self.name, axis, x.ndim - 1)
        length = _one(self.name, "length", length)
        slide = _slide(self.name, length, x.shape[-1], step, dilation, padding)
        params = {"length": length, "axis": axis, **slide}
        expected = _count(params)
        if x.shape[axis] != expected:
            raise ShapeError(
                f"{self.name}: {length} numbers have {expected} windows of these, not "
                f"{x.shape[axis]} as in shape {x.shape}"
            )
        return unary(self, x, params)

    def forward(
        self, xp: Any, x: Array, *, length: int, axis: int, size: int, step: int, dilation: int,
        padding: Pair,
    ) -> Array:  # fmt: skip
        shape = list(x.shape[:-1])
        count, shape[axis] = shape[axis], length + sum(padding)
        dtype = dtypes.float32 if dtypes.is_half(x.dtype) else x.dtype
        out = xp.zeros(shape, dtype)
        for j in range(size):
            start = j * dilation
            place = (*(slice(None),) * axis, slice(start, start + (count - 1) * step + 1, step))
            if xp.__name__ == "jax.numpy":
                out = out.at[place].add(x[..., j])
            elif step >= size and dilation == 1:  # no window reaches into another
                out[place] = x[..., j]
            else:
                out[place] += x[..., j]
        low, high = padding
        out = _padded(xp, out, _along(axis, out.ndim, (-low, -high)))
        return out.astype(x.dtype) if dtype is not x.dtype else out

    def infer(self, x: Aval, *, length: int, axis: int, **slide: Any) -> Aval:
        shape = list(x.shape[:-1])
        shape[axis] = length
        return Aval(tuple(shape), x.dtype)


class WindowMax(Op):
    """The largest number of each window of `size` along an axis; NaN where there is one.

    `padding` is never the largest. Of equals the first one has the gradient, as in all three
    frameworks' pooling.

    >>> window_max([1, 3, 2, 0], 2)
    Tensor([3, 3, 2], dtype=int32)
    """

    axes = ("axis",)

    gradients = (
        lambda g, out, x, axis, **slide: unary(
            overlap_add,
            _kept(expand_dims(g, axis=-1), _is_largest(x, out, axis=axis, **slide)),
            {"length": x.shape[axis], "axis": axis, "dilation": 1, **slide},
        ),
    )
    examples = (
        example((6,), size=2, axis=0),
        example((2, 7, 3), size=3, axis=1, step=2, padding=(1, 1)),
        example((5, 2), size=2, axis=0, step=3),
        example((2, 4), size=4, axis=-1, padding=(0, 2)),
        example((0, 4), size=2, axis=1),
    )

    def __call__(
        self, x: TensorLike, /, size: int, *, axis: int = -1, step: int = 1, padding: Pair = (0, 0)
    ) -> Tensor:
        x = tensors.as_tensor(x)
        axis = normalize_axis(self.name, axis, x.ndim)
        slide = _slide(self.name, x.shape[axis], size, step, 1, padding)
        del slide["dilation"]
        return unary(self, x, {"axis": axis, **slide})

    def forward(
        self, xp: Any, x: Array, *, axis: int, size: int, step: int, padding: Pair
    ) -> Array:
        first, *others = _moments(xp, x, axis, size, step, padding)
        for other in others:
            first = xp.maximum(first, other)
        return first

    def infer(self, x: Aval, *, axis: int, size: int, step: int, padding: Pair) -> Aval:
        shape = list(x.shape)
        shape[axis] = (shape[axis] + sum(padding) - size) // step + 1
        return Aval(tuple(shape), x.dtype)


class IsLargest(Op):
    """Which number of each window is its first largest, along a new last axis."""

    axes = ("axis",)

    no_gradient = "a choice has no slope"

    def forward(
        self, xp: Any, x: Array, out: Array, *, axis: int, size: int, step: int, padding: Pair
    ) -> Array:
        moments = _moments(xp, x, axis, size, step, padding)
        found, left = [], xp.ones(out.shape, bool)
        for moment in moments[:-1]:
            here = (moment == out) & left
            left = left ^ here
            found.append(here)
        return xp.moveaxis(xp.stack([*found, left]), 0, -1)

    def infer(self, x: Aval, out: Aval, *, axis: int, size: int, step: int, padding: Pair) -> Aval:
        return Aval((*out.shape, size), dtypes.bool_)


class Kept(Op):
    """x where a mask holds, else 0, with broadcasting: `where`, in a third of NumPy's time.

    A float's bits times 1 are its bits, and times 0 those of 0, for infinities and NaN too.
    """

    linear = (0,)
    gradients = (lambda g, out, x, mask: apply(_kept, g, mask), None)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> Sequence[DType | None]:
        return list(given)

    def forward(self, xp: Any, x: Array, mask: Array) -> Array:
        if xp is not np:
            return xp.where(mask, x, xp.zeros((), x.dtype))
        return (x.view(f"i{x.itemsize}") * mask.view("i1")).view(x.dtype)

    def infer(self, x: Aval, mask: Aval) -> Aval:
        return Aval(broadcast_shapes(self.name, x.shape, mask.shape), x.dtype)


sliding_windows = SlidingWindows()
overlap_add = OverlapAdd()
window_max = WindowMax()
_is_largest = IsLargest()
_kept = Kept()


def _moments(xp: Any, x: Array, axis: int, size: int, step: int, padding: Pair) -> list[Array]:
    """The first number of every window, the second, and so on."""
    if any(padding):
        low = -np.inf if dtypes.is_float(x.dtype) else np.iinfo(x.dtype).min
        x = _padded(xp, x, _along(axis, x.ndim, padding), low)
    reach = x.shape[axis] - size + 1
    before = (slice(None),) * axis
    return [x[(*before, slice(j, j + reach, step))] for j in range(size)]


def _along(axis: int, ndim: int, padding: Pair) -> list[Pair]:
    """The padding of one axis as that of all."""
    return [padding if i == axis else (0, 0) for i in range(ndim)]


def _slide(
    name: str, length: int, size: Any, step: Any, dilation: Any, padding: Any
) -> dict[str, Any]:
    """The parameters of windows along an axis, exact like those of a convolution."""
    size, step = _one(name, "size", size), _one(name, "step", step)
    dilation = _one(name, "dilation", dilation)
    pairs = _padding_word(name, [padding], 1)
    span = (size - 1) * dilation + 1
    ((low, high),) = _pads(name, (length,), (span,), (step,), pairs)
    return {"size": size, "step": step, "dilation": dilation, "padding": (low, high)}


def _count(params: dict[str, Any]) -> int:
    reach = params["length"] + sum(params["padding"])
    return (reach - (params["size"] - 1) * params["dilation"] - 1) // params["step"] + 1


def max_pool(
    inputs: TensorLike,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
) -> Tensor:
    """The largest number of each window; NaN where there is one. `inputs` has shape (batch,
    *sizes, channels), or channels first; `strides` are the pool's sizes if not given; `padding` is
    as in `conv`, and never the largest. Of equals the first has the gradient: the topmost, and of
    these the leftmost, as in TensorFlow, PyTorch and JAX.

    Raises ShapeError where a window does not fit, ArgumentError for a setting that cannot be.

    >>> max_pool([[[1.0], [3.0], [2.0], [0.0]]], 2)
    Tensor([[[3.],
             [2.]]], dtype=float32)
    """
    x, slides, first = _pool("max_pool", inputs, pool_size, strides, padding, data_format)
    # The last axis first: then it is the first row that has the largest, and the first of it there.
    for axis, size, step, pads in reversed(slides):
        params = {"axis": axis, "size": size, "step": step, "padding": pads}
        x = unary(window_max, x, params)
    return _channels_back(x, first)


def average_pool(
    inputs: TensorLike,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
) -> Tensor:
    """The mean of each window, of what it has of the inputs: padding does not count, as in Keras.
    Otherwise as `max_pool`; integers become float32.

    >>> average_pool([[[1.0], [3.0], [2.0]]], 2, padding="same")
    Tensor([[[2.],
             [2.]]], dtype=float32)
    """
    x, slides, first = _pool("average_pool", inputs, pool_size, strides, padding, data_format)
    x = as_float(x)
    dtype = x.dtype
    wide = astype(x, dtypes.float32) if dtypes.is_half(dtype) else x
    divisor: Any = 1.0
    for axis, size, step, pads in slides:
        counts = _counts(x.shape[axis], size, step, pads)
        if len(set(counts)) == 1:
            divisor = divisor * counts[0]
        else:
            divisor = divisor * np.array(counts, wide.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        windows = {"axis": axis, "size": size, "step": step, "dilation": 1, "padding": pads}
        wide = reduction.sum(unary(sliding_windows, wide, windows), axis=-1)
    return _channels_back(astype(wide / divisor, dtype), first)


def _pool(
    name: str, inputs: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any
) -> tuple[Tensor, list[tuple[int, int, int, Pair]], bool]:
    """The inputs, channels last, and for each axis that windows slide along its number, and the
    windows' size, step and padding."""
    first = _is_first(name, data_format)
    x = _channels_last(tensors.as_tensor(inputs), first)
    axes = x.ndim - 2
    if axes < 1:
        raise ShapeError(
            f"{name}: takes a batch of inputs with channels, (batch, *sizes, channels), not shape "
            f"{x.shape}"
        )
    window = _each(name, "pool_size", pool_size, axes)
    steps = window if strides is None else _each(name, "strides", strides, axes)
    padding = _padding_word(name, padding, axes)
    pads = _pads(name, x.shape[1:-1], window, steps, padding)
    for size, pair in zip(window, pads, strict=True):
        if max(pair) >= size:
            raise ArgumentError(f"{name}: a padding of {pair} leaves windows of {size} empty")
    slides = zip(range(1, axes + 1), window, steps, pads, strict=True)
    return x, [slide for slide in slides if slide[1] > 1 or slide[2] > 1], first


@lru_cache(maxsize=4096)
def _counts(length: int, size: int, step: int, padding: Pair) -> list[int]:
    """How many numbers each window has, without the padding."""
    low, high = padding
    starts = range(-low, length + high - size + 1, step)
    return [min(start + size, length) - max(start, 0) for start in starts]


def unfold(
    x: TensorLike,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """The patches of images: of shape (batch, channels, *sizes) to (batch, channels * patch size,
    patches), as in PyTorch, for any number of axes. `padding` is for both ends of each axis.

    >>> unfold(np.arange(4.0).reshape(1, 1, 4), 2).tolist()
    [[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]]
    """
    x = tensors.as_tensor(x)
    axes = x.ndim - 2
    if axes < 1:
        raise ShapeError(f"unfold: takes (batch, channels, *sizes), not shape {x.shape}")
    for axis, slide in _patch_slides("unfold", x.shape[2:], kernel_size, dilation, padding, stride):
        x = unary(sliding_windows, x, {"axis": axis, **slide})
    order = (0, 1, *range(axes + 2, 2 * axes + 2), *range(2, axes + 2))
    batch, channels, *counts = x.shape[: axes + 2]
    window = math.prod(x.shape[axes + 2 :])
    return reshape(permute_dims(x, order), (batch, channels * window, math.prod(counts)))


def fold(
    x: TensorLike,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Patches put back to images of `output_size`, adding up where they overlap: the transpose of
    `unfold`, from (batch, channels * patch size, patches) to (batch, channels, *output_size).

    >>> fold([[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]], (4,), 2).tolist()
    [[[0.0, 2.0, 4.0, 3.0]]]
    """
    x = tensors.as_tensor(x)
    if isinstance(output_size, int):
        output_size = (output_size, output_size)
    sizes = _each("fold", "output_size", output_size, len(output_size))
    slides = _patch_slides("fold", sizes, kernel_size, dilation, padding, stride)
    counts = [
        _count({"length": length, **slide})
        for length, (_, slide) in zip(sizes, slides, strict=True)
    ]
    window = [slide["size"] for _, slide in slides]
    patch, patches = math.prod(window), math.prod(counts)
    if x.ndim != 3 or x.shape[1] % patch or x.shape[2] != patches:
        raise ShapeError(
            f"fold: takes (batch, channels * {patch}, {patches}) for this size and these windows, "
            f"not shape {x.shape}"
        )
    batch, channels, axes = x.shape[0], x.shape[1] // patch, len(sizes)
    x = reshape(x, (batch, channels, *window, *counts))
    x = permute_dims(x, (0, 1, *range(axes + 2, 2 * axes + 2), *range(2, axes + 2)))
    for length, (axis, slide) in zip(reversed(sizes), reversed(slides), strict=True):
        x = unary(overlap_add, x, {"length": length, "axis": axis, **slide})
    return x


def _patch_slides(
    name: str, sizes: Shape, window: Any, dilation: Any, padding: Any, stride: Any
) -> list[tuple[int, dict[str, Any]]]:
    """The axes of (batch, channels, *sizes) that windows slide along, and how."""
    axes = len(sizes)
    settings = zip(
        sizes,
        _each(name, "kernel_size", window, axes),
        _each(name, "stride", stride, axes),
        _each(name, "dilation", dilation, axes),
        _each(name, "padding", padding, axes, 0),
        strict=True,
    )
    return [
        (axis, _slide(name, length, size, step, apart, (pad, pad)))
        for axis, (length, size, step, apart, pad) in enumerate(settings, 2)
    ]
