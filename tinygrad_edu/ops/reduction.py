"""Operations that bring the elements along some axes down to one: sums, products, extremes.

`axis` is None (all axes), an integer or a tuple of integers, negative ones counted from the end;
`keepdims` leaves the reduced axes in place, with size 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import conversion, dtypes, tape
from ..arguments import Axis, Shape, normalize_axes, normalize_axis, number
from ..backends import Array
from ..dispatch import apply, unary
from ..dtypes import DType, DTypeLike
from ..errors import DtypeError, ShapeError
from ..op import Aval, Gradient, Op
from ..references import booleans, example
from ..tensors import Tensor, TensorLike
from .elementwise import astype, identity, subtract, where
from .kernels import sum_up, total
from .logic import isnan, logical_not, not_equal
from .movement import concat, moveaxis, reshape

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmax",
    "nanmean",
    "nanmin",
    "nansum",
    "prod",
    "std",
    "sum",
    "var",
]


# NumPy's own, without the types that would ask for keywords, which take longer to pass.
_add_up: Any = np.add.reduce
_multiply_up: Any = np.multiply.reduce
_largest: Any = np.maximum.reduce

_MANY = 30_000
"""From how many elements on another order of multiplications pays."""


@functools.cache
def _every(ndim: int) -> tuple[int, ...]:
    """All axes."""
    return tuple(range(ndim))


def kept_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape with the reduced axes left in place, with size 1."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def _beside(reduced: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """A reduced value in a shape that broadcasts over the elements that went into it."""
    if not axis or axis[-1] < len(axis):  # leading axes come back by broadcasting alone
        return reduced
    kept = kept_shape(x.shape, axis)
    return reduced if reduced.shape == kept else reshape.of(reduced, shape=kept)


class Reduction(Op, abstract=True):
    """Base of the reductions.

    States `function`, a name that numpy, cupy and jax.numpy share, and for NumPy the `ufunc` whose
    `reduce` does the same with less in front of it.
    """

    axes = ("axis",)
    arity = 1
    function: str
    ufunc: str
    accepts_empty = True
    result: DType | None = None
    examples = (
        example(axis=None, keepdims=False),
        example(axis=0, keepdims=True),
        example(axis=(-1,), keepdims=False),
        example(axis=(0, -1), keepdims=True),
    )

    def __call__(self, x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
        ndim = x._data.ndim
        axes = _every(ndim) if axis is None else normalize_axes(self.name, axis, ndim)
        return unary(self, x, {"axis": axes, "keepdims": keepdims})

    def kernel(self, xp: Any) -> Callable[..., Any]:
        if xp is np:
            reduce = getattr(np, self.ufunc).reduce
            return lambda x, *, axis, keepdims: reduce(x, axis, None, None, keepdims)
        return getattr(xp, self.function)

    def infer(self, x: Aval, *, axis: tuple[int, ...], keepdims: bool) -> Aval:
        if not self.accepts_empty and 0 in [x.shape[a] for a in axis]:
            raise ShapeError(f"{self.name}: nothing to choose from along axis {axis} of {x.shape}")
        kept = kept_shape(x.shape, axis)
        shape = kept if keepdims else tuple(s for i, s in enumerate(kept) if i not in axis)
        return Aval(shape, self.result or x.dtype)


def accumulator(dtype: DType) -> DType:
    """The dtype that sums and products of a dtype have: narrow integers and booleans become 32-bit
    ones."""
    if dtypes.kind(dtype) in "biu" and dtype.itemsize < 4:
        return dtypes.uint32 if dtype.kind == "u" else dtypes.int32
    return dtype


def summand(name: str, x: TensorLike, dtype: DTypeLike) -> tuple[Tensor, DType]:
    """x in the dtype that was asked for, and that dtype. Raises DtypeError for booleans, which
    cannot be added up, in the name of the operation `name`."""
    wanted = dtypes.as_dtype(dtype)
    if wanted == dtypes.bool_:
        raise DtypeError(f"{name}: dtype bool cannot hold one; use int32, or any() and all()")
    return astype(x, wanted), wanted


class _Accumulation(Reduction, abstract=True):
    """Sums and products: narrow integers become 32-bit ones first, halves accumulate in float32.

    `dtype` is that of the result; x is converted to it first.
    """

    def __call__(
        self,
        x: TensorLike,
        /,
        *,
        axis: Axis = None,
        dtype: DTypeLike = None,
        keepdims: bool = False,
    ) -> Tensor:
        if dtype is not None:
            x, wanted = summand(self.name, x, dtype)
            return astype(self(x, axis=axis, keepdims=keepdims), wanted)
        x = x if isinstance(x, Tensor) else conversion.as_tensor(x)
        ndim = x._data.ndim
        axes = _every(ndim) if axis is None else normalize_axes(self.name, axis, ndim)
        return unary(self, x, {"axis": axes, "keepdims": keepdims})

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [accumulator(given[0])]

    def kernel(self, xp: Any) -> Callable[..., Any]:
        total = self.total(xp)

        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            if dtype.itemsize > 2:
                return total(x, axis, dtype, None, keepdims)
            return total(x, axis, dtypes.float32, None, keepdims).astype(dtype)

        return compute

    def total(self, xp: Any) -> Callable[..., Any]:
        """The sum or product, as a function of (x, axis, dtype, None, keepdims)."""
        if xp is np:
            return sum_up if self.ufunc == "add" else getattr(np, self.ufunc).reduce
        named = getattr(xp, self.function)
        return lambda x, axis, dtype, out, keepdims: named(
            x, axis=axis, dtype=dtype, keepdims=keepdims
        )


def _names(name: str, tensorflow: str, torch: str = "") -> dict[str, Any]:
    """The reference frameworks' names, with their words for `axis` and `keepdims`."""
    return {
        "tensorflow": lambda tf, x, axis, keepdims: getattr(tf, tensorflow)(x, axis, keepdims),
        "torch": lambda t, x, axis, keepdims: getattr(t, torch or name)(x, axis, keepdims),
        "jax": lambda jax, x, axis, keepdims: getattr(jax.numpy, name)(
            x, axis=axis, keepdims=keepdims
        ),
    }


