"""Files of weights, of models and of checkpoints: what comes back, what is refused, and that
nothing is lost when a program ends in the middle of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.testing import assert_array_equal

import tinygrad_edu as edu
from tinygrad_edu import errors, saving


def model() -> Any:
    found = edu.Sequential(
        [
            edu.Input((3,)),
            edu.layers.Dense(4, activation="relu"),
            edu.layers.BatchNormalization(),
            edu.layers.Dropout(0.5),
            edu.layers.Dense(2),
        ]
    )
    found.compile("adam", "mse", metrics=["mae"])
    return found


def data(rows: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)).astype("f4"), rng.normal(size=(rows, 2)).astype("f4")


def same(a: Any, b: Any) -> None:
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        assert_array_equal(x, y)


# Weights


def test_weights_are_safetensors_by_their_names(tmp_path: Path) -> None:
    one, two = model(), model()
    one.save_weights(tmp_path / "w")
    found = safetensors.numpy.load_file(tmp_path / "w")
    assert list(found) == sorted(one.weight_paths())
    for path, v in one.weight_paths().items():
        assert_array_equal(found[path], v.numpy())
    two.load_weights(tmp_path / "w")
    same(one, two)


def test_a_file_made_elsewhere_is_read_and_floats_are_cast(tmp_path: Path) -> None:
    layer = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1)])
    kernel = np.array([[1.0], [2.0]])
    safetensors.numpy.save_file(
        {"dense/kernel": kernel, "dense/bias": np.zeros(1)}, tmp_path / "w.safetensors"
    )
    layer.load_weights(tmp_path / "w.safetensors")
    assert_array_equal(layer.weights[0].numpy(), kernel.astype("f4"))


def written(dtype: str, count: int, data: bytes) -> bytes:
    """A file of safetensors with one weight, put together by hand."""
    part = {"dtype": dtype, "shape": [count], "data_offsets": [0, len(data)]}
    head = json.dumps({"factor": part}).encode()
    return len(head).to_bytes(8, "little") + head + data


class Factors(edu.Layer):
    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(2,))


def test_bfloat16_is_saved_and_read(tmp_path: Path) -> None:
    layer = Factors(dtype="bfloat16")
    layer.build((None, 2))
    # 1.5 and -2 are 0x3fc0 and 0xc000 of float32's upper half.
    (tmp_path / "w").write_bytes(written("BF16", 2, bytes([0xC0, 0x3F, 0x00, 0xC0])))
    saving.load_weights(layer, tmp_path / "w")
    assert layer.factor.value.tolist() == [1.5, -2.0]
    saving.save_weights(layer, tmp_path / "again")
    layer.factor.assign([0.0, 0.0])
    saving.load_weights(layer, tmp_path / "again")
    assert layer.factor.value.tolist() == [1.5, -2.0]


def test_a_dtype_that_is_not_here_is_named(tmp_path: Path) -> None:
    layer = Factors()
    layer.build((None, 2))
    (tmp_path / "w").write_bytes(written("F8_E4M3", 2, bytes(2)))
    with pytest.raises(errors.ArgumentError, match="has factor of dtype F8_E4M3, which a Tensor"):
        saving.load_weights(layer, tmp_path / "w")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("dense/bias"), "lacks dense/bias"),
        (lambda w: w.update(extra=w["dense/bias"]), "has extra too many"),
        (
            lambda w: w.update({"dense/kernel": np.zeros((2, 4), "f4")}),
            r"has dense/kernel of shape \(2, 4\) for one of \(3, 4\)",
        ),
        (
            lambda w: w.update({"dense/bias": np.zeros(4, "i4")}),
            "has dense/bias of int32 for one of float32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    held = model()
    weights = {path: np.array(v.numpy()) + 1 for path, v in held.weight_paths().items()}
    change(weights)
    safetensors.numpy.save_file(weights, tmp_path / "w")
    before = held.get_weights()
    with pytest.raises(errors.ArgumentError, match=message):
        held.load_weights(tmp_path / "w")
    for x, y in zip(held.get_weights(), before, strict=True):
        assert_array_equal(x, y)


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
def test_a_truncated_or_foreign_file_is_refused(tmp_path: Path, cut: int) -> None:
    held = model()
    held.save_weights(tmp_path / "w")
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(whole[:cut])
    with pytest.raises(errors.ArgumentError, match="w is damaged, or no file of weights"):
        held.load_weights(tmp_path / "w")
    with pytest.raises(errors.ArgumentError, match="there is no file"):
        held.load_weights(tmp_path / "nowhere")


def test_what_is_not_built_has_no_weights_to_save(tmp_path: Path) -> None:
    held = edu.Sequential([edu.layers.Dense(1)])
    with pytest.raises(errors.ArgumentError, match="not built"):
        held.save_weights(tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = model()
    held.save_weights(tmp_path / "w")
    before = (tmp_path / "w").read_bytes()
    held.set_weights([x + 1 for x in held.get_weights()])

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space .*, nothing is changed: '[^']*/w'$"):
        held.save_weights(tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == ["w"]


def test_files_have_the_permissions_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    saving.write(tmp_path / "w", b"")
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "first").write_bytes(b"old")
    (tmp_path / "latest").symlink_to("first")
    saving.write(tmp_path / "latest", b"new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "first").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.ArgumentError, match="pipe is a device or a pipe"):
        saving.write(tmp_path / "pipe", b"")
    assert (tmp_path / "pipe").is_fifo()


def test_the_file_of_a_whole_model_is_no_file_of_weights(tmp_path: Path) -> None:
    held = model()
    held.save(tmp_path / "m")
    with pytest.raises(errors.ArgumentError, match="m is a whole model: use load_model"):
        held.load_weights(tmp_path / "m")


def test_an_archive_of_something_else_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(errors.ArgumentError, match=r"no model .*: it has no manifest\.json"):
        saving.load_model(path)
    with pytest.raises(errors.ArgumentError, match=r"keras is damaged, or no file of weights"):
        model().load_weights(path)


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path) -> None:
    held = model()
    with pytest.raises(errors.ArgumentError, match=r"there is no folder .*nowhere: make it first"):
        held.save_weights(tmp_path / "nowhere" / "w")
    with pytest.raises(errors.ArgumentError, match="is a folder: give the name of a file"):
        held.save(tmp_path)
    with pytest.raises(errors.ArgumentError, match=r"^load: there is no file [^:]*nowhere$"):
        saving.load_model(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


# Whole models


@edu.register("tests>Twice")
class Twice(edu.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


def test_a_model_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    x, y = data()
    one = model()
    one.fit(x, y, epochs=2, verbose=0)
    one.save(tmp_path / "m")
    state = edu.random.state()
    two = saving.load_model(tmp_path / "m")
    same(one, two)
    assert_array_equal(one.predict(x), two.predict(x))
    histories = []
    for each in (one, two):
        edu.random.seed(state)
        histories.append(each.fit(x, y, epochs=2, verbose=0).history)
    assert histories[0] == histories[1]
    same(one, two)


def test_functional_models_and_registered_classes_come_back(tmp_path: Path) -> None:
    a, b = edu.Input((3,), name="a"), edu.Input((2,), name="b")
    merged = edu.layers.Concatenate()([Twice()(a), edu.layers.Dense(4)(b)])
    one = edu.Model([a, b], [edu.layers.Dense(1)(merged), merged + 1.0])
    one.save(tmp_path / "m")
    two = saving.load_model(tmp_path / "m")
    inputs = [np.ones((5, 3), "f4"), np.ones((5, 2), "f4")]
    for x, y in zip(one.predict(inputs, verbose=0), two.predict(inputs, verbose=0), strict=True):
        assert_array_equal(x, y)


@edu.register("tests>Branch")
class Branch(edu.Model):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.inner = [edu.layers.Dense(units), edu.layers.Dense(1)]

    def call(self, inputs: Any) -> Any:
        return self.inner[1](edu.relu(self.inner[0](inputs)))


def test_a_subclassed_model_is_built_as_it_was(tmp_path: Path) -> None:
    one = Branch(3)
    one(np.ones((2, 4), "f4"))
    one.save(tmp_path / "m")
    same(one, saving.load_model(tmp_path / "m"))


def test_a_class_without_a_name_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    class Mine(edu.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    held = edu.Sequential([edu.Input((2,)), Mine()])
    with pytest.raises(errors.ArgumentError, match=r"Mine has no name.*edu.register"):
        held.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The archive with another manifest."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts["manifest.json"])
    change(manifest)
    parts["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(version=99), "of version 99, and this library reads up to 1"),
        (lambda m: m.update(format="something"), "is a 'something', not a model"),
        (lambda m: m.pop("sha256"), "is damaged"),
        (lambda m: m["sha256"].update({"weights.safetensors": "0"}), "is damaged"),
        (lambda m: m["model"].update({"class": "os.system"}), "no class or function 'os.system'"),
        (lambda m: m["model"].update({"class": "layers.Dens"}), "did you mean 'layers.Dense'"),
    ],
)
def test_a_changed_manifest_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    model().save(tmp_path / "m")
    rewritten(tmp_path / "m", change)
    with pytest.raises(errors.ArgumentError, match=message):
        saving.load_model(tmp_path / "m")


def test_every_damaged_byte_of_the_weights_is_noticed(tmp_path: Path) -> None:
    model().save(tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    start = whole.index(b"weights.safetensors") + 200
    for place in range(start, start + 400, 37):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / "m").write_bytes(changed)
        with pytest.raises(errors.ArgumentError, match="is damaged"):
            saving.load_model(tmp_path / "m")
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "m").write_bytes(whole[:cut])
        with pytest.raises(errors.ArgumentError, match="is damaged"):
            saving.load_model(tmp_path / "m")


# Checkpoints


def train(folder: Any, epochs: int, *, freq: int | str = "epoch", more: Any = ()) -> Any:
    edu.random.seed(0)
    held = model()
    x, y = data()
    rows = edu.data.Dataset.from_arrays((x, y)).shuffle(20).batch(4)
    checkpoints = edu.train.Checkpointer(folder, save_freq=freq)
    held.fit(rows, epochs=epochs, verbose=0, callbacks=[checkpoints, *more])
    return held


class Stop(edu.callbacks.Callback):
    """The program ends in the middle of an epoch, as if it were killed."""

    reads_batch_logs = False
    steps = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps > 8:
            raise KeyboardInterrupt


@pytest.mark.parametrize("freq", ["epoch", 1, 3])
def test_a_training_that_was_stopped_comes_to_the_same_weights(
    tmp_path: Path, freq: int | str
) -> None:
    straight = train(tmp_path / "a", 4, freq=freq)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", 4, freq=freq, more=[Stop()])
    again = train(tmp_path / "b", 4, freq=freq)
    same(straight, again)
    for x, y in zip(straight.optimizer.variables, again.optimizer.variables, strict=True):
        assert_array_equal(x.numpy(), y.numpy())
    assert again.history.epoch == [0, 1, 2, 3]
    assert again.history.history == straight.history.history


def test_a_stateful_network_goes_on_from_the_states_that_it_had(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(24, 3, 2)).astype("float32")

    def train(folder: Path, *more: Any) -> Any:
        edu.random.seed(0)
        cells = [edu.layers.LSTM(3, stateful=True), edu.layers.Dense(1)]
        held = edu.Sequential([edu.layers.TimeDistributed(edu.layers.Dense(2)), *cells])
        held.compile("adam", "mse")
        checkpoints = edu.train.Checkpointer(folder, save_freq=3)
        held.fit(x, x[:, 0, :1], batch_size=4, epochs=3, verbose=0, callbacks=[checkpoints, *more])
        return held

    straight = train(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", Stop())
    again = train(tmp_path / "b")
    same(straight, again)
    assert_array_equal(straight.predict(x[:4], verbose=0), again.predict(x[:4], verbose=0))


def test_callbacks_remember(tmp_path: Path) -> None:
    def stopping(patience: int = 2) -> Any:
        return edu.callbacks.EarlyStopping("loss", patience=patience, min_delta=100.0)

    train(tmp_path / "a", 2, more=[stopping()])
    again = train(tmp_path / "a", 9, more=[stopping()])
    straight = train(tmp_path / "b", 9, more=[stopping()])
    assert again.history.epoch == straight.history.epoch == [0, 1, 2]
    once_more = train(tmp_path / "a", 9, more=[stopping()])  # it had ended
    assert once_more.history.epoch == [0, 1, 2]
    same(once_more, straight)
    longer = train(tmp_path / "a", 9, more=[stopping(4)])
    assert longer.history.epoch == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("freq", "at"), [("epoch", 1), (1, 0), (1, 1)])
def test_a_log_has_each_epoch_once_also_after_a_kill_before_the_checkpoint(
    tmp_path: Path, freq: int | str, at: int
) -> None:
    class Kill(edu.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch >= at:
                raise KeyboardInterrupt

    def logger(name: str) -> Any:
        return edu.callbacks.CSVLogger(tmp_path / name, append=True)

    train(tmp_path / "a", 3, freq=freq, more=[logger("a.csv")])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", 3, freq=freq, more=[logger("b.csv"), Kill()])
    train(tmp_path / "b", 3, freq=freq, more=[logger("b.csv")])
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()
    other = "a log of something else, longer than ours\n" * 9
    (tmp_path / "c.csv").write_text(other)
    train(tmp_path / "b", 4, freq=freq, more=[logger("c.csv")])
    assert (tmp_path / "c.csv").read_text().startswith(other)


@pytest.mark.parametrize("freq", ["epoch", 1, 3])
def test_callbacks_count_batches_on(tmp_path: Path, freq: int | str) -> None:
    class Curve(edu.callbacks.TensorBoard):
        """Writes down which steps it would write."""

        def __init__(self, steps: list[int]) -> None:
            super().__init__(update_freq="batch")
            self.steps = steps

        def _writer(self, part: str) -> Any:
            return self

        def add_scalar(self, name: str, value: float, step: int) -> None:
            if name == "batch_loss":
                self.steps.append(step)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    def callbacks(name: str) -> list[Any]:
        path = tmp_path / f"{name} weights" / "{epoch} {batch}"
        saving = edu.callbacks.ModelCheckpoint(path, save_freq=2, save_weights_only=True)
        return [saving, Curve(steps[name])]

    steps: dict[str, list[int]] = {"a": [], "b": []}
    train(tmp_path / "a", 4, freq=freq, more=callbacks("a"))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", 4, freq=freq, more=[*callbacks("b"), Stop()])
    train(tmp_path / "b", 4, freq=freq, more=callbacks("b"))
    names = [sorted(x.name for x in (tmp_path / f"{name} weights").iterdir()) for name in "ab"]
    assert names[0] == names[1]
    assert sorted(set(steps["b"])) == steps["a"]


def test_a_killed_program_goes_on(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
import tinygrad_edu as edu
from tests.test_saving import train

class Kill(edu.callbacks.Callback):
    reads_batch_logs = False
    steps = 0
    def on_train_batch_begin(self, batch, logs=None):
        self.steps += 1
        if self.steps == 8:
            os.kill(os.getpid(), signal.SIGKILL)

trained = train(sys.argv[1], 3, freq=1, more=[Kill()] if len(sys.argv) > 2 else [])
trained.save_weights(sys.argv[1] + "/w")
"""
    )
    for folder, ends in (("a", [0]), ("b", [-signal.SIGKILL, 0])):
        for i, end in enumerate(ends):
            killed = ["kill"] if end else []
            command = [sys.executable, str(program), str(tmp_path / folder), *killed]
            assert subprocess.run(command, check=False).returncode == end, (folder, i)
    assert (tmp_path / "a" / "w").read_bytes() == (tmp_path / "b" / "w").read_bytes()


