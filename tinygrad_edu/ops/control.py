"""Control flow as functions: branches and loops whose body is a function.

Run at once, they are Python's own `if`, `while` and `for`, and tapes record what happens inside.
They are for what Python's cannot do: under `vmap` the examples of a batch may take different
branches and numbers of turns. Then every branch is computed and each example keeps its own; so a
branch must not fail where it is not taken, and its gradient must be finite there.

While a jitted function is traced, each is one operation of its program, and the functions it is
given are Graphs, its parameters: a condition may depend on traced values, and a loop is written
down once, whatever the number of turns.

The names and orders of arguments are those of JAX (jax.lax) and of keras.ops.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import backends, batching, conversion, dtypes, tape, tensors, traces, tracing, tree
from ..backends import Array
from ..dispatch import apply, picked
from ..dtypes import DType
from ..errors import ArgumentError, DtypeError, GradientError, ShapeError, TracingError
from ..graph import Graph, Value
from ..op import Aval, Op, aval, promoted
from ..tensors import Tensor, TensorLike
from . import creation
from .creation import zeros_like
from .elementwise import astype, where
from .logic import equal, logical_and
from .movement import broadcast_to, moveaxis, stack, unstack
from .reduction import any as any_of

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]

Structure = Any
"""A nested structure of Tensors."""


def cond(
    pred: TensorLike,
    true_fun: Callable[..., Structure],
    false_fun: Callable[..., Structure],
    /,
    *operands: Any,
) -> Structure:
    """`true_fun(*operands)` where `pred`, a boolean scalar, holds, else `false_fun(*operands)`.

    Where `pred` differs between the examples of a batch both are computed, and their results must
    have one structure and shape. In a jitted function just one is computed; there they must have
    one dtype too.

    >>> cond(2.0 > 1.0, lambda x: x + 1.0, lambda x: x - 1.0, 5.0)
    6.0
    """
    holds = _scalar("cond", pred)
    if _is_traced(holds):
        functions = (partial(false_fun, *operands), partial(true_fun, *operands))
        return _branched("cond", _truth(holds), functions)
    if not batching.is_mapped(holds):
        return true_fun(*operands) if bool(holds) else false_fun(*operands)
    return _chosen("cond", holds, true_fun(*operands), false_fun(*operands))


def switch(
    index: TensorLike, branches: Sequence[Callable[..., Structure]], /, *operands: Any
) -> Structure:
    """`branches[index](*operands)`; an index outside is taken for the nearest.

    Where `index` differs between the examples of a batch all are computed, and their results must
    have one structure and shape. In a jitted function just one is computed; there they must have
    one dtype too.

    >>> switch(1, [lambda x: x, lambda x: -x], 5.0)
    -5.0
    """
    if not isinstance(branches, (list, tuple)) or not branches:
        raise ArgumentError("switch: takes a list or tuple of at least one function")
    number = _scalar("switch", index)
    if dtypes.kind(number.dtype) not in "iu":
        raise DtypeError(f"switch: an index is an integer, not {number.dtype}")
    if _is_traced(number):
        return _branched("switch", number, [partial(branch, *operands) for branch in branches])
    last = len(branches) - 1
    if not batching.is_mapped(number):
        return branches[builtins.min(builtins.max(int(number), 0), last)](*operands)
    found = branches[0](*operands)
    for i in range(1, last + 1):
        here = number >= i if i == last else equal(number, i)
        found = _chosen("switch", here, branches[i](*operands), found)
    return found


def while_loop(
    cond: Callable[..., TensorLike],
    body: Callable[..., Structure],
    loop_vars: Structure,
    /,
    *,
    maximum_iterations: int | None = None,
) -> Structure:
    """`loop_vars = body(loop_vars)` as long as `cond(loop_vars)` holds, at most
    `maximum_iterations` times. The structure, shapes and dtypes of the variables stay the same.

    Where `cond` differs between the examples of a batch, it goes on for as long as any of them
    does; those that are done keep what they have.

    In a jitted function no gradient flows back through it, because nobody knows how many turns to
    keep values of, unless `maximum_iterations` says how many are enough.

    Raises ArgumentError, ShapeError where a turn changes structure, shapes or dtypes.

    >>> while_loop(lambda x: x < 100.0, lambda x: x * 3.0, 1.0)
    Tensor(243., dtype=float32)
    """
    if traces.current() is not None:
        return _while_loop(cond, body, loop_vars, maximum_iterations)
    held, weak = _started(loop_vars)
    turns = 0
    while maximum_iterations is None or turns < maximum_iterations:
        holds = _scalar("while_loop", cond(held))
        going = batching.any_example(holds)
        if not going:
            break
        held = _carried("while_loop", held, body(held), weak, holds)
        turns += 1
    return held


def fori_loop(
    lower: TensorLike, upper: TensorLike, body_fun: Callable[..., Structure], init_val: Structure, /
) -> Structure:
    """`value = body_fun(i, value)` for i from `lower` to `upper` (not included).

    The structure, shapes and dtypes of the value stay the same.

    >>> fori_loop(0, 4, lambda i, x: x * 2.0, 1.0)
    Tensor(16., dtype=float32)
    """
    first, end = _scalar("fori_loop", lower), _scalar("fori_loop", upper)
    known = not any(_is_traced(x) or batching.is_mapped(x) for x in (first, end))
    if known and traces.current() is not None and int(first) < int(end):
        return _counted(int(first), int(end), body_fun, init_val)
    if known:
        held, weak = _started(init_val)
        for i in range(int(first), int(end)):
            held = _carried("fori_loop", held, body_fun(i, held), weak)
        return held
    found: Structure = while_loop(
        lambda state: state[0] < end,
        lambda state: (state[0] + 1, body_fun(*state)),
        (first, init_val),
    )[1]
    return found


def scan(
    f: Callable[[Any, Any], tuple[Structure, Structure]],
    init: Structure,
    xs: Structure = None,
    /,
    length: int | None = None,
    *,
    reverse: bool = False,
) -> tuple[Structure, Structure]:
    """A loop that carries a value along and keeps one from each turn: `carry, y = f(carry, x)` for
    each x of `xs` along its first axis. Gives the last carry, and the ys stacked.

    `xs` is a nested structure of Tensors with equal first sizes, or None for `length` turns with
    x = None. With `reverse` it goes from the last to the first; the ys stay in place.

    >>> import tinygrad_edu as edu
    >>> scan(lambda total, x: (total + x, total), 0.0, edu.tensor([1.0, 2.0, 3.0]))
    (Tensor(6., dtype=float32), Tensor([0., 1., 3.], dtype=float32))
    """
    leaves, structure = tree.flatten(tree.map(conversion.as_tensor, xs))
    turns = _turns("scan", leaves, length)
    if turns and traces.current() is not None:

        def turn(carry: Structure, row: list[Tensor]) -> tuple[Structure, Structure]:
            return _pair(f(carry, structure.unflatten(row)))

        return _scanned("scan", turn, init, leaves, turns, reverse, names=_parameters(f))
    rows = [unstack(x) for x in leaves]
    carry, weak = _started(init)
    kept: list[Any] = [None] * turns
    for i in range(turns)[::-1] if reverse else range(turns):
        after, kept[i] = _pair(f(carry, structure.unflatten([row[i] for row in rows])))
        carry = _carried("scan", carry, after, weak)
    return carry, _stacked("scan", kept)


def map(f: Callable[[Any], Structure], xs: Structure, /) -> Structure:
    """`f(x)` for each x of `xs` along its first axis, one after another, stacked. `vmap` does it
    for all at once, and takes the memory for all at once.

    >>> import tinygrad_edu as edu
    >>> map(lambda x: x * x, edu.tensor([1.0, 2.0, 3.0]))
    Tensor([1., 4., 9.], dtype=float32)
    """
    if not callable(f):
        raise ArgumentError(f"map: takes a function and then values, not {f!r}")
    leaves, structure = tree.flatten(tree.map(conversion.as_tensor, xs))
    turns = _turns("map", leaves, None)
    if turns and traces.current() is not None:
        each = lambda _, row: (None, f(structure.unflatten(row)))
        return _scanned("map", each, None, leaves, turns, False, names=("", *_parameters(f)))[1]
    rows = [unstack(x) for x in leaves]
    return _stacked("map", [f(structure.unflatten([row[i] for row in rows])) for i in range(turns)])


def _scalar(name: str, x: TensorLike) -> Tensor:
    found = conversion.as_tensor(x)
    if found.shape:
        raise ShapeError(f"{name}: decides by a scalar, not by a Tensor of shape {found.shape}")
    return found


def _pair(result: Any) -> tuple[Structure, Structure]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(f"scan: the function returns a pair (carry, y), not {result!r}")
    return result


def _turns(name: str, leaves: Sequence[Tensor], length: int | None) -> int:
    sizes = {x.shape[0] if x.shape else -1 for x in leaves}
    if length is not None:
        sizes.add(length)
    if len(sizes) != 1 or -1 in sizes:
        shapes = ", ".join(str(x.shape) for x in leaves) or "nothing"
        raise ShapeError(
            f"{name}: takes values of one first size (or, for None, a length), not {shapes}"
            + ("" if length is None else f" and length {length}")
        )
    return sizes.pop()


def _stacked(name: str, values: Sequence[Structure]) -> Structure:
    """Structures of one kind as one, each leaf stacked along a new first axis."""
    if not values:
        raise ShapeError(f"{name}: with no turns, nobody knows the shape of what a turn keeps")
    return tree.map(lambda *column: stack(column), *values)


def _started(values: Structure) -> tuple[Structure, list[bool]]:
    """What a loop starts with, as Tensors, and which of them were numbers without a dtype."""
    leaves = tree.leaves(values)
    return tree.map(conversion.as_tensor, values), [conversion.is_weak(x) for x in leaves]


def _carried(
    name: str,
    before: Structure,
    after: Structure,
    weak: Sequence[bool],
    holds: Tensor | None = None,
) -> Structure:
    """What a turn made of the loop's values, of the same structure, shapes and dtypes as before;
    where a condition differs between examples, only for those for which it holds."""
    leaves, structure = tree.flatten(before)
    found, shape = tree.flatten(after)
    if shape != structure:
        raise ArgumentError(f"{name}: the loop's value was {before!r}, and after a turn {after!r}")
    new = [conversion.as_tensor(x, like=old) for x, old in zip(found, leaves, strict=True)]
    for x, old, free in zip(new, leaves, weak, strict=True):
        if x.shape != old.shape or (x.dtype != old.dtype and not free):
            raise ShapeError(
                f"{name}: a value of the loop was {old.dtype} of shape {old.shape}, and after a "
                f"turn {x.dtype} of shape {x.shape}; it must stay the same"
            )
    result = structure.unflatten(new)
    if holds is None or not batching.is_mapped(holds):
        return result
    return _chosen(name, holds, result, before)


def _chosen(name: str, holds: Tensor, these: Structure, others: Structure) -> Structure:
    """For each example the one structure or the other."""

    def choose(x: Any, y: Any) -> Tensor:
        this, that = conversion.as_tensors(x, y)
        if this.shape != that.shape:
            raise ShapeError(f"{name}: the branches gave shapes {this.shape} and {that.shape}")
        return where(holds, this, that)

    return tree.map(choose, these, others)


# In a program: one operation, whose parameters are Graphs


def _is_traced(x: Tensor) -> bool:
    """Whether a value is one of a program that is being traced, the same for all examples of a
    batch."""
    return isinstance(tracing.innermost(x), tracing.Traced)


def _truth(x: Tensor) -> Tensor:
    return x if x.dtype == dtypes.bool_ else x != 0


class _ControlFlow(Op, abstract=True):
    """Base of operations whose parameters are Graphs."""

    def operand_dtypes(
        self, given: Sequence[DType | type], kind: type[Tensor]
    ) -> Sequence[DType | None]:
        return [dtypes.as_dtype(dtype) for dtype in given]

    def nothing(self, out: Tensor) -> None:
        return None


def _require(name: str, graph: Graph, given: Sequence[Aval]) -> None:
    """Raise ShapeError unless a graph takes these operands."""
    wanted = [x.aval for x in graph.inputs]
    if wanted != list(given):
        texts = [", ".join(builtins.map(str, avals)) or "nothing" for avals in (wanted, given)]
        raise ShapeError(f"{name}: its graph takes {texts[0]}, and not {texts[1]}")


@contextmanager
def _program(
    xp: Any, graph: Graph, updates: Mapping[int, int]
) -> Iterator[Callable[..., Sequence[Array]]]:
    """What runs a graph on arrays of a module: it gives arrays of their own. `updates` has, for
    outputs, the inputs whose memory they may take where a flag behind the arrays says so."""
    from ..compilation import lowered  # which needs operations

    program = lowered(graph, backends.of_module(xp), updates)
    try:
        yield program.local.run
    except Exception as error:
        raise program.explain(error) from None


def _brought(xs: Sequence[Tensor]) -> list[Tensor]:
    """Tensors from outside as those of the body that is being traced, if one is: also where a tape
    follows them and they are of no trace, for operations on those alone would be of none either."""
    trace = traces.current()
    if not isinstance(trace, tracing.Nested):
        return list(xs)
    return [trace.lift(x) if x._device.level < trace.level else x for x in xs]


def of_batch(
    graph: Graph, size: int, operands: Sequence[Tensor], mapped: Sequence[bool]
) -> tuple[Tensor, ...]:
    """The outputs of a graph for a batch, each with all examples along its first axis."""
    given = _brought(operands)
    if not any(mapped):
        return tuple([broadcast_to(y, (size, *y.shape)) for y in graph.run(*given)])
    axes = tuple([0 if m else None for m in mapped])
    found: tuple[Tensor, ...] = batching.vmap(graph.run, in_axes=axes)(*given)
    return found


def _pulled_back(
    graph: Graph,
    arguments: Sequence[Tensor],
    wanted: Sequence[int],
    cotangents: Mapping[int, Tensor],
) -> list[Tensor]:
    """`graph.pull_back` in a body."""
    given = dict(zip(cotangents, _brought(list(cotangents.values())), strict=True))
    return graph.pull_back(_brought(arguments), wanted, given)


# Branches


class Cond(_ControlFlow):
    """One of several graphs of the same operands, chosen by the first: False is 0 and True is 1,
    and a number outside is taken for the nearest."""

    def forward(self, xp: Any, index: Array, *arrays: Array, branches: tuple[Graph, ...]) -> Any:
        last = len(branches) - 1
        chosen = branches[min(max(int(index), 0), last)]
        with _program(xp, chosen, {}) as run:
            return tuple(run(*arrays))

    def infer(self, index: Aval, *avals: Aval, branches: tuple[Graph, ...]) -> tuple[Aval, ...]:
        for graph in branches:
            _require("cond", graph, avals)
            if graph.results != branches[0].results:
                raise ShapeError(
                    f"cond: the branches give {graph.results} and {branches[0].results}"
                )
        return branches[0].results

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        return max([graph.cost().flops for graph in params["branches"]])

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        index, *operands = inputs
        wanted = [i for i, x in enumerate(operands) if needed[i + 1] and dtypes.is_float(x.dtype)]
        given = {i: g for i, g in enumerate(cotangent) if g is not None}
        backward = [
            partial(_pulled_back, graph, operands, wanted, given) for graph in params["branches"]
        ]
        found = dict(zip(wanted, _branched("cond", index, backward), strict=True))
        return [None, *[found.get(i) for i in range(len(operands))]]

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        index, *operands = inputs
        branches = [partial(of_batch, g, size, operands, mapped[1:]) for g in params["branches"]]
        if not mapped[0]:
            return _branched("cond", index, branches)
        number = astype(index, dtypes.int32)
        found = branches[0]()
        for i, branch in enumerate(branches[1:], 1):
            here = number >= i if i == len(branches) - 1 else equal(number, i)
            pairs = zip(branch(), found, strict=True)
            found = tuple([_for_examples(here, these, those) for these, those in pairs])
        return found


_cond = Cond()


def _for_examples(holds: Tensor, these: Tensor, those: Tensor) -> Tensor:
    """For each example along the first axis the one or the other."""
    return where(batching.aligned(holds, these.ndim - 1), these, those)


def _branched(name: str, index: Tensor, functions: Sequence[Callable[[], Structure]]) -> Structure:
    """What one of these functions gives, as one operation; state that any of them writes has its
    value of before in the others."""
    bodies = [tracing.Nested(index._device) for _ in functions]
    rows = [
        body.run(partial(_leaves_of, function))
        for body, function in zip(bodies, functions, strict=True)
    ]
    structure = rows[0].structure
    for row in rows:
        if row.structure != structure:
            raise ArgumentError(
                f"{name}: the branches gave two structures: {rows[0]!r} and {row!r}"
            )
    kinds = [
        _common(name, [row.tensors[i] for row in rows], [row.numbers[i] for row in rows])
        for i in range(structure.size)
    ]
    outputs = [
        [body.value(x, dtype) for x, dtype in zip(row.tensors, kinds, strict=True)]
        for body, row in zip(bodies, rows, strict=True)
    ]
    written, cleared = _add_state(name, bodies, outputs)
    for body, row in zip(bodies, outputs, strict=True):
        if not row:  # an operation has at least one result
            row.append(body.value(conversion.tensor(0)))
    operands, inputs = _shared(bodies)
    graphs = [body.graph(*both) for body, *both in zip(bodies, outputs, inputs, strict=True)]
    found = apply(_cond, index, *operands, branches=tuple(graphs))
    for state, x in zip(written, found[structure.size :], strict=False):
        bodies[0].write(state, x)
    for state in cleared:
        bodies[0].write(state, None)
    return structure.unflatten(found[: structure.size])


def _add_state(
    name: str, bodies: Sequence[tracing.Nested], outputs: Sequence[list[Value]]
) -> tuple[list[tracing.State], list[tracing.State]]:
    """The state that any body writes, whose value at the end becomes an output of each; and the
    `.grad` that are None after each."""
    written, cleared = [], []
    for state in dict.fromkeys([state for body in bodies for state in body.changed()]):
        ends = [body.after(state) for body in bodies]
        there = [end for end in ends if end is not None]
        if not there:
            cleared.append(state)
        elif len(there) < len(ends):
            raise TracingError(
                f"{name}: after one branch a .grad is None and after another it is not; have both "
                "set it, for example to zeros"
            )
        else:
            written.append(state)
            for row, end in zip(outputs, there, strict=True):
                row.append(end)
    return written, cleared


class _Leaves(NamedTuple):
    """A result taken apart: Tensors, and the types of those that are Python numbers."""

    tensors: list[Tensor]
    numbers: list[type | None]
    structure: tree.Structure

    def __repr__(self) -> str:
        return repr(self.structure.unflatten(self.tensors))


def _leaves_of(function: Callable[[], Structure]) -> _Leaves:
    trace = traces.current()
    assert trace is not None
    return _leaves(tree.map(lambda x: trace.number(x) if type(x) is float else x, function()))


def _leaves(result: Structure) -> _Leaves:
    leaves, structure = tree.flatten(result)
    found = [_settled(conversion.as_tensor(x)) for x in leaves]
    return _Leaves(found, [_number(x) for x in leaves], structure)


def _settled(x: Tensor) -> Tensor:
    """One of NumPy's numbers in a trace, which operations would take for one of Python's, as a
    Tensor of its dtype."""
    data = x._data
    if not isinstance(data, tracing.Traced) or data.weak is None or _number(x) is not None:
        return x
    return tensors.wrap(type(x), data.device.cast(data, x.dtype), x._device, x._record)


def _number(x: Any) -> type | None:
    """The type of the Python number that x is, or stands for in a trace; None for NumPy's numbers,
    which have a dtype."""
    if isinstance(x, (bool, int, float)):
        return None if hasattr(x, "dtype") else type(x)
    weak = getattr(tracing.innermost(x), "weak", None) if isinstance(x, Tensor) else None
    return weak if weak is None or dtypes.as_dtype(weak) == x.dtype else None


def _common(name: str, column: Sequence[Tensor], numbers: Sequence[type | None]) -> DType:
    """The dtype of what every branch gives, where numbers give way to arrays."""
    shapes = list(dict.fromkeys([x.shape for x in column]))
    if len(shapes) > 1:
        raise ShapeError(f"{name}: the branches gave shapes {shapes[0]} and {shapes[1]}")
    own = [x.dtype for x, number in zip(column, numbers, strict=True) if number is None]
    given = list(dict.fromkeys(own))
    if len(given) > 1:
        raise DtypeError(
            f"{name}: the branches gave dtypes {given[0]} and {given[1]}; convert one with .astype"
        )
    return promoted([*given, *[number for number in numbers if number is not None]])


def _shared(bodies: Sequence[tracing.Nested]) -> tuple[list[Tensor], list[list[Value]]]:
    """What several bodies take from outside, each value once, and for every body the inputs that
    stand for it, those that it does not use too."""
    operands: list[Tensor] = []
    columns: list[dict[int, Value]] = [{} for _ in bodies]
    places: dict[tuple[int, tape.Node | None], list[int]] = {}
    for body, column in zip(bodies, columns, strict=True):
        for value, x in body.captured.items():
            known = places.setdefault((id(x._data), x._record), [])
            free = [i for i in known if i not in column]
            if not free:
                free = [len(operands)]
                known.append(len(operands))
                operands.append(x)
            column[free[0]] = value
    inputs = [
        [
            column[i] if i in column else body.fresh(x.shape, x.dtype, "unused")
            for i, x in enumerate(operands)
        ]
        for body, column in zip(bodies, columns, strict=True)
    ]
    return operands, inputs


# Loops

_TRACES = 10
"""So often the body of a loop is traced, at most, until it ends with what it begins with."""


class _Body:
    """The body of a loop as a graph: its inputs are `consts` from outside, what is carried from
    turn to turn (at first `start`), and a row of each of the `xs`; its outputs are what is carried,
    and what else a turn gives. State that the body writes is carried behind the rest.

    `function(carry, row)` gives a pair of the new carry and what else there is. A number that the
    loop starts with may become a Tensor of another dtype in the first turn: then the body is traced
    again, with that dtype from the start.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Structure, list[Tensor]], tuple[Structure, Structure]],
        init: Structure,
        xs: Sequence[Tensor] = (),
        names: Sequence[str] = (),
        weak: type | None = None,
    ) -> None:
        self._name, self._function = name, function
        self.start, numbers, self.structure = _leaves(init)
        names = (*names, "", "")
        for _ in range(_TRACES):
            device = next((x._device for x in (*self.start, *xs)), backends.current())
            self.trace = tracing.Nested(device)
            self.trace.followed |= any([tape.is_followed(x) for x in (*self.start, *xs)])
            self._carry = [
                self.trace.input(x, _nth(names[0], i, self.start)) for i, x in enumerate(self.start)
            ]
            self._rows = [self.trace.row(x, _nth(names[1], i, xs), weak) for i, x in enumerate(xs)]
            after, self.others = self.trace.run(lambda: self._turn(numbers))
            self.states: list[tuple[tracing.State, Value, Value]] = []
            if not self._begins_otherwise(after, numbers):
                break
        else:
            raise TracingError(
                f"{name}: each time the body is traced, it leaves a .grad that it did not begin "
                "with: make Variables that require gradients before the loop"
            )
        self._finish(after)

    def _turn(self, numbers: Sequence[type | None]) -> tuple[list[Tensor], _Leaves]:
        before = self.structure.unflatten(self._carry)
        after, others = self._function(before, self._rows)
        free = [number is not None for number in numbers]
        return tree.leaves(_carried(self._name, before, after, free)), _leaves(others)

    def _begins_otherwise(self, after: Sequence[Tensor], numbers: list[type | None]) -> bool:
        """Whether a number takes the dtype that it has after a turn, or a `.grad` that is None
        begins as zeros: then the body is to be traced again."""
        again = False
        for i, (old, new, number) in enumerate(zip(self.start, after, numbers, strict=True)):
            if old.dtype != new.dtype:
                assert number is not None
                self.start[i] = astype(old, promoted([new.dtype, number]))
                numbers[i] = None
                again = True
        for state in self.trace.changed():
            first, last = self.trace.before(state), self.trace.after(state)
            if first is not None and last is not None:
                self.states.append((state, first, last))
            elif last is not None:
                home = self.trace.base
                self.trace.write(state, creation.zeros(last.shape, dtype=last.dtype, device=home))
                again = True
            elif first is not None:
                raise TracingError(
                    f"{self._name}: a .grad is None after a turn and was not before; set it to "
                    "None before the loop, or at the beginning of a turn"
                )
        return again

    def _finish(self, after: Sequence[Tensor]) -> None:
        trace = self.trace
        entries = [first for _, first, _ in self.states]
        outputs = [trace.value(x) for x in after]
        outputs += [last for _, _, last in self.states]
        outputs += [trace.value(x) for x in self.others.tensors]
        consts = [value for value in trace.captured if value not in entries]
        self.consts = [trace.captured[value] for value in consts]
        self.start += [trace.captured[value] for value in entries]
        if not self.start:  # an operation has at least one operand and one result
            self.start = [conversion.tensor(0)]
            entries = [trace.value(trace.input(self.start[0], "unused"))]
            outputs = [*entries, *outputs]
        carry, rows = ([trace.value(x) for x in xs] for xs in (self._carry, self._rows))
        self.graph = trace.graph(outputs, [*consts, *carry, *entries, *rows])

    def operands(self, xs: Sequence[Tensor] = ()) -> list[Tensor]:
        """What the operation takes."""
        return [*self.consts, *self.start, *xs]

    def finish(self, found: Sequence[Tensor]) -> Structure:
        """The last carry as a structure, after state was written."""
        count = self.structure.size
        for (state, _, _), x in zip(self.states, found[count:], strict=False):
            self.trace.write(state, x)
        return self.structure.unflatten(found[:count])


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters, for those who read the graph."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


