"""When two results agree: how close they must be, and the places where they are known to differ.

Errors are counted in units: the distance between 1 and the next number of the dtype, times the
larger of the two results where that is above 1, or of the terms that they are sums of (`TERMS`). A
difference of convention is a row of `DISAGREEMENTS`, never a wide tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from tinygrad_edu import dtypes
from tinygrad_edu.arguments import normalize_axes

from .calls import FORMS
from .frameworks import Derivatives
from .samples import Sample, finfo
from .subjects import SUBJECTS

# In units: a value, a gradient, a gradient of a gradient, whatever the dtype.
UNITS = {"value": 8.0, "zero": 0.0, "first": 8.0, "second": 16.0}

# Results in float16 and bfloat16 are held against the frameworks' in float32 of the same numbers,
# rounded to the half. An operation computes (or sums up) in float32 and rounds once: two roundings,
# half a unit each. Gradients and composites are several operations, each of them rounded: as UNITS.
HALF_UNITS = {**UNITS, "operation": 1.0}

_ERFINV = "XLA's float64 erfinv is off by up to 11 units near 0.64; ours by 1, of the exact value"
_LOG1P = "XLA's float64 log1p is off by up to 30 units; NumPy, TensorFlow and PyTorch agree"

_CANCELS = "gamma * z and beta, of hundreds, cancel: what is left has the units of what was there"

# Looser ones, for an operation, a framework and an order, and why.
LOOSER: dict[tuple[str, str, str], tuple[float, str]] = {
    ("cbrt", "tensorflow", "value"): (100, "TensorFlow takes a power with a third, rounded"),
    ("exp2", "jax", "value"): (32, "XLA takes exp of x log(2), rounded"),
    ("lgamma", "jax", "value"): (40, "XLA's sum of Lanczos loses digits; PyTorch agrees with ours"),
    ("atanh", "jax", "value"): (20, _LOG1P),
    ("atanh", "device xla", "value"): (20, _LOG1P),
    ("cosh", "jax", "value"): (
        12,
        "XLA's float64 is off by up to 9 units where the result is huge",
    ),
    **{
        ("gelu", framework, order): (48, "theirs takes 1 - tanh(y)**2 of a tanh near -1 or 1")
        for framework in ("tensorflow", "torch", "jax")
        for order in ("first", "second")
    },
    ("group_norm", "torch", "first"): (16, "PyTorch's mean of equal numbers is off by a rounding"),
    ("group_norm", "torch", "second"): (32, "PyTorch's; TensorFlow's and JAX's agree with ours"),
    ("layer_norm", "torch", "value"): (16, _CANCELS),
    ("layer_norm", "jax", "value"): (16, _CANCELS),
    ("log1p", "jax", "value"): (40, _LOG1P),
    ("log1p", "device xla", "value"): (40, _LOG1P),
    ("erfinv", "jax", "value"): (12, _ERFINV),
    ("std", "tensorflow", "second"): (
        256,
        "of two elements it is 0, which is left of terms as large as 1 / std",
    ),
    ("svd", "tensorflow", "first"): (16, "TensorFlow's is off by up to 10 units, PyTorch's less"),
    ("svd", "tensorflow", "second"): (32, "TensorFlow's is off by up to 18 units, PyTorch's less"),
    ("svd", "jax", "second"): (
        2000,
        "JAX's in float32 is off by up to 1,100 units; ours agrees with the other two",
    ),
    ("scatter_multiply", "torch", "second"): (64, "PyTorch divides the product by each factor"),
    ("sinh", "jax", "value"): (
        12,
        "XLA's float64 is off by up to 9 units where the result is huge",
    ),
}


def _products(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """A sum of products is off by roundings of each, however little they sum up to."""
    return np.vecdot(np.abs(x), np.abs(y), axis=axis)


def _by_angle(x: np.ndarray) -> np.ndarray:
    """(cos(pi x) - sinc(x)) / x is what the slope of sin(pi x) / (pi x) is where no series is
    taken: another order is another division of what is left of two terms near 1, and another pi
    that the rounding of pi x counts."""
    return np.pi + 1 / np.abs(x)


def _factors(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    """The slope of a product along all factors is, where it is divided by them, the sum of what two
    divisions leave. It takes that division of the product twice by one factor away again: a term
    that is none of the result's. Each of n factors adds half a unit, so 16 have the limit's."""
    size = np.abs(x)
    whole = np.prod(size, axis, keepdims=True)
    found = whole * np.sum(1 / size, axis, keepdims=True) / size
    return found * max(1, x.size / max(whole.size, 1) / 16)


def _running_factors(x: np.ndarray, axis: int | None, **params: Any) -> np.ndarray:
    """The same of products up to each element, which are summed up."""
    size, along = np.abs(x), axis or 0
    products = 1 + np.sum(np.cumprod(size, along), along, keepdims=True)
    return products * (1 + np.sum(1 / size, along, keepdims=True)) / size


def _inverses(x: np.ndarray) -> np.ndarray:
    """A slope of the determinant's of the third order is det(x) times a sum of products of three
    elements of the inverse y: over the ways to exchange the directions A and B and the place asked
    for, tr(yA) tr(yB) y and tr(yAyB) y, tr(yA) yBy and tr(yB) yAy, yAyBy and yByAy. Here those of
    |y|, along ones. The samples are made `regular`, with half the slope in each of two orders."""
    matrix = 0.5 * x + 1.5 * np.eye(x.shape[-1])
    y = np.abs(np.linalg.inv(matrix)).swapaxes(-1, -2)
    whole = y.sum((-2, -1), keepdims=True)
    crossed = y.sum(-1, keepdims=True) * y.sum(-2, keepdims=True)
    terms = 2 * whole**2 * y + 4 * whole * crossed
    return np.abs(np.linalg.det(matrix))[..., None, None] * terms / 4


def _by_inverse(x: np.ndarray, order: int) -> np.ndarray:
    """Slopes are made of the result y, whose rounding counts as often as they are steep there: that
    is r exp(y^2) for the first, with r = sqrt(pi) / 2, and 2 r^2 y exp(2 y^2) for the second."""
    inverse = np.vectorize(NormalDist().inv_cdf, otypes=["float64"])
    y = np.abs(inverse((1 + np.clip(x, -0.99, 0.99)) / 2)) / 2**0.5
    slope = np.pi**0.5 / 2 * np.exp(y * y)
    return slope * (1 + 2 * y) if order == 1 else 2 * slope**2 * (1 + y + 4 * y * y)


# How large the terms are that a result is the sum of, of an operation and an order, with cotangents
# and directions near 1. Where they cancel, an error is as large as theirs: N. J. Higham, Accuracy
# and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, sections 1.7 and 3.1.
TERMS: dict[tuple[str, str], Callable[..., np.ndarray]] = {
    ("adjugate", "second"): _inverses,
    ("cumulative_prod", "second"): _running_factors,
    ("erfinv", "first"): lambda x: _by_inverse(x, 1),
    ("erfinv", "second"): lambda x: _by_inverse(x, 2),
    ("prod", "second"): _factors,
    ("sinc", "first"): _by_angle,
    ("sinc", "second"): lambda x: _by_angle(x) ** 2,
    ("vecdot", "value"): _products,
}

# What a framework refuses to differentiate is compared by its value.
NOT_DIFFERENTIATED: dict[tuple[str, str], str] = {
    ("fmod", "tensorflow"): "TensorFlow has no derivative of it",
    ("heaviside", "torch"): "PyTorch has no derivative of it",
    ("nextafter", "jax"): "JAX has no derivative of it",
    ("floor_divide", "torch"): "PyTorch has no derivative of it",
    ("scatter_multiply", "jax"): "JAX has one only where it is told that no place comes twice",
}


# Which of 0 and -0 comes out of these depends, within one framework, on the shape and on the
# processor: on whether an element is computed in a vector register or alone, and on what the BLAS
# for this processor begins a sum with. So no row of `DISAGREEMENTS` holds everywhere.
OPEN_SIGNS = (
    *("clip", "conv", "conv_transpose", "depthwise_conv", "dot_product_attention", "einsum"),
    *("matmul", "separable_conv", "tensordot"),
)


@dataclass(frozen=True)
class Disagreement:
    """Where `frameworks` give something else than we do, of which order, and why."""

    subjects: str
    frameworks: str
    order: str
    where: Callable[..., Any]  # of the arrays and the parameters: a mask, or one truth for all
    why: str

    def concerns(self, subject: str, framework: str) -> bool:
        return subject in self.subjects.split() and framework in self.frameworks.split()


def _always(*arrays: np.ndarray, **params: Any) -> bool:
    return True


def _any_nan(*arrays: np.ndarray, **params: Any) -> bool:
    return any(bool(np.isnan(x).any()) for x in arrays)


def _not_finite(*arrays: np.ndarray, **params: Any) -> bool:
    return not all(bool(np.isfinite(x).all()) for x in arrays)


def _huge(*arrays: np.ndarray, **params: Any) -> bool:
    return not all(bool((np.abs(x) < 1e18).all()) for x in arrays)


def _no_length(x: np.ndarray, y: np.ndarray, axis: int) -> bool:
    return bool(np.any((x * x).sum(axis) * (y * y).sum(axis) == 0))


def _no_spread(x: np.ndarray, axis: Any, **params: Any) -> bool:
    return bool(np.any(x.std(axis) == 0))


def _half_way(x: np.ndarray, q: Any, method: str, **params: Any) -> bool:
    return method == "nearest" and q == 0.5


def _swapped(x: np.ndarray, axis: Any, **params: Any) -> bool:
    """Whether the swaps by which JAX brings the other axes to the front leave those that it goes
    along in another order."""
    along = normalize_axes("median", axis, x.ndim)
    order = list(range(x.ndim))
    kept = [i for i in order if i not in along]
    for place, i in enumerate(kept):
        order[place], order[i] = order[i], order[place]
    return order[len(kept) :] != sorted(along)


_SIGNS = "0 and -0 are equal, and which of them comes out is left open: ours is NumPy's"

# Sorted by order, then by operation. A row that no sample needs any longer fails the suite.
DISAGREEMENTS: tuple[Disagreement, ...] = (
    Disagreement(
        "digamma", "tensorflow jax", "value", lambda x: x == 0,
        "theirs is NaN at 0; ours is the limit, -inf at 0 and inf at -0, as in PyTorch",
    ),
    Disagreement("erfinv", "tensorflow", "zero", _always, _SIGNS),
    Disagreement("cbrt", "tensorflow", "zero", _always, _SIGNS),
    Disagreement("hard_silu", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement(
        "clip", "tensorflow", "value", lambda x, low, high: low > high,
        "TensorFlow lets the lower bound win; ours is the upper one, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "clip", "jax", "first", lambda x, low, high: (x == low) | (x == high),
        "JAX shares the gradient at a bound; ours is all of x, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "fmod", "torch", "value", lambda x, y: ~np.isfinite(x / y),
        "PyTorch's is NaN where x / y overflows; we compute it exactly, as NumPy and JAX do",
    ),
    Disagreement(
        "heaviside", "tensorflow torch", "value", _any_nan,
        "they take NaN for a number below 0; ours stays NaN, as in NumPy and JAX",
    ),
    Disagreement(
        "lerp", "tensorflow torch jax", "value",
        lambda *arrays: not all(np.isfinite(x).all() for x in arrays),
        "what is left of infinities depends on the order of the steps",
    ),
    Disagreement(
        "signbit", "tensorflow", "value", lambda x: x == 0,
        "TensorFlow's asks for x < 0; -0.0 has its sign set, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "cbrt", "tensorflow", "first", lambda x: x == 0,
        "TensorFlow's is NaN at 0; ours is infinite, as in JAX",
    ),
    Disagreement(
        "cbrt", "tensorflow", "second", lambda x: x == 0,
        "TensorFlow's is NaN at 0; ours is infinite, as in JAX",
    ),
    Disagreement(
        "hypot", "tensorflow", "value", lambda x, y: ~np.isfinite(x * x + y * y),
        "TensorFlow's squares overflow; ours do not, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "hypot", "tensorflow torch jax", "first", lambda x, y: (x == 0) & (y == 0),
        "TensorFlow and PyTorch give NaN at (0, 0), JAX 1; ours is 0, the subgradient of both",
    ),
    Disagreement(
        "hypot", "tensorflow torch", "second", lambda x, y: (x == 0) & (y == 0),
        "there is none at (0, 0): theirs is NaN, ours is infinite",
    ),
    Disagreement(
        "hypot", "jax", "second", lambda x, y: np.abs(x) == np.abs(y),
        "JAX's is 0 where |x| is |y|; ours is right, as TensorFlow's and PyTorch's",
    ),
    Disagreement(
        "copysign", "jax", "first", lambda x, y: x == 0,
        "JAX's slope at 0 is the sign of y; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "copysign", "torch", "second", lambda x, y: x == 0,
        "PyTorch's is NaN where x is 0; ours is 0, as JAX's",
    ),
    Disagreement(
        "logaddexp", "tensorflow", "first", lambda x, y: x == y,
        "TensorFlow gives a tie's gradient to the first, and NaN between infinities; we share it",
    ),
    Disagreement(
        "logaddexp", "torch", "first", lambda x, y: (x == y) & np.isinf(x),
        "PyTorch's is NaN between equal infinities; ours is shared, as between all equals",
    ),
    Disagreement(
        "logaddexp", "jax", "first", lambda x, y: (x == y) & np.isinf(x),
        "JAX gives all to each of two inf, and NaN to -inf; ours is shared, as between all equals",
    ),
    Disagreement(
        "logaddexp", "jax", "second", lambda x, y: np.isinf(x) & np.isinf(y),
        "JAX's is NaN between infinities; ours is 0",
    ),
    Disagreement(
        "logaddexp", "torch", "second", lambda x, y: np.isinf(x) | np.isinf(y),
        "PyTorch's is NaN beside an infinity; ours is 0",
    ),
    Disagreement(
        "logaddexp log_cosh", "tensorflow", "second", lambda x, y, **params: x == y,
        "TensorFlow's is 0 between equals, NaN between infinities; ours is curved there too, and 0",
    ),
    Disagreement(
        "nextafter", "tensorflow torch", "first", _always,
        "they pass the gradient on to x; for us a step to the next number has none",
    ),
    Disagreement(
        "sinc", "tensorflow", "first", lambda x: np.any(x == 0), "TensorFlow's is NaN at 0"
    ),
    Disagreement(
        "sinc", "tensorflow torch", "second", lambda x: x == 0,
        "theirs is NaN at 0; ours is right, as JAX's",
    ),
    Disagreement(
        "digamma", "torch", "first", lambda x: x.dtype == np.float64,
        "PyTorch's trigamma is right to 9 digits only; TensorFlow and JAX agree with ours",
    ),
    Disagreement(
        "lgamma", "torch", "second", lambda x: x.dtype == np.float64,
        "PyTorch's trigamma is right to 9 digits only; TensorFlow and JAX agree with ours",
    ),
    Disagreement(
        "max mean min std sum var", "torch", "shape",
        lambda x, axis, **params: axis == (),
        "PyTorch takes () for all axes; for us it is none, as in NumPy, TensorFlow and JAX",
    ),
    Disagreement(
        "argmax argmin", "tensorflow", "value", _any_nan,
        "TensorFlow passes over NaN; for us it is the extreme, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "argsort searchsorted sort top_k top_k_indices", "tensorflow", "value", _any_nan,
        "TensorFlow puts NaN anywhere; for us it comes last, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "astype", "jax", "value", lambda x, dtype: ~np.isfinite(x) & (dtype == "int32"),
        "XLA gives the nearest integer, and 0 for NaN; ours is the processor's, as in NumPy, "
        "TensorFlow and PyTorch",
    ),
    Disagreement(
        "bitwise_left_shift", "tensorflow", "value", lambda x, y: y >= 8 * x.itemsize,
        "TensorFlow shifts by one place less than there are; we shift everything out, as NumPy, "
        "PyTorch and JAX do",
    ),
    Disagreement(
        "divide", "jax", "value", lambda x, y: np.abs(y) * np.finfo(y.dtype).tiny > 0.25,
        "XLA multiplies by the reciprocal where it broadcasts y, and takes subnormal ones for "
        "zero; we divide, as NumPy, TensorFlow and PyTorch do",
    ),
    Disagreement(
        "conv conv_kernel conv_transpose depthwise_conv", "tensorflow", "value", _not_finite,
        "infinity times a zero in a gap of the kernel, which the comparison fills with them, or in "
        "its own padding; ours skips gaps, as PyTorch does",
    ),
    Disagreement(
        "conv conv_kernel depthwise_conv separable_conv fold unfold", "jax", "value", _not_finite,
        "XLA makes one convolution of groups and of patches, with zeros that meet infinity, and "
        "passes over padding; for us infinity times a zero of padding is NaN, as in PyTorch",
    ),
    Disagreement(
        "conv_transpose", "torch jax", "value", _not_finite,
        "theirs put zeros between the inputs and in front, and multiply them by an infinite "
        "kernel; ours adds no such products, as TensorFlow",
    ),
    Disagreement(
        "erf", "tensorflow", "value", lambda x: np.abs(x) > 1e30,
        "TensorFlow's float64 gives NaN; the limit is 1, as in PyTorch and JAX",
    ),
    Disagreement(
        "floor_divide", "tensorflow", "value",
        lambda x, y: np.isinf(x) | (np.abs(x) < 1e-30) | (np.abs(y) > 1e30),
        "TensorFlow rounds the quotient before the floor; we follow Python, as NumPy, PyTorch and "
        "JAX do",
    ),
    Disagreement(
        "median quantile", "torch", "value", lambda x, **params: bool(np.isinf(x).any()),
        "PyTorch's is NaN beside an infinity, from 0 times it; ours is the limit, as JAX's",
    ),
    Disagreement(
        "quantile", "jax", "value", lambda x, **params: bool(np.isinf(x).any()),
        "JAX's is NaN where it takes nothing of an infinity; ours leaves out what it does not take",
    ),
    Disagreement(
        "quantile", "jax", "value", _half_way,
        "half way between two, JAX takes the lower as the nearest; we take the one at an even "
        "place, as NumPy and PyTorch do",
    ),
    Disagreement(
        "max_pool window_max", "tensorflow", "value", _not_finite,
        "TensorFlow passes over NaN, and has its smallest number for -inf; for us NaN is the "
        "largest, as in PyTorch and JAX",
    ),
    Disagreement(
        "gelu hard_silu silu", "tensorflow torch jax", "value", lambda x, **params: np.isinf(x),
        "theirs is NaN, infinity times 0; ours is the limit, 0",
    ),
    Disagreement(
        "hard_shrink soft_shrink threshold", "tensorflow", "value", np.isnan,
        "Keras puts the default in the place of NaN; ours stays NaN, as PyTorch's",
    ),
    Disagreement(
        "softsign", "tensorflow torch jax", "value", np.isinf,
        "theirs is NaN, infinity over infinity; ours is the limit, 1",
    ),
    Disagreement(
        "remainder", "torch", "value", lambda x, y: np.abs(x) / np.abs(y) > 1e5,
        "PyTorch subtracts a rounded quotient; we compute it exactly, as NumPy, TensorFlow, JAX do",
    ),
    Disagreement(
        "scatter_max scatter_min", "tensorflow", "value", _any_nan,
        "TensorFlow passes over NaN; ours wins, as in NumPy, PyTorch and JAX",
    ),
    Disagreement(
        "top_k_indices", "jax", "value", lambda x, k: bool(np.any(x == 0)),
        "for JAX 0 is larger than -0; for us they are equal, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "searchsorted", "torch", "value", _any_nan,
        "for PyTorch a NaN belongs behind the others on either side; we follow NumPy, as JAX does",
    ),
    Disagreement(
        "sign", "torch", "value", np.isnan,
        "PyTorch gives 0 for NaN; we give NaN, as NumPy, TensorFlow and JAX do",
    ),
    Disagreement("floor_divide maximum mean minimum sign sum", "jax", "zero", _always, _SIGNS),
    Disagreement("max min", "torch jax", "zero", _always, _SIGNS),
    Disagreement("getitem_transpose", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement("cummax cummin median quantile sort", "jax", "zero", _always, _SIGNS),
    Disagreement("nanmean nanmin nansum", "jax", "zero", _always, _SIGNS),
    Disagreement("cumulative_sum", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement("median quantile", "torch", "zero", _always, _SIGNS),
    Disagreement("top_k", "torch jax", "zero", _always, _SIGNS),
    Disagreement("max_pool window_max", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement("mean sum", "tensorflow", "zero", _always, _SIGNS),
    Disagreement("overlap_add", "tensorflow jax", "zero", _always, _SIGNS),
    Disagreement("unfold", "jax", "zero", _always, _SIGNS),
    Disagreement("celu", "tensorflow jax", "zero", _always, _SIGNS),
    Disagreement("layer_norm log_sigmoid soft_shrink", "torch", "zero", _always, _SIGNS),
    Disagreement("relu relu6", "tensorflow torch", "zero", _always, _SIGNS),
    Disagreement("remainder", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement("scatter_max scatter_min", "tensorflow torch jax", "zero", _always, _SIGNS),
    Disagreement(
        "abs", "jax", "first", lambda x: x == 0,
        "JAX's slope at 0 is 1; ours is 0, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "cummax cummin", "jax", "first", _always,
        "JAX shares a tie's gradient pair by pair; ours goes to the last of the equals, as in "
        "PyTorch",
    ),
    Disagreement(
        "cumulative_prod", "tensorflow", "first", lambda x, **params: bool(np.any(x == 0)),
        "TensorFlow divides by the factors, and gives 0 where one is 0; ours is right, as "
        "PyTorch's and JAX's",
    ),
    Disagreement(
        "celu", "tensorflow", "first", lambda x, **params: x == 0,
        "Keras adds both sides' slopes at 0; ours is 1, as in PyTorch and JAX",
    ),
    Disagreement(
        "cosine_similarity", "tensorflow torch", "first", _no_length,
        "theirs is huge where a vector is 0, which they keep from 0 by a tiny number; ours is 0",
    ),
    Disagreement(
        "cosine_similarity", "tensorflow torch", "second", _no_length,
        "theirs is NaN where a vector is 0; ours is 0",
    ),
    Disagreement(
        "binary_crossentropy_from_logits", "tensorflow torch jax", "value",
        lambda t, x: ~np.isfinite(8 * np.abs(x) * (1 + np.abs(t))),
        "what is left of infinities depends on the order of the steps; ours is their limit",
    ),
    Disagreement(
        "sparse_categorical_crossentropy_from_logits", "torch jax", "zero", _always, _SIGNS
    ),
    Disagreement(
        "batch_norm group_norm", "torch", "value", _huge,
        "what is left of infinities, and of sums that overflow, depends on the order of the steps",
    ),
    Disagreement(
        "dot_product_attention", "torch", "value",
        lambda *arrays, mask, **params: mask is not None and not np.all(mask),
        "PyTorch's is NaN where nothing is left to attend to, or what is masked is not finite; "
        "ours is 0 there, and passes over it",
    ),
    Disagreement(
        "hard_tanh", "tensorflow jax", "first", lambda x: np.abs(x) == 1,
        "theirs is 1 at -1 and 1; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "leaky_relu", "jax", "first", lambda x, **params: x == 0,
        "JAX's slope at 0 is 1; ours is the negative one, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "mean_absolute_error", "jax", "first", lambda x, y: x == y,
        "JAX's slope where both are equal is 1; ours is 0, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "selu", "tensorflow", "first", lambda x: x == 0,
        "TensorFlow's slope at 0 is that of the right side; ours that of the left, as in PyTorch "
        "and JAX",
    ),
    Disagreement(
        "maximum minimum", "tensorflow", "first", lambda x, y: x == y,
        "TensorFlow gives a tie's gradient to the first; we share it, as PyTorch and JAX do",
    ),
    Disagreement(
        "power", "tensorflow jax", "first", lambda x, y: (x == 0) & (y == 0),
        "theirs is NaN for the base at 0 ** 0; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "power", "tensorflow", "first", lambda x, y: x < 0,
        "TensorFlow's is 0 for the exponent of a negative base; ours is NaN, as in PyTorch and JAX",
    ),
    Disagreement("quantile", "jax", "first", _half_way, "JAX takes the lower of the two"),
    Disagreement(
        "median quantile", "jax", "first", _swapped,
        "JAX gives a tie's gradient to the first in an order of its own of the axes, made by swaps "
        "of two; ours is that of the array's axes",
    ),
    Disagreement(
        "sort", "jax", "first", lambda x, axis, descending: descending,
        "JAX turns equals around as well; ours keep their order, as in PyTorch and the array API",
    ),
    Disagreement(
        "vector_norm", "tensorflow jax", "first", lambda x, **params: x == 0,
        "theirs is NaN where the norm is 0, and JAX's 1-norm has slope 1; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "matrix_norm norm", "jax", "first", lambda x, **params: x == 0,
        "the slope of the 1-norm at 0 is 1 in JAX; ours is 0, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "std", "tensorflow jax", "first", _no_spread,
        "theirs is NaN where all are equal; ours is 0, as in PyTorch",
    ),
    Disagreement(
        "top_k", "torch", "first", _always,
        "PyTorch takes any of the equals; we take those in front, as TensorFlow and JAX do",
    ),
    Disagreement(
        "cumulative_prod", "tensorflow", "second", lambda x, **params: bool(np.any(x == 0)),
        "TensorFlow's is 0 where a factor is 0; ours is right, as PyTorch's and JAX's",
    ),
    Disagreement(
        "power", "tensorflow", "second", lambda x, y: x <= 0,
        "at 0 theirs is NaN; below 0 ours is, where it involves the exponent",
    ),
    Disagreement("power", "jax", "second", lambda x, y: x == 0, "theirs is NaN where x is 0"),
    Disagreement(
        "power", "torch", "second", lambda x, y: (x == 0) | (y == 0),
        "theirs is NaN where x is 0, and lacks a term, 1 / x, where y is 0",
    ),
    Disagreement(
        "prod", "tensorflow", "second", lambda x, **params: bool(np.any(x == 0)),
        "TensorFlow's is 0 where a factor is 0; ours is right, as PyTorch's and JAX's",
    ),
    Disagreement(
        "celu", "torch jax", "second", lambda x, **params: x == 0,
        "ours is the left side's, as the slope is; theirs is 0, or of both sides",
    ),
    Disagreement(
        "elu", "tensorflow torch", "second", lambda x, **params: x == 0,
        "theirs is the right side's, 0, where the slope is the left side's; ours is, as in JAX",
    ),
    Disagreement(
        "selu", "tensorflow", "second", lambda x: x == 0,
        "TensorFlow's at 0 is that of the right side; ours that of the left, as in JAX",
    ),
    Disagreement(
        "selu", "torch", "second", lambda x: x == 0,
        "theirs is the right side's, 0, where the slope is the left side's; ours is, as in JAX",
    ),
    Disagreement(
        "softsign", "jax", "second", lambda x: x == 0,
        "JAX's slope of |x| at 0 is 1; ours is 0, as in TensorFlow and PyTorch",
    ),
    Disagreement(
        "vector_norm", "tensorflow torch jax", "second", lambda x, **params: x == 0,
        "theirs is NaN where the norm is 0; ours is 0",
    ),
    Disagreement(
        "std", "tensorflow jax", "second", _no_spread,
        "theirs is NaN where all are equal; ours is 0, as in PyTorch",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class OtherDtype:
    """Where a framework's own rule gives a result another dtype than ours, and why."""

    subjects: str  # "*" for all
    frameworks: str
    ours: str
    theirs: str
    why: str

    def concerns(self, subject: str, framework: str) -> bool:
        of_subject = self.subjects == "*" or subject in self.subjects.split()
        return of_subject and framework in self.frameworks.split()


