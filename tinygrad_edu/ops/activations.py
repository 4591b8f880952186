"""Activation functions, each of one argument, element by element.

Those that networks run on (relu, gelu, silu, softplus) are primitives, whose kernels work in place
on a temporary of their own; the rest are composed. At a kink each follows PyTorch, and says so.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import conversion
from ..arguments import normalize_axis
from ..backends import Array
from ..dispatch import apply, binary
from ..errors import ArgumentError
from ..op import Binary, Elementwise, Unary
from ..references import real
from ..tensors import Tensor, TensorLike
from .blocks import BLOCK, at_least, at_most, in_blocks_of_out, not_above, not_below
from .elementwise import abs, exp, expm1, minimum, sigmoid, sign, tanh, where
from .kernels import alone, constants, in_float32, into, kept, onto, times
from .reduction import as_float
from .special import erf

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "silu",
    "soft_shrink",
    "softplus",
    "softsign",
    "swish",
    "tanh_shrink",
    "threshold",
]

_LARGE = 10_000  # elements, from which on memory counts more than calls


class Relu(Unary):
    """x where it is positive, else 0. The gradient at 0 is 0, as in all three frameworks.

    >>> relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.], dtype=float32)
    """

    c = "({0} < 0 ? 0 : {0})"
    accepts = "iuf"
    gradients = (lambda g, _, x: gate.of(g, x),)
    on_arrays = True
    references = {"tensorflow": "nn.relu", "torch": "relu", "jax": "nn.relu"}
    domain = real(-3, 3, away=(0,))
    kinks = ((0,), (-0.0,))

    def forward(self, xp: Any, x: Array) -> Array:
        if xp is np and x.size > _LARGE and x.dtype.kind == "f":
            return x.clip(0, np.inf)  # a third of the time that NumPy's maximum takes
        return xp.maximum(x, 0 if x.dtype.kind in "iuf" else x.dtype.type(0))


relu = Relu()


class Gate(Elementwise):
    """A cotangent g where x is positive, else 0, whatever g is: also for an infinite one."""

    linear = (0,)
    c = "({1} > 0 ? {0} : 0)"
    gradients = (lambda h, _, g, x: binary(gate, h, x), None)

    def forward(self, xp: Any, g: Array, x: Array) -> Array:
        return kept(xp, g, x > 0)


gate = Gate()


def _in_steps(xp: Any, forward: Callable[..., Array]) -> Callable[..., Array]:
    """A kernel of many steps, which takes `out`: halves in float32, and large arrays of NumPy's
    block by block."""
    compute = in_float32(xp, forward)
    if xp is not np:
        return compute
    blocked = in_blocks_of_out(compute)

    def kernel(*operands: Any, out: Any = None) -> Any:
        x = operands[-1]
        if x.size <= BLOCK and x.dtype.itemsize > 2:
            return forward(np, *operands, out)  # without a detour, where that takes time
        return blocked(*operands) if out is None else compute(*operands, out=out)

    return kernel


def divided(x: Array, y: Array) -> Array:
    """x / y, in the place of y, a kernel's own temporary, where that is possible."""
    return np.divide(x, y, y) if isinstance(y, np.ndarray) else x / y


class _Smooth(Unary, abstract=True):
    """Base of the activations of many steps."""

    result = "float"

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return _in_steps(xp, self.forward)


class _Slope(Binary, abstract=True):
    """Base of what takes a cotangent g of such an activation of x, and gives that of x."""

    result = "float"
    linear = (0,)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return _in_steps(xp, self.forward)


class Silu(_Smooth):
    """x * sigmoid(x). At -infinity 0, its limit (the frameworks give NaN).

    Source: D. Hendrycks, K. Gimpel, Gaussian error linear units, arXiv:1606.08415, section 4.

    >>> silu([0.0, 1.0])
    Tensor([0.       , 0.7310586], dtype=float32)
    """

    c = "({0} / (1 + exp(-{0})))"
    gradients = (lambda g, _, x: silu_slope.of(g, x),)
    on_arrays = True
    references = {"tensorflow": "nn.silu", "torch": "nn.functional.silu", "jax": "nn.silu"}

    def forward(self, xp: Any, x: Array, out: Any = None) -> Array:
        lowest, one = constants(xp, x, _LOWEST[x.dtype.itemsize], 1)
        x = not_below(xp, x, lowest)
        powers = onto(xp.exp, into(xp.negative, x, out))
        powers += one
        return divided(x, powers)


