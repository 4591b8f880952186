"""vmap: a function of one example, run for a whole batch at once.

A batch is a device. Its arrays look like those of one example and hold those of all, one after
another along a first axis; its kernels are the operations' rules for batches, which apply other
operations underneath. So everything above arrays works unchanged, tapes and gradients too, and
what is underneath may be recorded, or be a batch again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backends, conversion, dispatch, ops, traces, tree
from .backends import Array, Device
from .errors import ArgumentError, ShapeError, TracingError
from .op import Op
from .tensors import Operators, Tensor, wrap

Axes = Any
"""An axis for each leaf of some arguments: an integer, None, or a nested structure of them that is
as deep as it has to be."""


class Batched:
    """An array of a batch: one that looks like an example's. `tensor` holds all of them along its
    first axis if `mapped`, or else what is the same for all."""

    __slots__ = ("device", "dtype", "mapped", "shape", "tensor")

    def __init__(self, tensor: Tensor, mapped: bool, device: Batch) -> None:
        self.tensor = tensor
        self.mapped = mapped
        self.device = device
        self.dtype = tensor.dtype
        self.shape = tensor.shape[1:] if mapped else tensor.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class Batch(Device):
    """The device that one call of vmap runs on: `size` examples on the device `base`."""

    array_type = Batched
    problem = None

    def __init__(self, size: int, base: Device) -> None:
        self.kernels = _kernels  # shared by all: a batch with its own would hold itself alive
        self.size = size
        self._base = base.base
        self.name = base.name
        self.level = backends.next_level()

    @property
    def base(self) -> Device:
        return self._base

    def enter(self, x: Tensor, mapped: bool) -> Tensor:
        """What holds every example, or is the same for all, as a Tensor of this batch."""
        return wrap(type(x), Batched(x, mapped, self), self, None)

    def lift(self, x: Tensor) -> Tensor:
        """A Tensor from outside, the same for all examples. Tapes follow it as before."""
        return x if x._device is self else wrap(type(x), Batched(x, False, self), self, x._record)

    def leave(self, x: Tensor, mapped: bool = True) -> Tensor:
        """All examples of a Tensor of this batch, along a first axis. Without `mapped` it stays as
        it is where it is the same for all."""
        held: Batched = self.lift(x)._data
        if held.mapped or not mapped:
            return held.tensor
        return ops.broadcast_to(held.tensor, (self.size, *held.shape))

    def gather(self, cotangent: Tensor, like: Tensor) -> Tensor:
        """A cotangent of `like` for what it holds underneath: what is the same for all examples
        gets the sum of theirs."""
        every = self.leave(cotangent)
        return every if like._data.mapped else ops.sum(every, axis=0)

    def wrap(self, value: Any) -> Batched:
        return value

    def from_numpy(self, array: np.ndarray) -> Batched:
        return Batched(wrap(Tensor, self.base.from_numpy(array), self.base, None), False, self)

    def to_numpy(self, array: Array) -> np.ndarray:
        if not array.mapped:
            return array.tensor.numpy()  # which may be of a batch around, and then says so
        raise TracingError(
            f"the value of this Tensor, of shape {array.shape}, differs from example to example "
            "inside vmap, so it has no NumPy array, number or truth there: use edu.where, or "
            "edu.cond and edu.while_loop, and take values out of vmap's result"
        )

    def describe(self, array: Array) -> str:
        return f", one of {self.size} under vmap"


class _Kernels(backends.Kernels):
    """For every batch, and each operation, what computes it."""

    def __init__(self) -> None:
        """There is no one device: arrays tell which batch they are of."""

    def __missing__(self, op: Op) -> Callable[..., Any]:
        def kernel(*arrays: Any, **params: Any) -> Any:
            inputs = [a.tensor if a.__class__ is Batched else a for a in arrays]
            mapped = [a.__class__ is Batched and a.mapped for a in arrays]
            batch = next(a.device for a in arrays if a.__class__ is Batched)
            if traces.being_made:
                traces.check(batch)
            together = any(mapped)
            if together:
                found = op.batch(batch.size, inputs, mapped, params)
            else:
                found = dispatch.apply(op, *inputs, **params)
            if isinstance(found, tuple):
                return tuple([Batched(each, together, batch) for each in found])
            return Batched(found, together, batch)

        self[op] = kernel
        return kernel


_kernels = _Kernels()


def is_mapped(x: Any) -> bool:
    """Whether a value differs from example to example of a batch, so that nothing can depend on
    it but through operations."""
    if not isinstance(x, Operators):
        return False
    data = x.value._data
    return isinstance(data, Batched) and (data.mapped or is_mapped(data.tensor))


def is_traced(x: Tensor) -> bool:
    """Whether a value is not known before a program runs, under all batches."""
    while isinstance(x._data, Batched):
        x = x._data.tensor
    return x._device.level > 0


def any_example(x: Tensor) -> bool:
    """Whether a boolean holds for any example, of every batch that it differs in."""
    while isinstance(x._data, Batched):
        x = x._data.tensor
    return bool(x.any())


def vmap(function: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0) -> Callable[..., Any]:
    """A function of one example as a function of many: called once, computing all at the same time.

    `in_axes` says along which axis of each positional argument the examples lie (None: the same
    for all): one for all arguments, or a tuple with an entry for each, which may be as nested as
    the argument is. Keyword arguments have them along axis 0. `out_axes` says where they go in the
    result (None: it must be the same for all). It nests, in itself and with gradients.

    Raises ShapeError where the numbers of examples differ, ArgumentError for an axis that is not
    there, TracingError where the function asks for the value of what differs from example to
    example.

    >>> import tinygrad_edu as edu
    >>> X, w = edu.tensor([[1.0, 2.0], [3.0, 4.0]]), edu.tensor([10.0, 1.0])
    >>> vmap(edu.vecdot, in_axes=(0, None))(X, w)
    Tensor([12., 34.], dtype=float32)
    >>> vmap(edu.grad(lambda x: (x**3).sum()))(X)  # a gradient for each example
    Tensor([[ 3., 12.],
            [27., 48.]], dtype=float32)
    """
    if not callable(function):
        raise ArgumentError(f"vmap: takes a function, not {function!r}")

    @functools.wraps(function)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise ArgumentError(f"vmap: in_axes has {len(axes)} entries for {len(args)} arguments")
        leaves, structure = tree.flatten((args, kwargs))
        given = tree.spread((axes, dict.fromkeys(kwargs, 0)), (args, kwargs))
        examples = [
            leaf if axis is None else _examples(leaf, axis, i)
            for i, (leaf, axis) in enumerate(zip(leaves, given, strict=True))
        ]
        along = [x for x, axis in zip(examples, given, strict=True) if axis is not None]
        sizes = {x.shape[0] for x in along}
        if len(sizes) != 1:
            shapes = ", ".join(str(x.shape[0]) for x in along)
            raise ShapeError(
                "vmap: needs the same number of examples in every argument that has them, and got "
                + (shapes or "none: in_axes is None for all")
            )
        batch = Batch(sizes.pop(), along[0].device)
        inner = [
            x if axis is None else batch.enter(x, True)
            for x, axis in zip(examples, given, strict=True)
        ]
        inner_args, inner_kwargs = structure.unflatten(inner)
        outputs, shape = tree.flatten(function(*inner_args, **inner_kwargs))
        places = tree.spread(out_axes, shape.unflatten(outputs))
        return shape.unflatten(
            [_result(batch, x, axis) for x, axis in zip(outputs, places, strict=True)]
        )

    return mapped


def _examples(x: Any, axis: int, number: int) -> Tensor:
    """An argument's examples, along the first axis."""
    found = conversion.named("vmap", conversion.as_tensor, x)
    if not isinstance(axis, (int, np.integer)) or not -found.ndim <= axis < found.ndim:
        raise ArgumentError(
            f"vmap: there is no axis {axis!r} in a value of shape {found.shape} (number {number} "
            "of the arguments' values); in_axes=None has the same for all examples"
        )
    return ops.moveaxis(found, axis, 0) if axis % found.ndim else found


