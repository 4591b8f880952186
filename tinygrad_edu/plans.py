"""Plan: what lies between the inputs and the outputs of a functional model, as a list of steps.

Made of symbolic values (`symbolic`), it holds none of them: only layers, operations and the numbers
of the values they take and give, so that it can be run, copied and written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from . import dtypes, ops, symbolic, tree
from .errors import ArgumentError
from .layers.base import Layer, unique
from .op import Op
from .symbolic import Step, Symbol
from .tensors import Tensor


class Slot:
    """The place of a value among all those of a plan."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"${self.number}"


class Later:
    """A size that is computed when data comes, as `symbolic.Size.how` says, of values that have
    these numbers."""

    __slots__ = ("how",)

    def __init__(self, how: Any) -> None:
        self.how = how

    def of(self, held: Any) -> int:
        """The size, by values: Tensors, or symbolic ones."""
        return symbolic.computed(self.how, lambda number, axis: held[number].shape[axis])


class Call(NamedTuple):
    """An operation or a layer, applied: slots stand for Tensors, in `arguments`, (args, kwargs),
    and in `outputs`."""

    name: str
    operation: Any
    arguments: Any
    outputs: Any

    @property
    def taken(self) -> list[Slot]:
        """The values that it is applied to."""
        return [x for x in tree.leaves(self.arguments) if isinstance(x, Slot)]

    @property
    def made(self) -> list[Slot]:
        return tree.leaves(self.outputs)


