"""`fit`, `evaluate` and `predict`: what they do with data, where they stop, what they refuse."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import callbacks, errors, layers, losses, models
from tinygrad_edu.data import Dataset
from tinygrad_edu.models import Model, Sequential

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5], [0.0]], np.float32)
KINDS = RNG.integers(0, 3, 20)


def line(**settings: Any) -> Sequential:
    """A linear model that starts from zeros, trained by gradient descent on the squared error."""
    model = Sequential([edu.Input((4,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile(**{"optimizer": edu.optimizers.SGD(0.1), "loss": "mse", **settings})
    return model


def classifier(**settings: Any) -> Sequential:
    model = Sequential([edu.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile(**{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", **settings})
    return model


def descended(batches: Any, rate: float = 0.1) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Losses before each step, and weights after all: W <- W - rate * 2 X'(XW + b - Y) / n."""
    W, b, found = np.zeros((4, 1)), np.zeros(1), []
    for x, y in batches:
        error = x @ W + b - y
        found.append(float((error**2).mean()))
        W -= rate * 2 * x.T @ error / len(x)
        b -= rate * 2 * error.mean(0)
    return found, W, b


def in_order(size: int, epochs: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for _ in range(epochs):
        for i in range(0, len(X), size):
            yield X[i : i + size].astype(float), Y[i : i + size].astype(float)


@pytest.mark.parametrize(
    "settings",
    [{}, {"run_eagerly": True}, {"jit_compile": False}, {"steps_per_execution": 2}],
    ids=str,
)
def test_fit_descends_batch_by_batch_and_weighs_a_short_last_one(
    settings: dict[str, Any], device: str
) -> None:
    model = line(**settings)
    history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    steps, W, b = descended(in_order(8, 2))
    expected = [np.average(steps[i : i + 3], weights=[8, 8, 4]) for i in (0, 3)]
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-4, atol=1e-6)
    assert history.epoch == [0, 1]
    assert model.history is history
    assert model.optimizer.iterations.item() == 6


def test_a_step_is_compiled_once_for_each_shape() -> None:
    traces = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        traces.append(y_pred.shape)
        return ((y_true - y_pred) ** 2).mean(-1)

    line(loss=loss).fit(X, Y, batch_size=8, epochs=5, verbose=0)
    assert sorted(traces) == [(1, 1), (4, 1), (8, 1)]  # one sample tries whether it fits


def test_shuffling_follows_the_seed_and_changes_from_epoch_to_epoch() -> None:
    def seen(**options: Any) -> list[list[float]]:
        orders: list[list[float]] = []
        rows = Dataset.from_arrays((X, Y))

        class Watch(Model):
            def __init__(self) -> None:
                super().__init__()
                self.inner = layers.Dense(1)

            def call(self, inputs: Any) -> Any:
                return self.inner(inputs)

            def train_step(self, data: Any) -> Any:
                orders[-1].extend(data[0].numpy()[:, 0].tolist())
                return {"loss": edu.tensor(0.0)}

        model = Watch()
        model.compile("sgd", "mse", run_eagerly=True)
        start = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs=None: orders.append([]))
        assert len(rows) == len(X)
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[start], **options)
        return orders

    edu.random.seed(1)
    first = seen()
    edu.random.seed(1)
    assert seen() == first
    assert first[0] != first[1]
    assert sorted(first[0]) == sorted(first[1]) == sorted(X[:, 0].tolist())
    assert seen(shuffle=False) == [X[:, 0].tolist()] * 2


