"""Metrics: what is measured over many batches. Names, defaults and values are Keras's.

A metric keeps its sums in Variables: `update_state` adds a batch, `result` is the value over all
batches since `reset_state`. All three work inside of `edu.jit`. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from . import conversion, dtypes, losses, ops, registry, tree
from .arguments import number, positive, share, whole
from .dtypes import DTypeLike
from .errors import ArgumentError, ShapeError
from .losses import EPSILON, aligned, like, ratio, same_rank
from .tensors import Tensor, TensorLike
from .variable import Variable

__all__ = [
    "Metric",
    # Means
    "Mean",
    "MeanMetricWrapper",
    "Sum",
    # Accuracy
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "accuracy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
    # Right and wrong above thresholds
    "AUC",
    "FalseNegatives",
    "FalsePositives",
    "Precision",
    "PrecisionAtRecall",
    "Recall",
    "RecallAtPrecision",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "TrueNegatives",
    "TruePositives",
    # Right and wrong by class
    "BinaryIoU",
    "F1Score",
    "FBetaScore",
    "IoU",
    "MeanIoU",
    "OneHotIoU",
    "OneHotMeanIoU",
    # Errors and losses
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "R2Score",
    "RootMeanSquaredError",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "get",
]


class Metric(registry.Configured):
    """A base for metrics: make state with `add_variable`, write `update_state` and `result`.

    State is float32 unless `dtype` says otherwise. `direction` says which way is better, "up" or
    "down"; None if neither.

    >>> class Largest(Metric):
    ...     def __init__(self, name=None, dtype=None):
    ...         super().__init__(name, dtype)
    ...         self.largest = self.add_variable()
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.largest.assign(ops.maximum(self.largest, ops.max(y_pred)))
    ...     def result(self):
    ...         return self.largest.value
    >>> largest = Largest()
    >>> largest.update_state(None, [1.0, 3.0])
    >>> largest(None, [2.0])
    Tensor(3., dtype=float32)
    """

    direction: ClassVar[str | None] = None

    def __init__(self, name: str | None = None, dtype: DTypeLike = None) -> None:
        self.name = name or registry.snake_case(type(self).__name__)
        self.dtype = dtypes.as_dtype(dtypes.float32 if dtype is None else dtype)
        self._state: list[tuple[Variable, Tensor]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch, and give the value over all."""
        self.update_state(*args, **kwargs)
        return self.result()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch: targets, predictions and perhaps sample weights."""
        raise NotImplementedError(f"{type(self).__name__} has no update_state")

    def result(self) -> Any:
        """The value over the batches so far: a Tensor, or several in a dict."""
        raise NotImplementedError(f"{type(self).__name__} has no result()")

    def reset_state(self) -> None:
        """Forget all batches."""
        starts = {id(variable): start for variable, start in self._state}
        for v in self.variables:
            v.assign(starts.get(id(v), np.zeros(v.shape, v.dtype)))

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: DTypeLike = None,
        name: str | None = None,
    ) -> Variable:
        """State of this shape, 0 unless an initializer says otherwise."""
        found = self.dtype if dtype is None else dtypes.as_dtype(dtype)
        start = conversion.tensor(np.zeros(shape, found))
        if initializer is not None:
            from . import initializers

            start = initializers.get(initializer)(tuple(shape), found)
        variable = Variable(start, trainable=False, name=name)
        self._state.append((variable, start))
        return variable

    add_weight = add_variable

    @property
    def variables(self) -> list[Variable]:
        """Its state, and that of metrics it holds."""
        found: dict[int, Variable] = {}
        for held in tree.leaves(vars(self)):
            if isinstance(held, Variable):
                found[id(held)] = held
            elif isinstance(held, Metric):
                found |= {id(v): v for v in held.variables}
        return list(found.values())


def get(given: Any) -> Metric:
    """The Metric that a name, a class, a function of targets and predictions, an instance or a
    configuration stands for. One that is given by name is called so.

    Names are those of the classes, "mse", "mae", "mape", "msle", "bce", and, chosen by the shapes
    of targets and predictions, "accuracy" ("acc") and "crossentropy" ("ce"). Raises ArgumentError
    for others.

    >>> get("acc")([1, 0], [[0.25, 0.75], [0.25, 0.75]])
    Tensor(0.5, dtype=float32)
    """
    found = registry.lookup("metric", given, _NAMES)
    metric = found if isinstance(found, Metric) else MeanMetricWrapper(found)
    if isinstance(given, str):
        metric.name = given
    return metric


# Means


class Sum(Metric):
    """The sum of values, weighed with sample weights.

    >>> Sum()([1.0, 2.0], sample_weight=[1.0, 0.5])
    Tensor(2., dtype=float32)
    """

    def __init__(self, name: str = "sum", dtype: DTypeLike = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable(name="total")

    def update_state(self, values: TensorLike, sample_weight: TensorLike | None = None) -> None:
        self.total.assign_add(ops.sum(_by_sample(self, ops.sum, values, sample_weight)[0]))

    def result(self) -> Tensor:
        return self.total.value


class Mean(Metric):
    """The mean of values over samples, weighed with sample weights; 0 before the first.

    Values of shape (samples, ...) first become the mean of each sample; weights are of shape
    (samples,), or of more of their axes.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> mean([5.0], sample_weight=[2.0])
    Tensor(3.5, dtype=float32)
    """

    def __init__(self, name: str | None = "mean", dtype: DTypeLike = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: TensorLike, sample_weight: TensorLike | None = None) -> None:
        found, weights = _by_sample(self, ops.mean, values, sample_weight)
        self.total.assign_add(ops.sum(found))
        self.count.assign_add(float(found.size) if weights is None else ops.sum(weights))

    def result(self) -> Tensor:
        return ratio(self.total, self.count.value)


class MeanMetricWrapper(Mean):
    """The mean of a function `fn(y_true, y_pred, **kwargs)`, which gives a value for each sample.

    >>> MeanMetricWrapper(losses.mean_absolute_error)([[0.0], [0.0]], [[1.0], [2.0]])
    Tensor(1.5, dtype=float32)
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dtype: DTypeLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name or registry.snake_case(getattr(fn, "__name__", "")), dtype)
        self._fn = fn
        self._kwargs = kwargs

    # Keras has the same discrepancy: a mean of values becomes one of targets and predictions.
    def update_state(  # type: ignore[override]
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        mask: TensorLike | None = None,
    ) -> None:
        """Add a batch; what the mask leaves out does not count."""
        values = ops.astype(self._fn(y_true, y_pred, **self._kwargs), self.dtype)
        super().update_state(values, losses.masked(sample_weight, mask, values))


