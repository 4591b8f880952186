"""Layers that bring activations to one size: mean 0 and variance 1, or length 1. Names, arguments
and formulas are Keras's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import dtypes, ops
from ..arguments import Axis, normalize_axes, not_negative, share, whole
from ..errors import ArgumentError, ShapeError
from ..tensors import Tensor
from ..variable import Variable
from . import arguments
from .base import InputSpec, Layer, Shape

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
]


class _Scaled(Layer):
    """Base of normalization that is followed by gamma and beta, one of each for each feature."""

    supports_masking = True

    def __init__(self, given: Mapping[str, Any], /, **settings: Any) -> None:
        """`given` are the arguments of the layer, by name."""
        super().__init__(**settings)
        name = type(self).__name__
        self.axis: Axis = given["axis"]
        self.epsilon = not_negative(name, "epsilon", given["epsilon"])
        self._gamma = arguments.weight(name, "gamma", given) if given["scale"] else None
        self._beta = arguments.weight(name, "beta", given) if given["center"] else None
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def build(self, input_shape: Shape) -> None:
        shape, self.input_spec = _features(self, input_shape)
        if self._gamma is not None:
            self.gamma = self.add_weight(name="gamma", shape=shape, **self._gamma)
        if self._beta is not None:
            self.beta = self.add_weight(name="beta", shape=shape, **self._beta)


def _features(layer: Any, input_shape: Shape) -> tuple[tuple[int, ...], InputSpec]:
    """The shape that inputs have along a layer's axis, or axes, and what they are to have later."""
    name, ndim = type(layer).__name__, len(input_shape)
    axes = normalize_axes(name, layer.axis, ndim)
    if 0 in axes:
        raise ArgumentError(f"{name}: axis 0 counts the examples; the features have another")
    shape = tuple([arguments.known_size(name, input_shape, a) for a in axes])
    given = layer.axis if isinstance(layer.axis, (tuple, list)) else (layer.axis,)
    if max(given) < 0:  # counted from the end: of any number of axes
        return shape, InputSpec(axes={a - ndim: n for a, n in zip(axes, shape, strict=True)})
    return shape, InputSpec(ndim=ndim, axes=dict(zip(axes, shape, strict=True)))


class BatchNormalization(_Scaled):
    """(inputs - mean) / sqrt(variance + epsilon) of each feature along `axis`, times gamma, plus
    beta.

    In training the mean and the variance are those of the batch, over all that `mask` shows; and
    the moving ones become moving * momentum + batch's * (1 - momentum). Otherwise, and while the
    layer is not trainable, it uses the moving ones. Weights: gamma, beta, moving_mean,
    moving_variance, each of shape (features,); the last two are not trained.

    Source: S. Ioffe, C. Szegedy, Batch normalization, arXiv:1502.03167.

    >>> layer = BatchNormalization(momentum=0.5)
    >>> layer([[1.0], [3.0]], training=True).numpy().round(2).tolist()
    [[-1.0], [1.0]]
    >>> layer.moving_mean
    Variable([1.], dtype=float32, name='moving_mean', trainable=False)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        name = type(self).__name__
        self.momentum = share(name, "momentum", momentum)
        self._mean = arguments.weight(name, "moving_mean", locals())
        self._variance = arguments.weight(name, "moving_variance", locals())

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        shape = tuple(self.input_spec.axes.values())
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, trainable=False, autocast=False, **self._mean
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, trainable=False, autocast=False, **self._variance
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        inputs = ops.astype(inputs, self.compute_dtype)  # they may be integers
        training = training and self.trainable
        if training and mask is None:
            found, mean, variance = ops.batch_norm(
                inputs, self.axis, self.beta, self.gamma, self.epsilon
            )
            self._follow(mean, variance)
            return found
        half = dtypes.is_half(inputs.dtype)  # too narrow for statistics
        x = ops.astype(inputs, "float32") if half else inputs
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training:
            mean, variance = self._moments(x, mask)
            self._follow(mean, variance)
        found = ops.batch_normalization(
            x, mean, variance, self.axis, self.beta, self.gamma, self.epsilon
        )
        return ops.astype(found, inputs.dtype) if half else found

    def _moments(self, x: Tensor, mask: Any) -> tuple[Tensor, Tensor]:
        """Mean and variance of each feature, of what a mask shows."""
        features = normalize_axes("BatchNormalization", self.axis, x.ndim)
        others = tuple([a for a in range(x.ndim) if a not in features])
        shown = _shown(x, mask)
        count = ops.sum(shown, axis=others, keepdims=True)

        def average(y: Tensor) -> Tensor:
            # Keras's 1e-7: where nothing is shown, the mean is 0.
            return ops.sum(y * shown, axis=others, keepdims=True) / (count + 1e-7)

        mean = average(x)
        variance = average(ops.square(x - mean))
        return ops.squeeze(mean, others), ops.squeeze(variance, others)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the moving statistics towards those of a batch."""
        for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = moving * self.momentum + found * (1 - self.momentum)
            moving.assign(ops.astype(moved, moving.dtype))


