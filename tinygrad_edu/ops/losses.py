"""Losses: how far predictions are from targets. Targets come first, as in Keras.

What measures elements (mean_squared_error, huber ...) is the mean over all of them, one number, or
over those along an axis.
What compares distributions (the cross-entropies, kl_divergence, cosine_similarity) gives one number
for each, along the axis of the classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import conversion, dtypes
from ..arguments import Axis, normalize_axis, positive
from ..backends import Array
from ..dispatch import apply, binary, unary
from ..errors import DtypeError, ShapeError
from ..op import Aval, Binary, Op
from ..tensors import Operators, Tensor, TensorLike
from .activations import relu, softplus
from .creation import ones_like
from .elementwise import abs, clip, log, sigmoid, sqrt, square, through_float32, where
from .kernels import in_float32, into, onto, top, total
from .movement import expand_dims
from .networks import log_softmax, softmax
from .reduction import as_float, mean, sum

__all__ = [
    "binary_crossentropy",
    "categorical_crossentropy",
    "cosine_similarity",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_error",
    "sparse_categorical_crossentropy",
]

_SMALLEST = 1e-7
"""Probabilities are kept this far from 0 (and from 1), as in Keras: the logarithm stays finite."""


def mean_squared_error(y_true: TensorLike, y_pred: TensorLike, /, axis: Axis = None) -> Tensor:
    """The mean of (y_true - y_pred) squared over all elements. The shapes must be equal: here
    broadcasting is nearly always a mistake.

    >>> mean_squared_error([0.0, 1.0], [0.0, 3.0])
    Tensor(2., dtype=float32)
    """
    y_true, y_pred = _alike("mean_squared_error", y_true, y_pred)
    return mean(square(y_true - y_pred), axis=axis)


def mean_absolute_error(y_true: TensorLike, y_pred: TensorLike, /, axis: Axis = None) -> Tensor:
    """The mean of |y_true - y_pred| over all elements, of equal shapes. The gradient is 0 where
    they are equal, as in TensorFlow and PyTorch.

    >>> mean_absolute_error([0.0, 1.0], [0.0, 3.0])
    Tensor(1., dtype=float32)
    """
    y_true, y_pred = _alike("mean_absolute_error", y_true, y_pred)
    return mean(abs(y_true - y_pred), axis=axis)


def huber(
    y_true: TensorLike, y_pred: TensorLike, /, delta: float = 1.0, axis: Axis = None
) -> Tensor:
    """The mean over all elements of half the square of the error, or, where that is more than delta
    away, of the straight line that goes on from there.

    Source: P. J. Huber, Robust estimation of a location parameter, Annals of Mathematical
    Statistics 35 (1964), 73-101.

    >>> huber([0.0, 0.0], [1.0, 3.0])
    Tensor(1.5, dtype=float32)
    """
    if not isinstance(delta, Operators):
        positive("huber", "delta", delta)
    y_true, y_pred = _alike("huber", y_true, y_pred)
    error = y_true - y_pred
    near = clip(error, -delta, delta)
    return mean(near * (error - near * 0.5), axis=axis)


def log_cosh(y_true: TensorLike, y_pred: TensorLike, /, axis: Axis = None) -> Tensor:
    """The mean over all elements of log(cosh(error)): a square near 0, straight further out.

    >>> log_cosh(np.zeros(1), [1000.0])
    Tensor(999.30685282, dtype=float64)
    """
    y_true, y_pred = _alike("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return mean(error + softplus(error * -2.0) - float(np.log(2)), axis=axis)


def hinge(y_true: TensorLike, y_pred: TensorLike, /, axis: Axis = None) -> Tensor:
    """The mean over all elements of max(1 - y_true * y_pred, 0), for targets -1 and 1. (Keras takes
    targets 0 and 1 too, and makes -1 and 1 of them; here they are taken as they are.) Where that is
    0 so is the gradient.

    >>> hinge([1.0, -1.0], [0.5, -2.0])
    Tensor(0.25, dtype=float32)
    """
    y_true, y_pred = _alike("hinge", y_true, y_pred)
    return mean(relu(1.0 - y_true * y_pred), axis=axis)


def _widened(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss of several steps, which halves go through in float32."""

    @functools.wraps(loss)
    def in_float32(y_true: TensorLike, y_pred: TensorLike, /, *args: Any, **kwargs: Any) -> Tensor:
        return through_float32(loss, (y_true, y_pred), *args, **kwargs)

    return in_float32


