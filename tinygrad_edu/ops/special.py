"""Special functions: what NumPy has no ufunc for, such as erf and lgamma.

Each is one published approximation, written with what numpy, cupy and jax.numpy share, so that
every device computes the same. float32 takes fewer terms than float64; half precision is computed
in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dtypes
from ..arguments import whole
from ..backends import Array
from ..dispatch import apply
from ..op import Aval, Op, Unary
from ..references import example, real
from ..tensors import Tensor, TensorLike
from .blocks import at_most, in_blocks
from .elementwise import exp, square, zero_safe_divide

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "lgamma",
]


class _Polynomial:
    """A polynomial by Horner's rule, of coefficients from the highest power down; None for a
    leading 1."""

    def __init__(self, *coefficients: float | None) -> None:
        self.monic = coefficients[0] is None
        self.numbers = [1.0 if c is None else c for c in coefficients]
        # NumPy takes an array without axes in half the time of a Python number.
        self.arrays: dict[Any, Sequence[Any]] = {
            dtype: [np.array(c, dtype) for c in self.numbers]
            for dtype in (dtypes.float32, dtypes.float64)
        }

    def __call__(self, xp: Any, x: Array) -> Array:
        coefficients = self.arrays[x.dtype] if xp is np else self.numbers
        total = x + coefficients[1] if self.monic else x * coefficients[0] + coefficients[1]
        for coefficient in coefficients[2:]:
            total *= x
            total += coefficient
        return total


class _Special(Unary, abstract=True):
    """Base of the special functions: states `formula`, for float32 and float64."""

    result = "float"

    def formula(self, xp: Any, x: Array) -> Array:
        raise NotImplementedError  # each states its own

    def forward(self, xp: Any, x: Array) -> Array:
        if dtypes.is_half(x.dtype):
            return self.formula(xp, x.astype(dtypes.float32)).astype(x.dtype)
        return self.formula(xp, x)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        compute = partial(self.forward, xp)
        return in_blocks(compute) if xp is np else compute


def _any(xp: Any, mask: Array) -> bool:
    """Whether it is worth computing for where the mask is true. Only NumPy can tell at once."""
    return xp is not np or bool(np.count_nonzero(mask))


# The error function and its kin

_ROOT_PI = math.sqrt(math.pi)
_LOG_SLOPE = math.log(2 / _ROOT_PI)

# atanh(erf(x)) / x in powers of x * x, fitted with mpmath so that the largest relative error of
# erf, 3e-9, is as small as it can be. tanh brings it back, and forgives errors where erf nears 1.
_ATANH_ERF = (
    _Polynomial(6.703953842, 131.2501873, 861.1396505, 3472.723257),
    _Polynomial(None, 72.90881215, 482.8561528, 3077.620845),
)

# erf(x) / x in powers of x * x, for |x| below 0.46875: W. J. Cody, Rational Chebyshev
# approximations for the error function, Mathematics of Computation 23 (1969), 631-637.
_CODY = (
    _Polynomial(0.185777706184603153, 3.1611237438705656, 113.864154151050156,
                377.485237685302021, 3209.37758913846947),
    _Polynomial(None, 23.6012909523441209, 244.024637934444173, 1282.61652607737228,
                2844.23683343917062),
)  # fmt: skip
_CODY_END = 0.46875

# (1 + 2 x) exp(x * x) erfc(x) for all x >= 0, in powers of (x - 3.75) / (x + 3.75): the Chebyshev
# series of M. M. Shepherd, J. G. Laframboise, Chebyshev approximation of (1 + 2x) exp(x^2) erfc x
# in 0 <= x < infinity, Mathematics of Computation 36 (1981), 249-253; computed with mpmath, cut off
# below the precision of the dtype, sorted by powers, the last three moved by a few units so that
# erfc(0) is 1 to the last bit.
_ERFC = {
    dtypes.float32: _Polynomial(
        -2.241167467e-4, 3.96307613e-4, 1.675912218e-3, -9.84449486e-3, 2.840925236e-2,
        -5.864685874e-2, 9.229076959e-2, -0.1088142701, 8.227841998e-2, 3.5862648e-3,
        -0.1402406991, 1.2375125885,
    ),
    dtypes.float64: _Polynomial(
        4.2511993375367518e-10, 3.111366836804549e-10, -5.17382597525915808e-9,
        -3.74416928537793301e-9, 3.86749023028772436e-8, 2.32634008723858453e-8,
        -2.58667857636989417e-7, -5.72180695343036327e-8, 1.75163703273903679e-6,
        -9.73560046415277989e-7, -1.14441458539842755e-5, 2.23842392448952102e-5,
        5.16490987343030783e-5, -2.90154080575810187e-4, 2.93713665634071733e-4,
        1.75562585290394691e-3, -9.74657955803652686e-3, 2.83622774189551108e-2,
        -5.86933985896360539e-2, 9.2304321160377584e-2, -0.108803930141748894,
        8.22767384901452037e-2, 3.58541548546441970e-3, -0.14024059858554705,
        1.2375126308378275,
    ),
}  # fmt: skip


def _erfc_of_positive(xp: Any, x: Array) -> Array:
    """erfc(x) for x from 0 to 30, with a small relative error also where it is tiny."""
    total = _ERFC[x.dtype](xp, (x - 3.75) / (x + 3.75))
    total /= x * 2 + 1
    # x * x rounded would be too coarse for exp. The first factor's square is exact.
    coarse = xp.floor(x * 16) * 0.0625
    total *= xp.exp((coarse - x) * (coarse + x))
    total *= xp.exp(-coarse * coarse)
    return total


class Erf(_Special):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x.

    float64 by Cody's rational function near 0 and as 1 - erfc(x) elsewhere, float32 by one rational
    function within tanh.

    >>> erf([-1.0, 0.0, 6.0])
    Tensor([-0.8427008,  0.       ,  1.       ], dtype=float32)
    """

    c = "erf({0})"
    gradients = (lambda g, _, x: g * exp.of(_LOG_SLOPE - square.of(x)),)
    on_arrays = True
    references = {"tensorflow": "math.erf", "torch": "special.erf", "jax": "lax.erf"}

    def formula(self, xp: Any, x: Array) -> Array:
        if x.dtype == dtypes.float32:
            over, under = _ATANH_ERF
            squares = at_most(xp, x * x, 16.0)  # erf(4) is 1 in float32
            ratio = over(xp, squares)
            ratio /= under(xp, squares)
            ratio *= x
            return xp.tanh(ratio)
        over, under = _CODY
        size = at_most(xp, xp.abs(x), 6.0)  # erf(6) is 1 in float64; powers of more would overflow
        squares = size * size
        near = x * (over(xp, squares) / under(xp, squares))
        return xp.where(size < _CODY_END, near, xp.copysign(1 - _erfc_of_positive(xp, size), x))


