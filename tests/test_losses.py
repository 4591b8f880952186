"""Losses: how they weigh, reduce and refuse. Their values are held against Keras and PyTorch in
`reference_tests`."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as edu
from tinygrad_edu import losses, registry
from tinygrad_edu.errors import ArgumentError, OutOfRangeError, ShapeError


def test_one_weight_a_sample_weighs_all_steps_of_a_sequence() -> None:
    y_true, y_pred = np.zeros((2, 2, 1)), np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    loss = losses.MeanSquaredError("none")
    assert loss(y_true, y_pred, [1.0, 10.0]).tolist() == [[1, 4], [90, 160]]
    assert loss(y_true, y_pred, [[1.0], [10.0]]).tolist() == [[1, 4], [90, 160]]
    assert loss(y_true, y_pred, 2.0).tolist() == [[2, 8], [18, 32]]
    mean = losses.MeanSquaredError("mean_with_sample_weight")
    assert mean(y_true, y_pred, [[1.0, 0.0], [0.0, 3.0]]).item() == (1 + 3 * 16) / 4


def test_weights_that_do_not_fit_are_refused() -> None:
    loss = losses.MeanSquaredError()
    for shape in ((3,), (2, 2), (2, 1, 1)):
        with pytest.raises(
            ShapeError, match=rf"mean_squared_error: sample_weight of shape \({shape[0]}"
        ):
            loss(np.zeros((2, 3)), np.zeros((2, 3)), np.ones(shape))


def test_weights_of_no_sample_give_0() -> None:
    for reduction in ("mean_with_sample_weight", "mean", "sum"):
        loss = losses.MeanSquaredError(reduction)
        assert loss([[1.0]], [[3.0]], sample_weight=[0.0]).item() == 0
        assert loss([[1.0]], [[3.0]], mask=[False]).item() == 0
        assert loss(np.zeros((0, 2)), np.zeros((0, 2))).item() == 0


def test_a_mean_is_over_what_the_mask_leaves() -> None:
    y_true, y_pred = np.zeros((1, 4, 1)), np.array([[[1.0], [2.0], [9.0], [9.0]]])
    mask = [[True, True, False, False]]
    assert losses.MeanSquaredError()(y_true, y_pred, mask=mask).item() == (1 + 4) / 2
    assert losses.MeanSquaredError("sum")(y_true, y_pred, mask=mask).item() == 1 + 4
    weighed = losses.MeanSquaredError()(y_true, y_pred, [3.0], mask=mask)
    assert weighed.item() == 3 * (1 + 4) / 2


def test_shapes_that_do_not_fit_are_refused_with_what_would() -> None:
    classes, one_hot, p = np.array([0, 1]), np.eye(3)[:2], np.full((2, 3), 1 / 3)
    with pytest.raises(ShapeError, match=r"shape \(2,\) .* \(2, 3\).*sparse_categorical_cross"):
        losses.CategoricalCrossentropy()(classes, p)
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) .* there is categorical_crossentropy"):
        losses.SparseCategoricalCrossentropy()(one_hot, p)
    for name in ("mean_squared_error", "dice", "poisson", "squared_hinge", "binary_crossentropy"):
        with pytest.raises(ShapeError, match=rf"{name}: .*\(2,\) .*\(2, 3\) must have the same"):
            losses.get(name)([0.0, 1.0], p)


@pytest.mark.parametrize("from_logits", [True, False])
def test_a_class_that_is_not_there_is_named(from_logits: bool) -> None:
    loss = losses.SparseCategoricalCrossentropy(from_logits)
    for wrong in (3, -1):
        with pytest.raises(OutOfRangeError, match=f"class {wrong} is not one of 3"):
            loss([0, wrong], np.full((2, 3), 1 / 3))
    ignoring = losses.SparseCategoricalCrossentropy(from_logits, ignore_class=3)
    found = ignoring([0, 3], np.full((2, 3), 1 / 3))
    assert found.item() == pytest.approx(math.log(3))


def test_what_is_ignored_gives_no_gradient_even_where_it_is_nan() -> None:
    for from_logits in (True, False):
        loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class=255)
        targets = np.array([1, 255], "uint8")
        slope = edu.grad(lambda p, loss=loss, t=targets: loss(t, p))
        found = slope(np.array([[0.5, 0.5], [np.nan, 0.0]])).numpy()
        assert found[0, 0] > 0 > found[0, 1]
        assert found[1].tolist() == [0, 0]


def test_classes_may_be_any_integers_and_whole_floats() -> None:
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = -(math.log(0.75) + math.log(0.5)) / 2
    for dtype in ("int8", "uint8", "int64", "bool", "float32", "float64"):
        found = losses.SparseCategoricalCrossentropy()(np.array([1, 0], dtype), p)
        assert found.item() == pytest.approx(expected)


def test_a_loss_has_the_dtype_of_the_predictions_unless_told() -> None:
    y_true = np.zeros((2, 1))  # float64
    for given, expected in (("float64",) * 2, ("float32",) * 2, ("float16", "float32")):
        assert losses.MeanSquaredError()(y_true, np.ones((2, 1), given)).dtype == expected
    assert losses.MeanSquaredError(dtype="float64")([0.0], [1.0]).dtype == "float64"
    # In float16 the sum would be infinite.
    assert losses.MeanSquaredError()([[0.0]], np.full((1, 1), 300, "float16")).item() == 90_000


def test_log_cosh_is_that_of_mathematics_in_float64() -> None:
    errors = np.array([[0.0, 1e-3, 1.0, -20.0, 800.0]])
    expected = np.array(
        [[0, 5e-7 - 1e-12 / 12, math.log(math.cosh(1)), 20 - math.log(2), 800 - math.log(2)]]
    )
    found = losses.LogCosh("none")(np.zeros((5, 1)), errors.T).numpy()
    np.testing.assert_allclose(found, expected[0], rtol=1e-12, atol=1e-15)


def test_a_vector_of_zeros_is_at_right_angles_to_all() -> None:
    loss = losses.CosineSimilarity()
    y_true = np.array([[1.0, 0.0]])
    assert loss(y_true, np.zeros((1, 2))).item() == 0
    assert edu.grad(lambda p: loss(y_true, p))(np.zeros((1, 2))).tolist() == [[0, 0]]


def test_huge_logits_cost_what_they_are_wrong_by() -> None:
    assert losses.BinaryCrossentropy(True)([[0.0]], [[1e4]]).item() == 1e4
    assert losses.CategoricalCrossentropy(True)([[0.0, 1.0]], [[1e4, 0.0]]).item() == 1e4
    assert losses.SparseCategoricalCrossentropy(True)([1], [[1e4, 0.0]]).item() == 1e4


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mse", losses.MeanSquaredError),
        ("MAE", losses.MeanAbsoluteError),
        ("mape", losses.MeanAbsolutePercentageError),
        ("msle", losses.MeanSquaredLogarithmicError),
        ("bce", losses.BinaryCrossentropy),
        ("KLD", losses.KLDivergence),
        ("kl_divergence", losses.KLDivergence),
        ("sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy),
        ("SparseCategoricalCrossentropy", losses.SparseCategoricalCrossentropy),
        ("CATEGORICALHINGE", losses.CategoricalHinge),
    ],
)
def test_a_loss_is_found_by_any_of_its_names(name: str, kind: type) -> None:
    assert type(losses.get(name)) is kind


def test_every_class_is_found_by_its_name() -> None:
    for name in losses.__all__:
        kind = getattr(losses, name)
        if isinstance(kind, type) and kind not in (losses.Loss, losses.LossFunctionWrapper):
            assert type(losses.get(name)) is kind
            assert type(losses.get(kind())) is kind is type(losses.get(kind))


def test_unknown_names_and_reductions_are_refused_with_what_is_close() -> None:
    with pytest.raises(ArgumentError, match=r"loss: no 'hubber'; did you mean 'huber'\?"):
        losses.get("hubber")
    with pytest.raises(ArgumentError, match="did you mean 'sum_over_batch_size'"):
        losses.Huber(reduction="sum_over_batch")
    with pytest.raises(ArgumentError, match="MeanSquaredError: no reduction 'average'; there are"):
        losses.MeanSquaredError("average")


@pytest.mark.parametrize(
    "name",
    [
        "BinaryCrossentropy",
        "BinaryFocalCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
    ],
)
@pytest.mark.parametrize("wrong", [1.5, -0.1, math.nan, "0.1"])
def test_labels_are_smoothed_by_a_share(name: str, wrong: Any) -> None:
    message = re.escape(f"label_smoothing is a number in [0, 1], not {wrong!r}")
    with pytest.raises(ArgumentError, match=f"{name}: {message}"):
        getattr(losses, name)(label_smoothing=wrong)
    function = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    with pytest.raises(ArgumentError, match=f"{function}: {message}"):
        getattr(losses, function)([[1.0, 0.0]], [[0.5, 0.5]], label_smoothing=wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.Huber(delta=-1), "Huber: delta is a number above 0, not -1"),
        (lambda: losses.Huber(delta=0.0), "Huber: delta is a number above 0, not 0.0"),
        (lambda: losses.Tversky(alpha=-0.5), "Tversky: alpha is a number from 0 on, not -0.5"),
        (lambda: losses.Tversky(beta=math.nan), "Tversky: beta is a number from 0 on, not nan"),
        (lambda: losses.BinaryFocalCrossentropy(gamma=-2), "gamma is a number from 0 on, not -2"),
        (lambda: losses.BinaryFocalCrossentropy(True, alpha=2.0), "alpha is a number in .* 2.0"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=-2), "gamma is .* 0 on, not -2"),
    ],
)
def test_settings_that_no_loss_has_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_focal_loss_still_pulls_at_what_is_very_wrong() -> None:
    loss = losses.BinaryFocalCrossentropy(from_logits=True)
    # sigmoid(z)**2 * log(1 + exp(z)), for targets of 0: far out it is z, of slope 1.
    z = edu.tensor([[100.0]], requires_grad=True)
    found = loss([[0.0]], z)
    found.backward()
    assert found.item() == pytest.approx(100.0)
    assert z.grad is not None
    assert z.grad.item() == pytest.approx(1.0)


def test_any_function_is_a_loss() -> None:
    def quartic(y_true: Any, y_pred: Any) -> Any:
        return edu.mean((y_true - y_pred) ** 4, axis=-1)

    loss = losses.get(quartic)
    assert loss.name == "quartic"
    assert loss([0.0, 0.0], [[1.0], [2.0]]).item() == 8.5
    # Also one that gives one number for the whole batch.
    assert losses.get(lambda t, p: edu.sum(p))([0.0], [1.0], [0.5]).item() == 0.5


def test_crossentropy_is_the_one_that_fits_the_targets() -> None:
    loss = losses.get("crossentropy")
    p = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = losses.CategoricalCrossentropy()(np.eye(2)[[1, 0]], p).item()
    assert loss([1, 0], p).item() == loss([[1], [0]], p).item() == pytest.approx(expected)
    assert loss(np.eye(2)[[1, 0]], p).item() == pytest.approx(expected)
    one = loss([1.0, 0.0], p[:, 1])
    assert one.item() == pytest.approx(losses.BinaryCrossentropy()([1.0, 0.0], p[:, 1:]).item())


def test_a_loss_is_made_again_from_its_configuration() -> None:
    for loss in (
        losses.Huber(delta=2.0, reduction="sum"),
        losses.Tversky(0.3, axis=(1, 2), name="overlap", dtype="float64"),
        losses.LossFunctionWrapper(losses.huber, delta=3.0),
    ):
        again = registry.deserialize(registry.serialize(loss))
        assert type(again) is type(loss)
        assert again.get_config() == loss.get_config()
        assert (again.name, again.reduction) == (loss.name, loss.reduction)


def test_a_compiled_loss_is_the_loss(device: str) -> None:
    rng = np.random.default_rng(0)
    classes, logits = rng.integers(0, 3, 8), rng.normal(size=(8, 3)).astype("float32")
    weights = rng.uniform(size=8).astype("float32")
    cases = [
        (losses.SparseCategoricalCrossentropy(True, ignore_class=1), classes),
        (losses.Hinge(), np.eye(3)[classes]),
        (losses.Dice(), np.eye(3)[classes]),
        (losses.CategoricalFocalCrossentropy(from_logits=True), np.eye(3)[classes]),
    ]

    def all_of(p: Any, w: Any, targets: Any) -> list[Any]:
        return [
            edu.value_and_grad(lambda p, t=t, loss=loss: loss(t, p, w))(p)
            for (loss, _), t in zip(cases, targets, strict=True)
        ]

    given = logits, weights, [targets for _, targets in cases]
    compiled = edu.jit(all_of)  # one program: to compile each takes XLA a second
    for _ in range(2):
        found = compiled(*given)
    assert compiled.cache_info().misses == 1
    with edu.device("numpy"):
        expected = all_of(*given)
    for (value, slope), (its_value, its_slope) in zip(found, expected, strict=True):
        np.testing.assert_allclose(value.numpy(), its_value.numpy(), rtol=1e-6)
        np.testing.assert_allclose(slope.numpy(), its_slope.numpy(), rtol=1e-5, atol=1e-7)
