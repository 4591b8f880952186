"""What an operation is.

It is defined once, as a class: its forward for any array module, its gradient for each argument,
its rule for shapes and dtypes, its counterparts in the reference frameworks, and the domain it is
tested on. What happens when it is applied is in `dispatch.py`. Knows no operation in particular.
"""

from __future__ import annotations

import copyreg
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import backends, dtypes
from .arguments import Shape, broadcast_shapes
from .backends import Array
from .dtypes import DType
from .errors import ArgumentError, DefinitionError, DtypeError, Error, OutOfRangeError
from .references import Domain, Example, real
from .tensors import Tensor, TensorLike

Gradient = Callable[..., "Tensor | None"]


class Aval(NamedTuple):
    """What is known of an array without its values."""

    shape: Shape
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype}({', '.join(map(str, self.shape))})"


class Op:
    """Base of every operation; an instance is called like a function.

    A definition states:

    - a docstring;
    - `forward(xp, *arrays, **params)`: the arrays of `xp` (numpy, cupy or jax.numpy) to an array,
      or to a tuple of arrays;
    - `infer(*avals, **params)`: the Aval of the result (or a tuple of them); it raises for what
      the operation cannot take. The bases below have one;
    - one of: `gradients`, a callable `(cotangent, out, *inputs, **params)` for each argument,
      written in Tensor operations (None: no gradient for this one; `_` in the place of `out`: it
      does without the result); a method `vjp`, where the arguments' gradients share work; or
      `no_gradient`, a sentence that says why there is none.

    For the reference suite it may also state `references`, the name of its counterpart in
    TensorFlow, PyTorch and JAX (or a function of the module, the arrays and the parameters),
    `domain`, one Domain an argument, `examples`, calls to test it with (a base may give shapes),
    and `kinks`, points where the gradient follows a convention.

    What is missing is a DefinitionError when the class is defined:

    >>> class Half(Op):
    ...     "Half of each element."
    ...     def forward(self, xp, x): return x / 2
    ...     def infer(self, x): return x
    Traceback (most recent call last):
      ...
    tinygrad_edu.errors.DefinitionError: Half: no gradients; state one callable for each argument, \
a vjp method, or no_gradient = "why there is none"
    """

    gradients: tuple[Gradient | None, ...] | None = None
    needs_out = True
    """Whether one of its gradients takes the result; found when the class is defined."""
    on_arrays = False
    """Whether its gradients, or its `vjp`, may be given bare NumPy arrays in place of Tensors, and
    then give such. So it is where each is a lambda of nothing but its arguments, as in
    `lambda g, _, x, y: g * y`; others with one output may state it."""
    no_gradient: str | None = None
    references: ClassVar[dict[str, Any]] = {}
    domain: Domain | tuple[Domain, ...] = real(-3, 3)
    examples: ClassVar[tuple[Example, ...]] = ()
    kinks: ClassVar[tuple[tuple[float, ...], ...]] = ()
    arity: int | None = None
    """How many arrays `forward` takes; None for any number."""
    elementwise = False
    moves = False
    """Whether it puts elements elsewhere, and computes nothing."""
    effect = False
    """Whether it does more than make its outputs. Programs keep such operations, in their order."""
    linear: ClassVar[tuple[int, ...]] = ()
    """The arguments that it is linear in, each for itself: a factor on one of them may as well be
    applied to the results."""
    axes: ClassVar[tuple[str, ...]] = ()
    """The parameters that are axes of every argument, counted from 0, where all that an operation
    does is along them: it then does the same for each example of a batch."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Op:
        made = super().__new__(cls)
        # Asked at every recording, and found faster on the instance than on the class.
        made.no_gradient, made.on_arrays = cls.no_gradient, cls.on_arrays
        return made

    def __init_subclass__(cls, abstract: bool = False) -> None:
        if not abstract:
            _check_definition(cls)

    @classmethod
    def has_forward(cls) -> bool:
        """Whether the definition says how to compute."""
        return cls.forward is not Op.forward or cls.kernel is not Op.kernel

    @cached_property
    def name(self) -> str:
        """The class's name in the small letters of a function: `LogAddExp` is `log_add_exp`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @cached_property
    def _takes(self) -> dict[Any, bool]:
        """Whether dtypes, for a class of Tensors, are the very ones that it wants: those asked of
        it so far."""
        return {}

    def __call__(self, *operands: Any, **params: Any) -> Any:
        return dispatch.apply(self, *operands, **params)

    def kernel(self, xp: Any) -> Callable[..., Any]:
        """What computes this operation on arrays of the module `xp`."""
        return partial(self.forward, xp)

    def forward(self, xp: Any, *arrays: Array, **params: Any) -> Any:
        """The result, of arrays of the module `xp`. A forward that also takes `out=None` may be
        given NumPy memory for its result, in which no argument is."""
        return self.kernel(xp)(*arrays, **params)

    def infer(self, *avals: Any, **params: Any) -> Any:
        raise NotImplementedError  # a definition without one is refused

    def operand_dtypes(
        self, given: Sequence[DType | type], kind: type[Tensor]
    ) -> Sequence[DType | None]:
        """The dtypes that `forward` takes, for operands of the `given` ones (a Python number gives
        its type). None leaves a Python number as it is. Here: all in their promoted dtype."""
        return [promoted(given, kind)] * len(given)

    def vjp(
        self, needed: Sequence[bool], cotangent: Any, out: Any, inputs: Any, params: dict[str, Any]
    ) -> Sequence[Tensor | None]:
        """The cotangent of each input that is `needed`, from that of the output. An operation with
        several outputs gets a tuple of cotangents, and of outputs."""
        raise NotImplementedError  # for definitions whose arguments' gradients share work

    def flops(
        self, inputs: Sequence[Aval], outputs: Sequence[Aval], params: Mapping[str, Any]
    ) -> int:
        """Floating-point operations of one call, the order of them. Here: one for each element of
        the largest array, none where elements only move."""
        if self.moves:
            return 0
        return max([math.prod(x.shape) for x in (*inputs, *outputs)], default=0)

    def by_rows(self, params: Mapping[str, Any]) -> bool:
        """Whether each place along the first axis of the result comes from that place along the
        first axis of every argument alone, so that a loop may take some after others. Here: where
        the definition names the parameters that are axes, and these are behind the first."""
        named = [params[name] for name in self.axes]
        axes = [a for axis in named for a in (axis if isinstance(axis, tuple) else (axis,))]
        return bool(axes) and all([a is not None and a > 0 for a in axes])

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        """The results for a batch (`vmap`), with the `size` examples along the first axis: of
        inputs that hold them there too where `mapped`, and are the same for all elsewhere. Written
        in Tensor operations. Here: along the axes after the first if the definition names the
        parameters that are axes, and else one example after another."""
        if self.axes:
            return batching.one_axis_on(self, size, inputs, mapped, params)
        return batching.one_by_one(self, size, inputs, mapped, params)

    def nothing(self, out: Tensor) -> Tensor | None:
        """What `vjp` gets as the cotangent of one of several outputs that has none: zeros."""
        return ops.zeros_like(out)

    def of(self, *operands: Any, **params: Any) -> Any:
        """It of Tensors, or of bare NumPy arrays: for gradients that take both. The first operand
        is one of these, others may be numbers."""
        if not isinstance(operands[0], Tensor):
            return backends.numpy.kernels[self](*operands, **params)
        if len(operands) == 1:
            return dispatch.unary(self, *operands, params)
        return dispatch.apply(self, *operands, **params) if params else self(*operands)

    def replay(self, *operands: Any, **params: Any) -> Any:
        """Apply it again, with what a graph holds of it."""
        return dispatch.apply(self, *operands, **params)

    def explain(self, error: Exception, operands: Sequence[Any], params: dict[str, Any]) -> Error:
        """Our error for what the array library refused: the rule's own if it has one."""
        avals = [aval(x) for x in operands]
        try:
            self.infer(*avals, **params)
        except Error as ours:
            return ours
        if isinstance(error, Error):
            return error
        kind = next(
            (ours for theirs, ours in _OURS.items() if isinstance(error, theirs)), ArgumentError
        )
        given = ", ".join(map(str, avals))
        return kind(f"{self.name}: {error} (the arguments were {given})")

    def __deepcopy__(self, memo: Any) -> Op:
        """Itself: who holds an operation may ask which one it is."""
        return self

    def __reduce__(self) -> Any:
        """By its name, where its module has one for it."""
        places = vars(sys.modules[type(self).__module__]).items()
        name = next((name for name, value in places if value is self), None)
        return name or (copyreg.__newobj__, (type(self),), vars(self))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def __str__(self) -> str:
        return self.name


