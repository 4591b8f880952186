"""Operations that multiply and sum along shared axes.

There is one primitive, the product of matrices; the others bring their operands into its form,
einsum by a plan that is made once for each expression and shapes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import batching, conversion, dtypes, tensors
from ..arguments import Shape, broadcast_shapes, normalize_axis
from ..backends import Array
from ..dispatch import binary, unary
from ..errors import ArgumentError, ShapeError
from ..op import Aval, Op, promoted
from ..references import example
from ..tensors import Tensor, TensorLike
from .elementwise import astype, multiply
from .movement import diagonal, moveaxis, permute_dims, reshape, sum_to, swapped
from .reduction import sum

__all__ = [
    "dot",
    "einsum",
    "inner",
    "kron",
    "matmul",
    "outer",
    "tensordot",
    "vecdot",
]


def _of_left(g: Any, _: Any, x: Any, y: Any) -> Any:
    """The cotangent of x: g yᵀ, already summed where that is less work."""
    a, b = x.ndim, y.ndim
    if not isinstance(g, Tensor):
        if a == b == 2:
            return _multiplied(g, y.mT)
        return _of_left(tensors.around(g), None, *map(tensors.around, (x, y)))._data
    if a == 1 or b == 1:
        if a == b:
            return g * y
        g, rows, columns = _as_matrices(g, x, y)
        return reshape(sum_to(_of_left(g, _, rows, columns), rows.shape), x.shape)
    fold = _fold(x._data.shape, g._data.shape) if b > 2 else None
    if fold is not None:
        (n, k), m = x._data.shape[-2:], y._data.shape[-1]
        if n * k > (n + k) * m:  # the products before their sum are larger than a copy of both
            wide = fold.merged(g, last=True)
            return reshape(matmul(wide, _transposed(fold.merged(y, last=True))), x.shape)
    return binary(matmul, g, _transposed(y))


def _of_right(g: Any, _: Any, x: Any, y: Any) -> Any:
    """The cotangent of y: xᵀ g, summed over what y was broadcast to as part of the product."""
    a, b = x.ndim, y.ndim
    if not isinstance(g, Tensor):
        if a == b == 2:
            return _multiplied(x.mT, g)
        return _of_right(tensors.around(g), None, *map(tensors.around, (x, y)))._data
    if a == 1 or b == 1:
        if a == b:
            return g * x
        g, rows, columns = _as_matrices(g, x, y)
        return reshape(sum_to(_of_right(g, _, rows, columns), columns.shape), y.shape)
    fold = _fold(y._data.shape, g._data.shape) if a > 2 else None
    if fold is not None:
        tall = fold.merged(x, last=False)
        return reshape(matmul(_transposed(tall), fold.merged(g, last=False)), y.shape)
    return binary(matmul, _transposed(x), g)


def _transposed(x: Tensor) -> Tensor:
    return unary(permute_dims, x, swapped(x._data.ndim))


class Matmul(Op):
    """The product of matrices, for each pair of them along the axes in front.

    Shapes (..., n, k) and (..., k, m) give (..., n, m); a vector is a row on the left, a column on
    the right. The axes in front broadcast. Halves accumulate in float32; dtypes are promoted.

    Raises ShapeError where the sizes do not fit, or an operand has no axis.

    >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """

    linear = (0, 1)
    on_arrays = True
    gradients = (_of_left, _of_right)
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
        example((2, 2, 3), (3, 2)),
        example((2, 2, 3), (3,)),
        example((2, 3), (3, 3, 2)),
        example((4, 5), (2, 5, 1)),
        example((0, 3), (3, 2)),
        example((2, 0), (0, 3)),
        example((0, 2, 3), (3, 2)),
    )

    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor:
        return binary(self, x, y)

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        return 2 * math.prod(outputs[0].shape) * inputs[0].shape[-1]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        product, wide = xp.matmul, dtypes.float32

        def compute(x: Array, y: Array) -> Array:
            dtype = x.dtype
            if dtype.itemsize == 2 and dtypes.is_half(dtype):
                return product(x.astype(wide), y.astype(wide)).astype(dtype)
            return product(x, y)

        def merged(x: Array, y: Array) -> Array:
            """NumPy goes matrix by matrix: many that share one side are one tall one; and where
            nothing is to be summed, its `*` is faster than BLAS. Its `dot` is matmul with less in
            front of BLAS."""
            a, b = x.ndim, y.ndim
            if a == b == 2 and x.dtype.itemsize > 2 and x.shape[1] != 1:
                return x.dot(y)
            if a < 2 or b < 2 or x.shape[-1] != y.shape[-2]:
                return compute(x, y)
            if x.shape[-1] == 1:
                return x * y
            if a > 2 and b == 2:
                rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
                return compute(rows, y).reshape(*x.shape[:-1], y.shape[1])
            if a == 2 and b > 2 and y.shape[-1] == 1:
                return merged(y.swapaxes(-1, -2), x.T).swapaxes(-1, -2)
            return compute(x, y)

        return merged if xp is np else compute

    def infer(self, x: Any, y: Any) -> Aval:
        rows, columns = (z.shape if isinstance(z, Aval) else () for z in (x, y))
        if not (rows and columns):
            raise ShapeError(f"matmul: shapes {rows} and {columns} have no axis to sum along")
        if rows[-1] != columns[-2 if len(columns) > 1 else -1]:
            raise _misfit(rows, columns)
        front = broadcast_shapes("matmul", rows[:-2], columns[:-2])
        return Aval((*front, *rows[-2:-1], *columns[1:][-1:]), x.dtype)

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Tensor:
        x, y = inputs
        row, column = x.ndim - mapped[0] == 1, y.ndim - mapped[1] == 1
        x = reshape(x, (*x.shape[:-1], 1, x.shape[-1])) if row else x
        y = reshape(y, (*y.shape, 1)) if column else y
        ndim = max(x.ndim - mapped[0], y.ndim - mapped[1])
        found = matmul(*[batching.aligned(z, ndim) if m else z for z, m in zip((x, y), mapped)])  # noqa: B905
        shape = list(found.shape)
        if column:
            del shape[-1]
        if row:
            del shape[-1 if column else -2]
        return reshape(found, shape)


def _misfit(x: Shape, y: Shape) -> ShapeError:
    rows = y[-2 if len(y) > 1 else -1]
    return ShapeError(
        f"matmul: shapes {x} and {y} do not fit: the last size of the first, {x[-1]}, must equal "
        f"the {'last but one' if len(y) > 1 else 'only'} size of the second, {rows}"
    )


matmul = Matmul()
_multiplied = matmul.kernel(np)


def _as_matrices(g: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors made matrices of one row or column, and the cotangent to match."""
    if x._data.ndim == 1:
        g = reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
        return g, reshape(x, (1, x.size)), y
    return reshape(g, (*g.shape, 1)), x, reshape(y, (*y.shape, 1))


