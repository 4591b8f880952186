"""Looking at a program while it runs: printing values, finding the first that is not finite, and
measuring operations.

Who looks on is an observer. As long as there is one, each device's table of kernels is another one,
whose kernels tell the observers what they did, and jitted functions run operation by operation.
Nothing is asked anywhere else, so nothing costs anything while nobody looks on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from . import backends, conversion, dtypes, ops, traces
from .backends import Array, Device, Kernels
from .dispatch import apply
from .dtypes import DType
from .errors import ArgumentError, NonFiniteError
from .graph import Equation, Place
from .op import Aval, Op
from .tensors import Operators, Tensor
from .tracing import Trace, place

# Printing


def debug_print(format: str, /, *values: Any, **named: Any) -> None:
    """Print `format`, a text with `{}`, `{0}` or `{name}` for the values, when the program runs:
    at once, and in a jitted function at each call. Under vmap it prints for each example.

    Tensors are printed as NumPy arrays, those without axes as numbers; other values as they are.
    The order of several prints is kept. Gradients do not see it.

    Raises ArgumentError where the text asks for a value that is not there, or in a form that it
    does not have.

    >>> import tinygrad_edu as edu
    >>> @edu.jit
    ... def f(x):
    ...     edu.debug_print("x is {}, its mean {mean:.2f}", x, mean=x.mean())
    ...     return x * 2.0
    >>> y = f(edu.tensor([1.0, 2.5]))
    x is [1.  2.5], its mean 1.75
    """
    if _silent.get():
        return
    fields = [*values, *named.values()]
    is_array = [isinstance(x, (Operators, np.ndarray)) for x in fields]
    arrays = [conversion.as_tensor(x) for x, yes in zip(fields, is_array, strict=True) if yes]
    rest = tuple([None if yes else x for x, yes in zip(fields, is_array, strict=True)])
    params: dict[str, Any] = {"format": format, "names": tuple(named), "rest": rest}
    params["where"] = tuple(is_array)
    trace = traces.current()
    if isinstance(trace, Trace):
        # Of the program, also where nothing that it prints is.
        arrays = [trace.lift(x) if x._device.level < trace.level else x for x in arrays]
        arrays = arrays or [trace.lift(conversion.tensor(0))]
    if any([x._device.level for x in arrays]):
        _print.fill([np.zeros(x.shape, x.dtype) for x in arrays], **params)  # an error comes here
        apply(_print, *arrays, **params)
    else:
        print(_print.fill([x.numpy() for x in arrays], **params))


@contextmanager
def silent() -> Iterator[None]:
    """Have `debug_print` print nothing, where a function is run once more for its gradient."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


_silent: ContextVar[bool] = ContextVar("tinygrad_edu.silent", default=False)


class DebugPrint(Op):
    """Prints a text with the arrays in it. Its result, True, is for nobody."""

    arity = None
    effect = True
    no_gradient = "it computes nothing"

    def forward(self, xp: Any, *arrays: Array, **params: Any) -> Array:
        device = backends.of_module(xp)
        print(self.fill([device.to_numpy(a) for a in arrays], **params))
        return xp.asarray(True)

    def fill(
        self,
        arrays: Sequence[np.ndarray],
        *,
        format: str,
        names: Sequence[str],
        rest: Sequence[Any],
        where: Sequence[bool],
    ) -> str:
        """The text: `where` says which of the values are arrays, `rest` has the others."""
        left = iter(arrays)
        fields = [
            _number(next(left)) if is_array else x for is_array, x in zip(where, rest, strict=True)
        ]
        count = len(fields) - len(names)
        try:
            return format.format(*fields[:count], **dict(zip(names, fields[count:], strict=True)))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise ArgumentError(
                f"debug_print: {format!r} does not fit its values, {count} by position and "
                f"{list(names)} by name: {error}"
            ) from None

    def infer(self, *avals: Aval, **params: Any) -> Aval:
        return Aval((), dtypes.bool_)

    def operand_dtypes(
        self, given: Sequence[DType | type], kind: type[Tensor]
    ) -> Sequence[DType | None]:
        return [dtypes.as_dtype(each) for each in given]

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        return super().batch(size, inputs, mapped, params) if size else ops.ones(0, dtype="bool")


