"""Operations that compute each element from those at its place.

Each is a ufunc of the array modules, a C expression for fused kernels, and one line of calculus
for each argument. Steps (floor, sign) have gradient zero, as in PyTorch and JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backends, conversion, dtypes, traces, tree
from ..arguments import broadcast_shapes
from ..backends import Array, Device
from ..dispatch import apply, binary
from ..dtypes import DType, DTypeLike
from ..errors import DtypeError, Error
from ..op import Aval, Binary, Elementwise, Op, Unary, promoted
from ..references import booleans, example, named_alike, real
from ..tape import record
from ..tensors import Tensor, TensorLike, wrap
from .blocks import at_most, in_blocks
from .kernels import in_float32, onto
from .logic import equal, isfinite, isinf, isnan, less, less_equal, logical_and, logical_or

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "allclose",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "clip",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "divide",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "fmod",
    "heaviside",
    "hypot",
    "identity",
    "isclose",
    "lerp",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "maximum",
    "minimum",
    "multiply",
    "nan_to_num",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "stop_gradient",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]

_ANY = real(-3, 3)
_POSITIVE = real(0.2, 4)
_NOT_ZERO = real(-3, 3, away=(0,))
_WHOLE = real(-3, 3, away=(-3, -2, -1, 0, 1, 2, 3))
_HALVES = real(-3, 3, away=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5))


def _like(x: TensorLike, out: Tensor) -> Tensor:
    """An operand as a Tensor of the result's dtype, also where it was a Python number."""
    return conversion.as_tensor(x, dtype=out.dtype, like=out)


def _no_slope(cotangent: Tensor, out: Tensor, *operands: TensorLike) -> Tensor:
    return cotangent * 0.0


# Arithmetic


class Add(Binary):
    """x + y."""

    ufunc = "add"
    c = "({0} + {1})"
    gradients = (lambda g, _, x, y: g, lambda g, _, x, y: g)
    references = named_alike("add")


add = Add()


class Subtract(Binary):
    """x - y."""

    ufunc = "subtract"
    c = "({0} - {1})"
    accepts = "iuf"
    gradients = (lambda g, _, x, y: g, lambda g, _, x, y: -g)
    references = named_alike("subtract")


subtract = Subtract()


class Multiply(Binary):
    """x * y."""

    linear = (0, 1)
    ufunc = "multiply"
    c = "({0} * {1})"
    gradients = (lambda g, _, x, y: g * y, lambda g, _, x, y: g * x)
    references = named_alike("multiply")


multiply = Multiply()


class Divide(Binary):
    """x / y. Integers become float32. By 0 it is infinite or NaN, and so is the gradient."""

    linear = (0,)
    ufunc = "true_divide"
    c = "({0} / {1})"
    result = "float"
    gradients = (lambda g, _, x, y: g / y, lambda g, out, x, y: -g * out / y)
    references = named_alike("divide", tensorflow="divide")
    domain = (_ANY, _NOT_ZERO)


divide = Divide()


class FloorDivide(Binary):
    """The largest whole number not above x / y. Its gradient is zero."""

    ufunc = "floor_divide"
    c = "floor({0} / {1})"
    accepts = "iuf"
    gradients = (_no_slope, _no_slope)
    references = named_alike("floor_divide", tensorflow="math.floordiv")
    domain = (real(5.2, 5.7), real(2.05, 2.45))  # the quotient stays between 2 and 3


floor_divide = FloorDivide()


class Remainder(Binary):
    """x - y * floor(x / y): what is left over, with the sign of y."""

    ufunc = "remainder"
    c = "({0} - {1} * floor({0} / {1}))"
    accepts = "iuf"
    gradients = (lambda g, _, x, y: g, lambda g, out, x, y: -g * floor_divide(x, _like(y, out)))
    references = named_alike("remainder", tensorflow="math.floormod")
    domain = (real(5.2, 5.7), real(2.05, 2.45))  # the quotient stays between 2 and 3


remainder = Remainder()


class ZeroSafeDivide(Binary):
    """x / y, but 0 where x is 0, even 0 / 0. Where a gradient is infinitely steep, this is what its
    rule divides by: no cotangent, no gradient, and yet linear in the cotangent x."""

    linear = (0,)
    c = "({0} == 0 ? 0 : {0} / {1})"
    result = "float"
    gradients = (
        lambda g, _, x, y: zero_safe_divide(g, y),
        lambda g, _, x, y: -zero_safe_divide(zero_safe_divide(g * x, y), y),
    )
    references = {
        "tensorflow": lambda tf, x, y: x / tf.where(x == 0, tf.ones_like(x + y), y),
        "torch": lambda torch, x, y: x / torch.where(x == 0, 1.0, y),
        "jax": lambda jax, x, y: x / jax.numpy.where(x == 0, 1.0, y),
    }
    domain = (_NOT_ZERO, _NOT_ZERO)

    def forward(self, xp: Any, x: Array, y: Array) -> Array:
        return x / xp.where(x == 0, 1, xp.asarray(y, _dtype(x, y)))

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_blocks(_divided) if xp is np else super().kernel(xp)


