"""What happens when an operation is applied: its operands are brought together (dtypes, devices),
the device's kernel computes, and the tape records.

`apply` is all of it. `unary` and `binary` are the same for what happens most, float Tensors that
are alike, and written for speed. Knows no operation in particular.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import backends, conversion, dtypes, tape, traces
from .backends import Array
from .errors import DeviceError, DtypeError, ShapeError
from .op import Aval, Op, promoted
from .tape import record
from .tensors import Operators, Tensor, TensorLike, wrap

_float32, _float64 = dtypes.float32, dtypes.float64
_numpy = backends.numpy
_new: Any = object.__new__
_NO_PARAMS: dict[str, Any] = {}


def apply(op: Op, *operands: TensorLike, **params: Any) -> Any:
    """`op` of these operands: a Tensor (or a tuple of them), recorded where a tape follows.

    Operands are Tensors, Variables, NumPy arrays, Python numbers and nested lists of them. The
    result is on the operands' device, and of their class where that is a subclass of Tensor.
    """
    first: Any = operands[0]
    kind = first.__class__
    inputs: Sequence[Any] = operands
    bare = False
    if alike(op, operands):
        device = first._device
        bare = op.on_arrays and device is _numpy and kind is Tensor
        arrays = [x._data for x in inputs]
        parents = tuple([x._record for x in inputs])
    else:
        kind, device, inputs = bring_together(op, operands)
        arrays = [x._data if isinstance(x, Tensor) else x for x in inputs]
        parents = tuple([x._record if isinstance(x, Tensor) else None for x in inputs])
    try:
        data = device.kernels[op](*arrays, **params)
    except traces.Elsewhere as inside:
        return apply(op, *inside.brought(operands), **params)
    except Exception as error:
        raise op.explain(error, inputs, params) from None
    if inputs is not operands:
        inputs, data = _apart(inputs, operands, data)
    node = None
    if op.no_gradient is None and parents.count(None) < len(parents):
        bare = bare and (data.dtype is _float32 or data.dtype is _float64)
        node = record(op, tuple(arrays if bare else inputs), parents, params, data, bare)
    if isinstance(data, tuple):
        return picked(kind, device, node, data)
    return wrap(kind, data, device, node)


def alike(op: Op, operands: Sequence[Any]) -> bool:
    """Whether all are Tensors of one class and device, and of the dtypes that the operation wants,
    so that nothing is to do."""
    first = operands[0]
    kind = first.__class__
    if not issubclass(kind, Tensor):
        return False
    device, dtype = first._device, first._data.dtype
    same = dtype is _float32 or dtype is _float64
    for x in operands:
        if x.__class__ is not kind or x._device is not device:
            return False
        if x._data.dtype is not dtype:
            same = False
    if same:
        return True
    given = tuple([x._data.dtype for x in operands])
    known = op._takes.get((kind, given))
    if known is None:
        wanted = op.operand_dtypes(given, kind)
        known = all([found is each for found, each in zip(given, wanted, strict=True)])
        op._takes[kind, given] = known
    return known


def bring_together(
    op: Op, operands: Sequence[Any]
) -> tuple[type[Tensor], backends.Device, list[Any]]:
    """The class and the device of the result, and the operands as `op` takes them: Tensors of its
    dtypes, and Python numbers. Raises DeviceError where Tensors are on two devices."""
    try:
        values: list[Any] = [x if isinstance(x, Tensor) else conversion.unwrap(x) for x in operands]
    except (DtypeError, ShapeError) as error:
        raise type(error)(f"{op}: {error}") from None
    if not any(isinstance(x, (Tensor, np.ndarray)) for x in values):
        # NumPy scalars give way to arrays; among themselves they keep their dtype.
        values = [
            np.asarray(operand) if isinstance(operand, np.generic) else x
            for operand, x in zip(operands, values, strict=True)
        ]
    given_tensors = [x for x in values if isinstance(x, Tensor)]
    kind = next((type(x) for x in given_tensors if type(x) is not Tensor), Tensor)
    device = given_tensors[0]._device if given_tensors else backends.current()
    if any([x._device is not device for x in given_tensors]):
        device = max([x._device for x in given_tensors], key=lambda d: d.level)
        values = [_lifted(op, x, device) if isinstance(x, Tensor) else x for x in values]
    given = own = [_dtype_or_type(x) for x in values]
    if device.level and not any([isinstance(each, np.dtype) for each in own]):
        # Numbers that a trace has put Tensors in the place of, alone: it computes as Python does,
        # and what Python does not, in the dtypes of those.
        if tracing.is_pythons(op):
            return kind, device, values
        given = [x.dtype if isinstance(x, Tensor) else type(x) for x in values]
    for i, dtype in enumerate(op.operand_dtypes(given, kind)):
        x = values[i]
        if isinstance(x, Tensor):
            dtype = promoted(given, kind) if dtype is None else dtype
            values[i] = x if x._data.dtype == dtype else ops.astype(x, dtype)
        elif isinstance(x, np.ndarray):
            array = x if dtype is None else x.astype(dtype, copy=False)
            values[i] = wrap(kind, device.adopt(array), device, None)
        elif dtype is not None:
            try:
                values[i] = wrap(kind, device.from_numpy(np.array(x, dtype)), device, None)
            except OverflowError as error:
                raise DtypeError(f"{op}: {error}") from None
    return kind, device, values


def _dtype_or_type(x: Any) -> Any:
    """The dtype of an operand, or the type of a Python number, also of one that a trace has put a
    Tensor in the place of."""
    if isinstance(x, (bool, int, float)):
        return type(x)
    traced = isinstance(x, Tensor) and x._device.level
    return (getattr(tracing.innermost(x), "weak", None) if traced else None) or x.dtype


def _lifted(op: Op, x: Tensor, device: Any) -> Tensor:
    """An operand on the device of the others. Values never move unasked."""
    if x._device is device:
        return x
    if not device.level or x._device.base is not device.base:
        raise DeviceError(
            f"{op}: one operand is on device {device.name!r} and another on "
            f"{x._device.name!r}: bring them together with x.to({device.name!r})"
        )
    return device.lift(x)


def _apart(inputs: Sequence[Any], operands: Sequence[Any], data: Any) -> tuple[list[Any], Any]:
    """Inputs and result with no memory in common with the user's own arrays, which may change."""
    kept = list(inputs)
    for i, (x, operand) in enumerate(zip(inputs, operands, strict=True)):
        made_of_it = x is not operand and not isinstance(operand, Operators)
        lent = isinstance(x, Tensor) and made_of_it and x._record is None
        if lent and x._device is backends.numpy:
            kept[i] = wrap(type(x), x._data.copy(), x._device, None)
            if isinstance(data, tuple):
                data = tuple(d.copy() if np.may_share_memory(d, x._data) else d for d in data)
            elif np.may_share_memory(data, x._data):
                data = data.copy()
    return kept, data