def _by_sample(
    metric: Metric,
    reduce: Callable[..., Tensor],
    values: TensorLike,
    sample_weight: TensorLike | None,
) -> tuple[Tensor, Tensor | None]:
    """Values times their weights, reduced to one for each sample; and the weights, likewise."""
    found = ops.astype(values, metric.dtype)
    weights = None
    if sample_weight is not None:
        weights = like(found, sample_weight)
        found, weights = same_rank(found, weights)
        rank = weights.ndim
        if found.ndim > rank:
            found = reduce(found, axis=tuple(range(rank, found.ndim)))
        weights = _spread(metric, weights, found)
        found = found * weights
        weights = reduce(weights, axis=tuple(range(1, rank))) if rank > 1 else weights
    if found.ndim > 1:
        found = reduce(found, axis=tuple(range(1, found.ndim)))
    return found, weights


def _weights(metric: Metric, given: TensorLike | None, values: Tensor) -> Tensor:
    """Sample weights in the shape of values, also those with a last axis of 1 more; 1 for none."""
    weights = like(values, 1 if given is None else given, metric.dtype)
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, axis=-1)
    return _spread(metric, weights, values)


def _spread(metric: Metric, weights: Tensor, values: Tensor) -> Tensor:
    """Weights of the first axes of values, in their shape."""
    narrow = ops.reshape(weights, weights.shape + (1,) * (values.ndim - weights.ndim))
    sizes = zip(narrow.shape, values.shape, strict=False)
    if narrow.ndim > values.ndim or any(w not in (1, v) for w, v in sizes):
        raise ShapeError(
            f"{metric.name}: sample_weight of shape {weights.shape} does not fit values of shape "
            f"{values.shape}: give one weight for each sample"
        )
    return ops.broadcast_to(narrow, values.shape)


# Accuracy


