"""jit: a function traced once for each signature, and run as one program.

A signature is what the program depends on: the structure of the arguments, shapes, dtypes, devices,
static values. For each new one the function is run once on a trace (`tracing`), which gives a
Graph; a lowering (the package `lowering`, found by the device's name) makes a program of it, and
later calls run just that.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

import numpy as np

from . import backends, config, conversion, dtypes, lines, ops, random, tape, traces, tree
from .backends import Array, Device
from .debugging import observers, silent
from .dispatch import picked
from .dtypes import DType, DTypeLike
from .errors import ArgumentError, DeviceError, DtypeError, GradientError, TracingError
from .graph import Atom, Equation, Graph, Value
from .op import Aval, Op
from .tensors import Operators, Tensor, wrap
from .traces import being_made
from .tracing import PYTHONS, Trace, Traced
from .variable import Variable, VariablePart

P = ParamSpec("P")
R = TypeVar("R")

ENTRIES = 64
"""Programs that a jitted function keeps; the one that was not used for longest goes first."""

_RECENT = 4
"""So many programs are tried before the arguments are taken apart."""

_MANY = 8
"""So many programs in a row, and the user is told why."""


_MISSED = object()
_new: Any = object.__new__


class CacheInfo(NamedTuple):
    """How often a program was found, how often one was made, how many there are, and may be."""

    hits: int
    misses: int
    size: int
    max_size: int


@overload
def jit(
    function: Callable[P, R],
    *,
    static_argnums: int | Sequence[int] = ...,
    static_argnames: str | Sequence[str] = ...,
) -> Jitted[P, R]: ...


@overload
def jit(
    function: None = None,
    *,
    static_argnums: int | Sequence[int] = ...,
    static_argnames: str | Sequence[str] = ...,
) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...


def jit(
    function: Callable[P, R] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Jitted[P, R] | Callable[[Callable[P, R]], Jitted[P, R]]:
    """A function as one compiled program, for each signature of its arguments: a decorator.

    Arguments are nested structures of Tensors, arrays and numbers; all else (booleans and text too)
    is static: part of the signature, by value. `static_argnums` and `static_argnames` make other
    arguments static. The function is run once for each signature, on Tensors without values, so
    what it does beside computing is done once. Variables that it reads or assigns, `.grad`, and
    the default random generator are part of the program; other Tensors from outside are constants,
    to which gradients flow where a tape watches them, but not through what is computed of constants
    alone: that is computed once, when the function is traced.

    Gradients, tapes and optimizers work inside; outside, the function is one operation with a
    gradient. The result has `trace`, `lower` and `cache_info`.

    Raises TracingError where the function asks for a value while it is traced, DeviceError where
    arguments are on several devices.

    >>> import tinygrad_edu as edu
    >>> weights = edu.Variable([1.0, 2.0])
    >>> @edu.jit
    ... def step(x):
    ...     with edu.GradientTape() as tape:
    ...         loss = ((x * weights) ** 2).sum()
    ...     weights.assign_sub(0.1 * tape.gradient(loss, weights))
    ...     return loss
    >>> step(edu.tensor([1.0, 1.0])), weights
    (Tensor(5., dtype=float32), Variable([0.8, 1.6], dtype=float32))
    """
    if function is None:
        return lambda given: jit(
            given, static_argnums=static_argnums, static_argnames=static_argnames
        )
    if not callable(function):
        raise ArgumentError(f"jit: takes a function, not {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ArgumentError(
            f"jit: {function!r} is a coroutine or a generator, of which nothing runs while it is "
            "traced: give it a function that returns, and await or yield around its calls"
        )
    numbers = list(static_argnums) if isinstance(static_argnums, Iterable) else [static_argnums]
    if isinstance(static_argnames, str) or not isinstance(static_argnames, Iterable):
        static_argnames = [static_argnames]
    return Jitted(function, numbers, list(static_argnames))


class Jitted(Generic[P, R]):
    """What `jit` makes of a function."""

    def __init__(
        self, function: Callable[P, R], static: Sequence[int], named: Sequence[str]
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.static, self.named = _static_arguments(function, static, named)
        self._programs: OrderedDict[Hashable, list[_Program]] = OrderedDict()
        self._recent: list[_Program] = []  # the last one first
        self._misses = self._in_a_row = self._forgotten = self._hits_before = 0
        self._lock = threading.RLock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if traces.layer_call.get() is not None:  # which a program would not know
            return self.function(*args, **kwargs)
        if not kwargs:
            for program in self._recent:
                found: Any = program.call(args)
                if found is not _MISSED:
                    return found
        if config.eager or traces.current() is not None:
            return self.function(*args, **kwargs)
        call = _Call(self, args, kwargs)
        if call.device.level:  # inside of vmap, which has operations for programs
            return self.function(*args, **kwargs)
        program = self._program(call)
        try:
            program.traced.check(call.numbers)
            if any([tape.is_followed(x) for x in call.tensors]) or program.is_followed():
                return program.record(call.tensors)
            return program.run([x._data for x in call.tensors])
        finally:
            program.traced.held = ()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def trace(self, *args: Any, **kwargs: Any) -> Graph:
        """The program for these arguments as a Graph, before any pass. Its inputs are the arrays
        of the arguments (numbers as float64 and int64) and then the state that it reads; its
        outputs the Tensors of the result and then the state that it writes."""
        return self._traced(_Call(self, args, kwargs)).graph

    def lower(self, *args: Any, device: str | Device | None = None, **kwargs: Any) -> Any:
        """The program for these arguments on a device (theirs, or `device`, also one that cannot
        run here): callable with arrays, and readable by `as_text(stage)`. Stages are "graph" and
        "optimized"; for numpy "python"; for xla "stablehlo" and "hlo", which JAX makes.

        Raises DeviceError for xla where JAX is not installed."""
        traced = self._traced(_Call(self, args, kwargs))
        name = traced.device.name if device is None else str(device)
        if name not in [known.name for known in backends.devices()]:
            backends.find(name)  # an error, which says what there is
        return _lowering(name).lower(traced.graph, traced.updates)

    def cache_info(self) -> CacheInfo:
        """How often a program was found or had to be made, and how many are kept."""
        programs = [program for kept in self._programs.values() for program in kept]
        hits = self._forgotten + sum([program.hits for program in programs])
        return CacheInfo(hits, self._misses, len(programs), ENTRIES)

    def __reduce__(self) -> Any:
        """Copies have programs of their own; what has a name is pickled by it."""
        name = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Jitted, (self.function, self.static, self.named))

    def __repr__(self) -> str:
        return f"<jitted {getattr(self, '__qualname__', self.function)!s}>"

    def _program(self, call: _Call) -> _Program:
        """The program for a call, made if there is none that fits."""
        with self._lock:
            found = next((p for p in self._programs.get(call.key, ()) if p.fits()), None)
            if found is not None:
                self._programs.move_to_end(call.key)
                found.hits += 1
            else:
                hits = self.cache_info().hits
                self._in_a_row = self._in_a_row + 1 if hits == self._hits_before else 1
                self._hits_before = hits
                self._misses += 1
                if self._in_a_row == _MANY:
                    self._warn(call)
                found = _Program(self._traced(call), call, self.function)
                known = self._programs.pop(call.key, [])
                kept = [program for program in known if program.is_alive()]
                self._forget([program for program in known if program not in kept])
                self._programs[call.key] = [found, *kept]
                while self.cache_info().size > ENTRIES:
                    self._forget(self._programs.popitem(last=False)[1])
            others = [program for program in self._recent if program is not found]
            self._recent = [found, *others[: _RECENT - 1]]
            return found

    def _forget(self, programs: Sequence[_Program]) -> None:
        self._forgotten += sum([program.hits for program in programs])
        self._recent = [program for program in self._recent if program not in programs]

    def _traced(self, call: _Call) -> _Traced:
        trace = Trace(call.device)
        args, kwargs = call.arguments(trace, self.function)
        generator = random.Traced(trace.read_key)
        with traces.making(trace), tape.apart(), generator.default():
            result = self.function(*args, **kwargs)
            traced = _Traced(trace, call, result, generator.left)
        trace.let_go()
        return traced

    def _warn(self, call: _Call) -> None:
        last = self._recent[0] if self._recent else None
        what = "its state" if last is None else _difference(last.signature, call.signature())
        lines.warn(
            f"{self!r} was traced {_MANY} times in a row, because {what} differs from call to "
            "call, and a trace takes as long as many calls. Keep shapes alike, pass numbers that "
            "change as arguments that are not static, and make Variables once",
        )


def _static_arguments(
    function: Callable[..., Any], numbers: Sequence[int], names: Sequence[str]
) -> tuple[frozenset[int], frozenset[str]]:
    """The static arguments by position and by name: those given by one are so by the other."""
    any_number, any_name = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    try:
        known = inspect.signature(function).parameters
        parameters, kinds = list(known), {p.kind for p in known.values()}
    except (TypeError, ValueError):
        parameters, kinds = [], {any_number, any_name}
    for i in numbers:
        if not isinstance(i, int) or i < 0:
            raise ArgumentError(f"jit: static_argnums are positions from 0 on, not {i!r}")
        if i >= len(parameters) and any_number not in kinds:
            raise ArgumentError(f"jit: static_argnums has {i}, and there are {parameters}")
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"jit: static_argnames are names, not {name!r}")
        if name not in parameters and any_name not in kinds:
            raise ArgumentError(f"jit: static_argnames has {name!r}, and there are {parameters}")
    found = {*numbers, *[parameters.index(name) for name in names if name in parameters]}
    return frozenset(found), frozenset(names) | {p for i, p in enumerate(parameters) if i in found}


def lowered(graph: Graph, device: Device, updates: Mapping[int, int]) -> Any:
    """The program that a graph is on a device; one for each graph. `updates` has, for outputs, the
    inputs whose memory they may take."""
    name = "stepwise" if observers else device.name  # who looks on wants to see each operation
    found = graph.programs.get(name)
    if found is None:
        found = graph.programs[name] = _lowering(name).lower(graph, updates)
    return found


@functools.cache
def _lowering(name: str) -> Any:
    """The module that makes programs for a device."""
    try:
        return importlib.import_module(f"lowering.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lowering.{name}":
            raise
        return importlib.import_module("lowering.stepwise")


def lent(array: np.ndarray, dtype: DTypeLike = None) -> Tensor:
    """A NumPy array as an argument of a jitted function, and for nothing else, on the current
    device: not copied where that is safe, so that nobody may change it before the call is over."""
    here = backends.current()
    if config.eager or observers:
        return conversion.borrowed(array, dtype)
    if dtype is not None or array.__class__ is not np.ndarray or not dtypes.is_own(array.dtype):
        array = conversion.to_array(array, None if dtype is None else dtypes.as_dtype(dtype))
    return _plain(here.lend(array), here)


def lent_rows(array: np.ndarray, dtype: DTypeLike = None) -> list[Tensor]:
    """Each row of an array, lent."""
    if config.eager or observers:
        return [lent(row, dtype) for row in array]
    whole = lent(array, dtype)
    return [_plain(row, whole._device) for row in whole._data]


def _plain(data: Array, device: Device) -> Tensor:
    """A Tensor, by the shortest way; its array is as it is, also where it is only lent."""
    made: Tensor = _new(Tensor)
    made._data, made._device, made._record = data, device, None
    return made


class _Signature(NamedTuple):
    """What programs are told apart by, and what is kept of a call: nothing of the user's."""

    key: tuple[Hashable, ...]
    structure: tree.Structure
    names: tuple[str, ...]
    parts: tuple[Hashable, ...]
    variables: tuple[weakref.ref[Variable], ...]


