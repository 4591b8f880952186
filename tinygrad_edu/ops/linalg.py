"""Linear algebra: norms, determinants, inverses, factorizations, of the matrices along the last two
axes; axes in front are a batch.

Everything here is in `edu.ops` too. This module by itself is the array API's linalg extension.
Halves and integers are computed in float32 (halves come back as such). What has no answer (a
singular matrix to invert, one that is not positive definite to factorize) raises LinAlgError on
device numpy; on an accelerator, where that would wait for the device, the result is NaN or
infinite.

Sources of the gradients: M. Giles, Collected matrix derivative results for forward and reverse mode
algorithmic differentiation, 2008; I. Murray, Differentiation of the Cholesky decomposition, 2016
(arXiv:1602.07527); J. Townsend, Differentiating the singular value decomposition, 2016.
"""

from __future__ import annotations

import builtins
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import batching, conversion, dtypes
from ..arguments import (
    Axis,
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    not_negative,
    whole,
)
from ..backends import Array
from ..dispatch import apply, unary
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, Error, GradientError, LinAlgError, ShapeError
from ..op import Aval, Op, promoted
from ..references import example, real
from ..tensors import Tensor, TensorLike
from . import movement
from .contraction import matmul, outer, tensordot, vecdot  # noqa: F401  the array API has them here
from .creation import eye
from .elementwise import abs, astype, power, round, stop_gradient, through_float32, where
from .kernels import in_float32
from .logic import equal, greater, less_equal, not_equal
from .movement import broadcast_to, concat, matrix_transpose, moveaxis, reshape, tril, triu
from .reduction import as_float, kept_shape, max, min, prod, sum

__all__ = [
    "adjugate",
    "cholesky",
    "cross",
    "det",
    "eigh",
    "eigvalsh",
    "inv",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "triangular_solve",
    "vector_norm",
]


class OfMatrices(Op, abstract=True):
    """Base of the operations on matrices: halves go through them in float32, and what the array
    library cannot do is a LinAlgError that says `failure`."""

    square = True
    failure = "it did not converge; are there elements that are NaN or infinite?"
    domain = real(-1, 1)

    def __call__(self, *operands: Any, **params: Any) -> Any:
        return through_float32(partial(apply, self), operands, **params)

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        common = promoted(given, kind)
        return [common if dtypes.is_float(common) else dtypes.float32] * len(given)

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        # The order of a factorization's, as of a product's.
        return math.prod(inputs[0].shape) * inputs[0].shape[-1]

    def check(self, *avals: Any) -> Aval:
        """The first of these, if all of them are matrices that this operation takes."""
        for x in avals:
            shape = x.shape if isinstance(x, Aval) else ()
            if len(shape) < 2:
                raise ShapeError(f"{self.name}: shape {shape} has no two axes to be a matrix")
        shape = avals[0].shape
        if self.square and shape[-1] != shape[-2]:
            raise ShapeError(
                f"{self.name}: the matrices of shape {shape} must be square: {shape[-2]} is not "
                f"{shape[-1]}"
            )
        dtype = avals[0].dtype
        return Aval(shape, dtype if dtypes.is_float(dtype) else dtypes.float32)

    def explain(self, error: Exception, operands: Sequence[Any], params: dict[str, Any]) -> Error:
        ours = super().explain(error, operands, params)
        if isinstance(error, np.linalg.LinAlgError) and type(ours) is ArgumentError:
            shapes = " and ".join(str(x.shape) for x in operands)
            return LinAlgError(f"{self.name}: {self.failure} (shape {shapes})")
        return ours

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        ndim = builtins.max(x.ndim - m for x, m in zip(inputs, mapped, strict=True))
        operands = [
            batching.aligned(x, ndim) if m else x for x, m in zip(inputs, mapped, strict=True)
        ]
        return apply(self, *operands, **params)


_SQUARES = (example((3, 3)), example((2, 2, 2)), example((1, 1)), example((0, 3, 3)))
_SINGULAR = "a matrix is singular, to the precision of its dtype: it has no inverse"


def _matrices(name: str, x: TensorLike) -> Tensor:
    x = conversion.as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: shape {x.shape} has no two axes to be a matrix")
    return x


def _scalars(x: Tensor) -> Tensor:
    """One number for each matrix, in a shape that broadcasts over its elements."""
    return reshape(x, (*x.shape, 1, 1))


def _inverse_or_zero(x: Tensor) -> Tensor:
    zero = equal(x, 0)
    return where(zero, 0.0, 1.0 / where(zero, 1.0, x))


def _mirrored(x: Tensor) -> Tensor:
    """The lower triangle, and its mirror image above."""
    return tril(x) + matrix_transpose(tril(x, k=-1))


def _symmetric(x: Tensor) -> Tensor:
    return (x + matrix_transpose(x)) * 0.5


# Determinants and inverses


class Det(OfMatrices):
    """The determinant of each square matrix; 1 of an empty one.

    The gradient is the transpose of the adjugate, also where the matrix is singular, as in JAX and
    PyTorch. Raises ShapeError unless the matrices are square.

    >>> det([[1.0, 2.0], [3.0, 4.0]])
    Tensor(-2., dtype=float32)
    """

    gradients = (lambda g, _, x: _scalars(g) * matrix_transpose(adjugate(x)),)
    references = {"tensorflow": "linalg.det", "torch": "linalg.det", "jax": "numpy.linalg.det"}
    examples = _SQUARES

    def __call__(self, x: TensorLike, /) -> Tensor:
        found: Tensor = super().__call__(x)
        return found

    def forward(self, xp: Any, x: Array) -> Array:
        return xp.linalg.det(x)

    def infer(self, x: Any) -> Aval:
        shape, dtype = self.check(x)
        return Aval(shape[:-2], dtype)


