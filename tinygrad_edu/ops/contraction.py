"""Operations that multiply and sum along shared axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes, tensors
from ..backends import Array
from ..errors import ShapeError
from ..op import Aval, Op, Shape, apply, binary, broadcast_shapes, example, unary
from ..tensors import Operators, Tensor, TensorLike
from .movement import permute_dims, reshape, swapped

__all__ = [
    "matmul",
]


class Matmul(Op):
    """The product of matrices, for each pair of them along the axes in front.

    Shapes (..., n, k) and (..., k, m) give (..., n, m); a vector is a row on the left, a column on
    the right. Halves accumulate in float32.
    """

    gradients = (
        lambda g, out, x, y: binary(matmul, g, unary(permute_dims, y, swapped(y._data.ndim))),
        lambda g, out, x, y: binary(matmul, unary(permute_dims, x, swapped(x._data.ndim)), g),
    )
    references = {
        "tensorflow": "experimental.numpy.matmul",
        "torch": "matmul",
        "jax": "numpy.matmul",
    }

    examples = (
        example((2, 3), (3, 4)),
        example((3, 2), (2, 3)),
        example((3,), (3,)),
        example((3,), (3, 2)),
        example((2, 3), (3,)),
        example((2, 1, 2, 3), (3, 3, 2)),
        example((3,), (2, 3, 2)),
        example((0, 3), (3, 2)),
        example((2, 0), (0, 3)),
    )

    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor:
        if isinstance(x, Operators) and isinstance(y, Operators):
            x, y = x.value, y.value
        else:
            x, y = tensors.as_tensors(x, y)
        if x._data.ndim > 1 and y._data.ndim > 1:
            return binary(self, x, y)
        if not (x.ndim and y.ndim):
            raise ShapeError(f"matmul: shapes {x.shape} and {y.shape} have no axis to sum along")
        if x.shape[-1] != y.shape[-2 if y.ndim > 1 else -1]:
            raise _misfit(x.shape, y.shape)
        rows = reshape(x, (1, -1)) if x.ndim == 1 else x
        columns = reshape(y, (-1, 1)) if y.ndim == 1 else y
        found = apply(self, rows, columns)
        shape = list(found.shape)
        if y.ndim == 1:
            del shape[-1]
        if x.ndim == 1:
            del shape[-1 if y.ndim == 1 else -2]
        return reshape(found, shape)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        product, wide = xp.matmul, dtypes.float32

        def compute(x: Array, y: Array) -> Array:
            dtype = x.dtype
            if dtype.itemsize == 2 and dtypes.is_half(dtype):
                return product(x.astype(wide), y.astype(wide)).astype(dtype)
            return product(x, y)

        return compute

    def infer(self, x: Aval, y: Aval) -> Aval:
        if x.shape[-1] != y.shape[-2]:
            raise _misfit(x.shape, y.shape)
        front = broadcast_shapes("matmul", x.shape[:-2], y.shape[:-2])
        return Aval((*front, x.shape[-2], y.shape[-1]), x.dtype)


def _misfit(x: Shape, y: Shape) -> ShapeError:
    rows = y[-2 if len(y) > 1 else -1]
    return ShapeError(
        f"matmul: shapes {x} and {y} do not fit: the last size of the first, {x[-1]}, must equal "
        f"the {'last but one' if len(y) > 1 else 'only'} size of the second, {rows}"
    )


matmul = Matmul()