class _Call:
    """The arguments of one call, taken apart: `tensors` are the arrays among them, `parts` what
    each leaf adds to the signature."""

    def __init__(
        self, jitted: Jitted[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> None:
        static, named = jitted.static, jitted.named
        self.tensors: list[Tensor] = []
        self.numbers: list[int | float | None] = []  # what is one among the tensors
        self.weak: list[tuple[type, DType] | None] = []  # its type, and the dtype it has alone
        self.variables: list[weakref.ref[Variable]] = []
        self._jitted = jitted
        self._fixed = {i: x for i, x in enumerate(args) if i in static}
        self._fixed_names = {name: x for name, x in sorted(kwargs.items()) if name in named}
        moving = tuple([None if i in static else x for i, x in enumerate(args)])
        rest = {name: x for name, x in kwargs.items() if name not in named}
        self._leaves, self.structure = tree.flatten((moving, rest))
        self._arrays: list[bool] = []
        self.parts: list[Hashable] = []
        for x in self._leaves:
            before = len(self.tensors)
            self.parts.append(self._part(x))
            self._arrays.append(len(self.tensors) > before)
        devices = {x._device for x in self.tensors}
        if len({d.name for d in devices}) > 1:
            names = " and ".join(sorted(repr(d.name) for d in devices))
            raise DeviceError(
                f"{jitted!r}: its arguments are on devices {names}: bring them together with x.to()"
            )
        self.device = max(devices, key=lambda d: d.level, default=backends.current())
        static_parts = [_hashable(x, jitted, i) for i, x in self._fixed.items()]
        static_parts += [_hashable(x, jitted, name) for name, x in self._fixed_names.items()]
        here = backends.current().name
        settings = (tape.is_paused(), self.device.name, here, bool(observers))
        fixed = (tuple(self._fixed), tuple(self._fixed_names), *static_parts)
        self.key = (self.structure, settings, fixed, *self.parts)

    def _part(self, x: Any) -> Hashable:
        number: int | float | None = None
        weak: tuple[type, DType] | None = None
        if isinstance(x, Variable):
            self.variables.append(weakref.ref(x))
            return Variable, id(x)
        if isinstance(x, Operators):
            found = x.value
        elif isinstance(x, np.generic) and not isinstance(x, np.bool_):
            number, alone = x.item(), conversion.tensor(x).dtype
            weak, found = (type(number), alone), _wide(number)
        elif isinstance(x, (int, float)) and not isinstance(x, bool):
            number, kind = x, int if isinstance(x, int) else float
            weak, found = (kind, dtypes.as_dtype(kind)), _wide(x)
        elif isinstance(x, np.ndarray):
            found = lent(x)
        elif isinstance(x, (random.Key, random.Keys)):
            found = lent(np.asarray(x))
        else:
            return _hashable(x, self._jitted, None)
        self.tensors.append(found)
        self.numbers.append(number)
        self.weak.append(weak)
        return type(found), found.shape, *((found.dtype, None) if weak is None else weak[::-1])

    def arguments(
        self, trace: Trace, function: Callable[..., Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with Tensors of a trace in the place of arrays."""
        names = _names(function, self.structure)
        given = iter(self.tensors)
        inputs = [
            trace.input(next(given), name)
            for name, is_array in zip(names, self._arrays, strict=True)
            if is_array
        ]
        return self.template().filled(inputs)

    def template(self) -> _Template:
        """The arguments without their arrays."""
        leaves = [
            _Static(x) if not is_array else None
            for x, is_array in zip(self._leaves, self._arrays, strict=True)
        ]
        fixed = {i: _Static(x) for i, x in self._fixed.items()}
        named = {name: _Static(x) for name, x in self._fixed_names.items()}
        return _Template(leaves, self.weak, self.structure, fixed, named)

    def signature(self) -> _Signature:
        names = tuple(_names(self._jitted.function, self.structure))
        return _Signature(self.key, self.structure, names, tuple(self.parts), tuple(self.variables))

    def avals(self) -> list[Aval] | None:
        """Shapes and dtypes of the arguments, if they are Tensors by position and nothing else."""
        positional, named = self.structure.children
        plain = positional.flat and not named.children and not self._fixed
        if not plain or any(x.__class__ is not Tensor for x in self._leaves):
            return None
        return [Aval(x.shape, x.dtype) for x in self.tensors]


class _Template(NamedTuple):
    """The arguments of a call without their arrays, and without keeping Variables alive, or what
    else is itself and no value."""

    leaves: list[_Static | None]
    weak: list[tuple[type, DType] | None]
    structure: tree.Structure
    fixed: dict[int, _Static]
    named: dict[str, _Static]

    def filled(self, arrays: Sequence[Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments, with these in the places of the arrays."""
        given = iter([_weakened(x, weak) for x, weak in zip(arrays, self.weak, strict=True)])
        leaves = [next(given) if leaf is None else leaf() for leaf in self.leaves]
        moving, rest = self.structure.unflatten(leaves)
        args = [self.fixed[i]() if i in self.fixed else x for i, x in enumerate(moving)]
        return args, {**rest, **{name: static() for name, static in self.named.items()}}

    def weak_ones(self) -> list[_Static]:
        """Those arguments that the template does not keep alive."""
        statics = (*self.leaves, *self.fixed.values(), *self.named.values())
        return [static for static in statics if static is not None and static.is_weak]


def _wide(number: int | float) -> Tensor:
    """A Python number as an argument, before it is known what dtypes it meets."""
    try:
        return lent(np.array(number, np.int64 if isinstance(number, int) else np.float64))
    except OverflowError:
        raise DtypeError(f"{number} does not fit in int64") from None


def _weakened(x: Tensor, weak: tuple[type, DType] | None) -> Tensor:
    """A Tensor of a trace that stands for a Python number, if it does."""
    if weak is None or not isinstance(x._device, Trace):
        return x
    return wrap(type(x), Traced(x._device, x._data.value, *weak), x._device, x._record)


def _difference(old: _Signature, new: _Signature) -> str:
    """What differs between two signatures, in words."""
    if old.structure != new.structure:
        return "the structure of the arguments"
    for name, before, now in zip(new.names, old.parts, new.parts, strict=True):
        if before != now:
            return f"argument {name!r} ({_described(before)}, then {_described(now)})"
    return "a static argument" if old.key != new.key else "the state that it reads"


def _described(part: Any) -> str:
    kind, *details = part
    if isinstance(kind, type) and issubclass(kind, Tensor):
        return str(Aval(*details[:2])) + (" of a number" if details[2] is not None else "")
    is_itself = issubclass(kind, Variable) or isinstance(details[0], weakref.ref)
    return f"another {kind.__name__}" if is_itself else repr(details[0])


def _names(function: Callable[..., Any], structure: tree.Structure) -> Iterator[str]:
    """A name for each leaf of the arguments: the parameter's."""
    try:
        parameters = [p.name for p in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        parameters = []
    moving, named = structure.children
    positional = [*parameters, *[f"x{i}" for i in range(len(moving.children))]]
    columns = [*zip(positional, moving.children, strict=False)]
    columns += zip(named.data or (), named.children, strict=True)
    for name, part in columns:
        for i in range(part.size):
            yield name if part.size == 1 else f"{name}_{i}"


def _hashable(x: Any, jitted: Jitted[..., Any], where: int | str | None) -> Hashable:
    """A static value as part of a signature."""
    try:
        hash(x)
    except TypeError:
        kind = type(x).__name__
        what = f"an argument is a {kind}, neither an array nor hashable"
        if where is not None:
            what = f"static argument {where!r} is a {kind}, which is not hashable"
        raise TracingError(
            f"{jitted!r}: {what}, so calls with it cannot be told apart: pass a tuple, or a class "
            "registered with edu.tree.register"
        ) from None
    # Equal is not the same: 0.0 equals -0.0, and (1,) equals (1.0,) and (True,).
    exact = [(type(n), repr(n)) for n in tree.leaves(x) if isinstance(n, (Number, np.generic))]
    return type(x), _reference(x) or x, *exact


def _reference(x: Any) -> weakref.ref[Any] | None:
    """A weak reference to what equals nothing but itself, such as a model; None for a value."""
    kind: Any = type(x)
    if kind.__eq__ is not object.__eq__ or kind.__hash__ is not object.__hash__:
        return None
    try:
        return weakref.ref(x)
    except TypeError:
        return None


class _Traced:
    """A trace that has ended: its graph, and what its inputs and outputs stand for.

    The graph's inputs are the arrays of the arguments, then the state it reads; its outputs are
    the Tensors among the results, then the state it writes.
    """

    def __init__(self, trace: Trace, call: _Call, result: Any, key: Any) -> None:
        self.device = trace.base
        self.arguments = len(call.tensors)
        leaves, self.structure = tree.flatten(result)
        outputs: list[Atom] = []
        self.kinds: list[type[Tensor]] = []
        # For each leaf of the result the number of an output, or what it is itself.
        self.leaves: list[int | _Fixed] = []
        self.needs_tape = False
        for x in leaves:
            x = x.value if isinstance(x, VariablePart) else x
            if isinstance(x, Tensor) and x._device is trace:
                self.leaves.append(len(outputs))
                self.kinds.append(type(x))
                outputs.append(x._data.value)
                node = x._record
                followed = isinstance(node, tape.Record) and node.parents is not None
                self.needs_tape = self.needs_tape or followed
            else:
                self.leaves.append(_Fixed(x))
        self.results = len(outputs)
        if trace.key is not None:  # read whenever it was first drawn with; here behind the rest
            value = trace.key._data.value
            trace.inputs.remove(value)
            trace.inputs.append(value)
        places = {value: i for i, value in enumerate(trace.inputs)}
        # Until it has run: what the function made for itself, nobody else may hold on to.
        self.held: Sequence[Any] = [*trace.state]
        self.state: list[weakref.ref[Any]] = []
        self.absent: list[weakref.ref[Any]] = []
        self.writes: list[weakref.ref[Any]] = []
        self.updated: list[weakref.ref[Any]] = []
        self.clears: list[weakref.ref[Any]] = []
        self.updates: dict[int, int] = {}  # of an output: the input that it takes the place of
        for met, first in trace.state.items():
            (self.absent if first is None else self.state).append(weakref.ref(met))
            if met not in trace.written:
                continue
            now = trace.variables[met] if isinstance(met, Variable) else trace.grads[met]
            if now is None:
                self.clears.append(weakref.ref(met))
                continue
            if isinstance(met, Variable):
                assert first is not None
                self.updates[len(outputs)] = places[first]
                self.updated.append(weakref.ref(met))
            self.writes.append(weakref.ref(met))
            outputs.append(now._data.value)
        # A tape may follow them, now or in a later call.
        self.constants = [x for x in trace.lifted.values() if dtypes.is_float(x.dtype)]
        self.draws = trace.key is not None
        self.key = key if isinstance(key, random.Key) else None
        if isinstance(key, Tensor):
            outputs.append(key._data.value)
        self.graph = trace.graph(outputs)
        self._inputs = trace.inputs[: self.arguments]
        self._of_numbers = [
            made for made in trace.of_numbers if dtypes.kind(made.outputs[0].dtype) in "iu"
        ]
        known = self.graph.constants
        self._numbers: dict[Atom, Any] = {
            x: known[x].item()
            for made in self._of_numbers
            for x in made.inputs
            if isinstance(x, Value) and x in known and not known[x].shape
        }
        self._takers = {
            x: f"{made.op}: " for made in reversed(trace.equations) for x in made.values
        }

    def check(self, numbers: Sequence[Any]) -> None:
        """Raise DtypeError where an integer argument, or what Python would compute of such, does
        not fit in the dtypes that it meets."""
        known: dict[Atom, Any] = dict(zip(self._inputs, numbers, strict=True))
        known.update(self._numbers)
        for made in self._of_numbers:
            y, operands = made.outputs[0], [known.get(x, x) for x in made.inputs]
            if any([x is None or isinstance(x, Value) for x in operands]):
                continue
            try:
                found = operands[0] if made.op is ops.astype else PYTHONS[made.op.name](*operands)
            except (ArithmeticError, TypeError):  # it divides by zero, or gave a complex number
                continue
            known[y] = found
            limits = np.iinfo(y.dtype)
            if isinstance(found, int) and not limits.min <= found <= limits.max:
                raise DtypeError(
                    f"{self._described(made)}: {found} does not fit in {y.dtype}; ask for a wider "
                    "dtype, or for floats"
                )

    def _described(self, made: Equation) -> str:
        """A number, and what takes it."""
        if made.op is not ops.astype:
            return f"{made.op} of arguments that are numbers"
        x, y = made.inputs[0], made.outputs[0]
        number = f"argument {x.name!r}" if x in self._inputs else "what arguments give"
        return self._takers.get(y, "") + number


class _Fixed:
    """A leaf of a result that is no Tensor of the trace: what it is, without keeping a Variable
    alive."""

    def __init__(self, x: Any) -> None:
        if isinstance(x, Tensor) and x._device.level:
            raise TracingError("a jitted function returned a Tensor of another trace, or of vmap")
        self._get: Callable[[], Any] = weakref.ref(x) if isinstance(x, Variable) else lambda: x

    def __call__(self) -> Any:
        return self._get()


class _Static(_Fixed):
    """An argument that is no array: what it is, without keeping alive what is itself and no value,
    such as the model whose method is called."""

    def __init__(self, x: Any) -> None:
        super().__init__(x)
        reference = _reference(x)
        self.is_weak = reference is not None
        if reference is not None:
            self._get = reference


class _Program:
    """A lowered trace, ready to be called."""

    def __init__(self, traced: _Traced, call: _Call, function: Callable[..., Any]) -> None:
        self.traced = traced
        self._function = function
        self._template = call.template()
        self._weak = self._template.weak_ones()
        self.signature = call.signature()
        self.lowered = lowered(traced.graph, traced.device, traced.updates)
        self._local = self.lowered.local  # what is `run` in this thread
        self._device = traced.device
        self._constants = traced.constants
        self._avals = call.avals()
        self._stateless = not (
            traced.state or traced.writes or traced.clears or traced.draws or traced.key
        )
        alone = traced.structure.size == 1 and not traced.structure.children
        self._one = alone and traced.leaves == [0] and traced.kinds == [Tensor]
        # Whether Variables are all the state, and nothing depends on `no_grad`.
        state = [*_there(traced.state), *_there(traced.writes)]
        self._simple = all(isinstance(met, Variable) for met in state) and not (
            traced.draws
            or traced.key
            or traced.absent
            or traced.clears
            or traced.needs_tape
            or call.variables
        )
        self.hits = 0
        self._lock = _turns([*_there(traced.state), *_there(traced.absent)])
        self._pull_back: Jitted[..., Any] | None = None

    def call(self, args: Sequence[Any]) -> Any:
        """The results for these arguments, if they are Tensors like those it was made for and
        nothing else is to be thought of; else `_MISSED`. This is what a call costs, so it is
        written for speed."""
        avals, device = self._avals, self._device
        if avals is None or len(args) != len(avals) or being_made or config.eager or observers:
            return _MISSED
        if not avals and backends.current() is not device:
            return _MISSED
        arrays: list[Any] = []
        for x, (shape, dtype) in zip(args, avals):  # noqa: B905  of one length
            if x.__class__ is not Tensor or x._device is not device or x._record is not None:
                return _MISSED
            array = x._data
            if array.shape != shape or array.dtype is not dtype:
                return _MISSED
            arrays.append(array)
        if self._constants and (self.traced.needs_tape or tape.is_explicit()):
            return _MISSED
        try:
            if self._stateless:
                results = self._local.run(*arrays)
            elif self._simple and not tape.is_explicit():
                found = self._with_variables(arrays)
                if found is None:
                    return _MISSED
                results = found
            else:
                return _MISSED
        except Exception as error:
            raise self.lowered.explain(error) from None
        self.hits += 1
        if self._one:
            return _plain(results[0], device)
        return self._wrapped(results)

    def is_alive(self) -> bool:
        """Whether the state that it reads and writes is still there."""
        refs = (*self.traced.state, *self.traced.absent, *self.signature.variables)
        return all(ref() is not None for ref in refs)

    def fits(self) -> bool:
        """Whether it is there, and each `.grad` is there or not there as it was."""
        for ref in self.traced.state:
            met = ref()
            if met is None or (met.__class__ is tape.Leaf and met.held is None):
                return False
        for ref in self.traced.absent:
            met = ref()
            if met is None or met.held is not None:
                return False
        for ref in self.signature.variables:
            if ref() is None:
                return False
        return True

    def is_followed(self) -> bool:
        """Whether a tape wants to know of a call, because of the state that it reads or of a
        constant."""
        if self.traced.needs_tape:
            return not tape.is_paused()
        if not tape.is_explicit():
            return False
        met = [v._tensor for v in _there(self.traced.state) if isinstance(v, Variable)]
        return any([tape.is_followed(x) for x in (*met, *self._constants)])

    def run(self, arrays: list[Array]) -> Any:
        """The results for these arguments."""
        return self._wrapped(self._results(arrays))

    def _results(self, arrays: list[Array]) -> Sequence[Array]:
        try:
            if self._stateless:
                found: Sequence[Array] = self._local.run(*arrays)
                return found
            return self._with_state(arrays)
        except Exception as error:
            raise self.lowered.explain(error) from None

    def _wrapped(self, results: Sequence[Array]) -> Any:
        kinds, device = self.traced.kinds, self._device
        return self._structured(
            [wrap(kind, data, device, None) for kind, data in zip(kinds, results, strict=False)]
        )

    def record(self, given: Sequence[Tensor]) -> Any:
        """The results, put on the tapes as one operation."""
        traced = self.traced
        inputs = [x if x._record is not None else conversion.tensor(x) for x in given]
        with self._lock:
            # Who asks a Variable for its value may keep it: nothing is updated in place.
            met = _there(traced.state)
            inputs += [x.value if isinstance(x, Variable) else x.held for x in met]
            inputs += self._constants
            if traced.draws:
                inputs.append(random.key_data(random.state()))
            results = self._results([x._data for x in inputs[: traced.arguments]])
        data = tuple(results[: traced.results])
        parents = tuple([x._record for x in inputs])
        made = JittedCall(self, [static() for static in self._weak])
        node = tape.record(made, tuple(inputs), parents, {}, data)
        outputs = picked(Tensor, self._device, node, data)
        return self._structured(
            [
                wrap(kind, y._data, y._device, y._record if dtypes.is_float(y.dtype) else None)
                for kind, y in zip(traced.kinds, outputs, strict=True)
            ]
        )

    def _with_state(self, arrays: list[Array]) -> Sequence[Array]:
        """What the program gives for the arguments, after the state was read and written."""
        traced, device = self.traced, self._device
        with self._lock:
            for met in _there(traced.state):
                held = met._tensor if isinstance(met, Variable) else met.held
                arrays.append(held._data)
            owned = [not variable._shared for variable in _there(traced.updated)]
            if traced.draws:
                results: Sequence[Array] = ()

                def advance(key: random.Key) -> random.Key:
                    nonlocal results
                    results = self._local.run(*arrays, device.lend(random.words(key)), *owned)
                    if traced.key is not None:
                        return traced.key
                    return random.Key(*device.to_numpy(results[-1]).tolist())

                random.default_generator().advance(advance)
            else:
                results = self._local.run(*arrays, *owned)
                if traced.key is not None:
                    random.default_generator().seed(traced.key)
            for met, data in zip(_there(traced.writes), results[traced.results :], strict=False):
                if not isinstance(met, Variable):
                    met.held = wrap(Tensor, data, device, None)
                    continue
                if data is not met._tensor._data:
                    met._tensor = wrap(Tensor, data, device, met._leaf)
                met._shared = False
            for leaf in _there(traced.clears):
                leaf.held = None
        return results

    def _with_variables(self, arrays: list[Any]) -> Sequence[Array] | None:
        """The same where Variables are all the state there is; None where one is gone. Written for
        speed."""
        traced = self.traced
        with self._lock:
            for ref in traced.state:
                variable = ref()
                if variable is None:
                    return None
                arrays.append(variable._tensor._data)
            written: list[Any] = [ref() for ref in traced.writes]
            for variable in written:
                arrays.append(not variable._shared)
            results = self._local.run(*arrays)
            i = traced.results
            for variable in written:
                data = results[i]
                if data is not variable._tensor._data:
                    variable._tensor = wrap(Tensor, data, self._device, variable._leaf)
                variable._shared = False
                i += 1
        return results

    def _structured(self, found: Sequence[Tensor]) -> Any:
        leaves = [found[x] if isinstance(x, int) else x() for x in self.traced.leaves]
        return self.traced.structure.unflatten(leaves)

    def pull_back(
        self,
        needed: Sequence[bool],
        inputs: Sequence[Tensor],
        cotangents: Sequence[Tensor],
        held: list[Any],
    ) -> list[Any]:
        """The cotangents of the inputs, from those of the results, by a program of its own: the
        function run once more, on the state as it was, with a tape. `held` are arguments that the
        function needs, for tapes that follow this program to hold on to as well."""
        if self._pull_back is None:
            self._pull_back = jit(self._backward, static_argnums=0)
        first = self.traced.arguments + len(self.traced.state)
        followed = tuple(needed[first : first + len(self._constants)])
        found: list[Any] = self._pull_back(followed, list(inputs), list(cotangents), *held)
        return found

    def _backward(
        self,
        followed: tuple[bool, ...],
        inputs: list[Tensor],
        cotangents: list[Tensor],
        *held: Any,
    ) -> list[Tensor | None]:
        traced, template = self.traced, self._template
        constants = [x for x, wanted in zip(self._constants, followed, strict=True) if wanted]
        given, rest = inputs[: traced.arguments], inputs[traced.arguments :]
        state = _Bound(dict(zip(_there(traced.state), rest, strict=False)), self._device)
        generator = random.Traced(lambda: rest[-1])
        with traces.making(state), generator.default(), tape.GradientTape() as inner:
            sources = [x for x in [*given, *state.held.values()] if dtypes.is_float(x.dtype)]
            sources += constants
            inner.watch([x for x in sources if x._record is None])
            for x in sources:
                tape.follow(x._record, inner)
            args, kwargs = template.filled(given)
            with silent():  # it has printed already
                leaves = tree.leaves(self._function(*args, **kwargs))
            outputs = [x for x, i in zip(leaves, traced.leaves, strict=True) if isinstance(i, int)]
            ends = [i for i, y in enumerate(outputs) if dtypes.is_float(y.dtype)]
            targets, ones = [outputs[i] for i in ends], [cotangents[i] for i in ends]
            found = iter(inner.gradient(targets, sources, ones))
        every = [*given, *state.held.values()]
        sloped = [next(found) if dtypes.is_float(x.dtype) else None for x in every]
        sloped += [next(found) if wanted else None for wanted in followed]
        return [*sloped, *[None] * (len(inputs) - len(sloped))]


class _Bound:
    """State as it was when a function was called: what it reads when it is run again, for its
    gradient. What it assigns is forgotten."""

    level = 0

    def __init__(self, state: dict[Any, Tensor], base: Device) -> None:
        self.base = base
        self._around = traces.current()
        self.held = {
            met: wrap(Tensor, x._data, x._device, x._record or getattr(met, "_leaf", None))
            for met, x in state.items()
        }
        self._now: dict[Any, Tensor | None] = dict(self.held)

    def lift(self, x: Tensor) -> Tensor:
        """Where the function is run again, as a value of the program that this is done in."""
        return x if self._around is None else self._around.lift(x)

    def read_variable(self, variable: Variable) -> Tensor:
        found = self._now.get(variable)
        return variable._tensor if found is None else found

    def write_variable(self, variable: Variable, data: Array) -> None:
        stands = getattr(data, "device", None)
        device = stands if isinstance(stands, Device) and stands.level else variable._tensor._device
        self._now[variable] = wrap(Tensor, data, device, variable._leaf)

    def begin(self, leaf: tape.Leaf) -> None:
        """What the function makes has no `.grad` yet."""

    def read_grad(self, leaf: tape.Leaf) -> Tensor | None:
        return self._now.get(leaf)

    def write_grad(self, leaf: tape.Leaf, gradient: Tensor | None) -> None:
        self._now[leaf] = gradient


class _Locks:
    """Several locks as one, taken in the order in which they were made."""

    def __init__(self, locks: Sequence[Any]) -> None:
        self._locks = locks

    def __enter__(self) -> None:
        for lock in self._locks:
            lock.acquire()

    def __exit__(self, *exception: object) -> None:
        for lock in reversed(self._locks):
            lock.release()


_locks: weakref.WeakKeyDictionary[tape.Leaf, tuple[int, Any]] = weakref.WeakKeyDictionary()
_number_of_lock = itertools.count().__next__
_making = threading.Lock()


def _turns(state: Sequence[Any]) -> Any:
    """A lock for a program with this state: calls of programs that share some take turns."""
    with _making:
        leaves = [met._leaf if isinstance(met, Variable) else met for met in state]
        found = sorted({_locks[leaf] for leaf in leaves if leaf in _locks})
        first = found[0] if found else (_number_of_lock(), threading.RLock())
        for leaf in leaves:
            _locks.setdefault(leaf, first)
    return first[1] if len(found) < 2 else _Locks([lock for _, lock in found])


def _there(refs: Sequence[weakref.ref[Any]]) -> list[Any]:
    """What is referred to, all of which is there: `fits` has seen to that."""
    return [ref() for ref in refs]


class JittedCall(Op):
    """A call of a jitted function, as one operation. `held` are those of its arguments that the
    program does not keep alive."""

    arity = None

    def __init__(self, program: _Program, held: list[Any]) -> None:
        self._program = program
        self._held = held

    def forward(self, xp: Any, *arrays: Array) -> Any:
        raise GradientError(f"{self.name}: a call of a jitted function is recorded, not repeated")

    def infer(self, *avals: Aval) -> tuple[Aval, ...]:
        graph = self._program.traced.graph
        values = [x for x in graph.outputs[: self._program.traced.results] if isinstance(x, Value)]
        return tuple([x.aval for x in values])

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        return self._program.pull_back(needed, inputs, cotangent, self._held)