class Plan:
    """The steps from inputs to outputs, nested structures of symbolic Tensors.

    `starts` are the input layers, `calls` the steps in the order in which they run, `layers` what
    they call by its name, in the order of Keras: by distance from the outputs, the farthest first.
    `inputs` and `outputs` are structures of slots, `specs` the shape and dtype of each slot.

    Raises ArgumentError for what is no symbolic Tensor, for outputs that need other inputs, and for
    two layers that were given the same name.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        from .models import InputLayer

        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:  # as in Keras
            outputs = outputs[0]
        starts = [_symbol(x, "inputs") for x in in_order(inputs)]
        ends = [_symbol(x, "outputs") for x in in_order(outputs)]
        for what, given in (("inputs", starts), ("outputs", ends)):
            if not given:
                raise ArgumentError(f"a functional model has {what}, and these are {what} of none")
        self.starts: list[Any] = [
            x.step.operation
            if isinstance(x.step.operation, InputLayer)
            else InputLayer(x.shape[1:], dtype=x.dtype)
            for x in starts
        ]
        places: dict[tuple[Step, int], Slot] = {}
        for x in starts:
            if (x.step, x.index) in places:
                raise ArgumentError("inputs: one of them is there twice")
            places[x.step, x.index] = Slot(len(places))
        self.specs = [x.step.specs[x.index] for x in starts]
        steps, order = _ordered(dict(zip(places, self.starts, strict=True)), ends)
        names = _named(order)
        self.layers = {name: x for x, name in names.items() if isinstance(x, Layer)}
        self.calls: list[Call] = []
        for step in steps:
            leaves, structure = tree.flatten(step.arguments)
            arguments = structure.unflatten([_placed(x, places) for x in leaves])
            made = [Slot(len(self.specs) + i) for i in range(len(step.specs))]
            self.specs += step.specs
            for i, slot in enumerate(made):
                places.setdefault((step, i), slot)
            outputs_of = step.structure.unflatten(made)
            key = step.operation if isinstance(step.operation, Layer) else step
            self.calls.append(Call(names[key], step.operation, arguments, outputs_of))
        self.inputs = tree.map(lambda x: places[_key(x)], inputs)
        self.outputs = tree.map(lambda x: places[_key(x)], outputs)
        self._program: list[Any] | None = None

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in their order."""
        names = {x: name for name, x in self.layers.items()}
        return [names[x] for x in self.starts]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that give the outputs."""
        makers = {slot.number: call.name for call in self.calls for slot in call.made}
        makers |= dict(enumerate(self.input_names))
        return [makers[slot.number] for slot in in_order(self.outputs)]

    def run(self, values: Sequence[Tensor]) -> Any:
        """The outputs for these inputs, in their order."""
        if self._program is None:
            self._program = [_compiled(call) for call in self.calls]
        held: list[Any] = [*values, *[None] * (len(self.specs) - len(values))]
        for function, leaves, arguments, made in self._program:
            given = [held[x.number] if x.__class__ is Slot else x for x in leaves]
            if arguments is None:
                found = function(given[0])
            else:
                args, kwargs = arguments.unflatten(given)
                found = function(*args, **kwargs)
            if len(made) == 1 and isinstance(found, Tensor):
                held[made[0]] = found
            else:
                for number, x in zip(made, tree.leaves(found), strict=True):
                    held[number] = x
        return tree.map(lambda slot: held[slot.number], self.outputs)

    def symbols(self) -> tuple[Any, Any]:
        """The inputs and outputs as symbolic Tensors. Layers that know no place of their own get
        that in this plan."""
        held: list[Any] = [layer.start() for layer in self.starts]
        for call in self.calls:
            args, kwargs = _filled(call.arguments, held)
            result = tree.map(lambda slot: self.specs[slot.number], call.outputs)
            found = symbolic.called(call.operation, args, kwargs, result)
            held += tree.leaves(found)
            if isinstance(call.operation, Layer):
                call.operation._placed(args, kwargs, found)
        return _filled(self.inputs, held), _filled(self.outputs, held)

    # As data

    def config(self) -> dict[str, Any]:
        """The plan as nested data, with layers and operations in it."""
        layers = list(self.layers.values())
        return {
            "layers": layers,
            "starts": [layers.index(x) for x in self.starts],
            "calls": [
                [
                    layers.index(x)
                    if isinstance(x := call.operation, Layer)
                    else _written_operation(x),
                    _written(call.arguments),
                ]
                for call in self.calls
            ],
            "inputs": _written(self.inputs),
            "outputs": _written(self.outputs),
        }

    @staticmethod
    def ends(config: Mapping[str, Any]) -> tuple[Any, Any]:
        """The symbolic inputs and outputs that `config` is of, with its layers called anew."""
        layers = config["layers"]
        held: list[Any] = [layers[i].start() for i in config["starts"]]
        for operation, arguments in config["calls"]:
            args, kwargs = _read(arguments, held)
            called = (
                layers[operation] if isinstance(operation, int) else _read(operation, ()).replay
            )
            held += tree.leaves(called(*args, **kwargs))
        return _read(config["inputs"], held), _read(config["outputs"], held)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_program": None}


def in_order(ends: Any) -> list[Any]:
    """The leaves of inputs or outputs; of a dict by its names, as Keras has them.

    >>> in_order({"b": 1, "a": 2})
    [2, 1]
    """
    return tree.leaves(dict(sorted(ends.items())) if isinstance(ends, dict) else ends)


def _symbol(x: Any, what: str) -> Symbol:
    if not symbolic.is_symbolic(x):
        raise ArgumentError(
            f"{what}: {type(x).__name__} is no symbolic Tensor: a functional model goes from "
            "edu.Input(shape) to what layers and operations make of it"
        )
    return symbolic.symbol(x)


def _key(x: Tensor) -> tuple[Step, int]:
    found = symbolic.symbol(x)
    return found.step, found.index


def _ordered(
    starts: Mapping[tuple[Step, int], Layer], ends: Sequence[Symbol]
) -> tuple[list[Step], list[Any]]:
    """The steps that the ends need, in the order to run them; and input layers, layers, and steps
    of other operations, ranked as Keras ranks them: by depth, which is the longest way to an end,
    and then as they are met on the way back from the ends."""
    met: dict[Any, int] = {}
    done: dict[Any, None] = {}
    pending = [(x, False) for x in reversed(ends)]
    while pending:  # depth first, without recursion: models may be deep
        x, is_left = pending.pop()
        node = _node(x, starts)
        if is_left or node in done or x.step.operation is None:
            done[node] = None
            continue
        met.setdefault(_operation(node), len(met))
        pending.append((x, True))
        if isinstance(node, Step):
            if not node.arguments[0] and not node.arguments[1]:
                raise ArgumentError(
                    f"outputs need the input {node.operation.name!r}, of shape {x.shape}, which is "
                    "not among the inputs: add it to Model(inputs=[...], outputs)"
                )
            pending += [(each, False) for each in reversed(_taken(node))]
    depths: dict[Any, int] = {_node(x, starts): 0 for x in ends}
    deepest: dict[Any, int] = {}
    for node in reversed(done):
        operation = _operation(node)
        if operation not in met:  # a constant
            continue
        depth = depths[node] = max(depths.get(node, 0), deepest.get(operation, 0))
        deepest[operation] = depth
        for each in _taken(node) if isinstance(node, Step) else ():
            before = _node(each, starts)
            depths[before] = max(depth + 1, depths.get(before, 0))
    for layer in starts.values():  # those that nothing uses
        deepest.setdefault(layer, 0)
        met.setdefault(layer, -1)
    steps = [x for x in done if isinstance(x, Step) and x.operation is not None]
    steps.sort(key=lambda step: -depths[step])
    return steps, sorted(deepest, key=lambda each: (-deepest[each], met[each]))


def _node(x: Symbol, starts: Mapping[tuple[Step, int], Layer]) -> Any:
    """What a value comes from: an input layer, or a step."""
    return starts.get((x.step, x.index), x.step)


def _operation(node: Any) -> Any:
    """What is the same in all steps that share it: a layer. Other operations share nothing."""
    return node.operation if isinstance(getattr(node, "operation", None), Layer) else node


def _taken(step: Step) -> list[Symbol]:
    """The values that a step needs, be it for their sizes."""
    sizes: list[symbolic.Size] = []
    leaves = tree.leaves(step.arguments)
    for x in leaves:
        symbolic.with_sizes(x, sizes.append)
    needed = [Symbol(*value) for size in sizes for _, value, _ in symbolic.sources(size.how)]
    return [*[x for x in leaves if isinstance(x, Symbol)], *needed]


def _named(operations: Sequence[Any]) -> dict[Any, str]:
    """A name for each layer, and for each step of another operation: that of its class, numbered,
    unless it was given one."""
    given = [x._name for x in operations if isinstance(x, Layer) and x._name]
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice:
        raise ArgumentError(
            f"two layers have the name {twice!r}: give them different ones, or none"
        )
    taken = set(given)
    names: dict[Any, str] = {}
    for x in operations:
        names[x] = x._named(taken) if isinstance(x, Layer) else unique(str(x.operation), taken)
    return names


def _placed(x: Any, places: Mapping[tuple[Step, int], Slot]) -> Any:
    """A leaf of a step's arguments: a slot for a value, a Tensor for a constant."""
    if not isinstance(x, Symbol):
        return symbolic.with_sizes(x, lambda size: Later(_numbered(size.how, places)))
    return x.step.arguments if x.step.operation is None else places[x.step, x.index]


