"""Derivatives of functions of many values: products with the Jacobian from either side, all of it,
and the Hessian.

All are walks back over a tape. There are no rules for forward derivatives: see `jvp`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import batching, conversion, dtypes, ops, tape, tree, walk
from .errors import ArgumentError, GradientError, ShapeError
from .tensors import Tensor
from .transforms import (
    Argnums,
    argument_numbers,
    exchanged,
    filled,
    followed,
    grad,
    pair,
    places,
)


def vjp(
    function: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]] | tuple[Any, Callable[[Any], Any], Any]:
    """The value of a function, and its vector-Jacobian product: a function from a cotangent, of
    the value's structure, to a tuple of the cotangents of the arguments. It may be called often.

    The value may be a nested structure, of any shapes. With `has_aux` the function returns a pair,
    and its second comes last here. Raises DtypeError for an argument that is not of a float dtype.

    >>> value, pull_back = vjp(lambda x, y: x * y, 3.0, 2.0)
    >>> value, pull_back(10.0)
    (Tensor(6., dtype=float32), (Tensor(20., dtype=float32), Tensor(30., dtype=float32)))
    """
    leaves, structure = tree.flatten(primals)
    with tape.GradientTape(persistent=True) as recording:
        inner = [followed(recording, x) for x in leaves]
        result = function(*structure.unflatten(inner))
    value, aux = pair(result) if has_aux else (result, None)
    outputs, shape = tree.flatten(value)
    targets = [conversion.as_tensor(y) for y in outputs]
    sloped = [dtypes.is_float(y.dtype) for y in targets]

    def pull_back(cotangents: Any) -> tuple[Any, ...]:
        given = tree.leaves_like(shape, cotangents)
        if given is None:
            raise GradientError(
                f"vjp: a cotangent has the structure of the value, {shape.unflatten(targets)!r}, "
                f"and not of {cotangents!r}"
            )
        ends, pulled_from = (list(itertools.compress(xs, sloped)) for xs in (targets, given))
        _require_shapes("vjp", "the cotangent of a value", ends, pulled_from)
        found = recording.gradient(ends, inner, pulled_from)
        pulled: tuple[Any, ...] = structure.unflatten(filled(found, inner))
        return pulled

    return (value, pull_back, aux) if has_aux else (value, pull_back)


def jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of a function, and its Jacobian-vector product: how fast the value changes when
    the arguments move along `tangents`, which have their structure.

    It is the vjp of the vjp: pulling back is linear in the cotangent, and the transpose of a
    transpose is the map itself. With `has_aux` the function returns a pair, and its second comes
    last here.

    Source: J. Townsend, A new trick for calculating Jacobian vector products, 2017.

    >>> jvp(lambda x, y: x * y, (3.0, 2.0), (1.0, 10.0))
    (Tensor(6., dtype=float32), Tensor(32., dtype=float32))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError("jvp: primals and tangents are tuples, with an entry an argument")
    leaves, structure = tree.flatten(tuple(primals))
    directions = tree.leaves_like(structure, tuple(tangents))
    if directions is None:
        raise ArgumentError(
            f"jvp: tangents have the structure of the arguments, {tuple(primals)!r}, and not of "
            f"{tuple(tangents)!r}"
        )
    _require_shapes("jvp", "the tangent of an argument", leaves, directions)
    value, pull_back, *aux = vjp(function, *primals, has_aux=has_aux)
    outputs, shape = tree.flatten(value)
    with tape.GradientTape() as linear:
        cotangents = [_generic(conversion.as_tensor(y)) for y in outputs]
        sloped = [y for y in cotangents if dtypes.is_float(y.dtype)]
        linear.watch(sloped)
        found = tree.leaves(pull_back(shape.unflatten(cotangents)))
    moved = iter(filled(linear.gradient(found, sloped, directions), sloped))
    slopes = [
        next(moved) if dtypes.is_float(y.dtype) else ops.zeros_like(y, dtype=dtypes.float32)
        for y in cotangents
    ]
    return (value, shape.unflatten(slopes), *aux)


def _require_shapes(name: str, what: str, wanted: Sequence[Any], given: Sequence[Any]) -> None:
    for row in zip(wanted, given, strict=True):
        x, y = map(conversion.as_tensor, row)
        if x.shape != y.shape:
            raise ShapeError(f"{name}: {what} of shape {x.shape} has this shape too, not {y.shape}")


def _generic(y: Tensor) -> Tensor:
    """A cotangent for y in which nothing cancels: numbers between 1 and 2 without a pattern."""
    places = np.arange(y.size, dtype=np.float64).reshape(y.shape)
    golden = (np.sqrt(5) - 1) / 2
    return conversion.as_tensor(1 + places * golden % 1, dtype=y.dtype, like=y)


def jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """All derivatives of a function's value with respect to an argument, as a function of the same
    arguments: of shape (*value.shape, *argument.shape), in reverse mode, all rows at once.

    `argnums` as for `grad`. A value or an argument that is a nested structure gives one, the
    argument's within the value's. With `has_aux` the function returns a pair, and the result is
    (jacobian, second of the pair).

    >>> jacobian(lambda x: x**2)(np.array([1.0, 3.0]))
    Tensor([[2., 0.],
            [0., 6.]], dtype=float64)
    """
    numbers = argument_numbers("jacobian", function, argnums)

    @functools.wraps(function)
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        chosen = places(numbers, len(args))

        def of_chosen(*given: Any) -> Any:
            return function(*exchanged(args, chosen, given), **kwargs)

        value, pull_back, *aux = vjp(of_chosen, *[args[i] for i in chosen], has_aux=has_aux)
        outputs, shape = tree.flatten(value)
        targets = [walk.differentiable(conversion.as_tensor(y), "jacobian") for y in outputs]
        blocks = []
        for i in range(len(targets)):
            rows = _rows(pull_back, shape, targets, i)
            blocks.append(rows[0] if isinstance(argnums, int) else rows)
        found = shape.unflatten(blocks)
        return (found, aux[0]) if has_aux else found

    return derivatives


def _rows(
    pull_back: Callable[[Any], Any], shape: tree.Structure, targets: Sequence[Tensor], i: int
) -> Any:
    """The derivatives of every element of one output, with respect to all arguments."""
    y = targets[i]

    def row(cotangent: Tensor) -> Any:
        zeros = [ops.zeros_like(other) for other in targets]
        return pull_back(shape.unflatten([*zeros[:i], cotangent, *zeros[i + 1 :]]))

    basis = ops.reshape(ops.eye(y.size, dtype=y.dtype, device=y.device), (y.size, *y.shape))
    found = batching.vmap(row)(basis)
    return tree.map(lambda g: ops.reshape(g, (*y.shape, *g.shape[1:])), found)


def hessian(function: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """All second derivatives of a scalar function with respect to an argument, of shape
    (*argument.shape, *argument.shape): the Jacobian of the gradient. `argnums` as for `grad`.

    >>> hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    Tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float64)
    """
    return jacobian(grad(function, argnums), argnums)
