"""Losses to train with: Keras's names, defaults and values.

A function gives one loss for each sample; a class calls such a function, weighs what it gives with
sample weights and masks, and reduces it to the number that is made smaller. What the elements and
the distributions cost is computed in `ops`; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import conversion, dtypes, ops, registry
from .arguments import Axis, not_negative, positive, share
from .dtypes import DType, DTypeLike
from .errors import ArgumentError, ShapeError, meant, undefined
from .tensors import Tensor, TensorLike

__all__ = [
    "Loss",
    "LossFunctionWrapper",
    # Regression
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "CosineSimilarity",
    "Huber",
    "LogCosh",
    "Poisson",
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "cosine_similarity",
    "huber",
    "log_cosh",
    "poisson",
    # Margins
    "Hinge",
    "SquaredHinge",
    "CategoricalHinge",
    "hinge",
    "squared_hinge",
    "categorical_hinge",
    # Distributions
    "KLDivergence",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
    "kl_divergence",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
    "crossentropy",
    # Overlap
    "Dice",
    "Tversky",
    "dice",
    "tversky",
    "get",
]

EPSILON = 1e-7
"""What keeps divisors and logarithms from 0, as in Keras."""

MEAN = "sum_over_batch_size"
_REDUCTIONS = (MEAN, "mean", "mean_with_sample_weight", "sum", "none", None)


class Loss(registry.Configured):
    """A base for losses: write `call(y_true, y_pred)`, which gives a loss for each sample.

    Called with targets, predictions and, if wanted, sample weights (which belong to the first axes
    of the losses: one for each sample, or for each step of a sequence) and a mask, it gives one
    number. `reduction` says which: "sum_over_batch_size" or "mean", their mean; "sum";
    "mean_with_sample_weight", the sum divided by that of the weights; "none" leaves them. What is
    masked counts in neither.

    Computed in `dtype`; without one in that of the predictions, in float32 for halves and integers.
    Raises ArgumentError for an unknown reduction, ShapeError for weights that do not fit.

    >>> class Quadratic(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return ops.mean((y_true - y_pred) ** 4, axis=-1)
    >>> Quadratic()([[0.0], [0.0]], [[1.0], [2.0]], sample_weight=[1.0, 0.5])
    Tensor(4.5, dtype=float32)
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = MEAN, dtype: DTypeLike = None
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ArgumentError(
                f"{type(self).__name__}: no reduction {reduction!r}"
                f"{meant(reduction, [x for x in _REDUCTIONS if x])}"
            )
        self.name = name or registry.snake_case(type(self).__name__)
        self.reduction = reduction
        self.dtype = None if dtype is None else dtypes.as_dtype(dtype)

    def __call__(
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        mask: TensorLike | None = None,
    ) -> Tensor:
        """The loss of a batch; of shape () unless `reduction` is "none"."""
        y_true, y_pred = conversion.as_tensors(y_true, y_pred)
        y_pred = as_float(y_pred, self.dtype)
        if y_true.dtype.kind not in "iu":  # integers may name classes
            y_true = ops.astype(y_true, y_pred.dtype)
        losses = as_float(self.call(y_true, y_pred), self.dtype)
        left = self.left(y_true, y_pred, mask)
        weights = masked(sample_weight, left, losses, self.reduction)
        return _reduced(self.name, losses, weights, self.reduction)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each sample; `y_pred` is a float Tensor, `y_true` one of its dtype or of
        integers."""
        raise undefined(self, "call(self, y_true, y_pred)")

    def left(
        self, y_true: TensorLike, y_pred: TensorLike, mask: TensorLike | None
    ) -> TensorLike | None:
        """A mask of the losses that count, of those the given one leaves; None if all do."""
        return mask


class LossFunctionWrapper(Loss):
    """A function `fn(y_true, y_pred, **kwargs)` of one loss for each sample, as a Loss.

    >>> LossFunctionWrapper(mean_squared_error, reduction="sum")([[1.0], [2.0]], [[0.0], [0.0]])
    Tensor(5., dtype=float32)
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: DTypeLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self._fn = fn
        self._kwargs = kwargs

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self._fn(*same_rank(y_true, y_pred), **self._kwargs)


def get(given: Any) -> Loss:
    """The Loss that a name, a class, a function, an instance or a configuration stands for.

    Names are those of the classes or functions, "mse", "mae", "mape", "msle", "bce", "kld", and
    "crossentropy", which is the one that fits the targets. Raises ArgumentError for others.

    >>> get("mae")
    MeanAbsoluteError(reduction='sum_over_batch_size', name='mean_absolute_error', dtype=None)
    >>> get("dize")
    Traceback (most recent call last):
    tinygrad_edu.errors.ArgumentError: loss: no 'dize'; did you mean 'dice'?
    """
    found = registry.lookup("loss", given, _NAMES)
    return found if isinstance(found, Loss) else LossFunctionWrapper(found)


# Regression


def mean_squared_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of (y_true - y_pred) squared over the last axis.

    As everywhere here, targets have the shape of the predictions, but for a last axis of 1 that
    either may lack. Raises ShapeError for others.

    >>> mean_squared_error([[0.0, 1.0], [2.0, 2.0]], [[0.0, 3.0], [2.0, 2.0]])
    Tensor([2., 0.], dtype=float32)
    """
    return ops.mean_squared_error(*aligned("mean_squared_error", y_true, y_pred), axis=-1)


def mean_absolute_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of |y_true - y_pred| over the last axis.

    >>> mean_absolute_error([[0.0, 1.0]], [[0.0, 3.0]])
    Tensor([1.], dtype=float32)
    """
    return ops.mean_absolute_error(*aligned("mean_absolute_error", y_true, y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """100 times the mean of |y_true - y_pred| / max(|y_true|, 1e-7) over the last axis.

    >>> mean_absolute_percentage_error([[2.0, 1.0]], [[1.0, 1.0]])
    Tensor([25.], dtype=float32)
    """
    y_true, y_pred = aligned("mean_absolute_percentage_error", y_true, y_pred)
    shares = ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), EPSILON))
    return ops.mean(shares, axis=-1) * 100.0


