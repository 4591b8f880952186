"""Values that are not there yet, of which models are put together: `edu.Input(shape)` is one.

Symbolic values are a device, as a batch and a trace are: an array of it has a shape, a dtype and
the step that makes it, and what an operation leaves on it is another step. So operators and
functions work on them unchanged. A size may be unknown until data comes: `Size`.

Also what layers need of the engine beyond its operations: shapes of results without computing
(`evaluate`), and computing at once where a program is being traced (`at_once`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from typing import Any

import numpy as np

from . import backends, random, tape, traces, tree
from .backends import Array, Device
from .dtypes import DType
from .errors import ArgumentError, Error, ShapeError, TracingError
from .op import Aval, Op
from .tensors import Tensor, wrap
from .tracing import Trace, Traced

# What unknown sizes are while one finds out what else is not known: that of the batch and others,
# at two trials. No model has these. What depends on one differs from trial to trial; the others can
# be halved five times, so that what a network makes smaller and larger again fits.
_TRIALS = 2
_BATCH, _OTHER = (131, 258), (32 * 17, 32 * 23)

# Sizes that have nothing in common: what is the same for all of these is so for any.
_PRIMES = (131, 137, 139, 149, 151, 157)
_PROBES = (_PRIMES, [2 * n for n in _PRIMES], _PRIMES[1:])

_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


def _refused(name: str) -> Any:
    """A method of Size that would make a number of it."""

    def refuse(self: Size, *others: Any) -> Any:
        raise _unknown(name)

    return refuse


class Size(int):
    """A size that is not known before data comes. It is printed as, and equal to, None; as a number
    it is what it would be at a trial, and `values` has that of each.

    `how` says how to compute it from sizes of values: ("axis", value, axis), or an operator and two
    sizes. It is None for a size of something that is no value yet.

    >>> from tinygrad_edu import Input
    >>> size = Input((None,)).shape[1]
    >>> size, size * 2 - 1, (2 * size) % size, (size, 4) == (None, 4)
    (None, None, 0, True)
    """

    values: tuple[int, ...]
    how: Any

    def __new__(cls, values: Sequence[int], how: Any = None) -> Any:
        made = super().__new__(cls, values[0])
        made.values, made.how = tuple(values), how
        return made

    def __add__(self, other: Any) -> Any:
        return _computed("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return _computed("+", other, self)

    def __sub__(self, other: Any) -> Any:
        return _computed("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _computed("-", other, self)

    def __mul__(self, other: Any) -> Any:
        return _computed("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _computed("*", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _computed("//", self, other)

    def __mod__(self, other: Any) -> Any:
        return _computed("%", self, other)

    def __neg__(self) -> Any:
        return self * -1

    __truediv__ = __rtruediv__ = _refused("/")
    __pow__ = __rpow__ = _refused("**")
    __rfloordiv__, __rmod__ = _refused("//"), _refused("%")
    __float__, __index__ = _refused("float"), _refused("index")

    def __eq__(self, other: object) -> bool:
        return other is None or int.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __repr__(self) -> str:
        return "None"

    def __reduce__(self) -> Any:
        return Size, (self.values,)  # what it is computed from is not copied


def _computed(name: str, one: Any, other: Any) -> Any:
    """What an operator makes of two integers, of which one is a Size; a number if it is the same
    for all sizes."""
    if not all([isinstance(x, (int, np.integer)) for x in (one, other)]):
        raise _unknown(name)
    how = (name, *[x.how if isinstance(x, Size) else int(x) for x in (one, other)])
    found = _probed(how)
    if len(found) == 1 and min(found).denominator == 1:
        return int(min(found))
    rows = [(at(one, trial), at(other, trial)) for trial in range(_TRIALS)]
    values = [_OPERATORS[name](a, b) for a, b in rows]
    if name == "//" and any([a % b for a, b in rows]):
        raise _unknown(name)
    if name == "%" and (len(set(values)) > 1 or not _is_composed(how, other)):
        raise _unknown(name)
    return Size(values, how)


def _probed(how: Any) -> set[Fraction]:
    """What a size is where those that it is computed from have nothing in common. What is divided
    can be, so that it is a fraction here."""
    known = list(dict.fromkeys(sources(how)))
    return {
        computed(
            how,
            lambda *place, probe=probe: Fraction(probe[known.index(("axis", *place)) % len(probe)]),
            {**_OPERATORS, "//": operator.truediv},
        )
        for probe in _PROBES
    }


def _is_composed(how: Any, divisor: Any) -> bool:
    """Whether what is left over at the trials may be believed: of sizes that operations have made,
    or by others. That of an input says nothing."""
    made = [isinstance(value[0].operation, Op) for _, value, _ in sources(how)]
    return isinstance(divisor, Size) or any(made)


def sources(how: Any) -> list[Any]:
    """The values, with their axes, whose sizes a size is computed from."""
    if not isinstance(how, tuple):
        return []
    return [how] if how[0] == "axis" else [*sources(how[1]), *sources(how[2])]


def computed(
    how: Any, size_of: Callable[[Any, int], Any], operators: Mapping[str, Any] = _OPERATORS
) -> Any:
    """A size, when the sizes of values along axes are there."""
    if not isinstance(how, tuple):
        return how
    name, one, other = how
    if name == "axis":
        return size_of(one, other)
    parts = [computed(part, size_of, operators) for part in (one, other)]
    return operators[name](*parts)


def _unknown(what: str) -> ShapeError:
    return ShapeError(
        f"a size that is known only when data comes is used in an arithmetic ({what}) that cannot "
        "wait: do it inside of a layer (edu.layers.Lambda, or one of your own), or fix the size "
        "with Input(shape, batch_size=...)"
    )


def known(shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """A shape with None for sizes that are not known yet."""
    return tuple([None if size is None or isinstance(size, Size) else int(size) for size in shape])


def sized(shape: Sequence[int | None]) -> tuple[int, ...]:
    """A shape with an unknown Size for None; the first is that of the batch."""
    return tuple(
        [Size(_OTHER if i else _BATCH) if size is None else size for i, size in enumerate(shape)]
    )


# Steps


class Spec:
    """A shape and a dtype, where sizes may be unknown."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: DType) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"{self.dtype}{self.shape}"