silu = Silu()


def swish(x: TensorLike, /) -> Tensor:
    """`silu` by another name.

    >>> swish(0.0)
    Tensor(0., dtype=float32)
    """
    return silu(x)


# Further down exp(-x) overflows, and the logistic function is as good as 0.
_LOWEST = {4: -88.0, 8: -709.0}


class SiluSlope(_Slope):
    """g * s * (1 + x * (1 - s)), of s = sigmoid(x)."""

    gradients = (
        lambda h, _, g, x: binary(silu_slope, h, x),
        lambda h, _, g, x: h * g * (_bell(x) * (2.0 + x * (1.0 - 2.0 * sigmoid(x)))),
    )

    def forward(self, xp: Any, g: Array, x: Array, out: Any = None) -> Array:
        limit = -_LOWEST[x.dtype.itemsize]
        one, limit, lowest = constants(xp, x, 1, limit, -limit)
        x = not_above(xp, not_below(xp, x, lowest), limit)
        powers = onto(xp.exp, into(xp.negative, x, out))
        more = powers + one
        powers /= more  # 1 - s; first, for x times the power may overflow
        powers *= x
        powers += one
        powers /= more
        return times(powers, g)


silu_slope = SiluSlope()


def _bell(x: Tensor) -> Tensor:
    """The derivative of sigmoid, accurate in both tails."""
    return sigmoid(x) * sigmoid(-x)


class Gelu(_Smooth):
    """x times the normal distribution function of x."""

    c = "(0.5 * {0} * (1 + erf({0} * 0.70710678118654752)))"
    gradients = (lambda g, out, x: gelu_slope.of(g, x, out),)
    on_arrays = True

    def forward(self, xp: Any, x: Array, out: Any = None) -> Array:
        if x.dtype.itemsize > 4:
            found = at_least(xp, x, -40.0, out)
            bounded = at_most(xp, found, 40.0)
            return times(found, 0.5 * (1 + erf.forward(xp, bounded * math.sqrt(0.5))))
        one, low, high, first, *others, last = constants(xp, x, 1, -7, 7, -_LOGIT[0], *_LOGIT[1:])
        x = not_below(xp, x, low)  # further out exp would overflow
        bounded = not_above(xp, x, high)
        square = xp.square(bounded)
        powers = square * first if out is None else xp.multiply(square, first, out)
        for coefficient in others:
            powers -= coefficient
            powers *= square
        powers -= last
        powers *= bounded
        powers = onto(xp.exp, powers)
        powers += one
        return divided(x, powers)


# The normal distribution function is 1 / (1 + exp(-x p(x * x))); this p, highest power first, was
# fitted on [0, 6.5] by reweighted least squares (C. L. Lawson's), to log Phi(x) - log Phi(-x) over
# x, for the smallest error of x Phi(x): 7e-8, which is half a unit of float32.
_LOGIT = (
    3.61872824e-09, -2.67293810e-07, 7.94622759e-06, -1.10555892e-04, -6.59094928e-05,
    7.26678227e-02, 1.59576899,
)  # fmt: skip

_gelu = Gelu()