def _nth(name: str, i: int, among: Sequence[Any]) -> str:
    return name if len(among) == 1 or not name else f"{name}_{i}"


class Scan(_ControlFlow):
    """A loop of a known number of turns: `body` of `consts` operands from outside, then of what is
    carried (`carries` operands), then of a row of each of the rest. Gives what is carried at the
    end, and what else a turn gives, stacked; with `saved` also what every turn began with, from
    which `vjp` goes back. The last `kept` of what else a turn gives are values of its own that took
    long to compute, for `vjp` not to compute them again."""

    def forward(
        self,
        xp: Any,
        *arrays: Array,
        body: Graph,
        length: int,
        reverse: bool,
        consts: int,
        carries: int,
        saved: bool,
        kept: int,
    ) -> Any:
        first = consts + carries
        given, xs = arrays[:consts], arrays[first:]
        held: Sequence[Array] = arrays[consts:first]
        # JAX's arrays do not change: rows are collected.
        stacks = [
            [None] * length if xp.__name__ == "jax.numpy" else xp.empty((length, *shape), dtype)
            for shape, dtype in self._rows(body, consts, carries, saved)
        ]
        count = len(body.outputs) - carries
        own = [False] * carries  # after a turn, what is carried is nobody else's
        collects = any([isinstance(row, list) for row in stacks])
        with _program(xp, body, {i: consts + i for i in range(carries)}) as run:
            for i in range(length)[::-1] if reverse else range(length):
                for row, x in zip(stacks[count:], held, strict=False):
                    row[i] = x
                found = run(*given, *held, *[x[i, ...] for x in xs], *own)
                held, own = found[:carries], [not collects] * carries
                for row, y in zip(stacks[:count], found[carries:], strict=True):
                    row[i] = y
        return (*held, *[xp.stack(row) if isinstance(row, list) else row for row in stacks])

    def _rows(self, body: Graph, consts: int, carries: int, saved: bool) -> list[Aval]:
        """What is stacked, as it is in one turn."""
        before = [x.aval for x in body.inputs[consts : consts + carries]] if saved else []
        return [*body.results[carries:], *before]

    def infer(
        self,
        *avals: Aval,
        body: Graph,
        length: int,
        reverse: bool,
        consts: int,
        carries: int,
        saved: bool,
        kept: int,
    ) -> tuple[Aval, ...]:
        first = consts + carries
        for x in avals[first:]:
            if x.shape[:1] != (length,):
                raise ShapeError(f"scan: {length} turns over rows of {x}")
        rows = [Aval(x.shape[1:], x.dtype) for x in avals[first:]]
        _require("scan", body, [*avals[:first], *rows])
        if body.results[:carries] != avals[consts:first]:
            raise ShapeError("scan: what is carried changes its shape or dtype in a turn")
        rows = self._rows(body, consts, carries, saved)
        return (*avals[consts:first], *[Aval((length, *x.shape), x.dtype) for x in rows])

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        found: int = params["length"] * params["body"].cost().flops
        return found

    def replay(self, *operands: Any, **params: Any) -> Any:
        if params["saved"] or not any([tape.is_followed(x) for x in operands]):
            return apply(self, *operands, **params)
        body, kept = _keeping(params["body"], params["consts"])
        found = apply(self, *operands, **{**params, "body": body, "saved": True, "kept": kept})
        return found[: len(found) - params["carries"] - kept]

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        body, consts, carries = params["body"], params["consts"], params["carries"]
        kept = params["kept"]
        if not params["saved"]:
            again = {**params, "saved": True, "body": body.without_effects}
            out = apply(self, *inputs, **again)
            cotangent = (*cotangent, *[None] * carries)
        first = consts + carries
        floats = [dtypes.is_float(x.dtype) for x in body.inputs]
        carried = [i for i in range(consts, first) if floats[i]]
        summed = [i for i in range(consts) if floats[i] and needed[i]]
        by_row = [i for i in range(first, len(inputs)) if floats[i] and needed[i]]
        wanted = [*carried, *summed, *by_row]
        befores = out[len(out) - carries :]
        known = out[len(out) - carries - kept : len(out) - carries]
        recalling = _recalling(body, kept)
        # Which rows have a cotangent: of what a turn gives, and of what it began with.
        ys = [i for i in range(carries, len(body.outputs)) if cotangent[i] is not None]
        of_befores = dict(zip(range(consts, first), cotangent[len(out) - carries :], strict=True))
        starts = [i for i in carried if of_befores[i] is not None]

        def turn(carry: Structure, row: list[Tensor]) -> tuple[Structure, Structure]:
            ends, sums = carry
            inner = [*inputs[:consts], *row[: len(inputs) - consts + kept]]
            of_ys = row[len(inner) - consts :][: len(ys)]
            of_starts = dict(zip(starts, row[len(row) - len(starts) :], strict=True))
            given = dict(zip([i - consts for i in carried], ends, strict=True))
            given.update(zip(ys, of_ys, strict=True))
            found = _pulled_back(recalling, inner, wanted, given)
            every = dict(zip(wanted, found, strict=True))
            for i, extra in of_starts.items():
                every[i] = every[i] + extra
            sums = [total + every[i] for total, i in zip(sums, summed, strict=True)]
            return ([every[i] for i in carried], sums), [every[i] for i in by_row]

        ends = [cotangent[i - consts] for i in carried]
        init = [
            zeros_like(inputs[i]) if g is None else g for i, g in zip(carried, ends, strict=True)
        ]
        (ends, sums), rows = _scanned(
            "scan",
            turn,
            (init, [zeros_like(inputs[i]) for i in summed]),
            [
                *befores,
                *inputs[first:],
                *known,
                *[cotangent[i] for i in ys],
                *[of_befores[i] for i in starts],
            ],
            params["length"],
            not params["reverse"],
        )
        found = dict(zip(wanted, [*ends, *sums, *rows], strict=True))
        return [found.get(i) for i in range(len(inputs))]

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        graph, consts, carries = params["body"], params["consts"], params["carries"]
        first = consts + carries
        start = [
            batching.together(x, m, size)
            for x, m in zip(inputs[consts:first], mapped[consts:first], strict=True)
        ]
        xs = [
            moveaxis(x, 0, 1) if m else x
            for x, m in zip(inputs[first:], mapped[first:], strict=True)
        ]
        flags = [*mapped[:consts], *[True] * carries, *mapped[first:]]

        def turn(carry: list[Tensor], row: list[Tensor]) -> tuple[Structure, Structure]:
            found = of_batch(graph, size, [*inputs[:consts], *carry, *row], flags)
            return list(found[:carries]), list(found[carries:])

        body = _Body("scan", turn, start, xs)
        params = {**params, "body": body.graph, "consts": len(body.consts)}
        found = _scan.replay(*body.operands(xs), **params)
        return (*found[:carries], *[moveaxis(y, 0, 1) for y in found[carries:]])


