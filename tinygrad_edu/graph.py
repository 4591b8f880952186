"""Graph: a program as data.

A graph is in static single assignment: every value is made once, by one equation, an operation of
`ops`. What a graph means is what `run` does: apply the operations in order. Every pass and every
lowering is held against that.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from . import dtypes, lines, tape
from .arguments import Shape
from .backends import Array, Device
from .conversion import as_tensor
from .dtypes import DType
from .errors import Error, GraphError
from .op import Aval, Op
from .tensors import Tensor


class Value:
    """One array of a graph: its shape and its dtype. Two values are the same if they are one
    object. `name` is what it is printed as, as long as no other has that name."""

    __slots__ = ("aval", "name")

    def __init__(self, shape: Shape, dtype: DType, name: str = "t") -> None:
        self.aval = Aval(shape, dtype)
        self.name = name

    @property
    def shape(self) -> Shape:
        return self.aval.shape

    @property
    def dtype(self) -> DType:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        return math.prod(self.aval.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.aval.dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.name}: {self.aval}"


Atom: TypeAlias = Value | bool | int | float
"""What an equation takes: a value, or a number that is written in the program."""


class Place(NamedTuple):
    """The user's line that an equation comes from; in a backward pass that of the operation whose
    gradient is computed."""

    code: Any = None
    instruction: int = 0
    backward: bool = False

    def __str__(self) -> str:
        if self.code is None:
            return ""
        line = lines.line_of(self.code, self.instruction)
        return f"{line} (backward)" if self.backward else line


NOWHERE = Place()


@dataclass(frozen=True, eq=False, slots=True)
class Equation:
    """`outputs = op(*inputs, **params)`. A parameter may be a Graph. Where `followed` is false, no
    gradient flows through it: it stood in `no_grad`."""

    op: Op
    inputs: tuple[Atom, ...]
    params: Mapping[str, Any]
    outputs: tuple[Value, ...]
    place: Place = NOWHERE
    followed: bool = True

    def explain(self, error: Exception) -> Error:
        """Our error for what the array library refused when this was computed."""
        try:
            ours = self.op.explain(error, self.inputs, dict(self.params))
        except Exception:  # one of the definition's own, which looks at values
            ours = Op.explain(self.op, error, self.inputs, dict(self.params))
        return type(ours)(f"{ours}{self.where}")

    @property
    def where(self) -> str:
        """The user's line as messages end with it, if it is known."""
        return f" (at {self.place})" if self.place.code is not None else ""

    @property
    def values(self) -> list[Value]:
        """The inputs that are no numbers."""
        return [x for x in self.inputs if isinstance(x, Value)]

    @property
    def has_effect(self) -> bool:
        """Whether it does more than make its outputs, or something inside of it does."""
        inner = [made for graph in graphs_of(self) for made in graph.equations]
        return self.op.effect or any([made.has_effect for made in inner])


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A traced program: `inputs`, `constants` (values that are known, each with its Tensor),
    `equations` in an order in which they can be computed, and `outputs`.

    >>> import tinygrad_edu as edu
    >>> graph = edu.jit(lambda x, y: edu.exp(x) * y + 1.0).trace(edu.zeros(3), edu.ones(3))
    >>> print(graph)
    graph(x: float32(3), y: float32(3)):
      t1: float32(3) = exp(x)
      t2: float32(3) = t1 * y
      t3: float32(3) = t2 + 1.0
      return t3
    """

    inputs: tuple[Value, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    constants: Mapping[Value, Tensor]

    def run(self, *arguments: Any) -> tuple[Tensor, ...]:
        """The outputs for these arguments, operation by operation, on the arguments' device. Tapes
        record it, and `vmap` maps it, as they do any other computation.

        Raises GraphError where number, shape or dtype of the arguments are not those of the inputs.
        """
        known: dict[Value, Tensor] = dict(self.constants)
        if len(arguments) != len(self.inputs):
            raise GraphError(f"run: {len(arguments)} arguments for {len(self.inputs)} inputs")
        for value, argument in zip(self.inputs, arguments, strict=True):
            given = as_tensor(argument)
            if Aval(given.shape, given.dtype) != value.aval:
                raise GraphError(
                    f"run: {value.name} is {value.aval}, not {Aval(given.shape, given.dtype)}"
                )
            known[value] = given
        for made in self.equations:
            with contextlib.nullcontext() if made.followed else tape.no_grad():
                found = made.op.replay(*[_look_up(known, x) for x in made.inputs], **made.params)
            found = found if isinstance(found, tuple) else (found,)
            known.update(zip(made.outputs, found, strict=True))
        return tuple(as_tensor(_look_up(known, x)) for x in self.outputs)

    def compute(self, device: Device, arrays: Sequence[Array]) -> list[Array]:
        """The outputs for arrays of a device, by its own kernels, one operation after another. What
        they share memory with may be an input."""
        kind = device.name, type(device.kernels)  # others while somebody looks on
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = _Plan(self, device)
        return plan.run(arrays)

    @cached_property
    def _plans(self) -> dict[tuple[str, type], _Plan]:
        return {}

    @cached_property
    def programs(self) -> dict[str, Any]:
        """What lowerings made of it, for each device."""
        return {}

    def pull_back(
        self, arguments: Sequence[Tensor], wanted: Sequence[int], cotangents: Mapping[int, Tensor]
    ) -> list[Tensor]:
        """The cotangents of the `wanted` arguments, by their numbers, from those of outputs, by
        theirs: zeros where nothing connects. Effects do not happen again."""
        if not wanted:
            return []
        from . import derivatives  # which knows operations, some of which know graphs

        def function(*given: Tensor) -> tuple[Tensor, ...]:
            every = list(arguments)
            for i, x in zip(wanted, given, strict=True):
                every[i] = x
            outputs = self.without_effects.run(*every)
            return tuple([outputs[i] for i in cotangents])

        pulling = derivatives.vjp(function, *[arguments[i] for i in wanted])[1]
        return list(pulling(tuple(cotangents.values())))

    @cached_property
    def without_effects(self) -> Graph:
        """The graph, and those inside of it, without operations that are there for their effect."""
        if not any([made.has_effect for made in self.equations]):
            return self
        uses = self.uses()
        used = {*uses, *self.outputs}
        kept = [m for m in self.equations if not m.op.effect or not used.isdisjoint(m.outputs)]
        return self.with_equations(
            [replace(made, params=_changed_graphs(made.params)) for made in kept]
        )

    @property
    def results(self) -> tuple[Aval, ...]:
        """What is known of the outputs."""
        return tuple(
            [
                x.aval if isinstance(x, Value) else Aval((), dtypes.as_dtype(type(x)))
                for x in self.outputs
            ]
        )

    def check(self) -> Graph:
        """The graph itself, if every value is made once and before it is used, and has the shape
        and the dtype that its operation's rule gives. Raises GraphError where that is not so."""
        known: set[Value] = set()
        for value in (*self.inputs, *self.constants):
            self._define(known, value, "an input or a constant")
        for value, held in self.constants.items():
            if Aval(held.shape, held.dtype) != value.aval:
                raise GraphError(f"constant {value} holds {Aval(held.shape, held.dtype)}")
        for made in self.equations:
            for x in made.values:
                if x not in known:
                    raise GraphError(f"{made.op}: its input {x} is not made before")
            try:
                wanted = inferred(made.op, made.inputs, made.params)
            except Error as error:
                raise GraphError(f"{made.op}: its rule refuses the inputs: {error}") from None
            got = tuple(y.aval for y in made.outputs)
            if got != wanted:
                raise GraphError(f"{made.op}: makes {_listed(wanted)}, not {_listed(got)}")
            for y in made.outputs:
                self._define(known, y, f"{made.op}")
            for inner in graphs_of(made):
                inner.check()
        for result in self.outputs:
            if isinstance(result, Value) and result not in known:
                raise GraphError(f"output {result} is never made")
        return self

    def _define(self, known: set[Value], value: Value, what: str) -> None:
        if value in known:
            raise GraphError(f"{value} is made twice, the second time by {what}")
        known.add(value)

    def with_equations(
        self, equations: Iterable[Equation], outputs: Sequence[Atom] | None = None, **changed: Any
    ) -> Graph:
        """The same graph with other equations (and outputs)."""
        outputs = self.outputs if outputs is None else tuple(outputs)
        return replace(self, equations=tuple(equations), outputs=outputs, **changed)

    def uses(self) -> dict[Value, list[Equation]]:
        """The equations that take each value; one that takes it twice comes twice."""
        found: dict[Value, list[Equation]] = {}
        for made in self.equations:
            for x in made.values:
                found.setdefault(x, []).append(made)
        return found

    def names(self) -> dict[Value, str]:
        """A name for each value, its own where no other has it."""
        found: dict[Value, str] = {}
        taken: set[str] = set()
        for value in self.values():
            name = base = value.name
            number = 1
            while name in taken:
                number += 1
                name = f"{base}_{number}"
            taken.add(name)
            found[value] = name
        return found

    def values(self) -> Iterator[Value]:
        """Every value, in the order in which they are made."""
        yield from self.inputs
        yield from self.constants
        for made in self.equations:
            yield from made.outputs

    def cost(self) -> Cost:
        """What every equation takes: floating-point operations, and bytes read and written."""
        rows = []
        for made in self.equations:
            inputs = [x.aval for x in made.values]
            outputs = [y.aval for y in made.outputs]
            flops = made.op.flops(inputs, outputs, dict(made.params))
            moved = sum(v.nbytes for v in (*made.values, *made.outputs))
            rows.append(Row(made, flops, moved))
        return Cost(self, tuple(rows))

    def __repr__(self) -> str:
        count = len(self.equations)
        return f"<graph of {count} equation{'s' * (count != 1)}>"

    def __str__(self) -> str:
        return "\n".join(_lines(self, "graph"))

    def to_dot(self) -> str:
        """The graph in the language of Graphviz: operations as boxes, values as edges.

        Source: https://graphviz.org/doc/info/lang.html
        """
        names = self.names()
        lines = ["digraph {", "  node [shape=box, fontname=monospace];"]
        makers: dict[Value, str] = {}
        for value in (*self.inputs, *self.constants):
            makers[value] = f'"{names[value]}"'
            lines.append(f"  {makers[value]} [shape=ellipse, label={_quoted(f'{value!r}')}];")
        for i, made in enumerate(self.equations):
            numbers = [repr(x) for x in made.inputs if not isinstance(x, Value)]
            label = " ".join([made.op.name, *numbers, *_params(made)])
            lines.append(f"  e{i} [label={_quoted(label)}];")
            for x in made.values:
                lines.append(f"  {makers[x]} -> e{i} [label={_quoted(str(x.aval))}];")
            makers.update(dict.fromkeys(made.outputs, f"e{i}"))
        for i, result in enumerate(self.outputs):
            lines.append(f'  out{i} [shape=ellipse, label="output {i}"];')
            if isinstance(result, Value):
                lines.append(f"  {makers[result]} -> out{i} [label={_quoted(str(result.aval))}];")
        return "\n".join([*lines, "}"])

    def draw(self, path: Any) -> None:
        """Draw the graph into a file, .svg, .png or .pdf: operations, and arrows between them.

        Raises ExtraMissingError where matplotlib is missing, the extra `plot`.
        """
        from . import drawings

        names = self.names()
        nodes = [
            drawings.Node(names[x], [names[x], str(x.aval)], "input", ())
            for x in (*self.inputs, *self.constants)
        ]
        makers = {x: names[x] for x in (*self.inputs, *self.constants)}
        for i, made in enumerate(self.equations):
            numbers = [repr(x) for x in made.inputs if not isinstance(x, Value)]
            results = [f"{names[y]}: {y.aval}" for y in made.outputs]
            lines = [" ".join([made.op.name, *numbers]), *_params(made), *results]
            sources = dict.fromkeys([makers[x] for x in made.values])
            nodes.append(drawings.Node(f"equation {i}", lines, "layer", list(sources)))
            makers.update(dict.fromkeys(made.outputs, f"equation {i}"))
        for i, x in enumerate(self.outputs):
            lines = [f"output {i}", *([] if isinstance(x, Value) else [repr(x)])]
            sources = dict.fromkeys([makers[x]] if isinstance(x, Value) else [])
            nodes.append(drawings.Node(f"output {i}", lines, "operation", list(sources)))
        drawings.draw(nodes, path)