def test_evaluate_and_predict_change_nothing() -> None:
    model = line(metrics=["mae"])
    model.set_weights([np.ones((4, 1)), np.ones(1)])
    outputs = X.sum(1, keepdims=True) + 1
    found = model.evaluate(X, Y, batch_size=7, verbose=0)
    expected = [((outputs - Y) ** 2).mean(), abs(outputs - Y).mean()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(
        list(model.evaluate(X, Y, verbose=0, return_dict=True).values()), expected, rtol=1e-5
    )
    half = model.evaluate(X, Y, batch_size=5, steps=2, verbose=0)
    np.testing.assert_allclose(half[0], ((outputs - Y)[:10] ** 2).mean(), rtol=1e-5)
    for size in (1, 7, 20, None):
        np.testing.assert_allclose(
            model.predict(X, batch_size=size, verbose=0), outputs, rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(model.predict_on_batch(X), outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((4, 1)))
    assert model.optimizer.iterations.item() == 0


def test_a_model_predicts_without_being_compiled_or_built() -> None:
    model = Sequential([layers.Dense(2, kernel_initializer="ones")])
    np.testing.assert_allclose(
        model.predict(X, verbose=0), np.repeat(X.sum(1, keepdims=True), 2, 1), rtol=1e-4, atol=1e-5
    )


def test_a_model_that_grows_is_compiled_anew() -> None:
    model = line()
    model.set_weights([np.ones((4, 1)), np.zeros(1)])
    before = model.evaluate(X, X.sum(1), verbose=0)
    np.testing.assert_allclose(before, 0, atol=1e-9)
    assert model.predict(X, verbose=0).shape == (20, 1)
    model.add(layers.Dense(2, kernel_initializer="ones"))
    np.testing.assert_allclose(model.predict(X, verbose=0)[:, 1], X.sum(1), rtol=1e-4, atol=1e-5)
    targets = np.repeat(X.sum(1, keepdims=True), 2, 1) + 1
    np.testing.assert_allclose(model.evaluate(X, targets, verbose=0), 1, rtol=1e-4)
    model.pop()
    assert model.predict(X, verbose=0).shape == (20, 1)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_layers_that_are_frozen_after_a_step_stay_as_they_are(method: str) -> None:
    model = Sequential([edu.Input((4,)), layers.Dense(2), layers.Dense(1)])
    model.compile("adam", "mse")

    def train() -> list[bool]:
        """Which weights a step has changed."""
        before = model.get_weights()
        options = {"verbose": 0} if method == "fit" else {}
        getattr(model, method)(X, Y, **options)
        after = model.get_weights()
        return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]

    assert all(train())
    model.layers[0].trainable = False
    assert train() == [False, False, True, True]
    model.layers[0].trainable = True
    assert all(train())


def test_layers_that_are_thawed_need_an_optimizer_that_knows_them() -> None:
    model = Sequential([edu.Input((4,)), layers.Dense(2, trainable=False), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    with pytest.raises(errors.ArgumentError, match=r"Adam: was built without .* compile\(\)"):
        model.fit(X, Y, verbose=0)
    before = model.layers[0].get_weights()[0]
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(model.layers[0].get_weights()[0], before)


def test_the_regularizers_of_layers_that_are_frozen_count_no_more() -> None:
    layer = layers.Dense(1, kernel_initializer="ones", kernel_regularizer=edu.regularizers.L2(0.5))
    model = Sequential([edu.Input((4,)), layer])
    model.compile("sgd", "mse")
    targets = X.sum(1, keepdims=True)
    np.testing.assert_allclose(model.evaluate(X, targets, verbose=0), 2.0, rtol=1e-5)
    layer.trainable = False
    np.testing.assert_allclose(model.evaluate(X, targets, verbose=0), 0.0, atol=1e-9)


def test_weights_of_samples_and_classes_weigh_the_loss() -> None:
    weights = np.linspace(0.5, 2, 20).astype(np.float32)
    each = Y[:, 0] ** 2  # of a model that is zero
    found = line().evaluate(X, Y, sample_weight=weights, verbose=0)
    np.testing.assert_allclose(found, (each * weights).mean(), rtol=1e-5)
    by_class = {0: 2.0, 2: 0.25}
    model = classifier()
    model.set_weights([np.zeros((4, 3)), np.zeros(3)])
    loss = model.train_on_batch(X, KINDS, class_weight=by_class)
    weighed = [by_class.get(int(kind), 1.0) for kind in KINDS]
    np.testing.assert_allclose(loss, np.log(3) * np.mean(weighed), rtol=1e-5)


def test_validation_split_takes_the_end_and_leaves_it_out() -> None:
    split = line(metrics=["mae"])
    history = split.fit(X, Y, validation_split=0.25, batch_size=5, shuffle=False, verbose=0).history
    apart = line(metrics=["mae"])
    other = apart.fit(
        X[:15], Y[:15], validation_data=(X[15:], Y[15:]), batch_size=5, shuffle=False, verbose=0
    ).history
    assert history == other
    W, b = split.get_weights()
    np.testing.assert_allclose(
        history["val_loss"], ((X[15:] @ W + b - Y[15:]) ** 2).mean(), rtol=1e-5
    )


def test_validation_comes_when_it_is_asked_for() -> None:
    options = {"validation_data": (X, Y), "epochs": 4, "verbose": 0}
    assert len(line().fit(X, Y, validation_freq=2, **options).history["val_loss"]) == 2
    assert len(line().fit(X, Y, validation_freq=[1, 2, 4], **options).history["val_loss"]) == 3


def test_steps_per_epoch_go_on_where_the_last_epoch_ended() -> None:
    model = line()
    model.fit(X, Y, batch_size=5, epochs=3, steps_per_epoch=3, shuffle=False, verbose=0)
    _, W, _ = descended(list(in_order(5, 3))[:9])
    np.testing.assert_allclose(model.get_weights()[0], W, rtol=1e-4, atol=1e-6)


def test_fit_goes_on_from_an_epoch() -> None:
    history = line().fit(X, Y, initial_epoch=3, epochs=5, verbose=0)
    assert history.epoch == [3, 4]


def test_a_generator_that_ends_early_ends_training_with_a_warning() -> None:
    model = line()
    with pytest.warns(UserWarning, match="ended early, 1 batches before"):
        history = model.fit(
            (b for b in list(in_order(5)) * 2), epochs=9, steps_per_epoch=3, verbose=0
        )
    assert history.epoch == [0, 1, 2]
    with pytest.warns(UserWarning, match="ended early, 2 batches before"):
        history = model.fit((b for b in in_order(5)), epochs=9, steps_per_epoch=2, verbose=0)
    assert history.epoch == [0, 1]


def test_columns_of_text_and_tables_come_from_a_dataset(tmp_path: Any) -> None:
    path = tmp_path / "line.csv"
    np.savetxt(path, np.hstack([X, Y]), delimiter=",", header="a,b,c,d,y", comments="", fmt="%.9g")
    table, arrays = line(), line()
    table.fit(Dataset.from_csv(path, "y").batch(5), epochs=2, verbose=0)
    arrays.fit(X, Y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(table.get_weights()[0], arrays.get_weights()[0])


def test_wide_numbers_come_in_the_dtype_of_the_weights() -> None:
    model = line()
    model.fit(X.astype(np.float64), Y.astype(np.float64), shuffle=False, verbose=0)
    narrow = line()
    narrow.fit(X, Y, shuffle=False, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], narrow.get_weights()[0])
    assert model.predict(X.astype(np.float64), verbose=0).dtype == np.float32


def test_no_thread_is_left_by_an_error() -> None:
    def fail(batch: int, logs: Any) -> None:
        raise KeyError("here")

    before, model = threading.active_count(), line()
    data = Dataset.from_arrays((X, Y)).batch(5).prefetch()
    stop = callbacks.LambdaCallback(
        on_train_batch_end=fail, on_test_batch_end=fail, on_predict_batch_end=fail
    )
    late = callbacks.LambdaCallback(on_test_batch_end=fail)
    for call in (
        lambda: model.fit(data, callbacks=stop, verbose=0),
        lambda: model.fit(data, callbacks=stop, verbose=0, steps_per_epoch=2),
        lambda: model.fit(X, Y, validation_data=data, batch_size=20, callbacks=late, verbose=0),
        lambda: model.evaluate(data, callbacks=stop, verbose=0),
        lambda: model.predict(data, callbacks=stop, verbose=0),
    ):
        with pytest.raises(KeyError, match="here") as caught:
            call()
        assert threading.active_count() == before
        assert caught.value.__traceback__ is not None, "which holds what was going on"


class Halved(Model):
    """A model with steps of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(1, kernel_initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with edu.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) * 0.5
        self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
        return {"half": loss}

    def test_step(self, data: Any) -> Any:
        return {"largest": edu.max(self(data[0]))}

    def predict_step(self, data: Any) -> Any:
        return {"twice": self(data) * 2.0}


class SquaredByHand(edu.Model):
    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return edu.mean(edu.square(y - y_pred))


def test_a_loss_of_the_users_own_counts_every_batch() -> None:
    model = SquaredByHand()
    model.compile(edu.optimizers.SGD(0.0))
    loss = model.fit(X, Y, batch_size=7, verbose=0).history["loss"][-1]
    np.testing.assert_allclose(loss, ((X.sum(axis=1, keepdims=True) - Y) ** 2).mean(), rtol=1e-5)


def test_steps_of_the_users_own() -> None:
    model = Halved()
    model.compile(edu.optimizers.SGD(0.1), "mse")
    history = model.fit(X, Y, batch_size=5, epochs=2, shuffle=False, verbose=0).history
    steps, W, b = descended(in_order(5, 2), rate=0.05)
    assert list(history) == ["half"]
    np.testing.assert_allclose(history["half"], [steps[3] / 2, steps[7] / 2], rtol=1e-4)
    np.testing.assert_allclose(model.get_weights()[0], W, rtol=1e-4, atol=1e-6)
    outputs = X @ W + b
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), outputs.max(), rtol=1e-4)
    np.testing.assert_allclose(
        model.predict(X, verbose=0)["twice"], 2 * outputs, rtol=1e-3, atol=1e-5
    )


class Noting(Model):
    """A model that learns nothing, and notes what its steps get."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def train_step(self, data: Any) -> Any:
        self.got.append(data)
        return {"loss": edu.tensor(0.0)}

    def predict_step(self, data: Any) -> Any:
        self.got.append(data)
        return edu.zeros((1, 1))


def test_steps_of_the_users_own_get_what_there_is() -> None:
    model = Noting()
    model.compile(run_eagerly=True)
    options = {"batch_size": 20, "verbose": 0}
    model.fit(X, **options)
    model.fit(X, Y, **options)
    model.fit(X, Y, sample_weight=np.ones(20), **options)
    model.fit([X, X], **options)
    model.fit({"a": X}, Y, **options)
    model.fit(((X, Y) for _ in range(1)), verbose=0)
    model.train_on_batch(X, Y)
    alone, pair, three, listed, (named, _), from_batches, at_once = model.got
    assert alone.shape == (20, 4)
    assert [x.shape for x in pair] == [(20, 4), (20, 1)]
    assert [x.shape for x in three] == [(20, 4), (20, 1), (20,)]
    assert isinstance(listed, tuple)
    assert [x.shape for x in listed[0]] == [(20, 4), (20, 4)]
    assert named["a"].shape == (20, 4)
    assert len(from_batches) == len(at_once) == 2
    model = Noting()
    model.compile(run_eagerly=True)
    model.predict(X, batch_size=20, verbose=0)
    assert model.got[0].shape == (20, 4)


class Outer(Model):
    """Losses of a layer's own, and no loss to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs: Any) -> Any:
        outputs = self.inner(inputs)
        self.add_loss(edu.mean(outputs * outputs))
        return outputs


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X, "the loss needs targets"),
        ((X[:, :2], Y), r"\(20, 2\)|\(1, 2\)"),
        ((X, np.ones((20, 3))), "fit: validation_data, tried with one sample: loss"),
        (Dataset.from_arrays((X, np.ones((20, 3)))).batch(5), "fit: validation_data, tried with"),
    ],
    ids=["no targets", "other features", "other targets", "batches"],
)
def test_validation_data_that_do_not_fit_are_refused_before_anything_is_learned(
    given: Any, message: str, again: bool
) -> None:
    model = line()
    if again:
        model.fit(X, Y, verbose=0)
    before = model.get_weights()
    with pytest.raises((errors.ArgumentError, errors.ShapeError), match=message):
        model.fit(X, Y, validation_data=given, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert model.optimizer.iterations.item() == again


def test_data_without_an_end_need_a_number_of_steps() -> None:
    model, data = line(), Dataset.from_arrays((X, Y)).batch(5).repeat()
    with pytest.raises(errors.ArgumentError, match=r"fit: this Dataset has no end: .*steps_per_ep"):
        model.fit(data, verbose=0)
    for method in (model.evaluate, model.predict):
        with pytest.raises(errors.ArgumentError, match=r"this Dataset has no end: .*steps"):
            method(data, verbose=0)
    model.fit(data, steps_per_epoch=4, validation_data=data, validation_steps=4, verbose=0)
    with pytest.raises(errors.ArgumentError, match=r"validation_data: this Dataset .*_steps"):
        model.fit(X, Y, validation_data=data, verbose=0)


def test_a_dataset_of_rows_is_to_be_batched() -> None:
    with pytest.raises(errors.ShapeError, match=r"x has 4, y has 1. .* needs \.batch\(size\)"):
        line().fit(Dataset.from_arrays((X, Y)), verbose=0)


def test_losses_that_layers_add_are_enough() -> None:
    model = Outer()
    model.compile(edu.optimizers.SGD(0.0))
    history = model.fit(X, epochs=1, batch_size=20, verbose=0).history
    np.testing.assert_allclose(history["loss"], [(X.sum(1) ** 2).mean()], rtol=1e-5)
    model.compile("sgd", "mse")
    found = model.evaluate(X, Y, batch_size=20, verbose=0)
    outputs = X.sum(1, keepdims=True)
    np.testing.assert_allclose(found, (outputs**2).mean() + ((outputs - Y) ** 2).mean(), rtol=1e-5)


def two_outputs() -> Model:
    start = edu.Input((4,))
    first = layers.Dense(1, name="number", kernel_initializer="zeros")(start)
    second = layers.Dense(3, activation="softmax", name="kind", kernel_initializer="zeros")(start)
    return Model(start, [first, second])


def test_a_model_without_trainable_weights_is_measured_with_a_warning() -> None:
    norm = layers.BatchNormalization(momentum=0.5, center=False, scale=False)
    model = Sequential([edu.Input((1,)), norm, layers.Dense(1, kernel_initializer="ones")])
    model.layers[1].trainable = False
    model.compile("adam", "mse", metrics=["mae"])
    x = np.array([[1.0], [3.0]], np.float32)
    with pytest.warns(UserWarning, match="no trainable weights"):
        history = model.fit(x, np.zeros((2, 1)), verbose=0).history
    np.testing.assert_allclose([history["loss"][0], history["mae"][0]], [1.0, 1.0], rtol=1e-2)
    mean, variance, kernel, bias = model.get_weights()  # statistics are learned all the same
    assert (mean, variance, kernel, bias) == (1.0, 1.0, 1.0, 0.0)


def test_losses_of_several_outputs_add_up_with_their_weights() -> None:
    model = two_outputs()
    wanted = {"number": "mse", "kind": "sparse_categorical_crossentropy"}
    model.compile("sgd", wanted, loss_weights={"kind": 3.0}, metrics={"kind": ["accuracy"]})
    found = model.evaluate(X, [Y, KINDS], verbose=0, return_dict=True)
    assert set(found) == {"loss", "number_loss", "kind_loss", "kind_accuracy"}
    np.testing.assert_allclose(found["number_loss"], (Y**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["kind_loss"], np.log(3), rtol=1e-5)
    np.testing.assert_allclose(found["loss"], (Y**2).mean() + 3 * np.log(3), rtol=1e-5)
    model.compile("sgd", ["mse", None])
    found = model.evaluate(X, {"number": Y, "kind": KINDS}, verbose=0)
    assert isinstance(found, float)  # and no list, as there is one loss
    np.testing.assert_allclose(found, (Y**2).mean(), rtol=1e-5)


def test_a_list_of_batches_is_read_in_every_epoch() -> None:
    found, expected = line(), line()
    listed = [(X[:8], Y[:8]), (X[8:16], Y[8:16]), (X[16:], Y[16:])]
    history = found.fit(listed, epochs=2, verbose=0).history
    assert history == expected.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_array_equal(found.predict(listed, verbose=0), found.predict(X, verbose=0))


def test_a_metric_that_is_a_function_has_its_name_as_keras_writes_it() -> None:
    def MyError(y: Any, p: Any) -> Any:
        return edu.abs(y - p)

    model = line(metrics=[MyError, lambda y, p: edu.abs(y - p)])
    assert list(model.evaluate(X, Y, verbose=0, return_dict=True)) == ["loss", "my_error", "lambda"]


def test_names_of_metrics_come_in_the_order_of_their_values() -> None:
    model = two_outputs()
    kinds = "sparse_categorical_crossentropy"
    model.compile("sgd", ["mse", kinds], metrics=[["mse", "mae"], [kinds, "accuracy"]])
    found = model.evaluate(X, [Y, KINDS], verbose=0)
    named = model.evaluate(X, [Y, KINDS], verbose=0, return_dict=True)
    assert dict(zip(model.metrics_names, found, strict=True)) == named


def test_dropout_and_other_numbers_of_chance_follow_the_seed() -> None:
    def trained() -> list[float]:
        edu.random.seed(4)
        model = Sequential([layers.Dense(8), layers.Dropout(0.5), layers.Dense(1)])
        model.compile("adam", "mse")
        return model.fit(X, Y, batch_size=5, epochs=3, verbose=0).history["loss"]

    assert trained() == trained()


def test_a_model_that_was_copied_trains_alike() -> None:
    import copy

    model = line()
    model.fit(X, Y, batch_size=5, shuffle=False, verbose=0)
    again = copy.deepcopy(model)
    found = [m.fit(X, Y, batch_size=5, shuffle=False, verbose=0).history for m in (model, again)]
    assert found[0] == found[1]
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])


# Stopping and going on


@pytest.mark.parametrize("place", [0, 1, 4, 6, 7])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(place: int) -> None:
    """With the state of a callback's choosing: weights, optimizer, chance and `fit_state`."""

    def model() -> Sequential:
        made = Sequential([layers.Dense(8), layers.Dropout(0.3), layers.Dense(1)])
        made.compile("adam", "mse", metrics=["mae"])
        made.build((None, 4))
        made.optimizer.build(made.trainable_weights)
        return made

    class StopError(Exception):
        pass

    class Save(callbacks.Callback):
        def __init__(self) -> None:
            self.done = 0
            self.saved: Any = None

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.done += 1
            if self.done == place:
                self._save()
                raise StopError

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if place == 0:
                self._save()
                raise StopError

        def _save(self) -> None:
            state = [v.numpy().copy() for v in variables(self.model)]
            self.saved = state, edu.random.state(), self.model.fit_state.state_dict()

    class Load(callbacks.Callback):
        def __init__(self, saved: Any) -> None:
            self.saved = saved

        def on_train_begin(self, logs: Any = None) -> None:
            state, chance, position = self.saved
            for variable, value in zip(variables(self.model), state, strict=True):
                variable.assign(value)
            edu.random.seed(chance)
            self.model.fit_state.load_state_dict(position)

    def variables(made: Any) -> list[Any]:
        measured = [v for metric in made.metrics for v in metric.variables]
        return [*made.weights, *made.optimizer.variables, *measured]

    options: dict[str, Any] = {"batch_size": 8, "epochs": 3, "verbose": 0}
    edu.random.seed(2)
    whole = model()
    start = whole.get_weights()
    edu.random.seed(3)
    expected = whole.fit(X, Y, **options).history
    stopped = model()
    stopped.set_weights(start)
    edu.random.seed(3)
    save = Save()
    with pytest.raises(StopError):
        stopped.fit(X, Y, callbacks=[save], **options)
    edu.random.seed(99)
    resumed = model()
    history = resumed.fit(X, Y, callbacks=[Load(save.saved)], **options).history
    for w, v in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(w, v)
    for name, values in history.items():
        assert values == expected[name][-len(values) :]


# Bad input


def refused(model: Any, call: Callable[[], Any], kind: type[Exception], says: str) -> None:
    """A call raises, and leaves weights, optimizer and programs as they were."""
    weights, steps = model.get_weights(), model.optimizer and model.optimizer.iterations.item()
    with pytest.raises(kind, match=says):
        call()
    for w, v in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(w, v)
    assert (model.optimizer and model.optimizer.iterations.item()) == steps


def batches(*parts: Any) -> Iterator[Any]:
    yield parts


BAD: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], str]] = {
    "lengths": (line, lambda m: m.fit(X, Y[:5]), "x has 20, y has 5"),
    "lengths of weights": (
        line,
        lambda m: m.fit(X, Y, sample_weight=np.ones(3)),
        "sample_weight has 3",
    ),
    "lengths in a batch": (line, lambda m: m.fit(batches(X, Y[:5])), "x has 20, y has 5"),
    "no samples": (line, lambda m: m.fit(X[:0], Y[:0]), "x has no samples"),
    "no batch": (line, lambda m: m.fit(iter(())), "gives no batch"),
    "no batches to evaluate": (line, lambda m: m.evaluate(iter(())), "gives no batch"),
    "no batches to predict": (line, lambda m: m.predict(iter(())), "no batch"),
    "too many parts": (line, lambda m: m.fit(batches(X, Y, Y, Y)), "this has 4 parts"),
    "no targets": (line, lambda m: m.fit(X), "give y"),
    "text": (line, lambda m: m.fit(np.array(["a", "b"]), Y[:2]), "x: takes numbers, not <U1"),
    "weights of samples of no output": (
        lambda: _compiled(two_outputs(), ["mse", "sparse_categorical_crossentropy"]),
        lambda m: m.fit(X, [Y, KINDS], sample_weight={"numbr": np.ones(20)}),
        "sample_weight: no output 'numbr'; did you mean 'number'",
    ),
    "what is masked": (
        line,
        lambda m: m.fit(np.ma.masked_array(X, X > 0), Y),
        r"x: .* no mask.* use array\.filled",
    ),
    "targets that are masked": (
        line,
        lambda m: m.fit(batches(X, np.ma.masked_array(Y, Y > 0))),
        r"y: .* no mask.* use array\.filled",
    ),
    "a number": (line, lambda m: m.fit(3.0, 4.0), "at least one axis"),
    "nothing": (line, lambda m: m.fit(None), "x is a NoneType"),
    "nothing but targets": (line, lambda m: m.fit(None, Y), "x is a NoneType"),
    "targets to predict": (
        line,
        lambda m: m.predict(X, np.zeros((99, 1))),
        r"(?s)predict: batch_size is a number from 1 on, not array\(.{,30}$",
    ),
    "an epoch before the first": (
        line,
        lambda m: m.fit(X, Y, initial_epoch=-1),
        "initial_epoch is a number from 0 on, not -1",
    ),
    "validation every 0 epochs": (
        line,
        lambda m: m.fit(X, Y, validation_split=0.5, validation_freq=0),
        "validation_freq is a number from 1 on, not 0",
    ),
    "validation in epochs of text": (
        line,
        lambda m: m.fit(X, Y, validation_split=0.5, validation_freq=["2"]),
        "validation_freq is a number from 1 on, not '2'",
    ),
    "a fourth way to show it": (
        line,
        lambda m: m.predict(X, verbose=3),
        "predict: verbose is 0, 1, 2 or 'auto', not 3",
    ),
    "weights of classes in a list": (
        classifier,
        lambda m: m.fit(X, KINDS, class_weight=[1.0, 2.0, 3.0]),
        "class_weight maps classes to weights.* and is no list",
    ),
    "features": (line, lambda m: m.fit(X[:, :3], Y), r"\(1, 3\) does not fit \(None, 4\)"),
    "targets of another shape": (line, lambda m: m.fit(X, np.ones((20, 2))), r"\(1, 2\)"),
    "split 0": (line, lambda m: m.fit(X, Y, validation_split=1.0), "between 0 and 1, not 1.0"),
    "split 1": (line, lambda m: m.fit(X, Y, validation_split=-0.5), "between 0 and 1, not -0.5"),
    "split 2": (line, lambda m: m.fit(X, Y, validation_split=0.99), "leaves none on one side"),
    "split of batches": (
        line,
        lambda m: m.fit(Dataset.from_arrays((X, Y)).batch(5), validation_split=0.5),
        "validation_split is for arrays",
    ),
    "epochs": (line, lambda m: m.fit(X, Y, epochs=0), "epochs is a number from 1 on, not 0"),
    "batch size": (line, lambda m: m.fit(X, Y, batch_size=2.5), "batch_size is .* not 2.5"),
    "batch size of batches": (
        line,
        lambda m: m.fit(Dataset.from_arrays((X, Y)).batch(5), batch_size=5),
        "x gives batches by itself",
    ),
    "a generator for two epochs": (
        line,
        lambda m: m.fit(batches(X, Y), epochs=2),
        "read once, and 2 epochs",
    ),
    "rows for batches": (line, lambda m: m.fit(Dataset.from_arrays((X, Y[:, 0]))), "one axis"),
    "both kinds of weights": (
        classifier,
        lambda m: m.fit(X, KINDS, class_weight={0: 1.0}, sample_weight=np.ones(20)),
        "not both",
    ),
    "a class too many": (classifier, lambda m: m.fit(X, KINDS + 1), "target 3, .*0 to 2"),
    "a class below": (classifier, lambda m: m.evaluate(X, KINDS - 1), "target -1"),
    "a class too many in a batch": (
        classifier,
        lambda m: m.fit(batches(X, KINDS + 1)),
        "target 3",
    ),
    "a class too many for validation": (
        classifier,
        lambda m: m.fit(X, KINDS, validation_data=(X, KINDS + 5)),
        "validation_data: y has the target [567]",
    ),
    "the weight of no class": (
        classifier,
        lambda m: m.fit(X, KINDS, class_weight={0: 1.0, 3: 2.0}),
        "no class 3: the model's output has 3, 0 to 2",
    ),
    "one-hot targets for sparse": (
        classifier,
        lambda m: m.fit(X, np.eye(3)[KINDS]),
        "sparse_categorical_crossentropy",
    ),
    "a binary target of 2": (
        lambda: line(loss=losses.BinaryCrossentropy(from_logits=True)),
        lambda m: m.fit(X, np.full((20, 1), 2.0)),
        "target 2.0, and binary_crossentropy takes targets from 0 to 1",
    ),
    "a metric that does not fit": (
        lambda: classifier(metrics=["categorical_accuracy"]),
        lambda m: m.fit(X, KINDS),
        "metric 'categorical_accuracy' does not fit targets of shape",
    ),
    "too few targets": (
        lambda: _compiled(two_outputs(), "mse"),
        lambda m: m.fit(X, Y),
        "2 outputs, .*1 arrays",
    ),
    "losses for other outputs": (
        lambda: _compiled(two_outputs(), {"numbers": "mse", "kind": "mse"}),
        lambda m: m.fit(X, [Y, KINDS]),
        "no output 'numbers'; did you mean 'number'",
    ),
    "a loss too few": (
        lambda: _compiled(two_outputs(), ["mse"]),
        lambda m: m.fit(X, [Y, KINDS]),
        "loss has 1 entries, and the model has 2 outputs",
    ),
    "metrics of several outputs in one": (
        lambda: _compiled(two_outputs(), "mse", metrics=["mae"]),
        lambda m: m.fit(X, [Y, KINDS]),
        "metrics has 1 entries",
    ),
    "no optimizer's business": (
        line,
        lambda m: m.fit(X, Y, callbacks=[callbacks.History]),
        "give an instance, History()",
    ),
}


