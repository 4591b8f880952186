"""Tracing: running a function on arrays that have a shape and a dtype and no values, to see what it
computes.

A trace is a device, as a batch of `vmap` is one. Its arrays stand for values of a graph, its kernel
for an operation is the operation's rule for shapes and a new equation. So everything above arrays
works unchanged: tapes walk back and leave the equations of the gradient, optimizers those of the
update.

What a program has besides arguments and results is state: Variables, the `.grad` of what requires
gradients, the default random generator. A trace reads it as an input and writes it as an output.

The body of a loop and a branch are programs inside of a program: a nested trace makes a Graph of
them, and what they use from outside becomes an input.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from . import backends, conversion, dtypes, lines, tape, traces, walk
from .arguments import Shape
from .backends import Array, Device
from .dtypes import DType
from .errors import DeviceError, DtypeError, TracingError
from .graph import Atom, Equation, Graph, Place, Value
from .op import Aval, Op
from .tensors import Operators, Tensor, wrap
from .variable import Variable


class Traced:
    """An array of a trace: a value of its graph. `weak` is the type of the Python number that it
    stands for, which gives way to other dtypes as that would: `dtype` is what it is alone, and
    `wide` what it is computed in, so that it reaches a wider array unrounded."""

    __slots__ = ("casts", "device", "dtype", "exact", "shape", "weak", "wide")

    def __init__(
        self, device: Trace, exact: Value, weak: type | None = None, dtype: DType | None = None
    ) -> None:
        self.device = device
        self.exact: Value | None = exact  # None where a trace inside takes it from around, if used
        self.shape, self.wide = exact.aval
        self.weak = weak
        self.dtype = self.wide if dtype is None else dtype
        self.casts: dict[DType, Traced] = {}

    @property
    def value(self) -> Value:
        """What stands for it where no other dtype is wanted."""
        found = self if self.weak is None else self.device.cast(self, self.dtype)
        assert found.exact is not None
        return found.exact

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.value.size


class Trace(Device):
    """The device that one trace runs on, for a program on the device `base`.

    `variables` and `grads` hold, for the state that was met, the Tensor it has at this point;
    `state` has the input that each began as (None for a `.grad` that was None), in the order in
    which they were met, `written` what was assigned.
    """

    array_type = Traced
    problem = None

    def __init__(self, base: Device) -> None:
        self.kernels = _kernels  # shared by all: a trace with its own would hold itself alive
        self._base = base
        self.name = base.name
        self.level = backends.next_level()
        self.inputs: list[Value] = []
        self.constants: dict[Value, Tensor] = {}
        self.lifted: dict[int, Tensor] = {}  # Tensors from outside, by what tells them apart
        self.equations: list[Equation] = []
        self.of_numbers: list[Equation] = []  # those of them that Python would compute
        self.variables: dict[Variable, Tensor] = {}
        self.grads: dict[tape.Leaf, Tensor | None] = {}
        self.key: Tensor | None = None
        self.state: dict[Variable | tape.Leaf, Value | None] = {}
        self.written: set[Variable | tape.Leaf] = set()
        self.ended = False
        self._began = tape.moment()
        # Variables that were written and not read since: what they held before.
        self._assigned: dict[Variable, Tensor] = {}
        self._known: dict[int, tuple[Tensor, Traced]] = {}
        self._names: dict[str, int] = {}

    @property
    def base(self) -> Device:
        return self._base

    def fresh(self, shape: Shape, dtype: DType, name: str = "") -> Value:
        """A new value. What is computed is t1, t2, ...; what has a name keeps it."""
        base = name or "t"
        number = self._names[base] = self._names.get(base, 0) + 1
        return Value(shape, dtype, base if name and number == 1 else f"{base}{number}")

    def input(self, like: Tensor, name: str, record: tape.Node | None = None) -> Tensor:
        """An input of the program, of the shape and the dtype of a Tensor."""
        value = self.fresh(like.shape, like.dtype, name)
        self.inputs.append(value)
        return wrap(type(like), Traced(self, value), self, record)

    def cast(self, number: Traced, dtype: DType) -> Traced:
        """What stands for a Python number, as an array of a dtype."""
        if dtype not in number.casts:
            assert number.exact is not None
            found = Traced(self, number.exact)
            if number.wide != dtype:
                with traces.making(self):  # who asks may be a trace inside of this one
                    found = self.kernels[ops.astype](found, dtype=dtype)
                self.of_numbers.append(self.equations[-1])
            number.casts[dtype] = found
        return number.casts[dtype]

    def number(self, x: float) -> Tensor:
        """What stands for a Python number that is known."""
        exact = self.from_numpy(np.array(x, dtypes.float64)).value
        return wrap(Tensor, Traced(self, exact, float, dtypes.float32), self, None)

    # State

    def let_go(self) -> None:
        """Hold on to no state any longer: what the function made for itself is then gone, at once
        and not when the collector comes, and the next call is traced anew."""
        for held in (self.variables, self.grads, self.state, self.written, self._assigned):
            held.clear()

    def read_variable(self, variable: Variable) -> Tensor:
        """What a Variable holds at this point of the program."""
        if variable not in self.variables:
            held = self.outside(variable)
            assert held is not None
            self._settle(held._device)
            made = self.enter(held, variable.name or "v", variable._leaf)
            self.variables[variable], self.state[variable] = made, self.inputs[-1]
        if variable in self._assigned:
            found, before = self.variables[variable], self._assigned.pop(variable)
            if dtypes.is_float(found.dtype):
                with traces.making(self):  # who reads may be a trace inside of this one
                    data = self.kernels[assigned](found._data, before._data)
                self.variables[variable] = wrap(Tensor, data, self, variable._leaf)
        return self.variables[variable]

    def _settle(self, device: Device) -> None:
        """Be for the device of a Variable, if nothing is known of where else."""
        if device.level or device is self.base:
            return
        if self.inputs or self.constants:
            raise DeviceError(
                f"at {place()}: a Variable on device {device.name!r} is used in a jitted function "
                f"on device {self.name!r}: bring them together with x.to()"
            )
        self._base, self.name = device, device.name

    def write_variable(self, variable: Variable, data: Traced) -> None:
        """Assign to a Variable, at this point of the program."""
        if variable not in self._assigned:
            self._assigned[variable] = self.read_variable(variable)
        self.written.add(variable)
        self.variables[variable] = wrap(Tensor, data, self, variable._leaf)

    def begin(self, leaf: tape.Leaf) -> None:
        """Know of what the program itself makes that requires gradients: its `.grad` is no state,
        for it has none where the program begins."""
        self.grads[leaf] = None

    def read_grad(self, leaf: tape.Leaf) -> Tensor | None:
        """The `.grad` of what requires gradients, at this point of the program."""
        if leaf not in self.grads:
            held = self.outside(leaf)
            self.grads[leaf] = None if held is None else self.enter(held, "grad")
            self.state[leaf] = None if held is None else self.inputs[-1]
        return self.grads[leaf]

    def write_grad(self, leaf: tape.Leaf, gradient: Tensor | None) -> None:
        """Assign to a `.grad`, at this point of the program."""
        self.read_grad(leaf)
        self.written.add(leaf)
        self.grads[leaf] = None if gradient is None else self.lift(gradient)

    def read_key(self) -> Tensor:
        """What the default random generator holds when the program begins."""
        words = wrap(Tensor, np.zeros(2, np.uint32), backends.numpy, None)
        self.key = self.enter(words, "key")
        return self.key

    def outside(self, state: Variable | tape.Leaf) -> Tensor | None:
        """What a Variable or a `.grad` holds where the trace begins."""
        return state._tensor if isinstance(state, Variable) else state.held

    def enter(self, held: Tensor, name: str, record: tape.Node | None = None) -> Tensor:
        """An input for state that holds this Tensor where the trace begins."""
        return self.input(held, name, record=record)

    # What makes it a device

    def constant(self, x: Tensor) -> Traced:
        """A Tensor from outside as a value that is known."""
        found = self._known.get(id(x._data))
        if found is None:
            value = self.fresh(x.shape, x.dtype, "c")
            self.constants[value] = x
            found = self._known[id(x._data)] = (x, Traced(self, value))
        return found[1]

    def lift(self, x: Tensor) -> Tensor:
        """A Tensor from outside: a constant. Raises TracingError where it was computed and a tape
        that was open before follows it, for which it has to be an argument."""
        if x._device is self:
            return x
        if x._device.level:
            raise TracingError(
                f"at {place()}: a Tensor of another trace, or of vmap, is used in a jitted "
                "function that did not get it as an argument"
            )
        if isinstance(x._record, tape.Record) and min(x._record.tapes) < self._began:
            raise TracingError(
                f"at {place()}: a Tensor of shape {x.shape} that a tape follows is used in a "
                "jitted function, where what comes from outside is a constant, so its gradient "
                "would be lost: make it an argument, or a Variable"
            )
        self.lifted[id(x)] = x
        return wrap(type(x), self.constant(x), self, x._record)

    def brought(self, operand: Any) -> Any:
        """An operand of an operation, on this device if it is a Tensor."""
        if not isinstance(operand, (Operators, list, tuple)):
            return operand
        found = conversion.unwrap(operand)
        return self.lift(found) if isinstance(found, Tensor) else operand

    def wrap(self, value: Any) -> Traced:
        return value

    def from_numpy(self, array: np.ndarray) -> Traced:
        base = self.base
        return self.constant(wrap(Tensor, base.from_numpy(array), base, None))

    def to_numpy(self, array: Array) -> np.ndarray:
        if self.ended:
            raise TracingError(_ended(array))
        if array.value in self.constants:  # which is known
            return self.constants[array.value].numpy()
        raise TracingError(
            f"at {place()}: the value of a Tensor, {array.value.aval}, is not known while a jitted "
            "function is traced, so it has no NumPy array, number or truth there. For if and while "
            "use edu.cond, edu.where and edu.while_loop; for loops edu.scan and edu.fori_loop; for "
            "what stays the same make the argument static (static_argnums); to look at a value, "
            "edu.debug_print"
        )

    def describe(self, array: Array) -> str:
        return ", traced"

    def graph(self, outputs: Sequence[Atom], inputs: Sequence[Value] | None = None) -> Graph:
        """What was traced, up to these outputs; its inputs in this order. Nothing can be traced any
        more."""
        self.ended = True
        used = {x for made in self.equations for x in made.values}.union(
            [x for x in outputs if isinstance(x, Value)]
        )
        constants = {value: x for value, x in self.constants.items() if value in used}
        inputs = self.inputs if inputs is None else inputs
        return Graph(tuple(inputs), tuple(self.equations), tuple(outputs), constants)


State: TypeAlias = Any
"""What a program reads and writes besides its arguments and results: a Variable, a Leaf (for its
`.grad`), or the random generator."""


class Nested(Trace):
    """The trace of a function inside of a program: the body of a loop, or a branch.

    What the function uses from outside, values of the trace around it as well as state, is an
    input; `captured` has, for each, what it is there. Tensors that nobody follows and that are of
    no trace are constants, as in every trace.
    """

    def __init__(self, device: Device) -> None:
        self.around = traces.current()
        super().__init__(device.base if self.around is None else self.around.base)
        self.captured: dict[Value, Tensor] = {}
        # Whether a gradient may be asked for with respect to what is carried, or a row.
        self.followed: bool = isinstance(self.around, Nested) and self.around.followed
        self._inside: dict[tuple[int, tape.Node | None], Tensor] = {}
        self._numbers: dict[Traced, Tensor] = {}
        self._outer = random.default_generator()
        self._left: random.Key | Tensor | None = None

    def run(self, function: Callable[[], Any]) -> Any:
        """What a function returns, traced."""
        generator = random.Traced(self.read_key)
        with traces.making(self), tape.apart(), generator.default():
            result = function()
        self._left = generator.left
        return result

    def row(self, xs: Tensor, name: str, weak: type | None = None) -> Tensor:
        """An input that stands for one of the `xs` along their first axis."""
        value = self.fresh(xs.shape[1:], xs.dtype, name)
        self.inputs.append(value)
        return wrap(type(xs), Traced(self, value, weak), self, None)

    def value(self, x: Tensor, dtype: DType | None = None) -> Value:
        """A Tensor as a value of this trace, in this dtype."""
        found = self.lift(x)
        if dtype is not None and found.dtype != dtype:
            with tape.apart():
                found = ops.astype(found, dtype)
        held: Traced = found._data
        return held.value

    def lift(self, x: Tensor) -> Tensor:
        if x._device is self:
            return x
        if not x._device.level and x._record is None:
            return super().lift(x)
        key = (id(x._data), x._record)
        if key not in self._inside:
            data = innermost(x)
            if isinstance(data, Traced) and data.weak is not None:
                self._inside[key] = self._number(x, data)
            else:
                name = data.value.name if isinstance(data, Traced) else "c"
                self._inside[key] = self.input(x, name, record=x._record)
                self.captured[self.inputs[-1]] = x
        return self._inside[key]

    def _number(self, x: Tensor, around: Traced) -> Tensor:
        """What stands for a Python number around; its casts are made there, once for all turns."""
        made = Traced(self, Value((), around.wide), around.weak, around.dtype)
        made.exact = None
        self._numbers[made] = wrap(Tensor, around, around.device, x._record)
        return wrap(type(x), made, self, x._record)

    def cast(self, number: Traced, dtype: DType) -> Traced:
        if number not in self._numbers:
            return super().cast(number, dtype)
        if dtype not in number.casts:
            x = self._numbers[number]
            around: Traced = x._data
            data = around.device.cast(around, dtype)
            number.casts[dtype] = self.lift(wrap(Tensor, data, around.device, x._record))._data
        return number.casts[dtype]

    def outside(self, state: Variable | tape.Leaf) -> Tensor | None:
        if self.around is None:
            return super().outside(state)
        if isinstance(state, Variable):
            return self.around.read_variable(state)
        return self.around.read_grad(state)

    def enter(self, held: Tensor, name: str, record: tape.Node | None = None) -> Tensor:
        made = super().enter(held, name, record)
        self.captured[self.inputs[-1]] = held
        return made

    def read_key(self) -> Tensor:
        self.key = self.enter(random.key_data(self._outer.state()), "key")
        return self.key

    # State that it writes

    def changed(self) -> list[State]:
        """The state that the function wrote, in the order in which it was met."""
        found: list[State] = [met for met in self.state if met in self.written]
        return found if self._left is None else [*found, self._outer]

    def before(self, state: State) -> Value | None:
        """The input that state begins as; None for a `.grad` that is None."""
        if state is self._outer:
            return (self.read_key() if self.key is None else self.key)._data.value
        if isinstance(state, Variable):
            self.read_variable(state)
        else:
            self.read_grad(state)
        return self.state[state]

    def after(self, state: State) -> Value | None:
        """The value that state has at the end; None for a `.grad` that is None."""
        if isinstance(state, Variable):
            return self.value(self.read_variable(state))
        if isinstance(state, tape.Leaf):
            gradient = self.read_grad(state)
            return None if gradient is None else self.value(gradient)
        if self._left is None:
            return self.before(state)
        return self.value(random.key_data(self._left))

    def write(self, state: State, found: Tensor | None) -> None:
        """Have state outside hold what the program made of it."""
        batch = None if found is None else found._device
        if state is self._outer:
            assert found is not None
            while isinstance(found._device, batching.Batch):
                found = ops.getitem(found._device.leave(found), 0)  # it is the same for all
            key: Any = found  # in a trace, Tensors are keys
            self._outer.seed(key)
            return
        if isinstance(batch, batching.Batch):
            raise TracingError(
                f"at {place()}: state was assigned in a loop or branch inside vmap, where values "
                "differ from example to example, and it holds one value: carry it along or return "
                "it, and assign outside"
            )
        assert self.around is not None  # graphs that are run again have no state
        if isinstance(state, tape.Leaf):
            self.around.write_grad(state, found)
        else:
            assert found is not None
            self.around.write_variable(state, found._data)


def innermost(x: Tensor) -> Array:
    """The array of a Tensor; where it is the same for all examples of a batch, the one beneath."""
    data = x._data
    while isinstance(data, batching.Batched) and not data.mapped:
        data = data.tensor._data
    return data


class Assigned(Op):
    """What a Variable holds after an assignment: the first operand. Tapes do not follow assignments
    and take whatever is read for the Variable itself, so the gradient is that of the second, which
    it held before."""

    gradients = (None, lambda g, out, new, before: g)

    def forward(self, xp: Any, new: Array, before: Array) -> Array:
        return new

    def infer(self, new: Aval, before: Aval) -> Aval:
        return new


assigned = Assigned()


class _Kernels(backends.Kernels):
    """For every trace, and each operation, what writes it down."""

    def __init__(self) -> None:
        """There is no one device: arrays tell which trace they are of."""

    def __missing__(self, op: Op) -> Callable[..., Any]:
        def kernel(*arrays: Any, **params: Any) -> Any:
            traced = [a for a in arrays if a.__class__ is Traced]
            for a in traced:
                if a.device.ended:
                    raise TracingError(_ended(a))
                traces.check(a.device)  # of each: a cast may have brought one of them here
            trace = traced[0].device
            if op is ops.astype and traced[0].weak is not None:
                return trace.cast(traced[0], params["dtype"])
            weak = alone = None
            if is_pythons(op) and all([_is_weak(a) for a in arrays]):
                arrays, alone = _of_numbers(op, arrays, trace)
                weak = _NUMBERS[dtypes.kind(alone)]
            inputs = tuple([a.value if a.__class__ is Traced else a for a in arrays])
            avals = [x.aval if isinstance(x, Value) else x for x in inputs]
            found = op.infer(*avals, **params)
            several = not isinstance(found, Aval)
            outputs = tuple([trace.fresh(*aval) for aval in (found if several else (found,))])
            made = Equation(op, inputs, params, outputs, place(), not tape.is_paused())
            trace.equations.append(made)
            if weak is not None:
                trace.of_numbers.append(made)
            if several:
                return tuple([Traced(trace, value) for value in outputs])
            return Traced(trace, outputs[0], weak, alone)

        self[op] = kernel
        return kernel


_kernels = _Kernels()

# What Python computes of numbers is a number again.
PYTHONS: dict[str, Callable[..., Any]] = {
    "abs": operator.abs,
    "add": operator.add,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "multiply": operator.mul,
    "negative": operator.neg,
    "power": operator.pow,
    "remainder": operator.mod,
    "subtract": operator.sub,
}
_NUMBERS = {"b": bool, "i": int, "u": int, "f": float}
_WIDE = {dtypes.float32: dtypes.float64, dtypes.int32: dtypes.int64}


def is_pythons(op: Op) -> bool:
    """Whether an operation is one that Python has for numbers, and not just called so."""
    return op.name in PYTHONS and getattr(ops, op.name) is op


def _is_weak(array: Any) -> bool:
    """Whether an operand of a kernel is a Python number, or stands for one."""
    return array.__class__ is not Traced or array.weak is not None


def _of_numbers(op: Op, arrays: Sequence[Any], trace: Trace) -> tuple[tuple[Any, ...], DType]:
    """Python numbers, and what stands for some, as an operation takes them to be as exact as
    Python; and the dtype of its result alone. Counters of turns stay in int32, to index with."""
    given = [a.dtype if a.__class__ is Traced else type(a) for a in arrays]
    small = all(
        [a.wide == dtypes.int32 if a.__class__ is Traced else abs(a) < 2**31 for a in arrays]
    )
    found: list[Any] = []
    for a, dtype in zip(arrays, op.operand_dtypes(given, Tensor), strict=True):
        if dtype is None:
            found.append(a)
            continue
        if not (small and dtype == dtypes.int32):
            dtype = _WIDE.get(dtype, dtype)
        if a.__class__ is Traced:
            found.append(trace.cast(a, dtype))
        else:
            try:
                found.append(trace.from_numpy(np.array(a, dtype)))
            except OverflowError as error:
                raise DtypeError(f"{op}: {error}") from None
    avals = [Aval(a.shape, a.dtype) if a.__class__ is Traced else a for a in arrays]
    return tuple(found), op.infer(*avals).dtype


def place() -> Place:
    """The user's line that is being run; in a backward pass that of the operation it is at."""
    frame = sys._getframe(1)
    while lines.in_library[frame.f_code.co_filename] and frame.f_back is not None:
        if frame.f_code is _WALK and (made := frame.f_locals.get("made")) is not None:
            return Place(made.code, made.instruction, True)
        frame = frame.f_back
    return Place(frame.f_code, frame.f_lasti)


_WALK = walk.walk_back.__code__


def _ended(array: Traced) -> str:
    return (
        f"at {place()}: a Tensor of a jitted function, or of a loop's body or a branch in one, "
        f"{array.value.aval}, is used after that was traced, when it stands for nothing: return it "
        "from the function instead"
    )


# These modules need this one, or what needs it, when they are imported.
from . import batching, ops, random  # noqa: E402