class Row(NamedTuple):
    """The cost of one equation."""

    equation: Equation
    flops: int
    nbytes: int


class Cost(NamedTuple):
    """What a graph takes. Printed as a table; one that runs fused moves fewer bytes."""

    graph: Graph
    rows: tuple[Row, ...]

    @property
    def flops(self) -> int:
        """Floating-point operations in all."""
        return sum(row.flops for row in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes read and written in all, if every equation reads and writes memory."""
        return sum(row.nbytes for row in self.rows)

    def __str__(self) -> str:
        names = self.graph.names()
        texts = [_equation(row.equation, names) for row in self.rows]
        width = max([len("in all"), *map(len, texts)])
        lines = [f"{'':{width}}  {'operations':>14}  {'bytes':>14}"]
        for text, row in zip(texts, self.rows, strict=True):
            lines.append(f"{text:{width}}  {row.flops:>14,}  {row.nbytes:>14,}")
        return "\n".join([*lines, f"{'in all':{width}}  {self.flops:>14,}  {self.nbytes:>14,}"])


class _Plan:
    """A graph as a list of calls of one device's kernels. Each value has a number; so has each
    Python number, and each constant."""

    def __init__(self, graph: Graph, device: Device) -> None:
        self._device = device
        self._start: list[Any] = [None] * len(graph.inputs)
        places = {value: i for i, value in enumerate(graph.inputs)}
        for value, x in graph.constants.items():
            places[value] = len(self._start)
            here = x.device is device
            self._start.append(x._data if here else device.from_numpy(x.numpy()))
        self._steps = []
        for made in graph.equations:
            inputs = [self._place(places, x) for x in made.inputs]
            for y in made.outputs:
                places[y] = len(self._start)
                self._start.append(None)
            outputs = [places[y] for y in made.outputs]
            self._steps.append((device.kernels.of(made), inputs, dict(made.params), outputs))
        self._outputs = [
            self._place(places, x if isinstance(x, Value) else device.from_numpy(np.asarray(x, t)))
            for x, (_, t) in zip(graph.outputs, graph.results, strict=True)
        ]
        self._gone = self._unused()

    def _place(self, places: Mapping[Value, int], x: Any) -> int:
        if isinstance(x, Value):
            return places[x]
        self._start.append(x)
        return len(self._start) - 1

    def _unused(self) -> list[list[int]]:
        """For each step what nobody needs afterwards."""
        seen = set(self._outputs)
        found: list[list[int]] = []
        for _, inputs, _, outputs in reversed(self._steps):
            found.append([i for i in {*inputs, *outputs} if i not in seen])
            seen.update(inputs, outputs)
        return found[::-1]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        held = self._start.copy()
        held[: len(arrays)] = arrays
        kind, wrap = self._device.array_type, self._device.wrap
        for (kernel, inputs, params, outputs), gone in zip(self._steps, self._gone):  # noqa: B905
            found = kernel(*[held[i] for i in inputs], **params)
            for i, y in zip(outputs, found if isinstance(found, tuple) else (found,)):  # noqa: B905
                held[i] = y if y.__class__ is kind else wrap(y)
            for i in gone:
                held[i] = None
        return [held[i] for i in self._outputs]


def inferred(op: Op, inputs: Sequence[Atom], params: Mapping[str, Any]) -> tuple[Aval, ...]:
    """The shapes and dtypes of an operation's outputs, by its rule."""
    found = op.infer(*[x.aval if isinstance(x, Value) else x for x in inputs], **params)
    return tuple(found) if not isinstance(found, Aval) else (found,)


def _changed_graphs(param: Any) -> Any:
    """An equation's parameters with the graphs among them without their effects."""
    if isinstance(param, Mapping):
        return {name: _changed_graphs(each) for name, each in param.items()}
    if isinstance(param, tuple):
        return tuple([_changed_graphs(each) for each in param])
    return param.without_effects if isinstance(param, Graph) else param


def graphs_of(made: Equation) -> list[Graph]:
    """The graphs among an equation's parameters."""
    return list(_titled(made).values())


def _titled(made: Equation) -> dict[str, Graph]:
    """The graphs among an equation's parameters, each with what it is printed as."""
    found: dict[str, Graph] = {}
    for name, param in made.params.items():
        if isinstance(param, Graph):
            found[name] = param
        elif isinstance(param, tuple):
            graphs = [(i, each) for i, each in enumerate(param) if isinstance(each, Graph)]
            found.update({f"{name}[{i}]": graph for i, graph in graphs})
    return found


def _look_up(known: Mapping[Value, Tensor], x: Atom) -> Any:
    return known[x] if isinstance(x, Value) else x


# Printing

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "floor_divide": "//",
    "remainder": "%",
    "power": "**",
    "matmul": "@",
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}


