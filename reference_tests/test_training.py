"""`fit`, `evaluate` and `predict` against Keras and a PyTorch loop: the same weights to start from
and the same batches must give the same losses, metrics and weights, epoch by epoch.

In float64 they agree to 1e-9 after 20 steps. In float32 each step rounds differently (sums in other
orders, about sqrt(n) of the precision 1.2e-7 for n terms), and Adam divides gradients by their
size, so that it forgets none of it: over 10 steps 100 units of the precision are allowed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas
import pytest

import tinygrad_edu as edu
from tinygrad_edu.data import Dataset

from .frameworks import FRAMEWORKS

tf, torch = FRAMEWORKS["tensorflow"].module, FRAMEWORKS["torch"].module

TOLERANCE = {"float64": 1e-9, "float32": 100 * 1.2e-7}
EPOCHS = {"float64": 4, "float32": 2}  # of 5 batches
ROWS, BATCH = 23, 5


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """What both compute in."""
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(before)


def data(dtype: str) -> dict[str, np.ndarray]:
    """Inputs, targets of several kinds and weights for them, always the same."""
    generator = np.random.default_rng(5)
    kinds = generator.integers(0, 3, ROWS)
    return {
        "x": generator.normal(size=(ROWS, 6)).astype(dtype),
        "kind": kinds,
        "hot": np.eye(3)[kinds].astype(dtype),
        "bit": generator.integers(0, 2, (ROWS, 1)).astype(dtype),
        "number": generator.normal(size=(ROWS, 2)).astype(dtype),
        "weight": generator.uniform(0.2, 3.0, ROWS).astype(dtype),
    }


def adam(lib: Any) -> Any:
    """In Keras, in float64, some settings are float32 numbers: these are exact in both."""
    return lib.optimizers.Adam(0.01, beta_1=0.875, beta_2=1 - 2**-10)


def network(lib: Any, outputs: int, activation: str | None, **options: Any) -> Any:
    return lib.Sequential(
        [
            lib.Input((6,)),
            lib.layers.Dense(8, activation="tanh", **options),
            lib.layers.Dense(outputs, activation=activation),
        ]
    )


def two_headed(lib: Any, by_name: bool = False) -> Any:
    start = lib.Input((6,))
    middle = lib.layers.Dense(8, activation="tanh")(start)
    first = lib.layers.Dense(3, activation="softmax", name="kind")(middle)
    second = lib.layers.Dense(2, name="number")(middle)
    return lib.Model(start, {"kind": first, "number": second} if by_name else [first, second])


class Case(NamedTuple):
    """A model and how it is trained, as functions of the library and of the data."""

    model: Callable[[Any], Any]
    settings: Callable[[Any, str], dict[str, Any]]
    fit: Callable[[dict[str, np.ndarray]], dict[str, Any]]


CASES = {
    "validation with weights, short last batch": Case(
        lambda lib: network(lib, 3, "softmax"),
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
            "weighted_metrics": ["accuracy"],
        },
        lambda d: {
            "y": d["kind"],
            "validation_data": (d["x"][:9], d["kind"][:9], d["weight"][:9]),
        },
    ),
    "sample weights": Case(
        lambda lib: network(lib, 3, "softmax"),
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": lib.losses.SparseCategoricalCrossentropy(),
            "metrics": ["sparse_categorical_accuracy"],
            "weighted_metrics": [lib.metrics.SparseCategoricalCrossentropy("ce", dtype)],
        },
        lambda d: {"y": d["kind"], "sample_weight": d["weight"]},
    ),
    "class weights": Case(
        lambda lib: network(lib, 3, "softmax"),
        lambda lib, dtype: {
            "optimizer": lib.optimizers.RMSprop(0.01),
            "loss": "sparse_categorical_crossentropy",
            "weighted_metrics": ["acc"],
        },
        lambda d: {"y": d["kind"], "class_weight": {0: 0.5, 2: 3.0}},
    ),
    "class weights of one-hot targets, from logits": Case(
        lambda lib: network(lib, 3, None),
        lambda lib, dtype: {
            "optimizer": lib.optimizers.SGD(0.1, momentum=0.875, nesterov=True),
            "loss": lib.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            "metrics": ["accuracy", "mse"],
        },
        lambda d: {
            "y": d["hot"],
            "class_weight": {0: 0.5, 1: 2.0, 2: 3.0},
            "validation_split": 0.3,
        },
    ),
    "binary": Case(
        lambda lib: network(lib, 1, "sigmoid"),
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": "binary_crossentropy",
            "metrics": [
                "accuracy",
                lib.metrics.AUC(name="auc", dtype=dtype),
                lib.metrics.Precision(name="p", dtype=dtype),
            ],
        },
        lambda d: {"y": d["bit"], "validation_split": 0.2, "validation_batch_size": 2},
    ),
    "regression, regularized, validated every second epoch": Case(
        lambda lib: network(lib, 2, None, kernel_regularizer="l2"),
        lambda lib, dtype: {
            "optimizer": lib.optimizers.SGD(0.05, clipvalue=0.05),
            "loss": "mse",
            "metrics": ["mae", lib.metrics.RootMeanSquaredError(dtype=dtype)],
        },
        lambda d: {
            "y": d["number"],
            "validation_data": (d["x"], d["number"]),
            "validation_freq": 2,
            "validation_steps": 3,
        },
    ),
    "several steps in one": Case(
        lambda lib: network(lib, 2, None),
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": "mae",
            "steps_per_execution": 3,
        },
        lambda d: {"y": d["number"]},
    ),
    "two outputs by order": Case(
        two_headed,
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": ["sparse_categorical_crossentropy", "mse"],
            "loss_weights": [1.0, 0.3],
            "metrics": [["accuracy"], ["mae", "mse"]],
        },
        lambda d: {"y": [d["kind"], d["number"]], "validation_split": 0.3},
    ),
    "two outputs by name, weights for each": Case(
        lambda lib: two_headed(lib, by_name=True),
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": {"kind": "sparse_categorical_crossentropy", "number": lib.losses.Huber()},
            "metrics": {"number": "mae"},
            "weighted_metrics": {"kind": ["accuracy"]},
        },
        lambda d: {
            "y": {"kind": d["kind"], "number": d["number"]},
            "sample_weight": {"kind": d["weight"], "number": d["weight"][::-1].copy()},
        },
    ),
    "two outputs, one weight for both": Case(
        two_headed,
        lambda lib, dtype: {
            "optimizer": adam(lib),
            "loss": ["sparse_categorical_crossentropy", "mse"],
            "weighted_metrics": ["accuracy", "mae"],
        },
        lambda d: {"y": [d["kind"], d["number"]], "sample_weight": d["weight"]},
    ),
}


def start(case: Case, lib: Any, dtype: str) -> Any:
    """The compiled model of one library, with weights that are the same in each."""
    if lib is edu:
        edu.layers.set_dtype_policy(dtype)
    try:
        model = case.model(lib)
        generator = np.random.default_rng(1)
        model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
        model.compile(**case.settings(lib, dtype))
        if lib is keras and len(model.outputs) > 1:
            # Where Keras does not know batch sizes, losses of single outputs are means of means.
            model.run_eagerly = True
    finally:
        edu.layers.set_dtype_policy("float32")
    return model


def close(ours: Any, theirs: Any, dtype: str) -> None:
    bound = TOLERANCE[dtype]
    np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", CASES)
def test_history_and_weights_are_those_of_keras(name: str, dtype: str) -> None:
    case, given = CASES[name], data(dtype)
    x, options = given["x"], case.fit(given)
    ours, theirs = start(case, edu, dtype), start(case, keras, dtype)
    settings = {"batch_size": BATCH, "epochs": EPOCHS[dtype], "shuffle": False, "verbose": 0}
    found = ours.fit(x, **options, **settings).history
    expected = theirs.fit(x, **options, **settings).history
    assert set(found) == set(expected)
    for key, values in expected.items():
        close(found[key], values, dtype)
    for w, v in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        close(w, v, dtype)
    again = {"batch_size": 7, "verbose": 0, "sample_weight": options.get("sample_weight")}
    found = ours.evaluate(x, options["y"], return_dict=True, **again)
    for key, value in theirs.evaluate(x, options["y"], return_dict=True, **again).items():
        close(found[key], value, dtype)
    predicted = theirs.predict(x, batch_size=7, verbose=0)
    mine = ours.predict(x, batch_size=7, verbose=0)
    assert type(mine) is type(predicted)
    for y, z in zip(edu.tree.leaves(mine), edu.tree.leaves(predicted), strict=True):
        assert y.dtype == z.dtype == dtype
        close(y, z, dtype)


def test_single_batches_are_those_of_keras(dtype: str) -> None:
    case, given = CASES["sample weights"], data(dtype)
    ours, theirs = start(case, edu, dtype), start(case, keras, dtype)
    x, kinds, weights = given["x"], given["kind"], given["weight"]
    for part in (slice(0, 5), slice(5, 12), slice(12, 23)):
        batch = x[part], kinds[part], weights[part]
        found = ours.train_on_batch(*batch, return_dict=True)
        expected = theirs.train_on_batch(*batch, return_dict=True)
        assert set(found) == set(expected)
        for key, value in expected.items():
            close(found[key], value, dtype)
    close(ours.test_on_batch(x, kinds), theirs.test_on_batch(x, kinds), dtype)
    close(ours.predict_on_batch(x), theirs.predict_on_batch(x), dtype)
    balanced = {0: 2.0, 1: 0.5, 2: 1.0}
    close(
        ours.train_on_batch(x, kinds, class_weight=balanced),
        theirs.train_on_batch(x, kinds, class_weight=balanced),
        dtype,
    )


@pytest.mark.parametrize("name", ["binary", "two outputs by order", "sample weights"])
def test_evaluate_lists_what_keras_lists(name: str) -> None:
    case, given = CASES[name], data("float32")
    ours, theirs = start(case, edu, "float32"), start(case, keras, "float32")
    y, options = case.fit(given)["y"], {"batch_size": 7, "verbose": 0}
    close(
        ours.evaluate(given["x"], y, **options),
        theirs.evaluate(given["x"], y, **options),
        "float32",
    )
    case = case._replace(
        settings=lambda lib, dtype: {"loss": CASES[name].settings(lib, dtype)["loss"]}
    )
    ours, theirs = start(case, edu, "float32"), start(case, keras, "float32")
    close(
        ours.evaluate(given["x"], y, **options),
        theirs.evaluate(given["x"], y, **options),
        "float32",
    )


def test_any_source_of_batches_trains_as_arrays_do() -> None:
    case, given = CASES["sample weights"], data("float32")
    x, kinds, weights = given["x"], given["kind"], given["weight"]

    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        for i in range(0, ROWS, BATCH):
            yield x[i : i + BATCH], kinds[i : i + BATCH], weights[i : i + BATCH]

    tensors = [torch.tensor(a) for a in (x, kinds, weights)]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), BATCH)
    pipeline = tf.data.Dataset.from_tensor_slices((x, kinds, weights)).batch(BATCH)
    sources = {
        "tensors": lambda: {"x": edu.tensor(x), "y": edu.tensor(kinds), "sample_weight": weights},
        "lists": lambda: {"x": x.tolist(), "y": kinds.tolist(), "sample_weight": weights.tolist()},
        "torch": lambda: {"x": tensors[0], "y": tensors[1], "sample_weight": tensors[2]},
        "tensorflow": lambda: {
            "x": tf.constant(x),
            "y": tf.constant(kinds),
            "sample_weight": tf.constant(weights),
        },
        "DataLoader": lambda: {"x": loader},
        "tf.data": lambda: {"x": pipeline},
        "generator": lambda: {"x": (b for _ in range(2) for b in batches()), "steps_per_epoch": 5},
        "function": lambda: {"x": Dataset.from_generator(batches)},
        "Dataset": lambda: {"x": Dataset.from_arrays((x, kinds, weights)).batch(BATCH).prefetch()},
    }
    expected: Any = None
    for name, source in sources.items():
        options = source()
        model = start(case, edu, "float32")
        if "y" in options:
            options |= {"batch_size": BATCH, "shuffle": False}
        history = model.fit(**options, epochs=2, verbose=0).history
        expected = expected or (history, model.get_weights())
        assert history == expected[0], name
        for w, v in zip(model.get_weights(), expected[1], strict=True):
            np.testing.assert_array_equal(w, v, err_msg=name)
    assert len(model.predict(loader, verbose=0)) == len(model.predict(pipeline, verbose=0)) == ROWS


def test_tables_of_pandas_are_arrays() -> None:
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "kind": [0, 1]})
    model = edu.Sequential([edu.Input((2,)), edu.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["mae"])
    found = model.evaluate(frame[["a", "b"]], frame["kind"], verbose=0)
    close(found, [(4.0**2 + 5.0**2) / 2, 4.5], "float32")
    close(model.predict(frame[["a", "b"]], verbose=0), [[4.0], [6.0]], "float32")
    flags = pandas.get_dummies(pandas.DataFrame({"a": [1.0, 2.0], "kind": ["red", "blue"]}))
    close(model.predict(flags[["a", "kind_red"]], verbose=0), [[2.0], [2.0]], "float32")
    table = pandas.DataFrame({"a": [1.0], "kind": ["red"]})
    with pytest.raises(edu.errors.DtypeError, match=r"x: takes numbers.*'kind' is not numeric"):
        model.predict(table, verbose=0)


def test_tensorflow_reads_what_is_written_for_tensorboard(tmp_path: Path) -> None:
    given = data("float32")
    model = start(CASES["binary"], edu, "float32")
    board = edu.callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=2)
    history = model.fit(
        given["x"],
        given["bit"],
        batch_size=BATCH,
        epochs=3,
        validation_split=0.3,
        verbose=0,
        callbacks=[board],
    ).history
    seen: dict[tuple[str, str], dict[int, Any]] = {}
    for path in tmp_path.glob("*/*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                seen.setdefault((path.parent.name, value.tag), {})[event.step] = value
    for name, values in history.items():
        where = "validation" if name.startswith("val_") else "train"
        curve = seen[where, f"epoch_{name.removeprefix('val_')}"]
        assert list(curve) == [0, 1, 2]
        close([curve[i].simple_value for i in range(3)], values, "float32")
    assert list(seen["train", "batch_loss"]) == [1, 3, 5, 7, 9, 11]
    histograms = [tag for where, tag in seen if tag.endswith("/histogram")]
    assert len(histograms) == len(model.weights)
    assert seen["train", histograms[0]][2].histo.num == model.weights[0].size


def test_masks_reach_losses_and_metrics_as_in_keras() -> None:
    generator = np.random.default_rng(0)
    words = generator.integers(0, 5, (ROWS, 7))
    targets = generator.integers(0, 2, (ROWS, 7, 1)).astype("float32")
    found = []
    for lib in (edu, keras):
        start = lib.Input((7,), dtype="int32")
        inner = lib.layers.Embedding(5, 4, mask_zero=True)(start)
        model = lib.Model(start, lib.layers.Dense(1, activation="sigmoid")(inner))
        weights = np.random.default_rng(1)
        model.set_weights([weights.normal(0, 0.5, w.shape) for w in model.get_weights()])
        metrics = {"metrics": ["mse", "accuracy"], "weighted_metrics": ["mae"]}
        model.compile(lib.optimizers.SGD(0.1), "binary_crossentropy", **metrics)
        options = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
        steps = np.linspace(0.5, 2, ROWS * 7).reshape(ROWS, 7)
        history = model.fit(words, targets, sample_weight=steps, **options).history
        found.append((history, model.get_weights()))
    (ours, mine), (theirs, other) = found
    assert set(ours) == set(theirs)
    for key, values in theirs.items():
        close(ours[key], values, "float32")
    for w, v in zip(mine, other, strict=True):
        close(w, v, "float32")


@pytest.mark.parametrize("given", [True, False], ids=["batch given", "batch from data"])
def test_a_stateful_network_goes_on_from_batch_to_batch_as_in_keras(given: bool) -> None:
    x = np.random.default_rng(0).normal(size=(12, 5, 3)).astype("float32")
    y = x.sum((1, 2))[:, None]
    found = []
    for lib in (edu, keras):
        size = 4 if given or lib is keras else None  # Keras wants to be told
        inner = lib.layers.GRU(4, stateful=True)
        model = lib.Sequential([lib.Input((5, 3), batch_size=size), inner, lib.layers.Dense(1)])
        weights = np.random.default_rng(1)
        model.set_weights([weights.normal(0, 0.5, w.shape) for w in model.get_weights()])
        model.compile(lib.optimizers.SGD(0.01), "mse")
        options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
        losses = model.fit(x, y, **options).history["loss"]
        before = model.predict(x, batch_size=4, verbose=0)
        inner.reset_state()
        found.append((losses, before, model.predict(x, batch_size=4, verbose=0)))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs, "float32")
    assert np.abs(found[1][1] - found[1][2]).max() > 1e-3  # the state matters


class _Scaled:
    """A train_step of the user's: half the gradient, and a metric of its own."""

    @staticmethod
    def of(lib: Any) -> Any:
        class Model(lib.Model):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.inner = lib.layers.Dense(3, activation="tanh")
                self.outer = lib.layers.Dense(2)
                self.size = lib.metrics.Mean(name="size")

            def call(self, inputs: Any) -> Any:
                return self.outer(self.inner(inputs))

            def train_step(self, data: Any) -> Any:
                x, y = data
                tape = tf.GradientTape() if lib is keras else edu.GradientTape()
                with tape:
                    y_pred = self(x, training=True)
                    loss = self.compute_loss(y=y, y_pred=y_pred)
                gradients = tape.gradient(loss, self.trainable_variables)
                halved = [0.5 * g for g in gradients]
                self.optimizer.apply(halved, self.trainable_variables)
                mean = tf.reduce_mean if lib is keras else edu.mean
                self.size.update_state(mean(y_pred * y_pred))
                return {"loss": loss, "size": self.size.result()}

        return Model()


