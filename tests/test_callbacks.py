"""Callbacks: when they are called, what they do, and what is seen on a terminal."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import callbacks, errors, layers
from tinygrad_edu.callbacks import Callback, CallbackList
from tinygrad_edu.models import Sequential

X = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
Y = 3 * X


def model() -> Sequential:
    made = Sequential([edu.Input((1,)), layers.Dense(1, kernel_initializer="zeros")])
    made.compile(edu.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return made


def fitted(*given: Any, **options: Any) -> Sequential:
    made = model()
    made.fit(X, Y, **{"batch_size": 4, "verbose": 0, "callbacks": list(given), **options})
    return made


class Notes(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.logs: list[Any] = []

    def _note(self, *event: Any, logs: Any = None) -> None:
        self.told.append(event)
        self.logs.append(logs)


def _noting(event: str) -> Callable[..., None]:
    def method(self: Notes, *args: Any) -> None:
        number, logs = args if len(args) == 2 else (None, args[0] if args else None)
        self._note(event, *([] if number is None else [number]), logs=logs)

    return method


for _event in callbacks._EVENTS:
    setattr(Notes, _event, _noting(_event))


def batches(what: str, count: int) -> list[tuple[str, int]]:
    return [(f"on_{what}_batch_{when}", i) for i in range(count) for when in ("begin", "end")]


def test_everything_is_told_in_keras_order() -> None:
    notes = Notes()
    made = fitted(notes, epochs=2, shuffle=False, validation_data=(X, Y), validation_batch_size=5)
    epochs = [
        [
            ("on_epoch_begin", i),
            *batches("train", 3),
            ("on_test_begin",),
            *batches("test", 2),
            ("on_test_end",),
            ("on_epoch_end", i),
        ]
        for i in (0, 1)
    ]
    assert notes.told == [("on_train_begin",), *epochs[0], *epochs[1], ("on_train_end",)]
    assert notes.params == {"epochs": 2, "steps": 3, "verbose": 0}
    assert notes.model is made
    ends = [
        logs for event, logs in zip(notes.told, notes.logs, strict=True) if "epoch_end" in event[0]
    ]
    assert [set(logs) for logs in ends] == [{"loss", "mae", "val_loss", "val_mae"}] * 2
    batch = next(
        s for e, s in zip(notes.told, notes.logs, strict=True) if e[0] == "on_train_batch_end"
    )
    np.testing.assert_allclose(batch["loss"], (Y[:4] ** 2).mean(), rtol=1e-6)
    assert all(type(value) is float for logs in ends for value in logs.values())
    notes = Notes()
    made.evaluate(X, Y, batch_size=5, verbose=0, callbacks=notes)
    assert notes.told == [("on_test_begin",), *batches("test", 2), ("on_test_end",)]
    notes = Notes()
    made.predict(X, batch_size=5, verbose=0, callbacks=[[notes]])
    assert notes.told == [("on_predict_begin",), *batches("predict", 2), ("on_predict_end",)]
    outputs = notes.logs[2]["outputs"]
    np.testing.assert_array_equal(outputs, made.predict(X[:5], verbose=0))


def test_where_there_are_no_logs_they_are_empty() -> None:
    notes = Notes()
    made = fitted(notes)
    made.predict(X, verbose=0, callbacks=notes)
    rows = zip(notes.told, notes.logs, strict=True)
    begun = [logs for event, logs in rows if event[0].endswith("begin")]
    assert begun == [{}] * 7
    told = CallbackList([notes := Notes()])
    told.on_epoch_begin(epoch=3)
    told.on_epoch_end(3, logs={"loss": 0.5})
    assert notes.told == [("on_epoch_begin", 3), ("on_epoch_end", 3)]
    assert notes.logs == [{}, {"loss": 0.5}]


def test_batches_count_by_executions() -> None:
    notes = Notes()
    made = model()
    made.compile("sgd", "mse", steps_per_execution=2)
    made.fit(X, Y, batch_size=4, verbose=0, callbacks=notes)
    told = [event for event in notes.told if "batch" in event[0]]
    assert told == [
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 1),
        ("on_train_batch_begin", 2),
        ("on_train_batch_end", 2),
    ]


def test_logs_of_batches_are_computed_only_for_who_reads_them() -> None:
    read = []

    class Counting(Sequential):
        def get_metrics_result(self) -> dict[str, Any]:
            read.append(1)
            return super().get_metrics_result()

    made = Counting([edu.Input((1,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    options: dict[str, Any] = {"batch_size": 1, "verbose": 0}
    made.fit(X, Y, **options)
    read.clear()
    made.fit(X, Y, callbacks=[callbacks.ModelCheckpoint("x", save_freq="epoch")][:0], **options)
    quiet = len(read)
    made.fit(X, Y, callbacks=[callbacks.TerminateOnNaN()], **options)
    assert len(read) - 2 * quiet >= 10


def test_lambda_callbacks() -> None:
    told: list[Any] = []
    fitted(
        callbacks.LambdaCallback(
            on_train_begin=lambda logs: told.append("begin"),
            on_epoch_end=lambda epoch, logs: told.append((epoch, sorted(logs))),
            on_batch_end=lambda batch, logs: told.append(batch),
        )
    )
    assert told == ["begin", 0, 1, 2, (0, ["loss", "mae"])]
    with pytest.raises(errors.ArgumentError, match="did you mean 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_stop_training_ends_after_the_batch() -> None:
    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

    made = fitted(Stop(), epochs=5)
    assert made.optimizer.iterations.item() == 2
    assert made.history is not None
    assert made.history.epoch == [0]


# What a number does over the epochs


class Told(Callback):
    """Puts given numbers into the logs."""

    def __init__(self, **numbers: list[float]) -> None:
        self.numbers = numbers

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({name: values[epoch] for name, values in self.numbers.items()})


def epochs(callback: Callback, values: list[float], name: str = "val_loss") -> int:
    """How many epochs there were when a number took these values."""
    made = model()
    history = made.fit(
        X, Y, epochs=len(values), verbose=0, callbacks=[Told(**{name: values}), callback]
    )
    return len(history.epoch)


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({}, [3, 2, 2, 1, 1], 3),
        ({"patience": 2}, [3, 2, 2, 1, 1, 1, 1], 6),
        ({"patience": 3, "min_delta": 0.5}, [3, 2.8, 2.6, 2.4, 1, 1], 6),
        ({"patience": 2, "min_delta": 1.0}, [3, 2.8, 2.6, 2.4, 1, 1], 3),
        ({"mode": "max"}, [1, 2, 3, 3, 9], 4),
        ({"baseline": 2.0, "patience": 2}, [5, 4, 4, 2.5, 1], 3),
        ({"start_from_epoch": 3}, [1, 2, 3, 4, 3, 3, 9], 6),
    ],
)
def test_early_stopping_waits_for_an_improvement(
    settings: dict[str, Any], values: list[float], expected: int
) -> None:
    assert epochs(callbacks.EarlyStopping(**settings), values) == expected


def test_early_stopping_brings_back_the_best_weights(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[np.ndarray] = []

    class Keep(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            kept.append(self.model.get_weights()[0])

    stop = callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True, verbose=1)
    made = fitted(Keep(), Told(val_loss=[3, 1, 2, 2, 0]), stop, epochs=5)
    assert len(kept) == 4
    assert (stop.best_epoch, stop.stopped_epoch, stop.best) == (1, 3, 1)
    np.testing.assert_array_equal(made.get_weights()[0], kept[1])
    assert "Epoch 4: early stopping\nRestoring" in capsys.readouterr().out


def test_what_is_watched_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="no 'val_los' to watch"):
        fitted(callbacks.EarlyStopping("val_los", mode="min"))
    with pytest.raises(errors.ArgumentError, match="whether more 'height' is better"):
        epochs(callbacks.EarlyStopping("height"), [1, 2, 3], "height")
    with pytest.raises(errors.ArgumentError, match="mode is 'auto', 'min' or 'max', not 'up'"):
        callbacks.EarlyStopping(mode="up")


@pytest.mark.parametrize(
    ("settings", "values", "rates"),
    [
        ({"patience": 1, "factor": 0.5}, [3, 3, 3, 2, 2], [0.1, 0.05, 0.025, 0.025, 0.0125]),
        ({"patience": 2, "factor": 0.5}, [3, 3, 3, 3, 3], [0.1, 0.1, 0.05, 0.05, 0.025]),
        (
            {"patience": 1, "factor": 0.5, "cooldown": 2},
            [3, 3, 3, 3, 3],
            [0.1, 0.05, 0.05, 0.025, 0.025],
        ),
        ({"patience": 1, "factor": 0.1, "min_lr": 0.02}, [3, 3, 3], [0.1, 0.02, 0.02]),
        ({"patience": 1, "factor": 0.5, "min_delta": 1.5}, [3, 2, 1], [0.1, 0.05, 0.05]),
        ({"patience": 1, "factor": 0.5, "mode": "max"}, [1, 2, 2], [0.1, 0.1, 0.05]),
    ],
)
def test_the_learning_rate_falls_on_a_plateau(
    settings: dict[str, Any], values: list[float], rates: list[float]
) -> None:
    found: list[float] = []
    note = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: found.append(float(made.optimizer.learning_rate))
    )
    made = model()
    reduce = callbacks.ReduceLROnPlateau(**settings)
    made.fit(X, Y, epochs=len(values), verbose=0, callbacks=[Told(val_loss=values), reduce, note])
    np.testing.assert_allclose(found, rates, rtol=1e-6)


def test_a_schedule_sets_the_learning_rate() -> None:
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1))
    made = fitted(schedule, epochs=3)
    assert made.history is not None
    np.testing.assert_allclose(
        made.history.history["learning_rate"], [0.1, 0.05, 0.05 / 3], rtol=1e-6
    )
    by_epoch = fitted(callbacks.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1)), epochs=2)
    assert by_epoch.history is not None
    np.testing.assert_allclose(by_epoch.history.history["learning_rate"], [0.5, 0.25], rtol=1e-6)
    with pytest.raises(errors.DtypeError, match="gives a number, not None"):
        fitted(callbacks.LearningRateScheduler(lambda epoch, rate: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(errors.ArgumentError, match=r"factor is a number in \[0, 1\), not 1.0"):
        callbacks.ReduceLROnPlateau(factor=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: callbacks.EarlyStopping(patience=-1), "patience is a number from 0 on, not -1"),
        (lambda: callbacks.EarlyStopping(patience="3"), "patience is a number from 0 on, not '3'"),
        (lambda: callbacks.EarlyStopping(start_from_epoch=-1), "start_from_epoch is .* not -1"),
        (lambda: callbacks.EarlyStopping(min_delta=np.nan), "min_delta is a number, not nan"),
        (lambda: callbacks.EarlyStopping(baseline="1"), "baseline is a number, not '1'"),
        (lambda: callbacks.ReduceLROnPlateau(factor=-0.5), r"factor is .* in \[0, 1\), not -0.5"),
        (lambda: callbacks.ReduceLROnPlateau(patience=-1), "patience is .* from 0 on, not -1"),
        (lambda: callbacks.ReduceLROnPlateau(cooldown=-1), "cooldown is .* from 0 on, not -1"),
        (lambda: callbacks.ReduceLROnPlateau(min_lr=-1.0), "min_lr is .* from 0 on, not -1.0"),
        (lambda: callbacks.ModelCheckpoint("x", save_freq=0), "a number of batches, not 0"),
        (lambda: callbacks.TensorBoard(update_freq=0), "'batch' or a number, not 0"),
        (lambda: callbacks.TensorBoard(histogram_freq=-1), "histogram_freq is .* 0 on, not -1"),
        (lambda: callbacks.CSVLogger("x", ", "), "separator is one character, not ', '"),
    ],
)
def test_numbers_that_no_callback_can_mean_are_refused(make: Any, message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message):
        make()


# Files


class Saves(Sequential):
    """Writes down where it would be saved."""

    saved: list[tuple[str, str]]

    def save(self, filepath: Any, **options: Any) -> None:
        self.saved.append(("all", Path(filepath).name))

    def save_weights(self, filepath: Any, **options: Any) -> None:
        self.saved.append(("weights", Path(filepath).name))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [("all", f"{i}-loss") for i in (1, 2, 3, 4)]),
        ({"save_weights_only": True}, [("weights", f"{i}-loss") for i in (1, 2, 3, 4)]),
        ({"save_best_only": True}, [("all", "1-loss"), ("all", "3-loss")]),
        (
            {"save_best_only": True, "mode": "max"},
            [("all", "1-loss"), ("all", "2-loss"), ("all", "4-loss")],
        ),
        ({"save_best_only": True, "initial_value_threshold": 1.5}, [("all", "3-loss")]),
        ({"save_freq": 5}, [("all", "2-loss"), ("all", "4-loss")]),
    ],
)
def test_checkpoints_are_saved_when_it_is_time(
    settings: dict[str, Any], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    made = Saves([edu.Input((1,)), layers.Dense(1)])
    made.saved = []
    made.compile("sgd", "mse")
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "new" / "{epoch}-loss", **settings)
    told = Told(val_loss=[2, 3, 1, 4])
    made.fit(X, Y, batch_size=4, epochs=4, verbose=0, callbacks=[told, checkpoint])
    assert made.saved == expected
    assert (tmp_path / "new").is_dir()


def test_names_of_checkpoints_come_from_the_logs(tmp_path: Path) -> None:
    made = Saves([edu.Input((1,)), layers.Dense(1)])
    made.saved = []
    made.compile("sgd", "mse")
    path = tmp_path / "{epoch:02d}-{val_loss:.2f}"
    callback = callbacks.ModelCheckpoint(path)
    made.fit(X, Y, verbose=0, callbacks=[Told(val_loss=[0.123]), callback])
    assert made.saved == [("all", "01-0.12")]
    with pytest.raises(errors.ArgumentError, match="'val_los', and there are epoch, loss"):
        made.fit(X, Y, verbose=0, callbacks=[callbacks.ModelCheckpoint("{val_los}")])
    with pytest.raises(errors.ArgumentError, match="save_freq is 'epoch' or a number"):
        callbacks.ModelCheckpoint("x", save_freq="week")


def test_a_csv_file_is_closed_when_training_fails(tmp_path: Path) -> None:
    logger = callbacks.CSVLogger(tmp_path / "log.csv")
    failing = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fitted(logger, failing)
    assert logger._file is None
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_the_state_of_an_older_version_may_lack_what_is_kept_now() -> None:
    callback = callbacks.ModelCheckpoint("x")
    callback.load_state_dict({"best": 0.5})
    assert callback.state_dict() == {"best": 0.5, "_since": 0}
    csv_logger = callbacks.CSVLogger("x.csv")
    csv_logger.load_state_dict({})
    assert csv_logger.state_dict() == {"filename": "x.csv", "size": 0}


def test_csv_files_have_a_line_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = fitted(callbacks.CSVLogger(path), epochs=2, validation_data=(X, Y)).history
    assert history is not None
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for name, values in history.history.items():
        assert [float(row[name]) for row in rows] == values
    fitted(callbacks.CSVLogger(path, separator=";", append=True), validation_data=(X, Y))
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert lines[0] == "epoch,loss,mae,val_loss,val_mae"
    assert lines[3].startswith("0;")
    fitted(callbacks.CSVLogger(path))
    assert path.read_text().splitlines()[1].endswith(",NA,NA")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is made of /dev/full")
def test_a_line_that_finds_no_place_is_an_error_with_the_path() -> None:
    with pytest.raises(OSError, match=r"epoch 0 is not there.*/dev/full"):
        fitted(callbacks.CSVLogger("/dev/full"))


def test_tensorboard_needs_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    made = model()
    with pytest.raises(errors.ExtraMissingError, match=r"tinygrad_edu\[tensorboard\]"):
        made.fit(X, Y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path)])
    assert made.optimizer.iterations.item() == 0


# What is seen


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    made = fitted(epochs=2, verbose="auto", validation_data=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    number = r"\d\.\d{4}(e[+-]\d\d)?"
    for i, text in enumerate(lines):
        assert re.fullmatch(
            rf"Epoch {i + 1}/2 - [\d.]+s - loss: {number} - mae: {number} - val_loss: {number} - "
            rf"val_mae: {number}",
            text,
        ), text
    assert len(lines) == 2
    made.evaluate(X, Y)
    assert capsys.readouterr().out.startswith("Evaluating - ")
    made.predict(X)
    assert capsys.readouterr().out == ""
    for call in (made.fit, made.evaluate):
        call(X, Y, verbose=0)
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Terminal:
    """A terminal of this width, in the place of the output."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(callbacks.ProgbarLogger, "EVERY", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rich._console", None)  # which may know another width
    return screen