def _numbered(how: Any, places: Mapping[tuple[Step, int], Slot]) -> Any:
    """How a size is computed, with numbers for values."""
    if not isinstance(how, tuple):
        return how
    name, one, other = how
    if name == "axis":
        return name, places[one].number, other
    return name, _numbered(one, places), _numbered(other, places)


def _filled(structure: Any, held: Any) -> Any:
    """Arguments with the values of slots, by number, and the sizes that come of them."""
    return tree.map(lambda x: _fill(x, held), structure)


def _fill(x: Any, held: Any) -> Any:
    if isinstance(x, Slot):
        return held[x.number]
    if isinstance(x, Later):
        return x.of(held)
    if isinstance(x, slice):
        return slice(*[_fill(each, held) for each in (x.start, x.stop, x.step)])
    return x


def _compiled(call: Call) -> Any:
    """What `run` does for a call: the function, its leaves, their structure (None for just one
    argument), and the numbers of what it makes."""
    made = [slot.number for slot in call.made]
    function = call.operation.replay if isinstance(call.operation, Op) else call.operation
    leaves, structure = tree.flatten(call.arguments)
    if needed := _sources(leaves):
        numbers = [*needed, *[slot.number for slot in call.taken]]

        def sized(*values: Any) -> Any:
            args, kwargs = _filled(call.arguments, dict(zip(numbers, values, strict=True)))
            return function(*args, **kwargs)

        slots = [Slot(number) for number in numbers]
        return sized, slots, tree.flatten((tuple(slots), {}))[1], made
    args, kwargs = call.arguments
    plain = len(args) == 1 and not kwargs and isinstance(args[0], Slot)
    return function, leaves, None if plain else structure, made


def _sources(leaves: Sequence[Any]) -> list[int]:
    """The numbers of the values whose sizes are among arguments."""
    parts = [
        part
        for x in leaves
        for part in ((x.start, x.stop, x.step) if isinstance(x, slice) else (x,))
    ]
    found = [symbolic.sources(part.how) for part in parts if isinstance(part, Later)]
    return [number for each in found for _, number, _ in each]


# What JSON has no words for, in dicts of one key that no argument of a layer looks like.


def _written(structure: Any) -> Any:
    return tree.map(_mark, structure)


def _mark(x: Any) -> Any:
    if isinstance(x, Slot):
        return {"$slot": x.number}
    if isinstance(x, Later):
        return {"$size": x.how}
    if isinstance(x, slice):
        return {"$slice": [_mark(each) for each in (x.start, x.stop, x.step)]}
    if isinstance(x, np.dtype):
        return {"$dtype": x.name}
    return {"$dots": None} if x is Ellipsis else x


_READ: dict[str, Callable[[Any], Any]] = {
    "$dtype": dtypes.as_dtype,
    "$dots": lambda given: Ellipsis,
    "$operation": lambda given: _operations()[given],  # type: ignore[has-type]
}


def _read(data: Any, held: Sequence[Any]) -> Any:
    if isinstance(data, (list, tuple)):
        return type(data)([_read(x, held) for x in data])
    if not isinstance(data, Mapping):
        return data
    if len(data) == 1:
        ((key, value),) = data.items()
        if key == "$slot":
            return held[value]
        if key == "$size":
            return Later(value).of(held)
        if key == "$slice":
            return slice(*[_read(each, held) for each in value])
        if key in _READ:
            return _READ[key](value)
    return {key: _read(x, held) for key, x in data.items()}


def _written_operation(op: Op) -> Any:
    """An operation of the library by its name, also one that users do not see; others are
    registered."""
    name = next((name for name, known in _operations().items() if known is op), None)
    return op if name is None else {"$operation": name}


@cache
def _operations() -> dict[str, Op]:
    """Every operation of the library, by its family and name there."""
    families: list[Any] = vars(ops)["families"]
    return {
        f"{family.__name__.rpartition('.')[2]}.{name}": op
        for family in families
        for name, op in vars(family).items()
        if isinstance(op, Op)
    }