def test_the_last_ones_are_kept_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    held = train(tmp_path, 5)
    checkpoints = edu.train.Checkpointer(tmp_path, model=held)
    paths = checkpoints.paths()
    assert [x.name for x in paths] == [f"checkpoint-{i:08}.zip" for i in (3, 4, 5)]
    paths[-1].write_bytes(paths[-1].read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"passed over: .*checkpoint-00000005.zip is damaged"):
        assert checkpoints.restore() == paths[-2]


def test_one_of_another_model_is_refused(tmp_path: Path) -> None:
    train(tmp_path, 1)
    other = edu.Sequential([edu.Input((3,)), edu.layers.Dense(1)])
    other.compile("adam", "mse")
    before = other.get_weights()
    with pytest.raises(errors.ArgumentError, match="has weights: dense/kernel of shape"):
        edu.train.Checkpointer(tmp_path, model=other).restore()
    assert_array_equal(other.get_weights()[0], before[0])


def test_without_fit_a_loop_of_ones_own_goes_on(tmp_path: Path) -> None:
    def run(folder: Path, steps: int) -> np.ndarray:
        edu.random.seed(1)
        layer = edu.layers.Dense(1)
        layer(np.zeros((1, 3), "f4"))
        rows = edu.data.Dataset.from_arrays(data()[0]).shuffle(20).batch(3).repeat()
        checkpoints = edu.train.Checkpointer(folder, model=layer, data=rows)
        checkpoints.restore()
        for _, x in zip(range(steps), rows, strict=False):
            kernel = layer.weights[0]
            kernel.assign_sub(0.1 * edu.mean(x, axis=0).reshape(3, 1) * edu.random.uniform())
            checkpoints.save()
        return np.array(layer.weights[0].numpy())

    run(tmp_path / "a", 4)
    assert_array_equal(run(tmp_path / "a", 3), run(tmp_path / "b", 7))