class GeluSlope(Elementwise):
    """g * (Phi(x) + x * phi(x)), of the normal distribution and its density.

    `y` is gelu(x), which gives Phi(x) cheaply; all that depends on x is in the gradient of x.
    """

    arity = 3
    result = "float"
    linear = (0,)
    gradients = (
        lambda h, _, g, x, y: apply(gelu_slope, h, x, y),
        lambda h, _, g, x, y: h * g * (exp(x * x * -0.5) * _DENSITY * (2.0 - x * x)),
        None,
    )

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return _in_steps(xp, self.forward)

    def forward(self, xp: Any, g: Array, x: Array, y: Array, out: Any = None) -> Array:
        low, high, half, density = constants(xp, x, -40, 40, -0.5, _DENSITY)
        bounded = not_above(xp, not_below(xp, x, low), high)
        if bounded is not x:
            y = not_above(xp, not_below(xp, y, low), high)
        found = into(xp.square, bounded, out)
        if xp is np and found.size and found.min() > _NEAR:
            share = y / bounded
        else:
            near = found <= _NEAR
            share = xp.where(near, 0.5, y / xp.where(near, 1, bounded))
        found *= half
        found = onto(xp.exp, found)
        found *= density
        found *= bounded
        found += share
        return times(found, g)


_DENSITY = 1 / math.sqrt(2 * math.pi)
_NEAR = 1e-37  # where the square of x is smaller, out may have no more than a few bits
gelu_slope = GeluSlope()


class GeluTanh(_Smooth):
    """An approximation of gelu: x * (1 + tanh(y)) / 2, y = sqrt(2 / pi) * (x + 0.044715 x**3)."""

    c = "(0.5 * {0} * (1 + tanh(0.79788456080286536 * {0} * (1 + 0.044715 * {0} * {0}))))"
    gradients = (lambda g, _, x: gelu_tanh_slope.of(g, x),)
    on_arrays = True

    def forward(self, xp: Any, x: Array, out: Any = None) -> Array:
        # (1 + tanh(y)) / 2 is 1 / (1 + exp(-2 y)), which is as good as 0 and 1 further out.
        one, low, high, steepness, bend = constants(xp, x, 1, -10, 10, 2 * _STEEPNESS, -_BEND)
        x = not_below(xp, x, low)
        bounded = not_above(xp, x, high)
        powers = into(xp.square, bounded, out)
        powers *= bend
        powers -= steepness
        powers *= bounded
        powers = onto(xp.exp, powers)
        powers += one
        return divided(x, powers)


_STEEPNESS = math.sqrt(2 / math.pi)
_BEND = 0.044715 * 2 * _STEEPNESS
_gelu_tanh = GeluTanh()


class GeluTanhSlope(_Slope):
    """g * (w + x * w (1 - w) z'), of w = 1 / (1 + exp(-z)) and z = 2 y."""

    gradients = (
        lambda h, _, g, x: binary(gelu_tanh_slope, h, x),
        lambda h, _, g, x: h * g * _gelu_tanh_curvature(x),
    )

    def forward(self, xp: Any, g: Array, x: Array, out: Any = None) -> Array:
        one, low, high, three = constants(xp, x, 1, -10, 10, -3)
        steepness, bend = constants(xp, x, 2 * _STEEPNESS, -_BEND)
        x = not_above(xp, not_below(xp, x, low), high)  # as good as 0 and 1 further out
        square = xp.square(x)
        square *= bend
        powers = square - steepness if out is None else xp.subtract(square, steepness, out)
        powers *= x
        powers = onto(xp.exp, powers)
        more = powers + one
        powers /= more  # 1 - w, without its cancellation
        powers *= x
        square *= three
        square += steepness
        powers *= square
        powers += one
        powers /= more
        return times(powers, g)


gelu_tanh_slope = GeluTanhSlope()


def _gelu_tanh_curvature(x: Tensor) -> Tensor:
    """The second derivative of the approximate gelu; 0 far out, where it underflows."""
    x = where(abs(x) > 20.0, 20.0, x)
    square = x * x
    angle = x * (square * (0.044715 * _STEEPNESS) + _STEEPNESS)
    first = square * (3 * 0.044715 * _STEEPNESS) + _STEEPNESS
    height = tanh(angle)
    # x (1 + tanh y) / 2, differentiated twice: (1 - tanh(y)**2) (y' + x y'' / 2 - x y'**2 tanh y).
    half = square * (3 * 0.044715 * _STEEPNESS)
    return (1.0 - height * height) * (first + half - x * first * first * height)