def _divided(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    fine = np.not_equal(x, 0)
    if np.count_nonzero(fine) == fine.size:
        return np.true_divide(x, y)
    return np.true_divide(x, np.where(fine, np.asarray(y, _dtype(x, y)), 1))


zero_safe_divide = ZeroSafeDivide()


def _cube(xp: Any, x: Array) -> Array:
    return x * x * x


# Powers that are roots or a product or two. NumPy computes most of these in the same way.
_POWERS: dict[float, Callable[[Any, Array], Array]] = {
    1.0: lambda xp, x: +x,
    2.0: lambda xp, x: xp.square(x),
    3.0: _cube,
}
_POWERS_OF_FLOATS: dict[float, Callable[[Any, Array], Array]] = {
    **_POWERS,
    -2.0: lambda xp, x: 1 / xp.square(x),
    -1.0: lambda xp, x: 1 / x,
    -0.5: lambda xp, x: 1 / xp.sqrt(x),
    0.5: lambda xp, x: xp.sqrt(x),
    1.5: lambda xp, x: x * xp.sqrt(x),
}


class Power(Binary):
    """x ** y. At x = 0 the gradient of y is 0; where y = 0, the gradient of x is 0.

    Python numbers as exponents that stand for a root or for a product or two are computed so:
    `x ** 0.5` is sqrt(x), as in NumPy and PyTorch (which makes -0.0 of -0.0).
    """

    ufunc = "power"
    c = "pow({0}, {1})"
    accepts = "iuf"
    references = named_alike("power", tensorflow="pow", torch="pow")
    domain = (_POSITIVE, _ANY)
    kinks = ((0, 0), (0, 1), (0, 2), (0, 3), (0, 0.5), (2, 0), (-2, 0), (-2, 1), (-2, 2), (-2, 3))

    def kernel(self, xp: Any) -> Callable[..., Any]:
        general = xp.power
        arrays = np.ndarray

        def compute(x: Any, y: Any) -> Any:
            number = y.item() if y.__class__ is arrays and not y.ndim else y
            if (number.__class__ is float or number.__class__ is int) and hasattr(x, "dtype"):
                simple = _POWERS if x.dtype.kind in "iu" else _POWERS_OF_FLOATS
                found = simple.get(number)
                if found is not None and x.dtype.itemsize > 2:
                    return found(xp, x)
            return general(x, y)

        return compute

    def explain(self, error: Exception, operands: Any, params: dict[str, Any]) -> Error:
        ours = super().explain(error, operands, params)
        if "negative integer power" in str(error):
            return DtypeError(f"{ours}: use a float, for example x.astype('float32')")
        return ours

    @staticmethod
    def _of_base(g: Tensor, out: Tensor, x: Any, y: Any) -> Tensor:
        if not isinstance(y, (int, float)):
            # y * x ** (y - 1), so that nothing is infinite where the cotangent is 0.
            steep = less(y, 1)
            flat = g * y * power(x, where(steep, 0.0, y - 1.0))
            return where(steep, zero_safe_divide(g * y, power(x, where(steep, 1.0 - y, 0.0))), flat)
        if y in (0, 1):
            return g * float(y)
        if y == 2:
            return g * (x * 2.0)
        if y < 1:
            return zero_safe_divide(g * float(y), power(x, 1 - y))
        return g * (power(x, y - 1) * float(y))

    @staticmethod
    def _of_exponent(g: Tensor, out: Tensor, x: TensorLike, y: TensorLike) -> Tensor:
        x = _like(x, out)
        zero = equal(x, 0)
        return g * where(zero, 0.0, out * log(where(zero, 1.0, x)))

    gradients = (
        lambda g, out, x, y: Power._of_base(g, out, x, y),
        lambda g, out, x, y: Power._of_exponent(g, out, x, y),
    )


power = Power()


class StepShare(Binary):
    """How much of the larger of x and y is x: 1, 0, or one half in a tie (and 0 beside NaN)."""

    c = "(0.5 * (({0} > {1}) + ({0} >= {1})))"
    result = "float"
    no_gradient = "a step has no slope"
    references = {
        "tensorflow": lambda tf, x, y: 0.5 * (tf.cast(x > y, x.dtype) + tf.cast(x >= y, x.dtype)),
        "torch": lambda torch, x, y: 0.5 * ((x > y).to(x.dtype) + (x >= y).to(x.dtype)),
        "jax": lambda jax, x, y: 0.5 * ((x > y).astype(x.dtype) + (x >= y).astype(x.dtype)),
    }

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        common = self._compute_dtype(promoted(given, kind))
        return [common, common]  # the arrays say of what dtype the result is

    def forward(self, xp: Any, x: Array, y: Array) -> Array:
        return ((x > y).astype(_dtype(x, y)) + (x >= y)) * 0.5

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_blocks(_stepped) if xp is np else super().kernel(xp)


def _dtype(x: Any, y: Any) -> DType:
    return x.dtype if hasattr(x, "dtype") else y.dtype


def _stepped(x: Any, y: Any) -> np.ndarray:
    """In bytes as long as that is possible."""
    twice = np.asarray(np.greater(x, y)).view(np.int8) + np.asarray(np.greater_equal(x, y))
    found = np.asarray(twice, _dtype(x, y))
    found *= 0.5
    return found


step_share = StepShare()


def _share(x: Any, y: Any) -> Any:
    """`step_share` of Tensors or arrays, of which the first may be a number."""
    return step_share(x, y) if isinstance(y, Tensor) else step_share.of(x, y)


class Maximum(Binary):
    """The larger of x and y; NaN where either is. Ties share the gradient, as in JAX, PyTorch."""

    ufunc = "maximum"
    c = "({0} > {1} || {0} != {0} ? {0} : {1})"
    on_arrays = True
    gradients = (
        lambda g, _, x, y: g * step_share.of(x, y),
        lambda g, _, x, y: g * step_share.of(y, x),
    )
    references = named_alike("maximum")


maximum = Maximum()


class Minimum(Binary):
    """The smaller of x and y; NaN where either is. Ties share the gradient, as in JAX, PyTorch."""

    ufunc = "minimum"
    c = "({0} < {1} || {0} != {0} ? {0} : {1})"
    on_arrays = True
    gradients = (
        lambda g, _, x, y: g * _share(y, x),
        lambda g, _, x, y: g * _share(x, y),
    )
    references = named_alike("minimum")


minimum = Minimum()


class Fmod(Binary):
    """x - y * trunc(x / y): what is left over, with the sign of x."""

    ufunc = "fmod"
    c = "fmod({0}, {1})"
    accepts = "iuf"
    gradients = (lambda g, _, x, y: g, lambda g, out, x, y: -g * trunc(x / _like(y, out)))
    references = {"tensorflow": "truncatemod", "torch": "fmod", "jax": "numpy.fmod"}
    domain = (real(5.2, 5.7), real(2.05, 2.45))  # the quotient stays between 2 and 3


fmod = Fmod()


class Negative(Unary):
    """-x."""

    linear = (0,)
    ufunc = "negative"
    c = "(-{0})"
    accepts = "iuf"
    gradients = (lambda g, _, x: -g,)
    references = named_alike("negative")


negative = Negative()


class Copysign(Binary):
    """The size of x with the sign of y, which zero and NaN have too. The gradient of y is zero, and
    so is that of x at 0, as in PyTorch."""

    ufunc = "copysign"
    c = "copysign({0}, {1})"
    result = "float"
    gradients = (
        lambda g, out, x, y: g * (sign(x) * copysign(1.0, _like(y, out))),
        _no_slope,
    )
    references = {
        "torch": "copysign",
        "jax": "numpy.copysign",
    }
    domain = (_NOT_ZERO, _NOT_ZERO)


copysign = Copysign()


class Nextafter(Binary):
    """The next number that the dtype has after x on the way to y."""

    ufunc = "nextafter"
    c = "nextafter({0}, {1})"
    accepts = "f"
    no_gradient = "a step to the next number has no slope"
    references = {"tensorflow": "math.nextafter", "torch": "nextafter", "jax": "numpy.nextafter"}


nextafter = Nextafter()


class Abs(Unary):
    """The absolute value. Its gradient at 0 is 0, as in TensorFlow and PyTorch (in JAX, 1)."""

    ufunc = "absolute"
    c = "abs({0})"
    accepts = "iuf"
    on_arrays = True
    gradients = (lambda g, _, x: g * sign.of(x),)
    references = named_alike("abs")
    domain = _NOT_ZERO


abs = Abs()


class Sign(Unary):
    """-1, 0 or 1. Its gradient is zero."""

    ufunc = "sign"
    c = "(({0} > 0) - ({0} < 0))"
    accepts = "iuf"
    gradients = (_no_slope,)
    references = named_alike("sign")
    domain = _NOT_ZERO


sign = Sign()


class Square(Unary):
    """x * x."""

    ufunc = "square"
    c = "({0} * {0})"
    accepts = "iuf"
    gradients = (lambda g, _, x: g * 2.0 * x,)
    references = named_alike("square")


square = Square()


class Sqrt(Unary):
    """The square root; NaN below 0. At 0 its gradient is infinite, as in all three frameworks, but
    0 where the cotangent is 0 (there theirs is NaN)."""

    ufunc = "sqrt"
    c = "sqrt({0})"
    result = "float"
    on_arrays = True
    gradients = (lambda g, out, x: zero_safe_divide.of(g, out * 2.0),)
    references = named_alike("sqrt")
    domain = _POSITIVE
    kinks = ((0,),)


sqrt = Sqrt()


class Rsqrt(Unary):
    """1 / sqrt(x); infinite at 0, NaN below. The gradient at 0 is infinite, but 0 where the
    cotangent is 0."""

    c = "(1 / sqrt({0}))"
    result = "float"
    gradients = (lambda g, _, x: zero_safe_divide(zero_safe_divide(g * -0.5, x), sqrt(x)),)
    references = {"tensorflow": "math.rsqrt", "torch": "rsqrt", "jax": "lax.rsqrt"}
    domain = _POSITIVE
    kinks = ((0,),)

    def forward(self, xp: Any, x: Array) -> Array:
        root = xp.sqrt(x)
        return 1 / root


rsqrt = Rsqrt()


class Reciprocal(Unary):
    """1 / x. Integers become float32. At 0 its gradient is infinite, but 0 where the cotangent is
    0."""

    c = "(1 / {0})"
    result = "float"
    gradients = (lambda g, _, x: -zero_safe_divide(zero_safe_divide(g, x), x),)
    references = named_alike("reciprocal")
    domain = _NOT_ZERO
    kinks = ((0,),)

    def forward(self, xp: Any, x: Array) -> Array:
        return 1 / x


reciprocal = Reciprocal()


class Cbrt(Unary):
    """The cube root. Its gradient at 0 is infinite, but 0 where the cotangent is."""

    ufunc = "cbrt"
    c = "cbrt({0})"
    result = "float"
    gradients = (lambda g, out, x: zero_safe_divide(zero_safe_divide(g, out), out * 3.0),)
    references = {"tensorflow": "experimental.numpy.cbrt", "jax": "numpy.cbrt"}
    domain = _NOT_ZERO
    kinks = ((0,),)


cbrt = Cbrt()


class Hypot(Binary):
    """sqrt(x * x + y * y), without overflow. Both gradients at (0, 0) are 0: the smallest of the
    subgradients (in PyTorch and JAX, NaN)."""

    ufunc = "hypot"
    c = "hypot({0}, {1})"
    result = "float"
    gradients = (
        lambda g, out, x, y: g * zero_safe_divide(x, out),
        lambda g, out, x, y: g * zero_safe_divide(y, out),
    )
    references = {
        "tensorflow": "experimental.numpy.hypot",
        "torch": "hypot",
        "jax": "numpy.hypot",
    }
    domain = (_NOT_ZERO, _NOT_ZERO)
    kinks = ((0, 1), (1, 0))

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_blocks(_hypot) if xp is np else super().kernel(xp)


def _hypot(x: Any, y: Any) -> np.ndarray:
    """NumPy's float32 hypot takes four times as long as the squares in float64, which fit there."""
    dtype = _dtype(x, y)
    if dtype != dtypes.float32:
        return np.hypot(x, y)
    wide = dtypes.float64
    total = np.multiply(x, x, dtype=wide) + np.multiply(y, y, dtype=wide)
    if np.isnan(total).any():
        return np.hypot(x, y)  # which is infinite beside an infinity
    return np.sqrt(total).astype(dtype)


hypot = Hypot()


class Floor(Unary):
    """The largest whole number not above x. Its gradient is zero."""

    ufunc = "floor"
    c = "floor({0})"
    accepts = "iuf"
    gradients = (_no_slope,)
    references = named_alike("floor")
    domain = _WHOLE


floor = Floor()


class Ceil(Unary):
    """The smallest whole number not below x. Its gradient is zero."""

    ufunc = "ceil"
    c = "ceil({0})"
    accepts = "iuf"
    gradients = (_no_slope,)
    references = named_alike("ceil")
    domain = _WHOLE


ceil = Ceil()


class Trunc(Unary):
    """The whole part: x rounded towards 0. Its gradient is zero."""

    ufunc = "trunc"
    c = "trunc({0})"
    accepts = "iuf"
    gradients = (_no_slope,)
    references = named_alike("trunc", tensorflow="experimental.numpy.fix")
    domain = _WHOLE


trunc = Trunc()


class Round(Unary):
    """The nearest whole number; halves go to the even one. Its gradient is zero."""

    ufunc = "round"
    c = "rint({0})"
    accepts = "iuf"
    gradients = (_no_slope,)
    references = named_alike("round")
    domain = _HALVES


round = Round()


# Exponentials and logarithms


class Exp(Unary):
    """e to the x."""

    ufunc = "exp"
    c = "exp({0})"
    result = "float"
    gradients = (lambda g, out, x: g * out,)
    references = named_alike("exp")


exp = Exp()


class Exp2(Unary):
    """2 to the x."""

    ufunc = "exp2"
    c = "exp2({0})"
    result = "float"
    gradients = (lambda g, out, x: g * (out * math.log(2)),)
    references = {
        "tensorflow": "experimental.numpy.exp2",
        "torch": "exp2",
        "jax": "numpy.exp2",
    }

    def kernel(self, xp: Any) -> Callable[..., Any]:
        # JAX 0.10 rounds ln 2 to the half first: in bfloat16 2 to the 10 is then 1000.
        return np.exp2 if xp is np else in_float32(xp, lambda xp, x: xp.exp2(x))


exp2 = Exp2()


class Expm1(Unary):
    """exp(x) - 1, accurate near 0."""

    ufunc = "expm1"
    c = "expm1({0})"
    result = "float"
    gradients = (lambda g, out, x: g * (out + 1.0),)
    references = named_alike("expm1")


expm1 = Expm1()


class Log(Unary):
    """The natural logarithm; -inf at 0, NaN below."""

    ufunc = "log"
    c = "log({0})"
    result = "float"
    gradients = (lambda g, _, x: g / x,)
    references = named_alike("log")
    domain = _POSITIVE


log = Log()


class Log1p(Unary):
    """log(1 + x), accurate near 0."""

    ufunc = "log1p"
    c = "log1p({0})"
    result = "float"
    gradients = (lambda g, _, x: g / (x + 1.0),)
    references = named_alike("log1p")
    domain = real(-0.8, 3)


log1p = Log1p()


class Log2(Unary):
    """The logarithm to base 2."""

    ufunc = "log2"
    c = "log2({0})"
    result = "float"
    gradients = (lambda g, _, x: g / (x * math.log(2)),)
    references = named_alike("log2", tensorflow="experimental.numpy.log2")
    domain = _POSITIVE


log2 = Log2()


class Log10(Unary):
    """The logarithm to base 10."""

    ufunc = "log10"
    c = "log10({0})"
    result = "float"
    gradients = (lambda g, _, x: g / (x * math.log(10)),)
    references = named_alike("log10", tensorflow="experimental.numpy.log10")
    domain = _POSITIVE


log10 = Log10()


class Logaddexp(Binary):
    """log(exp(x) + exp(y)), without overflow. Equal infinities share the gradient, as all equals do
    (in PyTorch and TensorFlow it is NaN there)."""

    ufunc = "logaddexp"
    c = "(fmax({0}, {1}) + log1p(exp({0} == {1} ? 0 : -fabs({0} - {1}))))"
    result = "float"
    gradients = (
        lambda g, out, x, y: g * sigmoid(_distance(x, y, out)),
        lambda g, out, x, y: g * sigmoid(_distance(y, x, out)),
    )
    references = {
        "tensorflow": "experimental.numpy.logaddexp",
        "torch": "logaddexp",
        "jax": "numpy.logaddexp",
    }
    kinks = ((math.inf, math.inf), (-math.inf, -math.inf), (math.inf, -math.inf), (0, -math.inf))

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_blocks(_logaddexp) if xp is np else super().kernel(xp)


def _logaddexp(x: Any, y: Any) -> np.ndarray:
    """NumPy's takes ten times as long."""
    if dtypes.is_half(_dtype(x, y)):
        return np.logaddexp(x, y)
    large, small = np.maximum(x, y), np.minimum(x, y)
    unequal = np.not_equal(x, y)
    if np.count_nonzero(unequal) == unequal.size:
        small -= large
    else:  # equal infinities are no distance apart
        small = np.subtract(small, large, out=np.zeros_like(large), where=unequal)
    return large + np.log1p(np.exp(small))


def _distance(x: Any, y: Any, out: Tensor) -> Tensor:
    """x - y, and 0 between equal infinities."""
    x = _like(x, out)
    return where(logical_and(equal(x, y), isinf(x)), 0.0, x - y)


logaddexp = Logaddexp()


class Sigmoid(Unary):
    """1 / (1 + exp(-x)), without overflow, and accurate in both tails."""

    c = "(1 / (1 + exp(-{0})))"
    result = "float"
    on_arrays = True
    gradients = (lambda g, out, x: sigmoid_slope.of(g, out),)
    references = {"tensorflow": "math.sigmoid", "torch": "sigmoid", "jax": "nn.sigmoid"}

    def forward(self, xp: Any, x: Array) -> Array:
        if dtypes.is_half(x.dtype):
            return self.forward(xp, x.astype(dtypes.float32)).astype(x.dtype)
        # From 37 on the sigmoid is 1, also in float64.
        power = onto(xp.exp, at_most(xp, x, 40.0))
        return power / (power + 1)


sigmoid = Sigmoid()


class SigmoidSlope(Binary):
    """A cotangent g of s = sigmoid(x) as that of x: g * s * (1 - s)."""

    linear = (0,)
    c = "({0} * {1} * (1 - {1}))"
    gradients = (
        lambda h, _, g, s: binary(sigmoid_slope, h, s),
        lambda h, _, g, s: h * g * (1.0 - 2.0 * s),
    )

    def forward(self, xp: Any, g: Array, s: Array) -> Array:
        return (1 - s) * s * g


sigmoid_slope = SigmoidSlope()


# Trigonometric and hyperbolic functions


class Sin(Unary):
    """The sine of x, in radians."""

    ufunc = "sin"
    c = "sin({0})"
    result = "float"
    on_arrays = True
    gradients = (lambda g, _, x: g * cos.of(x),)
    references = named_alike("sin")


sin = Sin()


class Cos(Unary):
    """The cosine of x, in radians."""

    ufunc = "cos"
    c = "cos({0})"
    result = "float"
    on_arrays = True
    gradients = (lambda g, _, x: -g * sin.of(x),)
    references = named_alike("cos")


cos = Cos()


class Tan(Unary):
    """The tangent of x, in radians."""

    ufunc = "tan"
    c = "tan({0})"
    result = "float"
    gradients = (lambda g, out, x: g * (out * out + 1.0),)
    references = named_alike("tan")
    domain = real(-1.2, 1.2)


tan = Tan()


class Asin(Unary):
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside [-1, 1]."""

    ufunc = "arcsin"
    c = "asin({0})"
    result = "float"
    gradients = (lambda g, _, x: g / sqrt((1.0 - x) * (1.0 + x)),)
    references = named_alike("asin")
    domain = real(-0.9, 0.9)


asin = Asin()


class Acos(Unary):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""

    ufunc = "arccos"
    c = "acos({0})"
    result = "float"
    gradients = (lambda g, _, x: -g / sqrt((1.0 - x) * (1.0 + x)),)
    references = named_alike("acos")
    domain = real(-0.9, 0.9)


acos = Acos()


class Atan(Unary):
    """The angle in (-pi/2, pi/2) whose tangent is x."""

    ufunc = "arctan"
    c = "atan({0})"
    result = "float"
    gradients = (lambda g, _, x: g / (x * x + 1.0),)
    references = named_alike("atan")


atan = Atan()


class Atan2(Binary):
    """The angle of the point (y, x), given as atan2(y, x), in (-pi, pi]. Both gradients at (0, 0)
    are 0, as in PyTorch."""

    ufunc = "arctan2"
    c = "atan2({0}, {1})"
    result = "float"
    gradients = (
        lambda g, _, y, x: g * _over_square(x, hypot(x, y)),
        lambda g, _, y, x: -g * _over_square(y, hypot(x, y)),
    )
    references = named_alike("atan2")
    domain = (_POSITIVE, _NOT_ZERO)
    kinks = ((0, 1), (1, 0), (0, -1))


def _over_square(x: TensorLike, distance: Tensor) -> Tensor:
    """x / distance ** 2, where that neither overflows nor is 0 / 0."""
    return zero_safe_divide(zero_safe_divide(x, distance), distance)


atan2 = Atan2()


class Sinh(Unary):
    """The hyperbolic sine."""

    ufunc = "sinh"
    c = "sinh({0})"
    result = "float"
    gradients = (lambda g, _, x: g * cosh(x),)
    references = named_alike("sinh")


sinh = Sinh()


class Cosh(Unary):
    """The hyperbolic cosine."""

    ufunc = "cosh"
    c = "cosh({0})"
    result = "float"
    gradients = (lambda g, _, x: g * sinh(x),)
    references = named_alike("cosh")


cosh = Cosh()


class Tanh(Unary):
    """The hyperbolic tangent."""

    ufunc = "tanh"
    c = "tanh({0})"
    result = "float"
    on_arrays = True
    gradients = (lambda g, out, x: tanh_slope.of(g, out),)
    references = named_alike("tanh")


tanh = Tanh()


class TanhSlope(Binary):
    """A cotangent g of y = tanh(x) as that of x: g * (1 - y * y)."""

    linear = (0,)
    c = "({0} * (1 - {1} * {1}))"
    gradients = (
        lambda h, _, g, y: binary(tanh_slope, h, y),
        lambda h, _, g, y: h * g * y * -2.0,
    )

    def forward(self, xp: Any, g: Array, y: Array) -> Array:
        return (1 - xp.square(y)) * g


tanh_slope = TanhSlope()


class Asinh(Unary):
    """The number whose hyperbolic sine is x."""

    ufunc = "arcsinh"
    c = "asinh({0})"
    result = "float"
    gradients = (lambda g, _, x: g / sqrt(x * x + 1.0),)
    references = named_alike("asinh")


asinh = Asinh()


class Acosh(Unary):
    """The number not below 0 whose hyperbolic cosine is x; NaN below 1."""

    ufunc = "arccosh"
    c = "acosh({0})"
    result = "float"
    gradients = (lambda g, _, x: g / sqrt((x - 1.0) * (x + 1.0)),)
    references = named_alike("acosh")
    domain = real(1.2, 4)


acosh = Acosh()


class Atanh(Unary):
    """The number whose hyperbolic tangent is x; NaN outside [-1, 1]."""

    ufunc = "arctanh"
    c = "atanh({0})"
    result = "float"
    gradients = (lambda g, _, x: g / ((1.0 - x) * (1.0 + x)),)
    references = named_alike("atanh")
    domain = real(-0.9, 0.9)


atanh = Atanh()


# What is neither a ufunc nor arithmetic


def _inside(out: Any, x: Any, low: Any, high: Any) -> Any:
    numbers = isinstance(low, (int, float)) and isinstance(high, (int, float))
    if numbers and low <= high:
        return equal.of(out, x)
    return (x >= low) & (x <= high)


def _of_three(op: Op, x: Any, y: Any, z: Any) -> Tensor:
    """`apply` for three operands, without the steps that are not needed where one is a float Tensor
    and the others are Python numbers, Tensors like it, or (of a condition) booleans."""
    like = y if x.__class__ is Tensor and op is where else x
    like = z if like.__class__ is not Tensor else like
    if like.__class__ is not Tensor:
        return apply(op, x, y, z)
    dtype, device = like._data.dtype, like._device
    if dtype is not dtypes.float32 and dtype is not dtypes.float64:
        return apply(op, x, y, z)
    arrays, parents = [], []
    for operand in (x, y, z):
        if operand.__class__ is Tensor:
            data = operand._data
            fits = data.dtype is dtype or (operand is x and data.dtype is dtypes.bool_)
            if not fits or operand._device is not device:
                return apply(op, x, y, z)
            arrays.append(data)
            parents.append(operand._record)
        elif operand.__class__ is float or operand.__class__ is int:
            arrays.append(operand)
            parents.append(None)
        else:
            return apply(op, x, y, z)
    if op is where and x._data.dtype is not dtypes.bool_:
        return apply(op, x, y, z)
    try:
        data = device.kernels[op](*arrays)
    except traces.Elsewhere as inside:
        return apply(op, *inside.brought((x, y, z)))
    except Exception as error:
        raise op.explain(error, (x, y, z), {}) from None
    node = None
    if parents.count(None) < 3:
        bare = op.on_arrays and device is backends.numpy
        operands = tuple(arrays) if bare else (x, y, z)
        node = record(op, operands, tuple(parents), {}, data, bare)
    return wrap(Tensor, data, device, node)


class Where(Elementwise):
    """x where the condition holds, else y. Neither branch's NaN reaches the other's gradient."""

    arity = 3
    c = "({0} ? {1} : {2})"
    on_arrays = True
    gradients = (
        None,
        lambda g, _, condition, x, y: where.of(condition, g, 0.0),
        lambda g, _, condition, x, y: where.of(condition, 0.0, g),
    )
    references = {"tensorflow": "where", "torch": "where", "jax": "numpy.where"}
    domain = (booleans, _ANY, _ANY)

    def __call__(self, condition: TensorLike, x: TensorLike, y: TensorLike, /) -> Tensor:
        if condition.__class__ is Tensor:
            return _of_three(self, condition, x, y)
        return apply(self, condition, x, y)

    def forward(self, xp: Any, condition: Array, x: Array, y: Array) -> Array:
        return xp.where(condition, x, y)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_blocks(_selected) if xp is np else super().kernel(xp)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [dtypes.bool_, *super().operand_dtypes(given[1:], kind)]

    def infer(self, *avals: Any) -> Aval:
        shape = broadcast_shapes("where", *[a.shape for a in avals if isinstance(a, Aval)])
        given = [a.dtype if isinstance(a, Aval) else type(a) for a in avals[1:]]
        return Aval(shape, promoted(given))


def _selected(condition: Any, x: Any, y: Any) -> np.ndarray:
    """np.where by bits, where that is faster: it stumbles over every change of the condition."""
    dtype = _dtype(x, y)
    bits = _BITS.get(dtype.itemsize)
    if bits is None or condition.__class__ is not np.ndarray or condition.size < 4000:
        return np.where(condition, x, y)
    mask = condition.astype(bits)
    np.negative(mask, mask)  # all ones where the condition holds
    x, y = (np.asarray(value, dtype).view(bits) for value in (x, y))
    if not y.ndim and y == 0:
        mask = mask & x
    elif not x.ndim and x == 0:
        mask = ~mask & y
    else:
        mask = ((x ^ y) & mask) ^ y
    return mask.view(dtype)


_BITS = {4: np.int32, 8: np.int64}

where = Where()


class Clip(Elementwise):
    """x, but at least `min` and at most `max` (which wins where it is smaller); None is no bound.

    The gradient at a bound is x's, as in TensorFlow and PyTorch (in JAX it is shared).

    >>> clip([-2.0, 0.5, 2.0], -1, 1), clip([1, 2, 3], max=2)
    (Tensor([-1. ,  0.5,  1. ], dtype=float32), Tensor([1, 2, 2], dtype=int32))
    """

    arity = 3
    c = "({0} < {1} ? {1} : {0} > {2} ? {2} : {0})"
    accepts = "iuf"
    on_arrays = True
    gradients = (
        lambda g, out, x, low, high: where.of(_inside(out, x, low, high), g, 0.0),
        lambda g, _, x, low, high: where.of((x < low) & (low <= high), g, 0.0),
        lambda g, _, x, low, high: where.of((x > high) | (high < low), g, 0.0),
    )
    references = {
        "tensorflow": lambda tf, x, low, high: tf.clip_by_value(
            tf.broadcast_to(x, tf.shape(x + low + high)), low, high
        ),
        "torch": lambda torch, x, low, high: torch.clamp(*torch.broadcast_tensors(x, low, high)),
        "jax": lambda jax, x, low, high: jax.numpy.clip(x, low, high),
    }
    domain = (_ANY, real(-2, -0.5), real(0.5, 2))
    kinks = ((-1, -1, 1), (1, -1, 1))

    def __call__(
        self, x: TensorLike, /, min: TensorLike | None = None, max: TensorLike | None = None
    ) -> Tensor:
        if min is None or max is None:
            x = conversion.as_tensor(x)
            lowest, highest = _limits(x.dtype)
            min = lowest if min is None else min
            max = highest if max is None else max
        return _of_three(self, x, min, max)

    def forward(self, xp: Any, x: Array, low: Array, high: Array) -> Array:
        return xp.minimum(xp.maximum(x, low), high)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return _clipped if xp is np else super().kernel(xp)


def _clipped(x: Any, low: Any, high: Any) -> np.ndarray:
    """NumPy's clip is faster for large arrays, and takes longer to start."""
    if np.size(x) > 2000:
        return np.clip(x, low, high)
    return np.minimum(np.maximum(x, low), high)


clip = Clip()


def _limits(dtype: DType) -> tuple[float, float]:
    if dtypes.kind(dtype) not in "iu":
        return -math.inf, math.inf
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


class Astype(Op):
    """The same numbers in another dtype; floats lose what is behind the point in integers.

    On `device` if one is given. Tensors never change, so `copy` makes no difference.
    """

    gradients = (lambda g, _, x, dtype: _gradient_of_cast(g, x._data.dtype, dtype),)
    references = {
        "tensorflow": lambda tf, x, dtype: tf.cast(x, dtype),
        "torch": lambda torch, x, dtype: x.to(getattr(torch, dtype)),
        "jax": lambda jax, x, dtype: x.astype(dtype),
    }
    examples = (
        example((2, 3), dtype="float64"),
        example((2, 3), dtype="float32"),
        example((), dtype="float16"),
        example((3,), dtype="int32"),
        example((0, 2), dtype="float64"),
    )

    def __call__(
        self,
        x: TensorLike,
        /,
        dtype: DTypeLike,
        *,
        copy: bool = True,
        device: str | Device | None = None,
    ) -> Tensor:
        x = conversion.as_tensor(x) if device is None else movement.to_device(x, device)
        if x._data.dtype is dtype:
            return x
        dtype = dtypes.as_dtype(dtype)
        return x if x._data.dtype == dtype else apply(self, x, dtype=dtype)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return list(given)

    def forward(self, xp: Any, x: Array, *, dtype: DType) -> Array:
        return x.astype(dtype)

    def infer(self, x: Aval, *, dtype: DType) -> Aval:
        return Aval(x.shape, dtype)


astype = Astype()


def _gradient_of_cast(cotangent: Tensor, dtype: DType, given: DType) -> Tensor | None:
    """None flows through what is no float: an integer is a step function of what it was."""
    both = dtypes.is_float(dtype) and dtypes.is_float(given)
    return astype(cotangent, dtype) if both else None


def through_float32(
    function: Callable[..., Any], operands: Sequence[TensorLike], /, *args: Any, **params: Any
) -> Any:
    """`function`, of several steps; where the operands are halves, all its steps and those of its
    gradients are in float32, and only the results are rounded."""
    xs = conversion.as_tensors(*operands)
    dtype = promoted([x._data.dtype for x in xs if dtypes.is_float(x._data.dtype)] or [float])
    if not dtypes.is_half(dtype):
        return function(*xs, *args, **params)
    wide = [astype(x, dtypes.float32) if dtypes.is_half(x._data.dtype) else x for x in xs]
    return tree.map(lambda x: astype(x, dtype), function(*wide, *args, **params))


class StopGradient(Unary):
    """The same value, through which no gradient flows."""

    c = "{0}"
    no_gradient = "that is what it is for"
    references = {
        "tensorflow": "stop_gradient",
        "torch": lambda torch, x: x.detach(),
        "jax": "lax.stop_gradient",
    }

    def forward(self, xp: Any, x: Array) -> Array:
        return x


stop_gradient = StopGradient()


class Identity(Unary):
    """The same value, at a place of its own on the tape."""

    c = "{0}"
    gradients = (lambda g, _, x: g,)
    references = {"tensorflow": "identity", "torch": "clone", "jax": "numpy.asarray"}

    def forward(self, xp: Any, x: Array) -> Array:
        return x


identity = Identity()


# Functions made of these


def pow(x: TensorLike, y: TensorLike, /) -> Tensor:
    """x ** y: the array API standard's name for `power`.

    >>> pow([2.0, 3.0], 2)
    Tensor([4., 9.], dtype=float32)
    """
    return power(x, y)


def positive(x: TensorLike, /) -> Tensor:
    """+x: the same value.

    >>> positive(-2.0)
    Tensor(-2., dtype=float32)
    """
    return identity(x)


def lerp(x: TensorLike, y: TensorLike, weight: TensorLike, /) -> Tensor:
    """The point between x (where `weight` is 0) and y (where it is 1), exactly them at the ends.

    >>> lerp([0.0, 10.0], [4.0, 20.0], 0.25)
    Tensor([ 1. , 12.5], dtype=float32)
    """
    x, y = conversion.as_tensors(x, y)
    way = y - x
    if isinstance(weight, (int, float)):
        return x + way * weight if weight < 0.5 else y - way * (1.0 - weight)
    weight = conversion.as_tensor(weight, like=x)
    return where(less(weight, 0.5), x + way * weight, y - way * (1.0 - weight))


def nan_to_num(
    x: TensorLike,
    /,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """x with other numbers in the place of NaN and the infinities: without one given, the largest
    and the smallest of the dtype. No gradient flows to what was replaced.

    >>> nan_to_num([1.0, math.nan, math.inf], posinf=9.0)
    Tensor([1., 0., 9.], dtype=float32)
    """
    x = conversion.as_tensor(x)
    if not dtypes.is_float(x.dtype):
        return x
    largest = _largest(x.dtype)
    posinf = largest if posinf is None else posinf
    neginf = -largest if neginf is None else neginf
    replaced = where(x > 0, posinf, where(x < 0, neginf, _like(nan, x)))
    return where(isfinite(x), x, replaced)


def _largest(dtype: DType) -> float:
    if dtype == dtypes.bfloat16():
        return float.fromhex("0x1.fep127")
    return float(np.finfo(dtype).max)


def sinc(x: TensorLike, /) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0. Near 0 by its power series, so that its gradients to any
    order are right there.

    >>> sinc(np.array([0.0, 0.5]))
    Tensor([1.        , 0.63661977], dtype=float64)
    """
    angle = multiply(x, math.pi)
    near = less(abs(angle), 1.5)
    squares = square(where(near, angle, 0.0))
    series: Any = 1.0
    for k in range(11, 0, -1):
        series = 1.0 - squares * (series * (1 / (2 * k * (2 * k + 1))))
    far = where(near, 1.0, angle)
    return where(near, series, sin(far) / far)


def deg2rad(x: TensorLike, /) -> Tensor:
    """Degrees as radians.

    >>> deg2rad(180.0)
    Tensor(3.1415927, dtype=float32)
    """
    return multiply(x, math.pi / 180)


def rad2deg(x: TensorLike, /) -> Tensor:
    """Radians as degrees.

    >>> rad2deg(math.pi)
    Tensor(180., dtype=float32)
    """
    return multiply(x, 180 / math.pi)


def heaviside(x: TensorLike, values: TensorLike, /) -> Tensor:
    """0 where x is negative, 1 where it is positive, `values` where it is 0. The gradient of x is
    zero, and that of `values` 1 where it was taken, as in TensorFlow and JAX.

    >>> heaviside([-1.0, 0.0, 2.0], 0.5)
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    x = conversion.as_tensor(x)
    return where(equal(x, 0), values, sign(x) * 0.5 + 0.5)


def isclose(
    x: TensorLike,
    y: TensorLike,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Whether x and y differ by at most `atol + rtol * |y|`. Infinities are close to themselves; so
    is NaN with `equal_nan`.

    >>> isclose([1.0, 1.0], [1.000001, 1.1])
    Tensor([ True, False], dtype=bool)
    """
    x, y = conversion.as_tensors(x, y)
    with_room = add(multiply(abs(y), rtol), atol)
    near = logical_and(isfinite(y), less_equal(abs(subtract(x, y)), with_room))
    near = logical_or(near, equal(x, y))
    return logical_or(near, logical_and(isnan(x), isnan(y))) if equal_nan else near


def allclose(
    x: TensorLike,
    y: TensorLike,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Whether all of x are close to those of y; see `isclose`.

    >>> allclose([1.0, 2.0], [1.0, 2.000001])
    Tensor(True, dtype=bool)
    """
    return isclose(x, y, rtol, atol, equal_nan).all()


# `astype` to a device needs this one, which needs this one when it is imported.
from . import movement  # noqa: E402
