"""Variable: a Tensor that can be replaced, for what a model learns.

A tape follows trainable Variables by itself. Assigning replaces the value; Tensors and records
made before keep the value they saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import conversion, dtypes, ops, tape, traces
from .backends import Array, Device
from .conversion import fitting
from .dtypes import DTypeLike
from .errors import DtypeError, ImmutableError, ShapeError, TracingError
from .op import Op
from .tensors import Operators, Tensor, TensorLike, wrap


class Variable(Operators):
    """State of a fixed shape, dtype and device. Usable wherever a Tensor is.

    Made `trainable`, it is followed by tapes; by default it is if its dtype is a float. What
    `trainable` is set to later, layers ask, and tapes do not. With `requires_grad`, `backward()`
    fills its `.grad` too. `constraint` and `regularizer` are for who trains it: a function that
    gives the value it may have, and one that gives a loss.

    >>> v = Variable([1.0, 2.0])
    >>> v[0].assign(5.0)
    Variable([5., 2.], dtype=float32)
    >>> v * 2
    Tensor([10.,  4.], dtype=float32)
    """

    __slots__ = (
        "__weakref__",
        "_leaf",
        "_shared",
        "_tensor",
        "constraint",
        "name",
        "regularizer",
        "trainable",
    )

    constraint: Callable[[Tensor], Any] | None
    regularizer: Callable[[Tensor], Any] | None

    def __init__(
        self,
        initial_value: TensorLike,
        dtype: DTypeLike = None,
        *,
        trainable: bool | None = None,
        requires_grad: bool = False,
        name: str | None = None,
        device: str | Device | None = None,
    ) -> None:
        if isinstance(device, Device):
            device = device.base  # inside of jit, that of a Tensor is the trace
        made = conversion.tensor(initial_value, dtype, device)
        if made._device.level:
            made.numpy()  # which says why there is no value that a Variable could hold
        differentiable = dtypes.is_float(made.dtype)
        if (trainable or requires_grad) and not differentiable:
            raise DtypeError(
                f"Variable: no gradient flows through dtype {made.dtype}: use trainable=False, or "
                "a float dtype"
            )
        self.name = name
        self.constraint = self.regularizer = None
        self.trainable = differentiable if trainable is None else trainable
        followers = tape.EVERY if requires_grad else tape.EXPLICIT if self.trainable else ()
        self._leaf = tape.Leaf(followers)
        self._tensor = wrap(Tensor, made._data, made._device, self._leaf)
        # Whether anybody else may hold the array: a compiled program updates it in place otherwise.
        self._shared = False

    @property
    def value(self) -> Tensor:
        """What it holds now: a Tensor that later assignments do not change."""
        return read(self)

    def assign(self, value: TensorLike) -> Variable:
        """Replace the value; returns the Variable.

        Raises ShapeError for another shape, DtypeError for a dtype that would lose something
        (a float for an integer Variable, a wider float for a narrower one).
        """
        how = "Variable.assign"
        held = self.value
        return self._replace(_fitting(value, held, held, how)._data, how)

    def assign_add(self, delta: TensorLike) -> Variable:
        """Add to the value; `delta` broadcasts to its shape. Raises as `assign` does."""
        return self._step(ops.add, delta, "Variable.assign_add")

    def assign_sub(self, delta: TensorLike) -> Variable:
        """Subtract from the value; `delta` broadcasts to its shape. Raises as `assign` does."""
        return self._step(ops.subtract, delta, "Variable.assign_sub")

    def _step(self, op: Op, delta: TensorLike, how: str) -> Variable:
        """Assign op(value, delta). No tape follows an assignment, so nothing is recorded."""
        held = read(self)
        if (
            delta.__class__ is Tensor
            and delta._device is held._device
            and delta._data.dtype is held._data.dtype
        ):
            given: Any = delta  # as it nearly always is: every weight passes here in every step
        else:
            given = _fitting(delta, held, held, how)
        try:
            data = held._device.kernels[op](held._data, given._data)
        except Exception as error:
            raise op.explain(error, (held, given), {}) from None
        return self._replace(data, how)

    def __getitem__(self, index: Any) -> VariablePart:
        return VariablePart(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "'Variable' object does not support item assignment: use v[index].assign(value)"
        )

    def _replace(self, data: Array, how: str) -> Variable:
        held = self._tensor
        if data.shape != held._data.shape:
            raise ShapeError(
                f"{how}: a value of shape {tuple(data.shape)} does not fit a Variable of "
                f"shape {self.shape}"
            )
        if traces.being_made and (trace := traces.current()) is not None:
            trace.write_variable(self, data)
        else:
            self._tensor = wrap(Tensor, data, held._device, self._leaf)
            self._shared = True
        return self

    def __reduce__(self) -> Any:
        tapes = self._leaf.tapes
        made = type(self), np.array(self.numpy()), self.device.name, bool(tapes)
        changed = ("name", "trainable", "constraint", "regularizer")
        state = {name: getattr(self, name) for name in changed}
        return _rebuild, (*made, tapes is tape.EVERY), (None, state)

    def __repr__(self) -> str:
        details = f", name={self.name!r}" if self.name else ""
        details += "" if self.trainable or not dtypes.is_float(self.dtype) else ", trainable=False"
        return self._describe("Variable", details)


def read(variable: Variable) -> Tensor:
    """`Variable.value`, for who reads one with every operation: a function's call costs less."""
    if traces.being_made and (trace := traces.current()) is not None:
        return trace.read_variable(variable)
    variable._shared = True
    return variable._tensor