_scan = Scan()


class Recalled(_ControlFlow):
    """What an operation gave of the other operands, when it was applied before: the first operand.
    To tapes it is that operation."""

    no_gradient = "tapes see the operation that it stands for"

    def forward(self, xp: Any, known: Array, *arrays: Array, op: Op, given: Any) -> Array:
        return known

    def infer(self, known: Aval, *avals: Any, op: Op, given: Any) -> Aval:
        return known

    def replay(self, known: Tensor, *operands: Any, op: Op, given: Any) -> Tensor:
        parents = tuple([x._record if isinstance(x, Tensor) else None for x in operands])
        data, device = known._data, known._device
        if isinstance(op.infer(*[aval(x) for x in operands], **given), Aval):
            node = tape.record(op, operands, parents, dict(given), data)
            return tensors.wrap(type(known), data, device, node)
        node = tape.record(op, operands, parents, dict(given), (data,))  # as a loop inside gives it
        return picked(type(known), device, node, (data,))[0]


_recalled = Recalled()

_COSTLY = 16
"""Operations for each element from which it pays to keep a result instead of computing it again."""


def _keeping(body: Graph, consts: int) -> tuple[Graph, int]:
    """The body of a loop that also gives what takes long to compute in each turn anew, last of its
    outputs; and how many there are."""
    varies = set(body.inputs[consts:])
    costly = []
    for made in body.equations:
        if varies.isdisjoint(made.values):
            continue
        varies.update(made.outputs)
        y, *others = made.outputs
        if others or made.has_effect or not made.followed or not dtypes.is_float(y.dtype):
            continue
        flops = made.op.flops([x.aval for x in made.values], [y.aval], made.params)
        if flops >= _COSTLY * y.size > 0:
            costly.append(y)
    return body.with_equations(body.equations, (*body.outputs, *costly)), len(costly)