erf = Erf()


class Erfc(_Special):
    """1 - erf(x), with a small relative error also where it is tiny.

    >>> erfc([0.0, 1.0, 9.0])
    Tensor([1.0000000e+00, 1.5729919e-01, 4.1370317e-37], dtype=float32)
    """

    c = "erfc({0})"
    gradients = (lambda g, _, x: -g * exp.of(_LOG_SLOPE - square.of(x)),)
    on_arrays = True
    references = {"tensorflow": "math.erfc", "torch": "special.erfc", "jax": "lax.erfc"}

    def formula(self, xp: Any, x: Array) -> Array:
        found = _erfc_of_positive(xp, at_most(xp, xp.abs(x), 30.0))
        # erfc(-x) is 2 - erfc(x).
        twice = (x < 0).astype(x.dtype)
        twice *= 2
        return xp.abs(found - twice)


erfc = Erfc()


class Erfinv(_Special):
    """The number whose erf is x; infinite at -1 and 1, NaN outside.

    float32 by M. Giles, Approximating the erfinv function, GPU Computing Gems Jade Edition (2011),
    chapter 10. float64 by S. Winitzki's formula (A handy approximation for the error function and
    its inverse, 2008) and three steps of Halley's method.

    >>> erfinv([0.0, 0.5, 1.0])
    Tensor([0.        , 0.47693628,        inf], dtype=float32)
    """

    c = "erfinv({0})"
    gradients = (lambda g, out, x: zero_safe_divide(g * (_ROOT_PI / 2), exp(-square(out))),)
    references = {"tensorflow": "math.erfinv", "torch": "special.erfinv", "jax": "lax.erf_inv"}
    domain = real(-0.9, 0.9)

    _CENTRAL = _Polynomial(
        2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3,
        -4.17768164e-3, 0.246640727, 1.50140941,
    )  # fmt: skip
    _TAIL = _Polynomial(
        -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3,
        9.43887047e-3, 1.00167406, 2.83297682,
    )  # fmt: skip

    def formula(self, xp: Any, x: Array) -> Array:
        size = xp.abs(x)
        inside = xp.minimum(size, 1 - xp.finfo(x.dtype).epsneg)
        rest = (1 - inside) * (1 + inside)
        found = self._narrow(xp, x, rest) if x.dtype == dtypes.float32 else None
        if found is None:
            found = xp.copysign(self._wide(xp, inside, rest), x)
        edge = xp.where(size == 1, xp.copysign(xp.full_like(x, math.inf), x), math.nan)
        return xp.where(size < 1, found, edge)

    def _narrow(self, xp: Any, x: Array, rest: Array) -> Array:
        depth = -xp.log(rest)
        root = xp.sqrt(xp.maximum(depth, 5))
        poly = xp.where(depth < 5, self._CENTRAL(xp, depth - 2.5), self._TAIL(xp, root - 3))
        return poly * x

    def _wide(self, xp: Any, x: Array, rest: Array) -> Array:
        a = 0.147
        log = xp.where(x < 0.5, xp.log1p(-x * x), xp.log(rest))
        b = 2 / (math.pi * a) + log / 2
        y = xp.sqrt(-log / a / (xp.sqrt(b * b - log / a) + b))
        for _ in range(3):
            over, under = _CODY
            near = xp.minimum(y, _CODY_END)
            squares = near * near
            central = x - near * (over(xp, squares) / under(xp, squares))
            outer = _erfc_of_positive(xp, xp.minimum(y, 6)) - (1 - x)
            step = xp.where(y < _CODY_END, central, outer) * (_ROOT_PI / 2) * xp.exp(y * y)
            y = y + step / (1 - y * step)
        # Below, the squares of x are lost, and erf is a straight line.
        return xp.where(x < 1e-9, x * (_ROOT_PI / 2), y)