@_widened
def cosine_similarity(y_true: TensorLike, y_pred: TensorLike, /, axis: int = -1) -> Tensor:
    """The cosine of the angle between vectors along an axis, 1 if they point the same way; 0 where
    one of them is 0 (with gradient 0, not NaN). As a loss take its negative, as Keras does.

    >>> cosine_similarity([1.0, 0.0], [2.0, 0.0])
    Tensor(1., dtype=float32)
    """
    y_true, y_pred = _alike("cosine_similarity", y_true, y_pred)
    axis = normalize_axis("cosine_similarity", axis, y_true.ndim)
    return sum(_unit(y_true, axis) * _unit(y_pred, axis), axis=axis)


def _unit(x: Tensor, axis: int) -> Tensor:
    """x divided by its length, 0 if that is 0."""
    squares = sum(square(x), axis=axis, keepdims=True)
    flat = squares == 0
    return x * where(flat, 0.0, 1.0 / sqrt(where(flat, 1.0, squares)))


@_widened
def kl_divergence(y_true: TensorLike, y_pred: TensorLike, /, axis: int = -1) -> Tensor:
    """The sum of y_true * log(y_true / y_pred) along an axis, of probabilities, which are kept at
    least 1e-7, as in Keras.

    Source: S. Kullback, R. A. Leibler, On information and sufficiency, Annals of Mathematical
    Statistics 22 (1951), 79-86.

    >>> kl_divergence([0.5, 0.5], [0.5, 0.5])
    Tensor(0., dtype=float32)
    """
    y_true, y_pred = _alike("kl_divergence", y_true, y_pred)
    axis = normalize_axis("kl_divergence", axis, y_true.ndim)
    y_true, y_pred = _clipped(y_true, 1.0), _clipped(y_pred, 1.0)
    return sum(y_true * log(y_true / y_pred), axis=axis)


class BinaryCrossentropyOfLogits(Binary):
    """-t log(p) - (1 - t) log(1 - p) of a target t and p = sigmoid(x): max(x, 0) - x t +
    log(1 + exp(-|x|))."""

    result = "float"
    c = "(fmax({1}, 0) - {1} * {0} + log1p(exp(-fabs({1}))))"
    gradients = (
        lambda g, _, t, x: g * -x,
        lambda g, _, t, x: g * (sigmoid(x) - t),
    )

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, t: Array, x: Array) -> Array:
        found = onto(xp.negative, xp.abs(x))
        found = onto(xp.log1p, onto(xp.exp, found))
        # An infinite logit that is right costs nothing, where infinity times 0 would be NaN.
        largest = float(np.finfo(x.dtype).max)
        x = x.clip(-largest, largest)
        return found + (relu.forward(xp, x) - x * t)


_binary_crossentropy = BinaryCrossentropyOfLogits()


@_widened
def binary_crossentropy(
    target: TensorLike, output: TensorLike, /, from_logits: bool = False
) -> Tensor:
    """-t log(p) - (1 - t) log(1 - p), element by element, for targets t between 0 and 1 and outputs
    p of the same shape: probabilities, kept between 1e-7 and 1 - 1e-7 as in Keras, or, with
    `from_logits`, what a sigmoid would make probabilities of, which is exact however large it is.

    >>> binary_crossentropy([1.0, 0.0], [1000.0, 1000.0], from_logits=True)
    Tensor([   0., 1000.], dtype=float32)
    """
    target, output = _alike("binary_crossentropy", target, output)
    if from_logits:
        return binary(_binary_crossentropy, target, output)
    output = _clipped(output, 1 - _SMALLEST)
    return -(target * log(output) + (1.0 - target) * log(1.0 - output))