def _result(batch: Batch, x: Any, axis: int | None) -> Tensor:
    """An output for all examples."""
    found = conversion.as_tensor(x)
    if axis is not None:
        every = batch.leave(found)
        if not isinstance(axis, (int, np.integer)) or not -every.ndim <= axis < every.ndim:
            raise ArgumentError(
                f"vmap: out_axes has the examples along axis {axis!r} of a result that has shape "
                f"{found.shape} without them"
            )
        return ops.moveaxis(every, 0, axis) if axis else every
    if found._device is batch and found._data.mapped:
        raise ArgumentError("vmap: out_axes is None for a result that differs between examples")
    return batch.leave(found, mapped=False)


def aligned(x: Any, ndim: int) -> Any:
    """What holds examples of fewer dimensions than `ndim`, with axes of size 1 in between, so that
    they broadcast as they do one by one."""
    missing = ndim + 1 - x.ndim
    return ops.reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:])) if missing > 0 else x


def one_axis_on(
    op: Op, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
) -> Any:
    """An operation along axes, which in a batch come after the first."""
    if any([params[name] is None for name in op.axes]):  # along none: in order
        return one_by_one(op, size, inputs, mapped, params)
    moved = {
        name: tuple([a + 1 for a in value]) if isinstance(value, tuple) else value + 1
        for name, value in params.items()
        if name in op.axes
    }
    every = [together(x, m, size) for x, m in zip(inputs, mapped, strict=True)]
    ndim = max([x.ndim for x in every if isinstance(x, Tensor)]) - 1
    operands = [aligned(x, ndim) if isinstance(x, Tensor) else x for x in every]
    return dispatch.apply(op, *operands, **{**params, **moved})


def together(x: Any, mapped: bool, size: int) -> Any:
    """An input with all examples along its first axis, also where it is the same for all."""
    if mapped or not isinstance(x, Tensor):
        return x
    return ops.broadcast_to(x, (size, *x.shape))


def one_by_one(
    op: Op, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: Any
) -> Any:
    """An operation that has no rule for batches: applied to each example, and stacked."""
    if not size:
        raise ShapeError(f"{op}: under vmap it runs example by example, and there is none")
    rows = []
    for i in range(size):
        example = [x[i] if m else x for x, m in zip(inputs, mapped, strict=True)]
        rows.append(dispatch.apply(op, *example, **params))
    if isinstance(rows[0], tuple):
        return tuple(ops.stack(column) for column in zip(*rows, strict=True))
    return ops.stack(rows)