def loss(y_true: Any, y_pred: Any) -> Any:
    return edu.abs(y_true - y_pred)


def _compiled(model: Model, loss: Any, **settings: Any) -> Model:
    model.compile("sgd", loss, **settings)
    return model


@pytest.mark.parametrize("name", BAD)
def test_bad_input_says_what_is_wrong_and_leaves_the_model_as_it_was(name: str) -> None:
    make, call, says = BAD[name]
    model = make()
    refused(model, lambda: call(model), errors.Error, says)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"optimizer": "adamm"}, "did you mean 'adam"),
        ({"loss": "mean_square_error"}, "did you mean 'mean_squared_error'"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"weighted_metrics": {"a": ["presision"]}}, "did you mean 'precision'"),
        (
            {"metrics": [edu.metrics.MeanAbsoluteError(name="loss")]},
            r"the metric MeanAbsoluteError\(name='loss'.* is named 'loss'.*give it another name",
        ),
        ({"weighted_metrics": [loss]}, "the metric <function loss .* give it another name"),
        ({"loss_weights": ["accuracy"]}, "metrics have their name in front"),
        ({"jit_compile": "yes"}, "not 'yes'"),
        ({"steps_per_execution": 0}, "from 1 on, not 0"),
    ],
)
def test_compile_refuses_what_is_not_there_and_keeps_what_was(
    settings: dict[str, Any], says: str
) -> None:
    model = line()
    before = model.optimizer
    with pytest.raises(errors.ArgumentError, match=says):
        model.compile(**{"optimizer": "sgd", "loss": "mse", **settings})
    assert model.optimizer is before
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_compile_comes_first(method: str) -> None:
    model = Sequential([layers.Dense(1)])
    with pytest.raises(errors.ArgumentError, match=f"{method}: the model is not compiled"):
        getattr(model, method)(X, Y)
    assert not model.built


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training_before_the_step(bad: float) -> None:
    x = X.copy()
    x[13, 2] = bad
    model, until = line(), line()
    until.fit(X[:12], Y[:12], batch_size=4, shuffle=False, verbose=0)
    with pytest.raises(
        errors.NonFiniteError, match=rf"loss is {bad} in epoch 1, step 4 .*x has NaN or infinity"
    ):
        model.fit(x, Y, batch_size=4, shuffle=False, verbose=0)
    for w, v in zip(model.get_weights(), until.get_weights(), strict=True):
        np.testing.assert_array_equal(w, v)
    assert model.optimizer.iterations.item() == 3