def _recalling(body: Graph, kept: int) -> Graph:
    """The body of a loop that is given, behind its inputs, the last `kept` of its outputs."""
    last = body.outputs[len(body.outputs) - kept :]
    given = {y: Value(*y.aval) for y in last if isinstance(y, Value)}
    equations = [
        replace(
            made,
            op=_recalled,
            inputs=(given[made.outputs[0]], *made.inputs),
            params={"op": made.op, "given": made.params},
        )
        if made.outputs[0] in given and len(made.outputs) == 1
        else made
        for made in body.equations
    ]
    return body.with_equations(equations, inputs=(*body.inputs, *given.values()))


def _scanned(
    name: str,
    function: Callable[[Structure, list[Tensor]], tuple[Structure, Structure]],
    init: Structure,
    xs: Sequence[Tensor],
    length: int,
    reverse: bool,
    names: Sequence[str] = (),
    weak: type | None = None,
) -> tuple[Structure, Structure]:
    """The last carry and the stacked rest of a loop over the rows of xs, as one operation."""
    body = _Body(name, function, init, xs, names, weak)
    found = _scan.replay(
        *body.operands(xs),
        body=body.graph,
        length=length,
        reverse=reverse,
        consts=len(body.consts),
        carries=len(body.start),
        saved=False,
        kept=0,
    )
    return body.finish(found), body.others.structure.unflatten(found[len(body.start) :])