class _Fold(NamedTuple):
    """How the sum over the front axes on which an operand was repeated becomes part of a product:
    those axes move next to the one that is summed along, and merge with it."""

    kept: tuple[int, ...]
    folded: tuple[int, ...]
    ndim: int

    def merged(self, x: Tensor, last: bool) -> Tensor:
        """(front, n, m) as (kept, n, folded * m) if `last`, or as (kept, folded * n, m)."""
        shape = (*(1,) * (self.ndim - x._data.ndim), *x.shape)
        x = reshape(x, shape)
        n, m = self.ndim - 2, self.ndim - 1
        middle = (n, *self.folded, m) if last else (*self.folded, n, m)
        times = math.prod([shape[i] for i in self.folded])
        matrix = (shape[n], times * shape[m]) if last else (times * shape[n], shape[m])
        moved = permute_dims(x, (*self.kept, *middle))
        return reshape(moved, (*[shape[i] for i in self.kept], *matrix))


@functools.lru_cache(maxsize=4096)
def _fold(own: Shape, whole: Shape) -> _Fold | None:
    """How to undo the broadcast of the axes in front of `own` to those of `whole`, if any."""
    missing = len(whole) - len(own)
    front = range(len(whole) - 2)
    folded = tuple([i for i in front if i < missing or own[i - missing] != whole[i]])
    kept = tuple([i for i in front if i not in folded])
    return _Fold(kept, folded, len(whole)) if folded else None