det = Det()


class Adjugate(OfMatrices):
    """The adjugate: det(x) inv(x), which is there for singular matrices too; det's derivative.

    Computed from the singular values where a matrix is singular (G. W. Stewart, On the adjugate
    matrix, 1998). Its gradient is right for singular matrices as well.

    >>> adjugate([[1.0, 2.0], [2.0, 4.0]])
    Tensor([[ 4., -2.],
            [-2.,  1.]], dtype=float32)
    """

    gradients = (lambda g, _, x: _second_slope_of_det(x, matrix_transpose(g)),)
    references = {
        "tensorflow": lambda tf, x: tf.linalg.det(x)[..., None, None] * tf.linalg.inv(x),
        "torch": lambda torch, x: torch.linalg.det(x)[..., None, None] * torch.linalg.inv(x),
        "jax": lambda jax, x: jax.numpy.linalg.det(x)[..., None, None] * jax.numpy.linalg.inv(x),
    }
    examples = _SQUARES

    def __call__(self, x: TensorLike, /) -> Tensor:
        found: Tensor = super().__call__(x)
        return found

    def forward(self, xp: Any, x: Array) -> Array:
        if not x.size:
            return x
        determinants = xp.linalg.det(x)[..., None, None]
        if xp is np and np.all((determinants != 0) & np.isfinite(determinants)):
            return determinants * np.linalg.inv(x)
        u, s, vh = xp.linalg.svd(x)
        sign = xp.sign(xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
        alone = xp.eye(x.shape[-1], dtype=bool)
        others = xp.where(alone, xp.ones((), x.dtype), s[..., None, :]).prod(-1)
        return sign * xp.matmul(vh.swapaxes(-1, -2) * others[..., None, :], u.swapaxes(-1, -2))

    def infer(self, x: Any) -> Aval:
        return self.check(x)


adjugate = Adjugate()


def _second_slope_of_det(x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of det's gradient along a direction F.

    det(x) (<y, F> y - y Fᵀ y) with y the transposed inverse, where there is one. Where there is
    none it comes from x = u diag(s) vᵀ: in that basis det is, to second order, the product of the
    s_i plus sum_ij (E_ii E_jj - E_ij E_ji) / 2 times the product of all s but s_i and s_j.
    """
    u, s, vh = svd(x)
    n = x.shape[-1]
    if not n:
        return direction
    singular = less_equal(s[..., -1], s[..., 0] * _eps(x.dtype) ** 0.5)
    singular = _scalars(singular)
    regular = where(singular, eye(n, dtype=x.dtype, device=x.device), x)
    y = matrix_transpose(inv(regular))
    along = sum(y * direction, axis=(-2, -1), keepdims=True)
    turned = matmul(y, matmul(matrix_transpose(direction), y))
    smooth = _scalars(det(regular)) * (along * y - turned)
    f = matmul(matmul(matrix_transpose(u), direction), matrix_transpose(vh))
    same = np.eye(n, dtype=bool)
    left_out = same[:, None, :] | same[None, :, :]
    others = prod(where(left_out, 1.0, reshape(s, (*s.shape[:-1], 1, 1, n))), axis=-1)
    others = where(same, 0.0, others)
    diagonal = sum(where(same, f, 0.0), axis=-1, keepdims=True)
    inside = where(same, matmul(others, diagonal), -others * matrix_transpose(f))
    sign = stop_gradient(round(_scalars(det(u) * det(vh))))
    return where(singular, sign * matmul(matmul(u, inside), vh), smooth)


class SlogdetResult(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class Slogdet(OfMatrices):
    """The sign of the determinant (1, -1, or 0) and the logarithm of its absolute value (-inf for
    a singular matrix), where the determinant itself would over- or underflow.

    The sign's gradient is zero; a singular matrix has none, and asking for it raises LinAlgError.

    >>> slogdet([[0.0, 2.0], [2.0, 0.0]])
    SlogdetResult(sign=Tensor(-1., dtype=float32), logabsdet=Tensor(1.3862944, dtype=float32))
    """

    references = {
        "tensorflow": "linalg.slogdet",
        "torch": "linalg.slogdet",
        "jax": "numpy.linalg.slogdet",
    }
    examples = _SQUARES

    def __call__(self, x: TensorLike, /) -> SlogdetResult:
        return SlogdetResult(*super().__call__(x))

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        if xp.__name__ == "jax.numpy" and x.shape[-1] == 2:
            # JAX multiplies these out, which over- and underflows. With one row more it does not.
            one = xp.eye(3, dtype=x.dtype)
            x = xp.broadcast_to(one, (*x.shape[:-2], 3, 3)).at[..., :2, :2].set(x)
        return tuple(xp.linalg.slogdet(x))

    def infer(self, x: Any) -> tuple[Aval, Aval]:
        shape, dtype = self.check(x)
        found = Aval(shape[:-2], dtype)
        return found, found

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor]:
        return [_scalars(cotangent[1]) * matrix_transpose(inv(inputs[0]))]


slogdet = Slogdet()


class Inv(OfMatrices):
    """The inverse of each square matrix.

    To apply an inverse, `solve` is faster and more accurate. Raises LinAlgError for a singular
    matrix (on device xla it is infinite or NaN), ShapeError unless the matrices are square.

    >>> inv([[2.0, 0.0], [0.0, 4.0]])
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]], dtype=float32)
    """

    failure = _SINGULAR
    gradients = (
        lambda g, out, x: -matmul(matrix_transpose(out), matmul(g, matrix_transpose(out))),
    )
    references = {"tensorflow": "linalg.inv", "torch": "linalg.inv", "jax": "numpy.linalg.inv"}
    examples = _SQUARES

    def __call__(self, x: TensorLike, /) -> Tensor:
        found: Tensor = super().__call__(x)
        return found

    def forward(self, xp: Any, x: Array) -> Array:
        return xp.linalg.inv(x)

    def infer(self, x: Any) -> Aval:
        return self.check(x)


inv = Inv()


class Pinv(OfMatrices):
    """The Moore-Penrose pseudoinverse of each matrix, of any shape and rank.

    Singular values up to `rtol` times the largest count as zero; without one, up to the dtype's
    precision times the larger size. It is a number, or one for each matrix, and has no gradient.
    The gradient is that of matrices of the same rank
    (G. Golub, V. Pereyra, 1973, The differentiation of pseudo-inverses, equation 4.12).

    >>> pinv([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    Tensor([[0.5, 0. ],
            [0. , 0. ],
            [0. , 0. ]], dtype=float32)
    """

    square = False
    references = {
        "tensorflow": lambda tf, x, rtol: tf.linalg.pinv(x, rtol),
        "torch": lambda torch, x, rtol: torch.linalg.pinv(x, rtol=rtol),
        "jax": lambda jax, x, rtol: jax.numpy.linalg.pinv(x, rtol=rtol),
    }
    examples = (
        example((3, 3), rtol=None),
        example((3, 2), rtol=None),
        example((2, 3), rtol=1e-3),
        example((2, 3, 2), rtol=None),
        example((1, 1), rtol=None),
    )

    def __call__(self, x: TensorLike, /, *, rtol: TensorLike | None = None) -> Tensor:
        def wide(x: Tensor) -> Tensor:
            return apply(self, x, _rtol("pinv", rtol, x))

        found: Tensor = through_float32(wide, [as_float(x)])
        return found

    def forward(self, xp: Any, x: Array, rtol: Array) -> Array:
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
        large = s > s[..., :1] * rtol[..., 0]
        inverses = xp.where(large, 1 / xp.where(large, s, xp.ones((), s.dtype)), s * 0)
        return xp.matmul(vh.swapaxes(-1, -2) * inverses[..., None, :], u.swapaxes(-1, -2))

    def infer(self, x: Any, rtol: Any) -> Aval:
        shape, dtype = self.check(x)
        front = broadcast_shapes("pinv", shape[:-2], rtol.shape[:-2])
        return Aval((*front, shape[-1], shape[-2]), dtype)

    gradients = (lambda g, out, x, rtol: _of_pinv(g, out, x), None)


def _of_pinv(g: Tensor, p: Tensor, x: Tensor) -> Tensor:
    pt, gt = matrix_transpose(p), matrix_transpose(g)
    found = -matmul(matmul(pt, g), pt)
    # What lies outside of the row or column space; of nothing, where it is all of it.
    spread = matmul(matmul(gt, p), pt)
    found = found + spread - matmul(x, matmul(p, spread))
    spread = matmul(matmul(pt, p), gt)
    return found + spread - matmul(matmul(spread, p), x)


def _rtol(name: str, rtol: TensorLike | None, x: Tensor) -> Tensor:
    """In parts of its largest singular value, how large a matrix's may be and count as zero: in a
    shape that broadcasts over its elements."""
    if rtol is None:
        rtol = builtins.max(x.shape[-2:], default=0) * _eps(x.dtype)
    elif not isinstance(rtol, (Tensor, np.ndarray, list, tuple)):
        rtol = not_negative(name, "rtol", rtol)
    return _scalars(stop_gradient(conversion.as_tensor(rtol, x.dtype, x)))


def _eps(dtype: DType) -> float:
    """The precision that matrices of this dtype are computed in."""
    return float(np.finfo(dtypes.float64 if dtype.itemsize == 8 else dtypes.float32).eps)


pinv = Pinv()


# Systems of linear equations


class Solve(OfMatrices):
    """The x for which a x = b: of each square matrix a, for each column of b.

    b is a vector if it has one axis, else matrices (..., n, k); axes in front broadcast. The
    gradient of b is another solve, of the transposed matrix (Giles 2008, 2.3.1).

    Raises LinAlgError for a singular matrix (on device xla the result is infinite or NaN),
    ShapeError where the sizes do not fit.

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0])
    Tensor([0.5 , 0.25], dtype=float32)
    """

    failure = _SINGULAR
    references = {
        "tensorflow": "linalg.solve",
        "torch": "linalg.solve",
        "jax": "numpy.linalg.solve",
    }
    examples = (
        example((3, 3), (3, 2)),
        example((2, 2, 2), (2, 2, 1)),
        example((1, 1), (1, 3)),
        example((0, 2, 2), (0, 2, 3)),
    )

    def __call__(self, x1: TensorLike, x2: TensorLike, /) -> Tensor:
        return _solved(super().__call__, x1, x2)

    def forward(self, xp: Any, a: Array, b: Array) -> Array:
        return xp.linalg.solve(a, b)

    def infer(self, a: Any, b: Any, **params: Any) -> Aval:
        shape, dtype = self.check(a, b)
        if shape[-1] != b.shape[-2]:
            raise ShapeError(
                f"{self.name}: matrices of shape {shape} do not fit right sides of shape "
                f"{b.shape}: {shape[-1]} columns, {b.shape[-2]} rows"
            )
        front = broadcast_shapes(self.name, shape[:-2], b.shape[:-2])
        return Aval((*front, *b.shape[-2:]), dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        of_b = apply(self, matrix_transpose(inputs[0]), cotangent)
        return [-matmul(of_b, matrix_transpose(out)) if needed[0] else None, of_b]


solve = Solve()


class SolveTriangular(OfMatrices):
    """The x for which a x = b, where a is triangular: only its upper triangle is read, or with
    `lower` its lower one. Shapes and right sides are as for `solve`.

    Raises LinAlgError where there is a zero on the diagonal (on device xla the result is infinite
    or NaN). Also named `triangular_solve`.

    >>> solve_triangular([[2.0, 0.0], [1.0, 1.0]], [4.0, 3.0], lower=True)
    Tensor([2., 1.], dtype=float32)
    """

    failure = "a matrix has a zero on its diagonal: it is singular"
    references = {
        "tensorflow": lambda tf, a, b, lower: tf.linalg.triangular_solve(a, b, lower),
        "torch": lambda torch, a, b, lower: torch.linalg.solve_triangular(a, b, upper=not lower),
        "jax": lambda jax, a, b, lower: jax.scipy.linalg.solve_triangular(a, b, lower=lower),
    }
    examples = (
        example((3, 3), (3, 2), lower=False),
        example((3, 3), (3, 2), lower=True),
        example((2, 2, 2), (2, 2, 1), lower=True),
        example((1, 1), (1, 3), lower=False),
        example((0, 2, 2), (0, 2, 3), lower=False),
    )
    infer = Solve.infer

    def __call__(self, a: TensorLike, b: TensorLike, /, lower: bool = False) -> Tensor:
        return _solved(super().__call__, a, b, lower=bool(lower))

    def forward(self, xp: Any, a: Array, b: Array, *, lower: bool) -> Array:
        if lower:  # with rows and columns in reverse it is an upper one
            found = _substituted(xp, xp.tril(a)[..., ::-1, ::-1], b[..., ::-1, :])
            return found[..., ::-1, :]
        return _substituted(xp, xp.triu(a), b)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        a, lower = inputs[0], params["lower"]
        of_b = apply(self, matrix_transpose(a), cotangent, lower=not lower)
        if not needed[0]:
            return [None, of_b]
        of_a = -matmul(of_b, matrix_transpose(out))
        return [tril(of_a) if lower else triu(of_a), of_b]


def _substituted(xp: Any, a: Array, b: Array) -> Array:
    """Back substitution, block by block. LAPACK's solver has nothing to eliminate or to exchange in
    an upper triangle, so on a small block it is just that."""
    n = a.shape[-1]
    if n <= _BLOCK:
        return xp.linalg.solve(a, b)
    half = n // 2
    last = _substituted(xp, a[..., half:, half:], b[..., half:, :])
    rest = b[..., :half, :] - xp.matmul(a[..., :half, half:], last)
    return xp.concatenate([_substituted(xp, a[..., :half, :half], rest), last], -2)


_BLOCK = 64

solve_triangular = SolveTriangular()
triangular_solve = solve_triangular


def _solved(solver: Callable[..., Tensor], a: TensorLike, b: TensorLike, **params: Any) -> Tensor:
    """`solver` of matrices, and of right sides that may be one vector."""
    a, b = conversion.as_tensors(a, b)
    if b.ndim != 1:
        return solver(a, b, **params)
    found = solver(a, reshape(b, (*b.shape, 1)), **params)
    return reshape(found, found.shape[:-1])


# Factorizations


class Cholesky(OfMatrices):
    """The lower triangular l with l lᵀ = x, of each symmetric positive definite matrix; with
    `upper`, lᵀ. Only the triangle of x where l, or lᵀ, has its elements is read.

    The gradient is symmetric, as in PyTorch and TensorFlow: that of moving both of x_ij and x_ji by
    half (Murray 2016, equation 10).

    Raises LinAlgError for a matrix that is not positive definite (on device xla: NaN).

    >>> cholesky([[4.0, 2.0], [2.0, 2.0]])
    Tensor([[2., 0.],
            [1., 1.]], dtype=float32)
    """

    failure = "a matrix is not positive definite, to the precision of its dtype"
    gradients = (lambda g, out, x: _of_cholesky(g, out),)
    references = {
        "tensorflow": "linalg.cholesky",
        "torch": "linalg.cholesky",
        "jax": "numpy.linalg.cholesky",
    }
    examples = _SQUARES

    def __call__(self, x: TensorLike, /, *, upper: bool = False) -> Tensor:
        if upper:
            return matrix_transpose(self(matrix_transpose(_matrices("cholesky", x))))
        found: Tensor = super().__call__(x)
        return found

    def forward(self, xp: Any, x: Array) -> Array:
        return xp.linalg.cholesky(_from_lower(xp, x))

    def infer(self, x: Any) -> Aval:
        return self.check(x)


cholesky = Cholesky()


def _from_lower(xp: Any, x: Array) -> Array:
    """The symmetric matrix of a lower triangle: NumPy and LAPACK read no more, JAX does."""
    return x if xp is np else xp.tril(x) + xp.tril(x, -1).swapaxes(-1, -2)


def _of_cholesky(g: Tensor, lower: Tensor) -> Tensor:
    middle = _mirrored(matmul(matrix_transpose(lower), g))
    identity = eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
    inverse = apply(solve_triangular, lower, identity, lower=True)
    return matmul(matmul(matrix_transpose(inverse), middle), inverse * 0.5)


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class QR(OfMatrices):
    """x = q r, of each matrix: q has orthonormal columns, r is upper triangular.

    `mode` "reduced": q is (..., m, k) and r (..., k, n), with k the smaller of m and n. "complete":
    q is (..., m, m) and r (..., m, n). Signs are LAPACK's: r may have negative numbers on its
    diagonal.

    There is a gradient where the first k columns are linearly independent (S. Walter, L. Lehmann,
    Algorithmic differentiation of linear algebra functions, 2012; for wide matrices D. Roberts,
    L. Roberts, arXiv:2009.10071); otherwise asking for it raises LinAlgError. Tall matrices have
    one in mode "reduced" only, as in PyTorch and JAX: the other columns of q are not unique.

    >>> q, r = qr([[0.0, 1.0], [2.0, 0.0]])
    >>> matmul(q, r)
    Tensor([[0., 1.],
            [2., 0.]], dtype=float32)
    """

    square = False
    references = {
        "tensorflow": lambda tf, x, mode: tf.linalg.qr(x, mode == "complete"),
        "torch": lambda torch, x, mode: torch.linalg.qr(x, mode),
        "jax": lambda jax, x, mode: jax.numpy.linalg.qr(x, mode),
    }
    examples = (
        example((3, 3), mode="reduced"),
        example((3, 2), mode="reduced"),
        example((2, 3), mode="reduced"),
        example((2, 3, 2), mode="reduced"),
        example((1, 1), mode="reduced"),
        example((2, 2), mode="complete"),
        example((0, 3, 2), mode="reduced"),
    )

    def __call__(
        self, x: TensorLike, /, *, mode: Literal["reduced", "complete"] = "reduced"
    ) -> QRResult:
        if mode not in ("reduced", "complete"):
            raise ArgumentError(f"qr: mode is 'reduced' or 'complete', not {mode!r}")
        return QRResult(*super().__call__(x, mode=mode))

    def forward(self, xp: Any, x: Array, *, mode: str) -> tuple[Array, ...]:
        return tuple(xp.linalg.qr(x, mode))

    def infer(self, x: Any, *, mode: str) -> tuple[Aval, Aval]:
        (*front, m, n), dtype = self.check(x)
        k = builtins.min(m, n) if mode == "reduced" else m
        return Aval((*front, m, k), dtype), Aval((*front, k, n), dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor]:
        (q, r), (of_q, of_r), x = out, cotangent, inputs[0]
        m, n = x.shape[-2:]
        if m > n and params["mode"] == "complete":
            raise GradientError(
                f"qr: no gradient of a tall matrix (shape {x.shape}) in mode 'complete', for its q "
                "is not unique: use mode 'reduced'"
            )
        if m >= n:
            return [_of_tall_qr(of_q, of_r, q, r)]
        # r = (u, v), x = (y, z): y = q u as above, and v = qᵀ z.
        z, of_v = x[..., m:], of_r[..., m:]
        of_q = of_q + matmul(z, matrix_transpose(of_v))
        of_y = _of_tall_qr(of_q, of_r[..., :m], q, r[..., :m])
        return [concat([of_y, matmul(q, of_v)], axis=-1)]


def _of_tall_qr(of_q: Tensor, of_r: Tensor, q: Tensor, r: Tensor) -> Tensor:
    middle = matmul(r, matrix_transpose(of_r)) - matmul(matrix_transpose(of_q), q)
    right = of_q + matmul(q, _mirrored(middle))
    found = apply(solve_triangular, r, matrix_transpose(right), lower=False)
    return matrix_transpose(found)


qr = QR()


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class Eigh(OfMatrices):
    """The eigenvalues of each symmetric matrix, in ascending order, and its orthonormal
    eigenvectors, as columns. Only the lower triangle of x is read.

    The gradient is symmetric (Giles 2008, 3.1). Eigenvectors of equal eigenvalues are not unique:
    what would turn them into each other has gradient 0, as in TensorFlow (in PyTorch and JAX it is
    NaN), and the gradient is right for what depends on the eigenvalues, symmetrically, or on the
    space that such vectors span.

    >>> eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
    Tensor([1., 2.], dtype=float32)
    """

    references = {
        "tensorflow": "linalg.eigh",
        "torch": "linalg.eigh",
        "jax": "numpy.linalg.eigh",
    }
    examples = _SQUARES

    def __call__(self, x: TensorLike, /) -> EighResult:
        return EighResult(*super().__call__(x))

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return tuple(xp.linalg.eigh(_from_lower(xp, x)))

    def infer(self, x: Any) -> tuple[Aval, Aval]:
        shape, dtype = self.check(x)
        return Aval(shape[:-1], dtype), Aval(shape, dtype)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor]:
        (values, vectors), (of_values, of_vectors) = out, cotangent
        n = values.shape[-1]
        gaps = _row(values) - _column(values)
        transposed = matrix_transpose(vectors)
        turns = matmul(transposed, of_vectors) * _inverse_or_zero(gaps)
        inside = where(np.eye(n, dtype=bool), _row(of_values), turns)
        return [_symmetric(matmul(matmul(vectors, inside), transposed))]


def _row(x: Tensor) -> Tensor:
    """The last axis as a row of a matrix."""
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _column(x: Tensor) -> Tensor:
    """The last axis as a column of a matrix."""
    return reshape(x, (*x.shape, 1))


eigh = Eigh()


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class SVD(OfMatrices):
    """x = u diag(s) vᵀ, of each matrix: u and v have orthonormal columns, and the singular values s
    descend. The result has u, s and vᵀ.

    With `full_matrices` u is (..., m, m) and vᵀ (..., n, n); without, they have as many columns and
    rows as there are singular values.

    The gradient (Townsend 2016) is 0 for what would turn vectors of equal singular values into each
    other, or into those of the value 0, for they are not unique; see `eigh`. With `full_matrices`
    only square matrices have one, and asking for another raises GradientError.

    >>> svd([[3.0, 0.0], [0.0, -4.0]]).S
    Tensor([4., 3.], dtype=float32)
    """

    square = False
    references = {
        "tensorflow": lambda tf, x, full_matrices: (
            lambda s, u, v: (u, s, tf.linalg.matrix_transpose(v))
        )(*tf.linalg.svd(x, full_matrices)),
        "torch": lambda torch, x, full_matrices: torch.linalg.svd(x, full_matrices),
        "jax": lambda jax, x, full_matrices: jax.numpy.linalg.svd(x, full_matrices),
    }
    examples = (
        example((3, 3), full_matrices=True),
        example((3, 2), full_matrices=False),
        example((2, 3), full_matrices=False),
        example((2, 3, 2), full_matrices=False),
        example((1, 1), full_matrices=True),
        example((0, 3, 2), full_matrices=False),
    )

    def __call__(self, x: TensorLike, /, *, full_matrices: bool = True) -> SVDResult:
        return SVDResult(*super().__call__(x, full_matrices=bool(full_matrices)))

    def forward(self, xp: Any, x: Array, *, full_matrices: bool) -> tuple[Array, ...]:
        return tuple(xp.linalg.svd(x, full_matrices=full_matrices))

    def infer(self, x: Any, *, full_matrices: bool) -> tuple[Aval, Aval, Aval]:
        (*front, m, n), dtype = self.check(x)
        k = builtins.min(m, n)
        rows, columns = (m, n) if full_matrices else (k, k)
        return (
            Aval((*front, m, rows), dtype),
            Aval((*front, k), dtype),
            Aval((*front, columns, n), dtype),
        )

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor]:
        m, n = inputs[0].shape[-2:]
        if m != n and params["full_matrices"]:
            raise GradientError(
                f"svd: no gradient of a matrix that is not square (shape {inputs[0].shape}) with "
                "full_matrices=True, for its vectors are not unique: use full_matrices=False"
            )
        (u, s, vh), (of_u, of_s, of_vh) = out, cotangent
        ut, v, of_v = matrix_transpose(u), matrix_transpose(vh), matrix_transpose(of_vh)
        gaps = (_row(s) - _column(s)) * (_row(s) + _column(s))
        factors, inverses = _inverse_or_zero(gaps), _inverse_or_zero(s)
        turn_u, turn_v = matmul(ut, of_u), matmul(vh, of_v)
        inside = factors * (turn_u - matrix_transpose(turn_u)) * _row(s)
        inside = inside + _column(s) * (factors * (turn_v - matrix_transpose(turn_v)))
        inside = where(np.eye(builtins.min(m, n), dtype=bool), _row(of_s), inside)
        found = matmul(matmul(u, inside), vh)
        if m > n:
            outside = of_u - matmul(u, turn_u)
            found = found + matmul(outside * _row(inverses), vh)
        if n > m:
            outside = matrix_transpose(of_v - matmul(v, turn_v))
            found = found + matmul(u, _column(inverses) * outside)
        return [found]


svd = SVD()


def eigvalsh(x: TensorLike, /) -> Tensor:
    """The eigenvalues of each symmetric matrix, in ascending order; see `eigh`.

    >>> eigvalsh([[2.0, 0.0], [0.0, 1.0]])
    Tensor([1., 2.], dtype=float32)
    """
    return eigh(x).eigenvalues


def svdvals(x: TensorLike, /) -> Tensor:
    """The singular values of each matrix, in descending order; see `svd`.

    >>> svdvals([[3.0, 0.0], [0.0, -4.0]])
    Tensor([4., 3.], dtype=float32)
    """
    return svd(_matrices("svdvals", x), full_matrices=False).S


# Norms


class VectorNorm(Op):
    """The norm of vectors along axes (without any, of all elements as one vector).

    `ord` p gives (sum |x|^p)^(1/p), for any p; inf and -inf the largest and the smallest |x|, 0 how
    many are not zero. Where the norm is 0 its gradient is 0, as in PyTorch (NaN in TensorFlow and
    JAX); the largest share it in a tie.

    >>> vector_norm([3.0, 4.0]), vector_norm([3.0, -4.0], ord=1)
    (Tensor(5., dtype=float32), Tensor(7., dtype=float32))
    """

    references = {
        "tensorflow": lambda tf, x, ord, axis, keepdims: _tensorflow_norm(
            tf, x, ord, axis, keepdims
        ),
        "torch": lambda torch, x, ord, axis, keepdims: torch.linalg.vector_norm(
            x, ord, axis, keepdims
        ),
        "jax": "numpy.linalg.vector_norm",
    }
    domain = real(-3, 3, away=(0,))
    examples = (
        example((), ord=2, axis=None, keepdims=False),
        example((3,), ord=2, axis=0, keepdims=True),
        example((2, 3), ord=2, axis=(0, 1), keepdims=False),
        example((2, 3), ord=2, axis=-2, keepdims=False),
        example((2, 3), ord=1, axis=-1, keepdims=False),
        example((2, 3), ord=3, axis=0, keepdims=False),
        example((2, 1, 3), ord=np.inf, axis=-1, keepdims=True),
        example((2, 3), ord=-np.inf, axis=1, keepdims=False),
        example((2, 3), ord=0, axis=1, keepdims=False),
        example((0, 3), ord=2, axis=1, keepdims=False),
    )
    gradients = (lambda g, out, x, axis, keepdims: _of_norm(g, out, x, axis),)

    def __call__(
        self, x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2
    ) -> Tensor:
        return _vector_norm("vector_norm", x, axis, keepdims, ord)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            if dtype.itemsize == 2:
                x = x.astype(dtypes.float32)
            if xp is np and len(axis) == x.ndim and not keepdims:
                row = x.ravel()
                return np.sqrt(row.dot(row)).astype(dtype)
            return xp.sqrt((x * x).sum(axis=axis, keepdims=keepdims)).astype(dtype)

        return compute

    def infer(self, x: Aval, *, axis: tuple[int, ...], keepdims: bool) -> Aval:
        kept = kept_shape(x.shape, axis)
        shape = kept if keepdims else tuple(s for i, s in enumerate(kept) if i not in axis)
        return Aval(shape, x.dtype)


vector_norm = VectorNorm()


def _tensorflow_norm(tf: Any, x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    """TensorFlow's norm knows no orders below 1, and its 2-norm is one of two axes at a time."""
    if ord == -np.inf:
        return tf.reduce_min(tf.abs(x), axis, keepdims)
    if ord == 0:
        return tf.reduce_sum(tf.cast(x != 0, x.dtype), axis, keepdims)
    if ord == 2:
        return tf.sqrt(tf.reduce_sum(x * x, axis, keepdims))
    return tf.norm(x, ord, axis, keepdims)