@pytest.mark.parametrize(
    ("settings", "message"), [({"keep": 0}, "keep is"), ({"save_freq": "day"}, "save_freq is")]
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message):
        edu.train.Checkpointer("nowhere", **settings)


def test_what_a_killed_save_has_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    checkpoints = edu.train.Checkpointer(tmp_path, model=model())
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(os, "unlink", lambda _: None)  # who is killed tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save()
    assert len(list(tmp_path.iterdir())) == 1
    path = checkpoints.save()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", ["taken", "taken/within"])
def test_a_file_in_the_place_of_the_folder_is_named_before_training(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "taken").write_text("not ours")
    made = edu.Sequential([edu.Input((1,)), edu.layers.Dense(1)])
    made.compile("sgd", "mse")
    before = made.get_weights()
    data = np.ones((4, 1))
    with pytest.raises(errors.ArgumentError, match="taken is a file, where a folder is to be"):
        made.fit(data, data, verbose=0, callbacks=[edu.train.Checkpointer(tmp_path / folder)])
    assert_array_equal(made.get_weights()[0], before[0])
    with pytest.raises(errors.ArgumentError, match="taken is a file, where a folder is to be"):
        edu.train.Checkpointer(tmp_path / folder, model=made).save()
    path = str(tmp_path / folder / "{epoch}.zip")
    with pytest.raises(errors.ArgumentError, match="taken is a file, where a folder is to be"):
        made.fit(data, data, verbose=0, callbacks=[edu.callbacks.ModelCheckpoint(path)])
    assert (tmp_path / "taken").read_text() == "not ours"


def test_a_checkpointer_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.ArgumentError, match="give it the model"):
        edu.train.Checkpointer(tmp_path).save()