def vecdot(x1: TensorLike, x2: TensorLike, /, *, axis: int = -1) -> Tensor:
    """The sum of products along one axis, whose size must be equal; the others broadcast.

    `axis` counts from the end, in both. Raises ShapeError for unequal sizes.

    >>> vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """
    x1, x2 = _promoted("vecdot", x1, x2)
    shapes = x1.shape, x2.shape
    if not all(shapes):
        raise ShapeError(f"vecdot: shapes {shapes[0]} and {shapes[1]} have no axis to sum along")
    places = [normalize_axis("vecdot", axis, len(shape)) for shape in shapes]
    if len({shape[i] for shape, i in zip(shapes, places, strict=True)}) > 1:
        raise ShapeError(
            f"vecdot: shapes {shapes[0]} and {shapes[1]} must have the same size along axis {axis}"
        )
    if x1.ndim == x2.ndim == 1:
        return matmul(x1, x2)
    x1, x2 = (moveaxis(x, i, -1) for x, i in zip((x1, x2), places, strict=True))
    front = broadcast_shapes("vecdot", x1.shape[:-1], x2.shape[:-1])
    # Many short products are faster as one pass each of * and +, long ones as BLAS's dot.
    if x1.shape[-1] < 16 or not dtypes.is_float(x1.dtype):
        return astype(sum(x1 * x2, axis=-1), x1.dtype)
    return reshape(matmul(reshape(x1, (*x1.shape[:-1], 1, -1)), reshape(x2, (*x2.shape, 1))), front)


def tensordot(
    x1: TensorLike,
    x2: TensorLike,
    /,
    *,
    axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2,
) -> Tensor:
    """The sum of products along pairs of axes: the last `axes` of x1 with the first ones of x2, or
    those that a pair of lists names.

    The result has the other axes of x1, then those of x2. Raises ShapeError where sizes differ:
    nothing broadcasts.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3)), axes=([1, 2], [1, 0])).tolist()
    [12.0, 12.0]
    """
    x1, x2 = _promoted("tensordot", x1, x2)
    first, second = _axes_of_tensordot(axes, x1.ndim, x2.ndim)
    sizes = [x1.shape[i] for i in first], [x2.shape[i] for i in second]
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"tensordot: shapes {x1.shape} and {x2.shape} differ in size along axes {axes!r}"
        )
    return _contracted(x1, x2, tuple(first), tuple(second))


def _contracted(x1: Tensor, x2: Tensor, first: Sequence[int], second: Sequence[int]) -> Tensor:
    """The sum of products along axes first[i] of x1 and second[i] of x2, of one dtype."""
    left = [i for i in range(x1.ndim) if i not in first]
    right = [i for i in range(x2.ndim) if i not in second]
    free = [x1.shape[i] for i in left], [x2.shape[i] for i in right]
    summed = math.prod([x1.shape[i] for i in first])
    rows = reshape(permute_dims(x1, (*left, *first)), (math.prod(free[0]), summed))
    columns = reshape(permute_dims(x2, (*second, *right)), (summed, math.prod(free[1])))
    return reshape(matmul(rows, columns), (*free[0], *free[1]))


def _axes_of_tensordot(axes: Any, ndim1: int, ndim2: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, (int, np.integer)) and not isinstance(axes, bool):
        if not 0 <= axes <= min(ndim1, ndim2):
            raise ArgumentError(
                f"tensordot: axes {axes} must be between 0 and the number of dimensions, {ndim1} "
                f"and {ndim2}"
            )
        return list(range(ndim1 - int(axes), ndim1)), list(range(axes))
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise ArgumentError(f"tensordot: axes is an integer or a pair of lists, not {axes!r}")
    first, second = (list(a) if isinstance(a, (tuple, list)) else [a] for a in axes)
    first = [normalize_axis("tensordot", a, ndim1) for a in first]
    second = [normalize_axis("tensordot", a, ndim2) for a in second]
    if len(first) != len(second) or len(set(first)) < len(first) or len(set(second)) < len(second):
        raise ArgumentError(f"tensordot: axes {axes!r} must name as many of both, each once")
    return first, second


