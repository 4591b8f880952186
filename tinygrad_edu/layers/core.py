"""Layers that look at each example by itself: dense ones, embeddings, and those that only move or
hide what they are given. Names, arguments and formulas are Keras's.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import dtypes, ops, regularizers
from ..arguments import whole
from ..errors import ArgumentError, OutOfRangeError, ShapeError
from ..tensors import Tensor
from ..variable import Variable
from . import activations, arguments
from .base import InputSpec, Layer, Shape

__all__ = [
    "ActivityRegularization",
    "Dense",
    "Embedding",
    "Flatten",
    "Identity",
    "Lambda",
    "Masking",
    "Permute",
    "RepeatVector",
    "Reshape",
]


class Dense(Layer):
    """activation(inputs @ kernel + bias), along the last axis: (..., features) to (..., units).

    Weights: kernel (features, units), bias (units). Raises ArgumentError for `units` that is no
    positive integer, and unknown names; ShapeError for inputs of other features than the first.

    >>> Dense(2, "relu", kernel_initializer="ones")([[1.0, 2.0]])
    Tensor([[3., 3.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **settings)
        self.units = whole("Dense", "units", units, 1)
        self.activation = arguments.found("Dense", "activation", activations.get, activation)
        self.use_bias = use_bias
        self._kernel = arguments.weight("Dense", "kernel", locals())
        self._bias = arguments.weight("Dense", "bias", locals())
        self.bias: Variable | None = None
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        features = arguments.known_size("Dense", input_shape, -1)
        self.kernel = self.add_weight(name="kernel", shape=(features, self.units), **self._kernel)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), **self._bias)
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Tensor) -> Any:
        found = ops.matmul(inputs, self.kernel)
        return self.activation(found if self.bias is None else found + self.bias)


class Embedding(Layer):
    """A row of a table for each integer from 0 on, below `input_dim`: shape (...) to (...,
    output_dim).

    Weight: embeddings (input_dim, output_dim). With `mask_zero`, 0 is padding, and hidden from the
    layers that come after. Raises OutOfRangeError for an integer that is no row; one below 0 counts
    from the end.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.input_dim = whole("Embedding", "input_dim", input_dim, 1)
        self.output_dim = whole("Embedding", "output_dim", output_dim, 1)
        self._table = arguments.weight("Embedding", "embeddings", locals())
        self.mask_zero = self.supports_masking = mask_zero

    def build(self, input_shape: Shape) -> None:
        shape = (self.input_dim, self.output_dim)
        self.embeddings = self.add_weight(name="embeddings", shape=shape, **self._table)

    def call(self, inputs: Tensor) -> Tensor:
        if dtypes.is_float(inputs.dtype):
            inputs = ops.astype(inputs, "int32")
        try:
            return ops.embedding(inputs, self.embeddings)
        except OutOfRangeError as error:
            raise arguments.renamed("Embedding", error) from None

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Tensor | None:
        return ops.not_equal(inputs, 0) if self.mask_zero else None


class Identity(Layer):
    """inputs as they are."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


class Flatten(Layer):
    """All axes but the first as one: (batch, ...) to (batch, features). Channels that come first
    are moved to the end."""

    def __init__(self, data_format: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.data_format = arguments.data_format("Flatten", data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Tensor) -> Tensor:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.moveaxis(inputs, 1, -1)
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))


class Reshape(Layer):
    """(batch, ...) to (batch, *target_shape), in which one -1 stands for what is left.

    Raises ShapeError where the numbers of elements differ.
    """

    def __init__(self, target_shape: Sequence[int], **settings: Any) -> None:
        super().__init__(**settings)
        if not isinstance(target_shape, (tuple, list)):
            raise ArgumentError(
                f"Reshape: target_shape is a tuple of integers, not {target_shape!r}"
            )
        given = [whole("Reshape", "target_shape", n, -1) for n in target_shape]
        if given.count(-1) > 1:
            raise ArgumentError(f"Reshape: target_shape has one -1 at most, not {target_shape!r}")
        self.target_shape = tuple(given)

    def call(self, inputs: Tensor) -> Tensor:
        batch, *sizes = inputs.shape
        count, known = math.prod(sizes), math.prod([n for n in self.target_shape if n != -1])
        left = count // known if known else 0
        target = [left if n == -1 else n for n in self.target_shape]
        if math.prod(target) != count:
            raise ShapeError(
                f"Reshape: {count} elements of an example of shape {tuple(sizes)} are not those of "
                f"target_shape {self.target_shape}"
            )
        return ops.reshape(inputs, (batch, *target))


class Permute(Layer):
    """The axes of an example in another order: `dims` counts them from 1.

    >>> Permute((2, 1))([[[1.0, 2.0], [3.0, 4.0]]]).tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """

    def __init__(self, dims: Sequence[int], **settings: Any) -> None:
        super().__init__(**settings)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(
                f"Permute: dims are an order of an example's axes, counted from 1, not {dims!r}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.permute_dims(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """(batch, features) n times: (batch, n, features)."""

    def __init__(self, n: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.n = whole("RepeatVector", "n", n, 1)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: Tensor) -> Tensor:
        batch, features = inputs.shape
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (batch, self.n, features))


class ActivityRegularization(Layer):
    """inputs as they are, which add l1 * sum(abs(inputs)) + l2 * sum(inputs**2) to the loss."""

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **settings: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **settings)

    def call(self, inputs: Any) -> Any:
        return inputs


class Masking(Layer):
    """Hides from the layers that come after each step at which all features are `mask_value`, and
    makes it 0."""

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.mask_value = mask_value

    def call(self, inputs: Tensor) -> Tensor:
        return ops.where(ops.expand_dims(self.compute_mask(inputs), -1), inputs, 0)

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Tensor:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)


class Lambda(Layer):
    """A function as a layer. It gets `arguments`, and `mask` and `training` if it names them.

    `mask` is the mask of the result, or a function (inputs, mask) of it; `output_shape` is accepted
    as in Keras, and found without. A model with one can be saved if the function is registered by
    `edu.register`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not callable(function):
            raise ArgumentError(f"Lambda: function is {function!r}; it is a function")
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.supports_masking = mask is not None
        self._names = _names_of(function)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        given = {"mask": mask, "training": training}
        passed = {name: x for name, x in given.items() if name in self._names}
        return self.function(inputs, **{**passed, **self.arguments})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask


def _names_of(function: Callable[..., Any]) -> set[str]:
    """The names of a function's parameters; none where it does not say."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()
