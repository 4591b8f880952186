"""The gradient of a function, as a function: a tape opened around a call, so that gradients nest
in each other, and in tapes, to any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import conversion, ops, tape, traces, tree, walk
from .errors import ArgumentError, GradientError
from .tensors import Operators, Tensor, wrap

Argnums = int | Sequence[int]


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    `argnums` says which positional arguments to differentiate: nested structures of Tensors, NumPy
    arrays and numbers. The result has the structure of that argument, or is a tuple where `argnums`
    is one; it is zero where nothing connects. With `has_aux` the function returns a pair, and the
    result is (gradient, second of the pair).

    Raises GradientError if the function's value is not a scalar, DtypeError if it or an argument
    is not of a float dtype.

    >>> slope = grad(lambda x: x**3)
    >>> slope(2.0), grad(slope)(2.0)
    (Tensor(12., dtype=float32), Tensor(12., dtype=float32))
    """
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Like `grad`, but giving (value, gradient): the function's value comes at no further cost.

    >>> value_and_grad(lambda p: p["w"] * p["w"])({"w": 3.0})
    (Tensor(9., dtype=float32), {'w': Tensor(6., dtype=float32)})
    """
    numbers = argument_numbers("grad", function, argnums)

    @functools.wraps(function)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.flatten([argument(args, number) for number in numbers])
        with tape.GradientTape() as recording:
            inner = [followed(recording, x) for x in leaves]
            result = function(*exchanged(args, numbers, structure.unflatten(inner)), **kwargs)
        value, aux = pair(result) if has_aux else (result, None)
        value = _scalar(value)
        pending: dict[Any, Any] = {}
        walk.seed(pending, value, None, "grad")
        found = recording._pulled_back(pending, [x._record for x in inner])
        gradients = structure.unflatten(filled(found, inner))
        return (
            (value, aux) if has_aux else value,
            gradients[0] if isinstance(argnums, int) else tuple(gradients),
        )

    return value_and_gradient


def argument_numbers(name: str, function: Callable[..., Any], argnums: Argnums) -> list[int]:
    """`argnums` as a list. Raises ArgumentError, for the transform `name`, for anything else."""
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    if not callable(function) or not all(isinstance(number, int) for number in numbers):
        raise ArgumentError(
            f"{name}: takes a function, and as argnums an integer or several, not {function!r} and "
            f"{argnums!r}"
        )
    return numbers


def argument(args: Sequence[Any], number: int) -> Any:
    """A positional argument. Raises ArgumentError if the call has none of this number."""
    if not -len(args) <= number < len(args):
        raise ArgumentError(
            f"grad: there is no positional argument {number}; the call has {len(args)}. Choose "
            "others with argnums, and pass them by position"
        )
    return args[number]


def exchanged(args: Sequence[Any], numbers: Sequence[int], given: Sequence[Any]) -> list[Any]:
    """The arguments, with others in the place of those of these numbers."""
    every = list(args)
    if len(numbers) > 1 and len({number % len(every) for number in numbers}) < len(numbers):
        raise ArgumentError(f"grad: argnums {tuple(numbers)} names an argument twice")
    for number, other in zip(numbers, given, strict=True):
        every[number] = other
    return every


def followed(recording: tape.GradientTape, x: Any) -> Tensor:
    """A value of an argument as a Tensor of its own on this tape.

    Not the Tensor itself: where the function also uses that one otherwise, it is a constant.
    """
    value = walk.differentiable(conversion.as_tensor(x), "grad")
    if not isinstance(value._record, tape.Record):
        value = traces.brought(value)
    if value._record is None:
        return wrap(type(value), value._data, value._device, tape.Leaf(recording._alone))
    value = ops.identity(value)
    recording.watch(value)
    return value


def pair(result: Any) -> tuple[Any, Any]:
    """What a function with `has_aux` returned. Raises GradientError unless it is a pair."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(
            f"grad: with has_aux the function returns a pair (value, aux), not {result!r}"
        )
    return result


def _scalar(value: Any) -> Tensor:
    if isinstance(value, (int, float)):
        value = conversion.as_tensor(value)
    if not isinstance(value, Operators):
        raise GradientError(
            f"grad: the function returned a {type(value).__name__}, not a scalar Tensor; for a "
            "pair (value, aux) use has_aux=True"
        )
    found = value.value
    if found._data.shape:
        raise GradientError(
            f"grad: the function returned a Tensor of shape {found.shape}, not a scalar: return a "
            "mean() or sum() of it"
        )
    return found


def filled(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """The gradients that were found, zeros where nothing connects."""
    return [ops.zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)]
