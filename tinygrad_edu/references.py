"""What the reference suite is told of an operation: its names in the frameworks, the domain it is
tested on, and calls to test it with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .arguments import Shape


class Domain(NamedTuple):
    """Where an argument of an operation is tested: a kind of dtype, and a range.

    `kind` is "float", "int" or "bool". Where a gradient has kinks, tests stay `away` from them.
    """

    kind: str
    low: float = 0
    high: float = 1
    away: tuple[float, ...] = ()


def real(low: float, high: float, away: Sequence[float] = ()) -> Domain:
    """Floats between `low` and `high`."""
    return Domain("float", low, high, tuple(away))


def integers(low: int, high: int) -> Domain:
    """Integers from `low` to `high` (not included)."""
    return Domain("int", low, high)


booleans = Domain("bool")


def named_alike(name: str, tensorflow: str = "", torch: str = "") -> dict[str, str]:
    """The reference frameworks' names where they differ little: `tf.math.x`, `torch.x`, `jnp.x`."""
    return {
        "tensorflow": tensorflow or f"math.{name}",
        "torch": torch or name,
        "jax": f"numpy.{name}",
    }


class Example(NamedTuple):
    """A call to test an operation with: the shapes of the arrays, and the parameters."""

    shapes: tuple[Shape, ...]
    params: dict[str, Any]


def example(*shapes: Shape, **params: Any) -> Example:
    """`example((2, 3), axis=0)`: an array of shape (2, 3), and a parameter."""
    return Example(shapes, params)
