"""Initializers, regularizers and constraints against Keras's: names, arguments and values, and
the distribution of what is drawn."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from scipy import stats

from tinygrad_edu import constraints, initializers, regularizers

from .frameworks import FRAMEWORKS

tf = FRAMEWORKS["tensorflow"].module


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Keras in float64."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def _classes(module: Any, base: str) -> list[str]:
    """The classes of one of Keras's modules, each once."""
    found = {x for _, x in inspect.getmembers(module, inspect.isclass)}
    return sorted(x.__name__ for x in found if x.__name__ != base)


PAIRS = [
    (ours, theirs, name)
    for ours, theirs, base in (
        (initializers, keras.initializers, "Initializer"),
        (regularizers, keras.regularizers, "Regularizer"),
        (constraints, keras.constraints, "Constraint"),
    )
    for name in _classes(theirs, base)
]


@pytest.mark.parametrize(
    ("ours", "theirs", "name"), PAIRS, ids=lambda x: x if type(x) is str else ""
)
def test_each_class_is_there_with_the_same_arguments(ours: Any, theirs: Any, name: str) -> None:
    assert _parameters(type(ours.get(name))) == _parameters(getattr(theirs, name))


def _parameters(given: type) -> list[tuple[str, Any]]:
    if given.__init__ is object.__init__:  # type: ignore[misc]
        return []
    parameters = list(inspect.signature(given.__init__).parameters.values())  # type: ignore[misc]
    return [(p.name, p.default) for p in parameters[1:]]


@pytest.mark.parametrize("kind", ["initializers", "regularizers", "constraints"])
def test_each_name_that_keras_knows_means_the_same(kind: str) -> None:
    ours = {"initializers": initializers, "regularizers": regularizers, "constraints": constraints}
    for name, theirs in getattr(keras.src, kind).ALL_OBJECTS_DICT.items():
        if name.lower() != kind[:-1]:  # the base
            assert type(ours[kind].get(name)).__name__ == theirs.__name__, name


DRAWING = [
    ("RandomNormal", {"mean": 0.5, "stddev": 2.0}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("TruncatedNormal", {"mean": 0.5, "stddev": 2.0}),
    *[
        ("VarianceScaling", {"scale": 2.5, "mode": mode, "distribution": distribution})
        for mode in ("fan_in", "fan_out", "fan_avg")
        for distribution in ("truncated_normal", "untruncated_normal", "uniform")
    ],
    ("GlorotNormal", {"input_axes": [0, 1], "output_axes": [-1]}),
    *[
        (f"{name}{kind}", {})
        for name in ("Glorot", "He", "Lecun")
        for kind in ("Normal", "Uniform")
    ],
    ("Orthogonal", {"gain": 0.5}),
]


@pytest.mark.parametrize(("name", "settings"), DRAWING, ids=str)
def test_what_is_drawn_is_distributed_as_in_keras(name: str, settings: dict[str, Any]) -> None:
    shape = (5, 40, 60)
    ours = getattr(initializers, name)(seed=1, **settings)(shape, "float64").numpy().ravel()
    theirs = np.array(getattr(keras.initializers, name)(seed=2, **settings)(shape)).ravel()
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)


@pytest.mark.parametrize("side", ["real", "imag"])
def test_fourier_kernels_are_those_of_keras(side: str) -> None:
    own = np.linspace(1.0, 2.0, 8)
    choices = (
        ("hann", "hamming", "blackman", "bartlett", None, own),
        ("density", "spectrum", None),
        (False, True),
        ((8, 1, 5), (8, 1, 9)),
    )
    for window, scaling, periodic, shape in itertools.product(*choices):
        settings: dict[str, Any] = {
            "side": side,
            "window": window,
            "scaling": scaling,
            "periodic": periodic,
        }
        expected = np.array(keras.initializers.STFT(**settings)(shape, "float64"))
        found = initializers.STFT(**settings)(shape, "float64").numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=str(settings))


WEIGHTS = [
    np.random.default_rng(0).normal(size=shape) * np.linspace(0.01, 3, shape[-1])
    for shape in ((4, 6), (3, 3, 2, 5))
]

FUNCTIONS: list[tuple[Any, Any, str, dict[str, Any]]] = [
    (regularizers, keras.regularizers, "L1", {"l1": 0.25}),
    (regularizers, keras.regularizers, "L2", {"l2": 0.25}),
    (regularizers, keras.regularizers, "L1L2", {"l1": 0.25, "l2": 0.5}),
    (regularizers, keras.regularizers, "L1L2", {"l2": 0.5}),
    (regularizers, keras.regularizers, "L1L2", {"l1": None, "l2": 0.5}),
    (regularizers, keras.regularizers, "L1L2", {}),
    (regularizers, keras.regularizers, "OrthogonalRegularizer", {"factor": 0.5}),
    (regularizers, keras.regularizers, "OrthogonalRegularizer", {"mode": "columns"}),
    (constraints, keras.constraints, "NonNeg", {}),
    (constraints, keras.constraints, "UnitNorm", {}),
    (constraints, keras.constraints, "UnitNorm", {"axis": [0, 1]}),
    (constraints, keras.constraints, "MaxNorm", {"max_value": 1.5}),
    (constraints, keras.constraints, "MaxNorm", {"axis": 1}),
    (constraints, keras.constraints, "MinMaxNorm", {"min_value": 0.5, "max_value": 1.5}),
    (
        constraints,
        keras.constraints,
        "MinMaxNorm",
        {"min_value": 0.5, "max_value": 1.5, "rate": 0.25, "axis": [0, 1]},
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "name", "settings"), FUNCTIONS, ids=str)
def test_values_are_those_of_keras(
    ours: Any, theirs: Any, name: str, settings: dict[str, Any]
) -> None:
    # Keras's OrthogonalRegularizer takes float32 matrices only; elsewhere it rounds its numbers so.
    orthogonal = name == "OrthogonalRegularizer"
    dtype, precision = ("float32", 2e-6) if orthogonal else ("float64", 1e-7)
    for given in WEIGHTS[: 1 if orthogonal else 2]:
        weight = given.astype(dtype)
        expected = np.array(getattr(theirs, name)(**settings)(tf.constant(weight)))
        found = getattr(ours, name)(**settings)(weight).numpy()
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=precision, atol=1e-12)