def mean_squared_logarithmic_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of (log(1 + y_true) - log(1 + y_pred)) squared over the last axis, where what is
    below 1e-7 counts as 1e-7.

    >>> mean_squared_logarithmic_error([[0.0, 1.0]], [[0.0, 1.0]])
    Tensor([0.], dtype=float32)
    """
    y_true, y_pred = aligned("mean_squared_logarithmic_error", y_true, y_pred)
    logs = (ops.log1p(ops.maximum(x, EPSILON)) for x in (y_pred, y_true))
    return ops.mean(ops.square(ops.subtract(*logs)), axis=-1)


def cosine_similarity(y_true: TensorLike, y_pred: TensorLike, axis: int = -1) -> Tensor:
    """The negative cosine of the angle between vectors along an axis: -1 if they point the same
    way, 0 where one of them is 0.

    >>> cosine_similarity([[0.0, 1.0]], [[0.0, 3.0]])
    Tensor([-1.], dtype=float32)
    """
    return -ops.cosine_similarity(*aligned("cosine_similarity", y_true, y_pred), axis=axis)


def huber(y_true: TensorLike, y_pred: TensorLike, delta: float = 1.0) -> Tensor:
    """The mean over the last axis of half the squared error, or, where that is more than `delta`
    away, of the straight line that goes on from there.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]])
    Tensor([1.5], dtype=float32)
    """
    return ops.huber(*aligned("huber", y_true, y_pred), delta=delta, axis=-1)


def log_cosh(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of log(cosh(y_pred - y_true)) over the last axis.

    >>> log_cosh([[0.0, 2.0]], [[0.0, 2.0]])
    Tensor([0.], dtype=float32)
    """
    return ops.log_cosh(*aligned("log_cosh", y_true, y_pred), axis=-1)