def _counted(
    lower: int, upper: int, body_fun: Callable[..., Structure], init: Structure
) -> Structure:
    """`fori_loop` with bounds that are known: a scan over the numbers between them."""
    trace = traces.current()
    here = backends.current() if trace is None else trace.base
    numbers = conversion.cast(np.arange(lower, upper), dtypes.int32)
    xs = [tensors.wrap(Tensor, here.from_numpy(numbers), here, None)]
    turn = lambda value, row: (body_fun(row[0], value), None)
    names = _parameters(body_fun)[1::-1]
    return _scanned("fori_loop", turn, init, xs, upper - lower, False, names, int)[0]


class While(_ControlFlow):
    """A loop that goes on as long as the operand behind the first `consts` holds, which `body`
    gives anew in each turn, last of its outputs. The other outputs are what is carried: the
    operands behind, in the first turn."""

    def forward(self, xp: Any, *arrays: Array, body: Graph, consts: int) -> Any:
        given, going, held = arrays[:consts], arrays[consts], list(arrays[consts + 1 :])
        own = [False] * len(held)  # after a turn, what is carried is nobody else's
        with _program(xp, body, {i: consts + i for i in range(len(held))}) as run:
            while going:
                *held, going = run(*given, *held, *own)
                own = [True] * len(held)
        return tuple(held) if any(own) else tuple([xp.array(x) for x in held])

    def infer(self, *avals: Aval, body: Graph, consts: int) -> tuple[Aval, ...]:
        carried = avals[consts + 1 :]
        _require("while_loop", body, [*avals[:consts], *carried])
        if avals[consts].shape or body.results != (*carried, Aval((), dtypes.bool_)):
            raise ShapeError("while_loop: what is carried changes its shape or dtype in a turn")
        return carried

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        found: int = params["body"].cost().flops  # of one turn: nobody knows how many there are
        return found

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        raise GradientError(
            "while_loop: in a jitted function no gradient flows back through a loop of which only "
            "running it tells the number of turns: give maximum_iterations, or use scan, or "
            "fori_loop with bounds that are no traced values"
        )

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        consts, graph = params["consts"], params["body"]
        going, *start = [
            batching.together(x, m, size)
            for x, m in zip(inputs[consts:], mapped[consts:], strict=True)
        ]
        flags = [*mapped[:consts], *[True] * len(start)]

        def turn(carry: Structure) -> tuple[Structure, Tensor]:
            each, held = carry
            *new, still = of_batch(graph, size, [*inputs[:consts], *held], flags)
            held = [_for_examples(each, x, old) for x, old in zip(new, held, strict=True)]
            each = logical_and(each, still)
            return (each, held), any_of(each)

        return tuple(_looped(any_of(going), turn, (going, start))[1])


