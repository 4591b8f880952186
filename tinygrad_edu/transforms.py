"""Functions of functions: gradients of a program, and programs with a gradient of their own.

Each is a tape opened around a call, so they nest in each other and in tapes to any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from . import ops, tape, tensors, tree
from .errors import ArgumentError, GradientError, ShapeError
from .op import Aval, Op, picked
from .tensors import Operators, Tensor

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
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    if not callable(function) or not all(isinstance(number, int) for number in numbers):
        raise ArgumentError(
            f"grad: takes a function, and as argnums an integer or several, not {function!r} and "
            f"{argnums!r}"
        )

    @functools.wraps(function)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.flatten([_argument(args, number) for number in numbers])
        with tape.GradientTape() as recording:
            followed = [_followed(recording, x) for x in leaves]
            inner = list(args)
            for number, argument in zip(numbers, structure.unflatten(followed), strict=True):
                inner[number] = argument
            result = function(*inner, **kwargs)
        value, aux = _pair(result) if has_aux else (result, None)
        value = _scalar(value)
        found = recording.gradient(value, followed)
        filled = [
            ops.zeros_like(x) if g is None else g for x, g in zip(followed, found, strict=True)
        ]
        gradients = structure.unflatten(filled)
        return (
            (value, aux) if has_aux else value,
            gradients[0] if isinstance(argnums, int) else tuple(gradients),
        )

    return value_and_gradient


def _argument(args: Sequence[Any], number: int) -> Any:
    if not -len(args) <= number < len(args):
        raise ArgumentError(
            f"grad: there is no positional argument {number}; the call has {len(args)}. Choose "
            "others with argnums, and pass them by position"
        )
    return args[number]


def _followed(recording: tape.GradientTape, x: Any) -> Tensor:
    """A value of an argument as a Tensor of its own on this tape.

    Not the Tensor itself: where the function also uses that one otherwise, it is a constant.
    """
    value = tensors.as_tensor(x)
    if value._record is None:
        value = tensors.wrap(type(value), value._data, value._device, None)
    else:
        value = ops.identity(value)
    recording.watch(value)
    return value


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(
            f"grad: with has_aux the function returns a pair (value, aux), not {result!r}"
        )
    return result


def _scalar(value: Any) -> Tensor:
    if isinstance(value, (int, float)):
        value = tensors.as_tensor(value)
    if not isinstance(value, Operators):
        raise GradientError(
            f"grad: the function returned a {type(value).__name__}, not a scalar Tensor; for a "
            "pair (value, aux) use has_aux=True"
        )
    tape.differentiable(value, "grad")
    if value.ndim:
        raise GradientError(
            f"grad: the function returned a Tensor of shape {value.shape}, not a scalar: return a "
            "mean() or sum() of it"
        )
    return value.value


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a gradient of your own.

    The function takes Tensors by position and returns (value, gradient), where the value is a
    Tensor or a tuple of them, and `gradient(*cotangents)`, one for each value, returns one
    cotangent for each argument (None: no gradient), in a tuple if there are several. Written in
    Tensor operations it can be differentiated again. Keyword arguments are passed on as they are.

    >>> @custom_gradient
    ... def clipped(x):
    ...     return x, lambda cotangent: ops.minimum(cotangent, 1.0)
    >>> grad(lambda x: 5.0 * clipped(x))(2.0)
    Tensor(1., dtype=float32)
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        inputs = [tensors.as_tensor(x) for x in args]
        result = function(*inputs, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise GradientError(
                f"custom_gradient: {function.__name__} must return a value and a function that "
                f"computes its gradient, not {result!r}"
            )
        value, gradient = result
        outputs = value if isinstance(value, tuple) else (value,)
        op = _Custom(function.__name__, gradient)
        found = op.record(inputs, [tensors.as_tensor(y) for y in outputs])
        return found if isinstance(value, tuple) else found[0]

    return wrapped


class _Custom(Op):
    """An operation whose gradient is a user's function, computed once already."""

    arity = None

    def __init__(self, name: str, gradient: Callable[..., Any]) -> None:
        self.name = name
        self._gradient = gradient

    def record(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs as Tensors that come from this operation alone."""
        parents = tuple(x._record for x in inputs)
        data = tuple(y._data for y in outputs)
        node = tape.record(self, tuple(inputs), parents, {}, data)
        return picked(type(outputs[0]), outputs[0]._device, node, data)

    def forward(self, xp: Any, *arrays: Any) -> Any:
        raise GradientError(f"{self.name}: a custom gradient is recorded, not computed again")

    def infer(self, *avals: Aval) -> Aval:
        raise GradientError(f"{self.name}: a custom gradient is recorded, not computed again")

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        result = self._gradient(*cotangent)
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(found) != len(inputs):
            raise GradientError(
                f"{self.name}: its gradient returned {len(found)} cotangents for {len(inputs)} "
                "arguments; None stands for no gradient"
            )
        return [self._checked(g, x, i) for i, (g, x) in enumerate(zip(found, inputs, strict=True))]

    def _checked(self, gradient: Any, x: Tensor, i: int) -> Tensor | None:
        if gradient is None:
            return None
        found = tensors.as_tensor(gradient, like=x)
        if found.shape != x.shape:
            raise ShapeError(
                f"{self.name}: its gradient gave a cotangent of shape {found.shape} for argument "
                f"{i}, of shape {x.shape}"
            )
        return found
