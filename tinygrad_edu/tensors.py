"""Tensor: an immutable array, the device it lives on, and its place on the tape.

Its operators and methods call the operations of `ops`, which is where computing happens. A
Variable has the same face (`Operators`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, Union

import numpy as np

from . import backends, dtypes, traces
from .backends import Array, Device
from .dtypes import DType
from .errors import ArgumentError, DtypeError, ImmutableError, ShapeError

if TYPE_CHECKING:
    from .tape import Node

TensorLike: TypeAlias = Union["Operators", np.ndarray, np.generic, bool, int, float, Sequence[Any]]
"""What an operation takes: Tensors, Variables, NumPy arrays, numbers, nested lists of numbers."""

Infix: TypeAlias = Callable[["Operators", TensorLike], "Tensor"]
Prefix: TypeAlias = Callable[["Operators"], "Tensor"]


def _methods(names: str) -> Iterator[Callable[..., Any]]:
    """The operations of these names as methods."""
    return map(_method, names.split())


def _method(name: str) -> Callable[..., Any]:
    def method(self: Operators, *args: Any, **kwargs: Any) -> Any:
        return interop.as_method(getattr(ops, name), self, args, kwargs)

    method.__name__ = name
    method.__code__ = method.__code__.replace(co_name=name)  # which errors and tracebacks say
    method.__doc__ = f"See `ops.{name}`."
    return method


class Operators:
    """What Tensors and Variables can do alike: operators, methods, conversion to Python."""

    __slots__ = ()

    @property
    def value(self) -> Tensor:
        """The Tensor: itself, or what a Variable holds now."""
        raise NotImplementedError  # Tensors and Variables each have theirs

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value._data.shape)

    @property
    def dtype(self) -> DType:
        return self.value._data.dtype

    @property
    def ndim(self) -> int:
        return len(self.value._data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.value._data.size)

    @property
    def device(self) -> Device:
        """Where it lives; equal to its name, as in `x.device == "numpy"`."""
        return self.value._device

    # Operators. NumPy arrays leave theirs to us: see __array_ufunc__.

    __add__: ClassVar[Infix] = lambda self, other: binary(ops.add, self, other)
    __radd__: ClassVar[Infix] = lambda self, other: binary(ops.add, other, self)
    __sub__: ClassVar[Infix] = lambda self, other: binary(ops.subtract, self, other)
    __rsub__: ClassVar[Infix] = lambda self, other: binary(ops.subtract, other, self)
    __mul__: ClassVar[Infix] = lambda self, other: binary(ops.multiply, self, other)
    __rmul__: ClassVar[Infix] = lambda self, other: binary(ops.multiply, other, self)
    __truediv__: ClassVar[Infix] = lambda self, other: binary(ops.divide, self, other)
    __rtruediv__: ClassVar[Infix] = lambda self, other: binary(ops.divide, other, self)
    __floordiv__: ClassVar[Infix] = lambda self, other: binary(ops.floor_divide, self, other)
    __rfloordiv__: ClassVar[Infix] = lambda self, other: binary(ops.floor_divide, other, self)
    __mod__: ClassVar[Infix] = lambda self, other: binary(ops.remainder, self, other)
    __rmod__: ClassVar[Infix] = lambda self, other: binary(ops.remainder, other, self)
    __pow__: ClassVar[Infix] = lambda self, other: binary(ops.power, self, other)
    __rpow__: ClassVar[Infix] = lambda self, other: binary(ops.power, other, self)
    __matmul__: ClassVar[Infix] = lambda self, other: ops.matmul(self, other)
    __rmatmul__: ClassVar[Infix] = lambda self, other: ops.matmul(other, self)

    __neg__: ClassVar[Prefix] = lambda self: ops.negative(self)
    __pos__: ClassVar[Prefix] = lambda self: self.value
    __abs__: ClassVar[Prefix] = lambda self: ops.abs(self)
    __invert__: ClassVar[Prefix] = lambda self: ops.bitwise_invert(self)

    __and__: ClassVar[Infix] = lambda self, other: ops.bitwise_and(self, other)
    __rand__: ClassVar[Infix] = lambda self, other: ops.bitwise_and(other, self)
    __or__: ClassVar[Infix] = lambda self, other: ops.bitwise_or(self, other)
    __ror__: ClassVar[Infix] = lambda self, other: ops.bitwise_or(other, self)
    __xor__: ClassVar[Infix] = lambda self, other: ops.bitwise_xor(self, other)
    __rxor__: ClassVar[Infix] = lambda self, other: ops.bitwise_xor(other, self)
    __lshift__: ClassVar[Infix] = lambda self, other: ops.bitwise_left_shift(self, other)
    __rlshift__: ClassVar[Infix] = lambda self, other: ops.bitwise_left_shift(other, self)
    __rshift__: ClassVar[Infix] = lambda self, other: ops.bitwise_right_shift(self, other)
    __rrshift__: ClassVar[Infix] = lambda self, other: ops.bitwise_right_shift(other, self)

    __lt__: ClassVar[Infix] = lambda self, other: ops.less(self, other)
    __le__: ClassVar[Infix] = lambda self, other: ops.less_equal(self, other)
    __gt__: ClassVar[Infix] = lambda self, other: ops.greater(self, other)
    __ge__: ClassVar[Infix] = lambda self, other: ops.greater_equal(self, other)

    def __eq__(self, other: Any) -> Any:
        return ops.equal(self, other) if _is_numeric(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return ops.not_equal(self, other) if _is_numeric(other) else NotImplemented

    def __hash__(self) -> int:
        return id(self)

    # The methods that NumPy's or PyTorch's arrays have, each our operation of that name.

    abs, all, any, argmax, argmin, argsort = _methods("abs all any argmax argmin argsort")
    astype, ceil, clip, cos, diagonal, dot, erf = _methods("astype ceil clip cos diagonal dot erf")
    exp, floor, log, log_softmax, logsumexp = _methods("exp floor log log_softmax logsumexp")
    matmul, max, mean, median, min, nonzero = _methods("matmul max mean median min nonzero")
    norm, outer, prod, ravel, relu, repeat = _methods("norm outer prod ravel relu repeat")
    round, rsqrt, searchsorted, sigmoid, sign = _methods("round rsqrt searchsorted sigmoid sign")
    sin, softmax, sort, split, sqrt, square = _methods("sin softmax sort split sqrt square")
    squeeze, std, sum, swapaxes, take, tan = _methods("squeeze std sum swapaxes take tan")
    tanh, tile, to_device, trace, tril, triu = _methods("tanh tile to_device trace tril triu")
    unstack, var = _methods("unstack var")
    cumprod, cumsum, flatten, to = _methods("cumulative_prod cumulative_sum ravel to_device")

    def reshape(self, *shape: Any) -> Tensor:
        """`x.reshape(2, 3)` or `x.reshape((2, 3))`; see `ops.reshape`."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in this order; without any, in reverse."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return ops.transpose(self, order or None)

    def detach(self) -> Tensor:
        """The same value as a constant: no tape follows it."""
        return ops.stop_gradient(self)

    def copy(self) -> Tensor:
        """The Tensor itself: it never changes. For an array of your own, `numpy().copy()`."""
        return self.value

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return ops.matrix_transpose(self)

    def __getitem__(self, index: Any) -> Any:
        return ops.getitem(self, index)

    @property
    def at(self) -> At:
        """Changed copies: `x.at[i].set(v)`, and `.add`, `.multiply`, `.min`, `.max`."""
        return At(self.value)

    def __len__(self) -> int:
        if not self.shape:
            raise DtypeError("len: a 0-d Tensor has no length")
        return self.shape[0].__index__()  # which refuses if it is known only when data comes

    def __iter__(self) -> Iterator[Tensor]:
        return (self.value[i] for i in range(len(self)))

    # Out of the engine.

    def numpy(self) -> np.ndarray:
        """The elements as a NumPy array: a read-only view where it can be one."""
        value = self.value
        array = value._device.to_numpy(value._data)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        return array

    def item(self) -> bool | int | float:
        """The only element, as a Python number. Raises ShapeError if there are more, or none."""
        if self.size != 1:
            raise ShapeError(
                f"item: a Tensor of shape {self.shape} is not one number: pick an element, or use "
                "numpy() or tolist()"
            )
        return self.numpy().item()

    def tolist(self) -> Any:
        """The elements as nested Python lists."""
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if dtypes.kind(self.dtype) not in "iu" or self.ndim:
            raise DtypeError(f"a {self.dtype} Tensor of shape {self.shape} cannot be an index")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ArgumentError(
                f"the truth of a Tensor of shape {self.shape} is ambiguous: use .any() or .all()"
            )
        return bool(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return interop.array(self.value, dtype, copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return interop.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return interop.array_function(function, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return interop.array_namespace(api_version)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return interop.dlpack(self.value, kwargs)

    def __dlpack_device__(self) -> tuple[Any, int]:
        device: tuple[Any, int] = self.value._data.__dlpack_device__()
        return device

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.ndim:
            raise DtypeError(
                f"format {spec!r} is for one number, not for a Tensor of shape {self.shape}: pick "
                "an element, or format .tolist()"
            )
        return format(self.item(), spec)

    def _describe(self, name: str, details: str = "") -> str:
        more = f"dtype={self.dtype.name}{self.device.describe(self.value._data)}{details})"
        if self.device.level:
            return f"{name}(shape={self.shape}, {more}"
        array = self.numpy()
        text = np.array2string(array, separator=", ", prefix=f"{name}(")
        shape = f", shape={self.shape}" if not array.size or array.size > 1000 else ""
        return f"{name}({text}{shape}, {more}"

    # Differentiation.

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` has added up here; set it to None to start again."""
        node = (self if self.__class__ is Tensor else self.value)._record
        if node.__class__ is not tape.Leaf:
            return None
        return node.grad if traces.being_made else node.held

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        node = self.value._record
        if not isinstance(node, tape.Leaf):
            raise ArgumentError("grad: only what was made with requires_grad=True has one to set")
        if isinstance(gradient, Operators):
            gradient = gradient.value
        elif gradient is not None:
            raise DtypeError(f"grad: takes a Tensor or None, not {type(gradient).__name__}")
        if gradient is not None and (gradient.shape, gradient.dtype) != (self.shape, self.dtype):
            raise ShapeError(
                f"grad: {gradient.dtype} of shape {gradient.shape} is no gradient of {self.dtype} "
                f"of shape {self.shape}"
            )
        node.grad = gradient

    @property
    def requires_grad(self) -> bool:
        """Whether `backward()` reaches this: made with requires_grad=True, or computed from what
        was."""
        node = self.value._record
        return node is not None and tape.ALWAYS in node.tapes

    def backward(
        self,
        gradient: TensorLike | None = None,
        *,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this to the `.grad` of everything it was computed from that was made
        with requires_grad=True.

        `gradient` is the cotangent to start from, of this shape; a scalar needs none. The records
        are freed, unless `retain_graph`, so that a second call is an error. With `create_graph` the
        gradients can be differentiated again.

        Raises GradientError if nothing was recorded, if the records were freed, or if this is not
        a scalar and no cotangent is given; DtypeError for integers.

        >>> import tinygrad_edu as edu
        >>> x = edu.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4.], dtype=float32)
        """
        walk.backward(self.value, gradient, retain_graph, create_graph)


class Tensor(Operators):
    """An immutable array on a device. Make one with `edu.tensor`, `edu.zeros` and their like.

    Arithmetic, comparison and indexing are NumPy's; `x.at[i].set(value)` gives a changed copy.
    Subclasses may promote dtypes by rules of their own (`promote`, `promote_number`): what is
    computed from a subclass is of that subclass.
    """

    __slots__ = ("__weakref__", "_data", "_device", "_record")

    _data: Array
    _device: Device
    _record: Node | None

    promote = staticmethod(dtypes.promote)
    promote_number = staticmethod(dtypes.promote_weak)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise DtypeError("a Tensor is made with edu.tensor(data), edu.zeros(shape) and their like")

    @property
    def value(self) -> Tensor:
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ImmutableError(
            "'Tensor' object does not support item assignment, because Tensors never change: use "
            "x = x.at[index].set(value), or an edu.Variable with v[index].assign(value)"
        )

    def __repr__(self) -> str:
        leaf = isinstance(self._record, tape.Leaf) and self.requires_grad
        return self._describe("Tensor", ", requires_grad=True" if leaf else "")

    def __reduce__(self) -> Any:
        leaf = isinstance(self._record, tape.Leaf) and self.requires_grad
        return _rebuild, (type(self), np.array(self.numpy()), self.device.name, leaf)

    def __copy__(self) -> Tensor:
        return self


def wrap(kind: type[Tensor], data: Array, device: Device, record: Node | None) -> Tensor:
    """A Tensor of class `kind` around a device's array, without a copy. Every result is made
    here, so this is written for speed."""
    if data.__class__ is not device.array_type:
        data = device.wrap(data)
    made = _new(kind)
    made._data = data
    made._device = device
    made._record = record
    return made


_new: Any = object.__new__


def around(x: Any, record: Node | None = None) -> Any:
    """A bare array of the NumPy device as a Tensor, without a copy; anything else as it is."""
    if isinstance(x, (np.ndarray, np.generic)):
        return wrap(Tensor, x, backends.numpy, record)
    return x


class At:
    """`x.at`: what comes before an index."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: Any) -> Part:
        return Part(self._tensor, index)


def _scatter(how: str) -> Callable[[Part, TensorLike], Tensor]:
    return lambda self, values: ops.scatters[how](self._tensor, self._index, values)


class Part:
    """`x.at[index]`: copies of x in which that part is changed; values broadcast to it.

    >>> import tinygrad_edu as edu
    >>> edu.tensor([1, 2, 3]).at[0].set(9)
    Tensor([9, 2, 3], dtype=int32)
    >>> edu.tensor([1, 2, 3]).at[[0, 0]].add(1)
    Tensor([3, 2, 3], dtype=int32)
    """

    def __init__(self, tensor: Tensor, index: Any) -> None:
        self._tensor = tensor
        self._index = index

    set, add, multiply, min, max = map(_scatter, ("set", "add", "multiply", "min", "max"))


def _is_numeric(x: object) -> bool:
    return isinstance(x, (Operators, np.ndarray, np.generic, bool, int, float, list, tuple))


def _rebuild(kind: type[Tensor], array: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    made = conversion.tensor(array, device=device, requires_grad=requires_grad)
    return wrap(kind, made._data, made._device, made._record)


# Needed when a Tensor is used; these modules need Tensor when they are imported.
from . import conversion, interop, ops, tape, walk  # noqa: E402
from .dispatch import binary  # noqa: E402
