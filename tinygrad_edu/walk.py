"""The walk back over a tape: reverse-mode differentiation.

It is one loop over the records in reverse order, asking each operation for its vector-Jacobian
product. `GradientTape.gradient`, `Tensor.backward()` and `grad` all end here.

Source: A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import backends, dtypes, tape, traces
from .backends import Device
from .errors import DtypeError, GradientError, ShapeError
from .tape import Leaf, Node, Record
from .tensors import Operators, Tensor, around, wrap


def walk_back(
    records: Sequence[Record],
    pending: dict[Node | None, Any],
    sources: Sequence[Node | None],
    wanted: set[Node | None] | None = None,
) -> list[Tensor | None]:
    """The cotangent of each source, given that of each target: reverse-mode differentiation.

    `records` stand in the order in which they were made, which is gone back over, each record once.
    `wanted` are the sources and what depends on one, where that is known; else a first loop finds
    it. Where nobody records the walk, cotangents on the NumPy device are bare arrays, which most
    rules take as well as Tensors.
    """
    asked = set(sources)
    asked.discard(None)
    if wanted is None:
        wanted = _depending_on(asked, records)
    unrecorded = tape.current.get() is tape.PAUSED and not backends.numpy.kernels.observed
    for made in reversed(records):
        cotangent = pending.get(made) if made in asked else pending.pop(made, None)
        if cotangent is None:
            continue
        op, parents, inputs, params = made.op, made.parents, made.operands, made.params
        rules: Any = op.gradients
        out: Any = made.outputs
        is_array = isinstance(cotangent, _ARRAYS)
        bare = made.bare and (is_array or (unrecorded and _is_plain(cotangent)))
        if bare:
            if not is_array:
                cotangent = cotangent._data[()]
            if cotangent.shape != out.shape and not _keeps_narrow(made):
                cotangent = ops.broadcast_to.of(cotangent, shape=out.shape)
        else:
            if is_array:
                cotangent = around(cotangent)
            inputs = made.inputs
            if rules is not None:
                if cotangent._data.shape != out.shape and not _keeps_narrow(made):
                    cotangent = ops.broadcast_to(cotangent, out.shape)
                out = _output(made, cotangent) if op.needs_out else None
        at_once = None
        if rules is None:  # a vjp gives the gradients of all inputs at once
            needed = [node in wanted for node in parents]
            if True not in needed:
                continue
            if bare:
                at_once = rules = op.vjp(needed, cotangent, out, inputs, params)
            else:
                at_once = rules = _of_vjp(made, needed, cotangent)
            if len(at_once) != len(parents):
                raise GradientError(
                    f"{op}: its vjp gave {len(at_once)} cotangents for {len(parents)} arguments; "
                    "None stands for no gradient"
                )
        for node, x, rule in zip(parents, inputs, rules):  # noqa: B905  checked at definition
            if node not in wanted or rule is None:
                continue
            if at_once is not None:
                gradient = rule
            elif not params and len(inputs) == 2:  # without stars a call takes a third of the time
                gradient = rule(cotangent, out, inputs[0], inputs[1])
            elif not params and len(inputs) == 1:
                gradient = rule(cotangent, out, x)
            else:
                gradient = rule(cotangent, out, *inputs, **params)
            if gradient is None:
                continue
            if bare:
                shape = gradient.shape
                narrow = not shape and node.__class__ is Record
                if (shape != x.shape and not narrow) or gradient.dtype is not x.dtype:
                    gradient = _fitted(gradient, node, x)
            elif x is not None:  # there is none where an output is picked from several
                given, like = gradient._data, x._data
                if given.dtype is not like.dtype or given.shape != like.shape:
                    gradient = _fitted(gradient, node, like)
            pending[node] = _sum(pending[node], gradient) if node in pending else gradient
    pending[None] = None  # where nothing connects
    return [_whole(pending.get(source), source) for source in sources]


def _depending_on(asked: set[Node | None], records: Sequence[Record]) -> set[Node | None]:
    """These nodes, and the records that were computed from one."""
    found = set(asked)
    for made in records:
        parents = made.parents
        if parents is None:
            raise _freed(made)
        if not found.isdisjoint(parents):
            found.add(made)
    return found


def _freed(made: Record) -> GradientError:
    return GradientError(
        f"the record of {made.op} ({made.where()}) was freed by an earlier backward pass: "
        "keep it there with retain_graph=True or a persistent tape"
    )


_ARRAYS = (np.ndarray, np.generic)
"""What the cotangents of a walk that nobody records may be on the NumPy device."""


def _is_plain(cotangent: Any) -> bool:
    """Whether a cotangent is a Tensor of which the array tells everything."""
    return cotangent.__class__ is Tensor and cotangent._device is backends.numpy


def _keeps_narrow(made: Record) -> bool:
    """Whether a cotangent that is constant along some axes may stay narrow there: where it only
    meets values element by element, and none that needs one was broadcast."""
    op = made.op
    if not op.elementwise or op.arity == 1:
        return op.elementwise
    shape = made.outputs.shape
    for x, node in zip(made.operands, made.parents, strict=True):
        if node is not None and x.shape != shape:
            return False
    return True


def _output(made: Record, cotangent: Tensor) -> Tensor:
    """The output of a record as a Tensor at its place on the tapes."""
    out, device = made.outputs, cotangent._device
    if out.__class__ is not device.array_type or device.level:
        device = _device(made, device)
    return wrap(cotangent.__class__, out, device, made)


def _device(made: Record, cotangent: Device) -> Device:
    """Where its outputs live, which under vmap need not be where their cotangent does."""
    devices = [x._device for x in made.inputs if isinstance(x, Tensor)]
    return max(devices, key=lambda device: device.level, default=cotangent)


def _of_vjp(made: Record, needed: Sequence[bool], cotangent: Any) -> Sequence[Tensor | None]:
    """What the operation's `vjp` gives, of Tensors."""
    op = made.op
    if not isinstance(made.outputs, tuple):
        outs: Any = _output(made, cotangent)
        whole: Any = ops.broadcast_to(cotangent, outs.shape)
    else:
        like = next(iter(cotangent.values()))
        outs = dispatch.picked(type(like), _device(made, like._device), made, made.outputs)
        whole = tuple(
            ops.broadcast_to(cotangent[i], out.shape) if i in cotangent else op.nothing(out)
            for i, out in enumerate(outs)
        )
    return op.vjp(needed, whole, outs, made.inputs, made.params)


