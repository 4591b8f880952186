"""Layer: state, and what is computed with it.

A layer makes its weights when it first sees an input (`build`), computes with them (`call`), and
finds the layers and weights below it by looking at its own attributes. Whatever is to know of a
call (training, precision, losses) is passed down by a context variable, so that `call` takes only
what it needs. Knows nothing of tapes, graphs or devices.
"""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import conversion, dtypes, lines, ops, registry, symbolic, traces, tree
from ..dtypes import DType, DTypeLike
from ..errors import ArgumentError, DtypeError, ShapeError, TracingError, undefined
from ..registry import snake_case
from ..tensors import Operators, Tensor
from ..variable import Variable

Shape: TypeAlias = tuple[int | None, ...]
"""A shape as layers are built for: None where any size will do."""


class DTypePolicy(registry.Configured):
    """In which dtype a layer keeps its variables and in which it computes.

    `name` is a dtype, which is both; or "mixed_float16" or "mixed_bfloat16", where variables are
    float32 and the computation is in half precision.

    >>> policy = DTypePolicy("mixed_float16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'float16')
    """

    def __init__(self, name: str) -> None:
        half = name.removeprefix("mixed_")
        if half != name and half not in ("float16", "bfloat16"):
            raise ArgumentError(
                f"dtype policy: no {name!r}; there are 'mixed_float16', 'mixed_bfloat16' and the "
                "dtypes, such as 'float32'"
            )
        self.name = name
        self.compute = dtypes.as_dtype(half)
        self.variable = self.compute if half == name else dtypes.float32

    @property
    def compute_dtype(self) -> str:
        return self.compute.name

    @property
    def variable_dtype(self) -> str:
        return self.variable.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