def inner(x1: TensorLike, x2: TensorLike, /) -> Tensor:
    """The sum of products along the last axes of both; of a scalar and an array, their product.

    >>> inner([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [1.0, 1.0]])
    Tensor([[1., 3.],
            [3., 7.]], dtype=float32)
    """
    x1, x2 = _promoted("inner", x1, x2)
    if not (x1.ndim and x2.ndim):
        return multiply(x1, x2)
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(
            f"inner: shapes {x1.shape} and {x2.shape} must have the same last size: "
            f"{x1.shape[-1]} is not {x2.shape[-1]}"
        )
    return _contracted(x1, x2, (x1.ndim - 1,), (x2.ndim - 1,))


def dot(x1: TensorLike, x2: TensorLike, /) -> Tensor:
    """NumPy's dot: the sum of products along the last axis of x1 and the last but one of x2 (the
    only one of a vector); of a scalar and an array, their product.

    Up to two dimensions it is `matmul`; beyond, each row of x1 meets each column of x2.

    >>> dot([1.0, 2.0], [3.0, 4.0]), dot(np.ones((2, 3, 4)), np.ones((5, 4, 6))).shape
    (Tensor(11., dtype=float32), (2, 3, 5, 6))
    """
    x1, x2 = _promoted("dot", x1, x2)
    if not (x1.ndim and x2.ndim):
        return multiply(x1, x2)
    axis = max(x2.ndim - 2, 0)
    if x1.shape[-1] != x2.shape[axis]:
        raise ShapeError(
            f"dot: shapes {x1.shape} and {x2.shape} do not fit: the last size of the first, "
            f"{x1.shape[-1]}, must equal the {'last but one' if x2.ndim > 1 else 'only'} size of "
            f"the second, {x2.shape[axis]}"
        )
    if x2.ndim <= 2:
        return matmul(x1, x2)
    return _contracted(x1, x2, (x1.ndim - 1,), (axis,))


def outer(x1: TensorLike, x2: TensorLike, /) -> Tensor:
    """Each element of x1 times each of x2, as a matrix; arrays of other ranks are flattened.

    >>> outer([1.0, 2.0], [3.0, 4.0])
    Tensor([[3., 4.],
            [6., 8.]], dtype=float32)
    """
    x1, x2 = conversion.as_tensors(x1, x2)
    return multiply(reshape(x1, (x1.size, 1)), reshape(x2, (x2.size,)))


def kron(x1: TensorLike, x2: TensorLike, /) -> Tensor:
    """The Kronecker product: x1 with each element replaced by it times x2.

    The one with fewer axes gets axes of size 1 in front.

    >>> kron([1.0, 10.0], [1.0, 2.0, 3.0])
    Tensor([ 1.,  2.,  3., 10., 20., 30.], dtype=float32)
    """
    x1, x2 = conversion.as_tensors(x1, x2)
    ndim = max(x1.ndim, x2.ndim)
    rows, columns = ((1,) * (ndim - x.ndim) + x.shape for x in (x1, x2))
    left = reshape(x1, [s for size in rows for s in (size, 1)])
    right = reshape(x2, [s for size in columns for s in (1, size)])
    return reshape(left * right, [a * b for a, b in zip(rows, columns, strict=True)])


def _promoted(name: str, *xs: Any) -> list[Tensor]:
    """Operands as Tensors of their common dtype."""
    found = conversion.as_tensors(*xs)
    first = found[0]._data.dtype
    if all([x._data.dtype == first for x in found]):
        return found
    kind = next((type(x) for x in found if type(x) is not Tensor), Tensor)
    dtype = promoted([x.dtype for x in found], kind)
    return [astype(x, dtype) for x in found]


# Einstein's notation

Label = str | int
"""What names an axis: a letter, or for the axes of an ellipsis their place counted from its end."""

Step = Callable[[Tensor], Tensor]
Route = tuple[Step, ...]
"""What is done to one Tensor, step by step."""


class _Pair(NamedTuple):
    """One product of a plan: of the operands at two places, which it takes away."""

    places: tuple[int, int]
    turned: bool  # the second operand goes on the left
    routes: tuple[Route, Route]
    product: Op
    after: Route