def _fitted(cotangent: Any, node: Node | None, like: Any) -> Any:
    """What an operation's rule gave for an input, in the shape and dtype of its array `like`.

    Along axes on which it is constant a cotangent may stay narrower than its value, until somebody
    needs it whole: the gradient of a mean is one number, not a million equal ones.
    """
    given: Any = cotangent if isinstance(cotangent, _ARRAYS) else cotangent._data
    shape = like.shape
    if given.shape != shape:
        cotangent = ops.movement.sum_to(cotangent, shape)
        if node.__class__ is Leaf and cotangent.shape != shape:
            cotangent = ops.broadcast_to.of(cotangent, shape=shape)
    return cotangent if given.dtype is like.dtype else ops.astype.of(cotangent, dtype=like.dtype)


def _sum(x: Any, y: Any) -> Any:
    """Two cotangents of one value together: Tensors, arrays, or parts."""
    if x.__class__ is not y.__class__:
        x, y = around(x), around(y)
    return x + y


def _whole(cotangent: Any, source: Node | None) -> Tensor | None:
    """What was found for a source, as a Tensor of its shape."""
    if isinstance(cotangent, _ARRAYS):
        cotangent = wrap(Tensor, cotangent, backends.numpy, None)
    if source.__class__ is Record and cotangent is not None:
        cotangent = ops.broadcast_to(cotangent, source.outputs.shape)
    return cotangent


def differentiable(value: Any, where: str) -> Tensor:
    """The Tensor of a Tensor or Variable. Raises DtypeError unless its dtype is a float."""
    if isinstance(value, Tensor):
        found = value
    elif isinstance(value, Operators):
        found = value.value
    else:
        raise DtypeError(
            f"{where}: a {type(value).__name__} has no place on a tape: "
            "make it a Tensor with edu.tensor, or a Variable"
        )
    dtype = found._data.dtype
    if dtype.kind != "f" and not dtypes.is_float(dtype):
        raise DtypeError(
            f"{where}: no gradient flows through dtype {value.dtype} (shape {value.shape}): "
            "use a float dtype, for example x.astype('float32')"
        )
    return found


