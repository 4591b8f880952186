"""A graph as one Python function of NumPy calls, which `as_text("python")` shows.

Values that nobody outside sees live in a few buffers that every call uses again, one set a thread.
Elementwise operations, products and sums write into them; transposes and reshapes are views;
results are new arrays. State is updated where it lies, after everything that could fail.
"""

from __future__ import annotations

import keyword
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_edu import dtypes
from tinygrad_edu.graph import Atom, Equation, Graph, Value
from tinygrad_edu.op import Aval, Elementwise, Op

from . import fusion, passes

_LARGE = 1 << 16
"""Bytes from which a temporary is given back as soon as nobody uses it."""


def lower(graph: Graph, updates: Mapping[int, int]) -> Program:
    """A program for NumPy. `updates` has, for outputs that are new state, the input whose memory
    they may take."""
    return Program(graph, updates)


class Program:
    """A graph lowered for NumPy.

    `run` takes an array for each input, and then, for each entry of `updates`, whether that input's
    memory may be written; it gives an array for each output.
    """

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        self.graph = graph
        self.optimized = passes.optimize(graph)
        self._writer = _Writer(self.optimized, updates)
        self.run: Callable[..., tuple[np.ndarray, ...]] = self._writer.compiled()

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """The outputs for these arrays; state is not touched."""
        given = [np.asarray(a) for a in arrays]
        return self.run(*given, *[False] * self._writer.owners)

    def as_text(self, stage: str = "python") -> str:
        """A stage of the lowering: "graph", "optimized" or "python"."""
        texts = {"graph": self.graph, "optimized": self.optimized, "python": self._writer.source}
        if stage not in texts:
            raise ValueError(f"as_text: there is no stage {stage!r}; use one of {list(texts)}")
        return str(texts[stage])


class _Writer:
    """Writes the function, line by line."""

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        self.graph = graph
        self.names = {v: _identifier(name) for v, name in graph.names().items()}
        self.updates = updates
        self.owners = len(updates)
        self.bound: dict[str, Any] = {"np": np}
        self.kernels: dict[str, Op] = {}
        self.plan = fusion.schedule(graph, updates, can_write)
        equations = self.plan.equations
        self.origins = fusion.aliases(graph)
        self.outputs = [x for x in graph.outputs if isinstance(x, Value)]
        last = fusion.last_uses(equations, [])
        self.last: dict[Value, int] = {}
        for value, end in last.items():
            origin = self.origins.get(value, value)
            self.last[origin] = max(self.last.get(origin, -1), end)
        self.makers = {y: made for made in equations for y in made.outputs}
        self.uses = graph.uses()
        self.skipped: set[Value] = set()
        self.given = frozenset(self.outputs)
        self.buffers = fusion.assign_buffers(equations, self._is_buffered, last, self.origins)
        self.lines = list(self._lines())
        self.source = "\n".join(self.lines)

    def _is_buffered(self, value: Value) -> bool:
        made = self.makers[value]
        return value not in self.given and can_write(made) and value.size > 0

    # The function

    def compiled(self) -> Callable[..., tuple[np.ndarray, ...]]:
        """The function itself."""
        kernels = {name: op.kernel(np) for name, op in self.kernels.items()}
        self.bound["ops"] = SimpleNamespace(**kernels)
        self.bound["buffers"] = _Local(self._make_buffers)
        for value, held in self.graph.constants.items():
            self.bound[self.names[value]] = held.numpy()
        exec(compile(self.source, "<a program for NumPy>", "exec"), self.bound)
        found: Callable[..., tuple[np.ndarray, ...]] = self.bound["program"]
        return found

    def _make_buffers(self) -> tuple[np.ndarray, ...]:
        slots = [np.empty(size, np.uint8) for size in self.buffers.slots]
        found = []
        for value, slot in self.buffers.places.items():
            flat = slots[slot][: value.nbytes].view(value.dtype)
            found.append(flat.reshape(value.shape))
        return tuple(found)

    def _lines(self) -> Iterator[str]:
        inputs = [self.names[x] for x in self.graph.inputs]
        owners = [f"own_{self.names[self.graph.inputs[i]]}" for i in self.updates.values()]
        yield f"def program({', '.join([*inputs, *owners])}):"
        if self.buffers.places:
            names = [self.names[x] for x in self.buffers.places]
            yield f"    {', '.join(names)}, = buffers()"
        if self.plan.equations:
            yield '    with np.errstate(all="ignore"):'
        indent = "        "
        for i, made in enumerate(self.plan.equations):
            for line in self._equation(made):
                yield indent + line
            if gone := [self.names[x] for x in self._freed(i)]:
                yield f"{indent}del {', '.join(gone)}"
        yield f"    return {self._results()}"

    def _freed(self, i: int) -> Iterator[Value]:
        """What is in memory of its own, of some size, and nobody uses after equation i: with its
        views, whatever shows the same memory."""
        for x in {self.origins.get(x, x): None for x in self.plan.equations[i].values}:
            large = x in self.makers and x.nbytes >= _LARGE
            if large and self.last[x] == i and x not in self.buffers.places and not self._leaves(x):
                yield x
                yield from [view for view, origin in self.origins.items() if origin is x]

    def _leaves(self, x: Value) -> bool:
        """Whether a value, or a view of it, is an output."""
        return any(self.origins.get(y, y) is x for y in self.outputs)

    def _results(self) -> str:
        """Each output as an array of its own."""
        seen: set[Value] = set()
        found = []
        for x in self.graph.outputs:
            if not isinstance(x, Value):
                found.append(f"np.array({x!r})")
                continue
            origin = self.origins.get(x, x)
            fresh = x in self.makers and x is origin and x not in seen
            seen.add(x)
            name = self.names[x]
            if not fresh:
                found.append(f"np.array({name})")
            elif can_write(self.makers[x]):
                found.append(name)
            else:
                found.append(f"np.asarray({name})")
        return f"({', '.join(found)}{',' if len(found) == 1 else ''})"

    # One equation

    def _equation(self, made: Equation) -> Iterator[str]:
        operands = [self._atom(x) for x in made.inputs]
        names = [self.names[y] for y in made.outputs]
        view = _view(made, operands)
        if view is not None:
            yield f"{names[0]} = {view}"
            return
        call = _call(made, operands)
        if call is None:
            several = len(names) != 1 or is_tuple(made)
            left = f"{', '.join(names)}{',' if several and len(names) == 1 else ''}"
            yield f"{left} = {self._kernel(made, operands)}"
            return
        out = names[0]
        value = made.outputs[0]
        if value in self.plan.in_place:
            old = self.names[self.plan.in_place[value]]
            yield f"{out} = {old} if own_{old} else np.empty_like({old})"
        elif value in self.given:
            yield f"{out} = np.empty({value.shape!r}, {_dtype(value.dtype)})"
        for line in call:
            yield line.replace("@out", out)

    def _atom(self, x: Atom) -> str:
        return self.names[x] if isinstance(x, Value) else _number(x)

    def _kernel(self, made: Equation, operands: Sequence[str]) -> str:
        """A call of the operation's own kernel."""
        name = _identifier(made.op.name)
        while self.kernels.setdefault(name, made.op) is not made.op:  # a user's op of that name
            name += "_"
        params = [f"{key}={self._param(value)}" for key, value in made.params.items()]
        return f"ops.{name}({', '.join([*operands, *params])})"

    def _param(self, value: Any) -> str:
        if _is_plain(value):
            return repr(value)
        name = f"p{len(self.bound)}"
        self.bound[name] = value
        return name


