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
    recorded: bool,
    wanted: set[Node | None] | None = None,
) -> list[Tensor | None]:
    """The cotangent of each source, given that of each target: reverse-mode differentiation.

    `records` stand in the order in which they were made, which is gone back over, each record once.
    `wanted` are the sources and what depends on one, where that is known; else a first loop finds
    it. Unless the walk is itself `recorded`, cotangents on the NumPy device are bare arrays, which
    most rules take as well as Tensors.

    Every gradient passes through here, so this is written for speed.
    """
    asked = set(sources)
    asked.discard(None)
    if wanted is None:
        wanted = _depending_on(asked, records)
    recorded = recorded or _numpy.kernels.observed
    if recorded:
        for node, start in pending.items():
            pending[node] = around(start)
    narrow: set[Node | None] = set()  # whose cotangent may be of another shape than their value
    for made in reversed(records):
        cotangent = pending.get(made) if made in asked else pending.pop(made, None)
        if cotangent is None:
            continue
        op, operands, params = made.op, made.operands, made.params
        rules: Any = op.gradients
        bare = made.bare and cotangent.__class__ in _BARE and rules is not None
        if not bare:
            rules = _through(made, cotangent, wanted, recorded)
        elif made in narrow and not (op.elementwise and op.arity == 1):
            cotangent = _spread(cotangent, made)
        for node, x, rule in zip(made.parents, operands, rules):  # noqa: B905  checked before
            if node not in wanted or rule is None:
                continue
            if bare:
                if params:
                    gradient = rule(cotangent, made.outputs, *operands, **params)
                elif len(operands) == 2:  # without stars a call takes a third of the time
                    gradient = rule(cotangent, made.outputs, operands[0], operands[1])
                else:
                    gradient = rule(cotangent, made.outputs, *operands)
                if gradient is None:
                    continue
                shape, same = gradient.shape, gradient.dtype is x.dtype
                if shape != x.shape:
                    narrow.add(node)
                    same = same and not shape and node.__class__ is Record
                if not same:
                    gradient = _fitted(gradient, node, x)
            else:
                gradient = rule
                narrow.add(node)
            pending[node] = _sum(pending[node], gradient) if node in pending else gradient
    found: list[Tensor | None] = []
    for source in sources:
        cotangent = pending.get(source)
        if cotangent.__class__ in _BARE:
            cotangent = wrap(Tensor, cotangent, _numpy, None)
        if source.__class__ is Record and cotangent is not None:
            cotangent = ops.broadcast_to(cotangent, source.outputs.shape)
        found.append(cotangent)
    return found


_numpy = backends.numpy

_BARE = frozenset([np.ndarray, np.float32, np.float64])
"""The classes of cotangents that are bare arrays."""


def _through(
    made: Record, cotangent: Any, wanted: set[Node | None], recorded: bool
) -> Sequence[Any]:
    """The cotangents of a record's inputs where its gradients take Tensors, or are a `vjp`; None
    for those that are not wanted."""
    op, parents, params = made.op, made.parents, made.params
    if op.gradients is None:
        needed = [node in wanted for node in parents]
        if True not in needed:
            return [None] * len(parents)
        if made.bare and cotangent.__class__ in _BARE:
            inputs = made.operands
            found = op.vjp(needed, _spread(cotangent, made), made.outputs, inputs, params)
        else:
            inputs = made.inputs
            found = _of_vjp(made, needed, around(cotangent), inputs)
        if len(found) != len(parents):
            raise GradientError(
                f"{op}: its vjp gave {len(found)} cotangents for {len(parents)} arguments; None "
                "stands for no gradient"
            )
    else:
        inputs = made.inputs
        cotangent = _spread(around(cotangent), made)
        out = _output(made, cotangent) if op.needs_out else None
        found = [
            None if rule is None or node not in wanted else rule(cotangent, out, *inputs, **params)
            for rule, node in zip(op.gradients, parents, strict=True)
        ]
    fitted = [
        # There is no x where an output is picked from several.
        g if g is None or x is None else _fitted(g, node, x)
        for g, node, x in zip(found, parents, inputs, strict=True)
    ]
    return fitted if recorded else [_laid_bare(g) for g in fitted]


def _laid_bare(cotangent: Any) -> Any:
    """The array of a cotangent of which it tells everything; others as they are."""
    if cotangent.__class__ is Tensor and cotangent._device is _numpy:
        array = cotangent._data[()]
        return array if array.__class__ in _BARE else cotangent
    return cotangent


def _spread(cotangent: Any, made: Record) -> Any:
    """A record's cotangent in the shape of its value, unless it may stay narrow: where it only
    meets values element by element, and none that needs one was broadcast."""
    shape = made.outputs.shape
    if cotangent.shape == shape:
        return cotangent
    if made.op.elementwise:
        for x, node in zip(made.operands, made.parents, strict=True):
            if node is not None and x.shape != shape:
                break
        else:
            return cotangent
    return ops.broadcast_to.of(cotangent, shape=shape)


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