def plain(screen: Terminal) -> str:
    """What was written, without the codes for colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


@pytest.mark.parametrize("steps", [None, 5])
def test_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, steps: int | None) -> None:
    screen = terminal(monkeypatch, 160)
    made = model()
    if steps is None:
        made.fit((batch for batch in [(X, Y)] * 5), verbose=1)
    else:
        made.fit(np.tile(X, (2, 1)), np.tile(Y, (2, 1)), batch_size=4, verbose=1)
    shown = plain(screen)
    assert re.search(rf"Epoch 1/1 .* 3/{steps or '[?]'} .*loss: \d\.\d{{4}} - mae: ", shown)
    assert ("left" in shown) == (steps is not None)
    assert re.search(r"Epoch 1/1 - [\d.]+s - loss: \d\.\d{4} - mae: \d\.\d{4}\n$", shown)
    made.predict(X, batch_size=1, verbose=1)
    assert "Predicting" in screen.getvalue()


@pytest.mark.parametrize("columns", [50, 80])
def test_on_a_narrow_terminal_what_was_measured_stands_below_the_bar(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    screen = terminal(monkeypatch, columns)
    names = ["mae", "mse", "mape", "msle"]
    made = model()
    made.compile("sgd", "mse", metrics=names)
    made.fit(X, Y, batch_size=1, verbose=1)
    shown = plain(screen)
    drawn = shown[: shown.index("Epoch 1/1 - ")]
    assert re.search(r"Epoch 1/1 [━╸╺]+ +3/\d+ [\d.]+s left *\r?\n", drawn)
    for name in ["loss", *names]:
        assert re.search(rf"{name}:\s+\d", drawn)


def test_the_bar_is_full_while_it_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, 160)
    fitted(batch_size=len(X), verbose=1, validation_data=(X, Y))
    found = re.search(r"Epoch 1/1 ━+ 1/1 validating loss: (\S+)", plain(screen))
    assert found
    assert float(found[1]) > 0  # of the training, and not of no batch yet


def test_no_bar_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    fitted(verbose=1)
    assert screen.getvalue().startswith("Epoch 1/1 - ")


def test_the_bar_is_gone_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(callbacks.ProgbarLogger, "EVERY", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    bar = callbacks.ProgbarLogger()

    def fail(epoch: int, logs: Any) -> None:
        assert bar._bar is not None
        raise KeyError("here")

    made = model()
    note = callbacks.LambdaCallback(on_epoch_end=fail)
    with pytest.raises(KeyError, match="here"):
        made.fit(X, Y, batch_size=2, verbose=1, callbacks=[note, bar])
    assert bar._bar is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.314, "0.31s"), (42.4, "42s"), (187, "3:07"), (3750, "1:02:30"), (9.999, "10.00s")],
)
def test_times_are_told_as_people_do(seconds: float, expected: str) -> None:
    assert callbacks._seconds(seconds) == expected