def gelu(x: TensorLike, /, approximate: bool = True) -> Tensor:
    """x times the share of a normal distribution that is below x; `approximate`, which is Keras's
    default (PyTorch's is exact), puts tanh in its place, less than 0.001 off.

    Source: D. Hendrycks, K. Gimpel, Gaussian error linear units, arXiv:1606.08415.

    >>> gelu([-1.0, 0.0, 1.0], approximate=False)
    Tensor([-0.15865523,  0.        ,  0.8413448 ], dtype=float32)
    """
    return _gelu_tanh(x) if approximate else _gelu(x)


class Softplus(_Smooth):
    """log(1 + exp(x)), without overflow, and accurate in both tails.

    >>> softplus([-100.0, 0.0, 100.0])
    Tensor([3.783506e-44, 6.931472e-01, 1.000000e+02], dtype=float32)
    """

    c = "(fmax({0}, 0) + log1p(exp(-fabs({0}))))"
    gradients = (lambda g, _, x: g * sigmoid.of(x),)
    on_arrays = True
    references = {
        "tensorflow": "math.softplus",
        # PyTorch goes over to x itself above a threshold, 20 unless told otherwise.
        "torch": lambda torch, x: torch.nn.functional.softplus(x, threshold=40.0),
        "jax": "nn.softplus",
    }

    def forward(self, xp: Any, x: Array, out: Any = None) -> Array:
        found = onto(xp.negative, into(xp.abs, x, out))
        found = onto(xp.log1p, onto(xp.exp, found))
        found += at_least(xp, x, 0)
        return found


softplus = Softplus()


class Softsign(_Smooth):
    """x / (1 + |x|). The gradient at 0 is 1. At infinity 1, its limit (the frameworks give NaN).

    >>> softsign([1.0, -3.0])
    Tensor([ 0.5 , -0.75], dtype=float32)
    """

    c = "({0} / (1 + fabs({0})))"
    gradients = (lambda g, _, x: g / (1.0 + abs(x)) ** 2,)
    references = {
        # Spelled out: TensorFlow's has no gradient of the gradient.
        "tensorflow": lambda tf, x: x / (1 + tf.abs(x)),
        "torch": "nn.functional.softsign",
        "jax": "nn.soft_sign",
    }
    domain = real(-3, 3, away=(0,))

    def forward(self, xp: Any, x: Array, out: Any = None) -> Array:
        largest = float(np.finfo(x.dtype).max)
        found = x.clip(-largest, largest) if out is None else x.clip(-largest, largest, out)
        found /= xp.abs(found) + 1
        return found


softsign = Softsign()


def relu6(x: TensorLike, /) -> Tensor:
    """x between 0 and 6, else the nearer of them. The gradient at both is 0, as in TensorFlow and
    PyTorch.

    >>> relu6([-1.0, 2.0, 7.0])
    Tensor([0., 2., 6.], dtype=float32)
    """
    return _between(x, 0.0, 6.0)


def hard_tanh(x: TensorLike, /) -> Tensor:
    """x between -1 and 1, else the nearer of them. The gradient at both is 0, as in PyTorch.

    >>> hard_tanh([-2.0, 0.5])
    Tensor([-1. ,  0.5], dtype=float32)
    """
    return _between(x, -1.0, 1.0)


def _between(x: TensorLike, low: float, high: float) -> Tensor:
    x = as_float(x)
    return where(x <= low, low, where(x >= high, high, x))  # this way round, NaN stays NaN


class LeakyRelu(Binary):
    """x where it is positive, else x times a slope."""

    c = "({0} > 0 ? {0} : {0} * {1})"
    gradients = (
        lambda g, _, x, slope: g * leaky_slope.of(x, slope),
        lambda g, _, x, slope: g * where.of(x > 0, 0.0, x),
    )
    on_arrays = True

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, x: Array, slope: Array) -> Array:
        found = x * slope
        if xp is np and 0 < alone(slope) <= 1:
            return np.maximum(x, found, out=found if found.ndim else None)
        return xp.where(x > 0, x, found)


