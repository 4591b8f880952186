"""Each metric over batches, with and without weights, at once and compiled, against Keras."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import metrics

from .frameworks import FRAMEWORKS

tf = FRAMEWORKS["tensorflow"].module

BATCHES = [(0, 8), (8, 16), (16, 20)]
SAMPLES, CLASSES = 20, 4

# Sums of the same numbers in another order.
TOLERANCES = {"float64": (1e-11, 1e-12), "float32": (2e-5, 2e-6)}


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    """A dtype, which Keras computes in too."""
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(before)


class Case(NamedTuple):
    name: str
    options: dict[str, Any]
    y_true: np.ndarray
    y_pred: np.ndarray


def cases() -> list[Case]:
    rng = np.random.default_rng(7)
    shape = SAMPLES, CLASSES
    real, logits = rng.normal(size=(2, *shape))
    few = rng.uniform(0.2, 3, shape)
    classes = rng.integers(0, CLASSES, SAMPLES)
    one_hot = np.eye(CLASSES)[classes]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bits = (rng.uniform(size=shape) < 0.5) * 1.0
    q = np.round(1 / (1 + np.exp(-logits - bits)), 2)  # with ties, and values at thresholds
    steps = rng.integers(0, CLASSES, (SAMPLES, 3))
    p_of_steps = rng.uniform(size=(SAMPLES, 3, CLASSES))
    sorted_ids = np.argsort(-p, axis=-1).astype(float)
    labels = rng.integers(0, CLASSES, (SAMPLES, 5))
    guesses = rng.integers(0, CLASSES, (SAMPLES, 5))
    scores = rng.uniform(size=(SAMPLES, 5, CLASSES))
    binary = [(bits[:, 0], q[:, 0]), (bits[:, :1], q[:, 0]), (bits, q)]
    one, every = binary[0], [{}, {"thresholds": [0.7, 0.2]}, {"thresholds": [0.0, 0.5, 1.0]}]
    curves = [
        {"curve": curve, "summation_method": method}
        for curve in ("ROC", "PR", "PRGAIN")
        for method in ("interpolation", "minoring", "majoring")
    ]
    multi = {"multi_label": True}
    return [
        Case("MeanSquaredError", {}, real, logits),
        Case("MeanSquaredError", {}, real[:, 0], logits[:, :1]),
        Case("RootMeanSquaredError", {}, real, logits),
        Case("RootMeanSquaredError", {}, real[:, :1], logits[:, 0]),
        Case("MeanAbsoluteError", {}, real, logits),
        Case("MeanAbsolutePercentageError", {}, real, logits),
        Case("MeanSquaredLogarithmicError", {}, few, few[::-1]),
        Case("CosineSimilarity", {}, real, logits),
        Case("LogCoshError", {}, real, logits),
        Case("Poisson", {}, few, few[::-1]),
        Case("KLDivergence", {}, one_hot, p),
        *[
            Case(name, {}, one_hot, logits)
            for name in ("Hinge", "SquaredHinge", "CategoricalHinge")
        ],
        *[
            Case("R2Score", {"class_aggregation": how}, real, real + logits)
            for how in (None, "uniform_average", "variance_weighted_average")
        ],
        Case("R2Score", {"num_regressors": 2}, real, real + logits),
        Case("BinaryCrossentropy", {}, bits, q.clip(0.1, 0.9)),
        Case("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, bits, logits),
        Case("CategoricalCrossentropy", {}, one_hot, p),
        Case(
            "CategoricalCrossentropy",
            {"from_logits": True, "label_smoothing": 0.1},
            one_hot,
            logits,
        ),
        Case("SparseCategoricalCrossentropy", {}, classes, p),
        Case("SparseCategoricalCrossentropy", {"from_logits": True}, steps, p_of_steps),
        Case("SparseCategoricalCrossentropy", {"ignore_class": 1}, classes, p),
        Case("Accuracy", {}, labels, guesses),
        Case("Accuracy", {}, labels[:, 0], guesses[:, :1]),
        *[Case("BinaryAccuracy", {}, *x) for x in binary],
        Case("BinaryAccuracy", {"threshold": 0.75}, bits, q),
        Case("CategoricalAccuracy", {}, one_hot, np.round(p, 1)),
        Case("SparseCategoricalAccuracy", {}, classes, p),
        Case("SparseCategoricalAccuracy", {}, classes[:, None], p),
        Case("SparseCategoricalAccuracy", {}, steps, p_of_steps),
        Case("SparseCategoricalAccuracy", {}, steps[..., None], p_of_steps),
        *[Case("TopKCategoricalAccuracy", {"k": k}, one_hot, np.round(p, 1)) for k in (1, 2)],
        Case("TopKCategoricalAccuracy", {}, one_hot, p),
        Case("TopKCategoricalAccuracy", {"k": 2}, np.eye(CLASSES)[steps], p_of_steps),
        Case("SparseTopKCategoricalAccuracy", {"k": 2}, classes, np.round(p, 1)),
        Case("SparseTopKCategoricalAccuracy", {"k": 2}, np.where(classes, classes, 9), p),
        Case("SparseTopKCategoricalAccuracy", {"k": 2}, steps, p_of_steps),
        Case(
            "SparseTopKCategoricalAccuracy",
            {"k": 2, "from_sorted_ids": True},
            classes,
            sorted_ids,
        ),
        *[
            Case(name, options, *one)
            for name in ("TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
            for options in every
        ],
        *[Case("FalseNegatives", {}, *x) for x in binary],
        *[Case(name, options, *one) for name in ("Precision", "Recall") for options in every],
        *[
            Case(name, options, bits, q)
            for name in ("Precision", "Recall")
            for options in ({}, {"top_k": 2}, {"class_id": 1}, {"top_k": 2, "class_id": 1})
        ],
        *[
            Case(name, {which: level, "num_thresholds": number}, *one)
            for name, which in (
                ("SensitivityAtSpecificity", "specificity"),
                ("SpecificityAtSensitivity", "sensitivity"),
                ("PrecisionAtRecall", "recall"),
                ("RecallAtPrecision", "precision"),
            )
            for level, number in ((0.4, 200), (0.7, 11), (1.0, 1))
        ],
        Case("RecallAtPrecision", {"precision": 0.6, "class_id": 2}, bits, q),
        *[Case("AUC", options, *one) for options in curves],
        *[Case("AUC", {**options, **multi}, bits, q) for options in curves[:4]],
        *[Case("AUC", {"num_thresholds": n}, bits, q) for n in (2, 3, 11, 101)],
        Case("AUC", {"num_thresholds": 201}, bits, q.astype("float32")),
        Case("AUC", {"num_thresholds": 5}, bits, np.round(q)),
        Case("AUC", {"thresholds": [0.9, 0.2, 0.6]}, *one),
        Case("AUC", {"thresholds": [0.25, 0.5, 0.75]}, *one),
        Case("AUC", {"thresholds": [0.3, 0.6], **multi}, bits, q),
        Case("AUC", {"from_logits": True}, bits[:, 0], logits[:, 0]),
        Case("AUC", {"label_weights": [0.5, 1.0, 0.0, 2.0]}, bits, q),
        *[
            Case("AUC", {"label_weights": [0.5, 1.0, 0.0, 2.0], **multi, **options}, bits, q)
            for options in ({"num_labels": CLASSES}, {"curve": "PR"})
        ],
        *[
            Case(name, {"average": average, **options}, *given)
            for average in (None, "micro", "macro", "weighted")
            for name, options, given in (
                ("F1Score", {}, (one_hot, p)),
                ("FBetaScore", {"beta": 2.0, "threshold": 0.4}, (bits, q)),
            )
        ],
        Case("F1Score", {}, one_hot, 0.1 * bits),  # where all are 0, none is the largest
        Case("IoU", {"num_classes": CLASSES, "target_class_ids": [0, 2]}, labels, guesses),
        Case("MeanIoU", {"num_classes": CLASSES, "ignore_class": 1}, labels, guesses),
        Case("MeanIoU", {"num_classes": 3}, labels, guesses),
        Case("MeanIoU", {"num_classes": CLASSES, "sparse_y_pred": False}, labels, scores),
        Case("BinaryIoU", {"threshold": 0.3}, *one),
        Case("BinaryIoU", {"target_class_ids": [1]}, bits, q),
        Case("OneHotIoU", {"num_classes": CLASSES, "target_class_ids": [1]}, one_hot, p),
        Case("OneHotMeanIoU", {"num_classes": CLASSES}, np.eye(CLASSES)[labels], scores),
    ]


CASES = cases()
NAMES = [f"{i}-{c.name}{'-'.join(['', *c.options])}" for i, c in enumerate(CASES)]


def _weights(case: Case) -> list[np.ndarray | None]:
    """None, and one for each sample; for each target where Keras asks for that, as it does for
    regions, which it counts in whole numbers."""
    rng = np.random.default_rng(2)
    if not case.name.endswith("IoU"):
        return [None, rng.uniform(size=SAMPLES)]
    is_one_hot = case.name.startswith("OneHot")
    return [None, rng.integers(0, 3, case.y_true.shape[:-1] if is_one_hot else case.y_true.shape)]


def _tolerance(name: str, dtype: str) -> tuple[float, float]:
    if name.endswith("IoU"):
        return TOLERANCES["float32"]  # the quotient is one of float32 always
    if (name, dtype) == ("LogCoshError", "float64"):
        return 1e-8, 2e-9  # the logarithm of 2 is one of float32 in Keras
    return TOLERANCES[dtype]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_values_are_those_of_keras(case: Case, dtype: str) -> None:
    # TensorFlow finds the largest k of float32 only.
    of = "float32" if "TopK" in case.name else dtype
    given = [x.astype(of) if x.dtype.kind == "f" else x for x in (case.y_true, case.y_pred)]
    own = {} if case.name.endswith("IoU") else {"dtype": dtype}
    ours, compiled = (getattr(metrics, case.name)(**case.options, **own) for _ in range(2))
    theirs = getattr(keras.metrics, case.name)(**case.options)
    update, read = edu.jit(compiled.update_state), edu.jit(compiled.result)
    for weights in _weights(case):
        for start, stop in BATCHES:
            batch = [x[start:stop] for x in (*given, weights) if x is not None]
            theirs.update_state(*batch)
            ours.update_state(*batch)
            update(*batch)
        expected = theirs.result().numpy()
        for found in (ours.result(), read()):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, *_tolerance(case.name, dtype))
        assert len(ours.variables) == len(compiled.variables) > 0
        for metric in (ours, compiled, theirs):
            metric.reset_state()
        assert not any(np.any(v.numpy()) for v in ours.variables)
    # Once for each size of a batch, with weights and without; and no more.
    assert update.cache_info().misses == 4
    assert read.cache_info().misses == 1


@pytest.mark.parametrize("name", ["Mean", "Sum"])
def test_means_and_sums_weigh_as_in_keras(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = getattr(metrics, name)(dtype=dtype), getattr(keras.metrics, name)()
    for shape, weights in (
        ((5,), None),
        ((5,), (5,)),
        ((5,), (5, 1)),
        ((5,), ()),
        ((), None),
        ((), ()),
        ((5, 1), (5,)),
        ((5, 3), None),
        ((5, 3), (5,)),
        ((5, 3), (5, 3)),
        ((5, 3), (5, 1)),
        ((5, 3), (1, 3)),
        ((5, 3), ()),
        ((5, 3, 2), (5, 3)),
        ((5, 3, 2), (5, 3, 1)),
    ):
        values = rng.normal(size=shape)
        given = None if weights is None else rng.uniform(size=weights)
        expected = theirs(values, given)
        np.testing.assert_allclose(ours(values, given), expected.numpy(), *TOLERANCES[dtype])


@pytest.mark.parametrize("options", [{}, {"k": 2}])
def test_masks_count_as_in_keras(options: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    name = "SparseTopKCategoricalAccuracy" if options else "SparseCategoricalAccuracy"
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    for weights in (None, rng.uniform(size=(6, 3)), rng.uniform(size=(6, 1))):
        y_true, y_pred = rng.integers(0, 4, (6, 3)), rng.uniform(size=(6, 3, 4)).astype("float32")
        mask, given = rng.uniform(size=(6, 3)) < 0.6, tf.constant(y_pred)
        keras.src.backend.set_keras_mask(given, tf.constant(mask))
        expected = theirs(y_true, given, weights)
        ours.update_state(y_true, y_pred, weights, mask=mask)
        np.testing.assert_allclose(ours.result(), expected.numpy(), 1e-6)


def test_names_defaults_and_order_of_arguments_are_those_of_keras() -> None:
    left_out = {"ConcordanceCorrelation", "PearsonCorrelation"}
    for name in dir(keras.metrics):
        if not name[0].isupper() or name in left_out | {"Metric"}:
            continue
        theirs, ours = getattr(keras.metrics, name), getattr(metrics, name)
        expected = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]
        found = [(p.name, p.default) for p in inspect.signature(ours).parameters.values()]
        assert found == expected, name
        if name not in ("MeanMetricWrapper",):
            needed = {
                p: 2 if "num" in p else 0.5 for p, default in expected if default is inspect._empty
            }
            needed |= {"target_class_ids": [0]} if "target_class_ids" in needed else {}
            made = theirs(**needed)
            assert ours(**needed).name.rstrip("_0123456789") == made.name.rstrip("_0123456789")
            assert ours.direction == getattr(made, "_direction", ours.direction), name


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        ((6,), (6, 1)),
        ((6, 1), (6, 1)),
        ((6,), (6, 3)),
        ((6, 1), (6, 3)),
        ((6, 3), (6, 3)),
        ((6, 2), (6, 2, 3)),
        ((6, 2, 3), (6, 2, 3)),
        ((6, 2, 1), (6, 2, 1)),
    ],
)
def test_accuracy_by_name_is_the_one_that_keras_takes(
    true: tuple[int, ...], predicted: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    y_pred = rng.uniform(size=predicted).astype("float32")
    y_true = rng.integers(0, 2, true).astype("float32")
    theirs = keras.src.trainers.compile_utils.get_metric("acc", y_true, y_pred)
    ours = metrics.get("acc")
    assert ours.name == theirs.name == "acc"
    np.testing.assert_allclose(ours(y_true, y_pred), theirs(y_true, y_pred).numpy(), 1e-6)