class Step:
    """An operation, or a layer, on values: `arguments` is (args, kwargs), where a Symbol stands for
    each symbolic Tensor. `specs` are of its outputs, which have a `structure`. A constant is a step
    without an operation, whose arguments are its value."""

    __slots__ = ("arguments", "operation", "specs", "structure")

    def __init__(
        self, operation: Any, arguments: Any, specs: Sequence[Spec], structure: tree.Structure
    ) -> None:
        self.operation = operation
        self.arguments = arguments
        self.specs = specs
        self.structure = structure

    def tensors(self) -> list[Tensor]:
        """Its outputs."""
        symbols = [Symbol(self, i) for i in range(len(self.specs))]
        return [wrap(Tensor, each, device, None) for each in symbols]


class Symbol:
    """An array of the device: output number `index` of a step."""

    __slots__ = ("dtype", "index", "shape", "step")

    def __init__(self, step: Step, index: int) -> None:
        self.step = step
        self.index = index
        spec = step.specs[index]
        self.dtype = spec.dtype
        # Not of the Symbol, for that would be a cycle.
        self.shape = tuple(
            [
                Size(size.values, ("axis", (step, index), axis)) if isinstance(size, Size) else size
                for axis, size in enumerate(spec.shape)
            ]
        )

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size: int = 1
        for each in self.shape:
            size = size * each
        return size


