"""Tracing: running a function on arrays that have a shape and a dtype and no values, to see what it
computes.

A trace is a device, as a batch of `vmap` is one. Its arrays stand for values of a graph, its kernel
for an operation is the operation's rule for shapes and a new equation. So everything above arrays
works unchanged: tapes walk back and leave the equations of the gradient, optimizers those of the
update.

What a program has besides arguments and results is state: Variables, the `.grad` of what requires
gradients, the default random generator. A trace reads it as an input and writes it as an output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backends, dtypes, tape
from .backends import Array, Device
from .dtypes import DType
from .errors import TracingError
from .graph import Atom, Equation, Graph, Place, Value
from .op import Aval, Op, Shape
from .tensors import Tensor, wrap
from .variable import Variable


class Traced:
    """An array of a trace: a value of its graph. `weak` is the type of the Python number that it
    stands for, which gives way to other dtypes as that would."""

    __slots__ = ("device", "dtype", "shape", "value", "weak")

    def __init__(self, device: Trace, value: Value, weak: type | None = None) -> None:
        self.device = device
        self.value = value
        self.shape, self.dtype = value.aval
        self.weak = weak

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
        self.equations: list[Equation] = []
        self.variables: dict[Variable, Tensor] = {}
        self.grads: dict[tape.Leaf, Tensor | None] = {}
        self.key: Tensor | None = None
        self.state: dict[Variable | tape.Leaf, Value | None] = {}
        self.written: set[Variable | tape.Leaf] = set()
        self.ended = False
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

    def input(
        self, like: Tensor, name: str, weak: type | None = None, record: tape.Node | None = None
    ) -> Tensor:
        """An input of the program, of the shape and the dtype of a Tensor."""
        value = self.fresh(like.shape, like.dtype, name)
        self.inputs.append(value)
        return wrap(type(like), Traced(self, value, weak), self, record)

    # State

    def read_variable(self, variable: Variable) -> Tensor:
        """What a Variable holds at this point of the program."""
        if variable not in self.variables:
            held = variable._tensor
            made = self.input(held, variable.name or "v", record=variable._leaf)
            self.variables[variable], self.state[variable] = made, self.inputs[-1]
        return self.variables[variable]

    def write_variable(self, variable: Variable, data: Traced) -> None:
        """Assign to a Variable, at this point of the program."""
        self.read_variable(variable)
        self.written.add(variable)
        self.variables[variable] = wrap(Tensor, data, self, variable._leaf)

    def read_grad(self, leaf: tape.Leaf) -> Tensor | None:
        """The `.grad` of what requires gradients, at this point of the program."""
        if leaf not in self.grads:
            held = leaf.held
            self.grads[leaf] = None if held is None else self.input(held, "grad")
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
        self.key = self.input(words, "key")
        return self.key

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
        """A Tensor from outside: a constant. Raises TracingError where a tape that was open before
        follows it, for which it has to be an argument."""
        if x._device is self:
            return x
        if x._device.level:
            raise TracingError(
                f"at {place()}: a Tensor of another trace, or of vmap, is used in a jitted "
                "function that did not get it as an argument"
            )
        if isinstance(x._record, tape.Record):
            raise TracingError(
                f"at {place()}: a Tensor of shape {x.shape} that a tape follows is used in a "
                "jitted function, where what comes from outside is a constant, so its gradient "
                "would be lost: make it an argument, or a Variable"
            )
        return wrap(type(x), self.constant(x), self, x._record)

    def wrap(self, value: Any) -> Traced:
        return value

    def from_numpy(self, array: np.ndarray) -> Traced:
        base = self.base
        return self.constant(wrap(Tensor, base.from_numpy(array), base, None))

    def to_numpy(self, array: Array) -> np.ndarray:
        if self.ended:
            raise TracingError(_ended(array))
        raise TracingError(
            f"at {place()}: the value of a Tensor, {array.value.aval}, is not known while a jitted "
            "function is traced, so it has no NumPy array, number or truth there. For if and while "
            "use edu.cond, edu.where and edu.while_loop; for loops edu.scan and edu.fori_loop; for "
            "what stays the same make the argument static (static_argnums); to look at a value, "
            "edu.debug_print"
        )

    def describe(self, array: Array) -> str:
        return ", traced"

    def graph(self, outputs: Sequence[Atom]) -> Graph:
        """What was traced, up to these outputs. Nothing can be traced any more."""
        self.ended = True
        used = {x for made in self.equations for x in made.values}.union(
            [x for x in outputs if isinstance(x, Value)]
        )
        constants = {value: x for value, x in self.constants.items() if value in used}
        return Graph(tuple(self.inputs), tuple(self.equations), tuple(outputs), constants)


class _Kernels(backends.Kernels):
    """For every trace, and each operation, what writes it down."""

    def __init__(self) -> None:
        """There is no one device: arrays tell which trace they are of."""

    def __missing__(self, op: Op) -> Callable[..., Any]:
        def kernel(*arrays: Any, **params: Any) -> Any:
            traced = [a for a in arrays if a.__class__ is Traced]
            trace = traced[0].device
            if trace.ended:
                raise TracingError(_ended(traced[0]))
            inputs = tuple([a.value if a.__class__ is Traced else a for a in arrays])
            avals = [x.aval if isinstance(x, Value) else x for x in inputs]
            found = op.infer(*avals, **params)
            several = not isinstance(found, Aval)
            outputs = tuple([trace.fresh(*aval) for aval in (found if several else (found,))])
            trace.equations.append(Equation(op, inputs, params, outputs, place()))
            if several:
                return tuple([Traced(trace, value) for value in outputs])
            weak = None
            if op.name in _ARITHMETIC and all([_is_weak(a) for a in arrays]):
                weak = _NUMBERS[dtypes.kind(found.dtype)]
            return Traced(trace, outputs[0], weak)

        self[op] = kernel
        return kernel


_kernels = _Kernels()

# What Python computes of numbers is a number again.
_ARITHMETIC = frozenset(
    {"abs", "add", "divide", "floor_divide", "multiply", "negative", "power", "remainder"}
    | {"subtract"}
)
_NUMBERS = {"b": bool, "i": int, "u": int, "f": float}


def _is_weak(array: Any) -> bool:
    """Whether an operand of a kernel is a Python number, or stands for one."""
    return array.__class__ is not Traced or array.weak is not None


def place() -> Place:
    """The user's line that is being run."""
    frame = sys._getframe(1)
    while tape.in_library[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return Place(frame.f_code, frame.f_lasti)


def _ended(array: Traced) -> str:
    return (
        f"at {place()}: a Tensor of a jitted function, {array.value.aval}, is used after the "
        "function was traced, when it stands for nothing: return it from the function instead"
    )