erfinv = Erfinv()


# The gamma function's logarithm and its derivatives
#
# The numbers of equations are those of the NIST Digital Library of Mathematical Functions,
# https://dlmf.nist.gov.

_EULER = 0.577215664901532861

# (-1)^k (zeta(k) - 1) / k for k = 2, 3, ...: (5.7.3).
_TAYLOR = [
    0.322467033424113218, -0.0673523010531980951, 0.0205808084277845479, -0.00738555102867398527,
    0.00289051033074152329, -0.00119275391170326098, 5.09669524743042422e-4,
    -2.2315475845357938e-4, 9.94575127818085337e-5, -4.49262367381331417e-5,
    2.05072127756706916e-5, -9.4394882752683959e-6, 4.3748667899074878e-6,
    -2.03921575380136624e-6, 9.55141213040741983e-7, -4.49246919876456604e-7,
    2.12071848055546659e-7, -1.00432248239680996e-7, 4.76981016936398057e-8,
    -2.27110946089431649e-8, 1.08386592148969541e-8, -5.18347504197004666e-9,
    2.48367454380247832e-9, -1.19214014058609121e-9, 5.73136724167886201e-10,
]  # fmt: skip

# The Bernoulli numbers B2, B4, ...
_BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510]


class _Depth:
    """How many steps the argument of lgamma is brought down and that of digamma `up`, and how many
    terms of the series follow, for a dtype."""

    def __init__(self, steps: int, up: int, taylor: int, terms: int) -> None:
        self.steps = steps
        self.up = up
        self.taylor = _Polynomial(*_TAYLOR[taylor::-1], 1 - _EULER)
        numbers = list(enumerate(_BERNOULLI[:terms], start=1))[::-1]
        self.lgamma = _Polynomial(*[b / (2 * k * (2 * k - 1)) for k, b in numbers])
        self.digamma = _Polynomial(*[b / (2 * k) for k, b in numbers])


_DEPTHS = {dtypes.float32: _Depth(2, 4, 12, 4), dtypes.float64: _Depth(7, 8, 24, 8)}


