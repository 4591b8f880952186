"""Functions of functions: gradients of a program, and programs with a gradient of their own.

Each is a tape opened around a call, so they nest in each other and in tapes to any order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import batching, conversion, dtypes, ops, tape, tensors, tracing, tree, walk
from .dispatch import apply, picked
from .errors import ArgumentError, GradientError, ShapeError, TracingError
from .graph import Graph
from .op import Aval, Op
from .tensors import Operators, Tensor

Argnums = int | Sequence[int]


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    `argnums` says which positional arguments to differentiate: nested structures of Tensors, NumPy
    arrays and numbers. The result has the structure of that argument, or is a tuple where `argnums`
    is one; it is zero where nothing connects. With `has_aux` the function returns a pair, and the
    result is (gradient, second of the pair).

    Raises GradientError if the function's value is not a scalar, DtypeError if it or an argument
    is not of a float dtype.

    >>> slope = grad(lambda x: x**3)
    >>> slope(2.0), grad(slope)(2.0)
    (Tensor(12., dtype=float32), Tensor(12., dtype=float32))
    """
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Like `grad`, but giving (value, gradient): the function's value comes at no further cost.

    >>> value_and_grad(lambda p: p["w"] * p["w"])({"w": 3.0})
    (Tensor(9., dtype=float32), {'w': Tensor(6., dtype=float32)})
    """
    numbers = _numbers("grad", function, argnums)

    @functools.wraps(function)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.flatten([_argument(args, number) for number in numbers])
        with tape.GradientTape() as recording:
            followed = [_followed(recording, x) for x in leaves]
            inner = list(args)
            for number, argument in zip(numbers, structure.unflatten(followed), strict=True):
                inner[number] = argument
            result = function(*inner, **kwargs)
        value, aux = _pair(result) if has_aux else (result, None)
        value = _scalar(value)
        pending: dict[Any, Any] = {}
        walk.seed(pending, value, None, "grad")
        found = recording._pulled_back(pending, [x._record for x in followed])
        gradients = structure.unflatten(_filled(found, followed))
        return (
            (value, aux) if has_aux else value,
            gradients[0] if isinstance(argnums, int) else tuple(gradients),
        )

    return value_and_gradient


def _numbers(name: str, function: Callable[..., Any], argnums: Argnums) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    if not callable(function) or not all(isinstance(number, int) for number in numbers):
        raise ArgumentError(
            f"{name}: takes a function, and as argnums an integer or several, not {function!r} and "
            f"{argnums!r}"
        )
    return numbers


def _argument(args: Sequence[Any], number: int) -> Any:
    if not -len(args) <= number < len(args):
        raise ArgumentError(
            f"grad: there is no positional argument {number}; the call has {len(args)}. Choose "
            "others with argnums, and pass them by position"
        )
    return args[number]


def _followed(recording: tape.GradientTape, x: Any) -> Tensor:
    """A value of an argument as a Tensor of its own on this tape.

    Not the Tensor itself: where the function also uses that one otherwise, it is a constant.
    """
    value = tape.differentiable(conversion.as_tensor(x), "grad")
    if value._record is None:
        leaf = tape.Leaf(recording._alone)
        return tensors.wrap(type(value), value._data, value._device, leaf)
    value = ops.identity(value)
    recording.watch(value)
    return value


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(
            f"grad: with has_aux the function returns a pair (value, aux), not {result!r}"
        )
    return result


def _scalar(value: Any) -> Tensor:
    if isinstance(value, (int, float)):
        value = conversion.as_tensor(value)
    if not isinstance(value, Operators):
        raise GradientError(
            f"grad: the function returned a {type(value).__name__}, not a scalar Tensor; for a "
            "pair (value, aux) use has_aux=True"
        )
    found = value.value
    if found._data.shape:
        raise GradientError(
            f"grad: the function returned a Tensor of shape {found.shape}, not a scalar: return a "
            "mean() or sum() of it"
        )
    return found


def vjp(
    function: Callable[..., Any], *primals: Any, has_aux: bool = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]] | tuple[Any, Callable[[Any], Any], Any]:
    """The value of a function, and its vector-Jacobian product: a function from a cotangent, of
    the value's structure, to a tuple of the cotangents of the arguments. It may be called often.

    The value may be a nested structure, of any shapes. With `has_aux` the function returns a pair,
    and its second comes last here. Raises DtypeError for an argument that is not of a float dtype.

    >>> value, pull_back = vjp(lambda x, y: x * y, 3.0, 2.0)
    >>> value, pull_back(10.0)
    (Tensor(6., dtype=float32), (Tensor(20., dtype=float32), Tensor(30., dtype=float32)))
    """
    leaves, structure = tree.flatten(primals)
    with tape.GradientTape(persistent=True) as recording:
        followed = [_followed(recording, x) for x in leaves]
        result = function(*structure.unflatten(followed))
    value, aux = _pair(result) if has_aux else (result, None)
    outputs, shape = tree.flatten(value)
    targets = [conversion.as_tensor(y) for y in outputs]
    sloped = [dtypes.is_float(y.dtype) for y in targets]

    def pull_back(cotangents: Any) -> tuple[Any, ...]:
        given, got = tree.flatten(cotangents)
        if got != shape:
            raise GradientError(
                f"vjp: a cotangent has the structure of the value, {shape.unflatten(targets)!r}, "
                f"and not of {cotangents!r}"
            )
        found = recording.gradient(
            list(itertools.compress(targets, sloped)),
            followed,
            list(itertools.compress(given, sloped)),
        )
        filled: tuple[Any, ...] = structure.unflatten(_filled(found, followed))
        return filled

    return (value, pull_back, aux) if has_aux else (value, pull_back)


def jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of a function, and its Jacobian-vector product: how fast the value changes when
    the arguments move along `tangents`, which have their structure.

    It is the vjp of the vjp: pulling back is linear in the cotangent, and the transpose of a
    transpose is the map itself. With `has_aux` the function returns a pair, and its second comes
    last here.

    Source: J. Townsend, A new trick for calculating Jacobian vector products, 2017.

    >>> jvp(lambda x, y: x * y, (3.0, 2.0), (1.0, 10.0))
    (Tensor(6., dtype=float32), Tensor(32., dtype=float32))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError("jvp: primals and tangents are tuples, with an entry an argument")
    structure = tree.flatten(tuple(primals))[1]
    directions, given = tree.flatten(tuple(tangents))
    if given != structure:
        raise ArgumentError(
            f"jvp: tangents have the structure of the arguments, {tuple(primals)!r}, and not of "
            f"{tuple(tangents)!r}"
        )
    value, pull_back, *aux = vjp(function, *primals, has_aux=has_aux)
    outputs, shape = tree.flatten(value)
    with tape.GradientTape() as linear:
        cotangents = [_generic(conversion.as_tensor(y)) for y in outputs]
        sloped = [y for y in cotangents if dtypes.is_float(y.dtype)]
        linear.watch(sloped)
        found = tree.leaves(pull_back(shape.unflatten(cotangents)))
    moved = iter(_filled(linear.gradient(found, sloped, directions), sloped))
    slopes = [
        next(moved) if dtypes.is_float(y.dtype) else ops.zeros_like(y, dtype=dtypes.float32)
        for y in cotangents
    ]
    return (value, shape.unflatten(slopes), *aux)


def _generic(y: Tensor) -> Tensor:
    """A cotangent for y in which nothing cancels: numbers between 1 and 2 without a pattern."""
    places = np.arange(y.size, dtype=np.float64).reshape(y.shape)
    golden = (np.sqrt(5) - 1) / 2
    return conversion.as_tensor(1 + places * golden % 1, dtype=y.dtype, like=y)


def _filled(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where nothing connects."""
    return [ops.zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)]