_policy = DTypePolicy("float32")


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are made without `dtype=`."""
    return _policy


def set_dtype_policy(policy: DTypeLike | DTypePolicy) -> None:
    """Have layers that are made from now on without `dtype=` follow this policy.

    Raises ArgumentError for an unknown policy, DtypeError for an unknown dtype.

    >>> set_dtype_policy("mixed_float16")
    >>> dtype_policy().compute_dtype
    'float16'
    >>> set_dtype_policy("float32")
    """
    global _policy
    _policy = _as_policy(policy)


def _as_policy(given: Any) -> DTypePolicy:
    if given is None:
        return _policy
    if isinstance(given, DTypePolicy):
        return given
    return DTypePolicy(given if isinstance(given, str) else dtypes.as_dtype(given).name)


class InputSpec:
    """What a layer takes: how many axes (`ndim`, or `min_ndim` and `max_ndim`), and the sizes of
    some of them. A layer that sets `self.input_spec` has its inputs checked; one that takes several
    sets a list.

    >>> InputSpec(min_ndim=2, axes={-1: 4})
    InputSpec(min_ndim=2, axes={-1: 4})
    """

    def __init__(
        self,
        ndim: int | None = None,
        min_ndim: int | None = None,
        max_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
    ) -> None:
        self.ndim = ndim
        self.min_ndim = min_ndim
        self.max_ndim = max_ndim
        self.axes = dict(axes or {})

    def problem(self, shape: Sequence[int]) -> str | None:
        """What is wrong with inputs of this shape, None if nothing is."""
        ndim = len(shape)
        for bound, text, fits in (
            (self.ndim, "", self.ndim == ndim),
            (self.min_ndim, "at least ", (self.min_ndim or 0) <= ndim),
            (self.max_ndim, "at most ", (self.max_ndim or ndim) >= ndim),
        ):
            if bound is not None and not fits:
                return f"takes inputs of {text}{bound} axes, and this has {ndim}"
        for axis, size in self.axes.items():
            if size is not None and -ndim <= axis < ndim and shape[axis] not in (size, None):
                return f"takes inputs with {size} in axis {axis}, and this has {shape[axis]}"
        return None

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in vars(self).items() if value]
        return f"InputSpec({', '.join(given)})"


# What is known during a call


class _Call(NamedTuple):
    """The call of a layer that is going on, as the calls inside of it inherit it."""

    number: int  # of the outermost
    training: bool | None
    precision: DType | None  # in which Variables of layers in mixed precision are read


_call: ContextVar[_Call | None] = traces.layer_call
_numbers = itertools.count(1)


class MixedVariable(Variable):
    """A Variable of a layer in mixed precision: in its `call` it is read in half precision."""

    __slots__ = ()

    @property
    def value(self) -> Tensor:
        held = super().value
        call = _call.get()
        if call is None or call.precision is None or call.precision is held.dtype:
            return held
        return ops.astype(held, call.precision)

    def assign(self, value: Any) -> Variable:
        with _full_precision():
            return super().assign(value)

    def assign_add(self, delta: Any) -> Variable:
        with _full_precision():
            return super().assign_add(delta)

    def assign_sub(self, delta: Any) -> Variable:
        with _full_precision():
            return super().assign_sub(delta)

    def _replace(self, data: Any, how: str) -> Variable:
        if data.dtype != self._tensor.dtype:
            raise DtypeError(
                f"{how}: a part of a weight in mixed precision cannot be assigned during a call: "
                "make it with add_weight(..., autocast=False)"
            )
        return super()._replace(data, how)


class RandomState(Variable):
    """Where the random numbers of a layer stand: kept in files, and no weight."""

    __slots__ = ()


@contextmanager
def _full_precision() -> Iterator[None]:
    call = _call.get()
    token = _call.set(None if call is None else call._replace(precision=None))
    try:
        yield
    finally:
        _call.reset(token)


# Masks belong to the Tensors that layers return, for as long as these are there.
_masks: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}


def mask_of(x: Any) -> Tensor | None:
    """The mask that a layer has left on a Tensor: boolean, False where there is nothing."""
    found = _masks.get(id(x))
    return None if found is None else found[1]


def set_mask(x: Tensor, mask: Tensor | None) -> None:
    """Leave a mask on a Tensor, or take it off, for the layers that it goes through."""
    number = id(x)
    if mask is None:
        _masks.pop(number, None)
    else:
        _masks[number] = (weakref.ref(x, lambda _: _masks.pop(number, None)), mask)


class _Signature(NamedTuple):
    """What `call` takes."""

    names: tuple[str, ...]  # of what can be given by position
    required: tuple[str, ...]
    alone: bool  # whether one argument is enough
    training: bool
    default: Any  # of training
    masks: tuple[str, ...]


@functools.cache
def _signature(kind: type[Layer]) -> _Signature:
    parameters = list(inspect.signature(kind.call).parameters.values())[1:]
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = tuple(p.name for p in plain if p.kind is not p.KEYWORD_ONLY)
    required = tuple(p.name for p in plain if p.default is p.empty)
    masks = tuple(p.name for p in plain if p.name == "mask" or p.name.endswith("_mask"))
    training = [None if p.default is p.empty else p.default for p in plain if p.name == "training"]
    default = next(iter(training), None)
    return _Signature(names, required, len(required) < 2, bool(training), default, masks)


_OF_CALLS = ("_called", "_losses", "_node")
_INTERNAL = frozenset(
    {*_OF_CALLS, "_arguments", "_built_for", "_trained", "_untrained", "dtype_policy"}
)


class Layer(registry.Configured):
    """State and a forward pass: define `call(self, inputs)`, and `build(self, input_shape)` where
    there are weights. The batch size of `input_shape` is None.

    `call` may take `training` and `mask`: they are passed where they are named, `training` from the
    layer around. Layers, Variables and metrics in attributes, also in lists and dicts, belong to
    the layer. `dtype` is a dtype or a policy (`DTypePolicy`): inputs that are floats are cast.

    >>> import tinygrad_edu as edu
    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")
    ...     def call(self, inputs):
    ...         return inputs * self.factor
    >>> layer = Scale()
    >>> layer(np.array([[1.0, 2.0]]))
    Tensor([[1., 2.]], dtype=float32)
    >>> layer.weight_paths()
    {'factor': Variable([1., 1.], dtype=float32)}
    """

    supports_masking = False
    """Whether what comes with a mask leaves with one (`compute_mask`)."""
    input_spec: Any = None
    """An InputSpec, or a list of one for each input."""
    autocast = True
    """Whether inputs that are floats are cast to `compute_dtype`."""
    built = False
    _built_for: dict[str, Any] | None = None
    _label: str | None = None

    # What the last call left; not copied, not pickled.
    _called: int | None = None
    _losses: tuple[tuple[int | None, Tensor], ...] = ()
    _node: tuple[Any, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _building(cls.build)  # type: ignore[method-assign]

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: DTypeLike | DTypePolicy = None,
    ) -> None:
        from .. import regularizers

        if name is not None and (not isinstance(name, str) or not name or "/" in name):
            raise ArgumentError(
                f"{type(self).__name__}: name={name!r}; a name is text without '/', which divides "
                "the names of layers within layers"
            )
        self._name = name
        self._trainable = bool(trainable)
        self.dtype_policy = _as_policy(dtype)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        # Weights, and their names where they were given one.
        self._trained: dict[Variable, str | None] = {}
        self._untrained: dict[Variable, str | None] = {}

    # What users define

    def build(self, input_shape: Any) -> None:
        """Make the weights, for inputs of this shape, in which the batch size is None. It is called
        before the first call. A layer of several arguments may take a shape for each, named as
        `query_shape` is for `query`."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes."""
        raise undefined(self, "call(self, inputs)")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of what the layer returns, where it supports masking: that of its inputs."""
        return previous_mask

    # Names and dtypes

    @property
    def name(self) -> str:
        """The name it was given, or its class's; with a number, where the first Sequential or
        functional model that it came into had others of that name."""
        return self._name or self._label or snake_case(type(self).__name__)

    def _named(self, taken: set[str]) -> str:
        """Its name in a model where these are taken."""
        found = self._name or unique(snake_case(type(self).__name__), taken)
        self._label = self._label or found
        return found

    @property
    def dtype(self) -> str:
        """The dtype of its variables."""
        return self.dtype_policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """The dtype that it computes in."""
        return self.dtype_policy.compute_dtype

    def _error(self, what: str, kind: type[Exception] = ArgumentError) -> Exception:
        return kind(f"{type(self).__name__} {self.name!r}: {what}")

    def __getattr__(self, name: str) -> Any:
        if name in ("_trained", "_untrained", "_name", "_trainable", "dtype_policy"):
            raise ArgumentError(
                f"{type(self).__name__}: its __init__ did not call super().__init__(): do that "
                "first in it"
            )
        return super().__getattribute__(name)  # an error that says what is missing, and where

    # Calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kind: Any = type(self)
        how = _signature(kind)
        policy = self.dtype_policy
        plain = how.alone and not kwargs and len(args) == 1 and args[0].__class__ is Tensor
        if not plain or args[0].dtype is not policy.compute:
            args, kwargs = self._converted(how, args, kwargs)
        inputs = args[0] if args else kwargs[how.names[0]] if how.names else None
        if self.input_spec is not None:
            self._check(inputs)
        if not self.built:
            self._build(how, args, kwargs)
        if symbolic.is_symbolic(inputs) if plain else _any_symbolic(args, kwargs):
            return self._symbolic(args, kwargs)
        outer = _call.get()
        training = kwargs.pop("training", None)
        by_position = len(args) > 1 and "training" in how.names[: len(args)]
        if by_position:
            training = args[how.names.index("training")]
        if training is None:
            training = how.default if outer is None or outer.training is None else outer.training
        if how.training and training is not None and not by_position:
            kwargs["training"] = training
        masked = _masks or (kwargs and kwargs.get("mask") is not None)
        previous = self._take_masks(how, args, kwargs, inputs) if masked else None
        precision = None if policy.compute is policy.variable else policy.compute
        if outer is None:
            self._called = next(_numbers)
        else:
            self._called = outer.number
            if outer.training is training and outer.precision is precision:  # nothing to pass on
                outputs = self.call(*args, **kwargs)
                return self._leave(inputs, outputs, previous)
        token = _call.set(_Call(self._called, training, precision))
        try:
            outputs = self.call(*args, **kwargs)
        finally:
            _call.reset(token)
        return self._leave(inputs, outputs, previous)

    def _leave(self, inputs: Any, outputs: Any, previous: Any) -> Any:
        """What a call does beside its result: losses and masks."""
        if self.activity_regularizer is not None:
            for x in tree.leaves(outputs):
                loss = self.activity_regularizer(x)
                self.add_loss(loss / x.shape[0] if x.ndim and x.shape[0] else loss)
        if self.supports_masking:
            if previous is not None or type(self).compute_mask is not Layer.compute_mask:
                self._leave_masks(inputs, outputs, previous)
        elif previous is not None:
            lines.warn(
                f"{type(self).__name__} {self.name!r} gets inputs with a mask and does not support "
                "masks: layers after it will not see it. Set supports_masking = True in the layer, "
                "if masks hold for what it returns",
            )
        return outputs

    def _converted(
        self, how: _Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments as `call` takes them: arrays become Tensors, floats are cast."""
        given = {*how.names[: len(args)], *kwargs}
        missing = [name for name in how.required if name not in given]
        if missing:
            raise self._error(f"is called without {', '.join(missing)}")
        if args:
            args = (self._first(args[0]), *[self._brought(x) for x in args[1:]])
        first = how.names[0] if how.names else None
        kwargs = {
            name: self._first(x) if name == first else self._brought(x)
            for name, x in kwargs.items()
        }
        return args, kwargs

    def _first(self, x: Any) -> Any:
        """The inputs: numbers and lists of them are Tensors as well."""
        if isinstance(x, (bool, int, float)) or (isinstance(x, (list, tuple)) and _numeric(x)):
            x = conversion.tensor(x)
        return self._brought(x)

    def _brought(self, x: Any) -> Any:
        """Arrays in a structure as Tensors of the dtype of the layer."""
        if isinstance(x, (list, tuple, dict)):
            return tree.map(self._brought, x)
        if isinstance(x, Operators):
            found = x.value
        elif isinstance(x, (np.ndarray, np.generic)) or hasattr(x, "__array__"):
            array = np.asarray(x)
            found = conversion.tensor(array, self._cast(conversion.to_array(array).dtype))
        else:
            return x
        dtype = self._cast(found.dtype)
        if dtype is None or symbolic.is_symbolic(found):
            return found
        cast = ops.astype(found, dtype)
        if _masks:
            set_mask(cast, mask_of(found))
        return cast

    def _cast(self, dtype: DType) -> DType | None:
        """The dtype that inputs of this one are cast to; None: they are left as they are."""
        compute = self.dtype_policy.compute
        casts = self.autocast and dtype != compute and dtypes.is_float(dtype)
        return compute if casts and dtypes.is_float(compute) else None

    def _check(self, inputs: Any) -> None:
        """Raise ShapeError for inputs that are not what `input_spec` says."""
        spec = self.input_spec
        specs = [spec] if isinstance(spec, InputSpec) else list(spec or ())
        given = tree.leaves(inputs)
        if len(given) != len(specs):
            raise self._error(f"takes {len(specs)} inputs, and got {len(given)}", ShapeError)
        for each, x in zip(specs, given, strict=True):
            shape = getattr(x, "shape", None)
            if shape is None:
                raise self._error(f"takes a Tensor, an array or numbers, not {x!r}", DtypeError)
            problem = each.problem(shape)
            if problem:
                built = ", as it was built" if self.built and self.weights else ""
                raise self._error(f"{problem}: shape {shape}{built}", ShapeError)

    def _build(self, how: _Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Build for what the layer is called with."""
        given = {**dict(zip(how.names, args, strict=False)), **kwargs}
        shapes = {name: _shapes(x) for name, x in given.items() if _has_tensors(x)}
        self._build_for(shapes)

    def _build_for(self, shapes: dict[str, Any]) -> None:
        """Build for arguments of these shapes."""
        takes = inspect.signature(self.build).parameters
        named = {f"{name}_shape": shape for name, shape in shapes.items()}
        named = {name: shape for name, shape in named.items() if name in takes}
        if len(takes) > 1 and named:
            self.build(**named)
        else:
            self.build(next(iter(shapes.values()), None))
        self._built_for = shapes

    def _remember(self, input_shape: Any) -> None:
        """What `build` was called with."""
        kind: Any = type(self)
        names = _signature(kind).names or ("inputs",)
        self._built_for = self._built_for or {names[0]: input_shape}

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that a call has built it for, by argument; None where none has."""
        return self._built_for

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for what `get_build_config` gave."""
        if not self.built:
            self._build_for(config)

    def _symbolic(self, args: Any, kwargs: Any) -> Any:
        """A call on symbolic values: a step of a model that is being put together."""
        if type(self).compute_output_shape is not Layer.compute_output_shape and not kwargs:
            shapes = self.compute_output_shape(*[_shapes(x) for x in args])
            compute = self.dtype_policy.compute
            result = with_shapes(
                shapes, lambda shape: symbolic.Spec(symbolic.sized(shape), compute)
            )
        else:
            result = self._evaluated(args, kwargs)
        outputs = symbolic.called(self, args, kwargs, result)
        self._placed(args, kwargs, outputs)
        return outputs

    def _placed(self, args: Any, kwargs: Any, outputs: Any) -> None:
        """Remember the symbolic Tensors that it was first called with, and returned."""
        if self._node is None:
            self._node = (args[0] if args else next(iter(kwargs.values())), outputs)

    def _evaluated(self, args: Any, kwargs: Any) -> Any:
        try:
            return symbolic.evaluate(self, args, kwargs)
        except TracingError as error:
            raise self._error(
                "what it returns has a shape that is not found by running it without values; "
                f"define compute_output_shape(self, input_shape) ({error})",
                TracingError,
            ) from None

    @property
    def input(self) -> Any:
        """The symbolic Tensors that it was first called with, in a model that knows its inputs."""
        return self._place()[0]

    @property
    def output(self) -> Any:
        """The symbolic Tensors that it then returned: the way to make a model that ends here."""
        return self._place()[1]

    def _place(self) -> tuple[Any, Any]:
        if self._node is None:
            raise self._error(
                "has no input and output yet: it was not called in a functional model, nor is it "
                "part of a Sequential that knows its input shape"
            )
        return self._node

    def compute_output_shape(self, *input_shape: Any) -> Any:
        """The shape (or the structure of shapes) of what the layer returns for inputs of this one,
        None standing for unknown sizes. Found by running `call` without computing."""
        layer = self if self.built else copy.deepcopy(self)
        dtype = self.dtype_policy.compute
        specs = with_shapes(list(input_shape), lambda s: symbolic.Spec(symbolic.sized(s), dtype))
        token = _sketching.set(layer is not self)
        try:
            found = layer._evaluated(tuple(specs), {})
        finally:
            _sketching.reset(token)
        return tree.map(lambda spec: symbolic.known(spec.shape), found)

    # Masks

    def _take_masks(
        self, how: _Signature, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: Any
    ) -> Any:
        """The mask of the inputs; masks that `call` takes and nobody gave are put into `kwargs`."""
        given = {**dict(zip(how.names, args, strict=False)), **kwargs}
        holders = [name for name, x in given.items() if _has_tensors(x) and name not in how.masks]
        for name in how.masks:
            owner = name.removesuffix("_mask") if name != "mask" else next(iter(holders), None)
            alone = name != "mask" or len(holders) == 1
            if (
                alone
                and given.get(name) is None
                and owner in given
                and name not in how.names[: len(args)]
            ):
                kwargs[name] = _masks_of(given[owner])
        if kwargs.get("mask") is not None:
            return kwargs["mask"]
        return _masks_of(inputs)

    def _leave_masks(self, inputs: Any, outputs: Any, previous: Any) -> None:
        leaves = tree.leaves(outputs)
        if all([mask_of(x) is not None for x in leaves]):
            return
        masks = self.compute_mask(inputs, previous)
        held = masks if isinstance(masks, (list, tuple)) else [masks]
        for x, mask in zip(leaves, held, strict=False):
            if mask is not None and isinstance(x, Tensor):
                set_mask(x, mask)

    # Weights

    def add_weight(
        self,
        shape: int | Sequence[int] | None = None,
        initializer: Any = None,
        dtype: DTypeLike = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A Variable of this layer's, with first values.

        `initializer` is "glorot_uniform" for floats and "zeros" for others by default, `dtype` the
        layer's. In mixed precision it is read in half precision during calls, unless `autocast` is
        False. Weights without a name are called as the attribute that holds them.

        Raises ArgumentError for a shape that is not known, or a name that is taken; ShapeError for
        an initializer that gives another shape.
        """
        from .. import constraints, initializers, regularizers

        kind = self.dtype_policy.variable if dtype is None else dtypes.as_dtype(dtype)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape or ())
        for size in sizes:
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
                raise self._error(
                    f"add_weight: shape {sizes} has {size!r}: the sizes of a weight are known and "
                    "whole. Take them from axes of input_shape that are not None"
                )
        if name is not None and name in (*self._trained.values(), *self._untrained.values()):
            raise self._error(f"add_weight: it has a weight {name!r} already: use another name")
        if initializer is None or _sketching.get():
            initializer = "glorot_uniform" if dtypes.is_float(kind) else "zeros"
        if _sketching.get():
            initializer = "zeros"
        mixed = autocast and self.dtype_policy.compute is not self.dtype_policy.variable
        made_as = MixedVariable if mixed and dtypes.is_float(kind) else Variable
        follows = trainable and dtypes.is_float(kind)
        with symbolic.at_once():
            value = initializers.get(initializer)(sizes, kind)
            made = made_as(value, kind, trainable=follows, name=name)
        if made.shape != sizes:
            raise self._error(
                f"add_weight: initializer gives shape {made.shape} for a weight of shape {sizes}",
                ShapeError,
            )
        made.regularizer = regularizers.get(regularizer)
        made.constraint = constraints.get(constraint)
        (self._trained if trainable else self._untrained)[made] = name
        return made

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Layers, Variables and metrics among the attributes, and what they are called."""
        for name, value in vars(self).items():
            kind: Any = type(value)
            if name not in _INTERNAL and _role(kind) is not None:
                yield from _found(name.lstrip("_"), value)

    def _layers(self) -> list[Layer]:
        """The layers right below, each once."""
        return list(dict.fromkeys([x for _, x in self._parts() if isinstance(x, Layer)]))

    def _below(self) -> Iterator[Layer]:
        """This layer and all below, each once, from the top."""
        seen: dict[Layer, None] = {self: None}
        pending: list[Layer] = [self]
        while pending:
            layer = pending.pop()
            yield layer
            new = [each for each in layer._layers() if each not in seen]
            seen.update(dict.fromkeys(new))
            pending += reversed(new)

    def _walk(
        self, prefix: str = "", trainable: bool = True, seen: set[Any] | None = None
    ) -> Iterator[tuple[str, Variable, bool]]:
        """Every weight with its path, and whether it and the layers around are trainable."""
        seen = set() if seen is None else seen
        if self in seen:
            return
        seen.add(self)
        trainable = trainable and self._trainable
        parts = list(self._parts())
        # The attribute of each; those that add_weight made, and no attribute holds, have none.
        names: dict[Variable, str] = {}
        for name, x in parts:
            if isinstance(x, Variable):
                names.setdefault(x, name)
        trained = {**self._trained, **{v: None for v in names if v.trainable}}
        own = {**trained, **self._untrained, **dict.fromkeys(names)}
        taken: set[str] = set()
        for v in own:
            given = self._trained.get(v) or self._untrained.get(v) or names.get(v, "weight")
            path = prefix + unique(given, taken)
            if v not in seen:
                seen.add(v)
                yield path, v, trainable and v.trainable
        for x, name in layer_names(parts).items():
            yield from x._walk(f"{prefix}{name}/", trainable, seen)

    def _known(self) -> list[tuple[str, Variable, bool]]:
        """All of `_walk`. Raises ArgumentError where nothing was built that is to be."""
        found = list(self._walk())
        if not found and not self.built:
            waiting = [layer.name for layer in self._below() if layer._waits()]
            if waiting:
                raise self._error(
                    f"was not built, so there are no weights of {', '.join(waiting)} yet: call it "
                    "on data, or build(input_shape)"
                )
        return found

    def _waits(self) -> bool:
        """Whether it has a `build` that was not called."""
        return not self.built and hasattr(type(self).build, "__wrapped__")

    @property
    def weights(self) -> list[Variable]:
        """Its own and those of the layers below, in the order of Keras: of each layer first the
        trainable ones. Raises ArgumentError, as everything about weights, where nothing is built
        yet."""
        return [v for _, v, _ in self._known() if not isinstance(v, RandomState)]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [v for _, v, trained in self._known() if trained]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The others: statistics, and weights of layers with `trainable = False`."""
        trained = set(self.trainable_weights)
        return [v for v in self.weights if v not in trained]

    @property
    def variables(self) -> list[Variable]:
        """The weights, and the state of random numbers and of metrics."""
        return [
            *self.weight_paths().values(),
            *[v for metric in self.metrics for v in metric.variables],
        ]

    @property
    def trainable_variables(self) -> list[Variable]:
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return self.non_trainable_weights

    @property
    def metrics(self) -> list[Any]:
        """The metrics in its attributes, and those of the layers below."""
        found = [x for layer in self._below() for _, x in layer._parts() if _measures(type(x))]
        return list({id(x): x for x in found}.values())

    def weight_paths(self) -> dict[str, Variable]:
        """Each weight by a name that is the same for each model that is made alike, such as
        "encoder/dense_1/kernel": of attributes, and in Sequential and functional models of layers.
        With the state of random numbers, which is no weight but belongs into files.
        """
        return {path: v for path, v, _ in self._known()}

    @property
    def trainable(self) -> bool:
        """Whether training changes its weights. Setting it sets it for all layers below."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._below():
            layer._trainable = bool(value)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the values of `weights`."""
        return [np.array(v.numpy()) for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign to `weights`, in their order. Raises, before any is changed, ArgumentError for
        another number of them, ShapeError for another shape."""
        known = [(path, v) for path, v, _ in self._known() if not isinstance(v, RandomState)]
        if len(weights) != len(known):
            raise self._error(f"set_weights: {len(weights)} values for {len(known)} weights")
        values = [
            conversion.tensor(np.asarray(value), v.dtype)
            for value, (_, v) in zip(weights, known, strict=True)
        ]
        for value, (path, v) in zip(values, known, strict=True):
            if value.shape != v.shape:
                raise self._error(
                    f"set_weights: {path} has shape {v.shape}, and the value {value.shape}",
                    ShapeError,
                )
        for value, (_, v) in zip(values, known, strict=True):
            v.assign(value)

    def count_params(self) -> int:
        """How many numbers its weights hold."""
        return sum([v.size for v in self.weights])

    def _sizes(self) -> tuple[list[Variable], list[Variable]]:
        """The weights that there are, trained ones and others."""
        found = [(v, t) for _, v, t in self._walk() if not isinstance(v, RandomState)]
        return [v for v, t in found if t], [v for v, t in found if not t]

    # Losses

    def add_loss(self, loss: Any) -> None:
        """Have a scalar, or a list of them, added to the loss that is trained on: inside `call`."""
        kept = [(at, x) for at, x in self._losses if at == self._called]
        self._losses = (*kept, *[(self._called, x) for x in tree.leaves(loss)])

    @property
    def losses(self) -> list[Tensor]:
        """What the last call has added by `add_loss`, here and below, and what the regularizers of
        trainable weights give now."""
        added = [
            x
            for layer in self._below()
            for at, x in layer._losses
            if at == self._called and not symbolic.is_over(x)
        ]
        trained = [v for _, v, trained in self._walk() if trained]
        return [*added, *[v.regularizer(v.value) for v in trained if v.regularizer is not None]]

    # Copies and configurations

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_CALLS}

    def get_config(self) -> dict[str, Any]:
        """The arguments that make another layer like this, as far as `__init__` takes them."""
        config = super().get_config()
        parameters = inspect.signature(type(self).__init__).parameters.values()
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        own = {"name": self._name, "trainable": self._trainable, "dtype": self.dtype_policy.name}
        names = {p.name for p in parameters}
        return config | {key: x for key, x in own.items() if takes_all or key in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """One made of what `get_config` gave, with layers of its own."""
        return super().from_config(tree.map(_fresh, dict(config)))

    def __repr__(self) -> str:
        state = "" if self.built else ", not built"
        return f"<{type(self).__name__} {self.name!r}{state}>"


# What weights are while only shapes are wanted: zeros.
_sketching: ContextVar[bool] = ContextVar("tinygrad_edu.sketching", default=False)


def _building(build: Callable[..., None]) -> Callable[..., None]:
    """A `build` that computes at once, and is done only when it came to its end."""

    @functools.wraps(build)
    def built(self: Layer, *args: Any, **kwargs: Any) -> None:
        before = {name: dict(getattr(self, name)) for name in ("_trained", "_untrained")}
        try:
            with symbolic.at_once():
                build(self, *args, **kwargs)
        except BaseException:
            vars(self).update(before)
            raise
        self.built = True
        if len(args) == 1:
            self._remember(args[0])

    return built


def _fresh(x: Any) -> Any:
    """A value of a configuration for another object: layers are made again."""
    return type(x).from_config(x.get_config()) if isinstance(x, Layer) else x


def layer_names(parts: Iterable[tuple[str, Any]]) -> dict[Layer, str]:
    """The layers among the parts of a layer, with a name of its own for each: attributes may differ
    in an underscore only, or be named as a layer that a model has beside them."""
    names: dict[Layer, str] = {}
    taken: set[str] = set()
    for name, x in parts:
        if isinstance(x, Layer) and x not in names:
            names[x] = unique(name, taken)
    return names


def _found(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Layers, Variables and metrics in an attribute, with their paths."""
    kind: Any = type(value)
    role = _role(kind)
    if role is _PART:
        yield name, value
    elif role is not None:
        for key, each in enumerate(value) if role is list else value.items():
            yield from _found(f"{name}/{key}", each)


_PART = object()


@functools.cache
def _role(kind: type) -> Any:
    """What values of a class are in an attribute: a part of the layer, a list or a dict that may
    hold some, or nothing to it."""
    if issubclass(kind, (Layer, Variable)) or _measures(kind):
        return _PART
    return list if issubclass(kind, (list, tuple)) else dict if issubclass(kind, dict) else None


def _measures(kind: Any) -> bool:
    """Whether a class is one of metrics."""
    return hasattr(kind, "update_state") and hasattr(kind, "reset_state")


def _any_symbolic(*arguments: Any) -> bool:
    return any([symbolic.is_symbolic(x) for x in tree.leaves(arguments)])


def _has_tensors(x: Any) -> bool:
    return any([isinstance(leaf, Tensor) for leaf in tree.leaves(x)])


def _masks_of(x: Any) -> Any:
    """The masks of what is in a structure; None where there is none."""
    if isinstance(x, Tensor):
        return mask_of(x)
    found = [mask_of(leaf) for leaf in tree.leaves(x)]
    if not any([mask is not None for mask in found]):
        return None
    return found if not isinstance(x, dict) else dict(zip(x, found, strict=True))


def _numeric(x: Any) -> bool:
    """Whether nested lists hold numbers, and nothing else."""
    if isinstance(x, (list, tuple)):
        return bool(x) and all(map(_numeric, x))
    return isinstance(x, (bool, int, float, np.number))


def _shapes(x: Any) -> Any:
    """The shapes in a structure of Tensors, as layers are built for."""
    return tree.map(lambda leaf: _shape(leaf), x)


def _shape(x: Any) -> Any:
    return symbolic.shape_for_build(x) if isinstance(x, Tensor) else None


def with_shapes(shapes: Any, make: Callable[[Shape], Any]) -> Any:
    """A structure of shapes with something made of each."""
    if isinstance(shapes, (list, tuple)) and all(s is None or isinstance(s, int) for s in shapes):
        return make(tuple(shapes))
    if isinstance(shapes, dict):
        return {key: with_shapes(each, make) for key, each in shapes.items()}
    return type(shapes)([with_shapes(each, make) for each in shapes])


def unique(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, with a number where it has to be: it is taken then.

    >>> taken = set()
    >>> [unique("dense", taken) for _ in range(3)]
    ['dense', 'dense_1', 'dense_2']
    """
    numbered = (f"{name}_{i}" if i else name for i in itertools.count())
    found = next(each for each in numbered if each not in taken)
    taken.add(found)
    return found