class _Plan(NamedTuple):
    """How to compute an einsum: each operand alone, then pairs, then the last one."""

    alone: tuple[Route, ...]
    pairs: tuple[_Pair, ...]
    last: Route


def einsum(subscripts: Any, /, *operands: Any) -> Tensor:
    """Products and sums in Einstein's notation: `einsum("bqhd,bkhd->bhqk", queries, keys)`.

    Each operand's axes get letters; axes of one letter are multiplied element by element, and what
    the part behind the arrow lacks is summed. As in NumPy: without an arrow the result has the
    letters that come once, in alphabetical order; "..." stands for any number of axes, which
    broadcast; a letter that comes twice in one operand is its diagonal; size 1 broadcasts; and
    `einsum(x, [0, 1], y, [1, 2], [0, 2])` says the same with numbers.

    Pairs are contracted in the order that costs the least multiplications (of more than five
    operands, the cheapest pair first), each as one `matmul`. Halves are computed in float32.

    Raises ArgumentError for an expression that has no meaning, ShapeError for sizes that do not
    fit it.

    >>> einsum("ij,jk->ik", np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    >>> einsum("ii", np.array([[1.0, 2.0], [3.0, 4.0]]))
    Tensor(5., dtype=float64)
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _lettered((subscripts, *operands))
    if not operands:
        raise ArgumentError(f"einsum: {subscripts!r} needs at least one array")
    xs = _promoted("einsum", *operands)
    dtype = xs[0]._data.dtype
    plan = _plan(subscripts, tuple([tuple(x._data.shape) for x in xs]))
    if dtypes.is_half(dtype):
        xs = [astype(x, dtypes.float32) for x in xs]
    xs = [_along(x, route) for x, route in zip(xs, plan.alone, strict=True)]
    for (i, j), turned, routes, product, after in plan.pairs:
        right, left = xs.pop(j), xs.pop(i)
        if turned:
            left, right = right, left
        found = binary(product, _along(left, routes[0]), _along(right, routes[1]))
        xs.append(_along(found, after))
    return astype(_along(xs[0], plan.last), dtype)


def _along(x: Tensor, route: Route) -> Tensor:
    for step in route:
        x = step(x)
    return x


def _lettered(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """NumPy's other form, (x, [0, 1], y, [1, 2], [0, 2]), as subscripts and operands."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    lists = [*arguments[1::2], *([arguments[-1]] if len(arguments) % 2 else [])]
    terms = []
    for axes in lists:
        if not isinstance(axes, (list, tuple)):
            raise ArgumentError(f"einsum: takes a string, or a list for each array, not {axes!r}")
        for axis in axes:
            whole = isinstance(axis, int) and 0 <= axis < len(letters)
            if axis is not Ellipsis and not whole:
                raise ArgumentError(f"einsum: an axis is an integer from 0 to 51, not {axis!r}")
        terms.append("".join("..." if a is Ellipsis else letters[a] for a in axes))
    count = len(arguments) // 2
    arrow = "->" + terms[-1] if len(arguments) % 2 else ""
    return ",".join(terms[:count]) + arrow, arguments[: 2 * count : 2]


@functools.lru_cache(maxsize=1024)
def _plan(subscripts: str, shapes: tuple[Shape, ...]) -> _Plan:
    terms, result = _parsed(subscripts, shapes)
    sizes = _sizes(subscripts, terms, shapes)
    spread = [  # an axis of size 1 that broadcasts is as good as none
        [x for x, size in zip(term, shape, strict=True) if size == sizes[x]]
        for term, shape in zip(terms, shapes, strict=True)
    ]
    alone: list[Route] = []
    left: list[tuple[Label, ...]] = []
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        others = {*result, *itertools.chain(*spread[:i], *spread[i + 1 :])}
        route, labels = _by_itself(term, shape, sizes, others)
        alone.append(route)
        left.append(labels)
    pairs = []
    for i, j in _order(left, result, sizes):
        second, first = left.pop(j), left.pop(i)
        wanted = {*result, *itertools.chain(*left)}
        prefer = result if not left else ()
        pair, labels = _pair((i, j), first, second, wanted, prefer, sizes)
        pairs.append(pair)
        left.append(labels)
    return _Plan(tuple(alone), tuple(pairs), tuple(_permuted(left[0], result)))


