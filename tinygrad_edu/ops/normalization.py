"""Normalizations: x brought to mean 0 and variance 1 (or to mean square 1) along some axes, then
scaled and moved by parameters that are learned."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import dtypes, tape
from ..arguments import Axis, normalize_axes, normalize_axis, not_negative, whole
from ..backends import Array
from ..conversion import as_tensor
from ..dispatch import apply, unary
from ..errors import ArgumentError, ShapeError
from ..op import Aval, Op
from ..tensors import Operators, Tensor, TensorLike
from . import movement
from .elementwise import astype, identity, sqrt, square, stop_gradient
from .kernels import constants, dots, in_float32, row_of_ones, sum_up, total
from .movement import reshape
from .reduction import as_float, kept_shape, mean

__all__ = [
    "batch_norm",
    "batch_normalization",
    "group_norm",
    "layer_norm",
    "layer_normalization",
    "rms_norm",
    "rms_normalization",
]


def _average(xp: Any, x: Array, axis: tuple[int, ...], count: Any) -> Array:
    """The mean along axes, which stay in place."""
    if xp is np and x.ndim == 2 and axis == (1,):
        found = x.dot(row_of_ones(x.shape[1], x.dtype))[:, None]  # by BLAS, three times as fast
    else:
        found = total(xp, x, axis)
    found /= count
    return found


def _mean_square(xp: Any, x: Array, axis: tuple[int, ...], count: Any, epsilon: Any) -> Array:
    """The mean square along axes, which stay in place, and epsilon."""
    found = dots(xp, x, x, axis)
    found /= count
    found += epsilon
    return found


_LARGE = 10_000  # elements


def _count(x: Array, axis: tuple[int, ...]) -> float:
    """How many elements are along these axes; not 0, for nothing is divided by it then."""
    found = 1
    for a in axis:
        found *= x.shape[a]
    return float(found or 1)


class _Normalization(Op, abstract=True):
    """Base of what takes x and the axes to normalize along, and keeps its shape."""

    axes: ClassVar[tuple[str, ...]] = ("axis",)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[Any]:
        return [x if dtypes.is_float(x) else dtypes.float32 for x in given]

    def infer(self, *avals: Aval, axis: tuple[int, ...], epsilon: float) -> Any:
        x = avals[0]
        return Aval(x.shape, x.dtype if dtypes.is_float(x.dtype) else dtypes.float32)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)


class Standardize(_Normalization):
    """(x - mean) / sqrt(variance + epsilon), along axes."""

    gradients = (
        lambda g, _, x, axis, epsilon: apply(standardize_slope, g, x, axis=axis, epsilon=epsilon),
    )

    def forward(self, xp: Any, x: Array, *, axis: tuple[int, ...], epsilon: float) -> Array:
        count, epsilon = constants(xp, x, _count(x, axis), epsilon)
        found = x - _average(xp, x, axis, count)
        found /= xp.sqrt(_mean_square(xp, found, axis, count, epsilon))
        return found


class StandardizeSlope(_Normalization):
    """The cotangent of x, from a cotangent g of z = standardize(x), where s is
    sqrt(variance + epsilon): (g - mean(g) - z mean(g z)) / s.

    This is J g with a symmetric matrix J, so J h is the cotangent of g, when h is that of the
    result. Where S / s stands for h . J g, the cotangent of x is J (dS / dz) / s - S / s**2 ds/dx,
    and ds/dx = z / n.
    """

    linear = (0,)
    gradients = (
        lambda h, _, g, x, axis, epsilon: apply(
            standardize_slope, h, x, axis=axis, epsilon=epsilon
        ),
        lambda h, _, g, x, axis, epsilon: _bend(
            standardize_slope, standardize, True, h, g, x, axis, epsilon
        ),
    )

    def forward(
        self, xp: Any, g: Array, x: Array, *, axis: tuple[int, ...], epsilon: float
    ) -> Array:
        count, epsilon = constants(xp, x, _count(x, axis), epsilon)
        found = x - _average(xp, x, axis, count)
        variance = _mean_square(xp, found, axis, count, epsilon)
        found *= dots(xp, g, found, axis) / (variance * -count)
        found += g
        found -= _average(xp, g, axis, count)
        found /= xp.sqrt(variance)
        return found


class RootMeanSquare(_Normalization):
    """x / sqrt(mean(x * x) + epsilon), along axes."""

    gradients = (
        lambda g, _, x, axis, epsilon: apply(
            root_mean_square_slope, g, x, axis=axis, epsilon=epsilon
        ),
    )

    def forward(self, xp: Any, x: Array, *, axis: tuple[int, ...], epsilon: float) -> Array:
        count, epsilon = constants(xp, x, _count(x, axis), epsilon)
        return x / xp.sqrt(_mean_square(xp, x, axis, count, epsilon))


class RootMeanSquareSlope(_Normalization):
    """As StandardizeSlope, without the means: (g - z mean(g z)) / s."""

    linear = (0,)
    gradients = (
        lambda h, _, g, x, axis, epsilon: apply(
            root_mean_square_slope, h, x, axis=axis, epsilon=epsilon
        ),
        lambda h, _, g, x, axis, epsilon: _bend(
            root_mean_square_slope, root_mean_square, False, h, g, x, axis, epsilon
        ),
    )

    def forward(
        self, xp: Any, g: Array, x: Array, *, axis: tuple[int, ...], epsilon: float
    ) -> Array:
        count, epsilon = constants(xp, x, _count(x, axis), epsilon)
        square = _mean_square(xp, x, axis, count, epsilon)
        found = x * (dots(xp, g, x, axis) / (square * -count))
        found += g
        found /= xp.sqrt(square)
        return found


class LayerNorm(_Normalization):
    """standardize(x) * gamma + beta, along the last axes, whose shape gamma and beta have."""

    on_arrays = True
    axes: ClassVar[tuple[str, ...]] = ()

    def forward(
        self,
        xp: Any,
        x: Array,
        gamma: Array,
        beta: Array,
        *,
        axis: tuple[int, ...],
        epsilon: float,
    ) -> Array:
        if xp is np and x.size > _LARGE:
            return _layer_norm_of_blocks(x, gamma, beta, epsilon)
        found = standardize.forward(xp, x, axis=axis, epsilon=epsilon)
        found *= gamma
        found += beta
        return found

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        if any(mapped[1:]):
            return super().batch(size, inputs, mapped, params)
        return apply(self, *inputs, **{**params, "axis": tuple([a + 1 for a in params["axis"]])})

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        x, gamma, _ = inputs
        found: Sequence[Tensor] = layer_norm_slope.of(cotangent, x, gamma, **params)
        return found


class LayerNormSlope(_Normalization):
    """The cotangents of x, gamma and beta, from that of layer_norm(x, gamma, beta); see
    StandardizeSlope."""

    linear = (0,)
    axes: ClassVar[tuple[str, ...]] = ()

    def infer(self, *avals: Aval, axis: tuple[int, ...], epsilon: float) -> Any:
        _, x, gamma = avals
        return x, gamma, gamma

    def forward(
        self, xp: Any, g: Array, x: Array, gamma: Array, *, axis: tuple[int, ...], epsilon: float
    ) -> tuple[Array, ...]:
        # As matrices of a row for each mean: products with vectors take less than half the time
        # that sums and broadcasting do.
        size = gamma.size
        if not x.size:
            return x, xp.zeros_like(gamma), xp.zeros_like(gamma)
        rows, cotangent = x.reshape(-1, size), g.reshape(-1, size)
        slope = (
            _slope_of_blocks
            if xp is np and x.size > _LARGE
            else functools.partial(_slope_of_rows, xp)
        )
        found, of_gamma, of_beta = slope(cotangent, rows, gamma.reshape(size), epsilon)
        shape = gamma.shape
        return found.reshape(x.shape), of_gamma.reshape(shape), of_beta.reshape(shape)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        # The same in operations that can be differentiated again.
        with tape.GradientTape() as inner:
            g, x, gamma = watched = [identity(y) for y in inputs]
            inner.watch(watched)
            of_x = apply(standardize_slope, g * gamma, x, **params)
            of_gamma = movement.sum_to(g * unary(standardize, x, params), gamma.shape)
            found = of_x, of_gamma, movement.sum_to(g, gamma.shape)
        gradients: Sequence[Tensor | None] = inner.gradient(found, watched, cotangent)
        return gradients


def _slope_of_rows(
    xp: Any, g: Array, x: Array, gamma: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    size, epsilon = constants(xp, x, float(gamma.size), epsilon)
    centered = x - _average(xp, x, (1,), size)
    variance = _mean_square(xp, centered, (1,), size, epsilon)
    spread = xp.sqrt(variance)
    product = g * centered
    of_gamma = xp.reciprocal(spread).reshape(len(x)).dot(product)
    variance *= -size
    centered *= product.dot(gamma)[:, None] / variance
    centered -= g.dot(gamma)[:, None] / size
    centered += g * gamma
    centered /= spread
    return centered, of_gamma, sum_up(g, (0,), g.dtype, None, False) if xp is np else g.sum(0)


def _layer_norm_of_blocks(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float
) -> np.ndarray:
    """Some rows after others: what lies between x and the result stays in the cache."""
    size = gamma.size
    rows = x.reshape(-1, size)
    found = np.empty(rows.shape, x.dtype)
    factor, ones = _as_row(gamma.reshape(size)), _as_row(np.ones(size, x.dtype))
    step = max(1, min(_BLOCK // size, len(rows)))
    first, second, offset = np.empty((3, step, size), x.dtype)
    offset[:] = beta.reshape(size)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        count = len(part)
        y = _centered(part, ones, first[:count])
        spread = np.vecdot(y, y)
        spread /= size
        spread += epsilon
        np.sqrt(spread, out=spread)
        y *= np.matmul(_as_column(1 / spread), factor, out=second[:count])
        np.add(y, offset[:count], out=found[start : start + count])
    return found.reshape(x.shape)


def _slope_of_blocks(
    g: np.ndarray, x: np.ndarray, gamma: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_slope_of_rows`, some rows after others."""
    size = gamma.size
    found = np.empty(x.shape, x.dtype)
    of_gamma, of_beta = np.zeros((2, size), x.dtype)
    factor, ones = _as_row(gamma), _as_row(np.ones(size, x.dtype))
    share = gamma / -size
    step = max(1, min(_BLOCK // size, len(x)))
    first, second = np.empty((2, step, size), x.dtype)
    many = np.ones(step, x.dtype)
    for start in range(0, len(x), step):
        part, cotangent = x[start : start + step], g[start : start + step]
        count = len(part)
        other = second[:count]
        y = _centered(part, ones, first[:count])
        precision = np.vecdot(y, y)
        precision /= size
        precision += epsilon
        np.divide(1, precision, out=precision)
        root = np.sqrt(precision)
        np.multiply(cotangent, y, out=other)
        of_gamma += root.dot(other)
        of_beta += many[:count].dot(cotangent)
        along = other.dot(share)
        along *= precision
        along *= root
        y *= np.matmul(_as_column(along), ones, out=other)
        along = cotangent.dot(share)
        along *= root
        y += np.matmul(_as_column(along), ones, out=other)
        np.matmul(_as_column(root), factor, out=other)
        other *= cotangent
        np.add(y, other, out=found[start : start + count])
    return found, of_gamma, of_beta


_BLOCK = 1 << 18
"""Elements a block: of fewer, NumPy's cost for a call counts; more of them leave the cache."""


def _centered(x: np.ndarray, ones: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Rows without their means."""
    mean = x.dot(ones[0])
    mean /= -x.shape[1]
    np.matmul(_as_column(mean), ones, out=out)
    out += x
    return out


def _as_column(x: np.ndarray) -> np.ndarray:
    """A vector as a column, and one of zeros. Its product with a row, and one of zeros, is what
    broadcasting would give, in half of the time that NumPy's broadcasting takes: of two columns on,
    BLAS computes it."""
    found = np.zeros((len(x), 2), x.dtype)
    found[:, 0] = x
    return found


def _as_row(x: np.ndarray) -> np.ndarray:
    """A vector as a row, and one of zeros."""
    return _as_column(x).T.copy()


_layer_norm, layer_norm_slope = LayerNorm(), LayerNormSlope()
standardize = Standardize()
standardize_slope = StandardizeSlope()
root_mean_square = RootMeanSquare()
root_mean_square_slope = RootMeanSquareSlope()


def _bend(
    slope: Op,
    normalize: Op,
    centered: bool,
    h: Tensor,
    g: Tensor,
    x: Tensor,
    axis: tuple[int, ...],
    epsilon: float,
) -> Tensor:
    """The cotangent of x in h . J(x) g."""

    def average(y: Tensor) -> Tensor:
        return mean(y, axis=axis, keepdims=True)

    z = unary(normalize, x, {"axis": axis, "epsilon": epsilon})
    spread = sqrt(average(square(x - average(x) if centered else x)) + epsilon)
    along_g, along_h = average(g * z), average(h * z)
    whole = average(h * g) - along_g * along_h
    if centered:
        whole = whole - average(h) * average(g)
    inner = (h * along_g + g * along_h) / -spread
    return apply(slope, inner, x, axis=axis, epsilon=epsilon) - z * whole / square(spread)


def layer_norm(
    x: TensorLike,
    /,
    gamma: TensorLike | None = None,
    beta: TensorLike | None = None,
    axis: Axis = -1,
    epsilon: float = 1e-3,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) along axes, times gamma, plus beta.

    gamma and beta have the shape of x along these axes. Where all are equal the result is beta, and
    no gradient is NaN. Raises ArgumentError for axes that are not there, ShapeError for a gamma or
    beta of another shape.

    Source: J. L. Ba et al., Layer normalization, arXiv:1607.06450.

    >>> layer_norm(np.array([1.0, 3.0]), epsilon=0.0)
    Tensor([-1.,  1.], dtype=float64)
    >>> layer_norm(np.array([1.0, 3.0]), gamma=[2.0, 3.0], beta=[0.0, 1.0], epsilon=0.0)
    Tensor([-2.,  4.], dtype=float64)
    """
    x = as_tensor(x)
    ndim = x._data.ndim
    axes = normalize_axes("layer_norm", axis, ndim)
    params = {"axis": axes, "epsilon": _small("layer_norm", epsilon)}
    if gamma is None or beta is None or axes != tuple(range(ndim - len(axes), ndim)):
        return _scaled("layer_norm", unary(standardize, x, params), gamma, beta, axes)
    scale = _of_feature("layer_norm", "scale", gamma, x, axes)
    offset = _of_feature("layer_norm", "offset", beta, x, axes)
    return apply(_layer_norm, x, scale, offset, **params)


layer_normalization = layer_norm


def rms_norm(
    x: TensorLike,
    /,
    scale: TensorLike | None = None,
    axis: Axis = -1,
    epsilon: float = 1e-6,
) -> Tensor:
    """x / sqrt(mean(x * x) + epsilon) along axes, times scale, which has the shape of x along them.

    Raises ArgumentError for axes that are not there, ShapeError for a scale of another shape.

    Source: B. Zhang, R. Sennrich, Root mean square layer normalization, arXiv:1910.07467.

    >>> rms_norm(np.array([1.0, 7.0]), epsilon=0.0)
    Tensor([0.2, 1.4], dtype=float64)
    """
    x = as_tensor(x)
    axes = normalize_axes("rms_norm", axis, x._data.ndim)
    found = unary(root_mean_square, x, {"axis": axes, "epsilon": _small("rms_norm", epsilon)})
    return _scaled("rms_norm", found, scale, None, axes)


rms_normalization = rms_norm


def batch_norm(
    x: TensorLike,
    /,
    axis: Axis = -1,
    offset: TensorLike | None = None,
    scale: TensorLike | None = None,
    epsilon: float = 1e-3,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalization while training: x normalized along all axes but `axis` (that of the
    features), times scale, plus offset; and the mean and variance it had, to be averaged for
    `batch_normalization`, in float32 at least; no gradient flows through those two. The variance is
    divided by the number of examples, not one less.

    Source: S. Ioffe, C. Szegedy, Batch normalization, arXiv:1502.03167.

    >>> y, average, variance = batch_norm(np.array([[1.0], [3.0]]), epsilon=0.0)
    >>> y.tolist(), average.tolist(), variance.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    x = as_float(x)
    wide = astype(x, dtypes.float32) if dtypes.is_half(x.dtype) else x
    features = normalize_axes("batch_norm", axis, x.ndim)
    others = tuple([a for a in range(x.ndim) if a not in features])
    average = mean(wide, axis=others, keepdims=True)
    centered = wide - average
    variance = mean(square(centered), axis=others)
    found = _whitened("batch_norm", centered, variance, features, offset, scale, epsilon)
    statistics = stop_gradient(movement.squeeze(average, others)), stop_gradient(variance)
    return astype(found, x.dtype), *statistics


def batch_normalization(
    x: TensorLike,
    mean: TensorLike,
    variance: TensorLike,
    /,
    axis: Axis = -1,
    offset: TensorLike | None = None,
    scale: TensorLike | None = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon), times scale, plus offset, with a mean and a variance
    that are given: one for each feature along `axis`.

    Raises ArgumentError for an axis that is not there, ShapeError for statistics or parameters of
    another shape than x has along it.

    >>> batch_normalization(np.array([[1.0], [3.0]]), [1.0], [4.0], epsilon=0.0).tolist()
    [[0.0], [1.0]]
    """
    x = as_float(x)
    name = "batch_normalization"
    axes = normalize_axes(name, axis, x.ndim)
    centered = x - _of_feature(name, "mean", mean, x, axes)
    return _whitened(name, centered, variance, axes, offset, scale, epsilon)


def _whitened(
    name: str,
    centered: Tensor,
    variance: TensorLike,
    axes: tuple[int, ...],
    offset: TensorLike | None,
    scale: TensorLike | None,
    epsilon: float,
) -> Tensor:
    """What is left of x without its mean, divided by the spread, scaled and moved."""
    spread = _of_feature(name, "variance", variance, centered, axes) + _small(name, epsilon)
    factor = spread**-0.5
    if scale is not None:
        factor = factor * _of_feature(name, "scale", scale, centered, axes)
    return _scaled(name, centered * factor, None, offset, axes)


def group_norm(
    x: TensorLike,
    /,
    groups: int,
    gamma: TensorLike | None = None,
    beta: TensorLike | None = None,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Tensor:
    """The features along `axis` in equal groups of neighbours, each example normalized along all
    axes of a group; times gamma, plus beta, which have one number a feature. Axis 0 counts the
    examples.

    Raises ArgumentError for an axis that is not there or is 0, and for groups that do not divide
    the number of features.

    Source: Y. Wu, K. He, Group normalization, arXiv:1803.08494.

    >>> group_norm(np.array([[1.0, 3.0, 5.0, 5.0]]), 2, epsilon=0.0001).numpy().round(3)
    array([[-1.,  1.,  0.,  0.]])
    """
    x = as_float(x)
    axis = normalize_axis("group_norm", axis, x.ndim)
    features = x.shape[axis]
    if axis == 0:
        raise ArgumentError("group_norm: axis 0 counts the examples; the features have another")
    if features % whole("group_norm", "groups", groups, 1):
        raise ArgumentError(
            f"group_norm: {groups} groups do not divide the {features} features of axis {axis}"
        )
    shape = x.shape
    grouped = reshape(x, (*shape[:axis], groups, features // groups, *shape[axis + 1 :]))
    axes = tuple([a for a in range(1, grouped.ndim) if a != axis])
    found = unary(standardize, grouped, {"axis": axes, "epsilon": _small("group_norm", epsilon)})
    return _scaled("group_norm", reshape(found, shape), gamma, beta, (axis,))


def _small(name: str, epsilon: Any) -> Any:
    """An epsilon as it was given. Raises ArgumentError for a number below 0, and for no number."""
    known = epsilon.__class__ is float and epsilon >= 0.0
    if not known and not isinstance(epsilon, Operators):
        not_negative(name, "epsilon", epsilon)
    return epsilon


def _scaled(
    name: str,
    x: Tensor,
    scale: TensorLike | None,
    offset: TensorLike | None,
    axes: tuple[int, ...],
) -> Tensor:
    if scale is not None:
        x = x * _of_feature(name, "scale", scale, x, axes)
    if offset is not None:
        x = x + _of_feature(name, "offset", offset, x, axes)
    return x


def _of_feature(
    name: str, what: str, parameter: TensorLike, x: Tensor, axes: tuple[int, ...]
) -> Tensor:
    """A parameter that has the shape of x along axes, so that it broadcasts over the others. In the
    dtype of x, which it does not widen."""
    found = as_tensor(parameter, like=x)
    shape = x._data.shape
    expected = tuple([shape[a] for a in axes])
    if found._data.shape != expected:
        raise ShapeError(
            f"{name}: a {what} of shape {found.shape} does not fit the {expected} that x, of shape "
            f"{shape}, has along axis {axes if len(axes) > 1 else axes[0]}"
        )
    found = astype(found, x._data.dtype)
    if not axes or axes[0] == len(shape) - len(axes):  # the last axes
        return found
    others = [a for a in range(len(shape)) if a not in axes]
    return reshape(found, kept_shape(shape, others))