class _Symbolic(Device):
    """The device of symbolic values."""

    array_type = Symbol
    problem = None
    name = "symbolic"

    def __init__(self) -> None:
        self.kernels = _Kernels()
        self.level = backends.next_level()

    @property
    def base(self) -> Device:
        return backends.current()

    def wrap(self, value: Any) -> Symbol:
        return value

    def lift(self, x: Tensor) -> Tensor:
        if x._device is self:
            return x
        if x._device.level:
            raise TracingError(
                "a symbolic value, such as an Input, is used inside jit or vmap: put the model "
                "together outside, and call it there"
            )
        if x._record is not None:
            raise ArgumentError(
                "a Variable, or what a tape follows, meets a symbolic value: its value now would "
                "become a constant of the model. Use it inside of a layer that owns it"
            )
        return wrap(type(x), self._constant(x), self, None)

    def from_numpy(self, array: np.ndarray) -> Symbol:
        base = self.base
        return self._constant(wrap(Tensor, base.from_numpy(array), base, None))

    def _constant(self, x: Tensor) -> Symbol:
        return Symbol(Step(None, x, [Spec(x.shape, x.dtype)], _ONE), 0)

    def to_numpy(self, array: Symbol) -> np.ndarray:
        raise TracingError(
            f"a symbolic Tensor, {array.dtype} of shape {array.shape}, has no values and no truth: "
            "it says what a model will compute. Make a model, edu.Model(inputs, outputs), and call "
            "that on data"
        )

    def describe(self, array: Array) -> str:
        return ", symbolic"


class _Kernels(backends.Kernels):
    """For each operation, what makes a step of it."""

    def __init__(self) -> None:
        """The device is made with this."""

    def __missing__(self, op: Op) -> Callable[..., Any]:
        def kernel(*arrays: Any, **params: Any) -> Any:
            found = [_inferred(op, arrays, params, 0)]
            try:
                found += [_inferred(op, arrays, params, i) for i in range(1, _TRIALS)]
            except Error:  # it holds at one trial only
                raise _unknown(op.name) from None
            several = not isinstance(found[0], Aval)
            outputs = zip(*found, strict=True) if several else [found]
            specs = [Spec(_shape([a.shape for a in each]), each[0].dtype) for each in outputs]
            step = Step(op, (arrays, params), specs, _structure(len(specs)) if several else _ONE)
            symbols = tuple([Symbol(step, i) for i in range(len(specs))])
            return symbols if several else symbols[0]

        self[op] = kernel
        return kernel


def _structure(outputs: int) -> tree.Structure:
    return tree.flatten((0,) * outputs)[1]


_ONE = tree.flatten(0)[1]
device = _Symbolic()


def _inferred(op: Op, arrays: Sequence[Any], params: dict[str, Any], trial: int) -> Any:
    """What an operation's rule says at a trial."""
    avals = [Aval(at(a.shape, trial), a.dtype) if isinstance(a, Symbol) else a for a in arrays]
    return op.infer(*avals, **{name: at(value, trial) for name, value in params.items()})


def at(value: Any, trial: int) -> Any:
    """A shape, or a parameter, at a trial."""
    return with_sizes(value, lambda size: size.values[trial])


def with_sizes(value: Any, function: Callable[[Size], Any]) -> Any:
    """A shape, or a parameter, with what a function makes of each Size in it."""
    if isinstance(value, Size):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)([with_sizes(each, function) for each in value])
    if isinstance(value, slice):
        return slice(*[with_sizes(x, function) for x in (value.start, value.stop, value.step)])
    return value