def seed(pending: dict[Node | None, Any], end: Any, cotangent: Any, where: str) -> None:
    """Add the cotangent that a walk back from a target starts from: ones unless given."""
    target = differentiable(end, where)
    node = target._record
    if cotangent is None:
        data, device = target._data, target._device
        one = np.ones(data.shape, data.dtype) if data.shape else _one(data.dtype)
        start = wrap(target.__class__, device.adopt(one), device, None)
    elif (
        cotangent.__class__ is target.__class__
        and cotangent._data.dtype is target._data.dtype
        and cotangent._data.shape == target._data.shape
    ):
        start = cotangent
    else:
        given = conversion.named(where, conversion.as_tensor, cotangent, None, target)
        if given.shape != target.shape:
            raise ShapeError(
                f"{where}: a cotangent of shape {given.shape} does not fit a target of shape "
                f"{target.shape}"
            )
        start = ops.astype(given, target.dtype)
    if node is not None:
        pending[node] = pending[node] + start if node in pending else start


@functools.lru_cache
def _one(dtype: dtypes.DType) -> np.ndarray:
    """Where nearly every walk starts: the 1 of a dtype."""
    one = np.ones((), dtype)
    one.flags.writeable = False
    return one.view()  # of which nobody can change that


_in_order = operator.attrgetter("sequence")


def reachable(target: Record, number: int) -> tuple[list[Record], list[Leaf], set[Node | None]]:
    """What the tape of this number holds behind `target`: records in order, leaves, and both."""
    seen: set[Node | None] = {target}
    records: list[Record] = [target]
    leaves: list[Leaf] = []
    for made in records:  # which grows
        if made.parents is None:
            raise _freed(made)
        for node in made.parents:
            if node is not None and node not in seen:
                tapes = node.tapes
                if tapes is tape.EVERY or number in tapes:
                    seen.add(node)
                    if isinstance(node, Leaf):
                        leaves.append(node)
                    else:
                        records.append(node)
    records.sort(key=_in_order)
    return records, leaves, seen


def backward(target: Tensor, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """`Tensor.backward`, which documents it."""
    differentiable(target, "backward")
    node = target._record
    # What is traced may be differentiated later, also what no tape follows now.
    is_traced = traces.current() is not None
    if isinstance(node, Leaf) and tape.ALWAYS in node.tapes:
        records, leaves, wanted = list[Record](), [node], set[Node | None]([node])
    elif isinstance(node, Record) and tape.ALWAYS in node.tapes:
        records, leaves, wanted = reachable(node, tape.ALWAYS)
    else:
        inside = (
            "; inside of jit, an argument is no such value: use a Variable there, or a tensor from "
            "outside, or a GradientTape"
        )
        raise GradientError(
            "backward: nothing was recorded, because no value that this one was computed from "
            "requires gradients: make one with edu.tensor(..., requires_grad=True), or "
            f"edu.Variable(..., requires_grad=True), outside no_grad(){inside * is_traced}"
        )
    if gradient is None and target.size != 1:
        raise GradientError(
            f"backward: a tensor of shape {target.shape} is not a scalar: call it on a mean() or "
            "sum(), or give backward(gradient) a cotangent of this shape"
        )
    pending: dict[Node | None, Any] = {}
    seed(pending, target, gradient, "backward")
    before = tape.current.get()
    tape.current.set(
        tape.Recording(create_graph, before.tapes, before.explicit, around=before.around)
        if create_graph or before.tapes or is_traced
        else tape.PAUSED
    )
    try:
        found = walk_back(records, pending, leaves, wanted)
        sums = [_added(leaf.grad, new) for leaf, new in zip(leaves, found, strict=True)]
    finally:
        tape.current.set(before)
    for leaf, total in zip(leaves, sums, strict=True):
        leaf.grad = total
    if not (retain_graph or create_graph):
        tape.free(records, tape.ALWAYS)


def _added(held: Tensor | None, new: Tensor | None) -> Tensor | None:
    """A gradient and what is added to it, where there are any."""
    return held + new if held is not None and new is not None else held if new is None else new


# These modules need this one when they are imported.
from . import conversion, dispatch, ops  # noqa: E402