_print = DebugPrint()


def _number(array: np.ndarray) -> Any:
    """An array as it is printed: without axes as NumPy's scalar, which takes formats."""
    return array if array.ndim else array[()]


# Looking on


class Step(NamedTuple):
    """One operation that was computed: its operands and results as a device's arrays, the user's
    line, and the seconds it took, without those of operations inside of it."""

    op: Op
    device: Device
    inputs: Sequence[Any]
    outputs: Sequence[Array]
    place: Place
    seconds: float


Observer = Callable[[Step], None]

observers: list[Observer] = []
"""Who looks on, in all threads."""

_plain: dict[Device, Kernels] = {}
_observed: dict[Device, Kernels] = {}
_changing = threading.Lock()


def observe(observer: Observer) -> None:
    """Tell somebody of every operation, in all threads, from now on."""
    with _changing:
        observers.append(observer)
        for device in backends.devices():
            if device not in _observed:
                _plain[device], _observed[device] = device.kernels, _Observed(device)
            device.kernels = _observed[device]


def leave(observer: Observer) -> None:
    """Tell it no more."""
    with _changing:
        observers.remove(observer)
        if not observers:
            for device, kernels in _plain.items():
                device.kernels = kernels


class _Observed(Kernels):
    """A device's kernels, each of which tells the observers what it did."""

    observed = True

    def __missing__(self, op: Op) -> Callable[..., Any]:
        kernel = self[op] = _telling(op, self.device, place)
        return kernel

    def of(self, made: Equation) -> Callable[..., Any]:
        return _telling(made.op, self.device, lambda: made.place)


def _telling(op: Op, device: Device, where: Callable[[], Place]) -> Callable[..., Any]:
    def kernel(*arrays: Any, **params: Any) -> Any:
        around, _inside.seconds = _inside.seconds, 0.0
        start = time.perf_counter()
        try:
            found = _plain[device][op](*arrays, **params)
            outputs = [device.wrap(y) for y in (found if isinstance(found, tuple) else (found,))]
            for y in outputs:
                device.finish(y)
            seconds = time.perf_counter() - start - _inside.seconds
            step = Step(op, device, arrays, outputs, where(), seconds)
            for observer in tuple(observers):
                observer(step)
        finally:
            _inside.seconds = around + time.perf_counter() - start
        return found

    return kernel


class _Inside(threading.local):
    """The seconds of the operations inside of the one that is running, in this thread."""

    seconds = 0.0


_inside = _Inside()


# Values that are not finite


def check_finite(on: bool) -> None:
    """What setting `config.check_finite` does."""
    if on and not is_checking():
        observe(_check)
    elif not on and is_checking():
        leave(_check)


def is_checking() -> bool:
    """What `config.check_finite` is."""
    return _check in observers


def _check(step: Step) -> None:
    """Raise NonFiniteError if a step made something that is not finite of what is."""
    device, place = step.device, step.place
    wrong = [y for y in step.outputs if not _is_finite(device, y)]
    if not wrong or not all([_is_finite(device, x) for x in step.inputs]):
        return
    array = device.to_numpy(wrong[0])
    bad = array[~np.isfinite(array)]
    given = ", ".join([_described(x) for x in step.inputs])
    line = str(place._replace(backward=False)) or "a line that is not known"
    raise NonFiniteError(
        f"{step.op}: {bad.size} of the {array.size} elements of its result, {_described(array)}, "
        f"{'are' if bad.size > 1 else 'is'} NaN or infinite (the first is {bad[0]}), and its "
        f"operands are finite: {given}. In the {'backward' if place.backward else 'forward'} pass "
        f"of {line}"
    )


def _is_finite(device: Device, x: Any) -> bool:
    if isinstance(x, (bool, int, float)):
        return math.isfinite(x)
    if not hasattr(x, "dtype") or not dtypes.is_float(np.dtype(x.dtype)):
        return True
    return bool(np.isfinite(device.to_numpy(x)).all())


