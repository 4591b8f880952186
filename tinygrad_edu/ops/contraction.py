"""Operations that multiply and sum along shared axes."""

from __future__ import annotations

from typing import Any

from .. import dtypes, tensors
from ..backends import Array
from ..errors import ShapeError
from ..op import Aval, Op, apply, broadcast_shapes
from ..tensors import Tensor, TensorLike
from .movement import matrix_transpose, reshape


class Matmul(Op):
    """The product of matrices, for each pair of them along the axes in front.

    Shapes (..., n, k) and (..., k, m) give (..., n, m); a vector is a row on the left, a column on
    the right. Halves accumulate in float32.
    """

    gradients = (
        lambda g, out, x, y: matmul(g, matrix_transpose(y)),
        lambda g, out, x, y: matmul(matrix_transpose(x), g),
    )
    references = {"tensorflow": "matmul", "torch": "matmul", "jax": "numpy.matmul"}

    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor:
        x, y = tensors.as_tensor(x), tensors.as_tensor(y)
        if x.ndim >= 2 and y.ndim >= 2:
            return apply(self, x, y)
        if not (x.ndim and y.ndim):
            raise ShapeError(f"matmul: shapes {x.shape} and {y.shape} have no axis to sum along")
        rows = reshape(x, (1, -1)) if x.ndim == 1 else x
        columns = reshape(y, (-1, 1)) if y.ndim == 1 else y
        self.infer(Aval(rows.shape, rows.dtype), Aval(columns.shape, columns.dtype))
        found = apply(self, rows, columns)
        shape = list(found.shape)
        if y.ndim == 1:
            del shape[-1]
        if x.ndim == 1:
            del shape[-1 if y.ndim == 1 else -2]
        return reshape(found, shape)

    def forward(self, xp: Any, x: Array, y: Array) -> Array:
        if dtypes.is_half(x.dtype):
            wide = dtypes.float32
            return xp.matmul(x.astype(wide), y.astype(wide)).astype(x.dtype)
        return xp.matmul(x, y)

    def infer(self, x: Aval, y: Aval) -> Aval:
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                f"matmul: shapes {x.shape} and {y.shape} do not fit: the last size of the first, "
                f"{x.shape[-1]}, must equal the last but one of the second, {y.shape[-2]}"
            )
        front = broadcast_shapes("matmul", x.shape[:-2], y.shape[:-2])
        return Aval((*front, x.shape[-2], y.shape[-1]), x.dtype)


matmul = Matmul()