def unary(op: Op, x: Any, params: dict[str, Any] = _NO_PARAMS) -> Tensor:
    """`apply` for one float Tensor and one output, without the steps that it does not need."""
    if not isinstance(x, Tensor):
        return unary(op, x.value, params) if isinstance(x, Operators) else apply(op, x, **params)
    a, device = x._data, x._device
    dtype = a.dtype
    if dtype is not _float32 and dtype is not _float64:
        return apply(op, x, **params)
    try:
        data = device.kernels[op](a, **params) if params else device.kernels[op](a)
    except traces.Elsewhere as inside:
        return apply(op, *inside.brought((x,)), **params)
    except Exception as error:
        raise op.explain(error, (x,), params) from None
    if data.__class__ is not device.array_type:
        data = device.wrap(data)
    made = _new(x.__class__)
    made._data = data
    made._device = device
    node = x._record
    if node is not None:
        if op.no_gradient:
            node = None
        else:
            bare = op.on_arrays and device is _numpy and x.__class__ is Tensor
            node = record(op, (a if bare else x,), (node,), params, data, bare)
    made._record = node
    return made


def binary(op: Op, x: Any, y: Any) -> Tensor:
    """`apply` for two float Tensors that are alike, or one and a Python number.

    Every `x + y` takes this path, so nothing is done here that is not needed.
    """
    kind, other = x.__class__, y.__class__
    if kind is not other:
        if kind is Variable:
            x, kind = read(x), Tensor
        elif other is Variable:
            y, other = read(y), Tensor
    if kind is other and (kind is Tensor or issubclass(kind, Tensor)):
        a, b = x._data, y._data
        device, dtype = x._device, a.dtype
        left, right = x._record, y._record
        if dtype is not b.dtype or device is not y._device:
            return apply(op, x, y)
    elif (other is float or other is int) and kind is Tensor:
        a, device, left, right = x._data, x._device, x._record, None
        dtype = a.dtype
        b = _numbers[y] if dtype is _float32 and device is _numpy else y
    elif (kind is float or kind is int) and other is Tensor:
        kind = other
        b, device, left, right = y._data, y._device, None, y._record
        dtype = b.dtype
        a = _numbers[x] if dtype is _float32 and device is _numpy else x
    elif kind is Variable:
        return binary(op, x.value, y.value)
    else:
        return apply(op, x, y)
    if dtype is not _float32 and dtype is not _float64:
        return apply(op, x, y)
    try:
        data = device.kernels[op](a, b)
    except traces.Elsewhere as inside:
        return apply(op, *inside.brought((x, y)))
    except Exception as error:
        raise op.explain(error, (x, y), _NO_PARAMS) from None
    # `wrap`, written out: a call more is a tenth of the time that an addition takes.
    if data.__class__ is not device.array_type:
        data = device.wrap(data)
    made = _new(kind)
    made._data = data
    made._device = device
    if (left is not None or right is not None) and not op.no_gradient:
        bare = op.on_arrays and device is _numpy and kind is Tensor
        operands = (a, b) if bare else (x, y)
        made._record = record(op, operands, (left, right), _NO_PARAMS, data, bare)
    else:
        made._record = None
    return made