class Weighed(Binary):
    """t * x, and 0 where t is 0 and x infinite, such as the logarithm of 0."""

    linear = (0, 1)
    c = "({0} == 0 && isinf({1}) ? 0 : {0} * {1})"
    result = "float"
    gradients = (lambda g, _, t, x: g * x, lambda g, _, t, x: g * t)

    def forward(self, xp: Any, t: Array, x: Array) -> Array:
        if xp is np and (not x.size or np.isfinite(x.min())):
            return t * x  # NumPy's `where` takes many times as long
        return t * xp.where((t == 0) & xp.isinf(x), t, x)


_weighed = Weighed()


@_widened
def categorical_crossentropy(
    target: TensorLike, output: TensorLike, /, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-sum(target * log(p)) along the axis of the classes, for probabilities as targets.

    The outputs, of the targets' shape, are scaled to the sum 1 and kept between 1e-7 and 1 - 1e-7,
    as in Keras; or, with `from_logits`, what softmax would make probabilities of. A class whose
    target is 0 costs nothing, even with a logit of -infinity; NaN is NaN.

    >>> categorical_crossentropy([0.0, 1.0], [1000.0, 0.0], from_logits=True)
    Tensor(1000., dtype=float32)
    """
    name = "categorical_crossentropy"
    target, output = _alike(name, target, output)
    axis = normalize_axis(name, axis, output.ndim)
    if from_logits:
        logarithms = log_softmax(output, axis=axis)
    else:
        logarithms = log(_probabilities(output, axis))
    return -sum(binary(_weighed, target, logarithms), axis=axis)


_NO_GRADIENT = "a step of the cross-entropy, whose gradient has all that depends on x"


class Highest(Op):
    """max(x) along the axis of the classes, which is kept; of halves in float32."""

    arity = 1
    axes = ("axis",)
    no_gradient = _NO_GRADIENT

    def infer(self, x: Aval, *, axis: int) -> Aval:
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return Aval(shape, dtypes.float32 if dtypes.is_half(x.dtype) else x.dtype)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[Any]:
        return [x if dtypes.is_float(x) else dtypes.float32 for x in given]

    def forward(self, xp: Any, x: Array, *, axis: int) -> Array:
        x = x.astype(dtypes.float32) if x.dtype.itemsize < 4 else x
        if not x.size:
            return xp.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
        return top(xp, x, (axis,))


class ShiftedPowers(Binary):
    """exp(x - highest)."""

    c = "exp({0} - {1})"
    result = "float"
    no_gradient = _NO_GRADIENT

    def forward(self, xp: Any, x: Array, highest: Array, out: Any = None) -> Array:
        return onto(xp.exp, x - highest if out is None else np.subtract(x, highest, out))


class Total(Highest):
    """The sum along the axis of the classes, which is kept."""

    def forward(self, xp: Any, x: Array, *, axis: int) -> Array:
        return total(xp, x, (axis,))


class OfClass(Op, abstract=True):
    """Base of what takes a class t for each place of the other axes, and logits x.

    `highest`, `powers` and `sums` are steps that loss and gradient share, and all that depends on x
    is in the gradient of x."""

    def by_rows(self, params: Mapping[str, Any]) -> bool:
        return bool(params["axis"] > 0)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[Any]:
        return [given[0], *[x if dtypes.is_float(x) else dtypes.float32 for x in given[1:]]]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        forward, wide = self.forward, dtypes.float32

        def compute(t: Array, x: Array, *others: Array, **params: Any) -> Array:
            dtype = x.dtype
            if dtype.itemsize > 2:
                return forward(xp, t, x, *others, **params)
            out = params.pop("out", None)
            others = tuple([y.astype(wide) for y in others])
            found = forward(xp, t, x.astype(wide), *others, **params).astype(dtype)
            return into(np.positive, found, out)

        return compute


class SparseCrossentropy(OfClass):
    """-log(softmax(x)) at the class t, along the axis of the classes."""

    gradients = (
        None,
        lambda g, _, t, x, highest, powers, sums, axis: _sparse_slope.of(
            t, x, powers, sums, g, axis=axis
        ),
        None,
        None,
        None,
    )
    on_arrays = True

    def infer(
        self, t: Aval, x: Aval, highest: Aval, powers: Aval, sums: Aval, *, axis: int
    ) -> Aval:
        return Aval(t.shape, x.dtype)

    def forward(
        self, xp: Any, t: Array, x: Array, highest: Array, powers: Array, sums: Array, *, axis: int
    ) -> Array:
        if not x.size:
            return xp.zeros(t.shape, x.dtype)
        if xp is np and axis == x.ndim - 1:
            return crossentropy_at(places_of(t, x.shape[axis]), x, highest, sums)
        places = _places(xp, t, x, axis)
        if xp is np:
            chosen = xp.take_along_axis(x, places, axis)
        else:  # a class that is not there is no error, and no other class either
            there = (places >= 0) & (places < x.shape[axis])
            chosen = xp.take_along_axis(x, xp.where(there, places, 0), axis)
            chosen = xp.where(there, chosen, np.nan)
        chosen = xp.squeeze(chosen, axis)
        found = xp.log(sums.reshape(t.shape))
        found += highest.reshape(t.shape) - chosen
        return found


class SparseCrossentropySlope(OfClass):
    """A cotangent g, times softmax(x), less 1 at the class t: the cotangent of x."""

    linear = (4,)
    gradients = (
        None,
        # The curvature is that of softmax alone.
        lambda h, _, t, x, powers, sums, g, axis: softmax.gradients[0](
            h * expand_dims(g, axis=axis), softmax(x, axis), x, (axis,)
        ),
        None,
        None,
        lambda h, _, t, x, powers, sums, g, axis: sum(
            h * apply(_sparse_slope, t, x, powers, sums, ones_like(g), axis=axis), axis=axis
        ),
    )

    def infer(self, t: Aval, x: Aval, powers: Aval, sums: Aval, g: Aval, *, axis: int) -> Aval:
        return x

    def forward(
        self,
        xp: Any,
        t: Array,
        x: Array,
        powers: Array,
        sums: Array,
        g: Array,
        *,
        axis: int,
        out: Any = None,
    ) -> Array:
        if not x.size:
            return x
        if xp is np and axis == x.ndim - 1:
            return slope_at(_at(t, x.shape[axis]), powers, sums, g, out)
        across = g.reshape(sums.shape)
        found = into(functools.partial(xp.multiply, powers), across / sums, out)
        classes = xp.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - 1 - axis))
        found -= xp.where(classes == _places(xp, t, x, axis), across, 0)
        return found


_highest = Highest()
_shifted_powers = ShiftedPowers()
row_total = Total()
_sparse_crossentropy = SparseCrossentropy()
_sparse_slope = SparseCrossentropySlope()


# Of classes along the last axis, for NumPy: programs call these too.


def places_of(t: np.ndarray, classes: int) -> np.ndarray:
    """Where the elements at the classes t of the last axis are, counted through all elements: for
    `take` and `put`, which are quicker than an index for each axis."""
    _check_classes(t, classes)
    return _at(t, classes)


def _at(t: np.ndarray, classes: int) -> np.ndarray:
    """The same of classes that there are."""
    rows = np.arange(0, t.size * classes, classes)
    return np.add(rows.reshape(t.shape), t, dtype=np.intp)  # of uint64 too


def crossentropy_at(at: np.ndarray, x: np.ndarray, highest: np.ndarray, sums: np.ndarray) -> Any:
    """-log(softmax(x)) at these places."""
    found = np.log(sums.reshape(at.shape))
    found += highest.reshape(at.shape) - x.take(at)
    return found


def slope_at(
    at: np.ndarray, powers: np.ndarray, sums: np.ndarray, g: np.ndarray, out: Any = None
) -> np.ndarray:
    """g times softmax(x), less 1 at these places."""
    found = np.multiply(powers, g.reshape(sums.shape) / sums, out)
    found.put(at, found.take(at) - g)
    return found


def _places(xp: Any, t: Array, x: Array, axis: int) -> Array:
    if xp is np:
        _check_classes(t, x.shape[axis])
    return xp.expand_dims(t, axis)


_UNSIGNED = {size: np.dtype(f"uint{8 * size}") for size in (1, 2, 4, 8)}


def _check_classes(t: Array, classes: int) -> None:
    # A negative number is a large one without its sign.
    if t.size and t.view(_UNSIGNED[t.dtype.itemsize]).max() >= classes:
        wrong = t[(t < 0) | (t >= classes)].flat[0] if t.ndim else t
        raise IndexError(f"class {wrong} is not one of {classes}, counted from 0")


def sparse_categorical_crossentropy(
    target: TensorLike, output: TensorLike, /, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-log(p) at the target, a whole number that names a class along `axis`; the targets have the
    shape of the outputs without it. Outputs are as in `categorical_crossentropy`.

    Raises OutOfRangeError for a class that is not there (NaN on an accelerator, where it would take
    waiting for the device), DtypeError for targets that are not integers, ShapeError for shapes
    that do not fit.

    >>> sparse_categorical_crossentropy([1], [[1000.0, 0.0]], from_logits=True)
    Tensor([1000.], dtype=float32)
    """
    name = "sparse_categorical_crossentropy"
    target, output = conversion.as_tensors(target, output)
    axis = normalize_axis(name, axis, output._data.ndim)
    if target._data.dtype.kind not in "iu":
        raise DtypeError(f"{name}: targets are integers that name classes, not {target.dtype}")
    shape = output._data.shape
    if target._data.shape != shape[:axis] + shape[axis + 1 :]:
        raise ShapeError(
            f"{name}: targets of shape {target.shape} do not fit outputs of shape {shape}, which "
            f"without axis {axis} is {shape[:axis] + shape[axis + 1 :]}"
        )
    if from_logits:
        return _of_logits(target, output, axis)
    return through_float32(_of_probabilities, (target, output), axis)


def _of_probabilities(target: Tensor, output: Tensor, axis: int) -> Tensor:
    # Scaled to the sum 1 their logarithms are logits: softmax undoes them.
    return _of_logits(target, log(_probabilities(output, axis)), axis)


def _of_logits(target: Tensor, output: Tensor, axis: int) -> Tensor:
    highest = unary(_highest, output, {"axis": axis})
    powers = binary(_shifted_powers, output, highest)
    sums = unary(row_total, powers, {"axis": axis})
    return apply(_sparse_crossentropy, target, output, highest, powers, sums, axis=axis)


def _alike(name: str, y_true: TensorLike, y_pred: TensorLike) -> tuple[Tensor, Tensor]:
    """Both as float Tensors. Raises ShapeError unless they have one shape: here broadcasting is
    nearly always a mistake."""
    y_true, y_pred = conversion.as_tensors(y_true, y_pred)
    if y_true._data.shape != y_pred._data.shape:
        raise ShapeError(
            f"{name}: targets of shape {y_true.shape} and predictions of shape {y_pred.shape} must "
            "have the same shape; use reshape"
        )
    return as_float(y_true), as_float(y_pred)


def _clipped(p: Tensor, highest: float) -> Tensor:
    """Probabilities not below 1e-7, and not above `highest`; beyond, the gradient is 0."""
    return where(p < _SMALLEST, _SMALLEST, where(p > highest, highest, p))


def _probabilities(output: Tensor, axis: int) -> Tensor:
    """Outputs scaled to the sum 1 along an axis, and kept away from 0 and 1."""
    return _clipped(output / sum(output, axis=axis, keepdims=True), 1 - _SMALLEST)
