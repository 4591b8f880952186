"""Gradients held against differences: does a function's derivative say how the function changes?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import conversion, dtypes, ops, tree
from .derivatives import jvp
from .errors import ArgumentError, DtypeError, GradientError
from .tensors import Tensor
from .transforms import grad

_STEPS = {"float64": 2.0**-17, "float32": 2.0**-8, "float16": 2.0**-4, "bfloat16": 2.0**-3}
"""How far to step for a central difference: near the cube root of the dtype's precision."""

_TOLERANCES = {"float64": 1e-6, "float32": 2e-2, "float16": 2e-1, "bfloat16": 4e-1}


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    *,
    modes: Sequence[str] = ("reverse", "forward"),
    step: float | None = None,
    tolerance: float | None = None,
) -> None:
    """Compare the derivatives of a function, to an order, with differences of its values.

    `args` are nested structures of Tensors, arrays and numbers; Python numbers and nested lists of
    them count as float64. The value may be any structure of Tensors: its elements are weighed and
    summed. `step` is how far apart the values are taken, `tolerance` how large a difference may be,
    for each element, as a share of the largest derivative or of 1; both by the values' dtype unless
    given, and float64 tells much more. `modes` are those of "reverse" (`grad`) and "forward"
    (`jvp`).

    Raises GradientError with the argument, the place and both numbers where they disagree.

    Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, section 3.1.

    >>> import tinygrad_edu as edu
    >>> check_grads(lambda x: edu.sin(x) * x, [[0.5, 1.0]], order=2)
    >>> @edu.custom_gradient
    ... def wrong(x):
    ...     return x * x, lambda g: g * x
    >>> check_grads(wrong, [3.0])
    Traceback (most recent call last):
      ...
    tinygrad_edu.errors.GradientError: check_grads: the gradient of order 1 of argument 0 is off: \
by reverse mode 3, by differences 6 (off by 3, at most 6e-06)
    """
    unknown = set(modes) - {"reverse", "forward"}
    if unknown or not isinstance(order, int) or order < 1:
        raise ArgumentError(
            "check_grads: order is a number from 1, and modes are of 'reverse' and 'forward', not "
            f"{order!r} and {tuple(modes)!r}"
        )
    if not isinstance(args, (tuple, list)):
        raise ArgumentError(f"check_grads: args is a list with an entry an argument, not {args!r}")
    leaves, structure = tree.flatten(tuple(args))
    points = [np.array(_point(x)) for x in leaves]
    for x in points:
        if not dtypes.is_float(x.dtype):
            raise DtypeError(
                f"check_grads: no gradient flows through dtype {x.dtype} (shape {x.shape}): use a "
                "float dtype, for example x.astype('float32')"
            )

    def of_leaves(*given: Any) -> Tensor:
        return _weighed(function(*structure.unflatten(given)))

    for number in range(1, order + 1):
        _compare(of_leaves, points, number, modes, step, tolerance)
        of_leaves = _slope(of_leaves, len(points))


def _point(x: Any) -> np.ndarray:
    if isinstance(x, (bool, int, float)):
        return np.array(x, np.float64)
    return conversion.as_tensor(x).numpy()


def _weights(parts: Sequence[Any]) -> list[np.ndarray]:
    """Numbers between 1/2 and 3/2 for the elements of each array, without a pattern."""
    generator = np.random.default_rng(0)
    return [np.asarray(generator.uniform(0.5, 1.5, x.shape), x.dtype) for x in parts]


def _weighed(value: Any) -> Tensor:
    """A value that is one number; or else its elements, weighed and summed."""
    parts = [conversion.as_tensor(y) for y in tree.leaves(value)]
    if not parts:
        raise GradientError(f"check_grads: the function returned no Tensor, but {value!r}")
    if len(parts) == 1 and not parts[0].shape:
        return parts[0]
    sums = [ops.sum(y * weight) for y, weight in zip(parts, _weights(parts), strict=True)]
    return ops.sum(ops.stack(sums))


def _slope(function: Callable[..., Tensor], count: int) -> Callable[..., Tensor]:
    """The gradients of a scalar function, weighed and summed in turn."""
    gradients = grad(function, tuple(range(count)))
    return lambda *given: _weighed(gradients(*given))


def _compare(
    function: Callable[..., Tensor],
    points: Sequence[np.ndarray],
    order: int,
    modes: Sequence[str],
    step: float | None,
    tolerance: float | None,
) -> None:
    dtype = function(*points).dtype.name
    width = _STEPS.get(dtype, 0.0) if step is None else step
    allowed = _TOLERANCES.get(dtype, 0.0) if tolerance is None else tolerance
    numeric = [_differences(function, points, i, width) for i in range(len(points))]
    if "reverse" in modes:
        analytic = grad(function, tuple(range(len(points))))(*points)
        for i, (found, expected) in enumerate(zip(analytic, numeric, strict=True)):
            _agree("reverse", order, i, found.numpy(), expected, allowed)
    if "forward" in modes:
        directions = _weights(points)
        moved = jvp(function, tuple(points), tuple(directions))[1]
        pairs = zip(numeric, directions, strict=True)
        total = sum(float(np.sum(slope * direction)) for slope, direction in pairs)
        _agree("forward", order, None, moved.numpy(), np.array(total), allowed)


def _differences(
    function: Callable[..., Tensor], points: Sequence[np.ndarray], i: int, step: float
) -> np.ndarray:
    """The slope along each element of one argument, by central differences."""
    found = np.zeros(points[i].shape)
    for place in np.ndindex(found.shape):
        values, places = [], []
        for sign in (1, -1):
            moved = np.array(points[i])
            moved[place] += sign * step
            places.append(float(moved[place]))  # rounding may have moved it less, or more
            values.append(function(*points[:i], moved, *points[i + 1 :]).item())
        found[place] = (values[0] - values[1]) / (places[0] - places[1])
    return found


def _agree(
    mode: str,
    order: int,
    argument: int | None,
    found: np.ndarray,
    expected: np.ndarray,
    tolerance: float,
) -> None:
    allowed = tolerance * max(1.0, float(np.max(np.abs(expected), initial=0)))
    off = np.abs(found.astype(np.float64) - expected)
    wrong = ~(off <= allowed)  # NaN is wrong
    if not wrong.any():
        return
    worst = np.argmax(np.where(wrong, np.nan_to_num(off, nan=np.inf), 0))
    where = np.unravel_index(worst, off.shape)
    what = "along all arguments" if argument is None else f"of argument {argument}"
    place = f" at {tuple(int(i) for i in where)}" if where else ""
    raise GradientError(
        f"check_grads: the gradient of order {order} {what} is off{place}: by {mode} mode "
        f"{found[where]:.6g}, by differences {expected[where]:.6g} (off by {off[where]:.3g}, "
        f"at most {allowed:.1g}"
        + (f"; {int(wrong.sum())} of {wrong.size} elements are)" if wrong.size > 1 else ")")
    )
