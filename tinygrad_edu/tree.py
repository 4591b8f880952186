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

import builtins
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .errors import ArgumentError

Flatten = Callable[[Any], tuple[Sequence[Any], Any]]
Unflatten = Callable[[Any, Sequence[Any]], Any]

_LEAF = object()


def _items(node: dict[Any, Any]) -> tuple[Sequence[Any], Any]:
    return tuple(node.values()), tuple(node)


_CONTAINERS: dict[type, tuple[Flatten, Unflatten]] = {
    type(None): (lambda node: ((), None), lambda data, children: None),
    tuple: (lambda node: (node, None), lambda data, children: tuple(children)),
    list: (lambda node: (node, None), lambda data, children: list(children)),
    dict: (_items, lambda keys, children: dict(zip(keys, children, strict=True))),
    OrderedDict: (_items, lambda keys, children: OrderedDict(zip(keys, children, strict=True))),
}
"""How to take a class apart and build it again."""

_LEAVES: set[type] = set()
"""The classes of leaves that were met so far."""

_kinds = functools.partial(builtins.map, type)


class Structure(NamedTuple):
    """What is left of a nested structure without its leaves; equal for equal structures."""

    kind: Any  # a type, or _LEAF
    data: Any  # what rebuilds the container: a dict's keys
    children: tuple[Structure, ...]
    size: int  # the number of leaves
    flat: bool  # whether the children are just leaves

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The structure around `leaves`, one for each leaf it was flattened from."""
        if len(leaves) != self.size:
            raise ArgumentError(f"{len(leaves)} leaves for a structure of {self.size}")
        if self.flat:
            return _CONTAINERS[self.kind][1](self.data, list(leaves))
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is _LEAF:
            return next(leaves)
        children = [child._build(leaves) for child in self.children]
        return _CONTAINERS[self.kind][1](self.data, children)


# A named tuple's own constructor takes three times as long.
_structure: Any = functools.partial(tuple.__new__, Structure)
_ONE_LEAF = Structure(_LEAF, None, (), 1, False)


def register(kind: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make a class of the user's a container.

    `flatten(instance)` gives the children and whatever else rebuilds it (hashable);
    `unflatten(rest, children)` builds an instance.
    """
    _CONTAINERS[kind] = (flatten, unflatten)
    _LEAVES.discard(kind)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a nested structure, in order, and the structure without them."""
    if tree.__class__ is list and _LEAVES.issuperset(_kinds(tree)):  # as most structures are
        return tree[:], _list_of_leaves(len(tree))
    leaves: list[Any] = []
    structure = _visit(tree, leaves)
    return leaves, structure


class _ListOfLeaves(Structure):
    """What most structures are, taken apart and built again without asking how."""

    __slots__ = ()

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        return list(leaves) if len(leaves) == self.size else super().unflatten(leaves)


@functools.cache
def _list_of_leaves(size: int) -> Structure:
    return _ListOfLeaves(list, None, (_ONE_LEAF,) * size, size, True)


def _visit(node: Any, leaves: list[Any]) -> Structure:
    container = _container(type(node))
    if container is None:
        leaves.append(node)
        return _ONE_LEAF
    before = len(leaves)
    children, data = container[0](node)
    inner, flat = [], True
    for child in children:
        if type(child) in _LEAVES:  # most children are
            leaves.append(child)
            inner.append(_ONE_LEAF)
        else:
            inner.append(_visit(child, leaves))
            flat = flat and inner[-1] is _ONE_LEAF
    return _structure((type(node), data, tuple(inner), len(leaves) - before, flat))


def _container(kind: type) -> tuple[Flatten, Unflatten] | None:
    if kind in _LEAVES:
        return None
    if kind not in _CONTAINERS:
        container = _recognized(kind)
        if container is None:
            _LEAVES.add(kind)
            return None
        _CONTAINERS[kind] = container
    return _CONTAINERS[kind]


def leaves(tree: Any) -> list[Any]:
    """The leaves of a nested structure, in order."""
    if tree.__class__ in _LEAVES:  # mostly it is one itself
        return [tree]
    return flatten(tree)[0]


def leaves_like(structure: Structure, tree: Any) -> list[Any] | None:
    """The leaves of a tree in the order of a structure, where only the keys of its dicts may have
    another; None where it has another structure.

    >>> leaves_like(flatten({"W": 1, "b": 2})[1], {"b": 20, "W": 10})
    [10, 20]
    """
    found, given = flatten(tree)
    if given != structure:
        found, given = flatten(_ordered(tree, structure))
    return found if given == structure else None


def _ordered(tree: Any, structure: Structure) -> Any:
    """A tree whose dicts have their keys in the order that they have in a structure."""
    if type(tree) is not structure.kind:
        return tree
    flatten_one, unflatten_one = _CONTAINERS[structure.kind]
    if structure.kind is dict and tree.keys() == set(structure.data):
        tree = {key: tree[key] for key in structure.data}
    children, data = flatten_one(tree)
    if len(children) != len(structure.children):
        return tree
    pairs = zip(children, structure.children, strict=True)
    return unflatten_one(data, [_ordered(*pair) for pair in pairs])


def map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of each leaf (and of the leaves at its place in `others`), in the same structure.

    >>> map(lambda p, g: p - g, {"W": 3.0, "b": 1.0}, {"W": 1.0, "b": 0.5})
    {'W': 2.0, 'b': 0.5}
    """
    first, structure = flatten(tree)
    rows = [first]
    for other in others:
        row = leaves_like(structure, other)
        if row is None:
            raise ArgumentError(
                f"tree.map: the structures differ: {structure.unflatten(first)!r} and {other!r}"
            )
        rows.append(row)
    return structure.unflatten([function(*row) for row in zip(*rows, strict=True)])


def spread(prefix: Any, tree: Any) -> list[Any]:
    """For each leaf of a structure what `prefix` says of it: one value for all below its place, or
    a structure again.

    >>> spread((0, None), ([1.0, 2.0], {"W": 3.0}))
    [0, 0, None]
    """
    container, given = _container(type(tree)), _container(type(prefix))
    if prefix is None or given is None or container is None:
        if container is None and given is not None and prefix is not None:
            raise ArgumentError(f"{prefix!r} goes deeper than the value it speaks of")
        return [prefix] * len(leaves(tree))
    children, keys = container[0](tree)
    if type(tree) is dict and type(prefix) is dict and tree.keys() == prefix.keys():
        prefix = {key: prefix[key] for key in tree}
    prefixes, prefix_keys = given[0](prefix)
    if len(children) != len(prefixes) or keys != prefix_keys:
        raise ArgumentError(f"{prefix!r} has another structure than the value it speaks of")
    pairs = zip(prefixes, children, strict=True)
    return [value for pair in pairs for value in spread(*pair)]


def _recognized(kind: type) -> tuple[Flatten, Unflatten] | None:
    """A class that nobody registered: named tuples and dataclasses are containers."""
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda node: (node, None), lambda data, children: kind(*children)
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses  # takes long; whoever has one has paid for it

        names = tuple(f.name for f in dataclasses.fields(kind) if f.init)
        return (
            lambda node: ([getattr(node, name) for name in names], None),
            lambda data, children: kind(**dict(zip(names, children, strict=True))),
        )
    return None