def _described(x: Any) -> str:
    return str(Aval(tuple(x.shape), x.dtype)) if hasattr(x, "shape") else repr(x)


# Time and memory


class Measured(NamedTuple):
    """What an operation, or a line, took in all."""

    name: str
    calls: int
    seconds: float
    nbytes: int


class Profile:
    """What was measured while a `profile()` was open: printed, two tables."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, Place], list[Any]] = {}
        self._begun: float | None = time.perf_counter()
        self._seconds = 0.0

    def __call__(self, step: Step) -> None:
        nbytes = sum([y.nbytes for y in step.outputs if not _is_view(y, step.inputs)])
        with self._lock:
            held = self._found.setdefault((step.op.name, step.place), [0, 0.0, 0])
            held[0] += 1
            held[1] += step.seconds
            held[2] += nbytes

    def close(self) -> None:
        """Measure no more."""
        self._seconds, self._begun = self.seconds, None

    @property
    def seconds(self) -> float:
        """From its beginning to its end, or to now."""
        return self._seconds if self._begun is None else time.perf_counter() - self._begun

    @property
    def operations(self) -> list[Measured]:
        """Each operation, forward and backward apart; what took longest comes first."""
        return self._added(lambda name, line: name + " (backward)" * line.backward)

    @property
    def lines(self) -> list[Measured]:
        """Each line of the user's, forward and backward apart; what took longest comes first."""
        return self._added(lambda name, line: str(line))

    def _added(self, key: Callable[[str, Place], str]) -> list[Measured]:
        rows: dict[str, list[Any]] = {}
        with self._lock:
            found = {each: tuple(held) for each, held in self._found.items()}
        for (name, line), held in found.items():
            row = rows.setdefault(key(name, line), [0, 0.0, 0])
            for i, amount in enumerate(held):
                row[i] += amount
        measured = [Measured(name, *row) for name, row in rows.items()]
        return sorted(measured, key=lambda each: each.seconds, reverse=True)

    def __str__(self) -> str:
        operations, lines = self.operations, self.lines
        total = sum([each.seconds for each in operations])
        title = f"{_time(total)} in operations, of {_time(self.seconds)} in all"
        tables = [*_table("operation", operations, total), "", *_table("line", lines, total)]
        return "\n".join([title, "", *tables])


@contextmanager
def profile() -> Iterator[Profile]:
    """Measure every operation, of all threads, inside a `with` statement: its time, its calls and
    the bytes of its results that are no views, by operation and by the user's line. Those of a
    backward pass count for the line whose gradient they compute.

    Jitted functions run operation by operation meanwhile, not fused: this shows where the work is,
    not how long a compiled program takes.

    >>> import tinygrad_edu as edu
    >>> x = edu.ones((10, 10))
    >>> with edu.profile() as measured:
    ...     y = x @ x + 1.0
    >>> sorted((each.name, each.calls, each.nbytes) for each in measured.operations)
    [('add', 1, 400), ('matmul', 1, 400)]
    """
    made = Profile()
    observe(made)
    try:
        yield made
    finally:
        leave(made)
        made.close()


def _is_view(y: Array, inputs: Sequence[Any]) -> bool:
    """Whether a result lies in the memory of an operand."""
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]
    return isinstance(y, np.ndarray) and any([np.may_share_memory(y, x) for x in arrays])


_WIDEST = 70


def _table(title: str, rows: Sequence[Measured], total: float) -> Iterator[str]:
    names = [each.name if len(each.name) <= _WIDEST else each.name[: _WIDEST - 3] + "..."
             for each in rows]  # fmt: skip
    width = max([len(title), *map(len, names)])
    yield f"{title:{width}}  {'calls':>9}  {'time':>11}  {'share':>6}  {'bytes':>15}"
    for name, each in zip(names, rows, strict=True):
        share = each.seconds / total if total else 0.0
        yield (
            f"{name:{width}}  {each.calls:>9,}  {_time(each.seconds):>11}  {share:>6.1%}  "
            f"{each.nbytes:>15,}"
        )


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.3f} ms"
