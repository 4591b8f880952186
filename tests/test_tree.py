"""Nested structures of Tensors, and of anything else."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest

import tinygrad_edu as edu
from tinygrad_edu import errors, tree


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Layer:
    W: Any
    b: Any = 0


class Bag:
    """A container of the user's own."""

    def __init__(self, *things: Any) -> None:
        self.things = things


tree.register(Bag, lambda bag: (bag.things, None), lambda _, things: Bag(*things))

STRUCTURES = [
    1,
    (),
    (1,),
    [1, (2, [3])],
    {"b": 1, "a": {"c": 2}},
    OrderedDict(z=1, a=2),
    Point(1, (2, None)),
    Layer(1, [2, 3]),
    None,
    {"none": None, "empty": []},
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_unflattening_what_was_flattened_gives_it_back(structure: Any) -> None:
    leaves, rest = tree.flatten(structure)
    again = rest.unflatten(leaves)
    assert again == structure
    assert type(again) is type(structure)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_map_changes_every_leaf_and_nothing_else(structure: Any) -> None:
    doubled = tree.map(lambda leaf: leaf * 2, structure)
    assert tree.leaves(doubled) == [leaf * 2 for leaf in tree.leaves(structure)]
    assert tree.flatten(doubled)[1] == tree.flatten(structure)[1]


def test_leaves_come_in_order() -> None:
    assert tree.leaves([1, (2, {"b": 3, "a": 4}), Point(5, Layer(6, 7))]) == [1, 2, 3, 4, 5, 6, 7]


def test_none_is_an_empty_container() -> None:
    assert tree.leaves([None, 1, None]) == [1]


def test_a_users_class_is_a_leaf_until_it_is_registered() -> None:
    class Unknown:
        pass

    unknown = Unknown()
    assert tree.leaves([unknown]) == [unknown]
    assert tree.map(lambda x: x + 1, Bag(1, Bag(2))).things[1].things == (3,)


def test_map_takes_several_structures() -> None:
    assert tree.map(lambda p, g: p - g, {"W": 3, "b": [1]}, {"W": 1, "b": [4]}) == {
        "W": 2,
        "b": [-3],
    }


@pytest.mark.parametrize("other", [{"W": 1}, {"W": 1, "b": (2,)}, {"W": 1, "c": [2]}, 3])
def test_map_refuses_structures_that_differ(other: Any) -> None:
    with pytest.raises(errors.ArgumentError, match="structures differ"):
        tree.map(lambda p, g: p, {"W": 1, "b": [2]}, other)


def test_the_keys_of_a_dict_may_come_in_another_order() -> None:
    pairs = tree.map(lambda x, y: (x, y), {"W": 1, "b": [2]}, {"b": [20], "W": 10})
    assert pairs == {"W": (1, 10), "b": [(2, 20)]}
    assert tree.spread(({"b": None, "W": 0},), ({"W": 1.0, "b": [2.0]},)) == [0, None]
    structure = tree.flatten((1, [{"x": 2, "y": None}]))[1]
    assert tree.leaves_like(structure, (3, [{"y": None, "x": 4}])) == [3, 4]
    assert tree.leaves_like(structure, (3, [{"y": None, "z": 4}])) is None
    assert tree.leaves_like(structure, (3, [])) is None


def test_unflattening_refuses_too_many_and_too_few_leaves() -> None:
    rest = tree.flatten((1, 2))[1]
    with pytest.raises(errors.ArgumentError, match="3 leaves for a structure of 2"):
        rest.unflatten([1, 2, 3])
    with pytest.raises(errors.ArgumentError, match="1 leaves for a structure of 2"):
        rest.unflatten([1])


def test_a_long_list_and_a_deep_nest_are_fine() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert tree.leaves(tree.map(lambda x: x + 1, deep)) == [2]
    assert len(tree.leaves(list(range(10_000)))) == 10_000


def test_tensors_and_variables_are_leaves() -> None:
    x, v = edu.ones((2, 2)), edu.Variable([1.0, 2.0])
    leaves = tree.leaves({"x": x, "v": v})
    assert leaves[0] is x
    assert leaves[1] is v
