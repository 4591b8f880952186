"""Callbacks: what happens between the steps of `fit`, `evaluate` and `predict`.

Names, arguments and behaviour are Keras's. A callback has the model (`self.model`) and what the
call was given (`self.params`), and is told of the beginning and the end of everything. What it
writes to or draws with (rich, tensorboardX) is imported when it is used.
"""

from __future__ import annotations

import csv
import inspect
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import lines, registry, saving
from .arguments import fraction, not_negative, number, whole
from .errors import ArgumentError, DtypeError, ExtraMissingError, NonFiniteError, meant

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]

Logs = Mapping[str, Any] | None

_EVENTS = [
    *[f"on_epoch_{when}" for when in ("begin", "end")],
    *[f"on_{what}_{when}" for what in ("train", "test", "predict") for when in ("begin", "end")],
    *[
        f"on_{what}_batch_{when}"
        for what in ("train", "test", "predict")
        for when in ("begin", "end")
    ],
]


class Callback(registry.Configured):
    """A base for callbacks: overwrite what you want to hear of.

    `logs` maps names ("loss", metrics, "val_loss" ...) to numbers; in `on_epoch_end` it is a dict
    of which later callbacks see changes. `batch` and `epoch` count from 0. To end training, set
    `self.model.stop_training = True`.

    Logs of batches are computed only where a callback listens to them; one that does not read them
    says so with `reads_batch_logs = False`.

    >>> class Bell(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch}: {sorted(logs)}")
    >>> CallbackList([Bell()]).on_epoch_end(0, {"loss": 0.5})
    epoch 0: ['loss']
    """

    reads_batch_logs = True

    comes_last = False
    """Whether it is called after those that are not so, in whatever order they are given."""

    kept: Sequence[str] = ()
    """Attributes that a checkpoint has, so that a training goes on as if it had not stopped."""

    beside: Sequence[Callback] = ()
    """All callbacks of the training, this one too."""

    model: Any = None
    params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Called with the model before anything begins."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called with "epochs", "steps" (None if unknown) and "verbose"."""
        self.params = params

    def state_dict(self) -> dict[str, Any]:
        """What it has to remember when a training is stopped."""
        return {name: getattr(self, name) for name in self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave, perhaps of an older version that kept less."""
        vars(self).update({name: state[name] for name in self.kept if name in state})

    def on_train_begin(self, logs: Logs = None) -> None: ...

    def on_train_end(self, logs: Logs = None) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None: ...

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Another name for `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Another name for `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None: ...

    def on_test_end(self, logs: Logs = None) -> None: ...

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None: ...

    def on_predict_begin(self, logs: Logs = None) -> None: ...

    def on_predict_end(self, logs: Logs = None) -> None: ...

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None: ...

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None: ...


class CallbackList(Callback):
    """Several callbacks as one. Only those that listen to an event are called for it."""

    def __init__(
        self,
        callbacks: Callback | Iterable[Any] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = _flat(callbacks)
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self.callbacks.sort(key=lambda c: bool(c.comes_last))
        for event in _EVENTS:
            listening = [getattr(c, event) for c in self.callbacks if _listens(c, event)]
            setattr(self, event, _Event(listening, "epoch" in event or "batch" in event))
        for callback in self.callbacks:
            if model is not None:
                callback.set_model(model)
            callback.set_params(params)
            callback.beside = self.callbacks
        self.model = model
        self.params = params

    def hears(self, event: str) -> bool:
        """Whether somebody listens to this event."""
        return any(_listens(c, event) for c in self.callbacks)

    def reads(self, event: str) -> bool:
        """Whether somebody listens to this event of a batch and reads its logs."""
        return any(c.reads_batch_logs and _listens(c, event) for c in self.callbacks)

    def counts(self) -> bool:
        """Whether somebody besides a progress bar is to hear of each batch that is learned."""
        events = ("on_train_batch_begin", "on_train_batch_end")
        others = [c for c in self.callbacks if not isinstance(c, ProgbarLogger)]
        return any(_listens(c, event) for c in others for event in events)

    def find(self, kind: type) -> Any:
        """The first callback of this class; None if there is none."""
        return next((c for c in self.callbacks if isinstance(c, kind)), None)


class _Event:
    """What is called when something happens. Where there are no logs, they are empty."""

    __slots__ = ("listening", "numbered")

    def __init__(self, listening: list[Callable[..., None]], numbered: bool) -> None:
        self.listening = listening
        self.numbered = numbered  # whether it is of an epoch or a batch, whose number comes first

    def __call__(self, *args: Any, logs: Logs = None, **number: int) -> None:
        given = (*args, *number.values())
        if len(given) > self.numbered:
            given, logs = given[:-1], given[-1]
        logs = {} if logs is None else logs
        for method in self.listening:
            method(*given, logs)


def _flat(callbacks: Any) -> list[Callback]:
    if callbacks is None:
        return []
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    if isinstance(callbacks, (list, tuple)):
        return [found for part in callbacks for found in _flat(part)]
    if isinstance(callbacks, type) or not all(hasattr(callbacks, event) for event in _EVENTS):
        hint = f": give an instance, {callbacks.__name__}()" if isinstance(callbacks, type) else ""
        raise DtypeError(f"callbacks: {callbacks!r} is no Callback{hint}")
    return [callbacks]


def _listens(callback: Callback, event: str) -> bool:
    """Whether a callback has a method of its own for an event."""
    names = [event]
    if event.startswith("on_train_batch"):
        names.append(event.replace("train_", ""))
    mine = (getattr(getattr(callback, n), "__func__", getattr(callback, n)) for n in names)
    return any(own is not getattr(Callback, n) for own, n in zip(mine, names, strict=True))


class History(Callback):
    """What `fit` returns: `history` maps each name of the logs to its values, one an epoch, and
    `epoch` has their numbers."""

    kept = ("epoch", "history")

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback made of functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`.

    Takes the name of any event. Raises ArgumentError for others.
    """

    def __init__(self, **functions: Callable[..., Any] | None) -> None:
        known = [*_EVENTS, "on_batch_begin", "on_batch_end"]
        for name, function in functions.items():
            if name not in known:
                raise ArgumentError(f"LambdaCallback: no event {name!r}{meant(name, known)}")
            if function is not None:
                setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Ends training at the batch whose loss is NaN or infinite; with `raise_error` by an error.

    Without this callback `fit` raises NonFiniteError.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise NonFiniteError(f"TerminateOnNaN: the loss of batch {batch} is {loss}")
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class _Monitor(Callback):
    """What callbacks share that watch a number for the better."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                f"{type(self).__name__}: mode is 'auto', 'min' or 'max', not {mode!r}"
            )
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(number(type(self).__name__, "min_delta", min_delta))
        self.best: float | None = None

    def current(self, logs: Logs) -> float | None:
        """The number that is watched, with a warning where it is not there."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            lines.warn(
                f"{type(self).__name__}: there is no {self.monitor!r} to watch"
                f"{meant(self.monitor, logs or {})}",
            )
        return value

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether a value is better than another by at least `min_delta`."""
        if reference is None:
            return True
        if self._rises():
            return bool(value - self.min_delta > reference)
        return bool(value + self.min_delta < reference)

    def _rises(self) -> bool:
        """Whether more is better."""
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return False
        for known, metric in getattr(self.model, "named_metrics", dict)().items():
            direction = getattr(metric, "direction", None)
            if known == name and direction is not None:
                return bool(direction == "up")
        last = name.split("_")[-1]
        if last in _CHOSEN_BY_TARGETS:
            return _CHOSEN_BY_TARGETS[last]
        raise ArgumentError(
            f"{type(self).__name__}: whether more {self.monitor!r} is better is not known: say "
            "mode='max' or mode='min'"
        )


# Whether more is better, for metrics that are chosen when the targets are seen.
_CHOSEN_BY_TARGETS = {"accuracy": True, "acc": True, "crossentropy": False, "ce": False}


class EarlyStopping(_Monitor):
    """Ends training when a number has not improved by more than `min_delta` for `patience` epochs.

    With `baseline` it has to be better than that too. With `restore_best_weights` the model gets
    those of its best epoch. The first `start_from_epoch` epochs do not count.
    """

    kept = ("wait", "best", "best_weights", "best_epoch", "stopped_epoch")

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        not_negative("EarlyStopping", "patience", patience)
        not_negative("EarlyStopping", "start_from_epoch", start_from_epoch)
        if baseline is not None:
            number("EarlyStopping", "baseline", baseline)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_weights: list[np.ndarray] | None = None
        self.best_epoch = 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave. A training that had been ended is so again, unless
        patience is larger now."""
        super().load_state_dict(state)
        if self.wait < self.patience:
            self.stopped_epoch = 0
        elif self.stopped_epoch:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self.current(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.improves(value, self.best):
            self.best = value
            self._keep(epoch)
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of epoch {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Saves the model, or its weights, after each epoch or every `save_freq` batches.

    `filepath` may name "{epoch}" (from 1 on), "{batch}" and what is in the logs, as in
    "weights-{epoch:02d}-{val_loss:.2f}". With `save_best_only` only what is better than before is
    saved. Raises ArgumentError for a name that is not there.
    """

    kept = ("best", "_since")

    def __init__(
        self,
        filepath: str | Path,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ArgumentError(
                f"ModelCheckpoint: save_freq is 'epoch' or a number of batches, not {save_freq!r}"
            )
        self.best = initial_value_threshold
        self.filepath = str(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.reads_batch_logs = save_freq != "epoch"
        self._epoch = 0
        self._last = -1
        self._since = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        going = getattr(self.model, "fit_state", None)  # perhaps in the middle of an epoch
        self._epoch, self._last = epoch, (0 if going is None else going.step) - 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if isinstance(self.save_freq, int):
            self._since, self._last = self._since + batch - self._last, batch
            if self._since >= self.save_freq:
                self._since = 0
                self._save({**(logs or {}), "batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(dict(logs or {}))

    def _save(self, logs: dict[str, Any]) -> None:
        try:
            path = Path(self.filepath.format(**{**logs, "epoch": self._epoch + 1}))
        except (KeyError, IndexError) as error:
            raise ArgumentError(
                f"ModelCheckpoint: filepath {self.filepath!r} has {error}, and there are epoch, "
                f"{', '.join(logs)}"
            ) from None
        if self.save_best_only and not self._is_best(logs):
            return
        saving.make_folder(path.parent)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        if self.verbose:
            print(f"Epoch {self._epoch + 1}: saved to {path}")

    def _is_best(self, logs: dict[str, Any]) -> bool:
        value = self.current(logs)
        if value is None:
            return True
        if not self.improves(value, self.best):
            if self.verbose:
                print(f"Epoch {self._epoch + 1}: {self.monitor} did not improve")
            return False
        self.best = value
        return True


class LearningRateScheduler(Callback):
    """Sets the learning rate at the beginning of each epoch to `schedule(epoch, rate)`, or to
    `schedule(epoch)` if it takes the epoch alone.

    Raises DtypeError where that is no number.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes(schedule, 2)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        given = (epoch, _rate(self.model)) if self._takes_rate else (epoch,)
        rate = self.schedule(*given)
        try:
            self.model.optimizer.learning_rate = float(rate)
        except TypeError:
            raise DtypeError(
                f"LearningRateScheduler: schedule gives a number, not {rate!r}"
            ) from None
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {float(rate)}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["learning_rate"] = _rate(self.model)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` when a number has not improved for `patience`
    epochs, down to `min_lr`; then waits for `cooldown` epochs before it looks again."""

    kept = ("best", "cooldown_counter", "wait")

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = fraction("ReduceLROnPlateau", "factor", factor)
        not_negative("ReduceLROnPlateau", "patience", patience)
        not_negative("ReduceLROnPlateau", "cooldown", cooldown)
        not_negative("ReduceLROnPlateau", "min_lr", min_lr)
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["learning_rate"] = _rate(self.model)
        value = self.current(logs)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best = value
            self.wait = 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        old = _rate(self.model)
        if old <= self.min_lr:
            return
        self.model.optimizer.learning_rate = max(old * self.factor, self.min_lr)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate reduced to {_rate(self.model)}")


class CSVLogger(Callback):
    """Writes the logs of each epoch as a line of a CSV file, whose first line names the columns.

    With `append` an existing file is gone on with; where a Checkpointer brings back an earlier
    epoch, the lines of those that are run again are taken out. Raises OSError, with the path, where
    a line cannot be written.
    """

    def __init__(self, filename: str | Path, separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ArgumentError(f"CSVLogger: separator is one character, not {separator!r}")
        self.filename = Path(filename)
        self.separator = separator
        self.append = append
        self._size = 0  # bytes of the file
        self._file: Any = None
        self._names: list[str] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.close()
        self._names = []
        self._file = self.filename.open("a" if self.append else "w", newline="", encoding="utf-8")
        self._size = os.fstat(self._file.fileno()).st_size

    def state_dict(self) -> dict[str, Any]:
        return {"filename": str(self.filename), "size": self._size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        known = state.get("filename") == str(self.filename)  # another file has lines of its own
        if known and state["size"] < self._size:
            self._size = state["size"]
            self._file.truncate(self._size)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        writer = csv.writer(self._file, delimiter=self.separator)
        if not self._names:
            self._names = sorted(logs)
            if not any(name.startswith("val_") for name in logs):  # validation may come later
                self._names += [f"val_{name}" for name in self._names]
            if not self._size:
                writer.writerow(["epoch", *self._names])
        writer.writerow([epoch, *[logs.get(name, "NA") for name in self._names]])
        try:
            self._file.flush()
        except OSError as error:
            what = f"{error.strerror}, so the line of epoch {epoch} is not there"
            raise OSError(error.errno, what, str(self.filename)) from None
        self._size = os.fstat(self._file.fileno()).st_size

    def on_train_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, also where something went wrong."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):  # of what could not be written when it was there to be
                file.close()


class TensorBoard(Callback):
    """Writes the logs for TensorBoard, through the library tensorboardX (extra `tensorboard`).

    Curves are "epoch_loss" and so on, in `log_dir/train` and `log_dir/validation`; with
    `update_freq` a number or "batch", also "batch_loss" every so many batches. With
    `histogram_freq` weights are written as histograms every so many epochs.

    Raises ExtraMissingError where the library is missing.
    """

    kept = ("_step",)

    def __init__(
        self,
        log_dir: str | Path = "logs",
        histogram_freq: int = 0,
        update_freq: str | int = "epoch",
    ) -> None:
        named = update_freq in ("epoch", "batch")
        if not named and (not isinstance(update_freq, int) or update_freq < 1):
            raise ArgumentError(
                f"TensorBoard: update_freq is 'epoch', 'batch' or a number, not {update_freq!r}"
            )
        self.log_dir = Path(log_dir)
        self.histogram_freq = whole("TensorBoard", "histogram_freq", histogram_freq, 0)
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self.reads_batch_logs = update_freq != "epoch"
        self._writers: dict[str, Any] = {}
        self._step = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._step = 0
        self._writer("train")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._step += 1
        if isinstance(self.update_freq, int) and self._step % self.update_freq == 0:
            for name, value in (logs or {}).items():
                self._writer("train").add_scalar(f"batch_{name}", value, self._step - 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {**(logs or {}), "learning_rate": _rate(self.model)}
        for name, value in logs.items():
            part = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            self._writer(part).add_scalar(tag, value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, weight in self.model.weight_paths().items():
                self._writer("train").add_histogram(f"{name}/histogram", weight.numpy(), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise ExtraMissingError(
                    "TensorBoard: its files are written with tensorboardX: "
                    "pip install 'tinygrad_edu[tensorboard]'"
                ) from None
            self._writers[part] = SummaryWriter(str(self.log_dir / part))
        return self._writers[part]


# What is seen while it goes on


class ProgbarLogger(Callback):
    """Shows how training, evaluation or prediction goes on.

    With `verbose` 1, on a terminal and with the library rich (extra `cli`), a bar with the time
    left and the logs so far; else, and with 2, one line an epoch.
    """

    reads_batch_logs = False

    EVERY = 0.2
    """Seconds between two drawings, and before the first."""

    def __init__(self) -> None:
        self._bar: _Bar | None = None
        self._training = False
        self._next = math.inf

    def on_train_begin(self, logs: Logs = None) -> None:
        self._training = True

    def on_train_end(self, logs: Logs = None) -> None:
        self._training = False
        self.close()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if time.monotonic() >= self._next:
            self._draw(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._stop(logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        if not self._training:
            self._start("Evaluating")
        elif self._bar is not None:
            # The metrics begin anew: what they said last stands.
            self._bar.draw(self.model.fit_state.step, self._bar.logs, "validating")

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        if not self._training and time.monotonic() >= self._next:
            self._draw(batch)

    def on_test_end(self, logs: Logs = None) -> None:
        if not self._training:
            self._stop(logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        self._start("Predicting")

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        if time.monotonic() >= self._next:
            self._draw(batch, reading=False)

    def on_predict_end(self, logs: Logs = None) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away, also where something went wrong."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(self, title: str) -> None:
        self.close()
        self._title = title
        self._began = time.monotonic()
        live = self.params.get("verbose") == 1 and _is_live()
        self._next = self._began + self.EVERY if live else math.inf

    def _draw(self, batch: int, reading: bool = True) -> None:
        self._bar = self._bar or _Bar(self._title, self.params.get("steps"), self._began)
        logs = shown(self.model.get_metrics_result()) if reading else ""
        self._bar.draw(batch + 1, logs)
        self._next = time.monotonic() + self.EVERY

    def _stop(self, logs: Logs) -> None:
        self.close()
        seconds = time.monotonic() - self._began
        parts = [self._title, _seconds(seconds), shown(logs or {})]
        print(" - ".join([part for part in parts if part]), flush=True)


def shown(logs: Mapping[str, Any]) -> str:
    """Logs in a line, as Keras writes them.

    >>> shown({"loss": 0.25, "error": 0.0001})
    'loss: 0.2500 - error: 1.0000e-04'
    """
    return " - ".join([f"{name}: {_number(value)}" for name, value in logs.items()])


def _number(value: Any) -> str:
    if np.ndim(value):
        return json.dumps(np.asarray(value).tolist())
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def _seconds(seconds: float) -> str:
    """A time as people say it: 0.31s, 42s, 3:07, 1:02:30."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest}s"


def _is_live() -> bool:
    """Whether there is a terminal (or a notebook), and rich to draw on it."""
    if not sys.stdout.isatty() and "ipykernel" not in sys.modules:
        return False
    try:
        from rich.console import Console
    except ImportError:
        return False
    console = Console()
    return console.is_terminal or console.is_jupyter


class _Bar:
    """A live line: how far, how long still, and the logs so far; these below, where the terminal
    is narrow."""

    def __init__(self, title: str, steps: int | None, began: float) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._steps, self._began, self.logs = steps, began, ""
        self._task = self._progress.add_task(title, total=steps, left="")
        self._live = Live(self._progress, auto_refresh=False, transient=True)
        self._live.start()

    def draw(self, done: int, logs: str, doing: str | None = None) -> None:
        from rich.columns import Columns

        self.logs = logs
        passed = time.monotonic() - self._began
        left = passed if self._steps is None else passed / done * (self._steps - done)
        words = _seconds(left) if self._steps is None else f"{_seconds(left)} left"
        self._progress.update(self._task, completed=done, left=doing or words)
        self._live.update(Columns([self._progress, logs]), refresh=True)

    def close(self) -> None:
        self._live.stop()


def _rate(model: Any) -> float:
    """The learning rate as it is now."""
    return float(model.optimizer.learning_rate)
