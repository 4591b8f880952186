"""Shapes, axes and numbers as operations, layers and losses are given them, checked.

`name` is that of the operation or the class, for messages.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError

Shape = tuple[int, ...]
Axis = int | Sequence[int] | None


def broadcast_shapes(name: str, *shapes: Shape) -> Shape:
    """The shape that these shapes broadcast to. Raises ShapeError, for the operation `name`.

    >>> broadcast_shapes("add", (2, 1), (3,))
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        given = " and ".join(str(tuple(shape)) for shape in shapes)
        raise ShapeError(
            f"{name}: shapes {given} do not broadcast: counted from the right, sizes must be "
            "equal, or one of them 1"
        ) from None


def normalize_axis(name: str, axis: Any, ndim: int) -> int:
    """An axis as a number from 0. Raises ArgumentError, for the operation `name`, for one that is
    not there.

    >>> normalize_axis("sum", -1, 3)
    2
    """
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise ArgumentError(f"{name}: an axis is an integer, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise ArgumentError(
            f"{name}: axis {axis} is out of range for {ndim} dimension{'s' * (ndim != 1)}"
        )
    return int(axis) % ndim


def normalize_axes(name: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Axes as a sorted tuple of numbers from 0; None means all. Raises ArgumentError, for the
    operation `name`, for one that is not there or comes twice.

    >>> normalize_axes("sum", -1, 3), normalize_axes("sum", None, 2)
    ((2,), (0, 1))
    """
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = {normalize_axis(name, a, ndim) for a in given}
    if len(found) != len(given):
        raise ArgumentError(f"{name}: axis {axis!r} names an axis twice")
    return tuple(sorted(found))


def whole(name: str, argument: str, given: Any, least: int | None = None) -> int:
    """An integer, of any library's integer types, as Python's. Raises ArgumentError, for the
    operation `name`, for anything else, and for one below `least`.

    >>> whole("top_k", "k", np.int64(3), 0)
    3
    """
    bound = "" if least is None else f" from {least} on"
    if isinstance(given, bool) or not isinstance(given, numbers.Integral):
        raise ArgumentError(f"{name}: {argument} is an integer{bound}, not {given!r}")
    if least is not None and given < least:
        raise ArgumentError(f"{name}: {argument} is an integer{bound}, not {given}")
    return int(given)


def number(
    name: str,
    argument: str,
    given: Any,
    what: str = "a number",
    fits: Callable[[Any], bool] = lambda x: x == x,  # all but NaN
) -> float:
    """A number, of any library's types or alone in an array, as Python's. Raises ArgumentError, for
    the class `name`, for anything else and for one that does not fit; `what` says which do.

    >>> number("Constant", "value", np.float32(0.5))
    0.5
    """
    found = given.item() if getattr(given, "shape", None) in ((), (1,)) else given
    real = isinstance(found, numbers.Real) and not isinstance(found, bool)
    if not real or not fits(found):
        raise ArgumentError(f"{name}: {argument} is {what}, not {found!r}")
    return float(found)


def not_negative(name: str, argument: str, given: Any) -> float:
    """A number from 0 on."""
    return number(name, argument, given, "a number from 0 on", lambda x: x >= 0)


def positive(name: str, argument: str, given: Any) -> float:
    """A number above 0."""
    return number(name, argument, given, "a number above 0", lambda x: x > 0)


def share(name: str, argument: str, given: Any) -> float:
    """A number from 0 to 1."""
    return number(name, argument, given, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def fraction(name: str, argument: str, given: Any) -> float:
    """A number from 0 on, below 1."""
    return number(name, argument, given, "a number in [0, 1)", lambda x: 0 <= x < 1)
