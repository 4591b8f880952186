"""Values that are not there yet, of which models are put together: `edu.Input(shape)` is one.

Symbolic values are a device, as a batch and a trace are: an array of it has a shape, a dtype and
the step that makes it, and what an operation leaves on it is another step. So operators and
functions work on them unchanged. A size may be unknown until data comes: `Size`.

Also what layers need of the engine beyond its operations: shapes of results without computing
(`evaluate`), and computing at once where a program is being traced (`at_once`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import backends, random, tape, traces, tree
from .backends import Array, Device
from .dtypes import DType
from .errors import ArgumentError, Error, ShapeError, TracingError
from .op import Aval, Op
from .tensors import Tensor, wrap
from .tracing import Trace, Traced

# Primes that no model has as a size. Three of them tell n + 1 from 2 * n and from n * n.
_SIZES = (131, 137, 139)


class Size(int):
    """A size that is not known before data comes: scale * product of (a * n + b) + shift for some
    n, with (a, b) in `factors`. As a number it is what it would be for one n; it is printed as, and
    equal to, None.

    >>> size = Size(1)
    >>> size, (2 * size + 6) // 2 - size, (size * (size + 1)) % size, (size, 4) == (None, 4)
    (None, 3, 0, True)
    """

    scale: int
    shift: int
    factors: tuple[tuple[int, int], ...]

    def __new__(
        cls, scale: int, shift: int = 0, factors: Sequence[tuple[int, int]] = ((1, 0),)
    ) -> Any:
        if not scale or not factors:
            return scale + shift
        made = super().__new__(cls, _value(scale, shift, factors, _SIZES[0]))
        made.scale, made.shift, made.factors = scale, shift, tuple([(a, b) for a, b in factors])
        return made

    def of(self, n: int) -> int:
        """What it is for this n."""
        return _value(self.scale, self.shift, self.factors, n)

    def solved(self, size: int) -> int | None:
        """The n that this is `size` for."""
        return (size - self.shift) // self.scale if self.factors == ((1, 0),) else None

    @property
    def _product(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The scale and the factors of it as a product."""
        if not self.shift:
            return self.scale, self.factors
        if len(self.factors) > 1:
            raise _unknown("*")
        ((a, b),) = self.factors
        a, b = self.scale * a, self.scale * b + self.shift
        common = math.gcd(a, b)
        return common, ((a // common, b // common),)

    def __add__(self, other: int) -> int:
        if not isinstance(other, Size):
            return Size(self.scale, self.shift + other, self.factors)
        if self.factors == other.factors:
            return Size(self.scale + other.scale, self.shift + other.shift, self.factors)
        raise _unknown("+")

    def __mul__(self, other: int) -> int:
        if not isinstance(other, Size):
            return Size(self.scale * other, self.shift * other, self.factors)
        (scale, factors), (other_scale, others) = self._product, other._product
        return Size(scale * other_scale, 0, (*factors, *others))

    def __floordiv__(self, other: int) -> int:
        if not isinstance(other, Size):
            if self.scale % other or self.shift % other:
                raise _unknown("//")
            return Size(self.scale // other, self.shift // other, self.factors)
        (scale, factors), (other_scale, others) = self._product, other._product
        left = list(factors)
        for each in others:
            if each not in left:
                raise _unknown("//")
            left.remove(each)
        if scale % other_scale:
            raise _unknown("//")
        return Size(scale // other_scale, 0, left)

    def __mod__(self, other: int) -> int:
        if isinstance(other, Size):
            return self - other * (self // other)
        if self.scale % other:
            raise _unknown("%")
        return self.shift % other

    def __neg__(self) -> int:
        return self * -1

    def __sub__(self, other: int) -> int:
        return self + -other

    def __rsub__(self, other: int) -> int:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return other is None or int.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __repr__(self) -> str:
        return "None"

    def __reduce__(self) -> Any:
        return Size, (self.scale, self.shift, self.factors)


def _value(scale: int, shift: int, factors: Sequence[tuple[int, int]], n: int) -> int:
    return scale * math.prod([a * n + b for a, b in factors]) + shift


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
    """A shape with an unknown Size for None."""
    return tuple([Size(1) if size is None else size for size in shape])


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
        self.shape, self.dtype = step.specs[index].shape, step.specs[index].dtype

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
            found = [_inferred(op, arrays, params, _SIZES[0])]
            try:
                found += [_inferred(op, arrays, params, n) for n in _SIZES[1:]]
            except Error:  # it holds for one n only
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


def _inferred(op: Op, arrays: Sequence[Any], params: dict[str, Any], n: int) -> Any:
    """What an operation's rule says for one n."""
    avals = [Aval(_at(a.shape, n), a.dtype) if isinstance(a, Symbol) else a for a in arrays]
    return op.infer(*avals, **{name: _at(value, n) for name, value in params.items()})


def _at(value: Any, n: int) -> Any:
    """A shape, or a parameter, for one n."""
    if isinstance(value, Size):
        return value.of(n)
    if isinstance(value, (tuple, list)):
        return type(value)([_at(each, n) for each in value])
    return value


def _shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that is each of these for its n."""
    return tuple([_fitted(sizes) for sizes in zip(*shapes, strict=True)])


def _fitted(sizes: Sequence[int]) -> int:
    first, n = sizes[0], _SIZES
    if len(set(sizes)) == 1:
        return first
    scale, rest = divmod(sizes[1] - first, n[1] - n[0])
    shift = first - scale * n[0]
    if not rest and all(size == scale * at + shift for size, at in zip(sizes, n, strict=False)):
        return Size(scale, shift)
    return Size(1, first - n[0] ** 2, ((1, 0), (1, 0)))  # good for a reshape, which finds it itself


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


def replay(op: Op, symbols: Any, operands: Any, params: dict[str, Any]) -> Any:
    """What an operation of a step gives for Tensors: `symbols` is what it was applied to, and tells
    unknown sizes among the parameters."""
    if not any([_is_open(value) for value in params.values()]):
        return op.replay(*operands, **params)
    n = 1
    for x, operand in zip(symbols, operands, strict=True):
        for size, actual in zip(
            getattr(x, "shape", ()), getattr(operand, "shape", ()), strict=False
        ):
            n = size.solved(actual) or n if isinstance(size, Size) else n
    return op.replay(*operands, **{name: _closed(value, n, op) for name, value in params.items()})


def _is_open(value: Any) -> bool:
    return isinstance(value, Size) or (
        isinstance(value, (tuple, list)) and any(map(_is_open, value))
    )


def _closed(value: Any, n: int, op: Op) -> Any:
    """A parameter for data where unknown sizes are this n; reshape finds one size by itself."""
    if op is ops.reshape and [isinstance(size, Size) for size in value].count(True) == 1:
        return tuple([-1 if isinstance(size, Size) else size for size in value])
    return _at(value, n)


# Shapes without computing


_evaluating: ContextVar[int] = ContextVar("tinygrad_edu.evaluating", default=0)


def evaluate(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What a function gives, with a Spec for each Tensor, and nothing computed. Specs and symbolic
    Tensors among the arguments stand for Tensors; sizes that are not known may be among theirs.

    Raises what the function raises: TracingError where it asks for values.
    """
    given, structure = tree.flatten((args, dict(kwargs)))
    given = [Spec(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in given]
    is_open = any([_is_open(x.shape) for x in given if isinstance(x, Spec)])
    found = [_traced(function, structure, given, n) for n in _SIZES[: 2 if is_open else 1]]
    leaves = [
        Spec(_shape([x.shape for x in each]), each[0].dtype)
        if isinstance(each[0], Spec)
        else each[0]
        for each in zip(*[tree.leaves(result) for result in found], strict=True)
    ]
    return tree.flatten(found[0])[1].unflatten(leaves)


def is_evaluating() -> bool:
    """Whether what is computed now only tells shapes: sizes may stand for others."""
    return bool(_evaluating.get())


@contextmanager
def trying() -> Iterator[None]:
    """Have what is computed inside a `with` statement, of real values, only tell shapes too: states
    that go on from call to call stay as they are."""
    token = _evaluating.set(-1)  # which is no size
    try:
        yield
    finally:
        _evaluating.reset(token)


def _traced(
    function: Callable[..., Any], structure: tree.Structure, given: Sequence[Any], n: int
) -> Any:
    trace = Trace(backends.current())
    inputs = [
        wrap(Tensor, Traced(trace, trace.fresh(_at(x.shape, n), x.dtype, "x")), trace, None)
        if isinstance(x, Spec)
        else x
        for x in given
    ]
    args, kwargs = structure.unflatten(inputs)
    generator = random.Traced(trace.read_key)
    token = _evaluating.set(n)
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
    open_size = _evaluating.get()  # what stands for sizes that are not known while one evaluates
    inner = [None if size == open_size else size for size in shape[1:-1]]
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


from . import ops  # noqa: E402