def poisson(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of y_pred - y_true * log(y_pred + 1e-7) over the last axis: what counts cost that a
    Poisson distribution of mean y_pred should give, up to a constant.

    >>> poisson([[0.0, 3.0]], [[2.5, 1.0]])
    Tensor([1.7499998], dtype=float32)
    """
    y_true, y_pred = aligned("poisson", y_true, y_pred)
    return ops.mean(y_pred - y_true * ops.log(y_pred + EPSILON), axis=-1)


# Margins


def hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of max(1 - y_true * y_pred, 0) over the last axis, for targets -1 and 1, or 0 and 1.

    >>> hinge([[0.0, 1.0]], [[-2.0, 0.5]])
    Tensor([0.25], dtype=float32)
    """
    y_true, y_pred = aligned("hinge", y_true, y_pred)
    return ops.hinge(_signs(y_true), y_pred, axis=-1)


def squared_hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The mean of max(1 - y_true * y_pred, 0) squared over the last axis; targets as in `hinge`.

    >>> squared_hinge([[-1.0, 1.0]], [[-2.0, 0.0]])
    Tensor([0.5], dtype=float32)
    """
    y_true, y_pred = aligned("squared_hinge", y_true, y_pred)
    return ops.mean(ops.square(ops.relu(1.0 - _signs(y_true) * y_pred)), axis=-1)


def categorical_hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """max(1 + the largest prediction of a wrong class - that of the right one, 0) along the last
    axis, for targets of 0 and 1.

    >>> categorical_hinge([[0.0, 1.0, 0.0]], [[0.5, 1.0, 0.25]])
    Tensor([0.5], dtype=float32)
    """
    y_true, y_pred = aligned("categorical_hinge", y_true, y_pred, _SPARSE_HINT)
    right = ops.sum(y_true * y_pred, axis=-1)
    wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.relu(wrong - right + 1.0)


def _signs(y_true: Tensor) -> Tensor:
    """Targets of 0 and 1 as -1 and 1; others as they are."""
    are_bits = ops.all(ops.logical_or(y_true == 0, y_true == 1))
    return ops.where(are_bits, 2.0 * y_true - 1.0, y_true)


# Distributions


def kl_divergence(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The sum of y_true * log(y_true / y_pred) along the last axis, of probabilities, which are
    kept between 1e-7 and 1.

    >>> kl_divergence([[0.5, 0.5]], [[0.5, 0.5]])
    Tensor([0.], dtype=float32)
    """
    return ops.kl_divergence(*aligned("kl_divergence", y_true, y_pred))


def binary_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: Axis = -1,
) -> Tensor:
    """The mean of -t log(p) - (1 - t) log(1 - p) along an axis, for targets t from 0 to 1 and
    predictions p: probabilities, or logits. Label smoothing moves targets that far towards 1/2.

    >>> binary_crossentropy([[1.0, 0.0]], [[0.0, 0.0]], from_logits=True)
    Tensor([0.6931472], dtype=float32)
    """
    name = "binary_crossentropy"
    y_true, y_pred = aligned(name, y_true, y_pred)
    y_true = _smoothed(name, y_true, label_smoothing, 2)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


def binary_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: Axis = -1,
) -> Tensor:
    """`binary_crossentropy`, with what is right already counting little: each element is weighed
    with (1 - q)^gamma for the probability q that its target was given; and, with
    `apply_class_balancing`, with alpha for targets 1, with 1 - alpha for targets 0.

    Source: T. Lin and others, Focal loss for dense object detection, ICCV 2017.

    >>> binary_focal_crossentropy([[1.0]], [[0.5]])
    Tensor([0.1732868], dtype=float32)
    """
    name = "binary_focal_crossentropy"
    y_true, y_pred = aligned(name, y_true, y_pred)
    y_true = _smoothed(name, y_true, label_smoothing, 2)
    p = ops.sigmoid(y_pred) if from_logits else y_pred
    wrong = y_true * (1.0 - p) + (1.0 - y_true) * p
    losses = wrong**gamma * ops.binary_crossentropy(y_true, y_pred, from_logits)
    if apply_class_balancing:
        losses = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * losses
    return ops.mean(losses, axis=axis)


def categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """-sum(y_true * log(y_pred)) along the axis of the classes. Predictions are probabilities
    (scaled to the sum 1) or logits. Label smoothing gives that share of each target to all classes
    alike.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    Tensor([0.6931472], dtype=float32)
    """
    name = "categorical_crossentropy"
    y_true, y_pred = aligned(name, y_true, y_pred, _SPARSE_HINT)
    y_true = _smoothed(name, y_true, label_smoothing, y_true.shape[axis])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits, axis)


def categorical_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """-sum(alpha * (1 - y_pred)^gamma * y_true * log(y_pred)) along the axis of the classes; see
    `categorical_crossentropy` and `binary_focal_crossentropy`.

    >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    Tensor([0.0433217], dtype=float32)
    """
    name = "categorical_focal_crossentropy"
    y_true, y_pred = aligned(name, y_true, y_pred, _SPARSE_HINT)
    y_true = _smoothed(name, y_true, label_smoothing, y_true.shape[axis])
    p = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    p = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), EPSILON, 1.0 - EPSILON)
    return -ops.sum(alpha * (1.0 - p) ** gamma * y_true * ops.log(p), axis=axis)


def sparse_categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """`categorical_crossentropy` of targets that name the class, counted from 0. Where they name
    `ignore_class` the loss is 0.

    Targets have the shape of the predictions without the axis of the classes (or with 1 there).
    Raises OutOfRangeError for a class that is not there, ShapeError for targets that do not fit.

    >>> sparse_categorical_crossentropy([1, -1], [[0.5, 0.5], [0.5, 0.5]], ignore_class=-1)
    Tensor([0.6931472, 0.       ], dtype=float32)
    """
    y_true, y_pred = _of_classes(y_true, y_pred, axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis)
    counted = y_true != ignore_class
    y_true = ops.where(counted, y_true, 0)
    y_pred = ops.where(ops.expand_dims(counted, axis=axis), y_pred, 1.0)
    losses = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis)
    return ops.where(counted, losses, 0.0)


def crossentropy(y_true: TensorLike, y_pred: TensorLike, from_logits: bool = False) -> Tensor:
    """The cross-entropy that fits the shapes: binary, categorical or sparse categorical.

    >>> crossentropy([1], [[0.5, 0.5]]), crossentropy([[1.0]], [[0.5]])
    (Tensor([0.6931472], dtype=float32), Tensor([0.6931472], dtype=float32))
    """
    fitting = {
        "binary": binary_crossentropy,
        "categorical": categorical_crossentropy,
        "sparse_categorical": sparse_categorical_crossentropy,
    }
    return fitting[kind_of_targets(y_true, y_pred)](y_true, y_pred, from_logits)


# Overlap


def dice(y_true: TensorLike, y_pred: TensorLike, axis: Axis = None) -> Tensor:
    """1 - 2 sum(y_true * y_pred) / (sum(y_true) + sum(y_pred)) over the axes: how far two regions,
    given as numbers from 0 to 1, are from covering each other. One number without an axis.

    >>> dice([[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]])
    Tensor(0.5, dtype=float32)
    """
    y_true, y_pred = aligned("dice", y_true, y_pred)
    both = ops.sum(y_true * y_pred, axis=axis)
    return 1.0 - 2.0 * both / (ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + EPSILON)


