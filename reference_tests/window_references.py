"""What TensorFlow, PyTorch and JAX have for convolutions, pooling and patches, under our names and
with our arguments.

Each framework lays out its axes and states padding in its own way; here that is brought together,
so that the rest of the suite sees one function a framework. Padding that a framework has a word
for is left to it. The transpose of a linear function is the framework's own gradient of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[..., Any]


def each(value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def pairs(padding: Any, sizes: Any, spans: Any, strides: Any) -> list[tuple[int, int]]:
    """Padding as pairs, as TensorFlow's guide to convolution defines its words."""
    if padding == "same":
        total = [
            max((-(-size // step) - 1) * step + span - size, 0)
            for size, span, step in zip(sizes, spans, strides, strict=True)
        ]
        return [(t // 2, t - t // 2) for t in total]
    if padding == "causal":
        return [(span - 1, 0) for span in spans]
    return [(0, 0)] * len(spans) if padding == "valid" else [tuple(pair) for pair in padding]


def spans_of(window: Any, dilation: Any) -> list[int]:
    return [(size - 1) * apart + 1 for size, apart in zip(window, dilation, strict=True)]


def _moved(move: Function, data_format: str, *axes: int) -> Function:
    """Channels from their place to the last, or back, where they are first."""
    return (lambda x: move(x, *axes)) if data_format == "channels_first" else (lambda x: x)


def channels_last(move: Function) -> Function:
    """Lifts a function of channels last to both formats; `move(x, source, destination)`."""

    def lift(function: Function) -> Function:
        def lifted(
            module: Any, x: Any, *rest: Any, data_format: str = "channels_last", **params: Any
        ) -> Any:
            if data_format == "channels_last":
                return function(module, x, *rest, **params)
            return move(module, function(module, move(module, x, 1, -1), *rest, **params), -1, 1)

        return lifted

    return lift


def _tf_move(tf: Any, x: Any, source: int, destination: int) -> Any:
    return tf.experimental.numpy.moveaxis(x, source, destination)


def _torch_move(torch: Any, x: Any, source: int, destination: int) -> Any:
    return torch.movedim(x, source, destination)


def _jax_move(jax: Any, x: Any, source: int, destination: int) -> Any:
    return jax.numpy.moveaxis(x, source, destination)


_tf, _torch, _jax = map(channels_last, (_tf_move, _torch_move, _jax_move))


# The transposes of linear functions.


def tf_transposed(tf: Any, function: Function, shape: Any, g: Any) -> Any:
    x = tf.zeros(shape, g.dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x, output_gradients=g)


def torch_transposed(torch: Any, function: Function, shape: Any, g: Any) -> Any:
    x = torch.zeros(shape, dtype=g.dtype, requires_grad=True)
    (found,) = torch.autograd.grad(function(x), x, g, create_graph=True)
    return found


def jax_transposed(jax: Any, function: Function, shape: Any, g: Any) -> Any:
    (found,) = jax.linear_transpose(function, jax.ShapeDtypeStruct(tuple(shape), g.dtype))(g)
    return found


# Convolutions.


def _tf_dilated(tf: Any, kernel: Any, dilation: Any) -> Any:
    """The kernel with zeros in its gaps: TensorFlow has no dilation beside strides."""
    for axis, apart in enumerate(dilation):
        if apart > 1:
            shape = list(kernel.shape)
            rows = tf.stack([kernel, *[tf.zeros_like(kernel)] * (apart - 1)], axis + 1)
            shape[axis] *= apart
            kernel = tf.reshape(rows, shape)
            kernel = tf.gather(kernel, tf.range(shape[axis] - apart + 1), axis=axis)
    return kernel


def _tf_grouped(tf: Any, function: Function, x: Any, kernel: Any, groups: int) -> Any:
    if groups == 1:
        return function(x, kernel)
    split = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([function(*parts) for parts in split], -1)


@_tf
def tf_conv(
    tf: Any, x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid", dilation_rate: Any = 1,
    groups: int = 1,
) -> Any:  # fmt: skip
    axes = len(kernel.shape) - 2
    strides, dilation = each(strides, axes), each(dilation_rate, axes)
    if padding not in ("same", "valid"):
        spans = spans_of(kernel.shape[:-2], dilation)
        x = tf.pad(x, [(0, 0), *pairs(padding, None, spans, strides), (0, 0)])
        padding = "valid"
    kernel = _tf_dilated(tf, kernel, dilation)

    def one(x: Any, kernel: Any) -> Any:
        # Its gradient in three dimensions needs the format in so many words.
        formats = ("NWC", "NHWC", "NDHWC")
        return tf.nn.convolution(x, kernel, strides, padding.upper(), formats[axes - 1])

    return _tf_grouped(tf, one, x, kernel, groups)


def _torch_pad(torch: Any, x: Any, padding: Any, value: float = 0) -> Any:
    flat = [number for pair in reversed(padding) for number in pair]
    return torch.nn.functional.pad(x, flat, value=value)


@_torch
def torch_conv(
    torch: Any, x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid",
    dilation_rate: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    axes = kernel.ndim - 2
    strides, dilation = each(strides, axes), each(dilation_rate, axes)
    padding = pairs(padding, x.shape[1:-1], spans_of(kernel.shape[:-2], dilation), strides)
    x = _torch_pad(torch, x.movedim(-1, 1), padding)
    function = getattr(torch.nn.functional, f"conv{axes}d")
    weights = kernel.permute(axes + 1, axes, *range(axes)).contiguous()
    return function(x, weights, None, strides, 0, dilation, groups).movedim(1, -1)


@_jax
def jax_conv(
    jax: Any, x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid",
    dilation_rate: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    axes = kernel.ndim - 2
    strides, dilation = each(strides, axes), each(dilation_rate, axes)
    if padding in ("same", "valid"):
        padding = padding.upper()
    else:
        padding = pairs(padding, None, spans_of(kernel.shape[:-2], dilation), strides)
    middle = "DHW"[-axes:]
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation,
        dimension_numbers=(f"N{middle}C", f"{middle}IO", f"N{middle}C"),
        feature_group_count=groups,
    )  # fmt: skip


CONV = {"tensorflow": tf_conv, "torch": torch_conv, "jax": jax_conv}


def _kernel_of(conv: Function, transposed: Function) -> Function:
    """The gradient of a framework's convolution with respect to its kernel."""

    def found(
        module: Any, x: Any, g: Any, window: Any, data_format: str = "channels_last",
        groups: int = 1, **params: Any,
    ) -> Any:  # fmt: skip
        place = 1 if data_format == "channels_first" else -1
        window = each(window, len(x.shape) - 2)
        shape = (*window, x.shape[place] // groups, g.shape[place])
        params = {"data_format": data_format, "groups": groups, **params}
        return transposed(module, lambda kernel: conv(module, x, kernel, **params), shape, g)

    return found


CONV_KERNEL = {
    "tensorflow": _kernel_of(tf_conv, tf_transposed),
    "torch": _kernel_of(torch_conv, torch_transposed),
    "jax": _kernel_of(jax_conv, jax_transposed),
}


def _cut(size: int, step: int, span: int, padding: Any, more: int | None) -> tuple[int, int]:
    """What is cut off in front of all that the windows of a conv_transpose cover, and the size that
    is left, as Keras documents them, and PyTorch for a pair."""
    full = (size - 1) * step + span
    if padding == "valid":
        return 0, (max(full, size * step) if more is None else full + more)
    if padding == "same":
        left = size * step if more is None else (size - 1) * step + span % 2 + more
        return max((full - left) // 2, 0), left
    return padding[0], full - padding[0] - padding[1] + (more or 0)


def _transpose(whole: Function, framework_pad: Function, own: Function | None = None) -> Function:
    """conv_transpose, from a framework's that covers everything, cut; or from its `own` words."""

    def found(
        module: Any, x: Any, kernel: Any, strides: Any = 1, padding: Any = "valid",
        output_padding: Any = None, dilation_rate: Any = 1, groups: int = 1,
    ) -> Any:  # fmt: skip
        axes = len(kernel.shape) - 2
        strides, dilation = each(strides, axes), each(dilation_rate, axes)
        spans = spans_of(kernel.shape[:-2], dilation)
        more = (None,) * axes if output_padding is None else each(output_padding, axes)
        words = (padding,) * axes if isinstance(padding, str) else padding
        sizes = zip(x.shape[1:-1], strides, spans, words, more, strict=True)
        cuts = [_cut(*of_axis) for of_axis in sizes]
        if own is not None and groups == 1 and output_padding is None and isinstance(padding, str):
            return own(module, x, kernel, strides, padding, dilation, [left for _, left in cuts])
        y = whole(module, x, kernel, strides, dilation, groups)
        ends = [
            max(low + left - size, 0) for (low, left), size in zip(cuts, y.shape[1:], strict=False)
        ]
        y = framework_pad(module, y, [(0, 0), *[(0, end) for end in ends], (0, 0)])
        return y[(slice(None), *[slice(low, low + left) for low, left in cuts])]

    return found


def _tf_words(
    tf: Any, x: Any, kernel: Any, strides: Any, padding: str, dilation: Any, sizes: Any
) -> Any:
    kernel = _tf_dilated(tf, kernel, dilation)
    shape = (x.shape[0], *sizes, kernel.shape[-2])
    return tf.nn.conv_transpose(x, kernel, shape, strides, padding.upper())


def _tf_whole(tf: Any, x: Any, kernel: Any, strides: Any, dilation: Any, groups: int) -> Any:
    full = spans_of(x.shape[1:-1], strides)
    spans = spans_of(kernel.shape[:-2], dilation)
    sizes = [f + span - 1 for f, span in zip(full, spans, strict=True)]

    def one(x: Any, kernel: Any) -> Any:
        return _tf_words(tf, x, kernel, strides, "valid", dilation, sizes)

    return _tf_grouped(tf, one, x, kernel, groups)


def _torch_whole(torch: Any, x: Any, kernel: Any, strides: Any, dilation: Any, groups: int) -> Any:
    axes = kernel.ndim - 2
    function = getattr(torch.nn.functional, f"conv_transpose{axes}d")
    weights = kernel.permute(axes + 1, axes, *range(axes)).contiguous()
    return function(x.movedim(-1, 1), weights, None, strides, 0, 0, groups, dilation).movedim(1, -1)


def _jax_words(
    jax: Any, x: Any, kernel: Any, strides: Any, padding: str, dilation: Any, sizes: Any
) -> Any:
    middle = "DHW"[-len(strides) :]
    return jax.lax.conv_transpose(
        x, kernel, strides, padding.upper(), rhs_dilation=dilation,
        dimension_numbers=(f"N{middle}C", f"{middle}IO", f"N{middle}C"), transpose_kernel=True,
    )  # fmt: skip


def _jax_whole(jax: Any, x: Any, kernel: Any, strides: Any, dilation: Any, groups: int) -> Any:
    axes = kernel.ndim - 2
    ends = [(span - 1, span - 1) for span in spans_of(kernel.shape[:-2], dilation)]
    middle = "DHW"[-axes:]
    found = [
        jax.lax.conv_general_dilated(
            part, jax.numpy.flip(weights, tuple(range(axes))), (1,) * axes, ends,
            lhs_dilation=strides, rhs_dilation=dilation,
            dimension_numbers=(f"N{middle}C", f"{middle}OI", f"N{middle}C"),
        )
        for part, weights in zip(
            jax.numpy.split(x, groups, -1), jax.numpy.split(kernel, groups, -1), strict=True
        )
    ]  # fmt: skip
    return jax.numpy.concatenate(found, -1)


CONV_TRANSPOSE = {
    "tensorflow": _tf(_transpose(_tf_whole, lambda tf, x, pads: tf.pad(x, pads), _tf_words)),
    "torch": _torch(_transpose(_torch_whole, _torch_pad)),
    "jax": _jax(_transpose(_jax_whole, lambda jax, x, pads: jax.numpy.pad(x, pads), _jax_words)),
}


def _depthwise(conv: Function) -> Function:
    """A depthwise convolution is one with a group for each channel."""

    def found(module: Any, x: Any, kernel: Any, *params: Any, **more: Any) -> Any:
        *window, channels, multiplier = kernel.shape
        kernel = kernel.reshape((*window, 1, channels * multiplier))
        return conv(module, x, kernel, *params, groups=channels, **more)

    return found


@_tf
def _tf_depthwise(
    tf: Any, x: Any, kernel: Any, strides: Any = 1, padding: str = "valid", dilation_rate: Any = 1
) -> Any:
    kernel = _tf_dilated(tf, kernel, each(dilation_rate, len(kernel.shape) - 2))
    if len(x.shape) == 4:
        return tf.nn.depthwise_conv2d(x, kernel, (1, strides, strides, 1), padding.upper())
    # One axis as two; the strides of both must be equal.
    found = tf.nn.depthwise_conv2d(
        x[:, None], kernel[None], (1, strides, strides, 1), padding.upper()
    )
    return found[:, 0]


DEPTHWISE = {
    "tensorflow": _tf_depthwise,
    "torch": _depthwise(torch_conv),
    "jax": _depthwise(jax_conv),
}


def _separable(depthwise: Function, conv: Function) -> Function:
    def found(
        module: Any, x: Any, kernel: Any, pointwise: Any, data_format: str = "channels_last",
        **params: Any,
    ) -> Any:  # fmt: skip
        apart = depthwise(module, x, kernel, data_format=data_format, **params)
        return conv(module, apart, pointwise, data_format=data_format)

    return found


@_tf
def _tf_separable(
    tf: Any, x: Any, kernel: Any, pointwise: Any, strides: int = 1, padding: str = "valid"
) -> Any:
    return tf.nn.separable_conv2d(x, kernel, pointwise, (1, strides, strides, 1), padding.upper())


SEPARABLE = {
    "tensorflow": _tf_separable,
    "torch": _separable(DEPTHWISE["torch"], torch_conv),
    "jax": _separable(DEPTHWISE["jax"], jax_conv),
}


# Pooling.


def _pool_settings(
    x: Any, pool_size: Any, strides: Any, padding: Any
) -> tuple[Any, Any, list[tuple[int, int]]]:
    axes = len(x.shape) - 2
    window = each(pool_size, axes)
    strides = window if strides is None else each(strides, axes)
    return window, strides, pairs(padding, x.shape[1:-1], window, strides)


def _tf_pool(name: str) -> Function:
    @_tf
    def pool(tf: Any, x: Any, pool_size: Any, strides: Any = None, padding: Any = "valid") -> Any:
        window, strides, pads = _pool_settings(x, pool_size, strides, padding)
        if not isinstance(padding, str):
            x = tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=-np.inf)
            padding = "valid"
        function, padding = getattr(tf.nn, name), padding.upper()
        if len(window) < 3:
            return function(x, window, strides, padding)
        # In three dimensions TensorFlow lacks float64 and the second order: two axes, then one.
        batch, depth, *rest = x.shape
        x = function(tf.reshape(x, (-1, *rest)), window[1:], strides[1:], padding)
        _, *sizes, channels = x.shape
        x = tf.reshape(x, (batch, depth, math.prod(sizes), channels))
        x = function(x, (window[0], 1), (strides[0], 1), padding)
        return tf.reshape(x, (batch, -1, *sizes, channels))

    return pool


@_torch
def _torch_max_pool(
    torch: Any, x: Any, pool_size: Any, strides: Any = None, padding: Any = "valid"
) -> Any:
    window, strides, pads = _pool_settings(x, pool_size, strides, padding)
    x = _torch_pad(torch, x.movedim(-1, 1), pads, -np.inf)
    pool = getattr(torch.nn.functional, f"max_pool{len(window)}d")
    return pool(x, window, strides).movedim(1, -1)


@_torch
def _torch_average_pool(
    torch: Any, x: Any, pool_size: Any, strides: Any = None, padding: Any = "valid"
) -> Any:
    window, strides, pads = _pool_settings(x, pool_size, strides, padding)
    x = x.movedim(-1, 1)
    pool = getattr(torch.nn.functional, f"avg_pool{len(window)}d")
    total = pool(_torch_pad(torch, x, pads), window, strides)
    share = pool(_torch_pad(torch, torch.ones_like(x), pads), window, strides)
    return (total / share).movedim(1, -1)


def _jax_pool(jax: Any, x: Any, zero: Any, add: Any, window: Any, strides: Any, pads: Any) -> Any:
    return jax.lax.reduce_window(
        x, zero, add, (1, *window, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    )


@_jax
def _jax_max_pool(
    jax: Any, x: Any, pool_size: Any, strides: Any = None, padding: Any = "valid"
) -> Any:
    return _jax_pool(jax, x, -np.inf, jax.lax.max, *_pool_settings(x, pool_size, strides, padding))


@_jax
def _jax_average_pool(
    jax: Any, x: Any, pool_size: Any, strides: Any = None, padding: Any = "valid"
) -> Any:
    settings = _pool_settings(x, pool_size, strides, padding)
    total = _jax_pool(jax, x, 0.0, jax.lax.add, *settings)
    return total / _jax_pool(jax, jax.numpy.ones_like(x), 0.0, jax.lax.add, *settings)


MAX_POOL = {
    "tensorflow": _tf_pool("max_pool"),
    "torch": _torch_max_pool,
    "jax": _jax_max_pool,
}
AVERAGE_POOL = {
    "tensorflow": _tf_pool("avg_pool"),
    "torch": _torch_average_pool,
    "jax": _jax_average_pool,
}


def _along_one(pool: Function, move: Function) -> Function:
    """The maximum of windows along one axis, from max_pool over (batch, size, 1)."""

    def found(
        module: Any, x: Any, size: int, axis: int, step: int = 1, padding: Any = (0, 0)
    ) -> Any:
        front = move(module, x, axis, -1)
        rows = module.reshape if hasattr(module, "reshape") else module.numpy.reshape
        y = pool(module, rows(front, (-1, x.shape[axis], 1)), size, step, [padding])
        return move(module, rows(y, (*front.shape[:-1], y.shape[1])), -1, axis)

    return found


WINDOW_MAX = {
    "tensorflow": _along_one(MAX_POOL["tensorflow"], _tf_move),
    "torch": _along_one(_torch_max_pool, _torch_move),
    "jax": _along_one(_jax_max_pool, _jax_move),
}


# Windows and patches.


def _padded_axis(x: Any, axis: int, padding: Any) -> list[tuple[int, int]]:
    return [tuple(padding) if i == axis % len(x.shape) else (0, 0) for i in range(len(x.shape))]


def _tf_sliding(
    tf: Any, x: Any, size: int, axis: int, step: int = 1, dilation: int = 1, padding: Any = (0, 0)
) -> Any:
    x = tf.pad(x, _padded_axis(x, axis, padding))
    found = tf.signal.frame(x, (size - 1) * dilation + 1, step, axis=axis)
    return _tf_move(tf, found, axis % len(x.shape) + 1, -1)[..., ::dilation]


def _torch_sliding(
    torch: Any, x: Any, size: int, axis: int, step: int = 1, dilation: int = 1,
    padding: Any = (0, 0),
) -> Any:  # fmt: skip
    x = _torch_pad(torch, x, _padded_axis(x, axis, padding))
    return x.unfold(axis, (size - 1) * dilation + 1, step)[..., ::dilation]


def _jax_sliding(
    jax: Any, x: Any, size: int, axis: int, step: int = 1, dilation: int = 1, padding: Any = (0, 0)
) -> Any:
    x = jax.numpy.pad(x, _padded_axis(x, axis, padding))
    count = (x.shape[axis] - (size - 1) * dilation - 1) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size) * dilation
    found = jax.numpy.take(x, places, axis)
    return jax.numpy.moveaxis(found, axis % x.ndim + 1, -1)


SLIDING_WINDOWS = {"tensorflow": _tf_sliding, "torch": _torch_sliding, "jax": _jax_sliding}


def _adding(sliding: Function, transposed: Function) -> Function:
    """The transpose of a framework's sliding windows."""

    def found(module: Any, x: Any, length: int, axis: int, **slide: Any) -> Any:
        shape = list(x.shape[:-1])
        shape[axis] = length
        slide = {"size": x.shape[-1], "axis": axis % len(shape), **slide}
        return transposed(module, lambda y: sliding(module, y, **slide), shape, x)

    return found


OVERLAP_ADD = {
    "tensorflow": _adding(_tf_sliding, tf_transposed),
    "torch": _adding(_torch_sliding, torch_transposed),
    "jax": _adding(_jax_sliding, jax_transposed),
}


def _tf_unfold(
    tf: Any, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    window, dilation, padding, stride = (
        each(v, 2) for v in (kernel_size, dilation, padding, stride)
    )
    x = tf.pad(_tf_move(tf, x, 1, -1), [(0, 0), *[(p, p) for p in padding], (0, 0)])
    found = tf.image.extract_patches(
        x, (1, *window, 1), (1, *stride, 1), (1, *dilation, 1), "VALID"
    )
    batch, rows, columns, _ = found.shape
    found = tf.reshape(found, (batch, rows * columns, window[0] * window[1], x.shape[-1]))
    return tf.reshape(tf.transpose(found, (0, 3, 2, 1)), (batch, -1, rows * columns))


def _jax_unfold(
    jax: Any, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    window, dilation, padding, stride = (
        each(v, 2) for v in (kernel_size, dilation, padding, stride)
    )
    found = jax.lax.conv_general_dilated_patches(
        x, window, stride, [(p, p) for p in padding], rhs_dilation=dilation
    )
    return found.reshape(*found.shape[:2], -1)


def _folding(unfold: Function, transposed: Function) -> Function:
    def found(
        module: Any, x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1,
        padding: Any = 0, stride: Any = 1,
    ) -> Any:  # fmt: skip
        window, sizes = each(kernel_size, 2), each(output_size, 2)
        shape = (x.shape[0], x.shape[1] // (window[0] * window[1]), *sizes)
        params = (kernel_size, dilation, padding, stride)
        return transposed(module, lambda y: unfold(module, y, *params), shape, x)

    return found


UNFOLD = {"tensorflow": _tf_unfold, "torch": "nn.functional.unfold", "jax": _jax_unfold}
FOLD = {
    "tensorflow": _folding(_tf_unfold, tf_transposed),
    "torch": "nn.functional.fold",
    "jax": _folding(_jax_unfold, jax_transposed),
}

REFERENCES = {
    "conv": CONV,
    "conv_kernel": CONV_KERNEL,
    "conv_transpose": CONV_TRANSPOSE,
    "overlap_add": OVERLAP_ADD,
    "sliding_windows": SLIDING_WINDOWS,
    "window_max": WINDOW_MAX,
}