class Lgamma(_Special):
    """The logarithm of the absolute value of the gamma function: log((x - 1)!) for whole x. It is
    infinite at 0 and the negative whole numbers.

    By the power series around 2 (5.7.3), to which arguments up to 8.5 are brought down (up to 3.5
    in float32), Stirling's series above (5.11.1), and reflection below 1/2 (5.5.3).

    >>> lgamma([1.0, 5.0, 0.5])
    Tensor([0.       , 3.1780539, 0.5723649], dtype=float32)
    """

    c = "lgamma({0})"
    gradients = (lambda g, _, x: g * digamma(x),)
    references = {"tensorflow": "math.lgamma", "torch": "lgamma", "jax": "lax.lgamma"}
    domain = real(0.3, 6)

    def formula(self, xp: Any, x: Array) -> Array:
        x = xp.maximum(x, -1e18)  # whole from there on: infinite, as at -infinity
        mirrored = x < 0.5
        z = xp.where(mirrored, 1 - x, x)
        depth = _DEPTHS[x.dtype]
        end = 1.5 + depth.steps
        far = ~(z < end)  # NaN goes there
        found = _stirling(xp, xp.maximum(z, end), depth) if _any(xp, far) else z
        if _any(xp, ~far):
            found = xp.where(far, found, self._central(xp, xp.minimum(z, end), depth))
        if not _any(xp, mirrored):
            return found
        gap = xp.abs(xp.where(mirrored, x - xp.rint(x), 0.5))
        sine = xp.where(gap < 1e-30, gap, xp.sin(gap * math.pi) / math.pi)  # divided by pi
        return xp.where(mirrored, -xp.log(sine) - found, found)

    def _central(self, xp: Any, z: Array, depth: _Depth) -> Array:
        """From 0.5 on: gamma(z) is (z - 1) gamma(z - 1), until z is between 1.5 and 2.5."""
        low = z < 1.5
        # The distance from 2 of z or, where z is low, of z + 1: without rounding near 1 and 2.
        beyond = xp.where(low, z - 1, z - 2)
        factors = xp.where(low, z, 1)
        for _ in range(depth.steps - 1):
            over = beyond >= 0.5
            factors = xp.where(over, factors * (beyond + 1), factors)
            beyond = xp.where(over, beyond - 1, beyond)
        logs = xp.log(factors)
        return depth.taylor(xp, beyond) * beyond + xp.where(low, -logs, logs)


def _stirling(xp: Any, z: Array, depth: _Depth) -> Array:
    log, inverse = xp.log(z), 1 / z
    series = depth.lgamma(xp, inverse * inverse) * inverse
    return (z - 0.5) * (log - 1) + (series + (math.log(2 * math.pi) - 1) / 2)


lgamma = Lgamma()


class Digamma(_Special):
    """The derivative of lgamma; NaN at the negative whole numbers.

    By moving the argument up (5.5.2), the asymptotic series there (5.11.2), and reflection below 0
    (5.5.4).

    >>> digamma([1.0, 2.0])
    Tensor([-0.5772158,  0.4227842], dtype=float32)
    """

    gradients = (lambda g, _, x: g * polygamma(1, x),)
    references = {"tensorflow": "math.digamma", "torch": "digamma", "jax": "lax.digamma"}
    domain = real(0.3, 6)

    def formula(self, xp: Any, x: Array) -> Array:
        x = xp.maximum(x, -1e18)  # whole from there on: NaN, as at every negative whole number
        mirrored = x < 0
        z = xp.where(mirrored, 1 - x, x)
        depth = _DEPTHS[x.dtype]
        moved = 1 / z
        for k in range(1, depth.up):
            moved = moved + 1 / (z + k)
        y = z + depth.up
        inverse = 1 / y
        squares = inverse * inverse
        found = xp.log(y) - (inverse * 0.5 + depth.digamma(xp, squares) * squares) - moved
        if not _any(xp, mirrored):
            return found
        beyond = xp.where(mirrored, x - xp.rint(x), 0.25)
        beyond = xp.where(beyond == 0, math.nan, beyond)
        return xp.where(mirrored, found - math.pi / xp.tan(beyond * math.pi), found)


