"""Metrics: state, names, and what they refuse. Their values are held against Keras in
`reference_tests`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import losses, metrics, registry
from tinygrad_edu.errors import ArgumentError, ShapeError

P = np.array([[0.25, 0.75], [0.5, 0.5]])


def test_a_result_is_over_all_batches_since_the_last_reset() -> None:
    metric = metrics.MeanSquaredError()
    assert metric.result().item() == 0
    for errors in ([[1.0], [2.0]], [[4.0]]):
        metric.update_state(np.zeros_like(errors), errors)
    assert metric.result().item() == (1 + 4 + 16) / 3
    metric.reset_state()
    assert metric([[0.0]], [[3.0]]).item() == 9


def test_state_is_float32_unless_told() -> None:
    for dtype in ("float32", "float64"):
        metric = metrics.Mean(dtype=None if dtype == "float32" else dtype)
        metric.update_state(np.array([0.1, 0.2], "float64"))
        assert [v.dtype for v in metric.variables] == [dtype] * 2
        assert metric.result().dtype == dtype
    assert not any(v.trainable for v in metric.variables)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_metrics_update_in_a_compiled_step_without_compiling_again(device: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    held = [
        metrics.SparseCategoricalAccuracy(dtype=dtype),
        metrics.F1Score("macro", dtype=dtype),  # these two make their state at the first batch
        metrics.AUC(num_thresholds=11, multi_label=True, dtype=dtype),
        metrics.MeanIoU(3, sparse_y_pred=False),
    ]
    alone = copy.deepcopy(held)

    def update(step: list[Any], classes: Any, p: Any) -> list[Any]:
        one_hot = edu.ops.one_hot(classes, 3)
        for metric, targets in zip(step, (classes, one_hot, one_hot, classes), strict=True):
            metric.update_state(targets, p)
        return [metric.result() for metric in step]

    compiled = edu.jit(lambda classes, p: update(held, classes, p))
    for _ in range(4):
        classes, p = rng.integers(0, 3, 8), rng.uniform(size=(8, 3)).astype(dtype)
        found, expected = compiled(classes, p), update(alone, classes, p)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    assert compiled.cache_info().misses == 1
    for metric in held:
        metric.reset_state()
        assert not any(np.any(v.numpy()) for v in metric.variables)


def test_each_reset_is_to_the_first_value_also_after_updates_in_place(device: str) -> None:
    with edu.device(device):
        metric = metrics.Mean()
        update = edu.jit(lambda x: metric.update_state(x))
        for _ in range(3):
            for x in ([1.0, 2.0], [6.0, 7.0]):
                update(edu.tensor(x))
            assert metric.result().item() == 4
            metric.reset_state()
            assert metric.result().item() == 0


def test_a_metric_of_ones_own_resets_to_what_it_started_with() -> None:
    class Smallest(metrics.Metric):
        direction = "down"

        def __init__(self, name: str | None = None) -> None:
            super().__init__(name)
            self.least = self.add_weight((), lambda shape, dtype: edu.full(shape, 9.0, dtype=dtype))
            self.seen = [metrics.Sum()]

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.least.assign(edu.minimum(self.least, edu.min(y_pred)))
            self.seen[0].update_state(y_pred)

        def result(self) -> Any:
            return self.least * self.seen[0].result()

    metric = Smallest()
    assert metric.name == "smallest"
    assert len(metric.variables) == 2  # its own and those of what it holds
    assert metric(None, [3.0, 5.0]).item() == 3 * 8
    metric.reset_state()
    assert [v.item() for v in metric.variables] == [9, 0]


def test_any_function_of_targets_and_predictions_is_a_metric() -> None:
    def off_by(y_true: Any, y_pred: Any) -> Any:
        return edu.abs(y_true - y_pred)

    metric = metrics.get(off_by)
    assert metric.name == "off_by"
    assert metric(np.zeros(2), np.array([1.0, 2.0])).item() == 1.5
    # A Loss, too, which gives one number a batch.
    assert metrics.get(losses.MeanSquaredError())([[0.0]], [[2.0]]).item() == 4


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mse", metrics.MeanSquaredError),
        ("MAE", metrics.MeanAbsoluteError),
        ("auc", metrics.AUC),
        ("TopKCategoricalAccuracy", metrics.TopKCategoricalAccuracy),
        ("sparse_categorical_accuracy", metrics.SparseCategoricalAccuracy),
        ("r2_score", metrics.R2Score),
    ],
)
def test_a_metric_is_found_by_name_and_keeps_it(name: str, kind: type) -> None:
    metric = metrics.get(name)
    assert type(metric) is kind
    assert metric.name == name


def test_unknown_names_are_refused_with_what_is_close() -> None:
    with pytest.raises(ArgumentError, match=r"metric: no 'acuracy'; did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(ArgumentError, match="metric: 3 is none"):
        metrics.get(3)


def test_accuracy_and_crossentropy_fit_themselves_to_the_targets() -> None:
    for given in ([1, 1], [[1], [1]], [[0.0, 1.0]] * 2):
        assert metrics.get("accuracy")(given, P).item() == 0.5
        expected = -(np.log(0.75) + np.log(0.5)) / 2
        assert metrics.get("crossentropy")(given, P).item() == pytest.approx(expected)
    assert metrics.get("Accuracy")([1, 0, 0, 1], [0.75, 0.75, 0.25, 0.25]).item() == 0.5


def test_a_metric_that_does_not_fit_says_which_does() -> None:
    one_hot = np.eye(2)
    for metric, y_true, y_pred, match in (
        (metrics.CategoricalAccuracy(), [1, 1], P, "'accuracy' means the one that fits"),
        (metrics.BinaryAccuracy(), [1, 1, 1], P, "'accuracy' means the one that fits"),
        (metrics.Accuracy(), [1, 1, 1], P, "'accuracy' means the one that fits"),
        (metrics.SparseCategoricalAccuracy(), one_hot, P, "there is categorical_accuracy"),
        (metrics.SparseTopKCategoricalAccuracy(), one_hot, P, "top_k_categorical_accuracy"),
        (metrics.CategoricalAccuracy(), [[1.0]], [[0.3]], "there is binary_accuracy"),
        (metrics.SparseCategoricalAccuracy(), [[1]], [[0.3]], "there is binary_accuracy"),
        (metrics.Precision(), [0, 1], P, r"precision: .*make targets that name classes `one_hot`"),
        (metrics.AUC(), [0, 1], P, "auc: .*`one_hot`"),
        (metrics.F1Score(), [0.0, 1.0], [0.0, 1.0], r"f1_score: takes .*\(samples, outputs\)"),
        (metrics.R2Score(), [0.0, 1.0], [0.0, 1.0], r"r2_score: takes .*\(samples, outputs\)"),
        (metrics.MeanIoU(2), [0, 1], P, "say that they are not sparse"),
        (metrics.Precision(class_id=1), [0, 1], [0.5, 0.5], "class_id=1 needs"),
        (metrics.Precision(class_id=2), one_hot, P, "class_id=2 needs"),
        (metrics.AUC(multi_label=True), [0, 1], [0.5, 0.5], "multi_label takes"),
        (metrics.CategoricalCrossentropy(), [0, 1], P, "sparse_categorical_crossentropy"),
    ):
        with pytest.raises(ShapeError, match=match):
            metric.update_state(y_true, y_pred)
        assert not any(np.any(v.numpy()) for v in metric.variables)


def test_weights_that_do_not_fit_are_refused() -> None:
    for metric in (metrics.MeanSquaredError(), metrics.Precision(), metrics.F1Score()):
        with pytest.raises(ShapeError, match=f"{metric.name}: sample_weight of shape"):
            metric.update_state(np.eye(2), P, np.ones(3))


def test_one_weight_a_sample_weighs_all_that_it_predicts() -> None:
    y_true, y_pred = np.array([[1, 1], [1, 0]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    for weights in ([1.0, 3.0], [[1.0], [3.0]]):
        assert metrics.Recall()(y_true, y_pred, weights).item() == pytest.approx(1 / 5)
    assert metrics.Recall()([1, 1], [0.75, 0.25], [[1.0], [3.0]]).item() == 1 / 4
    counts = metrics.MeanIoU(2)
    counts.update_state([[0, 1], [1, 1]], [[0, 1], [1, 0]], [1, 3])
    assert counts.total_cm.tolist() == [[1, 0], [3, 4]]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: metrics.Precision(thresholds=[0.5, 1.5]), r"thresholds is .* \[0, 1\], not 1.5"),
        (lambda: metrics.AUC(num_thresholds=1), "num_thresholds is an integer from 2 on, not 1"),
        (lambda: metrics.AUC(curve="RCO"), "curve is one of ROC, PR, PRGAIN, not 'RCO'"),
        (lambda: metrics.AUC(summation_method="sum"), "one of interpolation, minoring, majoring"),
        (lambda: metrics.AUC(num_labels=2), "num_labels is for multi_label=True"),
        (lambda: metrics.SensitivityAtSpecificity(1.5), r"specificity is .* \[0, 1\], not 1.5"),
        (lambda: metrics.RecallAtPrecision(0.5, 0), "thresholds is .* from 1 on, not 0"),
        (lambda: metrics.F1Score("mean"), "F1Score: average is one of micro, macro, weighted"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta is a number above 0, not 0.0"),
        (lambda: metrics.F1Score(threshold=0.0), "is a number above 0 and at most 1, not 0.0"),
        (lambda: metrics.R2Score("mean"), "class_aggregation is one of uniform_average"),
        (lambda: metrics.R2Score(num_regressors=-1), "num_regressors is .* 0 on, not -1"),
        (lambda: metrics.Precision(thresholds=[]), "Precision: thresholds has none"),
        (lambda: metrics.Recall(top_k=0), "Recall: top_k is an integer from 1 on, not 0"),
        (lambda: metrics.Recall(class_id=-1), "Recall: class_id is an integer from 0 on, not -1"),
        (lambda: metrics.AUC(200.0), "AUC: num_thresholds is an integer from 2 on, not 200.0"),
        (lambda: metrics.AUC(multi_label=True, num_labels=-1), "num_labels is .* 0 on, not -1"),
        (lambda: metrics.TopKCategoricalAccuracy(0), "k is an integer from 1 on, not 0"),
        (lambda: metrics.SparseTopKCategoricalAccuracy(1.5), "k is an integer .* not 1.5"),
        (lambda: metrics.BinaryAccuracy(threshold="x"), "threshold is a number, not 'x'"),
        (lambda: metrics.BinaryIoU(threshold=np.nan), "threshold is a number, not nan"),
        (lambda: metrics.MeanIoU(-1), "MeanIoU: num_classes is an integer from 1 on, not -1"),
        (lambda: metrics.IoU(2, []), "IoU: target_class_ids has none"),
        (lambda: metrics.BinaryCrossentropy(label_smoothing=2), r"smoothing is .* \[0, 1\], not 2"),
        (lambda: metrics.IoU(2, [0, 2]), "IoU: target_class_ids has 2, .* one of 2 classes"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        make()


def test_a_prediction_that_is_no_number_is_above_no_threshold_but_the_first() -> None:
    metric = metrics.AUC(num_thresholds=5)
    metric.update_state([1.0, 1.0], [np.nan, 0.6])
    assert metric.true_positives.tolist() == [2, 1, 1, 0, 0]


def test_a_limit_that_is_just_met_is_met() -> None:
    batch = [0, 0, 1, 1], [0.2, 0.6, 0.5, 0.9]
    # Above 0.2 to 0.5 are half of the targets of 0, and all of 1; and two of three are right.
    assert metrics.SensitivityAtSpecificity(0.5)(*batch).item() == 1
    assert metrics.SpecificityAtSensitivity(1.0)(*batch).item() == 0.5
    assert metrics.RecallAtPrecision(1.0)(*batch).item() == 0.5
    assert metrics.PrecisionAtRecall(1.0)(*batch).item() == pytest.approx(2 / 3)


def test_equal_predictions_have_half_the_area() -> None:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 100)
    assert metrics.AUC()(y_true, np.full(100, 0.3)).item() == pytest.approx(0.5)
    # And with a threshold at each prediction the area is that of Mann and Whitney.
    scores = (np.arange(100) + 0.5) / 100
    rng.shuffle(scores)
    ones, zeros = scores[y_true == 1], scores[y_true == 0]
    expected = np.mean(ones[:, None] > zeros)
    thresholds = (np.arange(1, 100) / 100).tolist()
    found = metrics.AUC(thresholds=thresholds, dtype="float64")(y_true, scores).item()
    assert found == pytest.approx(expected, abs=1e-12)


def test_r2_with_more_regressors_than_samples_is_not_corrected() -> None:
    plain, corrected = metrics.R2Score(), metrics.R2Score(num_regressors=5)
    y_true, y_pred = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]])
    assert corrected(y_true, y_pred).item() == plain(y_true, y_pred).item()


def test_a_metric_is_made_again_from_its_configuration_and_can_be_copied() -> None:
    for metric in (
        metrics.AUC(curve="pr", thresholds=[0.2, 0.6], name="area"),
        metrics.MeanIoU(3, ignore_class=1),
        metrics.TopKCategoricalAccuracy(3, dtype="float64"),
        metrics.MeanMetricWrapper(losses.huber, delta=2.0),
    ):
        again = registry.deserialize(registry.serialize(metric))
        assert type(again) is type(metric)
        assert again.get_config() == metric.get_config()
        assert (again.name, again.dtype) == (metric.name, metric.dtype)
    metric = metrics.Mean()
    metric.update_state([1.0, 2.0])
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        other.update_state([6.0])
        assert other.result().item() == 3
        other.reset_state()
        assert other.result().item() == 0
    assert metric.result().item() == 1.5