class Sum(_Accumulation):
    """The sum along axes. Integers narrower than 32 bits become 32-bit ones."""

    linear = (0,)
    function, ufunc = "sum", "add"
    on_arrays = True
    gradients = (lambda g, _, x, axis, keepdims: _beside(g, x, axis),)
    references = _names("sum", "reduce_sum")


sum = Sum()


class Mean(_Accumulation):
    """The mean along axes; integers become float32. One primitive, for every loss ends in it.

    >>> mean(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([2., 3.], dtype=float64)
    """

    linear = (0,)
    function, ufunc = "sum", "add"
    on_arrays = True
    gradients = (
        lambda g, out, x, axis, keepdims: _beside(g / (x.size / (out.size or 1)), x, axis),
    )
    references = _names("mean", "reduce_mean")

    def operand_dtypes(self, given: Any, kind: type[Tensor]) -> list[DType | None]:
        return [given[0] if dtypes.is_float(given[0]) else dtypes.float32]

    def infer(self, x: Aval, *, axis: tuple[int, ...], keepdims: bool) -> Aval:
        shape, dtype = super().infer(x, axis=axis, keepdims=keepdims)
        return Aval(shape, dtype if dtypes.is_float(dtype) else dtypes.float32)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        total = self.total(xp)

        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            if dtype.itemsize > 2:
                found = total(x, axis, dtype, None, keepdims)
                return found / (x.size / (found.size or 1))
            # A sum of halves may be too large for one where their mean is not.
            found = total(x, axis, dtypes.float32, None, keepdims)
            return (found / (x.size / (found.size or 1))).astype(dtype)

        return compute


mean = Mean()