class LeakySlope(Binary):
    """The derivative of leaky_relu: 1 where x is positive, else the slope."""

    c = "({0} > 0 ? 1 : {1})"
    gradients = (None, lambda g, _, x, slope: g * where(x > 0, 0.0, 1.0))

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, x: Array, slope: Array) -> Array:
        positive = x > 0
        if xp is np and 0 <= alone(slope) <= 1:
            return at_least(xp, positive.astype(x.dtype), slope)  # quicker than NumPy's `where`
        return xp.where(positive, x.dtype.type(1), xp.asarray(slope, x.dtype))


_leaky_relu, leaky_slope = LeakyRelu(), LeakySlope()


def leaky_relu(x: TensorLike, /, negative_slope: float = 0.2) -> Tensor:
    """x where it is positive, else x * negative_slope. That is the gradient at 0 too, as in
    TensorFlow and PyTorch (in JAX it is 1).

    >>> leaky_relu([-1.0, 2.0])
    Tensor([-0.2,  2. ], dtype=float32)
    """
    return binary(_leaky_relu, as_float(x), negative_slope)


class Elu(Binary):
    """x where it is positive, else alpha * (exp(x) - 1)."""

    c = "({0} > 0 ? {0} : {1} * expm1({0}))"
    gradients = (
        lambda g, _, x, alpha: g * elu_slope.of(x, alpha),
        lambda g, _, x, alpha: g * expm1.of(minimum.of(x, 0.0)),
    )
    on_arrays = True

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, x: Array, alpha: Array) -> Array:
        found = onto(xp.expm1, x.clip(-np.inf, 0)) * alpha  # NumPy's minimum loses the sign of 0
        if xp is np and 0 < alone(alpha) <= 1:
            return np.maximum(x, found)
        return xp.where(x > 0, x, found)


class EluSlope(Binary):
    """The derivative of elu: 1 where x is positive, else alpha * exp(x)."""

    c = "({0} > 0 ? 1 : {1} * exp({0}))"
    gradients = (
        lambda g, out, x, alpha: g * where(x > 0, 0.0, out),
        lambda g, _, x, alpha: g * where(x > 0, 0.0, exp(minimum(x, 0.0))),
    )

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, x: Array, alpha: Array) -> Array:
        found = onto(xp.exp, at_most(xp, x, 0))  # 1 where x is positive
        if xp is np and alone(alpha) == 1:
            return found
        return xp.where(x > 0, found, found * alpha)


_elu, elu_slope = Elu(), EluSlope()


