"""Variable: a Tensor that can be replaced, for what a model learns.

A tape follows trainable Variables by itself. Assigning replaces the value; Tensors and records
made before keep the value they saw.
"""

from __future__ import annotations

from typing import Any

from . import dtypes, ops, tape, tensors
from .backends import Device
from .dtypes import DTypeLike
from .errors import DeviceError, DtypeError, ImmutableError, ShapeError
from .tensors import Operators, Tensor, TensorLike, wrap


class Variable(Operators):
    """State of a fixed shape, dtype and device. Usable wherever a Tensor is.

    `trainable` says whether tapes follow it; by default they do if its dtype is a float. With
    `requires_grad`, `backward()` fills its `.grad` too.

    >>> v = Variable([1.0, 2.0])
    >>> v[0].assign(5.0)
    Variable([5., 2.], dtype=float32)
    >>> v * 2
    Tensor([10.,  4.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_leaf", "_tensor", "name", "trainable")

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
        made = tensors.tensor(initial_value, dtype, device)
        differentiable = dtypes.is_float(made.dtype)
        if (trainable or requires_grad) and not differentiable:
            raise DtypeError(
                f"Variable: no gradient flows through dtype {made.dtype}: use trainable=False, or "
                "a float dtype"
            )
        self.name = name
        self.trainable = differentiable if trainable is None else trainable
        followers = tape.EVERY if requires_grad else tape.EXPLICIT if self.trainable else ()
        self._leaf = tape.Leaf(followers)
        self._tensor = wrap(Tensor, made._data, made._device, self._leaf)

    @property
    def value(self) -> Tensor:
        """What it holds now: a Tensor that later assignments do not change."""
        return self._tensor

    def assign(self, value: TensorLike) -> Variable:
        """Replace the value; returns the Variable.

        Raises ShapeError for another shape, DtypeError for a dtype that would lose something
        (a float for an integer Variable, a wider float for a narrower one).
        """
        return self._replace(self._checked(value, "assign"), "assign")

    def assign_add(self, delta: TensorLike) -> Variable:
        """Add to the value; `delta` broadcasts to its shape. Raises as `assign` does."""
        with tape.no_grad():
            total = self._tensor + self._checked(delta, "assign_add")
        return self._replace(total, "assign_add")

    def assign_sub(self, delta: TensorLike) -> Variable:
        """Subtract from the value; `delta` broadcasts to its shape. Raises as `assign` does."""
        with tape.no_grad():
            rest = self._tensor - self._checked(delta, "assign_sub")
        return self._replace(rest, "assign_sub")

    def __getitem__(self, index: Any) -> VariablePart:
        return VariablePart(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "'Variable' object does not support item assignment: use v[index].assign(value)"
        )

    def _checked(self, value: TensorLike, how: str) -> Tensor:
        """A value to assign, as a Tensor here that fits."""
        where = f"Variable.{how}"
        if isinstance(value, Operators):
            given = value.value
            if given._device is not self._tensor._device:
                raise DeviceError(
                    f"{where}: the Variable is on device {self.device.name!r} and the value on "
                    f"{given.device.name!r}: use value.to({self.device.name!r})"
                )
            dtype, weak = given.dtype, False
        else:
            value = tensors.unwrap(value)
            dtype, weak = tensors.to_array(value).dtype, tensors.is_weak(value)
        number = {"b": bool, "u": int, "i": int, "f": float}[dtypes.kind(dtype)]
        after = (
            dtypes.promote_weak(self.dtype, number) if weak else dtypes.promote(self.dtype, dtype)
        )
        if after != self.dtype:
            raise DtypeError(
                f"{where}: a value of dtype {dtype} does not fit a Variable of dtype {self.dtype}: "
                f"convert it with .astype({self.dtype.name!r})"
            )
        return tensors.as_tensor(value, self.dtype, self._tensor)

    def _replace(self, value: Tensor, how: str) -> Variable:
        if value.shape != self.shape:
            raise ShapeError(
                f"Variable.{how}: a value of shape {value.shape} does not fit a Variable of shape "
                f"{self.shape}"
            )
        self._tensor = wrap(Tensor, value._data, value._device, self._leaf)
        return self

    def __repr__(self) -> str:
        details = f", name={self.name!r}" if self.name else ""
        details += "" if self.trainable or not dtypes.is_float(self.dtype) else ", trainable=False"
        return self._describe("Variable", details)


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
        return self._change("set", "assign", value)

    def assign_add(self, delta: TensorLike) -> Variable:
        """Add to this part."""
        return self._change("add", "assign_add", delta)

    def assign_sub(self, delta: TensorLike) -> Variable:
        """Subtract from this part."""
        return self._change("add", "assign_sub", -tensors.as_tensor(delta))

    def _change(self, how: str, method: str, value: TensorLike) -> Variable:
        variable = self._variable
        with tape.no_grad():
            given = variable._checked(value, method)
            changed = ops.scatter[how](variable.value, self._index, given)
        return variable._replace(changed, method)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "a part of a Variable does not support item assignment: use v[index].assign(value)"
        )

    def __repr__(self) -> str:
        return repr(self._tensor)
