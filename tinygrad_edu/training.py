"""Training: `compile`, `fit`, `evaluate` and `predict`, which models inherit.

A step (forward, backward, update, metrics) is one compiled program, called once a batch. Losses and
metrics are added up in Variables inside of it and read when somebody looks, so that a step costs
little more than its program. All data becomes a `data.Dataset`, which knows where it stands.
"""

from __future__ import annotations

import itertools
import math
import reprlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from . import backends, compilation, conversion, lines, ops, optimizers, symbolic, tensors, tree
from .callbacks import CallbackList, CSVLogger, History, ProgbarLogger, TerminateOnNaN
from .data import Dataset, Iterated, arrays, common_length
from .errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from .metrics import Mean, Metric
from .objective import Objective, Wanted
from .op import Unary
from .tape import GradientTape
from .tensors import Tensor

_OFTEN = 1024
"""After so many steps a loss that is not finite is noticed on any device."""

_MANY = 1024
"""After so many steps it pays to compile several as one program, where a call takes long."""

_TOGETHER, _MOST = 32, 1 << 24
"""So many then, if their batches are not more bytes than that."""


class FitState:
    """Where `fit` stands: `epoch` and `step` are the next to be done, `data` the Dataset that gives
    the batches.

    A callback finds it as `model.fit_state`, and may load an earlier state in `on_train_begin`:
    training then goes on from there.
    """

    def __init__(self, data: Dataset, epoch: int) -> None:
        self.data = data
        self.epoch = epoch
        self.step = 0

    def state_dict(self) -> dict[str, Any]:
        """Epoch, step and the position of the data, as numbers and lists."""
        return {"epoch": self.epoch, "step": self.step, "data": self.data.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict()` was taken. Raises ArgumentError for what is no such state."""
        try:
            epoch, step = int(state["epoch"]), int(state["step"])
            self.data.load_state_dict(state["data"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError(f"fit: {state!r} is no state of a training") from None
        self.epoch, self.step = epoch, step


class _Compiled:
    """What `compile` has set, and what came of it when the outputs were seen. In an object of its
    own, so that a model does not take it for a part of itself."""

    def __init__(self, optimizer: Any, wanted: Wanted, given: dict[str, Any]) -> None:
        self.optimizer = optimizer
        self.wanted = wanted
        self.given = given
        self.eager = given["run_eagerly"] or given["jit_compile"] is False
        self.together: int = given["steps_per_execution"]
        self.steps = 0  # that were taken
        # Layers and weights, and whether they were trainable when the programs were made.
        self.trained: list[tuple[Any, bool]] = []
        self.loss_mean: Mean | None = None
        self.objective: Objective | None = None
        self.refusing = False  # whether a loss that is not finite is an error
        self.programs = _Programs()
        self.fit_state: FitState | None = None


class _Programs(dict[Any, Callable[..., Any]]):
    """Steps that were compiled. They belong to one model: a copy has none."""

    def __reduce__(self) -> Any:
        return _Programs, ()


class Trainable:
    """What a model needs to be trained; subclasses are called with inputs and `training`.

    `train_step`, `test_step`, `predict_step` and `compute_loss` may be overwritten, as in Keras.

    >>> import tinygrad_edu as edu
    >>> model = edu.Sequential([edu.layers.Dense(1, kernel_initializer="zeros")])
    >>> model.compile(edu.optimizers.SGD(0.25), "mse")
    >>> model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, verbose=0).history
    {'loss': [1.0, 0.0]}
    """

    stop_training = False
    """Set to True (by a callback), it ends `fit` after the batch."""

    history: History | None = None
    """What the last `fit` returned."""

    _compiled: _Compiled | None = None
    _predicting: _Programs | None = None  # programs that need no settings

    # Settings

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how to train: with which optimizer, loss and metrics.

        Each by name, as an instance or class, losses and metrics also as functions of targets and
        predictions. A model with several outputs takes a list with an entry for each output, or a
        dict by their names; losses are added up, times `loss_weights`. `metrics` ignore sample
        weights, `weighted_metrics` use them. Steps are compiled, unless with `run_eagerly` or
        `jit_compile=False`; `steps_per_execution` of them go into one program where that pays (and
        on xla, after many steps on arrays, more than 1 anyway if no callback hears of batches).
        Models of policy "mixed_float16" get a LossScaleOptimizer, unless with
        `auto_scale_loss=False`.

        Raises ArgumentError for names that there are not, with those close to them.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "given")}
        if jit_compile not in (True, False, "auto"):
            raise ArgumentError(
                f"compile: jit_compile is True, False or 'auto', not {jit_compile!r}"
            )
        if not isinstance(steps_per_execution, int) or steps_per_execution < 1:
            raise ArgumentError(
                f"compile: steps_per_execution is a number from 1 on, not {steps_per_execution!r}"
            )
        wanted = Wanted(loss, loss_weights, metrics, weighted_metrics)
        wanted.check()
        found = optimizers.get(optimizer)
        policy = getattr(getattr(self, "dtype_policy", None), "name", "")
        if (
            auto_scale_loss
            and policy == "mixed_float16"
            and not isinstance(found, optimizers.LossScaleOptimizer)
        ):
            found = optimizers.LossScaleOptimizer(found)
        self._compiled = _Compiled(found, wanted, given)
        self._predicting = None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compiled is not None

    @property
    def optimizer(self) -> Any:
        """What `compile` was given, as an Optimizer; None before."""
        return None if self._compiled is None else self._compiled.optimizer

    @property
    def loss(self) -> Any:
        """The loss as `compile` was given it."""
        return None if self._compiled is None else self._compiled.wanted.loss

    @property
    def fit_state(self) -> FitState | None:
        """Where `fit` stands, while it runs."""
        return None if self._compiled is None else self._compiled.fit_state

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, with the optimizer as it is; None before."""
        if self._compiled is None:
            return None
        return {**self._compiled.given, "optimizer": self._compiled.optimizer}

    def build_optimizer(self) -> None:
        """Have the optimizer remember what it does of each weight, as `fit` does at its first
        step."""
        model: Any = self
        trained = set(_weights(self))
        named = {path: v for path, v in model.weight_paths().items() if v in trained}
        self.optimizer.build(named)

    # Metrics

    @property
    def metrics(self) -> list[Metric]:
        """The mean of the loss, the metrics assigned to the model, and those of `compile`."""
        own = list(getattr(super(), "metrics", ()))
        compiled = self._compiled
        if compiled is None:
            return own
        mean = [] if compiled.loss_mean is None else [compiled.loss_mean]
        objective = compiled.objective
        return [*mean, *own, *(objective.named_metrics.values() if objective else ())]

    def named_metrics(self) -> dict[str, Metric]:
        """`metrics` by their names in the logs."""
        objective = None if self._compiled is None else self._compiled.objective
        named = {} if objective is None else objective.named_metrics
        known = {id(metric) for metric in named.values()}
        return {m.name: m for m in self.metrics if id(m) not in known} | named

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` gives, in its order."""
        return self._ordered(list(self.named_metrics()))

    def reset_metrics(self) -> None:
        """Forget all batches."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The value of every metric over the batches so far, by name."""
        found: dict[str, Any] = {}
        for name, metric in self.named_metrics().items():
            result = metric.result()
            found |= result if isinstance(result, dict) else {name: result}
        return found

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The loss of a batch, with what layers have added (regularizers, `add_loss`)."""
        objective = self._objective(y_pred)
        terms = list(getattr(self, "losses", ()))
        if objective.has_loss:
            if y is None:
                raise ArgumentError("fit: the loss needs targets, and there are none: give y")
            value = objective.loss(y, y_pred, sample_weight)
            assert value is not None
            terms.insert(0, value)
        if not terms:
            raise ArgumentError(
                "there is no loss to train with: give compile() one, or add_loss() in a layer"
            )
        total: Tensor = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch to the metrics; their values by name."""
        if y is not None:
            self._objective(y_pred).update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def _objective(self, y_pred: Any) -> Objective:
        compiled = self._settings("compute_loss")
        if compiled.objective is None:
            names = getattr(self, "output_names", None)
            compiled.objective = Objective(compiled.wanted, names, y_pred)
            compiled.loss_mean = compiled.objective.mean("loss")
        return compiled.objective

    def _settings(self, method: str) -> _Compiled:
        if self._compiled is None:
            raise ArgumentError(
                f"{method}: the model is not compiled: call compile(optimizer, loss) before"
            )
        return self._compiled

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """Learn from one batch, x, (x, y) or (x, y, sample_weight); the logs so far."""
        self._learn(data)
        return self.get_metrics_result()

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measure one batch; the logs so far."""
        self._measure(data)
        return self.get_metrics_result()

    def predict_step(self, data: Any) -> Any:
        """The outputs for one batch."""
        return _call(self, unpack_x_y_sample_weight(data)[0], False)

    def _learn(self, data: Any) -> Tensor:
        """Forward, backward, update: the loss."""
        compiled = self._settings("train_step")
        optimizer = compiled.optimizer
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with GradientTape() as tape:
            y_pred = _call(self, x, True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, True)
            if compiled.refusing:
                loss = _finite(loss)
            scaled = optimizer.scale_loss(loss)
        weights = _weights(self)
        if weights:
            optimizer.apply(tape.gradient(scaled, weights), weights)
        else:
            lines.warn("fit: the model has no trainable weights: none is changed")
        self._add_up(x, y, y_pred, sample_weight, loss)
        return loss

    def _measure(self, data: Any) -> Tensor:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = _call(self, x, False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, False)
        self._add_up(x, y, y_pred, sample_weight, loss)
        return loss

    def _add_up(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, loss: Tensor) -> None:
        """Add a batch to the mean of the loss and to the metrics."""
        self._objective(y_pred)  # which makes that mean, if no loss has asked for it
        mean = self._settings("train_step").loss_mean
        if mean is not None:
            mean.update_state(loss, sample_weight=tree.leaves(x)[0].shape[0])
        self.compute_metrics(x, y, y_pred, sample_weight)

    def _program(self, kind: str, structure: tree.Structure) -> Callable[..., Any]:
        """What runs a batch, of this structure, whose leaves it is given: a step that nobody has
        overwritten gives its loss, another one its logs."""
        programs = self._programs(kind)
        compiled = self._compiled
        key = (kind, structure, compiled is not None and compiled.refusing)
        found = programs.get(key)
        if found is not None:
            return found
        plain = {"train": self._learn, "test": self._measure}
        own = kind in plain and not _overwrites(self, f"{kind}_step")
        step = plain[kind] if own else getattr(self, f"{kind}_step")

        def run(*leaves: Tensor) -> Any:
            return step(pack_x_y_sample_weight(*structure.unflatten(leaves)))

        eager = compiled is not None and compiled.eager
        programs[key] = run if eager else compilation.jit(run)
        return programs[key]

    def _programs(self, kind: str) -> _Programs:
        if kind != "predict":
            return self._settings(kind).programs
        if self._predicting is None:
            self._predicting = _Programs()
        return self._predicting

    def _check_programs(self) -> None:
        """Have steps compiled anew, if layers were frozen or thawed since they were."""
        compiled = self._settings("fit")
        if any([x.trainable != was for x, was in compiled.trained]):
            compiled.programs, compiled.trained = _Programs(), []

    def _note_trained(self) -> None:
        """Remember which weights a step has trained."""
        compiled = self._settings("fit")
        model: Any = self
        if not compiled.trained:
            known = [*model._below(), *[v for _, v, _ in model._walk()]]
            compiled.trained = [(x, x.trainable) for x in known]

    def _forget_programs(self) -> None:
        """For a model that has become another one: compile everything anew."""
        self._predicting = None
        if self._compiled is not None:
            self._compiled.programs, self._compiled.trained = _Programs(), []
            self._compiled.objective = None

    # Training

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Collection[int] = 1,
    ) -> History:
        """Train for `epochs` passes over the data; what was measured, epoch by epoch.

        x and y are arrays (NumPy, Tensors, pandas, lists of numbers) or structures of them, in
        batches of `batch_size` (32), in a new order each epoch if `shuffle`. Or x alone is a
        Dataset, or anything that gives batches (x, y) or (x, y, sample_weight): a generator, a
        list of them, a DataLoader, a tf.data Dataset. Floats come in the dtype of the model's
        weights.

        `sample_weight` has a weight for each sample, `class_weight` one for each class (1 for those
        that it leaves out). `validation_data` is measured every `validation_freq` epochs, or in the
        epochs that it lists; `validation_split` takes that share of the arrays' end for it.
        `steps_per_epoch` ends an epoch early; the next goes on where it ended. `verbose` is 0 for
        nothing, 1 or "auto" for a live bar where there is a terminal, 2 for a line an epoch.

        Raises before anything is learned: ArgumentError before `compile`, and for arguments that
        do not fit, targets outside the classes among them; ShapeError for arrays of different
        lengths, or that do not fit the model. And NonFiniteError for a loss that is NaN or
        infinite, with epoch and step (unless there is a TerminateOnNaN): on the device "numpy"
        weights are then as before that step.
        """
        compiled = self._settings("fit")
        _check_counts(
            "fit",
            epochs=epochs,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
        )
        _check_counts("fit", 0, initial_epoch=initial_epoch)
        due = validation_freq if isinstance(validation_freq, Collection) else [validation_freq]
        for each in due:
            _check_counts("fit", validation_freq=each)
        shown = _shown("fit", verbose)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = _split(x, y, sample_weight, validation_split)
        feed = _Feed("fit", x, y, sample_weight, class_weight, batch_size, shuffle, steps_per_epoch)
        measured = None
        if validation_data is not None:
            parts = unpack_x_y_sample_weight(validation_data)
            size = validation_batch_size or batch_size if _is_data(parts[0]) else None
            what = "fit: validation_data"
            measured = _Feed(what, *parts, None, size, False, validation_steps)
        if feed.once and epochs - initial_epoch > 1 and steps_per_epoch is None:
            raise ArgumentError(
                f"fit: a generator is read once, and {epochs - initial_epoch} epochs need it again:"
                " give steps_per_epoch, or edu.data.Dataset.from_generator(function)"
            )
        self._prepare("fit", feed, measured)
        told = CallbackList(
            callbacks,
            True,
            bool(shown),
            self,
            epochs=epochs,
            steps=feed.steps,
            verbose=shown,
        )
        self.history = told.find(History)
        self.stop_training = False
        compiled.fit_state = FitState(feed.data, initial_epoch)
        compiled.refusing = told.find(TerminateOnNaN) is None
        try:
            told.on_train_begin(None)
            logs = self._epochs(compiled.fit_state, feed, measured, told, epochs, validation_freq)
            if compiled.optimizer.built:
                compiled.optimizer.finalize_variable_values(_weights(self))
            told.on_train_end(logs)
        finally:
            compiled.refusing, compiled.fit_state = False, None
            feed.restart()
            _close(told)
        assert self.history is not None
        return self.history

    def _epochs(
        self,
        state: FitState,
        feed: _Feed,
        measured: _Feed | None,
        told: CallbackList,
        epochs: int,
        validation_freq: int | Collection[int],
    ) -> dict[str, float]:
        logs: dict[str, float] = {}
        while state.epoch < epochs and not self.stop_training:
            epoch = state.epoch
            if not state.step:
                self.reset_metrics()
            told.on_epoch_begin(epoch, None)
            together = self._together(feed, told)
            given: Any = (
                feed.batches(state.step)
                if together == 1
                else feed.groups(state.step, together, self._joins())
            )
            with closing(given):
                logs = self._epoch(state, feed, given, told, together)
            if not logs:
                break  # a generator that had ended
            if measured is not None and _is_due(epoch, validation_freq):
                found = self._measured(measured, told)
                logs |= {f"val_{name}": value for name, value in found.items()}
            state.epoch, state.step = epoch + 1, 0
            told.on_epoch_end(epoch, logs)
            if feed.ended:
                break
        return logs

    def _epoch(
        self, state: FitState, feed: _Feed, given: Iterator[Any], told: CallbackList, together: int
    ) -> dict[str, float]:
        """The steps of one epoch, with batches or with groups of them; the logs at its end, none if
        there was no batch."""
        self._check_programs()
        guard = _Guard(self, state)
        note = guard.note
        reads = told.reads("on_train_batch_end")
        begin, end = told.on_train_batch_begin, told.on_train_batch_end
        begins, ends = told.hears("on_train_batch_begin"), told.hears("on_train_batch_end")
        known: Any = None
        run: Any = None
        result: Any = None
        # What is done here for every step is what `fit` costs: it is written for speed.
        for batch in given:
            if begins:
                begin(state.step, None)
            try:
                if together == 1:
                    leaves, structure = batch
                    if structure is not known:
                        known, run = structure, self._program("train", structure)
                    result = run(*leaves)
                else:
                    result = self._several(batch)
            except _LossError as error:
                raise guard.refused(error.loss, state.step, batch) from None
            state.step += 1 if together == 1 else batch.steps
            note(result, state.step)
            if ends:
                end(state.step - 1, self._logs(result) if reads else None)
            if self.stop_training:
                break
        if not state.step:
            if feed.ended:
                return {}
            raise ArgumentError("fit: the data gave no batch")
        guard.check()
        self._note_trained()
        self._settings("fit").steps += state.step
        return self._logs(result)

    def _together(self, feed: _Feed, told: CallbackList) -> int:
        """How many steps go into one program: what `compile` was told; or several, on a device
        where a call takes as long as a small step, if nobody can see the difference. These share
        an epoch's batches evenly, so that few are left over."""
        compiled = self._settings("fit")
        if compiled.together > 1 or not self._joins():
            return compiled.together
        seen = told.counts() or _overwrites(self, "train_step")
        pays = compiled.steps >= _MANY and 0 < feed.batch_bytes <= _MOST // _TOGETHER
        if seen or not pays or not feed.full:
            return 1
        return feed.full // math.ceil(feed.full / _TOGETHER)

    def _joins(self) -> bool:
        """Whether several steps are to be one program: not where a call costs next to nothing."""
        return not self._settings("fit").eager and backends.current() is not backends.numpy

    def _several(self, group: _Group) -> Any:
        """Several steps, in one program if their batches are stacked; their results, stacked."""
        structure = group.structure
        if structure is None:
            results = [self._program("train", s)(*leaves) for leaves, s in group.batches]
            return tree.map(lambda *xs: ops.stack(list(xs)), *results)
        step = self._program("train", structure)
        programs = self._programs("train")
        key = ("several", structure, self._settings("fit").refusing)
        if key not in programs:

            def run(*stacks: Tensor) -> Any:
                return ops.scan(lambda carry, rows: (carry, step(*rows)), 0, list(stacks))[1]

            programs[key] = compilation.jit(run)
        return programs[key](*group.stacks)

    def _logs(self, result: Any = None) -> dict[str, float]:
        """Logs as numbers: of the metrics, or what a step of the user's has given."""
        found = self.get_metrics_result()
        if isinstance(result, dict) and set(result) != set(found):
            found = result
        return {name: _as_number(value) for name, value in found.items()}

    # Measuring

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss over all batches, or a list of the loss and the metrics (named in
        `metrics_names`), or with `return_dict` a dict of them. Data is as in `fit`."""
        self._settings("evaluate")
        _check_counts("evaluate", batch_size=batch_size, steps=steps)
        shown = _shown("evaluate", verbose)
        feed = _Feed("evaluate", x, y, sample_weight, None, batch_size, False, steps)
        self._prepare("evaluate", feed)
        told = CallbackList(
            callbacks,
            False,
            bool(shown),
            self,
            steps=feed.steps,
            verbose=shown,
        )
        try:
            logs = self._measured(feed, told)
        finally:
            _close(told)
        return logs if return_dict else self._listed(logs)

    def _measured(self, feed: _Feed, told: CallbackList) -> dict[str, float]:
        self.reset_metrics()
        self._check_programs()
        feed.restart()
        told.on_test_begin(None)
        reads = told.reads("on_test_batch_end")
        result: Any = None
        with closing(feed.batches(0)) as batches:
            for step, (leaves, structure) in enumerate(batches):
                told.on_test_batch_begin(step, None)
                result = self._program("test", structure)(*leaves)
                told.on_test_batch_end(step, self._logs(result) if reads else None)
        if result is None:
            raise ArgumentError(f"{feed.method}: the data gave no batch")
        self._note_trained()
        logs = self._logs(result)
        told.on_test_end(logs)
        return logs

    def _listed(self, logs: dict[str, float]) -> Any:
        """Logs as `evaluate` gives them: the loss alone, or a list."""
        found = [logs[name] for name in self._ordered(list(logs))]
        return found[0] if len(found) == 1 else found

    def _ordered(self, names: list[str]) -> list[str]:
        """Names of logs in Keras's order: with several outputs, metrics by their names."""
        objective = None if self._compiled is None else self._compiled.objective
        if objective is None or len(objective.outputs) < 2:
            return names
        means = {each.tracker.name for each in objective.outputs if each.tracker is not None}
        first = [name for name in names if name == "loss" or name in means]
        return [*first, *sorted(set(names) - set(first))]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for all samples, as NumPy arrays in the structure of the outputs, computed in
        batches. Data is as in `fit`; of batches (x, y) only x counts."""
        _check_counts("predict", batch_size=batch_size, steps=steps)
        shown = _shown("predict", verbose)
        feed = _Feed("predict", x, None, None, None, batch_size, False, steps, targets=False)
        self._prepare("predict", feed)
        told = CallbackList(
            callbacks,
            False,
            bool(shown),
            self,
            steps=feed.steps,
            verbose=shown,
        )
        found: list[list[np.ndarray]] = []
        outputs: tree.Structure | None = None
        try:
            told.on_predict_begin(None)
            reads = told.reads("on_predict_batch_end")
            with closing(feed.batches(0)) as batches:
                for step, (leaves, structure) in enumerate(batches):
                    told.on_predict_batch_begin(step, None)
                    batch, outputs = tree.flatten(self._program("predict", structure)(*leaves))
                    found.append([y.numpy() for y in batch])
                    logs = {"outputs": outputs.unflatten(found[-1])} if reads else None
                    told.on_predict_batch_end(step, logs)
            told.on_predict_end(None)
        finally:
            _close(told)
        if outputs is None:
            raise ArgumentError("predict: the data gave no batch")
        return outputs.unflatten([np.concatenate(part) for part in zip(*found, strict=True)])

    # Single batches

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Learn from one batch; its loss and metrics, as `evaluate` gives them."""
        return self._on_batch("train", x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Measure one batch; its loss and metrics."""
        return self._on_batch("test", x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        feed = _Feed("predict_on_batch", x, None, None, None, None, False, None, targets=False)
        self._prepare("predict_on_batch", feed)
        leaves, structure = feed.whole()
        return tree.map(lambda y: y.numpy(), self._program("predict", structure)(*leaves))

    def _on_batch(
        self, kind: str, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
    ) -> Any:
        method = f"{kind}_on_batch"
        self._settings(method)
        feed = _Feed(method, x, y, sample_weight, class_weight, None, False, None)
        self._prepare(method, feed)
        leaves, structure = feed.whole()
        self.reset_metrics()
        self._check_programs()
        logs = self._logs(self._program(kind, structure)(*leaves))
        self._note_trained()
        return logs if return_dict else self._listed(logs)

    def _prepare(self, method: str, *feeds: _Feed | None) -> None:
        """Build the model and find its losses and metrics, with the first sample; refuse what does
        not fit, before anything is changed."""
        given = [feed for feed in feeds if feed is not None]
        eager = self._compiled is not None and self._compiled.eager
        for feed in given:
            feed.dtype = getattr(self, "dtype", "float32")
            feed.lends = not eager
        if any(_overwrites(self, name) for name in _STEPS):
            return
        compiled = self._compiled if given[0].targets else None
        known = getattr(self, "built", True) if compiled is None else compiled.objective is not None
        if not known:
            self._try(given[0])
        if len(given) > 1 and _kinds(given[1].example(1)) != _kinds(given[0].example(1)):
            self._try(given[1])
        if compiled is None:
            return
        if method in ("fit", "train_on_batch") and not compiled.optimizer.built:
            self.build_optimizer()
        assert compiled.objective is not None
        for feed in given:
            feed.check(compiled.objective)

    def _try(self, feed: _Feed) -> None:
        """One sample through the model, its losses and its metrics."""
        x, y, sample_weight = feed.example(getattr(self, "fixed_batch_size", None) or 1)
        with symbolic.trying():
            y_pred = _call(self, x, False)
        if not feed.targets or self._compiled is None:
            return
        before = self._compiled.objective
        try:
            self.compute_loss(x, y, y_pred, sample_weight, False)
            self.compute_metrics(x, y, y_pred, sample_weight)
        except Exception as error:
            self._compiled.objective = before
            if type(error) not in (ArgumentError, DtypeError, ShapeError):
                raise
            raise type(error)(f"{feed.method}, tried with one sample: {error}") from None
        self.reset_metrics()


_STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample weights of what a batch is: x, (x,), (x, y) or (x, y, sample_weight). What is
    not there is None."""
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ArgumentError(
            f"a batch is x, (x, y) or (x, y, sample_weight), and this has {len(data)} parts"
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """A batch as steps get it: x, (x, y) or (x, y, sample_weight), by what there is. An x that is a
    list or tuple is in a tuple of its own, (x,)."""
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, (tuple, list)) else x


class _LossError(NonFiniteError):
    """A loss that is NaN or infinite."""

    def __init__(self, loss: float) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss = loss


class Finite(Unary):
    """The same number; NumPy programs refuse what is NaN or infinite, before they change state."""

    gradients = (lambda g, out, x: g,)

    def forward(self, xp: Any, x: Any) -> Any:
        if xp is np and not math.isfinite(x):
            raise _LossError(float(x))
        return x.copy()  # an array of its own, whose place a program may use again


_finite = Finite()


class _Guard:
    """Watches for losses that are not finite, without asking for each."""

    def __init__(self, model: Any, state: FitState) -> None:
        self._model, self._state = model, state
        self._active = model._compiled.refusing
        self._results: list[tuple[int, Any]] = []

    def note(self, result: Any, step: int) -> None:
        """Remember what came of the steps before number `step`."""
        if self._active:
            self._results.append((step, result))
            if len(self._results) >= _OFTEN:
                self.check()

    def check(self) -> None:
        """Raises NonFiniteError for the first loss that was not finite."""
        results, self._results = self._results, []
        if not self._active or not results:
            return
        mean = self._model._compiled.loss_mean
        if mean is not None and math.isfinite(mean.total):
            return
        for step, result in results:
            loss = result.get("loss") if isinstance(result, dict) else result
            if isinstance(loss, Tensor) and not np.isfinite(loss.numpy()).all():
                found = np.atleast_1d(loss.numpy())
                i = int(np.argmin(np.isfinite(found)))
                error = self.refused(float(found[i]), step - len(found) + i)
                error.add_note("the weights have been changed with it")
                raise error

    def refused(self, loss: float, step: int, batch: Any = None) -> NonFiniteError:
        """The error for the loss of a step; `batch` is what it was given."""
        hint = (
            "a smaller learning rate, clipping (clipnorm=), scaled inputs or from_logits=True may "
            "help; edu.config.check_finite names the first operation"
        )
        if batch.__class__ is tuple:
            parts = zip(("x", "y", "sample_weight"), batch[1].unflatten(batch[0]), strict=True)
            for name, part in parts:
                if not all(np.isfinite(leaf.numpy()).all() for leaf in tree.leaves(part)):
                    hint = f"{name} has NaN or infinity in it"
        return NonFiniteError(
            f"fit: the loss is {loss} in epoch {self._state.epoch + 1}, step {step + 1} (counted "
            f"from 1): {hint}"
        )


class _Group(NamedTuple):
    """Batches that are learned together: each by itself, or `stacks` of them, of one structure."""

    steps: int
    batches: Sequence[Any]
    stacks: Sequence[Tensor] = ()
    structure: tree.Structure | None = None


class _Feed:
    """What a method was given, as batches of Tensors."""

    dtype = "float32"
    """What floats are cast to: the dtype of the model's weights."""

    lends = False
    """Whether Tensors of batches are for jitted functions alone."""

    batch_bytes = 0
    """How large a batch is; 0 if nobody knows."""

    full = 0
    """How many batches of that size there are, in a pass over arrays."""

    def __init__(
        self,
        method: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: Mapping[int, float] | None,
        batch_size: int | None,
        shuffle: bool,
        steps: int | None,
        targets: bool = True,
    ) -> None:
        self.method = method
        self.targets = targets
        self.ended = False
        self._class_weight = class_weight
        self._limit = steps
        self._going: Iterator[Any] | None = None
        self._objective: Objective | None = None
        self.is_array = _is_data(x) and not (y is None and _are_batches(x))
        if not isinstance(class_weight, Mapping | None):
            raise DtypeError(
                f"{method}: class_weight maps classes to weights, {{0: 1.0, 1: 2.0}}, and is no "
                f"{type(class_weight).__name__}"
            )
        if class_weight is not None and sample_weight is not None:
            raise ArgumentError(f"{method}: give class_weight or sample_weight, not both")
        if self.is_array:
            parts = {"x": x, "y": y, "sample_weight": sample_weight}
            found = {name: arrays(part, f"{method}: {name}") for name, part in parts.items()}
            size = _same_length(method, found)
            if not size:
                raise ArgumentError(f"{method}: x has no samples")
            if class_weight is not None:
                found["sample_weight"] = _class_weights(method, found["y"], class_weight)
            self._arrays = tuple(found.values())
            self._leaves, self._structure = tree.flatten(self._arrays)
            rows = Dataset.from_arrays(self._leaves)
            self.data = (rows.shuffle() if shuffle else rows).batch(batch_size or 32)
            self.batch_bytes = (batch_size or 32) * sum([x[:1].nbytes for x in self._leaves])
            self.full = size // (batch_size or 32)
        else:
            if not isinstance(x, Iterable):
                raise DtypeError(
                    f"{method}: x is a {type(x).__name__}: give arrays, or something that gives "
                    "batches"
                )
            if y is not None or sample_weight is not None or batch_size is not None:
                raise ArgumentError(
                    f"{method}: x gives batches by itself: y, sample_weight and batch_size are for "
                    "arrays"
                )
            self.data = x if isinstance(x, Dataset) else Iterated(x)
            if self.data.is_endless and steps is None:
                many = "steps_per_epoch" if method == "fit" else "validation_steps or steps"
                raise ArgumentError(
                    f"{method}: this Dataset has no end: say with {many} how many batches to take"
                )

    @property
    def once(self) -> bool:
        """Whether it is over after a pass: a generator."""
        return isinstance(self.data, Iterated) and self.data.once

    @property
    def steps(self) -> int | None:
        """How many batches there will be, if that is known."""
        return self.data.length if self._limit is None else self._limit

    def example(self, count: int) -> Any:
        """The first samples."""
        if self.is_array:
            found = tree.map(lambda a: a[:count], self._arrays)
        else:
            first = self.data.first(_ABSENT)
            if first is _ABSENT:
                raise ArgumentError(f"{self.method}: the data gives no batch")
            found = tree.map(lambda a: a[:count], self._parts(first))
        return tree.map(lambda a: conversion.borrowed(a, self._cast(a)), found)

    def check(self, objective: Objective) -> None:
        """Raises ArgumentError for targets and class weights that no class has: of arrays now, of
        other data when it comes."""
        if self._class_weight is not None:
            objective.check_classes(self._class_weight)
        if not self.is_array:
            self._objective = objective
        elif self._arrays[1] is not None:
            objective.check_targets(self.method, self._arrays[1])

    def whole(self) -> tuple[list[Tensor], tree.Structure]:
        """All as one batch."""
        return self._tensors(self._arrays if self.is_array else self._parts(next(iter(self.data))))

    def restart(self) -> None:
        """Have the next epoch begin with the first batch again, if that can be."""
        if not self.once:
            self._going = None

    def batches(self, start: int) -> Generator[tuple[list[Tensor], tree.Structure], None, None]:
        """The batches of an epoch, from number `start` on."""
        if self._limit is not None:
            convert = self._rows() if self.is_array else self._batch
            yield from map(convert, self._limited(self._limit - start))
        elif self.is_array:
            yield from self.data.converted(self._several())
        else:
            yield from map(self._batch, self.data)
            self.ended = self.once

    def groups(self, start: int, size: int, joins: bool) -> Generator[_Group, None, None]:
        """The same, up to `size` at a time: stacked, if they are to be, as many and alike."""
        rest: Any
        if self.is_array and self._limit is None and joins:
            rest, convert = [], self._rows()
            for count, leaves in self.data.groups(size):
                if count > 1:
                    yield _Group(count, (), *convert(leaves))
                else:
                    rest.append(convert(leaves))
            if rest:
                yield _Group(len(rest), rest)
            return
        with closing(self.batches(start)) as batches:
            while rest := list(itertools.islice(batches, size)):
                yield _stacked(rest) if joins and len(rest) == size else _Group(len(rest), rest)

    def _limited(self, count: int) -> Iterator[Any]:
        """So many batches from where the last epoch ended, over several passes if need be."""
        fresh = False
        while count > 0:
            if self._going is None:
                self._going, fresh = iter(self.data), True
            batch = next(self._going, _ABSENT)
            if batch is not _ABSENT:
                count, fresh = count - 1, False
                yield batch
                continue
            self._going = None
            if self.once:
                lines.warn(
                    f"{self.method}: the generator ended early, {count} batches before the end of "
                    "the epoch",
                )
                self.ended = True
                return
            if fresh:
                return

    def _parts(self, batch: Any) -> Any:
        """A batch of somebody else's as arrays (x, y, sample_weight)."""
        x, y, sample_weight = unpack_x_y_sample_weight(batch)
        if not self.targets:
            return arrays(x, f"{self.method}: x"), None, None
        parts = {"x": x, "y": y, "sample_weight": sample_weight}
        found = {name: arrays(part, f"{self.method}: {name}") for name, part in parts.items()}
        try:
            _same_length(self.method, found)
        except ShapeError as error:
            if isinstance(self.data, Iterated):
                raise
            raise ShapeError(f"{error}. A Dataset of single rows needs .batch(size)") from None
        if self._class_weight is not None:
            found["sample_weight"] = _class_weights(self.method, found["y"], self._class_weight)
        if self._objective is not None and y is not None:
            self._objective.check_targets(self.method, found["y"])
        return tuple(found.values())

    def _rows(self) -> Callable[[Sequence[np.ndarray]], tuple[list[Tensor], tree.Structure]]:
        """What makes Tensors of a batch of its own arrays. Written for speed."""
        make, structure = self._make, self._structure
        dtypes = [self._cast(leaf) for leaf in self._leaves]

        def convert(batch: Sequence[np.ndarray]) -> tuple[list[Tensor], tree.Structure]:
            return [make(x, dtype) for x, dtype in zip(batch, dtypes, strict=True)], structure

        return convert

    def _several(self) -> Callable[[int, Sequence[np.ndarray]], Sequence[Any]]:
        """The same of several batches, put together unless it is one."""
        convert, structure = self._rows(), self._structure
        make = compilation.lent_rows if self.lends else _borrowed_rows
        dtypes = [self._cast(leaf) for leaf in self._leaves]

        def several(count: int, group: Sequence[np.ndarray]) -> Sequence[Any]:
            if count == 1:
                return [convert(group)]
            columns = [make(x, dtype) for x, dtype in zip(group, dtypes, strict=True)]
            return [(leaves, structure) for leaves in zip(*columns, strict=True)]

        return several

    def _batch(self, batch: Any) -> tuple[list[Tensor], tree.Structure]:
        return self._tensors(self._parts(batch))

    def _tensors(self, parts: Any) -> tuple[list[Tensor], tree.Structure]:
        leaves, structure = tree.flatten(parts)
        return [self._tensor(leaf) for leaf in leaves], structure

    def _tensor(self, array: np.ndarray) -> Tensor:
        """An array of a batch, for the step that is next: not copied where that is safe."""
        return self._make(array, self._cast(array))

    @property
    def _make(self) -> Callable[[np.ndarray, str | None], Tensor]:
        """What makes a Tensor of an array."""
        return compilation.lent if self.lends else conversion.borrowed

    def _cast(self, array: np.ndarray) -> str | None:
        own = array.dtype
        return self.dtype if own.kind == "f" and own != self.dtype else None


def _borrowed_rows(array: np.ndarray, dtype: str | None) -> list[Tensor]:
    return [conversion.borrowed(row, dtype) for row in array]


_ABSENT = object()


def _is_data(x: Any) -> bool:
    """Whether this is arrays, and not something that gives batches."""
    if isinstance(x, (list, tuple)):
        return bool(x) and all(map(_is_data, x))
    if isinstance(x, dict):
        return bool(x) and all(map(_is_data, x.values()))
    if isinstance(x, (Dataset, str)):
        return False
    return isinstance(x, (np.ndarray, np.generic, bool, int, float)) or hasattr(x, "__array__")


def _are_batches(x: Any) -> bool:
    """Whether a list has batches (x, y) in it, and not an array for each input."""
    if not isinstance(x, list):
        return False
    return all(
        isinstance(batch, tuple) and any(getattr(part, "ndim", 0) for part in batch) for batch in x
    )


def _kinds(sample: Any) -> Any:
    """What tells whether a sample is like another: structure, shapes and dtypes."""
    leaves, structure = tree.flatten(sample)
    return structure, [(x.shape, x.dtype) for x in leaves]


def _same_length(method: str, parts: Mapping[str, Any]) -> int:
    try:
        return common_length({name: part for name, part in parts.items() if part is not None})
    except ShapeError as error:
        raise ShapeError(f"{method}: {error}") from None


def _class_weights(method: str, y: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of each sample, by its class: the target, or the place of the largest."""
    leaves = tree.leaves(y)
    if len(leaves) != 1:
        raise ArgumentError(
            f"{method}: class_weight is for models with one output, and y has {len(leaves)} arrays"
        )
    classes = leaves[0]
    if classes.ndim > 1:
        wide = classes.shape[-1] != 1
        classes = np.argmax(classes, axis=-1) if wide else np.squeeze(classes, axis=-1)
    found = np.ones(classes.shape, np.float32)
    for number, weight in class_weight.items():
        found[np.round(classes) == number] = weight
    return found


def _split(x: Any, y: Any, sample_weight: Any, share: float) -> tuple[Any, Any]:
    """The arrays without the `share` at their end, and that."""
    if not 0 < share < 1:
        raise ArgumentError(f"fit: validation_split is between 0 and 1, not {share!r}")
    if not _is_data(x):
        raise ArgumentError("fit: validation_split is for arrays: give validation_data")
    names = ("x", "y", "sample_weight")
    given = [arrays(a, f"fit: {n}") for n, a in zip(names, (x, y, sample_weight), strict=True)]
    size = _same_length("fit", dict(zip(names, given, strict=True)))
    at = math.floor(size * (1 - share))
    if not 0 < at < size:
        raise ArgumentError(
            f"fit: validation_split={share} of {size} samples leaves none on one side"
        )
    first = tuple([tree.map(lambda a: a[:at], part) for part in given])
    return first, tuple([tree.map(lambda a: a[at:], part) for part in given])


def _check_counts(method: str, least: int = 1, /, **counts: Any) -> None:
    for name, count in counts.items():
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
            given = reprlib.repr(count)  # targets in the place of a batch size may be long
            raise ArgumentError(f"{method}: {name} is a number from {least} on, not {given}")


def _shown(method: str, verbose: str | int) -> int:
    """What `verbose` says: 0 for nothing, 1 for a bar, 2 for a line an epoch."""
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError(f"{method}: verbose is 0, 1, 2 or 'auto', not {verbose!r}")
    return 1 if verbose == "auto" else int(verbose)


def _stacked(batches: Sequence[Any]) -> _Group:
    """Batches as a group: stacked, if they are alike."""
    structure = batches[0][1]
    signatures = {(s, *[(x.shape, x.dtype) for x in leaves]) for leaves, s in batches}
    if len(signatures) > 1:
        return _Group(len(batches), batches)
    columns = zip(*[leaves for leaves, _ in batches], strict=True)
    stacks = [compilation.lent(np.stack([x.numpy() for x in column])) for column in columns]
    return _Group(len(batches), (), stacks, structure)


def _is_due(epoch: int, frequency: int | Collection[int]) -> bool:
    """Whether there is a validation after this epoch."""
    if isinstance(frequency, Collection):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0


def _overwrites(model: Any, method: str) -> bool:
    return getattr(type(model), method) is not getattr(Trainable, method)


def _call(model: Any, x: Any, training: bool) -> Any:
    return model(x, training=training)


def _weights(model: Any) -> Any:
    return model.trainable_weights


def _as_number(value: Any) -> Any:
    """A value of the logs as a Python number, or as an array if it is one."""
    found = value.numpy() if isinstance(value, tensors.Operators) else np.asarray(value)
    return found if found.ndim else found.item()


def _close(told: CallbackList) -> None:
    for callback in told.callbacks:
        if isinstance(callback, (CSVLogger, ProgbarLogger)):
            callback.close()