_OURS: dict[type[Exception], type[Error]] = {
    IndexError: OutOfRangeError,
    TypeError: DtypeError,
    OverflowError: DtypeError,
}


def _check_definition(cls: type[Op]) -> None:
    def refuse(what: str) -> None:
        raise DefinitionError(f"{cls.__name__}: {what}")

    if not cls.__doc__ or cls.__doc__ is Op.__doc__:
        refuse("no docstring; say what it computes")
    if not cls.has_forward():
        refuse("no forward; state forward(self, xp, *arrays, **params), or a ufunc")
    if cls.infer is Op.infer:
        refuse("no infer; state the shape and dtype of the result, or derive from a base that does")
    stated = [cls.gradients is not None, cls.vjp is not Op.vjp, cls.no_gradient is not None]
    if sum(stated) > 1:
        refuse("several of gradients, vjp and no_gradient; state one")
    if not any(stated):
        refuse(
            "no gradients; state one callable for each argument, a vjp method, "
            'or no_gradient = "why there is none"'
        )
    code = cls.forward.__code__
    takes_any = code.co_flags & 0x04  # inspect.CO_VARARGS; inspect takes long to import
    if cls.arity is None and cls.forward is not Op.forward and not takes_any:
        cls.arity = code.co_argcount - 2  # without self and xp
    if cls.gradients is not None:
        cls.arity = len(cls.gradients) if cls.arity is None else cls.arity
        if len(cls.gradients) != cls.arity:
            refuse(
                f"{len(cls.gradients)} gradients for {cls.arity} arguments; None means no gradient"
            )
    if "gradients" in vars(cls) and cls.gradients is not None:
        cls.needs_out = any(map(_takes_out, cls.gradients))
        if "on_arrays" not in vars(cls):
            cls.on_arrays = all(map(_is_arithmetic, cls.gradients))