@pytest.mark.parametrize("settings", [{}, {"steps_per_execution": 3}], ids=str)
def test_on_a_device_that_goes_ahead_the_step_is_named_too(settings: dict[str, Any]) -> None:
    x = X.copy()
    x[13, 2] = np.nan
    with edu.device("xla"):
        model = line(**settings)
        with pytest.raises(errors.NonFiniteError, match="nan in epoch 1, step 4"):
            model.fit(x, Y, batch_size=4, shuffle=False, verbose=0)


def test_a_loss_that_grows_without_bound_is_named_with_its_epoch() -> None:
    model = line(optimizer=edu.optimizers.SGD(100.0))
    with pytest.raises(errors.NonFiniteError, match=r"loss is (inf|nan) in epoch \d+, step 1 "):
        model.fit(X, Y, epochs=50, verbose=0, batch_size=20)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_terminate_on_nan_ends_quietly_instead(capsys: pytest.CaptureFixture[str]) -> None:
    x = X.copy()
    x[13, 2] = np.nan
    options = {"batch_size": 4, "epochs": 9, "shuffle": False, "verbose": 0}
    history = line().fit(x, Y, callbacks=[callbacks.TerminateOnNaN()], **options)
    assert history.epoch == [0]
    assert "Batch 3: Invalid loss" in capsys.readouterr().out
    with pytest.raises(errors.NonFiniteError, match="batch 3 is nan"):
        line().fit(x, Y, callbacks=[callbacks.TerminateOnNaN(raise_error=True)], **options)


def test_settings_are_kept_for_files() -> None:
    model = line(metrics=["mae"], loss_weights=2.0)
    config = model.get_compile_config()
    assert config is not None
    assert config["metrics"] == ["mae"]
    assert config["optimizer"] is model.optimizer
    again = Sequential([edu.Input((4,)), layers.Dense(1, kernel_initializer="zeros")])
    again.compile(**config)
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert models.Sequential([]).get_compile_config() is None
