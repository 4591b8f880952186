"""What `compile` asks for, for the outputs that a model turns out to have: which loss and which
metrics belong to which of them, under which names.

Knows nothing of layers, batches or optimizers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import dtypes, losses, metrics, tree
from .errors import ArgumentError, DtypeError, Error, ShapeError, meant
from .layers.base import mask_of
from .losses import Loss
from .metrics import Metric
from .tensors import Tensor

_BINARY = (losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy)


class Wanted(NamedTuple):
    """The arguments of `compile` that say what is measured."""

    loss: Any
    loss_weights: Any
    metrics: Any
    weighted_metrics: Any

    def check(self) -> None:
        """Raises ArgumentError for names that there are not, for metrics in the place of
        `loss_weights`, which is before theirs, and for one that would stand in the logs where the
        loss does."""
        for given in _singles(self.loss_weights):
            if isinstance(given, str) or callable(given):
                raise ArgumentError(
                    f"compile: loss_weights are numbers, not {given!r}; metrics have their name in "
                    "front, metrics=[...]"
                )
        for given in _singles(self.loss):
            losses.get(given)
        for given in [*_singles(self.metrics), *_singles(self.weighted_metrics)]:
            if metrics.get(given).name == "loss":
                raise ArgumentError(
                    f"compile: the metric {given!r} is named 'loss', as the loss is in the logs: "
                    "give it another name"
                )


class _Output(NamedTuple):
    """One output of a model: its name (None for the only one), and what is asked of it."""

    name: str | None
    loss: Loss | None
    factor: float | None
    tracker: metrics.Mean | None
    metrics: list[tuple[str, Metric]]
    weighted: list[tuple[str, Metric]]


class Objective:
    """Losses and metrics of all outputs of a model.

    `y_pred` is what the model gives; `names` are its outputs' if it has any. Raises ArgumentError
    where what was asked for does not fit the outputs.
    """

    def __init__(self, wanted: Wanted, names: Sequence[str] | None, y_pred: Any) -> None:
        self._names = _names(names, y_pred)
        outputs = tree.leaves(y_pred)
        self._dtype = _dtype(outputs)
        self._sizes = [output.shape[-1] if output.ndim else 1 for output in outputs]
        count = len(self._names)
        several = count > 1
        found = self._each("loss", wanted.loss, several)
        apart = len([loss for loss in found if loss is not None]) > 1  # or it is the whole loss
        factors = self._each("loss_weights", wanted.loss_weights, False)
        if count == 1:
            unweighted, weighted = [wanted.metrics], [wanted.weighted_metrics]
        else:
            unweighted = self._each("metrics", wanted.metrics, False)
            weighted = self._each("weighted_metrics", wanted.weighted_metrics, False)
        taken: set[str] = set()
        self.outputs = [
            _Output(
                name if several else None,
                None if loss is None else losses.get(loss),
                factor,
                self.mean(f"{name}_loss") if apart and loss is not None else None,
                self._metrics(ours, f"{name}_" if several else "", taken),
                self._metrics(theirs, f"{name}_" if several else "", taken, "weighted_"),
            )
            for name, loss, factor, ours, theirs in zip(
                self._names, found, factors, unweighted, weighted, strict=True
            )
        ]

    def mean(self, name: str) -> metrics.Mean:
        """A mean of losses, in the outputs' dtype if that is a wide one."""
        return metrics.Mean(name, self._dtype)

    @property
    def named_metrics(self) -> dict[str, Metric]:
        """Every metric by the name in the logs, losses of single outputs first."""
        found: dict[str, Metric] = {
            output.tracker.name: output.tracker for output in self.outputs if output.tracker
        }
        for output in self.outputs:
            found |= dict(output.metrics)
        for output in self.outputs:
            found |= dict(output.weighted)
        return found

    def check_classes(self, class_weight: Mapping[int, float]) -> None:
        """Raises ArgumentError for the weight of a class that there is not."""
        size = self._sizes[0]
        classes = max(size, 2)
        for number in class_weight:
            if not isinstance(number, (int, np.integer)) or not 0 <= number < classes:
                raise ArgumentError(
                    f"class_weight: there is no class {number!r}: the model's output has "
                    f"{classes}, 0 to {classes - 1}"
                )

    def check_targets(self, method: str, y: Any) -> None:
        """Raises ArgumentError for arrays of targets that name a class which is not there, or are
        no probabilities where the loss takes them to be."""
        for output, array, size in zip(self.outputs, self._split("y", y), self._sizes, strict=True):
            if not array.size:
                continue
            if isinstance(output.loss, losses.SparseCategoricalCrossentropy):
                low, high, what = 0, size - 1, f"the model's output has {size} classes, 0 to"
            elif isinstance(output.loss, _BINARY):
                low, high, what = 0, 1, f"{output.loss.name} takes targets from 0 to"
            else:
                continue
            wrong = (array < low) | (array > high)
            ignored = getattr(output.loss, "ignore_class", None)
            if ignored is not None:
                wrong &= array != ignored
            if wrong.any():
                name = "" if output.name is None else f" of output {output.name!r}"
                raise ArgumentError(
                    f"{method}: y{name} has the target {array[wrong][0]}, and {what} {high}"
                )

    @property
    def has_loss(self) -> bool:
        return any(output.loss is not None for output in self.outputs)

    def loss(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Tensor | None:
        """The sum of the losses, each times its weight; None if there is none."""
        total = None
        for output, true, predicted, weight in self._rows(y_true, y_pred, sample_weight):
            if output.loss is None:
                continue
            value = _fitting("loss", output.loss.name, output.loss, true, predicted, weight)
            if output.tracker is not None:
                output.tracker.update_state(value, sample_weight=len(predicted))
            value = value if output.factor is None else value * output.factor
            total = value if total is None else total + value
        return total

    def update_metrics(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        """Add a batch to every metric."""
        for output, true, predicted, weight in self._rows(y_true, y_pred, sample_weight):
            for name, metric in output.metrics:
                _fitting("metric", name, metric.update_state, true, predicted, None)
            for name, metric in output.weighted:
                _fitting("metric", name, metric.update_state, true, predicted, weight)

    def targets(self, y_true: Any) -> list[tuple[_Output, Any]]:
        """Each output with its targets."""
        return list(zip(self.outputs, self._split("y", y_true), strict=True))

    def _rows(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Iterable[Any]:
        return zip(
            self.outputs,
            self._split("y", y_true),
            self._split("the model's output", y_pred),
            self._weights(sample_weight),
            strict=True,
        )

    def _split(self, what: str, y: Any) -> list[Any]:
        """The part of each output, of a structure or a dict by the outputs' names."""
        if isinstance(y, dict):
            missing = [name for name in self._names if name not in y]
            if missing:
                raise ArgumentError(
                    f"{what}: the outputs are {self._names}, and there is nothing for "
                    f"{missing[0]!r}, only for {list(y)}"
                )
            return [y[name] for name in self._names]
        found = tree.leaves(y)
        if len(found) != len(self._names):
            raise ArgumentError(
                f"{what}: the model has {len(self._names)} outputs, {self._names}, and "
                f"{len(found)} arrays were given"
            )
        return found

    def _weights(self, sample_weight: Any) -> list[Any]:
        """The sample weights of each output; one array is for all."""
        if isinstance(sample_weight, dict):
            self._check_names("sample_weight", sample_weight)
            return [sample_weight.get(name) for name in self._names]
        if isinstance(sample_weight, (list, tuple)):
            if len(sample_weight) != len(self._names):
                raise ArgumentError(
                    f"sample_weight: {len(sample_weight)} arrays for {len(self._names)} outputs"
                )
            return list(sample_weight)
        return [sample_weight] * len(self._names)

    def _each(self, argument: str, given: Any, spread: bool) -> list[Any]:
        """What is given for each output: by name, in order, or (with `spread`) one for all."""
        names = self._names
        if isinstance(given, dict) and "class" not in given:
            self._check_names(f"compile: {argument}", given)
            missing = [name for name in names if name not in given]
            if missing and argument == "loss":
                raise ArgumentError(
                    f"compile: loss: there is none for output {missing[0]!r}: give None if it is "
                    "to have none"
                )
            return [given.get(name) for name in names]
        if isinstance(given, (list, tuple)):
            if len(given) != len(names):
                raise ArgumentError(
                    f"compile: {argument} has {len(given)} entries, and the model has {len(names)} "
                    f"outputs, {names}"
                )
            return list(given)
        if given is None or spread or len(names) == 1:
            return [given] * len(names)
        raise ArgumentError(
            f"compile: {argument} of a model with several outputs is a list with an entry for each "
            f"of {names}, or a dict by their names, not {given!r}"
        )

    def _check_names(self, what: str, given: Iterable[str]) -> None:
        """Raises ArgumentError for the name of an output that there is not."""
        for name in given:
            if name not in self._names:
                raise ArgumentError(f"{what}: no output {name!r}{meant(name, self._names)}")

    def _metrics(
        self, given: Any, prefix: str, taken: set[str], again: str = ""
    ) -> list[tuple[str, Metric]]:
        """The metrics of one output, by names that are not taken."""
        found = []
        for single in _singles(given):
            metric = metrics.get(single)
            if metric is not single and self._dtype != metric.dtype:
                config = {**metric.get_config(), "name": metric.name, "dtype": self._dtype}
                metric = type(metric).from_config(config)
            name = prefix + metric.name
            if name in taken and again:
                name = prefix + again + metric.name
            number, base = 1, name
            while name in taken:
                name, number = f"{base}_{number}", number + 1
            taken.add(name)
            found.append((name, metric))
        return found


def _singles(given: Any) -> list[Any]:
    """The leaves of a structure of names, instances and functions."""
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        return [single for part in given for single in _singles(part)]
    if isinstance(given, dict) and "class" not in given:
        return [single for part in given.values() for single in _singles(part)]
    return [given]


def _names(names: Sequence[str] | None, y_pred: Any) -> list[str]:
    """A name for each output."""
    if isinstance(y_pred, dict):
        return [str(name) for name in y_pred]
    count = len(tree.leaves(y_pred))
    if names is not None and len(names) == count:
        return list(names)
    return [f"output_{i}" for i in range(count)]


def _dtype(outputs: Sequence[Tensor]) -> dtypes.DType:
    """What losses are added up in: float64 for outputs of that dtype, else float32."""
    wide = any(output.dtype == dtypes.float64 for output in outputs)
    return dtypes.float64 if wide else dtypes.float32


def _fitting(
    what: str, name: str, function: Callable[..., Any], true: Any, predicted: Any, weight: Any
) -> Any:
    """function(true, predicted, weight), with an error that says which metric does not fit what."""
    mask = mask_of(predicted)
    masked = {} if mask is None or not _takes_mask(function) else {"mask": mask}
    try:
        return function(true, predicted, weight, **masked)
    except (ShapeError, DtypeError, ArgumentError) as error:
        shapes = f"targets of shape {_shape(true)} and outputs of shape {_shape(predicted)}"
        kind: type[Error] = type(error)
        raise kind(f"{what} {name!r} does not fit {shapes}: {error}") from error


def _takes_mask(function: Callable[..., Any]) -> bool:
    return "mask" in inspect.signature(function).parameters


def _shape(x: Any) -> tuple[Any, ...]:
    return tuple(getattr(x, "shape", ()))
