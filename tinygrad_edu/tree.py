"""Nested structures: tuples, lists, dicts, dataclasses, None, and classes that users register.

A structure is flattened to its leaves in a fixed order and built up again around other leaves.
Knows nothing of Tensors: a leaf is whatever is not a container.

>>> leaves, structure = flatten({"W": 1, "b": (2, [3, None])})
>>> leaves
[1, 2, 3]
>>> structure.unflatten([10, 20, 30])
{'W': 10, 'b': (20, [30, None])}
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .errors import ArgumentError

Flatten = Callable[[Any], tuple[Sequence[Any], Any]]
Unflatten = Callable[[Any, Sequence[Any]], Any]

_REGISTERED: dict[type, tuple[Flatten, Unflatten]] = {}
_LEAF = object()


class Structure(NamedTuple):
    """What is left of a nested structure without its leaves; equal for equal structures."""

    kind: Any  # a type, or _LEAF
    data: Any  # what rebuilds the container: a dict's keys, a dataclass's field names
    children: tuple[Structure, ...]

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The structure around `leaves`, one for each leaf it was flattened from."""
        rest = iter(leaves)
        built = self._build(rest)
        if next(rest, _LEAF) is not _LEAF:
            raise ArgumentError(f"{len(leaves)} leaves are too many for this structure")
        return built

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is _LEAF:
            return next(leaves)
        children = [child._build(leaves) for child in self.children]
        return _container(self.kind)[1](self.data, children)


def register(kind: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make a class of the user's a container.

    `flatten(instance)` gives the children and whatever else rebuilds it (hashable);
    `unflatten(rest, children)` builds an instance.
    """
    _REGISTERED[kind] = (flatten, unflatten)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a nested structure, in order, and the structure without them."""
    leaves: list[Any] = []

    def visit(node: Any) -> Structure:
        kind = type(node)
        container = _container(kind)
        if container is None:
            leaves.append(node)
            return Structure(_LEAF, None, ())
        children, data = container[0](node)
        return Structure(kind, data, tuple(visit(child) for child in children))

    return leaves, visit(tree)


def leaves(tree: Any) -> list[Any]:
    """The leaves of a nested structure, in order."""
    return flatten(tree)[0]


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of each leaf (and of the leaves at its place in `others`), in the same structure.

    >>> map(lambda p, g: p - g, {"W": 3.0, "b": 1.0}, {"W": 1.0, "b": 0.5})
    {'W': 2.0, 'b': 0.5}
    """
    first, structure = flatten(tree)
    rows = [first]
    for other in others:
        row, other_structure = flatten(other)
        if other_structure != structure:
            raise ArgumentError(
                f"tree.map: the structures differ: {structure.unflatten(first)!r} and {other!r}"
            )
        rows.append(row)
    return structure.unflatten([function(*row) for row in zip(*rows, strict=True)])


def _container(kind: Any) -> tuple[Flatten, Unflatten] | None:
    """How to take a container of this type apart and build it again; None for a leaf."""
    if kind in _REGISTERED:
        return _REGISTERED[kind]
    if kind is type(None):
        return lambda node: ((), None), lambda data, children: None
    if kind is tuple or kind is list:
        return lambda node: (node, None), lambda data, children: kind(children)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda node: (node, None), lambda data, children: kind(*children)
    if kind is dict or kind is OrderedDict:
        return (
            lambda node: (tuple(node.values()), tuple(node)),
            lambda keys, children: kind(zip(keys, children, strict=True)),
        )
    if dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind) if f.init)
        return (
            lambda node: ([getattr(node, name) for name in names], None),
            lambda data, children: kind(**dict(zip(names, children, strict=True))),
        )
    return None