def _of_norm(g: Tensor, out: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    zero = equal(out, 0)
    slope = where(zero, 0.0, g / where(zero, 1.0, out))
    return reshape(slope, kept_shape(x.shape, axis)) * x


def _vector_norm(name: str, x: TensorLike, axis: Axis, keepdims: bool, ord: float) -> Tensor:
    if isinstance(ord, bool) or not isinstance(ord, numbers.Real):
        raise ArgumentError(f"{name}: ord of a vector is a number, not {ord!r}")
    x = as_float(x)
    dtype = x.dtype
    axes = normalize_axes(name, axis, x.ndim)
    if ord == 2:
        return unary(vector_norm, x, {"axis": axes, "keepdims": keepdims})
    if dtypes.is_half(dtype):
        return astype(_vector_norm(name, astype(x, dtypes.float32), axes, keepdims, ord), dtype)
    if ord == 0:
        return sum(astype(not_equal(x, 0), dtype), axis=axes, keepdims=keepdims)
    sizes = abs(x)
    if ord == 1:
        return sum(sizes, axis=axes, keepdims=keepdims)
    if ord in (np.inf, -np.inf):
        if not x.size and ord > 0:
            return sum(sizes, axis=axes, keepdims=keepdims)
        return (max if ord > 0 else min)(sizes, axis=axes, keepdims=keepdims)
    # At 0 a power is infinitely steep below 1, and what it is given instead has no slope.
    zero = equal(sizes, 0)
    powers = power(where(zero, 1.0, sizes), float(ord))
    total = sum(where(zero, 0.0 if ord > 0 else np.inf, powers), axis=axes, keepdims=keepdims)
    none = equal(total, 0)
    of_none = 0.0 if ord > 0 else np.inf
    return where(none, of_none, power(where(none, 1.0, total), 1.0 / ord))


MatrixOrder = int | float | Literal["fro", "nuc"] | None


def matrix_norm(x: TensorLike, /, *, keepdims: bool = False, ord: MatrixOrder = "fro") -> Tensor:
    """The norm of each matrix, along the last two axes.

    `ord` "fro" (or None): the root of the sum of squares; "nuc": the sum of the singular values;
    2 and -2: the largest and the smallest of them; 1 and -1: the largest and the smallest sum of
    |x| down a column; inf and -inf: the same along a row. Gradients at 0 are those of
    `vector_norm`, `max` and `svd`.

    >>> matrix_norm([[3.0, 0.0], [0.0, 4.0]]), matrix_norm([[3.0, 0.0], [0.0, 4.0]], ord="nuc")
    (Tensor(5., dtype=float32), Tensor(7., dtype=float32))
    """
    return _matrix_norm("matrix_norm", as_float(_matrices("matrix_norm", x)), keepdims, ord)


def _matrix_norm(name: str, x: Tensor, keepdims: bool, ord: MatrixOrder) -> Tensor:
    if ord is None or ord == "fro":
        return _vector_norm(name, x, (-2, -1), keepdims, 2)
    if ord in (1, 2, np.inf) and 0 in x.shape[-2:]:  # of no numbers, there is no largest
        return sum(abs(x), axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc" or ord in (2, -2):
        values = svdvals(x)
        chosen = {"nuc": sum, 2: max, -2: min}[ord](values, axis=-1)
        return _scalars(chosen) if keepdims else chosen
    if ord not in (1, -1, np.inf, -np.inf):
        raise ArgumentError(
            f"{name}: ord of a matrix is 'fro', 'nuc', 1, -1, 2, -2, inf, -inf or None, not {ord!r}"
        )
    rows = ord in (np.inf, -np.inf)
    sums = sum(abs(x), axis=-1 if rows else -2, keepdims=True)
    extreme: Tensor = (max if ord > 0 else min)(sums, axis=(-2, -1), keepdims=keepdims)
    return extreme


def norm(
    x: TensorLike, /, ord: MatrixOrder = None, axis: Axis = None, keepdims: bool = False
) -> Tensor:
    """NumPy's norm: of vectors along one axis, or of matrices along two.

    Without `ord` it is the 2-norm of all elements along `axis` (one, two or None: all). With one, x
    without an `axis` must be a vector or a matrix. See `vector_norm` and `matrix_norm` for the
    orders, and for the gradient at 0: it is 0, as in PyTorch.

    >>> norm([[3.0, 0.0], [0.0, 4.0]]), norm([[3.0, 4.0], [6.0, 8.0]], axis=-1)
    (Tensor(5., dtype=float32), Tensor([ 5., 10.], dtype=float32))
    """
    x = as_float(x)
    if ord is None and axis is None:
        return _vector_norm("norm", x, None, keepdims, 2)
    given = tuple(range(x.ndim)) if axis is None else axis
    places = list(given) if isinstance(given, (tuple, list)) else [given]
    places = [normalize_axis("norm", a, x.ndim) for a in places]
    if len(places) == 1:
        return _vector_norm("norm", x, places[0], keepdims, 2 if ord is None else ord)  # type: ignore[arg-type]
    if len(places) != 2 or places[0] == places[1]:
        raise ArgumentError(
            f"norm: of ord {ord!r} it is along one axis or two, not {axis!r} of shape {x.shape}"
        )
    found = _matrix_norm("norm", moveaxis(x, places, (-2, -1)), keepdims, ord)
    return moveaxis(found, (-2, -1), places) if keepdims else found


# What is made of these


def diagonal(x: TensorLike, /, *, offset: int = 0) -> Tensor:
    """The diagonal of each matrix, along the last two axes (`edu.ops.diagonal`: the first two).

    >>> diagonal(np.zeros((5, 2, 3))).shape
    (5, 2)
    """
    return movement.diagonal(_matrices("diagonal", x), offset, -2, -1)


def trace(x: TensorLike, /, *, offset: int = 0, dtype: DTypeLike = None) -> Tensor:
    """The sum of the diagonal of each matrix, along the last two axes (`edu.ops.trace`: the first
    two), in `dtype` if there is one.

    >>> trace(np.ones((5, 2, 3))).shape
    (5,)
    """
    x = _matrices("trace", x)
    return movement.trace(x if dtype is None else astype(x, dtype), offset, -2, -1)


def matrix_power(x: TensorLike, n: int, /) -> Tensor:
    """Each square matrix multiplied with itself: x to the power n, by repeated squaring. 0 gives
    the identity, a negative n powers of the inverse.

    >>> matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]], dtype=float32)
    """
    base = conversion.as_tensor(x)
    n = whole("matrix_power", "n", n)
    if base.ndim < 2 or base.shape[-1] != base.shape[-2]:
        raise ShapeError(f"matrix_power: the matrices must be square, not of shape {base.shape}")
    if n == 0:
        return broadcast_to(eye(base.shape[-1], dtype=base.dtype, device=base.device), base.shape)
    if n < 0:
        base, n = inv(base), -n
    found: Tensor | None = None
    while True:
        if n % 2:
            found = base if found is None else matmul(found, base)
        n //= 2
        if not n:
            assert found is not None
            return found
        base = matmul(base, base)


def matrix_rank(x: TensorLike, /, *, rtol: TensorLike | None = None) -> Tensor:
    """How many singular values of each matrix are above `rtol` times the largest (without one, the
    dtype's precision times the larger size), as int32. `rtol` is a number, or one for each matrix.
    No gradient: it is a count.

    >>> matrix_rank([[1.0, 2.0], [2.0, 4.0]])
    Tensor(1, dtype=int32)
    """
    x = stop_gradient(as_float(_matrices("matrix_rank", x)))
    values = svdvals(astype(x, dtypes.float32) if dtypes.is_half(x.dtype) else x)
    limit = values[..., :1] * _rtol("matrix_rank", rtol, x)[..., 0]
    return sum(astype(greater(values, limit), dtypes.int32), axis=-1)


class Cross(Op):
    """The cross product of vectors of three elements, along one axis; the others broadcast.

    `axis` counts from the end, in both. Raises ShapeError unless its size is 3.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    Tensor([0., 0., 1.], dtype=float32)
    """

    gradients = (
        lambda g, _, x, y: apply(cross, y, g),
        lambda g, _, x, y: apply(cross, g, x),
    )
    references = {
        "tensorflow": "experimental.numpy.cross",
        "torch": lambda torch, x, y: torch.linalg.cross(*torch.broadcast_tensors(x, y)),
        "jax": "numpy.cross",
    }
    examples = (
        example((3,), (3,)),
        example((2, 3), (2, 3)),
        example((4, 1, 3), (2, 3)),
        example((0, 3), (1, 3)),
    )

    def __call__(self, x1: TensorLike, x2: TensorLike, /, *, axis: int = -1) -> Tensor:
        if type(axis) is int and axis == -1:
            return apply(self, x1, x2)
        x1, x2 = conversion.as_tensors(x1, x2)
        places = [normalize_axis("cross", axis, x.ndim) for x in (x1, x2)]
        found = apply(self, moveaxis(x1, places[0], -1), moveaxis(x2, places[1], -1))
        return moveaxis(found, -1, axis)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return in_float32(xp, self.forward)

    def forward(self, xp: Any, x: Array, y: Array) -> Array:
        if x.shape[-1:] != (3,) or y.shape[-1:] != (3,):
            self.infer(x, y)
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        d, e, f = y[..., 0], y[..., 1], y[..., 2]
        return xp.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)

    def infer(self, x: Any, y: Any) -> Aval:
        shapes = [getattr(z, "shape", ()) for z in (x, y)]
        if not all(shape and shape[-1] == 3 for shape in shapes):
            raise ShapeError(
                f"cross: takes vectors of size 3, not along the axis of shapes {shapes[0]} and "
                f"{shapes[1]}"
            )
        return Aval(broadcast_shapes("cross", *shapes), x.dtype)

    batch = OfMatrices.batch


cross = Cross()
