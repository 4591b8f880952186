"""A graph as one XLA executable: replayed once on JAX's tracers, by the operations' own kernels for
`jax.numpy`, inside of one `jax.jit`.

Loops and branches are those of `jax.lax`, in the same executable; large state that is replaced
gives its memory to what replaces it. JAX's own gradients are used nowhere. What has an effect, and
what needs values to be computed (the kernel of a user's operation may), is computed by NumPy, which
the executable calls.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from tinygrad_edu import backends, dtypes, ops
from tinygrad_edu.backends import Array
from tinygrad_edu.errors import Error
from tinygrad_edu.graph import Equation, Graph, Value, graphs_of
from tinygrad_edu.op import Aval
from tinygrad_edu.ops import control
from tinygrad_edu.tensors import Tensor

from . import passes, text_of

_LARGE = 1 << 16
"""Bytes from which state gives its memory away, and from which a constant is an argument of the
executable instead of a part of it."""


def lower(graph: Graph, updates: Mapping[int, int]) -> Program:
    """A program for XLA. `updates` has, for outputs that are new state, the input whose memory
    they may take. Raises DeviceError where JAX is missing."""
    return Program(graph, updates)


class Program:
    """A graph lowered for XLA.

    `run` takes an array for each input, and then, for each entry of `updates`, whether that input's
    memory may be written; it gives an array for each output, in memory of its own.
    """

    def __init__(self, graph: Graph, updates: Mapping[int, int]) -> None:
        device = backends.find("xla")
        assert isinstance(device, backends.XLA)
        self._device = device
        self._jax = importlib.import_module("jax")
        self.graph = graph
        self.optimized = passes.optimize(graph)
        self.local = self
        self._wide = device.wide
        self._count = len(graph.inputs)
        self._owners = len(updates)
        large = dict(_large_constants(self.optimized))
        self._constants = [self._array(x) for x in large.values()]
        self._replay = _Replay(self.optimized, tuple(large))
        flags = {i: self._count + n for n, i in enumerate(updates.values())}
        # The inputs that give their memory away, and the places of the flags that allow it.
        self._given = {i: n for i, n in flags.items() if graph.inputs[i].nbytes >= _LARGE}
        self._lowered = self._traced()
        if self._replay.calls and self._given:  # it may fail, and state is to be as it was then
            self._given = {}
            self._lowered = self._traced()

    def _traced(self) -> Any:
        jax = self._jax
        inputs = [jax.ShapeDtypeStruct(*x.aval) for x in self._replay.inputs]
        with self._wide(True):
            return jax.jit(self._replay, donate_argnums=tuple(self._given)).lower(*inputs)

    @cached_property
    def _executable(self) -> Any:
        with self._wide(True):
            return self._lowered.compile()

    def run(self, *arrays: Any) -> Sequence[Array]:
        """The outputs. What is called often asks for `local.run` itself."""
        given = [*arrays[: self._count], *self._constants]
        for i, flag in self._given.items():
            if not arrays[flag]:
                with self._wide(True):
                    given[i] = given[i].copy()
        found: Sequence[Array]
        try:
            with self._wide(True):  # arguments of NumPy's may have 64 bits
                found = self._executable(*given)
            if self._replay.calls:
                self._jax.block_until_ready(found)
                self._jax.effects_barrier()
        except Exception as error:
            raise self._replay.failed.pop() if self._replay.failed else error from None
        return found

    def __call__(self, *arrays: Any) -> Sequence[Array]:
        """The outputs for these arrays; state is not touched."""
        given = [self._array(a) for a in arrays]
        return self.run(*given, *[False] * self._owners)

    def _array(self, x: Any) -> Array:
        """A Tensor or an array as one of this device."""
        if isinstance(x, Tensor):
            x = x._data if x.device is self._device else x.numpy()
        return x if isinstance(x, self._device.array_type) else self._device.from_numpy(x)

    def explain(self, error: Exception) -> Exception:
        """Our error for one that was raised in the program: as it is. What the kernels refuse, they
        refuse when it is lowered."""
        return error

    def as_text(self, stage: str = "stablehlo") -> str:
        """A stage of the lowering: "graph", "optimized", "stablehlo" (what XLA gets) or "hlo" (what
        it makes of it)."""
        stages = {
            "graph": self.graph,
            "optimized": self.optimized,
            "stablehlo": self._lowered.as_text,
            "hlo": lambda: self._executable.as_text(),
        }
        return text_of(stages, stage)


def _large_constants(graph: Graph) -> Iterator[tuple[Value, Tensor]]:
    """Those of a graph, and of the graphs in it, that are worth an argument."""
    yield from [(value, x) for value, x in graph.constants.items() if value.nbytes >= _LARGE]
    for made in graph.equations:
        for inner in graphs_of(made):
            yield from _large_constants(inner)


class _Replay:
    """The graph as a function of JAX's arrays: the inputs, and the `large` constants.

    `calls` says whether, when it was replayed, something was left to NumPy, and `failed` has the
    errors of that.
    """

    def __init__(self, graph: Graph, large: Sequence[Value]) -> None:
        self._graph = graph
        self._large = large
        self.inputs = (*graph.inputs, *large)
        self.calls = False
        self.failed: list[Exception] = []
        self.__name__ = "program"
        self._jax = importlib.import_module("jax")
        self._xp = importlib.import_module("jax.numpy")
        errors = self._jax.errors
        self._needs_values = (
            errors.ConcretizationTypeError,
            errors.TracerArrayConversionError,
            errors.TracerIntegerConversionError,
            errors.NonConcreteBooleanIndexError,
        )
        self._rules: dict[type, Callable[..., Any]] = {
            control.Cond: self._cond,
            control.Scan: self._scan,
            control.While: self._while,
        }

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        count = len(self._graph.inputs)
        self._known = dict(zip(self._large, arrays[count:], strict=True))
        try:
            return self._outputs(self._graph, arrays[:count])
        finally:
            del self._known

    def _outputs(self, graph: Graph, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs of a graph, or of one inside of it."""
        known: dict[Value, Array] = dict(zip(graph.inputs, arrays, strict=True))
        for value, x in graph.constants.items():
            found = self._known.get(value)
            known[value] = self._opaque(x.numpy()) if found is None else found
        for made in graph.equations:
            given = [
                self._number(x, made) if not isinstance(x, Value) else known[x] for x in made.inputs
            ]
            try:
                found = self._computed(made, given)
            except Error:
                raise  # of an operation inside
            except Exception as error:
                raise made.explain(error) from None
            for y, array in zip(made.outputs, found, strict=True):
                known[y] = self._xp.asarray(array, y.dtype)
        return tuple(
            [
                self._xp.asarray(known[x] if isinstance(x, Value) else x, dtype)
                for x, (_, dtype) in zip(graph.outputs, graph.results, strict=True)
            ]
        )

    def _computed(self, made: Equation, given: Sequence[Any]) -> Sequence[Array]:
        rule = self._rules.get(type(made.op))
        if rule is not None:
            return rule(*[self._xp.asarray(x) for x in given], **made.params)
        if made.op.effect:
            return self._called(made, given)
        try:
            with self._jax.named_scope(made.op.name):
                found = made.op.kernel(self._xp)(*given, **made.params)
        except self._needs_values:
            warnings.warn(
                f"{made.op}: its kernel asks for values, which XLA has not when it compiles, so "
                f"NumPy computes it, called by the program{made.where}",
                stacklevel=2,
            )
            return self._called(made, given)
        return found if isinstance(found, tuple) else (found,)

    def _opaque(self, x: Any) -> Array:
        """A constant as an array. Of halves XLA knows no value: it would bring constant factors
        together, and what is between them is there to keep products in a small range."""
        array = self._xp.asarray(x)
        return self._jax.lax.optimization_barrier(array) if dtypes.is_half(array.dtype) else array

    def _number(self, x: Any, made: Equation) -> Any:
        y = made.outputs[0]
        factor = made.op in (ops.multiply, ops.divide) and dtypes.is_half(y.dtype)
        return self._opaque(np.asarray(x, y.dtype)) if factor else x

    # Loops and branches

    def _cond(self, index: Array, *arrays: Array, branches: Sequence[Graph]) -> Sequence[Array]:
        choices = [partial(lambda graph, *xs: self._outputs(graph, xs), each) for each in branches]
        number = self._xp.clip(index.astype(_index(index)), 0, len(branches) - 1)
        return self._jax.lax.switch(number.astype(np.int32), choices, *arrays)

    def _scan(
        self,
        *arrays: Array,
        body: Graph,
        length: int,
        reverse: bool,
        consts: int,
        carries: int,
        saved: bool,
        kept: int,
    ) -> Sequence[Array]:
        first = consts + carries

        def turn(held: Sequence[Array], rows: Sequence[Array]) -> Any:
            found = self._outputs(body, (*arrays[:consts], *held, *rows))
            return found[:carries], (*found[carries:], *(held if saved else ()))

        start, rows = arrays[consts:first], arrays[first:]
        last, stacks = self._jax.lax.scan(turn, start, rows, length, reverse)
        return (*last, *stacks)

    def _while(self, *arrays: Array, body: Graph, consts: int) -> Sequence[Array]:
        def turn(state: Sequence[Array]) -> Sequence[Array]:
            *held, going = self._outputs(body, (*arrays[:consts], *state[1:]))
            return going, *held

        return self._jax.lax.while_loop(lambda state: state[0], turn, arrays[consts:])[1:]

    # What NumPy computes

    def _called(self, made: Equation, given: Sequence[Any]) -> Sequence[Array]:
        """The results of an equation that NumPy computes, while the program runs. Effects keep
        their order."""
        self.calls = True
        kernel, failed = made.op.kernel(np), self.failed

        def compute(*arrays: Any) -> list[np.ndarray]:
            known = [np.asarray(a).view(x.dtype) for a, x in zip(arrays, made.values, strict=True)]
            left = iter([a.reshape(x.shape) for a, x in zip(known, made.values, strict=True)])
            operands = [next(left) if isinstance(x, Value) else x for x in made.inputs]
            try:
                found = kernel(*operands, **made.params)
            except Exception as error:
                failed.append(made.explain(error))
                raise
            found = found if isinstance(found, tuple) else (found,)
            pairs = zip(found, made.outputs, strict=True)
            whole = [np.ascontiguousarray(y, x.dtype).reshape(x.shape) for y, x in pairs]
            wanted = zip(whole, results, strict=True)
            return [y.reshape(-1).view(x.dtype).reshape(x.shape) for y, x in wanted]

        lax = self._jax.lax
        results = [self._jax.ShapeDtypeStruct(*_in_words(y)) for y in made.outputs]
        arrays = [
            lax.bitcast_convert_type(self._xp.asarray(a), _in_words(x)[1])
            for a, x in zip(given, made.inputs, strict=True)
            if isinstance(x, Value)
        ]
        if made.op.effect:
            call = importlib.import_module("jax.experimental").io_callback
            found = call(compute, results, *arrays, ordered=True)
        else:
            found = self._jax.pure_callback(compute, results, *arrays)
        pairs = zip(found, made.outputs, strict=True)
        return [lax.bitcast_convert_type(y, x.dtype) for y, x in pairs]


def _in_words(x: Value) -> Aval:
    """What stands for a value where NumPy is called: JAX takes nothing of 64 bits there, unless a
    flag of the whole process is set."""
    return Aval((*x.shape, 2), dtypes.uint32) if x.dtype.itemsize == 8 else x.aval


def _index(x: Array) -> Any:
    """The dtype of a number of a branch, which may be a truth."""
    return np.int32 if x.dtype == np.bool_ else x.dtype