def _lines(graph: Graph, title: str) -> Iterator[str]:
    names = graph.names()
    yield f"{title}({', '.join(f'{names[x]}: {x.aval}' for x in graph.inputs)}):"
    for value, held in graph.constants.items():
        shown = f" = {held.item()!r}" if held.size == 1 and not held.device.level else ""
        yield f"  {names[value]}: {value.aval}{shown or ' = a constant'}"
    for made in graph.equations:
        yield f"  {_equation(made, names)}"
        for title, inner in _titled(made).items():
            yield from (f"    {line}" for line in _lines(inner, title))
    results = [names[x] if isinstance(x, Value) else repr(x) for x in graph.outputs]
    yield f"  return {', '.join(results)}"


def _equation(made: Equation, names: Mapping[Value, str]) -> str:
    left = ", ".join(f"{names[y]}: {y.aval}" for y in made.outputs)
    return f"{left} = {expression(made, names)}"


def expression(made: Equation, names: Mapping[Value, str]) -> str:
    """An equation's right side, as in mathematics: `x @ W`, `sum(t1, axis=(0,))`."""
    operands = [names[x] if isinstance(x, Value) else repr(x) for x in made.inputs]
    if len(operands) == 2 and made.op.name in _INFIX and not made.params:
        return f"{operands[0]} {_INFIX[made.op.name]} {operands[1]}"
    if made.op.name == "negative":
        return f"-{operands[0]}"
    return f"{made.op.name}({', '.join([*operands, *_params(made)])})"


def _params(made: Equation) -> list[str]:
    titles = _titled(made)
    return [
        f"{name}={value!r}"
        for name, value in made.params.items()
        if not {name, f"{name}[0]"} & titles.keys()  # graphs are printed below
    ]


def _listed(avals: Iterable[Aval]) -> str:
    return " and ".join(map(str, avals))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


Rewrite: TypeAlias = Callable[[Graph], Graph]
"""A pass: a graph to one that means the same."""