def _rebuild(
    kind: type[Variable], array: np.ndarray, device: str, followed: bool, requires_grad: bool
) -> Variable:
    """A Variable that was pickled or copied: one of its own."""
    return kind(array, trainable=followed, requires_grad=requires_grad, device=device)


def _fitting(value: Any, like: Tensor, held: Tensor, how: str) -> Tensor:
    """What is to go into `like`, all or a part of what is held, unless it stands for many values,
    of which a Variable holds one."""
    given = fitting(value, like, how)
    if given._device.level and given._device is not held._device:
        raise TracingError(
            f"{how}: inside vmap the value differs from example to example, and a Variable holds "
            "one value: return it, and assign outside"
        )
    return given


def _plain(x: Tensor) -> Tensor:
    """The same value with no place on a tape: what is assigned is not recorded."""
    return x if x._record is None else wrap(type(x), x._data, x._device, None)


class VariablePart(Operators):
    """`v[index]`: that part of the value it was read from, and the way to assign to it."""

    __slots__ = ("_index", "_tensor", "_variable")

    def __init__(self, variable: Variable, index: Any) -> None:
        self._variable = variable
        self._index = index
        self._tensor = ops.getitem(variable.value, index)

    @property
    def value(self) -> Tensor:
        return self._tensor

    def assign(self, value: TensorLike) -> Variable:
        """Replace this part; `value` broadcasts to its shape. Returns the whole Variable."""
        return self._change("set", value, "Variable.assign")

    def assign_add(self, delta: TensorLike) -> Variable:
        """Add to this part."""
        return self._change("add", delta, "Variable.assign_add")

    def assign_sub(self, delta: TensorLike) -> Variable:
        """Subtract from this part."""
        how = "Variable.assign_sub"
        return self._change("add", -fitting(delta, self._tensor, how), how)

    def _change(self, how: str, value: Any, method: str) -> Variable:
        held = self._variable.value
        given = _fitting(value, self._tensor, held, method)
        changed = ops.scatters[how](_plain(held), self._index, _plain(given))
        return self._variable._replace(changed._data, method)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "a part of a Variable does not support item assignment: use v[index].assign(value)"
        )

    def __repr__(self) -> str:
        return repr(self._tensor)