def accuracy(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """The accuracy that fits the shapes: binary, categorical or sparse categorical.

    >>> accuracy([1, 0], [[0.25, 0.75], [0.25, 0.75]]), accuracy([[1.0]], [[0.75]])
    (Tensor([1., 0.], dtype=float32), Tensor([[1.]], dtype=float32))
    """
    fitting: dict[str, Callable[..., Tensor]] = {
        "binary": binary_accuracy,
        "categorical": categorical_accuracy,
        "sparse_categorical": sparse_categorical_accuracy,
    }
    return fitting[losses.kind_of_targets(y_true, y_pred)](y_true, y_pred)


def binary_accuracy(y_true: TensorLike, y_pred: TensorLike, threshold: float = 0.5) -> Tensor:
    """1 where targets 0 or 1 are what predictions say, which mean 1 above a threshold.

    >>> binary_accuracy([[1], [0]], [[0.75], [0.75]])
    Tensor([[1.],
            [0.]], dtype=float32)
    """
    y_true, y_pred = aligned("binary_accuracy", y_true, y_pred, _CHOOSE)
    return _as_numbers(ops.astype(y_pred > threshold, y_true.dtype) == y_true)


def categorical_accuracy(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """1 where the largest of the targets' last axis is at the place of the largest prediction.

    >>> categorical_accuracy([[0, 1], [0, 1]], [[0.25, 0.75], [0.75, 0.25]])
    Tensor([1., 0.], dtype=float32)
    """
    y_true, y_pred = aligned("categorical_accuracy", y_true, y_pred, _CHOOSE)
    _refuse_one_class("categorical_accuracy", y_pred)
    return _as_numbers(ops.argmax(y_true, axis=-1) == ops.argmax(y_pred, axis=-1))


def sparse_categorical_accuracy(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """1 where the largest prediction along the last axis is at the class that the target names.

    >>> sparse_categorical_accuracy([1, 1], [[0.25, 0.75], [0.75, 0.25]])
    Tensor([1., 0.], dtype=float32)
    """
    name = "sparse_categorical_accuracy"
    y_true, y_pred = _named_classes(name, y_true, y_pred)
    _refuse_one_class(name, y_pred)
    matches = _as_numbers(ops.argmax(y_pred, axis=-1) == y_true)
    flat = matches.ndim > 1 and matches.shape[-1] == 1
    return ops.squeeze(matches, axis=-1) if flat else matches


def top_k_categorical_accuracy(y_true: TensorLike, y_pred: TensorLike, k: int = 5) -> Tensor:
    """1 where the class of the largest target is among those of the k largest predictions.

    >>> top_k_categorical_accuracy([[0, 0, 1]], [[0.5, 0.2, 0.3]], k=2)
    Tensor([1.], dtype=float32)
    """
    y_true, y_pred = aligned("top_k_categorical_accuracy", y_true, y_pred, _CHOOSE)
    return sparse_top_k_categorical_accuracy(ops.argmax(y_true, axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: TensorLike, y_pred: TensorLike, k: int = 5, from_sorted_ids: bool = False
) -> Tensor:
    """1 where the class that a target names is among those of the k largest predictions; with
    `from_sorted_ids`, where it is among the first k numbers of `y_pred`, which are classes.

    Equals of the k-th largest are among them. A class that is not there is never among them.

    >>> sparse_top_k_categorical_accuracy([2, 1], [[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]], k=2)
    Tensor([1., 0.], dtype=float32)
    """
    y_true, y_pred = _named_classes("sparse_top_k_categorical_accuracy", y_true, y_pred)
    places = ops.expand_dims(y_true, axis=-1)
    if from_sorted_ids:
        return _as_numbers(ops.any(y_pred[..., :k] == places, axis=-1))
    there = ops.logical_and(places >= 0, places < y_pred.shape[-1])
    chosen = ops.take_along_axis(y_pred, ops.where(there, places, 0), axis=-1)
    ahead = ops.sum(ops.astype(y_pred > chosen, int), axis=-1)
    counts = ops.squeeze(ops.logical_and(there, ops.isfinite(chosen)), axis=-1)
    return _as_numbers(ops.logical_and(ahead < k, counts))


def _equality(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    y_true, y_pred = conversion.as_tensors(y_true, y_pred)
    y_true, y_pred = same_rank(ops.astype(y_true, y_pred.dtype), y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"Accuracy: targets of shape {y_true.shape} and predictions of shape {y_pred.shape} "
            f"must have the same shape: it counts how many are equal{_CHOOSE}"
        )
    return _as_numbers(y_true == y_pred)


_CHOOSE = "; the name 'accuracy' means the one that fits the targets"


def _named_classes(name: str, y_true: TensorLike, y_pred: TensorLike) -> tuple[Tensor, Tensor]:
    """Targets that name classes of the last axis, as integers, in the shape of the others."""
    y_true, y_pred = conversion.as_tensors(y_true, y_pred)
    if y_true.ndim == y_pred.ndim and y_true.shape[-1:] == (1,):
        y_true = ops.squeeze(y_true, axis=-1)
    if y_true.shape != y_pred.shape[:-1]:
        one_hot = y_true.shape == y_pred.shape
        raise ShapeError(
            f"{name}: targets of shape {y_true.shape} do not name one class each for predictions "
            f"of shape {y_pred.shape}"
            + (f"; for a number for each class there is {name[7:]}" if one_hot else "")
        )
    return y_true if y_true.dtype.kind == "i" else ops.astype(y_true, int), y_pred


def _refuse_one_class(name: str, y_pred: Tensor) -> None:
    if y_pred.shape[-1] == 1:
        raise ShapeError(
            f"{name}: predictions of shape {y_pred.shape} are for one class, which is always the "
            "largest; there is binary_accuracy"
        )


def _as_numbers(x: Tensor) -> Tensor:
    return ops.astype(x, dtypes.float32)


class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets. (The name "accuracy" means another: `accuracy`.)

    >>> Accuracy()([1, 2, 3, 4], [1, 2, 3, 0])
    Tensor(0.75, dtype=float32)
    """

    direction = "up"

    def __init__(self, name: str = "accuracy", dtype: DTypeLike = None) -> None:
        super().__init__(_equality, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """The mean of `binary_accuracy`."""

    direction = "up"

    def __init__(
        self, name: str = "binary_accuracy", dtype: DTypeLike = None, threshold: float = 0.5
    ) -> None:
        number("BinaryAccuracy", "threshold", threshold)
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """The mean of `categorical_accuracy`."""

    direction = "up"

    def __init__(self, name: str = "categorical_accuracy", dtype: DTypeLike = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The mean of `sparse_categorical_accuracy`."""

    direction = "up"

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: DTypeLike = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The mean of `top_k_categorical_accuracy`."""

    direction = "up"

    def __init__(
        self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: DTypeLike = None
    ) -> None:
        whole("TopKCategoricalAccuracy", "k", k, 1)
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The mean of `sparse_top_k_categorical_accuracy`."""

    direction = "up"

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: DTypeLike = None,
        from_sorted_ids: bool = False,
    ) -> None:
        whole("SparseTopKCategoricalAccuracy", "k", k, 1)
        super().__init__(
            sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids
        )


# Right and wrong above thresholds


class _Counts(Metric):
    """How many predictions are above each threshold, and not, for targets that are 0 and that are
    not: in `counted`, of "true_positives", "false_positives", "true_negatives", "false_negatives".

    Each is a Variable of shape (thresholds,), or (thresholds, labels) where labels are counted
    apart.
    """

    counted: ClassVar[tuple[str, ...]]
    true_positives: Variable
    false_positives: Variable
    true_negatives: Variable
    false_negatives: Variable

    def __init__(
        self,
        thresholds: Sequence[float],
        name: str | None,
        dtype: DTypeLike,
        top_k: int | None = None,
        class_id: int | None = None,
    ) -> None:
        super().__init__(name, dtype)
        self.thresholds = list(thresholds)
        kind = type(self).__name__
        if not self.thresholds:
            raise ArgumentError(f"{kind}: thresholds has none; it has one at least")
        self._top_k = None if top_k is None else whole(kind, "top_k", top_k, 1)
        self._class_id = None if class_id is None else whole(kind, "class_id", class_id, 0)
        self._evenly = _are_even(self.thresholds)

    def _build(self, labels: tuple[int, ...] = ()) -> None:
        for name in self.counted:
            setattr(self, name, self.add_variable((len(self.thresholds), *labels), name=name))

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred, weights = self._chosen(y_true, y_pred, sample_weight)
        self._count(*(ops.reshape(x, (-1, 1)) for x in (y_true, y_pred, weights)))

    def _chosen(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None
    ) -> list[Tensor]:
        """Targets as 0 or 1, predictions and weights, of one shape."""
        found, predicted = _alike(self, y_true, y_pred)
        weights = _weights(self, sample_weight, predicted)
        if self._top_k is not None:
            largest = ops.top_k(predicted, self._top_k)[1]
            kept = ops.any(ops.one_hot(largest, predicted.shape[-1], dtype=bool), axis=-2)
            predicted = ops.where(kept, predicted, -np.inf)
        chosen = [ops.astype(found != 0, self.dtype), predicted, weights]
        if self._class_id is None:
            return chosen
        if predicted.ndim < 2 or not 0 <= self._class_id < predicted.shape[-1]:
            raise ShapeError(
                f"{self.name}: class_id={self._class_id} needs predictions of shape "
                f"(samples, classes), with such a class, not {predicted.shape}"
            )
        return [x[..., self._class_id] for x in chosen]

    def _count(self, y_true: Tensor, y_pred: Tensor, weights: Tensor) -> None:
        """Add what all three have, each of shape (samples, labels), to the Variables."""
        right, wrong = y_true * weights, (1.0 - y_true) * weights
        above = self._above_evenly if self._evenly else self._above
        true, false = above(y_pred, right, wrong)
        found = {
            "true_positives": true,
            "false_positives": false,
            "false_negatives": ops.sum(right, axis=0) - true,
            "true_negatives": ops.sum(wrong, axis=0) - false,
        }
        for name in self.counted:
            variable: Variable = getattr(self, name)
            variable.assign_add(ops.reshape(found[name], variable.shape))

    def _above(self, y_pred: Tensor, *weights: Tensor) -> list[Tensor]:
        """Of each of the weights the sum over predictions above each threshold."""
        thresholds = np.array(self.thresholds, self.dtype).reshape(-1, 1, 1)
        above = ops.astype(y_pred > thresholds, self.dtype)
        return [ops.sum(above * w, axis=1) for w in weights]

    def _above_evenly(self, y_pred: Tensor, *weights: Tensor) -> list[Tensor]:
        """The same for even steps from 0 to 1. How many thresholds a prediction is above is then
        one multiplication; the sums for those above at least so many add up."""
        last = len(self.thresholds) - 1
        inside = ops.minimum(ops.where(y_pred > 0, y_pred, 0.0), 1.0)
        steps = ops.ceil(inside * float(last))
        if self.thresholds[0] < 0:
            steps = ops.maximum(steps, 1.0)
        labels = like(y_pred, np.arange(y_pred.shape[1]), dtypes.int32)
        places = ops.stack(ops.broadcast_arrays(ops.astype(steps, int), labels), axis=-1)
        shape = (last + 2, y_pred.shape[1])
        sums = (ops.flip(ops.scatter(places, w, shape), axis=0) for w in weights)
        return [ops.flip(ops.cumulative_sum(s, axis=0), axis=0)[1:] for s in sums]

    def _recall(self) -> Tensor:
        return ratio(self.true_positives, self.true_positives + self.false_negatives)

    def _precision(self) -> Tensor:
        return ratio(self.true_positives, self.true_positives + self.false_positives)

    def _specificity(self) -> Tensor:
        return ratio(self.true_negatives, self.true_negatives + self.false_positives)


def _are_even(thresholds: Sequence[float]) -> bool:
    even = np.linspace(0, 1, len(thresholds))
    return len(thresholds) > 2 and np.allclose(thresholds, even, atol=EPSILON)


def _alike(metric: Metric, y_true: TensorLike, y_pred: TensorLike) -> tuple[Tensor, Tensor]:
    """Both in the metric's dtype, and of one shape."""
    y_true, y_pred = (ops.astype(x, metric.dtype) for x in conversion.as_tensors(y_true, y_pred))
    return aligned(metric.name, y_true, y_pred, "; make targets that name classes `one_hot`")


def _checked(kind: str, thresholds: Any, default: float = 0.5) -> list[float]:
    if thresholds is None:
        return [default]
    found = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    return [share(kind, "each of thresholds", t) for t in found]


class _Count(_Counts):
    """One of the four, at one or several thresholds."""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(_checked(type(self).__name__, thresholds), name, dtype)
        self._build()

    def result(self) -> Tensor:
        found: Tensor = getattr(self, self.counted[0]).value
        return found[0] if len(self.thresholds) == 1 else found


class TruePositives(_Count):
    """How many targets of 1 are predicted above the threshold, or above each of several."""

    counted = ("true_positives",)
    direction = "up"


class TrueNegatives(_Count):
    """How many targets of 0 are not predicted above the threshold, or above each of several."""

    counted = ("true_negatives",)
    direction = "up"


class FalsePositives(_Count):
    """How many targets of 0 are predicted above the threshold, or above each of several.

    >>> FalsePositives()([0, 1, 0, 0], [0.25, 0.75, 0.75, 1.0])
    Tensor(2., dtype=float32)
    """

    counted = ("false_positives",)
    direction = "down"


class FalseNegatives(_Count):
    """How many targets of 1 are not predicted above the threshold, or above each of several."""

    counted = ("false_negatives",)
    direction = "down"


class _Share(_Counts):
    """A share of what is counted, at one or several thresholds."""

    direction = "up"

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        # Among the k largest everything counts, however small.
        found = _checked(type(self).__name__, thresholds, 0.5 if top_k is None else -1e10)
        super().__init__(found, name, dtype, top_k, class_id)
        self._build()

    def result(self) -> Tensor:
        true, wrong = (getattr(self, name).value for name in self.counted)
        found = ratio(true, true + wrong)
        return found[0] if len(self.thresholds) == 1 else found


class Precision(_Share):
    """The share of targets of 1 among what is predicted above the threshold (1/2), or above each
    of several; 0 if nothing is.

    With `top_k`, only the k largest predictions of the last axis count as predicted; with
    `class_id`, only that class counts.

    >>> Precision()([0, 1, 0, 1], [0.75, 0.25, 0.25, 0.75])
    Tensor(0.5, dtype=float32)
    """

    counted = ("true_positives", "false_positives")


class Recall(_Share):
    """The share of what is predicted above the threshold (1/2), or above each of several, among
    targets of 1; 0 if there are none. The arguments are those of `Precision`.

    >>> Recall()([1, 1, 1, 1], [0.75, 0.25, 0.75, 0.75])
    Tensor(0.75, dtype=float32)
    """

    counted = ("true_positives", "false_negatives")


class _Constrained(_Counts):
    """The best of one rate at a threshold where another is good enough."""

    counted = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    direction = "up"

    def __init__(
        self,
        limit: tuple[str, float],
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: DTypeLike,
    ) -> None:
        kind = type(self).__name__
        self._least = share(kind, *limit)
        whole(kind, "num_thresholds", num_thresholds, 1)
        thresholds = [0.5] if num_thresholds == 1 else np.linspace(0, 1, num_thresholds).tolist()
        super().__init__(thresholds, name, dtype, class_id=class_id)
        self._evenly = num_thresholds > 1
        self._build()

    def _best(self, wanted: Tensor, limited: Tensor) -> Tensor:
        return ops.max(ops.where(limited >= self._least, wanted, 0.0))


class SensitivityAtSpecificity(_Constrained):
    """The largest share of targets of 1 that is found at a threshold above which at most
    1 - `specificity` of the targets of 0 are.

    >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    Tensor(0.5, dtype=float32)
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(("specificity", specificity), num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._recall(), self._specificity())


class SpecificityAtSensitivity(_Constrained):
    """The largest share of targets of 0 that is left out at a threshold above which at least
    `sensitivity` of the targets of 1 are."""

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(("sensitivity", sensitivity), num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._specificity(), self._recall())


class PrecisionAtRecall(_Constrained):
    """The best precision at a threshold with at least this recall."""

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(("recall", recall), num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._precision(), self._recall())


class RecallAtPrecision(_Constrained):
    """The best recall at a threshold with at least this precision."""

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(("precision", precision), num_thresholds, class_id, name, dtype)

    def result(self) -> Tensor:
        return self._best(self._recall(), self._precision())


class AUC(_Counts):
    """The area under a curve, one point of it a threshold: "ROC" (recall over false positives),
    "PR" (precision over recall) or "PRGAIN" (gains of both).

    `num_thresholds` stand at even steps from 0 to 1, or `thresholds` between 0 and 1 are given.
    Between the points the curve is interpolated, or its lower ("minoring") or upper ("majoring") of
    two is taken. With `multi_label`, the mean of the areas of the last axis's labels, weighed with
    `label_weights`. Predictions are probabilities, unless `from_logits`.

    Sources: J. Davis, M. Goadrich, The relationship between precision-recall and ROC curves, ICML
    2006 (the interpolation of "PR"); P. Flach, M. Kull, Precision-recall-gain curves, NIPS 2015.

    >>> AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    Tensor(0.75, dtype=float32)
    """

    counted = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: DTypeLike = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: TensorLike | None = None,
        from_logits: bool = False,
    ) -> None:
        self.curve = _one_of("curve", curve.upper(), ("ROC", "PR", "PRGAIN"))
        methods = ("interpolation", "minoring", "majoring")
        self.summation_method = _one_of("summation_method", summation_method.lower(), methods)
        if num_labels and not multi_label:
            raise ArgumentError("AUC: num_labels is for multi_label=True")
        if num_labels is not None:
            whole("AUC", "num_labels", num_labels, 0)
        if thresholds is None:
            found = np.linspace(0, 1, whole("AUC", "num_thresholds", num_thresholds, 2))
        else:
            found = np.array([0.0, *sorted(_checked("AUC", thresholds)), 1.0])
        evenly = _are_even(found.tolist()) or len(found) == 2
        # All predictions are above the first threshold, and none above the last.
        found[[0, -1]] = -EPSILON, 1 + EPSILON
        super().__init__(found.tolist(), name, dtype)
        self._evenly = evenly
        self._from_logits = from_logits
        self._multi_label = multi_label
        self._label_weights = None if label_weights is None else np.array(label_weights, self.dtype)
        if num_labels or not multi_label:
            self._build((num_labels,) if num_labels else ())

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        y_true, y_pred, weights = self._chosen(y_true, y_pred, sample_weight)
        if not self._multi_label:
            if self._label_weights is not None:
                weights = weights * self._label_weights
            self._count(*(ops.reshape(x, (-1, 1)) for x in (y_true, y_pred, weights)))
            return
        if y_pred.ndim != 2:
            raise ShapeError(
                f"{self.name}: multi_label takes predictions of shape (samples, labels), not "
                f"{y_pred.shape}"
            )
        if not self._state:
            self._build(y_pred.shape[1:])
        self._count(y_true, y_pred, weights)

    def result(self) -> Tensor:
        areas = ops.sum(self._areas(), axis=0)
        if self._label_weights is None or not self._multi_label:
            return ops.mean(areas)
        weights = like(areas, self._label_weights)
        return ratio(ops.sum(areas * weights), ops.sum(weights))

    def _areas(self) -> Tensor:
        """The area between each threshold and the next."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated()
        recall, precision = self._recall(), self._precision()
        if self.curve == "ROC":
            x, y = ratio(self.false_positives, self.false_positives + self.true_negatives), recall
        elif self.curve == "PR":
            x, y = recall, precision
        else:
            x, y = self._gain(self.false_negatives, 0.0), self._gain(self.false_positives, 1.0)
            x = ops.maximum(x, 0.0)
        here, next_ = y[:-1], y[1:]
        if self.summation_method == "interpolation":
            heights = (here + next_) / 2.0
        else:
            heights = (ops.minimum if self.summation_method == "minoring" else ops.maximum)(
                here, next_
            )
        return (x[:-1] - x[1:]) * heights

    def _gain(self, wrong: Variable, without: float) -> Tensor:
        """1 - pi/(1 - pi) wrong/true positives, for a share pi of targets of 1."""
        positives = self.true_positives + self.false_negatives
        odds = ratio(positives, self.true_negatives + self.false_positives)
        found = 1.0 - odds * ratio(wrong, self.true_positives.value)
        return ops.where(self.true_positives == 0, without, found)

    def _interpolated(self) -> Tensor:
        """Between two points, true positives grow in proportion to all that is predicted; the
        integral of their quotient over the true positives has a logarithm."""
        true = self.true_positives.value
        predicted = true + self.false_positives
        gained = true[:-1] - true[1:]
        slope = ratio(gained, ops.maximum(predicted[:-1] - predicted[1:], 0.0))
        start = true[1:] - slope * predicted[1:]
        there = ops.logical_and(predicted[:-1] > 0, predicted[1:] > 0)
        growth = ops.where(there, ratio(predicted[:-1], predicted[1:]), 1.0)
        positives = true[1:] + self.false_negatives[1:]
        return ratio(slope * (gained + start * ops.log(growth)), positives)


def _one_of(argument: str, given: str, known: Sequence[str]) -> str:
    if given not in known:
        raise ArgumentError(f"AUC: {argument} is one of {', '.join(known)}, not {given!r}")
    return given


# Right and wrong by class


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall) of each class, for targets and
    predictions of shape (samples, classes).

    Predicted is the class of the largest prediction, or all that are above a `threshold`. With
    `average` "micro" one score for all, "macro" the mean of the classes', "weighted" their mean by
    the number of targets.

    >>> score = FBetaScore(average="micro", beta=2.0, threshold=0.5)
    >>> f"{score([[1, 0], [1, 0]], [[0.75, 0.25], [0.25, 0.75]]):.4f}"
    '0.5000'
    """

    direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(name, dtype)
        kind = type(self).__name__
        if average not in (None, "micro", "macro", "weighted"):
            raise ArgumentError(
                f"{kind}: average is one of micro, macro, weighted, None, not {average!r}"
            )
        positive(kind, "beta", beta)
        if threshold is not None:
            what = "a number above 0 and at most 1"
            number(kind, "threshold", threshold, what, lambda x: 0 < x <= 1)
        self.average, self.beta, self.threshold = average, beta, threshold

    def _build(self, classes: int) -> None:
        shape = () if self.average == "micro" else (classes,)
        self.true_positives = self.add_variable(shape, name="true_positives")
        self.false_positives = self.add_variable(shape, name="false_positives")
        self.false_negatives = self.add_variable(shape, name="false_negatives")
        self.targets = self.add_variable(shape, name="targets")

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _alike(self, y_true, y_pred)
        _refuse_but_two_axes(self, y_pred)
        if not self._state:
            self._build(y_pred.shape[1])
        if self.threshold is None:
            largest = y_pred >= ops.max(y_pred, axis=-1, keepdims=True)
            predicted = ops.logical_and(largest, ops.abs(y_pred) > 1e-9)
        else:
            predicted = y_pred > self.threshold
        weights, found = _weights(self, sample_weight, y_pred), ops.astype(predicted, self.dtype)
        axis = None if self.average == "micro" else 0
        for variable, what in (
            (self.true_positives, found * y_true),
            (self.false_positives, found * (1.0 - y_true)),
            (self.false_negatives, (1.0 - found) * y_true),
            (self.targets, y_true),
        ):
            variable.assign_add(ops.sum(what * weights, axis=axis))

    def result(self) -> Tensor:
        true, squared = self.true_positives.value, self.beta**2
        precision = true / (true + self.false_positives + EPSILON)
        recall = true / (true + self.false_negatives + EPSILON)
        mean = precision * recall / (squared * precision + recall + EPSILON)
        score = mean * (1.0 + squared)
        if self.average == "weighted":
            return ops.sum(score * (self.targets / (ops.sum(self.targets) + EPSILON)))
        return score if self.average is None else ops.mean(score)


class F1Score(FBetaScore):
    """`FBetaScore` with beta = 1: the harmonic mean of precision and recall.

    >>> score = F1Score(average="macro", threshold=0.5)
    >>> f"{score([[1, 0], [1, 0]], [[0.75, 0.25], [0.25, 0.75]]):.4f}"
    '0.3333'
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str = "f1_score",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)


class IoU(Metric):
    """Intersection over union of classes, the mean over `target_class_ids` that occur.

    Targets and predictions name classes, or, where they are not sparse, have a number for each
    along `axis`. Targets of `ignore_class`, and those outside of the classes, do not count. Counts
    are int64, so weights are cut to whole numbers, unless `dtype` is a float.

    >>> f"{IoU(2, [0])([0, 0, 1, 1], [0, 1, 0, 1]):.4f}"
    '0.3333'
    """

    direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DTypeLike = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtypes.int64 if dtype is None else dtype)
        kind = type(self).__name__
        num_classes = whole(kind, "num_classes", num_classes, 1)
        self.target_class_ids = [whole(kind, "a target_class_id", i) for i in target_class_ids]
        if not self.target_class_ids:
            raise ArgumentError(f"{kind}: target_class_ids has none; it has one at least")
        wrong = [i for i in self.target_class_ids if not 0 <= i < num_classes]
        if wrong:
            raise ArgumentError(
                f"{kind}: target_class_ids has {wrong[0]}, which is not one of "
                f"{num_classes} classes, counted from 0"
            )
        self.num_classes, self.ignore_class, self.axis = num_classes, ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.total_cm = self.add_variable((num_classes,) * 2, name="total_confusion_matrix")

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = conversion.as_tensors(y_true, y_pred)
        true, predicted = same_rank(
            self._named(y_true, self.sparse_y_true), self._named(y_pred, self.sparse_y_pred)
        )
        if true.shape != predicted.shape:
            raise ShapeError(
                f"{self.name}: classes of targets, of shape {true.shape}, and of predictions, of "
                f"shape {predicted.shape}, must have the same shape; with a number for each class "
                "say that they are not sparse"
            )
        weights = _weights(self, sample_weight, true)
        both = ops.stack([true, predicted], axis=-1)
        there = ops.all(ops.logical_and(both >= 0, both < self.num_classes), axis=-1)
        if self.ignore_class is not None:
            there = ops.logical_and(there, true != self.ignore_class)
        places = ops.where(ops.expand_dims(there, axis=-1), both, 0)
        counts = ops.scatter(places, ops.where(there, weights, 0), self.total_cm.shape)
        self.total_cm.assign_add(counts)

    def _named(self, y: TensorLike, sparse: bool) -> Tensor:
        return ops.astype(y if sparse else ops.argmax(y, axis=self.axis), int)

    def result(self) -> Tensor:
        counts = self.total_cm.value
        ids = np.array(self.target_class_ids)
        both = ops.diagonal(counts)[ids]
        either = (ops.sum(counts, axis=0) + ops.sum(counts, axis=1))[ids] - both
        both, either = (ops.astype(x, dtypes.float32) for x in (both, either))
        occurs = either > 1e-9
        found = ops.where(occurs, both / (either + EPSILON), 0.0)
        return ops.sum(found) / (ops.sum(_as_numbers(occurs)) + EPSILON)


class MeanIoU(IoU):
    """`IoU` of all classes.

    >>> f"{MeanIoU(2)([0, 0, 1, 1], [0, 1, 0, 1]):.4f}"
    '0.3333'
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DTypeLike = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        every = range(whole(type(self).__name__, "num_classes", num_classes, 1))
        sparse = sparse_y_true, sparse_y_pred
        super().__init__(num_classes, every, name, dtype, ignore_class, *sparse, axis)


class BinaryIoU(IoU):
    """`IoU` of targets 0 and 1, for predictions that mean 1 from a threshold on.

    >>> f"{BinaryIoU()([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]):.4f}"
    '0.5833'
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = number("BinaryIoU", "threshold", threshold)

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        super().update_state(y_true, conversion.as_tensor(y_pred) >= self.threshold, sample_weight)


class OneHotIoU(IoU):
    """`IoU` of targets with a number for each class."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: DTypeLike = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        classes = num_classes, target_class_ids
        super().__init__(*classes, name, dtype, ignore_class, False, sparse_y_pred, axis)


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of targets with a number for each class."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: DTypeLike = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)


# Errors and losses


class RootMeanSquaredError(Mean):
    """The square root of the mean squared error.

    >>> RootMeanSquaredError()([[0.0], [0.0]], [[1.0], [7.0]])
    Tensor(5., dtype=float32)
    """

    direction = "down"

    def __init__(self, name: str = "root_mean_squared_error", dtype: DTypeLike = None) -> None:
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _alike(self, y_true, y_pred)
        super().update_state(ops.square(y_pred - y_true), sample_weight)

    def result(self) -> Tensor:
        return ops.sqrt(super().result())


class R2Score(Metric):
    """The share of the targets' variance that predictions explain, for both of shape
    (samples, outputs): 1 - sum of squared errors / sum of squared deviations from the mean.

    `class_aggregation` is "uniform_average" over the outputs, "variance_weighted_average", or None
    for one score each. With `num_regressors`, corrected for so many explaining variables. 0 where
    all targets are equal.

    >>> f"{R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]):.4f}"
    '0.5714'
    """

    direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ArgumentError(
                "R2Score: class_aggregation is one of uniform_average, variance_weighted_average, "
                f"None, not {class_aggregation!r}"
            )
        whole("R2Score", "num_regressors", num_regressors, 0)
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable(name="num_samples")
        self._built = False

    def _build(self, outputs: int) -> None:
        self._built = True
        self.squared_sum = self.add_variable((outputs,), name="squared_sum")
        self.sum = self.add_variable((outputs,), name="sum")
        self.total_mse = self.add_variable((outputs,), name="residual")
        self.count = self.add_variable((outputs,), name="count")

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        y_true, y_pred = _alike(self, y_true, y_pred)
        _refuse_but_two_axes(self, y_pred)
        if not self._built:
            self._build(y_pred.shape[1])
        weights = _weights(self, sample_weight, y_pred)
        self.sum.assign_add(ops.sum(y_true * weights, axis=0))
        self.squared_sum.assign_add(ops.sum(y_true * (y_true * weights), axis=0))
        self.total_mse.assign_add(ops.sum(ops.square(y_true - y_pred) * weights, axis=0))
        self.count.assign_add(ops.sum(weights, axis=0))
        self.num_samples.assign_add(float(y_true.size))

    def result(self) -> Tensor:
        total = self.squared_sum - self.sum * (self.sum / self.count)
        scores = 1.0 - self.total_mse / total
        scores = ops.where(ops.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        elif self.class_aggregation is not None:
            scores = ops.sum(total * scores) / ops.sum(total)
        if not self.num_regressors:
            return scores
        left = self.num_samples - (self.num_regressors + 1.0)
        corrected = 1.0 - ratio((1.0 - scores) * (self.num_samples - 1.0), left)
        return ops.where(left > 0, corrected, scores)


def _refuse_but_two_axes(metric: Metric, y_pred: Tensor) -> None:
    if y_pred.ndim != 2:
        raise ShapeError(
            f"{metric.name}: takes targets and predictions of shape (samples, outputs), not "
            f"{y_pred.shape}"
        )


class MeanSquaredError(MeanMetricWrapper):
    """The mean of `losses.mean_squared_error`."""

    direction = "down"

    def __init__(self, name: str = "mean_squared_error", dtype: DTypeLike = None) -> None:
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of `losses.mean_absolute_error`."""

    direction = "down"

    def __init__(self, name: str = "mean_absolute_error", dtype: DTypeLike = None) -> None:
        super().__init__(losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean of `losses.mean_absolute_percentage_error`."""

    direction = "down"

    def __init__(
        self, name: str = "mean_absolute_percentage_error", dtype: DTypeLike = None
    ) -> None:
        super().__init__(losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean of `losses.mean_squared_logarithmic_error`."""

    direction = "down"

    def __init__(
        self, name: str = "mean_squared_logarithmic_error", dtype: DTypeLike = None
    ) -> None:
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(MeanMetricWrapper):
    """The mean of `losses.log_cosh`."""

    direction = "down"

    def __init__(self, name: str = "logcosh", dtype: DTypeLike = None) -> None:
        super().__init__(losses.log_cosh, name, dtype)


class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angle between targets and predictions: 1 if they point the same way
    (the loss of this name is its negative)."""

    direction = "up"

    def __init__(
        self, name: str = "cosine_similarity", dtype: DTypeLike = None, axis: int = -1
    ) -> None:
        super().__init__(_cosine_similarity, name, dtype, axis=axis)


def _cosine_similarity(y_true: TensorLike, y_pred: TensorLike, axis: int) -> Tensor:
    return -losses.cosine_similarity(y_true, y_pred, axis)


class Poisson(MeanMetricWrapper):
    """The mean of `losses.poisson`."""

    direction = "down"

    def __init__(self, name: str = "poisson", dtype: DTypeLike = None) -> None:
        super().__init__(losses.poisson, name, dtype)


class Hinge(MeanMetricWrapper):
    """The mean of `losses.hinge`."""

    direction = "down"

    def __init__(self, name: str = "hinge", dtype: DTypeLike = None) -> None:
        super().__init__(losses.hinge, name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """The mean of `losses.squared_hinge`."""

    direction = "down"

    def __init__(self, name: str = "squared_hinge", dtype: DTypeLike = None) -> None:
        super().__init__(losses.squared_hinge, name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """The mean of `losses.categorical_hinge`."""

    direction = "down"

    def __init__(self, name: str = "categorical_hinge", dtype: DTypeLike = None) -> None:
        super().__init__(losses.categorical_hinge, name, dtype)


class KLDivergence(MeanMetricWrapper):
    """The mean of `losses.kl_divergence`."""

    direction = "down"

    def __init__(self, name: str = "kl_divergence", dtype: DTypeLike = None) -> None:
        super().__init__(losses.kl_divergence, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `losses.binary_crossentropy`."""

    direction = "down"

    def __init__(
        self,
        name: str = "binary_crossentropy",
        dtype: DTypeLike = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        share("BinaryCrossentropy", "label_smoothing", label_smoothing)
        super().__init__(losses.binary_crossentropy, name, dtype, **options)


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.categorical_crossentropy`."""

    direction = "down"

    def __init__(
        self,
        name: str = "categorical_crossentropy",
        dtype: DTypeLike = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        share("CategoricalCrossentropy", "label_smoothing", label_smoothing)
        super().__init__(losses.categorical_crossentropy, name, dtype, **options)


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.sparse_categorical_crossentropy`. What is of `ignore_class` counts as 0;
    where there are sample weights, not at all (as in Keras).

    >>> SparseCategoricalCrossentropy()([1, 0], [[0.5, 0.5], [0.5, 0.5]])
    Tensor(0.6931472, dtype=float32)
    """

    direction = "down"

    def __init__(
        self,
        name: str = "sparse_categorical_crossentropy",
        dtype: DTypeLike = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(losses.sparse_categorical_crossentropy, name, dtype, **options)
        self._loss = losses.SparseCategoricalCrossentropy(ignore_class=ignore_class, axis=axis)

    def update_state(  # type: ignore[override]
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        mask: TensorLike | None = None,
    ) -> None:
        """Add a batch; what the mask leaves out does not count."""
        if sample_weight is not None:
            mask = self._loss.left(y_true, y_pred, mask)
        super().update_state(y_true, y_pred, sample_weight, mask)


def _names() -> dict[str, Any]:
    classes = [x for x in map(globals().get, __all__) if isinstance(x, type) and x is not Metric]
    return registry.named(
        *classes,
        mse=MeanSquaredError,
        mae=MeanAbsoluteError,
        mape=MeanAbsolutePercentageError,
        msle=MeanSquaredLogarithmicError,
        bce=BinaryCrossentropy,
        acc=accuracy,
        crossentropy=losses.crossentropy,
        ce=losses.crossentropy,
    ) | {"accuracy": accuracy}


_NAMES = _names()