class Prod(_Accumulation):
    """The product along axes. Its gradient is right, to any order, where factors are zero.

    Integers narrower than 32 bits become 32-bit ones; `dtype` is that of the result.

    >>> prod([[1, 2], [3, 4]], axis=1), prod([2, 3], dtype="float64")
    (Tensor([ 2, 12], dtype=int32), Tensor(6., dtype=float64))
    """

    function, ufunc = "prod", "multiply"
    gradients = (
        lambda g, _, x, axis, keepdims: (
            _beside(g, x, axis) * unary(_product_of_others, x, {"axis": axis})
        ),
    )
    references = {
        **_names("prod", "reduce_prod"),
        "torch": lambda torch, x, axis, keepdims: functools.reduce(  # one axis at a time
            lambda y, a: y.prod(a, keepdim=keepdims),
            normalize_axes("prod", axis, x.ndim)[::-1],
            x,
        ),
    }

    def total(self, xp: Any) -> Callable[..., Any]:
        reduce = super().total(xp)
        if xp is not np:
            return reduce

        def compute(x: Array, axis: Any, dtype: Any, out: Any, keepdims: bool) -> Array:
            if x.size < _MANY or len(axis) < x.ndim:
                return reduce(x, axis, dtype, out, keepdims)
            # One after another, each product would wait for the last: 256 at a time instead.
            flat = x.reshape(-1)
            rest = x.size % 256
            side = _multiply_up(flat[rest:].reshape((-1, 256)), 0, dtype)
            found = _multiply_up(side) * _multiply_up(flat[:rest], 0, dtype)
            return np.reshape(found, (1,) * x.ndim) if keepdims else found

        return compute


prod = Prod()


class ProductOfOthers(Op):
    """For each element the product of the others along these axes."""

    axes = ("axis",)

    def forward(self, xp: Any, x: Array, *, axis: tuple[int, ...]) -> Array:
        dtype = x.dtype
        wide = x.astype(dtypes.float32) if dtype.itemsize == 2 else x
        if xp is np and x.size < _MANY:
            whole = _multiply_up(wide, axis, None, None, True)
            if _divisible(whole):
                return (whole / wide).astype(dtype, copy=False)
        rest = tuple([i for i in range(x.ndim) if i not in axis])
        front = wide.transpose((*rest, *axis))
        row = front.reshape((*[x.shape[i] for i in rest], math.prod([x.shape[i] for i in axis])))
        others = _others_in_blocks if xp is np else _others_in_row
        found = others(row, xp.concatenate).reshape(front.shape)
        return xp.moveaxis(found, tuple(range(len(rest))), rest).astype(dtype)

    def infer(self, x: Aval, *, axis: tuple[int, ...]) -> Aval:
        return x

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        # The same in operations that can be differentiated again and again, but slower.
        with tape.GradientTape() as inner:
            x = identity(inputs[0])
            inner.watch(x)
            found = product_of_others(x, params["axis"])
        return [inner.gradient(found, x, output_gradients=cotangent)]


_product_of_others = ProductOfOthers()


def _divisible(products: np.ndarray) -> bool:
    """Whether nothing vanished and nothing overflowed: then a division by a factor, which is the
    fastest, is right."""
    normal = np.isfinite(products) & (np.abs(products) > np.finfo(products.dtype).tiny)
    return bool(normal.all())


def _others_in_blocks(row: np.ndarray, join: Callable[..., Any]) -> np.ndarray:
    """`_others_in_row`, where it can by division inside of blocks, whose products hardly vanish."""
    *lead, size = row.shape
    count = size // 64
    # A block is every count-th element, so that the products of all blocks are made side by side.
    blocks = row[..., : 64 * count].reshape((*lead, 64, count))
    products = _multiply_up(blocks, -2, None, None, True)
    if not count or not _divisible(products):
        return np.asarray(_others_in_row(row, join))
    outside = _others_in_row(join([products[..., 0, :], row[..., 64 * count :]], axis=-1), join)
    inside = products / blocks
    inside *= outside[..., None, :count]
    return np.asarray(join([inside.reshape((*lead, -1)), outside[..., count:]], axis=-1))