def _takes_out(rule: Gradient | None) -> bool:
    code = getattr(rule, "__code__", None)
    return rule is not None and (code is None or code.co_varnames[1:2] != ("_",))


def _is_arithmetic(rule: Gradient | None) -> bool:
    """Whether a rule is one expression of its arguments and operators: arrays have these too. A
    function with statements might change an array in place, as it cannot a Tensor."""
    code: Any = getattr(rule, "__code__", None)
    if code is None:
        return rule is None
    return code.co_name == "<lambda>" and not code.co_names and not code.co_freevars


class Elementwise(Op, abstract=True):
    """Base of the operations that compute each element from those at its place, with broadcasting.

    States `ufunc`, a name that numpy, cupy and jax.numpy share (or a `forward`), and `c`, one C
    expression of the operands {0}, {1}, ... from which a lowering makes fused kernels. `accepts`
    are the kinds of dtype it takes (of "biuf": booleans, signed and unsigned integers, floats);
    `result` is "same" as the operands', "float" (integers become float32 first) or "bool".
    """

    elementwise = True
    ufunc: str | None = None
    c: str | None = None
    accepts = "biuf"
    result = "same"

    @classmethod
    def has_forward(cls) -> bool:
        return cls.ufunc is not None or cls.forward is not Op.forward

    def kernel(self, xp: Any) -> Callable[..., Any]:
        return getattr(xp, self.ufunc) if self.ufunc else super().kernel(xp)

    def operand_dtypes(
        self, given: Sequence[DType | type], kind: type[Tensor]
    ) -> Sequence[DType | None]:
        together = promoted(given, kind)
        common = self._compute_dtype(together)
        arrays = any(isinstance(g, np.dtype) for g in given) and common == together
        # NumPy takes Python numbers as they are beside its own dtypes, not beside bfloat16. Among
        # integers they are converted here, which tells of those that do not fit.
        leave = arrays and common.isbuiltin == 1 and common.kind not in "iu"
        return [None if leave and not isinstance(g, np.dtype) else common for g in given]

    def _compute_dtype(self, common: DType) -> DType:
        if dtypes.kind(common) not in self.accepts:
            words = {"b": "bool", "i": "integer", "f": "float"}
            fitting = " or ".join(word for kind, word in words.items() if kind in self.accepts)
            raise DtypeError(f"{self.name}: takes {fitting} dtypes, not {common}")
        if self.result == "float" and not dtypes.is_float(common):
            return dtypes.float32
        return common

    def batch(
        self, size: int, inputs: Sequence[Any], mapped: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        ranks = [x.ndim - m for x, m in zip(inputs, mapped, strict=True) if isinstance(x, Tensor)]
        operands = [
            batching.aligned(x, max(ranks)) if m else x for x, m in zip(inputs, mapped, strict=True)
        ]
        return dispatch.apply(self, *operands, **params)

    def infer(self, *avals: Aval | bool | int | float) -> Aval:
        given = [x.dtype if isinstance(x, Aval) else type(x) for x in avals]
        common = self._compute_dtype(promoted(given, Tensor))
        shape = broadcast_shapes(self.name, *[x.shape for x in avals if isinstance(x, Aval)])
        return Aval(shape, dtypes.bool_ if self.result == "bool" else common)


class Unary(Elementwise, abstract=True):
    """Base of the elementwise operations of one operand."""

    arity = 1

    def __call__(self, x: TensorLike, /) -> Tensor:
        return dispatch.unary(self, x)


class Binary(Elementwise, abstract=True):
    """Base of the elementwise operations of two operands."""

    arity = 2

    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor:
        return dispatch.binary(self, x, y)


def promoted(given: Sequence[DType | type], kind: type[Tensor] = Tensor) -> DType:
    """The dtype of an operation between arrays of these dtypes, and Python numbers of these types,
    by the rules of a class of Tensors."""
    found: DType | None = None
    for dtype in given:
        if isinstance(dtype, np.dtype):
            found = dtype if found is None else kind.promote(found, dtype)
    for number in given:
        if not isinstance(number, np.dtype):
            own = dtypes.as_dtype(number)
            found = own if found is None else kind.promote_number(found, number)
    assert found is not None
    return found


def aval(x: Any) -> Any:
    """The Aval of a Tensor, or of a graph's value; Python numbers stand for themselves."""
    if isinstance(x, Tensor):
        return Aval(tuple(x._data.shape), x._data.dtype)
    return getattr(x, "aval", x)


# These modules need this one when they are imported.
from . import batching, dispatch, ops  # noqa: E402