def _shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that is each of these at its trial."""
    return tuple(
        [sizes[0] if len(set(sizes)) == 1 else Size(sizes) for sizes in zip(*shapes, strict=True)]
    )


def is_symbolic(x: Any) -> bool:
    """Whether a value is a symbolic Tensor."""
    return isinstance(x, Tensor) and x._device is device


def symbol(x: Tensor) -> Symbol:
    """What is behind a symbolic Tensor."""
    found: Symbol = x._data
    return found


def called(operation: Any, args: Any, kwargs: Any, result: Any) -> Any:
    """The symbolic Tensors that a layer gives: `result` has a Spec for each of its leaves."""
    arguments = tree.map(lambda x: symbol(x) if is_symbolic(x) else x, (args, kwargs))
    specs, structure = tree.flatten(result)
    return structure.unflatten(Step(operation, arguments, specs, structure).tensors())


# Shapes without computing


# The sizes that stand for others while one evaluates; None while nobody does.
_evaluating: ContextVar[frozenset[int] | None] = ContextVar("tinygrad_edu.evaluating", default=None)


def evaluate(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What a function gives, with a Spec for each Tensor, and nothing computed. Specs and symbolic
    Tensors among the arguments stand for Tensors; sizes that are not known may be among theirs.

    Raises what the function raises: TracingError where it asks for values.
    """
    given, structure = tree.flatten((args, dict(kwargs)))
    given = [Spec(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in given]
    is_open = any([isinstance(n, Size) for x in given if isinstance(x, Spec) for n in x.shape])
    try:
        found = [_traced(function, structure, given, i) for i in range(_TRIALS if is_open else 1)]
    except ShapeError as error:
        if not is_evaluating():
            error.args = (_explained(str(error), given),)
        raise
    leaves = [
        Spec(_shape([x.shape for x in each]), each[0].dtype)
        if isinstance(each[0], Spec)
        else each[0]
        for each in zip(*[tree.leaves(result) for result in found], strict=True)
    ]
    return tree.flatten(found[0])[1].unflatten(leaves)


def _explained(message: str, given: Sequence[Any]) -> str:
    """A message that says which of its numbers come of sizes that stand for others."""
    numbers = [int(digits) for digits in re.findall(r"\d+", message)]
    sizes = [n for x in given if isinstance(x, Spec) for n in x.shape if isinstance(n, Size)]
    stand_ins = sorted({value for size in sizes for value in size.values})
    seen = [str(n) for n in stand_ins if any(x and x % n == 0 for x in numbers)]
    what = " and ".join(seen) + f" stand{'s' * (len(seen) == 1)} for sizes that are not known yet"
    return f"{message} ({what})" if seen else message


def is_evaluating() -> bool:
    """Whether what is computed now only tells shapes: sizes may stand for others."""
    return _evaluating.get() is not None


@contextmanager
def trying() -> Iterator[None]:
    """Have what is computed inside a `with` statement, of real values, only tell shapes too: states
    that go on from call to call stay as they are."""
    token = _evaluating.set(frozenset())
    try:
        yield
    finally:
        _evaluating.reset(token)


def _traced(
    function: Callable[..., Any], structure: tree.Structure, given: Sequence[Any], trial: int
) -> Any:
    trace = Trace(backends.current())
    inputs = [
        wrap(Tensor, Traced(trace, trace.fresh(at(x.shape, trial), x.dtype, "x")), trace, None)
        if isinstance(x, Spec)
        else at(x, trial)
        for x in given
    ]
    args, kwargs = structure.unflatten(inputs)
    generator = random.Traced(trace.read_key)
    shapes = [x.shape for x in given if isinstance(x, Spec)]
    open_sizes = [n.values[trial] for shape in shapes for n in shape if isinstance(n, Size)]
    token = _evaluating.set(frozenset(open_sizes))
    try:
        with traces.making(trace), tape.apart(), generator.default():
            result = function(*args, **kwargs)
            return tree.map(
                lambda x: Spec(x.shape, x.dtype) if isinstance(x, Tensor) else x, result
            )
    finally:
        _evaluating.reset(token)
        trace.ended = True


def shape_for_build(x: Tensor) -> tuple[int | None, ...]:
    """The shape that a layer is built for, which holds for any number of examples: None for that,
    and for what else is not known."""
    shape = known(x.shape)
    if not shape or is_symbolic(x):
        return shape
    stand_ins = _evaluating.get() or ()  # for sizes that are not known
    inner = [None if size in stand_ins else size for size in shape[1:-1]]
    return (None, *inner, *shape[1:][-1:])


@contextmanager
def at_once() -> Iterator[None]:
    """Compute at once inside a `with` statement, also where a program is being traced, and record
    nothing: for the first values of state."""
    with traces.making(None), tape.no_grad(), random.at_once():
        yield


def is_over(x: Tensor) -> bool:
    """Whether a Tensor is left over from a program that was traced, and stands for nothing."""
    return bool(getattr(x._device, "ended", False))
