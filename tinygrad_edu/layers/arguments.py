"""What layers say of their arguments before they use them.

`layer` is the name of the layer's class, for messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import constraints, initializers, regularizers
from ..arguments import Shape, whole
from ..errors import ArgumentError, Error, ShapeError, close_to
from ..ops.windows import DataFormat


def sizes(layer: str, argument: str, given: Any, axes: int, least: int = 1) -> Shape:
    """One integer for each axis; a single one stands for all.

    >>> sizes("Conv2D", "strides", 2, 2)
    (2, 2)
    """
    if not isinstance(given, (tuple, list)):
        return (whole(layer, argument, given, least),) * axes
    if len(given) != axes:
        raise ArgumentError(
            f"{layer}: {argument} is an integer{f', or {axes} of them' * (axes > 1)}, not {given!r}"
        )
    return tuple([whole(layer, argument, n, least) for n in given])


def one_of(layer: str, argument: str, given: Any, known: Sequence[str]) -> str:
    """A word that is known, in lower case; otherwise ArgumentError, with the one close to it."""
    word = given.lower() if isinstance(given, str) else given
    if word in known:
        return str(word)
    raise ArgumentError(
        f"{layer}: {argument} is {' or '.join(map(repr, known))}, not {given!r}"
        f"{close_to(word, known)}"
    )


def data_format(layer: str, given: str | None) -> DataFormat:
    """Where channels are: "channels_last", unless "channels_first" is said."""
    if given is None:
        return "channels_last"
    word = one_of(layer, "data_format", given, ("channels_last", "channels_first"))
    return "channels_first" if word == "channels_first" else "channels_last"


def weight(layer: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """How a weight starts, and what keeps it small or in bounds, as `add_weight` takes it: of the
    arguments of a layer (`locals()` of its `__init__`), by name. Raises ArgumentError for unknown
    names."""
    modules = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
    return {
        what: found(layer, f"{name}_{what}", module.get, given.get(f"{name}_{what}"))
        for what, module in modules.items()
    }


def found(layer: str, argument: str, get: Callable[[Any], Any], given: Any) -> Any:
    """get(given); its ArgumentError names the layer and the argument."""
    try:
        return get(given)
    except ArgumentError as error:
        raise renamed(f"{layer}: {argument}", error) from None


def renamed(name: str, error: Error) -> Error:
    """An error that says it of a layer, where it was said of an operation."""
    return type(error)(f"{name}: {str(error).partition(': ')[2]}")


def known_size(layer: str, shape: Sequence[int | None], axis: int) -> int:
    """How many there are along an axis that weights are made for."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{layer}: inputs of shape {tuple(shape)} have no axis {axis}")
    found = shape[axis]
    if found is None:
        raise ShapeError(
            f"{layer}: makes a weight for each place along axis {axis}, whose size is not known: "
            f"inputs have shape {tuple(shape)}"
        )
    return found
