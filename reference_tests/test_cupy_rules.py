"""Device cupy without a GPU: each operation keeps to what CuPy lets one do (`cupy_rules`) and gives
what device numpy gives, and so does training. What a GPU makes of it is not tested here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_edu as edu

from .cupy_rules import CUPY, standing_in
from .ours import Ours
from .samples import ordinary
from .subjects import Subject
from .test_operations import problems
from .test_rules import IN_EACH_DTYPE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _cupy() -> Iterator[None]:
    with standing_in():
        yield


@pytest.mark.parametrize(("subject", "dtype"), IN_EACH_DTYPE)
def test_operations_agree_with_device_numpy(subject: Subject, dtype: str) -> None:
    with edu.device("cupy"):
        assert problems(subject, Ours("cupy"), ordinary(subject, dtype), rows=()) == []


@pytest.mark.parametrize(
    "attempt",
    [
        lambda x: np.asarray(x),
        lambda x: x + np.ones(2),
        lambda x: CUPY.exp(np.ones(2)),
        lambda x: CUPY.max(x, initial=0),
        lambda x: CUPY.multiply.at(x, [0], 2.0),
        lambda x: x[np.array([0, 1])],
    ],
)
def test_what_cupy_refuses_is_refused(attempt: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        attempt(CUPY.ones(2))


@pytest.mark.parametrize("how", ["add", "multiply", "min", "max"])
@pytest.mark.parametrize("dtype", ["int8", "int64", "float16", "float32", "float64"])
def test_places_that_come_twice_get_all_their_values(how: str, dtype: str) -> None:
    x, index = np.array([1, 2, 3, 4], dtype), np.array([1, 3, 1, -1, 1])
    values = np.array([2, 5, 3, 1, 4], dtype)
    wanted = x.copy()
    name = {"min": "minimum", "max": "maximum"}.get(how, how)
    getattr(np, name).at(wanted, index, values)
    with edu.device("cupy"):
        found = getattr(edu.tensor(x).at[edu.tensor(index)], how)(edu.tensor(values))
        nothing = getattr(edu.tensor(x).at[edu.tensor(index[:0])], how)(edu.tensor(values[:0]))
    assert found.device == "cupy"
    assert_array_equal(found.numpy(), wanted)
    assert_array_equal(nothing.numpy(), x)


def test_an_index_without_axes_reads_one_element() -> None:
    x = edu.tensor([1.0, 2.0], device="cupy")
    assert x[edu.tensor(-1, device="cupy")].item() == 2


@pytest.mark.parametrize("device", ["cupy", "xla"])
@pytest.mark.parametrize("axis", [-1, 0])
def test_the_loss_of_a_class_that_is_not_there_is_nan(device: str, axis: int) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    classes = np.array([0, -1, 2, 3])
    with edu.device(device):
        found = edu.ops.sparse_categorical_crossentropy(
            edu.tensor(classes), edu.tensor(x if axis else x.T), from_logits=True, axis=axis
        )
    wanted = np.log(np.exp(x).sum(1)) - x[np.arange(4), [0, 0, 2, 0]]
    assert_allclose(found.numpy(), np.where([1, 0, 1, 0], wanted, np.nan), rtol=1e-12)


def test_training_agrees_with_device_numpy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6, 5, 1)).astype("float32"), rng.integers(0, 3, 24)

    def losses(device: str) -> tuple[list[float], list[np.ndarray]]:
        edu.random.seed(0)
        with edu.device(device):
            layers = [
                edu.layers.Conv2D(4, 3, padding="same", activation="relu"),
                edu.layers.BatchNormalization(),
                edu.layers.MaxPooling2D((1, 2)),
                edu.layers.Reshape((6, 8)),
                edu.layers.LSTM(5, return_sequences=True),
                edu.layers.Dropout(0.2),
                edu.layers.GlobalAveragePooling1D(),
                edu.layers.Dense(3),
            ]
            model = edu.Sequential([edu.Input((6, 5, 1)), *layers])
            loss = edu.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(edu.optimizers.AdamW(0.01, clipnorm=1.0), loss, metrics=["accuracy"])
            history = model.fit(x, y, batch_size=8, epochs=3, verbose=0).history
            model.evaluate(x, y, verbose=0)
            assert {w.value.device.name for w in model.weights} == {device}
            return history["loss"], [model.predict(x, verbose=0), *model.get_weights()]

    (losses_there, arrays_there), (losses_here, arrays_here) = losses("cupy"), losses("numpy")
    assert_allclose(losses_there, losses_here, rtol=1e-5)
    for there, here in zip(arrays_there, arrays_here, strict=True):
        assert_allclose(there, here, rtol=1e-4, atol=1e-5)