_while = While()


def _looped(
    going: Tensor,
    turn: Callable[[Structure], tuple[Structure, Tensor]],
    init: Structure,
    names: Sequence[str] = (),
) -> Structure:
    """What a loop ends with, as one operation; a turn gives a new carry and whether to go on."""
    return _run(_Body("while_loop", lambda carry, _: turn(carry), init, (), names), going)


def _run(body: _Body, going: Tensor) -> Structure:
    operands = [*body.consts, going, *body.start]
    return body.finish(apply(_while, *operands, body=body.graph, consts=len(body.consts)))


def _while_loop(
    cond: Callable[..., TensorLike],
    body: Callable[..., Structure],
    loop_vars: Structure,
    maximum: int | None,
) -> Structure:
    """`while_loop` in a program."""

    def truth(values: Structure) -> Tensor:
        return _truth(_scalar("while_loop", cond(values)))

    going = truth(_started(loop_vars)[0])
    names = _parameters(body)
    if maximum is None:

        def turn(values: Structure) -> tuple[Structure, Tensor]:
            new = body(values)
            return new, truth(new)

        return _looped(going, turn, loop_vars, names)

    def counted(carry: Structure, _: Any) -> tuple[Structure, Tensor]:
        turns, values = carry
        new = body(values)
        return (turns + 1, new), logical_and(turns + 1 < maximum, truth(new))

    traced = _Body("while_loop", counted, (0, loop_vars))
    if not (traced.trace.followed or any([tape.is_followed(x) for x in traced.operands()])):
        return _run(traced, logical_and(going, maximum > 0))[1]
    # Of as many turns as there may be gradients can go back through each.
    loop_vars = traced.structure.unflatten(traced.start[: traced.structure.size])[1]

    def perhaps(carry: Structure, _: Any) -> tuple[Structure, None]:
        def on() -> Structure:
            new = body(carry[1])
            return truth(new), new

        return _branched("while_loop", carry[0], (lambda: carry, on)), None

    return _scanned("while_loop", perhaps, (going, loop_vars), (), maximum, False)[0][1]