def _shown(x: Tensor, mask: Tensor) -> Tensor:
    """1 for what a mask shows of x, whose first axes it has, and 0 for the rest."""
    if mask.shape != x.shape[: mask.ndim]:
        raise ShapeError(
            f"BatchNormalization: a mask of shape {mask.shape} is not for inputs of shape {x.shape}"
        )
    after = (1,) * (x.ndim - mask.ndim)
    return ops.broadcast_to(ops.reshape(ops.astype(mask, x.dtype), (*mask.shape, *after)), x.shape)


class LayerNormalization(_Scaled):
    """(inputs - mean) / sqrt(variance + epsilon) of each example along `axis`, or several, times
    gamma, plus beta.

    Weights: gamma and beta, of the inputs' shape along these axes.

    Source: J. L. Ba et al., Layer normalization, arXiv:1607.06450.
    """

    def __init__(
        self,
        axis: Axis = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.astype(inputs, self.compute_dtype)
        return ops.layer_norm(inputs, self.gamma, self.beta, self.axis, self.epsilon)


class GroupNormalization(_Scaled):
    """The features along `axis` in equal groups of neighbours, each example normalized along all
    axes of a group, times gamma, plus beta. -1 groups are as many as features.

    Weights: gamma and beta, (features,). Raises ShapeError for groups that do not divide the
    features.

    Source: Y. Wu, K. He, Group normalization, arXiv:1803.08494.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(locals(), **settings)
        self.groups = groups if groups == -1 else whole("GroupNormalization", "groups", groups, 1)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        (features,) = self.input_spec.axes.values()
        if self.groups == -1:
            self.groups = features
        if features % self.groups:
            raise ShapeError(
                f"GroupNormalization: {self.groups} groups do not divide the {features} features "
                f"of inputs of shape {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.astype(inputs, self.compute_dtype)
        axis = normalize_axes("GroupNormalization", self.axis, inputs.ndim)[0]
        return ops.group_norm(inputs, self.groups, self.gamma, self.beta, axis, self.epsilon)


class RMSNormalization(Layer):
    """inputs / sqrt(mean of their squares + epsilon) of each example along `axis`, times scale.

    Weight: scale, of the inputs' shape along these axes.

    Source: B. Zhang, R. Sennrich, Root mean square layer normalization, arXiv:1910.07467.
    """

    def __init__(self, axis: Axis = -1, epsilon: float = 1e-6, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis
        self.epsilon = not_negative("RMSNormalization", "epsilon", epsilon)

    def build(self, input_shape: Shape) -> None:
        shape, self.input_spec = _features(self, input_shape)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.astype(inputs, self.compute_dtype)
        return ops.rms_norm(inputs, self.scale, self.axis, self.epsilon)


class UnitNormalization(Layer):
    """inputs / their length along `axis`, or several; 0 where all are 0."""

    supports_masking = True

    def __init__(self, axis: Axis = -1, **settings: Any) -> None:
        super().__init__(**settings)
        self.axis = axis

    def call(self, inputs: Tensor) -> Tensor:
        return unit(ops.astype(inputs, self.compute_dtype), self.axis)


def unit(x: Tensor, axis: Axis) -> Tensor:
    """x / its length along axes, which counts as 1e-12 where it is less."""
    least = max(1e-24, float(ops.finfo(x.dtype).smallest_normal))
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), least))