def elu(x: TensorLike, /, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (exp(x) - 1). The gradient at 0 is alpha, as in PyTorch
    and JAX.

    Source: D.-A. Clevert et al., Fast and accurate deep network learning by exponential linear
    units, arXiv:1511.07289.

    >>> elu([-100.0, 2.0])
    Tensor([-1.,  2.], dtype=float32)
    """
    return binary(_elu, as_float(x), alpha)


def selu(x: TensorLike, /) -> Tensor:
    """A scaled `elu` whose constants keep the mean at 0 and the variance at 1 through many layers.
    The gradient at 0 is that from below, as in PyTorch and JAX.

    Source: G. Klambauer et al., Self-normalizing neural networks, arXiv:1706.02515.

    >>> selu([1.0])
    Tensor([1.050701], dtype=float32)
    """
    return elu(x, 1.6732632423543772) * 1.0507009873554805


def celu(x: TensorLike, /, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha * (exp(x / alpha) - 1): smooth for every alpha, with
    gradient 1 at 0.

    Raises ArgumentError for an alpha that is not positive.

    Source: J. T. Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.

    >>> celu([-100.0, 2.0], alpha=0.5)
    Tensor([-0.5,  2. ], dtype=float32)
    """
    if not isinstance(alpha, numbers.Real) or not alpha > 0:
        raise ArgumentError(f"celu: alpha must be positive, not {alpha!r}")
    x = as_float(x)
    positive = x > 0
    return where(positive, x, expm1(where(positive, 0.0, x) / alpha) * alpha)


def mish(x: TensorLike, /) -> Tensor:
    """x * tanh(softplus(x)).

    Source: D. Misra, Mish: a self regularized non-monotonic activation function, arXiv:1908.08681.

    >>> mish([0.0, 1.0])
    Tensor([0.       , 0.8650984], dtype=float32)
    """
    x = as_float(x)
    return x * tanh(softplus(x))


def hard_sigmoid(x: TensorLike, /) -> Tensor:
    """A sigmoid of three straight lines: relu6(x + 3) / 6. The gradient at -3 and 3 is 0, as in
    PyTorch.

    >>> hard_sigmoid([-3.0, 0.0, 3.0])
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_float(x)
    return where(x <= -3, 0.0, where(x >= 3, 1.0, (x + 3.0) / 6.0))


def hard_silu(x: TensorLike, /) -> Tensor:
    """x * hard_sigmoid(x). The gradient at -3 is 0 and at 3 it is 1, as in PyTorch.

    Source: A. Howard et al., Searching for MobileNetV3, arXiv:1905.02244.

    >>> hard_silu([-3.0, 0.0, 6.0])
    Tensor([0., 0., 6.], dtype=float32)
    """
    x = as_float(x)
    return where(x <= -3, 0.0, x) * hard_sigmoid(x)  # an infinity times 0 would be NaN


hard_swish = hard_silu


def log_sigmoid(x: TensorLike, /) -> Tensor:
    """The logarithm of `sigmoid`, without overflow.

    >>> log_sigmoid([-1000.0, 0.0])
    Tensor([-1.000000e+03, -6.931472e-01], dtype=float32)
    """
    return -softplus(-as_float(x))


def tanh_shrink(x: TensorLike, /) -> Tensor:
    """x - tanh(x).

    >>> tanh_shrink([0.0, 20.0])
    Tensor([ 0., 19.], dtype=float32)
    """
    x = as_float(x)
    return x - tanh(x)


def soft_shrink(x: TensorLike, /, threshold: float = 0.5) -> Tensor:
    """x brought closer to 0 by a threshold, 0 if it is no further away. The gradient at the
    threshold is 0, as in PyTorch.

    >>> soft_shrink([-2.0, 0.25, 1.0])
    Tensor([-1.5,  0. ,  0.5], dtype=float32)
    """
    x = as_float(x)
    return where(abs(x) <= threshold, 0.0, x - sign(x) * threshold)


def hard_shrink(x: TensorLike, /, threshold: float = 0.5) -> Tensor:
    """x, or 0 where it is no further than the threshold from 0. The gradient at the threshold is 0,
    as in PyTorch.

    >>> hard_shrink([-2.0, 0.25, 1.0])
    Tensor([-2.,  0.,  1.], dtype=float32)
    """
    x = as_float(x)
    return where(abs(x) <= threshold, 0.0, x)


def threshold(x: TensorLike, /, threshold: float, default_value: float) -> Tensor:
    """x where it is above the threshold, else the default value. The gradient at the threshold is
    0, as in PyTorch.

    >>> threshold([0.5, 2.0], 1.0, -1.0)
    Tensor([-1.,  2.], dtype=float32)
    """
    x = conversion.as_tensor(x)
    return where(x <= threshold, default_value, x)


def glu(x: TensorLike, /, axis: int = -1) -> Tensor:
    """The first half of x along an axis, times the sigmoid of the second. Raises ArgumentError for
    an axis that is not there, or of odd size.

    Source: Y. N. Dauphin et al., Language modeling with gated convolutional networks,
    arXiv:1612.08083.

    >>> glu([2.0, 0.0])
    Tensor([1.], dtype=float32)
    """
    x = as_float(x)
    axis = normalize_axis("glu", axis, x.ndim)
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise ArgumentError(f"glu: axis {axis} of shape {x.shape} has an odd size, and no halves")
    front = (slice(None),) * axis
    return x[(*front, slice(half))] * sigmoid(x[(*front, slice(half, None))])
