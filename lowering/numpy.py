"""A graph as one Python function of NumPy calls, which `as_text("python")` shows.

Values that nobody outside sees live in a few buffers that every call uses again, one set a thread.
Elementwise operations, products and sums write into them; transposes and reshapes are views;
results are new arrays. State is updated where it lies, after everything that could fail.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import itertools
import keyword
import math
import operator
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_edu import dtypes, ops
from tinygrad_edu.arguments import Shape
from tinygrad_edu.errors import ConfigError, Error
from tinygrad_edu.graph import Atom, Equation, Graph, Value
from tinygrad_edu.op import Aval, Elementwise, Op
from tinygrad_edu.ops.activations import gate
from tinygrad_edu.ops.losses import (
    Highest,
    OfClass,
    ShiftedPowers,
    SparseCrossentropy,
    crossentropy_at,
    places_of,
    slope_at,
)
from tinygrad_edu.ops.reduction import Argmax

from . import fusion, passes, stacks, text_of
from .products import with_products

_FILE = "<a program for NumPy>"

_LARGE = 1 << 16
"""Bytes from which a temporary is given back as soon as nobody uses it, and new memory is laid out
for the cache."""


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
        fewer = stacks.stacked(self.optimized, updates, BLOCK // 4)
        self._writer = _Writer(with_products(fewer, 2 * BLOCK), updates)
        self.local = _OfThread(self._writer.compiled())

    def run(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """The outputs. What is called often asks for `local.run` itself."""
        return self.local.run(*arrays)

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        """The outputs for these arrays; state is not touched."""
        given = [np.asarray(a) for a in arrays]
        return self.run(*given, *[False] * self._writer.owners)

    def explain(self, error: Exception) -> Exception:
        """Our error for one that was raised in the program: which operation, on whose behalf."""
        line, step = 0, error.__traceback__
        while step is not None:
            line = step.tb_lineno if step.tb_frame.f_code.co_filename == _FILE else line
            step = step.tb_next
        made = self._writer.equation_at(line)
        return error if made is None or isinstance(error, Error) else made.explain(error)

    def as_text(self, stage: str = "python") -> str:
        """A stage of the lowering: "graph", "optimized" or "python"."""
        stages = {"graph": self.graph, "optimized": self.optimized, "python": self._writer.source}
        return text_of(stages, stage)


class _Writer:
    """Writes the function, line by line."""

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        self.interface = graph  # what the function takes and gives
        self.updates = updates
        self.owners = len(updates)
        inner = stacks.in_rows(graph, updates)
        self.rows, self.renewed = inner.rows, inner.renewed
        self.graph = graph = inner.graph
        self.names = _identifiers(graph.names())
        self.bound: dict[str, Any] = {"np": np, "parallel": parallel, "apart": apart, **_BOUNDS}
        self.bound |= {"Row": Row, "aligned": aligned}
        self.bound |= {f.__name__: f for f in (places_of, crossentropy_at, slope_at)}
        self.kernels: dict[str, Op] = {}
        self.places: dict[tuple[str, int], str] = {}  # of classes, and how many there are
        self.numbers: dict[str, str] = {}  # those that are arrays without axes, with their names
        self.plan = fusion.schedule(graph, inner.updates, can_write)
        self.origins = fusion.aliases(graph.equations)
        self.makers = {y: made for made in graph.equations for y in made.outputs}
        self.given = frozenset([x for x in graph.outputs if isinstance(x, Value)])
        self.scalars = {made for made in graph.equations if _as_scalar(made, []) is not None}
        others = [made for made in graph.equations if made not in self.scalars]
        self.arrays = self.given.union(*[(*made.values, *made.outputs) for made in others])
        self.units = fusion.loops(self.plan, self.origins, _is_worth, can_write, self.given)
        self.last: dict[Value, int] = {}
        for i, unit in enumerate(self.units):
            for x in unit.read():
                self.last[self.origins.get(x, x)] = i
        needed = [x for unit in self.units for x in unit.read()]
        self.crossing = self.given.union(needed)
        self.hidden = self.crossing - self.given
        self.looped = {y for unit in self.units if unit.is_loop for y in unit.made()}
        self.shared = fusion.share_results(
            self.units, self.plan, self.origins, self._is_passed, self._is_owned, can_write
        )
        self.names.update({x: self.names[y] for x, y in self.shared.items()})
        self.opened: set[Value] = set()
        self.parts = fusion.parts_of(self.plan.equations, self.origins, self._is_buffered)
        self.buffers = fusion.assign_buffers(
            self.units, self._is_buffered, self.origins, kept=self.given, parts=self.parts
        )
        within = self.looped - self.crossing
        self.named: dict[Value, list[Value]] = {}  # what shows the memory of each, outside of loops
        for y in self.makers:
            if y not in within:
                self.named.setdefault(self.origins.get(y, y), []).append(y)
        self.scratch: dict[str, list[tuple[Shape, np.dtype[Any], int]]] = {}
        self.source = "\n".join(self._lines())

    def _is_buffered(self, value: Value) -> bool:
        """Whether a value lives in a buffer for as long as the program needs it."""
        return (
            self._passes(value)
            and value in self.hidden
            and value in self.arrays
            and value not in self.shared
        )

    def _is_passed(self, value: Value) -> bool:
        """Whether a value may live where a result will."""
        return self._passes(value) and self.makers[value] not in self.scalars

    def _passes(self, value: Value) -> bool:
        """Whether a value lives where the program wants it, and not for good."""
        return value.size > 0 and value not in self.given and can_write(self.makers[value])

    def _is_owned(self, value: Value) -> bool:
        """Whether a value is written into memory that is there before what it is made of: a result,
        or what leaves a loop."""
        there = value in self.given or (value in self.crossing and value in self.looped)
        return value.size > 0 and there and can_write(self.makers[value])

    def equation_at(self, line: int) -> Equation | None:
        """The equation that a line of the source, counted from 1, computes."""
        text = self.source.splitlines()[line - 1] if line else ""
        makers = {self.names[y]: made for y, made in self.makers.items()}
        for name in re.findall(r"(?:out=|copyto\(|^ *)(\w+)", text):
            for known in (name, name.removesuffix("_"), name.removesuffix("_parts")):
                if known in makers:
                    return makers[known]
        return None

    # The function

    def compiled(self) -> Callable[[], Callable[..., tuple[np.ndarray, ...]]]:
        """What makes the function, with buffers of its own."""
        kernels = {name: op.kernel(np) for name, op in self.kernels.items()}
        self.bound["ops"] = SimpleNamespace(**kernels)
        for name, wanted in self.scratch.items():
            self.bound[name] = _Local(functools.partial(_empty, wanted))
        for value, held in self.graph.constants.items():
            self.bound[self.names[value]] = held.numpy()
        code = compile(self.source, _FILE, "exec")

        def make() -> Callable[..., tuple[np.ndarray, ...]]:
            module = dict(self.bound)
            exec(code, module)
            found: Callable[..., tuple[np.ndarray, ...]] = module["program"]
            return found

        return make

    def _lines(self) -> Iterator[str]:
        head, body = list(self._head()), list(self._body())
        yield from head
        yield from [f"{name} = {array}" for array, name in self.numbers.items()]
        if head or self.numbers:
            yield ""
        yield from body

    def _head(self) -> Iterator[str]:
        """The buffers, and views of what is always there."""
        for i, size in enumerate(self.buffers.slots):
            yield f"memory{i} = aligned(({size},), np.uint8)"
        for y, slot in self.buffers.places.items():
            start = self.buffers.starts.get(y, 0)
            part = f"memory{slot}[{start or ''}:{start + y.nbytes}].view({_dtype(y.dtype)})"
            yield f"{self.names[y]} = {part}.reshape({y.shape!r})"
        for i, row in enumerate(self.rows):
            shapes = [x.shape for x in row.parts]
            yield f"row{i} = Row({shapes!r}, {_dtype(row.old.dtype)})"
        static = {*self.buffers.places, *self.graph.constants}
        in_order = set(static)  # of others a reshape is a copy
        alone = {unit.equations[0] for unit in self.units if not unit.is_loop}
        for made in self.plan.equations:
            if made.op not in fusion.VIEWS or len(made.outputs) > 1 or made not in alone:
                continue
            (x,), (y,) = made.values, made.outputs
            if x in (in_order if made.op is ops.reshape else static):
                static.add(y)
                if x in in_order and made.op not in (ops.permute_dims, ops.broadcast_to):
                    in_order.add(y)
                view = _view(made, [self.names[x] for x in made.values])
                yield f"{self.names[made.outputs[0]]} = {view}"
        self.static = frozenset(static.difference(self.buffers.places, self.graph.constants))
        self.static |= {x for row in self.rows for x in row.parts}

    def _body(self) -> Iterator[str]:
        inputs = [self.names[x] for x in self.interface.inputs]
        owners = [f"own_{self.names[self.interface.inputs[i]]}" for i in self.updates.values()]
        yield f"def program({', '.join([*inputs, *owners])}):"
        for i, row in enumerate(self.rows):
            parts = [self.names[x] for x in row.parts]
            owned = " and ".join([f"own_{part}" for part in parts])
            given = f"({', '.join(parts)})"
            yield f"    {self.names[row.old]}, {given} = row{i}({given}, {owned})"
        for i, unit in enumerate(self.units):
            lines = self._loop(unit, i) if unit.is_loop else self._equation(unit.equations[0])
            for line in lines:
                yield f"    {line}"
            if gone := [self.names[x] for x in self._freed(i)]:
                yield f"    del {', '.join(gone)}"
        for row in self.rows:
            if row.new not in self.plan.in_place:
                yield f"    np.copyto({self.names[row.old]}, {self.names[row.new]})"
        yield f"    return {self._results()}"

    def _freed(self, i: int) -> Iterator[Value]:
        """What is in memory of its own, of some size, and nobody uses after unit i: with its views,
        whatever shows the same memory."""
        for x in {self.origins.get(x, x): None for x in self.units[i].read()}:
            large = x in self.makers and x.nbytes >= _LARGE and x not in self.shared
            large = large and self.makers[x] not in self.scalars
            if large and self.last[x] == i and x not in self.buffers.places and not self._leaves(x):
                yield from self.named.get(x, ())

    def _leaves(self, x: Value) -> bool:
        """Whether a value, or a view of it, is an output."""
        return any(self.origins.get(y, y) is x for y in self.given)

    def _results(self) -> str:
        """Each output as an array of its own."""
        seen: set[Value] = set()
        found = []
        for i, x in enumerate(self.interface.outputs):
            if not isinstance(x, Value):
                found.append(f"np.array({x!r})")
                continue
            if x in self.renewed:
                found.append(self.names[self.renewed[x]])
                continue
            name = self.names[x]
            if x in self.plan.in_place:  # in the memory of one input, which one output stands for
                place = self.interface.inputs[self.updates[i]] if i in self.updates else None
                apart = place is not self.plan.in_place[x]
            else:
                apart = x not in self.makers or x in self.origins or x in seen
            if apart:
                found.append(f"np.array({name})")
            else:
                # A kernel may give a view of what it was given.
                own = can_write(self.makers[x]) or x in self.opened
                found.append(name if own else f"apart({name})")
            seen.add(x)
        return f"({', '.join(found)}{',' if len(found) == 1 else ''})"

    # A loop

    def _loop(self, unit: fusion.Unit, number: int) -> Iterator[str]:
        """Some rows after others, so that what is between them stays in the processor's cache."""
        rows = unit.rows
        step = max(1, BLOCK // _row_size(unit))
        made = set(unit.made())
        whole = [y for each in unit.parts for y in each.outputs]
        crossing = [y for y in unit.made() if y in self.crossing and y not in whole]
        for y in crossing:
            yield from self._opened(y)
        for each in unit.parts:
            (y,) = each.outputs
            shape = (-(-rows // step), *_left(each), *y.shape)
            yield f"{self.names[y]}_parts = np.empty({shape!r}, {_dtype(y.dtype)})"
        local = [y for y in unit.made() if y not in self.crossing and y not in whole]
        blocks = [y for y in local if self._goes_into_block(y)]
        body = f"loop{number}"
        yield f"def {body}(start, stop):"
        if blocks:
            names = [f"{self.names[y]}_" for y in blocks]
            self.scratch[f"scratch{number}"] = self._scratch(unit, blocks, step)
            yield f"    {', '.join(names)}, = scratch{number}()"
        yield f"    for i in range(start, stop, {step}):"
        yield f"        j = min(i + {step}, stop)"
        indent = "        "
        ragged = rows % step
        if ragged and blocks:
            # The last block is shorter, and the last of all.
            yield f"{indent}if j - i < {step}:"
            for y in blocks:
                yield f"{indent}    {self.names[y]}_ = {self.names[y]}_[: j - i]"
        sliced = [x for x in unit.read() if any(unit.slices(each, x) for each in unit.equations)]
        for x in (*sliced, *crossing):
            yield f"{indent}{self.names[x]}_ = {self.names[x]}[i:j]"
        for each in unit.equations:
            y = each.outputs[0]
            inside = f"{self.names[y]}_"
            operands = [
                f"{self.names[x]}_"
                if isinstance(x, Value) and unit.slices(each, x)
                else self._atom(each, x)
                for x in each.inputs
            ]
            if y in whole:
                axis = each.params["axis"][: -len(_left(each)) or None]
                kept = ", keepdims=True" if each.params["keepdims"] else ""
                target = f"{self.names[y]}_parts[i // {step}]"
                function = _REDUCERS[each.op]
                yield f"{indent}{target} = np.{function}.reduce({operands[0]}, axis={axis!r}{kept})"
                continue
            call = _call(each, operands)
            if call is not None:
                for line in call:
                    yield indent + line.replace("@out", inside)
                continue
            if takes_out(each.op) and (y in crossing or y in blocks):
                yield indent + self._kernel(each, operands, f"out={inside}")
                continue
            view = _view_of_rows(each, operands)
            found = self._kernel(each, operands) if view is None else view
            if view is None and not _is_fresh(each.op):
                found = f"apart({found})"
            copied = f"np.copyto({inside}, {found})" if y in crossing else f"{inside} = {found}"
            yield indent + copied
        work = max([x.size for x in (*unit.read(), *made)]) * len(unit.equations)
        if work >= _MUCH:
            yield f"parallel({body}, {rows}, {step})"
        else:
            yield f"{body}(0, {rows})"
        for each in unit.parts:
            yield from self._combined(each)

    def _goes_into_block(self, y: Value) -> bool:
        """Whether a loop has a temporary for what it makes."""
        made = self.makers[y]
        return (can_write(made) or takes_out(made.op)) and y not in self.shared

    def _opened(self, y: Value) -> Iterator[str]:
        """Memory for a value that is written bit by bit, or by `out=`."""
        y = self.shared.get(y, y)
        name = self.names[y]
        if y in self.opened:
            return
        self.opened.add(y)
        if y in self.plan.in_place:
            old = self.names[self.plan.in_place[y]]
            whole = self.plan.in_place[y] in [row.old for row in self.rows]
            yield f"{name} = {old}" + ("" if whole else f" if own_{old} else {_new(y)}")
        elif y not in self.buffers.places:
            yield f"{name} = {_new(y)}"

    def _combined(self, made: Equation) -> Iterator[str]:
        """A reduction over all rows, of those over the rows of each block."""
        y = made.outputs[0]
        yield from self._opened(y)
        name, axis = self.names[y], (0, 1) if _left(made) else 0
        yield f"np.{_REDUCERS[made.op]}.reduce({name}_parts, axis={axis}, out={name})"
        if made.op is ops.mean:
            yield f"np.divide({name}, {made.values[0].size // y.size}, out={name})"

    def _scratch(
        self, unit: fusion.Unit, blocks: Sequence[Value], step: int
    ) -> list[tuple[Shape, np.dtype[Any], int]]:
        """Shape and dtype of a block's temporaries, and where each lies."""
        single = [fusion.Unit([each]) for each in unit.equations]
        wanted = set(blocks)
        found = fusion.assign_buffers(
            single,
            wanted.__contains__,
            fusion.aliases(unit.equations),
            lambda v: _block(v, step)[0],
            over=can_write,
        )
        return [(_block(y, step)[1], y.dtype, found.places[y]) for y in blocks]

    # One equation

    def _equation(self, made: Equation) -> Iterator[str]:
        if made in self.scalars:
            yield from self._scalar(made)
            return
        operands = [self._atom(made, x) for x in made.inputs]
        if self._is_turned(made):
            operands[1] += ".copy()"
        names = [self.names[y] for y in made.outputs]
        view = _view(made, operands)
        if made.outputs[0] in self.static:  # a view of a buffer, which is there already
            return
        if made.op is stacks.joined and made.values[0] in self.parts:  # which is made of its parts
            return
        if view is not None:
            yield f"{names[0]} = {view}"
            return
        if _is_of_class(made):
            yield from self._of_class(made, operands)
            return
        call = _call(made, operands, made.outputs[0] not in self.plan.in_place)
        if call is None:
            several = len(names) != 1 or is_tuple(made)
            left = f"{', '.join(names)}{',' if several and len(names) == 1 else ''}"
            found = self._kernel(made, operands)
            if not _is_fresh(made.op) and any(map(self._changes, made.values)):
                # The kernel may give a view of memory that will be written again.
                found = f"tuple(map(apart, {found}))" if several else f"apart({found})"
            yield f"{left} = {found}"
            return
        yield from self._opened(made.outputs[0])
        for line in call:
            yield line.replace("@out", names[0])

    def _scalar(self, made: Equation) -> Iterator[str]:
        """One number of others, which NumPy's scalars take a fifth of an array's time for; and the
        array without axes that it is, if anybody else wants it."""
        (y,) = made.outputs
        name = self.names[y]
        operands = [
            _number(x)
            if not isinstance(x, Value)
            else f"{self.names[x]}_"
            if x in self.makers and self.makers[x] in self.scalars
            else f"{self.names[x]}[()]"
            for x in made.inputs
        ]
        yield f"{name}_ = {_as_scalar(made, operands)}"
        if y in self.plan.in_place or y in self.buffers.places:
            yield from self._opened(y)
            yield f"{name}[()] = {name}_"
        elif y in self.arrays:
            yield f"{name} = np.array({name}_)"

    def _of_class(self, made: Equation, operands: Sequence[str]) -> Iterator[str]:
        """A cross-entropy of classes, or its slope: where these are, both need to know."""
        (t, x, *others), name = operands, self.names[made.outputs[0]]
        key = (t, made.values[1].shape[-1])
        if key not in self.places:
            self.places[key] = f"{name}_"
            yield f"{name}_ = places_of({t}, {key[1]})"
        if isinstance(made.op, SparseCrossentropy):
            highest, _, sums = others
            yield f"{name} = crossentropy_at({self.places[key]}, {x}, {highest}, {sums})"
        else:
            yield f"{name} = slope_at({self.places[key]}, {', '.join(others)})"

    def _is_turned(self, made: Equation) -> bool:
        """Whether the right factor of a product is transposed, and both are so small that BLAS
        has a quicker way for them, in one thread, if it is not: that way saves more than a copy
        takes, and what the other threads, once they are woken, take from whoever else computes."""
        if made.op is not ops.matmul:
            return False
        x, y = made.values[0], made.values[-1]
        turned = y in self.makers and self.makers[y].op is ops.permute_dims and y.ndim == 2
        rows = x.size // y.shape[0] if turned and y.shape[0] > 1 else 0
        return rows >= 64 and y.size <= 4096 and rows * y.size <= 10**6 and y.dtype in _FLOATS

    def _changes(self, x: Value) -> bool:
        """Whether the memory that a value shows is written again: a buffer's, or state's."""
        origin = self.origins.get(x, x)
        return origin in self.buffers.places or origin in self.plan.in_place.values()

    def _atom(self, made: Equation, x: Atom) -> str:
        """An operand's name; or a number, among floats as an array without axes, which NumPy takes
        in half the time."""
        if isinstance(x, Value):
            return self.names[x]
        given = {y.dtype for y in made.values}
        if ufunc_of(made.op) is None or not given or given - _FLOATS or abs(x) > 1e30:
            return _number(x)
        return self._array(x, given.pop())

    def _array(self, number: float, dtype: np.dtype[Any]) -> str:
        """The name of a number as an array without axes."""
        text = f"np.array({_number(number)}, {_dtype(dtype)})"
        return self.numbers.setdefault(text, f"n{len(self.numbers)}")

    def _kernel(self, made: Equation, operands: Sequence[str], *more: str) -> str:
        """A call of the operation's own kernel."""
        name = _identifier(made.op.name)
        while self.kernels.setdefault(name, made.op) is not made.op:  # a user's op of that name
            name += "_"
        params = [f"{key}={self._param(value)}" for key, value in made.params.items()]
        return f"ops.{name}({', '.join([*operands, *params, *more])})"

    def _param(self, value: Any) -> str:
        if _is_plain(value):
            return repr(value)
        name = f"p{len(self.bound)}"
        self.bound[name] = value
        return name


class _OfThread(threading.local):
    """A program with buffers of each thread's own, which runs without NumPy's warnings."""

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        # Called once in each thread. NumPy keeps what it warns of in a context; one that is entered
        # for each call takes a fifth of the time that `np.errstate` does.
        quiet = contextvars.Context()
        quiet.run(np.seterr, all="ignore")
        quiet.run(np.setbufsize, _CHUNK)
        self.run: Callable[..., Any] = functools.partial(quiet.run, make())


_CHUNK = 1024
"""Elements that NumPy takes at a time of what is not in order in memory. It copies rows that are
shorter, and in doubt it copies; by itself it takes eight times as many."""


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


def _empty(wanted: Sequence[tuple[Shape, np.dtype[Any], int]]) -> tuple[np.ndarray, ...]:
    """Temporaries of these shapes and dtypes; those of one place share memory."""
    sizes: dict[int, int] = {}
    for shape, dtype, place in wanted:
        sizes[place] = max(sizes.get(place, 0), math.prod(shape) * dtype.itemsize)
    slots = {place: aligned((size,), np.uint8) for place, size in sizes.items()}
    return tuple(
        [
            slots[place][: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
            for shape, dtype, place in wanted
        ]
    )


class Row:
    """State of some Variables, in one array side by side: where that array is, what they are as its
    parts.

    They move into another one, and get it for their own, where one has been put elsewhere since, or
    may not be written.
    """

    def __init__(self, shapes: Sequence[Shape], dtype: np.dtype[Any]) -> None:
        self._shapes = tuple(shapes)
        self._whole = np.empty(0, dtype)
        self._parts: tuple[Any, ...] = (None,) * len(shapes)

    def __call__(self, given: Sequence[np.ndarray], owned: bool) -> tuple[np.ndarray, Any]:
        if not owned or not all(map(operator.is_, given, self._parts)):
            self._whole = stacks.joined.forward(np, *given)
            self._parts = stacks.parted.forward(np, self._whole, shapes=self._shapes)
        return self._whole, self._parts


def aligned(shape: Shape, dtype: Any) -> np.ndarray:
    """An array whose memory begins where a line of the processor's cache does, for what goes over
    it then takes up to a quarter less time."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


_LINE = 64
"""Bytes of a line of the cache."""


def apart(x: Any) -> np.ndarray:
    """A result of a kernel as an array that shares no memory with any other."""
    found = np.asarray(x)
    return found if found.flags.owndata else found.copy()


# Loops over blocks


BLOCK = 1 << 17
"""Elements of the widest array in a block: a few such blocks fit in a core's cache, and threads
meet at Python's lock seldom."""

_MUCH = 1 << 21
"""Elements times operations from which it pays to wake other threads."""


def threads() -> int:
    """How many threads a loop may use: `TINYGRAD_EDU_THREADS`, or the cores of this process."""
    setting = os.environ.get("TINYGRAD_EDU_THREADS")
    if setting:
        try:
            return max(1, int(setting))
        except ValueError:
            raise ConfigError(
                f"environment variable TINYGRAD_EDU_THREADS is {setting!r}; it is an integer"
            ) from None
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel(body: Callable[[int, int], None], rows: int, step: int) -> None:
    """Run a loop's body over all rows, on several threads. Blocks are the same whatever the number
    of threads, and so are the results."""
    blocks = -(-rows // step)
    count = min(threads(), blocks)
    if count < 2:
        body(0, rows)
        return
    share = -(-blocks // count) * step
    edges = [*range(0, rows, share), rows]
    pool = _pool(count - 1)
    waiting = [
        pool.submit(contextvars.copy_context().run, body, a, b)  # with NumPy's settings
        for a, b in itertools.pairwise(edges[1:])
    ]
    body(edges[0], edges[1])
    for each in waiting:
        each.result()


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="tinygrad_edu")


# A process that was forked has a copy of the pool, and none of its threads: it would wait forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _is_worth(unit: fusion.Unit) -> bool:
    """Whether a loop over blocks pays: what is between its operations would leave the cache, or
    there is enough to do for several threads."""
    size = max(x.size for x in (*unit.read(), *unit.made()))
    if _row_size(unit) > BLOCK:
        return False
    return size >= (4 if len(unit.equations) > 1 else 16) * BLOCK


def _row_size(unit: fusion.Unit) -> int:
    """Elements of the widest row."""
    rows = [
        x.size // max(unit.rows, 1)
        for x in (*unit.read(), *unit.made())
        if fusion.is_sliced(x, unit.rows)
    ]
    return max(1, *rows)


def _left(made: Equation) -> Shape:
    """The sizes of the axes that a reduction of blocks leaves for later: one, where what remains
    are short rows, to begin one of which takes NumPy as long as a hundred elements."""
    axis, shape = made.params["axis"], made.values[0].shape
    leading = axis == tuple(range(len(axis))) and len(axis) > 1 and not made.params["keepdims"]
    return shape[len(axis) - 1 : len(axis)] if leading and made.outputs[0].size < 512 else ()


def _block(value: Value, step: int) -> tuple[int, Shape]:
    """Bytes and shape of a block of a value."""
    shape = (min(step, value.shape[0]), *value.shape[1:])
    return math.prod(shape) * value.dtype.itemsize, shape


# What NumPy calls an operation


def ufunc_of(op: Op) -> str | None:
    """The ufunc that is all an operation does."""
    if isinstance(op, Elementwise) and op.ufunc and type(op).kernel is Elementwise.kernel:
        return op.ufunc
    return _UFUNCS.get(op)


_UFUNCS: dict[Op, str] = {ops.logaddexp: "logaddexp"}


def _is_fresh(op: Op) -> bool:
    """Whether what an operation's kernel gives is never memory that it was given: of a user's
    operation nobody knows."""
    ours = type(op).__module__.startswith("tinygrad_edu.ops.")
    return ours and isinstance(op, (Elementwise, Argmax, Highest, OfClass))


def takes_out(op: Op) -> bool:
    """Whether an operation's own kernel takes `out=`, memory that no operand of it is in."""
    kind: Any = type(op)
    return _defaults(kind).get("out", ...) is None


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    """What the parameters of a forward are where nothing is given."""
    parameters = inspect.signature(kind.forward).parameters
    return {name: p.default for name, p in parameters.items()}


def can_write(made: Equation) -> bool:
    """Whether NumPy can be told where to put an equation's result, and the equation cannot fail."""
    return _call(made, [""] * len(made.inputs)) is not None


def _call(made: Equation, operands: Sequence[str], in_order: bool = True) -> list[str] | None:
    """The statements that compute an equation into `@out`; None if only its kernel can. `in_order`
    says whether a reshape of `@out` is sure to be a view of it."""
    op, out = made.op, made.outputs[0]
    given = made.values
    if not given:
        return None
    if op is stacks.joined:
        pairs = zip(operands, given, strict=True)
        flat = [name if x.ndim == 1 else f"{name}.reshape(-1)" for name, x in pairs]
        return [f"np.concatenate(({', '.join(flat)}), out=@out)"]
    name = ufunc_of(op)
    if name is not None:
        return [f"np.{name}({', '.join(operands)}, out=@out)"]
    halves = dtypes.is_half(out.dtype)
    if op is ops.power and dtypes.is_float(out.dtype):
        known = [x for x in made.inputs if not isinstance(x, Value)]
        # Roots and small powers are those that the operation's kernel knows.
        if not halves and not (known and known[0] is made.inputs[1]):
            return [f"np.power({', '.join(operands)}, out=@out)"]
    if op is ops.relu and dtypes.is_float(out.dtype) and not halves:
        # With arrays without axes a third of the time of `maximum`.
        return [f"{operands[0]}.clip(zero, infinity, out=@out)"]
    if op is gate and not halves and isinstance(made.inputs[0], Value):
        bits = f"view(np.int{8 * out.dtype.itemsize})"  # times 0 or 1, whatever they are
        return [f"np.multiply({operands[0]}.{bits}, {operands[1]} > zero, out=@out.{bits})"]
    if op is ops.matmul and not halves:
        x, y = given[0], given[-1]
        if len(given) == 2 and x.ndim > 1 and y.ndim > 1 and x.shape[-1] == 1:
            return [f"np.multiply({', '.join(operands)}, out=@out)"]  # a quarter of BLAS's time
        if in_order and len(given) == 2 and 0 < x.ndim < 3 and 0 < y.ndim < 3:
            return [f"{operands[0]}.dot({operands[1]}, out=@out)"]  # less before BLAS than matmul
        if in_order and len(given) == 2 and x.ndim > 2 and y.ndim == 2 and x.size and out.size:
            # One product of many rows, instead of one for each matrix on the left.
            rows = f"{operands[0]}.reshape((-1, {x.shape[-1]}))"
            return [f"np.matmul({rows}, {operands[1]}, out=@out.reshape((-1, {out.shape[-1]})))"]
        return [f"np.matmul({', '.join(operands)}, out=@out)"]
    if isinstance(op, ShiftedPowers) and not halves:
        return [f"np.subtract({', '.join(operands)}, out=@out)", "np.exp(@out, out=@out)"]
    if type(op) is Highest and _is_narrow(given[0]) and made.params["axis"] == 1:
        columns = f"{operands[0]}.T.copy()"  # to begin a short row takes longer than to go over it
        return [f"np.maximum.reduce({columns}, axis=0, out=@out.reshape(-1))"]
    if op in _REDUCERS and not halves and given[0].size:
        axis, keepdims = made.params["axis"], made.params["keepdims"]
        kept = ", keepdims=True" if keepdims else ""
        function = _REDUCERS[op]
        lines = [f"np.{function}.reduce({operands[0]}, axis={axis!r}, out=@out{kept})"]
        if op is ops.mean:
            count = given[0].size // max(out.size, 1)
            lines.append(f"np.divide(@out, {count}, out=@out)")
        return lines
    return None


def _is_narrow(x: Value) -> bool:
    """Whether something is many short rows of floats."""
    return x.ndim == 2 and x.dtype in _FLOATS and 0 < x.shape[1] <= 32 and x.shape[0] >= 16


def _is_of_class(made: Equation) -> bool:
    """Whether an equation is of the classes of rows."""
    if not isinstance(made.op, OfClass):
        return False
    x = made.values[1]
    last = bool(made.params["axis"] == x.ndim - 1)
    return x.size > 0 and x.dtype in _FLOATS and last


def _as_scalar(made: Equation, operands: Sequence[str]) -> str | None:
    """An equation of single numbers as an expression of NumPy's scalars, which compute what its
    arrays do; None for others."""
    if not made.values or any([x.shape or x.dtype not in _NUMBERS for x in made.values]):
        return None
    (y, *others) = made.outputs
    if others or y.shape or y.dtype not in _NUMBERS:
        return None
    if made.op is ops.astype:
        return f"{_dtype(y.dtype)}({', '.join(operands)})" if y.dtype in _FLOATS else None
    if made.op in _OPERATORS:
        return f" {_OPERATORS[made.op]} ".join(operands)
    if made.op is ops.negative:
        return "-" + "".join(operands)
    name = ufunc_of(made.op)
    return f"np.{name}({', '.join(operands)})" if name and y.dtype in _FLOATS else None


_OPERATORS: dict[Op, str] = {
    ops.add: "+",
    ops.subtract: "-",
    ops.multiply: "*",
    ops.divide: "/",
}

_BOUNDS = {"zero": np.array(0, np.float32), "infinity": np.array(np.inf, np.float32)}

_REDUCERS: dict[Op, str] = {
    ops.sum: "add",
    ops.mean: "add",
    ops.prod: "multiply",
    ops.max: "maximum",
    ops.min: "minimum",
}


def _view(made: Equation, operands: Sequence[str]) -> str | None:
    """A view of an operand's memory."""
    x, params = operands[0] if operands else "", made.params
    if made.op is ops.reshape:
        return f"{x}.reshape({params['shape']!r})"
    if made.op is ops.permute_dims:
        axes = params["axes"]
        return f"{x}.T" if axes == tuple(range(len(axes)))[::-1] else f"{x}.transpose({axes!r})"
    if made.op is ops.broadcast_to:
        return f"np.broadcast_to({x}, {params['shape']!r})"
    if made.op in (ops.identity, ops.stop_gradient):
        return x
    return None


def _new(y: Value) -> str:
    """New memory for a value."""
    function = "aligned" if y.nbytes >= _LARGE else "np.empty"
    return f"{function}({y.shape!r}, {_dtype(y.dtype)})"


def is_tuple(made: Equation) -> bool:
    """Whether an operation gives a tuple, be it of one."""
    avals = [x.aval if isinstance(x, Value) else x for x in made.inputs]
    return not isinstance(made.op.infer(*avals, **made.params), Aval)


def _dtype(dtype: np.dtype[Any]) -> str:
    return f"np.{dtype.name}" if hasattr(np, dtype.name) else f"np.dtype({dtype.name!r})"


def _view_of_rows(made: Equation, operands: Sequence[str]) -> str | None:
    """A view of some rows of an operand."""
    rest = f"(-1, *{made.outputs[0].shape[1:]!r})"
    if made.op is ops.reshape:
        return f"{operands[0]}.reshape({rest})"
    if made.op is ops.broadcast_to:
        return f"np.broadcast_to({operands[0]}, (j - i, *{made.outputs[0].shape[1:]!r}))"
    return _view(made, operands)


_FLOATS = frozenset({dtypes.float32, dtypes.float64})

_NUMBERS = _FLOATS | {dtypes.int32}


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


def _identifiers(names: Mapping[Value, str]) -> dict[Value, str]:
    """A name in the program for each value: no other's, and none that the program has itself."""
    found: dict[Value, str] = {}
    taken: set[str] = set()
    for value, name in names.items():
        name = _identifier(re.sub("(_parts|_)+$", "", name))  # what a loop makes of values
        base, number = name, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        found[value] = name
    return found


def _identifier(name: str) -> str:
    found = re.sub(r"\W", "_", name)
    taken = keyword.iskeyword(found) or _OWN.fullmatch(found)
    return found if found.isidentifier() and not taken else f"_{found}"


_OWN = re.compile(
    r"np|ops|Row|make|parallel|apart|aligned|program|zero|infinity|i|j|start|stop|min|range|tuple"
    r"|map|places_of|crossentropy_at|slope_at|own_.*|(memory|scratch|loop|row|n|p)\d+"
)