_PLACES = "places and counts are int64 there; ours are int32, the default integer"
_SUMS = "integers narrower than 32 bits sum up in the default integer of 32 bits"

OTHER_DTYPES: tuple[OtherDtype, ...] = (
    OtherDtype("argmax argmin", "tensorflow torch jax", "int32", "int64", _PLACES),
    OtherDtype("argsort bincount_counts", "torch jax", "int32", "int64", _PLACES),
    OtherDtype("count_nonzero", "tensorflow torch jax", "int32", "int64", _PLACES),
    OtherDtype("matrix_rank", "torch jax", "int32", "int64", _PLACES),
    OtherDtype("searchsorted", "torch", "int32", "int64", _PLACES),
    OtherDtype("unique_inverse", "jax", "int32", "int64", _PLACES),
)


def errors(ours: np.ndarray, theirs: np.ndarray, terms: Any = 0.0) -> np.ndarray:
    """The error of each element, in units; infinite for what is not comparable. `terms` is how
    large those are that it is the sum of."""
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))
    if not dtypes.is_float(ours.dtype):
        return np.where(same, 0.0, np.inf)
    eps = float(finfo(ours.dtype).eps)
    ours, theirs = ours.astype("float64"), theirs.astype("float64")
    with np.errstate(all="ignore"):
        terms = np.where(np.isfinite(terms), terms, 0.0)
        largest = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), terms)
        scale = np.maximum(1, largest) * eps
        found = np.where(same, 0.0, np.abs(ours - theirs) / scale)
    return np.where(same, 0.0, np.where(np.isfinite(found) & (found > 0), found, np.inf))