def _parsed(
    subscripts: str, shapes: Sequence[Shape]
) -> tuple[list[tuple[Label, ...]], tuple[Label, ...]]:
    """The labels of each operand and of the result."""

    def refuse(what: str) -> ArgumentError:
        return ArgumentError(f"einsum: {subscripts!r} {what}")

    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != len(shapes):
        raise refuse(f"has {len(parts)} terms for {len(shapes)} arrays")
    for part in (*parts, output):
        rest = part.replace("...", "", 1)
        if rest and not (rest.isalpha() and rest.isascii()):
            raise refuse(f"is letters, commas, '...' and one '->': not {rest!r}")
    terms, most = [], 0
    for part, shape in zip(parts, shapes, strict=True):
        head, dots, tail = part.partition("...")
        extra = len(shape) - len(head) - len(tail)
        if extra < 0 or (extra and not dots):
            raise ShapeError(
                f"einsum: {part!r} names {len(head) + len(tail)} axes, and its array of shape "
                f"{shape} has {len(shape)}"
            )
        most = max(most, extra)
        terms.append((*head, *range(-extra, 0), *tail))
    letters = inputs.replace(",", "").replace(".", "")
    if not arrow:
        once = sorted(x for x in set(letters) if letters.count(x) == 1)
        return terms, (*range(-most, 0), *once)
    head, dots, tail = output.partition("...")
    if most and not dots:
        raise refuse(f"must have '...' behind the arrow too, for {most} axes")
    for letter in head + tail:
        if letter not in letters:
            raise refuse(f"has {letter!r} behind the arrow only")
        if (head + tail).count(letter) > 1:
            raise refuse(f"has {letter!r} twice behind the arrow")
    return terms, (*head, *(range(-most, 0) if dots else ()), *tail)


