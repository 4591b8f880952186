"""What the suite is told of a function that is made of other operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_edu.references import Domain, real

from ..calls import Call


class Row(NamedTuple):
    """A function with the arrays first, its counterparts in the frameworks, and calls to compare.

    `domain`, one for all arrays or one each, and `kinks` are as in an operation's definition.
    """

    function: Callable[..., Any]
    references: dict[str, Any]
    calls: tuple[Call, ...]
    domain: Domain | tuple[Domain, ...] = real(-3, 3)
    kinks: tuple[tuple[float, ...], ...] = ()