def tversky(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axis = None,
) -> Tensor:
    """`dice` with a price for each mistake: 1 - b / (b + alpha m + beta f), where b is what both
    have, m what only the targets have, and f what only the predictions have. (So in Keras; in the
    paper alpha and beta are the other way round.)

    Source: S. Salehi and others, Tversky loss function for image segmentation using 3D fully
    convolutional deep networks, MLMI 2017.

    >>> tversky([[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]])
    Tensor(0.5, dtype=float32)
    """
    y_true, y_pred = aligned("tversky", y_true, y_pred)
    both = ops.sum(y_true * y_pred, axis=axis)
    missed = ops.sum(y_true * (1.0 - y_pred), axis=axis)
    false = ops.sum((1.0 - y_true) * y_pred, axis=axis)
    return 1.0 - both / (both + missed * alpha + false * beta + EPSILON)


# The same as classes


class MeanSquaredError(LossFunctionWrapper):
    """See `mean_squared_error`.

    >>> MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
    Tensor(0.5, dtype=float32)
    """

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str = "mean_squared_error",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """See `mean_absolute_error`."""

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str = "mean_absolute_error",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """See `mean_absolute_percentage_error`."""

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str = "mean_absolute_percentage_error",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """See `mean_squared_logarithmic_error`."""

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str = "mean_squared_logarithmic_error",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class CosineSimilarity(LossFunctionWrapper):
    """See `cosine_similarity`."""

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str = "cosine_similarity",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(cosine_similarity, **registry.arguments(locals()))


class Huber(LossFunctionWrapper):
    """See `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = MEAN,
        name: str = "huber_loss",
        dtype: DTypeLike = None,
    ) -> None:
        positive("Huber", "delta", delta)
        super().__init__(huber, **registry.arguments(locals()))


class LogCosh(LossFunctionWrapper):
    """See `log_cosh`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "log_cosh", dtype: DTypeLike = None
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)


class Poisson(LossFunctionWrapper):
    """See `poisson`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "poisson", dtype: DTypeLike = None
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)


class Hinge(LossFunctionWrapper):
    """See `hinge`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "hinge", dtype: DTypeLike = None
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(LossFunctionWrapper):
    """See `squared_hinge`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "squared_hinge", dtype: DTypeLike = None
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(LossFunctionWrapper):
    """See `categorical_hinge`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "categorical_hinge", dtype: DTypeLike = None
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)