def _sizes(
    subscripts: str, terms: Sequence[tuple[Label, ...]], shapes: Sequence[Shape]
) -> dict[Label, int]:
    sizes: dict[Label, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for i, (label, size) in enumerate(zip(term, shape, strict=True)):
            known = sizes.setdefault(label, size)
            twice = term.index(label) != i  # on a diagonal, size 1 does not broadcast
            if size != known and (twice or 1 not in (size, known)):
                name = repr(label) if isinstance(label, str) else "an axis of '...'"
                raise ShapeError(
                    f"einsum: {subscripts!r} of shapes {' and '.join(map(str, shapes))}: {name} "
                    f"is {known} in one place and {size} in another"
                )
            sizes[label] = size if known == 1 else known
    return sizes


def _by_itself(
    term: tuple[Label, ...], shape: Shape, sizes: dict[Label, int], others: set[Label]
) -> tuple[Route, tuple[Label, ...]]:
    """What is done to one operand before it meets another: diagonals; axes of size 1 that would
    only broadcast go; axes that nobody else has are summed."""
    route: list[Step] = []
    size_of = dict(zip(term, shape, strict=True))
    while len(set(term)) < len(term):
        twice = next(x for x in term if term.count(x) > 1)
        first, second = [i for i, x in enumerate(term) if x == twice][:2]
        route.append(functools.partial(diagonal, axis1=first, axis2=second))
        term = (*[x for i, x in enumerate(term) if i not in (first, second)], twice)
    kept = tuple(x for x in term if size_of[x] == sizes[x])
    if kept != term:
        route.append(_reshaping([size_of[x] for x in kept]))
    summed = tuple(i for i, x in enumerate(kept) if x not in others)
    if summed:
        route.append(functools.partial(sum, axis=summed))
    return tuple(route), tuple(x for x in kept if x in others)


def _reshaping(shape: Sequence[int]) -> Step:
    return functools.partial(reshape, shape=tuple(shape))


def _permuted(have: Sequence[Label], want: Sequence[Label]) -> Iterator[Step]:
    if tuple(have) != tuple(want):
        params = {"axes": tuple([have.index(x) for x in want])}
        yield lambda x: unary(permute_dims, x, params)


def _order(
    terms: Sequence[tuple[Label, ...]], result: tuple[Label, ...], sizes: dict[Label, int]
) -> list[tuple[int, int]]:
    """Which pairs to contract: each takes two away and puts its product at the end."""

    def search(sets: list[frozenset[Label]]) -> tuple[int, list[tuple[int, int]]]:
        if len(sets) < 2:
            return 0, []
        ways = []
        for i, j in itertools.combinations(range(len(sets)), 2):
            both = sets[i] | sets[j]
            rest = [s for place, s in enumerate(sets) if place not in (i, j)]
            product = both & frozenset(result).union(*rest)
            cost = math.prod([sizes[x] for x in both])
            ways.append((cost, math.prod([sizes[x] for x in product]), (i, j), [*rest, product]))
        if len(sets) > 5:
            ways = [min(ways, key=lambda way: way[:2])]
        found = []
        for cost, _, pair, after in ways:
            further, pairs = search(after)
            found.append((cost + further, [pair, *pairs]))
        return min(found, key=lambda way: way[0])

    return search([frozenset(term) for term in terms])[1]


def _pair(
    places: tuple[int, int],
    first: tuple[Label, ...],
    second: tuple[Label, ...],
    wanted: set[Label],
    prefer: tuple[Label, ...],
    sizes: dict[Label, int],
) -> tuple[_Pair, tuple[Label, ...]]:
    """One product, and the labels of what comes out: those both have and the result wants first
    (a batch of matrices), then what only one has; what both have and nobody wants is summed."""
    batch = _sorted([x for x in first if x in second and x in wanted], prefer)
    summed = [x for x in first if x in second and x not in wanted]
    rows = _sorted([x for x in first if x not in second], prefer)
    columns = _sorted([x for x in second if x not in first], prefer)
    if not summed:
        return _elementwise(places, first, second, prefer or (*batch, *rows, *columns), sizes)
    turned = bool(prefer) and prefer == (*batch, *columns, *rows)
    if turned:  # (x y)ᵀ = yᵀ xᵀ: then the result needs no transposing
        first, second, rows, columns = second, first, columns, rows
    # Without rows, and if it is not one of many, the left side is a vector; the right side, too.
    middle = [rows] if rows or batch else []
    end = [columns] if columns or batch else []
    routes = (
        _grouped(first, batch, [*middle, summed], sizes),
        _grouped(second, batch, [summed, *end], sizes),
    )
    labels = (*batch, *rows, *columns)
    whole = all(len(group) == 1 for group in (*middle, *end))
    after = () if whole else (_reshaping([sizes[x] for x in labels]),)
    return _Pair(places, turned, routes, matmul, after), labels


def _elementwise(
    places: tuple[int, int],
    first: tuple[Label, ...],
    second: tuple[Label, ...],
    labels: tuple[Label, ...],
    sizes: dict[Label, int],
) -> tuple[_Pair, tuple[Label, ...]]:
    """Where nothing is summed: a product that broadcasts, its axes labelled so."""
    routes = []
    for own in (first, second):
        order = [x for x in labels if x in own]
        shape = [sizes[x] if x in own else 1 for x in labels]
        spread = [] if len(order) == len(labels) else [_reshaping(shape)]
        routes.append((*_permuted(own, order), *spread))
    return _Pair(places, False, (routes[0], routes[1]), multiply, ()), labels


def _grouped(
    have: Sequence[Label],
    batch: Sequence[Label],
    groups: Sequence[Sequence[Label]],
    sizes: dict[Label, int],
) -> Route:
    """The axes of a batch, then each group merged into one axis."""
    route = list(_permuted(have, [*batch, *itertools.chain(*groups)]))
    if any(len(group) != 1 for group in groups):
        merged = [math.prod([sizes[x] for x in group]) for group in groups]
        route.append(_reshaping([*[sizes[x] for x in batch], *merged]))
    return tuple(route)


def _sorted(labels: Sequence[Label], prefer: Sequence[Label]) -> tuple[Label, ...]:
    """In the order of the result, where it is known."""
    return tuple(sorted(labels, key=prefer.index) if prefer else labels)
