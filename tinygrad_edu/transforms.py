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
        chosen = places(numbers, len(args))
        every = list(args)
        nested = False
        with tape.GradientTape() as recording:
            for i in chosen:
                x = every[i]
                if x.__class__ is Tensor:
                    every[i] = followed(recording, x)
                else:
                    every[i] = tree.map(functools.partial(followed, recording), x)
                    nested = True
            inner = [every[i] for i in chosen]
            if nested:
                inner, structure = tree.flatten(inner)
            result = function(*every, **kwargs)
        aux = None
        if has_aux:
            result, aux = pair(result)
        value = _scalar(result)
        pending: dict[Any, Any] = {}
        walk.seed(pending, value, None, "grad")
        found = filled(recording._pulled_back(pending, [x._record for x in inner]), inner)
        if nested:
            found = structure.unflatten(found)
        gradient = found[0] if isinstance(argnums, int) else tuple(found)
        return ((value, aux) if has_aux else value), gradient

    return value_and_gradient


def argument_numbers(name: str, function: Callable[..., Any], argnums: Argnums) -> tuple[int, ...]:
    """`argnums` as a tuple. Raises ArgumentError, for the transform `name`, for anything else."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not callable(function) or not all(isinstance(number, int) for number in numbers):
        raise ArgumentError(
            f"{name}: takes a function, and as argnums an integer or several, not {function!r} and "
            f"{argnums!r}"
        )
    return numbers


@functools.lru_cache
def places(numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Where the arguments of these numbers stand in a call with `count` positional ones.

    Raises ArgumentError for a number that there is none of, or one that comes twice.
    """
    for number in numbers:
        if not -count <= number < count:
            raise ArgumentError(
                f"grad: there is no positional argument {number}; the call has {count}. Choose "
                "others with argnums, and pass them by position"
            )
    found = tuple([number % count for number in numbers])
    if len(set(found)) < len(found):
        raise ArgumentError(f"grad: argnums {numbers} names an argument twice")
    return found


def exchanged(args: Sequence[Any], chosen: Sequence[int], given: Sequence[Any]) -> list[Any]:
    """The arguments, with others at these places."""
    every = list(args)
    for place, other in zip(chosen, given):  # noqa: B905  one for each, by definition
        every[place] = other
    return every


def followed(recording: tape.GradientTape, x: Any) -> Tensor:
    """A value of an argument as a Tensor of its own on this tape.

    Not the Tensor itself: where the function also uses that one otherwise, it is a constant.
    """
    value = walk.differentiable(x if x.__class__ is Tensor else conversion.as_tensor(x), "grad")
    if traces.being_made and not isinstance(value._record, tape.Record):
        value = traces.brought(value)
    if value._record is None:
        return wrap(value.__class__, value._data, value._device, tape.Leaf(recording._alone))
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
    if value.__class__ is Tensor and not value._data.shape:
        return value  # as it nearly always is
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


def filled(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Any]:
    """The gradients that were found, zeros where nothing connects."""
    every: list[Any] = list(found)
    for i, gradient in enumerate(every):
        if gradient is None:
            every[i] = ops.zeros_like(like[i])
    return every