class _Local:
    """What each thread has its own of, made when it first asks."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._held = threading.local()

    def __call__(self) -> Any:
        try:
            return self._held.value
        except AttributeError:
            self._held.value = found = self._make()
            return found


# What NumPy calls an operation


def ufunc_of(op: Op) -> str | None:
    """The ufunc that is all an operation does."""
    if isinstance(op, Elementwise) and op.ufunc and type(op).kernel is Elementwise.kernel:
        return op.ufunc
    return _UFUNCS.get(op.name)


_UFUNCS = {"logaddexp": "logaddexp"}


def can_write(made: Equation) -> bool:
    """Whether NumPy can be told where to put an equation's result, and the equation cannot fail."""
    return _call(made, [""] * len(made.inputs)) is not None


def _call(made: Equation, operands: Sequence[str]) -> list[str] | None:
    """The statements that compute an equation into `@out`; None if only its kernel can."""
    op, out = made.op, made.outputs[0]
    given = made.values
    if not given:
        return None
    name = ufunc_of(op)
    if name is not None:
        return [f"np.{name}({', '.join(operands)}, out=@out)"]
    halves = dtypes.is_half(out.dtype)
    if op.name == "relu" and not halves:
        return [f"np.maximum({operands[0]}, 0, out=@out)"]
    if op.name == "matmul" and not halves:
        return [f"np.matmul({', '.join(operands)}, out=@out)"]
    if op.name in ("sum", "mean", "prod", "max", "min") and not halves and given[0].size:
        axis, keepdims = made.params["axis"], made.params["keepdims"]
        kept = ", keepdims=True" if keepdims else ""
        function = _REDUCERS[op.name]
        lines = [f"np.{function}.reduce({operands[0]}, axis={axis!r}, out=@out{kept})"]
        if op.name == "mean":
            count = given[0].size // max(out.size, 1)
            lines.append(f"np.divide(@out, {count}, out=@out)")
        return lines
    return None


_REDUCERS = {"sum": "add", "mean": "add", "prod": "multiply", "max": "maximum", "min": "minimum"}


def _view(made: Equation, operands: Sequence[str]) -> str | None:
    """A view of an operand's memory."""
    x, params = operands[0] if operands else "", made.params
    if made.op.name == "reshape":
        return f"{x}.reshape({params['shape']!r})"
    if made.op.name == "permute_dims":
        axes = params["axes"]
        return f"{x}.T" if axes == tuple(range(len(axes)))[::-1] else f"{x}.transpose({axes!r})"
    if made.op.name == "broadcast_to":
        return f"np.broadcast_to({x}, {params['shape']!r})"
    if made.op.name in ("identity", "stop_gradient"):
        return x
    return None


def is_tuple(made: Equation) -> bool:
    """Whether an operation gives a tuple, be it of one."""
    avals = [x.aval if isinstance(x, Value) else x for x in made.inputs]
    return not isinstance(made.op.infer(*avals, **made.params), Aval)


def _dtype(dtype: np.dtype[Any]) -> str:
    return f"np.{dtype.name}" if hasattr(np, dtype.name) else f"np.dtype({dtype.name!r})"


def _number(x: Any) -> str:
    text = repr(x)
    return f"np.{text}" if text in ("inf", "nan") else "-np.inf" if text == "-inf" else text


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, (bool, int, str))
        or (isinstance(value, float) and np.isfinite(value))
    )


def _identifier(name: str) -> str:
    found = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    if not found or found[0].isdigit() or keyword.iskeyword(found) or found in _TAKEN:
        found = f"_{found}"
    return found


_TAKEN = frozenset({"np", "ops", "buffers", "program"})