def test_a_train_step_of_the_users_own_is_run_as_in_keras() -> None:
    given = data("float32")
    models = []
    for lib in (edu, keras):
        model = _Scaled.of(lib)
        model(given["x"][:1])
        generator = np.random.default_rng(1)
        model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
        model.compile(adam(lib), "mse")
        options = {"batch_size": BATCH, "epochs": 2, "shuffle": False, "verbose": 0}
        history = model.fit(given["x"], given["number"], **options).history
        models.append((history, model.get_weights()))
    (found, ours), (expected, theirs) = models
    assert set(found) == set(expected)
    for key, values in expected.items():
        close(found[key], values, "float32")
    for w, v in zip(ours, theirs, strict=True):
        close(w, v, "float32")


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_a_loop_written_in_pytorch_gives_the_same(rule: str, dtype: str) -> None:
    given = data(dtype)
    case = CASES["class weights of one-hot targets, from logits"]
    model = start(case, edu, dtype)
    kind = getattr(torch, dtype)
    weights = [torch.tensor(w, dtype=kind, requires_grad=True) for w in model.get_weights()]
    # Epsilon stands in another place in PyTorch: both do without.
    if rule == "SGD":
        optimizer = edu.optimizers.SGD(0.1, momentum=0.9)
        theirs = torch.optim.SGD(weights, 0.1, momentum=0.9)
    else:
        optimizer = edu.optimizers.Adam(0.01, epsilon=1e-20)
        theirs = torch.optim.Adam(weights, 0.01, eps=1e-20)
    model.compile(optimizer, edu.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = {"batch_size": BATCH, "epochs": EPOCHS[dtype], "shuffle": False, "verbose": 0}
    history = model.fit(given["x"], given["kind"], **options).history["loss"]
    x, kinds = torch.tensor(given["x"]), torch.tensor(given["kind"])
    W, b, V, c = weights
    expected = []
    for _ in range(EPOCHS[dtype]):
        total = 0.0
        for i in range(0, ROWS, BATCH):
            theirs.zero_grad()
            outputs = torch.tanh(x[i : i + BATCH] @ W + b) @ V + c
            loss = torch.nn.functional.cross_entropy(outputs, kinds[i : i + BATCH])
            loss.backward()
            theirs.step()
            total += loss.item() * len(outputs)
        expected.append(total / ROWS)
    close(history, expected, dtype)
    for w, v in zip(model.get_weights(), weights, strict=True):
        close(w, v.detach().numpy(), dtype)


def test_watching_a_number_is_as_in_keras() -> None:
    """Callbacks that see the same random numbers stop, and change the learning rate, alike."""
    generator = np.random.default_rng(0)
    models = [start(CASES["binary"], lib, "float32") for lib in (edu, keras)]
    for i in range(60):
        kind = ("EarlyStopping", "ReduceLROnPlateau")[i % 2]
        settings: dict[str, Any] = {
            "monitor": "height",
            "patience": int(generator.integers(0, 4)),
            "mode": ("min", "max")[int(generator.integers(2))],
            "min_delta": (0.0, 0.5)[int(generator.integers(2))],
        }
        if kind == "EarlyStopping":
            settings["baseline"] = (None, 2.0)[int(generator.integers(2))]
            settings["start_from_epoch"] = int(generator.integers(0, 3))
        else:
            settings |= {"factor": 0.5, "cooldown": int(generator.integers(0, 3)), "min_lr": 0.01}
        values = generator.integers(0, 9, 15) / 2
        told = []
        for lib, model in zip((edu, keras), models, strict=True):
            model.stop_training = False
            model.optimizer.learning_rate = 0.1
            callback = getattr(lib.callbacks, kind)(**settings)
            callback.set_model(model)
            callback.on_train_begin()
            found = []
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {"height": float(value)})
                found.append(np.float32(model.optimizer.learning_rate))
                if model.stop_training:
                    break
            told.append((found, getattr(callback, "best_epoch", None), callback.best))
        assert told[0] == told[1], (kind, settings, values)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        lambda lib: lib.callbacks.EarlyStopping("accuracy", patience=2, start_from_epoch=2),
        lambda lib: lib.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=1),
        lambda lib: lib.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7),
    ],
)
def test_callbacks_act_in_the_same_epochs_as_in_keras(make: Callable[[Any], Any]) -> None:
    given = data("float32")
    case = CASES["validation with weights, short last batch"]
    results = []
    for lib in (edu, keras):
        model = start(case, lib, "float32")
        model.compile(
            lib.optimizers.SGD(0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        options = {"batch_size": BATCH, "epochs": 12, "shuffle": False, "verbose": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            history = model.fit(
                given["x"], given["kind"], validation_split=0.3, callbacks=[make(lib)], **options
            )
        results.append((history.epoch, history.history, model.get_weights()))
    (epochs, found, ours), (expected_epochs, expected, theirs) = results
    assert epochs == expected_epochs
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-3, atol=1e-3, err_msg=key)
    for w, v in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(w, v, rtol=1e-3, atol=1e-3)
