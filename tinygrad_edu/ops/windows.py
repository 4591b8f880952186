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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import conversion, dtypes
from ..arguments import Shape, normalize_axis
from ..backends import Array
from ..dispatch import apply, unary
from ..dtypes import DType
from ..errors import ArgumentError, ShapeError, close_to
from ..op import Aval, Op
from ..references import example, real
from ..tensors import Tensor, TensorLike
from . import reduction
from .elementwise import astype
from .kernels import kept
from .movement import moveaxis, permute_dims, reshape
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


class _Geometry(NamedTuple):
    """The parameters of a convolution, with a part for each axis between batch and channels.

    `padding` has a pair each; a negative number crops. It is exact: the last window ends where the
    padded input does. So the sizes of any two of input, window and output give those of the third.
    """

    strides: Shape
    padding: tuple[Pair, ...]
    dilation: Shape
    groups: int


class _Convolution(Op, abstract=True):
    """Base of the three sides of a convolution: of inputs, kernel and outputs, two give the third.

    `counted` says which of the operands and the result are the kernel and the outputs.
    """

    arity = 2
    linear = (0, 1)
    domain = real(-1, 1)
    counted: tuple[int, int]

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> Sequence[DType | None]:
        common = super().operand_dtypes(given, kind)
        return [d if d is None or dtypes.is_float(d) else dtypes.float32 for d in common]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        if xp.__name__ == "jax.numpy":
            compute, module = self.on_jax, importlib.import_module("jax.lax")
        else:
            compute, module = self.of_arrays, xp
        wide = dtypes.float32

        def kernel(a: Array, b: Array, **params: Any) -> Array:
            dtype, how = a.dtype, _Geometry(**params)
            if dtype.itemsize == 2:  # halves accumulate in float32
                return compute(module, a.astype(wide), b.astype(wide), how).astype(dtype)
            return compute(module, a, b, how)

        return kernel

    def of_arrays(self, xp: Any, a: Array, b: Array, how: _Geometry, /) -> Array:
        """The result: of numpy or cupy, and two of its arrays."""
        raise NotImplementedError  # each of the three states its own

    def on_jax(self, lax: Any, a: Array, b: Array, how: _Geometry, /) -> Array:
        """The result: of jax.lax, and two arrays of JAX."""
        raise NotImplementedError  # each of the three states its own

    def infer(self, a: Aval, b: Aval, **params: Any) -> Aval:
        return Aval(self.shape(a.shape, b.shape, _Geometry(**params)), a.dtype)

    def shape(self, a: Shape, b: Shape, how: _Geometry, /) -> Shape:
        """The shape of the result."""
        raise NotImplementedError  # each of the three states its own

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        """A product and a sum for each output and each number that it is made of."""
        kernel, y = [(*inputs, *outputs)[i].shape for i in self.counted]
        return 2 * math.prod(y) * math.prod(kernel[:-1])


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

    counted = (1, 2)
    gradients = (
        lambda g, _, x, kernel, **geometry: apply(conv_transpose, g, kernel, **geometry),
        lambda g, _, x, kernel, **geometry: apply(conv_kernel, x, g, **geometry),
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

    def shape(self, x: Shape, kernel: Shape, how: _Geometry, /) -> Shape:
        _check_channels(self.name, x, kernel, how.groups)
        spans = _spans(kernel[:-2], how.dilation)
        sizes = zip(x[1:-1], spans, how.strides, how.padding, strict=True)
        counts = [(size + lo + hi - span) // step + 1 for size, span, step, (lo, hi) in sizes]
        if min(counts) < 1:
            raise ShapeError(f"{self.name}: no window of {kernel[:-2]} fits inputs of shape {x}")
        return (x[0], *counts, kernel[-1])

    def of_arrays(self, xp: Any, x: Array, kernel: Array, how: _Geometry, /) -> Array:
        *window, of_each, outputs = kernel.shape
        groups = how.groups
        apart = of_each == 1 < groups
        if apart:  # a depthwise one has nothing to sum but the window
            x, kernel = _repeated(xp, x, outputs // groups), kernel[..., 0, :]
        windows = _windows(xp, x, window, how)
        out = xp.empty((*windows.shape[: -1 - len(window)], outputs), x.dtype)
        if apart:
            for place in _blocks(xp, out.shape, outputs):
                total = out[place]
                total[...] = 0
                for tap in _taps(window):
                    total += _under(windows[place], tap) * kernel[tap]
            return out
        weights = kernel.reshape(-1, groups, outputs // groups).swapaxes(0, 1)
        for place, patches in _patches(xp, windows, groups):
            xp.matmul(patches, weights, out=_rows(out[place], groups))
        return out

    def on_jax(self, lax: Any, x: Array, kernel: Array, how: _Geometry, /) -> Array:
        axes = _axes_last(lax, x.ndim)
        return lax.conv_general_dilated(
            x, kernel, how.strides, how.padding, None, how.dilation, axes, how.groups
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

    counted = (1, 0)
    gradients = (
        lambda t, _, g, kernel, **geometry: apply(conv, t, kernel, **geometry),
        lambda t, _, g, kernel, **geometry: apply(conv_kernel, t, g, **geometry),
    )
    examples = (
        example((2, 3, 4, 2), (3, 2, 3, 2), padding="same"),
        example((1, 3, 2, 2), (3, 2, 3, 2), strides=2, padding="same"),
        example((2, 3, 2, 5), (2, 2, 2, 5)),
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
        x = _channels_last(conversion.as_tensor(inputs), first)
        kernel = conversion.as_tensor(kernel)
        axes = _spatial(self.name, x.shape, kernel.shape)
        more = output_padding
        how = _transposed_geometry(
            kernel.shape[:-2],
            _each(self.name, "strides", strides, axes),
            _padding_word(self.name, padding, axes),
            None if more is None else _each(self.name, "output_padding", more, axes, 0),
            _each(self.name, "dilation_rate", dilation_rate, axes),
            _one(self.name, "groups", groups),
        )
        self.shape(x.shape, kernel.shape, how)
        return _channels_back(apply(self, x, kernel, **how._asdict()), first)

    def shape(self, g: Shape, kernel: Shape, how: _Geometry, /) -> Shape:
        _check_channels(self.name, g, kernel, how.groups, transposed=True)
        spans = _spans(kernel[:-2], how.dilation)
        counts = zip(g[1:-1], spans, how.strides, how.padding, strict=True)
        sizes = [(count - 1) * step + span - lo - hi for count, span, step, (lo, hi) in counts]
        if min(sizes) < 1:
            raise ShapeError(
                f"{self.name}: the padding {how.padding} leaves nothing of inputs of shape {g} and "
                f"windows of {kernel[:-2]}"
            )
        return (g[0], *sizes, kernel[-2] * how.groups)

    def of_arrays(self, xp: Any, g: Array, kernel: Array, how: _Geometry, /) -> Array:
        *window, of_each, outputs = kernel.shape
        strides, padding, dilation, groups = how
        spans, apart = _spans(window, dilation), of_each == 1 < groups
        # Patches of what comes in, or products to be added up: whichever is less in memory.
        gathers = max(strides) == 1 and not apart and outputs < 2 * of_each * groups
        if gathers and (xp is not np or np.isfinite(kernel).all()):
            # A convolution with the kernel turned round: no sums scattered over memory. Its padding
            # would make NaN of an infinite kernel; no GPU waits for the answer.
            turned = how._replace(padding=_turned_padding(spans, padding))
            return conv.of_arrays(xp, g, _turned(xp, kernel, groups), turned)
        counts = zip(g.shape[1:-1], strides, spans, strict=True)
        sizes = [(count - 1) * step + span for count, step, span in counts]
        out = xp.zeros((g.shape[0], *sizes, of_each * groups), g.dtype)
        windows = _strided(xp, out, window, how)  # of the result, to be added to
        weights = kernel.reshape(-1, of_each, groups, outputs // groups).transpose(0, 2, 3, 1)
        memory = None
        for place in _blocks(xp, g.shape, outputs if apart else math.prod(window) * out.shape[-1]):
            if apart:
                products = (g[place] * kernel[(*tap, 0)] for tap in _taps(window))
                parts = (p.reshape(-1, groups, outputs // groups).sum(axis=-1) for p in products)
            else:
                rows = _rows(g[place], groups)
                if memory is None:  # the first block is as large as any
                    memory = xp.empty((*weights.shape[:2], rows.shape[1], of_each), g.dtype)
                parts = xp.matmul(rows, weights, out=memory[:, :, : rows.shape[1]])
            for tap, values in zip(_taps(window), parts, strict=True):
                under = _under(windows[place], tap)
                if not apart:
                    under = _by_group(under, groups)
                under += values.reshape(under.shape)
        return _padded(xp, out, [(-lo, -hi) for lo, hi in ((0, 0), *padding, (0, 0))])

    def on_jax(self, lax: Any, g: Array, kernel: Array, how: _Geometry, /) -> Array:
        padding = _turned_padding(_spans(kernel.shape[:-2], how.dilation), how.padding)
        turned = _turned(importlib.import_module("jax.numpy"), kernel, how.groups)
        axes, ones = _axes_last(lax, g.ndim), (1,) * len(how.strides)
        return lax.conv_general_dilated(
            g, turned, ones, padding, how.strides, how.dilation, axes, how.groups
        )


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

    counted = (2, 1)
    gradients = (
        lambda t, _, x, g, **geometry: apply(conv_transpose, g, t, **geometry),
        lambda t, _, x, g, **geometry: apply(conv, x, t, **geometry),
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
        x = _channels_last(conversion.as_tensor(inputs), first)
        g = _channels_last(conversion.as_tensor(outputs), first)
        axes = _spatial(self.name, x.shape, g.shape)
        groups = _one(self.name, "groups", groups)
        window = _each(self.name, "window", window, axes)
        if x.shape[-1] % groups or g.shape[-1] % groups:
            raise ShapeError(
                f"{self.name}: {groups} groups do not divide {x.shape[-1]} channels of the inputs "
                f"and {g.shape[-1]} of the outputs"
            )
        kernel = (*window, x.shape[-1] // groups, g.shape[-1])
        how = _checked(self.name, x.shape, kernel, strides, padding, dilation_rate, groups, axes)
        expected = conv.shape(x.shape, kernel, how)
        if g.shape != expected:
            raise ShapeError(
                f"{self.name}: a convolution of these inputs gives outputs of shape {expected}, "
                f"not {g.shape} (channels last)"
            )
        return apply(self, x, g, **how._asdict())

    def shape(self, x: Shape, g: Shape, how: _Geometry, /) -> Shape:
        counts = zip(x[1:-1], g[1:-1], how.strides, how.padding, how.dilation, strict=True)
        window = [
            (size + lo + hi - (count - 1) * step - 1) // apart + 1
            for size, count, step, (lo, hi), apart in counts
        ]
        return (*window, x[-1] // how.groups, g[-1])

    def of_arrays(self, xp: Any, x: Array, g: Array, how: _Geometry, /) -> Array:
        *window, of_each, outputs = shape = self.shape(x.shape, g.shape, how)
        groups = how.groups
        apart = of_each == 1 < groups
        if apart:
            x = _repeated(xp, x, outputs // groups)
        windows = _windows(xp, x, window, how)
        if apart:
            out = xp.zeros(shape, x.dtype)
            for place in _blocks(xp, g.shape, outputs):
                for tap in _taps(window):
                    products = _under(windows[place], tap) * g[place]
                    out[(*tap, 0)] += products.reshape(-1, outputs).sum(axis=0)
            return out
        taps = math.prod(window)
        total = xp.zeros((groups, taps * of_each, outputs // groups), x.dtype)
        for place, patches in _patches(xp, windows, groups):
            total += xp.matmul(patches.swapaxes(1, 2), _rows(g[place], groups))
        return total.swapaxes(0, 1).reshape(shape)

    def on_jax(self, lax: Any, x: Array, g: Array, how: _Geometry, /) -> Array:
        # Channels in the place of the batch, and the batch in that of the channels to sum over.
        batch, last, middle = 0, x.ndim - 1, tuple(range(1, x.ndim - 1))
        out = tuple(range(x.ndim - 2))
        axes = lax.ConvDimensionNumbers(
            (last, batch, *middle), (last, batch, *middle), (x.ndim - 2, last, *out)
        )
        return lax.conv_general_dilated(
            x, g, how.dilation, how.padding, None, how.strides, axes, 1,
            batch_group_count=how.groups,
        )  # fmt: skip


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
    kernel = conversion.as_tensor(kernel)
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
    pointwise_kernel = conversion.as_tensor(pointwise_kernel)
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
    x, kernel = _channels_last(conversion.as_tensor(inputs), first), conversion.as_tensor(kernel)
    axes = _spatial(name, x.shape, kernel.shape)
    how = _checked(name, x.shape, kernel.shape, strides, padding, dilation, groups, axes)
    return _channels_back(apply(conv, x, kernel, **how._asdict()), first)


# The settings of a convolution, as every kernel takes them.


def _checked(
    name: str, x: Shape, kernel: Shape, strides: Any, padding: Any, dilation: Any, groups: Any,
    axes: int,
) -> _Geometry:  # fmt: skip
    groups = _one(name, "groups", groups)
    _check_channels(name, x, kernel, groups)
    dilation = _each(name, "dilation_rate", dilation, axes)
    strides = _each(name, "strides", strides, axes)
    padding = _padding_word(name, padding, axes)
    pads = _pads(name, x[1:-1], _spans(kernel[:-2], dilation), strides, padding)
    return _Geometry(strides, pads, dilation, groups)


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
    window: Shape,
    strides: Shape,
    padding: str | tuple[Pair, ...],
    output_padding: Shape | None,
    dilation: Shape,
    groups: int,
) -> _Geometry:
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
    return _Geometry(strides, tuple(pads), dilation, groups)


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
    return f"{' or '.join(map(repr, words))}, not {given!r}{close_to(given, words)}"


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


def _turned_padding(spans: Shape, padding: Sequence[Pair]) -> tuple[Pair, ...]:
    """What the convolution that goes back at strides of 1 needs around its input."""
    ends = zip(spans, padding, strict=True)
    return tuple([(span - 1 - lo, span - 1 - hi) for span, (lo, hi) in ends])


def _turned(xp: Any, kernel: Array, groups: int) -> Array:
    """The kernel of the convolution that goes back: flipped, inputs and outputs exchanged."""
    *window, of_each, outputs = kernel.shape
    flipped = kernel[(slice(None, None, -1),) * len(window)]
    apart = flipped.reshape(*window, of_each, groups, outputs // groups)
    apart = xp.moveaxis(apart, -1, len(window))  # (*window, outputs of each, channels, group)
    return apart.swapaxes(-1, -2).reshape(*window, outputs // groups, groups * of_each)


def _repeated(xp: Any, x: Array, times: int) -> Array:
    return x if times == 1 else xp.repeat(x, times, axis=-1)


def _windows(xp: Any, x: Array, window: Sequence[int], how: _Geometry) -> Array:
    """A view of the padded x: (batch, *counts, *window, channels)."""
    return _strided(xp, _padded(xp, x, ((0, 0), *how.padding, (0, 0))), window, how)


def _strided(xp: Any, x: Array, window: Sequence[int], how: _Geometry) -> Array:
    sizes = zip(x.shape[1:-1], _spans(window, how.dilation), how.strides, strict=True)
    counts = [(size - span) // step + 1 for size, span, step in sizes]
    batch, *middle, channels = x.strides
    steps = map(operator.mul, middle, how.strides)
    gaps = map(operator.mul, middle, how.dilation)
    return xp.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *counts, *window, x.shape[-1]),
        (batch, *steps, *gaps, channels),
    )


def _padded(xp: Any, x: Array, padding: Sequence[Pair], value: float = 0) -> Array:
    """x with `value` in front and behind, along each axis; a negative number crops."""
    if min(itertools.chain(*padding)) < 0:
        ends = list(zip(padding, x.shape, strict=True))
        x = x[tuple([slice(max(-lo, 0), max(size + min(hi, 0), 0)) for (lo, hi), size in ends])]
        # What a crop does not find in x it takes from the padding at the other end.
        padding = [(lo + min(size + hi, 0), hi + min(size + lo, 0)) for (lo, hi), size in ends]
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
    altogether: as many as the cache of a processor, or some hundred megabytes of a GPU. None is
    larger than the first."""
    limit = 2**19 if xp is np else 2**26
    batch, rows, *rest, _ = counts
    row = max(math.prod(rest) * numbers, 1)
    images = max(limit // (row * rows), 1)
    at_once = rows if images > 1 else -(-rows // -(-row * rows // limit))
    for image in range(0, batch, images):
        for start in range(0, rows, at_once):
            yield slice(image, image + images), slice(start, start + at_once)


def _patches(xp: Any, windows: Array, groups: int) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """Block by block, the place of the outputs, and for each group a matrix with what lies under
    the window of each of them, row by row. The next block is laid over it."""
    axes = windows.ndim // 2 - 1  # that windows slide along
    numbers, memory = math.prod(windows.shape[-axes - 1 :]), None
    for place in _blocks(xp, windows.shape[: axes + 2], numbers):
        found = _by_group(windows[place], groups)
        if not found.flags.c_contiguous:
            memory = xp.empty(found.size, found.dtype) if memory is None else memory
            found, part = memory[: found.size].reshape(found.shape), found
            found[...] = part
        yield place, found.reshape(groups, math.prod(found.shape[1 : axes + 2]), -1)


def _by_group(x: Array, groups: int) -> Array:
    """A view with the groups of channels, the last axis, as another axis in front."""
    apart = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return apart.transpose(apart.ndim - 2, *range(apart.ndim - 2), apart.ndim - 1)


def _rows(x: Array, groups: int) -> Array:
    """A view with a matrix for each group: its channels at each place, row by row."""
    return _by_group(x, groups).reshape(groups, math.prod(x.shape[:-1]), -1)


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
        lambda g, _, x, axis, **slide: unary(
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
        x = conversion.as_tensor(x)
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

    gradients = (lambda g, _, x, length, **slide: unary(sliding_windows, g, slide),)
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
        x = conversion.as_tensor(windows)
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

    def forward(self, xp: Any, x: Array, *, length: int, size: int, **slide: Any) -> Array:
        parts = [x[..., j] for j in range(size)]
        return _added_up(xp, parts, x.dtype, x.shape[:-1], length, size=size, **slide)

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

    gradients = (lambda g, out, x, **slide: apply(_to_largest, g, x, out, **slide),)
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
        x = conversion.as_tensor(x)
        axis = normalize_axis(self.name, axis, x.ndim)
        slide = _slide(self.name, x.shape[axis], size, step, 1, padding)
        del slide["dilation"]
        return unary(self, x, {"axis": axis, **slide})

    def forward(self, xp: Any, x: Array, *, out: Any = None, **slide: Any) -> Array:
        found, *others = _moments(xp, x, **slide)
        memory = {} if out is None else {"out": out}
        for other in others or [found]:
            found = xp.maximum(found, other, **memory)
        return found

    def infer(self, x: Aval, *, axis: int, size: int, step: int, padding: Pair) -> Aval:
        shape = list(x.shape)
        shape[axis] = (shape[axis] + sum(padding) - size) // step + 1
        return Aval(tuple(shape), x.dtype)


class ToLargest(Op):
    """The numbers of windows, each put where its window of x has its first largest, `most`, and
    added up there; zeros elsewhere. The transpose of `at_largest`."""

    linear = (0,)
    axes = ("axis",)
    gradients = (
        lambda t, _, g, x, most, **slide: apply(_at_largest, t, x, most, **slide), None, None,
    )  # fmt: skip

    def forward(
        self, xp: Any, g: Array, x: Array, most: Array, *, out: Any = None, **slide: Any
    ) -> Array:
        parts = (kept(xp, g, here) for here in _first_largest(xp, x, most, **slide))
        return _added_up(xp, parts, g.dtype, g.shape, x.shape[slide["axis"]], out=out, **slide)

    def infer(self, g: Aval, x: Aval, most: Aval, **slide: Any) -> Aval:
        return Aval(x.shape, g.dtype)


class AtLargest(Op):
    """Of each window of y the number that is where the same window of x has its first largest,
    `most`."""

    linear = (0,)
    axes = ("axis",)
    gradients = (
        lambda g, _, y, x, most, **slide: apply(_to_largest, g, x, most, **slide), None, None,
    )  # fmt: skip

    def forward(self, xp: Any, y: Array, x: Array, most: Array, **slide: Any) -> Array:
        moments = _moments(xp, y, **slide, value=0)
        return sum(map(partial(kept, xp), moments, _first_largest(xp, x, most, **slide)))

    def infer(self, y: Aval, x: Aval, most: Aval, **slide: Any) -> Aval:
        return Aval(most.shape, y.dtype)


sliding_windows = SlidingWindows()
overlap_add = OverlapAdd()
window_max = WindowMax()
_to_largest = ToLargest()
_at_largest = AtLargest()


def _first_largest(xp: Any, x: Array, most: Array, **slide: Any) -> Iterator[Array]:
    """Whether each window's largest is its first number, its second, and so on; its last, where
    none is equal to it, as NaN."""
    left = None
    for moment in _moments(xp, x, **slide)[:-1]:
        here = moment == most if left is None else (moment == most) & left
        left = ~here if left is None else left ^ here
        yield here
    yield xp.ones(most.shape, bool) if left is None else left


def _moments(
    xp: Any, x: Array, *, axis: int, size: int, step: int, padding: Pair, value: float | None = None
) -> list[Array]:
    """The first number of every window, the second, and so on. Padding has this `value`, or the
    lowest."""
    if any(padding):
        if value is None:
            value = -np.inf if dtypes.is_float(x.dtype) else np.iinfo(x.dtype).min
        x = _padded(xp, x, _along(axis, x.ndim, padding), value)
    reach = x.shape[axis] - size + 1
    before = (slice(None),) * axis
    return [x[(*before, slice(j, j + reach, step))] for j in range(size)]


def _added_up(
    xp: Any, parts: Iterable[Array], dtype: DType, counts: Shape, length: int, *, axis: int,
    size: int, step: int, padding: Pair, dilation: int = 1, out: Any = None,
) -> Array:  # fmt: skip
    """Numbers added up along an axis of this length: in each part one of every window, of as many
    windows as the `counts` have there, less what falls on the padding."""
    shape, count = list(counts), counts[axis]
    shape[axis] = length + sum(padding)
    wide = dtypes.float32 if dtypes.is_half(dtype) else dtype
    written = xp.__name__ != "jax.numpy"
    apart = step >= size and dilation == 1  # no window reaches into another
    tiles = written and apart and count * size == shape[axis]  # nor is anything between them
    if tiles and out is not None and out.dtype == wide and not any(padding):
        found = out
    else:
        found = (xp.empty if tiles else xp.zeros)(shape, wide)
    for j, part in enumerate(parts):
        start = j * dilation
        place = (*(slice(None),) * axis, slice(start, start + (count - 1) * step + 1, step))
        if not written:
            found = found.at[place].add(part)
        elif apart:
            found[place] = part
        else:
            found[place] += part
    if found is out:
        return found
    low, high = padding
    found = _padded(xp, found, _along(axis, found.ndim, (-low, -high)))
    if out is not None:
        return np.positive(found, out, casting="same_kind")
    return found.astype(dtype) if found.dtype != dtype else found


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
    x = _channels_last(conversion.as_tensor(inputs), first)
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
    x = conversion.as_tensor(x)
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
    x = conversion.as_tensor(x)
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
