"""Functions with a gradient of their own: `custom_gradient`, and `checkpoint`, which computes a
function again instead of keeping what it needs.

Both attach one operation to what the function computed, in the place of what happened inside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import batching, conversion, dtypes, ops, random, tape, tracing, tree
from .dispatch import apply, picked
from .errors import GradientError, ShapeError, TracingError
from .graph import Graph
from .op import Aval, Op
from .tape import Node, Record
from .tensors import Operators, Tensor


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a gradient of your own.

    The function takes Tensors by position and returns (value, gradient), where the value is a
    Tensor or a tuple of them, and `gradient(*cotangents)`, one for each value, returns one
    cotangent for each argument (None: no gradient), in a tuple if there are several. Written in
    Tensor operations it can be differentiated again. Keyword arguments are passed on as they are.
    No gradient flows to what else the function uses, such as Variables from around it.

    >>> import tinygrad_edu as edu
    >>> @edu.custom_gradient
    ... def clipped(x):
    ...     return x, lambda cotangent: edu.minimum(cotangent, 1.0)
    >>> edu.grad(lambda x: 5.0 * clipped(x))(2.0)
    Tensor(1., dtype=float32)
    """

    name = _name(function)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        inputs = [conversion.named(name, conversion.as_tensor, x) for x in args]
        result = function(*inputs, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise GradientError(
                f"custom_gradient: {name} must return a value and a function that computes its "
                f"gradient, not {result!r}"
            )
        value, gradient = result
        several = value if isinstance(value, tuple) else (value,)
        outputs = [conversion.named(name, conversion.as_tensor, y) for y in several]
        found = _attach(name, gradient, inputs, outputs)
        return found if isinstance(value, tuple) else found[0]

    return wrapped


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of which a tape keeps the inputs only: what happens inside is computed
    again when the gradient is.

    It must do the same both times: a Variable that it reads must not be assigned in between. What
    it draws without keys is drawn again. Under vmap it is the function itself.

    Source: T. Chen et al., Training deep nets with sublinear memory cost, arXiv:1604.06174.

    >>> import tinygrad_edu as edu
    >>> edu.grad(edu.checkpoint(lambda x: edu.exp(edu.sin(x))))(0.0)
    Tensor(1., dtype=float32)
    """

    @functools.wraps(function)
    def kept(*args: Any, **kwargs: Any) -> Any:
        drawn = random.state()
        inside = Passage()
        result = function(*args, **kwargs)
        leaves, structure = tree.flatten(result)
        chosen = [i for i, y in enumerate(leaves) if _is_sloped(y)]
        outputs = [leaves[i].value for i in chosen]
        inputs = inside.inputs(outputs)
        if not inputs or any(x._device.level for x in (*inputs, *outputs)):
            return result
        inside.forget()

        def gradient(*cotangents: Tensor) -> list[Tensor | None]:
            with tape.GradientTape() as again, random.replayed(drawn):
                for x in inputs:
                    tape.follow(x._record, again)
                leaves = tree.leaves(function(*args, **kwargs))
            found: list[Tensor | None] = again.gradient(
                [leaves[i] for i in chosen], inputs, list(cotangents)
            )
            return found

        attached = _attach(_name(function), gradient, inputs, outputs)
        for i, y in zip(chosen, attached, strict=True):
            leaves[i] = y
        return structure.unflatten(leaves)

    return kept


def _name(function: Callable[..., Any]) -> str:
    """What a function is called; operations and partial functions have no name of their own."""
    return getattr(function, "__name__", type(function).__name__)


def _is_sloped(y: Any) -> bool:
    return isinstance(y, Operators) and dtypes.is_float(y.dtype)


class Passage:
    """What was recorded between two moments: where it came from, and how to forget it."""

    def __init__(self) -> None:
        self._start = tape.next_sequence()
        self._marks = [(each, len(each._records)) for each in tape.current.get().everywhere().tapes]

    def inputs(self, outputs: Iterable[Tensor]) -> list[Tensor]:
        """The Tensors from before that these outputs were computed from, as far as tapes know."""
        seen: set[Node] = set()
        found: dict[Node, Tensor] = {}
        stack: list[tuple[Node | None, Tensor]] = [(y._record, y) for y in outputs]
        while stack:
            node, x = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if isinstance(node, Record) and node.sequence > self._start:
                if node.parents is not None:
                    stack.extend(zip(node.parents, node.inputs, strict=True))
            else:
                found[node] = x
        return list(found.values())

    def forget(self) -> None:
        """Take it off the open tapes."""
        for each, mark in self._marks:
            del each._records[mark:]


def _attach(
    name: str, gradient: Callable[..., Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The outputs as Tensors that come from the inputs by one operation with this gradient."""
    op = _Attached(name, gradient)
    batch = max([x._device for x in (*inputs, *outputs)], key=lambda device: device.level)
    if any(map(batching.is_traced, (*inputs, *outputs))):
        return _attach_traced(op.pulled, inputs, outputs)
    if isinstance(batch, batching.Batch):
        # Tapes outside of vmap record what is underneath: there it is one operation too.
        inputs, outputs = [batch.lift(x) for x in inputs], [batch.lift(y) for y in outputs]
        held = [x._data.tensor for x in inputs]

        def beneath(*cotangents: Tensor) -> list[Tensor | None]:
            found = op.pulled([batch.enter(g, True) for g in cotangents], inputs)
            return [
                None if g is None else batch.gather(g, like=x)
                for g, x in zip(found, inputs, strict=True)
            ]

        every = _attach(name, beneath, held, [batch.leave(y) for y in outputs])
        outputs = [batch.enter(y, True) for y in every]
    return op.record(inputs, outputs)


def _attach_traced(
    gradient: Callable[..., list[Tensor | None]],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """The same in a program, which keeps the gradient (of cotangents and inputs) as a graph: it may
    be differentiated when the values that the user's function holds on to are gone."""
    body = tracing.Nested(outputs[0]._device)
    cotangents = [body.input(y, "cotangent") for y in outputs]
    problem: Exception | None = None
    found: list[Tensor | None] = []
    try:
        found = body.run(lambda: gradient(cotangents, inputs))
        if body.changed():
            raise TracingError("custom_gradient: in a jitted function a gradient assigns no state")
    except Exception as error:  # which is for whoever asks for the gradient
        problem = error.with_traceback(None)  # which would hold on to the user's values
    values = [None if g is None else body.value(g) for g in found]
    graph = body.graph(
        [value for value in values if value is not None],
        [*body.captured, *[body.value(g) for g in cotangents]],
    )
    attached: tuple[Tensor, ...] = apply(
        custom,
        *outputs,
        *inputs,
        *body.captured.values(),
        gradient=graph,
        outputs=len(outputs),
        connected=tuple([value is not None for value in values]),
        problem=problem,
    )
    return attached


class Custom(Op):
    """Its first operands, as many as there are `outputs`, with a `gradient` of the user's: a graph
    of the last operands and the cotangents. It gives the cotangents of the operands in between, of
    those that are `connected`."""

    def operand_dtypes(
        self, given: Sequence[dtypes.DType | type], kind: type[Tensor]
    ) -> Sequence[dtypes.DType | None]:
        return [dtypes.as_dtype(dtype) for dtype in given]

    def forward(
        self,
        xp: Any,
        *arrays: Any,
        gradient: Graph,
        outputs: int,
        connected: tuple[bool, ...],
        problem: Exception | None,
    ) -> Any:
        return arrays[:outputs]

    def infer(
        self,
        *avals: Aval,
        gradient: Graph,
        outputs: int,
        connected: tuple[bool, ...],
        problem: Exception | None,
    ) -> tuple[Aval, ...]:
        return avals[:outputs]

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        if params["problem"] is not None:
            raise params["problem"]
        count, connected = params["outputs"], params["connected"]
        found = iter(params["gradient"].run(*inputs[count + len(connected) :], *cotangent))
        between = [next(found) if there else None for there in connected]
        return [*[None] * count, *between, *[None] * (len(inputs) - count - len(between))]

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> tuple[Tensor, ...]:
        count, connected = params["outputs"], params["connected"]
        last = count + len(connected)
        flags = [*mapped[last:], *[True] * count]

        def gradient(cotangents: Sequence[Tensor], _: Sequence[Tensor]) -> list[Tensor | None]:
            if params["problem"] is not None:
                raise params["problem"]
            given = [*inputs[last:], *cotangents]
            found = iter(ops.control.of_batch(params["gradient"], size, given, flags))
            every = [next(found) if there else None for there in connected]
            return [
                g if g is None or m else ops.sum(g, axis=0)
                for g, m in zip(every, mapped[count:last], strict=True)
            ]

        pairs = zip(inputs[:count], mapped, strict=False)
        outputs = [batching.together(y, m, size) for y, m in pairs]
        return _attach_traced(gradient, inputs[count:last], outputs)


custom = Custom()


class _Attached(Op):
    """An operation whose gradient is a user's function, computed once already."""

    arity = None

    def __init__(self, name: str, gradient: Callable[..., Any]) -> None:
        self.name = name
        self._gradient = gradient

    def record(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs as Tensors that come from this operation alone."""
        parents = tuple(x._record for x in inputs)
        data = tuple(y._data for y in outputs)
        node = tape.record(self, tuple(inputs), parents, {}, data)
        return picked(type(outputs[0]), outputs[0]._device, node, data)

    def forward(self, xp: Any, *arrays: Any) -> Any:
        raise GradientError(f"{self.name}: a custom gradient is recorded, not computed again")

    def infer(self, *avals: Aval) -> Aval:
        raise GradientError(f"{self.name}: a custom gradient is recorded, not computed again")

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> list[Tensor | None]:
        return self.pulled(cotangent, inputs)

    def pulled(self, cotangents: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """What the user's function gives for these cotangents, checked."""
        result = self._gradient(*cotangents)
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(found) != len(inputs):
            raise GradientError(
                f"{self.name}: its gradient returned {len(found)} cotangents for {len(inputs)} "
                "arguments; None stands for no gradient"
            )
        return [self._checked(g, x, i) for i, (g, x) in enumerate(zip(found, inputs, strict=True))]

    def _checked(self, gradient: Any, x: Tensor, i: int) -> Tensor | None:
        if gradient is None:
            return None
        found = conversion.named(self.name, conversion.as_tensor, gradient, None, x)
        if found.shape != x.shape:
            raise ShapeError(
                f"{self.name}: its gradient gave a cotangent of shape {found.shape} for argument "
                f"{i}, of shape {x.shape}"
            )
        return found