def other_zero(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Infinity where both are zero, of different signs."""
    if not dtypes.is_float(ours.dtype):
        return np.zeros(ours.shape)
    differ = (ours == 0) & (theirs == 0) & (np.signbit(ours) != np.signbit(theirs))
    return np.where(differ, np.inf, 0.0)


def differences(
    subject: str,
    framework: str,
    sample: Sample,
    ours: Derivatives,
    theirs: Derivatives,
    rows: tuple[Disagreement, ...],
) -> Iterator[str]:
    """What differs between two results that should agree, in words."""
    for order, label, found, expected in pairs(sample, ours, theirs):
        if np.any(excuses(subject, framework, "shape", sample, rows)):
            continue
        if order == "zero" and subject in OPEN_SIGNS:
            continue
        if found.shape != expected.shape:
            yield f"{label}: shape {found.shape}, {framework} gives {expected.shape}: {sample}"
            continue
        if found.dtype != expected.dtype and not _other_dtype(subject, framework, found, expected):
            yield f"{label}: dtype {found.dtype}, {framework} gives {expected.dtype}: {sample}"
            continue
        error = measured(subject, framework, order, sample, found, expected, rows)
        limit = limit_of(subject, framework, order, found.dtype)
        if np.any(error > limit):
            place = np.unravel_index(np.argmax(error), error.shape)
            yield (
                f"{label}: {found[place]!r}, {framework} gives {expected[place]!r}: "
                f"{error[place]:.3g} units, at most {limit:g}, at {tuple(map(int, place))}, of "
                f"{sample}"
            )


def measured(
    subject: str,
    framework: str,
    order: str,
    sample: Sample,
    ours: np.ndarray,
    theirs: np.ndarray,
    rows: tuple[Disagreement, ...],
) -> np.ndarray:
    """The error of each element, in units; zero where it is known to differ."""
    terms = _terms(subject, order, sample)
    error = other_zero(ours, theirs) if order == "zero" else errors(ours, theirs, terms)
    excused = np.asarray(excuses(subject, framework, order, sample, rows))
    if excused.shape != error.shape and excused.ndim:
        excused = _narrowed(excused, error.shape)
    return np.where(excused, 0, error)


def _terms(subject: str, order: str, sample: Sample) -> Any:
    """How large the terms of a result are, where it is one of `TERMS`."""
    if (subject, order) not in TERMS:
        return 0.0
    arrays = [x.astype("float64") for x in sample.arrays]
    with np.errstate(all="ignore"):
        return TERMS[subject, order](*arrays, **sample.call.params)


def _narrowed(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the broadcast arguments for the gradient of one of them: true where any is."""
    if mask.ndim > len(shape):
        mask = mask.any(axis=tuple(range(mask.ndim - len(shape))))
    else:
        mask = mask.reshape((1,) * (len(shape) - mask.ndim) + mask.shape)
    narrow = tuple(i for i, size in enumerate(shape) if size == 1 != mask.shape[i])
    return np.broadcast_to(mask.any(axis=narrow, keepdims=True), shape)


def limit_of(subject: str, framework: str, order: str, dtype: np.dtype) -> float:
    """How many units apart two results may be."""
    if (subject, framework, order) in LOOSER:
        return LOOSER[subject, framework, order][0]
    if not dtypes.is_half(dtype):
        return UNITS[order]
    alone = SUBJECTS[subject].op is not None and subject not in FORMS
    return HALF_UNITS["operation" if order == "value" and alone else order]


def _other_dtype(subject: str, framework: str, ours: np.ndarray, theirs: np.ndarray) -> bool:
    return any(
        row.concerns(subject, framework)
        and (row.ours, row.theirs) == (ours.dtype.name, theirs.dtype.name)
        for row in OTHER_DTYPES
    )


def excuses(
    subject: str, framework: str, order: str, sample: Sample, rows: tuple[Disagreement, ...]
) -> Any:
    """Which elements are known to differ."""
    found: Any = False
    # The rows speak of numbers that a half cannot hold.
    arrays = [x.astype("float32") if dtypes.is_half(x.dtype) else x for x in sample.arrays]
    for row in rows:
        if row.order == order and row.concerns(subject, framework):
            found = found | np.asarray(row.where(*arrays, **sample.call.params))
    return found


def pairs(
    sample: Sample, ours: Derivatives, theirs: Derivatives
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """What is compared of two results: the order, a label, ours, theirs."""
    yield "value", "value", ours.value, theirs.value
    # Half the operations of half precision go by way of float32, where a zero may change its sign.
    if not ours.first and not dtypes.is_half(ours.value.dtype):
        yield "zero", "sign of zero", ours.value, theirs.value
    for order, words in (("first", "gradient"), ("second", "gradient of the gradient")):
        each = zip(sample.argnums, getattr(ours, order), getattr(theirs, order), strict=False)
        for argument, found, expected in each:
            yield order, f"{words} of argument {argument}", found, expected