def _of_vjp(
    made: Record, needed: Sequence[bool], cotangent: Any, inputs: Sequence[Any]
) -> Sequence[Tensor | None]:
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
    return op.vjp(needed, whole, outs, inputs, made.params)


def _fitted(cotangent: Any, node: Node | None, like: Any) -> Any:
    """What an operation's rule gave for an input, in the shape and dtype of its array `like`.

    Along axes on which it is constant a cotangent may stay narrower than its value, until somebody
    needs it whole: the gradient of a mean is one number, not a million equal ones.
    """
    shape = like.shape
    if cotangent.shape != shape:
        cotangent = ops.movement.sum_to(cotangent, shape)
        if node.__class__ is Leaf and cotangent.shape != shape:
            cotangent = ops.broadcast_to.of(cotangent, shape=shape)
    dtype = like.dtype
    return cotangent if cotangent.dtype is dtype else ops.astype.of(cotangent, dtype=dtype)


def _sum(x: Any, y: Any) -> Any:
    """Two cotangents of one value together: Tensors, arrays, or parts."""
    if x.__class__ is not y.__class__ and not (x.__class__ in _BARE and y.__class__ in _BARE):
        x, y = around(x), around(y)
    return x + y


def differentiable(value: Any, where: str) -> Tensor:
    """The Tensor of a Tensor or Variable. Raises DtypeError unless its dtype is a float."""
    if value.__class__ is Tensor:
        found: Tensor = value
    elif value.__class__ is Variable:
        found = read(value)
    elif isinstance(value, Operators):
        found = value.value
    else:
        raise DtypeError(
            f"{where}: a {type(value).__name__} has no place on a tape: "
            "make it a Tensor with edu.tensor, or a Variable"
        )
    dtype = found._data.dtype
    if dtype is not dtypes.float32 and not dtypes.is_float(dtype):
        raise DtypeError(
            f"{where}: no gradient flows through dtype {value.dtype} (shape {value.shape}): "
            "use a float dtype, for example x.astype('float32')"
        )
    return found


def seed(pending: dict[Node | None, Any], end: Any, cotangent: Any, where: str) -> None:
    """Add the cotangent that a walk back from a target starts from: ones unless given."""
    target = differentiable(end, where)
    node = target._record
    start: Any
    if cotangent is None:
        data, device = target._data, target._device
        start = np.ones(data.shape, data.dtype) if data.shape else _one(data.dtype)
        if start.__class__ not in _BARE or device is not _numpy or target.__class__ is not Tensor:
            start = wrap(target.__class__, device.adopt(np.asarray(start)), device, None)
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
        pending[node] = _sum(pending[node], start) if node in pending else start


@functools.lru_cache
def _one(dtype: dtypes.DType) -> Any:
    """Where nearly every walk starts."""
    return dtype.type(1)


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
            if node is None or node in seen:
                continue
            if node.tapes is tape.EVERY or number in node.tapes:
                seen.add(node)
                if node.__class__ is Leaf:
                    leaves.append(node)
                else:
                    records.append(node)  # type: ignore[arg-type]
    records.sort(key=_in_order)
    return records, leaves, seen


def backward(target: Tensor, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """`Tensor.backward`, which documents it."""
    differentiable(target, "backward")
    node = target._record
    # What is traced may be differentiated later, also what no tape follows now.
    is_traced = traces.current() is not None
    if node is not None and tape.ALWAYS not in node.tapes:
        node = None
    if isinstance(node, Record):
        records, leaves, wanted = reachable(node, tape.ALWAYS)
    elif isinstance(node, Leaf):
        records, leaves, wanted = list[Record](), [node], set[Node | None]([node])
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
    recorded = create_graph or bool(before.tapes) or is_traced
    tape.current.set(
        tape.Recording(create_graph, before.tapes, before.explicit, around=before.around)
        if recorded
        else tape.PAUSED
    )
    try:
        found = walk_back(records, pending, leaves, recorded, wanted)
        sums = []  # all of them, before the first is written: where one fails, none is
        for leaf, new in zip(leaves, found):  # noqa: B905  one for each
            held = leaf.grad if is_traced else leaf.held
            sums.append(new if held is None else held if new is None else held + new)
    finally:
        tape.current.set(before)
    for leaf, total in zip(leaves, sums):  # noqa: B905
        if is_traced:
            leaf.grad = total
        else:
            leaf.held = total
    if not (retain_graph or create_graph):
        tape.free(records, tape.ALWAYS)


# These modules need this one when they are imported.
from . import conversion, dispatch, ops  # noqa: E402
from .variable import Variable, read  # noqa: E402