def product_of_others(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """`ProductOfOthers`, composed of other operations."""
    rest = [i for i in range(x.ndim) if i not in axis]
    front = moveaxis(x, rest, range(len(rest)))
    row = reshape(front, (*[x.shape[i] for i in rest], math.prod([x.shape[i] for i in axis])))
    found = reshape(_others_in_row(row, concat), front.shape)
    return moveaxis(found, range(len(rest)), rest)


def _others_in_row(row: Any, join: Callable[..., Any]) -> Any:
    """For each element of the last axis the product of the others, without dividing by it.

    Pairs the elements up: the others of one are its neighbour, times the others of their pair.
    """
    size = row.shape[-1]
    if size <= 1:
        return row * 0.0 + 1.0
    half = size // 2
    left, right, last = row[..., :half], row[..., half : 2 * half], row[..., 2 * half :]
    pairs = left * right
    others = _others_in_row(pairs, join)
    if size % 2:
        product = others[..., :1] * pairs[..., :1]
        others = others * last
        return join([others * right, others * left, product], axis=-1)
    return join([others * right, others * left], axis=-1)


def _of_extreme(g: Any, out: Any, x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return _shares.of(x, _beside(out, x, axis), axis=axis) * _beside(g, x, axis)


class Shares(Op):
    """Of the elements that equal an extreme along axes, each its share of 1; of the others, 0."""

    axes = ("axis",)
    no_gradient = "it is constant wherever it is continuous"

    def forward(self, xp: Any, x: Array, extreme: Array, *, axis: tuple[int, ...]) -> Array:
        wide = dtypes.float32 if x.dtype.itemsize == 2 else x.dtype
        chosen = xp.asarray(x == extreme).astype(wide)
        count = total(xp, chosen, axis)
        if xp is np and (count == 1).all():
            return chosen.astype(x.dtype, copy=False)
        return (chosen / count).astype(x.dtype)

    def infer(self, x: Aval, extreme: Aval, *, axis: tuple[int, ...]) -> Aval:
        return x


_shares = Shares()


class Max(Reduction):
    """The largest element along axes; NaN where there is one. Ties share the gradient."""

    function, ufunc, accepts_empty = "max", "maximum", False
    on_arrays = True
    gradients = (_of_extreme,)
    references = _names("max", "reduce_max", "amax")


max = Max()


class Min(Reduction):
    """The smallest element along axes; NaN where there is one. Ties share the gradient."""

    function, ufunc, accepts_empty = "min", "minimum", False
    on_arrays = True
    gradients = (_of_extreme,)
    references = _names("min", "reduce_min", "amin")


min = Min()


class AnyTrue(Reduction):
    """Whether any element along axes is true (not zero)."""

    name = "any"
    function, ufunc, result = "any", "logical_or", dtypes.bool_
    no_gradient = "logic has no slope"
    references = _names("any", "reduce_any")
    domain = booleans


any = AnyTrue()


class AllTrue(Reduction):
    """Whether all elements along axes are true (not zero)."""

    name = "all"
    function, ufunc, result = "all", "logical_and", dtypes.bool_
    no_gradient = "logic has no slope"
    references = _names("all", "reduce_all")
    domain = booleans


all = AllTrue()


class Argmax(Op):
    """Where the largest element is: its index (int32) along one axis, the first one in a tie;
    without an axis, its index among all elements in order."""

    axes = ("axis",)
    no_gradient = "an index has no slope"
    function = "argmax"
    accepts_empty = False
    references = {
        "tensorflow": lambda tf, x, axis, keepdims: tf.argmax(x, axis),
        "torch": lambda torch, x, axis, keepdims: torch.argmax(x, axis),
        "jax": lambda jax, x, axis, keepdims: jax.numpy.argmax(x, axis),
    }
    examples = (example(axis=0, keepdims=False), example(axis=-1, keepdims=False))

    def __call__(
        self, x: TensorLike, /, *, axis: int | None = None, keepdims: bool = False
    ) -> Tensor:
        x = conversion.as_tensor(x)
        if axis is not None:
            axis = normalize_axis(self.name, axis, x.ndim)
        return apply(self, x, axis=axis, keepdims=keepdims)

    def forward(self, xp: Any, x: Array, *, axis: int | None, keepdims: bool) -> Array:
        # The array's own method: NumPy's function takes twice as long for a small one.
        return getattr(x, self.function)(axis=axis, keepdims=keepdims).astype(dtypes.int32)

    def infer(self, x: Aval, *, axis: int | None, keepdims: bool) -> Aval:
        axes = normalize_axes(self.name, axis, len(x.shape))
        if 0 in [x.shape[a] for a in axes]:
            raise ShapeError(f"{self.name}: nothing to choose from along axis {axes} of {x.shape}")
        kept = kept_shape(x.shape, axes)
        shape = kept if keepdims else tuple(s for i, s in enumerate(kept) if i not in axes)
        return Aval(shape, dtypes.int32)


argmax = Argmax()


class Argmin(Argmax):
    """Where the smallest element is; see `argmax`."""

    function = "argmin"
    references = {
        "tensorflow": lambda tf, x, axis, keepdims: tf.argmin(x, axis),
        "torch": lambda torch, x, axis, keepdims: torch.argmin(x, axis),
        "jax": lambda jax, x, axis, keepdims: jax.numpy.argmin(x, axis),
    }


argmin = Argmin()


class Var(Reduction):
    """The mean square distance from the mean along axes, divided by their number less `correction`.

    Integers become float32.

    >>> var(np.array([1.0, 3.0])), var(np.array([1.0, 3.0]), correction=1)
    (Tensor(1., dtype=float64), Tensor(2., dtype=float64))
    """

    function, ufunc = "var", "add"
    on_arrays = True
    gradients: tuple[Gradient | None, ...] | None = (
        lambda g, _, x, axis, correction, keepdims: _deviations.of(
            x, _beside(g * (2 * _inverse_freedom(x.shape, axis, correction)), x, axis), axis=axis
        ),
    )
    references = {
        "tensorflow": lambda tf, x, **params: _tensorflow_variance(tf, x, **params),
        "torch": lambda torch, x, axis, correction, keepdims: torch.var(
            x, axis, correction=correction, keepdim=keepdims
        ),
        "jax": "numpy.var",
    }
    examples = (
        example(axis=None, correction=0, keepdims=False),
        example(axis=0, correction=0.5, keepdims=True),
        example(axis=(-1,), correction=0, keepdims=False),
        example(axis=(0, -1), correction=0.5, keepdims=True),
    )

    def __call__(
        self,
        x: TensorLike,
        /,
        *,
        axis: Axis = None,
        correction: float = 0.0,
        keepdims: bool = False,
    ) -> Tensor:
        x = as_float(x)
        ndim = x._data.ndim
        axes = _every(ndim) if axis is None else normalize_axes(self.name, axis, ndim)
        if correction.__class__ not in (int, float) or correction != correction:
            correction = number(self.name, "correction", correction)
        return unary(self, x, {"axis": axes, "correction": correction, "keepdims": keepdims})

    def kernel(self, xp: Any) -> Callable[..., Any]:
        def compute(x: Array, *, axis: tuple[int, ...], correction: float, keepdims: bool) -> Array:
            dtype = x.dtype
            wide = x.astype(dtypes.float32) if dtype.itemsize == 2 else x
            squares = _centered(xp, wide, axis)
            if xp is np:
                np.multiply(squares, squares, squares)
                total = sum_up(squares, axis, squares.dtype, None, keepdims)
            else:
                total = xp.sum(xp.square(squares), axis=axis, keepdims=keepdims)
            found = self.finish(xp, total * _inverse_freedom(x.shape, axis, correction))
            return found if dtype.itemsize > 2 else found.astype(dtype)

        return compute

    def finish(self, xp: Any, variance: Array) -> Array:
        """What is made of the variance."""
        return variance

    def infer(  # type: ignore[override]
        self, x: Aval, *, axis: tuple[int, ...], correction: float, keepdims: bool
    ) -> Aval:
        return super().infer(x, axis=axis, keepdims=keepdims)


var = Var()


class Std(Var):
    """The square root of `var`. Where it is 0, so is its gradient, as in PyTorch.

    >>> std(np.array([1.0, 3.0]))
    Tensor(1., dtype=float64)
    """

    function = "std"
    on_arrays = True
    gradients = (
        lambda g, out, x, axis, correction, keepdims: _deviations.of(
            x,
            _beside(g * _over.of(out, number=_inverse_freedom(x.shape, axis, correction)), x, axis),
            axis=axis,
        ),
    )
    references = {
        "tensorflow": lambda tf, x, **params: tf.sqrt(_tensorflow_variance(tf, x, **params)),
        "torch": lambda torch, x, axis, correction, keepdims: torch.std(
            x, axis, correction=correction, keepdim=keepdims
        ),
        "jax": "numpy.std",
    }

    def finish(self, xp: Any, variance: Array) -> Array:
        return xp.sqrt(variance)


std = Std()


class OverOrZero(Op):
    """A number over x, and 0 where x is 0. Of a standard deviation: where the root of the variance
    is infinitely steep, this takes it for flat."""

    gradients = (lambda g, out, x, number: -g * out * out / number,)

    def forward(self, xp: Any, x: Array, *, number: float) -> Array:
        if xp is np and x.all():
            return number / x
        found = number / xp.where(x == 0, 1, x)
        return xp.where(x == 0, 0, found).astype(x.dtype)

    def infer(self, x: Aval, *, number: float) -> Aval:
        return x


_over = OverOrZero()


def _tensorflow_variance(tf: Any, x: Any, axis: Any, correction: float, keepdims: bool) -> Any:
    """TensorFlow's variance knows no correction."""
    found = tf.math.reduce_variance(x, axis, keepdims)
    count = int(tf.size(x)) // (int(tf.size(found)) or 1)
    return found * (count / (count - correction or math.nan))


def _inverse_freedom(shape: Shape, axis: tuple[int, ...], correction: float) -> float:
    """1 over the number of elements along axes less a correction; infinite if none is left."""
    freedom = math.prod([shape[a] for a in axis]) - correction
    return 1 / freedom if freedom > 0 else math.inf


def _centered(xp: Any, x: Array, axis: tuple[int, ...]) -> Array:
    """x less its mean along axes, in an array of its own."""
    count = math.prod([x.shape[a] for a in axis])
    if xp is np:
        mean = _add_up(x, axis, None, None, True)
        return np.asarray(np.subtract(x, mean / x.dtype.type(count)))
    return x - xp.sum(x, axis=axis, keepdims=True) / count


class Deviations(Op):
    """The distances of x from its mean along axes, times a scale that is constant along them.

    Taking off the mean is its own transpose, so the gradient of x is made in the same way.
    """

    linear = (0, 1)
    axes = ("axis",)
    gradients = (
        lambda g, _, x, scale, axis: apply(_deviations, g, scale, axis=axis),
        lambda g, _, x, scale, axis: sum(
            g * subtract(x, mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=True
        ),
    )

    def forward(self, xp: Any, x: Array, scale: Array, *, axis: tuple[int, ...]) -> Array:
        dtype = x.dtype
        wide = x.astype(dtypes.float32) if dtype.itemsize == 2 else x
        found = _centered(xp, wide, axis)
        found *= scale
        return found if dtype.itemsize > 2 else found.astype(dtype)

    def infer(self, x: Aval, scale: Aval, *, axis: tuple[int, ...]) -> Aval:
        return x


_deviations = Deviations()


class Logsumexp(Reduction):
    """log(sum(exp(x))) along axes, without overflow; integers become float32.

    The sum of nothing is 0, and its logarithm minus infinity. The gradient is the softmax; in its
    limit where x is infinite: the elements at infinity share it, and where all are minus infinity
    it is 0 (TensorFlow and JAX have NaN there).

    >>> logsumexp(np.array([1000.0, 1000.0]))
    Tensor(1000.69314718, dtype=float64)
    """

    function, ufunc = "logsumexp", "logaddexp"
    on_arrays = True
    gradients = (
        lambda g, out, x, axis, keepdims: (
            _softmax_of.of(x, _beside(out, x, axis), axis=axis) * _beside(g, x, axis)
        ),
    )
    references = {
        "tensorflow": "reduce_logsumexp",
        "torch": lambda torch, x, axis, keepdims: (
            x.clone()  # along no axis; PyTorch would take all
            if axis == ()
            else torch.logsumexp(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)
        ),
        "jax": "nn.logsumexp",
    }

    def __call__(self, x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return super().__call__(as_float(x), axis=axis, keepdims=keepdims)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        def compute(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
            dtype = x.dtype
            wide = x.astype(dtypes.float32) if dtype.itemsize == 2 else x
            if xp is np:
                top = _largest(wide, axis, None, None, True, -np.inf)
            elif wide.size:
                top = xp.max(wide, axis=axis, keepdims=True)
            else:  # CuPy's takes nothing to begin with
                top = xp.full([1 if i in axis else n for i, n in enumerate(x.shape)], -np.inf)
            if xp is not np or not _all_finite(top):
                top = xp.where(xp.isfinite(top), top, 0)  # an infinite one would leave NaN
            rest = xp.asarray(wide - top)
            if xp is np:
                total = _add_up(np.exp(rest, rest), axis, None, None, True)
            else:
                total = xp.sum(xp.exp(rest), axis=axis, keepdims=True)
            total = (xp.log(total) + top).astype(dtype)
            if not keepdims:
                total = total.reshape([s for i, s in enumerate(x.shape) if i not in axis])
            return total

        return compute


logsumexp = Logsumexp()


def _all_finite(x: np.ndarray) -> bool:
    """Whether there is no infinity and no NaN in x; at once where it is one number."""
    return math.isfinite(x.item()) if x.size == 1 else bool(np.isfinite(x).all())


class SoftmaxOf(Op):
    """exp(x - total), the softmax of x, if total is its logsumexp along axes; and the limit of
    that where the total is infinite."""

    axes = ("axis",)
    gradients = (
        lambda g, out, x, total, axis: g * out,
        lambda g, out, x, total, axis: -sum(g * out, axis=axis, keepdims=True),
    )

    def forward(self, xp: Any, x: Array, total: Array, *, axis: tuple[int, ...]) -> Array:
        found = xp.asarray(x - total)
        found = np.exp(found, found) if xp is np else xp.exp(found)
        # The sum is 1, but for what the total lost in rounding where x is large.
        if xp is np and _all_finite(total):
            found /= _add_up(found, axis, None, None, True)
            return found
        sums = xp.sum(found, axis=axis, keepdims=True)
        found = found / xp.where(sums > 0, sums, 1)
        top = (x == total) & (total > 0)
        count = xp.maximum(xp.sum(top, axis=axis, keepdims=True), 1)
        return xp.where(xp.isinf(total), top / count, found).astype(x.dtype)

    def infer(self, x: Aval, total: Aval, *, axis: tuple[int, ...]) -> Aval:
        return x


_softmax_of = SoftmaxOf()


def count_nonzero(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements along axes are not zero, as int32; NaN is not zero. It has no gradient.

    >>> count_nonzero(np.array([[0.0, 1.0], [2.0, np.nan]]), axis=1)
    Tensor([1, 2], dtype=int32)
    """
    x = conversion.as_tensor(x)
    axes = normalize_axes("count_nonzero", axis, x.ndim)
    return sum(not_equal(x, 0), axis=axes, keepdims=keepdims)


def nansum(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum along axes of what is not NaN, as in NumPy: 0 where nothing is left.

    >>> nansum(np.array([1.0, np.nan, 2.0]))
    Tensor(3., dtype=float64)
    """
    x = conversion.as_tensor(x)
    axes = normalize_axes("nansum", axis, x.ndim)
    return sum(where(isnan(x), 0, x), axis=axes, keepdims=keepdims)


def nanmean(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean along axes of what is not NaN, as in NumPy: NaN where nothing is left. Integers
    become float32.

    >>> nanmean(np.array([1.0, np.nan, 2.0]))
    Tensor(1.5, dtype=float64)
    """
    x = as_float(x)
    axes = normalize_axes("nanmean", axis, x.ndim)
    total = sum(where(isnan(x), 0, x), axis=axes, keepdims=keepdims)
    count = sum(logical_not(isnan(x)), axis=axes, keepdims=keepdims)
    return total / astype(count, x.dtype)


def nanmax(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element along axes that is not NaN, as in NumPy: NaN where nothing is left.
    Ties share the gradient.

    >>> nanmax(np.array([1.0, np.nan, 2.0]))
    Tensor(2., dtype=float64)
    """
    return _extreme_of_numbers("nanmax", max, -math.inf, x, axis, keepdims)


def nanmin(x: TensorLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element along axes that is not NaN, as in NumPy: NaN where nothing is left.
    Ties share the gradient.

    >>> nanmin(np.array([1.0, np.nan, 2.0]))
    Tensor(1., dtype=float64)
    """
    return _extreme_of_numbers("nanmin", min, math.inf, x, axis, keepdims)


def _extreme_of_numbers(
    name: str, extreme: Reduction, worst: float, given: TensorLike, axis: Axis, keepdims: bool
) -> Tensor:
    x = conversion.as_tensor(given)
    axes = normalize_axes(name, axis, x.ndim)
    if not dtypes.is_float(x.dtype):
        return extreme(x, axis=axes, keepdims=keepdims)
    absent = isnan(x)
    found = extreme(where(absent, worst, x), axis=axes, keepdims=keepdims)
    return where(all(absent, axis=axes, keepdims=keepdims), math.nan, found)


def as_float(x: TensorLike) -> Tensor:
    """x as a Tensor of a float dtype: integers and booleans become float32."""
    x = conversion.as_tensor(x)
    return x if dtypes.is_float(x.dtype) else astype(x, dtypes.float32)