class KLDivergence(LossFunctionWrapper):
    """See `kl_divergence`."""

    def __init__(
        self, reduction: str | None = MEAN, name: str = "kl_divergence", dtype: DTypeLike = None
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


class BinaryCrossentropy(LossFunctionWrapper):
    """See `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str | None = MEAN,
        name: str = "binary_crossentropy",
        dtype: DTypeLike = None,
    ) -> None:
        share("BinaryCrossentropy", "label_smoothing", label_smoothing)
        super().__init__(binary_crossentropy, **registry.arguments(locals()))


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """See `binary_focal_crossentropy`."""

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: Axis = -1,
        reduction: str | None = MEAN,
        name: str = "binary_focal_crossentropy",
        dtype: DTypeLike = None,
    ) -> None:
        share("BinaryFocalCrossentropy", "label_smoothing", label_smoothing)
        not_negative("BinaryFocalCrossentropy", "gamma", gamma)
        if apply_class_balancing:
            share("BinaryFocalCrossentropy", "alpha", alpha)
        super().__init__(binary_focal_crossentropy, **registry.arguments(locals()))


class CategoricalCrossentropy(LossFunctionWrapper):
    """See `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str = "categorical_crossentropy",
        dtype: DTypeLike = None,
    ) -> None:
        share("CategoricalCrossentropy", "label_smoothing", label_smoothing)
        super().__init__(categorical_crossentropy, **registry.arguments(locals()))


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """See `categorical_focal_crossentropy`."""

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str = "categorical_focal_crossentropy",
        dtype: DTypeLike = None,
    ) -> None:
        share("CategoricalFocalCrossentropy", "label_smoothing", label_smoothing)
        not_negative("CategoricalFocalCrossentropy", "gamma", gamma)
        super().__init__(categorical_focal_crossentropy, **registry.arguments(locals()))


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """See `sparse_categorical_crossentropy`. A mean is over what is not of `ignore_class`.

    >>> loss = SparseCategoricalCrossentropy(ignore_class=-1)
    >>> loss([1, -1], [[0.5, 0.5], [0.5, 0.5]])
    Tensor(0.6931472, dtype=float32)
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = MEAN,
        axis: int = -1,
        name: str = "sparse_categorical_crossentropy",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(sparse_categorical_crossentropy, **registry.arguments(locals()))
        self.ignore_class, self.axis = ignore_class, axis

    def left(
        self, y_true: TensorLike, y_pred: TensorLike, mask: TensorLike | None
    ) -> TensorLike | None:
        if self.ignore_class is None:
            return mask
        counted = _of_classes(y_true, y_pred, self.axis)[0] != self.ignore_class
        return counted if mask is None else ops.logical_and(like(counted, mask), counted)


class Dice(LossFunctionWrapper):
    """See `dice`."""

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str = "dice",
        axis: Axis = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(dice, **registry.arguments(locals()))


class Tversky(LossFunctionWrapper):
    """See `tversky`."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = MEAN,
        name: str = "tversky",
        axis: Axis = None,
        dtype: DTypeLike = None,
    ) -> None:
        not_negative("Tversky", "alpha", alpha)
        not_negative("Tversky", "beta", beta)
        super().__init__(tversky, **registry.arguments(locals()))


_NAMES = registry.named(
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    CosineSimilarity,
    Huber,
    LogCosh,
    Poisson,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    KLDivergence,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
    Dice,
    Tversky,
    mse=MeanSquaredError,
    mae=MeanAbsoluteError,
    mape=MeanAbsolutePercentageError,
    msle=MeanSquaredLogarithmicError,
    bce=BinaryCrossentropy,
    kld=KLDivergence,
    crossentropy=crossentropy,
    ce=crossentropy,
)


# Targets beside predictions


def kind_of_targets(y_true: TensorLike, y_pred: TensorLike) -> str:
    """What the shapes say that targets are: "binary" (one prediction for each),
    "sparse_categorical" (the number of a class) or "categorical" (a number for each class)."""
    true, predicted = conversion.as_tensor(y_true).shape, conversion.as_tensor(y_pred).shape
    if len(predicted) < 2 or predicted[-1] == 1:
        return "binary"
    if len(true) < len(predicted) or true[-1] == 1:
        return "sparse_categorical"
    return "categorical"


def same_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many axes, where one of them has a last axis of 1 more: the other gets it too if
    it has one axis, otherwise it is dropped. Anything else is left alone, as in Keras."""
    if x.ndim == y.ndim + 1 and x.shape[-1] == 1:
        return (x, ops.expand_dims(y, axis=-1)) if y.ndim == 1 else (ops.squeeze(x, axis=-1), y)
    if y.ndim == x.ndim + 1 and y.shape[-1] == 1:
        y, x = same_rank(y, x)
    return x, y


_SPARSE_HINT = "; for targets that name classes there is sparse_categorical_crossentropy"


def aligned(
    name: str, y_true: TensorLike, y_pred: TensorLike, hint: str = ""
) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype and one shape. Raises ShapeError, which ends with the hint where
    targets have an axis less."""
    y_true, y_pred = conversion.as_tensors(y_true, y_pred)
    y_pred = as_float(y_pred)
    y_true, y_pred = same_rank(ops.astype(y_true, y_pred.dtype), y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{name}: targets of shape {y_true.shape} and predictions of shape {y_pred.shape} must "
            f"have the same shape{hint if y_true.ndim < y_pred.ndim else ''}"
        )
    return y_true, y_pred


def _of_classes(y_true: TensorLike, y_pred: TensorLike, axis: int) -> tuple[Tensor, Tensor]:
    """Targets that name classes, as signed integers without an axis of classes, and predictions."""
    y_true, y_pred = conversion.as_tensors(y_true, y_pred)
    if y_true.ndim == y_pred.ndim:
        if y_true.shape[axis] != 1:
            raise ShapeError(
                f"sparse_categorical_crossentropy: targets of shape {y_true.shape} do not name one "
                f"class each for predictions of shape {y_pred.shape}; for a number for each class "
                "there is categorical_crossentropy"
            )
        y_true = ops.squeeze(y_true, axis=axis)
    return y_true if y_true.dtype.kind == "i" else ops.astype(y_true, int), as_float(y_pred)


def as_float(x: TensorLike, dtype: DType | None = None) -> Tensor:
    """In this dtype; without one as it is, or in float32 if it is neither float32 nor float64."""
    x = conversion.as_tensor(x)
    if dtype is None:
        dtype = x.dtype if x.dtype in (dtypes.float32, dtypes.float64) else dtypes.float32
    return ops.astype(x, dtype)


def _smoothed(name: str, y_true: Tensor, amount: float, classes: int) -> Tensor:
    share(name, "label_smoothing", amount)
    return y_true * (1.0 - amount) + amount / classes if amount else y_true


# Weighing and reducing


def masked(
    sample_weight: TensorLike | None,
    mask: TensorLike | None,
    values: Tensor,
    reduction: str | None = "sum",
) -> Tensor | None:
    """Sample weights in the dtype of the values, and 0 where the mask is false; None if there are
    neither. For a mean the others grow, so that it is one over what the mask leaves."""
    weights = None if sample_weight is None else like(values, sample_weight)
    if mask is None:
        return weights
    left = like(values, like(values, mask, dtypes.bool_))
    if reduction in (MEAN, "mean"):
        left = left * ratio(float(left.size), ops.sum(left))
    if weights is None:
        return left
    left, weights = same_rank(left, weights)
    return _leading(left, weights.ndim) * _leading(weights, left.ndim)


def like(values: Tensor, given: TensorLike, dtype: DType | None = None) -> Tensor:
    """In the dtype of the values, or another, and where they are."""
    return conversion.as_tensor(given, dtype or values.dtype, like=values)


def weighed(name: str, values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Values times weights, which belong to their first axes, and these weights with as many axes.
    Raises ShapeError where they do not fit."""
    values, weights = same_rank(values, weights)
    weights = _leading(weights, values.ndim)
    # A loss that is one number for all gets the mean weight.
    sizes = zip(weights.shape, values.shape or weights.shape, strict=False)
    if weights.ndim > max(values.ndim, 1) or any(w not in (1, v) for w, v in sizes):
        raise ShapeError(
            f"{name}: sample_weight of shape {weights.shape} does not fit losses of shape "
            f"{values.shape}: give one weight for each sample"
        )
    return values * weights, weights


def _leading(weights: Tensor, ndim: int) -> Tensor:
    """Weights of the first of `ndim` axes."""
    missing = ndim - weights.ndim
    return ops.reshape(weights, weights.shape + (1,) * missing) if missing > 0 else weights


def _reduced(name: str, losses: Tensor, weights: Tensor | None, reduction: str | None) -> Tensor:
    if weights is not None:
        losses, weights = weighed(name, losses, weights)
    if reduction in (None, "none") or not losses.ndim:
        return losses
    if reduction == "mean_with_sample_weight" and weights is not None:
        return ratio(ops.sum(losses), ops.sum(weights))
    if reduction == "sum" or not losses.size:
        return ops.sum(losses)
    return ops.mean(losses)


def ratio(x: TensorLike, y: Tensor) -> Tensor:
    """x / y, 0 where y is 0."""
    nothing = y == 0
    return ops.where(nothing, 0.0, x / ops.where(nothing, 1.0, y))