digamma = Digamma()


class Polygamma(Op):
    """The derivative of order `n` of `digamma`; n = 0 gives that itself, n = 1 the trigamma
    function. Its gradient is that of order n + 1.

    From the zeta function of Hurwitz (5.15.1) by Euler and Maclaurin's sum, and reflection below 0
    (5.15.6). Raises ArgumentError where n is no whole number from 0 on.

    >>> polygamma(1, [1.0])  # pi * pi / 6
    Tensor([1.644934], dtype=float32)
    """

    elementwise = True
    gradients = (lambda g, _, x, n: g * polygamma(n + 1, x),)
    references = {
        "tensorflow": lambda tf, x, n: tf.math.polygamma(tf.constant(n, x.dtype), x),
        "torch": lambda torch, x, n: torch.polygamma(n, x),
        "jax": lambda jax, x, n: jax.scipy.special.polygamma(n, x),
    }
    domain = real(0.3, 6)
    examples = (example((), n=1), example((2, 3), n=2), example((0, 3), n=3), example((5,), n=1))

    def __call__(self, n: int, x: TensorLike, /) -> Tensor:
        n = whole("polygamma", "n", n, 0)
        return apply(self, x, n=n) if n else digamma(x)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[Any]:
        return [given[0] if dtypes.is_float(given[0]) else dtypes.float32]

    def infer(self, x: Aval, *, n: int) -> Aval:
        return x if dtypes.is_float(x.dtype) else Aval(x.shape, dtypes.float32)

    def batch(self, size: int, inputs: Any, mapped: Any, params: dict[str, Any]) -> Any:
        return apply(self, *inputs, **params)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        if xp is not np:
            return partial(self.forward, xp)
        return lambda x, n: in_blocks(partial(self.forward, np, n=n))(x)

    def forward(self, xp: Any, x: Array, *, n: int) -> Array:
        if dtypes.is_half(x.dtype):
            return self.forward(xp, x.astype(dtypes.float32), n=n).astype(x.dtype)
        sign = -1.0 if n % 2 == 0 else 1.0
        mirrored = x < 0
        found = _hurwitz_zeta(xp, n + 1, xp.where(mirrored, 1 - x, x)) * (sign * math.factorial(n))
        if not _any(xp, mirrored):
            return found
        # (5.15.6): the derivatives of the cotangent are polynomials of it.
        cotangent = 1 / xp.tan(xp.where(mirrored, x - xp.rint(x), 0.25) * math.pi)
        slope = _polynomial(cotangent, _cotangent_slope(n)) * math.pi ** (n + 1)
        return xp.where(mirrored, -sign * found - slope, found)


polygamma = Polygamma()


def _hurwitz_zeta(xp: Any, s: int, z: Array) -> Array:
    """The sum of (z + k) ** -s over k = 0, 1, ..., for z from 0 on: DLMF (25.11.4) and
    (25.11.28)."""
    steps = 10 + s // 2
    total = _power(1 / z, s)
    for k in range(1, steps):
        total = total + _power(1 / (z + k), s)
    inverse = 1 / (z + steps)
    top = _power(inverse, s - 1)
    tail = top / (s - 1) + top * inverse / 2
    rising, term = float(s), top * inverse * inverse
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        tail = tail + term * (bernoulli * rising / math.factorial(2 * k))
        rising *= (s + 2 * k - 1) * (s + 2 * k)
        term = term * inverse * inverse
    return total + tail


def _power(x: Array, n: int) -> Array:
    """x to a whole power from 1 on, by squaring."""
    if n == 1:
        return x
    half = _power(x, n // 2)
    return half * half * x if n % 2 else half * half


def _cotangent_slope(n: int) -> list[float]:
    """The derivative of order n of cot(t) as a polynomial of c = cot(t), lowest power first:
    the derivative of c is -(1 + c * c)."""
    found = [0.0, 1.0]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(found)][1:]
        found = [0.0] * (len(slope) + 2)
        for k, a in enumerate(slope):
            found[k] -= a
            found[k + 2] -= a
    return found


def _polynomial(x: Array, coefficients: list[float]) -> Array:
    total = x * coefficients[-1] + coefficients[-2]
    for c in coefficients[-3::-1]:
        total = total * x + c
    return total