class _Numbers(dict[float, Any]):
    """Python numbers as float32 arrays without axes, which NumPy takes in half the time."""

    def __missing__(self, number: float) -> Any:
        if number == 0 or not abs(number) < 1e38:  # 0.0 and -0.0 are one key; NaN is none
            return number
        if len(self) > 1000:
            self.clear()
        array = self[number] = np.array(number, np.float32)
        return array


_numbers = _Numbers()


def picked(
    kind: type[Tensor],
    device: backends.Device,
    node: tape.Record | None,
    outputs: Sequence[Array],
) -> tuple[Tensor, ...]:
    """The outputs of one operation as Tensors, each with a place of its own on the tapes."""
    return tuple(
        wrap(
            kind,
            data,
            device,
            None if node is None else record(_pick, (None,), (node,), {"index": i}, data),
        )
        for i, data in enumerate(outputs)
    )


class Pick(Op):
    """One output of an operation that has several; `picked` puts it on the tape."""

    def forward(self, xp: Any, outputs: tuple[Array, ...], *, index: int) -> Array:
        return outputs[index]

    def infer(self, outputs: tuple[Aval, ...], *, index: int) -> Aval:
        return outputs[index]

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Any]:
        return [Parts({params["index"]: cotangent})]


_pick = Pick()


class Parts(dict[int, Tensor]):
    """The cotangents of those outputs of an operation that have one, by their index."""

    def __add__(self, other: Parts) -> Parts:
        both = {i: self[i] + other[i] for i in self.keys() & other.keys()}
        return Parts({**self, **other, **both})


# These modules need this one when they are imported.
from . import ops, tracing  # noqa: E402
from .variable import Variable, read  # noqa: E402