def jacobian(
    function: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """All derivatives of a function's value with respect to an argument, as a function of the same
    arguments: of shape (*value.shape, *argument.shape), in reverse mode, all rows at once.

    `argnums` as for `grad`. A value or an argument that is a nested structure gives one, the
    argument's within the value's. With `has_aux` the function returns a pair, and the result is
    (jacobian, second of the pair).

    >>> jacobian(lambda x: x**2)(np.array([1.0, 3.0]))
    Tensor([[2., 0.],
            [0., 6.]], dtype=float64)
    """
    numbers = _numbers("jacobian", function, argnums)

    @functools.wraps(function)
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        chosen = [_argument(args, number) for number in numbers]

        def of_chosen(*given: Any) -> Any:
            inner = list(args)
            for number, argument in zip(numbers, given, strict=True):
                inner[number] = argument
            return function(*inner, **kwargs)

        value, pull_back, *aux = vjp(of_chosen, *chosen, has_aux=has_aux)
        outputs, shape = tree.flatten(value)
        targets = [tape.differentiable(conversion.as_tensor(y), "jacobian") for y in outputs]
        blocks = []
        for i in range(len(targets)):
            rows = _rows(pull_back, shape, targets, i)
            blocks.append(rows[0] if isinstance(argnums, int) else rows)
        found = shape.unflatten(blocks)
        return (found, aux[0]) if has_aux else found

    return derivatives


def _rows(
    pull_back: Callable[[Any], Any], shape: tree.Structure, targets: Sequence[Tensor], i: int
) -> Any:
    """The derivatives of every element of one output, with respect to all arguments."""
    y = targets[i]

    def row(cotangent: Tensor) -> Any:
        zeros = [ops.zeros_like(other) for other in targets]
        return pull_back(shape.unflatten([*zeros[:i], cotangent, *zeros[i + 1 :]]))

    basis = ops.reshape(ops.eye(y.size, dtype=y.dtype, device=y.device), (y.size, *y.shape))
    found = batching.vmap(row)(basis)
    return tree.map(lambda g: ops.reshape(g, (*y.shape, *g.shape[1:])), found)


def hessian(function: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """All second derivatives of a scalar function with respect to an argument, of shape
    (*argument.shape, *argument.shape): the Jacobian of the gradient. `argnums` as for `grad`.

    >>> hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
    Tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float64)
    """
    return jacobian(grad(function, argnums), argnums)


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, of which a tape keeps the inputs only: what happens inside is computed
    again when the gradient is.

    It must do the same both times: a Variable that it reads must not be assigned in between. What
    it draws without keys is drawn again. Under vmap it is the function itself.

    Source: T. Chen et al., Training deep nets with sublinear memory cost, arXiv:1604.06174.

    >>> import tinygrad_edu as edu
    >>> grad(checkpoint(lambda x: edu.exp(edu.sin(x))))(0.0)
    Tensor(1., dtype=float32)
    """

    @functools.wraps(function)
    def kept(*args: Any, **kwargs: Any) -> Any:
        from . import random  # which is made of operations, and so comes after this module

        drawn = random.state()
        inside = tape.Passage()
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

        attached = _attach(function.__name__, gradient, inputs, outputs)
        for i, y in zip(chosen, attached, strict=True):
            leaves[i] = y
        return structure.unflatten(leaves)

    return kept


def _is_sloped(y: Any) -> bool:
    return isinstance(y, Operators) and dtypes.is_float(y.dtype)


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a gradient of your own.

    The function takes Tensors by position and returns (value, gradient), where the value is a
    Tensor or a tuple of them, and `gradient(*cotangents)`, one for each value, returns one
    cotangent for each argument (None: no gradient), in a tuple if there are several. Written in
    Tensor operations it can be differentiated again. Keyword arguments are passed on as they are.

    >>> @custom_gradient
    ... def clipped(x):
    ...     return x, lambda cotangent: ops.minimum(cotangent, 1.0)
    >>> grad(lambda x: 5.0 * clipped(x))(2.0)
    Tensor(1., dtype=float32)
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        inputs = [conversion.as_tensor(x) for x in args]
        result = function(*inputs, **kwargs)
        if not isinstance(result, tuple) or len(result) != 2 or not callable(result[1]):
            raise GradientError(
                f"custom_gradient: {function.__name__} must return a value and a function that "
                f"computes its gradient, not {result!r}"
            )
        value, gradient = result
        outputs = [
            conversion.as_tensor(y) for y in (value if isinstance(value, tuple) else (value,))
        ]
        found = _attach(function.__name__, gradient, inputs, outputs)
        return found if isinstance(value, tuple) else found[0]

    return wrapped


def _attach(
    name: str, gradient: Callable[..., Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The outputs as Tensors that come from the inputs by one operation with this gradient."""
    op = _Custom(name, gradient)
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


class _Custom(Op):
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
        found = conversion.as_tensor(gradient, like=x)
        if found.shape != x.shape:
            raise ShapeError(
                f"{self.name}: its gradient gave a cotangent of shape {found.shape} for argument "
                f"{i}, of shape {x.shape}"
            )
        return found
