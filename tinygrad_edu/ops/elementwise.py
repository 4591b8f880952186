"""Operations that compute each element from those at its place.

Each is a ufunc of the array modules, a C expression for fused kernels, and one line of calculus
for each argument. Steps (floor, sign) have gradient zero, as in PyTorch and JAX.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from .. import dtypes, tensors
from ..backends import Array
from ..dtypes import DType, DTypeLike
from ..errors import DtypeError, Error
from ..op import (
    Aval,
    Binary,
    Elementwise,
    Op,
    Unary,
    apply,
    booleans,
    broadcast_shapes,
    example,
    named_alike,
    promoted,
    real,
)
from ..tensors import Tensor, TensorLike
from .logic import equal, greater, logical_and

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "divide",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "identity",
    "log",
    "log10",
    "log1p",
    "log2",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "remainder",
    "round",
    "sigmoid",
    "sign",
    "sin",
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
    return tensors.as_tensor(x, dtype=out.dtype, like=out)


def _no_slope(cotangent: Tensor, out: Tensor, *operands: TensorLike) -> Tensor:
    return cotangent * 0.0


# Arithmetic


class Add(Binary):
    """x + y."""

    ufunc = "add"
    c = "({0} + {1})"
    gradients = (lambda g, out, x, y: g, lambda g, out, x, y: g)
    references = named_alike("add")


add = Add()


class Subtract(Binary):
    """x - y."""

    ufunc = "subtract"
    c = "({0} - {1})"
    accepts = "iuf"
    gradients = (lambda g, out, x, y: g, lambda g, out, x, y: -g)
    references = named_alike("subtract")


subtract = Subtract()


class Multiply(Binary):
    """x * y."""

    ufunc = "multiply"
    c = "({0} * {1})"
    gradients = (lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
    references = named_alike("multiply")


multiply = Multiply()


class Divide(Binary):
    """x / y. Integers become float32."""

    ufunc = "true_divide"
    c = "({0} / {1})"
    result = "float"
    gradients = (lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
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
    gradients = (lambda g, out, x, y: g, lambda g, out, x, y: -g * floor_divide(x, _like(y, out)))
    references = named_alike("remainder", tensorflow="math.floormod")
    domain = (real(5.2, 5.7), real(2.05, 2.45))  # the quotient stays between 2 and 3


remainder = Remainder()


class Power(Binary):
    """x ** y. At x = 0 the gradient of y is 0; where y = 0, the gradient of x is 0."""

    ufunc = "power"
    c = "pow({0}, {1})"
    accepts = "iuf"
    references = named_alike("power", tensorflow="pow", torch="pow")
    domain = (_POSITIVE, _ANY)
    kinks = ((0, 0), (0, 1), (0, 2), (0, 3), (0, 0.5), (2, 0), (-2, 0), (-2, 1), (-2, 2), (-2, 3))

    def explain(self, error: Exception, operands: Any, params: dict[str, Any]) -> Error:
        ours = super().explain(error, operands, params)
        if "negative integer power" in str(error):
            return DtypeError(f"{ours}: use a float, for example x.astype('float32')")
        return ours

    @staticmethod
    def _of_base(g: Tensor, out: Tensor, x: Any, y: Any) -> Tensor:
        if isinstance(y, (int, float)):
            if y in (0, 1):
                return g * float(y)
            return g * (power(x, y - 1) * y)
        # Where both are 0, x ** (y - 1) is infinite, and its factor y is zero.
        both = logical_and(equal(x, 0), equal(y, 0))
        return g * (y * power(x, where(both, 1.0, y - 1.0)))

    @staticmethod
    def _of_exponent(g: Tensor, out: Tensor, x: TensorLike, y: TensorLike) -> Tensor:
        x = _like(x, out)
        return g * where(equal(x, 0), 0.0, out * log(where(equal(x, 0), 1.0, x)))

    gradients = (
        lambda g, out, x, y: Power._of_base(g, out, x, y),
        lambda g, out, x, y: Power._of_exponent(g, out, x, y),
    )


power = Power()


def _share(x: Any, y: Any, out: Tensor) -> Tensor:
    """How much of the larger of two is x: 1, 0, or one half in a tie."""
    return where(equal(x, y), 0.5, astype(greater(x, y), out.dtype))


class Maximum(Binary):
    """The larger of x and y; NaN where either is. Ties share the gradient, as in JAX, PyTorch."""

    ufunc = "maximum"
    c = "({0} > {1} || {0} != {0} ? {0} : {1})"
    gradients = (
        lambda g, out, x, y: g * _share(x, y, out),
        lambda g, out, x, y: g * _share(y, x, out),
    )
    references = named_alike("maximum")


maximum = Maximum()


class Minimum(Binary):
    """The smaller of x and y; NaN where either is. Ties share the gradient, as in JAX, PyTorch."""

    ufunc = "minimum"
    c = "({0} < {1} || {0} != {0} ? {0} : {1})"
    gradients = (
        lambda g, out, x, y: g * _share(y, x, out),
        lambda g, out, x, y: g * _share(x, y, out),
    )
    references = named_alike("minimum")


minimum = Minimum()


class Negative(Unary):
    """-x."""

    ufunc = "negative"
    c = "(-{0})"
    accepts = "iuf"
    gradients = (lambda g, out, x: -g,)
    references = named_alike("negative")


negative = Negative()


class Abs(Unary):
    """The absolute value. Its gradient at 0 is 0, as in TensorFlow and PyTorch (in JAX, 1)."""

    ufunc = "absolute"
    c = "abs({0})"
    accepts = "iuf"
    gradients = (lambda g, out, x: g * sign(x),)
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
    gradients = (lambda g, out, x: g * 2.0 * x,)
    references = named_alike("square")


square = Square()


class Sqrt(Unary):
    """The square root; NaN below 0. No cotangent, no gradient: 0, not NaN, where both are 0."""

    ufunc = "sqrt"
    c = "sqrt({0})"
    result = "float"
    gradients = (lambda g, out, x: g / where(equal(g, 0), 1.0, out * 2.0),)
    references = named_alike("sqrt")
    domain = _POSITIVE
    kinks = ((0,),)


sqrt = Sqrt()


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
    gradients = (lambda g, out, x: g / x,)
    references = named_alike("log")
    domain = _POSITIVE


log = Log()


class Log1p(Unary):
    """log(1 + x), accurate near 0."""

    ufunc = "log1p"
    c = "log1p({0})"
    result = "float"
    gradients = (lambda g, out, x: g / (x + 1.0),)
    references = named_alike("log1p")
    domain = real(-0.8, 3)


log1p = Log1p()


class Log2(Unary):
    """The logarithm to base 2."""

    ufunc = "log2"
    c = "log2({0})"
    result = "float"
    gradients = (lambda g, out, x: g / (x * math.log(2)),)
    references = named_alike("log2", tensorflow="experimental.numpy.log2")
    domain = _POSITIVE


log2 = Log2()


class Log10(Unary):
    """The logarithm to base 10."""

    ufunc = "log10"
    c = "log10({0})"
    result = "float"
    gradients = (lambda g, out, x: g / (x * math.log(10)),)
    references = named_alike("log10", tensorflow="experimental.numpy.log10")
    domain = _POSITIVE


log10 = Log10()


class Sigmoid(Unary):
    """1 / (1 + exp(-x)), without overflow, and accurate in both tails."""

    c = "(1 / (1 + exp(-{0})))"
    result = "float"
    gradients = (lambda g, out, x: g * (out * (1.0 - out)),)
    references = {"tensorflow": "math.sigmoid", "torch": "sigmoid", "jax": "nn.sigmoid"}

    def forward(self, xp: Any, x: Array) -> Array:
        small = xp.exp(-xp.abs(x))  # never above 1
        return xp.where(x < 0, small, 1) / (1 + small)


sigmoid = Sigmoid()


# Trigonometric and hyperbolic functions


class Sin(Unary):
    """The sine of x, in radians."""

    ufunc = "sin"
    c = "sin({0})"
    result = "float"
    gradients = (lambda g, out, x: g * cos(x),)
    references = named_alike("sin")


sin = Sin()


class Cos(Unary):
    """The cosine of x, in radians."""

    ufunc = "cos"
    c = "cos({0})"
    result = "float"
    gradients = (lambda g, out, x: -g * sin(x),)
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
    gradients = (lambda g, out, x: g / sqrt((1.0 - x) * (1.0 + x)),)
    references = named_alike("asin")
    domain = real(-0.9, 0.9)


asin = Asin()


class Acos(Unary):
    """The angle in [0, pi] whose cosine is x; NaN outside [-1, 1]."""

    ufunc = "arccos"
    c = "acos({0})"
    result = "float"
    gradients = (lambda g, out, x: -g / sqrt((1.0 - x) * (1.0 + x)),)
    references = named_alike("acos")
    domain = real(-0.9, 0.9)


acos = Acos()


class Atan(Unary):
    """The angle in (-pi/2, pi/2) whose tangent is x."""

    ufunc = "arctan"
    c = "atan({0})"
    result = "float"
    gradients = (lambda g, out, x: g / (x * x + 1.0),)
    references = named_alike("atan")


atan = Atan()


class Atan2(Binary):
    """The angle of the point (y, x), given as atan2(y, x), in (-pi, pi]."""

    ufunc = "arctan2"
    c = "atan2({0}, {1})"
    result = "float"
    gradients = (
        lambda g, out, y, x: g * (x / (x * x + y * y)),
        lambda g, out, y, x: g * (-y / (x * x + y * y)),
    )
    references = named_alike("atan2")
    domain = (_POSITIVE, _NOT_ZERO)
    kinks = ((0, 1), (1, 0), (0, -1))


atan2 = Atan2()


class Sinh(Unary):
    """The hyperbolic sine."""

    ufunc = "sinh"
    c = "sinh({0})"
    result = "float"
    gradients = (lambda g, out, x: g * cosh(x),)
    references = named_alike("sinh")


sinh = Sinh()


class Cosh(Unary):
    """The hyperbolic cosine."""

    ufunc = "cosh"
    c = "cosh({0})"
    result = "float"
    gradients = (lambda g, out, x: g * sinh(x),)
    references = named_alike("cosh")


cosh = Cosh()


class Tanh(Unary):
    """The hyperbolic tangent."""

    ufunc = "tanh"
    c = "tanh({0})"
    result = "float"
    gradients = (lambda g, out, x: g * (1.0 - out * out),)
    references = named_alike("tanh")


tanh = Tanh()


class Asinh(Unary):
    """The number whose hyperbolic sine is x."""

    ufunc = "arcsinh"
    c = "asinh({0})"
    result = "float"
    gradients = (lambda g, out, x: g / sqrt(x * x + 1.0),)
    references = named_alike("asinh")


asinh = Asinh()


class Acosh(Unary):
    """The number not below 0 whose hyperbolic cosine is x; NaN below 1."""

    ufunc = "arccosh"
    c = "acosh({0})"
    result = "float"
    gradients = (lambda g, out, x: g / sqrt((x - 1.0) * (x + 1.0)),)
    references = named_alike("acosh")
    domain = real(1.2, 4)


acosh = Acosh()


class Atanh(Unary):
    """The number whose hyperbolic tangent is x; NaN outside [-1, 1]."""

    ufunc = "arctanh"
    c = "atanh({0})"
    result = "float"
    gradients = (lambda g, out, x: g / ((1.0 - x) * (1.0 + x)),)
    references = named_alike("atanh")
    domain = real(-0.9, 0.9)


atanh = Atanh()


# What is neither a ufunc nor arithmetic


class Where(Elementwise):
    """x where the condition holds, else y. Neither branch's NaN reaches the other's gradient."""

    arity = 3
    c = "({0} ? {1} : {2})"
    gradients = (
        None,
        lambda g, out, condition, x, y: where(condition, g, 0.0),
        lambda g, out, condition, x, y: where(condition, 0.0, g),
    )
    references = {"tensorflow": "where", "torch": "where", "jax": "numpy.where"}
    domain = (booleans, _ANY, _ANY)

    def __call__(self, condition: TensorLike, x: TensorLike, y: TensorLike, /) -> Tensor:
        return apply(self, condition, x, y)

    def forward(self, xp: Any, condition: Array, x: Array, y: Array) -> Array:
        return xp.where(condition, x, y)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [dtypes.bool_, *super().operand_dtypes(given[1:], kind)]

    def infer(self, *avals: Any) -> Aval:
        shape = broadcast_shapes("where", *[a.shape for a in avals if isinstance(a, Aval)])
        given = [a.dtype if isinstance(a, Aval) else type(a) for a in avals[1:]]
        return Aval(shape, promoted(given))


where = Where()


class Astype(Op):
    """The same numbers in another dtype; floats lose what is behind the point in integers."""

    gradients = (lambda g, out, x, dtype: astype(g, x.dtype),)
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

    def __call__(self, x: TensorLike, /, dtype: DTypeLike) -> Tensor:
        x = tensors.as_tensor(x)
        if x._data.dtype is dtype:
            return x
        dtype = dtypes.as_dtype(dtype)
        return x if x._data.dtype == dtype else apply(self, x, dtype=dtype)

    def forward(self, xp: Any, x: Array, *, dtype: DType) -> Array:
        return x.astype(dtype)

    def infer(self, x: Aval, *, dtype: DType) -> Aval:
        return Aval(x.shape, dtype)


astype = Astype()


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
    gradients = (lambda g, out, x: g,)
    references = {"tensorflow": "identity", "torch": "clone", "jax": "numpy.asarray"}

    def forward(self, xp: Any, x: Array) -> Array:
        return x


identity = Identity()


class Erf(Unary):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x.

    Source: W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of
    Computation 23 (1969), 631-637.
    """

    c = "erf({0})"
    result = "float"
    gradients = (lambda g, out, x: g * (exp(-x * x) * (2 / math.sqrt(math.pi))),)
    references = named_alike("erf", torch="special.erf")
    references["jax"] = "lax.erf"

    # Numerator and denominator, highest power first; the second pair gives erfc(y) exp(y * y).
    _NEAR = (
        (0.185777706184603153, 3.1611237438705656, 113.864154151050156, 377.485237685302021,
         3209.37758913846947),
        (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062),
    )  # fmt: skip
    _FAR = (
        (2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295,
         298.635138197400131, 881.95222124176909, 1712.04761263407058, 2051.07837782607147,
         1230.33935479799725),
        (1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019,
         3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942),
    )  # fmt: skip

    def forward(self, xp: Any, x: Array) -> Array:
        if dtypes.is_half(x.dtype):
            return self.forward(xp, x.astype(dtypes.float32)).astype(x.dtype)
        size = xp.minimum(xp.abs(x), 6)  # erf(6) is 1 in float64; powers of more would overflow
        near = x * _ratio(self._NEAR, size * size)
        far = 1 - xp.exp(-size * size) * _ratio(self._FAR, size)
        return xp.where(size < 0.46875, near, xp.copysign(far, x))


erf = Erf()


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    """The quotient of two polynomials, by Horner's rule."""
    top, bottom = (
        functools.reduce(lambda total, c: total * x + c, rest, first * x + second)
        for first, second, *rest in coefficients
    )
    return top / bottom
